//! The questions that wait for an answer on one connection, by ID (RFC 7766 section 6.2.1.1, RFC 5452).
//!
//! IDs are our own. They are given out in order from a random start, so that an ID comes back as late as
//! possible; the ID of a question that nobody waits for any more stays taken, lest its late answer meets a
//! newer question. Such IDs are bounded by [`Pending::is_worn`], after which the connection is replaced.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::{error::ExchangeError, random};
use crate::message::{HEADER_LEN, Header, Layout, Opcode, Question, Rcode, edns::option, u16_at};

/// A usable message of an upstream, and where its parts are.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) message: Vec<u8>,
    pub(super) layout: Layout,
}

/// Where the answer to one question goes.
pub(super) type Reply = oneshot::Sender<Result<Response, ExchangeError>>;

/// Where it comes out.
pub(super) type Answered = oneshot::Receiver<Result<Response, ExchangeError>>;

/// The questions of one connection.
#[derive(Debug)]
pub(super) struct Pending {
    next: u16,
    questions: HashMap<u16, Waiting>,
    live: usize,
}

#[derive(Debug)]
struct Waiting {
    question: Question,
    /// `None` once nobody waits.
    reply: Option<Reply>,
}

/// What a message was, when it does not end the connection.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Received {
    /// The answer to a question, and what it says about keeping the connection (RFC 7828).
    Answer { keepalive: Option<u16> },
    /// An answer to nothing that was asked.
    Unexpected,
}

impl Pending {
    /// No questions yet.
    pub(super) fn new() -> Self {
        Self::starting_at(random::id())
    }

    fn starting_at(next: u16) -> Self {
        Self { next, questions: HashMap::new(), live: 0 }
    }

    /// Takes a question in and gives it an ID.
    pub(super) fn insert(
        &mut self,
        question: Question,
        reply: Reply,
    ) -> Result<u16, ExchangeError> {
        if self.live >= MAX_IN_FLIGHT {
            return Err(ExchangeError::InFlight(MAX_IN_FLIGHT));
        }
        // Far fewer are taken than there are, so this ends soon.
        while self.questions.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.questions.insert(id, Waiting { question, reply: Some(reply) });
        self.live += 1;
        Ok(id)
    }

    /// Nobody waits for this answer any more.
    pub(super) fn give_up(&mut self, id: u16) {
        if let Some(Waiting { reply, .. }) = self.questions.get_mut(&id) {
            self.live -= usize::from(reply.take().is_some());
        }
    }

    /// Whether so many answers are outstanding that nobody waits for that the connection should go.
    pub(super) fn is_worn(&self) -> bool {
        self.questions.len() - self.live > MAX_GIVEN_UP
    }

    /// Whether somebody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.live == 0
    }

    /// Hands a message to who waits for it; an error ends the connection.
    pub(super) fn receive(&mut self, message: &[u8]) -> Result<Received, ExchangeError> {
        let header = read_header(message).ok_or(ExchangeError::Malformed)?;
        let Some(Waiting { question, reply }) = self.questions.remove(&header.id) else {
            return Ok(Received::Unexpected);
        };
        self.live -= usize::from(reply.is_some());
        let result = check(message, header, &question);
        let ends_connection = match &result {
            Err(error @ (ExchangeError::Mismatch | ExchangeError::Malformed)) => {
                Some(error.clone())
            }
            _ => None,
        };
        let keepalive = result.as_ref().ok().and_then(|layout| keepalive(message, layout));
        if let Some(reply) = reply {
            // Who waited may have left in this moment.
            let _ = reply.send(result.map(|layout| Response { message: message.to_vec(), layout }));
        }
        ends_connection.map_or(Ok(Received::Answer { keepalive }), Err)
    }

    /// Ends every wait with this error.
    pub(super) fn fail_all(&mut self, error: &ExchangeError) {
        for (_, waiting) in self.questions.drain() {
            if let Some(reply) = waiting.reply {
                let _ = reply.send(Err(error.clone()));
            }
        }
        self.live = 0;
    }
}

/// The header of a response to a query; `None` when it is something else.
pub(super) fn read_header(message: &[u8]) -> Option<Header> {
    Header::read(message)
        .filter(|header| header.has(Header::QR) && header.opcode() == Opcode::QUERY)
}

fn check(message: &[u8], header: Header, question: &Question) -> Result<Layout, ExchangeError> {
    // An error may come without the question (RFC 1035 section 4.1.1 asks for none); the ID has to do.
    let is_bare_error =
        header.counts[0] == 0 && !matches!(header.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN);
    if !is_bare_error && !repeats(message, header, question) {
        return Err(ExchangeError::Mismatch);
    }
    if header.has(Header::TC) {
        return Err(ExchangeError::Truncated);
    }
    Layout::of(message).map_err(|_| ExchangeError::Malformed)
}

/// The idle time that a server grants, in units of 100 ms (RFC 7828 section 3.1).
fn keepalive(message: &[u8], layout: &Layout) -> Option<u16> {
    u16_at(layout.edns(message)?.option(option::TCP_KEEPALIVE)?, 0)
}

/// Whether a message repeats this one question, letter case aside.
pub(super) fn repeats(message: &[u8], header: Header, question: &Question) -> bool {
    let name = question.name.as_wire();
    let Some(asked) = message.get(HEADER_LEN..HEADER_LEN + name.len()) else { return false };
    let rest = message.get(HEADER_LEN + name.len()..).and_then(|rest| rest.first_chunk::<4>());
    let [type_high, type_low] = question.qtype.0.to_be_bytes();
    let [class_high, class_low] = question.qclass.0.to_be_bytes();
    header.counts[0] == 1
        && asked.eq_ignore_ascii_case(name)
        && rest == Some(&[type_high, type_low, class_high, class_low])
}

/// How many questions wait on one connection. Our guess: an eighth of the IDs, so that free ones are
/// found at once; the next one fails, and its query goes to another server.
const MAX_IN_FLIGHT: usize = 8192;

/// How many answers may be outstanding that nobody waits for. Our guess.
const MAX_GIVEN_UP: usize = 1024;
