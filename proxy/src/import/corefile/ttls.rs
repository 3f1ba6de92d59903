//! `rewrite ttl` for answers of `hosts` and `template`: a rule's change is for answers of upstreams, so records of our own have
//! the changed TTL at once.

use dnsproxy_api::{
    units::Duration,
    v1alpha1::{NameMatch, Then, TtlRange, rule::Rule},
};
use regex::{Regex, RegexBuilder};

use super::{rewrite, syntax::Block, zones::without_dot};

/// What the rewrites of a block change, up to one that cannot be read.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<Change>);

/// A rewrite. Its expressions are compiled once, as there may be very many names.
#[derive(Debug)]
struct Change {
    rule: Rule,
    regexes: Vec<Regex>,
}

impl Changes {
    pub(super) fn of(block: &Block) -> Self {
        let directives = block.directives.iter().filter(|it| it.name == "rewrite");
        let rules = directives.map_while(|directive| rewrite::read(directive).ok());
        Self(rules.map(Change::of).collect())
    }

    /// The TTL of an answer about a name, or about every name.
    pub(super) fn ttl(&self, name: Option<&str>, ttl: u32) -> u32 {
        for change in &self.0 {
            let rule = &change.rule;
            match (change.concerns(name), range(rule)) {
                (Concern::No, _) => {}
                (Concern::Yes, Some(range)) => return bounded(ttl, range),
                (Concern::Yes, None)
                    if rule.then == Some(Then::Continue) && rule.rewrite.is_none() => {}
                (Concern::Yes | Concern::Some, _) => return ttl,
            }
        }
        ttl
    }
}

/// Whether a rule changes TTLs of answers about every name.
pub(super) fn is_for_all(rule: &Rule) -> bool {
    range(rule).is_some() && rule.matches.names.as_ref().is_some_and(has_every_name)
}

/// Whether a rule is for a name.
enum Concern {
    No,
    Yes,
    /// For some of the names that are meant.
    Some,
}

impl Change {
    fn of(rule: Rule) -> Self {
        let names = rule.matches.names.iter();
        let texts = names.flat_map(|names| names.regex.iter().flatten());
        // Names are compared in lower case. The case of an expression is part of it: `\S` is not `\s`.
        let regex = |text: &String| RegexBuilder::new(text).case_insensitive(true).build().ok();
        let regexes = texts.filter_map(regex).collect();
        Self { rule, regexes }
    }

    fn concerns(&self, name: Option<&str>) -> Concern {
        match (&self.rule.matches.names, name) {
            // For types and classes, of which there are no answers.
            (None, _) => Concern::No,
            (Some(names), _) if has_every_name(names) => Concern::Yes,
            (Some(_), None) => Concern::Some,
            (Some(names), Some(name)) => {
                let name = format!("{}.", without_dot(name));
                let is_match = self.regexes.iter().any(|regex| regex.is_match(&name));
                if is_match || has(names, &name) { Concern::Yes } else { Concern::No }
            }
        }
    }
}

fn has_every_name(names: &NameMatch) -> bool {
    let one = |list: &Option<Vec<String>>, all: &[&str]| {
        list.iter().flatten().any(|it| all.contains(&&**it))
    };
    one(&names.regex, &[".*", "(.*)", "^.*$", "^(.*)$", ".+", "(.+)", "."])
        || one(&names.suffix, &["."])
}

/// Whether they match a name without an expression.
fn has(names: &NameMatch, name: &str) -> bool {
    let any = |list: &Option<Vec<String>>, is_match: &dyn Fn(&str) -> bool| {
        list.iter().flatten().any(|it| is_match(&it.to_ascii_lowercase()))
    };
    any(&names.exact, &|it| it.trim_end_matches('.') == name.trim_end_matches('.'))
        || any(&names.prefix, &|it| name.starts_with(it))
        || any(&names.suffix, &|it| name.ends_with(it))
        || any(&names.substring, &|it| name.contains(it))
}

fn range(rule: &Rule) -> Option<&TtlRange> {
    rule.response.as_ref()?.ttl.as_ref()
}

fn bounded(ttl: u32, TtlRange { min, max }: &TtlRange) -> u32 {
    let seconds = |text: &Option<String>| {
        let bound: Duration = text.as_ref()?.parse().ok()?;
        u32::try_from(bound.to_std().as_secs()).ok()
    };
    let ttl = seconds(max).map_or(ttl, |most| ttl.min(most));
    seconds(min).map_or(ttl, |least| ttl.max(least))
}
