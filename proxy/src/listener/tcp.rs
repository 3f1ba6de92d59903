//! Queries in streams (RFC 7766): accepting the connections of clients.
//!
//! A client that is within its bounds gets a task that serves its connection; others are closed at once.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
use super::{Connections, ListenerMetrics, Transport, Trouble, bind::BACKLOG};
use crate::{pipeline::Pipeline, shutdown::Tasks};

mod connection;
mod inbox;
mod intake;
mod outbox;

/// How long to wait when no further file can be opened.
const BREATHER: Duration = Duration::from_millis(50);

/// One listening socket of one worker.
pub struct TcpAcceptor {
    listener: TcpListener,
    pipeline: watch::Receiver<Arc<Pipeline>>,
    connections: Arc<Connections>,
    metrics: ListenerMetrics,
    tasks: Tasks,
}

impl TcpAcceptor {
    /// Takes a socket into the runtime of the worker that calls this.
    pub fn new(
        listener: std::net::TcpListener,
        pipeline: watch::Receiver<Arc<Pipeline>>,
        connections: Arc<Connections>,
        metrics: ListenerMetrics,
        tasks: Tasks,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            pipeline,
            connections,
            metrics,
            tasks,
        })
    }

    /// Accepts until `stop`, and then what has arrived by that time.
    pub async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.accept_rest(&stop);
                    return Ok(());
                }
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.start(stream, peer, &stop),
                Err(error) => self.survive(error).await?,
            }
        }
    }

    /// Past the runtime, which gives others their turn, or does not know of the last ones yet. A backlog is all
    /// that can wait; more than that came later.
    fn accept_rest(&self, stop: &CancellationToken) {
        for _ in 0..=BACKLOG {
            match accept_now(&self.listener) {
                Ok((stream, peer)) => self.start(stream, peer, stop),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if Trouble::of(&error) == Trouble::Transient => {}
                // Nothing can be waited for any more: the rest is lost.
                Err(_) => return self.metrics.count_error(Transport::Tcp),
            }
        }
    }

    async fn survive(&self, error: io::Error) -> io::Result<()> {
        self.metrics.count_error(Transport::Tcp);
        match Trouble::of(&error) {
            Trouble::Transient => {}
            Trouble::Exhausted => tokio::time::sleep(BREATHER).await,
            Trouble::Fatal => return Err(error),
        }
        Ok(())
    }

    fn start(&self, stream: TcpStream, peer: SocketAddr, stop: &CancellationToken) {
        let client = peer.ip().to_canonical();
        let pipeline = Arc::clone(&self.pipeline.borrow());
        let limits = pipeline.limits;
        let (is_welcome, _) = pipeline.access.of(client);
        let admission = self.connections.admit(
            client,
            is_welcome,
            limits.tcp_connections,
            limits.tcp_connections_per_client,
        );
        // Replies are small and somebody waits for each. Without the option they are late, not lost.
        stream.set_nodelay(true).ok();
        if let Some(admission) = admission {
            let connection = Connection::new(self.pipeline.clone(), client, admission);
            // Each looks at its own: it is looked at in every turn, on every worker.
            self.tasks.spawn(connection.serve(stream, stop.child_token()));
        }
    }
}

fn accept_now(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, _) = SockRef::from(listener).accept()?;
    socket.set_nonblocking(true)?;
    let stream = TcpStream::from_std(socket.into())?;
    let peer = stream.peer_addr()?;
    Ok((stream, peer))
}
