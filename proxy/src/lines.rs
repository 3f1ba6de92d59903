//! Lines that a thread of its own writes, so that nobody waits for who reads them.
//!
//! Logs go through pipes that their reader empties when it can. When it cannot keep up, lines are dropped and counted: a
//! resolver that stops because of its log is worse than a log with a gap.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Lines that wait to be written: our guess, about a megabyte.
const QUEUE: usize = 4096;

/// How long the end of the process waits for whoever reads the lines: our guess.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The thread that writes; clones share it.
#[derive(Clone, Debug)]
pub struct LineWriter {
    queue: mpsc::Sender<Item>,
    dropped: Counter,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// All before it is written.
    Flush(oneshot::Sender<()>),
}

impl LineWriter {
    /// Starts the thread, of this name. It ends with the last clone.
    pub fn start(name: &str, mut out: impl Write + Send + 'static) -> io::Result<Self> {
        // One that takes no memory for what is not in it.
        let (queue, mut items) = mpsc::channel(QUEUE);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(item) = items.blocking_recv() {
                match item {
                    // Nobody reads any more: there is nothing better to do than to go on.
                    Item::Line(line) => drop(out.write_all(&line)),
                    Item::Flush(done) => drop(done.send(())),
                }
            }
        })?;
        Ok(Self { queue, dropped: Counter::default() })
    }

    /// Counts the lines that could not be written in time.
    pub fn dropped(&self) -> &Counter {
        &self.dropped
    }

    /// Writes one line, with its end, some time.
    pub fn write(&self, line: Vec<u8>) {
        if self.queue.try_send(Item::Line(line)).is_err() {
            self.dropped.inc();
        }
    }

    /// Waits until all lines are written, unless nobody reads them.
    pub async fn flush(&self) {
        let flushed = async {
            let (done, flushed) = oneshot::channel();
            // There may be no room yet.
            self.queue.send(Item::Flush(done)).await.ok();
            flushed.await.ok();
        };
        timeout(FLUSH_LIMIT, flushed).await.ok();
    }
}

/// Each write is a line, or several.
impl Write for &LineWriter {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        LineWriter::write(self, octets.to_vec());
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, sync_channel},
    };

    use futures::FutureExt;

    use super::*;

    /// A reader that takes a line for each token.
    struct Slow {
        tokens: Receiver<()>,
        taken: Arc<AtomicU64>,
    }

    impl Write for Slow {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.tokens.recv().ok();
            self.taken.fetch_add(1, Ordering::SeqCst);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn who_flushes_waits_for_all_lines_before() {
        let ((give, tokens), taken) = (sync_channel(3), Arc::default());
        let writer = LineWriter::start("lab", Slow { tokens, taken: Arc::clone(&taken) }).unwrap();
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
    fn nobody_waits_for_who_does_not_read_and_what_is_lost_is_counted() {
        let ((_give, tokens), taken) = (sync_channel(0), Arc::default());
        let writer = LineWriter::start("lab", Slow { tokens, taken }).unwrap();
        let lines = 2 * QUEUE as u64;

        (0..lines).for_each(|_| writeln!(&writer, "line").unwrap());

        // The thread may have taken one out of the queue, and holds it.
        let kept = lines - writer.dropped().get();
        assert!((QUEUE as u64..=QUEUE as u64 + 1).contains(&kept), "{kept} of {lines}");
    }
}
