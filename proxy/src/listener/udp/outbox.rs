//! Replies that leave together: a batch in one system call.

use std::{io, net::UdpSocket, os::fd::AsFd, time::Duration};

use tokio::time::sleep;

use super::{BATCH, Origin, with_batch};

/// Replies that wait to be sent, at most as many as a turn makes.
#[derive(Default)]
pub(super) struct Outbox {
    replies: Vec<(Vec<u8>, Origin)>,
    /// Empty buffers of replies that were sent, so that the next ones cost no allocation.
    buffers: Vec<Vec<u8>>,
}

impl Outbox {
    /// Gives an empty buffer to who writes a reply; a reply without an octet is none.
    pub(super) fn write<T>(&mut self, origin: Origin, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut reply = self.buffers.pop().unwrap_or_default();
        let result = write(&mut reply);
        if reply.is_empty() {
            self.buffers.push(reply);
        } else {
            self.replies.push((reply, origin));
        }
        result
    }

    pub(super) fn is_full(&self) -> bool {
        self.replies.len() >= BATCH
    }

    /// Sends everything, waiting a moment for room where the socket has none, and tells how many replies the kernel
    /// would not take. Nobody is answered meanwhile, and replies to hosts that are gone can fill a socket for seconds.
    pub(super) async fn send(&mut self, socket: &UdpSocket) -> usize {
        let (mut refused, mut sent, mut pauses) = (0, 0, 0);
        while let Some(rest) = self.replies.get(sent..).filter(|rest| !rest.is_empty()) {
            match send(socket, rest) {
                Ok(count) => (sent, pauses) = (sent + count, 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && pauses < MAX_PAUSES => {
                    pauses += 1;
                    sleep(PAUSE).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (sent, refused) = (self.replies.len(), refused + rest.len());
                }
                // It concerns the first one.
                Err(_) => (sent, refused) = (sent + 1, refused + 1),
            }
        }
        self.forget();
        refused
    }

    /// The buffers stay, but for those that one large reply has grown, or a rare number of replies.
    fn forget(&mut self) {
        for (mut buffer, _) in self.replies.drain(..) {
            if self.buffers.len() < BATCH && buffer.capacity() <= KEPT_LEN {
                buffer.clear();
                self.buffers.push(buffer);
            }
        }
    }
}

/// How long replies wait for room, by a timer that rounds up, and how often in a row: our guess, some turns of the network
/// card.
const PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSES: u32 = 5;

/// As much as most replies over UDP may take.
const KEPT_LEN: usize = 2048;

fn send(socket: &UdpSocket, replies: &[(Vec<u8>, Origin)]) -> io::Result<usize> {
    with_batch(|batch| batch.send(socket.as_fd(), replies))
}
