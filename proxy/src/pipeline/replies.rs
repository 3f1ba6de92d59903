//! What is replied, once it is decided: an answer or an error, made to fit, counted and logged.
//!
//! A client learns why it has no answer (RFC 8914); one that asks too much by datagrams, of which the sender may be forged,
//! learns no more than to use TCP.

use tokio::time::Instant;

use super::{Job, Limit, Pipeline, Source, Verdict};
use crate::{
    access::Verdict as Admission,
    cache::{Entry, How},
    listener::{Client, Transport},
    message::{
        Qtype, Rcode, Rejection,
        edns::ExtendedError,
        reply::{self, Terms},
        truncate,
    },
    query_log::Record,
};

impl Pipeline {
    /// A message that is no answerable query is one of its client's all the same: access holds for it, too.
    pub(super) fn reject(
        &self,
        mut rejection: Rejection<'_>,
        client: Client,
        started: Instant,
        out: &mut Vec<u8>,
    ) -> Verdict {
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
            let rcode = Some(rcode);
            self.query_log.note(&Record { client, question, rcode, source, upstream, duration });
        }
        reply::rejection(&rejection, reason.as_ref(), self.terms(client), out);
        Verdict::Reply
    }

    pub(super) fn terms(&self, client: Client) -> Terms {
        let keepalive = match client.transport {
            Transport::Udp => None,
            Transport::Tcp => u16::try_from(self.limits.tcp_idle_timeout.as_millis() / 100).ok(),
        };
        Terms { udp_payload: self.limits.edns_buffer_size, keepalive }
    }

    pub(super) fn refuse(
        &self,
        job: &Job<'_>,
        reason: &ExtendedError,
        out: &mut Vec<u8>,
    ) -> Verdict {
        self.error(job, Rcode::REFUSED, Source::Refused, reason, out)
    }

    /// A bound of ours is reached: the client learns at once which one, where there is no stale answer for it.
    pub(super) fn limit(
        &self,
        job: &Job<'_>,
        limit: Limit,
        stale: Option<Entry>,
        out: &mut Vec<u8>,
    ) -> Verdict {
        self.metrics.count_limited(limit);
        let Some(entry) = stale else { return self.fail(job, limit.label(), out) };
        self.give(job, &entry, Source::Stale, None, out);
        Verdict::Reply
    }

    /// A rule wants no reply to this.
    pub(super) fn keep_silent(&self, job: &Job<'_>) -> Verdict {
        let Job { query, client, started } = job;
        let (client, question, duration) = (*client, &query.question, started.elapsed());
        let (rcode, source, upstream) = (None, Source::Rule, None);
        self.query_log.note(&Record { client, question, rcode, source, upstream, duration });
        Verdict::Silence
    }

    pub(super) fn fail(&self, job: &Job<'_>, reason: &str, out: &mut Vec<u8>) -> Verdict {
        self.error(job, Rcode::SERVFAIL, Source::Local, &other(reason), out)
    }

    fn error(
        &self,
        job: &Job<'_>,
        rcode: Rcode,
        source: Source,
        reason: &ExtendedError,
        out: &mut Vec<u8>,
    ) -> Verdict {
        reply::error(&job.query, rcode, Some(reason), self.terms(job.client), out);
        self.replied(job, rcode, source, out)
    }

    /// Over the rate limit: a datagram, of which the sender may be forged, is sent to TCP by a reply that
    /// is no longer than the query; over TCP the client is refused.
    pub(super) fn slow_down(&self, job: &Job<'_>, out: &mut Vec<u8>) -> Verdict {
        match job.client.transport {
            Transport::Udp => {
                reply::truncated(&job.query, self.terms(job.client), out);
                self.replied(job, Rcode::NOERROR, Source::Refused, out)
            }
            Transport::Tcp => self.refuse(job, &over_the_limit(), out),
        }
    }

    pub(super) fn replied(
        &self,
        job: &Job<'_>,
        rcode: Rcode,
        source: Source,
        out: &mut Vec<u8>,
    ) -> Verdict {
        self.hand_over(job, rcode, source, None, out);
        Verdict::Reply
    }

    /// Writes an answer.
    pub(super) fn give(
        &self,
        job: &Job<'_>,
        entry: &Entry,
        source: Source,
        upstream: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let how = match source {
            Source::Cache => How::Cached,
            Source::Stale => self.how_stale(),
            Source::Upstream | Source::Rule | Source::Local | Source::Refused => How::Fresh,
        };
        entry.write(&job.query, how, self.terms(job.client), job.started, out);
        self.hand_over(job, entry.rcode(), source, upstream, out);
    }

    /// Makes the reply fit, counts it and logs it.
    fn hand_over(
        &self,
        job: &Job<'_>,
        rcode: Rcode,
        source: Source,
        upstream: Option<&str>,
        reply: &mut Vec<u8>,
    ) {
        let Job { query, client, started } = job;
        let limit = match client.transport {
            Transport::Udp => query.udp_limit(self.limits.edns_buffer_size),
            Transport::Tcp => usize::from(u16::MAX),
        };
        let is_cut = truncate::fit(reply, limit);
        if is_cut && client.transport == Transport::Tcp {
            // There is nothing larger that TC could send the client to.
            reply.clear();
            self.fail(job, TOO_LONG, reply);
            return;
        }
        let (client, question, duration) = (*client, &query.question, started.elapsed());
        self.metrics.count_response(rcode, source, duration);
        let rcode = Some(rcode);
        self.query_log.note(&Record { client, question, rcode, source, upstream, duration });
    }
}

/// Our own OPT record needs a few octets more than the upstream's answer had.
const TOO_LONG: &str = "with EDNS, the answer has more than 65535 octets";

pub(super) fn prohibited() -> ExtendedError {
    ExtendedError::new(ExtendedError::PROHIBITED, "this client may not ask")
}

fn over_the_limit() -> ExtendedError {
    other("access.rateLimit")
}

pub(super) fn other(reason: &str) -> ExtendedError {
    ExtendedError::new(ExtendedError::OTHER, reason)
}
