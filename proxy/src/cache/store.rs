//! Where entries are: tables by the hash of their slot, each with a lock and an equal share of the capacity.
//!
//! What has to go is chosen as S3-FIFO does (Yang et al., SOSP 2023): what comes is on probation, and leaves when it was not
//! asked for again until a tenth of all has come after it; what was is kept, and leaves when nobody has asked for it for
//! a whole round. What has left is remembered for a while, and need prove nothing when it comes again. So a scan of
//! random names flushes nothing else.
//!
//! A library did this before (quick_cache). Its look-up goes from place to place in memory four times, each time
//! waiting for it, and cannot be told of beforehand; this one goes twice, and tells.
//!
//! No lock is held for longer than to look at one entry, to put one in and let others go for it, or to make one table anew.
//! Memory is given back when it is released.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use smallvec::SmallVec;

use super::{Entry, metrics::CacheMetrics, weight::weigh};
use crate::metrics::sharded::ShardedCounter;

mod prefetch;
mod shard;

pub(super) use prefetch::prefetch;
use shard::Shard;

/// A bounded set of entries.
pub(super) struct Store {
    /// As many as a power of two.
    shards: Box<[Locked]>,
    evictions: ShardedCounter,
}

/// What has left, until the lock is released.
type Gone = SmallVec<[Entry; 4]>;

/// On lines of the processor's cache of its own: who takes one lock disturbs nobody who takes another.
#[repr(align(128))]
struct Locked(RwLock<Shard>);

/// The share of one shard: room for a good number of the largest answers, and so few small ones that to go through
/// them takes a moment.
const SHARD_BYTES: u64 = 1 << 20;

/// One that keeps nothing may become one of any size: our guess at what is neither too few nor too small.
const OF_ANY_SIZE: u64 = 16;

/// Enough that workers seldom meet, and so few that empty ones cost nothing.
const MIN_SHARDS: u64 = 4;
const MAX_SHARDS: u64 = 256;
const UNUSED_BITS: u32 = u64::BITS - MAX_SHARDS.ilog2();

impl Store {
    /// A store for so many octets, every overhead counted. Nothing is allocated for entries that are not there.
    pub(super) fn new(capacity: u64, metrics: &CacheMetrics) -> Self {
        let count = match capacity {
            0 => OF_ANY_SIZE,
            capacity => (capacity / SHARD_BYTES).clamp(MIN_SHARDS, MAX_SHARDS),
        };
        let count = 1 << count.ilog2();
        let shard = || Locked(RwLock::new(Shard::new(capacity / count)));
        let shards = (0..count).map(|_| shard()).collect();
        Self { shards, evictions: metrics.evictions.clone() }
    }

    pub(super) fn get(&self, hash: u64) -> Option<Entry> {
        let entry = self.read(hash).get(hash).cloned()?;
        entry.note_use();
        Some(entry)
    }

    /// Two of one name, which one shard has, by one lock.
    pub(super) fn get_two(&self, hashes: [u64; 2]) -> [Option<Entry>; 2] {
        let [first, _] = hashes;
        let shard = self.read(first);
        let entries = hashes.map(|hash| shard.get(hash).cloned());
        entries.iter().flatten().for_each(Entry::note_use);
        entries
    }

    /// Has the processor fetch where an entry with this hash would be.
    pub(super) fn prefetch_place(&self, hash: u64) {
        self.read(hash).prefetch(hash);
    }

    /// Has the processor fetch the first entry that there is of these two, which one shard has.
    pub(super) fn prefetch_entry(&self, hashes: [u64; 2]) {
        let [first, _] = hashes;
        let shard = self.read(first);
        if let Some(entry) = hashes.into_iter().find_map(|hash| shard.get(hash)) {
            entry.prefetch();
        }
    }

    /// Puts an entry in, and takes out what it says is no longer so, from the same shard.
    pub(super) fn insert(&self, hash: u64, entry: Entry, outdated: [Option<u64>; 2]) {
        let mut gone = Gone::new();
        let mut shard = self.write(hash);
        let evicted = shard.insert(hash, entry, &mut gone);
        gone.extend(outdated.into_iter().flatten().filter_map(|hash| shard.remove(hash)));
        drop(shard);
        if evicted > 0 {
            self.evictions.add(evicted);
        }
    }

    pub(super) fn remove(&self, hash: u64) -> bool {
        let gone = self.write(hash).remove(hash);
        gone.is_some()
    }

    /// All entries, one shard after the other; those that come and go meanwhile may be among them or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.shards.iter().flat_map(|shard| shard.read().entries())
    }

    pub(super) fn capacity(&self) -> u64 {
        self.shards.iter().map(|shard| shard.read().capacity()).sum()
    }

    /// Evicts what is too much. The number of shards stays, so their share is another one, and with it the size of the
    /// largest entry that fits.
    pub(super) fn set_capacity(&self, capacity: u64) {
        let count = u64::try_from(self.shards.len()).unwrap_or(u64::MAX);
        for shard in &self.shards {
            loop {
                let mut gone = Gone::new();
                let evicted = shard.write().set_capacity(capacity / count, &mut gone);
                if evicted == 0 {
                    break;
                }
                self.evictions.add(evicted);
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.read().bytes()).sum()
    }

    pub(super) fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard> {
        self.shard(hash).read()
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard> {
        self.shard(hash).write()
    }

    /// By the uppermost bits of the hash, which matter least in the table.
    #[expect(
        clippy::indexing_slicing,
        reason = "the length is a power of two, and the mask one less"
    )]
    fn shard(&self, hash: u64) -> &Locked {
        let mask = self.shards.len() - 1;
        &self.shards[usize::try_from(hash >> UNUSED_BITS).unwrap_or_default() & mask]
    }
}

impl Locked {
    fn read(&self) -> RwLockReadGuard<'_, Shard> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shard> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
