//! A finished answer.
//!
//! One allocation holds what is needed to find the answer and to give it out: a few numbers, the message as
//! the upstream sent it but for its OPT record, where its TTLs are, and the extended errors that came with it,
//! encoded. How it is given out, [`write`] says.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU16, Ordering},
    time::Duration,
};

use smallvec::SmallVec;
use tokio::time::Instant;
use triomphe::ThinArc;

use super::{
    Bounds, Key, Scope,
    key::Slot,
    lifetime::{self, Facts, Settled},
    policy::PrefetchPolicy,
    store::prefetch,
};
use crate::message::{
    HEADER_LEN, Header, Layout, Name, Qclass, Qtype, Rcode,
    edns::{self, ExtendedError},
    set_u16,
    strip::remove_opt,
    u16_at,
};

mod write;

pub use write::How;

/// Bounds what one upstream can make us repeat: our guess.
const MAX_RELAYED_ERRORS: usize = 4;

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
    /// Looks at it that count when others have to go: at most [`MAX_USES`].
    uses: AtomicU8,
    /// What was done about its end: nothing, which is 0, or [`RENEWED`], or, as [`GIVEN`] and so many steps after its end, when
    /// it was given out beyond it.
    end: AtomicU16,
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

/// What the processor fetches of an entry beforehand, in octets: all of a common one.
const FETCHED_LEN: usize = 192;

const DNSSEC_OK: u8 = 1;
const CHECKING_DISABLED: u8 = 2;
const NEGATIVE: u8 = 4;
const FAILURE: u8 = 8;
const DENIAL: u8 = 16;

impl Entry {
    /// Makes an entry of an upstream's message that answers `key`.
    ///
    /// `is_secure` says whether the message came over an authenticated connection: only then AD means anything.
    /// An error without a question gets the one of `key`; a message about something else becomes SERVFAIL that is
    /// not kept.
    pub fn of_upstream(
        key: &Key<'_>,
        mut message: Vec<u8>,
        layout: &Layout,
        is_secure: bool,
        bounds: &Bounds,
        now: Instant,
    ) -> Self {
        let rcode = layout.rcode(&message);
        let errors = relayed_errors(&message, layout);
        if u16_at(&message, 4) == Some(0) {
            let lifetime = if rcode.is_answer() || rcode.0 > 15 { 0 } else { bounds.failure_ttl };
            return Self::without_records(key, rcode, lifetime, &errors, now);
        }
        if !is_about(&message, key) || message.len() > usize::from(u16::MAX) {
            return Self::without_records(key, Rcode::SERVFAIL, 0, &[], now);
        }
        message.truncate(layout.end);
        remove_opt(&mut message, layout);
        // A CNAME chain before a denial belongs to the type that was asked for.
        let is_bare = u16_at(&message, 6) == Some(0);
        let slot = match rcode {
            _ if !rcode.is_answer() => Slot::Failure(key.qtype),
            Rcode::NXDOMAIN if is_bare => {
                Slot::of_denial(key.qtype).unwrap_or(Slot::Answer(key.qtype))
            }
            _ => Slot::Answer(key.qtype),
        };
        let kept = Header::AA | Header::TC | if is_secure { Header::AD } else { 0 };
        Self::settled(key, Sort { rcode, slot, kept }, message, layout, &errors, bounds, now)
    }

    /// Makes an entry of a message that was made here, mostly of those of upstreams. It has no OPT record, and the
    /// question of `key`; `errors` are options.
    ///
    /// It is about the type that was asked for alone, whatever its response code: what changed this answer need not change
    /// those of other types. And the code does not tell whether the upstreams failed, since it may have been chosen here.
    pub fn of_parts(
        key: &Key<'_>,
        (rcode, is_failure): (Rcode, bool),
        message: Vec<u8>,
        errors: &[u8],
        bounds: &Bounds,
        now: Instant,
    ) -> Self {
        let Some(layout) = Layout::of(&message).ok().filter(|_| is_about(&message, key)) else {
            return Self::without_records(key, Rcode::SERVFAIL, 0, &[], now);
        };
        let kept = Header::AA | Header::TC | Header::AD;
        let qtype = key.qtype;
        let slot = if is_failure { Slot::Failure(qtype) } else { Slot::Answer(qtype) };
        Self::settled(key, Sort { rcode, slot, kept }, message, &layout, errors, bounds, now)
    }

    /// An entry of a message without an OPT record.
    fn settled(
        key: &Key<'_>,
        sort: Sort,
        mut message: Vec<u8>,
        layout: &Layout,
        errors: &[u8],
        bounds: &Bounds,
        now: Instant,
    ) -> Self {
        let Sort { rcode, slot, kept } = sort;
        let flags = u16_at(&message, 2).unwrap_or_default();
        set_u16(&mut message, 2, flags & kept);
        let facts = Facts {
            rcode,
            is_failure: matches!(slot, Slot::Failure(_)),
            qtype: key.qtype,
            is_truncated: flags & Header::TC != 0,
            answers_end: layout.answers_end,
            authorities_end: layout.authorities_end,
        };
        let settled = lifetime::settle(&mut message, layout.questions_end, &facts, bounds);
        Self::new(key, (rcode, slot), &settled, message, errors, now)
    }

    /// Makes an entry of a failure of our own.
    pub fn of_failure(
        key: &Key<'_>,
        rcode: Rcode,
        errors: &[ExtendedError],
        bounds: &Bounds,
        now: Instant,
    ) -> Self {
        let mut options = Vec::new();
        errors.iter().for_each(|error| edns::encode_error(error, &mut options));
        Self::without_records(key, rcode, bounds.failure_ttl, &options, now)
    }

    fn without_records(
        key: &Key<'_>,
        rcode: Rcode,
        lifetime: u32,
        errors: &[u8],
        now: Instant,
    ) -> Self {
        let mut message = Vec::with_capacity(HEADER_LEN + key.name.len() + QUESTION_FIXED_LEN);
        Header { id: 0, flags: 0, counts: [1, 0, 0, 0] }.write(&mut message);
        message.extend_from_slice(key.name);
        message.extend_from_slice(&key.qtype.0.to_be_bytes());
        message.extend_from_slice(&key.qclass.0.to_be_bytes());
        let settled = Settled { lifetime, is_negative: true, ttls: SmallVec::new() };
        Self::new(key, (rcode, Slot::Failure(key.qtype)), &settled, message, errors, now)
    }

    fn new(
        key: &Key<'_>,
        (rcode, slot): (Rcode, Slot),
        settled: &Settled,
        message: Vec<u8>,
        errors: &[u8],
        now: Instant,
    ) -> Self {
        let Settled { lifetime, is_negative, ttls } = settled;
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        let head = Head {
            stored: now,
            scope: key.scope,
            lifetime: *lifetime,
            rcode,
            message_len: u16::try_from(message.len()).unwrap_or_default(),
            ttls: u16::try_from(ttls.len()).unwrap_or_default(),
            name_len: u8::try_from(key.name.len()).unwrap_or_default(),
            bits: bit(key.dnssec_ok, DNSSEC_OK)
                | bit(key.checking_disabled, CHECKING_DISABLED)
                | bit(*is_negative, NEGATIVE)
                | bit(matches!(slot, Slot::Failure(_)), FAILURE)
                | bit(slot == Slot::Denial, DENIAL),
            hits: AtomicU8::new(0),
            uses: AtomicU8::new(0),
            end: AtomicU16::new(0),
        };
        let mut octets = message;
        octets.extend(ttls.iter().flat_map(|at| at.to_be_bytes()));
        octets.extend_from_slice(errors);
        Self(ThinArc::from_header_and_slice(head, &octets))
    }

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

    /// Counts a hit.
    pub(super) fn note_hit(&self) {
        let hits = &self.head().hits;
        // Two at once may count as one: no exactness is worth a shared write for each hit.
        let before = hits.load(Ordering::Relaxed);
        if before < u8::MAX {
            hits.store(before + 1, Ordering::Relaxed);
        }
    }

    /// Somebody looks at it; so it is worth its place for a while.
    pub(super) fn note_use(&self) {
        let uses = &self.head().uses;
        let before = uses.load(Ordering::Relaxed);
        if before < MAX_USES {
            uses.store(before + 1, Ordering::Relaxed);
        }
    }

    /// Takes one such look back; false when there was none.
    pub(super) fn forget_use(&self) -> bool {
        let uses = &self.head().uses;
        let before = uses.load(Ordering::Relaxed);
        if before > 0 {
            uses.store(before - 1, Ordering::Relaxed);
        }
        before > 0
    }

    /// It takes the place of another one, which was worth it or not.
    pub(super) fn inherit_uses(&self, before: &Self) {
        self.head().uses.store(before.head().uses.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Has the processor fetch it.
    pub(super) fn prefetch(&self) {
        prefetch(self.0.as_ptr(), FETCHED_LEN);
    }

    /// Hits so far.
    pub(super) fn hits(&self) -> u8 {
        self.head().hits.load(Ordering::Relaxed)
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
    pub(super) fn is_to_be_renewed(
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

/// What a message is.
struct Sort {
    rcode: Rcode,
    slot: Slot,
    /// The flags that stay.
    kept: u16,
}

/// Type and class of a question.
const QUESTION_FIXED_LEN: usize = 4;

/// The extended errors of an upstream, as options.
fn relayed_errors(message: &[u8], layout: &Layout) -> Vec<u8> {
    let mut options = Vec::new();
    if let Some(edns) = layout.edns(message) {
        edns.extended_errors()
            .take(MAX_RELAYED_ERRORS)
            .for_each(|error| edns::encode_error(&error, &mut options));
    }
    options
}

/// Whether the message has the question of `key`, in whatever case.
fn is_about(message: &[u8], key: &Key<'_>) -> bool {
    let end = HEADER_LEN + key.name.len();
    let name = message.get(HEADER_LEN..end);
    name.is_some_and(|name| name.eq_ignore_ascii_case(key.name))
        && u16_at(message, end) == Some(key.qtype.0)
        && u16_at(message, end + 2) == Some(key.qclass.0)
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
