//! Answers with addresses of one family, by rules that leave questions for the other one to somebody else.

use super::Report;
use crate::{
    units::{QueryType, Record, Template},
    v1alpha1::{OtherTypes, rule::Rule},
};

const A: u16 = 1;
const AAAA: u16 = 28;

/// Warns of them. Most clients ask for both families, and some take an NXDOMAIN to one for an answer to both; without
/// `types` the other one is NODATA.
pub(super) fn warn(rules: &[Rule], report: &mut Report) {
    for (index, rule) in rules.iter().enumerate() {
        let Some(other) = left_out(rule) else { continue };
        let mut others = rules.iter().enumerate().filter(|(at, _)| *at != index);
        let is_taken = others.any(|(_, it)| takes(it, other, rule));
        let other = if other == A { "A" } else { "AAAA" };
        report.require(
            is_taken,
            format!("spec.rules[{index}].match.types"),
            format!(
                "{other} of these names goes on to later rules and the upstreams, and some clients take an NXDOMAIN to it for the whole \
                 name: leave `types` out, and it is NODATA, or say `otherTypes: Forward`"
            ),
        );
    }
}

/// The family that a rule with addresses of the other one is not for.
fn left_out(rule: &Rule) -> Option<u16> {
    let answer = rule.answer.as_ref().filter(|it| it.other_types == OtherTypes::NODATA)?;
    let types = rule.matches.types.as_deref()?;
    let (own, other) = match (has(types, A), has(types, AAAA)) {
        (true, false) => (A, AAAA),
        (false, true) => (AAAA, A),
        (true, true) | (false, false) => return None,
    };
    answer.records.iter().any(|text| type_of(text) == Some(own)).then_some(other)
}

/// Whether a rule is for a type of the same names. Of other patterns it is not tried whether they have them.
fn takes(rule: &Rule, qtype: u16, beside: &Rule) -> bool {
    let names = &rule.matches.names;
    let has_names = names.is_none() || *names == beside.matches.names;
    let has_type = rule.matches.types.as_deref().is_none_or(|types| has(types, qtype));
    rule.response.is_none() && has_names && has_type
}

fn has(types: &[String], qtype: u16) -> bool {
    types.iter().filter_map(|text| text.parse::<QueryType>().ok()).any(|it| it.number() == qtype)
}

fn type_of(text: &str) -> Option<u16> {
    let template: Template = text.parse().ok()?;
    let sample = template.fill("name.example.", |_| Some("1"));
    sample.parse::<Record>().ok().map(|record| record.rtype)
}
