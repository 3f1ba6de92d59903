//! Who is believed, and that nobody else gets a query.

use super::*;

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

    assert_eq!(reason(&fixture).await, "handshake_broken");

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
    // The server says so after the handshake, and it is the server's state all the same.
    tokio::time::timeout(Duration::from_secs(5), async {
        while state(&fixture) != (State::Unhealthy, Some("client_certificate")) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

fn state(fixture: &Fixture) -> (State, Option<&'static str>) {
    let report = fixture.upstreams.report().remove(0).servers.remove(0);
    (report.state, report.reason)
}

/// Another one knows nothing of them. And a renewed certificate is seen in a handshake that goes all the way.
#[tokio::test]
async fn each_server_has_its_own_sessions_and_none_for_long() {
    let authority = Authority::new("the lab's");
    let client = TlsClient::new(&tls(authority.roots(), Some(NAME))).unwrap();
    let servers = [
        DotServer::start(authority.issue(&[NAME])).await,
        DotServer::start(authority.issue(&[NAME])).await,
    ];
    for expected in [Resumed::No, Resumed::Yes, Resumed::Yes] {
        for server in &servers {
            let resumed = shake(&client, server, UnixTime::now()).await;
            assert_eq!(resumed, Ok(expected), "{}", server.address);
        }
    }

    let (now, address) = (Instant::now(), servers[0].address);
    let config = |at| client.config_for(address, at);
    let known = config(now);
    assert!(Arc::ptr_eq(&known, &config(now + Duration::from_secs(29 * 60))));
    assert!(!Arc::ptr_eq(&known, &config(now + Duration::from_secs(31 * 60))));
}

async fn shake(
    client: &TlsClient,
    server: &DotServer,
    now: UnixTime,
) -> Result<Resumed, &'static str> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    match client.handshake(stream, server.address, now).await {
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
}

#[tokio::test]
async fn a_resumed_session_is_judged_again() {
    let authority = Authority::new("the lab's");
    let until_2050 =
        |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2050, 1, 1);
    let identity = authority.issue_with(&[NAME], until_2050);
    let server = DotServer::start(identity).await;
    let client = TlsClient::new(&tls(authority.roots(), Some(NAME))).unwrap();
    let shake = |now| shake(&client, &server, now);
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
    let build = |previous: Option<&Upstreams>, pins: Vec<Pin>, surroundings: &Surroundings| {
        let tls = TlsSettings { pins, ..tls(authority.roots(), Some(NAME)) };
        let upstream = settings("lab", Transport::Tls(tls), &[server.address]);
        Upstreams::build(previous, vec![upstream], vec![route(&["lab"], &[])], surroundings)
    };
    let surroundings = Surroundings::default();
    let ask = async |upstreams: &Upstreams| {
        let request = request("www.example.");
        let route = upstreams.route(&request.question).unwrap();
        upstreams
            .exchange(route, request.into(), Instant::now() + Duration::from_secs(4), || false)
            .await
            .is_ok()
    };

    let first = build(None, vec![pin], &surroundings);
    assert!(ask(&first).await);
    let same = build(Some(&first), vec![pin], &surroundings);
    drop(first);
    assert!(ask(&same).await);
    assert_eq!(server.log.accepted(), 1, "equal settings: the connection goes on");
    let changed = build(Some(&same), vec![pin, other], &surroundings);
    assert!(ask(&changed).await);
    assert_eq!(server.log.accepted(), 2, "changed settings: a new connection");
    assert!(
        metrics_text(surroundings.metrics)
            .contains("dnsproxy_upstream_handshakes_total{upstream=\"lab\",kind=\"resumed\"} 0")
    );
}
