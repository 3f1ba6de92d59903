//! Aliases of rules that lead back to where they began.

use std::collections::{BTreeMap, HashMap};

use super::Report;
use crate::{
    units::{Record, Template, Zone},
    v1alpha1::{Match, NameMatch, rule::Rule},
};

/// Warns of rules whose alias leads back to them. A way is followed as far as it is the same for every query: no longer
/// than to a name that an earlier rule may decide about, for some clients or types or by a pattern that is not tried here.
pub(super) fn warn(rules: &[Rule], report: &mut Report) {
    let targets: BTreeMap<usize, Zone> =
        rules.iter().enumerate().filter_map(|(index, rule)| Some((index, target(rule)?))).collect();
    if targets.is_empty() {
        return;
    }
    let deciding = Deciding::of(rules);
    for (index, target) in &targets {
        let next = |target: &&Zone| targets.get(&deciding.first(target)?);
        let mut ways = std::iter::successors(Some(target), next).take(MAX_FOLLOWED);
        if ways.any(|name| deciding.first(name) == Some(*index)) {
            let message = format!("{target} leads back to this rule: such a query ends nowhere");
            report.add(format!("spec.rules[{index}].answer.records"), message);
        }
    }
}

/// More aliases in a row than are followed for one query.
const MAX_FOLLOWED: usize = 16;
const CNAME: u16 = 5;

/// Where the alias of a rule leads, if that is the same for every query.
fn target(rule: &Rule) -> Option<Zone> {
    let [text] = &*rule.answer.as_ref()?.records else { return None };
    let template: Template = text.parse().ok()?;
    let record: Record = text.parse().ok()?;
    if !template.is_constant() || record.rtype != CNAME {
        return None;
    }
    let mut name = String::new();
    for suffix in suffixes(&record.data).take_while(|suffix| suffix.len() > 1) {
        let label = suffix.get(1..=usize::from(*suffix.first()?))?;
        label.iter().for_each(|octet| name.push_str(&format!("\\{octet:03}")));
        name.push('.');
    }
    name.parse().ok()
}

/// The first rule for each name.
#[derive(Default)]
struct Deciding {
    /// Of those that decide about each query for it.
    surely: Names,
    /// Of those that decide about some.
    perhaps: Names,
    /// The first of those that may be for any name.
    of_any: Option<usize>,
}

impl Deciding {
    fn of(rules: &[Rule]) -> Self {
        let mut deciding = Self::default();
        for (index, rule) in rules.iter().enumerate().filter(|(_, it)| it.response.is_none()) {
            let Match { names, types, classes, clients } = &rule.matches;
            let is_for_all = types.is_none() && classes.is_none() && clients.is_none();
            let Self { surely, perhaps, of_any } = &mut deciding;
            let known = if is_for_all { surely } else { perhaps };
            if names.as_ref().is_none_or(|names| known.add(index, names)) {
                of_any.get_or_insert(index);
            }
        }
        deciding
    }

    /// The rule that decides about each query for a name, if no earlier one may decide about some of them.
    fn first(&self, name: &Zone) -> Option<usize> {
        let Self { surely, perhaps, of_any } = self;
        let first = surely.first(name)?;
        let mut earlier = perhaps.first(name).into_iter().chain(*of_any);
        earlier.all(|other| other >= first).then_some(first)
    }
}

/// The first rule for each name, by labels.
#[derive(Default)]
struct Names {
    whole: HashMap<Box<[u8]>, usize>,
    zones: HashMap<Box<[u8]>, usize>,
    below: HashMap<Box<[u8]>, usize>,
}

impl Names {
    /// Tells whether there are patterns as well, which are not tried here.
    fn add(&mut self, index: usize, names: &NameMatch) -> bool {
        let Self { whole, zones, below } = self;
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
        for (texts, known) in [(exact, whole), (zone, zones), (subdomain, below)] {
            let names = texts.iter().flatten().filter_map(|text| text.parse::<Zone>().ok());
            names.for_each(|name| {
                known.entry(name.as_wire().into()).or_insert(index);
            });
        }
        max_labels.is_some()
            || [prefix, suffix, substring, regex, lists].iter().any(|texts| texts.is_some())
    }

    fn first(&self, name: &Zone) -> Option<usize> {
        let zones = suffixes(name.as_wire()).filter_map(|suffix| self.zones.get(suffix));
        let below = suffixes(name.as_wire()).skip(1).filter_map(|suffix| self.below.get(suffix));
        self.whole.get(name.as_wire()).into_iter().chain(zones).chain(below).min().copied()
    }
}

/// A name in wire form, and those above it up to the root.
fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(wire), |wire| above(wire)).take_while(|wire| !wire.is_empty())
}

fn above(wire: &[u8]) -> Option<&[u8]> {
    wire.get(1 + usize::from(*wire.first()?)..)
}
