//! `Slice`: an owned view of a part of a buffer.

use std::error::Error;
use std::fmt;
use std::ops::{Bound, Deref, DerefMut, Range, RangeBounds};

use super::{StableBuf, StableBufMut};

/// A buffer of which only the bytes of one range take part.
///
/// Made by [`StableBuf::slice`] (initialised bytes) and [`StableBufMut::slice_mut`] (initialised bytes and the room
/// behind them). It owns the buffer, so it can go wherever the buffer can, and [`into_inner`](Self::into_inner) gives
/// it back. Dereferences to the initialised bytes inside the range.
///
/// Declaring bytes of the view initialised extends the buffer below it:
///
/// ```
/// use dsa::buf::{StableBuf, StableBufMut};
///
/// let mut buf = Vec::with_capacity(16);
/// buf.extend_from_slice(b"ab");
/// let mut tail = buf.slice_mut(2..16);
/// // SAFETY: two bytes are written before they are declared initialised.
/// unsafe {
///     tail.as_mut_ptr().copy_from_nonoverlapping(b"cd".as_ptr(), 2);
///     tail.set_init(2);
/// }
/// assert_eq!(tail.into_inner(), b"abcd");
/// ```
pub struct Slice<B> {
    buf: B,
    /// At most the initialised length of `buf`.
    begin: usize,
    /// At least `begin`; at most the initialised length, or the capacity where `slice_mut` made this.
    end: usize,
}

impl<B> Slice<B> {
    /// The whole buffer.
    pub fn into_inner(self) -> B {
        self.buf
    }

    /// The whole buffer, for reading.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// The range of the buffer, in bytes from its beginning. It may end after the initialised bytes.
    pub fn range(&self) -> Range<usize> {
        self.begin..self.end
    }
}

// SAFETY: `begin <= buf.len()` held at construction, and as a `StableBuf` does not shrink but by its own `&mut self`
// methods, none of which `Slice` offers or calls (`set_init` never shrinks), it still holds. So the bytes from `begin`
// to the smaller of `end` and `buf.len()` are initialised bytes of `buf`, whose promises about them carry over.
unsafe impl<B: StableBuf> StableBuf for Slice<B> {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        // SAFETY: `begin` is within the initialised bytes of the buffer or just behind them; adding 0 to the dangling
        // pointer of an empty buffer is fine.
        unsafe { self.buf.as_ptr().add(self.begin) }
    }

    #[inline]
    fn len(&self) -> usize {
        self.buf.len().min(self.end) - self.begin
    }
}

// SAFETY: on top of the above, `end <= buf.capacity()`: `slice_mut` checks it, `slice` has checked the smaller
// `buf.len()`. The capacity of a `StableBufMut` changes only by its own `&mut self` methods other than `set_init`.
unsafe impl<B: StableBufMut> StableBufMut for Slice<B> {
    #[inline]
    fn as_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `begin` is within the capacity of the buffer or just behind it.
        unsafe { self.buf.as_mut_ptr().add(self.begin) }
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.end - self.begin
    }

    #[inline]
    unsafe fn set_init(&mut self, len: usize) {
        // SAFETY: the caller promises `begin + len <= end <= buf.capacity()` and `len` written bytes from `begin`;
        // those before `begin` have been initialised since construction.
        unsafe { self.buf.set_init(self.begin + len) };
    }
}

impl<B: StableBuf> Deref for Slice<B> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the contract of `StableBuf`: not null, `len` initialised bytes that nobody writes while the value is
        // borrowed.
        unsafe { std::slice::from_raw_parts(StableBuf::as_ptr(self), StableBuf::len(self)) }
    }
}

impl<B: StableBufMut> DerefMut for Slice<B> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = StableBuf::len(self);
        // SAFETY: the contract of `StableBufMut`: `len` initialised bytes that are exclusively this value's, which is
        // mutably borrowed for as long as the result lives.
        unsafe { std::slice::from_raw_parts_mut(StableBufMut::as_mut_ptr(self), len) }
    }
}

impl<B: StableBuf> AsRef<[u8]> for Slice<B> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<B: Clone> Clone for Slice<B>
where
    B: StableBuf,
{
    /// Clones the buffer below.
    ///
    /// # Panics
    ///
    /// If the clone is shorter than the view: a `Vec` clones its bytes, not its capacity, so a view of uninitialised
    /// room cannot be cloned.
    fn clone(&self) -> Self {
        let buf = self.buf.clone();
        assert!(self.end <= buf.len(), "the clone of the buffer ends before the view of it does");
        Self { buf, begin: self.begin, end: self.end }
    }
}

impl<B: StableBuf> fmt::Debug for Slice<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice")
            .field("range", &self.range())
            .field("len", &StableBuf::len(self))
            .finish_non_exhaustive()
    }
}

/// A range that does not fit a buffer, and the buffer.
pub struct OutOfRange<B> {
    buf: B,
    begin: usize,
    end: usize,
    limit: usize,
    what: &'static str,
}

impl<B> OutOfRange<B> {
    /// The buffer, unchanged.
    pub fn into_inner(self) -> B {
        self.buf
    }

    /// The range that was asked for. An end that exceeds `usize` reads as `usize::MAX`.
    pub fn range(&self) -> Range<usize> {
        self.begin..self.end
    }

    #[cold]
    #[track_caller]
    pub(super) fn panic(self) -> ! {
        panic!("{self}")
    }
}

impl<B> fmt::Display for OutOfRange<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begin, end, limit, what, .. } = self;
        if begin > end {
            write!(f, "buffer range starts at byte {begin} but ends at byte {end}")
        } else {
            write!(f, "buffer range {begin}..{end} exceeds {what} of {limit} bytes")
        }
    }
}

impl<B> fmt::Debug for OutOfRange<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutOfRange({self})")
    }
}

impl<B> Error for OutOfRange<B> {}

/// A view of initialised bytes.
pub(super) fn within_len<B: StableBuf>(buf: B, range: &impl RangeBounds<usize>) -> Result<Slice<B>, OutOfRange<B>> {
    let len = buf.len();
    let (begin, end) = resolve(range, len);
    if begin > end || end > len {
        return Err(OutOfRange { buf, begin, end, limit: len, what: "the initialised length" });
    }
    Ok(Slice { buf, begin, end })
}

/// A view that begins in, or right behind, the initialised bytes and ends within the capacity.
pub(super) fn within_capacity<B: StableBufMut>(
    buf: B,
    range: &impl RangeBounds<usize>,
) -> Result<Slice<B>, OutOfRange<B>> {
    let (len, capacity) = (buf.len(), buf.capacity());
    let (begin, end) = resolve(range, capacity);
    if begin > end || end > capacity {
        return Err(OutOfRange { buf, begin, end, limit: capacity, what: "the capacity" });
    }
    if begin > len {
        let what = "(with its beginning) the initialised length";
        return Err(OutOfRange { buf, begin, end, limit: len, what });
    }
    Ok(Slice { buf, begin, end })
}

/// First byte and first byte not taken. Bounds that overflow saturate; no buffer is that long, so they are refused.
fn resolve(range: &impl RangeBounds<usize>, open_end: usize) -> (usize, usize) {
    let begin = match range.start_bound() {
        Bound::Included(&at) => at,
        Bound::Excluded(&at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&at) => at.saturating_add(1),
        Bound::Excluded(&at) => at,
        Bound::Unbounded => open_end,
    };
    (begin, end)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use bytes::{Bytes, BytesMut};

    use super::*;

    #[test]
    fn every_kind_of_range_selects_as_slice_indexing_does() {
        let data: Vec<u8> = (0..10).collect();
        assert_eq!(data.clone().slice(..)[..], data[..]);
        assert_eq!(data.clone().slice(2..)[..], data[2..]);
        assert_eq!(data.clone().slice(..3)[..], data[..3]);
        assert_eq!(data.clone().slice(2..=4)[..], data[2..=4]);
        assert_eq!(data.clone().slice((Bound::Excluded(2), Bound::Included(4)))[..], data[3..=4]);
        assert_eq!(data.clone().slice(10..10)[..], data[10..10]);
        assert_eq!(Vec::new().slice(..)[..], [0_u8; 0]);
    }

    #[test]
    fn a_range_that_does_not_fit_gives_the_buffer_back() {
        let (backwards_begin, backwards_end) = (5, 4);
        for (begin, end) in [(0, 11), (11, 11), (backwards_begin, backwards_end), (usize::MAX, usize::MAX)] {
            let error = Bytes::from_static(b"0123456789").try_slice(begin..end).unwrap_err();
            assert_eq!(error.range(), begin..end);
            assert_eq!(error.into_inner(), "0123456789");
        }
        let error = vec![0_u8; 4].try_slice(0..=usize::MAX).unwrap_err();
        assert_eq!(error.range(), 0..usize::MAX);
        assert!(error.to_string().contains("initialised length of 4 bytes"), "{error}");
        let panic = catch_unwind(|| vec![0_u8; 4].slice(2..6)).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("2..6"));
    }

    #[test]
    fn a_read_view_stops_at_the_initialised_length() {
        let mut buf = Vec::with_capacity(100);
        buf.extend_from_slice(&[1_u8; 10]);
        assert!(buf.clone().try_slice(0..11).is_err());
        let view = buf.slice(5..);
        assert_eq!((StableBuf::len(&view), view.capacity()), (5, 5));
    }

    #[test]
    fn a_write_view_reaches_the_capacity_but_leaves_no_hole() {
        let mut buf = BytesMut::with_capacity(100);
        buf.extend_from_slice(&[1; 10]);
        let capacity = buf.capacity();
        let buf = buf.try_slice_mut(11..20).unwrap_err().into_inner();
        let buf = buf.try_slice_mut(0..=capacity).unwrap_err().into_inner();
        let mut view = buf.slice_mut(8..);
        assert_eq!((StableBuf::len(&view), view.capacity()), (2, capacity - 8));
        // SAFETY: 30 bytes from the beginning of the view are written first.
        unsafe {
            view.as_mut_ptr().write_bytes(2, 30);
            view.set_init(30);
        }
        assert_eq!(StableBuf::len(&view), 30);
        let buf = view.into_inner();
        assert_eq!(buf.len(), 38);
        assert_eq!(buf[..8], [1; 8]);
        assert_eq!(buf[8..], [2; 30]);
    }

    #[test]
    fn a_write_view_in_the_middle_does_not_shrink_the_buffer() {
        let mut view = vec![1_u8; 64].slice_mut(8..16);
        assert_eq!((StableBuf::len(&view), view.capacity()), (8, 8));
        // SAFETY: the bytes are initialised.
        unsafe { view.set_init(8) };
        view.fill(7);
        let buf = view.into_inner();
        assert_eq!(buf.len(), 64);
        assert_eq!((buf[7], buf[8], buf[15], buf[16]), (1, 7, 7, 1));
    }

    #[test]
    fn views_of_views_add_up() {
        let data: Vec<u8> = (0..32).collect();
        let address = data.as_ptr() as usize;
        let mut view = data.slice(8..24).slice(4..8);
        assert_eq!(StableBuf::as_ptr(&view) as usize, address + 12);
        assert_eq!(view[..], [12, 13, 14, 15]);
        view[0] = 99;
        let data = view.into_inner().into_inner();
        assert_eq!(data[12], 99);
    }

    #[test]
    fn a_clone_never_sees_less_than_its_range() {
        let view = vec![1_u8, 2, 3].slice(1..3);
        assert_eq!(view.clone()[..], [2, 3]);
        let room = Vec::<u8>::with_capacity(16).slice_mut(0..16);
        assert!(catch_unwind(std::panic::AssertUnwindSafe(|| room.clone())).is_err());
    }
}
