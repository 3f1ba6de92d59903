//! Expressions that match no name: those that look for a letter in upper case, or for an end without the dot.
//!
//! Elsewhere names are compared with their letters as they are, or without the dot at their end. Who brings an expression
//! from there would block nothing by it, and be told nothing. Only what is certain is found.

use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind, Look},
};

/// Why an expression matches no name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Vain {
    /// It wants a letter in upper case.
    #[error("matches no name: their letters are in lower case here")]
    UpperCase,
    /// It wants something else than a dot at the end.
    #[error("matches no name: each ends with a dot here, write `\\.$`")]
    NoDot,
}

impl Vain {
    /// Why an expression matches no name, where that is certain.
    pub fn of(text: &str) -> Option<Self> {
        let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(text);
        reason(&parsed.ok()?)
    }
}

fn reason(hir: &Hir) -> Option<Vain> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            literal.0.iter().any(u8::is_ascii_uppercase).then_some(Vain::UpperCase)
        }
        HirKind::Class(class) => is_upper_case(class).then_some(Vain::UpperCase),
        HirKind::Repetition(it) if it.min > 0 => reason(&it.sub),
        HirKind::Capture(it) => reason(&it.sub),
        HirKind::Concat(parts) => parts.iter().find_map(reason).or_else(|| ends_without_dot(parts)),
        HirKind::Alternation(parts) => {
            let reasons: Option<Vec<_>> = parts.iter().map(reason).collect();
            reasons?.first().copied()
        }
        HirKind::Repetition(_) | HirKind::Empty | HirKind::Look(_) => None,
    }
}

/// Only letters in upper case.
fn is_upper_case(class: &Class) -> bool {
    match class {
        Class::Bytes(class) => class
            .ranges()
            .iter()
            .all(|range| range.start().is_ascii_uppercase() && range.end().is_ascii_uppercase()),
        Class::Unicode(_) => false,
    }
}

fn ends_without_dot(parts: &[Hir]) -> Option<Vain> {
    let [.., before, last] = parts else { return None };
    let is_end = matches!(last.kind(), HirKind::Look(Look::End));
    (is_end && !may_end_with_dot(before)).then_some(Vain::NoDot)
}

/// Whether it may, or whether what stands before it may.
fn may_end_with_dot(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.last() == Some(&b'.'),
        HirKind::Class(Class::Bytes(class)) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&b'.'))
        }
        HirKind::Repetition(it) => it.min == 0 || may_end_with_dot(&it.sub),
        HirKind::Capture(it) => may_end_with_dot(&it.sub),
        HirKind::Concat(parts) => parts.last().is_none_or(may_end_with_dot),
        HirKind::Alternation(parts) => parts.iter().any(may_end_with_dot),
        HirKind::Class(Class::Unicode(_)) | HirKind::Empty | HirKind::Look(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_certainly_matches_no_name_is_found() {
        let cases = [
            // (expression, why it matches nothing)
            (r"^www\.", None),
            (r"^WWW\.", Some(Vain::UpperCase)),
            (r"(?i)^WWW\.", None),
            (r"\W[^A-Z]\D\S", None),
            (r"^[A-Z]+\.", Some(Vain::UpperCase)),
            (r"^[a-zA-Z]+\.", None),
            (r"^(WWW|www)\.", None),
            (r"^(WWW|Web)\.", Some(Vain::UpperCase)),
            (r"^W?www\.", None),
            (r"(^|\.)ads\.example$", Some(Vain::NoDot)),
            (r"(^|\.)ads\.example\.$", None),
            (r"(^|\.)ads\.example\.?$", None),
            (r"\.(com|net)$", Some(Vain::NoDot)),
            (r"\.(com|net\.)$", None),
            (r"^ads\d+$", Some(Vain::NoDot)),
            (r"^ads.*$", None),
            (r"^[^.]+$", Some(Vain::NoDot)),
            (r"^[^a]+$", None),
            (r"^(a$|b\.$)", None),
            (r"^(a$|b$)", Some(Vain::NoDot)),
            (r"^$", None),
            (r"ads$|x", None),
            ("", None),
        ];

        for (text, expected) in cases {
            assert_eq!(Vain::of(text), expected, "{text}");
        }
    }
}
