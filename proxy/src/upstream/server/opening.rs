//! The task of one connection to a server: makes it, serves it, and says what its end means.
//!
//! A connection that could not be made speaks against the server, unless others answer; one that ended seldom does: what
//! became of the questions on it says more, and is judged in [`super::judgement`].

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Core;
use crate::{
    shutdown::Tasks,
    upstream::{
        connection::{Connection, drive},
        dial::Stream,
        error::ExchangeError,
        placement::Placement,
        pool::Pool,
    },
};

/// A connection that is being made.
pub(super) struct Opening {
    pub(super) core: Arc<Core>,
    pub(super) pool: Pool,
    pub(super) connection: Arc<Connection>,
    pub(super) tasks: Tasks,
    pub(super) placement: Placement,
}

impl Opening {
    /// The task of a connection, from the first packet to the last.
    pub(super) async fn run(self) {
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
                let ended = self.drive(stream, token).await;
                self.note_end(ended, begun);
            }
            Err(error) => {
                self.tell_end(Some(&error), begun);
                self.note_unmade(&error, begun, Instant::now());
                self.connection.end(&error);
            }
        }
    }

    /// Draws from the end of a connection what it says about the server, and about the next one.
    fn note_end(&self, ended: Result<(), ExchangeError>, begun: Instant) {
        self.tell_end(ended.as_ref().err(), begun);
        self.pool.note_end(&self.connection);
        let Err(error) = ended else { return };
        if matches!(error, ExchangeError::Closed)
            && let Some(idle) = self.connection.idle_at_end()
        {
            self.pool.note_idle_end(idle);
        }
        // Over TLS 1.3 a server may refuse our certificate after the handshake; another one behind its address may take
        // it. Whatever else ends a connection is judged by the questions that it took along.
        if !error.was_reached() && self.core.health.is_silent_since(begun) {
            self.core.note_failure(&error, None, begun, Instant::now());
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
            self.core.note_failure(error, None, begun, now);
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
