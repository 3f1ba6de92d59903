//! What is counted of the cache.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

use super::store::Store;
use crate::metrics::sharded::{ShardedCounter, ShardedCounters};

/// The cache's families; clones share them.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    pub(super) hits: ShardedCounter,
    pub(super) misses: ShardedCounter,
    pub(super) evictions: ShardedCounter,
    store: Arc<OnceLock<Weak<Store>>>,
}

impl CacheMetrics {
    /// Registers the families; the gauges tell of the first cache that is made with them.
    pub fn register(registry: &mut Registry) -> Self {
        let counters = ShardedCounters::new(3);
        let [hits, misses, evictions] = [0, 1, 2].map(|index| counters.counter(index));
        let metrics = Self { hits, misses, evictions, store: Arc::default() };
        let registry = registry.sub_registry_with_prefix("dnsproxy_cache");
        registry.register(
            "hits",
            "Queries of which the answer, or a remembered failure, was in the cache",
            metrics.hits.clone(),
        );
        registry.register(
            "misses",
            "Queries of which no answer, or only a stale one, was in the cache",
            metrics.misses.clone(),
        );
        registry.register(
            "evictions",
            "Entries that left the cache before their time to make room",
            metrics.evictions.clone(),
        );
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Has the gauges tell of this store.
    pub(super) fn watch(&self, store: &Arc<Store>) {
        // The second cache of a process, which only tests make, is not told of.
        let _ = self.store.set(Arc::downgrade(store));
    }
}

impl Collector for CacheMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(store) = self.store.get().and_then(Weak::upgrade) else { return Ok(()) };
        let gauges = [
            ("bytes", "Memory that the entries take, every overhead counted", store.bytes()),
            ("entries", "Entries in the cache", store.len()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
