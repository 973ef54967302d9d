//! `Pool`: buffers that a device can write without a page fault.
//!
//! Memory fresh from the allocator has no pages yet, and the device's first access to each is a fault that ends the
//! descriptor. A pool maps its memory once, touches all of it ahead and hands it out in aligned pieces. Taking and
//! returning a buffer allocates nothing: a queue of free indices and one reference count.

use std::fmt;
use std::io;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::mapping::Mapping;
use super::{PageSize, PoolBuf};

/// Alignment of small buffers: one cache line.
const CACHE_LINE: usize = 64;

/// A fixed number of equal buffers in memory that is mapped and touched ahead.
///
/// Cheap to clone; the clones share the buffers. The memory goes back to the system when the pool and all buffers are
/// gone.
///
/// ```
/// use dsa::buf::Pool;
///
/// let pool = Pool::builder().buffers(4).size(4096).build()?;
/// let mut buf = pool.try_get().expect("nobody else uses this pool");
/// buf.extend_from_slice(b"payload");
/// assert_eq!((buf.len(), buf.capacity()), (7, 4096));
/// assert_eq!(pool.available(), 3);
/// drop(buf);
/// assert_eq!(pool.available(), 4);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// Builds a [`Pool`]. Obtained from [`Pool::builder`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PoolBuilder {
    buffers: usize,
    size: usize,
    huge_pages: bool,
}

/// What a pool and its buffers have in common.
pub(super) struct Shared {
    pub(super) mapping: Mapping,
    /// Distance between the beginnings of two buffers, in bytes.
    pub(super) stride: usize,
    /// Capacity of a buffer, in bytes; at most `stride`.
    pub(super) size: usize,
    /// Indices of the buffers that nobody has. Each index is either here or in exactly one `PoolBuf`.
    pub(super) free: ArrayQueue<u32>,
}

impl Pool {
    /// A builder with its defaults: 64 buffers of 64 KiB on pages of the base size.
    pub fn builder() -> PoolBuilder {
        PoolBuilder { buffers: 64, size: 64 * 1024, huge_pages: false }
    }

    /// Takes a buffer of length 0, or `None` if all are taken. Never blocks and never allocates.
    #[inline]
    pub fn try_get(&self) -> Option<PoolBuf> {
        let index = self.shared.free.pop()?;
        Some(PoolBuf::new(Arc::clone(&self.shared), index))
    }

    /// Number of buffers that are free at the moment.
    pub fn available(&self) -> usize {
        self.shared.free.len()
    }

    /// Number of buffers, free or taken.
    pub fn buffers(&self) -> usize {
        self.shared.free.capacity()
    }

    /// Capacity of each buffer, in bytes.
    pub fn buffer_size(&self) -> usize {
        self.shared.size
    }

    /// What kind of pages the memory has. Tells whether a request for huge pages was granted.
    pub fn page_size(&self) -> PageSize {
        self.shared.mapping.pages()
    }
}

impl PoolBuilder {
    /// Number of buffers, 1 to `u32::MAX`.
    pub fn buffers(mut self, buffers: usize) -> Self {
        self.buffers = buffers;
        self
    }

    /// Capacity of each buffer, in bytes, at least 1.
    ///
    /// Buffers begin at a multiple of 64 bytes, and at the beginning of a page if they are at least a page long; the
    /// memory between them is not used.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// Asks for 2 MiB pages: fewer translations for the device to look up. Where the system has none to give, the pool
    /// is built all the same and [`Pool::page_size`] says on what.
    pub fn huge_pages(mut self, huge_pages: bool) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Maps the memory and touches all of it, so the time this takes grows with the size, and the memory is in use
    /// from now on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if a number is out of its range or the whole exceeds the address space;
    /// otherwise what the system says, mostly that there is not enough memory.
    pub fn build(self) -> io::Result<Pool> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let Self { buffers, size, huge_pages } = self;
        if size == 0 {
            return Err(invalid("the buffers of a pool must have at least 1 byte"));
        }
        let count = u32::try_from(buffers).ok().filter(|&count| count != 0);
        let count = count.ok_or_else(|| invalid("a pool must have 1 to 4294967295 buffers"))?;
        let page = rustix::param::page_size();
        let alignment = if size >= page { page } else { CACHE_LINE };
        let stride = size.checked_next_multiple_of(alignment);
        let total =
            stride.and_then(|stride| stride.checked_mul(buffers)).filter(|&total| isize::try_from(total).is_ok());
        let (Some(stride), Some(total)) = (stride, total) else {
            return Err(invalid("the buffers of the pool together exceed the address space"));
        };
        let mapping = Mapping::new(total, huge_pages)?;
        let free = ArrayQueue::new(buffers);
        for index in 0..count {
            // There is room for exactly as many.
            let _ = free.push(index);
        }
        Ok(Pool { shared: Arc::new(Shared { mapping, stride, size, free }) })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("buffers", &self.buffers())
            .field("available", &self.available())
            .field("buffer_size", &self.buffer_size())
            .field("page_size", &self.page_size())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::buf::StableBuf;

    fn pool(buffers: usize, size: usize) -> Pool {
        Pool::builder().buffers(buffers).size(size).build().unwrap()
    }

    #[test]
    fn buffers_are_aligned_apart_and_all_there() {
        let page = rustix::param::page_size();
        for size in [1, 63, 64, 65, 1000, page - 1, page, page + 1, 3 * page + 7] {
            let pool = pool(9, size);
            let bufs: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
            assert_eq!((bufs.len(), pool.available(), pool.buffers(), pool.buffer_size()), (9, 0, 9, size));
            let mut begins: Vec<_> = bufs.iter().map(|buf| StableBuf::as_ptr(buf).addr()).collect();
            begins.sort_unstable();
            assert!(begins.iter().all(|begin| begin % if size >= page { page } else { 64 } == 0), "size {size}");
            assert!(begins.windows(2).all(|pair| pair[0] + size <= pair[1]), "size {size}");
        }
    }

    #[test]
    fn threads_never_share_a_buffer() {
        const BUFFERS: usize = 5;
        let pool = pool(BUFFERS, 64);
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 1..=8_u8 {
                let (pool, taken) = (pool.clone(), &taken);
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let Some(mut buf) = pool.try_get() else { continue };
                        assert!(taken.fetch_add(1, Ordering::Relaxed) < BUFFERS);
                        buf.set_len(64);
                        buf.fill(thread);
                        std::hint::spin_loop();
                        assert!(buf.iter().all(|&byte| byte == thread));
                        taken.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let bufs: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
        let addresses: HashSet<_> = bufs.iter().map(StableBuf::as_ptr).collect();
        assert_eq!(addresses.len(), BUFFERS);
    }

    #[test]
    fn huge_pages_are_a_wish() {
        let pool = Pool::builder().buffers(3).size(1 << 20).huge_pages(true).build().unwrap();
        assert!(pool.page_size().bytes() >= rustix::param::page_size());
        let bufs: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
        for mut buf in bufs {
            buf.set_len(1 << 20);
            buf.fill(1);
        }
        assert_eq!(self::pool(1, 1).page_size(), PageSize::Standard);
    }

    #[test]
    fn senseless_sizes_are_refused() {
        let kind = |buffers, size| Pool::builder().buffers(buffers).size(size).build().unwrap_err().kind();
        assert_eq!(kind(0, 64), io::ErrorKind::InvalidInput);
        assert_eq!(kind(1 << 32, 64), io::ErrorKind::InvalidInput);
        assert_eq!(kind(1, 0), io::ErrorKind::InvalidInput);
        assert_eq!(kind(1, usize::MAX), io::ErrorKind::InvalidInput);
        assert_eq!(kind(1 << 20, 1 << 50), io::ErrorKind::InvalidInput);
        assert_eq!(kind(1 << 10, 1 << 50), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn buffers_travel_between_threads() {
        fn travels<T: Send + Sync + Unpin + 'static>() {}
        travels::<Pool>();
        travels::<PoolBuf>();
    }
}
