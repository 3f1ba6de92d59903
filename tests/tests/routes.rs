//! The longest zone decides who is asked, by labels; names of the cluster go to the cluster's own DNS.

use dnsproxy_tests::{
    client::Client,
    manifest::upstreams,
    proxy::{Proxy, loopback},
    upstream::{Action, Upstream},
    wire::{Query, Response, rcodes, types},
};
use serde_json::{Value, json};

/// A proxy with three upstreams, each of which answers TXT with its own name.
struct Routed {
    proxy: Proxy,
    _servers: Vec<Upstream>,
}

impl Routed {
    async fn by(routes: Value) -> Self {
        let (mut servers, mut entries) = (Vec::new(), Vec::new());
        for name in ["one", "two", "three"] {
            let server = speaking_its_name(name).start().await;
            entries.push(
                json!({"name": name, "addresses": [server.address.to_string()], "protocol": "TCP"}),
            );
            servers.push(server);
        }
        let mut spec = upstreams(entries);
        spec["routes"] = routes;
        Self { proxy: Proxy::start(&spec).await, _servers: servers }
    }

    async fn who_is_asked(&self, name: &str, qtype: u16) -> String {
        let reply = self.proxy.client().ask(name, qtype).await;
        reply.texts().pop().unwrap_or_else(|| format!("nobody: rcode {}", reply.rcode()))
    }
}

fn speaking_its_name(name: &'static str) -> dnsproxy_tests::upstream::Setup {
    Upstream::plain()
        .script(move |query| vec![Action::Send(Response::to(&query.message).txt(name).encode())])
}

/// CVE-2026-33489: the longest match was found by comparing strings.
#[tokio::test]
async fn the_longest_zone_wins_by_labels() {
    let routed = Routed::by(json!([
        {"name": "default", "zones": ["."], "upstreams": ["one"]},
        {"name": "corp", "zones": ["corp.example", "10.in-addr.arpa"], "upstreams": ["two"]},
        {"name": "lab", "zones": ["a.b.corp.example"], "upstreams": ["three"]},
    ]))
    .await;
    let cases = [
        ("no zone but the root", "www.example", "one"),
        ("the root itself", ".", "one"),
        ("the zone itself", "corp.example", "two"),
        ("below the zone", "www.corp.example", "two"),
        ("in other letters", "WWW.Corp.EXAMPLE", "two"),
        ("ends like the zone, but not in whole labels", "notcorp.example", "one"),
        ("ends like the zone's text", "x.notcorp.example", "one"),
        ("the zone in the middle", "corp.example.org", "one"),
        ("above the zone", "example", "one"),
        ("the longer zone", "x.a.b.corp.example", "three"),
        ("more labels than the shorter zone, not in the longer one", "x.b.corp.example", "two"),
        ("a reverse zone", "1.2.3.10.in-addr.arpa", "two"),
        ("the reverse zone's text with another number", "1.2.3.110.in-addr.arpa", "one"),
    ];

    for (why, name, expected) in cases {
        assert_eq!(routed.who_is_asked(name, types::TXT).await, expected, "{why}: {name}");
    }
}

/// "Injection attacks reloaded": a dot inside a label is no border between labels.
#[tokio::test]
async fn a_dot_inside_a_label_is_no_border() {
    let routed = Routed::by(json!([
        {"name": "default", "zones": ["."], "upstreams": ["one"]},
        {"name": "corp", "zones": ["corp.example"], "upstreams": ["two"]},
    ]))
    .await;
    let mut query = Query::new("www", types::TXT).edns(1232);
    query.name = b"\x03www\x0ccorp.example\x00".to_vec();

    assert_eq!(routed.proxy.client().udp(&query).await.texts(), ["one"]);
    query.name = b"\x03www\x04corp\x07example\x01\x00\x00".to_vec();
    assert_eq!(
        routed.proxy.client().udp(&query).await.texts(),
        ["one"],
        "NUL is a label like any other"
    );
}

#[tokio::test]
async fn the_delegation_of_a_zone_is_its_parents_affair() {
    let routed = Routed::by(json!([
        {"name": "default", "zones": ["."], "upstreams": ["one"]},
        {"name": "corp", "zones": ["corp.example"], "upstreams": ["two"]},
    ]))
    .await;

    assert_eq!(routed.who_is_asked("corp.example", types::DS).await, "one", "RFC 4035 section 2.4");
    assert_eq!(
        routed.who_is_asked("sub.corp.example", types::DS).await,
        "two",
        "below, the zone is the parent"
    );
    assert_eq!(routed.who_is_asked("corp.example", types::NS).await, "two");
}

#[tokio::test]
async fn a_name_without_a_route_is_refused() {
    let routed =
        Routed::by(json!([{"name": "corp", "zones": ["corp.example"], "upstreams": ["two"]}]))
            .await;

    assert_eq!(routed.who_is_asked("www.corp.example", types::TXT).await, "two");
    let reply = routed.proxy.client().ask("www.example", types::TXT).await;
    assert_eq!(reply.rcode(), rcodes::REFUSED);
    assert!(reply.ede().is_some_and(|(_, text)| text.contains("route")), "{:?}", reply.ede());
}

/// CVE-2026-44687: the parent's "no such name" hid a zone that was forwarded elsewhere.
#[tokio::test]
async fn the_parents_no_does_not_hide_a_zone_below() {
    let parent = Upstream::plain()
        .script(|query| {
            vec![Action::Send(Response::to(&query.message).rcode(rcodes::NXDOMAIN).soa().encode())]
        })
        .start()
        .await;
    let child = speaking_its_name("child").start().await;
    let mut spec =
        upstreams([parent.plain_entry("parent", "TCP"), child.plain_entry("child", "TCP")]);
    spec["routes"] = json!([
        {"name": "default", "zones": ["."], "upstreams": ["parent"]},
        {"name": "below", "zones": ["sub.corp.example"], "upstreams": ["child"]},
    ]);
    let proxy = Proxy::start(&spec).await;

    assert_eq!(proxy.client().ask("corp.example", types::TXT).await.rcode(), rcodes::NXDOMAIN);
    assert_eq!(proxy.client().ask("www.sub.corp.example", types::TXT).await.texts(), ["child"]);
}

/// "No such name" is the end of all that is below it (RFC 8020): whoever remembers it would not find the zone any more.
#[tokio::test]
async fn a_private_name_above_a_zone_exists() {
    let zones = json!([{"name": "corp", "zones": ["west.corp.local"], "upstreams": ["two"]}]);
    let routed = Routed::by(zones).await;
    let cases = [
        ("www.west.corp.local", types::TXT, "two"),
        ("west.corp.local", types::DS, "nobody: rcode 0"),
        ("corp.LOCAL", types::TXT, "nobody: rcode 0"),
        ("local", types::A, "nobody: rcode 0"),
        ("east.corp.local", types::TXT, "nobody: rcode 3"),
    ];

    for (name, qtype, expected) in cases {
        assert_eq!(routed.who_is_asked(name, qtype).await, expected, "{name}");
    }
}

/// What a cluster's DNS answers (the DNS specification of Kubernetes, sections 2.3 and 2.4), over TCP.
/// CVE-2022-2837: names of Services hid names of the world; here they have their own zones, and no other.
#[tokio::test]
async fn names_of_the_cluster_go_to_its_dns_and_others_do_not() {
    let outside = speaking_its_name("outside").start().await;
    let cluster = speaking_its_name("cluster").start().await;
    let mut spec = upstreams([outside.plain_entry("outside", "UDP")]);
    spec["clusterDNS"] = json!({
        "addresses": [cluster.address.to_string()],
        "domain": "cluster.local",
        "reverseZones": ["3.10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"],
    });
    spec["responses"] = json!({"privateNames": "Forward"});
    let proxy = Proxy::start(&spec).await;
    let cases = [
        ("a Service", "kubernetes.default.svc.cluster.local", "cluster"),
        ("in other letters", "KuberNetes.Default.SVC.cluster.LOCAL", "cluster"),
        ("a pod behind a headless Service", "my-pet.headless.default.svc.cluster.local", "cluster"),
        ("a port of a Service", "_https._tcp.kubernetes.default.svc.cluster.local", "cluster"),
        ("the version of its schema", "dns-version.cluster.local", "cluster"),
        ("the address of a Service", "1.0.3.10.in-addr.arpa", "cluster"),
        (
            "an IPv6 address of a Service",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            "cluster",
        ),
        ("an address that is not the cluster's", "1.0.4.10.in-addr.arpa", "outside"),
        ("a name that ends alike", "notcluster.local", "outside"),
        ("a search list gone too far", "www.example.com", "outside"),
    ];

    for (why, name, expected) in cases {
        assert_eq!(proxy.client().ask(name, types::TXT).await.texts(), [expected], "{why}");
    }
    assert_eq!(cluster.seen().datagrams, 0, "TCP: nothing to forge, nothing truncated");
}

/// CVE-2026-26018: loops were found by a probe that could be guessed. Here nothing is probed: who asks is enough.
#[tokio::test]
async fn a_question_of_the_clusters_dns_never_goes_back_to_it() {
    let outside = speaking_its_name("outside").start().await;
    let cluster = speaking_its_name("cluster").start().await;
    let mut spec = upstreams([outside.plain_entry("outside", "UDP")]);
    spec["clusterDNS"] = json!({
        "addresses": [cluster.address.to_string()],
        "domain": "cluster.local",
        "endpoints": ["127.0.0.77"],
    });
    let proxy = Proxy::start(&spec).await;
    let cluster_dns = proxy.client().from(loopback(77));

    let reply = cluster_dns.ask("kubernetes.default.svc.cluster.local", types::TXT).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    assert!(reply.ede().is_some_and(|(_, text)| text.contains("cluster")), "{:?}", reply.ede());
    assert!(cluster.seen().queries.is_empty());
    assert_eq!(
        cluster_dns.ask("www.example", types::TXT).await.texts(),
        ["outside"],
        "the world is open to it"
    );
    assert_eq!(
        proxy.client().ask("kubernetes.default.svc.cluster.local", types::TXT).await.texts(),
        ["cluster"],
        "and the cluster to others"
    );
}

/// A proxy that is its own upstream: refused when it can be seen, and harmless when it cannot.
#[tokio::test]
async fn a_loop_to_oneself_ends() {
    let spec = json!({
        "upstreams": [{"name": "myself", "addresses": ["127.0.0.91:5391"], "protocol": "UDP"}],
        "limits": {"queryDeadline": "1s", "maxInFlight": 200},
    });
    let proxy = dnsproxy_tests::proxy::Launch::new(&spec).listen("127.0.0.91:5391").start().await;

    let reply = Client::of(proxy.udp[0]).ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    let asked = proxy.admin.sum("dnsproxy_queries_total", &[]).await;
    assert!(asked <= 1000.0, "one question became {asked}");
}
