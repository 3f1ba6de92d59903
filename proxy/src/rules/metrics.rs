//! How often each rule matches.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::Rules;

/// The family of the rules; clones share it.
#[derive(Clone, Debug)]
pub struct RuleMetrics {
    matches: Family<RuleLabel, Counter>,
    /// The rules that have a series.
    known: Arc<Mutex<Vec<Arc<str>>>>,
}

/// The counters of the rules of one manifest, in their order.
pub type Matches = Box<[Counter]>;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RuleLabel {
    rule: Arc<str>,
}

impl RuleMetrics {
    /// Registers the family.
    pub fn register(registry: &mut Registry) -> Self {
        let matches = Family::default();
        registry.register("dnsproxy_rule_matches", "Queries that a rule matched", matches.clone());
        Self { matches, known: Arc::default() }
    }

    /// The counters of these rules. Those of rules of the same name go on; those of others go.
    pub fn of(&self, rules: &Rules) -> Matches {
        let names: Vec<_> = rules.names().cloned().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in known.iter().filter(|known| !names.contains(known)) {
            self.matches.remove(&RuleLabel { rule: Arc::clone(gone) });
        }
        known.clone_from(&names);
        let label = |rule| RuleLabel { rule };
        names.into_iter().map(|rule| self.matches.get_or_create(&label(rule)).clone()).collect()
    }
}
