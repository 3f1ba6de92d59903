//! EDNS is spoken hop by hop, whatever a client puts into it (RFC 6891, RFC 8906 section 8).

use dnsproxy_tests::{
    stage::Stage,
    wire::{DNSSEC_OK, Query, flags, options, rcodes, types},
};

/// What is looked at in a reply.
struct Expected {
    rcode: u16,
    has_answer: bool,
}

const ANSWERED: Expected = Expected { rcode: rcodes::NOERROR, has_answer: true };
const BAD_VERSION: Expected = Expected { rcode: rcodes::BADVERS, has_answer: false };

fn query() -> Query {
    Query::new("www.example", types::A)
}

fn version_1(query: Query) -> Query {
    query.edns_with(|edns| edns.version = 1)
}

#[tokio::test]
async fn every_well_formed_query_is_answered() {
    let stage = Stage::new().await;
    let cases = [
        ("no EDNS", query(), ANSWERED),
        ("EDNS", query().edns(1232), ANSWERED),
        ("DO", query().dnssec_ok(), ANSWERED),
        ("an option that nobody knows is ignored", query().option(100, b""), ANSWERED),
        ("an empty NSID request", query().option(3, b""), ANSWERED),
        ("an EXPIRE request", query().option(9, b""), ANSWERED),
        ("a client's cookie", query().option(options::COOKIE, &[1; 8]), ANSWERED),
        ("a subnet of nobody", query().option(options::CLIENT_SUBNET, &[0, 1, 0, 0]), ANSWERED),
        (
            "keepalive, which has no meaning over UDP",
            query().option(options::TCP_KEEPALIVE, b""),
            ANSWERED,
        ),
        ("padding", query().option(options::PADDING, &[0; 100]), ANSWERED),
        ("flags without a meaning", query().edns_with(|edns| edns.flags = 0x0080), ANSWERED),
        ("an unknown version", version_1(query()), BAD_VERSION),
        ("the last version", query().edns_with(|edns| edns.version = 255), BAD_VERSION),
        ("an unknown version with an option", version_1(query().option(100, b"")), BAD_VERSION),
        (
            "an unknown version with a cookie",
            version_1(query().option(options::COOKIE, &[1; 8])),
            BAD_VERSION,
        ),
    ];

    for (why, query, expected) in cases {
        for reply in [stage.client().udp(&query).await, stage.client().tcp(&query).await] {
            assert_eq!(reply.rcode(), expected.rcode, "{why}");
            assert_eq!(!reply.answers.is_empty(), expected.has_answer, "{why}");
            let Some(edns) = reply.edns else { continue };
            assert_eq!(edns.version, 0, "{why}: the version that we know (RFC 6891 section 6.1.3)");
            let asked = query.edns.as_ref().expect("EDNS only comes back").flags;
            assert_eq!(
                edns.flags,
                asked & DNSSEC_OK,
                "{why}: DO comes back (RFC 3225 section 3), nothing else does"
            );
            assert!(edns.payload >= 512, "{why}: our own size");
            let known = [options::EXTENDED_ERROR, options::TCP_KEEPALIVE];
            assert!(
                edns.options.iter().all(|(code, _)| known.contains(code)),
                "{why}: nothing is echoed: {edns:?}"
            );
        }
    }
}

#[tokio::test]
async fn header_bits_without_a_meaning_in_a_query_are_ignored() {
    let stage = Stage::new().await;

    for bits in [flags::AA, flags::TC, flags::RA, flags::Z, flags::AD, flags::CD, 0x07f0] {
        let reply = stage.client().udp(&query().with(bits)).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "{bits:#06x} (RFC 8906 section 8.1.3)");
        assert!(!reply.has(flags::Z), "Z is always zero");
        assert!(!reply.has(flags::AA), "a forwarder has no authority");
    }
}

#[tokio::test]
async fn a_query_with_an_rcode_is_a_query() {
    let stage = Stage::new().await;

    for rcode in [1, 2, 5, 9, 15] {
        let reply = stage.client().udp(&query().with(rcode)).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "an rcode means nothing in a query: {rcode}");
    }
}

#[tokio::test]
async fn every_type_is_answered() {
    let stage = Stage::new().await;
    let not_questions =
        [types::OPT, types::NXNAME, 249, 250, types::IXFR, types::AXFR, 253, 254, types::ANY];

    for qtype in (1..=300).chain([666, 1000, 32768, 32769, 65280, 65534]) {
        if not_questions.contains(&qtype) {
            continue;
        }
        let reply = stage.client().udp(&Query::new("www.example", qtype)).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "type {qtype} (RFC 8906 section 8.1.2)");
    }
}

#[tokio::test]
async fn keepalive_is_said_over_tcp_to_those_who_ask() {
    let stage = Stage::new().await;
    let asking = query().option(options::TCP_KEEPALIVE, b"");

    let over_udp = stage.client().udp(&asking).await.edns.unwrap();
    assert_eq!(
        over_udp.option(options::TCP_KEEPALIVE),
        None,
        "never over UDP (RFC 7828 section 3.2.2)"
    );
    let unasked = stage.client().tcp(&query().edns(1232)).await.edns.unwrap();
    assert_eq!(unasked.option(options::TCP_KEEPALIVE), None, "never unasked");
}

/// CVE-2026-41292, CVE-2026-42944: long or repeated options cost a server more than they cost the client.
#[tokio::test]
async fn a_flood_of_options_costs_no_more_than_reading_it() {
    let stage = Stage::new().await;
    let many = (0..250).fold(query(), |query, _| query.option(3, b""));
    let socket = stage.client().socket().await;

    let before = std::time::Instant::now();
    for _ in 0..200 {
        socket.send(&many.encode()).await.unwrap();
        socket.receive().await.unwrap();
    }
    let each = before.elapsed() / 200;
    assert!(each.as_millis() < 100, "{each:?} for a query with 250 options");
}

/// RFC 5625 section 4.5: passed as it is or refused, never changed in silence. A signature would not survive our own words.
#[tokio::test]
async fn a_signed_query_is_not_changed_in_silence() {
    let stage = Stage::new().await;
    let mut message = query().encode();
    message[11] = 1;
    message.push(0);
    let tsig: &[u8] =
        &[0, 250, 0, 255, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0x5e, 0xed, 0, 0, 0, 0];
    message.extend_from_slice(tsig);
    let socket = stage.client().socket().await;
    socket.send(&message).await.unwrap();
    let reply = socket.receive().await.unwrap();

    let rcode = u16::from(reply[3] & 0xf);
    assert!(
        [rcodes::NOTIMP, rcodes::REFUSED, rcodes::FORMERR, 9].contains(&rcode),
        "rcode {rcode}: {reply:02x?}"
    );
    assert!(stage.asked().is_empty(), "and nothing of it went on");
}
