//! What is known of a server: whether it answers, and when one that does not is tried again.
//!
//! Only the transport counts: whoever answers is healthy, whatever the answer. A server that cannot be
//! connected to, and has no connection left, is unhealthy at once; a silence has to repeat itself, since names are
//! slow, too. Then the server is left alone for a while that doubles with each further failure. Nothing latches: the
//! first answer clears everything, and a server that is the last hope is tried all the same, a few times a second.
//!
//! One that answers probes alone is healthy, and `deaf`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::{error::ExchangeError, random};

mod deaf;

/// Whether a server answers, as far as is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum State {
    /// It was not tried yet.
    Unknown,
    /// It was reached.
    Healthy,
    /// It has been silent for too long; whether it lives is being found out.
    Suspect,
    /// It cannot be reached, or does not answer.
    Unhealthy,
}

/// Where a server stands among the others.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Standing {
    /// Nothing speaks against it.
    Up,
    /// It is silent, or its back-off is over and nobody has looked yet.
    Doubtful,
    /// It failed just now.
    Down,
    /// It leads back to us: it is not asked at all.
    Out,
}

/// The health of one server.
#[derive(Debug)]
pub(super) struct Health {
    /// So many silences in a row make a server unhealthy.
    threshold: u32,
    /// What [`Self::is_deaf`] says: it is asked for each query, and seldom true.
    is_deaf: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    since: Timestamp,
    /// When something came from it last.
    heard: Option<Instant>,
    /// When a failure was counted last, and which.
    failure: Option<(Instant, ExchangeError)>,
    /// Failures in a row, and when the first of them was counted.
    failures: u32,
    failing: Option<Instant>,
    /// When somebody who waits has looked for it last.
    looked: Option<Instant>,
    /// When it may be looked at again, once it is unhealthy.
    due: Instant,
    /// When it last turned out to lead back to us.
    looped: Option<Instant>,
    /// From when the last connection to it was made.
    connecting: Option<Instant>,
    /// Clients' questions in a row that it left to others, and when one was counted last.
    unanswered: u32,
    unanswered_at: Option<Instant>,
    /// Whether people were told of what speaks against it.
    is_told: bool,
}

/// What a report says about a server.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) state: State,
    pub(super) since: Timestamp,
    pub(super) error: Option<ExchangeError>,
}

impl Health {
    /// Nothing is known.
    pub(super) fn unknown(threshold: u32) -> Self {
        let inner = Inner {
            state: State::Unknown,
            since: Timestamp::now(),
            heard: None,
            failure: None,
            failures: 0,
            failing: None,
            looked: None,
            due: Instant::now(),
            looped: None,
            connecting: None,
            unanswered: 0,
            unanswered_at: None,
            is_told: false,
        };
        Self { threshold, is_deaf: AtomicBool::new(false), inner: Mutex::new(inner) }
    }

    /// A connection is open. That heals nothing: a server may take connections and say nothing.
    /// Tells whether the state is news.
    pub(super) fn connected(&self) -> bool {
        let mut inner = self.inner();
        let is_first = inner.state == State::Unknown;
        is_first && inner.change(State::Healthy)
    }

    /// The server has answered, a client's question or a probe. Tells whether that is news for people.
    pub(super) fn answered(&self, is_client: bool, now: Instant) -> bool {
        let mut inner = self.inner();
        inner.heard = Some(now);
        if is_client {
            self.forget_unanswered(&mut inner);
        }
        if inner.looped.is_some() {
            return false;
        }
        inner.failures = 0;
        inner.failing = None;
        inner.failure = None;
        let is_untold = inner.state == State::Suspect && !inner.is_told;
        inner.change(State::Healthy) && !is_untold
    }

    /// Whether nobody can say whether it is still out of reach: it failed a moment ago or more.
    pub(super) fn is_due_for_a_look(&self, now: Instant) -> bool {
        let inner = self.inner();
        inner.state == State::Unhealthy
            && inner.failure.as_ref().is_none_or(|(failed, _)| *failed + LOOK <= now)
    }

    /// It may be gone: nothing has come for longer than usual, or a connection has ended. Names alone may be the reason, many times
    /// a minute, so people are not told. Tells whether the state has changed.
    pub(super) fn suspected(&self) -> bool {
        let mut inner = self.inner();
        let may_be = matches!(inner.state, State::Unknown | State::Healthy);
        if may_be {
            inner.is_told = false;
        }
        may_be && inner.change(State::Suspect)
    }

    /// A try that was begun at `begun` has failed at the transport. Tries that were already going on when the last
    /// failure was counted have failed of the same cause, and count with it. Tells whether the state is news.
    pub(super) fn failed(&self, error: &ExchangeError, begun: Instant, now: Instant) -> bool {
        let mut inner = self.inner();
        let is_counted = inner.failure.as_ref().is_some_and(|(counted, _)| begun < *counted);
        if is_counted || inner.looped.is_some() {
            return false;
        }
        if inner.is_another_outage(now) {
            inner.failing = Some(now);
            inner.failures += 1;
        // Those who wait for it to be back try often: that says no more than the first time.
        } else if inner.failures < self.threshold || !inner.is_outage_new(now) {
            inner.failures += 1;
        }
        inner.is_told = true;
        inner.failure = Some((now, error.clone()));
        if error.was_reached() && inner.failures < self.threshold {
            // One that is unhealthy already stays so until it answers.
            return matches!(inner.state, State::Unknown | State::Healthy)
                && inner.change(State::Suspect);
        }
        inner.due = now + back_off(inner.failures, self.threshold, random::fraction());
        inner.change(State::Unhealthy)
    }

    /// A question to the server has come back to us. Tells whether that is news.
    pub(super) fn looped(&self, now: Instant) -> bool {
        let mut inner = self.inner();
        inner.looped = Some(now);
        inner.failure = Some((now, ExchangeError::Loop));
        inner.change(State::Unhealthy)
    }

    /// A question that would have come back did not, begun at `begun`: the server may be asked again.
    /// Tells whether that is news.
    pub(super) fn did_not_loop(&self, begun: Instant) -> bool {
        let mut inner = self.inner();
        if inner.looped.is_none_or(|looped| looped >= begun) {
            return false;
        }
        inner.looped = None;
        inner.failure = None;
        inner.change(State::Healthy)
    }

    /// Whether the server leads back to us.
    pub(super) fn is_looping(&self) -> bool {
        self.inner().looped.is_some()
    }

    /// When something came from the server last.
    pub(super) fn heard(&self) -> Option<Instant> {
        self.inner().heard
    }

    /// Whether nothing has come from the server since then.
    pub(super) fn is_silent_since(&self, then: Instant) -> bool {
        self.heard().is_none_or(|heard| heard < then)
    }

    /// Where the server stands among the others.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let inner = self.inner();
        match inner.state {
            _ if inner.looped.is_some() => Standing::Out,
            State::Unknown | State::Healthy => Standing::Up,
            State::Suspect => Standing::Doubtful,
            State::Unhealthy if inner.due <= now => Standing::Doubtful,
            State::Unhealthy => Standing::Down,
        }
    }

    /// The failure to connect that is too fresh for another try. A connection that was lost is no reason to fail: at most the
    /// next one waits, see [`Health::next_connection`].
    pub(super) fn fresh_failure(&self, now: Instant) -> Option<ExchangeError> {
        let inner = self.inner();
        let (failed, error) = inner.failure.as_ref()?;
        (!error.was_reached() && now < *failed + PAUSE).then(|| error.clone())
    }

    /// When to try again one that could not be connected to, if that is so for a moment only: one that is started again is back
    /// soon.
    pub(super) fn next_try(&self, now: Instant) -> Option<Instant> {
        let inner = self.inner();
        let is_new = inner.is_outage_new(now) && inner.looped.is_none();
        let (failed, _) = inner.failure.as_ref().filter(|_| is_new)?;
        let next = *failed + PAUSE;
        Some(if now < next { next } else { now + PAUSE })
    }

    /// Whether one of those who wait for a server may look for it, by a datagram: one is enough.
    pub(super) fn may_look(&self, now: Instant) -> bool {
        let mut inner = self.inner();
        let is_looked_for = inner.state == State::Unhealthy
            && inner.looked.is_some_and(|looked| now < looked + PAUSE);
        if !is_looked_for {
            inner.looked = Some(now);
        }
        !is_looked_for
    }

    /// From when the next connection may be made, which is taken for made then: at once, but for a server that fails. One that
    /// takes connections and closes them again must not be sent one after the other, but all that wait at a time.
    pub(super) fn next_connection(&self, now: Instant) -> Instant {
        let mut inner = self.inner();
        let last = inner.connecting.filter(|_| inner.state == State::Unhealthy);
        let next = last.map_or(now, |last| (last + PAUSE).clamp(now, now + PAUSE));
        inner.connecting = Some(next);
        next
    }

    /// What a report says.
    pub(super) fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        let is_failing = matches!(inner.state, State::Suspect | State::Unhealthy);
        let error = inner.failure.as_ref().filter(|_| is_failing).map(|(_, error)| error.clone());
        Snapshot { state: inner.state, since: inner.since, error }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether it has failed for a moment only.
    fn is_outage_new(&self, now: Instant) -> bool {
        self.failing.is_some_and(|since| now < since + RESTART)
    }

    /// Whether a failure has nothing to do with those before: something has come meanwhile, or nobody has asked for long.
    fn is_another_outage(&self, now: Instant) -> bool {
        self.failing.is_none()
            || self.failure.as_ref().is_none_or(|(failed, _)| *failed + FORGOTTEN <= now)
    }

    fn change(&mut self, state: State) -> bool {
        let is_news = self.state != state;
        if is_news {
            self.state = state;
            self.since = Timestamp::now();
        }
        is_news
    }
}

/// How long a server is left alone after so many failures in a row: doubled each time, and off by up to a
/// quarter, so that the pods of a cluster do not come back in one moment. `chance` is in 0..1.
fn back_off(failures: u32, threshold: u32, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(threshold).min(MAX_DOUBLINGS);
    (FIRST_BACK_OFF * 2_u32.pow(doublings)).min(LONGEST_BACK_OFF).mul_f64(0.75 + chance / 2.0)
}

/// Long enough for a restart, short enough that nobody misses the server.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// Two looks a minute cost nothing and find a server that is back soon enough.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

const MAX_DOUBLINGS: u32 = 5;

/// How often it is looked for one that is out of reach while others have no answers: our guess.
const LOOK: Duration = Duration::from_secs(1);

/// How long a server takes to be started again, or others to notice that another one has its address: our guess. Who cannot
/// be reached for longer is down.
const RESTART: Duration = Duration::from_secs(5);

/// As long as anybody asks, there is a try more often than that.
const FORGOTTEN: Duration = Duration::from_secs(45);

/// After a failure to connect nobody tries for so long, not even as the last hope: a flood of queries must not
/// become a flood of handshakes. Our guess: less than a client's shortest retry.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
