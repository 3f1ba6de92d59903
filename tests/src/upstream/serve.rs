//! Connections and datagrams of a scripted upstream: reads messages, asks the script, does what it says.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, RwLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, WriteHalf, split},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Mutex as AsyncMutex, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{Action, Last, Script, record::Record};
use crate::{PATIENCE, wire::framed};

/// What all connections of an upstream share.
pub(super) struct Connections {
    record: Arc<Record>,
    scripts: Mutex<Scripts>,
    acceptor: Option<Arc<RwLock<TlsAcceptor>>>,
    stubborn: Option<Vec<Last>>,
    cut: watch::Sender<u32>,
}

/// What is done with the queries of clients, and with what the proxy asks of its own accord.
pub(super) struct Scripts {
    pub(super) queries: Script,
    pub(super) checks: Script,
}

/// Whether a connection goes on.
#[derive(PartialEq)]
enum Next {
    Continue,
    End,
}

impl Connections {
    pub(super) fn new(
        record: Arc<Record>,
        scripts: Scripts,
        acceptor: Option<Arc<RwLock<TlsAcceptor>>>,
        stubborn: Option<Vec<Last>>,
        cut: watch::Sender<u32>,
    ) -> Self {
        Self { record, scripts: Mutex::new(scripts), acceptor, stubborn, cut }
    }

    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, from)) = listener.accept().await {
            let number = self.record.connection();
            connections.spawn(Arc::clone(&self).connection(stream, from, number));
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, from: SocketAddr, number: usize) {
        let mut cut = self.cut.subscribe();
        let stream = Tap { stream, record: Arc::clone(&self.record), number };
        tokio::select! {
            _ = cut.changed() => (),
            () = self.converse(stream, from, number) => (),
        }
        self.record.end();
    }

    async fn converse(&self, mut stream: Tap, from: SocketAddr, number: usize) {
        if let Some(does) = &self.stubborn {
            be_stubborn(&mut stream, does).await.ok();
            return;
        }
        let Some(acceptor) =
            self.acceptor.as_ref().map(|acceptor| acceptor.read().expect("no panic").clone())
        else {
            return self.messages(stream, from, number).await;
        };
        match acceptor.accept(stream).await {
            Ok(stream) => {
                self.record.handshake(stream.get_ref().1);
                self.messages(stream, from, number).await;
            }
            Err(_) => self.record.failed_handshake(),
        }
    }

    async fn messages<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        stream: S,
        from: SocketAddr,
        number: usize,
    ) {
        let (mut reader, writer) = split(stream);
        let writer = Arc::new(AsyncMutex::new(writer));
        let mut pending = JoinSet::new();
        let (mut buffer, mut chunk) = (Vec::new(), vec![0; 4096]);
        while let Ok(length) = reader.read(&mut chunk).await {
            if length == 0 {
                return self.record.farewell();
            }
            self.record.decrypted(if self.acceptor.is_some() { length } else { 0 });
            buffer.extend_from_slice(&chunk[..length]);
            while let Some(message) = take_message(&mut buffer) {
                let actions = self.actions(Some(number), from, &message);
                if act(actions, &writer, &mut pending).await == Next::End {
                    return;
                }
            }
        }
    }

    /// Remembers a message and asks the script that it is for.
    fn actions(&self, connection: Option<usize>, from: SocketAddr, message: &[u8]) -> Vec<Action> {
        let query = self.record.query(connection, from, message);
        let mut scripts = self.scripts.lock().expect("no panic in a script");
        if query.is_check() { (scripts.checks)(&query) } else { (scripts.queries)(&query) }
    }

    pub(super) async fn serve_datagrams(self: Arc<Self>, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut pending = JoinSet::new();
        let mut buffer = vec![0; 65536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if self.acceptor.is_some() || self.stubborn.is_some() || length < 12 {
                self.record.datagram();
                continue;
            }
            for action in self.actions(None, from, &buffer[..length]) {
                pending.spawn(send_datagram(Arc::clone(&socket), from, action));
            }
        }
    }
}

/// Whatever comes is taken and remembered, until the other side gives up.
async fn be_stubborn(stream: &mut Tap, does: &[Last]) -> io::Result<()> {
    stream.read_exact(&mut [0]).await?;
    for last in does {
        match last {
            Last::Say(bytes) => stream.write_all(bytes).await?,
            Last::Close => return stream.shutdown().await,
        }
    }
    tokio::io::copy(stream, &mut tokio::io::sink()).await?;
    Ok(())
}

fn take_message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([*buffer.first()?, *buffer.get(1)?]));
    let message = buffer.get(2..2 + length)?.to_vec();
    buffer.drain(..2 + length);
    Some(message)
}

type Writer<S> = Arc<AsyncMutex<WriteHalf<S>>>;

async fn act<S>(actions: Vec<Action>, writer: &Writer<S>, pending: &mut JoinSet<()>) -> Next
where
    S: AsyncWrite + Send + 'static,
{
    for action in actions {
        match action {
            Action::Send(message) => write(writer, framed(&message)).await,
            Action::Raw(bytes) => write(writer, bytes).await,
            Action::FromElsewhere(_) => panic!("a stream has one other end"),
            Action::Close => {
                writer.lock().await.shutdown().await.ok();
                return Next::End;
            }
            Action::Break => return Next::End,
            Action::Drip(pause, message) => {
                pending.spawn(drip(Arc::clone(writer), pause, framed(&message)));
            }
            later @ (Action::After(..) | Action::When(..) | Action::Forward(..)) => {
                let writer = Arc::clone(writer);
                pending.spawn(async move {
                    let message = due(later).await;
                    if !message.is_empty() {
                        write(&writer, framed(&message)).await;
                    }
                });
            }
        }
    }
    Next::Continue
}

/// Waits until the message of a later action may go; none when there is nothing to send.
async fn due(action: Action) -> Vec<u8> {
    match action {
        Action::After(delay, message) => {
            tokio::time::sleep(delay).await;
            message
        }
        Action::When(gate, message) => {
            gate.passed().await;
            message
        }
        Action::Forward(to, message) => forwarded(to, &message).await.unwrap_or_default(),
        Action::Send(message) | Action::Raw(message) | Action::FromElsewhere(message) => message,
        Action::Drip(..) | Action::Close | Action::Break => Vec::new(),
    }
}

async fn forwarded(to: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(to).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; 65536];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await??;
    buffer.truncate(length);
    Ok(buffer)
}

/// Others write between the messages and not between the octets.
async fn drip<S: AsyncWrite>(writer: Writer<S>, pause: Duration, bytes: Vec<u8>) {
    let mut writer = writer.lock().await;
    for octet in bytes {
        if writer.write_all(&[octet]).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// The other side may have gone already: that is for the test to see, not for the script.
async fn write<S: AsyncWrite>(writer: &Writer<S>, bytes: Vec<u8>) {
    let mut writer = writer.lock().await;
    if writer.write_all(&bytes).await.is_ok() {
        writer.flush().await.ok();
    }
}

async fn send_datagram(socket: Arc<UdpSocket>, to: SocketAddr, action: Action) {
    let elsewhere = matches!(action, Action::FromElsewhere(_));
    let message = due(action).await;
    if elsewhere {
        let here = socket.local_addr().expect("a bound socket").ip();
        let other = UdpSocket::bind((here, 0)).await.expect("another port");
        other.send_to(&message, to).await.ok();
    } else {
        socket.send_to(&message, to).await.ok();
    }
}

/// Remembers what is read from a stream, before anything decrypts it.
struct Tap {
    stream: TcpStream,
    record: Arc<Record>,
    number: usize,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.record.raw(self.number, &buffer.filled()[before..]);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
