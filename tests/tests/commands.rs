//! The small commands: `query` is a small dig, `healthcheck` an exit code, `run` without a manifest the embedded one.

use dnsproxy_tests::{
    certificates::{Authority, NAME},
    manifest::{manifest, merged},
    proxy::{Launch, Proxy, binary, folder, run, text},
    stage::Stage,
    upstream::{Action, ClosedPort, Upstream},
    wire::Response,
};
use serde_json::json;

async fn query(arguments: &[&str]) -> (bool, String) {
    let output = run(&[&["query"], arguments].concat()).await;
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test]
async fn query_asks_over_udp_and_tcp() {
    let stage = Stage::new().await;
    let at = format!("@{}", stage.proxy.udp[0]);

    let (is_answered, said) = query(&[&at, "www.example"]).await;
    assert!(is_answered && said.contains("NOERROR") && said.contains("192.0.2.1"), "{said}");
    let (is_answered, said) = query(&[&at, "www.example", "TXT", "--tcp"]).await;
    assert!(is_answered && said.contains("www.example"), "{said}");
    let (is_answered, said) = query(&[&at, "big.example", "TXT"]).await;
    assert!(
        is_answered && said.contains(&"0".repeat(100)),
        "a truncated answer is fetched over TCP: {said}"
    );
}

#[tokio::test]
async fn query_shows_why_there_is_no_answer() {
    let closed = ClosedPort::new();
    let spec = json!({"upstreams": [{"name": "down", "addresses": [closed.address.to_string()], "protocol": "TCP"}]});
    let proxy = Proxy::start(&spec).await;
    let (_, said) = query(&[&format!("@{}", proxy.udp[0]), "www.example"]).await;

    assert!(
        said.contains("SERVFAIL") && said.contains("down") && said.contains("refused"),
        "{said}"
    );
}

#[tokio::test]
async fn query_shows_what_strangers_say_and_the_terminal_obeys_none_of_it() {
    let stage = Stage::script(|query| {
        let response = Response::to(&query.message).txt("real\n;; forged\x1b[2J");
        vec![Action::Send(response.ede(0, "reason\x1b[2J").encode())]
    })
    .await;
    let (_, said) = query(&[&format!("@{}", stage.proxy.udp[0]), "www.example", "TXT"]).await;

    assert!(
        said.contains("reason\\027[2J") && said.contains("real\\010;; forged\\027[2J"),
        "{said}"
    );
    assert!(said.chars().all(|letter| letter == '\n' || !letter.is_control()), "{said:?}");
}

#[tokio::test]
async fn query_asks_over_tls_and_authenticates() {
    let root = Authority::default();
    let identity = root.server();
    let upstream = Upstream::tls(&identity).start().await;
    let folder = folder();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, root.pem()).unwrap();
    let (at, ca) = (format!("@{}", upstream.address), ca.to_str().unwrap().to_owned());

    let (is_answered, said) =
        query(&[&at, "www.example", "--tls", "--server-name", NAME, "--ca", &ca]).await;
    assert!(is_answered && said.contains("192.0.2.1"), "{said}");
    let (is_answered, said) =
        query(&[&at, "secret.example", "--tls", "--server-name", "other.example", "--ca", &ca])
            .await;
    assert!(!is_answered, "{said}");
    let (is_answered, said) = query(&[&at, "secret.example", "--tls", "--server-name", NAME]).await;
    assert!(!is_answered, "against the public roots: {said}");
    assert!(said.contains("--ca") && !said.contains("tls.ca"), "the option, not the field: {said}");
    assert!(upstream.seen().queries.iter().all(|query| query.name() == "www.example."));
}

#[tokio::test]
async fn query_says_when_nobody_answers() {
    let closed = ClosedPort::new();
    let (is_answered, said) =
        query(&[&format!("@{}", closed.address), "www.example", "--tcp"]).await;

    assert!(!is_answered && !said.is_empty(), "{said}");
}

#[tokio::test]
async fn healthcheck_is_an_exit_code() {
    let mut stage = Stage::spec(json!({"shutdown": {"delay": "5s"}})).await;
    let admin = stage.proxy.admin.address.to_string();

    assert!(run(&["healthcheck", "--admin", &admin]).await.status.success());
    stage.proxy.signal(nix::sys::signal::Signal::SIGTERM);
    dnsproxy_tests::eventually("not healthy", async || {
        (!run(&["healthcheck", "--admin", &admin]).await.status.success()).then_some(())
    })
    .await;
    stage.proxy.signal(nix::sys::signal::Signal::SIGTERM);
    stage.proxy.ended().await;
    assert!(!run(&["healthcheck", "--admin", &admin]).await.status.success(), "nobody there");
}

#[tokio::test]
async fn without_a_manifest_two_public_resolvers_are_the_upstreams() {
    let proxy = Launch::embedded().start().await;
    proxy.says("that it runs", |line| line.contains("configuration loaded")).await;
    let lines: Vec<String> =
        proxy.log().into_iter().filter(|line| line.starts_with("upstream ")).collect();

    assert!(lines.len() >= 2, "a line per upstream at the start: {:?}", proxy.log());
    assert!(lines.iter().all(|line| line.contains("tls://")), "over TLS, all of them: {lines:?}");
}

#[tokio::test]
async fn log_lines_may_be_json() {
    let stage = Stage::new().await;
    let proxy = Launch::new(&stage.spec).arguments(&["--log-format", "json"]).start().await;

    for line in proxy.log() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&line);
        assert!(parsed.is_ok_and(|line| line.is_object()), "{line}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_nothing_runs() {
    let stage = Stage::new().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let Err(refused) = Launch::new(&stage.spec).listen(&address).try_start().await else {
        panic!("it runs at a port that is somebody else's");
    };

    assert!(refused.to_string().contains(&address), "{refused}");
}

/// Waits until so many configurations were loaded.
async fn has_loaded(proxy: &Proxy, times: usize) {
    dnsproxy_tests::eventually("another configuration", async || {
        let log = proxy.log();
        let loaded = log.iter().filter(|line| line.contains("configuration loaded"));
        (loaded.count() == times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_not_for_a_single_process_is_said_once_and_no_warning_without_need() {
    let parts = json!({"workload": {"replicas": 3}, "service": {"clusterIP": "10.96.0.53"}});
    let stage = Stage::spec(parts).await;
    has_loaded(&stage.proxy, 1).await;
    let nowhere = merged(stage.spec.clone(), json!({"clusterDNS": {"mode": "Forward"}}));
    stage.proxy.replace_manifest(&manifest(&nowhere));
    has_loaded(&stage.proxy, 2).await;
    stage
        .proxy
        .replace_manifest(&manifest(&merged(nowhere, json!({"limits": {"queryDeadline": "3s"}}))));
    has_loaded(&stage.proxy, 3).await;

    let log = stage.proxy.log();
    let cases = [("spec.workload", "INFO"), ("spec.clusterDNS", "WARN")];
    for (what, level) in cases {
        let lines: Vec<_> = log.iter().filter(|line| line.contains(what)).collect();
        assert!(lines.len() == 1 && lines[0].contains(level), "{what} once, {level}: {log:?}");
    }
}

#[tokio::test]
async fn the_query_log_has_what_was_asked_for() {
    let stage = Stage::spec(json!({"logging": {"queries": {"mode": "Failures"}}})).await;
    stage.client().ask("fine.example", dnsproxy_tests::wire::types::A).await;
    stage.client().ask("secret.example", dnsproxy_tests::wire::types::AXFR).await;
    let line = stage.proxy.says("the refused one", |line| line.contains("secret.example")).await;

    let start = line.find('{').unwrap();
    let entry: serde_json::Value =
        serde_json::from_str(&line[start..]).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(entry.to_string().contains("REFUSED"), "{entry}");
    assert!(!stage.proxy.log().iter().any(|line| line.contains("fine.example")));
}

#[tokio::test]
async fn a_query_that_a_rule_drops_is_in_the_log_and_is_no_reply() {
    let spec = json!({
        "logging": {"queries": {"mode": "Failures"}},
        "rules": [{"name": "quiet", "match": {"names": {"exact": ["quiet.example"]}}, "block": {"with": "Drop"}}],
    });
    let stage = Stage::spec(spec).await;
    let query = dnsproxy_tests::wire::Query::new("quiet.example", dnsproxy_tests::wire::types::A);
    stage.client().socket().await.send(&query.encode()).await.unwrap();

    let line = stage.proxy.says("the dropped one", |line| line.contains("quiet.example")).await;

    let entry: serde_json::Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap();
    assert_eq!((&entry["rcode"], &entry["source"]), (&json!(null), &json!("rule")), "{entry}");
    assert_eq!(stage.proxy.admin.sum("dnsproxy_queries_total", &[]).await, 1.0);
    assert_eq!(stage.proxy.admin.sum("dnsproxy_responses_total", &[]).await, 0.0);
}

#[tokio::test]
async fn no_query_is_logged_unless_asked_for() {
    let stage = Stage::new().await;
    stage.client().ask("secret.example", dnsproxy_tests::wire::types::A).await;
    stage.client().ask("secret.nx", dnsproxy_tests::wire::types::A).await;

    assert!(
        !stage.proxy.log().iter().any(|line| line.contains("secret")),
        "what people ask is their own affair"
    );
}

/// As behind `| head`.
#[tokio::test]
async fn a_command_whose_reader_has_gone_ends_quietly() {
    let folder = folder();
    let file = folder.path().join("dnsmasq.conf");
    let lines = (0..5000).map(|i| format!("address=/name-{i}.example/192.0.2.1\n"));
    std::fs::write(&file, format!("no-resolv\nserver=192.0.2.1\n{}", lines.collect::<String>()))
        .unwrap();

    let mut child = std::process::Command::new(binary())
        .args(["import", "dnsmasq"])
        .arg(&file)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // More than a pipe holds was to come.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(141), "as of one that SIGPIPE ended");
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn a_command_whose_words_find_no_room_says_so_and_fails() {
    let output = std::process::Command::new(binary())
        .args(["explain", "a.example"])
        .stdout(std::fs::File::create("/dev/full").unwrap())
        .output()
        .unwrap();

    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left") && !said.contains("panicked"), "{said}");
}
