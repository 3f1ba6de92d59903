//! What was asked before is answered at once, by the same answer, for as long as it is true and no longer.

use std::net::Ipv4Addr;

use dnsproxy_tests::{
    admin,
    certificates::Authority,
    manifest::{merged, upstreams},
    proxy::Proxy,
    stage::Stage,
    upstream::{Action, Received, Upstream, faithful_answer},
    wire::{Edns, Query, Reply, Response, flags, options, rcodes, types},
};
use serde_json::{Value, json};

/// Answers A with this TTL and everything else faithfully.
fn with_ttl(ttl: u32) -> impl FnMut(&Received) -> Vec<Action> + Send + 'static {
    move |query| {
        let response = Response::to(&query.message).record(types::A, ttl, &[192, 0, 2, 1]);
        let is_a = query.qtype() == types::A;
        vec![Action::Send(if is_a { response } else { faithful_answer(query) }.encode())]
    }
}

/// Answers every question in this way.
fn always(
    answer: impl Fn(Response) -> Response + Send + 'static,
) -> impl FnMut(&Received) -> Vec<Action> + Send + 'static {
    move |query| vec![Action::Send(answer(Response::to(&query.message)).encode())]
}

fn a(name: &str) -> Query {
    Query::new(name, types::A).edns(1232)
}

/// What must be the same in every answer to one question.
fn essence(reply: &Reply) -> (u16, Vec<(String, u16, Vec<u8>)>) {
    let sections = reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals);
    let records = sections.map(|it| (it.owner.to_lowercase(), it.rtype, it.rdata.clone()));
    (reply.rcode(), records.collect())
}

#[tokio::test]
async fn a_question_is_asked_once_and_its_ttl_goes_on() {
    let stage = Stage::cached(with_ttl(300)).await;
    let first = stage.client().udp(&a("www.example")).await;
    let second = stage.client().udp(&a("www.example").id(7)).await;
    let third = stage.client().tcp(&a("www.example").id(8)).await;

    assert_eq!(first.answers[0].ttl, 300);
    for reply in [&second, &third] {
        assert_eq!(essence(reply), essence(&first));
        assert!((200..=300).contains(&reply.answers[0].ttl), "{reply:?}");
        assert_eq!(reply.ede(), None, "it is as good as new");
    }
    assert_eq!(stage.asked(), ["www.example."], "one question went out");
    let metrics = stage.proxy.admin.metrics().await;
    let sum = |family: &str, labels: &[&str]| admin::sum(&metrics, family, labels);
    assert_eq!(sum("dnsproxy_cache_hits_total", &[]), 2.0);
    assert_eq!(sum("dnsproxy_cache_misses_total", &[]), 1.0);
    assert_eq!(sum("dnsproxy_cache_entries", &[]), 1.0);
    assert!(sum("dnsproxy_cache_bytes", &[]) > 0.0);
    assert_eq!(sum("dnsproxy_responses_total", &["source=\"cache\""]), 2.0);
    assert_eq!(sum("dnsproxy_responses_total", &["source=\"upstream\""]), 1.0);
    assert_eq!(sum("dnsproxy_queries_total", &[]), 3.0, "whatever answered them");
    assert_eq!(sum("dnsproxy_query_duration_seconds_count", &[]), 3.0);
}

/// CVE-2022-2837 and the like: the answer is another client's; what this one sent comes back (RFC 1035, 0x20).
#[tokio::test]
async fn each_client_gets_its_own_spelling_id_and_edns() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    let first = stage.client().udp(&Query::new("www.example", types::TXT)).await;
    let spellings = ["WWW.example", "www.EXAMPLE", "wWw.eXaMpLe"];

    for (id, name) in (1..).zip(spellings) {
        // `checked` compares ID, spelling, RD and whether there is EDNS with what was sent.
        for query in [Query::new(name, types::TXT), Query::new(name, types::TXT).edns(4096)] {
            let udp = stage.client().udp(&query.clone().id(id)).await;
            let tcp = stage.client().tcp(&query.id(id + 100)).await;
            assert_eq!((essence(&udp), essence(&tcp)), (essence(&first), essence(&first)));
        }
    }
    assert_eq!(stage.asked().len(), 1);
}

#[tokio::test]
async fn a_large_answer_is_kept_whole_and_cut_for_each_client() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    let big = Query::new("big.example", types::TXT);

    for _ in 0..2 {
        let cut = stage.client().udp(&big).await;
        assert!(cut.is_truncated() && cut.length <= 512, "{} octets", cut.length);
        let cut = stage.client().udp(&big.clone().edns(1232)).await;
        assert!(cut.is_truncated() && cut.length <= 1232, "{} octets", cut.length);
        let whole = stage.client().tcp(&big).await;
        assert!(!whole.is_truncated());
        assert_eq!(whole.texts().len(), 20);
    }
    assert_eq!(stage.asked().len(), 1, "cutting is for one client, keeping for all");
}

/// RFC 2308 section 5.
#[tokio::test]
async fn a_name_that_is_not_there_is_not_there_for_any_type() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    let first = stage.client().udp(&a("a.nx")).await;
    assert_eq!(first.rcode(), rcodes::NXDOMAIN);

    for qtype in [types::A, types::AAAA, types::TXT, 65_400] {
        let reply = stage.client().ask("A.nx", qtype).await;
        assert_eq!(essence(&reply), essence(&first), "TYPE{qtype}");
        assert!(reply.authorities[0].ttl <= 60, "SOA's own TTL and its minimum: {reply:?}");
    }
    assert_eq!(stage.asked().len(), 1);
    assert_eq!(stage.client().ask("b.a.nx", types::A).await.rcode(), rcodes::NXDOMAIN);
    assert_eq!(stage.client().ask("nx.example", types::A).await.rcode(), rcodes::NOERROR);
    assert_eq!(stage.asked().len(), 3, "of other names nothing is known");
}

#[tokio::test]
async fn a_type_that_is_not_there_says_nothing_of_another() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    for _ in 0..2 {
        let none = stage.client().ask("www.example", types::AAAA).await;
        assert_eq!((none.rcode(), none.answers.len()), (rcodes::NOERROR, 0));
        assert_eq!(stage.client().ask("www.example", types::A).await.answers.len(), 1);
    }

    assert_eq!(stage.asked().len(), 2);
}

/// Nothing says how long it is true (RFC 2308 section 5).
#[tokio::test]
async fn a_negative_answer_without_an_soa_is_not_kept() {
    for rcode in [rcodes::NXDOMAIN, rcodes::NOERROR] {
        let stage = Stage::cached(always(move |response| response.rcode(rcode))).await;
        for _ in 0..3 {
            assert_eq!(stage.client().udp(&a("www.example")).await.rcode(), rcode);
        }
        assert_eq!(stage.asked().len(), 3, "rcode {rcode}");
    }
}

/// RFC 1035 section 3.2.1.
#[tokio::test]
async fn a_ttl_of_zero_is_for_one_query() {
    let stage = Stage::cached(with_ttl(0)).await;

    for _ in 0..3 {
        assert_eq!(stage.client().udp(&a("www.example")).await.answers[0].ttl, 0);
    }
    assert_eq!(stage.asked().len(), 3);
}

#[tokio::test]
async fn clients_see_ttls_within_the_bounds() {
    let bounds = json!({"cache": {"minTTL": "100s", "maxTTL": "200s", "negativeMaxTTL": "30s"}});
    let cases = [
        // (why, TTL of the upstream, at least, at most)
        ("too short", 5, 60, 100),
        ("within", 150, 110, 150),
        ("too long", 86_400, 160, 200),
        ("longer than any, and no negative number (RFC 2181 section 8)", u32::MAX, 0, 200),
    ];

    for (why, ttl, least, most) in cases {
        let stage = Stage::with(|setup| setup.script(with_ttl(ttl)), bounds.clone()).await;
        for _ in 0..2 {
            let seen = stage.client().udp(&a("www.example")).await.answers[0].ttl;
            assert!((least..=most).contains(&seen), "{why}: {seen}");
        }
    }
    let stage = Stage::spec(bounds).await;
    for _ in 0..2 {
        let reply = stage.client().ask("a.nx", types::A).await;
        assert!((1..=30).contains(&reply.authorities[0].ttl), "no such name: {reply:?}");
    }
}

/// RFC 1035 section 4.1.1: AA is for who is an authority for the name.
#[tokio::test]
async fn a_remembered_answer_is_no_authoritys() {
    let script = always(|response| response.with(flags::AA).a([192, 0, 2, 1].into()));
    let stage = Stage::with(|setup| setup.script(script), json!({"cache": {}})).await;

    let first = stage.client().udp(&a("www.example")).await;
    assert!(first.has(flags::AA), "as the upstream says");
    let second = stage.client().udp(&a("www.example")).await;
    assert_eq!((second.addresses(), second.has(flags::AA)), (first.addresses(), false));
}

/// RFC 9520, with EDE 13 (RFC 8914 section 4.14).
#[tokio::test]
async fn a_failure_is_remembered_for_a_while() {
    let stage = Stage::with(
        |setup| setup.script(always(|response| response.rcode(rcodes::SERVFAIL))),
        json!({"cache": {"failureTTL": "60s"}}),
    )
    .await;
    assert_eq!(stage.client().udp(&a("www.example")).await.rcode(), rcodes::SERVFAIL);
    let asked = stage.asked().len();
    let again = stage.client().udp(&a("www.example")).await;

    assert_eq!(again.rcode(), rcodes::SERVFAIL);
    assert_eq!(again.ede().map(|(code, _)| code), Some(13), "{again:?}");
    assert_eq!(stage.asked().len(), asked, "the upstream is left alone");
    assert_eq!(stage.client().ask("www.example", types::AAAA).await.rcode(), rcodes::SERVFAIL);
    assert!(stage.asked().len() > asked, "another type may be fine");
}

/// AdGuardHome issue 4942: an answer that nobody checked was given to clients that want it checked.
#[tokio::test]
async fn do_and_cd_are_questions_of_their_own() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    let plain = Query::new("www.example", types::A).edns(1232);
    let variants = [
        plain.clone(),
        plain.clone().dnssec_ok(),
        plain.clone().with(flags::CD),
        plain.dnssec_ok().with(flags::CD),
    ];

    for round in 0..2 {
        for query in &variants {
            let reply = stage.client().udp(query).await;
            assert_eq!(reply.has(flags::CD), query.flags & flags::CD != 0, "round {round}");
        }
    }
    assert_eq!(stage.asked().len(), variants.len());
}

/// AD is given to those that understand it, also out of the cache (RFC 6840 section 5.7).
#[tokio::test]
async fn ad_is_for_those_that_ask_for_it() {
    let stage =
        Stage::cached(always(|response| response.with(flags::AD).a(Ipv4Addr::new(192, 0, 2, 1))))
            .await;

    for _ in 0..2 {
        let plain = stage.client().udp(&a("www.example")).await;
        assert!(!plain.has(flags::AD), "{plain:?}");
        let asking = stage.client().udp(&a("www.example").with(flags::AD)).await;
        assert!(asking.has(flags::AD), "{asking:?}");
    }
    assert_eq!(stage.asked().len(), 1);
}

#[tokio::test]
async fn without_rd_the_cache_is_neither_read_nor_filled() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    let without = |name: &str| Query { flags: 0, ..a(name) };
    stage.client().udp(&without("first.example")).await;
    stage.client().udp(&a("first.example")).await;
    assert_eq!(stage.asked().len(), 2, "it was not filled");
    stage.client().udp(&without("first.example")).await;
    assert_eq!(stage.asked().len(), 3, "and not read");
    stage.client().udp(&a("first.example")).await;
    assert_eq!(stage.asked().len(), 3, "what was there is still there");
}

/// RFC 7871 section 11: who asks is nobody's business, so one answer is for all.
#[tokio::test]
async fn client_subnets_go_nowhere() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    for third in 0..3 {
        let subnet = [0, 1, 24, 0, 198, 51, third];
        let query = a("www.example").option(options::CLIENT_SUBNET, &subnet);
        let edns = stage.client().udp(&query).await.edns.unwrap();
        assert_eq!(edns.option(options::CLIENT_SUBNET), None);
    }

    let seen = stage.upstream.seen();
    assert_eq!(seen.queries.len(), 1);
    let sent = Reply::parse(&seen.queries[0].message).unwrap().edns.unwrap_or_default();
    assert_eq!(sent.option(options::CLIENT_SUBNET), None);
}

#[tokio::test]
async fn what_an_upstream_says_of_its_answer_is_kept() {
    let stage = Stage::cached(always(|response| {
        response.a(Ipv4Addr::new(192, 0, 2, 1)).ede(4, "forged by the office")
    }))
    .await;

    for _ in 0..2 {
        let reply = stage.client().udp(&a("www.example")).await;
        assert_eq!(reply.ede(), Some((4, "forged by the office".to_owned())));
    }
    assert_eq!(stage.asked().len(), 1);
    assert_eq!(stage.client().udp(&Query::new("www.example", types::A)).await.edns, None::<Edns>);
}

/// There is room for any answer on a stream: one that is cut there is no answer.
#[tokio::test]
async fn an_answer_that_is_cut_on_a_stream_is_not_kept() {
    let stage = Stage::cached(|query| {
        let response = faithful_answer(query);
        let is_first = query.number == 0;
        vec![Action::Send(if is_first { response.with(flags::TC) } else { response }.encode())]
    })
    .await;
    let first = stage.client().udp(&a("www.example")).await;
    let second = stage.client().udp(&a("www.example")).await;

    assert!(first.rcode() == rcodes::SERVFAIL || first.answers.len() == 1, "{first:?}");
    assert!(!first.is_truncated() && !second.is_truncated());
}

#[tokio::test]
async fn a_record_beside_the_answer_answers_nothing() {
    // MaginotDNS (2023): a forwarder kept what stood beside an answer, under its owner's name.
    let stage = Stage::cached(|query| {
        let response = faithful_answer(query);
        let forged = [
            &[6][..],
            b"victim",
            &[7],
            b"example",
            &[0, 0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4],
            &[203, 0, 113, 66],
        ]
        .concat();
        let mut message = response.without_edns().encode();
        if query.name() == "evil.example." {
            message.extend(forged);
            message[11] += 1;
        }
        vec![Action::Send(message)]
    })
    .await;
    stage.client().ask("evil.example", types::A).await;

    let victim = stage.client().ask("victim.example", types::A).await;
    assert_eq!(victim.addresses(), [Ipv4Addr::new(192, 0, 2, 1)]);
    assert_eq!(stage.asked().len(), 2);
}

#[tokio::test]
async fn a_cache_can_be_left_out() {
    let stage = Stage::spec(json!({"cache": {"mode": "Disabled"}})).await;

    for _ in 0..3 {
        assert_eq!(stage.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
    }
    assert_eq!(stage.asked().len(), 3);
    assert_eq!(stage.proxy.admin.sum("dnsproxy_cache_entries", &[]).await, 0.0);
}

/// Two and a half megabytes of answers, of four kilobytes each.
async fn fill(stage: &Stage) {
    let socket = stage.client().socket().await;
    for id in 0..600_u16 {
        let query = Query::new(&format!("big.n{id}.example"), types::TXT).id(id);
        socket.send(&query.encode()).await.unwrap();
        if id % 20 == 19 {
            for _ in 0..20 {
                socket.receive().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_size_that_a_reload_makes_smaller_holds_from_then_on() {
    let stage = Stage::spec(json!({"cache": {"size": "4Mi"}})).await;
    fill(&stage).await;
    let bytes = || stage.proxy.admin.sum("dnsproxy_cache_bytes", &[]);
    assert!(bytes().await > f64::from(1 << 20));

    stage.proxy.reload(&merged(stage.spec.clone(), json!({"cache": {"size": "1Mi"}}))).await;

    assert!((1.0..=f64::from(1 << 20)).contains(&bytes().await));
}

/// More answers than there is room for.
#[tokio::test]
async fn the_cache_keeps_to_its_size() {
    let stage = Stage::spec(json!({"cache": {"size": "1Mi"}})).await;
    fill(&stage).await;

    let metrics = stage.proxy.admin.metrics().await;
    let sum = |family: &str| admin::sum(&metrics, family, &[]);
    assert!(sum("dnsproxy_cache_bytes") <= f64::from(1 << 20), "{metrics:?}");
    assert!(sum("dnsproxy_cache_entries") > 100.0, "{metrics:?}");
    assert!(sum("dnsproxy_cache_evictions_total") > 100.0, "{metrics:?}");
}

/// Two upstreams that answer differently, and the manifest's routes.
struct Two {
    first: Upstream,
    second: Upstream,
    proxy: Proxy,
    spec: Value,
}

impl Two {
    async fn new() -> Self {
        let authority = Authority::default();
        let server = |last| {
            let answer = always(move |response| response.a(Ipv4Addr::new(192, 0, 2, last)));
            Upstream::tls(&authority.server()).script(answer).start()
        };
        let (first, second) = (server(1).await, server(2).await);
        let entries = [first.entry("first", &authority), second.entry("second", &authority)];
        let cached = merged(upstreams(entries), json!({"cache": {}}));
        let spec = merged(cached, routed("first"));
        let proxy = Proxy::start(&spec).await;
        Self { first, second, proxy, spec }
    }

    async fn expect(&self, last: u8, asked: [usize; 2]) {
        let reply = self.proxy.client().ask("www.example", types::A).await;
        assert_eq!(reply.addresses(), [Ipv4Addr::new(192, 0, 2, last)]);
        let seen = [&self.first, &self.second].map(|it| it.seen().queries.len());
        assert_eq!(seen, asked, "questions to the first and to the second upstream");
    }
}

fn routed(upstream: &str) -> Value {
    json!({"routes": [{"name": "default", "zones": ["."], "upstreams": [upstream]}]})
}

#[tokio::test]
async fn a_reload_keeps_what_is_still_true() {
    let two = Two::new().await;
    two.expect(1, [1, 0]).await;

    let other = merged(two.spec.clone(), json!({"limits": {"queryDeadline": "3s"}}));
    two.proxy.reload(&other).await;
    two.expect(1, [1, 0]).await;
    let larger = merged(other, json!({"cache": {"size": "8Mi"}}));
    two.proxy.reload(&larger).await;
    two.expect(1, [1, 0]).await;
}

#[tokio::test]
async fn a_changed_route_gives_no_answer_of_the_old_one() {
    let two = Two::new().await;
    two.expect(1, [1, 0]).await;

    two.proxy.reload(&merged(two.spec.clone(), routed("second"))).await;
    two.expect(2, [1, 1]).await;
    two.expect(2, [1, 1]).await;
}

/// The same name of an upstream, and somebody else behind it.
#[tokio::test]
async fn an_upstream_with_another_identity_gives_answers_of_its_own() {
    let two = Two::new().await;
    two.expect(1, [1, 0]).await;

    let mut swapped = two.spec.clone();
    swapped["upstreams"][0]["addresses"] = two.spec["upstreams"][1]["addresses"].clone();
    two.proxy.reload(&swapped).await;
    two.expect(2, [1, 1]).await;
}

#[tokio::test]
async fn bounds_that_were_made_tighter_hold_for_what_is_kept() {
    let stage = Stage::cached(with_ttl(3000)).await;
    assert_eq!(stage.client().udp(&a("www.example")).await.answers[0].ttl, 3000);

    let tighter = merged(stage.spec.clone(), json!({"cache": {"maxTTL": "10s"}}));
    stage.proxy.reload(&tighter).await;
    let ttl = stage.client().udp(&a("www.example")).await.answers[0].ttl;
    assert!(ttl <= 10, "{ttl}");
}
