//! One operation's pointers, many operations in a row, and the loop that times them.
//!
//! The loop is made anew for each variant, so that what can be inlined is: a call by pointer would cost a tenth of an operation
//! on 64 bytes.

use std::hint::black_box;

use idxd_sys::instr::rdtsc_ordered;

/// The pattern of fills and of comparisons with one: no byte twice.
pub(crate) const PATTERN: u64 = 0x1f2e_3d4c_5b6a_7988;
/// What stands for "no difference" where a place is expected.
pub(crate) const EQUAL: u64 = u64::MAX;

/// The regions of one operation, which it has for itself.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) source: *const u8,
    pub(crate) target: *mut u8,
    /// The second destination, or the region that is equal to the source.
    pub(crate) second: *mut u8,
    /// Bytes of payload.
    pub(crate) len: usize,
}

/// The slots of a slice.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a> {
    pub(crate) source: *const u8,
    pub(crate) target: *mut u8,
    pub(crate) second: usize,
    pub(crate) len: usize,
    /// Offsets of source and destination.
    pub(crate) order: &'a [(u32, u32)],
    /// Of the operation's number: 0 if all have the same slot.
    pub(crate) mask: usize,
    pub(crate) operations: usize,
}

impl Slots<'_> {
    /// The slot of an operation.
    #[inline(always)]
    pub(crate) fn at(&self, operation: usize) -> Slot {
        let (source, target) = self.order[operation & self.mask];
        let target = self.target.wrapping_add(target as usize);
        Slot {
            source: self.source.wrapping_add(source as usize),
            target,
            second: target.wrapping_add(self.second),
            len: self.len,
        }
    }
}

/// What is measured: a way to do the operation of a cell.
pub(crate) trait Work {
    /// Does it in all slots, and says how many ticks it took.
    fn time(&mut self, slots: &Slots<'_>) -> u64;
    /// Does it once, and says what came out.
    fn once(&mut self, slots: &Slots<'_>) -> u64;
}

/// One slot after the other, on the calling thread.
pub(crate) struct Each<F>(pub(crate) F);

impl<F: Fn(Slot) -> u64> Work for Each<F> {
    #[inline(never)]
    fn time(&mut self, slots: &Slots<'_>) -> u64 {
        let begun = rdtsc_ordered();
        for operation in 0..slots.operations {
            black_box((self.0)(slots.at(operation)));
        }
        rdtsc_ordered() - begun
    }

    fn once(&mut self, slots: &Slots<'_>) -> u64 {
        (self.0)(slots.at(0))
    }
}
