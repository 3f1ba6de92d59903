//! What does not fit into a datagram is cut at a record's end, says so, and is whole over TCP.

use dnsproxy_tests::{
    stage::Stage,
    upstream::Action,
    wire::{Query, Response, flags, rcodes, types},
};

#[tokio::test]
async fn a_datagram_is_never_larger_than_the_client_takes() {
    let stage = Stage::new().await;
    let query = || Query::new("big.example", types::TXT);
    let cases = [
        ("no EDNS: the classic limit (RFC 1035 section 4.2.1)", query(), 512),
        ("less than 512 counts as 512 (RFC 6891 section 6.2.3)", query().edns(0), 512),
        ("what the client offers", query().edns(900), 900),
        (
            "never so large that it is cut into fragments (RFC 9715 section 3.1)",
            query().edns(4096),
            1232,
        ),
        ("not even for the greediest client", query().edns(65535), 1232),
    ];

    for (why, query, limit) in cases {
        let reply = stage.client().udp(&query).await;
        assert!(reply.length <= limit, "{why}: {} octets", reply.length);
        assert!(reply.is_truncated(), "{why}: TC is set (RFC 2181 section 9)");
        assert_eq!(reply.rcode(), rcodes::NOERROR, "{why}");
    }
}

#[tokio::test]
async fn over_tcp_it_comes_whole() {
    let stage = Stage::new().await;

    for query in
        [Query::new("big.example", types::TXT), Query::new("big.example", types::TXT).edns(512)]
    {
        let reply = stage.client().tcp(&query).await;
        assert_eq!(reply.answers.len(), 20, "the limit of datagrams is none of a stream's");
        assert!(!reply.is_truncated());
    }
}

#[tokio::test]
async fn what_fits_is_not_cut() {
    let stage = Stage::new().await;

    let reply = stage.client().udp(&Query::new("www.example", types::A)).await;
    assert!(!reply.is_truncated());
    assert_eq!(reply.answers.len(), 1);
}

#[tokio::test]
async fn the_largest_message_of_all_passes_over_tcp() {
    let stage = Stage::script(|query| {
        let full = (0..250)
            .fold(Response::to(&query.message), |response, _| response.txt(&"x".repeat(240)));
        vec![Action::Send(full.encode())]
    })
    .await;

    let reply = stage.client().tcp(&Query::new("full.example", types::TXT).edns(1232)).await;
    assert_eq!(reply.answers.len(), 250);
    assert!(reply.length > 60_000);
}

#[tokio::test]
async fn a_truncated_answer_over_a_stream_is_a_failure() {
    let stage = Stage::script(|query| {
        vec![Action::Send(Response::to(&query.message).with(flags::TC).encode())]
    })
    .await;

    let reply = stage.client().ask("www.example", types::A).await;
    assert_eq!(
        reply.rcode(),
        rcodes::SERVFAIL,
        "half an answer is none, and there is nothing larger than a stream"
    );
    assert!(!reply.is_truncated());
}
