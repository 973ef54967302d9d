//! Samples of data-integrity operations: nine blocks of 512 bytes, tags that count on both sides.

use idxd_sys::{Descriptor, dif, opcode};

use super::{Expected, Operand, Output, Sample};
use crate::bench::{PAGE, Space};
use crate::lab::Lab;
use crate::oracle::integrity::{Tags, protected, tuples};

const BLOCK: u64 = 512;
const BLOCKS: u64 = 9;

/// The tags that source tuples have.
pub(crate) const SOURCE: Tags = Tags {
    reference: 0xffff_fffe,
    mask: 0x00f0,
    application: 0xfffd,
    counts_reference: true,
    counts_application: true,
};
/// The tags that destination tuples get.
pub(crate) const DESTINATION: Tags =
    Tags { reference: 0x1234_5678, mask: 0, application: 0xabcd, counts_reference: true, counts_application: false };

/// Whether the source of an operation has tuples.
pub(crate) fn checks(code: u8) -> bool {
    matches!(code, opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT)
}

/// Whether an operation makes tuples.
pub(crate) fn makes(code: u8) -> bool {
    matches!(code, opcode::DIF_INS | opcode::DIF_UPDT | opcode::DIX_GEN)
}

/// The bits of the flag bytes that make tags count.
pub(crate) fn tag_flags(tags: Tags, fixed_reference: u8, counts_application: u8) -> u8 {
    let reference = if tags.counts_reference { 0 } else { fixed_reference };
    reference | if tags.counts_application { counts_application } else { 0 }
}

/// Puts the tags of both sides into a descriptor, as far as the operation has them.
pub(crate) fn with_tags(mut d: Descriptor, source: Tags, destination: Tags) -> Descriptor {
    if checks(d.opcode()) {
        d.set_op_u8(40, tag_flags(source, dif::SOURCE_REF_FIXED, dif::SOURCE_APP_INCREMENTS));
        d.op_specific[1] = source.word();
    }
    if makes(d.opcode()) {
        d.set_op_u8(41, tag_flags(destination, dif::DEST_REF_FIXED, dif::DEST_APP_INCREMENTS));
        d.op_specific[2] = destination.word();
    }
    d
}

/// What an operation makes of data.
pub(crate) fn made(code: u8, data: &[u8], block: usize, tags: Tags, dif_flags: u8) -> Vec<u8> {
    match code {
        opcode::DIF_INS | opcode::DIF_UPDT => protected(data, block, tags, dif_flags),
        opcode::DIF_STRP => data.to_vec(),
        opcode::DIX_GEN => tuples(data, block, tags, dif_flags),
        _ => Vec::new(),
    }
}

pub(super) fn sample(lab: &mut Lab<'_>, code: u8) -> Sample {
    let d = lab.descriptor(code, 0);
    let data = lab.noise(BLOCK * BLOCKS);
    let from = if checks(code) { protected(&data, BLOCK as usize, SOURCE, 0) } else { data.clone() };
    let source = lab.area_of(0xe01, &from);
    let bytes = made(code, &data, BLOCK as usize, DESTINATION, 0);
    let (stride, step) = (from.len() as u64 / BLOCKS, bytes.len() as u64 / BLOCKS);
    let d = with_tags(Descriptor { src_addr: source.addr, xfer_size: from.len() as u32, ..d }, SOURCE, DESTINATION);
    let mut sample = Sample::new(d, vec![Operand::new(source, 1, move |at| at / stride * stride)], vec![]);
    if code != opcode::DIF_CHECK {
        // The tuples alone must be aligned, and lie in two pages.
        let offset = if code == opcode::DIX_GEN { PAGE - 32 } else { 0xd03 };
        let target = lab.area(Space::Own, offset, bytes.len() as u64);
        sample.d.dst_addr = target.addr;
        sample.operands.push(Operand::new(target, 3, move |at| at / step * stride));
        sample.outputs.push(Output::new(target, bytes, move |done| done / stride * step));
    }
    let words =
        [checks(code).then(|| SOURCE.after(BLOCKS).word()), makes(code).then(|| DESTINATION.after(BLOCKS).word())];
    sample.expecting(Expected { words, ..Expected::default() })
}
