//! Tuples, the tags that they ought to have, and what is wrong with one.
//!
//! A tuple is a word: guard, application tag and reference tag, from the highest bit to the lowest, as its big-endian bytes are.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

use idxd_sys::dif::{
    ALL_F, APP_MISMATCH, DEST_APP_INCREMENTS, DEST_APP_PASS, DEST_GUARD_PASS, DEST_REF_FIXED, DEST_REF_PASS,
    GUARD_MISMATCH, REF_MISMATCH, SOURCE_APP_INCREMENTS, SOURCE_F_ALL, SOURCE_F_ALL_ERROR, SOURCE_F_APP,
    SOURCE_F_APP_REF, SOURCE_GUARD_UNCHECKED, SOURCE_REF_FIXED, SOURCE_REF_UNCHECKED, TUPLE,
};

use super::{DifDestination, DifError, DifSource, DifTags};

pub(super) const TUPLE_BYTES: usize = TUPLE as usize;

/// The bits of a tuple that are the guard, the application tag, the reference tag.
pub(super) const GUARD: u64 = 0xffff << 48;
const APPLICATION: u64 = 0xffff << 32;
const REFERENCE: u64 = 0xffff_ffff;

/// # Safety
///
/// The 8 bytes are valid for reading and initialised.
#[inline(always)]
pub(super) unsafe fn read(from: *const u8) -> u64 {
    // SAFETY: the caller's promise; bytes have no alignment.
    u64::from_be_bytes(unsafe { from.cast::<[u8; TUPLE_BYTES]>().read() })
}

/// # Safety
///
/// The 8 bytes are valid for writing.
#[inline(always)]
pub(super) unsafe fn write(tuple: u64, to: *mut u8) {
    // SAFETY: the caller's promise; bytes have no alignment.
    unsafe { to.cast::<[u8; TUPLE_BYTES]>().write(tuple.to_be_bytes()) };
}

/// The guard's bits of a tuple.
#[inline(always)]
pub(super) fn guard(guard: u16) -> u64 {
    u64::from(guard) << 48
}

/// The tags of one side, and how they change from block to block.
pub(super) struct Counter {
    pub(super) tags: DifTags,
    reference_step: u32,
    application_step: u16,
}

impl Counter {
    #[inline(always)]
    pub(super) fn of_source(source: DifSource) -> Self {
        Self {
            tags: source.tags,
            reference_step: u32::from(source.flags & SOURCE_REF_FIXED == 0),
            application_step: u16::from(source.flags & SOURCE_APP_INCREMENTS != 0),
        }
    }

    #[inline(always)]
    pub(super) fn of_destination(destination: DifDestination) -> Self {
        Self {
            tags: destination.tags,
            reference_step: u32::from(destination.flags & DEST_REF_FIXED == 0),
            application_step: u16::from(destination.flags & DEST_APP_INCREMENTS != 0),
        }
    }

    /// A tuple of the tags, with no guard, and on to the next.
    #[inline(always)]
    pub(super) fn next(&mut self) -> u64 {
        let tuple = u64::from(self.tags.application & !self.tags.mask) << 32 | u64::from(self.tags.reference);
        self.tags.reference = self.tags.reference.wrapping_add(self.reference_step);
        self.tags.application = self.tags.application.wrapping_add(self.application_step);
        tuple
    }
}

/// The bits of a source's tuples that are compared, apart from those that are [`exempt`].
#[inline(always)]
pub(super) fn compared(source: DifSource) -> u64 {
    let guard = if source.flags & SOURCE_GUARD_UNCHECKED == 0 { GUARD } else { 0 };
    let application = if source.tags.mask == u16::MAX { 0 } else { APPLICATION };
    let reference = if source.flags & SOURCE_REF_UNCHECKED == 0 { REFERENCE } else { 0 };
    guard | application | reference
}

/// The bits of a destination's tuples that are those of the source.
#[inline(always)]
pub(super) fn passed(destination: DifDestination) -> u64 {
    let bits = |flag, bits| if destination.flags & flag != 0 { bits } else { 0 };
    bits(DEST_GUARD_PASS, GUARD) | bits(DEST_APP_PASS, APPLICATION) | bits(DEST_REF_PASS, REFERENCE)
}

/// What is wrong with a tuple that differs in these bits, if there are any. The blocks before it have been done.
#[cold]
pub(super) fn error(difference: u64, completed: usize) -> DifError {
    let mut status = 0;
    for (bits, mismatch) in [(GUARD, GUARD_MISMATCH), (APPLICATION, APP_MISMATCH), (REFERENCE, REF_MISMATCH)] {
        if difference & bits != 0 {
            status |= mismatch;
        }
    }
    DifError { status, completed }
}

/// Flags by which tuples of ones are not compared.
pub(super) const FLAGS_OF_ONES: u8 = SOURCE_F_ALL | SOURCE_F_APP | SOURCE_F_APP_REF;

/// Whether a tuple is not compared because of its ones; or whether it is wrong because of them.
#[inline(always)]
pub(super) fn exempt(flags: u8, tuple: u64, completed: usize) -> Result<bool, DifError> {
    let has = |flag| flags & flag != 0;
    if flags & FLAGS_OF_ONES == 0 || tuple & APPLICATION != APPLICATION {
        return Ok(false);
    }
    if has(SOURCE_F_ALL) && tuple == u64::MAX {
        return if has(SOURCE_F_ALL_ERROR) { Err(DifError { status: ALL_F, completed }) } else { Ok(true) };
    }
    Ok(has(SOURCE_F_APP) || has(SOURCE_F_APP_REF) && tuple & REFERENCE == REFERENCE)
}
