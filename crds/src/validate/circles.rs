//! Aliases of rules that lead back to where they began.

use std::collections::{BTreeMap, HashMap};

use super::Report;
use crate::{
    units::{Record, Template, Zone},
    v1alpha1::{Match, NameMatch, rule::Rule},
};

/// Warns of rules whose alias leads back to them. Only those that are for every client and type, and for names by
/// labels, are looked at: others may decide otherwise from query to query.
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
    for suffix in suffixes(&record.data) {
        let label = suffix.get(1..=usize::from(*suffix.first()?))?;
        label.iter().for_each(|octet| name.push_str(&format!("\\{octet:03}")));
        name.push('.');
    }
    name.parse().ok()
}

/// The first rule for each name.
#[derive(Default)]
struct Deciding {
    whole: HashMap<Box<[u8]>, usize>,
    zones: HashMap<Box<[u8]>, usize>,
    below: HashMap<Box<[u8]>, usize>,
}

impl Deciding {
    fn of(rules: &[Rule]) -> Self {
        let mut deciding = Self::default();
        for (index, rule) in rules.iter().enumerate().filter(|(_, it)| it.response.is_none()) {
            let Match { names, types, classes, clients } = &rule.matches;
            let is_for_all = types.is_none() && classes.is_none() && clients.is_none();
            let Some(NameMatch { exact, zone, subdomain, .. }) =
                names.as_ref().filter(|_| is_for_all)
            else {
                continue;
            };
            let Self { whole, zones, below } = &mut deciding;
            for (texts, known) in [(exact, whole), (zone, zones), (subdomain, below)] {
                let names = texts.iter().flatten().filter_map(|text| text.parse::<Zone>().ok());
                names.for_each(|name| {
                    known.entry(name.as_wire().into()).or_insert(index);
                });
            }
        }
        deciding
    }

    fn first(&self, name: &Zone) -> Option<usize> {
        let zones = suffixes(name.as_wire()).filter_map(|suffix| self.zones.get(suffix));
        let below = suffixes(name.as_wire()).skip(1).filter_map(|suffix| self.below.get(suffix));
        self.whole.get(name.as_wire()).into_iter().chain(zones).chain(below).min().copied()
    }
}

/// A name in wire form, and those above it, the root aside.
fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(wire), |wire| above(wire)).take_while(|wire| wire.len() > 1)
}

fn above(wire: &[u8]) -> Option<&[u8]> {
    wire.get(1 + usize::from(*wire.first()?)..)
}
