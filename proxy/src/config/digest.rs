//! Digests as text: what tells one manifest from another, and what files hold.

use aws_lc_rs::digest;

/// What tells one manifest from another.
pub(super) fn hash(octets: &[u8]) -> String {
    sha256(octets).chars().take(HASH_LEN).collect()
}

/// Sixteen digits tell configurations apart and still fit into a label.
const HASH_LEN: usize = 16;

/// The SHA-256 of octets, in hexadecimal.
pub(crate) fn sha256(octets: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, octets))
}

/// A digest as text.
pub(crate) fn hex(digest: &digest::Digest) -> String {
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}
