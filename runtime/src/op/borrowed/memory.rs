//! Wide fills, CRC-64, comparisons with a pattern, delta records, cache flush and translation fetch, on borrowed memory.

use super::{borrowed, borrowed_operand, borrowed_type, nothing};
use crate::dispatch::{DeltaResult, Flushed, Outcome, Plain};
use crate::error::Error;
use crate::op::blocking::Blocking;
use crate::op::fill::{Pattern, WidePattern};
use crate::op::operand::{In, Out};
use crate::op::scope::{Scope, Ticket};
use crate::op::{cache, copy, crc64, delta, fill};

borrowed! {
    /// Fills `dst` with 16 bytes, repeated.
    fn fill_wide(write dst; pattern: impl Into<WidePattern>) -> Result<()> {
        fill::plan_wide(dst, dst.capacity, pattern.into()) => nothing
    }

    /// Copies `src` to the start of `dst` and gives the CRC-64 of the bytes.
    fn copy_crc64(write dst, read src) -> Result<u64> {
        crc64::plan_copy(0, src, dst) => Outcome::crc
    }

    /// Copies `src` to the starts of `first` and `second`.
    fn dualcast(write first, write second, read src) -> Result<()> {
        copy::plan_dualcast(src, first, second) => nothing
    }

    /// Records in `record` how `second` differs from `first`.
    fn create_delta(write record, read first, read second) -> Result<DeltaResult> {
        delta::create(first, second, record) => Outcome::delta
    }

    /// Applies a delta record to `target`.
    fn apply_delta(write target, read record) -> Result<()> {
        // SAFETY: a slice, which is borrowed.
        unsafe { delta::apply(record, target) } => nothing
    }

    /// Writes the cache lines of `bytes` back to memory, and takes them out of the caches.
    fn cache_flush(read bytes) -> Result<()> {
        cache::flush(bytes, Flushed::ToMemory) => nothing
    }

    /// Makes the pages of `bytes`, and their translations, present.
    fn translation_fetch(read bytes) -> Result<()> {
        cache::fetch(bytes) => nothing
    }
}

impl Blocking<'_> {
    /// CRC-64 of `src`, see [`Accelerator::crc64`](crate::Accelerator::crc64).
    pub fn crc64(self, src: &[u8]) -> u64 {
        self.crc64_from(0, src)
    }

    /// CRC-64 of `src` after what gave `seed`.
    pub fn crc64_from(self, seed: u64, src: &[u8]) -> u64 {
        // SAFETY: `src` is borrowed until `run` returns, and is only read.
        unsafe { self.run(Plain::crc64(src.as_ptr(), src.len(), seed)) }.0.crc()
    }

    /// As [`copy_crc64`](Self::copy_crc64), with the CRC of `src` after what gave `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::CapacityTooSmall`], before anything is copied.
    pub fn copy_crc64_from(self, seed: u64, dst: &mut [u8], src: &[u8]) -> Result<u64, Error> {
        let job = crc64::plan_copy(seed, In::from(src), Out::from(dst))?;
        // SAFETY: both slices are borrowed until `run` returns, `dst` exclusively.
        Ok(unsafe { self.run(job) }.0.crc())
    }

    /// Offset of the first byte in which `src` differs from a repeated pattern, see
    /// [`Accelerator::compare_pattern`](crate::Accelerator::compare_pattern).
    pub fn compare_pattern(self, src: &[u8], pattern: impl Into<Pattern>) -> Option<usize> {
        let job = Plain::compare_pattern(src.as_ptr(), src.len(), pattern.into().word());
        // SAFETY: `src` is borrowed until `run` returns, and is only read.
        unsafe { self.run(job) }.0.difference()
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a CRC-64 of `src`.
    pub fn crc64(&'scope self, src: &'scope [u8]) -> Ticket<'scope, u64> {
        let job = Plain::crc64(src.as_ptr(), src.len(), 0);
        // SAFETY: the slice stays borrowed for 'scope, which ends after `finish`.
        unsafe { self.start(job, Outcome::crc) }
    }

    /// Starts looking for the first byte in which `src` differs from a repeated pattern.
    pub fn compare_pattern(
        &'scope self,
        src: &'scope [u8],
        pattern: impl Into<Pattern>,
    ) -> Ticket<'scope, Option<usize>> {
        let job = Plain::compare_pattern(src.as_ptr(), src.len(), pattern.into().word());
        // SAFETY: the slice stays borrowed for 'scope, which ends after `finish`.
        unsafe { self.start(job, Outcome::difference) }
    }
}
