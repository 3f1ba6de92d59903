//! A second question for a faster answer: after a delay that follows from the usual, and within a budget.

use super::*;

fn count(network: &Network, what: &str) -> u64 {
    let text = metrics_text(network.metrics.clone());
    let line = format!("dnsproxy_upstream_{what}{{upstream=\"lab\"}} ");
    text.lines().find_map(|it| it.strip_prefix(&line)).unwrap().parse().unwrap()
}

/// Names that begin with `late` take 80 ms at the first server: not yet a silence.
fn have_late_names(network: &Network) {
    network.servers[0].script(|query| {
        Reply::After(Duration::from_millis(if query.name.starts_with("late") { 80 } else { 5 }), 0)
    });
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_asked_for_elsewhere_once_the_usual_is_known() {
    let network = Network::of(2).warm().await;
    have_late_names(&network);
    let late = network.ask("late-too-early.example.").await;
    assert!(late.is_by(&network.servers[0]), "nothing is known yet: {late:?}");
    network.ask_many(40, Duration::from_millis(10)).await;

    let late = network.ask("late.example.").await;

    assert!(late.is_by(&network.servers[1]), "{late:?}");
    assert!(late.took >= Duration::from_millis(10 + 5), "{:?}", late.took);
    assert!(late.took < Duration::from_millis(20), "{:?}", late.took);
    assert_eq!((count(&network, "hedges_total"), count(&network, "hedges_won_total")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_wins_whoever_gives_it() {
    let network = Network::of(2).warm().await;
    have_late_names(&network);
    network.servers[1].answer_after(90);
    network.ask_many(40, Duration::from_millis(10)).await;

    let late = network.ask("late.example.").await;

    assert!(late.is_by(&network.servers[0]), "{late:?}");
    assert_eq!((count(&network, "hedges_total"), count(&network, "hedges_won_total")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_one_query_in_twenty_is_hedged() {
    let network = Network::of(2).warm().await;
    have_late_names(&network);
    network.ask_many(40, Duration::from_millis(10)).await;

    for index in 0..960 {
        let word = if index % 10 == 0 { "late" } else { "usual" };
        network.ask(format!("{word}{index}.example.")).await;
    }

    let hedges = count(&network, "hedges_total");
    assert!((20..=50).contains(&hedges), "{hedges} hedges of 1,000");
}

#[tokio::test(start_paused = true)]
async fn a_server_alone_or_one_that_nobody_is_connected_to_is_no_hedge() {
    let alone = Network::of(1).warm().await;
    let cold = Network::of(2);
    cold.servers[1].door(Door::Hangs);
    for network in [alone, cold.warm().await] {
        have_late_names(&network);
        network.ask_many(40, Duration::from_millis(10)).await;

        let late = network.ask("late.example.").await;

        assert!(late.is_by(&network.servers[0]), "{late:?}");
        assert_eq!(count(&network, "hedges_total"), 0);
    }
}

/// Else nobody would notice before the time of its questions is over that a connection is dead.
#[tokio::test(start_paused = true)]
async fn a_silence_is_noticed_in_time_where_answers_are_late_only_after_it() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(|query| {
        Reply::After(Duration::from_millis(if query.name.starts_with('1') { 1700 } else { 5 }), 0)
    });
    let usual: Vec<_> = (0..64).map(|it| network.start(format!("{it}.example."))).collect();
    for one in usual {
        assert!(one.await.unwrap().is_by(server));
    }
    server.answer_after(5);
    server.close_connections();
    // Until there is another one, and nobody looks after the server any more.
    tokio::time::sleep(Duration::from_secs(4)).await;

    server.kill_connections();
    let asked = network.ask("www.example.").await;

    assert!(asked.is_by(server) && asked.took < Duration::from_millis(1200), "{asked:?}");
}

/// One server more would be asked for nothing.
#[tokio::test(start_paused = true)]
async fn a_silence_that_is_left_at_the_same_time_is_no_reason_for_a_hedge() {
    let network = Network::of(3).warm().await;
    let [first, second, third] = &network.servers[..] else { unreachable!() };
    first.script(|query| {
        Reply::After(Duration::from_millis(if query.name.starts_with('1') { 1700 } else { 5 }), 0)
    });
    for other in [second, third] {
        other.door(Door::Refuses);
        other.close_connections();
    }
    // Where they come in order, nobody looks before whether the connection lives.
    first.answer_in_order();
    for index in 0..64 {
        assert!(network.ask(format!("{index}.example.")).await.is_by(first));
    }
    for other in [second, third] {
        other.door(Door::OpensAfter(Duration::from_millis(1)));
    }
    for index in 0..40 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        network.ask(format!("until-all-are-back{index}.example.")).await;
    }
    assert_eq!([0, 1, 2].map(|index| network.standing(index)), [Standing::Up; 3]);
    let before = count(&network, "hedges_total");
    first.kill_connections();

    let asked = network.ask("www.example.").await;

    assert!(asked.is_by(second), "{asked:?}");
    assert_eq!((count(&network, "hedges_total"), third.asked().len()), (before, 0));
}
