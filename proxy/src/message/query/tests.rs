//! What is a query, and what is done with what is none.

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
        ("every flag but QR (RFC 8906 8.1.3)", message(0x07f0, [1, 0, 0, 0], &[QUESTION]), None),
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
        ("NXNAME (RFC 9824 3.5)", 128, Some(Rcode::FORMERR)),
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
