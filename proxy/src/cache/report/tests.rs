use std::time::Duration;

use prometheus_client::registry::Registry;

use super::*;
use crate::{
    cache::{
        Bounds, CacheMetrics,
        testing::{Asked, Upstream, key},
        weight::SLOT,
    },
    message::Rcode,
};

const BOUNDS: Bounds = Bounds { failure_ttl: 5, ..Bounds::NONE };

/// Names as an upstream might spell them.
fn cache(now: Instant) -> Cache {
    let cache = Cache::new(1 << 20, CacheMetrics::register(&mut Registry::default()));
    let denial = |name, qtype, rcode| Upstream::denial(name, qtype, rcode, 60);
    for upstream in [
        Upstream::address("example.", 60),
        Upstream::address("www.Example.", 60),
        Upstream::address("badexample.", 60),
        Upstream { qtype: Qtype::MX, ..denial("www.example.", Qtype::MX, Rcode::NOERROR) },
        denial("no.example.", Qtype::AAAA, Rcode::NXDOMAIN),
        Upstream::empty("fails.example.", Qtype::A, Rcode::SERVFAIL),
    ] {
        cache.insert(&upstream.entry(&BOUNDS, now));
    }
    cache
}

fn name(text: &str) -> Option<Name<'static>> {
    Some(text.parse().unwrap())
}

#[test]
fn a_filter_means_what_all_that_is_given_holds_for() {
    let all = Filter::default();
    let cases = [
        ("nothing given is everything", all.clone(), 6),
        ("a name, in whatever case", Filter { name: name("WWW.example."), ..all.clone() }, 2),
        (
            "a zone has itself and what is below, by labels",
            Filter { zone: name("example."), ..all.clone() },
            5,
        ),
        ("the root has everything", Filter { zone: name("."), ..all.clone() }, 6),
        ("a type, and what denies all types", Filter { qtype: Some(Qtype::MX), ..all.clone() }, 2),
        (
            "A: three answers, a failure, and the denial",
            Filter { qtype: Some(Qtype::A), ..all.clone() },
            5,
        ),
        ("what says no", Filter { negative: true, ..all.clone() }, 3),
        (
            "a name and a type",
            Filter { name: name("www.example."), qtype: Some(Qtype::A), ..all.clone() },
            1,
        ),
        (
            "a name outside of the zone",
            Filter { name: name("a."), zone: name("b."), ..all.clone() },
            0,
        ),
        (
            "what says no of a zone and a type",
            Filter { zone: name("example."), qtype: Some(Qtype::MX), negative: true, ..all },
            2,
        ),
    ];

    for (why, filter, expected) in cases {
        let now = Instant::now();
        let cache = cache(now);
        assert_eq!(cache.entries(&filter, 100, now).len(), expected, "{why}");
        assert_eq!(cache.flush(&filter), expected, "{why}");
        assert_eq!(cache.entries(&filter, 100, now), [], "{why}: they are gone");
        let rest = u64::try_from(6 - expected).unwrap();
        assert_eq!(cache.stats().entries, rest, "{why}: the others are not");
    }
}

#[test]
fn there_are_no_more_reports_than_are_wanted() {
    let now = Instant::now();
    assert_eq!(cache(now).entries(&Filter::default(), 4, now).len(), 4);
}

#[test]
fn a_report_tells_what_an_entry_is() {
    let start = Instant::now();
    let cache = cache(start);
    let asked = Asked::new("www.example.", Qtype::A, None);
    cache.find(&key(&asked.query()), &crate::cache::Policy::default(), start);
    let now = start + Duration::from_secs(61);
    let report = |text, qtype| {
        let filter = Filter { name: name(text), qtype: Some(qtype), ..Filter::default() };
        serde_json::to_value(&cache.entries(&filter, 1, now)[0]).unwrap()
    };

    let expected = serde_json::json!({
        "name": "www.Example.", "qtype": "A", "rcode": "NOERROR", "age": 61, "remaining": -1, "hits": 1,
        "bytes": 112 + SLOT, "dnssecOk": false, "checkingDisabled": false, "scope": "0000000000000001",
    });
    assert_eq!(report("www.example.", Qtype::A), expected);
    assert_eq!(report("no.example.", Qtype::MX)["qtype"], "*", "it answers every type");
    assert_eq!(report("fails.example.", Qtype::A)["rcode"], "SERVFAIL");
}

#[test]
fn stats_tell_of_the_cache_as_a_whole() {
    let cache = cache(Instant::now());
    let stats = serde_json::to_value(cache.stats()).unwrap();
    assert_eq!((&stats["entries"], &stats["capacity"]), (&6.into(), &(1 << 20).into()));
    assert!(stats["bytes"].as_u64().unwrap() > 6 * 150);
    for number in ["hits", "misses", "evictions"] {
        assert_eq!(stats[number], 0, "{number}");
    }
}
