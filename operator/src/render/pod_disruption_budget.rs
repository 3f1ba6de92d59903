//! The PodDisruptionBudget: a drain of nodes takes one pod at a time.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{labels, metadata};
use crate::validate::ValidatedDnsProxy;

/// Renders the budget of one `DnsProxy`, if it has several pods: a single one may go in any case, or its node could never
/// be drained. A pod that is not ready may always go: it serves nobody, and a node that is to be repaired must not wait for
/// it.
pub(super) fn pod_disruption_budget(proxy: &ValidatedDnsProxy) -> Option<PodDisruptionBudget> {
    (proxy.replicas > 1).then(|| PodDisruptionBudget {
        metadata: metadata(proxy),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(labels::selector(&proxy.name)),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn lets_one_pod_go_at_a_time() {
        insta::assert_yaml_snapshot!(pod_disruption_budget(&fixtures::validated("full")));
    }

    #[test]
    fn says_nothing_of_a_single_pod() {
        let has_budget = |replicas| {
            let proxy = ValidatedDnsProxy { replicas, ..fixtures::validated("minimal") };
            pod_disruption_budget(&proxy).is_some()
        };

        assert_eq!([0, 1, 2, 100].map(has_budget), [false, false, true, true]);
    }
}
