//! `spec.routes`: which zones go to which upstreams.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounds,
    units::{Name, Zone},
};

/// Zones, and the upstreams that are asked for names in them.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The name that logs and metrics use.
    #[schemars(length(min = 1, max = bounds::NAME), pattern(Name::PATTERN))]
    pub name: String,

    /// The zones, each with everything below it; `.` is everything. The longest zone of all routes wins.
    #[schemars(length(min = 1, max = bounds::ZONES), inner(length(min = 1, max = Zone::MAX_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub zones: Vec<String>,

    /// The upstreams, by name, asked in this order: the next one when one fails.
    #[schemars(length(min = 1, max = bounds::UPSTREAMS), inner(length(min = 1, max = bounds::NAME)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub upstreams: Vec<String>,

    /// Upstreams asked when all others failed at the transport, never because of an answer's rcode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::UPSTREAMS), inner(length(min = 1, max = bounds::NAME)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub fallback: Option<Vec<String>>,

    /// Lets `fallback` name an upstream that is weaker than the route's own: plain after TLS, or
    /// `PinsOnly` after `PKIX`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_weaker: bool,
}
