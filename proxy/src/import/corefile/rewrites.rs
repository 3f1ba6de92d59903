//! The rewrites of a block, in their order: what of them is not the same here is told.

use dnsproxy_api::v1alpha1::rule::Rule;

use super::{
    Reader, check,
    rewrite::{self, Landing, Reach},
    syntax::{Block, Directive},
    ttls, zones,
};

/// What the rewrites above one say.
#[derive(Default)]
pub(super) struct Before {
    /// The line of the first that ends the way of a query, and whether it changes the question.
    pub(super) stopped: Option<(usize, bool)>,
    /// Whether a name may be another one by now.
    pub(super) has_renamed: bool,
}

impl Reader<'_> {
    pub(super) fn rewrite(
        &mut self,
        directive: &Directive,
        block: &Block,
        before: &mut Before,
    ) -> Result<(), String> {
        let mut rule = rewrite::read(directive)?;
        let changes_question = rule.rewrite.is_some();
        if let Some((line, kind)) = before.stopped
            && kind != changes_question
        {
            let reason = format!(
                "in CoreDNS line {line} ends the way of queries that it matches; here this rule is looked at for them as well"
            );
            self.draft.note(directive.line, directive.text(), reason);
        }
        if rule.then.is_none() && before.stopped.is_none() {
            before.stopped = Some((directive.line, changes_question));
        }
        match rewrite::reach(&mut rule, self.zones) {
            Reach::Outside if !before.has_renamed => {
                return Err(format!("left out: no name in {} matches", zones::listed(self.zones)));
            }
            Reach::Outside | Reach::Beyond => self.tell_of_reach(directive, &rule),
            Reach::Inside => {}
        }
        self.tell_of_answers(directive, &rule, block);
        before.has_renamed |=
            rule.then.is_some() && rule.rewrite.as_ref().is_some_and(|it| it.name.is_some());
        let name = directive.arguments().filter(|word| !matches!(*word, "stop" | "continue"));
        let name = name.take(3).collect::<Vec<_>>().join(" ");
        check(&rule)?;
        self.draft.rule(&name, rule);
        Ok(())
    }

    /// What of an answer is not changed as it is there.
    pub(super) fn tell_of_answers(&mut self, directive: &Directive, rule: &Rule, block: &Block) {
        if rewrite::has_chain(rule) {
            let reason = "CoreDNS makes each change of a name in the answer in turn, the last one first, and then the automatic one; here the first of these that matches is made";
            self.draft.note(directive.line, directive.text(), reason);
        }
        let response = rule.response.as_ref();
        if response.is_some_and(|it| it.cname_target.is_some()) {
            let reason = "the new target is looked up for every type, and what that says is the answer; a target matches in either case";
            self.draft.note(directive.line, directive.text(), reason);
            if directive.arguments().any(|word| word.eq_ignore_ascii_case("substring")) {
                let reason =
                    "of a target that has it several times, the first one alone is changed";
                self.draft.note(directive.line, directive.text(), reason);
            }
        }
        let is_of_all = response.is_some_and(|it| it.ttl.is_some() || it.rcodes.is_some());
        let is_kept = response.is_some_and(|it| it.rcodes.is_some()) || !ttls::is_for_all(rule);
        if is_of_all && is_kept && has_other_answers(block, rule) {
            let reason = "answers of `hosts` and `template` stay as they are: this is for those of upstreams";
            self.draft.note(directive.line, directive.text(), reason);
        }
        if is_of_all && block.has("cache").is_some() {
            let reason = "the bounds of the cache hold for what this makes of a TTL, too";
            if response.is_some_and(|it| it.ttl.is_some()) {
                self.draft.note(directive.line, directive.text(), reason);
            }
        }
    }

    /// What a block says about names holds for the names of its zones alone.
    pub(super) fn tell_of_reach(&mut self, directive: &Directive, rule: &Rule) {
        // Names that nobody else has are refused, unless they become some of these zones.
        let stays = Landing::of(rule).is_none_or(|landing| landing == Landing::Near);
        if self.is_alone && stays {
            return;
        }
        let zones = zones::listed(self.zones);
        let reason = format!("here it holds for every name, not for those in {zones} alone");
        self.draft.note(directive.line, directive.text(), reason);
    }
}

/// Whether a block has answers of its own that a rule would have to change. Those of lines of `hosts` have the changed TTL.
fn has_other_answers(block: &Block, rule: &Rule) -> bool {
    let is_ttl = rule.response.as_ref().is_some_and(|it| it.ttl.is_some());
    let has_hosts = block.has("hosts").is_some_and(|it| !it.args.is_empty() || !is_ttl);
    has_hosts || block.has("template").is_some()
}
