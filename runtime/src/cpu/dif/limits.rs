//! From which sizes on an insert goes past the caches.

use super::Hint;
use super::blocks::Shape;

/// Bytes of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DifLimits {
    /// A cold insert of short blocks, 512 and 520 bytes, with as many bytes or more goes past the caches.
    pub(crate) cold_short: usize,
    /// The same for long blocks.
    pub(crate) cold_long: usize,
    /// And for any blocks, where nothing is known: where source and destination have no room in a cache together.
    pub(crate) unknown: usize,
}

impl DifLimits {
    /// What suits a CPU with 32 MiB of cache.
    pub(crate) const DEFAULT: Self = Self { cold_short: 8 << 10, cold_long: 128 << 10, unknown: 16 << 20 };

    /// Whether an insert is to go past the caches.
    #[inline]
    pub(super) fn is_past(&self, hint: Hint, flags: u8, len: usize) -> bool {
        match hint {
            Hint::Hot => false,
            // One comparison, and not more, for what is smaller than any.
            Hint::Unknown => len >= self.unknown,
            Hint::Cold if Shape::of(flags).chunks == 1 => len >= self.cold_short,
            Hint::Cold => len >= self.cold_long,
        }
    }
}
