use serde_json::json;

use super::*;
use crate::{
    fixtures::{self, api_server::ApiServer},
    render::render,
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
