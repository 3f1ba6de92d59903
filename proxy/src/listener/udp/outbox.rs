//! Replies that leave together: a batch in one system call.

use std::{io, os::fd::AsFd, time::Duration};

use tokio::{io::Interest, net::UdpSocket, time::timeout};

use super::{BATCH, Origin, with_batch};

/// Replies that wait to be sent, at most as many as a turn makes.
///
/// The buffers of those that were sent are written anew, so that a reply costs no allocation.
#[derive(Default)]
pub(super) struct Outbox {
    replies: Vec<(Vec<u8>, Origin)>,
    /// How many of them wait; the others are buffers.
    waiting: usize,
}

impl Outbox {
    /// Gives an empty buffer to who writes a reply; a reply without an octet is none.
    pub(super) fn write<T>(&mut self, origin: Origin, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.waiting == self.replies.len() {
            self.replies.push((Vec::new(), origin));
        }
        let mut nowhere = Vec::new();
        let reply = match self.replies.get_mut(self.waiting) {
            Some((reply, to)) => {
                *to = origin;
                reply
            }
            None => &mut nowhere,
        };
        reply.clear();
        let result = write(reply);
        self.waiting += usize::from(!reply.is_empty());
        result
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting >= BATCH
    }

    /// Sends everything, waiting a moment for room where the socket has none, and tells how many replies the kernel
    /// would not take. Nobody is answered meanwhile, and replies to hosts that are gone can fill a socket for seconds.
    pub(super) async fn send(&mut self, socket: &UdpSocket) -> usize {
        let mut refused = 0;
        let mut sent = 0;
        let waiting = self.replies.get(..self.waiting).unwrap_or_default();
        while let Some(rest) = waiting.get(sent..).filter(|rest| !rest.is_empty()) {
            match socket.try_io(Interest::WRITABLE, || send(socket, rest)) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if timeout(PATIENCE, socket.writable()).await.is_err() {
                        (sent, refused) = (waiting.len(), refused + rest.len());
                    }
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
        for (reply, _) in self.replies.iter_mut().take(self.waiting) {
            if reply.capacity() > KEPT_LEN {
                *reply = Vec::new();
            }
        }
        self.replies.truncate(BATCH);
        self.waiting = 0;
    }
}

/// How long replies wait for room: our guess, some turns of the network card.
const PATIENCE: Duration = Duration::from_millis(5);

/// As much as most replies over UDP may take.
const KEPT_LEN: usize = 2048;

fn send(socket: &UdpSocket, replies: &[(Vec<u8>, Origin)]) -> io::Result<usize> {
    with_batch(|batch| batch.send(socket.as_fd(), replies))
}
