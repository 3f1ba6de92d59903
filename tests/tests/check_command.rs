//! `dnsproxy check` finds every problem of a manifest at once, each with its path; `run` refuses the same.

use dnsproxy_tests::{
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

/// Each row: why it is a problem, what is laid over the valid manifest, and the path that is named.
fn problems() -> Vec<(&'static str, Value, &'static str)> {
    let pin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let second = json!({"name": "two", "addresses": ["192.0.2.2"], "protocol": "UDP"});
    let with = |over: Value| json!([merged(valid()["upstreams"][0].clone(), over)]);
    let routes =
        |route: Value| json!({"upstreams": [valid()["upstreams"][0], second], "routes": [route]});
    vec![
        ("no upstream at all", json!({"upstreams": []}), "spec.upstreams"),
        (
            "a host name",
            json!({"upstreams": with(json!({"addresses": ["dns.example"]}))}),
            "spec.upstreams[0].addresses[0]",
        ),
        (
            "no address",
            json!({"upstreams": with(json!({"addresses": []}))}),
            "spec.upstreams[0].addresses",
        ),
        (
            "not a pin",
            json!({"upstreams": with(json!({"tls": {"pins": [pin, "sha256/short"]}}))}),
            "spec.upstreams[0].tls.pins[1]",
        ),
        (
            "pins only, without pins",
            json!({"upstreams": with(json!({"tls": {"authentication": "PinsOnly"}}))}),
            "spec.upstreams[0].tls",
        ),
        (
            "nothing weaker exists",
            json!({"upstreams": with(json!({"tls": {"authentication": "None"}}))}),
            "spec.upstreams[0].tls.authentication",
        ),
        (
            "tls of a plain upstream",
            json!({"upstreams": with(json!({"protocol": "TCP"}))}),
            "spec.upstreams[0].tls",
        ),
        (
            "no duration",
            json!({"upstreams": with(json!({"timeouts": {"query": "2"}}))}),
            "spec.upstreams[0].timeouts.query",
        ),
        (
            "two kinds of source",
            json!({"upstreams": with(json!({"tls": {"ca": {"inline": "x", "file": "y"}}}))}),
            "spec.upstreams[0].tls.ca",
        ),
        (
            "one name twice",
            json!({"upstreams": [valid()["upstreams"][0], valid()["upstreams"][0]]}),
            "spec.upstreams[1]",
        ),
        (
            "an upstream that is not there",
            routes(json!({"name": "r", "zones": ["."], "upstreams": ["three"]})),
            "spec.routes[0].upstreams[0]",
        ),
        (
            "no zone",
            routes(json!({"name": "r", "zones": ["a..b"], "upstreams": ["one"]})),
            "spec.routes[0].zones[0]",
        ),
        (
            "a weaker fallback",
            routes(json!({"name": "r", "zones": ["."], "upstreams": ["one"], "fallback": ["two"]})),
            "spec.routes[0].fallback",
        ),
        ("no network", json!({"access": {"allow": ["10.0.0.0/33"]}}), "spec.access.allow[0]"),
        ("an unknown field", json!({"limits": {"queryDeadlin": "1s"}}), "spec.limits.queryDeadlin"),
        ("a field that is to come", json!({"cache": {"mode": "Enabled"}}), "spec.cache"),
        ("too small a number", json!({"limits": {"maxInFlight": 0}}), "spec.limits.maxInFlight"),
        (
            "a text for a number",
            json!({"limits": {"maxInFlight": "many"}}),
            "spec.limits.maxInFlight",
        ),
        (
            "no such mode",
            json!({"logging": {"queries": {"mode": "Some"}}}),
            "spec.logging.queries.mode",
        ),
        (
            "no listener's address",
            json!({"listeners": {"dns": {"addresses": ["localhost:53"]}}}),
            "spec.listeners.dns.addresses[0]",
        ),
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
    let bad = manifest(&json!({"upstreams": []}));

    assert_eq!(check(&format!("{good}---\n{good}")).await.code, Some(0));
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
