//! Samples of type conversion and reduce.

use idxd_sys::compute::{compute_flag, compute_type, data_type as ty};
use idxd_sys::{Descriptor, opcode};

use super::{Expected, Operand, Output, Sample, Shape};
use crate::lab::{Area, Lab};
use crate::oracle::number;

/// Elements.
const COUNT: u64 = 1500;

/// Puts types, function and compute flags into a descriptor.
pub(crate) fn with_types(mut d: Descriptor, from: u8, to: u8, function: u8, flags: u16) -> Descriptor {
    d.set_op_u8(56, from | to << 4);
    d.set_op_u8(57, function | (flags << 4) as u8);
    d.set_op_u8(58, (flags >> 4) as u8);
    d
}

/// Signed integers, if the device has them.
pub(crate) fn signed(lab: &Lab<'_>) -> u16 {
    if lab.caps.dsacap[2] & idxd_sys::compute::dsacap2::SIGNED != 0 { compute_flag::SIGNED } else { 0 }
}

pub(super) fn sample(lab: &mut Lab<'_>, code: u8, shape: Shape) -> Sample {
    let d = Descriptor { xfer_size: COUNT as u32, ..lab.descriptor(code, 0) };
    if code == opcode::TYPE_CONV { conversion(lab, d, shape) } else { reduce(lab, d, shape) }
}

/// 16-bit integers become 32-bit integers.
fn conversion(lab: &mut Lab<'_>, d: Descriptor, shape: Shape) -> Sample {
    let [from, to] = shape.spaces();
    let flags = signed(lab);
    let elements: Vec<u64> = (0..COUNT).map(|_| lab.number() & 0xffff).collect();
    let widened = |element: &u64| number::wrapped(ty::INT32, number::integer(ty::INT16, *element, flags != 0));
    let results: Vec<u64> = elements.iter().map(widened).collect();
    let source = lab.area(from, 0x7ca, 2 * COUNT);
    lab.put(source, &number::bytes(ty::INT16, &elements));
    let target = lab.area(to, 0x124, 4 * COUNT);
    let d = Descriptor { src_addr: source.addr, dst_addr: target.addr, ..d };
    let operands = vec![Operand::new(source, 1, |at| at / 2 * 2), Operand::new(target, 3, |at| at / 4 * 2)];
    let output = Output::new(target, number::bytes(ty::INT32, &results), |done| done * 2);
    Sample::new(with_types(d, ty::INT16, ty::INT32, 0, flags), operands, vec![output])
        .expecting(Expected { result: Some(0), ..Expected::default() })
}

/// Sums of 32-bit integers that fit.
fn reduce(lab: &mut Lab<'_>, d: Descriptor, shape: Shape) -> Sample {
    let [from, to] = shape.spaces();
    let source = |lab: &mut Lab<'_>| {
        let elements: Vec<u64> = (0..COUNT).map(|_| lab.number() & 0x3fff_ffff).collect();
        let area = lab.area(from, 0x7cc, 4 * COUNT);
        lab.put(area, &number::bytes(ty::INT32, &elements));
        (area, elements)
    };
    let ((one, a), (two, b)) = (source(lab), source(lab));
    let sums: Vec<u64> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let bytes = number::bytes(ty::INT32, &sums);
    let count = if d.opcode() == opcode::REDUCE { 1 } else { 2 };
    let targets: Vec<Area> = (0..count).map(|_| lab.area(to, 0x124, 4 * COUNT)).collect();
    let second = targets.get(1).map_or(0, |area| area.addr);
    let op_specific = [targets[0].addr, second, 0];
    let d = Descriptor { src_addr: one.addr, dst_addr: two.addr, op_specific, ..d };
    let element = |area: Area, number: u8| Operand::new(area, number, |at| at / 4 * 4);
    let mut operands = vec![element(one, 1), element(two, 2)];
    operands.extend(targets.iter().zip(3..).map(|(area, number)| element(*area, number)));
    let outputs = targets.iter().map(|area| Output::new(*area, bytes.clone(), |done| done)).collect();
    Sample::new(with_types(d, ty::INT32, ty::INT32, compute_type::ADD, 0), operands, outputs)
        .expecting(Expected { result: Some(0), ..Expected::default() })
}
