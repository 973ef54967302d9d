//! Data integrity: fields of 8 bytes behind blocks of data, or apart from them.
//!
//! A field holds a guard (a CRC-16 of the block), an application tag and a reference tag (specification section 8.3.17,
//! and appendix B). That a field is wrong is what these operations find out, and no error.

use super::batch::{Batch, BatchBuffers, Task};
use super::check;
use super::future::{Operation, operation_future};
use super::operand::{In, Out};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::descriptor::{DifBlock, DifDestination, DifSource, DifTags};
use crate::dispatch::{Checked, DifMismatch, Guarded, Job};
use crate::error::Error;

/// The size of blocks, and how the guard in the field of each is made: as T10 defines it, unless something is inverted.
///
/// ```
/// use dsa::{DifBlock, DifFormat};
///
/// let plain = DifFormat::from(DifBlock::Bytes512);
/// assert_eq!((plain.block().size(), plain.block().protected_size()), (512, 520));
/// assert_ne!(plain, DifFormat::new(DifBlock::Bytes512).invert_result(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DifFormat(Guarded);

impl DifFormat {
    /// Blocks of this size, with plain guards.
    pub const fn new(block: DifBlock) -> Self {
        Self(Guarded { block, invert_seed: false, invert_result: false })
    }

    /// Whether the CRC of a guard starts from 0xffff instead of 0 (default: no).
    #[must_use]
    pub const fn invert_seed(mut self, on: bool) -> Self {
        self.0.invert_seed = on;
        self
    }

    /// Whether a guard is the CRC with all bits inverted (default: no).
    #[must_use]
    pub const fn invert_result(mut self, on: bool) -> Self {
        self.0.invert_result = on;
        self
    }

    /// The size of the blocks.
    pub const fn block(self) -> DifBlock {
        self.0.block
    }
}

impl From<DifBlock> for DifFormat {
    fn from(block: DifBlock) -> Self {
        Self::new(block)
    }
}

operation_future! {
    /// A check of data-integrity fields, made by [`Accelerator::dif_check`]. Gives the tags that would come next or what
    /// does not match, and the buffer.
    DifCheck<S: StableBuf>(S) -> (Result<DifTags, DifMismatch>, S), by Job,
    |done, src| (done.outcome.checked(), src)
}

macro_rules! two_buffers {
    ($(#[$doc:meta])* $name:ident -> $value:ty, $read:ident) => {
        operation_future! {
            $(#[$doc])*
            $name<S: StableBuf, D: StableBufMut>((S, D)) -> ($value, (S, D)), by Job,
            |done, (src, mut dst)| {
                let len = done.written;
                // SAFETY: the operation has written the first `len` bytes of the destination.
                unsafe { dst.set_init(len) };
                (done.outcome.$read(), (src, dst))
            }
        }
    };
}

two_buffers! {
    /// A copy that puts data-integrity fields behind blocks, made by [`Accelerator::dif_insert`]. Gives the tags that
    /// would come next, and both buffers.
    DifInsert -> DifTags, made
}

two_buffers! {
    /// A copy that checks data-integrity fields and leaves them out, made by [`Accelerator::dif_strip`]. Gives the tags
    /// that would come next or what does not match, and both buffers.
    DifStrip -> Result<DifTags, DifMismatch>, checked
}

two_buffers! {
    /// A copy that checks data-integrity fields and replaces them, made by [`Accelerator::dif_update`]. Gives the tags of
    /// source and destination that would come next or what does not match, and both buffers.
    DifUpdate -> Result<(DifTags, DifTags), DifMismatch>, updated
}

two_buffers! {
    /// Data-integrity fields by themselves, made by [`Accelerator::dix_generate`]. Gives the tags that would come next, and
    /// both buffers.
    DixGenerate -> DifTags, made
}

impl Accelerator {
    /// Checks the data-integrity fields behind the blocks of `src`, which is whole blocks with their fields.
    ///
    /// Gives the tags of the block that would come next, from which the check of another buffer goes on, or the first
    /// block whose field is wrong: the same on a device and on the CPU.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use dsa::{DifBlock, DifDestination, DifSource};
    ///
    /// let (block, data) = (DifBlock::Bytes512, vec![7u8; 1024]);
    /// let (_, (_, protected)) = dsa::dif_insert(data, Vec::with_capacity(1040), block, DifDestination::new(10, 3)).await?;
    /// let (checked, mut protected) = dsa::dif_check(protected, block, DifSource::new(10, 3)).await?;
    /// assert_eq!(checked.unwrap().reference, 12);
    /// protected[600] ^= 1;
    /// let (checked, _) = dsa::dif_check(protected, block, DifSource::new(10, 3)).await?;
    /// assert_eq!((checked.unwrap_err().block, checked.unwrap_err().completed), (1, 520));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::SizeNotMultiple`] if the source is not whole blocks with their fields.
    pub fn dif_check<S: StableBuf>(&self, src: S, format: impl Into<DifFormat>, expected: DifSource) -> DifCheck<S> {
        let format = format.into();
        DifCheck(Operation::new(self, src, |src| plan_check(format, expected, In::of(src))))
    }

    /// Copies the blocks of `src` to the start of `dst` and puts a data-integrity field behind each. The destination takes
    /// 8 bytes more for each block than the source, and need not be initialised.
    ///
    /// # Errors
    ///
    /// [`Error::SizeNotMultiple`] if the source is not whole blocks; [`Error::CapacityTooSmall`]; [`Error::Overlap`].
    pub fn dif_insert<S: StableBuf, D: StableBufMut>(
        &self,
        src: S,
        dst: D,
        format: impl Into<DifFormat>,
        made: DifDestination,
    ) -> DifInsert<S, D> {
        let checked = Checked::Inserted(made);
        DifInsert(operation(self, src, dst, format.into(), checked))
    }

    /// Copies the blocks of `src`, which is whole blocks with their fields, to the start of `dst` without these, and checks
    /// them as [`dif_check`](Self::dif_check) does. The destination takes 8 bytes less for each block, and need not be
    /// initialised.
    ///
    /// If a field is wrong, the blocks before it have been copied; bytes of the destination behind these are unspecified.
    ///
    /// # Errors
    ///
    /// As for [`dif_check`](Self::dif_check), and [`Error::CapacityTooSmall`], [`Error::Overlap`].
    pub fn dif_strip<S: StableBuf, D: StableBufMut>(
        &self,
        src: S,
        dst: D,
        format: impl Into<DifFormat>,
        expected: DifSource,
    ) -> DifStrip<S, D> {
        let checked = Checked::Stripped(expected);
        DifStrip(operation(self, src, dst, format.into(), checked))
    }

    /// Copies the blocks of `src`, which is whole blocks with their fields, to the start of `dst`, checks the fields as
    /// [`dif_check`](Self::dif_check) does, and writes new ones, or parts of the old ones as `made` says.
    ///
    /// If a field is wrong, the blocks before it have been copied; bytes of the destination behind these are unspecified.
    ///
    /// # Errors
    ///
    /// As for [`dif_strip`](Self::dif_strip).
    pub fn dif_update<S: StableBuf, D: StableBufMut>(
        &self,
        src: S,
        dst: D,
        format: impl Into<DifFormat>,
        expected: DifSource,
        made: DifDestination,
    ) -> DifUpdate<S, D> {
        let checked = Checked::Updated(expected, made);
        DifUpdate(operation(self, src, dst, format.into(), checked))
    }

    /// Writes the data-integrity fields of the blocks of `src` to the start of `dst`, 8 bytes for each block and nothing
    /// else (DSA 2.0).
    ///
    /// A device wants the destination aligned to 8 bytes; otherwise the CPU does it.
    ///
    /// # Errors
    ///
    /// As for [`dif_insert`](Self::dif_insert).
    pub fn dix_generate<S: StableBuf, D: StableBufMut>(
        &self,
        src: S,
        dst: D,
        format: impl Into<DifFormat>,
        made: DifDestination,
    ) -> DixGenerate<S, D> {
        let checked = Checked::Apart(made);
        DixGenerate(operation(self, src, dst, format.into(), checked))
    }
}

fn operation<S: StableBuf, D: StableBufMut>(
    accelerator: &Accelerator,
    src: S,
    dst: D,
    format: DifFormat,
    checked: Checked,
) -> Operation<(S, D), Job> {
    Operation::new(accelerator, (src, dst), |(src, dst)| plan(format, checked, In::of(src), Out::of(dst)))
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds a check of data-integrity fields, as [`Accelerator::dif_check`].
    pub fn dif_check(&mut self, src: S, format: impl Into<DifFormat>, expected: DifSource) -> &mut Self {
        self.push(BatchBuffers::DifCheck(src), Task::Integrity(format.into(), Checked::Only(expected)))
    }

    /// Adds a copy of blocks with data-integrity fields, as [`Accelerator::dif_insert`].
    pub fn dif_insert(&mut self, src: S, dst: D, format: impl Into<DifFormat>, made: DifDestination) -> &mut Self {
        self.push(BatchBuffers::Dif(src, dst), Task::Integrity(format.into(), Checked::Inserted(made)))
    }

    /// Adds a copy of blocks without their data-integrity fields, as [`Accelerator::dif_strip`].
    pub fn dif_strip(&mut self, src: S, dst: D, format: impl Into<DifFormat>, expected: DifSource) -> &mut Self {
        self.push(BatchBuffers::Dif(src, dst), Task::Integrity(format.into(), Checked::Stripped(expected)))
    }

    /// Adds a copy of blocks with other data-integrity fields, as [`Accelerator::dif_update`].
    pub fn dif_update(
        &mut self,
        src: S,
        dst: D,
        format: impl Into<DifFormat>,
        expected: DifSource,
        made: DifDestination,
    ) -> &mut Self {
        self.push(BatchBuffers::Dif(src, dst), Task::Integrity(format.into(), Checked::Updated(expected, made)))
    }

    /// Adds data-integrity fields alone, as [`Accelerator::dix_generate`].
    pub fn dix_generate(&mut self, src: S, dst: D, format: impl Into<DifFormat>, made: DifDestination) -> &mut Self {
        self.push(BatchBuffers::Dif(src, dst), Task::Integrity(format.into(), Checked::Apart(made)))
    }
}

/// [`Accelerator::dif_check`] on the process-wide accelerator.
pub fn dif_check<S: StableBuf>(src: S, format: impl Into<DifFormat>, expected: DifSource) -> DifCheck<S> {
    Accelerator::global().dif_check(src, format, expected)
}

/// [`Accelerator::dif_insert`] on the process-wide accelerator.
pub fn dif_insert<S: StableBuf, D: StableBufMut>(
    src: S,
    dst: D,
    format: impl Into<DifFormat>,
    made: DifDestination,
) -> DifInsert<S, D> {
    Accelerator::global().dif_insert(src, dst, format, made)
}

/// [`Accelerator::dif_strip`] on the process-wide accelerator.
pub fn dif_strip<S: StableBuf, D: StableBufMut>(
    src: S,
    dst: D,
    format: impl Into<DifFormat>,
    expected: DifSource,
) -> DifStrip<S, D> {
    Accelerator::global().dif_strip(src, dst, format, expected)
}

/// [`Accelerator::dif_update`] on the process-wide accelerator.
pub fn dif_update<S: StableBuf, D: StableBufMut>(
    src: S,
    dst: D,
    format: impl Into<DifFormat>,
    expected: DifSource,
    made: DifDestination,
) -> DifUpdate<S, D> {
    Accelerator::global().dif_update(src, dst, format, expected, made)
}

/// [`Accelerator::dix_generate`] on the process-wide accelerator.
pub fn dix_generate<S: StableBuf, D: StableBufMut>(
    src: S,
    dst: D,
    format: impl Into<DifFormat>,
    made: DifDestination,
) -> DixGenerate<S, D> {
    Accelerator::global().dix_generate(src, dst, format, made)
}

/// Checks a check.
pub(super) fn plan_check(format: DifFormat, expected: DifSource, src: In) -> Result<Job, Error> {
    plan(format, Checked::Only(expected), src, Out::NONE)
}

/// Checks everything else.
pub(super) fn plan(format: DifFormat, checked: Checked, src: In, dst: Out) -> Result<Job, Error> {
    let (unit, made) = checked.units(format.block());
    check::multiple(src.len, unit as usize)?;
    let needed = src.len / unit as usize * made as usize;
    let to = dst.take(needed)?;
    check::apart(src.region(), dst.region(needed))?;
    Ok(Job::integrity(checked, format.0, src.ptr, to, src.len))
}
