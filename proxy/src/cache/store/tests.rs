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
            store.insert(hash, entry.clone());
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
        store.insert(hash, entry.clone());
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
        store.insert(*hash, entry(60));
    }
    for scanned in hashes(20_000).map(|hash| !hash) {
        store.insert(scanned, entry(60));
        store.get(popular[usize::try_from(scanned % 200).unwrap()]);
    }

    let kept = popular.iter().filter(|hash| store.get(**hash).is_some()).count();
    assert!(kept >= 190, "{kept} of 200");
}

#[test]
fn nothing_is_allocated_for_entries_that_are_not_there() {
    let (store, _) = store(1 << 30);
    assert_eq!(store.shards.memory_used().total(), 0);
    assert_eq!(store.shards.num_shards(), 256);
}

#[test]
fn a_shard_has_room_for_the_largest_answers() {
    for (capacity, shards) in [(0, 4), (1 << 20, 4), (64 << 20, 64), (1 << 40, 256)] {
        let (store, _) = store(capacity);
        assert_eq!(store.shards.num_shards(), shards, "{capacity} octets");
    }
}

#[test]
fn a_smaller_capacity_holds_at_once() {
    let (store, metrics) = store(1 << 20);
    hashes(5000).for_each(|hash| store.insert(hash, entry(60)));
    let before = store.len();

    store.set_capacity(256 << 10);

    assert!(store.bytes() <= 256 << 10, "{}", store.bytes());
    assert!(store.len() > before / 5, "no more went than had to");
    assert_eq!(metrics.evictions.get(), 5000 - store.len());
    assert_eq!(store.capacity(), 256 << 10);
    store.set_capacity(2 << 20);
    hashes(9000).for_each(|hash| store.insert(hash, entry(60)));
    assert!(store.bytes() > 1 << 20);
}
