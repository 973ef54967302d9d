//! Faults of translation: their reasons, and the log.
//!
//! The log is bounded as that of hardware is: once it has overflowed it takes nothing more until it has been read.

use std::collections::VecDeque;

use super::DeviceId;
use crate::memory::Access;

/// Why an access was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultReason {
    /// Nothing is attached to the requester id.
    NoContext,
    /// The device's PASID table has no entry for the PASID.
    PasidNotPresent,
    /// The access is privileged, which no entry allows.
    Supervisor,
    /// The page is not mapped, or not there at the moment.
    NotPresent,
    /// A write to a page that may only be read.
    NotWritable,
    /// A read of a page that may only be written: a DMA mapping from the device.
    NotReadable,
    /// The address has more bits than the domain translates, or, in pass-through, no memory behind it.
    OutOfRange,
    /// The address is not canonical: bits 63:47 differ.
    NonCanonical,
}

impl FaultReason {
    /// Whether a page request could help: a process's page may be brought in or made writable.
    pub const fn is_recoverable(self) -> bool {
        matches!(self, Self::NotPresent | Self::NotWritable | Self::NotReadable)
    }
}

/// A refused access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FaultRecord {
    /// The device.
    pub device: DeviceId,
    /// The PASID that the access carried.
    pub pasid: Option<u32>,
    /// Whether the access was privileged.
    pub privileged: bool,
    /// First address of the page.
    pub addr: u64,
    /// What the device wanted to do.
    pub access: Access,
    /// Why it may not.
    pub reason: FaultReason,
}

/// What the log held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultReport {
    /// Oldest first.
    pub records: Vec<FaultRecord>,
    /// At least one fault since the last look found no room.
    pub overflow: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct FaultLog {
    records: VecDeque<FaultRecord>,
    capacity: usize,
    overflow: bool,
}

impl FaultLog {
    pub(super) fn new(capacity: usize) -> Self {
        Self { records: VecDeque::with_capacity(capacity), capacity, overflow: false }
    }

    pub(super) fn push(&mut self, record: FaultRecord) {
        if self.records.len() < self.capacity && !self.overflow {
            self.records.push_back(record);
        } else {
            self.overflow = true;
        }
    }

    /// Empties the log and clears the overflow.
    pub(super) fn take(&mut self) -> FaultReport {
        FaultReport { records: self.records.drain(..).collect(), overflow: std::mem::take(&mut self.overflow) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_keeps_the_first_and_says_so_until_it_is_read() {
        let record = |addr| FaultRecord {
            device: DeviceId::new(1, 2, 3),
            pasid: Some(4),
            privileged: false,
            addr,
            access: Access::Read,
            reason: FaultReason::NotPresent,
        };
        let mut log = FaultLog::new(2);
        (0..3).for_each(|addr| log.push(record(addr)));
        assert_eq!(log.take(), FaultReport { records: vec![record(0), record(1)], overflow: true });
        log.push(record(7));
        assert_eq!(log.take(), FaultReport { records: vec![record(7)], overflow: false });
    }
}
