//! A query over UDP or TCP, at any listener, is answered by the upstream over TLS, and nothing is lost on the way.

use std::net::SocketAddr;

use dnsproxy_tests::{
    client::Client,
    manifest::upstreams,
    proxy::{Launch, loopback},
    stage::Stage,
    upstream::{Action, Seen, Upstream},
    wire::{DNSSEC_OK, Query, Response, flags, options, rcodes, types},
};
use serde_json::json;

#[tokio::test]
async fn answers_over_udp_and_tcp_at_every_listener_of_both_families() {
    let stage = Stage::new().await;
    let proxy = Launch::new(&stage.spec)
        .listen("127.0.0.1:0")
        .listen("127.0.0.1:0")
        .listen("[::1]:0")
        .start()
        .await;
    let query = Query::new("www.example", types::A).edns(1232);

    for address in &proxy.udp {
        assert_eq!(
            Client::of(*address).udp(&query).await.addresses(),
            ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]
        );
    }
    for address in &proxy.tcp {
        assert_eq!(Client::of(*address).tcp(&query).await.addresses().len(), 1, "TCP at {address}");
    }
    assert!(stage.upstream.seen().queries.len() >= 6, "each of them asked the upstream");
}

#[tokio::test]
async fn one_port_is_taken_for_udp_and_tcp() {
    let stage = Stage::new().await;

    assert_eq!(
        stage.proxy.udp, stage.proxy.tcp,
        "a truncated answer is fetched at the same port (RFC 7766 section 5)"
    );
}

#[tokio::test]
async fn listens_where_the_manifest_says_unless_told_otherwise() {
    let spec = json!({
        "upstreams": [{"name": "none", "addresses": ["127.0.0.1:1"]}],
        "listeners": {"dns": {"addresses": ["127.0.0.71:0"]}},
    });
    let by_manifest = Launch::new(&spec).listen_by_manifest(1).start().await;
    let by_argument = Launch::new(&spec).start().await;

    assert_eq!(by_manifest.udp[0].ip(), loopback(71));
    assert_eq!(by_argument.udp[0].ip(), loopback(1), "--listen replaces the manifest's listeners");
}

#[tokio::test]
async fn replies_come_from_the_address_that_was_asked() {
    let stage = Stage::new().await;
    let proxy = Launch::new(&stage.spec).listen("0.0.0.0:0").listen("[::]:0").start().await;
    let asked: [SocketAddr; 4] = [
        (loopback(1), proxy.udp[0].port()).into(),
        (loopback(2), proxy.udp[0].port()).into(),
        (loopback(3), proxy.udp[1].port()).into(),
        ("::1".parse::<std::net::IpAddr>().unwrap(), proxy.udp[1].port()).into(),
    ];

    for address in asked {
        // The client's socket is connected: a reply from another address would never arrive.
        assert_eq!(
            Client::of(address).ask("www.example", types::A).await.rcode(),
            rcodes::NOERROR,
            "{address}"
        );
    }
}

#[tokio::test]
async fn many_workers_share_the_listeners() {
    let stage = Stage::new().await;
    let proxy = Launch::new(&stage.spec).arguments(&["--workers", "4"]).start().await;

    for number in 0..64 {
        let name = format!("n{number}.example.");
        assert_eq!(proxy.client().ask(&name, types::TXT).await.texts(), [name]);
    }
    // Two are there where one seemed to be silent.
    let few = |seen: &Seen| seen.connections - seen.ended <= 2;
    stage.upstream.until("connections of the process, not of its workers", few).await;
}

#[tokio::test]
async fn the_upstream_is_asked_in_our_own_words() {
    let stage = Stage::new().await;
    let query = Query::new("www.example", types::A)
        .id(0x1234)
        .with(flags::CD | flags::AA | flags::TC | flags::RA | flags::Z)
        .dnssec_ok()
        .option(options::CLIENT_SUBNET, &[0, 1, 24, 0, 192, 0, 2])
        .option(options::COOKIE, &[7; 8])
        .option(65001, b"private");
    stage.client().udp(&query).await;

    let asked =
        dnsproxy_tests::wire::Reply::parse(&stage.upstream.seen().queries[0].message).unwrap();
    let edns = asked.edns.clone().expect("EDNS of our own");
    let codes: Vec<u16> = edns.options.iter().map(|(code, _)| *code).collect();

    assert!(
        asked.has(flags::RD | flags::CD | flags::AD),
        "RD, the client's CD (RFC 4035 section 3.2.2), and AD always"
    );
    assert!(
        !asked.has(flags::AA)
            && !asked.has(flags::TC)
            && !asked.has(flags::RA)
            && !asked.has(flags::Z),
        "nothing else"
    );
    assert_eq!(edns.flags, DNSSEC_OK, "the client's DO and no other bit");
    assert!(edns.payload <= 1232, "no answer that would be cut into fragments (RFC 9715)");
    assert!(
        codes.iter().all(|code| [options::PADDING, options::TCP_KEEPALIVE].contains(code)),
        "no option of the client's goes on (RFC 6891 section 6.1.1): {codes:?}"
    );
    assert_eq!(asked.length % 128, 0, "padded to a multiple of 128 octets (RFC 8467 section 4.1)");
}

#[tokio::test]
async fn names_of_every_length_are_padded_alike() {
    let stage = Stage::new().await;
    let long = vec!["a".repeat(60); 4].join(".");
    for name in ["a.example", "a-longer-name-than-that.example", &long] {
        stage.client().ask(name, types::A).await;
    }

    for query in stage.upstream.seen().queries {
        assert_eq!(query.message.len() % 128, 0, "{}", query.name());
    }
}

/// CVE-2021-3448, TOB-CDNS-8: an ID that can be guessed is an answer that can be forged.
#[tokio::test]
async fn ids_towards_the_upstream_are_our_own_and_vary() {
    let stage = Stage::new().await;
    for _ in 0..32 {
        stage.client().udp(&Query::new("same.example", types::A).id(1)).await;
    }

    let ids: std::collections::BTreeSet<u16> =
        stage.upstream.seen().queries.iter().map(|query| query.id()).collect();
    assert!(ids.len() > 24, "32 questions had the IDs {ids:?}");
}

#[tokio::test]
async fn what_the_upstream_says_hop_by_hop_stays_there() {
    let stage = Stage::script(|query| {
        let response = Response::to(&query.message)
            .a([192, 0, 2, 1].into())
            .option(options::PADDING, &[0; 40])
            .option(options::TCP_KEEPALIVE, &[0, 100])
            .option(options::COOKIE, &[1; 16])
            .ede(17, "filtered by the upstream");
        vec![Action::Send(response.encode())]
    })
    .await;

    let reply = stage.client().udp(&Query::new("www.example", types::A).edns(1232)).await;

    assert_eq!(
        reply.ede(),
        Some((17, "filtered by the upstream".to_owned())),
        "an Extended Error is kept (RFC 8914)"
    );
    assert_eq!(
        reply.edns.unwrap().options.len(),
        1,
        "padding, keepalive and cookies are between two (RFC 7830, 7828, 7873)"
    );
    assert!(stage.client().udp(&Query::new("www.example", types::A)).await.edns.is_none());
}

#[tokio::test]
async fn authentic_data_is_said_to_those_who_want_to_know() {
    let stage = Stage::script(|query| {
        vec![Action::Send(
            Response::to(&query.message).with(flags::AD).a([192, 0, 2, 1].into()).encode(),
        )]
    })
    .await;
    let query = || Query::new("www.example", types::A);

    for (why, query, expected) in [
        ("neither AD nor DO was set", query().edns(1232), false),
        ("AD was set", query().with(flags::AD), true),
        ("DO was set", query().dnssec_ok(), true),
    ] {
        assert_eq!(
            stage.client().udp(&query).await.has(flags::AD),
            expected,
            "{why} (RFC 6840 section 5.8)"
        );
    }
}

#[tokio::test]
async fn unknown_types_and_classes_pass_untouched() {
    const ODD: &[u8] = &[0xc0, 0x0c, 0, 255, 1, 2, 3];
    let stage = Stage::script(|query| {
        vec![Action::Send(Response::to(&query.message).record(65280, 5, ODD).encode())]
    })
    .await;

    let mut query = Query::new("odd.example", 65280).edns(1232);
    let reply = stage.client().udp(&query).await;
    assert_eq!(
        reply.answers[0].rdata, ODD,
        "data that looks like a pointer is no pointer (RFC 3597 section 3)"
    );

    query.class = 65280;
    let reply = stage.client().udp(&query).await;
    assert_eq!(reply.question.map(|(_, _, class)| class), Some(65280), "RFC 5625 section 4.3");
}

#[tokio::test]
async fn a_negative_answer_keeps_its_soa() {
    let stage = Stage::new().await;

    let none = stage.client().ask("no.nx", types::A).await;
    assert_eq!(
        (none.rcode(), none.authorities[0].rtype),
        (rcodes::NXDOMAIN, types::SOA),
        "RFC 2308 section 3"
    );
    let no_data = stage.client().ask("www.example", types::AAAA).await;
    assert_eq!((no_data.rcode(), no_data.authorities[0].rtype), (rcodes::NOERROR, types::SOA));
}

#[tokio::test]
async fn the_spelling_of_the_question_comes_back() {
    let stage = Stage::new().await;

    // `checked` compares the octets of the name.
    let reply = stage.client().ask("wWw.ExAmPlE", types::TXT).await;
    assert_eq!(reply.texts(), ["www.example."]);
}

#[tokio::test]
async fn a_client_that_does_not_want_recursion_is_answered_all_the_same() {
    let stage = Stage::new().await;
    let mut query = Query::new("www.example", types::A).edns(1232);
    query.flags = 0;

    let reply = stage.client().udp(&query).await;
    assert_eq!(
        reply.rcode(),
        rcodes::NOERROR,
        "a stub resolver's client may ask so (RFC 5625 section 3)"
    );
}

#[tokio::test]
async fn plain_tcp_upstream_is_asked_without_padding() {
    let upstream = Upstream::plain().start().await;
    let proxy =
        dnsproxy_tests::proxy::Proxy::start(&upstreams([upstream.plain_entry("cluster", "TCP")]))
            .await;

    assert_eq!(proxy.client().ask("www.example", types::TXT).await.texts(), ["www.example."]);
    let seen = upstream.seen();
    assert!(seen.connections > 0 && seen.datagrams == 0, "{seen:?}");
    assert!(
        seen.queries[0].message.len() < 128,
        "padding is for encrypted ways only (RFC 7830 section 3)"
    );
}
