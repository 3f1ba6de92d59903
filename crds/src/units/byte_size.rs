//! Sizes of memory as Kubernetes writes them: `64Mi`, `1.5Gi`, `67108864`.
//!
//! Of a quantity's suffixes those that make sense for octets: none, powers of 1000 and powers of 1024. What
//! is no whole octet is rounded down. How large a size may be is said where it is used.

use std::{fmt, str::FromStr};

/// A number of octets with its text form.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(u64);

/// Why a text is no size.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ByteSizeError {
    /// A unit as others write it.
    #[error("not a size: Kubernetes writes this unit as `{0}`")]
    Unit(&'static str),
    /// It has another form altogether.
    #[error("not a size: write a number with Ki, Mi, Gi (or k, M, G), for example `64Mi`")]
    Form,
    /// It is finer than anybody needs.
    #[error("at most 9 digits may follow the dot")]
    Precision,
    /// It does not fit.
    #[error("larger than any memory")]
    Overflow,
}

impl ByteSize {
    /// The form as a regular expression, for schemas.
    pub const PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$";

    /// So many octets.
    pub const fn from_octets(octets: u64) -> Self {
        Self(octets)
    }

    /// So many times 1,048,576 octets.
    pub const fn from_mebi(count: u32) -> Self {
        // 32 and 20 bits fit into 64.
        Self((count as u64) << 20)
    }

    /// How many octets.
    pub const fn octets(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let unit = unit(suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.len() > FRACTION_DIGITS {
            return Err(ByteSizeError::Precision);
        }
        let scale = fraction.bytes().fold(1_u128, |scale, _| scale * 10);
        let [whole, fraction, unit] = [digits(whole)?, digits(fraction)?, unit].map(u128::from);
        // Below 64 and 40 bits: no product overflows.
        let octets = whole * unit + fraction * unit / scale;
        u64::try_from(octets).map(Self).map_err(|_| ByteSizeError::Overflow)
    }
}

/// What a suffix multiplies by.
fn unit(suffix: &str) -> Result<u64, ByteSizeError> {
    if let Some((_, octets)) = UNITS.iter().find(|(known, _)| *known == suffix) {
        return Ok(*octets);
    }
    // `mb`, `MB`, `MiB`, `m`: everybody knows what is meant.
    let letters = suffix.trim_end_matches(['b', 'B']);
    let is_meant = |known: &str| !known.is_empty() && known.eq_ignore_ascii_case(letters);
    let meant = UNITS.iter().map(|(known, _)| *known).find(|known| is_meant(known));
    Err(meant.map_or(ByteSizeError::Form, ByteSizeError::Unit))
}

fn digits(text: &str) -> Result<u64, ByteSizeError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ByteSizeError::Form);
    }
    text.parse().map_err(|_| ByteSizeError::Overflow)
}

impl fmt::Display for ByteSize {
    /// In the largest power of 1024 that makes it a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS.iter().filter(|(suffix, _)| suffix.ends_with('i'));
        let mut fitting =
            binary.filter(|(_, octets)| self.0 >= *octets && self.0.is_multiple_of(*octets));
        match fitting.next_back() {
            Some((suffix, octets)) => write!(f, "{}{suffix}", self.0 / octets),
            None => write!(f, "{}", self.0),
        }
    }
}

/// From small to large.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("k", 1_000),
    ("Ki", 1 << 10),
    ("M", 1_000_000),
    ("Mi", 1 << 20),
    ("G", 1_000_000_000),
    ("Gi", 1 << 30),
    ("T", 1_000_000_000_000),
    ("Ti", 1 << 40),
];

/// Our guess at more than anybody writes.
const FRACTION_DIGITS: usize = 9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_read_as_kubernetes_writes_them() {
        let cases = [
            // (why, text, octets, canonical text)
            ("powers of 1024", "64Mi", 64 << 20, "64Mi"),
            ("powers of 1000", "64M", 64_000_000, "62500Ki"),
            ("kilo is lower case", "3k", 3_000, "3000"),
            ("octets", "67108864", 64 << 20, "64Mi"),
            ("a fraction", "1.5Gi", 3 << 29, "1536Mi"),
            ("no whole octet: rounded down", "0.3Ki", 307, "307"),
            ("the largest unit", "1Ti", 1 << 40, "1Ti"),
            ("nothing", "0", 0, "0"),
            ("nothing of a unit", "0Gi", 0, "0"),
        ];

        for (why, text, octets, canonical) in cases {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size, ByteSize::from_octets(octets), "{why}");
            assert_eq!(size.to_string(), canonical, "{why}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_way_out() {
        let cases = [
            // (why, text, error)
            ("nothing", "", ByteSizeError::Form),
            ("no number", "Mi", ByteSizeError::Form),
            ("nothing is negative", "-1Mi", ByteSizeError::Form),
            ("no spaces", "64 Mi", ByteSizeError::Form),
            ("no exponents", "1e6", ByteSizeError::Form),
            ("digits before the dot", ".5Gi", ByteSizeError::Form),
            ("digits after the dot", "1.Gi", ByteSizeError::Form),
            ("one dot", "1.2.3Gi", ByteSizeError::Form),
            ("thousandths of an octet, or millions?", "64m", ByteSizeError::Unit("M")),
            ("bytes go without saying", "64MB", ByteSizeError::Unit("M")),
            ("also behind a power of 1024", "64MiB", ByteSizeError::Unit("Mi")),
            ("lower case", "1gi", ByteSizeError::Unit("Gi")),
            ("kilo in upper case", "64K", ByteSizeError::Unit("k")),
            ("finer than an octet", "1.0000000001Gi", ByteSizeError::Precision),
            ("more than 64 bits", "99999999999999999999", ByteSizeError::Overflow),
            ("more than 64 bits with the unit", "16777216Ti", ByteSizeError::Overflow),
        ];

        for (why, text, error) in cases {
            assert_eq!(text.parse::<ByteSize>(), Err(error), "{why}");
        }
    }

    proptest! {
        #[test]
        fn displayed_sizes_read_back(octets: u64) {
            let size = ByteSize::from_octets(octets);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in "[0-9.kMGTi ]{0,24}|.{0,16}") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
