//! The questions that wait for an answer on one connection, by ID (RFC 7766 section 6.2.1.1, RFC 5452).
//!
//! IDs are our own. They are given out in order from a random start, so that an ID comes back as late as
//! possible; the ID of a question that nobody waits for any more stays taken, lest its late answer meets a
//! newer question. Such IDs are bounded by [`Pending::is_worn`], after which the connection is replaced.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use foldhash::fast::FixedState;
use tokio::sync::oneshot;

use super::{error::ExchangeError, random};
use crate::message::{
    HEADER_LEN, Header, Layout, Opcode, Question, Rcode, Request, edns::option, u16_at,
};

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
    /// The ID of the question that was sent last, of all and of those that were answered.
    last_sent: Option<u16>,
    last_answered: Option<u16>,
    /// Whether an answer came after that of a later question.
    is_unordered: bool,
    /// Nobody else chooses IDs, so nobody could gain from a known seed.
    questions: HashMap<u16, Waiting, FixedState>,
    live: usize,
    max_live: usize,
    /// Whether the question that has waited longest is the last one to be told of the end, and that it is that one.
    is_first_last: bool,
}

#[derive(Debug)]
struct Waiting {
    request: Arc<Request>,
    /// `None` once nobody waits.
    reply: Option<Reply>,
}

/// What a message was, when it does not end the connection.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Received {
    /// The answer to a question, whether somebody waited for it, and what it says about keeping the connection (RFC 7828).
    Answer { is_awaited: bool, keepalive: Option<u16> },
    /// An answer to nothing that was asked.
    Unexpected,
}

impl Pending {
    /// No questions yet, and never more than so many that somebody waits for.
    pub(super) fn new(max_live: usize) -> Self {
        Self::starting_at(random::id(), max_live)
    }

    fn starting_at(next: u16, max_live: usize) -> Self {
        let questions = HashMap::default();
        let (last_sent, last_answered, is_unordered) = (None, None, false);
        Self {
            next,
            last_sent,
            last_answered,
            is_unordered,
            questions,
            live: 0,
            max_live: max_live.min(MAX_IN_FLIGHT),
            is_first_last: false,
        }
    }

    /// Takes a question in and gives it an ID.
    pub(super) fn insert(
        &mut self,
        request: &Arc<Request>,
        reply: Reply,
    ) -> Result<u16, ExchangeError> {
        if self.live >= self.max_live {
            return Err(ExchangeError::InFlight(self.max_live));
        }
        // Far fewer are taken than there are, so this ends soon.
        while self.questions.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.questions.insert(id, Waiting { request: Arc::clone(request), reply: Some(reply) });
        self.live += 1;
        Ok(id)
    }

    /// Nobody waits for this answer any more.
    pub(super) fn give_up(&mut self, id: u16) {
        if let Some(Waiting { reply, .. }) = self.questions.get_mut(&id) {
            self.live -= usize::from(reply.take().is_some());
        }
    }

    /// It is on its way to the server; they go in the order in which they were taken in.
    pub(super) fn note_sent(&mut self, id: u16) {
        self.last_sent = Some(id);
    }

    /// Forgets one that was never sent.
    pub(super) fn take_back(&mut self, id: u16) {
        if let Some(Waiting { reply, .. }) = self.questions.remove(&id) {
            self.live -= usize::from(reply.is_some());
        }
    }

    /// Whether so many answers are outstanding that nobody waits for that the connection should go.
    pub(super) fn is_worn(&self) -> bool {
        self.questions.len() - self.live > MAX_GIVEN_UP
    }

    /// How many answers somebody waits for.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.live == 0
    }

    /// Hands a message to who waits for it; an error ends the connection. That is for what shows that the stream is not in
    /// step, or answers mixed up: a broken record in an answer to the right question is about that name alone.
    pub(super) fn receive(&mut self, message: &[u8]) -> Result<Received, ExchangeError> {
        let Some(header) = Header::read(message) else {
            self.fail_the_only_one(&ExchangeError::Malformed);
            return Err(ExchangeError::Malformed);
        };
        let is_sent = self.is_sent(header.id);
        let Entry::Occupied(found) = self.questions.entry(header.id) else {
            return Ok(Received::Unexpected);
        };
        // IDs are given out in order, so a server may know one that it was not asked with.
        if !is_sent {
            return Ok(Received::Unexpected);
        }
        if !is_response(header) {
            self.fail_the_only_one(&ExchangeError::Malformed);
            return Err(ExchangeError::Malformed);
        }
        let Waiting { request, reply } = found.remove();
        let is_awaited = reply.is_some();
        self.live -= usize::from(is_awaited);
        self.note_order(header.id);
        let result = check(message, header, &request.question);
        let is_mixed_up = matches!(result, Err(ExchangeError::Mismatch));
        let keepalive = result.as_ref().ok().and_then(|layout| keepalive(message, layout));
        if let Some(reply) = reply {
            // Who waited may have left in this moment.
            let _ = reply.send(result.map(|layout| Response { message: own(message), layout }));
        }
        if is_mixed_up {
            return Err(ExchangeError::Mismatch);
        }
        Ok(Received::Answer { is_awaited, keepalive })
    }

    /// One that was never answered says nothing: servers drop some.
    fn note_order(&mut self, answered: u16) {
        let is_behind = |last: u16| answered.wrapping_sub(last) > u16::MAX / 2;
        if self.last_answered.is_some_and(is_behind) {
            self.is_unordered = true;
        } else {
            self.last_answered = Some(answered);
        }
    }

    /// Whether the server has answered out of order, so that a slow question holds up nobody.
    pub(super) fn is_unordered(&self) -> bool {
        self.is_unordered
    }

    /// Whether a question is out, be it one that nobody waits for any more, and no later one was answered.
    pub(super) fn is_behind(&self) -> bool {
        self.last_sent != self.last_answered
    }

    /// How many questions were sent behind the last one of those that were answered.
    pub(super) fn behind(&self) -> u16 {
        let both = self.last_sent.zip(self.last_answered);
        both.map_or(0, |(sent, answered)| sent.wrapping_sub(answered))
    }

    /// Whether there is no answer yet to this question.
    pub(super) fn awaits(&self, id: u16) -> bool {
        self.questions.contains_key(&id)
    }

    /// How many questions were sent or are to be, and have no answer yet.
    pub(super) fn len(&self) -> usize {
        self.questions.len()
    }

    /// The question that has waited longest, be it that nobody waits for it any more.
    pub(super) fn oldest(&self) -> Option<u16> {
        self.questions.keys().copied().max_by_key(|id| self.age(*id))
    }

    /// What was asked first of what has no answer, if somebody waits for that.
    pub(super) fn oldest_request(&self) -> Option<&Arc<Request>> {
        let oldest = self.questions.get(&self.oldest()?);
        oldest.filter(|oldest| oldest.reply.is_some()).map(|oldest| &oldest.request)
    }

    /// Whether there is no answer yet to a question that was taken in before this one, be it that nobody waits for it any more.
    pub(super) fn has_older_than(&self, id: u16) -> bool {
        self.questions.keys().any(|other| self.age(*other) > self.age(id))
    }

    fn is_sent(&self, id: u16) -> bool {
        self.last_sent.is_some_and(|last| self.age(last) <= self.age(id))
    }

    /// How many questions were taken in since this one.
    fn age(&self, id: u16) -> u16 {
        self.next.wrapping_sub(id)
    }

    /// Of what can be for nobody else.
    fn fail_the_only_one(&mut self, error: &ExchangeError) {
        if self.questions.len() == 1 {
            self.fail_all(error, 0);
        }
    }

    /// At the end, the question that has waited longest is told last, and that it has: it may be the reason.
    pub(super) fn put_first_last(&mut self) {
        self.is_first_last = self.oldest_request().is_some();
    }

    /// Ends every wait but that for the question that has waited longest; the answers may still come.
    pub(super) fn fail_others(&mut self, error: &ExchangeError) {
        let Some(oldest) = self.oldest() else { return };
        for (id, waiting) in &mut self.questions {
            if let Some(reply) = waiting.reply.take_if(|_| *id != oldest) {
                let _ = reply.send(Err(error.clone()));
                self.live -= 1;
            }
        }
    }

    /// Ends every wait with this error, those first that have waited longest: a worker asks again in that order. A
    /// connection that was closed may have been closed because of one of the questions: most servers take them in order,
    /// so that is the first one. The last `unsent` ones have never left.
    pub(super) fn fail_all(&mut self, error: &ExchangeError, unsent: usize) {
        let next = self.next;
        // One that nobody waits for any more may be the reason as well.
        let is_one_of_many = self.questions.len().saturating_sub(unsent) > 1;
        let waiting = self.questions.drain();
        let mut waiting: Vec<_> =
            waiting.filter_map(|(id, waiting)| Some((id, waiting.reply?))).collect();
        waiting.sort_unstable_by_key(|(id, _)| Reverse(next.wrapping_sub(*id)));
        let sent = waiting.len().saturating_sub(unsent);
        if self.is_first_last
            && let Some(sent) = waiting.get_mut(..sent).filter(|sent| !sent.is_empty())
        {
            sent.rotate_left(1);
        }
        for (place, (_, reply)) in waiting.into_iter().enumerate() {
            let error = match error {
                _ if place >= sent => &ExchangeError::ClosedUnsent,
                _ if self.is_first_last && sent > 1 && place + 1 == sent => {
                    &ExchangeError::ClosedFirst
                }
                ExchangeError::Closed if place > 0 => &ExchangeError::ClosedAround,
                ExchangeError::Closed if is_one_of_many => &ExchangeError::ClosedFirst,
                error => error,
            };
            let _ = reply.send(Err(error.clone()));
        }
        self.live = 0;
    }
}

/// A message of one's own, with room for the few octets that the cache notes behind it.
fn own(message: &[u8]) -> Vec<u8> {
    let mut own = Vec::with_capacity(message.len() + 32);
    own.extend_from_slice(message);
    own
}

/// The header of a response to a query; `None` when it is something else.
pub(super) fn read_header(message: &[u8]) -> Option<Header> {
    Header::read(message).filter(|header| is_response(*header))
}

fn is_response(header: Header) -> bool {
    header.has(Header::QR) && header.opcode() == Opcode::QUERY
}

fn check(message: &[u8], header: Header, question: &Question<'_>) -> Result<Layout, ExchangeError> {
    if !is_bare_error(header) && !repeats(message, header, question) {
        // Without a question it is no answer to another one.
        let is_bare = header.counts[0] == 0;
        return Err(if is_bare { ExchangeError::Malformed } else { ExchangeError::Mismatch });
    }
    if header.has(Header::TC) {
        return Err(ExchangeError::Truncated);
    }
    Layout::of(message).map_err(|_| ExchangeError::Malformed)
}

/// Whether it is an error without the question: RFC 1035 section 4.1.1 asks for none, and some servers refuse so. The ID has to
/// do.
pub(super) fn is_bare_error(header: Header) -> bool {
    header.counts[0] == 0 && !matches!(header.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN)
}

/// The idle time that a server grants, in units of 100 ms (RFC 7828 section 3.1).
fn keepalive(message: &[u8], layout: &Layout) -> Option<u16> {
    u16_at(layout.edns(message)?.option(option::TCP_KEEPALIVE)?, 0)
}

/// Whether a message repeats this one question, letter case aside.
pub(super) fn repeats(message: &[u8], header: Header, question: &Question<'_>) -> bool {
    let name = question.name.as_wire();
    let Some(asked) = message.get(HEADER_LEN..HEADER_LEN + name.len()) else { return false };
    let rest = message.get(HEADER_LEN + name.len()..).and_then(|rest| rest.first_chunk::<4>());
    let [type_high, type_low] = question.qtype.0.to_be_bytes();
    let [class_high, class_low] = question.qclass.0.to_be_bytes();
    header.counts[0] == 1
        && asked.eq_ignore_ascii_case(name)
        && rest == Some(&[type_high, type_low, class_high, class_low])
}

/// More questions than this never wait on one connection. Our guess: an eighth of the IDs, so that free ones
/// are found at once.
const MAX_IN_FLIGHT: usize = 8192;

/// How many answers may be outstanding that nobody waits for. Our guess.
const MAX_GIVEN_UP: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::{answer_to, request};

    fn ask(pending: &mut Pending, name: &str) -> (u16, Answered) {
        let (reply, answered) = oneshot::channel();
        let id = pending.insert(&request(name).into(), reply).unwrap();
        pending.note_sent(id);
        (id, answered)
    }

    fn answer(name: &str, id: u16) -> Vec<u8> {
        let mut query = Vec::new();
        request(name).encode(id, None, &mut query);
        answer_to(&query)
    }

    #[test]
    fn ids_go_round_and_skip_those_that_are_taken() {
        let mut pending = Pending::starting_at(65_534, 9);
        let (old, _waits) = ask(&mut pending, "old.example.");
        assert_eq!(old, 65_534);

        for round in 0..65_535_u32 {
            let (id, _answered) = ask(&mut pending, "a.example.");
            assert_ne!(id, old, "round {round}");
            assert!(matches!(
                pending.receive(&answer("a.example.", id)),
                Ok(Received::Answer { .. })
            ));
        }
        assert_eq!(
            ask(&mut pending, "a.example.").0,
            65_535,
            "once round, past the one that is taken"
        );
    }

    #[test]
    fn the_id_of_a_question_that_was_given_up_stays_taken_until_its_answer_comes() {
        let mut pending = Pending::starting_at(7, 9);
        let (old, _gone) = ask(&mut pending, "old.example.");
        pending.give_up(old);
        assert!(pending.is_idle());
        pending.next = old;

        let (new, mut answered) = ask(&mut pending, "new.example.");
        assert_ne!(new, old);
        let late = pending.receive(&answer("old.example.", old));
        assert_eq!(late.unwrap(), Received::Answer { is_awaited: false, keepalive: None });
        assert!(answered.try_recv().is_err(), "the late answer is for nobody");
        assert_eq!(pending.receive(&answer("old.example.", old)).unwrap(), Received::Unexpected);
    }

    #[test]
    fn answers_out_of_order_are_noticed() {
        let cases: [(&str, &[usize], bool); 4] = [
            ("in order", &[0, 1, 2, 3], false),
            ("the last one first", &[3, 0, 1, 2], true),
            ("the first one last", &[1, 2, 0], true),
            ("one that is never answered", &[0, 2, 3], false),
        ];
        for (why, answered, expected) in cases {
            // Across the end of the IDs.
            let mut pending = Pending::starting_at(65_534, 9);
            let waits: Vec<_> = (0..4).map(|_| ask(&mut pending, "a.example.")).collect();
            for index in answered {
                let (id, _) = &waits[*index];
                pending.receive(&answer("a.example.", *id)).unwrap();
            }
            assert_eq!(pending.is_unordered(), expected, "{why}");
            let is_last_answered = answered.contains(&3);
            assert_eq!(
                pending.is_behind(),
                !is_last_answered,
                "{why}: one is out behind the others"
            );
        }
    }

    #[test]
    fn what_is_no_message_is_told_to_the_only_one_that_waits() {
        for (others, expected) in [(0, true), (1, false)] {
            let mut pending = Pending::new(9);
            let (_, mut answered) = ask(&mut pending, "a.example.");
            let _others: Vec<_> = (0..others).map(|_| ask(&mut pending, "b.example.")).collect();
            assert!(matches!(pending.receive(b"no message"), Err(ExchangeError::Malformed)));
            let told = matches!(answered.try_recv(), Ok(Err(ExchangeError::Malformed)));
            assert_eq!(told, expected, "{others} others");
        }
    }

    #[test]
    fn questions_are_bounded_whether_somebody_waits_or_not() {
        let mut pending = Pending::new(MAX_IN_FLIGHT);
        let waits: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| ask(&mut pending, "a.example.")).collect();
        let (reply, _) = oneshot::channel();
        let refused = pending.insert(&request("a.example.").into(), reply);
        assert!(matches!(refused, Err(ExchangeError::InFlight(_))));

        for (id, _) in waits.iter().take(MAX_GIVEN_UP) {
            pending.give_up(*id);
            pending.give_up(*id);
        }
        assert!(!pending.is_worn());
        pending.give_up(waits[MAX_GIVEN_UP].0);
        assert!(pending.is_worn(), "the connection should be replaced");
    }
}
