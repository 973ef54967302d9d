//! Delta records: what differs between two regions, and how it is put back (specification sections 8.3.8 and 8.3.9).
//!
//! A record is a sequence of entries of ten bytes without padding: a 16-bit offset, little endian and in units of 8
//! bytes, and the 8 bytes that the second region holds there. Entries are in ascending order of their offsets.

mod apply;
mod create;
#[cfg(test)]
mod tests;
mod words;

use std::ops::Range;

use idxd_sys::limits::{DELTA_ALIGN, DELTA_ENTRY, DELTA_MAX_REGION};
use idxd_sys::status;

use super::{Tier, compare};
pub use apply::apply_delta;
pub(crate) use apply::check_delta;

/// Bytes of one entry.
const ENTRY: usize = DELTA_ENTRY as usize;
/// Bytes of the word that an entry describes.
const WORD: usize = DELTA_ALIGN;

/// What became of a [`create_delta`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delta {
    /// The regions are equal; the record is empty (result 0).
    Equal,
    /// The record holds every difference (result 1).
    Complete {
        /// Bytes of the record.
        size: usize,
    },
    /// The record has no room for all differences; it holds the first ones (result 2).
    Overflow {
        /// Bytes of the record so far.
        size: usize,
        /// Bytes compared: the offset of the first word that differs and is not in the record.
        compared: usize,
    },
}

impl Delta {
    /// The device's result code: 0, 1 or 2.
    #[inline]
    pub const fn result(self) -> u8 {
        match self {
            Self::Equal => 0,
            Self::Complete { .. } => 1,
            Self::Overflow { .. } => 2,
        }
    }

    /// Bytes of the record.
    #[inline]
    pub const fn size(self) -> usize {
        match self {
            Self::Equal => 0,
            Self::Complete { size } | Self::Overflow { size, .. } => size,
        }
    }
}

/// A delta record that cannot be applied. What comes before the offending entry has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// An offset is not above the one before it.
    #[error("the delta record's entry at byte {consumed} has an offset that is not above the one before")]
    Order {
        /// Bytes of the record that have been applied.
        consumed: usize,
    },
    /// An offset lies outside the destination.
    #[error("the delta record's entry at byte {consumed} has an offset beyond the destination")]
    Range {
        /// Bytes of the record that have been applied.
        consumed: usize,
    },
}

impl DeltaError {
    /// The device's status code.
    #[inline]
    pub const fn status(self) -> u8 {
        match self {
            Self::Order { .. } => status::DELTA_OFFSET_ORDER,
            Self::Range { .. } => status::DELTA_OFFSET_RANGE,
        }
    }

    /// Bytes of the record that have been applied.
    #[inline]
    pub const fn consumed(self) -> usize {
        match self {
            Self::Order { consumed } | Self::Range { consumed } => consumed,
        }
    }
}

/// Records how `second` differs from `first` (create delta record, opcode 0x07).
///
/// `len` is a multiple of 8 and at most 512 KiB ([`DELTA_MAX_REGION`]), else what is beyond is not compared; the device
/// refuses other lengths, and addresses that are not aligned to 8 bytes. No more than `max` bytes of the record are
/// written, in whole entries.
///
/// # Safety
///
/// `first` and `second` are valid for reading `len` initialised bytes, which nobody writes meanwhile; they may overlap
/// each other. `record` is valid for writing `max` bytes, overlaps neither of them, and nobody else accesses it. Pointers
/// may be anything where their length is 0.
pub unsafe fn create_delta(first: *const u8, second: *const u8, len: usize, record: *mut u8, max: usize) -> Delta {
    debug_assert!(len.is_multiple_of(WORD) && len <= DELTA_MAX_REGION as usize, "{len} bytes");
    let len = len.min(DELTA_MAX_REGION as usize) / WORD * WORD;
    // SAFETY: the caller's promise; nothing has been written yet.
    unsafe { create_delta_in(first, second, 0..len, record, DeltaSoFar { size: 0, max }) }
}

/// What there is of a delta record that is made part by part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeltaSoFar {
    /// Bytes that have been written.
    pub(crate) size: usize,
    /// Bytes that may be.
    pub(crate) max: usize,
}

/// As [`create_delta`], for a part of the regions, behind what the record has of the parts before it. What is returned is
/// about all of them.
///
/// # Safety
///
/// As for [`create_delta`], of regions that reach to the end of the range, which begins and ends on multiples of 8.
pub(crate) unsafe fn create_delta_in(
    first: *const u8,
    second: *const u8,
    range: Range<usize>,
    record: *mut u8,
    so_far: DeltaSoFar,
) -> Delta {
    let Range { mut start, end } = range;
    let len = end.saturating_sub(start);
    // SAFETY: the caller's promise; this CPU has the current tier. What is left out are whole words at the beginning, that are equal.
    unsafe {
        if !words::SOME.contains(&len) {
            match compare(first.add(start), second.add(start), len) {
                Some(equal) => start += equal / WORD * WORD,
                None if so_far.size == 0 => return Delta::Equal,
                None => return Delta::Complete { size: so_far.size },
            }
            if end - start <= words::FEW {
                return create::by_words(first, second, start..end, record, so_far);
            }
        }
        create_delta_at(Tier::current(), first, second, start..end, record, so_far)
    }
}

/// [`create_delta_in`] by the kernel of a tier.
///
/// # Safety
///
/// As for [`create_delta_in`], on a CPU of that tier.
unsafe fn create_delta_at(
    tier: Tier,
    first: *const u8,
    second: *const u8,
    range: Range<usize>,
    record: *mut u8,
    so_far: DeltaSoFar,
) -> Delta {
    // SAFETY: the caller's promise.
    unsafe {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => create::avx512(first, second, range, record, so_far),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => create::avx2(first, second, range, record, so_far),
            _ => create::base(first, second, range, record, so_far),
        }
    }
}
