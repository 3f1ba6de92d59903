//! `spec.routes`: which zones go to which upstreams.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounds, defaults,
    units::{Name, Zone},
};

/// Zones, and the upstreams that are asked for names in them.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The name that logs and metrics use.
    #[schemars(length(min = 1, max = bounds::NAME), pattern(Name::PATTERN))]
    pub name: String,

    /// The zones, each with everything below it; `.` is everything. The longest zone of all routes wins. A route
    /// without zones is reached by a rule's `forward` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::ZONES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub zones: Vec<String>,

    /// The upstreams, by name: the fastest server is asked first, the next one when it fails. Policy
    /// `Sequential` keeps this order.
    #[schemars(length(min = 1, max = bounds::UPSTREAMS), inner(length(min = 1, max = bounds::NAME)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub upstreams: Vec<String>,

    /// Which server is asked first, of all upstreams: `Fastest` the one that answered fastest of late,
    /// `Sequential` the first one as written, `RoundRobin` each in its turn, `Random` any. Those that are
    /// down come last.
    #[serde(default)]
    pub policy: Policy,

    /// Upstreams asked when all others failed at the transport, never because of an answer's rcode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::UPSTREAMS), inner(length(min = 1, max = bounds::NAME)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub fallback: Option<Vec<String>>,

    /// Lets `fallback` name an upstream that is weaker than the route's own: plain after TLS, or
    /// `PinsOnly` after `PKIX`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_weaker: bool,

    /// Queries of this route that wait for an answer at a time; one more gets SERVFAIL at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::IN_FLIGHT), extend("default" = defaults::ROUTE_IN_FLIGHT))]
    pub max_in_flight: Option<u32>,
}

/// Which of a route's servers is asked first. Those that are down come last, whatever the policy.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Policy {
    /// The one that answered fastest of late; others are tried now and then.
    #[default]
    Fastest,
    /// The first one, in the order in which upstreams and their addresses are written.
    Sequential,
    /// Each in its turn.
    RoundRobin,
    /// Any.
    Random,
}
