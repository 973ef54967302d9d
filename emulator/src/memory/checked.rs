//! Checked memory: page-granular arenas at addresses chosen by the user, for hostile submitters and fault tests.
//!
//! Arenas are append-only: taking a page away clears its bits and keeps the bytes, so a span handed out earlier stays
//! valid for as long as the memory lives. Nobody ever forms a reference to arena bytes; all reads and writes, those of the
//! device included, are atomic accesses of whole words (`words`).

use std::cell::UnsafeCell;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU8, Ordering};

use thiserror::Error;

use super::{Access, AddressSpace, GuestRam, PAGE_SIZE, PageFault, Requester, Span, words};

const PRESENT: u8 = 1;
const READABLE: u8 = 2;
const WRITABLE: u8 = 4;
const RESOLVABLE: u8 = 8;

/// Pages joined into one span at most (64 KiB).
const MAX_PAGES_PER_SPAN: u64 = 16;

/// What the device may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Reads only.
    ReadOnly,
    /// Writes only.
    WriteOnly,
    /// Both.
    ReadWrite,
}

impl Permission {
    /// Whether an access is allowed.
    pub const fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => !matches!(self, Self::WriteOnly),
            Access::Write => !matches!(self, Self::ReadOnly),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::ReadOnly => READABLE,
            Self::WriteOnly => WRITABLE,
            Self::ReadWrite => READABLE | WRITABLE,
        }
    }
}

/// Why an arena could not be mapped, or a range not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MapError {
    /// Address or length is not a multiple of the page size, or the length is 0.
    #[error("address and length must be multiples of 4096, and the length not 0")]
    Misaligned,
    /// The range wraps around the end of the address space.
    #[error("the range does not fit into the address space")]
    Wraps,
    /// The range overlaps an arena.
    #[error("the range overlaps an existing arena")]
    Overlap,
    /// A part of the range belongs to no arena.
    #[error("no arena at {0:#x}")]
    NotMapped(u64),
}

#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE_SIZE as usize]>);

struct Arena {
    base: u64,
    pages: Box<[Page]>,
    bits: Box<[AtomicU8]>,
}

// SAFETY: the bytes are only reached through `words`, here and in the device, hence atomically and in one size; the
// page bits are atomics.
unsafe impl Sync for Arena {}

impl Arena {
    /// The index of the page that holds `addr`.
    fn page_of(&self, addr: u64) -> Option<usize> {
        let page = (addr.checked_sub(self.base)? / PAGE_SIZE) as usize;
        (page < self.pages.len()).then_some(page)
    }

    fn last(&self) -> u64 {
        self.base + (self.pages.len() as u64 * PAGE_SIZE - 1)
    }

    fn ptr(&self, addr: u64) -> *mut u8 {
        let offset = (addr - self.base) as usize;
        debug_assert!(offset < self.pages.len() * PAGE_SIZE as usize);
        // The cell makes writing through the shared slice legal, and the pages of one box are contiguous.
        self.pages.as_ptr().cast_mut().cast::<u8>().wrapping_add(offset)
    }
}

/// Device-visible memory with present and permission bits per page. The same for every PASID.
#[derive(Default)]
pub struct CheckedMemory {
    arenas: RwLock<Vec<Arena>>,
}

impl CheckedMemory {
    /// Memory without any arena: every access faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a zeroed, present arena of `len` bytes at `addr`, both multiples of [`PAGE_SIZE`].
    pub fn map(&self, addr: u64, len: u64, permission: Permission) -> Result<(), MapError> {
        if len == 0 || !addr.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
            return Err(MapError::Misaligned);
        }
        let last = addr.checked_add(len - 1).ok_or(MapError::Wraps)?;
        let mut arenas = self.arenas.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if arenas.iter().any(|a| a.base <= last && addr <= a.last()) {
            return Err(MapError::Overlap);
        }
        let count = (len / PAGE_SIZE) as usize;
        arenas.push(Arena {
            base: addr,
            pages: (0..count).map(|_| Page(UnsafeCell::new([0; PAGE_SIZE as usize]))).collect(),
            bits: (0..count).map(|_| AtomicU8::new(PRESENT | permission.bits())).collect(),
        });
        Ok(())
    }

    /// Makes the pages of a range present or absent. An absent page faults; a page request for it is refused unless
    /// [`set_resolvable`](Self::set_resolvable) allows it. Descriptors already running may finish their current span.
    pub fn set_present(&self, addr: u64, len: u64, present: bool) -> Result<(), MapError> {
        self.change(addr, len, |bits| if present { bits | PRESENT } else { bits & !PRESENT })
    }

    /// Decides whether page requests for absent pages of a range succeed.
    pub fn set_resolvable(&self, addr: u64, len: u64, resolvable: bool) -> Result<(), MapError> {
        self.change(addr, len, |bits| if resolvable { bits | RESOLVABLE } else { bits & !RESOLVABLE })
    }

    /// Changes what the device may do with the pages of a range.
    pub fn protect(&self, addr: u64, len: u64, permission: Permission) -> Result<(), MapError> {
        self.change(addr, len, |bits| bits & !(READABLE | WRITABLE) | permission.bits())
    }

    /// Copies bytes out, whatever the page bits say. Not ordered against a running device, apart from what
    /// [`status`](Self::status) orders.
    pub fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MapError> {
        self.pieces(addr, buf.len(), |at, ptr, n| {
            // SAFETY: `n` bytes of an arena, which consists of whole, initialised words that everybody accesses
            // like this.
            unsafe { words::load(ptr, &mut buf[at..at + n]) };
        })
    }

    /// Copies bytes in, whatever the page bits say.
    pub fn write(&self, addr: u64, buf: &[u8]) -> Result<(), MapError> {
        self.pieces(addr, buf.len(), |at, ptr, n| {
            // SAFETY: as in `read`; the arena is in an `UnsafeCell`, so writing is fine.
            unsafe { words::store(&buf[at..at + n], ptr) };
        })
    }

    /// Loads one byte with acquire ordering: the status of a completion record. Once it is not 0, a
    /// [`read`](Self::read) sees the rest of the record and the data.
    pub fn status(&self, addr: u64) -> Result<u8, MapError> {
        let mut status = 0;
        self.pieces(addr, 1, |_, ptr, _| {
            // SAFETY: as in `read`.
            status = unsafe { words::load_acquire(ptr) };
        })?;
        Ok(status)
    }

    fn change(&self, addr: u64, len: u64, f: impl Fn(u8) -> u8) -> Result<(), MapError> {
        if len == 0 || !addr.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
            return Err(MapError::Misaligned);
        }
        addr.checked_add(len - 1).ok_or(MapError::Wraps)?;
        let arenas = self.arenas.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let find = |page: u64| arenas.iter().find_map(|a| a.page_of(page).map(|i| &a.bits[i]));
        let pages = || (0..len / PAGE_SIZE).map(|i| addr + i * PAGE_SIZE);
        if let Some(hole) = pages().find(|page| find(*page).is_none()) {
            return Err(MapError::NotMapped(hole));
        }
        for bits in pages().filter_map(find) {
            bits.store(f(bits.load(Ordering::Relaxed)), Ordering::Release);
        }
        Ok(())
    }

    /// Calls `f(offset, host pointer, length)` for each piece of a range, after checking that all of it exists.
    fn pieces(&self, addr: u64, len: usize, mut f: impl FnMut(usize, *mut u8, usize)) -> Result<(), MapError> {
        if len == 0 {
            return Ok(());
        }
        let last = addr.checked_add(len as u64 - 1).ok_or(MapError::Wraps)?;
        let arenas = self.arenas.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        for check in [true, false] {
            let mut at = addr;
            loop {
                let arena = arenas.iter().find(|a| a.page_of(at).is_some()).ok_or(MapError::NotMapped(at))?;
                let end = last.min(arena.last());
                if !check {
                    f((at - addr) as usize, arena.ptr(at), (end - at + 1) as usize);
                }
                if end == last {
                    break;
                }
                at = end + 1;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for CheckedMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arenas = self.arenas.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        f.debug_list().entries(arenas.iter().map(|a| a.base..=a.last())).finish()
    }
}

// SAFETY: spans lie inside arenas, which live as long as `self` (they are never removed, and growing the vector moves the
// boxes, not the pages). They start zeroed and consist of whole words, which this module accesses like the device, through
// `words`. Pages are 4096-byte aligned in the host, so addresses agree modulo 64. Lengths are cut to the request and to
// present pages. No reference to arena bytes exists anywhere.
unsafe impl AddressSpace for CheckedMemory {
    fn translate(&self, _by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        let arenas = self.arenas.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some((arena, first)) = arenas.iter().find_map(|a| a.page_of(addr).map(|page| (a, page))) else {
            return Err(PageFault { addr });
        };
        let need = PRESENT
            | match access {
                Access::Read => READABLE,
                Access::Write => WRITABLE,
            };
        let wanted = (addr % PAGE_SIZE).saturating_add(len).div_ceil(PAGE_SIZE).min(MAX_PAGES_PER_SPAN) as usize;
        let pages =
            arena.bits[first..].iter().take(wanted).take_while(|b| b.load(Ordering::Acquire) & need == need).count();
        if pages == 0 {
            return Err(PageFault { addr });
        }
        let reach = pages as u64 * PAGE_SIZE - addr % PAGE_SIZE;
        Ok(Span { ptr: arena.ptr(addr), len: reach.min(len) as usize })
    }

    fn resolve(&self, _by: Requester, addr: u64, access: Access) -> bool {
        let arenas = self.arenas.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(bits) = arenas.iter().find_map(|a| a.page_of(addr).map(|page| &a.bits[page])) else {
            return false;
        };
        let value = bits.load(Ordering::Acquire);
        let need = match access {
            Access::Read => READABLE,
            Access::Write => WRITABLE,
        };
        if value & need == 0 {
            return false;
        }
        if value & PRESENT == 0 && value & RESOLVABLE != 0 {
            bits.fetch_or(PRESENT, Ordering::AcqRel);
        }
        bits.load(Ordering::Acquire) & PRESENT != 0
    }
}

// SAFETY: as above. The bits of a page say what a device may do that uses the memory directly; the bytes are there in any
// case, for reads and writes.
unsafe impl GuestRam for CheckedMemory {
    fn span(&self, addr: u64, len: u64) -> Option<Span> {
        let arenas = self.arenas.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let arena = arenas.iter().find(|arena| arena.page_of(addr).is_some())?;
        Some(Span { ptr: arena.ptr(addr), len: (arena.last() - addr).saturating_add(1).min(len) as usize })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: Requester = Requester::user(1);

    #[test]
    fn arenas_must_be_aligned_disjoint_and_fit() {
        let m = CheckedMemory::new();
        assert_eq!(m.map(1, PAGE_SIZE, Permission::ReadWrite), Err(MapError::Misaligned));
        assert_eq!(m.map(0, 0, Permission::ReadWrite), Err(MapError::Misaligned));
        assert_eq!(m.map(0u64.wrapping_sub(PAGE_SIZE), 2 * PAGE_SIZE, Permission::ReadWrite), Err(MapError::Wraps));
        m.map(0u64.wrapping_sub(PAGE_SIZE), PAGE_SIZE, Permission::ReadWrite).unwrap();
        m.map(0x2000, 0x2000, Permission::ReadWrite).unwrap();
        assert_eq!(m.map(0x3000, 0x1000, Permission::ReadWrite), Err(MapError::Overlap));
        m.map(0x4000, 0x1000, Permission::ReadWrite).unwrap();
    }

    #[test]
    fn reads_and_writes_cross_arenas_and_stop_at_holes() {
        let m = CheckedMemory::new();
        m.map(0x2000, 0x1000, Permission::ReadWrite).unwrap();
        m.map(0x3000, 0x1000, Permission::ReadOnly).unwrap();
        let data: Vec<u8> = (0..=255).collect();
        m.write(0x2f80, &data).unwrap();
        let mut back = vec![0; 256];
        m.read(0x2f80, &mut back).unwrap();
        assert_eq!(back, data);
        assert_eq!(m.write(0x3f80, &data), Err(MapError::NotMapped(0x4000)));
        assert_eq!(m.read(u64::MAX - 3, &mut back), Err(MapError::Wraps));
        let mut tail = [1; 0x80];
        m.read(0x3f80, &mut tail).unwrap();
        assert_eq!(tail, [0; 0x80], "a failed write must not write a part");
    }

    #[test]
    fn spans_stop_at_absent_and_forbidden_pages() {
        let m = CheckedMemory::new();
        m.map(0x1000, 0x4000, Permission::ReadWrite).unwrap();
        m.set_present(0x3000, 0x1000, false).unwrap();
        m.protect(0x2000, 0x1000, Permission::ReadOnly).unwrap();
        assert_eq!(m.translate(BY, 0x1ff0, 0x9000, Access::Read).unwrap().len, 0x1010);
        assert_eq!(m.translate(BY, 0x1ff0, 0x9000, Access::Write).unwrap().len, 0x10);
        assert_eq!(m.translate(BY, 0x2004, 1, Access::Write).unwrap_err(), PageFault { addr: 0x2004 });
        assert_eq!(m.translate(BY, 0x4ff0, u64::MAX, Access::Read).unwrap().len, 0x10);
        assert!(m.translate(BY, 0x5000, 1, Access::Read).is_err());
    }

    #[test]
    fn as_physical_memory_it_is_there_whatever_the_bits_say() {
        let m = CheckedMemory::new();
        m.map(0x1000, 0x2000, Permission::ReadOnly).unwrap();
        m.set_present(0x2000, 0x1000, false).unwrap();
        assert_eq!(m.span(0x1ff8, 0x9000).unwrap().len, 0x1008);
        assert_eq!(m.span(0x1ff8, 8).unwrap().len, 8);
        assert!(m.span(0x3000, 1).is_none() && m.span(0xfff, 1).is_none());
        assert_eq!(m.replace(0x2008, 0, 7), Some(true));
        let mut bytes = [0; 8];
        m.read(0x2008, &mut bytes).unwrap();
        assert_eq!(bytes, 7u64.to_ne_bytes());
    }

    #[test]
    fn a_page_request_is_answered_by_the_resolvable_bit() {
        let m = CheckedMemory::new();
        m.map(0x1000, 0x2000, Permission::ReadOnly).unwrap();
        m.set_present(0x1000, 0x2000, false).unwrap();
        m.set_resolvable(0x1000, 0x1000, true).unwrap();
        assert!(m.resolve(BY, 0x1234, Access::Read));
        assert!(m.translate(BY, 0x1234, 4, Access::Read).is_ok());
        assert!(!m.resolve(BY, 0x1234, Access::Write), "permission is not granted by a page request");
        assert!(!m.resolve(BY, 0x2234, Access::Read));
        assert!(!m.resolve(BY, 0x9000, Access::Read));
    }
}
