//! Replies that leave together: a batch in one system call.

use std::{io, os::fd::AsFd, time::Duration};

use tokio::{io::Interest, net::UdpSocket, time::timeout};

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

    /// Sends everything, waiting a moment for room where the socket has none, and tells how many replies the kernel
    /// would not take. Nobody is answered meanwhile, and replies to hosts that are gone can fill a socket for seconds.
    pub(super) async fn send(&mut self, socket: &UdpSocket) -> usize {
        let mut refused = 0;
        let mut sent = 0;
        while let Some(rest) = self.replies.get(sent..).filter(|rest| !rest.is_empty()) {
            let sending = socket.async_io(Interest::WRITABLE, || send(socket, rest));
            match timeout(PATIENCE, sending).await {
                Ok(Ok(count)) => sent += count,
                // It concerns the first one.
                Ok(Err(_)) => (sent, refused) = (sent + 1, refused + 1),
                Err(_) => (sent, refused) = (self.replies.len(), refused + rest.len()),
            }
        }
        self.replies.clear();
        refused
    }
}

/// How long replies wait for room: our guess, some turns of the network card.
const PATIENCE: Duration = Duration::from_millis(5);

fn send(socket: &UdpSocket, replies: &[(Vec<u8>, Origin)]) -> io::Result<usize> {
    with_batch(|batch| batch.send(socket.as_fd(), replies))
}
