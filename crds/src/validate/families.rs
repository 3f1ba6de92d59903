//! Answers with addresses of one family, by rules that leave questions for the other one to somebody else.

use std::collections::HashSet;

use super::Report;
use crate::{
    units::{QueryType, Record, Template},
    v1alpha1::{
        OtherTypes,
        rule::{NameMatch, Rule},
    },
};

const A: u16 = 1;
const AAAA: u16 = 28;

/// Warns of them. Most clients ask for both families, and some take an NXDOMAIN to one for an answer to both; without
/// `types` the other one is NODATA.
///
/// There may be thousands of rules with thousands of names: none is compared with all others.
pub(super) fn warn(rules: &[Rule], report: &mut Report) {
    let left_out: Vec<_> = (rules.iter().enumerate())
        .filter_map(|(index, rule)| Some((index, rule, left_out(rule)?)))
        .collect();
    if left_out.is_empty() {
        return;
    }
    let taken = Taken::by(rules);
    for (index, rule, other) in left_out {
        let family = if other == A { "A" } else { "AAAA" };
        report.require(
            taken.has(other, rule.matches.names.as_ref()),
            format!("spec.rules[{index}].match.types"),
            format!(
                "{family} of these names goes on to later rules and the upstreams, and some clients take an NXDOMAIN to it for the whole \
                 name: leave `types` out, and it is NODATA, or with `otherTypes: Forward` what upstreams have, and no NXDOMAIN"
            ),
        );
    }
}

/// The family that a rule with addresses of the other one is not for.
fn left_out(rule: &Rule) -> Option<u16> {
    let answer = rule.answer.as_ref().filter(|it| it.other_types == OtherTypes::NODATA)?;
    rule.matches.types.as_ref()?;
    let (own, other) = match families(rule) {
        [true, false] => (A, AAAA),
        [false, true] => (AAAA, A),
        [true, true] | [false, false] => return None,
    };
    answer.records.iter().any(|text| type_of(text) == Some(own)).then_some(other)
}

/// The names for which some rule takes each family. Of other patterns than a rule's own it is not tried whether they have its
/// names. No rule takes the family that it leaves out, so that none need be told from the others.
#[derive(Default)]
struct Taken<'a> {
    a: HashSet<Option<&'a NameMatch>>,
    aaaa: HashSet<Option<&'a NameMatch>>,
}

impl<'a> Taken<'a> {
    fn by(rules: &'a [Rule]) -> Self {
        let mut taken = Self::default();
        for rule in rules.iter().filter(|rule| rule.response.is_none()) {
            let names = rule.matches.names.as_ref();
            let [has_a, has_aaaa] = families(rule);
            if has_a {
                taken.a.insert(names);
            }
            if has_aaaa {
                taken.aaaa.insert(names);
            }
        }
        taken
    }

    fn has(&self, family: u16, names: Option<&NameMatch>) -> bool {
        let taken = if family == A { &self.a } else { &self.aaaa };
        taken.contains(&None) || taken.contains(&names)
    }
}

/// Whether a rule is for A and for AAAA.
fn families(rule: &Rule) -> [bool; 2] {
    let Some(types) = &rule.matches.types else { return [true; 2] };
    let types = types.iter().filter_map(|text| text.parse::<QueryType>().ok());
    let numbers: Vec<_> = types.map(QueryType::number).collect();
    [A, AAAA].map(|family| numbers.contains(&family))
}

fn type_of(text: &str) -> Option<u16> {
    let template: Template = text.parse().ok()?;
    let sample = template.fill("name.example.", |_| Some("1"));
    sample.parse::<Record>().ok().map(|record| record.rtype)
}
