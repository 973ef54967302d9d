//! Operands that are taken and given as a whole: an entry of a delta record, a block with its tuple.
//!
//! A page boundary or an injected fault may cut such a piece. Then it counts as not done, and nothing of it is written
//! as far as the pages are known at that moment.

use idxd_sys::flag;

use super::{Fault, Halt, Op, Operand, refused};
use crate::memory::Access;

impl Op<'_, '_> {
    /// Copies `piece.len()` bytes at `base + offset` out of an operand that is read.
    pub(super) fn take(&mut self, operand: Operand, base: u64, offset: u64, piece: &mut [u8]) -> Result<(), Halt> {
        let addr = self.address(operand, base, offset, Access::Read)?;
        let block = self.flag(flag::BLOCK_ON_FAULT);
        self.fetch(operand, addr, piece, block).map_err(Halt::Fault)
    }

    /// Copies a piece of at least one byte to `base + offset` of an operand that is written, if all of it can be
    /// written.
    ///
    /// A page that goes away between the look and the write is a fault like any other; what lies before it is then
    /// written and does not count.
    pub(super) fn give(&mut self, operand: Operand, base: u64, offset: u64, piece: &[u8]) -> Result<(), Halt> {
        let addr = self.address(operand, base, offset, Access::Write)?;
        let block = self.flag(flag::BLOCK_ON_FAULT);
        // Most pieces lie in one span, which is both looked at and written.
        let held = self.x.round.held();
        let mut seen = 0;
        while seen < piece.len() {
            let at = self.address(operand, addr, seen as u64, Access::Write)?;
            let span = self.span(operand, at, (piece.len() - seen) as u64, Access::Write, block)?;
            if span.len == piece.len() {
                // SAFETY: the whole of a span for writing.
                unsafe { self.x.shared.space.store(piece, span.ptr) };
                self.x.round.release(held);
                return Ok(());
            }
            self.x.round.release(held);
            seen += span.len;
        }
        let mut done = 0;
        while done < piece.len() {
            let at = self.address(operand, addr, done as u64, Access::Write)?;
            let span = self.span(operand, at, (piece.len() - done) as u64, Access::Write, block)?;
            // SAFETY: the whole of a span for writing, which is not longer than the rest of the piece.
            unsafe { self.x.shared.space.store(&piece[done..done + span.len], span.ptr) };
            self.x.round.release(held);
            done += span.len;
        }
        Ok(())
    }

    /// `base + offset`, if the address space reaches that far.
    fn address(&self, operand: Operand, base: u64, offset: u64, access: Access) -> Result<u64, Fault> {
        let beyond = || self.fault(refused(self.flag(flag::BLOCK_ON_FAULT)), u64::MAX, operand, access);
        base.checked_add(offset).ok_or_else(beyond)
    }
}
