//! Servers that hand our questions back to us.

use super::*;

/// Whether a server hands back what it is asked.
type Switch = Arc<std::sync::atomic::AtomicBool>;

/// Has a server ask us what it is asked, as long as the switch is on.
fn hand_back(network: &Network, index: usize) -> Switch {
    let switch = Switch::new(true.into());
    let (upstreams, is_on) = (Arc::downgrade(&network.upstreams), Arc::clone(&switch));
    network.servers[index].script(move |query| {
        let name = query.name.parse().unwrap();
        let question = Question { name, qtype: Qtype::HINFO, qclass: Qclass::IN };
        let is_back = is_on.load(std::sync::atomic::Ordering::SeqCst)
            && query.name.contains("dnsproxy-loop")
            && upstreams.upgrade().is_some_and(|it| it.stop_loop(&question, Instant::now()));
        Reply::After(Duration::from_millis(5), if is_back { 2 } else { 0 })
    });
    switch
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leads_back_is_out_until_a_later_look_finds_it_mended() {
    let network = Network::of(2).warm().await;
    let switch = hand_back(&network, 0);
    network.ask_many(10, Duration::from_secs(1)).await;

    assert_eq!(network.standing(0), Standing::Out);
    let report = &network.upstreams.report()[0].servers[0];
    assert_eq!((report.state, report.reason), (State::Unhealthy, Some("forwarding_loop")));
    assert!(network.ask("www.example.").await.is_by(&network.servers[1]));
    network.ask_many(60, Duration::from_secs(1)).await;
    assert_eq!(network.standing(0), Standing::Out, "it still does");

    switch.store(false, std::sync::atomic::Ordering::SeqCst);
    network.ask_many(60, Duration::from_secs(1)).await;

    assert_eq!(network.standing(0), Standing::Up);
    assert!(network.ask("www.example.").await.is_by(&network.servers[0]));
}

#[tokio::test(start_paused = true)]
async fn who_asks_when_all_servers_lead_back_is_told_why_there_is_no_answer() {
    let network = Network::of(1).warm().await;
    let _on = hand_back(&network, 0);
    network.ask_many(10, Duration::from_secs(1)).await;

    let asked = network.ask("www.example.").await;

    assert_eq!(asked.took, Duration::ZERO);
    let failure = asked.result.unwrap_err();
    assert_eq!(failure.reason(), "forwarding_loop");
    assert!(failure.ede().text.contains("forwarding loop"), "{}", failure.ede().text);
}

#[tokio::test(start_paused = true)]
async fn only_a_question_that_is_out_takes_a_server_out() {
    let network = Network::of(1).warm().await;
    network.ask_many(10, Duration::from_secs(1)).await;
    let name = "0123456789abcdef0123456789abcdef.dnsproxy-loop.".parse().unwrap();
    let guess = Question { name, qtype: Qtype::HINFO, qclass: Qclass::IN };

    assert!(!network.upstreams.stop_loop(&guess, Instant::now()));
    assert_eq!(network.standing(0), Standing::Up);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_no_answer_to_the_question_is_well_all_the_same() {
    for reply in [Reply::Never, Reply::Close, Reply::After(Duration::from_millis(5), 2)] {
        let network = Network::of(1).warm().await;
        let server = &network.servers[0];
        server.script(move |query| {
            let is_check = query.name.contains("dnsproxy-loop");
            if is_check { reply } else { Reply::After(Duration::from_millis(5), 0) }
        });
        for second in 0..120 {
            network.ask("www.example.").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let state = network.known(0).health().snapshot().state;
            assert_eq!(state, State::Healthy, "{reply:?} after {second} s");
        }
        assert!(!server.checked_for_loops().is_empty(), "{reply:?}");
    }
}
