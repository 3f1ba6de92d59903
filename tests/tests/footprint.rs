//! What the proxy costs at rest and at the start. It prints; only what is far off fails.

use std::time::{Duration, Instant};

use dnsproxy_tests::{
    certificates::Authority, manifest::upstreams, proxy::Launch, upstream::Upstream, wire::types,
};

/// Anonymous memory of a process, in KiB.
fn anonymous_memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Two workers, two upstreams with open connections, as with the embedded manifest.
#[tokio::test]
async fn memory_and_start_are_measured() {
    let authority = Authority::default();
    let first = Upstream::tls(&authority.server()).start().await;
    let second = Upstream::tls(&authority.server()).start().await;
    let mut spec =
        upstreams([first.entry("first", &authority), second.entry("second", &authority)]);
    spec["routes"] = serde_json::json!([
        {"name": "default", "zones": ["."], "upstreams": ["first"]},
        {"name": "other", "zones": ["second.example"], "upstreams": ["second"]},
    ]);
    let launched = Instant::now();
    let proxy = Launch::new(&spec).arguments(&["--workers", "2"]).start().await;
    let started = launched.elapsed();
    proxy.client().ask("www.example", types::A).await;
    let answered = launched.elapsed();
    for number in 0..1000 {
        proxy.client().ask(&format!("n{number}.second.example"), types::A).await;
    }

    let memory = anonymous_memory(proxy.id());
    println!(
        "from exec to listening {started:?}, to the first answer {answered:?}, handshake included"
    );
    println!("RssAnon {memory} KiB with two workers and two connections, after a thousand queries");
    assert!(memory < 15 * 1024, "{memory} KiB at rest: 15 MiB are promised");
    assert!(answered < Duration::from_secs(10), "{answered:?}");
}
