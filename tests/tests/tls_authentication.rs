//! An upstream that does not prove who it is never gets a query, not in TLS and not in the clear.

use std::net::{IpAddr, SocketAddr};

use dnsproxy_tests::{
    certificates::{
        Authority, Identity, NAME, common_name_only, expired, for_clients_only, not_an_authority,
        not_yet_valid, wrong_pin,
    },
    manifest::{merged, upstreams},
    proxy::{Proxy, loopback},
    upstream::{Seen, Setup, Upstream},
    wire::{Query, name_on_wire, rcodes, types},
};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

const SECRET: &str = "a-name-that-nobody-else-may-see.example";

/// A server with a certificate that must not do.
struct Bad {
    why: &'static str,
    identity: Identity,
    /// What of `tls` differs from the usual: name and authority.
    tls: Value,
    /// How `/upstreams` calls it.
    reason: &'static str,
}

impl Bad {
    fn by(mut self, tls: Value) -> Self {
        self.tls = tls;
        self
    }
}

fn bad(why: &'static str, identity: Identity, reason: &'static str) -> Bad {
    Bad { why, identity, tls: json!({}), reason }
}

fn of_another_name_or_time(trusted: &Authority) -> Vec<Bad> {
    let named = |name: &str| trusted.issue(&[name], |_| ());
    let here = || trusted.server_at(loopback(1));
    let by_address = || json!({"serverName": null});
    vec![
        bad("another name", named("dns.invalid"), "name_mismatch"),
        bad("a name below ours", named("a.dns.example"), "name_mismatch"),
        bad("a wildcard beside ours", named("*.dns.example"), "name_mismatch"),
        bad("the address, when a name is asked for", here(), "name_mismatch"),
        bad("our name in the subject only", trusted.issue(&[], common_name_only), "name_mismatch"),
        bad("a name, when the address is asked for", named(NAME), "name_mismatch").by(by_address()),
        bad("another address", trusted.server_at(loopback(2)), "name_mismatch").by(by_address()),
        bad("expired", trusted.issue(&[NAME], expired), "expired"),
        bad("not yet valid", trusted.issue(&[NAME], not_yet_valid), "not_yet_valid"),
    ]
}

fn of_another_authority(trusted: &Authority) -> Vec<Bad> {
    let other = Authority::new("A root that nobody trusts");
    let namesake = Authority::default();
    let demoted = trusted.intermediate_with("No authority", not_an_authority);
    let outdated = trusted.intermediate_with("Outdated", expired);
    let proper = trusted.intermediate("Proper");
    let other_along = || other.server().followed_by(&other);
    vec![
        bad("signed by itself", Identity::self_signed(&[NAME]), "untrusted"),
        bad("an unknown authority", other.server(), "untrusted"),
        bad("an unknown authority that is sent along", other_along(), "untrusted"),
        bad("and the known one behind", other.server().followed_by(trusted), "untrusted"),
        bad("an authority of the same name with another key", namesake.server(), "untrusted"),
        bad("no authority", demoted.server().followed_by(&demoted), "bad_certificate"),
        bad("an authority that has expired", outdated.server().followed_by(&outdated), "expired"),
        bad("an intermediate that is not sent", proper.server(), "untrusted"),
        bad("for clients only", trusted.issue(&[NAME], for_clients_only), "bad_certificate"),
        // A certificate of our own authority, when only the public ones count.
        bad("an authority of our own", trusted.server(), "untrusted").by(json!({"ca": null})),
    ]
}

fn of_another_key(trusted: &Authority) -> Vec<Bad> {
    let other = Authority::new("A root that nobody trusts");
    let pinned = |pin: String| json!({"pins": [pin]});
    let only = |pin: String| json!({"pins": [pin], "authentication": "PinsOnly", "ca": null});
    let with_root = trusted.server().followed_by(trusted);
    let with_stranger = trusted.server().followed_by(&other);
    vec![
        bad("another pin", trusted.server(), "pin_mismatch").by(pinned(wrong_pin())),
        bad("nothing but another pin", trusted.server(), "pin_mismatch").by(only(wrong_pin())),
        // With pins only, the server's own certificate counts and no other.
        bad("the authority's pin", with_root, "pin_mismatch").by(only(trusted.pin())),
        // A certificate that is merely sent along is not part of the path that was verified.
        bad("a stranger's pin", with_stranger, "pin_mismatch").by(pinned(other.pin())),
    ]
}

#[tokio::test]
async fn a_bad_certificate_never_gets_a_query() {
    let trusted = Authority::default();

    let by_name = of_another_name_or_time(&trusted);
    let all = by_name.into_iter().chain(of_another_authority(&trusted));
    for bad in all.chain(of_another_key(&trusted)) {
        for version in [&TLS12, &TLS13] {
            let upstream = Upstream::tls(&bad.identity).version(version).start().await;
            let entry = merged(upstream.entry("scripted", &trusted), json!({"tls": bad.tls}));
            let why = format!("{} over {:?}", bad.why, version.version);
            expect_no_query(&why, upstream, without_nulls(entry), bad.reason).await;
        }
    }
}

/// Asks over UDP and TCP, and looks at every byte that the upstream got.
async fn expect_no_query(why: &str, upstream: Upstream, entry: Value, reason: &str) {
    let proxy = Proxy::start(&upstreams([entry])).await;
    let query = Query::new(SECRET, types::A).edns(1232);

    for reply in [proxy.client().udp(&query).await, proxy.client().tcp(&query).await] {
        assert_eq!(reply.rcode(), rcodes::SERVFAIL, "{why}");
        let (code, text) = reply.ede().unwrap_or_else(|| panic!("{why}: no Extended Error"));
        assert!([22, 23].contains(&code), "{why}: EDE {code} {text}");
        assert!(text.contains("scripted"), "{why}: the upstream is named: {text}");
    }
    let report = proxy.admin.json("/upstreams").await;
    assert_eq!(report["upstreams"][0]["servers"][0]["reason"], reason, "{why}: {report}");
    let seen =
        upstream.until(why, |seen| seen.connections > 0 && seen.ended == seen.connections).await;
    expect_nothing_but_handshakes(why, &seen);
}

fn expect_nothing_but_handshakes(why: &str, seen: &Seen) {
    assert_eq!(seen.queries.len(), 0, "{why}");
    assert_eq!(seen.decrypted, 0, "{why}: not a byte of data inside of TLS");
    assert_eq!(seen.datagrams, 0, "{why}: nothing to the UDP port of the same number");
    for raw in &seen.raw {
        assert!(
            raw.is_empty() || raw.starts_with(&[22, 3]),
            "{why}: it starts with a handshake: {raw:02x?}"
        );
        let name = name_on_wire(SECRET);
        assert!(
            !raw.windows(name.len()).any(|window| window == name),
            "{why}: the name, in the clear"
        );
    }
}

/// `null` in these tests means: leave it out.
fn without_nulls(mut entry: Value) -> Value {
    entry["tls"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    entry
}

/// RFC 8310 section 5: no fallback. Nothing listens for plain DNS here but us, at the ports where it would go.
#[tokio::test]
async fn nothing_goes_to_the_usual_ports_in_the_clear() {
    let address: IpAddr = "127.85.3.53".parse().unwrap();
    let Some(sinks) = plain_sinks(address).await else {
        eprintln!("NOT RUN: port 53 of {address} cannot be had without privileges");
        return;
    };
    let trusted = Authority::default();
    let dot = SocketAddr::new(address, 8853);
    let upstream = Upstream::tls(&Identity::self_signed(&[NAME])).at(dot).start().await;
    let proxy = Proxy::start(&upstreams([upstream.entry("scripted", &trusted)])).await;

    for number in 0..20 {
        let reply = proxy.client().ask(&format!("n{number}.example"), types::A).await;
        assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    }
    for sink in sinks {
        let seen = sink.seen();
        assert_eq!((seen.connections, seen.datagrams), (0, 0), "at {}", sink.address);
    }
}

async fn plain_sinks(address: IpAddr) -> Option<Vec<Upstream>> {
    let mut sinks = Vec::new();
    for port in [53, 853] {
        tokio::net::TcpListener::bind((address, port)).await.ok()?;
        sinks.push(Upstream::mute().at((address, port).into()).start().await);
    }
    Some(sinks)
}

#[tokio::test]
async fn a_server_that_is_no_tls_server_gets_a_handshake_and_nothing_else() {
    let trusted = Authority::default();
    let upstream = Upstream::plain().start().await;
    let entry = upstream.entry("scripted", &trusted);

    let proxy =
        Proxy::start(&upstreams([merged(entry, json!({"timeouts": {"connect": "500ms"}}))])).await;
    let reply = proxy.client().ask(SECRET, types::A).await;

    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    let seen = upstream.seen();
    assert_eq!(seen.datagrams, 0);
    for raw in seen.raw {
        assert!(
            raw.starts_with(&[22, 3]),
            "a ClientHello, from the first byte on (RFC 7858 section 3.1)"
        );
    }
}

#[tokio::test]
async fn good_certificates_are_good() {
    let root = Authority::default();
    let intermediate = root.intermediate("Intermediate");
    let by_address = json!({"serverName": null});
    let cases: Vec<(&str, Identity, Value)> = vec![
        ("the name", root.server(), json!({})),
        ("one of several names", root.issue(&["a.invalid", NAME], |_| ()), json!({})),
        (
            "a wildcard",
            root.issue(&["*.dns.example"], |_| ()),
            json!({"serverName": "one.dns.example"}),
        ),
        ("the name in other letters", root.issue(&["DNS.Example"], |_| ()), json!({})),
        ("over an intermediate", intermediate.server().followed_by(&intermediate), json!({})),
        ("with the root sent along", root.server().followed_by(&root), json!({})),
        ("the address", root.server_at(loopback(1)), by_address),
    ];

    for (why, identity, tls) in cases {
        for version in [&TLS12, &TLS13] {
            let upstream = Upstream::tls(&identity).version(version).start().await;
            let entry = merged(upstream.entry("scripted", &root), json!({"tls": tls}));
            let proxy = Proxy::start(&upstreams([without_nulls(entry)])).await;
            let reply = proxy.client().ask("www.example", types::A).await;
            assert_eq!(
                reply.rcode(),
                rcodes::NOERROR,
                "{why}, {:?}: {:?}",
                version.version,
                reply.ede()
            );
        }
    }
}

#[tokio::test]
async fn the_handshake_is_a_modern_one() {
    let root = Authority::default();
    let upstream = Upstream::tls(&root.server()).start().await;
    let proxy = Proxy::start(&upstreams([upstream.entry("scripted", &root)])).await;
    proxy.client().ask("www.example", types::A).await;

    let seen = upstream.seen();
    let handshake = &seen.handshakes[0];
    assert_eq!(handshake.version, Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(
        handshake.group.as_deref(),
        Some("X25519MLKEM768"),
        "what is recorded today stays secret"
    );
    assert_eq!(
        handshake.server_name.as_deref(),
        Some(NAME),
        "SNI is the name that is authenticated (RFC 8310 section 8.1)"
    );
    assert_eq!(
        offered_versions(&seen.raw[0]),
        [0x0304, 0x0303],
        "TLS 1.3 and 1.2, nothing older (RFC 9325 section 3.1.1)"
    );
}

#[tokio::test]
async fn no_name_is_sent_when_there_is_none() {
    let root = Authority::default();
    let upstream = Upstream::tls(&root.server_at(loopback(1))).start().await;
    let entry = merged(upstream.entry("scripted", &root), json!({"tls": {"serverName": null}}));
    let proxy = Proxy::start(&upstreams([without_nulls(entry)])).await;
    proxy.client().ask("www.example", types::A).await;

    assert_eq!(upstream.seen().handshakes[0].server_name, None);
}

#[tokio::test]
async fn the_proxy_shows_its_own_certificate_to_those_who_want_one() {
    let root = Authority::default();
    let clients = Authority::new("Root of the clients");
    let own = clients.issue(&["proxy.example"], for_clients_only);
    let wants_one = |setup: Setup| setup.clients_of(&clients);
    let upstream = wants_one(Upstream::tls(&root.server())).start().await;
    let folder = dnsproxy_tests::proxy::folder();
    let (certificate, key) = (folder.path().join("client.pem"), folder.path().join("client.key"));
    std::fs::write(&certificate, &own.chain_pem).unwrap();
    std::fs::write(&key, &own.key_pem).unwrap();

    let without = Proxy::start(&upstreams([upstream.entry("scripted", &root)])).await;
    assert_eq!(without.client().ask("www.example", types::A).await.rcode(), rcodes::SERVFAIL);

    let files =
        json!({"tls": {"clientCertificate": {"certificateFile": certificate, "keyFile": key}}});
    let with = Proxy::start(&upstreams([merged(upstream.entry("scripted", &root), files)])).await;
    let reply = with.client().ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::NOERROR, "{:?}", reply.ede());
    assert_eq!(upstream.seen().handshakes.last().unwrap().client_chain, own.chain);
}

/// The versions that a ClientHello offers (RFC 8446 section 4.2.1).
fn offered_versions(raw: &[u8]) -> Vec<u16> {
    const SUPPORTED_VERSIONS: [u8; 2] = [0, 43];
    let start = (43..raw.len() - 5)
        .find(|at| {
            raw[*at..].starts_with(&SUPPORTED_VERSIONS)
                && raw[at + 3] == raw[at + 4] + 1
                && raw[at + 2] == 0
        })
        .expect("the extension of TLS 1.3");
    let list = &raw[start + 5..start + 5 + usize::from(raw[start + 4])];
    list.chunks(2).map(|version| u16::from_be_bytes([version[0], version[1]])).collect()
}
