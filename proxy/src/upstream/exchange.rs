//! One question to one server, from the first octet to an answer or a failure.
//!
//! What belongs to the server alone is done here: over UDP a truncated answer is fetched over TCP (RFC 7766
//! section 5), a plain server that does not know EDNS is asked again without (RFC 6891 section 7), and a question
//! whose connection died unanswered is asked once more on a fresh one (RFC 7766 section 6.2.4). How long
//! to wait, and who is asked next, is decided in [`super::search`].

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use super::{
    connection::Asked,
    error::ExchangeError,
    pending::Response,
    server::Server,
    udp::{self, Datagram},
};
use crate::message::{Rcode, Request};

/// A question on its way to a server. Dropping it gives the question up.
pub(super) struct Exchange {
    server: Arc<Server>,
    request: Arc<Request>,
    started: Instant,
    with_edns: bool,
    /// How many connections have died under the question.
    deaths: u8,
    /// Connections that it died with while others had waited longer.
    losses: u8,
    /// Whether an answer by a datagram was cut.
    is_truncated: bool,
    way: Way,
}

/// A server may close a connection because of one question. Those behind it are asked again as often as that question may
/// be, and once more without it.
const MAX_LOSSES: u8 = 3;

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
            with_edns: true,
            deaths: 0,
            losses: 0,
            is_truncated: false,
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
                Err(ExchangeError::ClosedAround) if self.losses < MAX_LOSSES => {
                    self.losses += 1;
                    self.ask_on_stream(Instant::now());
                }
                Err(error) if error.may_retry() && self.may_ask_again() => {
                    self.deaths += 1;
                    self.ask_on_stream(Instant::now());
                }
                // Whatever happens over TCP, the server has answered.
                Err(_) if self.is_truncated => return Poll::Ready(Err(ExchangeError::Truncated)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Once more, and twice when the second connection was one that had been there before as well: a server closes all
    /// that were idle for the same time at once, which says nothing about the question.
    fn may_ask_again(&self) -> bool {
        let is_old = match &self.way {
            Way::Stream(asked) => !asked.connection().is_begun_since(self.started),
            Way::Datagram(_) | Way::Failed(_) => false,
        };
        self.deaths < if is_old { 2 } else { 1 }
    }

    /// When it was started.
    pub(super) fn started(&self) -> Instant {
        self.started
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

    /// Until when an answer may come. While a connection is being made that is for its own limit to end.
    pub(super) fn due(&self) -> Instant {
        let limits = self.server.limits();
        let from = match &self.way {
            Way::Stream(asked) => asked.could_be_answered_from(),
            Way::Datagram(_) | Way::Failed(_) => Some(self.started),
        };
        from.map_or(self.started + limits.connect + limits.query, |from| from + limits.query)
    }

    fn ask(&mut self, now: Instant) {
        if self.server.is_udp() {
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
        let edns = self.with_edns.then(|| self.server.edns_of_streams());
        let asked = self.server.connection(now).and_then(|way| way.ask(&self.request, edns, now));
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
