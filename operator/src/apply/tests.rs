use serde_json::json;

use super::*;
use crate::{
    fixtures::{self, api_server::ApiServer},
    render::{labels, render},
};

const SERVICE: &str = "/api/v1/namespaces/resolvers/services/edge";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/resolvers/deployments/edge";

async fn apply_minimal(context: &Context) -> Result<Applied, ApplyError> {
    apply(&fixtures::proxy("minimal"), &render(&fixtures::validated("minimal")), context).await
}

fn writes(asked: &[String]) -> Vec<&str> {
    asked.iter().filter_map(|line| line.strip_prefix("PATCH ")).collect()
}

#[tokio::test]
async fn pods_come_after_what_they_need_and_the_service_last() {
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

    assert_eq!(writes(&asked).len(), 4, "{asked:#?}");
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
        let orphan = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "edge", "namespace": "resolvers", "labels": labels,
                "managedFields": managers, "ownerReferences": owners,
            },
            "spec": {"selector": {}, "template": {}},
        });
        let mut trimmed: Deployment = serde_json::from_value(orphan.clone()).unwrap();
        crate::watches::trim(&mut trimmed);
        let (applied, _) = ApiServer::default()
            .with(DEPLOYMENT, orphan)
            .during(async |client| {
                let mut context = fixtures::context(client);
                context.owned.deployments = fixtures::filled([trimmed]);
                apply_minimal(&context).await.unwrap()
            })
            .await;
        assert_eq!(applied.obstacle.as_ref().map(ApplyError::reason), expected, "{why}");
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
async fn an_api_server_in_trouble_is_asked_again() {
    let (outcome, _) = ApiServer::default()
        .refusing(SERVICE, 500)
        .during(async |client| apply_minimal(&fixtures::context(client)).await)
        .await;

    assert!(!outcome.unwrap_err().is_lasting());
}
