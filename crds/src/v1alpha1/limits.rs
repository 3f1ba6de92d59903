//! `spec.limits` and `spec.shutdown`: the bounds of one process, in numbers and in time.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{bounds, defaults, units::Duration};

/// The bounds of one process.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The time within which every query is answered, if only by SERVFAIL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::QUERY_DEADLINE.to_string()))]
    pub query_deadline: Option<String>,

    /// Queries that wait for an upstream; one more gets SERVFAIL at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::IN_FLIGHT), extend("default" = defaults::MAX_IN_FLIGHT))]
    pub max_in_flight: Option<u32>,

    /// Open TCP connections of clients; for one more, the one that is idle longest is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::IN_FLIGHT), extend("default" = defaults::TCP_CONNECTIONS))]
    pub tcp_connections: Option<u32>,

    /// Open TCP connections of one client (an IPv4, link-local or private address, or any other IPv6 /64); one more is closed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::IN_FLIGHT), extend("default" = defaults::TCP_CONNECTIONS_PER_CLIENT))]
    pub tcp_connections_per_client: Option<u32>,

    /// How long a TCP connection of a client may be idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::TCP_IDLE_TIMEOUT.to_string()))]
    pub tcp_idle_timeout: Option<String>,

    /// The largest UDP message sent or asked for, in octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        range(min = bounds::EDNS_BUFFER_SIZE[0], max = bounds::EDNS_BUFFER_SIZE[1]),
        extend("default" = defaults::EDNS_BUFFER_SIZE)
    )]
    pub edns_buffer_size: Option<u16>,
}

/// What happens between SIGTERM and the end of the process.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shutdown {
    /// How long queries are still taken, so that the endpoints of a Service can change first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::SHUTDOWN_DELAY.to_string()))]
    pub delay: Option<String>,

    /// How long queries that were taken may still be answered after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::SHUTDOWN_DRAIN.to_string()))]
    pub drain: Option<String>,
}
