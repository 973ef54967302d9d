//! Comparisons without any vector of a particular architecture.

use super::lowest_byte;

/// Bytes handed to the C library's comparison at a time, before the place of a difference is looked for.
const BLOCK: usize = 4096;

/// # Safety
///
/// As for [`super::compare`].
pub(super) unsafe fn compare(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    let mut at = 0;
    while at < len {
        let step = (len - at).min(BLOCK);
        // SAFETY: `at + step <= len`, for which the caller vouches, and `len` is not 0.
        let (left, right) =
            unsafe { (std::slice::from_raw_parts(a.add(at), step), std::slice::from_raw_parts(b.add(at), step)) };
        // Equality alone is the vectorised `bcmp`; only the one block that differs is searched.
        if left != right {
            return Some(at + first_difference(left, right));
        }
        at += step;
    }
    None
}

/// # Safety
///
/// As for [`super::compare_pattern`].
pub(super) unsafe fn compare_pattern(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    if len == 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    let data = unsafe { std::slice::from_raw_parts(src, len) };
    let mut at = 0;
    // Eight words at a time without a branch between them, so that the compiler may use vectors.
    let mut blocks = data.chunks_exact(64);
    for block in &mut blocks {
        let mut differences = 0;
        for word in block.chunks_exact(8) {
            differences |= load(word) ^ pattern;
        }
        if differences != 0 {
            break;
        }
        at += 64;
    }
    for word in data[at..].chunks(8) {
        // `at` is a multiple of 8 here, so the pattern begins with its low byte.
        let difference = load(word) ^ (pattern & mask(word.len()));
        if difference != 0 {
            return Some(at + lowest_byte(difference));
        }
        at += word.len();
    }
    None
}

/// Where two slices of the same length, known to differ, do so first.
#[cold]
fn first_difference(left: &[u8], right: &[u8]) -> usize {
    let mut at = 0;
    for (l, r) in left.chunks(8).zip(right.chunks(8)) {
        let difference = load(l) ^ load(r);
        if difference != 0 {
            return at + lowest_byte(difference);
        }
        at += 8;
    }
    unreachable!("the caller has found a difference")
}

/// Up to eight bytes as a little-endian number, missing ones as 0.
#[inline]
fn load(bytes: &[u8]) -> u64 {
    match bytes.try_into() {
        Ok(whole) => u64::from_le_bytes(whole),
        Err(_) => bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
    }
}

/// The low `bytes` bytes of a word; `bytes` is 1 to 8.
#[inline]
fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes)
}
