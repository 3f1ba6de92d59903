//! When one server fails, the next one is asked; an answer is an answer, even when it is no.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use dnsproxy_tests::{
    certificates::{Authority, Identity, NAME},
    eventually,
    manifest::{in_order, merged, upstreams},
    proxy::Proxy,
    upstream::{Action, ClosedPort, Received, Upstream, faithful_answer},
    wire::{Response, rcodes, types},
};
use serde_json::{Value, json};

/// Servers that are asked one after the other, as upstreams `u0`, `u1`, ... of the one route.
struct Row {
    authority: Authority,
    servers: Vec<Upstream>,
}

impl Row {
    fn new() -> Self {
        Self { authority: Authority::default(), servers: Vec::new() }
    }

    async fn answers(self, script: impl FnMut(&Received) -> Vec<Action> + Send + 'static) -> Self {
        let setup = Upstream::tls(&self.authority.server()).script(script);
        self.and(setup.start().await)
    }

    async fn silent(self) -> Self {
        let setup = Upstream::tls(&self.authority.server()).silent();
        self.and(setup.start().await)
    }

    async fn faithful(self) -> Self {
        self.answers(|query| vec![Action::Send(faithful_answer(query).encode())]).await
    }

    async fn rcode(self, rcode: u16) -> Self {
        self.answers(move |query| {
            vec![Action::Send(Response::to(&query.message).rcode(rcode).encode())]
        })
        .await
    }

    fn and(mut self, server: Upstream) -> Self {
        self.servers.push(server);
        self
    }

    fn entries(&self) -> Vec<Value> {
        let named = self.servers.iter().enumerate();
        named.map(|(number, server)| server.entry(&format!("u{number}"), &self.authority)).collect()
    }

    async fn proxy(&self) -> Proxy {
        Proxy::start(&in_order(self.entries())).await
    }

    fn asked(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.seen().queries.len()).collect()
    }
}

/// How many questions went on to another server because of what the first one said or did; to be slow is neither.
async fn failovers(proxy: &Proxy) -> f64 {
    let all = proxy.admin.sum("dnsproxy_upstream_failovers_total", &[]).await;
    let silent = &["reason=\"silence\""];
    all - proxy.admin.sum("dnsproxy_upstream_failovers_total", silent).await
}

#[tokio::test]
async fn servers_are_asked_in_order_whatever_their_speed() {
    let slow = |query: &Received| {
        vec![Action::After(Duration::from_millis(10), faithful_answer(query).encode())]
    };
    let row = Row::new().answers(slow).await.faithful().await;
    let proxy = row.proxy().await;

    // On a busy machine the first one may seem to be silent for once.
    eventually("ten queries that go to the first and nowhere else", async || {
        let before = row.asked();
        for number in 0..10 {
            proxy.client().ask(&format!("n{number}.example"), types::A).await;
        }
        (row.asked() == [before[0] + 10, before[1]]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn addresses_of_an_upstream_are_asked_in_order() {
    let authority = Authority::default();
    let closed = ClosedPort::new();
    let upstream = Upstream::tls(&authority.server()).start().await;
    let addresses = [closed.address.to_string(), upstream.address.to_string()];
    let entry = merged(upstream.entry("two", &authority), json!({"addresses": addresses}));
    let proxy = Proxy::start(&upstreams([entry])).await;

    assert_eq!(proxy.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
}

#[tokio::test]
async fn rcodes_that_say_nothing_about_the_name_go_to_the_next_server() {
    for rcode in [rcodes::SERVFAIL, rcodes::REFUSED, rcodes::NOTIMP, rcodes::FORMERR] {
        let row = Row::new().rcode(rcode).await.faithful().await;
        let proxy = row.proxy().await;

        // On a busy machine the second one may be ready first, for once.
        eventually("an answer of the second one after the first one's", async || {
            let reply = proxy.client().ask("www.example", types::A).await;
            assert_eq!(reply.rcode(), rcodes::NOERROR, "after rcode {rcode}");
            row.asked().iter().all(|&asked| asked > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn no_such_name_and_no_such_data_are_answers() {
    let row = Row::new().faithful().await.faithful().await;
    let proxy = row.proxy().await;

    assert_eq!(proxy.client().ask("gone.nx", types::A).await.rcode(), rcodes::NXDOMAIN);
    assert!(proxy.client().ask("www.example", types::AAAA).await.answers.is_empty());
    assert_eq!(failovers(&proxy).await, 0.0, "nobody is asked for a better answer");
}

#[tokio::test]
async fn a_failed_validation_is_not_asked_away() {
    let row = Row::new()
        .answers(|query| {
            let bogus =
                Response::to(&query.message).rcode(rcodes::SERVFAIL).ede(6, "signature expired");
            vec![Action::Send(bogus.encode())]
        })
        .await
        // Late, so that it is not the first to answer when the other one seems to be silent.
        .answers(|query| {
            vec![Action::After(Duration::from_secs(3), faithful_answer(query).encode())]
        })
        .await;
    let proxy = row.proxy().await;
    let reply = proxy.client().ask("www.example", types::A).await;

    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    assert_eq!(reply.ede(), Some((6, "signature expired".to_owned())), "the reason is kept");
    let friends = failovers(&proxy).await;
    assert_eq!(friends, 0.0, "a server that does not validate would be the attacker's friend");
}

/// NXNSAttack and NRDelegation: one question must never become many.
#[tokio::test]
async fn one_query_asks_at_most_three_servers() {
    let mut row = Row::new();
    for _ in 0..5 {
        row = row.rcode(rcodes::SERVFAIL).await;
    }
    let reply = row.proxy().await.client().ask("www.example", types::A).await;

    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    let asked = row.asked();
    assert_eq!(asked.iter().filter(|&&asked| asked > 0).count(), 3, "{asked:?}");
    assert!(asked.iter().all(|&asked| asked <= 2), "at most once more each: {asked:?}");
}

#[tokio::test]
async fn the_best_bad_answer_is_better_than_none() {
    let row = Row::new().rcode(rcodes::REFUSED).await.silent().await;
    let mut spec = in_order(row.entries());
    spec["upstreams"][1]["timeouts"] = json!({"query": "300ms"});
    let proxy = Proxy::start(&spec).await;

    let reply = proxy.client().ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::REFUSED, "what a server said, rather than what none said");
}

#[tokio::test]
async fn every_kind_of_transport_failure_goes_to_the_next_server() {
    let authority = Authority::default();
    let stranger = Identity::self_signed(&[NAME]);
    let closed = ClosedPort::new();
    let closing = Upstream::tls(&authority.server()).script(|_| vec![Action::Close]).start().await;
    let garbage = Upstream::tls(&authority.server())
        .script(|_| vec![Action::Raw(vec![0, 3, 1, 2, 3])])
        .start()
        .await;
    let unauthenticated = Upstream::tls(&stranger).start().await;
    let mute = Upstream::mute().start().await;
    let dumb = Upstream::tls(&authority.server()).silent().start().await;
    let good = Upstream::tls(&authority.server()).start().await;
    let cases = [
        ("the connection is refused", closed.address),
        ("the connection is closed instead of an answer", closing.address),
        ("what comes is no message", garbage.address),
        ("the certificate is not good", unauthenticated.address),
        ("there is no handshake", mute.address),
        ("there is no answer", dumb.address),
    ];

    for (why, first) in cases {
        let timeouts = json!({"timeouts": {"connect": "200ms", "query": "200ms"}});
        let bad = merged(good.entry("bad", &authority), json!({"addresses": [first.to_string()]}));
        let proxy =
            Proxy::start(&in_order([merged(bad, timeouts), good.entry("good", &authority)])).await;
        let reply = proxy.client().ask("www.example", types::A).await;
        assert_eq!(reply.addresses(), [Ipv4Addr::new(192, 0, 2, 1)], "{why}: {:?}", reply.ede());
    }
}

#[tokio::test]
async fn a_server_that_is_down_does_not_cost_every_query_its_timeout() {
    let authority = Authority::default();
    let mute = Upstream::mute().start().await;
    let good = Upstream::tls(&authority.server()).start().await;
    let slow = json!({"addresses": [mute.address.to_string()], "timeouts": {"connect": "1s"}});
    let spec =
        in_order([merged(good.entry("down", &authority), slow), good.entry("good", &authority)]);
    let proxy = Proxy::start(&spec).await;
    let start = Instant::now();

    for number in 0..20 {
        let reply = proxy.client().ask(&format!("n{number}.example"), types::A).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR);
    }
    let tried = mute.seen().connections;
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(tried <= 4 + seconds, "twenty queries in {seconds} s made {tried} attempts");
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let authority = Authority::default();
    let identity = authority.server();
    let first = Upstream::tls(&identity).start().await;
    let proxy = Proxy::start(&upstreams([first.entry("scripted", &authority)])).await;
    assert_eq!(proxy.client().ask("a.example", types::A).await.rcode(), rcodes::NOERROR);

    let address = first.stop().await;
    assert_eq!(proxy.client().ask("b.example", types::A).await.rcode(), rcodes::SERVFAIL);
    let _again = Upstream::tls(&identity).at(address).without_udp().start().await;
    eventually("an answer", async || {
        (proxy.client().ask("c.example", types::A).await.rcode() == rcodes::NOERROR).then_some(())
    })
    .await;
}

async fn fallback_after(
    script: impl FnMut(&Received) -> Vec<Action> + Send + 'static,
) -> (Vec<usize>, u16) {
    let row = Row::new().answers(script).await.faithful().await;
    let mut spec = upstreams(row.entries());
    spec["routes"] =
        json!([{"name": "default", "zones": ["."], "upstreams": ["u0"], "fallback": ["u1"]}]);
    let proxy = Proxy::start(&spec).await;
    let rcode = proxy.client().ask("www.example", types::A).await.rcode();
    (row.asked(), rcode)
}

#[tokio::test]
async fn the_fallback_is_for_transport_failures_only() {
    let (asked, rcode) = fallback_after(|_| vec![Action::Close]).await;
    assert!(asked[1] > 0, "the upstream could not be reached");
    assert_eq!(rcode, rcodes::NOERROR);

    let refused = |query: &Received| {
        vec![Action::Send(Response::to(&query.message).rcode(rcodes::REFUSED).encode())]
    };
    let (asked, rcode) = fallback_after(refused).await;
    assert_eq!((asked[1], rcode), (0, rcodes::REFUSED), "never for an rcode");
}

#[tokio::test]
async fn a_weaker_fallback_is_used_only_where_it_is_allowed() {
    let authority = Authority::default();
    let plain = Upstream::plain().start().await;
    let down = ClosedPort::new();
    let strong = json!({
        "name": "strong", "addresses": [down.address.to_string()],
        "tls": {"serverName": NAME, "ca": {"inline": authority.pem()}},
    });
    let mut spec = upstreams([strong, plain.plain_entry("weak", "UDP")]);
    spec["routes"] =
        json!([{"name": "default", "zones": ["."], "upstreams": ["strong"], "fallback": ["weak"]}]);

    let Err(refused) = dnsproxy_tests::proxy::Launch::new(&spec).try_start().await else {
        panic!("plain DNS after TLS is refused");
    };
    assert!(refused.to_string().contains("allowWeaker"), "the way out is named: {refused}");

    spec["routes"][0]["allowWeaker"] = json!(true);
    let proxy = Proxy::start(&spec).await;
    assert_eq!(proxy.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
}

/// A name whose own servers are dead must not steer other names to a fallback, which may be weaker.
#[tokio::test]
async fn a_name_that_gets_no_answer_gives_no_other_name_to_the_fallback() {
    let is_slow = |query: &Received| query.name().starts_with("slow");
    let script = move |query: &Received| match is_slow(query) {
        true => Vec::new(),
        false => vec![Action::Send(faithful_answer(query).encode())],
    };
    let row = Row::new().answers(script).await.faithful().await;
    let mut spec = upstreams(row.entries());
    spec["upstreams"][0]["timeouts"] = json!({"query": "1s"});
    spec["routes"] =
        json!([{"name": "default", "zones": ["."], "upstreams": ["u0"], "fallback": ["u1"]}]);
    let proxy = Proxy::start(&spec).await;
    proxy.client().ask("first.example", types::A).await;
    proxy.client().ask("slow.example", types::A).await;
    let before = row.asked()[1];

    for number in 0..5 {
        proxy.client().ask(&format!("n{number}.example"), types::A).await;
    }

    assert_eq!(row.asked()[1], before, "the upstream answers these itself");
}
