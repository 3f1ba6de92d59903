//! dnsmasq's configuration, carried over: what its manual says of each option holds here.

use dnsproxy_tests::{
    client::Client,
    import::{assert_valid, cases, import, imported},
    proxy::text,
    upstream::{Action, Received, Upstream},
    wire::{Query, Reply, Response, name_on_wire, rcodes, types},
};
use serde_json::Value;

/// A server as the cases want it: its answers tell which one it is.
fn numbered(n: u8) -> impl FnMut(&Received) -> Vec<Action> + Send {
    move |query| {
        let name = query.name().to_lowercase();
        let first = name.split('.').next().unwrap_or_default();
        let ttl = first.strip_prefix("ttl").and_then(|ttl| ttl.parse().ok()).unwrap_or(300);
        let response = Response::to(&query.message);
        let response = match (first, query.qtype()) {
            (first, _) if first.starts_with("nx") => response.rcode(rcodes::NXDOMAIN).soa(),
            ("priv", types::A) => response.record(types::A, ttl, &[10, 9, 9, 9]),
            ("loop", types::A) => response.record(types::A, ttl, &[127, 0, 0, 2]),
            (_, types::A) => response.record(types::A, ttl, &[198, 51, 100, n]),
            (_, types::AAAA) => response.record(
                types::AAAA,
                ttl,
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n],
            ),
            (_, types::TXT) => response.txt(&format!("S{n}")),
            (_, types::PTR) => {
                response.record(types::PTR, ttl, &name_on_wire(&format!("ptr{n}.example.")))
            }
            _ => response.soa(),
        };
        vec![Action::Send(response.encode())]
    }
}

const MX: u16 = 15;

fn type_of(text: &str) -> u16 {
    match text {
        "A" => types::A,
        "AAAA" => types::AAAA,
        "TXT" => types::TXT,
        "PTR" => types::PTR,
        "MX" => MX,
        "SRV" => 33,
        "CAA" => 257,
        other => panic!("a type {other}"),
    }
}

/// The data of the answers, as the cases write it.
fn values(reply: &Reply) -> Vec<Vec<u8>> {
    reply.answers.iter().map(|record| record.rdata.clone()).collect()
}

fn expected_values(expect: &Value, qtype: &str) -> Option<Vec<Vec<u8>>> {
    let lines = expect.get("answers")?.as_array()?;
    let line = |line: &Value| {
        let text = format!("x. 1 IN {qtype} {}", line.as_str().unwrap());
        dnsproxy_tests::zone::record(&text).1.data
    };
    Some(lines.iter().map(line).collect())
}

async fn check(case: &Value) {
    let id = case["id"].as_str().unwrap();
    let (one, two) = (
        Upstream::plain().script(numbered(1)).start().await,
        Upstream::plain().script(numbered(2)).start().await,
    );
    let place = |server: &Upstream| format!("{}#{}", server.address.ip(), server.address.port());
    let (places, servers) =
        ([("S1", place(&one)), ("S2", place(&two))], [("S1", &one), ("S2", &two)]);
    let options = case["options"].as_array().unwrap().iter().map(|option| {
        let option = option.as_str().unwrap();
        places.iter().fold(option.to_owned(), |option, (name, place)| {
            match option.strip_suffix(name) {
                Some(before) => format!("{before}{place}"),
                None => option,
            }
        })
    });
    let configuration = options.collect::<Vec<_>>().join("\n");
    let proxy = imported("dnsmasq", &configuration).await;
    let (query, expect) = (&case["query"], &case["expect"]);
    let (name, qtype) = (query["name"].as_str().unwrap(), query["type"].as_str().unwrap());
    let client: Client = proxy.client();

    let reply = client.udp(&Query::new(name, type_of(qtype)).edns(1232)).await;

    let asked =
        |server: &Upstream| server.seen().queries.iter().filter(|query| !query.is_check()).count();
    let of = |server: &str| servers.iter().find(|(name, _)| *name == server).unwrap().1;
    match (expect["kind"].as_str().unwrap(), expect["to"].as_str()) {
        ("local", _) => assert_eq!((asked(&one), asked(&two)), (0, 0), "{id}: answered here"),
        (_, Some(to)) => {
            let others = servers.iter().filter(|(name, _)| *name != to);
            assert_eq!(asked(of(to)), 1, "{id}: {to} is asked");
            others.for_each(|(_, other)| assert_eq!(asked(other), 0, "{id}: {to} alone"));
        }
        (other, _) => panic!("{id}: {other}"),
    }
    if let Some(rcode) = expect["rcode"].as_str() {
        let expected = if rcode == "NXDOMAIN" { rcodes::NXDOMAIN } else { 0 };
        assert_eq!(reply.rcode(), expected, "{id}");
    }
    if let Some(expected) = expected_values(expect, qtype) {
        assert_eq!(values(&reply), expected, "{id}: {configuration}");
    }
    if let Some(ttl) = expect["ttl"].as_u64() {
        assert_eq!(u64::from(reply.answers[0].ttl), ttl, "{id}");
    }
    if let Some(second) = expect["second"].as_str() {
        client.udp(&Query::new(name, type_of(qtype)).edns(1232)).await;
        let expected = if second == "cached" { 1 } else { 2 };
        assert_eq!(asked(of(expect["to"].as_str().unwrap())), expected, "{id}: {second}");
    }
}

#[tokio::test]
async fn every_option_means_what_its_manual_says() {
    let cases = cases(include_str!("../cases/dnsmasq_semantics.json"));
    assert!(cases.len() > 50);
    for case in &cases {
        check(case).await;
    }
}

#[tokio::test]
async fn what_is_not_carried_over_is_told_with_its_line() {
    let output = import(
        "dnsmasq",
        "# a comment\nserver=192.0.2.1\ndhcp-range=10.0.0.1,10.0.0.9\nserver=/x/nonsense\n",
    )
    .await;

    let notes = text(&output.stderr);
    assert!(output.status.success(), "{notes}");
    assert!(
        notes.contains("configuration:3: dhcp-range=10.0.0.1,10.0.0.9: it is not about DNS"),
        "{notes}"
    );
    assert!(
        notes.contains("configuration:4: server=/x/nonsense: `nonsense` is no address"),
        "{notes}"
    );
    assert!(notes.contains("configuration:2: server=192.0.2.1: it stays plain"), "{notes}");
}

#[tokio::test]
async fn a_file_without_anything_to_carry_over_is_an_error() {
    let output = import("dnsmasq", "dhcp-range=10.0.0.1,10.0.0.9\n").await;

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
}

/// More of what the manual says, beside the cases of the file.
#[tokio::test]
async fn records_aliases_and_reverse_names_are_answered() {
    let server = Upstream::plain().script(numbered(1)).start().await;
    let proxy = imported(
        "dnsmasq",
        &format!(
            "server={}#{}\nhost-record=nas,nas.example,192.0.2.5,60\ncname=files.example,nas.example\n\
             mx-host=example,mail.example,50\nptr-record=5.2.0.192.in-addr.arpa,other.example\n\
             address=/ads.example/#\nrev-server=192.168.7.0/24,{}#{}\naddress=/#/203.0.113.1\n",
            server.address.ip(), server.address.port(), server.address.ip(), server.address.port()
        ),
    )
    .await;
    let ask = async |name: &str, qtype| proxy.client().ask(name, qtype).await;

    let alias = ask("files.example.", types::A).await;
    let owners: Vec<_> = alias.answers.iter().map(|it| (&*it.owner, it.ttl)).collect();
    assert_eq!(owners, [("files.example.", 0), ("nas.example.", 60)]);
    assert_eq!(ask("x.ads.example.", types::AAAA).await.addresses()[0].to_string(), "::");
    assert_eq!(ask("example.", MX).await.answers.len(), 1);
    let reverse = ask("5.2.0.192.in-addr.arpa.", types::PTR).await;
    let own = name_on_wire("other.example.");
    assert_eq!(reverse.answers[0].rdata, own, "before the first name of the address");
    let private = ask("1.7.168.192.in-addr.arpa.", types::PTR).await;
    assert_eq!(private.answers[0].rdata, name_on_wire("ptr1.example."));
    assert_eq!(ask("any.example.", types::A).await.addresses()[0].to_string(), "203.0.113.1");
}

/// The manual's rules of which option decides, where several are for a name.
#[tokio::test]
async fn the_most_specific_option_with_the_type_decides() {
    let (one, two) = (
        Upstream::plain().script(numbered(1)).start().await,
        Upstream::plain().script(numbered(2)).start().await,
    );
    let place = |server: &Upstream| format!("{}#{}", server.address.ip(), server.address.port());
    let (one_at, two_at) = (place(&one), place(&two));
    let proxy = imported(
        "dnsmasq",
        &format!(
            "no-resolv\nserver={one_at}\naddress=/both.example/192.0.2.1\nserver=/both.example/{two_at}\n\
             address=/a.dual.example/192.0.2.2\naddress=/dual.example/2001:db8::2\nlocal=/lan/\nserver=/up.lan/{two_at}\n\
             naptr-record=n.example,1,2,s,SIP+D2U,,target.example\nhost-record=h.lan,192.0.2.3\n"
        ),
    )
    .await;
    let ask = async |name: &str, qtype| proxy.client().ask(name, qtype).await;
    let address = async |name: &str, qtype| ask(name, qtype).await.addresses()[0].to_string();

    assert_eq!(address("both.example.", types::A).await, "192.0.2.1");
    assert_eq!(address("both.example.", types::AAAA).await, "2001:db8::2", "its own server");
    assert_eq!(address("a.dual.example.", types::A).await, "192.0.2.2");
    assert_eq!(
        address("a.dual.example.", types::AAAA).await,
        "2001:db8::2",
        "the shorter domain has the type"
    );
    assert_eq!(address("h.lan.", types::A).await, "192.0.2.3", "records come before domains");
    assert_eq!(ask("other.lan.", types::A).await.rcode(), rcodes::NXDOMAIN);
    assert_eq!(address("x.up.lan.", types::A).await, "198.51.100.2");
    assert_eq!(ask("n.example.", 35).await.answers.len(), 1);
}

/// What the manual says of names in local domains, of aliases and of bounds.
#[tokio::test]
async fn names_that_are_there_are_not_denied() {
    let server = Upstream::plain().script(numbered(1)).start().await;
    let place = format!("{}#{}", server.address.ip(), server.address.port());
    let proxy = imported(
        "dnsmasq",
        &format!(
            "server={place}\nno-hosts\nlocal=/lan/\nhost-record=a.b.lan,192.0.2.1\ncname=al.example,unknown.example\n\
             domain-needed\nbogus-priv\nfilter-AAAA\naddress=/x.example/#\nmax-ttl=60\n\
             alias=198.51.100.1-198.51.100.9,10.0.0.0,255.255.255.0\nrev-server=10.3.0.0/16\n"
        ),
    )
    .await;
    let ask = async |name: &str, qtype| proxy.client().ask(name, qtype).await;

    let other = ask("a.b.lan.", types::AAAA).await;
    assert_eq!((other.rcode(), other.answers.len()), (0, 0), "a name that is there");
    assert_eq!(ask("b.lan.", types::A).await.rcode(), 0, "a name above one that is there");
    assert_eq!(ask("c.lan.", types::A).await.rcode(), rcodes::NXDOMAIN);
    let alias = ask("al.example.", types::A).await;
    assert_eq!((alias.rcode(), alias.answers.len()), (0, 1), "its target is not known here");
    assert_eq!(ask("single.", types::A).await.rcode(), rcodes::NXDOMAIN);
    assert_eq!(ask(".", types::A).await.rcode(), 0, "the root is no plain name");
    assert_eq!(ask("1.0.64.100.in-addr.arpa.", types::PTR).await.rcode(), rcodes::NXDOMAIN);
    assert_eq!(ask("1.0.3.10.in-addr.arpa.", types::PTR).await.rcode(), rcodes::NXDOMAIN);
    assert_eq!(
        ask("x.example.", types::AAAA).await.addresses()[0].to_string(),
        "::",
        "our own answer"
    );
    let moved = ask("y.example.", types::A).await;
    assert_eq!((moved.addresses()[0].to_string(), moved.answers[0].ttl), ("10.0.0.1".into(), 60));
    assert_eq!(ask("v6.example.", types::AAAA).await.answers.len(), 0);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_is_never_printed() {
    for (option, note) in [
        ("min-cache-ttl=7200", ""),
        ("max-ttl=0", ""),
        ("filter-rr=ANY", "filter-rr=ANY: what ANY is answered is for `responses.any`"),
    ] {
        let output = import("dnsmasq", &format!("server=192.0.2.1\n{option}\n")).await;
        let (manifest, notes) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && notes.contains(note), "{option}: {notes}");
        assert_valid(&manifest).await;
    }
}

/// As it is delivered: comments alone, and the servers are those of resolv.conf.
#[tokio::test]
async fn a_configuration_without_servers_becomes_a_manifest_with_one_to_be_replaced() {
    for options in ["", "# a comment\n\n", "domain-needed\nbogus-priv\n"] {
        let output = import("dnsmasq", options).await;
        let (manifest, notes) = (text(&output.stdout), text(&output.stderr));

        assert!(output.status.success(), "{options}: {notes}");
        assert!(manifest.contains("name: replace-me"), "{options}: {manifest}");
        assert!(notes.contains("in place of 192.0.2.53"), "{options}: {notes}");
        assert_valid(&manifest).await;
    }
}

#[tokio::test]
async fn more_hosts_files_are_read_by_the_proxy_itself() {
    let folder = dnsproxy_tests::proxy::folder();
    let path = folder.path().join("hosts");
    std::fs::write(&path, "10.0.0.1 host.example\n").unwrap();
    let server = Upstream::plain().start().await;
    let (ip, port) = (server.address.ip(), server.address.port());
    let text = format!("server={ip}#{port}\naddn-hosts={}\n", path.display());
    let proxy = imported("dnsmasq", &text).await;

    assert_eq!(proxy.client().ask("host.example.", types::A).await.values(), ["10.0.0.1"]);
}

/// A rule decides before routes do: where the shorter domain needs one, the longer one does as well.
#[tokio::test]
async fn the_longer_of_two_domains_keeps_its_server() {
    let (one, two) = (
        Upstream::plain().script(numbered(1)).start().await,
        Upstream::plain().script(numbered(2)).start().await,
    );
    let place = |server: &Upstream| format!("{}#{}", server.address.ip(), server.address.port());
    let (one_at, two_at) = (place(&one), place(&two));
    let options = format!(
        "no-resolv\nno-hosts\nserver={one_at}\nserver=/corp.example/{one_at}\nserver=/lab.corp.example/{two_at}\n\
         address=/ads.corp.example/192.0.2.9\nrev-server=10.0.0.0/8,ns.corp.example\n"
    );
    let proxy = imported("dnsmasq", &options).await;
    let address =
        async |name: &str| proxy.client().ask(name, types::A).await.addresses()[0].to_string();

    assert_eq!(address("www.lab.corp.example.").await, "198.51.100.2");
    assert_eq!(address("www.corp.example.").await, "198.51.100.1");
    assert_eq!(address("ads.corp.example.").await, "192.0.2.9");
    let reverse = proxy.client().ask("1.0.0.10.in-addr.arpa.", types::PTR).await;
    assert_eq!(reverse.rcode(), rcodes::REFUSED);
}

/// Lists of names to block are often such files.
#[tokio::test]
async fn many_names_of_which_the_same_is_said_are_one_rule() {
    let mut lines: String =
        (0..5000).map(|number| format!("address=/ad{number:04}.example/0.0.0.0\n")).collect();
    lines.extend((0..300).map(|number| format!("server=/zone{number:03}.example/192.0.2.1\n")));
    let output = import("dnsmasq", &format!("no-hosts\nserver=192.0.2.2\n{lines}")).await;

    let (manifest, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{notes}");
    assert_valid(&manifest).await;
    assert_eq!(manifest.matches("answer:").count(), 1);
    // A name with an address is there, whatever upstreams say of other types: the rule with the address sees to that.
    for name in ["ad4999.example", "zone299.example"] {
        assert_eq!(manifest.matches(name).count(), 1, "{name}");
    }
}

/// What was meant for a server of one's own must not be asked of all the world.
#[tokio::test]
async fn names_whose_server_cannot_be_carried_over_are_asked_of_nobody() {
    let server = Upstream::plain().script(numbered(1)).start().await;
    let (ip, port) = (server.address.ip(), server.address.port());
    let options = format!("no-hosts\nserver={ip}#{port}\nserver=/corp.example/ns.corp.example\n");
    let proxy = imported("dnsmasq", &options).await;

    assert_eq!(proxy.client().ask("www.example.", types::A).await.answers.len(), 1);
    assert_eq!(proxy.client().ask("a.corp.example.", types::A).await.rcode(), rcodes::REFUSED);
}

#[tokio::test]
async fn what_dnsmasq_does_unasked_is_done_or_told() {
    let of = async |options: &str| {
        let output = import("dnsmasq", &format!("server=192.0.2.1\n{options}")).await;
        (text(&output.stdout), text(&output.stderr))
    };

    let (manifest, notes) = of("rebind-domain-ok=/corp.example/\n").await;
    assert!(!manifest.contains("rebindProtection"), "{manifest}");
    assert!(manifest.contains("[::]:53"), "{manifest}");
    assert!(notes.contains("/etc/hosts") && notes.contains("resolv.conf"), "{notes}");
    let (manifest, notes) = of("interface=eth0\nno-hosts\nno-resolv\nstop-dns-rebind\n").await;
    assert!(manifest.contains("rebindProtection") && !manifest.contains("[::]:53"), "{manifest}");
    assert!(!notes.contains("/etc/hosts") && !notes.contains("resolv.conf"), "{notes}");
    let (manifest, notes) =
        of("use-stale-cache=0\nedns-packet-max=8192\nmin-cache-ttl=600\nmax-cache-ttl=60\n").await;
    assert!(
        manifest.contains("maxAge: \"604800s\"") && manifest.contains("minTTL: \"60s\""),
        "{manifest}{notes}"
    );
    assert!(manifest.contains("ednsBufferSize: 4096"), "{manifest}{notes}");
}

/// dnsmasq looks into hosts files before it looks at what is said about domains.
#[tokio::test]
async fn names_of_hosts_files_are_answered_whatever_is_kept_here() {
    let folder = dnsproxy_tests::proxy::folder();
    let path = folder.path().join("hosts");
    std::fs::write(&path, "10.0.0.9 nas.lan nas\n10.0.0.10 printer\n192.168.7.1 router.lan\n")
        .unwrap();
    let server = Upstream::plain().script(numbered(1)).start().await;
    let proxy = imported(
        "dnsmasq",
        &format!(
            "no-resolv\ndomain-needed\nbogus-priv\nlocal=/lan/\nlocal=/168.192.in-addr.arpa/\naddn-hosts={}\n\
             server={}#{}\naddress=/nas.lan/203.0.113.1\naddress=/a.lan/203.0.113.2\nhost-record=own.lan,203.0.113.3\n\
             cname=files.lan,own.lan\ncname=web.lan,nas.lan\nserver=/10.10.in-addr.arpa/{}#{}\n",
            path.display(),
            server.address.ip(), server.address.port(), server.address.ip(), server.address.port()
        ),
    )
    .await;
    let ask = async |name: &str, qtype| proxy.client().ask(name, qtype).await;

    for (why, name, qtype, expected) in [
        ("in a local domain", "nas.lan.", types::A, "10.0.0.9"),
        ("without a dot", "nas.", types::A, "10.0.0.9"),
        ("without a dot alone", "printer.", types::A, "10.0.0.10"),
        ("the machine's own", "localhost.", types::A, "127.0.0.1"),
        ("of a private address", "9.0.0.10.in-addr.arpa.", types::PTR, "nas.lan."),
        ("in a local reverse zone", "1.7.168.192.in-addr.arpa.", types::PTR, "router.lan."),
        ("an address option", "x.a.lan.", types::A, "203.0.113.2"),
        ("a record", "own.lan.", types::A, "203.0.113.3"),
        ("a server's reverse zone", "1.0.10.10.in-addr.arpa.", types::PTR, "ptr1.example."),
        ("a private name elsewhere", "x.local.", types::A, "198.51.100.1"),
    ] {
        let reply = ask(name, qtype).await;
        assert_eq!(
            (reply.rcode(), &*reply.values()),
            (0, &[expected.to_owned()][..]),
            "{why}: {name}"
        );
    }
    assert_eq!(ask("files.lan.", types::A).await.values().len(), 2);
    assert_eq!(
        ask("web.lan.", types::A).await.values(),
        ["nas.lan.", "10.0.0.9"],
        "an alias of it"
    );
    assert_eq!(ask("nas.lan.", types::AAAA).await.rcode(), 0, "there is such a name");
    for (name, qtype) in [
        ("x.lan.", types::A),
        ("single.", types::A),
        ("8.0.0.10.in-addr.arpa.", types::PTR),
        ("2.7.168.192.in-addr.arpa.", types::PTR),
        ("1.c.e.f.ip6.arpa.", types::PTR),
    ] {
        assert_eq!(ask(name, qtype).await.rcode(), rcodes::NXDOMAIN, "{name}");
    }

    hosts_files_add_to_records(&server).await;
}

/// Records of other types, or of names below, do not hide the addresses of a hosts file.
async fn hosts_files_add_to_records(server: &Upstream) {
    let folder = dnsproxy_tests::proxy::folder();
    let path = folder.path().join("hosts");
    let hosts = "10.0.0.9 nas.lan\n10.0.0.8 box.lan\n10.0.0.7 mail.lan\n10.0.0.6 both.lan\n\
                 10.0.0.5 ip6-localhost localhost.localdomain\n";
    std::fs::write(&path, hosts).unwrap();
    let proxy = imported(
        "dnsmasq",
        &format!(
            "no-resolv\nno-hosts\ndomain-needed\nlocal=/lan/\nlocal=/localdomain/\naddn-hosts={}\nserver={}#{}\n\
             host-record=a.nas.lan,192.0.2.1\ntxt-record=box.lan,hello\nmx-host=mail.lan,nas.lan\n\
             host-record=both.lan,2001:db8::1\nhost-record=a.empty.lan,192.0.2.2\n",
            path.display(),
            server.address.ip(),
            server.address.port()
        ),
    )
    .await;

    for (why, name, qtype, expected) in [
        ("above a record", "nas.lan.", types::A, &["10.0.0.9"][..]),
        ("with a record of text", "box.lan.", types::A, &["10.0.0.8"]),
        ("with a record of mail", "mail.lan.", types::A, &["10.0.0.7"]),
        ("an address of another kind", "both.lan.", types::A, &["10.0.0.6"]),
        ("the record", "both.lan.", types::AAAA, &["2001:db8::1"]),
        ("the record below", "a.nas.lan.", types::A, &["192.0.2.1"]),
        ("a record without a type", "a.nas.lan.", types::AAAA, &[]),
        ("a name above it alone", "empty.lan.", types::A, &[]),
        ("what lists leave out", "ip6-localhost.", types::A, &["10.0.0.5"]),
        ("what lists leave out, with a dot", "localhost.localdomain.", types::A, &["10.0.0.5"]),
    ] {
        let reply = proxy.client().ask(name, qtype).await;
        assert_eq!((reply.rcode(), reply.values().as_slice()), (0, &*owned(expected)), "{why}");
    }
    assert_eq!(proxy.client().ask("x.lan.", types::A).await.rcode(), rcodes::NXDOMAIN);
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
