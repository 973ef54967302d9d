//! Which operations may be executed again from their start.

use idxd_sys::{Descriptor, flag, opcode};

use super::super::compute::Typed;
use super::super::dif::Units;
use super::super::rules::{Region, overlaps};
use super::super::sgl::List;

/// Whether the operation may be executed again from its start after an unknown part of it has been done, with the outcome
/// of a single execution.
///
/// Not if it destroys its own input: an overlapping move, a CRC whose seed is read from the destination, a delta record
/// that is applied over itself, a conversion or reduce into one of its sources, tuples that are updated in place, a list
/// that is overwritten by what it gathers. Not for a batch, whose members must be looked at one by one, and not for
/// operations that are not known here.
///
/// Blocks that a scatter-gather list names are not looked at, nor where windows of other address spaces lie: where those
/// overlap what is read, even a single execution has no defined outcome.
pub fn is_restartable(descriptor: &Descriptor) -> bool {
    let d = descriptor;
    let size = u64::from(d.xfer_size);
    match d.opcode() {
        opcode::NOP
        | opcode::DRAIN
        | opcode::FILL
        | opcode::COMPARE
        | opcode::COMPVAL
        | opcode::DUALCAST
        | opcode::TRANSL_FETCH
        | opcode::CRCGEN
        | opcode::DIF_CHECK
        | opcode::SCATTER_COPY
        | opcode::SCATTER_FILL
        | opcode::CFLUSH
        | opcode::UPDATE_WINDOW
        | opcode::INTER_DOMAIN_FILL
        | opcode::INTER_DOMAIN_COMPARE
        | opcode::INTER_DOMAIN_COMPVAL => true,
        opcode::MEMMOVE => d.src_addr.abs_diff(d.dst_addr) >= size,
        opcode::COPY_CRC => {
            let seed_size = if d.flags() & flag::CRC_64 == 0 { 4 } else { 8 };
            d.flags() & flag::CRC_READ_SEED == 0 || !overlaps((d.op_specific[1], seed_size), (d.dst_addr, size))
        }
        opcode::CR_DELTA => {
            let record = (d.op_specific[0], u64::from(d.op_u32(48)));
            !overlaps((d.src_addr, size), record) && !overlaps((d.dst_addr, size), record)
        }
        opcode::AP_DELTA => !overlaps((d.src_addr, u64::from(d.op_u32(40))), (d.dst_addr, size)),
        opcode::DIF_INS | opcode::DIF_STRP | opcode::DIF_UPDT | opcode::DIX_GEN => {
            let units = Units::of(d);
            let written = size.div_ceil(u64::from(units.source)) * u64::from(units.destination);
            !overlaps((d.src_addr, size), (d.dst_addr, written))
        }
        opcode::TYPE_CONV => {
            let (input, output) = Typed::of(d).sizes(d.xfer_size);
            keeps(
                &Memory { space: alternate(d, flag::ALTERNATE_SOURCE, 60), region: (d.src_addr, input) },
                &Memory { space: alternate(d, flag::ALTERNATE_DESTINATION, 62), region: (d.dst_addr, output) },
            )
        }
        opcode::REDUCE | opcode::REDUCE_DUALCAST => {
            let (input, output) = Typed::of(d).sizes(d.xfer_size);
            let memory = |at, region| Memory { space: selected(d, at), region };
            let sources = [memory(0, (d.src_addr, input)), memory(1, (d.dst_addr, input))];
            let first = memory(2, (d.op_specific[0], output));
            let second = memory(3, (d.op_specific[1], output));
            let is_dualcast = d.opcode() == opcode::REDUCE_DUALCAST;
            sources.iter().all(|source| keeps(source, &first) && (!is_dualcast || keeps(source, &second)))
        }
        opcode::GATHER_REDUCE => {
            let (_, output) = Typed::of(d).sizes(d.xfer_size);
            !overlaps((d.src_addr, List::of(d).size()), (d.dst_addr, output))
        }
        opcode::GATHER_COPY => {
            let list = Memory { space: None, region: (d.src_addr, List::of(d).size()) };
            keeps(&list, &Memory { space: alternate(d, flag::ALTERNATE_DESTINATION, 62), region: (d.dst_addr, size) })
        }
        opcode::INTER_DOMAIN_COPY => keeps(
            &Memory { space: alternate(d, flag::ALTERNATE_SOURCE, 60), region: (d.src_addr, size) },
            &Memory { space: alternate(d, flag::ALTERNATE_DESTINATION, 62), region: (d.dst_addr, size) },
        ),
        _ => false,
    }
}

/// An operand: its region, and the handle through which it is reached, if any.
struct Memory {
    space: Option<u16>,
    region: Region,
}

/// Whether writing the one leaves the other as it is.
fn keeps(source: &Memory, destination: &Memory) -> bool {
    source.space != destination.space || !overlaps(source.region, destination.region)
}

/// The handle at byte `offset`, if the flag says that it is used.
fn alternate(d: &Descriptor, flag: u32, offset: usize) -> Option<u16> {
    (d.flags() & flag != 0).then(|| d.op_u16(offset))
}

/// The handle of an operand of a reduce: first source, second source, first destination, second destination.
fn selected(d: &Descriptor, operand: u32) -> Option<u16> {
    match d.op_u8(59) >> (2 * operand) & 3 {
        _ if d.flags() & flag::INTER_DOMAIN_SELECTOR == 0 => None,
        1 => Some(d.op_u16(60)),
        2 => Some(d.op_u16(62)),
        _ => None,
    }
}
