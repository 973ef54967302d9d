//! Copies, fills and comparisons (specification sections 8.3.4 to 8.3.7, 8.3.10, 8.3.28 to 8.3.31).

use idxd_sys::{Descriptor, flag, opcode, status};

use super::{Answer, Memory, Nothing, defined, meet};

pub(super) fn copy(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let size = u64::from(d.xfer_size);
    // Only the move in one address space is defined for overlapping regions.
    defined(d.opcode() == opcode::INTER_DOMAIN_COPY && meet((d.src_addr, size), (d.dst_addr, size)))?;
    let bytes = memory.get(d.src_addr, size)?;
    memory.put(d.dst_addr, &bytes)?;
    Ok(Answer::DONE)
}

pub(super) fn dualcast(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let bytes = memory.get(d.src_addr, d.xfer_size.into())?;
    memory.put(d.dst_addr, &bytes)?;
    memory.put(d.op_specific[0], &bytes)?;
    Ok(Answer::DONE)
}

/// `len` bytes of a pattern that is repeated.
pub(super) fn repeated(pattern: &[u8], len: u64) -> Vec<u8> {
    (0..len as usize).map(|at| pattern[at % pattern.len()]).collect()
}

pub(super) fn fill(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let mut pattern = d.src_addr.to_le_bytes().to_vec();
    if d.flags() & flag::FILL_16 != 0 {
        pattern.extend(d.op_specific[0].to_le_bytes());
    }
    memory.put(d.dst_addr, &repeated(&pattern, d.xfer_size.into()))?;
    Ok(Answer::DONE)
}

pub(super) fn compare(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let size = d.xfer_size.into();
    Ok(compared(d, &memory.get(d.src_addr, size)?, &memory.get(d.dst_addr, size)?))
}

pub(super) fn compare_pattern(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let size = d.xfer_size.into();
    Ok(compared(d, &memory.get(d.src_addr, size)?, &repeated(&d.dst_addr.to_le_bytes(), size)))
}

fn compared(d: &Descriptor, a: &[u8], b: &[u8]) -> Answer {
    let difference = (0..a.len()).find(|at| a[*at] != b[*at]);
    let result = u8::from(difference.is_some());
    let as_expected = d.flags() & flag::CHECK_RESULT == 0 || result == d.op_u8(40) & 1;
    Answer {
        status: if as_expected { status::SUCCESS } else { status::SUCCESS_FALSE },
        result,
        completed: difference.unwrap_or(0) as u32,
        words: [0; 2],
    }
}
