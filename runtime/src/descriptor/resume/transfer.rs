//! The rest of an operation on plain bytes: regions advance together, patterns rotate, CRCs are chained.

use idxd_sys::{Descriptor, flag, opcode};

use super::super::completion::Completion;
use super::{Continuation, ProtocolError, Resume, as_success, to_be_cut, within};

/// The rest of an operation on memory.
pub(super) fn rest(sent: &Descriptor, completion: &Completion) -> Result<Resume, ProtocolError> {
    let op = completion.opcode;
    match op {
        opcode::MEMMOVE if completion.result > 1 => return Err(ProtocolError::BadResult(completion.result)),
        // A difference would have ended a compare, and only a move runs backwards.
        opcode::COMPARE
        | opcode::COMPVAL
        | opcode::DUALCAST
        | opcode::COPY_CRC
        | opcode::INTER_DOMAIN_COPY
        | opcode::INTER_DOMAIN_COMPARE
        | opcode::INTER_DOMAIN_COMPVAL
            if completion.result != 0 =>
        {
            return Err(ProtocolError::BadResult(completion.result));
        }
        _ => {}
    }
    let done = completion.bytes_completed;
    within(done, sent.xfer_size)?;
    let advanced = if completion.is_reversed() { 0 } else { done };
    let offset = u64::from(advanced);

    let mut rest = to_be_cut(sent);
    rest.xfer_size -= done;
    match op {
        opcode::MEMMOVE | opcode::COMPARE | opcode::INTER_DOMAIN_COPY | opcode::INTER_DOMAIN_COMPARE => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            rest.dst_addr = rest.dst_addr.wrapping_add(offset);
        }
        opcode::DUALCAST => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            rest.dst_addr = rest.dst_addr.wrapping_add(offset);
            rest.op_specific[0] = rest.op_specific[0].wrapping_add(offset);
        }
        opcode::FILL | opcode::INTER_DOMAIN_FILL => {
            rest.dst_addr = rest.dst_addr.wrapping_add(offset);
            rotate_fill(&mut rest, done);
        }
        opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            rest.dst_addr = rotate(rest.dst_addr, done);
        }
        opcode::CRCGEN => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            chain_crc(&mut rest, completion);
        }
        opcode::COPY_CRC => {
            rest.src_addr = rest.src_addr.wrapping_add(offset);
            rest.dst_addr = rest.dst_addr.wrapping_add(offset);
            chain_crc(&mut rest, completion);
        }
        opcode::CFLUSH => rest.dst_addr = rest.dst_addr.wrapping_add(offset),
        _ => return Ok(Resume::Fail(completion.status)),
    }
    if rest.xfer_size == 0 {
        return Ok(Resume::Complete(as_success(sent, completion)));
    }
    Ok(Resume::Continue(Continuation { descriptor: rest, advanced }))
}

/// The 8-byte pattern as it continues after `done` bytes.
fn rotate(pattern: u64, done: u32) -> u64 {
    pattern.rotate_right(done % 8 * 8)
}

fn rotate_fill(rest: &mut Descriptor, done: u32) {
    if rest.flags() & flag::FILL_16 == 0 {
        rest.src_addr = rotate(rest.src_addr, done);
    } else {
        let pattern = u128::from(rest.op_specific[0]) << 64 | u128::from(rest.src_addr);
        let rotated = pattern.rotate_right(done % 16 * 8);
        rest.src_addr = rotated as u64;
        rest.op_specific[0] = (rotated >> 64) as u64;
    }
}

/// The CRC so far becomes the seed. Without a byte done, there is none, and the old seed stays.
fn chain_crc(rest: &mut Descriptor, completion: &Completion) {
    if let Some(crc) = completion.crc() {
        rest.flags_opcode &= !(flag::CRC_READ_SEED | flag::ADDR3_TC);
        let seed = if rest.flags() & flag::CRC_64 == 0 { crc & 0xffff_ffff } else { crc };
        rest.op_specific = [seed, 0, 0];
    }
}
