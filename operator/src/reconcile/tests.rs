use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{self, api_server::ApiServer};

const STATUS: &str = "/apis/dnsproxy.io/v1alpha1/namespaces/resolvers/dnsproxies/edge/status";
const EVENTS: &str = "POST /apis/events.k8s.io/v1/namespaces/resolvers/events";

/// Reconciles one object; gives what follows, the server, and what was written.
async fn reconciled(object: Value, server: ApiServer) -> (Action, Vec<String>) {
    let guarded: DeserializeGuard<DnsProxy> = serde_json::from_value(object).unwrap();
    let (outcome, asked) = server
        .during(async |client| reconcile(guarded.into(), fixtures::context(client).into()).await)
        .await;
    let writes = asked.into_iter().filter(|line| !line.starts_with("GET "));
    (outcome.unwrap(), writes.collect())
}

fn object(fixture: &str) -> Value {
    serde_json::to_value(fixtures::proxy(fixture)).unwrap()
}

#[tokio::test]
async fn a_valid_manifest_is_applied_and_then_its_status_is_written() {
    let proxy = object("minimal");
    let (action, writes) =
        reconciled(proxy.clone(), ApiServer::default().with(STATUS, proxy)).await;

    let namespaced = |line: &String| line.replace("/namespaces/resolvers", "");
    assert_eq!(
        writes.iter().map(namespaced).collect::<Vec<_>>(),
        [
            "PATCH /api/v1/serviceaccounts/edge-dnsproxy",
            "PATCH /api/v1/configmaps/edge-cd64d243",
            "PATCH /apis/apps/v1/deployments/edge",
            "PATCH /api/v1/services/edge",
            "PATCH /apis/policy/v1/poddisruptionbudgets/edge",
            "PATCH /apis/dnsproxy.io/v1alpha1/dnsproxies/edge/status",
            "POST /apis/events.k8s.io/v1/events",
        ]
    );
    assert_eq!(action, Action::requeue(IN_MOTION), "pods are starting");
}

#[tokio::test]
async fn an_invalid_manifest_changes_nothing_but_the_status() {
    let proxy = object("invalid");
    let (action, writes) =
        reconciled(proxy.clone(), ApiServer::default().with(STATUS, proxy)).await;

    assert_eq!(writes, [format!("PATCH {STATUS}"), EVENTS.to_owned()]);
    assert_eq!(action, Action::requeue(AT_REST));
}

#[tokio::test]
async fn an_object_of_a_newer_version_is_told_that_it_cannot_be_read() {
    let mut proxy = object("minimal");
    proxy["spec"]["upstreams"][0]["protocol"] = json!("QUIC");
    let (action, writes) =
        reconciled(proxy.clone(), ApiServer::default().with(STATUS, proxy)).await;

    assert_eq!(writes, [format!("PATCH {STATUS}"), EVENTS.to_owned()]);
    assert_eq!(action, Action::await_change());
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_told_so_once_for_each_generation() {
    let mut proxy = object("minimal");
    proxy["spec"]["upstreams"][0]["protocol"] = json!("QUIC");
    let mut edited = proxy.clone();
    edited["metadata"]["generation"] = json!(4);
    let server = ApiServer::default().with(STATUS, proxy.clone());
    let ((), asked) = server
        .during(async |client| {
            let context = Arc::new(fixtures::context(client));
            for object in [&proxy, &proxy, &edited, &edited] {
                let guarded: DeserializeGuard<DnsProxy> =
                    serde_json::from_value(object.clone()).unwrap();
                reconcile(guarded.into(), context.clone()).await.unwrap();
            }
        })
        .await;

    let written = asked.iter().filter(|line| **line == format!("PATCH {STATUS}"));
    assert_eq!(written.count(), 2, "{asked:#?}");
    let told = asked.iter().filter(|line| line.contains("/events"));
    assert_eq!(told.count(), 2, "{asked:#?}");
}

#[tokio::test]
async fn an_object_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let mut proxy = object("minimal");
    proxy["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let (action, writes) = reconciled(proxy, ApiServer::default()).await;

    assert_eq!(writes, Vec::<String>::new());
    assert_eq!(action, Action::await_change());
}

#[tokio::test]
async fn a_panic_of_the_check_is_a_problem_of_this_manifest() {
    let proxy = fixtures::proxy("minimal");
    let ((checked, metrics), _) = ApiServer::default()
        .during(async |client| {
            let context = fixtures::context(client);
            let checked = apart(&proxy, &context, || panic!("no such rule: {}", 7)).await;
            (checked.unwrap(), context.metrics.text())
        })
        .await;

    assert!(metrics.contains("dnsproxy_operator_reconcile_failures_total 1\n"), "{metrics}");
    assert_eq!(
        checked.unwrap_err(),
        [
            "this operator failed at checking the manifest, which is a fault of the operator: no such rule: 7"
        ]
    );
}

#[tokio::test]
async fn a_manifest_is_checked_once_also_when_the_reconcile_does_not_wait_for_it() {
    let proxy = fixtures::proxy("minimal");
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let (verdicts, _) = ApiServer::default()
        .during(async |client| {
            let context = fixtures::context(client);
            let resolved = fixtures::resolved();
            let slow = checked_by(&proxy, &resolved, &context, move |_| {
                wait.recv().unwrap();
                Ok(vec!["the first check".into()])
            });
            let again = |told: &'static str| {
                checked_by(&proxy, &resolved, &context, move |_| Ok(vec![told.into()]))
            };
            assert!(futures::poll!(Box::pin(slow)).is_pending(), "and nobody waits any more");
            let mut second = Box::pin(again("a second check"));
            assert!(futures::poll!(&mut second).is_pending(), "one of an object at a time");
            go.send(()).unwrap();
            [second.await.unwrap(), again("a third check").await.unwrap()]
        })
        .await;

    assert_eq!(verdicts, ["the first check"; 2].map(|told| Ok(vec![told.to_owned()])));
}
