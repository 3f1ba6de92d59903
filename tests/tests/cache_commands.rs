//! `dnsproxy cache` shows what is kept and removes what should not be, for whoever is on the proxy's own host.

use std::net::{IpAddr, SocketAddr};

use dnsproxy_tests::{
    admin::{Admin, Page},
    kernel::other_addresses,
    proxy::{Launch, run, text},
    stage::Stage,
    wire::{rcodes, types},
};
use serde_json::{Value, json};

/// A proxy that keeps two names of one zone, a name below the first one, and one that is not there.
async fn stage() -> Stage {
    let stage = Stage::spec(json!({"cache": {}})).await;
    let names = ["www.a.example", "below.www.a.example", "www.b.example", "gone.nx"];
    for name in names {
        stage.client().ask(name, types::A).await;
    }
    stage.client().ask("www.a.example", types::TXT).await;
    stage
}

/// Runs the command, which must succeed, and reads what it says.
async fn cache(stage: &Stage, arguments: &str) -> Value {
    let admin = stage.proxy.admin.address.to_string();
    let mut words = vec!["cache"];
    words.extend(arguments.split_whitespace());
    words.extend(["--admin", &admin, "--output", "json"]);
    let output = run(&words).await;
    assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names and types of the entries.
fn kept(answer: &Value) -> Vec<String> {
    let entries = answer["entries"].as_array().unwrap();
    let mut kept: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!("{} {}", entry["name"].as_str().unwrap(), entry["qtype"].as_str().unwrap())
        })
        .collect();
    kept.sort();
    kept
}

#[tokio::test]
async fn the_numbers_are_those_of_the_metrics() {
    let stage = stage().await;
    let stats = cache(&stage, "stats").await;
    let metrics = stage.proxy.admin.metrics().await;
    let sum = |family: &str| dnsproxy_tests::admin::sum(&metrics, family, &[]);

    assert_eq!(stats["entries"].as_f64(), Some(5.0), "{stats}");
    assert_eq!(stats["bytes"].as_f64(), Some(sum("dnsproxy_cache_bytes")), "{stats}");
    assert_eq!(stats["misses"].as_f64(), Some(sum("dnsproxy_cache_misses_total")), "{stats}");
    let admin = stage.proxy.admin.address.to_string();
    let shown = text(&run(&["cache", "stats", "--admin", &admin]).await.stdout);
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["entries", "5"])), "{shown}");
}

#[tokio::test]
async fn entries_are_shown_by_what_they_are() {
    let stage = stage().await;
    let cases: [(&str, &[&str]); 7] = [
        (
            "get",
            &[
                "below.www.a.example. A",
                "gone.nx. *",
                "www.a.example. A",
                "www.a.example. TXT",
                "www.b.example. A",
            ],
        ),
        ("get --name WWW.a.example", &["www.a.example. A", "www.a.example. TXT"]),
        ("get --name www.a.example --type txt", &["www.a.example. TXT"]),
        (
            "get --zone www.a.example.",
            &["below.www.a.example. A", "www.a.example. A", "www.a.example. TXT"],
        ),
        ("get --zone ww.a.example", &[]),
        ("get --negative", &["gone.nx. *"]),
        ("get --negative --zone example", &[]),
    ];

    for (arguments, expected) in cases {
        let answer = cache(&stage, arguments).await;
        assert_eq!(kept(&answer), expected, "{arguments}");
        assert_eq!(answer["complete"], true, "{arguments}");
    }
    let few = cache(&stage, "get --limit 2").await;
    assert_eq!((kept(&few).len(), &few["complete"]), (2, &Value::Bool(false)));
    let admin = stage.proxy.admin.address.to_string();
    let shown = text(&run(&["cache", "get", "--name", "gone.nx", "--admin", &admin]).await.stdout);
    assert_eq!(shown.lines().count(), 2, "a head and a line: {shown}");
    assert!(shown.contains("gone.nx."), "{shown}");
}

#[tokio::test]
async fn entries_are_removed_by_what_they_are() {
    let cases: [(&str, u64, &[&str]); 6] = [
        // (arguments, how many go, who has to be asked for again)
        ("flush --name www.a.example", 2, &["www.a.example"]),
        ("flush --name www.a.example --type A", 1, &["www.a.example"]),
        ("flush --zone a.example", 3, &["www.a.example", "below.www.a.example"]),
        ("flush --negative", 1, &["gone.nx"]),
        ("flush --zone no.example", 0, &[]),
        ("flush", 5, &["www.a.example", "below.www.a.example", "www.b.example", "gone.nx"]),
    ];

    for (arguments, removed, gone) in cases {
        let stage = stage().await;
        let answer = cache(&stage, arguments).await;
        assert_eq!(answer["removed"].as_u64(), Some(removed), "{arguments}");
        for name in ["www.a.example", "below.www.a.example", "www.b.example", "gone.nx"] {
            let before = stage.asked().len();
            stage.client().ask(name, types::A).await;
            let is_asked = stage.asked().len() > before;
            assert_eq!(is_asked, gone.contains(&name), "{arguments}: {name}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    let admin = stage.proxy.admin.address.to_string();
    let wrong = ["--name a..b", "--type ADDRESS", "--name a --zone b", "--limit x", "--zone"];

    for arguments in wrong {
        let mut words = vec!["cache", "flush", "--admin", &admin];
        words.extend(arguments.split_whitespace());
        let output = run(&words).await;
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(!output.stderr.is_empty());
    }
    let output = run(&["cache", "stats", "--negative", "--admin", &admin]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let closed = dnsproxy_tests::upstream::ClosedPort::new();
    let output = run(&["cache", "stats", "--admin", &closed.address.to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no answer"), "{}", text(&output.stderr));
}

async fn request(admin: Admin, method: &str, target: &str, headers: &[&str]) -> Page {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!(
        "{method} {target} HTTP/1.1\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n"
    );
    admin.request(&request).await.unwrap()
}

const CHANGE: &str = "dnsproxy-change: 1";

#[tokio::test]
async fn an_endpoint_says_what_is_wrong_with_a_request() {
    let stage = stage().await;
    let cases = [
        // (method, target, status, what it says)
        ("GET", "/cache/entries?nmae=a.example", 400, "nmae"),
        ("GET", "/cache/entries?name=a..example", 400, "name"),
        ("GET", "/cache/entries?type=ADDRESS", 400, "type"),
        ("GET", "/cache/entries?limit=100000", 400, "limit"),
        ("GET", "/cache?name=a.example", 400, "parameter"),
        ("POST", "/cache/flush?nmae=a.example", 400, "nmae"),
        ("POST", "/cache/flush?limit=1", 400, "limit"),
        ("POST", "/cache/flush?negative", 400, "negative"),
        ("GET", "/cache/flush", 405, ""),
        ("OPTIONS", "/cache/flush", 405, ""),
        ("POST", "/cache", 405, ""),
        ("DELETE", "/cache/entries", 405, ""),
    ];

    for (method, target, status, says) in cases {
        let page = request(stage.proxy.admin, method, target, &["host: localhost", CHANGE]).await;
        assert_eq!(page.status, status, "{method} {target}: {}", page.body);
        assert!(page.body.contains(says), "{method} {target}: {}", page.body);
    }
    assert_eq!(kept(&cache(&stage, "get").await).len(), 5, "nothing was removed");
}

/// A page in a browser of the same host comes from loopback, too.
#[tokio::test]
async fn a_web_page_can_neither_read_nor_remove_entries() {
    let stage = stage().await;
    let cases: [(&str, &[&str]); 4] = [
        ("another site's form", &["host: 127.0.0.1:8053", "origin: https://site.example"]),
        ("another site's script", &["host: 127.0.0.1:8053", "sec-fetch-site: cross-site", CHANGE]),
        ("a name that leads to loopback", &["host: site.example:8053", CHANGE]),
        ("no sign that it is meant", &["host: 127.0.0.1:8053"]),
    ];

    for (why, headers) in cases {
        let page = request(stage.proxy.admin, "POST", "/cache/flush", headers).await;
        assert_eq!(page.status, 403, "{why}: {}", page.body);
    }
    let page = request(stage.proxy.admin, "GET", "/cache/entries", &["host: site.example"]).await;
    assert_eq!(page.status, 403, "{}", page.body);
    assert_eq!(kept(&cache(&stage, "get").await).len(), 5, "nothing was removed");
}

/// The admin address of a pod is on all addresses.
#[tokio::test]
async fn the_network_can_neither_read_nor_remove_entries() {
    let stage = Stage::spec(json!({"cache": {}})).await;
    let proxy = Launch::new(&stage.spec).arguments(&["--admin", "[::]:0"]).start().await;
    proxy.client().ask("www.example", types::A).await;
    let others = other_addresses();
    if others.is_empty() {
        eprintln!("NOT TESTED: this machine has no address but loopback");
    }

    for address in others {
        let admin = Admin { address: SocketAddr::new(address, proxy.admin.address.port()) };
        let host = format!("host: {}", admin.address);
        for (method, target) in [("POST", "/cache/flush"), ("GET", "/cache/entries")] {
            let page = request(admin, method, target, &[&host, CHANGE]).await;
            assert_eq!(page.status, 403, "{method} {target} from {address}: {}", page.body);
            assert!(page.body.contains("kubectl exec"), "the way out: {}", page.body);
        }
        assert_eq!(
            request(admin, "GET", "/cache", &[&host]).await.status,
            200,
            "numbers are for all"
        );
        let output = run(&["cache", "flush", "--admin", &admin.address.to_string()]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("loopback"), "{}", text(&output.stderr));
    }
    for host in ["127.0.0.1", "::1"] {
        let address: IpAddr = host.parse().unwrap();
        let admin = SocketAddr::new(address, proxy.admin.address.port()).to_string();
        let output = run(&["cache", "flush", "--admin", &admin]).await;
        assert!(output.status.success(), "{host}: {}", text(&output.stderr));
    }
    let reply = proxy.client().ask("www.example", types::A).await;
    assert_eq!(reply.rcode(), rcodes::NOERROR);
}
