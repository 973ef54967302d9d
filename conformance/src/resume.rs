//! What software submits after a partial completion, as the sections on the operations describe it.

use idxd_sys::compute::sgl_format;
use idxd_sys::{CompletionRecord, Descriptor, dif, flag, opcode};

use crate::oracle::number;
use crate::sample::integrity::checks as integrity_checks;

/// How an operation goes on.
pub(crate) enum Rest {
    /// With this descriptor.
    Continued(Descriptor),
    /// From its beginning.
    Anew,
}

/// The rest of an operation whose record says that it was completed partially.
pub(crate) fn rest(d: &Descriptor, record: &CompletionRecord) -> Rest {
    let done = u64::from(record.bytes_completed);
    if done == 0 {
        return Rest::Anew;
    }
    let left = d.xfer_size.wrapping_sub(record.bytes_completed);
    let (src, dst) = (d.src_addr.wrapping_add(done), d.dst_addr.wrapping_add(done));
    let [w40, w48, w56] = d.op_specific;
    Rest::Continued(match d.opcode() {
        // Counted from the end.
        opcode::MEMMOVE if record.result == 1 => Descriptor { xfer_size: left, ..*d },
        opcode::MEMMOVE | opcode::INTER_DOMAIN_COPY | opcode::COMPARE | opcode::INTER_DOMAIN_COMPARE => {
            Descriptor { src_addr: src, dst_addr: dst, xfer_size: left, ..*d }
        }
        opcode::FILL | opcode::INTER_DOMAIN_FILL => fill(d, done, left),
        opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL => {
            let pattern = d.dst_addr.rotate_right((done % 8) as u32 * 8);
            Descriptor { src_addr: src, dst_addr: pattern, xfer_size: left, ..*d }
        }
        opcode::DUALCAST => {
            let op_specific = [w40.wrapping_add(done), w48, w56];
            Descriptor { src_addr: src, dst_addr: dst, xfer_size: left, op_specific, ..*d }
        }
        opcode::CRCGEN | opcode::COPY_CRC => {
            // The value so far is the seed of the rest, wherever the first seed came from.
            let dst_addr = if d.opcode() == opcode::COPY_CRC { dst } else { 0 };
            let op_specific = [record.op_specific[0], 0, 0];
            let mut rest = Descriptor { src_addr: src, dst_addr, xfer_size: left, op_specific, ..*d };
            rest.set_opcode_flags(d.opcode(), d.flags() & !flag::CRC_READ_SEED);
            rest
        }
        opcode::AP_DELTA => {
            let mut rest = Descriptor { src_addr: src, ..*d };
            rest.set_op_u32(40, d.op_u32(40).wrapping_sub(record.bytes_completed));
            rest
        }
        opcode::DIF_CHECK..=opcode::DIF_UPDT | opcode::DIX_GEN => integrity(d, record, left),
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => typed(d, done),
        opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => return list(d, record),
        opcode::CFLUSH => Descriptor { dst_addr: dst, xfer_size: left, ..*d },
        opcode::BATCH => {
            let mut rest = Descriptor { src_addr: d.src_addr.wrapping_add(64 * done), xfer_size: left, ..*d };
            // The flag carries the failures of the first part.
            let failed = if record.result == 0 { 0 } else { flag::BATCH_ERROR };
            rest.set_opcode_flags(opcode::BATCH, d.flags() | failed);
            rest
        }
        _ => return Rest::Anew,
    })
}

/// The pattern continues where it was broken off.
fn fill(d: &Descriptor, done: u64, left: u32) -> Descriptor {
    let shift = (done % 16) as u32 * 8;
    let (low, high) = (d.src_addr, if d.flags() & flag::FILL_16 != 0 { d.op_specific[0] } else { d.src_addr });
    let pattern = (u128::from(high) << 64 | u128::from(low)).rotate_right(shift);
    let mut rest =
        Descriptor { src_addr: pattern as u64, dst_addr: d.dst_addr.wrapping_add(done), xfer_size: left, ..*d };
    if d.flags() & flag::FILL_16 != 0 {
        rest.op_specific[0] = (pattern >> 64) as u64;
    }
    rest
}

/// The record has the tags of the next block.
fn integrity(d: &Descriptor, record: &CompletionRecord, left: u32) -> Descriptor {
    let block = dif::block_size(d.op_u8(42));
    let checks = integrity_checks(d.opcode());
    let stride = if checks { block + 8 } else { block };
    let written = match d.opcode() {
        opcode::DIF_INS | opcode::DIF_UPDT => block + 8,
        opcode::DIF_STRP => block,
        opcode::DIX_GEN => 8,
        _ => 0,
    };
    let blocks = record.bytes_completed / stride;
    let [source, destination] = record.op_specific;
    let [w40, w48, w56] = d.op_specific;
    let op_specific = [
        w40,
        if checks { source } else { w48 },
        if matches!(d.opcode(), opcode::DIF_INS | opcode::DIF_UPDT | opcode::DIX_GEN) { destination } else { w56 },
    ];
    Descriptor {
        src_addr: d.src_addr.wrapping_add(u64::from(record.bytes_completed)),
        dst_addr: d.dst_addr.wrapping_add(u64::from(blocks * written)),
        xfer_size: left,
        op_specific,
        ..*d
    }
}

/// Bytes completed are those of a source.
fn typed(d: &Descriptor, done: u64) -> Descriptor {
    let (input, output) = (number::size(d.op_u8(56) & 0xf), number::size(d.op_u8(56) >> 4));
    let elements = done / input;
    let written = elements * output;
    let xfer_size = d.xfer_size - elements as u32;
    let src_addr = d.src_addr + done;
    if d.opcode() == opcode::TYPE_CONV {
        return Descriptor { src_addr, dst_addr: d.dst_addr + written, xfer_size, ..*d };
    }
    let [first, second, fields] = d.op_specific;
    let second = if d.opcode() == opcode::REDUCE_DUALCAST { second + written } else { second };
    Descriptor {
        src_addr,
        dst_addr: d.dst_addr + done,
        xfer_size,
        op_specific: [first + written, second, fields],
        ..*d
    }
}

/// Goes on with the first entry that is not whole.
fn list(d: &Descriptor, record: &CompletionRecord) -> Rest {
    let entries = record.op_specific[0] >> 32 & 0xffff;
    if entries == 0 {
        return Rest::Anew;
    }
    let size = sgl_format::entry_size(d.op_u8(59) >> 4).map_or(8, u64::from);
    let bytes = entries * u64::from(d.op_u32(40)) * number::size(d.op_u8(56) & 0xf);
    let mut rest = Descriptor { xfer_size: d.xfer_size - bytes as u32, ..*d };
    rest.set_op_u16(44, d.op_u16(44) - entries as u16);
    match d.opcode() {
        opcode::GATHER_COPY => {
            rest.src_addr += entries * size;
            rest.dst_addr += bytes;
        }
        opcode::SCATTER_COPY => {
            rest.src_addr += bytes;
            rest.dst_addr += entries * size;
        }
        _ => rest.dst_addr += entries * size,
    }
    Rest::Continued(rest)
}
