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
    hash: Arc<Mutex<String>>,
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
        let hash = Arc::new(Mutex::new(String::new()));
        registry.register_collector(Box::new(ConfigInfo(Arc::clone(&hash))));
        let counter = |result| reloads.get_or_create_owned(&ResultLabel { result });
        Self { loaded: counter("success"), rejected: counter("failure"), hash }
    }

    /// Counts a reload.
    pub fn count_reload(&self, is_loaded: bool) {
        if is_loaded { &self.loaded } else { &self.rejected }.inc();
    }

    /// Tells which configuration runs.
    pub fn set_hash(&self, hash: &str) {
        hash.clone_into(&mut self.hash.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// One series that always shows the configuration that runs now.
#[derive(Debug)]
struct ConfigInfo(Arc<Mutex<String>>);

impl Collector for ConfigInfo {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let hash = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let one = ConstGauge::new(1_i64);
        let mut encoder = encoder.encode_descriptor(
            "dnsproxy_config_info",
            "The configuration that runs",
            None,
            one.metric_type(),
        )?;
        one.encode(encoder.encode_family(&[("hash", hash)])?)
    }
}
