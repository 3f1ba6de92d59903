//! One address of an upstream: its connections, its health and its speed.
//!
//! A server is told what came of each question and draws its conclusions: [`super::health`] from failures of
//! the transport, [`super::latency`] from answers. It makes connections when somebody needs one or will.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    connection::{Connection, drive},
    dial::{Dialer, Security, Stream},
    error::ExchangeError,
    health::{Health, Standing, State},
    latency::Latency,
    metrics::{ServerSeries, UpstreamSeries},
    pending::Response,
    placement::Placement,
    pool::{Pool, Wanted},
    settings::{ConnectionLimits, HealthCheck},
};
use crate::{
    message::{Rcode, request::RequestEdns},
    shutdown::Tasks,
};

/// One address of an upstream.
#[derive(Debug)]
pub(super) struct Server {
    core: Arc<Core>,
    pool: Pool,
    tasks: Tasks,
    placement: Placement,
    /// Whether somebody looks after it at the moment.
    pub(super) is_probed: AtomicBool,
}

/// What a server and the tasks of its connections share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) upstream: Arc<str>,
    pub(super) dialer: Dialer,
    pub(super) is_udp: bool,
    pub(super) is_padded: bool,
    pub(super) udp_payload: u16,
    pub(super) limits: TimeLimits,
    pub(super) connections: ConnectionLimits,
    pub(super) health_check: HealthCheck,
    pub(super) health: Health,
    pub(super) latency: Latency,
    pub(super) series: Arc<ServerSeries>,
    /// See [`ServerSeries::begin_term`].
    pub(super) term: u64,
    pub(super) upstream_series: Arc<UpstreamSeries>,
}

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    /// For a connection, TLS included.
    pub(super) connect: Duration,
    /// For an answer.
    pub(super) query: Duration,
}

impl Server {
    /// A server that nothing is known of.
    pub(super) fn new(core: Core, tasks: Tasks, placement: Placement) -> Self {
        core.set_healthy(true);
        if let Security::Unusable(error) = &core.dialer.security {
            let now = Instant::now();
            core.note_failure(&error.clone().into(), now, now);
        }
        let (core, pool) = (Arc::new(core), Pool::default());
        Self { core, pool, tasks, placement, is_probed: AtomicBool::new(false) }
    }

    /// The name of its upstream.
    pub(super) fn upstream(&self) -> &Arc<str> {
        &self.core.upstream
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.core.dialer.address
    }

    pub(super) fn is_udp(&self) -> bool {
        self.core.is_udp
    }

    /// Whether what it says comes from an authenticated server over an encrypted connection.
    pub(super) fn is_secured(&self) -> bool {
        !matches!(self.core.dialer.security, Security::None)
    }

    pub(super) fn limits(&self) -> TimeLimits {
        self.core.limits
    }

    pub(super) fn health(&self) -> &Health {
        &self.core.health
    }

    pub(super) fn health_check(&self) -> &HealthCheck {
        &self.core.health_check
    }

    /// The most connections.
    pub(super) fn max_connections(&self) -> usize {
        self.core.connections.max
    }

    pub(super) fn latency(&self) -> &Latency {
        &self.core.latency
    }

    pub(super) fn series(&self) -> &Arc<ServerSeries> {
        &self.core.series
    }

    pub(super) fn upstream_series(&self) -> &UpstreamSeries {
        &self.core.upstream_series
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Where it stands among the others. One that takes its time to be connected to is doubtful meanwhile.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.core.health.standing(now) {
            Standing::Up if self.core.health.is_left_alone(now) => Standing::Doubtful,
            // What is asked by datagrams needs no connection.
            Standing::Up if !self.is_udp() && self.pool.is_slow_to_open(LEAST_PATIENCE, now) => {
                Standing::Doubtful
            }
            standing => standing,
        }
    }

    /// Whether a question can leave at once.
    pub(super) fn is_warm(&self, now: Instant) -> bool {
        self.is_udp() || self.pool.is_warm(now)
    }

    /// Whether it is connected to, or is not before somebody asks: that it is not says nothing about it then.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.is_warm(now) || self.pool.is_brief(&self.core.connections)
    }

    /// Whether half of the questions wait that its connections may have.
    pub(super) fn is_half_full(&self) -> bool {
        !self.is_udp() && self.pool.is_half_full(&self.core.connections)
    }

    /// Whether nothing it is asked is answered, as far as is known. One that is merely silent is no reason to
    /// give questions to a fallback, which may be weaker.
    pub(super) fn is_out_of_reach(&self) -> bool {
        matches!(self.core.health.snapshot().state, State::Unhealthy)
    }

    /// Whether it may be gone, and whether it is is being found out.
    pub(super) fn is_suspect(&self) -> bool {
        matches!(self.core.health.snapshot().state, State::Suspect)
    }

    /// Whether it answers no client's question that others answer.
    pub(super) fn is_deaf(&self) -> bool {
        self.core.health.is_deaf()
    }

    /// It gave nothing for a client's question, begun at `begun`, that another one has answered.
    pub(super) fn note_unanswered(&self, begun: Instant, now: Instant) {
        self.core.health.left_unanswered(begun, now);
    }

    /// How long after a question another server may be asked for a faster answer; `None` while too little is
    /// known.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        self.core.latency.p95().map(|p95| p95.max(LEAST_DELAY))
    }

    /// How long after a question a silence is suspect: long enough that it is not mere bad luck, and short
    /// enough that there is time left to do something about it.
    pub(super) fn patience(&self) -> Duration {
        LEAST_PATIENCE.max(self.core.latency.p99() * 4).min(self.core.limits.query / 2)
    }

    /// After how much silence a connection may be held up by one question. With servers that take questions in order, as many
    /// do (RFC 7766 section 6.2.1.1 leaves it to them), all that are behind it wait.
    fn held_up_after(&self) -> Duration {
        let usual = self.core.latency.p50().map(|p50| (p50 * 4).max(LEAST_DELAY));
        usual.unwrap_or(LEAST_PATIENCE).min(self.patience())
    }

    /// The connection for the next question; made when there is none.
    pub(super) fn connection(
        &self,
        wanted: Wanted,
        now: Instant,
    ) -> Result<Arc<Connection>, ExchangeError> {
        let may_open = || self.core.health.fresh_failure(now).map_or(Ok(()), Err);
        let (limits, held_up_after) = (&self.core.connections, self.held_up_after());
        let place = self.pool.place(wanted, limits, held_up_after, may_open, now)?;
        if let Some(to_open) = place.to_open {
            self.open(to_open);
        }
        Ok(place.connection)
    }

    /// Makes a connection before somebody needs it, unless there is one.
    pub(super) fn warm(&self, now: Instant) {
        if self.core.is_udp || self.core.health.fresh_failure(now).is_some() {
            return;
        }
        if let Some(to_open) = self.pool.prepare(&self.core.connections, now) {
            self.open(to_open);
        }
    }

    fn open(&self, connection: Arc<Connection>) {
        let (core, pool) = (Arc::clone(&self.core), self.pool.clone());
        let (tasks, placement) = (self.tasks.clone(), self.placement.clone());
        let opening = Opening { core, pool, connection, tasks, placement };
        self.placement.spawn(&self.tasks, opening.run());
    }

    /// Nothing came for longer than usual.
    pub(super) fn suspect(&self) {
        if self.core.health.suspected(true) {
            info!(upstream = %self.core.upstream, server = %self.address(), "upstream server is silent");
        }
    }

    /// A question of ours has come back to us: nobody is sent there.
    pub(super) fn take_out(&self, now: Instant) {
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
    pub(super) fn note_no_loop(&self, begun: Instant) {
        if self.core.health.did_not_loop(begun) {
            self.core.tell_healthy();
        }
    }

    /// Counts what came of a client's question, and draws from it what it says about the server. An answer `is_final` where
    /// no other server is to have a better one: it may be the refusal to give a forged one.
    pub(super) fn note(
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
                if health.is_silent_since(started) && health.suspected(false) {
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
    pub(super) fn note_probe(
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

    /// What a question in a datagram says about us.
    pub(super) fn edns_of_datagrams(&self) -> RequestEdns {
        let udp_payload = self.core.udp_payload;
        RequestEdns { udp_payload, padding_block: None, keepalive: false }
    }

    /// What a question in a stream says about us. Padding is for those who see the length and not the content
    /// (RFC 8467 section 4.1).
    pub(super) fn edns_of_streams(&self) -> RequestEdns {
        let udp_payload = self.core.udp_payload;
        let padding_block = (self.is_secured() && self.core.is_padded).then_some(PADDING_BLOCK);
        RequestEdns { udp_payload, padding_block, keepalive: true }
    }
}

/// A server that is no longer wanted finishes what was asked.
impl Drop for Server {
    fn drop(&mut self) {
        self.pool.retire_all();
    }
}

/// A connection that is being made.
struct Opening {
    core: Arc<Core>,
    pool: Pool,
    connection: Arc<Connection>,
    tasks: Tasks,
    placement: Placement,
}

impl Opening {
    /// The task of a connection, from the first packet to the last.
    async fn run(self) {
        let begun = Instant::now();
        let token = self.tasks.token().clone();
        let dialled = tokio::select! {
            dialled = self.dial(begun) => dialled,
            () = token.cancelled() => return,
        };
        match dialled {
            Ok(stream) => {
                self.core.note_connected(&stream);
                self.pool.note_opened(Instant::now());
                // Over TLS 1.3 a server may refuse our certificate after the handshake; another one behind its address may take
                // it. Whatever else ends a connection is judged by the questions that it took along.
                let ended = self.drive(stream, token).await;
                self.tell_end(ended.as_ref().err(), begun);
                self.pool.note_end(&self.connection);
                if matches!(ended, Err(ExchangeError::Closed))
                    && let Some(idle) = self.connection.idle_at_end()
                {
                    self.pool.note_idle_end(idle);
                }
                if let Err(error) = ended
                    && !error.was_reached()
                    && self.core.health.is_silent_since(begun)
                {
                    self.core.note_failure(&error, begun, Instant::now());
                }
            }
            Err(error) => {
                self.tell_end(Some(&error), begun);
                self.note_unmade(&error, begun, Instant::now());
                self.connection.end(&error);
            }
        }
    }

    /// Says how a connection ended; no reason is ours.
    fn tell_end(&self, error: Option<&ExchangeError>, begun: Instant) {
        let (upstream, server, age) =
            (&self.core.upstream, self.core.dialer.address, begun.elapsed());
        let reason = error.map_or("not needed any more", ExchangeError::reason);
        debug!(%upstream, %server, ?age, reason, "connection has ended");
    }

    /// One whose other connections answer is well, unless it is not who it should be: then those that are old end as well.
    fn note_unmade(&self, error: &ExchangeError, begun: Instant, now: Instant) {
        let is_further = self.pool.is_warm(now);
        if is_further && self.pool.note_refused(now) {
            let (upstream, server) = (&self.core.upstream, self.core.dialer.address);
            info!(%upstream, %server, reason = error.reason(), %error, "upstream server gives no further connection");
        }
        // A server that is asked by datagrams lives, whether it has TCP or not.
        if error.is_outage() && !self.core.is_udp && !(is_further && error.is_refusal()) {
            self.pool.retire_old(now);
            self.core.note_failure(error, begun, now);
        }
    }

    /// Connects, after a pause where the server takes connections and answers nothing.
    async fn dial(&self, now: Instant) -> Result<Stream, ExchangeError> {
        sleep_until(self.core.health.next_connection(now)).await;
        let core = Arc::clone(&self.core);
        let dialled = self.placement.aside(&self.tasks, async move { core.dialer.dial().await });
        dialled.await.map_err(|_| ExchangeError::Closed)??.moved_here()
    }

    async fn drive(&self, stream: Stream, token: CancellationToken) -> Result<(), ExchangeError> {
        let (connection, series) = (Arc::clone(&self.connection), Arc::clone(&self.core.series));
        match stream {
            Stream::Plain(stream) => drive(connection, stream, series, token).await,
            Stream::Tls { stream, .. } => drive(connection, stream, series, token).await,
            #[cfg(test)]
            Stream::Lab(stream) => drive(connection, stream, series, token).await,
        }
    }
}

/// Whatever happens to the task, nobody waits for ever.
impl Drop for Opening {
    fn drop(&mut self) {
        self.connection.end(&ExchangeError::Closed);
    }
}

impl Core {
    fn note_connected(&self, stream: &Stream) {
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
        match result {
            // Too long an answer is one.
            Ok(()) | Err(ExchangeError::Truncated) => {
                if self.health.answered(is_client, now) {
                    self.tell_healthy();
                }
            }
            // What was left of a query's deadline says nothing about the server.
            Err(ExchangeError::Timeout(limit)) if *limit < self.limits.query => {}
            // Neither does a slow name, while other answers come.
            Err(ExchangeError::Timeout(_)) if !self.health.is_silent_since(started) => {}
            Err(error @ ExchangeError::Timeout(_)) => self.note_failure(error, started, now),
            // What is closed because of a question, or answered by what is no message, says nothing about others, as long as
            // they are answered.
            Err(error) if error.was_reached() && !self.health.is_silent_since(started) => {}
            Err(error @ (ExchangeError::Malformed | ExchangeError::Mismatch)) => {
                self.note_failure(error, started, now);
            }
            // The task of the connection has noted why there is none, if that says anything.
            Err(error) if error.is_outage() && (self.is_udp || error.was_reached()) => {
                self.note_failure(error, started, now);
            }
            Err(_) => {}
        }
    }

    fn set_healthy(&self, is_healthy: bool) {
        self.series.set_healthy(self.term, is_healthy);
    }

    fn tell_healthy(&self) {
        self.set_healthy(true);
        info!(upstream = %self.upstream, server = %self.dialer.address, "upstream server is reached");
    }

    pub(super) fn note_failure(&self, error: &ExchangeError, begun: Instant, now: Instant) {
        if self.health.failed(error, begun, now) {
            self.set_healthy(false);
            warn!(
                upstream = %self.upstream,
                server = %self.dialer.address,
                reason = error.reason(),
                %error,
                "upstream server fails"
            );
        }
    }
}

/// RFC 8467 section 4.1: 128 octets for queries.
const PADDING_BLOCK: usize = 128;

/// No answer is late before, so no hedge is sent: our guess at what no client notices.
const LEAST_DELAY: Duration = Duration::from_millis(10);

/// No silence is suspect before: a round trip around the world takes less.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
