//! A finished answer.
//!
//! One allocation holds what is needed to find the answer and to give it out: a few numbers, the message as
//! the upstream sent it but for its OPT record, where its TTLs are, and the extended errors that came with it,
//! encoded. How it is made of a message, `make` says; what is noted on it while it is kept, `marks`; and how it is
//! given out, `write`.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU16},
    time::Duration,
};

use tokio::time::Instant;
use triomphe::ThinArc;

use super::{Key, Scope, key::Slot, store::prefetch};
use crate::message::{HEADER_LEN, Header, Name, Qclass, Qtype, Rcode, u16_at};

mod make;
mod marks;
mod write;

pub use make::Origin;
pub use write::How;

/// A finished answer; clones share it.
#[derive(Clone)]
pub struct Entry(ThinArc<Head, u8>);

/// What is known of the octets: a message, two octets for the place of each of its TTLs, and extended errors as
/// options.
struct Head {
    stored: Instant,
    scope: Scope,
    /// In seconds; zero is not to be kept.
    lifetime: u32,
    rcode: Rcode,
    message_len: u16,
    ttls: u16,
    name_len: u8,
    bits: u8,
    /// Hits so far; the count stops at the greatest number, so that a hot name is only read.
    hits: AtomicU8,
    /// Looks at it that count when others have to go.
    uses: AtomicU8,
    /// What was done about its end: nothing, which is 0, or, as `marks` writes it, that somebody was told to renew it, or when it
    /// was given out beyond it.
    end: AtomicU16,
}

/// What the processor fetches of an entry beforehand, in octets: all of a common one.
const FETCHED_LEN: usize = 192;

const DNSSEC_OK: u8 = 1;
const CHECKING_DISABLED: u8 = 2;
const NEGATIVE: u8 = 4;
const FAILURE: u8 = 8;
const DENIAL: u8 = 16;

impl Entry {
    /// How long it may be kept; zero is not at all.
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.head().lifetime.into())
    }

    /// The whole response code.
    pub fn rcode(&self) -> Rcode {
        self.head().rcode
    }

    /// Whether it is an answer, and all of it.
    pub(super) fn is_whole_answer(&self) -> bool {
        let flags = u16_at(self.message(), 2).unwrap_or_default();
        !self.is_failure() && flags & Header::TC == 0
    }

    /// Where it is kept.
    pub(super) fn slot(&self) -> Slot {
        match self.head().bits & (FAILURE | DENIAL) {
            FAILURE => Slot::Failure(self.qtype()),
            DENIAL => Slot::Denial,
            _ => Slot::Answer(self.qtype()),
        }
    }

    /// What it was made for.
    pub(super) fn key(&self) -> Key<'_> {
        let head = self.head();
        Key {
            name: self.name(),
            qtype: self.qtype(),
            qclass: self.qclass(),
            dnssec_ok: head.bits & DNSSEC_OK != 0,
            checking_disabled: head.bits & CHECKING_DISABLED != 0,
            scope: head.scope,
        }
    }

    /// Whether it is what `slot` should hold for `key`.
    pub(super) fn is_for(&self, key: &Key<'_>, slot: Slot) -> bool {
        let own = self.key();
        self.slot() == slot
            && own.name.eq_ignore_ascii_case(key.name)
            && Key { name: key.name, qtype: key.qtype, ..own } == *key
    }

    /// Whether it is younger than its lifetime.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.elapsed(now) < self.lifetime()
    }

    /// How long ago it ended; zero when it has not.
    pub(super) fn expired(&self, now: Instant) -> Duration {
        self.elapsed(now).saturating_sub(self.lifetime())
    }

    /// Whether it came later than `other`.
    pub(super) fn is_newer(&self, other: &Self) -> bool {
        self.head().stored > other.head().stored
    }

    /// Has the processor fetch it.
    pub(super) fn prefetch(&self) {
        prefetch(self.0.as_ptr(), FETCHED_LEN);
    }

    /// Whether it says that there is no answer to be had: its response code is what came of upstreams that failed.
    pub fn is_failure(&self) -> bool {
        self.head().bits & FAILURE != 0
    }

    /// Whether it says no: NXDOMAIN, NODATA or a failure.
    pub(super) fn is_negative(&self) -> bool {
        self.head().bits & NEGATIVE != 0
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.head().stored)
    }

    /// What was decided about the query that it answers.
    pub fn scope(&self) -> Scope {
        self.head().scope
    }

    /// When it came.
    pub fn stored(&self) -> Instant {
        self.head().stored
    }

    /// Whole seconds since it came.
    pub fn age(&self, now: Instant) -> u32 {
        u32::try_from(self.elapsed(now).as_secs()).unwrap_or(u32::MAX)
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    /// All octets behind the head.
    pub(super) fn octets(&self) -> &[u8] {
        &self.0.slice
    }

    /// The message, without an OPT record; its TTLs are those of the moment when it came.
    pub fn message(&self) -> &[u8] {
        self.octets().get(..self.head().message_len.into()).unwrap_or_default()
    }

    fn ttl_places(&self) -> &[u8] {
        let start = usize::from(self.head().message_len);
        self.octets().get(start..start + 2 * usize::from(self.head().ttls)).unwrap_or_default()
    }

    /// The extended errors that came with it, as options.
    pub fn errors(&self) -> &[u8] {
        let start = usize::from(self.head().message_len) + 2 * usize::from(self.head().ttls);
        self.octets().get(start..).unwrap_or_default()
    }

    fn name(&self) -> &[u8] {
        let end = HEADER_LEN + usize::from(self.head().name_len);
        self.octets().get(HEADER_LEN..end).unwrap_or_default()
    }

    fn qtype(&self) -> Qtype {
        let at = HEADER_LEN + usize::from(self.head().name_len);
        Qtype(u16_at(self.octets(), at).unwrap_or_default())
    }

    fn qclass(&self) -> Qclass {
        let at = HEADER_LEN + usize::from(self.head().name_len) + 2;
        Qclass(u16_at(self.octets(), at).unwrap_or_default())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Name::read(self.octets(), HEADER_LEN).map(|(name, _)| name.to_string());
        write!(
            f,
            "Entry({} {} {}, {} s)",
            name.unwrap_or_default(),
            self.qtype(),
            self.rcode(),
            self.head().lifetime
        )
    }
}

#[cfg(test)]
mod tests;
