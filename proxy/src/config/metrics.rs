//! What is counted of configurations.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

use super::{Config, Names};
use crate::lists::{List, Problems};

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
    /// Name, entries and bad lines of each list.
    lists: Vec<(String, [i64; 2])>,
    /// Entries and bad lines.
    hosts: [i64; 2],
    unreadable_sources: i64,
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

    /// Tells which configuration runs, on which routes a fallback is weaker than the route's own upstreams, and what
    /// its lists hold.
    pub fn set_running(&self, config: &Config) {
        let Config { hash, weaker_fallbacks, names, .. } = config;
        let Names { lists, hosts, .. } = names;
        let list = |list: &Arc<List>| (list.name.to_string(), counts(list.len(), list.problems()));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = Running {
            hash: hash.clone(),
            weaker_fallbacks: weaker_fallbacks.clone(),
            lists: lists.iter().map(list).collect(),
            hosts: counts(hosts.len(), hosts.problems()),
            unreadable_sources: signed(names.unreadable_sources()),
        };
    }
}

fn counts(entries: usize, problems: &Problems) -> [i64; 2] {
    [signed(entries), signed(problems.count)]
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Running {
    fn encode_names(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let families = [
            ("list_entries", "hosts_entries", "Names and patterns"),
            (
                "list_bad_lines",
                "hosts_bad_lines",
                "Lines that could not be read and were passed over",
            ),
        ];
        for (index, (of_list, of_hosts, help)) in families.into_iter().enumerate() {
            let gauge =
                |counts: &[i64; 2]| ConstGauge::new(counts.get(index).copied().unwrap_or(0));
            let kind = gauge(&self.hosts).metric_type();
            let (name, text) = (format!("dnsproxy_{of_list}"), format!("{help} of a list"));
            let mut family = encoder.encode_descriptor(&name, &text, None, kind)?;
            for (list, counts) in &self.lists {
                gauge(counts).encode(family.encode_family(&[("list", &**list)])?)?;
            }
            let (name, text) = (format!("dnsproxy_{of_hosts}"), format!("{help} of spec.hosts"));
            gauge(&self.hosts).encode(encoder.encode_descriptor(&name, &text, None, kind)?)?;
        }
        let unreadable = ConstGauge::new(self.unreadable_sources);
        let family = encoder.encode_descriptor(
            "dnsproxy_config_unreadable_sources",
            "Sources of lists and hosts that cannot be read",
            None,
            unreadable.metric_type(),
        )?;
        unreadable.encode(family)
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
        running.encode_names(&mut encoder)
    }
}
