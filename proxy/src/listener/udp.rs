//! Queries in datagrams (RFC 1035 section 4.2.1).
//!
//! One turn takes at most [`BATCH`] datagrams in one system call; what can be answered at once is, the
//! rest waits, each with the address to answer from. Replies that are ready at the same time leave in one system
//! call. They never exceed what the client offers and our own ceiling.

use std::{
    cell::RefCell,
    future::{Future, pending, poll_fn},
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use nix::libc;
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync,
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Client, ListenerMetrics, Transport, Trouble, bind::Hold};
use crate::pipeline::{Answer, Finished, Pipeline, Step, Verdict};

mod batch;
mod outbox;
mod watch;

use batch::{Batch, LITTLE_ROOM, Room};
use outbox::Outbox;
use watch::watch;

/// Datagrams per turn: enough to spread the cost of a system call, few enough that other work waits briefly.
const BATCH: usize = 64;

/// More than the largest receive buffer holds of the smallest queries.
const MAX_LAST_BATCHES: usize = 4096;

/// Shorter than any timer of a query, and rare enough to cost nothing.
const PULSE: Duration = Duration::from_millis(8);

/// How long to wait when the process is short of memory or buffers.
const BREATHER: Duration = Duration::from_millis(10);

/// The largest query taken over UDP, in octets. A longer one is no query that anybody sends: our guess.
const MAX_QUERY: usize = 4096;

thread_local! {
    /// It holds something only during a system call and the decisions that follow it at once, so all listeners of a
    /// worker share it.
    static SHARED: RefCell<Batch> = RefCell::new(Batch::new());
}

fn with_batch<T>(work: impl FnOnce(&mut Batch) -> T) -> T {
    SHARED.with_borrow_mut(work)
}

/// One socket of one worker.
pub struct UdpListener {
    socket: AsyncFd<UdpSocket>,
    /// Says until the last reply has left that the address is in use.
    _hold: Hold,
    pipeline: sync::watch::Receiver<Arc<Pipeline>>,
    metrics: ListenerMetrics,
    /// Queries that wait for an upstream; bounded by `limits.maxInFlight`.
    waiting: FuturesUnordered<Waiting>,
    room: Room,
    outbox: Outbox,
    pulse: Pulse,
}

/// Fires every so often while queries wait. The runtime makes a system call for each new timer that is to fire before all
/// others; with this one, no query's timer is that.
struct Pulse {
    timer: Pin<Box<Sleep>>,
    is_beating: bool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { timer: Box::pin(sleep(PULSE)), is_beating: true }
    }
}

impl Pulse {
    /// Queries have begun to wait. While more and more do, it is put off, which takes no system call, so that it need not be
    /// set anew with them.
    fn go_on(&mut self, now: Instant) {
        if !self.is_beating || self.timer.deadline() < now + PULSE / 2 {
            self.is_beating = true;
            self.timer.as_mut().reset(now + PULSE);
        }
    }

    fn beat(&mut self, is_anybody_waiting: bool, now: Instant) {
        self.is_beating = is_anybody_waiting;
        if is_anybody_waiting {
            self.timer.as_mut().reset(now + PULSE);
        }
    }
}

/// One query and where its reply goes.
#[derive(Clone, Copy, Debug)]
struct Origin {
    client: SocketAddr,
    asked: Asked,
}

/// The kernel's note about the address that was asked, on a wildcard socket.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Unknown,
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

/// Waits for the next configuration; for ever when there will be none.
async fn change(
    mut pipeline: sync::watch::Receiver<Arc<Pipeline>>,
) -> sync::watch::Receiver<Arc<Pipeline>> {
    match pipeline.changed().await {
        Ok(()) => pipeline,
        Err(_) => pending().await,
    }
}

/// What seldom happens.
enum Signal {
    Stop,
    /// There is another configuration; who waited for it can wait for the next one.
    Change(sync::watch::Receiver<Arc<Pipeline>>),
}

/// A turn costs less when it does not ask each of these whether it has come, but only which one has.
type Signals<'s> = FuturesUnordered<Pin<Box<dyn Future<Output = Signal> + Send + 's>>>;

/// How much of what had arrived was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taken {
    All,
    /// As much as there was room for: there may be more.
    Batch,
}

/// A query that waits for its answer.
struct Waiting {
    answer: Answer,
    origin: Origin,
}

impl Future for Waiting {
    type Output = (Finished, Origin);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready((reply, self.origin))
    }
}

impl UdpListener {
    /// Takes a socket into the runtime of the worker that calls this.
    pub fn new(
        socket: UdpSocket,
        hold: Hold,
        pipeline: sync::watch::Receiver<Arc<Pipeline>>,
        metrics: ListenerMetrics,
    ) -> io::Result<Self> {
        let socket = watch(socket)?;
        let (waiting, room, outbox) = <(FuturesUnordered<_>, Room, Outbox)>::default();
        let pulse = Pulse::default();
        Ok(Self { socket, _hold: hold, pipeline, metrics, waiting, room, outbox, pulse })
    }

    /// Serves until `stop`, and then what has arrived by that time.
    pub async fn serve(mut self, stop: CancellationToken) -> io::Result<()> {
        let mut current = self.pipeline.borrow_and_update().clone();
        let mut signals = Signals::new();
        signals.push(Box::pin(stop.cancelled().map(|()| Signal::Stop)));
        signals.push(Box::pin(change(self.pipeline.clone()).map(Signal::Change)));
        loop {
            tokio::select! {
                biased;
                Some(signal) = signals.next() => match signal {
                    Signal::Stop => {
                        // Where it cannot be done, what was taken is still answered.
                        self.refuse_more().ok();
                        return self.serve_rest(&current).await;
                    }
                    // At once, asked or not: what an old configuration holds open would else stay with it.
                    Signal::Change(mut pipeline) => {
                        current = pipeline.borrow_and_update().clone();
                        signals.push(Box::pin(change(pipeline).map(Signal::Change)));
                    }
                },
                Some((reply, origin)) = self.waiting.next() => self.reply(reply, origin).await,
                () = self.pulse.timer.as_mut(), if self.pulse.is_beating => {
                    self.pulse.beat(!self.waiting.is_empty(), Instant::now());
                }
                ready = poll_fn(|cx| self.socket.poll_read_ready(cx).map_ok(drop)) => {
                    let taken = ready.and_then(|()| self.take(&current));
                    self.send().await;
                    match taken {
                        Ok(Taken::All) => {}
                        // The rest of the worker has its turn: TCP, upstreams, other addresses.
                        Ok(Taken::Batch) => tokio::task::yield_now().await,
                        Err(error) => self.survive(error).await?,
                    }
                }
            }
        }
    }

    /// From here on the kernel refuses what others send: the socket stays open until the last reply has
    /// left, and would else take queries that nobody reads. Connected to itself, it has no other peer.
    fn refuse_more(&self) -> io::Result<()> {
        let socket = self.socket.get_ref();
        SockRef::from(socket).connect(&socket.local_addr()?.into())
    }

    /// What the kernel still holds was accepted: nobody else will answer it.
    async fn serve_rest(&mut self, pipeline: &Arc<Pipeline>) -> io::Result<()> {
        let mut result = Ok(());
        // Where more could not be refused, it must end all the same.
        for _ in 0..MAX_LAST_BATCHES {
            match self.receive(pipeline) {
                Ok(_) => self.send().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if Trouble::of(&error) == Trouble::Transient => {}
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        while let Some((reply, origin)) = self.waiting.next().await {
            self.reply(reply, origin).await;
        }
        result
    }

    /// Takes a batch, if there is one.
    fn take(&mut self, pipeline: &Arc<Pipeline>) -> io::Result<Taken> {
        match self.receive(pipeline) {
            Ok(Taken::Batch) => return Ok(Taken::Batch),
            Ok(Taken::All) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // Saves the system call that would only say so: whatever comes from now on is news to the runtime.
        let nothing = |_: &_| Err::<(), _>(io::ErrorKind::WouldBlock.into());
        self.socket.try_io(Interest::READABLE, nothing).ok();
        Ok(Taken::All)
    }

    /// Receives a batch. What the cache may answer is looked up when all of it was read, and the memory for it is on its way.
    fn receive(&mut self, pipeline: &Arc<Pipeline>) -> io::Result<Taken> {
        let now = Instant::now();
        let Self { socket, waiting, room, outbox, .. } = self;
        let taken = with_batch(|batch| {
            let received = batch.receive(socket.get_ref().as_fd(), room)?;
            let mut asked = SmallVec::<[_; LITTLE_ROOM]>::new();
            for (query, origin) in received.datagrams() {
                let client = Client {
                    address: origin.client.ip().to_canonical(),
                    transport: Transport::Udp,
                };
                match outbox.write(origin, |out| pipeline.decide(query, client, now, out)) {
                    Step::Over(Verdict::Later(answer)) => waiting.push(Waiting { answer, origin }),
                    Step::Over(Verdict::Silence | Verdict::Reply) => {}
                    Step::Asked(question) => asked.push((question, origin)),
                }
            }
            for (question, _) in &asked {
                pipeline.approach(question);
            }
            for (question, origin) in asked.drain(..) {
                match outbox.write(origin, |out| pipeline.resolve(question, out)) {
                    Verdict::Silence | Verdict::Reply => {}
                    Verdict::Later(answer) => waiting.push(Waiting { answer, origin }),
                }
            }
            Ok(if received.is_full { Taken::Batch } else { Taken::All })
        });
        // Before the timers of those that now wait, each of which would be the first one.
        if !self.waiting.is_empty() {
            self.pulse.go_on(now);
        }
        taken
    }

    async fn survive(&mut self, error: io::Error) -> io::Result<()> {
        match Trouble::of(&error) {
            // An ICMP error about an earlier reply, for example.
            Trouble::Transient => {}
            Trouble::Exhausted => sleep(BREATHER).await,
            Trouble::Fatal => return Err(error),
        }
        self.metrics.count_error(Transport::Udp);
        Ok(())
    }

    /// Sends a reply, together with those that are ready as well.
    async fn reply(&mut self, reply: Finished, origin: Origin) {
        self.outbox.write(origin, |out| reply.write(out));
        while !self.outbox.is_full()
            && let Some(Some((reply, origin))) = self.waiting.next().now_or_never()
        {
            self.outbox.write(origin, |out| reply.write(out));
        }
        self.send().await;
    }

    async fn send(&mut self) {
        for _ in 0..self.outbox.send(self.socket.get_ref()).await {
            self.metrics.count_error(Transport::Udp);
        }
    }
}
