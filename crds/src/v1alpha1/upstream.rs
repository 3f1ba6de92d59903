//! `spec.upstreams`: a resolver service with one identity, reached at one or more addresses (RFC 7858, RFC 8310).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientCertificate, Source};
use crate::{
    bounds, defaults,
    units::{Duration, Name, Pin, RecordType, ServerName, Zone},
};

/// One resolver service.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || !has(self.protocol) || self.protocol == 'TLS'")
        .message("tls has no meaning for a plain protocol: leave it out, or use protocol TLS")
)]
pub struct Upstream {
    /// The name that routes, logs and metrics use.
    #[schemars(length(min = 1, max = bounds::NAME), pattern(Name::PATTERN))]
    pub name: String,

    /// Where the service is reached: `IP` or `IP:port` (`[IPv6]:port`). Without a port it is 853 for
    /// TLS, else 53. A route's `policy` says which one is asked first.
    #[schemars(length(min = 1, max = bounds::ADDRESSES), inner(length(min = 1, max = bounds::ADDRESS)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub addresses: Vec<String>,

    /// How it is spoken to. `UDP` asks again over TCP when an answer is truncated.
    #[serde(default)]
    pub protocol: Protocol,

    /// How the service proves who it is. Only with protocol `TLS`. Absent: by a certificate for the IP
    /// address, from an authority of the Mozilla roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// How many connections each server gets, and how much they carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,

    /// How long the service may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,

    /// What is asked to see whether a server lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
}

/// The transport between the proxy and an upstream.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Protocol {
    /// DNS over TLS (RFC 7858). Never falls back to plain text.
    #[default]
    TLS,
    /// Plain DNS over UDP, and over TCP when an answer is truncated.
    UDP,
    /// Plain DNS over TCP (RFC 7766).
    TCP,
}

impl Protocol {
    /// The port of an address that has none (RFC 7858 §3.1, RFC 1035 §4.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::TLS => 853,
            Self::UDP | Self::TCP => 53,
        }
    }
}

/// How an upstream is authenticated, and how the proxy authenticates itself.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.authentication) || self.authentication != 'PinsOnly' || (has(self.pins) && size(self.pins) > 0)"
    )
    .message("authentication PinsOnly needs pins"),
    validation = Rule::new(
        "!has(self.authentication) || self.authentication != 'PinsOnly' || !has(self.ca)"
    )
    .message("ca has no meaning for authentication PinsOnly")
)]
pub struct Tls {
    /// The name sent as SNI and required in the certificate (RFC 8310 section 8).
    /// Absent: the certificate must name the IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = ServerName::MAX_LENGTH))]
    pub server_name: Option<String>,

    /// SPKI pins, `sha256/` and base64 (RFC 7858 section 4.2); one must match the server's own
    /// certificate or, with `PKIX`, a certificate of the verified path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = bounds::PINS),
        inner(length(min = 1, max = bounds::PIN), pattern(Pin::PATTERN))
    )]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub pins: Option<Vec<String>>,

    /// What is required: `PKIX` a valid certificate path (and a pin, when pins are given), `PinsOnly`
    /// a pin of the server's own certificate and nothing else.
    #[serde(default)]
    pub authentication: Authentication,

    /// The certificate authorities that are trusted, as PEM. Absent: the Mozilla roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Source>,

    /// The certificate that the proxy shows to the upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,

    /// Whether queries are padded to blocks of 128 octets, so that their lengths tell nothing (RFC 8467).
    #[serde(default)]
    pub padding: Padding,
}

/// What a TLS upstream must prove. Nothing weaker exists.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Authentication {
    /// A valid path to a trusted authority and the right name; pins, when given, are required as well.
    #[default]
    PKIX,
    /// A pin of the server's own certificate, nothing else (RFC 7858 section 4.2).
    PinsOnly,
}

/// Whether queries are padded.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Padding {
    /// To blocks of 128 octets (RFC 8467 section 4.1).
    #[default]
    Enabled,
    /// Each query shows its length.
    Disabled,
}

/// The connections to each server of an upstream, of one process. With protocol `UDP` they are those for
/// truncated answers.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// The most connections to one server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::CONNECTIONS), extend("default" = defaults::CONNECTIONS))]
    pub max: Option<u32>,

    /// How long one may be idle before it is closed; sooner when the server says so (RFC 7828). For a minute after a query
    /// connections are kept open by questions of our own, but for idle times below 1.5 s: such ones close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::CONNECTION_IDLE_TIMEOUT.to_string()))]
    pub idle_timeout: Option<String>,

    /// Queries that may wait for an answer on one connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::CONNECTION_IN_FLIGHT), extend("default" = defaults::CONNECTION_IN_FLIGHT))]
    pub max_in_flight: Option<u32>,
}

/// How long an upstream may take.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// For a new connection, the TLS handshake included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::CONNECT_TIMEOUT.to_string()))]
    pub connect: Option<String>,

    /// For an answer, on an open connection. Where no other server is left and this one is alive, it is waited for until
    /// `limits.queryDeadline`, as long as less than half of all places are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::QUERY_TIMEOUT.to_string()))]
    pub query: Option<String>,
}

/// What is asked to see whether a server lives, and when it counts as down.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// The name that is asked for. Any answer is a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = Zone::MAX_LENGTH), extend("default" = defaults::HEALTH_CHECK_NAME))]
    pub name: Option<String>,

    /// The type that is asked for: a mnemonic, or `TYPE` and a number (RFC 3597 section 5).
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = RecordType::MAX_LENGTH), pattern(RecordType::PATTERN), extend("default" = defaults::HEALTH_CHECK_TYPE))]
    pub type_: Option<String>,

    /// Failures in a row after which a server is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::FAILURE_THRESHOLD), extend("default" = defaults::FAILURE_THRESHOLD))]
    pub failure_threshold: Option<u32>,

    /// The time between two checks of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::DURATION), pattern(Duration::PATTERN), extend("default" = defaults::HEALTH_CHECK_INTERVAL.to_string()))]
    pub interval: Option<String>,
}
