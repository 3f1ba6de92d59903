//! What is noted on an entry while it is kept: how often it was asked for, and what was done about its end.
//!
//! Marks are written by many at once and bind nothing else. Two that come together may count as one, but for the order to
//! renew it: that is given to one at a time.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::Entry;
use crate::cache::policy::PrefetchPolicy;

impl Entry {
    /// Counts a hit.
    pub(in crate::cache) fn note_hit(&self) {
        let hits = &self.head().hits;
        // Two at once may count as one: no exactness is worth a shared write for each hit.
        let before = hits.load(Ordering::Relaxed);
        if before < u8::MAX {
            hits.store(before + 1, Ordering::Relaxed);
        }
    }

    /// Hits so far.
    pub(in crate::cache) fn hits(&self) -> u8 {
        self.head().hits.load(Ordering::Relaxed)
    }

    /// Somebody looks at it; so it is worth its place for a while.
    pub(in crate::cache) fn note_use(&self) {
        let uses = &self.head().uses;
        let before = uses.load(Ordering::Relaxed);
        if before < MAX_USES {
            uses.store(before + 1, Ordering::Relaxed);
        }
    }

    /// Takes one such look back; false when there was none.
    pub(in crate::cache) fn forget_use(&self) -> bool {
        let uses = &self.head().uses;
        let before = uses.load(Ordering::Relaxed);
        if before > 0 {
            uses.store(before - 1, Ordering::Relaxed);
        }
        before > 0
    }

    /// It takes the place of another one, which was worth it or not.
    pub(in crate::cache) fn inherit_uses(&self, before: &Self) {
        self.head().uses.store(before.head().uses.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether its time to be renewed comes.
    pub fn is_near_end(&self, policy: &PrefetchPolicy, now: Instant) -> bool {
        self.is_in_window(policy, u8::MAX, now)
    }

    /// Whether it is in the last part of its lifetime: of so many 255ths of the window for renewals.
    fn is_in_window(&self, policy: &PrefetchPolicy, share: u8, now: Instant) -> bool {
        let lifetime = u64::from(self.head().lifetime) * 1000;
        let elapsed = u64::try_from(self.elapsed(now).as_millis()).unwrap_or(u64::MAX);
        let window = lifetime * u64::from(policy.remaining_percent) / 100;
        lifetime.saturating_sub(elapsed) <= window * u64::from(share) / 255
    }

    /// Whether the caller shall renew it: said to one at a time, when it was hit often enough and its time comes. By `jitter`
    /// the time is between the first moment of the window and its middle, so that answers which came together
    /// are not renewed together.
    pub(in crate::cache) fn is_to_be_renewed(
        &self,
        policy: &PrefetchPolicy,
        jitter: u64,
        now: Instant,
    ) -> bool {
        let end = &self.head().end;
        if self.hits() < policy.min_hits || end.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let [octet, ..] = jitter.to_le_bytes();
        self.is_in_window(policy, octet | 128, now)
            && end.compare_exchange(0, RENEWED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The one who was told to could not renew it: another one may be told.
    pub fn forget_renewal(&self) {
        self.head().end.compare_exchange(RENEWED, 0, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// It is given out after its end, since asking for a better one took too long or failed.
    pub fn note_given_stale(&self, now: Instant) {
        self.head().end.store(GIVEN.saturating_add(self.steps_after_end(now)), Ordering::Relaxed);
    }

    /// Whether it was given out after its end a moment ago. Then nobody need wait again to learn that there is no better one
    /// (RFC 8767 section 5).
    pub fn was_given_stale(&self, now: Instant) -> bool {
        let given = self.head().end.load(Ordering::Relaxed).checked_sub(GIVEN);
        given.is_some_and(|given| self.steps_after_end(now).saturating_sub(given) < RECHECK_STEPS)
    }

    fn steps_after_end(&self, now: Instant) -> u16 {
        let steps = self.expired(now).as_secs() / STEP.as_secs();
        u16::try_from(steps).unwrap_or(u16::MAX - GIVEN)
    }
}

/// Somebody was told to renew it before its end.
const RENEWED: u16 = 1;
/// It was given out after its end.
const GIVEN: u16 = 2;

/// The step in which that time is measured: with 16 bits, as long as an answer may be served stale, a week.
const STEP: Duration = Duration::from_secs(10);

/// For so many steps, of which the first one has begun, who asks again need not wait. RFC 8767 section 5 recommends to look
/// again for a better answer after 30 s.
const RECHECK_STEPS: u16 = 3;

/// Nothing is spared for longer than so many rounds without being asked for.
const MAX_USES: u8 = 3;
