//! The metrics of upstreams.
//!
//! The series of a server live as long as somebody uses the server: a reload that keeps its name and address
//! keeps its counters, and one that removes it removes them. So they are not kept in families, which
//! know no users, but here, and are written when they are asked for.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{error::ExchangeError, tls::Resumed};
use crate::message::Rcode;

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
}

impl UpstreamSeries {
    fn new(name: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(name),
            duration: Histogram::new(BUCKETS),
            full_handshakes: Counter::default(),
            resumed_handshakes: Counter::default(),
        }
    }

    /// Counts a handshake that led to an authenticated server.
    pub(super) fn count_handshake(&self, resumed: Resumed) {
        match resumed {
            Resumed::Yes => self.resumed_handshakes.inc(),
            Resumed::No => self.full_handshakes.inc(),
        };
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
    is_healthy: AtomicBool,
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
            is_healthy: AtomicBool::new(true),
            not_after: AtomicI64::new(0),
        }
    }

    /// Counts what came of one query.
    pub(super) fn count(&self, outcome: Result<Rcode, &ExchangeError>) {
        let word = match outcome {
            Ok(rcode) => word_of(rcode),
            Err(error) => error.reason(),
        };
        if let Some((_, counter)) =
            outcome_words().zip(&self.outcomes).find(|(known, _)| *known == word)
        {
            counter.inc();
        }
    }

    pub(super) fn set_healthy(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::Relaxed);
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
const OUTCOMES: usize = ANSWERS.len() + ExchangeError::REASONS.len();

fn outcome_words() -> impl Iterator<Item = &'static str> {
    ANSWERS.into_iter().chain(ExchangeError::REASONS)
}

fn word_of(rcode: Rcode) -> &'static str {
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

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (upstreams, servers) = self.live();
        encode_queries(&mut encoder, &servers)?;
        encode_upstreams(&mut encoder, &upstreams)?;
        encode_servers(&mut encoder, &servers)
    }
}

/// A word that was never the outcome is left out: there are many, and few happen.
fn encode_queries(
    encoder: &mut DescriptorEncoder<'_>,
    servers: &[Arc<ServerSeries>],
) -> Result<(), fmt::Error> {
    let help = "Queries to a server, by what came of them";
    let mut family = encoder.encode_descriptor("queries", help, None, MetricType::Counter)?;
    for series in servers {
        let [upstream, server] = series.labels();
        for (outcome, counter) in outcome_words().zip(&series.outcomes) {
            if counter.get() > 0 {
                let labels = [upstream, server, ("outcome", outcome)];
                family
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&counter.get(), None)?;
            }
        }
    }
    Ok(())
}

fn encode_upstreams(
    encoder: &mut DescriptorEncoder<'_>,
    upstreams: &[Arc<UpstreamSeries>],
) -> Result<(), fmt::Error> {
    let help = "Time from a query to its answer, in seconds";
    let mut family =
        encoder.encode_descriptor("duration_seconds", help, None, MetricType::Histogram)?;
    for series in upstreams {
        series.duration.encode(family.encode_family(&[("upstream", &*series.name)])?)?;
    }
    let help = "TLS handshakes that led to an authenticated server";
    let mut family = encoder.encode_descriptor("handshakes", help, None, MetricType::Counter)?;
    for series in upstreams {
        for (kind, counter) in
            [("full", &series.full_handshakes), ("resumed", &series.resumed_handshakes)]
        {
            let labels = [("upstream", &*series.name), ("kind", kind)];
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&counter.get(), None)?;
        }
    }
    Ok(())
}

fn encode_servers(
    encoder: &mut DescriptorEncoder<'_>,
    servers: &[Arc<ServerSeries>],
) -> Result<(), fmt::Error> {
    let help = "Whether the last try to reach the server succeeded";
    encode_gauges(encoder, "healthy", help, servers, |series| {
        Some(i64::from(series.is_healthy.load(Ordering::Relaxed)))
    })?;
    let help = "Open connections to the server";
    encode_gauges(encoder, "connections", help, servers, |series| Some(series.connections.get()))?;
    let help = "When the certificate of the server expires, in seconds since 1970";
    encode_gauges(encoder, "certificate_expiry_timestamp_seconds", help, servers, |series| {
        series.not_after().map(Timestamp::as_second)
    })?;
    let help = "Messages of a server that answer nothing that was asked, and are dropped";
    let mut family =
        encoder.encode_descriptor("unexpected_responses", help, None, MetricType::Counter)?;
    for series in servers {
        let counter = series.unexpected.get();
        family
            .encode_family(&series.labels())?
            .encode_counter::<NoLabelSet, _, u64>(&counter, None)?;
    }
    Ok(())
}

fn encode_gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    servers: &[Arc<ServerSeries>],
    value: impl Fn(&ServerSeries) -> Option<i64>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for series in servers {
        if let Some(value) = value(series) {
            family.encode_family(&series.labels())?.encode_gauge(&value)?;
        }
    }
    Ok(())
}
