//! How an address in a descriptor becomes bytes of this process.
//!
//! The device asks for spans: a run of bytes that starts at an address, is contiguous in host memory and may be
//! shorter than asked for. A page that is absent or forbids the access is a page fault, with the address of the first
//! byte that cannot be reached. What follows from it (block, partial completion, refusal) is the device's business.

mod agreement;
mod checked;
mod device;
mod device_tlb;
mod guest;
mod pasids;
mod ram;
pub(crate) mod trusted;
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod vanishing;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use idxd_sys::limits::PASID_MASK;

use crate::config::ConfigError;

#[cfg(test)]
pub(crate) use ram::tests as ram_tests;

pub use agreement::{Agreement, Audit};
pub use checked::{CheckedMemory, MapError, Permission};
pub use device::DeviceMemory;
pub use device_tlb::{DeviceTlb, Ignored, TlbCounters};
pub use guest::{GuestMemory, IommuState, PATIENCE, PageRequest, PageRequests};
pub use pasids::PasidMemory;
pub use ram::{GuestRam, MAX_RANGES, RamError, RamMap};

/// Size of a page, the granule of faults (bytes).
pub const PAGE_SIZE: u64 = 4096;

/// What the device is about to do with a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// The device reads.
    Read,
    /// The device writes.
    Write,
}

/// A run of host bytes behind an address.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// First byte.
    pub ptr: *mut u8,
    /// Number of bytes, at least 1 and at most what was asked for.
    pub len: usize,
}

/// A page that is not present, or does not allow the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// The first address that cannot be reached.
    pub addr: u64,
}

/// On whose behalf the device reaches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Requester {
    /// The PASID that travels with the access, 20 bits. `None`: the access carries the device's requester id only.
    pub pasid: Option<u32>,
    /// Whether the access may reach supervisor pages. Without a PASID it means nothing.
    pub privileged: bool,
}

impl Requester {
    /// The device itself, without a PASID.
    pub const DEVICE: Self = Self { pasid: None, privileged: false };

    /// An unprivileged access with a PASID, of which 20 bits count.
    pub const fn user(pasid: u32) -> Self {
        Self { pasid: Some(pasid & PASID_MASK), privileged: false }
    }

    /// The same in one word, for an atomic: PASID in bits 19:0, bit 30 if there is none, bit 31 if privileged.
    pub(crate) const fn to_word(self) -> u32 {
        let pasid = match self.pasid {
            Some(pasid) => pasid & PASID_MASK,
            None => NO_PASID,
        };
        pasid | (self.privileged as u32) << 31
    }

    pub(crate) const fn from_word(word: u32) -> Self {
        let pasid = if word & NO_PASID != 0 { None } else { Some(word & PASID_MASK) };
        Self { pasid, privileged: word >> 31 != 0 }
    }
}

const NO_PASID: u32 = 1 << 30;

/// An address space per PASID: translation, and the answer to page requests.
///
/// Accesses are atomic, because several engines, and a submitter that looks at its data, may be at the same bytes at the
/// same time. Each is of one aligned 8-byte word, relaxed; bytes at the ends of a range are written by a compare and
/// exchange of the word they lie in. The word that holds the status of a completion record (its first) is stored last,
/// with release ordering. Who waits for a status loads that whole word with acquire ordering.
///
/// # Safety
///
/// Of every span handed out, all aligned 8-byte words that it touches, also in part, must from the call until the address
/// space is dropped
///
/// * be initialised, and valid for reads and, for [`Access::Write`], for writes;
/// * not lie in memory that Rust code holds a reference to, except to atomics of 8 bytes or through `UnsafeCell`;
/// * be accessed by others only atomically in aligned words of 8 bytes, or so that the access cannot happen at the same
///   time as one of the device.
///
/// The host address must equal the device address modulo 64, so that an aligned record stays aligned. The length must be
/// `1 <= len <= ` the requested one.
///
/// An address space whose memory belongs to somebody who may take it away at any time says so (`may_vanish`, with
/// the feature `trap`); the rules above do not hold for it. Instead, what can be written at the addresses of a span for
/// writing may be written, at any time and whatever is there then, and Rust code holds no reference to it.
///
/// Two more rules are not about safety: implementations must not wait for the device, and a panic in one halts it.
/// Waiting, with a bound, for an operating system that brings in a page is what [`resolve`](Self::resolve) is for, and
/// [`resolve_unless`](Self::resolve_unless) where the bound is more than some milliseconds.
///
/// # Sections
///
/// The device translates between [`begin`](Self::begin) and [`end`](Self::end), and uses the spans of a section only until
/// its end. Inside a section it waits for nothing; it is outside while it asks for a page, raises an interrupt or waits for
/// another descriptor. So whoever takes a page away can wait for the sections that began before: after that the device
/// leaves the page alone. Sections are short, a few spans of at most `Config::chunk` bytes each.
pub unsafe trait AddressSpace: Send + Sync {
    /// Translates up to `len` bytes (at least 1 is asked for) at `addr`. A shorter span is fine: the device asks again.
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault>;

    /// Answers a page request for the page of `addr`: `true` if the access is possible now, `false` to refuse.
    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool;

    /// [`resolve`](Self::resolve) for a device that may be told to stop while it waits: aborted, reset or halted. `stop`
    /// says so, from the thread of the call, and is cheap enough to be asked every time around a loop. The answer is then
    /// `false`.
    ///
    /// The device calls this one. Unless it is implemented too, `stop` is never asked, and whoever stops the device waits
    /// for `resolve`. An address space that wraps another hands it on.
    fn resolve_unless(&self, by: Requester, addr: u64, access: Access, stop: &dyn Fn() -> bool) -> bool {
        let _ = stop;
        self.resolve(by, addr, access)
    }

    /// Begins a section; the answer goes to [`end`](Self::end). Sections of several engines overlap. An address space
    /// that wraps another hands both calls on. The default does nothing: spans may then be used long after the page was
    /// taken away, which is safe by the contract above.
    fn begin(&self) -> usize {
        0
    }

    /// Ends the section of an earlier [`begin`](Self::begin), on the same thread. Reads and writes of the device come
    /// before it, also for other threads if the implementation releases and they acquire.
    fn end(&self, section: usize) {
        let _ = section;
    }

    /// Whether the memory behind a span may become inaccessible while the span is in use, as a process's own may, whose
    /// program can unmap it. The device then looks out for faults at each access, and an access that faults is a page
    /// fault of the device: the descriptor ends as if its page had not been there, without progress, since nobody can
    /// tell what was done. [`Device::with_memory`](crate::Device::with_memory) asks once, and installs the handler of the
    /// module [`trap`](crate::trap) if need be.
    ///
    /// A span's host address is then the address in the descriptor.
    #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
    fn may_vanish(&self) -> bool {
        false
    }
}

/// The address space of a device. Trusted memory has no table to look at, so the fast path avoids the indirect call.
pub(crate) enum Space {
    Trusted,
    Custom(Arc<dyn AddressSpace>),
    #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
    Vanishing(Arc<dyn AddressSpace>),
}

/// Where an access could not be made after all; see [`AddressSpace::may_vanish`].
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
pub(crate) use vanishing::Vanished;
/// Nothing vanishes without the trap handler, which would be told.
#[cfg(not(all(feature = "trap", target_arch = "x86_64", target_os = "linux")))]
pub(crate) struct Vanished {
    pub(crate) addr: u64,
    pub(crate) access: Access,
}

impl Space {
    /// The space of a device whose memory is the user's.
    #[cfg_attr(
        not(all(feature = "trap", target_arch = "x86_64", target_os = "linux")),
        allow(clippy::unnecessary_wraps) // only the handler can be refused
    )]
    pub(crate) fn of(memory: Arc<dyn AddressSpace>) -> Result<Self, ConfigError> {
        #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
        if memory.may_vanish() {
            crate::trap::install().map_err(|_| ConfigError::Handler)?;
            return Ok(Self::Vanishing(memory));
        }
        Ok(Self::Custom(memory))
    }

    /// What has vanished under this thread since the last call.
    #[inline]
    pub(crate) fn vanished(&self) -> Option<Vanished> {
        match self {
            #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
            Self::Vanishing(_) => vanishing::take(),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        match self {
            Self::Trusted => trusted::translate(addr, len),
            Self::Custom(space) => space.translate(by, addr, len, access),
            #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
            Self::Vanishing(space) => space.translate(by, addr, len, access),
        }
    }

    pub(crate) fn resolve(&self, by: Requester, addr: u64, access: Access, stop: &dyn Fn() -> bool) -> bool {
        match self {
            Self::Trusted => false,
            Self::Custom(space) => space.resolve_unless(by, addr, access, stop),
            #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
            Self::Vanishing(space) => space.resolve_unless(by, addr, access, stop),
        }
    }

    /// Begins a section that ends with the value. Not inside another one of the same thread.
    pub(crate) fn section(&self) -> Section<'_> {
        Section { space: self, number: self.begin() }
    }

    #[inline]
    pub(crate) fn begin(&self) -> usize {
        match self {
            Self::Trusted => 0,
            Self::Custom(space) => space.begin(),
            #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
            Self::Vanishing(space) => space.begin(),
        }
    }

    #[inline]
    pub(crate) fn end(&self, section: usize) {
        match self {
            Self::Trusted => {}
            Self::Custom(space) => space.end(section),
            #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
            Self::Vanishing(space) => space.end(section),
        }
    }

    /// Whether other threads may write the bytes while the device reads them: then no reference is ever formed.
    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Self::Trusted)
    }

    /// Copies `to.len()` bytes out of a span.
    ///
    /// # Safety
    ///
    /// The bytes must lie inside a span that this space gave for reading, under the rules of its kind: those
    /// of [`AddressSpace`], or the submitter's promise for trusted memory. The same holds for the functions below, with
    /// spans for writing where they write.
    #[inline]
    pub(crate) unsafe fn load(&self, from: *const u8, to: &mut [u8]) {
        // SAFETY: the caller's promise. Trusted memory is not written by anybody else meanwhile, and `to` is our own.
        unsafe {
            match self {
                Self::Trusted => std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()),
                Self::Custom(_) => words::load(from, to),
                #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
                Self::Vanishing(_) => _ = vanishing::load(from, to),
            }
        }
    }

    /// Copies bytes, of the engine's own or (in trusted memory) a part of the source, to a span.
    ///
    /// # Safety
    ///
    /// As for [`load`](Self::load).
    #[inline]
    pub(crate) unsafe fn store(&self, from: &[u8], to: *mut u8) {
        // SAFETY: as in `load`. In trusted memory `from` may be a slice of the source, hence the copy that allows overlap.
        unsafe {
            match self {
                Self::Trusted => std::ptr::copy(from.as_ptr(), to, from.len()),
                Self::Custom(_) => words::store(from, to),
                #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
                Self::Vanishing(_) => _ = vanishing::store(from, to),
            }
        }
    }

    /// Copies `len` bytes between spans that may overlap.
    ///
    /// # Safety
    ///
    /// As for [`load`](Self::load).
    #[inline]
    pub(crate) unsafe fn copy(&self, from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: as in `load`; both copies allow overlap.
        unsafe {
            match self {
                Self::Trusted => std::ptr::copy(from, to, len),
                Self::Custom(_) => words::copy(from, to, len),
                #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
                Self::Vanishing(_) => vanishing::copy(from, to, len),
            }
        }
    }

    /// Copies `len` bytes to two places, both from one read of the source where that can change.
    ///
    /// # Safety
    ///
    /// As for [`load`](Self::load).
    pub(crate) unsafe fn copy_twice(&self, from: *const u8, to: [*mut u8; 2], len: usize) {
        // SAFETY: as in `load`.
        unsafe {
            match self {
                Self::Trusted => {
                    std::ptr::copy(from, to[0], len);
                    std::ptr::copy(from, to[1], len);
                }
                Self::Custom(_) => words::copy_twice(from, to, len),
                #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
                Self::Vanishing(_) => vanishing::copy_twice(from, to, len),
            }
        }
    }

    /// Repeats a pattern over `len` bytes.
    ///
    /// # Safety
    ///
    /// As for [`load`](Self::load).
    pub(crate) unsafe fn fill(&self, to: *mut u8, len: usize, pattern: [u8; 16]) {
        // SAFETY: as in `load`.
        unsafe {
            match self {
                Self::Trusted => trusted::fill(to, len, pattern),
                Self::Custom(_) => words::fill(to, len, pattern),
                #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
                Self::Vanishing(_) => vanishing::fill(to, len, pattern),
            }
        }
    }

    /// Writes a record: bytes 1 to 31 first, then the status with release ordering, so that whoever loads the status
    /// with acquire ordering and finds it not 0 sees the rest, and the data written before.
    ///
    /// # Safety
    ///
    /// As for [`load`](Self::load), for the 32 bytes at `to`, which must be aligned to 32.
    pub(crate) unsafe fn store_record(&self, record: &[u8; 32], to: *mut u8) {
        // SAFETY: the caller's promise. In trusted memory nobody reads bytes 1 to 31 before the status is there; the status
        // byte is written atomically because a poller loads it at the same time.
        unsafe {
            match self {
                Self::Trusted => {
                    std::ptr::copy_nonoverlapping(record.as_ptr().add(1), to.add(1), 31);
                    AtomicU8::from_ptr(to).store(record[0], Ordering::Release);
                }
                Self::Custom(_) => words::store_record(record, to),
                #[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
                Self::Vanishing(_) => vanishing::store_record(record, to),
            }
        }
    }
}

/// A section of an address space; see [`AddressSpace`].
pub(crate) struct Section<'a> {
    space: &'a Space,
    number: usize,
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        self.space.end(self.number);
    }
}
