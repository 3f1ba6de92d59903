//! Datagrams as they arrive: a batch in one system call.
//!
//! The buffers belong to the thread: they hold something only between a system call and the decisions that follow
//! it at once, so all listeners of a worker can share them.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

use nix::{
    libc,
    sys::socket::{
        ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg,
    },
};
use tokio::net::UdpSocket;

use super::{Asked, BATCH, Origin};

/// The largest query taken over UDP, in octets. A longer one is no query that anybody sends: our guess.
const MAX_QUERY: usize = 4096;

thread_local! {
    static INBOX: RefCell<Inbox> = RefCell::new(Inbox::new());
}

/// Receives what is there, up to a batch, hands over each query, and tells how many datagrams it were.
pub(super) fn receive(socket: &UdpSocket, take: impl FnMut(&[u8], Origin)) -> io::Result<usize> {
    INBOX.with_borrow_mut(|inbox| {
        let count = inbox.receive(socket)?;
        inbox.hand_over(count, take);
        Ok(count)
    })
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

    /// Hands over the first `count` datagrams, without those that are no queries.
    fn hand_over(&self, count: usize, mut take: impl FnMut(&[u8], Origin)) {
        for (buffer, received) in self.buffers.iter().zip(&self.received).take(count) {
            let Some(Received { origin, len }) = *received else { continue };
            take(buffer.get(..len).unwrap_or_default(), origin);
        }
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
    (client.port() != 0).then(|| Received {
        origin: Origin { client, asked: asked(message).unwrap_or(Asked::Unknown) },
        len: message.bytes,
    })
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
