//! Upstreams in the clear, for the cluster's own DNS: UDP with what makes forging hard, TCP when it is truncated.

use std::collections::BTreeSet;

use dnsproxy_tests::{
    manifest::{merged, upstreams},
    proxy::Proxy,
    upstream::{Action, ClosedPort, Setup, Upstream, faithful_answer},
    wire::{Reply, Response, flags, rcodes, types},
};
use serde_json::json;
use tokio::net::UdpSocket;

async fn stage(setup: Setup, protocol: &str) -> (Upstream, Proxy) {
    let upstream = setup.start().await;
    let entry =
        merged(upstream.plain_entry("plain", protocol), json!({"timeouts": {"query": "1s"}}));
    let proxy = Proxy::start(&upstreams([entry])).await;
    (upstream, proxy)
}

/// CVE-2021-3448: one port for all queries leaves sixteen bits to guess.
#[tokio::test]
async fn ports_and_ids_vary_with_every_query() {
    let (upstream, proxy) = stage(Upstream::plain(), "UDP").await;
    for _ in 0..64 {
        assert_eq!(proxy.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
    }

    let seen = upstream.seen();
    let ports: BTreeSet<u16> = seen.queries.iter().map(|query| query.from.port()).collect();
    let ids: BTreeSet<u16> = seen.queries.iter().map(|query| query.id()).collect();
    assert!(ports.len() > 56, "64 queries came from {} ports", ports.len());
    assert!(ids.len() > 56, "64 queries had {} IDs", ids.len());
    let steps: BTreeSet<i32> = seen
        .queries
        .windows(2)
        .map(|pair| i32::from(pair[1].from.port()) - i32::from(pair[0].from.port()))
        .collect();
    assert!(steps.len() > 20, "the next port cannot be told from the last: {steps:?}");
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let script = |query: &dnsproxy_tests::upstream::Received| {
        let answer = match query.connection {
            None => Response::to(&query.message).with(flags::TC),
            Some(_) => faithful_answer(query),
        };
        vec![Action::Send(answer.encode())]
    };
    let (upstream, proxy) = stage(Upstream::plain().script(script), "UDP").await;
    let reply = proxy.client().ask("www.example", types::TXT).await;

    assert_eq!(reply.texts(), ["www.example."]);
    assert!(!reply.is_truncated());
    let seen = upstream.seen();
    assert!(seen.datagrams > 0 && seen.connections > 0, "{seen:?}");
}

#[tokio::test]
async fn a_truncated_answer_of_a_server_without_tcp_is_a_failure() {
    let tcp = ClosedPort::new();
    let socket = UdpSocket::bind(tcp.address).await.unwrap();
    let entry = json!({"name": "plain", "addresses": [tcp.address], "protocol": "UDP"});
    let proxy = Proxy::start(&upstreams([entry])).await;
    let serve = async {
        let mut query = [0; 4096];
        loop {
            let (len, from) = socket.recv_from(&mut query).await.unwrap();
            let answer = Response::to(&query[..len]).with(flags::TC).encode();
            socket.send_to(&answer, from).await.unwrap();
        }
    };
    let client = proxy.client();
    let reply = tokio::select! {
        reply = client.ask("www.example", types::TXT) => reply,
        () = serve => unreachable!(),
    };

    assert_eq!((reply.rcode(), reply.is_truncated()), (rcodes::SERVFAIL, false), "{reply:?}");
    assert!(reply.ede().is_some_and(|(_, text)| text.ends_with("over TCP")), "{reply:?}");
}

/// "Poison over troubled forwarders" (2020): the second fragment of an answer can be anybody's.
#[tokio::test]
async fn no_more_is_asked_for_than_a_datagram_can_bring() {
    let (upstream, proxy) = stage(Upstream::plain(), "UDP").await;
    proxy.client().ask("www.example", types::A).await;

    let asked = Reply::parse(&upstream.seen().queries[0].message).unwrap();
    assert_eq!(
        asked.edns.map(|edns| edns.payload),
        Some(1232),
        "fragments can be forged (RFC 9715)"
    );
}

#[tokio::test]
async fn a_server_that_does_not_know_edns_is_asked_without() {
    let script = |query: &dnsproxy_tests::upstream::Received| {
        let has_edns = query.message[11] > 0;
        let answer = if has_edns {
            Response::to(&query.message).without_edns().rcode(rcodes::FORMERR)
        } else {
            faithful_answer(query)
        };
        vec![Action::Send(answer.encode())]
    };
    for protocol in ["UDP", "TCP"] {
        let (_upstream, proxy) = stage(Upstream::plain().script(script), protocol).await;
        let reply = proxy.client().ask("www.example", types::A).await;
        assert_eq!(reply.rcode(), rcodes::NOERROR, "{protocol} (RFC 6891 section 6.2.2)");
    }
}

#[tokio::test]
async fn over_tcp_one_connection_carries_many_queries() {
    let (upstream, proxy) = stage(Upstream::plain(), "TCP").await;
    for number in 0..50 {
        let name = format!("n{number}.example.");
        assert_eq!(proxy.client().ask(&name, types::TXT).await.texts(), [name]);
    }

    let seen = upstream.seen();
    assert!(seen.connections < 10, "{} for fifty queries", seen.connections);
    assert!(seen.datagrams == 0 && seen.queries.len() >= 50);
}

#[tokio::test]
async fn a_lost_datagram_is_a_timeout_and_not_an_error_of_the_name() {
    let script = |query: &dnsproxy_tests::upstream::Received| match query.number {
        0 => Vec::new(),
        _ => vec![Action::Send(faithful_answer(query).encode())],
    };
    let (_upstream, proxy) = stage(Upstream::plain().script(script), "UDP").await;

    let first = proxy.client().ask("www.example", types::A).await;
    assert!([rcodes::NOERROR, rcodes::SERVFAIL].contains(&first.rcode()));
    assert_eq!(proxy.client().ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
}

#[tokio::test]
async fn ipv6_servers_are_asked_too() {
    let at = "[::1]:0".parse().unwrap();
    for protocol in ["UDP", "TCP"] {
        let (_upstream, proxy) = stage(Upstream::plain().at(at), protocol).await;
        assert_eq!(
            proxy.client().ask("www.example", types::A).await.rcode(),
            rcodes::NOERROR,
            "{protocol}"
        );
    }
}
