//! Types that a query may ask for: those that records have, and `ANY`.

use std::{fmt, str::FromStr};

use super::{RecordType, RecordTypeError};

/// The type of a question, by its number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QueryType(u16);

/// Every type at once (RFC 1035 §3.2.3, RFC 8482).
const ANY: u16 = 255;

impl QueryType {
    /// As long as those of records.
    pub const MAX_LENGTH: u32 = RecordType::MAX_LENGTH;

    /// The form as a regular expression, for schemas.
    pub const PATTERN: &str = RecordType::PATTERN;

    /// The number in a message.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for QueryType {
    type Err = RecordTypeError;

    fn from_str(text: &str) -> Result<Self, RecordTypeError> {
        match text {
            "ANY" => Ok(Self(ANY)),
            other => Ok(Self(other.parse::<RecordType>()?.number())),
        }
    }
}

impl fmt::Display for QueryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ANY => f.write_str("ANY"),
            number => match format!("TYPE{number}").parse::<RecordType>() {
                Ok(known) => write!(f, "{known}"),
                Err(_) => write!(f, "TYPE{number}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_asks_for_what_records_have_or_for_all() {
        let cases = [
            ("AAAA", Ok(28)),
            ("TYPE65", Ok(65)),
            ("ANY", Ok(255)),
            ("AXFR", Err(RecordTypeError::Meta)),
            ("any", Err(RecordTypeError::Meta)),
        ];

        for (text, expected) in cases {
            assert_eq!(text.parse::<QueryType>().map(QueryType::number), expected, "{text}");
        }
        assert_eq!("ANY".parse::<QueryType>().unwrap().to_string(), "ANY");
        assert_eq!("TYPE28".parse::<QueryType>().unwrap().to_string(), "AAAA");
    }
}
