//! New connections: TCP, and TLS where the upstream has it, within one time limit.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_rustls::client::TlsStream;

use super::{
    error::{ExchangeError, MaterialError},
    tls::{Handshaken, Refusal, Resumed, TlsClient},
};

/// Makes connections to one server.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) address: SocketAddr,
    pub(super) security: Security,
    pub(super) limit: Duration,
    /// Handshakes that may go on at a time; the servers of an upstream share them.
    pub(super) handshakes: Arc<Semaphore>,
}

/// What a connection must be before a query is written into it.
#[derive(Clone, Debug)]
pub(super) enum Security {
    /// Plain, as the manifest says.
    None,
    /// Authenticated TLS.
    Tls(Arc<TlsClient>),
    /// TLS that cannot be set up: nothing is sent at all.
    Unusable(MaterialError),
    /// A network in a test's memory.
    #[cfg(test)]
    Lab(super::testing::lab::Lab),
}

/// A connection that is ready for queries.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        resumed: Resumed,
        not_after: Option<Timestamp>,
    },
    #[cfg(test)]
    Lab(tokio::io::DuplexStream),
}

impl Dialer {
    /// Connects.
    pub(super) async fn dial(&self) -> Result<Stream, ExchangeError> {
        let dialled = match &self.security {
            Security::None => timeout(self.limit, self.dial_plain()).await,
            Security::Tls(tls) => timeout(self.limit, self.dial_tls(tls)).await,
            Security::Unusable(error) => return Err(error.clone().into()),
            #[cfg(test)]
            Security::Lab(lab) => {
                timeout(self.limit, lab.connect(self.address)).await.map(|it| it.map(Stream::Lab))
            }
        };
        dialled.unwrap_or(Err(ExchangeError::ConnectTimeout(self.limit)))
    }

    async fn dial_plain(&self) -> Result<Stream, ExchangeError> {
        Ok(Stream::Plain(self.dial_tcp().await?))
    }

    async fn dial_tls(&self, tls: &TlsClient) -> Result<Stream, ExchangeError> {
        loop {
            let tcp = self.dial_tcp().await?;
            // Nobody closes it. Who waits for a place does so within the limit of the connection.
            let _place = self.handshakes.acquire().await;
            match tls.handshake(tcp, self.address, UnixTime::now()).await {
                Ok(Handshaken { stream, resumed, not_after }) => {
                    return Ok(Stream::Tls { stream: Box::new(stream), resumed, not_after });
                }
                // There is no session left to resume, so this happens once.
                Err(Refusal::StaleSession) => {}
                Err(Refusal::Final(error)) => return Err(error.into()),
            }
        }
    }

    async fn dial_tcp(&self) -> Result<TcpStream, ExchangeError> {
        let connected = TcpStream::connect(self.address).await;
        let stream =
            connected.map_err(|error| ExchangeError::of_connecting(error, self.address.ip()))?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(stream)
    }
}

/// TLS handshakes of one upstream at a time: one for each of the sixteen servers that it can have, so that those that
/// stall take no place from one that is well.
pub(super) const MAX_HANDSHAKES: usize = 16;

/// How soon a dead peer of a quiet connection is noticed: our guess, well within the idle limit.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How long data may stay unacknowledged (RFC 5482): our guess, longer than any query waits.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
