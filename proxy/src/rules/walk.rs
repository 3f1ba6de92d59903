//! One way through the rules, from the question that was asked to what is done with it.

use std::{net::IpAddr, sync::Arc};

use super::{
    Action, Blocking, Changes, Decision, Match, Rule, Rules, Statics, Step, Subject, Verdict,
    names::Hits, rewrite::Rewriting,
};
use crate::{lists::Policy, message::Question};

/// One way through the rules.
pub(super) struct Walk<'r, O> {
    rules: &'r Rules,
    client: Option<IpAddr>,
    observe: O,
    decision: Decision,
    /// Whether later rules that rewrite, or that change the response, are skipped.
    skipped: [bool; 2],
}

/// Whether a rule ends the way.
enum Next {
    GoOn,
    End,
    /// The name is another one from here on.
    Again,
}

/// What a rule does about a name.
enum Act<'r> {
    Allow,
    /// The same, for TCP alone.
    AllowTcp,
    Block(Blocking),
    /// With the hash of what the records come from.
    Answer(&'r Statics, u64),
    Forward(&'r Arc<str>),
    Response(&'r Arc<Changes>),
    Rewrite(&'r Arc<Rewriting>),
}

impl Rule {
    /// A list may say what is done about its names: then a rule that blocks does that. Tells whether it is so.
    fn act(&self, subject: &Subject<'_>) -> (Act<'_>, bool) {
        let by_rule = match &self.action {
            Action::Allow => Act::Allow,
            Action::Answer(statics) => Act::Answer(statics, self.fingerprint),
            Action::Forward(route) => Act::Forward(route),
            Action::Response(changes) => Act::Response(changes),
            Action::Rewrite(rewriting) => Act::Rewrite(rewriting),
            Action::Block(blocking) => {
                let policy = self.patterns.as_ref().and_then(|patterns| patterns.policy(subject));
                let by_list = policy.map(|policy| match policy {
                    Policy::Block(with) => Act::Block(Blocking { with, ..*blocking }),
                    Policy::Pass => Act::Allow,
                    Policy::TcpOnly => Act::AllowTcp,
                    Policy::Answer(statics, fingerprint) => Act::Answer(statics, fingerprint),
                });
                return by_list.map_or((Act::Block(*blocking), false), |act| (act, true));
            }
        };
        (by_rule, false)
    }
}

impl<'r, O: FnMut(Match<'_>)> Walk<'r, O> {
    pub(super) fn new(rules: &'r Rules, client: Option<IpAddr>, observe: O) -> Self {
        Self { rules, client, observe, decision: Decision::pass(), skipped: [false; 2] }
    }

    /// Decides about what a client asked.
    pub(super) fn run(mut self, asked: &Question<'_>) -> Decision {
        let mut from = 0;
        while let Some(behind) = self.pass(asked, from) {
            from = behind;
        }
        if let Some(question) = self.decision.question.clone() {
            self.look_again(&question, false);
        }
        self.follow(asked);
        self.decision
    }

    /// Decides about a name that an answer leads to.
    pub(super) fn run_target(mut self, target: &Question<'_>) -> Decision {
        self.look_again(target, true);
        self.follow(target);
        self.decision
    }

    /// Looks at the rules from an index on, with one name. Returns where to go on with another.
    fn pass(&mut self, asked: &Question<'_>, from: usize) -> Option<usize> {
        let rules = self.rules;
        let question = self.decision.question.clone();
        let question = question.as_ref().unwrap_or(asked);
        let subject = Subject::new(&question.name);
        let hits = rules.index.find(&subject);
        let next = self.pass_each(question, from, &subject, &hits);
        self.decision.is_uncertain |= subject.is_uncertain();
        next
    }

    fn pass_each(
        &mut self,
        question: &Question<'_>,
        from: usize,
        subject: &Subject<'_>,
        hits: &Hits,
    ) -> Option<usize> {
        let rules = self.rules;
        for index in rules.candidates(hits, from) {
            let Some(rule) = rules.rules.get(index) else { continue };
            let is_skipped = match rule.action {
                Action::Rewrite(_) => self.skipped[0],
                Action::Response(_) => self.skipped[1],
                Action::Answer(_) | Action::Block(_) | Action::Forward(_) | Action::Allow => false,
            };
            if is_skipped || !rule.matches(hits.has(index), question, subject, self.client) {
                continue;
            }
            match self.take(index, rule, question, subject) {
                Next::GoOn => {}
                Next::End => return None,
                Next::Again => return Some(index + 1),
            }
        }
        None
    }

    fn take(
        &mut self,
        index: usize,
        rule: &Rule,
        question: &Question<'_>,
        subject: &Subject<'_>,
    ) -> Next {
        let rules_fingerprint = self.rules.fingerprint;
        let Self { decision, .. } = self;
        let name = Arc::clone(&rule.name);
        let (act, is_by_list) = rule.act(subject);
        let next = match act {
            Act::Allow => Next::End,
            Act::AllowTcp => {
                decision.is_tcp_only = true;
                Next::End
            }
            Act::Block(with) => {
                decision.verdict = Verdict::Block { rule: name, with };
                Next::End
            }
            Act::Forward(route) => {
                decision.verdict = Verdict::Forward(Arc::clone(route));
                Next::End
            }
            Act::Answer(statics, fingerprint) => match statics.give(question, subject) {
                None => {
                    decision.leave_type(question, &name);
                    return Next::GoOn;
                }
                Some(Ok(given)) => {
                    decision.note((fingerprint, given.fingerprint()));
                    decision.is_by_list = is_by_list;
                    decision.verdict = Verdict::Answer { rule: name, given };
                    Next::End
                }
                Some(Err(text)) => {
                    decision.verdict = Verdict::Failed { rule: name, text };
                    Next::End
                }
            },
            Act::Response(changes) => {
                self.skipped[1] = !rule.goes_on;
                decision.note(rule.fingerprint);
                // What a new target comes to depends on all rules.
                if changes.has_target() {
                    decision.note(rules_fingerprint);
                }
                decision.steps.push(Step::Change(Arc::clone(changes)));
                Next::GoOn
            }
            Act::Rewrite(rewriting) => {
                self.skipped[0] = !rule.goes_on;
                match rewriting.apply(question, subject) {
                    Ok((new, restoring)) => {
                        decision.note(rule.fingerprint);
                        decision.steps.push(Step::Restore(restoring));
                        decision.question = Some(new);
                        Next::Again
                    }
                    Err(text) => {
                        decision.verdict = Verdict::Failed { rule: name, text };
                        Next::End
                    }
                }
            }
        };
        let (kind, decision) = (rule.action.kind(), &self.decision);
        (self.observe)(Match { index, rule: &rule.name, kind, is_again: false, decision });
        next
    }

    /// Looks at the rules for the targets of aliases of our own, as far as rules answer them.
    fn follow(&mut self, asked: &Question<'_>) {
        for _ in 0..MAX_ALIASES {
            let Some(question) = self.decision.target(asked) else { return };
            if !self.look_again(&question, true) {
                return;
            }
        }
    }

    /// Allow and block rules once more, from the top, for the final question; for the target of an alias, rules that
    /// answer or forward as well. Tells whether one answered: then there may be another target.
    fn look_again(&mut self, question: &Question<'_>, is_target: bool) -> bool {
        if matches!(self.decision.verdict, Verdict::Failed { .. }) {
            return false;
        }
        let rules = self.rules;
        let subject = Subject::new(&question.name);
        let hits = rules.index.find(&subject);
        let has_answered = self.look_at_each(question, is_target, &subject, &hits);
        self.decision.is_uncertain |= subject.is_uncertain();
        has_answered
    }

    fn look_at_each(
        &mut self,
        question: &Question<'_>,
        is_target: bool,
        subject: &Subject<'_>,
        hits: &Hits,
    ) -> bool {
        let rules = self.rules;
        for index in rules.candidates(hits, 0) {
            let Some(rule) = rules.rules.get(index) else { continue };
            match &rule.action {
                Action::Allow | Action::Block(_) => {}
                Action::Answer(_) | Action::Forward(_) if is_target => {}
                Action::Answer(_)
                | Action::Rewrite(_)
                | Action::Forward(_)
                | Action::Response(_) => continue,
            }
            if !rule.matches(hits.has(index), question, subject, self.client) {
                continue;
            }
            let (act, is_by_list) = rule.act(subject);
            // Where a list leads to is not led elsewhere by a list, least of all by one that is about every name.
            if is_target && is_by_list && self.decision.is_by_list {
                continue;
            }
            let act = (act, is_by_list);
            let Some(has_answered) = self.take_again(rule, act, question, subject, is_target)
            else {
                continue;
            };
            let (kind, decision) = (rule.action.kind(), &self.decision);
            (self.observe)(Match { index, rule: &rule.name, kind, is_again: true, decision });
            return has_answered;
        }
        false
    }

    /// Does what a rule wants of the final name. Tells whether it has answered; `None` when it leaves the type to others.
    fn take_again(
        &mut self,
        rule: &Rule,
        (act, is_by_list): (Act<'_>, bool),
        question: &Question<'_>,
        subject: &Subject<'_>,
        is_target: bool,
    ) -> Option<bool> {
        let name = Arc::clone(&rule.name);
        match act {
            Act::Block(with) => {
                self.decision.is_tcp_only = false;
                self.decision.verdict = Verdict::Block { rule: name, with };
            }
            Act::Answer(statics, fingerprint) => match statics.give(question, subject) {
                Some(Ok(more)) => {
                    self.decision.note((fingerprint, more.fingerprint()));
                    if is_target {
                        self.decision.is_by_list |= is_by_list;
                    } else {
                        // A list that blocks with records blocks what was found before.
                        self.decision.verdict = Verdict::Pass;
                        self.decision.is_by_list = is_by_list;
                    }
                    return Some(self.decision.extend(&name, more));
                }
                Some(Err(text)) => self.decision.verdict = Verdict::Failed { rule: name, text },
                None => {
                    self.decision.leave_type(question, &name);
                    return None;
                }
            },
            Act::Forward(route) => self.decision.forward(route),
            // The target of an alias is allowed, and the alias stays what it is.
            Act::Allow if is_target => {}
            Act::Allow => self.decision.allow(),
            Act::AllowTcp => {
                if !is_target {
                    self.decision.allow();
                }
                self.decision.is_tcp_only = true;
            }
            Act::Rewrite(_) | Act::Response(_) => {}
        }
        Some(false)
    }
}

/// Aliases of rules that lead to one another; as many as are followed to upstreams.
const MAX_ALIASES: usize = 8;
