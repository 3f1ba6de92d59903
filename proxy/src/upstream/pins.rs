//! SPKI pins: the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7858 section 4.2, RFC 7469 section 2.4).
//!
//! A pin names a key, so it survives a certificate that is renewed with the same key. Whose certificate may
//! match is decided in [`super::verifier`].

use std::fmt;

use aws_lc_rs::digest;

/// The SHA-256 of a public key in its DER form.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// The pin of a SubjectPublicKeyInfo, its outer tag and length included.
    pub fn of_spki(spki: &[u8]) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
        Self(pin)
    }
}

/// The form of the manifest: `sha256/` and base64 (RFC 4648 section 4).
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256/")?;
        for group in self.0.chunks(3) {
            let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
            for at in 0..4 {
                let digit = usize::try_from(bits >> (18 - 6 * at) & 0x3f).unwrap_or(0);
                let letter = if at > group.len() { '=' } else { char::from(BASE64.get(digit).copied().unwrap_or(b'=')) };
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
