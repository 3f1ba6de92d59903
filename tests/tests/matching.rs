//! Only the answer to the question that was asked is an answer (RFC 5452 section 9).

use dnsproxy_tests::{
    manifest::{merged, upstreams},
    proxy::Proxy,
    stage::Stage,
    upstream::{Action, Received, Upstream, faithful_answer, silent},
    wire::{Reply, Response, rcodes, types},
};
use serde_json::json;

type Forgery = fn(&Received) -> Action;

fn forged(query: &Received) -> Response {
    Response::to(&query.message).a([203, 0, 113, 66].into())
}

/// What somebody who cannot see the question sends in the hope that it fits.
fn forgeries() -> Vec<(&'static str, Forgery)> {
    vec![
        // CVE-2023-28452 and CVE-2023-29483 (TuDoor): one bad reply made a resolver give up.
        ("another ID", |query| Action::Send(forged(query).id(query.id() ^ 1).encode())),
        // CVE-2026-33602: an ID one past the table.
        ("the next ID", |query| {
            Action::Send(forged(query).id(query.id().wrapping_add(1)).encode())
        }),
    ]
}

/// What answers something else under our ID. CVE-2020-25685: compared by a checksum, other questions passed;
/// CVE-2019-10190 and CVE-2019-10191: answers to other questions were passed on.
fn other_questions() -> Vec<(&'static str, Forgery)> {
    vec![
        ("a query instead of a response", |query| {
            let mut message = forged(query).encode();
            message[2] &= 0x7f;
            Action::Send(message)
        }),
        ("another name", |query| {
            Action::Send(forged(query).question("other.example", types::A, 1).encode())
        }),
        ("a longer name", |query| {
            Action::Send(forged(query).question("www.example.org", types::A, 1).encode())
        }),
        ("another type", |query| {
            Action::Send(forged(query).question("www.example", types::TXT, 1).encode())
        }),
        ("another class", |query| {
            Action::Send(forged(query).question("www.example", types::A, 3).encode())
        }),
        ("no question", |query| Action::Send(forged(query).without_question().encode())),
    ]
}

fn expect_true(why: &str, reply: &Reply) {
    assert_eq!(
        reply.addresses(),
        ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()],
        "{why}: {reply:?}"
    );
}

/// With a script that alone ends connections: no check is answered, so none is found to be dead.
async fn undisturbed(script: impl FnMut(&Received) -> Vec<Action> + Send + 'static) -> Stage {
    Stage::with(|setup| setup.script(script).checks(silent()), json!({})).await
}

#[tokio::test]
async fn over_a_stream_unknown_ids_are_dropped_and_the_answer_awaited() {
    for (why, forgery) in forgeries() {
        let stage = undisturbed(move |query| {
            vec![forgery(query), Action::Send(faithful_answer(query).encode())]
        })
        .await;
        expect_true(why, &stage.client().ask("www.example", types::A).await);
        assert_eq!(stage.upstream.seen().ended, 0, "{why}: dropped, and no more");
    }
}

#[tokio::test]
async fn over_a_stream_another_question_under_our_id_ends_the_connection() {
    for (why, forgery) in other_questions() {
        let stage = undisturbed(move |query| match query.number {
            0 => vec![forgery(query)],
            _ => vec![Action::Send(faithful_answer(query).encode())],
        })
        .await;
        let first = stage.client().ask("www.example", types::A).await;
        assert!(
            [rcodes::SERVFAIL, rcodes::NOERROR].contains(&first.rcode())
                && !first.addresses().contains(&"203.0.113.66".parse().unwrap()),
            "{why}: {first:?}"
        );
        expect_true(why, &stage.client().ask("www.example", types::A).await);
        let what = format!("{why}: a server that mixes answers up is left");
        stage.upstream.until(&what, |seen| seen.ended > 0).await;
    }
}

#[tokio::test]
async fn unsolicited_replies_before_a_question_are_nothing() {
    let stage = Stage::script(|query| {
        let mut actions = vec![Action::Send(faithful_answer(query).encode())];
        for id in 0..500 {
            actions.push(Action::Send(
                Response::to(&query.message).question("next.example", types::A, 1).id(id).encode(),
            ));
        }
        actions
    })
    .await;

    expect_true("first", &stage.client().ask("www.example", types::A).await);
    expect_true("next", &stage.client().ask("next.example", types::A).await);
}

#[tokio::test]
async fn an_error_without_a_question_is_matched_by_its_id() {
    let stage = undisturbed(|query| {
        vec![Action::Send(
            Response::to(&query.message).without_question().rcode(rcodes::REFUSED).encode(),
        )]
    })
    .await;

    assert_eq!(stage.client().ask("www.example", types::A).await.rcode(), rcodes::REFUSED);
    assert_eq!(stage.upstream.seen().ended, 0);
}

#[tokio::test]
async fn the_letters_of_the_question_may_change() {
    let stage = Stage::script(|query| {
        vec![Action::Send(faithful_answer(query).question("WWW.eXample", types::A, 1).encode())]
    })
    .await;

    expect_true("RFC 1035 section 2.3.3", &stage.client().ask("www.example", types::A).await);
}

/// CVE-2020-25684 (DNSpooq): replies were taken on any port, for any query.
#[tokio::test]
async fn over_udp_what_does_not_match_is_dropped_and_the_answer_awaited() {
    let elsewhere: (&str, Forgery) =
        ("another port", |query| Action::FromElsewhere(forged(query).encode()));
    let short: (&str, Forgery) =
        ("half a header", |query| Action::Raw(query.message[..6].to_vec()));
    let all = forgeries().into_iter().chain(other_questions()).chain([elsewhere, short]);

    for (why, forgery) in all {
        let upstream = Upstream::plain()
            .script(move |query| {
                let later = std::time::Duration::from_millis(100);
                vec![forgery(query), Action::After(later, faithful_answer(query).encode())]
            })
            .start()
            .await;
        let entry =
            merged(upstream.plain_entry("plain", "UDP"), json!({"timeouts": {"query": "3s"}}));
        let proxy = Proxy::start(&upstreams([entry])).await;
        expect_true(why, &proxy.client().ask("www.example", types::A).await);
        assert_eq!(upstream.seen().queries.len(), 1, "{why}: no second try was needed");
    }
}

/// MaginotDNS: records that nobody asked for are of no use to anybody.
#[tokio::test]
async fn records_of_other_names_do_not_answer_other_questions() {
    let stage = Stage::script(|query| match query.name().as_str() {
        "www.example." => {
            let mut message =
                Response::to(&query.message).without_edns().a([192, 0, 2, 1].into()).encode();
            message[7] += 1;
            message.extend_from_slice(
                b"\x04bank\x07example\x00\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xcb\x00\x71\x42",
            );
            vec![Action::Send(message)]
        }
        _ => vec![Action::Send(faithful_answer(query).encode())],
    })
    .await;

    stage.client().ask("www.example", types::A).await;
    expect_true(
        "the bank is asked for by itself",
        &stage.client().ask("bank.example", types::A).await,
    );
}
