//! Pins: what they match, what they do not, and where they come from (RFC 7858 section 4.2).

use dnsproxy_tests::{
    certificates::{Authority, Identity, NAME, expired, new_key, wrong_pin},
    manifest::{merged, upstreams},
    proxy::{Proxy, run, text},
    upstream::Upstream,
    wire::{rcodes, types},
};
use serde_json::{Value, json};

async fn rcode_with(identity: &Identity, root: &Authority, tls: Value) -> u16 {
    let upstream = Upstream::tls(identity).start().await;
    let entry = merged(upstream.entry("scripted", root), json!({"tls": tls}));
    let proxy = Proxy::start(&upstreams([entry])).await;
    proxy.client().ask("www.example", types::A).await.rcode()
}

#[tokio::test]
async fn a_pin_matches_any_certificate_of_the_verified_path() {
    let root = Authority::default();
    let intermediate = root.intermediate("Intermediate");
    let identity = intermediate.server().followed_by(&intermediate);
    let cases = [
        ("the server's own", identity.pin.clone()),
        ("the intermediate's", intermediate.pin()),
        ("the root's, which is not even sent", root.pin()),
    ];

    for (why, pin) in cases {
        let rcode = rcode_with(&identity, &root, json!({"pins": [wrong_pin(), pin]})).await;
        assert_eq!(rcode, rcodes::NOERROR, "{why}");
    }
}

#[tokio::test]
async fn a_pin_is_required_besides_the_certificate_not_instead() {
    let root = Authority::default();
    let outdated = root.issue(&[NAME], expired);
    let stranger = Identity::self_signed(&[NAME]);

    for (why, identity) in [("expired", outdated), ("signed by itself", stranger)] {
        let rcode = rcode_with(&identity, &root, json!({"pins": [identity.pin]})).await;
        assert_eq!(rcode, rcodes::SERVFAIL, "{why}, with the right pin");
    }
}

#[tokio::test]
async fn with_pins_only_nothing_else_counts() {
    let root = Authority::default();
    let cases = [
        ("signed by itself", Identity::self_signed(&[NAME])),
        ("expired", root.issue(&[NAME], expired)),
        ("another name", root.issue(&["dns.invalid"], |_| ())),
    ];

    for (why, identity) in cases {
        let upstream = Upstream::tls(&identity).start().await;
        let tls = json!({"serverName": NAME, "pins": [identity.pin], "authentication": "PinsOnly"});
        let entry =
            json!({"name": "pinned", "addresses": [upstream.address.to_string()], "tls": tls});
        let proxy = Proxy::start(&upstreams([entry])).await;
        let reply = proxy.client().ask("www.example", types::A).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "{why}: {:?}", reply.ede());
    }
}

#[tokio::test]
async fn a_renewed_certificate_with_the_same_key_has_the_same_pin() {
    let root = Authority::default();
    let key = new_key();
    let again = rcgen::KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let first = root.issue_for_key(&[NAME], key, |_| ());
    let second = root.issue_for_key(&[NAME], again, |_| ());
    assert_ne!(first.chain, second.chain);

    assert_eq!(rcode_with(&second, &root, json!({"pins": [first.pin]})).await, rcodes::NOERROR);
}

#[tokio::test]
async fn a_mismatch_says_what_was_presented() {
    let root = Authority::default();
    let identity = root.server();
    let upstream = Upstream::tls(&identity).start().await;
    let entry = merged(upstream.entry("scripted", &root), json!({"tls": {"pins": [wrong_pin()]}}));
    let proxy = Proxy::start(&upstreams([entry])).await;

    let (_, said) = proxy.client().ask("www.example", types::A).await.ede().unwrap();
    assert!(said.contains("pin mismatch") && said.contains(&identity.pin), "{said}");

    let report = proxy.admin.json("/upstreams").await;
    let server = &report["upstreams"][0]["servers"][0];
    assert_eq!(server["state"], "Unhealthy", "{report}");
    assert_eq!(server["reason"], "pin_mismatch", "{report}");
    assert!(server["message"].as_str().unwrap().contains(&identity.pin), "{report}");
}

#[tokio::test]
async fn the_pins_command_prints_what_a_manifest_takes() {
    let root = Authority::default();
    let intermediate = root.intermediate("Intermediate");
    let identity = intermediate.server().followed_by(&intermediate);
    let upstream = Upstream::tls(&identity).start().await;

    let output = run(&["pins", &upstream.address.to_string(), "--server-name", NAME]).await;
    let printed = text(&output.stdout);

    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    assert!(printed.contains(&identity.pin) && printed.contains(&intermediate.pin()), "{printed}");
    assert!(upstream.seen().queries.is_empty(), "looking is not asking");

    let closed = dnsproxy_tests::upstream::ClosedPort::new();
    let output = run(&["pins", &closed.address.to_string()]).await;
    assert!(!output.status.success(), "no server, no pins");
}
