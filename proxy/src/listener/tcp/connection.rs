//! One client's connection: queries are pipelined, and answered as the answers come, out of order.
//!
//! One task serves one connection: it reads, waits for answers and writes at the same time. Everything it
//! holds has a bound: queries that wait, octets that were read, octets that the client does not take. At a
//! bound it stops reading, so the client is slowed down and nothing is dropped. A connection on which for
//! `limits.tcpIdleTimeout` no whole query came and no octet was taken is closed, and one that holds too much
//! while its client takes nothing.

use std::{collections::VecDeque, io, net::IpAddr, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    inbox::Inbox,
    intake::{Intake, READ_CHUNK},
    outbox::Outbox,
};
use crate::{
    listener::{Client, Transport, holdings, registry::Admission},
    pipeline::{Answer, Finished, Pipeline, Verdict},
};

/// Queries of one connection that wait at a time: our guess, generous for a stub resolver.
const MAX_WAITING: usize = 256;

/// Replies that a client has not taken yet, in octets; one reply more may be added.
const MAX_UNSENT: usize = 64 << 10;

/// How long the octets of a client that still sends are thrown away, so that it can take its last replies:
/// our guess, many round trips.
const LINGER: Duration = Duration::from_secs(5);

/// A client that sends nothing for so long is not in the middle of it: our guess, a round trip.
const QUIET: Duration = Duration::from_millis(200);

/// One client's connection.
pub(super) struct Connection {
    pipelines: watch::Receiver<Arc<Pipeline>>,
    pipeline: Arc<Pipeline>,
    client: Client,
    admission: Admission,
    /// When the last whole query came or the last octets were taken.
    progress: Instant,
    /// When octets were taken last, or there were none to be taken.
    taken: Instant,
    waiting: FuturesUnordered<Answer>,
    /// What came of those that waited, for which there is no room yet. They hold no place among the queries that wait, which
    /// all clients share: one that takes nothing must not keep it from the others.
    finished: VecDeque<Finished>,
    finished_octets: usize,
    inbox: Inbox,
    outbox: Outbox,
    intake: Intake,
}

impl Connection {
    /// A connection that was admitted a moment ago.
    pub(super) fn new(
        mut pipelines: watch::Receiver<Arc<Pipeline>>,
        client: IpAddr,
        admission: Admission,
    ) -> Self {
        let pipeline = pipelines.borrow_and_update().clone();
        Self {
            pipelines,
            pipeline,
            client: Client { address: client, transport: Transport::Tcp },
            admission,
            progress: Instant::now(),
            taken: Instant::now(),
            waiting: FuturesUnordered::new(),
            finished: VecDeque::new(),
            finished_octets: 0,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            intake: Intake::Open,
        }
    }

    /// Serves until the client or the listener ends.
    pub(super) async fn serve(mut self, mut stream: TcpStream, stop: CancellationToken) {
        while !self.is_done() {
            // An error ends this connection, and nobody but its client is concerned.
            if self.turn(&mut stream, &stop).await.is_err() {
                return;
            }
        }
        stream.shutdown().await.ok();
        if self.intake != Intake::Closed {
            timeout(LINGER, throw_away(&mut stream)).await.ok();
        }
    }

    async fn turn(&mut self, stream: &mut TcpStream, stop: &CancellationToken) -> io::Result<()> {
        let may_read = self.intake.wants_more() && self.has_room() && !self.admission.is_evicted();
        // Else it is the client's turn.
        let is_awaiting = !self.waiting.is_empty() && self.may_queue();
        let deadline = self.progress + self.pipeline.limits.tcp_idle_timeout;
        let holds_much = self.admission.holding().is_much();
        let (mut reader, mut writer) = stream.split();
        tokio::select! {
            biased;
            () = stop.cancelled(), if self.intake == Intake::Open => self.intake = Intake::rest(reader.as_ref())?,
            // What the client takes goes before more is held for it.
            taken = writer.write(self.outbox.unsent()), if !self.outbox.unsent().is_empty() => self.note_sent(taken?)?,
            Some(reply) = self.waiting.next(), if !self.waiting.is_empty() => self.finish(reply),
            read = self.intake.read(&mut reader, self.inbox.end()), if may_read => self.intake = self.intake.after(read?),
            // What the client does not take by now is given up: it could go on like that for ever.
            () = self.admission.evicted(), if !is_awaiting => return Err(io::ErrorKind::ConnectionAborted.into()),
            // An idle connection, too, is kept as long as the present configuration says.
            Ok(()) = self.pipelines.changed() => self.follow(),
            () = sleep_until(deadline), if !is_awaiting => return Err(io::ErrorKind::TimedOut.into()),
            // Others may need the room.
            () = sleep(holdings::PATIENCE), if holds_much => {}
        }
        // Whichever it was, there may be a message more, or room for its answer.
        self.queue_finished();
        self.answer_whole_messages();
        self.stay_within_bounds(stream)
    }

    /// Where too much is held, what the client takes at once is all that it gets.
    fn stay_within_bounds(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.may_hold() && !self.outbox.unsent().is_empty() {
            // Past the runtime, which does not ask the kernel each time.
            match SockRef::from(stream).send(self.outbox.unsent()) {
                Ok(taken) => self.note_sent(taken)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.admission.give_up();
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
            self.queue_finished();
            self.answer_whole_messages();
        }
        Ok(())
    }

    fn may_hold(&mut self) -> bool {
        let held = self.inbox.capacity() + self.outbox.capacity() + self.finished_octets;
        self.admission.holding().set(held);
        // Nearly always, and then nobody need look at the clock.
        !self.admission.holding().is_much()
            || self.admission.is_fair(self.taken.elapsed() >= holdings::PATIENCE)
    }

    fn is_done(&self) -> bool {
        let is_idle = self.waiting.is_empty() && self.finished.is_empty();
        !self.intake.wants_more() && is_idle && self.outbox.unsent().is_empty()
    }

    fn has_room(&self) -> bool {
        self.may_answer() && self.inbox.has_room()
    }

    /// Whether one query more may be answered, now or later.
    fn may_answer(&self) -> bool {
        self.waiting.len() + self.finished.len() < MAX_WAITING && self.may_queue()
    }

    fn may_queue(&self) -> bool {
        self.outbox.unsent().len() < MAX_UNSENT
    }

    fn follow(&mut self) {
        self.pipeline = self.pipelines.borrow_and_update().clone();
    }

    /// Answers the whole messages that were read, as long as there is room for their answers.
    fn answer_whole_messages(&mut self) {
        if self.pipelines.has_changed().unwrap_or_default() {
            self.follow();
        }
        while self.may_answer() {
            let Some(message) = self.inbox.take() else { return };
            let mut reply = Vec::new();
            let verdict = self.pipeline.answer(message, self.client, Instant::now(), &mut reply);
            self.note_progress();
            match verdict {
                Verdict::Silence => {}
                Verdict::Reply => self.queue(&reply),
                Verdict::Later(answer) => self.wait_for(answer),
            }
        }
    }

    fn wait_for(&mut self, answer: Answer) {
        self.waiting.push(answer);
        self.admission.busy();
    }

    fn finish(&mut self, reply: Finished) {
        self.finished_octets += reply.octets();
        self.finished.push_back(reply);
        if self.waiting.is_empty() {
            self.admission.idle();
        }
    }

    fn queue_finished(&mut self) {
        while self.may_queue()
            && let Some(reply) = self.finished.pop_front()
        {
            self.finished_octets -= reply.octets();
            self.queue(&written(reply));
        }
    }

    fn queue(&mut self, reply: &[u8]) {
        self.note_progress();
        if self.outbox.unsent().is_empty() {
            self.taken = self.progress;
        }
        self.outbox.push(reply);
        if self.waiting.is_empty() {
            self.admission.idle();
        }
    }

    fn note_sent(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.outbox.advance(count);
        self.note_progress();
        self.taken = self.progress;
        Ok(())
    }

    fn note_progress(&mut self) {
        self.progress = Instant::now();
    }
}

fn written(reply: Finished) -> Vec<u8> {
    let mut out = Vec::new();
    reply.write(&mut out);
    out
}

/// To close with octets unread would break the connection off, and replies on their way would be lost.
async fn throw_away(stream: &mut TcpStream) {
    let mut waste = vec![0; READ_CHUNK];
    while let Ok(Ok(1..)) = timeout(QUIET, stream.read(&mut waste)).await {}
}
