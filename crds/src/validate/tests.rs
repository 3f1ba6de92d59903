//! Each rule, by what it refuses, and what it lets pass.

use super::*;
use crate::{
    manifest,
    v1alpha1::{Cache, Connections, HealthCheck, Prefetch},
};

const PIN: &str = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
const OTHER_PIN: &str = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// An object with one upstream beside these fields of its `spec`.
fn proxy(fields: &str) -> DnsProxy {
    let upstreams = "upstreams: [{name: a, addresses: [192.0.2.1]}]";
    let upstreams = if fields.starts_with("upstreams:") { "" } else { upstreams };
    let separator = if upstreams.is_empty() || fields.is_empty() { "" } else { ", " };
    let text = format!(
        "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {{name: edge}}\nspec: {{{upstreams}{separator}{fields}}}\n"
    );
    manifest::parse_one(&text).unwrap_or_else(|problems| panic!("{fields}: {problems:?}"))
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Checks rows of (why, fields, problems): each problem by its beginning.
fn assert_problems(place: Place, cases: &[(&str, String, &[&str])]) {
    for (why, fields, expected) in cases {
        let found = texts(&problems(&proxy(fields), place));
        let is_expected = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, expected)| found.starts_with(expected));
        assert!(is_expected, "{why}: {found:#?}");
    }
}

fn tls(tls: &str) -> String {
    format!("upstreams: [{{name: a, addresses: [192.0.2.1], tls: {{{tls}}}}}]")
}

#[test]
fn a_full_manifest_has_no_problems() {
    let full = manifest::parse_one(include_str!("../../fixtures/full.yaml")).unwrap();

    assert_eq!(texts(&problems(&full, Place::Cluster)), Vec::<String>::new());
    assert_eq!(texts(&warnings(&full, Place::Cluster)), Vec::<String>::new());
}

#[test]
fn an_upstream_is_one_service_at_numeric_addresses() {
    assert_problems(
        Place::File,
        &[
            ("nothing to say", String::new(), &[]),
            (
                "a host name",
                "upstreams: [{name: a, addresses: [192.0.2.1, dns.example]}]".into(),
                &["spec.upstreams[0].addresses[1]: a host name"],
            ),
            (
                "the same address in another spelling",
                "upstreams: [{name: a, addresses: ['2001:db8::1', '2001:db8:0::1']}]".into(),
                &["spec.upstreams[0].addresses[1]: 2001:db8:0::1 stands here twice, first as item 0"],
            ),
            (
                "the same address with and without its port",
                "upstreams: [{name: a, addresses: [192.0.2.1, '192.0.2.1:853', '192.0.2.1:8853']}]".into(),
                &["spec.upstreams[0].addresses[1]: 192.0.2.1:853 is the same server as item 0"],
            ),
            (
                "the same name twice",
                "upstreams: [{name: a, addresses: [192.0.2.1]}, {name: a, addresses: [192.0.2.2]}]".into(),
                &["spec.upstreams[1].name: a is the name of another one, too"],
            ),
            (
                "no name at all",
                "upstreams: [{name: A_B, addresses: [192.0.2.1]}]".into(),
                &["spec.upstreams[0].name: not a name"],
            ),
            (
                "the name of the cluster's DNS",
                "upstreams: [{name: cluster-dns, addresses: [192.0.2.1]}]".into(),
                &["spec.upstreams[0].name: cluster-dns is what clusterDNS is called"],
            ),
            (
                "tls over UDP",
                "upstreams: [{name: a, addresses: [192.0.2.1], protocol: UDP, tls: {serverName: a.example}}]".into(),
                &["spec.upstreams[0].tls: protocol UDP is plain"],
            ),
            (
                "tls over TCP",
                "upstreams: [{name: a, addresses: [192.0.2.1], protocol: TCP, tls: {}}]".into(),
                &["spec.upstreams[0].tls: protocol TCP is plain"],
            ),
            (
                "timeouts without a unit, and too long",
                "upstreams: [{name: a, addresses: [192.0.2.1], timeouts: {connect: '5', query: 2h}}]".into(),
                &[
                    "spec.upstreams[0].timeouts.connect: not a duration: write a unit",
                    "spec.upstreams[0].timeouts.query: 2h is out of range, 10ms to 1m",
                ],
            ),
        ],
    );
}

#[test]
fn connections_and_health_checks_are_possible_ones() {
    let upstream =
        |fields: &str| format!("upstreams: [{{name: a, addresses: [192.0.2.1], {fields}}}]");
    let check = |fields: &str| upstream(&format!("healthCheck: {{{fields}}}"));
    assert_problems(
        Place::File,
        &[
            ("the defaults", upstream("connections: {}, healthCheck: {}"), &[]),
            (
                "the ends of every range",
                upstream(
                    "connections: {max: 16, idleTimeout: 100ms, maxInFlight: 8192}, healthCheck: {failureThreshold: 100, interval: 1h}",
                ),
                &[],
            ),
            (
                "connections for truncated answers",
                upstream("protocol: UDP, connections: {max: 1}"),
                &[],
            ),
            (
                "an idle time of a day",
                upstream("connections: {idleTimeout: 24h}"),
                &["spec.upstreams[0].connections.idleTimeout: 24h is out of range, 100ms to 1h"],
            ),
            (
                "an idle time without a unit",
                upstream("connections: {idleTimeout: '30'}"),
                &["spec.upstreams[0].connections.idleTimeout: not a duration: write a unit"],
            ),
            (
                "a check without a pause",
                check("interval: 99ms"),
                &["spec.upstreams[0].healthCheck.interval: 99ms is out of range, 100ms to 1h"],
            ),
            (
                "a check that is sooner than a timeout",
                check("interval: 100ms"),
                &[],
            ),
            ("a name and a type", check("name: health.example., type: TYPE65400"), &[]),
            (
                "no name",
                check("name: health..example"),
                &["spec.upstreams[0].healthCheck.name: not a zone: there is an empty label (`health..example`)"],
            ),
            (
                "an address",
                check("name: 192.0.2.1"),
                &["spec.upstreams[0].healthCheck.name: an address"],
            ),
            (
                "what no record has, and what nobody knows",
                "upstreams: [{name: a, addresses: [192.0.2.1], healthCheck: {type: ANY}}, {name: b, addresses: [192.0.2.2], healthCheck: {type: ADDRESS}}]".into(),
                &[
                    "spec.upstreams[0].healthCheck.type: no record has this type: write one such as `NS` or `A` (`ANY`)",
                    "spec.upstreams[1].healthCheck.type: not a type",
                ],
            ),
            (
                "lower case",
                check("type: aaaa"),
                &["spec.upstreams[0].healthCheck.type: types have upper case: write `AAAA`"],
            ),
        ],
    );
}

#[test]
fn tls_says_what_must_be_proven() {
    assert_problems(
        Place::File,
        &[
            ("pins with a path", tls(&format!("pins: [{PIN}, {OTHER_PIN}]")), &[]),
            (
                "pins without a path",
                tls(&format!("authentication: PinsOnly, serverName: a.example, pins: [{PIN}]")),
                &[],
            ),
            (
                "no pin",
                tls(&format!("pins: [{PIN}, sha256/nonsense]")),
                &["spec.upstreams[0].tls.pins[1]: not a sha256 pin: "],
            ),
            (
                "the same pin in another spelling",
                tls(&format!("pins: [{PIN}, {}]", PIN.trim_start_matches("sha256/"))),
                &[
                    "spec.upstreams[0].tls.pins[1]: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= stands here twice",
                ],
            ),
            (
                "pins only, and none",
                tls("authentication: PinsOnly"),
                &["spec.upstreams[0].tls.pins: authentication PinsOnly needs pins"],
            ),
            (
                "authorities that nobody asks",
                tls(&format!("authentication: PinsOnly, pins: [{PIN}], ca: {{file: ca.crt}}")),
                &["spec.upstreams[0].tls.ca: has no meaning for authentication PinsOnly"],
            ),
            (
                "a name with a port",
                tls("serverName: 'a.example:853'"),
                &["spec.upstreams[0].tls.serverName: write the name alone"],
            ),
        ],
    );
}

#[test]
fn certificates_come_from_where_the_author_may_read() {
    let file = [
        ("a file", tls("ca: {file: ca.crt}"), &[] as &[&str]),
        ("two files", tls("clientCertificate: {certificateFile: a.crt, keyFile: a.key}"), &[]),
        (
            "nothing",
            tls("ca: {}"),
            &["spec.upstreams[0].tls.ca: exactly one of inline, file, configMap and secret"],
        ),
        (
            "two at once",
            tls("ca: {inline: '-----BEGIN CERTIFICATE-----', file: ca.crt}"),
            &["spec.upstreams[0].tls.ca: exactly one of inline, file, configMap and secret"],
        ),
        (
            "no certificate",
            tls("ca: {inline: ca.crt}"),
            &["spec.upstreams[0].tls.ca.inline: not a certificate in PEM form"],
        ),
        (
            "a ConfigMap",
            tls("ca: {configMap: {name: corp-ca, key: ca.crt}}"),
            &["spec.upstreams[0].tls.ca.configMap: only in a cluster: use file"],
        ),
        (
            "a Secret",
            tls("ca: {secret: {name: corp-ca, key: ca.crt}}"),
            &["spec.upstreams[0].tls.ca.secret: only in a cluster: use file"],
        ),
        (
            "a Secret with a key",
            tls("clientCertificate: {secret: {name: dot}}"),
            &[
                "spec.upstreams[0].tls.clientCertificate.secret: only in a cluster: use certificateFile and keyFile",
            ],
        ),
        (
            "a key alone",
            tls("clientCertificate: {keyFile: a.key}"),
            &["spec.upstreams[0].tls.clientCertificate.certificateFile: missing beside keyFile"],
        ),
        (
            "a certificate alone",
            tls("clientCertificate: {certificateFile: a.crt}"),
            &["spec.upstreams[0].tls.clientCertificate.keyFile: missing"],
        ),
        (
            "no certificate of the client",
            tls("clientCertificate: {}"),
            &["spec.upstreams[0].tls.clientCertificate: empty"],
        ),
    ];
    assert_problems(Place::File, &file);

    let cluster = [
        ("a ConfigMap", tls("ca: {configMap: {name: corp-ca, key: ca.crt}}"), &[] as &[&str]),
        ("a Secret with a key", tls("clientCertificate: {secret: {name: dot}}"), &[]),
        (
            "a file",
            tls("ca: {file: /etc/shadow}"),
            &[
                "spec.upstreams[0].tls.ca.file: a cluster has no files for this: use configMap or secret",
            ],
        ),
        (
            "two files",
            tls("clientCertificate: {certificateFile: a.crt, keyFile: a.key}"),
            &[
                "spec.upstreams[0].tls.clientCertificate.certificateFile: a cluster has no files",
                "spec.upstreams[0].tls.clientCertificate.keyFile: a cluster has no files",
            ],
        ),
        (
            "a Secret and files",
            tls("clientCertificate: {secret: {name: dot}, keyFile: a.key}"),
            &[
                "spec.upstreams[0].tls.clientCertificate: either secret, or certificateFile and keyFile",
                "spec.upstreams[0].tls.clientCertificate.keyFile: a cluster has no files",
            ],
        ),
        (
            "a path as a name",
            tls("ca: {configMap: {name: ../a, key: ca.crt}}"),
            &["spec.upstreams[0].tls.ca.configMap.name: not the name of an object"],
        ),
        (
            "a path as a key",
            tls("ca: {configMap: {name: a, key: ../ca}}"),
            &["spec.upstreams[0].tls.ca.configMap.key: not a key"],
        ),
        (
            "the parent as a key",
            tls("ca: {configMap: {name: a, key: ..}}"),
            &["spec.upstreams[0].tls.ca.configMap.key: not a key"],
        ),
        (
            "a key that begins as the folder above",
            tls("ca: {configMap: {name: a, key: ..ca}}"),
            &["spec.upstreams[0].tls.ca.configMap.key: not a key"],
        ),
        ("two dots within a key", tls("ca: {configMap: {name: a, key: ca..crt}}"), &[] as &[&str]),
    ];
    assert_problems(Place::Cluster, &cluster);
}

/// What `IsDNS1123Subdomain` of Kubernetes says, which knows no bound of a single label.
#[test]
fn objects_have_the_names_that_kubernetes_gives() {
    let long = "a".repeat(64);
    let longest = "a".repeat(253);
    let too_long = "a".repeat(254);
    let cases = [
        ("a label", "corp-ca", true),
        ("digits", "1.2.3", true),
        ("longer than a label of DNS", &long, true),
        ("the longest", &longest, true),
        ("too long", &too_long, false),
        ("nothing", "", false),
        ("an empty label", "a..b", false),
        ("upper case", "Corp-ca", false),
        ("a hyphen at an end", "a-.b", false),
        ("a hyphen at the start", "a.-b", false),
        ("an underscore", "a_b", false),
    ];

    for (why, name, is_name) in cases {
        let mut report = Report::default();
        source::check_object_name("name", name, &mut report);
        assert_eq!(report.problems.is_empty(), is_name, "{why}");
    }
}

#[test]
fn a_route_leads_from_its_own_zones_to_upstreams_that_exist() {
    let route = |fields: &str| format!("routes: [{{name: r, {fields}}}]");
    assert_problems(
        Place::File,
        &[
            ("one zone", route("zones: [corp.example], upstreams: [a]"), &[]),
            ("a policy and a bound", route("zones: [.], upstreams: [a], policy: Random, maxInFlight: 1000000"), &[]),
            ("no zone", route("zones: [corp..example], upstreams: [a]"), &["spec.routes[0].zones[0]: not a zone: there is an empty label"]),
            ("a network", route("zones: [10.0.0.0/8], upstreams: [a]"), &["spec.routes[0].zones[0]: a network: write its reverse zone instead, `10.in-addr.arpa`"]),
            (
                "the same zone in another spelling",
                route("zones: [corp.example, CORP.example.], upstreams: [a]"),
                &["spec.routes[0].zones[1]: CORP.example. stands here twice, first as item 0"],
            ),
            (
                "the same zone in another route",
                "routes: [{name: r, zones: ['.'], upstreams: [a]}, {name: s, zones: [corp.example, '.'], upstreams: [a]}]".into(),
                &["spec.routes[1].zones[1]: . is a zone of route r, too"],
            ),
            (
                "the same name",
                "routes: [{name: r, zones: ['.'], upstreams: [a]}, {name: r, zones: [corp.example], upstreams: [a]}]".into(),
                &["spec.routes[1].name: r is the name of another one, too"],
            ),
            ("no such upstream", route("zones: ['.'], upstreams: [b]"), &["spec.routes[0].upstreams[0]: no upstream is called b"]),
            ("no such fallback", route("zones: ['.'], upstreams: [a], fallback: [c]"), &["spec.routes[0].fallback[0]: no upstream is called c"]),
            ("an upstream twice", route("zones: ['.'], upstreams: [a, a]"), &["spec.routes[0].upstreams[1]: a is asked by this route already"]),
            ("and as its own fallback", route("zones: ['.'], upstreams: [a], fallback: [a]"), &["spec.routes[0].fallback[0]: a is asked by this route already"]),
        ],
    );
}

#[test]
fn a_weaker_fallback_is_refused_unless_it_is_meant() {
    let upstreams = format!(
        "upstreams: [{{name: pkix, addresses: [192.0.2.1]}}, {{name: pins, addresses: [192.0.2.2], tls: {{authentication: PinsOnly, pins: [{PIN}]}}}}, \
         {{name: udp, addresses: [192.0.2.3], protocol: UDP}}, {{name: tcp, addresses: [192.0.2.4], protocol: TCP}}]"
    );
    let with = |fields: &str| format!("{upstreams}, routes: [{{name: r, zones: ['.'], {fields}}}]");
    assert_problems(
        Place::File,
        &[
            (
                "plain after TLS",
                with("upstreams: [pkix], fallback: [udp]"),
                &[
                    "spec.routes[0].fallback[0]: udp is plain, weaker than the route's upstreams (PKIX): set allowWeaker",
                ],
            ),
            (
                "plain after pins",
                with("upstreams: [pins], fallback: [tcp]"),
                &[
                    "spec.routes[0].fallback[0]: tcp is plain, weaker than the route's upstreams (PinsOnly)",
                ],
            ),
            (
                "pins after a path",
                with("upstreams: [pkix], fallback: [pins]"),
                &["spec.routes[0].fallback[0]: pins is PinsOnly, weaker than"],
            ),
            (
                "the strongest one is the promise",
                with("upstreams: [udp, pkix], fallback: [tcp]"),
                &["spec.routes[0].fallback[0]: tcp is plain"],
            ),
            ("a path after pins", with("upstreams: [pins], fallback: [pkix]"), &[]),
            ("plain after plain", with("upstreams: [udp], fallback: [tcp]"), &[]),
            ("it is meant", with("upstreams: [pkix], fallback: [udp], allowWeaker: true"), &[]),
        ],
    );
}

#[test]
fn the_clusters_dns_gets_narrow_zones() {
    let cluster = |fields: &str| format!("clusterDNS: {{{fields}}}");
    assert_problems(
        Place::Cluster,
        &[
            ("discovered", cluster(""), &[]),
            (
                "given",
                cluster(
                    "addresses: [10.96.0.10], domain: cluster.local, reverseZones: [96.10.in-addr.arpa], endpoints: [10.244.0.2]",
                ),
                &[],
            ),
            (
                "disabled, and yet",
                cluster("mode: Disabled, domain: cluster.local"),
                &["spec.clusterDNS.mode: Disabled has no use"],
            ),
            (
                "a host name",
                cluster("addresses: [kube-dns.kube-system]"),
                &["spec.clusterDNS.addresses[0]: a host name"],
            ),
            (
                "a port of an endpoint",
                cluster("endpoints: ['10.244.0.2:53']"),
                &["spec.clusterDNS.endpoints[0]: "],
            ),
            ("everything", cluster("domain: ."), &["spec.clusterDNS.domain: every name would go"]),
            (
                "the whole reverse tree",
                cluster("reverseZones: [in-addr.arpa, arpa]"),
                &[
                    "spec.clusterDNS.reverseZones[0]: not a reverse zone",
                    "spec.clusterDNS.reverseZones[1]: not a reverse",
                ],
            ),
            (
                "none, and a rule that leads to it",
                "clusterDNS: {mode: Disabled}, rules: [{name: r, match: {types: [A]}, forward: {route: cluster-dns}}]"
                    .into(),
                &["spec.rules[0].forward.route: clusterDNS is Disabled"],
            ),
            (
                "a forward zone",
                cluster("reverseZones: [cluster.local]"),
                &["spec.clusterDNS.reverseZones[0]: not a reverse zone"],
            ),
        ],
    );
}

#[test]
fn the_cache_has_bounds_that_a_message_and_a_pod_can_hold() {
    let cache = |fields: &str| format!("cache: {{{fields}}}");
    let memory = |fields: &str, limit: &str| {
        format!("cache: {{{fields}}}, workload: {{resources: {{limits: {{{limit}}}}}}}")
    };
    assert_problems(
        Place::File,
        &[
            ("the defaults", cache("serveStale: {}, prefetch: {}"), &[]),
            (
                "the ends of every range",
                cache(
                    "size: 1Ti, minTTL: 1h, maxTTL: 168h, negativeMaxTTL: 24h, failureTTL: 5m, \
                     serveStale: {after: 1m, ttl: 1h, maxAge: 168h}, prefetch: {minHits: 255, remainingPercent: 50}",
                ),
                &[],
            ),
            (
                "the other ends",
                cache(
                    "size: 1Mi, minTTL: 0s, maxTTL: 1s, negativeMaxTTL: 0s, failureTTL: 1s, \
                     serveStale: {after: 10ms, ttl: 1s, maxAge: 1s}, prefetch: {minHits: 1, remainingPercent: 1}",
                ),
                &[],
            ),
            ("a size in octets", cache("size: 67108864"), &[]),
            (
                "all of it is off",
                cache("mode: Disabled, serveStale: {mode: Disabled}, prefetch: {mode: Disabled}"),
                &[],
            ),
            (
                "no room for anything",
                cache("size: 1000Ki"),
                &["spec.cache.size: 1000Ki is out of range, 1Mi to 1Ti"],
            ),
            (
                "a unit of others",
                cache("size: 64MB"),
                &["spec.cache.size: not a size: Kubernetes writes this unit as `M` (`64MB`)"],
            ),
            (
                "longer than a day, a week, an hour",
                cache(
                    "minTTL: 61m, maxTTL: 8760h, negativeMaxTTL: 25h, serveStale: {ttl: 2h, maxAge: 169h}",
                ),
                &[
                    "spec.cache.minTTL: 1h1m is out of range, 0s to 1h",
                    "spec.cache.maxTTL: 8760h is out of range, 1s to 168h",
                    "spec.cache.negativeMaxTTL: 25h is out of range, 0s to 24h",
                    "spec.cache.serveStale.ttl: 2h is out of range, 1s to 1h",
                    "spec.cache.serveStale.maxAge: 169h is out of range, 1s to 168h",
                ],
            ),
            (
                "failures that are remembered too briefly",
                cache("failureTTL: 0s"),
                &["spec.cache.failureTTL: 0s is out of range, 1s to 5m"],
            ),
            (
                "and too long",
                cache("failureTTL: 301s"),
                &["spec.cache.failureTTL: 5m1s is out of range, 1s to 5m"],
            ),
            (
                "a part of a second",
                cache(
                    "minTTL: 1.5s, maxTTL: 2.5s, negativeMaxTTL: 500ms, failureTTL: 1.5s, serveStale: {ttl: 1.1s, maxAge: 1.5h0.5s}",
                ),
                &[
                    "spec.cache.minTTL: 1.5s is no whole number of seconds",
                    "spec.cache.maxTTL: 2.5s is no whole",
                    "spec.cache.negativeMaxTTL: 500ms is no whole",
                    "spec.cache.failureTTL: 1.5s is no whole",
                    "spec.cache.serveStale.ttl: 1.1s is no whole",
                    "spec.cache.serveStale.maxAge: 1h30m500ms is no whole",
                ],
            ),
            (
                "a least TTL that is the larger one",
                cache("minTTL: 90s, maxTTL: 1m"),
                &["spec.cache.minTTL: 1m30s is more than maxTTL, 1m"],
            ),
            ("both the same", cache("minTTL: 1m, maxTTL: 60s"), &[]),
            (
                "stale at once, or never",
                cache("serveStale: {after: 0s, maxAge: 0s}"),
                &[
                    "spec.cache.serveStale.after: 0s is out of range, 10ms to 1m",
                    "spec.cache.serveStale.maxAge: 0s is out of range, 1s to 168h",
                ],
            ),
        ],
    );
    assert_problems(
        Place::File,
        &[("a file knows no limit", memory("size: 1Gi", "memory: 128Mi"), &[])],
    );
    assert_problems(
        Place::Cluster,
        &[
            ("three quarters", memory("size: 768Mi", "memory: 1Gi"), &[]),
            (
                "more than that",
                memory("size: 769Mi", "memory: 1Gi"),
                &["spec.cache.size: 769Mi is too much for pods that may have 1Gi: at most"],
            ),
            (
                "more than a limit with an exponent",
                memory("size: 900Mi", "memory: '100e6'"),
                &["spec.cache.size: 900Mi is too much for pods that may have 100000000: at most"],
            ),
            (
                "more than a limit that begins with a dot",
                memory("size: 900Mi", "memory: .1Gi"),
                &["spec.cache.size: 900Mi is too much for pods that may have 107374183: at most"],
            ),
            (
                "more than the limit that pods have unless told otherwise",
                cache("size: 1Gi"),
                &["spec.cache.size: 1Gi is too much for pods that may have 128Mi: at most"],
            ),
            ("no limit", memory("size: 1Gi", "cpu: 1"), &[]),
        ],
    );
}

#[test]
fn access_is_by_networks() {
    let access = |fields: &str| format!("access: {{{fields}}}");
    assert_problems(
        Place::File,
        &[
            ("networks", access("allow: [10.0.0.0/8, '::1'], deny: [10.9.0.0/16]"), &[]),
            ("nobody", access("allow: []"), &[]),
            (
                "host bits",
                access("allow: [10.1.2.3/8]"),
                &["spec.access.allow[0]: has bits behind its prefix; the network is 10.0.0.0/8"],
            ),
            ("no network", access("deny: [example.com]"), &["spec.access.deny[0]: not a network"]),
            (
                "twice",
                access("allow: [10.0.0.1, 10.0.0.1/32]"),
                &["spec.access.allow[1]: 10.0.0.1/32 stands here twice"],
            ),
            (
                "allowed in vain",
                access("allow: [10.9.1.0/24], deny: [10.9.0.0/16]"),
                &["spec.access.allow[0]: 10.9.1.0/24 is denied as a whole by 10.9.0.0/16"],
            ),
        ],
    );
}

#[test]
fn limits_are_within_bounds() {
    assert_problems(
        Place::File,
        &[
            (
                "a deadline of nothing",
                "limits: {queryDeadline: 0s}".into(),
                &["spec.limits.queryDeadline: 0s is out of range, 10ms to 1m"],
            ),
            (
                "an idle time of a day",
                "limits: {tcpIdleTimeout: 24h}".into(),
                &["spec.limits.tcpIdleTimeout: 24h is out of range, 100ms to 1h"],
            ),
            (
                "a drain of an hour",
                "shutdown: {delay: 0s, drain: 1h}".into(),
                &["spec.shutdown.drain: 1h is out of range, 0s to 10m"],
            ),
            (
                "no duration",
                "shutdown: {delay: soon}".into(),
                &["spec.shutdown.delay: not a duration"],
            ),
        ],
    );
}

#[test]
fn what_the_schema_bounds_is_checked_again_for_objects_that_are_older() {
    let mut old = proxy(
        "limits: {}, access: {rateLimit: {queriesPerSecond: 1}}, workload: {}, routes: [{name: r, zones: ['.'], upstreams: [a]}]",
    );
    let limits = old.spec.limits.as_mut().unwrap();
    (limits.max_in_flight, limits.edns_buffer_size) = (Some(0), Some(100));
    old.spec.access.as_mut().unwrap().rate_limit =
        Some(crate::v1alpha1::RateLimit { queries_per_second: 0, burst: Some(0) });
    old.spec.workload.as_mut().unwrap().replicas = Some(-1);
    let upstream = &mut old.spec.upstreams[0];
    upstream.addresses.clear();
    upstream.connections =
        Some(Connections { max: Some(17), idle_timeout: None, max_in_flight: Some(8193) });
    upstream.health_check =
        Some(HealthCheck { failure_threshold: Some(101), ..HealthCheck::default() });
    let route = &mut old.spec.routes.as_mut().unwrap()[0];
    route.zones.clear();
    route.max_in_flight = Some(0);
    old.spec.cache = Some(Cache {
        prefetch: Some(Prefetch {
            min_hits: Some(0),
            remaining_percent: Some(51),
            ..Prefetch::default()
        }),
        ..Cache::default()
    });

    let paths: Vec<_> =
        problems(&old, Place::Cluster).into_iter().map(|problem| problem.path).collect();

    assert_eq!(
        paths,
        [
            "spec.upstreams[0].addresses",
            "spec.upstreams[0].connections.max",
            "spec.upstreams[0].connections.maxInFlight",
            "spec.upstreams[0].healthCheck.failureThreshold",
            "spec.routes[0].maxInFlight",
            "spec.cache.prefetch.minHits",
            "spec.cache.prefetch.remainingPercent",
            "spec.access.rateLimit.queriesPerSecond",
            "spec.access.rateLimit.burst",
            "spec.limits.maxInFlight",
            "spec.limits.ednsBufferSize",
            "spec.workload.replicas",
        ]
    );
}

#[test]
fn listeners_are_own_addresses_of_a_single_process() {
    let listen = |addresses: &str| format!("listeners: {{dns: {{addresses: [{addresses}]}}}}");
    let port_53 = "upstreams: [{name: a, addresses: [127.0.0.1, '192.0.2.1:53'], protocol: UDP}], ";
    assert_problems(
        Place::File,
        &[
            ("two families", listen("'127.0.0.1:5300', '[::1]:5300'"), &[]),
            (
                "no port",
                listen("127.0.0.1"),
                &["spec.listeners.dns.addresses[0]: no port: write for example `127.0.0.1:53`"],
            ),
            (
                "twice",
                listen("'127.0.0.1:5300', '127.0.0.1:5300'"),
                &["spec.listeners.dns.addresses[1]: 127.0.0.1:5300 stands here twice"],
            ),
            (
                "an upstream's address",
                port_53.to_owned() + &listen("'127.0.0.1:53'"),
                &["spec.listeners.dns.addresses[0]: 127.0.0.1:53 is an upstream's address"],
            ),
            (
                "all addresses, an upstream's among them",
                port_53.to_owned() + &listen("'0.0.0.0:53'"),
                &["spec.listeners.dns.addresses[0]: 127.0.0.1:53 is an upstream's"],
            ),
            (
                "the cluster's DNS",
                "clusterDNS: {addresses: [127.0.0.1]}, ".to_owned() + &listen("'127.0.0.1:53'"),
                &["spec.listeners.dns.addresses[0]: 127.0.0.1:53 is an upstream's address"],
            ),
            ("another port", port_53.to_owned() + &listen("'127.0.0.1:5353'"), &[]),
        ],
    );
    assert_problems(
        Place::Cluster,
        &[(
            "in a cluster",
            listen("'127.0.0.1:5300'"),
            &["spec.listeners: in a cluster the Service has the ports"],
        )],
    );
}

#[test]
fn the_service_can_be_what_it_is_asked_to_be() {
    let service = |fields: &str| format!("service: {{{fields}}}");
    assert_problems(
        Place::Cluster,
        &[
            ("a fixed address", service("clusterIP: 10.96.0.53"), &[]),
            (
                "headless",
                service("clusterIP: None"),
                &["spec.service.clusterIP: a headless Service has no address"],
            ),
            ("a name", service("clusterIP: dns"), &["spec.service.clusterIP: not an IP address"]),
            (
                "two of a kind",
                service("clusterIPs: [10.96.0.53, 10.96.0.54], ipFamilyPolicy: PreferDualStack"),
                &["spec.service.clusterIPs[1]: a second address must be of the other family"],
            ),
            (
                "another first one",
                service("clusterIP: 10.96.0.53, clusterIPs: [10.96.0.54]"),
                &["spec.service.clusterIPs: the first one must be clusterIP"],
            ),
            (
                "no such family",
                service("ipFamilies: [ipv4]"),
                &["spec.service.ipFamilies[0]: neither IPv4 nor IPv6"],
            ),
            (
                "a family twice",
                service("ipFamilies: [IPv4, IPv4], ipFamilyPolicy: PreferDualStack"),
                &["spec.service.ipFamilies[1]: IPv4 stands here twice"],
            ),
            (
                "two families of one stack",
                service("ipFamilies: [IPv4, IPv6]"),
                &["spec.service.ipFamilies: two families need ipFamilyPolicy"],
            ),
            (
                "an address of another family",
                service("ipFamilies: [IPv6], clusterIP: 10.96.0.53"),
                &["spec.service.ipFamilies: 10.96.0.53 is of family IPv4"],
            ),
            (
                "two addresses of two families",
                service(
                    "clusterIPs: [10.96.0.53, 'fd00::53'], ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]",
                ),
                &[],
            ),
            (
                "two addresses, and no word of two families",
                service("clusterIPs: [10.96.0.53, 'fd00::53']"),
                &[
                    "spec.service.clusterIPs: two addresses need ipFamilyPolicy PreferDualStack or RequireDualStack",
                ],
            ),
            (
                "two addresses of one stack",
                service("clusterIPs: [10.96.0.53, 'fd00::53'], ipFamilyPolicy: SingleStack"),
                &["spec.service.clusterIPs: two addresses need ipFamilyPolicy"],
            ),
            (
                "addresses in another order",
                service(
                    "clusterIPs: [10.96.0.53, 'fd00::53'], ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4]",
                ),
                &[
                    "spec.service.ipFamilies: 10.96.0.53 is of family IPv4, which stands at another place in it",
                    "spec.service.ipFamilies: fd00::53 is of family IPv6, which stands at another place in it",
                ],
            ),
            (
                "an address of the second family",
                service(
                    "clusterIP: 10.96.0.53, ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4]",
                ),
                &["spec.service.ipFamilies: 10.96.0.53 is of family IPv4, which stands"],
            ),
            (
                "a class without a balancer",
                service("loadBalancerClass: example.com/b"),
                &["spec.service.loadBalancerClass: needs type LoadBalancer"],
            ),
            (
                "ranges without a balancer",
                service("type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]"),
                &["spec.service.loadBalancerSourceRanges: needs type LoadBalancer"],
            ),
            (
                "a policy for nobody outside",
                service("externalTrafficPolicy: Local"),
                &["spec.service.externalTrafficPolicy: needs type NodePort or LoadBalancer"],
            ),
            (
                "no range",
                service("type: LoadBalancer, loadBalancerSourceRanges: [all]"),
                &["spec.service.loadBalancerSourceRanges[0]: not a network"],
            ),
        ],
    );
}

#[test]
fn pods_have_quantities_and_an_image() {
    let pod = |fields: &str| format!("workload: {{template: {{spec: {{{fields}}}}}}}");
    assert_problems(
        Place::Cluster,
        &[
            ("usual ones", "workload: {resources: {limits: {cpu: 2, memory: 128Mi}, requests: {cpu: '0.5', memory: 1e8}}}".replace("1e8", "'1e8'"), &[]),
            ("a unit that is none", "workload: {resources: {limits: {memory: 128MB}}}".into(), &["spec.workload.resources.limits.memory: not a quantity"]),
            ("less than nothing", "workload: {resources: {requests: {cpu: '-1'}}}".into(), &["spec.workload.resources.requests.cpu: not a quantity"]),
            ("two images", "workload: {image: a b}".into(), &["spec.workload.image: not the reference of an image"]),
            ("different ways to spread", pod("topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}, {maxSkew: 2, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]"), &[]),
            ("one way twice", pod("topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}, {maxSkew: 2, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]"), &["spec.workload.template.spec.topologySpreadConstraints[1]: it stands here twice"]),
            ("a Secret twice", pod("imagePullSecrets: [{name: a}, {name: b}, {name: a}]"), &["spec.workload.template.spec.imagePullSecrets[2]: it stands here twice"]),
        ],
    );
}

#[test]
fn an_objects_name_can_be_a_services() {
    let long = "a".repeat(52);
    let too_long = "a".repeat(53);
    let cases = [
        // (why, name, whether it may be)
        ("a label", "edge-1", true),
        ("52 characters", &*long, true),
        ("53 characters leave no room for a ConfigMap's hash", &*too_long, false),
        ("a Service begins with a letter", "1-edge", false),
        ("an object may have dots, a Service may not", "edge.dns", false),
        ("none", "", false),
    ];

    for (why, name, may_be) in cases {
        let mut proxy = proxy("");
        proxy.metadata.name = Some(name.to_owned());
        assert_eq!(problems(&proxy, Place::Cluster).is_empty(), may_be, "{why}");
        assert!(
            problems(&proxy, Place::File).is_empty(),
            "in a file the name is the author's affair"
        );
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let alias = |name: &str, from: &str, to: &str| {
        format!("{{name: {name}, match: {{names: {from}}}, answer: {{records: ['CNAME {to}']}}}}")
    };
    let cases: [(&str, String, &[&str]); 27] = [
        // (why, fields, warnings)
        ("a single pin", tls(&format!("pins: [{PIN}]")), &["spec.upstreams[0].tls.pins: a single pin"]),
        ("a backup pin (RFC 7469)", tls(&format!("pins: [{PIN}, {OTHER_PIN}]")), &[]),
        (
            "everything in clear",
            "upstreams: [{name: a, addresses: [192.0.2.1], protocol: UDP}]".into(),
            &["spec.upstreams[0].protocol: a is asked for any name in clear"],
        ),
        (
            "a port without brackets",
            "upstreams: [{name: a, addresses: ['2620:fe::fe:853', '[2620:fe::9]:853']}]".into(),
            &["spec.upstreams[0].addresses[0]: 853 is the end of the address 2620:fe::fe:853: if it is meant as a port, write `[2620:fe::fe]:853`"],
        ),
        (
            "what can be no port, as no address would be left",
            "upstreams: [{name: a, addresses: ['2620:fe::853', '2620:fe::fe:53']}]".into(),
            &[],
        ),
        (
            "one's own zone in clear",
            "upstreams: [{name: a, addresses: [192.0.2.1]}, {name: b, addresses: [192.0.2.2], protocol: UDP}], \
             routes: [{name: r, zones: ['.'], upstreams: [a]}, {name: s, zones: [corp.example], upstreams: [b]}]"
                .into(),
            &[],
        ),
        (
            "no way for other names",
            "routes: [{name: r, zones: [corp.example], upstreams: [a]}]".into(),
            &["spec.routes: no route has the zone `.`"],
        ),
        (
            "the cluster's zone",
            "routes: [{name: r, zones: [., Cluster.Local.], upstreams: [a]}], clusterDNS: {domain: cluster.local}".into(),
            &["spec.routes[0].zones[1]: a zone of clusterDNS, too: this route wins"],
        ),
        (
            "a route that only a cluster has",
            "rules: [{name: r, match: {types: [A]}, forward: {route: cluster-dns}}], clusterDNS: {domain: cluster.local}".into(),
            &["spec.rules[0].forward.route: outside of a cluster there is no such route"],
        ),
        (
            "a route that was made",
            "rules: [{name: r, match: {types: [A]}, forward: {route: cluster-dns}}], clusterDNS: {addresses: [192.0.2.1]}".into(),
            &[],
        ),
        (
            "nobody who may ask",
            "access: {allow: []}".into(),
            &["spec.access.allow: empty: every query is refused"],
        ),
        (
            "a timeout behind the deadline",
            "upstreams: [{name: a, addresses: [192.0.2.1], timeouts: {query: 5s}}]".into(),
            &["spec.upstreams[0].timeouts.query: 5s is never reached: limits.queryDeadline ends a query after 4s"],
        ),
        (
            "stale answers behind the deadline",
            "cache: {serveStale: {after: 3s}}, limits: {queryDeadline: 3s}".into(),
            &["spec.cache.serveStale.after: 3s is never reached: limits.queryDeadline ends a query after 3s"],
        ),
        (
            "stale answers in time",
            "cache: {serveStale: {after: 3s}}".into(),
            &[],
        ),
        (
            "clients from outside that look like nodes",
            "service: {type: NodePort, externalTrafficPolicy: Cluster}".into(),
            &["spec.service.externalTrafficPolicy: Cluster: clients", "spec.service: for the operator"],
        ),
        (
            "aliases in a circle, and one that leads into it",
            format!(
                "rules: [{}, {}, {}]",
                alias("a", "{exact: [a.example]}", "B.example."),
                alias("b", "{zone: [b.example]}", "a.example."),
                alias("c", "{exact: [c.example]}", "a.example."),
            ),
            &[
                "spec.rules[0].answer.records: b.example leads back to this rule",
                "spec.rules[1].answer.records: a.example leads back to this rule",
            ],
        ),
        (
            "an alias of what is below itself",
            format!("rules: [{}]", alias("a", "{zone: [a.example]}", "www.a.example.")),
            &["spec.rules[0].answer.records: www.a.example leads back to this rule"],
        ),
        (
            "an alias out of its zone",
            format!(
                "rules: [{}, {}]",
                alias("apex", "{exact: [www.a.example]}", "other.example."),
                alias("a", "{subdomain: [a.example]}", "www.a.example."),
            ),
            &[],
        ),
        (
            "aliases of the same name for some clients each",
            "rules: [{name: a, match: {names: {exact: [a.example]}, clients: [10.0.0.0/8]}, answer: {records: [CNAME b.example.]}}, \
             {name: b, match: {names: {exact: [b.example]}, clients: [192.168.0.0/16]}, answer: {records: [CNAME a.example.]}}]".into(),
            &[],
        ),
        (
            "an earlier rule with the addresses of the target",
            format!(
                "rules: [{{name: own, match: {{names: {{exact: [ingress.corp.example]}}, types: [A, AAAA]}}, answer: {{records: [A 192.0.2.1]}}}}, {}]",
                alias("a", "{zone: [corp.example]}", "ingress.corp.example."),
            ),
            &[],
        ),
        (
            "an earlier rule for addresses of every name",
            format!(
                "rules: [{{name: own, match: {{types: [A, AAAA]}}, allow: {{}}}}, {}]",
                alias("a", "{zone: [corp.example]}", "ingress.corp.example."),
            ),
            &[],
        ),
        (
            "an earlier rule that lets the target pass by a pattern",
            format!(
                "rules: [{{name: own, match: {{names: {{prefix: [ingress]}}}}, allow: {{}}}}, {}]",
                alias("a", "{zone: [corp.example]}", "ingress.corp.example."),
            ),
            &[],
        ),
        (
            "an earlier rule for all names",
            format!(
                "rules: [{{name: own, match: {{names: {{zone: [.]}}}}, allow: {{}}}}, {}]",
                alias("a", "{zone: [corp.example]}", "ingress.corp.example."),
            ),
            &[],
        ),
        (
            "an earlier rule for other names, and later ones",
            format!(
                "rules: [{{name: own, match: {{names: {{exact: [other.example]}}, types: [A]}}, allow: {{}}}}, {}, \
                 {{name: late, match: {{names: {{prefix: [ingress]}}}}, allow: {{}}}}]",
                alias("a", "{zone: [corp.example]}", "ingress.corp.example."),
            ),
            &["spec.rules[1].answer.records: ingress.corp.example leads back to this rule"],
        ),
        (
            "expressions as others have them, for names without a dot at the end",
            r"rules: [{name: r, match: {names: {regex: ['\.ads\.example\.$', '^ads\.example$', '^WWW\.']}}, block: {}}]"
                .into(),
            &[
                r"spec.rules[0].match.names.regex[1]: matches no name: each ends with a dot here, write `\.$` (`^ads\.example$`)",
                r"spec.rules[0].match.names.regex[2]: matches no name: their letters are in lower case",
            ],
        ),
        (
            "a text that ends where a comment begins",
            r#"rules: [{name: r, match: {names: {exact: [a.example]}}, answer: {records: ['TXT v=DMARC1; p=none', 'TXT "v=DKIM1; k=rsa"', 'TXT a\;b', '60 IN MX 1 mx.example. ; the first one']}}]"#
                .into(),
            &["spec.rules[0].answer.records[0]: what stands behind `;` is a comment"],
        ),
        (
            "what a single process does not use",
            "workload: {replicas: 3}, service: {}".into(),
            &["spec.workload: for the operator", "spec.service: for the operator"],
        ),
    ];

    for (why, fields, expected) in cases {
        let found = texts(&warnings(&proxy(&fields), Place::File));
        let is_expected = found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
        assert!(is_expected, "{why}: {found:#?}");
        assert!(
            problems(&proxy(&fields), Place::File).is_empty(),
            "{why}: a warning is no problem"
        );
    }
}

/// RFC 2181 sections 5 and 10.1.
#[test]
fn an_alias_is_alone_and_the_same_one_again_is_none_beside_it() {
    let records = |records: &str| {
        let names = "{regex: ['^(a)(b)$']}";
        format!("rules: [{{name: r, match: {{names: {names}}}, answer: {{records: [{records}]}}}}]")
    };
    let alone = ["spec.rules[0].answer.records: a CNAME record is alone"];
    assert_problems(
        Place::File,
        &[
            ("the same", records("CNAME a.example, 60 CNAME A.example."), &[]),
            ("another", records("CNAME a.example, CNAME b.example"), &alone),
            ("an address", records("A 192.0.2.1, CNAME a.example"), &alone),
            ("the same for every query", records("'CNAME {1}.', 'CNAME {1}.'"), &[]),
            ("the same for some queries", records("'CNAME {1}.', 'CNAME {2}.'"), &alone),
        ],
    );
}

/// musl's getaddrinfo takes an NXDOMAIN to one of its two questions for both.
#[test]
fn an_answer_for_one_family_that_leaves_the_other_to_the_upstreams_is_warned_of() {
    let rule = |name: &str, fields: &str| format!("{{name: {name}, match: {{{fields}}}");
    let names = "names: {exact: [a.example]}";
    let v4 = |more: &str| {
        let answer = format!("answer: {{records: [A 192.0.2.1]{more}}}");
        format!("{}, {answer}}}", rule("v4", &format!("{names}, types: [A]")))
    };
    let block = |fields: &str| format!("{}, block: {{with: NODATA}}}}", rule("b", fields));
    // With `types`, other types are not this rule's, whatever `otherTypes` says.
    let is_left = [
        "spec.rules[0].match.types: AAAA of these names goes on to later rules and the upstreams, and some clients \
                    take an NXDOMAIN to it for the whole name: leave `types` out, and it is NODATA, or with `otherTypes: \
                    Forward` what upstreams have, and no NXDOMAIN",
    ];
    let templated = "{name: t, match: {names: {regex: ['^(.)$']}, types: [TXT, AAAA]}, answer: {records: ['AAAA ::{1}']}}";
    let cases: [(&str, String, &[&str]); 9] = [
        ("A alone", v4(""), &is_left),
        ("as it is meant", v4(", otherTypes: Forward"), &[]),
        ("made addresses", templated.into(), &["spec.rules[0].match.types: A of these names"]),
        ("both", v4("").replace("[A]", "[A, AAAA]"), &[]),
        ("no addresses", v4("").replace("A 192.0.2.1", "TXT a"), &[]),
        (
            "the other one by another rule",
            v4("") + ", " + &block(&format!("{names}, types: [AAAA]")),
            &[],
        ),
        ("by one for every name", v4("") + ", " + &block("types: [AAAA]"), &[]),
        ("by none of these names", v4("") + ", " + &block("names: {exact: [b.example]}"), &is_left),
        (
            "by none of this type",
            v4("") + ", " + &block(&format!("{names}, types: [TXT]")),
            &is_left,
        ),
    ];

    for (why, rules, expected) in cases {
        let found = texts(&warnings(&proxy(&format!("rules: [{rules}]")), Place::File));
        let is_expected = found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
        assert!(is_expected, "{why}: {found:#?}");
    }
}

/// Compared with each other, type by type, they would take minutes.
#[test]
fn families_of_thousands_of_rules_with_many_types_are_known_at_once() {
    let mut proxy = proxy(
        "rules: [{name: v4, match: {names: {exact: [a.example]}}, answer: {records: [A 192.0.2.1]}}]",
    );
    let rules = proxy.spec.rules.as_mut().unwrap();
    let types = (1000..1063).map(|number| format!("TYPE{number}"));
    let mut rule = rules.remove(0);
    rule.matches.types = Some(types.chain(["A".to_owned()]).collect());
    rules.extend((0..4000).map(|number| {
        let mut rule = rule.clone();
        let names = rule.matches.names.as_mut().unwrap();
        names.exact = Some(vec![format!("{number}.example")]);
        rule
    }));

    let mut report = Report::default();
    families::warn(rules, &mut report);
    assert_eq!(report.problems.len(), 4000);
}

/// Each alone would do: whoever has many manifests of many people must not run out of memory for one of them.
#[test]
fn regular_expressions_are_bounded_together() {
    let rules = |count: usize, repetitions: usize| {
        let texts = (0..count).map(|number| format!("'^([a-z]{{60}}){{{repetitions}}}x{number}'"));
        let texts = texts.collect::<Vec<_>>().join(", ");
        format!("rules: [{{name: r, match: {{names: {{regex: [{texts}]}}}}, block: {{}}}}]")
    };
    assert_problems(
        Place::File,
        &[
            ("a few large ones", rules(30, 90), &[]),
            (
                "many of them",
                rules(40, 90),
                &[
                    "spec.rules: the regular expressions take up to 20 MiB when compiled, more than 16",
                ],
            ),
            ("as many small ones as a rule may have", rules(256, 1), &[]),
        ],
    );
}

#[test]
fn a_long_text_is_quoted_in_part() {
    let long = "ü".repeat(500);

    let message = report::quoted(&long, &"wrong");

    assert_eq!(message, format!("wrong (`{}...`)", "ü".repeat(80)));
}

#[test]
fn lists_and_hosts_have_sources_that_the_author_may_read() {
    let list = |source: &str| format!("lists: [{{name: a, sources: [{source}]}}]");
    let rule = "rules: [{name: r, match: {names: {lists: [a]}}, block: {}}]";
    let reference = "configMap: {name: a, key: b.gz}";
    let both = format!("{}, {rule}", list("{inline: x}, {file: ads.txt}"));
    assert_problems(
        Place::File,
        &[
            ("text and files", both, &[]),
            ("nothing", list("{}"), &["spec.lists[0].sources[0]: exactly one"]),
            (
                "a ConfigMap",
                list(&format!("{{{reference}}}")),
                &["spec.lists[0].sources[0].configMap: only in a cluster: use file"],
            ),
            (
                "a secret",
                list("{secret: {name: a, key: b}}"),
                &["spec.lists[0].sources[0].secret: secret is for certificates"],
            ),
            (
                "one name twice",
                "lists: [{name: a, sources: [{inline: x}]}, {name: a, sources: [{inline: y}]}]"
                    .into(),
                &["spec.lists[1].name: "],
            ),
            (
                "a list that is not there",
                rule.into(),
                &["spec.rules[0].match.names.lists[0]: no list is called a"],
            ),
            (
                "a part of a second",
                "hosts: {sources: [{inline: x}], ttl: 1.5s}".into(),
                &["spec.hosts.ttl: "],
            ),
        ],
    );
    assert_problems(
        Place::Cluster,
        &[
            ("a ConfigMap", format!("hosts: {{sources: [{{{reference}}}]}}"), &[]),
            (
                "a file",
                "hosts: {sources: [{file: /etc/hosts}]}".into(),
                &["spec.hosts.sources[0].file: a cluster has no files for this: use configMap"],
            ),
        ],
    );
}

#[test]
fn a_list_that_no_rule_uses_is_warned_of() {
    let found = warnings(&proxy("lists: [{name: a, sources: [{inline: x}]}]"), Place::File);

    assert_eq!(found[0].path, "spec.lists[0]");
    assert!(found[0].message.contains("lists: [a]"), "{found:?}");
}

#[test]
fn tests_are_compared_with_so_many_patterns_in_all() {
    let count = |tests: usize, patterns: usize| {
        let mut proxy = proxy(
            "tests: [{name: a.example, expect: {rcode: NXDOMAIN}}], rules: [{name: r, match: {names: {substring: [a]}}, block: {}}]",
        );
        let spec = &mut proxy.spec;
        spec.tests = spec.tests.take().map(|all| vec![all[0].clone(); tests]);
        let rule = &mut spec.rules.as_mut().unwrap()[0];
        let substring = (0..patterns).map(|it| format!("x{it}")).collect();
        rule.matches.names.as_mut().unwrap().substring = Some(substring);
        texts(&problems(&proxy, Place::Cluster))
    };

    assert_eq!(count(4096, 4096), Vec::<String>::new());
    assert_eq!(
        count(4096, 4097),
        [
            "spec.tests: 4096 tests of 4097 substrings and regular expressions take too long: at most 16777216 comparisons"
        ]
    );
}
