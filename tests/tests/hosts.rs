//! Names in the format of /etc/hosts are answered here: addresses, PTR, stars; rules come first.

use std::fs;

use dnsproxy_tests::{
    eventually,
    manifest::upstreams,
    proxy::{Launch, Proxy},
    upstream::Upstream,
    wire::{Query, Reply, rcodes, types},
    zone::zone,
};
use serde_json::{Value, json};

const RECORDS: [&str; 3] = [
    "www.example. 300 IN A 192.0.2.1",
    "deep.x.apps.example. 300 IN A 192.0.2.2",
    "printer.corp.example. 300 IN A 192.0.2.3",
];

const TEXT: &str = "# of the office\n10.0.0.9 printer.corp.example printer\n2001:db8::9 printer.corp.example\n\
    10.0.0.8 *.apps.example # the ingress\n";

async fn start(hosts: Value, rules: Value) -> (Proxy, Upstream) {
    let server = Upstream::plain().script(zone(&RECORDS)).start().await;
    let mut spec = upstreams([server.plain_entry("main", "TCP")]);
    spec["hosts"] = hosts;
    if rules != json!([]) {
        spec["rules"] = rules;
    }
    let launch = Launch::new(&spec);
    fs::write(launch.folder().join("hosts"), TEXT).unwrap();
    (launch.start().await, server)
}

async fn ask(proxy: &Proxy, name: &str, qtype: u16) -> Reply {
    proxy.client().udp(&Query::new(name, qtype).edns(1232)).await
}

#[tokio::test]
async fn addresses_names_and_stars_are_answered_and_the_rest_goes_its_way() {
    let (proxy, server) =
        start(json!({"sources": [{"file": "hosts"}], "ttl": "90s"}), json!([])).await;
    let reverse = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    let cases = [
        ("Printer.Corp.Example", types::A, "10.0.0.9"),
        ("printer.corp.example", types::AAAA, "2001:db8::9"),
        ("printer.corp.example", types::TXT, ""),
        ("printer", types::A, "10.0.0.9"),
        ("printer", types::AAAA, ""),
        ("any.apps.example", types::A, "10.0.0.8"),
        ("printer.corp.example", types::ANY, "10.0.0.9 2001:db8::9"),
        ("9.0.0.10.in-addr.arpa", types::PTR, "printer.corp.example."),
        (reverse, types::PTR, "printer.corp.example."),
        ("www.example", types::A, "192.0.2.1"),
        ("deep.x.apps.example", types::A, "192.0.2.2"),
    ];

    for (name, qtype, expected) in cases {
        let reply = ask(&proxy, name, qtype).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "{name}");
        assert_eq!(reply.values().join(" "), expected, "{name}");
        if expected.is_empty() {
            assert_eq!(reply.authorities[0].rtype, types::SOA, "{name}");
        } else if !expected.starts_with("192") {
            assert_eq!(reply.answers[0].ttl, 90, "{name}");
        }
    }
    let asked = server.seen().queries.iter().filter(|query| !query.is_check()).count();
    assert_eq!(asked, 2, "nothing of it left");
}

#[tokio::test]
async fn rules_come_first_and_aliases_and_rewrites_lead_to_hosts() {
    let rules = json!([
        {"name": "block", "match": {"names": {"exact": ["printer"]}}, "block": {}},
        {"name": "old", "match": {"names": {"exact": ["old.example"]}}, "rewrite": {"name": "printer.corp.example"}},
        {"name": "alias", "match": {"names": {"exact": ["alias.example"]}}, "answer": {"records": ["CNAME printer.corp.example."]}},
    ]);
    let (proxy, server) = start(json!({"sources": [{"inline": TEXT}]}), rules).await;

    assert_eq!(ask(&proxy, "printer", types::A).await.rcode(), rcodes::NXDOMAIN);
    let rewritten = ask(&proxy, "old.example", types::A).await;
    assert_eq!(rewritten.values(), ["10.0.0.9"]);
    assert_eq!(rewritten.answers[0].owner, "old.example.");
    let alias = ask(&proxy, "alias.example", types::A).await;
    assert_eq!(alias.values(), ["printer.corp.example.", "10.0.0.9"]);
    assert_eq!(alias.answers[0].ttl, 60);
    assert_eq!(server.seen().queries.iter().filter(|query| !query.is_check()).count(), 0);
}

#[tokio::test]
async fn a_changed_file_is_in_force_and_a_bad_line_hides_no_other() {
    let (proxy, _server) = start(json!({"sources": [{"file": "hosts"}]}), json!([])).await;
    let path = proxy.manifest().parent().unwrap().join("hosts");

    fs::write(path, "nonsense here\n10.0.0.7 printer.corp.example\n").unwrap();

    eventually("the changed file in force", async || {
        (ask(&proxy, "printer.corp.example", types::A).await.values() == ["10.0.0.7"]).then_some(())
    })
    .await;
    proxy.says("the bad line", |line| line.contains("hosts:1: `nonsense` is no address")).await;
    assert_eq!(proxy.admin.sum("dnsproxy_hosts_entries", &[]).await, 1.0);
    assert_eq!(proxy.admin.sum("dnsproxy_hosts_bad_lines", &[]).await, 1.0);
}

#[tokio::test]
async fn names_of_a_file_that_goes_away_stay_and_the_log_says_so() {
    let (proxy, _server) = start(json!({"sources": [{"file": "hosts"}]}), json!([])).await;

    fs::remove_file(proxy.manifest().parent().unwrap().join("hosts")).unwrap();

    proxy.says("what stays", |line| line.contains("what was read before stays")).await;
    eventually("the alarm", async || {
        (proxy.admin.sum("dnsproxy_config_unreadable_sources", &[]).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(ask(&proxy, "printer.corp.example", types::A).await.values(), ["10.0.0.9"]);
}
