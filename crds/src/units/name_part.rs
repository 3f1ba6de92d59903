//! A part of a name's text, which may begin and end anywhere: what `prefix`, `suffix` and `substring` compare.

use std::{fmt, str::FromStr};

/// Lower case, without anything that the text of a name never has.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NamePart(String);

/// Why a text is no part of a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NamePartError {
    /// Nothing stands there.
    #[error("empty: it would match every name")]
    Empty,
    /// A Unicode name.
    #[error("not ASCII: write the name in its `xn--` form (RFC 5890)")]
    NotAscii,
    /// A pattern.
    #[error("`*` stands for itself here: leave it out, or use `regex`")]
    Wildcard,
    /// What no name's text has.
    #[error("`{0}` does not belong into a name (an unusual octet is written \\DDD)")]
    Character(char),
    /// Longer than any name.
    #[error("longer than any name")]
    TooLong,
}

impl NamePart {
    /// The text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NamePart {
    type Err = NamePartError;

    fn from_str(text: &str) -> Result<Self, NamePartError> {
        if text.is_empty() {
            return Err(NamePartError::Empty);
        }
        if text.len() > super::Zone::MAX_LENGTH as usize {
            return Err(NamePartError::TooLong);
        }
        let is_usual = |c: &char| c.is_ascii_alphanumeric() || "-_/.\\".contains(*c);
        match text.chars().find(|c| !is_usual(c)) {
            None => Ok(Self(text.to_ascii_lowercase())),
            Some('*') => Err(NamePartError::Wildcard),
            Some(c) if c.is_ascii() => Err(NamePartError::Character(c)),
            Some(_) => Err(NamePartError::NotAscii),
        }
    }
}

impl fmt::Display for NamePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_lower_case_text_without_patterns() {
        let cases = [
            (".Old.example", Ok(".old.example")),
            ("foo", Ok("foo")),
            ("a\\000b", Ok("a\\000b")),
            ("", Err(NamePartError::Empty)),
            ("*foo", Err(NamePartError::Wildcard)),
            ("a b", Err(NamePartError::Character(' '))),
            ("stra\u{df}e", Err(NamePartError::NotAscii)),
        ];

        for (text, expected) in cases {
            let parsed = text.parse::<NamePart>().map(|part| part.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{text}");
        }
    }
}
