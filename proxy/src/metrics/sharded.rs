//! Counters that many threads add to without waiting for each other.
//!
//! Each thread has a row of its own, in cache lines of its own, and adds there; the sum is made when somebody
//! asks. So a counter of something that happens for every query costs a worker what an addition costs,
//! however many workers there are. Rows of threads that never count are never allocated.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// More than there are workers by default. More threads than rows share some: slower, and still exact.
const ROWS: usize = 16;

/// A set of counters; clones share it.
#[derive(Clone)]
pub struct ShardedCounters {
    rows: Arc<[OnceLock<Box<[Line]>>; ROWS]>,
    lines: usize,
}

/// Two cache lines: processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE]);

const LINE: usize = 16;

thread_local! {
    static ROW: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % ROWS
    };
}

impl ShardedCounters {
    /// So many counters, all zero.
    pub fn new(len: usize) -> Self {
        let rows = Arc::new([const { OnceLock::new() }; ROWS]);
        Self { rows, lines: len.div_ceil(LINE) }
    }

    /// Adds one to a counter; one that does not exist is left alone.
    pub fn count(&self, index: usize) {
        self.add(index, 1);
    }

    /// Adds to a counter.
    pub fn add(&self, index: usize, amount: u64) {
        let Some(row) = self.rows.get(ROW.with(|row| *row)) else { return };
        let row = row.get_or_init(|| (0..self.lines).map(|_| Line::default()).collect());
        if let Some(cell) = cell(row, index) {
            cell.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// What a counter says.
    pub fn total(&self, index: usize) -> u64 {
        let rows = self.rows.iter().filter_map(|row| row.get());
        rows.filter_map(|row| cell(row, index)).map(|cell| cell.load(Ordering::Relaxed)).sum()
    }

    /// One of them, to be registered.
    pub fn counter(&self, index: usize) -> ShardedCounter {
        ShardedCounter { counters: self.clone(), index }
    }
}

fn cell(row: &[Line], index: usize) -> Option<&AtomicU64> {
    row.get(index / LINE)?.0.get(index % LINE)
}

impl fmt::Debug for ShardedCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShardedCounters")
    }
}

/// One counter of a set, as a metric.
#[derive(Clone, Debug)]
pub struct ShardedCounter {
    counters: ShardedCounters,
    index: usize,
}

impl ShardedCounter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds so much.
    pub fn add(&self, amount: u64) {
        self.counters.add(self.index, amount);
    }

    /// What it says.
    pub fn get(&self) -> u64 {
        self.counters.total(self.index)
    }
}

impl EncodeMetric for ShardedCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.get(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn every_addition_of_every_thread_counts() {
        let counters = ShardedCounters::new(40);
        std::thread::scope(|scope| {
            for _ in 0..ROWS + 3 {
                scope.spawn(|| (0..1000).for_each(|_| counters.count(39)));
            }
        });

        assert_eq!(counters.total(39), 1000 * (u64::try_from(ROWS).unwrap() + 3));
        assert_eq!(counters.total(38), 0, "its neighbour is another counter");
    }

    #[test]
    fn a_counter_that_does_not_exist_is_no_ones() {
        let counters = ShardedCounters::new(1);
        counters.count(LINE);
        assert_eq!((0..2 * LINE).map(|index| counters.total(index)).sum::<u64>(), 0);
    }

    #[test]
    fn it_is_written_as_a_counter() {
        let counters = ShardedCounters::new(2);
        counters.add(1, 7);
        let mut registry = Registry::default();
        registry.register("lab_visits", "Visits", counters.counter(1));

        let mut written = String::new();
        text::encode(&mut written, &registry).unwrap();

        assert!(written.contains("# TYPE lab_visits counter\nlab_visits_total 7\n"), "{written}");
    }
}
