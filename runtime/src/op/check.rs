//! The caller's mistakes, found before anything is submitted. Pointers and lengths are taken here, once.

#![forbid(unsafe_code)]

use crate::buf::{StableBuf, StableBufMut};
use crate::error::Error;

/// A destination of `capacity` bytes must hold `needed`.
#[inline]
pub(crate) fn capacity(needed: usize, capacity: usize) -> Result<(), Error> {
    if needed > capacity { Err(Error::CapacityTooSmall { needed, capacity }) } else { Ok(()) }
}

/// Two buffers must be equally long.
#[inline]
pub(crate) fn same_length(left: usize, right: usize) -> Result<(), Error> {
    if left == right { Ok(()) } else { Err(Error::LengthMismatch { left, right }) }
}

/// `start..end` must lie inside `len` bytes.
#[inline]
pub(crate) fn range(start: usize, end: usize, len: usize) -> Result<(), Error> {
    if start > end || end > len { Err(Error::OutOfBounds { start, end, len }) } else { Ok(()) }
}

/// A size must be whole units.
#[inline]
pub(crate) fn multiple(size: usize, unit: usize) -> Result<(), Error> {
    if size.is_multiple_of(unit) { Ok(()) } else { Err(Error::SizeNotMultiple { size, unit }) }
}

/// Source, destination and length of a copy of all of `src` to the start of `dst`.
#[inline]
pub(crate) fn copy<S: StableBuf, D: StableBufMut>(src: &S, dst: &mut D) -> Result<(*const u8, *mut u8, usize), Error> {
    let (from, len, to) = (src.as_ptr(), src.len(), dst.as_mut_ptr());
    disjoint_fit(from, to, len, dst.capacity())?;
    Ok((from, to, len))
}

/// A copy of `len` bytes must fit its destination, and not overlap it.
#[inline]
pub(crate) fn disjoint_fit(from: *const u8, to: *const u8, len: usize, capacity: usize) -> Result<(), Error> {
    self::capacity(len, capacity)?;
    disjoint(from, to, len)
}

/// Source, both destinations and length of a copy of all of `src` to two places.
pub(crate) fn dualcast<S: StableBuf, D: StableBufMut, E: StableBufMut>(
    src: &S,
    first: &mut D,
    second: &mut E,
) -> Result<(*const u8, *mut u8, *mut u8, usize), Error> {
    let (from, to, len) = copy(src, first)?;
    let (_, also, _) = copy(src, second)?;
    disjoint(to, also, len)?;
    Ok((from, to, also, len))
}

/// Two regions of `len` bytes must not share memory.
///
/// Owned buffers are disjoint by nature, but those of an `unsafe impl` need not be: two views of one mapping, say.
#[inline]
fn disjoint(a: *const u8, b: *const u8, len: usize) -> Result<(), Error> {
    let distance = a.addr().abs_diff(b.addr());
    if distance < len { Err(Error::Overlap { overlap: len - distance }) } else { Ok(()) }
}

/// Two regions must not share memory; see [`disjoint`].
#[inline]
pub(crate) fn apart(a: (*const u8, usize), b: (*const u8, usize)) -> Result<(), Error> {
    let ((a, a_len), (b, b_len)) = ((a.0.addr(), a.1), (b.0.addr(), b.1));
    let (start, end) = (a.max(b), a.saturating_add(a_len).min(b.saturating_add(b_len)));
    if start < end { Err(Error::Overlap { overlap: end - start }) } else { Ok(()) }
}
