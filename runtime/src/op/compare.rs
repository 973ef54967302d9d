//! Comparison of two buffers, and of a buffer with a pattern.

#![forbid(unsafe_code)]

use super::batch::{Batch, BatchBuffers, Task};
use super::check;
use super::fill::Pattern;
use super::future::{Operation, operation_future};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::dispatch::Plain;

operation_future! {
    /// A comparison, made by [`Accelerator::compare`] or [`dsa::compare`](crate::compare). Gives the offset of the
    /// first byte that differs, `None` if there is none, and both buffers.
    Compare<A: StableBuf, B: StableBuf>((A, B)) -> (Option<usize>, (A, B)),
    |done, buffers| (done.outcome.difference(), buffers)
}

operation_future! {
    /// A comparison with a pattern, made by [`Accelerator::compare_pattern`]. Gives the offset of the first byte that
    /// differs, `None` if there is none, and the buffer.
    ComparePattern<S: StableBuf>(S) -> (Option<usize>, S),
    |done, src| (done.outcome.difference(), src)
}

impl Accelerator {
    /// Compares two buffers of equal length.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`](crate::Error::LengthMismatch).
    pub fn compare<A: StableBuf, B: StableBuf>(&self, a: A, b: B) -> Compare<A, B> {
        Compare(Operation::new(self, (a, b), |(a, b)| {
            let (left, right) = (StableBuf::len(a), StableBuf::len(b));
            check::same_length(left, right)?;
            Ok(Plain::compare(StableBuf::as_ptr(a), StableBuf::as_ptr(b), left))
        }))
    }

    /// Looks for the first byte in which a buffer differs from `pattern` (a byte, or eight), repeated from its start.
    ///
    /// A device says that there is a difference, and only about where; the CPU looks at the bytes from there on. So the
    /// offset is exact.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let data = vec![0u8; 10_000];
    /// let (difference, mut data) = dsa::compare_pattern(data, 0u8).await?;
    /// assert_eq!(difference, None);
    /// data[7001] = 1;
    /// assert_eq!(dsa::compare_pattern(data, 0u8).await?.0, Some(7001));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn compare_pattern<S: StableBuf>(&self, src: S, pattern: impl Into<Pattern>) -> ComparePattern<S> {
        let pattern = pattern.into();
        ComparePattern(Operation::new(self, src, |src| {
            Ok(Plain::compare_pattern(StableBuf::as_ptr(src), StableBuf::len(src), pattern.word()))
        }))
    }
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds a comparison, as [`Accelerator::compare`].
    pub fn compare(&mut self, a: S, b: S) -> &mut Self {
        self.push(BatchBuffers::Compare(a, b), Task::Compare)
    }

    /// Adds a comparison with a pattern, as [`Accelerator::compare_pattern`].
    pub fn compare_pattern(&mut self, src: S, pattern: impl Into<Pattern>) -> &mut Self {
        self.push(BatchBuffers::ComparePattern(src), Task::ComparePattern(pattern.into()))
    }
}

/// [`Accelerator::compare_pattern`] on the process-wide accelerator.
pub fn compare_pattern<S: StableBuf>(src: S, pattern: impl Into<Pattern>) -> ComparePattern<S> {
    Accelerator::global().compare_pattern(src, pattern)
}

/// [`Accelerator::compare`] on the process-wide accelerator.
pub fn compare<A: StableBuf, B: StableBuf>(a: A, b: B) -> Compare<A, B> {
    Accelerator::global().compare(a, b)
}
