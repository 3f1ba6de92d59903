//! Unpredictable numbers, from the operating system by way of the TLS library (RFC 5452 section 9.2).

use aws_lc_rs::rand;

/// Draws the first number. That one may take hundreds of milliseconds, in which the library looks for randomness of its own; so
/// it is drawn before somebody waits.
pub fn prepare() {
    octets::<1>();
}

/// A query ID that nobody can guess.
pub(super) fn id() -> u16 {
    u16::from_be_bytes(octets())
}

/// A number in 0..1.
pub(super) fn fraction() -> f64 {
    f64::from(u32::from_be_bytes(octets())) / (f64::from(u32::MAX) + 1.0)
}

/// One of so many; 0 when there are none.
pub(super) fn below(count: usize) -> usize {
    let number = u32::from_be_bytes(octets());
    usize::try_from(number).unwrap_or(usize::MAX).checked_rem(count).unwrap_or_default()
}

/// So many octets that nobody can guess.
pub(super) fn octets<const LEN: usize>() -> [u8; LEN] {
    let mut octets = [0; LEN];
    // It fails only where no randomness exists at all; TLS would not work there either.
    if rand::fill(&mut octets).is_err() {
        tracing::error!("the system gives no random numbers");
    }
    octets
}
