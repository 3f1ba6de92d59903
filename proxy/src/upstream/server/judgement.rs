//! What is concluded about a server from what came of its questions, and told to people.
//!
//! Each outcome is counted, and goes to [`health`] if it says something about the transport, and to [`latency`] if it
//! says something about the speed. People are told once when a server becomes well or fails, not for each question.
//!
//! [`health`]: crate::upstream::health
//! [`latency`]: crate::upstream::latency

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Core, Server};
use crate::{
    message::Rcode,
    upstream::{dial::Stream, error::ExchangeError, pending::Response, settings::HealthCheck},
};

impl Server {
    /// It gave nothing for a client's question, begun at `begun`, that another one has answered.
    pub(in crate::upstream) fn note_unanswered(&self, begun: Instant, now: Instant) {
        self.core.health.left_unanswered(begun, now);
    }

    /// Nothing came for longer than usual.
    pub(in crate::upstream) fn suspect(&self) {
        if self.core.health.suspected() {
            debug!(upstream = %self.core.upstream, server = %self.address(), "upstream server is silent");
        }
    }

    /// A question of ours has come back to us: nobody is sent there.
    pub(in crate::upstream) fn take_out(&self, now: Instant) {
        if self.core.health.looped(now) {
            self.core.set_healthy(false);
            self.core.series.loops.inc();
            warn!(
                upstream = %self.core.upstream,
                server = %self.address(),
                "upstream server is taken out: what it is asked comes back to this proxy; change where it forwards to"
            );
        }
    }

    /// A question of ours that might have come back did not.
    pub(in crate::upstream) fn note_no_loop(&self, begun: Instant) {
        if self.core.health.did_not_loop(begun) {
            self.core.tell_healthy();
        }
    }

    /// Counts what came of a client's question, and draws from it what it says about the server. An answer `is_final` where
    /// no other server is to have a better one: it may be the refusal to give a forged one.
    pub(in crate::upstream) fn note(
        &self,
        result: Result<Rcode, &ExchangeError>,
        is_final: bool,
        started: Instant,
        now: Instant,
    ) {
        self.core.series.count(result);
        let Core { latency, health, limits, upstream_series, .. } = &*self.core;
        let took = now.saturating_duration_since(started);
        match result {
            Ok(rcode) => {
                upstream_series.observe(took);
                if rcode.is_answer() {
                    latency.observe(took, now);
                } else {
                    latency.observe_failure(is_final, limits.query, now);
                }
            }
            Err(ExchangeError::Timeout(_)) => latency.observe_late(took, now),
            // It may be because of the question: what becomes of a probe says whether it is.
            Err(error) if error.is_end_of_connection() => {
                if health.is_silent_since(started) && health.suspected() {
                    let (upstream, server) = (&self.core.upstream, self.address());
                    debug!(%upstream, %server, reason = error.reason(), "upstream server is suspect");
                }
                return;
            }
            Err(_) => {}
        }
        self.core.judge(result.map(|_| ()), true, started, now);
    }

    /// The same for a question of our own.
    pub(in crate::upstream) fn note_probe(
        &self,
        result: Result<&Response, &ExchangeError>,
        started: Instant,
        now: Instant,
    ) {
        if result.is_ok() {
            self.core.latency.observe_probe(now - started, now);
        }
        self.core.judge(result.map(|_| ()), false, started, now);
    }
}

impl Core {
    /// A connection is open.
    pub(super) fn note_connected(&self, stream: &Stream) {
        debug!(upstream = %self.upstream, server = %self.dialer.address, "connection is open");
        if let Stream::Tls { resumed, not_after, .. } = stream {
            self.upstream_series.count_handshake(*resumed);
            self.series.set_not_after(*not_after);
        }
        if self.health.connected() {
            self.tell_healthy();
        }
    }

    /// Draws from what came of a question what it says about the server.
    fn judge(
        &self,
        result: Result<(), &ExchangeError>,
        is_client: bool,
        started: Instant,
        now: Instant,
    ) {
        let check = (!is_client).then_some(&self.health_check);
        match result {
            // Too long an answer is one.
            Ok(()) | Err(ExchangeError::Truncated) => {
                if self.health.answered(is_client, now) {
                    self.tell_healthy();
                }
            }
            // What was left of a query's deadline says nothing about the server.
            Err(ExchangeError::Timeout(limit)) if *limit < self.limits.query => {}
            // Neither do a slow name, a connection that is closed because of a question, and an answer that is no message, as
            // long as other answers come.
            Err(error) if error.was_reached() && !self.health.is_silent_since(started) => {}
            Err(
                error @ (ExchangeError::Timeout(_)
                | ExchangeError::Malformed
                | ExchangeError::Mismatch),
            ) => self.note_failure(error, check, started, now),
            // The task of the connection has noted why there is none, if that says anything.
            Err(error) if error.is_outage() && (self.is_udp || error.was_reached()) => {
                self.note_failure(error, check, started, now);
            }
            Err(_) => {}
        }
    }

    pub(super) fn set_healthy(&self, is_healthy: bool) {
        self.series.set_healthy(self.term, is_healthy);
    }

    fn tell_healthy(&self) {
        self.set_healthy(true);
        info!(upstream = %self.upstream, server = %self.dialer.address, "upstream server is reached");
    }

    /// A try that was begun at `begun` has failed at the transport. People are told the question if it was our own: it may be
    /// one that the server does not answer.
    pub(super) fn note_failure(
        &self,
        error: &ExchangeError,
        check: Option<&HealthCheck>,
        begun: Instant,
        now: Instant,
    ) {
        if self.health.failed(error, begun, now) {
            self.set_healthy(false);
            warn!(
                upstream = %self.upstream,
                server = %self.dialer.address,
                reason = error.reason(),
                health_check = check.map(|HealthCheck { name, qtype, .. }| format!("{name} {qtype}")),
                %error,
                "upstream server fails"
            );
        }
    }
}
