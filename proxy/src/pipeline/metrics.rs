//! What is counted of every query.
//!
//! All label values are made at the start, from closed sets: no client can add a series, and counting is
//! one addition.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use crate::{
    listener::Transport,
    message::{Qtype, Rcode},
};

/// Where a reply came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// An upstream.
    Upstream,
    /// The proxy itself.
    Local,
    /// The proxy, which would not answer this client.
    Refused,
}

impl Source {
    const ALL: [Self; 3] = [Self::Upstream, Self::Local, Self::Refused];

    /// The word in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Local => "local",
            Self::Refused => "refused",
        }
    }
}

/// A bound that a query can meet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// Of the process.
    InFlight,
    /// Of one route.
    InFlightOnRoute,
    /// Of the connections to a server.
    InFlightOnConnections,
}

impl Limit {
    const ALL: [Self; 3] = [Self::InFlight, Self::InFlightOnRoute, Self::InFlightOnConnections];

    /// Its name in the manifest.
    pub fn label(self) -> &'static str {
        match self {
            Self::InFlight => "limits.maxInFlight",
            Self::InFlightOnRoute => "routes.maxInFlight",
            Self::InFlightOnConnections => "connections.maxInFlight",
        }
    }
}

/// The types that have a label of their own; all others are `other`.
const QTYPES: [u16; 16] = [1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 43, 46, 48, 64, 65, 255];

/// The rcodes that have a label of their own; all others are `other`.
const RCODES: [u16; 7] = [0, 1, 2, 3, 4, 5, 16];

/// Seconds: from an answer at once to the longest deadline.
const BUCKETS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 4.0,
];

/// The pipeline's families; clones share them.
#[derive(Clone)]
pub struct PipelineMetrics {
    queries: Vec<Counter>,
    responses: Vec<Counter>,
    duration: Histogram,
    loops: Counter,
    limited: [Counter; Limit::ALL.len()],
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct QueryLabels {
    transport: &'static str,
    qtype: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResponseLabels {
    rcode: String,
    source: &'static str,
}

impl PipelineMetrics {
    /// Registers the families, with every series that there will ever be.
    pub fn register(registry: &mut Registry) -> Self {
        let queries = Family::<QueryLabels, Counter>::default();
        registry.register("dnsproxy_queries", "Queries of clients", queries.clone());
        let responses = Family::<ResponseLabels, Counter>::default();
        registry.register("dnsproxy_responses", "Replies to clients", responses.clone());
        let duration = Histogram::new(BUCKETS);
        registry.register(
            "dnsproxy_query_duration_seconds",
            "From a query to its reply",
            duration.clone(),
        );
        let loops = Counter::default();
        registry.register(
            "dnsproxy_loops",
            "Questions of the cluster's DNS that would have gone back to it",
            loops.clone(),
        );
        let limited = Family::<LimitLabel, Counter>::default();
        registry.register(
            "dnsproxy_limited",
            "Queries that got SERVFAIL at once because of a bound",
            limited.clone(),
        );

        let query =
            |transport: Transport, qtype| QueryLabels { transport: transport.label(), qtype };
        let response = |rcode, source: Source| ResponseLabels { rcode, source: source.label() };
        Self {
            queries: (Transport::ALL.iter())
                .flat_map(|&transport| qtype_labels().map(move |qtype| query(transport, qtype)))
                .map(|labels| queries.get_or_create_owned(&labels))
                .collect(),
            responses: (Source::ALL.iter())
                .flat_map(|&source| rcode_labels().map(move |rcode| response(rcode, source)))
                .map(|labels| responses.get_or_create_owned(&labels))
                .collect(),
            duration,
            loops,
            limited: Limit::ALL
                .map(|limit| limited.get_or_create_owned(&LimitLabel { limit: limit.label() })),
        }
    }

    /// Counts a query that met a bound.
    pub fn count_limited(&self, limit: Limit) {
        let known = Limit::ALL.iter().zip(&self.limited).find(|(known, _)| **known == limit);
        if let Some((_, counter)) = known {
            counter.inc();
        }
    }

    /// Counts a question that would have gone back to where it came from.
    pub fn count_loop(&self) {
        self.loops.inc();
    }

    /// Counts a query.
    pub fn count_query(&self, transport: Transport, qtype: Qtype) {
        let column = QTYPES.iter().position(|&known| known == qtype.0).unwrap_or(QTYPES.len());
        if let Some(counter) = self.queries.get(transport.index() * (QTYPES.len() + 1) + column) {
            counter.inc();
        }
    }

    /// Counts a reply.
    pub fn count_response(&self, rcode: Rcode, source: Source, duration: Duration) {
        let row = Source::ALL.iter().position(|&known| known == source).unwrap_or_default();
        let column = RCODES.iter().position(|&known| known == rcode.0).unwrap_or(RCODES.len());
        if let Some(counter) = self.responses.get(row * (RCODES.len() + 1) + column) {
            counter.inc();
        }
        self.duration.observe(duration.as_secs_f64());
    }
}

fn qtype_labels() -> impl Iterator<Item = String> {
    QTYPES.iter().map(|&qtype| Qtype(qtype).to_string()).chain(["other".to_owned()])
}

fn rcode_labels() -> impl Iterator<Item = String> {
    RCODES.iter().map(|&rcode| Rcode(rcode).to_string()).chain(["other".to_owned()])
}

impl fmt::Debug for PipelineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PipelineMetrics")
    }
}
