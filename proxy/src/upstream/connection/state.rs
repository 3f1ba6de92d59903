//! What is known of a connection, and what is on its way: changed under one lock by those who ask, and by the driver.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    LEAST_IDLE,
    ration::{End, Ration},
    unread::Unread,
};
use crate::{
    message::{Request, request::RequestEdns, u16_at},
    upstream::{
        error::ExchangeError,
        pending::{Pending, Received, Reply},
        settings::ConnectionLimits,
    },
};

/// How far a connection is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Connecting,
    Open { since: Instant },
    Ended,
}

/// What is known of a connection, and what is on its way.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) pending: Pending,
    /// Frames that the driver has not taken yet.
    pub(super) outgoing: Vec<u8>,
    pub(super) ration: Ration,
    /// Questions that wait for others to be answered, the oldest one first.
    held: VecDeque<Held>,
    /// Whether new questions are taken.
    pub(super) is_taking: bool,
    /// Whether it has been silent for too long.
    pub(super) is_suspect: bool,
    pub(super) last_used: Instant,
    /// Since when the server has questions to answer; of no meaning while it has none.
    pub(super) waiting_since: Instant,
    /// When an answer came that says something to those who wait.
    pub(super) last_received: Option<Instant>,
    /// The last question of our own that only tells whether it is alive, and when one was asked and answered last: for those
    /// who wait that is no sign.
    check: Option<u16>,
    checked: Option<Instant>,
    pub(super) last_alive: Option<Instant>,
    /// Since when several questions have been out and nothing has come.
    together_since: Option<Instant>,
    /// For how long the oldest of several questions has held up the others, until it was answered first.
    held_up_for: Duration,
    unread: Unread,
    /// Ours, and what there is of it when the server has said something about it.
    longest_idle: Duration,
    pub(super) idle_limit: Duration,
    /// Whether the server has asked for its end.
    is_unwanted: bool,
    /// How long nothing had happened on it when it ended.
    pub(super) idle_at_end: Option<Duration>,
    /// Whether it was closed on questions.
    is_cut: bool,
}

/// A question that was not sent yet.
#[derive(Debug)]
struct Held {
    id: u16,
    request: Arc<Request>,
    edns: Option<RequestEdns>,
}

impl State {
    /// Of a connection that is being made, and that the server is expected to close after so many answers, if at all.
    pub(super) fn new(limits: &ConnectionLimits, expected: Option<usize>, now: Instant) -> Self {
        Self {
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
            check: None,
            checked: None,
            last_alive: None,
            together_since: None,
            held_up_for: Duration::ZERO,
            unread: Unread::default(),
            longest_idle: limits.idle_timeout,
            idle_limit: limits.idle_timeout,
            is_unwanted: false,
            idle_at_end: None,
            is_cut: false,
        }
    }

    /// Takes a question in, to be sent at once or when others are answered.
    pub(super) fn ask(
        &mut self,
        request: &Arc<Request>,
        edns: Option<RequestEdns>,
        reply: Reply,
        now: Instant,
    ) -> Result<u16, ExchangeError> {
        if !self.is_taking {
            return Err(ExchangeError::Closed);
        }
        if !self.pending.is_behind() {
            self.waiting_since = now;
        }
        let id = self.pending.insert(request, reply)?;
        self.last_used = now;
        if self.held.is_empty() && self.pending.live() <= self.ration.size() {
            self.send(id, request, edns);
            self.unread.note_sent(id, now);
            if self.pending.len() > 1 {
                self.together_since.get_or_insert(now);
            }
        } else {
            self.held.push_back(Held { id, request: Arc::clone(request), edns });
        }
        Ok(id)
    }

    /// The last question only tells whether it is alive. It may have been answered already.
    pub(super) fn note_check(&mut self, id: Option<u16>, now: Instant) {
        self.check = id.filter(|id| self.pending.awaits(*id));
        self.checked = Some(now);
    }

    /// Whether questions are held back.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Ends every wait.
    pub(super) fn end(&mut self, error: &ExchangeError) {
        let was_open = matches!(self.phase, Phase::Open { .. });
        if was_open {
            self.note_end(error);
        }
        // Where the server closes as it did before, it is about no question.
        let error = match error {
            ExchangeError::Closed if self.ration.is_met() => &ExchangeError::ClosedAround,
            error => error,
        };
        // Those that were not sent have no part in the end of an open connection.
        let held = mem::take(&mut self.held);
        let unsent = if was_open { held.len() } else { 0 };
        self.phase = Phase::Ended;
        self.is_taking = false;
        self.pending.fail_all(error, unsent);
        self.outgoing = Vec::new();
    }

    /// Whether it takes questions, or would if it were not suspect and somebody waited; or is left to us for those that it has.
    pub(super) fn is_in_use(&self) -> bool {
        (self.is_taking && !self.is_useless()) || self.is_left_to_us()
    }

    /// Whether nothing has come for too long, and nobody waits for it any more.
    pub(super) fn is_useless(&self) -> bool {
        self.is_suspect && self.pending.is_idle()
    }

    /// Whether it is open though the server has asked for its end, for the questions that it has.
    pub(super) fn is_left_to_us(&self) -> bool {
        self.is_unwanted && matches!(self.phase, Phase::Open { .. }) && !self.pending.is_idle()
    }

    /// What its end says about how many answers the server gives on a connection.
    pub(super) fn kind_of_end(&self) -> End {
        self.ration.end(self.is_cut)
    }

    /// Nothing has come for too long.
    pub(super) fn suspect(&mut self) {
        self.is_suspect = true;
        self.ration.give_up();
        self.release();
    }

    /// Whether it may be idle for so short a time that it is meant to be closed; `None` where the server has said nothing at all.
    pub(super) fn is_brief(&self) -> Option<bool> {
        self.last_received.map(|_| self.is_unwanted || self.idle_limit < LEAST_IDLE)
    }

    /// Takes whole frames from the start of `input` and returns how many octets they were.
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        now: Instant,
    ) -> Result<Progress, ExchangeError> {
        let mut progress = Progress::default();
        let held_up = self.oldest_where_held_up(now);
        let (mut is_heard, mut is_for_others) = (false, false);
        while let Some((frame, len)) = first_frame(input.get(progress.octets..).unwrap_or_default())
        {
            let is_check = self.is_check(frame);
            match self.pending.receive(frame)? {
                Received::Answer { is_awaited, keepalive } => {
                    // Where questions are taken in order, who waits may be behind more that were given up than there is time for.
                    let is_sign = is_awaited || self.pending.is_unordered();
                    is_heard |= is_sign;
                    is_for_others |= is_sign && !is_check;
                    self.ration.note_answer();
                    self.unread.note_answered(u16_at(frame, 0).unwrap_or_default());
                    if let Some((_, held_up_for)) =
                        held_up.filter(|(id, _)| u16_at(frame, 0) == Some(*id))
                    {
                        self.held_up_for = self.held_up_for.max(held_up_for);
                    }
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
            self.last_alive = Some(now);
            if is_for_others {
                self.last_received = Some(now);
            }
            self.is_suspect &= !is_heard;
            self.together_since = (self.pending.len() > 1).then_some(now);
        }
        progress.has_released = self.release();
        Ok(progress)
    }

    /// Whether it is the answer to the last check.
    fn is_check(&mut self, frame: &[u8]) -> bool {
        let is_check = |id: &mut u16| u16_at(frame, 0) == Some(*id);
        self.check.take_if(is_check).is_some()
    }

    /// The oldest one of several questions for which nothing has come for long, and for how long.
    fn oldest_where_held_up(&self, now: Instant) -> Option<(u16, Duration)> {
        let Phase::Open { since } = self.phase else { return None };
        let together = now.saturating_duration_since(self.together_since?.max(since));
        if together < HELD_UP { None } else { Some((self.pending.oldest()?, together)) }
    }

    /// For how long one question has held up others, as it does where they are taken in order.
    pub(super) fn held_up_for(&self) -> Duration {
        if self.pending.is_unordered() { Duration::ZERO } else { self.held_up_for }
    }

    /// How long several questions have waited behind the last one that was answered, where that is in any order: to those in a
    /// row that are slow by themselves the server would have come together.
    pub(super) fn unread_for(&self, now: Instant) -> Duration {
        let Phase::Open { since } = self.phase else { return Duration::ZERO };
        let is_several = self.pending.is_unordered() && self.pending.behind() >= SEVERAL;
        if is_several { self.unread.waits(since, now) } else { Duration::ZERO }
    }

    /// Sends what may be sent now, and tells whether there was any.
    fn release(&mut self) -> bool {
        let mut has_released = false;
        while self.pending.live().saturating_sub(self.held.len()) < self.ration.size()
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
    pub(super) fn give_up(&mut self, id: u16) {
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

    pub(super) fn silence(&self, now: Instant) -> Duration {
        let Phase::Open { since } = self.phase else { return Duration::ZERO };
        // One that was given up is in the way all the same, until a later one is answered.
        if !self.pending.is_behind() || self.pending.is_unordered() {
            return Duration::ZERO;
        }
        let begun = since.max(self.waiting_since);
        let last = self.last_received.map_or(begun, |received| received.max(begun));
        now.saturating_duration_since(last)
    }

    /// Whether nothing has come for so long while somebody waits; and it was not checked in this silence, or not for `pause`.
    pub(super) fn is_due_for_check(&self, limit: Duration, pause: Duration, now: Instant) -> bool {
        let Phase::Open { since } = self.phase else { return false };
        let begun = since.max(self.waiting_since);
        let silent_since = self.last_received.map_or(begun, |received| received.max(begun));
        !self.is_suspect
            && !self.pending.is_idle()
            && silent_since + limit <= now
            && self.checked.is_none_or(|checked| checked < silent_since || checked + pause <= now)
    }

    /// Until when the connection stays open if nothing more is asked; `None` while answers are awaited.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        self.pending.is_idle().then(|| self.last_used + self.idle_limit)
    }
}

/// Where two answers come one after the other, it is not for so long that none comes: our guess.
const HELD_UP: Duration = Duration::from_millis(100);

/// So many names in a row are seldom slow: our guess.
const SEVERAL: u16 = 4;

/// What was read at a time.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) octets: usize,
    pub(super) unexpected: u64,
    /// Whether questions that were held back may leave.
    pub(super) has_released: bool,
}

/// The first message in a stream, and how many octets it has with its length (RFC 1035 section 4.2.2).
pub(super) fn first_frame(input: &[u8]) -> Option<(&[u8], usize)> {
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
