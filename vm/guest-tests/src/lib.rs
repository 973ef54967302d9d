//! What the guest's own tests share: a user queue with its portal mapped, and memory for descriptors to work on.

pub mod attributes;
pub mod memory;

use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use idxd_sys::{Descriptor, flag, instr, opcode, portal};
use rustix::mm::{MapFlags, ProtFlags};

/// Longest wait for a completion. An emulated machine on a busy host is slow; a lost completion is what ends it.
const LIMIT: Duration = Duration::from_secs(10);

/// An open work queue.
pub struct Queue {
    portal: NonNull<u8>,
    /// Keeps the queue open, and with it the PASID bound.
    _file: File,
}

impl Queue {
    /// Opens the queue at `path`, and maps its portal.
    pub fn open(path: &str) -> Result<Self, Box<dyn Error>> {
        let file = File::options().read(true).write(true).open(path)?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let portal = unsafe {
            let flags = MapFlags::SHARED | MapFlags::POPULATE;
            rustix::mm::mmap(std::ptr::null_mut(), portal::PAGE_SIZE, ProtFlags::WRITE, flags, file.as_fd(), 0)
        }?;
        Ok(Self { portal: NonNull::new(portal.cast()).ok_or("mapped at 0")?, _file: file })
    }

    /// Submits with the instruction of the queue's kind.
    ///
    /// # Safety
    ///
    /// The memory that the descriptor names lives, and is left alone, until the device has written the record.
    pub unsafe fn submit(&self, shared: bool, descriptor: &Descriptor) -> Result<(), Box<dyn Error>> {
        if !shared {
            // SAFETY: the slot is in the mapped portal; the caller vouches for the memory.
            unsafe { instr::movdir64b(self.slot(0), descriptor) };
            return Ok(());
        }
        let start = Instant::now();
        // SAFETY: as above.
        while !unsafe { instr::enqcmd(self.slot(0), descriptor) } {
            if start.elapsed() > LIMIT {
                return Err("the queue says retry for ever".into());
            }
        }
        Ok(())
    }

    /// Address of the `n`-th slot of the portal; after the last comes the first.
    pub fn slot(&self, n: usize) -> *mut u8 {
        // SAFETY: slots lie inside the page that is mapped.
        unsafe { self.portal.as_ptr().add(portal::slot_offset(n)) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open`, and no submission is under way.
        let _ = unsafe { rustix::mm::munmap(self.portal.as_ptr().cast(), portal::PAGE_SIZE) };
    }
}

/// 64 aligned bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Line([u64; 8]);

impl Line {
    /// Bytes that differ from line to line of a test's memory.
    pub fn counting() -> Self {
        Self(std::array::from_fn(|i| 0x0101_0101_0101_0101 * (i as u64 + 1)))
    }
}

/// A completion record.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct Record([AtomicU64; 4]);

impl Record {
    /// A record on a page of its own that the process has not touched yet, so that no memory is behind it.
    pub fn untouched() -> Result<&'static Self, Box<dyn Error>> {
        // SAFETY: a new mapping at an address of the kernel's choice. It is never unmapped; zeroes, which the first touch
        // makes, are a valid record, and page alignment is enough.
        unsafe {
            let rights = ProtFlags::READ | ProtFlags::WRITE;
            let page = rustix::mm::mmap_anonymous(std::ptr::null_mut(), portal::PAGE_SIZE, rights, MapFlags::PRIVATE)?;
            Ok(&*page.cast::<Self>())
        }
    }

    /// Waits for the status.
    pub fn wait(&self) -> Result<u8, Box<dyn Error>> {
        let start = Instant::now();
        loop {
            match self.0[0].load(Ordering::Acquire) as u8 {
                0 if start.elapsed() > LIMIT => return Err("no completion".into()),
                // SAFETY: CPUID shows the instruction, and the address is readable.
                0 => unsafe {
                    instr::umonitor(self.0.as_ptr().cast());
                    if self.0[0].load(Ordering::Acquire) as u8 == 0 {
                        instr::umwait(instr::WAIT_C02, instr::rdtsc().wrapping_add(100_000));
                    }
                },
                status => return Ok(status),
            }
        }
    }

    fn address(&self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }
}

/// A descriptor that does nothing and completes.
pub fn no_op(record: &Record) -> Descriptor {
    let mut descriptor = Descriptor { completion_addr: record.address(), ..Descriptor::default() };
    descriptor.set_opcode_flags(opcode::NOP, flag::CRAV | flag::RCR);
    descriptor
}

/// A descriptor that copies a line.
pub fn copy(source: &Line, target: &mut Line, record: &Record) -> Descriptor {
    let mut descriptor = Descriptor {
        src_addr: (&raw const *source).expose_provenance() as u64,
        dst_addr: (&raw mut *target).expose_provenance() as u64,
        xfer_size: 64,
        ..no_op(record)
    };
    descriptor.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
    descriptor
}
