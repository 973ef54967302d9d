//! Pacing: an engine that holds a record back until a device would have written it, by the timing model.
//!
//! It is a convenience for demonstrations, not a simulation: engines of the emulator execute one descriptor at a time,
//! so latencies do not overlap. Members of a batch therefore count with the time between two of them, everything else
//! with its time alone. For studies there is [`Simulator`](crate::timing::Simulator).

use std::time::{Duration, Instant};

use idxd_sys::{CompletionRecord, Descriptor, status};

use super::{Exec, Stopped};
use crate::timing::{Operation, Timing};

/// The longest time for which a record is held.
const MOST: Duration = Duration::from_secs(1);
/// What is left to wait when sleeping is too coarse.
const SPIN: Duration = Duration::from_micros(150);

impl Exec<'_> {
    /// The time from which the holding of a record counts; `None` if nothing is held.
    #[inline]
    pub(super) fn begun(&self) -> Option<Instant> {
        self.shared.config.pace.is_some().then(Instant::now)
    }

    /// Waits until the record is due. Ends early, and without a record, if the engine must stop.
    #[cold]
    pub(super) fn hold(
        &self,
        from: Instant,
        d: &Descriptor,
        ended: &CompletionRecord,
        member: bool,
    ) -> Result<(), Stopped> {
        let Some(timing) = &self.shared.config.pace else { return Ok(()) };
        let time = held(timing, d, ended, member);
        loop {
            self.check_stop()?;
            let left = time.saturating_sub(from.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            if left > SPIN {
                std::thread::sleep(left.saturating_sub(SPIN).min(SPIN));
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// For how long a device would have been at it.
fn held(timing: &Timing, d: &Descriptor, ended: &CompletionRecord, member: bool) -> Duration {
    let mut operation = Operation::of(d);
    match ended.status & status::CODE_MASK {
        status::SUCCESS | status::SUCCESS_FALSE => {}
        // What was done of it: nothing, if it was refused.
        _ => operation.bytes = ended.bytes_completed.min(d.xfer_size),
    }
    let ns = if member { timing.interval_ns(&operation) } else { timing.alone_ns(&operation) };
    Duration::from_nanos(ns).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use idxd_sys::opcode;

    #[test]
    fn a_record_is_held_for_the_time_of_what_was_done() {
        let timing = Timing::sapphire_rapids();
        let mut d = Descriptor { xfer_size: 1 << 20, ..Descriptor::default() };
        d.set_opcode_flags(opcode::MEMMOVE, 0);
        let ended =
            |status, bytes_completed| CompletionRecord { status, bytes_completed, ..CompletionRecord::default() };
        let whole = held(&timing, &d, &ended(status::SUCCESS, 0), false);
        assert!((33..36).contains(&whole.as_micros()), "{whole:?}");
        let half = held(&timing, &d, &ended(status::PAGE_FAULT | status::FAULT_WRITE, 1 << 19), false);
        assert!(half < whole && half > whole / 3);
        let refused = held(&timing, &d, &ended(status::BAD_FLAGS, 0), false);
        assert!(refused.as_nanos() < 1000, "{refused:?}");
        assert!(held(&timing, &d, &ended(status::SUCCESS, 0), true) < whole, "members overlap");
        d.xfer_size = u32::MAX;
        let mut slow = timing.clone();
        slow.device.read_bytes_per_ns = 0.001;
        assert_eq!(held(&slow, &d, &ended(status::SUCCESS, 0), false), MOST);
    }

    #[test]
    fn a_batch_is_held_for_itself_only() {
        let timing = Timing::sapphire_rapids();
        let mut d = Descriptor { xfer_size: 1024, ..Descriptor::default() };
        d.set_opcode_flags(opcode::BATCH, 0);
        let ended = CompletionRecord { status: status::SUCCESS, ..CompletionRecord::default() };
        let device = &timing.device;
        let expected = Duration::from_nanos(device.decode_ns + device.record_ns);
        assert_eq!(held(&timing, &d, &ended, false), expected);
    }
}
