//! In a real cluster: what the API server takes, warns about and refuses.

use dnsproxy_tests::{
    cluster::{Namespace, dns_proxy, kubectl, run_with},
    manifest::merged,
    readme::{self, root},
};
use serde_json::{Value, json};

fn minimal() -> Value {
    json!({"upstreams": [{"name": "one", "addresses": ["192.0.2.1"], "tls": {"serverName": "dns.example"}}]})
}

/// A field that is to come, and one that never will.
fn with_unknown_fields() -> Value {
    dns_proxy(
        "unknown",
        &merged(minimal(), json!({"cahce": {"mode": "Enabled"}, "forwarders": []})),
    )
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_unknown_field_is_refused_by_kubectl_and_by_server_side_apply() {
    let namespace = Namespace::new("strict");
    let object = with_unknown_fields().to_string();

    for arguments in
        [&["apply", "-f", "-"][..], &["create", "-f", "-"], &["apply", "--server-side", "-f", "-"]]
    {
        let said =
            run_with("kubectl", &[&["-n", namespace.name.as_str()], arguments].concat(), &object);
        assert!(!said.is_done, "{arguments:?}: {}", said.all());
        // Server-side apply stops at the first one.
        let names_one = said.err.contains("cahce") || said.err.contains("forwarders");
        assert!(names_one, "{arguments:?}: {}", said.err);
    }
    assert!(namespace.list("dnsproxy").is_empty());
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn other_clients_get_a_warning_and_the_field_is_dropped() {
    let namespace = Namespace::new("lenient");
    let object = with_unknown_fields().to_string();
    let path = format!("/apis/dnsproxy.io/v1alpha1/namespaces/{}/dnsproxies", namespace.name);

    let plain = run_with("kubectl", &["create", "--raw", &path, "-f", "-"], &object);
    assert!(plain.is_done, "a plain call of the API: {}", plain.all());
    let kept = namespace.get("dnsproxy", "unknown")["spec"].clone();
    assert!(kept.get("cahce").is_none() && kept.get("forwarders").is_none(), "{kept}");

    namespace.kubectl(&["delete", "dnsproxy", "unknown"]).expect_done();
    let warned = run_with(
        "kubectl",
        &["-n", &namespace.name, "create", "--validate=warn", "-f", "-"],
        &object,
    );
    assert!(
        warned.is_done && warned.err.contains("Warning") && warned.err.contains("cahce"),
        "{}",
        warned.all()
    );
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn helm_takes_it_with_a_warning() {
    let namespace = Namespace::new("helm");
    let chart = dnsproxy_tests::proxy::folder();
    std::fs::create_dir(chart.path().join("templates")).unwrap();
    std::fs::write(
        chart.path().join("Chart.yaml"),
        "apiVersion: v2\nname: somebody\nversion: 0.1.0\n",
    )
    .unwrap();
    std::fs::write(chart.path().join("templates/dnsproxy.yaml"), with_unknown_fields().to_string())
        .unwrap();
    let chart = chart.path().to_str().unwrap().to_owned();
    let said = dnsproxy_tests::cluster::helm(&[
        "install",
        "somebody",
        &chart,
        "--namespace",
        &namespace.name,
    ]);

    assert!(said.is_done, "{}", said.all());
    assert!(said.err.contains("unknown field") && said.err.contains("cahce"), "{}", said.all());
    let kept = namespace.get("dnsproxy", "unknown")["spec"].clone();
    assert!(kept.get("cahce").is_none(), "{kept}");
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn the_definition_and_every_example_are_taken_without_a_warning() {
    let namespace = Namespace::new("examples");
    let definition = root().join("crds/dnsproxies.yaml");
    let said = kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--warnings-as-errors",
        "-f",
        definition.to_str().unwrap(),
    ]);
    assert!(said.is_done, "{}", said.all());

    let mut count = 0;
    for (name, text) in examples() {
        // What is meant for a single process names files or listeners, which a cluster refuses.
        if text.contains("file:") || text.contains("listeners:") {
            continue;
        }
        let text = text.replace("namespace: resolvers", "# here");
        let place = ["-n", &namespace.name];
        let apply = ["apply", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
        let said = run_with("kubectl", &[&place[..], &apply].concat(), &text);
        assert!(said.is_done, "{name}: {}", said.all());
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
}

/// The files of examples, the fixtures, and the manifests of the README.
fn examples() -> Vec<(String, String)> {
    let of_readme = readme::blocks("yaml").into_iter().map(|text| ("README".to_owned(), text));
    let mut all = Vec::from_iter(of_readme);
    for folder in ["crds/examples", "crds/fixtures"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder of examples");
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&path).expect("a file");
                all.push((path.display().to_string(), text));
            }
        }
    }
    all
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn what_the_schema_can_say_is_refused_at_once() {
    let namespace = Namespace::new("schema");
    let upstream =
        |over: Value| json!({"upstreams": [merged(minimal()["upstreams"][0].clone(), over)]});
    let cases = [
        ("no upstream", json!({"upstreams": []})),
        ("no such protocol", upstream(json!({"protocol": "HTTPS"}))),
        ("no duration", upstream(json!({"timeouts": {"query": "soon"}}))),
        (
            "two sources of one certificate",
            upstream(
                json!({"tls": {"ca": {"inline": "x", "configMap": {"name": "a", "key": "b"}}}}),
            ),
        ),
        ("no source of a certificate", upstream(json!({"tls": {"ca": {}}}))),
        ("too many replicas to be meant", merged(minimal(), json!({"workload": {"replicas": -1}}))),
        (
            "one Secret twice, which no Deployment could have",
            merged(
                minimal(),
                json!({"workload": {"template": {"spec": {
                    "imagePullSecrets": [{"name": "a"}, {"name": "a"}],
                }}}}),
            ),
        ),
        ("nobody in flight", merged(minimal(), json!({"limits": {"maxInFlight": 0}}))),
    ];

    for (why, spec) in cases {
        let said = namespace.try_apply(&dns_proxy("bad", &spec));
        assert!(!said.is_done, "{why}: {}", said.all());
    }
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_object_that_does_not_say_how_many_pods_can_be_scaled() {
    let namespace = Namespace::new("scale");
    namespace.apply_proxy("default", &minimal());
    let path = format!(
        "/apis/dnsproxy.io/v1alpha1/namespaces/{}/dnsproxies/default/scale",
        namespace.name
    );

    let said = kubectl(&["get", "--raw", &path]);
    assert!(said.is_done, "{}", said.all());
    let scale: Value = serde_json::from_str(&said.out).expect("a scale");
    assert_eq!(scale["spec"]["replicas"], 2);

    namespace.kubectl(&["scale", "dnsproxy", "default", "--replicas=1"]).expect_done();
    assert_eq!(namespace.get("dnsproxy", "default")["spec"]["workload"]["replicas"], 1);
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn the_clusters_roles_know_the_objects() {
    let can = |verb: &str, role: &str| {
        let user = format!("--as=system:serviceaccount:default:{role}");
        kubectl(&["auth", "can-i", verb, "dnsproxies.dnsproxy.io", "-n", "default", &user]).is_done
    };
    let namespace = Namespace::new("roles");
    for role in ["view", "edit"] {
        let account = format!("--serviceaccount=default:{role}");
        kubectl(&["delete", "clusterrolebinding", &format!("e2e-{role}"), "--ignore-not-found"])
            .expect_done();
        kubectl(&[
            "create",
            "clusterrolebinding",
            &format!("e2e-{role}"),
            &format!("--clusterrole={role}"),
            &account,
        ])
        .expect_done();
    }

    dnsproxy_tests::cluster::eventually("the aggregated roles", || {
        (can("get", "view") && can("create", "edit")).then_some(())
    });
    assert!(!can("create", "view"), "who may only look");
    for role in ["view", "edit"] {
        kubectl(&["delete", "clusterrolebinding", &format!("e2e-{role}")]).expect_done();
    }
    drop(namespace);
}
