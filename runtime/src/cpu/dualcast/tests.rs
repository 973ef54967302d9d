//! Tests of all tiers and ways.

use std::ptr::{null, null_mut};

use proptest::prelude::*;

use super::*;
use crate::cpu::sweep::{Guarded, alignments, noise, sizes};

const CANARY: u8 = 0xa5;
const WAYS: [Way; 3] = [Way::Store, Way::Library, Way::Stream];

fn ways() -> impl Iterator<Item = (Tier, Way)> {
    // Those of SSE4.2 are the portable ones.
    let tiers = Tier::available().filter(|tier| *tier != Tier::Sse42);
    tiers.flat_map(|tier| WAYS.into_iter().map(move |way| (tier, way)))
}

#[test]
fn kernels_do_what_they_are_named_for() {
    let data: Vec<u8> = (0..3000_u32).map(|at| (at * 7 % 251) as u8).collect();
    for kernel in kernels().into_iter().filter(|kernel| kernel.tier <= Tier::of_cpu()) {
        for len in [0, 1, 63, 64, 65, 700, 3000] {
            let (mut one, mut two) = (vec![0xa5; len + 1], vec![0xa5; len + 1]);
            // SAFETY: three regions of at least `len` bytes, on a CPU of that tier.
            unsafe { (kernel.run)(data.as_ptr(), one.as_mut_ptr(), two.as_mut_ptr(), len) };
            for out in [&one, &two] {
                assert!(out[..len] == data[..len] && out[len] == 0xa5, "{}: {len} bytes", kernel.name);
            }
        }
    }
}

#[test]
fn each_way_writes_both_and_nothing_else() {
    let data = noise(5000, 1);
    let (mut first, mut second) = (vec![CANARY; 5000], vec![CANARY; 5000]);
    let canaries = vec![CANARY; 5000];
    for (tier, way) in ways() {
        for len in sizes(&[]) {
            // Few, as both destinations are to be looked at as a whole.
            let all = alignments(len);
            let step = if len <= 130 { 61 } else { 13 };
            for (index, &(a, b)) in all.iter().enumerate().skip(len % step).step_by(step) {
                let s = (index + len) % 64;
                // SAFETY: all ranges are of at most 4,096 bytes from less than 64, in separate buffers of 5,000.
                unsafe {
                    let (first, second) = (first.as_mut_ptr().add(64 + a), second.as_mut_ptr().add(64 + b));
                    dualcast_at(tier, way, data.as_ptr().add(s), first, second, len);
                }
                for (out, shift) in [(&mut first, 64 + a), (&mut second, 64 + b)] {
                    assert!(out[shift..shift + len] == data[s..s + len], "{tier} {way:?} {len} {s} {a} {b}");
                    out[shift..shift + len].fill(CANARY);
                    let near = shift - 64..(shift + len + 320).min(5000);
                    assert!(out[near.clone()] == canaries[near], "{tier} {way:?} {len} {s} {a} {b}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_touched_beyond_the_regions() {
    let data = noise(1400, 2);
    let [src, first, second] = [(); 3].map(|()| Guarded::new(1400));
    for (tier, way) in ways() {
        for len in 0..1400 {
            // SAFETY: regions of that length, at the end and then at the start of mappings of their own.
            unsafe {
                let from = src.put(&data[..len]);
                dualcast_at(tier, way, from, first.end(len), second.end(len), len);
                assert!(first.bytes(len) == data[..len] && second.bytes(len) == data[..len], "{tier} {way:?} {len}");
                ptr::copy_nonoverlapping(data.as_ptr(), src.start(), len);
                dualcast_at(tier, way, src.start(), first.start(), second.start(), len);
                for out in [&first, &second] {
                    assert!(*std::slice::from_raw_parts(out.start(), len) == data[..len], "{tier} {way:?} {len}");
                }
            }
        }
    }
}

#[test]
fn limits_are_the_first_sizes_past_the_cache() {
    let limits = DualcastLimits { stream: 3000, stream_cold: 500 };
    assert_eq!([2999, 3000].map(|len| limits.is_stream(Hint::Unknown, len)), [false, !cfg!(miri)]);
    assert_eq!([499, 500].map(|len| limits.is_stream(Hint::Cold, len)), [false, !cfg!(miri)]);
    assert!(!limits.is_stream(Hint::Hot, usize::MAX));
}

#[test]
fn nothing_is_touched_for_length_zero() {
    // SAFETY: the pointers may be anything for length 0.
    unsafe {
        dualcast(null(), null_mut(), null_mut(), 0);
        for (tier, way) in ways() {
            dualcast_at(tier, way, null(), null_mut(), null_mut(), 0);
        }
    }
}

proptest! {
    #[test]
    fn dualcast_writes_both_whatever_the_hint(
        len in prop_oneof![0_usize..300, STEP - 3..STEP + 3, 2 * STEP - 1..3 * STEP],
        (s, a, b) in (0_usize..64, 0_usize..64, 0_usize..64),
        (seed, limit) in (any::<u64>(), 0_usize..3 * STEP),
        hint in prop_oneof![Just(Hint::Unknown), Just(Hint::Cold), Just(Hint::Hot)],
    ) {
        let data = noise(len + 64, seed);
        let mut first = vec![CANARY; len + 128];
        let mut second = vec![CANARY; len + 128];
        let limits = DualcastLimits { stream: limit, stream_cold: limit };
        // SAFETY: every range is `len` bytes from less than 64 in a separate buffer of at least `len + 64` bytes.
        unsafe {
            let (first, second) = (first.as_mut_ptr().add(a), second.as_mut_ptr().add(b));
            dualcast_with(hint, data.as_ptr().add(s), first, second, len);
            ptr::write_bytes(first, CANARY, len);
            ptr::write_bytes(second, CANARY, len);
            if len > SMALL {
                dualcast_limited(&limits, hint, data.as_ptr().add(s), first, second, len);
            } else {
                dualcast(data.as_ptr().add(s), first, second, len);
            }
        }
        for (out, at) in [(&first, a), (&second, b)] {
            prop_assert_eq!(&out[at..at + len], &data[s..s + len]);
            prop_assert!(out[..at].iter().chain(&out[at + len..]).all(|&byte| byte == CANARY));
        }
    }
}
