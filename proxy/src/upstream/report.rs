//! What `/upstreams` says: the state of each server, in JSON.

use jiff::Timestamp;
use serde::Serialize;

use tokio::time::Instant;

use super::{ExchangeError, Transport, Upstream, health::State, search::SILENCE, server::Server};

/// One upstream.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamReport {
    /// Its name.
    pub name: String,
    /// `TLS`, `TCP` or `UDP`, as in the manifest.
    pub protocol: &'static str,
    /// Its servers, in order.
    pub servers: Vec<ServerReport>,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerReport {
    /// Its address and port.
    pub address: String,
    /// Whether it can be reached, as far as is known.
    pub state: State,
    /// The word for what failed last, when it cannot be reached.
    pub reason: Option<&'static str>,
    /// What failed last, for people.
    pub message: Option<String>,
    /// Since when the state is what it is.
    pub since: String,
    /// How many connections are open.
    pub connections: i64,
    /// How many queries wait for an answer.
    pub in_flight: i64,
    /// What an answer is expected to take, as [`Fastest`](super::Policy::Fastest) compares it.
    pub latency_ms: Option<f64>,
    /// The pin that the server showed, when it is not one of those that are wanted.
    pub presented_pin: Option<String>,
    /// When the certificate that was seen last expires.
    pub certificate_expiry: Option<String>,
}

pub(super) fn of(upstream: &Upstream) -> UpstreamReport {
    let protocol = match upstream.settings.transport {
        Transport::Tls(_) => "TLS",
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let servers = upstream.servers.iter().map(|server| of_server(server)).collect();
    UpstreamReport { name: upstream.settings.name.to_string(), protocol, servers }
}

fn of_server(server: &Server) -> ServerReport {
    let health = server.health().snapshot();
    let error = health.error.as_ref();
    let suspected = (health.state == State::Suspect).then_some(
        "nothing came for longer than usual, or connections were closed: whether it is alive is being found out",
    );
    let (series, latency) = (server.series(), server.latency());
    ServerReport {
        address: server.address().to_string(),
        state: health.state,
        reason: error.map(ExchangeError::reason).or_else(|| suspected.map(|_| SILENCE)),
        message: error.map(ToString::to_string).or_else(|| suspected.map(str::to_owned)),
        since: to_seconds(health.since),
        connections: series.connections.get(),
        in_flight: series.in_flight.get(),
        latency_ms: latency.expected(Instant::now()).map(|time| time.as_secs_f64() * 1e3),
        presented_pin: error.and_then(ExchangeError::presented_pin),
        certificate_expiry: series.not_after().map(to_seconds),
    }
}

/// RFC 3339, without fractions of a second.
fn to_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
