//! What is left to do after a completion.
//!
//! A page fault with block on fault off ends an operation part of the way (status 0x03). The rest of it is a smaller
//! operation of the same kind, and so a descriptor: the device can execute it, or the CPU. A move may have run backwards,
//! and each continuation may choose its direction anew. A few operations cannot go on from where they stopped; they
//! start again.
//!
//! Records come from a device, and a device may be broken or hostile. Numbers that contradict the descriptor are reported
//! as a [`ProtocolError`]; they never lead to an address outside the regions that the descriptor named.

mod batch;
mod delta;
mod dif;
mod list;
mod restart;
mod transfer;
mod typed;

use idxd_sys::{CompletionRecord, Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::completion::Completion;
use super::results::NumericExceptions;
use super::status::Status;
pub use restart::is_restartable;

/// What follows from a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resume {
    /// The operation is done. A batch is done when all members were processed, some of which may have failed.
    Complete(Completion),
    /// A part of the operation is done, and this is the rest. Create delta, translation fetch and gather-reduce start
    /// again instead: then this is all of the operation, and what was done counts for nothing.
    Continue(Continuation),
    /// One member of a batch is left, and the queue takes no batch of one: submit the descriptor in memory at this address
    /// on its own, without its fence flag. If `earlier_error` is set and the member has a fence, it is abandoned instead.
    LastMember {
        /// Address of the member in the descriptor list.
        address: u64,
        /// Whether an earlier member has failed, as far as the device says (GENCAP bit 15).
        earlier_error: bool,
    },
    /// The operation ended with an error. How much of it was done is unknown; see [`is_restartable`].
    Fail(Status),
    /// The record cannot belong to this descriptor: the device, or whoever wrote the record, is broken. How much was done
    /// is unknown; see [`is_restartable`].
    Protocol(ProtocolError),
}

/// The rest of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The rest, with record address and options of the original. A fence is cleared, since it has been passed. In a copy
    /// of the original list it can be a member again; otherwise it goes to the queue.
    pub descriptor: Descriptor,
    /// How far the start of the region has moved: in bytes of the source (apply delta: of the delta record; fill and
    /// gather copy: of the destination; scatter fill: of all blocks together), in members of a batch. 0 if a move ran
    /// backwards, or the operation starts again. Add it, over all continuations, to the offset of a difference that is
    /// found later.
    pub advanced: u32,
}

/// A contradiction between a completion record and its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The record has not been written.
    #[error("the completion record has not been written yet (status 0)")]
    NotCompleted,
    /// A status that a device never gives this operation, or never writes to a record.
    #[error("status {:#04x} cannot occur in a record of this operation", .0.code())]
    UnexpectedStatus(Status),
    /// More bytes (batch: members, scatter-gather list: entries) are reported than were asked for.
    #[error("{completed} bytes, members or entries are reported, but only {size} were asked for")]
    TooMuch {
        /// What the record says.
        completed: u32,
        /// What the descriptor says.
        size: u32,
    },
    /// A number of bytes that is not a whole number of what the operation works on: blocks, elements, delta entries.
    #[error("{completed} bytes are reported, which is no multiple of {unit}, in which this operation works")]
    Uneven {
        /// What the record says.
        completed: u32,
        /// What it must be a multiple of, in bytes.
        unit: u32,
    },
    /// Entries of a scatter-gather list and bytes that cannot both be true.
    #[error("{entries} entries of the list are reported, which do not make {completed} bytes")]
    ListMismatch {
        /// The entries that the record says.
        entries: u16,
        /// The bytes that the record says.
        completed: u32,
    },
    /// A result code that this operation does not define for this status.
    #[error("result {0} is not defined here")]
    BadResult(u8),
}

impl Resume {
    /// Plans what to do after `sent` ended with `record`. `sent` is the descriptor as it was submitted, or the continuation
    /// of an earlier plan; it has passed [`validate`](super::validate). `caps` is the queue that the rest will go to; only
    /// the rest of a batch depends on it. For a queue with other capabilities than the first, validate the rest again.
    ///
    /// Results add up over continuations: offsets of differences (see [`Continuation::advanced`]), and numeric exceptions
    /// (see [`Completion::exceptions`]). A CRC and the tags of the data-integrity operations are carried on in the
    /// rest; those of its record are those of the whole.
    ///
    /// After status 0x04, an invalid page response, the rest is planned too: only an access by the CPU tells whether the
    /// page is really missing.
    pub fn plan(sent: &Descriptor, record: &CompletionRecord, caps: &Capabilities) -> Self {
        match Self::try_plan(sent, record, caps) {
            Ok(plan) => plan,
            Err(error) => Self::Protocol(error),
        }
    }

    fn try_plan(sent: &Descriptor, record: &CompletionRecord, caps: &Capabilities) -> Result<Self, ProtocolError> {
        let completion = Completion::decode(sent.opcode(), record);
        let is_batch = completion.opcode == opcode::BATCH;
        match completion.status {
            Status::NONE => Err(ProtocolError::NotCompleted),
            Status::SUCCESS | Status::SUCCESS_FALSE => {
                check_success(sent, &completion)?;
                Ok(Self::Complete(completion))
            }
            Status::BATCH_FAIL if is_batch => {
                within(completion.bytes_completed, sent.xfer_size)?;
                Ok(Self::Complete(completion))
            }
            Status::BATCH_LIST_FAULT if is_batch => batch::rest(sent, &completion, caps),
            Status::PAGE_FAULT | Status::PAGE_RESPONSE => rest(sent, &completion),
            status @ (Status::BATCH_FAIL | Status::BATCH_LIST_FAULT) => Err(ProtocolError::UnexpectedStatus(status)),
            status if !status.is_in_records() => Err(ProtocolError::UnexpectedStatus(status)),
            status => Ok(Self::Fail(status)),
        }
    }
}

/// The rest of an operation after a page fault.
fn rest(sent: &Descriptor, completion: &Completion) -> Result<Resume, ProtocolError> {
    match completion.opcode {
        // These touch no memory that could be missing, or have a status of their own for it.
        opcode::NOP | opcode::BATCH | opcode::DRAIN | opcode::UPDATE_WINDOW => {
            Err(ProtocolError::UnexpectedStatus(completion.status))
        }
        opcode::CR_DELTA => delta::rest_of_create(sent, completion),
        opcode::AP_DELTA => delta::rest_of_apply(sent, completion),
        opcode::DIF_CHECK | opcode::DIF_INS | opcode::DIF_STRP | opcode::DIF_UPDT | opcode::DIX_GEN => {
            dif::rest(sent, completion)
        }
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => typed::rest(sent, completion),
        opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => list::rest(sent, completion),
        opcode::TRANSL_FETCH | opcode::GATHER_REDUCE => Ok(again(sent, completion)),
        _ => transfer::rest(sent, completion),
    }
}

/// What a successful record may say.
fn check_success(sent: &Descriptor, completion: &Completion) -> Result<(), ProtocolError> {
    let completed = completion.bytes_completed;
    match completion.opcode {
        opcode::COMPARE | opcode::COMPVAL | opcode::INTER_DOMAIN_COMPARE | opcode::INTER_DOMAIN_COMPVAL => {
            match completion.result {
                // A difference is inside the region.
                1 if completed >= sent.xfer_size => Err(ProtocolError::TooMuch { completed, size: sent.xfer_size }),
                0 | 1 => Ok(()),
                other => Err(ProtocolError::BadResult(other)),
            }
        }
        opcode::CR_DELTA => delta::check_created(sent, completion),
        opcode::AP_DELTA => within(completed, sent.op_u32(40)),
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST | opcode::GATHER_REDUCE => {
            within(completed, typed::source_size(sent))
        }
        // The field means nothing here.
        opcode::TRANSL_FETCH | opcode::UPDATE_WINDOW => Ok(()),
        _ => within(completed, sent.xfer_size),
    }
}

fn within(completed: u32, size: u32) -> Result<(), ProtocolError> {
    if completed > size { Err(ProtocolError::TooMuch { completed, size }) } else { Ok(()) }
}

/// A multiple of what the operation works on.
fn even(completed: u32, unit: u32) -> Result<(), ProtocolError> {
    if completed.is_multiple_of(unit) { Ok(()) } else { Err(ProtocolError::Uneven { completed, unit }) }
}

/// What was sent, to be cut down to the rest. A fence has been passed.
const fn to_be_cut(sent: &Descriptor) -> Descriptor {
    let mut rest = *sent;
    rest.flags_opcode &= !flag::FENCE;
    rest
}

/// All of the operation once more. What destroys its input is not tried again.
fn again(sent: &Descriptor, completion: &Completion) -> Resume {
    if is_restartable(sent) {
        Resume::Continue(Continuation { descriptor: to_be_cut(sent), advanced: 0 })
    } else {
        Resume::Fail(completion.status)
    }
}

/// The completion of an operation that faulted after its last byte.
fn as_success(sent: &Descriptor, completion: &Completion) -> Completion {
    // The result byte of a fault means something in few operations.
    let (result, is_as_expected) = match completion.opcode {
        opcode::CR_DELTA => (completion.result, sent.op_u8(56) >> (completion.result & 7) & 1 == 1),
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => {
            let exceptions = completion.result & NumericExceptions::all().bits();
            (exceptions, exceptions == 0)
        }
        // No difference was found.
        _ => (0, sent.op_specific[0] & 1 == 0),
    };
    let is_false = sent.flags() & flag::CHECK_RESULT != 0 && !is_as_expected;
    let status = if is_false { Status::SUCCESS_FALSE } else { Status::SUCCESS };
    Completion { status, fault: None, result, bytes_completed: 0, ..*completion }
}
