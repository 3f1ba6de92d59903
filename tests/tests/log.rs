//! The log, on standard error: nobody waits for who reads it.

use dnsproxy_tests::{
    manifest::upstreams,
    proxy::{Launch, folder, run, text},
    wire::{rcodes, types},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

/// More lines than wait in the process and fit into a pipe.
const QUERIES: usize = 7000;

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    // Taken, and closed.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = closed.local_addr().unwrap().to_string();
    let spec = upstreams([json!({"name": "gone", "protocol": "TCP", "addresses": [address]})]);
    let launch = Launch::new(&spec).arguments(&["--log-level", "debug"]);
    let mut proxy = launch.start().await;

    proxy.read_log(false);
    for index in 0..QUERIES {
        let reply = proxy.client().ask(&format!("n{index}.example"), types::A).await;
        assert_eq!(reply.rcode(), rcodes::SERVFAIL);
    }

    assert!(
        proxy.admin.sum("dnsproxy_log_dropped_total", &[]).await > 0.0,
        "what is lost is counted"
    );
    proxy.signal(Signal::SIGTERM);
    assert!(proxy.ended().await.success(), "it ends all the same");
}

/// Programs read these lines: also the last ones, which say why there are no more.
#[tokio::test]
async fn why_it_cannot_start_is_json_where_the_log_is() {
    let folder = folder();
    let path = folder.path().join("dnsproxy.yaml");
    std::fs::write(&path, "spec: [\n").unwrap();
    let path = path.to_str().unwrap();
    let cases = [
        (&["run", "--log-format", "json", "-f", path][..], path),
        (&["run", "--log-format", "json", "-f", "/nowhere"], "dnsproxy: cannot read /nowhere: "),
    ];

    for (arguments, reason) in cases {
        let output = run(arguments).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let lines: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!lines.is_empty());
        for line in lines {
            assert_eq!(line["level"], "ERROR", "{said}");
            assert!(line["timestamp"].is_string(), "{said}");
            assert!(line["message"].as_str().unwrap().starts_with(reason), "{said}");
        }
    }
}

#[tokio::test]
async fn a_reload_says_only_what_is_new() {
    let server = |name: &str, address: &str| json!({"name": name, "protocol": "UDP", "addresses": [address]});
    let first = server("first", "192.0.2.1:53");
    let proxy = Launch::new(&upstreams([first.clone()])).start().await;

    proxy.reload(&upstreams([first, server("second", "192.0.2.2:53")])).await;

    proxy.says("the new server", |line| line.contains("upstream second udp://192.0.2.2:53")).await;
    let log = proxy.log();
    let told = log.iter().filter(|line| line.contains("upstream first ")).count();
    assert_eq!(told, 1, "{log:#?}");
}
