//! Servers that read so many questions of a connection at a time, and answer those in any order.

use super::*;

const SLOW: Duration = Duration::from_millis(900);

#[tokio::test(start_paused = true)]
async fn slow_names_that_take_all_places_of_a_connection_hold_up_few_where_there_may_be_another() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.read_at_a_time(10);
    server.close_connections();
    server.script(reply);
    network.ask_many(50, Duration::from_millis(4)).await;

    let begun = Instant::now();
    let (mut slow, mut fast) = (Vec::new(), Vec::new());
    for index in 0..1000 {
        // About as many as a connection has places, and at times more.
        match index % 25 {
            0 => slow.push(network.start(format!("slow{index}.example."))),
            _ => fast.push(network.start(format!("{index}.example."))),
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    let fast = futures::future::join_all(fast).await.into_iter().map(Result::unwrap);
    let late = fast.filter(|asked| asked.took > Duration::from_millis(50)).count();
    assert!(late < 50, "{late} of 960 wait behind slow ones");
    for asked in futures::future::join_all(slow).await {
        let asked = asked.unwrap();
        assert!(asked.result.is_ok() && asked.took < SLOW * 2, "{asked:?}");
    }
    assert!(server.dials_since(begun) <= 1, "{}", server.dials_since(begun));
}

#[tokio::test(start_paused = true)]
async fn slow_names_at_a_server_that_reads_all_questions_are_no_reason_for_another_connection() {
    let network = Network::of(1).warm().await;
    let [server] = &network.servers[..] else { unreachable!() };
    server.script(reply);
    // Known to answer in any order.
    let overtaken = network.start("slow.example.");
    network.ask_many(50, Duration::from_millis(10)).await;
    assert!(overtaken.await.unwrap().result.is_ok());

    let begun = Instant::now();
    let mut asked = Vec::new();
    for index in 0..400 {
        let name = if index % 7 < 3 { "slow" } else { "fast" };
        asked.push(network.start(format!("{name}{index}.example.")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.dials_since(begun), 0);
}

fn reply(query: &Query) -> Reply {
    let is_slow = query.name.starts_with("slow");
    Reply::After(if is_slow { SLOW } else { Duration::from_millis(5) }, 0)
}
