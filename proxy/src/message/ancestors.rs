//! A name's ancestors with hashes, for tables that are looked up at each of its depths.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::name::MAX_NAME_LEN;

/// What names are hashed with. Only the author of a manifest adds names, so nobody could gain from a known seed.
const SEED: u64 = 0x5eed;

/// A name's ancestors from the root to the name itself, each with its hash, which is made of that of its parent.
pub struct Ancestors<'w> {
    wire: &'w [u8],
    /// Where labels begin, from left to right; the last one is the root's.
    starts: SmallVec<[u8; 16]>,
    hash: u64,
}

impl<'w> Ancestors<'w> {
    /// Those of a name in wire form and in lower case.
    pub fn of(wire: &'w [u8]) -> Self {
        let mut starts = SmallVec::new();
        let mut at = 0;
        while at < MAX_NAME_LEN {
            let Some(&len) = wire.get(at) else { break };
            starts.push(u8::try_from(at).unwrap_or_default());
            if len == 0 {
                break;
            }
            at += 1 + usize::from(len);
        }
        Self { wire, starts, hash: SEED }
    }
}

impl<'w> Iterator for Ancestors<'w> {
    type Item = (&'w [u8], u64);

    fn next(&mut self) -> Option<Self::Item> {
        let start = usize::from(self.starts.pop()?);
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
