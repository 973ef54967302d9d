//! Caches: lines written back, pages and translations brought in before they are needed. No byte changes.

#![forbid(unsafe_code)]

use std::ops::RangeBounds;

use super::batch::{Batch, BatchBuffers, Task};
use super::future::{Operation, operation_future};
use super::operand::{In, bounds};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::dispatch::{Flushed, Job};
use crate::error::Error;

operation_future! {
    /// A cache flush, made by [`Accelerator::cache_flush`]. Gives the buffer back.
    CacheFlush<S: StableBuf>(S) -> S, by Job,
    |_, buf| buf
}

operation_future! {
    /// A translation fetch, made by [`Accelerator::translation_fetch`]. Gives the buffer back.
    TranslationFetch<S: StableBuf>(S) -> S, by Job,
    |_, buf| buf
}

impl<S: StableBuf> CacheFlush<S> {
    /// Whether the bytes are to be where they survive a loss of power, if the memory is of such a kind; caches may keep
    /// them (default: no). A device does it where it has destination readback (GENCAP bit 8).
    ///
    /// # Panics
    ///
    /// If the future has been polled.
    pub fn durable(mut self, on: bool) -> Self {
        self.0.job_mut().set_flushed(if on { Flushed::Durably } else { Flushed::ToMemory });
        self
    }
}

impl Accelerator {
    /// Writes the cache lines of a range of bytes back to memory and takes them out of the caches of the CPU; whole lines,
    /// so that their neighbours go along.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let table = dsa::cache_flush(vec![1u8; 1 << 20], 4096..).await?;
    /// # let _ = table;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if the range reaches beyond the buffer's initialised bytes.
    pub fn cache_flush<S: StableBuf>(&self, buf: S, range: impl RangeBounds<usize>) -> CacheFlush<S> {
        CacheFlush(Operation::new(self, buf, |buf| {
            let (start, end) = bounds(&range, StableBuf::len(buf));
            flush(In::of(buf).part(start, end)?, Flushed::ToMemory)
        }))
    }

    /// Brings in the pages of a buffer before something else reads them: a device asks the IOMMU for their translations,
    /// the CPU has the kernel make them present. A hint: nothing depends on it, and that it could not be followed is no
    /// error. Few devices offer it (opcode 0x0a).
    pub fn translation_fetch<S: StableBuf>(&self, buf: S) -> TranslationFetch<S> {
        TranslationFetch(Operation::new(self, buf, |buf| fetch(In::of(buf))))
    }
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds a cache flush of all of `buf`, as [`Accelerator::cache_flush`].
    pub fn cache_flush(&mut self, buf: S) -> &mut Self {
        self.push(BatchBuffers::CacheFlush(buf), Task::CacheFlush)
    }

    /// Adds a translation fetch, as [`Accelerator::translation_fetch`].
    pub fn translation_fetch(&mut self, buf: S) -> &mut Self {
        self.push(BatchBuffers::TranslationFetch(buf), Task::TranslationFetch)
    }
}

/// [`Accelerator::cache_flush`] on the process-wide accelerator.
pub fn cache_flush<S: StableBuf>(buf: S, range: impl RangeBounds<usize>) -> CacheFlush<S> {
    Accelerator::global().cache_flush(buf, range)
}

/// [`Accelerator::translation_fetch`] on the process-wide accelerator.
pub fn translation_fetch<S: StableBuf>(buf: S) -> TranslationFetch<S> {
    Accelerator::global().translation_fetch(buf)
}

/// There is nothing to check.
#[expect(clippy::unnecessary_wraps, reason = "all checks have the same shape")]
pub(super) fn flush(bytes: In, to: Flushed) -> Result<Job, Error> {
    Ok(Job::flush(bytes.ptr, bytes.len, to))
}

/// There is nothing to check.
#[expect(clippy::unnecessary_wraps, reason = "all checks have the same shape")]
pub(super) fn fetch(bytes: In) -> Result<Job, Error> {
    Ok(Job::fetch(bytes.ptr, bytes.len))
}
