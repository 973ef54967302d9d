//! The rules of the builders on 64 bytes from anywhere: another library, a trace, a fuzzer.

use idxd_sys::{Descriptor, opcode};

use super::capabilities::Capabilities;
use super::error::DescriptorError;
use super::{batch, compare, control, crc, fill, moves, rules};

/// Where a descriptor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// Submitted to the work queue itself.
    Queue,
    /// In the list of a batch.
    BatchMember,
}

/// Checks a raw descriptor as the builders check theirs: opcode, flags, reserved bytes, sizes, alignments, overlaps.
///
/// Bytes 0 to 3 must be zero at the queue, since ENQCMD and the kernel fill them in, and are ignored in a member. The list
/// of a batch is not followed; validate each member with [`Position::BatchMember`].
///
/// # Errors
///
/// The first rule that is broken. Operations that have no builder here are
/// [`UnsupportedOpcode`](DescriptorError::UnsupportedOpcode), whatever the capabilities say.
pub fn validate(descriptor: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let check = match descriptor.opcode() {
        opcode::NOP => control::check_nop,
        opcode::BATCH => batch::check_batch,
        opcode::DRAIN => control::check_drain,
        opcode::MEMMOVE => moves::check_move,
        opcode::FILL => fill::check_fill,
        opcode::COMPARE => compare::check_compare,
        opcode::COMPVAL => compare::check_compare_pattern,
        opcode::DUALCAST => moves::check_dualcast,
        opcode::CRCGEN => crc::check_crc,
        opcode::COPY_CRC => crc::check_copy_crc,
        opcode::CFLUSH => control::check_cache_flush,
        opcode => return Err(rules::unsupported(opcode)),
    };
    check(descriptor, caps, position)
}
