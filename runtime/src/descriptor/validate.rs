//! The rules of the builders on 64 bytes from anywhere: another library, a trace, a fuzzer.

use idxd_sys::{Descriptor, opcode};

use super::capabilities::Capabilities;
use super::error::DescriptorError;
use super::{
    batch, compare, control, convert, crc, delta, dif, fetch, fill, gather, gather_reduce, inter_domain, moves, reduce,
    rules, window,
};

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
/// The first rule that is broken. Opcodes that are not assigned are
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
        opcode::CR_DELTA => delta::check_create,
        opcode::AP_DELTA => delta::check_apply,
        opcode::DUALCAST => moves::check_dualcast,
        opcode::TRANSL_FETCH => fetch::check_fetch,
        opcode::CRCGEN => crc::check_crc,
        opcode::COPY_CRC => crc::check_copy_crc,
        opcode::DIF_CHECK => dif::check_dif_check,
        opcode::DIF_INS => dif::check_dif_insert,
        opcode::DIF_STRP => dif::check_dif_strip,
        opcode::DIF_UPDT => dif::check_dif_update,
        opcode::DIX_GEN => dif::check_dix_generate,
        opcode::TYPE_CONV => convert::check_convert,
        opcode::REDUCE => reduce::check_reduce,
        opcode::REDUCE_DUALCAST => reduce::check_reduce_dualcast,
        opcode::GATHER_REDUCE => gather_reduce::check_gather_reduce,
        opcode::GATHER_COPY => gather::check_gather_copy,
        opcode::SCATTER_COPY => gather::check_scatter_copy,
        opcode::SCATTER_FILL => gather::check_scatter_fill,
        opcode::CFLUSH => control::check_cache_flush,
        opcode::UPDATE_WINDOW => window::check_update_window,
        opcode::INTER_DOMAIN_COPY => inter_domain::check_copy,
        opcode::INTER_DOMAIN_FILL => inter_domain::check_fill,
        opcode::INTER_DOMAIN_COMPARE => inter_domain::check_compare,
        opcode::INTER_DOMAIN_COMPVAL => inter_domain::check_compare_pattern,
        opcode => return Err(rules::unsupported(opcode)),
    };
    check(descriptor, caps, position)
}
