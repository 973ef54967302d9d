//! Samples of moves, fills, comparisons, CRCs, of what moves nothing, and of their inter-domain kin.

use idxd_sys::{Descriptor, flag, idpt, opcode};

use super::{Expected, LENGTH, Operand, Output, Sample, Shape};
use crate::bench::{PAGE, Space};
use crate::case::Check;
use crate::lab::{Area, Entry, Lab, flagged};
use crate::oracle::crc::crc;

pub(super) fn sample(lab: &mut Lab<'_>, code: u8, shape: Shape) -> Check<Sample> {
    let d = lab.descriptor(code, 0);
    Ok(match code {
        opcode::MEMMOVE | opcode::INTER_DOMAIN_COPY => copy(lab, d, shape),
        opcode::FILL | opcode::INTER_DOMAIN_FILL => fill(lab, d, shape),
        opcode::COMPARE | opcode::INTER_DOMAIN_COMPARE => compare(lab, d, shape),
        opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL => compare_pattern(lab, d, shape),
        opcode::DUALCAST => dualcast(lab, d),
        opcode::CRCGEN | opcode::COPY_CRC => checksum(lab, d),
        opcode::CFLUSH => {
            let range = lab.area(Space::Own, 0x7c9, LENGTH);
            let d = Descriptor { dst_addr: range.addr, xfer_size: LENGTH as u32, ..d };
            Sample::new(d, vec![Operand::plain(range, 3)], vec![])
        }
        opcode::TRANSL_FETCH => {
            let region = lab.area(Space::Own, 0x7c9, LENGTH);
            let d = Descriptor { src_addr: region.addr, xfer_size: LENGTH as u32, ..d };
            Sample::new(d, vec![Operand::new(region, 1, |_| 0)], vec![])
        }
        opcode::BATCH => batch(lab, d),
        opcode::UPDATE_WINDOW => update_window(lab, d)?,
        // No-op and drain.
        _ => Sample::new(d, vec![], vec![]),
    })
}

fn copy(lab: &mut Lab<'_>, d: Descriptor, shape: Shape) -> Sample {
    let [from, to] = shape.spaces();
    let (source, target) = (lab.area(from, 0x7c9, LENGTH), lab.area(to, 0x123, LENGTH));
    let d = Descriptor { src_addr: source.addr, dst_addr: target.addr, xfer_size: LENGTH as u32, ..d };
    let bytes = lab.image(source);
    Sample::new(d, vec![Operand::plain(source, 1), Operand::plain(target, 3)], vec![Output::plain(target, bytes)])
}

fn dualcast(lab: &mut Lab<'_>, d: Descriptor) -> Sample {
    let source = lab.area(Space::Own, 0x7c9, LENGTH);
    let targets = [0x123, 0x123].map(|offset| lab.area(Space::Own, offset, LENGTH));
    let op_specific = [targets[1].addr, 0, 0];
    let d = Descriptor { src_addr: source.addr, dst_addr: targets[0].addr, xfer_size: LENGTH as u32, op_specific, ..d };
    let bytes = lab.image(source);
    let operands = vec![Operand::plain(source, 1), Operand::plain(targets[0], 3), Operand::plain(targets[1], 4)];
    Sample::new(d, operands, targets.map(|target| Output::plain(target, bytes.clone())).into())
}

fn fill(lab: &mut Lab<'_>, d: Descriptor, shape: Shape) -> Sample {
    let target = lab.area(shape.spaces()[1], 0x123, LENGTH);
    let pattern = lab.number();
    let bytes = repeated(&pattern.to_le_bytes(), LENGTH);
    let d = Descriptor { src_addr: pattern, dst_addr: target.addr, xfer_size: LENGTH as u32, ..d };
    Sample::new(d, vec![Operand::plain(target, 3)], vec![Output::plain(target, bytes)])
}

/// A pattern over and over.
pub(crate) fn repeated(pattern: &[u8], len: u64) -> Vec<u8> {
    pattern.iter().copied().cycle().take(len as usize).collect()
}

/// Two regions that differ in one byte of the last page.
fn compare(lab: &mut Lab<'_>, d: Descriptor, shape: Shape) -> Sample {
    let [one, two] = shape.spaces();
    let (one, two) = (lab.area(one, 0x7c9, LENGTH), lab.area(two, 0x7c9, LENGTH));
    let mut bytes = lab.image(one);
    let at = LENGTH - 5;
    bytes[at as usize] ^= 0x10;
    lab.put(two, &bytes);
    let d = Descriptor { src_addr: one.addr, dst_addr: two.addr, xfer_size: LENGTH as u32, ..d };
    let expected = Expected { result: Some(1), completed: Some((at, 0)), ..Expected::default() };
    Sample::new(d, vec![Operand::plain(one, 1), Operand::plain(two, 2)], vec![]).expecting(expected)
}

/// A region with a byte of the last page that is not of the pattern. Where it is reported is a lower bound.
fn compare_pattern(lab: &mut Lab<'_>, d: Descriptor, shape: Shape) -> Sample {
    let source = lab.area(shape.spaces()[0], 0x7c9, LENGTH);
    let pattern = lab.number();
    let mut bytes = repeated(&pattern.to_le_bytes(), LENGTH);
    let at = LENGTH - 5;
    bytes[at as usize] ^= 0x10;
    lab.put(source, &bytes);
    let d = Descriptor { src_addr: source.addr, dst_addr: pattern, xfer_size: LENGTH as u32, ..d };
    let expected = Expected { result: Some(1), completed: Some((at, 7)), ..Expected::default() };
    Sample::new(d, vec![Operand::plain(source, 1)], vec![]).expecting(expected)
}

/// A CRC with its seed in memory.
fn checksum(lab: &mut Lab<'_>, d: Descriptor) -> Sample {
    let copies = d.opcode() == opcode::COPY_CRC;
    let source = lab.area(Space::Own, 0x7c9, LENGTH);
    let seed_value = lab.number() as u32;
    let seed = lab.area_of(0x7c4, &seed_value.to_le_bytes());
    let bytes = lab.image(source);
    let value = crc(0, u64::from(seed_value), &bytes);
    let op_specific = [0, seed.addr, 0];
    let d = Descriptor { src_addr: source.addr, xfer_size: LENGTH as u32, op_specific, ..d };
    let mut sample = Sample::new(
        flagged(d, flag::CRC_READ_SEED, 0),
        vec![Operand::plain(source, 1), Operand::new(seed, 2, |_| 0)],
        vec![],
    );
    if copies {
        let target = lab.area(Space::Own, 0x123, LENGTH);
        sample.d.dst_addr = target.addr;
        sample.operands.push(Operand::plain(target, 3));
        sample.outputs.push(Output::plain(target, bytes));
    }
    sample.expecting(Expected { words: [Some(value), None], ..Expected::default() })
}

/// 70 fills of a cache line, each with a record of its own, so that the list has two pages.
fn batch(lab: &mut Lab<'_>, d: Descriptor) -> Sample {
    let count = (PAGE / 64 + 6).min(u64::from(lab.caps.max_batch_size)).min(100);
    let target = lab.area(Space::Own, 0x40, 64 * count);
    let list = lab.area(Space::Own, 0x40, 64 * count);
    let (mut members, mut bytes) = (Vec::new(), Vec::new());
    for i in 0..count {
        let pattern = lab.number();
        let completion_addr = lab.record(1 + i);
        let mut member =
            Descriptor { completion_addr, src_addr: pattern, dst_addr: target.addr + 64 * i, xfer_size: 64, ..d };
        member.set_opcode_flags(opcode::FILL, crate::lab::RECORDED);
        members.extend_from_slice(zerocopy::IntoBytes::as_bytes(&member));
        bytes.extend(repeated(&pattern.to_le_bytes(), 64));
    }
    lab.put(list, &members);
    let d = Descriptor { src_addr: list.addr, xfer_size: count as u32, ..d };
    // A batch counts descriptors.
    let output = Output::new(target, bytes, |done| 64 * done);
    let expected = Expected { completed: Some((count, 0)), ..Expected::default() };
    Sample::new(d, vec![Operand::new(list, 1, |at| at / 64)], vec![output]).expecting(expected)
}

/// An update of the window of an entry by its owner, which is the submitter.
fn update_window(lab: &mut Lab<'_>, d: Descriptor) -> Check<Sample> {
    let [own, _] = lab.pasids()?;
    let handle = lab.open(Entry::of(own, own).with(idpt::ALLOW_UPDATE))?;
    let window = Area { space: Space::Own, addr: 0x5000, len: 0x3000 };
    let mut d = Descriptor { src_addr: window.addr, dst_addr: window.len, ..d };
    d.set_op_u8(61, idpt::UPDATE_READ | idpt::UPDATE_WRITE | idpt::UPDATE_ENABLE);
    d.set_op_u16(62, handle);
    Ok(Sample { handle: Some(handle), ..Sample::new(d, vec![], vec![]) })
}
