//! The worker threads: each has one runtime and one socket of every listening address.
//!
//! A worker's turn is: datagrams (a bounded batch), then everything else that is ready: connections of
//! clients, connections to upstreams, answers. Nothing on a worker waits for another one.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    listener::{
        Connections, ListenerMetrics,
        bind::{Hold, Sockets},
        tcp::TcpAcceptor,
        udp::UdpListener,
    },
    pipeline::Pipeline,
    shutdown::Tasks,
};

/// Listening addresses that wait to be taken up by one worker; there are at most as many at a time as the
/// manifest has addresses.
const QUEUE: usize = 64;

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    /// What decides about queries; changes at a reload.
    pub pipeline: watch::Receiver<Arc<Pipeline>>,
    /// The open TCP connections of clients.
    pub connections: Arc<Connections>,
    /// What listeners count.
    pub metrics: ListenerMetrics,
    /// Listeners, connections of clients and queries that wait.
    pub serving: Tasks,
    /// Cancelled when a listener or a worker cannot go on.
    pub failed: CancellationToken,
}

/// The threads.
pub struct Workers {
    threads: Vec<Thread>,
    dialer: Dialer,
    end: CancellationToken,
}

/// The thread on which connections to upstreams are made: their handshakes would else hold up answers.
struct Dialer {
    handle: JoinHandle<()>,
    runtime: Handle,
}

struct Thread {
    jobs: mpsc::Sender<Job>,
    handle: JoinHandle<()>,
    runtime: Handle,
}

/// One listening address, for one worker.
struct Job {
    address: SocketAddr,
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
    hold: Hold,
    stop: CancellationToken,
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(count: usize, shared: &Shared) -> io::Result<Self> {
        let end = CancellationToken::new();
        let threads = (0..count)
            .map(|index| Thread::start(index, shared.clone(), end.clone()))
            .collect::<Result<_, _>>()?;
        Ok(Self { threads, dialer: Dialer::start(end.clone())?, end })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Where tasks can be given to each of them.
    pub fn runtimes(&self) -> Vec<Handle> {
        self.threads.iter().map(|thread| thread.runtime.clone()).collect()
    }

    /// Where connections to upstreams are made.
    pub fn dialer(&self) -> Handle {
        self.dialer.runtime.clone()
    }

    /// Serves an address until `stop`, one of its sockets on each worker.
    pub async fn serve(&self, sockets: Sockets, stop: &CancellationToken) {
        let Sockets { endpoint: _, address, udp, tcp, hold } = sockets;
        for ((thread, udp), tcp) in self.threads.iter().zip(udp).zip(tcp) {
            // A worker takes its queue only while it runs; it ends after this value does.
            let (hold, stop) = (Hold::clone(&hold), stop.clone());
            thread.jobs.send(Job { address, udp, tcp, hold, stop }).await.ok();
        }
    }

    /// Ends the threads, and what still runs on them.
    pub fn end(self) {
        self.end.cancel();
        // A panic on a thread was reported when it happened.
        for thread in self.threads {
            thread.handle.join().ok();
        }
        self.dialer.handle.join().ok();
    }
}

impl Dialer {
    fn start(end: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let spawner = runtime.handle().clone();
        let body = move || runtime.block_on(end.cancelled());
        let handle = thread::Builder::new().name("dialer".to_owned()).spawn(body)?;
        Ok(Self { handle, runtime: spawner })
    }
}

impl Thread {
    fn start(index: usize, shared: Shared, end: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let spawner = runtime.handle().clone();
        let (jobs, queue) = mpsc::channel(QUEUE);
        let watch = EndWatch { failed: shared.failed.clone(), end: end.clone() };
        let body = move || watch.over(|| runtime.block_on(work(queue, shared, end)));
        let handle = thread::Builder::new().name(format!("worker-{index}")).spawn(body)?;
        Ok(Self { jobs, handle, runtime: spawner })
    }
}

/// Notices that a worker ends before it should: its sockets and clients are gone with it, so the process ends,
/// to be started again.
struct EndWatch {
    failed: CancellationToken,
    end: CancellationToken,
}

impl EndWatch {
    /// Does the work; a panic passes through here on its way.
    fn over(self, work: impl FnOnce()) {
        work();
    }
}

impl Drop for EndWatch {
    fn drop(&mut self) {
        if !self.end.is_cancelled() {
            tracing::error!(thread = thread::current().name(), "a worker has ended by itself");
            self.failed.cancel();
        }
    }
}

async fn work(mut queue: mpsc::Receiver<Job>, shared: Shared, end: CancellationToken) {
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            Some(job) = queue.recv() => {
                let (address, failed) = (job.address, shared.failed.clone());
                if let Err(error) = take_up(job, &shared) {
                    tracing::error!(%address, %error, "cannot serve the address");
                    failed.cancel();
                }
            }
        }
    }
}

/// Serves one address on this worker, from tasks of its own: the runtime wakes the thread's own future by a system
/// call, and a task by none.
fn take_up(job: Job, shared: &Shared) -> io::Result<()> {
    let Job { address, udp, tcp, hold, stop } = job;
    let Shared { pipeline, connections, metrics, serving, failed } = shared.clone();
    let udp = UdpListener::new(udp, Hold::clone(&hold), pipeline.clone(), metrics.clone())?;
    let tcp = TcpAcceptor::new(tcp, pipeline, connections, metrics, serving.clone())?;
    let (stop_udp, failed_udp) = (stop.clone(), failed.clone());
    serving.spawn(watch_over(address, "udp", failed_udp, udp.serve(stop_udp)));
    serving.spawn(watch_over(address, "tcp", failed, async move {
        let result = tcp.serve(stop).await;
        drop(hold);
        result
    }));
    Ok(())
}

/// Notices that a listener fails, or panics: nobody would answer its clients any more.
async fn watch_over(
    address: SocketAddr,
    transport: &'static str,
    failed: CancellationToken,
    serve: impl Future<Output = io::Result<()>>,
) {
    let failed = failed.drop_guard();
    match serve.await {
        Ok(()) => drop(failed.disarm()),
        Err(error) => tracing::error!(%address, transport, %error, "cannot serve any more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_by_itself_is_noticed_and_one_that_was_told_to_is_not() {
        type Work = fn(CancellationToken);
        let cases: [(&str, Work, bool); 3] = [
            ("a panic", |_| panic!("as a defect would"), true),
            ("an end that nobody asked for", |_| {}, true),
            ("an end that was asked for", |end| end.cancel(), false),
        ];

        for (why, work, expected) in cases {
            let (failed, end) = (CancellationToken::new(), CancellationToken::new());
            let watch = EndWatch { failed: failed.clone(), end: end.clone() };
            thread::spawn(move || watch.over(|| work(end))).join().ok();
            assert_eq!(failed.is_cancelled(), expected, "{why}");
        }
    }
}
