//! A buffer that keeps account of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dsa::buf::{StableBuf, StableBufMut};

/// What became of the [`Tracked`] buffers of one test.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    made: AtomicUsize,
    dropped: AtomicUsize,
    early: AtomicUsize,
}

impl Ledger {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A buffer of `len` zeros.
    pub(crate) fn buffer(self: &Arc<Self>, len: usize) -> Tracked {
        self.of(vec![0; len])
    }

    /// A buffer of these bytes.
    pub(crate) fn of(self: &Arc<Self>, memory: Vec<u8>) -> Tracked {
        self.made.fetch_add(1, Ordering::Relaxed);
        Tracked { memory: Box::into_raw(memory.into_boxed_slice()), ledger: Arc::clone(self), last: None }
    }

    /// Buffers made so far.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// Buffers dropped so far.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Buffers that are neither dropped nor with the test: must become 0 at the end.
    pub(crate) fn alive(&self) -> usize {
        self.made() - self.dropped()
    }

    /// Buffers that were dropped before they had the bytes that the device was to write.
    pub(crate) fn early(&self) -> usize {
        self.early.load(Ordering::SeqCst)
    }
}

/// Owned memory that counts its drops, and looks at its bytes when it is dropped.
///
/// The memory is kept by raw pointer: the model of the device writes it from another thread while the value is moved.
#[derive(Debug)]
pub(crate) struct Tracked {
    memory: *mut [u8],
    ledger: Arc<Ledger>,
    last: Option<u8>,
}

impl Tracked {
    /// From now on, being dropped with bytes other than `byte` counts as too early.
    pub(crate) fn ends_as(mut self, byte: u8) -> Self {
        self.last = Some(byte);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a live allocation of this value's own; nobody writes while the value is at hand to be borrowed.
        unsafe { &*self.memory }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { &mut *self.memory }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(byte) = self.last
            && self.bytes().iter().any(|&found| found != byte)
        {
            self.ledger.early.fetch_add(1, Ordering::SeqCst);
        }
        // What is read from freed memory should not look right.
        self.bytes_mut().fill(0xdd);
        // SAFETY: made by `Box::into_raw`, and freed here only.
        drop(unsafe { Box::from_raw(self.memory) });
        self.ledger.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: the pointer is to memory that the value owns alone.
unsafe impl Send for Tracked {}

// SAFETY: heap memory that nothing but `Drop` and methods that take `&mut self` touch; all of it is initialised.
unsafe impl StableBuf for Tracked {
    fn as_ptr(&self) -> *const u8 {
        self.memory.cast()
    }

    fn len(&self) -> usize {
        self.memory.len()
    }
}

// SAFETY: owned alone, of fixed length, all initialised.
unsafe impl StableBufMut for Tracked {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.cast()
    }

    fn capacity(&self) -> usize {
        self.memory.len()
    }

    unsafe fn set_init(&mut self, len: usize) {
        assert!(len <= self.memory.len(), "set_init({len}) beyond {} bytes", self.memory.len());
    }
}
