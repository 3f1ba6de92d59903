//! What the manifest of a configuration makes of questions; upstreams are not asked.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::{
    config::{Names, judge_of},
    explain,
    message::{Qclass, Qtype, Question},
};

/// Servers that are asked for every name, and nothing of the machine's own.
const HEAD: &str = "no-resolv\nno-hosts\nserver=192.0.2.1\n";

/// What questions get: the data of the answers or the response code, or the route that is asked, with what is changed
/// in its answer.
struct Judged {
    imported: Imported,
    judge: crate::judge::Judge,
}

impl Judged {
    fn of(lines: &str) -> Self {
        Self::of_all(&format!("{HEAD}{lines}"))
    }

    fn of_all(text: &str) -> Self {
        let imported = import(text);
        assert!(imported.carried > 0, "{text}: {:?}", imported.notes);
        let spec = &imported.proxy.spec;
        let names = Names::read(spec, Some(Path::new("/")), &Names::default());
        let judge = judge_of(spec, &names).unwrap();
        Self { imported, judge }
    }

    fn ask(&self, question: &str) -> String {
        let (name, qtype) = question.split_once(' ').unwrap();
        let (name, qtype) = (format!("{name}.").parse().unwrap(), Qtype::from_text(qtype).unwrap());
        let question = Question { name, qtype, qclass: Qclass::IN };
        let (_, judgement) = explain::judge(&self.judge, &question, [127, 0, 0, 1].into());
        let outcome = explain::outcome(&self.judge, &question, &judgement);
        if let Some(route) = outcome.route {
            let is_there = outcome.changes.iter().any(|change| change.contains("NXDOMAIN"));
            return if is_there { format!("{route}, there") } else { route };
        }
        let data = |line: &String| {
            let fields: Vec<_> = line.split_ascii_whitespace().skip(4).collect();
            fields.join(" ")
        };
        let answers: Vec<_> = outcome.answers.iter().map(data).collect();
        let rcode = outcome.rcode.unwrap_or_default();
        if answers.is_empty() { rcode } else { answers.join(", ") }
    }

    /// The zones that rules have of which the names are there.
    fn there(&self) -> usize {
        let rules = self.imported.proxy.spec.rules.iter().flatten();
        let there = rules.filter(|rule| rule.name.starts_with("there"));
        there.flat_map(|rule| &rule.matches.names).flat_map(|it| &it.zone).flatten().count()
    }

    fn notes(&self) -> Vec<String> {
        self.imported.notes.iter().map(|note| format!("{}: {note}", note.line)).collect()
    }

    fn has_note(&self, line: usize, part: &str) -> bool {
        let start = format!("{line}: ");
        self.notes().iter().any(|note| note.starts_with(&start) && note.contains(part))
    }
}

/// Each configuration with questions, and what they get.
fn assert_all(cases: &[(&str, &[(&str, &str)])]) {
    for (lines, questions) in cases {
        let judged = Judged::of(lines);
        for (question, expected) in *questions {
            assert_eq!(judged.ask(question), *expected, "{lines}: {question}");
        }
    }
}

#[test]
fn one_address_may_have_more_names_than_fit_into_one_source() {
    let name = |i: usize| format!("tracker-{i}.advertisements.example.com");
    let line = |i: usize| format!("host-record={},192.0.2.77\n", name(i));
    let judged = Judged::of(&(0..10_000).map(line).collect::<String>());

    let sources = &judged.imported.proxy.spec.hosts.as_ref().unwrap().sources;
    let texts: Vec<_> = sources.iter().filter_map(|source| source.inline.as_deref()).collect();
    assert!(texts.len() > 1);
    let words = texts.iter().flat_map(|text| text.split_whitespace());
    let names: Vec<_> = words.filter(|word| *word != "192.0.2.77").collect();
    assert_eq!(names, (0..10_000).map(name).collect::<Vec<_>>());
    assert_eq!(judged.ask("77.2.0.192.in-addr.arpa PTR"), format!("{}.", name(0)));
}

#[test]
fn domains_may_be_called_like_a_route_that_has_a_name_of_its_own() {
    let judged = Judged::of("server=/default/192.0.2.2\nserver=/cluster.dns/192.0.2.3\n");
    assert_eq!(judged.ask("a.default A"), "default--2");
    assert_eq!(judged.ask("a.cluster.dns A"), "cluster-dns--2");
    assert_eq!(judged.ask("a.test A"), "default");
}

#[test]
fn an_address_of_a_domain_is_given_for_names_that_have_records_of_other_types() {
    let local = "local=/home.example/\naddress=/home.example/10.0.0.1\n";
    assert_all(&[
        (
            &format!("{local}host-record=nas.home.example,10.0.0.2"),
            &[
                ("home.example A", "10.0.0.1"),
                ("home.example AAAA", "NOERROR"),
                ("nas.home.example A", "10.0.0.2"),
                ("nas.home.example TXT", "NOERROR"),
            ],
        ),
        (
            &format!("{local}txt-record=_dmarc.home.example,x\nmx-host=home.example,m.example"),
            &[
                ("home.example A", "10.0.0.1"),
                ("_dmarc.home.example A", "10.0.0.1"),
                ("_dmarc.home.example AAAA", "NOERROR"),
            ],
        ),
    ]);
}

#[test]
fn an_upstream_cannot_deny_what_is_here() {
    assert_all(&[
        (
            "address=/nx.lan/1.2.3.4",
            &[("nx.lan A", "1.2.3.4"), ("a.nx.lan AAAA", "default, there"), ("lan A", "default")],
        ),
        (
            "host-record=a.b.example,10.0.0.3\nmx-host=m.example,x.example",
            &[
                ("a.b.example AAAA", "default, there"),
                ("b.example A", "default, there"),
                ("m.example A", "default, there"),
                ("c.b.example A", "default"),
            ],
        ),
        // To dnsmasq names with these alone are not there, though it has them, nor are reverse names of a host.
        (
            "dns-rr=r.example,99,01\ncaa-record=c.example,0,issue,x",
            &[("r.example A", "default, there"), ("c.example A", "default, there")],
        ),
        (
            "local=/10.in-addr.arpa/\nhost-record=nas.x,10.0.0.3",
            &[("3.0.0.10.in-addr.arpa PTR", "nas.x."), ("3.0.0.10.in-addr.arpa A", "NXDOMAIN")],
        ),
        (
            "local=/lan/\naddress=/lan/1.2.3.4\nserver=/sub.lan/192.0.2.2",
            &[("a.lan AAAA", "NOERROR"), ("a.sub.lan AAAA", "sub-lan, there")],
        ),
    ]);
}

/// Lists of advertisers have a hundred thousand: twice as many names would be no manifest.
#[test]
fn very_many_names_with_addresses_are_not_denied_by_servers() {
    let lines = |count: u32| -> String {
        (0..count).map(|i| format!("address=/ads{i}.example/0.0.0.0\n")).collect()
    };
    let each = |count: u32| -> String {
        (0..count).map(|i| format!("server=/a.ads{i}.example/192.0.2.2\n")).collect()
    };
    let one = "server=/a.ads7.example/192.0.2.2";
    let ending = "server=/*a.ads7.example/192.0.2.2";
    // No name in them is without a dot, or left to the servers for every name.
    let none = "server=//192.0.2.2\nserver=/#/192.0.2.2\nserver=/*e/192.0.2.2";
    for (servers, count, there, has_note) in [
        (String::new(), 10_001, 0, false),
        (none.into(), 10_001, 0, false),
        (one.into(), 10_001, 1, false),
        (ending.into(), 10_001, 1, false),
        (each(10), 10, 10, false),
        (each(10_001), 10_001, 0, true),
    ] {
        let why = format!("{} and {count}", servers.lines().next().unwrap_or_default());
        let judged = Judged::of(&format!("{}{servers}", lines(count)));
        assert_eq!(judged.ask("ads7.example A"), "0.0.0.0", "{why}");
        for (asked, is_there) in [
            ("ads7.example AAAA", true),
            ("a.ads7.example A", servers.contains("a.ads7") && !has_note),
        ] {
            let said = judged.ask(asked);
            assert_eq!(said.ends_with(", there"), is_there, "{why}: {said}");
        }
        assert_eq!(judged.there(), there, "{why}");
        assert_eq!(judged.has_note(0, "they get NXDOMAIN"), has_note, "{why}");
    }
}

#[test]
fn names_that_are_there_are_not_denied_where_nobody_is_asked() {
    assert_all(&[
        (
            "local=/lan/\naddress=/dev.lan/10.0.0.1\nhost-record=a.dev.lan,10.0.0.3",
            &[
                ("a.dev.lan AAAA", "NOERROR"),
                ("x.dev.lan TXT", "NXDOMAIN"),
                ("dev.lan AAAA", "NOERROR"),
                ("lan A", "NOERROR"),
                ("y.lan A", "NXDOMAIN"),
            ],
        ),
        (
            "local=/lan/\naddress=/*.dev.lan/10.0.0.1\nhost-record=a.dev.lan,10.0.0.3",
            &[("a.dev.lan AAAA", "NOERROR"), ("dev.lan A", "NOERROR")],
        ),
        ("local=//\nhost-record=nas,10.0.0.3", &[("nas TXT", "NOERROR"), ("other A", "NXDOMAIN")]),
        (
            "local=/*corp/\nhost-record=h.mycorp,10.0.0.3",
            &[("h.mycorp AAAA", "NOERROR"), ("mycorp A", "NOERROR"), ("x.corp A", "NXDOMAIN")],
        ),
        (
            "domain-needed\nhost-record=nas,10.0.0.3",
            &[
                ("nas AAAA", "NOERROR"),
                ("nas TXT", "default, there"),
                ("other A", "NXDOMAIN"),
                ("other TXT", "default"),
            ],
        ),
    ]);
}

#[test]
fn nobody_is_asked_about_a_local_domain_that_has_servers_as_well() {
    assert_all(&[
        ("local=/lan/\nserver=/lan/192.0.2.2", &[("a.lan A", "NXDOMAIN")]),
        ("server=/lan/192.0.2.2\naddress=/lan/", &[("a.lan A", "NXDOMAIN")]),
        ("local=/lan/\nserver=/lan/#", &[("a.lan A", "NXDOMAIN")]),
        (
            "local=/lan/\nserver=/lan/192.0.2.2\naddress=/lan/1.2.3.4",
            &[("a.lan A", "1.2.3.4"), ("a.lan AAAA", "NOERROR"), ("a.lan TXT", "NOERROR")],
        ),
        ("server=/lan/#\nserver=/lan/192.0.2.2", &[("a.lan A", "default")]),
    ]);
}

/// A folder of its own, for as long as it is used.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dnsproxy-import-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A configuration with the hosts file of these lines, which is read.
fn with_hosts(lines: &str, hosts: &str) -> Judged {
    let folder = Folder::new();
    let path = folder.0.join("hosts");
    std::fs::write(&path, hosts).unwrap();
    Judged::of(&format!("addn-hosts={}\n{lines}", path.display()))
}

/// Each expectation is dnsmasq's.
#[test]
fn names_of_hosts_files_get_the_domain() {
    let domains = "domain=lan\ndomain=net.lan,10.2.0.0/16,local\ndomain=few,10.2.0.8,10.2.0.9\n";
    let lines = "10.0.0.7 box\n10.0.0.9 full.foo short\n10.2.0.1 big\n10.2.0.9 one\nfd00::9 box\n";
    let made = with_hosts(&format!("expand-hosts\n{domains}host-record=h,10.0.0.5\n"), lines);
    for (question, expected) in [
        ("box A", "10.0.0.7"),
        ("box.lan A", "10.0.0.7"),
        ("box.lan AAAA", "fd00::9"),
        ("short.lan A", "10.0.0.9"),
        ("full.foo.lan A", "default"),
        ("big.net.lan A", "10.2.0.1"),
        ("one.few A", "10.2.0.9"),
        ("other.net.lan A", "NXDOMAIN"),
        ("h.lan A", "default"),
        ("7.0.0.10.in-addr.arpa PTR", "box.lan."),
        ("9.0.0.10.in-addr.arpa PTR", "full.foo."),
        ("1.0.2.10.in-addr.arpa PTR", "big.net.lan."),
        ("9.0.2.10.in-addr.arpa PTR", "one.few."),
        ("2.0.2.10.in-addr.arpa PTR", "NXDOMAIN"),
    ] {
        assert_eq!(made.ask(question), expected, "{question}");
    }
    assert!(made.notes().iter().any(|note| note.contains("names without a dot with the domain")));

    let without = with_hosts("domain=lan\n", lines);
    assert_eq!(
        (without.ask("box A"), without.ask("box.lan A")),
        ("10.0.0.7".into(), "default".into())
    );
}

#[test]
fn the_hosts_file_of_the_machine_is_not_read_without_a_word() {
    let notes_of = |text: &str| {
        let imported = import(text);
        let notes = imported.notes.iter().map(|note| format!("{note}"));
        let told = notes.filter(|note| note.contains("/etc/hosts")).collect::<Vec<_>>();
        (imported.proxy.spec.hosts.unwrap_or_default().sources, told)
    };
    let (sources, told) = notes_of("server=192.0.2.1\n");
    assert_eq!(sources[0].file.as_deref(), Some("/etc/hosts"));
    assert!(told.len() == 1 && told[0].contains("the file was not read here"), "{told:?}");

    let (_, told) = notes_of("server=192.0.2.1\nexpand-hosts\ndomain=lan\n");
    assert!(told[0].contains("/etc/hosts of THIS machine was read"), "{told:?}");

    let (sources, told) = notes_of("server=192.0.2.1\nno-hosts\n");
    assert_eq!((sources.len(), told.len()), (0, 0), "{told:?}");
}

#[test]
fn an_alias_leads_to_the_address_of_a_hosts_file_whatever_else_its_target_has() {
    let judged =
        with_hosts("cname=www.lan,srv1.lan\nmx-host=srv1.lan,mail.lan", "192.168.1.5 srv1.lan\n");

    assert_eq!(judged.ask("www.lan A"), "srv1.lan., 192.168.1.5");
}

#[test]
fn names_that_dnsmasq_does_not_read_in_hosts_files_do_not_leave() {
    let hosts = "fe80::1%eth0 rtr.lan\n192.168.1.5 *.apps.lan own.apps.lan\n10.0.0.2 b.c.lan\n\
                 10.0.0.5 .dot.lan\n10.0.0.6 ok.lan sp!ce.lan bad..e.lan\n10.0.0.6 second.lan\n";
    let judged = with_hosts("local=/lan/", hosts);

    for (question, expected) in [
        ("rtr.lan A", "NXDOMAIN"),
        ("x.apps.lan A", "NXDOMAIN"),
        ("own.apps.lan A", "192.168.1.5"),
        ("apps.lan A", "NOERROR"),
        ("x.dot.lan A", "NXDOMAIN"),
        ("c.lan TXT", "NOERROR"),
        ("lan A", "NOERROR"),
        ("b.c.lan A", "10.0.0.2"),
        ("other.lan A", "NXDOMAIN"),
    ] {
        assert_eq!(judged.ask(question), expected, "{question}");
    }
    for note in [
        "line 1: `fe80::1%eth0`",
        "line 2: `*.apps.lan`",
        "line 5: `sp!ce.lan`",
        "line 6: `second.lan`: 10.0.0.6 leads back to it",
    ] {
        assert!(judged.has_note(4, note), "{note}: {:?}", judged.notes());
    }
}

#[test]
fn names_of_machines_themselves_are_let_pass_where_a_hosts_file_has_them() {
    let judged = with_hosts("local=/#/", "10.0.0.1 a.x\n127.0.0.1 LocalHost\n");
    assert_eq!(judged.ask("localhost A"), "127.0.0.1");
    assert_eq!(judged.ask("localhost.localdomain A"), "NXDOMAIN");
    let judged = with_hosts("local=/lan/", "fe80::1%lo0 localhost\n10.0.0.1 a.lan\n");
    assert!(!judged.has_note(4, "without these"), "{:?}", judged.notes());
    let judged = with_hosts("local=/lan/", "fe80::1%eth0 rtr.lan\n");
    assert_eq!(judged.ask("rtr.lan A"), "NXDOMAIN", "no line is left: {:?}", judged.notes());
    assert_eq!(with_hosts("domain-needed", "10.0.0.1 a.x\n").ask("localhost A"), "NXDOMAIN");
}

#[test]
fn all_files_of_a_folder_are_hosts_files_but_for_those_of_editors() {
    let folder = Folder::new();
    for name in ["a", "b", "#b#", ".c", "d~"] {
        let number = name.len();
        std::fs::write(folder.0.join(name), format!("10.0.0.{number} {number}{number}.x\n"))
            .unwrap();
    }
    std::fs::write(folder.0.join("b"), "10.0.0.9 b.x\n").unwrap();
    let judged = Judged::of(&format!("addn-hosts={}", folder.0.display()));

    assert_eq!(judged.ask("11.x A"), "10.0.0.1");
    assert_eq!(judged.ask("b.x A"), "10.0.0.9");
    assert_eq!(judged.ask("22.x A"), "default");
    assert!(judged.has_note(4, "the files that are in it now, 2 of them"), "{:?}", judged.notes());
}

#[test]
fn all_ptr_records_of_a_name_are_given_and_count_more_than_hosts() {
    assert_all(&[(
        "host-record=nas.x,10.0.0.4\nptr-record=4.0.0.10.in-addr.arpa,p.x\n\
         ptr-record=4.0.0.10.in-addr.arpa,q.x\nhost-record=nas2.x,nas3.x,10.0.0.5\nhost-record=a.x,10.0.0.5,10.0.0.5",
        &[
            ("4.0.0.10.in-addr.arpa PTR", "p.x., q.x."),
            ("5.0.0.10.in-addr.arpa PTR", "nas2.x."),
            ("a.x A", "10.0.0.5"),
        ],
    )]);
}

#[test]
fn a_range_of_addresses_is_made_names_of() {
    assert_all(&[(
        "synth-domain=lan,192.168.1.5,192.168.1.20",
        &[
            ("192-168-1-7.lan A", "192.168.1.7"),
            ("192-168-1-7.lan AAAA", "default, there"),
            ("192-168-1-21.lan A", "default"),
            ("20.1.168.192.in-addr.arpa PTR", "192-168-1-20.lan."),
        ],
    )]);
    let many = (0..3).map(|net| format!("synth-domain=lan,10.{net}.0.0/16,i-\n"));
    let many = Judged::of(&many.collect::<String>());
    assert_eq!(many.ask("i-10-2-3-4.lan AAAA"), "default, there");
    assert_eq!(many.ask("i-10-3-0-0.lan AAAA"), "default");
    let long = Judged::of("synth-domain=lan,10.0.0.5,10.0.200.5");
    assert_eq!(long.ask("10-0-7-9.lan AAAA"), "default, there");
}

/// The example of its manual.
#[test]
fn a_star_numbers_the_names_of_a_range() {
    assert_all(&[
        (
            "synth-domain=thekelleys.org.uk,192.168.0.50,192.168.0.70,internal-*",
            &[
                ("internal-0.thekelleys.org.uk A", "192.168.0.50"),
                ("Internal-20.thekelleys.org.uk A", "192.168.0.70"),
                ("internal-21.thekelleys.org.uk A", "default"),
                ("internal-1.thekelleys.org.uk TXT", "default, there"),
                ("51.0.168.192.in-addr.arpa PTR", "internal-1.thekelleys.org.uk."),
                ("71.0.168.192.in-addr.arpa PTR", "default"),
            ],
        ),
        (
            "synth-domain=lan,2001:db8::fffe,2001:db8::1:1,*",
            &[("0.lan AAAA", "2001:db8::fffe"), ("3.lan AAAA", "2001:db8::1:1")],
        ),
        (
            "synth-domain=lan,192.168.1.0/30,n*\nhost-record=n1.lan,10.0.0.1\nptr-record=2.1.168.192.in-addr.arpa,two.lan",
            &[
                ("n1.lan A", "10.0.0.1"),
                ("1.1.168.192.in-addr.arpa PTR", "n1.lan."),
                ("n3.lan A", "192.168.1.3"),
                ("2.1.168.192.in-addr.arpa PTR", "two.lan."),
            ],
        ),
    ]);
    let many = Judged::of("synth-domain=lan,10.0.0.0/8,n*");
    assert!(many.has_note(4, "more than 4096 addresses"), "{:?}", many.notes());
    let spelled = Judged::of("synth-domain=lan,2001:db8::/64");
    assert!(spelled.has_note(4, "only IPv4 addresses are spelled"), "{:?}", spelled.notes());
}

#[test]
fn backslashes_escape_inside_of_quotes_alone() {
    for (line, expected) in [
        (r#"txt-record=t,"a\"b""#, r#"0 TXT "a\"b""#),
        (r#"txt-record=t,"a\\b""#, r#"0 TXT "a\\b""#),
        (r"txt-record=t,a\b", r#"0 TXT "a\\b""#),
        (r#"txt-record=t,"tab\tx""#, r#"0 TXT "tab\009x""#),
        (r#"txt-record=t,"a\,b""#, r#"0 TXT "a\\,b""#),
        (r#"txt-record=t," lead # no comment", x # one"#, r#"0 TXT " lead # no comment" "x""#),
        (r#"caa-record=t,0,issue,"a\"b""#, r#"0 CAA 0 issue "a\"b""#),
        (
            r#"naptr-record=t,10,20,"u","E2U+sip","!^.*$!sip:\\1@x!","#,
            r#"0 NAPTR 10 20 "u" "E2U+sip" "!^.*$!sip:\\1@x!" ."#,
        ),
    ] {
        let rules = Judged::of(line).imported.proxy.spec.rules.unwrap();
        let records = rules.iter().filter_map(|rule| rule.answer.as_ref()).map(|it| &it.records);
        assert_eq!(records.collect::<Vec<_>>(), [&[expected.to_owned()]], "{line}");
    }
}

#[test]
fn a_service_without_a_domain_is_in_that_of_the_machine() {
    assert_all(&[
        (
            "srv-host=_ldap._tcp,ldap.example,389\ndomain=example.com\nsrv-host=_x._tcp.foo,x.example,1",
            &[
                ("_ldap._tcp.example.com SRV", "0 0 389 ldap.example."),
                ("_ldap._tcp SRV", "default"),
                ("_x._tcp.foo SRV", "0 0 1 x.example."),
            ],
        ),
        (
            "domain=example.com,10.0.0.0/8\nsrv-host=_ldap._tcp,ldap.example,389",
            &[("_ldap._tcp SRV", "0 0 389 ldap.example.")],
        ),
    ]);
}

#[test]
fn reverse_names_of_all_local_addresses_are_kept() {
    let name = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.c.f.ip6.arpa";
    let question = format!("{name} PTR");

    assert_eq!(Judged::of("bogus-priv").ask(&question), "NXDOMAIN");
    assert_eq!(with_hosts("bogus-priv", "10.0.0.1 a.x\n").ask(&question), "NXDOMAIN");
}

#[test]
fn one_value_costs_no_more_than_itself() {
    for (lines, line, note) in [
        ("bogus-nxdomain=6.6.6.6\nbogus-nxdomain=6.6.6.6", 0, ""),
        ("rebind-localhost-ok\nrebind-localhost-ok\nstop-dns-rebind", 0, ""),
        ("stop-dns-rebind\nrebind-domain-ok=/a/a/", 0, ""),
        ("stop-dns-rebind\nrebind-domain-ok=/plex.direct/#/", 5, "`#`"),
        ("stop-dns-rebind\nrebind-domain-ok=/*.a.example/", 5, "`*.a.example`"),
        ("listen-address=127.0.0.1,127.0.0.1\nlisten-address=127.0.0.1", 0, ""),
        ("dns-forward-max=0", 4, "from 1 to 1000000 queries"),
        ("dns-forward-max=2000000", 4, "from 1 to 1000000 queries"),
        ("local-ttl=2147483648", 4, "a week"),
        ("server=/x/1.2.3.4#0", 4, "is not the address of a server"),
        ("server=/x/0.0.0.0", 4, "is not the address of a server"),
        ("server=/x/fe80::1", 4, "link-local addresses are not supported"),
        ("addn-hosts=", 4, "no file"),
        ("filter-AAAA\nfilter-rr=AAAA", 0, ""),
        ("txt-record=a,\u{fffd}", 4, "no UTF-8"),
    ] {
        let judged = Judged::of(lines);
        assert!(note.is_empty() || judged.has_note(line, note), "{lines}: {:?}", judged.notes());
        assert!(!judged.notes().iter().any(|it| it.contains("spec.")), "{:?}", judged.notes());
        assert_eq!(judged.ask("other.example A"), "default", "{lines}");
    }
}

#[test]
fn without_servers_for_every_name_other_names_are_refused() {
    let judged = Judged::of_all("no-resolv\nno-hosts\nserver=/corp/192.0.2.2\nserver=/x.corp/#");
    assert_eq!(judged.ask("a.corp A"), "corp");
    assert_eq!(judged.ask("x.corp A"), "REFUSED");
    assert_eq!(judged.ask("other A"), "REFUSED");
    assert!(judged.has_note(0, "are refused"), "{:?}", judged.notes());

    let judged = Judged::of_all("no-resolv\nno-hosts\naddress=/a.example/10.0.0.1");
    assert_eq!(judged.ask("a.example A"), "10.0.0.1");
    assert_eq!(judged.ask("other A"), "REFUSED");
}

#[test]
fn a_server_of_any_domain_is_one_for_every_name() {
    let judged = Judged::of("server=/#/corp/192.0.2.2");

    assert_eq!(judged.ask("a.example A"), "default");
    assert_eq!(judged.ask("a.corp A"), "corp");
    let routes = judged.imported.proxy.spec.routes.unwrap();
    assert_eq!(routes[0].upstreams, ["server-192-0-2-1", "server-192-0-2-2"]);
}

#[test]
fn what_is_different_in_answers_of_upstreams_is_told() {
    let judged = Judged::of(
        "proxy-dnssec\nstop-dns-rebind\nalias=7.7.7.7,9.9.9.9\nalias=7.7.7.0,8.8.8.0,255.255.255.0\n\
         max-cache-ttl=20",
    );
    assert!(judged.has_note(8, "clients get no longer TTLs"));
    assert!(Judged::of("min-cache-ttl=100").has_note(4, "no shorter TTLs"));
    assert!(judged.has_note(4, "validated"));
    assert!(judged.has_note(0, "192.0.2.0/24"));
    assert!(judged.has_note(0, "as upstreams gave them"));
    let responses = judged.imported.proxy.spec.responses.unwrap();
    let first = &responses.address_aliases.unwrap()[0];
    assert_eq!(first.from, "7.7.7.0/24", "the last one counts there, the first here");
}

#[test]
fn what_aliases_and_reverse_names_lose_is_told() {
    let judged = Judged::of("local=/lan/\ncname=a.lan,gone.lan\ncname=b.x,c.x\ncname=c.x,b.x");
    assert!(judged.has_note(5, "gone.lan"), "{:?}", judged.notes());
    assert!(judged.has_note(6, "back to itself"), "{:?}", judged.notes());
    assert!(!judged.has_note(6, "denial"));

    let judged = with_hosts("local=/168.192.in-addr.arpa/", "192.168.1.5 a.lan\n");
    assert_eq!(judged.ask("5.1.168.192.in-addr.arpa PTR"), "a.lan.");
    assert_eq!(judged.ask("6.1.168.192.in-addr.arpa PTR"), "NXDOMAIN");
    assert!(!judged.has_note(5, "names of addresses"), "{:?}", judged.notes());
    let unseen = Judged::of("addn-hosts=/nowhere/hosts\nlocal=/168.192.in-addr.arpa/");
    assert!(unseen.has_note(5, "names of addresses (PTR)"), "{:?}", unseen.notes());
    let judged = with_hosts("", "0.0.0.0 ads.lan\n0.0.0.0 more.lan\n");
    assert!(judged.has_note(4, "line 1: `0.0.0.0`: it does not lead back"), "{:?}", judged.notes());
    let judged = with_hosts("server=/168.192.in-addr.arpa/192.0.2.2", "192.168.1.5 a.lan\n");
    assert_eq!(judged.ask("5.1.168.192.in-addr.arpa PTR"), "a.lan.", "{:?}", judged.notes());
}

/// However the list of domains changes.
#[test]
fn the_route_of_many_domains_is_called_by_its_server() {
    let names = |lines: &str| {
        let routes = Judged::of(lines).imported.proxy.spec.routes.unwrap();
        routes.into_iter().map(|route| route.name).collect::<Vec<_>>()
    };
    let many = "server=/a.cn/b.much.longer.example/192.0.2.2\nserver=/c.cn/192.0.2.2\nserver=/corp/192.0.2.3\n";
    assert_eq!(names(many), ["default", "server-192-0-2-2", "corp"]);
    let more = format!("{many}server=/the.very.longest.of.all.example/192.0.2.2\n");
    assert_eq!(names(&more), ["default", "server-192-0-2-2", "corp"]);
    let same_server = "server=/a/192.0.2.1\nserver=/b/192.0.2.1\nserver=/b/192.0.2.2\n";
    assert_eq!(names(same_server), ["default", "a", "b"]);
}

#[test]
fn that_versions_differ_about_local_domains_with_servers_is_told() {
    for lines in
        ["server=/lan/192.0.2.2\nlocal=/lan/", "local=/lan/\nserver=/lan/#", "\naddress=/#/"]
    {
        assert!(
            Judged::of(lines).has_note(5, "nobody is asked here, as by dnsmasq 2.93"),
            "{lines}"
        );
    }
    assert!(!Judged::of("local=/lan/\naddress=/lan/10.0.0.1").has_note(4, "2.93"));
}

#[test]
fn there_may_be_more_records_than_rules() {
    let hosts =
        (0..5000).map(|i| format!("host-record=n{i}.lan,s{i}.x,10.0.{}.{}\n", i / 250, i % 250));
    let others = "local=/lan/\nlocal=/10.in-addr.arpa/\ncname=web.lan,n7.lan\ntxt-record=n8.lan,t\n\
                  host-record=n9.lan,10.9.0.9,60\nptr-record=10.0.0.10.in-addr.arpa,p.x\n";
    let judged = Judged::of(&(hosts.collect::<String>() + others));
    for (question, expected) in [
        ("n4999.lan A", "10.0.19.249"),
        ("s4999.x A", "10.0.19.249"),
        ("n5000.lan A", "NXDOMAIN"),
        ("n1.lan TXT", "NOERROR"),
        ("lan A", "NOERROR"),
        ("web.lan A", "n7.lan., 10.0.0.7"),
        ("n8.lan A", "10.0.0.8"),
        ("n8.lan TXT", "\"t\""),
        ("n9.lan A", "10.0.0.9, 10.9.0.9"),
        ("6.0.0.10.in-addr.arpa PTR", "n6.lan."),
        ("8.0.0.10.in-addr.arpa PTR", "n8.lan."),
        ("10.0.0.10.in-addr.arpa PTR", "p.x."),
        ("9.9.9.10.in-addr.arpa PTR", "NXDOMAIN"),
    ] {
        assert_eq!(judged.ask(question), expected, "{question}");
    }
    assert!(
        judged.has_note(4, "9999 names with addresses alone are in `hosts`")
            || judged.has_note(4, "names with addresses alone"),
        "{:?}",
        judged.notes()
    );
}

#[test]
fn of_a_name_that_is_an_alias_nothing_else_counts() {
    let judged = Judged::of("host-record=a.x,10.0.0.1\ncname=a.x,b.x\nmx-host=a.x,m.x");

    for question in ["a.x A", "a.x MX", "a.x TXT"] {
        assert_eq!(judged.ask(question), "b.x.", "{question}");
    }
    assert!(judged.has_note(4, "no other records"), "{:?}", judged.notes());
    let judged = Judged::of("cname=a.x,b.lan\naddress=/lan/10.0.0.1");
    assert!(judged.has_note(4, "an address of the domain of b.lan"), "{:?}", judged.notes());
}

#[test]
fn null_stands_for_the_addresses_that_are_not_given() {
    assert_all(&[
        ("address=/y/#\naddress=/y/1.2.3.4", &[("a.y A", "1.2.3.4"), ("a.y AAAA", "::")]),
        ("address=/y/1.2.3.4\naddress=/y/#", &[("a.y A", "1.2.3.4"), ("a.y AAAA", "::")]),
        ("address=/y/1.2.3.4\naddress=/y/1.2.3.4", &[("a.y A", "1.2.3.4")]),
        // There are no servers for names without a dot then.
        (
            "address=//1.2.3.4",
            &[("bar A", "1.2.3.4"), ("bar TXT", "REFUSED"), ("a.b A", "default")],
        ),
        (
            "synth-domain=lan,192.168.1.0/24\nsynth-domain=lan,192.168.1.0/25,ip-",
            &[
                ("192-168-1-7.lan A", "192.168.1.7"),
                ("7.1.168.192.in-addr.arpa PTR", "ip-192-168-1-7.lan."),
            ],
        ),
    ]);
}
