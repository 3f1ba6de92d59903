//! A server dies under load, falls silent, or all do: who asks notices as little as can be, and nothing stays broken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dnsproxy_tests::{
    certificates::{Authority, Identity, NAME, expired},
    client::Client,
    eventually,
    manifest::{in_order, merged, upstreams},
    proxy::Proxy,
    stage::Stage,
    upstream::{Action, Received, Setup, Upstream, faithful_answer},
    wire::{rcodes, types},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

/// `limits.queryDeadline`, and what a busy machine may add.
const DEADLINE: Duration = Duration::from_secs(4);
const SLACK: Duration = Duration::from_secs(5);

/// Clients that ask without a pause, and take nothing but their own answer, in time.
struct Load {
    answered: Arc<AtomicUsize>,
    end: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    fn on(client: Client) -> Self {
        let (answered, end) = (Arc::new(AtomicUsize::new(0)), watch::channel(false).0);
        let mut clients = JoinSet::new();
        for number in 0..8 {
            clients.spawn(ask_until(end.subscribe(), client, number, Arc::clone(&answered)));
        }
        Self { answered, end, clients }
    }

    /// Waits for so many answers more.
    async fn goes_on(&self, count: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("more answers", async || {
            (self.answered.load(Ordering::Relaxed) >= before + count).then_some(())
        })
        .await;
    }

    async fn ends(self) {
        self.end.send_replace(true);
        self.clients.join_all().await;
    }
}

async fn ask_until(
    end: watch::Receiver<bool>,
    client: Client,
    number: usize,
    answered: Arc<AtomicUsize>,
) {
    for round in 0.. {
        if *end.borrow() {
            return;
        }
        let (name, before) = (format!("c{number}n{round}.example."), Instant::now());
        let reply = client.ask(&name, types::TXT).await;
        assert_eq!(reply.texts(), [name], "{:?} after {:?}", reply.ede(), before.elapsed());
        assert!(before.elapsed() < DEADLINE + SLACK, "{:?}", before.elapsed());
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

async fn two(authority: &Authority, identity: &Identity, policy: &str) -> (Vec<Upstream>, Proxy) {
    let servers = [
        Upstream::tls(identity).without_udp().start().await,
        Upstream::tls(identity).without_udp().start().await,
    ];
    let mut spec = in_order([servers[0].entry("u0", authority), servers[1].entry("u1", authority)]);
    spec["routes"][0]["policy"] = json!(policy);
    let proxy = Proxy::start(&spec).await;
    (Vec::from(servers), proxy)
}

#[tokio::test]
async fn a_server_that_is_killed_under_load_costs_no_query() {
    for policy in ["Fastest", "Sequential", "RoundRobin", "Random"] {
        let (authority, mut killed) = (Authority::default(), Vec::new());
        let identity = authority.server();
        let (mut servers, proxy) = two(&authority, &identity, policy).await;
        let load = Load::on(proxy.client());
        load.goes_on(200).await;
        // First one, then, when it is back, the other one.
        for _ in 0..2 {
            let address = servers.remove(0).stop().await;
            load.goes_on(200).await;
            let again = Upstream::tls(&identity).at(address).without_udp().start().await;
            again.until(policy, |seen| !seen.queries.is_empty() || !seen.checks.is_empty()).await;
            killed.push(address);
            servers.push(again);
            load.goes_on(200).await;
        }
        load.ends().await;
        assert_ne!(killed[0], killed[1]);
    }
}

/// A server that falls silent when the flag is up: to clients, and to the proxy that looks whether it lives.
fn mutable(identity: &Identity, is_silent: &Arc<AtomicBool>) -> Setup {
    let script = |is_silent: Arc<AtomicBool>| {
        move |query: &Received| match is_silent.load(Ordering::Relaxed) {
            true => Vec::new(),
            false => vec![Action::Send(faithful_answer(query).encode())],
        }
    };
    let checks = script(Arc::clone(is_silent));
    Upstream::tls(identity).script(script(Arc::clone(is_silent))).checks(checks)
}

#[tokio::test]
async fn a_server_that_falls_silent_under_load_costs_no_query() {
    for policy in ["Fastest", "Sequential"] {
        let authority = Authority::default();
        let is_silent = Arc::new(AtomicBool::new(false));
        let first = mutable(&authority.server(), &is_silent).start().await;
        let second = Upstream::tls(&authority.server()).start().await;
        let mut spec = in_order([first.entry("u0", &authority), second.entry("u1", &authority)]);
        spec["routes"][0]["policy"] = json!(policy);
        let proxy = Proxy::start(&spec).await;
        let load = Load::on(proxy.client());
        load.goes_on(200).await;

        is_silent.store(true, Ordering::Relaxed);
        load.goes_on(200).await;
        is_silent.store(false, Ordering::Relaxed);
        let asked = first.seen().queries.len() + first.seen().checks.len();
        let more =
            |seen: &dnsproxy_tests::upstream::Seen| seen.queries.len() + seen.checks.len() > asked;
        first.until("a look at the server that speaks again", more).await;
        load.goes_on(200).await;
        load.ends().await;
    }
}

#[tokio::test]
async fn queries_in_flight_survive_the_end_of_their_server() {
    let authority = Authority::default();
    let silent = Upstream::tls(&authority.server()).script(|_| Vec::new()).start().await;
    let good = Upstream::tls(&authority.server()).start().await;
    let proxy =
        Proxy::start(&in_order([silent.entry("u0", &authority), good.entry("u1", &authority)]))
            .await;
    let mut clients = JoinSet::new();
    for number in 0..20 {
        let client = proxy.client();
        clients.spawn(async move {
            let name = format!("n{number}.example.");
            let reply = client.ask(&name, types::TXT).await;
            assert_eq!(reply.texts(), [name], "{:?}", reply.ede());
        });
    }
    silent.until("a question", |seen| !seen.queries.is_empty()).await;
    silent.stop().await;

    clients.join_all().await;
}

#[tokio::test]
async fn when_all_servers_were_gone_and_are_back_so_is_the_service() {
    let authority = Authority::default();
    let identity = authority.server();
    let (servers, mut proxy) = two(&authority, &identity, "Fastest").await;
    proxy.client().ask("before.example", types::A).await;
    let mut addresses = Vec::new();
    for server in servers {
        addresses.push(server.stop().await);
    }
    for number in 0..50 {
        let before = Instant::now();
        let reply = proxy.client().ask(&format!("n{number}.example"), types::A).await;
        assert_eq!(reply.rcode(), rcodes::SERVFAIL);
        let (code, text) = reply.ede().unwrap();
        assert!([22, 23].contains(&code) && text.contains("upstream u"), "EDE {code} {text}");
        assert!(before.elapsed() < DEADLINE + SLACK);
    }
    assert!(proxy.is_running());

    let mut back = Vec::new();
    for address in addresses {
        back.push(Upstream::tls(&identity).at(address).without_udp().start().await);
    }
    let since = Instant::now();
    eventually("an answer", async || {
        let reply = proxy.client().ask("after.example", types::A).await;
        (reply.rcode() == rcodes::NOERROR).then_some(())
    })
    .await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(2) + SLACK, "{took:?}");
}

#[tokio::test]
async fn a_certificate_that_is_renewed_ends_the_outage() {
    let authority = Authority::default();
    let upstream = Upstream::tls(&authority.issue(&[NAME], expired)).start().await;
    let proxy = Proxy::start(&upstreams([upstream.entry("scripted", &authority)])).await;
    let reply = proxy.client().ask("before.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    let (_, said) = reply.ede().unwrap();
    assert!(said.contains("expired"), "{said}");

    upstream.show(&authority.server());
    eventually("an answer", async || {
        let reply = proxy.client().ask("after.example", types::A).await;
        (reply.rcode() == rcodes::NOERROR).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_renewed_in_time_costs_no_query() {
    let stage = Stage::spec(merged(json!({}), json!({}))).await;
    let load = Load::on(stage.client());
    load.goes_on(100).await;

    let before = stage.upstream.seen().handshakes.len();
    stage.upstream.show(&stage.authority.server());
    stage.upstream.cut_connections();
    stage.upstream.until("another handshake", |seen| seen.handshakes.len() > before).await;
    load.goes_on(100).await;
    load.ends().await;
}
