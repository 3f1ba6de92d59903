//! Unpredictable numbers, from the operating system by way of the TLS library (RFC 5452 section 9.2).

use aws_lc_rs::rand;

/// A query ID that nobody can guess.
pub(super) fn id() -> u16 {
    let mut octets = [0; 2];
    // It fails only where no randomness exists at all; TLS would not work there either.
    if rand::fill(&mut octets).is_err() {
        tracing::error!("the system gives no random numbers");
    }
    u16::from_be_bytes(octets)
}
