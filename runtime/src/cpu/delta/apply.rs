//! What a delta record says is put into a region, entry by entry.

use super::{DeltaError, ENTRY, WORD};

/// Entries that are looked at together.
const TOGETHER: usize = 4;

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
    // Words of the destination. Memory safety does not hang on the length being a multiple of one.
    let words = len / WORD;
    // The lowest offset that the next entry may have, in words.
    let mut least = 0;
    let mut consumed = 0;
    // Several at a time: in ascending order, so that the last tells whether all are in range.
    while consumed + TOGETHER * ENTRY <= size / ENTRY * ENTRY {
        // SAFETY: so many entries lie inside the `size` bytes of the record, for which the caller vouches.
        let entries = unsafe { record.add(consumed) };
        let mut next = least;
        let mut ascend = true;
        let mut offsets = [0; TOGETHER];
        for (index, offset) in offsets.iter_mut().enumerate() {
            // SAFETY: as above.
            *offset = unsafe { offset_of(entries.add(index * ENTRY)) };
            ascend &= *offset >= next;
            next = *offset + 1;
        }
        if !ascend || next > words {
            // One of them is wrong; below it is found out which.
            break;
        }
        for (index, offset) in offsets.into_iter().enumerate() {
            // SAFETY: the entry as above; the word ends inside the `len` bytes of the destination, as does the last one.
            unsafe { apply(entries.add(index * ENTRY), dst.add(offset * WORD)) };
        }
        least = next;
        consumed += TOGETHER * ENTRY;
    }
    while consumed + ENTRY <= size {
        // SAFETY: the entry lies inside the `size` bytes of the record, for which the caller vouches.
        let (entry, offset) = unsafe { (record.add(consumed), offset_of(record.add(consumed))) };
        if offset < least {
            return Err(DeltaError::Order { consumed });
        }
        if offset >= words {
            return Err(DeltaError::Range { consumed });
        }
        // SAFETY: as above; the word ends inside the `len` bytes of the destination.
        unsafe { apply(entry, dst.add(offset * WORD)) };
        least = offset + 1;
        consumed += ENTRY;
    }
    Ok(())
}

/// Where an entry's word goes, in words.
///
/// # Safety
///
/// The entry can be read.
#[inline]
unsafe fn offset_of(entry: *const u8) -> usize {
    // SAFETY: the caller's promise; bytes have no alignment.
    usize::from(u16::from_le_bytes(unsafe { entry.cast::<[u8; 2]>().read() }))
}

/// Puts an entry's word where it goes.
///
/// # Safety
///
/// The entry can be read, and the word be written.
#[inline]
unsafe fn apply(entry: *const u8, to: *mut u8) {
    // SAFETY: the caller's promise; bytes have no alignment.
    unsafe { to.cast::<[u8; WORD]>().write(entry.add(2).cast::<[u8; WORD]>().read()) };
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
