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
