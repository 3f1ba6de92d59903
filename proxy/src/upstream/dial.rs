//! New connections: TCP, and TLS where the upstream has it, within one time limit.

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
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
        let stream = reach(self.address)
            .await
            .map_err(|error| ExchangeError::of_connecting(error, self.address.ip()))?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(stream)
    }
}

/// A TCP connection. The kernel sends a SYN that was lost again after a second (RFC 6298 section 2.1), which may be all the time
/// that there is: so a few more are sent meanwhile, each for a connection of its own, and the first one to be answered counts.
async fn reach(address: SocketAddr) -> io::Result<TcpStream> {
    let (mut attempts, mut begun) = (FuturesUnordered::new(), 0);
    loop {
        if begun < MAX_ATTEMPTS {
            attempts.push(TcpStream::connect(address));
            begun += 1;
        }
        let Ok(Some(result)) = timeout(NEXT_ATTEMPT, attempts.next()).await else { continue };
        // What fails here or on the way need not be so for those before; a refusal is the server's own.
        let is_refused =
            result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if result.is_ok() || is_refused || attempts.is_empty() {
            return result;
        }
    }
}

/// How long an attempt goes before the next one (RFC 8305 section 5 recommends as much).
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);

/// How many attempts there are at most: our guess. With a fifth of all packets lost each way, one connection in sixty is missed.
const MAX_ATTEMPTS: usize = 4;

/// TLS handshakes of one upstream at a time: one for each of the sixteen servers that it can have, so that those that
/// stall take no place from one that is well.
pub(super) const MAX_HANDSHAKES: usize = 16;

/// How soon a dead peer of a quiet connection is noticed: our guess, well within the idle limit.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How long data may stay unacknowledged (RFC 5482): our guess, longer than any query waits.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpSocket},
        runtime::Builder,
        task,
    };

    use super::*;

    fn dialer_of(address: SocketAddr) -> Dialer {
        let handshakes = Arc::new(Semaphore::new(1));
        Dialer { address, security: Security::None, limit: Duration::from_secs(30), handshakes }
    }

    /// How many connections to a port are being made, and not even half open: 2 is SYN_SENT (include/net/tcp_states.h).
    fn attempts_at(port: u16) -> usize {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let to_port = format!(":{port:04X} 02 ");
        table.lines().filter(|line| line.contains(&to_port)).count()
    }

    /// A server whose queue is full drops them, as a lossy network does.
    #[tokio::test]
    async fn a_lost_syn_is_not_waited_for_and_few_more_are_sent() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _in_the_way = TcpStream::connect(address).await.unwrap();
        let dialer = dialer_of(address);

        let mut seen = 0;
        let until_there_are_all = async {
            while seen < MAX_ATTEMPTS {
                seen = seen.max(attempts_at(address.port()));
                task::yield_now().await;
            }
            timeout(2 * NEXT_ATTEMPT, std::future::pending::<()>()).await.unwrap_err();
            seen = attempts_at(address.port());
            loop {
                listener.accept().await.unwrap();
            }
        };
        let dialled = tokio::select! {
            dialled = dialer.dial() => dialled,
            () = until_there_are_all => unreachable!(),
        };

        assert!(dialled.is_ok());
        assert_eq!(seen, MAX_ATTEMPTS);
        assert_eq!(attempts_at(address.port()), 0, "the others are given up");
    }

    #[test]
    fn a_connection_outlives_the_runtime_that_it_was_made_on() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let (maker, owner) = (runtime(), runtime());
        let (mut server, stream) = maker.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let dialer = dialer_of(address);
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
