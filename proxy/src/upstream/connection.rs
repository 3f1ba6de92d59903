//! One connection to a server: many questions in flight, answers in any order (RFC 7766 section 6.2.1.1).
//!
//! [`Connection`] is what everybody shares: questions are encoded straight into its outgoing octets, so that
//! all those that come up while the driver is busy leave in one write, which is one TLS record. They are taken
//! while the connection is still being made, and leave once the server is known to be the right one. [`drive`]
//! is the task that owns the stream.
//!
//! The connection ends when the server closes it, when it sends what no server should (RFC 7766 section 8),
//! and when it is idle or old. One that is silent for too long becomes suspect: it gets no new questions unless
//! it says something after all. With a server that closes connections after so many answers, questions beyond are held
//! back. Whoever waits is told; whether to ask again is decided in [`super::exchange`].

use std::{
    collections::VecDeque,
    future::Future as _,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{sync::oneshot, time::Instant};

use super::{
    error::ExchangeError,
    pending::{Answered, Pending, Received, Response},
    random,
    settings::ConnectionLimits,
};
use crate::message::{Request, request::RequestEdns, u16_at};

mod driver;
mod ration;

pub(super) use driver::drive;

use ration::Ration;

/// The part of a connection that all its users share.
#[derive(Debug)]
pub(super) struct Connection {
    state: Mutex<State>,
    /// Wakes the driver.
    wake: AtomicWaker,
    begun: Instant,
    /// When it should be replaced.
    expires: Instant,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Connecting,
    Open { since: Instant },
    Ended,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    pending: Pending,
    /// Frames that the driver has not taken yet.
    outgoing: Vec<u8>,
    ration: Ration,
    /// Questions that wait for others to be answered, the oldest one first.
    held: VecDeque<Held>,
    /// Whether new questions are taken.
    is_taking: bool,
    /// Whether it has been silent for too long.
    is_suspect: bool,
    last_used: Instant,
    /// Since when the server has questions to answer; of no meaning while it has none.
    waiting_since: Instant,
    last_received: Option<Instant>,
    /// Ours, and what there is of it when the server has said something about it.
    longest_idle: Duration,
    idle_limit: Duration,
    /// Whether the server has asked for its end.
    is_unwanted: bool,
    /// How long nothing had happened on it when it ended.
    idle_at_end: Option<Duration>,
    /// Whether the server closed it on questions.
    is_cut: bool,
}

/// A question that was not sent yet.
#[derive(Debug)]
struct Held {
    id: u16,
    request: Arc<Request>,
    edns: Option<RequestEdns>,
}

/// What a connection is to somebody who looks for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Load {
    /// Questions that wait.
    pub(super) in_flight: usize,
    /// Whether some of them are held back.
    pub(super) is_holding: bool,
    pub(super) is_open: bool,
    /// How long nothing has come while the server has questions, where one of them may be the reason.
    pub(super) silence: Duration,
    /// Whether it is about to be replaced.
    pub(super) is_old: bool,
}

impl Connection {
    /// A connection that is being made, and that the server is expected to close after so many answers, if at all.
    pub(super) fn new(limits: &ConnectionLimits, expected: Option<usize>, now: Instant) -> Self {
        let state = State {
            phase: Phase::Connecting,
            pending: Pending::new(limits.max_in_flight),
            outgoing: Vec::new(),
            ration: Ration::new(expected),
            held: VecDeque::new(),
            is_taking: true,
            is_suspect: false,
            last_used: now,
            waiting_since: now,
            last_received: None,
            longest_idle: limits.idle_timeout,
            idle_limit: limits.idle_timeout,
            is_unwanted: false,
            idle_at_end: None,
            is_cut: false,
        };
        let age = OLD.mul_f64(0.75 + random::fraction() / 2.0);
        Self { state: Mutex::new(state), wake: AtomicWaker::new(), begun: now, expires: now + age }
    }

    /// Asks; what comes of it is told to the [`Asked`].
    pub(super) fn ask(
        self: &Arc<Self>,
        request: &Arc<Request>,
        edns: Option<RequestEdns>,
        now: Instant,
    ) -> Result<Asked, ExchangeError> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.state();
        if !state.is_taking {
            return Err(ExchangeError::Closed);
        }
        let was_idle = !state.pending.is_behind();
        let id = state.pending.insert(request, reply)?;
        state.last_used = now;
        if was_idle {
            state.waiting_since = now;
        }
        state.send_or_hold(id, request, edns);
        drop(state);
        self.wake.wake();
        Ok(Asked { connection: Arc::clone(self), id: Some(id), sent: now, answer })
    }

    /// What it is to somebody who looks for a connection; `None` when it takes no more questions.
    pub(super) fn load(&self, now: Instant) -> Option<Load> {
        let state = self.state();
        let is_usable = state.is_taking && !state.is_suspect;
        is_usable.then(|| Load {
            in_flight: state.pending.live(),
            is_holding: !state.held.is_empty(),
            is_open: matches!(state.phase, Phase::Open { .. }),
            silence: state.silence(now),
            is_old: self.expires <= now,
        })
    }

    /// Whether it is neither open nor being made.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state().phase, Phase::Ended)
    }

    /// Whether it is being made.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state().phase, Phase::Connecting)
    }

    /// Whether it is open, waits for nothing, and nothing was asked for so long; or for half of what either side
    /// lets it be idle, when that is less. Not where that is so short that it is meant to be closed.
    pub(super) fn is_quiet_for(&self, interval: Duration, now: Instant) -> bool {
        let state = self.state();
        matches!(state.phase, Phase::Open { .. })
            && state.pending.is_idle()
            && state.idle_limit >= LEAST_IDLE
            && state.last_used + interval.min(state.idle_limit / 2) <= now
    }

    /// Whether it takes questions, or would if it were not suspect.
    pub(super) fn is_taking(&self) -> bool {
        self.state().is_taking
    }

    /// Whether it was silent for too long.
    pub(super) fn is_suspect(&self) -> bool {
        let state = self.state();
        state.is_taking && state.is_suspect
    }

    /// Nothing came for longer than usual: no new questions until something does. Tells whether it is open;
    /// one that is still being made has a limit of its own.
    pub(super) fn suspect(&self) -> bool {
        let mut state = self.state();
        state.is_suspect = matches!(state.phase, Phase::Open { .. });
        state.is_suspect
    }

    /// Whether it was begun then or later.
    pub(super) fn is_begun_since(&self, then: Instant) -> bool {
        self.begun >= then
    }

    /// Whether it was begun less than so long ago.
    pub(super) fn is_younger_than(&self, age: Duration, now: Instant) -> bool {
        now < self.begun + age
    }

    /// Whether it has been in the making for so long.
    pub(super) fn is_slow_to_open(&self, limit: Duration, now: Instant) -> bool {
        self.is_connecting() && self.begun + limit <= now
    }

    /// Takes no more questions; the connection ends with the last answer.
    pub(super) fn retire(&self) {
        self.state().is_taking = false;
        self.wake.wake();
    }

    /// Ends the connection, and every wait on it.
    pub(super) fn end(&self, error: &ExchangeError) {
        let mut state = self.state();
        let was_open = matches!(state.phase, Phase::Open { .. });
        if was_open {
            state.note_end(error);
        }
        // Where the server closes as it did before, it is about no question.
        let error = match error {
            ExchangeError::Closed if state.ration.is_met() => &ExchangeError::ClosedAround,
            error => error,
        };
        // Those that were not sent have no part in the end of an open connection.
        let unsent = mem::take(&mut state.held).len() * usize::from(was_open);
        state.phase = Phase::Ended;
        state.is_taking = false;
        state.pending.fail_all(error, unsent);
        state.outgoing = Vec::new();
        drop(state);
        self.wake.wake();
    }

    /// Whether it may be idle for so short a time that it is meant to be closed; `None` where the server has said nothing at all.
    pub(super) fn is_brief(&self) -> Option<bool> {
        let state = self.state();
        state.last_received.map(|_| state.is_unwanted || state.idle_limit < LEAST_IDLE)
    }

    /// Whether the server has answered out of order on it.
    pub(super) fn is_unordered(&self) -> bool {
        self.state().pending.is_unordered()
    }

    /// How many questions wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().pending.live()
    }

    /// Whether the server has answered as much on it as on the one before, so that it was about to close it.
    pub(super) fn has_brought_all(&self) -> bool {
        self.state().ration.is_met()
    }

    /// How many answers the next connection is expected to bring before the server closes it.
    pub(super) fn expected_of_next(&self) -> Option<usize> {
        let state = self.state();
        state.ration.after(state.is_cut)
    }

    /// How long it had been open and nothing had happened on it when it ended.
    pub(super) fn idle_at_end(&self) -> Option<Duration> {
        self.state().idle_at_end
    }

    fn give_up(&self, id: u16) {
        let mut state = self.state();
        state.give_up(id);
        // One that takes no more questions ends with its last one.
        let is_over = state.pending.is_worn() || (!state.is_taking && state.pending.is_idle());
        let is_waiting_to_leave = !state.outgoing.is_empty();
        drop(state);
        if is_over {
            self.retire();
        } else if is_waiting_to_leave {
            self.wake.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes whole frames from the start of `input` and returns how many octets they were.
    fn receive(&mut self, input: &[u8], now: Instant) -> Result<Progress, ExchangeError> {
        let mut progress = Progress::default();
        while let Some((frame, len)) = first_frame(input.get(progress.octets..).unwrap_or_default())
        {
            match self.pending.receive(frame)? {
                Received::Answer { keepalive } => {
                    self.ration.note_answer();
                    if let Some(value) = keepalive {
                        self.heed_keepalive(value);
                    }
                }
                Received::Unexpected => progress.unexpected += 1,
            }
            progress.octets += len;
        }
        // Octets that never become a message are no sign of life.
        if progress.octets > 0 {
            self.last_received = Some(now);
            self.is_suspect = false;
        }
        progress.has_released = self.release();
        Ok(progress)
    }

    /// Sends a question, unless as many are out as there may be.
    fn send_or_hold(&mut self, id: u16, request: &Arc<Request>, edns: Option<RequestEdns>) {
        if self.held.is_empty() && self.pending.live() <= self.ration.size() {
            self.send(id, request, edns);
        } else {
            self.held.push_back(Held { id, request: Arc::clone(request), edns });
        }
    }

    /// Sends what may be sent now, and tells whether there was any.
    fn release(&mut self) -> bool {
        let mut has_released = false;
        while self.pending.live() - self.held.len() < self.ration.size()
            && let Some(Held { id, request, edns }) = self.held.pop_front()
        {
            self.send(id, &request, edns);
            has_released = true;
        }
        has_released
    }

    fn send(&mut self, id: u16, request: &Request, edns: Option<RequestEdns>) {
        self.pending.note_sent(id);
        write_frame(request, id, edns, &mut self.outgoing);
    }

    /// Nobody waits for this answer any more, and others may go instead.
    fn give_up(&mut self, id: u16) {
        match self.held.iter().position(|held| held.id == id) {
            Some(place) => {
                self.held.remove(place);
                self.pending.take_back(id);
            }
            None => self.pending.give_up(id),
        }
        self.release();
    }

    /// What the end of an open connection says.
    fn note_end(&mut self, error: &ExchangeError) {
        if self.pending.is_idle() {
            self.idle_at_end = Some(self.last_used.elapsed());
        }
        self.is_cut = matches!(error, ExchangeError::Closed) && !self.pending.is_idle();
    }

    /// The server's wish about idle connections (RFC 7828 section 3.2.2): zero asks to close, and the last one counts.
    fn heed_keepalive(&mut self, value: u16) {
        self.is_unwanted = value == 0;
        if value == 0 {
            self.is_taking = false;
        } else {
            let granted = Duration::from_millis(100) * u32::from(value);
            self.idle_limit = self.longest_idle.min(granted);
        }
    }

    fn silence(&self, now: Instant) -> Duration {
        let Phase::Open { since } = self.phase else { return Duration::ZERO };
        // One that was given up is in the way all the same, until a later one is answered.
        if !self.pending.is_behind() || self.pending.is_unordered() {
            return Duration::ZERO;
        }
        let begun = since.max(self.waiting_since);
        let last = self.last_received.map_or(begun, |received| received.max(begun));
        now.saturating_duration_since(last)
    }

    /// Until when the connection stays open if nothing more is asked; `None` while answers are awaited.
    fn idle_until(&self) -> Option<Instant> {
        self.pending.is_idle().then(|| self.last_used + self.idle_limit)
    }
}

/// A question on its way; given up when this is dropped.
#[derive(Debug)]
pub(super) struct Asked {
    connection: Arc<Connection>,
    /// `None` once it was answered.
    id: Option<u16>,
    sent: Instant,
    answer: Answered,
}

impl Asked {
    /// Waits for the answer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response, ExchangeError>> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        self.id = None;
        Poll::Ready(answer.unwrap_or(Err(ExchangeError::Closed)))
    }

    /// The connection that it was asked on.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether something has come on the connection since it was asked.
    pub(super) fn is_heard_since(&self) -> bool {
        self.connection.state().last_received.is_some_and(|received| received > self.sent)
    }

    /// Whether the server was asked something before on the connection that it has not answered.
    pub(super) fn is_behind_another(&self) -> bool {
        self.id.is_some_and(|id| self.connection.state().pending.has_older_than(id))
    }

    /// Since when nothing has come on the connection: at the earliest since it was asked, and since it was open.
    pub(super) fn silent_since(&self) -> Instant {
        let state = self.connection.state();
        let open = match state.phase {
            Phase::Open { since } => Some(since),
            Phase::Connecting | Phase::Ended => None,
        };
        open.into_iter().chain(state.last_received).fold(self.sent, Instant::max)
    }

    /// From when on the server could answer: from when the connection is open. `None` while it is not.
    pub(super) fn could_be_answered_from(&self) -> Option<Instant> {
        match self.connection.state().phase {
            Phase::Open { since } => Some(since.max(self.sent)),
            Phase::Connecting | Phase::Ended => None,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.connection.give_up(id);
        }
    }
}

/// What was read at a time.
#[derive(Debug, Default)]
struct Progress {
    octets: usize,
    unexpected: u64,
    /// Whether questions that were held back may leave.
    has_released: bool,
}

/// The first message in a stream, and how many octets it has with its length (RFC 1035 section 4.2.2).
fn first_frame(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = 2 + usize::from(u16_at(input, 0)?);
    input.get(2..end).map(|frame| (frame, end))
}

/// Appends a message behind its length (RFC 1035 section 4.2.2).
fn write_frame(request: &Request, id: u16, edns: Option<RequestEdns>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    request.encode(id, edns, out);
    let len = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX);
    crate::message::set_u16(out, start, len);
}

/// At about this age a connection is replaced, so that load spreads again over the servers behind one address
/// and a renewed certificate is seen. Our guess; each has its own time, lest all are replaced at once.
const OLD: Duration = Duration::from_secs(3600);

/// To keep one that is closed sooner would take more questions than to make another one takes packets: our guess.
pub(super) const LEAST_IDLE: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests;
