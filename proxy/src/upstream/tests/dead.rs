//! Connections on which nothing comes any more, though the server lives: they are dead, or an answer sticks there.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn is_slow(query: &Query) -> bool {
    query.name.starts_with("slow")
}

/// Has a server give out of order what it is asked, and each fourth name be slow: it takes 900 ms.
async fn have_slow_names_as_a_rule(network: &Network) {
    let server = &network.servers[0];
    server.script(|query| {
        Reply::After(Duration::from_millis(if is_slow(query) { 900 } else { 5 }), 0)
    });
    let mut usual = Vec::new();
    for index in 0..64 {
        let word = if index % 4 == 0 { "slow" } else { "quick" };
        usual.push(network.start(format!("{word}{index}.example.")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for asked in futures::future::join_all(usual).await {
        assert!(asked.unwrap().result.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_on_a_dead_connection_of_the_only_server_is_answered_on_a_fresh_one() {
    for max in [1, 2] {
        let network = Network::with(1, 0, |upstream, _| upstream.connections.max = max);
        let network = network.warm().await;
        let [server] = &network.servers[..] else { unreachable!() };
        assert!(network.ask("before.example.").await.result.is_ok());
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.kill_connections();

        let asked = network.ask("www.example.").await;

        assert!(asked.is_by(server), "{asked:?}");
        assert!(asked.took < Duration::from_millis(250), "max {max}: {:?}", asked.took);
        assert_eq!(network.standing(0), Standing::Up, "max {max}");
    }
}

/// As where its answer is too large for a path that drops large packets: all that come after it wait behind it.
#[tokio::test(start_paused = true)]
async fn a_question_that_sticks_takes_no_other_with_it() {
    for (max, others) in [(2, 1), (2, 2), (2, 3), (2, 30), (8, 3), (8, 30)] {
        let network =
            Network::with(1, 0, |upstream, _| upstream.connections.max = max).warm().await;
        let server = &network.servers[0];
        server.script(|query| match query.name.starts_with("bad.") {
            true => Reply::Stuck,
            false => Reply::After(Duration::from_millis(5), 0),
        });
        for round in 0..3 {
            let bad = network.start(format!("bad.{round}.example."));
            tokio::time::sleep(Duration::from_millis(1)).await;
            let name = |it: u32| format!("{it}.{round}.example.");
            let others: Vec<_> = (0..others).map(|it| network.start(name(it))).collect();
            for asked in futures::future::join_all(others).await {
                let asked = asked.unwrap();
                assert!(asked.is_by(server), "{max} connections, round {round}: {asked:?}");
                let limit = Duration::from_secs(1);
                assert!(asked.took < limit, "{max} connections, round {round}: {asked:?}");
            }
            assert!(bad.await.unwrap().result.is_err());
        }
    }
}

/// As where a path has forgotten several connections: that the first one was replaced is no reason to wait for the second one.
#[tokio::test(start_paused = true)]
async fn a_question_whose_next_connection_is_dead_as_well_is_answered() {
    let network = Network::of(1).warm().await;
    let server = &network.servers[0];
    let times = AtomicUsize::new(0);
    server.script(move |query| {
        let is_dead = query.name.starts_with("bad") && times.fetch_add(1, Ordering::Relaxed) < 2;
        if is_dead { Reply::Stuck } else { Reply::After(Duration::from_millis(5), 0) }
    });

    let bad = network.start("bad.example.");
    for other in network.ask_many(400, Duration::from_millis(10)).await {
        assert!(other.is_by(server), "{other:?}");
    }

    let bad = bad.await.unwrap();
    assert!(bad.is_by(server) && bad.took < Duration::from_millis(3200), "{bad:?}");
}

/// As where a path has forgotten all of them. Names that are slow as a rule are no reason to wait as long for each.
#[tokio::test(start_paused = true)]
async fn where_all_connections_die_at_once_who_waits_is_answered_however_slow_names_are() {
    for max in [1, 2, 4] {
        let network = Network::with(1, 0, |upstream, _| {
            (upstream.connections.max, upstream.connections.max_in_flight) = (max, 32);
        });
        let network = network.warm().await;
        let server = &network.servers[0];
        server.script(|query| {
            Reply::After(Duration::from_millis(if is_slow(query) { 900 } else { 5 }), 0)
        });
        let mut before = Vec::new();
        for index in 0..32 * max {
            let word = if index % 2 == 0 { "slow" } else { "quick" };
            before.push(network.start(format!("{word}{index}.example.")));
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        for asked in futures::future::join_all(before).await {
            assert!(asked.unwrap().is_by(server));
        }
        assert_eq!(server.dials().len(), max);

        server.kill_connections();
        let mut after = Vec::new();
        for index in 0..60 {
            after.push(network.start(format!("{index}.after.example.")));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }

        for asked in futures::future::join_all(after).await {
            let asked = asked.unwrap();
            assert!(asked.is_by(server), "max {max}: {asked:?}");
            assert!(asked.took < Duration::from_millis(1600), "max {max}: {asked:?}");
        }
    }
}

/// A silence is suspect after a second there; to ask whether the connection lives takes no longer than usual.
#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_noticed_soon_where_names_are_slow_as_a_rule() {
    let network = Network::of(1).warm().await;
    have_slow_names_as_a_rule(&network).await;
    network.servers[0].kill_connections();

    let asked = network.ask("www.example.").await;

    assert!(asked.result.is_ok() && asked.took < Duration::from_millis(500), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_name_costs_one_look_at_each_connection_and_no_new_one() {
    let network = Network::of(1).warm().await;
    have_slow_names_as_a_rule(&network).await;
    let server = &network.servers[0];
    let (dials, probes) = (server.dials().len(), server.probed().len());

    for index in 0..5 {
        assert!(network.ask(format!("slow{index}.again.example.")).await.is_by(server));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    let looks = server.probed().len() - probes;
    assert!(server.dials().len() == dials && looks <= 5 * 2, "{looks} looks");
}

/// That it answers those who look whether its connection lives is no answer for those who wait.
#[tokio::test(start_paused = true)]
async fn one_that_answers_looks_alone_is_left_as_soon_as_one_that_is_silent() {
    let network = Network::of(2).warm().await;
    have_slow_names_as_a_rule(&network).await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.script(|query| match query.name == "." {
        true => Reply::After(Duration::from_millis(5), 0),
        false => Reply::Never,
    });

    let asked = network.ask("www.example.").await;

    assert!(asked.is_by(second) && asked.took < Duration::from_millis(1050), "{asked:?}");
}

/// Its time was over a moment before; the other one has no answer.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_back_when_all_have_had_their_time_is_asked_once_more() {
    let network = Network::with(2, 0, |upstream, _| {
        upstream.connect_timeout = Duration::from_secs(3);
    });
    let network = network.warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.kill_connections();
    first.door(Door::OpensAfter(Duration::from_millis(1950)));
    second.script(|query| match query.name == "." {
        true => Reply::After(Duration::from_millis(5), 0),
        false => Reply::Never,
    });

    let asked = network.ask("www.example.").await;

    assert!(asked.is_by(first) && asked.took < Duration::from_millis(2200), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_once_more_where_others_want_the_places() {
    let network = Network::with(2, 0, |upstream, route| {
        upstream.connect_timeout = Duration::from_secs(3);
        route.max_in_flight = 8;
    });
    let network = network.warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.kill_connections();
    first.door(Door::OpensAfter(Duration::from_millis(1950)));
    second.fall_silent();
    let places: Vec<_> =
        (0..6).map(|_| network.upstreams.routing.routes[0].enter().unwrap()).collect();

    let asked = network.ask("www.example.").await;

    assert!(asked.result.is_err(), "{} places: {asked:?}", places.len());
    assert!(asked.took < Duration::from_millis(2200), "{asked:?}");
}

/// Else the first ones would have to be told apart from what sticks again and again.
#[tokio::test(start_paused = true)]
async fn who_waited_longest_where_nothing_came_has_a_connection_of_its_own_next() {
    let network = Network::of(1).warm().await;
    let server = &network.servers[0];
    server.script(|query| match query.name.starts_with("bad.") {
        true => Reply::Stuck,
        false => Reply::After(Duration::from_millis(5), 0),
    });

    let _bad = network.start("bad.example.");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let others: Vec<_> = (0..3).map(|it| network.start(format!("{it}.example."))).collect();
    futures::future::join_all(others).await;

    let asked = server.asked();
    let last = |name: &str| asked.iter().rfind(|query| query.name == name).unwrap().connection;
    assert_ne!(last("bad.example."), last("0.example."), "{asked:?}");
    assert_eq!(asked.len(), 2 * 4, "each was asked once more: {asked:?}");
}

/// One that takes connections and is mute has no longer because questions go from one to the next.
#[tokio::test(start_paused = true)]
async fn with_many_connections_the_fallback_of_mute_servers_is_asked_in_time_as_well() {
    let network = Network::with(3, 1, |upstream, _| upstream.connections.max = 8).warm().await;
    let [spare] = &network.spares[..] else { unreachable!() };
    network.ask_many(10, Duration::from_millis(100)).await;
    network.servers.iter().for_each(LabServer::fall_silent);

    let mut asked = Vec::new();
    for index in 0..30 {
        asked.push(network.start(format!("{index}.example.")));
        tokio::time::sleep(Duration::from_millis(330)).await;
    }

    for asked in futures::future::join_all(asked).await {
        let asked = asked.unwrap();
        assert!(asked.is_by(spare) && asked.took < Duration::from_millis(2300), "{asked:?}");
    }
}

/// Whoever waits there is behind questions that were given up long ago, and whose answers still come: they are no sign that
/// one of those who wait will have theirs in time.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_questions_in_order_and_cannot_keep_up_still_answers_most() {
    let network = Network::with(1, 0, |upstream, _| upstream.connections.max = 1).warm().await;
    let server = &network.servers[0];
    server.answer_in_order();
    // A seventh more than it can do.
    server.script(|query| {
        Reply::After(Duration::from_millis(if is_slow(query) { 900 } else { 5 }), 0)
    });
    let mut asked = Vec::new();
    for index in 0..3000 {
        let word = if index % 50 == 0 { "slow" } else { "quick" };
        asked.push(network.start(format!("{word}{index}.example.")));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let mut answered = 0;
    for asked in futures::future::join_all(asked).await {
        answered += usize::from(asked.unwrap().result.is_ok());
    }
    assert!(answered >= 1500, "{answered} of 3000");
    assert!(server.dials().len() <= 60, "{} connections", server.dials().len());
}
