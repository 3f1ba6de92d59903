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
/// a transfer would hold a connection), pseudo-records are no questions.
fn refuse_unanswerable(qtype: Qtype) -> Option<Rcode> {
    match qtype {
        Qtype::AXFR | Qtype::IXFR => Some(Rcode::REFUSED),
        Qtype(0) | Qtype::OPT | Qtype::TSIG => Some(Rcode::FORMERR),
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
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x04seed\x02db\x07example\0\0\x01\0\x01";
    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";
    const A_RECORD: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04";
    const TSIG: &[u8] = b"\0\0\xfa\0\xff\0\0\0\0\0\0";

    fn message(flags: u16, counts: [u16; 4], parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        Header { id: 0x1234, flags, counts }.write(&mut out);
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out
    }

    fn rcode(message: &[u8]) -> Option<Rcode> {
        match Query::read(message) {
            Ok(_) => None,
            Err(Rejection::Error { rcode, .. }) => Some(rcode),
            Err(Rejection::Silence) => panic!("silence"),
        }
    }

    #[test]
    fn what_cannot_be_replied_to_gets_silence() {
        let response = message(Header::QR, [1, 0, 0, 0], &[QUESTION]);
        let cases: [(&str, &[u8]); 4] = [
            ("nothing", b""),
            ("less than a header", &response[..11]),
            ("a response: a reply to it could go round for ever", &response),
            ("a response of nothing", &message(Header::QR, [0; 4], &[])),
        ];

        for (why, octets) in cases {
            assert_eq!(Query::read(octets), Err(Rejection::Silence), "{why}");
        }
    }

    #[test]
    fn every_other_message_is_taken_or_gets_an_error() {
        let opcode = |code: u16| code << 11;
        let bad_version = &[&OPT[..6], &[1], &OPT[7..]].concat()[..];
        let owned_opt = &[&b"\x01a"[..], OPT].concat()[..];
        let cut_option = &[&OPT[..10], b"\x04\0\x0a\xff\xff"].concat()[..];
        let bad_version_and_option = &[&cut_option[..6], &[1], &cut_option[7..]].concat()[..];
        let cases: [(&str, Vec<u8>, Option<Rcode>); 21] = [
            ("a plain query", message(Header::RD, [1, 0, 0, 0], &[QUESTION]), None),
            (
                "every flag but QR (RFC 8906 8.1.3)",
                message(0x07f0, [1, 0, 0, 0], &[QUESTION]),
                None,
            ),
            ("an rcode in a query means nothing", message(0x0105, [1, 0, 0, 0], &[QUESTION]), None),
            ("with EDNS", message(0, [1, 0, 0, 1], &[QUESTION, OPT]), None),
            (
                "records that a query has no use for (RFC 5625 4.1)",
                message(0, [1, 1, 0, 0], &[QUESTION, A_RECORD]),
                None,
            ),
            ("no question (RFC 9619)", message(0, [0; 4], &[]), Some(Rcode::FORMERR)),
            (
                "two questions (RFC 9619)",
                message(0, [2, 0, 0, 0], &[QUESTION, QUESTION]),
                Some(Rcode::FORMERR),
            ),
            ("a question that is not there", message(0, [1, 0, 0, 0], &[]), Some(Rcode::FORMERR)),
            (
                "a pointer in the question",
                message(0, [1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"]),
                Some(Rcode::FORMERR),
            ),
            (
                "counts beyond the octets (RFC 9267 5)",
                message(0, [1, 0, 0, 0xffff], &[QUESTION]),
                Some(Rcode::FORMERR),
            ),
            (
                "octets behind the last record",
                message(0, [1, 0, 0, 0], &[QUESTION, b"junk"]),
                Some(Rcode::FORMERR),
            ),
            (
                "two OPT records (RFC 6891 6.1.1)",
                message(0, [1, 0, 0, 2], &[QUESTION, OPT, OPT]),
                Some(Rcode::FORMERR),
            ),
            (
                "an OPT record with an owner (RFC 6891 6.1.2)",
                message(0, [1, 0, 0, 1], &[QUESTION, owned_opt]),
                Some(Rcode::FORMERR),
            ),
            (
                "an OPT record in the answer section",
                message(0, [1, 1, 0, 0], &[QUESTION, OPT]),
                Some(Rcode::FORMERR),
            ),
            (
                "an option beyond its record",
                message(0, [1, 0, 0, 1], &[QUESTION, cut_option]),
                Some(Rcode::FORMERR),
            ),
            (
                "an unknown EDNS version (RFC 6891 6.1.3)",
                message(0, [1, 0, 0, 1], &[QUESTION, bad_version]),
                Some(Rcode::BADVERS),
            ),
            (
                "an option of another version that no version 0 could have",
                message(0, [1, 0, 0, 1], &[QUESTION, bad_version_and_option]),
                Some(Rcode::BADVERS),
            ),
            (
                "a signature (RFC 5625 4.5)",
                message(0, [1, 0, 0, 1], &[QUESTION, TSIG]),
                Some(Rcode::REFUSED),
            ),
            (
                "an update (RFC 8906 8.1.4)",
                message(opcode(5), [1, 0, 0, 0], &[QUESTION]),
                Some(Rcode::NOTIMP),
            ),
            (
                "an unknown opcode without anything",
                message(opcode(15), [0; 4], &[]),
                Some(Rcode::NOTIMP),
            ),
            ("DSO (RFC 8490 5.1)", message(opcode(6), [0; 4], &[]), Some(Rcode::NOTIMP)),
        ];

        for (why, octets, expected) in cases {
            assert_eq!(rcode(&octets), expected, "{why}");
        }
    }

    #[test]
    fn an_error_has_an_opt_record_when_the_message_had_one() {
        let opcode = |code: u16| code << 11;
        let cut_option = &[&OPT[..10], b"\x04\0\x0a\xff\xff"].concat()[..];
        let cases: [(&str, Vec<u8>, Option<bool>); 10] = [
            ("an update", message(opcode(5), [1, 0, 0, 1], &[QUESTION, OPT]), Some(true)),
            (
                "an update with records",
                message(opcode(5), [1, 1, 0, 1], &[QUESTION, A_RECORD, OPT]),
                Some(true),
            ),
            ("an update without EDNS", message(opcode(5), [1, 0, 0, 0], &[QUESTION]), None),
            ("an opcode without a question", message(opcode(15), [0, 0, 0, 1], &[OPT]), Some(true)),
            ("no question", message(0, [0, 0, 0, 1], &[OPT]), Some(true)),
            ("two questions", message(0, [2, 0, 0, 1], &[QUESTION, QUESTION, OPT]), Some(true)),
            (
                "an update that is not sound",
                message(opcode(5), [1, 0, 0, 2], &[QUESTION, OPT]),
                Some(true),
            ),
            ("two OPT records", message(0, [1, 0, 0, 2], &[QUESTION, OPT, OPT]), Some(true)),
            ("an option beyond it", message(0, [1, 0, 0, 1], &[QUESTION, cut_option]), Some(true)),
            ("octets behind it", message(0, [1, 0, 0, 1], &[QUESTION, OPT, b"junk"]), Some(true)),
        ];

        for (why, octets, expected) in cases {
            let Err(Rejection::Error { edns, .. }) = Query::read(&octets) else { panic!("{why}") };
            assert_eq!(edns, expected, "{why} (RFC 6891 6.1.1)");
        }
    }

    #[test]
    fn types_that_no_upstream_could_answer_stay_here() {
        let cases = [
            ("a zone transfer", 252, Some(Rcode::REFUSED)),
            ("an incremental one", 251, Some(Rcode::REFUSED)),
            ("a pseudo-record", 41, Some(Rcode::FORMERR)),
            ("nothing", 0, Some(Rcode::FORMERR)),
            ("an unknown type is relayed (RFC 3597)", 65280, None),
        ];

        for (why, qtype, expected) in cases {
            let question =
                [&QUESTION[..QUESTION.len() - 4], &u16::to_be_bytes(qtype), &[0, 1]].concat();
            assert_eq!(rcode(&message(0, [1, 0, 0, 0], &[&question])), expected, "{why}");
        }
    }

    #[test]
    fn udp_limit_honours_the_client_within_our_ceiling() {
        let cases = [
            // (why, EDNS size offered by the client, expected limit)
            ("no EDNS: the classic limit", None, 512),
            ("below 512 counts as 512 (RFC 6891 6.2.3)", Some(80), 512),
            ("a modest offer is taken as it is", Some(1000), 1000),
            ("never large enough to fragment (RFC 9715)", Some(4096), 1232),
        ];

        for (why, offered, expected) in cases {
            let octets = message(0, [1, 0, 0, 0], &[QUESTION]);
            let mut query = Query::read(&octets).unwrap();
            query.edns = offered.map(|udp_payload| ClientEdns {
                udp_payload,
                dnssec_ok: false,
                wants_keepalive: false,
            });
            assert_eq!(query.udp_limit(1232), expected, "{why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_it_panic_and_an_error_keeps_the_id(octets: Vec<u8>) {
            match Query::read(&octets) {
                Ok(query) => assert_eq!(query.header.id.to_be_bytes(), octets[..2]),
                Err(Rejection::Error { header, .. }) => assert_eq!(header.id.to_be_bytes(), octets[..2]),
                Err(Rejection::Silence) => {}
            }
        }
    }
}
