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
        // To dnsmasq names with these alone are not there.
        (
            "dns-rr=r.example,99,01\ncaa-record=c.example,0,issue,x",
            &[("r.example A", "default"), ("c.example A", "default")],
        ),
        (
            "local=/lan/\naddress=/lan/1.2.3.4\nserver=/sub.lan/192.0.2.2",
            &[("a.lan AAAA", "NOERROR"), ("a.sub.lan AAAA", "sub-lan, there")],
        ),
    ]);
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

#[test]
fn an_alias_leads_to_the_address_of_a_hosts_file_whatever_else_its_target_has() {
    let judged =
        with_hosts("cname=www.lan,srv1.lan\nmx-host=srv1.lan,mail.lan", "192.168.1.5 srv1.lan\n");

    assert_eq!(judged.ask("www.lan A"), "srv1.lan., 192.168.1.5");
}

#[test]
fn names_that_dnsmasq_does_not_read_in_hosts_files_do_not_leave() {
    let hosts = "fe80::1%eth0 rtr.lan\n192.168.1.5 *.apps.lan own.apps.lan\n10.0.0.2 b.c.lan\n\
                 10.0.0.5 .dot.lan\n10.0.0.6 ok.lan sp!ce.lan\n10.0.0.6 second.lan\n";
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
        "line 6: `second.lan`",
    ] {
        assert!(judged.has_note(4, note), "{note}: {:?}", judged.notes());
    }
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
            ("192-168-1-21.lan A", "default"),
            ("20.1.168.192.in-addr.arpa PTR", "192-168-1-20.lan."),
        ],
    )]);
}
