//! Families and histograms that many threads add to without waiting for each other.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::sharded::ShardedCounters;

/// Counters of one name, one for each of a closed set of labels; clones share them.
#[derive(Clone)]
pub struct ShardedFamily<L> {
    labels: Arc<[L]>,
    counters: ShardedCounters,
}

impl<L> ShardedFamily<L> {
    /// A counter for each of these, from zero.
    pub fn new(labels: impl IntoIterator<Item = L>) -> Self {
        let labels: Arc<[L]> = labels.into_iter().collect();
        let counters = ShardedCounters::new(labels.len());
        Self { labels, counters }
    }

    /// Adds one to the counter of the labels at `index`.
    pub fn count(&self, index: usize) {
        self.counters.count(index);
    }
}

impl<L> fmt::Debug for ShardedFamily<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardedFamily({})", self.labels.len())
    }
}

impl<L: EncodeLabelSet> EncodeMetric for ShardedFamily<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (index, labels) in self.labels.iter().enumerate() {
            let total = self.counters.total(index);
            encoder.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&total, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// How long something took, in buckets; clones share it.
#[derive(Clone, Debug)]
pub struct ShardedHistogram {
    /// The upper bounds, in nanoseconds and rising.
    bounds: Arc<[u64]>,
    /// One for each bound, one for what is above all, and the sum in nanoseconds.
    counters: ShardedCounters,
}

impl ShardedHistogram {
    /// Buckets with these upper bounds, rising.
    pub fn new(bounds: impl IntoIterator<Item = Duration>) -> Self {
        let bounds: Arc<[u64]> = bounds.into_iter().map(nanos).collect();
        let counters = ShardedCounters::new(bounds.len() + 2);
        Self { bounds, counters }
    }

    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = nanos(duration);
        let above = self.bounds.iter().position(|&bound| nanos <= bound);
        self.counters.count(above.unwrap_or(self.bounds.len()));
        self.counters.add(self.bounds.len() + 1, nanos);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl EncodeMetric for ShardedHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let seconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
        let bounds = self.bounds.iter().map(|&bound| seconds(bound)).chain([f64::INFINITY]);
        let buckets: Vec<_> =
            bounds.enumerate().map(|(index, bound)| (bound, self.counters.total(index))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.counters.total(buckets.len()));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    fn written(registry: &Registry) -> String {
        let mut written = String::new();
        text::encode(&mut written, registry).unwrap();
        written
    }

    #[test]
    fn a_family_has_all_its_series_from_the_start() {
        let family = ShardedFamily::new([[("colour", "red")], [("colour", "blue")]]);
        let mut registry = Registry::default();
        registry.register("lab_balls", "Balls", family.clone());
        family.count(1);

        let written = written(&registry);

        assert!(written.contains("lab_balls_total{colour=\"red\"} 0\n"), "{written}");
        assert!(written.contains("lab_balls_total{colour=\"blue\"} 1\n"), "{written}");
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it_and_in_the_sum() {
        let histogram = ShardedHistogram::new([1, 10].map(Duration::from_millis));
        let mut registry = Registry::default();
        registry.register("lab_wait_seconds", "Waits", histogram.clone());
        [1, 2, 10, 500].map(Duration::from_millis).into_iter().for_each(|it| histogram.observe(it));

        let written = written(&registry);

        for line in [
            "lab_wait_seconds_sum 0.513",
            "lab_wait_seconds_count 4",
            "lab_wait_seconds_bucket{le=\"0.001\"} 1",
            "lab_wait_seconds_bucket{le=\"0.01\"} 3",
            "lab_wait_seconds_bucket{le=\"+Inf\"} 4",
        ] {
            assert!(written.lines().any(|it| it == line), "{line}\n{written}");
        }
    }
}
