//! Which server is asked first, by policy and by standing.

use super::*;
use crate::upstream::pool::Wanted;

const POLICIES: [Policy; 4] =
    [Policy::Fastest, Policy::Sequential, Policy::RoundRobin, Policy::Random];

fn by(servers: u8, policy: Policy) -> Network {
    Network::with(servers, 0, |_, route| route.policy = policy)
}

fn shares(network: &Network, asked: &[Asked]) -> Vec<usize> {
    let by = |server| asked.iter().filter(|asked| asked.is_by(server)).count();
    network.servers.iter().map(by).collect()
}

#[tokio::test(start_paused = true)]
async fn fastest_asks_the_faster_one_and_finds_out_when_another_one_becomes_faster() {
    let network = by(2, Policy::Fastest).warm().await;
    network.servers[0].answer_after(60);
    let pause = Duration::from_millis(100);
    let shares_now = async || shares(&network, &network.ask_many(300, pause).await);
    assert!(shares_now().await[1] > 280);

    network.servers[0].answer_after(5);
    network.servers[1].answer_after(60);
    shares_now().await;

    assert!(shares_now().await[0] > 280);
}

#[tokio::test(start_paused = true)]
async fn fastest_finds_a_faster_one_that_nobody_is_connected_to() {
    let network = by(4, Policy::Fastest);
    network.servers.iter().for_each(|server| server.answer_after(60));
    network.servers[3].answer_after(5);
    let pause = Duration::from_millis(100);
    network.ask_many(600, pause).await;

    let shares = shares(&network, &network.ask_many(100, pause).await);

    assert!(shares[3] > 90, "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn fastest_uses_a_server_again_that_has_recovered() {
    let network = by(2, Policy::Fastest).warm().await;
    network.servers[1].answer_after(60);
    let pause = Duration::from_millis(100);
    network.servers[0].door(Door::Refuses);
    network.servers[0].close_connections();
    let away = network.ask_many(600, pause).await;
    assert_eq!(shares(&network, &away), [0, 600]);

    network.servers[0].door(Door::OpensAfter(Duration::from_millis(1)));
    network.ask_many(600, pause).await;

    let shares = shares(&network, &network.ask_many(100, pause).await);
    assert!(shares[0] > 90, "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn each_policy_spreads_questions_in_its_own_way() {
    for policy in POLICIES {
        let network = by(3, policy).warm().await;
        let shares = shares(&network, &network.ask_many(300, Duration::from_millis(1)).await);
        let is_as_it_should = match policy {
            Policy::Sequential => shares == [300, 0, 0],
            Policy::RoundRobin => shares == [100, 100, 100],
            // A share of less than 50 is rarer than one in 10^10.
            Policy::Random => shares.iter().all(|share| *share > 50),
            Policy::Fastest => shares.iter().sum::<usize>() == 300,
        };
        assert!(is_as_it_should, "{policy:?}: {shares:?}");
    }
}

/// What happens to the first server.
type Event = fn(&Network);

#[tokio::test(start_paused = true)]
async fn servers_in_doubt_come_after_the_others_and_those_that_lead_back_never() {
    let cases: [(&str, Event); 3] = [
        ("silent", |network| network.known(0).suspect()),
        ("failed", |network| {
            let (refused, now) = (ExchangeError::Refused, Instant::now());
            network.known(0).health().failed(&refused, now, now);
        }),
        ("leads back", |network| network.known(0).take_out(Instant::now())),
    ];

    for policy in POLICIES {
        for (why, happen) in &cases {
            let network = by(3, policy).warm().await;
            happen(&network);
            let names = (0..20).map(|it| network.start(format!("{it}.example.")));
            let asked = futures::future::join_all(names).await;
            let asked: Vec<_> = asked.into_iter().map(Result::unwrap).collect();

            let shares = shares(&network, &asked);
            assert_eq!((shares[0], shares[1] + shares[2]), (0, 20), "{policy:?}, {why}");

            // Those that are in doubt are better than none; nobody waits for those that failed.
            network.servers[1..]
                .iter()
                .for_each(|server| server.reply(Reply::After(Duration::ZERO, 2)));
            let last = network.ask("last.example.").await;
            let is_asked = *why == "silent";
            assert_eq!(last.is_by(&network.servers[0]), is_asked, "{policy:?}, {why}: {last:?}");
        }
    }
}

/// As after an answer that was cut: the next questions go by datagrams all the same.
#[tokio::test(start_paused = true)]
async fn a_connection_to_a_server_that_is_asked_by_datagrams_says_nothing_about_it() {
    let network = Network::with(2, 0, |upstream, route| {
        upstream.transport = Transport::Udp;
        route.policy = Policy::Fastest;
    });
    let (slow, open) = (network.known(0), network.known(1));
    network.servers[0].door(Door::Hangs);
    for server in [slow, open] {
        server.connection(Wanted::Best, Instant::now()).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;

    let now = Instant::now();
    assert!(open.pool().is_warm(now) && !slow.pool().is_warm(now));
    let order = network.upstreams.routing.routes[0].order(now);
    let addresses: Vec<_> = order.iter().map(|server| server.address()).collect();
    assert_eq!(addresses, network.servers.iter().map(|it| it.address).collect::<Vec<_>>());
    assert_eq!(slow.standing(now), Standing::Up);
    let later = now + Duration::from_secs(3600);
    assert!(!open.is_doubtful(later) && !open.is_quiet(later));
}
