//! What an upstream and a route are made of, as the configuration says it.
//!
//! Equal [`UpstreamSettings`] are the same identity: its connections, TLS sessions and health survive a
//! reload. Whether the settings make sense was decided by who made them.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use dnsproxy_api::defaults;
use rustls::pki_types::ServerName;

use super::pins::Pin;
use crate::message::{Name, Qtype};

/// One resolver service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamSettings {
    /// The name that routes, logs and metrics use.
    pub name: Arc<str>,
    /// Its addresses, in the order of the manifest.
    pub servers: Vec<SocketAddr>,
    /// How it is spoken to.
    pub transport: Transport,
    /// How long a new connection may take, its TLS handshake included.
    pub connect_timeout: Duration,
    /// How long an answer may take on an open connection.
    pub query_timeout: Duration,
    /// The connections to each server.
    pub connections: ConnectionLimits,
    /// What is asked to see whether a server lives, and when it is down.
    pub health_check: HealthCheck,
    /// The largest UDP message that we offer to take.
    pub udp_payload: u16,
}

/// The bounds of the connections to one server, of this process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionLimits {
    /// The most connections.
    pub max: usize,
    /// How long one may be idle.
    pub idle_timeout: Duration,
    /// Queries that may wait for an answer on one connection.
    pub max_in_flight: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max: defaults::CONNECTIONS as usize,
            idle_timeout: defaults::CONNECTION_IDLE_TIMEOUT.to_std(),
            max_in_flight: defaults::CONNECTION_IN_FLIGHT as usize,
        }
    }
}

/// What is asked to see whether a server lives, and when it is down.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// The name that is asked for.
    pub name: Name<'static>,
    /// The type that is asked for.
    pub qtype: Qtype,
    /// Failures in a row after which a server is down.
    pub failure_threshold: u32,
    /// The time between two checks of a server.
    pub interval: Duration,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            name: Name::root(),
            qtype: Qtype::NS,
            failure_threshold: defaults::FAILURE_THRESHOLD,
            interval: defaults::HEALTH_CHECK_INTERVAL.to_std(),
        }
    }
}

/// How an upstream is spoken to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    /// DNS over TLS (RFC 7858), and nothing else ever.
    Tls(TlsSettings),
    /// Plain DNS over TCP (RFC 7766).
    Tcp,
    /// Plain DNS over UDP, and over TCP when an answer is truncated.
    Udp,
}

impl Transport {
    /// The word for it in URLs: `tls`, `tcp` or `udp`.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Tls(_) => "tls",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What an upstream must prove, and how we prove ourselves to it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TlsSettings {
    /// Sent as SNI and required in the certificate. `None`: the certificate must name the IP address.
    pub server_name: Option<ServerName<'static>>,
    /// One of them must match, when there are any.
    pub pins: Vec<Pin>,
    /// What is required.
    pub authentication: Authentication,
    /// Whom we believe.
    pub roots: Roots,
    /// What we show when the server asks for it.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether queries are padded, so that their lengths tell nothing (RFC 8467).
    pub is_padded: bool,
}

/// What a server must prove. Nothing weaker exists.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Authentication {
    /// A path to a trusted authority and the right name, and a pin when there are pins.
    Pkix,
    /// A pin of the server's own certificate (RFC 7858 section 4.2).
    PinsOnly,
}

/// The authorities that are trusted.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Roots {
    /// Those of the Mozilla root program.
    Mozilla,
    /// The certificates of a PEM file.
    Pem(Arc<[u8]>),
    /// A file that cannot be read, and why. The upstream fails until it can.
    Missing(Arc<str>),
}

/// The certificate that we show to a server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ClientCertificate {
    /// PEM files: the certificate with its intermediates, and the private key.
    Pem {
        /// The certificate chain.
        chain: Arc<[u8]>,
        /// The private key.
        key: Secret,
    },
    /// A file that cannot be read, and why. The upstream fails until it can.
    Missing(Arc<str>),
}

/// Octets that no log may show.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Secret(pub Arc<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Which zones go to which upstreams.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteSettings {
    /// The name that logs use.
    pub name: Arc<str>,
    /// The zones. Without any the route is never chosen by name.
    pub zones: Vec<Name<'static>>,
    /// The names of its upstreams, in the order of the manifest.
    pub upstreams: Vec<Arc<str>>,
    /// Which of their servers is asked first.
    pub policy: Policy,
    /// The names of the upstreams to ask when none of the others can be reached.
    pub fallback: Vec<Arc<str>>,
    /// Queries that may wait for an answer at a time.
    pub max_in_flight: usize,
}

/// Which of a route's servers is asked first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// The one that answered fastest of late.
    #[default]
    Fastest,
    /// The first one, in the order of the manifest.
    Sequential,
    /// Each in its turn.
    RoundRobin,
    /// Any.
    Random,
}
