//! SIGTERM drains: no query that was accepted is lost. A second signal ends at once.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use dnsproxy_tests::{
    client::Client,
    eventually, kernel,
    manifest::{merged, upstreams},
    proxy::{Launch, Proxy, loopback},
    stage::Stage,
    upstream::{Action, Gate, faithful_answer},
    wire::{self, Query, Reply, rcodes, types},
};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

fn query(id: u16) -> Query {
    Query::new(&format!("n{id}.example"), types::TXT).id(id).edns(1232)
}

#[tokio::test]
async fn queries_in_flight_are_answered_before_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let gate = Gate::default();
        let held = gate.clone();
        let mut stage = Stage::with(
            |setup| {
                setup.script(move |query| {
                    vec![Action::When(held.clone(), faithful_answer(query).encode())]
                })
            },
            json!({"shutdown": {"delay": "0s", "drain": "20s"}}),
        )
        .await;
        let socket = stage.client().socket().await;
        let mut stream = stage.client().connect().await.unwrap();
        for id in 0..20 {
            socket.send(&query(id).encode()).await.unwrap();
            stream.send(&query(100 + id).encode()).await.unwrap();
        }
        stage.upstream.until("the questions", |seen| seen.queries.len() >= 40).await;
        stage.proxy.signal(signal);
        stage.proxy.says("that it ends", |line| line.contains("shutting down")).await;
        gate.open();

        for _ in 0..20 {
            let reply = Reply::parse(&socket.receive().await.unwrap()).unwrap();
            assert_eq!(reply.texts(), [format!("n{}.example.", reply.id)]);
            let reply = stream.reply().await;
            assert_eq!(reply.texts(), [format!("n{}.example.", reply.id)]);
        }
        assert!(stage.proxy.ended().await.success(), "{signal}: a wish that was granted");
    }
}

/// While the endpoints of a Service still name a pod, it must go on: a socket that is closed too early loses queries.
#[tokio::test]
async fn during_the_delay_queries_are_taken_and_the_pod_is_not_ready() {
    let mut stage = Stage::spec(json!({"shutdown": {"delay": "2s", "drain": "5s"}})).await;
    assert_eq!(stage.proxy.admin.get("/readyz").await.status, 200);
    stage.proxy.signal(Signal::SIGTERM);

    eventually("not ready", async || {
        (stage.proxy.admin.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    assert_eq!(stage.proxy.admin.get("/livez").await.status, 200, "alive all the same");
    assert_eq!(stage.client().udp(&query(1)).await.rcode(), rcodes::NOERROR);
    assert_eq!(stage.client().tcp(&query(2)).await.rcode(), rcodes::NOERROR);
    assert!(stage.proxy.ended().await.success());
}

/// Asks as fast as it can until the proxy is gone: every query that its socket took has its answer.
#[tokio::test]
async fn no_query_that_was_accepted_is_lost() {
    let mut stage = Stage::spec(json!({"shutdown": {"delay": "300ms", "drain": "5s"}})).await;
    let socket = stage.client().socket().await;
    let mut id = 0;
    let mut unanswered = None;
    while unanswered.is_none() {
        if id == 50 {
            stage.proxy.signal(Signal::SIGTERM);
        }
        // Refused at the port: the socket was closed before, so this one was not accepted.
        if socket.send(&query(id).encode()).await.is_err() {
            break;
        }
        match socket.receive().await {
            Ok(reply) => assert_eq!(Reply::parse(&reply).unwrap().rcode(), rcodes::NOERROR),
            Err(error) => unanswered = Some(error),
        }
        id += 1;
    }

    assert!(id > 50, "it went on after the signal");
    if let Some(error) = unanswered {
        assert!(error.downcast_ref::<std::io::Error>().is_some(), "refused, not lost: {error:#}");
    }
    assert!(stage.proxy.ended().await.success());
}

/// A long name, so that few queries fill the kernel's buffers.
fn long_query(id: u16) -> Vec<u8> {
    let name = format!("{}example", format!("{}.", "x".repeat(60)).repeat(3));
    wire::framed(&Query::new(&name, types::ANY).id(id).encode())
}

/// What a client that takes no answers has pipelined waits in the kernel: it was accepted, all of it.
#[tokio::test]
async fn pipelined_queries_that_the_kernel_holds_are_answered() {
    let mut stage = Stage::spec(json!({"shutdown": {"delay": "0s", "drain": "25s"}})).await;
    let mut stream = stage.client().connect().await.unwrap();
    let sent = Cell::new(0);
    let frame = long_query(1).len();
    let queries = long_query(1).repeat(1000);
    let unread = eventually("queries that nobody reads", async || {
        loop {
            let count = stream.send_some(&queries[sent.get() % frame..]);
            sent.set(sent.get() + count);
            if count == 0 {
                break;
            }
        }
        let (unacknowledged, unread) = stream.on_the_way();
        (unacknowledged > 0 && unread > 20_000).then_some(unread)
    })
    .await;
    let accepted = (sent.get() - stream.on_the_way().0) / frame;
    stage.proxy.signal(Signal::SIGTERM);
    stage.proxy.says("that it ends", |line| line.contains("shutting down")).await;

    let mut answered = 0;
    while stream.receive().await.is_ok() {
        answered += 1;
    }
    assert!(answered >= accepted, "{answered} of {accepted}; {unread} octets were not read");
    assert!(stage.proxy.ended().await.success());
}

/// The process stands still while they connect: all wait in the backlog when it is told to end.
#[tokio::test]
async fn connections_that_wait_in_the_backlog_are_served() {
    let mut stage = Stage::spec(json!({
        "shutdown": {"delay": "0s", "drain": "25s"},
        "limits": {"tcpConnectionsPerClient": 1000},
    }))
    .await;
    stage.proxy.stand_still().await;
    let mut streams = Vec::new();
    for id in 0..500 {
        let mut stream = stage.client().connect().await.unwrap();
        stream.send(&query(id).encode()).await.unwrap();
        streams.push(stream);
    }
    let server = stage.client().server;
    let sent: usize = (0..500).map(|id| wire::framed(&query(id).encode()).len()).sum();
    eventually("all of them in the kernel", async || {
        (kernel::unread(server) == sent).then_some(())
    })
    .await;
    stage.proxy.signal(Signal::SIGTERM);
    stage.proxy.signal(Signal::SIGCONT);

    for (number, stream) in streams.iter_mut().enumerate() {
        let reply = stream.receive().await.unwrap_or_else(|error| panic!("{number}: {error:#}"));
        assert_eq!(Reply::parse(&reply).unwrap().rcode(), rcodes::NOERROR);
    }
    assert!(stage.proxy.ended().await.success());
}

/// What comes after the signal is not taken: else the last client alone decides when the process ends.
#[tokio::test]
async fn a_client_that_sends_without_end_does_not_hold_the_end_up() {
    let mut stage = Stage::spec(json!({"shutdown": {"delay": "0s", "drain": "60s"}})).await;
    let stream = tokio::net::TcpStream::connect(stage.client().server).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let queries = long_query(1).repeat(100);
    let mut sending = JoinSet::new();
    sending.spawn(async move { while writer.write_all(&queries).await.is_ok() {} });
    let mut answers = [0; 4096];
    reader.read_exact(&mut answers).await.unwrap();

    stage.proxy.signal(Signal::SIGTERM);
    while reader.read(&mut answers).await.is_ok_and(|count| count > 0) {}
    assert!(stage.proxy.ended().await.success(), "long before the drain is over");
    sending.join_all().await;
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let stage = Stage::with(|setup| setup.silent(), json!({})).await;
    let slow = merged(
        stage.upstream.entry("slow", &stage.authority),
        json!({"timeouts": {"query": "15s"}}),
    );
    let over =
        json!({"shutdown": {"delay": "0s", "drain": "500ms"}, "limits": {"queryDeadline": "20s"}});
    let mut proxy = Proxy::start(&merged(upstreams([slow]), over)).await;
    let socket = proxy.client().socket().await;
    socket.send(&query(1).encode()).await.unwrap();
    stage.upstream.until("the question", |seen| !seen.queries.is_empty()).await;

    let before = Instant::now();
    proxy.signal(Signal::SIGTERM);
    proxy.ended().await;
    assert!(before.elapsed() < Duration::from_secs(5), "{:?} for half a second", before.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut stage = Stage::spec(json!({"shutdown": {"delay": "20s", "drain": "20s"}})).await;
    stage.proxy.signal(Signal::SIGTERM);
    eventually("not ready", async || {
        (stage.proxy.admin.get("/readyz").await.status == 503).then_some(())
    })
    .await;

    let before = Instant::now();
    stage.proxy.signal(Signal::SIGTERM);
    stage.proxy.ended().await;
    assert!(before.elapsed() < Duration::from_secs(5));
}

/// A server that is left without a word cannot tell the end from an attack (RFC 8446 section 6.1).
#[tokio::test]
async fn upstreams_are_taken_leave_of() {
    let mut stage = Stage::spec(json!({"shutdown": {"delay": "0s", "drain": "20s"}})).await;
    assert_eq!(stage.client().udp(&query(1)).await.rcode(), rcodes::NOERROR);

    stage.proxy.signal(Signal::SIGTERM);
    assert!(stage.proxy.ended().await.success());
    stage.upstream.until("the end", |seen| seen.ended == seen.connections).await;
    let seen = stage.upstream.seen();
    assert!(seen.connections > 0);
    assert_eq!(seen.connections, seen.farewells, "by a close_notify");
}

#[tokio::test]
async fn an_idle_client_does_not_hold_the_end_up() {
    let mut stage = Stage::spec(json!({"shutdown": {"delay": "0s", "drain": "20s"}})).await;
    let mut idle = stage.client().connect().await.unwrap();
    idle.send(&query(1).encode()).await.unwrap();
    idle.reply().await;

    let before = Instant::now();
    stage.proxy.signal(Signal::SIGTERM);
    idle.ended().await.unwrap();
    assert!(stage.proxy.ended().await.success());
    assert!(before.elapsed() < Duration::from_secs(10));
}

/// What leaves last leaves from the address that was asked, for clients of both families.
#[tokio::test]
async fn the_last_replies_come_from_the_address_that_was_asked() {
    let gate = Gate::default();
    let held = gate.clone();
    let stage = Stage::script(move |query| {
        vec![Action::When(held.clone(), faithful_answer(query).encode())]
    })
    .await;
    let spec = merged(stage.spec.clone(), json!({"shutdown": {"delay": "0s", "drain": "20s"}}));
    let mut proxy = Launch::new(&spec).listen("[::]:0").start().await;
    let port = proxy.udp[0].port();
    let mut sockets = Vec::new();
    for address in [loopback(1), loopback(2), "::1".parse().unwrap()] {
        let socket = Client::of((address, port).into()).socket().await;
        socket.send(&query(1).encode()).await.unwrap();
        sockets.push(socket);
    }
    // Equal ones are asked once.
    stage.upstream.until("the question", |seen| !seen.queries.is_empty()).await;
    proxy.signal(Signal::SIGTERM);
    proxy.says("that it ends", |line| line.contains("shutting down")).await;
    gate.open();

    for socket in sockets {
        assert_eq!(
            Reply::parse(&socket.receive().await.unwrap()).unwrap().rcode(),
            rcodes::NOERROR
        );
    }
    assert!(proxy.ended().await.success());
}

/// A socket that is open and not read would take queries in silence while the last answers are awaited.
#[tokio::test]
async fn a_query_that_comes_too_late_is_refused_by_the_kernel() {
    let gate = Gate::default();
    let held = gate.clone();
    let mut stage = Stage::with(
        |setup| {
            setup.script(move |query| {
                vec![Action::When(held.clone(), faithful_answer(query).encode())]
            })
        },
        json!({"shutdown": {"delay": "0s", "drain": "20s"}}),
    )
    .await;
    let early = stage.client().socket().await;
    early.send(&query(1).encode()).await.unwrap();
    stage.upstream.until("the question", |seen| !seen.queries.is_empty()).await;
    stage.proxy.signal(Signal::SIGTERM);
    eventually("refusal", async || {
        let late = stage.client().socket().await;
        late.send(&query(2).encode()).await.ok()?;
        let waiting = tokio::time::timeout(Duration::from_millis(100), late.receive()).await;
        matches!(waiting, Ok(Err(_))).then_some(())
    })
    .await;
    gate.open();

    assert_eq!(Reply::parse(&early.receive().await.unwrap()).unwrap().rcode(), rcodes::NOERROR);
    assert!(stage.proxy.ended().await.success());
}
