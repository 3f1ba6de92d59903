//! What a client sent: a question that can be answered, or why it cannot.
//!
//! Every well-formed query gets a reply (RFC 8906 section 3). Silence is for what cannot be replied to:
//! less than a header, and responses, since a reply to a reply could go round for ever. Records that a
//! query has no use for are skipped, not refused (RFC 5625 section 4.1); section counts are checked
//! against the octets that are there (RFC 9267 section 5).

use super::{HEADER_LEN, Header, Opcode, Qtype, Question, Rcode, edns::Edns, record::Record};

/// A well-formed query with one question.
#[derive(Clone, Debug)]
pub struct Query<'m> {
    /// The header as it was received.
    pub header: Header,
    /// The one question.
    pub question: Question,
    /// The OPT record, when there is one.
    pub edns: Option<Edns<'m>>,
}

/// What is done with a message that is no answerable query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Nothing is sent.
    Silence,
    /// An error is sent.
    Error {
        /// The header to reply to.
        header: Header,
        /// The question to repeat, when it could be read.
        question: Option<Question>,
        /// The error.
        rcode: Rcode,
        /// Whether the reply has an OPT record, and its DO bit.
        edns: Option<bool>,
    },
}

impl<'m> Query<'m> {
    /// Reads a message from a client.
    pub fn read(message: &'m [u8]) -> Result<Self, Rejection> {
        let header = Header::read(message).ok_or(Rejection::Silence)?;
        if header.has(Header::QR) {
            return Err(Rejection::Silence);
        }
        let error = |question, rcode, edns| Rejection::Error { header, question, rcode, edns };
        if header.opcode() != Opcode::QUERY {
            let question = Question::read(message).ok().filter(|_| header.counts[0] == 1);
            return Err(error(question.map(|(question, _)| question), Rcode::NOTIMP, None));
        }
        // RFC 9619 section 4: a query has exactly one question.
        if header.counts[0] != 1 {
            return Err(error(None, Rcode::FORMERR, None));
        }
        let Ok((question, end)) = Question::read(message) else {
            return Err(error(None, Rcode::FORMERR, None));
        };
        let Ok(extras) = Extras::read(message, header, end) else {
            return Err(error(Some(question), Rcode::FORMERR, None));
        };
        let edns = extras.edns;
        let dnssec_ok = edns.map(|edns| edns.dnssec_ok);
        match edns {
            Some(Edns { version: 1.., .. }) => {
                Err(error(Some(question), Rcode::BADVERS, dnssec_ok))
            }
            // Altering a signed message in silence is the one thing not to do (RFC 5625 section 4.5).
            _ if extras.is_signed => Err(error(Some(question), Rcode::REFUSED, dnssec_ok)),
            _ => refuse_unanswerable(question.qtype)
                .map_or(Ok(Self { header, question: question.clone(), edns }), |rcode| {
                    Err(error(Some(question), rcode, dnssec_ok))
                }),
        }
    }

    /// The largest reply over UDP, in octets, within our own `ceiling` (RFC 6891 section 6.2.3, RFC 9715).
    pub fn udp_limit(&self, ceiling: u16) -> usize {
        let floor = super::edns::MIN_UDP_PAYLOAD;
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

/// Types that no upstream could answer for a client: transfers are refused (nothing here has zones, and
/// a transfer would hold a connection), pseudo-records are no questions.
fn refuse_unanswerable(qtype: Qtype) -> Option<Rcode> {
    match qtype {
        Qtype::AXFR | Qtype::IXFR => Some(Rcode::REFUSED),
        Qtype(0) | Qtype::OPT | Qtype::TSIG => Some(Rcode::FORMERR),
        _ => None,
    }
}

/// What stands behind the question.
struct Extras<'m> {
    edns: Option<Edns<'m>>,
    is_signed: bool,
}

/// The message is not well-formed behind its question.
struct Malformed;

impl<'m> Extras<'m> {
    fn read(message: &'m [u8], header: Header, start: usize) -> Result<Self, Malformed> {
        let [_, answers, authorities, additionals] = header.counts.map(u32::from);
        let mut extras = Self { edns: None, is_signed: false };
        let mut at = start;
        for index in 0..answers + authorities + additionals {
            let record = Record::read(message, at).ok_or(Malformed)?;
            at = record.end;
            extras.is_signed |= record.rtype == Qtype::TSIG;
            if record.rtype == Qtype::OPT {
                extras.take_opt(message, &record, index >= answers + authorities)?;
            }
        }
        if at == message.len() { Ok(extras) } else { Err(Malformed) }
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
        self.edns = Some(Edns::read(message, record).ok_or(Malformed)?);
        Ok(())
    }
}

const _: () = assert!(HEADER_LEN == 12);
