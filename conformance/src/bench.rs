//! What a device, or a model of one, brings along to be tested: the trait [`Bench`].
//!
//! A bench is a work queue with memory. Everything beyond that is a [`Power`] that it may lack; a case that needs it is then
//! not offered, and the report says so.

use std::fmt;

use idxd_sys::{CompletionRecord, Descriptor, gencap};
use thiserror::Error;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// What the work queue under test can do, by its registers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
pub struct Capabilities {
    /// VERSION register: 0x100, 0x200, 0x300.
    pub version: u32,
    /// GENCAP register ([`idxd_sys::gencap`]).
    pub gen_cap: u64,
    /// The operations of the queue, one bit for each opcode.
    pub op_config: [u64; 4],
    /// Operations that whoever stands between software and the device refuses, one bit for each opcode, as a driver's
    /// `write(2)` may do with batches. They are neither offered nor missing.
    pub refused: [u64; 4],
    /// DSACAP0 to DSACAP2 registers ([`idxd_sys::compute`]), 0 before version 3.0.
    pub dsacap: [u64; 3],
    /// IDCAP register ([`idxd_sys::idpt::idcap`]), 0 without inter-domain operations.
    pub id_cap: u64,
    /// Largest transfer of the queue, in bytes.
    pub max_transfer_size: u64,
    /// Largest batch of the queue, in descriptors.
    pub max_batch_size: u32,
    /// Most entries of a scatter-gather list.
    pub max_sgl_size: u32,
    /// Descriptors may ask to block on faults (WQCFG).
    pub block_on_fault: bool,
    /// The queue makes page requests.
    pub page_requests: bool,
    /// Descriptors may ask for completion interrupts.
    pub interrupts: bool,
    /// The device looks at all reserved bytes. It need not (section 5.4).
    pub checks_reserved_bytes: bool,
    /// Data-integrity operations refuse sizes that are no whole number of blocks. They should be, is all that is said
    /// (sections 8.3.14 to 8.3.18).
    pub checks_whole_blocks: bool,
    /// A page fault ends an operation at the first byte that cannot be reached. The specification lets it end before.
    pub exact_progress: bool,
    /// The address of a fault is in the record, and is not masked.
    pub fault_addresses: bool,
}

impl Capabilities {
    /// Whether the queue offers an operation.
    pub const fn offers(&self, opcode: u8) -> bool {
        self.op_config[(opcode >> 6) as usize] >> (opcode & 63) & 1 != 0
    }

    /// Whether descriptors with an opcode do not reach the device.
    pub const fn refuses(&self, opcode: u8) -> bool {
        self.refused[(opcode >> 6) as usize] >> (opcode & 63) & 1 != 0
    }

    /// Whether a bit of GENCAP is set.
    pub const fn has(&self, bit: u64) -> bool {
        self.gen_cap & bit != 0
    }

    /// Whether completion records carry fault information.
    pub(crate) const fn has_fault_info(&self) -> bool {
        self.has(gencap::FAULT_INFO)
    }
}

/// Whose memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// That of the descriptors under test.
    Own,
    /// That of another PASID, which only entries of the permissions table open.
    Other,
}

/// What the device finds where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Page {
    /// Memory to read and write.
    Present,
    /// Memory to read. Page requests to write it are refused.
    ReadOnly,
    /// Nothing; a page request brings the page back, with its contents.
    Absent,
    /// Nothing; page requests are refused.
    Refused,
}

/// A work queue other than the one under test, of the same device or of one like it, and with the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Queue {
    /// The one under test.
    Main,
    /// One that lacks an operation.
    Without(u8),
    /// One with WQ PASID Enable 0. Addresses mean the same as with the PASID.
    NoPasid,
    /// One that may not use the address translation service.
    NoTranslationService,
    /// One that does not let descriptors block on faults.
    NoBlockOnFault,
    /// One whose descriptors may ask for completion interrupts; no interrupt handle is valid.
    Interrupts,
    /// A shared queue to which the descriptor goes as a privileged one, while the PASID capability forbids privilege.
    PrivilegeOff,
    /// A dedicated queue that has no room.
    Full,
    /// One of a group whose second traffic class (TC-B) no enabled virtual channel carries; its first one is carried.
    NoTrafficClass,
}

/// What software can do wrong without a descriptor, and the device reports as a software error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misdeed {
    /// It writes a command while another one is active.
    SecondCommand,
    /// It changes the PCI configuration, such as PASID Enable, while the device is enabled.
    Configuration,
    /// It leaves an event log that can overflow without a free entry.
    FullLog,
}

/// Something that a bench may be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Power {
    /// [`Bench::set_page`] to [`Page::Absent`].
    Absent,
    /// [`Bench::set_page`] to [`Page::Refused`].
    Refused,
    /// [`Bench::set_page`] to [`Page::ReadOnly`].
    ReadOnly,
    /// [`Bench::fail_next`].
    HardwareErrors,
    /// [`Bench::troubles`]: software errors are seen.
    Troubles,
    /// There is an event log, and [`Bench::troubles`] reads it.
    EventLog,
    /// [`Bench::set_entry`], and memory in [`Space::Other`].
    Domains,
    /// [`Bench::abort_while`].
    Abort,
    /// [`Bench::submit_to`] this queue.
    Queue(Queue),
    /// [`Bench::misbehave`] like this.
    Misdeed(Misdeed),
}

/// A bench was asked for something that it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the bench cannot: {0}")]
pub struct Cannot(pub &'static str);

/// Whether a queue took a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// It has it, or nobody was told otherwise (MOVDIR64B).
    Accepted,
    /// It was refused each time it was tried.
    Refused,
}

/// An error that no record tells: out of the software error register, or out of the event log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// The code: a status, or one of the `SWERR` codes of [`idxd_sys::status`].
    pub code: u8,
    /// It came through the event log.
    pub logged: bool,
    /// The access that failed was a write.
    pub write: bool,
    /// The descriptor's opcode.
    pub opcode: u8,
    /// The address of the fault.
    pub addr: u64,
    /// The descriptor's position in its batch, if it was in one.
    pub member: Option<u16>,
    /// The record that was not written, if an event log has it.
    pub record: Option<CompletionRecord>,
}

/// A device under test.
///
/// Memory is made of pages of [`PAGE`] bytes. What [`write`](Self::write) and [`read`](Self::read) see is what the device
/// sees and writes, also of pages that are absent for it at the moment.
pub trait Bench {
    /// What the queue under test can do. The same for the whole life of the bench.
    fn capabilities(&self) -> &Capabilities;

    /// Forgets everything that an earlier case did: memory, pages, entries, errors.
    fn reset(&mut self);

    /// Why the bench lacks a power; `None` if it has it. The default lacks all.
    fn cannot(&self, power: Power) -> Option<&'static str> {
        let _ = power;
        Some("the bench does not offer it")
    }

    /// New memory, present, of any contents; its address as descriptors have it, a multiple of [`PAGE`].
    ///
    /// Regions do not touch each other: the page before and the page behind one belong to no other.
    fn allocate(&mut self, space: Space, pages: u64) -> u64;

    /// Writes memory from the test's side.
    fn write(&mut self, space: Space, addr: u64, bytes: &[u8]);

    /// Reads memory from the test's side.
    fn read(&mut self, space: Space, addr: u64, bytes: &mut [u8]);

    /// Sends a descriptor to the queue under test, again as long as the queue is full.
    fn submit(&mut self, descriptor: &Descriptor) -> Answer;

    /// Waits until the first byte of a record, which was 0, is not 0, and gives the record; `None` after a time in which any
    /// descriptor would have ended.
    fn wait(&mut self, record: u64) -> Option<CompletionRecord>;

    /// Waits until no descriptor is queued or executing, also none that writes no record.
    fn settle(&mut self);

    /// Makes a page present, absent, or read-only for the device. Its contents stay.
    fn set_page(&mut self, space: Space, page: u64, state: Page) -> Result<(), Cannot> {
        let _ = (space, page, state);
        Err(Cannot("change pages"))
    }

    /// Sends a descriptor to another queue, with its record in [`Space::Own`].
    fn submit_to(&mut self, queue: Queue, descriptor: &Descriptor) -> Result<Answer, Cannot> {
        let _ = (queue, descriptor);
        Err(Cannot("submit to another queue"))
    }

    /// Does this to the device, and returns when what was begun for it has ended.
    fn misbehave(&mut self, misdeed: Misdeed) -> Result<(), Cannot> {
        let _ = misdeed;
        Err(Cannot("use the device wrongly"))
    }

    /// The next descriptor of the queue under test that starts ends with a hardware error: 0x20, 0x21 or 0x22.
    fn fail_next(&mut self, status: u8) -> Result<(), Cannot> {
        let _ = status;
        Err(Cannot("make the hardware fail"))
    }

    /// Errors without a record since the last call, oldest first; then they are acknowledged.
    fn troubles(&mut self) -> Result<Vec<Trouble>, Cannot> {
        Err(Cannot("see software errors"))
    }

    /// The PASIDs of [`Space::Own`] and [`Space::Other`].
    fn pasids(&self) -> Result<[u32; 2], Cannot> {
        Err(Cannot("name PASIDs"))
    }

    /// Writes an entry of the permissions table, as words of [`idxd_sys::idpt`], and gives its handle. Entries 0 to 7 are
    /// used.
    fn set_entry(&mut self, index: u16, words: [u64; 4]) -> Result<u16, Cannot> {
        let _ = (index, words);
        Err(Cannot("write entries of the permissions table"))
    }

    /// Submits a descriptor that has to wait for an absent page of [`Space::Other`], and aborts the PASID of that space
    /// while it does. Page requests for the page are not answered before.
    fn abort_while(&mut self, descriptor: &Descriptor, page: u64) -> Result<(), Cannot> {
        let _ = (descriptor, page);
        Err(Cannot("abort a PASID during an operation"))
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Absent => "pages that are absent",
            Self::Refused => "pages that stay absent",
            Self::ReadOnly => "pages that may only be read",
            Self::HardwareErrors => "hardware errors",
            Self::Troubles => "software errors",
            Self::EventLog => "an event log",
            Self::Domains => "a second address space and the permissions table",
            Self::Abort => "an abort while an operation runs",
            Self::Queue(Queue::Main) => "a queue",
            Self::Queue(Queue::Without(_)) => "a queue that lacks an operation",
            Self::Queue(Queue::NoPasid) => "a queue without a PASID",
            Self::Queue(Queue::NoTranslationService) => "a queue without address translation",
            Self::Queue(Queue::NoBlockOnFault) => "a queue that does not block on faults",
            Self::Queue(Queue::Interrupts) => "a queue with completion interrupts",
            Self::Queue(Queue::PrivilegeOff) => "privileged descriptors where privilege is off",
            Self::Queue(Queue::Full) => "a dedicated queue that is full",
            Self::Queue(Queue::NoTrafficClass) => "a queue with a traffic class without a channel",
            Self::Misdeed(Misdeed::SecondCommand) => "a command beside another one",
            Self::Misdeed(Misdeed::Configuration) => "a change of PCI configuration",
            Self::Misdeed(Misdeed::FullLog) => "an event log that is full",
        };
        f.write_str(text)
    }
}
