//! The constants against their definitions, and the guards of every way against bits, one at a time.

use idxd_sys::dif::GUARD_POLYNOMIAL;

use super::super::constants::{EFFECT_OF_SEED, LOWER, QUOTIENT, STEP, UPPER, multiply, power};
use super::super::portable::by_tables;
use super::*;

/// The check value of the catalogues, and the five codewords of the proposal that T10 accepted (Penokie, Simplified End-to-End Data
/// Protection, section 4.5.6).
fn published() -> [(Vec<u8>, u16); 6] {
    let two_of_ones = [[0xff; 2].as_slice(), &[0; 30]].concat();
    [
        (b"123456789".to_vec(), 0xd0db),
        (vec![0; 32], 0),
        (vec![0xff; 32], 0xa293),
        ((0..32).collect(), 0x0224),
        (two_of_ones, 0x21b8),
        ((0xe0..=0xff).rev().collect(), 0xa0b7),
    ]
}

/// The guard of a block, by the way and nothing else.
fn guard_by(way: Way, block: &[u8]) -> u16 {
    let flags = SIZES.iter().position(|&size| size == block.len()).expect("the size of a block") as u8;
    let mut tuple = [0; 8];
    // SAFETY: a block, and 8 bytes; the CPU has the way.
    unsafe { way::generate(way, flags, DifDestination::default(), block.as_ptr(), tuple.as_mut_ptr(), block.len()) };
    u16::from_be_bytes([tuple[0], tuple[1]])
}

#[test]
fn each_tier_has_a_way_of_its_own_where_the_cpu_can() {
    assert_eq!(Way::of(Tier::Portable), Way::Tables);
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        assert_eq!(Way::of(Tier::Sse42), Way::Folds);
        let affine = std::arch::is_x86_feature_detected!("gfni");
        assert_eq!(Way::of(Tier::Avx2), if affine { Way::Products256 } else { Way::Folds });
        assert_eq!(Way::of(Tier::Avx512), if affine { Way::Products512 } else { Way::Folds });
    }
}

#[test]
fn published_vectors_behind_zeros_are_the_guards_of_blocks() {
    for (data, guard) in published() {
        assert_eq!(bitwise_guard(0, &data), guard);
        assert_eq!(by_tables(&data), guard);
        for size in SIZES {
            // Zeros in front change nothing, where the seed is 0.
            let mut block = vec![0; size];
            block[size - data.len()..].copy_from_slice(&data);
            for way in ways() {
                assert_eq!(guard_by(way, &block), guard, "{way:?}, {size} bytes");
            }
        }
    }
}

#[test]
fn every_bit_of_a_block_adds_its_power_of_x() {
    // All ways are sums of what the bits add. Of a long block one bit of each byte stands for the others: they go through the same
    // matrices and multiplications as the bytes 512 bytes away.
    for size in SIZES {
        let mut block = vec![0; size];
        for at in 0..size {
            let all = size < 1024;
            for bit in (0..8).filter(|bit| all || *bit == (at * 5 + at / 512) % 8) {
                block[at] = 1 << bit;
                let expected = power(8 * (size - 1 - at) + bit + 16);
                for way in ways() {
                    assert_eq!(guard_by(way, &block), expected, "{way:?}, byte {at} of {size}, bit {bit}");
                }
            }
            block[at] = 0;
        }
    }
}

#[test]
fn tables_give_the_guard_of_any_length() {
    let data = pseudo_random(600, 11);
    for len in 0..data.len() {
        assert_eq!(by_tables(&data[..len]), bitwise_guard(0, &data[..len]), "{len} bytes");
    }
}

#[test]
fn powers_and_products_are_those_of_the_polynomial() {
    let mut state = 1_u16;
    for exponent in 0..70_000 {
        if exponent < 300 || exponent % 127 == 0 {
            assert_eq!(power(exponent), state);
        }
        state = (state << 1) ^ if state & 0x8000 != 0 { 0x8bb7 } else { 0 };
    }
    for (left, right) in [(0, 7), (1, 0xffff), (0x8bb7, 0x1234), (0xffff, 0xffff), (2, 0x8000)] {
        let expected = (0..16).filter(|bit| right >> bit & 1 != 0).fold(0, |sum, bit| {
            let shifted = (0..bit).fold(left, |value: u16, _| (value << 1) ^ ((value >> 15) * GUARD_POLYNOMIAL));
            sum ^ shifted
        });
        assert_eq!(multiply(left, right), expected);
    }
}

#[test]
fn the_quotient_and_a_rest_make_the_power_again() {
    let (quotient, divisor) = (1_u128 << 64 | u128::from(QUOTIENT), 1_u128 << 16 | u128::from(GUARD_POLYNOMIAL));
    let product = (0..=16).filter(|bit| divisor >> bit & 1 != 0).fold(0, |sum, bit| sum ^ quotient << bit);
    assert_eq!(product ^ 1_u128 << 80, u128::from(power(80)));
}

/// The product of a byte and a matrix, as the affine instruction defines it.
fn affine(matrix: u64, byte: u8) -> u8 {
    let rows = matrix.to_le_bytes();
    (0..8).filter(|row| !(rows[7 - row] & byte).count_ones().is_multiple_of(2)).fold(0, |sum, row| sum | 1 << row)
}

#[test]
fn matrices_multiply_by_powers_of_x() {
    assert_eq!((&raw const UPPER.matrices[1]).addr() % 64, 0);
    assert_eq!((&raw const LOWER.matrices[1]).addr() % 64, 0);
    for word in 0..65 {
        let factor = power(64 * (64 - word) + 16);
        for byte in 0..=255 {
            let product = [affine(UPPER.matrices[word], byte), affine(LOWER.matrices[word], byte)];
            assert_eq!(u16::from_be_bytes(product), multiply(factor, u16::from(byte)), "word {word}");
        }
    }
    let [of_upper, of_lower, to_lower_of_upper, to_lower_of_lower] = STEP;
    for state in [1, 0x80, 0x100, 0x8000, 0xffff, 0x1234] {
        let [upper, lower] = u16::to_be_bytes(state);
        let next = [
            affine(of_upper, upper) ^ affine(of_lower, lower),
            affine(to_lower_of_upper, upper) ^ affine(to_lower_of_lower, lower),
        ];
        assert_eq!(u16::from_be_bytes(next), multiply(power(4096), state));
    }
}

#[test]
fn a_seed_adds_what_zeros_make_of_it() {
    for (size, effect) in SIZES.into_iter().zip(EFFECT_OF_SEED) {
        assert_eq!(bitwise_guard(INVERT_SEED, &vec![0; size]), effect);
    }
}

#[test]
fn kernels_do_what_they_are_named_for() {
    let data = pseudo_random(9 * 512, 21);
    let expected = protected(0, 0, DifTags::default(), &data);
    let inserts = kernels::kernels();
    for kernel in inserts {
        let mut out = vec![0; expected.len()];
        // SAFETY: nine blocks, and room for them with tuples; the CPU has the tier.
        unsafe { (kernel.run)(data.as_ptr(), out.as_mut_ptr(), data.len()) };
        assert_eq!(out, expected, "{}", kernel.name);
    }
    for kernel in kernels::guard_kernels() {
        for size in SIZES {
            // SAFETY: a block; the CPU has the tier.
            let guard = unsafe { (kernel.run)(data.as_ptr(), size) };
            assert_eq!(guard, bitwise_guard(0, &data[..size]), "{}, {size} bytes", kernel.name);
        }
    }
}
