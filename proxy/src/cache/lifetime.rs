//! How long an upstream's answer lives.
//!
//! | what it is | lifetime |
//! |---|---|
//! | an answer, also YXDOMAIN (RFC 6672 section 2.2) | the shortest TTL of its records, in whatever section |
//! | NXDOMAIN or NODATA, also at the end of a CNAME chain | the lesser of the SOA record's TTL and its MINIMUM (RFC 2308 section 5), and the TTLs of the chain |
//! | the same without an SOA record: a referral, too | nothing says when it ends, so it is not kept |
//! | an error that was chosen here | the same, and `failureTTL` without an SOA record |
//! | a failure | `failureTTL` (RFC 9520 section 3.2) |
//! | TC, or an rcode above 15, which belongs to one exchange | it is not kept |
//!
//! The TTLs that clients see are bounded alike, and made one within an RRset (RFC 2181 section 5.2).

use std::collections::HashMap;

use smallvec::SmallVec;

use super::{Bounds, policy::normal};
use crate::message::{Qtype, Rcode, record::Record, response::read_name, set_u32, u32_at};

/// What decides about the lifetime of a message.
pub(super) struct Facts {
    pub(super) rcode: Rcode,
    /// Whether upstreams failed. Without that, an error was chosen here, and lives as long as what it stands for.
    pub(super) is_failure: bool,
    pub(super) qtype: Qtype,
    pub(super) is_truncated: bool,
    /// Where the answer section ends.
    pub(super) answers_end: usize,
    /// Where the authority section ends.
    pub(super) authorities_end: usize,
}

/// What was found and done.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Settled {
    /// How long the message may be kept, in seconds; zero is not at all.
    pub(super) lifetime: u32,
    /// Whether it says no.
    pub(super) is_negative: bool,
    /// Where the TTLs of its records are, OPT records being gone.
    pub(super) ttls: SmallVec<[u16; 8]>,
}

/// Bounds the TTLs of a message in place, and says how long it lives. Records begin at `start`.
pub(super) fn settle(message: &mut [u8], start: usize, facts: &Facts, bounds: &Bounds) -> Settled {
    let mut records = read(message, start);
    let verdict = facts.judge(message, &records, bounds);
    for record in &mut records {
        record.ttl = match verdict {
            Verdict::Positive => bounds.clip(record.ttl),
            Verdict::Negative(ttl) if facts.has_authority(record) => {
                ttl.min(bounds.cap(record.ttl))
            }
            Verdict::Negative(_) | Verdict::Failure | Verdict::Fleeting => bounds.cap(record.ttl),
        };
    }
    unite(message, &mut records);
    for record in &records {
        set_u32(message, record.fields + 4, record.ttl);
    }
    let ttls = records.iter().filter_map(|record| u16::try_from(record.fields + 4).ok());
    Settled {
        lifetime: facts.lifetime(&verdict, &records, bounds),
        is_negative: matches!(verdict, Verdict::Negative(_) | Verdict::Failure),
        ttls: ttls.collect(),
    }
}

fn read(message: &[u8], start: usize) -> SmallVec<[Record; 4]> {
    let mut at = start;
    std::iter::from_fn(|| {
        let record = Record::read(message, at)?;
        at = record.end;
        Some(record)
    })
    .collect()
}

enum Verdict {
    /// It must not be kept.
    Fleeting,
    /// It says what there is.
    Positive,
    /// It says that there is nothing, for so many seconds.
    Negative(u32),
    /// It is no answer.
    Failure,
}

impl Facts {
    fn judge(&self, message: &[u8], records: &[Record], bounds: &Bounds) -> Verdict {
        match self.rcode {
            _ if self.is_truncated || self.rcode.is_extended() => Verdict::Fleeting,
            Rcode::YXDOMAIN => Verdict::Positive,
            Rcode::NOERROR if self.has_data(records) => Verdict::Positive,
            _ if self.is_failure => Verdict::Failure,
            _ => {
                let is_answer = self.rcode.is_answer();
                let unsaid = if is_answer { Verdict::Fleeting } else { Verdict::Failure };
                let denial = self.denial_ttl(message, records);
                denial.map_or(unsaid, |ttl| Verdict::Negative(bounds.cap_negative(ttl)))
            }
        }
    }

    /// Whether there is an answer of the type asked for, maybe at the end of a CNAME chain.
    fn has_data(&self, records: &[Record]) -> bool {
        let mut answers = records.iter().take_while(|record| record.start < self.answers_end);
        answers.any(|record| record.rtype == self.qtype || self.qtype == Qtype::ANY)
    }

    fn has_authority(&self, record: &Record) -> bool {
        (self.answers_end..self.authorities_end).contains(&record.start)
    }

    /// The lesser of the SOA record's TTL and its MINIMUM, which is the last of its data.
    fn denial_ttl(&self, message: &[u8], records: &[Record]) -> Option<u32> {
        /// Two names and five numbers.
        const MIN_LEN: usize = 1 + 1 + 5 * 4;
        let mut authorities = records.iter().filter(|record| self.has_authority(record));
        let soa = authorities.find(|record| record.rtype == Qtype::SOA)?;
        let data = soa.data_of(message);
        let minimum = u32_at(data, data.len().checked_sub(4)?)?;
        (data.len() >= MIN_LEN).then(|| normal(soa.ttl).min(normal(minimum)))
    }

    fn lifetime(&self, verdict: &Verdict, records: &[Record], bounds: &Bounds) -> u32 {
        // Additional records, too: they are given out with the rest, and used.
        let shortest = records.iter().map(|record| record.ttl).min();
        match *verdict {
            Verdict::Fleeting => 0,
            Verdict::Positive => shortest.unwrap_or_default(),
            Verdict::Negative(ttl) => shortest.unwrap_or(ttl).min(ttl),
            Verdict::Failure if self.is_failure => bounds.failure_ttl,
            Verdict::Failure => shortest.unwrap_or(u32::MAX).min(bounds.failure_ttl),
        }
    }
}

/// Gives all records of an RRset the shortest of their TTLs, however their owners are written and wherever they stand.
fn unite(message: &[u8], records: &mut [Record]) {
    let is_even = |set: &mut [&mut Record]| match set {
        [first, rest @ ..] => rest.iter().all(|record| record.ttl == first.ttl),
        [] => true,
    };
    // Those of one type that differ are seldom many, and names are read for them alone.
    let mut sorted: SmallVec<[&mut Record; 8]> =
        records.iter_mut().filter(|record| record.rtype != Qtype::RRSIG).collect();
    if is_even(&mut sorted) {
        return;
    }
    sorted.sort_unstable_by_key(|record| (record.rtype.0, record.class));
    for alike in sorted.chunk_by_mut(|a, b| (a.rtype, a.class) == (b.rtype, b.class)) {
        if !is_even(alike) {
            unite_alike(message, alike);
        }
    }
}

/// The same for records of one type.
fn unite_alike(message: &[u8], records: &mut [&mut Record]) {
    let owner = |at| read_name(message, at).map(|(name, _)| name.to_folded());
    let owners: Vec<_> = records.iter().map(|record| owner(record.start)).collect();
    let mut shortest = HashMap::new();
    for (owner, record) in owners.iter().zip(&*records) {
        let ttl = shortest.entry(owner).or_insert(record.ttl);
        *ttl = record.ttl.min(*ttl);
    }
    for (owner, record) in owners.iter().zip(records) {
        record.ttl = shortest.get(owner).map_or(record.ttl, |ttl| *ttl);
    }
}

#[cfg(test)]
mod tests;
