//! One address of an upstream: its connection, its health, and one exchange with it.
//!
//! A stream has one connection per server and process. Whoever needs it first makes it, and all who come
//! meanwhile wait for the same attempt. A question whose connection died without an answer is asked once
//! more on a fresh one (RFC 7766 section 6.2.4).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::{
    connection::{Connection, drive},
    dial::{Dialer, Security, Stream},
    error::ExchangeError,
    health::{Health, Standing},
    metrics::{ServerSeries, UpstreamSeries},
    pending::Response,
    udp::{self, Datagram},
};
use crate::{
    message::{Rcode, Request, request::RequestEdns},
    shutdown::Tasks,
};

/// One address of an upstream.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) core: Arc<Core>,
    connection: Mutex<Option<Arc<Connection>>>,
    tasks: Tasks,
}

/// What a server and the task of its connection share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) upstream: Arc<str>,
    pub(super) dialer: Dialer,
    pub(super) is_udp: bool,
    pub(super) query_timeout: Duration,
    pub(super) udp_payload: u16,
    pub(super) health: Health,
    pub(super) series: Arc<ServerSeries>,
    pub(super) upstream_series: Arc<UpstreamSeries>,
}

impl Server {
    /// A server that nothing is known of.
    pub(super) fn new(core: Core, tasks: Tasks) -> Self {
        core.series.set_healthy(true);
        if let Security::Unusable(error) = &core.dialer.security {
            core.note_failure(&error.clone().into(), Instant::now());
        }
        Self { core: Arc::new(core), connection: Mutex::new(None), tasks }
    }

    /// Whether the server may be asked before those that failed. One that failed a while ago is connected to
    /// in the background, so that no query pays for finding out.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        match self.core.health.standing(now) {
            Standing::Up => true,
            Standing::Down => false,
            Standing::Due if self.core.is_udp => true,
            Standing::Due => {
                // What comes of it is the task's to note.
                let _ = self.connection(now);
                false
            }
        }
    }

    /// Whether it could not even be connected to when that was tried last. One that was reached and did not
    /// answer some question is no reason to give other questions to a fallback, which may be weaker.
    pub(super) fn is_out_of_reach(&self, now: Instant) -> bool {
        let last = self.core.health.snapshot().error;
        !self.is_up(now) && last.is_some_and(|error| !error.was_reached())
    }

    /// Asks, and waits for the answer until `deadline` at most.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Response, Rcode), ExchangeError> {
        let started = Instant::now();
        let result = self.exchange_with_edns(request, deadline).await;
        self.core.note(&result, started, Instant::now());
        result.and_then(|(response, rcode)| match rcode.0 {
            0..=15 => Ok((response, rcode)),
            _ => Err(ExchangeError::Rcode(rcode)),
        })
    }

    /// A plain server that does not know EDNS gets the question once more without (RFC 6891 section 7).
    async fn exchange_with_edns(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Response, Rcode), ExchangeError> {
        let (response, rcode) = self.exchange_once(request, true, deadline).await?;
        let is_about_edns = matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS);
        if is_about_edns && matches!(self.core.dialer.security, Security::None) {
            return self.exchange_once(request, false, deadline).await;
        }
        Ok((response, rcode))
    }

    async fn exchange_once(
        &self,
        request: &Request,
        with_edns: bool,
        deadline: Instant,
    ) -> Result<(Response, Rcode), ExchangeError> {
        let response = if self.core.is_udp {
            self.exchange_datagrams(request, with_edns, deadline).await?
        } else {
            self.exchange_on_stream(request, with_edns, deadline).await?
        };
        let rcode = response.layout.rcode(&response.message);
        Ok((response, rcode))
    }

    async fn exchange_datagrams(
        &self,
        request: &Request,
        with_edns: bool,
        deadline: Instant,
    ) -> Result<Response, ExchangeError> {
        let Core { dialer, series, udp_payload, .. } = &*self.core;
        let edns = with_edns.then_some(RequestEdns {
            udp_payload: *udp_payload,
            padding_block: None,
            keepalive: false,
        });
        let limit = self.core.query_limit(deadline);
        match udp::exchange(dialer.address, request, edns, limit, series).await? {
            Datagram::Whole(response) => Ok(response),
            Datagram::Truncated => self.exchange_on_stream(request, with_edns, deadline).await,
        }
    }

    async fn exchange_on_stream(
        &self,
        request: &Request,
        with_edns: bool,
        deadline: Instant,
    ) -> Result<Response, ExchangeError> {
        match self.exchange_on_connection(request, with_edns, deadline).await {
            Err(error) if error.may_retry() => {
                self.exchange_on_connection(request, with_edns, deadline).await
            }
            result => result,
        }
    }

    async fn exchange_on_connection(
        &self,
        request: &Request,
        with_edns: bool,
        deadline: Instant,
    ) -> Result<Response, ExchangeError> {
        let connection = self.connection(Instant::now())?;
        let opened = timeout_at(deadline, connection.opened()).await;
        opened.unwrap_or(Err(ExchangeError::ConnectTimeout(self.core.dialer.limit)))?;
        let edns = with_edns.then_some(RequestEdns {
            udp_payload: self.core.udp_payload,
            padding_block: self.core.padding_block(),
            keepalive: true,
        });
        connection.exchange(request, edns, self.core.query_limit(deadline)).await
    }

    /// The connection that takes questions; made when there is none.
    fn connection(&self, now: Instant) -> Result<Arc<Connection>, ExchangeError> {
        let mut current = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = current.as_ref().filter(|connection| connection.is_taking()) {
            return Ok(Arc::clone(connection));
        }
        if let Some(error) = self.core.health.fresh_failure(now) {
            return Err(error);
        }
        let connection = Arc::new(Connection::new(now));
        *current = Some(Arc::clone(&connection));
        let task = connect(Arc::clone(&self.core), Arc::clone(&connection), self.tasks.clone());
        self.tasks.spawn(task);
        Ok(connection)
    }
}

#[cfg(test)]
impl Server {
    pub(super) fn is_connecting(&self) -> bool {
        let current = self.connection.lock().unwrap();
        current.as_ref().is_some_and(|connection| connection.is_taking())
    }
}

/// A server that is no longer wanted finishes what was asked.
impl Drop for Server {
    fn drop(&mut self) {
        let current = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = current {
            connection.retire();
        }
    }
}

/// The task of a connection.
async fn connect(core: Arc<Core>, connection: Arc<Connection>, tasks: Tasks) {
    let token = tasks.token().clone();
    let dialled = tokio::select! {
        dialled = core.dialer.dial() => dialled,
        () = token.cancelled() => return connection.end(&ExchangeError::Closed),
    };
    let series = Arc::clone(&core.series);
    match dialled {
        Ok(Stream::Plain(stream)) => {
            core.note_success(Instant::now());
            drive(connection, stream, series, token).await;
        }
        Ok(Stream::Tls { stream, resumed, not_after }) => {
            core.upstream_series.count_handshake(resumed);
            core.series.set_not_after(not_after);
            core.note_success(Instant::now());
            drive(connection, stream, series, token).await;
        }
        Err(error) => {
            if error.is_outage() {
                core.note_failure(&error, Instant::now());
            }
            connection.end(&error);
        }
    }
}

impl Core {
    /// How long an answer may take.
    fn query_limit(&self, deadline: Instant) -> Duration {
        self.query_timeout.min(deadline.saturating_duration_since(Instant::now()))
    }

    /// Padding is for those who see the length and not the content (RFC 8467 section 4.1).
    fn padding_block(&self) -> Option<usize> {
        match self.dialer.security {
            Security::None => None,
            Security::Tls(_) | Security::Unusable(_) => Some(PADDING_BLOCK),
        }
    }

    /// Counts an exchange, and draws from it what it says about the server.
    fn note(
        &self,
        result: &Result<(Response, Rcode), ExchangeError>,
        started: Instant,
        now: Instant,
    ) {
        self.series.count(result.as_ref().map(|(_, rcode)| *rcode));
        match result {
            Ok(_) => {
                self.upstream_series.observe(now - started);
                self.note_success(now);
            }
            // What was left of a query's deadline says nothing about the server.
            Err(ExchangeError::Timeout(limit)) if *limit < self.query_timeout => {}
            Err(error @ ExchangeError::Timeout(_)) if self.health.is_silent_since(started) => {
                self.note_failure(error, now);
            }
            // The task of the connection has noted why there is none.
            Err(error) if error.is_outage() && (self.is_udp || error.was_reached()) => {
                self.note_failure(error, now);
            }
            Err(_) => {}
        }
    }

    fn note_success(&self, now: Instant) {
        if self.health.succeeded(now) {
            self.series.set_healthy(true);
            info!(upstream = %self.upstream, server = %self.dialer.address, "upstream server is reached");
        }
    }

    fn note_failure(&self, error: &ExchangeError, now: Instant) {
        if self.health.failed(error, now) {
            self.series.set_healthy(false);
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
