//! The metrics of upstreams.
//!
//! The series of a server live as long as somebody uses the server: a reload that keeps its name and address
//! keeps its counters, and one that removes it removes them. So they are not kept in families, which
//! know no users, but here, and are written when they are asked for.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{error::ExchangeError, search::SILENCE, tls::Resumed};
use crate::message::Rcode;

mod encode;

/// Where the series of all upstreams are found.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct All {
    upstreams: BTreeMap<Arc<str>, Weak<UpstreamSeries>>,
    servers: BTreeMap<(Arc<str>, SocketAddr), Weak<ServerSeries>>,
}

impl Metrics {
    /// Has the metrics written with those of `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry
            .sub_registry_with_prefix("dnsproxy_upstream")
            .register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// The series of an upstream, the same for all who ask at a time.
    pub(super) fn upstream(&self, name: &Arc<str>) -> Arc<UpstreamSeries> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.upstreams.entry(Arc::clone(name)).or_default();
        known.upgrade().unwrap_or_else(|| {
            let series = Arc::new(UpstreamSeries::new(name));
            *known = Arc::downgrade(&series);
            series
        })
    }

    /// The series of a server, the same for all who ask at a time.
    pub(super) fn server(&self, upstream: &Arc<str>, server: SocketAddr) -> Arc<ServerSeries> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.servers.entry((Arc::clone(upstream), server)).or_default();
        known.upgrade().unwrap_or_else(|| {
            let series = Arc::new(ServerSeries::new(upstream, server));
            *known = Arc::downgrade(&series);
            series
        })
    }

    /// The series that are in use; the others are forgotten.
    fn live(&self) -> (Vec<Arc<UpstreamSeries>>, Vec<Arc<ServerSeries>>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.upstreams.retain(|_, series| series.strong_count() > 0);
        all.servers.retain(|_, series| series.strong_count() > 0);
        (
            all.upstreams.values().filter_map(Weak::upgrade).collect(),
            all.servers.values().filter_map(Weak::upgrade).collect(),
        )
    }
}

/// What is counted per upstream.
#[derive(Debug)]
pub(super) struct UpstreamSeries {
    name: Arc<str>,
    duration: Histogram,
    full_handshakes: Counter,
    resumed_handshakes: Counter,
    hedges: Counter,
    won_hedges: Counter,
    failovers: [Counter; FAILOVERS],
}

impl UpstreamSeries {
    fn new(name: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(name),
            duration: Histogram::new(BUCKETS),
            full_handshakes: Counter::default(),
            resumed_handshakes: Counter::default(),
            hedges: Counter::default(),
            won_hedges: Counter::default(),
            failovers: std::array::from_fn(|_| Counter::default()),
        }
    }

    /// Counts a handshake that led to an authenticated server.
    pub(super) fn count_handshake(&self, resumed: Resumed) {
        match resumed {
            Resumed::Yes => self.resumed_handshakes.inc(),
            Resumed::No => self.full_handshakes.inc(),
        };
    }

    /// Counts a question to one of the servers for an answer that another one is late with.
    pub(super) fn count_hedge(&self) {
        self.hedges.inc();
    }

    /// Counts one of these that came first.
    pub(super) fn count_won_hedge(&self) {
        self.won_hedges.inc();
    }

    /// Counts a question that went on to another server.
    pub(super) fn count_failover(&self, reason: &str) {
        count(failover_words().zip(&self.failovers), reason);
    }

    /// Notes how long an answer took.
    pub(super) fn observe(&self, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
    }
}

/// From a server next door to one that nearly timed out, in seconds.
const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// What is counted per server.
#[derive(Debug)]
pub(super) struct ServerSeries {
    upstream: Arc<str>,
    server: String,
    outcomes: [Counter; OUTCOMES],
    pub(super) connections: Gauge,
    /// Messages that answer nothing that was asked.
    pub(super) unexpected: Counter,
    /// How often it turned out to lead back to us.
    pub(super) loops: Counter,
    /// Questions that wait for an answer.
    pub(super) in_flight: Gauge,
    is_healthy: AtomicBool,
    /// See [`ServerSeries::begin_term`].
    term: AtomicU64,
    /// Seconds since 1970; zero while unknown.
    not_after: AtomicI64,
}

impl ServerSeries {
    fn new(upstream: &Arc<str>, server: SocketAddr) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            server: server.to_string(),
            outcomes: std::array::from_fn(|_| Counter::default()),
            connections: Gauge::default(),
            unexpected: Counter::default(),
            loops: Counter::default(),
            in_flight: Gauge::default(),
            is_healthy: AtomicBool::new(true),
            term: AtomicU64::new(0),
            not_after: AtomicI64::new(0),
        }
    }

    /// Counts what came of one query.
    pub(super) fn count(&self, outcome: Result<Rcode, &ExchangeError>) {
        let word = match outcome {
            Ok(rcode) => word_of(rcode),
            Err(error) => error.reason(),
        };
        count(outcome_words().zip(&self.outcomes), word);
    }

    /// Counts a query that was answered by another server first.
    pub(super) fn count_abandoned(&self) {
        count(outcome_words().zip(&self.outcomes), ABANDONED);
    }

    /// What counts from now on is what the server says that gets this number: after a reload the one before it may still
    /// have questions out.
    pub(super) fn begin_term(&self) -> u64 {
        self.term.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn set_healthy(&self, term: u64, is_healthy: bool) {
        if self.term.load(Ordering::Relaxed) == term {
            self.is_healthy.store(is_healthy, Ordering::Relaxed);
        }
    }

    pub(super) fn set_not_after(&self, not_after: Option<Timestamp>) {
        self.not_after.store(not_after.map_or(0, Timestamp::as_second), Ordering::Relaxed);
    }

    /// Until when the server's certificate is valid, as it was seen last.
    pub(super) fn not_after(&self) -> Option<Timestamp> {
        let seconds = self.not_after.load(Ordering::Relaxed);
        (seconds != 0).then(|| Timestamp::from_second(seconds).ok())?
    }

    fn labels(&self) -> [(&str, &str); 2] {
        [("upstream", &self.upstream), ("server", &self.server)]
    }
}

/// The outcomes that are answers; the others are those of [`ExchangeError::reason`].
const ANSWERS: [&str; 7] =
    ["noerror", "nxdomain", "servfail", "refused", "notimp", "formerr", "other_rcode"];
/// The outcome of a query of which the answer was not waited for.
const ABANDONED: &str = "abandoned";
const OUTCOMES: usize = ANSWERS.len() + ExchangeError::REASONS.len() + 1;

fn outcome_words() -> impl Iterator<Item = &'static str> {
    ANSWERS.iter().chain(&ExchangeError::REASONS).chain(&[ABANDONED]).copied()
}

/// Why a question went on to another server.
const FAILOVERS: usize = ANSWERS.len() + ExchangeError::REASONS.len() + 1;

fn failover_words() -> impl Iterator<Item = &'static str> {
    ANSWERS.iter().chain(&ExchangeError::REASONS).chain(&[SILENCE]).copied()
}

fn count<'c>(mut counters: impl Iterator<Item = (&'static str, &'c Counter)>, word: &str) {
    if let Some((_, counter)) = counters.find(|(known, _)| *known == word) {
        counter.inc();
    }
}

/// The word for an answer in metrics.
pub(super) fn word_of(rcode: Rcode) -> &'static str {
    match rcode {
        Rcode::NOERROR => "noerror",
        Rcode::NXDOMAIN => "nxdomain",
        Rcode::SERVFAIL => "servfail",
        Rcode::REFUSED => "refused",
        Rcode::NOTIMP => "notimp",
        Rcode::FORMERR => "formerr",
        _ => "other_rcode",
    }
}
