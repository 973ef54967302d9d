//! What a completion record means for the job: its outcome, or the page that was missing.

use idxd_sys::{CompletionRecord, Descriptor, opcode, status};

use super::job::Outcome;
use crate::descriptor::Completion;

/// What a successful record says; `None` if it is not successful, or contradicts the descriptor.
#[inline]
pub(super) fn outcome_of(sent: &Descriptor, record: &CompletionRecord, done_before: u64) -> Option<Outcome> {
    if record.status != status::SUCCESS {
        return None;
    }
    let mut outcome = Outcome { crc: record.op_specific[0] as u32, difference: None };
    if sent.opcode() == opcode::COMPARE && record.result != 0 {
        if record.bytes_completed >= sent.xfer_size {
            return None;
        }
        outcome.difference = Some((done_before + u64::from(record.bytes_completed)) as usize);
    }
    Some(outcome)
}

/// Makes the page present that the device stumbled over, and those after it that the rest of the operation needs.
pub(super) fn touch(rest: &Descriptor, completion: &Completion) {
    use rustix::mm::{Advice, madvise};
    const PAGE: u64 = 4096;
    /// How far ahead of the fault pages are made present.
    const AHEAD: u64 = 2 << 20;
    let Some(fault) = completion.fault else { return };
    let start = fault.address & !(PAGE - 1);
    // The fault lies in one of the regions of the descriptor, all of which are `xfer_size` long.
    let end = [rest.src_addr, rest.dst_addr, rest.op_specific[0]]
        .into_iter()
        .map(|base| base.saturating_add(rest.xfer_size.into()))
        .filter(|&end| end > start && end - start <= u64::from(rest.xfer_size) + PAGE)
        .min();
    let Some(end) = end else { return };
    let len = (end - start).min(AHEAD).next_multiple_of(PAGE);
    let advice = if fault.is_write { Advice::LinuxPopulateWrite } else { Advice::LinuxPopulateRead };
    let page = std::ptr::with_exposed_provenance_mut(start as usize);
    // SAFETY: populating makes pages present and changes no byte, wherever the range may reach. A kernel that does not
    // know the advice, or a range with holes, yields an error, which costs nothing but another fault.
    let _ = unsafe { madvise(page, len as usize, advice) };
}
