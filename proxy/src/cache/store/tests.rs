use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::*;
use crate::{
    cache::{
        Bounds,
        testing::{SELF, Upstream, record},
    },
    message::Qtype,
};

fn store(capacity: u64) -> (Store, CacheMetrics) {
    let metrics = CacheMetrics::register(&mut Registry::default());
    (Store::new(capacity, &metrics), metrics)
}

fn entry(octets: usize) -> Entry {
    // An answer with so many octets of data, in TXT records of 16 KiB at most.
    let answers = std::iter::repeat_n(octets / 4, 4);
    let answers = answers.map(|len| record(SELF, 16, 60, &vec![0; len])).collect();
    Upstream { answers, qtype: Qtype(16), ..Upstream::address("www.example.", 60) }
        .entry(&Bounds::NONE, Instant::now())
}

/// Nothing is outdated.
const NONE: [Option<u64>; 2] = [None, None];

/// Hashes as they come.
fn hashes(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

#[test]
fn its_bytes_are_bounded_by_entries_of_whatever_size() {
    let largest = entry(65_200);
    assert!(weigh(largest.octets().len()) > 65_000);
    let cases = [
        ("the smallest answers", 1 << 20, entry(0), 2000),
        ("the largest answers in a small cache", 1 << 20, largest.clone(), 12),
        ("the largest answers in the smallest cache for them", 512 << 10, largest.clone(), 4),
        ("the largest answers in a large cache", 64 << 20, largest, 900),
        ("a tiny cache", 64 << 10, entry(60), 100),
    ];

    for (why, capacity, entry, at_least) in cases {
        let (store, _) = store(capacity);
        for (number, hash) in hashes(10_000).enumerate() {
            store.insert(hash, entry.clone(), NONE);
            assert!(number % 100 > 0 || store.bytes() <= capacity, "{why}");
        }
        assert!(store.len() >= at_least, "{why}: {} entries", store.len());
    }
}

#[test]
fn small_and_large_answers_make_room_for_each_other() {
    let (store, metrics) = store(1 << 20);
    let (small, large) = (entry(60), entry(65_200));
    for (number, hash) in hashes(10_000).enumerate() {
        let entry = if number % 10 == 0 { &large } else { &small };
        store.insert(hash, entry.clone(), NONE);
        assert!(store.get(hash).is_some(), "number {number} is not refused");
    }
    assert!(store.bytes() <= 1 << 20);
    assert_eq!(metrics.evictions.get(), 10_000 - store.len(), "everything else was evicted");
}

#[test]
fn a_scan_does_not_flush_what_is_asked_for_again() {
    let (store, _) = store(1 << 20);
    let popular: Vec<_> = hashes(200).collect();
    for hash in &popular {
        store.insert(*hash, entry(60), NONE);
    }
    for scanned in hashes(20_000).map(|hash| !hash) {
        store.insert(scanned, entry(60), NONE);
        store.get(popular[usize::try_from(scanned % 200).unwrap()]);
    }

    let kept = popular.iter().filter(|hash| store.get(**hash).is_some()).count();
    assert!(kept >= 190, "{kept} of 200");
}

#[test]
fn nothing_is_allocated_for_entries_that_are_not_there() {
    let (store, _) = store(1 << 30);
    assert!(store.shards.iter().all(|shard| shard.read().room() == 0));
    assert_eq!(store.shards.len(), 256);
}

/// One that keeps nothing may come to be one of any size.
#[test]
fn a_shard_has_room_for_the_largest_answers() {
    for (capacity, shards) in
        [(0, 16), (1 << 20, 4), (64 << 20, 64), (100 << 20, 64), (1 << 40, 256)]
    {
        let (store, _) = store(capacity);
        assert_eq!(store.shards.len(), shards, "{capacity} octets");
    }
}

#[test]
fn a_smaller_capacity_holds_at_once() {
    let (store, metrics) = store(1 << 20);
    hashes(5000).for_each(|hash| store.insert(hash, entry(60), NONE));
    let before = store.len();

    store.set_capacity(256 << 10);

    assert!(store.bytes() <= 256 << 10, "{}", store.bytes());
    assert!(store.len() > before / 5, "no more went than had to");
    assert_eq!(metrics.evictions.get(), 5000 - store.len());
    assert_eq!(store.capacity(), 256 << 10);
    store.set_capacity(2 << 20);
    hashes(9000).for_each(|hash| store.insert(hash, entry(60), NONE));
    assert!(store.bytes() > 1 << 20);
}

#[test]
fn what_comes_and_goes_leaves_nothing_behind() {
    let (store, _) = store(1 << 20);
    let [answer, failure] = [1_u64 << 32, 1 << 32 | 1];
    let common = entry(60);
    for _ in 0..50_000 {
        store.insert(failure, common.clone(), NONE);
        store.insert(answer, common.clone(), [Some(failure), None]);
        store.remove(answer);
    }
    hashes(2000).for_each(|hash| store.insert(hash, entry(60), NONE));
    hashes(2000).for_each(|hash| assert!(store.remove(hash)));

    assert_eq!((store.len(), store.bytes()), (0, 0));
    let room: usize = store.shards.iter().map(|shard| shard.read().room()).sum();
    assert!(room < 2000, "there is room for {room}");
}

#[test]
fn a_table_does_not_grow_when_others_take_the_places_of_those_that_left() {
    let (store, _) = store(1_650_000);
    let common = entry(60);

    hashes(200_000).for_each(|hash| store.insert(hash, common.clone(), NONE));

    for shard in &store.shards {
        let (places, entries) = (shard.read().places(), shard.read().len());
        assert!(places <= 2 * entries, "{places} places for {entries} entries");
    }
}

#[test]
fn what_comes_again_soon_after_it_had_to_go_is_on_probation_no_more() {
    let (store, _) = store(1 << 20);
    let fill = |from: u64| {
        let hashes = hashes(from + 20_000).skip(usize::try_from(from).unwrap());
        hashes.for_each(|hash| store.insert(hash, entry(60), NONE));
    };
    fill(0);
    let again: Vec<_> = hashes(20_000).filter(|hash| store.get(*hash).is_none()).collect();
    let again = again.last_chunk::<100>().unwrap();
    again.iter().for_each(|hash| store.insert(*hash, entry(60), NONE));

    fill(20_000);

    let kept = again.iter().filter(|hash| store.get(**hash).is_some()).count();
    assert!(kept >= 75, "{kept} of 100: some marks were written over");
}

#[test]
fn a_renewed_answer_is_worth_what_the_one_before_was() {
    let (store, _) = store(1 << 20);
    let popular: Vec<_> = hashes(200).collect();
    for hash in &popular {
        store.insert(*hash, entry(60), NONE);
        (0..3).for_each(|_| assert!(store.get(*hash).is_some()));
        store.insert(*hash, entry(60), NONE);
    }

    hashes(9000).skip(200).for_each(|hash| store.insert(hash, entry(60), NONE));

    let kept = popular.iter().filter(|hash| store.get(**hash).is_some()).count();
    assert!(kept >= 190, "{kept} of 200");
}

#[test]
fn entries_that_are_all_in_use_give_way_to_new_ones() {
    let (store, _) = store(1 << 20);
    for hash in hashes(50_000) {
        store.insert(hash, entry(60), NONE);
        (0..3).for_each(|_| assert!(store.get(hash).is_some(), "what just came is there"));
    }
    assert!(store.bytes() <= 1 << 20);
}
