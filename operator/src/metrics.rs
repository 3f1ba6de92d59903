//! The operator's own metrics. No label comes from an object's name: objects come and go.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The families, and the registry that they are written from.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    applied: Family<Kind, Counter>,
    failures: Counter,
    leading: Gauge,
    /// Scopes of which it was never known who works for them.
    unknown: Arc<AtomicUsize>,
    duration: Histogram,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Build {
    version: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("dnsproxy_operator");
        let applied = Family::default();
        let failures = Counter::default();
        let leading = Gauge::default();
        // From a look at rest to one that waits for pods that do not answer.
        let duration = Histogram::new(exponential_buckets(0.001, 4.0, 8));
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("objects_applied", "Objects written, by kind", applied.clone());
        registry.register(
            "reconcile_failures",
            "Reconciles that failed, or whose check panicked",
            failures.clone(),
        );
        registry.register(
            "leading",
            "Scopes for which this process reconciles: watched namespaces, or 1 for all",
            leading.clone(),
        );
        registry.register("reconcile_duration_seconds", "Time of one reconcile", duration.clone());
        registry.register("build_info", "The version that runs", build);
        let (registry, unknown) = (Arc::new(Mutex::new(registry)), Arc::default());
        Self { registry, applied, failures, leading, unknown, duration }
    }
}

impl Metrics {
    /// Counts an object that was written.
    pub fn applied(&self, kind: &str) {
        self.applied.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// Counts a reconcile that failed, or whose check panicked.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// Counts a scope for which this process reconciles, until the guard is dropped.
    #[must_use]
    pub fn lead(&self) -> Leading {
        self.leading.inc();
        Leading(self.leading.clone())
    }

    /// There is a scope of which it is not known yet who works for it.
    pub fn seek_leader(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// For one of those it is known now.
    pub fn found_leader(&self) {
        self.unknown.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether it was known once, for each scope, who works for it.
    #[must_use]
    pub fn knows_leaders(&self) -> bool {
        self.unknown.load(Ordering::Relaxed) == 0
    }

    /// Whether this process reconciles anything.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.leading.get() > 0
    }

    /// Measures a reconcile until the guard is dropped.
    #[must_use]
    pub fn measure(&self) -> Measured {
        Measured { duration: self.duration.clone(), start: Instant::now() }
    }

    /// All metrics, in the text format of OpenMetrics.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// Leads until it is dropped.
pub struct Leading(Gauge);

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Measures until it is dropped.
pub struct Measured {
    duration: Histogram,
    start: Instant,
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.duration.observe(self.start.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_prefix_and_their_unit() {
        let metrics = Metrics::default();
        metrics.applied("Service");
        metrics.failed();
        drop(metrics.measure());
        drop(metrics.lead());
        let _leading = metrics.lead();

        let text = metrics.text();
        for line in [
            "dnsproxy_operator_objects_applied_total{kind=\"Service\"} 1",
            "dnsproxy_operator_reconcile_failures_total 1",
            "dnsproxy_operator_leading 1",
            "dnsproxy_operator_reconcile_duration_seconds_count 1",
            "dnsproxy_operator_build_info{version=",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
