//! A server that is there and of no use: what it leaves unanswered, others answer, and nobody waits for it twice.

use super::*;

const USUAL: Duration = Duration::from_millis(5);
/// What one silence costs.
const PATIENCE: Duration = Duration::from_millis(125);

type Behaviour = Box<dyn Fn(&Query) -> Reply + Send + Sync>;

/// Answers probes, and no names: its own way to them is lost.
fn is_deaf(query: &Query) -> Reply {
    if query.name == "." { Reply::After(USUAL, 0) } else { Reply::Never }
}

fn by(policy: Policy, servers: u8, spares: u8) -> Network {
    Network::with(servers, spares, |_, route| route.policy = policy)
}

/// Queries that do not wait for each other.
async fn spread(network: &Network, count: usize, pause: Duration) -> Vec<Asked> {
    let mut waiting = Vec::new();
    for index in 0..count {
        waiting.push(network.start(format!("{index}.example.")));
        tokio::time::sleep(pause).await;
    }
    futures::future::join_all(waiting).await.into_iter().map(Result::unwrap).collect()
}

/// The time that so many of a hundred took at most.
fn percentile(asked: &[Asked], percent: usize) -> Duration {
    let mut took: Vec<_> = asked.iter().map(|asked| asked.took).collect();
    took.sort_unstable();
    took[(took.len() - 1) * percent / 100]
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_is_not_compared_with_those_who_cannot_be_reached() {
    for (why, door) in [("refused", Door::Refuses), ("no way there", Door::Hangs)] {
        let network = by(Policy::Fastest, 2, 0).warm().await;
        let [gone, other] = &network.servers[..] else { unreachable!() };
        gone.door(door);
        gone.close_connections();
        other.reply(Reply::After(USUAL, 2));
        tokio::time::sleep(Duration::from_secs(60)).await;

        let begun = Instant::now();
        let asked = network.ask_many(300, Duration::from_millis(500)).await;
        assert_eq!(percentile(&asked, 99), USUAL, "{why}");
        assert!(asked.iter().all(|asked| asked.is_by(other)), "{why}");
        let dials = gone.dials_since(begun);
        assert!(dials <= 160, "{why}: {dials} dials in {:?}", begun.elapsed());
    }
}

/// The last digit of the number that a name begins with.
fn digit(query: &Query) -> u8 {
    let first = query.name.split('.').next().unwrap_or_default();
    first.as_bytes().last().map_or(0, |digit| digit.wrapping_sub(b'0'))
}

#[tokio::test(start_paused = true)]
async fn fastest_leaves_a_server_for_which_others_answer() {
    let swallow = |query: &Query| match digit(query) {
        3 | 7 => Reply::Never,
        _ => Reply::After(USUAL, 0),
    };
    let slow = |is_slow| Reply::After(if is_slow { Duration::from_millis(400) } else { USUAL }, 0);
    let cases: [(&str, u64, Behaviour); 4] = [
        // (why, milliseconds between queries, what it does)
        ("it answers probes alone", 20, Box::new(is_deaf)),
        ("it has become slow", 20, Box::new(move |query| slow(query.name != "."))),
        ("two of ten names are never answered", 20, Box::new(swallow)),
        ("half of the names are slow", 500, Box::new(move |query| slow(digit(query) % 2 == 1))),
    ];

    for (why, pause, script) in cases {
        let network = by(Policy::Fastest, 2, 0).warm().await;
        network.servers[1].answer_after(20);
        network.ask_many(50, Duration::from_millis(20)).await;
        network.servers[0].script(script);

        let pause = Duration::from_millis(pause);
        spread(&network, 500, pause).await;
        let took = percentile(&spread(&network, 1000, pause).await, 90);
        assert!(took <= Duration::from_millis(40), "{why}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_probes_alone_is_asked_after_the_others_and_found_again() {
    let network = by(Policy::Sequential, 2, 0).warm().await;
    network.ask_many(50, Duration::from_millis(10)).await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.script(is_deaf);

    let pause = Duration::from_millis(300);
    let asked = spread(&network, 400, pause).await;
    assert!(asked.iter().all(|asked| asked.is_by(second) && asked.took < PATIENCE));
    assert_eq!(percentile(&asked[200..], 90), USUAL);

    first.answer_after(5);
    spread(&network, 200, pause).await;
    assert!(network.ask("back.example.").await.is_by(first));
}

/// As where all have lost their way to the names at once.
#[tokio::test(start_paused = true)]
async fn servers_that_answer_probes_alone_cost_nobody_all_his_time_before_the_fallback() {
    for count in 1..=3 {
        let network = by(Policy::Fastest, count, 1).warm().await;
        let [spare] = &network.spares[..] else { unreachable!() };
        network.ask_many(50, Duration::from_millis(10)).await;
        network.servers.iter().for_each(|server| server.script(is_deaf));
        for asked in network.ask_many(3, Duration::from_millis(10)).await {
            let limit = Duration::from_secs(2) + PATIENCE * u32::from(count);
            assert!(asked.is_by(spare) && asked.took < limit, "{count} servers: {asked:?}");
        }

        for asked in spread(&network, 100, Duration::from_millis(20)).await {
            let limit = PATIENCE * u32::from(count);
            assert!(asked.is_by(spare) && asked.took < limit, "{count} servers: {asked:?}");
        }

        network.servers.iter().for_each(|server| server.answer_after(5));
        let back = network.ask("back.example.").await;
        assert!(!back.is_by(spare) && back.took == USUAL, "one answer is enough: {back:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_connections_are_closed_on_send_nobody_else_to_the_fallback() {
    let network = by(Policy::Fastest, 2, 1).warm().await;
    let [spare] = &network.spares[..] else { unreachable!() };
    network.ask_many(20, Duration::from_millis(10)).await;
    for server in &network.servers {
        server.script(|query| match query.name.starts_with("bad") {
            true => Reply::Close,
            false => Reply::After(USUAL, 0),
        });
    }

    for round in 0..60 {
        for index in 0..3 {
            network.ask(format!("bad{index}.{round}.example.")).await;
        }
        for good in network.ask_many(10, Duration::from_millis(100)).await {
            assert!(good.result.is_ok() && !good.is_by(spare), "in round {round}: {good:?}");
            assert!(good.took < Duration::from_millis(20), "in round {round}: {good:?}");
        }
    }
}

/// Of one zone, say, that a forwarder hands on as it is.
#[tokio::test(start_paused = true)]
async fn names_with_broken_answers_disturb_nobody_else() {
    let network = by(Policy::Fastest, 1, 1).warm().await;
    let ([server], [spare]) = (&network.servers[..], &network.spares[..]) else { unreachable!() };
    server.script(|query| match query.name.starts_with("bad") {
        true => Reply::Garbled,
        false => Reply::After(Duration::from_millis(150), 0),
    });
    network.ask_many(20, Duration::from_millis(10)).await;
    let (dials, asked) = (server.dials().len(), server.asked().len());

    let bad: Vec<_> = (0..120).map(|it| network.start(format!("bad{it}.example."))).collect();
    for good in spread(&network, 100, Duration::from_millis(40)).await {
        assert!(good.is_by(server) && good.took < Duration::from_millis(200), "{good:?}");
    }

    assert_eq!(server.dials().len(), dials, "the connection stays");
    assert!(server.asked().len() - asked <= 100 + 2 * bad.len(), "nobody asks again for others");
    assert!(spare.asked().iter().all(|query| query.name.starts_with("bad")));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_back_is_found_beside_one_that_has_bad_answers_alone() {
    let network = by(Policy::Sequential, 2, 0).warm().await;
    let [gone, other] = &network.servers[..] else { unreachable!() };
    gone.door(Door::Refuses);
    gone.close_connections();
    other.reply(Reply::After(USUAL, 2));
    network.ask_many(600, Duration::from_millis(500)).await;

    gone.door(Door::OpensAfter(Duration::from_millis(1)));
    let asked = network.ask_many(40, Duration::from_millis(100)).await;

    assert!(asked[..20].iter().any(|asked| asked.is_by(gone)), "within two seconds");
    assert!(asked[20..].iter().all(|asked| asked.is_by(gone)));
}

/// It closes on every name, and answers probes.
#[tokio::test(start_paused = true)]
async fn a_server_that_closes_on_all_names_is_asked_after_the_others() {
    let network = by(Policy::Sequential, 2, 0).warm().await;
    network.ask_many(50, Duration::from_millis(10)).await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.script(|query| if query.name == "." { Reply::After(USUAL, 0) } else { Reply::Close });
    let before = first.asked().len();

    for asked in network.ask_many(400, Duration::from_millis(20)).await {
        assert!(asked.is_by(second), "{asked:?}");
    }

    let more = first.asked().len() - before;
    assert!(more <= 40, "{more} of 400 went to it");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_late_and_answers_is_not_deaf() {
    let network = Network::with(2, 0, |upstream, _| upstream.health_check.failure_threshold = 1);
    let network = network.warm().await;
    network.ask_many(50, Duration::from_millis(10)).await;
    let [first, second] = &network.servers[..] else { unreachable!() };
    first.answer_after(150);
    second.answer_after(400);

    assert!(network.ask("late.example.").await.is_by(first));
    assert!(!network.known(0).is_deaf());
}

#[tokio::test(start_paused = true)]
async fn one_question_finds_out_whether_a_server_is_still_deaf() {
    let network = by(Policy::Sequential, 2, 0).warm().await;
    network.ask_many(50, Duration::from_millis(10)).await;
    let [first, _] = &network.servers[..] else { unreachable!() };
    first.script(is_deaf);
    spread(&network, 100, Duration::from_millis(20)).await;
    assert!(network.known(0).is_deaf());

    let before = first.asked().len();
    spread(&network, 10_000, Duration::from_millis(1)).await;

    let more = first.asked().len() - before;
    assert!(more <= 10, "{more} of 10,000 in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn the_bad_answer_that_says_most_is_given() {
    let network = by(Policy::Sequential, 3, 0).warm().await;
    for (server, rcode) in network.servers.iter().zip([4, 2, 5]) {
        server.reply(Reply::After(USUAL, rcode));
    }

    let asked = network.ask("www.example.").await;

    assert!(
        asked.is_by(&network.servers[1]),
        "SERVFAIL says more than NOTIMP and REFUSED: {asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_over_counts_as_slow() {
    let network = by(Policy::Fastest, 1, 0).warm().await;
    network.ask_many(10, USUAL).await;
    let (server, begun) = (network.known(0), Instant::now());
    let limit = server.limits().query;
    tokio::time::sleep(limit).await;

    let now = Instant::now();
    server.note(Err(&ExchangeError::Timeout(limit)), false, begun, now);

    assert!(server.latency().expected(now).unwrap() > limit / 10);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_is_a_sign_of_life() {
    let network = by(Policy::Fastest, 1, 0).warm().await;
    let (server, now) = (network.known(0), Instant::now());
    server.health().failed(&ExchangeError::Refused, now, now);

    server.note(Err(&ExchangeError::Truncated), false, now, now + USUAL);

    assert_eq!(server.health().snapshot().state, State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_report_says_why_a_server_is_suspect() {
    let network = by(Policy::Fastest, 1, 0).warm().await;
    network.known(0).suspect();

    let report = &network.upstreams.report()[0].servers[0];

    assert_eq!((report.state, report.reason), (State::Suspect, Some("silence")));
}
