//! What an entry costs, in octets, every overhead counted.
//!
//! The allocation of the answer, as the allocator rounds it, and its share of the store's own memory. It is checked
//! against what a process grows by: `cargo test -p dnsproxy --lib cache::weight -- --ignored --nocapture`.

/// The share of one entry of the store's memory: a place in a hash table of which 7/18 to 7/8 are taken (17 octets each, so about
/// 28), one in a queue of which half or more is taken (8 each, so 12), and the marks of entries that have
/// left (4 each, of which there are half to twice as many as entries).
pub(super) const SLOT: usize = 28 + 12 + 6;

/// The number of those who share the answer, the length of its octets, and its head.
const ENTRY_FIXED_LEN: usize = 8 + 8 + 40;

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
