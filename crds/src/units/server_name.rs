//! The name that a TLS server must prove (RFC 8310 §8.1, RFC 6066 §3, RFC 9525).
//!
//! A DNS name of letters, digits and hyphens, kept in lower case. An IP address is never a name here:
//! without a server name the certificate must have the address itself.

use std::{fmt, net::IpAddr, str::FromStr};

/// A DNS name of letters, digits and hyphens.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerName(String);

/// Why a text is no server name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ServerNameError {
    /// Nothing stands there.
    #[error("empty: leave it out to authenticate the upstream by its IP address")]
    Empty,
    /// An IP address.
    #[error("an IP address: leave serverName out, then the certificate must name the address")]
    Address,
    /// A dot at the end (RFC 6066 §3).
    #[error("write it without the dot at its end")]
    TrailingDot,
    /// A pattern.
    #[error(
        "a wildcard: write the name that the server has, a certificate for the wildcard will do"
    )]
    Wildcard,
    /// A Unicode name.
    #[error("not ASCII: write the name in its `xn--` form (RFC 5890)")]
    NotAscii,
    /// A name with a port, or a URL.
    #[error("write the name alone, the port stands in `addresses`")]
    Port,
    /// Anything else that no host is called.
    #[error(
        "not a host name: labels of 1 to 63 letters, digits and inner hyphens, 253 characters in all"
    )]
    Form,
}

impl ServerName {
    /// What fits into a DNS name (RFC 1035 §2.3.4).
    pub const MAX_LENGTH: u32 = 253;

    /// The name in lower case, without a dot at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = ServerNameError;

    fn from_str(text: &str) -> Result<Self, ServerNameError> {
        if text.split('.').all(is_label) && text.len() <= Self::MAX_LENGTH as usize {
            // Four numbers are labels, too, but a name whose last label is a number is an address.
            let is_address =
                text.rsplit('.').next().is_some_and(|last| last.parse::<u64>().is_ok());
            return if is_address {
                Err(mistake(text))
            } else {
                Ok(Self(text.to_ascii_lowercase()))
            };
        }
        Err(mistake(text))
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn mistake(text: &str) -> ServerNameError {
    if text.is_empty() {
        ServerNameError::Empty
    } else if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        ServerNameError::Address
    } else if text.contains([':', '/', '@']) {
        ServerNameError::Port
    } else if text.starts_with('*') {
        ServerNameError::Wildcard
    } else if !text.is_ascii() {
        ServerNameError::NotAscii
    } else if text.strip_suffix('.').is_some_and(|name| name.split('.').all(is_label)) {
        ServerNameError::TrailingDot
    } else {
        ServerNameError::Form
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_host_names_in_lower_case() {
        let cases = [
            // (why, text, expected)
            ("a name", "cloudflare-dns.com", "cloudflare-dns.com"),
            ("upper case", "DNS.Quad9.Net", "dns.quad9.net"),
            ("a single label", "resolver", "resolver"),
            ("an A-label", "xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("digits in front (RFC 1123 §2.1)", "9.dns.example", "9.dns.example"),
        ];

        for (why, text, expected) in cases {
            assert_eq!(text.parse::<ServerName>().unwrap().as_str(), expected, "{why}");
        }
    }

    #[test]
    fn what_is_no_server_name_is_refused_with_the_way_out() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long = ["a"; 128].join(".");
        let cases = [
            // (why, text, error)
            ("nothing", "", ServerNameError::Empty),
            ("IPv4", "1.1.1.1", ServerNameError::Address),
            ("IPv6", "2620:fe::9", ServerNameError::Address),
            ("IPv6 in brackets", "[2620:fe::9]", ServerNameError::Address),
            ("a dot at the end", "dns.quad9.net.", ServerNameError::TrailingDot),
            ("a wildcard", "*.quad9.net", ServerNameError::Wildcard),
            ("Unicode", "bücher.example", ServerNameError::NotAscii),
            ("a port", "dns.quad9.net:853", ServerNameError::Port),
            ("a URL", "tls://dns.quad9.net", ServerNameError::Port),
            ("an underscore", "dns_1.example", ServerNameError::Form),
            ("an empty label", "dns..example", ServerNameError::Form),
            ("a hyphen at an end", "dns-.example", ServerNameError::Form),
            ("a label of 64", &long_label, ServerNameError::Form),
            ("more than 253", &long, ServerNameError::Form),
            ("a number as last label is an address gone wrong", "1.1.1", ServerNameError::Form),
        ];

        for (why, text, error) in cases {
            assert_eq!(text.parse::<ServerName>(), Err(error), "{why}");
        }
    }
}
