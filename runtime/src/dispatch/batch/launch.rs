//! Units: the descriptors that are sent, and which members are in them.

use std::ops::Range;

use idxd_sys::{Descriptor, flag, opcode};

use super::super::Route;
use super::super::choice::Decision;
use super::super::job::{Extras, Job, Work};
use super::super::pressure::{Pressure, Turn, is_pressure};
use super::super::submission::Submission;
use super::{BatchFlight, Block, MOST_UNITS, Member, Run, Unit};
use crate::clock;
use crate::descriptor::{Batch, Capabilities};
use crate::device::Admission;
use crate::lane::records::RecordCell;
use crate::stats::{Event, Reason};

impl BatchFlight {
    /// Sends as many units as may be sent now; hands members that no device can take to the CPU. Where there is no room and
    /// nothing is out, it does as it was told for that case; an error says that it fails.
    ///
    /// # Safety
    ///
    /// As for [`BatchFlight::poll`].
    pub(super) unsafe fn launch(&mut self) -> Result<(), Reason> {
        if let Some(turn) = self.turn {
            if turn.is_over(self.accelerator.shared()).is_some() {
                self.leave(Event::WaitsGivenUp);
                // For the rest of it.
                self.pressure = Some(Pressure::Cpu);
            } else if !turn.is_first {
                return Ok(());
            }
        }
        while self.next < self.members.len() {
            let member = &self.members[self.next];
            if member.outcome.is_some() {
                self.next += 1;
                continue;
            }
            if self.units.len() == MOST_UNITS || self.lowest_level().is_some_and(|lowest| lowest < member.level) {
                break;
            }
            // SAFETY: the caller's promise.
            match unsafe { self.send() } {
                Ok(()) => self.leave(Event::WaitsServed),
                // Pressure from ourselves: wait for a unit to come back.
                Err(reason) if is_pressure(reason) && !self.units.is_empty() => break,
                Err(reason) if is_pressure(reason) && self.turn.is_some() => {
                    self.turn.as_mut().expect("just looked at").tried(reason);
                    break;
                }
                Err(reason) => {
                    self.leave(Event::WaitsGivenUp);
                    let shared = self.accelerator.shared();
                    match self.pressure.unwrap_or(shared.policy.pressure) {
                        Pressure::Wait if is_pressure(reason) => {
                            // What the CPU has to do it does meanwhile, and then looks again.
                            if self.cpu.is_empty() {
                                self.turn = Some(Turn::new(shared, reason));
                            }
                            break;
                        }
                        Pressure::Fail if is_pressure(reason) && !self.has_begun && self.cpu.is_empty() => {
                            return Err(reason);
                        }
                        _ => {}
                    }
                    self.cpu.push_back((self.next, Some(reason)));
                    self.next += 1;
                }
            }
        }
        Ok(())
    }

    /// Asks once for all members together: they are one operation of the first one's kind. Nothing is learned from it.
    pub(super) fn ask(&mut self) {
        let Some(first) = self.members.first().filter(|_| self.route == Route::Auto) else { return };
        match self.accelerator.shared().ask(first.job.operation(), self.total, self.begun) {
            Ok(decision) => self.queue = decision.as_ref().and_then(Decision::queue),
            Err(reason) => self.declined = Some(reason),
        }
    }

    /// Does not wait for room any more, if it has.
    fn leave(&mut self, how: Event) {
        if let Some(turn) = self.turn.take() {
            turn.leave(self.accelerator.shared(), how);
        }
    }

    /// Sends one unit or several, starting with member `next`, to one queue.
    ///
    /// # Safety
    ///
    /// As for [`BatchFlight::poll`].
    unsafe fn send(&mut self) -> Result<(), Reason> {
        let shared = self.accelerator.shared();
        if self.route == Route::Cpu {
            return Err(Reason::Forced);
        }
        if shared.queues.is_empty() {
            return Err(Reason::NoDevice);
        }
        if shared.is_forked() {
            return Err(Reason::Forked);
        }
        if self.total < shared.least {
            return Err(Reason::BelowThreshold);
        }
        if let Some(reason) = self.declined {
            return Err(reason);
        }
        let is_turn = self.turn.is_some();
        if !is_turn && shared.waiters.any() {
            return Err(Reason::QueueFull);
        }
        let slot = if is_turn { Submission::acquire_anywhere(shared) } else { Submission::acquire(shared) };
        let first = slot.ok_or(Reason::NoSlot)?;
        let lane = first.lane(shared);
        let mut run = std::mem::take(&mut self.run);
        run.submissions.push(first);
        let mut result = Err(Reason::DeviceLost);
        for index in shared.queues_from(self.queue.unwrap_or(first.lane)) {
            let queue = &shared.queues[index as usize];
            if !queue.is_open() {
                continue;
            }
            self.gather(&mut run, queue.capabilities());
            if run.members.is_empty() {
                // One that has no room would take it.
                if result != Err(Reason::QueueFull) {
                    result = Err(Reason::Unsupported);
                }
                continue;
            }
            let count = run.members.len();
            let slots = &run.submissions[..count];
            let load = |unit: usize| {
                let members = &self.members[run.members[unit].clone()];
                (members[0].job.operation(), members.iter().map(|member| member.job.total()).sum())
            };
            // SAFETY: the caller's promise covers the buffers; lists and records are in `block`, which lives as long. Each
            // slot is fresh.
            let (accepted, admission) =
                unsafe { Submission::send_all(slots, shared, index, &run.descriptors, load, clock::now()) };
            if accepted != 0 {
                self.next = run.members[accepted - 1].end;
                for (submission, members) in run.submissions.drain(..accepted).zip(run.members.drain(..accepted)) {
                    if members.len() > 1 {
                        lane.stats.event(Event::Batches);
                    }
                    self.units.push(Unit { submission, members });
                }
                self.has_begun = true;
                result = Ok(());
                break;
            }
            if admission == Admission::Full {
                shared.seen_full(index, clock::now());
                result = Err(Reason::QueueFull);
            }
        }
        for submission in run.submissions.drain(..) {
            if is_turn {
                submission.free_quietly(shared);
            } else {
                submission.free(shared);
            }
        }
        self.run = run;
        result
    }

    /// Forms the units that may be submitted together, starting with member `next`, as a queue with `caps` can take them.
    /// `run` has at least one slot, and gets more while there are.
    fn gather(&self, run: &mut Run, caps: &Capabilities) {
        let shared = self.accelerator.shared();
        let block = self.block.as_ref().expect("begun");
        run.descriptors.clear();
        run.members.clear();
        let level = self.members[self.next].level;
        let mut next = self.next;
        while self.units.len() + run.members.len() < MOST_UNITS {
            if run.members.len() == run.submissions.len() {
                let lane = run.submissions[0].lane;
                let Some(submission) = Submission::acquire_from(shared, lane) else { return };
                run.submissions.push(submission);
            }
            let alone = run.members.is_empty() && self.units.is_empty() && self.cpu.is_empty();
            let record = run.submissions[run.members.len()].record_addr(shared);
            let Some((descriptor, members)) = form(&self.members, block, next, alone, record, caps) else { return };
            next = members.end;
            let last = self.members[next - 1].level;
            run.descriptors.push(descriptor);
            run.members.push(members);
            while self.members.get(next).is_some_and(|member| member.outcome.is_some()) {
                next += 1;
            }
            // What lies behind a fence waits for what lies before it, unless the device sees to that.
            if last != level || self.members.get(next).is_none_or(|member| member.level != level) {
                return;
            }
        }
    }
}

/// Writes the descriptors of the next unit. `None` if the queue can take not even the first member.
///
/// It starts with member `start`, and may span levels if `may_fence` and its members allow it; its record goes to address `record`. Gives the
/// descriptor to send, and the members in it.
fn form(
    members: &[Member],
    block: &Block,
    start: usize,
    may_fence: bool,
    record: u64,
    caps: &Capabilities,
) -> Option<(Descriptor, Range<usize>)> {
    let limit = if caps.supports(opcode::BATCH) { caps.max_batch_size() as usize } else { 1 };
    let mut end = start;
    let mut may_fence = may_fence;
    for member in members[start..].iter().take(limit) {
        let fenced = end > start && member.level != members[end - 1].level;
        if member.outcome.is_some() || fenced && !may_fence {
            break;
        }
        // To a device a difference is a success, which lets it pass a fence before the CPU has refined it.
        may_fence &= !member.job.may_refine();
        let Some(mut descriptor) = describe(&member.job, &block.records[end], caps) else { break };
        if fenced {
            descriptor.flags_opcode |= flag::FENCE;
        }
        // SAFETY: the member is not out, so no device reads its cell.
        unsafe { block.descriptors[end].get().write(descriptor) };
        block.records[end].reset();
        end += 1;
    }
    let mut count = end - start;
    if count > 1 && count < caps.min_batch_size() as usize {
        count = 1;
    }
    match count {
        0 => None,
        1 => {
            // By itself, with the slot's own record.
            // SAFETY: as above; written just now.
            let mut single = unsafe { block.descriptors[start].get().read() };
            single.completion_addr = record;
            Some((single, start..start + 1))
        }
        _ => {
            let list = block.descriptors[start..].as_ptr().expose_provenance() as u64;
            let batch = Batch::new(list, count as u32).record(record).build(caps).ok()?;
            Some((batch, start..start + count))
        }
    }
}

/// The member descriptor of a job, if the queue can take the job in one piece.
fn describe(job: &Job, record: &RecordCell, caps: &Capabilities) -> Option<Descriptor> {
    if job.is_for_cpu() || job.next_piece(caps) != job.left() {
        return None;
    }
    job.describe(job.left(), Extras::new(record.addr(), false, caps), caps).ok()
}
