//! In a real cluster: certificates come from ConfigMaps and Secrets, also later, and nothing is trusted meanwhile.

use dnsproxy_tests::cluster::{Namespace, Resolver, eventually};
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
