//! In a real cluster: what is made is restricted, at rest nothing is written, and in the end nothing is left.

use std::{collections::BTreeMap, time::Duration};

use dnsproxy_tests::cluster::{
    Namespace, OPERATOR_NAMESPACE, Resolver, eventually, kubectl, run_with, tools_pod,
};
use dnsproxy_tests::manifest::merged;
use serde_json::{Value, json};

const OWNED: [&str; 5] =
    ["deployment", "service", "configmap", "serviceaccount", "poddisruptionbudget"];

fn running(name: &str) -> Namespace {
    let namespace = Namespace::new(name);
    let resolver = Resolver::new(&namespace);
    namespace.apply_proxy("default", &json!({"upstreams": [resolver.entry()]}));
    namespace.wait("default", "Ready");
    namespace
}

/// Every object that the operator writes, with its version.
fn versions(namespace: &Namespace) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for kind in OWNED.into_iter().chain(["dnsproxy", "replicaset", "pod", "events.events.k8s.io"]) {
        for object in namespace.list(kind) {
            let metadata = &object["metadata"];
            all.insert(
                format!("{kind}/{}", metadata["name"]),
                metadata["resourceVersion"].to_string(),
            );
        }
    }
    all
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn at_rest_nothing_is_written() {
    let namespace = running("rest");
    // Status follows what pods report for the first time; then there is nothing more to say. The operator looks
    // every five seconds, so whatever is to come has come within a longer pause.
    namespace.wait("default", "UpstreamsHealthy");
    let mut settled = versions(&namespace);
    eventually("rest", || {
        std::thread::sleep(Duration::from_secs(7));
        let now = versions(&namespace);
        (std::mem::replace(&mut settled, now.clone()) == now).then_some(())
    });
    std::thread::sleep(Duration::from_secs(15));

    assert_eq!(versions(&namespace), settled);
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn what_others_change_of_ours_is_put_back_and_what_they_add_is_left() {
    let namespace = running("drift");
    namespace.kubectl(&["annotate", "deployment", "default", "somebody=else"]).expect_done();
    let replace = |kind: &str, path: &str, value: u16| {
        let patch = json!([{"op": "replace", "path": path, "value": value}]).to_string();
        namespace.kubectl(&["patch", kind, "default", "--type=json", "-p", &patch]).expect_done();
    };
    // The API server knows a port by its number: an edited one is another one for it.
    let container = "/spec/template/spec/containers/0/ports/0/containerPort";
    replace("service", "/spec/ports/0/targetPort", 9999);
    replace("service", "/spec/ports/0/port", 5300);
    replace("deployment", container, 5300);

    eventually("the ports put back", || {
        let service = namespace.get("service", "default");
        let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let is_ours = |port: &Value| port["port"] == 53 && port["targetPort"] == port["name"];
        let deployment = namespace.get("deployment", "default");
        let is_back = ports.len() == 2
            && ports.iter().all(is_ours)
            && deployment.pointer(container) == Some(&json!(5353));
        is_back.then_some(())
    });
    let deployment = namespace.get("deployment", "default");
    assert_eq!(deployment["metadata"]["annotations"]["somebody"], "else");
    namespace.kubectl(&["delete", "deployment", "default"]).expect_done();
    eventually("the Deployment made again", || {
        namespace.kubectl(&["get", "deployment", "default"]).is_done.then_some(())
    });
    namespace.wait("default", "Ready");
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn deleting_it_removes_everything() {
    let namespace = running("delete");
    let owned = |kind: &str| -> Vec<Value> {
        let is_owned = |object: &Value| {
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "dnsproxy-operator"
        };
        namespace.list(kind).into_iter().filter(is_owned).collect()
    };
    for kind in OWNED {
        assert!(!owned(kind).is_empty(), "{kind}");
    }
    namespace.kubectl(&["delete", "dnsproxy", "default", "--timeout=300s"]).expect_done();

    for kind in OWNED.into_iter().chain(["replicaset", "pod"]) {
        eventually(kind, || owned(kind).is_empty().then_some(()));
    }
}

/// The namespace enforces `restricted`: a pod that is not would not be there. This looks at what that does not ask for.
#[test]
#[ignore = "needs a cluster: make e2e"]
fn pods_have_no_rights_they_do_not_need() {
    let namespace = running("restricted");
    for pod in namespace.pods("default") {
        let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["enableServiceLinks"], false);
        assert_eq!(spec["dnsPolicy"], "Default", "it must not ask itself");
        assert!(container["resources"]["limits"]["memory"].is_string(), "a memory limit");
        let volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
        assert!(volumes.iter().all(|volume| volume.get("hostPath").is_none()));
    }
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_operator_that_restarts_disturbs_nobody() {
    let namespace = running("restart");
    namespace.client("default");
    let uids = |namespace: &Namespace| -> Vec<String> {
        namespace.pods("default").iter().map(|pod| pod["metadata"]["uid"].to_string()).collect()
    };
    let before = uids(&namespace);
    roll_out_operator("restart");
    let meanwhile = namespace.dig(&["+short", "www.example.org"]);
    assert_eq!(meanwhile.trim(), "192.0.2.77", "while one follows the other");
    roll_out_operator("status");

    assert_eq!(namespace.dig(&["+short", "www.example.org"]).trim(), "192.0.2.77");
    assert_eq!(uids(&namespace), before);
}

/// Several objects are there when it starts, and none of them may wait for another.
#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_operator_that_restarts_looks_after_every_object() {
    let namespace = running("after");
    let spec = namespace.get("dnsproxy", "default")["spec"].clone();
    let names = ["default", "second", "third"];
    for name in names {
        namespace.apply_proxy(name, &spec);
        namespace.wait(name, "Ready");
    }
    roll_out_operator("restart");
    roll_out_operator("status");

    for name in names {
        namespace
            .apply_proxy(name, &merged(spec.clone(), json!({"limits": {"queryDeadline": "3s"}})));
    }
    for name in names {
        eventually(name, || {
            let object = namespace.get("dnsproxy", name);
            let seen = &object["status"]["observedGeneration"];
            (*seen == object["metadata"]["generation"] && *seen != 1).then_some(())
        });
    }
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn of_two_operators_one_works_and_the_other_takes_over() {
    let namespace = running("lease");
    scale_operator(2);
    let first = lease_holder().expect("a holder: the object is Ready");
    // A holder's name begins with that of its pod.
    let (pod, _) = first.split_once('_').expect("the name of a process");
    kubectl(&["-n", OPERATOR_NAMESPACE, "delete", "pod", pod]).expect_done();
    eventually("another holder", || lease_holder().filter(|holder| *holder != first));

    let spec = namespace.get("dnsproxy", "default")["spec"].clone();
    namespace.apply_proxy("default", &merged(spec, json!({"limits": {"queryDeadline": "3s"}})));
    eventually("work of the other one", || {
        let object = namespace.get("dnsproxy", "default");
        (object["status"]["observedGeneration"] == object["metadata"]["generation"]).then_some(())
    });
    scale_operator(1);
}

fn scale_operator(replicas: u8) {
    let replicas = format!("--replicas={replicas}");
    let scale = ["-n", OPERATOR_NAMESPACE, "scale", "deployment/dnsproxy-operator", &replicas];
    kubectl(&scale).expect_done();
    roll_out_operator("status");
}

/// Which operator works, if one does: it watches all namespaces.
fn lease_holder() -> Option<String> {
    let path = "jsonpath={.spec.holderIdentity}";
    let get = ["-n", "kube-system", "get", "lease", "dnsproxy-operator", "-o", path];
    Some(kubectl(&get).expect_done().out).filter(|holder| !holder.is_empty())
}

fn roll_out_operator(step: &str) {
    let arguments = ["-n", OPERATOR_NAMESPACE, "rollout", step, "deployment/dnsproxy-operator"];
    kubectl(&arguments).expect_done();
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn the_operator_may_change_nothing_of_a_pod_but_its_annotation() {
    let namespace = running("annotation");
    let pod = namespace.pods("default")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    // Server-side apply is a patch and nothing else: the operator may not even get a single pod.
    let patch = |pod: &str, what: Value| {
        let object =
            merged(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod}}), what);
        let operator = format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:dnsproxy-operator");
        let apply =
            ["apply", "--server-side", "--force-conflicts", "--field-manager=e2e", "-f", "-"];
        let place = ["-n", namespace.name.as_str(), operator.as_str()];
        run_with("kubectl", &[&place[..], &apply].concat(), &object.to_string())
    };
    let annotation = json!({"metadata": {"annotations": {"dnsproxy.io/config-hash": "e2e"}}});

    patch(&pod, annotation.clone()).expect_done();
    let labels = patch(&pod, json!({"metadata": {"labels": {"app": "mine"}}}));
    assert!(!labels.is_done && labels.err.contains("annotation"), "{}", labels.all());
    let image =
        patch(&pod, json!({"spec": {"containers": [{"name": "dnsproxy", "image": "evil"}]}}));
    assert!(!image.is_done && image.err.contains("annotation"), "{}", image.all());
    namespace.apply(&tools_pod("stranger", &json!({})));
    let stranger = patch("stranger", annotation);
    assert!(!stranger.is_done && stranger.err.contains("its proxies"), "{}", stranger.all());
}
