//! Names with an octet each, in as little memory as they need: a million of them in some thirty megabytes.
//!
//! All names stand in one piece of memory, one behind the other in wire form, each behind its octet; a table of their
//! positions finds them by a hash that is made label by label, so all ancestors of a name are looked up in one go.

use hashbrown::HashTable;

use crate::message::ancestors::{self, Ancestors, DepthSet};

/// Names, each with an octet that says what it is for.
#[derive(Debug, Default)]
pub(super) struct NameSet {
    octets: Vec<u8>,
    positions: HashTable<u32>,
    depths: DepthSet,
}

/// There is no room for more names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the list is full: it has 1 GiB of names")]
pub(super) struct Full;

/// Fifty million names of the usual length; our guess at what is a mistake.
const MAX_LEN: usize = 1 << 30;

impl NameSet {
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Changes the octet of a name, which is zero when the name is new. Returns the name's position.
    pub(super) fn change(&mut self, wire: &[u8], to: impl FnOnce(u8) -> u8) -> Result<u32, Full> {
        let (hash, depth) = ancestors::hash_of(wire);
        let Self { octets, positions, depths } = self;
        let known = positions.find(hash, |position| is_at(octets, *position, wire)).copied();
        if let Some(position) = known {
            if let Some(octet) = octets.get_mut(index(position)) {
                *octet = to(*octet);
            }
            return Ok(position);
        }
        let position = u32::try_from(octets.len()).map_err(|_| Full)?;
        if octets.len() + 1 + wire.len() > MAX_LEN {
            return Err(Full);
        }
        if positions.len() == positions.capacity() {
            *positions = table_of(octets, 2 * positions.len());
        }
        octets.push(to(0));
        octets.extend_from_slice(wire);
        depths.insert(depth);
        let octets = &*octets;
        positions.insert_unique(hash, position, |position| hash_at(octets, *position));
        Ok(position)
    }

    /// Tells of each name in here that the subject is or is below, from the root on: the position, the octet, and
    /// whether it is the subject itself.
    pub(super) fn visit(&self, subject: &[u8], mut visit: impl FnMut(u32, u8, bool)) {
        if self.positions.is_empty() {
            return;
        }
        for (depth, (suffix, hash)) in Ancestors::of(subject).enumerate() {
            if !self.depths.contains(depth) {
                continue;
            }
            let is_same = |position: &u32| is_at(&self.octets, *position, suffix);
            if let Some(position) = self.positions.find(hash, is_same) {
                let octet = self.octets.get(index(*position)).copied().unwrap_or_default();
                visit(*position, octet, suffix.len() == subject.len());
            }
        }
    }

    /// Gives back the memory that more names would have needed.
    pub(super) fn shrink(&mut self) {
        let Self { octets, positions, depths: _ } = self;
        octets.shrink_to_fit();
        positions.shrink_to_fit(|position| hash_at(octets, *position));
    }

    /// How much memory it has, in octets.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.octets.capacity() + self.positions.allocation_size()
    }

    /// All names and octets, for a hash of the content.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// The table of all names, with room for so many. The names are read in the order in which they stand, which is several
/// times as fast as that of a smaller table would be.
fn table_of(octets: &[u8], capacity: usize) -> HashTable<u32> {
    let mut positions = HashTable::with_capacity(capacity);
    let mut at = 0;
    while let Some(wire) = octets.get(at + 1..).filter(|wire| !wire.is_empty()) {
        let position = u32::try_from(at).unwrap_or_default();
        let hash = ancestors::hash_of(wire).0;
        positions.insert_unique(hash, position, |position| hash_at(octets, *position));
        at += 1 + len_of(wire);
    }
    positions
}

/// The length of the name at the beginning.
fn len_of(octets: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&len) = octets.get(at) {
        at += 1 + usize::from(len);
        if len == 0 {
            break;
        }
    }
    at
}

/// Whether this name stands behind an octet. A name ends where its labels do, so what begins with all of it is it.
fn is_at(octets: &[u8], position: u32, wire: &[u8]) -> bool {
    octets.get(index(position) + 1..).is_some_and(|rest| rest.starts_with(wire))
}

fn hash_at(octets: &[u8], position: u32) -> u64 {
    ancestors::hash_of(octets.get(index(position) + 1..).unwrap_or_default()).0
}

fn index(position: u32) -> usize {
    position as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Name;

    fn wire(name: &str) -> Box<[u8]> {
        name.parse::<Name<'_>>().unwrap().to_folded()
    }

    proptest! {
        /// As a map would.
        #[test]
        fn every_name_is_found_with_its_octet_and_no_other(
            names in prop::collection::vec(("[ab]{1,3}(\\.[ab]{1,3}){0,3}", 1..255u8), 0..60),
            subject in "[ab]{1,3}(\\.[ab]{1,3}){0,4}",
        ) {
            let mut set = NameSet::default();
            let mut map = std::collections::BTreeMap::new();
            for (name, octet) in &names {
                set.change(&wire(name), |known| known | octet).unwrap();
                *map.entry(name.clone()).or_insert(0) |= octet;
            }
            set.shrink();

            let mut found = Vec::new();
            set.visit(&wire(&subject), |_, octet, is_whole| found.push((octet, is_whole)));

            let mut expected = Vec::new();
            let mut rest = Some(&*subject);
            while let Some(name) = rest {
                expected.extend(map.get(name).map(|octet| (*octet, name == subject)));
                rest = name.split_once('.').map(|(_, parent)| parent);
            }
            expected.reverse();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(set.len(), map.len());
        }
    }

    #[test]
    fn the_root_is_a_name_like_any_other() {
        let mut set = NameSet::default();
        set.change(&[0], |_| 7).unwrap();
        let mut found = Vec::new();
        set.visit(&wire("a.example."), |_, octet, is_whole| found.push((octet, is_whole)));

        assert_eq!(found, [(7, false)]);
    }
}
