//! One connection to a server: many questions in flight, answers in any order (RFC 7766 section 6.2.1.1).
//!
//! [`Connection`] is what everybody shares: questions are encoded straight into its outgoing octets, so that
//! all those that come up while the driver is busy leave in one write, which is one TLS record. [`drive`] is
//! the task that owns the stream. It lives on the worker that needed the connection first.
//!
//! The connection ends when the server closes it, when it sends what no server should (RFC 7766 section 8),
//! when a question times out and nothing at all has come since, and when it is idle. Whoever waits is told;
//! whether to ask again is decided in [`super::server`].

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};

use super::{
    error::ExchangeError,
    pending::{Answered, Pending, Received, Response},
};
use crate::message::{Request, request::RequestEdns, u16_at};

mod driver;

pub(super) use driver::drive;

/// The part of a connection that all its users share.
#[derive(Debug)]
pub(super) struct Connection {
    phase: watch::Sender<Phase>,
    state: Mutex<State>,
    /// Wakes the driver.
    wake: AtomicWaker,
}

/// How far a connection is.
#[derive(Clone, Debug)]
enum Phase {
    Connecting,
    Open,
    Ended(ExchangeError),
}

#[derive(Debug)]
struct State {
    pending: Pending,
    /// Frames that the driver has not taken yet.
    outgoing: Vec<u8>,
    /// Whether new questions are taken.
    is_taking: bool,
    last_used: Instant,
    last_received: Option<Instant>,
    idle_limit: Duration,
}

impl Connection {
    /// A connection that is being made.
    pub(super) fn new(now: Instant) -> Self {
        let state = State {
            pending: Pending::new(),
            outgoing: Vec::new(),
            is_taking: true,
            last_used: now,
            last_received: None,
            idle_limit: IDLE_LIMIT,
        };
        Self {
            phase: watch::Sender::new(Phase::Connecting),
            state: Mutex::new(state),
            wake: AtomicWaker::new(),
        }
    }

    /// Whether new questions may come here.
    pub(super) fn is_taking(&self) -> bool {
        self.state().is_taking
    }

    /// Waits until the connection is open, or tells why it is not.
    pub(super) async fn opened(&self) -> Result<(), ExchangeError> {
        // Nearly always it is.
        if matches!(*self.phase.borrow(), Phase::Open) {
            return Ok(());
        }
        let mut phase = self.phase.subscribe();
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Connecting)).await;
        match settled.as_deref() {
            Ok(Phase::Ended(error)) => Err(error.clone()),
            Ok(Phase::Open) => Ok(()),
            Ok(Phase::Connecting) | Err(_) => Err(ExchangeError::Closed),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        edns: Option<RequestEdns>,
        limit: Duration,
    ) -> Result<Response, ExchangeError> {
        let sent = Instant::now();
        let (id, reply) = self.submit(request, edns, sent)?;
        let mut place = Place { connection: self, id: Some(id) };
        let Ok(answer) = timeout(limit, reply).await else {
            drop(place);
            self.suspect(sent);
            return Err(ExchangeError::Timeout(limit));
        };
        place.id = None;
        answer.unwrap_or(Err(ExchangeError::Closed))
    }

    fn submit(
        &self,
        request: &Request,
        edns: Option<RequestEdns>,
        now: Instant,
    ) -> Result<(u16, Answered), ExchangeError> {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.state();
        if !state.is_taking {
            return Err(ExchangeError::Closed);
        }
        let id = state.pending.insert(request.question.clone(), reply)?;
        state.last_used = now;
        write_frame(request, id, edns, &mut state.outgoing);
        drop(state);
        self.wake.wake();
        Ok((id, receiver))
    }

    fn give_up(&self, id: u16) {
        let mut state = self.state();
        state.pending.give_up(id);
        if state.pending.is_worn() {
            drop(state);
            self.retire();
        }
    }

    /// A question timed out. If nothing has come since it was sent, the path is dead and the next question
    /// must not wait for it as well.
    fn suspect(&self, sent: Instant) {
        let is_dead = self.state().last_received.is_none_or(|received| received < sent);
        if is_dead {
            self.end(&ExchangeError::Closed);
        }
    }

    /// Takes no more questions; the connection ends with the last answer.
    pub(super) fn retire(&self) {
        self.state().is_taking = false;
        self.wake.wake();
    }

    /// Ends the connection, and every wait on it.
    pub(super) fn end(&self, error: &ExchangeError) {
        // A connection ends once; what comes after that is a consequence.
        self.phase.send_if_modified(|phase| {
            let is_first = !matches!(phase, Phase::Ended(_));
            if is_first {
                *phase = Phase::Ended(error.clone());
            }
            is_first
        });
        let mut state = self.state();
        state.is_taking = false;
        state.pending.fail_all(error);
        state.outgoing = Vec::new();
        drop(state);
        self.wake.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes whole frames from the start of `input` and returns how many octets they were.
    fn receive(&mut self, input: &[u8], now: Instant) -> Result<Progress, ExchangeError> {
        let mut progress = Progress::default();
        while let Some((frame, len)) = first_frame(input.get(progress.octets..).unwrap_or_default())
        {
            match self.pending.receive(frame)? {
                Received::Answer { keepalive: Some(value) } => self.heed_keepalive(value),
                Received::Answer { keepalive: None } => {}
                Received::Unexpected => progress.unexpected += 1,
            }
            progress.octets += len;
        }
        // Octets that never become a message are no sign of life.
        if progress.octets > 0 {
            self.last_received = Some(now);
        }
        Ok(progress)
    }

    /// The server's wish about idle connections (RFC 7828 section 3.2.2): zero asks to close.
    fn heed_keepalive(&mut self, value: u16) {
        self.is_taking &= value > 0;
        self.idle_limit = IDLE_LIMIT.min(Duration::from_millis(100) * u32::from(value));
    }

    /// Until when the connection stays open if nothing more is asked; `None` while answers are awaited.
    fn idle_until(&self) -> Option<Instant> {
        self.pending.is_idle().then(|| self.last_used + self.idle_limit)
    }
}

/// What was read at a time.
#[derive(Debug, Default)]
struct Progress {
    octets: usize,
    unexpected: u64,
}

/// The first message in a stream, and how many octets it has with its length (RFC 1035 section 4.2.2).
fn first_frame(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = 2 + usize::from(u16_at(input, 0)?);
    input.get(2..end).map(|frame| (frame, end))
}

/// A question's place in the connection; given up when the one who waits goes away.
struct Place<'c> {
    connection: &'c Connection,
    id: Option<u16>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.connection.give_up(id);
        }
    }
}

/// Appends a message behind its length (RFC 1035 section 4.2.2).
fn write_frame(request: &Request, id: u16, edns: Option<RequestEdns>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    request.encode(id, edns, out);
    let len = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX);
    crate::message::set_u16(out, start, len);
}

/// How long a connection stays open without questions: our guess. Shorter when the server says so.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
