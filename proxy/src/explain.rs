//! What becomes of a query, and why, without sending anything: `dnsproxy explain`.
//!
//! The steps are those of [`crate::pipeline`], decided by the same code; here they are put into words.

use std::{borrow::Cow, fmt::Write, net::IpAddr};

use hickory_proto::op::Message;
use serde::{Deserialize, Serialize};

use crate::{
    judge::{Fate, Judge, Judgement},
    message::{Qclass, Question, Rcode, response::Response},
    rules::{Decision, Given, Kind, Match, Step, Verdict, answer},
    zone_text,
};

/// What becomes of a query.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What is asked, and by whom.
    pub query: Asked,
    /// Whether the client may ask.
    pub access: AccessStep,
    /// The rules that matched, in order.
    pub rules: Vec<RuleStep>,
    /// What is asked in the end, when that is another question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_instead: Option<Asked>,
    /// What comes of it.
    pub result: Outcome,
    /// Why it may come out otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// A question.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub qtype: String,
    /// The class.
    pub class: String,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
}

/// Whether a client may ask.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessStep {
    /// Whether it may.
    pub is_allowed: bool,
    /// The network that decides; none is in no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// A rule that matched.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleStep {
    /// Its name.
    pub rule: String,
    /// What it does: the word of the manifest.
    pub kind: Cow<'static, str>,
    /// What it did.
    pub what: String,
    /// Whether it was looked at once more, for the final name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_second_look: bool,
}

/// What comes of a query.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// `refused`, `dropped`, `rule`, `local`, `cache` or `upstream`.
    pub source: Cow<'static, str>,
    /// Why, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The response code, of what is answered here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rcode: Option<String>,
    /// The records of the answer, of what is answered here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<String>,
    /// The route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What the answer is found by in the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheStep>,
    /// The servers in the order in which they would be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerStep>,
    /// What is done to the answer, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// What an answer is found by in the cache.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheStep {
    /// The name, type and class as they were asked, and DO and CD.
    pub key: String,
    /// What was decided about the query, as a number.
    pub scope: String,
    /// What is there now.
    pub state: String,
}

/// A server that would be asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStep {
    /// Its upstream.
    pub upstream: String,
    /// Its address.
    pub address: String,
    /// What is known of it.
    pub state: String,
}

/// What the rules say of a question, in words.
pub fn judge(judge: &Judge, question: &Question<'_>, client: IpAddr) -> (Vec<RuleStep>, Judgement) {
    let mut steps = Vec::new();
    let judgement = judge.judge(question, client, |matched| steps.push(step(&matched)));
    (steps, judgement)
}

fn step(matched: &Match<'_>) -> RuleStep {
    let Match { index: _, rule, kind, is_again, decision } = matched;
    let verdict = &decision.verdict;
    let what = match (kind, verdict) {
        (_, Verdict::Failed { text, .. }) => format!("makes {text}"),
        (Kind::Rewrite, _) => decision.question.as_ref().map_or_else(String::new, |question| {
            format!("asks for {} {} instead", question.name, question.qtype)
        }),
        (Kind::Answer, Verdict::Answer { given, .. }) => match given.records.len() {
            _ if given.is_denied => "answers that there is nothing of this type".into(),
            // Those of the aliases that lead there are among them.
            count if *is_again => format!("answers with {count} records in all"),
            1 => "answers with 1 record".into(),
            count => format!("answers with {count} records"),
        },
        (Kind::Block, Verdict::Block { with, .. }) => format!("blocks with {}", with.word()),
        (Kind::Block, Verdict::Answer { .. }) => "blocks with records of its list".into(),
        (Kind::Block, _) if decision.is_tcp_only => "lets it pass over TCP alone".into(),
        (Kind::Block, Verdict::Pass) => "lets it pass, as its list says".into(),
        (
            Kind::Forward,
            Verdict::Forward(route)
            | Verdict::Answer { given: Given { route: Some(route), .. }, .. },
        ) => format!("goes to route {route}"),
        (Kind::Allow, _) => "lets it pass".into(),
        (Kind::Response, _) => "changes the answer".into(),
        (Kind::Answer | Kind::Block | Kind::Forward, _) => "decides".into(),
    };
    RuleStep { rule: rule.to_string(), kind: kind.word().into(), what, is_second_look: *is_again }
}

/// The part of an outcome that needs nothing but the manifest.
pub fn outcome(judge: &Judge, question: &Question<'_>, judgement: &Judgement) -> Outcome {
    let Judgement { fate, decision } = judgement;
    match fate {
        Fate::Failed(reason) => {
            let rcode = Some(Rcode::SERVFAIL.to_string());
            Outcome {
                source: "local".into(),
                reason: Some(reason.clone()),
                rcode,
                ..Outcome::default()
            }
        }
        Fate::Dropped => Outcome { source: "dropped".into(), ..Outcome::default() },
        Fate::Made { rcode, response, is_ruled, reason } => {
            let source = if *is_ruled { "rule" } else { "local" };
            let denial = *rcode;
            let (rcode, answers) = made(denial, response, decision);
            // Nothing else is done to what is said here.
            let exists = decision.steps.iter().filter(|it| matches!(it, Step::Exists(_)));
            let changes = exists.filter(|_| rcode != denial).map(ToString::to_string).collect();
            let (rcode, reason) = (Some(rcode.to_string()), Some(reason.text.clone()));
            Outcome { source: source.into(), reason, rcode, answers, changes, ..Outcome::default() }
        }
        Fate::Any => Outcome {
            source: "local".into(),
            reason: Some(
                "responses.any: one record that says that ANY gets no answer (RFC 8482)".into(),
            ),
            rcode: Some(Rcode::NOERROR.to_string()),
            ..Outcome::default()
        },
        Fate::NoRoute => Outcome {
            source: "refused".into(),
            reason: Some("no route for this name".into()),
            rcode: Some(Rcode::REFUSED.to_string()),
            ..Outcome::default()
        },
        Fate::Asked(route) => Outcome {
            source: "upstream".into(),
            route: judge.routes().get(*route).map(ToString::to_string),
            changes: changes(question, decision),
            ..Outcome::default()
        },
    }
}

/// What a client gets of an answer that is made here.
fn made(mut rcode: Rcode, response: &Response, decision: &Decision) -> (Rcode, Vec<String>) {
    let mut response = response.clone();
    let written = answer::undo(&decision.steps, &mut response, &mut rcode).ok();
    let message = written.and_then(|()| response.write().ok()).unwrap_or_default();
    let decoded = Message::from_vec(&message);
    (
        rcode,
        decoded.map(|it| it.answers.iter().map(zone_text::record).collect()).unwrap_or_default(),
    )
}

/// The data of the records in lines of an answer, as a zone file has it.
pub(crate) fn values(response: &Response, decision: &Decision) -> Vec<String> {
    let mut response = response.clone();
    let mut rcode = Rcode::NOERROR;
    let written = answer::undo(&decision.steps, &mut response, &mut rcode).ok();
    let message = written.and_then(|()| response.write().ok()).unwrap_or_default();
    let decoded = Message::from_vec(&message);
    let values =
        |it: Message| it.answers.iter().map(|record| zone_text::data(&record.data)).collect();
    decoded.map(values).unwrap_or_default()
}

/// The data of the records of our own that come before what an upstream answers.
pub(crate) fn given_values(question: &Question<'_>, decision: &Decision) -> Vec<String> {
    let Verdict::Answer { given, .. } = &decision.verdict else { return Vec::new() };
    let question = decision.question.as_ref().unwrap_or(question).clone().into_owned();
    let mut response = Response::empty(question);
    let [answers, ..] = &mut response.sections;
    answers.extend_from_slice(&given.records);
    values(&response, decision)
}

/// What is asked for the client, where that is not its own question: after a rewrite, or where aliases of our own lead to.
pub(crate) fn asked_instead<'q>(
    question: &Question<'q>,
    judgement: &'q Judgement,
) -> Option<Question<'q>> {
    let Judgement { fate, decision } = judgement;
    let rewritten = decision.question.as_ref();
    match &decision.verdict {
        Verdict::Answer { given, .. } if matches!(fate, Fate::Asked(_)) => {
            let question = rewritten.unwrap_or(question);
            let mut response = Response::empty(question.clone().into_owned());
            let [answers, ..] = &mut response.sections;
            answers.extend_from_slice(&given.records);
            answer::open_end(&response).map(|name| Question { name, ..question.clone() })
        }
        _ => rewritten.cloned(),
    }
}

fn changes(question: &Question<'_>, decision: &Decision) -> Vec<String> {
    let mut changes: Vec<_> = decision.steps.iter().rev().map(ToString::to_string).collect();
    if matches!(decision.verdict, Verdict::Answer { .. }) {
        let own = given_values(question, decision).join(", ");
        changes.insert(0, format!("records of our own come first: {own}"));
    }
    if decision.question.is_some() {
        changes.push(format!("the question is {} again", question.name));
    }
    changes
}

impl Asked {
    /// A question, and who asks it.
    pub fn of(question: &Question<'_>, client: Option<IpAddr>) -> Self {
        let Question { name, qtype, qclass } = question;
        let class = match *qclass {
            Qclass::IN => "IN".into(),
            Qclass::CH => "CH".into(),
            Qclass(other) => format!("CLASS{other}"),
        };
        Self { name: name.to_string(), qtype: qtype.to_string(), class, client }
    }
}

impl Explanation {
    /// For people: one line for each step.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).ok();
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { query, access, rules, asked_instead, result, doubts } = self;
        let client = query.client.map(|client| format!(" from {client}")).unwrap_or_default();
        writeln!(out, "{} {}{client}", query.name, query.qtype)?;
        let by = access.network.as_ref();
        match (access.is_allowed, by) {
            (true, Some(network)) => writeln!(out, "access   allowed by {network}")?,
            (true, None) => writeln!(out, "access   not looked at: no client is given")?,
            (false, Some(network)) => writeln!(out, "access   denied by {network}")?,
            (false, None) => writeln!(out, "access   denied: in no network of access.allow")?,
        }
        for RuleStep { rule, kind, what, is_second_look } in rules {
            let again =
                if *is_second_look { ", looked at once more for the final name" } else { "" };
            writeln!(out, "rule     {rule} ({kind}) {what}{again}")?;
        }
        if rules.is_empty() {
            writeln!(out, "rules    none matches")?;
        }
        if let Some(Asked { name, qtype, class, client: _ }) = asked_instead {
            writeln!(out, "asks     {name} {class} {qtype}")?;
        }
        result.write(out)?;
        doubts.iter().try_for_each(|doubt| writeln!(out, "doubt    {doubt}"))
    }
}

impl Outcome {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { source, reason, rcode, answers, route, cache, servers, changes } = self;
        if let Some(CacheStep { key, scope, state }) = cache {
            writeln!(out, "cache    {key}, scope {scope}: {state}")?;
        }
        if let Some(route) = route {
            writeln!(out, "route    {route}")?;
        }
        for ServerStep { upstream, address, state } in servers {
            writeln!(out, "server   {address} of {upstream}: {state}")?;
        }
        for change in changes {
            writeln!(out, "answer   {change}")?;
        }
        let what = match (&**source, rcode) {
            ("dropped", _) => "no reply".to_owned(),
            (_, Some(rcode)) => rcode.clone(),
            ("cache", None) => "what is in the cache".to_owned(),
            (_, None) => "what the upstream answers".to_owned(),
        };
        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        writeln!(out, "result   {what}{reason}")?;
        answers.iter().try_for_each(|answer| writeln!(out, "         {answer}"))
    }
}
