//! What a device tells its surroundings besides completion records: errors, interrupts, a halt.
//!
//! A device that is used in process has no surroundings: its errors are read from the latch, and completion interrupts
//! are refused as an invalid flag. The register front end implements this trait.

use idxd_sys::CompletionRecord;

use crate::memory::Requester;
use crate::observe::SoftwareError;

/// The receiving end. Calls come from engines and submitters; none may wait for the device.
pub(crate) trait Events: Send + Sync {
    /// Whether descriptors of this requester may ask for completion interrupts at all.
    fn may_interrupt(&self, by: Requester) -> bool;

    /// Whether the PASID capability lets the device send privileged requests.
    fn may_be_privileged(&self) -> bool;

    /// The interrupt vector behind a handle that this requester may use.
    fn vector(&self, target: Target, by: Requester) -> Option<u16>;

    /// Raises a vector for a descriptor that has ended, after its record was written.
    fn completed(&self, vector: u16);

    /// Puts an entry into the event log.
    fn log(&self, entry: &LogEntry<'_>) -> Logged;

    /// Whether the event log holds entries that software has not taken.
    fn log_pending(&self) -> bool;

    /// The software error latch has taken an error that was the first since it was cleared.
    fn software_error(&self);

    /// The occupancy of a queue has fallen to its limit. Called once for each time that the limit is armed.
    fn occupancy(&self, queue: usize);

    /// The device has stopped by a hardware error.
    fn halted(&self);
}

/// Where a completion interrupt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The interrupt handle of the descriptor.
    pub(crate) handle: u16,
    /// The descriptor came through a portal of the interrupt message storage.
    pub(crate) message_storage: bool,
}

/// What became of an entry for the event log (specification section 5.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logged {
    /// There is no log: the error goes to the software error register.
    Off,
    /// The log has it.
    Taken,
    /// The log is full, and the device waits until software makes room.
    Full,
    /// It is lost, and the software error register is to say so: a full log of the kind that overflows, or one whose
    /// memory cannot be written.
    Lost,
}

/// What an entry of the event log says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEntry<'a> {
    pub(crate) error: SoftwareError,
    /// Number of the batch that a batch descriptor, or a member, belongs to.
    pub(crate) batch: u8,
    /// The first record of its batch that could not be written.
    pub(crate) first_in_batch: bool,
    pub(crate) target: Target,
    /// The descriptor requested an interrupt.
    pub(crate) interrupt: bool,
    /// The descriptor requested a record.
    pub(crate) requested: bool,
    /// The record that could not be written.
    pub(crate) record: Option<&'a CompletionRecord>,
}

impl LogEntry<'_> {
    /// One about an error that no descriptor made.
    pub(crate) fn without_descriptor(error: SoftwareError) -> Self {
        let target = Target { handle: 0, message_storage: false };
        Self { error, batch: 0, first_in_batch: false, target, interrupt: false, requested: false, record: None }
    }
}
