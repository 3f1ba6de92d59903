//! Queries that a rule matches: what is answered here, and how the others find their way.
//!
//! What rules want of an answer is a plan. Its parts are looked up by `lookup`, each as if it were asked for by itself,
//! and put together in a `draft`.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use super::{Job, Pipeline, Source, Verdict, inquiry::Inquiry, waiting::Outcome};
use crate::{
    cache::{Bounds, Entry, Scope},
    judge::Judgement,
    message::{
        Question, Rcode,
        edns::{self, ExtendedError},
        response::{Record, Response},
    },
    rules::{self, Decision, Step, answer},
    upstream::Route,
};

mod draft;
mod lookup;

use draft::Made;
use lookup::Lookup;

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
            return self.fail(job, &no_name(text), out);
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
}

/// Rules make texts of what clients ask and have libraries read them: a defect there costs the query that meets it and not
/// the process.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, &'static str> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| "a defect of this proxy: its log says more")
}

const TOO_LONG: &str = "with the names that were asked for, the answer has more than 65535 octets";

fn no_name(text: String) -> String {
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
