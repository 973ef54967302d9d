//! A delta record is made group by group: the mask of the words that differ, and an entry for each.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m128i, __m256i, __m512i};
use std::ops::Range;
use std::ptr;

use super::words::{GROUP, LINE, Words};
use super::{Delta, DeltaSoFar, ENTRY, WORD};

/// What every CPU of the architecture has.
///
/// # Safety
///
/// As for [`super::create_delta_in`].
pub(super) unsafe fn base(
    first: *const u8,
    second: *const u8,
    range: Range<usize>,
    record: *mut u8,
    so_far: DeltaSoFar,
) -> Delta {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise; SSE2 is part of the architecture.
    unsafe {
        kernel::<__m128i>(first, second, range, record, so_far)
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    unsafe {
        kernel::<super::words::Scalar>(first, second, range, record, so_far)
    }
}

/// # Safety
///
/// As for [`base`], on a CPU of tier AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) unsafe fn avx2(
    first: *const u8,
    second: *const u8,
    range: Range<usize>,
    record: *mut u8,
    so_far: DeltaSoFar,
) -> Delta {
    // SAFETY: the caller's promise.
    unsafe { kernel::<__m256i>(first, second, range, record, so_far) }
}

/// # Safety
///
/// As for [`base`], on a CPU of tier AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512(
    first: *const u8,
    second: *const u8,
    range: Range<usize>,
    record: *mut u8,
    so_far: DeltaSoFar,
) -> Delta {
    // SAFETY: the caller's promise.
    unsafe { kernel::<__m512i>(first, second, range, record, so_far) }
}

/// One word after the other.
///
/// # Safety
///
/// As for [`base`].
#[inline]
pub(super) unsafe fn by_words(
    first: *const u8,
    second: *const u8,
    range: Range<usize>,
    record: *mut u8,
    so_far: DeltaSoFar,
) -> Delta {
    let DeltaSoFar { mut size, max } = so_far;
    let Range { mut start, end } = range;
    while start < end {
        // SAFETY: a word of both ends at or before the range's end, wherever it lies.
        let [a, b] = [first, second].map(|of| u64::from_ne_bytes(unsafe { of.add(start).cast::<[u8; WORD]>().read() }));
        if a != b {
            if max.saturating_sub(size) < ENTRY {
                return Delta::Overflow { size, compared: start };
            }
            // SAFETY: there is room for the entry, and the word has just been read.
            unsafe { write_entry(record.add(size), second, start) };
            size += ENTRY;
        }
        start += WORD;
    }
    if size == 0 { Delta::Equal } else { Delta::Complete { size } }
}

/// # Safety
///
/// As for [`base`], on a CPU that has what `W` needs.
#[inline(always)]
pub(super) unsafe fn kernel<W: Words>(
    first: *const u8,
    second: *const u8,
    range: Range<usize>,
    record: *mut u8,
    so_far: DeltaSoFar,
) -> Delta {
    let DeltaSoFar { size, max } = so_far;
    // SAFETY: so much has been written.
    let entry = unsafe { record.add(size) };
    let mut made = Made { second, entry, room: max.saturating_sub(size) / ENTRY };
    // SAFETY: what is read ends at or before the range's end, which the caller vouches for, as it does for the record.
    let done = unsafe { fill::<W>(first, &mut made, range) };
    let size = made.entry.addr() - record.addr();
    match done {
        Err(compared) => Delta::Overflow { size, compared },
        Ok(()) if size == 0 => Delta::Equal,
        Ok(()) => Delta::Complete { size },
    }
}

/// Goes through the range. If the record has no room for all of it, the offset of the first word that is not in it.
///
/// # Safety
///
/// As for [`kernel`].
#[inline(always)]
unsafe fn fill<W: Words>(first: *const u8, made: &mut Made, range: Range<usize>) -> Result<(), usize> {
    let Range { start, end } = range;
    let second = made.second;
    // SAFETY: each step ends at or before `end`. Words that a step has once more are taken out of its mask.
    unsafe {
        if end.saturating_sub(start) < GROUP {
            return few::<W>(first, made, start, end);
        }
        // On from where the first region's address is aligned, if it is that of a word.
        let head = GROUP - (first.addr() + start) % LINE / WORD * WORD;
        if W::IS_DIRECT || W::differ(first.add(start), second.add(start)) {
            made.add(W::group(first.add(start), second.add(start)) & u64::MAX >> (64 - head / WORD), start)?;
        }
        let mut at = start + head;
        // What follows equal groups mostly is one, and what follows others as well.
        let mut was_equal = true;
        while at + GROUP <= end {
            if !was_equal || W::differ(first.add(at), second.add(at)) {
                let differing = W::group(first.add(at), second.add(at));
                was_equal = differing == 0;
                made.add(differing, at)?;
            }
            at += GROUP;
        }
        let last = end - GROUP;
        if at < end && (W::IS_DIRECT || W::differ(first.add(last), second.add(last))) {
            made.add(W::group(first.add(last), second.add(last)) & u64::MAX << ((at - last) / WORD), last)?;
        }
    }
    Ok(())
}

/// Less than a group.
///
/// # Safety
///
/// As for [`kernel`].
#[inline(always)]
unsafe fn few<W: Words>(first: *const u8, made: &mut Made, start: usize, end: usize) -> Result<(), usize> {
    let second = made.second;
    let mut differing = 0;
    let mut at = start;
    // SAFETY: every line and word ends at or before `end`.
    unsafe {
        while at + LINE <= end {
            differing |= W::line(first.add(at), second.add(at)) << ((at - start) / WORD);
            at += LINE;
        }
        if at < end && end - start >= LINE {
            // Some of it once more.
            let last = end - LINE;
            differing |= W::line(first.add(last), second.add(last)) << ((last - start) / WORD);
        } else {
            while at < end {
                let [a, b] = [first, second].map(|of| of.add(at).cast::<[u8; WORD]>().read());
                differing |= u64::from(a != b) << ((at - start) / WORD);
                at += WORD;
            }
        }
        made.add(differing, start)
    }
}

/// A record, and where its data comes from.
struct Made {
    second: *const u8,
    /// Where the next entry goes.
    entry: *mut u8,
    /// Entries for which there is room.
    room: usize,
}

impl Made {
    /// Adds the words of a mask, of which the first is at offset `at`, in bytes; or as many as there is room for, and says which
    /// is the next.
    ///
    /// # Safety
    ///
    /// The words can be read, and the entries be written.
    #[inline(always)]
    unsafe fn add(&mut self, mut differing: u64, at: usize) -> Result<(), usize> {
        if differing == 0 {
            return Ok(());
        }
        let words = differing.count_ones() as usize;
        // Those for which there is no room.
        let mut rest = 0;
        if words > self.room {
            rest = differing;
            for _ in 0..self.room {
                rest &= rest - 1;
            }
            differing ^= rest;
        }
        self.room = self.room.saturating_sub(words);
        while differing != 0 {
            let offset = at + differing.trailing_zeros() as usize * WORD;
            differing &= differing - 1;
            // SAFETY: the word lies inside `second`, and there is room for the entry.
            unsafe {
                write_entry(self.entry, self.second, offset);
                self.entry = self.entry.add(ENTRY);
            }
        }
        if rest == 0 { Ok(()) } else { Err(at + rest.trailing_zeros() as usize * WORD) }
    }
}

/// Writes the entry of the word at an offset, in bytes.
///
/// # Safety
///
/// The word can be read, and the entry be written; neither needs an alignment.
#[inline(always)]
unsafe fn write_entry(entry: *mut u8, second: *const u8, offset: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        entry.cast::<[u8; 2]>().write(((offset / WORD) as u16).to_le_bytes());
        ptr::copy_nonoverlapping(second.add(offset), entry.add(2), WORD);
    }
}
