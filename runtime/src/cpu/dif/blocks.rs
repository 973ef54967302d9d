//! The operations, block by block, over a kernel that knows guards. What a guard is by the flags beyond its kernel's is settled
//! once for all blocks.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

use idxd_sys::dif::{BLOCK_SIZE, INVERT_RESULT, INVERT_SEED, block_size};

use super::constants::EFFECT_OF_SEED;
use super::tuple::{self, Counter, FLAGS_OF_ONES, GUARD, TUPLE_BYTES, compared, error, exempt, passed};
use super::{DifDestination, DifError, DifSource, DifTags};

/// What a block consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// How often [`CHUNK`](Self::CHUNK) bytes, one or more.
    pub(super) chunks: usize,
    /// Whether 8 bytes more.
    pub(super) has_tail: bool,
}

impl Shape {
    /// Bytes of a chunk.
    pub(super) const CHUNK: usize = 512;

    /// Of the size that DIF flags name.
    #[inline]
    pub(super) fn of(flags: u8) -> Self {
        let bytes = block_size(flags) as usize;
        Self { chunks: bytes / Self::CHUNK, has_tail: !bytes.is_multiple_of(Self::CHUNK) }
    }

    #[inline]
    pub(super) fn bytes(self) -> usize {
        self.chunks * Self::CHUNK + if self.has_tail { 8 } else { 0 }
    }
}

/// Blocks that a kernel may look at together, where they are of one chunk: what is left of each goes through the last steps as
/// one vector.
pub(super) const GROUP: usize = 4;

/// A kernel for blocks of one size.
pub(super) trait Blocks: Copy {
    /// Whether it looks at several blocks together.
    const GROUPED: bool = false;

    /// The size.
    fn shape(self) -> Shape;

    /// The guard of a block, with seed 0 and not inverted.
    ///
    /// # Safety
    ///
    /// The block is valid for reading, initialised, and nobody writes it meanwhile.
    unsafe fn guard(self, src: *const u8) -> u16;

    /// Copies a block and returns its guard.
    ///
    /// # Safety
    ///
    /// As of [`guard`](Self::guard); `dst` is valid for writing a block, which nobody else accesses, and the two do not overlap.
    unsafe fn copy_guard(self, src: *const u8, dst: *mut u8) -> u16;

    /// The guards of a group of blocks of one chunk, each `step` bytes behind the one before.
    ///
    /// # Safety
    ///
    /// As of [`guard`](Self::guard), for each.
    #[inline(always)]
    unsafe fn guards(self, src: *const u8, step: usize) -> [u16; GROUP] {
        // No closure, which would not be inlined.
        let mut guards = [0; GROUP];
        for (block, guard) in guards.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *guard = unsafe { self.guard(src.add(block * step)) };
        }
        guards
    }

    /// Copies a group of blocks of one chunk and returns their guards. In the destination each begins `to` bytes behind the one
    /// before.
    ///
    /// # Safety
    ///
    /// As of [`copy_guard`](Self::copy_guard), for each.
    #[inline(always)]
    unsafe fn copy_guards(self, src: *const u8, step: usize, dst: *mut u8, to: usize) -> [u16; GROUP] {
        let mut guards = [0; GROUP];
        for (block, guard) in guards.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *guard = unsafe { self.copy_guard(src.add(block * step), dst.add(block * to)) };
        }
        guards
    }

    /// Copies a block.
    ///
    /// # Safety
    ///
    /// As of [`copy_guard`](Self::copy_guard).
    unsafe fn copy(self, src: *const u8, dst: *mut u8);
}

/// What flags add to a guard, by exclusive or.
#[inline(always)]
pub(super) fn effect(flags: u8) -> u16 {
    let of_seed = if flags & INVERT_SEED != 0 { EFFECT_OF_SEED[usize::from(flags & BLOCK_SIZE)] } else { 0 };
    if flags & INVERT_RESULT != 0 { !of_seed } else { of_seed }
}

// In the functions below nothing that runs a kernel is a closure: that would be a function without the kernel's instructions.

/// # Safety
///
/// As of [`dif_check`](super::dif_check), and the CPU has what the kernel needs. So for all functions of this file.
#[inline(always)]
pub(super) unsafe fn check<K: Blocks>(
    kernel: K,
    flags: u8,
    source: DifSource,
    src: *const u8,
    len: usize,
) -> Result<DifTags, DifError> {
    let (block, effect, compared) = (kernel.shape().bytes(), effect(flags), compared(source));
    let step = block + TUPLE_BYTES;
    let mut expected = Counter::of_source(source);
    let mut completed = 0;
    // As long as nothing is wrong.
    while K::GROUPED && completed + GROUP * step <= len && source.flags & FLAGS_OF_ONES == 0 && compared & GUARD != 0 {
        // SAFETY: the blocks and their tuples lie inside the source, for which the caller vouches; so in all functions of this file.
        unsafe {
            let from = src.add(completed);
            let before = expected.tags;
            let mut difference = 0;
            for (index, guard) in kernel.guards(from, step).into_iter().enumerate() {
                let tuple = tuple::read(from.add(index * step + block));
                difference |= tuple ^ tuple::guard(guard ^ effect) ^ expected.next();
            }
            if difference & compared != 0 {
                // To be found below.
                expected.tags = before;
                break;
            }
        }
        completed += GROUP * step;
    }
    while completed + step <= len {
        // SAFETY: as above, for one block.
        unsafe {
            let from = src.add(completed);
            let (tuple, mut wanted) = (tuple::read(from.add(block)), expected.next());
            if !exempt(source.flags, tuple, completed)? {
                if compared & GUARD != 0 {
                    wanted |= tuple::guard(kernel.guard(from) ^ effect);
                }
                let difference = (tuple ^ wanted) & compared;
                if difference != 0 {
                    return Err(error(difference, completed));
                }
            }
        }
        completed += step;
    }
    Ok(expected.tags)
}

/// # Safety
///
/// As of [`dif_insert`](super::dif_insert), and as above.
#[inline(always)]
pub(super) unsafe fn insert<K: Blocks>(
    kernel: K,
    flags: u8,
    destination: DifDestination,
    mut src: *const u8,
    mut dst: *mut u8,
    len: usize,
) -> DifTags {
    let (block, effect) = (kernel.shape().bytes(), effect(flags));
    let step = block + TUPLE_BYTES;
    let mut tags = Counter::of_destination(destination);
    let mut left = len;
    while K::GROUPED && left >= GROUP * block {
        // SAFETY: the blocks lie inside the source, blocks and tuples inside the destination; they do not overlap. The pointers
        // end at most one byte behind.
        unsafe {
            for guard in kernel.copy_guards(src, block, dst, step) {
                tuple::write(tuple::guard(guard ^ effect) | tags.next(), dst.add(block));
                dst = dst.add(step);
            }
            src = src.add(GROUP * block);
        }
        left -= GROUP * block;
    }
    while left >= block {
        // SAFETY: as above, of one block.
        unsafe {
            let guard = kernel.copy_guard(src, dst);
            tuple::write(tuple::guard(guard ^ effect) | tags.next(), dst.add(block));
            src = src.add(block);
            dst = dst.add(step);
        }
        left -= block;
    }
    tags.tags
}

/// # Safety
///
/// As of [`dif_strip`](super::dif_strip), and as above.
#[inline(always)]
pub(super) unsafe fn strip<K: Blocks>(
    kernel: K,
    flags: u8,
    source: DifSource,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> Result<DifTags, DifError> {
    // SAFETY: the caller's promise.
    let tags = unsafe { verified::<K, false>(kernel, flags, source, DifDestination::default(), src, dst, len) };
    tags.map(|(source, _)| source)
}

/// # Safety
///
/// As of [`dif_update`](super::dif_update), and as above.
#[inline(always)]
pub(super) unsafe fn update<K: Blocks>(
    kernel: K,
    flags: u8,
    source: DifSource,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> Result<(DifTags, DifTags), DifError> {
    // SAFETY: the caller's promise.
    unsafe { verified::<K, true>(kernel, flags, source, destination, src, dst, len) }
}

/// # Safety
///
/// As of [`dix_generate`](super::dix_generate), and as above.
#[inline(always)]
pub(super) unsafe fn generate<K: Blocks>(
    kernel: K,
    flags: u8,
    destination: DifDestination,
    mut src: *const u8,
    mut dst: *mut u8,
    len: usize,
) -> DifTags {
    let (block, effect) = (kernel.shape().bytes(), effect(flags));
    let mut tags = Counter::of_destination(destination);
    let mut left = len;
    while K::GROUPED && left >= GROUP * block {
        // SAFETY: the blocks lie inside the source, the tuples inside the destination, which do not overlap. The pointers end at
        // most one byte behind.
        unsafe {
            for guard in kernel.guards(src, block) {
                tuple::write(tuple::guard(guard ^ effect) | tags.next(), dst);
                dst = dst.add(TUPLE_BYTES);
            }
            src = src.add(GROUP * block);
        }
        left -= GROUP * block;
    }
    while left >= block {
        // SAFETY: as above, of one block.
        unsafe {
            tuple::write(tuple::guard(kernel.guard(src) ^ effect) | tags.next(), dst);
            src = src.add(block);
            dst = dst.add(TUPLE_BYTES);
        }
        left -= block;
    }
    tags.tags
}

/// Checks blocks and copies those that are right, with new tuples or with none. Returns the tags of source and destination that
/// would come next.
///
/// # Safety
///
/// As of [`update`] with tuples, and of [`strip`] without.
#[inline(always)]
unsafe fn verified<K: Blocks, const TUPLES: bool>(
    kernel: K,
    flags: u8,
    source: DifSource,
    destination: DifDestination,
    src: *const u8,
    mut dst: *mut u8,
    len: usize,
) -> Result<(DifTags, DifTags), DifError> {
    let (block, effect) = (kernel.shape().bytes(), effect(flags));
    let (compared, passed) = (compared(source), passed(destination));
    let step = block + TUPLE_BYTES;
    let mut expected = Counter::of_source(source);
    let mut tags = Counter::of_destination(destination);
    let mut completed = 0;
    while completed + step <= len {
        // SAFETY: the block and its tuple lie inside the source, what becomes of them inside the destination; they do not
        // overlap.
        unsafe {
            let from = src.add(completed);
            let (old, wanted) = (tuple::read(from.add(block)), expected.next());
            let exempt = exempt(source.flags, old, completed)?;
            let guard = if !exempt && compared & GUARD != 0 {
                // Before the block is copied, as a wrong one is not to be. One at a time: what reading and writing have to wait for
                // in memory, they wait for together.
                let guard = tuple::guard(kernel.guard(from) ^ effect);
                let difference = (old ^ (wanted | guard)) & compared;
                if difference != 0 {
                    return Err(error(difference, completed));
                }
                kernel.copy(from, dst);
                guard
            } else {
                let difference = (old ^ wanted) & compared;
                if !exempt && difference != 0 {
                    return Err(error(difference, completed));
                }
                if TUPLES && passed & GUARD == 0 {
                    tuple::guard(kernel.copy_guard(from, dst) ^ effect)
                } else {
                    kernel.copy(from, dst);
                    0
                }
            };
            if TUPLES {
                let new = guard | tags.next();
                tuple::write(old & passed | new & !passed, dst.add(block));
                dst = dst.add(step);
            } else {
                dst = dst.add(block);
            }
        }
        completed += step;
    }
    Ok((expected.tags, tags.tags))
}
