//! Short hashes: of the configuration, which pods report back, and of what needs new pods.

use std::fmt::Write as _;

use aws_lc_rs::digest;

/// The first `digits` hexadecimal digits of the SHA-256 of `text`, in lower case.
#[must_use]
pub fn sha256(text: &[u8], digits: usize) -> String {
    let digest = digest::digest(&digest::SHA256, text);
    let mut hex = digest.as_ref().iter().fold(String::new(), |mut hex, octet| {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{octet:02x}");
        hex
    });
    hex.truncate(digits);
    hex
}

/// Of a configuration's text: the proxy computes the same over the file that it read.
pub const CONFIG_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_beginning_of_the_sha256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc", CONFIG_DIGITS), "ba7816bf8f01cfea");
    }
}
