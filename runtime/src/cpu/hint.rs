//! Where the bytes of an operation are, and where they shall be afterwards.

/// What the caller knows of the bytes, as a device's cache control flag says it: whether they are in the CPU's caches, and whether
/// they should be afterwards. A hint never changes what is done, only how fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hint {
    /// Nothing is known: what serves best on average, by the size alone.
    #[default]
    Unknown,
    /// The bytes are in memory, and the result will not be used soon: it may go past the caches. A device writes to memory.
    Cold,
    /// The bytes are in a cache of this core, or the result will be used at once. A device writes into the cache, where it has
    /// cache control.
    Hot,
}

impl Hint {
    /// What it is for a part of an operation: one of a large one is cold, wherever it is.
    #[inline]
    pub(crate) fn of_part(self, part: u64, whole: u64) -> Self {
        if part < whole && self == Self::Unknown && whole >= super::Tuning::past_caches() as u64 {
            Self::Cold
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Tuning;

    #[test]
    fn a_part_of_much_is_cold_unless_somebody_knows_better() {
        let much = Tuning::past_caches() as u64;
        assert_eq!(Hint::Unknown.of_part(4096, much), Hint::Cold);
        assert_eq!(Hint::Unknown.of_part(4096, much - 1), Hint::Unknown);
        assert_eq!(Hint::Hot.of_part(4096, much), Hint::Hot);
    }
}
