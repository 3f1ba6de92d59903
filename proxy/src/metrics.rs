//! All metrics of the process: each part registers its own, this only puts them together.

use std::{io, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::Counter, gauge::ConstGauge, info::Info},
    registry::Registry,
};

use crate::{
    cache::CacheMetrics, config::metrics::ConfigMetrics, lines::LineWriter,
    listener::ListenerMetrics, pipeline::PipelineMetrics, query_log, rules::metrics::RuleMetrics,
    upstream::Metrics as UpstreamMetrics,
};

pub mod family;
pub mod sharded;

/// The parts' metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Of the listeners.
    pub listener: ListenerMetrics,
    /// Of the way of queries.
    pub pipeline: PipelineMetrics,
    /// Of the rules.
    pub rules: RuleMetrics,
    /// Of the cache.
    pub cache: CacheMetrics,
    /// Of the upstreams.
    pub upstream: UpstreamMetrics,
    /// Of the configuration.
    pub config: ConfigMetrics,
    /// The query log, which counts what it drops.
    pub query_log: LineWriter,
}

impl Metrics {
    /// Registers everything; `log_dropped` counts the lines that the log has lost.
    pub fn register(log_dropped: &Counter) -> io::Result<(Self, Arc<Registry>)> {
        let mut registry = Registry::default();
        let metrics = Self {
            listener: ListenerMetrics::register(&mut registry),
            pipeline: PipelineMetrics::register(&mut registry),
            rules: RuleMetrics::register(&mut registry),
            cache: CacheMetrics::register(&mut registry),
            upstream: UpstreamMetrics::register(&mut registry),
            config: ConfigMetrics::register(&mut registry),
            query_log: query_log::start_writer(&mut registry)?,
        };
        let help = "Lines of the log that could not be written in time";
        registry.register("dnsproxy_log_dropped", help, log_dropped.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("dnsproxy_build", "The version of the program", build);
        registry.register_collector(Box::new(OpenFiles));
        Ok((metrics, Arc::new(registry)))
    }
}

/// Counts the open files when somebody asks.
#[derive(Debug)]
struct OpenFiles;

impl Collector for OpenFiles {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        // Without /proc there is nothing to tell.
        let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return Ok(()) };
        let count = ConstGauge::new(i64::try_from(files.count()).unwrap_or(i64::MAX));
        let encoder = encoder.encode_descriptor(
            "dnsproxy_open_files",
            "Open files and sockets",
            None,
            count.metric_type(),
        )?;
        count.encode(encoder)
    }
}
