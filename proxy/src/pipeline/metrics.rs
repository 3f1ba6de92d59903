//! What is counted of every query.
//!
//! All label values are made at the start, from closed sets: no client can add a series, and counting is
//! one addition.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::{
    listener::Transport,
    message::{Qtype, Rcode},
    metrics::family::{ShardedFamily, ShardedHistogram},
};

/// Where a reply came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// An upstream.
    Upstream,
    /// The cache.
    Cache,
    /// The cache, where there was no better one to be had in time.
    Stale,
    /// A rule.
    Rule,
    /// The proxy itself.
    Local,
    /// The proxy, which would not answer this client.
    Refused,
}

impl Source {
    const ALL: [Self; 6] =
        [Self::Upstream, Self::Cache, Self::Stale, Self::Rule, Self::Local, Self::Refused];

    /// The word in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Cache => "cache",
            Self::Stale => "stale",
            Self::Rule => "rule",
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

/// Microseconds: from an answer at once to the longest deadline.
const BUCKETS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 4_000_000,
];

/// The pipeline's families; clones share them.
#[derive(Clone)]
pub struct PipelineMetrics {
    queries: ShardedFamily<QueryLabels>,
    responses: ShardedFamily<ResponseLabels>,
    duration: ShardedHistogram,
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
        let query =
            |transport: Transport, qtype| QueryLabels { transport: transport.label(), qtype };
        let queries = ShardedFamily::new(
            (Transport::ALL.iter())
                .flat_map(|&transport| qtype_labels().map(move |qtype| query(transport, qtype))),
        );
        registry.register("dnsproxy_queries", "Queries of clients", queries.clone());
        let response = |rcode, source: Source| ResponseLabels { rcode, source: source.label() };
        let responses = ShardedFamily::new(
            (Source::ALL.iter())
                .flat_map(|&source| rcode_labels().map(move |rcode| response(rcode, source))),
        );
        registry.register("dnsproxy_responses", "Replies to clients", responses.clone());
        let duration = ShardedHistogram::new(BUCKETS.map(Duration::from_micros));
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
        Self {
            queries,
            responses,
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
        self.queries.count(transport.index() * (QTYPES.len() + 1) + column);
    }

    /// Counts a reply.
    pub fn count_response(&self, rcode: Rcode, source: Source, duration: Duration) {
        let row = Source::ALL.iter().position(|&known| known == source).unwrap_or_default();
        let column = RCODES.iter().position(|&known| known == rcode.0).unwrap_or(RCODES.len());
        self.responses.count(row * (RCODES.len() + 1) + column);
        self.duration.observe(duration);
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
