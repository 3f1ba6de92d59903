//! Types of records, as zone files write them: `NS`, `AAAA`, `TYPE65400`.
//!
//! A mnemonic is one of those in use today (IANA "Domain Name System Parameters"); any other type has
//! the form of RFC 3597 §5. Types that no record has are refused: RFC 6895 §3.1 calls them Q and meta
//! types, and they ask for transfers or belong to the protocol itself.

use std::{fmt, str::FromStr};

/// The type of a record, by its number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RecordType(u16);

/// Why a text is no type of a record.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordTypeError {
    /// Nothing stands there.
    #[error("empty")]
    Empty,
    /// A type in lower case.
    #[error("types have upper case: write `{0}`")]
    Case(String),
    /// A type that no record has (RFC 6895 §3.1).
    #[error("no record has this type: write one such as `NS` or `A`")]
    Meta,
    /// It does not fit.
    #[error("no type has a larger number than 65535")]
    Range,
    /// It has another form, or nobody knows it.
    #[error("not a type: write a mnemonic such as `NS`, or its number as `TYPE123`")]
    Unknown,
}

impl RecordType {
    /// The longest mnemonics have ten letters.
    pub const MAX_LENGTH: u32 = 10;

    /// The form as a regular expression, for schemas.
    pub const PATTERN: &str = "^[A-Z][A-Z0-9]*$";

    /// The number in a message.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// A type that records may have.
    ///
    /// # Errors
    /// No record has it.
    pub const fn new(number: u16) -> Result<Self, RecordTypeError> {
        match number {
            0 | OPT | 128..=255 | u16::MAX => Err(RecordTypeError::Meta),
            number => Ok(Self(number)),
        }
    }
}

impl FromStr for RecordType {
    type Err = RecordTypeError;

    fn from_str(text: &str) -> Result<Self, RecordTypeError> {
        if text.is_empty() {
            return Err(RecordTypeError::Empty);
        }
        if text.contains(|c: char| c.is_ascii_lowercase()) {
            let upper = text.to_ascii_uppercase();
            let known = upper.parse::<Self>();
            return Err(known.map_or_else(|error| error, |_| RecordTypeError::Case(upper)));
        }
        if let Some((_, number)) = MNEMONICS.iter().find(|(mnemonic, _)| *mnemonic == text) {
            return Self::new(*number);
        }
        let digits = text.strip_prefix("TYPE").ok_or(RecordTypeError::Unknown)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RecordTypeError::Unknown);
        }
        Self::new(digits.parse().map_err(|_| RecordTypeError::Range)?)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MNEMONICS.iter().find(|(_, number)| *number == self.0) {
            Some((mnemonic, _)) => f.write_str(mnemonic),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// The pseudo-record of EDNS, the only meta type with the number of a record (RFC 6895 §3.1).
const OPT: u16 = 41;

/// The types in use, and the Q and meta types, whose names get a better answer than "not a type".
const MNEMONICS: [(&str, u16); 51] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AFSDB", 18),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", 33),
    ("NAPTR", 35),
    ("KX", 36),
    ("CERT", 37),
    ("DNAME", 39),
    ("OPT", OPT),
    ("APL", 42),
    ("DS", 43),
    ("SSHFP", 44),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("DHCID", 49),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("HIP", 55),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("SPF", 99),
    ("EUI48", 108),
    ("EUI64", 109),
    ("NXNAME", 128),
    ("TKEY", 249),
    ("TSIG", 250),
    ("IXFR", 251),
    ("AXFR", 252),
    ("MAILB", 253),
    ("MAILA", 254),
    ("ANY", 255),
    ("URI", 256),
    ("CAA", 257),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_read_as_zone_files_write_them() {
        let cases = [
            // (why, text, number, canonical text)
            ("a mnemonic", "NS", 2, "NS"),
            ("with a digit", "NSEC3", 50, "NSEC3"),
            ("the longest one", "NSEC3PARAM", 51, "NSEC3PARAM"),
            ("behind the Q types", "CAA", 257, "CAA"),
            ("a number that has a mnemonic", "TYPE28", 28, "AAAA"),
            ("leading zeros are digits, too", "TYPE0006", 6, "SOA"),
            ("a number that has none", "TYPE65400", 65400, "TYPE65400"),
            ("the last one before the Q types", "TYPE127", 127, "TYPE127"),
            ("the last one of all", "TYPE65534", 65534, "TYPE65534"),
        ];

        for (why, text, number, canonical) in cases {
            let parsed: RecordType = text.parse().unwrap();
            assert_eq!((parsed.number(), &*parsed.to_string()), (number, canonical), "{why}");
        }
    }

    #[test]
    fn what_no_record_has_is_refused_with_the_way_out() {
        let cases = [
            // (why, text, error)
            ("nothing", "", RecordTypeError::Empty),
            ("lower case", "ns", RecordTypeError::Case("NS".to_owned())),
            ("mixed case", "Type123", RecordTypeError::Case("TYPE123".to_owned())),
            ("lower case does not help it", "any", RecordTypeError::Meta),
            ("any type (RFC 8482)", "ANY", RecordTypeError::Meta),
            ("a transfer (RFC 5936)", "AXFR", RecordTypeError::Meta),
            ("an incremental transfer (RFC 1995)", "IXFR", RecordTypeError::Meta),
            ("a signature of a message (RFC 8945)", "TSIG", RecordTypeError::Meta),
            ("EDNS itself (RFC 6891)", "OPT", RecordTypeError::Meta),
            ("by its number", "TYPE41", RecordTypeError::Meta),
            ("the first Q type", "TYPE128", RecordTypeError::Meta),
            ("the last Q type", "TYPE255", RecordTypeError::Meta),
            ("no type at all (RFC 2931)", "TYPE0", RecordTypeError::Meta),
            ("reserved (RFC 6895)", "TYPE65535", RecordTypeError::Meta),
            ("17 bits", "TYPE65536", RecordTypeError::Range),
            ("no number", "TYPE", RecordTypeError::Unknown),
            ("a sign", "TYPE+1", RecordTypeError::Unknown),
            ("a number alone", "28", RecordTypeError::Unknown),
            ("a word", "ADDRESS", RecordTypeError::Unknown),
            ("every type", "*", RecordTypeError::Unknown),
            ("spaces", " NS", RecordTypeError::Unknown),
        ];

        for (why, text, error) in cases {
            assert_eq!(text.parse::<RecordType>(), Err(error), "{why}");
        }
    }

    #[test]
    fn the_mnemonics_are_in_the_order_of_their_numbers_and_no_longer_than_is_said() {
        let longest = MNEMONICS.map(|(mnemonic, _)| mnemonic.len()).into_iter().max();

        assert!(MNEMONICS.is_sorted_by(|(_, one), (_, next)| one < next));
        assert_eq!(longest, Some(RecordType::MAX_LENGTH as usize));
    }

    proptest! {
        #[test]
        fn displayed_types_read_back(number: u16) {
            if let Ok(known) = RecordType::new(number) {
                prop_assert_eq!(known.to_string().parse(), Ok(known));
            }
        }

        #[test]
        fn no_text_panics(text in "(TYPE)?[0-9A-Za-z]{0,8}|.{0,8}") {
            let _ = text.parse::<RecordType>();
        }
    }
}
