//! The Deployment that keeps the pods running.

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{labels, metadata, pod};
use crate::validate::ValidatedDnsProxy;

pub(super) fn deployment(proxy: &ValidatedDnsProxy) -> Deployment {
    Deployment {
        metadata: metadata(proxy),
        spec: Some(DeploymentSpec {
            replicas: Some(proxy.replicas),
            selector: LabelSelector {
                match_labels: Some(labels::selector(&proxy.name)),
                ..LabelSelector::default()
            },
            strategy: Some(one_more_before_one_less()),
            revision_history_limit: Some(REVISION_HISTORY),
            template: pod::template(proxy),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// DNS must not have fewer servers during a rollout than it was given.
fn one_more_before_one_less() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::String("25%".to_owned())),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

/// A rollback is a change of the `DnsProxy`; old ReplicaSets only help to see what was. Our guess.
const REVISION_HISTORY: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn runs_pods_that_may_do_nothing_but_answer() {
        for fixture in fixtures::VALID {
            insta::assert_yaml_snapshot!(
                format!("deployment_{fixture}"),
                deployment(&fixtures::validated(fixture))
            );
        }
    }
}
