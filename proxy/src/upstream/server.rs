//! One address of an upstream: its connections, its health and its speed.
//!
//! A server says where it stands and how long to wait for it, and has connections made when somebody needs one or will:
//! by the task in `opening`. It is told what came of each question and draws its conclusions, in `judgement`:
//! [`super::health`] from failures of the transport, [`super::latency`] from answers.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    budget::ResendBudget,
    connection::Connection,
    dial::{Dialer, Security},
    error::ExchangeError,
    health::{Health, Standing, State},
    latency::Latency,
    metrics::{ServerSeries, UpstreamSeries},
    placement::Placement,
    pool::{Pool, Wanted},
    settings::{ConnectionLimits, HealthCheck},
    udp::Resends,
};
use crate::{message::request::RequestEdns, shutdown::Tasks};

mod judgement;
mod opening;

use opening::Opening;

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
    pub(super) resends: Arc<ResendBudget>,
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
            core.note_failure(&error.clone().into(), None, now, now);
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

    /// Whether there may be one connection more.
    pub(super) fn may_open_another(&self, now: Instant) -> bool {
        self.pool.may_grow(&self.core.connections, now)
            && self.core.health.fresh_failure(now).is_none()
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

    /// Whether one who waits for it to be back may ask: over a stream all wait for one connection, datagrams are their own.
    pub(super) fn may_look(&self, now: Instant) -> bool {
        !self.core.is_udp || self.core.health.may_look(now)
    }

    /// Whether it may be gone, and whether it is is being found out.
    pub(super) fn is_suspect(&self) -> bool {
        matches!(self.core.health.snapshot().state, State::Suspect)
    }

    /// Whether it answers no client's question that others answer.
    pub(super) fn is_deaf(&self) -> bool {
        self.core.health.is_deaf()
    }

    /// How long after a question another server may be asked for a faster answer; `None` while too little is
    /// known. Not after a silence would be suspect, which is looked into next.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        let latency = &self.core.latency;
        // Where half of the answers take longer, such a silence is the rule.
        let latest = self.patience().max(latency.p50().unwrap_or_default());
        latency.p95().map(|p95| p95.max(LEAST_DELAY).min(latest))
    }

    /// How long after a question a silence is suspect: long enough that it is not mere bad luck, and short
    /// enough that there is time left to do something about it.
    pub(super) fn patience(&self) -> Duration {
        LEAST_PATIENCE.max(self.core.latency.p99() * 4).min(self.core.limits.query / 2)
    }

    /// When a datagram seems to be lost, while others are answered. By the half of all answers that come soonest, as those that
    /// came late may have had to be asked for again; while little is known, a slow name is as likely.
    pub(super) fn resends(&self) -> Resends {
        let half = self.core.limits.query / 2;
        let usual = self.core.latency.p50().map(|p50| LEAST_LOSS.max(p50 * 4));
        let first = usual.map_or(half, |usual| usual.min(half));
        Resends { first, half, budget: Arc::clone(&self.core.resends) }
    }

    /// The same for a health check.
    pub(super) fn patience_with_checks(&self) -> Duration {
        let patience = self.patience();
        let usual = self.core.latency.usual_check();
        usual.map_or(patience, |usual| patience.min(LEAST_PATIENCE.max(usual * 4)))
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

/// RFC 8467 section 4.1: 128 octets for queries.
const PADDING_BLOCK: usize = 128;

/// No answer is late before, so no hedge is sent: our guess at what no client notices.
const LEAST_DELAY: Duration = Duration::from_millis(10);

/// No datagram is sent again before: our guess. Most servers that are asked so are near.
const LEAST_LOSS: Duration = Duration::from_millis(50);

/// No silence is suspect before: a round trip around the world takes less.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
