//! Blocking operations that are the CPU's whatever happens: there is nothing to wait for, and so nothing to keep.

use super::job::{Absorbed, Outcome, Work};
use crate::accelerator::Accelerator;
use crate::clock;
use crate::stats::{Path, Reason};

/// Operations of a program that has devices, and gives them those that are larger.
const MOST_BESIDE_DEVICES: u64 = 64 << 10;

/// More bytes than there are.
const ALL: u64 = 1 << 48;

/// Does all of `job` here if no device would get it: because there is none, or because it is too small. `None` if it is not so,
/// and nothing has been done.
///
/// # Safety
///
/// The job's memory is valid until this returns, and nobody else touches it (sources may be read).
#[inline]
pub(crate) unsafe fn run(job: &mut impl Work, accelerator: &Accelerator) -> Option<Outcome> {
    let shared = accelerator.shared();
    let total = job.total();
    let reason = if shared.queues.is_empty() {
        Reason::NoDevice
    } else if total < shared.least.min(MOST_BESIDE_DEVICES) {
        Reason::BelowThreshold
    } else {
        return None;
    };
    if job.left() == 0 {
        return None;
    }
    let stats = &shared.lane().stats;
    stats.reason(reason);
    let before = stats.operation(Path::Cpu, job.operation(), total);
    let begun = super::flight::is_sampled(before, total).then(clock::now);
    let outcome = loop {
        let piece = job.next_slice(ALL);
        // SAFETY: the caller's promise; no descriptor is out.
        let outcome = unsafe { job.run(piece) };
        if let Absorbed::Done(outcome) = job.absorb(piece, outcome) {
            break outcome;
        }
    };
    if let Some(begun) = begun {
        stats.latency(Path::Cpu, clock::to_nanos(clock::now().saturating_sub(begun)));
    }
    Some(outcome)
}
