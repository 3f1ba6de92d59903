//! What becomes of a query by the manifest of a Corefile, and what is told about it.

use std::path::Path;

use super::{super::Imported, import};
use crate::{
    config::{Names, judge_of},
    judge::{Fate, Judge},
    message::{Qclass, Qtype, Question},
};

/// A Corefile with one block for all names.
fn root(lines: &str) -> String {
    format!(". {{\n{lines}\nforward . 192.0.2.1\n}}\n")
}

/// The notes, but for those that nearly every Corefile has.
fn notes(imported: &Imported) -> Vec<String> {
    let notes = imported.notes.iter().map(|note| format!("{}: {note}", note.line));
    let usual = ["it stays plain", "/etc/hosts is not read", "each record keeps a TTL of its own"];
    let is_usual = |note: &String| usual.iter().any(|usual| note.contains(usual));
    notes.filter(|note| !is_usual(note)).collect()
}

/// A manifest, and what it does.
struct Made {
    imported: Imported,
    judge: Judge,
}

fn made(corefile: &str) -> Made {
    let imported = import(corefile);
    let spec = &imported.proxy.spec;
    let names = Names::read(spec, Some(Path::new("/")), &Names::default());
    let judge = judge_of(spec, &names).unwrap_or_else(|error| panic!("{corefile}: {error:?}"));
    assert!(imported.carried > 0, "{corefile}: {:?}", imported.notes);
    Made { imported, judge }
}

impl Made {
    /// Whom a query is for, or the answer: its response code, and the data of its records in order.
    fn fate(&self, name: &str, qtype: Qtype) -> String {
        self.fate_for("127.0.0.1", name, qtype)
    }

    fn asked_by(&self, client: &str, name: &str) -> String {
        self.fate_for(client, name, Qtype::A)
    }

    fn fate_for(&self, client: &str, name: &str, qtype: Qtype) -> String {
        let question = Question { name: name.parse().unwrap(), qtype, qclass: Qclass::IN };
        let judgement = self.judge.judge(&question, client.parse().unwrap(), |_| {});
        match judgement.fate {
            Fate::Asked(route) => self.upstreams(route),
            Fate::NoRoute => "REFUSED".to_owned(),
            Fate::Made { rcode, response, .. } => {
                let [answers, ..] = &response.sections;
                let data = answers.iter().map(|it| format!("{} {}", it.ttl, data(&it.data)));
                let data = data.collect::<Vec<_>>().join(", ");
                if data.is_empty() { rcode.to_string() } else { data }
            }
            other @ (Fate::Failed(_) | Fate::Dropped | Fate::Any) => format!("{other:?}"),
        }
    }

    /// The last octet of each address that is asked.
    fn upstreams(&self, route: usize) -> String {
        let spec = &self.imported.proxy.spec;
        let route = &spec.routes.as_ref().unwrap()[route];
        let of = |name: &String| spec.upstreams.iter().find(|it| it.name == *name).unwrap();
        let addresses = route.upstreams.iter().flat_map(|name| of(name).addresses.clone());
        let ends = addresses.map(|address| format!("up{}", address.rsplit('.').next().unwrap()));
        ends.collect::<Vec<_>>().join(" ")
    }

    fn a(&self, name: &str) -> String {
        self.fate(name, Qtype::A)
    }
}

fn data(data: &crate::message::response::Data) -> String {
    match (&*data.head, &*data.names) {
        ([a, b, c, d], []) => format!("{a}.{b}.{c}.{d}"),
        (head, []) if head.len() == 16 => {
            std::net::Ipv6Addr::from(<[u8; 16]>::try_from(head).unwrap()).to_string()
        }
        (_, [name, ..]) => name.to_string(),
        (head, []) => format!("{head:?}"),
    }
}

#[test]
fn a_type_called_any_is_not_every_type() {
    let any = made(&root("acl {\n block type ANY\n}"));
    assert_eq!(any.a("a.example."), "up1");
    assert_eq!(any.fate("a.example.", Qtype::ANY), "REFUSED");

    let star = made(&root("acl {\n block type MX *\n}"));
    assert_eq!(star.a("a.example."), "REFUSED");
}

/// What no rule can be for must open nothing.
#[test]
fn a_type_that_no_rule_is_for_takes_no_others_out_of_an_acl() {
    for types in ["ANY AXFR IXFR", "any ANY", "AXFR ANY"] {
        let made = made(&root(&format!("acl {{\nblock type {types} net *\n}}")));
        assert_eq!(made.fate("a.example.", Qtype::ANY), "REFUSED", "{types}");
        assert_eq!(made.a("a.example."), "up1", "{types}");
        assert!(notes(&made.imported).is_empty(), "{types}: {:?}", made.imported.notes);
    }
    let mail = notes(&import(&root("acl {\nblock type maila ANY\n}")));
    assert!(mail[0].starts_with("3: acl block type maila ANY: MAILA and MAILB are"), "{mail:?}");
    let transfers = made(&root("acl {\nallow type IXFR\nblock type AXFR\n}"));
    assert_eq!(transfers.a("a.example."), "up1");
    assert!(transfers.imported.proxy.spec.rules.is_none());

    let unknown = made(&root("acl {\nblock type ANY NOSUCH\n}"));
    let told = notes(&unknown.imported);
    assert!(told[0].contains("`NOSUCH`: not a type") && told[0].contains("NOTHING"), "{told:?}");
}

/// Each holds for every name of every block, whatever else stands there.
#[test]
fn a_value_that_a_manifest_cannot_have_does_not_lose_the_whole_file() {
    let up = "forward . 192.0.2.1";
    for (why, corefile, told) in [
        ("one zone on two ports", format!(".:7201 .:7203 {{\n{up}\n}}\n"), None),
        (
            "one zone over two transports",
            format!("tls://.:8853 .:7201 {{\n{up}\n}}\n"),
            Some("1: tls://.:8853: tls:// is not served here yet"),
        ),
        (
            "no health check",
            root("forward a.example 192.0.2.2 {\nhealth_check 0s\nexpire 48h\n}"),
            Some("3: health_check 0s: it cannot be switched off"),
        ),
        (
            "a connection kept for days",
            root("forward a.example 192.0.2.2 {\nexpire 48h\n}"),
            Some("3: expire 48h: 1h instead"),
        ),
        (
            "a server twice",
            root("forward a.example 192.0.2.2 192.0.2.2"),
            Some("2: forward a.example 192.0.2.2 192.0.2.2: a server that stands here twice"),
        ),
        (
            "a server that cannot be asked",
            root("forward a.example fe80::1"),
            Some("2: forward a.example fe80::1: `fe80::1`: fe80::1 is one of a link"),
        ),
        (
            "answers that are asked for again early",
            root("cache {\nprefetch 1 1h 75%\n}"),
            Some("2: cache: 50 instead of 75: `cache.prefetch.remainingPercent`"),
        ),
        (
            "answers that are kept for a month",
            root("cache {\nsuccess 100 2592000\ndenial 100 2592000\nserve_stale 720h\n}"),
            Some("2: cache: 168h instead of 720h: `cache.serveStale.maxAge`"),
        ),
        ("a zone with a port", root("forward a.example:53 192.0.2.2"), None),
        ("a zone with a scheme", root("forward dns://A.Example. 192.0.2.2"), None),
        ("a large buffer", root("bufsize 65000"), Some("2: bufsize 65000: 4096 octets instead")),
        ("a byte order mark", format!("\u{feff}{}", root("")), None),
        (
            "one zone in two blocks",
            format!(".:53 {{\n{up}\n}}\n.:54 {{\nforward . 192.0.2.9\n}}\n"),
            Some("4: .: the block of line 1 is for this zone"),
        ),
    ] {
        let made = made(&corefile);
        let notes = notes(&made.imported);

        assert_eq!(made.a("b.example."), "up1", "{why}");
        let is_told = |told: &str| notes.iter().any(|note| note.starts_with(told));
        assert!(told.is_none_or(is_told), "{why}: {notes:?}");
        if corefile.contains("192.0.2.2") {
            assert_eq!(made.a("x.a.example."), "up2", "{why}");
        }
        assert!(told.is_some() || notes.is_empty(), "{why}: {notes:?}");
    }
}

/// As in a container, where Docker's own resolver is at a loopback address and the server at every other one.
#[test]
fn a_server_at_a_loopback_address_is_asked_and_not_listened_at() {
    let docker = made(".:53 {\nforward . 127.0.0.11\n}\n");

    assert_eq!(docker.a("a.test."), "up11");
    assert!(docker.imported.proxy.spec.listeners.is_none());
    let told = notes(&docker.imported);
    assert!(
        told[0].starts_with("0: listener [::]:53: left out: 127.0.0.11:53 is an up"),
        "{told:?}"
    );
    assert!(told[1].contains("until then queries are taken at 127.0.0.1:5300"), "{told:?}");

    let two = made(".:53 .:54 {\nforward . 127.0.0.11\n}\n");
    let dns = two.imported.proxy.spec.listeners.as_ref().unwrap().dns.as_ref().unwrap();
    assert_eq!(dns.addresses, ["[::]:54"]);
}

/// There the block with the longest zone is for a query, and in it the first `forward` that takes the name.
#[test]
fn a_forward_is_for_the_names_that_come_to_it() {
    let block = |zone: &str, lines: &str| format!("{zone} {{\n{lines}\n}}\n");
    let to = |zone: &str, server: u8| format!("forward {zone} 192.0.2.{server}\n");
    let above = block(".", &to(".", 1));
    for (why, corefile, fates, told) in [
        (
            "a deeper block hides it",
            block(".", &(to("b.a.test", 2) + &to(".", 1))) + &block("a.test", &to(".", 3)),
            vec![("x.b.a.test.", "up3"), ("x.test.", "up1")],
            "2: forward b.a.test 192.0.2.2: left out",
        ),
        (
            "a zone outside of its block",
            block("a.test", &to("b.test", 2)) + &above,
            vec![("x.b.test.", "up1"), ("x.a.test.", "REFUSED")],
            "2: forward b.test 192.0.2.2: left out",
        ),
        (
            "a zone wider than its block",
            block("a.test", &to("test", 1)),
            vec![("x.a.test.", "up1"), ("b.test.", "REFUSED")],
            "",
        ),
        (
            "the first one counts, not the longest",
            block(".", &(to(".", 1) + &to("a.test", 2))),
            vec![("x.a.test.", "up1")],
            "3: forward a.test 192.0.2.2: left out",
        ),
        (
            "the first of three",
            block(".", &(to("a.test", 2) + &to("b.a.test", 3) + &to(".", 1))),
            vec![("x.b.a.test.", "up2"), ("x.test.", "up1")],
            "3: forward b.a.test 192.0.2.3: left out",
        ),
        (
            "what one leaves out goes to the next",
            block(".", "forward a.test 192.0.2.2 {\nexcept b.a.test\n}\nforward . 192.0.2.1"),
            vec![("x.b.a.test.", "up1"), ("x.a.test.", "up2"), ("x.test.", "up1")],
            "",
        ),
        (
            "to one for all names, too",
            block(".", "forward . 192.0.2.1 {\nexcept dns://a.test:53\n}\nforward . 192.0.2.2"),
            vec![("x.a.test.", "up2"), ("x.test.", "up1")],
            "",
        ),
        (
            "to nobody where there is none",
            block(".", "forward . 192.0.2.1 {\nexcept a.test\n}\nforward b.a.test 192.0.2.2"),
            vec![("x.a.test.", "REFUSED"), ("x.b.a.test.", "up2"), ("x.test.", "up1")],
            "2: forward . 192.0.2.1: `except`: no other `forward` of this block takes a.test: REFUSED",
        ),
        (
            "all names left out",
            block(".", "forward . 192.0.2.1 {\nexcept .\n}\nforward a.test 192.0.2.2"),
            vec![("x.a.test.", "up2"), ("x.test.", "REFUSED")],
            "2: forward . 192.0.2.1: ",
        ),
        (
            "names left out of a zone, in a block without others",
            block(".", "forward test 192.0.2.1 {\nexcept a.test\n}"),
            vec![("x.a.test.", "REFUSED"), ("x.test.", "up1"), ("x.", "REFUSED")],
            "2: forward test 192.0.2.1: `except`: no other `forward` of this block takes a.test",
        ),
        (
            "a block in a block that leaves something out",
            block("a.test", "forward . 192.0.2.2 {\nexcept b.a.test\n}") + &above,
            vec![("x.a.test.", "up2"), ("x.b.a.test.", "REFUSED"), ("x.test.", "up1")],
            "2: forward . 192.0.2.2: `except`: no other `forward` of this block takes b.a.test",
        ),
    ] {
        let made = made(&corefile);
        for (name, expected) in fates {
            assert_eq!(made.a(name), expected, "{why}: {name}");
        }
        let notes = notes(&made.imported);
        let notes: Vec<_> = notes.iter().filter(|note| !note.contains("no `forward`")).collect();
        assert_eq!(notes.is_empty(), told.is_empty(), "{why}: {notes:?}");
        assert!(notes.iter().all(|note| note.starts_with(told)), "{why}: {notes:?}");
    }
}

/// As lists of domains are written for CoreDNS: in one block, in a block each, or behind `except`.
#[test]
fn there_may_be_more_zones_than_a_route_may_have() {
    const MANY: usize = 3000;
    let zones: Vec<_> = (0..MANY).map(|i| format!("z{i}.test")).collect();
    let to = |server: u8| format!("forward . 192.0.2.{server}");
    let above = format!(". {{\n{}\n}}\n", to(1));
    let deeper = format!("a.z0.test {{\n{}\n}}\n", to(3));
    let one = format!("{} {{\n{}\n}}\n", zones.join(" "), to(2));
    let each: String = zones.iter().map(|zone| format!("{zone} {{\n{}\n}}\n", to(2))).collect();
    let except =
        format!(". {{\n{} {{\nexcept {}\n}}\n{}\n}}\n{deeper}", to(1), zones.join(" "), to(2));
    for (why, corefile, other) in [
        ("one block", format!("{one}{above}{deeper}"), "up1"),
        ("one block alone", one, "REFUSED"),
        ("a block each", format!("{above}{each}{deeper}"), "up1"),
        ("what one leaves out", except, "up1"),
    ] {
        let made = made(&corefile);

        let spec = &made.imported.proxy.spec;
        assert!(spec.rules.as_ref().is_some_and(|rules| rules.len() < 10), "{why}: few rules");
        let deep = if why.ends_with("alone") { "up2" } else { "up3" };
        for (name, expected) in [
            ("z0.test.", "up2"),
            ("x.z2999.test.", "up2"),
            ("x.a.z0.test.", deep),
            ("test.", other),
            ("z3000.test.", other),
        ] {
            assert_eq!(made.a(name), expected, "{why}: {name}");
        }
        assert!(notes(&made.imported).is_empty(), "{why}: {:?}", notes(&made.imported));
    }
}

#[test]
fn blocks_that_ask_the_same_servers_share_a_route() {
    let block = |i: usize| {
        let hosts = format!("hosts {{\n10.0.0.{} h.z{i}.test\nfallthrough\n}}", i % 250);
        format!("z{i}.test {{\n{hosts}\nforward . 192.0.2.{}\n}}\n", 2 + i % 3)
    };
    let made = made(&((0..600).map(block).collect::<String>() + &root("")));

    assert_eq!(made.imported.proxy.spec.routes.as_ref().unwrap().len(), 4);
    assert_eq!((made.a("x.z598.test."), made.a("x.z599.test.")), ("up3".into(), "up4".into()));
    assert_eq!(
        (made.a("h.z599.test."), made.a("x.test.")),
        ("3600 10.0.0.99".into(), "up1".into())
    );
}

#[test]
fn zones_and_servers_may_be_called_like_what_has_a_name_of_its_own() {
    let made = made(
        "default {\nforward . 192.0.2.2\n}\ncluster.dns {\nforward . tls://192.0.2.3 {\n\
        tls_servername cluster.dns\n}\n}\n. {\nforward . 192.0.2.1\n}\n",
    );

    for (name, expected) in [("a.default.", "up2"), ("a.cluster.dns.", "up3"), ("a.test.", "up1")] {
        assert_eq!(made.a(name), expected, "{name}");
    }
}

/// To CoreDNS it is a block for each of its zones.
#[test]
fn rules_of_a_block_with_zones_of_several_depths_are_for_none_of_another_block() {
    let lines = "acl {\nblock type MX\n}\ntemplate IN TXT {\nrcode NXDOMAIN\n}\nhosts {\n10.0.0.1 h.x.c.test h.test\nfallthrough\n}";
    let made = made(&format!(
        ". x.c.test {{\n{lines}\nforward . 192.0.2.1\n}}\nc.test {{\nforward . 192.0.2.2\n}}\n"
    ));
    for (name, own) in [("y.test.", true), ("y.c.test.", false), ("y.x.c.test.", true)] {
        let [a, txt, mx] = if own { ["up1", "NXDOMAIN", "REFUSED"] } else { ["up2"; 3] };
        assert_eq!(made.a(name), a, "{name}");
        assert_eq!(made.fate(name, Qtype(16)), txt, "{name}");
        assert_eq!(made.fate(name, Qtype::MX), mx, "{name}");
    }
    for name in ["h.x.c.test.", "h.test."] {
        assert_eq!(made.a(name), "3600 10.0.0.1");
    }
    let names = made.fate("1.0.0.10.in-addr.arpa.", Qtype::PTR);
    assert_eq!(names, "3600 h.test., 3600 h.x.c.test.");
    assert!(notes(&made.imported).is_empty(), "{:?}", notes(&made.imported));
}

#[test]
fn what_cannot_be_read_at_all_is_told_and_nothing_else() {
    let imported = import(". {\nforward . 192.0.2.1\n");
    let told: Vec<_> = imported.notes.iter().map(ToString::to_string).collect();
    assert_eq!((imported.carried, told), (0, vec!["this block: its `}` is missing".to_owned()]));
}

#[test]
fn a_star_in_hosts_is_for_names_without_a_line_of_their_own() {
    let lines = "1.2.3.4 *.w.test\n1.2.3.5 x.w.test\n2001:db8::1 y.w.test\n::ffff:1.2.3.9 c.test";
    // Lines are those of `spec.hosts`, or rules where they are for names of some zones alone.
    for corefile in [
        root(&format!("hosts {{\n{lines}\nfallthrough\n}}")),
        format!("test {{\nhosts {{\n{lines}\nfallthrough\n}}\nforward . 192.0.2.1\n}}\n"),
    ] {
        let made = made(&corefile);

        assert_eq!(made.a("x.w.test."), "3600 1.2.3.5", "{corefile}");
        assert_eq!(made.a("z.w.test."), "3600 1.2.3.4", "{corefile}");
        assert_eq!(made.a("a.b.w.test."), "up1", "{corefile}");
        assert_eq!(made.a("y.w.test."), "3600 1.2.3.4", "the other family: {corefile}");
        assert_eq!(made.fate("y.w.test.", Qtype::AAAA), "3600 2001:db8::1", "{corefile}");
        assert_eq!(made.a("c.test."), "3600 1.2.3.9", "{corefile}");
        assert!(notes(&made.imported).is_empty(), "{:?}", notes(&made.imported));
    }
}

#[test]
fn lines_of_hosts_go_with_those_of_its_file() {
    let made = made(&root("hosts hf {\n10.6.6.6 both.test other.test\nttl 60\nfallthrough\n}"));

    let hosts = made.imported.proxy.spec.hosts.as_ref().unwrap();
    assert_eq!(hosts.sources[0].file.as_deref(), Some("hf"));
    let inline = hosts.sources[1].inline.as_deref();
    assert_eq!(inline, Some("10.6.6.6 both.test\n10.6.6.6 other.test\n"));
    assert_eq!(made.a("both.test."), "60 10.6.6.6");
    let names = made.fate("6.6.6.10.in-addr.arpa.", Qtype::PTR);
    assert_eq!(names, "60 both.test., 60 other.test.");
    let told = notes(&made.imported);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("an address of the file has the first name of each line"), "{told:?}");
}

#[test]
fn hosts_of_a_block_are_for_its_own_names() {
    let up = "forward . 192.0.2.1";
    let hosts = "hosts {\n1.2.3.4 h.foo bad..name h.a.test\nfallthrough\n}";
    let lone = made(&format!("a.test {{\n{hosts}\n{up}\n}}\n"));
    let beside = made(&format!("a.test {{\n{hosts}\n{up}\n}}\n. {{\n{up}\n}}\n"));
    let reverse = "4.3.2.1.in-addr.arpa.";

    for (made, others) in [(&lone, "REFUSED"), (&beside, "up1")] {
        assert_eq!(made.a("h.a.test."), "3600 1.2.3.4");
        assert_eq!(made.a("x.a.test."), "up1");
        assert_eq!(made.a("h.foo."), others);
        assert_eq!(made.fate(reverse, Qtype::PTR), others);
        let told = notes(&made.imported);
        assert!(told[0].starts_with("3: h.foo: left out: it is no name of this block"), "{told:?}");
        assert!(told[1].starts_with("3: bad..name: left out"), "{told:?}");
    }
    let with_reverse = made(&format!("a.test 1.2.3.0/24 {{\n{hosts}\n{up}\n}}\n"));
    assert_eq!(with_reverse.fate(reverse, Qtype::PTR), "3600 h.a.test.");
    let hidden = made(&format!("a.test {{\n{up}\n}}\n. {{\n{hosts}\n{up}\n}}\n"));
    assert_eq!(hidden.a("h.a.test."), "up1");
    assert_eq!(hidden.a("h.foo."), "3600 1.2.3.4");
}

/// A block with a longer zone ends before the `acl` of another one stands there.
#[test]
fn no_hosts_file_of_one_block_goes_around_the_acl_of_another() {
    let file = |name: &str, text: &str| {
        let name = format!("dnsproxy-acl-{name}-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let a = file("a", "10.1.0.1 h.a.corp.test\n");
    let corp = file("corp", "10.1.0.2 h.corp.test x.a.corp.test\n");
    let made = made(&format!(
        "a.corp.test {{\nhosts {} {{\nfallthrough\n}}\n}}\n\
        corp.test {{\nacl {{\nblock net 10.9.0.0/16\n}}\nhosts {} {{\nfallthrough\n}}\n}}\n\
        . {{\nforward . 192.0.2.1\n}}\n",
        a.display(),
        corp.display()
    ));

    for (why, client, name, expected) in [
        ("who is shut out", "10.9.1.1", "h.corp.test.", "REFUSED"),
        ("who is not", "10.8.1.1", "h.corp.test.", "3600 10.1.0.2"),
        ("it is for its block alone", "10.9.1.1", "h.a.corp.test.", "3600 10.1.0.1"),
        ("a name of the deeper block", "10.8.1.1", "x.a.corp.test.", "REFUSED"),
        ("a name of no file", "10.8.1.1", "y.corp.test.", "REFUSED"),
    ] {
        assert_eq!(made.asked_by(client, name), expected, "{why}");
    }
    let told = notes(&made.imported).join("\n");
    assert!(
        told.contains("the `acl` of corp.test (line 6) does NOT hold for names that"),
        "{told}"
    );
    [a, corp].iter().for_each(|file| std::fs::remove_file(file).unwrap());
}

/// There each block has hosts of its own; here `spec.hosts` is one for all.
#[test]
fn a_hosts_file_is_for_the_names_of_its_block_alone() {
    let file = std::env::temp_dir().join(format!("dnsproxy-hosts-{}", std::process::id()));
    std::fs::write(&file, "10.1.0.1 h.a.test h.b.test\n").unwrap();
    let hosts = format!("hosts {} {{\nfallthrough\n}}", file.display());
    let block = |zone: &str, lines: &str, server: u8| {
        format!("{zone} {{\n{lines}\nforward . 192.0.2.{server}\n}}\n")
    };
    let (reverse, here) = ("1.0.1.10.in-addr.arpa.", "3600 10.1.0.1");
    for (why, corefile, fates) in [
        (
            "beside deeper blocks",
            block(".", &hosts, 1) + &block("b.test", "", 2) + &block("1.10.in-addr.arpa", "", 3),
            [here, "up2", "up3", "up1"],
        ),
        (
            "in a deeper one",
            block(".", "", 1) + &block("a.test", &hosts, 2),
            [here, "up1", "up1", "up1"],
        ),
        ("alone", block("a.test", &hosts, 2), [here, "REFUSED", "REFUSED", "REFUSED"]),
        (
            "beside one that rewrites",
            block(".", "rewrite name q.test h.b.test", 1)
                + &block("a.test", &hosts, 2)
                + &block("b.test", "", 3),
            [here, "up3", "up1", "up1"],
        ),
        (
            "with its addresses",
            block(".", "", 1) + &block("a.test 10.1.0.0/16", &hosts, 2),
            [here, "up1", "3600 h.a.test.", "up1"],
        ),
    ] {
        let made = made(&corefile);
        let [h, other, ptr, q] = fates;
        assert_eq!(made.a("h.a.test."), h, "{why}");
        assert_eq!(made.a("h.b.test."), other, "{why}");
        assert_eq!(made.fate(reverse, Qtype::PTR), ptr, "{why}");
        assert_eq!(made.a("q.test."), q, "{why}");
        assert!(notes(&made.imported).iter().all(|it| it.contains("first name of each line")));
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn there_may_be_more_lines_of_hosts_than_rules() {
    let lines: String =
        (0..6000).map(|i| format!("10.0.{}.{} n{i}.test\n", i / 250, i % 250)).collect();
    let made = made(&root(&format!("hosts {{\n{lines}\nfallthrough\n}}\ncache 30")));

    assert_eq!(made.a("n5999.test."), "30 10.0.23.249", "no longer than the cache has it");

    let of_zone = |lines: &str| {
        let up = "forward . 192.0.2.1";
        self::made(&format!(
            "test {{\nhosts {{\n{lines}\n}}\n{up}\n}}\n. {{\nforward . 192.0.2.2\n}}\n"
        ))
    };
    let made = of_zone(&format!("{lines}fallthrough"));
    assert_eq!(made.a("n9.test."), "3600 10.0.0.9");
    assert_eq!(made.a("n5999.test."), "3600 10.0.23.249");
    assert_eq!((made.a("x.test."), made.a("n5999.")), ("up1".into(), "up2".into()));
    assert_eq!(made.fate("9.0.0.10.in-addr.arpa.", Qtype::PTR), "up2", "of another block");
    assert!(notes(&made.imported).is_empty(), "{:?}", notes(&made.imported));

    let stars = "10.1.1.1 *.test\n10.1.1.2 n.w.test\n::1 *.w.test\n";
    let with_star = of_zone(&format!("{lines}{stars}fallthrough"));
    assert_eq!(with_star.a("n9.test."), "3600 10.0.0.9");
    assert_eq!(with_star.a("n.w.test."), "3600 10.1.1.2");
    assert_eq!(with_star.fate("n.w.test.", Qtype::AAAA), "3600 ::1", "the other family");
    assert_eq!(
        (with_star.a("x.test."), with_star.a("x.x.test.")),
        ("3600 10.1.1.1".into(), "up1".into())
    );
}

/// Of many blocks with some lines each.
#[test]
fn lines_of_hosts_of_all_blocks_are_not_more_rules_than_there_may_be() {
    let block = |zone: usize| {
        let line = |i: usize| format!("10.{zone}.{}.{} n{i}.z{zone}.test\n", i / 250, i % 250);
        let lines: String = (0..900).map(line).collect();
        format!("z{zone}.test {{\nhosts {{\n{lines}fallthrough\n}}\nforward . 192.0.2.{zone}\n}}\n")
    };
    let made = made(&(1..=5).map(block).collect::<String>());

    assert_eq!(made.a("n899.z5.test."), "3600 10.5.3.149");
    assert_eq!((made.a("x.z4.test."), made.a("x.test.")), ("up4".into(), "REFUSED".into()));
    assert!(made.imported.proxy.spec.rules.as_ref().unwrap().len() < 20);
}

#[test]
fn where_hosts_do_not_fall_through_is_told() {
    let told = |end: &str| notes(&import(&root(&format!("hosts {{\n1.2.3.4 a.test\n{end}\n}}"))));
    assert!(told("fallthrough").is_empty());
    assert!(told("fallthrough .").is_empty());
    assert!(told("")[0].contains("names that are not there would get SERVFAIL"));
    assert!(told("fallthrough b.test")[0].contains("and not in b.test, would get SERVFAIL"));
}

/// There the block is chosen before the name is rewritten.
#[test]
fn a_rewritten_name_goes_to_the_upstreams_of_its_block() {
    let block = |zone: &str, lines: &str, server: u8| {
        format!("{zone} {{\n{lines}\nforward . 192.0.2.{server}\n}}\n")
    };
    for (why, corefile, fates, told) in [
        (
            "into a deeper block",
            block(".", "rewrite name q.test x.a.test", 1) + &block("a.test", "", 2),
            vec![("q.test.", "up1"), ("x.a.test.", "up2"), ("x.test.", "up1")],
            "",
        ),
        (
            "into a deeper block, with any ending",
            block(".", "rewrite name regex ^q-(.*)\\.$ {1}", 1) + &block("a.test", "", 2),
            vec![("q-x.a.test.", "up2"), ("q-a.test.", "up1"), ("y.a.test.", "up2"), ("y.", "up1")],
            "",
        ),
        (
            "out of a block that is alone",
            block("a.test", "rewrite name suffix .a.test .b.test", 1),
            vec![("x.a.test.", "up1"), ("x.c.test.", "REFUSED")],
            "2: rewrite name suffix .a.test .b.test: this block's upstreams are asked for names in b.test",
        ),
        (
            "out of a block, into that around it",
            block("a.test", "rewrite name suffix .a.test .b.test", 1) + &block(".", "", 2),
            vec![("x.b.test.", "up2"), ("x.c.test.", "up2")],
            "2: rewrite name suffix .a.test .b.test: a name that becomes one in b.test goes the way",
        ),
        (
            "to another forward of the block",
            block("a.test", "rewrite name x.a.test x.b.test\nforward b.test 192.0.2.3", 1),
            vec![("x.a.test.", "up3"), ("y.a.test.", "up1")],
            "2: rewrite name x.a.test x.b.test: this block's upstreams are asked",
        ),
        (
            "a name that is none of the block",
            block("a.test", "rewrite name c.test x.a.test", 1),
            vec![("c.test.", "REFUSED"), ("x.a.test.", "up1")],
            "2: rewrite name c.test x.a.test: left out: no name in a.test matches",
        ),
        (
            "anything into the block",
            block("a.test", "rewrite name regex (.*)\\.c\\.test\\. {1}.a.test", 1),
            vec![("x.a.test.", "up1")],
            "2: rewrite name regex (.*)\\.c\\.test\\. {1}.a.test: here it holds for every name",
        ),
        (
            "types are those of the block's names",
            block("a.test", "rewrite type A HINFO\nrewrite ttl regex .* 5", 1) + &block(".", "", 2),
            vec![("x.a.test.", "up1"), ("x.test.", "up2")],
            "3: rewrite ttl regex .* 5: here it holds for every name",
        ),
    ] {
        let made = made(&corefile);
        for (name, expected) in fates {
            assert_eq!(made.a(name), expected, "{why}: {name}");
        }
        let notes = notes(&made.imported);
        let notes: Vec<_> = notes.iter().filter(|note| !note.contains("ends the way")).collect();
        assert_eq!(notes.len(), usize::from(!told.is_empty()), "{why}: {notes:?}");
        assert!(notes.iter().all(|note| note.starts_with(told)), "{why}: {notes:?}");
    }
}

/// What is told of a block for all names beside that.
fn told(lines: &str) -> Vec<String> {
    notes(&import(&root(lines)))
}

#[test]
fn patterns_are_compared_as_coredns_normalises_them() {
    let prefix = made(&root("rewrite name prefix foo bar\nforward foobar.test 192.0.2.2"));
    let question = |made: &Made, name: &str| {
        let (name, qtype) = (name.parse().unwrap(), Qtype::A);
        let question = Question { name, qtype, qclass: Qclass::IN };
        let decision = made.judge.judge(&question, "127.0.0.1".parse().unwrap(), |_| {}).decision;
        decision.question.map_or_else(|| "-".to_owned(), |question| question.name.to_string())
    };
    assert_eq!(question(&prefix, "foo.test."), "bar.test.");
    assert_eq!(question(&prefix, "foobar.test."), "-");

    let substring = made(&root("rewrite name substring foo bar"));
    assert_eq!(question(&substring, "a.xfoo.test."), "a.xbar.test.");
    assert_eq!(question(&substring, "a.foox.test."), "-");

    let words = made(&root("rewrite STOP NAME Suffix .a.test .b.test"));
    assert_eq!(question(&words, "x.a.test."), "x.b.test.");

    let told = told("rewrite cname suffix a.test b.test");
    assert!(told[0].starts_with("2: rewrite cname suffix a.test b.test: left out"), "{told:?}");
}

#[test]
fn more_changes_of_one_name_than_one_are_told() {
    let of = |answers: &str| told(&format!("rewrite name suffix .a.test .b.test {answers}"));
    let (name, value) =
        ("answer name (.*)\\.b\\.test {1}.a.test", "answer value (.*)\\.b\\.test {1}.a.test");

    assert!(of("").is_empty() && of(name).is_empty() && of("answer auto").is_empty());
    assert!(of(&format!("{name} {value}")).is_empty(), "names and values are not each other's");
    for two in [format!("{name} {name}"), format!("answer auto {value}")] {
        assert!(of(&two)[0].contains("makes each change of a name in the answer"), "{two}");
    }
}

/// plugin/rewrite/README.md, "Multiple Response Rewrites".
#[test]
fn the_word_before_all_changes_of_an_answer_but_the_first_may_be_missing() {
    let of = |answers: &str| {
        let imported = import(&root(&format!("rewrite name suffix .a.test .b.test {answers}")));
        (notes(&imported), format!("{:?}", imported.proxy.spec.rules))
    };
    let (name, value) = ("name (.*)\\.b\\.test {1}.a.test", "value (.*)\\.b\\.test {1}.a.test");

    let whole = of(&format!("answer {name} answer {value}"));
    assert!(whole.0.is_empty(), "{whole:?}");
    assert_eq!(of(&format!("answer {name} {value}")), whole);
    assert_eq!(of(&format!("answer auto {value}")).1, of(&format!("answer auto answer {value}")).1);
    // As it stands in its manual, where it is a change of a name called auto.
    let manual = of(&format!("answer name auto answer {value}"));
    assert!(manual.0.is_empty() && manual.1.contains("answer_values: Some"), "{manual:?}");
    assert!(of(value).0[0].contains("`value` is not known here"), "the first has the word");
}

/// It changes each place of a substring; here a target with several is changed at the first one.
#[test]
fn a_substring_of_a_target_is_changed_where_it_stands() {
    let told = told("rewrite cname substring efgh zzzz.www");
    assert!(told.iter().any(|note| note.contains("the first one alone is changed")), "{told:?}");
    let prefix = self::told("rewrite cname prefix efgh zzzz.www");
    assert!(!prefix.iter().any(|note| note.contains("the first one")), "{prefix:?}");
}

#[test]
fn what_is_not_changed_of_own_answers_is_told() {
    let hosts = "hosts {\n1.2.3.4 h.test\nfallthrough\n}";
    let template = "template IN A t.test {\nrcode NXDOMAIN\n}";

    for (rewrite, own) in [
        ("rewrite rcode regex .* NXDOMAIN NOERROR", hosts),
        ("rewrite rcode regex .* NXDOMAIN NOERROR", template),
        ("rewrite ttl suffix .t.test 5", template),
    ] {
        let told = told(&format!("{rewrite}\n{own}"));
        assert!(told[0].contains("answers of `hosts` and `template` stay as they are"), "{told:?}");
    }
    for own in [hosts, template, ""] {
        assert!(told(&format!("rewrite ttl regex .* 5\n{own}")).is_empty(), "{own}");
    }
    assert!(told("cache\nrewrite ttl regex .* 5")[0].contains("the bounds of the cache hold"));
}

#[test]
fn a_rewritten_ttl_is_that_of_own_answers_as_well() {
    let own = "hosts {\n10.0.0.1 h.test\n10.0.0.2 x.test\nttl 100\nfallthrough\n}\n\
               template IN A t.test {\nanswer \"{{ .Name }} 60 IN A 1.2.3.4\"\n}";
    for (rewrites, h, x, reverse, t) in [
        ("", 100, 100, 100, 60),
        ("rewrite ttl regex .* 5", 5, 5, 5, 5),
        ("rewrite ttl regex .* 70-80", 80, 80, 80, 70),
        ("rewrite ttl h.test 5", 5, 100, 100, 60),
        ("rewrite ttl suffix arpa. 5\nrewrite ttl prefix X. 6", 100, 6, 5, 60),
        ("rewrite name suffix x.test y.test\nrewrite ttl h.test 5", 5, 100, 100, 60),
    ] {
        let made = made(&root(&format!("{rewrites}\n{own}")));
        assert_eq!(made.a("h.test."), format!("{h} 10.0.0.1"), "{rewrites}");
        if !rewrites.contains("y.test") {
            assert_eq!(made.a("x.test."), format!("{x} 10.0.0.2"), "{rewrites}");
        }
        let names = made.fate("1.0.0.10.in-addr.arpa.", Qtype::PTR);
        assert_eq!(names, format!("{reverse} h.test."), "{rewrites}");
        assert_eq!(made.a("x.t.test."), format!("{t} 1.2.3.4"), "{rewrites}");
    }
}

#[test]
fn the_case_of_an_expression_is_part_of_it() {
    let hosts = "hosts {\n10.0.0.1 h.example.org\n10.0.0.2 h.test\nfallthrough\n}";
    for regex in [r"^\S+\.example\.org\.$", r"^\D+\.Example\.ORG\.$"] {
        let made = made(&root(&format!("rewrite ttl regex {regex} 60\n{hosts}")));
        assert_eq!(made.a("h.example.org."), "60 10.0.0.1", "{regex}");
        assert_eq!(made.a("h.test."), "3600 10.0.0.2", "{regex}");
    }
}

#[test]
fn settings_of_one_block_that_hold_for_all_are_told() {
    let of = |one: &str, other: &str| {
        let block =
            |zone: &str, lines: &str| format!("{zone} {{\n{lines}\nforward . 192.0.2.1\n}}\n");
        notes(&import(&(block("a.test", one) + &block(".", other))))
    };
    for setting in ["any", "bufsize 512", "cache 30"] {
        assert!(of(setting, "")[0].contains("one for the names of all blocks"), "{setting}");
        assert!(of(setting, setting).is_empty(), "{setting}: {:?}", of(setting, setting));
    }
    assert_eq!(of("cache 30", "cache 60").len(), 2);
}

#[test]
fn blocks_that_listen_elsewhere_are_told() {
    let of = |one: &str, other: &str| {
        let block = |key: &str| format!("{key} {{\nforward . 192.0.2.1\n}}\n");
        notes(&import(&(block(one) + &block(other))))
    };
    assert!(of("a.test:53", ".").is_empty());
    let told = of("a.test:7201", ".:7203");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].starts_with("4: .: blocks listen on different ports"), "{told:?}");
}

#[test]
fn the_ttl_of_a_template_stands_before_the_type() {
    for (record, expected) in [
        ("SRV 0 5 443 t.x.test.", "30 SRV 0 5 443 t.x.test."),
        ("IN SRV 0 5 443 t.x.test.", "30 IN SRV 0 5 443 t.x.test."),
        ("10 IN SRV 0 5 443 t.x.test.", "10 IN SRV 0 5 443 t.x.test."),
        ("in 10 SRV 0 5 443 t.x.test.", "10 in SRV 0 5 443 t.x.test."),
        ("10 SRV 0 5 443 t.x.test.", "10 SRV 0 5 443 t.x.test."),
        ("90\tSRV  0 5 443 t.x.test.", "30 SRV  0 5 443 t.x.test."),
    ] {
        let answer = format!("template IN SRV x.test {{\nanswer \"{{{{ .Name }}}} {record}\"\n}}");
        let made = made(&root(&format!("cache 30\n{answer}")));
        let rules = made.imported.proxy.spec.rules.as_ref().unwrap();
        assert_eq!(rules[0].answer.as_ref().unwrap().records, [expected], "{record}");
    }
}

#[test]
fn a_template_answers_as_it_does_there() {
    let record = "template IN A a.test {\nanswer \"{{ .Name }} IN A 1.2.3.4\"\n}";
    let made_of = made(&root(record));
    assert_eq!(made_of.a("x.a.test."), "3600 1.2.3.4", "an hour");
    assert_eq!(made_of.fate("x.a.test.", Qtype::ANY), "3600 1.2.3.4");
    assert_eq!(made_of.fate("x.a.test.", Qtype::MX), "up1");
    assert_eq!(made(&root(&format!("cache 30\n{record}"))).a("x.a.test."), "30 1.2.3.4");
    assert!(told(record).is_empty(), "{:?}", told(record));

    let denied = made(&root("any\ntemplate IN A a.test {\nrcode NXDOMAIN\n}"));
    assert_eq!(denied.a("x.a.test."), "NXDOMAIN");
    assert_eq!(denied.fate("x.a.test.", Qtype::ANY), "Any", "`any` is asked before");

    let beside = "template IN A c.test {\nrcode NXDOMAIN\n}\nforward . 192.0.2.2";
    let outside = made(&format!("a.test {{\n{beside}\n}}\n{}", root("")));
    assert_eq!(outside.a("x.c.test."), "up1");
    assert!(notes(&outside.imported)[0].contains("it is for no name of its block"));
}

#[test]
fn what_a_template_does_not_answer_is_told() {
    let of = |args: &str, lines: &str| told(&format!("template IN {args} {{\n{lines}\n}}"));
    let answer = "answer \"{{ .Name }} 60 IN A 1.2.3.4\"";
    let missed = of("A a.test", &format!("match ^x[.]a\\.test\\.$\n{answer}"));
    assert!(missed[0].contains("names that do not match would get SERVFAIL"), "{missed:?}");
    assert_eq!(missed.len(), 1, "{missed:?}");
    let others = of("A a.test", &format!("match ^x[.]\n{answer}\nfallthrough b.test"));
    assert!(others[0].contains("the regular expression alone decides"), "{others:?}");
    assert!(others[1].contains("SERVFAIL"), "{others:?}");
    let any = of("ANY a.test", answer);
    assert!(any[0].contains("questions for other types than those of its records"), "{any:?}");
    let other = of("AAAA a.test", answer);
    assert!(other[0].contains("is no answer to a question for another type"), "{other:?}");
    assert!(of("ANY a.test", "rcode REFUSED").is_empty());
}

/// There they get the records, which are none of what was asked for.
#[test]
fn a_template_for_any_type_leaves_no_question_to_the_upstreams() {
    let answer = "answer \"{{ .Name }} 60 IN A 1.2.3.4\"";
    let made = made(&root(&format!("template IN ANY a.test {{\n{answer}\n}}")));
    assert_eq!(made.a("x.a.test."), "60 1.2.3.4");
    assert_eq!(made.fate("x.a.test.", Qtype::AAAA), "NOERROR");
    assert_eq!(made.fate("x.test.", Qtype::AAAA), "up1");

    for owner in ["b.test.", "b.test"] {
        let lines = format!("match ^b\\.test\\.$\nanswer \"{owner} 60 IN A 1.2.3.5\"\nfallthrough");
        let named = self::made(&root(&format!("template IN ANY b.test {{\n{lines}\n}}")));
        assert_eq!((named.a("b.test."), named.a("x.b.test.")), ("60 1.2.3.5".into(), "up1".into()));
    }
    let alias = "match ^b\\.test\\.$\nanswer \"b.test 60 IN CNAME c.test.\"\nfallthrough";
    let told = told(&format!("template IN ANY b.test {{\n{alias}\n}}"));
    assert!(told.len() == 1 && told[0].contains("looked up for every type"), "{told:?}");
}

/// The first line that matches decides, over all of them.
#[test]
fn who_is_allowed_by_one_acl_is_not_blocked_by_the_next() {
    let two = "acl a.test {\nallow net 127.0.0.0/8\n}\nacl {\nblock\n}";
    let plain = made(&root(two));
    assert_eq!(plain.a("x.a.test."), "up1");
    assert_eq!(plain.a("x.test."), "REFUSED");
    assert!(notes(&plain.imported).is_empty(), "{:?}", notes(&plain.imported));

    let answered = format!("{two}\ntemplate IN TXT a.test {{\nrcode NXDOMAIN\n}}");
    let shut = made(&root(&answered));
    assert_eq!((shut.a("x.a.test."), shut.a("x.test.")), ("REFUSED".into(), "REFUSED".into()));
    let told = notes(&shut.imported);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("6: acl block: it shuts out those as well whom line 3"),
        "{told:?}"
    );

    let elsewhere = "a.test {\nacl c.test {\nblock\n}\nforward . 192.0.2.2\n}\n";
    assert_eq!(made(&format!("{elsewhere}{}", root(""))).a("c.test."), "up1");
}

/// A rule that allows would end those of `hosts`, too.
#[test]
fn who_is_allowed_is_left_out_of_what_blocks_the_others() {
    let hosts = "hosts {\n10.0.0.1 h.test\nfallthrough\n}";
    for (why, acl, fates, told) in [
        (
            "networks",
            "allow net 127.0.0.0/8 10.1.0.0/16\nblock",
            [("127.0.0.1", true), ("10.1.2.3", true), ("10.2.2.3", false), ("fd00::1", false)],
            "",
        ),
        (
            "in others",
            "allow net 10.1.0.0/16\nfilter type MX\nblock net 10.0.0.0/8",
            [("127.0.0.1", true), ("10.1.2.3", true), ("10.2.2.3", false), ("fd00::1", true)],
            "",
        ),
        (
            "from elsewhere",
            "allow net 192.0.2.0/24\nblock net 10.0.0.0/8",
            [("127.0.0.1", true), ("192.0.2.1", true), ("10.2.2.3", false), ("fd00::1", true)],
            "3: acl allow net 192.0.2.0/24: clients of other networks than private ones",
        ),
        (
            "types",
            "allow type A net 10.1.0.0/16\nblock net 10.0.0.0/8",
            [("127.0.0.1", true), ("10.1.2.3", false), ("10.2.2.3", false), ("fd00::1", true)],
            "4: acl block net 10.0.0.0/8: it shuts out those as well whom line 3 lets pass",
        ),
    ] {
        // Alone, a list of who may ask is `access.allow`.
        let beside = "z.test {\nforward . 192.0.2.2\n}\n";
        let made = made(&(root(&format!("acl {{\n{acl}\n}}\n{hosts}")) + beside));

        for (client, is_answered) in fates {
            let (own, other) =
                if is_answered { ("3600 10.0.0.1", "up1") } else { ("REFUSED", "REFUSED") };
            assert_eq!(made.asked_by(client, "h.test."), own, "{why}: {client}");
            assert_eq!(made.asked_by(client, "x.test."), other, "{why}: {client}");
        }
        let notes = notes(&made.imported);
        assert_eq!(notes.is_empty(), told.is_empty(), "{why}: {notes:?}");
        assert!(notes.iter().all(|note| note.starts_with(told)), "{why}: {notes:?}");
    }
    let unknown = notes(&import(&root("acl {\nblock net nowhere\n}")));
    assert!(unknown[0].contains("NOTHING of this `acl` holds here"), "{unknown:?}");
}

#[test]
fn an_acl_looks_at_the_name_that_a_rewrite_made() {
    let made = made(&root("acl a.test {\nblock\n}\nrewrite name a.test b.test"));
    assert_eq!(made.a("a.test."), "up1");
    assert_eq!(made.a("x.a.test."), "REFUSED");
}

/// As the Corefiles of k3s and AKS have it: what stands behind it is no part of it.
#[test]
fn an_import_between_blocks_costs_no_other_block() {
    let made = made(
        ".:53 {\n forward . 192.0.2.1\n}\nimport /etc/coredns/custom/*.server\ncorp.test:53 {\n forward . 192.0.2.2\n}\n",
    );

    assert_eq!(made.fate("x.corp.test.", Qtype::A), "up2");
    assert_eq!(made.fate("a.import.", Qtype::A), "up1");
    let told = notes(&made.imported);
    assert!(
        told.iter().any(|note| note.starts_with("4: ") && note.contains("one text")),
        "{told:?}"
    );
}

#[test]
fn a_block_for_some_clients_or_another_transport_takes_no_zone_from_others() {
    let view = ".:53 {\n view internal {\n expr true\n }\n forward . 192.0.2.1\n}\n";
    let encrypted = "tls://.:853 {\n forward . 192.0.2.1\n}\n";
    for first in [view, encrypted] {
        let made = made(&format!("{first}.:53 {{\n forward . 192.0.2.2\n}}\n"));
        assert_eq!(made.fate("x.test.", Qtype::A), "up2", "{first}");
        let listeners = made.imported.proxy.spec.listeners.as_ref().unwrap();
        assert_eq!(listeners.dns.as_ref().unwrap().addresses, ["[::]:53"], "{first}");
        let told = notes(&made.imported);
        assert!(told.iter().any(|note| note.contains("on every port")), "{first}: {told:?}");
    }
}

#[test]
fn names_of_a_zone_with_a_hosts_file_alone_go_nowhere_else() {
    let made = made("home.test {\n hosts /nonexistent/hosts\n}\n. {\n forward . 192.0.2.1\n}\n");

    assert_eq!(made.fate("nope.home.test.", Qtype::A), "REFUSED");
    assert_eq!(made.fate("x.test.", Qtype::A), "up1");
    let rules = made.imported.proxy.spec.rules.as_ref().unwrap();
    assert!(rules.iter().any(|rule| rule.name == "hosts" && rule.allow.is_some()), "{rules:?}");
}

/// EKS has a stub domain of one second behind all others.
#[test]
fn of_settings_that_are_one_here_that_of_all_other_names_holds() {
    let block =
        |zone: &str, ttl: u32| format!("{zone} {{\n cache {ttl}\n forward . 192.0.2.1\n}}\n");
    for text in [block(".", 60) + &block("corp.test", 1), block("corp.test", 1) + &block(".", 60)] {
        let made = made(&text);
        let cache = made.imported.proxy.spec.cache.as_ref().unwrap();
        assert_eq!(cache.max_ttl.as_deref(), Some("60s"), "{text}");
    }
}
