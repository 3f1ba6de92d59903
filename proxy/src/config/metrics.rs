//! What is counted of configurations.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

/// The configuration's families; clones share them.
#[derive(Clone, Debug)]
pub struct ConfigMetrics {
    loaded: Counter,
    rejected: Counter,
    running: Arc<Mutex<Running>>,
}

/// What is told of the configuration that runs.
#[derive(Debug, Default)]
struct Running {
    hash: String,
    weaker_fallbacks: Vec<String>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

impl ConfigMetrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let reloads = Family::<ResultLabel, Counter>::default();
        registry.register(
            "dnsproxy_config_reloads",
            "Configurations that were read after the first one",
            reloads.clone(),
        );
        let running = Arc::<Mutex<Running>>::default();
        registry.register_collector(Box::new(ConfigInfo(Arc::clone(&running))));
        let counter = |result| reloads.get_or_create_owned(&ResultLabel { result });
        Self { loaded: counter("success"), rejected: counter("failure"), running }
    }

    /// Counts a reload.
    pub fn count_reload(&self, is_loaded: bool) {
        if is_loaded { &self.loaded } else { &self.rejected }.inc();
    }

    /// Tells which configuration runs, and on which routes a fallback is weaker than the route's own upstreams.
    pub fn set_running(&self, hash: &str, weaker_fallbacks: &[String]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = Running { hash: hash.to_owned(), weaker_fallbacks: weaker_fallbacks.to_vec() };
    }
}

/// Series that always show the configuration that runs now.
#[derive(Debug)]
struct ConfigInfo(Arc<Mutex<Running>>);

impl Collector for ConfigInfo {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = ConstGauge::new(1_i64);
        let mut info = encoder.encode_descriptor(
            "dnsproxy_config_info",
            "The configuration that runs",
            None,
            one.metric_type(),
        )?;
        one.encode(info.encode_family(&[("hash", &*running.hash)])?)?;
        let mut weaker = encoder.encode_descriptor(
            "dnsproxy_config_weaker_fallback",
            "Routes with a fallback that is weaker than their own upstreams",
            None,
            one.metric_type(),
        )?;
        for route in &running.weaker_fallbacks {
            one.encode(weaker.encode_family(&[("route", &**route)])?)?;
        }
        Ok(())
    }
}
