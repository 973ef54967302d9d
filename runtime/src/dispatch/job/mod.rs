//! A job: what is still to be done of one operation, whoever does it.
//!
//! For a device a job is cut into *pieces*: as much as one descriptor takes. Each piece is safe to do over from its
//! beginning, because nothing it writes is ever read by it; what cannot be had that way goes to the CPU. That is what
//! makes invariant 4 workable - a piece that was lost in a quiesced queue is simply done again. The CPU takes *slices*,
//! which nothing interrupts, so they may overlap themselves.
//!
//! There is one file per family of operations, and in each the same five questions: how it is cut ([`Work::next_piece`],
//! [`Work::next_slice`]), described ([`Work::describe`]), read out of a record ([`Work::outcome_of`]), taken note of
//! ([`Work::absorb`]) and done without a device ([`Work::run`]).

mod control;
mod delta;
mod integrity;
mod lists;
mod outcome;
mod plain;
mod typed;

use idxd_sys::{CompletionRecord, Descriptor, opcode, status};

use crate::cpu::Hint;
use crate::descriptor::{Capabilities, Completion, Continuation, DescriptorError, NumericExceptions};
use crate::stats::Operation;

use control::Control;
pub(crate) use control::Flushed;
use delta::Delta;
use integrity::Integrity;
pub(crate) use integrity::{Checked, Guarded};
use lists::Lists;
pub(crate) use lists::Places;
pub use outcome::{DeltaResult, DifMismatch};
pub(crate) use outcome::{NextTags, Outcome};
pub(crate) use plain::{Kind, Plain, Quick};
pub(crate) use typed::Arithmetic;
use typed::Typed;

/// Pieces of plain bytes end on multiples of this (except the last), so that patterns keep their phase.
const GRAIN: u64 = 64;

/// What is left of an operation. Addresses, not pointers: provenance was exposed when the job was made.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// Regions of equal size, byte by byte: copies, fills, comparisons, checksums.
    Plain(Plain),
    /// Delta records.
    Delta(Delta),
    /// Blocks with data-integrity fields.
    Integrity(Integrity),
    /// Blocks whose places a list names.
    Lists(Lists),
    /// Typed elements.
    Typed(Typed),
    /// What moves no data: cache flush, translation fetch.
    Control(Control),
}

/// What taking note of a piece or slice comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Absorbed {
    /// There is more to do.
    More,
    /// The device has found the answer, but not exactly: the CPU finds the rest, from where the job stands now.
    Refine,
    /// That was the last of it, with this result.
    Done(Outcome),
}

/// A part of a job that is with a device, and what page faults have told of it so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// In the job's own unit.
    pub(crate) size: u64,
    /// How far the start has moved, see [`Continuation::advanced`].
    advanced: u32,
    exceptions: NumericExceptions,
}

impl Piece {
    #[inline]
    pub(crate) const fn new(size: u64) -> Self {
        Self { size, advanced: 0, exceptions: NumericExceptions::empty() }
    }

    /// Whether it is all that is `left` of its job, and nothing is known of it.
    #[inline]
    pub(crate) fn is_whole(&self, left: u64) -> bool {
        self.advanced == 0 && self.size == left
    }

    /// The rest of it is sent again.
    pub(crate) fn resume(&mut self, completion: &Completion, continuation: &Continuation) {
        // No more than the descriptor's size, which has as many bits.
        self.advanced = self.advanced.saturating_add(continuation.advanced);
        // A gather-reduce has started again, so that only its last record counts.
        if completion.opcode != opcode::GATHER_REDUCE
            && let Some(exceptions) = completion.exceptions()
        {
            self.exceptions |= exceptions;
        }
    }
}

/// A part of memory that an operation works on: first address, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl Region {
    const fn new(start: u64, len: u64) -> Self {
        Self { start, len }
    }
}

/// Everything that is left of the operands of a job; unused ones are empty.
pub(crate) type Operands = [Region; 5];

/// What a descriptor says besides what is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extras {
    /// Address of the completion record.
    record: u64,
    /// Whether results should go to the cache.
    cached: bool,
}

impl Extras {
    /// A record at address `record`, and results in the cache if they should be and a queue with `caps` can be told so.
    #[inline]
    pub(crate) fn new(record: u64, cached: bool, caps: &Capabilities) -> Self {
        Self { record, cached: cached && caps.cache_control() }
    }
}

/// What a family of operations knows about its jobs.
///
/// Pieces and slices are in a unit of the job's own: bytes of the region by which it goes forward.
pub(crate) trait Work: std::fmt::Debug + Sized {
    /// Under which name the job is counted.
    fn operation(&self) -> Operation;

    /// Bytes in all, done or not: what is counted, and compared with the policy's limits.
    fn total(&self) -> u64;

    /// What is left, in the job's own unit.
    fn left(&self) -> u64;

    /// Where the bytes are, for those jobs of the CPU's that can make use of it; before anything has been done.
    #[inline]
    fn set_hint(&mut self, _hint: Hint) {}

    /// Whether no device should have it, whatever it offers.
    fn is_for_cpu(&self) -> bool {
        false
    }

    /// Whether [`Work::absorb`] may ask the CPU to go on after a device has succeeded.
    fn may_refine(&self) -> bool {
        false
    }

    /// The next piece for a device with these capabilities; 0, or what [`Work::describe`] refuses, if there is none.
    fn next_piece(&self, caps: &Capabilities) -> u64;

    /// The next slice for the CPU: about `limit` bytes, which are 4 KiB or more, or the least that can be done.
    fn next_slice(&self, limit: u64) -> u64;

    /// The descriptor for the next `piece`.
    fn describe(&self, piece: u64, extras: Extras, caps: &Capabilities) -> Result<Descriptor, DescriptorError>;

    /// Puts into `rest`, which goes on with `piece` after a page fault, what the job knows better than a record. Its place
    /// and its size are those of `piece` already.
    fn correct(&self, _rest: &mut Descriptor, _piece: &Piece) {}

    /// What a record says of `piece` after `sent`, which was its descriptor, or that of its rest; `None` if the piece is
    /// not done, or the record contradicts the descriptor.
    #[inline]
    fn outcome_of(
        &self,
        _sent: &Descriptor,
        record: &CompletionRecord,
        _piece: &Piece,
        _caps: &Capabilities,
    ) -> Option<Outcome> {
        (record.status == status::SUCCESS).then_some(Outcome::Done)
    }

    /// Takes note that the next `piece` is done, with result `of_piece` (whose places count from its start).
    fn absorb(&mut self, piece: u64, of_piece: Outcome) -> Absorbed;

    /// Does the next `piece` on the CPU.
    ///
    /// # Safety
    ///
    /// The job's buffers are valid for what it reads and writes, no device is working on them, and nobody else
    /// touches them meanwhile.
    unsafe fn run(&self, piece: u64) -> Outcome;

    /// The result so far; final once nothing is left.
    fn outcome(&self) -> Outcome;

    /// Bytes from the start of each destination that are written when the job has ended so.
    fn written(&self, outcome: &Outcome) -> u64;

    /// What is left of the operands.
    fn operands(&self) -> Operands;
}

/// Has the family do it. What is done most often stays small enough to be compiled into its callers.
macro_rules! each {
    ($job:expr, $work:ident => $expression:expr) => {
        match $job {
            Job::Plain($work) => $expression,
            other => out_of_line(|| match other {
                Job::Plain($work) => $expression,
                Job::Delta($work) => $expression,
                Job::Integrity($work) => $expression,
                Job::Lists($work) => $expression,
                Job::Typed($work) => $expression,
                Job::Control($work) => $expression,
            }),
        }
    };
}

#[inline(never)]
fn out_of_line<T>(f: impl FnOnce() -> T) -> T {
    f()
}

impl From<Plain> for Job {
    fn from(plain: Plain) -> Self {
        Self::Plain(plain)
    }
}

/// Whatever the family does.
impl Work for Job {
    #[inline]
    fn operation(&self) -> Operation {
        each!(self, work => work.operation())
    }

    #[inline]
    fn total(&self) -> u64 {
        each!(self, work => work.total())
    }

    #[inline]
    fn left(&self) -> u64 {
        each!(self, work => work.left())
    }

    #[inline]
    fn is_for_cpu(&self) -> bool {
        each!(self, work => work.is_for_cpu())
    }

    fn may_refine(&self) -> bool {
        each!(self, work => work.may_refine())
    }

    #[inline]
    fn next_piece(&self, caps: &Capabilities) -> u64 {
        each!(self, work => work.next_piece(caps))
    }

    #[inline]
    fn set_hint(&mut self, hint: Hint) {
        each!(self, work => work.set_hint(hint));
    }

    #[inline]
    fn next_slice(&self, limit: u64) -> u64 {
        each!(self, work => work.next_slice(limit))
    }

    #[inline]
    fn describe(&self, piece: u64, extras: Extras, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        each!(self, work => work.describe(piece, extras, caps))
    }

    fn correct(&self, rest: &mut Descriptor, piece: &Piece) {
        each!(self, work => work.correct(rest, piece));
    }

    #[inline]
    fn outcome_of(
        &self,
        sent: &Descriptor,
        record: &CompletionRecord,
        piece: &Piece,
        caps: &Capabilities,
    ) -> Option<Outcome> {
        each!(self, work => work.outcome_of(sent, record, piece, caps))
    }

    #[inline]
    fn absorb(&mut self, piece: u64, of_piece: Outcome) -> Absorbed {
        each!(self, work => work.absorb(piece, of_piece))
    }

    #[inline]
    unsafe fn run(&self, piece: u64) -> Outcome {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { each!(self, work => work.run(piece)) }
    }

    #[inline]
    fn outcome(&self) -> Outcome {
        each!(self, work => work.outcome())
    }

    #[inline]
    fn written(&self, outcome: &Outcome) -> u64 {
        each!(self, work => work.written(outcome))
    }

    fn operands(&self) -> Operands {
        each!(self, work => work.operands())
    }
}

/// A pointer for the CPU. The provenance was exposed when the job was made.
#[inline]
fn source(address: u64) -> *const u8 {
    std::ptr::with_exposed_provenance(address as usize)
}

/// As [`source`], for writing.
#[inline]
fn target(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

/// The address of a region for a descriptor, whose provenance the device picks up.
#[inline]
fn expose(pointer: *const u8) -> u64 {
    pointer.expose_provenance() as u64
}
