//! What others would do: the C library, the standard library's idioms, checksum crates, and two passes instead of one.
//!
//! Each takes what the engine's function takes and gives what that gives.

use std::ptr;
use std::slice;

use crc_fast::CrcAlgorithm;
use dsa_benches::grid::{BLOCK, FIELD};

use super::slots::{EQUAL, PATTERN};

/// The bytes of a region.
///
/// # Safety
///
/// They are valid and nobody writes them meanwhile.
#[inline(always)]
unsafe fn bytes<'a>(at: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(at, len) }
}

/// What each asks for: pointers are valid for as many bytes as it takes, and regions do not overlap.
macro_rules! functions {
    ($($(#[$attribute:meta])* $name:ident($($argument:ident: $kind:ty),*) -> u64 $body:block)*) => {$(
        $(#[$attribute])*
        ///
        /// # Safety
        ///
        /// The regions are valid, do not overlap, and nobody else uses them.
        #[inline(always)]
        pub(crate) unsafe fn $name($($argument: $kind),*) -> u64 {
            // SAFETY: all that the body touches lies inside the caller's regions.
            unsafe { $body }
        }
    )*};
}

functions! {
    /// The C library's copy.
    memcpy(src: *const u8, dst: *mut u8, len: usize) -> u64 {
        ptr::copy_nonoverlapping(src, dst, len);
        0
    }

    /// The C library's fill, which knows patterns of one byte only.
    memset(dst: *mut u8, len: usize) -> u64 {
        ptr::write_bytes(dst, PATTERN as u8, len);
        0
    }

    /// A slice of words, filled; where it is not aligned, its bytes.
    #[allow(clippy::cast_ptr_alignment, reason = "looked at")]
    word_fill(dst: *mut u8, len: usize) -> u64 {
        if dst.addr().is_multiple_of(8) {
            slice::from_raw_parts_mut(dst.cast::<u64>(), len / 8).fill(PATTERN.to_le());
        } else {
            for word in slice::from_raw_parts_mut(dst, len).chunks_exact_mut(8) {
                word.copy_from_slice(&PATTERN.to_le_bytes());
            }
        }
        0
    }

    /// CRC-32C by `crc-fast`.
    crc_fast_32(src: *const u8, len: usize) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes(src, len))
    }

    /// CRC-32C by `crc32c`.
    crc32c_crate(src: *const u8, len: usize) -> u64 {
        u64::from(crc32c::crc32c(bytes(src, len)))
    }

    /// CRC-64 by `crc-fast`.
    crc_fast_64(src: *const u8, len: usize) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes(src, len))
    }

    /// Copy, then CRC of the copy.
    two_passes(src: *const u8, dst: *mut u8, len: usize) -> u64 {
        ptr::copy_nonoverlapping(src, dst, len);
        crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes(dst, len))
    }

    /// The same, step by step.
    chunked(src: *const u8, dst: *mut u8, len: usize, step: usize) -> u64 {
        let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut at = 0;
        while at < len {
            let step = step.min(len - at);
            ptr::copy_nonoverlapping(src.add(at), dst.add(at), step);
            digest.update(bytes(dst.add(at), step));
            at += step;
        }
        digest.finalize()
    }

    /// The C library's comparison.
    memcmp(a: *const u8, b: *const u8, len: usize) -> u64 {
        if bytes(a, len) == bytes(b, len) { EQUAL } else { 0 }
    }

    /// The standard library's way to look at every word.
    all_words(src: *const u8, len: usize) -> u64 {
        let pattern = PATTERN.to_le_bytes();
        if bytes(src, len).chunks_exact(8).all(|word| word == pattern) { EQUAL } else { 0 }
    }

    /// A delta record, word by word.
    word_delta(first: *const u8, second: *const u8, len: usize, record: *mut u8) -> u64 {
        let mut size = 0;
        let words = bytes(first, len).chunks_exact(8).zip(bytes(second, len).chunks_exact(8));
        for (index, (old, new)) in words.enumerate() {
            if old != new {
                record.add(size).cast::<[u8; 2]>().write((index as u16).to_le_bytes());
                ptr::copy_nonoverlapping(new.as_ptr(), record.add(size + 2), 8);
                size += 10;
            }
        }
        size as u64
    }

    /// Two copies.
    two_copies(src: *const u8, first: *mut u8, second: *mut u8, len: usize) -> u64 {
        ptr::copy_nonoverlapping(src, first, len);
        ptr::copy_nonoverlapping(src, second, len);
        0
    }

    /// Two copies, step by step.
    chunked_copies(src: *const u8, first: *mut u8, second: *mut u8, len: usize) -> u64 {
        let mut at = 0;
        while at < len {
            let step = (16 << 10).min(len - at);
            ptr::copy_nonoverlapping(src.add(at), first.add(at), step);
            ptr::copy_nonoverlapping(src.add(at), second.add(at), step);
            at += step;
        }
        0
    }
}

/// CRC-16 of a block, by `crc-fast`.
///
/// # Safety
///
/// The block is valid.
#[inline(always)]
pub(crate) unsafe fn crc_fast_16(block: *const u8) -> u16 {
    // SAFETY: the caller's promise.
    crc_fast::checksum(CrcAlgorithm::Crc16T10Dif, unsafe { bytes(block, BLOCK) }) as u16
}

/// The field of a block: guard, application tag 0, the block's number as the reference tag.
#[inline(always)]
fn field(guard: u16, number: usize) -> [u8; FIELD] {
    (u64::from(guard) << 48 | number as u64).to_be_bytes()
}

/// Blocks with a field behind each, with any CRC-16 that works on a block, which it may copy.
///
/// # Safety
///
/// The regions are valid, and do not overlap.
#[inline(always)]
pub(crate) unsafe fn insert(
    src: *const u8,
    dst: *mut u8,
    len: usize,
    copy_with_guard: impl Fn(*const u8, *mut u8) -> u16,
) -> u64 {
    let blocks = len / BLOCK;
    for number in 0..blocks {
        // SAFETY: block and field lie inside the regions.
        unsafe {
            let to = dst.add(number * (BLOCK + FIELD));
            let guard = copy_with_guard(src.add(number * BLOCK), to);
            to.add(BLOCK).cast::<[u8; FIELD]>().write(field(guard, number));
        }
    }
    blocks as u64
}

/// Checks blocks with fields, likewise.
///
/// # Safety
///
/// The region is valid.
#[inline(always)]
pub(crate) unsafe fn check(src: *const u8, len: usize, guard: impl Fn(*const u8) -> u16) -> u64 {
    let blocks = len / BLOCK;
    for number in 0..blocks {
        // SAFETY: block and field lie inside the region.
        let (guard, found) = unsafe {
            let from = src.add(number * (BLOCK + FIELD));
            (guard(from), from.add(BLOCK).cast::<[u8; FIELD]>().read())
        };
        if found != field(guard, number) {
            return EQUAL;
        }
    }
    blocks as u64
}

/// Fields alone, likewise.
///
/// # Safety
///
/// The regions are valid, and do not overlap.
#[inline(always)]
pub(crate) unsafe fn generate(src: *const u8, dst: *mut u8, len: usize, guard: impl Fn(*const u8) -> u16) -> u64 {
    let blocks = len / BLOCK;
    for number in 0..blocks {
        // SAFETY: block and field lie inside the regions.
        unsafe { dst.add(number * FIELD).cast::<[u8; FIELD]>().write(field(guard(src.add(number * BLOCK)), number)) };
    }
    blocks as u64
}
