use std::collections::HashMap;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::cache::{
    Bounds,
    testing::{SELF, Upstream, record},
};

impl Shard {
    /// What holds after whatever was done.
    fn check(&self) {
        let marks = self.probation.len() + self.kept.len();
        assert_eq!(marks, self.table.len() + self.outdated, "each entry has a mark in a queue");
        let bytes: u64 = self.table.iter().map(|place| weigh(place.entry.octets().len())).sum();
        assert_eq!(self.bytes, bytes);
        assert!(bytes <= self.capacity);
        assert!(self.outdated <= TOLERATED + self.table.len().max(marks) / 2 + 1);
    }
}

fn entry(octets: usize) -> Entry {
    let answers = vec![record(SELF, 16, 60, &vec![0; octets])];
    Upstream { answers, qtype: crate::message::Qtype(16), ..Upstream::address("www.example.", 60) }
        .entry(&Bounds::NONE, Instant::now())
}

/// A shard that is full of entries of so many octets of data.
fn full(capacity: u64, octets: usize) -> Shard {
    let mut shard = Shard::new(capacity);
    for number in 0..capacity / 100 {
        shard.insert(hash(number), entry(octets), &mut Gone::new());
    }
    shard
}

fn hash(number: u64) -> u64 {
    spread(number + 1)
}

#[derive(Clone, Debug)]
enum Act {
    Insert { name: u64, octets: usize },
    Remove { name: u64 },
    Use { name: u64 },
    SetCapacity { capacity: u64 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let name = || 0..60_u64;
    let act = prop_oneof![
        6 => (name(), 0..900_usize).prop_map(|(name, octets)| Act::Insert { name, octets }),
        3 => name().prop_map(|name| Act::Remove { name }),
        3 => name().prop_map(|name| Act::Use { name }),
        1 => (0..8000_u64).prop_map(|capacity| Act::SetCapacity { capacity }),
    ];
    prop::collection::vec(act, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_found_is_what_was_put_in_last_and_the_books_are_right(acts in acts()) {
        let mut shard = Shard::new(6000);
        let mut last = HashMap::new();
        for act in acts {
            let mut gone = Gone::new();
            match act {
                Act::Insert { name, octets } => {
                    let entry = entry(octets);
                    let fits = weigh(entry.octets().len()) <= shard.capacity();
                    let before = shard.len();
                    let evicted = shard.insert(hash(name), entry, &mut gone);
                    prop_assert_eq!(shard.get(hash(name)).is_some(), fits, "it is there, if it fits");
                    prop_assert!(evicted <= before);
                    last.insert(name, octets);
                }
                Act::Remove { name } => {
                    shard.remove(hash(name));
                    last.remove(&name);
                }
                Act::Use { name } => {
                    shard.get(hash(name)).inspect(|entry| entry.note_use());
                }
                Act::SetCapacity { capacity } => {
                    while shard.set_capacity(capacity, &mut gone) > 0 {}
                }
            }
            shard.check();
            for (&name, &octets) in &last {
                if let Some(found) = shard.get(hash(name)) {
                    prop_assert_eq!(found.octets().len(), entry(octets).octets().len());
                }
            }
            let is_known = |found: u64| last.keys().any(|&name| hash(name) == found);
            prop_assert!(shard.entries().iter().all(|(found, _)| is_known(*found)));
        }
    }
}

#[test]
fn a_larger_answer_takes_the_place_of_a_smaller_one() {
    let mut shard = full(100_000, 1000);
    let all: Vec<_> = shard.entries().into_iter().map(|(hash, _)| hash).collect();
    for hash in all {
        let was_there = shard.get(hash).is_some();
        shard.insert(hash, entry(10_000), &mut Gone::new());
        assert!(shard.get(hash).is_some(), "was there before: {was_there}");
        shard.check();
    }
}

#[test]
fn a_name_with_answers_of_every_type_is_no_longer_way_than_others() {
    // The hashes of a name's types, as `key` makes them.
    let of_type = |qtype: u64| {
        hash(7) ^ (qtype << 2).wrapping_mul(0x9e37_79b9) & 0xffff_ffff ^ qtype >> 7 << 32
    };
    let mut shard = Shard::new(1 << 30);
    let common = entry(60);
    for qtype in 0..20_000 {
        shard.insert(of_type(qtype), common.clone(), &mut Gone::new());
    }

    let mut looks = 0;
    shard.table.find(position(of_type(1)), |place| {
        looks += 1;
        place.hash == of_type(1)
    });

    assert!(looks < 200, "{looks} entries were looked at");
    assert!(shard.get(of_type(19_999)).is_some());
}

#[test]
fn what_has_become_too_large_is_given_back() {
    type Change = fn(&mut Shard);
    let cases: [(&str, Change); 2] = [
        ("a smaller capacity", |shard| while shard.set_capacity(10_000, &mut Gone::new()) > 0 {}),
        ("large answers for small ones", |shard| {
            for number in 0..40 {
                shard.insert(hash(1_000_000 + number), entry(30_000), &mut Gone::new());
            }
        }),
    ];

    for (why, change) in cases {
        let mut shard = full(1 << 20, 10);
        assert!(shard.room() > 8000, "{why}");

        change(&mut shard);

        assert!(shard.room() < 1000, "{why}: there is room for {}", shard.room());
        shard.check();
    }
}
