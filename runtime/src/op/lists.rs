//! Gather and scatter: blocks all over a buffer, and one behind the other (DSA 3.0).

use super::batch::{Batch, BatchBuffers, Task};
use super::block_list::BlockList;
use super::check;
use super::fill::Pattern;
use super::future::{Operation, operation_future};
use super::operand::{In, Out};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::dispatch::{Job, Places};
use crate::error::Error;

operation_future! {
    /// A gather copy, made by [`Accelerator::gather_copy`]. Gives base buffer, list and destination back.
    GatherCopy<B: StableBuf, D: StableBufMut>((B, BlockList, D)) -> (B, BlockList, D), by Job,
    |done, (base, blocks, mut dst)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        (base, blocks, dst)
    }
}

operation_future! {
    /// A scatter copy, made by [`Accelerator::scatter_copy`]. Gives source, base buffer and list back.
    ScatterCopy<S: StableBuf, B: StableBufMut>((S, B, BlockList)) -> (S, B, BlockList), by Job,
    |_, buffers| buffers
}

operation_future! {
    /// A scatter fill, made by [`Accelerator::scatter_fill`]. Gives base buffer and list back.
    ScatterFill<B: StableBufMut>((B, BlockList)) -> (B, BlockList), by Job,
    |_, buffers| buffers
}

impl Accelerator {
    /// Copies the blocks of `base` that a list names, one behind the other and in the order of the list, to the start of
    /// `dst`, which need not be initialised.
    ///
    /// Blocks may be named more than once, and may overlap. A block that is larger than the queue's largest transfer is the
    /// CPU's.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use dsa::BlockList;
    ///
    /// let records: Vec<u8> = (0..1000u32).flat_map(|number| [number as u8; 64]).collect();
    /// let wanted = BlockList::indices(vec![7, 500, 3], 64);
    /// let (records, wanted, mut picked) = dsa::gather_copy(records, wanted, Vec::with_capacity(192)).await?;
    /// assert_eq!((picked[0], picked[64], picked[128]), (7, 244, 3));
    /// picked[0] = 99;
    /// let (_, records, _) = dsa::scatter_copy(picked, records, wanted).await?;
    /// assert_eq!(records[7 * 64], 99);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BlockOutOfBounds`] if a block does not lie inside the initialised bytes of `base`;
    /// [`Error::CapacityTooSmall`]; [`Error::Overlap`].
    pub fn gather_copy<B: StableBuf, D: StableBufMut>(&self, base: B, blocks: BlockList, dst: D) -> GatherCopy<B, D> {
        GatherCopy(Operation::new(self, (base, blocks, dst), |(base, blocks, dst)| {
            gather(In::of(base), blocks, Out::of(dst))
        }))
    }

    /// Copies `src` block by block to the places in `base` that a list names. Bytes of `base` that belong to no block stay
    /// as they are.
    ///
    /// Checking a list that is not in ascending order takes memory for a sorted copy of it.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] if the source is not as long as all blocks together; [`Error::BlockOutOfBounds`] if a
    /// block does not lie inside the initialised bytes of `base`; [`Error::BlocksOverlap`] if two blocks share bytes;
    /// [`Error::Overlap`].
    pub fn scatter_copy<S: StableBuf, B: StableBufMut>(&self, src: S, base: B, blocks: BlockList) -> ScatterCopy<S, B> {
        ScatterCopy(Operation::new(self, (src, base, blocks), |(src, base, blocks)| {
            scatter(In::of(src), Out::of(base), blocks)
        }))
    }

    /// Fills the blocks of `base` that a list names with `pattern` (a byte, or eight), which begins anew in each block.
    ///
    /// # Errors
    ///
    /// As for [`scatter_copy`](Self::scatter_copy), without a source.
    pub fn scatter_fill<B: StableBufMut>(
        &self,
        base: B,
        blocks: BlockList,
        pattern: impl Into<Pattern>,
    ) -> ScatterFill<B> {
        let pattern = pattern.into();
        ScatterFill(Operation::new(self, (base, blocks), |(base, blocks)| fill(Out::of(base), blocks, pattern)))
    }
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds a gather copy, as [`Accelerator::gather_copy`].
    pub fn gather_copy(&mut self, base: S, blocks: BlockList, dst: D) -> &mut Self {
        self.push(BatchBuffers::Gather(base, blocks, dst), Task::GatherCopy)
    }

    /// Adds a scatter copy, as [`Accelerator::scatter_copy`].
    pub fn scatter_copy(&mut self, src: S, base: D, blocks: BlockList) -> &mut Self {
        self.push(BatchBuffers::ScatterCopy(src, base, blocks), Task::ScatterCopy)
    }

    /// Adds a scatter fill, as [`Accelerator::scatter_fill`].
    pub fn scatter_fill(&mut self, base: D, blocks: BlockList, pattern: impl Into<Pattern>) -> &mut Self {
        self.push(BatchBuffers::ScatterFill(base, blocks), Task::ScatterFill(pattern.into()))
    }
}

/// [`Accelerator::gather_copy`] on the process-wide accelerator.
pub fn gather_copy<B: StableBuf, D: StableBufMut>(base: B, blocks: BlockList, dst: D) -> GatherCopy<B, D> {
    Accelerator::global().gather_copy(base, blocks, dst)
}

/// [`Accelerator::scatter_copy`] on the process-wide accelerator.
pub fn scatter_copy<S: StableBuf, B: StableBufMut>(src: S, base: B, blocks: BlockList) -> ScatterCopy<S, B> {
    Accelerator::global().scatter_copy(src, base, blocks)
}

/// [`Accelerator::scatter_fill`] on the process-wide accelerator.
pub fn scatter_fill<B: StableBufMut>(base: B, blocks: BlockList, pattern: impl Into<Pattern>) -> ScatterFill<B> {
    Accelerator::global().scatter_fill(base, blocks, pattern)
}

/// Checks a gather copy.
pub(super) fn gather(base: In, blocks: &BlockList, dst: Out) -> Result<Job, Error> {
    let places = places(base, blocks)?;
    let to = dst.take(blocks.total())?;
    check::apart(base.region(), dst.region(blocks.total()))?;
    Ok(Job::gather_copy(places, blocks.block(), to))
}

/// Checks a scatter copy.
pub(super) fn scatter(src: In, base: Out, blocks: &BlockList) -> Result<Job, Error> {
    check::same_length(src.len, blocks.total())?;
    let places = places(base.read(), blocks)?;
    blocks.check_disjoint()?;
    check::apart(src.region(), base.region(base.len))?;
    Ok(Job::scatter_copy(src.ptr, places, blocks.block()))
}

/// Checks a scatter fill.
pub(super) fn fill(base: Out, blocks: &BlockList, pattern: Pattern) -> Result<Job, Error> {
    let places = places(base.read(), blocks)?;
    blocks.check_disjoint()?;
    Ok(Job::scatter_fill(places, blocks.block(), pattern.word()))
}

/// Checks that the blocks of a list lie inside of what they are to lie in.
pub(super) fn places(base: In, blocks: &BlockList) -> Result<Places, Error> {
    blocks.check_bounds(base.len)?;
    let (list, format) = blocks.raw();
    Ok(Places::new(list, blocks.len(), format, base.ptr, base.len))
}
