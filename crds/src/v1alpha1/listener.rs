//! `spec.listeners`: where queries are taken.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::bounds;

/// The listeners, by transport.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listeners {
    /// Plain DNS over UDP and TCP. Absent: `127.0.0.1:5300`, in the container image `[::]:53`.
    /// Refused in a cluster, where the Service has the ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsListener>,
}

/// Plain DNS, over UDP and TCP.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsListener {
    /// Each `IP:port` (`[IPv6]:port`); `[::]:53` takes IPv4 as well.
    #[schemars(length(min = 1, max = bounds::LISTENERS), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub addresses: Vec<String>,
}
