//! Everything has a bound, and what is over it is told so or closed; nobody's idleness is another's loss.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use dnsproxy_tests::{
    client::Stream,
    eventually, kernel,
    proxy::loopback,
    stage::Stage,
    upstream::{Action, Gate, Received, faithful_answer},
    wire::{self, Query, Response, rcodes, types},
};
use serde_json::json;

fn query() -> Query {
    Query::new("www.example", types::A).edns(1232)
}

/// CVE-2025-47950 and CVE-2025-68151: work was started for every query, however many there were.
#[tokio::test]
async fn queries_in_flight_are_bounded() {
    let gate = Gate::default();
    let held = gate.clone();
    let stage = Stage::with(
        |setup| {
            setup.script(move |query| {
                vec![Action::When(held.clone(), faithful_answer(query).encode())]
            })
        },
        json!({"limits": {"maxInFlight": 10}}),
    )
    .await;
    let mut stream = stage.client().connect().await.unwrap();
    for id in 0..10 {
        let query = Query::new(&format!("n{id}.example"), types::A);
        stream.send(&query.id(id).encode()).await.unwrap();
    }
    stage.upstream.until("ten questions", |seen| seen.queries.len() >= 10).await;

    let before = Instant::now();
    let over = stage.client().udp(&query()).await;
    assert_eq!(over.rcode(), rcodes::SERVFAIL);
    assert_eq!(over.ede(), Some((0, "limits.maxInFlight".to_owned())), "which limit it was");
    assert!(before.elapsed() < Duration::from_secs(1), "at once, not at the deadline");
    let label = "limit=\"limits.maxInFlight\"";
    assert_eq!(stage.proxy.admin.sum("dnsproxy_limited_total", &[label]).await, 1.0);
    gate.open();
    for _ in 0..10 {
        assert_eq!(
            stream.reply().await.rcode(),
            rcodes::NOERROR,
            "those that were taken are answered"
        );
    }
    assert_eq!(
        stage.client().udp(&query()).await.rcode(),
        rcodes::NOERROR,
        "and there is room again"
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let stage = Stage::spec(json!({"limits": {"tcpIdleTimeout": "300ms"}})).await;
    let mut silent = stage.client().connect().await.unwrap();
    let mut served = stage.client().connect().await.unwrap();
    served.send(&query().encode()).await.unwrap();
    served.reply().await;
    let mut half = stage.client().connect().await.unwrap();
    half.send_raw(&[0]).await.unwrap();

    for (why, stream) in
        [("silent", &mut silent), ("served", &mut served), ("half a length", &mut half)]
    {
        stream
            .ended()
            .await
            .unwrap_or_else(|error| panic!("{why}: {error:#} (RFC 7766 section 6.2.3)"));
    }
}

#[tokio::test]
async fn a_connection_that_waits_for_an_answer_is_not_idle() {
    let stage = Stage::with(
        |setup| {
            setup.script(|query| {
                vec![Action::After(Duration::from_millis(900), faithful_answer(query).encode())]
            })
        },
        json!({"limits": {"tcpIdleTimeout": "300ms"}}),
    )
    .await;
    let mut stream = stage.client().connect().await.unwrap();
    stream.send(&query().encode()).await.unwrap();

    assert_eq!(stream.reply().await.rcode(), rcodes::NOERROR);
}

/// CVE-2026-32934: a client that sends an octet now and then held its connection for ever.
#[tokio::test]
async fn a_client_that_drips_its_query_is_left() {
    let stage = Stage::spec(json!({"limits": {"tcpIdleTimeout": "300ms"}})).await;
    let mut stream = stage.client().connect().await.unwrap();
    let frame = wire::framed(&query().encode());

    let before = Instant::now();
    for octet in &frame[..frame.len() - 1] {
        if stream.send_raw(&[*octet]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stream.ended().await.unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(4),
        "a message has the time of an idle connection, not its octets"
    );
}

#[tokio::test]
async fn one_client_has_so_many_connections_and_no_more() {
    let stage = Stage::spec(json!({"limits": {"tcpConnectionsPerClient": 3}})).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = stage.client().connect().await.unwrap();
        stream.send(&query().encode()).await.unwrap();
        stream.reply().await;
        open.push(stream);
    }

    stage.client().connect().await.unwrap().ended().await.expect("the fourth is closed");
    let refused = stage.proxy.admin.sum("dnsproxy_tcp_connections_refused_total", &[]).await;
    assert_eq!(refused, 1.0, "and counted");
    let other = stage.client().from(loopback(2));
    assert_eq!(
        other.tcp(&query()).await.rcode(),
        rcodes::NOERROR,
        "another client is not concerned"
    );
    open.pop();
    eventually("a free place", async || {
        let mut stream = stage.client().connect().await.ok()?;
        stream.send(&query().encode()).await.ok()?;
        stream.receive().await.ok()
    })
    .await;
}

#[tokio::test]
async fn when_all_places_are_taken_the_longest_idle_connection_goes() {
    let stage = Stage::spec(json!({"limits": {"tcpConnections": 3}})).await;
    let mut streams = Vec::new();
    for last in 1..=3 {
        let mut stream = stage.client().from(loopback(last)).connect().await.unwrap();
        stream.send(&query().encode()).await.unwrap();
        stream.reply().await;
        streams.push(stream);
    }
    // The first one speaks again: now the second is idle longest.
    streams[0].send(&query().encode()).await.unwrap();
    streams[0].reply().await;

    assert_eq!(stage.client().from(loopback(4)).tcp(&query()).await.rcode(), rcodes::NOERROR);
    streams[1].ended().await.expect("the longest idle one is closed");
    streams[0].send(&query().encode()).await.unwrap();
    assert_eq!(streams[0].reply().await.rcode(), rcodes::NOERROR, "the others stay");
}

/// A client that takes an octet now and then would else keep its place, beside the one that was made of it.
#[tokio::test]
async fn a_connection_that_is_to_make_room_goes_whatever_it_has_not_taken() {
    let limits = json!({"limits": {"tcpConnections": 1, "tcpIdleTimeout": "60s"}});
    let stage = Stage::spec(limits).await;
    let slow = stage.client().connect().await.unwrap();
    take_nothing(&slow).await;

    let next = stage.client().from(loopback(2));
    assert_eq!(next.tcp(&query()).await.rcode(), rcodes::NOERROR);
    let server = stage.client().server;
    eventually("the end of the slow one", async || (kernel::unread(server) == 0).then_some(()))
        .await;
    drop(slow);
}

/// What waits for an upstream has a place that all clients share: until its deadline, whatever its client does.
#[tokio::test]
async fn a_client_that_takes_no_answers_keeps_no_place_from_others() {
    let stage = Stage::with(
        |setup| {
            setup.script(|query| match query.name().starts_with("silent.") {
                true => Vec::new(),
                false => vec![Action::Send(faithful_answer(query).encode())],
            })
        },
        json!({"limits": {"maxInFlight": 1, "queryDeadline": "1s", "tcpIdleTimeout": "60s"}}),
    )
    .await;
    let mut slow = stage.client().connect().await.unwrap();
    slow.send(&Query::new("silent.example", types::A).encode()).await.unwrap();
    stage.upstream.until("its question", |seen| !seen.queries.is_empty()).await;
    take_nothing(&slow).await;

    eventually("a place for others", async || {
        let reply = stage.client().udp(&query()).await;
        (reply.rcode() == rcodes::NOERROR).then_some(())
    })
    .await;
    drop(slow);
}

/// Sends queries that are answered at once, until neither side has room for one more.
async fn take_nothing(slow: &Stream) {
    let name = format!("{}example", format!("{}.", "x".repeat(60)).repeat(3));
    let frame = wire::framed(&Query::new(&name, types::ANY).encode());
    let (queries, sent) = (frame.repeat(1000), Cell::new(0));
    eventually("queries that nobody reads", async || {
        sent.set(sent.get() + slow.send_some(&queries[sent.get() % frame.len()..]));
        let (unacknowledged, unread) = slow.on_the_way();
        (unacknowledged > 0 && unread > 10_000).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_idle_connections_do_not_matter_to_others() {
    let stage = Stage::spec(json!({"limits": {"tcpConnectionsPerClient": 2000}})).await;
    let mut idle = Vec::new();
    for _ in 0..800 {
        idle.push(stage.client().connect().await.unwrap());
    }

    assert_eq!(stage.client().udp(&query()).await.rcode(), rcodes::NOERROR);
    assert_eq!(stage.client().tcp(&query()).await.rcode(), rcodes::NOERROR);
}

/// CVE-2025-68151: a client that reads nothing made the server hold everything it had to say.
#[tokio::test]
async fn a_client_that_never_reads_is_left_and_holds_nothing() {
    let stage = Stage::spec(json!({"limits": {"tcpIdleTimeout": "500ms"}})).await;
    let mut greedy = stage.client().connect().await.unwrap();
    let big = wire::framed(&Query::new("big.example", types::TXT).encode()).repeat(100);
    for _ in 0..200 {
        let sending = tokio::time::timeout(Duration::from_secs(1), greedy.send_raw(&big)).await;
        if !matches!(sending, Ok(Ok(()))) {
            break;
        }
    }

    let taken = || stage.proxy.admin.sum("dnsproxy_queries_total", &["transport=\"tcp\""]);
    assert_eq!(stage.client().udp(&query()).await.rcode(), rcodes::NOERROR, "others are served");
    let open = || stage.proxy.admin.sum("dnsproxy_tcp_connections", &[]);
    eventually("the end of the connection", async || (open().await == 0.0).then_some(())).await;
    let taken = taken().await;
    assert!(
        taken < 5000.0,
        "{taken} of twenty thousand queries were taken, of which nobody took an answer"
    );
}

/// Queries wait before anybody knows how long their answers are: what comes of all of them is bounded, too.
#[tokio::test]
async fn long_answers_that_nobody_takes_are_bounded() {
    let stage = Stage::script(long_answer).await;
    let mut patient = stage.client().connect().await.unwrap();
    let mut greedy = Vec::new();
    for number in 0..10 {
        let mut stream = stage.client().connect().await.unwrap();
        let queries = (0..100).flat_map(|id| {
            let query = Query::new(&format!("n{id}.of{number}.example"), types::TXT).id(id);
            wire::framed(&query.encode())
        });
        stream.send_raw(&queries.collect::<Vec<_>>()).await.unwrap();
        greedy.push(stream);
    }

    let given_up = || stage.proxy.admin.sum("dnsproxy_tcp_connections_given_up_total", &[]);
    eventually("the end of all ten", async || (given_up().await == 10.0).then_some(())).await;
    let held = stage.proxy.admin.sum("dnsproxy_tcp_held_bytes", &[]).await;
    assert!(held < 100_000.0, "{held} octets");
    patient.send(&Query::new("other.example", types::TXT).encode()).await.unwrap();
    assert_eq!(patient.reply().await.rcode(), rcodes::NOERROR, "who takes answers has them");
}

/// Almost as long as a message may be.
fn long_answer(query: &Received) -> Vec<Action> {
    let text = "x".repeat(250);
    let response = (0..230).fold(Response::to(&query.message), |it, _| it.txt(&text));
    vec![Action::Send(response.encode())]
}

#[tokio::test]
async fn long_answers_that_are_taken_all_arrive() {
    let stage = Stage::script(long_answer).await;
    let mut eager = stage.client().connect().await.unwrap();
    let queries = (0..60).flat_map(|id| {
        wire::framed(&Query::new(&format!("n{id}.example"), types::TXT).id(id).encode())
    });
    eager.send_raw(&queries.collect::<Vec<_>>()).await.unwrap();

    for number in 0..60 {
        assert_eq!(eager.reply().await.rcode(), rcodes::NOERROR, "reply {number}");
    }
}

/// RFC 9520 section 3.1 and DNSpooq's birthday: silence upstream, many clients, a bounded number of questions.
#[tokio::test]
async fn silence_upstream_is_not_answered_by_a_storm() {
    let stage = Stage::with(
        |setup| setup.silent(),
        json!({"limits": {"queryDeadline": "1s", "maxInFlight": 100}}),
    )
    .await;
    let socket = stage.client().socket().await;
    for id in 0..100 {
        socket.send(&query().id(id).encode()).await.unwrap();
    }
    for _ in 0..100 {
        socket.receive().await.unwrap();
    }

    let asked = stage.asked().len();
    assert!(asked <= 200, "a hundred questions became {asked}");
}
