//! `status`: what the operator saw, computed afresh each time.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What the operator saw.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsProxyStatus {
    /// The generation of the object that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The hash of the configuration that pods should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,

    /// The label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// How many pods there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// How many of them are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// How many of them run `configHash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_replicas: Option<i32>,

    /// The addresses of the Service.
    #[serde(default, rename = "clusterIPs", skip_serializing_if = "Option::is_none")]
    pub cluster_ips: Option<Vec<String>>,

    /// The `dnsConfig` of a pod that uses this proxy; put `<namespace>.svc.<domain>` first in `searches`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,

    /// How many upstreams are known to be healthy, of how many: `2/2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstreams_ready: Option<String>,

    /// The upstreams, as the pods see them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::UPSTREAMS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub upstreams: Option<Vec<UpstreamStatus>>,

    /// Accepted, ResolvedRefs, Programmed, Available, UpstreamsHealthy, Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::STATUS_ITEMS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Option<Vec<Condition>>,
}

/// Ready to paste into a pod's `dnsConfig`.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsConfig {
    /// The addresses of the Service.
    pub nameservers: Vec<String>,
    /// `svc.<domain>` and `<domain>`.
    #[schemars(inner(length(max = bounds::SEARCH)))]
    pub searches: Vec<String>,
    /// Resolver options: `ndots`.
    pub options: Vec<DnsConfigOption>,
}

/// One resolver option.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsConfigOption {
    /// The option's name.
    pub name: String,
    /// The option's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// One upstream, as the pods see it.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStatus {
    /// The upstream's name.
    pub name: String,
    /// Whether it answers.
    pub state: UpstreamState,
    /// Why not, in one word: PinMismatch, NameMismatch, CertificateExpired, Unreachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether an upstream answers.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum UpstreamState {
    /// Nothing was asked yet.
    #[default]
    Unknown,
    /// It answers every pod.
    Healthy,
    /// At least one pod cannot use it.
    Unhealthy,
}
