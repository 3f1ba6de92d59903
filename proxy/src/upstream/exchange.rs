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

mod ends;

use ends::Ends;

/// A question on its way to a server. Dropping it gives the question up.
pub(super) struct Exchange {
    server: Arc<Server>,
    request: Arc<Request>,
    started: Instant,
    /// When it was sent last.
    sent: Instant,
    with_edns: bool,
    ends: Ends,
    /// Whether it was put apart from others.
    is_apart: bool,
    /// Whether an answer by a datagram was cut.
    is_truncated: bool,
    /// Whether it was sent once more since somebody asked.
    has_moved: bool,
    /// How often it has left a connection that was silent.
    leaves: u8,
    way: Way,
}

/// How often one leaves those that are in the way: our guess. Where each connection is silent, to move on and on helps nobody.
const MAX_LEAVES: u8 = 1;

/// How the question is on its way at the moment.
enum Way {
    Stream(Asked),
    Datagram(Pin<Box<dyn Future<Output = Result<Datagram, ExchangeError>> + Send>>),
    /// It could not even be sent.
    Failed(ExchangeError),
}

impl Exchange {
    /// Sends the question; apart from others where it may be what is in their way.
    pub(super) fn start(
        server: &Arc<Server>,
        request: &Arc<Request>,
        is_apart: bool,
        now: Instant,
    ) -> Self {
        server.series().in_flight.inc();
        let mut exchange = Self {
            server: Arc::clone(server),
            request: Arc::clone(request),
            started: now,
            sent: now,
            with_edns: true,
            ends: Ends::none(is_apart),
            is_apart: false,
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
                    let now = Instant::now();
                    if self.may_ask_again(&error, now) {
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

    /// Whether silence may be because of others on its connection, or the connection's age.
    pub(super) fn is_among_others(&self) -> bool {
        let is_among = matches!(&self.way, Way::Stream(asked) if asked.is_among_others());
        is_among || self.is_on_old_connection()
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
        // Nor does one that may be in the way itself.
        let may_leave = is_alive
            && !self.is_apart
            && self.leaves < MAX_LEAVES
            && !self.server.pool().seems_unordered();
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

    /// Whether it has a connection of its own, as it may be in the way of others.
    pub(super) fn is_apart(&self) -> bool {
        self.is_apart
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
        let due = from.unwrap_or(begun) + limits.query;
        // One from which nothing comes has no longer because the question moves on from connection to connection.
        if !self.server.health().is_silent_since(self.started) {
            due
        } else if self.ends.is_by_silence {
            due.min((self.started + limits.query).max(self.sent + self.server.patience()))
        } else {
            self.ends.first_of_several().map_or(due, |first| first + limits.query)
        }
    }

    fn ask(&mut self, now: Instant) {
        if self.server.is_udp() {
            self.sent = now;
            let edns = self.with_edns.then(|| self.server.edns_of_datagrams());
            let (address, request) = (self.server.address(), Arc::clone(&self.request));
            let series = Arc::clone(self.server.series());
            let resends = self.server.resends();
            self.way =
                Way::Datagram(Box::pin(udp::exchange(address, request, edns, resends, series)));
        } else {
            self.ask_on_stream(now);
        }
    }

    fn ask_on_stream(&mut self, now: Instant) {
        self.sent = now;
        let edns = self.with_edns.then(|| self.server.edns_of_streams());
        let is_slowest = mem::take(&mut self.ends.is_slowest);
        let wanted = match is_slowest {
            _ if self.ends.are_many() => Wanted::InTurn,
            true => Wanted::Apart,
            false => Wanted::Best,
        };
        self.is_apart = match wanted {
            Wanted::Best => false,
            Wanted::InTurn => self.ends.is_by_silence,
            Wanted::Apart => true,
        };
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
