//! A server that forwards to this very proxy is found and taken out; nothing else is lost by it.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use dnsproxy_tests::{
    certificates::Authority,
    eventually,
    manifest::{merged, upstreams},
    proxy::Proxy,
    upstream::{Action, Received, Setup, Upstream},
    wire::{rcodes, types},
};
use serde_json::{Value, json};

/// Where the servers forward to, once it is known.
#[derive(Clone, Default)]
struct Target(Arc<OnceLock<SocketAddr>>);

impl Target {
    /// A server that asks the target everything that it is asked.
    fn of(&self, setup: Setup) -> Setup {
        setup.script(self.script()).checks(self.script())
    }

    fn script(&self) -> impl FnMut(&Received) -> Vec<Action> + Send + 'static {
        let Self(target) = self.clone();
        move |query| {
            let forward = |to: &SocketAddr| Action::Forward(*to, query.message.clone());
            target.get().map(forward).into_iter().collect()
        }
    }
}

struct Scene {
    _servers: [Upstream; 2],
    proxy: Proxy,
}

impl Scene {
    /// The route `around` leads back, with `spare` behind the one that does; the route `good` does not.
    async fn new(protocol: &str, zone: &str, spare: &[&str]) -> Self {
        let (authority, target) = (Authority::default(), Target::default());
        let identity = authority.server();
        let setup = if protocol == "TLS" { Upstream::tls(&identity) } else { Upstream::plain() };
        let leading_back = target.of(setup).start().await;
        let good = Upstream::tls(&identity).start().await;
        let entry = match protocol {
            "TLS" => leading_back.entry("around", &authority),
            _ => leading_back.plain_entry("around", protocol),
        };
        let of_around = [&["around"], spare].concat();
        let routes = json!([
            {"name": "around", "zones": [zone], "upstreams": of_around, "policy": "Sequential",
             "maxInFlight": 50},
            {"name": "good", "zones": ["good.example"], "upstreams": ["good"]},
        ]);
        let spec = upstreams([entry, good.entry("good", &authority)]);
        let proxy = Proxy::start(&merged(spec, json!({"routes": routes}))).await;
        target.0.set(proxy.udp[0]).unwrap();
        Self { _servers: [leading_back, good], proxy }
    }

    async fn server(&self) -> Value {
        self.proxy.admin.json("/upstreams").await["upstreams"][0]["servers"][0].clone()
    }

    async fn is_found(&self) -> Value {
        eventually("the loop found", async || {
            let server = self.server().await;
            (server["reason"] == "forwarding_loop").then_some(server)
        })
        .await
    }

    async fn expect_good_route(&self) {
        let reply = self.proxy.client().ask("www.good.example", types::TXT).await;
        assert_eq!(reply.texts(), ["www.good.example."], "{:?}", reply.ede());
    }
}

#[tokio::test]
async fn a_server_that_leads_back_is_taken_out_and_all_else_goes_on() {
    for (protocol, zone) in [("TLS", "."), ("TCP", "corp.example"), ("UDP", ".")] {
        let mut scene = Scene::new(protocol, zone, &[]).await;
        let server = scene.is_found().await;
        assert_eq!(server["state"], "Unhealthy", "{protocol}: {server}");
        let message = server["message"].as_str().unwrap();
        assert!(message.contains("forwarding loop"), "{protocol}: {message}");
        scene
            .proxy
            .says("a warning", |line| line.contains("WARN") && line.contains("taken out"))
            .await;

        for number in 0..20 {
            let name = format!("n{number}.corp.example");
            let reply = scene.proxy.client().ask(&name, types::A).await;
            assert_eq!(reply.rcode(), rcodes::SERVFAIL, "{protocol}");
            scene.expect_good_route().await;
        }
        let labels = ["upstream=\"around\""];
        let loops = scene.proxy.admin.sum("dnsproxy_upstream_loops_total", &labels).await;
        assert_eq!(loops, 1.0, "{protocol}");
        assert!(scene.proxy.is_running());
    }
}

/// Before it is found, a question goes round; the bound of the route ends that.
#[tokio::test]
async fn a_question_that_goes_round_takes_no_place_of_others() {
    let scene = Scene::new("TLS", ".", &[]).await;
    let reply = scene.proxy.client().ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    scene.expect_good_route().await;

    scene.is_found().await;
    let reply = scene.proxy.client().ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    scene.expect_good_route().await;
}

#[tokio::test]
async fn the_next_server_is_asked_instead_of_one_that_leads_back() {
    let scene = Scene::new("TLS", ".", &["good"]).await;
    scene.is_found().await;

    for number in 0..20 {
        let name = format!("n{number}.example.");
        let reply = scene.proxy.client().ask(&name, types::TXT).await;
        assert_eq!(reply.texts(), [name], "{:?}", reply.ede());
    }
    assert_eq!(scene.server().await["reason"], "forwarding_loop", "it stays out");
}
