//! One connection to a server: many questions in flight, answers in any order (RFC 7766 section 6.2.1.1).
//!
//! [`Connection`] is what everybody shares: questions are encoded straight into its outgoing octets, so that
//! all those that come up while the driver is busy leave in one write, which is one TLS record. They are taken
//! while the connection is still being made, and leave once the server is known to be the right one. [`drive`]
//! is the task that owns the stream.
//!
//! The connection ends when the server closes it, when it sends what no server should (RFC 7766 section 8),
//! and when it is idle or old. One that is silent for too long becomes suspect: it gets no new questions unless
//! it says something after all. With a server that closes connections after so many answers, questions beyond are held
//! back. Whoever waits is told; whether to ask again is decided in [`super::exchange`].

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{sync::oneshot, time::Instant};

use super::{error::ExchangeError, random, settings::ConnectionLimits};
use crate::message::{Request, request::RequestEdns};

mod asked;
mod driver;
mod ration;
mod state;
mod unread;

pub(super) use asked::Asked;
pub(super) use driver::drive;
pub(super) use ration::End;

use state::{Phase, State};

/// The part of a connection that all its users share.
#[derive(Debug)]
pub(super) struct Connection {
    state: Mutex<State>,
    /// Wakes the driver.
    wake: AtomicWaker,
    begun: Instant,
    /// When it should be replaced.
    expires: Instant,
}

/// What a connection is to somebody who looks for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Load {
    /// Questions that wait.
    pub(super) in_flight: usize,
    /// Whether some of them are held back.
    pub(super) is_holding: bool,
    pub(super) is_open: bool,
    /// How long nothing has come while the server has questions, where one of them may be the reason.
    pub(super) silence: Duration,
    /// For how long one question has held up others at most.
    pub(super) held_up_for: Duration,
    /// How long several questions have waited that the server seems not to have read, where it answers in any order.
    pub(super) unread_for: Duration,
    /// Whether it is about to be replaced.
    pub(super) is_old: bool,
}

impl Connection {
    /// A connection that is being made, and that the server is expected to close after so many answers, if at all.
    pub(super) fn new(limits: &ConnectionLimits, expected: Option<usize>, now: Instant) -> Self {
        let state = State::new(limits, expected, now);
        let age = OLD.mul_f64(0.75 + random::fraction() / 2.0);
        Self { state: Mutex::new(state), wake: AtomicWaker::new(), begun: now, expires: now + age }
    }

    /// Asks; what comes of it is told to the [`Asked`].
    pub(super) fn ask(
        self: &Arc<Self>,
        request: &Arc<Request>,
        edns: Option<RequestEdns>,
        now: Instant,
    ) -> Result<Asked, ExchangeError> {
        let (reply, answer) = oneshot::channel();
        let id = self.state().ask(request, edns, reply, now)?;
        self.wake.wake();
        Ok(Asked { connection: Arc::clone(self), id: Some(id), sent: now, answer })
    }

    /// Asks whether it is alive: to those who wait, that an answer comes says nothing.
    pub(super) fn check(
        self: &Arc<Self>,
        request: &Arc<Request>,
        edns: Option<RequestEdns>,
        now: Instant,
    ) -> Result<Asked, ExchangeError> {
        let asked = self.ask(request, edns, now)?;
        self.state().note_check(asked.id, now);
        Ok(asked)
    }

    /// What it is to somebody who looks for a connection; `None` when it takes no more questions.
    pub(super) fn load(&self, now: Instant) -> Option<Load> {
        let state = self.state();
        let is_usable = state.is_taking && !state.is_suspect;
        is_usable.then(|| Load {
            in_flight: state.pending.live(),
            is_holding: state.is_holding(),
            is_open: matches!(state.phase, Phase::Open { .. }),
            silence: state.silence(now),
            held_up_for: state.held_up_for(),
            unread_for: state.unread_for(now),
            is_old: self.expires <= now,
        })
    }

    /// Whether it is neither open nor being made.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state().phase, Phase::Ended)
    }

    /// Whether it is being made.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state().phase, Phase::Connecting)
    }

    /// Whether it is open, waits for nothing, and nothing was asked for so long; or for half of what either side
    /// lets it be idle, when that is less. Not where that is so short that it is meant to be closed.
    pub(super) fn is_quiet_for(&self, interval: Duration, now: Instant) -> bool {
        let state = self.state();
        matches!(state.phase, Phase::Open { .. })
            && state.pending.is_idle()
            && state.idle_limit >= LEAST_IDLE
            && state.last_used + interval.min(state.idle_limit / 2) <= now
    }

    /// Whether it takes questions, or would if it were not suspect.
    #[cfg(test)]
    pub(super) fn is_taking(&self) -> bool {
        self.state().is_taking
    }

    /// Whether it takes questions, or would if it were not suspect and somebody waited; or has some left where the server has
    /// asked for its end.
    pub(super) fn is_in_use(&self) -> bool {
        self.state().is_in_use()
    }

    /// Whether it was silent for too long.
    pub(super) fn is_suspect(&self) -> bool {
        let state = self.state();
        state.is_taking && state.is_suspect
    }

    /// Whether it was when it ended.
    pub(super) fn was_suspect(&self) -> bool {
        self.state().is_suspect
    }

    /// Whether nothing has come for so long since the server was asked, or nobody waits.
    pub(super) fn is_silent_for(&self, patience: Duration, now: Instant) -> bool {
        let state = self.state();
        state.pending.is_idle() || state.silence(now) >= patience
    }

    /// Whether nothing has come for so long while somebody waits, nobody suspects it, and it was not checked for `pause`.
    pub(super) fn is_due_for_check(&self, limit: Duration, pause: Duration, now: Instant) -> bool {
        self.state().is_due_for_check(limit, pause, now)
    }

    /// Nothing came for longer than usual: no new questions until something does. Tells whether it is open;
    /// one that is still being made has a limit of its own.
    pub(super) fn suspect(&self) -> bool {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Open { .. }) {
            return false;
        }
        state.suspect();
        drop(state);
        self.wake.wake();
        true
    }

    /// What was asked first of what has no answer, if somebody waits for that.
    pub(super) fn oldest_request(&self) -> Option<Arc<Request>> {
        self.state().pending.oldest_request().cloned()
    }

    /// Whether it was begun then or later.
    pub(super) fn is_begun_since(&self, then: Instant) -> bool {
        self.begun >= then
    }

    /// Whether it was begun less than so long ago.
    pub(super) fn is_younger_than(&self, age: Duration, now: Instant) -> bool {
        now < self.begun + age
    }

    /// Whether it has been in the making for so long.
    pub(super) fn is_slow_to_open(&self, limit: Duration, now: Instant) -> bool {
        self.is_connecting() && self.begun + limit <= now
    }

    /// Takes no more questions; the connection ends with the last answer.
    pub(super) fn retire(&self) {
        self.state().is_taking = false;
        self.wake.wake();
    }

    /// The same where nothing has come for too long, and nobody waits for it any more.
    pub(super) fn retire_if_useless(&self) {
        if self.state().is_useless() {
            self.retire();
        }
    }

    /// Takes questions again though the server has asked for its end, until it does so once more. Tells whether it does: it has
    /// to wait for answers anyhow, and room for more.
    pub(super) fn take_once_more(&self, max_in_flight: usize, is_suspect: bool) -> bool {
        let mut state = self.state();
        let is_usable = state.is_left_to_us() && !state.is_taking && state.is_suspect == is_suspect;
        let may_take = is_usable && state.pending.live() < max_in_flight;
        state.is_taking |= may_take;
        may_take
    }

    /// Ends every wait on it but that for the question that has waited longest.
    pub(super) fn end_others(&self, error: &ExchangeError) {
        let mut state = self.state();
        state.pending.fail_others(error);
        let is_worn = state.pending.is_worn();
        drop(state);
        if is_worn {
            self.retire();
        }
    }

    /// Ends the connection, on which nothing comes, and every wait on it. The first question may be the reason, so it asks last, and
    /// apart: the others do not have to wait behind it again.
    pub(super) fn replace(&self) {
        self.state().pending.put_first_last();
        self.end(&ExchangeError::ClosedAround);
    }

    /// Ends the connection, and every wait on it.
    pub(super) fn end(&self, error: &ExchangeError) {
        self.state().end(error);
        self.wake.wake();
    }

    /// Whether it may be idle for so short a time that it is meant to be closed; `None` where the server has said nothing at all.
    pub(super) fn is_brief(&self) -> Option<bool> {
        self.state().is_brief()
    }

    /// Whether the server has answered out of order on it.
    pub(super) fn is_unordered(&self) -> bool {
        self.state().pending.is_unordered()
    }

    /// Whether so many answers are outstanding that it is replaced, and stays open for those who wait.
    #[cfg(test)]
    pub(super) fn is_worn(&self) -> bool {
        self.state().pending.is_worn()
    }

    /// How many questions wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().pending.live()
    }

    /// Whether the server has answered as much on it as on the one before, so that it was about to close it.
    pub(super) fn has_brought_all(&self) -> bool {
        self.state().ration.is_met()
    }

    /// What its end says about how many answers the server gives on a connection.
    pub(super) fn kind_of_end(&self) -> End {
        self.state().kind_of_end()
    }

    /// How long it had been open and nothing had happened on it when it ended.
    pub(super) fn idle_at_end(&self) -> Option<Duration> {
        self.state().idle_at_end
    }

    fn give_up(&self, id: u16) {
        let mut state = self.state();
        state.give_up(id);
        // One that takes no more questions ends with its last one.
        let is_over = state.pending.is_worn() || (!state.is_taking && state.pending.is_idle());
        let is_waiting_to_leave = !state.outgoing.is_empty();
        drop(state);
        if is_over {
            self.retire();
        } else if is_waiting_to_leave {
            self.wake.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At about this age a connection is replaced, so that load spreads again over the servers behind one address
/// and a renewed certificate is seen. Our guess; each has its own time, lest all are replaced at once.
const OLD: Duration = Duration::from_secs(3600);

/// To keep one that is closed sooner would take more questions than to make another one takes packets: our guess.
pub(super) const LEAST_IDLE: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests;
