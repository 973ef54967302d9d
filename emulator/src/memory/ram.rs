//! Guest-physical memory, as a device model sees it: a few mapped ranges.
//!
//! The guest's processors access it at the same time. Like all memory of a device that is not trusted, it is only
//! accessed atomically and in whole words.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use thiserror::Error;

use super::{PAGE_SIZE, Span};

/// Most ranges of a [`RamMap`].
pub const MAX_RANGES: usize = 16;

/// Physical memory of a machine.
///
/// # Safety
///
/// The bytes of every span handed out must obey the rules of [`AddressSpace`](super::AddressSpace), for reads and writes,
/// until the implementing value is dropped. Host and physical address must agree modulo [`PAGE_SIZE`].
pub unsafe trait GuestRam: Send + Sync {
    /// The host bytes at a physical address, as many of `len` (at least 1) as lie in one piece. `None` if there is no
    /// memory.
    fn span(&self, addr: u64, len: u64) -> Option<Span>;

    /// Loads a naturally aligned word, with acquire ordering.
    fn load(&self, addr: u64) -> Option<u64> {
        Some(word(self, addr)?.load(Ordering::Acquire))
    }

    /// Replaces a naturally aligned word if it is still what it was. `Some(false)` if it is not.
    fn replace(&self, addr: u64, old: u64, new: u64) -> Option<bool> {
        Some(word(self, addr)?.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }
}

fn word<R: GuestRam + ?Sized>(ram: &R, addr: u64) -> Option<&AtomicU64> {
    if !addr.is_multiple_of(8) {
        return None;
    }
    let span = ram.span(addr, 8).filter(|span| span.len == 8)?;
    // SAFETY: the trait's rules: a whole word, aligned as its address is, initialised, valid while `ram` is borrowed, and
    // only accessed atomically in this size.
    Some(unsafe { AtomicU64::from_ptr(span.ptr.cast()) })
}

/// Why a range could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RamError {
    /// Physical address, host address or length is not a multiple of the page size, or the length is 0.
    #[error("addresses and length must be multiples of 4096, and the length not 0")]
    Misaligned,
    /// The range wraps around.
    #[error("the range does not fit into the address space")]
    Wraps,
    /// The range overlaps one that is there.
    #[error("the range overlaps an existing one")]
    Overlap,
    /// There are [`MAX_RANGES`] ranges.
    #[error("no more ranges can be added")]
    Full,
}

struct Range {
    base: u64,
    len: u64,
    ptr: *mut u8,
    /// Whatever keeps the memory mapped.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: `ptr` is only an address; what may be done with the bytes behind it, from any thread, is the contract of
// `RamMap::add`.
unsafe impl Send for Range {}
// SAFETY: as above.
unsafe impl Sync for Range {}

/// Physical memory made of ranges, such as low memory and what lies above 4 GiB. Ranges can be added at any time, and
/// never go away. Looking one up takes no lock.
#[derive(Default)]
pub struct RamMap {
    ranges: [OnceLock<Range>; MAX_RANGES],
    adding: Mutex<()>,
}

impl RamMap {
    /// No memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `len` bytes of host memory as physical memory at `base`. `owner` is dropped with the map.
    ///
    /// # Safety
    ///
    /// The bytes at `ptr` must be initialised and valid for reads and writes until `owner` is dropped, and until the map is
    /// dropped others must access them only as [`AddressSpace`](super::AddressSpace) allows, atomically in aligned words, or
    /// through other mappings of the same memory, as another processor would.
    pub unsafe fn add(&self, base: u64, ptr: *mut u8, len: u64, owner: impl Any + Send + Sync) -> Result<(), RamError> {
        let aligned = |value: u64| value.is_multiple_of(PAGE_SIZE);
        if len == 0 || !aligned(base) || !aligned(len) || !aligned(ptr.addr() as u64) {
            return Err(RamError::Misaligned);
        }
        let last = base.checked_add(len - 1).ok_or(RamError::Wraps)?;
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if self.iter().any(|r| r.base <= last && base < r.base + r.len) {
            return Err(RamError::Overlap);
        }
        let free = self.ranges.iter().find(|slot| slot.get().is_none()).ok_or(RamError::Full)?;
        let added = free.set(Range { base, len, ptr, _owner: Box::new(owner) });
        debug_assert!(added.is_ok(), "slots are only filled under the lock");
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &Range> {
        self.ranges.iter().map_while(OnceLock::get)
    }
}

impl std::fmt::Debug for RamMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|r| r.base..r.base + r.len)).finish()
    }
}

// SAFETY: spans lie inside ranges, whose bytes are as the trait asks by the contract of `add` and live until the map is
// dropped, which drops their owners. Bases and pointers are multiples of the page size.
unsafe impl GuestRam for RamMap {
    fn span(&self, addr: u64, len: u64) -> Option<Span> {
        self.iter().find_map(|r| {
            let offset = addr.checked_sub(r.base).filter(|offset| *offset < r.len)?;
            Some(Span { ptr: r.ptr.wrapping_add(offset as usize), len: len.min(r.len - offset) as usize })
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[repr(C, align(4096))]
    struct Page([AtomicU64; 512]);

    /// Zeroed memory of its own.
    pub(crate) fn ram(ranges: &[(u64, u64)]) -> RamMap {
        let map = RamMap::new();
        for (base, len) in ranges {
            add(&map, *base, *len).unwrap();
        }
        map
    }

    fn add(map: &RamMap, base: u64, len: u64) -> Result<(), RamError> {
        let pages: Box<[Page]> = (0..len / PAGE_SIZE).map(|_| Page([const { AtomicU64::new(0) }; 512])).collect();
        let ptr = pages.as_ptr().cast_mut().cast();
        // SAFETY: the box owns the bytes, all of them atomics, and goes along as the owner.
        unsafe { map.add(base, ptr, len, pages) }
    }

    #[test]
    fn low_and_high_memory_are_found_and_the_hole_is_not() {
        let ram = ram(&[(0, 0x4000), (1 << 32, 0x2000)]);
        assert_eq!(ram.span(0x3ff0, 0x100).unwrap().len, 0x10);
        assert_eq!(ram.span(1 << 32, 8).unwrap().len, 8);
        assert!(ram.span(0x4000, 1).is_none() && ram.span((1 << 32) + 0x2000, 1).is_none());
        assert_eq!(ram.replace((1 << 32) + 8, 0, 7), Some(true));
        assert_eq!(ram.replace((1 << 32) + 8, 0, 8), Some(false));
        assert_eq!(
            [ram.load((1 << 32) + 8), ram.load(0), ram.load(4), ram.load(0x4000)],
            [Some(7), Some(0), None, None]
        );
    }

    #[test]
    fn ranges_must_be_aligned_disjoint_and_few() {
        let ram = ram(&[(0x4000, 0x2000)]);
        assert_eq!(add(&ram, 0x100, 0x1000), Err(RamError::Misaligned));
        assert_eq!(add(&ram, 0x5000, 0x1000), Err(RamError::Overlap));
        assert_eq!(add(&ram, 0x3000, 0x2000), Err(RamError::Overlap));
        assert_eq!(add(&ram, 0u64.wrapping_sub(0x1000), 0x2000), Err(RamError::Wraps));
        for i in 1..MAX_RANGES as u64 {
            add(&ram, 0x1_0000 * i, 0x1000).unwrap();
        }
        assert_eq!(add(&ram, 0, 0x1000), Err(RamError::Full));
    }
}
