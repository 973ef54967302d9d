//! What is left to do after a completion.
//!
//! A page fault with block on fault off ends an operation part of the way (status 0x03). The rest of it is a smaller
//! operation of the same kind, and so a descriptor: the device can execute it, or the CPU. A move may have run backwards,
//! and each continuation may choose its direction anew.
//!
//! Records come from a device, and a device may be broken or hostile. Numbers that contradict the descriptor are reported
//! as a [`ProtocolError`]; they never lead to an address outside the regions that the descriptor named.

use idxd_sys::{CompletionRecord, Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::completion::Completion;
use super::status::Status;

/// What follows from a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resume {
    /// The operation is done. A batch is done when all members were processed, some of which may have failed.
    Complete(Completion),
    /// A part of the operation is done, and this is the rest.
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
    /// How far the start of the region has moved, in bytes (batch: members). 0 if a move ran backwards. Add it, over all
    /// continuations, to the offset of a difference that is found later.
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
    /// More bytes (batch: members) are reported than were asked for.
    #[error("{completed} bytes or members are reported, but only {size} were asked for")]
    TooMuch {
        /// What the record says.
        completed: u32,
        /// What the descriptor says.
        size: u32,
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
            Status::BATCH_LIST_FAULT if is_batch => rest_of_batch(sent, &completion, caps),
            Status::PAGE_FAULT | Status::PAGE_RESPONSE => rest_of_transfer(sent, &completion),
            status @ (Status::BATCH_FAIL | Status::BATCH_LIST_FAULT) => Err(ProtocolError::UnexpectedStatus(status)),
            status if !status.is_in_records() => Err(ProtocolError::UnexpectedStatus(status)),
            status => Ok(Self::Fail(status)),
        }
    }
}

/// Whether the operation may be executed again from its start after an unknown part of it has been done, with the outcome
/// of a single execution.
///
/// Not if it destroys its own input: an overlapping move, or a CRC whose seed is read from the destination. Not for a
/// batch, whose members must be looked at one by one, and not for operations that are not known here.
pub fn is_restartable(descriptor: &Descriptor) -> bool {
    let size = u64::from(descriptor.xfer_size);
    match descriptor.opcode() {
        opcode::NOP
        | opcode::DRAIN
        | opcode::FILL
        | opcode::COMPARE
        | opcode::COMPVAL
        | opcode::DUALCAST
        | opcode::CRCGEN
        | opcode::CFLUSH => true,
        opcode::MEMMOVE => descriptor.src_addr.abs_diff(descriptor.dst_addr) >= size,
        opcode::COPY_CRC => {
            let seed_size = if descriptor.flags() & flag::CRC_64 == 0 { 4 } else { 8 };
            let (seed, destination) = (descriptor.op_specific[1], descriptor.dst_addr);
            let apart = if seed >= destination { seed - destination >= size } else { destination - seed >= seed_size };
            descriptor.flags() & flag::CRC_READ_SEED == 0 || apart
        }
        _ => false,
    }
}

/// What a successful record may say.
fn check_success(sent: &Descriptor, completion: &Completion) -> Result<(), ProtocolError> {
    match completion.opcode {
        opcode::COMPARE | opcode::COMPVAL => match completion.result {
            // A difference is inside the region.
            1 if completion.bytes_completed >= sent.xfer_size => {
                Err(ProtocolError::TooMuch { completed: completion.bytes_completed, size: sent.xfer_size })
            }
            0 | 1 => Ok(()),
            other => Err(ProtocolError::BadResult(other)),
        },
        _ => within(completion.bytes_completed, sent.xfer_size),
    }
}

fn within(completed: u32, size: u32) -> Result<(), ProtocolError> {
    if completed > size { Err(ProtocolError::TooMuch { completed, size }) } else { Ok(()) }
}

/// The rest of an operation on memory.
fn rest_of_transfer(sent: &Descriptor, completion: &Completion) -> Result<Resume, ProtocolError> {
    let op = completion.opcode;
    match op {
        opcode::NOP | opcode::BATCH | opcode::DRAIN => return Err(ProtocolError::UnexpectedStatus(completion.status)),
        opcode::MEMMOVE if completion.result > 1 => return Err(ProtocolError::BadResult(completion.result)),
        // A difference would have ended a compare, and only a move runs backwards.
        opcode::COMPARE | opcode::COMPVAL | opcode::DUALCAST | opcode::COPY_CRC if completion.result != 0 => {
            return Err(ProtocolError::BadResult(completion.result));
        }
        _ => {}
    }
    let done = completion.bytes_completed;
    within(done, sent.xfer_size)?;
    let advanced = if completion.is_reversed() { 0 } else { done };
    let offset = u64::from(advanced);

    let mut rest = *sent;
    rest.xfer_size -= done;
    rest.flags_opcode &= !flag::FENCE;
    match op {
        opcode::MEMMOVE | opcode::COMPARE => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            rest.dst_addr = rest.dst_addr.wrapping_add(offset);
        }
        opcode::DUALCAST => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            rest.dst_addr = rest.dst_addr.wrapping_add(offset);
            rest.op_specific[0] = rest.op_specific[0].wrapping_add(offset);
        }
        opcode::FILL => {
            rest.dst_addr = rest.dst_addr.wrapping_add(offset);
            rotate_fill(&mut rest, done);
        }
        opcode::COMPVAL => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            rest.dst_addr = rotate(rest.dst_addr, done);
        }
        opcode::CRCGEN => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            chain_crc(&mut rest, completion);
        }
        opcode::COPY_CRC => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            rest.dst_addr = rest.dst_addr.wrapping_add(offset);
            chain_crc(&mut rest, completion);
        }
        opcode::CFLUSH => rest.dst_addr = rest.dst_addr.wrapping_add(offset),
        _ => return Ok(Resume::Fail(completion.status)),
    }
    if rest.xfer_size == 0 {
        return Ok(Resume::Complete(as_success(sent, completion)));
    }
    Ok(Resume::Continue(Continuation { descriptor: rest, advanced }))
}

/// The rest of a batch after a fault on its list.
fn rest_of_batch(sent: &Descriptor, completion: &Completion, caps: &Capabilities) -> Result<Resume, ProtocolError> {
    let done = completion.bytes_completed;
    within(done, sent.xfer_size)?;
    let left = sent.xfer_size - done;
    let address = sent.src_addr.wrapping_add(u64::from(done) * 64);
    // Without batch continuation the result byte says nothing, and the flag is reserved.
    let earlier_error =
        caps.batch_continuation() && (completion.result & 1 != 0 || sent.flags() & flag::BATCH_ERROR != 0);
    if left == 0 {
        return Ok(Resume::Complete(*completion));
    }
    if left < caps.min_batch_size() {
        return Ok(Resume::LastMember { address, earlier_error });
    }
    let mut rest = *sent;
    rest.src_addr = address;
    rest.xfer_size = left;
    rest.flags_opcode &= !flag::BATCH_ERROR;
    if earlier_error {
        rest.flags_opcode |= flag::BATCH_ERROR;
    }
    Ok(Resume::Continue(Continuation { descriptor: rest, advanced: done }))
}

/// The completion of an operation that faulted after its last byte.
fn as_success(sent: &Descriptor, completion: &Completion) -> Completion {
    let expected_difference = sent.flags() & flag::CHECK_RESULT != 0 && sent.op_specific[0] & 1 == 1;
    let status = if expected_difference { Status::SUCCESS_FALSE } else { Status::SUCCESS };
    Completion { status, fault: None, result: 0, bytes_completed: 0, ..*completion }
}

/// The 8-byte pattern as it continues after `done` bytes.
fn rotate(pattern: u64, done: u32) -> u64 {
    pattern.rotate_right(done % 8 * 8)
}

fn rotate_fill(rest: &mut Descriptor, done: u32) {
    if rest.flags() & flag::FILL_16 == 0 {
        rest.src_addr = rotate(rest.src_addr, done);
    } else {
        let pattern = u128::from(rest.op_specific[0]) << 64 | u128::from(rest.src_addr);
        let rotated = pattern.rotate_right(done % 16 * 8);
        rest.src_addr = rotated as u64;
        rest.op_specific[0] = (rotated >> 64) as u64;
    }
}

/// The CRC so far becomes the seed. Without a byte done, there is none, and the old seed stays.
fn chain_crc(rest: &mut Descriptor, completion: &Completion) {
    if let Some(crc) = completion.crc() {
        rest.flags_opcode &= !(flag::CRC_READ_SEED | flag::ADDR3_TC);
        let seed = if rest.flags() & flag::CRC_64 == 0 { crc & 0xffff_ffff } else { crc };
        rest.op_specific = [seed, 0, 0];
    }
}
