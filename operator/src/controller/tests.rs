use std::pin::pin;

use kube::Api;
use serde_json::json;

use super::*;
use crate::{
    fixtures::{self, api_server::ApiServer},
    status::conditions::{PROGRAMMED, find},
};

const STATUS: &str = "/apis/dnsproxy.io/v1alpha1/namespaces/resolvers/dnsproxies/edge/status";
const PROXIES: &str = "/apis/dnsproxy.io/v1alpha1/dnsproxies";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/resolvers/deployments/edge";

#[tokio::test(start_paused = true)]
async fn a_failure_that_lasts_is_told_and_tried_again() {
    let proxy = fixtures::proxy("minimal");
    let server = ApiServer::default()
        .with(STATUS, serde_json::to_value(&proxy).unwrap())
        .refusing(DEPLOYMENT, 500);
    let guarded: Guarded = serde_json::from_value(json!(proxy)).unwrap();
    let guarded = Arc::new(guarded);
    let (told, _) = server
        .during(async |client| {
            let context = Arc::new(fixtures::context(client.clone()));
            let status = Api::<DnsProxy>::namespaced(client, "resolvers");
            let mut told = Vec::new();
            for pause in [0, 500, 1000, 2000, 4000, 8000, 16_000] {
                tokio::time::advance(Duration::from_millis(pause)).await;
                let error = measured(guarded.clone(), context.clone()).await.unwrap_err();
                retry(guarded.clone(), &error, context.clone());
                let status = status.get_status("edge").await.unwrap().status;
                let programmed = status.as_ref().and_then(|it| find(it, PROGRAMMED));
                told.push(programmed.map(|it| (it.reason.clone(), it.message.clone())));
            }
            told
        })
        .await;

    assert!(told[..5].iter().all(Option::is_none), "it may pass: {told:?}");
    let (reason, message) = told[5].as_ref().unwrap();
    assert_eq!(reason, "Unreachable");
    assert_eq!(
        message,
        "cannot apply: the API server does not take Deployment edge: refused by the script; it is tried again, at \
         least once a minute"
    );
    assert_eq!(told[6], told[5]);
}

#[tokio::test(start_paused = true)]
async fn watches_that_fail_hold_up_none_that_works_again() {
    let list = json!({
        "apiVersion": "dnsproxy.io/v1alpha1", "kind": "DnsProxyList", "metadata": {"resourceVersion": "4"},
        "items": [fixtures::proxy("minimal")],
    });
    // What else is watched is never found, each time it is asked for.
    let server = ApiServer::default().with(PROXIES, list).failing(PROXIES, 8);
    let (seen_after, _) = server
        .during(async |client| {
            let start = Instant::now();
            let (_owned, changes) = Owned::watch(&client, &Scope::All);
            let (_sender, facts) = watch::channel(None);
            let reconcile =
                async |_: Arc<Guarded>, _| Ok::<_, ReconcileError>(Action::await_change());
            let controller = triggers(&Scope::All, &client, changes, Arc::default(), facts);
            let outcomes =
                controller.run(reconcile, |_, _, _| Action::await_change(), Arc::new(()));
            let mut reconciled = pin!(outcomes.filter(|outcome| future::ready(outcome.is_ok())));
            reconciled.next().await.unwrap().unwrap();
            start.elapsed()
        })
        .await;

    // Each failure costs two seconds at most, and a minute when the others' failures count, too.
    assert!(seen_after < Duration::from_secs(60), "{seen_after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_what_is_referred_to_makes_it_be_looked_for_again() {
    let metadata =
        json!({"name": "corp-ca", "namespace": "resolvers", "uid": "1", "resourceVersion": "4"});
    let list = json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
        "metadata": {"resourceVersion": "4"}, "items": [{"metadata": metadata}],
    });
    let references = ["corp-ca", "other"].map(|name| Reference {
        kind: Kind::ConfigMap,
        name: name.into(),
        key: "ca.crt".into(),
    });
    let found = Arc::<Found>::default();
    found.remember("resolvers", references.to_vec(), found.look(Instant::now()));
    let (_, _) = ApiServer::default()
        .with("/api/v1/configmaps", list)
        .during(async |client| {
            let (_owned, changes) = Owned::watch(&client, &Scope::All);
            let (_sender, facts) = watch::channel(None);
            let reconcile =
                async |_: Arc<Guarded>, _| Ok::<_, ReconcileError>(Action::await_change());
            let controller = triggers(&Scope::All, &client, changes, found.clone(), facts);
            let outcomes =
                controller.run(reconcile, |_, _, _| Action::await_change(), Arc::new(()));
            let seconds = Duration::from_secs(10);
            tokio::time::timeout(seconds, outcomes.for_each(|_| future::ready(()))).await
        })
        .await;

    let look = found.look(Instant::now());
    let is_known = references.map(|reference| found.has("resolvers", &reference, look));
    assert_eq!(is_known, [false, true]);
}
