//! Equal questions at the same time make one exchange, and each client gets its own reply, whatever the others do.
//!
//! CVE-2020-25686, CVE-2023-30464, VU#457759: one exchange per client's copy of a question makes a forged answer
//! ever more likely.

use dnsproxy_tests::{
    client::{Socket, Stream, checked},
    eventually,
    stage::Stage,
    upstream::{Action, Gate, Received, faithful_answer},
    wire::{Query, Reply, rcodes, types},
};
use serde_json::json;

/// Holds every answer until the gate opens.
fn held(gate: &Gate) -> impl FnMut(&Received) -> Vec<Action> + Send + 'static {
    let gate = gate.clone();
    move |query| vec![Action::When(gate.clone(), faithful_answer(query).encode())]
}

/// Waits until the proxy has taken so many queries.
async fn taken(stage: &Stage, count: u32) {
    eventually("the queries taken", async || {
        let sum = stage.proxy.admin.sum("dnsproxy_queries_total", &[]).await;
        (sum >= f64::from(count)).then_some(())
    })
    .await;
}

fn query(name: &str, id: u16) -> Query {
    Query::new(name, types::TXT).id(id).edns(1232)
}

async fn asked_by(stage: &Stage, query: &Query) -> Socket {
    let socket = stage.client().socket().await;
    socket.send(&query.encode()).await.unwrap();
    socket
}

async fn asked_over_tcp(stage: &Stage, query: &Query) -> Stream {
    let mut stream = stage.client().connect().await.unwrap();
    stream.send(&query.encode()).await.unwrap();
    stream
}

async fn reply_to(query: &Query, socket: &Socket) -> Reply {
    checked(query, &socket.receive().await.unwrap())
}

/// A server that says nothing for a while is asked again by a probe or on another connection, but not once a client.
const FEW: usize = 3;

#[tokio::test]
async fn a_hundred_clients_make_one_exchange() {
    let gate = Gate::default();
    let stage = Stage::cached(held(&gate)).await;
    let spellings = ["www.example", "WWW.example", "www.EXAMPLE", "wwW.examplE"];
    let mut waiting = Vec::new();
    for (id, name) in (0..100).zip(spellings.into_iter().cycle()) {
        let query = query(name, id);
        waiting.push((asked_by(&stage, &query).await, query));
    }
    taken(&stage, 100).await;
    stage.upstream.until("the question", |seen| !seen.queries.is_empty()).await;
    let in_flight = stage.asked().len();
    gate.open();

    for (socket, query) in &waiting {
        assert_eq!(reply_to(query, socket).await.texts(), ["www.example."]);
    }
    assert!((1..=FEW).contains(&in_flight), "{in_flight} exchanges for a hundred clients");
    assert!(stage.asked().len() <= FEW, "{:?}", stage.asked());
}

#[tokio::test]
async fn different_questions_do_not_share() {
    let gate = Gate::default();
    let stage = Stage::cached(held(&gate)).await;
    let plain = query("www.example", 1);
    let queries = [
        plain.clone(),
        plain.clone().dnssec_ok(),
        plain.with(dnsproxy_tests::wire::flags::CD),
        query("other.example", 4),
        Query::new("www.example", types::A).id(5).edns(1232),
    ];
    let mut waiting = Vec::new();
    for query in &queries {
        waiting.push(asked_by(&stage, query).await);
    }
    stage.upstream.until("five questions", |seen| seen.queries.len() >= 5).await;
    gate.open();

    for (query, socket) in queries.iter().zip(&waiting) {
        assert_eq!(reply_to(query, socket).await.rcode(), rcodes::NOERROR);
    }
}

/// The one that asked first dies; another one is still waiting.
#[tokio::test]
async fn a_client_that_goes_away_takes_no_answer_from_the_others() {
    let gate = Gate::default();
    let stage = Stage::cached(held(&gate)).await;
    let leader = asked_over_tcp(&stage, &query("www.example", 1)).await;
    stage.upstream.until("the question", |seen| !seen.queries.is_empty()).await;
    let follower = query("www.example", 2);
    let socket = asked_by(&stage, &follower).await;
    taken(&stage, 2).await;
    leader.reset().unwrap();
    eventually("the connection closed", async || {
        let open = stage.proxy.admin.sum("dnsproxy_tcp_connections", &[]).await;
        (open == 0.0).then_some(())
    })
    .await;
    gate.open();

    let reply = reply_to(&follower, &socket).await;
    assert_eq!(reply.texts(), ["www.example."], "{reply:?}");
    assert!(stage.asked().len() <= FEW, "{:?}", stage.asked());
}

/// All of them go away: what was asked for is still worth keeping.
#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more_is_kept() {
    let gate = Gate::default();
    let stage = Stage::cached(held(&gate)).await;
    let leader = asked_over_tcp(&stage, &query("www.example", 1)).await;
    stage.upstream.until("the question", |seen| !seen.queries.is_empty()).await;
    drop(leader);
    gate.open();

    eventually("the answer kept", async || {
        let entries = stage.proxy.admin.sum("dnsproxy_cache_entries", &[]).await;
        (entries == 1.0).then_some(())
    })
    .await;
    let asked = stage.asked().len();
    assert_eq!(stage.client().udp(&query("www.example", 3)).await.texts(), ["www.example."]);
    assert_eq!(stage.asked().len(), asked);
}

/// A client that came early has waited long enough; one that came late has not.
#[tokio::test]
async fn each_client_has_a_deadline_of_its_own() {
    let gate = Gate::default();
    let script = held(&gate);
    let over =
        json!({"limits": {"queryDeadline": "1s"}, "cache": {"serveStale": {"mode": "Disabled"}}});
    let stage = Stage::with(|setup| setup.script(script), over).await;
    let early = query("www.example", 1);
    let socket = asked_by(&stage, &early).await;
    let failed = reply_to(&early, &socket).await;
    assert_eq!(failed.rcode(), rcodes::SERVFAIL, "at the deadline");
    gate.open();

    eventually("an answer for those who ask again", async || {
        let reply = stage.client().udp(&query("www.example", 2)).await;
        (reply.rcode() == rcodes::NOERROR).then_some(())
    })
    .await;
}
