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

#[cfg(target_arch = "x86_64")]
mod affine;
mod blocks;
#[cfg(target_arch = "x86_64")]
mod clmul;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "most are for vectors"))]
mod constants;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod kernels;
mod limits;
#[cfg(target_arch = "x86_64")]
mod past;
mod portable;
mod tuple;
mod way;

use super::Hint;
#[cfg(test)]
use super::Tier;
pub(crate) use limits::DifLimits;
use way::Way;

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
    // SAFETY: the caller's promise; the tier in use is one that the CPU has.
    unsafe { way::check(Way::current(), flags, source, src, len) }
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
    // SAFETY: the caller's promise.
    unsafe { dif_insert_with(Hint::Unknown, flags, destination, src, dst, len) }
}

/// [`dif_insert`], with what is known of the bytes: a cold destination of some size is written past the caches.
///
/// # Safety
///
/// As of [`dif_insert`].
pub unsafe fn dif_insert_with(
    hint: Hint,
    flags: u8,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> DifTags {
    let way = Way::current();
    // SAFETY: the caller's promise; the tier in use is one that the CPU has.
    unsafe {
        // Whatever the limits, none is below that.
        if len >= DifLimits::DEFAULT.cold_short && super::tuning::current().dif.is_past(hint, flags, len) {
            way::insert_past(way, flags, destination, src, dst, len)
        } else {
            way::insert(way, flags, destination, src, dst, len)
        }
    }
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
    // SAFETY: as above.
    unsafe { way::strip(Way::current(), flags, source, src, dst, len) }
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
    // SAFETY: as above.
    unsafe { way::update(Way::current(), flags, source, destination, src, dst, len) }
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
    // SAFETY: as above.
    unsafe { way::generate(Way::current(), flags, destination, src, dst, len) }
}

#[cfg(test)]
mod tests;
