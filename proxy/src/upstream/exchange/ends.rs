//! The ends of connections under one question: what each says about the question, and whether it is asked again.

use tokio::time::Instant;

use super::{Exchange, Way};
use crate::upstream::error::ExchangeError;

/// What one question has come through.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// How many connections have died under the question alone, or were never made.
    deaths: u8,
    /// How many have died under it and others, and at how many of these ends it had waited longest.
    shared: u8,
    firsts: u8,
    /// When the first one of them has.
    first: Option<Instant>,
    /// How many have died under it and others, and had brought answers to some of them meanwhile.
    rides: u8,
    /// Whether one was ended because nothing came there.
    pub(super) is_by_silence: bool,
    /// Whether it had waited longest there, and so goes apart from others.
    pub(super) is_slowest: bool,
}

/// How a connection ended, for one of the questions on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// It was the only one.
    Alone,
    /// It was the only one that was left, others having been answered.
    Last,
    /// It had waited longest.
    First,
    /// It had waited longest where nothing came.
    Slowest,
    /// It had waited among others.
    Around,
    /// It had waited among others, some of which were answered, or was sent to see whether the server answers more.
    Ride,
    /// It was not even sent.
    Unsent,
    /// The connection was never made.
    Unmade,
    /// It has not ended, or because of this question.
    None,
}

/// A server may close a connection because of one question, and nobody knows which. All are asked again, together the first
/// time: mostly it is about none of them. From so many ends on they are asked apart.
const ENDS_TOGETHER: u8 = 2;

/// How often one is asked again, and, less often, one that had waited longest: with servers that take questions in order
/// that is the one that connections are closed because of, and goes before all that are behind it do.
struct Patience {
    ends: u8,
    firsts: u8,
}

/// As long as the server answers others between the ends, those around the reason are half as many each time, with two
/// connections: so it is alone among hundreds.
const WHILE_OTHERS_ARE_ANSWERED: Patience = Patience { ends: 12, firsts: 8 };

/// While it answers nobody it is soon given up: a few are found apart all the same, and of many some may fail here, and are
/// for the next server.
const IN_SILENCE: Patience = Patience { ends: 8, firsts: 6 };

/// A server may close each connection after so many answers: whoever is behind is asked again until its turn has come, or until
/// it is known after how many.
const MAX_RIDES: u8 = 64;

impl Ends {
    /// Before the first one.
    pub(super) fn none(is_slowest: bool) -> Self {
        Self { is_slowest, ..Self::default() }
    }

    /// Whether those that it was with are to be elsewhere.
    pub(super) fn are_many(&self) -> bool {
        self.shared + self.rides >= ENDS_TOGETHER
    }

    /// When the first connection has died under it and others, if several have.
    pub(super) fn first_of_several(&self) -> Option<Instant> {
        self.first.filter(|_| self.shared > 1)
    }

    fn note(&mut self, end: End, is_silent: bool, now: Instant) {
        match end {
            End::Ride => self.rides += 1,
            End::Unsent => {}
            End::Alone | End::Last | End::Unmade | End::None => self.deaths += 1,
            End::First | End::Slowest | End::Around => {
                self.shared += 1;
                self.firsts += u8::from(end == End::First);
                self.is_by_silence |= is_silent;
                self.is_slowest |= end == End::Slowest;
                self.first.get_or_insert(now);
            }
        }
    }
}

impl Exchange {
    /// Whether the question is asked again after such a failure; then that is taken for done.
    pub(super) fn may_ask_again(&mut self, error: &ExchangeError, now: Instant) -> bool {
        let end = self.kind_of_end(error);
        let may_again = self.is_worth_another(end, now);
        if may_again {
            self.ends.note(end, self.was_silent(), now);
        }
        may_again
    }

    /// Alone, once more, and twice when the second connection was one that had been there before as well: a server closes
    /// all that were idle for the same time at once, which says nothing about the question.
    fn is_worth_another(&self, end: End, now: Instant) -> bool {
        let Ends { deaths, shared, firsts, rides, .. } = self.ends;
        match end {
            End::First => {
                let patience = self.patience();
                shared < patience.ends && firsts < patience.firsts
            }
            End::Ride => rides < MAX_RIDES,
            End::Slowest | End::Around => shared < self.patience().ends,
            End::None => false,
            // Only those that were sent are worn out.
            End::Unsent => true,
            // There was no place for it.
            End::Alone if matches!(self.way, Way::Failed(_)) => deaths < 1,
            // The others that may have been the reason are elsewhere.
            End::Alone if shared >= ENDS_TOGETHER => false,
            End::Alone => deaths < if self.is_on_old_connection() { 2 } else { 1 },
            // It may be the reason, or have been the next one.
            End::Last => deaths < 3,
            End::Unmade => deaths < 1 && self.server.is_warm(now),
        }
    }

    /// What a failure says about the connection, and the part of the question in it.
    fn kind_of_end(&self, error: &ExchangeError) -> End {
        let was_heard = || matches!(&self.way, Way::Stream(asked) if asked.is_heard_since());
        let is_as_expected =
            || matches!(&self.way, Way::Stream(asked) if asked.connection().has_brought_all());
        match error {
            ExchangeError::ClosedFirst if self.was_silent() => End::Slowest,
            ExchangeError::ClosedFirst => End::First,
            ExchangeError::Closed if was_heard() => End::Last,
            ExchangeError::ClosedAround if was_heard() || is_as_expected() => End::Ride,
            ExchangeError::ClosedAround => End::Around,
            ExchangeError::ClosedUnsent => End::Unsent,
            ExchangeError::Closed => End::Alone,
            error if error.is_refusal() && !self.server.is_udp() => End::Unmade,
            _ => End::None,
        }
    }

    /// Whether nothing came on its connection when that was ended.
    fn was_silent(&self) -> bool {
        self.connection().is_some_and(|connection| connection.was_suspect())
    }

    fn patience(&self) -> Patience {
        let health = self.server.health();
        let is_silent = self.ends.first.is_some_and(|end| health.is_silent_since(end));
        if is_silent { IN_SILENCE } else { WHILE_OTHERS_ARE_ANSWERED }
    }
}
