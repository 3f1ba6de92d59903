//! Regular expressions that no name matches: a rule that blocks by one blocks nothing.

use super::{Report, report::quoted};
use crate::{
    units::Vain,
    v1alpha1::rule::{NameMatch, Rule},
};

pub(super) fn warn(rules: &[Rule], report: &mut Report) {
    for (rule_index, rule) in rules.iter().enumerate() {
        let regexes =
            rule.matches.names.iter().filter_map(|NameMatch { regex, .. }| regex.as_ref());
        for (index, text) in regexes.flatten().enumerate() {
            if let Some(vain) = Vain::of(text) {
                let path = format!("spec.rules[{rule_index}].match.names.regex[{index}]");
                report.add(path, quoted(text, &vain));
            }
        }
    }
}
