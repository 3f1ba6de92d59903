//! Stale answers, renewal and places, in paused time and with servers in memory.

use std::{net::Ipv4Addr, time::Duration};

use dnsproxy_api::v1alpha1::QueryLogMode;
use prometheus_client::registry::Registry;
use tokio::{task::JoinHandle, time::sleep};

use super::*;
use crate::{
    cache::{Bounds, Cache, CacheMetrics, Policy, PrefetchPolicy, StalePolicy},
    message::{Layout, Qclass, Qtype, Question, record::Record, request::RequestEdns},
    query_log,
    upstream::testing::lab::{Door, Network, Reply},
};

/// The TTL of what the servers answer.
const TTL: Duration = Duration::from_secs(60);
const STALE_AFTER: Duration = Duration::from_millis(1800);
/// Longer than servers in memory take, and shorter than anything that somebody waits for.
const AT_ONCE: Duration = Duration::from_millis(20);

const LIMITS: Limits = Limits {
    query_deadline: Duration::from_secs(4),
    max_in_flight: 100,
    tcp_connections: 1,
    tcp_connections_per_client: 1,
    tcp_idle_timeout: Duration::from_secs(10),
    edns_buffer_size: 1232,
};

struct Lab {
    network: Network,
    pipeline: Arc<Pipeline>,
}

/// A reply, and how long it took.
#[derive(Debug)]
struct Got {
    message: Vec<u8>,
    took: Duration,
}

impl Lab {
    async fn new() -> Self {
        Self::with(LIMITS).await
    }

    async fn with(limits: Limits) -> Self {
        Self::over(Network::of(1), limits).await
    }

    async fn over(network: Network, limits: Limits) -> Self {
        let network = network.warm().await;
        let registry = &mut Registry::default();
        let cache = Arc::new(Cache::new(1 << 20, CacheMetrics::register(registry)));
        let bounds = Bounds { min_ttl: 0, max_ttl: 3600, negative_max_ttl: 300, failure_ttl: 1 };
        let policy = Policy {
            stale: Some(StalePolicy { max_age: 86_400, ttl: 30 }),
            prefetch: Some(PrefetchPolicy { min_hits: 3, remaining_percent: 10 }),
        };
        let writer = query_log::start_writer(registry).unwrap();
        let pipeline = Pipeline {
            access: Access::new(vec!["127.0.0.0/8".parse().unwrap()], vec![], None),
            judge: Judge::for_all(),
            matches: Matches::default(),
            checks: Checks::default(),
            caching: Some(Caching::new(cache, bounds, policy, Some(STALE_AFTER))),
            upstreams: Arc::clone(&network.upstreams),
            flights: Arc::default(),
            loop_guard: None,
            limits,
            in_flight: Arc::default(),
            metrics: PipelineMetrics::register(registry),
            query_log: QueryLog::new(QueryLogMode::None, 1, writer),
            tasks: Tasks::default(),
        };
        Self { network, pipeline: Arc::new(pipeline) }
    }

    fn start(&self, name: &str) -> JoinHandle<Got> {
        let question =
            Question { name: name.parse().unwrap(), qtype: Qtype::A, qclass: Qclass::IN };
        let request = Request {
            question,
            recursion_desired: true,
            checking_disabled: false,
            dnssec_ok: false,
        };
        let edns = RequestEdns { udp_payload: 1232, padding_block: None, keepalive: false };
        let mut query = Vec::new();
        request.encode(7, Some(edns), &mut query);
        let pipeline = Arc::clone(&self.pipeline);
        Tasks::default().spawn(async move {
            let (started, mut message) = (Instant::now(), Vec::new());
            let client = Client { address: Ipv4Addr::LOCALHOST.into(), transport: Transport::Udp };
            match pipeline.answer(&query, client, started, &mut message) {
                Verdict::Later(answer) => answer.await.write(&mut message),
                Verdict::Reply | Verdict::Silence => {}
            }
            Got { message, took: started.elapsed() }
        })
    }

    async fn ask(&self, name: &str) -> Got {
        self.start(name).await.unwrap()
    }

    fn asked(&self) -> usize {
        self.network.servers[0].asked().len()
    }

    /// One whose answer has just expired.
    async fn with_an_expired_answer() -> Self {
        let lab = Self::new().await;
        assert_eq!(lab.ask("www.example.").await.ttl(), Some(60));
        sleep(TTL + Duration::from_secs(1)).await;
        lab
    }
}

impl Got {
    fn ttl(&self) -> Option<u32> {
        let layout = Layout::of(&self.message).unwrap();
        let record = Record::read(&self.message, layout.questions_end)?;
        (record.end <= layout.answers_end).then_some(record.ttl)
    }

    fn codes(&self) -> Vec<u16> {
        let layout = Layout::of(&self.message).unwrap();
        let edns = layout.edns(&self.message).unwrap();
        edns.extended_errors().map(|error| error.code).collect()
    }

    /// Whether it is an expired answer, and said to be one.
    fn is_stale(&self) -> bool {
        self.ttl() == Some(30) && self.codes() == [3]
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_is_waited_for_once_and_then_asked_behind_stale_answers() {
    let lab = Lab::with_an_expired_answer().await;
    lab.network.servers[0].reply(Reply::Never);

    let first = lab.ask("www.example.").await;
    assert!(first.is_stale(), "{first:?}");
    assert!((STALE_AFTER..STALE_AFTER + AT_ONCE).contains(&first.took), "{:?}", first.took);
    for _ in 0..3 {
        let next = lab.ask("www.example.").await;
        assert!(next.is_stale() && next.took < AT_ONCE, "{next:?}");
    }

    lab.network.servers[0].answer_after(5);
    sleep(Duration::from_secs(6)).await;
    assert!(lab.ask("www.example.").await.is_stale(), "the one that asks for all");
    sleep(AT_ONCE).await;
    let fresh = lab.ask("www.example.").await;
    assert!(fresh.ttl() > Some(30) && fresh.codes().is_empty(), "{fresh:?}");
}

#[tokio::test(start_paused = true)]
async fn who_may_have_a_stale_answer_does_not_wait_for_an_upstream_to_be_back() {
    let lab = Lab::with_an_expired_answer().await;
    lab.network.servers[0].door(Door::Refuses);
    lab.network.servers[0].close_connections();

    let other = lab.start("other.example.");
    let stale = lab.ask("www.example.").await;
    assert!(stale.is_stale() && stale.took < AT_ONCE, "{stale:?}");

    lab.network.servers[0].door(Door::OpensAfter(Duration::from_millis(1)));
    let other = other.await.unwrap();
    assert!(other.ttl() == Some(60), "and the others wait: {other:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_upstream_to_be_back_leaves_half_of_all_places_to_others() {
    let lab = Lab::with(Limits { max_in_flight: 4, ..LIMITS }).await;
    lab.network.servers[0].door(Door::Refuses);
    lab.network.servers[0].close_connections();

    let first = lab.start("first.example.");
    sleep(Duration::from_millis(1)).await;
    let second = lab.ask("second.example.").await;
    assert!(second.ttl().is_none() && second.took < AT_ONCE, "{second:?}");

    lab.network.servers[0].door(Door::OpensAfter(Duration::from_millis(1)));
    assert_eq!(first.await.unwrap().ttl(), Some(60));
}

/// RFC 8767 section 5: what an outage has shown holds for half a minute, and not until the name is asked for again.
#[tokio::test(start_paused = true)]
async fn after_an_outage_the_upstream_is_asked_first_again() {
    let lab = Lab::with_an_expired_answer().await;
    lab.network.servers[0].reply(Reply::Never);
    assert!(lab.ask("www.example.").await.is_stale());

    lab.network.servers[0].answer_after(5);
    sleep(Duration::from_secs(40)).await;
    let fresh = lab.ask("www.example.").await;
    assert!(fresh.ttl() == Some(60) && fresh.codes().is_empty(), "{fresh:?}");
}

#[tokio::test(start_paused = true)]
async fn where_no_query_may_wait_any_more_a_stale_answer_is_given() {
    let lab = Lab::with(Limits { max_in_flight: 1, ..LIMITS }).await;
    lab.ask("www.example.").await;
    sleep(TTL + Duration::from_secs(1)).await;
    lab.network.servers[0].reply(Reply::Never);
    let before = lab.start("other.example.");
    sleep(Duration::from_millis(1)).await;

    let over = lab.ask("www.example.").await;
    assert!(over.is_stale() && over.took < AT_ONCE, "{over:?}");
    before.await.unwrap();
}

/// RFC 8767 section 5.
#[tokio::test(start_paused = true)]
async fn an_exchange_goes_on_behind_the_stale_answer_that_its_client_got() {
    let lab = Lab::with_an_expired_answer().await;
    lab.network.servers[0].answer_after(1900);

    assert!(lab.ask("www.example.").await.is_stale());
    sleep(Duration::from_millis(200)).await;

    let asked = lab.asked();
    let next = lab.ask("www.example.").await;
    assert!(next.ttl() > Some(30), "the late answer was kept: {next:?}");
    assert_eq!(lab.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_without_a_client_keeps_its_place() {
    let lab = Lab::with(Limits { max_in_flight: 1, ..LIMITS }).await;
    lab.ask("www.example.").await;
    sleep(TTL + Duration::from_secs(1)).await;
    lab.network.servers[0].reply(Reply::Never);

    assert!(lab.ask("www.example.").await.is_stale());
    assert_eq!(lab.pipeline.in_flight.count(), 1, "behind a stale answer that came late");
    sleep(LIMITS.query_deadline).await;
    assert_eq!(lab.pipeline.in_flight.count(), 0);

    sleep(Duration::from_secs(2)).await;
    assert!(lab.ask("www.example.").await.is_stale());
    assert_eq!(lab.pipeline.in_flight.count(), 1, "behind one that came at once");
    let other = lab.ask("other.example.").await;
    assert_eq!(other.codes(), [0], "limits.maxInFlight: {other:?}");
}

#[tokio::test(start_paused = true)]
async fn our_own_bound_is_no_failure_of_the_name() {
    let network = Network::with(1, 0, |upstream, _| {
        upstream.connections.max = 1;
        upstream.connections.max_in_flight = 1;
    });
    let lab = Lab::over(network, LIMITS).await;
    lab.network.servers[0].answer_after(50);
    let before = lab.start("other.example.");
    sleep(Duration::from_millis(1)).await;

    let over = lab.ask("www.example.").await;
    assert_eq!(over.codes(), [0], "connections.maxInFlight: {over:?}");
    before.await.unwrap();
    let next = lab.ask("www.example.").await;
    assert_eq!((next.ttl(), next.codes()), (Some(60), vec![]), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_use_is_renewed_once_before_it_ends_and_nobody_waits() {
    let lab = Lab::new().await;
    for _ in 0..4 {
        lab.ask("www.example.").await;
    }
    sleep(TTL - Duration::from_secs(2)).await;

    for _ in 0..4 {
        let got = lab.ask("www.example.").await;
        assert!(got.ttl() <= Some(2) && got.took < AT_ONCE, "{got:?}");
    }
    sleep(AT_ONCE).await;
    assert_eq!(lab.asked(), 2);
    assert_eq!(lab.ask("www.example.").await.ttl(), Some(60));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_a_second_later() {
    let lab = Lab::new().await;
    for _ in 0..4 {
        lab.ask("www.example.").await;
    }
    sleep(TTL - Duration::from_secs(3)).await;
    lab.network.servers[0].reply(Reply::After(Duration::from_millis(5), 2));
    for _ in 0..4 {
        assert!(lab.ask("www.example.").await.ttl() <= Some(3));
        sleep(AT_ONCE).await;
    }
    assert_eq!(lab.asked(), 2, "once in that second");

    lab.network.servers[0].answer_after(5);
    sleep(Duration::from_secs(1)).await;
    lab.ask("www.example.").await;
    sleep(AT_ONCE).await;
    assert_eq!(lab.ask("www.example.").await.ttl(), Some(60));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_for_a_second() {
    let lab = Lab::new().await;
    lab.network.servers[0].reply(Reply::After(Duration::from_millis(5), 2));

    assert_eq!(lab.ask("www.example.").await.codes(), [0], "who says so");
    assert_eq!(lab.ask("www.example.").await.codes(), [13, 0]);
    assert_eq!(lab.asked(), 1);
    sleep(Duration::from_secs(1)).await;
    lab.ask("www.example.").await;
    assert_eq!(lab.asked(), 2);
}
