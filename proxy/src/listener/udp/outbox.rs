//! Replies that leave together: a batch in one system call.

use std::{io, os::fd::AsFd};

use tokio::{io::Interest, net::UdpSocket};

use super::{BATCH, Origin, with_batch};

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
        while let Some(rest) = self.replies.get(sent..).filter(|rest| !rest.is_empty()) {
            match socket.async_io(Interest::WRITABLE, || send(socket, rest)).await {
                Ok(count) => sent += count,
                // It concerns the first one.
                Err(_) => (sent, refused) = (sent + 1, refused + 1),
            }
        }
        self.replies.clear();
        refused
    }
}

fn send(socket: &UdpSocket, replies: &[(Vec<u8>, Origin)]) -> io::Result<usize> {
    with_batch(|batch| batch.send(socket.as_fd(), replies))
}
