//! What a dead network costs, and how soon service is back after it.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn service_is_back_within_two_seconds_of_the_network() {
    for (why, door) in [("refused", Door::Refuses), ("no way there", Door::Hangs)] {
        let network = Network::of(2).warm().await;
        assert!(network.ask("before.example.").await.result.is_ok());
        for server in &network.servers {
            server.door(door);
            server.fall_silent();
        }
        let gone = Instant::now();
        for index in 0..600 {
            let asked = network.start(format!("{index}.example."));
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(asked);
        }
        for server in &network.servers {
            let dials = server.dials_since(gone);
            assert!(dials <= 1300, "{why}: {dials} tries in ten minutes");
        }

        for server in &network.servers {
            server.door(Door::OpensAfter(Duration::from_millis(1)));
            server.answer_after(5);
        }
        let back = Instant::now();
        let mut waiting = Vec::new();
        while !waiting.iter().any(tokio::task::JoinHandle::is_finished) {
            assert!(back.elapsed() < Duration::from_secs(2), "{why}");
            waiting.push(answered(&network));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_started_again_loses_no_query() {
    for (why, servers) in [("the only one", 1), ("all at a time", 3)] {
        let network = Network::of(servers).warm().await;
        assert!(network.ask("before.example.").await.result.is_ok());
        for server in &network.servers {
            server.door(Door::Refuses);
            server.close_connections();
        }
        let gone = Instant::now();
        let mut waiting = Vec::new();
        while gone.elapsed() < Duration::from_millis(1500) {
            waiting.push(network.start(format!("{}.example.", waiting.len())));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for server in &network.servers {
            assert!(server.dials_since(gone) <= 9, "{why}: {:?}", server.dials_since(gone));
            server.door(Door::OpensAfter(Duration::from_millis(1)));
        }

        for asked in futures::future::join_all(waiting).await {
            let asked = asked.unwrap();
            assert!(asked.result.is_ok(), "{why}: {asked:?}");
            assert!(asked.took < Duration::from_millis(1750), "{why}: {asked:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_half_of_his_time_for_a_server_to_be_back_and_not_at_all_where_it_is_gone()
 {
    let network = Network::of(1).warm().await;
    network.servers[0].door(Door::Refuses);
    network.servers[0].close_connections();

    let first = network.ask("first.example.").await;
    assert!(first.result.is_err());
    assert!(first.took >= Duration::from_millis(1800), "{first:?}");
    assert!(first.took <= Duration::from_millis(2200), "{first:?}");
    let attempts = first.result.unwrap_err().attempts;
    assert_eq!(attempts.len(), 1, "what the last try has failed of: {attempts:?}");

    tokio::time::sleep(Duration::from_secs(4)).await;
    let later = network.ask("later.example.").await;
    assert!(later.result.is_err() && later.took < Duration::from_millis(5), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_servers_to_be_back_finds_any_of_them_and_asks_few_at_a_time() {
    let mut dials = Vec::new();
    for asks in [false, true] {
        let network = all_refuse(Network::of(6)).await;
        let gone = Instant::now();
        let asked = asks.then(|| network.start("www.example."));
        tokio::time::sleep(Duration::from_millis(500)).await;
        dials.push(network.servers.iter().map(|server| server.dials_since(gone)).sum::<usize>());

        let last = network.servers.last().unwrap();
        last.door(Door::OpensAfter(Duration::from_millis(1)));
        if let Some(asked) = asked {
            let asked = asked.await.unwrap();
            assert!(asked.is_by(last), "{asked:?}");
        }
    }
    assert!(dials[1] <= dials[0] + 3 + 2, "three at first, and then one each time: {dials:?}");
}

/// Once that is known.
async fn all_refuse(network: Network) -> Network {
    let network = network.warm().await;
    for server in &network.servers {
        server.door(Door::Refuses);
        server.close_connections();
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(network.start("known.example."));
    tokio::time::sleep(Duration::from_millis(10)).await;
    network
}

#[tokio::test(start_paused = true)]
async fn more_who_wait_for_a_server_than_its_connections_have_room_for_come_one_after_the_other() {
    let network = Network::with(1, 0, |upstream, _| {
        upstream.connections.max = 1;
        upstream.connections.max_in_flight = 8;
    });
    let network = all_refuse(network).await;
    let waiting: Vec<_> = (0..40).map(|it| network.start(format!("{it}.example."))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    network.servers[0].door(Door::OpensAfter(Duration::from_millis(1)));

    for asked in futures::future::join_all(waiting).await {
        let asked = asked.unwrap();
        assert!(asked.result.is_ok(), "{asked:?}");
    }
}

/// Ends only with an answer.
fn answered(network: &Network) -> tokio::task::JoinHandle<()> {
    let asked = network.start("back.example.");
    Tasks::default().spawn(async move {
        if asked.await.unwrap().result.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_is_tried_a_few_times_a_minute_while_another_one_answers() {
    for (why, door) in [("refused", Door::Refuses), ("no way there", Door::Hangs)] {
        let network = Network::of(2).warm().await;
        let [first, second] = &network.servers[..] else { unreachable!() };
        first.door(door);
        first.close_connections();
        let gone = Instant::now();
        while gone.elapsed() < 10 * MINUTE {
            let asked = network.ask("www.example.").await;
            assert!(asked.is_by(second), "{why}: {asked:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }

        let late = first.dials_since(gone + MINUTE);
        assert!((9..=36).contains(&late), "{why}: {late} tries in the last nine minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_to_connect_that_a_thousand_queries_share_counts_once() {
    let network = Network::with(1, 0, |upstream, _| upstream.connections.max_in_flight = 1000);
    network.servers[0].door(Door::Hangs);
    let waiting: Vec<_> = (0..1000).map(|it| network.start(format!("{it}.example."))).collect();
    for asked in waiting {
        assert_eq!(asked.await.unwrap().result.unwrap_err().reason(), "connect_timeout");
    }

    let dials = network.servers[0].dials().len();
    assert!(dials <= 3, "as many as one query would have made, the outage being new: {dials}");
    tokio::time::sleep(Duration::from_millis(1250)).await;
    assert_eq!(network.standing(0), Standing::Doubtful, "the first back-off is over");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_queries_is_no_flood_of_connections() {
    let network = Network::of(1);
    network.servers[0].door(Door::Refuses);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        assert!(network.ask("www.example.").await.result.is_err());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let dials = network.servers[0].dials().len();
    assert!((10..=50).contains(&dials), "{dials} tries in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_queries_is_no_flood_of_connections_that_the_server_closes_either() {
    let network = Network::of(1).warm().await;
    network.servers[0].reply(Reply::Close);
    let begun = Instant::now();
    let mut waiting = Vec::new();
    while begun.elapsed() < Duration::from_secs(10) {
        waiting.push(network.start(format!("{}.example.", waiting.len())));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let dials = network.servers[0].dials_since(begun);
    assert!((10..=150).contains(&dials), "{dials} connections in ten seconds, two at a time");

    network.servers[0].answer_after(5);
    tokio::time::timeout(Duration::from_secs(2), answered(&network)).await.unwrap().unwrap();
    for asked in waiting {
        assert!(asked.await.unwrap().took <= Duration::from_secs(4));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_on_every_question_is_not_asked_for_long() {
    let network = Network::of(2).warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.reply(Reply::Close);

    for asked in network.ask_many(100, Duration::from_millis(100)).await {
        assert!(asked.is_by(second) && asked.took < Duration::from_millis(30), "{asked:?}");
    }

    assert!(first.asked().len() <= 6, "{} questions", first.asked().len());
    assert_eq!(network.known(0).health().snapshot().state, State::Unhealthy);
    first.answer_after(5);
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(network.ask("back.example.").await.is_by(first));
}

/// Answers may come in any order: whoever has waited longest need not be the reason.
#[tokio::test(start_paused = true)]
async fn a_question_that_connections_are_closed_on_takes_no_other_with_it() {
    for (others, millis) in [(1, 20), (2, 20), (3, 20), (100, 1)] {
        let network = Network::of(1).warm().await;
        network.servers[0].script(move |query| match query.name.starts_with("bad.") {
            true => Reply::Close,
            false => Reply::After(Duration::from_millis(millis), 0),
        });
        for round in 0..10 {
            let name = |it: u32| format!("{it}.{round}.example.");
            let waiting: Vec<_> = (0..others).map(|it| network.start(name(it))).collect();
            tokio::task::yield_now().await;
            let bad = network.ask(format!("bad.{round}.example.")).await;

            assert_eq!(bad.result.unwrap_err().reason(), "closed");
            for asked in futures::future::join_all(waiting).await {
                let asked = asked.unwrap();
                assert!(asked.is_by(&network.servers[0]), "{others} others: {asked:?}");
            }
        }
        let dials = network.servers[0].dials().len();
        assert!(dials <= 10 * 13, "{others} others: {dials} connections for ten questions");
    }
}

/// A server may take its time to close; others are answered meanwhile, and come all the time.
#[tokio::test(start_paused = true)]
async fn a_question_that_connections_are_closed_on_later_takes_no_slow_one_with_it() {
    let network = Network::of(1).warm().await;
    let server = &network.servers[0];
    server.script(|query| match query.name.split_once('.').unwrap().0 {
        "bad" => Reply::CloseAfter(Duration::from_millis(20)),
        "slow" => Reply::After(Duration::from_millis(300), 0),
        _ => Reply::After(Duration::from_millis(1), 0),
    });
    let slow = network.start("slow.example.");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let bad = network.start("bad.example.");
    for asked in network.ask_many(300, Duration::from_millis(2)).await {
        assert!(asked.is_by(server), "{asked:?}");
    }

    let slow = slow.await.unwrap();
    assert!(slow.is_by(server), "{slow:?}");
    assert_eq!(bad.await.unwrap().result.unwrap_err().reason(), "closed");
    let dials = server.dials().len();
    assert!(dials <= 20, "{dials} connections for one question");
}

/// Whatever the turn is at which those before were told apart.
#[tokio::test(start_paused = true)]
async fn a_question_that_connections_are_closed_on_stays_with_no_other_one() {
    let network = Network::of(1).warm().await;
    network.servers[0].script(|query| match query.name.starts_with("bad.") {
        true => Reply::Close,
        false => Reply::After(Duration::from_millis(20), 0),
    });
    for round in 0..20 {
        let others = 1 + round % 3;
        let bad = network.start(format!("bad.{round}.example."));
        let others = (0..others).map(|it| network.start(format!("{it}.{round}.example.")));
        for asked in futures::future::join_all(others.collect::<Vec<_>>()).await {
            let asked = asked.unwrap();
            assert!(asked.is_by(&network.servers[0]), "round {round}: {asked:?}");
        }
        assert_eq!(bad.await.unwrap().result.unwrap_err().reason(), "closed");
    }
}

/// With one connection none can be apart; a server that takes questions in order answers all before the one.
#[tokio::test(start_paused = true)]
async fn a_question_that_the_only_connection_is_closed_on_goes_before_those_behind_it() {
    let network = Network::with(1, 0, |upstream, _| upstream.connections.max = 1).warm().await;
    network.servers[0].script(|query| match query.name.starts_with("bad.") {
        true => Reply::Close,
        false => Reply::After(Duration::from_millis(5), 0),
    });
    for round in 0..5 {
        let bad = network.start(format!("bad.{round}.example."));
        let behind: Vec<_> =
            (0..50).map(|it| network.start(format!("{it}.{round}.example."))).collect();
        for asked in futures::future::join_all(behind).await {
            let asked = asked.unwrap();
            assert!(asked.is_by(&network.servers[0]), "round {round}: {asked:?}");
        }
        assert_eq!(bad.await.unwrap().result.unwrap_err().reason(), "closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_or_a_useless_message_counts_against_nobody_while_others_are_answered()
{
    let cases = [
        (ExchangeError::Closed, true, State::Healthy),
        (ExchangeError::Closed, false, State::Suspect),
        (ExchangeError::Malformed, true, State::Healthy),
        (ExchangeError::Malformed, false, State::Suspect),
        (ExchangeError::Mismatch, true, State::Healthy),
        (ExchangeError::Mismatch, false, State::Suspect),
    ];
    for (error, is_answering, expected) in cases {
        let network = Network::of(1).warm().await;
        network.ask("first.example.").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (server, begun) = (network.known(0), Instant::now());
        tokio::time::sleep(Duration::from_millis(1)).await;
        if is_answering {
            network.ask("second.example.").await;
        }

        server.note(Err(&error), false, begun, Instant::now());

        assert_eq!(
            server.health().snapshot().state,
            expected,
            "{error}, answering: {is_answering}"
        );
    }
}

/// A client that asks for names that do not validate must not send others to a server that does not look.
#[tokio::test(start_paused = true)]
async fn the_refusal_to_give_a_forged_answer_does_not_make_a_server_slower() {
    let network = Network::of(1).warm().await;
    assert!(network.ask("www.example.").await.result.is_ok());
    let (server, now) = (network.known(0), Instant::now());
    let usual = server.latency().expected(now);

    for _ in 0..5 {
        server.note(Ok(Rcode::SERVFAIL), true, now, now);
    }
    assert_eq!(server.latency().expected(now), usual);
    network.ask("www.example.").await;
    for _ in 0..5 {
        server.note(Ok(Rcode::SERVFAIL), true, now, now);
    }
    assert_eq!(server.latency().expected(now), usual, "others are answered");
    for _ in 0..5 {
        server.note(Ok(Rcode::SERVFAIL), true, now, now);
    }
    assert!(server.latency().expected(now) > usual, "it gives nothing else");
}

/// The time until it takes connections is none in which it is silent.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_started_again_has_as_long_for_its_first_answers_as_for_others() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    network.ask_many(40, Duration::from_millis(10)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.reply(Reply::Never);
    let asked = [network.start("a.example."), network.start("b.example.")];
    tokio::time::sleep(Duration::from_millis(20)).await;

    server.door(Door::OpensAfter(Duration::from_millis(900)));
    server.answer_after(1300);
    server.close_connections();

    for one in asked {
        let asked = one.await.unwrap();
        assert!(asked.is_by(server), "{asked:?}");
    }
}
