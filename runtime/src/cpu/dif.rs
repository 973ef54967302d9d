//! Data-integrity fields: check, insert, strip, update, and generate apart from the data (specification sections 8.3.14
//! to 8.3.18 and appendix B).
//!
//! Data comes in blocks, each with a tuple of 8 bytes: guard (CRC-16 of the block), application tag, reference tag, all
//! big endian. Flags are those of the descriptor; their bits have names in [`idxd_sys::dif`].
//!
//! A tag that increments is a plain counter. The application tag's mask is applied whenever the counter is used, not to
//! the counter itself, and the tags that a function returns are the counters for the block that would come next: given
//! as seeds they go on where the operation stopped, whatever the mask. The application tag in memory is compared as it
//! is, so one with bits under the mask does not match, unless the mask is all ones and nothing is compared.

use std::ptr;

use idxd_sys::dif::{
    ALL_F, APP_MISMATCH, DEST_APP_INCREMENTS, DEST_APP_PASS, DEST_GUARD_PASS, DEST_REF_FIXED, DEST_REF_PASS,
    GUARD_MISMATCH, GUARD_POLYNOMIAL, INVERT_RESULT, INVERT_SEED, REF_MISMATCH, SOURCE_APP_INCREMENTS, SOURCE_F_ALL,
    SOURCE_F_ALL_ERROR, SOURCE_F_APP, SOURCE_F_APP_REF, SOURCE_GUARD_UNCHECKED, SOURCE_REF_FIXED, SOURCE_REF_UNCHECKED,
    TUPLE, block_size,
};
use idxd_sys::limits::DIF_BLOCKS;

const TUPLE_BYTES: usize = TUPLE as usize;

/// The tags of a block, and of those after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DifTags {
    /// The reference tag.
    pub reference: u32,
    /// Bits of the application tag that count as 0. All ones: the tag of the source is not checked.
    pub mask: u16,
    /// The application tag, before the mask is applied.
    pub application: u16,
}

impl DifTags {
    /// Tags, in the order of the descriptor.
    #[inline]
    pub const fn new(reference: u32, mask: u16, application: u16) -> Self {
        Self { reference, mask, application }
    }
}

/// How the tuples of the source are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DifSource {
    /// Source DIF flags (byte 40 of the descriptor).
    pub flags: u8,
    /// The tags expected of the first block.
    pub tags: DifTags,
}

impl DifSource {
    /// Flags, and the tags of the first block.
    #[inline]
    pub const fn new(flags: u8, tags: DifTags) -> Self {
        Self { flags, tags }
    }
}

/// How the tuples of the destination are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DifDestination {
    /// Destination DIF flags (byte 41 of the descriptor). Flags that pass a field on count for [`dif_update`] only.
    pub flags: u8,
    /// The tags of the first block.
    pub tags: DifTags,
}

impl DifDestination {
    /// Flags, and the tags of the first block.
    #[inline]
    pub const fn new(flags: u8, tags: DifTags) -> Self {
        Self { flags, tags }
    }
}

/// A tuple that is not what it should be (status 0x09). The blocks before it have been done, its own has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("data-integrity error (DIF status {status:#04x}) in the block at byte {completed} of the source")]
#[non_exhaustive]
pub struct DifError {
    /// DIF status: what did not match, bits of [`idxd_sys::dif`].
    pub status: u8,
    /// Bytes of the source, with their tuples, before the block.
    pub completed: usize,
}

/// Checks the blocks of a region (DIF check, opcode 0x12). Returns the tags for the block that would come next.
///
/// `len` is a multiple of the block size plus 8; a rest is not looked at.
///
/// # Errors
///
/// [`DifError`] for the first block that is wrong.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if `len` is 0.
pub unsafe fn dif_check(flags: u8, source: DifSource, src: *const u8, len: usize) -> Result<DifTags, DifError> {
    let block = block_bytes(flags);
    let step = block + TUPLE_BYTES;
    let mut expected = Counter::of_source(source);
    for completed in (0..len / step).map(|index| index * step) {
        // SAFETY: `completed + step <= len`, for which the caller vouches; the slice ends before the next block.
        let (data, tuple) =
            unsafe { (std::slice::from_raw_parts(src.add(completed), block), read(src, completed + block)) };
        let status = mismatch(source.flags, &expected, tuple, || guard(flags, data));
        if status != 0 {
            return Err(DifError { status, completed });
        }
        expected.advance();
    }
    Ok(expected.tags)
}

/// Copies blocks and puts a tuple behind each (DIF insert, opcode 0x13). Returns the tags for the block that would come
/// next.
///
/// `len` counts the source and is a multiple of the block size; a rest is not copied. The destination takes 8 bytes
/// more for each block.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile; `dst` is valid for writing as many
/// and 8 for each block, which nobody else accesses; the two do not overlap. They may be anything if `len` is 0.
pub unsafe fn dif_insert(flags: u8, destination: DifDestination, src: *const u8, dst: *mut u8, len: usize) -> DifTags {
    let block = block_bytes(flags);
    let mut tags = Counter::of_destination(destination);
    for index in 0..len / block {
        let to = index * (block + TUPLE_BYTES);
        // SAFETY: the block lies inside the source, block and tuple inside the destination; they do not overlap.
        unsafe {
            let data = std::slice::from_raw_parts(src.add(index * block), block);
            ptr::copy_nonoverlapping(data.as_ptr(), dst.add(to), block);
            write(dst, to + block, tags.tuple(guard(flags, data)));
        }
        tags.advance();
    }
    tags.tags
}

/// Copies blocks without their tuples, which it checks as [`dif_check`] does (DIF strip, opcode 0x14). Returns the tags
/// for the block that would come next.
///
/// `len` counts the source and is a multiple of the block size plus 8; a rest is not copied.
///
/// # Errors
///
/// [`DifError`] for the first block that is wrong.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile; `dst` is valid for writing as many
/// less 8 for each block, which nobody else accesses; the two do not overlap. They may be anything if `len` is 0.
pub unsafe fn dif_strip(
    flags: u8,
    source: DifSource,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> Result<DifTags, DifError> {
    let block = block_bytes(flags);
    let step = block + TUPLE_BYTES;
    let mut expected = Counter::of_source(source);
    for index in 0..len / step {
        let completed = index * step;
        // SAFETY: the block and its tuple lie inside the source, the block inside the destination; they do not overlap.
        unsafe {
            let data = std::slice::from_raw_parts(src.add(completed), block);
            let status = mismatch(source.flags, &expected, read(src, completed + block), || guard(flags, data));
            if status != 0 {
                return Err(DifError { status, completed });
            }
            ptr::copy_nonoverlapping(data.as_ptr(), dst.add(index * block), block);
        }
        expected.advance();
    }
    Ok(expected.tags)
}

/// Copies blocks, checks their tuples as [`dif_check`] does and replaces them (DIF update, opcode 0x15). Returns the tags
/// of source and destination for the block that would come next.
///
/// `len` is a multiple of the block size plus 8; a rest is not copied. The destination's tags count on even where they
/// are passed on from the source.
///
/// # Errors
///
/// [`DifError`] for the first block that is wrong.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile; `dst` is valid for writing as
/// many, which nobody else accesses; the two do not overlap. They may be anything if `len` is 0.
pub unsafe fn dif_update(
    flags: u8,
    source: DifSource,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> Result<(DifTags, DifTags), DifError> {
    let block = block_bytes(flags);
    let step = block + TUPLE_BYTES;
    let mut expected = Counter::of_source(source);
    let mut tags = Counter::of_destination(destination);
    for completed in (0..len / step).map(|index| index * step) {
        // SAFETY: the block and its tuple lie inside source and destination, which do not overlap.
        unsafe {
            let data = std::slice::from_raw_parts(src.add(completed), block);
            let old = read(src, completed + block);
            // Checking and replacing need the same value, at most once.
            let mut computed = None;
            let mut new_guard = || *computed.get_or_insert_with(|| guard(flags, data));
            let status = mismatch(source.flags, &expected, old, &mut new_guard);
            if status != 0 {
                return Err(DifError { status, completed });
            }
            let passes = |flag| destination.flags & flag != 0;
            let new = Tuple {
                guard: if passes(DEST_GUARD_PASS) { old.guard } else { new_guard() },
                application: if passes(DEST_APP_PASS) { old.application } else { tags.application() },
                reference: if passes(DEST_REF_PASS) { old.reference } else { tags.tags.reference },
            };
            ptr::copy_nonoverlapping(data.as_ptr(), dst.add(completed), block);
            write(dst, completed + block, new);
        }
        expected.advance();
        tags.advance();
    }
    Ok((expected.tags, tags.tags))
}

/// Writes the tuples of blocks, and nothing else, one behind the other (DIX generate, opcode 0x17). Returns the tags for
/// the block that would come next.
///
/// `len` counts the source and is a multiple of the block size; of a rest there is no tuple. The device wants the
/// destination aligned to 8 bytes.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile; `dst` is valid for writing 8 bytes
/// for each block, which nobody else accesses; the two do not overlap. They may be anything if `len` is 0.
pub unsafe fn dix_generate(
    flags: u8,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> DifTags {
    let block = block_bytes(flags);
    let mut tags = Counter::of_destination(destination);
    for index in 0..len / block {
        // SAFETY: the block lies inside the source, the tuple inside the destination, which do not overlap.
        unsafe {
            let data = std::slice::from_raw_parts(src.add(index * block), block);
            write(dst, index * TUPLE_BYTES, tags.tuple(guard(flags, data)));
        }
        tags.advance();
    }
    tags.tags
}

/// A tuple, as numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tuple {
    guard: u16,
    application: u16,
    reference: u32,
}

/// # Safety
///
/// 8 bytes `at` bytes behind `base` are valid for reading and initialised.
#[inline]
unsafe fn read(base: *const u8, at: usize) -> Tuple {
    // SAFETY: the caller's promise; bytes have no alignment.
    let value = u64::from_be_bytes(unsafe { base.add(at).cast::<[u8; TUPLE_BYTES]>().read() });
    Tuple { guard: (value >> 48) as u16, application: (value >> 32) as u16, reference: value as u32 }
}

/// # Safety
///
/// 8 bytes `at` bytes behind `base` are valid for writing.
#[inline]
unsafe fn write(base: *mut u8, at: usize, tuple: Tuple) {
    let value = u64::from(tuple.guard) << 48 | u64::from(tuple.application) << 32 | u64::from(tuple.reference);
    // SAFETY: the caller's promise; bytes have no alignment.
    unsafe { base.add(at).cast::<[u8; TUPLE_BYTES]>().write(value.to_be_bytes()) };
}

/// The tags of one side, and how they change from block to block.
struct Counter {
    tags: DifTags,
    reference_step: u32,
    application_step: u16,
}

impl Counter {
    fn of_source(source: DifSource) -> Self {
        Self {
            tags: source.tags,
            reference_step: u32::from(source.flags & SOURCE_REF_FIXED == 0),
            application_step: u16::from(source.flags & SOURCE_APP_INCREMENTS != 0),
        }
    }

    fn of_destination(destination: DifDestination) -> Self {
        Self {
            tags: destination.tags,
            reference_step: u32::from(destination.flags & DEST_REF_FIXED == 0),
            application_step: u16::from(destination.flags & DEST_APP_INCREMENTS != 0),
        }
    }

    fn application(&self) -> u16 {
        self.tags.application & !self.tags.mask
    }

    fn tuple(&self, guard: u16) -> Tuple {
        Tuple { guard, application: self.application(), reference: self.tags.reference }
    }

    fn advance(&mut self) {
        self.tags.reference = self.tags.reference.wrapping_add(self.reference_step);
        self.tags.application = self.tags.application.wrapping_add(self.application_step);
    }
}

/// The DIF status of a tuple, 0 if it passes. The guard is asked for only where it counts.
#[inline]
fn mismatch(flags: u8, expected: &Counter, tuple: Tuple, guard: impl FnOnce() -> u16) -> u8 {
    let has = |flag| flags & flag != 0;
    let application_f = tuple.application == u16::MAX;
    let reference_f = tuple.reference == u32::MAX;
    if has(SOURCE_F_ALL) && application_f && reference_f && tuple.guard == u16::MAX {
        return if has(SOURCE_F_ALL_ERROR) { ALL_F } else { 0 };
    }
    if application_f && (has(SOURCE_F_APP) || has(SOURCE_F_APP_REF) && reference_f) {
        return 0;
    }
    let mut status = 0;
    if !has(SOURCE_GUARD_UNCHECKED) && tuple.guard != guard() {
        status |= GUARD_MISMATCH;
    }
    if expected.tags.mask != u16::MAX && tuple.application != expected.application() {
        status |= APP_MISMATCH;
    }
    if !has(SOURCE_REF_UNCHECKED) && tuple.reference != expected.tags.reference {
        status |= REF_MISMATCH;
    }
    status
}

fn block_bytes(flags: u8) -> usize {
    block_size(flags) as usize
}

/// The guard of a block of the size that the flags name.
#[inline]
fn guard(flags: u8, data: &[u8]) -> u16 {
    let mut value = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc16T10Dif, data) as u16;
    if flags & INVERT_SEED != 0 {
        value ^= EFFECT_OF_SEED[usize::from(flags & idxd_sys::dif::BLOCK_SIZE)];
    }
    if flags & INVERT_RESULT != 0 {
        value = !value;
    }
    value
}

/// What seed 0xffff makes of a block's CRC, by block size. A CRC is linear: the CRC with a seed is the CRC without one,
/// exclusive or the seed's own, shifted through as many bytes of zeros.
const EFFECT_OF_SEED: [u16; 4] = {
    let mut effects = [0; 4];
    let mut size = 0;
    while size < 4 {
        let mut state = u16::MAX;
        let mut bits = DIF_BLOCKS[size] * 8;
        while bits > 0 {
            state = (state << 1) ^ ((state >> 15) * GUARD_POLYNOMIAL);
            bits -= 1;
        }
        effects[size] = state;
        size += 1;
    }
    effects
};

#[cfg(test)]
mod tests;
