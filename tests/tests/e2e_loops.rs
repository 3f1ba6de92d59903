//! In a real cluster: the cluster's DNS forwards everything to the proxy, the proxy the cluster's names to it; nothing circles.

use dnsproxy_tests::cluster::{Namespace, Resolver, eventually, kubectl};
use serde_json::json;

/// Puts the cluster's DNS back to what it was, whatever happens in between.
struct ClusterDns {
    before: String,
}

impl ClusterDns {
    fn corefile() -> String {
        kubectl(&[
            "-n",
            "kube-system",
            "get",
            "configmap",
            "coredns",
            "-o",
            "jsonpath={.data.Corefile}",
        ])
        .expect_done()
        .out
    }

    /// Lets it forward to an address what it does not know itself.
    fn forwarding_to(address: &str) -> Self {
        let before = Self::corefile();
        // Whole reverse zones and unknown names fall through to `forward`, as in many clusters.
        let end = before.rfind('}').unwrap();
        let with = format!("{}    forward . {address}\n}}\n", &before[..end]);
        Self::set(&with);
        Self { before }
    }

    fn set(corefile: &str) {
        let patch = json!({"data": {"Corefile": corefile}}).to_string();
        kubectl(&[
            "-n",
            "kube-system",
            "patch",
            "configmap",
            "coredns",
            "--type=merge",
            "-p",
            &patch,
        ])
        .expect_done();
        kubectl(&["-n", "kube-system", "rollout", "restart", "deployment/coredns"]).expect_done();
        kubectl(&[
            "-n",
            "kube-system",
            "rollout",
            "status",
            "deployment/coredns",
            "--timeout=300s",
        ])
        .expect_done();
    }
}

impl Drop for ClusterDns {
    fn drop(&mut self) {
        Self::set(&self.before);
    }
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_question_does_not_circle_between_the_proxy_and_the_clusters_dns() {
    let namespace = Namespace::new("loops");
    let resolver = Resolver::new(&namespace);
    namespace.apply_proxy("default", &json!({"upstreams": [resolver.entry()]}));
    namespace.wait("default", "Ready");
    namespace.client("default");
    let service =
        namespace.get("service", "default")["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let cluster_dns = kubectl(&[
        "-n",
        "kube-system",
        "get",
        "service",
        "kube-dns",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ])
    .expect_done()
    .out;
    let _guard = ClusterDns::forwarding_to(&service);
    let through = format!("@{cluster_dns}");

    eventually("the world through the cluster's DNS and the proxy", || {
        (namespace.dig(&[&through, "+short", "www.example.org"]).trim() == "192.0.2.77")
            .then_some(())
    });
    let queries = || total_queries(&namespace);
    let before = queries();
    // Reverse names of the pods' network that no pod has: the cluster's DNS lets them fall through to the proxy.
    for last in 200..210 {
        let answer = namespace.dig(&[&through, "-x", &format!("10.96.250.{last}")]);
        assert!(answer.contains("SERVFAIL") || answer.contains("NXDOMAIN"), "{answer}");
    }
    let service_name = namespace.dig(&["+short", "kubernetes.default.svc.cluster.local"]);
    assert!(!service_name.trim().is_empty(), "other clients are not concerned");
    let after = queries();
    assert!(after - before < 100.0, "ten questions became {}", after - before);
}

/// The queries that all pods of the proxy have taken, by their metrics.
fn total_queries(namespace: &Namespace) -> f64 {
    let of_pod = |pod: &serde_json::Value| -> f64 {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("/api/v1/namespaces/{}/pods/{name}:8053/proxy/metrics", namespace.name);
        let page = kubectl(&["get", "--raw", &path]).expect_done().out;
        let lines = page.lines().filter(|line| line.starts_with("dnsproxy_queries_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    namespace.pods("default").iter().map(of_pod).sum()
}
