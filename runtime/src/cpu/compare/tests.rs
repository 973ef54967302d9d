//! Tests of all tiers against oracles that go byte by byte.

use proptest::prelude::*;

use super::pattern::compare_pattern_at;
use super::*;
use crate::cpu::rotate_pattern;
use crate::cpu::sweep::{Guarded, alignments, noise, sizes};

/// The vectors that this CPU has.
fn vectors() -> Vec<Vectors> {
    let all = [
        (Vectors::Base, Tier::Portable),
        (Vectors::Avx2, Tier::Avx2),
        (Vectors::Avx512, Tier::Avx512),
        (Vectors::Avx512Halves, Tier::Avx512),
    ];
    all.into_iter().filter(|(_, tier)| *tier <= Tier::of_cpu()).map(|(vectors, _)| vectors).collect()
}

/// Without those that are the same in a lower one.
fn tiers() -> impl Iterator<Item = Tier> {
    Tier::available().filter(|tier| *tier != Tier::Sse42)
}

fn run(a: &[u8], b: &[u8]) -> Option<usize> {
    assert_eq!(a.len(), b.len());
    // SAFETY: two slices of that length; the tiers are available.
    unsafe {
        let found = compare(a.as_ptr(), b.as_ptr(), a.len());
        for vectors in vectors() {
            assert_eq!(compare_at(vectors, a.as_ptr(), b.as_ptr(), a.len()), found, "{vectors:?}");
        }
        assert_eq!(portable::compare(a.as_ptr(), b.as_ptr(), a.len()), found);
        found
    }
}

fn run_pattern(data: &[u8], pattern: u64) -> Option<usize> {
    // SAFETY: a slice of that length; the tiers are available.
    unsafe {
        let found = compare_pattern(data.as_ptr(), data.len(), pattern);
        for tier in Tier::available() {
            assert_eq!(compare_pattern_at(tier, data.as_ptr(), data.len(), pattern), found, "{tier}");
        }
        assert_eq!(portable::compare_pattern(data.as_ptr(), data.len(), pattern), found);
        found
    }
}

fn byte_by_byte(a: &[u8], b: &[u8]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}

fn repeated(pattern: u64, len: usize) -> Vec<u8> {
    pattern.to_le_bytes().into_iter().cycle().take(len).collect()
}

#[test]
fn every_size_at_every_alignment() {
    let data = noise(4096, 1);
    let (mut a, mut b) = (vec![0; 4096 + 64], vec![0; 4096 + 64]);
    let all = vectors();
    let mut turn = 0;
    for len in sizes(&[]) {
        // Above that, each size has some of them, which change from size to size.
        let step = if len <= 130 { 1 } else { 8 };
        for (left, right) in alignments(len).into_iter().skip(len % step).step_by(step) {
            a[left..left + len].copy_from_slice(&data[..len]);
            b[right..right + len].copy_from_slice(&data[..len]);
            // What is around them differs.
            if left > 0 && right > 0 {
                (a[left - 1], b[right - 1]) = (1, 2);
            }
            if left + len < a.len() && right + len < b.len() {
                (a[left + len], b[right + len]) = (1, 2);
            }
            turn += 1;
            let at = if len == 0 { None } else { Some(turn * 31 % len) };
            for &vectors in &all {
                // SAFETY: ranges of the buffers; the tier is available.
                unsafe {
                    let (a, b) = (a.as_mut_ptr().add(left), b.as_mut_ptr().add(right));
                    assert_eq!(compare_at(vectors, a, b, len), None, "{vectors:?} {len} {left} {right}");
                    let Some(at) = at else { continue };
                    *b.add(at) ^= 0x80;
                    assert_eq!(compare_at(vectors, a, b, len), Some(at), "{vectors:?} {len} {left} {right}");
                    *b.add(at) ^= 0x80;
                }
            }
        }
    }
}

#[test]
fn every_size_of_a_pattern_at_every_alignment() {
    let pattern = 0x0807_0605_0403_0201;
    let image = repeated(pattern, 4096);
    let mut data = vec![0; 4096 + 128];
    for len in sizes(&[]) {
        let step = if len <= 320 { 1 } else { 8 };
        for shift in (len % step..64).step_by(step) {
            data[shift..shift + len].copy_from_slice(&image[..len]);
            data[shift + len] = 0xee;
            let at = if len == 0 { None } else { Some((shift * 67 + len * 31) % len) };
            for tier in tiers() {
                // SAFETY: a range of the buffer; the tier is available.
                unsafe {
                    let src = data.as_mut_ptr().add(shift);
                    assert_eq!(compare_pattern_at(tier, src, len, pattern), None, "{tier} {len} {shift}");
                    let Some(at) = at else { continue };
                    *src.add(at) ^= 0x80;
                    assert_eq!(compare_pattern_at(tier, src, len, pattern), Some(at), "{tier} {len} {shift}");
                    *src.add(at) ^= 0x80;
                }
            }
            if shift > 0 {
                data[shift - 1] = 0xee;
            }
        }
    }
}

#[test]
fn the_first_of_two_differences_is_found_wherever_they_are() {
    let data = noise(700, 2);
    let pattern = 0x0102_0304_0506_0708;
    let image = repeated(pattern, 700);
    for len in 0..=700 {
        let (mut b, mut c) = (data[..len].to_vec(), image[..len].to_vec());
        let step = if len <= 130 { 1 } else { 29 };
        for at in (len % step..len).step_by(step) {
            let second = at + (len - at) / 2;
            for at in [at, second] {
                b[at] = !data[at];
                c[at] = !image[at];
            }
            assert_eq!(run(&data[..len], &b), Some(at), "length {len}");
            assert_eq!(run_pattern(&c, pattern), Some(at), "length {len}");
            for at in [at, second] {
                b[at] = data[at];
                c[at] = image[at];
            }
        }
    }
}

#[test]
fn nothing_is_read_beyond_the_regions() {
    let data = noise(1200, 3);
    let image = repeated(7, 1200);
    let [a, b] = [(); 2].map(|()| Guarded::new(1200));
    for len in 0..=1200 {
        // SAFETY: regions of that length, at the end and then at the start of mappings of their own; the CPU has the vectors.
        unsafe {
            let (left, right) = (a.put(&data[..len]), b.put(&data[..len]));
            for vectors in vectors() {
                assert_eq!(compare_at(vectors, left, right, len), None);
                assert_eq!(compare_at(vectors, b.start(), b.start(), len), None);
            }
            let src = a.put(&image[..len]);
            for tier in tiers() {
                assert_eq!(compare_pattern_at(tier, src, len, 7), None);
            }
            std::ptr::copy_nonoverlapping(image.as_ptr(), a.start(), len);
            for tier in tiers() {
                assert_eq!(compare_pattern_at(tier, a.start(), len, 7), None);
            }
        }
    }
}

#[test]
fn halves_are_for_cpus_that_do_them_from_a_size_on() {
    let halves_from = 500;
    let of = |tier, in_halves, len| Vectors::best(tier, || in_halves).of(halves_from, len);
    for len in [499, 500] {
        assert_eq!(of(Tier::Portable, true, len), Vectors::Base);
        assert_eq!(of(Tier::Sse42, true, len), Vectors::Base);
        assert_eq!(of(Tier::Avx2, true, len), Vectors::Avx2);
        assert_eq!(of(Tier::Avx512, false, len), Vectors::Avx512);
    }
    assert_eq!([499, 500].map(|len| of(Tier::Avx512, true, len)), [Vectors::Avx512, Vectors::Avx512Halves]);
}

#[test]
fn differences_behind_many_equal_blocks() {
    const BLOCK: usize = 4096;
    let a = vec![3_u8; 5 * BLOCK + 17];
    for at in [0, BLOCK - 1, BLOCK, 3 * BLOCK + 9, 5 * BLOCK, 5 * BLOCK + 16] {
        let mut b = a.clone();
        b[at..].fill(4);
        assert_eq!(run(&a, &b), Some(at));
        assert_eq!(run_pattern(&b, 0x0303_0303_0303_0303), Some(at));
    }
}

#[test]
fn empty_regions_are_equal_whatever_the_pointers() {
    let null = std::ptr::null();
    // SAFETY: the pointers may be anything for length 0.
    unsafe {
        assert_eq!(compare(null, null, 0), None);
        assert_eq!(compare_pattern(null, 0, 1), None);
        for vectors in vectors() {
            assert_eq!(compare_at(vectors, null, null, 0), None);
        }
        for tier in tiers() {
            assert_eq!(compare_pattern_at(tier, null, 0, 1), None);
        }
    }
}

#[test]
fn kernels_do_what_they_are_named_for() {
    let data = noise(1000, 4);
    for kernel in kernels().into_iter().filter(|kernel| kernel.tier <= Tier::of_cpu()) {
        let mut other = data.clone();
        other[777] ^= 1;
        // SAFETY: two buffers of that length; the tier is available.
        assert_eq!(unsafe { (kernel.run)(data.as_ptr(), other.as_ptr(), 1000) }, Some(777), "{}", kernel.name);
    }
    for kernel in pattern_kernels().into_iter().filter(|kernel| kernel.tier <= Tier::of_cpu()) {
        let mut other = repeated(5, 1000);
        other[777] ^= 1;
        // SAFETY: a buffer of that length; the tier is available.
        assert_eq!(unsafe { (kernel.run)(other.as_ptr(), 1000, 5) }, Some(777), "{}", kernel.name);
    }
}

proptest! {
    #[test]
    fn few_values_differ_as_byte_by_byte(
        (a, b) in (0_usize..3000).prop_flat_map(|len| {
            let mostly_equal = || prop::collection::vec(prop_oneof![99 => Just(0_u8), 1 => Just(1)], len);
            (mostly_equal(), mostly_equal())
        }),
    ) {
        prop_assert_eq!(run(&a, &b), byte_by_byte(&a, &b));
        prop_assert_eq!(run_pattern(&a, 0), byte_by_byte(&a, &vec![0; a.len()]));
    }

    #[test]
    fn overlapping_regions_are_compared(
        data in prop::collection::vec(0_u8..2, 2..3000), shift in any::<prop::sample::Index>(),
    ) {
        let shift = shift.index(data.len());
        let len = data.len() - shift;
        prop_assert_eq!(run(&data[..len], &data[shift..]), byte_by_byte(&data[..len], &data[shift..]));
    }

    #[test]
    fn a_pattern_comparison_goes_on_with_the_rotated_pattern(
        pattern in any::<u64>(), len in 1_usize..2000,
        (cut, at) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let mut data = repeated(pattern, len);
        let (cut, at) = (cut.index(len), at.index(len));
        data[at] ^= 0x40;
        let first = run_pattern(&data[..cut], pattern);
        let rest = run_pattern(&data[cut..], rotate_pattern(pattern, cut as u64)).map(|offset| cut + offset);
        prop_assert_eq!(first.or(rest), Some(at));
    }
}
