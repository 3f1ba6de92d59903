//! Regular expressions over the text of a name, linear in time and bounded in size.
//!
//! The text is in lower case, with unusual octets as `\DDD` and with the dot at the end; an expression matches
//! anywhere in it unless it is anchored. Backreferences and look-around do not exist: they are what makes others take
//! exponential time.

use std::{fmt, str::FromStr};

use regex::bytes::{Captures, RegexBuilder};

pub use vain::Vain;

mod vain;

/// A compiled regular expression.
#[derive(Clone)]
pub struct Regex {
    compiled: regex::bytes::Regex,
    /// What its size was bounded by, in octets.
    size: usize,
}

/// The groups of a match.
#[derive(Debug)]
pub struct Groups<'t>(Captures<'t>);

/// Why a text is no regular expression.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RegexError {
    /// Nothing stands there: it would match every name.
    #[error("empty: it would match every name")]
    Empty,
    /// It takes too much memory when it is compiled.
    #[error("too large when compiled: shorten it, or its repetitions such as `{{1,200}}`")]
    TooLarge,
    /// Its form.
    #[error("not a regular expression: {0}")]
    Form(String),
}

/// Octets of a compiled expression: what nearly all need, and our guess at several times of what a name needs.
const SIZES: [usize; 3] = [1 << 13, 1 << 16, 1 << 19];

/// How deep groups may lie in one another; our guess.
const MAX_NESTING: u32 = 32;

impl Regex {
    /// Whether it matches somewhere in the text of a name.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text.as_bytes())
    }

    /// The groups of its first match in the text of a name.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Groups<'t>> {
        self.compiled.captures(text.as_bytes()).map(Groups)
    }

    /// How many groups it has.
    pub fn groups(&self) -> usize {
        self.compiled.captures_len().saturating_sub(1)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.compiled.as_str()
    }

    /// Octets that it takes at most, those aside that each thread has for a match.
    pub fn size(&self) -> usize {
        self.size
    }

    fn within(text: &str, size: usize) -> Result<Self, regex::Error> {
        // Names are ASCII here: without Unicode `\w` and `\d` are what they look like.
        let compiled = RegexBuilder::new(text)
            .unicode(false)
            .size_limit(size)
            .dfa_size_limit(SIZES[2])
            .nest_limit(MAX_NESTING)
            .build();
        compiled.map(|compiled| Self { compiled, size })
    }
}

impl<'t> Groups<'t> {
    /// One group, the whole match being the first; `None` when it took no part.
    pub fn get(&self, index: usize) -> Option<&'t str> {
        str::from_utf8(self.0.get(index)?.as_bytes()).ok()
    }
}

impl FromStr for Regex {
    type Err = RegexError;

    fn from_str(text: &str) -> Result<Self, RegexError> {
        if text.is_empty() {
            return Err(RegexError::Empty);
        }
        for size in SIZES {
            match Self::within(text, size) {
                Ok(regex) => return Ok(regex),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(other) => return Err(RegexError::Form(last_line(&other.to_string()))),
            }
        }
        Err(RegexError::TooLarge)
    }
}

/// Errors of syntax draw the expression over several lines; the last one says what is wrong.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default().trim();
    line.trim_start_matches("error: ").to_owned()
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({})", self.as_str())
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_expression_is_refused_with_the_reason() {
        let cases = [
            ("", "empty: it would match every name"),
            ("(a", "not a regular expression: unclosed group"),
            ("(a)\\1", "not a regular expression: backreferences are not supported"),
            (
                "((((a{1,100}){1,100}){1,100}){1,100})",
                "too large when compiled: shorten it, or its repetitions such as `{1,200}`",
            ),
        ];

        for (text, expected) in cases {
            assert_eq!(text.parse::<Regex>().unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn its_size_is_told_as_a_step() {
        let size = |text: &str| text.parse::<Regex>().unwrap().size();

        assert_eq!(size("^(.*)\\.old\\.example\\.$"), SIZES[0]);
        assert_eq!(size("^([a-z]{60}){4}"), SIZES[1]);
        assert_eq!(size("^([a-z]{60}){90}"), SIZES[2]);
    }

    #[test]
    fn it_matches_anywhere_unless_it_is_anchored() {
        let matches = |pattern: &str, text| pattern.parse::<Regex>().unwrap().is_match(text);

        assert!(matches("b\\.ex", "a.b.example."));
        assert!(!matches("^b\\.ex", "a.b.example."));
        assert!(matches("^\\w+\\.b\\.example\\.$", "a.b.example."));
        assert_eq!("(a)(b(c))".parse::<Regex>().unwrap().groups(), 3);
    }
}
