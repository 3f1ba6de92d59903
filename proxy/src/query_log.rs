//! The log of queries: one JSON line each, on standard output.
//!
//! Lines are written by a thread of their own; when it cannot keep up, lines are dropped and counted, and
//! no query waits.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dnsproxy_api::v1alpha1::QueryLogMode;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::{
    listener::Client,
    message::{Question, Rcode},
    pipeline::Source,
};

/// Lines that wait to be written: our guess, about a megabyte.
const QUEUE: usize = 4096;

/// How long the end of the process waits for whoever reads the lines: our guess.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

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
    writer: QueryLogWriter,
}

/// The thread that writes; clones share it.
#[derive(Clone, Debug)]
pub struct QueryLogWriter {
    queue: SyncSender<Item>,
    dropped: Counter,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// All before it is written.
    Flush(oneshot::Sender<()>),
}

impl QueryLogWriter {
    /// Starts the thread. It ends with the last clone.
    pub fn start(registry: &mut Registry) -> std::io::Result<Self> {
        Self::to(std::io::stdout(), registry)
    }

    fn to(mut out: impl Write + Send + 'static, registry: &mut Registry) -> std::io::Result<Self> {
        let dropped = Counter::default();
        registry.register(
            "dnsproxy_query_log_dropped",
            "Lines of the query log that could not be written in time",
            dropped.clone(),
        );
        let (queue, items) = sync_channel(QUEUE);
        std::thread::Builder::new().name("query-log".to_owned()).spawn(move || {
            for item in items {
                match item {
                    // Nobody reads standard output any more: there is nothing better to do than to go on.
                    Item::Line(line) => drop(out.write_all(&line)),
                    Item::Flush(done) => drop(done.send(())),
                }
            }
        })?;
        Ok(Self { queue, dropped })
    }

    /// Waits until all lines are written, unless nobody reads them.
    pub async fn flush(&self) {
        let (queue, (done, flushed)) = (self.queue.clone(), oneshot::channel());
        // There may be no room yet.
        tokio::task::spawn_blocking(move || queue.send(Item::Flush(done)));
        tokio::time::timeout(FLUSH_LIMIT, flushed).await.ok();
    }

    fn write(&self, line: Vec<u8>) {
        if self.queue.try_send(Item::Line(line)).is_err() {
            self.dropped.inc();
        }
    }
}

impl QueryLog {
    /// Logs the queries of `mode`, one of `one_in`.
    pub fn new(mode: QueryLogMode, one_in: u32, writer: QueryLogWriter) -> Self {
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
    use futures::FutureExt;

    use super::*;
    use crate::{
        listener::Transport,
        message::{Qclass, Qtype},
    };

    /// A reader that takes a line for each token.
    struct Slow {
        tokens: std::sync::mpsc::Receiver<()>,
        taken: Arc<AtomicU64>,
    }

    impl Write for Slow {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.tokens.recv().ok();
            self.taken.fetch_add(1, Ordering::SeqCst);
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn who_flushes_waits_for_all_lines_before() {
        let ((give, tokens), taken) = (sync_channel(3), Arc::default());
        let out = Slow { tokens, taken: Arc::clone(&taken) };
        let writer = QueryLogWriter::to(out, &mut Registry::default()).unwrap();
        for _ in 0..3 {
            writer.write(b"{}\n".to_vec());
        }
        let mut flushing = Box::pin(writer.flush());
        assert!((&mut flushing).now_or_never().is_none());

        (0..3).for_each(|_| give.send(()).unwrap());
        flushing.await;

        assert_eq!(taken.load(Ordering::SeqCst), 3);
    }

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
