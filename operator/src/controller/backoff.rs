//! How long a failing object waits for its next try: doubling, up to a minute, by object.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::runtime::reflector::ObjectRef;

use super::Guarded;

/// How often each object failed in a row.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<ObjectRef<Guarded>, u32>>);

impl Backoff {
    /// The time until the next try.
    pub(super) fn next(&self, object: ObjectRef<Guarded>) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An object that was deleted while it failed is never forgotten otherwise.
        if failures.len() >= MAX_OBJECTS {
            failures.clear();
        }
        let count = failures.entry(object).or_default();
        let delay = FIRST.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST);
        *count = count.saturating_add(1);
        delay
    }

    /// How often it failed in a row.
    pub(super) fn failures(&self, object: &ObjectRef<Guarded>) -> u32 {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(object).copied().unwrap_or_default()
    }

    /// It worked.
    pub(super) fn forget(&self, object: &ObjectRef<Guarded>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

/// Our guess: a restarting API server is back after a few of these.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
const MAX_OBJECTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_minute_and_starts_anew_after_a_success() {
        let backoff = Backoff::default();
        let object = || ObjectRef::new("edge").within("resolvers");

        let delays: Vec<_> = (0..9).map(|_| backoff.next(object()).as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff.failures(&object()), 9);

        backoff.forget(&object());
        assert_eq!(backoff.failures(&object()), 0);
        assert_eq!(backoff.next(object()), FIRST);
    }
}
