//! Where entries are: quick_cache, by the hash of their slot.
//!
//! Its eviction (CLOCK-Pro) keeps what is asked for again and lets pass what is asked for once, so a scan of random
//! names does not flush it. It is divided into shards, each with a lock and an equal share of the capacity.
//! No lock is held for longer than to look at one entry, to put one in, or to rehash one shard.

use std::{
    hash::{BuildHasher, Hasher},
    ops::RangeInclusive,
};

use quick_cache::{Lifecycle, OptionsBuilder, sync};

use super::{
    Entry,
    metrics::CacheMetrics,
    weight::{ByBytes, weigh},
};
use crate::metrics::sharded::ShardedCounter;

type Shards = sync::Cache<u64, Entry, ByBytes, AsIs, CountEvictions>;

/// A bounded set of entries.
pub(super) struct Store {
    shards: Shards,
}

/// The share of one shard: room for a good number of the largest answers, and so few small ones that to rehash
/// them takes a moment.
const SHARD_BYTES: u64 = 1 << 20;

/// Enough that workers seldom meet, and so few that empty ones cost nothing.
const SHARDS: RangeInclusive<u64> = 4..=256;

/// The octets of a common answer, from which the number of entries is guessed.
const COMMON_OCTETS: usize = 80;

/// For so many of the entries that were evicted it is remembered that they were, so that they stay when they come
/// again: a share of the guessed number of entries.
const GHOSTS: f64 = 0.1;

impl Store {
    /// A store for so many octets, every overhead counted. Nothing is allocated for entries that are not there.
    pub(super) fn new(capacity: u64, metrics: &CacheMetrics) -> Self {
        let shards = (capacity / SHARD_BYTES).clamp(*SHARDS.start(), *SHARDS.end());
        // The library makes fewer shards when they would have fewer than 32 entries each.
        let entries = (capacity / weigh(COMMON_OCTETS)).max(32 * shards);
        let mut options = OptionsBuilder::new();
        options
            .shards(usize::try_from(shards).unwrap_or(usize::MAX))
            .estimated_items_capacity(usize::try_from(entries).unwrap_or(usize::MAX))
            .weight_capacity(capacity)
            .ghost_allocation(GHOSTS);
        #[expect(clippy::expect_used, reason = "it fails only without the capacities set above")]
        let options = options.build().expect("both capacities are set");
        let lifecycle = CountEvictions { evictions: metrics.evictions.clone() };
        Self { shards: Shards::with_options(options, ByBytes, AsIs, lifecycle) }
    }

    pub(super) fn get(&self, hash: u64) -> Option<Entry> {
        self.shards.get(&hash)
    }

    pub(super) fn insert(&self, hash: u64, entry: Entry) {
        self.shards.insert(hash, entry);
    }

    pub(super) fn remove(&self, hash: u64) -> bool {
        self.shards.remove(&hash).is_some()
    }

    /// All entries, one after the other; those that come and go meanwhile may be among them or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.shards.iter()
    }

    pub(super) fn capacity(&self) -> u64 {
        self.shards.capacity()
    }

    /// Evicts what is too much. The number of shards stays, and with it the size of the largest entry that fits.
    pub(super) fn set_capacity(&self, capacity: u64) {
        self.shards.set_capacity(capacity);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shards.weight()
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.shards.len()).unwrap_or(u64::MAX)
    }
}

/// Counts what is evicted; what is replaced is not.
#[derive(Clone)]
struct CountEvictions {
    evictions: ShardedCounter,
}

impl Lifecycle<u64, Entry> for CountEvictions {
    type RequestState = ();

    fn before_evict(&self, (): &mut (), _: &u64, _: &mut Entry) {
        self.evictions.inc();
    }
}

/// The keys are hashes already.
#[derive(Clone, Copy, Default)]
struct AsIs;

impl BuildHasher for AsIs {
    type Hasher = Hash;

    fn build_hasher(&self) -> Hash {
        Hash(0)
    }
}

struct Hash(u64);

impl Hasher for Hash {
    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|&octet| self.0 = self.0 << 8 | u64::from(octet));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
