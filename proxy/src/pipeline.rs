//! The way of one query: the one place where the order of steps stands.
//!
//! ```text
//! well-formed? -> access -> ANY -> route -> loop guard -> limits -> upstream -> reply
//! ```
//!
//! Whatever happens on the way, a well-formed query gets exactly one reply, at the latest at
//! `limits.queryDeadline`. Access holds for messages that are not well-formed as well. Sockets belong to [`crate::listener`], connections to [`crate::upstream`].

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::time::Instant;

use crate::{
    access::{Access, Verdict as Admission},
    cache::{Bounds, Entry, How, Key, Scope},
    cluster_dns::LoopGuard,
    limits::{InFlight, Limits},
    listener::{Client, Transport},
    message::{
        Qtype, Query, Rcode, Rejection, Request,
        edns::ExtendedError,
        reply::{self, Terms},
        truncate,
    },
    query_log::{QueryLog, Record},
    upstream::Upstreams,
};

pub mod metrics;

pub use metrics::{Limit, PipelineMetrics, Source};

/// A reply that is still being made.
pub type Answer = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// What a message gets.
pub enum Verdict {
    /// Nothing: it cannot be replied to.
    Silence,
    /// A reply, at once.
    Reply(Vec<u8>),
    /// A reply, when an upstream has answered or the deadline has come.
    Later(Answer),
}

/// Everything that decides about a query. A reload makes a new one; queries finish with the one that they
/// started with.
#[derive(Debug)]
pub struct Pipeline {
    /// Who may ask.
    pub access: Access,
    /// Whom to ask.
    pub upstreams: Arc<Upstreams>,
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
}

impl Pipeline {
    /// Decides what a client's message gets.
    pub fn answer(self: &Arc<Self>, message: &[u8], client: Client) -> Verdict {
        let started = Instant::now();
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(rejection) => return self.reject(rejection, client, started),
        };
        self.metrics.count_query(client.transport, query.question.qtype);
        let job = Job { pipeline: Arc::clone(self), query, client, started };
        match self.access.check(client.address, started) {
            Admission::Allowed => {}
            Admission::Denied => {
                return job.refuse(&prohibited());
            }
            Admission::TooMany => return job.slow_down(),
        }
        if job.query.question.qtype == Qtype::ANY {
            return job.reply(reply::any, Source::Local);
        }
        let Some(route) = self.upstreams.route(&job.query.question) else {
            return job.refuse(&ExtendedError::new(ExtendedError::OTHER, "no route for this name"));
        };
        if self.loop_guard.as_ref().is_some_and(|guard| guard.stops(client.address, route.name())) {
            self.metrics.count_loop();
            return job.fail(&ExtendedError::new(
                ExtendedError::OTHER,
                "a question of the cluster's DNS would go back to it",
            ));
        }
        if self.upstreams.stop_loop(&job.query.question, started) {
            return job.fail(&ExtendedError::new(ExtendedError::OTHER, "a forwarding loop"));
        }
        let Some(place) = self.in_flight.enter(self.limits.max_in_flight) else {
            return job.limit(Limit::InFlight);
        };
        let Some(place_on_route) = route.enter() else {
            return job.limit(Limit::InFlightOnRoute);
        };
        let route = Arc::clone(route);
        Verdict::Later(Box::pin(async move {
            let request = job.request();
            let deadline = job.started + job.pipeline.limits.query_deadline;
            let exchanged = job.pipeline.upstreams.exchange(&route, request, deadline).await;
            drop((place, place_on_route));
            job.finish(exchanged)
        }))
    }

    /// The bounds that listeners need.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// A message that is no answerable query is one of its client's all the same: access holds for it, too.
    fn reject(&self, mut rejection: Rejection, client: Client, started: Instant) -> Verdict {
        let Rejection::Error { question, rcode, .. } = &mut rejection else {
            return Verdict::Silence;
        };
        let qtype = question.as_ref().map_or(Qtype(0), |question| question.qtype);
        self.metrics.count_query(client.transport, qtype);
        let reason = match (self.access.check(client.address, started), client.transport) {
            (Admission::Allowed, _) => None,
            // The sender may be forged, and TCP would not make this an answerable query.
            (Admission::TooMany, Transport::Udp) => return Verdict::Silence,
            (Admission::TooMany, Transport::Tcp) => Some(over_the_limit()),
            (Admission::Denied, _) => Some(prohibited()),
        };
        let source = if reason.is_some() { Source::Refused } else { Source::Local };
        if reason.is_some() {
            *rcode = Rcode::REFUSED;
        }
        let (rcode, upstream, duration) = (*rcode, None, started.elapsed());
        self.metrics.count_response(rcode, source, duration);
        if let Some(question) = question {
            self.query_log.note(&Record { client, question, rcode, source, upstream, duration });
        }
        reply::rejection(&rejection, reason.as_ref(), self.terms(client))
            .map_or(Verdict::Silence, Verdict::Reply)
    }

    fn terms(&self, client: Client) -> Terms {
        let keepalive = match client.transport {
            Transport::Udp => None,
            Transport::Tcp => u16::try_from(self.limits.tcp_idle_timeout.as_millis() / 100).ok(),
        };
        Terms { udp_payload: self.limits.edns_buffer_size, keepalive }
    }
}

fn prohibited() -> ExtendedError {
    ExtendedError::new(ExtendedError::PROHIBITED, "this client may not ask")
}

fn over_the_limit() -> ExtendedError {
    ExtendedError::new(ExtendedError::OTHER, "access.rateLimit")
}

/// One well-formed query on its way.
struct Job {
    pipeline: Arc<Pipeline>,
    query: Query,
    client: Client,
    started: Instant,
}

impl Job {
    fn request(&self) -> Request {
        Request {
            question: self.query.question.clone(),
            recursion_desired: self.query.header.has(crate::message::Header::RD),
            checking_disabled: self.query.header.has(crate::message::Header::CD),
            dnssec_ok: self.query.dnssec_ok(),
        }
    }

    fn key(&self) -> Key<'_> {
        Key {
            name: self.query.question.name.as_wire(),
            qtype: self.query.question.qtype,
            qclass: self.query.question.qclass,
            dnssec_ok: self.query.dnssec_ok(),
            checking_disabled: self.query.header.has(crate::message::Header::CD),
            scope: Scope(0),
        }
    }

    fn refuse(self, reason: &ExtendedError) -> Verdict {
        self.reply(
            |query, terms| reply::error(query, Rcode::REFUSED, Some(reason), terms),
            Source::Refused,
        )
    }

    /// A bound of ours is reached: the client learns at once which one.
    fn limit(self, limit: Limit) -> Verdict {
        self.pipeline.metrics.count_limited(limit);
        self.fail(&ExtendedError::new(ExtendedError::OTHER, limit.label()))
    }

    fn fail(self, reason: &ExtendedError) -> Verdict {
        self.reply(
            |query, terms| reply::error(query, Rcode::SERVFAIL, Some(reason), terms),
            Source::Local,
        )
    }

    /// Over the rate limit: a datagram, of which the sender may be forged, is sent to TCP by a reply that
    /// is no longer than the query; over TCP the client is refused.
    fn slow_down(self) -> Verdict {
        match self.client.transport {
            Transport::Udp => self.reply(reply::truncated, Source::Refused),
            Transport::Tcp => self.refuse(&over_the_limit()),
        }
    }

    fn reply(self, write: impl FnOnce(&Query, Terms) -> Vec<u8>, source: Source) -> Verdict {
        let reply = write(&self.query, self.pipeline.terms(self.client));
        Verdict::Reply(self.hand_over(reply, source, None))
    }

    /// Turns what the upstreams gave into the client's reply.
    fn finish(
        self,
        exchanged: Result<crate::upstream::Answer, crate::upstream::Failure>,
    ) -> Vec<u8> {
        let terms = self.pipeline.terms(self.client);
        match exchanged {
            Ok(answer) => {
                let upstream = Arc::clone(&answer.upstream);
                let (key, now) = (self.key(), Instant::now());
                let entry = Entry::of_upstream(
                    &key,
                    answer.message,
                    &answer.layout,
                    answer.is_secure,
                    &Bounds::NONE,
                    now,
                );
                let mut reply = Vec::new();
                entry.write(&self.query, How::Fresh, terms, now, &mut reply);
                self.hand_over(reply, Source::Upstream, Some(&upstream))
            }
            Err(failure) => {
                if failure.is_limit() {
                    self.pipeline.metrics.count_limited(Limit::InFlightOnConnections);
                }
                let reply = reply::error(&self.query, Rcode::SERVFAIL, Some(&failure.ede()), terms);
                self.hand_over(reply, Source::Local, None)
            }
        }
    }

    /// Makes the reply fit, counts it and logs it.
    fn hand_over(&self, mut reply: Vec<u8>, source: Source, upstream: Option<&str>) -> Vec<u8> {
        let limit = match self.client.transport {
            Transport::Udp => self.query.udp_limit(self.pipeline.limits.edns_buffer_size),
            Transport::Tcp => usize::from(u16::MAX),
        };
        truncate::fit(&mut reply, limit);
        let rcode = reply::rcode(&reply);
        let duration = self.started.elapsed();
        self.pipeline.metrics.count_response(rcode, source, duration);
        let record = Record {
            client: self.client,
            question: &self.query.question,
            rcode,
            source,
            upstream,
            duration,
        };
        self.pipeline.query_log.note(&record);
        reply
    }
}
