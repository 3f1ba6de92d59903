//! What is told of the cache, and what can be taken out of it: `dnsproxy cache stats|get|flush`.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{Cache, Entry, key::Slot, weight::weigh};
use crate::message::{Name, Qtype};

/// The cache as a whole.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// How many entries there are, ended ones too.
    pub entries: u64,
    /// What they take, every overhead counted.
    pub bytes: u64,
    /// What they may take.
    pub capacity: u64,
    /// Queries that were answered from it.
    pub hits: u64,
    /// Queries that were not.
    pub misses: u64,
    /// Entries that had to make room.
    pub evictions: u64,
}

/// Which entries are meant: those of which all holds that is given. Nothing given is all of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Of this name.
    pub name: Option<Name>,
    /// Of this name or a name below it.
    pub zone: Option<Name>,
    /// Answers to this type; one that a name does not exist answers all of them.
    pub qtype: Option<Qtype>,
    /// NXDOMAIN, NODATA and failures only.
    pub negative: bool,
}

/// One entry.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryReport {
    /// The name asked for, as the upstream spelled it.
    pub name: String,
    /// The type asked for, or `*` when it answers every type.
    pub qtype: String,
    /// The response code.
    pub rcode: String,
    /// Seconds since it came.
    pub age: u32,
    /// Seconds until it ends; negative when it has.
    pub remaining: i64,
    /// How often it was asked for, at most 255.
    pub hits: u8,
    /// What it takes, in octets, every overhead counted.
    pub bytes: u64,
    /// Whether it was asked for with DO.
    pub dnssec_ok: bool,
    /// Whether it was asked for with CD.
    pub checking_disabled: bool,
    /// What had been decided about the query, as a number that is the same for the same decisions.
    pub scope: String,
}

impl Cache {
    /// What there is, in numbers.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.store.len(),
            bytes: self.store.bytes(),
            capacity: self.store.capacity(),
            hits: self.metrics.hits.get(),
            misses: self.metrics.misses.get(),
            evictions: self.metrics.evictions.get(),
        }
    }

    /// The first so many entries that the filter lets pass, in no order. It looks at all entries: not for a worker.
    pub fn entries(&self, filter: &Filter, limit: usize, now: Instant) -> Vec<EntryReport> {
        let entries = self.store.iter().map(|(_, entry)| entry);
        entries.filter(|entry| filter.has(entry)).take(limit).map(|e| report(&e, now)).collect()
    }

    /// Takes out the entries that the filter lets pass, and says how many. It looks at all entries: not for a
    /// worker.
    pub fn flush(&self, filter: &Filter) -> usize {
        let outdated = self.store.iter().filter(|(_, entry)| filter.has(entry));
        outdated.filter(|(hash, _)| self.store.remove(*hash)).count()
    }
}

impl Filter {
    fn has(&self, entry: &Entry) -> bool {
        let is_of_type = |qtype| match entry.slot() {
            Slot::Denial => true,
            Slot::Answer(own) | Slot::Failure(own) => own == qtype,
        };
        (!self.negative || entry.is_negative())
            && self.qtype.is_none_or(is_of_type)
            && (self.name.is_none() && self.zone.is_none() || self.has_name(&entry.owned_name()))
    }

    fn has_name(&self, name: &Name) -> bool {
        self.name.as_ref().is_none_or(|wanted| name.eq_ignore_case(wanted))
            && self.zone.as_ref().is_none_or(|zone| name.is_within(zone))
    }
}

fn report(entry: &Entry, now: Instant) -> EntryReport {
    let key = entry.key();
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let age = entry.age(now);
    EntryReport {
        name: entry.owned_name().to_string(),
        qtype: match entry.slot() {
            Slot::Denial => "*".to_owned(),
            Slot::Answer(qtype) | Slot::Failure(qtype) => qtype.to_string(),
        },
        rcode: entry.rcode().to_string(),
        age,
        remaining: seconds(entry.lifetime()) - i64::from(age),
        hits: entry.hits(),
        bytes: weigh(entry.octets().len()),
        dnssec_ok: key.dnssec_ok,
        checking_disabled: key.checking_disabled,
        scope: format!("{:016x}", key.scope.0),
    }
}

impl Entry {
    fn owned_name(&self) -> Name {
        Name::read(self.key().name, 0).map_or_else(|_| Name::root(), |(name, _)| name)
    }
}

#[cfg(test)]
mod tests;
