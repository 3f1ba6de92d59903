//! A Corefile, carried over: what CoreDNS's own tests of `rewrite` want holds here.

use dnsproxy_tests::{
    import::{assert_valid, cases, import, imported},
    proxy::text,
    upstream::{Action, Received, Upstream},
    wire::{Query, Response, rcodes, types},
    zone::{record, zone},
};
use serde_json::Value;

fn type_of(text: &str) -> u16 {
    match text {
        "A" => types::A,
        "AAAA" => types::AAAA,
        "ANY" => 255,
        "HINFO" => 13,
        "SRV" => 33,
        other => panic!("a type {other}"),
    }
}

fn class_of(text: Option<&str>) -> u16 {
    match text {
        None | Some("IN") => 1,
        Some("CH") => 3,
        Some("HS") => 4,
        Some(other) => panic!("a class {other}"),
    }
}

fn rcode_of(text: &str) -> u16 {
    match text {
        "NOERROR" => 0,
        "FORMERR" => rcodes::FORMERR,
        "SERVFAIL" => rcodes::SERVFAIL,
        "REFUSED" => rcodes::REFUSED,
        "NOTIMP" => rcodes::NOTIMP,
        other => panic!("a response code {other}"),
    }
}

fn answering(case: &Value) -> impl FnMut(&Received) -> Vec<Action> + Send + use<> {
    let lines = case["upstream_answers"].as_array().cloned().unwrap_or_default();
    let records: Vec<_> = lines.iter().map(|line| record(line.as_str().unwrap())).collect();
    let rcode = case["upstream_rcode"].as_str().map_or(0, rcode_of);
    move |query| {
        let response = Response::to(&query.message).rcode(rcode);
        let response = records.iter().fold(response, |response, (owner, record)| {
            response.answer(owner, record.rtype, record.ttl, &record.data)
        });
        vec![Action::Send(response.encode())]
    }
}

async fn serving(records: &'static [&'static str]) -> Upstream {
    Upstream::plain().script(zone(records)).start().await
}

fn corefile(case: &Value, server: &Upstream) -> String {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let rules = case["rules"].as_array().unwrap().iter().map(|rule| {
        let args: Vec<_> = rule["args"].as_array().unwrap().iter().map(word).collect();
        format!("    rewrite {} {} {}\n", word(&rule["next"]), word(&rule["kind"]), args.join(" "))
    });
    format!(".:53 {{\n{}    forward . {}\n}}\n", rules.collect::<String>(), server.address)
}

async fn check(case: &Value) {
    let id = case["id"].as_str().unwrap();
    let server = Upstream::plain().script(answering(case)).start().await;
    let configuration = corefile(case, &server);
    let proxy = imported("corefile", &configuration).await;
    let query = &case["query"];
    let name = query["name"].as_str().unwrap();
    let mut query = Query::new(name, type_of(query["type"].as_str().unwrap())).edns(1232);
    query.class = class_of(case["query"]["cls"].as_str());

    let reply = proxy.client().udp(&query).await;

    let seen = server.seen();
    let question = seen.queries.iter().find(|query| !query.is_check());
    if let Some(sees) = case.get("upstream_sees") {
        let question =
            question.unwrap_or_else(|| panic!("{id}: nothing was asked\n{configuration}"));
        assert_eq!(question.name(), sees["name"].as_str().unwrap(), "{id}");
        if let Some(qtype) = sees["type"].as_str() {
            assert_eq!(question.qtype(), type_of(qtype), "{id}");
        }
        if sees.get("cls").is_some() {
            assert_eq!(question.qclass(), class_of(sees["cls"].as_str()), "{id}");
        }
    }
    let Some(client) = case.get("client") else { return };
    if let Some(question) = client["question"].as_str() {
        assert_eq!(reply.question.as_ref().unwrap().0, question, "{id}");
    }
    if let Some(owner) = client["answer_owner"].as_str() {
        assert_eq!(reply.answers[0].owner, owner, "{id}");
    }
    if let Some(ttl) = client["ttl"].as_u64() {
        let ttls: Vec<_> = reply.answers.iter().map(|record| u64::from(record.ttl)).collect();
        assert_eq!(ttls, vec![ttl; ttls.len()], "{id}");
        assert!(!ttls.is_empty(), "{id}");
    }
    if let Some(rcode) = client["rcode"].as_str() {
        assert_eq!(reply.rcode(), rcode_of(rcode), "{id}");
    }
}

#[tokio::test]
async fn every_rewrite_does_what_coredns_tests_want() {
    let cases = cases(include_str!("../cases/coredns_rewrite.json"));
    assert!(cases.len() > 60);
    for case in &cases {
        check(case).await;
    }
}

#[tokio::test]
async fn a_whole_corefile_is_carried_over() {
    let server = Upstream::plain()
        .script(zone(&["www.example.org. 60 IN A 192.0.2.1", "x.corp.example. 60 IN A 192.0.2.2"]))
        .start()
        .await;
    let proxy = imported(
        "corefile",
        &format!(
            "(common) {{\n  errors\n  log\n}}\n.:53 {{\n  import common\n  cache 30 {{\n    denial 1000 10\n  }}\n  health\n  acl {{\n    block type TXT net 127.0.0.0/8\n  }}\n  \
             hosts {{\n    10.0.0.1 host.example alias.example\n    fallthrough\n  }}\n  \
             template IN A tmpl.example {{\n    match ^ip-(?P<a>[0-9]+)[.]tmpl[.]example[.]$\n    answer \"{{{{ .Name }}}} 60 IN A 10.1.1.{{{{ .Group.a }}}}\"\n    fallthrough\n  }}\n  \
             forward . {0}\n}}\ncorp.example {{\n  forward . {0} {{\n    policy sequential\n    max_concurrent 100\n  }}\n}}\n",
            server.address
        ),
    )
    .await;
    let ask = async |name: &str, qtype| proxy.client().ask(name, qtype).await;

    assert_eq!(ask("www.example.org.", types::A).await.addresses()[0].to_string(), "192.0.2.1");
    assert_eq!(ask("x.corp.example.", types::A).await.addresses()[0].to_string(), "192.0.2.2");
    assert_eq!(ask("alias.example.", types::A).await.addresses()[0].to_string(), "10.0.0.1");
    let none = ask("alias.example.", types::AAAA).await;
    assert_eq!((none.rcode(), none.answers.len()), (0, 0));
    assert_eq!(ask("1.0.0.10.in-addr.arpa.", types::PTR).await.answers.len(), 2, "all its names");
    assert_eq!(ask("ip-7.tmpl.example.", types::A).await.addresses()[0].to_string(), "10.1.1.7");
    assert_eq!(ask("www.example.org.", types::TXT).await.rcode(), rcodes::REFUSED);
}

#[tokio::test]
async fn encrypted_upstreams_stay_so_and_what_is_left_out_is_told() {
    let output = import(
        "corefile",
        ". {\n  forward . tls://9.9.9.9 tls://149.112.112.112 {\n    tls_servername dns.quad9.net\n    health_check 5s\n  }\n  dnssec\n  cache {\n    keepttl\n  }\n}\n",
    )
    .await;

    let (manifest, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(manifest.contains("serverName: dns.quad9.net"), "{manifest}");
    assert!(!manifest.contains("protocol: UDP"), "{manifest}");
    assert!(notes.contains("configuration:6: dnssec: there is nothing like it here"), "{notes}");
    assert!(notes.contains("configuration:8: keepttl: there is nothing like it here"), "{notes}");
    assert_eq!(import("corefile", "").await.status.code(), Some(1));
    assert_eq!(import("corefile", ". {\n").await.status.code(), Some(1));
}

#[tokio::test]
async fn access_lists_are_carried_over_only_where_they_mean_the_same() {
    let of = async |acl: &str| {
        let corefile = format!(".:53 {{\n  acl {{\n{acl}  }}\n  forward . 192.0.2.1\n}}\n");
        let output = import("corefile", &corefile).await;
        (text(&output.stdout), text(&output.stderr))
    };

    let (alone, _) = of("    allow net 10.0.0.0/8\n").await;
    assert!(!alone.contains("access:"), "everybody else is allowed as well: {alone}");
    let (list, _) = of("    allow net 10.0.0.0/8\n    block\n").await;
    assert!(list.contains("access:") && list.contains("10.0.0.0/8"), "{list}");
    let three = "    allow net 10.0.0.0/8\n    filter type AAAA\n    block\n";
    let (rules, notes) = of(three).await;
    assert!(rules.contains("acl-allow") && !notes.contains("acl"), "{rules}{notes}");
    let (without, notes) =
        of(&format!("{three}  }}\n  template IN A a.example {{\n    rcode NXDOMAIN\n")).await;
    assert!(without.contains("name: acl-filter") && without.contains("11.0.0.0/8"), "{without}");
    assert!(!without.contains("acl-allow") && !notes.contains("acl"), "{without}{notes}");
    let corefile =
        ". {\n  rewrite name regex (.*)[.]q[.]example {1}.{2}.example\n  forward . 192.0.2.1\n}\n";
    let output = import("corefile", corefile).await;
    let (missing, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(!missing.contains("rewrite:"), "{missing}");
    assert!(notes.contains("configuration:2: rule name-regex-q-example: left out"), "{notes}");
}

/// plugin/rewrite/cname_target_test.go, TestCNameTargetRewrite.
#[tokio::test]
async fn a_part_of_an_alias_target_is_changed() {
    let server = serving(&[
        "core.dns.rocks. 200 IN CNAME abcd.efgh.pqrst.",
        "abcd.zzzz.www.pqrst. 120 IN A 101.20.5.1",
    ])
    .await;
    let corefile = format!(
        ". {{\n  rewrite continue cname substring efgh zzzz.www\n  forward . {}\n}}\n",
        server.address
    );
    let proxy = imported("corefile", &corefile).await;

    let reply = proxy.client().ask("core.dns.rocks.", types::A).await;
    assert_eq!(reply.values(), ["abcd.zzzz.www.pqrst.", "101.20.5.1"]);
}

/// There a query is for one block alone, that with the longest zone.
#[tokio::test]
async fn what_one_block_says_is_not_for_the_names_of_another() {
    let server = serving(&[
        "www.example. 60 IN A 192.0.2.1",
        "x.corp.example. 60 IN A 192.0.2.2",
        "x.corp.example. 60 IN AAAA 2001:db8::2",
    ])
    .await;
    let proxy = imported(
        "corefile",
        &format!(
            ". {{\n  template IN AAAA . {{\n    rcode NOERROR\n  }}\n  forward . {0}\n}}\n\
             corp.example {{\n  acl {{\n    block type TXT\n  }}\n  forward . {0}\n}}\n\
             silent.example {{\n  hosts {{\n    10.0.0.1 a.silent.example\n  }}\n}}\n\
             lost.example {{\n  forward . ns.lost.example\n}}\n",
            server.address
        ),
    )
    .await;
    let ask = async |name: &str, qtype| proxy.client().ask(name, qtype).await;

    assert_eq!(ask("x.corp.example.", types::AAAA).await.answers.len(), 1, "no template there");
    assert_eq!(ask("x.corp.example.", types::TXT).await.rcode(), rcodes::REFUSED);
    assert_eq!(ask("www.example.", types::AAAA).await.answers.len(), 0);
    assert_eq!(ask("www.example.", types::A).await.answers.len(), 1, "no list of that block here");
    assert_eq!(ask("a.silent.example.", types::A).await.values(), ["10.0.0.1"]);
    assert_eq!(ask("b.silent.example.", types::A).await.rcode(), rcodes::REFUSED);
    assert_eq!(ask("b.lost.example.", types::A).await.rcode(), rcodes::REFUSED);
    let asked: Vec<_> = server.seen().queries.iter().map(Received::name).collect();
    assert!(
        !asked.iter().any(|name| name.contains("silent") || name.contains("lost")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn names_that_one_forward_leaves_out_go_to_another_or_to_nobody() {
    let server = serving(&[
        "www.corp.example. 60 IN A 192.0.2.1",
        "www.sub.lab.example. 60 IN A 192.0.2.2",
        "www.example. 60 IN A 192.0.2.3",
    ])
    .await;
    let proxy = imported(
        "corefile",
        &format!(
            ". {{\n  forward corp.example {0}\n  forward sub.lab.example {0}\n  forward . {0} {{\n    except corp.example lab.example\n  }}\n}}\n",
            server.address
        ),
    )
    .await;
    let ask = async |name: &str| proxy.client().ask(name, types::A).await;

    for name in ["www.corp.example.", "www.sub.lab.example.", "www.example."] {
        assert_eq!(ask(name).await.answers.len(), 1, "{name}");
    }
    assert_eq!(ask("www.lab.example.").await.rcode(), rcodes::REFUSED);
}

/// The same where blocks, and what they leave out, lie in one another.
#[tokio::test]
async fn blocks_within_blocks_keep_to_their_own_names() {
    let server = serving(&[
        "a.sub.org.example. 60 IN A 192.0.2.1",
        "www.corp.example. 60 IN A 192.0.2.2",
        "www.example. 60 IN A 192.0.2.3",
    ])
    .await;
    let proxy = imported(
        "corefile",
        &format!(
            "corp.example {{\n  forward . {0} {{\n    except secret.corp.example\n  }}\n}}\n\
             sub.org.example {{\n  forward . {0}\n}}\n\
             org.example {{\n  file db.org.example\n}}\n\
             deep.corp.example other.example {{\n  hosts {{\n    10.0.0.9 x.deep.corp.example\n  }}\n  forward . {0}\n}}\n\
             cluster.local {{\n  kubernetes cluster.local\n}}\n\
             . {{\n  acl {{\n    block type TXT\n  }}\n  forward lan.example /etc/resolv.lan\n  forward . {0}\n}}\n",
            server.address
        ),
    )
    .await;
    let ask = async |name: &str| proxy.client().ask(name, types::A).await;

    for (name, expected) in [
        ("a.sub.org.example.", rcodes::NOERROR),
        ("b.org.example.", rcodes::REFUSED),
        ("www.corp.example.", rcodes::NOERROR),
        ("a.secret.corp.example.", rcodes::REFUSED),
        ("a.lan.example.", rcodes::REFUSED),
        ("a.cluster.local.", rcodes::REFUSED),
        ("www.example.", rcodes::NOERROR),
    ] {
        assert_eq!(ask(name).await.rcode(), expected, "{name}");
    }
    assert_eq!(ask("x.deep.corp.example.").await.values(), ["10.0.0.9"]);
}

#[tokio::test]
async fn settings_that_coredns_takes_make_a_manifest() {
    for (why, corefile, expected) in [
        (
            "a network that does not end at an octet",
            "172.16.0.0/12 {\n  forward . 192.0.2.1\n}\n",
            "31.172.in-addr.arpa",
        ),
        (
            "answers kept for less than usual",
            ". {\n  cache 3\n  forward . 192.0.2.1\n}\n",
            "minTTL: \"3s\"",
        ),
        (
            "a patient health check",
            ". {\n  forward . 192.0.2.1 {\n    max_fails 1000\n  }\n}\n",
            "failureThreshold: 100",
        ),
    ] {
        let output = import("corefile", corefile).await;
        let (manifest, notes) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && manifest.contains(expected), "{why}: {manifest}{notes}");
        assert!(!manifest.contains("- 172.in-addr.arpa"), "{why}: {manifest}");
    }
}

/// A hosts file is read while the proxy runs, as it is there.
#[tokio::test]
async fn a_hosts_file_is_read_by_the_proxy_itself() {
    let folder = dnsproxy_tests::proxy::folder();
    let path = folder.path().join("hosts");
    std::fs::write(&path, "10.0.0.1 host.example\n").unwrap();
    let server =
        Upstream::plain().script(zone(&["www.example.org. 60 IN A 192.0.2.1"])).start().await;
    let corefile = format!(
        ". {{\n  hosts {} {{\n    ttl 30\n    fallthrough\n  }}\n  forward . {}\n}}\n",
        path.display(),
        server.address
    );
    let proxy = imported("corefile", &corefile).await;

    let host = proxy.client().ask("host.example.", types::A).await;
    assert_eq!((host.values(), host.answers[0].ttl), (vec!["10.0.0.1".to_owned()], 30));
    let reverse = proxy.client().ask("1.0.0.10.in-addr.arpa.", types::PTR).await;
    assert_eq!(reverse.values(), ["host.example."]);
    assert_eq!(proxy.client().ask("www.example.org.", types::A).await.values(), ["192.0.2.1"]);
}

/// As kubeadm writes it.
const OF_KUBERNETES: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

#[tokio::test]
async fn the_corefile_of_kubernetes_becomes_a_manifest_with_a_server_to_be_replaced() {
    let output = import("corefile", OF_KUBERNETES).await;

    let (manifest, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{notes}");
    assert!(manifest.contains("name: replace-me"), "{manifest}");
    let told = "configuration:13: forward . /etc/resolv.conf: /etc/resolv.conf is not read: write its servers in place of 192.0.2.53";
    assert!(notes.contains(told), "{notes}");
    assert_valid(&manifest).await;
    let both = import("corefile", ". {\n  forward . 192.0.2.1 /etc/resolv.conf\n}\n").await;
    let (manifest, notes) = (text(&both.stdout), text(&both.stderr));
    assert!(manifest.contains("192.0.2.1") && !manifest.contains("replace-me"), "{manifest}");
    assert!(notes.contains("write its servers as `upstreams`, too"), "{notes}");
}

/// Queries tell what people do: what was not logged there is not logged here.
#[tokio::test]
async fn no_more_is_logged_than_there_was() {
    for (log, mode, note) in [
        ("log", Some("All"), ""),
        ("log .", Some("All"), ""),
        ("log . \"{remote} {name}\"", Some("All"), "`{remote} {name}` is left out"),
        ("log {\n class error\n}", Some("Failures"), ""),
        ("log . {\n class denial error\n}", Some("Failures"), "failures alone are logged"),
        ("log . {\n class denial\n}", None, "nothing is logged"),
        ("log . {\n class success\n}", None, "nothing is logged"),
        ("log . {\n class denial\n class all\n}", Some("All"), ""),
        ("log example.org", None, "nothing is logged"),
        ("log example.org \"{remote}\"", None, "nothing is logged"),
    ] {
        let corefile = format!(".:53 {{\n{log}\nforward . 192.0.2.1\n}}\n");
        let output = import("corefile", &corefile).await;
        let (manifest, notes) = (text(&output.stdout), text(&output.stderr));
        let wanted = mode.map(|mode| format!("mode: {mode}"));

        assert!(output.status.success(), "{log}: {notes}");
        match &wanted {
            Some(mode) => assert!(
                manifest.contains("queries:") && manifest.contains(mode),
                "{log}: {manifest}"
            ),
            None => assert!(!manifest.contains("queries:"), "{log}: {manifest}"),
        }
        assert!(notes.contains(note), "{log}: {notes}");
    }
    for (why, root, other, mode) in [
        ("of one block alone", "", "log", None),
        ("of the root alone", "log", "", None),
        ("of every name by its name", "", "log . \"{remote} {name}\"", None),
        ("of some names of a block", "log", "log a.secret.example", None),
        ("of classes that cannot be told", "log", "log . {\n class success\n}", None),
        ("of both", "log", "log .", Some("mode: All")),
        ("failures of one", "log", "log . {\n class error\n}", Some("mode: Failures")),
        ("failures of the other", "log . {\n class error\n}", "log", Some("mode: Failures")),
    ] {
        let corefile = format!(
            ". {{\n{root}\nforward . 192.0.2.1\n}}\nsecret.example {{\n{other}\nforward . 192.0.2.2\n}}\n"
        );
        let output = import("corefile", &corefile).await;
        let (manifest, notes) = (text(&output.stdout), text(&output.stderr));

        assert_eq!(manifest.contains("queries:"), mode.is_some(), "{why}: {manifest}");
        assert!(manifest.contains(mode.unwrap_or_default()), "{why}: {manifest}");
        let is_told = notes.contains("here queries for all names are, or none");
        assert_eq!(is_told, mode.is_none(), "{why}: {notes}");
    }
}

#[tokio::test]
async fn what_a_setting_does_not_take_along_is_told() {
    for (setting, manifest_has, note) in [
        ("cache {\n servfail 0\n}", "", "5: servfail 0: failures are remembered for at least"),
        ("cache {\n servfail 0m0s\n}", "maxTTL: \"3600s\"", "5: servfail 0m0s: failures are"),
        ("cache {\n servfail 0.5s\n}", "maxTTL: \"3600s\"", "5: servfail 0.5s: failures are"),
        ("cache {\n servfail 500us\n}", "maxTTL: \"3600s\"", "5: servfail 500us: failures are"),
        ("cache {\n servfail 1500ms\n}", "failureTTL: \"2s\"", "5: servfail 1500ms: failures are"),
        ("cache {\n servfail 10s\n}", "failureTTL: \"10s\"", ""),
        (
            "cache {\n prefetch 10 1h 10%\n}",
            "minHits: 10",
            "5: prefetch 10 1h 10%: hits count for as long",
        ),
        (
            "cache {\n success 5000 60 10\n}",
            "maxTTL: \"60s\"",
            "5: success 5000 60 10: the cache is bounded by octets",
        ),
        (
            "cache {\n denial 5000 60 10\n}",
            "negativeMaxTTL: \"60s\"",
            "5: denial 5000 60 10: the shortest TTL",
        ),
        (
            "errors {\n consolidate 5m \".*timeout$\"\n}",
            "",
            "5: errors consolidate 5m .*timeout$: there is nothing like it",
        ),
    ] {
        let corefile = format!("# settings\n.:53 {{\nforward . 192.0.2.1\n{setting}\n}}\n");
        let output = import("corefile", &corefile).await;
        let (manifest, notes) = (text(&output.stdout), text(&output.stderr));

        assert!(manifest.contains(manifest_has), "{setting}: {manifest}{notes}");
        assert!(notes.contains(note), "{setting}: {notes}");
    }
}
