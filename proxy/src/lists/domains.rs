//! Names as lists have them: one on each line, or behind an address as in /etc/hosts.

use std::net::IpAddr;

use dnsproxy_api::units::Zone;

use super::builder::{Builder, Level, Reach};
use crate::message::name::{MAX_LABEL_LEN, MAX_NAME_LEN};

/// `name`, `*.name` or `.name`.
pub(super) fn line(line: &str, builder: &mut Builder) -> Result<(), String> {
    let text = uncommented(line);
    if text.is_empty() {
        return Ok(());
    }
    if text.contains(char::is_whitespace) {
        return Err("more than a name: is this in the format Hosts?".into());
    }
    if text.starts_with(['|', '@', '!']) || text.ends_with('^') {
        return Err("not a name: is this in the format Adblock?".into());
    }
    let (name, reach) = wildcard(text);
    builder.add(name, Level::Listed, reach)
}

/// An address and names.
pub(super) fn hosts_line(line: &str, builder: &mut Builder) -> Result<(), String> {
    let Some((_, names)) = hosts_fields(line)? else { return Ok(()) };
    let is_own = |name: &&str| OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name));
    let mut result = Ok(());
    // One bad name shall not hide the others.
    for name in names.filter(|name| !is_own(name)) {
        let (name, reach) = wildcard(name);
        let added = builder.add(name, Level::Listed, reach);
        result = result.and(added);
    }
    result
}

/// What every machine's own file has, and what lists in this format begin with.
pub(crate) const OWN_NAMES: [&str; 12] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

/// The address and the names of a line of /etc/hosts; nothing when it is empty.
pub(crate) fn hosts_fields(
    line: &str,
) -> Result<Option<(IpAddr, impl Iterator<Item = &str>)>, String> {
    let mut fields = uncommented(line).split_ascii_whitespace();
    let Some(address) = fields.next() else { return Ok(None) };
    // A zone is for the machine that has the link (RFC 4007 section 11).
    let plain = address.split('%').next().unwrap_or_default();
    let parsed = plain.parse().map_err(|_| format!("`{}` is no address", excerpt(address)))?;
    let mut fields = fields.peekable();
    if fields.peek().is_none() {
        return Err(format!("no name behind {address}"));
    }
    Ok(Some((parsed, fields)))
}

/// Without a comment and the spaces around.
fn uncommented(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// `*.name` and `.name` are the name and all below it, as in most lists that have them.
fn wildcard(text: &str) -> (&str, Reach) {
    let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
    match below {
        Some(name) if !name.is_empty() => (name, Reach::Zone),
        _ => (text, Reach::Name),
    }
}

/// A name in wire form and in lower case. Most are plain and need no more than a look at each octet.
pub(crate) fn wire_of<'b>(
    text: &str,
    buffer: &'b mut [u8; MAX_NAME_LEN],
) -> Result<&'b [u8], String> {
    match plain_wire(text, buffer) {
        Some(len) => Ok(buffer.get(..len).unwrap_or_default()),
        None => {
            let zone: Zone =
                text.parse().map_err(|error| format!("`{}`: {error}", excerpt(text)))?;
            let wire = buffer.get_mut(..zone.as_wire().len()).ok_or("too long")?;
            wire.copy_from_slice(zone.as_wire());
            Ok(wire)
        }
    }
}

/// How long the name is that was written; `None` when it is not one of the usual kind.
fn plain_wire(text: &str, buffer: &mut [u8; MAX_NAME_LEN]) -> Option<usize> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut end = 0;
    let mut has_letter = false;
    for label in text.as_bytes().split(|octet| *octet == b'.') {
        if label.is_empty() || label.len() > MAX_LABEL_LEN {
            return None;
        }
        *buffer.get_mut(end)? = u8::try_from(label.len()).ok()?;
        end += 1;
        for octet in label {
            // Those that need no escape.
            if !octet.is_ascii_alphanumeric() && !matches!(octet, b'-' | b'_') {
                return None;
            }
            has_letter |= octet.is_ascii_alphabetic();
            *buffer.get_mut(end)? = octet.to_ascii_lowercase();
            end += 1;
        }
    }
    // Room for the root; and what has no letter may be an address.
    *buffer.get_mut(end)? = 0;
    has_letter.then_some(end + 1)
}

/// The beginning of a text that may be of any length and of any content.
pub(super) fn excerpt(text: &str) -> String {
    const MAX: usize = 80;
    let short: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX).is_some() { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The short way agrees with the long one.
        #[test]
        fn a_plain_name_is_what_it_would_be_otherwise(text in "[a-zA-Z0-9._-]{1,80}") {
            let mut buffer = [0; MAX_NAME_LEN];
            if let Some(len) = plain_wire(&text, &mut buffer) {
                let zone: Zone = text.parse().unwrap();
                prop_assert_eq!(buffer.get(..len).unwrap(), zone.as_wire());
            }
        }
    }

    #[test]
    fn the_longest_name_fits_and_a_longer_one_does_not() {
        let label = "a".repeat(63);
        let longest = [&label, &label, &label, &"a".repeat(61)].map(String::as_str).join(".");
        let mut buffer = [0; MAX_NAME_LEN];

        assert_eq!(wire_of(&longest, &mut buffer).unwrap().len(), MAX_NAME_LEN);
        assert!(wire_of(&format!("{longest}a"), &mut buffer).unwrap_err().contains("255"));
        assert!(wire_of(&format!("{label}a.x"), &mut buffer).unwrap_err().contains("63"));
        assert!(wire_of("a..b", &mut buffer).unwrap_err().contains("empty label"));
        assert!(wire_of("192.0.2.1", &mut buffer).unwrap_err().contains("address"));
    }
}
