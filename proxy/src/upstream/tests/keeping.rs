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
