//! What rules decide, and what becomes of answers.

use dnsproxy_api::{manifest, validate::Place};
use proptest::prelude::*;

use super::{answer::undo, *};
use crate::message::{
    Header, Name, Rcode,
    response::{Data, Record, Response},
};

mod denials;

/// Compiles `spec.rules`, in YAML's flow style, without its outer brackets.
fn rules(text: &str) -> Rules {
    let manifest = format!(
        "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {{name: edge}}\nspec:\n  upstreams: [{{name: a, addresses: [192.0.2.1]}}]\n  routes: [{{name: r, zones: [.], upstreams: [a]}}, {{name: lab, upstreams: [a]}}]\n  rules: [{text}]\n"
    );
    let proxy = manifest::read_one(&manifest, Place::File).unwrap_or_else(|problems| {
        panic!("{text}: {problems:?}");
    });
    Rules::compile(proxy.spec.rules.as_deref().unwrap(), &[], 0).unwrap()
}

fn question(text: &str) -> Question<'static> {
    let (name, qtype) = text.split_once(' ').unwrap_or((text, "A"));
    let qtype = Qtype::from_text(qtype).unwrap();
    Question { name: name.parse().unwrap(), qtype, qclass: Qclass::IN }
}

fn decide(rules: &Rules, asked: &str) -> Decision {
    rules.decide(&question(asked), [10, 0, 0, 1].into(), |_| {})
}

/// What is done, in one line.
fn verdict(rules: &Rules, asked: &str) -> String {
    let decision = decide(rules, asked);
    let done = match &decision.verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Forward(route) => format!("forward {route}"),
        Verdict::Block { rule, with } => format!("block {rule} {}", with.word()),
        Verdict::Answer { rule, given } => format!("answer {rule} {}", given.records.len()),
        Verdict::Failed { rule, text } => format!("failed {rule} {text}"),
    };
    match &decision.question {
        Some(question) => format!("{done} {} {}", question.name, question.qtype),
        None => done,
    }
}

#[test]
fn the_first_rule_that_decides_ends() {
    let rules = rules(
        "{name: keep, match: {names: {exact: [good.ads.example]}}, allow: {}}, \
         {name: ads, match: {names: {zone: [ads.example]}}, block: {}}, \
         {name: lab, match: {names: {subdomain: [lab.example]}, clients: [10.0.0.0/8]}, forward: {route: lab}}, \
         {name: v6, match: {types: [AAAA], clients: [192.0.2.0/24]}, block: {with: NODATA}}, \
         {name: printer, match: {names: {exact: [printer.example]}}, answer: {records: [A 10.0.0.9]}}, \
         {name: rest, match: {names: {exact: [a.example, b.example]}}, answer: {records: [A 10.0.0.9], otherTypes: Forward}}, \
         {name: short, match: {names: {maxLabels: 1}}, block: {with: REFUSED}}",
    );
    let cases = [
        ("allow comes before block", "good.ads.example.", "pass"),
        ("the zone itself", "ADS.example.", "block ads NXDOMAIN"),
        ("below it", "x.ads.example.", "block ads NXDOMAIN"),
        ("another name with the same ending", "bads.example.", "pass"),
        ("names and clients both match", "x.lab.example.", "forward lab"),
        ("the parent of subdomains", "lab.example.", "pass"),
        ("another client", "x.example. AAAA", "pass"),
        ("records", "printer.example.", "answer printer 1"),
        ("no records of the type", "printer.example. TXT", "answer printer 0"),
        ("records, with other types left to others", "a.example.", "answer rest 1"),
        ("another type", "b.example. TXT", "pass"),
        ("a host name alone", "printer.", "block short REFUSED"),
    ];

    for (why, asked, expected) in cases {
        assert_eq!(verdict(&rules, asked), expected, "{why}");
    }
}

#[test]
fn a_rewrite_replaces_the_part_that_matched() {
    let cases = [
        // (rule, asked, expected)
        ("exact: [a.example]}}, rewrite: {name: b.example", "A.example.", "pass b.example. A"),
        (
            "zone: [old.example]}}, rewrite: {name: new.example",
            "x.old.example.",
            "pass x.new.example. A",
        ),
        (
            "zone: [old.example]}}, rewrite: {name: new.example",
            "old.example.",
            "pass new.example. A",
        ),
        ("zone: [example, old.example]}}, rewrite: {name: new", "x.old.example.", "pass x.new. A"),
        ("subdomain: [old.example]}}, rewrite: {name: .", "x.old.example.", "pass x. A"),
        ("prefix: [foo]}}, rewrite: {name: bar", "foo.example.com.", "pass bar.example.com. A"),
        ("prefix: [foo.]}}, rewrite: {name: bar.", "foo.example.com.", "pass bar.example.com. A"),
        ("prefix: [foo.]}}, rewrite: {name: \"\"", "foo.example.com.", "pass example.com. A"),
        ("suffix: [com]}}, rewrite: {name: org", "foo.example.com.", "pass foo.example.org. A"),
        ("suffix: [.com.]}}, rewrite: {name: .org", "foo.example.com.", "pass foo.example.org. A"),
        (
            "suffix: [.ingress.rocks]}}, rewrite: {name: nginx.rocks",
            "core.ingress.rocks.",
            "pass corenginx.rocks. A",
        ),
        ("substring: [service]}}, rewrite: {name: svc", "a.service.service.", "pass a.svc.svc. A"),
        (
            "regex: ['^(.*)\\.(old)\\.example\\.$']}}, rewrite: {name: \"{1}.new-{2}.example\"",
            "x.y.old.example.",
            "pass x.y.new-old.example. A",
        ),
        ("exact: [a.example]}}, rewrite: {type: HTTPS", "a.example.", "pass a.example. HTTPS"),
        (
            "prefix: [a]}}, rewrite: {name: b..",
            "a.example.",
            "failed r a name that is none: b...example.",
        ),
    ];

    for (rule, asked, expected) in cases {
        let rules = rules(&format!("{{name: r, match: {{names: {{{rule}}}}}"));
        assert_eq!(verdict(&rules, asked), expected, "{rule}");
    }
}

#[test]
fn a_name_that_becomes_too_long_is_an_error() {
    let rules = rules(
        "{name: r, match: {names: {zone: [s]}}, rewrite: {name: a-long-ending-of-a-name.example}}",
    );
    let label = "x".repeat(60);
    let asked = format!("{label}.{label}.{label}.{label}.s.");

    assert!(verdict(&rules, &asked).starts_with("failed r a name that is none: xxx"));
}

#[test]
fn later_rules_of_the_same_kind_are_skipped_unless_it_goes_on() {
    let chain = |then: &str| {
        rules(&format!(
            "{{name: one, match: {{names: {{exact: [a.example]}}}}, rewrite: {{name: b.example}}{then}}}, \
             {{name: two, match: {{names: {{exact: [b.example]}}}}, rewrite: {{name: c.example}}}}, \
             {{name: out, match: {{names: {{exact: [b.example]}}}}, forward: {{route: lab}}}}"
        ))
    };

    assert_eq!(verdict(&chain(""), "a.example."), "forward lab b.example. A");
    assert_eq!(verdict(&chain(", then: Continue"), "a.example."), "pass c.example. A");
}

#[test]
fn no_alias_leads_around_a_block() {
    // CVE-2026-26017: CoreDNS looked at the rules of access before it rewrote the name.
    let alias = "{name: alias, match: {names: {exact: [y.example]}}, rewrite: {name: x.example}}";
    let own =
        "{name: own, match: {names: {exact: [z.example]}}, answer: {records: [CNAME x.example.]}}";
    let block = "{name: no, match: {names: {exact: [x.example]}}, block: {}}";
    let cases = [
        ("block before the rewrite", format!("{block}, {alias}"), "block no NXDOMAIN"),
        ("block after the rewrite", format!("{alias}, {block}"), "block no NXDOMAIN"),
        (
            "allow before block",
            format!(
                "{{name: yes, match: {{names: {{exact: [x.example]}}}}, allow: {{}}}}, {block}, {alias}"
            ),
            "pass",
        ),
        (
            "allow of the name that was asked says nothing about the other",
            format!(
                "{{name: yes, match: {{names: {{exact: [w.example]}}}}, allow: {{}}}}, {block}, {alias}"
            ),
            "block no NXDOMAIN",
        ),
    ];

    for (why, text, expected) in cases {
        let decided = verdict(&rules(&text), "y.example.");
        assert_eq!(decided, format!("{expected} x.example. A"), "{why}");
    }
    assert_eq!(verdict(&rules(&format!("{own}, {block}")), "z.example."), "block no NXDOMAIN");
    let answer = "{name: a, match: {names: {exact: [x.example]}}, answer: {records: [A 10.0.0.9]}}";
    let decided = verdict(&rules(&format!("{block}, {alias}, {answer}")), "y.example.");
    assert_eq!(decided, "block no NXDOMAIN x.example. A", "an answer is no way around it either");
    let allowed = "{name: yes, match: {names: {exact: [x.example]}}, allow: {}}";
    let late = "{name: late, match: {names: {zone: [example]}}, block: {}}";
    let decided = verdict(&rules(&format!("{allowed}, {alias}, {late}")), "y.example.");
    assert_eq!(decided, "pass x.example. A", "what is allowed first is not blocked later");
}

#[test]
fn rules_answer_and_forward_the_targets_of_aliases() {
    let rules = rules(
        "{name: alias, match: {names: {exact: [alias.example]}}, answer: {records: [CNAME real.example]}}, \
         {name: real, match: {names: {exact: [real.example]}}, answer: {records: [A 10.0.0.9], otherTypes: Forward}}, \
         {name: lab, match: {names: {zone: [lab.example]}}, forward: {route: lab}}, \
         {name: out, match: {names: {exact: [out.example]}}, answer: {records: [CNAME x.lab.example]}}",
    );
    let given = |asked| match decide(&rules, asked).verdict {
        Verdict::Answer { given, .. } => {
            (given.records.len(), given.route.map(|it| it.to_string()))
        }
        other => panic!("{other:?}"),
    };

    assert_eq!(given("alias.example."), (2, None));
    assert_eq!(given("alias.example. TXT"), (1, None), "the rule leaves other types to others");
    assert_eq!(given("out.example."), (1, Some("lab".into())));
    let target = |name: &str| rules.decide_target(&question(name)).verdict;
    assert!(matches!(target("real.example."), Verdict::Answer { .. }));
    assert!(matches!(target("x.lab.example."), Verdict::Forward(_)));
    assert!(matches!(target("other.example."), Verdict::Pass));
}

#[test]
fn records_that_are_taken_out_take_their_signatures_along() {
    let rules = rules("{name: v4, match: {names: {zone: [.]}}, response: {removeTypes: [AAAA]}}");
    let decision = decide(&rules, "a.example. AAAA");
    let mut response = Response::empty(question("a.example. AAAA"));
    response.header.flags |= Header::AA | Header::AD;
    let signature = [&[0, 28][..], &[0; 16], b"\x07example\0", b"signature"].concat();
    response.sections[0] = vec![
        record("a.example.", Qtype::AAAA, &[1; 16]),
        record("a.example.", Qtype(46), &signature),
    ];
    let mut rcode = Rcode::NOERROR;

    undo(&decision.steps, &mut response, &mut rcode).unwrap();

    assert_eq!((response.sections[0].len(), response.sections[1].len()), (0, 1), "a denial");
    let told = response.header.flags & (Header::AA | Header::AD);
    assert_eq!(told, 0, "nobody said or signed that there is nothing");
}

#[test]
fn hints_of_addresses_that_are_taken_out_go_with_the_signatures_of_their_records() {
    let (https, rrsig) = (Qtype(65), Qtype(46));
    let signature = |covered: u8| [&[0, covered][..], &[0; 16], b"\0signature"].concat();
    let (v4, v6) = (&b"\0\x04\0\x04\xc0\0\x02\x01"[..], &[&b"\0\x06\0\x10"[..], &[1; 16]].concat());
    let with = |hints: &[&[u8]]| [&b"\0\x01\0"[..], &hints.concat()].concat();
    let cases = [
        // (types that are taken out, hints that are left, whether the record is still signed)
        ("AAAA", vec![v4], false),
        ("A", vec![v6], false),
        ("AAAA, A", vec![], false),
        ("TXT", vec![v4, v6], true),
    ];

    for (types, hints, is_signed) in cases {
        let rules = rules(&format!(
            "{{name: r, match: {{names: {{zone: [.]}}}}, response: {{removeTypes: [{types}]}}}}"
        ));
        let decision = decide(&rules, "a.example. HTTPS");
        let mut response = Response::empty(question("a.example. HTTPS"));
        response.sections[0] = vec![
            record("a.example.", https, &with(&[v4, v6])),
            record("a.example.", rrsig, &signature(65)),
            record("b.example.", rrsig, &signature(65)),
            record("a.example.", rrsig, &signature(5)),
        ];

        let mut rcode = Rcode::NOERROR;
        undo(&decision.steps, &mut response, &mut rcode).unwrap();

        let [answers, authorities, _] = response.sections;
        assert_eq!(answers[0], record("a.example.", https, &with(&hints)), "{types}");
        assert_eq!(answers.len(), if is_signed { 4 } else { 3 }, "{types}: others stay signed");
        assert_eq!(authorities, [], "{types}: it is no denial");
    }
}

#[test]
fn templates_take_the_name_and_its_groups() {
    let rules = rules(
        "{name: synth, match: {names: {regex: ['^ip-(\\d+)-(\\d+)\\.example\\.$']}}, \
          answer: {records: [\"5 A 192.0.{1}.{2}\", 'TXT \"{name}\"']}}",
    );

    let Verdict::Answer { given, .. } = decide(&rules, "ip-2-7.example.").verdict else { panic!() };
    assert_eq!(given.records[0].data, Data::opaque(vec![192, 0, 2, 7]));
    assert_eq!(given.records[0].ttl, 5);
    let Verdict::Answer { given, .. } = decide(&rules, "IP-2-7.example. TXT").verdict else {
        panic!()
    };
    assert_eq!(given.records[0].data.head, b"\x0fip-2-7.example.");
    assert_eq!(
        verdict(&rules, "ip-2-777.example."),
        "failed synth a record that is none: 5 A 192.0.2.777"
    );
}

/// RFC 2181 section 5.
#[test]
fn no_record_is_given_twice() {
    let rules = rules(
        "{name: fixed, match: {names: {exact: [a.example]}}, \
          answer: {records: [A 192.0.2.5, 9 A 192.0.2.5, A 192.0.2.6, 'AAAA 2001:db8::1', 'AAAA 2001:DB8:0::1']}}, \
         {name: made, match: {names: {regex: ['^ip-(\\d+)-(\\d+)\\.example\\.$']}}, \
          answer: {records: [\"A 192.0.2.{1}\", \"A 192.0.2.{2}\"]}}",
    );
    let cases = [
        ("a.example. A", "answer fixed 2"),
        ("a.example. AAAA", "answer fixed 1"),
        ("ip-1-2.example. A", "answer made 2"),
        ("ip-1-1.example. A", "answer made 1"),
    ];

    for (asked, expected) in cases {
        assert_eq!(verdict(&rules, asked), expected, "{asked}");
    }
}

/// A client chooses the group: an empty one must not make a message that nobody can read.
#[test]
fn a_group_that_is_empty_makes_no_name_with_an_empty_label() {
    let rules = rules(
        "{name: synth, match: {names: {regex: ['^p-(.*)\\.example\\.$']}}, \
          answer: {records: ['CNAME pre.{1}.dest.example.']}}",
    );

    assert_eq!(verdict(&rules, "p-a.example."), "answer synth 1");
    assert_eq!(
        verdict(&rules, "p-.example."),
        "failed synth a record that is none: CNAME pre..dest.example."
    );
}

/// Half of an escape would open what the rule closes.
#[test]
fn a_group_that_opens_a_parenthesis_makes_no_record() {
    let rules = rules(
        "{name: synth, match: {names: {regex: ['^(.).*\\.example\\.$']}}, answer: {records: ['TXT ({1})']}}",
    );

    assert_eq!(verdict(&rules, "ax.example. TXT"), "answer synth 1");
    assert_eq!(
        verdict(&rules, "\\001x.example. TXT"),
        "failed synth a record that is none: TXT (\\)"
    );
}

fn record(owner: &str, rtype: Qtype, octets: &[u8]) -> Record {
    let data = Data::of(rtype, octets).unwrap();
    Record { owner: owner.parse().unwrap(), rtype, class: Qclass::IN, ttl: 5, data }
}

/// `owner value` of each record that comes back for `asked`, when the new name and a CNAME behind it are answered.
fn restored(rules: &Rules, asked: &str, records: Vec<Record>) -> Vec<String> {
    let decision = decide(rules, asked);
    let mut response = Response::empty(decision.question.clone().unwrap());
    response.header.flags |= Header::AA | Header::AD;
    response.sections[0] = records;
    let mut rcode = Rcode::NOERROR;

    undo(&decision.steps, &mut response, &mut rcode).unwrap();

    assert_eq!(
        response.header.flags & (Header::AA | Header::AD),
        0,
        "nobody said this of that name"
    );
    assert!(response.question.matches(&question(asked)), "the question always goes back");
    let text = |record: &Record| {
        let value = record.data.names.first().map(ToString::to_string).unwrap_or_default();
        format!("{} {value}", record.owner).trim_end().to_owned()
    };
    response.sections[0].iter().map(text).collect()
}

#[test]
fn names_in_the_answer_go_back_as_the_rule_says() {
    let records = || {
        vec![
            record("foo.new.example.", Qtype::CNAME, b"\x03bar\x03new\x07example\0"),
            record("bar.new.example.", Qtype::A, &[10, 0, 0, 1]),
        ]
    };
    let cases = [
        ("", ["foo.old.example. bar.new.example.", "bar.new.example."]),
        (", answers: Restore", ["foo.old.example. bar.new.example.", "bar.new.example."]),
        (", answers: RestoreAll", ["foo.old.example. bar.old.example.", "bar.old.example."]),
        (", answers: Keep", ["foo.new.example. bar.new.example.", "bar.new.example."]),
        (
            ", answers: Keep, answerNames: [{regex: '(.*)\\.new\\.', to: \"{1}.works.\"}]",
            ["foo.works. bar.new.example.", "bar.works."],
        ),
        (
            ", answerValues: [{regex: '(.*)\\.new\\.', to: \"{1}.works.\"}]",
            ["foo.old.example. bar.works.", "bar.works."],
        ),
        (
            ", answers: RestoreAll, answerValues: [{regex: '^bar\\.', to: bar.works.}]",
            ["foo.old.example. bar.works.", "bar.works."],
        ),
        (
            ", answers: Keep, answerValues: [{regex: '^bar\\.', to: bar.works.}]",
            ["foo.new.example. bar.works.", "bar.new.example."],
        ),
        (
            ", answerNames: [{regex: '^bar\\.', to: own.}], answerValues: [{regex: '^bar\\.', to: bar.works.}]",
            ["foo.old.example. bar.works.", "own."],
        ),
    ];

    for kind in [
        "suffix: [.old.example]}}, rewrite: {name: .new.example",
        "zone: [old.example]}}, rewrite: {name: new.example",
    ] {
        for (answers, expected) in cases {
            let rules = rules(&format!("{{name: r, match: {{names: {{{kind}{answers}}}}}"));
            assert_eq!(
                restored(&rules, "foo.old.example.", records()),
                expected,
                "{kind}{answers}"
            );
        }
    }
}

/// Else nobody finds the address of the server.
#[test]
fn an_owner_is_what_the_data_that_leads_to_it_became() {
    let rules = rules(
        "{name: r, match: {names: {suffix: [.leg.example]}}, rewrite: {name: .new.example, \
          answerValues: [{regex: '^(.*)\\.new\\.example\\.$', to: '{1}.leg.example.'}]}}",
    );
    let srv = Qtype(33);
    let answer = || {
        vec![
            record("x.new.example.", srv, b"\0\0\0\0\0\x35\x03SRV\x03new\x07example\0"),
            record("srv.new.example.", Qtype::A, &[10, 0, 0, 1]),
            record("other.new.example.", Qtype::A, &[10, 0, 0, 2]),
        ]
    };

    let expected = ["x.leg.example. srv.leg.example.", "srv.leg.example.", "other.new.example."];
    assert_eq!(restored(&rules, "x.leg.example. SRV", answer()), expected);
}

#[test]
fn names_of_services_go_back_and_none_stays_none() {
    let rules = rules(
        "{name: r, match: {names: {zone: [old.example]}}, rewrite: {name: new.example, answers: RestoreAll, \
          answerValues: [{regex: '^\\.$', to: 'none.example.'}]}}",
    );
    let (https, mx) = (Qtype(65), Qtype::MX);
    let answer = vec![
        record("new.example.", https, b"\0\x01\x03www\x03new\x07example\0\0\x03\0\x02\x01\xbb"),
        record("new.example.", https, b"\0\x02\0"),
        record("new.example.", mx, b"\0\0\0"),
    ];

    let expected = ["old.example. www.old.example.", "old.example. .", "old.example. ."];
    assert_eq!(restored(&rules, "old.example.", answer), expected);
}

#[test]
fn an_alias_that_leads_back_to_what_was_asked_is_none() {
    let back = || record("selfb.target.", Qtype::CNAME, b"\x04self\x06source\0");
    let address = || record("self.source.", Qtype::A, &[10, 0, 0, 1]);
    let cases = [
        // (answers, the answer, what comes back)
        ("Restore", vec![back(), address()], vec!["self.source."]),
        ("Restore", vec![back()], vec![]),
        ("RestoreAll", vec![back(), address()], vec!["self.source."]),
        ("Keep", vec![back(), address()], vec!["selfb.target. self.source.", "self.source."]),
    ];

    for (answers, answer, expected) in cases {
        let rules = rules(&format!(
            "{{name: r, match: {{names: {{exact: [self.source]}}}}, rewrite: {{name: selfb.target, answers: {answers}}}}}"
        ));
        assert_eq!(restored(&rules, "self.source.", answer), expected, "{answers}");
    }
}

/// With the old ending they would have an empty label, and no answer at all would come of it.
#[test]
fn names_that_nobody_can_have_asked_for_do_not_go_back() {
    let rules = rules(
        "{name: r, match: {names: {suffix: [.in.test]}}, rewrite: {name: nginx.org, answers: RestoreAll}}",
    );
    let answer = vec![
        record("corenginx.org.", Qtype::CNAME, b"\x01a\x05nginx\x03org\0"),
        record("a.nginx.org.", Qtype::CNAME, b"\x05nginx\x03org\0"),
        record("nginx.org.", Qtype::A, &[0; 4]),
    ];

    let expected = ["core.in.test. a.nginx.org.", "a.nginx.org. nginx.org.", "nginx.org."];
    assert_eq!(restored(&rules, "core.in.test.", answer), expected);
}

#[test]
fn several_rewrites_are_undone_in_reverse_order() {
    let rules = rules(
        "{name: one, match: {names: {exact: [a.example]}}, rewrite: {name: b.example}, then: Continue}, \
         {name: two, match: {names: {suffix: [b.example]}}, rewrite: {name: c.example}, then: Continue}, \
         {name: three, match: {types: [A]}, rewrite: {type: AAAA}}",
    );
    let answer = vec![record("c.example.", Qtype::AAAA, &[1; 16])];

    assert_eq!(verdict(&rules, "a.example."), "pass c.example. AAAA");
    assert_eq!(restored(&rules, "a.example.", answer), ["a.example."]);
}

#[test]
fn ttls_and_response_codes_change() {
    let rules = rules(
        "{name: calm, match: {names: {zone: [example]}}, \
          response: {ttl: {min: 30s, max: 300s}, rcodes: [{from: REFUSED, to: NXDOMAIN}]}}, \
         {name: skipped, match: {names: {zone: [example]}}, response: {ttl: {min: 99s}}}",
    );
    let decision = decide(&rules, "a.example.");

    for (ttl, expected) in [(5, 30), (55, 55), (500, 300)] {
        let mut response = Response::empty(question("a.example."));
        response.sections[0].push(Record { ttl, ..record("a.example.", Qtype::A, &[0; 4]) });
        let mut rcode = Rcode::REFUSED;
        undo(&decision.steps, &mut response, &mut rcode).unwrap();
        assert_eq!((response.sections[0][0].ttl, rcode), (expected, Rcode::NXDOMAIN));
    }
}

#[test]
fn what_is_decided_alike_has_the_same_fingerprint_and_nothing_else_has() {
    let text =
        "{name: NAME, match: {names: {exact: [a.example, b.example]}}, rewrite: {name: c.example}}";
    let one = rules(&text.replace("NAME", "one"));
    let two = rules(&text.replace("NAME", "two"));
    let kept = rules(&text.replace("c.example", "c.example, answers: Keep").replace("NAME", "one"));
    let other = rules(&text.replace("c.example", "d.example").replace("NAME", "one"));
    let of = |rules| decide(rules, "a.example.").fingerprint();

    assert_eq!(of(&one), of(&two), "a name says nothing about the answer");
    assert_ne!(of(&one), of(&kept));
    assert_ne!(of(&one), of(&other));
    assert_eq!(decide(&one, "x.example.").fingerprint(), 0, "nothing was decided");
}

/// The question that they make is the same one, but other names in data go back.
#[test]
fn rewrites_by_other_patterns_have_other_fingerprints() {
    let of = |names: &str| {
        let rules = rules(&format!(
            "{{name: r, match: {{names: {{{names}}}}}, rewrite: {{name: new.example, answers: RestoreAll}}}}"
        ));
        let decision = decide(&rules, "a.old.example.");
        assert_eq!(verdict(&rules, "a.old.example."), "pass a.new.example. A", "{names}");
        decision.fingerprint()
    };

    assert_ne!(of("suffix: [old.example]"), of("zone: [old.example]"));
    assert_ne!(of("suffix: [old.example]"), of("substring: [old.example]"));
    assert_eq!(of("zone: [old.example]"), of("zone: [old.example]"));
}

#[test]
fn an_observer_learns_of_each_match_in_order() {
    let rules = rules(
        "{name: one, match: {names: {exact: [a.example]}}, rewrite: {name: b.example}}, \
         {name: two, match: {names: {exact: [b.example]}}, response: {ttl: {min: 1s}}}, \
         {name: three, match: {names: {exact: [b.example]}}, block: {}}",
    );
    let mut seen = Vec::new();
    rules.decide(&question("a.example."), [10, 0, 0, 1].into(), |matched| {
        seen.push(format!("{} {} {}", matched.rule, matched.kind.word(), matched.is_again));
    });

    let expected =
        ["one rewrite false", "two response false", "three block false", "three block true"];
    assert_eq!(seen, expected);
}

proptest! {
    /// Rewriting a name and restoring it is the identity on names.
    #[test]
    fn what_is_rewritten_comes_back(
        labels in prop::collection::vec("[a-z0-9-]{1,12}", 1..5),
        kind in 0..5usize,
    ) {
        let rule = [
            "zone: [old.example]}}, rewrite: {name: new.test",
            "subdomain: [old.example]}}, rewrite: {name: x.y.new.test",
            "suffix: [d.example]}}, rewrite: {name: w.test",
            "substring: [old.]}}, rewrite: {name: new.",
            "regex: ['^(.*)\\.old\\.example\\.$']}}, rewrite: {name: \"{1}.test\"",
        ][kind];
        let rules = rules(&format!("{{name: r, match: {{names: {{{rule}, answers: RestoreAll}}}}"));
        let asked = format!("{}.old.example.", labels.join("."));
        let decision = decide(&rules, &asked);
        let new = decision.question.clone().unwrap().name;
        let answer = vec![record(&new.to_string(), Qtype::A, &[0; 4])];

        prop_assert_eq!(restored(&rules, &asked, answer), [asked.parse::<Name<'_>>().unwrap().to_string()]);
    }
}
