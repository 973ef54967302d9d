//! Scatter-gather lists: formats, sizes, fields; and gather-reduce.

use idxd_sys::compute::{compute_type, data_type as ty, dsacap0, exception, sgl_format};
use idxd_sys::{Descriptor, flag, opcode, status};

use super::derived;
use super::rules::{FAR, sample, with};
use crate::bench::Space;
use crate::case::{Case, Check, Need, ensure};
use crate::derived::run_whole;
use crate::lab::{Lab, flagged, has_status};
use crate::oracle::number;
use crate::sample::lists::{BLOCK, ENTRIES, with_list};
use crate::sample::typed::with_types;

const REDUCE: u8 = opcode::GATHER_REDUCE;
const GATHER: u8 = opcode::GATHER_COPY;
const ALL: [u8; 4] = [REDUCE, GATHER, opcode::SCATTER_COPY, opcode::SCATTER_FILL];

/// Whether the list of an operation lies at the source.
fn gathers(code: u8) -> bool {
    matches!(code, REDUCE | GATHER)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&ALL);
    for code in ALL {
        cases.extend([
            with(code, status::SUCCESS, "indices of 32 and 64 bits", "8.1.14", move |lab| {
                [sgl_format::INDEX_32, sgl_format::INDEX_64]
                    .into_iter()
                    .try_for_each(|format| indexed(lab, code, format))
            }),
            with(code, status::BAD_FIELD_VALUE, "formats and types that are reserved", "8.1.14", move |lab| {
                let sample = sample(lab, code)?;
                for format in [0, 4, 15] {
                    let mut d = sample.d;
                    d.set_op_u8(59, format << 4);
                    lab.refuses(&d, status::BAD_FIELD_VALUE)?;
                }
                let mut d = sample.d;
                d.set_op_u8(56, d.op_u8(56) | 0xf);
                lab.refuses(&d, status::BAD_FIELD_VALUE).map(drop)
            }),
            with(code, status::BAD_COUNT, "more entries than a list may have", "5.4", move |lab| {
                let entries = lab.caps.max_sgl_size + 1;
                let mut d = with_list(lab.descriptor(code, 0), entries as u16, FAR[2], sgl_format::OFFSET_64);
                (d.src_addr, d.dst_addr) = (FAR[0], FAR[1]);
                if code == REDUCE {
                    d.xfer_size = 2;
                    d = with_types(d, ty::INT32, ty::INT32, compute_type::ADD, 0);
                } else {
                    d.xfer_size = 8 * entries;
                    d.set_op_u32(40, 1);
                    d.set_op_u8(56, ty::INT64);
                }
                lab.refuses(&d, status::BAD_COUNT).map(drop)
            })
            .needing(&[Need::ListLimit]),
        ]);
        if code != REDUCE {
            cases.push(with(code, status::BAD_SIZE, "a size that the list does not have", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                for size in [sample.d.xfer_size - 8, sample.d.xfer_size + 8] {
                    lab.refuses(&Descriptor { xfer_size: size, ..sample.d }, status::BAD_SIZE)?;
                }
                Ok(())
            }));
        }
        if gathers(code) {
            cases.push(with(code, status::OVERLAP, "a destination inside the list", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                lab.refuses(&Descriptor { dst_addr: sample.d.src_addr + 8, ..sample.d }, status::OVERLAP).map(drop)
            }));
        }
    }
    cases.extend([
        with(REDUCE, status::SUCCESS, "a list of one entry is a copy", "8.3.22", single),
        with(REDUCE, status::SUCCESS_FALSE, "an overflow, with check result", "8.2.2", overflow),
        with(REDUCE, status::BAD_COUNT, "a list without entries", "5.4", |lab| {
            let mut d = sample(lab, REDUCE)?.d;
            d.set_op_u16(44, 0);
            lab.refuses(&d, status::BAD_COUNT).map(drop)
        }),
        with(REDUCE, status::BAD_SIZE, "a block, and a sum of blocks, that are too large", "5.4", |lab| {
            let d = sample(lab, REDUCE)?.d;
            let block = dsacap0::max_gather_reduce_block(lab.caps.dsacap[0]);
            let d = Descriptor { xfer_size: block / 4 + 1, dst_addr: FAR[1], ..d };
            lab.refuses(&d, status::BAD_SIZE).map(drop)
        }),
        with(REDUCE, status::BAD_FIELD_VALUE, "types, functions and flags that it does not have", "5.4", |lab| {
            super::typed::wrong_fields(lab, REDUCE)
        }),
        with(REDUCE, status::ADDR_ALIGN, "a destination, and a buffer, at an odd address", "5.4", |lab| {
            let sample = sample(lab, REDUCE)?;
            lab.refuses(&Descriptor { dst_addr: sample.d.dst_addr + 2, ..sample.d }, status::ADDR_ALIGN)?;
            // The base of all buffers.
            let mut d = sample.d;
            d.op_specific[1] += 2;
            has_status(&lab.run(&d)?, status::ADDR_ALIGN)?;
            lab.verify_but(&sample.written())
        }),
    ]);
    cases
}

/// The buffers of the sample, one after the other and in reverse, by their numbers.
fn indexed(lab: &mut Lab<'_>, code: u8, format: u8) -> Check {
    if !dsacap0::has_sgl_format(lab.caps.dsacap[0], format) {
        return Ok(());
    }
    let size = sgl_format::entry_size(format).unwrap_or(8) as usize;
    let indices: Vec<u64> = (0..ENTRIES).rev().collect();
    let bytes: Vec<u8> = indices.iter().flat_map(|i| i.to_le_bytes().into_iter().take(size)).collect();
    let list = lab.area_of(8, &bytes);
    let buffers = lab.area(Space::Own, 0x40, BLOCK * ENTRIES);
    let buffer = |i: u64| buffers.from(BLOCK * i).first(BLOCK);
    let mut d = with_list(lab.descriptor(code, 0), ENTRIES as u16, buffers.addr, format);
    if code == REDUCE {
        d.xfer_size = (BLOCK / 8) as u32;
        d = with_types(d, ty::INT64, ty::INT64, compute_type::XOR, 0);
    } else {
        d.xfer_size = (BLOCK * ENTRIES) as u32;
        d.set_op_u32(40, (BLOCK / 8) as u32);
        d.set_op_u8(56, ty::INT64);
    }
    if gathers(code) {
        let images: Vec<Vec<u8>> = indices.iter().map(|i| lab.image(buffer(*i))).collect();
        let bytes = if code == GATHER {
            images.concat()
        } else {
            let mut sum = vec![0; BLOCK as usize];
            images.iter().flatten().zip(0..).for_each(|(byte, i)| sum[i % BLOCK as usize] ^= byte);
            sum
        };
        let target = lab.area(Space::Own, 0x88, bytes.len() as u64);
        lab.expect(target, &bytes);
        (d.src_addr, d.dst_addr) = (list.addr, target.addr);
    } else if code == opcode::SCATTER_COPY {
        let source = lab.area(Space::Own, 0x123, BLOCK * ENTRIES);
        let bytes = lab.image(source);
        for (i, piece) in indices.iter().zip(bytes.chunks(BLOCK as usize)) {
            lab.expect(buffer(*i), piece);
        }
        (d.src_addr, d.dst_addr) = (source.addr, list.addr);
    } else {
        let pattern = lab.number();
        lab.expect(buffers, &crate::sample::plain::repeated(&pattern.to_le_bytes(), buffers.len));
        (d.src_addr, d.dst_addr) = (pattern, list.addr);
    }
    has_status(&lab.run(&d)?, status::SUCCESS)?;
    lab.verify()
}

/// One vector, which becomes the result.
fn single(lab: &mut Lab<'_>) -> Check {
    let mut sample = sample(lab, REDUCE)?;
    let first = sample.operands[1].area.first(BLOCK);
    sample.outputs[0].bytes = lab.image(first);
    let mut d = sample.d;
    d.set_op_u16(44, 1);
    run_whole(lab, &sample, &d)
}

/// Two vectors whose sums wrap around.
fn overflow(lab: &mut Lab<'_>) -> Check {
    let sample = sample(lab, REDUCE)?;
    let vector = number::bytes(ty::INT32, &[0xffff_ffff; (BLOCK / 4) as usize]);
    let buffers = sample.operands[1].area;
    for i in 0..ENTRIES {
        // As the offsets of the list say.
        let at = (buffers.len - BLOCK) / (ENTRIES - 1) * i;
        lab.put(buffers.from(at).first(BLOCK), &vector);
    }
    let sum = 0_u64.wrapping_sub(ENTRIES) & 0xffff_ffff;
    let bytes = number::bytes(ty::INT32, &[sum; (BLOCK / 4) as usize]);
    lab.expect(sample.outputs[0].area, &bytes);
    for (flags, becomes) in [(0, status::SUCCESS), (flag::CHECK_RESULT, status::SUCCESS_FALSE)] {
        let record = lab.run(&flagged(sample.d, flags, 0))?;
        has_status(&record, becomes)?;
        ensure!(record.result == exception::OVERFLOW, "exceptions {:#x}", record.result);
        lab.verify()?;
    }
    Ok(())
}
