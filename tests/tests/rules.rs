//! Rules decide about queries and change answers; what they decide holds for cached answers as well.

use std::net::IpAddr;

use dnsproxy_tests::{
    admin,
    manifest::upstreams,
    proxy::Proxy,
    upstream::{Action, Upstream},
    wire::{Query, Reply, Response, rcodes, types},
    zone::zone,
};
use serde_json::{Value, json};

const RECORDS: [&str; 8] = [
    "www.new.example. 300 IN A 192.0.2.1",
    "alias.new.example. 300 IN CNAME www.new.example.",
    "real.example. 100 IN A 192.0.2.2",
    "other.example. 100 IN A 192.0.2.3",
    "cdn.example. 300 IN CNAME edge.cdn.example.",
    "srv.new.example. 300 IN SRV 0 0 53 www.new.example.",
    "blocked.example. 300 IN A 192.0.2.66",
    "plain.example. 300 IN A 192.0.2.9",
];

struct Ruled {
    spec: Value,
    proxy: Proxy,
    server: Upstream,
}

impl Ruled {
    async fn by(rules: Value) -> Self {
        Self::with(rules, json!({"mode": "Disabled"})).await
    }

    async fn cached(rules: Value) -> Self {
        Self::with(rules, json!({})).await
    }

    async fn with(rules: Value, cache: Value) -> Self {
        let server = Upstream::plain().script(zone(&RECORDS)).start().await;
        let mut spec = upstreams([server.plain_entry("main", "TCP")]);
        spec["rules"] = rules;
        spec["cache"] = cache;
        Self { proxy: Proxy::start(&spec).await, spec, server }
    }

    async fn reload(&self, rules: Value) {
        let mut spec = self.spec.clone();
        spec["rules"] = rules;
        spec["cache"] = json!({});
        self.proxy.reload(&spec).await;
    }

    async fn ask(&self, name: &str, qtype: u16) -> Reply {
        self.proxy.client().udp(&Query::new(name, qtype).edns(1232)).await
    }

    async fn addresses(&self, name: &str) -> Vec<String> {
        self.ask(name, types::A).await.addresses().iter().map(IpAddr::to_string).collect()
    }

    /// The names that the upstream was asked for, checks aside.
    fn asked(&self) -> Vec<String> {
        let seen = self.server.seen();
        seen.queries.iter().filter(|query| !query.is_check()).map(|query| query.name()).collect()
    }
}

fn rule(name: &str, names: Value, action: &str, what: Value) -> Value {
    json!({"name": name, "match": {"names": names}, action: what})
}

#[tokio::test]
async fn a_rewritten_question_and_its_answer_go_back_to_the_name_that_was_asked() {
    let ruled = Ruled::by(json!([rule(
        "old",
        json!({"suffix": [".old.example"]}),
        "rewrite",
        json!({"name": ".new.example"})
    )]))
    .await;

    let reply = ruled.ask("WWW.old.example.", types::A).await;

    assert_eq!(reply.question, Some(("WWW.old.example.".into(), types::A, 1)));
    assert_eq!(reply.answers[0].owner, "WWW.old.example.", "as the client spelled it");
    assert_eq!(reply.addresses(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    let nothing = ruled.ask("no.old.example.", types::A).await;
    assert_eq!(
        (nothing.rcode(), nothing.question.unwrap().0),
        (rcodes::NXDOMAIN, "no.old.example.".into())
    );
    assert_eq!(ruled.asked(), ["www.new.example.", "no.new.example."]);
}

/// The name itself matches as one below the other, and not as a zone of its own.
#[tokio::test]
async fn of_zones_in_each_other_the_one_that_a_name_is_below_gives_way() {
    let ruled = Ruled::by(json!([rule(
        "old",
        json!({"subdomain": ["old.example", "b.old.example"]}),
        "rewrite",
        json!({"name": "new.example"})
    )]))
    .await;

    for name in ["b.old.example.", "www.b.old.example."] {
        let reply = ruled.ask(name, types::A).await;
        assert_eq!(reply.question.unwrap().0, name);
    }
    assert_eq!(ruled.asked(), ["b.new.example.", "www.new.example."]);
}

/// An NXDOMAIN would be about all types (RFC 2308 section 2.1): who caches it loses the records as well.
#[tokio::test]
async fn an_upstream_does_not_deny_a_name_that_a_rule_has_records_of() {
    let records = json!({"records": ["60 A 10.0.0.9"], "otherTypes": "Forward"});
    let names =
        json!({"exact": ["printer.example", "real.example", "printer.local", "blocked.example"]});
    let ruled = Ruled::cached(json!([
        rule(
            "old",
            json!({"exact": ["old.example"]}),
            "rewrite",
            json!({"name": "printer.example"})
        ),
        rule("printer", names, "answer", records),
        rule(
            "alias",
            json!({"exact": ["print.example"]}),
            "answer",
            json!({"records": ["60 CNAME printer.example."]})
        ),
        rule(
            "cdn",
            json!({"exact": ["cdn.example"]}),
            "response",
            json!({"cnameTarget": {"regex": "^edge.*$", "to": "printer.example."}})
        ),
        rule("no", json!({"exact": ["blocked.example"]}), "block", json!({})),
    ]))
    .await;

    let nodata = (rcodes::NOERROR, 0);
    for (name, qtype, expected, why) in [
        ("printer.example.", types::A, (rcodes::NOERROR, 1), "its record"),
        ("printer.example.", types::AAAA, nodata, "the upstream knows no such name"),
        ("printer.example.", types::AAAA, nodata, "and the same from the cache"),
        ("other.printer.example.", types::AAAA, (rcodes::NXDOMAIN, 0), "a name without records"),
        ("real.example.", types::TXT, nodata, "the upstream knows it"),
        ("print.example.", types::AAAA, (rcodes::NOERROR, 1), "an alias of our own to it"),
        ("cdn.example.", types::AAAA, (rcodes::NOERROR, 1), "an upstream's alias that leads to it"),
        ("old.example.", types::AAAA, nodata, "a name that becomes it"),
        ("printer.local.", types::AAAA, nodata, "a private name"),
        ("blocked.example.", types::AAAA, (rcodes::NXDOMAIN, 0), "what another rule blocks"),
    ] {
        let reply = ruled.ask(name, qtype).await;
        assert_eq!((reply.rcode(), reply.answers.len()), expected, "{name} {qtype}: {why}");
        let is_denied = reply.authorities.iter().any(|record| record.rtype == types::SOA);
        let has_own = reply.answers.iter().any(|record| record.rtype == qtype);
        assert_eq!(is_denied, !has_own, "{name} {qtype}: a denial can be kept");
    }
}

/// CoreDNS's issue 4407: the question of an error was the rewritten one.
#[tokio::test]
async fn the_question_goes_back_on_errors_too() {
    for rcode in [rcodes::SERVFAIL, rcodes::REFUSED] {
        let server = Upstream::plain()
            .script(move |query| {
                vec![Action::Send(Response::to(&query.message).rcode(rcode).encode())]
            })
            .start()
            .await;
        let mut spec = upstreams([server.plain_entry("main", "TCP")]);
        spec["rules"] = json!([rule(
            "r",
            json!({"exact": ["a.example"]}),
            "rewrite",
            json!({"name": "b.example"})
        )]);
        let proxy = Proxy::start(&spec).await;

        let reply = proxy.client().ask("a.example.", types::A).await;

        assert_eq!((reply.rcode(), reply.question.unwrap().0), (rcode, "a.example.".into()));
    }
}

#[tokio::test]
async fn a_blocked_name_is_never_asked_for_and_the_client_learns_why() {
    let ruled = Ruled::by(json!([
        rule("ads", json!({"zone": ["blocked.example"]}), "block", json!({})),
        rule(
            "null",
            json!({"exact": ["null.example"]}),
            "block",
            json!({"with": "NullAddress", "ttl": "9s"})
        ),
        rule("no", json!({"exact": ["no.example"]}), "block", json!({"with": "REFUSED"})),
    ]))
    .await;

    let reply = ruled.ask("x.blocked.example.", types::A).await;
    assert_eq!(reply.rcode(), rcodes::NXDOMAIN);
    assert_eq!(reply.ede(), Some((15, "rule ads".into())));
    assert_eq!(
        (reply.authorities[0].rtype, reply.authorities[0].ttl),
        (types::SOA, 60),
        "RFC 2308"
    );
    let null = ruled.ask("null.example.", types::A).await;
    assert_eq!((null.addresses(), null.answers[0].ttl), (vec!["0.0.0.0".parse().unwrap()], 9));
    assert_eq!(ruled.ask("null.example.", types::TXT).await.answers, []);
    assert_eq!(ruled.ask("no.example.", types::A).await.rcode(), rcodes::REFUSED);
    assert_eq!(ruled.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_query_gets_no_reply_and_the_next_one_does() {
    let ruled = Ruled::by(json!([rule(
        "d",
        json!({"exact": ["drop.example"]}),
        "block",
        json!({"with": "Drop"})
    )]))
    .await;
    let socket = ruled.proxy.client().socket().await;

    socket.send(&Query::new("drop.example.", types::A).id(1).encode()).await.unwrap();
    socket.send(&Query::new("real.example.", types::A).id(2).encode()).await.unwrap();

    assert_eq!(Reply::parse(&socket.receive().await.unwrap()).unwrap().id, 2);
}

#[tokio::test]
async fn records_of_our_own_are_answered_and_aliases_are_followed() {
    let ruled = Ruled::by(json!([
        rule(
            "printer",
            json!({"exact": ["printer.example"]}),
            "answer",
            json!({"records": ["9 IN A 10.0.0.9", "TXT \"third floor\""]})
        ),
        rule(
            "alias",
            json!({"exact": ["alias.example"]}),
            "answer",
            json!({"records": ["30 CNAME real.example."]})
        ),
        rule(
            "v4",
            json!({"exact": ["real.example"]}),
            "answer",
            json!({"records": ["AAAA 2001:db8::1"], "otherTypes": "Forward"})
        ),
    ]))
    .await;

    let printer = ruled.ask("printer.example.", types::A).await;
    assert_eq!(
        (printer.addresses(), printer.answers[0].ttl),
        (vec!["10.0.0.9".parse().unwrap()], 9)
    );
    assert_eq!(printer.ede(), Some((4, "rule printer".into())), "RFC 8914 section 4.5");
    let none = ruled.ask("printer.example.", types::AAAA).await;
    assert_eq!((none.rcode(), none.answers.len(), none.authorities.len()), (0, 0, 1));

    let alias = ruled.ask("alias.example.", types::A).await;
    let owners: Vec<_> = alias.answers.iter().map(|record| &*record.owner).collect();
    assert_eq!(owners, ["alias.example.", "real.example."]);
    assert_eq!(alias.addresses(), ["192.0.2.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(ruled.asked(), ["real.example."]);
}

#[tokio::test]
async fn a_cname_record_is_led_to_another_target() {
    let ruled = Ruled::by(json!([rule("cdn", json!({"zone": ["cdn.example"]}), "response",
        json!({"cnameTarget": {"regex": "^edge\\.cdn\\.example\\.$", "to": "other.example."}, "ttl": {"min": "200s"}}))]))
    .await;

    let reply = ruled.ask("cdn.example.", types::A).await;

    let owners: Vec<_> = reply.answers.iter().map(|record| (&*record.owner, record.ttl)).collect();
    assert_eq!(owners, [("cdn.example.", 300), ("other.example.", 200)]);
    assert_eq!(reply.addresses(), ["192.0.2.3".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn targets_of_aliases_are_decided_about_like_any_name() {
    let ruled = Ruled::by(json!([
        rule(
            "cdn",
            json!({"zone": ["cdn.example"]}),
            "response",
            json!({"cnameTarget": {"regex": "^edge\\.", "to": "blocked.example."}})
        ),
        rule("ads", json!({"zone": ["blocked.example"]}), "block", json!({})),
        rule(
            "local",
            json!({"exact": ["here.example"]}),
            "answer",
            json!({"records": ["CNAME nas.local."]})
        ),
    ]))
    .await;

    let blocked = ruled.ask("cdn.example.", types::A).await;
    assert_eq!((blocked.rcode(), blocked.addresses()), (rcodes::NXDOMAIN, vec![]));
    let local = ruled.ask("here.example.", types::A).await;
    assert_eq!(
        (local.rcode(), local.answers.len()),
        (rcodes::NXDOMAIN, 1),
        "private names never leave"
    );
    assert_eq!(ruled.asked(), ["cdn.example."]);
}

#[tokio::test]
async fn aliases_in_a_circle_end() {
    let ruled = Ruled::by(json!([rule(
        "circle",
        json!({"zone": ["cdn.example"]}),
        "response",
        json!({"cnameTarget": {"regex": "^(.*)$", "to": "a{1}"}})
    )]))
    .await;

    let reply = ruled.ask("cdn.example.", types::A).await;
    assert_eq!(reply.rcode(), rcodes::NXDOMAIN, "each record is led on once");
    let own = Ruled::by(json!([rule(
        "one",
        json!({"exact": ["one.example"]}),
        "answer",
        json!({"records": ["CNAME one.example."]})
    ),]))
    .await;
    assert_eq!(own.ask("one.example.", types::A).await.rcode(), 0, "a name that is its own alias");
}

#[tokio::test]
async fn a_changed_answer_is_cached_as_it_was_asked_for() {
    let ruled = Ruled::cached(json!([
        rule(
            "old",
            json!({"suffix": [".old.example"]}),
            "rewrite",
            json!({"name": ".new.example"})
        ),
        rule(
            "calm",
            json!({"exact": ["www.new.example"]}),
            "response",
            json!({"ttl": {"max": "7s"}})
        ),
    ]))
    .await;

    for _ in 0..3 {
        let reply = ruled.ask("www.old.example.", types::A).await;
        assert_eq!(reply.answers[0].owner, "www.old.example.");
        assert!(reply.answers[0].ttl <= 7);
    }
    let reply = ruled.ask("www.new.example.", types::A).await;
    assert_eq!(reply.answers[0].owner, "www.new.example.");

    assert_eq!(ruled.asked(), ["www.new.example."], "once for both");
    let metrics = ruled.proxy.admin.metrics().await;
    let sum = |family: &str, label: &str| admin::sum(&metrics, family, &[label]);
    assert_eq!(sum("dnsproxy_rule_matches_total", "rule=\"old\""), 3.0);
    assert_eq!(sum("dnsproxy_responses_total", "source=\"cache\""), 3.0);
}

#[tokio::test]
async fn a_rule_that_is_looked_at_twice_counts_once() {
    let legacy = rule(
        "legacy",
        json!({"suffix": [".old.example"]}),
        "rewrite",
        json!({"name": ".new.example"}),
    );
    let blocked = rule("blocked", json!({"zone": ["new.example"]}), "block", json!({}));
    let ruled = Ruled::by(json!([legacy, blocked])).await;

    ruled.ask("a.old.example.", types::A).await;

    for name in ["legacy", "blocked"] {
        let label = format!("rule=\"{name}\"");
        assert_eq!(ruled.proxy.admin.sum("dnsproxy_rule_matches_total", &[&label]).await, 1.0);
    }
}

/// As programs do that ask for both kinds of addresses.
#[tokio::test]
async fn a_denial_that_is_known_of_one_type_is_changed_for_another_as_well() {
    let changes = json!({"rcodes": [{"from": "NXDOMAIN", "to": "NOERROR"}]});
    let ruled =
        Ruled::cached(json!([rule("soft", json!({"zone": ["example"]}), "response", changes)]))
            .await;

    for qtype in [types::A, types::AAAA, types::TXT] {
        let reply = ruled.ask("nobody.example", qtype).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "{reply:?}");
        assert_eq!(reply.question, Some(("nobody.example.".into(), qtype, 1)));
        assert_eq!((reply.answers.len(), reply.authorities.len()), (0, 1));
    }
    assert_eq!(ruled.asked(), ["nobody.example."], "that nobody is there holds for all types");
}

#[tokio::test]
async fn aliases_that_are_made_of_other_parts_of_a_name_are_other_answers() {
    let made = |name: &str, regex: &str, client: &str| {
        let target = json!({"records": ["CNAME {1}.example."]});
        let mut made = rule(name, json!({"regex": [regex]}), "answer", target);
        made["match"]["clients"] = json!([client]);
        made
    };
    let ruled = Ruled::cached(json!([
        made("first", r"^([a-z]+)-[a-z]+\.svc\.$", "127.0.0.2/32"),
        made("second", r"^[a-z]+-([a-z]+)\.svc\.$", "127.0.0.3/32"),
    ]))
    .await;

    for (client, expected) in [(2, "192.0.2.2"), (3, "192.0.2.3"), (2, "192.0.2.2")] {
        let client = ruled.proxy.client().from(dnsproxy_tests::proxy::loopback(client));
        let reply = client.ask("real-other.svc.", types::A).await;
        assert_eq!(reply.addresses(), [expected.parse::<IpAddr>().unwrap()]);
    }
}

#[tokio::test]
async fn names_go_back_as_the_rule_says_that_made_the_question_cached_or_not() {
    let made = |name: &str, names: Value, client: &str| {
        let to = json!({"name": "new.example", "answers": "RestoreAll"});
        let mut made = rule(name, names, "rewrite", to);
        made["match"]["clients"] = json!([client]);
        made
    };
    let ruled = Ruled::cached(json!([
        made("zone", json!({"zone": ["old.example"]}), "127.0.0.2/32"),
        made("part", json!({"substring": ["old.example"]}), "127.0.0.3/32"),
    ]))
    .await;

    for (client, expected) in
        [(2, "www.old.example."), (3, "www.new.example."), (2, "www.old.example.")]
    {
        let client = ruled.proxy.client().from(dnsproxy_tests::proxy::loopback(client));
        let reply = client.ask("alias.old.example.", types::CNAME).await;
        assert_eq!(reply.answers[0].target.as_deref(), Some(expected));
    }
    assert_eq!(ruled.asked(), ["alias.new.example."], "once for both");
}

#[tokio::test]
async fn a_target_that_a_rule_has_an_alias_for_is_followed() {
    let steer =
        json!({"cnameTarget": {"regex": r"^edge\.cdn\.example\.$", "to": "b.cdn.example."}});
    let ruled = Ruled::by(json!([
        rule("steer", json!({"exact": ["cdn.example"]}), "response", steer),
        rule(
            "own",
            json!({"exact": ["b.cdn.example"]}),
            "answer",
            json!({"records": ["CNAME real.example."]})
        ),
    ]))
    .await;

    assert_eq!(ruled.addresses("cdn.example.").await, ["192.0.2.2"]);
    assert_eq!(ruled.asked(), ["cdn.example.", "real.example."]);
}

/// The target goes another way from now on, so the answer is another one.
#[tokio::test]
async fn a_changed_target_is_looked_up_where_it_goes_now() {
    let steer = json!({"cnameTarget": {"regex": r"^edge\.cdn\.example\.$", "to": "real.example."}});
    let ruled =
        Ruled::cached(json!([rule("steer", json!({"exact": ["cdn.example"]}), "response", steer)]))
            .await;
    assert_eq!(ruled.addresses("cdn.example.").await, ["192.0.2.2"]);
    let other = ["real.example. 100 IN A 192.0.2.77"];
    let other = Upstream::plain().script(zone(&other)).start().await;
    let mut spec = ruled.spec.clone();
    let entries = [ruled.server.plain_entry("main", "TCP"), other.plain_entry("other", "TCP")];
    spec["upstreams"] = json!(entries);
    spec["routes"] = json!([
        {"name": "default", "zones": ["."], "upstreams": ["main"]},
        {"name": "real", "zones": ["real.example"], "upstreams": ["other"]},
    ]);
    ruled.proxy.reload(&spec).await;

    assert_eq!(ruled.addresses("cdn.example.").await, ["192.0.2.77"]);
}

/// What an alias of our own leads to was decided about; what it is led to from there is decided about as well.
#[tokio::test]
async fn a_changed_target_behind_an_alias_of_our_own_is_blocked_like_any_name() {
    let steer =
        json!({"cnameTarget": {"regex": r"^edge\.cdn\.example\.$", "to": "blocked.example."}});
    let alias = json!({"records": ["CNAME cdn.example."]});
    let ruled = Ruled::by(json!([
        rule("steer", json!({"exact": ["www.example"]}), "response", steer),
        rule("alias", json!({"exact": ["www.example"]}), "answer", alias),
        rule("ads", json!({"exact": ["blocked.example"]}), "block", json!({})),
    ]))
    .await;

    let reply = ruled.ask("www.example.", types::A).await;

    assert_eq!((reply.rcode(), reply.addresses()), (rcodes::NXDOMAIN, vec![]), "{reply:?}");
    assert_eq!(ruled.asked(), ["cdn.example."]);
}

#[tokio::test]
async fn the_last_rule_of_a_chain_says_whether_its_end_is_looked_up() {
    let alias = |name: &str, of: &str, to: &str, cname: &str| {
        let answer = json!({"records": [format!("CNAME {to}.")], "cname": cname});
        rule(name, json!({"exact": [of]}), "answer", answer)
    };
    let ruled = Ruled::by(json!([
        alias("a", "a.example", "b.example", "Follow"),
        alias("b", "b.example", "real.example", "Leave"),
        alias("c", "c.example", "d.example", "Leave"),
        alias("d", "d.example", "other.example", "Follow"),
    ]))
    .await;

    let left = ruled.ask("a.example.", types::A).await;
    assert_eq!((left.answers.len(), left.addresses().len()), (2, 0), "{left:?}");
    assert_eq!(ruled.addresses("c.example.").await, ["192.0.2.3"]);
    assert_eq!(ruled.asked(), ["other.example."]);
}

#[tokio::test]
async fn a_rule_for_some_clients_holds_for_them_alone_cached_or_not() {
    let mut only = rule(
        "some",
        json!({"exact": ["real.example"]}),
        "rewrite",
        json!({"name": "other.example"}),
    );
    only["match"]["clients"] = json!(["127.0.0.2/32"]);
    let ruled = Ruled::cached(json!([only])).await;
    let from = |last| ruled.proxy.client().from(dnsproxy_tests::proxy::loopback(last));

    for _ in 0..2 {
        let others = from(3).ask("real.example.", types::A).await;
        assert_eq!(others.addresses(), ["192.0.2.2".parse::<IpAddr>().unwrap()]);
        let some = from(2).ask("real.example.", types::A).await;
        assert_eq!(some.addresses(), ["192.0.2.3".parse::<IpAddr>().unwrap()]);
    }
}

#[tokio::test]
async fn a_block_holds_for_answers_that_are_cached() {
    let ruled =
        Ruled::cached(json!([rule("n", json!({"exact": ["n.example"]}), "allow", json!({}))]))
            .await;
    assert_eq!(ruled.addresses("blocked.example.").await, ["192.0.2.66"]);

    ruled
        .reload(json!([rule("ads", json!({"zone": ["blocked.example"]}), "block", json!({}))]))
        .await;

    assert_eq!(ruled.ask("blocked.example.", types::A).await.rcode(), rcodes::NXDOMAIN);
}

#[tokio::test]
async fn a_name_that_cannot_be_is_an_error_and_nothing_else() {
    let ruled = Ruled::by(json!([rule(
        "long",
        json!({"regex": ["^(.*)$"]}),
        "rewrite",
        json!({"name": "{1}{1}{1}{1}{1}"})
    )]))
    .await;

    let reply = ruled.ask(&format!("{0}.{0}.example.", "x".repeat(60)), types::A).await;

    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    assert!(reply.ede().unwrap().1.starts_with("rule long makes a name that is none"));
    assert_eq!(ruled.asked(), Vec::<String>::new());
}

/// CVE-2026-27853: dnsdist wrote past 65,535 octets when it made names longer.
#[tokio::test]
async fn an_answer_that_no_longer_fits_is_an_error() {
    let server = Upstream::plain()
        .script(|query| {
            let records = 0..300;
            let response = records.fold(Response::to(&query.message), |response, _| {
                response.record(SRV, 60, b"\0\0\0\0\0\x35\x01t\x07example\0")
            });
            vec![Action::Send(response.encode())]
        })
        .start()
        .await;
    let label = "y".repeat(60);
    let long = format!("{label}.{label}.{label}.{label}.");
    let mut spec = upstreams([server.plain_entry("main", "TCP")]);
    spec["rules"] = json!([rule(
        "r",
        json!({"exact": ["s.example"]}),
        "rewrite",
        json!({
        "name": "t.example", "answerValues": [{"regex": "^t\\.example\\.$", "to": long}]})
    )]);
    let proxy = Proxy::start(&spec).await;

    let query = Query::new("s.example.", SRV).edns(1232);
    let reply = proxy.tcp_client().tcp(&query).await;

    assert_eq!((reply.rcode(), reply.answers), (rcodes::SERVFAIL, vec![]));
    assert!(reply.edns.is_some());
}

const SRV: u16 = 33;
