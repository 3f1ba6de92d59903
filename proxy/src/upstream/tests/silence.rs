//! A server that says nothing: nobody waits for it, and nobody is misled by a slow name.

use super::*;

/// How long a silence is no reason for anything, with some time for an answer after it.
const PATIENCE: Duration = Duration::from_millis(125);

/// The usual time of an answer, with some room.
const AT_ONCE: Duration = Duration::from_millis(20);

fn is_slow(query: &Query) -> bool {
    query.name.starts_with("slow")
}

/// Names that begin with `slow` take 1.5 s.
fn have_slow_names(servers: &[LabServer]) {
    for server in servers {
        server.script(|query| {
            Reply::After(Duration::from_millis(if is_slow(query) { 1500 } else { 5 }), 0)
        });
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_silent_server_is_answered_by_the_next_one_and_those_after_at_once() {
    let network = Network::of(2).warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    assert!(network.ask("before.example.").await.is_by(first));
    first.fall_silent();

    let moved = network.ask("moved.example.").await;
    assert!(moved.is_by(second), "{moved:?}");
    assert!(moved.took >= Duration::from_millis(100), "{:?}", moved.took);
    assert!(moved.took < PATIENCE, "{:?}", moved.took);

    for later in network.ask_many(50, Duration::from_millis(20)).await {
        assert!(later.is_by(second) && later.took < AT_ONCE, "{later:?}");
    }
    let probe = first.probed().pop().unwrap();
    assert!(probe.connection > 0, "on a new connection: {probe:?}");
    assert_eq!(network.standing(0), Standing::Doubtful, "until it answers");

    first.answer_after(5);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let back = network.ask("back.example.").await;
    assert!(back.is_by(first) && back.took < AT_ONCE, "{back:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_right_after_an_answer_is_as_silent_as_any() {
    let network = Network::of(2).warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.script(|query| {
        if is_slow(query) { Reply::Never } else { Reply::After(Duration::from_millis(5), 0) }
    });
    let before = network.start("before.example.");
    tokio::time::sleep(Duration::from_millis(3)).await;
    let moved = network.start("slow.example.");
    assert!(before.await.unwrap().is_by(first), "after the other one was asked");
    first.fall_silent();

    let moved = moved.await.unwrap();

    assert!(moved.is_by(second) && moved.took < PATIENCE, "{moved:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_name_among_others_moves_nothing_and_counts_against_nobody() {
    let network = Network::of(2).warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    have_slow_names(&network.servers);
    let dials = first.dials().len();

    let slow = network.start("slow.example.");
    for other in network.ask_many(100, Duration::from_millis(20)).await {
        assert!(other.is_by(first) && other.took < AT_ONCE, "{other:?}");
        assert_eq!(network.standing(0), Standing::Up);
    }

    let slow = slow.await.unwrap();
    assert!(slow.is_by(first) && slow.took < Duration::from_millis(1550), "{slow:?}");
    assert_eq!((first.dials().len(), second.asked().len()), (dials, 0));
}

#[tokio::test(start_paused = true)]
async fn slow_names_in_a_quiet_hour_do_not_break_each_other() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    have_slow_names(&network.servers);

    let mut waiting = Vec::new();
    for index in 0..8 {
        waiting.push(network.start(format!("slow{index}.example.")));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    for slow in waiting {
        let slow = slow.await.unwrap();
        assert!(slow.result.is_ok() && slow.took < Duration::from_millis(1550), "{slow:?}");
    }
    assert_eq!(server.asked().len(), 8, "a connection that is alive is not replaced");
    assert!(server.dials().len() <= 2, "{} connections", server.dials().len());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_takes_longer_than_a_server_has_is_waited_for_where_nobody_else_is_left() {
    for count in [1, 2, 3] {
        let network = Network::of(count).warm().await;
        for server in &network.servers {
            server.script(|query| {
                Reply::After(Duration::from_millis(if is_slow(query) { 2500 } else { 5 }), 0)
            });
        }

        let slow = network.ask("slow.example.").await;

        assert!(slow.result.is_ok(), "{count} servers: {slow:?}");
        assert!(slow.took < Duration::from_millis(2900), "{count} servers: {slow:?}");
        let asked = network.servers.iter().map(|server| server.asked().len());
        assert!(asked.clone().all(|times| times <= 2), "{:?}", asked.collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_answers_fails_at_the_deadline_and_a_dead_server_before_it() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(|query| {
        if is_slow(query) { Reply::Never } else { Reply::After(Duration::from_millis(5), 0) }
    });
    let slow = network.ask("slow.example.").await;
    let failure = slow.result.as_ref().unwrap_err();
    let [Attempt { error, .. }] = &failure.attempts[..] else { unreachable!("{failure:?}") };
    assert!(matches!(error, ExchangeError::Timeout(time) if *time == slow.took), "{error:?}");
    assert!(slow.took > Duration::from_millis(2900), "{slow:?}");

    server.fall_silent();
    let dead = network.ask("dead.example.").await;
    assert!(dead.took < Duration::from_millis(2250), "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_on_for_a_slow_answer_with_a_bad_one_in_hand() {
    let network = Network::of(2).warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.script(|query| {
        if is_slow(query) { Reply::Never } else { Reply::After(Duration::from_millis(5), 0) }
    });
    second.script(|query| match is_slow(query) {
        true => Reply::After(Duration::from_millis(2000), 2),
        false => Reply::After(Duration::from_millis(5), 0),
    });

    let slow = network.ask("slow.example.").await;

    assert!(slow.result.is_ok() && slow.took < Duration::from_millis(2200), "{slow:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_down_is_nobody_who_is_left() {
    let network = Network::of(2).warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    second.door(Door::Refuses);
    second.close_connections();
    first.script(|query| {
        Reply::After(Duration::from_millis(if is_slow(query) { 2500 } else { 5 }), 0)
    });
    network.ask_many(50, Duration::from_millis(100)).await;

    let slow = network.start("slow.example.");
    network.ask_many(60, Duration::from_millis(50)).await;

    let slow = slow.await.unwrap();
    assert!(slow.is_by(first) && slow.took < Duration::from_millis(2700), "{slow:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_names_are_not_waited_for_where_their_places_are_wanted() {
    let network = Network::with(1, 0, |_, route| route.max_in_flight = 8).warm().await;
    network.servers[0].script(|query| {
        if is_slow(query) { Reply::Never } else { Reply::After(Duration::from_millis(5), 0) }
    });
    for (count, least, most) in [(2, 3900, 4100), (6, 1900, 2200)] {
        let places: Vec<_> =
            (0..count).map(|_| network.upstreams.routing.routes[0].enter().unwrap()).collect();
        let slow = network.ask("slow.example.").await;
        let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
        assert!(least <= slow.took && slow.took <= most, "{} places: {slow:?}", places.len());
    }
}

#[tokio::test(start_paused = true)]
async fn broken_names_do_not_take_a_server_out() {
    let network = Network::of(2).warm().await;
    for server in &network.servers {
        server.script(|query| match is_slow(query) {
            true => Reply::Never,
            false => Reply::After(Duration::from_millis(5), 0),
        });
    }

    let mut broken = Vec::new();
    for index in 0..100 {
        broken.push(network.start(format!("slow{index}.example.")));
        tokio::time::sleep(Duration::from_millis(50)).await;
        for server in 0..2 {
            assert!(network.standing(server) <= Standing::Doubtful, "server {server} at {index}");
        }
    }
    let good = network.ask("good.example.").await;
    assert!(good.result.is_ok() && good.took < AT_ONCE, "{good:?}");

    for broken in broken {
        let broken = broken.await.unwrap();
        assert!(broken.took >= Duration::from_secs(2), "its own time is not cut: {broken:?}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!([network.standing(0), network.standing(1)], [Standing::Up; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_name_without_an_answer_has_its_time_limit_however_much_else_is_answered() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(|query| {
        if is_slow(query) { Reply::Never } else { Reply::After(Duration::from_millis(5), 0) }
    });

    let slow = network.start("slow.example.");
    network.ask_many(200, Duration::from_millis(20)).await;

    let slow = slow.await.unwrap();
    assert!(slow.result.is_err() && slow.took < Duration::from_millis(4010), "{slow:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silence_of_a_server_that_usually_takes_long_is_noticed_while_there_is_time_left() {
    let network = Network::of(2).warm().await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.answer_after(950);
    second.answer_after(5000);
    let usual: Vec<_> = (0..64).map(|it| network.start(format!("{it}.example."))).collect();
    for one in usual {
        assert!(one.await.unwrap().is_by(first));
    }

    first.fall_silent();
    second.answer_after(5);
    let asked = network.ask("www.example.").await;

    assert!(asked.is_by(second) && asked.took < Duration::from_millis(1200), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_a_thousand_queries_share_counts_once() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.fall_silent();
    let waiting: Vec<_> = (0..1000).map(|it| network.start(format!("{it}.example."))).collect();
    for one in waiting {
        assert!(one.await.unwrap().result.is_err());
    }

    assert_eq!(network.known(0).health().snapshot().state, State::Suspect, "and not unhealthy");
}

/// Such as CoreDNS. That a question was asked once more shows whether its connection was dead; to end that one as well would
/// have the server begin anew each time.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_questions_in_order_comes_to_the_end_of_slow_ones() {
    for (max, slow_for) in [(2, 800), (2, 1900), (8, 1500)] {
        let network =
            Network::with(1, 0, |upstream, _| upstream.connections.max = max).warm().await;
        let server = &network.servers[0];
        server.answer_in_order();
        server.script(move |query| {
            Reply::After(Duration::from_millis(if is_slow(query) { slow_for } else { 2 }), 0)
        });

        let (mut slow, mut others) = (Vec::new(), Vec::new());
        for round in 0..10 {
            slow.push(network.start(format!("slow.{round}.example.")));
            for other in 0..200 {
                others.push(network.start(format!("{other}.{round}.example.")));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }

        let why = format!("{max} connections, {slow_for} ms");
        for slow in futures::future::join_all(slow).await {
            let slow = slow.unwrap();
            assert!(slow.result.is_ok(), "{why}: {slow:?}");
            assert!(slow.took < Duration::from_millis(slow_for + 200), "{why}: {slow:?}");
        }
        for other in futures::future::join_all(others).await {
            let other = other.unwrap();
            assert!(other.result.is_ok(), "{why}: {other:?}");
            assert!(other.took < Duration::from_millis(200), "{why}: {other:?}");
        }
        let asked = server.asked().iter().filter(|query| is_slow(query)).count();
        assert!(asked <= 2 * 10, "{why}: {asked}");
    }
}

/// To look after it costs it the time for another question.
#[tokio::test(start_paused = true)]
async fn a_server_that_always_takes_more_than_half_of_the_time_is_not_taken_for_silent() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.answer_after(1300);
    let usual: Vec<_> = (0..96).map(|it| network.start(format!("{it}.example."))).collect();
    for one in usual {
        assert!(one.await.unwrap().is_by(server));
    }
    server.answer_in_order();
    tokio::time::sleep(Duration::from_secs(5)).await;

    for index in 0..10 {
        let asked = network.ask(format!("www{index}.example.")).await;
        assert!(asked.is_by(server), "{asked:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// It has longer than a server has for an answer by default; nobody else is left.
#[tokio::test(start_paused = true)]
async fn a_name_that_takes_longer_than_a_server_has_is_answered_in_order_as_well() {
    for max in [2, 4, 8] {
        let network =
            Network::with(1, 0, |upstream, _| upstream.connections.max = max).warm().await;
        let server = &network.servers[0];
        server.answer_in_order();
        server.script(|query| {
            Reply::After(Duration::from_millis(if is_slow(query) { 2500 } else { 5 }), 0)
        });

        let (mut slow, mut others) = (Vec::new(), Vec::new());
        for round in 0..5 {
            slow.push(network.start(format!("slow.{round}.example.")));
            for other in 0..400 {
                others.push(network.start(format!("{other}.{round}.example.")));
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }

        for slow in futures::future::join_all(slow).await {
            let slow = slow.unwrap();
            assert!(slow.result.is_ok(), "max {max}: {slow:?}");
            assert!(slow.took < Duration::from_millis(2900), "max {max}: {slow:?}");
        }
        for other in futures::future::join_all(others).await {
            let other = other.unwrap();
            assert!(other.result.is_ok(), "max {max}: {other:?}");
        }
    }
}
