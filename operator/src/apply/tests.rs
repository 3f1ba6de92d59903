use serde_json::{Value, json};

use super::*;
use crate::{
    fixtures::{self, api_server::ApiServer},
    render::{labels, render},
    validate::ValidatedDnsProxy,
};

const SERVICE: &str = "/api/v1/namespaces/resolvers/services/edge";
const BUDGET: &str = "/apis/policy/v1/namespaces/resolvers/poddisruptionbudgets/edge";
const STATUS: &str = "/apis/dnsproxy.io/v1alpha1/namespaces/resolvers/dnsproxies/edge/status";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/resolvers/deployments/edge";

async fn apply_minimal(context: &Context) -> Result<Applied, ApplyError> {
    apply(&fixtures::proxy("minimal"), &render(&fixtures::validated("minimal")), context).await
}

fn writes(asked: &[String]) -> Vec<&str> {
    asked.iter().filter_map(|line| line.strip_prefix("PATCH ")).collect()
}

#[tokio::test]
async fn pods_come_after_what_they_need_and_before_what_needs_them() {
    let (applied, asked) = ApiServer::default()
        .during(async |client| apply_minimal(&fixtures::context(client)).await.unwrap())
        .await;

    let config_map = applied.config_map.unwrap();
    assert_eq!(
        writes(&asked),
        [
            "/api/v1/namespaces/resolvers/serviceaccounts/edge-dnsproxy",
            &format!("/api/v1/namespaces/resolvers/configmaps/{config_map}"),
            DEPLOYMENT,
            SERVICE,
            BUDGET,
        ]
    );
    assert!(applied.obstacle.is_none());
}

#[tokio::test]
async fn what_was_applied_is_not_applied_again() {
    let (_, asked) = ApiServer::default()
        .during(async |client| {
            let context = fixtures::context(client);
            apply_minimal(&context).await.unwrap();
            apply_minimal(&context).await.unwrap();
        })
        .await;

    assert_eq!(writes(&asked).len(), 5, "{asked:#?}");
}

#[tokio::test]
async fn a_budget_goes_when_a_single_pod_is_left() {
    let several = fixtures::validated("minimal");
    let single = ValidatedDnsProxy { replicas: 1, ..several.clone() };
    let ours = render(&several).pod_disruption_budget.unwrap();
    let mut theirs = ours.clone();
    theirs.owner_references_mut().clear();
    let deletion = format!("DELETE {BUDGET}");

    for (why, budgets, is_removed) in [
        ("ours", vec![ours], true),
        ("of somebody who uses our labels", vec![theirs], false),
        ("none, or not seen yet", vec![], false),
    ] {
        let (applied, asked) = ApiServer::default()
            .during(async |client| {
                let mut context = fixtures::context(client);
                context.owned.pod_disruption_budgets = fixtures::filled(budgets);
                apply(&fixtures::proxy("minimal"), &render(&single), &context).await.unwrap()
            })
            .await;
        assert!(applied.obstacle.is_none(), "{why}");
        assert_eq!(asked.contains(&deletion), is_removed, "{why}: {asked:#?}");
        assert!(!writes(&asked).contains(&BUDGET), "{why}");
    }
}

#[tokio::test]
async fn a_service_that_was_deleted_gets_its_address_back_unless_it_is_taken() {
    let address = |service: &Service| service.spec.as_ref().unwrap().cluster_ip.clone();
    let mut proxy = fixtures::proxy("minimal");
    let manifests = render(&fixtures::validated("minimal"));
    let mut applied = async |status: Value, server: ApiServer| {
        proxy.status = serde_json::from_value(status).unwrap();
        let work =
            async |client| apply(&proxy, &manifests, &fixtures::context(client)).await.unwrap();
        let (applied, asked) = server.during(work).await;
        (applied, writes(&asked).iter().filter(|path| **path == SERVICE).count())
    };
    let had = json!({"clusterIPs": ["10.96.0.53", "fd00::53"]});

    let (again, writes) = applied(had.clone(), ApiServer::default()).await;
    assert_eq!(address(&again.service.unwrap()).as_deref(), Some("10.96.0.53"));
    assert_eq!(writes, 2, "what was asked for once is not ours to hold");

    let (new, writes) = applied(json!({}), ApiServer::default()).await;
    assert_eq!((address(&new.service.unwrap()), writes), (None, 1), "it had none");

    let (taken, writes) = applied(had, ApiServer::default().refusing(SERVICE, 422)).await;
    assert_eq!(taken.obstacle.unwrap().reason(), "Refused");
    assert_eq!(writes, 2, "another one is asked for");
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken_over() {
    let theirs = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "edge", "namespace": "resolvers"},
        "spec": {"selector": {}, "template": {}},
    });
    let (applied, asked) = ApiServer::default()
        .with(DEPLOYMENT, theirs)
        .during(async |client| apply_minimal(&fixtures::context(client)).await.unwrap())
        .await;

    let obstacle = applied.obstacle.unwrap();
    assert_eq!(obstacle.reason(), "Conflict");
    assert!(obstacle.to_string().starts_with("Deployment edge exists"), "{obstacle}");
    let written = writes(&asked);
    assert!(!written.contains(&DEPLOYMENT) && !written.contains(&SERVICE), "{asked:#?}");
}

/// What is told of a Deployment with this metadata that is there already, on a server with this `DnsProxy`.
async fn told_of(metadata: Value, proxy: Option<Value>) -> Option<&'static str> {
    let mut orphan = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "edge", "namespace": "resolvers"},
        "spec": {"selector": {}, "template": {}},
    });
    orphan["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    let mut trimmed: Deployment = serde_json::from_value(orphan.clone()).unwrap();
    crate::watches::trim(&mut trimmed);
    let server = ApiServer::default().with(DEPLOYMENT, orphan);
    let server = match proxy {
        Some(proxy) => server.with(STATUS, proxy),
        None => server,
    };
    let (applied, _) = server
        .during(async |client| {
            let mut context = fixtures::context(client);
            context.owned.deployments = fixtures::filled([trimmed]);
            apply_minimal(&context).await.unwrap()
        })
        .await;
    applied.obstacle.as_ref().map(ApplyError::reason)
}

#[tokio::test]
async fn what_lost_its_owner_is_taken_over_when_we_made_it() {
    let labels = json!(labels::all("edge"));
    let other = json!(labels::all("other"));
    let ours = json!([{"manager": "kubectl"}, {"manager": crate::NAME}]);
    let theirs = json!([{"manager": "kubectl"}]);
    let owner = json!([{
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "x", "uid": "1", "controller": true,
    }]);
    let cases = [
        // (why, labels, managed fields, owners, what is told)
        ("ours, orphaned", &labels, &ours, json!([]), None),
        ("of another DnsProxy", &other, &ours, json!([]), Some("Conflict")),
        ("labelled by somebody else", &labels, &theirs, json!([]), Some("Conflict")),
        ("somebody else's by now", &labels, &ours, owner, Some("Conflict")),
    ];

    for (why, labels, managers, owners, expected) in cases {
        let metadata =
            json!({"labels": labels, "managedFields": managers, "ownerReferences": owners});
        let told = told_of(metadata, Some(json!(fixtures::proxy("minimal")))).await;
        assert_eq!(told, expected, "{why}");
    }
}

#[tokio::test]
async fn what_lost_its_owner_is_not_taken_over_for_one_that_is_dying() {
    let metadata =
        json!({"labels": labels::all("edge"), "managedFields": [{"manager": crate::NAME}]});
    let proxy = json!(fixtures::proxy("minimal"));
    let (mut dying, mut another, mut newer) = (proxy.clone(), proxy.clone(), proxy);
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    another["metadata"]["uid"] = json!("2");
    newer["spec"]["upstreams"][0]["protocol"] = json!("QUIC");
    let cases = [
        ("it is being deleted", Some(dying), Some("Conflict")),
        ("it is gone", None, Some("Conflict")),
        ("it is gone, and there is a new one of its name", Some(another), Some("Conflict")),
        ("it is newer than this operator, and lives", Some(newer), None),
    ];

    for (why, proxy, expected) in cases {
        assert_eq!(told_of(metadata.clone(), proxy).await, expected, "{why}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_and_everything_before_it_stays() {
    let (applied, _) = ApiServer::default()
        .refusing(SERVICE, 422)
        .during(async |client| apply_minimal(&fixtures::context(client)).await.unwrap())
        .await;

    assert_eq!(
        applied.obstacle.unwrap().to_string(),
        "Service edge is refused: refused by the script"
    );
    assert!(applied.deployment.is_some());
}

#[tokio::test]
async fn a_port_that_was_edited_is_put_back_and_one_that_was_added_stays() {
    let mut edited = render(&fixtures::validated("minimal")).service;
    edited.metadata.resource_version = Some("7".into());
    let mut object = serde_json::to_value(&edited).unwrap();
    object["spec"]["ports"][0]["port"] = json!(5300);
    let added = json!({"name": "metrics", "port": 9153, "protocol": "TCP"});
    object["spec"]["ports"].as_array_mut().unwrap().push(added);
    let (applied, asked) = ApiServer::default()
        .with(SERVICE, object.clone())
        .during(async |client| {
            let mut context = fixtures::context(client);
            context.owned.services = fixtures::filled([serde_json::from_value(object).unwrap()]);
            apply_minimal(&context).await.unwrap()
        })
        .await;

    assert!(applied.obstacle.is_none(), "{:?}", applied.obstacle);
    assert_eq!(writes(&asked).iter().filter(|path| **path == SERVICE).count(), 2, "{asked:#?}");
    let ports = applied.service.unwrap().spec.clone().unwrap().ports.unwrap();
    let ports: Vec<_> = ports.iter().map(|it| (it.name.as_deref().unwrap(), it.port)).collect();
    assert_eq!(ports, [("dns-udp", 53), ("dns-tcp", 53), ("metrics", 9153)]);
}

#[tokio::test]
async fn an_api_server_in_trouble_is_asked_again() {
    let (outcome, _) = ApiServer::default()
        .refusing(SERVICE, 500)
        .during(async |client| apply_minimal(&fixtures::context(client)).await)
        .await;

    assert!(!outcome.unwrap_err().is_lasting());
}
