//! What is done for a route while nobody asks.

use super::*;

fn seconds(count: u64) -> tokio::time::Sleep {
    tokio::time::sleep(Duration::from_secs(count))
}

fn dials(network: &Network) -> Vec<usize> {
    network.servers.iter().map(|server| server.dials().len()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_route_connects_to_its_best_two_servers_before_anybody_asks() {
    let network = Network::with(3, 1, |_, _| {}).warm().await;
    assert_eq!(dials(&network), [1, 1, 0]);
    assert!(network.spares[0].dials().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_replaced_before_anybody_asks() {
    let network = Network::of(2).warm().await;
    network.servers[0].close_connections();
    seconds(1).await;

    assert_eq!(dials(&network), [2, 1]);
    assert!(network.servers[0].asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_is_replaced_among_those_that_are_connected_to() {
    let network = Network::of(3).warm().await;
    network.servers[0].door(Door::Refuses);
    network.servers[0].close_connections();
    seconds(1).await;

    assert_eq!(network.servers[2].dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn quiet_servers_are_probed_at_the_interval_and_so_stay_connected() {
    let network = Network::of(2).warm().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(300) {
        assert!(network.ask("www.example.").await.is_by(&network.servers[0]));
        seconds(30).await;
    }

    assert_eq!(dials(&network), [1, 1]);
    for server in &network.servers {
        let probes = server.probed().len();
        assert!((50..=60).contains(&probes), "{probes} probes in five minutes");
    }
}

/// As dnsdist does with questions that it drops. Nobody doubts the server, so what becomes of a check that is only to be timed says
/// nothing.
#[tokio::test(start_paused = true)]
async fn a_server_that_closes_the_connection_at_its_first_check_stays_well_and_connected() {
    let network = Network::of(1);
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(|query| match query.name.ends_with(".example.") {
        true => Reply::After(Duration::from_millis(5), 0),
        false => Reply::Close,
    });
    let network = network.warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    seconds(3).await;

    let probes = server.probed().len();
    assert!(
        (1..=3).contains(&probes),
        "{probes}: a question whose connection is closed is asked again"
    );
    assert_eq!(network.standing(0), Standing::Up);
    let asked = network.ask("www.example.").await;
    assert_eq!((asked.result.is_ok(), asked.took), (true, Duration::from_millis(5)));
}

/// Some servers never answer it, and the check may have to wait as long as any question.
#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_while_the_first_check_is_waited_for_is_left_as_soon_as_any() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(|query| match query.name.ends_with(".example.") {
        true => Reply::After(Duration::from_millis(5), 0),
        false => Reply::Never,
    });
    while server.probed().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    server.kill_connections();
    server.answer_after(5);
    let asked = network.ask("www.example.").await;

    assert!(asked.result.is_ok() && asked.took < Duration::from_millis(200), "{asked:?}");
}

/// Few servers tell how long they keep what is idle (RFC 7828); it is learnt from what they do.
#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_alive_where_the_server_closes_those_that_are_idle() {
    for idle in [2, 3, 4] {
        let network = Network::of(2);
        let closes = |server: &LabServer| server.close_when_idle_for(Duration::from_secs(idle));
        network.servers.iter().for_each(closes);
        let network = network.warm().await;
        network.ask_many(20, Duration::from_secs(15)).await;

        let dials = dials(&network);
        assert!(dials.iter().all(|dials| *dials <= 4), "closed after {idle} s: {dials:?}");
    }
}

/// A server that has no connections to spare tells us so (RFC 7828 section 3.2.2).
#[tokio::test(start_paused = true)]
async fn what_may_be_idle_for_a_moment_only_is_closed_and_not_made_again_before_somebody_asks() {
    for (why, units, idle_timeout) in [
        ("granted", 3, Duration::from_secs(30)),
        ("not even that", 0, Duration::from_secs(30)),
        ("set", 300, Duration::from_secs(1)),
    ] {
        let set =
            |upstream: &mut UpstreamSettings| upstream.connections.idle_timeout = idle_timeout;
        let network = Network::with(1, 0, |upstream, _| set(upstream));
        let [server] = &network.servers[..] else { unreachable!() };
        server.grant(units);
        assert!(network.ask("www.example.").await.result.is_ok());
        seconds(5).await;
        let before = (server.dials().len(), server.probed().len());
        seconds(50).await;

        let after = (server.dials().len(), server.probed().len());
        assert_eq!(after, before, "{why}: dials and probes");
        assert!(after.0 <= 2 && after.1 <= 1, "{why}: {after:?}");
        assert!(network.ask("again.example.").await.result.is_ok(), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fast_server_that_spares_its_connections_is_asked_first_all_the_same() {
    let network = Network::with(2, 0, |_, route| route.policy = Policy::Fastest).warm().await;
    let [fast, slow] = &network.servers[..] else { unreachable!() };
    fast.grant(0);
    slow.answer_after(100);
    network.ask_many(100, Duration::from_secs(1)).await;

    let asked = network.ask_many(100, Duration::from_secs(1)).await;

    let by_fast = asked.iter().filter(|asked| asked.is_by(fast)).count();
    assert!(by_fast >= 90, "{by_fast} of 100");
}

#[tokio::test(start_paused = true)]
async fn the_last_idle_time_that_a_server_grants_is_the_one_that_holds() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    for units in [3, 300] {
        server.grant(units);
        assert!(network.ask(&format!("{units}.example.")).await.result.is_ok());
    }
    let dials = server.dials().len();
    seconds(50).await;

    assert_eq!(server.dials().len(), dials, "it is kept");
    let probes = server.probed().len();
    assert!((8..=12).contains(&probes), "{probes} probes");
}

#[tokio::test(start_paused = true)]
async fn the_others_are_not_kept_once_it_is_known_how_fast_they_are() {
    let network = Network::with(6, 0, |_, route| route.policy = Policy::Fastest).warm().await;
    for (index, server) in network.servers.iter().enumerate() {
        server.answer_after(if index < 2 { 5 } else { 50 });
    }
    network.ask_many(300, Duration::from_secs(1)).await;

    for slow in &network.servers[2..] {
        let probes = slow.probed().len();
        assert!(probes <= 15, "{probes} probes in five minutes, where the best are kept with 50");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_for_a_route_that_nobody_has_asked_for_a_minute() {
    let network = Network::of(2).warm().await;
    assert!(network.ask("www.example.").await.result.is_ok());
    seconds(66).await;
    let before = dials(&network);
    let probes = |server: &LabServer| server.probed().len();
    let probed: usize = network.servers.iter().map(probes).sum();

    network.servers.iter().for_each(LabServer::close_connections);
    seconds(3600).await;

    assert_eq!(dials(&network), before);
    assert_eq!(network.servers.iter().map(probes).sum::<usize>(), probed);

    assert!(network.ask("again.example.").await.result.is_ok());
    seconds(1).await;
    assert_eq!(dials(&network), [before[0] + 1, before[1] + 1], "it is used again");
}

#[tokio::test(start_paused = true)]
async fn who_is_no_longer_wanted_is_left_alone() {
    let Network { upstreams, servers, .. } = Network::of(2).warm().await;
    drop(upstreams);
    servers.iter().for_each(LabServer::close_connections);
    seconds(60).await;

    assert!(servers.iter().all(|server| server.dials().len() == 1));
}

/// However many names keep a connection that is to be closed: each question after them would have had one more.
#[tokio::test(start_paused = true)]
async fn a_server_that_wants_every_connection_closed_has_no_more_for_names_that_are_never_answered()
{
    for max in [1, 2, 4] {
        let network = Network::with(1, 0, |upstream, _| upstream.connections.max = max);
        let network = network.warm().await;
        let [server] = &network.servers[..] else { unreachable!() };
        server.script(|query| match query.name.starts_with("never") {
            true => Reply::Never,
            false => Reply::After(Duration::from_millis(5), 0),
        });
        server.grant(0);

        for index in 0..100 {
            drop(network.start(format!("never{index}.example.")));
            for asked in network.ask_many(2, Duration::from_millis(10)).await {
                assert!(asked.result.is_ok(), "max {max}: {asked:?}");
            }
            // Until nothing has come for long.
            tokio::time::sleep(Duration::from_millis(150)).await;
            let open = network.known(0).series().connections.get();
            assert!(open <= i64::try_from(max).unwrap(), "max {max}: {open} are open");
        }
        assert!(server.dials().len() < 200, "max {max}: {}", server.dials().len());
    }
}

/// Its connections are silent between the quick ones, and alive: with them the slow ones would go.
#[tokio::test(start_paused = true)]
async fn slow_names_come_to_their_end_where_a_server_wants_every_connection_closed() {
    for (max, pause) in [(1, 300), (2, 120)] {
        let network = Network::with(1, 0, |upstream, _| upstream.connections.max = max);
        let network = network.warm().await;
        let [server] = &network.servers[..] else { unreachable!() };
        server.script(|query| {
            let millis = if query.name.starts_with("slow") { 1800 } else { 5 };
            Reply::After(Duration::from_millis(millis), 0)
        });
        network.ask_many(40, Duration::from_millis(10)).await;
        server.grant(0);

        let mut slow = Vec::new();
        for index in 0..6 {
            slow.push(network.start(format!("slow{index}.example.")));
            network.ask_many(5, Duration::from_millis(pause)).await;
        }

        for one in slow {
            let asked = one.await.unwrap();
            let is_in_time = asked.took < Duration::from_secs(2);
            assert!(asked.is_by(server) && is_in_time, "max {max}: {asked:?}");
        }
    }
}
