//! The log of queries: one JSON line each, on standard output.
//!
//! No query waits for a line: see [`LineWriter`].

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dnsproxy_api::v1alpha1::QueryLogMode;
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::{
    lines::LineWriter,
    listener::Client,
    message::{Question, Rcode},
    pipeline::Source,
};

/// What became of one query.
#[derive(Clone, Copy, Debug)]
pub struct Record<'q> {
    /// Who asked.
    pub client: Client,
    /// What was asked.
    pub question: &'q Question<'q>,
    /// What was answered; `None` where a rule wants no reply.
    pub rcode: Option<Rcode>,
    /// Where the reply came from.
    pub source: Source,
    /// Which upstream it came from.
    pub upstream: Option<&'q str>,
    /// From the query to its reply.
    pub duration: Duration,
}

/// The line of one query.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'q> {
    /// Seconds since 1970, with milliseconds.
    time: f64,
    client: String,
    transport: &'static str,
    qname: String,
    qtype: String,
    rcode: Option<String>,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'q str>,
    duration_ms: f64,
}

/// Decides which queries are logged.
#[derive(Clone, Debug)]
pub struct QueryLog {
    mode: QueryLogMode,
    one_in: u64,
    seen: Arc<AtomicU64>,
    writer: LineWriter,
}

/// Starts the thread that writes the lines of all query logs.
pub fn start_writer(registry: &mut Registry) -> io::Result<LineWriter> {
    let writer = LineWriter::start("query-log", io::stdout())?;
    registry.register(
        "dnsproxy_query_log_dropped",
        "Lines of the query log that could not be written in time",
        writer.dropped().clone(),
    );
    Ok(writer)
}

impl QueryLog {
    /// Logs the queries of `mode`, one of `one_in`.
    pub fn new(mode: QueryLogMode, one_in: u32, writer: LineWriter) -> Self {
        Self { mode, one_in: u64::from(one_in.max(1)), seen: Arc::default(), writer }
    }

    /// The same log with other settings: which one of so many is next goes on.
    #[must_use]
    pub fn with(&self, mode: QueryLogMode, one_in: u32) -> Self {
        Self { mode, one_in: u64::from(one_in.max(1)), ..self.clone() }
    }

    /// Logs a query, if it is one that should be.
    pub fn note(&self, record: &Record<'_>) {
        if self.is_wanted(record.rcode)
            && self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_in)
        {
            self.writer.write(line(record, SystemTime::now()));
        }
    }

    fn is_wanted(&self, rcode: Option<Rcode>) -> bool {
        match self.mode {
            QueryLogMode::None => false,
            QueryLogMode::Failures => !matches!(rcode, Some(Rcode::NOERROR | Rcode::NXDOMAIN)),
            QueryLogMode::All => true,
        }
    }
}

fn line(record: &Record<'_>, now: SystemTime) -> Vec<u8> {
    let Record { client, question, rcode, source, upstream, duration } = *record;
    let time = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = Line {
        time: (time.as_secs_f64() * 1e3).round() / 1e3,
        client: client.address.to_string(),
        transport: client.transport.label(),
        qname: question.name.to_string(),
        qtype: question.qtype.to_string(),
        rcode: rcode.map(|rcode| rcode.to_string()),
        source: source.label(),
        upstream,
        duration_ms: (duration.as_secs_f64() * 1e6).round() / 1e3,
    };
    let mut octets = serde_json::to_vec(&line).unwrap_or_default();
    octets.push(b'\n');
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        listener::Transport,
        message::{Qclass, Qtype},
    };

    #[test]
    fn a_line_is_json_whatever_the_name_holds() {
        let name = crate::message::Name::read(b"\x05a\0\"\n{\0", 0).unwrap().0;
        let question = Question { name, qtype: Qtype(65280), qclass: Qclass::IN };
        let record = Record {
            client: Client { address: [192, 0, 2, 1].into(), transport: Transport::Tcp },
            question: &question,
            rcode: Some(Rcode::SERVFAIL),
            source: Source::Local,
            upstream: None,
            duration: Duration::from_micros(1500),
        };

        let octets = line(&record, UNIX_EPOCH + Duration::from_millis(1500));
        let line: serde_json::Value = serde_json::from_slice(&octets).unwrap();

        assert_eq!(octets.iter().filter(|&&octet| octet == b'\n').count(), 1, "one line");
        assert_eq!(line["qname"], "a\\000\\\"\\010{.");
        assert_eq!(line["qtype"], "TYPE65280");
        assert_eq!(line["time"], 1.5);
        assert_eq!(line["durationMs"], 1.5);
    }
}
