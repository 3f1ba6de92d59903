//! Only questions are forwarded: other opcodes get NOTIMP, transfers REFUSED, ANY the least (RFC 8906, RFC 8482).

use dnsproxy_tests::{
    manifest::upstreams,
    proxy::Proxy,
    stage::Stage,
    upstream::Upstream,
    wire::{Query, Reply, header, rcodes, types},
};

/// CVE-2026-86003: an UPDATE that went through a forwarder came from an address that was trusted.
#[tokio::test]
async fn other_opcodes_are_not_forwarded() {
    let stage = Stage::new().await;
    let socket = stage.client().socket().await;

    for opcode in 1..=15 {
        let mut with_question = Query::new("www.example", types::A).edns(1232);
        with_question.flags = opcode << 11;
        let bare = header(with_question.id, opcode << 11, [0; 4]);
        for (message, has_edns) in [(with_question.encode(), true), (bare, false)] {
            socket.send(&message).await.unwrap();
            let reply = socket.receive().await.unwrap();
            assert_eq!(
                reply[3] & 0xf,
                4,
                "opcode {opcode}: NOTIMP (RFC 8906 section 8.1.4, RFC 8490 section 5.1)"
            );
            assert_eq!(reply[2] >> 3 & 0xf, u8::try_from(opcode).unwrap(), "the opcode comes back");
            let edns = Reply::parse(&reply).unwrap().edns;
            assert_eq!(
                edns.is_some(),
                has_edns,
                "opcode {opcode}: EDNS as in the message (RFC 6891 section 6.1.1)"
            );
        }
    }
    assert!(stage.asked().is_empty());
}

/// CVE-2026-40209: a transfer held a connection of the forwarder for as long as it liked.
#[tokio::test]
async fn transfers_are_refused() {
    let stage = Stage::new().await;

    for qtype in [types::AXFR, types::IXFR] {
        let query = Query::new("example", qtype).edns(1232);
        let replies = [stage.client().udp(&query).await, stage.client().tcp(&query).await];
        for Reply { answers, .. } in &replies {
            assert!(answers.is_empty());
        }
        assert!(replies.iter().all(|reply| reply.rcode() == rcodes::REFUSED), "type {qtype}");
    }
    assert!(stage.asked().is_empty(), "no connection to an upstream is spent on them");
}

#[tokio::test]
async fn any_gets_the_least_that_is_an_answer() {
    let stage = Stage::new().await;

    let reply = stage.client().ask("www.example", types::ANY).await;
    assert_eq!(reply.rcode(), rcodes::NOERROR);
    let kinds: Vec<u16> = reply.answers.iter().map(|record| record.rtype).collect();
    assert_eq!(kinds, [types::HINFO], "RFC 8482 section 4.2");
    assert!(reply.length < 200, "nothing to amplify with");
    assert!(stage.asked().is_empty());

    let private = stage.client().ask("printer.local", types::ANY).await;
    assert_eq!(private.rcode(), rcodes::NXDOMAIN, "nor is there such a name for any other type");
}

/// OPT is no data of a name (RFC 6891 section 6.1.1), and NXNAME says of none that there is any (RFC 9824 section 3.5).
#[tokio::test]
async fn a_question_for_what_is_no_data_is_answered_here() {
    let stage = Stage::new().await;

    for qtype in [types::OPT, types::NXNAME] {
        let reply = stage.client().udp(&Query::new("www.example", qtype)).await;
        assert_eq!(reply.rcode(), rcodes::FORMERR, "type {qtype}");
    }
    assert!(stage.asked().is_empty());
}

#[tokio::test]
async fn it_is_the_same_for_plain_upstreams() {
    let upstream = Upstream::plain().start().await;
    let proxy = Proxy::start(&upstreams([upstream.plain_entry("cluster", "UDP")])).await;

    let transfer = proxy.client().ask("example", types::AXFR).await;
    assert_eq!(transfer.rcode(), rcodes::REFUSED);
    assert_eq!(upstream.seen().datagrams, 0);
}
