//! What a client is told when no server of its route answered.

use std::{net::SocketAddr, sync::Arc};

use super::error::ExchangeError;
use crate::message::edns::ExtendedError;

/// Why no server of a route answered.
#[derive(Debug)]
pub struct Failure {
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
}

impl Failure {
    /// What a client is told (RFC 8914 sections 4.23 and 4.24).
    pub fn ede(&self) -> ExtendedError {
        let Some(Attempt { upstream, server, error }) = self.telling() else {
            return ExtendedError::new(ExtendedError::OTHER, "limits.queryDeadline is over");
        };
        let code = match error {
            ExchangeError::Local(_) | ExchangeError::InFlight(_) => ExtendedError::OTHER,
            reached if reached.was_reached() => ExtendedError::NETWORK_ERROR,
            _ => ExtendedError::NO_REACHABLE_AUTHORITY,
        };
        ExtendedError::new(code, format!("upstream {upstream} {server}: {error}"))
    }

    /// Whether a bound of ours is the reason.
    pub fn is_limit(&self) -> bool {
        self.telling().is_some_and(|attempt| matches!(attempt.error, ExchangeError::InFlight(_)))
    }

    /// The word for the reason in logs.
    pub fn reason(&self) -> &'static str {
        self.telling().map_or("deadline", |attempt| attempt.error.reason())
    }

    /// The failure that says most: a server that is not who it should be, else the first one.
    pub fn telling(&self) -> Option<&Attempt> {
        let is_identity = |attempt: &&Attempt| matches!(attempt.error, ExchangeError::Handshake(_));
        self.attempts.iter().find(is_identity).or_else(|| self.attempts.first())
    }
}

/// A failed try of a query: who was asked, and what went wrong.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The server's address.
    pub server: SocketAddr,
    /// What went wrong.
    pub error: ExchangeError,
}
