//! `dnsproxy.io/v1alpha1`: the `DnsProxy` object.
//!
//! The doc comments of the fields become the descriptions in the schema, so they speak to the author of
//! a manifest. Durations, sizes, zones, pins and addresses are kept as they were written;
//! [`crate::validate`] says what is wrong with them, and [`crate::units`] parses them.

#![allow(unreachable_pub, reason = "the schema's derive repeats each struct inside of a function")]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use access::{Access, RateLimit};
pub use cache::{Cache, CacheMode, Prefetch, ServeStale};
pub use cluster_dns::{ClusterDns, ClusterDnsMode};
pub use limits::{Limits, Shutdown};
pub use list::{Hosts, ListFormat, NameList};
pub use listener::{DnsListener, Listeners};
pub use logging::{LogLevel, Logging, QueryLog, QueryLogMode};
pub use responses::{
    AddressAlias, AnyQuestions, PrivateNames, RebindAction, RebindProtection, Responses,
};
pub use route::{Policy, Route};
pub use rule::{
    Allow, Answers, Block, BlockWith, Class, Forward, Match, NameChange, NameMatch, OtherTypes,
    OwnAlias, RcodeChange, ResponseChange, ResponseCode, Rewrite, StaticAnswer, Then, TtlRange,
};
pub use service::{Service, ServiceType};
pub use source::{ClientCertificate, KeyReference, NameReference, Source};
pub use status::{
    Condition, DnsConfig, DnsConfigOption, DnsProxyStatus, UpstreamState, UpstreamStatus,
};
pub use test::{Expectation, Test};
pub use upstream::{
    Authentication, Connections, HealthCheck, Padding, Protocol, Timeouts, Tls, Upstream,
};
pub use workload::{PodSpecTemplate, PodTemplate, Resources, TemplateMetadata, Workload};

use crate::bounds;

pub mod access;
pub mod cache;
pub mod cluster_dns;
pub mod limits;
pub mod list;
pub mod listener;
pub mod logging;
pub mod responses;
pub mod route;
pub mod rule;
pub mod service;
pub mod source;
pub mod status;
pub mod test;
pub mod upstream;
pub mod workload;

/// A stub resolver: which upstreams it asks, how, for whom, and how it runs.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "dnsproxy.io",
    version = "v1alpha1",
    kind = "DnsProxy",
    plural = "dnsproxies",
    singular = "dnsproxy",
    shortname = "dnsp",
    namespaced,
    doc = "A stub resolver: which upstreams it asks, how, for whom, and how it runs.",
    status = "DnsProxyStatus",
    derive = "Default",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')").message(
        "metadata.name: a letter, then at most 51 lower-case letters, digits and inner hyphens, since a Service is called so"
    ),
    scale(
        spec_replicas_path = ".spec.workload.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.clusterIPs[0]"),
    printcolumn(name = "Upstreams", type_ = "string", json_path = ".status.upstreamsReady"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.listeners)")
        .message("listeners: in a cluster the Service has the ports, leave it out")
)]
pub struct DnsProxySpec {
    /// The resolver services that queries go to.
    #[schemars(length(min = 1, max = bounds::UPSTREAMS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub upstreams: Vec<Upstream>,

    /// Which zones go to which upstreams; the longest zone wins, by labels.
    /// Absent: one route `default` for `.` to all upstreams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::ROUTES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub routes: Option<Vec<Route>>,

    /// How names of the cluster are resolved.
    #[serde(default, rename = "clusterDNS", skip_serializing_if = "Option::is_none")]
    pub cluster_dns: Option<ClusterDns>,

    /// What is done with queries that match, in order: `allow`, `block`, `answer` and `forward` end, `rewrite`
    /// and `response` change something and go on. After a `rewrite`, allow and block rules are looked at once
    /// more, for the new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::RULES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Option<Vec<rule::Rule>>,

    /// Queries and what is to become of them: one that comes out otherwise makes the manifest invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::TESTS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tests: Option<Vec<Test>>,

    /// Names for rules, many at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::LISTS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub lists: Option<Vec<NameList>>,

    /// Names that are answered here, in the format of /etc/hosts; rules come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Hosts>,

    /// What is checked in every upstream's answer, and which names never leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<Responses>,

    /// Which answers are kept, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,

    /// Who may ask, and how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,

    /// Bounds of what one process does at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// Where queries are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Listeners>,

    /// What is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,

    /// What happens between SIGTERM and the end of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,

    /// The pods. For the operator; a single process does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,

    /// The Service in front of the pods. For the operator; a single process does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}
