//! A question that was asked on a connection, for the one who waits.

use std::{
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use super::{Connection, state::Phase};
use crate::upstream::{
    error::ExchangeError,
    pending::{Answered, Response},
};

/// A question on its way; given up when this is dropped.
#[derive(Debug)]
pub(in crate::upstream) struct Asked {
    pub(super) connection: Arc<Connection>,
    /// `None` once it was answered.
    pub(super) id: Option<u16>,
    pub(super) sent: Instant,
    pub(super) answer: Answered,
}

impl Asked {
    /// Waits for the answer.
    pub(in crate::upstream) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, ExchangeError>> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        self.id = None;
        Poll::Ready(answer.unwrap_or(Err(ExchangeError::Closed)))
    }

    /// The connection that it was asked on.
    pub(in crate::upstream) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether something has come on the connection since it was asked.
    pub(in crate::upstream) fn is_heard_since(&self) -> bool {
        self.connection.state().last_received.is_some_and(|received| received > self.sent)
    }

    /// Whether the connection has shown since it was asked that it is alive, be it to a check.
    pub(in crate::upstream) fn is_alive_since(&self) -> bool {
        self.connection.state().last_alive.is_some_and(|alive| alive > self.sent)
    }

    /// Whether the server was asked something before on the connection that it has not answered.
    pub(in crate::upstream) fn is_behind_another(&self) -> bool {
        self.id.is_some_and(|id| self.connection.state().pending.has_older_than(id))
    }

    /// Whether the server has others to answer on the connection: where the answer to one of them sticks, none comes.
    pub(in crate::upstream) fn is_among_others(&self) -> bool {
        self.connection.state().pending.len() > 1
    }

    /// Since when nothing has come on the connection: at the earliest since it was asked, and since it was open.
    pub(in crate::upstream) fn silent_since(&self) -> Instant {
        let state = self.connection.state();
        let open = match state.phase {
            Phase::Open { since } => Some(since),
            Phase::Connecting | Phase::Ended => None,
        };
        open.into_iter().chain(state.last_received).fold(self.sent, Instant::max)
    }

    /// From when on the server could answer: from when the connection is open. `None` while it is not.
    pub(in crate::upstream) fn could_be_answered_from(&self) -> Option<Instant> {
        match self.connection.state().phase {
            Phase::Open { since } => Some(since.max(self.sent)),
            Phase::Connecting | Phase::Ended => None,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.connection.give_up(id);
        }
    }
}
