//! Malformed messages get FORMERR or silence, never a crash, and nothing of them reaches an upstream (RFC 8906, RFC 9267).

use dnsproxy_tests::{
    stage::Stage,
    wire::{Query, Reply, flags, header, options, push, rcodes, types},
};

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Silence,
    FormErr,
    Answered,
}
use Outcome::{Answered, FormErr, Silence};

const ID: u16 = 0x1234;

fn head(counts: [u16; 4]) -> Vec<u8> {
    header(ID, flags::RD, counts)
}

/// A header for one question, and bytes behind it.
fn question(bytes: &[u8]) -> Vec<u8> {
    [head([1, 0, 0, 0]).as_slice(), bytes].concat()
}

fn good() -> Query {
    Query::new("seed.example", types::A).id(ID)
}

/// The good query with other counts and bytes behind it.
fn good_with(counts: [u16; 4], behind: &[u8]) -> Vec<u8> {
    let mut message = head(counts);
    message.extend_from_slice(&good().encode()[12..]);
    message.extend_from_slice(behind);
    message
}

/// An OPT record with this data, whatever it is.
fn opt(rdata: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 41, 16, 0, 0, 0, 0, 0];
    push(&mut record, u16::try_from(rdata.len()).unwrap());
    record.extend_from_slice(rdata);
    record
}

fn headers() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    vec![
        ("one octet", vec![0], Silence),
        (
            "less than a header: there is no ID to answer to",
            head([1, 0, 0, 0])[..11].to_vec(),
            Silence,
        ),
        (
            "a response is no query: two servers would answer each other for ever",
            {
                let mut response = good().encode();
                response[2] |= 0x80;
                response
            },
            Silence,
        ),
        ("no question at all", head([0, 0, 0, 0]), FormErr),
        ("a count of one and no question", head([1, 0, 0, 0]), FormErr),
        (
            "two questions (RFC 9619 section 2)",
            good_with([2, 0, 0, 0], &good().encode()[12..]),
            FormErr,
        ),
        // CVE-2026-82399: counts that are believed before anything is read.
        ("a count of 65535 questions", good_with([0xffff, 0, 0, 0], &[]), FormErr),
        ("all counts at their largest", good_with([0xffff; 4], &[]), FormErr),
        ("records are promised and missing", good_with([1, 0, 0, 3], &[]), FormErr),
        ("bytes after the last record", good_with([1, 0, 0, 0], b"trailing junk"), FormErr),
    ]
}

fn names() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    let label = [&[63][..], &[b'a'; 63]].concat();
    let name_257 = [label.repeat(4).as_slice(), &[0, 0, 1, 0, 1]].concat();
    let name_255 = [label.repeat(3).as_slice(), &[61], &[b'a'; 61], &[0, 0, 1, 0, 1]].concat();
    let chain: Vec<u8> = (0..200u16).flat_map(|hop| (0xc00c + hop * 2 + 2).to_be_bytes()).collect();
    vec![
        (
            "a pointer to itself (RFC 1035 section 4.1.4)",
            question(&[0xc0, 12, 0, 1, 0, 1]),
            FormErr,
        ),
        ("a pointer ahead", question(&[0xc0, 20, 0, 1, 0, 1, 0, 0, 0, 0]), FormErr),
        ("two pointers at each other", question(&[0xc0, 14, 0xc0, 12, 0, 1, 0, 1]), FormErr),
        ("a pointer into the header", question(&[0xc0, 0, 0, 1, 0, 1]), FormErr),
        // hickory issue 3738, CVE-2017-14491: a chain that is followed hop by hop.
        ("a chain of pointers", question(&[chain.as_slice(), &[0, 0, 1, 0, 1]].concat()), FormErr),
        ("half a pointer", question(&[0xc0]), FormErr),
        ("a label of the reserved type 01", question(&[0x40, b'a', 0, 0, 1, 0, 1]), FormErr),
        ("a label of the reserved type 10", question(&[0x80, b'a', 0, 0, 1, 0, 1]), FormErr),
        ("a label that ends after the message", question(&[60, b'a', b'b']), FormErr),
        ("a name without an end", question(b"\x03www\x03com"), FormErr),
        ("a question without a type", question(b"\x03www\x03com\x00"), FormErr),
        ("a name of 257 octets (RFC 1035 section 2.3.4)", question(&name_257), FormErr),
        ("a name of 255 octets, the longest there is", question(&name_255), Answered),
        // CVE-2026-33597 and 'Injection attacks reloaded': octets that only look like dots and ends.
        (
            "a label with NUL and a dot in it",
            question(b"\x05a\x00b.c\x03com\x00\x00\x01\x00\x01"),
            Answered,
        ),
        (
            "a label that looks like several",
            question(b"\x12victim.example\x00.co\x03org\x00\x00\x01\x00\x01"),
            Answered,
        ),
    ]
}

fn records() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    let a_record: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4];
    vec![
        // CVE-2026-42004: the second OPT record is the one that the next server reads.
        (
            "two OPT records (RFC 6891 section 6.1.1)",
            good_with([1, 0, 0, 2], &[opt(&[]), opt(&[])].concat()),
            FormErr,
        ),
        (
            "an OPT record of a name",
            good_with([1, 0, 0, 1], &[&[1, b'a'], opt(&[]).as_slice()].concat()),
            FormErr,
        ),
        (
            "an OPT record longer than the message",
            good_with([1, 0, 0, 1], &[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 32, 0, 3, 0, 0]),
            FormErr,
        ),
        (
            "an option longer than its record",
            good_with([1, 0, 0, 1], &opt(&[0, 10, 0xff, 0xff])),
            FormErr,
        ),
        ("an option without a length", good_with([1, 0, 0, 1], &opt(&[0, 10, 0])), FormErr),
        ("OPT in the answer section", good_with([1, 1, 0, 0], &opt(&[])), FormErr),
        ("a record longer than the message", good_with([1, 1, 0, 0], &a_record[..13]), FormErr),
        (
            "records that a query does not need (RFC 5625 section 4.1)",
            good_with([1, 1, 0, 0], a_record),
            Answered,
        ),
        (
            "a subnet of an unknown family, which is not for us",
            good_with([1, 0, 0, 1], &opt(&[0, 8, 0, 4, 0, 9, 0x20, 0])),
            Answered,
        ),
    ]
}

#[tokio::test]
async fn malformed_queries_get_formerr_or_silence() {
    let stage = Stage::new().await;
    let socket = stage.client().socket().await;

    for (why, message, expected) in [headers(), names(), records()].concat() {
        let mut replies = socket.replies_before_next(&message).await;
        if replies.is_empty() && expected == Answered {
            // What an upstream answers may be overtaken.
            replies.push(socket.receive().await.expect(why));
        }
        let outcome = match replies.as_slice() {
            [] => Silence,
            [reply] if reply[3] & 0xf == 1 => FormErr,
            [_] => Answered,
            _ => panic!("{why}: {} replies", replies.len()),
        };
        assert_eq!(outcome, expected, "{why}: {replies:02x?}");
        for reply in replies {
            assert_eq!(reply[..2], ID.to_be_bytes(), "{why}: the ID comes back");
            assert_eq!(reply[2] & 0x80, 0x80, "{why}: a reply has QR set");
            assert!(reply.len() <= message.len().max(512), "{why}: no amplification");
        }
    }
    let asked = stage.asked();
    assert!(
        asked.iter().all(|name| !name.is_empty()),
        "the upstream could read all that it got: {asked:?}"
    );
}

#[tokio::test]
async fn a_formerr_is_nothing_but_a_header_when_the_question_cannot_be_read() {
    let stage = Stage::new().await;
    let socket = stage.client().socket().await;
    socket.send(&question(&[0xc0, 12, 0, 1, 0, 1])).await.unwrap();

    let reply = Reply::parse(&socket.receive().await.unwrap()).unwrap();
    assert_eq!((reply.rcode(), reply.question, reply.length), (rcodes::FORMERR, None, 12));
}

#[tokio::test]
async fn over_tcp_a_malformed_query_does_not_disturb_the_others() {
    let stage = Stage::new().await;
    let mut stream = stage.client().connect().await.unwrap();
    stream.send(&question(&[0xc0, 12, 0, 1, 0, 1])).await.unwrap();
    assert_eq!(stream.reply().await.rcode(), rcodes::FORMERR);

    stream.send(&good().encode()).await.unwrap();
    assert_eq!(
        stream.reply().await.rcode(),
        rcodes::NOERROR,
        "the frame was sound, so the stream is"
    );
}

#[tokio::test]
async fn over_tcp_a_frame_without_a_header_is_passed_over() {
    let stage = Stage::new().await;
    let mut stream = stage.client().connect().await.unwrap();

    for frame in [&[0, 0][..], &[0, 1, 7], &[0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]] {
        stream.send_raw(frame).await.unwrap();
        stream.send(&good().encode()).await.unwrap();
        assert_eq!(stream.reply().await.rcode(), rcodes::NOERROR, "after {frame:?}");
    }
}

#[tokio::test]
async fn a_message_may_come_in_pieces() {
    let stage = Stage::new().await;
    let mut stream = stage.client().connect().await.unwrap();
    for octet in dnsproxy_tests::wire::framed(&good().encode()) {
        stream.send_raw(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }

    assert_eq!(stream.reply().await.rcode(), rcodes::NOERROR, "RFC 7766 section 8");
}

#[tokio::test]
async fn the_largest_query_of_all_is_read_over_tcp() {
    let stage = Stage::new().await;
    let query = good().option(options::PADDING, &vec![0; 60_000]);

    assert_eq!(
        stage.client().tcp(&query).await.rcode(),
        rcodes::NOERROR,
        "RFC 7830: padding means nothing"
    );
}

/// Random bytes, and good queries with random changes: what a parser meets in a year, in a second.
#[tokio::test]
async fn noise_does_not_end_the_proxy() {
    let stage = Stage::new().await;
    let socket = stage.client().socket().await;
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let seed = good().dnssec_ok().option(options::COOKIE, &[1; 8]).encode();

    for round in 0..20_000 {
        let mut message = seed.clone();
        for _ in 0..=noise.below(4) {
            let at = noise.below(message.len());
            message[at] = u8::try_from(noise.below(256)).unwrap();
        }
        message.truncate(noise.below(message.len() + 1).max(1));
        socket.send(&message).await.unwrap();
        if round % 500 == 0 {
            socket.replies_before_next(&[]).await;
        }
    }
    assert_eq!(stage.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
}

/// xorshift: the same noise in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}
