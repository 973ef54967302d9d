//! Which kernel copies how much.

use super::CopyKernel;
use crate::cpu::{Hint, Tier};

/// Below this the classes are linear, since the logarithm takes a while.
const LINEAR: usize = 8 << 10;
/// Bytes of a linear class.
const STEP: usize = 256;
/// Classes of sizes: the linear ones, and one for each power of two.
const CLASSES: usize = LINEAR / STEP + (usize::BITS - LINEAR.ilog2()) as usize;

/// A kernel for each size and hint. Sizes are classed by powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyTable {
    /// By hint, and by class.
    by_hint: [[Option<CopyKernel>; CLASSES]; 3],
    /// For regions that the library and the string instruction are slow with.
    vectors: CopyKernel,
}

impl CopyTable {
    /// The one before anybody has chosen.
    pub(crate) const NONE: Self = Self { by_hint: [[None; CLASSES]; 3], vectors: CopyKernel::Library };

    /// A table with one kernel for everything.
    pub const fn all(kernel: CopyKernel) -> Self {
        Self { by_hint: [[Some(kernel); CLASSES]; 3], vectors: kernel }
    }

    /// The kernel of [`all`](Self::all), which is also used where a destination lies a little above its source in the lowest 12
    /// bits of the address, instead of the library and the string instruction: these may be ten times as slow there.
    #[inline]
    pub fn vectors(&self) -> CopyKernel {
        self.vectors
    }

    /// The kernel for `len` bytes. Copies of up to 256 bytes are done without one.
    pub fn kernel(&self, hint: Hint, len: usize) -> CopyKernel {
        self.entry(hint, len).unwrap_or(CopyKernel::Library)
    }

    /// What is there for `len` bytes.
    #[inline]
    pub(super) fn entry(&self, hint: Hint, len: usize) -> Option<CopyKernel> {
        self.by_hint[hint as usize][class(len)]
    }

    /// Uses `kernel` for sizes from `from` on, which is rounded up to a power of two.
    #[must_use]
    pub fn with(mut self, hint: Hint, from: usize, kernel: CopyKernel) -> Self {
        let from = from.checked_next_power_of_two().unwrap_or(1 << (usize::BITS - 1));
        self.by_hint[hint as usize][class(from.max(STEP))..].fill(Some(kernel));
        self
    }

    /// Uses `kernel` from `size`, a power of two, to below its double.
    pub(crate) fn set(&mut self, hint: Hint, size: usize, kernel: CopyKernel) {
        let size = size.max(STEP);
        self.by_hint[hint as usize][class(size)..=class(2 * size - 1)].fill(Some(kernel));
    }

    /// The same, with the library's way for whatever `tier` does not have.
    #[must_use]
    pub(crate) fn within(mut self, tier: Tier) -> Self {
        for kernel in self.by_hint.as_flattened_mut().iter_mut().flatten().chain([&mut self.vectors]) {
            if kernel.tier() > tier {
                *kernel = CopyKernel::Library;
            }
        }
        self
    }

    /// The least tier that has all of it.
    pub fn tier(&self) -> Tier {
        self.by_hint
            .as_flattened()
            .iter()
            .flatten()
            .map(|kernel| kernel.tier())
            .max()
            .map_or(self.vectors.tier(), |tier| tier.max(self.vectors.tier()))
    }

    /// Where the kernel changes with the size, from 256 bytes on.
    pub fn steps(&self, hint: Hint) -> Vec<(usize, CopyKernel)> {
        let mut steps: Vec<(usize, CopyKernel)> = Vec::new();
        for size in (STEP.ilog2()..usize::BITS).map(|power| 1 << power) {
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
    if len < LINEAR { len / STEP } else { LINEAR / STEP + (len.ilog2() - LINEAR.ilog2()) as usize }
}
