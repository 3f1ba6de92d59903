//! `spec.routes`: which zones go to which upstreams.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Zones, and the upstreams that are asked for names in them.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The name that logs and metrics use.
    pub name: String,

    /// The zones, each with everything below it; `.` is everything. The longest zone of all routes wins.
    pub zones: Vec<String>,

    /// The upstreams, by name, asked in this order: the next one when one fails.
    pub upstreams: Vec<String>,

    /// Upstreams asked when all others failed at the transport, never because of an answer's rcode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Vec<String>>,

    /// Lets `fallback` name an upstream that is weaker than the route's own: plain after TLS, or
    /// `PinsOnly` after `PKIX`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_weaker: bool,
}
