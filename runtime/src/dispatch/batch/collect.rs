//! What comes of units that were out, and what the CPU does.

use idxd_sys::{CompletionRecord, Descriptor, status};

use super::super::job::{Absorbed, Piece, Work};
use super::super::slices;
use super::super::submission::Look;
use super::{BatchFlight, Member, Runaway};
use crate::clock;
use crate::descriptor::Capabilities;
use crate::stats::{Event, Path, Reason};

impl BatchFlight {
    /// Takes back the units that have ended. Returns whether there were any.
    pub(super) fn collect(&mut self) -> Result<bool, Runaway> {
        let shared = self.accelerator.shared();
        let mut any = false;
        let mut at = 0;
        while at < self.units.len() {
            let submission = self.units[at].submission;
            let whole = match submission.look(shared, false) {
                Look::Waiting => {
                    at += 1;
                    continue;
                }
                // SAFETY: it is complete.
                Look::Complete => Ok(unsafe { submission.record(shared) }),
                // Units are not collected, but it would be no more than that.
                Look::NotTaken => Err(Reason::QueueFull),
                Look::Lost(reason) => Err(reason),
                Look::Runaway => {
                    // The slot is the poller's from here on: dropping the batch must not touch it.
                    self.units.remove(at).submission.leak(&self.accelerator);
                    return Err(Runaway);
                }
            };
            any = true;
            let unit = self.units.remove(at);
            let block = self.block.as_ref().expect("begun");
            let single = unit.members.len() == 1;
            for index in unit.members {
                // A member's record is 0 if it was abandoned, or lost with its queue.
                let record = match (&whole, single) {
                    (Ok(record), true) => Ok(*record),
                    (Err(reason), true) => Err(*reason),
                    (whole, false) if block.records[index].status() == 0 => {
                        Err(*whole.as_ref().err().unwrap_or(&Reason::Abandoned))
                    }
                    // SAFETY: its status is not 0, and the unit has ended, so no device will write it any more.
                    (_, false) => Ok(unsafe { block.records[index].read() }),
                };
                let stats = &submission.lane(shared).stats;
                let caps = submission.queue(shared).capabilities();
                // SAFETY: the unit has ended, so nobody else touches the cell, which `form` wrote.
                let sent = unsafe { block.descriptors[index].get().read() };
                match settle(&mut self.members[index], &sent, record, caps) {
                    Settled::Done => {
                        let job = &self.members[index].job;
                        stats.operation(Path::Device, job.operation(), job.total());
                    }
                    Settled::Refine => self.cpu.push_back((index, None)),
                    Settled::Failed(reason) => {
                        if reason == Reason::PageFault {
                            stats.event(Event::PageFaults);
                        }
                        self.cpu.push_back((index, Some(reason)));
                    }
                }
            }
            // Last, because it may drop a waker, and that may panic.
            submission.free(shared);
        }
        // Units may have ended out of order; fences hold between units, so order matters only among what is here.
        if any && self.cpu.len() > 1 {
            self.cpu.make_contiguous().sort_unstable_by_key(|&(index, _)| index);
        }
        Ok(any)
    }

    /// Does one slice of CPU work.
    ///
    /// # Safety
    ///
    /// As for [`BatchFlight::poll`].
    pub(super) unsafe fn run_slice(&mut self) {
        let shared = self.accelerator.shared();
        let stats = &shared.lanes[shared.lane_index() as usize].stats;
        let rates = &shared.rates;
        let mut budget = rates.most();
        let mut ticks = rates.ticks();
        self.has_begun = true;
        while let Some(&(index, reason)) = self.cpu.front() {
            let path = if reason.is_some() { Path::Cpu } else { Path::Device };
            if path == Path::Cpu {
                self.path = path;
            }
            let member = &mut self.members[index];
            // From its beginning, even if the device has done a part: a job's pieces can be done over.
            let (operation, budget_now) = (member.job.operation(), budget.max(slices::LEAST));
            let limit = ticks.map_or(budget_now, |ticks| rates.slice(operation, ticks, budget_now));
            let piece = member.job.next_slice(limit);
            let begun = clock::now();
            // SAFETY: the caller's promise; the member is with no device.
            let outcome = unsafe { member.job.run(piece) };
            if let Some(ticks) = &mut ticks {
                let taken = clock::now().saturating_sub(begun);
                rates.learn(operation, piece, taken);
                *ticks = ticks.saturating_sub(taken);
            }
            if let Absorbed::Done(outcome) = member.job.absorb(piece, outcome) {
                member.outcome = Some(outcome);
                if let Some(reason) = reason {
                    stats.reason(reason);
                }
                stats.operation(path, member.job.operation(), member.job.total());
                self.cpu.pop_front();
            }
            budget = budget.saturating_sub(piece);
            if budget == 0 || ticks == Some(0) {
                break;
            }
        }
    }
}

/// What became of a member that was with a device.
enum Settled {
    /// It has its outcome.
    Done,
    /// The device has done its part.
    Refine,
    /// The CPU has to do it.
    Failed(Reason),
}

/// Gives a member its outcome, or says what the CPU has to do.
fn settle(
    member: &mut Member,
    sent: &Descriptor,
    record: Result<CompletionRecord, Reason>,
    caps: &Capabilities,
) -> Settled {
    let record = match record {
        Ok(record) => record,
        Err(reason) => return Settled::Failed(reason),
    };
    let piece = Piece::new(member.job.left());
    if let Some(outcome) = member.job.outcome_of(sent, &record, &piece, caps) {
        return match member.job.absorb(piece.size, outcome) {
            Absorbed::Done(outcome) => {
                member.outcome = Some(outcome);
                Settled::Done
            }
            Absorbed::Refine => Settled::Refine,
            Absorbed::More => unreachable!("a member is one piece"),
        };
    }
    match record.status & status::CODE_MASK {
        status::PAGE_FAULT | status::PAGE_RESPONSE => Settled::Failed(Reason::PageFault),
        _ => Settled::Failed(Reason::DeviceError),
    }
}
