//! Blocking operations that are the CPU's whatever happens: there is nothing to wait for, and so nothing to keep.

use super::flight::is_sampled;
use super::job::{Absorbed, Outcome, Work};
use crate::accelerator::Accelerator;
use crate::clock;
use crate::lane::Lane;
use crate::stats::{Operation, Path, Reason};

/// Operations of a program that has devices, and gives them those that are larger.
const MOST_BESIDE_DEVICES: u64 = 64 << 10;

/// More bytes than there are.
const ALL: u64 = 1 << 48;

/// An operation that is being done here.
#[must_use]
pub(crate) struct Begun<'a> {
    lane: &'a Lane,
    /// When it began, if it is one of those that are timed; else 0.
    at: u64,
}

/// Begins an operation on so many bytes, and counts it, if no device would get it: because there is none, or because it is too
/// small. The caller then does it.
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
pub(crate) fn begin(accelerator: &Accelerator, operation: Operation, bytes: u64) -> Option<Begun<'_>> {
    let shared = accelerator.shared();
    let reason = if shared.queues.is_empty() {
        Reason::NoDevice
    } else if bytes < shared.least.min(MOST_BESIDE_DEVICES) {
        Reason::BelowThreshold
    } else {
        return None;
    };
    // Nothing is to be done, and it is nobody's.
    if bytes == 0 {
        return None;
    }
    let lane = shared.lane();
    lane.stats.reason(reason);
    let before = lane.stats.operation(Path::Cpu, operation, bytes);
    Some(Begun { lane, at: if is_sampled(before, bytes) { clock::now() | 1 } else { 0 } })
}

impl Begun<'_> {
    /// It is done.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn end(self) {
        if self.at != 0 {
            record(self.lane, self.at);
        }
    }
}

#[cold]
#[inline(never)]
fn record(lane: &Lane, begun: u64) {
    lane.stats.latency(Path::Cpu, clock::to_nanos(clock::now().saturating_sub(begun)));
}

/// Does all of a job here, under the same conditions.
///
/// # Safety
///
/// The job's memory is valid until this returns, and nobody else touches it (sources may be read).
pub(crate) unsafe fn run(job: &mut impl Work, accelerator: &Accelerator) -> Option<Outcome> {
    let begun = begin(accelerator, job.operation(), job.total())?;
    loop {
        let piece = job.next_slice(ALL);
        // SAFETY: the caller's promise; no descriptor is out.
        let outcome = unsafe { job.run(piece) };
        if let Absorbed::Done(outcome) = job.absorb(piece, outcome) {
            begun.end();
            return Some(outcome);
        }
    }
}
