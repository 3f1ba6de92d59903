//! Negative answers that rules change, or make, are such as caches keep (RFC 2308).

use super::*;

/// The owners of SOA records of a denial with an SOA record, and its signature, of `zone`.
fn denied(rules: &Rules, asked: &str, answers: Vec<Record>, zone: &str) -> Vec<String> {
    let decision = decide(rules, asked);
    let mut response = Response::empty(decision.question.clone().unwrap());
    let soa = [&b"\x02ns"[..], b"\0\x02me\0", &[0; 20]].concat();
    let signature = [&[0, 6][..], &[0; 16], b"\0signature"].concat();
    let authorities = vec![record(zone, Qtype::SOA, &soa), record(zone, Qtype(46), &signature)];
    response.sections = [answers, authorities, vec![]];
    let mut rcode = Rcode::NXDOMAIN;

    undo(&decision.steps, &mut response, &mut rcode).unwrap();

    assert_eq!(rcode, Rcode::NXDOMAIN);
    response.sections[1].iter().map(|it| format!("{} {}", it.owner, it.rtype)).collect()
}

#[test]
fn denials_are_by_a_zone_that_has_the_name_that_was_asked() {
    let suffix = "suffix: [.old.example]}}, rewrite: {name: .new.example";
    let zone = "zone: [old.example]}}, rewrite: {name: new.test";
    let cases = [
        // (why, rule, asked, zone, owner of the SOA record)
        ("the zone itself", suffix.to_owned(), "x.old.example.", "new.example.", "old.example."),
        (
            "the same with names in data",
            format!("{suffix}, answers: RestoreAll"),
            "x.old.example.",
            "new.example.",
            "old.example.",
        ),
        ("a zone in it", suffix.to_owned(), "a.b.old.example.", "b.new.example.", "b.old.example."),
        ("by labels", zone.to_owned(), "x.old.example.", "new.test.", "old.example."),
        (
            "a zone that has the new names alone",
            zone.to_owned(),
            "x.old.example.",
            "test.",
            "x.old.example.",
        ),
        (
            "the root, where an ending was left out",
            "suffix: [.lan]}}, rewrite: {name: ., answers: RestoreAll".to_owned(),
            "x.lan.",
            ".",
            "lan.",
        ),
        (
            "a name alone",
            "exact: [a.example]}}, rewrite: {name: b.test".to_owned(),
            "a.example.",
            "test.",
            "a.example.",
        ),
        (
            "the name itself",
            "exact: [a.example]}}, rewrite: {name: b.test".to_owned(),
            "a.example.",
            "b.test.",
            "a.example.",
        ),
    ];

    for (why, rule, asked, zone, owner) in cases {
        let rules = rules(&format!("{{name: r, match: {{names: {{{rule}}}}}"));
        assert_eq!(denied(&rules, asked, vec![], zone), [format!("{owner} SOA")], "{why}");
    }
}

#[test]
fn denials_by_a_zone_that_has_the_name_stay_with_their_signatures() {
    let cases = [
        ("a zone that has both names", "", "example."),
        ("names stay", ", answers: Keep", "new.example."),
    ];

    for (why, answers, zone) in cases {
        let rules = rules(&format!(
            "{{name: r, match: {{names: {{exact: [a.old.example]}}}}, rewrite: {{name: b.new.example{answers}}}}}"
        ));
        let stays = [format!("{zone} SOA"), format!("{zone} RRSIG")];
        assert_eq!(denied(&rules, "a.old.example.", vec![], zone), stays, "{why}");
    }
}

#[test]
fn a_denial_behind_an_alias_is_about_its_target() {
    let alias = |target| vec![record("x.new.example.", Qtype::CNAME, target)];
    let cases: [(_, _, &[u8], _, _); 4] = [
        // (why, more of the rule, target, zone, owner of the SOA record)
        ("elsewhere", "", b"\x01y\x04test\0", "test.", "test."),
        ("not changed", "", b"\x01y\x03new\x07example\0", "new.example.", "new.example."),
        (
            "restored",
            ", answers: RestoreAll",
            b"\x01y\x03new\x07example\0",
            "new.example.",
            "old.example.",
        ),
        (
            "changed",
            ", answerValues: [{regex: '^y\\.', to: y.leg.test.}]",
            b"\x01y\x03new\x07example\0",
            "new.example.",
            "y.leg.test.",
        ),
    ];

    for (why, more, target, zone, owner) in cases {
        let rules = rules(&format!(
            "{{name: r, match: {{names: {{suffix: [.old.example]}}}}, rewrite: {{name: .new.example{more}}}}}"
        ));
        let authorities = denied(&rules, "x.old.example.", alias(target), zone);
        assert_eq!(authorities, [format!("{owner} SOA")], "{why}");
    }
}

#[test]
fn what_a_rule_takes_away_is_denied_at_the_end_of_the_aliases() {
    let to_b = || record("a.example.", Qtype::CNAME, b"\x01b\x04test\0");
    let address = |owner| record(owner, Qtype::AAAA, &[1; 16]);
    let soa = || record("example.", Qtype::SOA, &[0; 22]);
    let (gone, missing) = ("removeTypes: [AAAA]", "rcodes: [{from: REFUSED, to: NXDOMAIN}]");
    let found = "rcodes: [{from: SERVFAIL, to: NOERROR}]";
    let cases = [
        // (why, change, response code, answers, authorities, owner of the SOA record)
        ("the name", gone, Rcode::NOERROR, vec![address("a.example.")], vec![], Some("a.example.")),
        (
            "the end of the aliases",
            gone,
            Rcode::NOERROR,
            vec![to_b(), address("b.test.")],
            vec![],
            Some("b.test."),
        ),
        ("an error stays one", gone, Rcode::SERVFAIL, vec![], vec![], None),
        ("another code", missing, Rcode::REFUSED, vec![], vec![], Some("a.example.")),
        ("not that code", missing, Rcode::SERVFAIL, vec![], vec![], None),
        ("behind an alias", missing, Rcode::REFUSED, vec![to_b()], vec![], Some("b.test.")),
        ("one that is there", missing, Rcode::REFUSED, vec![], vec![soa()], Some("example.")),
        ("an answer with nothing", found, Rcode::SERVFAIL, vec![], vec![], Some("a.example.")),
        ("with something", found, Rcode::SERVFAIL, vec![address("a.example.")], vec![], None),
    ];

    for (why, change, mut rcode, answers, authorities, owner) in cases {
        let rules = rules(&format!(
            "{{name: r, match: {{names: {{zone: [example]}}}}, response: {{{change}, ttl: {{max: 7s}}}}}}"
        ));
        let decision = decide(&rules, "a.example. AAAA");
        let mut response = Response::empty(question("a.example. AAAA"));
        response.sections = [answers, authorities, vec![]];

        undo(&decision.steps, &mut response, &mut rcode).unwrap();

        let denials: Vec<_> = response.sections[1].iter().map(|it| it.owner.to_string()).collect();
        assert_eq!(denials, Vec::from_iter(owner), "{why}");
        assert!(response.sections[1].iter().all(|it| it.ttl <= 7), "{why}: the bounds hold");
    }
}

/// Where its alias leads to may be missing, but that would be taken for the name itself.
#[test]
fn a_name_with_records_of_its_own_is_not_denied_nor_is_what_its_alias_leads_to() {
    let rules = rules(
        "{name: own, match: {names: {exact: [a.example]}}, answer: {records: [A 10.0.0.9], otherTypes: Forward}}",
    );
    let alias = || record("a.example.", Qtype::CNAME, b"\x01b\x04test\0");
    let denials = [
        // (asked, answers, class, response code)
        ("A.example. AAAA", vec![], Qclass::IN, Rcode::NOERROR),
        ("A.example. AAAA", vec![alias()], Qclass::IN, Rcode::NOERROR),
        ("A.example. AAAA", vec![], Qclass(3), Rcode::NXDOMAIN),
        ("b.a.example. AAAA", vec![], Qclass::IN, Rcode::NXDOMAIN),
    ];
    for (name, answers, qclass, expected) in denials {
        let asked = Question { qclass, ..question(name) };
        let decision = rules.decide(&asked, [10, 0, 0, 1].into(), |_| {});
        let (why, mut rcode) = (format!("{name} {answers:?} {qclass:?}"), Rcode::NXDOMAIN);
        let mut response = Response::empty(asked);
        response.header.flags |= Header::AD;
        response.sections[0] = answers;

        undo(&decision.steps, &mut response, &mut rcode).unwrap();

        assert_eq!(rcode, expected, "{why}");
        let is_authentic = response.header.flags & Header::AD != 0;
        assert_eq!(is_authentic, expected == Rcode::NXDOMAIN, "{why}");
    }
}
