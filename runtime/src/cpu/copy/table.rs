//! Which kernel copies how much.

use super::CopyKernel;
use crate::cpu::{Hint, Tier};

/// The least size, in bytes, that the hint matters to. Below it the choice itself would take a good part of the time.
pub(super) const LEAST: usize = 4 << 10;
/// Classes of sizes: one for each power of two, from [`LEAST`] on.
const CLASSES: usize = (usize::BITS - LEAST.ilog2()) as usize;

/// A kernel for each size and hint. Sizes are classed by powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyTable {
    /// By hint, and by class.
    by_hint: [[Option<CopyKernel>; CLASSES]; 3],
    /// Below [`LEAST`] bytes.
    middle: Option<CopyKernel>,
    /// For regions that the library and the string instruction are slow with.
    vectors: CopyKernel,
}

impl CopyTable {
    /// The one before anybody has chosen.
    pub(crate) const NONE: Self = Self { by_hint: [[None; CLASSES]; 3], middle: None, vectors: CopyKernel::Library };

    /// A table with one kernel for everything.
    pub const fn all(kernel: CopyKernel) -> Self {
        Self { by_hint: [[Some(kernel); CLASSES]; 3], middle: Some(kernel), vectors: kernel }
    }

    /// The kernel of [`all`](Self::all), which is also used where a destination lies a little above its source in the lowest 12
    /// bits of the address, instead of the library and the string instruction: these may be ten times as slow there.
    #[inline]
    pub fn vectors(&self) -> CopyKernel {
        self.vectors
    }

    /// The kernel for `len` bytes. Copies of up to 256 bytes are done without one.
    pub fn kernel(&self, hint: Hint, len: usize) -> CopyKernel {
        let kernel = if len < LEAST { self.middle } else { self.entry(hint, len) };
        kernel.unwrap_or(CopyKernel::Library)
    }

    /// The kernel for 257 bytes to 4 KiB.
    #[inline]
    pub(super) fn middle(&self) -> Option<CopyKernel> {
        self.middle
    }

    /// Uses `kernel` for 257 bytes to 4 KiB, whatever the hint.
    #[must_use]
    pub fn with_middle(mut self, kernel: CopyKernel) -> Self {
        self.middle = Some(kernel);
        self
    }

    /// What is there for `len` bytes, at least [`LEAST`].
    #[inline]
    pub(super) fn entry(&self, hint: Hint, len: usize) -> Option<CopyKernel> {
        self.by_hint[hint as usize][class(len)]
    }

    /// Uses `kernel` for sizes from `from` on, which is rounded up to a power of two and to 4 KiB.
    #[must_use]
    pub fn with(mut self, hint: Hint, from: usize, kernel: CopyKernel) -> Self {
        let from = from.checked_next_power_of_two().unwrap_or(1 << (usize::BITS - 1));
        self.by_hint[hint as usize][class(from.max(LEAST))..].fill(Some(kernel));
        self
    }

    /// Uses `kernel` from `size`, a power of two and at least [`LEAST`], to below its double.
    pub(crate) fn set(&mut self, hint: Hint, size: usize, kernel: CopyKernel) {
        self.by_hint[hint as usize][class(size)] = Some(kernel);
    }

    /// The same, with the library's way for whatever `tier` does not have.
    #[must_use]
    pub(crate) fn within(mut self, tier: Tier) -> Self {
        for kernel in
            self.by_hint.as_flattened_mut().iter_mut().flatten().chain(&mut self.middle).chain([&mut self.vectors])
        {
            if kernel.tier() > tier {
                *kernel = CopyKernel::Library;
            }
        }
        self
    }

    /// The least tier that has all of it.
    pub fn tier(&self) -> Tier {
        let kernels = self.by_hint.as_flattened().iter().chain([&self.middle]).flatten().chain([&self.vectors]);
        kernels.map(|kernel| kernel.tier()).max().unwrap_or(Tier::Portable)
    }

    /// Where the kernel changes with the size, from 256 bytes on.
    pub fn steps(&self, hint: Hint) -> Vec<(usize, CopyKernel)> {
        let mut steps: Vec<(usize, CopyKernel)> = Vec::new();
        for size in (8..usize::BITS).map(|power| 1 << power) {
            let kernel = self.kernel(hint, size);
            if steps.last().is_none_or(|(_, last)| *last != kernel) {
                steps.push((size, kernel));
            }
        }
        steps
    }
}

#[inline]
const fn class(len: usize) -> usize {
    (len.ilog2() - LEAST.ilog2()) as usize
}
