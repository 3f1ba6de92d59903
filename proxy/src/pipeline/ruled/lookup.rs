//! What is looked up for one query that rules have a part in: one question, or one for each alias that they lead on.
//!
//! Where a rule's own alias leads to goes the way of the query. What another alias is led to from there is decided about as any
//! name, so that no alias leads around a block, nor to the cluster's DNS, which asks us.

use std::sync::Arc;

use dnsproxy_api::validate::CLUSTER_DNS;
use tokio::time::Instant;

use super::{
    Plan, contained,
    draft::{Draft, Made},
    no_name,
};
use crate::{
    cache::Found,
    judge::{Fate, Judgement},
    message::{Question, Request},
    pipeline::{
        Limit, Pipeline, Source,
        waiting::{Awaited, Outcome},
    },
    rules::{self, Decision, answer},
    upstream::Route,
};

/// What is looked up for one query.
pub(super) struct Lookup<'l> {
    pub(super) pipeline: &'l Arc<Pipeline>,
    pub(super) asked: &'l Request,
    pub(super) started: Instant,
    pub(super) is_renewal: bool,
}

impl Lookup<'_> {
    /// What a plan wants: what rules give, or the first answer, and what the aliases in it lead to.
    pub(super) async fn make(&self, plan: &Plan, route: Arc<Route>) -> Result<Made, String> {
        let Plan { question, given, steps, rule } = plan;
        let (mut draft, mut next) = match rule {
            Some(rule) => {
                let draft = Draft::given(question, given, rule);
                let next = answer::open_end(&draft.response).map(|target| (target, given.len()));
                (draft, next)
            }
            None => {
                let mut draft = self.draft(&route, question.clone(), self.started).await?;
                let next = answer::redirect(steps, &mut draft.response, 0).map_err(no_name)?;
                (draft, next)
            }
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
            let part = match rule.is_some() && followed == 1 {
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
        let mut draft = self.decided(question, fate, &decision, entered).await?;
        draft.change(&decision.steps)?;
        Ok(draft)
    }

    async fn decided(
        &self,
        question: Question<'static>,
        fate: Fate,
        decision: &Decision,
        entered: &Arc<Route>,
    ) -> Result<Draft, String> {
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
        let outcome = self.look_up(route, Arc::clone(&request), begun).await;
        Draft::of(&outcome, &request.question)
    }

    /// The answer to one question of the way, from the cache or from the upstreams, or what it was when those have none
    /// in time. A stale one is due by when the client asked, the exchange's own time begins with its part.
    async fn look_up(&self, route: &Arc<Route>, request: Arc<Request>, begun: Instant) -> Outcome {
        let Self { pipeline, asked: _, started, is_renewal } = *self;
        let inquiry = pipeline.inquiry(request, pipeline.scope(route, 0));
        let known = |entry, source| Outcome { entry, upstream: None, source };
        let stale = match pipeline.known(&inquiry) {
            // A renewal is for what ends soon; by its rule an answer may end long before what it is made of.
            Found::Fresh { entry, .. } if is_renewal && pipeline.is_due(&inquiry, &entry) => None,
            Found::Fresh { entry, .. } => return known(entry, Source::Cache),
            // A failure of a moment ago is not asked for again (RFC 9520 section 3.2).
            Found::Failure { stale: Some(entry), .. } => return known(entry, Source::Stale),
            Found::Failure { failure, stale: None } => return known(failure, Source::Cache),
            Found::Stale(entry) => Some(entry),
            Found::Miss => None,
        };
        let spare = pipeline.spare(stale, started);
        let (flight, is_new) = pipeline.exchange(route, inquiry, begun);
        let (outcome, left) = Awaited::new(flight, spare).await;
        // It is for whoever began it to see to its end: once, in one place.
        if let Some(flight) = left.filter(|_| is_new)
            && let Ok(places) = pipeline.enter(route)
        {
            pipeline.see_to_the_end(flight, places);
        }
        outcome
    }
}

/// Aliases that are followed for one query: as many as resolvers follow (unbound 11, CoreDNS 8).
const MAX_FOLLOWED: usize = 8;
