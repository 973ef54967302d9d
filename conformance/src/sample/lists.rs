//! Samples of operations over scatter-gather lists: six buffers of 800 bytes, with gaps, in the order of their addresses.

use idxd_sys::compute::{compute_type, data_type as ty, sgl_format};
use idxd_sys::{Descriptor, opcode};

use super::plain::repeated;
use super::typed::with_types;
use super::{Expected, Operand, Output, Sample, Shape};
use crate::bench::{PAGE, Space};
use crate::lab::{Area, Lab};
use crate::oracle::number;

/// Entries of a list.
pub(crate) const ENTRIES: u64 = 6;
/// Bytes of a buffer.
pub(crate) const BLOCK: u64 = 800;
/// Bytes from one buffer to the next.
const STRIDE: u64 = 1300;

/// Puts a list into a descriptor.
pub(crate) fn with_list(mut d: Descriptor, entries: u16, base: u64, format: u8) -> Descriptor {
    d.set_op_u16(44, entries);
    d.op_specific[1] = base;
    d.set_op_u8(59, d.op_u8(59) | format << 4);
    d
}

/// A fault at an offset of the buffers: whole buffers before it, and what it leaves of the one that it hits.
fn buffers_reach(at: u64) -> u64 {
    let (buffer, rest) = (at / STRIDE, at % STRIDE);
    if rest >= BLOCK { (buffer + 1) * BLOCK } else { buffer * BLOCK + rest }
}

pub(super) fn sample(lab: &mut Lab<'_>, code: u8, shape: Shape) -> Sample {
    let [from, to] = shape.spaces();
    let scatters = matches!(code, opcode::SCATTER_COPY | opcode::SCATTER_FILL);
    let reduces = code == opcode::GATHER_REDUCE;
    let buffers = lab.area(if scatters { to } else { from }, 0x7c8, STRIDE * (ENTRIES - 1) + BLOCK);
    // Byte offsets from a base that is not the first buffer.
    let base = buffers.addr - 64;
    let offsets: Vec<u8> = (0..ENTRIES).flat_map(|i| (64 + STRIDE * i).to_le_bytes()).collect();
    let list = lab.area_of(PAGE - 24, &offsets);
    let buffer = |i: u64| buffers.from(STRIDE * i).first(BLOCK);
    let mut d = with_list(lab.descriptor(code, 0), ENTRIES as u16, base, sgl_format::OFFSET_64);
    let list_operand = Operand::new(list, 6, move |at| if reduces { 0 } else { at / 8 * BLOCK });
    let total = BLOCK * ENTRIES;
    if reduces {
        return reduction(lab, d, list_operand, buffers, &(0..ENTRIES).map(buffer).collect::<Vec<_>>());
    }
    d.xfer_size = total as u32;
    d.set_op_u32(40, (BLOCK / 8) as u32);
    d.set_op_u8(56, ty::INT64);
    let buffer_outputs = |bytes: &[u8]| -> Vec<Output> {
        (0..ENTRIES)
            .zip(bytes.chunks_exact(BLOCK as usize))
            .map(|(i, bytes)| {
                Output::new(buffer(i), bytes.to_vec(), move |done| done.saturating_sub(i * BLOCK).min(BLOCK))
            })
            .collect()
    };
    let sample = match code {
        opcode::GATHER_COPY => {
            let bytes = (0..ENTRIES).flat_map(|i| lab.image(buffer(i))).collect();
            let target = lab.area(to, 0x123, total);
            let d = Descriptor { src_addr: list.addr, dst_addr: target.addr, ..d };
            let buffers = Operand::new(buffers, 1, buffers_reach);
            Sample::new(d, vec![list_operand, buffers, Operand::plain(target, 3)], vec![Output::plain(target, bytes)])
        }
        opcode::SCATTER_COPY => {
            let source = lab.area(from, 0x123, total);
            let bytes = lab.image(source);
            let d = Descriptor { src_addr: source.addr, dst_addr: list.addr, ..d };
            let operands = vec![Operand::plain(source, 1), list_operand, Operand::new(buffers, 3, buffers_reach)];
            Sample::new(d, operands, buffer_outputs(&bytes))
        }
        _ => {
            let pattern = lab.number();
            let d = Descriptor { src_addr: pattern, dst_addr: list.addr, ..d };
            let outputs = buffer_outputs(&repeated(&pattern.to_le_bytes(), total));
            Sample::new(d, vec![list_operand, Operand::new(buffers, 3, buffers_reach)], outputs)
        }
    };
    Sample { granule: BLOCK, ..sample }
}

/// The sum of vectors of 32-bit integers.
fn reduction(lab: &mut Lab<'_>, d: Descriptor, list: Operand, all: Area, buffers: &[Area]) -> Sample {
    let mut sums = vec![0; (BLOCK / 4) as usize];
    for buffer in buffers {
        let elements: Vec<u64> = (0..BLOCK / 4).map(|_| lab.number() & 0x00ff_ffff).collect();
        lab.put(*buffer, &number::bytes(ty::INT32, &elements));
        sums.iter_mut().zip(&elements).for_each(|(sum, element)| *sum += element);
    }
    let target = lab.area(Space::Own, PAGE - 400, BLOCK);
    let d = Descriptor {
        src_addr: list.area.addr,
        dst_addr: target.addr,
        xfer_size: (BLOCK / 4) as u32,
        ..with_types(d, ty::INT32, ty::INT32, compute_type::ADD, 0)
    };
    let output = Output { loose: true, ..Output::plain(target, number::bytes(ty::INT32, &sums)) };
    let operands = vec![list, Operand::new(all, 1, |_| 0), Operand::new(target, 3, |_| 0)];
    Sample::new(d, operands, vec![output]).expecting(Expected { result: Some(0), ..Expected::default() })
}
