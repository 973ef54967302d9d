//! Every kernel against `copy_within` of a plain buffer.

use std::ptr::{null, null_mut};

use proptest::prelude::*;

use super::*;
use crate::cpu::sweep::{Guarded, alignments, noise, sizes};

/// Sizes at which a kernel changes what it does.
const THRESHOLDS: [usize; 3] = [4096 + 256, 16 << 10, 64 << 10];

fn kernels() -> impl Iterator<Item = CopyKernel> {
    CopyKernel::ALL.into_iter().filter(|kernel| kernel.tier() <= Tier::of_cpu())
}

#[test]
fn names_are_read_as_they_are_written() {
    for kernel in CopyKernel::ALL {
        assert_eq!(CopyKernel::named(kernel.name()), Some(kernel));
    }
    assert_eq!(CopyKernel::named("magic"), None);
}

/// What a copy inside one buffer is to give, by way of a second one.
fn moved(data: &[u8], from: usize, to: usize, len: usize) -> Vec<u8> {
    let mut out = data.to_vec();
    out[to..to + len].copy_from_slice(&data[from..from + len]);
    out
}

/// Each kernel at each size and alignment, and nothing written beyond.
#[test]
fn every_size_at_every_alignment() {
    let sizes = sizes(&THRESHOLDS);
    let largest = sizes.iter().max().expect("there are sizes") + 64;
    let src = noise(largest, 1);
    for kernel in kernels() {
        let mut dst = vec![0xa5_u8; largest + 128];
        for &len in sizes.iter().filter(|len| **len > MEDIUM) {
            // All alignments of either, over four sizes in a row.
            for (from, to) in alignments(len).into_iter().skip(len % 4).step_by(4) {
                // SAFETY: `len` bytes from less than 64, in buffers of 64 more; the CPU has the kernel.
                unsafe { copy_by(kernel, src.as_ptr().add(from), dst.as_mut_ptr().add(to), len) };
                assert!(dst[to..to + len] == src[from..from + len], "{kernel:?}: {len} bytes, {from} to {to}");
                let untouched = dst[..to] == [0xa5; 64][..to] && dst[to + len..to + len + 64] == [0xa5; 64];
                assert!(untouched, "{kernel:?}: {len} bytes, {from} to {to}: something beyond");
                dst[to..to + len].fill(0xa5);
            }
        }
    }
}

/// Destinations at chosen places behind the source in a page, on both sides of where copies begin at the end.
#[test]
fn wherever_in_a_page_the_regions_are() {
    let sizes: Vec<usize> = (257..=1300).chain([4095, 4096, 4097, 5000, 10_000]).collect();
    let mut arena = noise(64 << 10, 5);
    let whole = arena.clone();
    for kernel in kernels() {
        for &len in &sizes {
            for phase in [0, 1, 63, 64, 65, 511, 512, 513, 2048, 4095] {
                let (from, to) = (4096 + len % 64, 4096 + len % 64 + (16 << 10) + phase);
                // SAFETY: both lie inside the arena, `from` and `len` bytes below `to`; the CPU has the kernel.
                unsafe {
                    let base = arena.as_mut_ptr();
                    copy_by(kernel, base.add(from), base.add(to), len);
                }
                assert!(arena[to..to + len] == whole[from..from + len], "{kernel:?}: {len} bytes, phase {phase}");
                arena[to..to + len].copy_from_slice(&whole[to..to + len]);
                assert!(
                    arena[to - 80..to + len + 80] == whole[to - 80..to + len + 80],
                    "{kernel:?}: {len} bytes: beyond"
                );
            }
        }
    }
    assert!(arena == whole);
}

/// Up to 256 bytes on a tier with AVX2, whatever the one in use.
#[cfg(target_arch = "x86_64")]
#[test]
fn medium_sizes_by_vectors() {
    if Tier::of_cpu() < Tier::Avx2 {
        return;
    }
    let src = noise(400, 6);
    let mut dst = vec![0xa5_u8; 400];
    for len in 65..=MEDIUM {
        for (from, to) in alignments(len) {
            // SAFETY: `len` bytes from less than 64, in buffers of 400, on a CPU of that tier.
            unsafe { vector::medium(src.as_ptr().add(from), dst.as_mut_ptr().add(to), len) };
            assert!(dst[to..to + len] == src[from..from + len], "{len} bytes, {from} to {to}");
            dst[to..to + len].fill(0xa5);
            assert!(dst.iter().all(|byte| *byte == 0xa5), "{len} bytes, {from} to {to}: something beyond");
        }
        for to in 0..=len.min(140) {
            let (mut expected, mut out) = (src.clone(), src.clone());
            let from = 70;
            if from + len > src.len() || to + len > src.len() {
                continue;
            }
            expected.copy_within(from..from + len, to);
            let base = out.as_mut_ptr();
            // SAFETY: both regions lie inside the buffer; overlapping ones are what is tried.
            unsafe { vector::medium(base.add(from), base.add(to), len) };
            assert!(out == expected, "{len} bytes, from {from} to {to}");
        }
    }
}

/// Nothing is what every kernel of the list does with nothing.
#[test]
fn nothing_is_touched_by_any_kernel_for_length_zero() {
    for kernel in super::kernels().iter().filter(|kernel| kernel.tier <= Tier::of_cpu()) {
        // SAFETY: the pointers may be anything for length 0.
        unsafe { (kernel.run)(null(), null_mut(), 0) };
    }
}

/// Up to the size where kernels begin: all sizes, all pairs of alignments.
#[test]
fn every_small_size_at_every_alignment() {
    let src = noise(700, 2);
    let mut dst = vec![0xa5_u8; 700];
    for len in 0..=MEDIUM + 1 {
        for (from, to) in alignments(len) {
            // SAFETY: `len` bytes from less than 64, in buffers of 700.
            unsafe { copy(src.as_ptr().add(from), dst.as_mut_ptr().add(to), len) };
            assert!(dst[to..to + len] == src[from..from + len], "{len} bytes, {from} to {to}");
            dst[to..to + len].fill(0xa5);
            assert!(dst.iter().all(|byte| *byte == 0xa5), "{len} bytes, {from} to {to}: something beyond");
        }
    }
}

/// Both regions begin, or both end, at a page that nobody may touch.
#[test]
fn nothing_outside_is_touched() {
    let sizes = sizes(&THRESHOLDS);
    let largest = *sizes.iter().max().expect("there are sizes");
    let (src, dst) = (Guarded::new(largest), Guarded::new(largest));
    let data = noise(largest, 3);
    src.put(&data);
    for &len in &sizes {
        // SAFETY: `len` accessible bytes; the two are different mappings; the CPU has the kernel.
        let check = |copy: &dyn Fn(*const u8, *mut u8)| unsafe {
            for (from, to) in [(src.start(), dst.start()), (src.end(len), dst.end(len))] {
                to.write_bytes(0, len);
                copy(from, to);
                let [from, to] = [from.cast_const(), to.cast_const()].map(|at| std::slice::from_raw_parts(at, len));
                assert!(from == to, "{len} bytes");
            }
        };
        // SAFETY: as above.
        check(&|from, to| unsafe { copy(from, to, len) });
        if len > MEDIUM {
            // SAFETY: as above.
            kernels().for_each(|kernel| check(&|from, to| unsafe { copy_by(kernel, from, to, len) }));
        }
    }
}

/// All distances between two overlapping regions, for each kernel.
#[test]
fn every_overlap() {
    let data = noise(3 * 600, 4);
    for len in [1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 65, 127, 128, 129, 256, 257, 300, 511, 512, 513, 600] {
        for to in 0..=2 * len {
            let expected = moved(&data, len, to, len);
            let check = |what: &str, copy: &dyn Fn(*const u8, *mut u8)| {
                let mut out = data.clone();
                let base = out.as_mut_ptr();
                // SAFETY: three times `len` lies inside.
                copy(unsafe { base.add(len) }, unsafe { base.add(to) });
                assert!(out == expected, "{what}: {len} bytes, from {len} to {to}");
            };
            for hint in [Hint::Unknown, Hint::Cold, Hint::Hot] {
                // SAFETY: the regions lie inside a buffer that only this closure has.
                check("chosen", &|from, to| unsafe { copy_with(hint, from, to, len) });
            }
            if len > MEDIUM {
                for kernel in kernels() {
                    // SAFETY: as above; the CPU has the kernel.
                    check(kernel.name(), &|from, to| unsafe { copy_by(kernel, from, to, len) });
                }
            }
        }
    }
}

#[test]
fn nothing_is_touched_for_length_zero() {
    // SAFETY: the pointers may be anything for length 0.
    unsafe { copy(null(), null_mut(), 0) };
}

#[test]
fn a_table_says_what_it_was_told() {
    let table = CopyTable::all(CopyKernel::Library)
        .with(Hint::Cold, 5000, CopyKernel::StreamSse2)
        .with_middle(CopyKernel::String)
        .with(Hint::Hot, 0, CopyKernel::Avx2)
        .with(Hint::Hot, 1 << 20, CopyKernel::String);
    for (hint, len, kernel) in [
        (Hint::Unknown, 1 << 30, CopyKernel::Library),
        (Hint::Cold, 8191, CopyKernel::Library),
        (Hint::Cold, 4095, CopyKernel::String),
        (Hint::Cold, 8192, CopyKernel::StreamSse2),
        (Hint::Cold, usize::MAX, CopyKernel::StreamSse2),
        (Hint::Hot, 4096, CopyKernel::Avx2),
        (Hint::Hot, (1 << 20) - 1, CopyKernel::Avx2),
        (Hint::Hot, 1 << 20, CopyKernel::String),
    ] {
        assert_eq!(table.kernel(hint, len), kernel, "{hint:?}, {len} bytes");
    }
    assert_eq!(
        table.steps(Hint::Hot),
        [(256, CopyKernel::String), (4096, CopyKernel::Avx2), (1 << 20, CopyKernel::String)]
    );
    assert_eq!(table.tier(), Tier::Avx2);
    assert_eq!(table.within(Tier::Sse42).kernel(Hint::Hot, 6000), CopyKernel::Library);
}

proptest! {
    #[test]
    fn overlapping_regions_move_as_if_by_way_of_a_third(
        data in prop::collection::vec(any::<u8>(), 1..20_000),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        len in any::<prop::sample::Index>(),
        hint in prop::sample::select(vec![Hint::Unknown, Hint::Cold, Hint::Hot]),
    ) {
        let (from, to) = (from.index(data.len()), to.index(data.len()));
        let len = len.index(data.len() - from.max(to) + 1);
        let mut out = data.clone();
        // SAFETY: both ranges end inside `out`.
        unsafe {
            let base = out.as_mut_ptr();
            copy_with(hint, base.add(from), base.add(to), len);
        }
        prop_assert_eq!(out, moved(&data, from, to, len));
    }
}
