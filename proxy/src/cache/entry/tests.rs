use super::{make::MAX_RELAYED_ERRORS, *};
use crate::{
    cache::{
        Bounds, PrefetchPolicy,
        testing::{
            Asked, ClientEdns, SELF, TERMS, Upstream, a, entry_for, key, record, relay, soa,
            written,
        },
    },
    message::{
        Layout, Question,
        edns::{Edns, ExtendedError, option},
        record::Record,
        truncate,
    },
};

const NAME: &str = "www.example.";
const FAILURES: Bounds = Bounds { failure_ttl: 5, ..Bounds::NONE };

fn asked(name: &str, edns: ClientEdns) -> Asked {
    Asked::new(name, Qtype::A, edns)
}

fn upstream() -> Upstream {
    Upstream::address(NAME, 60)
}

fn edns(reply: &[u8]) -> Option<Edns<'_>> {
    Layout::of(reply).unwrap().edns(reply)
}

fn rcode(reply: &[u8]) -> Rcode {
    Layout::of(reply).unwrap().rcode(reply)
}

fn errors(reply: &[u8]) -> Vec<ExtendedError> {
    edns(reply).unwrap().extended_errors().collect()
}

fn ttls(reply: &[u8]) -> Vec<u32> {
    let layout = Layout::of(reply).unwrap();
    let mut at = layout.questions_end;
    std::iter::from_fn(|| {
        let record = Record::read(reply, at)?;
        at = record.end;
        (record.rtype != Qtype::OPT).then_some(record.ttl)
    })
    .collect()
}

fn after(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_header_is_the_querys_and_the_question_too_letter_for_letter() {
    let asked = Asked::with_flags("WwW.eXample.", Qtype::A, Header::RD | Header::CD, None);
    let query = asked.query();

    let reply = Upstream { flags: !(Header::TC | 0xf), ..upstream() }.relayed(&query, true);

    let header = Header::read(&reply).unwrap();
    assert_eq!(header.id, 0x1234);
    let expected = Header::QR | Header::AA | Header::RD | Header::RA | Header::CD;
    assert_eq!(header.flags, expected, "AA as the upstream says, Z clear, AD not to this client");
    assert_eq!(Question::read(&reply).unwrap().0, query.question);
}

#[test]
fn an_opt_record_is_there_exactly_when_the_client_sent_one() {
    for has_upstream_opt in [true, false] {
        let upstream = Upstream { opt: has_upstream_opt.then(Vec::new), ..upstream() };

        let plain = upstream.relayed(&asked(NAME, None).query(), true);
        assert_eq!(edns(&plain), None);
        assert_eq!(Header::read(&plain).unwrap().counts, [1, 1, 0, 0]);

        let extended = upstream.relayed(&asked(NAME, Some((true, false))).query(), true);
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
        (
            "a secure upstream, a client that asks by DO",
            true,
            Header::RD,
            Some((true, false)),
            true,
        ),
        ("a client that asks by AD", true, Header::AD, None, true),
        (
            "a client that does not ask (RFC 6840 5.8)",
            true,
            Header::RD,
            Some((false, false)),
            false,
        ),
        ("anybody on the way could have set it", false, Header::RD, Some((true, false)), false),
    ];

    for (why, is_secure, flags, edns, expected) in cases {
        let asked = Asked::with_flags(NAME, Qtype::A, flags, edns);
        let reply = upstream().relayed(&asked.query(), is_secure);
        assert_eq!(Header::read(&reply).unwrap().has(Header::AD), expected, "{why}");
    }
    let (stored, asked) = (Instant::now(), Asked::with_flags(NAME, Qtype::A, Header::AD, None));
    let authoritative = Upstream { flags: !(Header::TC | 0xf), ..upstream() };
    let entry = authoritative.entry(&Bounds::NONE, stored);
    let reply = written(&entry, &asked.query(), How::Cached, stored);
    let header = Header::read(&reply).unwrap();
    assert!(header.has(Header::AD) && !header.has(Header::AA), "a cache is no authority");
    let reply = written(&entry, &asked.query(), How::Stale { ttl: 30 }, stored + after(65));
    let header = Header::read(&reply).unwrap();
    assert!(!header.has(Header::AD), "signatures may have ended as well");
    assert!(!header.has(Header::AA), "no authority says so any more");
}

#[test]
fn extended_errors_of_the_upstream_are_kept() {
    let error = ExtendedError::new(9, "no DNSKEY");
    let upstream = Upstream { opt: Some(vec![error.clone(); 9]), ..upstream() };

    let reply = upstream.relayed(&asked(NAME, Some((false, false))).query(), true);

    assert_eq!(errors(&reply), vec![error; MAX_RELAYED_ERRORS], "but no more than a few");
}

#[test]
fn an_upper_rcode_becomes_servfail_for_a_client_without_edns() {
    let mut message = upstream().message();
    let layout = Layout::of(&message).unwrap();
    message[layout.opt.as_ref().unwrap().fields + 4] = 1;

    let plain = relay(&asked(NAME, None).query(), message.clone(), true);
    assert_eq!(Header::read(&plain).unwrap().rcode(), Rcode::SERVFAIL);

    let extended = relay(&asked(NAME, Some((false, false))).query(), message, true);
    assert_eq!(rcode(&extended), Rcode::BADVERS);
}

#[test]
fn records_behind_the_opt_record_survive_its_removal() {
    let behind = vec![a(60), record(b"\x02ns\xc0\x0c", 1, 60, &[192, 0, 2, 3])];
    let start = Upstream { behind: behind.clone(), ..upstream() }.message().len();
    // Points to the name of the record just before, which moves.
    let pointer = (u16::try_from(start - 19).unwrap() | 0xc000).to_be_bytes();
    let last = record(&pointer, 1, 60, &[192, 0, 2, 4]);
    let upstream = Upstream { behind: [behind, vec![last]].concat(), ..upstream() };

    let reply = upstream.relayed(&asked(NAME, None).query(), true);

    let header = Header::read(&reply).unwrap();
    assert_eq!(header.counts, [1, 1, 0, 3]);
    let decoded = hickory_proto::op::Message::from_vec(&reply).unwrap();
    let owners: Vec<_> = decoded.additionals.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(owners, ["www.example.", "ns.www.example.", "ns.www.example."]);
}

#[test]
fn records_behind_the_opt_record_go_when_pointers_may_hide_in_them() {
    let cname = record(SELF, 5, 60, SELF);
    let reply =
        Upstream { behind: vec![cname], ..upstream() }.relayed(&asked(NAME, None).query(), true);

    assert_eq!(Header::read(&reply).unwrap().counts, [1, 1, 0, 0]);
    assert!(hickory_proto::op::Message::from_vec(&reply).is_ok());
}

#[test]
fn an_error_without_a_question_still_answers_the_clients() {
    let mut message = Vec::new();
    Header { id: 9, flags: Header::QR | 1, counts: [0; 4] }.write(&mut message);
    let (asked, now) = (asked(NAME, None), Instant::now());
    let query = asked.query();

    let entry = entry_for(&key(&query), message, &FAILURES, now);
    let reply = written(&entry, &query, How::Fresh, now);

    assert_eq!(Header::read(&reply).unwrap().rcode(), Rcode::FORMERR);
    assert_eq!(Question::read(&reply).unwrap().0.name.to_string(), NAME);
    assert_eq!(entry.lifetime(), after(5));
}

#[test]
fn no_error_without_a_question_is_no_answer() {
    for rcode in [Rcode::NOERROR, Rcode::NXDOMAIN] {
        let mut message = Vec::new();
        Header { id: 9, flags: Header::QR | rcode.0, counts: [0; 4] }.write(&mut message);
        let asked = asked(NAME, None);
        let entry = entry_for(&key(&asked.query()), message, &FAILURES, Instant::now());
        assert_eq!(entry.lifetime(), Duration::ZERO, "{rcode}");
    }
}

#[test]
fn a_message_about_something_else_is_never_given_out() {
    let cases = [
        ("another name", Upstream::address("ww2.example.", 60)),
        ("a longer one", Upstream::address("www.example.example.", 60)),
        ("another type", Upstream { qtype: Qtype::AAAA, ..upstream() }),
    ];

    for (why, upstream) in cases {
        let (asked, now) = (asked(NAME, None), Instant::now());
        let query = asked.query();
        let entry = entry_for(&key(&query), upstream.message(), &FAILURES, now);
        assert_eq!((entry.rcode(), entry.lifetime()), (Rcode::SERVFAIL, Duration::ZERO), "{why}");
        let reply = written(&entry, &query, How::Fresh, now);
        assert_eq!(Header::read(&reply).unwrap().counts, [1, 0, 0, 0], "{why}");
    }
}

#[test]
fn a_cached_answer_ages_by_whole_seconds() {
    let stored = Instant::now();
    let upstream = Upstream {
        authorities: vec![record(&[0], 2, 90, &[0])],
        additionals: vec![record(&[0], 1, 3, &[192, 0, 2, 9])],
        ..upstream()
    };
    let entry = upstream.entry(&Bounds::NONE, stored);
    let cases = [
        ("at once", Duration::ZERO, vec![60, 90, 3]),
        ("not a second yet", Duration::from_millis(999), vec![60, 90, 3]),
        ("a second", after(1), vec![59, 89, 2]),
        ("an additional record ends at 0", after(10), vec![50, 80, 0]),
        ("the last moment is not 0", Duration::from_millis(59_999), vec![1, 31, 0]),
        ("beyond its end nothing goes below 0", after(1 << 40), vec![0, 0, 0]),
    ];

    for (why, age, expected) in cases {
        for edns in [None, Some((false, false))] {
            let asked = asked(NAME, edns);
            let reply = written(&entry, &asked.query(), How::Cached, stored + age);
            assert_eq!(ttls(&reply), expected, "{why}");
        }
    }
    let asked = asked(NAME, None);
    let earlier = written(&entry, &asked.query(), How::Cached, stored - after(1));
    assert_eq!(ttls(&earlier), [60, 90, 3], "another worker's clock may be a moment behind");
}

#[test]
fn an_entry_ends_exactly_at_its_lifetime() {
    let stored = Instant::now();
    let entry = upstream().entry(&Bounds::NONE, stored);

    assert!(entry.is_fresh(stored + Duration::from_nanos(59_999_999_999)));
    assert!(!entry.is_fresh(stored + after(60)));
    assert!(entry.is_fresh(stored - after(1)), "it came a moment ago, for another worker");
}

#[test]
fn a_stale_answer_says_so() {
    let stored = Instant::now();
    let denial = Upstream::denial(NAME, Qtype::A, Rcode::NXDOMAIN, 60);
    let cases = [
        ("an answer", upstream(), ExtendedError::new(3, "expired 5 s ago")),
        ("NXDOMAIN (RFC 8914 4.20)", denial, ExtendedError::new(19, "expired 5 s ago")),
    ];

    for (why, upstream, expected) in cases {
        let entry = upstream.entry(&Bounds::NONE, stored);
        let (asked, how) = (asked(NAME, Some((false, false))), How::Stale { ttl: 30 });
        let reply = written(&entry, &asked.query(), how, stored + after(65));
        assert_eq!(ttls(&reply), [30], "{why}: RFC 8767 4");
        assert_eq!(errors(&reply), [expected], "{why}");
    }
    let entry = upstream().entry(&Bounds::NONE, stored);
    let plain =
        written(&entry, &asked(NAME, None).query(), How::Stale { ttl: 30 }, stored + after(65));
    assert_eq!((ttls(&plain), edns(&plain)), (vec![30], None), "who sent no OPT record gets none");
}

/// RFC 8767 section 5.
#[test]
fn who_asks_after_a_stale_answer_need_not_wait_for_half_a_minute() {
    let stored = Instant::now();
    for given in [60, 69, 70, 3_600, 60 + 168 * 3_600] {
        let entry = upstream().entry(&Bounds::NONE, stored);
        let given = stored + after(given);
        assert!(!entry.was_given_stale(given));
        entry.note_given_stale(given);
        for (later, expected) in [(0, true), (19, true), (31, false), (86_400, false)] {
            assert_eq!(entry.was_given_stale(given + after(later)), expected, "after {later} s");
        }
    }
}

#[test]
fn a_failure_tells_why_and_whether_it_is_remembered() {
    let (asked, stored) = (asked(NAME, Some((false, false))), Instant::now());
    let (query, reason) = (asked.query(), ExtendedError::new(22, "upstream lab: refused"));
    let reasons = std::slice::from_ref(&reason);
    let entry = Entry::of_failure(&key(&query), Rcode::SERVFAIL, reasons, &FAILURES, stored);

    let fresh = written(&entry, &query, How::Fresh, stored);
    assert_eq!(rcode(&fresh), Rcode::SERVFAIL);
    assert_eq!(errors(&fresh), reasons);

    let cached = written(&entry, &query, How::Cached, stored + after(2));
    let remembered = ExtendedError::new(13, "remembered for 2 s of 5 s");
    assert_eq!(errors(&cached), [reason, remembered]);
}

#[test]
fn what_is_kept_of_an_answer_is_not_explained() {
    let stored = Instant::now();
    let asked = asked(NAME, Some((false, false)));
    let reply =
        written(&upstream().entry(&Bounds::NONE, stored), &asked.query(), How::Cached, stored);
    assert_eq!(errors(&reply), []);
}

#[test]
fn a_denial_answers_the_type_that_is_asked_for() {
    let now = Instant::now();
    let entry = Upstream::denial(NAME, Qtype::A, Rcode::NXDOMAIN, 60).entry(&Bounds::NONE, now);
    let asked = Asked::new(NAME, Qtype::AAAA, None);
    let query = asked.query();

    let reply = written(&entry, &query, How::Cached, now);

    assert_eq!(Question::read(&reply).unwrap().0, query.question);
}

#[test]
fn the_spelling_of_each_client_comes_back_in_the_records_too() {
    let now = Instant::now();
    let entry = upstream().entry(&Bounds::NONE, now);
    for name in ["www.example.", "wWw.eXAMPLe.", "WWW.EXAMPLE."] {
        let reply = written(&entry, &asked(name, None).query(), How::Cached, now);
        let decoded = hickory_proto::op::Message::from_vec(&reply).unwrap();
        assert_eq!(decoded.answers[0].name.to_string(), name);
    }
}

#[test]
fn keepalive_is_told_to_those_who_ask() {
    let now = Instant::now();
    let entry = upstream().entry(&Bounds::NONE, now);
    for (asks, expected) in [(true, Some(&[0, 100][..])), (false, None)] {
        let reply = written(&entry, &asked(NAME, Some((false, asks))).query(), How::Cached, now);
        assert_eq!(edns(&reply).unwrap().option(option::TCP_KEEPALIVE), expected);
    }
}

#[test]
fn a_reply_is_appended_without_an_allocation() {
    let now = Instant::now();
    let entry = upstream().entry(&Bounds::NONE, now);
    let asked = asked(NAME, Some((true, true)));
    let query = asked.query();
    let alone = written(&entry, &query, How::Cached, now);

    let mut out = Vec::with_capacity(2 + alone.len());
    out.extend_from_slice(&[0, 0]);
    let before = out.as_ptr();
    entry.write(&query, How::Cached, TERMS, now, &mut out);

    assert_eq!(&out[2..], alone, "behind the length that a stream needs");
    assert_eq!(out.as_ptr(), before);
}

#[test]
fn an_entry_is_renewed_once_when_it_is_worth_it() {
    const POLICY: PrefetchPolicy = PrefetchPolicy { min_hits: 3, remaining_percent: 10 };
    let stored = Instant::now();
    let cases = [
        // (why, hits, jitter, seconds of 1000 that are left, whether it is renewed)
        ("in the last tenth, asked for often enough", 3, 127, 99, true),
        ("not asked for often enough", 2, 127, 99, false),
        ("too early", 3, 127, 101, false),
        ("a name may wait until the middle of the time", 3, 0, 99, false),
        ("and not longer", 3, 0, 50, true),
        ("only the last bits of a jitter count", 3, u64::MAX, 99, true),
    ];

    for (why, hits, jitter, left, expected) in cases {
        let entry = Upstream::address(NAME, 1000).entry(&Bounds::NONE, stored);
        (0..hits).for_each(|_| entry.note_hit());
        let now = stored + after(1000 - left);
        assert_eq!(entry.is_to_be_renewed(&POLICY, jitter, now), expected, "{why}");
        assert!(!entry.clone().is_to_be_renewed(&POLICY, jitter, now), "{why}: once");
        entry.forget_renewal();
        assert_eq!(entry.is_to_be_renewed(&POLICY, jitter, now), expected, "{why}: or again");
    }
}

#[test]
fn hits_are_counted_up_to_a_bound() {
    let entry = upstream().entry(&Bounds::NONE, Instant::now());
    (0..1000).for_each(|_| entry.note_hit());
    assert_eq!(entry.hits(), u8::MAX);
}

#[test]
fn an_entry_is_small() {
    assert!(size_of::<Head>() <= 40, "{}", size_of::<Head>());
    assert_eq!(size_of::<Entry>(), size_of::<usize>());
    let now = Instant::now();
    let octets = upstream().message().len();
    let entry = Upstream { opt: None, ..upstream() }.entry(&Bounds::NONE, now);
    assert!(entry.octets().len() <= octets, "a message and two octets for a TTL");
    assert_eq!(entry.octets().len(), 12 + 13 + 4 + 16 + 2);
}

mod properties {
    use hickory_proto::op::Message;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::cache::testing::authenticated;

    /// A record that any decoder takes: an address, a text, a CNAME record or one of an unknown type.
    fn any_record() -> impl Strategy<Value = Vec<u8>> {
        let owner =
            prop_oneof![Just(SELF.to_vec()), Just(b"\x02ns\xc0\x0c".to_vec()), Just(vec![0])];
        let data = prop_oneof![
            vec(any::<u8>(), 4).prop_map(|data| (1, data)),
            vec(any::<u8>(), 1..60).prop_map(|text| {
                (16, [&[u8::try_from(text.len()).unwrap()], &text[..]].concat())
            }),
            Just((5, SELF.to_vec())),
            vec(any::<u8>(), 1..20).prop_map(|data| (65280, data)),
        ];
        (owner, any::<u32>(), data)
            .prop_map(|(owner, ttl, (rtype, data))| record(&owner, rtype, ttl, &data))
    }

    fn any_upstream() -> impl Strategy<Value = Upstream> {
        let records = || vec(any_record(), 0..5);
        (records(), records(), records(), any::<bool>(), 0_u16..16).prop_map(
            |(answers, authorities, additionals, has_opt, rcode)| Upstream {
                answers,
                authorities: [authorities, vec![soa(600, 60)]].concat(),
                additionals,
                opt: has_opt.then(Vec::new),
                ..Upstream::empty(NAME, Qtype::A, Rcode(rcode))
            },
        )
    }

    /// Everything that no client may see change: header bits, names, types, classes, data.
    fn essence(message: &Message) -> impl PartialEq + fmt::Debug + use<> {
        let records = |section: &[hickory_proto::rr::Record]| {
            section
                .iter()
                .map(|record| (record.name.to_lowercase(), record.dns_class, record.data.clone()))
                .collect::<Vec<_>>()
        };
        (
            message.metadata.response_code,
            message.metadata.authoritative,
            [&message.answers, &message.authorities, &message.additionals].map(|s| records(s)),
        )
    }

    proptest! {
        #[test]
        fn a_cached_answer_is_the_upstreams_but_for_id_ttl_case_and_edns(
            upstream in any_upstream(),
            name in "[wW]{3}\\.[eE][xX][aA][mM]ple\\.",
            has_edns: bool,
            age in 0_u64..100,
        ) {
            let stored = Instant::now();
            let entry = upstream.entry(&Bounds::NONE, stored);
            let asked = asked(&name, has_edns.then_some((false, false)));
            let query = asked.query();

            let reply = written(&entry, &query, How::Cached, stored + after(age));

            let (sent, got) = (
                Message::from_vec(&upstream.message()).unwrap(),
                Message::from_vec(&reply).unwrap(),
            );
            prop_assert_eq!(essence(&sent), essence(&got));
            prop_assert_eq!(got.edns.is_some(), has_edns);
            prop_assert_eq!(got.metadata.id, 0x1234);
            prop_assert_eq!(&reply[12..12 + 13], query.question.name.as_wire());
            let fresh = ttls(&written(&entry, &query, How::Fresh, stored));
            let aged = fresh.iter().map(|ttl| ttl.saturating_sub(u32::try_from(age).unwrap()));
            prop_assert_eq!(ttls(&reply), aged.collect::<Vec<_>>());
            let lifetime = entry.lifetime().as_secs();
            let answer = Layout::of(&reply).unwrap();
            let decisive = Header::read(&reply).unwrap().counts;
            let decisive = usize::from(decisive[1] + decisive[2]);
            prop_assert!(answer.end <= reply.len());
            prop_assert!(
                entry.is_failure() || fresh[..decisive].iter().all(|ttl| lifetime <= u64::from(*ttl)),
                "nothing is kept for longer than its TTL"
            );
        }

        #[test]
        fn whatever_an_upstream_sends_the_reply_is_well_formed(octets: Vec<u8>, cut in 0_usize..200) {
            let mut message = upstream().message();
            message.truncate(cut.max(12));
            message.extend_from_slice(&octets);
            if Layout::of(&message).is_ok() {
                let asked = asked(NAME, Some((true, true)));
                let mut reply = relay(&asked.query(), message, true);
                truncate::fit(&mut reply, 512);
                prop_assert!(reply.len() <= 512);
                prop_assert!(Layout::of(&reply).is_ok());
            }
        }

        #[test]
        fn whatever_is_kept_can_be_given_out(octets: Vec<u8>, counts: [u8; 4], age: u32) {
            let mut message = Vec::new();
            Header { id: 9, flags: Header::QR, counts: counts.map(|count| u16::from(count % 3)) }.write(&mut message);
            message.extend_from_slice(&octets);
            if let Ok(layout) = Layout::of(&message) {
                let now = Instant::now();
                let question = Question::read(&message).map(|(question, _)| question);
                let name = question.as_ref().map_or(&[0][..], |question| question.name.as_wire());
                let key = Key {
                    name,
                    qtype: question.as_ref().map_or(Qtype::A, |question| question.qtype),
                    qclass: question.as_ref().map_or(Qclass(1), |question| question.qclass),
                    dnssec_ok: false,
                    checking_disabled: false,
                    scope: Scope(1),
                };
                let entry = Entry::of_upstream(&key, message.clone(), &layout, &authenticated(), &FAILURES, now);
                let asked = asked(NAME, Some((true, true)));
                written(&entry, &asked.query(), How::Cached, now + after(age.into()));
                let text = format!("{entry:?}");
                prop_assert!(text.starts_with("Entry("));
            }
        }
    }
}
