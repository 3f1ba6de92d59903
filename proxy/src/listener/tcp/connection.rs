//! One client's connection: queries are pipelined, and answered as the answers come, out of order.
//!
//! One task serves one connection: it reads, waits for answers and writes at the same time. Everything it
//! holds has a bound: queries that wait, octets that were read, octets that the client does not take. At a
//! bound it stops reading, so the client is slowed down and nothing is dropped. A connection on which for
//! `limits.tcpIdleTimeout` no whole query came and no octet was taken is closed.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use crate::{
    listener::{Client, Transport, registry::Admission},
    pipeline::{Answer, Pipeline, Verdict},
};

/// Queries of one connection that wait at a time: our guess, generous for a stub resolver.
const MAX_WAITING: usize = 256;

/// Replies that a client has not taken yet, in octets; one reply more may be added.
const MAX_UNSENT: usize = 64 << 10;

/// The longest message with its length in front (RFC 1035 section 4.2.2).
const MAX_FRAME: usize = 2 + 65_535;

/// How much is read at a time.
const READ_CHUNK: usize = 4096;

/// One client's connection.
pub(super) struct Connection {
    pipeline: watch::Receiver<Arc<Pipeline>>,
    client: Client,
    admission: Admission,
    idle_timeout: Duration,
    deadline: Instant,
    waiting: FuturesUnordered<Answer>,
    inbox: Vec<u8>,
    outbox: Outbox,
    /// No further query is taken: the client has closed its side, or the process ends.
    is_closing: bool,
}

impl Connection {
    /// A connection that was admitted a moment ago.
    pub(super) fn new(
        pipeline: watch::Receiver<Arc<Pipeline>>,
        client: IpAddr,
        admission: Admission,
    ) -> Self {
        let idle_timeout = pipeline.borrow().limits().tcp_idle_timeout;
        Self {
            pipeline,
            client: Client { address: client, transport: Transport::Tcp },
            admission,
            idle_timeout,
            deadline: Instant::now() + idle_timeout,
            waiting: FuturesUnordered::new(),
            inbox: Vec::new(),
            outbox: Outbox::default(),
            is_closing: false,
        }
    }

    /// Serves until the client or the listener ends.
    pub(super) async fn serve(mut self, mut stream: TcpStream, stop: CancellationToken) {
        let (mut reader, mut writer) = stream.split();
        while !self.is_done() {
            // An error ends this connection, and nobody but its client is concerned.
            if self.turn(&mut reader, &mut writer, &stop).await.is_err() {
                return;
            }
        }
        writer.shutdown().await.ok();
    }

    async fn turn(
        &mut self,
        reader: &mut ReadHalf<'_>,
        writer: &mut WriteHalf<'_>,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let may_read = !self.is_closing && self.has_room();
        let may_queue = !self.waiting.is_empty() && self.outbox.unsent().len() < MAX_UNSENT;
        let is_idle = self.waiting.is_empty() && self.outbox.unsent().is_empty();
        tokio::select! {
            biased;
            Some(reply) = self.waiting.next(), if may_queue => self.queue(&reply),
            taken = writer.write(self.outbox.unsent()), if !self.outbox.unsent().is_empty() => self.note_sent(taken?)?,
            read = read_chunk(reader, &mut self.inbox), if may_read => self.take(read?),
            // Comes after reading: what has arrived by now is answered before the connection ends.
            () = stop.cancelled(), if may_read => self.is_closing = true,
            () = self.admission.evicted(), if is_idle => return Err(io::ErrorKind::ConnectionAborted.into()),
            () = sleep_until(self.deadline), if !may_queue => return Err(io::ErrorKind::TimedOut.into()),
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_closing && self.waiting.is_empty() && self.outbox.unsent().is_empty()
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
            && self.outbox.unsent().len() < MAX_UNSENT
            && self.inbox.len() < MAX_FRAME
    }

    /// Takes what was read; nothing means that the client has closed its side (RFC 7766 section 6.2.4).
    fn take(&mut self, count: usize) {
        self.is_closing |= count == 0;
        self.answer_whole_frames();
    }

    fn answer_whole_frames(&mut self) {
        let pipeline = self.pipeline.borrow().clone();
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &*inbox;
        while self.waiting.len() < MAX_WAITING && self.outbox.unsent().len() < MAX_UNSENT {
            let Some((query, tail)) = split_frame(rest) else { break };
            rest = tail;
            self.deadline = Instant::now() + self.idle_timeout;
            match pipeline.answer(query, self.client) {
                Verdict::Silence => {}
                Verdict::Reply(reply) => self.queue(&reply),
                Verdict::Later(answer) => self.wait_for(answer),
            }
        }
        self.inbox = rest.to_vec();
    }

    fn wait_for(&mut self, answer: Answer) {
        self.waiting.push(answer);
        self.admission.busy();
    }

    fn queue(&mut self, reply: &[u8]) {
        self.outbox.push(reply);
        self.deadline = Instant::now() + self.idle_timeout;
        if self.waiting.is_empty() {
            self.admission.idle();
        }
        // A frame may be waiting for the room that this reply has left.
        if self.waiting.len() < MAX_WAITING && self.inbox.len() > 2 {
            self.answer_whole_frames();
        }
    }

    fn note_sent(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.outbox.advance(count);
        self.deadline = Instant::now() + self.idle_timeout;
        if self.outbox.unsent().is_empty() {
            self.answer_whole_frames();
        }
        Ok(())
    }
}

async fn read_chunk(reader: &mut ReadHalf<'_>, inbox: &mut Vec<u8>) -> io::Result<usize> {
    // Waiting with an empty buffer keeps idle connections small.
    reader.readable().await?;
    inbox.reserve(READ_CHUNK);
    reader.read_buf(inbox).await
}

/// The first whole message and what follows it.
fn split_frame(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
