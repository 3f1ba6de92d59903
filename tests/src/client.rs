//! A client of the proxy: well-formed questions, and bytes of any kind.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

use crate::{
    PATIENCE,
    kernel::queues,
    wire::{Query, Reply, framed},
};

/// Asks one server.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Who is asked.
    pub server: SocketAddr,
    from: Option<IpAddr>,
}

impl Client {
    /// A client of this server.
    pub fn of(server: SocketAddr) -> Self {
        Self { server, from: None }
    }

    /// Asks from this address of the machine.
    #[must_use]
    pub fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Asks over UDP, with EDNS.
    ///
    /// # Panics
    /// When no sound reply comes.
    pub async fn ask(&self, name: &str, qtype: u16) -> Reply {
        self.udp(&Query::new(name, qtype).edns(1232)).await
    }

    /// Asks over UDP.
    ///
    /// # Panics
    /// When no sound reply to this question comes.
    pub async fn udp(&self, query: &Query) -> Reply {
        let socket = self.socket().await;
        socket.send(&query.encode()).await.expect("a query sent");
        let reply = socket.receive().await.unwrap_or_else(|error| panic!("{query:?}: {error:#}"));
        checked(query, &reply)
    }

    /// Asks over a TCP connection of its own.
    ///
    /// # Panics
    /// When no sound reply to this question comes.
    pub async fn tcp(&self, query: &Query) -> Reply {
        let mut stream = self.connect().await.expect("a connection");
        stream.send(&query.encode()).await.expect("a query sent");
        let reply = stream.receive().await.unwrap_or_else(|error| panic!("{query:?}: {error:#}"));
        checked(query, &reply)
    }

    /// A UDP socket that speaks with the server only.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn socket(&self) -> Socket {
        let any = if self.server.is_ipv4() { "0.0.0.0" } else { "::" };
        let local = self.from.unwrap_or_else(|| any.parse().expect("an address"));
        let socket = UdpSocket::bind((local, 0)).await.expect("a socket");
        socket.connect(self.server).await.expect("a way to the server");
        Socket { socket }
    }

    /// A TCP connection.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn connect(&self) -> Result<Stream> {
        let socket = if self.server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(address) = self.from {
            socket.bind((address, 0).into())?;
        }
        let stream = timeout(PATIENCE, socket.connect(self.server)).await??;
        stream.set_nodelay(true)?;
        Ok(Stream { stream })
    }
}

/// A connected UDP socket: a reply from any other address or port does not arrive.
pub struct Socket {
    socket: UdpSocket,
}

impl Socket {
    /// Sends a datagram.
    ///
    /// # Errors
    /// When the system does.
    pub async fn send(&self, message: &[u8]) -> Result<()> {
        self.socket.send(message).await?;
        Ok(())
    }

    /// Receives a datagram.
    ///
    /// # Errors
    /// When none comes, or the server's port is closed.
    pub async fn receive(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 65536];
        let received = timeout(PATIENCE, self.socket.recv(&mut buffer)).await;
        buffer.truncate(received.context("no reply")??);
        Ok(buffer)
    }

    /// Sends bytes, then a good query, and gives every reply that came until the good query's, which is left out.
    ///
    /// One socket is served by one worker, in order: what has no reply by then has none at all.
    ///
    /// # Panics
    /// When the good query has no reply: then the server is gone.
    pub async fn replies_before_next(&self, message: &[u8]) -> Vec<Vec<u8>> {
        let sign = Query::new("sign-of-life.example", crate::wire::types::A)
            .id(0x519e)
            .edns(1232)
            .encode();
        self.send(message).await.expect("bytes sent");
        self.send(&sign).await.expect("a query sent");
        let mut before = Vec::new();
        loop {
            let reply = self.receive().await.expect("the server still answers");
            if reply.starts_with(&[0x51, 0x9e]) {
                return before;
            }
            before.push(reply);
        }
    }
}

/// A TCP connection.
pub struct Stream {
    stream: TcpStream,
}

impl Stream {
    /// Ends the connection as a client that has died does: the server is told at once, and need not answer any more.
    ///
    /// # Errors
    /// When the kernel will not.
    pub fn reset(self) -> Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    /// Sends a message with its length before it, in one write.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.send_raw(&framed(message)).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends as many of the bytes as the kernel takes now, and tells how many that were.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send_some(&self, bytes: &[u8]) -> usize {
        match self.stream.try_write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }

    /// The bytes that the proxy's kernel has not taken yet, and those that it has and the proxy has not read.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn on_the_way(&self) -> (usize, usize) {
        let (here, there) = self.ends();
        (queues(here, there).unacknowledged, queues(there, here).unread)
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let here = self.stream.local_addr().expect("an address");
        (here, self.stream.peer_addr().expect("an address"))
    }

    /// Receives a message.
    ///
    /// # Errors
    /// When none comes, or the connection ends.
    pub async fn receive(&mut self) -> Result<Vec<u8>> {
        timeout(PATIENCE, self.receive_patiently()).await.context("no reply")?
    }

    async fn receive_patiently(&mut self) -> Result<Vec<u8>> {
        let mut message = vec![0; usize::from(self.stream.read_u16().await?)];
        self.stream.read_exact(&mut message).await?;
        Ok(message)
    }

    /// Receives a message and reads it.
    ///
    /// # Panics
    /// When none comes, or it is not sound.
    pub async fn reply(&mut self) -> Reply {
        let message = self.receive().await.expect("a reply");
        Reply::parse(&message).expect("a sound reply")
    }

    /// Waits for the end of the connection, whether in good order or not.
    ///
    /// # Errors
    /// When it does not end, or something else comes before.
    pub async fn ended(&mut self) -> Result<()> {
        let mut octet = [0];
        match timeout(PATIENCE, self.stream.read(&mut octet)).await.context("still open")? {
            Ok(length) => ensure!(length == 0, "bytes came instead of the end"),
            Err(error) => ensure!(error.kind() == std::io::ErrorKind::ConnectionReset, error),
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn finish_sending(&mut self) {
        self.stream.shutdown().await.expect("an open connection");
    }
}

/// Reads a reply and looks whether it answers the query.
///
/// # Panics
/// When it does not.
pub fn checked(query: &Query, message: &[u8]) -> Reply {
    let reply = Reply::parse(message)
        .unwrap_or_else(|error| panic!("{query:?}: {error:#}: {message:02x?}"));
    assert_eq!(reply.id, query.id, "the reply's ID is the query's");
    assert!(reply.has(crate::wire::flags::QR), "a reply has QR set");
    assert_eq!(
        reply.has(crate::wire::flags::RD),
        query.flags & crate::wire::flags::RD != 0,
        "RD is copied"
    );
    if reply.question.is_some() {
        let start = 12..12 + query.name.len();
        assert_eq!(
            message.get(start),
            Some(query.name.as_slice()),
            "the question's name comes back as it was spelt"
        );
    }
    assert_eq!(
        reply.edns.is_some(),
        query.edns.is_some(),
        "EDNS is in a reply exactly when it was in the query"
    );
    reply
}
