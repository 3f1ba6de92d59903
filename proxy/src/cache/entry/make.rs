//! How an entry is made: of an upstream's message, of one that was made here, or of a failure of our own.
//!
//! What belongs to one exchange goes: the ID, most flags, and the OPT record but for its extended errors (RFC 8914). AD
//! stays when it came over an authenticated connection. How long the rest lives, [`lifetime`] says.

use std::sync::atomic::{AtomicU8, AtomicU16};

use smallvec::SmallVec;
use tokio::time::Instant;
use triomphe::ThinArc;

use super::{CHECKING_DISABLED, DENIAL, DNSSEC_OK, Entry, FAILURE, Head, NEGATIVE};
use crate::{
    cache::{
        Bounds, Key,
        key::Slot,
        lifetime::{self, Facts, Settled},
    },
    message::{
        HEADER_LEN, Header, Layout, Rcode,
        edns::{self, ExtendedError},
        set_u16,
        strip::remove_opt,
        u16_at,
    },
};

/// Where a message comes from.
#[derive(Debug, Default)]
pub struct Origin {
    /// Whether it came over an authenticated connection: only then AD means anything.
    pub is_secure: bool,
    /// What clients are told where it is a failure that gives no reason.
    pub reason: Option<ExtendedError>,
}

impl Entry {
    /// Makes an entry of an upstream's message that answers `key`.
    ///
    /// An error without a question gets the one of `key`; a message about something else becomes SERVFAIL that is
    /// not kept.
    pub fn of_upstream(
        key: &Key<'_>,
        mut message: Vec<u8>,
        layout: &Layout,
        origin: &Origin,
        bounds: &Bounds,
        now: Instant,
    ) -> Self {
        let rcode = layout.rcode(&message);
        let told = extended_errors(&message, layout);
        let reason = origin.reason.as_ref().filter(|_| told.is_empty());
        let errors = options(told.iter().chain(reason));
        if u16_at(&message, 4) == Some(0) {
            let is_fleeting = rcode.is_answer() || rcode.is_extended();
            let lifetime = if is_fleeting { 0 } else { bounds.failure_ttl };
            return Self::without_records(key, rcode, lifetime, &errors, now);
        }
        if !is_about(&message, key) || message.len() > usize::from(u16::MAX) {
            return Self::without_records(key, Rcode::SERVFAIL, 0, &[], now);
        }
        message.truncate(layout.end);
        remove_opt(&mut message, layout);
        // A CNAME chain before a denial belongs to the type that was asked for.
        let is_bare = u16_at(&message, 6) == Some(0);
        let is_failure = !rcode.is_answer();
        let slot = match rcode {
            // Who blocks a name has answered: what was known before must not be given instead.
            _ if is_failure && told.iter().any(ExtendedError::is_block) => Slot::Answer(key.qtype),
            _ if is_failure => Slot::Failure(key.qtype),
            Rcode::NXDOMAIN if is_bare => {
                Slot::of_denial(key.qtype).unwrap_or(Slot::Answer(key.qtype))
            }
            _ => Slot::Answer(key.qtype),
        };
        let kept = Header::AA | Header::TC | if origin.is_secure { Header::AD } else { 0 };
        let sort = Sort { rcode, slot, is_failure, kept };
        Self::settled(key, sort, message, layout, &errors, bounds, now)
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
        let sort = Sort { rcode, slot, is_failure, kept };
        Self::settled(key, sort, message, &layout, errors, bounds, now)
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
        let Sort { rcode, slot, is_failure, kept } = sort;
        let flags = u16_at(&message, 2).unwrap_or_default();
        set_u16(&mut message, 2, flags & kept);
        let facts = Facts {
            rcode,
            is_failure,
            qtype: key.qtype,
            is_truncated: flags & Header::TC != 0,
            answers_end: layout.answers_end,
            authorities_end: layout.authorities_end,
        };
        let settled = lifetime::settle(&mut message, layout.questions_end, &facts, bounds);
        Self::new(key, (rcode, slot), settled, message, errors, now)
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
        Self::new(key, (rcode, Slot::Failure(key.qtype)), settled, message, errors, now)
    }

    fn new(
        key: &Key<'_>,
        (rcode, slot): (Rcode, Slot),
        settled: Settled,
        message: Vec<u8>,
        errors: &[u8],
        now: Instant,
    ) -> Self {
        let Settled { lifetime, is_negative, ttls } = settled;
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        let head = Head {
            stored: now,
            scope: key.scope,
            lifetime,
            rcode,
            message_len: u16::try_from(message.len()).unwrap_or_default(),
            ttls: u16::try_from(ttls.len()).unwrap_or_default(),
            name_len: u8::try_from(key.name.len()).unwrap_or_default(),
            bits: bit(key.dnssec_ok, DNSSEC_OK)
                | bit(key.checking_disabled, CHECKING_DISABLED)
                | bit(is_negative, NEGATIVE)
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
}

/// What a message is.
struct Sort {
    rcode: Rcode,
    slot: Slot,
    /// Whether it lives as long as failures do.
    is_failure: bool,
    /// The flags that stay.
    kept: u16,
}

/// Type and class of a question.
const QUESTION_FIXED_LEN: usize = 4;

/// The extended errors of an upstream.
fn extended_errors(
    message: &[u8],
    layout: &Layout,
) -> SmallVec<[ExtendedError; MAX_RELAYED_ERRORS]> {
    let edns = layout.edns(message);
    edns.map(|edns| edns.extended_errors().take(MAX_RELAYED_ERRORS).collect()).unwrap_or_default()
}

fn options<'e>(errors: impl Iterator<Item = &'e ExtendedError>) -> Vec<u8> {
    let mut options = Vec::new();
    errors.for_each(|error| edns::encode_error(error, &mut options));
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

/// Bounds what one upstream can make us repeat: our guess.
pub(super) const MAX_RELAYED_ERRORS: usize = 4;
