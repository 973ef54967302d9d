//! Large blocking operations by several threads: those of rayon's pool.
//!
//! One core of a server reaches a tenth of what its memory can do, one core of a small virtual machine most of it. So nothing is divided
//! where the pool has fewer than [`FEWEST`] threads, and a part is never smaller than what takes longer than waking a thread.

use std::ops::Range;

use super::{Hint, compare, copy_crc32c_with, copy_with, crc32c_with, fill_with};

/// Fewest bytes of a part. Measured on a server (Emerald Rapids, 16 threads): copies of 256 KiB by four threads lose, those of 1 MiB gain
/// a half, those of 4 MiB are twice as fast.
const PART: usize = 512 << 10;

/// Threads of a pool for which dividing pays. Measured on a virtual machine with two: at no size.
#[cfg(feature = "rayon")]
const FEWEST: usize = 4;

/// What parts begin and end at.
const GRAIN: usize = 4096;

/// In how many parts an operation on `len` bytes is done, by at most so many threads.
fn parts(len: usize, threads: usize) -> usize {
    if len < 2 * PART || threads < 2 {
        return 1;
    }
    #[cfg(feature = "rayon")]
    {
        let pool = pool();
        if pool < FEWEST { 1 } else { threads.min(pool).min(len / PART) }
    }
    #[cfg(not(feature = "rayon"))]
    1
}

/// Threads of the pool that this thread would use; 1 if there is none to use: it could not be made, or a child of `fork` has what is left
/// of its parent's, which would be waited for in vain.
#[cfg(feature = "rayon")]
fn pool() -> usize {
    use std::error::Error as _;
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    use crate::process;

    const MADE: u8 = 1;
    /// The process that has asked first.
    static PROCESS: AtomicU64 = AtomicU64::new(0);
    /// [`MADE`] if the common pool is there; 0 until then, or for ever.
    static COMMON: AtomicU8 = AtomicU8::new(0);

    let mine = process::generation();
    match PROCESS.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => match rayon::ThreadPoolBuilder::new().build_global() {
            // Not the first to make it, if that is the error.
            Err(error) if error.source().is_some() => return 1,
            _ => COMMON.store(MADE, Ordering::Release),
        },
        Err(first) if first != mine => return 1,
        Err(_) => {}
    }
    if COMMON.load(Ordering::Acquire) == MADE { rayon::current_num_threads() } else { 1 }
}

/// The part with a number, of so many.
fn part(len: usize, number: usize, parts: usize) -> Range<usize> {
    let size = len.div_ceil(parts).next_multiple_of(GRAIN);
    (number * size).min(len)..((number + 1) * size).min(len)
}

/// Does `work` for each part, at the same time; what comes of it in the order of the parts.
fn each<T: Send>(len: usize, parts: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let work = |number| work(part(len, number, parts));
    #[cfg(feature = "rayon")]
    if parts > 1 {
        use rayon::iter::{IntoParallelIterator, ParallelIterator};
        return (0..parts).into_par_iter().map(work).collect();
    }
    (0..parts).map(work).collect()
}

/// An address, for other threads too.
#[derive(Clone, Copy)]
struct Address(*mut u8);

// SAFETY: an address by itself can do nothing. Whoever uses it vouches for what is there.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

impl Address {
    fn of(at: *const u8) -> Self {
        Self(at.cast_mut())
    }

    /// So many bytes behind it. A method, so that closures take all of the value and not the pointer in it.
    ///
    /// # Safety
    ///
    /// It is inside of what the address belongs to, or just behind.
    unsafe fn add(self, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(bytes) }
    }
}

/// [`copy_with`], of regions that do not overlap, by at most so many threads.
///
/// # Safety
///
/// As for [`copy_with`]; the regions do not overlap.
#[inline]
pub(crate) unsafe fn copy(threads: usize, hint: Hint, src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { if threads < 2 { copy_with(hint, src, dst, len) } else { copy_in_parts(threads, hint, src, dst, len) } }
}

/// # Safety
///
/// As for [`copy`].
#[inline(never)]
unsafe fn copy_in_parts(threads: usize, hint: Hint, src: *const u8, dst: *mut u8, len: usize) {
    let parts = parts(len, threads);
    if parts == 1 {
        // SAFETY: the caller's promise.
        return unsafe { copy_with(hint, src, dst, len) };
    }
    // All parts are as cold as all of it.
    let hint = hint.of_part(1, len as u64);
    let (src, dst) = (Address::of(src), Address(dst));
    // SAFETY: the parts lie inside the regions, for which the caller vouches, and no two have a byte in common.
    each(len, parts, |part| unsafe { copy_with(hint, src.add(part.start), dst.add(part.start), part.len()) });
}

/// [`fill_with`], by at most so many threads.
///
/// # Safety
///
/// As for [`fill_with`].
#[inline]
pub(crate) unsafe fn fill(threads: usize, hint: Hint, dst: *mut u8, len: usize, pattern: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        if threads < 2 { fill_with(hint, dst, len, pattern) } else { fill_in_parts(threads, hint, dst, len, pattern) }
    }
}

/// # Safety
///
/// As for [`fill`].
#[inline(never)]
unsafe fn fill_in_parts(threads: usize, hint: Hint, dst: *mut u8, len: usize, pattern: u64) {
    let parts = parts(len, threads);
    if parts == 1 {
        // SAFETY: the caller's promise.
        return unsafe { fill_with(hint, dst, len, pattern) };
    }
    let hint = hint.of_part(1, len as u64);
    let dst = Address(dst);
    // SAFETY: as in `copy`. Parts begin at multiples of the pattern's 8 bytes.
    each(len, parts, |part| unsafe { fill_with(hint, dst.add(part.start), part.len(), pattern) });
}

/// [`compare`], by at most so many threads.
///
/// # Safety
///
/// As for [`compare`].
#[inline]
pub(crate) unsafe fn difference(threads: usize, a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe { if threads < 2 { compare(a, b, len) } else { difference_in_parts(threads, a, b, len) } }
}

/// # Safety
///
/// As for [`difference`].
#[inline(never)]
unsafe fn difference_in_parts(threads: usize, a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    let parts = parts(len, threads);
    if parts == 1 {
        // SAFETY: the caller's promise.
        return unsafe { compare(a, b, len) };
    }
    let (a, b) = (Address::of(a), Address::of(b));
    let found = each(len, parts, |part| {
        // SAFETY: as in `copy`; nobody writes.
        unsafe { compare(a.add(part.start), b.add(part.start), part.len()) }.map(|offset| part.start + offset)
    });
    found.into_iter().flatten().next()
}

/// [`crc32c_with`], by at most so many threads.
///
/// # Safety
///
/// As for [`crc32c_with`].
#[inline]
pub(crate) unsafe fn crc32c(threads: usize, hint: Hint, seed: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        if threads < 2 { crc32c_with(hint, seed, src, len) } else { crc32c_in_parts(threads, hint, seed, src, len) }
    }
}

/// # Safety
///
/// As for [`crc32c`].
#[inline(never)]
unsafe fn crc32c_in_parts(threads: usize, hint: Hint, seed: u32, src: *const u8, len: usize) -> u32 {
    let parts = parts(len, threads);
    if parts == 1 {
        // SAFETY: the caller's promise.
        return unsafe { crc32c_with(hint, seed, src, len) };
    }
    let hint = hint.of_part(1, len as u64);
    let src = Address::of(src);
    let crcs = each(len, parts, |part| {
        let seed = if part.start == 0 { seed } else { 0 };
        // SAFETY: as in `copy`; nobody writes.
        (unsafe { crc32c_with(hint, seed, src.add(part.start), part.len()) }, part.len())
    });
    combined(crcs)
}

/// [`copy_crc32c_with`], by at most so many threads.
///
/// # Safety
///
/// As for [`copy_crc32c_with`].
#[inline]
pub(crate) unsafe fn copy_crc32c(
    threads: usize,
    hint: Hint,
    seed: u32,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        if threads < 2 {
            copy_crc32c_with(hint, seed, src, dst, len)
        } else {
            copy_crc32c_in_parts(threads, hint, seed, src, dst, len)
        }
    }
}

/// # Safety
///
/// As for [`copy_crc32c`].
#[inline(never)]
unsafe fn copy_crc32c_in_parts(threads: usize, hint: Hint, seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    let parts = parts(len, threads);
    if parts == 1 {
        // SAFETY: the caller's promise.
        return unsafe { copy_crc32c_with(hint, seed, src, dst, len) };
    }
    let hint = hint.of_part(1, len as u64);
    let (src, dst) = (Address::of(src), Address(dst));
    let crcs = each(len, parts, |part| {
        let seed = if part.start == 0 { seed } else { 0 };
        // SAFETY: as in `copy`.
        (unsafe { copy_crc32c_with(hint, seed, src.add(part.start), dst.add(part.start), part.len()) }, part.len())
    });
    combined(crcs)
}

/// The CRC of all bytes, of those of the parts, each after nothing but the first.
fn combined(crcs: Vec<(u32, usize)>) -> u32 {
    let all = crcs.into_iter().reduce(|(before, length), (crc, len)| {
        let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
        let crc = crc_fast::checksum_combine(algorithm, before.into(), crc.into(), len as u64) as u32;
        (crc, length + len)
    });
    all.map_or(0, |(crc, _)| crc)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::sweep::noise;

    proptest! {
        #[test]
        fn parts_are_all_of_it_once(len in 1_usize..1 << 30, parts in 1_usize..64) {
            let mut end = 0;
            for number in 0..parts {
                let part = part(len, number, parts);
                prop_assert_eq!(part.start, end);
                prop_assert!(part.is_empty() || part.start.is_multiple_of(GRAIN));
                end = part.end;
            }
            prop_assert_eq!(end, len);
        }
    }

    #[test]
    fn the_crc_of_parts_is_that_of_the_whole() {
        let data = noise(100_000, 1);
        for seed in [0, 0x1234_5678] {
            let crcs = each(data.len(), 7, |part| {
                let seed = if part.start == 0 { seed } else { 0 };
                (super::super::crc32c(seed, &data[part.clone()]), part.len())
            });
            assert_eq!(combined(crcs), super::super::crc32c(seed, &data));
        }
    }

    #[test]
    fn large_operations_are_as_those_of_one_thread() {
        as_those_of_one_thread();
        #[cfg(feature = "rayon")]
        {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(FEWEST + 1).build().expect("a pool");
            pool.install(|| {
                assert_eq!([parts(8 << 20, 3), parts(8 << 20, 64), parts(PART, 64)], [3, FEWEST + 1, 1]);
                as_those_of_one_thread();
            });
            let small = rayon::ThreadPoolBuilder::new().num_threads(FEWEST - 1).build().expect("a pool");
            small.install(|| assert_eq!(parts(8 << 20, 64), 1));
        }
    }

    fn as_those_of_one_thread() {
        let len = (4 << 20) + 4095;
        let data = noise(len, 2);
        for threads in [1, 2, 5, 16] {
            let mut out = vec![0; len];
            // SAFETY: slices of that length, and one for which nobody else has a use.
            unsafe {
                copy(threads, Hint::Unknown, data.as_ptr(), out.as_mut_ptr(), len);
                assert!(out == data, "{threads} threads");
                assert_eq!(difference(threads, data.as_ptr(), out.as_ptr(), len), None);
                for at in [len - 1, len / 2, 3] {
                    out[at] ^= 1;
                    assert_eq!(difference(threads, data.as_ptr(), out.as_ptr(), len), Some(at), "{threads} threads");
                }
                let crc = super::super::crc32c(9, &data);
                assert_eq!(crc32c(threads, Hint::Cold, 9, data.as_ptr(), len), crc, "{threads} threads");
                out.fill(0);
                assert_eq!(copy_crc32c(threads, Hint::Hot, 9, data.as_ptr(), out.as_mut_ptr(), len), crc);
                assert!(out == data, "{threads} threads");
                fill(threads, Hint::Unknown, out.as_mut_ptr(), len, 0x0807_0605_0403_0201);
                assert!((0..len).all(|at| out[at] == at as u8 % 8 + 1), "{threads} threads");
            }
        }
    }
}
