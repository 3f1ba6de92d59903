//! What decides about queries, put together from a configuration.
//!
//! A new configuration makes a new pipeline. What must outlive it is handed on: the cache, the queries that wait, what
//! clients have asked by now, and upstreams and routes that did not change.

use std::{io, sync::Arc};

use prometheus_client::metrics::counter::Counter;

use crate::{
    access::{Access, RateLimit},
    cache::Cache,
    cluster_dns::LoopGuard,
    config::{CacheSettings, Config},
    limits::InFlight,
    metrics::Metrics,
    pipeline::{Caching, Flights, Pipeline},
    query_log::QueryLog,
    upstream::{Surroundings, Upstreams},
};

/// What all configurations share, so that it outlives a reload.
#[derive(Clone)]
pub(super) struct Lasting {
    pub(super) cache: Arc<Cache>,
    flights: Arc<Flights>,
    in_flight: Arc<InFlight>,
}

impl Lasting {
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Self {
        let cache = Arc::new(Cache::new(cache_size(config), metrics.cache.clone()));
        Self { cache, flights: Arc::default(), in_flight: Arc::default() }
    }
}

/// What decides about queries by a configuration, without anything that runs.
///
/// # Errors
/// When the system has no thread left.
pub fn pipeline_of(config: &Config) -> io::Result<Pipeline> {
    let (metrics, _) = Metrics::register(&Counter::default())?;
    let lasting = Lasting::new(config, &metrics);
    Ok(make_pipeline(config, None, &lasting, &metrics, &Surroundings::default()))
}

/// What clients have asked by now outlives a reload: nobody's rate limit starts again, nor does the count of
/// the query log.
pub(super) fn make_pipeline(
    config: &Config,
    previous: Option<&Pipeline>,
    lasting: &Lasting,
    metrics: &Metrics,
    surroundings: &Surroundings,
) -> Pipeline {
    let rate_limit = config.rate_limit.map(|(per_second, burst)| {
        previous
            .and_then(|previous| previous.access.rate_limit(per_second, burst))
            .unwrap_or_else(|| Arc::new(RateLimit::new(per_second, burst)))
    });
    let (mode, one_in) = (config.query_log, config.query_log_one_in);
    let query_log = previous.map_or_else(
        || QueryLog::new(mode, one_in, metrics.query_log.clone()),
        |previous| previous.query_log.with(mode, one_in),
    );
    let upstreams = Upstreams::build(
        previous.map(|previous| &*previous.upstreams),
        config.upstreams.clone(),
        config.routes.clone(),
        surroundings,
    );
    let Lasting { cache, flights, in_flight } = lasting.clone();
    // Destructured without `..`: what is new must be used. The size is the cache's own.
    let caching = config.cache.map(|CacheSettings { size: _, bounds, policy, stale_after }| {
        Caching::new(cache, bounds, policy, stale_after)
    });
    Pipeline {
        access: Access::new(config.allow.clone(), config.deny.clone(), rate_limit),
        checks: config.checks.clone(),
        judge: config.judge(),
        matches: metrics.rules.of(&config.rules),
        caching,
        upstreams: Arc::new(upstreams),
        flights,
        loop_guard: (!config.cluster_endpoints.is_empty())
            .then(|| LoopGuard::new(config.cluster_endpoints.iter().copied())),
        limits: config.limits,
        in_flight,
        metrics: metrics.pipeline.clone(),
        query_log,
        tasks: surroundings.tasks.clone(),
    }
}

/// How much may be kept: nothing without a cache.
pub(super) fn cache_size(config: &Config) -> u64 {
    config.cache.map_or(0, |cache| cache.size)
}
