//! What an entry costs, in octets, every overhead counted.
//!
//! The allocation of the answer as the allocator rounds it, and its share of the store's own memory. Checked
//! against what a process grows by: see the measurement in this module's tests.

use quick_cache::Weighter;

use super::Entry;

/// A slot of the store's list (40), and its share of the store's hash table: 5 octets a place, of which the
/// table has between 8/7 and 16/7 for each entry.
pub(super) const SLOT: u64 = 48;

/// The count of who shares the answer, the length of its octets, and its head.
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
    let allocation = allocated(ENTRY_FIXED_LEN + octets);
    u64::try_from(allocation).unwrap_or(u64::MAX).saturating_add(SLOT)
}

/// What glibc's malloc takes for so many octets: a word for itself, then the next multiple of 16.
fn allocated(octets: usize) -> usize {
    octets.saturating_add(8).next_multiple_of(16)
}
