//! The way of one query: the one place where the order of steps stands.
//!
//! ```text
//! well-formed? -> access -> rules -> hosts -> private names, ANY -> route -> loop guard -> cache -> limits -> upstream -> checks -> rules -> cache -> reply
//! ```
//!
//! Whatever happens on the way, a well-formed query gets exactly one reply, at the latest at
//! `limits.queryDeadline` (`replies`). Access holds for messages that are not well-formed as well. Sockets belong to
//! [`crate::listener`], connections to [`crate::upstream`].

use std::{ops::ControlFlow, sync::Arc};

use tokio::time::Instant;

use crate::{
    access::{Access, Verdict as Admission},
    cache::{Key, Scope, Sought},
    checks::Checks,
    cluster_dns::LoopGuard,
    judge::{Fate, Judge, Judgement},
    limits::{InFlight, Limits},
    listener::{Client, Transport},
    message::{Header, Query, Rcode, Request, reply},
    query_log::QueryLog,
    rules::metrics::Matches,
    shutdown::Tasks,
    upstream::{Route, Upstreams},
};

mod caching;
mod explain;
mod flights;
mod inquiry;
pub mod metrics;
mod replies;
mod ruled;
mod waiting;

pub use caching::Caching;
pub use flights::Flights;
pub use metrics::{Limit, PipelineMetrics, Source};
pub use waiting::{Answer, Finished};

use caching::Recalled;
use inquiry::Inquiry;
use replies::{other, prohibited};
use ruled::{Own, Way};
use waiting::{Places, Waiting};

/// What a message gets.
pub enum Verdict {
    /// Nothing: it cannot be replied to.
    Silence,
    /// The reply that was written.
    Reply,
    /// A reply, when an upstream has answered or the deadline has come.
    Later(Answer),
}

/// How far a query has come when all is decided that can be decided by itself.
pub enum Step<'q> {
    /// To its end.
    Over(Verdict),
    /// The cache is asked next, or upstreams.
    Asked(Asked<'q>),
}

/// A query of which the answer is somewhere else.
pub struct Asked<'q> {
    job: Job<'q>,
    way: Way<'q>,
    sought: Option<Sought>,
}

/// Everything that decides about a query. A reload makes a new one; queries finish with the one that they
/// started with.
#[derive(Debug)]
pub struct Pipeline {
    /// Who may ask.
    pub access: Access,
    /// What decides about a query by itself.
    pub judge: Judge,
    /// What counts the matches of its rules.
    pub matches: Matches,
    /// What is checked in every upstream's answer.
    pub checks: Checks,
    /// What is remembered, when anything is.
    pub caching: Option<Caching>,
    /// Whom to ask.
    pub upstreams: Arc<Upstreams>,
    /// What is being asked, over all workers and reloads.
    pub flights: Arc<Flights>,
    /// The guard of the cluster's DNS, when there is one.
    pub loop_guard: Option<LoopGuard>,
    /// The bounds.
    pub limits: Limits,
    /// Queries that wait for an upstream, over all workers and reloads.
    pub in_flight: Arc<InFlight>,
    /// What is counted.
    pub metrics: PipelineMetrics,
    /// Which queries are logged.
    pub query_log: QueryLog,
    /// Who waits for questions that go on without a client.
    pub tasks: Tasks,
}

impl Pipeline {
    /// Decides what a client's message gets. A reply that can be given at once is written to `out`, which is empty
    /// and keeps its capacity from one message to the next.
    pub fn answer(
        self: &Arc<Self>,
        message: &[u8],
        client: Client,
        started: Instant,
        out: &mut Vec<u8>,
    ) -> Verdict {
        match self.decide(message, client, started, out) {
            Step::Over(verdict) => verdict,
            Step::Asked(asked) => self.resolve(asked, out),
        }
    }

    /// The first part of it. Between the two other messages can have theirs: until then the processor fetches what
    /// the second part looks at first.
    pub fn decide<'q>(
        self: &'q Arc<Self>,
        message: &'q [u8],
        client: Client,
        started: Instant,
        out: &mut Vec<u8>,
    ) -> Step<'q> {
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(rejection) => return Step::Over(self.reject(rejection, client, started, out)),
        };
        self.metrics.count_query(client.transport, query.question.qtype);
        let job = Job { query, client, started };
        match self.route(&job, out) {
            ControlFlow::Continue(way) => {
                let sought = self.seek(&job, way.scope);
                Step::Asked(Asked { job, way, sought })
            }
            ControlFlow::Break(verdict) => Step::Over(verdict),
        }
    }

    /// Access, rules and all else that is known without asking.
    fn route<'q>(
        self: &'q Arc<Self>,
        job: &Job<'_>,
        out: &mut Vec<u8>,
    ) -> ControlFlow<Verdict, Way<'q>> {
        let Job { query, client, started } = job;
        match self.access.check(client.address, *started) {
            Admission::Allowed => {}
            Admission::Denied => return ControlFlow::Break(self.refuse(job, &prohibited(), out)),
            Admission::TooMany => return ControlFlow::Break(self.slow_down(job, out)),
        }
        let Judgement { fate, decision } = match self.judge(job) {
            Ok(judgement) => judgement,
            Err(defect) => return ControlFlow::Break(self.fail(job, defect, out)),
        };
        if decision.is_tcp_only && client.transport == Transport::Udp {
            reply::truncated(query, self.terms(*client), out);
            return ControlFlow::Break(self.replied(job, Rcode::NOERROR, Source::Rule, out));
        }
        let route = match fate {
            Fate::Failed(reason) => return ControlFlow::Break(self.fail(job, &reason, out)),
            Fate::Dropped => return ControlFlow::Break(self.keep_silent(job)),
            Fate::Made { rcode, response, is_ruled, reason } => {
                let source = if is_ruled { Source::Rule } else { Source::Local };
                let own = Own { rcode, response: *response, source, reason };
                return ControlFlow::Break(self.give_own(job, own, &decision, out));
            }
            Fate::Any => {
                reply::any(query, self.terms(*client), out);
                return ControlFlow::Break(self.replied(job, Rcode::NOERROR, Source::Local, out));
            }
            Fate::NoRoute => None,
            Fate::Asked(route) => self.upstreams.route_at(route),
        };
        let Some(route) = route else {
            return ControlFlow::Break(self.refuse(job, &other("no route for this name"), out));
        };
        if self.loop_guard.as_ref().is_some_and(|guard| guard.stops(client.address, route.name())) {
            self.metrics.count_loop();
            let reason = "a question of the cluster's DNS would go back to it";
            return ControlFlow::Break(self.fail(job, reason, out));
        }
        ControlFlow::Continue(self.way(&query.question, route, &decision))
    }

    /// The second part: the answer of the cache, or of upstreams.
    pub fn resolve(self: &Arc<Self>, asked: Asked<'_>, out: &mut Vec<u8>) -> Verdict {
        let Asked { job, way, sought } = asked;
        let stale = match self.recall(&job, way.scope, sought) {
            Recalled::Reply { entry, source, is_due } => {
                if is_due {
                    self.refresh(&job, &way, sought, &entry, source == Source::Cache);
                }
                self.give(&job, &entry, source, None, out);
                return Verdict::Reply;
            }
            Recalled::Nothing { stale } => stale,
        };
        if self.upstreams.stop_loop(&job.query.question, job.started) {
            return self.fail(&job, "a forwarding loop", out);
        }
        let places = match self.enter(way.route) {
            Ok(places) => places,
            Err(limit) => return self.limit(&job, limit, stale, out),
        };
        let request = Arc::new(job.request());
        let inquiry = Inquiry { request: Arc::clone(&request), scope: way.scope, sought };
        let (flight, _) = self.start(&way, inquiry, job.started, false);
        let waiting = Waiting::new(Arc::clone(self), &job, request);
        Verdict::Later(Answer::new(waiting, places, flight, stale))
    }

    /// Whether so many queries wait that places are dear.
    fn is_half_full(&self) -> bool {
        self.in_flight.count() >= self.limits.max_in_flight / 2
    }

    /// Places among the queries that wait, unless a bound is reached.
    fn enter(&self, route: &Route) -> Result<Places, Limit> {
        let place = self.in_flight.enter(self.limits.max_in_flight).ok_or(Limit::InFlight)?;
        let place_on_route = route.enter().ok_or(Limit::InFlightOnRoute)?;
        Ok((place, place_on_route))
    }
}

/// One well-formed query on its way.
struct Job<'m> {
    query: Query<'m>,
    client: Client,
    started: Instant,
}

impl Job<'_> {
    /// What its answer is found by.
    fn key(&self, scope: Scope) -> Key<'_> {
        let Query { header, question, .. } = &self.query;
        Key::of(question, self.query.dnssec_ok(), header.has(Header::CD), scope)
    }

    fn request(&self) -> Request {
        Request {
            question: self.query.question.clone().into_owned(),
            recursion_desired: self.query.header.has(Header::RD),
            checking_disabled: self.query.header.has(Header::CD),
            dnssec_ok: self.query.dnssec_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
