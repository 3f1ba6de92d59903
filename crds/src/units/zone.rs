//! Zones: a DNS name that stands for itself and everything below it.
//!
//! The text is a name in presentation form (RFC 1035 §5.1, escapes included), always absolute, with or
//! without the dot at its end; `.` is the root. Names compare without case (RFC 4343), so a zone is kept
//! in lower case and in wire form: labels, never text, decide what is below what.

use std::{fmt, net::IpAddr, str::FromStr};

use super::{Network, NetworkError};

/// A DNS name in lower case, in wire form.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Zone(Box<[u8]>);

/// Why a text is no zone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ZoneError {
    /// Nothing stands there.
    #[error("empty: the root, which is everything, is written `.`")]
    Empty,
    /// Two dots in a row, or one in front.
    #[error("not a zone: there is an empty label")]
    EmptyLabel,
    /// A label has 63 octets at most (RFC 1035 §2.3.4).
    #[error("not a zone: a label has more than 63 octets")]
    LabelTooLong,
    /// A name has 255 octets at most (RFC 1035 §2.3.4).
    #[error("not a zone: the name has more than 255 octets")]
    TooLong,
    /// A Unicode name.
    #[error("not ASCII: write the name in its `xn--` form (RFC 5890)")]
    NotAscii,
    /// A pattern.
    #[error(
        "a pattern, not a name: where a zone stands, `{0}` is everything below it, too; in a rule, `subdomain: [{0}]` is what is below it"
    )]
    Wildcard(String),
    /// A network.
    #[error("a network: write its reverse zone instead, `{0}`")]
    Network(Zone),
    /// An address.
    #[error("an address, not a zone")]
    Address,
    /// A character that no name has by intention.
    #[error("not a zone: `{0}` does not belong into a name (an unusual one is written \\DDD)")]
    Character(char),
    /// A backslash without three digits up to 255 or a character behind it.
    #[error("not a zone: `\\` wants three digits up to 255, or a character")]
    Escape,
}

impl Zone {
    /// More than any name needs, every octet escaped.
    pub const MAX_LENGTH: u32 = 1024;

    /// What a name may have in wire form (RFC 1035 §2.3.4).
    const MAX_WIRE: usize = 255;

    /// The root, in which every name is.
    pub fn root() -> Self {
        Self([0].into())
    }

    /// The reverse zone of the largest whole-octet (IPv4) or whole-nibble (IPv6) network that has all
    /// of `network` (RFC 1035 §3.5, RFC 3596 §2.5).
    pub fn reverse(network: Network) -> Self {
        let text = match network.address() {
            IpAddr::V4(v4) => {
                let octets = v4.octets().into_iter().take(usize::from(network.prefix() / 8));
                let labels: Vec<_> = octets.map(|octet| format!("{octet}.")).collect();
                labels.into_iter().rev().collect::<String>() + "in-addr.arpa"
            }
            IpAddr::V6(v6) => {
                let nibbles = v6.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
                let nibbles = nibbles.take(usize::from(network.prefix() / 4));
                let labels: Vec<_> = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
                labels.into_iter().rev().collect::<String>() + "ip6.arpa"
            }
        };
        text.parse().unwrap_or_else(|_| Self::root())
    }

    /// Length-prefixed labels and the root's zero, in lower case.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `.`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The labels from left to right, the root's not among them.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first().filter(|(length, _)| **length > 0)?;
            let (label, tail) = tail.split_at_checked(usize::from(*length))?;
            rest = tail;
            Some(label)
        })
    }

    /// Whether this is `other`, or below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let extra = self.labels().count().checked_sub(other.labels().count());
        extra.is_some_and(|extra| self.labels().skip(extra).eq(other.labels()))
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        if text == "." {
            return Ok(Self::root());
        }
        if let Some(mistake) = mistake(text) {
            return Err(mistake);
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = match first {
                '.' => {
                    push_label(&mut wire, &mut label)?;
                    rest.get(1..).unwrap_or_default()
                }
                _ => push_octet(&mut label, rest)?,
            };
        }
        if !label.is_empty() {
            push_label(&mut wire, &mut label)?;
        }
        wire.push(0);
        if wire.len() > Self::MAX_WIRE { Err(ZoneError::TooLong) } else { Ok(Self(wire.into())) }
    }
}

/// Mistakes that have a better answer than "not a zone".
fn mistake(text: &str) -> Option<ZoneError> {
    if text.is_empty() {
        return Some(ZoneError::Empty);
    }
    if !text.is_ascii() {
        return Some(ZoneError::NotAscii);
    }
    if let Some(below) = text.strip_prefix("*.") {
        return Some(ZoneError::Wildcard(below.to_owned()));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some(ZoneError::Address);
    }
    match text.parse::<Network>() {
        Ok(network) | Err(NetworkError::HostBits(network)) => {
            Some(ZoneError::Network(Zone::reverse(network)))
        }
        Err(NetworkError::Form | NetworkError::Prefix(_) | NetworkError::Mapped) => None,
    }
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), ZoneError> {
    if label.is_empty() {
        return Err(ZoneError::EmptyLabel);
    }
    let length = u8::try_from(label.len()).ok().filter(|length| *length <= 63);
    wire.push(length.ok_or(ZoneError::LabelTooLong)?);
    wire.append(label);
    Ok(())
}

/// Takes one octet, escaped or not, and returns the text behind it.
fn push_octet<'t>(label: &mut Vec<u8>, text: &'t str) -> Result<&'t str, ZoneError> {
    let mut chars = text.chars();
    let octet = match chars.next() {
        Some('\\') => return push_escape(label, chars.as_str()),
        // `/` is for RFC 2317, `_` for RFC 8552; the rest is a slip of the keyboard more often than a name.
        Some(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/') => c,
        Some(c) => return Err(ZoneError::Character(c)),
        None => return Err(ZoneError::EmptyLabel),
    };
    label.push(u8::try_from(octet).map_err(|_| ZoneError::NotAscii)?.to_ascii_lowercase());
    Ok(chars.as_str())
}

fn push_escape<'t>(label: &mut Vec<u8>, text: &'t str) -> Result<&'t str, ZoneError> {
    let digits = text.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let (octet, length) = match (digits, text.bytes().next()) {
        (Some(digits), _) => (digits.parse::<u8>().map_err(|_| ZoneError::Escape)?, 3),
        (None, Some(byte)) if !byte.is_ascii_digit() => (byte, 1),
        (None, _) => return Err(ZoneError::Escape),
    };
    label.push(octet.to_ascii_lowercase());
    text.get(length..).ok_or(ZoneError::Escape)
}

impl fmt::Display for Zone {
    /// Without the dot at its end, the root aside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for octet in label {
                match octet {
                    b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'/' => {
                        write!(f, "{}", char::from(*octet))?;
                    }
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(text: &str) -> Zone {
        text.parse().unwrap()
    }

    #[test]
    fn zones_are_read_into_wire_form() {
        let cases: [(&str, &str, &[u8]); 8] = [
            // (why, text, wire form)
            ("the root", ".", b"\0"),
            ("two labels", "corp.example", b"\x04corp\x07example\0"),
            ("the dot at the end changes nothing", "corp.example.", b"\x04corp\x07example\0"),
            ("lower case (RFC 4343)", "CORP.Example", b"\x04corp\x07example\0"),
            ("a reverse zone", "10.in-addr.arpa", b"\x0210\x07in-addr\x04arpa\0"),
            (
                "a classless reverse zone (RFC 2317)",
                "0/25.in-addr.arpa",
                b"\x040/25\x07in-addr\x04arpa\0",
            ),
            ("a service label", "_tcp.example", b"\x04_tcp\x07example\0"),
            ("escapes (RFC 1035 §5.1)", r"a\.b\032\065.example", b"\x05a.b a\x07example\0"),
        ];

        for (why, text, wire) in cases {
            assert_eq!(zone(text).as_wire(), wire, "{why}");
        }
    }

    #[test]
    fn what_is_no_zone_is_refused_with_the_way_out() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long = ["a"; 128].join(".");
        let cases = [
            // (why, text, error)
            ("nothing", "", ZoneError::Empty),
            ("Unicode", "bücher.example", ZoneError::NotAscii),
            ("a wildcard", "*.corp.example", ZoneError::Wildcard("corp.example".to_owned())),
            ("an inner asterisk", "a.*.example", ZoneError::Character('*')),
            ("a network", "10.0.0.0/8", ZoneError::Network(zone("10.in-addr.arpa"))),
            ("an address", "10.0.0.1", ZoneError::Address),
            ("an IPv6 address", "::1", ZoneError::Address),
            ("a space", "corp example", ZoneError::Character(' ')),
            ("an empty label", "corp..example", ZoneError::EmptyLabel),
            ("a dot in front", ".corp.example", ZoneError::EmptyLabel),
            ("two dots", "..", ZoneError::EmptyLabel),
            ("a label of 64", &long_label, ZoneError::LabelTooLong),
            ("a name of 257", &long, ZoneError::TooLong),
            ("an octet above 255", r"\256.example", ZoneError::Escape),
            ("two digits", r"\25.example", ZoneError::Escape),
            ("nothing behind the backslash", "example\\", ZoneError::Escape),
        ];

        for (why, text, error) in cases {
            assert_eq!(text.parse::<Zone>(), Err(error), "{why}");
        }
    }

    #[test]
    fn labels_decide_what_is_within() {
        let cases = [
            // (why, name, zone, expected)
            ("itself", "corp.example", "corp.example", true),
            ("below", "a.b.corp.example", "corp.example", true),
            ("everything is in the root", "example", ".", true),
            ("the same text, not the same label", "notcorp.example", "corp.example", false),
            ("above", "example", "corp.example", false),
            ("a dot inside a label is no border", r"a\.corp.example", "corp.example", false),
        ];

        for (why, name, of, expected) in cases {
            assert_eq!(zone(name).is_within(&zone(of)), expected, "{why}");
        }
    }

    #[test]
    fn reverse_zones_hold_the_whole_network() {
        let cases = [
            // (why, network, reverse zone)
            ("a whole octet", "10.0.0.0/8", "10.in-addr.arpa"),
            ("rounded up to octets", "10.96.0.0/12", "10.in-addr.arpa"),
            ("one address", "192.0.2.1/32", "1.2.0.192.in-addr.arpa"),
            (
                "nibbles",
                "fd00:10:96::/112",
                "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa",
            ),
        ];

        for (why, network, expected) in cases {
            assert_eq!(Zone::reverse(network.parse().unwrap()), zone(expected), "{why}");
        }
    }

    proptest! {
        #[test]
        fn displayed_zones_read_back(labels in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 1..=20), 0..=8,
        )) {
            let mut wire: Vec<u8> = Vec::new();
            for label in &labels {
                wire.push(u8::try_from(label.len()).unwrap());
                wire.extend(label.iter().map(u8::to_ascii_lowercase));
            }
            wire.push(0);
            let zone = Zone(wire.into());
            // Four numbers read as an address, which no zone may be.
            prop_assume!(zone.to_string().parse::<IpAddr>().is_err());
            prop_assert_eq!(zone.to_string().parse(), Ok(zone));
        }

        #[test]
        fn no_text_panics(text in r"[a-z0-9.\\*/ü]{0,24}|.{0,16}") {
            let _ = text.parse::<Zone>();
        }
    }
}
