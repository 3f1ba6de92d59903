//! Lists of names: in every format, from several sources, compressed, with bad lines, changed while they are used.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::Duration,
};

use dnsproxy_tests::{
    eventually,
    manifest::upstreams,
    proxy::{Launch, Proxy, run, text},
    upstream::Upstream,
    wire::{Query, Reply, rcodes, types},
    zone::zone,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

const RECORDS: [&str; 7] = [
    "www.example. 300 IN A 192.0.2.1",
    "ads.example. 300 IN A 192.0.2.2",
    "x.ads.example. 300 IN A 192.0.2.3",
    "good.ads.example. 300 IN A 192.0.2.4",
    "alias.example. 300 IN A 192.0.2.5",
    "target.example. 300 IN A 192.0.2.6",
    "www.home.garden.example. 300 IN A 192.0.2.7",
];

struct Listed {
    proxy: Proxy,
    server: Upstream,
    lists: Value,
}

fn rule(name: &str, lists: &[&str], action: &str, what: Value) -> Value {
    json!({"name": name, "match": {"names": {"lists": lists}}, action: what})
}

impl Listed {
    /// The names of these lists are blocked, and files lie beside the manifest.
    async fn of(lists: Value, files: &[(&str, Vec<u8>)]) -> Self {
        let names: Vec<_> =
            lists.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        let rules = json!([rule("listed", &names, "block", json!({}))]);
        Self::with(json!({"lists": lists, "rules": rules}), files).await
    }

    async fn with(over: Value, files: &[(&str, Vec<u8>)]) -> Self {
        let server = Upstream::plain().script(zone(&RECORDS)).start().await;
        let mut spec = upstreams([server.plain_entry("main", "TCP")]);
        for (key, value) in over.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let launch = Launch::new(&spec);
        for (name, octets) in files {
            fs::write(launch.folder().join(name), octets).unwrap();
        }
        Self { proxy: launch.start().await, server, lists: over["lists"].clone() }
    }

    async fn ask(&self, name: &str, qtype: u16) -> Reply {
        self.proxy.client().udp(&Query::new(name, qtype).edns(1232)).await
    }

    async fn rcode(&self, name: &str) -> u16 {
        self.ask(name, types::A).await.rcode()
    }

    fn folder(&self) -> std::path::PathBuf {
        self.proxy.manifest().parent().unwrap().to_owned()
    }

    async fn becomes(&self, name: &str, rcode: u16) {
        eventually("the changed list in force", async || {
            (self.rcode(name).await == rcode).then_some(())
        })
        .await;
    }
}

fn inline(format: &str, text: &str) -> Value {
    json!([{"name": "list", "format": format, "sources": [{"inline": text}]}])
}

fn file(format: &str, name: &str) -> Value {
    json!([{"name": "list", "format": format, "sources": [{"file": name}]}])
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn names_of_every_format_are_blocked() {
    let cases = [
        // (format, text, names that are blocked, names that are not)
        (
            "Domains",
            "# ads\nads.example\n*.alias.example\n",
            "ads.example x.alias.example alias.example",
            "x.ads.example",
        ),
        (
            "Hosts",
            "127.0.0.1 localhost\n0.0.0.0 ads.example alias.example\n",
            "ads.example alias.example",
            "x.ads.example",
        ),
        (
            "Adblock",
            "! ads\n||ads.example^\n@@||good.ads.example^\n",
            "ads.example x.ads.example",
            "good.ads.example",
        ),
        (
            "RPZ",
            "$ORIGIN rpz.example.\nads.example CNAME .\n*.ads.example CNAME .\ngood.ads.example CNAME rpz-passthru.\n",
            "ads.example x.ads.example",
            "good.ads.example",
        ),
    ];

    for (format, text, blocked, others) in cases {
        let listed = Listed::of(inline(format, text), &[]).await;
        for name in blocked.split(' ') {
            let reply = listed.ask(name, types::A).await;
            assert_eq!(reply.rcode(), rcodes::NXDOMAIN, "{format} {name}");
            assert_eq!(reply.ede(), Some((15, "rule listed".into())), "{format} {name}");
        }
        for name in others.split(' ').chain(["www.example"]) {
            assert_eq!(listed.rcode(name).await, rcodes::NOERROR, "{format} {name}");
        }
    }
}

#[tokio::test]
async fn several_sources_are_one_list_and_gzip_is_read() {
    let sources =
        json!([{"inline": "alias.example"}, {"file": "ads.txt.gz"}, {"file": "plain.txt"}]);
    let lists = json!([{"name": "list", "sources": sources}]);
    let files = [("ads.txt.gz", gzip("ads.example\n")), ("plain.txt", b"target.example".to_vec())];
    let listed = Listed::of(lists, &files).await;

    for name in ["alias.example", "ads.example", "target.example"] {
        assert_eq!(listed.rcode(name).await, rcodes::NXDOMAIN, "{name}");
    }
    let entries = listed.proxy.admin.sum("dnsproxy_list_entries", &["list=\"list\""]).await;
    assert_eq!(entries, 3.0);
}

/// RFC 2181 section 5. Feeds that are put together have lines in common.
#[tokio::test]
async fn a_record_that_two_sources_of_a_policy_zone_have_is_given_once() {
    let zone =
        "home.example A 10.0.0.1\nhome.example A 10.0.0.1\nalias.example CNAME target.example.\n";
    let sources = json!([{"inline": zone}, {"file": "zone.txt"}]);
    let lists = json!([{"name": "list", "format": "RPZ", "sources": sources}]);
    let listed = Listed::of(lists, &[("zone.txt", zone.to_uppercase().into())]).await;

    for (name, expected) in [("home.example", "10.0.0.1"), ("alias.example", "192.0.2.6")] {
        let reply = listed.ask(name, types::A).await;
        let addresses = reply.addresses().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(addresses, [expected], "{name}");
    }
    assert_eq!(listed.proxy.admin.sum("dnsproxy_list_bad_lines", &["list=\"list\""]).await, 0.0);
}

#[tokio::test]
async fn each_action_of_a_policy_zone_is_taken() {
    let zone = "$TTL 300\n$ORIGIN rpz.example.\n@ SOA localhost. root.localhost. 1 3600 600 86400 60\n@ NS localhost.\n\
        none.example CNAME .\nempty.example CNAME *.\ngone.example CNAME rpz-drop.\nads.example CNAME rpz-tcp-only.\n\
        home.example A 10.0.0.1\nhome.example A 10.0.0.2\nalias.example CNAME target.example.\nhome CNAME *.garden.example.\n*.home CNAME *.garden.example.\n";
    let listed = Listed::of(inline("RPZ", zone), &[]).await;

    assert_eq!(listed.rcode("none.example").await, rcodes::NXDOMAIN);
    let empty = listed.ask("empty.example", types::A).await;
    assert_eq!((empty.rcode(), empty.answers.len()), (rcodes::NOERROR, 0));
    assert_eq!(empty.authorities[0].rtype, types::SOA);
    let dropped = Query::new("gone.example", types::A).edns(1232).encode();
    assert!(listed.proxy.client().socket().await.replies_before_next(&dropped).await.is_empty());
    let over_udp = listed.ask("ads.example", types::A).await;
    assert!(over_udp.is_truncated() && over_udp.answers.is_empty());
    let over_tcp = listed.proxy.tcp_client().tcp(&Query::new("ads.example", types::A)).await;
    assert_eq!(over_tcp.values(), ["192.0.2.2"]);
    assert_eq!(listed.ask("home.example", types::A).await.values(), ["10.0.0.1", "10.0.0.2"]);
    let other = listed.ask("home.example", types::AAAA).await;
    assert_eq!((other.rcode(), other.answers.len()), (rcodes::NOERROR, 0));
    let alias = listed.ask("alias.example", types::A).await;
    assert_eq!(alias.values(), ["target.example.", "192.0.2.6"]);
    let walled = listed.ask("www.home", types::A).await;
    assert_eq!(walled.values(), ["www.home.garden.example.", "192.0.2.7"]);
}

#[tokio::test]
async fn an_exception_holds_for_all_lists_of_the_rule_and_the_first_list_says_what_is_done() {
    let lists = json!([
        {"name": "ads", "sources": [{"inline": "*.ads.example"}]},
        {"name": "own", "format": "Adblock", "sources": [{"inline": "@@||good.ads.example^"}]},
        {"name": "policy", "format": "RPZ", "sources": [{"inline": "ads.example A 10.0.0.1\nalias.example A 10.0.0.1"}]},
    ]);
    let listed = Listed::of(lists, &[]).await;

    assert_eq!(listed.rcode("ads.example").await, rcodes::NXDOMAIN);
    assert_eq!(listed.rcode("good.ads.example").await, rcodes::NOERROR);
    assert_eq!(listed.ask("alias.example", types::A).await.values(), ["10.0.0.1"]);
}

#[tokio::test]
async fn names_of_a_list_can_be_allowed_rewritten_to_and_forwarded_as_any() {
    let lists = json!([
        {"name": "good", "sources": [{"inline": "good.ads.example"}]},
        {"name": "bad", "sources": [{"inline": "*.ads.example"}]},
    ]);
    let rewrite = json!({"name": "alias", "match": {"names": {"exact": ["alias.example"]}}, "rewrite": {"name": "x.ads.example"}});
    let rules = json!([
        rule("keep", &["good"], "allow", json!({})),
        rewrite,
        rule("ads", &["bad"], "block", json!({"with": "NullAddress"})),
    ]);
    let listed = Listed::with(json!({"lists": lists, "rules": rules}), &[]).await;

    assert_eq!(listed.ask("good.ads.example", types::A).await.values(), ["192.0.2.4"]);
    assert_eq!(listed.ask("x.ads.example", types::A).await.values(), ["0.0.0.0"]);
    assert_eq!(
        listed.ask("alias.example", types::A).await.values(),
        ["0.0.0.0"],
        "no alias leads around"
    );
    assert_eq!(listed.ask("www.example", types::A).await.values(), ["192.0.2.1"]);
}

#[tokio::test]
async fn a_bad_line_is_reported_with_its_number_and_counted_and_the_rest_is_used() {
    let text = "ads.example\nno name\nx..example\nalias.example\n";
    let listed = Listed::of(file("Domains", "ads.txt"), &[("ads.txt", text.into())]).await;

    assert_eq!(listed.rcode("ads.example").await, rcodes::NXDOMAIN);
    assert_eq!(listed.rcode("alias.example").await, rcodes::NXDOMAIN);
    listed.proxy.says("the first bad line", |line| line.contains("ads.txt:2: ")).await;
    listed.proxy.says("the second bad line", |line| line.contains("ads.txt:3: ")).await;
    let bad = listed.proxy.admin.sum("dnsproxy_list_bad_lines", &["list=\"list\""]).await;
    assert_eq!(bad, 2.0);
}

#[tokio::test]
async fn check_tells_of_bad_lines_and_runs_tests_against_the_files() {
    let folder = dnsproxy_tests::proxy::folder();
    let path = folder.path().join("dnsproxy.yaml");
    let check = async |expected: &str| {
        let manifest = format!(
            "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {{name: edge}}\nspec:\n  upstreams: [{{name: a, addresses: [192.0.2.1]}}]\n  \
             lists: [{{name: ads, sources: [{{file: ads.txt}}]}}]\n  rules: [{{name: ads, match: {{names: {{lists: [ads]}}}}, block: {{}}}}]\n  \
             tests: [{{name: ads.example, expect: {expected}}}]\n"
        );
        fs::write(&path, manifest).unwrap();
        run(&["check", "-f", path.to_str().unwrap()]).await
    };
    fs::write(folder.path().join("ads.txt"), "ads.example\n1 2\n").unwrap();

    let valid = check("{rcode: NXDOMAIN, rule: ads}").await;
    assert!(valid.status.success(), "{}", text(&valid.stderr));
    assert!(text(&valid.stderr).contains("spec.lists[0]: "), "{}", text(&valid.stderr));
    assert!(text(&valid.stderr).contains("ads.txt:2: "), "{}", text(&valid.stderr));
    fs::write(folder.path().join("ads.txt"), "other.example\n").unwrap();
    let failing = check("{rcode: NXDOMAIN, rule: ads}").await;
    assert!(!failing.status.success());
    assert!(text(&failing.stderr).contains("ads.example A: "), "{}", text(&failing.stderr));
    fs::remove_file(folder.path().join("ads.txt")).unwrap();
    let missing = check("{route: default}").await;
    assert!(text(&missing.stderr).contains("ads.txt: No such file"), "{}", text(&missing.stderr));
}

#[tokio::test]
async fn a_list_is_read_again_when_it_changes_and_cached_answers_do_not_outlive_it() {
    let listed =
        Listed::of(file("Domains", "ads.txt"), &[("ads.txt", b"ads.example".to_vec())]).await;
    assert_eq!(listed.rcode("alias.example").await, rcodes::NOERROR, "and it is cached now");

    fs::write(listed.folder().join("ads.txt"), "alias.example\n").unwrap();

    listed.becomes("alias.example", rcodes::NXDOMAIN).await;
    assert_eq!(listed.rcode("ads.example").await, rcodes::NOERROR);
}

/// What is blocked shall not be open because a file is being moved; and nothing waits for one that never comes.
#[tokio::test]
async fn a_list_whose_file_goes_away_stays_as_it_was_and_says_so() {
    let listed =
        Listed::of(file("Domains", "ads.txt"), &[("ads.txt", b"ads.example".to_vec())]).await;
    let unreadable =
        async || listed.proxy.admin.sum("dnsproxy_config_unreadable_sources", &[]).await;
    assert_eq!(unreadable().await, 0.0);

    fs::remove_file(listed.folder().join("ads.txt")).unwrap();
    eventually("the complaint", async || (unreadable().await == 1.0).then_some(())).await;
    assert_eq!(listed.rcode("ads.example").await, rcodes::NXDOMAIN);
    listed.proxy.says("what stays", |line| line.contains("what was read before stays")).await;

    fs::write(listed.folder().join("ads.txt"), "alias.example").unwrap();
    listed.becomes("alias.example", rcodes::NXDOMAIN).await;
    assert_eq!(listed.rcode("ads.example").await, rcodes::NOERROR);
    assert_eq!(unreadable().await, 0.0);
}

#[tokio::test]
async fn a_list_that_is_missing_at_the_start_is_told_and_found_later() {
    let listed = Listed::of(file("Domains", "ads.txt"), &[]).await;
    assert_eq!(listed.rcode("ads.example").await, rcodes::NOERROR);
    listed.proxy.says("what is missing", |line| line.contains("ads.txt: No such file")).await;

    fs::write(listed.folder().join("ads.txt"), "ads.example").unwrap();
    listed.becomes("ads.example", rcodes::NXDOMAIN).await;
    let files = listed.proxy.admin.json("/config").await["files"].clone();
    let file = files
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["path"].as_str().unwrap().ends_with("ads.txt"));
    assert!(file.unwrap()["sha256"].is_string(), "{files}");
}

/// Another manifest, the same file: it is not read again, which shows in the log.
#[tokio::test]
async fn a_list_that_did_not_change_is_not_read_again() {
    let listed =
        Listed::of(file("Domains", "ads.txt"), &[("ads.txt", b"ads.example".to_vec())]).await;
    let loaded = || listed.proxy.log().iter().filter(|line| line.contains("list loaded")).count();
    listed.proxy.says("the first reading", |line| line.contains("list loaded")).await;

    let mut spec = upstreams([listed.server.plain_entry("main", "TCP")]);
    spec["lists"] = listed.lists.clone();
    spec["rules"] = json!([rule("other", &["list"], "block", json!({"with": "NODATA"}))]);
    listed.proxy.reload(&spec).await;

    assert_eq!(listed.rcode("ads.example").await, rcodes::NOERROR, "the new rule is in force");
    assert_eq!(loaded(), 1);
}

/// While half a million names are read, again and again, no query waits for them.
#[tokio::test]
async fn queries_are_answered_while_a_long_list_is_read() {
    let listed =
        Listed::of(file("Domains", "ads.txt"), &[("ads.txt", b"ads.example".to_vec())]).await;
    let long = |first: &str| {
        let mut text = format!("{first}\n");
        (0..200_000).for_each(|i| writeln!(text, "host{i}.tracker.example").unwrap());
        text
    };
    write_whole(&listed.folder(), &long("alias.example"));

    eventually("the long list in force", async || {
        let reply = tokio::time::timeout(Duration::from_secs(4), listed.rcode("www.example")).await;
        assert_eq!(reply.unwrap(), rcodes::NOERROR);
        (listed.rcode("alias.example").await == rcodes::NXDOMAIN).then_some(())
    })
    .await;
    assert_eq!(listed.rcode("host199999.tracker.example").await, rcodes::NXDOMAIN);
}

fn write_whole(folder: &Path, text: &str) {
    let next = folder.join("next");
    File::create(&next).unwrap().write_all(text.as_bytes()).unwrap();
    fs::rename(next, folder.join("ads.txt")).unwrap();
}

/// A list that is about every name leads to a garden, and not from there into the garden again.
#[tokio::test]
async fn where_a_policy_zone_leads_to_is_not_led_elsewhere_by_it() {
    for (zone, expected) in [
        (
            "* CNAME target.example.\ngood.example CNAME rpz-passthru.\n",
            ["target.example.", "192.0.2.6"],
        ),
        ("* CNAME *.home.garden.example.\n", ["www.home.garden.example.", "192.0.2.7"]),
    ] {
        let listed = Listed::of(inline("RPZ", zone), &[]).await;

        assert_eq!(listed.ask("www", types::A).await.values(), expected, "{zone}");
    }
}

/// The same where an alias of our own leads into the zone.
#[tokio::test]
async fn a_policy_zone_that_an_alias_leads_into_leads_on_once() {
    let alias = json!({"records": ["CNAME other.example."]});
    let rules = json!([
        {"name": "own", "match": {"names": {"exact": ["own.example"]}}, "answer": alias},
        rule("all", &["list"], "block", json!({})),
    ]);
    let zone = inline("RPZ", "* CNAME target.example.\n");
    let listed = Listed::with(json!({"lists": zone, "rules": rules}), &[]).await;

    let reply = listed.ask("own.example", types::A).await;

    assert_eq!(reply.values(), ["other.example.", "target.example.", "192.0.2.6"], "{reply:?}");
}

#[tokio::test]
async fn an_allow_after_a_rewrite_undoes_what_a_policy_zone_says_whatever_that_is() {
    let zone =
        "target.example A 10.0.0.1\nads.example CNAME .\nx.ads.example CNAME rpz-tcp-only.\n";
    let exact = |name: &str| json!({"names": {"exact": [name]}});
    let moved = |name: &str, to: &str| json!({"name": name, "match": exact(&format!("{name}.old.example")), "rewrite": {"name": to}});
    let rules = json!([
        {"name": "keep", "match": {"names": {"exact": ["target.example", "ads.example", "x.ads.example"]}}, "allow": {}},
        moved("one", "target.example"),
        moved("two", "ads.example"),
        moved("three", "x.ads.example"),
        {"name": "all", "match": {"names": {"lists": ["list"]}}, "block": {}},
    ]);
    let listed = Listed::with(json!({"lists": inline("RPZ", zone), "rules": rules}), &[]).await;

    assert_eq!(listed.ask("one.old.example", types::A).await.values(), ["192.0.2.6"]);
    assert_eq!(listed.ask("two.old.example", types::A).await.values(), ["192.0.2.2"]);
    assert_eq!(listed.ask("three.old.example", types::A).await.values(), ["192.0.2.3"]);
}

/// Who publishes a list does not know of the tests: that one fails because of it stops neither a reload nor a start.
#[tokio::test]
async fn a_test_that_fails_because_of_a_file_is_told_and_stops_nothing() {
    let listed = Listed::of(
        file("Domains", "ads.txt"),
        &[("ads.txt", b"ads.example".to_vec()), ("other.txt", b"".to_vec())],
    )
    .await;
    let mut spec = upstreams([listed.server.plain_entry("main", "TCP")]);
    spec["lists"] = file("Domains", "other.txt");
    spec["rules"] = json!([rule("other", &["list"], "block", json!({}))]);
    spec["tests"] = json!([{"name": "alias.example", "expect": {"rule": "other"}}]);
    listed.proxy.reload(&spec).await;
    listed.proxy.says("the failure", |line| line.contains("rule other does not match")).await;
    assert_eq!(listed.rcode("alias.example").await, rcodes::NOERROR);

    fs::write(listed.folder().join("other.txt"), "alias.example").unwrap();
    listed.becomes("alias.example", rcodes::NXDOMAIN).await;

    spec["tests"] = json!([{"name": "www.example", "expect": {"rcode": "NXDOMAIN"}}]);
    spec["lists"] = inline("Domains", "ads.example");
    listed.proxy.replace_manifest(&dnsproxy_tests::manifest::manifest(&spec));
    listed.proxy.says("the rejection", |line| line.contains("NXDOMAIN is expected")).await;
    assert_eq!(listed.rcode("alias.example").await, rcodes::NXDOMAIN, "what ran runs on");
}

#[tokio::test]
async fn a_source_that_is_missing_stays_told_when_something_else_changes() {
    let listed = Listed::of(file("Domains", "ads.txt"), &[]).await;
    let mut spec = upstreams([listed.server.plain_entry("main", "TCP")]);
    spec["lists"] = listed.lists.clone();
    spec["rules"] = json!([rule("other", &["list"], "block", json!({"with": "NODATA"}))]);

    listed.proxy.reload(&spec).await;

    let unreadable = listed.proxy.admin.sum("dnsproxy_config_unreadable_sources", &[]).await;
    assert_eq!(unreadable, 1.0);
}

#[tokio::test]
async fn a_source_that_is_cut_off_changes_nothing_for_the_next_one() {
    let cut = gzip("$ORIGIN rpz.a.\n@ TXT (\n");
    let sources = json!([{"file": "cut.gz"}, {"inline": "ads.example. CNAME .\n"}]);
    let lists = json!([{"name": "list", "format": "RPZ", "sources": sources}]);
    let listed = Listed::of(lists, &[("cut.gz", cut[..cut.len() - 8].to_vec())]).await;

    assert_eq!(listed.rcode("ads.example").await, rcodes::NXDOMAIN);
    listed.proxy.says("what is cut off", |line| line.contains("cut.gz: ")).await;
}
