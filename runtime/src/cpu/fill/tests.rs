//! Tests of all tiers and ways against what a pattern looks like byte by byte.

use proptest::prelude::*;

use super::*;
use crate::cpu::sweep::{Guarded, sizes};

const CANARY: u8 = 0xa5;
const NARROW: [u64; 2] = [0x0807_0605_0403_0201; 2];
const WIDE: [u64; 2] = [0x0807_0605_0403_0201, 0x100f_0e0d_0c0b_0a09];

/// All on different sizes.
const LIMITS: FillLimits = FillLimits {
    repeat_hot: 700,
    repeat: 300,
    stream: 900,
    stream_cold: 800,
    stream_cold_to: 1000,
    stream_cold_wide: 500,
};

/// Every way of every tier; and whether it takes patterns of 16 bytes.
fn ways() -> impl Iterator<Item = (Tier, Way, bool)> {
    let of = |tier| {
        let others = [(tier, Way::Repeat, false), (tier, Way::Stream, true)];
        // They are the same in most tiers, and Miri has none of them.
        let is_own = move |(tier, way, _): &(Tier, Way, bool)| {
            *tier == Tier::Portable || (*way == Way::Stream && *tier == Tier::Avx512)
        };
        let others = others.into_iter().filter(move |way| is_own(way) && !cfg!(miri));
        std::iter::once((tier, Way::Store, true)).chain(others)
    };
    Tier::available().flat_map(of)
}

fn repeated(pattern: [u64; 2], len: usize) -> Vec<u8> {
    let bytes = [pattern[0].to_le_bytes(), pattern[1].to_le_bytes()].concat();
    bytes.into_iter().cycle().take(len).collect()
}

#[test]
fn every_size_at_every_alignment() {
    let images = [NARROW, WIDE].map(|pattern| (pattern, repeated(pattern, 4096)));
    let mut out = vec![CANARY; 64 + 4096 + 64 + 320];
    let canaries = vec![CANARY; 320];
    for (tier, way, is_wide) in ways() {
        for (pattern, image) in &images {
            if pattern != &NARROW && !is_wide {
                continue;
            }
            for len in sizes(&[]) {
                // Above that, each size has eight of them, which change from size to size.
                let step = if len <= 320 { 1 } else { 8 };
                for shift in (64 + len % step..128).step_by(step) {
                    // SAFETY: a range of the buffer; the tier is available.
                    unsafe { fill_at(tier, way, out.as_mut_ptr().add(shift), len, joined(*pattern)) };
                    let end = shift + len;
                    assert!(out[shift..end] == image[..len], "{tier} {way:?} {len} {shift}");
                    out[shift..end].fill(CANARY);
                    assert!(out[shift - 64..shift] == canaries[..64], "{tier} {way:?} {len} {shift}");
                    assert!(out[end..end + 320] == canaries, "{tier} {way:?} {len} {shift}");
                }
            }
        }
    }
    assert!(out.iter().all(|&byte| byte == CANARY));
}

#[test]
fn nothing_is_touched_beyond_the_region() {
    let image = repeated(WIDE, 1200);
    let region = Guarded::new(1200);
    for (tier, way, is_wide) in ways() {
        let (pattern, period) = if is_wide { (WIDE, 16) } else { (NARROW, 8) };
        let image: Vec<u8> = (0..1200).map(|at| image[at % period]).collect();
        for len in 0..=1200 {
            // SAFETY: that many bytes at the end and then at the start of a mapping; the tier is available.
            unsafe {
                fill_at(tier, way, region.end(len), len, joined(pattern));
                assert!(region.bytes(len) == image[..len], "{tier} {way:?} {len}");
                fill_at(tier, way, region.start(), len, joined(pattern));
                let at_start = std::slice::from_raw_parts(region.start(), len);
                assert!(*at_start == image[..len], "{tier} {way:?} {len}");
            }
        }
    }
}

#[test]
fn the_public_ways_agree_on_either_side_of_each_limit() {
    let mut out = vec![CANARY; 1400];
    for len in sizes(&[64, 300, 500, 700, 800, 900]).into_iter().filter(|len| *len <= 1000) {
        for hint in [Hint::Unknown, Hint::Cold, Hint::Hot] {
            for (pattern, shift) in [(NARROW, 64 + len % 61), (WIDE, 64 + len % 59)] {
                // SAFETY: a range of the buffer.
                unsafe {
                    let dst = out.as_mut_ptr().add(shift);
                    if pattern == NARROW && len > SMALL {
                        fill_limited(&LIMITS, hint, dst, len, pattern[0]);
                    } else if len > SMALL {
                        fill_wide_limited(&LIMITS, hint, dst, len, pattern);
                    } else if pattern == NARROW {
                        fill_with(hint, dst, len, pattern[0]);
                    } else {
                        fill_wide_with(hint, dst, len, pattern);
                    }
                }
                assert!(out[shift..shift + len] == repeated(pattern, len), "{hint:?} {len}");
                out[shift..shift + len].fill(CANARY);
                assert!(out.iter().all(|&byte| byte == CANARY), "{hint:?} {len}");
            }
        }
    }
}

#[test]
fn rotations_agree() {
    for done in 0..40 {
        assert_eq!(joined(WIDE).rotated(done).wide(), rotate_wide_pattern(WIDE, done as u64));
        assert_eq!(WIDE[0].rotated(done), rotate_pattern(WIDE[0], done as u64));
    }
}

#[test]
fn a_cpu_that_repeats_slowly_gets_the_same_bytes() {
    let mut out = vec![CANARY; 1400];
    for hint in [Hint::Unknown, Hint::Cold, Hint::Hot] {
        for len in [300, 500, 700, 800, 899, 900] {
            // SAFETY: a range of the buffer.
            unsafe { maybe_repeat(out.as_mut_ptr().add(7), len, NARROW[0], &LIMITS, hint) };
            assert!(out[7..7 + len] == repeated(NARROW, len), "{hint:?} {len}");
            out.fill(CANARY);
        }
    }
}

#[test]
fn limits_are_the_first_sizes_of_a_way() {
    use Way::{Repeat, Store, Stream};
    let way = |hint, len| Way::of(&LIMITS, hint, len, true);
    assert_eq!([299, 300, 899, 900].map(|len| way(Hint::Unknown, len)), [Store, Repeat, Repeat, Stream]);
    assert_eq!([299, 300, 799, 800].map(|len| way(Hint::Cold, len)), [Store, Repeat, Repeat, Stream]);
    assert_eq!([699, 700, 1 << 40].map(|len| way(Hint::Hot, len)), [Store, Repeat, Repeat]);
    // A pattern of 16 bytes, or a CPU without it.
    let way = |hint, len| Way::of(&LIMITS, hint, len, false);
    assert_eq!([300, 899, 900].map(|len| way(Hint::Unknown, len)), [Store, Store, Stream]);
    assert_eq!([499, 500].map(|len| way(Hint::Cold, len)), [Store, Stream]);
    assert_eq!([700, 1 << 40].map(|len| way(Hint::Hot, len)), [Store, Store]);
}

#[test]
fn every_small_size_at_every_alignment_is_what_portable_code_gives() {
    for pattern in [NARROW, WIDE, [0; 2], [!0; 2]] {
        for len in 0..=300 {
            let image = repeated(pattern, len);
            for shift in 0..64 {
                let (mut out, mut other) = (vec![CANARY; 400], vec![CANARY; 400]);
                // SAFETY: ranges of the buffers.
                unsafe {
                    fill_wide(out.as_mut_ptr().add(shift), len, pattern);
                    portable::fill(other.as_mut_ptr().add(shift), len, pattern);
                }
                assert!(out == other && out[shift..shift + len] == image, "length {len}, shift {shift}");
            }
        }
    }
}

#[test]
fn the_low_byte_of_the_pattern_comes_first() {
    let mut out = [0_u8; 11];
    // SAFETY: the whole array.
    unsafe { fill(out.as_mut_ptr(), out.len(), 0x0807_0605_0403_0201) };
    assert_eq!(out, [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]);
}

#[test]
fn nothing_is_touched_for_length_zero() {
    // SAFETY: the pointer may be anything for length 0.
    unsafe {
        fill(std::ptr::null_mut(), 0, 1);
        fill_wide_with(Hint::Cold, std::ptr::null_mut(), 0, WIDE);
        for (tier, way, _) in ways() {
            fill_at(tier, way, std::ptr::null_mut(), 0, joined(NARROW));
        }
    }
}

#[test]
fn kernels_do_what_they_are_named_for() {
    for kernel in kernels().into_iter().filter(|kernel| kernel.tier <= Tier::of_cpu()) {
        let mut out = vec![CANARY; 1000];
        // SAFETY: a range of the buffer; the tier is available.
        unsafe { (kernel.run)(out.as_mut_ptr().add(3), 900, NARROW) };
        assert!(out[3..903] == repeated(NARROW, 900), "{}", kernel.name);
    }
}

proptest! {
    #[test]
    fn a_fill_in_two_parts_with_a_rotated_pattern_is_one_fill(
        pattern in any::<u64>(), len in 0_usize..9000, cut in any::<prop::sample::Index>(), shift in 0_usize..64,
        hint in prop_oneof![Just(Hint::Unknown), Just(Hint::Cold), Just(Hint::Hot)],
    ) {
        let cut = cut.index(len + 1);
        let mut out = vec![CANARY; 9100];
        // SAFETY: both parts lie inside `out`.
        unsafe {
            let dst = out.as_mut_ptr().add(shift);
            fill_with(hint, dst, cut, pattern);
            fill_with(hint, dst.add(cut), len - cut, rotate_pattern(pattern, cut as u64));
        }
        prop_assert!(out[shift..shift + len] == repeated([pattern; 2], len));
        prop_assert!(out[..shift].iter().chain(&out[shift + len..]).all(|&byte| byte == CANARY));
    }

    #[test]
    fn the_same_with_sixteen_bytes(
        pattern in any::<[u64; 2]>(), len in 0_usize..5000, cut in any::<prop::sample::Index>(), shift in 0_usize..64,
    ) {
        let cut = cut.index(len + 1);
        let mut out = vec![CANARY; 5100];
        // SAFETY: both parts lie inside `out`.
        unsafe {
            let dst = out.as_mut_ptr().add(shift);
            fill_wide(dst, cut, pattern);
            fill_wide(dst.add(cut), len - cut, rotate_wide_pattern(pattern, cut as u64));
        }
        prop_assert!(out[shift..shift + len] == repeated(pattern, len));
        prop_assert!(out[..shift].iter().chain(&out[shift + len..]).all(|&byte| byte == CANARY));
    }
}
