//! New connections: TCP, and TLS where the upstream has it, within one time limit.

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

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

impl Stream {
    /// Has it on the caller's runtime from now on, wherever it was made.
    pub(super) fn moved_here(self) -> Result<Self, ExchangeError> {
        match self {
            Self::Plain(mut stream) => {
                move_here(&mut stream)?;
                Ok(Self::Plain(stream))
            }
            Self::Tls { mut stream, resumed, not_after } => {
                move_here(stream.get_mut().0)?;
                Ok(Self::Tls { stream, resumed, not_after })
            }
            #[cfg(test)]
            Self::Lab(stream) => Ok(Self::Lab(stream)),
        }
    }
}

/// A socket belongs to the runtime that took it up, and TLS does not give it out again: so another one takes up the same under
/// a second descriptor.
fn move_here(stream: &mut TcpStream) -> io::Result<()> {
    let socket = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
    *stream = TcpStream::from_std(socket)?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        runtime::Builder,
    };

    use super::*;

    #[test]
    fn a_connection_outlives_the_runtime_that_it_was_made_on() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let (maker, owner) = (runtime(), runtime());
        let (mut server, stream) = maker.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let handshakes = Arc::new(Semaphore::new(1));
            let (security, limit) = (Security::None, Duration::from_secs(5));
            let dialer = Dialer { address, security, limit, handshakes };
            let (accepted, dialled) = tokio::join!(listener.accept(), dialer.dial());
            (accepted.unwrap().0.into_std().unwrap(), dialled.ok().unwrap())
        });
        owner.block_on(async {
            let Ok(Stream::Plain(mut stream)) = stream.moved_here() else { panic!("not moved") };
            maker.shutdown_background();
            stream.write_all(b"question").await.unwrap();
            let mut question = [0; 8];
            server.set_nonblocking(false).unwrap();
            io::Read::read_exact(&mut server, &mut question).unwrap();
            io::Write::write_all(&mut server, b"answer").unwrap();
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!((&question, &answer), (b"question", b"answer"));
        });
    }
}
