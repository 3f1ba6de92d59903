//! SPKI pins: the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7858 section 4.2, RFC 7469 section 2.4).
//!
//! A pin names a key, so it survives a certificate that is renewed with the same key. Whose certificate may
//! match is decided in [`super::verifier`].

use aws_lc_rs::digest;

pub use dnsproxy_api::units::Pin;

/// The pin of a SubjectPublicKeyInfo in DER, its outer tag and length included.
pub(super) fn of_spki(spki: &[u8]) -> Pin {
    let mut hash = [0; digest::SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
    Pin::new(hash)
}
