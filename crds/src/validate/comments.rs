//! Records of which a part is a comment: `TXT v=DMARC1; p=none` without quotes is the text `v=DMARC1`.

use super::{Report, report::quoted};
use crate::v1alpha1::rule::Rule;

pub(super) fn warn(rules: &[Rule], report: &mut Report) {
    for (rule_index, rule) in rules.iter().enumerate() {
        let records = rule.answer.iter().flat_map(|answer| &answer.records);
        for (index, text) in
            records.enumerate().filter(|(_, text)| has_text(text) && has_comment(text))
        {
            let reason = "what stands behind `;` is a comment: if it belongs to the text, put that into quotes";
            report.add(
                format!("spec.rules[{rule_index}].answer.records[{index}]"),
                quoted(text, &reason),
            );
        }
    }
}

/// Whether it is of a type with texts, in which a semicolon is often meant as one.
fn has_text(record: &str) -> bool {
    // Before it stand a name, a TTL and a class at most.
    record.split_ascii_whitespace().take(4).any(|word| {
        ["TXT", "SPF", "CAA", "HINFO", "NAPTR", "SVCB", "HTTPS"]
            .iter()
            .any(|with_text| word.eq_ignore_ascii_case(with_text))
    })
}

/// Whether a semicolon stands in it that is neither quoted nor escaped (RFC 1035 section 5.1).
fn has_comment(text: &str) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.bytes().any(|octet| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match octet {
            b'\\' if !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            b';' => return !was_escaped && !is_quoted,
            _ => {}
        }
        false
    })
}
