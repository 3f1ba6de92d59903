//! Who may ask, and how much; others are told so (RFC 8914 code 18).

use dnsproxy_tests::{
    client::Client,
    manifest::upstreams,
    proxy::{Launch, Proxy, loopback},
    stage::Stage,
    upstream::Upstream,
    wire::{Query, rcodes, types},
};
use serde_json::{Value, json};

#[tokio::test]
async fn only_those_who_may_ask_are_answered() {
    let stage =
        Stage::spec(json!({"access": {"allow": ["127.0.0.0/28"], "deny": ["127.0.0.5"]}})).await;
    let cases = [
        ("in an allowed network", 1, rcodes::NOERROR),
        ("at its end", 15, rcodes::NOERROR),
        ("behind its end", 16, rcodes::REFUSED),
        ("denied in the middle of it", 5, rcodes::REFUSED),
    ];

    for (why, last, expected) in cases {
        let client = stage.client().from(loopback(last));
        let query = Query::new("www.example", types::A).edns(1232);
        for reply in [client.udp(&query).await, client.tcp(&query).await] {
            assert_eq!(reply.rcode(), expected, "{why}");
            let code = reply.ede().map(|(code, _)| code);
            assert_eq!(code, (expected == rcodes::REFUSED).then_some(18), "{why}: Prohibited");
        }
    }
    assert_eq!(stage.asked().len(), 4, "nothing was asked for the others");
}

#[tokio::test]
async fn an_empty_list_allows_nobody() {
    let stage = Stage::spec(json!({"access": {"allow": []}})).await;

    assert_eq!(stage.client().ask("www.example", types::A).await.rcode(), rcodes::REFUSED);
}

/// RFC 5625 section 6.2: no open resolver by default. Loopback is what a test can ask from.
#[tokio::test]
async fn an_ipv4_client_is_one_at_a_listener_for_both_families() {
    let upstream = Upstream::plain().start().await;
    let mut spec = upstreams([upstream.plain_entry("plain", "UDP")]);
    spec["access"] = json!({"allow": ["127.0.0.1/32"]});
    let proxy = Launch::new(&spec).listen("[::]:0").start().await;
    let port = proxy.udp[0].port();

    let over_ipv4 = Client::of((loopback(1), port).into());
    assert_eq!(over_ipv4.ask("www.example", types::A).await.rcode(), rcodes::NOERROR);
    let over_tcp = over_ipv4.tcp(&Query::new("www.example", types::A)).await;
    assert_eq!(over_tcp.rcode(), rcodes::NOERROR);
    assert_eq!(
        over_ipv4.from(loopback(9)).ask("www.example", types::A).await.rcode(),
        rcodes::REFUSED
    );
}

async fn limited(rate_limit: Value) -> (Upstream, Proxy) {
    let upstream = Upstream::plain().start().await;
    let mut spec = upstreams([upstream.plain_entry("plain", "UDP")]);
    spec["access"] = json!({"rateLimit": rate_limit});
    let proxy = Proxy::start(&spec).await;
    (upstream, proxy)
}

#[tokio::test]
async fn a_client_that_asks_too_much_is_sent_to_tcp_and_refused_there() {
    let (upstream, proxy) = limited(json!({"queriesPerSecond": 1, "burst": 5})).await;
    let query = Query::new("www.example", types::A).edns(1232);
    let mut cut = 0;
    for _ in 0..50 {
        let reply = proxy.client().udp(&query).await;
        cut += usize::from(reply.is_truncated());
        assert!(
            !reply.is_truncated() || reply.length <= query.encode().len() + 1,
            "nothing to amplify with"
        );
    }

    assert!(cut >= 40, "a burst of five, and {cut} of fifty over the limit");
    assert!(upstream.seen().queries.len() <= 10);
    let over_tcp = proxy.client().tcp(&query).await;
    assert_eq!(over_tcp.rcode(), rcodes::REFUSED);
    assert!(
        over_tcp.ede().is_some_and(|(_, text)| text.contains("rateLimit")),
        "{:?}",
        over_tcp.ede()
    );
}

#[tokio::test]
async fn one_clients_greed_is_not_anothers_loss() {
    let (_upstream, proxy) = limited(json!({"queriesPerSecond": 1, "burst": 5})).await;
    for _ in 0..20 {
        proxy.client().ask("www.example", types::A).await;
    }

    let other = proxy.client().from(loopback(2)).ask("www.example", types::A).await;
    assert_eq!((other.rcode(), other.is_truncated()), (rcodes::NOERROR, false));
}

/// What is no answerable query comes from the same clients: an update, a transfer, a question for what is no data.
fn others() -> [Query; 3] {
    let query = || Query::new("www.example", types::A).edns(1232);
    let mut update = query();
    update.flags = 5 << 11;
    let transfer = Query::new("example", types::AXFR).edns(1232);
    [update, transfer, Query::new("www.example", types::OPT).edns(1232)]
}

#[tokio::test]
async fn those_who_may_not_ask_are_refused_whatever_they_send() {
    let stage = Stage::spec(json!({"access": {"deny": ["127.0.0.5"]}})).await;
    let denied = stage.client().from(loopback(5));

    for message in others() {
        for reply in [denied.udp(&message).await, denied.tcp(&message).await] {
            assert_eq!(reply.rcode(), rcodes::REFUSED, "{message:?}");
            assert_eq!(reply.ede().map(|(code, _)| code), Some(18), "{message:?}: Prohibited");
        }
    }
}

/// A flood of them is a flood, and replies to it would go to whoever it names as its sender.
#[tokio::test]
async fn what_is_no_query_counts_for_the_rate_limit() {
    let (_upstream, proxy) = limited(json!({"queriesPerSecond": 1, "burst": 5})).await;
    let socket = proxy.client().socket().await;
    let mut replies = 0;
    for _ in 0..10 {
        for message in others() {
            replies += socket.replies_before_next(&message.encode()).await.len();
        }
    }

    assert!(replies < 30, "silence for what is over the limit");
    let over_tcp = proxy.client().tcp(&others()[0]).await;
    assert_eq!(over_tcp.rcode(), rcodes::REFUSED);
}
