//! A session is taken up again, but never across a change of who the upstream must be.

use dnsproxy_tests::{
    certificates::{Authority, wrong_pin},
    eventually,
    manifest::{manifest, merged, upstreams},
    proxy::Proxy,
    stage::Stage,
    upstream::Upstream,
    wire::{rcodes, types},
};
use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_new_connection_takes_up_the_old_session() {
    for version in [&TLS12, &TLS13] {
        let stage = Stage::with(|setup| setup.version(version), json!({})).await;
        stage.client().ask("first.example", types::A).await;
        stage.upstream.cut_connections();
        stage.upstream.until("the end of the connection", |seen| seen.ended > 0).await;
        assert_eq!(stage.client().ask("second.example", types::A).await.rcode(), rcodes::NOERROR);

        let handshakes = stage.upstream.seen().handshakes;
        let kinds: Vec<bool> = handshakes.iter().map(|handshake| handshake.is_resumed).collect();
        let (first, others) = kinds.split_first().unwrap();
        let is_resumed = !others.is_empty() && others.iter().all(|is_resumed| *is_resumed);
        let why = format!("{:?} (RFC 8310 section 9): {kinds:?}", version.version);
        assert!(!first && is_resumed, "{why}");
        let full =
            stage.proxy.admin.sum("dnsproxy_upstream_handshakes_total", &["kind=\"full\""]).await;
        let resumed = stage
            .proxy
            .admin
            .sum("dnsproxy_upstream_handshakes_total", &["kind=\"resumed\""])
            .await;
        assert!(full == 1.0 && resumed >= 1.0, "{full} full ones, {resumed} resumed");
    }
}

/// A session is taken up without a look at the certificate, so it must not outlive what was proven.
#[tokio::test]
async fn what_a_server_must_prove_anew_ends_connections_and_sessions() {
    let other = Authority::new("Another root");
    let cases = [
        ("another pin", json!({"pins": [wrong_pin()]})),
        ("another authority", json!({"ca": {"inline": other.pem()}})),
        ("another name", json!({"serverName": "other.example"})),
    ];

    for (why, tls) in cases {
        for version in [&TLS12, &TLS13] {
            expect_no_session(why, version, &tls).await;
        }
    }
}

async fn expect_no_session(why: &str, version: &'static SupportedProtocolVersion, tls: &Value) {
    let stage = Stage::with(|setup| setup.version(version), json!({})).await;
    stage.client().ask("first.example", types::A).await;

    let entry = merged(stage.upstream.entry("scripted", &stage.authority), json!({"tls": tls}));
    stage.proxy.replace_manifest(&manifest(&upstreams([entry])));
    let fails = async || {
        let reply = stage.client().ask("second.example", types::A).await;
        (reply.rcode() == rcodes::SERVFAIL).then_some(())
    };
    eventually(&format!("{why} in force"), fails).await;
    let before = stage.upstream.seen();
    eventually(&format!("{why}: more tries"), async || {
        assert_eq!(fails().await, Some(()), "{why}");
        (stage.upstream.seen().failed_handshakes >= before.failed_handshakes + 2).then_some(())
    })
    .await;

    let seen = stage.upstream.seen();
    assert_eq!(seen.handshakes.len(), before.handshakes.len(), "{why}: no session is taken up");
    assert_eq!(seen.queries.len(), before.queries.len(), "{why}");
    stage.upstream.until(why, |seen| seen.ended == seen.connections).await;
}

#[tokio::test]
async fn a_session_belongs_to_one_upstream_even_at_one_address() {
    let root = Authority::default();
    let upstream = Upstream::tls(&root.server()).start().await;
    let strict = merged(upstream.entry("strict", &root), json!({"tls": {"pins": [wrong_pin()]}}));
    let mut spec = upstreams([upstream.entry("usual", &root), strict]);
    spec["routes"] = json!([
        {"name": "usual", "zones": ["."], "upstreams": ["usual"]},
        {"name": "strict", "zones": ["strict.example"], "upstreams": ["strict"]},
    ]);
    let proxy = Proxy::start(&spec).await;

    assert_eq!(proxy.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
    assert_eq!(proxy.client().ask("www.strict.example", types::A).await.rcode(), rcodes::SERVFAIL);
    assert!(upstream.seen().queries.iter().all(|query| query.name() == "www.example."));
}

#[tokio::test]
async fn a_server_with_another_key_is_looked_at_anew() {
    let stage = Stage::new().await;
    stage.client().ask("first.example", types::A).await;
    stage.upstream.show(&Authority::new("A root that nobody trusts").server());
    stage.upstream.cut_connections();
    stage.upstream.until("the end of the connection", |seen| seen.ended > 0).await;

    let reply = stage.client().ask("second.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    assert!(stage.asked().iter().all(|name| name == "first.example."));
}
