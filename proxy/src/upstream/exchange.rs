//! One question to one server, from the first octet to an answer or a failure.
//!
//! What belongs to the server alone is done here: over UDP a truncated answer is fetched over TCP (RFC 7766
//! section 5), a plain server that does not know EDNS is asked again without (RFC 6891 section 7), and a question
//! whose connection died unanswered is asked once more on a fresh one (RFC 7766 section 6.2.4), and more often where
//! others that waited there may be the reason, or were answered meanwhile; one that was put on a connection that could not be
//! made goes to one that there is. How long to wait, and who is asked next, is decided in [`super::search`].

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use super::{
    connection::{Asked, Connection},
    error::ExchangeError,
    pending::Response,
    pool::Wanted,
    server::Server,
    udp::{self, Datagram},
};
use crate::message::{Rcode, Request};

/// A question on its way to a server. Dropping it gives the question up.
pub(super) struct Exchange {
    server: Arc<Server>,
    request: Arc<Request>,
    started: Instant,
    /// When it was sent last.
    sent: Instant,
    with_edns: bool,
    /// How many connections have died under the question alone, or were never made.
    deaths: u8,
    /// How many have died under it and others, and at how many of these ends it had waited longest.
    ends: u8,
    firsts: u8,
    /// When the first one of them has.
    first_end: Option<Instant>,
    /// How many have died under it and others, and had brought answers to some of them meanwhile.
    rides: u8,
    /// Whether an answer by a datagram was cut.
    is_truncated: bool,
    /// Whether it was sent once more since somebody asked.
    has_moved: bool,
    /// How often it has left a connection that was silent.
    leaves: u8,
    way: Way,
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

/// How often one leaves those that are in the way: our guess. Where each connection is silent, to move on and on helps nobody.
const MAX_LEAVES: u8 = 1;

/// How a connection ended, for one of the questions on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It was the only one.
    Alone,
    /// It was the only one that was left, others having been answered.
    Last,
    /// It had waited longest.
    First,
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

/// How the question is on its way at the moment.
enum Way {
    Stream(Asked),
    Datagram(Pin<Box<dyn Future<Output = Result<Datagram, ExchangeError>> + Send>>),
    /// It could not even be sent.
    Failed(ExchangeError),
}

impl Exchange {
    /// Sends the question.
    pub(super) fn start(server: &Arc<Server>, request: &Arc<Request>, now: Instant) -> Self {
        server.series().in_flight.inc();
        let mut exchange = Self {
            server: Arc::clone(server),
            request: Arc::clone(request),
            started: now,
            sent: now,
            with_edns: true,
            deaths: 0,
            ends: 0,
            firsts: 0,
            first_end: None,
            rides: 0,
            is_truncated: false,
            has_moved: false,
            leaves: 0,
            way: Way::Failed(ExchangeError::Closed),
        };
        exchange.ask(now);
        exchange
    }

    /// Waits for the answer, whatever it is.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Response, Rcode), ExchangeError>> {
        loop {
            let result = match &mut self.way {
                Way::Stream(asked) => ready!(asked.poll(cx)),
                Way::Failed(error) => Err(error.clone()),
                Way::Datagram(exchange) => match ready!(exchange.as_mut().poll(cx)) {
                    Ok(Datagram::Whole(response)) => Ok(response),
                    Ok(Datagram::Truncated) => {
                        self.is_truncated = true;
                        self.ask_on_stream(Instant::now());
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match result {
                Ok(response) => {
                    let rcode = response.layout.rcode(&response.message);
                    if !self.is_about_edns(rcode) {
                        return Poll::Ready(Ok((response, rcode)));
                    }
                    self.with_edns = false;
                    self.ask(Instant::now());
                }
                Err(error) => {
                    let (now, end) = (Instant::now(), self.kind_of_end(&error));
                    if self.may_ask_again(end, now) {
                        self.note_end(end, now);
                        self.has_moved = true;
                        self.ask_on_stream(now);
                    } else if self.is_truncated {
                        // Whatever happens over TCP, the server has answered.
                        return Poll::Ready(Err(ExchangeError::Truncated));
                    } else {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    }

    /// Alone, once more, and twice when the second connection was one that had been there before as well: a server closes
    /// all that were idle for the same time at once, which says nothing about the question.
    fn may_ask_again(&self, end: End, now: Instant) -> bool {
        match end {
            End::First => {
                let Patience { ends, firsts } = self.patience();
                self.ends < ends && self.firsts < firsts
            }
            End::Ride => self.rides < MAX_RIDES,
            End::Around => self.ends < self.patience().ends,
            End::None => false,
            // Only those that were sent are worn out.
            End::Unsent => true,
            // There was no place for it.
            End::Alone if matches!(self.way, Way::Failed(_)) => self.deaths < 1,
            // The others that may have been the reason are elsewhere.
            End::Alone if self.ends >= ENDS_TOGETHER => false,
            End::Alone => self.deaths < if self.is_on_old_connection() { 2 } else { 1 },
            // It may be the reason, or have been the next one.
            End::Last => self.deaths < 3,
            End::Unmade => self.deaths < 1 && self.server.is_warm(now),
        }
    }

    /// What a failure says about the connection, and the part of the question in it.
    fn kind_of_end(&self, error: &ExchangeError) -> End {
        let was_heard = || matches!(&self.way, Way::Stream(asked) if asked.is_heard_since());
        let is_as_expected =
            || matches!(&self.way, Way::Stream(asked) if asked.connection().has_brought_all());
        match error {
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

    fn patience(&self) -> Patience {
        let is_silent = self.first_end.is_some_and(|end| self.server.health().is_silent_since(end));
        if is_silent { IN_SILENCE } else { WHILE_OTHERS_ARE_ANSWERED }
    }

    fn note_end(&mut self, end: End, now: Instant) {
        match end {
            End::Ride => self.rides += 1,
            End::Unsent => {}
            End::Alone | End::Last | End::Unmade | End::None => self.deaths += 1,
            end @ (End::First | End::Around) => {
                self.ends += 1;
                self.firsts += u8::from(end == End::First);
                self.first_end.get_or_insert(now);
            }
        }
    }

    /// Whether silence may be because of others: those that were there before on its connection, or the connection's age.
    pub(super) fn is_among_others(&self) -> bool {
        let is_behind = matches!(&self.way, Way::Stream(asked) if asked.is_behind_another());
        is_behind || self.is_on_old_connection()
    }

    fn is_on_old_connection(&self) -> bool {
        match &self.way {
            Way::Stream(asked) => !asked.connection().is_begun_since(self.started),
            Way::Datagram(_) | Way::Failed(_) => false,
        }
    }

    /// Whether it went to another connection since this was asked last.
    pub(super) fn take_moved(&mut self) -> bool {
        mem::take(&mut self.has_moved)
    }

    /// When it was started.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// When it was sent on the way that it is on: what happened before says nothing about how fast the server is.
    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    /// Since when nothing at all has come from the server on this way; at the earliest since the question was
    /// sent.
    pub(super) fn silent_since(&self) -> Instant {
        match &self.way {
            Way::Stream(asked) => asked.silent_since(),
            Way::Datagram(_) => {
                self.server.health().heard().map_or(self.started, |heard| heard.max(self.started))
            }
            Way::Failed(_) => self.started,
        }
    }

    /// The silence has lasted for too long: the way it went gets no new questions. Tells whether that is the
    /// server's to explain; a connection that is still being made has a limit of its own.
    pub(super) fn suspect(&self) -> bool {
        match &self.way {
            Way::Stream(asked) => asked.connection().suspect(),
            Way::Datagram(_) => true,
            Way::Failed(_) => false,
        }
    }

    /// Goes to another connection, if the server lives and another question is in the way on this one; and tells whether it has.
    pub(super) fn leave(&mut self, now: Instant) -> bool {
        let Way::Stream(asked) = &self.way else { return false };
        let is_alive = !self.server.health().is_silent_since(self.started);
        let may_leave =
            is_alive && self.leaves < MAX_LEAVES && !self.server.pool().seems_unordered();
        if !may_leave || !asked.is_behind_another() || !asked.connection().suspect() {
            return false;
        }
        // Where there is no other one, to be asked twice only takes the server's time.
        let next = self.server.connection(Wanted::Best, now);
        if !next.is_ok_and(|next| !Arc::ptr_eq(&next, asked.connection())) {
            return false;
        }
        self.leaves += 1;
        self.ask_on_stream(now);
        true
    }

    /// Whether nothing has come on its connection since it was asked there.
    pub(super) fn is_unheard(&self) -> bool {
        match &self.way {
            Way::Stream(asked) => !asked.is_heard_since(),
            Way::Datagram(_) => true,
            Way::Failed(_) => false,
        }
    }

    /// Whether nothing comes on its connection.
    pub(super) fn is_on_suspect(&self) -> bool {
        self.connection().is_some_and(|connection| connection.is_suspect())
    }

    /// The connection that it is on, if any.
    pub(super) fn connection(&self) -> Option<&Arc<Connection>> {
        match &self.way {
            Way::Stream(asked) => Some(asked.connection()),
            Way::Datagram(_) | Way::Failed(_) => None,
        }
    }

    /// Until when an answer may come. While a connection is being made that is for its own limit to end.
    pub(super) fn due(&self) -> Instant {
        let limits = self.server.limits();
        let from = match &self.way {
            Way::Stream(asked) => asked.could_be_answered_from(),
            Way::Datagram(_) | Way::Failed(_) => Some(self.started),
        };
        let begun = self.started + limits.connect;
        // One from which nothing comes has no longer because the question moves on from connection to connection.
        let is_silent = self.server.health().is_silent_since(self.started);
        let from = self.first_end.filter(|_| is_silent && self.ends > 1).or(from);
        from.unwrap_or(begun) + limits.query
    }

    fn ask(&mut self, now: Instant) {
        if self.server.is_udp() {
            self.sent = now;
            let edns = self.with_edns.then(|| self.server.edns_of_datagrams());
            let (address, request) = (self.server.address(), Arc::clone(&self.request));
            let series = Arc::clone(self.server.series());
            let again = self.server.limits().query / 2;
            self.way =
                Way::Datagram(Box::pin(udp::exchange(address, request, edns, again, series)));
        } else {
            self.ask_on_stream(now);
        }
    }

    fn ask_on_stream(&mut self, now: Instant) {
        self.sent = now;
        let edns = self.with_edns.then(|| self.server.edns_of_streams());
        let is_apart = self.ends + self.rides >= ENDS_TOGETHER;
        let wanted = if is_apart { Wanted::InTurn } else { Wanted::Best };
        let asked =
            self.server.connection(wanted, now).and_then(|way| way.ask(&self.request, edns, now));
        self.way = asked.map_or_else(Way::Failed, Way::Stream);
    }

    fn is_about_edns(&self, rcode: Rcode) -> bool {
        self.with_edns
            && !self.server.is_secured()
            && matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.server.series().in_flight.dec();
    }
}
