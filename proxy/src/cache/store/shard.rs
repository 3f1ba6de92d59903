//! One table, and the queues of what has to go.

use std::{collections::VecDeque, mem, ptr};

use hashbrown::{HashTable, hash_table::Entry as Slot};

use super::{Entry, Gone, prefetch::prefetch, weigh};

/// A bounded set of entries, for one thread at a time.
pub(super) struct Shard {
    table: HashTable<Place>,
    /// Hashes of entries on probation, in the order in which they came.
    probation: VecDeque<u64>,
    /// Hashes of the others, in the order in which they were last spared.
    kept: VecDeque<u64>,
    /// How many hashes in the queues are no longer those of an entry.
    outdated: usize,
    ghosts: Ghosts,
    bytes: u64,
    capacity: u64,
}

struct Place {
    hash: u64,
    entry: Entry,
}

/// Where in the table the search begins, by the upper half of a hash alone.
fn position(hash: u64) -> u64 {
    spread(hash >> 32)
}

/// The table wants hashes of which all bits matter, the uppermost ones most; those choose the shard.
fn spread(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// As long as one of so many is on probation, it is one of those that has to go.
const PROBATION_SHARE: usize = 10;

/// How many are spared at most until one goes: nobody waits for a whole round.
const MAX_SPARED: usize = 32;

/// Fewer outdated hashes than this are not worth the tidying.
const TOLERATED: usize = 64;

/// Entries that go at a time where the capacity has become smaller: our guess at a moment's work.
const MAX_EVICTED: u64 = 1024;

impl Shard {
    /// One for so many octets.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            table: HashTable::new(),
            probation: VecDeque::new(),
            kept: VecDeque::new(),
            outdated: 0,
            ghosts: Ghosts::default(),
            bytes: 0,
            capacity,
        }
    }

    pub(super) fn get(&self, hash: u64) -> Option<&Entry> {
        self.table.find(position(hash), |place| place.hash == hash).map(|place| &place.entry)
    }

    /// Has the processor fetch the first place that may be that of the hash.
    pub(super) fn prefetch(&self, hash: u64) {
        self.table.find(position(hash), |place| {
            prefetch(ptr::from_ref(place), size_of::<Place>());
            true
        });
    }

    /// Puts an entry in, unless it is larger than everything together may be, and tells how many had to go for it.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry, gone: &mut Gone) -> u64 {
        let weight = weigh(entry.octets().len());
        if weight > self.capacity {
            gone.extend(self.remove(hash));
            return 0;
        }
        let before = self.get(hash).map_or(0, |entry| weigh(entry.octets().len()));
        let evicted = self.make_room(weight.saturating_sub(before), gone);
        if let Some(place) = self.table.find_mut(position(hash), |place| place.hash == hash) {
            entry.inherit_uses(&place.entry);
            gone.push(mem::replace(&mut place.entry, entry));
            self.bytes = self.bytes + weight - before;
            return evicted;
        }
        // It may have been among those that had to go.
        let evicted = evicted + self.make_room(weight, gone);
        let queue = if self.ghosts.take(hash) { &mut self.kept } else { &mut self.probation };
        queue.push_back(hash);
        if self.table.len() == self.table.capacity() {
            self.rebuild();
        }
        self.table.insert_unique(position(hash), Place { hash, entry }, |it| position(it.hash));
        self.bytes += weight;
        evicted
    }

    /// Takes one out. Its hash stays in a queue; should it come again before that one's turn, it has the place of
    /// the one before.
    pub(super) fn remove(&mut self, hash: u64) -> Option<Entry> {
        let found = self.table.find_entry(position(hash), |place| place.hash == hash).ok()?;
        let (Place { entry, .. }, _) = found.remove();
        self.bytes -= weigh(entry.octets().len());
        self.outdated += 1;
        if self.outdated > TOLERATED + self.table.len() / 2 {
            self.tidy();
        }
        Some(entry)
    }

    pub(super) fn entries(&self) -> Vec<(u64, Entry)> {
        self.table.iter().map(|place| (place.hash, place.entry.clone())).collect()
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.table.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How many places the table has, taken or not.
    #[cfg(test)]
    pub(super) fn places(&self) -> u64 {
        u64::try_from(self.table.num_buckets()).unwrap_or(u64::MAX)
    }

    /// How many entries and hashes there is room for without an allocation.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        let queues = self.probation.capacity() + self.kept.capacity();
        self.table.capacity() + queues + self.ghosts.0.len()
    }

    /// Takes up to so many octets from now on, and tells how many entries had to go. There may be more: no lock is held for
    /// thousands of them.
    pub(super) fn set_capacity(&mut self, capacity: u64, gone: &mut Gone) -> u64 {
        self.capacity = capacity;
        self.make_room(0, gone)
    }

    fn make_room(&mut self, octets: u64, gone: &mut Gone) -> u64 {
        let mut evicted = 0;
        while self.bytes + octets > self.capacity
            && evicted < MAX_EVICTED
            && let Some(entry) = self.evict()
        {
            gone.push(entry);
            evicted += 1;
        }
        // Where few large ones have come for many small ones, the table is too large.
        if self.table.capacity() > TOLERATED + 4 * self.table.len() {
            self.rebuild();
        }
        evicted
    }

    /// Lets one entry go, if there is one.
    fn evict(&mut self) -> Option<Entry> {
        let mut spared = 0;
        loop {
            let all = self.probation.len() + self.kept.len();
            let is_on_probation = self.probation.len() * PROBATION_SHARE >= all;
            let queue = if is_on_probation { &mut self.probation } else { &mut self.kept };
            let hash = queue.pop_front()?;
            let Ok(found) = self.table.find_entry(position(hash), |place| place.hash == hash)
            else {
                self.outdated = self.outdated.saturating_sub(1);
                continue;
            };
            if spared < MAX_SPARED && found.get().entry.forget_use() {
                spared += 1;
                self.kept.push_back(hash);
                continue;
            }
            let (Place { entry, .. }, _) = found.remove();
            self.bytes -= weigh(entry.octets().len());
            if is_on_probation {
                self.ghosts.add(hash, self.table.len());
            }
            return Some(entry);
        }
    }

    /// Takes out of the queues what is no entry's hash, or is there twice, as an entry's that came again.
    fn tidy(&mut self) {
        let Self { table, probation, kept, .. } = self;
        let mut seen = HashTable::with_capacity(table.len());
        let mut is_first = |hash: &u64| {
            let is_there = table.find(position(*hash), |place| place.hash == *hash).is_some();
            match seen.entry(spread(*hash), |other| other == hash, |other| spread(*other)) {
                Slot::Vacant(slot) if is_there => {
                    slot.insert(*hash);
                    true
                }
                Slot::Vacant(_) | Slot::Occupied(_) => false,
            }
        };
        kept.retain(&mut is_first);
        probation.retain(&mut is_first);
        self.outdated = 0;
        self.rebuild();
    }

    /// Makes the table anew, with room for some more, and gives back what the rest has too much. Left to itself the table
    /// would count places that were given back as taken, and double.
    fn rebuild(&mut self) {
        let room = self.table.len() + self.table.len() / 8 + 1;
        let before = mem::replace(&mut self.table, HashTable::with_capacity(room));
        for place in before {
            self.table.insert_unique(position(place.hash), place, |it| position(it.hash));
        }
        self.kept.shrink_to(self.kept.len() + self.kept.len() / 4);
        self.probation.shrink_to(self.probation.len() + self.probation.len() / 4);
        self.ghosts.shrink_to(self.table.len());
    }
}

/// Hashes of entries that have left while on probation, each in the one place where it can be, until another one takes
/// it.
#[derive(Default)]
struct Ghosts(Box<[u32]>);

impl Ghosts {
    /// Remembers a hash. There are half to twice as many places as there are entries; more of them forget all.
    fn add(&mut self, hash: u64, entries: usize) {
        if self.0.len() < entries / 2 {
            self.0 = vec![0; entries.next_power_of_two()].into_boxed_slice();
        }
        if let Some((place, mark)) = self.place(hash) {
            *place = mark;
        }
    }

    /// Gives back what is far too much for so many entries.
    fn shrink_to(&mut self, entries: usize) {
        if self.0.len() > TOLERATED.max(4 * entries) {
            self.0 = Box::default();
        }
    }

    /// Whether a hash is remembered; from now on it is not.
    fn take(&mut self, hash: u64) -> bool {
        let found = self.place(hash).filter(|(place, mark)| **place == *mark);
        found.map(|(place, _)| *place = 0).is_some()
    }

    /// The place of a hash, by its lower half, and what stands there when it is remembered: the upper one, and never zero.
    fn place(&mut self, hash: u64) -> Option<(&mut u32, u32)> {
        let low = usize::try_from(hash & u64::from(u32::MAX)).ok()?;
        let index = low & self.0.len().checked_sub(1)?;
        let mark = u32::try_from(hash >> 32).ok()? | 1;
        Some((self.0.get_mut(index)?, mark))
    }
}

#[cfg(test)]
mod tests;
