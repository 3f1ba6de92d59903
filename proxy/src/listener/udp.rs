//! Queries in datagrams (RFC 1035 section 4.2.1).
//!
//! One turn takes at most [`BATCH`] datagrams in one system call; what can be answered at once is, the
//! rest waits in tasks of its own, each with the address to answer from. Replies never exceed what the
//! client offers and our own ceiling.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
    recvmmsg, sendmsg,
};
use socket2::SockRef;
use tokio::{io::Interest, net::UdpSocket, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{Client, ListenerMetrics, Transport, Trouble, bind::Hold};
use crate::{
    pipeline::{Pipeline, Verdict},
    shutdown::Tasks,
};

/// Datagrams per turn: enough to spread the cost of a system call, few enough that other work waits briefly.
const BATCH: usize = 64;

/// The largest query taken over UDP, in octets. A longer one is no query that anybody sends: our guess.
const MAX_QUERY: usize = 4096;

/// How long to wait when the process is short of memory or buffers.
const BREATHER: Duration = Duration::from_millis(10);

/// One socket of one worker.
pub struct UdpListener {
    socket: Arc<UdpSocket>,
    hold: Hold,
    pipeline: watch::Receiver<Arc<Pipeline>>,
    metrics: ListenerMetrics,
    tasks: Tasks,
}

/// One query and where its reply goes.
#[derive(Clone, Copy, Debug)]
struct Origin {
    client: SocketAddr,
    /// The address that was asked, on a wildcard socket.
    asked: Option<Asked>,
}

/// The kernel's note about the address that was asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl UdpListener {
    /// Takes a socket into the runtime of the worker that calls this.
    pub fn new(
        socket: std::net::UdpSocket,
        hold: Hold,
        pipeline: watch::Receiver<Arc<Pipeline>>,
        metrics: ListenerMetrics,
        tasks: Tasks,
    ) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        Ok(Self { socket, hold, pipeline, metrics, tasks })
    }

    /// Serves until `stop`, and then what has arrived by that time.
    pub async fn serve(mut self, stop: CancellationToken) -> io::Result<()> {
        let mut inbox = Inbox::new();
        let mut current = self.pipeline.borrow_and_update().clone();
        loop {
            let turn = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    // Where it cannot be done, what was taken is still answered.
                    self.refuse_more().ok();
                    return self.serve_rest(&mut inbox, &current);
                }
                // At once, asked or not: what an old configuration holds open would else stay with it.
                Ok(()) = self.pipeline.changed() => {
                    current = self.pipeline.borrow_and_update().clone();
                    continue;
                }
                turn = self.socket.async_io(Interest::READABLE, || inbox.receive(&self.socket)) => turn,
            };
            match turn {
                Ok(count) => self.answer(&inbox, count, &current),
                Err(error) => self.survive(error).await?,
            }
            // The rest of the worker has its turn: TCP, upstreams, other addresses.
            tokio::task::yield_now().await;
        }
    }

    /// From here on the kernel refuses what others send: the socket stays open until the last reply has
    /// left, and would else take queries that nobody reads. Connected to itself, it has no other peer.
    fn refuse_more(&self) -> io::Result<()> {
        SockRef::from(&*self.socket).connect(&self.socket.local_addr()?.into())
    }

    /// What the kernel still holds was accepted: nobody else will answer it.
    fn serve_rest(&self, inbox: &mut Inbox, pipeline: &Arc<Pipeline>) -> io::Result<()> {
        loop {
            match inbox.receive(&self.socket) {
                Ok(0) => return Ok(()),
                Ok(count) => self.answer(inbox, count, pipeline),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if Trouble::of(&error) == Trouble::Transient => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn survive(&self, error: io::Error) -> io::Result<()> {
        match Trouble::of(&error) {
            // An ICMP error about an earlier reply, for example.
            Trouble::Transient => {}
            Trouble::Exhausted => tokio::time::sleep(BREATHER).await,
            Trouble::Fatal => return Err(error),
        }
        self.metrics.count_error(Transport::Udp);
        Ok(())
    }

    fn answer(&self, inbox: &Inbox, count: usize, pipeline: &Arc<Pipeline>) {
        for (buffer, received) in inbox.buffers.iter().zip(&inbox.received).take(count) {
            let Some(Received { origin, len }) = *received else { continue };
            let query = buffer.get(..len).unwrap_or_default();
            let client =
                Client { address: origin.client.ip().to_canonical(), transport: Transport::Udp };
            match pipeline.answer(query, client) {
                Verdict::Silence => {}
                Verdict::Reply(reply) => self.send_now(&reply, origin),
                Verdict::Later(answer) => {
                    let (socket, hold) = (Arc::clone(&self.socket), Hold::clone(&self.hold));
                    let metrics = self.metrics.clone();
                    self.tasks.spawn(async move {
                        let reply = answer.await;
                        if send(&socket, &reply, origin).await.is_err() {
                            metrics.count_error(Transport::Udp);
                        }
                        drop(socket);
                        drop(hold);
                    });
                }
            }
        }
    }

    /// Sends, or drops the reply when the socket's buffer is full: the client asks again.
    fn send_now(&self, reply: &[u8], origin: Origin) {
        if self
            .socket
            .try_io(Interest::WRITABLE, || send_message(&self.socket, reply, origin))
            .is_err()
        {
            self.metrics.count_error(Transport::Udp);
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], origin: Origin) -> io::Result<()> {
    socket.async_io(Interest::WRITABLE, || send_message(socket, reply, origin)).await
}

fn send_message(socket: &UdpSocket, reply: &[u8], origin: Origin) -> io::Result<()> {
    let to = SockaddrStorage::from(origin.client);
    let note = match &origin.asked {
        None => &[][..],
        Some(Asked::V4(info)) => &[ControlMessage::Ipv4PacketInfo(info)],
        Some(Asked::V6(info)) => &[ControlMessage::Ipv6PacketInfo(info)],
    };
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(reply)], note, MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}

/// The buffers that a turn reads into.
struct Inbox {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Vec<Box<[u8]>>,
    received: Vec<Option<Received>>,
}

/// What arrived in the buffer of the same index.
#[derive(Clone, Copy)]
struct Received {
    origin: Origin,
    len: usize,
}

impl Inbox {
    fn new() -> Self {
        let space = nix::cmsg_space!(libc::in6_pktinfo);
        Self {
            headers: MultiHeaders::preallocate(BATCH, Some(space)),
            buffers: vec![vec![0; MAX_QUERY].into_boxed_slice(); BATCH],
            received: vec![None; BATCH],
        }
    }

    /// Receives what is there, up to a batch, and tells how many datagrams that were.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut slices: Vec<_> =
            self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let messages = recvmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        let mut count = 0;
        for (message, received) in messages.zip(&mut self.received) {
            *received = read(&message);
            count += 1;
        }
        Ok(count)
    }
}

/// `None` for a datagram that was cut, or that came from no Internet address.
fn read(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Received> {
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return None;
    }
    let address = message.address?;
    let client = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::from((v4.ip(), v4.port())),
        (_, Some(v6)) => SocketAddr::V6((*v6).into()),
        _ => return None,
    };
    // A reply to port 0 leads nowhere.
    (client.port() != 0)
        .then(|| Received { origin: Origin { client, asked: asked(message) }, len: message.bytes })
}

fn asked(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Asked> {
    message.cmsgs().ok()?.find_map(|note| {
        if let ControlMessageOwned::Ipv4PacketInfo(mut info) = note {
            // The kernel routes the reply by itself; the interface must not be pinned.
            info.ipi_ifindex = 0;
            Some(Asked::V4(info))
        } else if let ControlMessageOwned::Ipv6PacketInfo(mut info) = note {
            // Only a link-local address means nothing without its interface.
            if !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local() {
                info.ipi6_ifindex = 0;
            }
            Some(Asked::V6(info))
        } else {
            None
        }
    })
}
