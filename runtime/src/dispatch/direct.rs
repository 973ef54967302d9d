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

/// Where an operation on so many bytes is counted that no device would get, because there is none, or because it is too small; and why
/// that is. Not if it is on no bytes, where nothing is to be done, and it is nobody's.
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
pub(crate) fn lane_of(accelerator: &Accelerator, bytes: u64) -> Option<(&Lane, Reason)> {
    let shared = accelerator.shared();
    if bytes == 0 {
        return None;
    }
    let reason = if shared.queues.is_empty() {
        Reason::NoDevice
    } else if bytes < shared.least.min(MOST_BESIDE_DEVICES) {
        Reason::BelowThreshold
    } else {
        return None;
    };
    Some((shared.lane(), reason))
}

/// Counts such an operation; whether it is one of those that are [`timed`].
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
pub(crate) fn count(lane: &Lane, reason: Reason, operation: Operation, bytes: u64) -> bool {
    lane.stats.reason(reason);
    let before = lane.stats.operation(Path::Cpu, operation, bytes);
    is_sampled(before, bytes)
}

/// Does an operation on so many bytes here, and counts it, if no device would get it.
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
pub(crate) fn alone<R>(
    accelerator: &Accelerator,
    operation: Operation,
    bytes: u64,
    work: impl FnOnce() -> R,
) -> Option<R> {
    let (lane, reason) = lane_of(accelerator, bytes)?;
    Some(if count(lane, reason, operation, bytes) { timed(lane, work) } else { work() })
}

/// Apart from the others, so that those have nothing to remember meanwhile.
#[cold]
#[inline(never)]
pub(crate) fn timed<R>(lane: &Lane, work: impl FnOnce() -> R) -> R {
    let begun = clock::now();
    let result = work();
    lane.stats.latency(Path::Cpu, clock::to_nanos(clock::now().saturating_sub(begun)));
    result
}

/// Does all of a job here, under the same conditions.
///
/// # Safety
///
/// The job's memory is valid until this returns, and nobody else touches it (sources may be read).
pub(crate) unsafe fn run(job: &mut impl Work, accelerator: &Accelerator) -> Option<Outcome> {
    let (operation, bytes) = (job.operation(), job.total());
    alone(accelerator, operation, bytes, || {
        loop {
            let piece = job.next_slice(ALL);
            // SAFETY: the caller's promise; no descriptor is out.
            let outcome = unsafe { job.run(piece) };
            if let Absorbed::Done(outcome) = job.absorb(piece, outcome) {
                return outcome;
            }
        }
    })
}
