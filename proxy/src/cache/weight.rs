//! What an entry costs, in octets, every overhead counted.
//!
//! The allocation of the answer, as the allocator rounds it, and its share of the store's own memory. It is checked
//! against what a process grows by: `cargo test -p dnsproxy --lib cache::weight -- --ignored --nocapture`.

use quick_cache::Weighter;

use super::Entry;

/// The share of one entry of the store's memory: a slot of a list (40 octets), places in a hash table of which 7/16 to
/// 7/8 are taken (5 octets each, so 8 on average), and the slots of entries that were evicted, one for ten.
pub(super) const SLOT: usize = 40 + 8 + 5;

/// The number of those who share the answer, the length of its octets, and its head.
const ENTRY_FIXED_LEN: usize = 8 + 8 + 40;

/// Weighs entries.
#[derive(Clone, Debug)]
pub(super) struct ByBytes;

impl Weighter<u64, Entry> for ByBytes {
    fn weight(&self, _: &u64, entry: &Entry) -> u64 {
        weigh(entry.octets().len())
    }
}

/// The cost of an entry with so many octets behind its head.
pub(super) fn weigh(octets: usize) -> u64 {
    let weight = allocated(ENTRY_FIXED_LEN.saturating_add(octets)).saturating_add(SLOT);
    u64::try_from(weight).unwrap_or(u64::MAX)
}

/// What glibc's malloc takes for so many octets: a word for itself, then the next multiple of 16.
fn allocated(octets: usize) -> usize {
    octets.saturating_add(8 + 15) / 16 * 16
}

#[cfg(test)]
mod tests;
