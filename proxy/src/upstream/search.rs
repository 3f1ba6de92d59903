//! Who is asked, when, and how often, until one question has an answer.
//!
//! One server is asked; the next one when that one fails or gives an answer that is none, when it is silent for
//! longer than a live server would be, or, within a budget, when it is merely late. Whoever answers first has
//! answered.
//!
//! - `choice`: who is next, and whether anybody is.
//! - `tried`: when to look again at one that was asked and has not answered.
//! - `again`: whether to wait for those that nobody can connect to.
//! - `stay`: whether a slow answer is waited for beyond its time.
//! - `worth`: which answers are none, and which of those is given where there is nothing better.
//!
//! The future reads the clock and one timer; every decision is made of what [`super::health`],
//! [`super::latency`] and [`super::route`] say.

use std::{
    future::{Future as _, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::{
    Answer, Attempt, Failure, error::ExchangeError, exchange::Exchange, health::Standing,
    metrics::word_of, pending::Response, route::Route, server::Server,
};
use crate::message::{Rcode, Request};

mod again;
mod choice;
mod stay;
mod tried;
mod worth;

use tried::{Step, Try};
use worth::{is_final, worth};

/// One question on its way through the servers of a route.
pub(super) struct Search<'s> {
    route: &'s Route,
    request: Arc<Request>,
    begun: Instant,
    deadline: Instant,
    /// Whether it is worth waiting for servers that cannot be connected to.
    may_wait: &'s (dyn Fn() -> bool + Send + Sync),
    /// When to ask once more, where nobody could be asked.
    again: Option<Instant>,
    /// Whether that is only to see who is to blame for the ends of connections.
    is_unsure: bool,
    /// How often that was.
    rounds: usize,
    /// Drawn once, so that a question goes round the servers and not back and forth.
    draw: usize,
    /// Mostly one.
    tries: SmallVec<[Try<'s>; 1]>,
    failures: Vec<Attempt>,
    /// The best answer that is none, to be given when nobody has one, and what it is worth.
    bad: Option<(u8, Answer)>,
}

/// What happened.
enum Event {
    Ended {
        index: usize,
        result: Result<(Response, Rcode), ExchangeError>,
    },
    /// A question is on another connection.
    Moved {
        index: usize,
    },
    Time,
}

impl<'s> Search<'s> {
    pub(super) fn new(
        route: &'s Route,
        request: Arc<Request>,
        deadline: Instant,
        may_wait: &'s (dyn Fn() -> bool + Send + Sync),
    ) -> Self {
        Self {
            route,
            request,
            begun: Instant::now(),
            deadline,
            may_wait,
            again: None,
            is_unsure: false,
            rounds: 0,
            draw: route.draw(),
            tries: SmallVec::new(),
            failures: Vec::new(),
            bad: None,
        }
    }

    /// Asks until there is an answer; without one the best bad answer is given, or the reasons why there is
    /// none.
    pub(super) async fn run(&mut self) -> Result<Answer, Failure> {
        let now = self.begun;
        self.route.note_use(now);
        if let Some(first) = self.next_server(now) {
            self.ask(first, false, now);
        }
        let mut timer = pin!(sleep_until(self.next_look()));
        while self.is_asking() || self.again.is_some() {
            match poll_fn(|cx| self.poll_event(cx, timer.as_mut())).await {
                Event::Ended { index, result } => {
                    if let Some(answer) = self.take(index, result, Instant::now()) {
                        return Ok(answer);
                    }
                }
                Event::Moved { index } => self.heed_move(index, Instant::now()),
                Event::Time => self.heed_time(Instant::now()),
            }
            timer.as_mut().reset(self.next_look());
        }
        if self.tries.is_empty() {
            self.note_those_out(now);
        }
        let bad = self.bad.take().map(|(_, answer)| answer);
        bad.ok_or_else(|| Failure { attempts: mem::take(&mut self.failures) })
    }

    /// Where nobody could be asked, the servers that are out are the reason.
    fn note_those_out(&mut self, now: Instant) {
        let out = self.route.all().filter(|server| server.standing(now) == Standing::Out);
        self.failures.extend(out.map(|server| Attempt {
            upstream: Arc::clone(server.upstream()),
            server: server.address(),
            error: ExchangeError::Loop,
        }));
    }

    fn is_asking(&self) -> bool {
        self.tries.iter().any(|attempt| attempt.exchange.is_some())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Event> {
        for (index, attempt) in self.tries.iter_mut().enumerate() {
            let Some(exchange) = &mut attempt.exchange else { continue };
            if let Poll::Ready(result) = exchange.poll(cx) {
                return Poll::Ready(Event::Ended { index, result });
            }
            if exchange.take_moved() {
                return Poll::Ready(Event::Moved { index });
            }
        }
        timer.poll(cx).map(|()| Event::Time)
    }

    /// Takes what came of a try; returns the answer when it is one.
    fn take(
        &mut self,
        index: usize,
        result: Result<(Response, Rcode), ExchangeError>,
        now: Instant,
    ) -> Option<Answer> {
        let attempt = self.tries.get_mut(index)?;
        let exchange = attempt.exchange.take()?;
        let (server, is_hedge) = (attempt.server, attempt.is_hedge);
        let is_final = result.as_ref().is_ok_and(|(response, rcode)| is_final(*rcode, response));
        attempt.gave_nothing = result.as_ref().is_err_and(ExchangeError::is_end_of_connection);
        attempt.is_garbled = result.as_ref().is_err_and(ExchangeError::is_garbled);
        let outcome = result.as_ref().map(|(_, rcode)| *rcode);
        let begun = if result.is_ok() { exchange.sent() } else { exchange.started() };
        if !result.as_ref().is_err_and(|error| self.is_again_in_vain(error)) {
            server.note(outcome, is_final, begun, now);
        }
        if result.is_err() && server.is_suspect() {
            server.probe();
        }
        match result {
            Ok((_, rcode)) if rcode.is_extended() => {
                self.note_failure(server, ExchangeError::Rcode(rcode), now);
            }
            Ok((response, _)) if is_final => {
                if is_hedge {
                    server.upstream_series().count_won_hedge();
                }
                self.note_those_of_no_use(server, now);
                return Some(answer_of(server, response));
            }
            Ok((response, rcode)) => self.heed_bad(server, response, rcode, now),
            Err(error) => self.note_failure(server, error, now),
        }
        None
    }

    /// Those that gave nothing for a question that another one has answered.
    fn note_those_of_no_use(&self, answered: &Arc<Server>, now: Instant) {
        let is_other = |tried: &&Try<'_>| !Arc::ptr_eq(tried.server, answered);
        for tried in self.tries.iter().filter(|tried| tried.gave_nothing).filter(is_other) {
            tried.server.note_unanswered(tried.started, now);
        }
    }

    /// An answer that is none: somebody else may have a better one.
    fn heed_bad(&mut self, server: &Server, response: Response, rcode: Rcode, now: Instant) {
        self.keep_best(answer_of(server, response), rcode);
        self.end_those_that_stay(now);
        self.look_for_those_out_of_reach(now);
        self.fail_over(server, word_of(rcode), now);
    }

    /// Keeps the answer that says most about why there is none; the first one of those that say the same.
    fn keep_best(&mut self, answer: Answer, rcode: Rcode) {
        let worth = worth(rcode, &answer.layout, &answer.message);
        if self.bad.as_ref().is_none_or(|(best, _)| *best < worth) {
            self.bad = Some((worth, answer));
        }
    }

    /// Where there are bad answers alone, one that was out of reach may be back and have better ones; nobody waits for that.
    fn look_for_those_out_of_reach(&self, now: Instant) {
        let servers = self.route.servers.iter();
        servers.filter(|server| server.health().is_due_for_a_look(now)).for_each(Server::probe);
    }

    fn note_failure(&mut self, server: &Server, error: ExchangeError, now: Instant) {
        let reason = error.reason();
        let upstream = Arc::clone(server.upstream());
        let question = &self.request.question;
        debug!(%upstream, server = %server.address(), name = %question.name, qtype = %question.qtype, reason, %error, "no answer");
        let is_again_in_vain = self.is_again_in_vain(&error);
        self.failures.push(Attempt { upstream, server: server.address(), error });
        if !is_again_in_vain {
            self.fail_over(server, reason, now);
        }
        let may_again = !self.is_asking() && self.bad.is_none() && self.may_ask_another(now);
        let once_more = self.once_garbled().or_else(|| self.once_silent());
        if let Some(server) = once_more.filter(|_| may_again) {
            self.ask(server, false, now);
        }
        self.plan_to_ask_again(now);
    }

    /// Asks the next server instead of this one, when there is one.
    fn fail_over(&mut self, from: &Server, reason: &'static str, now: Instant) {
        if let Some(server) = self.next_server(now) {
            from.upstream_series().count_failover(reason);
            self.ask(server, false, now);
        }
    }

    /// The next connection may be silent as well; and who is asked again and again goes to another server, too.
    fn heed_move(&mut self, index: usize, now: Instant) {
        let Some(attempt) = self.tries.get_mut(index) else { return };
        if attempt.heed_move(now) {
            let server = attempt.server;
            self.fail_over(server, ExchangeError::Closed.reason(), now);
        }
    }

    /// Considers what the time has come for.
    fn heed_time(&mut self, now: Instant) {
        if now >= self.deadline {
            return self.end(now);
        }
        if self.again.is_some_and(|at| at <= now) {
            self.ask_again(now);
        }
        for index in 0..self.tries.len() {
            if self.tries.get(index).and_then(Try::next_at).is_some_and(|at| at <= now) {
                self.consider(index, now);
            }
        }
    }

    fn consider(&mut self, index: usize, now: Instant) {
        let Some(attempt) = self.tries.get_mut(index) else { return };
        let server = attempt.server;
        match attempt.next {
            // Only the deadline ends it.
            Step::Stay => self.look_at_one_that_stays(index),
            _ if attempt.is_due(now) => self.time_out(index, now),
            Step::Hedge => {
                attempt.next = Step::Suspect;
                // One that is silent as well is looked into at once, and left.
                if attempt.next_at().is_none_or(|at| at > now) {
                    self.hedge(now);
                }
            }
            Step::Suspect => {
                if attempt.heed_silence(now) {
                    self.fail_over(server, SILENCE, now);
                }
            }
            Step::TimeOut => self.time_out(index, now),
        }
    }

    /// The deadline has come: whoever has not answered has failed.
    fn end(&mut self, now: Instant) {
        self.again = None;
        for index in 0..self.tries.len() {
            self.time_out(index, now);
        }
    }

    fn time_out(&mut self, index: usize, now: Instant) {
        let Some(attempt) = self.tries.get_mut(index) else { return };
        let Some(exchange) = attempt.exchange.take() else { return };
        attempt.gave_nothing = true;
        let (server, has_stayed) = (attempt.server, attempt.next == Step::Stay);
        if now < self.deadline && self.is_last_hope(server, &exchange, now) {
            return self.stay(index, exchange, now);
        }
        if let Some(attempt) = self.tries.get_mut(index) {
            attempt.timed_out = Some(now);
        }
        let waited = now.saturating_duration_since(exchange.started());
        let limit = if has_stayed { waited } else { server.limits().query };
        let error = ExchangeError::Timeout(in_millis(waited.min(limit)));
        server.note(Err(&error), false, exchange.started(), now);
        self.note_failure(server, error, now);
    }

    /// Asks a second server for a faster answer, when that is within the budget.
    fn hedge(&mut self, now: Instant) {
        let is_alone = self.tries.len() == 1;
        let Some(server) = self.next_of(&self.route.servers, Standing::Up, now) else { return };
        if is_alone && server.is_warm(now) && self.route.hedges.spend() {
            server.upstream_series().count_hedge();
            self.ask(server, true, now);
        }
    }

    fn ask(&mut self, server: &'s Arc<Server>, is_hedge: bool, now: Instant) {
        // It may be stuck there, and take along those that it is with.
        let is_waiting =
            |tried: &Try<'_>| tried.exchange.is_some() && Arc::ptr_eq(tried.server, server);
        let is_apart = self.tries.iter().any(is_waiting);
        let exchange = Exchange::start(server, &self.request, is_apart, now);
        let next = if self.tries.is_empty() && server.hedge_after().is_some() {
            Step::Hedge
        } else {
            Step::Suspect
        };
        server.latency().note_asked(now);
        server.health().asked(now);
        self.tries.push(Try::new(server, exchange, next, is_hedge, now));
    }

    fn next_look(&self) -> Instant {
        self.tries
            .iter()
            .filter_map(Try::next_at)
            .chain(self.again)
            .fold(self.deadline, Instant::min)
    }
}

/// Questions that others have answered first.
impl Drop for Search<'_> {
    fn drop(&mut self) {
        let mut now = None;
        for Try { server, started, .. } in
            self.tries.iter().filter(|tried| tried.exchange.is_some())
        {
            server.series().count_abandoned();
            let now = *now.get_or_insert_with(Instant::now);
            server.latency().observe_late(now.saturating_duration_since(*started), now);
        }
    }
}

fn answer_of(server: &Server, Response { message, layout }: Response) -> Answer {
    let (upstream, is_secure) = (Arc::clone(server.upstream()), server.is_secured());
    Answer { message, layout, upstream, server: server.address(), is_secure }
}

/// Up to a whole number of milliseconds: people read it.
fn in_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
}

/// The reason of those that move on without a failure.
pub(super) const SILENCE: &str = "silence";
