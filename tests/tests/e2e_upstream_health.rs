//! In a real cluster: an upstream that is not who it should be is not asked, and everybody is told why.

use dnsproxy_tests::{
    certificates::wrong_pin,
    cluster::{Namespace, Resolver, eventually},
    manifest::merged,
};
use serde_json::json;

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_wrong_pin_is_servfail_and_a_condition_that_says_so() {
    let namespace = Namespace::new("pins");
    let resolver = Resolver::new(&namespace);
    let pinned = |pin: &str| json!({"upstreams": [merged(resolver.entry(), json!({"tls": {"pins": [pin]}}))]});
    namespace.apply_proxy("default", &pinned(&wrong_pin()));
    namespace.wait("default", "Ready");
    namespace.client("default");

    let refused = namespace.dig(&["www.example.org"]);
    assert!(refused.contains("SERVFAIL"), "{refused}");
    assert!(
        refused.contains("EDE: 2") && refused.contains("pin mismatch"),
        "the reason is in the answer: {refused}"
    );
    let (_, reason, message) = eventually("UpstreamsHealthy=False", || {
        let condition = namespace.condition("default", "UpstreamsHealthy");
        (condition.0 == "False").then_some(condition)
    });
    assert_eq!(reason, "PinMismatch");
    assert!(message.contains("resolver"), "{message}");
    let status = namespace.get("dnsproxy", "default")["status"].clone();
    assert_eq!(status["upstreams"][0]["state"], "Unhealthy", "{status}");
    let events = namespace.kubectl(&["get", "events", "--field-selector=type=Warning"]).out;
    assert!(events.contains("PinMismatch"), "{events}");
    let asked = namespace.kubectl(&["logs", "deployment/resolver"]).out;
    assert!(!asked.contains("example.org"), "a query reached who is not authenticated: {asked}");

    namespace.apply_proxy("default", &pinned(&resolver.identity.pin));
    eventually("an answer with the right pin", || {
        (namespace.dig(&["+short", "www.example.org"]).trim() == "192.0.2.77").then_some(())
    });
    eventually("UpstreamsHealthy=True", || {
        (namespace.condition("default", "UpstreamsHealthy").0 == "True").then_some(())
    });
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_unreachable_upstream_does_not_take_the_pods_out_of_service() {
    let namespace = Namespace::new("unreachable");
    let spec = json!({"upstreams": [{"name": "nobody", "addresses": ["10.96.77.250:853"], "tls": {"serverName": "dns.example"}}]});
    namespace.apply_proxy("default", &spec);
    namespace.wait("default", "Ready");
    namespace.client("default");
    namespace.dig(&["www.example.org"]);

    eventually("Unreachable", || {
        let (status, reason, _) = namespace.condition("default", "UpstreamsHealthy");
        (status == "False" && reason == "Unreachable").then_some(())
    });
    let service = namespace.dig(&["+short", "kubernetes.default.svc.cluster.local"]);
    assert!(!service.trim().is_empty(), "names of the cluster do not depend on it");
    assert_eq!(namespace.condition("default", "Ready").0, "True");
}
