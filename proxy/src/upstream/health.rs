//! What is known of a server: whether the last try to reach it succeeded.
//!
//! A server that failed is asked after all others until it is reached again, and not at all for a moment, so
//! that a flood of queries does not become a flood of handshakes. Nothing latches: the first success
//! clears it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::error::ExchangeError;

/// Whether a server can be reached, as far as is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum State {
    /// It was not tried yet.
    Unknown,
    /// The last try succeeded.
    Healthy,
    /// The last try failed.
    Unhealthy,
}

/// The health of one server.
#[derive(Debug)]
pub(super) struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    since: Timestamp,
    last_heard: Option<Instant>,
    failure: Option<(Instant, ExchangeError)>,
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
    pub(super) fn unknown() -> Self {
        let inner = Inner {
            state: State::Unknown,
            since: Timestamp::now(),
            last_heard: None,
            failure: None,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// The server was reached or has answered. Tells whether that is news.
    pub(super) fn succeeded(&self, now: Instant) -> bool {
        let mut inner = self.inner();
        inner.last_heard = Some(now);
        inner.change(State::Healthy, None)
    }

    /// The server could not be reached. Tells whether that is news.
    pub(super) fn failed(&self, error: &ExchangeError, now: Instant) -> bool {
        self.inner().change(State::Unhealthy, Some((now, error.clone())))
    }

    /// Whether nothing has come from the server since then.
    pub(super) fn is_silent_since(&self, then: Instant) -> bool {
        self.inner().last_heard.is_none_or(|heard| heard < then)
    }

    /// When the server may be tried: at once, while others wait, or only when nothing else is left.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match &self.inner().failure {
            None => Standing::Up,
            Some((failed, _)) if now >= *failed + COOL_DOWN => Standing::Due,
            Some(_) => Standing::Down,
        }
    }

    /// The failure to connect that is too fresh for another try. A connection that was lost is no reason to
    /// wait.
    pub(super) fn fresh_failure(&self, now: Instant) -> Option<ExchangeError> {
        let inner = self.inner();
        let (failed, error) = inner.failure.as_ref()?;
        (!error.was_reached() && now < *failed + PAUSE).then(|| error.clone())
    }

    /// What a report says.
    pub(super) fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        let error = inner.failure.as_ref().map(|(_, error)| error.clone());
        Snapshot { state: inner.state, since: inner.since, error }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn change(&mut self, state: State, failure: Option<(Instant, ExchangeError)>) -> bool {
        let is_news = self.state != state;
        if is_news {
            self.since = Timestamp::now();
        }
        self.state = state;
        self.failure = failure;
        is_news
    }
}

/// Where a server stands among the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Nothing speaks against it.
    Up,
    /// It failed, and it is time to look again.
    Due,
    /// It failed just now.
    Down,
}

/// After a failure others are asked first for so long. Our guess: a query in a second may be slow.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// After a failure nobody tries for so long. Our guess: less than a client's shortest retry.
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_server_waits_for_its_turn_and_the_first_success_clears_it() {
        let (health, start) = (Health::unknown(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(health.standing(start), Standing::Up, "nothing speaks against a new one");

        assert!(health.failed(&ExchangeError::Refused, start), "news");
        assert!(!health.failed(&ExchangeError::Refused, start), "no news");
        let cases = [
            ("at once", 0, Standing::Down, true),
            ("soon after", 199, Standing::Down, true),
            ("when it may be tried if nothing else is left", 200, Standing::Down, false),
            ("when it is looked at again", 1000, Standing::Due, false),
        ];
        for (why, millis, standing, is_fresh) in cases {
            assert_eq!(health.standing(after(millis)), standing, "{why}");
            assert_eq!(health.fresh_failure(after(millis)).is_some(), is_fresh, "{why}");
        }

        assert!(health.succeeded(after(1)), "news");
        assert_eq!(health.standing(after(1)), Standing::Up);
    }

    #[test]
    fn a_lost_connection_may_be_replaced_at_once() {
        let (health, now) = (Health::unknown(), Instant::now());
        health.failed(&ExchangeError::Closed, now);
        assert!(health.fresh_failure(now).is_none());
    }
}
