//! A server that was asked one question, and what is considered next while it has not answered.
//!
//! What is considered, and when, is said here: whether the answer is late, then whether the server is silent, then
//! whether its time is over. What becomes of the question is decided in [`super`].

use std::{mem, sync::Arc};

use tokio::time::Instant;

use super::{Exchange, Server};

/// A server that was asked.
pub(super) struct Try<'s> {
    pub(super) server: &'s Arc<Server>,
    /// `None` once it has ended.
    pub(super) exchange: Option<Exchange>,
    pub(super) started: Instant,
    pub(super) is_hedge: bool,
    pub(super) next: Step,
    /// When its silence was looked at last.
    looked: Instant,
    /// Whether its silence is being looked into.
    is_looked_after: bool,
    /// Whether the question has gone to another server because of its silence.
    has_moved_on: bool,
    /// Whether it gave nothing where it could: silence, or the end of the connection.
    pub(super) gave_nothing: bool,
    /// When its time was over.
    pub(super) timed_out: Option<Instant>,
    /// When its connection is looked at once more, while it stays.
    pub(super) probe_at: Option<Instant>,
    /// Whether what it gave was no answer.
    pub(super) is_garbled: bool,
}

/// What is considered next while a server has not answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Whether its answer is late.
    Hedge,
    /// Whether it is silent.
    Suspect,
    /// Whether its time is over.
    TimeOut,
    /// Nothing: its time is over, but it is the last hope. It has until the deadline.
    Stay,
}

impl<'s> Try<'s> {
    pub(super) fn new(
        server: &'s Arc<Server>,
        exchange: Exchange,
        next: Step,
        is_hedge: bool,
        now: Instant,
    ) -> Self {
        Self {
            server,
            exchange: Some(exchange),
            started: now,
            is_hedge,
            next,
            looked: now,
            is_looked_after: false,
            has_moved_on: false,
            gave_nothing: false,
            timed_out: None,
            probe_at: None,
            is_garbled: false,
        }
    }

    /// When to look again; `None` when it has ended.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let exchange = self.exchange.as_ref()?;
        let look = match self.next {
            Step::Hedge => exchange.started() + self.server.hedge_after().unwrap_or_default(),
            // Of a deaf one it says nothing that something comes: that is for probes.
            Step::Suspect => {
                let silent_since = match self.server.is_deaf() {
                    true => self.started,
                    false => exchange.silent_since(),
                };
                silent_since.max(self.looked) + self.server.patience()
            }
            Step::TimeOut => exchange.due(),
            Step::Stay => return self.probe_at,
        };
        // Its time is never over sooner, and to ask exactly when it is takes a lock.
        let is_in_time = look <= self.started + self.server.limits().query;
        Some(if is_in_time { look } else { look.min(exchange.due()) })
    }

    /// Whether it has had its time.
    pub(super) fn is_over(&self) -> bool {
        self.exchange.is_none() || self.next == Step::Stay
    }

    /// Whether its time is over, whatever else might be considered.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.due() <= now)
    }

    /// Heeds its silence. Tells whether the question goes to another server because of it, which it does once.
    pub(super) fn heed_silence(&mut self, now: Instant) -> bool {
        // A way that is still being made is looked at again.
        self.looked = now;
        if self.is_looked_after {
            self.leave(now);
        } else if self.suspect() {
            self.next = Step::TimeOut;
            self.is_looked_after = true;
            self.gave_nothing = true;
        }
        !mem::replace(&mut self.has_moved_on, true)
    }

    /// The server is looked after already, and this connection is silent as well: it may be because of who has waited there
    /// longer. Who has waited longest stays, since it may be a slow name.
    fn leave(&mut self, now: Instant) {
        let has_left = self.exchange.as_mut().is_some_and(|exchange| exchange.leave(now));
        if !has_left {
            self.next = Step::TimeOut;
            self.suspect();
        }
    }

    /// The question is on another connection now, which may be silent as well. Tells whether it goes to another server, since
    /// this one has had as long as any silence.
    pub(super) fn heed_move(&mut self, now: Instant) -> bool {
        if self.next == Step::TimeOut {
            self.next = Step::Suspect;
            self.looked = now;
        }
        let has_waited = self.started + self.server.patience() <= now;
        if !has_waited || mem::replace(&mut self.has_moved_on, true) {
            return false;
        }
        self.gave_nothing = true;
        self.server.probe();
        true
    }

    /// Nothing at all came for longer than usual: the server is looked after, if that is its to explain.
    fn suspect(&self) -> bool {
        let is_its_own = self.exchange.as_ref().is_some_and(Exchange::suspect);
        if is_its_own {
            self.server.suspect();
            self.server.probe();
        }
        is_its_own
    }
}
