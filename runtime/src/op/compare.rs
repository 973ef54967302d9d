//! Comparison of two buffers.

#![forbid(unsafe_code)]

use super::check;
use super::future::{Operation, operation_future};
use crate::accelerator::Accelerator;
use crate::buf::StableBuf;
use crate::dispatch::Job;

operation_future! {
    /// A comparison, made by [`Accelerator::compare`] or [`dsa::compare`](crate::compare). Gives the offset of the
    /// first byte that differs, `None` if there is none, and both buffers.
    Compare<A: StableBuf, B: StableBuf>((A, B)) -> (Option<usize>, (A, B)),
    |done, buffers| (done.outcome.difference, buffers)
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
            Ok(Job::compare(StableBuf::as_ptr(a), StableBuf::as_ptr(b), left))
        }))
    }
}

/// [`Accelerator::compare`] on the process-wide accelerator.
pub fn compare<A: StableBuf, B: StableBuf>(a: A, b: B) -> Compare<A, B> {
    Accelerator::global().compare(a, b)
}
