//! `spec.service`: the Service in front of the pods, in ServiceSpec's own words.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds;

/// The Service: port 53, UDP and TCP. Absent fields are the API server's choice.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.type) && self.type == 'LoadBalancer') || !(has(self.loadBalancerClass) || has(self.loadBalancerSourceRanges))"
    )
    .message("loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer"),
    validation = Rule::new(
        "(has(self.type) && self.type != 'ClusterIP') || !has(self.externalTrafficPolicy)"
    )
    .message("externalTrafficPolicy needs type NodePort or LoadBalancer")
)]
pub struct Service {
    /// The type of the Service.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// A fixed address, so that it can stand in other configuration.
    #[serde(default, rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::ADDRESS))]
    pub cluster_ip: Option<String>,

    /// Fixed addresses, one per IP family; the first one is `clusterIP`.
    #[serde(default, rename = "clusterIPs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::FAMILIES), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub cluster_ips: Option<Vec<String>>,

    /// The IP families, `IPv4` and `IPv6`, the first one preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::FAMILIES), inner(length(max = bounds::NAME), pattern("^IPv[46]$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ip_families: Option<Vec<String>>,

    /// Whether the Service has one or both families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME), extend("enum" = ["SingleStack", "PreferDualStack", "RequireDualStack"]))]
    pub ip_family_policy: Option<String>,

    /// Which endpoints are preferred, for example `PreferSameNode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME), extend("enum" = ["PreferClose", "PreferSameZone", "PreferSameNode"]))]
    pub traffic_distribution: Option<String>,

    /// Which endpoints traffic from inside the cluster may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME), extend("enum" = ["Cluster", "Local"]))]
    pub internal_traffic_policy: Option<String>,

    /// Which endpoints traffic from outside the cluster may take. Absent: `Local` for NodePort and LoadBalancer, so
    /// that clients keep their addresses, by which access and rate limits know them; with `Cluster` they have those
    /// of nodes, which may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME), extend("enum" = ["Cluster", "Local"]))]
    pub external_traffic_policy: Option<String>,

    /// Which load balancer implementation serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::REFERENCE))]
    pub load_balancer_class: Option<String>,

    /// The networks that a load balancer lets in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NETWORKS), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub load_balancer_source_ranges: Option<Vec<String>>,
}

/// The type of the Service.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ServiceType {
    /// An address inside the cluster.
    #[default]
    ClusterIP,
    /// And a port of every node.
    NodePort,
    /// And a load balancer.
    LoadBalancer,
}
