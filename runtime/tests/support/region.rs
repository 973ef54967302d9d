//! Parts of one memory as several buffers: what only fences make safe.

use std::sync::Arc;

use dsa::buf::{StableBuf, StableBufMut};

/// Memory that is freed with its last [`Region`].
#[derive(Debug)]
pub(crate) struct Memory(*mut [u8]);

// SAFETY: an allocation of its own, reached by raw pointer only; who may touch which part when is the business of the
// regions' users.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn of(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(Box::into_raw(bytes.into_boxed_slice())))
    }

    /// A part of it as a buffer. The test sees to it that operations on overlapping parts are kept apart by fences.
    pub(crate) fn region(self: &Arc<Self>, start: usize, len: usize) -> Region {
        assert!(start + len <= self.0.len());
        Region { memory: Arc::clone(self), start, len }
    }

    /// All bytes, when no operation is in flight any more.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        // SAFETY: alive as long as `self`; the caller has awaited all operations.
        unsafe { (*self.0).to_vec() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw`, and no region is left.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// A part of a [`Memory`].
#[derive(Debug)]
pub(crate) struct Region {
    memory: Arc<Memory>,
    start: usize,
    len: usize,
}

// SAFETY: initialised heap memory that the region keeps alive. Others write to it, but, by the fences of the test, never
// while an operation on this region runs.
unsafe impl StableBuf for Region {
    fn as_ptr(&self) -> *const u8 {
        self.memory.0.cast::<u8>().wrapping_add(self.start)
    }

    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: as above; exclusive for as long as an operation on it runs.
unsafe impl StableBufMut for Region {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.0.cast::<u8>().wrapping_add(self.start)
    }

    fn capacity(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, len: usize) {
        assert!(len <= self.len);
    }
}
