//! Samples of delta records: every second unit of two regions differs.

use idxd_sys::{Descriptor, opcode};

use super::{Expected, Operand, Output, Sample};
use crate::bench::{PAGE, Space};
use crate::lab::Lab;

/// Bytes of the regions, whole units of 8.
const LENGTH: u64 = 2 * PAGE + 304;
/// Bytes of an entry: the number of the unit, and what it becomes.
const ENTRY: u64 = 10;

pub(super) fn sample(lab: &mut Lab<'_>, code: u8) -> Sample {
    let d = lab.descriptor(code, 0);
    let old = lab.area(Space::Own, 0x7c8, LENGTH);
    let old_bytes = lab.image(old);
    let mut new_bytes = old_bytes.clone();
    let mut record = Vec::new();
    for unit in (1..LENGTH / 8).step_by(2) {
        let bytes = lab.number().to_le_bytes();
        let at = 8 * unit as usize;
        new_bytes[at..at + 8].copy_from_slice(&bytes);
        record.extend_from_slice(&(unit as u16).to_le_bytes());
        record.extend_from_slice(&bytes);
    }
    let length = record.len() as u64;
    if code == opcode::CR_DELTA {
        let new = lab.area(Space::Own, 0x7c8, LENGTH);
        lab.put(new, &new_bytes);
        // Room for two entries more, so that what is behind the record is seen to stay.
        let target = lab.area(Space::Own, 0xc9, length + 2 * ENTRY).first(length);
        let mut d = Descriptor { src_addr: old.addr, dst_addr: new.addr, xfer_size: LENGTH as u32, ..d };
        d.op_specific = [target.addr, length + 2 * ENTRY, 0];
        let unit = |at: u64| at / 8 * 8;
        // The unit whose entry finds no place.
        let unwritten = |at: u64| 8 * (1 + 2 * (at / ENTRY));
        let operands = vec![Operand::new(old, 1, unit), Operand::new(new, 2, unit), Operand::new(target, 3, unwritten)];
        let output = Output::new(target, record, |done| ENTRY * (done / 16));
        let expected = Expected { result: Some(1), words: [Some(length), None], ..Expected::default() };
        return Sample::new(d, operands, vec![output]).expecting(expected);
    }
    let source = lab.area_of(0xc9, &record);
    let mut d = Descriptor { src_addr: source.addr, dst_addr: old.addr, xfer_size: LENGTH as u32, ..d };
    d.set_op_u32(40, length as u32);
    let outputs =
        record
            .chunks_exact(ENTRY as usize)
            .zip(0..)
            .map(|(entry, i)| {
                let unit = u64::from(u16::from_le_bytes([entry[0], entry[1]]));
                Output::new(old.from(8 * unit).first(8), entry[2..].to_vec(), move |done| {
                    if done >= ENTRY * (i + 1) { 8 } else { 0 }
                })
            })
            .collect();
    // Bytes completed are those of the delta record: up to the first entry whose unit is not before the fault.
    let operands = vec![
        Operand::new(source, 1, |at| at / ENTRY * ENTRY),
        Operand::new(old, 3, |at| ENTRY * ((at / 8).saturating_sub(1).div_ceil(2))),
    ];
    Sample::new(d, operands, outputs)
}
