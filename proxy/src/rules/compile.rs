//! The rules of a manifest, made ready to be matched.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use dnsproxy_api::{
    defaults,
    units::{Duration, NamePart, QueryType, Record as Line, Regex, Template, Zone},
    v1alpha1::{self as api, Answers, Class, NameMatch, Then},
};
use serde::Serialize;

use super::{
    Action, Rule, Rules,
    block::Blocking,
    change::{Change, Changes},
    names::{NameIndex, Patterns, with_dot},
    restore::Restore,
    rewrite::{NewName, Rewriting},
    statics::{Static, Statics, Text},
};
use crate::{
    lists::List,
    message::{Qclass, Qtype, Rcode},
};

/// A text that passed the validation and cannot be used: the two disagree.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} cannot be read, though it is valid: this is a bug")]
pub struct Uncompilable(pub String);

type Compiled<T> = Result<T, Uncompilable>;

impl Rules {
    /// Compiles the rules of a valid manifest. What else decides about the target of an alias has a hash, `beside`.
    pub fn compile(rules: &[api::rule::Rule], lists: &[Arc<List>], beside: u64) -> Compiled<Self> {
        let mut compiled = Self::default();
        for (index, rule) in (0..).zip(rules) {
            compiled.add(index, rule, lists)?;
        }
        let lists: Vec<_> = lists.iter().map(|list| list.fingerprint()).collect();
        compiled.fingerprint = content(&(rules, lists, beside));
        Ok(compiled)
    }

    fn add(&mut self, index: u32, rule: &api::rule::Rule, lists: &[Arc<List>]) -> Compiled<()> {
        let api::rule::Rule {
            name,
            matches,
            rewrite,
            answer,
            block,
            forward,
            allow,
            response,
            then,
        } = rule;
        let api::Match { names, types, classes, clients } = matches;
        let patterns =
            names.as_ref().map(|names| self.index.take(names, index, lists)).transpose()?;
        if patterns.as_ref().is_none_or(|patterns| !patterns.is_empty()) {
            self.unindexed.push(index);
        }
        let names = names.as_ref();
        let (action, fingerprint) = match (rewrite, answer, block, forward, allow, response) {
            // How names go back depends on the part that matched.
            (Some(it), ..) => {
                (Action::Rewrite(Arc::new(rewriting(it, names)?)), content(&(it, names)))
            }
            (_, Some(it), ..) => (Action::Answer(Arc::new(statics(it, names)?)), content(it)),
            (_, _, Some(it), ..) => (Action::Block(blocking(it)?), content(it)),
            (_, _, _, Some(it), ..) => (Action::Forward(Arc::from(&*it.route)), content(it)),
            (_, _, _, _, Some(it), _) => (Action::Allow, content(it)),
            (_, _, _, _, _, Some(it)) => (Action::Response(Arc::new(changes(it)?)), content(it)),
            (None, None, None, None, None, None) => return Err(Uncompilable(name.clone())),
        };
        self.rules.push(Rule {
            name: Arc::from(&**name),
            types: list::<QueryType, _>(types.as_deref(), |qtype| Qtype(qtype.number()))?,
            classes: classes.iter().flatten().map(|class| qclass(*class)).collect(),
            clients: list(clients.as_deref(), |network| network)?.into_iter().collect(),
            patterns,
            action,
            goes_on: *then == Some(Then::Continue),
            fingerprint,
        });
        Ok(())
    }
}

impl NameIndex {
    /// Takes what it can look up, and returns the rest.
    fn take(&mut self, names: &NameMatch, rule: u32, known: &[Arc<List>]) -> Compiled<Patterns> {
        let NameMatch {
            exact,
            zone,
            subdomain,
            prefix,
            suffix,
            substring,
            regex,
            lists,
            max_labels,
        } = names;
        let named = |name: &String| {
            let list = known.iter().find(|list| *list.name == **name);
            list.cloned().ok_or_else(|| Uncompilable(name.clone()))
        };
        each::<Zone>(exact.as_deref(), |name| self.add_exact(name, rule))?;
        each::<Zone>(zone.as_deref(), |name| self.add_zone(name, rule))?;
        each::<Zone>(subdomain.as_deref(), |name| self.add_subdomain(name, rule))?;
        each::<NamePart>(prefix.as_deref(), |part| self.add_prefix(part, rule))?;
        each::<NamePart>(suffix.as_deref(), |part| self.add_suffix(part, rule))?;
        Ok(Patterns {
            substrings: list(substring.as_deref(), |part| part)?,
            regexes: list(regex.as_deref(), |regex| regex)?,
            lists: lists.iter().flatten().map(named).collect::<Compiled<_>>()?,
            max_labels: max_labels.and_then(|most| usize::try_from(most).ok()),
        })
    }
}

fn each<T: FromStr>(texts: Option<&[String]>, mut add: impl FnMut(&T)) -> Compiled<()> {
    texts.unwrap_or_default().iter().try_for_each(|text| {
        add(&parse(text)?);
        Ok(())
    })
}

fn list<T: FromStr, U>(texts: Option<&[String]>, map: impl Fn(T) -> U) -> Compiled<Vec<U>> {
    texts.unwrap_or_default().iter().map(|text| Ok(map(parse(text)?))).collect()
}

fn parse<T: FromStr>(text: &str) -> Compiled<T> {
    text.parse().map_err(|_| Uncompilable(text.to_owned()))
}

/// A hash of everything that an action says.
fn content(action: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(action).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

fn rewriting(rewrite: &api::Rewrite, names: Option<&NameMatch>) -> Compiled<Rewriting> {
    let api::Rewrite { name, qtype, class, answers, answer_names, answer_values } = rewrite;
    let qtype = qtype.as_deref().map(parse::<QueryType>).transpose()?;
    Ok(Rewriting {
        name: name.as_deref().map(|name| new_name(name, names)).transpose()?,
        qtype: qtype.map(|qtype| Qtype(qtype.number())),
        class: class.map(qclass),
        restore: Arc::new(Restore {
            owners: *answers != Answers::Keep,
            values: *answers == Answers::RestoreAll,
            owner_changes: all_changes(answer_names.as_deref())?,
            value_changes: all_changes(answer_values.as_deref())?,
        }),
    })
}

fn all_changes(changes: Option<&[api::NameChange]>) -> Compiled<Vec<Change>> {
    changes.unwrap_or_default().iter().map(change).collect()
}

fn change(change: &api::NameChange) -> Compiled<Change> {
    Ok(Change { regex: parse(&change.regex)?, to: parse(&change.to)? })
}

fn new_name(to: &str, names: Option<&NameMatch>) -> Compiled<NewName> {
    let names = names.ok_or_else(|| Uncompilable(to.to_owned()))?;
    let NameMatch {
        exact,
        zone,
        subdomain,
        prefix,
        suffix,
        substring,
        regex,
        lists: _,
        max_labels: _,
    } = names;
    let zones = |zones: &[String]| {
        list::<Zone, _>(Some(zones), |zone| Box::from(zone.as_wire()))
            .map(|zones| zones.into_iter().collect())
    };
    if exact.is_some() {
        return Ok(NewName::Whole(parse(to)?));
    }
    if regex.is_some() {
        return Ok(NewName::Regex(list(regex.as_deref(), |regex| regex)?, parse(to)?));
    }
    if let Some(all) = zone.as_deref().or(subdomain.as_deref()) {
        let (zones, to, is_below) = (zones(all)?, parse(to)?, zone.is_none());
        return Ok(NewName::Zone { zones, to, is_below });
    }
    let to = to.to_ascii_lowercase();
    if prefix.is_some() {
        return Ok(NewName::Prefix(longest_first(prefix.as_deref())?, to));
    }
    if suffix.is_some() {
        let parts = longest_first(suffix.as_deref())?;
        let parts = parts.iter().map(|part| with_dot(part.as_str()));
        return Ok(NewName::Suffix(parts.collect(), with_dot(&to)));
    }
    let parts = longest_first(substring.as_deref())?;
    Ok(NewName::Substring(parts, to))
}

fn longest_first(parts: Option<&[String]>) -> Compiled<Vec<NamePart>> {
    let mut parts = list::<NamePart, _>(parts, |part| part)?;
    parts.sort_by_key(|part| std::cmp::Reverse(part.as_str().len()));
    Ok(parts)
}

fn statics(answer: &api::StaticAnswer, names: Option<&NameMatch>) -> Compiled<Statics> {
    let api::StaticAnswer { records, other_types, cname } = answer;
    let regexes = names.and_then(|names| names.regex.as_deref());
    let mut distinct = Vec::<Static>::with_capacity(records.len());
    for text in records {
        let template: Template = parse(text)?;
        let sample: Line = parse(&template.fill("name.example.", |_| Some("1")))?;
        let rtype = Qtype(sample.rtype);
        let text = if template.is_constant() { Text::Fixed(sample) } else { Text::Made(template) };
        if !distinct.iter().any(|known| known.text.is_same(&text)) {
            distinct.push(Static { rtype, text });
        }
    }
    Ok(Statics {
        records: distinct,
        other_types: *other_types,
        leaves_aliases: *cname == api::OwnAlias::Leave,
        regexes: list::<Regex, _>(regexes, |regex| regex)?,
    })
}

fn blocking(block: &api::Block) -> Compiled<Blocking> {
    let api::Block { with, ttl } = block;
    let ttl = ttl.as_deref().map_or_else(|| Ok(seconds(defaults::BLOCK_TTL)), ttl_of)?;
    Ok(Blocking { with: *with, ttl })
}

fn changes(response: &api::ResponseChange) -> Compiled<Changes> {
    let api::ResponseChange { ttl, rcodes, remove_types, cname_target } = response;
    let bounds = |range: &api::TtlRange| {
        let least = range.min.as_deref().map_or(Ok(0), ttl_of)?;
        Ok((least, range.max.as_deref().map_or(Ok(u32::MAX), ttl_of)?))
    };
    let rcodes = rcodes.iter().flatten();
    Ok(Changes {
        ttl: ttl.as_ref().map(bounds).transpose()?,
        rcodes: rcodes.map(|change| (rcode(change.from), rcode(change.to))).collect(),
        removed: list::<QueryType, _>(remove_types.as_deref(), |qtype| Qtype(qtype.number()))?,
        cname_target: cname_target.as_ref().map(change).transpose()?,
    })
}

fn ttl_of(text: &str) -> Compiled<u32> {
    Ok(seconds(parse::<Duration>(text)?))
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.to_std().as_secs()).unwrap_or(u32::MAX)
}

fn qclass(class: Class) -> Qclass {
    match class {
        Class::IN => Qclass::IN,
        Class::CH => Qclass::CH,
        Class::HS => Qclass(4),
    }
}

fn rcode(code: api::ResponseCode) -> Rcode {
    use api::ResponseCode as Code;
    Rcode(match code {
        Code::NOERROR => 0,
        Code::FORMERR => 1,
        Code::SERVFAIL => 2,
        Code::NXDOMAIN => 3,
        Code::NOTIMP => 4,
        Code::REFUSED => 5,
        Code::YXDOMAIN => 6,
        Code::YXRRSET => 7,
        Code::NXRRSET => 8,
        Code::NOTAUTH => 9,
        Code::NOTZONE => 10,
    })
}
