//! A route, and a server, has so many queries at a time; one that is over the bound is told which, and no other route is.

use dnsproxy_tests::{
    certificates::Authority,
    eventually,
    manifest::{merged, upstreams},
    proxy::Proxy,
    upstream::{Action, Gate, Received, Setup, Upstream, faithful_answer},
    wire::{Query, Reply, rcodes, types},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn query(id: u16, zone: &str) -> Query {
    Query::new(&format!("n{id}.{zone}"), types::TXT).id(id).edns(1232)
}

/// A server for `stub.example`, and one for everything else.
struct Scene {
    stub: Upstream,
    _other: Upstream,
    proxy: Proxy,
}

impl Scene {
    async fn new(make: impl FnOnce(Setup) -> Setup, stub: Value, route: Value) -> Self {
        let authority = Authority::default();
        let identity = authority.server();
        let upstream = make(Upstream::tls(&identity)).start().await;
        let other = Upstream::tls(&identity).start().await;
        let spec = upstreams([
            merged(upstream.entry("stub", &authority), stub),
            other.entry("other", &authority),
        ]);
        let of_stub = json!({"name": "stub", "zones": ["stub.example"], "upstreams": ["stub"]});
        let routes = json!([
            merged(of_stub, route),
            {"name": "default", "zones": ["."], "upstreams": ["other"]},
        ]);
        let proxy = Proxy::start(&merged(spec, json!({"routes": routes}))).await;
        Self { stub: upstream, _other: other, proxy }
    }

    async fn limited(&self, limit: &str) -> f64 {
        let label = format!("limit=\"{limit}\"");
        self.proxy.admin.sum("dnsproxy_limited_total", &[&label]).await
    }

    async fn expect_other_route(&self, id: u16) {
        let reply = self.proxy.client().udp(&query(id, "example")).await;
        assert_eq!(reply.texts(), [format!("n{id}.example.")], "{:?}", reply.ede());
    }
}

fn held(gate: &Gate) -> impl FnMut(&Received) -> Vec<Action> + Send + 'static {
    let gate = gate.clone();
    move |query| vec![Action::When(gate.clone(), faithful_answer(query).encode())]
}

#[tokio::test]
async fn queries_in_flight_on_a_route_are_bounded() {
    let gate = Gate::default();
    let script = held(&gate);
    let scene =
        Scene::new(|setup| setup.script(script), json!({}), json!({"maxInFlight": 5})).await;
    let mut stream = scene.proxy.client().connect().await.unwrap();
    for id in 0..5 {
        stream.send(&query(id, "stub.example").encode()).await.unwrap();
    }
    scene.stub.until("five questions", |seen| seen.queries.len() >= 5).await;

    let over = scene.proxy.client().udp(&query(5, "stub.example")).await;
    assert_eq!(over.rcode(), rcodes::SERVFAIL);
    assert_eq!(over.ede(), Some((0, "routes.maxInFlight".to_owned())), "which limit it was");
    assert_eq!(scene.limited("routes.maxInFlight").await, 1.0);
    assert_eq!(scene.limited("limits.maxInFlight").await, 0.0);
    scene.expect_other_route(6).await;
    gate.open();
    for _ in 0..5 {
        assert_eq!(stream.reply().await.rcode(), rcodes::NOERROR, "those that were taken");
    }
    let after = scene.proxy.client().udp(&query(7, "stub.example")).await;
    assert_eq!(after.rcode(), rcodes::NOERROR, "and there is room again");
}

/// A stub zone whose servers are dead, and clients that ask for nothing else.
#[tokio::test]
async fn a_dead_zone_does_not_starve_the_others() {
    let scene = Scene::new(Setup::silent, json!({}), json!({"maxInFlight": 10})).await;
    let mut clients = JoinSet::new();
    for client in 0..4 {
        let socket = scene.proxy.client().socket().await;
        clients.spawn(async move {
            let ids = client * 100..client * 100 + 100;
            for id in ids.clone() {
                socket.send(&query(id, "stub.example").encode()).await.unwrap();
            }
            let mut limited = 0;
            for _ in ids {
                let reply = Reply::parse(&socket.receive().await.unwrap()).unwrap();
                assert_eq!(reply.rcode(), rcodes::SERVFAIL);
                limited += u16::from(reply.ede().unwrap() == (0, "routes.maxInFlight".to_owned()));
            }
            limited
        });
    }
    for id in 0..100 {
        scene.expect_other_route(id).await;
    }

    let limited: u16 = clients.join_all().await.into_iter().sum();
    assert!(limited > 0, "four hundred queries for ten places");
    assert_eq!(scene.limited("routes.maxInFlight").await, f64::from(limited));
    scene.expect_other_route(0).await;
}

#[tokio::test]
async fn queries_in_flight_on_the_connections_to_a_server_are_bounded() {
    let gate = Gate::default();
    let script = held(&gate);
    let connections = json!({"connections": {"max": 1, "maxInFlight": 16}});
    let scene = Scene::new(|setup| setup.script(script), connections, json!({})).await;
    let socket = scene.proxy.client().socket().await;
    for id in 0..200 {
        socket.send(&query(id, "stub.example").encode()).await.unwrap();
    }

    let over = Reply::parse(&socket.receive().await.unwrap()).unwrap();
    assert_eq!(over.rcode(), rcodes::SERVFAIL);
    let (code, text) = over.ede().unwrap();
    assert!(code == 0 && text.contains("connections.maxInFlight"), "which limit: {code} {text}");
    assert!(scene.limited("connections.maxInFlight").await > 0.0);
    scene.expect_other_route(1).await;
    gate.open();
    eventually("room again", async || {
        let after = scene.proxy.client().udp(&query(300, "stub.example")).await;
        (after.rcode() == rcodes::NOERROR).then_some(())
    })
    .await;
}
