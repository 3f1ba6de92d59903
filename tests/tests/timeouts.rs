//! Every query ends in time, and its Extended Error says why (RFC 8914).

use std::time::{Duration, Instant};

use dnsproxy_tests::{
    certificates::Authority,
    manifest::{merged, upstreams},
    proxy::Proxy,
    stage::Stage,
    upstream::{Action, ClosedPort, Gate, Received, Seen, Upstream, faithful_answer},
    wire::{Query, Response, rcodes, types},
};
use serde_json::{Value, json};

/// Asks a proxy with this upstream; gives what the Extended Error says.
async fn said(entry: Value) -> (u16, String, Duration) {
    let proxy = Proxy::start(&upstreams([entry])).await;
    let before = Instant::now();
    let reply = proxy.client().ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    let (code, text) = reply.ede().expect("a reason");
    (code, text, before.elapsed())
}

#[tokio::test]
async fn the_reason_is_said() {
    let authority = Authority::default();
    let timeouts = json!({"timeouts": {"connect": "200ms", "query": "300ms"}});
    let mute = Upstream::mute().start().await;
    let dumb = Upstream::tls(&authority.server()).silent().start().await;
    let dumb_udp = Upstream::plain().silent().start().await;
    let closed = ClosedPort::new();
    let refused =
        merged(mute.entry("down", &authority), json!({"addresses": [closed.address.to_string()]}));
    let cases = [
        ("nobody listens", refused, "refused"),
        ("no handshake", mute.entry("down", &authority), "200ms"),
        ("no answer", dumb.entry("down", &authority), "300ms"),
        ("no datagram", dumb_udp.plain_entry("down", "UDP"), "300ms"),
    ];

    for (why, entry, word) in cases {
        let (code, text, took) = said(merged(entry, timeouts.clone())).await;
        assert!([22, 23].contains(&code), "{why}: EDE {code} {text}");
        assert!(text.contains("down") && text.contains("127.0.0.1"), "{why}: who it was: {text}");
        assert!(text.contains(word), "{why}: {text}");
        assert!(took < Duration::from_secs(4), "{why}: well before the deadline, {took:?}");
    }
}

#[tokio::test]
async fn the_deadline_holds_whatever_servers_do() {
    let authority = Authority::default();
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Upstream::tls(&authority.server()).silent().start().await);
    }
    let entries = servers.iter().enumerate().map(|(number, server)| {
        merged(
            server.entry(&format!("u{number}"), &authority),
            json!({"timeouts": {"query": "800ms"}}),
        )
    });
    let spec = merged(upstreams(entries), json!({"limits": {"queryDeadline": "1s"}}));
    let proxy = Proxy::start(&spec).await;

    let before = Instant::now();
    let reply = proxy.client().ask("www.example", types::A).await;
    let took = before.elapsed();

    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    assert!(took >= Duration::from_millis(900), "{took:?}: the second server has its chance");
    assert!(took < Duration::from_millis(2500), "{took:?} for a deadline of a second");
}

#[tokio::test]
async fn no_reason_is_given_to_a_client_without_edns() {
    let closed = ClosedPort::new();
    let entry =
        json!({"name": "down", "addresses": [closed.address.to_string()], "protocol": "TCP"});
    let proxy = Proxy::start(&upstreams([entry])).await;

    let reply = proxy.client().udp(&Query::new("www.example", types::A)).await;
    assert_eq!((reply.rcode(), reply.edns), (rcodes::SERVFAIL, None), "RFC 8914 section 2");
}

/// The X41 audit of hickory: a server that never finishes a handshake, or an answer, must hold nothing.
#[tokio::test]
async fn a_server_that_drips_its_answer_is_left() {
    let authority = Authority::default();
    let drop = |_: &Received| vec![Action::Raw(vec![0])];
    let dripping = Upstream::tls(&authority.server()).script(drop).checks(drop).start().await;
    let entry = merged(dripping.entry("slow", &authority), json!({"timeouts": {"query": "300ms"}}));
    let (_, text, took) = said(entry).await;

    assert!(text.contains("300ms"), "{text}");
    assert!(took < Duration::from_secs(4));
}

#[tokio::test]
async fn a_late_answer_belongs_to_nobody() {
    let gate = Gate::default();
    let held = gate.clone();
    let script = move |query: &Received| {
        let answer = faithful_answer(query).encode();
        let is_late = query.name() == "late.example.";
        vec![if is_late { Action::When(held.clone(), answer) } else { Action::Send(answer) }]
    };
    let deadline = json!({"limits": {"queryDeadline": "500ms"}});
    let stage = Stage::with(|setup| setup.script(script), deadline).await;

    assert_eq!(stage.client().ask("late.example", types::TXT).await.rcode(), rcodes::SERVFAIL);
    gate.open();
    for number in 0..50 {
        let name = format!("n{number}.example.");
        assert_eq!(stage.client().ask(&name, types::TXT).await.texts(), [name]);
    }
}

/// A query whose answer is made of several may have little time left for the last of them. Others who wait for that one have
/// their own, and what is remembered of it is what an upstream said.
#[tokio::test]
async fn a_late_part_of_an_answer_has_the_time_of_any_question() {
    let (first, second) = (Gate::default(), Gate::default());
    let (held, last) = (first.clone(), second.clone());
    let server = Upstream::plain()
        .script(move |query| {
            let response = Response::to(&query.message);
            match query.name().as_str() {
                "start.example." => {
                    let edge = response.record(types::CNAME, 300, b"\x04edge\x07example\0");
                    vec![Action::When(held.clone(), edge.encode())]
                }
                _ => {
                    let address = response.record(types::A, 300, &[192, 0, 2, 1]);
                    vec![Action::When(last.clone(), address.encode())]
                }
            }
        })
        .start()
        .await;
    let entry = merged(server.plain_entry("main", "TCP"), json!({"timeouts": {"query": "3s"}}));
    let steer = json!({"cnameTarget": {"regex": r"^edge\.example\.$", "to": "end.example."}});
    let proxy = Proxy::start(&merged(
        upstreams([entry]),
        json!({
            "cache": {},
            "limits": {"queryDeadline": "3s"},
            "rules": [{
                "name": "steer",
                "match": {"names": {"exact": ["start.example"]}},
                "response": steer,
            }],
        }),
    ))
    .await;
    let has_asked = |name: &'static str| {
        move |seen: &Seen| seen.queries.iter().any(|query| query.name() == name)
    };
    let ruled = async {
        let reply = proxy.client().ask("start.example", types::A).await;
        assert_eq!(reply.rcode(), rcodes::SERVFAIL, "its time is over");
        second.open();
    };
    let plain = async {
        server.until("the first question", has_asked("start.example.")).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        first.open();
        server.until("the second question", has_asked("end.example.")).await;
        let reply = proxy.client().ask("end.example", types::A).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "this one's is not");
    };
    tokio::join!(ruled, plain);
}
