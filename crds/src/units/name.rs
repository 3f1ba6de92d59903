//! Names inside a manifest: of upstreams and routes.
//!
//! They become metric labels, log fields and file names, so they are DNS labels (RFC 1123 §2.1), in lower
//! case as Kubernetes has them.

use std::{fmt, str::FromStr};

/// A DNS label in lower case.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Nothing stands there.
    #[error("empty")]
    Empty,
    /// A DNS label has 63 characters at most.
    #[error("longer than {} characters", Name::MAX_LENGTH)]
    TooLong,
    /// Another character, or a hyphen at an end.
    #[error("not a name: use lower-case letters, digits and, between them, hyphens")]
    Form,
}

impl Name {
    /// What a label of a DNS name may have (RFC 1035 §2.3.4).
    pub const MAX_LENGTH: u32 = 63;

    /// The same rule as a regular expression, for schemas.
    pub const PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX_LENGTH as usize {
            return Err(NameError::TooLong);
        }
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !text.chars().all(is_part) || text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::Form);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels_in_lower_case() {
        let long = "a".repeat(63);
        let too_long = "a".repeat(64);
        let cases = [
            // (why, text, result)
            ("a word", "cloudflare", Ok(())),
            ("hyphens and digits", "quad9-backup-2", Ok(())),
            ("digits alone (RFC 1123 §2.1)", "9", Ok(())),
            ("63 characters", &long, Ok(())),
            ("64 characters", &too_long, Err(NameError::TooLong)),
            ("nothing", "", Err(NameError::Empty)),
            ("upper case", "Quad9", Err(NameError::Form)),
            ("an underscore", "quad_9", Err(NameError::Form)),
            ("a dot", "quad9.net", Err(NameError::Form)),
            ("a leading hyphen", "-quad9", Err(NameError::Form)),
            ("a trailing hyphen", "quad9-", Err(NameError::Form)),
            ("a letter outside of ASCII", "büro", Err(NameError::Form)),
        ];

        for (why, text, result) in cases {
            assert_eq!(
                text.parse::<Name>().map(|name| assert_eq!(name.as_str(), text)),
                result,
                "{why}"
            );
        }
    }
}
