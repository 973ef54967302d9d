//! Buffers that keep account of themselves, and of which a model device may be at work.

use std::ops::Range;
use std::sync::Arc;

use idxd_sys::{Descriptor, opcode};
use shuttle::sync::{Condvar, Mutex};

use crate::buf::{StableBuf, StableBufMut};

/// What became of the buffers of one execution.
pub(super) struct Ledger {
    /// No lock of shuttle's: looking at it is no step of the model.
    books: std::sync::Mutex<Books>,
    /// Held to change what is waited for.
    news: Mutex<()>,
    changed: Condvar,
}

/// The books themselves.
#[derive(Default)]
pub(super) struct Books {
    pub(super) made: usize,
    pub(super) dropped: usize,
    /// Dropped while a device could still write or read them.
    pub(super) early: usize,
    /// Given up for good, to the knowledge of whoever waited for them.
    pub(super) leaked: usize,
    /// Whether the queue has been closed.
    pub(super) is_closed: bool,
    /// What a device may access, in the order in which it got there.
    named: Vec<(u64, Vec<Range<u64>>)>,
}

impl Ledger {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { books: std::sync::Mutex::default(), news: Mutex::new(()), changed: Condvar::new() })
    }

    /// Looks at the books, or changes them. Nothing else happens meanwhile.
    pub(super) fn books<R>(&self, f: impl FnOnce(&mut Books) -> R) -> R {
        f(&mut self.books.lock().expect("nobody panics with it"))
    }

    /// A buffer of `len` bytes.
    pub(super) fn buffer(self: &Arc<Self>, len: usize, byte: u8) -> Buffer {
        self.books(|books| books.made += 1);
        Buffer { memory: Box::into_raw(vec![byte; len].into_boxed_slice()), ledger: Arc::clone(self) }
    }

    /// Tells whoever waits that the books have changed.
    pub(super) fn tell(&self) {
        // An execution that has failed is not to be held up.
        if !std::thread::panicking() {
            let _news = self.news.lock().expect("nobody panics with it");
            self.changed.notify_all();
        }
    }

    /// Waits until the books say so. A model where nothing more happens is in a deadlock, which shuttle reports.
    pub(super) fn wait(&self, is_it: impl Fn(&Books) -> bool) {
        let mut news = self.news.lock().expect("nobody panics with it");
        while !self.books(|books| is_it(books)) {
            news = self.changed.wait(news).expect("nobody panics with it");
        }
    }
}

impl Books {
    /// A device has got a descriptor.
    ///
    /// # Safety
    ///
    /// A batch names a list that is there.
    pub(super) unsafe fn got(&mut self, descriptor: &Descriptor) {
        let mut ranges = regions(descriptor);
        if descriptor.opcode() == opcode::BATCH {
            let list = std::ptr::with_exposed_provenance::<Descriptor>(descriptor.src_addr as usize);
            for member in 0..descriptor.xfer_size as usize {
                // SAFETY: the caller's promise.
                ranges.extend(regions(unsafe { &*list.add(member) }));
            }
        }
        self.named.push((descriptor.completion_addr, ranges));
    }

    /// It is done with the one that has its record there.
    pub(super) fn done(&mut self, record: u64) {
        let place = self.named.iter().position(|(its, _)| *its == record).expect("it has got it");
        self.named.remove(place);
    }

    /// It has nothing any more.
    pub(super) fn done_with_all(&mut self) {
        self.named.clear();
    }

    fn is_named(&self, address: u64) -> bool {
        self.named.iter().any(|(_, ranges)| ranges.iter().any(|range| range.contains(&address)))
    }
}

/// What a copy accesses.
fn regions(descriptor: &Descriptor) -> Vec<Range<u64>> {
    if descriptor.opcode() != opcode::MEMMOVE {
        return Vec::new();
    }
    [descriptor.src_addr, descriptor.dst_addr].map(|at| at..at + u64::from(descriptor.xfer_size)).into()
}

/// Owned memory that tells of its drop. It is kept by raw pointer, since a device writes it while the value is moved.
pub(super) struct Buffer {
    memory: *mut [u8],
    ledger: Arc<Ledger>,
}

impl Buffer {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: a live allocation of this value's own; nobody writes while the value is at hand to be borrowed.
        unsafe { &*self.memory }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let addresses = self.memory.cast::<u8>().addr() as u64..;
        let len = self.memory.len() as u64;
        self.ledger.books(|books| {
            // Of a piece in the middle of a long copy, the first byte may be done with.
            let early = (addresses.start..addresses.start + len).any(|address| books.is_named(address));
            books.early += usize::from(early);
            books.dropped += 1;
            if !early {
                // SAFETY: made by `Box::into_raw`, and freed here only. (Not what a device will write: that is for the
                // check at the end to report.)
                drop(unsafe { Box::from_raw(self.memory) });
            }
        });
        self.ledger.tell();
    }
}

// SAFETY: the pointer is to memory that the value owns alone.
unsafe impl Send for Buffer {}

// SAFETY: heap memory that nothing but `Drop` touches; all of it is initialised.
unsafe impl StableBuf for Buffer {
    fn as_ptr(&self) -> *const u8 {
        self.memory.cast()
    }

    fn len(&self) -> usize {
        self.memory.len()
    }
}

// SAFETY: owned alone, of fixed length, all initialised.
unsafe impl StableBufMut for Buffer {
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
