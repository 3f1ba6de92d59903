#![expect(clippy::print_stdout, reason = "a measurement is there to be read")]

use std::{env, fs, process::Command};

use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::*;
use crate::{
    cache::{
        Bounds, Cache, CacheMetrics,
        testing::{SELF, Upstream, record},
    },
    message::Qtype,
};

#[test]
fn an_entry_weighs_its_allocation_and_its_place() {
    let cases = [
        ("nothing but a head", 0, 64 + SLOT),
        ("a message of 62 octets", 62, 128 + SLOT),
        ("it just fits", 64, 128 + SLOT),
        ("one more is one step more", 65, 144 + SLOT),
        ("the largest message", 65_535, 65_600 + SLOT),
        ("no number is too large", usize::MAX, usize::MAX),
    ];

    for (why, octets, expected) in cases {
        assert_eq!(weigh(octets), u64::try_from(expected).unwrap(), "{why}");
    }
}

/// What the cache is filled with: so many answers, each with so many records of so many octets of data.
struct Load {
    why: &'static str,
    capacity: u64,
    entries: u32,
    records: usize,
    octets: usize,
}

const MIB: u64 = 1 << 20;

const LOADS: [Load; 6] = [
    Load { why: "with room", capacity: 512 * MIB, entries: 1_000_000, records: 1, octets: 4 },
    Load { why: "full", capacity: 64 * MIB, entries: 500_000, records: 1, octets: 4 },
    Load { why: "many records", capacity: 64 * MIB, entries: 200_000, records: 20, octets: 16 },
    Load { why: "the largest", capacity: 64 * MIB, entries: 5_000, records: 4, octets: 16_000 },
    Load { why: "small", capacity: 4 * MIB, entries: 100_000, records: 1, octets: 40 },
    Load { why: "turned over", capacity: 16 * MIB, entries: 1_000_000, records: 1, octets: 4 },
];

/// Which load the process measures; without it, it starts one for each.
const LOAD: &str = "DNSPROXY_TEST_CACHE_LOAD";

#[test]
#[ignore = "the measurement that the weight stands on: fills the memory"]
fn what_is_counted_is_what_the_process_grows_by() {
    if let Ok(number) = env::var(LOAD) {
        return LOADS[number.parse::<usize>().unwrap()].measure();
    }
    for number in 0..LOADS.len() {
        let name = "cache::weight::tests::what_is_counted_is_what_the_process_grows_by";
        let mut process = Command::new(env::current_exe().unwrap());
        process.args(["--ignored", "--nocapture", "--exact", name]).env(LOAD, number.to_string());
        let output = process.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        stdout.lines().filter(|line| line.contains("octets")).for_each(|line| println!("{line}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Load {
    fn measure(&self) {
        let now = Instant::now();
        let before = anonymous_memory();
        let cache = Cache::new(self.capacity, CacheMetrics::register(&mut Registry::default()));
        let empty = anonymous_memory() - before;
        for number in 0..self.entries {
            let answers = vec![record(SELF, 16, 60, &vec![0; self.octets]); self.records];
            // With its question it is a message of 60 octets for one address.
            let name = format!("n{number:07}.measured1.example.");
            let address = Upstream::address(&name, 60);
            cache.insert(
                &Upstream { answers, qtype: Qtype(16), ..address }.entry(&Bounds::NONE, now),
            );
        }
        let (grown, stats) = (anonymous_memory() - before, cache.stats());
        let ratio = grown / octets(stats.bytes);
        println!(
            "{:12} {:7} entries, {:7.1} octets each; empty {:.2} MiB, grown by {:.2}, counted {:.2}: {ratio:.3}",
            self.why,
            stats.entries,
            grown / octets(stats.entries),
            empty / octets(MIB),
            grown / octets(MIB),
            octets(stats.bytes) / octets(MIB),
        );
        assert!((0.9..=1.1).contains(&ratio), "{}: {ratio}", self.why);
        assert!(self.records > 1 || self.octets > 4 || grown / octets(stats.entries) <= 200.0);
        assert!(empty < octets(MIB / 4));
    }
}

fn octets(count: u64) -> f64 {
    u32::try_from(count).unwrap().into()
}

/// RssAnon of this process, in octets.
fn anonymous_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024.0
}
