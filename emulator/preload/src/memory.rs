//! The program's own memory, as the device sees it through shared virtual addressing.
//!
//! On hardware the IOMMU walks the page tables of the process. A page that is not in them, or not for this access, is a
//! page fault: the descriptor ends there, or the device asks the system for the page and waits. Here the accesses are made
//! by a thread of the process, for which the system brings in pages without a word. So the page tables are asked first, by
//! `/proc/self/pagemap`:
//!
//! * a page that is not present faults, also where an access would bring it in; [`resolve`](OwnMemory::resolve) makes that
//!   access;
//! * what is present is tried by an access that changes nothing, which finds out about protection;
//! * a page that is present and would be copied by a write (the zero page, pages shared with a child, private pages of a
//!   file) faults at the write. The table does not say so in as many words, but its entry changes when the page is
//!   written: so it is read, the page is written with what it has, and the entry is read again. The write that does this
//!   faults, and finds a page of its own when it is resumed.
//!
//! Not seen: a page that nobody shares any more and that is still write-protected in the tables. Hardware would fault there.
//!
//! The program may unmap what was found to be present while the device works on it. Accesses that fault are stepped over by
//! the trap handler and end as faults of the device (`AddressSpace::may_vanish`). The other way, reading and writing
//! through the kernel (`process_vm_readv`), needs a system call and a copy more for each piece, and gives no order between
//! the bytes of a record.

use std::sync::atomic::{AtomicI32, Ordering};

use dsa_emulator::trap::{is_readable, is_writable};
use dsa_emulator::{Access, AddressSpace, PageFault, Requester, Span};

const PAGE: u64 = 4096;

/// First address above the user half of a 48-bit address space.
const USER_END: u64 = 1 << 47;

/// Pages joined into one span at most (64 KiB).
const MOST: usize = 16;

/// Bits of an entry of `/proc/self/pagemap`.
mod entry {
    /// The page is in the page tables.
    pub(super) const PRESENT: u64 = 1 << 63;
    /// It belongs to a file, or to shared memory.
    pub(super) const FILE: u64 = 1 << 61;
    /// Nobody else has it mapped.
    pub(super) const EXCLUSIVE: u64 = 1 << 56;
    /// Which page it is; 0 for those who may not know.
    const FRAME: u64 = (1 << 55) - 1;
    /// What changes when a page is copied.
    pub(super) const IDENTITY: u64 = PRESENT | FILE | EXCLUSIVE | FRAME;
}

/// The file of the page tables, or -1. Of this process: a child's is another one, see [`forget`].
static PAGEMAP: AtomicI32 = AtomicI32::new(-1);

/// See the module.
pub(crate) struct OwnMemory {
    /// Every page that can be accessed counts as present.
    is_locked: bool,
}

impl OwnMemory {
    /// Opens the page tables, unless they are of no interest. Where they cannot be had it is the same.
    pub(crate) fn new(is_locked: bool) -> Self {
        if !is_locked {
            open_pagemap();
        }
        Self { is_locked }
    }
}

/// Whether the file descriptor is the library's own, which the program must not close.
pub(crate) fn is_ours(file: i32) -> bool {
    file >= 0 && file == PAGEMAP.load(Ordering::Relaxed)
}

/// The library's own file descriptor, if it is among these.
pub(crate) fn ours_in(first: u32, last: u32) -> Option<u32> {
    u32::try_from(PAGEMAP.load(Ordering::Relaxed)).ok().filter(|file| (first..=last).contains(file))
}

/// In a child: the page tables are those of the parent.
pub(crate) fn forget() {
    let file = PAGEMAP.swap(-1, Ordering::Relaxed);
    if file >= 0 {
        // SAFETY: our own file, which nobody uses in this process.
        unsafe { libc::syscall(libc::SYS_close, file) };
    }
}

fn open_pagemap() {
    // SAFETY: the path is a C string. A system call, since the function's name may belong to somebody else.
    let file = unsafe {
        libc::syscall(
            libc::SYS_openat,
            libc::AT_FDCWD,
            c"/proc/self/pagemap".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    let Ok(file) = i32::try_from(file) else { return };
    if file < 0 {
        return;
    }
    // Far away from the numbers that programs give their own files.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is our own.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let high = i32::try_from(limit.rlim_cur).unwrap_or(i32::MAX).min(1 << 16).saturating_sub(16).max(3);
    // SAFETY: our own file, which is closed once there is another number for it.
    unsafe {
        let moved = libc::fcntl(file, libc::F_DUPFD_CLOEXEC, high);
        if moved >= 0 {
            libc::syscall(libc::SYS_close, file);
            PAGEMAP.store(moved, Ordering::Relaxed);
        } else {
            PAGEMAP.store(file, Ordering::Relaxed);
        }
    }
}

/// The entries of the pages from number `first` on. False if they cannot be had.
fn entries(first: u64, to: &mut [u64]) -> bool {
    let file = PAGEMAP.load(Ordering::Relaxed);
    let (length, offset) = (size_of_val(to), first * size_of::<u64>() as u64);
    // SAFETY: the buffer is `to`.
    file >= 0
        && unsafe { libc::pread(file, to.as_mut_ptr().cast(), length, offset.cast_signed()) } == length.cast_signed()
}

// SAFETY: it says that memory may vanish. Writable addresses are those that the program has put into a descriptor for the
// device to write; where it lies about them - a stack, somebody's heap - the program is told nothing that hardware would
// not do to it. No reference of this library's own is among them, but by such a lie.
unsafe impl AddressSpace for OwnMemory {
    fn translate(&self, _by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        if !(PAGE..USER_END).contains(&addr) {
            return Err(PageFault { addr });
        }
        let first = addr / PAGE;
        let wanted = (addr % PAGE).saturating_add(len).div_ceil(PAGE).min(MOST as u64).min(USER_END / PAGE - first);
        let mut before = [0; MOST];
        let before = &mut before[..wanted as usize];
        let is_known = !self.is_locked && entries(first, before);
        let is_present = |(page, entry): &(usize, &u64)| {
            let at = addr.max((first + *page as u64) * PAGE);
            (!is_known || **entry & entry::PRESENT != 0)
                && match access {
                    Access::Read => is_readable(at),
                    // SAFETY: the device is about to write there. The byte keeps its value.
                    Access::Write => unsafe { is_writable(at) },
                }
        };
        let mut pages = before.iter().enumerate().take_while(is_present).count();
        let may_be_copied = |entry: &u64| entry & (entry::FILE | entry::EXCLUSIVE) != entry::EXCLUSIVE;
        if is_known && access == Access::Write && before[..pages].iter().any(may_be_copied) {
            let mut after = [0; MOST];
            if entries(first, &mut after[..pages]) {
                let is_same = |(before, after): &(&u64, &u64)| (*before ^ *after) & entry::IDENTITY == 0;
                pages = before[..pages].iter().zip(&after).take_while(is_same).count();
            }
        }
        if pages == 0 {
            return Err(PageFault { addr });
        }
        let reach = pages as u64 * PAGE - addr % PAGE;
        let ptr = std::ptr::with_exposed_provenance_mut(addr as usize);
        Ok(Span { ptr, len: reach.min(len) as usize })
    }

    /// Brings the page in by an access, as the system would on the device's request.
    fn resolve(&self, _by: Requester, addr: u64, access: Access) -> bool {
        if !(PAGE..USER_END).contains(&addr) {
            return false;
        }
        match access {
            Access::Read => is_readable(addr),
            // SAFETY: as in `translate`.
            Access::Write => unsafe { is_writable(addr) },
        }
    }

    fn may_vanish(&self) -> bool {
        true
    }
}
