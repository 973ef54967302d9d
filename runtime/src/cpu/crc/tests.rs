//! CRCs against the specification's own words: variants, sizes, alignments, and what lies around the regions.

use std::ptr;

use idxd_sys::flag;
use proptest::prelude::*;

use super::constants::{POLYNOMIAL_32, POLYNOMIAL_64};
use super::*;
use crate::cpu::sweep::{Guarded, alignments, noise, sizes};

mod every_kernel;
mod public;

/// The device's algorithm as the specification words it, one bit at a time.
#[derive(Clone, Copy)]
struct Oracle {
    params: CrcParams,
    state: u64,
}

impl Oracle {
    fn bits(params: CrcParams) -> (u32, u64) {
        match params.width {
            CrcWidth::Crc32C => (32, POLYNOMIAL_32),
            CrcWidth::Crc64 => (64, POLYNOMIAL_64),
        }
    }

    fn new(params: CrcParams, seed: u64) -> Self {
        let (bits, _) = Self::bits(params);
        let ones = u64::MAX >> (64 - bits);
        let reflected = seed.reverse_bits() >> (64 - bits);
        Self { params, state: if params.bypass_inversion { seed & ones } else { !reflected & ones } }
    }

    fn take(&mut self, byte: u8) {
        let (bits, polynomial) = Self::bits(self.params);
        let ones = u64::MAX >> (64 - bits);
        let byte = if self.params.bypass_reflection { byte } else { byte.reverse_bits() };
        for bit in (0..8).rev() {
            let out = self.state >> (bits - 1) & 1 ^ u64::from(byte >> bit & 1);
            self.state = (self.state << 1 & ones) ^ (out * polynomial);
        }
    }

    fn result(self) -> u64 {
        let (bits, _) = Self::bits(self.params);
        let ones = u64::MAX >> (64 - bits);
        if self.params.bypass_inversion { self.state } else { (!self.state & ones).reverse_bits() >> (64 - bits) }
    }
}

fn oracle(params: CrcParams, seed: u64, data: &[u8]) -> u64 {
    let mut oracle = Oracle::new(params, seed);
    for &byte in data {
        oracle.take(byte);
    }
    oracle.result()
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

/// Bytes of a step of the copies in two passes.
const STEP: usize = CrcLimits::DEFAULT.step;

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

    #[test]
    fn a_hint_changes_nothing(
        len in prop_oneof![0_usize..300, 300_usize..9000, 20_000_usize..70_000],
        (from, to) in (0_usize..64, 0_usize..64), seed in any::<u64>(),
    ) {
        let data = pseudo_random(len + 64);
        let data = &data[from..from + len];
        for params in [CrcParams::default(), CrcParams { width: CrcWidth::Crc64, ..CrcParams::default() }] {
            let value = oracle(params, seed, data);
            for hint in [Hint::Unknown, Hint::Cold, Hint::Hot] {
                let mut out = vec![0xa5; len + 128];
                // SAFETY: a slice, and `len` bytes from less than 64 in a separate buffer of at least `len + 64`.
                unsafe {
                    prop_assert_eq!(crc_with(hint, params, seed, data.as_ptr(), len), value);
                    prop_assert_eq!(copy_crc_with(hint, params, seed, data.as_ptr(), out.as_mut_ptr().add(to), len), value);
                }
                prop_assert_eq!(&out[to..to + len], data);
                prop_assert!(out[..to].iter().chain(&out[to + len..]).all(|&byte| byte == 0xa5));
            }
            if params.width == CrcWidth::Crc32C {
                let mut out = vec![0; len];
                // SAFETY: a slice and a vector of `len` bytes.
                unsafe {
                    prop_assert_eq!(crc32c_with(Hint::Hot, seed as u32, data.as_ptr(), len), value as u32);
                    prop_assert_eq!(copy_crc32c_with(Hint::Hot, seed as u32, data.as_ptr(), out.as_mut_ptr(), len), value as u32);
                }
                prop_assert_eq!(&out[..], data);
            }
        }
    }
}
