//! What is done with a query that matches: the query side decides before the cache is asked, the answer side changes
//! what an upstream said.
//!
//! ```text
//! question, client -> Rules::decide -> Decision { verdict, final question, steps }
//! answer -> answer::undo(steps, in reverse) -> the client's answer
//! ```
//!
//! Rules are looked at in order. `allow`, `block`, `answer` and `forward` decide and end; `rewrite` and `response` change
//! something and go on. After a rewrite, allow and block rules are looked at once more, from the top, for the final
//! question, so that no alias leads around a block (CVE-2026-26017 is about such an order).
//!
//! Everything here is pure: no clock, no socket, no metric. What matched is told to an observer, which counts for
//! clients and explains for people; so an explanation is never a second implementation.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    message::{Qclass, Qtype, Question},
    networks::Networks,
};

pub mod answer;
mod block;
mod change;
mod compile;
mod existing;
mod hints;
pub mod metrics;
mod names;
mod restore;
mod rewrite;
mod statics;
mod step;
mod subject;
mod walk;

pub use block::{Blocking, denial};
pub use change::Changes;
pub use compile::Uncompilable;
pub use existing::Existing;
pub use restore::Restoring;
pub use statics::{Given, Statics};
pub use step::Step;
pub(crate) use subject::Subject;

use names::{Hits, NameIndex, Patterns};
use rewrite::Rewriting;
use walk::Walk;

/// The rules of a manifest, in order.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    index: NameIndex,
    /// Those that the index does not know: without names, or with patterns that must be tried.
    unindexed: Vec<u32>,
    /// A hash of all of them.
    fingerprint: u64,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    name: Arc<str>,
    /// Any, when there are none.
    types: Vec<Qtype>,
    classes: Vec<Qclass>,
    clients: Networks,
    /// Patterns beside those of the index; `None` when any name matches.
    patterns: Option<Patterns>,
    action: Action,
    /// Whether later rules of the same kind are looked at.
    goes_on: bool,
    /// A hash of all that the action does: of its content, and of the patterns that a rewrite puts back.
    fingerprint: u64,
}

#[derive(Debug)]
enum Action {
    Rewrite(Arc<Rewriting>),
    Answer(Arc<Statics>),
    Block(Blocking),
    Forward(Arc<str>),
    Allow,
    Response(Arc<Changes>),
}

/// What was decided about a query.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What is done.
    pub verdict: Verdict,
    /// What is asked in the end, when that is not what the client asked.
    pub question: Option<Question<'static>>,
    /// What is undone and changed in the answer, in the order in which it came about.
    pub steps: Vec<Step>,
    /// Whether the answer is one of a list that a rule blocks with.
    is_by_list: bool,
    /// Whether it is for TCP alone: over UDP the client is sent there.
    pub is_tcp_only: bool,
    /// Whether a list that is out of reach might have made it another one.
    pub is_uncertain: bool,
    /// Content of all that changes the answer; zero when nothing does.
    fingerprint: u64,
}

/// What is done with a query.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It goes its way.
    Pass,
    /// It goes to the upstreams of this route.
    Forward(Arc<str>),
    /// It is not looked up.
    Block {
        /// The rule.
        rule: Arc<str>,
        /// What the client gets.
        with: Blocking,
    },
    /// It is answered here.
    Answer {
        /// The rule.
        rule: Arc<str>,
        /// With these records.
        given: Given,
    },
    /// A rule makes a name or a record that is none.
    Failed {
        /// The rule.
        rule: Arc<str>,
        /// What it made.
        text: String,
    },
}

/// One rule that matched.
#[derive(Debug)]
pub struct Match<'r> {
    /// Its index in the manifest.
    pub index: usize,
    /// Its name.
    pub rule: &'r Arc<str>,
    /// What it does: the word of the manifest.
    pub kind: Kind,
    /// Whether this is the second look, after a rewrite.
    pub is_again: bool,
    /// What is decided by now.
    pub decision: &'r Decision,
}

/// The kinds of rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `rewrite`
    Rewrite,
    /// `answer`
    Answer,
    /// `block`
    Block,
    /// `forward`
    Forward,
    /// `allow`
    Allow,
    /// `response`
    Response,
}

impl Kind {
    /// The word of the manifest.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rewrite => "rewrite",
            Self::Answer => "answer",
            Self::Block => "block",
            Self::Forward => "forward",
            Self::Allow => "allow",
            Self::Response => "response",
        }
    }
}

impl Action {
    fn kind(&self) -> Kind {
        match self {
            Self::Rewrite(_) => Kind::Rewrite,
            Self::Answer(_) => Kind::Answer,
            Self::Block(_) => Kind::Block,
            Self::Forward(_) => Kind::Forward,
            Self::Allow => Kind::Allow,
            Self::Response(_) => Kind::Response,
        }
    }
}

impl Rules {
    /// The names of all rules, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// Decides about a question of a client. Tells `observe` of each rule that matches, in order.
    pub fn decide(
        &self,
        question: &Question<'_>,
        client: IpAddr,
        observe: impl FnMut(Match<'_>),
    ) -> Decision {
        if self.rules.is_empty() {
            return Decision::pass();
        }
        Walk::new(self, Some(client), observe).run(question)
    }

    /// Decides about a name that an answer leads to, whoever asked: rules for some clients do not match.
    pub fn decide_target(&self, question: &Question<'_>) -> Decision {
        Walk::new(self, None, |_: Match<'_>| {}).run_target(question)
    }

    /// The rules that may match a name, in order, from an index on.
    fn candidates<'s>(&'s self, hits: &'s Hits, from: usize) -> impl Iterator<Item = usize> + 's {
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let behind = |list: &'s [u32]| list.get(list.partition_point(|rule| *rule < from)..);
        let mut indexed = behind(hits).unwrap_or_default().iter().copied().peekable();
        let mut others = behind(&self.unindexed).unwrap_or_default().iter().copied().peekable();
        std::iter::from_fn(move || {
            let next = match (indexed.peek(), others.peek()) {
                (Some(a), Some(b)) => *a.min(b),
                (Some(a), None) => *a,
                (None, b) => *b?,
            };
            indexed.next_if_eq(&next);
            others.next_if_eq(&next);
            usize::try_from(next).ok()
        })
    }
}

impl Rule {
    /// Whether all but the names of the index match.
    fn matches(
        &self,
        is_hit: bool,
        question: &Question<'_>,
        subject: &Subject<'_>,
        client: Option<IpAddr>,
    ) -> bool {
        let is_client = || client.is_some_and(|client| self.clients.contain(client));
        let Question { name: _, qtype, qclass } = question;
        (self.types.is_empty() || self.types.contains(qtype))
            && (self.classes.is_empty() || self.classes.contains(qclass))
            && (self.clients.is_empty() || is_client())
            && (is_hit || self.patterns.as_ref().is_none_or(|patterns| patterns.match_any(subject)))
    }
}

impl Decision {
    fn pass() -> Self {
        Self {
            verdict: Verdict::Pass,
            question: None,
            steps: Vec::new(),
            is_by_list: false,
            is_tcp_only: false,
            is_uncertain: false,
            fingerprint: 0,
        }
    }

    /// What records of our own lead to, and nobody has answered yet.
    fn target(&self, asked: &Question<'_>) -> Option<Question<'static>> {
        let Verdict::Answer { given, .. } = &self.verdict else { return None };
        if given.is_denied {
            return None;
        }
        let question = self.question.as_ref().unwrap_or(asked);
        let name = answer::alias_of(question, &given.records)?;
        Some(Question { name, ..question.clone() }.into_owned())
    }

    /// What is allowed is not blocked, by whichever rule or list.
    fn allow(&mut self) {
        if self.is_by_list || matches!(self.verdict, Verdict::Block { .. }) {
            self.verdict = Verdict::Pass;
        }
        self.is_by_list = false;
        self.is_tcp_only = false;
    }

    /// Has the target of an alias looked up by the upstreams of a route.
    fn forward(&mut self, route: &Arc<str>) {
        match &mut self.verdict {
            Verdict::Answer { given, .. } => given.route = Some(Arc::clone(route)),
            Verdict::Pass
            | Verdict::Forward(_)
            | Verdict::Block { .. }
            | Verdict::Failed { .. } => {
                self.verdict = Verdict::Forward(Arc::clone(route));
            }
        }
    }

    /// Goes on with the records that another rule has for the target of an alias. Tells whether there were any.
    fn extend(&mut self, rule: &Arc<str>, more: Given) -> bool {
        let has_more = !more.records.is_empty();
        let Verdict::Answer { given, .. } = &mut self.verdict else {
            self.verdict = Verdict::Answer { rule: Arc::clone(rule), given: more };
            return has_more;
        };
        given.is_denied = !has_more;
        given.is_left = more.is_left;
        given.records.extend(more.records);
        has_more
    }

    /// A rule has records of a name, and leaves the type that is asked for to others.
    fn leave_type(&mut self, question: &Question<'_>, rule: &Arc<str>) {
        // Records are those of the Internet class.
        if question.qclass == Qclass::IN {
            let existing =
                Existing { name: question.name.clone().into_owned(), rule: Arc::clone(rule) };
            self.note((existing.name.to_folded(), "exists"));
            self.steps.push(Step::Exists(existing));
        }
    }

    fn note(&mut self, fingerprint: impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.fingerprint, fingerprint).hash(&mut hasher);
        self.fingerprint = hasher.finish();
    }

    /// Whether the client gets what an upstream answers to its own question.
    pub fn is_plain(&self) -> bool {
        self.question.is_none()
            && self.steps.is_empty()
            && !matches!(self.verdict, Verdict::Answer { .. })
    }

    /// Whether the answer may lead to names that are decided about anew, and asked for on any route.
    pub fn has_targets(&self) -> bool {
        let leads = |step: &Step| matches!(step, Step::Change(changes) if changes.has_target());
        self.steps.iter().any(leads)
    }

    /// A hash of all that makes the answer another than the upstream's: the final question and what is done to the
    /// answer. Zero when nothing does.
    pub fn fingerprint(&self) -> u64 {
        if self.is_plain() {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        if let Some(Question { name, qtype, qclass }) = &self.question {
            (name.to_folded(), qtype, qclass).hash(&mut hasher);
        }
        self.fingerprint.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests;
