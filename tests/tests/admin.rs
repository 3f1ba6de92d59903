//! The admin endpoints say what is the case, to machines and to people, and nothing there can be flooded, or changed but the cache (`cache_commands.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    time::Duration,
};

use dnsproxy_tests::{
    PATIENCE,
    manifest::{manifest, upstreams},
    proxy::{Proxy, binary, folder},
    stage::Stage,
    upstream::ClosedPort,
    wire::{Query, rcodes, types},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
    time::timeout,
};

#[tokio::test]
async fn it_is_alive_and_ready() {
    let stage = Stage::new().await;

    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(stage.proxy.admin.get(path).await.status, 200, "{path}");
    }
    assert_eq!(stage.proxy.admin.get("/nothing").await.status, 404);
}

#[tokio::test]
async fn readiness_does_not_flap_with_upstreams() {
    let closed = ClosedPort::new();
    let proxy = Proxy::start(&upstreams([
        json!({"name": "down", "addresses": [closed.address.to_string()]}),
    ]))
    .await;
    proxy.client().ask("www.example", types::A).await;

    assert_eq!(
        proxy.admin.get("/readyz").await.status,
        200,
        "all pods would leave the Service together"
    );
    let report = proxy.admin.json("/upstreams").await;
    let server = &report["upstreams"][0]["servers"][0];
    assert_eq!(server["state"], "Unhealthy", "{report}");
    assert_eq!(server["address"], closed.address.to_string());
    assert!(
        server["message"].as_str().is_some_and(|message| message.contains("refused")),
        "{report}"
    );
}

#[tokio::test]
async fn upstreams_are_reported_with_their_state() {
    let stage = Stage::new().await;
    let before = stage.proxy.admin.json("/upstreams").await;
    assert_eq!(before["upstreams"][0]["name"], "scripted");
    assert_eq!(before["upstreams"][0]["protocol"], "TLS");
    stage.client().ask("www.example", types::A).await;

    let after = stage.proxy.admin.json("/upstreams").await;
    let server = &after["upstreams"][0]["servers"][0];
    assert_eq!((&server["state"], &server["reason"]), (&json!("Healthy"), &Value::Null), "{after}");
}

#[tokio::test]
async fn config_tells_what_runs_and_no_secret() {
    let stage = Stage::new().await;
    let config = stage.proxy.admin.json("/config").await;

    for key in ["hash", "generation", "loadedAt", "rejected", "files", "certificates"] {
        assert!(config.get(key).is_some(), "{key} in {config}");
    }
    assert!(!config.to_string().to_lowercase().contains("private"), "{config}");
}

#[tokio::test]
async fn queries_and_answers_are_counted() {
    let stage = Stage::new().await;
    for number in 0..5 {
        stage.client().ask(&format!("n{number}.example"), types::A).await;
    }
    stage.client().tcp(&Query::new("a.nx", types::AAAA)).await;
    stage.client().ask("www.example", types::AXFR).await;

    let metrics = stage.proxy.admin.metrics().await;
    let sum = |family: &str, labels: &[&str]| dnsproxy_tests::admin::sum(&metrics, family, labels);
    assert_eq!(sum("dnsproxy_queries_total", &["transport=\"udp\"", "qtype=\"A\""]), 5.0);
    assert_eq!(sum("dnsproxy_queries_total", &["transport=\"tcp\"", "qtype=\"AAAA\""]), 1.0);
    assert_eq!(sum("dnsproxy_responses_total", &["rcode=\"NOERROR\"", "source=\"upstream\""]), 5.0);
    assert_eq!(sum("dnsproxy_responses_total", &["rcode=\"NXDOMAIN\""]), 1.0);
    assert_eq!(sum("dnsproxy_responses_total", &["rcode=\"REFUSED\""]), 1.0);
    assert_eq!(sum("dnsproxy_query_duration_seconds_count", &[]), 7.0);
    assert_eq!(sum("dnsproxy_upstream_queries_total", &["upstream=\"scripted\""]), 6.0);
    // One, and another one where a busy machine has made it look silent.
    let connections = sum("dnsproxy_upstream_connections", &["upstream=\"scripted\""]);
    assert!((1.0..=2.0).contains(&connections), "{connections} connections");
    assert!(sum("dnsproxy_upstream_handshakes_total", &["upstream=\"scripted\""]) >= connections);
    assert_eq!(sum("dnsproxy_upstream_healthy", &["upstream=\"scripted\""]), 1.0);
    assert!(sum("dnsproxy_upstream_certificate_expiry_timestamp_seconds", &[]) > 1.7e9);
    assert!(sum("dnsproxy_open_files", &[]) > 3.0);
}

/// CVE-2026-40011 and CVE-2026-0396: what clients send came out in metrics and pages.
#[tokio::test]
async fn no_label_comes_from_a_client() {
    let stage = Stage::new().await;
    let mut odd = Query::new("", types::A).edns(1232);
    odd.name = b"\x08\x00\"\n{}\\<>\x07example\x00".to_vec();
    stage.client().udp(&odd).await;
    for qtype in (1000..1400).chain(60_000..60_100) {
        stage.client().udp(&Query::new("flood.example", qtype)).await;
    }

    let page = stage.proxy.admin.get("/metrics").await;
    assert!(!page.body.contains("example"), "a name in a metric");
    let qtypes: BTreeSet<&str> = page
        .body
        .lines()
        .filter_map(|line| {
            line.strip_prefix("dnsproxy_queries_total")?.split("qtype=\"").nth(1)?.split('"').next()
        })
        .collect();
    assert!(qtypes.len() < 40, "five hundred types became {} series", qtypes.len());
    for path in ["/config", "/upstreams"] {
        assert!(!stage.proxy.admin.get(path).await.body.contains("flood"), "{path}");
    }
}

#[tokio::test]
async fn metrics_keep_to_the_rules() {
    let stage = Stage::new().await;
    stage.client().ask("www.example", types::A).await;
    let page = stage.proxy.admin.get("/metrics").await;
    let families = families(&page.body);

    assert!(page.head.contains("content-type: application/openmetrics-text"), "{}", page.head);
    assert!(page.body.ends_with("# EOF\n"), "complete");
    for (name, (kind, help)) in families {
        assert!(name.starts_with("dnsproxy_"), "{name}");
        assert!(help.len() > 10, "{name} has no help worth reading: {help:?}");
        assert!(
            ["counter", "gauge", "histogram", "info"].contains(&kind.as_str()),
            "{name} is a {kind}"
        );
        if kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name} has no unit");
        }
    }
}

/// Type and help of each family, by name.
fn families(page: &str) -> BTreeMap<String, (String, String)> {
    let mut families = BTreeMap::<String, (String, String)>::new();
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(what), Some(name), rest) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let family = families.entry(name.to_owned()).or_default();
        match what {
            "TYPE" => family.0 = rest.unwrap_or_default().to_owned(),
            "HELP" => family.1 = rest.unwrap_or_default().to_owned(),
            _ => {}
        }
    }
    families
}

/// CVE-2026-33257, -33260 and -42005: a web server inside took whatever it was given.
#[tokio::test]
async fn a_huge_request_is_not_taken() {
    let stage = Stage::new().await;
    let header =
        format!("GET /livez HTTP/1.1\r\nhost: admin\r\nx: {}\r\n\r\n", "a".repeat(4 << 20));
    let body = format!(
        "POST /livez HTTP/1.1\r\nhost: admin\r\ncontent-length: 99999999\r\n\r\n{}",
        "a".repeat(1 << 20)
    );

    for request in [header, body] {
        if let Ok(page) = stage.proxy.admin.request(&request).await {
            assert!(page.status >= 400, "{}", page.head);
        }
    }
    assert_eq!(stage.proxy.admin.get("/livez").await.status, 200);
}

#[tokio::test]
async fn half_requests_keep_nobody_out_and_hold_few_files() {
    let stage = Stage::new().await;
    let admin = stage.proxy.admin;
    let before = admin.sum("dnsproxy_open_files", &[]).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(admin.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: admin").await.unwrap();
        held.push(stream);
    }

    assert_eq!(admin.get("/livez").await.status, 200, "kubelet's probe is answered");
    let during = admin.sum("dnsproxy_open_files", &[]).await;
    assert!(during <= before + 70.0, "{before} open files have become {during}");
    for mut stream in held {
        let mut said = Vec::new();
        let end = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        assert!(end.is_ok(), "half a request is held for ever");
    }
    assert_eq!(stage.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
}

#[tokio::test]
async fn pages_that_are_shown_cannot_be_changed() {
    let stage = Stage::new().await;

    for path in ["/config", "/upstreams", "/metrics", "/livez", "/cache", "/cache/entries"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let page = stage.proxy.admin.request(&request).await.unwrap();
            assert_eq!(page.status, 405, "{method} {path}");
        }
    }
}

/// Idle connections of somebody who asks nothing must not take the files that questions need.
#[tokio::test]
async fn where_a_process_may_have_few_files_the_endpoints_take_few() {
    let folder = folder();
    let path = folder.path().join("dnsproxy.yaml");
    let spec =
        upstreams([json!({"name": "gone", "protocol": "UDP", "addresses": ["127.0.0.1:9"]})]);
    std::fs::write(&path, manifest(&spec)).unwrap();
    let mut proxy = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(binary())
        .args(["run", "--workers", "1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "-f"])
        .arg(&path)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(proxy.stderr.take().unwrap()).lines();
    let address = loop {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        if let Some(address) = line.strip_prefix("listening admin ") {
            break address.to_owned();
        }
    };

    let mut idle = Vec::new();
    for _ in 0..=64 / 8 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }

    // Long before its time for a request is over.
    let end = timeout(Duration::from_secs(3), idle[0].read(&mut [0; 8])).await;
    assert_eq!(end.expect("the oldest is closed").unwrap_or_default(), 0);
    proxy.kill().await.unwrap();
}
