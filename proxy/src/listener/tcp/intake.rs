//! How much is still read of a client's stream.
//!
//! At the end, what has arrived by then is answered and nothing that comes later is taken: else a client that
//! sends without end would decide when the process ends.

use std::{io, os::fd::AsRawFd};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use socket2::SockRef;
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, tcp::ReadHalf},
};

/// How much is read at a time.
pub(super) const READ_CHUNK: usize = 4096;

/// What is still read of a client's stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Intake {
    /// Whatever comes.
    Open,
    /// So many octets, which had arrived when the listener ended.
    Rest(usize),
    /// Nothing: the client has closed its side (RFC 7766 section 6.2.4).
    Closed,
}

impl Intake {
    /// What has arrived by now and was not read.
    pub(super) fn rest(stream: &TcpStream) -> io::Result<Self> {
        // The window that a client is offered, and so what it can have sent, is never larger than this.
        let mut copy = vec![0; SockRef::from(stream).recv_buffer_size()?];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(stream.as_raw_fd(), &mut copy, flags) {
            Ok(0) => Ok(Self::Closed),
            Ok(count) => Ok(Self::Rest(count)),
            Err(Errno::EAGAIN) => Ok(Self::Rest(0)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is anything to read, now or later.
    pub(super) fn wants_more(self) -> bool {
        match self {
            Self::Open => true,
            Self::Rest(left) => left > 0,
            Self::Closed => false,
        }
    }

    /// Appends what comes next to the inbox, and tells how much that was: nothing when the client has closed
    /// its side.
    pub(super) async fn read(
        self,
        reader: &mut ReadHalf<'_>,
        inbox: &mut Vec<u8>,
    ) -> io::Result<usize> {
        match self {
            Self::Open => {
                // Waiting with an empty buffer keeps idle connections small.
                reader.readable().await?;
                inbox.reserve(READ_CHUNK);
                reader.read_buf(inbox).await
            }
            // Past the runtime, which at times knows nothing of what is there, or gives others their turn.
            Self::Rest(left) => {
                let mut chunk = vec![0; left.min(READ_CHUNK)];
                let count = recv(reader.as_ref().as_raw_fd(), &mut chunk, MsgFlags::MSG_DONTWAIT)?;
                inbox.extend(chunk.iter().take(count));
                Ok(count)
            }
            Self::Closed => Ok(0),
        }
    }

    /// What is left after so many octets were read.
    pub(super) fn after(self, count: usize) -> Self {
        match self {
            _ if count == 0 => Self::Closed,
            Self::Rest(left) => Self::Rest(left.saturating_sub(count)),
            Self::Open | Self::Closed => self,
        }
    }
}
