//! What rules make of an answer holds together: chains of aliases reach their end, and denials are about what was asked.

use dnsproxy_tests::{
    manifest::upstreams,
    proxy::Proxy,
    upstream::{Action, Received, Upstream},
    wire::{Query, Reply, Response, flags, rcodes, types},
    zone::always,
};
use serde_json::{Value, json};

/// What a client gets whose proxy has one rule, from an upstream that answers so.
async fn changed(
    rule: Value,
    script: impl FnMut(&Received) -> Vec<Action> + Send + 'static,
    asked: (&str, u16),
) -> Reply {
    let server = Upstream::plain().script(script).start().await;
    let mut spec = upstreams([server.plain_entry("main", "TCP")]);
    spec["rules"] = json!([rule]);
    let proxy = Proxy::start(&spec).await;
    proxy.client().udp(&Query::new(asked.0, asked.1).edns(1232)).await
}

fn rewrite(names: Value, rewrite: Value) -> Value {
    json!({"name": "r", "match": {"names": names}, "rewrite": rewrite})
}

fn response(response: Value) -> Value {
    json!({"name": "r", "match": {"names": {"zone": ["example"]}}, "response": response})
}

/// `owner target` of each record of the answer.
fn chain(reply: &Reply) -> Vec<String> {
    let text = |target: &Option<String>| target.clone().unwrap_or_default();
    let lines = reply.answers.iter().map(|it| format!("{} {}", it.owner, text(&it.target)));
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// The rule of the README.
#[tokio::test]
async fn what_an_alias_leads_to_after_a_change_of_its_target_has_that_name() {
    let rule = rewrite(
        json!({"suffix": [".leg.example"]}),
        json!({
            "name": ".new.example",
            "answerNames": [{"regex": "^(.*)\\.alias\\.example\\.$", "to": "{1}.leg.example."}],
            "answerValues": [{"regex": "^(.*)\\.new\\.example\\.$", "to": "{1}.leg.example."}],
        }),
    );
    let script =
        always(&["x.new.example. 60 IN CNAME y.new.example.", "y.new.example. 60 IN A 192.0.2.1"]);

    let reply = changed(rule, script, ("x.leg.example.", types::A)).await;

    assert_eq!(chain(&reply), ["x.leg.example. y.leg.example.", "y.leg.example."]);
}

#[tokio::test]
async fn no_name_is_an_alias_of_itself() {
    let rule = rewrite(json!({"exact": ["self.source"]}), json!({"name": "selfb.target"}));
    let script =
        always(&["selfb.target. 60 IN CNAME self.source.", "self.source. 60 IN A 192.0.2.1"]);

    let reply = changed(rule, script, ("self.source.", types::A)).await;

    assert_eq!(chain(&reply), ["self.source."]);
}

/// Caches below look for an SOA record of the name, or of one above it.
#[tokio::test]
async fn the_zone_of_a_denial_is_one_of_the_name_that_was_asked() {
    let soa = [&b"\x02ns\0\x02me\0"[..], &[0; 16], &60u32.to_be_bytes()].concat();
    let script = move |query: &Received| {
        let denial = Response::to(&query.message).rcode(rcodes::NXDOMAIN);
        vec![Action::Send(denial.soa_of_parent(60, &soa).encode())]
    };
    for answers in ["Restore", "RestoreAll"] {
        let rule = rewrite(
            json!({"suffix": [".old.example"]}),
            json!({"name": ".new.example", "answers": answers}),
        );

        let reply = changed(rule, script.clone(), ("x.old.example.", types::A)).await;

        assert_eq!(reply.rcode(), rcodes::NXDOMAIN);
        let zone = &reply.authorities[0];
        assert_eq!((&*zone.owner, zone.rtype), ("old.example.", types::SOA), "{answers}");
    }
}

/// RFC 2308 section 2.2: the SOA record is that of the end of the aliases.
#[tokio::test]
async fn what_a_rule_takes_away_is_denied_where_it_was() {
    let rule = response(json!({"removeTypes": ["AAAA"]}));
    let script =
        always(&["a.v6.example. 60 IN CNAME cdn.other.", "cdn.other. 60 IN AAAA 2001:db8::1"]);

    let reply = changed(rule, script, ("a.v6.example.", types::AAAA)).await;

    assert_eq!(chain(&reply), ["a.v6.example. cdn.other."]);
    assert_eq!(
        (&*reply.authorities[0].owner, reply.authorities[0].rtype),
        ("cdn.other.", types::SOA)
    );
}

#[tokio::test]
async fn a_response_code_that_becomes_a_denial_is_one_that_may_be_kept() {
    for (to, rcode) in [("NXDOMAIN", rcodes::NXDOMAIN), ("NOERROR", 0)] {
        let rule = response(json!({"rcodes": [{"from": "REFUSED", "to": to}]}));
        let script = |query: &Received| {
            let refusal = Response::to(&query.message).rcode(rcodes::REFUSED);
            vec![Action::Send(refusal.encode())]
        };

        let reply = changed(rule, script, ("a.example.", types::A)).await;

        assert_eq!(reply.rcode(), rcode);
        let denial = &reply.authorities[0];
        assert_eq!((&*denial.owner, denial.rtype), ("a.example.", types::SOA), "{to}");
    }
}

#[tokio::test]
async fn what_a_rule_has_changed_is_no_authoritys_answer() {
    let script = |query: &Received| {
        let answer = Response::to(&query.message).with(flags::AA).a([192, 0, 2, 1].into());
        vec![Action::Send(answer.encode())]
    };
    let cases = [
        ("a TTL", response(json!({"ttl": {"max": "9s"}})), false),
        ("a code", response(json!({"rcodes": [{"from": "NOERROR", "to": "NXDOMAIN"}]})), false),
        ("records", response(json!({"removeTypes": ["A"]})), false),
        ("an owner", rewrite(json!({"exact": ["a.example"]}), json!({"name": "b.example"})), false),
        ("nothing: it is as the upstream said", response(json!({"ttl": {"max": "1h"}})), true),
    ];

    for (why, rule, is_authoritys) in cases {
        let reply = changed(rule, script, ("a.example.", types::A)).await;
        assert_eq!(reply.has(flags::AA), is_authoritys, "{why}: {reply:?}");
    }
}

/// Else a client takes the address from there.
#[tokio::test]
async fn an_address_that_is_taken_out_is_no_hint_either() {
    let rule = response(json!({"removeTypes": ["AAAA"]}));
    let script = always(&[
        "a.example. 60 IN HTTPS 1 . mandatory=alpn,ipv6hint alpn=h2 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
    ]);

    let reply = changed(rule, script, ("a.example.", 65)).await;

    let alpn = b"\0\0\0\x02\0\x01\0\x01\0\x03\x02h2";
    let expected = [&b"\0\x01\0"[..], alpn, b"\0\x04\0\x04\xc0\0\x02\x01"].concat();
    assert_eq!((reply.answers[0].rtype, &reply.answers[0].rdata), (65, &expected));
}
