//! Queries that a rule matches: what is answered here, and how the others find their way.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use dnsproxy_api::validate::CLUSTER_DNS;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use super::{
    Job, Limit, Pipeline, Source, Verdict,
    inquiry::Inquiry,
    waiting::{Awaited, Outcome},
};
use crate::{
    cache::{Bounds, Entry, Found, Scope},
    judge::{Fate, Judgement},
    message::{
        Question, Rcode, Request,
        edns::{self, ExtendedError},
        response::{Record, Response},
    },
    rules::{self, Decision, Step, answer},
    upstream::Route,
};

/// How a query is answered that is not decided here: by whom, and, where rules matched, what they want.
pub(super) struct Way<'p> {
    pub(super) route: &'p Arc<Route>,
    pub(super) scope: Scope,
    pub(super) plan: Option<Arc<Plan>>,
}

/// An answer that was made here.
pub(super) struct Own {
    pub(super) rcode: Rcode,
    pub(super) response: Response,
    pub(super) source: Source,
    pub(super) reason: ExtendedError,
}

/// What rules want of an answer.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is asked in the end.
    question: Question<'static>,
    /// What a rule answers of it; the rest is looked up by the name at the end of these aliases.
    given: Vec<Record>,
    /// Undone and changed in the answer, in reverse.
    steps: Vec<Step>,
    /// The rule that answers.
    rule: Option<Arc<str>>,
}

impl Plan {
    fn of(asked: &Question<'_>, decision: &Decision) -> Self {
        let question = decision.question.as_ref().unwrap_or(asked);
        let (rule, given) = match &decision.verdict {
            rules::Verdict::Answer { rule, given } => (Some(rule), &*given.records),
            rules::Verdict::Pass
            | rules::Verdict::Forward(_)
            | rules::Verdict::Block { .. }
            | rules::Verdict::Failed { .. } => (None, &[][..]),
        };
        Self {
            question: question.clone().into_owned(),
            given: given.to_vec(),
            steps: decision.steps.clone(),
            rule: rule.cloned(),
        }
    }
}

/// Aliases that are followed for one query: as many as resolvers follow (unbound 11, CoreDNS 8).
const MAX_FOLLOWED: usize = 8;

impl Pipeline {
    /// Decides about a query, and counts the rules that matched: each once, however often they were looked at.
    pub(super) fn judge(&self, job: &Job<'_>) -> Result<Judgement, &'static str> {
        let mut counted = SmallVec::<[usize; 4]>::new();
        let judge = || {
            self.judge.judge(&job.query.question, job.client.address, |matched| {
                if matched.is_again && counted.contains(&matched.index) {
                    return;
                }
                counted.push(matched.index);
                if let Some(counter) = self.matches.get(matched.index) {
                    counter.inc();
                }
            })
        };
        contained(judge)
    }

    /// Writes an answer that was made here.
    pub(super) fn give_own(
        &self,
        job: &Job<'_>,
        own: Own,
        decision: &Decision,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let Own { mut rcode, mut response, source, reason } = own;
        if let Err(text) = answer::undo(&decision.steps, &mut response, &mut rcode) {
            return self.fail(job, &no_name(&text), out);
        }
        let Ok(message) = response.write() else {
            return self.fail(job, TOO_LONG, out);
        };
        let mut errors = Vec::new();
        edns::encode_error(&reason, &mut errors);
        let key = job.key(Scope(0));
        let entry =
            Entry::of_parts(&key, (rcode, false), message, &errors, &Bounds::NONE, job.started);
        self.give(job, &entry, source, None, out);
        Verdict::Reply
    }

    /// Where a query goes, and what is done to its answer.
    pub(super) fn way<'p>(
        &self,
        question: &Question<'_>,
        route: &'p Arc<Route>,
        decision: &Decision,
    ) -> Way<'p> {
        let mut fingerprint = decision.fingerprint();
        if decision.has_targets() {
            let mut hasher = DefaultHasher::new();
            let elsewhere = (self.upstreams.identity(), self.judge.fingerprint());
            (fingerprint, elsewhere).hash(&mut hasher);
            fingerprint = hasher.finish();
        }
        let scope = self.scope(route, fingerprint);
        let plan = (!decision.is_plain()).then(|| Arc::new(Plan::of(question, decision)));
        Way { route, scope, plan }
    }

    /// The answer that rules want, made of those of upstreams.
    pub(super) async fn fulfil(
        self: Arc<Self>,
        plan: Arc<Plan>,
        route: Arc<Route>,
        inquiry: Inquiry,
        started: Instant,
        is_renewal: bool,
    ) -> Outcome {
        let key = inquiry.key();
        let lookup = Lookup { pipeline: &self, asked: &inquiry.request, started, is_renewal };
        // Each part has time enough, and all of them together no more than one question has.
        let made = timeout_at(started + self.limits.query_deadline, lookup.make(&plan, route));
        let made = made.await.unwrap_or_else(|_| Err("limits.queryDeadline".to_owned()));
        // The least TTL was given when the parts came; what is older since then is not made younger.
        let bounds = Bounds { min_ttl: 0, ..self.bounds() };
        match made {
            Ok(Made { message, code, errors, upstream, source, since }) => {
                let entry = Entry::of_parts(&key, code, message, &errors, &bounds, since);
                // What was stale is looked for anew by the next one.
                let is_new = source != Source::Stale && !entry.is_failure();
                if is_new {
                    self.keep(&inquiry, &entry);
                }
                Outcome { entry, upstream, source }
            }
            Err(reason) => {
                let (errors, now) =
                    ([ExtendedError::new(ExtendedError::OTHER, reason)], Instant::now());
                let entry = Entry::of_failure(&key, Rcode::SERVFAIL, &errors, &Bounds::NONE, now);
                Outcome { entry, upstream: None, source: Source::Local }
            }
        }
    }

    /// The answer to one question of the way, from the cache or from the upstreams, or what it was when those have none
    /// in time. A stale one is due by when the client asked, the exchange's own time begins with its part.
    async fn look_up(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Arc<Request>,
        (started, begun): (Instant, Instant),
        is_renewal: bool,
    ) -> Outcome {
        let inquiry = self.inquiry(request, self.scope(route, 0));
        let known = |entry, source| Outcome { entry, upstream: None, source };
        let stale = match self.known(&inquiry) {
            // A renewal is for what ends soon; by its rule an answer may end long before what it is made of.
            Found::Fresh { entry, .. } if is_renewal && self.is_due(&inquiry, &entry) => None,
            Found::Fresh { entry, .. } => return known(entry, Source::Cache),
            // A failure of a moment ago is not asked for again (RFC 9520 section 3.2).
            Found::Failure { stale: Some(entry), .. } => return known(entry, Source::Stale),
            Found::Failure { failure, stale: None } => return known(failure, Source::Cache),
            Found::Stale(entry) => Some(entry),
            Found::Miss => None,
        };
        let spare = self.spare(stale, started);
        let (flight, is_new) = self.exchange(route, inquiry, begun);
        let (outcome, left) = Awaited::new(flight, spare).await;
        // It is for whoever began it to see to its end: once, in one place.
        if let Some(flight) = left.filter(|_| is_new)
            && let Ok(places) = self.enter(route)
        {
            self.see_to_the_end(flight, places);
        }
        outcome
    }
}

/// What is looked up for one query.
struct Lookup<'l> {
    pipeline: &'l Arc<Pipeline>,
    asked: &'l Request,
    started: Instant,
    is_renewal: bool,
}

/// An answer that was made.
struct Made {
    message: Vec<u8>,
    /// And whether an upstream failed, whatever became of that.
    code: (Rcode, bool),
    errors: Vec<u8>,
    upstream: Option<Arc<str>>,
    source: Source,
    /// From when its TTLs are.
    since: Instant,
}

/// One that is being made.
struct Draft {
    response: Response,
    rcode: Rcode,
    /// Whether an upstream failed.
    is_failure: bool,
    errors: Vec<u8>,
    upstream: Option<Arc<str>>,
    source: Source,
    /// When its TTLs were, or are, those that are left.
    since: Instant,
}

impl Lookup<'_> {
    async fn make(&self, plan: &Plan, route: Arc<Route>) -> Result<Made, String> {
        let Plan { question, given, steps, rule } = plan;
        let is_own = rule.is_some();
        let mut draft = match rule {
            Some(rule) => Draft::given(question, given, rule),
            None => self.draft(&route, question.clone(), self.started).await?,
        };
        let no_name = |text: String| no_name(&text);
        let mut next = match rule {
            Some(_) => answer::open_end(&draft.response).map(|target| (target, given.len())),
            None => answer::redirect(steps, &mut draft.response, 0).map_err(no_name)?,
        };
        let mut followed = 0;
        while let Some((target, from)) = next {
            followed += 1;
            if followed > MAX_FOLLOWED {
                return Err(format!("more than {MAX_FOLLOWED} aliases"));
            }
            let question = Question { name: target, ..question.clone() };
            // Where aliases of our own lead to, the route was chosen for; what they are led to from there was not decided
            // about.
            let part = match is_own && followed == 1 {
                true => self.draft(&route, question, Instant::now()).await?,
                false => self.target(question, &route).await?,
            };
            draft.append(part);
            next = answer::redirect(steps, &mut draft.response, from).map_err(no_name)?;
        }
        draft.finish(steps)
    }

    /// What comes of the target that a rule gave a CNAME record: it is decided about as any name, clients aside.
    async fn target(
        &self,
        question: Question<'static>,
        entered: &Arc<Route>,
    ) -> Result<Draft, String> {
        let Judgement { fate, decision } =
            contained(|| self.pipeline.judge.judge_target(&question))?;
        let route = match fate {
            Fate::Failed(reason) => return Err(reason),
            Fate::Made { rcode, response, reason, .. } => {
                return Ok(Draft::own(*response, rcode, &reason));
            }
            Fate::Asked(route) => self.pipeline.upstreams.route_at(route),
            Fate::Dropped | Fate::Any | Fate::NoRoute => None,
        };
        let route = route.ok_or("the target of an alias cannot be looked up")?;
        if self.pipeline.loop_guard.is_some() && route.name().as_ref() == CLUSTER_DNS {
            return Err("the target of an alias is a name of the cluster".into());
        }
        // The query has a place on the route that it took first.
        let _place = if Arc::ptr_eq(route, entered) {
            None
        } else {
            Some(route.enter().ok_or_else(|| self.over(Limit::InFlightOnRoute))?)
        };
        let rules::Verdict::Answer { rule, given } = &decision.verdict else {
            return self.draft(route, question, Instant::now()).await;
        };
        // The route is that of what a rule's alias leads to.
        let mut draft = Draft::given(&question, &given.records, rule);
        if let Some(target) = answer::open_end(&draft.response) {
            let question = Question { name: target, ..question };
            draft.append(self.draft(route, question, Instant::now()).await?);
        }
        Ok(draft)
    }

    fn over(&self, limit: Limit) -> String {
        self.pipeline.metrics.count_limited(limit);
        limit.label().to_owned()
    }

    /// What the cache or the upstreams say, who have from then on as long as for any question: others may wait for it,
    /// and what came of it is remembered.
    async fn draft(
        &self,
        route: &Arc<Route>,
        question: Question<'static>,
        begun: Instant,
    ) -> Result<Draft, String> {
        let Request { question: _, recursion_desired, checking_disabled, dnssec_ok } = *self.asked;
        let request =
            Arc::new(Request { question, recursion_desired, checking_disabled, dnssec_ok });
        let times = (self.started, begun);
        let looked_up = self.pipeline.look_up(route, Arc::clone(&request), times, self.is_renewal);
        Draft::of(&looked_up.await, &request.question)
    }
}

impl Draft {
    fn given(question: &Question<'static>, given: &[Record], rule: &str) -> Self {
        let mut response = Response::empty(question.clone());
        let [answers, ..] = &mut response.sections;
        answers.extend_from_slice(given);
        Self::own(response, Rcode::NOERROR, &forged(rule))
    }

    fn own(response: Response, rcode: Rcode, reason: &ExtendedError) -> Self {
        let mut errors = Vec::new();
        edns::encode_error(reason, &mut errors);
        let (upstream, source, since) = (None, Source::Rule, Instant::now());
        Self { response, rcode, is_failure: false, errors, upstream, source, since }
    }

    /// What came of looking a question up, its TTLs as they are now.
    fn of(outcome: &Outcome, question: &Question<'static>) -> Result<Self, String> {
        let Outcome { entry, upstream, source } = outcome;
        let malformed = |_| "the answer is malformed".to_owned();
        let mut response = Response::read(entry.message()).map_err(malformed)?;
        // The denial of a name, which answers every type, may have come for another one.
        response.question = question.clone();
        let is_aged_later = *source == Source::Stale || entry.is_failure();
        let since = if is_aged_later { entry.stored() } else { Instant::now() };
        let age = entry.age(since);
        response.records_mut().for_each(|record| record.ttl = record.ttl.saturating_sub(age));
        Ok(Self {
            response,
            rcode: entry.rcode(),
            is_failure: entry.is_failure(),
            errors: entry.errors().to_vec(),
            upstream: upstream.clone(),
            source: *source,
            since,
        })
    }

    /// Goes on with what is at the end of the aliases so far.
    fn append(&mut self, part: Self) {
        let Self { response, rcode, is_failure, errors, upstream, source, since } = part;
        let [answers, authorities, additionals] = response.sections;
        let [own_answers, own_authorities, own_additionals] = &mut self.response.sections;
        let is_stale = [self.source, source].contains(&Source::Stale);
        for record in &mut *own_answers {
            match self.source {
                // There is no end that they could be served with.
                Source::Stale if is_failure => record.ttl = 0,
                _ if is_stale => {}
                _ => record.ttl = record.ttl.saturating_sub(seconds(self.since, since)),
            }
        }
        own_answers.extend(answers);
        *own_authorities = authorities;
        *own_additionals = additionals;
        self.response.header.flags &= response.header.flags;
        self.rcode = rcode;
        self.is_failure = is_failure;
        self.errors.extend(errors);
        self.upstream = upstream.or_else(|| self.upstream.take());
        // All of it is as old as its oldest part; but without its end, it is what the end is.
        (self.source, self.since) = if is_stale && !is_failure {
            (Source::Stale, self.since.min(since))
        } else {
            (source, since)
        };
    }

    fn finish(self, steps: &[Step]) -> Result<Made, String> {
        let Self { mut response, mut rcode, is_failure, errors, upstream, source, since } = self;
        answer::undo(steps, &mut response, &mut rcode).map_err(|text| no_name(&text))?;
        let message = response.write().map_err(|_| TOO_LONG.to_owned())?;
        Ok(Made { message, code: (rcode, is_failure), errors, upstream, source, since })
    }
}

/// Rules make texts of what clients ask and have libraries read them: a defect there costs the query that meets it and not
/// the process.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, &'static str> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| "a defect of this proxy: its log says more")
}

/// Whole seconds from one moment to a later one.
fn seconds(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_secs()).unwrap_or(u32::MAX)
}

const TOO_LONG: &str = "with the names that were asked for, the answer has more than 65535 octets";

fn forged(rule: &str) -> ExtendedError {
    ExtendedError::new(ExtendedError::FORGED, format!("rule {rule}"))
}

fn no_name(text: &str) -> String {
    format!("for the answer, a rule makes {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_in_a_rule_costs_one_query() {
        assert_eq!(contained(|| 1), Ok(1));
        let defect = contained(|| -> u8 { panic!("as a library might") });
        assert_eq!(defect, Err("a defect of this proxy: its log says more"));
    }
}
