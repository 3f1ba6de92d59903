//! Who is asked when a server fails, and what a client is told then.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

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
async fn a_message_that_was_none_is_asked_for_once_more_where_there_is_nobody_else() {
    let authority = Authority::new("the lab's");
    let other_question = |query: &[u8]| {
        let mut answer = answer_to(query);
        answer[13] ^= 0x01;
        answer
    };
    let more_records = |query: &[u8]| {
        let mut answer = answer_to(query);
        answer[7] = 9;
        answer
    };
    type Garble = fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, &str, Garble); 2] = [
        ("another question", "mismatch", other_question),
        ("more records than there are", "malformed", more_records),
    ];

    for (why, expected, garbled) in cases {
        let asked = Arc::new(AtomicUsize::new(0));
        let garbling = |first_good: usize| {
            asked.store(0, Ordering::Relaxed);
            let asked = Arc::clone(&asked);
            move |_: usize, mut wire: Counted| {
                let asked = Arc::clone(&asked);
                async move {
                    while let Some(query) = read_frame(&mut wire).await {
                        // Not health checks.
                        let count = usize::from(query.windows(3).any(|octets| octets == b"www"));
                        let is_good = asked.fetch_add(count, Ordering::Relaxed) >= first_good;
                        let answer = if is_good { answer_to(&query) } else { garbled(&query) };
                        write_frame(&mut wire, &answer).await;
                    }
                }
            }
        };
        let server = DotServer::scripted(authority.issue(&[NAME]), garbling(1)).await;
        let fixture = Fixture::new(lab(&authority), &[server.address]);
        assert!(fixture.ask("www.example.").await.is_ok(), "{why}");

        let server = DotServer::scripted(authority.issue(&[NAME]), garbling(9)).await;
        let fixture = Fixture::new(lab(&authority), &[server.address]);
        assert_eq!(reason(&fixture).await, expected, "{why}");
        assert_eq!(asked.load(Ordering::Relaxed), 2, "{why}: once, not for ever");

        // Somebody who is out of reach has nothing to say, either.
        let (server, nobody) =
            (DotServer::scripted(authority.issue(&[NAME]), garbling(1)).await, Nobody::new());
        let fixture = Fixture::new(lab(&authority), &[server.address, nobody.address()]);
        assert!(fixture.ask("www.example.").await.is_ok(), "{why}, beside one that is gone");
        let servers = &fixture.upstreams.routing.routes[0].servers;
        let told = servers[0].health().left_unanswered_in_a_row();
        assert_eq!(told, 0, "{why}: it has answered");
    }
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
    let nobody = Nobody::new();
    let authority = Authority::new("the lab's");
    let good = DotServer::start(authority.issue(&[NAME])).await;
    let wrong = DotServer::start(authority.issue(&["evil.example"])).await;
    let refusing = DotServer::failing(authority.issue(&[NAME]), 5).await;
    let cases = [
        ("nobody is there", nobody.address()),
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
    let nobody = Nobody::new();
    let authority = Authority::new("the lab's");
    let failing = DotServer::failing(authority.issue(&[NAME]), 2).await;
    let fixture = Fixture::new(lab(&authority), &[failing.address, nobody.address()]);

    let answer = fixture.ask("www.example.").await.unwrap();

    assert_eq!(answer.layout.rcode(&answer.message), Rcode::SERVFAIL);
    assert_eq!(answer.server, failing.address);
}

#[tokio::test]
async fn an_answer_that_is_forged_or_blocked_is_not_shopped_around() {
    // With an extended error: DNSSEC Bogus (RFC 8914 section 4.7), Blocked and Filtered (4.16 and 4.18).
    for (rcode, code) in [(2, 6), (5, 15), (5, 17)] {
        let authority = Authority::new("the lab's");
        let script = move |_, mut wire: Counted| async move {
            while let Some(query) = read_frame(&mut wire).await {
                let mut answer = response_to(&query, rcode);
                answer[11] = 1;
                answer.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0f\0\x02\0");
                answer.push(code);
                write_frame(&mut wire, &answer).await;
            }
        };
        let refusing = DotServer::scripted(authority.issue(&[NAME]), script).await;
        let other = DotServer::start(authority.issue(&[NAME])).await;
        let fixture = Fixture::new(lab(&authority), &[refusing.address, other.address]);

        let answer = fixture.ask("www.example.").await.unwrap();

        assert_eq!((answer.server, other.log.accepted()), (refusing.address, 0), "{code}");
        let server = &fixture.upstreams.routing.routes[0].servers[0];
        let expected = server.latency().expected(Instant::now());
        assert_eq!(expected, None, "{code}: nor is it worth a slow one");
    }
}

#[tokio::test]
async fn a_fallback_is_for_servers_that_cannot_be_reached_and_never_for_an_rcode() {
    let (nobody, other) = (Nobody::new(), Nobody::new());
    let authority = Authority::new("the lab's");
    let spare = DotServer::start(authority.issue(&[NAME])).await;
    let failing = DotServer::failing(authority.issue(&[NAME]), 2).await;
    let cases = [
        ("nobody is there", vec![nobody.address(), other.address()], Rcode::NOERROR),
        ("one of them answers, badly", vec![nobody.address(), failing.address], Rcode::SERVFAIL),
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

#[test]
fn a_connection_serves_all_workers_and_ends_with_its_own() {
    let authority = Authority::new("the lab's");
    let (lab_thread, first, second) = (Worker::start(), Worker::start(), Worker::start());
    let identity = authority.issue(&[NAME]);
    let server = lab_thread.run(async { DotServer::start(identity).await });
    let fixture = Arc::new(Fixture::new(lab(&authority), &[server.address]));
    let ask = |worker: &Worker| {
        let fixture = Arc::clone(&fixture);
        worker.run(async move { fixture.ask("www.example.").await.is_ok() })
    };

    assert!(ask(&first));
    assert!(ask(&second));
    assert_eq!(server.log.accepted(), 1, "the first worker drives it for the second");

    drop(first);
    assert!(ask(&second));
    assert_eq!(server.log.accepted(), 2, "the first worker is gone, and its connection with it");
}

/// A thread with a runtime of its own, like a worker of the proxy.
struct Worker {
    handle: tokio::runtime::Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Worker {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let _ = runtime.block_on(stopped);
        });
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }

    fn run<F: Future<Output: Send + 'static> + Send + 'static>(&self, work: F) -> F::Output {
        let (done, result) = std::sync::mpsc::sync_channel(1);
        self.handle.spawn(async move { done.send(work.await) });
        result.recv().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// As a load balancer does whose own servers are gone: each question would wait for its own turn to find out.
#[tokio::test(start_paused = true)]
async fn a_server_that_closes_on_all_questions_after_a_while_is_not_asked_first_for_long() {
    let network = Network::of(2).warm().await;
    let [closing, other] = &network.servers[..] else { unreachable!() };
    closing.reply(Reply::CloseAfter(Duration::from_millis(60)));

    let mut asked = Vec::new();
    for index in 0..300 {
        asked.push(network.start(format!("{index}.example.")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let mut late = 0;
    for asked in futures::future::join_all(asked).await {
        let asked = asked.unwrap();
        assert!(asked.is_by(other), "{asked:?}");
        late += usize::from(asked.took > Duration::from_millis(20));
    }
    assert!(late <= 60, "{late} of 300 had to wait");
}
