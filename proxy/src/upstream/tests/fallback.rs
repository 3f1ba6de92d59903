//! When the fallback is asked: for servers that cannot be reached, and never for a name that is slow.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_slow_name_sends_nobody_to_the_fallback_before_its_time_is_over() {
    let network = Network::with(2, 1, |_, _| {}).warm().await;
    let [spare] = &network.spares[..] else { unreachable!() };
    for server in &network.servers {
        server.script(|query| match query.name.starts_with("slow") {
            true => Reply::Never,
            false => Reply::After(Duration::from_millis(5), 0),
        });
    }

    let slow: Vec<_> = (0..5).map(|it| network.start(format!("slow{it}.example."))).collect();
    for other in network.ask_many(150, Duration::from_millis(7)).await {
        assert!(other.result.is_ok(), "{other:?}");
    }
    assert!(spare.asked().is_empty(), "{:?}", spare.asked());

    for slow in slow {
        let slow = slow.await.unwrap();
        assert!(slow.took >= Duration::from_secs(2), "{slow:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_name_alone_sends_nobody_to_the_fallback_before_its_time_is_over() {
    let network = Network::with(1, 1, |_, _| {}).warm().await;
    let [spare] = &network.spares[..] else { unreachable!() };
    network.servers[0].script(|query| match query.name.starts_with("slow") {
        true => Reply::Never,
        false => Reply::After(Duration::from_millis(5), 0),
    });

    let slow: Vec<_> = (0..5).map(|it| network.start(format!("slow{it}.example."))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let other = network.start("slow-too.example.");
    tokio::time::sleep(Duration::from_millis(1600)).await;

    assert!(spare.asked().is_empty(), "{:?}", spare.asked());
    for slow in slow.into_iter().chain([other]) {
        let slow = slow.await.unwrap();
        assert!(slow.is_by(spare) && slow.took >= Duration::from_secs(2), "{slow:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_fallback_is_asked_while_no_server_can_be_reached_and_no_longer() {
    for (why, door) in [("refused", Door::Refuses), ("no way there", Door::Hangs)] {
        let network = Network::with(2, 1, |_, _| {});
        let ([first, second], [spare]) = (&network.servers[..], &network.spares[..]) else {
            unreachable!()
        };
        first.door(door);
        second.door(door);

        assert!(network.ask("first.example.").await.is_by(spare), "{why}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        for asked in network.ask_many(50, Duration::from_millis(200)).await {
            assert!(
                asked.is_by(spare) && asked.took < Duration::from_millis(20),
                "{why}: {asked:?}"
            );
        }

        first.door(Door::OpensAfter(Duration::from_millis(1)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        network.ask("look.example.").await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert!(network.ask("back.example.").await.is_by(first), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_fallback_is_asked_while_all_servers_are_silent_for_good() {
    let network = Network::with(1, 1, |_, _| {}).warm().await;
    let [spare] = &network.spares[..] else { unreachable!() };
    network.servers[0].fall_silent();

    let first = network.ask("first.example.").await;
    assert!(first.is_by(spare) && first.took < Duration::from_millis(2050), "{first:?}");
    network.ask_many(100, Duration::from_millis(100)).await;

    let later = network.ask("later.example.").await;
    assert!(later.is_by(spare) && later.took < Duration::from_millis(20), "{later:?}");
}
