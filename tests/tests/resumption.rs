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
use rustls::version::{TLS12, TLS13};
use serde_json::json;

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

#[tokio::test]
async fn a_new_pin_ends_connections_and_sessions() {
    let stage = Stage::new().await;
    stage.client().ask("first.example", types::A).await;

    let entry = merged(
        stage.upstream.entry("scripted", &stage.authority),
        json!({"tls": {"pins": [wrong_pin()]}}),
    );
    stage.proxy.replace_manifest(&manifest(&upstreams([entry])));
    eventually("the new pin in force", async || {
        let reply = stage.client().ask("second.example", types::A).await;
        (reply.rcode() == rcodes::SERVFAIL).then_some(())
    })
    .await;

    let before = stage.upstream.seen();
    let reply = stage.client().ask("third.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    let after = stage.upstream.seen();
    assert_eq!(
        after.handshakes.len(),
        before.handshakes.len(),
        "no session is taken up under the old proof"
    );
    assert_eq!(after.queries.len(), before.queries.len());
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
