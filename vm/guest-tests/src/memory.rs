//! Memory of this process whose pages come and go for the device, while their contents stay.
//!
//! The memory is a file without a name, mapped twice. Descriptors name the first mapping, which no code of this process touches: so
//! whether one of its pages is there is decided by `madvise` and `mprotect` alone. The second mapping is the test's, and sees
//! the same bytes.

use std::io;
use std::ptr::NonNull;

use dsa_conformance::{PAGE, Page};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};

/// Two mappings of the same bytes.
pub struct Memory {
    device: NonNull<u8>,
    test: NonNull<u8>,
    len: usize,
    used: usize,
}

impl Memory {
    /// Room for `len` bytes, a multiple of the page size, nothing of which is allocated.
    pub fn new(len: usize) -> io::Result<Self> {
        let file = memfd_create("dsa", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, len as u64)?;
        let map = |rights: ProtFlags| -> io::Result<NonNull<u8>> {
            // SAFETY: a new mapping at an address of the kernel's choice.
            let at = unsafe { mmap(std::ptr::null_mut(), len, rights, MapFlags::SHARED, &file, 0) }?;
            NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at 0"))
        };
        let device = map(ProtFlags::empty())?;
        let test = map(ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(Self { device, test, len, used: 0 })
    }

    /// Takes all regions back.
    pub fn clear(&mut self) -> io::Result<()> {
        self.used = 0;
        self.change(0, self.len, MprotectFlags::empty(), Some(Advice::LinuxDontNeed))
    }

    /// A region of some pages that are there, with pages on both sides that are not. Returns its address for descriptors.
    pub fn allocate(&mut self, pages: u64) -> io::Result<u64> {
        let (first, len) = (self.used + PAGE as usize, (pages * PAGE) as usize);
        if first + len + PAGE as usize > self.len {
            return Err(io::Error::other("no memory is left"));
        }
        self.used = first + len;
        let addr = self.device.as_ptr().expose_provenance() as u64 + first as u64;
        for page in 0..pages {
            self.set_page(addr + page * PAGE, Page::Present)?;
        }
        Ok(addr)
    }

    /// Writes bytes, by the address that descriptors have.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) {
        let to = self.at(addr, bytes.len());
        // SAFETY: `at` has checked the range. Only the device and this thread use the memory, and the device is idle as far as
        // these bytes go: the suite waits for what it submits.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Reads bytes, by the address that descriptors have.
    pub fn read(&self, addr: u64, bytes: &mut [u8]) {
        let from = self.at(addr, bytes.len());
        // SAFETY: as for writing.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(from, bytes.len()) };
    }

    /// The first byte of a completion record. What the device wrote before it is visible after it, if it is not 0.
    pub fn status(&self, record: u64) -> u8 {
        let status = self.at(record, 1);
        // SAFETY: a byte of the mapping, which the device writes at any time; nobody holds a reference to it.
        unsafe { std::sync::atomic::AtomicU8::from_ptr(status) }.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Changes what the device finds at a page.
    pub fn set_page(&self, page: u64, state: Page) -> io::Result<()> {
        let offset = self.offset(page, PAGE as usize);
        let both = MprotectFlags::READ | MprotectFlags::WRITE;
        let (rights, advice) = match state {
            Page::Present => (both, Advice::LinuxPopulateWrite),
            Page::ReadOnly => (MprotectFlags::READ, Advice::LinuxPopulateRead),
            Page::Absent => (both, Advice::LinuxDontNeed),
            Page::Refused => (MprotectFlags::empty(), Advice::LinuxDontNeed),
        };
        self.change(offset, PAGE as usize, rights, Some(advice))
    }

    fn change(&self, offset: usize, len: usize, rights: MprotectFlags, advice: Option<Advice>) -> io::Result<()> {
        // SAFETY: a part of the first mapping, which nothing of this process reads or writes: it is the device's.
        unsafe {
            let at = self.device.as_ptr().add(offset).cast();
            mprotect(at, len, rights)?;
            if let Some(advice) = advice {
                madvise(at, len, advice)?;
            }
        }
        Ok(())
    }

    /// Where the test finds what descriptors name by `addr`.
    fn at(&self, addr: u64, len: usize) -> *mut u8 {
        let offset = self.offset(addr, len);
        // SAFETY: `offset` has checked that the range lies in the mapping.
        unsafe { self.test.as_ptr().add(offset) }
    }

    fn offset(&self, addr: u64, len: usize) -> usize {
        let offset = (addr as usize).wrapping_sub(self.device.as_ptr().addr());
        assert!(offset <= self.len && len <= self.len - offset, "{addr:#x} is not of this memory");
        offset
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for mapping in [self.device, self.test] {
            // SAFETY: `new` made it with this length, and nobody uses it any more.
            let _ = unsafe { munmap(mapping.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the pages from an address on are in this process's tables, by `/proc/self/pagemap`.
    fn present(addr: u64, pages: usize) -> Vec<bool> {
        use std::os::unix::fs::FileExt;
        let map = std::fs::File::open("/proc/self/pagemap").unwrap();
        let mut entries = vec![0; 8 * pages];
        map.read_exact_at(&mut entries, addr / PAGE * 8).unwrap();
        entries.chunks_exact(8).map(|entry| entry[7] & 0x80 != 0).collect()
    }

    #[test]
    fn pages_come_and_go_and_keep_what_they_hold() {
        let mut memory = Memory::new(64 * PAGE as usize).unwrap();
        let addr = memory.allocate(3).unwrap();
        assert_eq!(present(addr - PAGE, 5), [false, true, true, true, false]);
        memory.write(addr + PAGE - 1, b"abc");
        for state in [Page::Absent, Page::Refused] {
            memory.set_page(addr + PAGE, state).unwrap();
            assert_eq!(present(addr, 3), [true, false, true]);
            let mut bytes = [0; 3];
            memory.read(addr + PAGE - 1, &mut bytes);
            assert_eq!(&bytes, b"abc");
            assert_eq!(present(addr, 3), [true, false, true], "the test's side brings nothing in");
            memory.set_page(addr + PAGE, Page::Present).unwrap();
            assert_eq!(present(addr, 3), [true; 3]);
        }
        memory.set_page(addr, Page::ReadOnly).unwrap();
        assert_eq!(present(addr, 3), [true; 3]);
        assert_eq!(memory.status(addr + PAGE), b'b');
        memory.clear().unwrap();
        assert_eq!(present(addr - PAGE, 5), [false; 5]);
        assert_eq!(memory.allocate(1).unwrap(), addr, "from the beginning again");
    }

    #[test]
    fn regions_keep_apart_and_end() {
        let mut memory = Memory::new(8 * PAGE as usize).unwrap();
        let (one, two) = (memory.allocate(2).unwrap(), memory.allocate(2).unwrap());
        assert_eq!(two - one, 3 * PAGE);
        assert!(memory.allocate(2).is_err());
    }
}
