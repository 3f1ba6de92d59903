//! Finished answers, kept until their TTLs end, and a little longer.
//!
//! ```text
//! key (name, type, class, DO, CD, scope) -> fresh | failed a moment ago | stale | nothing
//! ```
//!
//! One cache serves all workers and outlives reloads: what was decided about a query is part of its key. An answer
//! is kept whole, as the upstream sent it, and is aged and made the client's own when it is written ([`Entry`]).
//! How long it lives, `lifetime` says; an answer is never shadowed by a failure, which lives in a place of its
//! own (RFC 9520 section 3.2), and a denial of a name answers every type of it (RFC 2308 section 5).
//!
//! There are no sockets, tasks or clocks here: to ask an upstream, to wait for it, and to share its answer among
//! those who wait is [`crate::pipeline`]'s.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

mod entry;
mod key;
mod lifetime;
pub mod metrics;
mod policy;
mod report;
mod store;
mod weight;

pub use entry::{Entry, How};
pub use key::{Key, Scope};
pub use metrics::CacheMetrics;
pub use policy::{Bounds, Policy, PrefetchPolicy, StalePolicy};
pub use report::{EntryReport, Filter, Stats};

use crate::message::Rcode;
use key::{Base, KeyHasher, Slot};
use store::Store;

/// The answers of a process.
pub struct Cache {
    hasher: KeyHasher,
    store: Arc<Store>,
    metrics: CacheMetrics,
}

/// What there is for a key.
#[derive(Clone, Debug)]
pub enum Found {
    /// An answer.
    Fresh {
        /// The answer.
        entry: Entry,
        /// Whether the caller shall renew it: said once for each entry.
        refresh: bool,
    },
    /// No answer, but asking for it failed a moment ago.
    Failure {
        /// The failure.
        failure: Entry,
        /// An answer that ended, and may be served in this case.
        stale: Option<Entry>,
    },
    /// An answer that ended; it may be served when there is no better one to be had (RFC 8767).
    Stale(Entry),
    /// Nothing.
    Miss,
}

impl Cache {
    /// A cache that takes up to so many octets, every overhead counted.
    ///
    /// The store has parts with an equal share each, and what does not fit into one is not kept: from 512 KiB on, every
    /// answer does.
    pub fn new(capacity: u64, metrics: CacheMetrics) -> Self {
        let store = Arc::new(Store::new(capacity, &metrics));
        metrics.watch(&store);
        Self { hasher: KeyHasher::default(), store, metrics }
    }

    /// Takes up to so many octets from now on, and evicts what is too much. The number of the store's parts stays
    /// what it was at first.
    pub fn set_capacity(&self, capacity: u64) {
        self.store.set_capacity(capacity);
    }

    /// Looks for what answers `key`.
    pub fn find(&self, key: &Key<'_>, policy: &Policy, now: Instant) -> Found {
        let base = self.hasher.base(key);
        match self.search(key, base, policy, now) {
            Found::Fresh { entry, .. } => {
                self.metrics.hits.inc();
                entry.note_hit();
                let prefetch = policy.prefetch.as_ref();
                let refresh =
                    prefetch.is_some_and(|it| entry.is_to_be_renewed(it, base.jitter(), now));
                Found::Fresh { entry, refresh }
            }
            failure @ Found::Failure { .. } => {
                self.metrics.hits.inc();
                failure
            }
            other @ (Found::Stale(_) | Found::Miss) => {
                self.metrics.misses.inc();
                other
            }
        }
    }

    /// The same, and neither a count nor the entry tells of it.
    pub fn look(&self, key: &Key<'_>, policy: &Policy, now: Instant) -> Found {
        self.search(key, self.hasher.base(key), policy, now)
    }

    fn search(&self, key: &Key<'_>, base: Base, policy: &Policy, now: Instant) -> Found {
        let fresh = |entry| Found::Fresh { entry, refresh: false };
        let answer = match self.lookup(key, base, Slot::Answer(key.qtype)) {
            Some(entry) if entry.is_fresh(now) => return fresh(entry),
            other => other,
        };
        let slot = Slot::of_denial(key.qtype);
        let denial = match slot.and_then(|slot| self.lookup(key, base, slot)) {
            Some(entry) if entry.is_fresh(now) => return fresh(entry),
            other => other,
        };
        let stale = newest(answer, denial).filter(|entry| policy.may_serve(entry, now));
        let failure = self.lookup(key, base, Slot::Failure(key.qtype));
        match (failure.filter(|entry| entry.is_fresh(now)), stale) {
            (Some(failure), stale) => Found::Failure { failure, stale },
            (None, Some(stale)) => Found::Stale(stale),
            (None, None) => Found::Miss,
        }
    }

    /// A collision of hashes is a miss.
    fn lookup(&self, key: &Key<'_>, base: Base, slot: Slot) -> Option<Entry> {
        self.store.get(base.slot(slot)).filter(|entry| entry.is_for(key, slot))
    }

    /// Keeps an entry, if it may be kept, for the key that it was made for.
    ///
    /// An answer ends the failure before it, and what denied the name; a denial ends what there was of its type.
    pub fn insert(&self, entry: &Entry) {
        if entry.lifetime().is_zero() {
            return;
        }
        let key = entry.key();
        let base = self.hasher.base(&key);
        let slot = entry.slot();
        self.store.insert(base.slot(slot), entry.clone());
        let outdated = match slot {
            Slot::Failure(_) => [None, None],
            Slot::Denial => [Some(Slot::Failure(key.qtype)), Some(Slot::Answer(key.qtype))],
            Slot::Answer(qtype) => {
                let denial = Slot::of_denial(qtype).filter(|_| entry.rcode() != Rcode::NXDOMAIN);
                [Some(Slot::Failure(qtype)), denial]
            }
        };
        for slot in outdated.into_iter().flatten() {
            self.store.remove(base.slot(slot));
        }
    }
}

fn newest(a: Option<Entry>, b: Option<Entry>) -> Option<Entry> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.is_newer(&a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} octets)", self.store.bytes())
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
