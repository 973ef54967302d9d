//! Test memory between two pages that nobody may touch: an access outside a region ends the test by SIGSEGV.

use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// Whole pages with an inaccessible page before and behind them.
pub(super) struct Guarded {
    map: NonNull<u8>,
    page: usize,
    len: usize,
}

impl Guarded {
    /// At least `len` bytes, zeroed.
    pub(super) fn new(len: usize) -> Self {
        let page = rustix::param::page_size();
        let len = len.max(1).next_multiple_of(page);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let map = unsafe { mmap_anonymous(ptr::null_mut(), len + 2 * page, ProtFlags::empty(), MapFlags::PRIVATE) };
        let map = NonNull::new(map.expect("a few pages").cast::<u8>()).expect("the kernel maps nothing at 0");
        // SAFETY: the pages between the first and the last of the mapping, which nobody uses yet.
        let opened =
            unsafe { mprotect(map.as_ptr().add(page).cast(), len, MprotectFlags::READ | MprotectFlags::WRITE) };
        opened.expect("access to the pages in between");
        Self { map, page, len }
    }

    /// The first accessible byte; before it lies an inaccessible page.
    pub(super) fn start(&self) -> *mut u8 {
        // SAFETY: inside the mapping.
        unsafe { self.map.as_ptr().add(self.page) }
    }

    /// The last `len` accessible bytes; behind them lies an inaccessible page.
    pub(super) fn end(&self, len: usize) -> *mut u8 {
        assert!(len <= self.len);
        // SAFETY: inside the mapping.
        unsafe { self.start().add(self.len - len) }
    }

    /// Puts `bytes` at the end and returns where they begin.
    pub(super) fn put(&self, bytes: &[u8]) -> *mut u8 {
        let at = self.end(bytes.len());
        // SAFETY: `bytes.len()` accessible bytes of memory that only the test uses.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        at
    }

    /// A copy of the last `len` bytes.
    pub(super) fn bytes(&self, len: usize) -> Vec<u8> {
        // SAFETY: accessible, initialised by the kernel, and nobody writes meanwhile.
        unsafe { std::slice::from_raw_parts(self.end(len), len) }.to_vec()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, of which no reference is left.
        unsafe { munmap(self.map.as_ptr().cast(), self.len + 2 * self.page) }.expect("the mapping is whole");
    }
}
