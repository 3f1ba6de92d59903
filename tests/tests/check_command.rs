//! `dnsproxy check` finds every problem of a manifest at once, each with its path; `run` refuses the same.

use dnsproxy_tests::{
    certificates::{Authority, expired},
    manifest::{manifest, merged},
    proxy::{Launch, folder, run, text},
};
use serde_json::{Value, json};

/// What a command said, and its exit code.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn check(manifest: &str) -> Said {
    let folder = folder();
    let path = folder.path().join("dnsproxy.yaml");
    std::fs::write(&path, manifest).unwrap();
    let output = run(&["check", "-f", path.to_str().unwrap()]).await;
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn valid() -> Value {
    json!({"upstreams": [{"name": "one", "addresses": ["192.0.2.1"], "tls": {"serverName": "dns.example"}}]})
}

#[tokio::test]
async fn a_valid_manifest_is_valid() {
    let said = check(&manifest(&valid())).await;

    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
}

/// Why it is a problem, what is laid over the valid manifest, and the path that is named.
type Row = (&'static str, Value, &'static str);

fn problems() -> Vec<Row> {
    let upstreams = of_an_upstream().into_iter().map(|(why, over, path)| {
        (why, json!({"upstreams": [merged(valid()["upstreams"][0].clone(), over)]}), path)
    });
    upstreams.chain(of_routes()).chain(of_other_parts()).collect()
}

fn of_an_upstream() -> Vec<Row> {
    let pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "sha256/short"];
    let two_sources = json!({"tls": {"ca": {"inline": "x", "file": "y"}}});
    let only_pins = json!({"tls": {"authentication": "PinsOnly"}});
    let nothing = json!({"tls": {"authentication": "None"}});
    let at = |path: &'static str, why: &'static str, over: Value| (why, over, path);
    vec![
        at("spec.upstreams[0].addresses[0]", "a host name", json!({"addresses": ["dns.example"]})),
        at("spec.upstreams[0].addresses", "no address", json!({"addresses": []})),
        at("spec.upstreams[0].tls.pins[1]", "not a pin", json!({"tls": {"pins": pins}})),
        at("spec.upstreams[0].tls", "pins only, without pins", only_pins),
        at("spec.upstreams[0].tls.authentication", "nothing weaker exists", nothing),
        at("spec.upstreams[0].tls", "tls of a plain upstream", json!({"protocol": "TCP"})),
        at("spec.upstreams[0].tls.ca", "two kinds of source", two_sources),
        at(
            "spec.upstreams[0].timeouts.query",
            "a number is no duration",
            json!({"timeouts": {"query": "2"}}),
        ),
    ]
}

fn of_routes() -> Vec<Row> {
    let one = valid()["upstreams"][0].clone();
    let plain = json!({"name": "two", "addresses": ["192.0.2.2"], "protocol": "UDP"});
    let usual = json!({"name": "r", "zones": ["."], "upstreams": ["one"]});
    let with =
        |over: Value| json!({"upstreams": [one, plain], "routes": [merged(usual.clone(), over)]});
    let stranger = with(json!({"upstreams": ["three"]}));
    vec![
        ("an upstream that is not there", stranger, "spec.routes[0].upstreams[0]"),
        ("no zone", with(json!({"zones": ["a..b"]})), "spec.routes[0].zones[0]"),
        ("a weaker fallback", with(json!({"fallback": ["two"]})), "spec.routes[0].fallback"),
    ]
}

fn of_other_parts() -> Vec<Row> {
    let one = valid()["upstreams"][0].clone();
    let listener = json!({"listeners": {"dns": {"addresses": ["localhost:53"]}}});
    let mode = json!({"logging": {"queries": {"mode": "Some"}}});
    let limits = |over: Value| json!({"limits": over});
    vec![
        ("no upstream at all", json!({"upstreams": []}), "spec.upstreams"),
        ("one name twice", json!({"upstreams": [one, one]}), "spec.upstreams[1]"),
        ("no network", json!({"access": {"allow": ["10.0.0.0/33"]}}), "spec.access.allow[0]"),
        ("an unknown field", limits(json!({"queryDeadlin": "1s"})), "spec.limits.queryDeadlin"),
        ("a field that is to come", json!({"hosts": {"ttl": "60s"}}), "spec.hosts"),
        ("too small a number", limits(json!({"maxInFlight": 0})), "spec.limits.maxInFlight"),
        ("a text for a number", limits(json!({"maxInFlight": "x"})), "spec.limits.maxInFlight"),
        ("no such mode", mode, "spec.logging.queries.mode"),
        ("no listener's address", listener, "spec.listeners.dns.addresses[0]"),
    ]
}

#[tokio::test]
async fn every_problem_is_named_by_its_path() {
    for (why, over, path) in problems() {
        let said = check(&manifest(&merged(valid(), over))).await;
        assert_eq!(said.code, Some(1), "{why}: {}{}", said.out, said.err);
        assert!(said.err.contains(path), "{why}: {path} is not named: {}{}", said.out, said.err);
    }
}

#[tokio::test]
async fn all_problems_are_said_at_once() {
    let bad = json!({
        "upstreams": [
            {"name": "one", "addresses": ["dns.example", "192.0.2.1:0"], "tls": {"pins": ["x"]}, "weight": 1},
            {"name": "one", "addresses": ["192.0.2.1"], "timeouts": {"connect": "soon"}},
        ],
        "limits": {"ednsBufferSize": 100},
    });
    let said = check(&manifest(&bad)).await;

    for path in [
        "spec.upstreams[0].addresses[0]",
        "spec.upstreams[0].addresses[1]",
        "spec.upstreams[0].tls.pins[0]",
        "spec.upstreams[0].weight",
        "spec.upstreams[1].timeouts.connect",
        "spec.limits.ednsBufferSize",
    ] {
        assert!(said.err.contains(path), "{path} is missing in {}", said.err);
    }
}

/// Some fields make sense in a file or in a cluster only: what is wrong is told for where the manifest is meant for.
#[tokio::test]
async fn failing_tests_are_told_before_what_another_place_would_refuse() {
    let mut spec = valid();
    spec["tests"] = json!([
        {"name": "a.example", "expect": {"rcode": "NXDOMAIN"}},
        {"name": "b.example", "expect": {"rcode": "NXDOMAIN"}},
    ]);
    let mut nameless: Value = serde_json::from_str(&manifest(&spec)).unwrap();
    nameless.as_object_mut().unwrap().remove("metadata");
    let in_file = check(&nameless.to_string()).await;
    spec["upstreams"][0]["tls"]["ca"] = json!({"configMap": {"name": "corp-ca", "key": "ca.crt"}});
    let in_cluster = check(&manifest(&spec)).await;

    for said in [in_file, in_cluster] {
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("spec.tests[1]: b.example A: "), "{}", said.err);
        assert!(!said.err.contains("only in a cluster"), "{}", said.err);
    }
}

#[tokio::test]
async fn run_refuses_what_check_refuses_and_binds_nothing() {
    for (why, over, path) in problems() {
        let started = Launch::new(&merged(valid(), over)).try_start().await;
        let Err(refused) = started else { panic!("{why}: it runs") };
        let refused = refused.to_string();
        assert!(refused.starts_with("exit status: 1"), "{why}: {refused}");
        assert!(refused.contains(path), "{why}: {refused}");
        assert!(!refused.contains("listening"), "{why}: {refused}");
    }
}

/// What is meant for a cluster can be checked anywhere, and runs there only.
#[tokio::test]
async fn a_manifest_for_a_cluster_is_valid_and_does_not_run_from_a_file() {
    let ca = json!({"configMap": {"name": "corp-ca", "key": "ca.crt"}});
    let mut spec = valid();
    spec["upstreams"][0]["tls"]["ca"] = ca;

    let said = check(&manifest(&spec)).await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let Err(refused) = Launch::new(&spec).try_start().await else {
        panic!("there is no ConfigMap here");
    };
    assert!(refused.to_string().contains("spec.upstreams[0].tls.ca"), "{refused}");
}

#[tokio::test]
async fn several_documents_are_fine_and_each_is_looked_at() {
    let good = manifest(&valid());
    let another = good.replace("\"test\"", "\"another\"");
    let bad = manifest(&json!({"upstreams": []}));

    assert_eq!(check(&format!("{good}---\n{another}")).await.code, Some(0));
    let said = check(&format!("{good}---\n{bad}")).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
}

#[tokio::test]
async fn what_is_no_manifest_is_said_to_be_none() {
    let cases = [
        ("nothing", ""),
        ("no YAML", "spec: [1, 2"),
        ("a list", "- 1\n- 2\n"),
        ("another kind", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"),
        ("another version", "apiVersion: dnsproxy.io/v1\nkind: DnsProxy\nspec: {upstreams: []}\n"),
        (
            "one key twice",
            "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nkind: DnsProxy\nspec: {upstreams: []}\n",
        ),
    ];

    for (why, manifest) in cases {
        let said = check(manifest).await;
        assert_eq!(said.code, Some(1), "{why}: {}{}", said.out, said.err);
        assert!(!said.err.is_empty(), "{why}: without a word");
    }
}

#[tokio::test]
async fn a_bomb_of_aliases_is_no_manifest() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let list = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{list}]\n");
    }
    let before = std::time::Instant::now();
    let said = check(&format!(
        "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\n{bomb}spec: {{upstreams: []}}\n"
    ))
    .await;

    assert_eq!(said.code, Some(1));
    assert!(before.elapsed().as_secs() < 10, "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_missing_file_is_said_by_its_name() {
    for command in ["check", "run"] {
        let output = run(&[command, "-f", "/nowhere/dnsproxy.yaml"]).await;
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(
            text(&output.stderr).contains("/nowhere/dnsproxy.yaml"),
            "{command}: {}",
            text(&output.stderr)
        );
    }
}

/// A mistake of syntax is in no field: without the line nobody would find it.
#[tokio::test]
async fn a_mistake_of_syntax_is_said_with_its_line_by_every_command() {
    let folder = folder();
    let path = folder.path().join("dnsproxy.yaml");
    std::fs::write(&path, "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nspec:\n\t{}\n")
        .unwrap();
    let path = path.to_str().unwrap();
    let place = format!("{path}:4: ");

    for command in [&["check", "-f", path][..], &["run", "-f", path]] {
        let output = run(command).await;
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with(&place), "{command:?}: {said}");
    }
    let explained = run(&["explain", "-f", path, "a.example"]).await;
    assert!(text(&explained.stderr).contains("line 4: "), "{}", text(&explained.stderr));
}

#[tokio::test]
async fn what_a_manifest_says_gives_no_orders_to_a_terminal() {
    let mut over = valid();
    over["upstreams"][0]["addresses"][0] = json!("\u{1b}[2J\nall is well");
    let said = check(&manifest(&over)).await;

    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("\\027[2J\\010all is well"), "{:?}", said.err);
    assert!(!said.err.contains('\u{1b}'), "{:?}", said.err);
}

/// Mended, it would be another text than the one that was written, and have another hash.
#[tokio::test]
async fn a_manifest_that_is_not_utf8_is_refused_with_the_place() {
    let folder = folder();
    let path = folder.path().join("dnsproxy.yaml");
    std::fs::write(&path, [b"# caf\xe9\n", manifest(&valid()).as_bytes()].concat()).unwrap();

    for command in ["check", "run"] {
        let output = run(&[command, "-f", path.to_str().unwrap()]).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("not UTF-8") && said.contains("index 5"), "{command}: {said}");
    }
}

/// A scalar that YAML 1.1 reads as something else: not wrong, but worth a word.
#[tokio::test]
async fn an_unquoted_no_is_warned_about() {
    let mut text = String::from(
        "apiVersion: dnsproxy.io/v1alpha1\nkind: DnsProxy\nmetadata: {name: x}\nspec:\n",
    );
    text += "  upstreams: [{name: one, addresses: [192.0.2.1]}]\n";
    text += "  routes: [{name: norway, zones: [no], upstreams: [one]}]\n";
    let said = check(&text).await;

    assert!(said.err.contains("spec.routes[0].zones[0]"), "{}{}", said.out, said.err);
}

#[tokio::test]
async fn the_wrong_use_of_a_command_is_no_problem_of_the_manifest() {
    for arguments in [&["check"][..], &["run", "--listen", "nowhere"], &["fly"]] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

const BROKEN: &str = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";

/// Nothing would be resolved with most of these, and `run` would say so only once it runs.
#[tokio::test]
async fn files_of_tls_that_cannot_work_are_warned_of() {
    let (authority, folder) = (Authority::default(), folder());
    let (own, other) = (authority.server(), authority.server());
    let old = authority.issue(&["client.example"], expired);
    for (name, content) in [
        ("ca.crt", authority.pem()),
        ("old.crt", old.chain_pem),
        ("broken.crt", format!("{}{BROKEN}", own.chain_pem)),
        ("old.key", old.key_pem),
        ("garbage", "no certificate".to_owned()),
        ("own.crt", own.chain_pem),
        ("own.key", own.key_pem),
        ("other.key", other.key_pem),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let pair = |certificate: &str, key: &str| json!({"clientCertificate": {"certificateFile": certificate, "keyFile": key}});
    for (why, tls, warning) in [
        ("sound ones", merged(json!({"ca": {"file": "ca.crt"}}), pair("own.crt", "own.key")), None),
        ("no such file", json!({"ca": {"file": "none.crt"}}), Some("ca.file: ")),
        (
            "no authority",
            json!({"ca": {"file": "garbage"}}),
            Some("ca.file: no usable certificate"),
        ),
        (
            "none inline",
            json!({"ca": {"inline": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}}),
            Some("ca.inline: no usable certificate"),
        ),
        (
            "an old authority",
            json!({"ca": {"file": "old.crt"}}),
            Some("ca.file: has expired on 2020-01-01T00:00:00Z; it is believed all the same"),
        ),
        (
            "a broken part of a chain",
            pair("broken.crt", "own.key"),
            Some("clientCertificate.certificateFile: a part of it is no PEM"),
        ),
        ("no key file", pair("own.crt", "none.key"), Some("clientCertificate.keyFile: ")),
        (
            "no certificate",
            pair("garbage", "own.key"),
            Some("clientCertificate.certificateFile: no certificate"),
        ),
        ("no key", pair("own.crt", "garbage"), Some("clientCertificate.keyFile: no private key")),
        (
            "another key",
            pair("own.crt", "other.key"),
            Some("clientCertificate.keyFile: the key is another one"),
        ),
        (
            "too late",
            pair("old.crt", "old.key"),
            Some("clientCertificate.certificateFile: it has expired on 2020-01-01"),
        ),
    ] {
        let spec = merged(
            valid(),
            json!({"upstreams": [merged(valid()["upstreams"][0].clone(), json!({"tls": tls}))]}),
        );
        let path = folder.path().join("dnsproxy.yaml");
        std::fs::write(&path, manifest(&spec)).unwrap();
        let output = run(&["check", "-f", path.to_str().unwrap()]).await;
        let said = text(&output.stderr);

        assert!(output.status.success(), "{why}: {said}");
        match warning {
            None => assert!(!said.contains("warning"), "{why}: {said}"),
            Some(warning) => {
                let file = format!("{}:", path.display());
                let has_line = |line: &str| {
                    let number = line.strip_prefix(&file).and_then(|rest| rest.split(':').next());
                    number.is_some_and(|number| number.parse::<usize>().is_ok())
                };
                let place = format!(": warning: spec.upstreams[0].tls.{warning}");
                let is_told = said.lines().any(|line| line.contains(&place) && has_line(line));
                assert!(is_told, "{why}: {place} in {said}");
            }
        }
    }
}
