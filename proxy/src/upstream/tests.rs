//! Exchanges with servers on loopback: who is believed, who is asked, and how often.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rcgen::date_time_ymd;
use rustls::pki_types::UnixTime;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, UdpSocket},
    time::Instant,
};

use super::{
    testing::{
        Authority, Counted, DotServer, Fixture, Identity, answer_to, read_frame, read_message,
        request, response_to, route, settings, tls, write_frame, write_message,
    },
    tls::{Refusal, Resumed, TlsClient},
    *,
};
use crate::message::{Name, Qclass, Qtype};

const NAME: &str = "dns.example";

/// A server that nothing listens at: the port was ours a moment ago.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn lab(authority: &Authority) -> Transport {
    Transport::Tls(tls(authority.roots(), Some(NAME)))
}

async fn reason(fixture: &Fixture) -> &'static str {
    fixture.ask("www.example.").await.map(|_| ()).unwrap_err().reason()
}

#[tokio::test]
async fn a_good_server_answers_over_one_connection() {
    let authority = Authority::new("the lab's");
    let server = DotServer::start(authority.issue(&[NAME])).await;
    let fixture = Fixture::new(lab(&authority), &[server.address]);

    for _ in 0..3 {
        let answer = fixture.ask("www.example.").await.unwrap();
        assert!(answer.is_secure);
        assert_eq!((&*answer.upstream, answer.server), ("lab", server.address));
    }

    assert_eq!(server.log.accepted(), 1);
    assert_eq!(server.log.octets(), 3 * 130, "each query is padded to one block (RFC 8467)");
    let report = &fixture.upstreams.report()[0].servers[0];
    assert_eq!((report.state, report.connections), (State::Healthy, 1));
    assert_eq!(report.certificate_expiry.as_deref(), Some("2100-01-01T00:00:00Z"));
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_never_gets_a_query() {
    let authority = Authority::new("the lab's");
    let other = Authority::new("another");
    let old = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let early =
        |params: &mut rcgen::CertificateParams| params.not_before = date_time_ymd(2090, 1, 1);
    let by_name = tls(authority.roots(), Some(NAME));
    let by_address = tls(authority.roots(), None);
    let pinned = TlsSettings { pins: vec![other.pin], ..by_name.clone() };
    let pins_only = TlsSettings { authentication: Authentication::PinsOnly, ..pinned.clone() };
    let pinned_authority = authority.sub_authority("pinned");
    let appended = TlsSettings { pins: vec![pinned_authority.pin], ..by_name.clone() };
    let cases = [
        ("another name", by_name.clone(), authority.issue(&["evil.example"]), "name_mismatch"),
        ("no IP address in it", by_address, authority.issue(&[NAME]), "name_mismatch"),
        ("expired", by_name.clone(), authority.issue_with(&[NAME], old), "expired"),
        ("not yet valid", by_name.clone(), authority.issue_with(&[NAME], early), "not_yet_valid"),
        ("an authority of others", by_name.clone(), other.issue(&[NAME]), "untrusted"),
        ("self-signed", by_name.clone(), Identity::self_signed(&[NAME]), "untrusted"),
        (
            "public roots only",
            tls(Roots::Mozilla, Some(NAME)),
            authority.issue(&[NAME]),
            "untrusted",
        ),
        ("another key than the pinned one", pinned, authority.issue(&[NAME]), "pin_mismatch"),
        ("another key, pins only", pins_only, authority.issue(&[NAME]), "pin_mismatch"),
        (
            "the pinned authority is appended, but signed nothing",
            appended,
            authority.issue(&[NAME]).with(&pinned_authority.certificate),
            "pin_mismatch",
        ),
    ];

    for (why, settings, identity, expected) in cases {
        let server = DotServer::start(identity).await;
        let fixture = Fixture::new(Transport::Tls(settings), &[server.address]);
        assert_eq!(reason(&fixture).await, expected, "{why}");
        assert_eq!(server.log.accepted(), 1, "{why}: it was asked who it is");
        assert_eq!((server.log.handshakes(), server.log.octets()), (0, 0), "{why}");
        let report = &fixture.upstreams.report()[0].servers[0];
        assert_eq!((report.state, report.reason), (State::Unhealthy, Some(expected)), "{why}");
    }
}

#[tokio::test]
async fn tls_1_2_is_held_to_the_same() {
    let authority = Authority::new("the lab's");
    let cases = [("good", NAME, None), ("another name", "evil.example", Some("name_mismatch"))];

    for (why, name, expected) in cases {
        let identity = authority.issue(&[name]);
        let config =
            rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
                .with_no_client_auth()
                .with_single_cert(identity.chain, identity.key)
                .unwrap();
        let server = DotServer::with_config(config, answer_all).await;
        let fixture = Fixture::new(lab(&authority), &[server.address]);
        let outcome =
            fixture.ask("www.example.").await.map(|_| ()).map_err(|failure| failure.reason());
        assert_eq!(outcome.err(), expected, "{why}");
        assert_eq!(server.log.octets() > 0, expected.is_none(), "{why}");
    }
}

async fn answer_all(_: usize, mut wire: Counted) {
    while let Some(query) = read_frame(&mut wire).await {
        write_frame(&mut wire, &answer_to(&query)).await;
    }
}

#[tokio::test]
async fn a_plain_server_gets_no_query_where_tls_is_wanted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::default();
    let seen = tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut octets = vec![0; 4096];
        let len = stream.read(&mut octets).await.unwrap();
        octets.truncate(len);
        octets
    });
    let fixture = Fixture::new(lab(&Authority::new("the lab's")), &[address]);

    assert_eq!(reason(&fixture).await, "protocol");

    let octets = seen.await.unwrap();
    assert_eq!(octets[0], 22, "a TLS handshake record, and nothing else");
    let name = b"\x03www\x07example";
    assert!(!octets.windows(name.len()).any(|window| window == name));
}

#[tokio::test]
async fn material_that_is_missing_fails_closed() {
    let authority = Authority::new("the lab's");
    let server = DotServer::start(authority.issue(&[NAME])).await;
    let good = tls(authority.roots(), Some(NAME));
    let key = Secret(Arc::from(*b"no key"));
    let chain: Arc<[u8]> = authority.pem.as_bytes().into();
    let cases = [
        ("no CA file", tls(Roots::Missing("ca.crt: no such file".into()), Some(NAME))),
        ("an empty CA file", tls(Roots::Pem(Arc::from(*b"")), Some(NAME))),
        (
            "no client certificate",
            TlsSettings {
                client_certificate: Some(ClientCertificate::Missing("tls.crt".into())),
                ..good.clone()
            },
        ),
        (
            "a key that is none",
            TlsSettings { client_certificate: Some(ClientCertificate::Pem { chain, key }), ..good },
        ),
    ];

    for (why, settings) in cases {
        let fixture = Fixture::new(Transport::Tls(settings), &[server.address]);
        assert_eq!(reason(&fixture).await, "missing_material", "{why}");
        assert_eq!(fixture.upstreams.report()[0].servers[0].state, State::Unhealthy, "{why}");
    }
    assert_eq!(server.log.accepted(), 0);
}

#[tokio::test]
async fn the_client_certificate_is_shown_to_who_asks() {
    let authority = Authority::new("the lab's");
    let clients = Authority::new("the clients'");
    let server = DotServer::wanting_clients_of(&clients, authority.issue(&[NAME])).await;
    let client = clients.client("proxy");
    let with =
        TlsSettings { client_certificate: Some(client), ..tls(authority.roots(), Some(NAME)) };

    let fixture = Fixture::new(Transport::Tls(with), &[server.address]);
    assert!(fixture.ask("www.example.").await.is_ok());

    let fixture = Fixture::new(lab(&authority), &[server.address]);
    assert_eq!(reason(&fixture).await, "client_certificate");
}

#[tokio::test]
async fn a_resumed_session_is_judged_again() {
    let authority = Authority::new("the lab's");
    let until_2050 =
        |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2050, 1, 1);
    let identity = authority.issue_with(&[NAME], until_2050);
    let server = DotServer::start(identity).await;
    let client = TlsClient::new(&tls(authority.roots(), Some(NAME))).unwrap();
    let shake = async |now: UnixTime| {
        let stream = TcpStream::connect(server.address).await.unwrap();
        match client.handshake(stream, server.address.ip(), now).await {
            Ok(mut handshaken) => {
                // The tickets come with the first answer at the latest (RFC 8446 section 4.6.1).
                let mut query = Vec::new();
                request("www.example.").encode(7, None, &mut query);
                write_message(&mut handshaken.stream, &query).await;
                read_message(&mut handshaken.stream).await;
                Ok(handshaken.resumed)
            }
            Err(Refusal::StaleSession) => Err("stale"),
            Err(Refusal::Final(error)) => panic!("{error}"),
        }
    };
    let year = 365 * 24 * 3600;
    let (now, in_2060) =
        (UnixTime::now(), UnixTime::since_unix_epoch(Duration::from_secs(90 * year)));

    assert_eq!(shake(now).await, Ok(Resumed::No), "the first handshake goes all the way");
    assert_eq!(shake(now).await, Ok(Resumed::Yes));
    assert_eq!(shake(in_2060).await, Err("stale"), "the certificate has expired meanwhile");
    assert_eq!(shake(now).await, Ok(Resumed::No), "and its sessions are forgotten");
}

#[tokio::test]
async fn sessions_do_not_survive_a_change_of_the_tls_settings() {
    let authority = Authority::new("the lab's");
    let identity = authority.issue(&[NAME]);
    let (pin, other) = (identity.pin, authority.pin);
    let server = DotServer::start(identity).await;
    let build = |previous: Option<&Upstreams>, pins: Vec<Pin>, metrics: &Metrics, tasks: &Tasks| {
        let tls = TlsSettings { pins, ..tls(authority.roots(), Some(NAME)) };
        let upstream = settings("lab", Transport::Tls(tls), &[server.address]);
        Upstreams::build(previous, vec![upstream], vec![route(&["lab"], &[])], metrics, tasks)
    };
    let (metrics, tasks) = (Metrics::default(), Tasks::default());
    let ask = async |upstreams: &Upstreams| {
        let request = request("www.example.");
        let route = upstreams.route(&request.question).unwrap();
        upstreams.exchange(route, &request, Instant::now() + Duration::from_secs(4)).await.is_ok()
    };

    let first = build(None, vec![pin], &metrics, &tasks);
    assert!(ask(&first).await);
    let same = build(Some(&first), vec![pin], &metrics, &tasks);
    drop(first);
    assert!(ask(&same).await);
    assert_eq!(server.log.accepted(), 1, "equal settings: the connection goes on");
    let changed = build(Some(&same), vec![pin, other], &metrics, &tasks);
    assert!(ask(&changed).await);
    assert_eq!(server.log.accepted(), 2, "changed settings: a new connection");
    assert!(
        metrics_text(metrics)
            .contains("dnsproxy_upstream_handshakes_total{upstream=\"lab\",kind=\"resumed\"} 0")
    );
}

fn metrics_text(metrics: Metrics) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    registry.sub_registry_with_prefix("dnsproxy_upstream").register_collector(Box::new(metrics));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

#[tokio::test]
async fn a_question_whose_connection_died_is_asked_once_more() {
    let authority = Authority::new("the lab's");
    let dying = |first_good: usize| {
        move |index: usize, mut wire: Counted| async move {
            while let Some(query) = read_frame(&mut wire).await {
                if index < first_good {
                    return;
                }
                write_frame(&mut wire, &answer_to(&query)).await;
            }
        }
    };

    let server = DotServer::scripted(authority.issue(&[NAME]), dying(1)).await;
    let fixture = Fixture::new(lab(&authority), &[server.address]);
    assert!(fixture.ask("www.example.").await.is_ok());
    assert_eq!(server.log.accepted(), 2);

    let server = DotServer::scripted(authority.issue(&[NAME]), dying(9)).await;
    let fixture = Fixture::new(lab(&authority), &[server.address]);
    assert_eq!(reason(&fixture).await, "closed");
    assert_eq!(server.log.accepted(), 2, "once, not for ever");
}

#[tokio::test]
async fn one_attempt_to_connect_serves_all_who_wait() {
    let authority = Authority::new("the lab's");
    let server = DotServer::start(authority.issue(&["evil.example"])).await;
    let fixture = Fixture::new(lab(&authority), &[server.address]);

    let failures = futures::future::join_all((0..20).map(|_| fixture.ask("www.example."))).await;

    assert!(failures.iter().all(Result::is_err));
    assert_eq!(server.log.accepted(), 1);
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails() {
    let authority = Authority::new("the lab's");
    let good = DotServer::start(authority.issue(&[NAME])).await;
    let wrong = DotServer::start(authority.issue(&["evil.example"])).await;
    let refusing =
        DotServer::scripted(authority.issue(&[NAME]), |_, mut wire: Counted| async move {
            while let Some(query) = read_frame(&mut wire).await {
                write_frame(&mut wire, &response_to(&query, 5)).await;
            }
        })
        .await;
    let cases = [
        ("nobody is there", nobody().await),
        ("somebody else is there", wrong.address),
        ("it refuses", refusing.address),
    ];

    for (why, first) in cases {
        let fixture = Fixture::new(lab(&authority), &[first, good.address]);
        let answer = fixture.ask("www.example.").await.unwrap();
        assert_eq!(answer.server, good.address, "{why}");
    }
}

#[tokio::test]
async fn no_more_than_three_servers_are_asked() {
    let authority = Authority::new("the lab's");
    let mut servers = Vec::new();
    for _ in 0..5 {
        servers.push(DotServer::start(authority.issue(&["evil.example"])).await);
    }
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let fixture = Fixture::new(lab(&authority), &addresses);

    assert!(fixture.ask("www.example.").await.is_err());

    let asked: Vec<_> = servers.iter().map(|server| server.log.accepted()).collect();
    assert_eq!(asked, [1, 1, 1, 0, 0]);
}

#[tokio::test]
async fn the_best_bad_answer_is_given_when_there_is_no_good_one() {
    let authority = Authority::new("the lab's");
    let failing =
        DotServer::scripted(authority.issue(&[NAME]), |_, mut wire: Counted| async move {
            while let Some(query) = read_frame(&mut wire).await {
                write_frame(&mut wire, &response_to(&query, 2)).await;
            }
        })
        .await;
    let fixture = Fixture::new(lab(&authority), &[failing.address, nobody().await]);

    let answer = fixture.ask("www.example.").await.unwrap();

    assert_eq!(answer.layout.rcode(&answer.message), Rcode::SERVFAIL);
    assert_eq!(answer.server, failing.address);
}

#[tokio::test]
async fn an_answer_that_failed_validation_is_not_shopped_around() {
    let authority = Authority::new("the lab's");
    let bogus = DotServer::scripted(authority.issue(&[NAME]), |_, mut wire: Counted| async move {
        while let Some(query) = read_frame(&mut wire).await {
            let mut answer = response_to(&query, 2);
            answer[11] = 1;
            // An OPT record with the extended error 6, DNSSEC Bogus (RFC 8914 section 4.7).
            answer.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0f\0\x02\0\x06");
            write_frame(&mut wire, &answer).await;
        }
    })
    .await;
    let other = DotServer::start(authority.issue(&[NAME])).await;
    let fixture = Fixture::new(lab(&authority), &[bogus.address, other.address]);

    let answer = fixture.ask("www.example.").await.unwrap();

    assert_eq!((answer.server, other.log.accepted()), (bogus.address, 0));
}

#[tokio::test]
async fn a_fallback_is_for_servers_that_cannot_be_reached_and_never_for_an_rcode() {
    let authority = Authority::new("the lab's");
    let spare = DotServer::start(authority.issue(&[NAME])).await;
    let failing =
        DotServer::scripted(authority.issue(&[NAME]), |_, mut wire: Counted| async move {
            while let Some(query) = read_frame(&mut wire).await {
                write_frame(&mut wire, &response_to(&query, 2)).await;
            }
        })
        .await;
    let cases = [
        ("nobody is there", vec![nobody().await, nobody().await], Rcode::NOERROR),
        ("one of them answers, badly", vec![nobody().await, failing.address], Rcode::SERVFAIL),
    ];

    for (why, servers, expected) in cases {
        let upstreams = vec![
            settings("lab", lab(&authority), &servers),
            settings("spare", lab(&authority), &[spare.address]),
        ];
        let fixture = Fixture::of(upstreams, &["lab"], &["spare"]);
        let answer = fixture.ask("www.example.").await.unwrap();
        assert_eq!(answer.layout.rcode(&answer.message), expected, "{why}");
    }
}

#[tokio::test]
async fn a_server_that_failed_is_asked_last_and_looked_after_in_the_background() {
    let authority = Authority::new("the lab's");
    let address = nobody().await;
    let good = DotServer::start(authority.issue(&[NAME])).await;
    let fixture = Fixture::new(lab(&authority), &[address, good.address]);
    assert!(fixture.ask("www.example.").await.is_ok());
    let server = &fixture.upstreams.upstreams[0].servers[0];
    let now = Instant::now();

    assert!(!server.is_up(now), "it has just failed");
    assert!(
        !server.is_up(now + Duration::from_secs(2)),
        "it is looked at, and no query waits for that"
    );
    assert!(server.is_connecting(), "in the background");
}

#[tokio::test]
async fn a_failure_tells_the_client_who_and_why() {
    let authority = Authority::new("the lab's");
    let identity = authority.issue(&[NAME]);
    let pin = identity.pin;
    let server = DotServer::start(identity).await;
    let pinned = TlsSettings {
        pins: vec![authority.sub_authority("x").pin],
        ..tls(authority.roots(), Some(NAME))
    };
    let fixture = Fixture::new(Transport::Tls(pinned), &[server.address]);
    let ede = fixture.ask("www.example.").await.unwrap_err().ede();
    assert_eq!(ede.code, ExtendedError::NO_REACHABLE_AUTHORITY);
    let expected = format!("upstream lab {}: pin mismatch: presented {pin}", server.address);
    assert!(ede.text.starts_with(&expected), "{}", ede.text);

    let misnamed = DotServer::start(authority.issue(&["a.example", "192.0.2.1"])).await;
    let fixture = Fixture::new(lab(&authority), &[misnamed.address]);
    let error = fixture.ask("www.example.").await.unwrap_err().attempts[0].error.to_string();
    let expected = "name mismatch: wanted dns.example, the certificate is for a.example, 192.0.2.1";
    assert_eq!(error, expected);

    let silent = DotServer::scripted(authority.issue(&[NAME]), |_, _| async {}).await;
    let fixture = Fixture::new(lab(&authority), &[silent.address]);
    let ede = fixture.ask("www.example.").await.unwrap_err().ede();
    assert_eq!(ede.code, ExtendedError::NETWORK_ERROR, "it was reached: {}", ede.text);
}

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

/// A UDP server that handles as many datagrams as there are scripts, and tells what it got.
async fn datagrams(
    scripts: Vec<fn(&[u8]) -> Vec<Vec<u8>>>,
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
    let answer: fn(&[u8]) -> Vec<Vec<u8>> = |query| vec![answer_to(query)];
    let (address, served) = datagrams(vec![answer; 40]).await;
    let fixture = Fixture::new(Transport::Udp, &[address]);

    for _ in 0..40 {
        fixture.ask("www.example.").await.unwrap();
    }

    let seen = served.await.unwrap();
    let ports: std::collections::HashSet<_> =
        seen.iter().map(|(client, _)| client.port()).collect();
    let ids: std::collections::HashSet<_> =
        seen.iter().map(|(_, query)| [query[0], query[1]]).collect();
    // Two of forty may meet by chance; a counter or a fixed value could not pass.
    assert!(ports.len() >= 36 && ids.len() >= 36, "{} ports, {} IDs", ports.len(), ids.len());
    let steps: std::collections::HashSet<_> =
        seen.windows(2).map(|pair| pair[1].0.port().wrapping_sub(pair[0].0.port())).collect();
    assert!(steps.len() > 10, "the ports follow no pattern");
}

#[tokio::test]
async fn over_udp_what_does_not_match_is_dropped_and_the_wait_goes_on() {
    let script: fn(&[u8]) -> Vec<Vec<u8>> = |query| {
        let mut wrong_id = answer_to(query);
        wrong_id[0] ^= 0xff;
        let mut wrong_name = answer_to(query);
        wrong_name[14] ^= 0x01;
        let mut wrong_type = answer_to(query);
        let end = Question::read(query).unwrap().1;
        wrong_type[end - 3] = 28;
        let mut no_question = response_to(query, 2)[..12].to_vec();
        no_question[5] = 0;
        let too_long = [answer_to(query), vec![0; 2000]].concat();
        let mut other_case = answer_to(query);
        other_case[13] ^= 0x20;
        vec![
            wrong_id,
            wrong_name,
            wrong_type,
            no_question,
            vec![],
            query.to_vec(),
            too_long,
            other_case,
        ]
    };
    let (address, _served) = datagrams(vec![script]).await;
    let fixture = Fixture::new(Transport::Udp, &[address]);

    let answer = fixture.ask("www.example.").await.unwrap();

    assert_eq!(answer.message[13], b'W', "the last one, which differs in letter case only");
    let text = metrics_text(fixture.metrics);
    assert!(text.contains(&format!(
        "dnsproxy_upstream_unexpected_responses_total{{upstream=\"lab\",server=\"{address}\"}} 7"
    )), "{text}");
}

#[tokio::test]
async fn a_truncated_datagram_is_asked_again_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).await.unwrap();
    let tasks = Tasks::default();
    tasks.spawn(async move {
        let mut query = vec![0; 4096];
        let (len, client) = socket.recv_from(&mut query).await.unwrap();
        let mut answer = response_to(&query[..len], 0);
        answer[2] |= 0x02;
        socket.send_to(&answer, client).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let query = read_message(&mut stream).await;
        write_message(&mut stream, &answer_to(&query)).await;
    });
    let fixture = Fixture::new(Transport::Udp, &[address]);

    let answer = fixture.ask("www.example.").await.unwrap();

    assert_eq!(answer.message[7], 1, "with its record");
}

#[tokio::test]
async fn a_plain_server_without_edns_is_asked_again_without() {
    let scripts: [(&str, fn(&[u8]) -> Vec<Vec<u8>>); 3] = [
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

#[tokio::test]
async fn a_closed_udp_port_is_noticed_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let fixture = Fixture::new(Transport::Udp, &[address]);

    assert_eq!(reason(&fixture).await, "connection_refused");
}

#[tokio::test]
async fn an_extended_rcode_is_no_answer() {
    // BADVERS: the upper bits in the OPT record, NOERROR in the header.
    let script: fn(&[u8]) -> Vec<Vec<u8>> = |query| {
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

#[tokio::test]
async fn the_longest_zone_wins_and_ds_goes_to_the_parent() {
    let zone = |text: &str| text.parse::<Name>().unwrap();
    let upstreams = ["public", "corp", "lab"]
        .map(|name| settings(name, Transport::Udp, &["192.0.2.1:53".parse().unwrap()]));
    let route = |name: &str, zones: &[&str]| RouteSettings {
        name: name.into(),
        zones: zones.iter().map(|text| zone(text)).collect(),
        upstreams: vec![name.into()],
        fallback: Vec::new(),
    };
    let routes = vec![
        route("public", &["."]),
        route("corp", &["corp.example", "10.in-addr.arpa"]),
        route("lab", &["LAB.corp.example"]),
    ];
    let (metrics, tasks) = (Metrics::default(), Tasks::default());
    let upstreams = Upstreams::build(None, upstreams.into(), routes, &metrics, &tasks);
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

#[tokio::test]
async fn series_go_with_their_server() {
    let (metrics, tasks) = (Metrics::default(), Tasks::default());
    let build = |previous: Option<&Upstreams>, name: &str| {
        let upstream = settings(name, Transport::Udp, &["192.0.2.1:53".parse().unwrap()]);
        Upstreams::build(previous, vec![upstream], vec![route(&[name], &[])], &metrics, &tasks)
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
