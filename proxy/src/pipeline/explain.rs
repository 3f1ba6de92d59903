//! The way of one query, told instead of gone.

use std::net::IpAddr;

use tokio::time::Instant;

use super::Pipeline;
use crate::{
    cache::{Found, Key, Scope},
    explain::{self, AccessStep, Asked, CacheStep, Explanation, Outcome},
    judge::Fate,
    message::{Query, Question, Rcode, Rejection, Request},
};

/// How a message with this question is refused when it comes in.
fn refusal(question: &Question<'_>) -> Option<Rcode> {
    let question = question.clone().into_owned();
    let request =
        Request { question, recursion_desired: true, checking_disabled: false, dnssec_ok: false };
    let mut message = Vec::new();
    request.encode(0, None, &mut message);
    match Query::read(&message) {
        Err(Rejection::Error { rcode, .. }) => Some(rcode),
        Ok(_) | Err(Rejection::Silence) => None,
    }
}

impl Pipeline {
    /// What would become of a question of a client, which asks without DO and CD, and why. Nothing is sent, and nothing
    /// is counted. Without a client, of one that may ask.
    pub fn explain(
        &self,
        question: &Question<'_>,
        client: Option<IpAddr>,
        now: Instant,
    ) -> Explanation {
        let query = Asked::of(question, client);
        let (is_allowed, network) = client.map_or((true, None), |client| self.access.of(client));
        let access = AccessStep { is_allowed, network: network.map(ToString::to_string) };
        let refusal = match refusal(question) {
            _ if !is_allowed => Some((Rcode::REFUSED, "this client may not ask")),
            Some(rcode) => Some((rcode, "transfers and pseudo-records are not asked for here")),
            None => None,
        };
        if let Some((rcode, reason)) = refusal {
            let (reason, rcode) = (Some(reason.into()), Some(rcode.to_string()));
            let result = Outcome { source: "refused".into(), reason, rcode, ..Outcome::default() };
            let (rules, doubts) = (Vec::new(), Vec::new());
            return Explanation { query, access, rules, asked_instead: None, result, doubts };
        }
        let client = client.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        let (rules, judgement) = explain::judge(&self.judge, question, client);
        let mut result = explain::outcome(&self.judge, question, &judgement);
        if let Fate::Asked(index) = judgement.fate
            && let Some(route) = self.upstreams.route_at(index)
        {
            let way = self.way(question, route, &judgement.decision);
            result.cache = Some(self.cached(question, way.scope, now));
            result.servers = route.servers_in_order(now);
            if self.loop_guard.as_ref().is_some_and(|guard| guard.stops(client, route.name())) {
                result.source = "local".into();
                result.rcode = Some(Rcode::SERVFAIL.to_string());
                result.reason = Some("a question of the cluster's DNS would go back to it".into());
            }
        }
        let asked_instead = explain::asked_instead(question, &judgement);
        let asked_instead = asked_instead.map(|question| Asked::of(&question, None));
        let doubt =
            "lists or hosts that cannot be read from here might decide otherwise".to_owned();
        let doubts = judgement.decision.is_uncertain.then_some(doubt).into_iter().collect();
        Explanation { query, access, rules, asked_instead, result, doubts }
    }

    fn cached(&self, question: &Question<'_>, scope: Scope, now: Instant) -> CacheStep {
        let Question { name, qtype, qclass: _ } = question;
        let state = match &self.caching {
            None => "there is no cache".to_owned(),
            Some(caching) => {
                let key = Key::of(question, false, false, scope);
                match caching.look(&key, now) {
                    Found::Fresh { entry, .. } => format!("{}, fresh, answers", entry.rcode()),
                    Found::Failure { failure, .. } => {
                        format!("{}, remembered, answers", failure.rcode())
                    }
                    Found::Stale(entry) => {
                        format!("{}, expired, for when nobody answers", entry.rcode())
                    }
                    Found::Miss => "nothing".to_owned(),
                }
            }
        };
        let key = format!("{name} {qtype} without DO and CD");
        CacheStep { key, scope: format!("{:016x}", scope.0), state }
    }
}
