//! Why an exchange with a server failed, in words for people and in a closed set of labels for metrics.
//!
//! An error is shared by all queries that it ends, so it is cheap to clone. What a client gets to see of
//! it is [`super::Failure`].

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use nix::errno::Errno;

use crate::message::Rcode;

mod handshake;

pub use handshake::HandshakeError;

/// Why one exchange with one server ended without a usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing listens there.
    #[error("connection refused: nothing serves there, or a firewall rejects it")]
    Refused,
    /// The network does not lead there.
    #[error("cannot connect: {0}; is there a route to the address?")]
    Unreachable(Arc<io::Error>),
    /// TCP or TLS took too long to be set up.
    #[error(
        "no connection within {0:?}: is the address right, or does a firewall drop what is sent there?"
    )]
    ConnectTimeout(Duration),
    /// The server is not who it should be, or speaks no TLS that we take.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The connection ended with the query outstanding.
    #[error(
        "the connection was closed before the answer came: see the server's log and its limits"
    )]
    Closed,
    /// The same, with others outstanding as well, of which none had waited longer.
    #[error(
        "the connection was closed before this answer and others came: see the server's log and its limits"
    )]
    ClosedFirst,
    /// The same, and others were asked before on it.
    #[error(
        "the connection was closed before the answer came, while others were awaited: see the server's log and its limits"
    )]
    ClosedAround,
    /// The same, and it was not even sent.
    #[error(
        "the connection was closed before the query was sent: see the server's log and its limits"
    )]
    ClosedUnsent,
    /// The answer took too long.
    #[error("no answer within {0:?}: the server, or who it asks, is slow or gone")]
    Timeout(Duration),
    /// The server answered this ID with something that was not asked.
    #[error(
        "the answer is for another question: the server mixes answers up, or somebody forges them"
    )]
    Mismatch,
    /// What came is no DNS message.
    #[error("the answer is malformed: is this a DNS server?")]
    Malformed,
    /// TC over a stream, where nothing needs to be cut, or nothing over TCP after TC in a datagram.
    #[error("the answer was truncated, and none that is whole is to be had over TCP")]
    Truncated,
    /// An rcode between the server and us that is no answer to the question (RFC 6891 section 6.1.3).
    #[error("the answer is {0}")]
    Rcode(Rcode),
    /// This machine could not even try.
    #[error("no socket for the query: {0}; this machine is short of files, memory or ports")]
    Local(Arc<io::Error>),
    /// Our own bound on what one server is asked at a time.
    #[error("connections.maxInFlight: {0} queries wait on each of its connections")]
    InFlight(usize),
    /// A question to the server came back to us.
    #[error(
        "forwarding loop: what this server is asked comes back to this proxy; change where it forwards to"
    )]
    Loop,
    /// A file that the TLS settings name is missing or unusable.
    #[error(transparent)]
    Material(#[from] MaterialError),
}

impl ExchangeError {
    /// What ended an open connection. A server may say only then that it wants a certificate of ours
    /// (RFC 8446 section 4.6.2).
    pub(super) fn broken(error: io::Error) -> Self {
        match HandshakeError::from(error) {
            refused @ HandshakeError::ClientCertificate(_) => Self::Handshake(refused),
            _ => Self::Closed,
        }
    }

    /// The word for it in metrics and reports.
    ///
    /// A closed set: no address, name or message of the system may become a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused => "connection_refused",
            Self::Unreachable(_) => "unreachable",
            Self::ConnectTimeout(_) => "connect_timeout",
            Self::Handshake(error) => error.reason(),
            Self::Closed | Self::ClosedFirst | Self::ClosedAround | Self::ClosedUnsent => "closed",
            Self::Timeout(_) => "timeout",
            Self::Mismatch => "mismatch",
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::Rcode(_) => "rcode",
            Self::Local(_) => "local",
            Self::InFlight(_) => "in_flight_limit",
            Self::Loop => "forwarding_loop",
            Self::Material(_) => "missing_material",
        }
    }

    /// All words that [`Self::reason`] can return.
    pub const REASONS: [&'static str; 22] = [
        "connection_refused",
        "unreachable",
        "connect_timeout",
        "pin_mismatch",
        "name_mismatch",
        "expired",
        "not_yet_valid",
        "untrusted",
        "bad_certificate",
        "client_certificate",
        "handshake_broken",
        "protocol",
        "closed",
        "timeout",
        "mismatch",
        "malformed",
        "truncated",
        "rcode",
        "local",
        "in_flight_limit",
        "forwarding_loop",
        "missing_material",
    ];

    /// The pin that was shown instead of a wanted one.
    pub(super) fn presented_pin(&self) -> Option<String> {
        match self {
            Self::Handshake(HandshakeError::PinMismatch { presented }) => {
                Some(presented.to_string())
            }
            _ => None,
        }
    }

    /// Whether the server or the way to it failed, so that a fallback may be asked.
    pub fn is_transport(&self) -> bool {
        !matches!(self, Self::Local(_) | Self::InFlight(_) | Self::Rcode(_))
    }

    /// Whether nothing speaks against the way to the server and its identity.
    pub fn was_reached(&self) -> bool {
        match self {
            Self::Closed | Self::ClosedFirst | Self::ClosedAround => true,
            Self::ClosedUnsent | Self::Timeout(_) => true,
            Self::Mismatch | Self::Malformed | Self::Truncated => true,
            Self::Rcode(_) | Self::Local(_) | Self::InFlight(_) | Self::Loop => true,
            Self::Refused | Self::Unreachable(_) | Self::ConnectTimeout(_) => false,
            Self::Handshake(_) | Self::Material(_) => false,
        }
    }

    /// Whether no connection was to be had, which says nothing about who the server is.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused | Self::Unreachable(_) | Self::ConnectTimeout(_) => true,
            Self::Handshake(error) => matches!(error, HandshakeError::Broken(_)),
            _ => false,
        }
    }

    /// Of a failed attempt to connect to this address.
    pub(super) fn of_connecting(error: io::Error, to: IpAddr) -> Self {
        match error.kind() {
            // A host without IPv6 has no address to come from. It also means that there is no port left, which is much rarer.
            io::ErrorKind::AddrNotAvailable if to.is_ipv6() => Self::Unreachable(Arc::new(error)),
            _ => error.into(),
        }
    }

    /// Whether something came that is no answer to the question.
    pub(super) fn is_garbled(&self) -> bool {
        matches!(self, Self::Malformed | Self::Mismatch)
    }

    /// Whether the server has closed the connection that the question was on.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed | Self::ClosedFirst | Self::ClosedAround | Self::ClosedUnsent)
    }

    /// Whether an open connection ended under the question, or what came on it was no answer.
    pub(super) fn is_end_of_connection(&self) -> bool {
        self.is_closed() || self.is_garbled()
    }

    /// Whether the server should be asked after all others for a while. A timeout does not say so by
    /// itself: many names are slow.
    pub(super) fn is_outage(&self) -> bool {
        !self.was_reached() || matches!(self, Self::Closed | Self::ClosedFirst | Self::ClosedAround)
    }
}

/// A failed attempt to connect or to send.
impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        let is_local =
            error.raw_os_error().is_some_and(|errno| LOCAL.contains(&Errno::from_raw(errno)));
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            _ if is_local => Self::Local(Arc::new(error)),
            _ => Self::Unreachable(Arc::new(error)),
        }
    }
}

/// Out of files, memory or ports.
const LOCAL: [Errno; 5] =
    [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EADDRNOTAVAIL];

/// Why a file that the TLS settings name cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MaterialError {
    /// It cannot be read.
    #[error("missing: {0}")]
    Missing(Arc<str>),
    /// It holds no certificate.
    #[error("tls.ca holds no usable certificate in PEM")]
    NoAuthority,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// It cannot be used as a client certificate.
    #[error("tls.clientCertificate is unusable: {0}")]
    ClientCertificate(Arc<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each; a new variant does not compile until it has its place here.
    fn each() -> Vec<ExchangeError> {
        let io = || Arc::new(io::Error::other("x"));
        let limit = Duration::from_secs(1);
        let all = vec![
            ExchangeError::Refused,
            ExchangeError::Unreachable(io()),
            ExchangeError::ConnectTimeout(limit),
            ExchangeError::Handshake(HandshakeError::Untrusted),
            ExchangeError::Handshake(HandshakeError::Broken(io())),
            ExchangeError::Closed,
            ExchangeError::ClosedFirst,
            ExchangeError::ClosedAround,
            ExchangeError::ClosedUnsent,
            ExchangeError::Timeout(limit),
            ExchangeError::Mismatch,
            ExchangeError::Malformed,
            ExchangeError::Truncated,
            ExchangeError::Rcode(Rcode::BADVERS),
            ExchangeError::Local(io()),
            ExchangeError::InFlight(512),
            ExchangeError::Loop,
            ExchangeError::Material(MaterialError::NoAuthority),
        ];
        for error in &all {
            match error {
                ExchangeError::Refused
                | ExchangeError::Unreachable(_)
                | ExchangeError::ConnectTimeout(_)
                | ExchangeError::Handshake(_)
                | ExchangeError::Closed
                | ExchangeError::ClosedFirst
                | ExchangeError::ClosedAround
                | ExchangeError::ClosedUnsent
                | ExchangeError::Timeout(_)
                | ExchangeError::Mismatch
                | ExchangeError::Malformed
                | ExchangeError::Truncated
                | ExchangeError::Rcode(_)
                | ExchangeError::Local(_)
                | ExchangeError::InFlight(_)
                | ExchangeError::Loop
                | ExchangeError::Material(_) => {}
            }
        }
        all
    }

    /// Where IPv6 is switched off the kernel says so; `LOCAL` would be no failure of a server, and no reason for the fallback.
    #[test]
    fn an_ipv6_server_is_unreachable_from_a_host_without_ipv6() {
        let of = |to: &str| {
            let error = io::Error::from_raw_os_error(Errno::EADDRNOTAVAIL as i32);
            ExchangeError::of_connecting(error, to.parse().unwrap())
        };

        assert!(matches!(of("2001:db8::53"), ExchangeError::Unreachable(_)));
        assert!(matches!(of("192.0.2.53"), ExchangeError::Local(_)), "no port is left");
    }

    #[test]
    fn every_reason_is_one_that_metrics_know() {
        for error in each() {
            assert!(ExchangeError::REASONS.contains(&error.reason()), "{error}");
        }
    }
}
