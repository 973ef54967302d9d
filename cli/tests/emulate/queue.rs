//! What the programs have in hand: queues, records, pages.

use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering};

use idxd_sys::{CompletionRecord, Descriptor, flag, instr};

pub(crate) const PAGE: usize = 4096;

/// Far from where the system maps anything unless it is told to.
const NOWHERE: usize = 0x1234_5678_0000;

/// An open queue, and its portal if it has one.
pub(crate) struct Queue {
    pub(crate) file: i32,
    pub(crate) portal: *mut u8,
    dedicated: bool,
}

impl Queue {
    pub(crate) fn open(name: &str) -> Self {
        let path = CString::new(format!("/dev/dsa/{name}")).unwrap();
        // SAFETY: the path is a C string.
        let file = unsafe { libc::open(path.as_ptr(), libc::O_RDWR) };
        assert!(file >= 0, "{name}: {}", std::io::Error::last_os_error());
        let mode = std::fs::read_to_string(format!("/sys/bus/dsa/devices/{name}/mode")).unwrap();
        Self { file, portal: null_mut(), dedicated: mode == "dedicated\n" }
    }

    pub(crate) fn with_portal(name: &str) -> Self {
        let mut queue = Self::open(name);
        queue.portal = queue.map(PAGE, libc::MAP_SHARED).unwrap();
        queue
    }

    pub(crate) fn map(&self, length: usize, flags: i32) -> std::io::Result<*mut u8> {
        // SAFETY: a new mapping.
        let page = unsafe { libc::mmap(null_mut(), length, libc::PROT_WRITE, flags, self.file, 0) };
        if page == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(page.cast()) }
    }

    /// Offers a descriptor by the instruction for the queue. False if it is refused.
    pub(crate) fn offer(&self, descriptor: &Descriptor) -> bool {
        instr::sfence();
        // SAFETY: the portal is mapped, and something emulates the instructions; what the descriptors of these tests name
        // outlives them.
        unsafe {
            if self.dedicated {
                instr::movdir64b(self.portal, descriptor);
                return true;
            }
            instr::enqcmd(self.portal, descriptor)
        }
    }

    /// Has a descriptor executed, and gives its record.
    pub(crate) fn run(&self, code: u8, flags: u32, descriptor: Descriptor) -> CompletionRecord {
        let record = Record::new();
        let descriptor = record.of(code, flags, descriptor);
        while !self.offer(&descriptor) {}
        record.wait()
    }

    pub(crate) fn write(&self, descriptors: &[Descriptor]) -> std::io::Result<usize> {
        let length = size_of_val(descriptors);
        // SAFETY: the bytes are there; what the descriptors name outlives them.
        let written = unsafe { libc::write(self.file, descriptors.as_ptr().cast(), length) };
        usize::try_from(written).map_err(|_| std::io::Error::last_os_error())
    }
}

/// A completion record in a page of its own.
pub(crate) struct Record(pub(crate) Pages);

impl Record {
    pub(crate) fn new() -> Self {
        Self(Pages::new(1).fill(0))
    }

    pub(crate) fn of(&self, code: u8, flags: u32, mut descriptor: Descriptor) -> Descriptor {
        descriptor.completion_addr = self.0.address(0);
        descriptor.set_opcode_flags(code, flags | flag::CRAV | flag::RCR);
        descriptor
    }

    pub(crate) fn status(&self) -> u8 {
        // SAFETY: the first byte of a page that stays; the device writes it as an atomic.
        unsafe { AtomicU8::from_ptr(self.0.at(0)) }.load(Ordering::Acquire)
    }

    pub(crate) fn wait(&self) -> CompletionRecord {
        while self.status() == 0 {
            std::thread::yield_now();
        }
        // SAFETY: the status says that the rest is written.
        unsafe { self.0.place::<CompletionRecord>(0).read() }
    }
}

/// Fresh anonymous pages, that nobody has touched.
#[derive(Clone, Copy)]
pub(crate) struct Pages(usize, usize);

impl Pages {
    pub(crate) fn new(count: usize) -> Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping.
        let at =
            unsafe { libc::mmap(null_mut(), count * PAGE, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        // SAFETY: advice about our own pages: single ones, so that each is missing by itself.
        unsafe { libc::madvise(at, count * PAGE, libc::MADV_NOHUGEPAGE) };
        Self(at.expose_provenance(), count * PAGE)
    }

    /// Pages that are not there, and stay so.
    pub(crate) fn nowhere() -> Self {
        Self(NOWHERE, PAGE)
    }

    pub(crate) fn at(self, offset: usize) -> *mut u8 {
        self.place(offset)
    }

    pub(crate) fn place<T>(self, offset: usize) -> *mut T {
        std::ptr::with_exposed_provenance_mut(self.0 + offset)
    }

    pub(crate) fn address(self, offset: usize) -> u64 {
        (self.0 + offset) as u64
    }

    pub(crate) fn fill(self, byte: u8) -> Self {
        // SAFETY: the whole mapping, which no device works on.
        unsafe { self.at(0).write_bytes(byte, self.1) };
        self
    }

    pub(crate) fn touch(self, offset: usize) -> u8 {
        // SAFETY: inside the mapping, all of which is initialised: pages start with zeros.
        unsafe { self.at(offset).read_volatile() }
    }

    pub(crate) fn bytes(self, count: usize) -> Vec<u8> {
        // SAFETY: as above; no device works on it.
        unsafe { std::slice::from_raw_parts(self.at(0), count) }.to_vec()
    }

    pub(crate) fn protect(self, access: i32) {
        // SAFETY: our own pages; whoever uses them next is told by a fault.
        assert_eq!(unsafe { libc::mprotect(self.at(0).cast(), self.1, access) }, 0);
    }

    pub(crate) fn unmap(self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::munmap(self.at(0).cast(), self.1) }, 0);
    }
}

pub(crate) fn copy(from: Pages, to: Pages, count: usize) -> Descriptor {
    Descriptor { src_addr: from.address(0), dst_addr: to.address(0), xfer_size: count as u32, ..Descriptor::default() }
}
