use std::sync::Mutex;

use futures::future;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::api_server::ApiServer;

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/dns/leases/dnsproxy-operator";
const MINUTE: Duration = Duration::from_secs(60);
/// Longer than a lease is good that is not renewed.
const DRAIN: Duration = Duration::from_secs(20);

/// A lease as an operator that is gone left it.
fn left(holder: &str, renewed: &str, seconds: i32) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": "dns", "resourceVersion": "old"},
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": 3,
            "acquireTime": renewed, "renewTime": renewed,
        },
    })
}

fn dead() -> Value {
    left("gone", "2026-01-01T00:00:00.000000Z", LEASE_SECONDS)
}

/// Who led, from when to when, in seconds since the beginning.
type Term = (&'static str, u64, u64);

/// Who led when.
struct Diary {
    start: Instant,
    terms: Mutex<Vec<Term>>,
}

/// Writes a term down when it ends, however it does.
struct Leading<'d>(&'d Diary, &'static str, u64);

impl Diary {
    fn new() -> Self {
        Self { start: Instant::now(), terms: Mutex::default() }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    /// Takes part under this name until `token` is cancelled, and what is under way is done.
    async fn take_part(&self, client: &Client, name: &'static str, token: &CancellationToken) {
        let work = async || {
            let _leading = Leading(self, name, self.now());
            token.cancelled().await;
            sleep(DRAIN).await;
        };
        leader(client, name).lead(token, work).await;
    }

    fn terms(&self) -> Vec<Term> {
        self.terms.lock().unwrap().clone()
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let Self(diary, name, since) = self;
        diary.terms.lock().unwrap().push((name, *since, diary.now()));
    }
}

fn leader(client: &Client, name: &str) -> Leader {
    let scope = Scope::Namespace("dns".into());
    Leader::new(client, &scope, "kube-system", name.into(), Metrics::default())
}

/// One takes part for this long; gives its terms, and the lease after that.
async fn alone(server: ApiServer, time: Duration) -> (Vec<Term>, LeaseSpec) {
    let ((terms, lease), _) = server
        .during(async |client| {
            let (diary, token) = (Diary::new(), CancellationToken::new());
            let taking_part = diary.take_part(&client, "a", &token);
            let _ = timeout(time, taking_part).await;
            let lease = leader(&client, "a").api.get_opt(LEASE).await;
            (diary.terms(), lease.ok().flatten().and_then(|lease| lease.spec).unwrap_or_default())
        })
        .await;
    (terms, lease)
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_free_is_taken_at_once() {
    let never = ApiServer::default();
    let released = ApiServer::default().with(PATH, left("", "2026-01-01T00:00:00Z", 15));

    for (why, server, changes) in [("never held", never, 0), ("released", released, 4)] {
        let (terms, lease) = alone(server, MINUTE).await;
        assert_eq!(terms, [("a", 0, 60)], "{why}");
        assert_eq!(lease.holder_identity.as_deref(), Some("a"), "{why}");
        assert_eq!(lease.lease_duration_seconds, Some(15), "{why}");
        assert_eq!(lease.lease_transitions, Some(changes), "{why}");
    }
}

/// Readiness: a rollout must not end the one that works for one that cannot even see who does.
#[tokio::test(start_paused = true)]
async fn who_leads_is_known_once_the_lease_was_read_and_not_before() {
    let held = left("other", "2026-01-01T00:00:00Z", 15);
    let cases = [
        ("it may not be read", ApiServer::default().denying(PATH, 403), false),
        ("it is free", ApiServer::default(), true),
        ("it is another one's", ApiServer::default().with(PATH, held), true),
    ];

    for (why, server, expected) in cases {
        let (is_known, _) = server
            .during(async |client| {
                let (metrics, token) = (Metrics::default(), CancellationToken::new());
                let scope = Scope::Namespace("dns".into());
                let leader =
                    Leader::new(&client, &scope, "kube-system", "a".into(), metrics.clone());
                assert!(!metrics.knows_leaders(), "{why}: before");
                let work = leader.lead(&token, async || std::future::pending().await);
                let _ = timeout(Duration::from_secs(5), work).await;
                metrics.knows_leaders()
            })
            .await;
        assert_eq!(is_known, expected, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_when_it_stood_unchanged_whatever_the_clocks_say() {
    let cases = [
        ("renewed long ago, by its holder's clock", "2000-01-01T00:00:00Z", 15, 16),
        ("renewed in the future, by its holder's clock", "2100-01-01T00:00:00Z", 15, 16),
        ("good for longer, as its holder said", "2000-01-01T00:00:00Z", 40, 40),
    ];

    for (why, renewed, seconds, expected) in cases {
        let server = ApiServer::default().with(PATH, left("gone", renewed, seconds));
        let (terms, lease) = alone(server, MINUTE).await;
        assert_eq!(terms, [("a", expected, 60)], "{why}");
        assert_eq!(lease.lease_transitions, Some(4), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_one_leads_and_the_other_follows_once_the_first_has_ended() {
    let (terms, _) = ApiServer::default()
        .during(async |client| {
            let diary = Diary::new();
            let (first, second) = (CancellationToken::new(), CancellationToken::new());
            let ends = async {
                sleep(MINUTE).await;
                first.cancel();
                sleep(MINUTE).await;
                second.cancel();
            };
            let late = async {
                sleep(Duration::from_secs(1)).await;
                diary.take_part(&client, "b", &second).await;
            };
            tokio::join!(diary.take_part(&client, "a", &first), late, ends);
            diary.terms()
        })
        .await;

    assert_eq!(terms, [("a", 0, 80), ("b", 81, 140)]);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_take_it_over_at_the_same_time_one_gets_it() {
    let server = ApiServer::default().with(PATH, dead()).answering_after(Duration::from_millis(10));
    let ((terms, lease), asked) = server
        .during(async |client| {
            let (diary, token) = (Diary::new(), CancellationToken::new());
            let both = future::join(
                diary.take_part(&client, "a", &token),
                diary.take_part(&client, "b", &token),
            );
            let _ = timeout(MINUTE, both).await;
            (diary.terms(), leader(&client, "a").api.get(LEASE).await.unwrap())
        })
        .await;

    assert_eq!(terms.len(), 1, "{terms:?}");
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(terms[0].0));
    let writes = asked.iter().filter(|line| line.starts_with("PUT"));
    assert!(writes.count() > 20, "both wrote, and one went on to renew: {asked:#?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_told_of_a_conflict_does_not_lead() {
    let server = ApiServer::default().with(PATH, dead()).refusing(PATH, 409);

    assert_eq!(alone(server, MINUTE).await.0, []);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_before_others_begin_and_leads_again_later() {
    let second = Duration::from_secs(1);
    // The last renewal is of the second second.
    let cases = [
        ("for long", ApiServer::default().silent_in(3 * second..40 * second), vec![("a", 0, 12)]),
        ("for a moment", ApiServer::default().silent_in(3 * second..6 * second), vec![]),
    ];

    for (why, server, lost) in cases {
        let (mut terms, _) = alone(server, MINUTE).await;
        let (_, since, end) = terms.pop().unwrap();
        assert_eq!(end, 60, "{why}");
        assert_eq!(terms, lost, "{why}");
        assert!(lost.is_empty() == (since == 0) && since <= 47, "{why}: {since}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_another_holder_stops() {
    let (terms, _) = ApiServer::default()
        .during(async |client| {
            let (diary, token) = (Diary::new(), CancellationToken::new());
            let usurper = async {
                sleep(Duration::from_secs(5)).await;
                let api = leader(&client, "b").api;
                let mut lease = api.get(LEASE).await.unwrap();
                lease.spec.as_mut().unwrap().holder_identity = Some("b".into());
                api.replace(LEASE, &<_>::default(), &lease).await.unwrap();
                future::pending::<()>().await;
            };
            let both = future::join(diary.take_part(&client, "a", &token), usurper);
            let _ = timeout(Duration::from_secs(15), both).await;
            diary.terms()
        })
        .await;

    assert_eq!(terms, [("a", 0, 6)]);
}
