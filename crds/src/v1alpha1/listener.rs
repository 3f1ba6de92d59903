//! `spec.listeners`: where queries are taken.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The listeners, by transport.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listeners {
    /// Plain DNS over UDP and TCP. Refused in a cluster, where the Service's ports are fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsListener>,
}

/// Plain DNS, over UDP and TCP.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsListener {
    /// Each `IP:port` (`[IPv6]:port`); `[::]:53` takes IPv4 as well.
    pub addresses: Vec<String>,
}
