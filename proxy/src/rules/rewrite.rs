//! Another question instead of the one that was asked.

use std::{collections::HashSet, sync::Arc};

use dnsproxy_api::units::{NamePart, Regex, Template};

use super::{
    restore::{Ending, Restore, Restoring},
    subject::{Subject, text_of},
};
use crate::message::{Name, Qclass, Qtype, Question};

/// What a rule asks for instead.
#[derive(Debug)]
pub(super) struct Rewriting {
    pub(super) name: Option<NewName>,
    pub(super) qtype: Option<Qtype>,
    pub(super) class: Option<Qclass>,
    /// What is done about the answer.
    pub(super) restore: Arc<Restore>,
}

/// How the new name comes about.
#[derive(Debug)]
pub(super) enum NewName {
    /// It is this one.
    Whole(Name<'static>),
    /// It is made of the groups of the first expression that matches.
    Regex(Vec<Regex>, Template),
    /// This takes the place of the longest of these zones, which are in wire form and in lower case.
    Zone {
        zones: HashSet<Box<[u8]>>,
        to: Name<'static>,
        /// Whether only names below them match.
        is_below: bool,
    },
    /// This takes the place of the longest of these beginnings.
    Prefix(Vec<NamePart>, String),
    /// This takes the place of the longest of these endings; all have the dot at the end.
    Suffix(Vec<String>, String),
    /// This takes the place of the first of these that is found, wherever it is.
    Substring(Vec<NamePart>, String),
}

impl Rewriting {
    /// The new question, and how its answer becomes one to the old question. The text that is no name, when that is
    /// what comes out.
    pub(super) fn apply(
        &self,
        question: &Question<'_>,
        subject: &Subject<'_>,
    ) -> Result<(Question<'static>, Restoring), String> {
        let asked = question.clone().into_owned();
        let made = self.name.as_ref().and_then(|name| name.make(subject));
        let (new_name, ending) = match made {
            None => (None, None),
            Some(made) => {
                let (name, ending) = made?;
                // Names below the new one go back below the old one.
                let zone = || Ending::Zone { new: name.clone(), old: asked.name.clone() };
                let ending = ending.or_else(|| Some(zone()));
                (Some(name), ending)
            }
        };
        let new = Question {
            name: new_name.clone().unwrap_or_else(|| asked.name.clone()),
            qtype: self.qtype.unwrap_or(asked.qtype),
            qclass: self.class.unwrap_or(asked.qclass),
        };
        let restore = Arc::clone(&self.restore);
        Ok((new, Restoring { asked, new_name, ending, restore }))
    }
}

type Made = Result<(Name<'static>, Option<Ending>), String>;

impl NewName {
    /// The new name; `None` when no pattern matches, as when the rule is there for a type.
    fn make(&self, subject: &Subject<'_>) -> Option<Made> {
        match self {
            Self::Whole(name) => Some(Ok((name.clone(), None))),
            Self::Regex(regexes, to) => {
                let text = subject.text();
                let captures = regexes.iter().find_map(|regex| regex.captures(text))?;
                let group = |index| captures.get(index);
                Some(parse(to.fill(text, group)).map(|name| (name, None)))
            }
            Self::Zone { zones, to, is_below } => {
                let name = Name::from_wire(subject.wire().to_vec()).ok()?;
                let mut suffixes = name.suffixes().skip(usize::from(*is_below));
                let zone = suffixes.find(|suffix| zones.contains(*suffix))?;
                let old = Name::from_wire(zone.to_vec()).ok()?;
                let new = replace_zone(subject.name, &old, to)?;
                let ending = Ending::Zone { new: to.clone(), old };
                Some(new.map(|name| (name, Some(ending))))
            }
            Self::Prefix(parts, to) => {
                let rest =
                    parts.iter().find_map(|part| subject.text().strip_prefix(part.as_str()))?;
                Some(parse(format!("{to}{rest}")).map(|name| (name, None)))
            }
            Self::Suffix(parts, to) => {
                let text = subject.text();
                let (rest, old) =
                    parts.iter().find_map(|part| Some((text.strip_suffix(&**part)?, part)))?;
                let ending = Ending::Text { new: to.clone(), old: old.clone() };
                Some(parse(format!("{rest}{to}")).map(|name| (name, Some(ending))))
            }
            Self::Substring(parts, to) => {
                let text = subject.text();
                let part = parts.iter().find(|part| text.contains(part.as_str()))?;
                Some(parse(text.replace(part.as_str(), to)).map(|name| (name, None)))
            }
        }
    }
}

/// A name of a text that was made; what it is instead, when it is none.
pub(super) fn parse(text: String) -> Result<Name<'static>, String> {
    text.parse().map_err(|_| format!("a name that is none: {text}"))
}

/// The name with `new` in the place of `old`, if it is within that.
pub(super) fn replace_zone(
    name: &Name<'_>,
    old: &Name<'_>,
    new: &Name<'_>,
) -> Option<Result<Name<'static>, String>> {
    if !name.is_within(old) {
        return None;
    }
    let kept = name.as_wire().len() - old.as_wire().len();
    let wire = [name.as_wire().get(..kept)?, new.as_wire()].concat();
    Some(
        Name::from_wire(wire).map_err(|_| {
            format!("a name that is none: {}{}", prefix_text(name, kept), text_of(new))
        }),
    )
}

fn prefix_text(name: &Name<'_>, octets: usize) -> String {
    let wire = [name.as_wire().get(..octets).unwrap_or_default(), &[0]].concat();
    Name::from_wire(wire).map(|name| text_of(&name)).unwrap_or_default()
}
