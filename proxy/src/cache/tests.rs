use std::{sync::Arc, time::Duration};

use prometheus_client::{encoding::text, registry::Registry};
use proptest::prelude::*;

use super::{
    testing::{Asked, SELF, Upstream, key, record, soa, written},
    *,
};
use crate::message::{Header, Name, Qclass, Qtype, Question, edns::ExtendedError};

const NAME: &str = "www.example.";
const BOUNDS: Bounds = Bounds { min_ttl: 0, max_ttl: 3600, negative_max_ttl: 300, failure_ttl: 5 };
const POLICY: Policy = Policy {
    stale: Some(StalePolicy { max_age: 1000, ttl: 30 }),
    prefetch: Some(PrefetchPolicy { min_hits: 3, remaining_percent: 10 }),
};

fn cache(capacity: u64) -> Cache {
    Cache::new(capacity, CacheMetrics::register(&mut Registry::default()))
}

fn after(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A cache that holds these messages, which came one second after the other.
fn cache_with(upstreams: &[Upstream], start: Instant) -> Cache {
    let cache = cache(1 << 20);
    for (second, upstream) in (0..).zip(upstreams) {
        cache.insert(&upstream.entry(&BOUNDS, start + after(second)));
    }
    cache
}

/// What is found, in a word and an rcode.
fn found(cache: &Cache, name: &str, qtype: Qtype, now: Instant) -> String {
    let asked = Asked::new(name, qtype, None);
    match cache.find(&key(&asked.query()), &POLICY, now) {
        Found::Fresh { entry, .. } => format!("fresh {}", entry.rcode()),
        Found::Stale(entry) => format!("stale {}", entry.rcode()),
        Found::Failure { failure, stale: None } => format!("failure {}", failure.rcode()),
        Found::Failure { failure, stale: Some(stale) } => {
            format!("failure {} stale {}", failure.rcode(), stale.rcode())
        }
        Found::Miss => "miss".to_owned(),
    }
}

fn address() -> Upstream {
    Upstream::address(NAME, 60)
}

fn nxdomain(ttl: u32) -> Upstream {
    Upstream::denial(NAME, Qtype::AAAA, Rcode::NXDOMAIN, ttl)
}

fn servfail() -> Upstream {
    Upstream::empty(NAME, Qtype::A, Rcode::SERVFAIL)
}

#[test]
fn an_answer_that_may_not_be_kept_ends_what_it_replaces() {
    let now = Instant::now();
    let without_soa = |rcode| Upstream::empty(NAME, Qtype::A, rcode);
    let block = Some(vec![ExtendedError::new(ExtendedError::BLOCKED, "")]);
    let blocked = Upstream { opt: block, ..without_soa(Rcode::REFUSED) };
    let part = Upstream { flags: Header::QR | Header::TC, ..address() };
    let cases = [
        ("a TTL of zero", Upstream::address(NAME, 0), "miss"),
        ("no such record, without an SOA", without_soa(Rcode::NOERROR), "miss"),
        ("no such name, without an SOA", without_soa(Rcode::NXDOMAIN), "miss"),
        ("a failure", servfail(), "failure SERVFAIL stale NOERROR"),
        ("a block (RFC 8914 section 4.16)", blocked, "fresh REFUSED"),
        ("a part of an answer", part, "stale NOERROR"),
    ];
    for (why, newer, expected) in cases {
        let cache = cache_with(&[address()], now);
        let later = now + after(100);
        assert_eq!(found(&cache, NAME, Qtype::A, later), "stale NOERROR", "{why}");

        cache.insert(&newer.entry(&BOUNDS, later));

        assert_eq!(found(&cache, NAME, Qtype::A, later), expected, "{why}");
    }

    let cache = cache_with(&[nxdomain(60)], now);
    let later = now + after(100);
    cache.insert(&Upstream::address(NAME, 0).entry(&BOUNDS, later));
    assert_eq!(found(&cache, NAME, Qtype::A, later), "miss", "the name is there again");
}

#[test]
fn an_answer_is_found_by_exactly_what_was_asked() {
    let now = Instant::now();
    let cache = cache_with(&[address()], now);
    let [name, upper, longer, other] = [NAME, "WWW.EXAMPLE.", "a.www.example.", "wwx.example."]
        .map(|text| text.parse::<Name<'_>>().unwrap());
    let own = Key {
        name: name.as_wire(),
        qtype: Qtype::A,
        qclass: Qclass::IN,
        dnssec_ok: false,
        checking_disabled: false,
        scope: Scope(1),
    };
    let cases = [
        ("the same", own, true),
        ("in another case (RFC 4343)", Key { name: upper.as_wire(), ..own }, true),
        ("another name", Key { name: other.as_wire(), ..own }, false),
        ("a name below it", Key { name: longer.as_wire(), ..own }, false),
        ("another type", Key { qtype: Qtype::AAAA, ..own }, false),
        ("another class (coredns#8272)", Key { qclass: Qclass::CH, ..own }, false),
        ("DO: with signatures (RFC 4035 3.2.1)", Key { dnssec_ok: true, ..own }, false),
        ("CD: not validated (AdGuardHome#4942)", Key { checking_disabled: true, ..own }, false),
        ("other rules or another route", Key { scope: Scope(2), ..own }, false),
    ];

    for (why, key, expected) in cases {
        let is_found = matches!(cache.find(&key, &POLICY, now), Found::Fresh { .. });
        assert_eq!(is_found, expected, "{why}");
    }
}

/// MaginotDNS: a forwarder kept records that stood beside an answer.
#[test]
fn records_beside_an_answer_answer_nothing() {
    let victim = b"\x06victim\x07example\0";
    let planted = vec![record(victim, 1, 60, &[192, 0, 2, 66])];
    let now = Instant::now();
    let cache = cache_with(
        &[Upstream {
            answers: [planted.clone(), address().answers].concat(),
            authorities: planted.clone(),
            additionals: planted,
            ..address()
        }],
        now,
    );

    assert_eq!(found(&cache, NAME, Qtype::A, now), "fresh NOERROR");
    assert_eq!(found(&cache, "victim.example.", Qtype::A, now), "miss");
}

/// CVE-2026-44687: NXDOMAIN of a parent hid a zone below it that is forwarded elsewhere.
#[test]
fn a_denial_says_nothing_of_names_below_it() {
    let now = Instant::now();
    let cache = cache_with(&[nxdomain(60)], now);

    assert_eq!(found(&cache, NAME, Qtype::A, now), "fresh NXDOMAIN");
    assert_eq!(found(&cache, "a.www.example.", Qtype::A, now), "miss");
}

#[test]
fn a_collision_of_hashes_is_a_miss() {
    let now = Instant::now();
    let cache = cache(1 << 20);
    let asked = Asked::new("victim.example.", Qtype::A, None);
    let query = asked.query();
    let hash = cache.hasher.base(&key(&query)).slot(Slot::Answer(Qtype::A));

    let other = Upstream::address("attacker.example.", 60).entry(&BOUNDS, now);
    cache.store.insert(hash, other, [None, None]);

    assert!(matches!(cache.find(&key(&query), &POLICY, now), Found::Miss));

    let own = Upstream::empty("victim.example.", Qtype::A, Rcode::SERVFAIL).entry(&BOUNDS, now);
    cache.store.insert(hash, own, [None, None]);
    let found = cache.find(&key(&query), &POLICY, now);
    assert!(matches!(found, Found::Miss), "a failure is no answer, wherever it is");
}

#[test]
fn what_comes_later_finds_its_place() {
    let chain = Upstream {
        answers: vec![record(SELF, 5, 60, b"\x01b\x07example\0")],
        authorities: vec![soa(60, 60)],
        ..Upstream::empty(NAME, Qtype::A, Rcode::NXDOMAIN)
    };
    let nodata = Upstream::denial(NAME, Qtype::A, Rcode::NOERROR, 60);
    let ipv6 = Upstream {
        answers: vec![record(SELF, 28, 60, &[0; 16])],
        ..Upstream::empty(NAME, Qtype::AAAA, Rcode::NOERROR)
    };
    let ds = Upstream::denial(NAME, Qtype::DS, Rcode::NXDOMAIN, 60);
    let without_soa = Upstream::empty(NAME, Qtype::A, Rcode::NXDOMAIN);
    let (a, aaaa, mx) = (Qtype::A, Qtype::AAAA, Qtype::MX);
    let cases = [
        // (why, what came, the type asked for, what is found 5 s after the first came)
        (
            "a name that does not exist has no type (RFC 2308 5)",
            vec![nxdomain(60)],
            mx,
            "fresh NXDOMAIN",
        ),
        ("NODATA is about one type", vec![nodata.clone()], a, "fresh NOERROR"),
        ("and not about another", vec![nodata], mx, "miss"),
        ("the end of a CNAME chain is about one type", vec![chain.clone()], a, "fresh NXDOMAIN"),
        ("and not about another", vec![chain.clone()], mx, "miss"),
        ("it ends no answer of another type", vec![nxdomain(60), chain], mx, "fresh NXDOMAIN"),
        ("a denial without SOA is not kept", vec![without_soa], a, "miss"),
        ("TTL 0 is not kept", vec![Upstream::address(NAME, 0)], a, "miss"),
        ("the parent zone denies DS, and no other type", vec![ds.clone()], a, "miss"),
        ("but DS it does", vec![ds], Qtype::DS, "fresh NXDOMAIN"),
        ("other types' denials say nothing of DS", vec![nxdomain(60)], Qtype::DS, "miss"),
        ("an answer shows that the name exists again", vec![nxdomain(60), address()], mx, "miss"),
        (
            "a denial ends the answer to what was asked",
            vec![ipv6, nxdomain(60)],
            aaaa,
            "fresh NXDOMAIN",
        ),
        (
            "and leaves others until their TTL ends",
            vec![address(), nxdomain(60)],
            a,
            "fresh NOERROR",
        ),
        ("a failure is remembered (RFC 9520 3.2)", vec![servfail()], a, "failure SERVFAIL"),
        ("for its type alone", vec![servfail()], mx, "miss"),
        ("it never shadows an answer", vec![address(), servfail()], a, "fresh NOERROR"),
        ("nor a denial", vec![nxdomain(60), servfail()], a, "fresh NXDOMAIN"),
        (
            "nor a stale answer",
            vec![Upstream::address(NAME, 2), servfail()],
            a,
            "failure SERVFAIL stale NOERROR",
        ),
        ("nor a stale denial", vec![nxdomain(2), servfail()], a, "failure SERVFAIL stale NXDOMAIN"),
        ("an answer ends it", vec![servfail(), Upstream::address(NAME, 1)], a, "stale NOERROR"),
        (
            "the newest of two stale answers counts",
            vec![Upstream::address(NAME, 1), nxdomain(1)],
            a,
            "stale NXDOMAIN",
        ),
    ];

    for (why, upstreams, qtype, expected) in cases {
        let start = Instant::now();
        let cache = cache_with(&upstreams, start);
        assert_eq!(
            found(&cache, NAME, qtype, start + after(5) - Duration::from_millis(1)),
            expected,
            "{why}"
        );
    }
}

#[test]
fn the_newest_stale_answer_counts_whichever_it_is() {
    let start = Instant::now();
    let cache = cache_with(&[nxdomain(1)], start);
    // Put there directly: an answer that comes in the ordinary way ends the denial.
    let answer = Upstream::address(NAME, 1).entry(&BOUNDS, start + after(1));
    let base = cache.hasher.base(&answer.key());
    cache.store.insert(base.slot(answer.slot()), answer, [None, None]);

    assert_eq!(found(&cache, NAME, Qtype::A, start + after(5)), "stale NOERROR");
}

#[test]
fn entries_end_and_stay_for_bad_times() {
    let start = Instant::now();
    let cache = cache_with(&[address()], start);
    let asked = Asked::new(NAME, Qtype::A, None);
    let cases = [
        ("in its time", 59, "fresh NOERROR"),
        ("at its end", 60, "stale NOERROR"),
        ("the last moment", 60 + 999, "stale NOERROR"),
        ("too old", 60 + 1000, "miss"),
    ];

    for (why, seconds, expected) in cases {
        assert_eq!(found(&cache, NAME, Qtype::A, start + after(seconds)), expected, "{why}");
    }
    let found = cache.find(&key(&asked.query()), &Policy::default(), start + after(61));
    assert!(matches!(found, Found::Miss), "without a policy nothing is stale");
}

#[test]
fn a_remembered_failure_ends() {
    let start = Instant::now();
    let cache = cache_with(&[servfail()], start);

    assert_eq!(found(&cache, NAME, Qtype::A, start + after(4)), "failure SERVFAIL");
    assert_eq!(found(&cache, NAME, Qtype::A, start + after(5)), "miss");
}

#[test]
fn renewal_is_told_to_one_of_those_who_ask() {
    let start = Instant::now();
    let cache = cache_with(&[address()], start);
    let asked = Asked::new(NAME, Qtype::A, None);
    let refresh = |second| {
        let found = cache.find(&key(&asked.query()), &POLICY, start + after(second));
        matches!(found, Found::Fresh { refresh: true, .. })
    };

    assert_eq!((0..50).filter(|second| refresh(*second)).count(), 0, "there is time yet");
    assert_eq!((54..60).filter(|second| refresh(*second)).count(), 1, "in the last tenth, once");
}

#[test]
fn without_a_policy_nothing_is_renewed() {
    let start = Instant::now();
    let cache = cache_with(&[address()], start);
    let asked = Asked::new(NAME, Qtype::A, None);
    for second in 0..60 {
        let found = cache.find(&key(&asked.query()), &Policy::default(), start + after(second));
        assert!(matches!(found, Found::Fresh { refresh: false, .. }));
    }
}

#[test]
fn hits_misses_and_evictions_are_counted() {
    let mut registry = Registry::default();
    let start = Instant::now();
    let cache = Cache::new(1 << 20, CacheMetrics::register(&mut registry));
    cache.insert(&address().entry(&BOUNDS, start));
    let failure = Upstream::empty("fails.example.", Qtype::A, Rcode::SERVFAIL);
    cache.insert(&failure.entry(&BOUNDS, start));

    found(&cache, NAME, Qtype::A, start);
    found(&cache, "fails.example.", Qtype::A, start);
    found(&cache, "other.example.", Qtype::A, start);
    found(&cache, NAME, Qtype::A, start + after(61));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (2, 2), "a stale answer is not a hit yet");
    cache.insert(&address().entry(&BOUNDS, start));
    assert_eq!((stats.entries, stats.evictions), (2, 0), "what is replaced is not evicted");

    cache.set_capacity(0);

    let mut written = String::new();
    text::encode(&mut written, &registry).unwrap();
    for line in [
        "dnsproxy_cache_hits_total 2\n",
        "dnsproxy_cache_misses_total 2\n",
        "dnsproxy_cache_evictions_total 2\n",
        "dnsproxy_cache_bytes 0\n",
        "dnsproxy_cache_entries 0\n",
    ] {
        assert!(written.contains(line), "{line} in {written}");
    }
}

proptest! {
    /// Few names, types and scopes, so that they meet; half of them in another case.
    #[test]
    fn nobody_gets_the_answer_to_another_question(
        steps in proptest::collection::vec((0_u8..6, 0_u8..3, 0_u8..2, any::<bool>(), any::<bool>(), 0_u8..4), 1..80),
    ) {
        let cache = cache(64 << 10);
        let start = Instant::now();
        for (second, (name, qtype, scope, is_upper, is_insert, kind)) in (0..).zip(steps) {
            let now = start + after(second / 8);
            let name = ["a.example.", "b.example.", "a.b.example.", "ab.example.", "x.", "."][usize::from(name)];
            let name = if is_upper { name.to_uppercase() } else { name.to_owned() };
            let qtype = [Qtype::A, Qtype::AAAA, Qtype::DS][usize::from(qtype)];
            let asked = Asked::new(&name, qtype, None);
            let query = asked.query();
            let key = Key { scope: Scope(scope.into()), ..key(&query) };
            if is_insert {
                cache.insert(&labelled(&key, kind, now));
            } else if let Some(entry) = anything(cache.find(&key, &POLICY, now)) {
                let reply = written(&entry, &query, How::Cached, now);
                let (question, end) = Question::read(&reply).unwrap();
                prop_assert_eq!(&question, &query.question);
                let label = label(&key);
                prop_assert!(
                    reply[end..].windows(label.len()).any(|window| window == label)
                        || entry.is_failure() || entry.slot() == Slot::Denial && entry.key().name.eq_ignore_ascii_case(key.name),
                );
            }
        }
    }
}

fn anything(found: Found) -> Option<Entry> {
    match found {
        Found::Fresh { entry, .. } | Found::Stale(entry) => Some(entry),
        Found::Failure { failure, .. } => Some(failure),
        Found::Miss => None,
    }
}

/// What only the answer to this question contains.
fn label(key: &Key<'_>) -> Vec<u8> {
    let fixed = [u8::try_from(key.qtype.0).unwrap(), u8::try_from(key.scope.0).unwrap(), b'#'];
    [&fixed[..], &key.name.to_ascii_lowercase()].concat()
}

/// An answer, a denial or a failure for `key`, with its label in the data of a record.
fn labelled(key: &Key<'_>, kind: u8, now: Instant) -> Entry {
    let (name, _) = Name::read(key.name, 0).unwrap();
    let rcode = if kind == 1 { Rcode::NXDOMAIN } else { Rcode::NOERROR };
    let mut upstream = Upstream::denial(&name.to_string(), key.qtype, rcode, 3);
    if kind == 0 {
        upstream.answers = vec![record(SELF, key.qtype.0, 2, &label(key))];
    }
    if kind == 3 {
        return Entry::of_failure(key, Rcode::SERVFAIL, &[], &BOUNDS, now);
    }
    upstream.authorities.push(record(&[0], 65280, 3, &label(key)));
    testing::entry_for(key, upstream.message(), &BOUNDS, now)
}

#[test]
fn threads_that_evict_each_others_entries_never_mix_answers() {
    let cache = Arc::new(cache(128 << 10));
    let now = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let cache = &cache;
            scope.spawn(move || {
                let mut hits = 0;
                for step in 0..5_000_u32 {
                    let number = step.wrapping_mul(2_654_435_761).rotate_left(thread) % 2048;
                    let asked = Asked::new(&format!("n{number}.example."), Qtype::A, None);
                    let query = asked.query();
                    let key = key(&query);
                    match anything(cache.find(&key, &POLICY, now)) {
                        None => cache.insert(&labelled(&key, 0, now)),
                        Some(entry) => {
                            hits += 1;
                            let reply = written(&entry, &query, How::Cached, now);
                            let label = label(&key);
                            assert!(reply.windows(label.len()).any(|window| window == label));
                        }
                    }
                }
                assert!(hits > 0, "some were found");
            });
        }
    });
    assert!(cache.stats().evictions > 0, "some had to go");
    assert!(cache.stats().bytes <= 128 << 10);
}
