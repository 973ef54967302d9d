//! What an operation works on, before it is a job: addresses and sizes of buffers, owned or borrowed.

#![forbid(unsafe_code)]

use crate::buf::{StableBuf, StableBufMut};
use crate::error::Error;

use super::check;

/// Initialised memory that an operation reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct In {
    pub(super) ptr: *const u8,
    pub(super) len: usize,
}

impl In {
    /// None at all.
    pub(super) const NONE: Self = Self { ptr: std::ptr::null(), len: 0 };

    pub(super) fn of<S: StableBuf>(buf: &S) -> Self {
        Self { ptr: StableBuf::as_ptr(buf), len: StableBuf::len(buf) }
    }

    /// Its bytes from `start` to `end`.
    pub(super) fn part(self, start: usize, end: usize) -> Result<Self, Error> {
        check::range(start, end, self.len)?;
        // `wrapping_add`: in bounds as just checked, and no claim is needed beyond that.
        Ok(Self { ptr: self.ptr.wrapping_add(start), len: end - start })
    }

    pub(super) fn region(self) -> (*const u8, usize) {
        (self.ptr, self.len)
    }
}

impl From<&[u8]> for In {
    fn from(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }
}

/// Memory that an operation writes, and of which the first bytes may be initialised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) ptr: *mut u8,
    /// Initialised bytes.
    pub(super) len: usize,
    pub(super) capacity: usize,
}

impl Out {
    /// None at all.
    pub(super) const NONE: Self = Self { ptr: std::ptr::null_mut(), len: 0, capacity: 0 };

    pub(super) fn of<D: StableBufMut>(buf: &mut D) -> Self {
        Self { ptr: buf.as_mut_ptr(), len: StableBuf::len(buf), capacity: buf.capacity() }
    }

    /// The first `len` bytes, which must fit.
    pub(super) fn take(self, len: usize) -> Result<*mut u8, Error> {
        check::capacity(len, self.capacity)?;
        Ok(self.ptr)
    }

    /// What is initialised of it, to be read.
    pub(super) fn read(self) -> In {
        In { ptr: self.ptr, len: self.len }
    }

    /// Its first `len` bytes as a region.
    pub(super) fn region(self, len: usize) -> (*const u8, usize) {
        (self.ptr, len)
    }
}

impl From<&mut [u8]> for Out {
    fn from(bytes: &mut [u8]) -> Self {
        Self { ptr: bytes.as_mut_ptr(), len: bytes.len(), capacity: bytes.len() }
    }
}

/// The bytes that a range of offsets means in a buffer of `len` bytes; whether it lies inside is for somebody else to say.
pub(super) fn bounds(range: &impl std::ops::RangeBounds<usize>, len: usize) -> (usize, usize) {
    use std::ops::Bound;
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&end) => end.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    (start, end)
}
