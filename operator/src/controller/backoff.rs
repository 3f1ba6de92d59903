//! How long a failing object waits for its next try: doubling, up to a minute, by object. And how long all watches
//! wait for one that failed: hardly.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::runtime::{reflector::ObjectRef, utils};
use tokio::time::Instant;

use super::Guarded;

/// How each object failed in a row.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<ObjectRef<Guarded>, Failures>>);

#[derive(Debug)]
struct Failures {
    /// Of which object: a new one may have the name of one that was deleted while it failed.
    uid: Option<String>,
    count: u32,
    since: Instant,
}

impl Backoff {
    /// The time until the next try, after one that failed now.
    pub(super) fn next(&self, object: ObjectRef<Guarded>, now: Instant) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An object that was deleted while it failed is never forgotten otherwise.
        if failures.len() >= MAX_OBJECTS {
            failures.clear();
        }
        let uid = object.extra.uid.clone();
        let none = || Failures { uid: uid.clone(), count: 0, since: now };
        let failures = failures.entry(object).or_insert_with(none);
        if failures.uid != uid {
            *failures = none();
        }
        let delay = FIRST.saturating_mul(2_u32.saturating_pow(failures.count)).min(LONGEST);
        failures.count = failures.count.saturating_add(1);
        delay
    }

    /// For how long it has failed each time.
    pub(super) fn duration(&self, object: &ObjectRef<Guarded>, now: Instant) -> Duration {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = failures.get(object).filter(|failures| failures.uid == object.extra.uid);
        failures.map(|failures| now - failures.since).unwrap_or_default()
    }

    /// It worked.
    pub(super) fn forget(&self, object: &ObjectRef<Guarded>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

/// After an error of one watch the runtime listens to none for so long: an instant, as each watch has a backoff of its
/// own. With the runtime's default, which grows by every error of every watch, an outage of seconds would make the
/// operator blind for minutes.
pub(super) struct Hardly;

impl Iterator for Hardly {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(INSTANT)
    }
}

impl utils::Backoff for Hardly {
    fn reset(&mut self) {}
}

/// The least that the runtime's clock can tell.
const INSTANT: Duration = Duration::from_millis(1);
/// Our guess: a restarting API server is back after a few of these.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
const MAX_OBJECTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str) -> ObjectRef<Guarded> {
        let mut object = ObjectRef::new("edge").within("resolvers");
        object.extra.uid = Some(uid.into());
        object
    }

    #[test]
    fn doubles_up_to_a_minute_and_starts_anew_after_a_success() {
        let backoff = Backoff::default();
        let now = Instant::now();

        let delays: Vec<_> = (0..9).map(|_| backoff.next(object("a"), now).as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff.duration(&object("a"), now + LONGEST), LONGEST);

        backoff.forget(&object("a"));
        assert_eq!(backoff.duration(&object("a"), now + LONGEST), Duration::ZERO);
        assert_eq!(backoff.next(object("a"), now), FIRST);
    }

    #[test]
    fn a_new_object_does_not_inherit_the_failures_of_one_of_its_name() {
        let backoff = Backoff::default();
        let now = Instant::now();
        backoff.next(object("a"), now);
        backoff.next(object("a"), now);

        let later = now + LONGEST;
        assert_eq!(backoff.duration(&object("b"), later), Duration::ZERO);
        assert_eq!(backoff.next(object("b"), later), FIRST);
        assert_eq!(backoff.duration(&object("b"), later + FIRST), FIRST);
    }
}
