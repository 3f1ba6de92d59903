//! Servers behind something that takes their connections while they are away, and closes them: a proxy that speaks TLS for them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_is_started_again_behind_one_that_closes_its_connections_loses_no_query() {
    for away in [40, 300, 1500].map(Duration::from_millis) {
        for pause in [2, 20, 200].map(Duration::from_millis) {
            let network = Network::of(1).warm().await;
            let [server] = &network.servers[..] else { unreachable!() };
            go_away(&network).await;
            let gone = Instant::now();
            let mut waiting = Vec::new();
            while gone.elapsed() < away {
                waiting.push(network.start(format!("{}.example.", waiting.len())));
                tokio::time::sleep(pause).await;
            }
            server.answer_after(5);

            for asked in futures::future::join_all(waiting).await {
                let asked = asked.unwrap();
                assert!(asked.result.is_ok(), "{away:?}, {pause:?}: {asked:?}");
                assert!(asked.took < away + Duration::from_millis(300), "{away:?}: {asked:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_half_of_his_time_where_connections_are_closed_and_not_at_all_where_that_is_so_for_long()
 {
    let network = Network::of(1).warm().await;
    go_away(&network).await;
    let gone = Instant::now();
    let first = network.ask("first.example.").await;
    assert_eq!(first.result.as_ref().unwrap_err().reason(), "closed");
    assert!(first.took >= Duration::from_millis(1800), "{first:?}");
    assert!(first.took <= Duration::from_millis(2500), "{first:?}");
    let dials = network.servers[0].dials_since(gone);
    assert!(dials <= 2 + 2 * 13, "two at a time, every 200 ms: {dials}");

    tokio::time::sleep(Duration::from_secs(4)).await;
    let later = network.ask("later.example.").await;
    assert!(later.result.is_err() && later.took <= Duration::from_millis(800), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn one_whose_question_connections_are_closed_because_of_is_told_soon_and_asks_no_more() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(|query| match query.name.as_str() {
        "bad.example." => Reply::Close,
        _ => Reply::After(Duration::from_millis(5), 0),
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begun = server.asked().len();
        let asked = network.ask("bad.example.").await;
        assert!(asked.result.is_err() && asked.took <= Duration::from_millis(50), "{asked:?}");
        assert!(server.asked().len() - begun <= 3, "{:?}", server.asked());
    }
}

async fn go_away(network: &Network) {
    assert!(network.ask("before.example.").await.result.is_ok());
    tokio::time::sleep(Duration::from_millis(20)).await;
    for server in &network.servers {
        server.reply(Reply::Close);
        server.close_connections();
    }
}
