//! How long answers are kept, and what is done with them near and after their end.
//!
//! The manifest's `cache`, with its defaults. Bounds are part of the scope: an entry has met those that it was
//! made under. Policies are not; they hold from one query to the next.

use std::time::Duration;

use tokio::time::Instant;

use super::Entry;

/// Bounds of TTLs, in seconds, for what is kept and for what clients see.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Bounds {
    /// No TTL of a positive answer is shorter, not even one of 0.
    pub min_ttl: u32,
    /// No TTL is longer, whatever `min_ttl` says.
    pub max_ttl: u32,
    /// No negative answer lives longer (RFC 2308 section 5).
    pub negative_max_ttl: u32,
    /// How long a failure is remembered (RFC 9520 section 3.2: 1 s to 5 min).
    pub failure_ttl: u32,
}

impl Bounds {
    /// TTLs as they are, and failures not kept.
    pub const NONE: Self =
        Self { min_ttl: 0, max_ttl: MAX_TTL, negative_max_ttl: MAX_TTL, failure_ttl: 0 };

    /// A TTL of a positive answer, within the bounds.
    pub(super) fn clip(&self, ttl: u32) -> u32 {
        self.cap(normal(ttl).max(self.min_ttl))
    }

    /// A TTL of whatever is no positive answer.
    pub(super) fn cap(&self, ttl: u32) -> u32 {
        normal(ttl).min(self.max_ttl)
    }

    /// How long a negative answer may live.
    pub(super) fn cap_negative(&self, ttl: u32) -> u32 {
        self.cap(ttl).min(self.negative_max_ttl)
    }
}

/// A TTL with the top bit set counts as 0 (RFC 2181 section 8).
pub(super) fn normal(ttl: u32) -> u32 {
    if ttl > MAX_TTL { 0 } else { ttl }
}

/// The longest TTL that there is (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX.unsigned_abs();

/// What is done with answers near and after their end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// Whether answers may be served after their end, and how.
    pub stale: Option<StalePolicy>,
    /// Whether answers are renewed before their end, and when.
    pub prefetch: Option<PrefetchPolicy>,
}

impl Policy {
    /// Whether an entry that ended may still be served.
    pub(super) fn may_serve(&self, entry: &Entry, now: Instant) -> bool {
        let max_age = self.stale.map(|stale| Duration::from_secs(stale.max_age.into()));
        max_age.is_some_and(|max_age| entry.expired(now) < max_age)
    }
}

/// Serving stale (RFC 8767).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StalePolicy {
    /// How long after its end an answer may be served, in seconds.
    pub max_age: u32,
    /// The TTL that clients see then, in seconds (RFC 8767 section 4: 30).
    pub ttl: u32,
}

/// Renewing what is asked for often before it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PrefetchPolicy {
    /// So many hits since it came make an answer worth it.
    pub min_hits: u8,
    /// The last so many percent of its lifetime are the time for it.
    pub remaining_percent: u8,
}
