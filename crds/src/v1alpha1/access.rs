//! `spec.access`: who may ask, and how much.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::bounds;

/// Who may ask. Others get REFUSED.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The networks that may ask. Absent: loopback, private, shared (100.64.0.0/10), link-local and
    /// unique local addresses; in a cluster its pod and node networks, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NETWORKS), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow: Option<Vec<String>>,

    /// The networks that may not, even if `allow` has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NETWORKS), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub deny: Option<Vec<String>>,

    /// How much one client may ask. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// A token bucket per client (an IPv4, link-local or private address, or any other IPv6 /64).
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// The rate that one client may keep up.
    #[schemars(range(min = 1, max = bounds::RATE))]
    pub queries_per_second: u32,

    /// How many queries may come at once. Absent: two seconds' worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::RATE))]
    pub burst: Option<u32>,
}
