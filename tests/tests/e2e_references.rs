//! In a real cluster: certificates and lists come from ConfigMaps and Secrets, certificates also later, and nothing is
//! trusted meanwhile.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use dnsproxy_tests::cluster::{Namespace, Resolver, eventually};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_authority_that_comes_later_is_delivered() {
    let namespace = Namespace::new("late-ca");
    let resolver = Resolver::without_config_map(&namespace);
    namespace.apply_proxy("default", &json!({"upstreams": [resolver.entry()]}));
    namespace.wait("default", "ResolvedRefs=False");
    let (_, _, message) = namespace.condition("default", "ResolvedRefs");
    assert!(message.contains("resolver-ca"), "what is missing is named: {message}");
    eventually("pods that run without it", || {
        (namespace.get("dnsproxy", "default")["status"]["dnsConfig"]["nameservers"][0].is_string()
            && namespace.condition("default", "Available").0 == "True")
            .then_some(())
    });
    namespace.client("default");
    let refused = namespace.dig(&["www.example.org"]);
    assert!(refused.contains("SERVFAIL"), "it fails closed: {refused}");
    let service = namespace.dig(&["+short", "kubernetes.default.svc.cluster.local"]);
    assert!(!service.trim().is_empty(), "and only what needs it");

    resolver.publish_authority(&namespace);
    namespace.wait("default", "ResolvedRefs");
    eventually("an answer", || {
        (namespace.dig(&["+short", "www.example.org"]).trim() == "192.0.2.77").then_some(())
    });
    namespace.wait("default", "Ready");
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_file_of_the_pod_is_not_to_be_read_by_the_author_of_a_manifest() {
    let namespace = Namespace::new("files");
    let entry = json!({
        "name": "resolver", "addresses": ["192.0.2.1"],
        "tls": {"serverName": "dns.example", "ca": {"file": "/etc/passwd"}},
    });
    let said = namespace
        .try_apply(&dnsproxy_tests::cluster::dns_proxy("default", &json!({"upstreams": [entry]})));

    if said.is_done {
        namespace.wait("default", "Accepted=False");
        assert!(namespace.list("deployment").is_empty(), "nothing runs");
    } else {
        assert!(said.err.contains("file"), "{}", said.err);
    }
}

/// A ConfigMap holds what gzip has compressed as binary data. The operator cannot know what is in it, so a test of the
/// manifest that depends on it is no reason to refuse the manifest.
#[test]
#[ignore = "needs a cluster: make e2e"]
fn lists_and_hosts_come_from_config_maps() {
    let namespace = Namespace::new("lists");
    let resolver = Resolver::new(&namespace);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(b"ads.example.org\n").unwrap();
    let ads = BASE64_STANDARD.encode(gzip.finish().unwrap());
    let publish = |printer: &str| {
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ads"},
            "binaryData": {"ads.txt.gz": ads},
            "data": {"hosts": format!("{printer} printer.example.org\n")},
        }));
    };
    publish("10.0.0.9");
    let source = |key: &str| json!([{"configMap": {"name": "ads", "key": key}}]);
    namespace.apply_proxy(
        "default",
        &json!({
            "upstreams": [resolver.entry()],
            "lists": [{"name": "ads", "sources": source("ads.txt.gz")}],
            "rules": [{"name": "ads", "match": {"names": {"lists": ["ads"]}}, "block": {}}],
            "hosts": {"sources": source("hosts")},
            "tests": [{"name": "ads.example.org", "expect": {"rule": "ads", "rcode": "NXDOMAIN"}}],
        }),
    );
    namespace.wait("default", "Ready");
    namespace.client("default");

    assert!(namespace.dig(&["ads.example.org"]).contains("NXDOMAIN"));
    assert_eq!(namespace.dig(&["+short", "www.example.org"]).trim(), "192.0.2.77");
    assert_eq!(namespace.dig(&["+short", "printer.example.org"]).trim(), "10.0.0.9");
    assert_eq!(namespace.dig(&["+short", "-x", "10.0.0.9"]).trim(), "printer.example.org.");

    let started = Instant::now();
    publish("10.0.0.10");
    eventually("the new address from every pod", || {
        let printer = || namespace.dig(&["+short", "printer.example.org"]);
        (0..4).all(|_| printer().trim() == "10.0.0.10").then_some(())
    });
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}: not the kubelet's minute");
}
