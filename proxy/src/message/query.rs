//! What a client sent: a question that can be answered, or why it cannot.
//!
//! Every well-formed query gets a reply (RFC 8906 section 3). Silence is for what cannot be replied to:
//! less than a header, and responses, since a reply to a reply could go round for ever. Records that a
//! query has no use for are skipped, not refused (RFC 5625 section 4.1); section counts are checked
//! against the octets that are there (RFC 9267 section 5).

use super::{
    HEADER_LEN, Header, Name, Opcode, Qtype, Question, Rcode,
    edns::{self, Edns},
    record::Record,
};

/// A well-formed query with one question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query<'m> {
    /// The header as it was received.
    pub header: Header,
    /// The one question.
    pub question: Question<'m>,
    /// The OPT record, when there is one.
    pub edns: Option<ClientEdns>,
}

/// What a client's OPT record says that outlives the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientEdns {
    /// The largest UDP message that the client takes, in octets, as offered.
    pub udp_payload: u16,
    /// DO: the client wants DNSSEC records.
    pub dnssec_ok: bool,
    /// The client asks how long an idle connection is kept (RFC 7828).
    pub wants_keepalive: bool,
}

/// What is done with a message that is no answerable query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection<'m> {
    /// Nothing is sent.
    Silence,
    /// An error is sent.
    Error {
        /// The header to reply to.
        header: Header,
        /// The question to repeat, when it could be read.
        question: Option<Question<'m>>,
        /// The error.
        rcode: Rcode,
        /// Whether the reply has an OPT record, and its DO bit.
        edns: Option<bool>,
    },
}

impl<'m> Query<'m> {
    /// Reads a message from a client.
    pub fn read(message: &'m [u8]) -> Result<Self, Rejection<'m>> {
        let header = Header::read(message).ok_or(Rejection::Silence)?;
        if header.has(Header::QR) {
            return Err(Rejection::Silence);
        }
        let error = |question, rcode, edns| Rejection::Error { header, question, rcode, edns };
        if header.opcode() != Opcode::QUERY {
            let question = Question::read(message).ok().filter(|_| header.counts[0] == 1);
            let question = question.map(|(question, _)| question);
            return Err(error(question, Rcode::NOTIMP, dnssec_ok(message, header)));
        }
        // RFC 9619 section 4: a query has exactly one question.
        if header.counts[0] != 1 {
            return Err(error(None, Rcode::FORMERR, dnssec_ok(message, header)));
        }
        let Ok((question, end)) = Question::read(message) else {
            return Err(error(None, Rcode::FORMERR, None));
        };
        let extras = Extras::read(message, header, end);
        match extras.refusal().or_else(|| refuse_unanswerable(question.qtype)) {
            Some(rcode) => {
                Err(error(Some(question), rcode, extras.edns.map(|edns| edns.dnssec_ok)))
            }
            None => Ok(Self { header, question, edns: extras.edns.map(ClientEdns::from) }),
        }
    }

    /// The largest reply over UDP, in octets, within our own `ceiling` (RFC 6891 section 6.2.3, RFC 9715).
    pub fn udp_limit(&self, ceiling: u16) -> usize {
        let floor = edns::MIN_UDP_PAYLOAD;
        usize::from(
            self.edns.map_or(floor, |edns| edns.udp_payload.clamp(floor, ceiling.max(floor))),
        )
    }

    /// Whether the client wants DNSSEC records.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the client understands AD in a reply (RFC 6840 section 5.7).
    pub fn wants_authentic_data(&self) -> bool {
        self.dnssec_ok() || self.header.has(Header::AD)
    }
}

impl From<Edns<'_>> for ClientEdns {
    fn from(edns: Edns<'_>) -> Self {
        let wants_keepalive = edns.option(edns::option::TCP_KEEPALIVE).is_some();
        Self { udp_payload: edns.udp_payload, dnssec_ok: edns.dnssec_ok, wants_keepalive }
    }
}

/// Types that no upstream could answer for a client: transfers are refused (nothing here has zones, and
/// a transfer would hold a connection), pseudo-records and NXNAME (RFC 9824 section 3.5) are no questions.
fn refuse_unanswerable(qtype: Qtype) -> Option<Rcode> {
    match qtype {
        Qtype::AXFR | Qtype::IXFR => Some(Rcode::REFUSED),
        Qtype(0) | Qtype::OPT | Qtype::NXNAME | Qtype::TSIG => Some(Rcode::FORMERR),
        _ => None,
    }
}

/// The DO bit of a message that is not looked at otherwise, when it has an OPT record: then so has the reply, whatever
/// it says (RFC 6891 section 6.1.1).
fn dnssec_ok(message: &[u8], header: Header) -> Option<bool> {
    let mut at = HEADER_LEN;
    for _ in 0..header.counts[0] {
        at = Name::read(message, at).ok()?.1 + 4;
    }
    Extras::read(message, header, at).edns.map(|edns| edns.dnssec_ok)
}

/// What stands behind the question.
struct Extras<'m> {
    /// The first OPT record, also of a message that is not well-formed.
    edns: Option<Edns<'m>>,
    is_signed: bool,
    is_malformed: bool,
}

/// The message is not well-formed behind its question.
struct Malformed;

impl<'m> Extras<'m> {
    fn read(message: &'m [u8], header: Header, start: usize) -> Self {
        let mut extras = Self { edns: None, is_signed: false, is_malformed: false };
        extras.is_malformed = extras.take_all(message, header, start).is_err();
        extras
    }

    fn take_all(
        &mut self,
        message: &'m [u8],
        header: Header,
        start: usize,
    ) -> Result<(), Malformed> {
        let [_, answers, authorities, additionals] = header.counts.map(u32::from);
        let mut at = start;
        for index in 0..answers + authorities + additionals {
            let record = Record::read(message, at).ok_or(Malformed)?;
            at = record.end;
            self.is_signed |= record.rtype == Qtype::TSIG;
            if record.rtype == Qtype::OPT {
                self.take_opt(message, &record, index >= answers + authorities)?;
            }
        }
        if at == message.len() { Ok(()) } else { Err(Malformed) }
    }

    /// The error for what is not well-formed, for a version that is not served, or for a signature: altering a signed
    /// message in silence is the one thing not to do (RFC 5625 section 4.5).
    fn refusal(&self) -> Option<Rcode> {
        match self.edns {
            _ if self.is_malformed => Some(Rcode::FORMERR),
            // What the options of another version are is not for us to say.
            Some(Edns { version: 1.., .. }) => Some(Rcode::BADVERS),
            Some(edns) if !edns.is_well_formed() => Some(Rcode::FORMERR),
            _ => self.is_signed.then_some(Rcode::REFUSED),
        }
    }

    /// One OPT record, owned by the root, in the additional section (RFC 6891 section 6.1.1).
    fn take_opt(
        &mut self,
        message: &'m [u8],
        record: &Record,
        is_additional: bool,
    ) -> Result<(), Malformed> {
        if self.edns.is_some() || !is_additional || !record.is_owned_by_root() {
            return Err(Malformed);
        }
        self.edns = Some(Edns::of(message, record));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
