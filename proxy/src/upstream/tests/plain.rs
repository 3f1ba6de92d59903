//! Plain UDP and TCP: ports, IDs, truncation, servers without EDNS.

use std::sync::OnceLock;

use super::*;

#[tokio::test]
async fn plain_tcp_has_no_padding_and_is_not_secure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::default();
    let served = tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let query = read_message(&mut stream).await;
        write_message(&mut stream, &answer_to(&query)).await;
        query
    });
    let fixture = Fixture::new(Transport::Tcp, &[address]);

    let answer = fixture.ask("www.example.").await.unwrap();

    assert!(!answer.is_secure);
    let query = served.await.unwrap();
    let layout = Layout::of(&query).unwrap();
    let edns = layout.edns(&query).unwrap();
    assert_eq!(edns.option(crate::message::edns::option::PADDING), None);
    assert_eq!(edns.udp_payload, 1232);
}

/// The datagrams that a query gets.
type Script = fn(&[u8]) -> Vec<Vec<u8>>;

/// A UDP server that handles as many datagrams as there are scripts, and tells what it got.
async fn datagrams(
    scripts: Vec<Script>,
) -> (SocketAddr, tokio::task::JoinHandle<Vec<(SocketAddr, Vec<u8>)>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let served = Tasks::default().spawn(async move {
        let mut seen = Vec::new();
        for script in scripts {
            let mut query = vec![0; 4096];
            let (len, client) = socket.recv_from(&mut query).await.unwrap();
            query.truncate(len);
            for answer in script(&query) {
                socket.send_to(&answer, client).await.unwrap();
            }
            seen.push((client, query));
        }
        seen
    });
    (address, served)
}

#[tokio::test]
async fn over_udp_each_question_has_a_port_and_an_id_of_its_own() {
    let answer: Script = |query| vec![answer_to(query)];
    let (address, served) = datagrams(vec![answer; 24]).await;
    let fixture = Fixture::new(Transport::Udp, &[address]);

    for _ in 0..24 {
        fixture.ask("www.example.").await.unwrap();
    }

    let seen = served.await.unwrap();
    let ports: std::collections::HashSet<_> =
        seen.iter().map(|(client, _)| client.port()).collect();
    let ids: std::collections::HashSet<_> =
        seen.iter().map(|(_, query)| [query[0], query[1]]).collect();
    // Two of so few may meet by chance; a counter or a fixed value could not pass.
    assert!(ports.len() >= 21 && ids.len() >= 21, "{} ports, {} IDs", ports.len(), ids.len());
    let steps: std::collections::HashSet<_> =
        seen.windows(2).map(|pair| pair[1].0.port().wrapping_sub(pair[0].0.port())).collect();
    assert!(steps.len() > 10, "the ports follow no pattern");
}

#[tokio::test]
async fn over_udp_what_does_not_match_is_dropped_and_the_wait_goes_on() {
    let script: Script = |query| {
        let mut wrong_id = answer_to(query);
        wrong_id[0] ^= 0xff;
        let mut wrong_name = answer_to(query);
        wrong_name[14] ^= 0x01;
        let mut wrong_type = answer_to(query);
        let end = Question::read(query).unwrap().1;
        wrong_type[end - 3] = 28;
        let mut no_question = response_to(query, 0)[..12].to_vec();
        no_question[5] = 0;
        let mut other_case = answer_to(query);
        other_case[13] ^= 0x20;
        vec![wrong_id, wrong_name, wrong_type, no_question, vec![], query.to_vec(), other_case]
    };
    let (address, _served) = datagrams(vec![script]).await;
    let fixture = Fixture::new(Transport::Udp, &[address]);

    let answer = fixture.ask("www.example.").await.unwrap();

    assert_eq!(answer.message[13], b'W', "the last one, which differs in letter case only");
    let text = metrics_text(fixture.metrics);
    assert!(text.contains(&format!(
        "dnsproxy_upstream_unexpected_responses_total{{upstream=\"lab\",server=\"{address}\"}} 6"
    )), "{text}");
}

/// So unbound refuses: waiting for more would take the whole time and call the server dead.
#[tokio::test]
async fn over_udp_an_error_without_its_question_is_an_answer() {
    let script: Script = |query| {
        let mut refused = response_to(query, 5)[..12].to_vec();
        refused[5] = 0;
        vec![refused]
    };
    let (address, _served) = datagrams(vec![script]).await;
    let fixture = Fixture::new(Transport::Udp, &[address]);

    let answer = fixture.ask("www.example.").await.unwrap();

    assert_eq!(answer.layout.rcode(&answer.message), Rcode::REFUSED);
}

/// The kernel gives a port for TCP; UDP must have it free as well.
async fn one_port_for_both() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            return (listener, socket);
        }
    }
}

#[tokio::test]
async fn an_answer_that_fits_no_datagram_is_asked_for_again_over_tcp() {
    let truncated = |query: &[u8]| {
        let mut answer = response_to(query, 0);
        answer[2] |= 0x02;
        answer
    };
    let too_long = |query: &[u8]| [answer_to(query), vec![0; 2000]].concat();
    let cut = |query: &[u8]| {
        let answer = answer_to(query);
        answer[..answer.len() - 3].to_vec()
    };
    type Make = fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, Make); 3] = [
        ("truncated", truncated),
        ("longer than we take (RFC 6891 6.2.3)", too_long),
        ("cut somewhere (coredns#6277)", cut),
    ];

    for (why, datagram) in cases {
        let (listener, socket) = one_port_for_both().await;
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::default();
        tasks.spawn(async move {
            let mut query = vec![0; 4096];
            let (len, client) = socket.recv_from(&mut query).await.unwrap();
            socket.send_to(&datagram(&query[..len]), client).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let query = read_message(&mut stream).await;
            write_message(&mut stream, &answer_to(&query)).await;
        });
        let fixture = Fixture::new(Transport::Udp, &[address]);

        let answer = fixture.ask("www.example.").await.unwrap();

        assert_eq!(answer.message[7], 1, "{why}: with its record");
    }
}

#[tokio::test]
async fn a_plain_server_without_edns_is_asked_again_without() {
    let scripts: [(&str, Script); 3] = [
        ("FORMERR", |query| vec![response_to(query, 1)]),
        ("NOTIMP", |query| vec![response_to(query, 4)]),
        ("FORMERR, only a header", |query| {
            let mut answer = response_to(query, 1)[..12].to_vec();
            answer[5] = 0;
            vec![answer]
        }),
    ];

    for (why, script) in scripts {
        let (address, served) = datagrams(vec![script, |query| vec![answer_to(query)]]).await;
        let fixture = Fixture::new(Transport::Udp, &[address]);
        assert!(fixture.ask("www.example.").await.is_ok(), "{why}");
        let additional: Vec<_> = served.await.unwrap().iter().map(|(_, query)| query[11]).collect();
        assert_eq!(additional, [1, 0], "{why}");
    }
}

/// A UDP server that answers nothing of `www` for which `is_lost`, given who asks and how many were lost before.
async fn lossy(is_lost: impl Fn(SocketAddr, usize) -> bool + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    Tasks::default().spawn(async move {
        let mut count = 0;
        loop {
            let mut query = [0; 4096];
            let (len, client) = socket.recv_from(&mut query).await.unwrap();
            // Health checks are answered.
            let is_lost = query[13..16] == *b"www" && is_lost(client, count);
            count += usize::from(is_lost);
            if !is_lost {
                socket.send_to(&answer_to(&query[..len]), client).await.unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn a_question_of_which_several_datagrams_are_lost_is_answered() {
    let first = OnceLock::new();
    let is_lost = move |client, lost| *first.get_or_init(|| client) != client || lost < 3;
    let address = lossy(is_lost).await;
    let fixture = Fixture::new(Transport::Udp, &[address]);
    // How fast the server is has to be known.
    for number in 0..64 {
        fixture.ask(&format!("n{number}.example.")).await.unwrap();
    }

    assert!(fixture.ask("www.example.").await.is_ok());
}

#[tokio::test]
async fn a_question_of_which_all_datagrams_were_lost_is_asked_again_where_nobody_else_is_left() {
    let first = OnceLock::new();
    let address = lossy(move |client, _| *first.get_or_init(|| client) == client).await;
    let fixture = Fixture::new(Transport::Udp, &[address]);

    assert!(fixture.ask("www.example.").await.is_ok());
}

#[tokio::test]
async fn a_closed_udp_port_is_noticed_at_once() {
    // A connected socket takes nothing from others, so that they meet a closed port.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect("127.0.0.1:9").await.unwrap();
    let address = socket.local_addr().unwrap();
    let fixture = Fixture::new(Transport::Udp, &[address]);

    assert_eq!(reason(&fixture).await, "connection_refused");
}

#[tokio::test]
async fn an_extended_rcode_is_no_answer() {
    // BADVERS: the upper bits in the OPT record, NOERROR in the header.
    let script: Script = |query| {
        let mut answer = response_to(query, 0);
        answer[11] = 1;
        answer.extend_from_slice(b"\0\0\x29\x04\xd0\x01\0\0\0\0\0");
        vec![answer]
    };
    let (address, served) = datagrams(vec![script, script]).await;
    let fixture = Fixture::new(Transport::Udp, &[address]);

    assert_eq!(reason(&fixture).await, "rcode");
    assert_eq!(served.await.unwrap().len(), 2, "it was asked without EDNS as well");
}
