use super::*;
use crate::message::{Question, Request, edns::Edns, record::Record};

const TERMS: Terms = Terms { udp_payload: 1232, keepalive: Some(100) };

fn query(name: &str, edns: Option<(bool, bool)>) -> Query {
    let question = Question { name: name.parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN };
    let request =
        Request { question, recursion_desired: true, checking_disabled: true, dnssec_ok: false };
    let mut octets = Vec::new();
    request.encode(0x1234, None, &mut octets);
    let mut query = Query::read(&octets).unwrap();
    query.header.flags &= !Header::AD;
    query.edns = edns.map(|(dnssec_ok, wants_keepalive)| crate::message::query::ClientEdns {
        udp_payload: 4096,
        dnssec_ok,
        wants_keepalive,
    });
    query
}

/// An upstream's message: its question in lower case, then records, then what stands behind the OPT record.
struct Upstream {
    flags: u16,
    answers: Vec<Vec<u8>>,
    opt: Option<Vec<ExtendedError>>,
    behind: Vec<Vec<u8>>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            flags: Header::QR | Header::RA | Header::AD,
            answers: vec![a_record(b"\xc0\x0c")],
            opt: Some(vec![]),
            behind: vec![],
        }
    }
}

fn a_record(owner: &[u8]) -> Vec<u8> {
    [owner, b"\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01"].concat()
}

impl Upstream {
    fn message(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let additionals = usize::from(self.opt.is_some()) + self.behind.len();
        let counts =
            [1, self.answers.len(), 0, additionals].map(|count| u16::try_from(count).unwrap());
        Header { id: 9, flags: self.flags, counts }.write(&mut out);
        Question { name: "www.example.".parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN }
            .write(&mut out);
        self.answers.iter().for_each(|record| out.extend_from_slice(record));
        if let Some(errors) = &self.opt {
            let mut opt = OptWriter::start(&mut out, 4096, Rcode::NOERROR, false);
            errors.iter().for_each(|error| {
                opt.extended_error(error);
            });
            opt.pad_to(0, 128);
            opt.finish();
        }
        self.behind.iter().for_each(|record| out.extend_from_slice(record));
        out
    }

    fn relayed(&self, query: &Query, is_secure: bool) -> Vec<u8> {
        relay(query, self.message(), is_secure)
    }
}

/// What a client gets of a message that just came.
fn relay(query: &Query, message: Vec<u8>, is_secure: bool) -> Vec<u8> {
    let (layout, now) = (Layout::of(&message).unwrap(), Instant::now());
    let entry = Entry::of_upstream(&key(query), message, &layout, is_secure, &Bounds::NONE, now);
    let mut out = Vec::new();
    entry.write(query, How::Fresh, TERMS, now, &mut out);
    out
}

fn key(query: &Query) -> Key<'_> {
    Key {
        name: query.question.name.as_wire(),
        qtype: query.question.qtype,
        qclass: query.question.qclass,
        dnssec_ok: query.dnssec_ok(),
        checking_disabled: query.header.has(Header::CD),
        scope: Scope(1),
    }
}

fn edns(reply: &[u8]) -> Option<Edns<'_>> {
    Layout::of(reply).unwrap().edns(reply)
}

#[test]
fn the_header_is_the_querys_and_the_question_too_letter_for_letter() {
    let query = query("WwW.eXample.", None);

    let reply =
        Upstream { flags: !(Header::TC | 0xf), ..Upstream::default() }.relayed(&query, true);

    let header = Header::read(&reply).unwrap();
    assert_eq!(header.id, 0x1234);
    let expected = Header::QR | Header::AA | Header::RD | Header::RA | Header::CD;
    assert_eq!(header.flags, expected, "AA as the upstream says, Z clear, AD not to this client");
    assert_eq!(Question::read(&reply).unwrap().0, query.question);
}

#[test]
fn an_opt_record_is_there_exactly_when_the_client_sent_one() {
    for has_upstream_opt in [true, false] {
        let upstream = Upstream { opt: has_upstream_opt.then(Vec::new), ..Upstream::default() };

        let plain = upstream.relayed(&query("www.example.", None), true);
        assert_eq!(edns(&plain), None);
        assert_eq!(Header::read(&plain).unwrap().counts, [1, 1, 0, 0]);

        let extended = upstream.relayed(&query("www.example.", Some((true, false))), true);
        let edns = edns(&extended).unwrap();
        assert_eq!((edns.udp_payload, edns.version, edns.dnssec_ok), (1232, 0, true));
        assert_eq!(
            edns.options, b"",
            "neither padding nor anything else comes through (RFC 7830 3)"
        );
        assert_eq!(Header::read(&extended).unwrap().counts, [1, 1, 0, 1]);
    }
}

#[test]
fn authentic_data_is_told_only_where_it_means_something() {
    let cases = [
        ("a secure upstream, a client that asks by DO", true, Some((true, false)), true),
        ("a client that does not ask (RFC 6840 5.8)", true, Some((false, false)), false),
        ("anybody on the way could have set it", false, Some((true, false)), false),
    ];

    for (why, is_secure, edns, expected) in cases {
        let reply = Upstream::default().relayed(&query("www.example.", edns), is_secure);
        assert_eq!(Header::read(&reply).unwrap().has(Header::AD), expected, "{why}");
    }
}

#[test]
fn extended_errors_of_the_upstream_are_kept() {
    let error = ExtendedError::new(9, "no DNSKEY");
    let upstream = Upstream { opt: Some(vec![error.clone()]), ..Upstream::default() };

    let reply = upstream.relayed(&query("www.example.", Some((false, false))), true);

    assert_eq!(edns(&reply).unwrap().extended_errors().collect::<Vec<_>>(), [error]);
}

#[test]
fn an_upper_rcode_becomes_servfail_for_a_client_without_edns() {
    let mut message = Upstream::default().message();
    let layout = Layout::of(&message).unwrap();
    message[layout.opt.as_ref().unwrap().fields + 4] = 1;

    let reply = relay(&query("www.example.", None), message, true);

    assert_eq!(Header::read(&reply).unwrap().rcode(), Rcode::SERVFAIL);
}

#[test]
fn records_behind_the_opt_record_survive_its_removal() {
    let message = Upstream {
        behind: vec![a_record(b"\xc0\x0c"), a_record(b"\x02ns\xc0\x0c")],
        ..Upstream::default()
    };
    let start = message.message().len();
    // Points to the name of the record just before, which moves.
    let pointer = u16::try_from(start - 19).unwrap() | 0xc000;
    let upstream = Upstream {
        behind: [message.behind, vec![a_record(&pointer.to_be_bytes())]].concat(),
        ..Upstream::default()
    };

    let reply = upstream.relayed(&query("www.example.", None), true);

    let header = Header::read(&reply).unwrap();
    assert_eq!(header.counts, [1, 1, 0, 3]);
    let decoded = hickory_proto::op::Message::from_vec(&reply).unwrap();
    let owners: Vec<_> = decoded.additionals.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(owners, ["www.example.", "ns.www.example.", "ns.www.example."]);
}

#[test]
fn records_behind_the_opt_record_go_when_pointers_may_hide_in_them() {
    let cname = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c".to_vec();
    let reply = Upstream { behind: vec![cname], ..Upstream::default() }
        .relayed(&query("www.example.", None), true);

    assert_eq!(Header::read(&reply).unwrap().counts, [1, 1, 0, 0]);
    assert!(hickory_proto::op::Message::from_vec(&reply).is_ok());
}

#[test]
fn a_ttl_with_the_top_bit_is_zero() {
    let mut record = a_record(b"\xc0\x0c");
    record[6..10].copy_from_slice(&[0xff; 4]);

    let reply = Upstream { answers: vec![record], ..Upstream::default() }
        .relayed(&query("www.example.", None), true);

    let layout = Layout::of(&reply).unwrap();
    assert_eq!(Record::read(&reply, layout.questions_end).unwrap().ttl, 0);
}

#[test]
fn an_error_without_a_question_still_answers_the_clients() {
    let mut message = Vec::new();
    Header { id: 9, flags: Header::QR | 1, counts: [0; 4] }.write(&mut message);

    let reply = relay(&query("www.example.", None), message, true);

    assert_eq!(Header::read(&reply).unwrap().rcode(), Rcode::FORMERR);
    assert_eq!(Question::read(&reply).unwrap().0.name.to_string(), "www.example.");
}

proptest::proptest! {
    #[test]
    fn whatever_an_upstream_sends_the_reply_is_well_formed(octets: Vec<u8>, cut in 0_usize..200) {
        let mut message = Upstream::default().message();
        message.truncate(cut.max(12));
        message.extend_from_slice(&octets);
        if Layout::of(&message).is_ok() {
            let mut reply = relay(&query("www.example.", Some((true, true))), message, true);
            crate::message::truncate::fit(&mut reply, 512);
            proptest::prop_assert!(reply.len() <= 512 || Layout::of(&reply).is_err());
            proptest::prop_assert!(Layout::of(&reply).is_ok());
        }
    }
}
