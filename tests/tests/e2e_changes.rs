//! In a real cluster: a changed DnsProxy is live without a pod's restart, an invalid one changes nothing.

use std::time::{Duration, Instant};

use dnsproxy_tests::{
    cluster::{Namespace, Resolver, eventually},
    manifest::merged,
};
use serde_json::{Value, json};

/// Who the pods are, and how often they were restarted.
fn identities(namespace: &Namespace) -> Vec<(String, String)> {
    let of_pod = |pod: &Value| {
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        (pod["metadata"]["uid"].to_string(), restarts.to_string())
    };
    let mut all: Vec<_> = namespace.pods("default").iter().map(of_pod).collect();
    all.sort();
    all
}

fn running(name: &str) -> (Namespace, Value) {
    let namespace = Namespace::new(name);
    let resolver = Resolver::new(&namespace);
    let spec = json!({"upstreams": [resolver.entry()], "workload": {"replicas": 2}});
    namespace.apply_proxy("default", &spec);
    namespace.wait("default", "Ready");
    namespace.client("default");
    (namespace, spec)
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_edit_is_live_within_seconds_and_without_a_restart() {
    let (namespace, spec) = running("edit");
    let before = identities(&namespace);
    assert_eq!(before.len(), 2);

    let started = Instant::now();
    let closed = merged(spec.clone(), json!({"access": {"allow": ["192.0.2.0/24"]}}));
    namespace.apply_proxy("default", &closed);
    eventually("REFUSED from every pod", || {
        (0..4).all(|_| namespace.dig(&["www.example.org"]).contains("REFUSED")).then_some(())
    });
    let took = started.elapsed();
    println!("an edit was live in all pods after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}: five seconds are promised, dig included");

    namespace.wait("default", "Programmed");
    let status = namespace.get("dnsproxy", "default")["status"].clone();
    assert_eq!(status["syncedReplicas"], 2, "{status}");
    assert_eq!(
        status["observedGeneration"],
        namespace.get("dnsproxy", "default")["metadata"]["generation"]
    );
    assert_eq!(identities(&namespace), before, "the same pods, not restarted");
    namespace.apply_proxy("default", &spec);
    eventually("answers again", || {
        (namespace.dig(&["+short", "www.example.org"]).trim() == "192.0.2.77").then_some(())
    });
    assert_eq!(identities(&namespace), before);
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_invalid_object_leaves_alone_what_runs() {
    let (namespace, spec) = running("invalid");
    let before = identities(&namespace);
    let hash = namespace.get("dnsproxy", "default")["status"]["configHash"].clone();
    // What a schema cannot say: a route to an upstream that is not there.
    let invalid = merged(
        spec.clone(),
        json!({"routes": [{"name": "r", "zones": ["."], "upstreams": ["nobody"]}]}),
    );
    namespace.apply_proxy("default", &invalid);

    namespace.wait("default", "Accepted=False");
    let (_, _, message) = namespace.condition("default", "Accepted");
    assert!(message.contains("spec.routes[0].upstreams[0]"), "{message}");
    assert_eq!(namespace.condition("default", "Ready").0, "False");
    assert_eq!(
        namespace.get("dnsproxy", "default")["status"]["configHash"],
        hash,
        "what should run is what runs"
    );
    assert_eq!(identities(&namespace), before);
    assert_eq!(namespace.dig(&["+short", "www.example.org"]).trim(), "192.0.2.77");

    namespace.apply_proxy("default", &spec);
    namespace
        .kubectl(&[
            "patch",
            "dnsproxy",
            "default",
            "--type=merge",
            "-p",
            r#"{"spec":{"routes":null}}"#,
        ])
        .expect_done();
    namespace.wait("default", "Ready");
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_new_image_or_number_is_rolled_out_without_losing_the_service() {
    let (namespace, spec) = running("scale");
    let address = namespace.get("service", "default")["spec"]["clusterIP"].clone();
    namespace.apply_proxy("default", &merged(spec.clone(), json!({"workload": {"replicas": 3, "template": {"metadata": {"labels": {"team": "dns"}}}}})));
    eventually("three pods with the label", || {
        let pods = namespace.pods("default");
        let labelled = pods.iter().filter(|pod| pod["metadata"]["labels"]["team"] == "dns").count();
        assert_eq!(
            namespace.dig(&["+short", "www.example.org"]).trim(),
            "192.0.2.77",
            "during the rollout"
        );
        (labelled == 3 && pods.len() == 3).then_some(())
    });
    assert_eq!(
        namespace.get("service", "default")["spec"]["clusterIP"],
        address,
        "other people's pods know the address"
    );
    namespace.kubectl(&["scale", "dnsproxy", "default", "--replicas=1"]).expect_done();
    eventually("one pod", || (namespace.pods("default").len() == 1).then_some(()));
}
