//! Copies: to another buffer, to fresh memory, within a buffer, to two buffers.

use std::ops::RangeBounds;

use super::check;
use super::future::{Operation, operation_future};
use super::operand::{In, Out, bounds};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::dispatch::Plain;
use crate::error::Error;

operation_future! {
    /// A copy, made by [`Accelerator::copy`] or [`dsa::copy`](crate::copy). Gives both buffers back.
    Copy<S: StableBuf, D: StableBufMut>((S, D)) -> (S, D),
    |done, (src, mut dst)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        (src, dst)
    }
}

operation_future! {
    /// A copy into fresh memory, made by [`Accelerator::copy_to_vec`]. Gives the source and the copy.
    CopyToVec<S: StableBuf>((S, Vec<u8>)) -> (S, Vec<u8>),
    |done, (src, mut dst)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the vector's capacity.
        unsafe { dst.set_len(len) };
        (src, dst)
    }
}

operation_future! {
    /// A move inside one buffer, made by [`Accelerator::copy_within`]. Gives the buffer back.
    CopyWithin<B: StableBufMut>(B) -> B,
    |_, buf| buf
}

operation_future! {
    /// A copy to two destinations, made by [`Accelerator::dualcast`]. Gives all three buffers back.
    Dualcast<S: StableBuf, D: StableBufMut, E: StableBufMut>((S, D, E)) -> (S, D, E),
    |done, (src, mut first, mut second)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of both destinations.
        unsafe {
            first.set_init(len);
            second.set_init(len);
        }
        (src, first, second)
    }
}

impl Accelerator {
    /// Copies all bytes of `src` to the start of `dst`, which need not be initialised: its length grows to
    /// `src.len()` if it was shorter, and stays otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::CapacityTooSmall`](crate::Error::CapacityTooSmall), [`Error::Overlap`](crate::Error::Overlap); with
    /// [`Copy::device_only`] also [`Error::DeviceOnly`](crate::Error::DeviceOnly).
    #[inline]
    pub fn copy<S: StableBuf, D: StableBufMut>(&self, src: S, dst: D) -> Copy<S, D> {
        Copy(Operation::checked(self, (src, dst), |(src, dst)| {
            let (from, to, len) = (StableBuf::as_ptr(src), dst.as_mut_ptr(), StableBuf::len(src));
            (Plain::copy(from, to, len), check::disjoint_fit(from, to, len, dst.capacity()))
        }))
    }

    /// Copies `src` into a new vector, without filling that with zeros first.
    pub fn copy_to_vec<S: StableBuf>(&self, src: S) -> CopyToVec<S> {
        let dst = Vec::with_capacity(StableBuf::len(&src));
        CopyToVec(Operation::new(self, (src, dst), |(src, dst)| {
            Ok(Plain::copy(StableBuf::as_ptr(src), dst.as_mut_ptr(), StableBuf::len(src)))
        }))
    }

    /// Moves the bytes of `range` to `dst` (an offset) inside `buf`; the two may overlap.
    ///
    /// An overlapping move over less than 4 KiB is always done by the CPU; a wider one in pieces that do not overlap
    /// themselves, so that nothing is lost if a device dies over it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds) if source or destination reach beyond the buffer's
    /// initialised bytes.
    pub fn copy_within<B: StableBufMut>(&self, buf: B, range: impl RangeBounds<usize>, dst: usize) -> CopyWithin<B> {
        CopyWithin(Operation::new(self, buf, |buf| {
            let len = StableBuf::len(buf);
            let (start, end) = bounds(&range, len);
            check::range(start, end, len)?;
            check::range(dst, dst.saturating_add(end - start), len)?;
            let base = buf.as_mut_ptr();
            // `wrapping_add`: in bounds as just checked, and no claim is needed beyond that.
            Ok(Plain::copy_within(base.wrapping_add(start), base.wrapping_add(dst), end - start))
        }))
    }

    /// Copies all bytes of `src` to the starts of `first` and `second`.
    ///
    /// A device does this in one pass if both destinations have the same offset in their 4 KiB page (specification
    /// section 8.3.10); otherwise the CPU does it. [`Pool`](crate::buf::Pool) buffers of a page or more qualify.
    ///
    /// # Errors
    ///
    /// As for [`Accelerator::copy`], for either destination, and if the destinations overlap each other.
    pub fn dualcast<S: StableBuf, D: StableBufMut, E: StableBufMut>(
        &self,
        src: S,
        first: D,
        second: E,
    ) -> Dualcast<S, D, E> {
        Dualcast(Operation::new(self, (src, first, second), |(src, first, second)| {
            check::dualcast(src, first, second).map(|(from, to, also, len)| Plain::dualcast(from, to, also, len))
        }))
    }
}

/// [`Accelerator::copy`] on the process-wide accelerator.
pub fn copy<S: StableBuf, D: StableBufMut>(src: S, dst: D) -> Copy<S, D> {
    Accelerator::global().copy(src, dst)
}

/// [`Accelerator::copy_to_vec`] on the process-wide accelerator.
pub fn copy_to_vec<S: StableBuf>(src: S) -> CopyToVec<S> {
    Accelerator::global().copy_to_vec(src)
}

/// [`Accelerator::copy_within`] on the process-wide accelerator.
pub fn copy_within<B: StableBufMut>(buf: B, range: impl RangeBounds<usize>, dst: usize) -> CopyWithin<B> {
    Accelerator::global().copy_within(buf, range, dst)
}

/// [`Accelerator::dualcast`] on the process-wide accelerator.
pub fn dualcast<S: StableBuf, D: StableBufMut, E: StableBufMut>(src: S, first: D, second: E) -> Dualcast<S, D, E> {
    Accelerator::global().dualcast(src, first, second)
}

/// Checks a copy to two destinations.
pub(super) fn plan_dualcast(src: In, first: Out, second: Out) -> Result<Plain, Error> {
    let (to, also) = (first.take(src.len)?, second.take(src.len)?);
    for dst in [first, second] {
        check::apart(src.region(), dst.region(src.len))?;
    }
    check::apart(first.region(src.len), second.region(src.len))?;
    Ok(Plain::dualcast(src.ptr, to, also, src.len))
}
