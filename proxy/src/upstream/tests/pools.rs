//! How many connections there are, and what goes on which.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn pool(max: usize, max_in_flight: usize) -> Network {
    Network::with(1, 0, |upstream, _| {
        upstream.connections =
            ConnectionLimits { max, max_in_flight, ..ConnectionLimits::default() };
    })
}

fn start(network: &Network, count: usize) -> Vec<tokio::task::JoinHandle<Asked>> {
    (0..count).map(|index| network.start(format!("{index}.example."))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_is_made_when_the_first_one_is_half_full() {
    for (count, expected) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        let network = pool(2, 4).warm().await;
        network.servers[0].answer_after(50);
        for asked in start(&network, count) {
            assert!(asked.await.unwrap().result.is_ok());
        }
        assert_eq!(network.servers[0].dials().len(), expected, "{count} questions at a time");
    }
}

/// A server that closes all idle connections at once takes no question with them.
#[tokio::test(start_paused = true)]
async fn a_question_outlives_the_end_of_all_connections_that_were_there_before_it() {
    let network = pool(2, 4).warm().await;
    let server = &network.servers[0];
    server.answer_after(50);
    for asked in start(&network, 3) {
        assert!(asked.await.unwrap().result.is_ok());
    }
    let closed = AtomicUsize::new(0);
    server.script(move |_| match closed.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Reply::Close,
        _ => Reply::After(Duration::from_millis(5), 0),
    });

    assert!(network.ask("www.example.").await.result.is_ok());
    assert_eq!(server.dials().len(), 3);
}

/// However many wait: hundreds are in the way of each other for less than a second.
#[tokio::test(start_paused = true)]
async fn a_server_that_closes_after_a_few_answers_loses_no_question() {
    for answers in [1, 2, 3, 10, 100] {
        let network = pool(2, 512).warm().await;
        network.servers[0].close_after(answers);

        for asked in start(&network, 300) {
            let asked = asked.await.unwrap();
            assert!(asked.result.is_ok(), "{answers} answers: {:?}", asked.result);
            assert!(asked.took < Duration::from_secs(2), "{answers} answers: {:?}", asked.took);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_connections_than_allowed() {
    let network = pool(3, 400);
    network.servers[0].answer_after(50);
    for round in 0..20 {
        for asked in start(&network, 1000) {
            assert!(asked.await.unwrap().result.is_ok(), "round {round}");
        }
    }
    assert_eq!(network.servers[0].dials().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_finds_all_connections_full_is_told_so_at_once() {
    let network = pool(2, 2).warm().await;
    network.servers[0].answer_after(50);
    let waiting = start(&network, 3);
    // Until the second connection is there.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let more = network.start("fourth.example.");
    tokio::time::sleep(Duration::from_millis(10)).await;

    let refused = network.ask("fifth.example.").await;

    assert_eq!(refused.took, Duration::ZERO);
    let failure = refused.result.unwrap_err();
    assert!(failure.is_limit());
    assert_eq!(failure.ede().code, ExtendedError::OTHER);
    assert!(failure.ede().text.contains("connections.maxInFlight: 2 "), "{}", failure.ede().text);
    for asked in waiting.into_iter().chain([more]) {
        assert!(asked.await.unwrap().result.is_ok());
    }
    assert_eq!(network.standing(0), Standing::Up, "a limit of ours says nothing about the server");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_replaced_and_finishes_what_it_has() {
    for max in [1, 2] {
        let network = pool(max, 512).warm().await;
        let [server] = &network.servers[..] else { unreachable!() };
        server.script(|query| {
            let millis = if query.name.starts_with("slow") { 1000 } else { 5 };
            Reply::After(Duration::from_millis(millis), 0)
        });

        let mut slow = Vec::new();
        for index in 0..540 {
            slow.push(network.start(format!("slow{index}.example.")));
            for asked in network.ask_many(20, Duration::from_millis(50)).await {
                assert!(asked.result.is_ok(), "max {max}: {asked:?}");
            }
            tokio::time::sleep(Duration::from_secs(9)).await;
        }

        let dials = server.dials().len();
        assert!((2..=3).contains(&dials), "max {max}: {dials} connections in 90 minutes");
        let count = slow.len();
        for asked in slow {
            assert!(asked.await.unwrap().result.is_ok(), "max {max}");
        }
        let asked = server.asked().iter().filter(|it| it.name.starts_with("slow")).count();
        assert_eq!(asked, count, "max {max}: none had to be asked again");
    }
}

/// A server may have a limit for each client, or be about to restart: what it does answer is as good as before.
#[tokio::test(start_paused = true)]
async fn a_server_that_gives_no_further_connection_is_asked_on_those_that_there_are() {
    for (why, door) in [("refused", Door::Refuses), ("no way there", Door::Hangs)] {
        let network = Network::with(1, 1, |upstream, _| {
            upstream.connections =
                ConnectionLimits { max: 2, max_in_flight: 4, ..ConnectionLimits::default() };
        });
        let network = network.warm().await;
        let ([server], [spare]) = (&network.servers[..], &network.spares[..]) else {
            unreachable!()
        };
        server.answer_after(50);
        server.door(door);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            for asked in start(&network, 3) {
                let asked = asked.await.unwrap();
                assert!(asked.is_by(server), "{why}: {asked:?}");
            }
            assert_eq!(network.standing(0), Standing::Up, "{why}");
        }

        let dials = server.dials_since(begun);
        assert!((5..=11).contains(&dials), "{why}: {dials} tries in ten seconds");
        assert!(spare.asked().is_empty(), "{why}");
        server.door(Door::OpensAfter(Duration::from_millis(1)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        for round in 0..2 {
            for asked in start(&network, 3) {
                assert!(asked.await.unwrap().is_by(server), "{why}: {round}");
            }
        }
        let last = server.asked().into_iter().rev().take(3).map(|query| query.connection);
        assert!(
            last.collect::<std::collections::HashSet<_>>().len() > 1,
            "{why}: it has two again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_goes_on_where_there_is_no_other_in_its_place() {
    for max in [1, 2] {
        let network = pool(max, 512).warm().await;
        let [server] = &network.servers[..] else { unreachable!() };
        server.door(Door::Refuses);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(90 * 60) {
            let asked = network.ask("www.example.").await;
            assert!(asked.result.is_ok(), "max {max}: {asked:?}");
            assert_eq!(network.standing(0), Standing::Up, "max {max}");
            tokio::time::sleep(Duration::from_secs(9)).await;
        }

        let dials = server.dials_since(begun);
        // One in a second at most, from an age of 45 minutes on at the earliest.
        assert!((1..=45 * 60 + 2).contains(&dials), "max {max}: {dials}");
        assert!(server.asked().iter().all(|query| query.connection == 0), "max {max}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gives_no_further_connection_is_full_when_the_one_that_there_is_is() {
    let network = pool(2, 4).warm().await;
    let server = &network.servers[0];
    server.answer_after(90);
    server.door(Door::Refuses);
    let begun = Instant::now();
    let waiting = start(&network, 4);
    tokio::time::sleep(Duration::from_millis(10)).await;

    for asked in network.ask_many(50, Duration::from_millis(1)).await {
        let failure = asked.result.unwrap_err();
        assert!(failure.is_limit(), "{failure:?}");
    }
    assert!(server.dials_since(begun) <= 2, "{}", server.dials_since(begun));
    for asked in waiting {
        assert!(asked.await.unwrap().result.is_ok());
    }
}

/// What was proven an hour ago must be proven again.
#[tokio::test(start_paused = true)]
async fn an_old_connection_ends_where_the_one_in_its_place_would_lead_to_somebody_else() {
    let network = pool(2, 512).warm().await;
    let server = &network.servers[0];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(44 * 60) {
        assert!(network.ask("www.example.").await.result.is_ok());
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    server.door(Door::Untrusted);
    while begun.elapsed() < Duration::from_secs(76 * 60) {
        network.ask("www.example.").await.result.ok();
        tokio::time::sleep(Duration::from_secs(9)).await;
    }

    let asked = server.asked().len();
    let failed = network.ask("www.example.").await;
    assert_eq!(failed.result.unwrap_err().reason(), "untrusted");
    assert_eq!(network.known(0).health().snapshot().state, State::Unhealthy);
    assert_eq!(server.asked().len(), asked);
}

/// A handshake takes as long as a hundred answers of the cache.
#[tokio::test]
async fn a_connection_is_made_aside_and_lives_on_a_worker() {
    let authority = Authority::new("the lab's");
    let server = DotServer::start(authority.issue(&[NAME])).await;
    let aside = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let surroundings = Surroundings::default();
    let worker = tokio::runtime::Handle::current();
    surroundings.placement.use_threads(vec![worker], aside.handle().clone());
    let settings = vec![settings("lab", lab(&authority), &[server.address])];
    let upstreams = Upstreams::build(None, settings, vec![route(&["lab"], &[])], &surroundings);
    let fixture = Fixture { upstreams, metrics: surroundings.metrics.clone() };

    let mut asking = std::pin::pin!(fixture.ask("www.example."));
    let given_aside = async {
        while aside.metrics().num_alive_tasks() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = &mut asking => panic!("answered, though nobody makes connections"),
        () = given_aside => {}
    }
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let maker = std::thread::spawn(move || aside.block_on(ended).ok());
    assert!(asking.as_mut().await.is_ok());

    // Once it is made, it needs nothing more of where it was.
    end.send(()).unwrap();
    maker.join().unwrap();
    assert!(fixture.ask("other.example.").await.is_ok());
    assert_eq!(server.log.accepted(), 1);
}

/// Such as CoreDNS: who is behind a slow name waits for it.
#[tokio::test(start_paused = true)]
async fn a_slow_name_holds_up_few_others_where_a_server_takes_questions_in_order() {
    let network = pool(8, 512).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.answer_in_order();
    server.script(|query| {
        Reply::After(Duration::from_millis(if query.name.starts_with("slow") { 800 } else { 2 }), 0)
    });
    network.ask_many(100, Duration::from_millis(40)).await;

    let mut slow = Vec::new();
    let mut took = Vec::new();
    for round in 0..20 {
        slow.push(network.start(format!("slow{round}.example.")));
        for asked in network.ask_many(12, Duration::from_millis(40)).await {
            assert!(asked.result.is_ok(), "round {round}: {asked:?}");
            took.push(asked.took);
        }
    }
    for slow in slow {
        let slow = slow.await.unwrap();
        assert!(slow.result.is_ok() && slow.took < Duration::from_millis(1200), "{slow:?}");
    }

    took.sort_unstable();
    let [half, most, last] = [50, 95, 99].map(|percent| took[took.len() * percent / 100]);
    assert!(half < Duration::from_millis(5), "{took:?}");
    assert!(most < Duration::from_millis(150) && last < Duration::from_millis(250), "{took:?}");
    let dials = server.dials().len();
    assert!(dials <= 10, "{dials} dials in ten seconds");
}

/// Whoever has given up is not waited for, but what he asked for is still in the way.
#[tokio::test(start_paused = true)]
async fn a_question_that_was_given_up_holds_up_few_others_as_well() {
    let network = pool(8, 512).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.answer_in_order();
    server.script(|query| {
        Reply::After(
            Duration::from_millis(if query.name.starts_with("slow") { 6000 } else { 2 }),
            0,
        )
    });
    network.ask_many(100, Duration::from_millis(40)).await;
    assert!(network.ask("slow.example.").await.result.is_err());

    let others = network.ask_many(40, Duration::from_millis(40)).await;

    let late = others.iter().filter(|asked| asked.took > Duration::from_millis(20)).count();
    assert!(late <= 1 && others.iter().all(|asked| asked.result.is_ok()), "{others:?}");
}

/// Where questions are answered as they can be, a slow one is nobody's trouble.
#[tokio::test(start_paused = true)]
async fn a_slow_name_among_many_others_needs_no_connection_of_its_own() {
    let network = pool(8, 512).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(|query| {
        Reply::After(Duration::from_millis(if query.name.starts_with("slow") { 800 } else { 2 }), 0)
    });
    network.ask_many(100, Duration::from_millis(4)).await;

    // Once it has been seen that others are answered meanwhile, it takes no more than that, however few there are.
    let mut before = None;
    for pause in [4, 40] {
        let slow = network.start("slow.example.");
        network.ask_many(800 / pause, Duration::from_millis(pause as u64)).await;
        assert!(slow.await.unwrap().result.is_ok());
        let dials = server.dials().len();
        assert_eq!(*before.get_or_insert(dials), dials, "asked every {pause} ms");
    }
}

/// Another one may stand behind the address by now.
#[tokio::test(start_paused = true)]
async fn a_slow_name_holds_up_few_others_where_a_server_has_come_to_take_questions_in_order() {
    let network = pool(8, 512).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(|query| {
        Reply::After(Duration::from_millis(if query.name.starts_with("slow") { 800 } else { 2 }), 0)
    });
    let slow = network.start("slow.example.");
    network.ask_many(100, Duration::from_millis(40)).await;
    assert!(slow.await.unwrap().result.is_ok());
    server.answer_in_order();
    server.close_connections();

    let mut took = Vec::new();
    for round in 0..20 {
        let slow = network.start(format!("slow{round}.example."));
        for asked in network.ask_many(24, Duration::from_millis(40)).await {
            assert!(asked.result.is_ok(), "round {round}: {asked:?}");
            took.push(asked.took);
        }
        assert!(slow.await.unwrap().result.is_ok(), "round {round}");
    }

    let late = took.iter().filter(|took| **took > Duration::from_millis(150)).count();
    assert!(late <= 2, "one until it is seen, one until there is another connection: {took:?}");
}

/// It is short of places (RFC 7828 section 3.2.2), and should not have to give us more of them.
#[tokio::test(start_paused = true)]
async fn a_server_that_wants_every_connection_closed_has_no_more_than_allowed() {
    for max in [1, 2] {
        let network = pool(max, 512).warm().await;
        let [server] = &network.servers[..] else { unreachable!() };
        server.script(|query| {
            let millis = if query.name.starts_with("slow") { 1000 } else { 2 };
            Reply::After(Duration::from_millis(millis), 0)
        });
        server.grant(0);

        let mut slow = Vec::new();
        for index in 0..40 {
            slow.push(network.start(format!("slow{index}.example.")));
            for asked in network.ask_many(5, Duration::from_millis(10)).await {
                assert!(asked.result.is_ok(), "max {max}: {asked:?}");
            }
            let open = network.known(0).series().connections.get();
            assert!(open <= i64::try_from(max).unwrap(), "max {max}: {open} are open");
        }
        for slow in slow {
            assert!(slow.await.unwrap().result.is_ok(), "max {max}");
        }
    }
}
