//! Delta records: what differs between two regions, and how it is put back (specification sections 8.3.8 and 8.3.9).
//!
//! A record is a sequence of entries of ten bytes without padding: a 16-bit offset, little endian and in units of 8
//! bytes, and the 8 bytes that the second region holds there. Entries are in ascending order of their offsets.

use std::ops::Range;
use std::ptr;

use idxd_sys::limits::{DELTA_ALIGN, DELTA_ENTRY, DELTA_MAX_REGION};
use idxd_sys::status;

/// Bytes of one entry.
const ENTRY: usize = DELTA_ENTRY as usize;
/// Bytes of the word that an entry describes.
const WORD: usize = DELTA_ALIGN;
/// Bytes handed to the C library's comparison at a time, to get over what is equal.
const BLOCK: usize = 512;
/// Bytes of a block that are compared without a branch between them.
const LINE: usize = 64;

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
    let (len, DeltaSoFar { mut size, max }) = (range.end, so_far);
    let mut at = range.start;
    while at < len {
        let step = (len - at).min(BLOCK);
        // SAFETY: `at + step <= len`, for which the caller vouches. The slices end with the comparison, so that none
        // lives while the record is written.
        let equal = unsafe {
            std::slice::from_raw_parts(first.add(at), step) == std::slice::from_raw_parts(second.add(at), step)
        };
        let end = at + step;
        while !equal && at < end {
            let line = (end - at).min(LINE);
            // SAFETY: `at + line <= len`.
            let mut differing = unsafe { differing_words(first.add(at), second.add(at), line) };
            while differing != 0 {
                let offset = at + differing.trailing_zeros() as usize * WORD;
                differing &= differing - 1;
                if size + ENTRY > max {
                    return Delta::Overflow { size, compared: offset };
                }
                // SAFETY: the word lies inside `second`, the entry inside the `max` bytes of the record; neither needs
                // an alignment.
                unsafe {
                    let entry = record.add(size);
                    entry.cast::<[u8; 2]>().write(((offset / WORD) as u16).to_le_bytes());
                    ptr::copy_nonoverlapping(second.add(offset), entry.add(2), WORD);
                }
                size += ENTRY;
            }
            at += line;
        }
        at = end;
    }
    if size == 0 { Delta::Equal } else { Delta::Complete { size } }
}

/// Applies a delta record to a region (apply delta record, opcode 0x08).
///
/// `len` is what the record was created with. The whole entries of the record's `size` bytes are applied in order, until
/// one is out of order or out of range.
///
/// # Errors
///
/// [`DeltaError`], with the bytes of the record that were applied.
///
/// # Safety
///
/// `record` is valid for reading `size` initialised bytes, which nobody writes meanwhile; `dst` is valid for writing
/// `len` bytes, which nobody else accesses and which the record does not overlap. Pointers may be anything where their
/// length is 0.
pub unsafe fn apply_delta(record: *const u8, size: usize, dst: *mut u8, len: usize) -> Result<(), DeltaError> {
    // The lowest offset that the next entry may have.
    let mut least = 0;
    for consumed in (0..size / ENTRY * ENTRY).step_by(ENTRY) {
        // SAFETY: `consumed + ENTRY <= size`, for which the caller vouches; bytes have no alignment.
        let (offset, word) = unsafe {
            let entry = record.add(consumed);
            (entry.cast::<[u8; 2]>().read(), entry.add(2).cast::<[u8; WORD]>().read())
        };
        let offset = usize::from(u16::from_le_bytes(offset)) * WORD;
        if offset < least {
            return Err(DeltaError::Order { consumed });
        }
        // A whole word: the destination's length is a multiple of 8, but memory safety shall not hang on that.
        if offset + WORD > len {
            return Err(DeltaError::Range { consumed });
        }
        // SAFETY: the word ends inside the `len` bytes of the destination.
        unsafe { dst.add(offset).cast::<[u8; WORD]>().write(word) };
        least = offset + WORD;
    }
    Ok(())
}

/// Whether `record` can be applied to a region of `len` bytes: what [`apply_delta`] says, without applying it.
pub(crate) fn check_delta(record: &[u8], len: usize) -> Result<(), DeltaError> {
    let mut least = 0;
    for (index, entry) in record.chunks_exact(ENTRY).enumerate() {
        let (consumed, offset) = (index * ENTRY, usize::from(u16::from_le_bytes([entry[0], entry[1]])) * WORD);
        if offset < least {
            return Err(DeltaError::Order { consumed });
        }
        if offset + WORD > len {
            return Err(DeltaError::Range { consumed });
        }
        least = offset + WORD;
    }
    Ok(())
}

/// Which of the words in `len` bytes differ, bit 0 for the first. `len` is a multiple of 8, at most [`LINE`].
///
/// # Safety
///
/// Both pointers are valid for reading `len` initialised bytes.
#[inline]
unsafe fn differing_words(first: *const u8, second: *const u8, len: usize) -> u32 {
    let mut differences = [0; LINE / WORD];
    if len == LINE {
        // SAFETY: the whole line; byte arrays have no alignment.
        let (a, b) = unsafe { (first.cast::<[u8; LINE]>().read(), second.cast::<[u8; LINE]>().read()) };
        for (difference, (a, b)) in differences.iter_mut().zip(a.chunks_exact(WORD).zip(b.chunks_exact(WORD))) {
            *difference = word(a) ^ word(b);
        }
    } else {
        for (index, difference) in differences[..len / WORD].iter_mut().enumerate() {
            let at = index * WORD;
            // SAFETY: `at + WORD <= len`.
            let (a, b) =
                unsafe { (first.add(at).cast::<[u8; WORD]>().read(), second.add(at).cast::<[u8; WORD]>().read()) };
            *difference = word(&a) ^ word(&b);
        }
    }
    if differences.iter().fold(0, |any, difference| any | difference) == 0 {
        return 0;
    }
    let bits = differences.iter().enumerate().map(|(index, &difference)| u32::from(difference != 0) << index);
    bits.fold(0, |all, bit| all | bit)
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("a word has 8 bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::guard::Guarded;

    /// The record of all differences, one word after the other.
    fn oracle(first: &[u8], second: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        for (index, (a, b)) in first.chunks(8).zip(second.chunks(8)).enumerate() {
            if a != b {
                record.push((index % 256) as u8);
                record.push((index / 256) as u8);
                record.extend_from_slice(b);
            }
        }
        record
    }

    fn create(first: &[u8], second: &[u8], max: usize) -> (Delta, Vec<u8>) {
        assert_eq!(first.len(), second.len());
        let mut record = vec![0xa5; max + 16];
        // SAFETY: two slices of that length, and a record of more than `max` bytes.
        let delta = unsafe { create_delta(first.as_ptr(), second.as_ptr(), first.len(), record.as_mut_ptr(), max) };
        assert!(record[delta.size()..].iter().all(|&byte| byte == 0xa5), "nothing beyond the record is written");
        record.truncate(delta.size());
        (delta, record)
    }

    fn apply(record: &[u8], dst: &mut [u8]) -> Result<(), DeltaError> {
        // SAFETY: two slices of those lengths.
        unsafe { apply_delta(record.as_ptr(), record.len(), dst.as_mut_ptr(), dst.len()) }
    }

    fn pseudo_random(len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    #[test]
    fn a_record_has_the_bytes_that_the_specification_draws() {
        let first = vec![0; 0x1000];
        let mut second = first.clone();
        second[0x0808..0x0810].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        second[0x0fff] = 9;
        let (delta, record) = create(&first, &second, 80);
        assert_eq!(delta, Delta::Complete { size: 20 });
        assert_eq!(record, [1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!((delta.result(), delta.size()), (1, 20));
    }

    #[test]
    fn a_single_difference_is_found_wherever_it_is() {
        for len in (0..1200).step_by(8) {
            let first = pseudo_random(len);
            assert_eq!(create(&first, &first.clone(), 80), (Delta::Equal, Vec::new()));
            for at in (0..len).step_by(if len < 200 { 1 } else { 61 }) {
                let mut second = first.clone();
                second[at] ^= 0x10;
                let (delta, record) = create(&first, &second, 80);
                assert_eq!(delta, Delta::Complete { size: 10 }, "length {len}, difference at {at}");
                assert_eq!(record, oracle(&first, &second));
            }
        }
    }

    #[test]
    fn every_alignment() {
        let data = pseudo_random(2000);
        for shift in 0..64 {
            let first = &data[shift..shift + 1024];
            let second: Vec<u8> = first.iter().enumerate().map(|(at, &b)| if at % 97 == 0 { !b } else { b }).collect();
            let mut record = vec![0; 1300];
            // SAFETY: 1280 bytes from less than 16 in a record of 1300.
            let delta = unsafe {
                create_delta(first.as_ptr(), second.as_ptr(), 1024, record.as_mut_ptr().add(shift % 16), 1280)
            };
            assert_eq!(record[shift % 16..][..delta.size()], oracle(first, &second));
        }
    }

    #[test]
    fn the_largest_region_uses_every_offset() {
        let first = vec![0; DELTA_MAX_REGION as usize];
        let mut second = first.clone();
        *second.last_mut().unwrap() = 1;
        let (delta, record) = create(&first, &second, 80);
        assert_eq!((delta, &record[..2]), (Delta::Complete { size: 10 }, &[0xff, 0xff][..]));
        let mut back = first.clone();
        apply(&record, &mut back).unwrap();
        assert!(back == second);
        let all = vec![1; DELTA_MAX_REGION as usize];
        assert_eq!(create(&first, &all, 655_360).0, Delta::Complete { size: 655_360 });
        assert_eq!(
            create(&first, &all, 655_359).0,
            Delta::Overflow { size: 655_350, compared: DELTA_MAX_REGION as usize - 8 }
        );
    }

    #[test]
    fn an_overflow_says_how_far_it_came_and_can_be_gone_on_with() {
        let first = vec![0; 512];
        let mut second = first.clone();
        for at in (0..512).step_by(16) {
            second[at] = 1;
        }
        let whole = oracle(&first, &second);
        for max in 80..340 {
            let (delta, record) = create(&first, &second, max);
            let entries = (max / 10).min(32);
            assert_eq!(record, whole[..entries * 10]);
            if entries == 32 {
                assert_eq!(delta, Delta::Complete { size: 320 });
            } else {
                assert_eq!(delta, Delta::Overflow { size: entries * 10, compared: entries * 16 });
            }
            // What was compared has been recorded, so applying gives the second region up to there.
            let mut back = first.clone();
            apply(&record, &mut back).unwrap();
            let compared = if let Delta::Overflow { compared, .. } = delta { compared } else { 512 };
            assert_eq!(back[..compared], second[..compared]);
            assert_eq!(back[compared..], first[compared..]);
        }
    }

    #[test]
    fn offsets_that_do_not_increase_are_refused_where_they_stand() {
        let entry = |offset: u16| [&offset.to_le_bytes()[..], &[0xee; 8]].concat();
        for (offsets, applied) in [([3, 3, 4], 1), ([3, 5, 4], 2), ([5, 0, 6], 1)] {
            let record: Vec<u8> = offsets.into_iter().flat_map(entry).collect();
            let mut dst = vec![0; 64];
            let error = apply(&record, &mut dst).unwrap_err();
            assert_eq!(error, DeltaError::Order { consumed: applied * 10 });
            assert_eq!((error.status(), error.consumed()), (status::DELTA_OFFSET_ORDER, applied * 10));
            assert_eq!(dst.chunks(8).filter(|word| **word == [0xee; 8]).count(), applied);
        }
    }

    #[test]
    fn offsets_beyond_the_destination_are_refused_where_they_stand() {
        let entry = |offset: u16| [&offset.to_le_bytes()[..], &[0xee; 8]].concat();
        for (offsets, applied) in [([0, 7, 8], 2), ([8, 1, 2], 0), ([2, 0xffff, 3], 1)] {
            let record: Vec<u8> = offsets.into_iter().flat_map(entry).collect();
            let mut dst = vec![0; 64];
            let error = apply(&record, &mut dst).unwrap_err();
            assert_eq!(error, DeltaError::Range { consumed: applied * 10 });
            assert_eq!((error.status(), error.consumed()), (status::DELTA_OFFSET_RANGE, applied * 10));
            assert_eq!(dst.chunks(8).filter(|word| **word == [0xee; 8]).count(), applied);
        }
    }

    #[test]
    fn nothing_is_touched_beyond_the_regions() {
        for len in [8, 64, 72, 504, 512, 520, 4096] {
            let (first, second) = (pseudo_random(len), vec![0x5a; len]);
            let whole = oracle(&first, &second);
            let (a, b, record, dst) =
                (Guarded::new(len), Guarded::new(len), Guarded::new(whole.len()), Guarded::new(len));
            // SAFETY: regions of those lengths, each in a mapping of its own.
            let delta =
                unsafe { create_delta(a.put(&first), b.put(&second), len, record.end(whole.len()), whole.len()) };
            assert_eq!(delta, Delta::Complete { size: whole.len() });
            assert_eq!(record.bytes(whole.len()), whole);
            // SAFETY: as above.
            unsafe { apply_delta(record.end(whole.len()), whole.len(), dst.put(&first), len) }.unwrap();
            assert_eq!(dst.bytes(len), second);
        }
    }

    #[test]
    fn nothing_is_touched_for_length_zero() {
        // SAFETY: the pointers may be anything for length 0.
        unsafe {
            assert_eq!(create_delta(ptr::null(), ptr::null(), 0, ptr::null_mut(), 0), Delta::Equal);
            assert_eq!(apply_delta(ptr::null(), 0, ptr::null_mut(), 0), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn a_record_is_the_oracles_and_turns_one_region_into_the_other(
            words in 0_usize..600, seed in any::<u64>(),
            changes in prop_oneof![
                prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
                prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..500),
            ],
            max in prop_oneof![Just(6000), 0_usize..400],
        ) {
            let first: Vec<u8> = pseudo_random(words * 8).iter().map(|byte| byte ^ seed as u8).collect();
            let mut second = first.clone();
            for (at, byte) in changes.into_iter().filter(|_| words > 0) {
                second[at.index(words * 8)] = byte;
            }
            let whole = oracle(&first, &second);
            let (delta, record) = create(&first, &second, max);
            let fitting = max / 10 * 10;
            prop_assert_eq!(&record[..], &whole[..whole.len().min(fitting)]);
            prop_assert_eq!(delta.result(), if whole.is_empty() { 0 } else { 1 + u8::from(whole.len() > fitting) });
            let mut back = first.clone();
            prop_assert_eq!(apply(&record, &mut back), Ok(()));
            if let Delta::Overflow { compared, .. } = delta {
                prop_assert_eq!(&back[..compared], &second[..compared]);
                prop_assert_ne!(&back[compared..compared + 8], &second[compared..compared + 8]);
            } else {
                prop_assert_eq!(back, second);
            }
        }
    }
}
