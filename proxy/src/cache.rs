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
pub mod suspension;
mod weight;

pub use entry::{Entry, How, Origin};
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

/// Where the answer for a key is, if it is anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    base: Base,
    /// Those of the answer to the type, and of the denial of the name.
    hashes: [u64; 2],
}

/// What there is for a key.
#[derive(Clone, Debug)]
pub enum Found {
    /// An answer.
    Fresh {
        /// The answer.
        entry: Entry,
        /// Whether the caller shall renew it: said to one at a time.
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

impl Sought {
    /// A number that is the same for every look at the same question, and that nobody outside can foresee.
    pub fn hash(self) -> u64 {
        let [answer, _] = self.hashes;
        answer
    }
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

    /// Where to look for what answers `key`. The processor fetches it, which takes longer than all the rest of a look-up:
    /// what is done meanwhile costs nothing.
    pub fn seek(&self, key: &Key<'_>) -> Sought {
        let base = self.hasher.base(key);
        let hashes = [Slot::Answer(key.qtype), Slot::Denial].map(|slot| base.slot(slot));
        let [first, _] = hashes;
        self.store.prefetch_place(first);
        Sought { base, hashes }
    }

    /// Has the processor fetch the answer, when there is one and its place was fetched.
    pub fn approach(&self, sought: Sought) {
        self.store.prefetch_entry(sought.hashes);
    }

    /// Looks for what answers `key`, all at once.
    #[cfg(test)]
    pub(crate) fn find(&self, key: &Key<'_>, policy: &Policy, now: Instant) -> Found {
        self.find_at(self.seek(key), key, policy, now)
    }

    /// Keeps an entry for the key that it was made for, all at once.
    #[cfg(test)]
    pub(crate) fn insert(&self, entry: &Entry) {
        self.insert_at(self.seek(&entry.key()), entry);
    }

    /// Looks for what answers `key`, in its place.
    pub fn find_at(&self, sought: Sought, key: &Key<'_>, policy: &Policy, now: Instant) -> Found {
        match self.look_at(sought, key, policy, now) {
            Found::Fresh { entry, .. } => {
                self.metrics.hits.inc();
                entry.note_hit();
                let prefetch = policy.prefetch.as_ref();
                let refresh = prefetch
                    .is_some_and(|it| entry.is_to_be_renewed(it, sought.base.jitter(), now));
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

    /// Whether asking failed a moment ago, whatever answer there is from before.
    pub fn has_failed(&self, sought: Sought, key: &Key<'_>, now: Instant) -> bool {
        let slot = Slot::Failure(key.qtype);
        let failure = self.store.get(sought.base.slot(slot));
        failure.is_some_and(|entry| entry.is_for(key, slot) && entry.is_fresh(now))
    }

    /// The same as [`Cache::find_at`], and no count tells of it. A collision of hashes is a miss.
    pub fn look_at(&self, sought: Sought, key: &Key<'_>, policy: &Policy, now: Instant) -> Found {
        let base = sought.base;
        let fresh = |entry| Found::Fresh { entry, refresh: false };
        let slot = Slot::Answer(key.qtype);
        let answer = self.store.get(base.slot(slot)).filter(|entry| entry.is_for(key, slot));
        let answer = match answer {
            Some(entry) if entry.is_fresh(now) => return fresh(entry),
            other => other,
        };
        let slots = [Slot::Denial, Slot::Failure(key.qtype)];
        let [denial, failure] = self.store.get_two(slots.map(|slot| base.slot(slot)));
        let denial = denial.filter(|entry| entry.is_for(key, Slot::Denial));
        let denial = match denial.filter(|_| Slot::of_denial(key.qtype).is_some()) {
            Some(entry) if entry.is_fresh(now) => return fresh(entry),
            other => other,
        };
        let stale = newest(answer, denial).filter(|entry| policy.may_serve(entry, now));
        let failure = failure.filter(|entry| entry.is_for(key, Slot::Failure(key.qtype)));
        match (failure.filter(|entry| entry.is_fresh(now)), stale) {
            (Some(failure), stale) => Found::Failure { failure, stale },
            (None, Some(stale)) => Found::Stale(stale),
            (None, None) => Found::Miss,
        }
    }

    /// Keeps an entry, if it may be kept, in the place of the key that it was made for.
    ///
    /// An answer ends the failure before it, and what denied the name; a denial ends what there was of its type. So does
    /// one that may not be kept: what it replaces must not be served as stale.
    pub fn insert_at(&self, sought: Sought, entry: &Entry) {
        let is_kept = !entry.lifetime().is_zero();
        if !is_kept && !entry.is_whole_answer() {
            return;
        }
        let (base, slot, qtype) = (sought.base, entry.slot(), entry.key().qtype);
        let outdated = match slot {
            Slot::Failure(_) => [None, None],
            Slot::Denial => [Some(Slot::Failure(qtype)), Some(Slot::Answer(qtype))],
            Slot::Answer(qtype) => {
                let denial = Slot::of_denial(qtype).filter(|_| entry.rcode() != Rcode::NXDOMAIN);
                [Some(Slot::Failure(qtype)), denial]
            }
        };
        let outdated = outdated.map(|slot| slot.map(|slot| base.slot(slot)));
        if is_kept {
            self.store.insert(base.slot(slot), entry.clone(), outdated);
        } else {
            for hash in outdated.into_iter().flatten().chain([base.slot(slot)]) {
                self.store.remove(hash);
            }
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
