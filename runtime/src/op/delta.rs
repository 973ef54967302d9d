//! Delta records: how two regions differ, and how one becomes the other.

use idxd_sys::limits::{DELTA_ALIGN, DELTA_ENTRY, DELTA_MAX_REGION};

use super::batch::{Batch, BatchBuffers, Task};
use super::check;
use super::future::{Operation, operation_future};
use super::operand::{In, Out};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::cpu;
use crate::dispatch::{DeltaResult, Job};
use crate::error::Error;

operation_future! {
    /// A delta record being made, by [`Accelerator::create_delta`]. Gives what came of it and all three buffers.
    CreateDelta<A: StableBuf, B: StableBuf, D: StableBufMut>((A, B, D)) -> (DeltaResult, (A, B, D)), by Job,
    |done, (first, second, mut record)| {
        let size = done.written;
        // SAFETY: the operation has written the first `size` bytes of the record.
        unsafe { record.set_init(size) };
        (done.outcome.delta(), (first, second, record))
    }
}

operation_future! {
    /// A delta record being applied, by [`Accelerator::apply_delta`]. Gives both buffers back.
    ApplyDelta<R: StableBuf, D: StableBufMut>((R, D)) -> (R, D), by Job,
    |_, buffers| buffers
}

impl Accelerator {
    /// Records in `record` how `second` differs from `first`.
    ///
    /// A record has 10 bytes for every 8 that differ: where they are, in units of 8 bytes and as 16 bits, and what
    /// `second` has there (specification section 8.3.8). It has as much room as the capacity of `record`, of which whole
    /// entries are used; the buffer's length grows to the size of the record if it was shorter, and stays otherwise. What
    /// is written is [`DeltaResult::Record`]'s `size`.
    ///
    /// A device wants both regions aligned to 8 bytes, and room for 8 entries; otherwise the CPU does it.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use dsa::buf::StableBuf;
    ///
    /// let (old, mut new) = (vec![0u8; 4096], vec![0u8; 4096]);
    /// new[100] = 1;
    /// new[4000] = 2;
    /// let (result, (old, new, record)) = dsa::create_delta(old, new, Vec::with_capacity(800)).await?;
    /// assert_eq!(result, dsa::DeltaResult::Record { size: 20 });
    /// let (_, updated) = dsa::apply_delta(record, old).await?;
    /// assert_eq!(updated, new);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`]; [`Error::SizeNotMultiple`] if the length is not a multiple of 8 bytes;
    /// [`Error::RegionTooLarge`] if it is more than 512 KiB; [`Error::Overlap`].
    pub fn create_delta<A: StableBuf, B: StableBuf, D: StableBufMut>(
        &self,
        first: A,
        second: B,
        record: D,
    ) -> CreateDelta<A, B, D> {
        CreateDelta(Operation::new(self, (first, second, record), |(first, second, record)| {
            create(In::of(first), In::of(second), Out::of(record))
        }))
    }

    /// Makes a region that holds what the first region of a [`create_delta`](Self::create_delta) held into what the second
    /// one held. `record` is the record and nothing else: a [`slice`](StableBuf::slice) of `size` bytes of the buffer if
    /// that is longer.
    ///
    /// The whole record is looked at before anything is written. A device wants the target aligned to 8 bytes; otherwise
    /// the CPU does it.
    ///
    /// # Errors
    ///
    /// [`Error::SizeNotMultiple`] if the target is not a multiple of 8 bytes, or the record of 10;
    /// [`Error::RegionTooLarge`] if the target has more than 512 KiB; [`Error::DeltaRecord`] if an entry lies outside the
    /// target, or is not above the one before it; [`Error::Overlap`].
    pub fn apply_delta<R: StableBuf, D: StableBufMut>(&self, record: R, target: D) -> ApplyDelta<R, D> {
        ApplyDelta(Operation::new(self, (record, target), |(record, target)| {
            // SAFETY: the contract of `StableBuf`: initialised bytes that nobody writes.
            unsafe { apply(In::of(record), Out::of(target)) }
        }))
    }
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds the making of a delta record, as [`Accelerator::create_delta`].
    pub fn create_delta(&mut self, first: S, second: S, record: D) -> &mut Self {
        self.push(BatchBuffers::CreateDelta(first, second, record), Task::CreateDelta)
    }

    /// Adds the application of a delta record, as [`Accelerator::apply_delta`]. The record is looked at when the batch is
    /// submitted, so that no other member can make it.
    pub fn apply_delta(&mut self, record: S, target: D) -> &mut Self {
        self.push(BatchBuffers::ApplyDelta(record, target), Task::ApplyDelta)
    }
}

/// [`Accelerator::create_delta`] on the process-wide accelerator.
pub fn create_delta<A: StableBuf, B: StableBuf, D: StableBufMut>(
    first: A,
    second: B,
    record: D,
) -> CreateDelta<A, B, D> {
    Accelerator::global().create_delta(first, second, record)
}

/// [`Accelerator::apply_delta`] on the process-wide accelerator.
pub fn apply_delta<R: StableBuf, D: StableBufMut>(record: R, target: D) -> ApplyDelta<R, D> {
    Accelerator::global().apply_delta(record, target)
}

/// Checks the making of a record.
pub(super) fn create(first: In, second: In, record: Out) -> Result<Job, Error> {
    check::same_length(first.len, second.len)?;
    region(first.len)?;
    let job = Job::create_delta(first.ptr, second.ptr, first.len, record.ptr, record.capacity);
    let room = record.region(record.capacity);
    check::apart(first.region(), room)?;
    check::apart(second.region(), room)?;
    Ok(job)
}

/// Checks the application of a record, and the record.
///
/// # Safety
///
/// The record's bytes are initialised, and nobody writes them meanwhile.
pub(super) unsafe fn apply(record: In, target: Out) -> Result<Job, Error> {
    region(target.len)?;
    check::multiple(record.len, DELTA_ENTRY as usize)?;
    check::apart(record.region(), target.region(target.len))?;
    if record.len != 0 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(record.ptr, record.len) };
        cpu::check_delta(bytes, target.len).map_err(Error::DeltaRecord)?;
    }
    Ok(Job::apply_delta(record.ptr, record.len, target.ptr, target.len))
}

/// The size of a region that a record can describe.
fn region(size: usize) -> Result<(), Error> {
    check::multiple(size, DELTA_ALIGN)?;
    let max = DELTA_MAX_REGION as usize;
    if size > max { Err(Error::RegionTooLarge { size, max }) } else { Ok(()) }
}
