//! What all formats share.

use super::{source::MAX_SHOWN, testing::*, *};
use crate::config::reload::Fingerprint;

#[test]
fn names_are_found_in_each_format() {
    let cases: [(ListFormat, &str, &[&str], &[&str]); 3] = [
        // (format, text, listed, not listed)
        (
            ListFormat::Domains,
            "# a list\nAds.Example\n\n  b.example. # with a comment\n*.c.example\n.d.example\nxn--4ca.example\na\\046b.example\r\n",
            &[
                "ads.example",
                "ADS.EXAMPLE",
                "b.example",
                "c.example",
                "x.y.c.example",
                "d.example",
                "x.d.example",
                "xn--4ca.example",
                "a\\.b.example",
            ],
            &["x.ads.example", "example", "x.b.example", "c.example.net", "xc.example"],
        ),
        (
            ListFormat::Hosts,
            "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n0.0.0.0 0.0.0.0\n0.0.0.0 ads.example\tb.example # both\n255.255.255.255 broadcasthost\nfe80::1%lo0 localhost\n",
            &["ads.example", "b.example"],
            &["localhost", "broadcasthost", "ip6-localhost", "x.ads.example"],
        ),
        (ListFormat::Hosts, "127.0.0.1 localhost\n", &[], &["localhost"]),
    ];

    for (format, text, listed, others) in cases {
        let list = list(format, text);
        assert_eq!(list.problems().count, 0, "{format:?}: {:?}", list.problems());
        for name in listed {
            assert!(has(&list, name), "{format:?} {name}");
        }
        for name in others {
            assert!(!has(&list, name), "{format:?} {name}");
        }
    }
}

#[test]
fn a_bad_line_is_told_with_its_number_and_hides_no_other() {
    let cases = [
        (ListFormat::Domains, "a.example\nb..example\nc.example", 2, "empty label"),
        (ListFormat::Domains, "a.example\n||b.example^\nc.example", 2, "Adblock"),
        (ListFormat::Domains, "a.example\n0.0.0.0 b.example\nc.example", 2, "Hosts"),
        (ListFormat::Domains, "a.example\nb\u{e4}.example\nc.example", 2, "xn--"),
        (ListFormat::Domains, "a.example\nc.example\n192.0.2.1", 3, "address"),
        (ListFormat::Hosts, "0.0.0.0 a.example\nads.example\n0.0.0.0 c.example", 2, "no address"),
        (ListFormat::Hosts, "0.0.0.0 a.example b..example c.example", 1, "empty label"),
        (ListFormat::Hosts, "0.0.0.0 a.example c.example\n0.0.0.0", 2, "no name"),
        (ListFormat::Hosts, "a%b localhost\n0.0.0.0 a.example c.example", 1, "no address"),
    ];

    for (format, text, line, reason) in cases {
        let list = list(format, text);
        let Problems { count, first, sources } = list.problems();
        assert_eq!((*count, sources.len()), (1, 0), "{text}: {first:?}");
        assert_eq!(first[0].line, line, "{text}");
        assert!(first[0].reason.contains(reason), "{text}: {first:?}");
        assert!(has(&list, "a.example") && has(&list, "c.example"), "{text}");
    }
}

#[test]
fn of_many_bad_lines_the_first_are_shown_and_all_are_counted() {
    let list = list(ListFormat::Domains, &"a b\n".repeat(1000));

    assert_eq!(list.problems().count, 1000);
    assert_eq!(list.problems().first.len(), MAX_SHOWN);
    assert_eq!(list.len(), 0);
}

#[test]
fn a_source_that_is_missing_hides_no_other() {
    let missing = PathBuf::from("/nowhere/list");
    let sources = vec![
        Source::File(missing.clone(), Fingerprint::of(&missing)),
        Source::Inline("a.example".into()),
    ];
    let list = Arc::new(List::load("list", Origin { format: ListFormat::Domains, sources }));

    assert!(has(&list, "a.example"));
    assert!(list.problems().sources[0].starts_with("/nowhere/list: "), "{:?}", list.problems());
    assert_eq!(list.files().collect::<Vec<_>>(), [(&missing, None)]);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let path = PathBuf::from("/dev/zero");
    let sources = vec![Source::File(path.clone(), Fingerprint::of(&path))];
    let list = List::load("list", Origin { format: ListFormat::Domains, sources });

    assert_eq!(list.problems().sources, ["/dev/zero: not a file"]);
}

/// A bound that a test of a few seconds can hold: what it is in a release build stands in the README.
#[test]
fn names_need_little_more_than_their_octets() {
    let text: String = (0..100_000).map(|i| format!("host{i}.ads{}.example\n", i % 977)).collect();
    let list = list(ListFormat::Domains, &text);

    assert_eq!(list.len(), 100_000);
    assert!(list.names.memory() < text.len() + 100_000 * 12, "{}", list.names.memory());
}

#[test]
fn equal_texts_have_equal_fingerprints_and_others_do_not() {
    let zone = |data: &str| list(ListFormat::RPZ, &format!("a.example A {data}")).fingerprint();

    assert_eq!(zone("10.0.0.1"), zone("10.0.0.1"));
    assert_ne!(zone("10.0.0.1"), zone("10.0.0.2"), "another record");
    let names = |text: &str| list(ListFormat::Domains, text).fingerprint();
    assert_ne!(names("a.example"), names("*.a.example"), "another reach");
    assert_ne!(names("a.example"), names("b.example"), "another name");
}
