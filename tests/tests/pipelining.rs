//! Many queries share one connection, in both directions, and each answer finds its question.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dnsproxy_tests::{
    certificates::Authority,
    client::Stream,
    manifest::{merged, upstreams},
    proxy::Proxy,
    stage::Stage,
    upstream::{Action, Gate, Received, Upstream, faithful_answer},
    wire::{Query, Reply, types},
};
use serde_json::json;
use tokio::task::JoinSet;

fn numbered(number: u16) -> Query {
    Query::new(&format!("n{number}.example"), types::TXT).id(number).edns(1232)
}

/// Each text names its question, so that answers that were mixed up are seen.
fn expect_own_answer(reply: &Reply) {
    assert_eq!(reply.texts(), [format!("n{}.example.", reply.id)]);
}

fn answer(query: &Received) -> Action {
    Action::Send(faithful_answer(query).encode())
}

#[tokio::test]
async fn one_connection_carries_many_queries() {
    let stage = Stage::new().await;
    for number in 0..200 {
        expect_own_answer(&stage.client().udp(&numbered(number)).await);
    }

    let seen = stage.upstream.seen();
    let handshakes = seen.handshakes.len();
    assert!(handshakes < 10, "{handshakes} for 200 queries (RFC 7858 section 3.4)");
}

#[tokio::test]
async fn a_slow_answer_holds_nobody_up() {
    let gate = Gate::default();
    let held = gate.clone();
    let stage = Stage::script(move |query| match query.name().as_str() {
        "n7.example." => vec![Action::When(held.clone(), faithful_answer(query).encode())],
        _ => vec![answer(query)],
    })
    .await;
    let mut stream = stage.client().connect().await.unwrap();
    for number in [7, 8, 9] {
        stream.send(&numbered(number).encode()).await.unwrap();
    }

    let early: BTreeSet<u16> = [stream.reply().await.id, stream.reply().await.id].into();
    assert_eq!(early, [8, 9].into(), "what is ready goes first (RFC 7766 section 7)");
    gate.open();
    expect_own_answer(&stream.reply().await);
    let seen = stage.upstream.seen();
    let ways: BTreeSet<_> = seen.queries[..3].iter().map(|query| query.connection).collect();
    assert_eq!(ways.len(), 1, "all three went on one connection");
}

#[tokio::test]
async fn answers_in_reverse_order_find_their_questions() {
    let mut waiting = Vec::new();
    let stage = Stage::script(move |query| {
        waiting.push(answer(query));
        if waiting.len() < 50 { Vec::new() } else { waiting.drain(..).rev().collect() }
    })
    .await;

    let mut clients = JoinSet::new();
    for number in 0..50 {
        let client = stage.client();
        clients.spawn(async move { expect_own_answer(&client.udp(&numbered(number)).await) });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn equal_ids_of_different_clients_are_no_trouble() {
    let stage = Stage::new().await;

    let mut clients = JoinSet::new();
    for number in 0..100 {
        let client = stage.client();
        clients.spawn(async move {
            let name = format!("c{number}.example.");
            assert_eq!(client.udp(&Query::new(&name, types::TXT).id(1)).await.texts(), [name]);
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
}

/// CVE-2025-30193: many queries on one connection exhausted the stack.
#[tokio::test]
async fn twenty_thousand_queries_on_one_connection() {
    let stage = Stage::new().await;
    let mut stream = stage.client().connect().await.unwrap();

    for batch in 0..200u16 {
        let first = batch * 100;
        let frames: Vec<u8> = (first..first + 100)
            .flat_map(|n| dnsproxy_tests::wire::framed(&numbered(n).encode()))
            .collect();
        stream.send_raw(&frames).await.unwrap();
        let mut answered = BTreeSet::new();
        for _ in 0..100 {
            let reply = stream.reply().await;
            expect_own_answer(&reply);
            answered.insert(reply.id);
        }
        assert_eq!(answered.len(), 100, "each of them once");
    }
    let connections = stage.upstream.seen().connections;
    assert!(connections < 20, "{connections} for twenty thousand queries");
}

/// CVE-2026-33596: IDs ran over and answers went to others. More queries than there are IDs, on one upstream connection.
#[tokio::test]
async fn more_queries_than_ids_on_one_connection() {
    let is_worn = Arc::new(AtomicBool::new(false));
    let mut carried = BTreeMap::new();
    let worn = Arc::clone(&is_worn);
    let script = move |query: &Received| {
        let carried: &mut usize = carried.entry(query.connection).or_default();
        *carried += 1;
        worn.fetch_or(*carried > 70_000, Ordering::Relaxed);
        vec![answer(query)]
    };
    let authority = Authority::default();
    let upstream = Upstream::tls(&authority.server()).script(script).start().await;
    let one = json!({"connections": {"max": 1}});
    let spec = upstreams([merged(upstream.entry("scripted", &authority), one)]);
    let proxy = Proxy::start(&spec).await;

    let mut clients = JoinSet::new();
    for client in 0..4u16 {
        let stream = proxy.client().connect().await.unwrap();
        clients.spawn(ask_until(Arc::clone(&is_worn), client, stream));
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    assert!(is_worn.load(Ordering::Relaxed), "no connection lasted for so many");
}

/// Asks by the hundred until the flag is up; gives up when it should be for long.
async fn ask_until(is_worn: Arc<AtomicBool>, client: u16, mut stream: Stream) {
    for batch in (0..600u16).take_while(|_| !is_worn.load(Ordering::Relaxed)) {
        let numbers = batch * 100..batch * 100 + 100;
        let name = |number: u16| format!("c{client}n{number}.example.");
        for number in numbers.clone() {
            let query = Query::new(&name(number), types::TXT).id(number);
            stream.send(&query.encode()).await.unwrap();
        }
        for _ in numbers {
            let reply = stream.reply().await;
            assert_eq!(reply.texts(), [name(reply.id)]);
        }
    }
}

#[tokio::test]
async fn a_client_that_finishes_sending_still_gets_its_answers() {
    let gate = Gate::default();
    let held = gate.clone();
    let stage = Stage::script(move |query| {
        vec![Action::When(held.clone(), faithful_answer(query).encode())]
    })
    .await;
    let mut stream = stage.client().connect().await.unwrap();
    stream.send(&numbered(1).encode()).await.unwrap();
    stream.finish_sending().await;
    stage.upstream.until("the query", |seen| !seen.queries.is_empty()).await;
    gate.open();

    expect_own_answer(&stream.reply().await);
}
