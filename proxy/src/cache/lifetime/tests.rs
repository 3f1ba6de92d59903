use tokio::time::Instant;

use super::*;
use crate::{
    cache::{
        Entry, How,
        testing::{Asked, SELF, Upstream, a, entry_for, key, record, soa, written},
    },
    message::{Header, Layout},
};

const BOUNDS: Bounds = Bounds { min_ttl: 0, max_ttl: 3600, negative_max_ttl: 300, failure_ttl: 5 };

fn cname(ttl: u32) -> Vec<u8> {
    record(SELF, 5, ttl, b"\x01b\x07example\0")
}

/// An address of the CNAME record's target, which stands at this offset when it is the first answer.
fn target(ttl: u32) -> Vec<u8> {
    record(b"\x01b\x07example\0", 1, ttl, &[192, 0, 2, 2])
}

fn ns(ttl: u32) -> Vec<u8> {
    record(&[0], 2, ttl, &[0])
}

fn upstream(rcode: Rcode, answers: &[Vec<u8>], authorities: &[Vec<u8>]) -> Upstream {
    Upstream {
        answers: answers.to_vec(),
        authorities: authorities.to_vec(),
        ..Upstream::empty("a.example.", Qtype::A, rcode)
    }
}

fn lifetime(upstream: &Upstream, bounds: &Bounds) -> u64 {
    upstream.entry(bounds, Instant::now()).lifetime().as_secs()
}

/// The TTLs that a client sees when the message just came, in order.
fn ttls(upstream: &Upstream, bounds: &Bounds) -> Vec<u32> {
    let now = Instant::now();
    let asked = Asked::new(&upstream.name, upstream.qtype, None);
    let reply = written(&upstream.entry(bounds, now), &asked.query(), How::Fresh, now);
    let start = Layout::of(&reply).unwrap().questions_end;
    read(&reply, start).iter().map(|record| record.ttl).collect()
}

#[test]
fn an_answer_lives_as_long_as_its_shortest_ttl() {
    use Rcode as R;
    let cases = [
        ("one record", upstream(R::NOERROR, &[a(60)], &[]), 60),
        ("the shorter of two", upstream(R::NOERROR, &[a(60), a(20)], &[]), 20),
        ("a CNAME record before it", upstream(R::NOERROR, &[cname(7), target(60)], &[]), 7),
        ("an authority record", upstream(R::NOERROR, &[a(60)], &[ns(9)]), 9),
        ("TTL 0 is for one answer (RFC 1035 3.2.1)", upstream(R::NOERROR, &[a(0)], &[]), 0),
        ("the top bit is 0 (RFC 2181 8)", upstream(R::NOERROR, &[a(0x8000_003c)], &[]), 0),
        ("all bits, too", upstream(R::NOERROR, &[a(u32::MAX)], &[]), 0),
        ("a TTL of years is cut", upstream(R::NOERROR, &[a(0x7fff_ffff)], &[]), 3600),
        ("YXDOMAIN is an answer (RFC 6672 2.2)", upstream(R::YXDOMAIN, &[cname(60)], &[]), 60),
        ("YXDOMAIN of which nothing tells the end", upstream(R::YXDOMAIN, &[], &[]), 0),
    ];

    for (why, upstream, expected) in cases {
        assert_eq!(lifetime(&upstream, &BOUNDS), expected, "{why}");
        assert!(!upstream.entry(&BOUNDS, Instant::now()).is_negative(), "{why}");
    }
}

/// A whole answer is kept, and no part of it may outlive its TTL: who asks for MX may use the address beside it.
#[test]
fn an_additional_record_shortens_an_answer() {
    for (ttl, expected) in [(7, 7), (61, 60), (0, 0)] {
        let additionals = vec![record(&[0], 1, ttl, &[192, 0, 2, 9])];
        let upstream = Upstream { additionals, ..Upstream::address("a.example.", 60) };

        assert_eq!(lifetime(&upstream, &BOUNDS), expected, "{ttl}");
    }
}

#[test]
fn a_denial_lives_as_long_as_its_soa_record_says() {
    let cases = [
        ("the TTL is the lesser (RFC 2308 5)", &[][..], vec![soa(30, 120)], 30),
        ("MINIMUM is the lesser", &[], vec![soa(120, 30)], 30),
        ("both are too long", &[], vec![soa(9000, 9000)], 300),
        ("MINIMUM 0", &[], vec![soa(60, 0)], 0),
        ("a TTL with the top bit", &[], vec![soa(u32::MAX, 60)], 0),
        ("MINIMUM with the top bit", &[], vec![soa(60, 0x8000_0000)], 0),
        ("a shorter CNAME record before it", &[cname(7)], vec![soa(60, 60)], 7),
        ("a longer CNAME record before it", &[cname(70)], vec![soa(60, 60)], 60),
        ("an SOA record behind others", &[], vec![ns(90), soa(60, 60)], 60),
        ("no SOA record: nothing says when it ends (RFC 2308 5)", &[], vec![], 0),
        ("NS records alone: a referral", &[], vec![ns(60)], 0),
        ("a CNAME record alone", &[cname(60)], vec![], 0),
    ];

    for (why, answers, authorities, expected) in cases {
        for rcode in [Rcode::NXDOMAIN, Rcode::NOERROR] {
            let upstream = upstream(rcode, answers, &authorities);
            assert_eq!(lifetime(&upstream, &BOUNDS), expected, "{rcode}: {why}");
            let entry = upstream.entry(&BOUNDS, Instant::now());
            assert!(entry.is_negative() || expected == 0, "{rcode}: {why}");
        }
    }
}

#[test]
fn an_soa_record_elsewhere_says_nothing() {
    let in_answers = upstream(Rcode::NOERROR, &[soa(60, 60)], &[]);
    assert_eq!(lifetime(&in_answers, &BOUNDS), 0);

    let additionals = vec![soa(60, 60)];
    let in_additionals = Upstream { additionals, ..upstream(Rcode::NXDOMAIN, &[], &[]) };
    assert_eq!(lifetime(&in_additionals, &BOUNDS), 0);
}

#[test]
fn what_was_asked_for_is_an_answer_in_the_answer_section_alone() {
    let elsewhere =
        Upstream { additionals: vec![a(60)], ..upstream(Rcode::NOERROR, &[], &[ns(60)]) };
    assert_eq!(lifetime(&elsewhere, &BOUNDS), 0, "the address of a name server is a referral's");
}

#[test]
fn an_soa_record_that_was_asked_for_is_an_answer() {
    let upstream = Upstream { qtype: Qtype::SOA, ..upstream(Rcode::NOERROR, &[soa(60, 5)], &[]) };
    assert_eq!(lifetime(&upstream, &BOUNDS), 60);
}

#[test]
fn clients_see_the_end_of_a_denial() {
    let with_proof = |soa| vec![soa, record(&[0], 47, 600, &[0, 0])];
    let short = Bounds { negative_max_ttl: 10, ..BOUNDS };
    let cases = [
        ("what proves it ends with it (RFC 9077 3)", &[][..], soa(600, 40), BOUNDS, vec![40, 40]),
        ("whichever of the two numbers is less", &[], soa(40, 600), BOUNDS, vec![40, 40]),
        ("our bound as well", &[], soa(600, 40), short, vec![10, 10]),
        ("the chain has its own TTL", &[cname(50)], soa(600, 40), BOUNDS, vec![50, 40, 40]),
    ];

    for (why, answers, soa, bounds, expected) in cases {
        let upstream = upstream(Rcode::NXDOMAIN, answers, &with_proof(soa));
        assert_eq!(ttls(&upstream, &bounds), expected, "{why}");
    }
}

#[test]
fn bounds_hold_for_what_is_kept_and_for_what_clients_see() {
    let bounds = |min_ttl, max_ttl| Bounds { min_ttl, max_ttl, ..BOUNDS };
    let (positive, negative) = (
        |ttl| upstream(Rcode::NOERROR, &[a(ttl)], &[]),
        |ttl| upstream(Rcode::NXDOMAIN, &[], &[soa(ttl, ttl)]),
    );
    let cases = [
        ("raised", positive(2), bounds(30, 3600), 30),
        ("TTL 0 is raised too", positive(0), bounds(30, 3600), 30),
        ("a top bit is 0, and raised", positive(u32::MAX), bounds(30, 3600), 30),
        ("lowered", positive(7200), bounds(0, 60), 60),
        ("the cap wins over the floor", positive(7200), bounds(90, 60), 60),
        ("a denial is not raised", negative(2), bounds(30, 3600), 2),
        ("a denial is lowered by its own bound", negative(7200), bounds(0, 3600), 300),
        ("and by the common one", negative(7200), bounds(0, 60), 60),
    ];

    for (why, upstream, bounds, expected) in cases {
        assert_eq!(lifetime(&upstream, &bounds), u64::from(expected), "{why}");
        assert_eq!(ttls(&upstream, &bounds), [expected], "{why}");
    }
}

/// What it stands for ends, and then the error does.
#[test]
fn an_error_that_was_chosen_here_lives_as_long_as_what_it_stands_for() {
    let cases = [
        ("a short denial", vec![], vec![soa(3, 60)], false, 3),
        ("a long one", vec![], vec![soa(60, 90)], false, 60),
        ("an address that ends soon", vec![a(2)], vec![], false, 2),
        ("nothing says when it ends", vec![], vec![], false, 5),
        ("upstreams failed", vec![], vec![soa(60, 90)], true, 5),
    ];

    for (why, answers, authorities, is_failure, expected) in cases {
        let upstream = Upstream { authorities, opt: None, ..Upstream::address("a.example.", 60) };
        let upstream = Upstream { answers, ..upstream };
        let asked = Asked::new(&upstream.name, upstream.qtype, None);
        let query = asked.query();
        let (code, message) = ((Rcode::REFUSED, is_failure), upstream.message());
        let entry = Entry::of_parts(&key(&query), code, message, &[], &BOUNDS, Instant::now());
        assert_eq!(entry.lifetime().as_secs(), expected, "{why}");
        assert_eq!(entry.is_failure(), is_failure, "{why}");
    }
}

#[test]
fn a_failure_lives_as_long_as_the_manifest_says() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NOTIMP, Rcode::FORMERR, Rcode(9)] {
        let failure = upstream(rcode, &[], &[soa(60, 60)]);
        assert_eq!(lifetime(&failure, &BOUNDS), 5, "{rcode} (RFC 9520 3.2)");
        assert_eq!(lifetime(&failure, &Bounds::NONE), 0, "{rcode} is not kept");
    }
}

#[test]
fn what_belongs_to_one_exchange_is_not_kept() {
    let mut truncated = Upstream::address("a.example.", 60);
    truncated.flags |= Header::TC;
    assert_eq!(lifetime(&truncated, &BOUNDS), 0, "there was more (RFC 2181 9)");

    let mut message = Upstream::address("a.example.", 60).message();
    let opt = Layout::of(&message).unwrap().opt.unwrap();
    message[opt.fields + 4] = 1;
    let asked = Asked::new("a.example.", Qtype::A, None);
    let (query, now) = (asked.query(), Instant::now());
    let entry = entry_for(&key(&query), message, &BOUNDS, now);
    assert_eq!(entry.lifetime().as_secs(), 0, "BADVERS is about EDNS with us");
}

#[test]
fn records_of_one_set_leave_with_one_ttl() {
    let cases = [
        ("the shortest (RFC 2181 5.2)", vec![a(60), a(20), a(40)], vec![20, 20, 20]),
        (
            "owners that are written in two ways",
            vec![a(60), record(b"\x01A\x07example\0", 1, 20, &[192, 0, 2, 3])],
            vec![20, 20],
        ),
        (
            "with others between them",
            vec![a(60), record(SELF, 16, 50, &[0]), a(20)],
            vec![20, 50, 20],
        ),
        ("other names have their own", vec![a(60), target(20)], vec![60, 20]),
        ("other types have their own", vec![cname(7), target(60), target(50)], vec![7, 50, 50]),
        (
            "signatures follow what they sign (RFC 4034 3)",
            vec![record(SELF, 46, 60, &[0]), record(SELF, 46, 20, &[0])],
            vec![60, 20],
        ),
    ];

    for (why, answers, expected) in cases {
        assert_eq!(ttls(&upstream(Rcode::NOERROR, &answers, &[]), &BOUNDS), expected, "{why}");
    }
}

#[test]
fn any_record_answers_any() {
    let upstream = Upstream {
        qtype: Qtype::ANY,
        ..upstream(Rcode::NOERROR, &[record(SELF, 13, 60, &[0, 0])], &[])
    };
    assert_eq!(lifetime(&upstream, &BOUNDS), 60);
}
