//! CRC generation, with the device's conventions for seed and result.
//!
//! The device's algorithm, in its own terms: the state is the seed, bit-reflected and inverted; every byte is
//! reflected and shifted in, most significant bit first; the result is the inverted state, reflected. Two
//! consequences make it pleasant to use: seed 0 gives the standard CRC, and a result is the seed that goes on behind
//! it. One flag bypasses inversion and reflection of seed and result, another the reflection of the data bytes, a third
//! selects the 64-bit polynomial.
//!
//! All variants run on the vector code of `crc-fast`, which keeps its state reflected if and only if the data is; `params.rs`
//! translates seeds into states and states into results. For reflected data there are kernels of our own, where they are faster:
//! `short.rs` uses the `crc32` instruction, `fold.rs` carry-less multiplications of 64 bytes at a time with or without a copy on
//! the way, `hybrid.rs` both at once. `select.rs` says which is used where.

mod base;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for kernels of other architectures"))]
mod constants;
#[cfg(target_arch = "x86_64")]
mod fold;
#[cfg(target_arch = "x86_64")]
mod hybrid;
#[cfg(any(test, feature = "internals"))]
mod kernels;
mod params;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "limits of kernels of other architectures"))]
mod select;
#[cfg(target_arch = "x86_64")]
mod short;
#[cfg(target_arch = "x86_64")]
mod sink;
#[cfg(test)]
mod tests;

use super::{Hint, Tier};
#[cfg(any(test, feature = "internals"))]
pub(crate) use kernels::{copy_kernels, kernels};
pub use params::{CrcParams, CrcWidth};
pub(crate) use select::CrcLimits;
use select::{copy_state_at, copy_state32, state_at, state32, state32_at};

/// The sizes that count.
#[inline]
fn limits() -> &'static CrcLimits {
    &super::tuning::current().crc
}

/// CRC-32C of a slice. Seed 0 gives the standard CRC; a result as the seed goes on behind it.
///
/// ```
/// use dsa::cpu::crc32c;
///
/// assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
/// assert_eq!(crc32c(crc32c(0, b"1234"), b"56789"), 0xe306_9283);
/// ```
#[inline]
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: a slice is valid for reading, and nobody writes it meanwhile.
    unsafe { crc32c_at(seed, data.as_ptr(), data.len()) }
}

/// As [`crc32c`], of `len` bytes at an address.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if `len` is 0.
#[inline]
pub unsafe fn crc32c_at(seed: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { crc32c_with(Hint::Unknown, seed, src, len) }
}

/// As [`crc32c_at`], with a hint where the bytes are.
///
/// # Safety
///
/// As for [`crc32c_at`].
#[inline]
pub unsafe fn crc32c_with(hint: Hint, seed: u32, src: *const u8, len: usize) -> u32 {
    // The state is the inverted seed, the result the inverted state.
    // SAFETY: the caller's promise is the one that is asked for.
    !unsafe { state32(!seed, src, len, hint) }
}

/// CRC-32C by folding, alone or together with streams of the `crc32` instruction: for whoever wants to know what is faster. On a CPU
/// that has no folding, as ever.
pub(crate) fn by_folding(with_streams: bool, data: &[u8]) -> u32 {
    let never = CrcLimits { hybrid_from: usize::MAX, probe_from: usize::MAX, ..CrcLimits::DEFAULT };
    let limits = if with_streams { CrcLimits { hybrid_from: 0, ..never } } else { never };
    // SAFETY: a slice is valid for reading, and the tier is one of the CPU.
    !unsafe { state32_at(Tier::current(), &limits, Hint::Hot, !0, data.as_ptr(), data.len()) }
}

/// Any CRC of a slice (CRC generation, opcode 0x10). The upper half of seed and result does not count for 32 bits.
pub fn crc(params: CrcParams, seed: u64, data: &[u8]) -> u64 {
    // SAFETY: a slice is valid for reading, and nobody writes it meanwhile.
    unsafe { crc_at(params, seed, data.as_ptr(), data.len()) }
}

/// As [`crc`], of `len` bytes at an address.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if `len` is 0.
#[inline]
pub unsafe fn crc_at(params: CrcParams, seed: u64, src: *const u8, len: usize) -> u64 {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { crc_with(Hint::Unknown, params, seed, src, len) }
}

/// As [`crc_at`], with a hint where the bytes are.
///
/// # Safety
///
/// As for [`crc_at`].
pub unsafe fn crc_with(hint: Hint, params: CrcParams, seed: u64, src: *const u8, len: usize) -> u64 {
    let state = params.state(seed);
    // SAFETY: the tier is one of the CPU; the rest is the caller's promise.
    params.result(unsafe { state_at(Tier::current(), limits(), hint, params, state, src, len) })
}

/// Copies and computes the CRC-32C of what was copied.
///
/// # Safety
///
/// As for [`copy_crc`].
#[inline]
pub unsafe fn copy_crc32c(seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { copy_crc32c_with(Hint::Unknown, seed, src, dst, len) }
}

/// As [`copy_crc32c`], with a hint where the bytes are and where they shall be afterwards. A piece of a large operation is
/// [`Cold`](Hint::Cold): without a hint, a small piece is thought to be used soon.
///
/// # Safety
///
/// As for [`copy_crc`].
#[inline]
pub unsafe fn copy_crc32c_with(hint: Hint, seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    // SAFETY: the caller's promise is the one that is asked for.
    !unsafe { copy_state32(!seed, src, dst, len, hint) }
}

/// Copies and computes any CRC of what was copied (copy with CRC generation, opcode 0x11).
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes and `dst` for writing as many, the regions do not overlap, and
/// nobody else accesses those of `dst` or writes those of `src` meanwhile. The pointers may be anything if `len` is 0.
#[inline]
pub unsafe fn copy_crc(params: CrcParams, seed: u64, src: *const u8, dst: *mut u8, len: usize) -> u64 {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { copy_crc_with(Hint::Unknown, params, seed, src, dst, len) }
}

/// As [`copy_crc`], with a hint as for [`copy_crc32c_with`].
///
/// # Safety
///
/// As for [`copy_crc`].
pub unsafe fn copy_crc_with(hint: Hint, params: CrcParams, seed: u64, src: *const u8, dst: *mut u8, len: usize) -> u64 {
    let state = params.state(seed);
    // SAFETY: the tier is one of the CPU; the rest is the caller's promise.
    params.result(unsafe { copy_state_at(Tier::current(), limits(), hint, params, state, src, dst, len) })
}
