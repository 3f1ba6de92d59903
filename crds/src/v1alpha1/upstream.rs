//! `spec.upstreams`: a resolver service with one identity, reached at one or more addresses (RFC 7858, RFC 8310).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientCertificate, Source};

/// One resolver service.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// The name that routes, logs and metrics use.
    pub name: String,

    /// Where the service is reached: `IP` or `IP:port` (`[IPv6]:port`). Without a port it is 853 for
    /// TLS, else 53. They are asked in this order.
    pub addresses: Vec<String>,

    /// How it is spoken to. `UDP` asks again over TCP when an answer is truncated.
    #[serde(default)]
    pub protocol: Protocol,

    /// How the service proves who it is. Only with protocol `TLS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// How long the service may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
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

/// How an upstream is authenticated, and how the proxy authenticates itself.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The name sent as SNI and required in the certificate (RFC 8310 section 8).
    /// Absent: the certificate must name the IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,

    /// SPKI pins, `sha256/` and base64 (RFC 7858 section 4.2); one must match the server's own
    /// certificate or, with `PKIX`, a certificate of the verified path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// How long an upstream may take.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// For a new connection, the TLS handshake included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,

    /// For an answer, on an open connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}
