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
    #[cfg(test)]
    if let Some(octets) = seeded::octets() {
        return octets;
    }
    let mut octets = [0; LEN];
    // It fails only where no randomness exists at all; TLS would not work there either.
    if rand::fill(&mut octets).is_err() {
        tracing::error!("the system gives no random numbers");
    }
    octets
}

/// Numbers for tests that are to take the same course each time.
#[cfg(test)]
pub(super) mod seeded {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on all numbers of this thread follow from the seed.
    pub(in crate::upstream) fn start(seed: u64) {
        STATE.set(Some(seed));
    }

    pub(super) fn octets<const LEN: usize>() -> Option<[u8; LEN]> {
        let mut state = STATE.get()?;
        let octets = std::array::from_fn(|_| step(&mut state).to_le_bytes()[3]);
        STATE.set(Some(state));
        Some(octets)
    }

    /// The next number of SplitMix64.
    pub(in crate::upstream) fn step(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
