//! The task that owns a connection's stream: writes what was asked, reads what is answered, in one turn.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{io::poll_read_buf, sync::CancellationToken};

use super::{Connection, state::Phase};
use crate::upstream::{error::ExchangeError, metrics::ServerSeries};

impl Connection {
    /// The stream is open: what was asked meanwhile may leave. Returns how long it may be idle.
    fn open(&self, now: Instant) -> Duration {
        let mut state = self.state();
        if matches!(state.phase, Phase::Connecting) {
            state.phase = Phase::Open { since: now };
        }
        state.idle_limit
    }
}

/// Serves a connection over an open stream until it ends, and tells why when it was not ours to end it.
pub(in crate::upstream) async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    connection: Arc<Connection>,
    stream: S,
    series: Arc<ServerSeries>,
    token: CancellationToken,
) -> Result<(), ExchangeError> {
    let idle_limit = connection.open(Instant::now());
    series.connections.inc();
    let mut driver = Driver {
        stream,
        connection,
        series,
        inbound: Vec::new(),
        outbound: Vec::new(),
        written: 0,
        idle_limit,
    };
    let result = driver.run(token).await;
    driver.connection.end(&ExchangeError::Closed);
    if result.is_ok() {
        // A server that does not read must not hold the task.
        let _ = timeout(CLOSE_LIMIT, driver.stream.shutdown()).await;
    }
    result
}

/// How long saying goodbye may take: our guess.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// What the driver cannot do inside of a turn.
#[derive(Debug)]
enum Event {
    /// All are answered, and no more are taken.
    Done,
    Failed(ExchangeError),
    /// The server has changed its mind about idle connections.
    NewIdleLimit,
}

/// What seldom happens.
#[derive(Debug)]
enum Signal {
    /// The process ends.
    Stop,
    /// It may have been idle for long enough.
    Idle,
}

/// A turn costs less when it does not ask each of these whether it has come, but only which one has.
type Signals<'s> = FuturesUnordered<Pin<Box<dyn Future<Output = Signal> + Send + 's>>>;

fn signals(token: &CancellationToken, idle_at: Instant) -> Signals<'_> {
    let signals = Signals::new();
    signals.push(Box::pin(token.cancelled().map(|()| Signal::Stop)));
    signals.push(idle(idle_at));
    signals
}

fn idle<'s>(at: Instant) -> Pin<Box<dyn Future<Output = Signal> + Send + 's>> {
    Box::pin(sleep_until(at).map(|()| Signal::Idle))
}

struct Driver<S> {
    stream: S,
    connection: Arc<Connection>,
    series: Arc<ServerSeries>,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
    /// How much of `outbound` the stream has taken.
    written: usize,
    /// The limit that the timer runs for.
    idle_limit: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    async fn run(&mut self, token: CancellationToken) -> Result<(), ExchangeError> {
        let mut signals = signals(&token, Instant::now() + self.idle_limit);
        loop {
            let event = tokio::select! {
                event = poll_fn(|cx| self.poll_turn(cx)) => event,
                Some(signal) = signals.next() => match signal {
                    Signal::Stop => Event::Done,
                    Signal::Idle => match self.close_if_idle(Instant::now()) {
                        Ok(()) => Event::Done,
                        Err(later) => {
                            signals.push(idle(later));
                            continue;
                        }
                    },
                },
            };
            match event {
                Event::NewIdleLimit => {
                    signals = self::signals(&token, Instant::now() + self.idle_limit);
                }
                Event::Done => return Ok(()),
                Event::Failed(error) => {
                    self.fail(&error);
                    return Err(error);
                }
            }
        }
    }

    fn fail(&self, error: &ExchangeError) {
        match error {
            // Who was answered wrongly knows already; the others may ask again elsewhere.
            ExchangeError::Mismatch | ExchangeError::Malformed => {
                self.connection.end(&ExchangeError::ClosedAround);
            }
            _ => self.connection.end(error),
        }
    }

    /// One turn: everything that can be read and written now.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.connection.wake.register(cx.waker());
        // What leaves before answers are read tells the server that they came; else the kernel sends a segment for that alone.
        let sent = self.poll_send(cx);
        // Also where nothing can be sent any more: what has come is for somebody.
        if let Poll::Ready(error) = self.poll_receive(cx) {
            return Poll::Ready(Event::Failed(error));
        }
        if let Poll::Ready(Err(error)) = sent {
            return Poll::Ready(Event::Failed(error));
        }
        let state = self.connection.state();
        if !state.is_taking && state.pending.is_idle() {
            Poll::Ready(Event::Done)
        } else if self.idle_limit != state.idle_limit {
            self.idle_limit = state.idle_limit;
            Poll::Ready(Event::NewIdleLimit)
        } else {
            Poll::Pending
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<ExchangeError> {
        for _ in 0..READS_PER_TURN {
            self.inbound.reserve(READ_LEN);
            match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.inbound)) {
                Ok(0) => return Poll::Ready(ExchangeError::Closed),
                Ok(_) => {}
                Err(error) => return Poll::Ready(ExchangeError::broken(error)),
            }
            match self.take_frames() {
                Ok(true) => cx.waker().wake_by_ref(),
                Ok(false) => {}
                Err(error) => return Poll::Ready(error),
            }
        }
        // Others have their turn before the rest is read.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what is whole, and tells whether there is something to be sent now.
    fn take_frames(&mut self) -> Result<bool, ExchangeError> {
        let progress = self.connection.state().receive(&self.inbound, Instant::now())?;
        if progress.unexpected > 0 {
            self.series.unexpected.inc_by(progress.unexpected);
        }
        self.inbound.drain(..progress.octets);
        if self.inbound.is_empty() && self.inbound.capacity() > KEPT_LEN {
            self.inbound = Vec::new();
        }
        Ok(progress.has_released)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        loop {
            if self.written == self.outbound.len() {
                self.outbound.clear();
                self.written = 0;
                mem::swap(&mut self.outbound, &mut self.connection.state().outgoing);
            }
            let rest = self.outbound.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(ExchangeError::Closed)),
                Ok(written) => self.written += written,
                Err(error) => return Poll::Ready(Err(ExchangeError::broken(error))),
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx).map_err(ExchangeError::broken)
    }

    /// Takes no more questions if none has come for long enough; else tells when to look again.
    fn close_if_idle(&self, now: Instant) -> Result<(), Instant> {
        let mut state = self.connection.state();
        match state.idle_until() {
            Some(until) if until <= now => {
                state.is_taking = false;
                Ok(())
            }
            Some(until) => Err(until),
            None => Err(now + state.idle_limit),
        }
    }
}

/// Also where the runtime goes away under the task: nobody may wait for ever.
impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.connection.end(&ExchangeError::Closed);
        self.series.connections.dec();
    }
}

/// One TLS record and its like at a time (RFC 8446 section 5.1).
const READ_LEN: usize = 16 * 1024;

/// A buffer that one large message has grown is not kept.
const KEPT_LEN: usize = 64 * 1024;

/// A server that sends without end gives way to others after so much.
const READS_PER_TURN: usize = 8;
