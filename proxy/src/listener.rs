//! Where queries come in: what the listeners of all transports share.
//!
//! Sockets are opened by [`bind`], one per worker and address, so that the kernel spreads the clients over
//! the workers; [`udp`] and [`tcp`] serve them. What a query gets is decided in [`crate::pipeline`].

use std::{fmt, io, net::IpAddr};

use nix::libc;

pub mod bind;
pub mod metrics;
pub mod tcp;
pub mod udp;

mod holdings;
mod registry;

pub use holdings::limit as holdings_limit;
pub use metrics::ListenerMetrics;
pub use registry::Connections;

/// Who asks, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Client {
    /// The client's address; an IPv4 client of a dual-stack socket has its IPv4 address.
    pub address: IpAddr,
    /// How the query came in.
    pub transport: Transport,
}

/// How a query came in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

impl Transport {
    /// Every transport, in the order of [`Self::index`].
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// The word in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }

    /// The place in [`Self::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Udp => 0,
            Self::Tcp => 1,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What an error of `accept` or `recv` means for the listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// It concerns one client or one moment: go on.
    Transient,
    /// The process is short of something: wait a little, then go on.
    Exhausted,
    /// The socket is unusable.
    Fatal,
}

impl Trouble {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT) => Self::Fatal,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Self::Exhausted,
            _ => Self::Transient,
        }
    }
}
