//! In a real cluster: apply a DnsProxy, and a pod resolves the world over TLS and the cluster by its own DNS.

use dnsproxy_tests::cluster::{Namespace, Resolver, eventually, kubectl};
use serde_json::json;

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_pod_resolves_the_world_over_tls_and_the_cluster_by_its_own_dns() {
    let namespace = Namespace::new("resolution");
    let resolver = Resolver::new(&namespace);
    namespace.apply_proxy("default", &json!({"upstreams": [resolver.entry()]}));
    namespace.wait("default", "Ready");
    namespace.client("default");

    for transport in ["+notcp", "+tcp"] {
        let outside = namespace.dig(&[transport, "+short", "www.example.org", "A"]);
        assert_eq!(outside.trim(), "192.0.2.77", "{}", namespace.story("default"));
        let service =
            namespace.dig(&[transport, "+short", "kubernetes.default.svc.cluster.local", "A"]);
        let expected =
            kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"])
                .expect_done()
                .out;
        assert_eq!(service.trim(), expected);
        let text = namespace.dig(&[transport, "+short", "www.example.org", "TXT"]);
        assert_eq!(text.trim(), "\"over TLS\"");
    }
    let by_search = namespace.dig(&["+search", "+short", "resolver"]);
    assert_eq!(
        by_search.trim(),
        resolver.address.trim_end_matches(":853"),
        "the own namespace is searched first"
    );
    let reverse = namespace.dig(&["+short", "-x", by_search.trim()]);
    assert_eq!(
        reverse.trim(),
        format!("resolver.{}.svc.cluster.local.", namespace.name),
        "reverse zones of the cluster"
    );
    let none = namespace.dig(&["nobody.default.svc.cluster.local"]);
    assert!(none.contains("NXDOMAIN"), "{none}");
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn the_list_of_objects_says_how_they_are() {
    let namespace = Namespace::new("columns");
    let resolver = Resolver::new(&namespace);
    namespace.apply_proxy(
        "edge",
        &json!({"upstreams": [resolver.entry()], "workload": {"replicas": 2}}),
    );
    namespace.wait("edge", "Ready");
    namespace.client("edge");
    namespace.dig(&["www.example.org"]);

    let row = eventually("healthy upstreams", || {
        let row = namespace.kubectl(&["get", "dnsp", "edge", "--no-headers"]).expect_done().out;
        row.contains("1/1").then_some(row)
    });
    let address =
        namespace.get("service", "edge")["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(row.contains("True") && row.contains(&address) && row.contains(" 2 "), "{row}");
    let header = namespace.kubectl(&["get", "dnsp"]).expect_done().out;
    assert!(
        header.starts_with("NAME")
            && ["READY", "REPLICAS", "ADDRESS", "UPSTREAMS", "AGE"]
                .iter()
                .all(|column| header.contains(column)),
        "{header}"
    );
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_fixed_address_is_the_services_address() {
    let namespace = Namespace::new("address");
    let resolver = Resolver::new(&namespace);
    namespace.apply_proxy(
        "default",
        &json!({"upstreams": [resolver.entry()], "service": {"clusterIP": "10.96.77.99"}}),
    );
    namespace.wait("default", "Ready");

    let status = namespace.get("dnsproxy", "default")["status"].clone();
    assert_eq!(status["clusterIPs"], json!(["10.96.77.99"]));
    assert_eq!(status["dnsConfig"]["nameservers"], json!(["10.96.77.99"]));
    let ports = namespace.get("service", "default")["spec"]["ports"].clone();
    let described: Vec<String> = ports
        .as_array()
        .unwrap()
        .iter()
        .map(|port| format!("{}/{}", port["port"], port["protocol"]))
        .collect();
    assert_eq!(described, ["53/\"UDP\"", "53/\"TCP\""]);
}
