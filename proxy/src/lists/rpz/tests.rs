//! Zones as people and name servers write them.

use dnsproxy_api::v1alpha1::ListFormat;

use super::*;
use crate::lists::testing;

const ZONE: &str = "\
$TTL 1h
@ SOA localhost. root.localhost. ( 1 ; serial
3600 600 86400 60 )
  NS localhost.
ads.example        CNAME .
*.ads.example  300 IN CNAME . ; and below
Empty.Example. IN 300 CNAME *.
good.ads.example   CNAME rpz-passthru.
drop.example       CNAME rpz-drop.
big.example        CNAME rpz-tcp-only.
home.example       A 10.0.0.1
               A 10.0.0.2
               TXT \"a ; b\" c
walled.example     CNAME garden
*.walled.example   CNAME *.garden.example.
";

#[test]
fn a_name_has_the_action_of_the_nearest_trigger() {
    let text = format!(
        "$ORIGIN rpz.example.\n{}",
        ZONE.replace("Empty.Example.", "Empty.Example.rpz.example.")
    );
    let list = testing::list(ListFormat::RPZ, &text);
    assert_eq!(list.problems().count, 0, "{:?}", list.problems());
    let cases = [
        ("ads.example", "NXDOMAIN"),
        ("x.y.ads.example", "NXDOMAIN"),
        ("good.ads.example", "pass"),
        ("x.good.ads.example", "NXDOMAIN"),
        ("EMPTY.example", "NODATA"),
        ("x.empty.example", "-"),
        ("drop.example", "Drop"),
        ("big.example", "tcp"),
        ("home.example", "records"),
        ("walled.example", "records"),
        ("x.walled.example", "records"),
        ("x.home.example", "-"),
        ("rpz.example", "-"),
    ];

    for (name, expected) in cases {
        assert_eq!(testing::policy(&list, name), expected, "{name}");
    }
}

#[test]
fn what_is_no_trigger_is_reported_with_its_line() {
    let cases = [
        ("32.1.2.0.192.rpz-ip CNAME .", "rpz-ip"),
        ("a.example", "no record"),
        ("a.example A 10.0.0", "not a record"),
        ("a.example CNAME .\na.example A 10.0.0.1", "another action"),
        ("a.example A 10.0.0.1\na.example CNAME .", "another action"),
        ("a.example CNAME b.example.\na.example A 10.0.0.1", "alone"),
        ("$INCLUDE other", "not read"),
        ("$ORIGIN z.\na.example. CNAME .", "outside"),
        ("  CNAME .", "no name"),
        ("a.example CNAME rpz-passthru", "dot at its end"),
        ("a.example TXT (", "parenthesis"),
        ("$TTL soon", "TTL"),
    ];

    for (text, reason) in cases {
        let list = testing::list(ListFormat::RPZ, text);
        let problems = list.problems();
        assert_eq!(problems.count, 1, "{text}: {problems:?}");
        assert_eq!(problems.first[0].line, text.lines().count(), "{text}");
        assert!(problems.first[0].reason.contains(reason), "{text}: {problems:?}");
    }
}

/// As name servers write zones: each level has an origin of its own.
#[test]
fn the_zone_is_the_one_of_the_soa_record_whatever_the_origins_are() {
    let text = "$ORIGIN .\nrpz.local IN SOA a. b. 1 2 3 4 5\n\t\tNS localhost.\n$ORIGIN rpz.local.\nbad.example CNAME .\n\
                $ORIGIN evil.example.rpz.local.\nwww CNAME .\n$ORIGIN sub\nx CNAME .\n$ORIGIN rpz.local.\n@ TXT a\n";
    let list = testing::list(ListFormat::RPZ, text);

    assert_eq!(list.problems().count, 0, "{:?}", list.problems());
    for name in ["bad.example", "www.evil.example", "x.sub.evil.example"] {
        assert_eq!(testing::policy(&list, name), "NXDOMAIN", "{name}");
    }
    for name in ["www", "rpz.local", "x", "sub"] {
        assert_eq!(testing::policy(&list, name), "-", "{name}");
    }
}

#[test]
fn a_parenthesis_that_is_not_closed_costs_a_line_and_hides_no_other() {
    for behind in [3, 200] {
        let mut text = "a.example TXT (\n".to_owned();
        (0..behind).for_each(|i| text.push_str(&format!("b{i}.example CNAME .\n")));
        let list = testing::list(ListFormat::RPZ, &text);

        assert_eq!(list.problems().count, 1, "{:?}", list.problems());
        assert_eq!(list.len(), behind);
    }
}

#[test]
fn an_unclosed_parenthesis_on_each_line_takes_no_time_to_speak_of() {
    let list = testing::list(ListFormat::RPZ, &"x TXT (\n".repeat(20_000));

    assert_eq!(list.problems().count, 20_000);
}

#[test]
fn a_name_that_is_an_alias_of_itself_passes_and_signatures_are_passed_over() {
    let text = "a.example RRSIG CNAME 8 2 60 20300101000000 20200101000000 1 x. AAAA\na.example CNAME .\n\
                a.example NSEC b. A\nself.example CNAME self.example.\n";
    let list = testing::list(ListFormat::RPZ, text);

    assert_eq!(list.problems().count, 0, "{:?}", list.problems());
    assert_eq!(testing::policy(&list, "a.example"), "NXDOMAIN");
    assert_eq!(testing::policy(&list, "self.example"), "pass");
}

/// The same record may be written in many ways.
#[test]
fn an_action_is_seen_however_its_record_is_written() {
    let (block, nodata, pass) = ("NXDOMAIN", "NODATA", "pass");
    let cases = [
        ("in parentheses", "x CNAME ( . )", block),
        ("without spaces", "x CNAME (.)", block),
        ("all of it in parentheses", "x ( 60 IN CNAME . )", block),
        ("over lines", "x CNAME ( ; why\n . )", block),
        ("opened before the type", "x IN (\n CNAME\n *.\n)", nodata),
        ("the class by its number", "x CLASS1 CNAME .", block),
        ("class, TTL and type by number", "x class1 60 type5 *.", nodata),
        ("the type by its number", "x TYPE5 rpz-passthru.", pass),
        ("as octets", "x TYPE5 \\# 1 00", block),
        ("as octets over lines", "x CNAME \\# (\n 1 00 )", block),
        ("in upper case", "x CNAME RPZ-PASSTHRU.", pass),
        ("with an escape", "x CNAME \\*.", nodata),
        ("a target of a dot is none", "x CNAME \\..", "records"),
        ("parentheses in a text", "x TXT \"( . )\"", "records"),
        ("another target in parentheses", "x CNAME ( walled.garden. )", "records"),
        ("a zone's own records", "x TYPE46 \\# 1 00\nx TYPE5 .", block),
    ];

    for (why, text, expected) in cases {
        let list = testing::list(ListFormat::RPZ, text);
        assert_eq!(list.problems().count, 0, "{why}: {:?}", list.problems());
        assert_eq!(testing::policy(&list, "x"), expected, "{why}");
    }
}

#[test]
fn a_ttl_may_have_units() {
    let cases = [
        ("0", Some(0)),
        ("3600", Some(3600)),
        ("1h30m", Some(5400)),
        ("1W", Some(604_800)),
        ("", None),
        ("h", None),
        ("1x", None),
        ("99999999999", None),
        ("4294967295", None),
    ];

    for (text, expected) in cases {
        assert_eq!(ttl_of(text), expected, "{text}");
    }
}
