//! Copies to one destination. Those to two are in [`dualcast`](super::dualcast).
//!
//! Up to 256 bytes everything is loaded from both ends before anything is stored, and how is up to the CPU alone. Up to 4 KiB there is one
//! kernel for all; above that it is taken from a table by size and hint ([`Tuning`](super::Tuning)).

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod high;
mod small;
#[cfg(target_arch = "x86_64")]
mod string;
mod table;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vector;

use std::ptr;

#[cfg(any(test, feature = "internals"))]
use super::kernel;
use super::{Hint, Tier};

pub use table::CopyTable;

/// Bytes up to which nobody asks for the tier.
const SMALL: usize = 32;
/// Bytes up to which no kernel is chosen.
pub(crate) const MEDIUM: usize = 256;

/// Copies `len` bytes; the regions may overlap (memory move, opcode 0x03).
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes and `dst` for writing as many, and nobody else accesses those of `dst` or
/// writes those of `src` meanwhile. The pointers may be anything if `len` is 0. Bytes are copied: of a pointer among them its
/// address, and no more.
#[inline]
pub unsafe fn copy(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { copy_with(Hint::Unknown, src, dst, len) }
}

/// As [`copy`], with what is known of the bytes.
///
/// # Safety
///
/// As for [`copy`].
#[inline]
pub unsafe fn copy_with(hint: Hint, src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe {
        if len <= SMALL {
            small::copy(src, dst, len);
        } else {
            more(src, dst, len, hint);
        }
    }
}

/// More than [`SMALL`] bytes. A function of its own, with the arguments of the kernels, so that it is no more than a jump, and a caller
/// keeps its registers.
///
/// # Safety
///
/// As for [`copy`].
#[inline(never)]
unsafe fn more(src: *const u8, dst: *mut u8, len: usize, hint: Hint) {
    // SAFETY: the caller's promise.
    unsafe { if len <= MEDIUM { medium(src, dst, len) } else { large(src, dst, len, hint) } }
}

/// # Safety
///
/// As for [`copy`]; `len` is above [`SMALL`] and at most [`MEDIUM`].
#[inline]
unsafe fn medium(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise, and the CPU has the tier.
    unsafe {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if let Some(vectors) = high::Vectors::known() {
            return high::copy(vectors, src, dst, len);
        }
        medium_below(src, dst, len);
    }
}

/// The same on lower tiers, or before anybody has asked.
///
/// # Safety
///
/// As for [`medium`].
#[inline(never)]
unsafe fn medium_below(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise, and the CPU has the tier.
    unsafe {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if Tier::current() == Tier::Avx512 {
            return high::copy(high::Vectors::find(), src, dst, len);
        }
        #[cfg(target_arch = "x86_64")]
        if len > 64 && Tier::current() >= Tier::Avx2 {
            return vector::medium(src, dst, len);
        }
        if len <= 64 {
            small::two_each(src, dst, len);
        } else {
            ptr::copy(src, dst, len);
        }
    }
}

/// # Safety
///
/// As for [`copy`]; `len` is above [`MEDIUM`].
#[inline(never)]
unsafe fn large(src: *const u8, dst: *mut u8, len: usize, hint: Hint) {
    let table = &super::tuning::current().copy;
    let kernel = if len < table::LEAST { table.middle() } else { table.entry(hint, len) };
    // SAFETY: the caller's promise, and a table has kernels of this CPU only.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if !overlap(src, dst, len) {
            // The most frequent ones first.
            if kernel == Some(CopyKernel::Avx2) {
                return vector::avx2(src, dst, len);
            }
            if kernel == Some(CopyKernel::Avx512) {
                return vector::avx512(src, dst, len);
            }
        }
        match kernel {
            Some(kernel) => rarely(src, dst, len, kernel, table),
            None => first(src, dst, len, hint),
        }
    }
}

/// Regions that overlap, or another kernel.
///
/// # Safety
///
/// As for [`large`].
#[inline(never)]
unsafe fn rarely(src: *const u8, dst: *mut u8, len: usize, kernel: CopyKernel, table: &CopyTable) {
    // What the library and the string instruction fall into, and the vectors know how to avoid.
    #[cfg(target_arch = "x86_64")]
    let kernel = match kernel {
        CopyKernel::Library | CopyKernel::String if vector::is_aliased(src, dst) => table.vectors(),
        _ => kernel,
    };
    let _ = table;
    // SAFETY: the caller's promise, and a table has kernels of this CPU only.
    unsafe { copy_by(kernel, src, dst, len) }
}

/// Whether two regions of `len` bytes, which is not 0, have a byte in common.
#[cfg(target_arch = "x86_64")]
#[inline]
fn overlap(src: *const u8, dst: *mut u8, len: usize) -> bool {
    // The distance is one of the `2 * len - 1` that are too small.
    dst.addr().wrapping_sub(src.addr()).wrapping_add(len - 1) <= 2 * (len - 1)
}

/// Nobody has chosen kernels yet.
///
/// # Safety
///
/// As for [`copy`].
#[cold]
#[inline(never)]
unsafe fn first(src: *const u8, dst: *mut u8, len: usize, hint: Hint) {
    super::tuning::first();
    // SAFETY: the caller's promise.
    unsafe { copy_with(hint, src, dst, len) }
}

/// A way to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum CopyKernel {
    /// The C library's `memmove`.
    Library,
    /// The instruction `rep movsb`.
    String,
    /// Vectors of 32 bytes.
    Avx2,
    /// Vectors of 64 bytes.
    Avx512,
    /// Vectors of 16 bytes, past the caches.
    StreamSse2,
    /// Vectors of 32 bytes, past the caches.
    StreamAvx2,
}

impl CopyKernel {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Library, Self::String, Self::Avx2, Self::Avx512, Self::StreamSse2, Self::StreamAvx2];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::String => "string",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::StreamSse2 => "stream-sse2",
            Self::StreamAvx2 => "stream-avx2",
        }
    }

    /// The kernel of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kernel| kernel.name() == name)
    }

    /// Whether it goes past the caches.
    pub(crate) const fn is_streaming(self) -> bool {
        matches!(self, Self::StreamSse2 | Self::StreamAvx2)
    }

    /// The least tier that it needs. Without x86 there is the library only.
    pub const fn tier(self) -> Tier {
        match self {
            Self::Library | Self::String | Self::StreamSse2 => Tier::Portable,
            Self::Avx2 | Self::StreamAvx2 => Tier::Avx2,
            Self::Avx512 => Tier::Avx512,
        }
    }
}

/// Copies by one kernel, if the regions do not overlap: else by the library.
///
/// # Safety
///
/// As for [`copy`], and the CPU has the kernel's [tier](CopyKernel::tier). If it is not the library, `len` is above
/// [`MEDIUM`].
#[inline]
pub(crate) unsafe fn copy_by(kernel: CopyKernel, src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise. Whatever is not a kernel for this may overlap.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if kernel != CopyKernel::Library && !overlap(src, dst, len) {
            match kernel {
                CopyKernel::Library => {}
                CopyKernel::String => return string::copy(src, dst, len),
                CopyKernel::Avx2 => return vector::avx2(src, dst, len),
                CopyKernel::Avx512 => return vector::avx512(src, dst, len),
                CopyKernel::StreamSse2 => return vector::stream_sse2(src, dst, len),
                CopyKernel::StreamAvx2 => return vector::stream_avx2(src, dst, len),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = kernel;
        if len != 0 {
            ptr::copy(src, dst, len);
        }
    }
}

/// Each kernel by itself.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn kernels() -> Vec<kernel::Kernel<kernel::Copy>> {
    /// # Safety
    ///
    /// As for [`copy`], on a CPU with the kernel's tier.
    unsafe fn by<const KERNEL: usize>(src: *const u8, dst: *mut u8, len: usize) {
        let kernel = CopyKernel::ALL[KERNEL];
        // SAFETY: the caller's promise. The library takes any size, the others those that they are chosen for.
        unsafe {
            if len <= MEDIUM && kernel != CopyKernel::Library {
                copy(src, dst, len);
            } else {
                copy_by(kernel, src, dst, len);
            }
        }
    }
    let run: [kernel::Copy; 6] = [by::<0>, by::<1>, by::<2>, by::<3>, by::<4>, by::<5>];
    let named = CopyKernel::ALL.into_iter().zip(run);
    named.map(|(kernel, run)| kernel::Kernel { name: kernel.name(), tier: kernel.tier(), run }).collect()
}
