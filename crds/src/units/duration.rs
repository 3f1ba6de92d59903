//! Spans of time as people write them: `250ms`, `1.5s`, `2m30s`.
//!
//! The units are those that Go and Kubernetes share, without their `us` and `ns`: nothing in a manifest
//! is that short. Parts add up in whatever order they stand. How long a span may be is said where it is
//! used.

use std::{fmt, str::FromStr, time};

/// A span of time with its text form.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Duration(time::Duration);

/// Why a text is no span of time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DurationError {
    /// A number stands without a unit.
    #[error("not a duration: write a unit, for example `{0}s` or `{0}ms`")]
    Unit(String),
    /// It has another form altogether.
    #[error(
        "not a duration: write numbers with ms, s, m or h, for example `250ms`, `1.5s` or `2m30s`"
    )]
    Form,
    /// It is finer than any clock.
    #[error("at most 9 digits may follow the dot")]
    Precision,
    /// It does not fit.
    #[error("longer than any duration")]
    Overflow,
}

impl Duration {
    /// The form as a regular expression, for schemas.
    pub const PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(time::Duration::from_millis(millis))
    }

    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// The same span, for the standard library.
    pub const fn to_std(self) -> time::Duration {
        self.0
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(DurationError::Unit(text.to_owned()));
        }
        let (mut total, mut rest) = part(text)?;
        while !rest.is_empty() {
            let (nanos, tail) = part(rest)?;
            total = total.checked_add(nanos).ok_or(DurationError::Overflow)?;
            rest = tail;
        }
        Ok(Self(time::Duration::from_nanos(total)))
    }
}

/// One number with its unit, in nanoseconds, and the text behind it.
fn part(text: &str) -> Result<(u64, &str), DurationError> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(DurationError::Form)?;
    let (number, tail) = text.split_at(end);
    let (unit, tail) = UNITS
        .iter()
        .find_map(|(suffix, nanos)| Some((*nanos, tail.strip_prefix(suffix)?)))
        .ok_or(DurationError::Form)?;
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (digits(whole)?, self::fraction(fraction, unit)?),
        None => (digits(number)?, 0),
    };
    let nanos = whole.checked_mul(unit).and_then(|nanos| nanos.checked_add(fraction));
    Ok((nanos.ok_or(DurationError::Overflow)?, tail))
}

fn digits(text: &str) -> Result<u64, DurationError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationError::Form);
    }
    text.parse().map_err(|_| DurationError::Overflow)
}

/// The nanoseconds of `0.text` units.
fn fraction(text: &str, unit: u64) -> Result<u64, DurationError> {
    if text.len() > FRACTION_DIGITS {
        return Err(DurationError::Precision);
    }
    let scale = text.bytes().fold(1_u128, |scale, _| scale * 10);
    let nanos = u128::from(digits(text)?) * u128::from(unit) / scale;
    u64::try_from(nanos).map_err(|_| DurationError::Overflow)
}

impl fmt::Display for Duration {
    /// The largest units first, none that is zero; a fraction only in the last one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m")];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        match (seconds % 60, nanos) {
            (0, 0) if seconds > 0 => Ok(()),
            (0, nanos) if nanos > 0 => {
                decimal(f, u64::from(nanos / 1_000_000), nanos % 1_000_000, 6, "ms")
            }
            (seconds, nanos) => decimal(f, seconds, nanos, 9, "s"),
        }
    }
}

/// A number with `fraction` of so many digits behind its dot, of which trailing zeros are left out.
fn decimal(
    f: &mut fmt::Formatter<'_>,
    whole: u64,
    fraction: u32,
    digits: usize,
    unit: &str,
) -> fmt::Result {
    let fraction = format!(".{fraction:0digits$}");
    write!(f, "{whole}{}{unit}", fraction.trim_end_matches('0').trim_end_matches('.'))
}

/// `ms` stands before `m`, whose text it begins with.
const UNITS: [(&str, u64); 4] =
    [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];

/// Nanoseconds of a second; our guess at more than anybody writes.
const FRACTION_DIGITS: usize = 9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_as_go_and_kubernetes_write_them() {
        let cases = [
            // (why, text, milliseconds, canonical text)
            ("milliseconds are not minutes", "250ms", 250, "250ms"),
            ("a fraction of a second", "1.5s", 1_500, "1.5s"),
            ("a second and its thousandths", "1s800ms", 1_800, "1.8s"),
            ("a minute and less than a second", "1m0.25s", 60_250, "1m250ms"),
            ("parts add up", "1m30s", 90_000, "1m30s"),
            ("the largest unit is used", "120s", 120_000, "2m"),
            ("any order", "5s1h", 3_605_000, "1h5s"),
            ("the same unit twice", "1s1s", 2_000, "2s"),
            ("zero has a unit, too", "0s", 0, "0s"),
            ("zero in another unit", "0.0h", 0, "0s"),
            ("a fraction of an hour", "0.25h", 900_000, "15m"),
        ];

        for (why, text, millis, canonical) in cases {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{why}");
            assert_eq!(duration.to_string(), canonical, "{why}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_way_out() {
        let cases = [
            // (why, text, error)
            ("no unit: seconds or milliseconds?", "5", DurationError::Unit("5".to_owned())),
            ("no number", "s", DurationError::Form),
            ("nothing", "", DurationError::Form),
            ("units are lower case", "5S", DurationError::Form),
            ("no days", "1d", DurationError::Form),
            ("no microseconds", "5us", DurationError::Form),
            ("nothing is negative", "-5s", DurationError::Form),
            ("no spaces", "5 s", DurationError::Form),
            ("a trailing number", "5s5", DurationError::Form),
            ("digits after the dot", "1.s", DurationError::Form),
            ("digits before the dot", ".5s", DurationError::Form),
            ("one dot", "1.2.3s", DurationError::Form),
            ("other digits than ASCII", "٣s", DurationError::Form),
            ("below a nanosecond", "0.0000000001s", DurationError::Precision),
            ("more than 64 bits", "99999999999999999999h", DurationError::Overflow),
            ("more than 64 bits of nanoseconds", "9999999h", DurationError::Overflow),
            ("a sum that is too long", "5000000h5000000h", DurationError::Overflow),
        ];

        for (why, text, error) in cases {
            assert_eq!(text.parse::<Duration>(), Err(error), "{why}");
        }
    }

    proptest! {
        #[test]
        fn displayed_durations_read_back(nanos: u64) {
            let duration = Duration(time::Duration::from_nanos(nanos));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9.msh ]{0,24}|.{0,16}") {
            let _ = text.parse::<Duration>();
        }
    }
}
