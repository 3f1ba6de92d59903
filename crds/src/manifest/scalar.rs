//! What a plain scalar is: YAML 1.2's core schema, with YAML 1.1 at hand for warnings.
//!
//! kubectl and the API server read YAML 1.1, where `no` is a boolean and `010` is eight (YAML 1.2 §10.3.2
//! has neither). Where the two differ, a manifest means one thing here and another one there.

use serde_json::{Number, Value};

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().filter(|_| is_digits(hex, 16)).map(Into::into);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).ok().filter(|_| is_digits(octal, 8)).map(Into::into);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if is_digits(unsigned, 10) {
        let plain = text.strip_prefix('+').unwrap_or(text);
        let integer = plain.parse::<i64>().map(Number::from);
        return integer
            .ok()
            .or_else(|| plain.parse::<u64>().ok().map(Into::into))
            .or_else(|| float(plain));
    }
    is_float(unsigned).then(|| float(text)).flatten()
}

fn is_digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_part = |text: &str| text.is_empty() || is_digits(text, 10);
    is_digits(exponent, 10)
        && is_part(whole)
        && is_part(fraction)
        && !(whole.is_empty() && fraction.is_empty())
}

fn float(text: &str) -> Option<Number> {
    text.parse().ok().and_then(Number::from_f64)
}

/// What YAML 1.1 makes of a plain scalar that is a text, or another number, in YAML 1.2.
pub(super) fn in_yaml_1_1(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let is_word = text == lower || text == text.to_ascii_uppercase() || is_capitalized(text);
    if is_word && matches!(&*lower, "y" | "yes" | "on" | "n" | "no" | "off") {
        return Some("a boolean");
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_octal = digits.len() > 1 && digits.starts_with('0') && is_digits(digits, 8);
    let has_underscores =
        digits.contains('_') && is_digits(&digits.replace('_', ""), 10) && !digits.starts_with('_');
    let is_binary = digits.strip_prefix("0b").is_some_and(|bits| is_digits(bits, 2));
    if is_octal || has_underscores || is_binary {
        return Some("another number");
    }
    None
}

fn is_capitalized(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_uppercase())
        && chars.all(|c| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_are_what_the_core_schema_says() {
        let cases = [
            // (why, text, value)
            ("nothing is null", "", Value::Null),
            ("null", "~", Value::Null),
            ("a boolean", "true", json!(true)),
            ("no boolean in YAML 1.2", "no", json!("no")),
            ("an integer", "853", json!(853)),
            ("a negative one", "-1", json!(-1)),
            ("leading zeros are decimal", "010", json!(10)),
            ("hexadecimal", "0x10", json!(16)),
            ("octal", "0o10", json!(8)),
            ("no signed hexadecimal", "0x+1", json!("0x+1")),
            ("a float", "1.5", json!(1.5)),
            ("an exponent", "1e3", json!(1000.0)),
            ("two dots are a text", "1.1.1.1", json!("1.1.1.1")),
            ("a dot is a text", ".", json!(".")),
            ("a unit is a text", "4s", json!("4s")),
            ("infinity is no number of JSON", ".inf", json!(".inf")),
            ("more than 64 bits", "99999999999999999999", json!(1e20)),
        ];

        for (why, text, value) in cases {
            assert_eq!(resolve(text), value, "{why}");
        }
    }

    #[test]
    fn what_kubectl_reads_otherwise_is_known() {
        let cases = [
            // (why, text, expected)
            ("Norway", "NO", Some("a boolean")),
            ("yes", "yes", Some("a boolean")),
            ("On", "On", Some("a boolean")),
            ("mixed case is a text", "nO", None),
            ("octal", "010", Some("another number")),
            ("no octal", "08", None),
            ("underscores", "10_000", Some("another number")),
            ("binary", "0b11", Some("another number")),
            ("an address with a port", "1.1.1.1:53", None),
            ("IPv6", "2620:fe::9", None),
            ("a name", "north", None),
        ];

        for (why, text, expected) in cases {
            assert_eq!(in_yaml_1_1(text), expected, "{why}");
        }
    }
}
