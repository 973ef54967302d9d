//! CRC generation, with the device's conventions for seed and result.
//!
//! The device's algorithm, in its own terms: the state is the seed, bit-reflected and inverted; every byte is
//! reflected and shifted in, most significant bit first; the result is the inverted state, reflected. Two
//! consequences make it pleasant to use: seed 0 gives the standard CRC, and a result is the seed that goes on behind
//! it. One flag bypasses inversion and reflection of seed and result, another the reflection of the data bytes, a third
//! selects the 64-bit polynomial.
//!
//! All variants run on the vector code of `crc-fast`, which keeps its state reflected if and only if the data is. This
//! file only translates seeds into states and states into results.

use std::ptr;
use std::sync::LazyLock;

use crc_fast::{CrcAlgorithm, CrcParams as Kernel, Digest};
use idxd_sys::flag;

use super::STEP;

/// CRC-32C polynomial, without its leading term.
const POLYNOMIAL_32: u64 = 0x1edc_6f41;
/// CRC-64/NVME polynomial, without its leading term.
const POLYNOMIAL_64: u64 = 0xad93_d235_94c9_3659;

/// Which polynomial, and with it how many bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CrcWidth {
    /// CRC-32C (Castagnoli, iSCSI), polynomial `0x1EDC6F41`.
    #[default]
    Crc32C,
    /// CRC-64/NVME, polynomial `0xAD93D23594C93659` (GENCAP bit 11).
    Crc64,
}

/// The variant of a CRC operation. The default is plain CRC-32C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CrcParams {
    /// The polynomial.
    pub width: CrcWidth,
    /// Seed and result are the raw state: neither inverted nor reflected.
    pub bypass_inversion: bool,
    /// The data bytes are shifted in as they are, most significant bit first.
    pub bypass_reflection: bool,
}

impl CrcParams {
    /// The variant that a descriptor's flags ask for. The flag to read the seed from memory is not looked at.
    pub const fn from_flags(flags: u32) -> Self {
        Self {
            width: if flags & flag::CRC_64 == 0 { CrcWidth::Crc32C } else { CrcWidth::Crc64 },
            bypass_inversion: flags & flag::CRC_BYPASS_INVERT != 0,
            bypass_reflection: flags & flag::CRC_BYPASS_REFLECT != 0,
        }
    }

    /// The state of the kernel that stands for a seed.
    fn start(self, seed: u64) -> Digest {
        // A kernel for reflected data keeps its state reflected. The device's state, unreflected, is the reflected
        // and inverted seed: so for reflected data the two reflections cancel, and for raw data with a raw seed there
        // is none in the first place.
        let seed = if self.bypass_inversion { seed } else { !seed };
        let reflect = self.bypass_inversion != self.bypass_reflection;
        let state = self.cut(if reflect { self.reflected(seed) } else { seed });
        if self == Self::default() {
            return Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state);
        }
        let mut kernel = *self.kernel();
        kernel.init_algorithm = state;
        Digest::new_with_params(kernel)
    }

    /// The result, and next seed, that stands for a state: the way of `start` backwards.
    fn finish(self, digest: &Digest) -> u64 {
        let state = digest.get_state();
        let reflect = self.bypass_inversion != self.bypass_reflection;
        let value = if reflect { self.reflected(state) } else { state };
        self.cut(if self.bypass_inversion { value } else { !value })
    }

    fn reflected(self, value: u64) -> u64 {
        match self.width {
            CrcWidth::Crc32C => u64::from((value as u32).reverse_bits()),
            CrcWidth::Crc64 => value.reverse_bits(),
        }
    }

    fn cut(self, value: u64) -> u64 {
        match self.width {
            CrcWidth::Crc32C => value & u64::from(u32::MAX),
            CrcWidth::Crc64 => value,
        }
    }

    /// The folding constants, worked out once per polynomial and bit order.
    fn kernel(self) -> &'static Kernel {
        static KERNELS: LazyLock<[Kernel; 4]> = LazyLock::new(|| {
            [
                Kernel::new("CRC-32C, data reflected", 32, POLYNOMIAL_32, 0, true, 0, 0),
                Kernel::new("CRC-32C, data as it is", 32, POLYNOMIAL_32, 0, false, 0, 0),
                Kernel::new("CRC-64/NVME, data reflected", 64, POLYNOMIAL_64, 0, true, 0, 0),
                Kernel::new("CRC-64/NVME, data as it is", 64, POLYNOMIAL_64, 0, false, 0, 0),
            ]
        });
        let width = match self.width {
            CrcWidth::Crc32C => 0,
            CrcWidth::Crc64 => 2,
        };
        &KERNELS[width + usize::from(self.bypass_reflection)]
    }
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
    crc(CrcParams::default(), u64::from(seed), data) as u32
}

/// As [`crc32c`], of `len` bytes at an address.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if `len` is 0.
#[inline]
pub unsafe fn crc32c_at(seed: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { crc_at(CrcParams::default(), u64::from(seed), src, len) as u32 }
}

/// Any CRC of a slice (CRC generation, opcode 0x10). The upper half of seed and result does not count for 32 bits.
pub fn crc(params: CrcParams, seed: u64, data: &[u8]) -> u64 {
    let mut digest = params.start(seed);
    digest.update(data);
    params.finish(&digest)
}

/// As [`crc`], of `len` bytes at an address.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if `len` is 0.
pub unsafe fn crc_at(params: CrcParams, seed: u64, src: *const u8, len: usize) -> u64 {
    if len == 0 {
        return crc(params, seed, &[]);
    }
    // SAFETY: the caller's promise.
    crc(params, seed, unsafe { std::slice::from_raw_parts(src, len) })
}

/// Copies and computes the CRC-32C of what was copied.
///
/// # Safety
///
/// As for [`copy_crc`].
#[inline]
pub unsafe fn copy_crc32c(seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { copy_crc(CrcParams::default(), u64::from(seed), src, dst, len) as u32 }
}

/// Copies and computes any CRC of what was copied (copy with CRC generation, opcode 0x11).
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes and `dst` for writing as many, the regions do not overlap, and
/// nobody else accesses those of `dst` or writes those of `src` meanwhile. The pointers may be anything if `len` is 0.
pub unsafe fn copy_crc(params: CrcParams, seed: u64, src: *const u8, dst: *mut u8, len: usize) -> u64 {
    let mut digest = params.start(seed);
    let mut at = 0;
    while at < len {
        let step = (len - at).min(STEP);
        // SAFETY: `at + step <= len`, for which the caller vouches; `step` bytes of `dst` are initialised by the copy.
        // The CRC is taken of the destination, so that it vouches for the bytes that arrived.
        digest.update(unsafe {
            ptr::copy_nonoverlapping(src.add(at), dst.add(at), step);
            std::slice::from_raw_parts(dst.add(at), step)
        });
        at += step;
    }
    params.finish(&digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The device's algorithm as the specification words it, one bit at a time.
    fn oracle(params: CrcParams, seed: u64, data: &[u8]) -> u64 {
        let (bits, polynomial) = match params.width {
            CrcWidth::Crc32C => (32, POLYNOMIAL_32),
            CrcWidth::Crc64 => (64, POLYNOMIAL_64),
        };
        let ones = u64::MAX >> (64 - bits);
        let reflect = |value: u64| value.reverse_bits() >> (64 - bits);
        let mut state = if params.bypass_inversion { seed & ones } else { !reflect(seed & ones) & ones };
        for &byte in data {
            let byte = if params.bypass_reflection { byte } else { byte.reverse_bits() };
            for bit in (0..8).rev() {
                let out = state >> (bits - 1) & 1 ^ u64::from(byte >> bit & 1);
                state = (state << 1 & ones) ^ (out * polynomial);
            }
        }
        if params.bypass_inversion { state } else { reflect(!state & ones) }
    }

    fn all_variants() -> impl Iterator<Item = CrcParams> {
        [0, flag::CRC_64].into_iter().flat_map(|width| {
            [0, flag::CRC_BYPASS_INVERT, flag::CRC_BYPASS_REFLECT, flag::CRC_BYPASS_INVERT | flag::CRC_BYPASS_REFLECT]
                .map(|bypass| CrcParams::from_flags(width | bypass))
        })
    }

    fn pseudo_random(len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    #[test]
    fn check_vectors() {
        let (invert, reflect) = (flag::CRC_BYPASS_INVERT, flag::CRC_BYPASS_REFLECT);
        let vectors = [
            (0, 0xe306_9283),
            (flag::CRC_64, 0xae8b_1486_0a79_9888),
            (invert, 0x045f_c71a),
            (invert | reflect, 0xc052_a8c8),
            (reflect, 0xa8f0_22a0),
        ];
        for (flags, value) in vectors {
            assert_eq!(crc(CrcParams::from_flags(flags), 0, b"123456789"), value, "flags {flags:#x}");
        }
        assert_eq!(crc32c(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(0, &[]), 0);
        assert_eq!(crc32c(0x1234_5678, &[]), 0x1234_5678);
    }

    #[test]
    fn every_small_size_of_every_variant_follows_the_specification() {
        let data = pseudo_random(400);
        for params in all_variants() {
            for len in 0..=300 {
                let (shift, seed) = (len % 64, 0x0123_4567_89ab_cdef_u64.wrapping_mul(len as u64 + 1));
                let data = &data[shift..shift + len];
                assert_eq!(crc(params, seed, data), oracle(params, seed, data), "{params:?}, length {len}");
            }
        }
    }

    #[test]
    fn every_alignment() {
        let data = pseudo_random(1200);
        for params in all_variants() {
            for shift in 0..64 {
                let data = &data[shift..shift + 1024 + shift];
                assert_eq!(crc(params, 0, data), oracle(params, 0, data), "{params:?}, shift {shift}");
            }
        }
    }

    #[test]
    fn the_upper_half_of_a_32_bit_seed_does_not_count() {
        for params in all_variants().filter(|params| params.width == CrcWidth::Crc32C) {
            assert_eq!(crc(params, 0xffff_ffff_0000_0001, b"abc"), crc(params, 1, b"abc"));
            assert!(u32::try_from(crc(params, 1, b"abc")).is_ok());
        }
    }

    #[test]
    fn nothing_is_touched_for_length_zero() {
        // SAFETY: the pointers may be anything for length 0.
        unsafe {
            assert_eq!(crc32c_at(7, ptr::null(), 0), 7);
            assert_eq!(copy_crc32c(7, ptr::null(), ptr::null_mut(), 0), 7);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_result_is_the_seed_of_what_follows(
            data in prop::collection::vec(any::<u8>(), 0..3000), cut in any::<prop::sample::Index>(), seed in any::<u64>(),
        ) {
            let cut = cut.index(data.len() + 1);
            for params in all_variants() {
                let whole = crc(params, seed, &data);
                prop_assert_eq!(crc(params, crc(params, seed, &data[..cut]), &data[cut..]), whole);
                prop_assert_eq!(oracle(params, seed, &data), whole);
            }
        }

        #[test]
        fn copy_and_crc_are_copy_and_crc(
            len in prop_oneof![0_usize..300, STEP - 3..STEP + 3, 2 * STEP - 1..3 * STEP],
            (from, to) in (0_usize..64, 0_usize..64), seed in any::<u64>(),
        ) {
            let data = pseudo_random(len + 64);
            for params in all_variants() {
                let mut out = vec![0xa5; len + 128];
                // SAFETY: both ranges are `len` bytes from less than 64, in separate buffers of at least `len + 64`.
                let value = unsafe { copy_crc(params, seed, data.as_ptr().add(from), out.as_mut_ptr().add(to), len) };
                prop_assert_eq!(value, crc(params, seed, &data[from..from + len]));
                prop_assert_eq!(&out[to..to + len], &data[from..from + len]);
                prop_assert!(out[..to].iter().chain(&out[to + len..]).all(|&byte| byte == 0xa5));
            }
        }
    }
}
