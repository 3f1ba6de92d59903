//! The cache as one manifest uses it: what is looked up before an upstream is asked, and learnt from its answer.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Asked, Job, Limit, Pipeline, Source,
    flights::Flight,
    inquiry::Inquiry,
    ruled::Way,
    waiting::{Outcome, Spare},
};
use crate::{
    cache::{Bounds, Cache, Entry, Found, How, Key, Origin, Policy, Scope, Sought},
    checks::Checked,
    message::{
        Header, Rcode, Request,
        edns::{self, ExtendedError},
    },
    upstream::{self, Failure, Route},
};

/// The cache of the process, with what a manifest says about it.
#[derive(Debug)]
pub struct Caching {
    cache: Arc<Cache>,
    bounds: Bounds,
    /// Once, and not for each query.
    fingerprint: u64,
    policy: Policy,
    /// How long an upstream is waited for when there is a stale answer.
    pub(super) stale_after: Option<Duration>,
}

impl Caching {
    /// A cache, used like this. What is kept and shown depends on the bounds; what is done about answers that have
    /// expired, or are about to, on the policy.
    pub fn new(
        cache: Arc<Cache>,
        bounds: Bounds,
        policy: Policy,
        stale_after: Option<Duration>,
    ) -> Self {
        Self { cache, bounds, fingerprint: bounds.fingerprint(), policy, stale_after }
    }
}

impl Caching {
    /// Looks without counting.
    pub(super) fn look(&self, key: &Key<'_>, now: Instant) -> Found {
        self.cache.look_at(self.cache.seek(key), key, &self.policy, now)
    }
}

/// What the cache knows about a question.
pub(super) enum Recalled {
    /// A reply that is given at once.
    Reply {
        entry: Entry,
        source: Source,
        /// Whether the upstream should be asked for a fresh one meanwhile.
        is_due: bool,
    },
    /// The upstream is asked first; and what is given when it has no answer in time.
    Nothing { stale: Option<Entry> },
}

impl Pipeline {
    /// Where answers to the questions of a route belong: they are found again only under the same conditions.
    /// `ruled` is a hash of what rules decided, and zero when none did.
    pub(super) fn scope(&self, route: &Route, ruled: u64) -> Scope {
        let bounds = self.caching.as_ref().map_or(0, |caching| caching.fingerprint);
        let checks = self.checks.fingerprint_for(route.is_for_all());
        let scope = route.identity() ^ bounds ^ checks;
        if ruled == 0 {
            return Scope(scope);
        }
        let mut hasher = DefaultHasher::new();
        (scope, ruled).hash(&mut hasher);
        Scope(hasher.finish())
    }

    /// What TTLs are bounded by.
    pub(super) fn bounds(&self) -> Bounds {
        self.caching.as_ref().map_or(Bounds::NONE, |caching| caching.bounds)
    }

    /// Keeps what came of a question, where that has a place.
    pub(super) fn keep(&self, inquiry: &Inquiry, entry: &Entry) {
        if let (Some(caching), Some(sought)) = (&self.caching, inquiry.sought) {
            caching.cache.insert_at(sought, entry);
        }
    }

    /// A question of our own.
    pub(super) fn inquiry(&self, request: Arc<Request>, scope: Scope) -> Inquiry {
        let mut inquiry = Inquiry { request, scope, sought: None };
        if inquiry.request.recursion_desired {
            inquiry.sought = self.caching.as_ref().map(|it| it.cache.seek(&inquiry.key()));
        }
        inquiry
    }

    /// What is known of a question of our own.
    pub(super) fn known(&self, inquiry: &Inquiry) -> Found {
        let (Some(Caching { cache, policy, .. }), Some(sought)) = (&self.caching, inquiry.sought)
        else {
            return Found::Miss;
        };
        // Nobody counts it, and nobody is told to renew it: that is for those who ask.
        cache.look_at(sought, &inquiry.key(), policy, Instant::now())
    }

    /// Whether the answer to a question of our own is to be renewed before it ends, and now. Not where that failed a
    /// moment ago (RFC 9520 section 3.2).
    pub(super) fn is_due(&self, inquiry: &Inquiry, entry: &Entry) -> bool {
        let now = Instant::now();
        let policy = self.caching.as_ref().and_then(|caching| caching.policy.prefetch);
        policy.is_some_and(|policy| entry.is_near_end(&policy, now))
            && !self.has_failed(inquiry, now)
    }

    /// A stale answer for a query that waits since `started`: given at once, when others have waited before (RFC 8767
    /// section 5).
    pub(super) fn spare(&self, stale: Option<Entry>, started: Instant) -> Option<Spare> {
        let (entry, after) =
            stale.zip(self.caching.as_ref().and_then(|caching| caching.stale_after))?;
        let due = if entry.was_given_stale(started) { started } else { started + after };
        Some(Spare::new(entry, due))
    }

    /// What comes of a query on its way, which others may wait for already, and whether it has just begun.
    pub(super) fn start(
        self: &Arc<Self>,
        way: &Way<'_>,
        inquiry: Inquiry,
        started: Instant,
        is_renewal: bool,
    ) -> (Flight, bool) {
        let Way { route, scope: _, plan } = way;
        let Some(plan) = plan else { return self.exchange(route, inquiry, started) };
        let (plan, route) = (Arc::clone(plan), Arc::clone(route));
        // Nobody who asks waits for a renewal: what it is to be made of may be at hand.
        let place = if is_renewal { inquiry.apart() } else { inquiry.clone() };
        self.flights
            .join(place, |_| Arc::clone(self).fulfil(plan, route, inquiry, started, is_renewal))
    }

    /// Where a question is looked up. One without RD asks what an upstream knows without asking further, which is not
    /// for us to say; so it goes past the cache.
    pub(super) fn seek(&self, job: &Job<'_>, scope: Scope) -> Option<Sought> {
        let caching = self.caching.as_ref().filter(|_| job.query.header.has(Header::RD))?;
        Some(caching.cache.seek(&job.key(scope)))
    }

    /// Has the processor fetch the answer of the cache.
    pub fn approach(&self, asked: &Asked<'_>) {
        if let (Some(caching), Some(sought)) = (&self.caching, asked.sought) {
            caching.cache.approach(sought);
        }
    }

    /// Looks a question up.
    pub(super) fn recall(&self, job: &Job<'_>, scope: Scope, sought: Option<Sought>) -> Recalled {
        let (Some(caching), Some(sought)) = (&self.caching, sought) else {
            return Recalled::Nothing { stale: None };
        };
        let now = |entry, source, is_due| Recalled::Reply { entry, source, is_due };
        match caching.cache.find_at(sought, &job.key(scope), &caching.policy, job.started) {
            Found::Fresh { entry, refresh } => now(entry, Source::Cache, refresh),
            // It is known to fail: nobody need wait to learn it again (RFC 8767 section 5).
            Found::Failure { stale: Some(entry), .. } => now(entry, Source::Stale, false),
            Found::Failure { failure, stale: None } => now(failure, Source::Cache, false),
            Found::Stale(entry) if entry.was_given_stale(job.started) => {
                now(entry, Source::Stale, true)
            }
            Found::Stale(entry) => Recalled::Nothing { stale: Some(entry) },
            Found::Miss => Recalled::Nothing { stale: None },
        }
    }

    /// How a stale answer is given.
    pub(super) fn how_stale(&self) -> How {
        let policy = self.caching.as_ref().and_then(|caching| caching.policy.stale);
        policy.map_or(How::Fresh, |stale| How::Stale { ttl: stale.ttl })
    }

    /// The exchange for a question, which others may wait for already, and whether it has just begun.
    pub(super) fn exchange(
        self: &Arc<Self>,
        route: &Arc<Route>,
        inquiry: Inquiry,
        started: Instant,
    ) -> (Flight, bool) {
        self.flights.join(inquiry, |inquiry| {
            let (pipeline, route) = (Arc::clone(self), Arc::clone(route));
            let deadline = started + self.limits.query_deadline;
            async move {
                let request = Arc::clone(&inquiry.request);
                // Who may get a stale answer need not wait until somebody can be asked, and nobody may where places are dear.
                let may_wait = || {
                    !pipeline.is_half_full() && !matches!(pipeline.known(&inquiry), Found::Stale(_))
                };
                let exchanged =
                    pipeline.upstreams.exchange(&route, request, deadline, may_wait).await;
                pipeline.learn(&inquiry, exchanged, route.is_for_all())
            }
        })
    }

    /// Looks for a newer answer than `entry`, for whoever wants to know next. `is_early` is while it still holds.
    pub(super) fn refresh(
        self: &Arc<Self>,
        job: &Job<'_>,
        way: &Way<'_>,
        sought: Option<Sought>,
        entry: &Entry,
        is_early: bool,
    ) {
        let inquiry = Inquiry { request: Arc::new(job.request()), scope: way.scope, sought };
        // Where that failed a moment ago, or clients find no place, it can wait.
        if self.has_failed(&inquiry, job.started) {
            return entry.forget_renewal();
        }
        let Ok(places) = self.enter(way.route) else { return entry.forget_renewal() };
        let (flight, is_new) = self.start(way, inquiry.clone(), job.started, is_early);
        if is_new {
            let (pipeline, entry) = (Arc::clone(self), entry.clone());
            self.tasks.spawn(async move {
                flight.await;
                drop(places);
                // Only what is remembered as failed: else each hit would try again.
                if pipeline.has_failed(&inquiry, Instant::now()) {
                    entry.forget_renewal();
                }
            });
        }
    }

    /// Whether asking failed a moment ago (RFC 9520 section 3.2).
    fn has_failed(&self, inquiry: &Inquiry, now: Instant) -> bool {
        let place = self.caching.as_ref().zip(inquiry.sought);
        place.is_some_and(|(caching, sought)| caching.cache.has_failed(sought, &inquiry.key(), now))
    }

    /// Has an exchange go on without a client, in its place among the questions that wait.
    pub(super) fn see_to_the_end(&self, flight: Flight, place: impl Send + 'static) {
        self.tasks.spawn(async move {
            flight.await;
            drop(place);
        });
    }

    /// Makes of an exchange what all who wait for it get, and remembers it.
    fn learn(
        &self,
        inquiry: &Inquiry,
        exchanged: Result<upstream::Answer, Failure>,
        is_public: bool,
    ) -> Outcome {
        let key = inquiry.key();
        let now = Instant::now();
        let bounds = self.bounds();
        let is_limit = exchanged.as_ref().is_err_and(Failure::is_limit);
        let outcome = match exchanged {
            Ok(answer) => {
                let upstream::Answer { message, layout, upstream, server, is_secure } = answer;
                let rcode = layout.rcode(&message);
                let entry = match self.checks.apply(&message, &layout, is_public) {
                    None => {
                        let reason = (!rcode.is_answer()).then(|| {
                            let text = format!("upstream {upstream} {server}: it answers {rcode}");
                            ExtendedError::new(ExtendedError::OTHER, text)
                        });
                        let origin = Origin { is_secure, reason };
                        Entry::of_upstream(&key, message, &layout, &origin, &bounds, now)
                    }
                    Some(checked) => of_checked(&key, &checked, !rcode.is_answer(), &bounds, now),
                };
                Outcome { entry, upstream: Some(upstream), source: Source::Upstream }
            }
            Err(failure) => {
                let errors = [failure.ede()];
                let entry = Entry::of_failure(&key, Rcode::SERVFAIL, &errors, &bounds, now);
                Outcome { entry, upstream: None, source: Source::Local }
            }
        };
        if is_limit {
            // Our own bound says nothing about the name.
            self.metrics.count_limited(Limit::InFlightOnConnections);
        } else {
            self.keep(inquiry, &outcome.entry);
        }
        outcome
    }
}

/// An answer that was not left as it came; the client is told why.
fn of_checked(
    key: &Key<'_>,
    checked: &Checked,
    is_failure: bool,
    bounds: &Bounds,
    now: Instant,
) -> Entry {
    let Checked { rcode, response, reason } = checked;
    let mut errors = Vec::new();
    edns::encode_error(&ExtendedError::new(ExtendedError::FORGED, *reason), &mut errors);
    match response.write() {
        Ok(message) => Entry::of_parts(key, (*rcode, is_failure), message, &errors, bounds, now),
        Err(too_long) => {
            let error = ExtendedError::new(ExtendedError::OTHER, too_long.to_string());
            Entry::of_failure(key, Rcode::SERVFAIL, &[error], bounds, now)
        }
    }
}
