//! What arrives at once is answered at once, however much it is: nothing waits for the next query to come.

use std::collections::HashSet;

use dnsproxy_tests::{
    stage::Stage,
    wire::{Query, Reply, types},
};
use nix::sys::signal::Signal;

#[tokio::test]
async fn a_burst_that_was_there_before_the_worker_looked_is_answered_whole() {
    let stage = Stage::new().await;
    let socket = stage.client().socket().await;
    // One for each call with little room, with a whole batch, and then one that has all the room it needs.
    let queries: Vec<_> = (0..81).map(|_| Query::new("a.localhost", types::A)).collect();

    stage.proxy.stand_still().await;
    for query in &queries {
        socket.send(&query.encode()).await.unwrap();
    }
    stage.proxy.signal(Signal::SIGCONT);

    let mut answered = HashSet::new();
    for _ in &queries {
        answered.insert(Reply::parse(&socket.receive().await.unwrap()).unwrap().id);
    }
    let asked: HashSet<_> = queries.iter().map(|query| query.id).collect();
    assert_eq!(answered, asked);
}
