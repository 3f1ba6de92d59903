//! What does not fit into a datagram is cut at a record's end, says so, and is whole over TCP.

use dnsproxy_tests::{
    stage::Stage,
    upstream::{Action, Received},
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

/// An upstream that gives no OPT record has room for more than we have.
#[tokio::test]
async fn what_is_too_long_for_a_stream_is_a_failure_and_says_so() {
    /// Answers with 65,535 octets, the last few of which are a record of their own.
    fn script(is_additional: bool) -> impl FnMut(&Received) -> Vec<Action> + Send + 'static {
        move |query| {
            let rest = Response::to(&query.message).without_edns();
            let len = 65_535 - rest.encode().len() - 2 * 12 - 20;
            let full = rest.record(types::TXT, 60, &vec![0; len]).record(types::TXT, 60, &[0; 20]);
            let mut message = full.encode();
            if is_additional {
                (message[7], message[11]) = (1, 1);
            }
            vec![Action::Send(message)]
        }
    }
    let plain = || Query::new("full.example", types::TXT);

    let stage = Stage::script(script(false)).await;
    let whole = stage.client().tcp(&plain()).await;
    assert_eq!((whole.length, whole.answers.len()), (65_535, 2), "without EDNS it fits");
    for _ in 0..2 {
        let reply = stage.client().tcp(&plain().edns(1232)).await;
        assert_eq!((reply.rcode(), reply.is_truncated()), (rcodes::SERVFAIL, false), "{reply:?}");
        assert_eq!(reply.ede().unwrap().1, "with EDNS, the answer has more than 65535 octets");
    }
    let over_udp = stage.client().udp(&plain().edns(1232)).await;
    assert!(over_udp.is_truncated(), "which a client without EDNS can ask for again");

    let stage = Stage::script(script(true)).await;
    let reply = stage.client().tcp(&plain().edns(1232)).await;
    assert_eq!((reply.rcode(), reply.is_truncated()), (rcodes::NOERROR, false), "{reply:?}");
    assert_eq!((reply.answers.len(), reply.additionals.len()), (1, 0), "nobody misses the rest");
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
