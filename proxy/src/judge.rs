//! What a manifest decides about a query by itself, before anything is looked up.
//!
//! ```text
//! rules -> hosts -> private names, ANY -> route
//! ```
//!
//! There is no clock and no socket here, so the proxy asks it for each query, `dnsproxy explain` for one, and `spec.tests`
//! for those of a manifest: all get the same answer by the same code.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    net::IpAddr,
    sync::Arc,
};

use dnsproxy_api::v1alpha1::{AnyQuestions, PrivateNames};

#[cfg(test)]
use crate::message::Name;
use crate::{
    hosts::Hosts,
    message::{
        Qtype, Question, Rcode,
        edns::ExtendedError,
        response::{Record, Response},
    },
    private_names,
    rules::{Decision, Given, Match, Rules, Step, Verdict, answer, denial},
    upstream::{RouteSettings, Zones},
};

/// The deciding part of a manifest.
#[derive(Debug, Default)]
pub struct Judge {
    rules: Arc<Rules>,
    hosts: Arc<Hosts>,
    private_names: PrivateNames,
    any: AnyQuestions,
    zones: Zones,
    /// The names of the routes, in order.
    routes: Vec<Arc<str>>,
}

/// What was decided about a query.
#[derive(Debug)]
pub struct Judgement {
    /// What becomes of it.
    pub fate: Fate,
    /// What the rules said.
    pub decision: Decision,
}

/// What becomes of a query.
#[derive(Debug)]
pub enum Fate {
    /// A rule makes of its name none that can be asked for.
    Failed(String),
    /// It gets no reply.
    Dropped,
    /// It is answered here.
    Made {
        /// With this response code.
        rcode: Rcode,
        /// With these records; names are those of the final question.
        response: Box<Response>,
        /// Whether by a rule, rather than by what is always so.
        is_ruled: bool,
        /// What to tell the client.
        reason: ExtendedError,
    },
    /// It is for ANY, and gets one record that says so (RFC 8482).
    Any,
    /// No route is for it.
    NoRoute,
    /// The upstreams of the route with this index are asked, where the cache has nothing.
    Asked(usize),
}

impl Judge {
    /// Decides by these.
    pub fn new(
        rules: Arc<Rules>,
        hosts: Arc<Hosts>,
        private_names: PrivateNames,
        any: AnyQuestions,
        routes: &[RouteSettings],
    ) -> Self {
        let zones = Zones::of(routes);
        let routes = routes.iter().map(|route| Arc::clone(&route.name)).collect();
        Self { rules, hosts, private_names, any, zones, routes }
    }

    /// One without rules, with one route for every name.
    #[cfg(test)]
    pub(crate) fn for_all() -> Self {
        let mut judge = Self::default();
        judge.zones.insert(&Name::root(), 0);
        judge.routes.push(Arc::from("default"));
        judge
    }

    /// A hash of what decides about names that no rule has decided about, hosts aside, which rules know of.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        mem::discriminant(&self.private_names).hash(&mut hasher);
        mem::discriminant(&self.any).hash(&mut hasher);
        hasher.finish()
    }

    /// The names of the routes, in order.
    pub fn routes(&self) -> &[Arc<str>] {
        &self.routes
    }

    /// Decides about a question of a client. Tells `observe` of each rule that matches.
    pub fn judge(
        &self,
        question: &Question<'_>,
        client: IpAddr,
        observe: impl FnMut(Match<'_>),
    ) -> Judgement {
        let mut decision = self.rules.decide(question, client, observe);
        let question = decision.question.as_ref().unwrap_or(question);
        let fate = self.fate(question, &decision.verdict);
        let has_looked = || match &decision.verdict {
            Verdict::Pass => true,
            Verdict::Answer { given, .. } => answer::alias_of(question, &given.records).is_some(),
            Verdict::Forward(_) | Verdict::Block { .. } | Verdict::Failed { .. } => false,
        };
        let is_uncertain = self.hosts.is_partial() && has_looked();
        decision.is_uncertain |= is_uncertain;
        Judgement { fate, decision }.settled()
    }

    /// Decides about a name that an answer leads to, whoever asked.
    pub fn judge_target(&self, question: &Question<'_>) -> Judgement {
        let decision = self.rules.decide_target(question);
        let fate = self.fate(question, &decision.verdict);
        Judgement { fate, decision }.settled()
    }

    fn fate(&self, question: &Question<'_>, verdict: &Verdict) -> Fate {
        match verdict {
            Verdict::Failed { rule, text } => Fate::Failed(format!("rule {rule} makes {text}")),
            Verdict::Block { rule, with } => match with.respond(question) {
                None => Fate::Dropped,
                Some((rcode, response)) => ruled(rcode, response, ExtendedError::BLOCKED, rule),
            },
            Verdict::Answer { rule, given } => {
                let target = answer::alias_of(question, &given.records);
                let open = target.as_ref().filter(|_| !given.is_denied && !given.is_left);
                if let Some(target) = open {
                    let target = Question { name: target.clone(), ..question.clone() };
                    return self.target(question, given, &target);
                }
                let denied = given.is_denied.then(|| {
                    let name = target.unwrap_or_else(|| question.name.clone().into_owned());
                    denial(&Question { name, ..question.clone() }, given.ttl)
                });
                let response = answered(question, &given.records, denied);
                ruled(Rcode::NOERROR, response, ExtendedError::FORGED, rule)
            }
            Verdict::Forward(_) if self.is_minimal(question) => Fate::Any,
            Verdict::Forward(name) => self.forwarded(name),
            Verdict::Pass => match self.local(question) {
                Some(local) => local,
                None if self.is_minimal(question) => Fate::Any,
                None => self.routed(question),
            },
        }
    }

    /// What becomes of the name at the end of aliases of our own.
    fn target(&self, question: &Question<'_>, given: &Given, target: &Question<'_>) -> Fate {
        if let Some(route) = &given.route {
            return self.forwarded(route);
        }
        match self.local(target) {
            Some(Fate::Made { rcode, response: local, reason, .. }) => {
                let mut response = answered(question, &given.records, None);
                let [answers, authorities, _] = &mut response.sections;
                let [more, denial, _] = local.sections;
                answers.extend(more);
                authorities.extend(denial);
                Fate::Made { rcode, response: Box::new(response), is_ruled: true, reason }
            }
            Some(other) => other,
            None => self.routed(target),
        }
    }

    fn forwarded(&self, name: &str) -> Fate {
        let route = self.routes.iter().position(|route| **route == *name);
        route.map_or(Fate::NoRoute, Fate::Asked)
    }

    fn is_minimal(&self, question: &Question<'_>) -> bool {
        question.qtype == Qtype::ANY && self.any == AnyQuestions::Minimal
    }

    fn routed(&self, question: &Question<'_>) -> Fate {
        self.zones.find(question).map_or(Fate::NoRoute, Fate::Asked)
    }

    /// What is answered here of a name that no rule has decided about.
    fn local(&self, question: &Question<'_>) -> Option<Fate> {
        if let Some(response) = self.hosts.answer(question) {
            let reason = ExtendedError::new(ExtendedError::FORGED, "hosts");
            let (rcode, response) = (Rcode::NOERROR, Box::new(response));
            return Some(Fate::Made { rcode, response, is_ruled: false, reason });
        }
        self.private(question)
    }

    /// What is answered of a name that means something here alone, unless a route has a zone for it.
    fn private(&self, question: &Question<'_>) -> Option<Fate> {
        if self.private_names == PrivateNames::Forward {
            return None;
        }
        let (mut rcode, response) = private_names::answer(question)?;
        if self.zones.zone_len(question).is_some_and(|len| len > 1) {
            return None;
        }
        // "No such name" would be the end of all that is below it (RFC 8020 section 2).
        if self.zones.imply(&question.name) {
            rcode = Rcode::NOERROR;
        }
        let reason = ExtendedError::new(ExtendedError::OTHER, "responses.privateNames");
        Some(Fate::Made { rcode, response: Box::new(response), is_ruled: false, reason })
    }
}

impl Judgement {
    /// Response rules change what upstreams answer, not what is answered here; what a rule blocks is blocked though another one has
    /// records of other types.
    fn settled(mut self) -> Self {
        if matches!(self.fate, Fate::Made { .. }) {
            let is_blocked = matches!(self.decision.verdict, Verdict::Block { .. });
            self.decision.steps.retain(|step| match step {
                Step::Restore(_) => true,
                Step::Exists(_) => !is_blocked,
                Step::Change(_) => false,
            });
        }
        self
    }
}

fn ruled(rcode: Rcode, response: Response, code: u16, rule: &str) -> Fate {
    let reason = ExtendedError::new(code, format!("rule {rule}"));
    Fate::Made { rcode, response: Box::new(response), is_ruled: true, reason }
}

fn answered(question: &Question<'_>, records: &[Record], denied: Option<Record>) -> Response {
    let mut response = Response::empty(question.clone().into_owned());
    let [answers, authorities, _] = &mut response.sections;
    answers.extend_from_slice(records);
    authorities.extend(denied);
    response
}
