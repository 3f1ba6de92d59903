//! Whatever is wrong with a server: the next one answers; alone, it costs an error that says why, and no more; and when
//! it is mended, it is used.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    time::{Duration, Instant},
};

use dnsproxy_tests::{
    certificates::{Authority, Identity, NAME, expired},
    client::Client,
    eventually,
    manifest::{merged, upstreams},
    proxy::Proxy,
    upstream::{Action, ClosedPort, FullPort, Last, Received, Setup, Upstream, faithful_answer},
    wire::{Response, framed, rcodes, types},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

/// What is wrong, and a server that is so.
type Fault = (&'static str, Pin<Box<dyn Future<Output = Faulty> + Send>>);

/// A server that something is wrong with.
enum Faulty {
    Closed(ClosedPort),
    Full(FullPort),
    Upstream(Upstream),
}

impl Faulty {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Closed(port) => port.address,
            Self::Full(port) => port.address,
            Self::Upstream(upstream) => upstream.address,
        }
    }

    /// Puts a good server in its place.
    async fn mended(self, identity: &Identity) -> Upstream {
        let address = self.address();
        match self {
            Self::Upstream(upstream) => drop(upstream.stop().await),
            ports => drop(ports),
        }
        Upstream::tls(identity).at(address).without_udp().start().await
    }
}

fn a(setup: Setup) -> Pin<Box<dyn Future<Output = Faulty> + Send>> {
    Box::pin(async move { Faulty::Upstream(setup.start().await) })
}

fn closed() -> Pin<Box<dyn Future<Output = Faulty> + Send>> {
    Box::pin(async { Faulty::Closed(ClosedPort::new()) })
}

fn full() -> Pin<Box<dyn Future<Output = Faulty> + Send>> {
    Box::pin(async { Faulty::Full(FullPort::new()) })
}

/// A server that everybody gets the same of: clients, and the proxy that looks whether it lives.
fn answering(identity: &Identity, answer: fn(&Received) -> Vec<Action>) -> Setup {
    Upstream::tls(identity).script(answer).checks(answer)
}

fn frame(query: &Received) -> Vec<u8> {
    framed(&faithful_answer(query).encode())
}

#[tokio::test]
async fn connections_that_are_not_made() {
    let authority = Authority::default();
    let mute = Upstream::stubborn([]);
    let hello = [22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3].to_vec();
    let faults: Vec<Fault> = vec![
        ("nobody listens", closed()),
        ("nobody takes connections", full()),
        ("connections are taken and nothing is said", a(mute)),
        ("the handshake stops within a record", a(Upstream::stubborn([Last::Say(hello)]))),
        ("the connection ends within the handshake", a(Upstream::stubborn([Last::Close]))),
    ];

    each(authority, faults).await;
}

#[tokio::test]
async fn handshakes_that_fail() {
    let authority = Authority::default();
    // Level fatal, handshake_failure (RFC 8446 section 6).
    let alert = [21, 3, 3, 0, 2, 2, 40].to_vec();
    let other = b"SSH-2.0-OpenSSH_9.9\r\n".to_vec();
    let outdated = authority.issue(&[NAME], expired);
    let stranger = Identity::self_signed(&[NAME]);
    let faults: Vec<Fault> = vec![
        ("a fatal alert", a(Upstream::stubborn([Last::Say(alert)]))),
        ("no TLS is spoken", a(Upstream::stubborn([Last::Say(other)]))),
        ("the certificate has expired", a(Upstream::tls(&outdated))),
        ("the certificate is somebody else's", a(Upstream::tls(&stranger))),
    ];

    each(authority, faults).await;
}

#[tokio::test]
async fn answers_that_do_not_come() {
    let authority = Authority::default();
    let identity = authority.server();
    let with = |answer| a(answering(&identity, answer));
    let half = |query: &Received| vec![Action::Raw(frame(query)[..20].to_vec())];
    let half_and_close =
        |query: &Received| vec![Action::Raw(frame(query)[..20].to_vec()), Action::Close];
    let half_and_break =
        |query: &Received| vec![Action::Raw(frame(query)[..20].to_vec()), Action::Break];
    let drip = |query: &Received| {
        vec![Action::Drip(Duration::from_secs(1), faithful_answer(query).encode())]
    };
    let faults: Vec<Fault> = vec![
        ("silence", a(Upstream::tls(&identity).silent())),
        ("the connection is closed instead", with(|_| vec![Action::Close])),
        ("the connection breaks off instead", with(|_| vec![Action::Break])),
        ("it stops within a message", with(half)),
        ("the connection is closed within a message", with(half_and_close)),
        ("the connection breaks off within a message", with(half_and_break)),
        ("an octet a second", with(drip)),
    ];

    each(authority, faults).await;
}

#[tokio::test]
async fn answers_that_are_none() {
    let authority = Authority::default();
    let identity = authority.server();
    let with = |answer| a(answering(&identity, answer));
    // Far from all that are out: the next one may be that of the same question, asked once more.
    let other_id = |query: &Received| {
        vec![Action::Send(faithful_answer(query).id(query.id() ^ 0x8000).encode())]
    };
    let other_question = |query: &Received| {
        let answer = faithful_answer(query).question("other.example", types::A, 1);
        vec![Action::Send(answer.encode())]
    };
    let unsolicited = |query: &Received| {
        let of = |id| Response::to(&query.message).id(id).a([203, 0, 113, 66].into());
        let others = (0..200).filter(|id| *id != query.id());
        others.map(|id| Action::Send(of(id).encode())).collect()
    };
    let faults: Vec<Fault> = vec![
        ("no DNS message", with(|_| vec![Action::Raw(framed(&[0xa5; 300]))])),
        ("a message of no octets", with(|_| vec![Action::Raw(vec![0, 0])])),
        ("less than a header", with(|query| vec![Action::Send(query.message[..11].to_vec())])),
        ("the largest message, of which little comes", with(|_| vec![Action::Raw(vec![255; 40])])),
        ("zeros without end", with(|_| vec![Action::Raw(vec![0; 100_000])])),
        ("the query itself", with(|query| vec![Action::Send(query.message.clone())])),
        ("another ID", with(other_id)),
        ("another question", with(other_question)),
        ("answers that nobody asked for", with(unsolicited)),
    ];

    each(authority, faults).await;
}

/// The time of a query, and what a busy machine may add.
const DEADLINE: Duration = Duration::from_secs(3);
const SLACK: Duration = Duration::from_secs(5);

/// Each of them in front of a good server, alone, and mended.
async fn each(authority: Authority, faults: Vec<Fault>) {
    let authority = std::sync::Arc::new(authority);
    let mut scenes = JoinSet::new();
    for (why, faulty) in faults {
        let authority = std::sync::Arc::clone(&authority);
        scenes.spawn(async move { Scene::new(why, &authority, faulty.await).await.play().await });
    }
    while let Some(played) = scenes.join_next().await {
        played.unwrap();
    }
}

/// Three routes: to the faulty server and a good one, to the faulty one alone, and to a good one alone.
struct Scene {
    why: &'static str,
    faulty: Faulty,
    identity: Identity,
    good: Upstream,
    proxy: Proxy,
}

impl Scene {
    async fn new(why: &'static str, authority: &Authority, faulty: Faulty) -> Self {
        let identity = authority.server();
        let good = Upstream::tls(&identity).start().await;
        let proxy = Proxy::start(&spec(authority, &faulty, &good)).await;
        Self { why, faulty, identity, good, proxy }
    }

    async fn play(self) {
        let (end, stop) = watch::channel(false);
        let mut beside = JoinSet::new();
        beside.spawn(ask_until(self.why, self.proxy.client(), stop));
        self.expect_answers_of_the_next().await;
        self.expect_telling_errors().await;
        assert!(!self.good.seen().queries.is_empty());

        let Self { why, faulty, identity, good: _good, proxy } = self;
        let mended = faulty.mended(&identity).await;
        expect_service(why, &proxy, &mended).await;
        end.send_replace(true);
        for asked in beside.join_all().await {
            assert!(asked > 0, "{why}: others were asked for meanwhile");
        }
    }

    /// One after the other, then at once.
    async fn expect_answers_of_the_next(&self) {
        for number in 0..5 {
            expect_answer(self.why, self.proxy.client(), &format!("n{number}.example.")).await;
        }
        let mut clients = JoinSet::new();
        for number in 0..20 {
            let (why, client) = (self.why, self.proxy.client());
            let name = format!("c{number}.example.");
            clients.spawn(async move { expect_answer(why, client, &name).await });
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    }

    async fn expect_telling_errors(&self) {
        let why = self.why;
        for number in 0..2 {
            let before = Instant::now();
            let name = format!("n{number}.alone.example.");
            let reply = self.proxy.client().ask(&name, types::TXT).await;
            assert_eq!(reply.rcode(), rcodes::SERVFAIL, "{why}");
            let (code, text) = reply.ede().unwrap_or_else(|| panic!("{why}: no reason"));
            assert!([22, 23].contains(&code), "{why}: EDE {code} {text}");
            let address = self.faulty.address().to_string();
            assert!(text.contains("faulty") && text.contains(&address), "{why}: {text}");
            let took = before.elapsed();
            assert!(took < DEADLINE + SLACK, "{why}: {took:?}");
        }
    }
}

fn spec(authority: &Authority, faulty: &Faulty, good: &Upstream) -> Value {
    let over = json!({
        "addresses": [faulty.address().to_string()],
        "timeouts": {"connect": "1s", "query": "1s"},
    });
    let spec = upstreams([
        merged(good.entry("faulty", authority), over),
        good.entry("good", authority),
        good.entry("beside", authority),
    ]);
    let more = json!({
        "limits": {"queryDeadline": "3s"},
        "routes": [
            {"name": "both", "zones": ["."], "upstreams": ["faulty", "good"], "policy": "Sequential"},
            {"name": "alone", "zones": ["alone.example"], "upstreams": ["faulty"]},
            {"name": "beside", "zones": ["beside.example"], "upstreams": ["beside"]},
        ],
    });
    merged(spec, more)
}

async fn expect_answer(why: &str, client: Client, name: &str) {
    let before = Instant::now();
    let reply = client.ask(name, types::TXT).await;
    let took = before.elapsed();
    assert_eq!(reply.texts(), [name], "{why}: {:?} after {took:?}", reply.ede());
    assert!(took < DEADLINE + SLACK, "{why}: {took:?}");
}

/// Asks for names of another route without a pause, and tells how often.
async fn ask_until(why: &'static str, client: Client, stop: watch::Receiver<bool>) -> u32 {
    let mut asked = 0;
    while !*stop.borrow() {
        expect_answer(why, client, &format!("n{asked}.beside.example.")).await;
        asked += 1;
    }
    asked
}

/// The server is used at once where it is alone, and again where it is the first.
async fn expect_service(why: &str, proxy: &Proxy, mended: &Upstream) {
    let since = Instant::now();
    eventually(&format!("{why}: an answer of the mended server"), async || {
        let reply = proxy.client().ask("mended.alone.example.", types::TXT).await;
        (reply.rcode() == rcodes::NOERROR).then_some(())
    })
    .await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(2) + SLACK, "{why}: {took:?}");
    eventually(&format!("{why}: the first server asked again"), async || {
        expect_answer(why, proxy.client(), "again.example.").await;
        let mut asked = mended.seen().queries.into_iter();
        asked.any(|query| query.name() == "again.example.").then_some(())
    })
    .await;
}

/// What only looks like a fault costs nothing.
#[tokio::test]
async fn answers_in_pieces_and_connections_for_one_query_are_no_faults() {
    let authority = Authority::default();
    let identity = authority.server();
    let pieces = |query: &Received| {
        vec![Action::Drip(Duration::from_millis(2), faithful_answer(query).encode())]
    };
    let one = |query: &Received| vec![Action::Send(faithful_answer(query).encode()), Action::Close];
    let cases: [(&str, Setup); 2] = [
        ("an octet every 2 ms", answering(&identity, pieces)),
        ("the connection is closed after each answer", answering(&identity, one)),
    ];

    for (why, setup) in cases {
        let upstream = setup.start().await;
        // An answer has hundreds of octets, and a machine that is busy takes its time for each.
        let patient = json!({"timeouts": {"query": "7s"}});
        let spec = upstreams([merged(upstream.entry("odd", &authority), patient)]);
        let proxy = Proxy::start(&merged(spec, json!({"limits": {"queryDeadline": "7s"}}))).await;
        for number in 0..10 {
            expect_answer(why, proxy.client(), &format!("n{number}.example.")).await;
        }
    }
}

/// A resolver that has to ask around takes its time for every name, and lives all the same.
#[tokio::test]
async fn a_server_that_takes_its_time_for_every_name_loses_no_query() {
    let authority = Authority::default();
    let slow = |query: &Received| {
        vec![Action::After(Duration::from_millis(400), faithful_answer(query).encode())]
    };
    let upstream = Upstream::tls(&authority.server()).script(slow).start().await;
    let proxy = Proxy::start(&upstreams([upstream.entry("slow", &authority)])).await;

    let mut clients = JoinSet::new();
    for number in 0..40 {
        let client = proxy.client();
        clients.spawn(async move {
            // Spread over more than the time of an answer, so that there is always one to wait for.
            tokio::time::sleep(Duration::from_millis(number * 37)).await;
            expect_answer("slow", client, &format!("n{number}.example.")).await;
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
}
