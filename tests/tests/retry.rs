//! A connection that dies takes no query with it (RFC 7766 section 6.2.4).

use dnsproxy_tests::{
    stage::Stage,
    upstream::{Action, Received, faithful_answer, silent},
    wire::{Query, Reply, rcodes, types},
};
use serde_json::json;
use tokio::task::JoinSet;

/// With a script that alone ends connections: no check is answered, so none is found to be dead.
async fn undisturbed(script: impl FnMut(&Received) -> Vec<Action> + Send + 'static) -> Stage {
    Stage::with(|setup| setup.script(script).checks(silent()), json!({})).await
}

#[tokio::test]
async fn a_query_whose_connection_died_is_asked_once_more_on_a_fresh_one() {
    for last in [|| Action::Close, || Action::Break] {
        let stage = undisturbed(move |query| match query.number {
            0 => vec![last()],
            _ => vec![Action::Send(faithful_answer(query).encode())],
        })
        .await;

        assert_eq!(stage.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
        let seen = stage.upstream.seen();
        assert_eq!(seen.queries.len(), 2);
        assert_ne!(seen.queries[0].connection, seen.queries[1].connection);
    }
}

/// A server that will not hear of a question may close the connection that it comes on: dnsdist does, where a rule drops it.
/// Whoever asks so has no answer, and all who are behind have theirs.
#[tokio::test]
async fn a_question_that_has_its_connections_closed_takes_no_other_with_it() {
    let stage = undisturbed(|query| match query.name().as_str() {
        "unwanted.example." => vec![Action::Close],
        _ => vec![Action::Send(faithful_answer(query).encode())],
    })
    .await;

    for round in 0..5 {
        let mut stream = stage.client().connect().await.unwrap();
        for id in 0..30 {
            let name = match id {
                3 => "unwanted.example".to_owned(),
                _ => format!("n{id}.r{round}.example"),
            };
            stream.send(&Query::new(&name, types::A).id(id).encode()).await.unwrap();
        }
        let mut failed = Vec::new();
        for _ in 0..30 {
            let reply = Reply::parse(&stream.receive().await.unwrap()).unwrap();
            if reply.rcode() != rcodes::NOERROR {
                failed.push((reply.id, reply.rcode()));
            }
        }
        assert_eq!(failed, [(3, rcodes::SERVFAIL)], "round {round}");
    }
}

#[tokio::test]
async fn once_more_is_not_for_ever() {
    let stage = Stage::script(|_| vec![Action::Close]).await;

    let reply = stage.client().ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    let asked = stage.asked().len();
    assert_eq!(asked, 2, "one try and one more");
}

#[tokio::test]
async fn many_queries_survive_the_end_of_their_connection() {
    let mut waiting = 0;
    let script = move |query: &Received| {
        waiting += 1;
        match waiting {
            ..30 => Vec::new(),
            30 => vec![Action::Close],
            _ => vec![Action::Send(faithful_answer(query).encode())],
        }
    };
    let stage = undisturbed(script).await;

    let mut clients = JoinSet::new();
    for number in 0..30 {
        let client = stage.client();
        clients.spawn(async move {
            let name = format!("n{number}.example.");
            assert_eq!(client.ask(&name, types::TXT).await.texts(), [name]);
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let connections = stage.upstream.seen().connections;
    assert!((2..5).contains(&connections), "{connections} for thirty queries");
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_loses_nothing() {
    let stage =
        Stage::script(|query| vec![Action::Send(faithful_answer(query).encode()), Action::Close])
            .await;

    for at_a_time in [1, 2, 5, 30] {
        let mut clients = JoinSet::new();
        for number in 0..at_a_time {
            let client = stage.client();
            clients.spawn(async move {
                let name = format!("n{number}.{at_a_time}.example");
                let reply = client.ask(&name, types::A).await;
                assert_eq!(reply.rcode(), rcodes::NOERROR, "query {number} of {at_a_time}");
            });
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    }
}

#[tokio::test]
async fn a_connection_that_idled_away_is_opened_again() {
    let stage = Stage::new().await;
    for round in 0..3 {
        assert_eq!(
            stage.client().ask("www.example", types::A).await.rcode(),
            rcodes::NOERROR,
            "round {round}"
        );
        stage.upstream.cut_connections();
        stage.upstream.until("the end of the connection", |seen| seen.ended > round).await;
    }
}

#[tokio::test]
async fn an_answer_in_pieces_is_an_answer() {
    let stage = Stage::script(|query| {
        let frame = dnsproxy_tests::wire::framed(&faithful_answer(query).encode());
        frame.into_iter().map(|octet| Action::Raw(vec![octet])).collect()
    })
    .await;

    assert_eq!(
        stage.client().ask("www.example", types::A).await.rcode(),
        rcodes::NOERROR,
        "RFC 7766 section 8"
    );
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let stage = Stage::script(|query| {
        let mut frame = dnsproxy_tests::wire::framed(&faithful_answer(query).encode());
        frame.truncate(20);
        vec![Action::Raw(frame), Action::Close]
    })
    .await;

    assert_eq!(
        stage.client().udp(&Query::new("www.example", types::A)).await.rcode(),
        rcodes::SERVFAIL
    );
}

/// CVE-2026-50046: a query whose client had left was used after it was freed.
#[tokio::test]
async fn nothing_is_held_for_a_client_that_went_away() {
    let stage = Stage::spec(json!({"limits": {"maxInFlight": 50}})).await;
    for number in 0..200u16 {
        let mut stream = stage.client().connect().await.unwrap();
        stream.send(&Query::new(&format!("n{number}.example"), types::A).encode()).await.unwrap();
    }

    dnsproxy_tests::eventually("an answer", async || {
        (stage.client().ask("www.example", types::A).await.rcode() == rcodes::NOERROR).then_some(())
    })
    .await;
}
