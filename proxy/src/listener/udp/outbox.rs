//! Replies that leave together: a batch in one system call.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    os::fd::AsRawFd,
};

use nix::{
    libc,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg},
};
use tokio::{io::Interest, net::UdpSocket};

use super::{Asked, BATCH, Origin};

/// Replies that wait to be sent, at most as many as a turn makes.
#[derive(Default)]
pub(super) struct Outbox {
    replies: Vec<(Vec<u8>, Origin)>,
}

impl Outbox {
    pub(super) fn push(&mut self, reply: Vec<u8>, origin: Origin) {
        self.replies.push((reply, origin));
    }

    pub(super) fn is_full(&self) -> bool {
        self.replies.len() >= BATCH
    }

    /// Sends everything, waiting for room where the socket has none, and tells how many replies the kernel would
    /// not take.
    pub(super) async fn send(&mut self, socket: &UdpSocket) -> u32 {
        let mut refused = 0;
        let mut sent = 0;
        while sent < self.replies.len() {
            match socket.async_io(Interest::WRITABLE, || send_run(socket, self.rest(sent))).await {
                Ok(count) => sent += count,
                // It concerns the first one of the run.
                Err(_) => (sent, refused) = (sent + 1, refused + 1),
            }
        }
        self.replies.clear();
        refused
    }

    fn rest(&self, sent: usize) -> &[(Vec<u8>, Origin)] {
        self.replies.get(sent..).unwrap_or_default()
    }
}

/// What the kernel is told of each message. It reads all of a header's space, so each kind of note has headers of
/// its own.
struct Headers {
    plain: MultiHeaders<SockaddrStorage>,
    from_v4: MultiHeaders<SockaddrStorage>,
    from_v6: MultiHeaders<SockaddrStorage>,
}

thread_local! {
    // In use during a system call only, so all listeners of a worker share them.
    static HEADERS: RefCell<Headers> = RefCell::new(Headers {
        plain: MultiHeaders::preallocate(BATCH, None),
        from_v4: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in_pktinfo))),
        from_v6: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in6_pktinfo))),
    });
}

/// Sends the first replies, as far as they leave from the same address, and tells how many it were.
fn send_run(socket: &UdpSocket, replies: &[(Vec<u8>, Origin)]) -> io::Result<usize> {
    let Some((_, Origin { asked, .. })) = replies.first() else { return Ok(0) };
    let run = replies.iter().take(BATCH).take_while(|(_, origin)| origin.asked.is_same(*asked));
    let (slices, clients): (Vec<_>, Vec<_>) = run
        .map(|(reply, origin)| ([IoSlice::new(reply)], Some(SockaddrStorage::from(origin.client))))
        .unzip();
    HEADERS.with_borrow_mut(|headers| {
        let (headers, note) = match asked {
            Asked::Unknown => (&mut headers.plain, &[][..]),
            Asked::V4(info) => (&mut headers.from_v4, &[ControlMessage::Ipv4PacketInfo(info)][..]),
            Asked::V6(info) => (&mut headers.from_v6, &[ControlMessage::Ipv6PacketInfo(info)][..]),
        };
        let flags = MsgFlags::MSG_DONTWAIT;
        Ok(sendmmsg(socket.as_raw_fd(), headers, &slices, &clients, note, flags)?.count())
    })
}
