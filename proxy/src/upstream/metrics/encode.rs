//! How the series of upstreams are written for `/metrics`.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::Counter},
};

use super::{Metrics, ServerSeries, UpstreamSeries, failover_words, outcome_words};

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (upstreams, servers) = self.live();
        encode_queries(&mut encoder, &servers)?;
        encode_upstreams(&mut encoder, &upstreams)?;
        encode_failovers(&mut encoder, &upstreams)?;
        encode_servers(&mut encoder, &servers)
    }
}

/// A word that was never the outcome is left out: there are many, and few happen.
fn encode_queries(
    encoder: &mut DescriptorEncoder<'_>,
    servers: &[Arc<ServerSeries>],
) -> Result<(), fmt::Error> {
    let help = "Queries to a server, by what came of them";
    let rows = servers.iter().flat_map(|series| {
        let [upstream, server] = series.labels();
        let happened =
            outcome_words().zip(&series.outcomes).filter(|(_, counter)| counter.get() > 0);
        happened.map(move |(word, counter)| ([upstream, server, ("outcome", word)], counter))
    });
    encode_counters(encoder, "queries", help, rows)
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
    let rows = upstreams.iter().flat_map(|series| {
        let kinds = [("full", &series.full_handshakes), ("resumed", &series.resumed_handshakes)];
        kinds.map(|(kind, counter)| ([("upstream", &*series.name), ("kind", kind)], counter))
    });
    encode_counters(encoder, "handshakes", help, rows)?;
    let help = "Queries that a second server was asked because the first one was late";
    let rows = upstreams.iter().map(|series| ([("upstream", &*series.name)], &series.hedges));
    encode_counters(encoder, "hedges", help, rows)?;
    let help = "Of these, those that the second server answered first";
    let rows = upstreams.iter().map(|series| ([("upstream", &*series.name)], &series.won_hedges));
    encode_counters(encoder, "hedges_won", help, rows)
}

/// As with outcomes, reasons that never were are left out.
fn encode_failovers(
    encoder: &mut DescriptorEncoder<'_>,
    upstreams: &[Arc<UpstreamSeries>],
) -> Result<(), fmt::Error> {
    let help = "Queries that went on from a server of this upstream to another server";
    let rows = upstreams.iter().flat_map(|series| {
        let happened =
            failover_words().zip(&series.failovers).filter(|(_, counter)| counter.get() > 0);
        happened.map(|(word, counter)| ([("upstream", &*series.name), ("reason", word)], counter))
    });
    encode_counters(encoder, "failovers", help, rows)
}

fn encode_servers(
    encoder: &mut DescriptorEncoder<'_>,
    servers: &[Arc<ServerSeries>],
) -> Result<(), fmt::Error> {
    let help = "Whether the server is not known to fail";
    encode_gauges(encoder, "healthy", help, servers, |series| {
        Some(i64::from(series.is_healthy.load(Ordering::Relaxed)))
    })?;
    let help = "Open connections to the server";
    encode_gauges(encoder, "connections", help, servers, |series| Some(series.connections.get()))?;
    let help = "Queries that wait for an answer of the server";
    encode_gauges(encoder, "in_flight", help, servers, |series| Some(series.in_flight.get()))?;
    let help = "When the certificate of the server expires, in seconds since 1970";
    encode_gauges(encoder, "certificate_expiry_timestamp_seconds", help, servers, |series| {
        series.not_after().map(Timestamp::as_second)
    })?;
    let help = "Messages of a server that answer nothing that was asked, and are dropped";
    let rows = servers.iter().map(|series| (series.labels(), &series.unexpected));
    encode_counters(encoder, "unexpected_responses", help, rows)?;
    let help = "How often a server was taken out because it forwards to this proxy";
    let rows = servers.iter().map(|series| (series.labels(), &series.loops));
    encode_counters(encoder, "loops", help, rows)
}

fn encode_counters<'c, const COUNT: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = ([(&'c str, &'c str); COUNT], &'c Counter)>,
) -> Result<(), fmt::Error>
where
    [(&'c str, &'c str); COUNT]: EncodeLabelSet,
{
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, counter) in rows {
        let count = counter.get();
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
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
