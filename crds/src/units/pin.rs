//! SPKI pins: the SHA-256 of a certificate's public key.
//!
//! The text is `sha256/` and base64 (as curl and Go write it); `sha256//` (curl's other spelling) and bare
//! base64 (RFC 7469 §2.1, getdns) are read as well. What a pin must match is for the proxy (RFC 7858
//! §4.2, RFC 8310 §8).

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};

/// The SHA-256 of a SubjectPublicKeyInfo.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pin([u8; 32]);

/// Why a text is no pin.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PinError {
    /// Another hash.
    #[error(
        "not a sha256 pin: {0} is not supported, `dnsproxy pins HOST:PORT` prints the right one"
    )]
    Algorithm(String),
    /// A certificate's fingerprint, by its form.
    #[error(
        "not a sha256 pin: this is hexadecimal, perhaps a certificate's fingerprint; \
             `dnsproxy pins HOST:PORT` prints the pin of its key"
    )]
    Fingerprint,
    /// Not base64.
    #[error(
        "not a sha256 pin: write `sha256/` and the base64 of 32 octets (44 characters, the last one `=`)"
    )]
    Form,
    /// Base64, but not of a SHA-256.
    #[error("not a sha256 pin: {0} octets instead of 32")]
    Length(usize),
}

impl Pin {
    /// The form as a regular expression, for schemas.
    pub const PATTERN: &str = "^(sha256//?)?[A-Za-z0-9+/]{43}=$";

    /// The pin with this hash.
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let encoded = match text.split_once('/') {
            // The base64 of a hash may begin with a slash itself.
            Some(("sha256", rest)) if rest.len() > BASE64_LENGTH => {
                rest.strip_prefix('/').unwrap_or(rest)
            }
            Some(("sha256", rest)) => rest,
            Some((other @ ("sha1" | "sha384" | "sha512"), _)) => {
                return Err(PinError::Algorithm(other.to_owned()));
            }
            Some(_) | None => text,
        };
        if is_fingerprint(encoded) {
            return Err(PinError::Fingerprint);
        }
        let hash = BASE64_STANDARD.decode(encoded).map_err(|_| PinError::Form)?;
        let hash = hash.try_into().map_err(|hash: Vec<u8>| PinError::Length(hash.len()))?;
        Ok(Self(hash))
    }
}

/// Whether this is how openssl prints the SHA-256 of a whole certificate, which changes with each renewal.
fn is_fingerprint(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// 32 octets, four characters for three of them.
const BASE64_LENGTH: usize = 44;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE64: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn every_usual_spelling_is_the_same_pin() {
        let cases = [
            // (why, text)
            ("the canonical one", format!("sha256/{BASE64}")),
            ("as curl's --pinnedpubkey has it", format!("sha256//{BASE64}")),
            ("as RFC 7469 and getdns have it, a slash inside", BASE64.to_owned()),
        ];

        for (why, text) in cases {
            let pin: Pin = text.parse().unwrap();
            assert_eq!(pin.to_string(), format!("sha256/{BASE64}"), "{why}");
        }
    }

    #[test]
    fn what_is_no_pin_is_refused_with_the_way_out() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let cases = [
            // (why, text, error)
            ("nothing", "", PinError::Length(0)),
            ("a word", "sha256/nonsense!", PinError::Form),
            ("too short a hash", "sha256/AAAA", PinError::Length(3)),
            ("no padding", "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", PinError::Form),
            (
                "the URL alphabet",
                "sha256/47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
                PinError::Form,
            ),
            (
                "another hash",
                "sha1/2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
                PinError::Algorithm("sha1".to_owned()),
            ),
            ("a fingerprint", hex, PinError::Fingerprint),
            ("nothing after the algorithm", "sha256/", PinError::Length(0)),
        ];

        for (why, text, error) in cases {
            assert_eq!(text.parse::<Pin>(), Err(error), "{why}");
        }
    }

    #[test]
    fn a_hash_that_begins_with_a_slash_reads_back() {
        let pin = Pin([0xff; 32]);

        assert!(pin.to_string().starts_with("sha256//"));
        assert_eq!(pin.to_string().parse(), Ok(pin));
    }

    proptest! {
        #[test]
        fn displayed_pins_read_back(hash: [u8; 32]) {
            prop_assert_eq!(Pin(hash).to_string().parse(), Ok(Pin(hash)));
        }
    }
}
