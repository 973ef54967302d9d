//! `PoolBuf`: one buffer of a pool.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use super::pool::Shared;
use super::{StableBuf, StableBufMut};

/// One buffer of a [`Pool`](super::Pool); it returns there when it is dropped.
///
/// Its length works like that of a `Vec`: 0 at first, up to [`capacity`](Self::capacity), and the slice it dereferences
/// to has that length. It never reallocates.
///
/// The bytes between length and capacity are initialised, but with whatever an earlier user of the buffer left: a pool
/// does not clear buffers that come back. They show after [`set_len`](Self::set_len), never by writing alone. Where that
/// matters, between tenants of one process say, fill what `set_len` uncovered, or use a pool for each.
pub struct PoolBuf {
    shared: Arc<Shared>,
    index: u32,
    len: usize,
}

impl PoolBuf {
    /// The buffer of an index that was just taken from the free ones, and is nowhere else.
    #[inline]
    pub(super) fn new(shared: Arc<Shared>, index: u32) -> Self {
        Self { shared, index, len: 0 }
    }

    /// Number of bytes the buffer can hold.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.shared.size
    }

    /// Sets the length. All bytes up to the capacity are initialised, so this is safe; bytes that this user has not
    /// written are those of an earlier user of the buffer, or 0.
    ///
    /// # Panics
    ///
    /// If `len` exceeds the capacity.
    #[inline]
    #[track_caller]
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "length {len} exceeds the capacity of {} bytes", self.capacity());
        self.len = len;
    }

    /// Sets the length to 0. The bytes stay as they are.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends bytes.
    ///
    /// # Panics
    ///
    /// If they do not fit the capacity; the buffer does not grow.
    #[track_caller]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let (begin, room) = (self.len, self.capacity() - self.len);
        assert!(bytes.len() <= room, "{} bytes do not fit the remaining {room}", bytes.len());
        self.len += bytes.len();
        self[begin..].copy_from_slice(bytes);
    }

    #[inline]
    fn address(&self) -> NonNull<u8> {
        // SAFETY: the index is below the number of buffers, so the offset lies inside the mapping, which fits `isize`.
        unsafe { self.shared.mapping.base().add(self.index as usize * self.shared.stride) }
    }
}

impl Drop for PoolBuf {
    #[inline]
    fn drop(&mut self) {
        let result = self.shared.free.push(self.index);
        debug_assert!(result.is_ok(), "a buffer came back to a pool that has all of its own");
    }
}

// SAFETY: the address follows from the mapping, which `shared` keeps alive, and the index, and neither changes. While
// this value holds the index no other `PoolBuf` has it, so nobody else touches the bytes; what its predecessor did
// happened before, by way of the queue. All bytes are initialised: the mapping began zeroed. Leaking the value leaks the
// index and a count of `shared`.
unsafe impl StableBuf for PoolBuf {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        self.address().as_ptr()
    }

    #[inline]
    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: the mapping is writable and buffers do not overlap, for their capacity is at most their stride. The pointer
// comes from `mmap`, not from a slice, and so is good for all of the capacity.
unsafe impl StableBufMut for PoolBuf {
    #[inline]
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.address().as_ptr()
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.shared.size
    }

    #[inline]
    unsafe fn set_init(&mut self, len: usize) {
        debug_assert!(len <= self.shared.size, "set_init beyond the capacity");
        self.len = self.len.max(len);
    }
}

impl Deref for PoolBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes, at most the capacity, that only `&mut self` can change.
        unsafe { std::slice::from_raw_parts(self.address().as_ptr(), self.len) }
    }
}

impl DerefMut for PoolBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and exclusively this value's, which is mutably borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.address().as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for PoolBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for PoolBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuf").field("len", &self.len).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::buf::Pool;

    fn pool(buffers: usize, size: usize) -> Pool {
        Pool::builder().buffers(buffers).size(size).build().unwrap()
    }

    #[test]
    fn an_exhausted_pool_gives_again_what_comes_back() {
        let pool = pool(1, 100);
        let mut buf = pool.try_get().unwrap();
        assert!(pool.try_get().is_none());
        buf.extend_from_slice(b"earlier");
        drop(buf);
        let mut buf = pool.try_get().unwrap();
        assert_eq!(buf.len(), 0, "a recycled buffer begins empty");
        buf.set_len(7);
        assert_eq!(buf[..], *b"earlier", "but is not cleared, as documented");
    }

    #[test]
    fn the_length_works_like_that_of_a_vec() {
        let mut buf = pool(1, 10).try_get().unwrap();
        buf.extend_from_slice(b"0123");
        buf.extend_from_slice(b"456789");
        assert_eq!(buf[..], *b"0123456789");
        assert!(catch_unwind(AssertUnwindSafe(|| buf.extend_from_slice(b"x"))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| buf.set_len(11))).is_err());
        assert_eq!(buf.len(), 10);
        buf.set_len(2);
        // SAFETY: all bytes are initialised.
        unsafe { buf.set_init(5) };
        assert_eq!(buf.len(), 5);
        // SAFETY: as above.
        unsafe { buf.set_init(3) };
        assert_eq!(buf.len(), 5, "set_init never shrinks");
        buf.clear();
        assert!(buf.is_empty());
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = pool(2, 1 << 16);
        let mut buf = pool.try_get().unwrap();
        let weak = Arc::downgrade(&buf.shared);
        drop(pool);
        buf.set_len(1 << 16);
        buf.fill(3);
        assert_eq!(buf[(1 << 16) - 1], 3);
        drop(buf);
        assert!(weak.upgrade().is_none(), "the last buffer takes the memory with it");
    }

    #[test]
    fn a_view_of_a_buffer_returns_it_to_the_pool() {
        let pool = pool(1, 4096);
        let mut view = pool.try_get().unwrap().slice_mut(0..512);
        // SAFETY: all bytes of a pool buffer are initialised.
        unsafe { view.set_init(512) };
        assert_eq!(view.len(), 512);
        assert_eq!(pool.available(), 0);
        drop(view);
        assert_eq!(pool.available(), 1);
    }

    #[test]
    fn every_byte_of_the_capacity_is_zero_at_first_and_writable() {
        let pool = pool(3, 5000);
        let mut bufs: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
        for (value, buf) in (1..).zip(&mut bufs) {
            assert!(buf.is_empty());
            buf.set_len(5000);
            assert!(buf.iter().all(|&byte| byte == 0));
            buf.fill(value);
        }
        for (value, buf) in (1..).zip(&bufs) {
            assert!(buf.iter().all(|&byte| byte == value));
        }
    }
}
