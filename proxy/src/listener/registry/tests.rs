//! Who gets a place, and who makes room for it.

use std::time::Duration;

use prometheus_client::registry::Registry;

use super::*;

fn connections() -> Arc<Connections> {
    let metrics = ListenerMetrics::register(&mut Registry::default());
    Connections::new(metrics, 1000, usize::MAX)
}

fn client(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

#[tokio::test(start_paused = true)]
async fn one_client_gets_no_more_than_its_share_and_others_still_do() {
    let connections = connections();
    let held: Vec<_> = (0..2).filter_map(|_| connections.admit(client(1), true, 10, 2)).collect();

    assert_eq!(held.len(), 2);
    assert!(connections.admit(client(1), true, 2, 2).is_none(), "its share is used up");
    assert!(!held.iter().any(Admission::is_evicted), "and none is taken from it");
    assert!(connections.admit(client(2), true, 10, 2).is_some(), "another client is not concerned");
    drop(held);
    assert!(
        connections.admit(client(1), true, 10, 2).is_some(),
        "closed connections count no more"
    );
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_is_idle_longest_makes_room() {
    let connections = connections();
    let idle_longest = connections.admit(client(1), true, 2, 9).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let idle = connections.admit(client(2), true, 2, 9).unwrap();

    let new = connections.admit(client(3), true, 2, 9);

    assert!(new.is_some());
    idle_longest.evicted().await;
    assert!(tokio::time::timeout(Duration::from_secs(9), idle.evicted()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_ask_makes_room_first_and_gets_none_made() {
    let connections = connections();
    let idle = connections.admit(client(1), true, 2, 9).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let unwelcome = connections.admit(client(2), false, 2, 9).unwrap();
    unwelcome.idle();

    assert!(connections.admit(client(3), false, 2, 9).is_none());
    assert!(connections.admit(client(4), true, 2, 9).is_some());
    assert!(unwelcome.is_evicted() && !idle.is_evicted());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_ask_makes_room_before_those_that_were_found_to_be_idle_already() {
    let connections = connections();
    let mut idle: Vec<_> =
        (0..3).map(|it| connections.admit(client(it), true, 3, 9).unwrap()).collect();
    let new = connections.admit(client(4), true, 3, 9).unwrap();
    idle.truncate(1);
    let unwelcome = connections.admit(client(5), false, 3, 9).unwrap();

    assert!(connections.admit(client(6), true, 2, 9).is_some());
    assert!(unwelcome.is_evicted() && !new.is_evicted());
}

#[tokio::test(start_paused = true)]
async fn many_new_connections_close_those_that_are_idle_longest_at_that_time() {
    let connections = connections();
    let admit = || connections.admit(client(1), true, 200, u32::MAX).unwrap();
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(admit());
        tokio::time::advance(Duration::from_micros(10)).await;
    }
    let evicted = |open: &[Admission]| -> Vec<usize> {
        (0..open.len()).filter(|number| open[*number].is_evicted()).collect()
    };

    open.push(admit());
    assert_eq!(evicted(&open), [0]);
    // What was found when the first was looked for is news no more.
    open[1].busy();
    open[2].busy();
    open[2].idle();
    open.remove(3);
    open.push(admit());
    open.extend((0..150).map(|_| admit()));
    let expected: Vec<usize> = [0].into_iter().chain(3..153).collect();
    assert_eq!(evicted(&open), expected, "not 1, which is busy, nor 2, which was");
}

#[tokio::test(start_paused = true)]
async fn a_moment_longer_is_longer() {
    let connections = connections();
    let mut open = Vec::new();
    for _ in 0..20 {
        open.extend(connections.admit(client(1), true, 20, 99));
        tokio::time::advance(Duration::from_micros(10)).await;
    }

    let new = connections.admit(client(2), true, 20, 99);
    let evicted: Vec<bool> = open.iter().map(Admission::is_evicted).collect();
    assert!(new.is_some() && evicted[0], "the first one: {evicted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_told_to_close_counts_until_it_has() {
    let connections = connections();
    let open = || connections.metrics.open();
    let told = connections.admit(client(1), true, 1, 9).unwrap();

    let new = connections.admit(client(2), true, 1, 9).unwrap();
    assert!(told.is_evicted() && !new.is_evicted());
    assert_eq!(open(), 2);
    drop(told);
    assert_eq!(open(), 1);
    let newer = connections.admit(client(3), true, 1, 9);
    assert!(new.is_evicted() && newer.is_some(), "its place was the only one");
}

#[tokio::test(start_paused = true)]
async fn those_that_were_told_to_close_are_no_endless_reserve() {
    let connections = connections();
    let held: Vec<_> =
        (0..1000).map_while(|_| connections.admit(client(1), true, 2, u32::MAX)).collect();

    assert_eq!(held.len(), 2 + MAX_LEAVING);
    drop(held);
    assert!(connections.admit(client(1), true, 2, u32::MAX).is_some());
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_than_the_process_can_have_open() {
    let connections = connections();
    let held: Vec<_> =
        (0..1001).map_while(|_| connections.admit(client(1), true, usize::MAX, u32::MAX)).collect();

    assert_eq!(held.len(), 1001);
    assert!(held[0].is_evicted(), "the first one makes room for the last");
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_host_is_one_client() {
    let connections = connections();
    let of = |address: &str| connections.admit(address.parse().unwrap(), true, 9, 1);
    let first = of("2001:db8::1");

    assert!(first.is_some());
    assert!(of("2001:db8::2").is_none(), "the same /64 (as for the rate limit)");
    assert!(of("2001:db8:0:1::1").is_some(), "another one");
}

#[tokio::test(start_paused = true)]
async fn connections_with_waiting_queries_are_never_closed_for_room() {
    let connections = connections();
    let busy = connections.admit(client(1), true, 1, 9).unwrap();
    busy.busy();

    assert!(connections.admit(client(2), true, 1, 9).is_none());
    busy.idle();
    assert!(connections.admit(client(2), true, 1, 9).is_none(), "not all are searched each time");
    tokio::time::advance(Duration::from_micros(SEARCH_PAUSE)).await;
    assert!(connections.admit(client(2), true, 1, 9).is_some());
}
