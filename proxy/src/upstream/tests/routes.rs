//! Which route a question takes, and what a reload keeps.

use super::*;

#[tokio::test]
async fn the_longest_zone_wins_and_ds_goes_to_the_parent() {
    let zone = |text: &str| text.parse::<Name<'_>>().unwrap();
    let upstreams = ["public", "corp", "lab"]
        .map(|name| settings(name, Transport::Udp, &["192.0.2.1:53".parse().unwrap()]));
    let route = |name: &str, zones: &[&str]| RouteSettings {
        name: name.into(),
        zones: zones.iter().map(|text| zone(text)).collect(),
        upstreams: vec![name.into()],
        policy: Policy::Sequential,
        fallback: Vec::new(),
        max_in_flight: 4096,
    };
    let routes = vec![
        route("public", &["."]),
        route("corp", &["corp.example", "10.in-addr.arpa"]),
        route("lab", &["LAB.corp.example"]),
    ];
    let upstreams = Upstreams::build(None, upstreams.into(), routes, &Surroundings::default());
    let cases = [
        ("no zone but the root", "www.example.", Qtype::A, "public"),
        ("the root itself", ".", Qtype::NS, "public"),
        ("the apex", "corp.example.", Qtype::A, "corp"),
        ("below", "a.b.corp.example.", Qtype::A, "corp"),
        ("in another case", "A.CORP.Example.", Qtype::A, "corp"),
        ("by labels, not by letters", "notcorp.example.", Qtype::A, "public"),
        ("a dot inside a label is no separator", "x\\.corp.example.", Qtype::A, "public"),
        ("the longer zone", "www.lab.corp.example.", Qtype::A, "lab"),
        ("a reverse zone", "1.0.0.10.in-addr.arpa.", Qtype::PTR, "corp"),
        ("DS at an apex is the parent's", "lab.corp.example.", Qtype::DS, "corp"),
        ("DS at another apex", "corp.example.", Qtype::DS, "public"),
        ("DS below an apex", "sub.corp.example.", Qtype::DS, "corp"),
        ("DS of the root", ".", Qtype::DS, "public"),
    ];

    for (why, name, qtype, expected) in cases {
        let question = Question { name: zone(name), qtype, qclass: Qclass::IN };
        assert_eq!(&**upstreams.route(&question).unwrap().name(), expected, "{why}");
    }
}

/// After a reload that changes how a server is asked, questions of the old one may still fail.
#[tokio::test]
async fn what_becomes_of_an_old_server_says_nothing_about_the_new_one() {
    let surroundings = Surroundings::default();
    let build = |previous: Option<&Upstreams>, transport: Transport| {
        let upstream = settings("lab", transport, &["192.0.2.1:53".parse().unwrap()]);
        Upstreams::build(previous, vec![upstream], vec![route(&["lab"], &[])], &surroundings)
    };
    let fail = |upstreams: &Upstreams| {
        let (server, now) = (&upstreams.routing.upstreams[0].servers[0], Instant::now());
        for _ in 0..100 {
            server.note(Err(&ExchangeError::Refused), false, now, now);
        }
    };
    let is_healthy = || {
        let series = "dnsproxy_upstream_healthy{upstream=\"lab\",server=\"192.0.2.1:53\"} 1";
        metrics_text(surroundings.metrics.clone()).contains(series)
    };
    let old = build(None, Transport::Udp);
    let new = build(Some(&old), Transport::Tcp);

    fail(&old);
    assert!(is_healthy());
    let newest = build(Some(&new), Transport::Udp);
    fail(&newest);
    assert!(!is_healthy(), "its own failures count");
}

#[tokio::test]
async fn series_go_with_their_server() {
    let surroundings = Surroundings::default();
    let metrics = surroundings.metrics.clone();
    let build = |previous: Option<&Upstreams>, name: &str| {
        let upstream = settings(name, Transport::Udp, &["192.0.2.1:53".parse().unwrap()]);
        Upstreams::build(previous, vec![upstream], vec![route(&[name], &[])], &surroundings)
    };
    let old = build(None, "old");
    assert!(metrics_text(metrics.clone()).contains("upstream=\"old\""));

    let _new = build(Some(&old), "new");
    drop(old);

    let text = metrics_text(metrics.clone());
    assert!(
        text.contains("dnsproxy_upstream_healthy{upstream=\"new\",server=\"192.0.2.1:53\"} 1"),
        "{text}"
    );
    assert!(!text.contains("upstream=\"old\""), "{text}");
}
