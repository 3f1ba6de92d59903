//! Removes what is not rendered any more: configurations that no pod reads, and the budget of a single pod.
//!
//! An old pod keeps its ConfigMap until the rollout that replaces it is complete: until then it may be
//! restarted, and would not start without.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, Preconditions},
    runtime::reflector::ObjectRef,
};
use serde::de::DeserializeOwned;

use super::{Applied, ApplyError, Rollout, controller, has_same_owner};
use crate::{context::Context, render::Manifests, reports::config_map_of};

pub(super) async fn config_maps(
    manifests: &Manifests,
    applied: &Applied,
    context: &Context,
) -> Result<(), ApplyError> {
    if !is_rolled_out(applied) {
        return Ok(());
    }
    let current = &manifests.config_map;
    let namespace = current.namespace().unwrap_or_default();
    let ours = context.owned.config_maps.state_filter(|config_map| {
        config_map.namespace().as_ref() == Some(&namespace) && has_same_owner(config_map, current)
    });
    let used = used(&context.owned.pods.state(), &namespace);
    let api = Api::<ConfigMap>::namespaced(context.client.clone(), &namespace);
    for config_map in ours {
        let name = config_map.name_any();
        if name == current.name_any() || used.contains(&name) {
            continue;
        }
        delete(&api, &config_map).await?;
        tracing::info!(%namespace, %name, "removed a configuration that no pod reads");
    }
    Ok(())
}

/// Removes the budget of the pods of `deployment`, if we made one.
pub(super) async fn pod_disruption_budget(
    deployment: &Deployment,
    context: &Context,
) -> Result<(), ApplyError> {
    let namespace = deployment.namespace().unwrap_or_default();
    let name = ObjectRef::new(&deployment.name_any()).within(&namespace);
    let budget = context.owned.pod_disruption_budgets.get(&name);
    let Some(budget) = budget.filter(|budget| controller(&**budget) == controller(deployment))
    else {
        return Ok(());
    };
    let api = Api::<PodDisruptionBudget>::namespaced(context.client.clone(), &namespace);
    delete(&api, &budget).await?;
    tracing::info!(%namespace, name = %budget.name_any(), "removed the budget of a single pod");
    Ok(())
}

async fn delete<K>(api: &Api<K>, object: &K) -> Result<(), ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    // The store may be late: what was made anew under this name stays.
    let same = Preconditions { uid: object.uid(), resource_version: None };
    let params = DeleteParams::default().preconditions(same);
    match api.delete(&object.name_any(), &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(super::failed(object, source)),
    }
}

/// Whether only pods of the newest template are left, and all of them are there.
fn is_rolled_out(applied: &Applied) -> bool {
    let Some(Deployment { spec: Some(spec), status: Some(status), .. }) =
        applied.deployment.as_deref()
    else {
        return false;
    };
    let updated = status.updated_replicas.unwrap_or_default();
    applied.rollout() == Rollout::Done && spec.replicas == Some(updated)
}

fn used(pods: &[Arc<Pod>], namespace: &str) -> BTreeSet<String> {
    pods.iter()
        .filter(|pod| pod.namespace().as_deref() == Some(namespace))
        .filter_map(|pod| config_map_of(pod))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_is_complete_when_all_pods_are_of_the_newest_template() {
        let is_rolled_out = |since: i64, observed: i64, replicas: i32, updated: i32| {
            let deployment: Deployment = serde_json::from_value(json!({
                "metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {}, "template": {}},
                "status": {
                    "observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated,
                },
            }))
            .unwrap();
            is_rolled_out(&Applied {
                deployment: Some(Arc::new(deployment)),
                template_since: Some(since),
                ..Applied::default()
            })
        };

        assert!(is_rolled_out(2, 2, 2, 2));
        assert!(!is_rolled_out(2, 1, 2, 2), "the newest template was not seen yet");
        assert!(is_rolled_out(1, 1, 2, 2), "the template was");
        assert!(!is_rolled_out(1, 1, 3, 3), "there were more, which are not wanted any more");
        assert!(!is_rolled_out(2, 2, 3, 2), "an old pod is left");
        assert!(!is_rolled_out(2, 2, 2, 1), "a new pod is missing");
    }
}
