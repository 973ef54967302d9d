//! What becomes of an operation whose memory was taken away while it ran.

use idxd_sys::{CompletionRecord, flag, status};

use super::{Op, Operand, refused};
use crate::memory::Access;

impl Op<'_, '_> {
    /// The record `ended`, unless an access to an operand has failed behind its translation: then that of a page fault
    /// there, without progress.
    ///
    /// Nobody can tell what the operation did after that access, with zeros in place of what was gone. Bytes that it has
    /// written before are what a device may have written beyond the count of its record, too.
    pub(super) fn unless_vanished(&self, ended: CompletionRecord) -> CompletionRecord {
        let Some(vanished) = self.x.shared.space.vanished() else { return ended };
        // The operation may have met the hole once more, by a translation; then it is counted.
        let is_counted = matches!(ended.status & status::CODE_MASK, status::PAGE_FAULT | status::PAGE_RESPONSE);
        self.x.counters.page_faults.add(u64::from(!is_counted));
        let operand = if vanished.access == Access::Read { Operand::Source } else { Operand::Destination };
        let block = self.flag(flag::BLOCK_ON_FAULT);
        let fault = self.fault(refused(block), vanished.addr, operand, vanished.access);
        self.faulted(fault.status, fault)
    }
}
