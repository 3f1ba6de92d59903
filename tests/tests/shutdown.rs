//! SIGTERM drains: no query that was accepted is lost. A second signal ends at once.

use std::time::{Duration, Instant};

use dnsproxy_tests::{
    client::Client,
    eventually,
    manifest::{merged, upstreams},
    proxy::{Launch, Proxy, loopback},
    stage::Stage,
    upstream::{Action, Gate, faithful_answer, silent},
    wire::{Query, Reply, rcodes, types},
};
use nix::sys::signal::Signal;
use serde_json::json;

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
            stream.send(&query(id).encode()).await.unwrap();
        }
        stage.upstream.until("the questions", |seen| seen.queries.len() == 40).await;
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

#[tokio::test]
async fn the_drain_has_an_end() {
    let stage = Stage::with(|setup| setup.script(silent()), json!({})).await;
    let slow = merged(
        stage.upstream.entry("slow", &stage.authority),
        json!({"timeouts": {"query": "15s"}}),
    );
    let over =
        json!({"shutdown": {"delay": "0s", "drain": "500ms"}, "limits": {"queryDeadline": "20s"}});
    let mut proxy = Proxy::start(&merged(upstreams([slow]), over)).await;
    let socket = proxy.client().socket().await;
    socket.send(&query(1).encode()).await.unwrap();
    stage.upstream.until("the question", |seen| seen.queries.len() == 1).await;

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
    stage.upstream.until("the questions", |seen| seen.queries.len() == 3).await;
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
    stage.upstream.until("the question", |seen| seen.queries.len() == 1).await;
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
