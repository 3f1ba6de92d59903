//! A name's ancestors with hashes, for tables that are looked up at each of its depths.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

/// Those of the longest name, each of one octet, and the root's (RFC 1035 section 2.3.4).
const MAX_LABELS: usize = 128;

/// What names are hashed with. Only the author of a manifest adds names, so nobody could gain from a known seed.
const SEED: u64 = 0x5eed;

/// A name's ancestors from the root to the name itself, each with its hash, which is made of that of its parent.
pub struct Ancestors<'w> {
    wire: &'w [u8],
    /// Where labels begin, from left to right; the last one is the root's.
    starts: [u8; MAX_LABELS],
    left: usize,
    hash: u64,
}

impl<'w> Ancestors<'w> {
    /// Those of a name in wire form and in lower case.
    pub fn of(wire: &'w [u8]) -> Self {
        let mut starts = [0; MAX_LABELS];
        let (mut left, mut at) = (0, 0_u8);
        for start in &mut starts {
            *start = at;
            left += 1;
            match wire.get(usize::from(at)) {
                Some(&len) if len > 0 => at = at.saturating_add(len).saturating_add(1),
                _ => break,
            }
        }
        Self { wire, starts, left, hash: SEED }
    }
}

impl<'w> Iterator for Ancestors<'w> {
    type Item = (&'w [u8], u64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let start = usize::from(*self.starts.get(self.left)?);
        let suffix = self.wire.get(start..)?;
        let (&len, rest) = suffix.split_first()?;
        if len > 0 {
            let label = rest.get(..usize::from(len))?;
            self.hash = FixedState::with_seed(self.hash).hash_one(label);
        }
        Some((suffix, self.hash))
    }
}

/// The hash of a name in wire form and in lower case, as [`Ancestors`] makes it, and its number of labels.
pub fn hash_of(wire: &[u8]) -> (u64, usize) {
    let last = Ancestors::of(wire).enumerate().last();
    last.map_or((SEED, 0), |(depth, (_, hash))| (hash, depth))
}

/// A set of numbers of labels; a name has at most 127.
#[derive(Clone, Copy, Debug, Default)]
pub struct DepthSet(u128);

impl DepthSet {
    /// Adds a number.
    pub fn insert(&mut self, depth: usize) {
        self.0 |= bit(depth);
    }

    /// Whether a number is in it.
    pub fn contains(self, depth: usize) -> bool {
        self.0 & bit(depth) != 0
    }
}

fn bit(depth: usize) -> u128 {
    u32::try_from(depth).ok().and_then(|depth| 1u128.checked_shl(depth)).unwrap_or_default()
}
