//! Batches: a list of descriptors in memory (specification sections 3.8, 3.9 and 8.3.2).
//!
//! Members between two fences have no order; `MemberOrder::Shuffled` makes that visible, in windows. Each entry of a
//! list in memory that others may write is read exactly once, so a submitter that changes it meanwhile gets one version or
//! the other.

use idxd_sys::{Descriptor, flag, status};
use zerocopy::{FromZeros, IntoBytes};

use super::{BatchLog, CompletionRecord, Exec, Fault, Op, Operand, Outcome, Stopped, execute, quick, record};
use crate::config::{MemberOrder, gencap};

/// Members fetched before they run, where the order is shuffled.
const WINDOW: usize = 32;

impl Op<'_, '_> {
    /// Batch. A member failed if it ended with any status but 0x01; a fence then abandons the rest.
    pub(super) fn batch(&mut self) -> Outcome {
        let count = self.d.xfer_size;
        // Numbers need to differ among batches that execute at the same time: one for each engine.
        self.x.batch = BatchLog { number: self.x.engine as u8, records: 0 };
        let mut failed = self.flag(flag::BATCH_ERROR);
        if self.x.shared.config.member_order == MemberOrder::InOrder {
            return self.batch_in_order(count, failed);
        }
        let mut window = Window { members: [Descriptor::new_zeroed(); WINDOW], first: 0, len: 0 };
        for index in 0..count {
            self.x.check_stop()?;
            let member = match self.member(index) {
                Ok(member) => member,
                Err(fault) => {
                    failed |= window.run(self.x)?;
                    return Ok(self.ended(failed, index, Some(fault)));
                }
            };
            let fence = member.flags() & flag::FENCE != 0;
            if fence {
                failed |= window.run(self.x)?;
            }
            if fence && self.fails_at_a_fence(failed) {
                self.x.counters.abandoned.add(u64::from(count - index));
                return Ok(self.ended(true, index, None));
            }
            window.push(index, member);
            if window.len == WINDOW {
                failed |= window.run(self.x)?;
            }
        }
        failed |= window.run(self.x)?;
        Ok(self.ended(failed, count, None))
    }

    /// Whether a fence abandons what follows. A member whose record is on its way through the event log may turn out to have
    /// failed: nobody knows yet whether software can deliver the record.
    fn fails_at_a_fence(&self, failed: bool) -> bool {
        failed || self.x.batch.records != 0
    }

    /// The same without a window: each member runs before the next is read.
    fn batch_in_order(&mut self, count: u32, mut failed: bool) -> Outcome {
        let list = quick::list(self.x, self.d.src_addr, count);
        for index in 0..count {
            self.x.check_stop()?;
            if let Some(list) = list {
                // SAFETY: the submitter's promise for trusted memory; the list has `count` members.
                let member = unsafe { list.add(index as usize).read() };
                if self.x.shared.is_plain() && quick::run(self.x.quick, self.x.counters, self.x.executed, &member) {
                    continue;
                }
            }
            let member = match self.member(index) {
                Ok(member) => member,
                Err(fault) => return Ok(self.ended(failed, index, Some(fault))),
            };
            if member.flags() & flag::FENCE != 0 && self.fails_at_a_fence(failed) {
                self.x.counters.abandoned.add(u64::from(count - index));
                return Ok(self.ended(true, index, None));
            }
            failed |= execute(self.x, &member, Some(index as u16))? != status::SUCCESS;
        }
        Ok(self.ended(failed, count, None))
    }

    /// Reads one entry of the list. Faults on a list block, whatever the flag says.
    fn member(&mut self, index: u32) -> Result<Descriptor, Fault> {
        let mut member = Descriptor::new_zeroed();
        // An aligned list that runs out of the address space wraps to address 0, which faults like any other page.
        let addr = self.d.src_addr.wrapping_add(u64::from(index) * 64);
        self.fetch(Operand::Source, addr, member.as_mut_bytes(), true)?;
        Ok(member)
    }

    /// The batch's own record after `processed` members.
    fn ended(&self, failed: bool, processed: u32, fault: Option<Fault>) -> CompletionRecord {
        let code = match (fault, failed) {
            (Some(_), _) => status::BATCH_LIST_FAULT,
            (None, true) => status::BATCH_FAIL,
            (None, false) => status::SUCCESS,
        };
        let base = fault.map_or(record(code), |fault| self.faulted(code, fault));
        let result = u8::from(failed && self.x.has(gencap::BATCH_CONTINUATION));
        CompletionRecord { result, bytes_completed: processed, ..base }
    }
}

/// Consecutive members that have been fetched and not run.
struct Window {
    members: [Descriptor; WINDOW],
    first: u32,
    len: usize,
}

impl Window {
    fn push(&mut self, index: u32, member: Descriptor) {
        if self.len == 0 {
            self.first = index;
        }
        self.members[self.len] = member;
        self.len += 1;
    }

    /// Runs the members, in random order if there are several, and empties the window. `true` if any failed.
    fn run(&mut self, x: &mut Exec<'_>) -> Result<bool, Stopped> {
        let mut order: [u8; WINDOW] = std::array::from_fn(|i| i as u8);
        let order = &mut order[..self.len];
        for i in (1..order.len()).rev() {
            order.swap(i, x.rng.below(i as u64 + 1) as usize);
        }
        self.len = 0;
        let mut failed = false;
        for i in order {
            x.check_stop()?;
            let position = self.first as u16 + u16::from(*i);
            failed |= execute(x, &self.members[usize::from(*i)], Some(position))? != status::SUCCESS;
        }
        Ok(failed)
    }
}
