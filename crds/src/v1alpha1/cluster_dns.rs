//! `spec.clusterDNS`: how names of the cluster reach the cluster's own DNS.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bounds, units::Zone};

/// The cluster's own DNS, as a route of its own.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterDns {
    /// Whether names of the cluster go to the cluster's DNS.
    #[serde(default)]
    pub mode: ClusterDnsMode,

    /// The addresses of the cluster's DNS, `IP` or `IP:port`. Empty: discovered by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ADDRESSES), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub addresses: Option<Vec<String>>,

    /// The cluster's domain. Empty: discovered by the operator, else `cluster.local`. A route that has the
    /// same zone wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = Zone::MAX_LENGTH))]
    pub domain: Option<String>,

    /// The reverse zones of the cluster's networks. Empty: discovered by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ZONES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub reverse_zones: Option<Vec<String>>,

    /// The addresses that the cluster's DNS asks from: a question of theirs never goes back to it.
    /// Empty: discovered by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ENDPOINTS), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub endpoints: Option<Vec<String>>,
}

/// Whether names of the cluster go to the cluster's DNS.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ClusterDnsMode {
    /// The cluster's domain and reverse zones go to the cluster's DNS.
    #[default]
    Forward,
    /// They are names like any other.
    Disabled,
}
