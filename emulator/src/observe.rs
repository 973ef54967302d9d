//! What can be seen from outside: counters, and the software error register.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use idxd_sys::Descriptor;

use crate::memory::Requester;

/// The software error register, SWERROR (specification section 9.2.15).
///
/// The first error is latched until it is cleared; further ones only set [`overflow`](Self::overflow).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // they are bits of a register
pub struct SoftwareError {
    /// Error code: a status that cannot be put into a record, or one of section 5.8.2. Of those, 0x53 (dedicated queue
    /// overflow) is about a descriptor; 0x51 (PCI configuration changed), 0x52 (a command while another was active) and
    /// 0x54 (no place in the event log) are not.
    pub error: u8,
    /// The error is one of a descriptor. Without it [`error`](Self::error) and [`overflow`](Self::overflow) are all there
    /// is; everything else is 0.
    pub descriptor: bool,
    /// Another error happened since and was not stored.
    pub overflow: bool,
    /// The failing access was a write.
    pub write: bool,
    /// The descriptor came from a batch list.
    pub in_batch: bool,
    /// Position in the batch list, if [`in_batch`](Self::in_batch).
    pub batch_index: u16,
    /// Index of the work queue.
    pub wq: u8,
    /// Opcode of the descriptor.
    pub opcode: u8,
    /// PASID of the descriptor, 0 if it has none.
    pub pasid: u32,
    /// The descriptor was privileged.
    pub privileged: bool,
    /// Invalid flag bits, for status 0x11.
    pub invalid_flags: u32,
    /// Operand of a page fault, as in bits 3:1 of the fault information of a record; 0 if it is not known.
    pub operand: u8,
    /// The handle of the permissions table that has to do with the error, if one has.
    pub idpt_handle: Option<u16>,
    /// Fault address, 0 if there is none.
    pub addr: u64,
}

impl SoftwareError {
    pub(crate) fn of(error: u8, wq: usize, by: Requester, descriptor: &Descriptor, batch_index: Option<u16>) -> Self {
        Self {
            error,
            descriptor: true,
            overflow: false,
            write: false,
            in_batch: batch_index.is_some(),
            batch_index: batch_index.unwrap_or(0),
            wq: wq as u8,
            opcode: descriptor.opcode(),
            pasid: by.pasid.unwrap_or(0),
            privileged: by.privileged,
            invalid_flags: 0,
            operand: 0,
            idpt_handle: None,
            addr: 0,
        }
    }

    /// An error that no descriptor made.
    pub(crate) fn without_descriptor(error: u8) -> Self {
        Self { descriptor: false, ..Self::of(error, 0, Requester::DEVICE, &Descriptor::default(), None) }
    }
}

/// The latch behind [`SoftwareError`].
#[derive(Default)]
pub(crate) struct ErrorLatch(Mutex<Option<SoftwareError>>);

impl ErrorLatch {
    /// Returns whether the error was stored.
    pub(crate) fn report(&self, error: SoftwareError) -> bool {
        let mut slot = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(first) = slot.as_mut() {
            first.overflow = true;
            return false;
        }
        *slot = Some(error);
        true
    }

    /// Clears the overflow bit alone.
    pub(crate) fn clear_overflow(&self) {
        if let Some(error) = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_mut() {
            error.overflow = false;
        }
    }

    pub(crate) fn get(&self) -> Option<SoftwareError> {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}

/// Number of opcodes counted one by one. Higher ones do not exist and end with status 0x10.
pub(crate) const OPCODES: usize = 64;

/// A snapshot of what the device has done since it was made. Taken without stopping the engines, so the numbers are
/// exact only while the device is idle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Descriptors accepted by all queues.
    pub accepted: u64,
    /// ENQCMD answered with Retry.
    pub retries: u64,
    /// MOVDIR64B writes without effect: shared or disabled queue, or a full dedicated one.
    pub dropped: u64,
    /// Descriptors taken and thrown away: halt, abort, reset.
    pub discarded: u64,
    /// Bytes moved, filled, compared or summed, partial completions included.
    pub bytes: u64,
    /// Descriptors that ended with a status other than success (0x01 and 0x02), batch members included.
    pub failed: u64,
    /// Page faults seen: partial completions, refused and resolved page requests.
    pub page_faults: u64,
    /// Batch members that a fence abandoned.
    pub abandoned: u64,
    /// Completion records written.
    pub records: u64,
    /// Descriptors lost by injection.
    pub lost: u64,
    /// Descriptors executed, by opcode; batch members count under their own.
    pub executed: [u64; OPCODES],
    /// The part of each work queue.
    pub queues: Vec<QueueCounters>,
}

/// What happened to the descriptors of one work queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCounters {
    /// Descriptors accepted.
    pub accepted: u64,
    /// ENQCMD answered with Retry.
    pub retries: u64,
    /// MOVDIR64B writes without effect.
    pub dropped: u64,
    /// Descriptors executed, by opcode; batch members count under their own.
    pub executed: [u64; OPCODES],
}

impl QueueCounters {
    /// Descriptors executed with an opcode, valid or not.
    pub fn executed(&self, opcode: u8) -> u64 {
        self.executed.get(usize::from(opcode)).copied().unwrap_or(0)
    }
}

impl Default for QueueCounters {
    fn default() -> Self {
        Self { accepted: 0, retries: 0, dropped: 0, executed: [0; OPCODES] }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            accepted: 0,
            retries: 0,
            dropped: 0,
            discarded: 0,
            bytes: 0,
            failed: 0,
            page_faults: 0,
            abandoned: 0,
            records: 0,
            lost: 0,
            executed: [0; OPCODES],
            queues: Vec::new(),
        }
    }
}

impl Counters {
    /// Descriptors executed with an opcode, valid or not.
    pub fn executed(&self, opcode: u8) -> u64 {
        self.executed.get(usize::from(opcode)).copied().unwrap_or(0)
    }

    /// Descriptors executed in all, batch members included.
    pub fn total_executed(&self) -> u64 {
        self.executed.iter().sum()
    }
}

/// A counter with one writer at a time: an engine bumps its own without a locked instruction.
#[derive(Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one engine counts.
pub(crate) struct EngineCounters {
    pub(crate) discarded: Tally,
    pub(crate) bytes: Tally,
    pub(crate) failed: Tally,
    pub(crate) page_faults: Tally,
    pub(crate) abandoned: Tally,
    pub(crate) records: Tally,
    pub(crate) lost: Tally,
    /// By queue.
    executed: Box<[Arc<Executed>]>,
}

/// Descriptors of one queue that one engine has executed, by opcode.
pub(crate) struct Executed {
    /// The short way, which ended with a record each.
    plain: [Tally; OPCODES],
    in_full: [Tally; OPCODES],
}

impl Default for Executed {
    fn default() -> Self {
        let none = || std::array::from_fn(|_| Tally::default());
        Self { plain: none(), in_full: none() }
    }
}

impl Executed {
    /// Counts one, if there can be such an operation.
    pub(crate) fn count(&self, opcode: u8) {
        if let Some(tally) = self.in_full.get(usize::from(opcode)) {
            tally.add(1);
        }
    }

    /// Counts one that had nothing unusual about it, and its record.
    #[inline]
    pub(crate) fn count_plain(&self, opcode: u8) {
        if let Some(tally) = self.plain.get(usize::from(opcode)) {
            tally.add(1);
        }
    }
}

impl EngineCounters {
    pub(crate) fn new(queues: usize) -> Self {
        Self {
            discarded: Tally::default(),
            bytes: Tally::default(),
            failed: Tally::default(),
            page_faults: Tally::default(),
            abandoned: Tally::default(),
            records: Tally::default(),
            lost: Tally::default(),
            executed: (0..queues).map(|_| Arc::default()).collect(),
        }
    }

    /// The part of a queue.
    pub(crate) fn executed_of(&self, queue: usize) -> &Arc<Executed> {
        &self.executed[queue]
    }

    pub(crate) fn add_to(&self, sum: &mut Counters) {
        sum.discarded += self.discarded.get();
        sum.bytes += self.bytes.get();
        sum.failed += self.failed.get();
        sum.page_faults += self.page_faults.get();
        sum.abandoned += self.abandoned.get();
        sum.records += self.records.get();
        sum.lost += self.lost.get();
        for (queue, tallies) in sum.queues.iter_mut().zip(&self.executed) {
            for (opcode, (plain, in_full)) in tallies.plain.iter().zip(&tallies.in_full).enumerate() {
                sum.records += plain.get();
                queue.executed[opcode] += plain.get() + in_full.get();
                sum.executed[opcode] += plain.get() + in_full.get();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_stays_until_cleared() {
        let latch = ErrorLatch::default();
        let d = Descriptor::default();
        assert!(latch.report(SoftwareError::of(0x53, 1, Requester::user(7), &d, None)));
        assert!(!latch.get().unwrap().overflow);
        assert!(!latch.report(SoftwareError::of(0x1a, 2, Requester::user(8), &d, Some(3))));
        let kept = latch.get().unwrap();
        assert_eq!((kept.error, kept.wq, kept.pasid, kept.overflow), (0x53, 1, 7, true));
        latch.clear();
        assert_eq!(latch.get(), None);
    }
}
