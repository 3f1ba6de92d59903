//! Taking apart and putting together.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name<'static> {
    text.parse().unwrap()
}

fn question() -> Question<'static> {
    Question { name: name("www.old.example."), qtype: Qtype::A, qclass: Qclass::IN }
}

fn record(owner: &str, rtype: u16, octets: &[u8]) -> Record {
    let rtype = Qtype(rtype);
    let data = Data::of(rtype, octets).unwrap();
    Record { owner: name(owner), rtype, class: Qclass::IN, ttl: 5, data }
}

#[test]
fn names_in_the_data_of_every_type_that_has_them_are_found() {
    let target = b"\x01t\x07example\0";
    let cases: [(&str, u16, &[u8], usize); 10] = [
        ("NS", 2, b"", 1),
        ("CNAME", 5, b"", 1),
        ("PTR", 12, b"", 1),
        ("DNAME", 39, b"", 1),
        ("MX", 15, b"\0\x0a", 1),
        ("SRV", 33, b"\0\0\0\0\0\x35", 1),
        ("HTTPS", 65, b"\0\x01", 1),
        ("NAPTR", 35, b"\0\x01\0\x01\x01S\x03SIP\x00", 1),
        ("RRSIG", 46, &[7; 18], 1),
        ("TXT", 16, b"\x01a", 0),
    ];

    for (why, rtype, head, names) in cases {
        let octets = [head, &target[..]].concat();
        let data = Data::of(Qtype(rtype), &octets).unwrap();
        assert_eq!(data.names.len(), names, "{why}");
        if names == 1 {
            assert_eq!((&*data.head, &data.names[0]), (head, &name("t.example.")), "{why}");
        }
        assert!(
            names == 0 || Data::of(Qtype(rtype), &octets[..octets.len() - 1]).is_none(),
            "{why}"
        );
    }
}

#[test]
fn pointers_are_followed_backwards_only() {
    let header = [0, 1, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    let question = b"\x01a\x07example\0\0\x01\0\x01";
    let rest = [0, 5, 0, 1, 0, 0, 0, 5, 0, 2];
    let message = |owner: u8, target: u8| {
        [&header[..], question, &[0xc0, owner], &rest, &[0xc0, target]].concat()
    };
    let target_at = u8::try_from(message(12, 0).len() - 2).unwrap();

    let read = Response::read(&message(12, 14)).unwrap();
    assert_eq!(read.sections[0][0].owner, name("a.example."));
    assert_eq!(read.sections[0][0].data.names, [name("example.")]);
    assert!(Response::read(&message(12, target_at)).is_err(), "to itself");
}

#[test]
fn what_is_written_is_compressed_and_reads_back() {
    let mut response = Response::empty(question());
    response.sections[0].push(record("www.old.example.", 5, b"\x01b\x03old\x07example\0"));
    response.sections[0].push(record("b.old.example.", 1, &[10, 0, 0, 1]));
    response.sections[2].push(record(
        "old.example.",
        33,
        b"\0\0\0\0\0\x35\x01b\x03old\x07example\0",
    ));

    let message = response.write().unwrap();

    let mut counted = response.clone();
    counted.header.counts = [1, 2, 0, 1];
    assert_eq!(Response::read(&message).unwrap(), counted);
    let uncompressed = 12 + 21 + (17 + 10 + 15) + (15 + 10 + 4) + (13 + 10 + 6 + 15);
    assert!(message.len() < uncompressed - 40, "{} of {uncompressed}", message.len());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut response = Response::empty(question());
    let text = [vec![200], vec![b'x'; 200]].concat();
    response.sections[0] = (0..400).map(|_| record("www.old.example.", 16, &text)).collect();

    assert_eq!(response.write(), Err(TooLong));
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(octets: Vec<u8>) {
        Response::read(&octets).ok();
    }

    #[test]
    fn no_records_make_it_panic(records: Vec<u8>, counts: [u8; 3]) {
        let [answers, authorities, additionals] = counts.map(|count| u16::from(count % 4));
        let mut message = Vec::new();
        let counts = [1, answers, authorities, additionals];
        Header { id: 1, flags: Header::QR, counts }.write(&mut message);
        question().write(&mut message);
        message.extend(records);
        if let Ok(response) = Response::read(&message) {
            let written = response.write().unwrap();
            let mut again = Response::read(&written).unwrap();
            again.header = response.header;
            prop_assert_eq!(again.write().unwrap(), written);
        }
    }
}
