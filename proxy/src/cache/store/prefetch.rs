//! Telling the processor what will be read soon.
#![allow(
    unsafe_code,
    reason = "the instruction takes any address, and there is no other way to it"
)]

/// The octets that the processor fetches at a time.
const LINE: usize = 64;

/// Has the processor fetch what is at an address, so many octets of it. It is not waited for, and an address at which
/// nothing is does no harm.
pub(in crate::cache) fn prefetch<T>(at: *const T, octets: usize) {
    for offset in (0..octets).step_by(LINE) {
        line(at.cast::<u8>().wrapping_add(offset));
    }
}

#[cfg(target_arch = "x86_64")]
fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint, which reads nothing that the program would see and raises no fault (Intel SDM volume 2, PREFETCHh).
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[cfg(target_arch = "aarch64")]
fn line(at: *const u8) {
    // SAFETY: as above (Arm ARM, PRFM).
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn line(_: *const u8) {}
