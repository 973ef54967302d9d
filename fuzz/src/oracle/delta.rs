//! Delta records (specification sections 8.3.8 and 8.3.9): units of 8 bytes, entries of 10.

use idxd_sys::{Descriptor, flag, status};

use super::{Answer, Memory, Nothing};

pub(super) fn create(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let size = u64::from(d.xfer_size);
    let (at, most) = (d.op_specific[0], u64::from(d.op_u32(48)));
    let (old, new) = (memory.get(d.src_addr, size)?, memory.get(d.dst_addr, size)?);
    let mut record = Vec::new();
    let mut full = None;
    for unit in 0..size as usize / 8 {
        let bytes = unit * 8..unit * 8 + 8;
        if old[bytes.clone()] == new[bytes.clone()] {
            continue;
        }
        if record.len() as u64 + 10 > most {
            full = Some(8 * unit as u32);
            break;
        }
        record.extend((unit as u16).to_le_bytes());
        record.extend(&new[bytes]);
    }
    memory.get(at, most)?;
    memory.put(at, &record)?;
    let result = match (full, record.len()) {
        (Some(_), _) => 2,
        (None, 0) => 0,
        (None, _) => 1,
    };
    // The mask of expected results has a bit for each of them.
    let as_expected = d.flags() & flag::CHECK_RESULT == 0 || d.op_u8(56) >> result & 1 == 1;
    let status = if as_expected { status::SUCCESS } else { status::SUCCESS_FALSE };
    Ok(Answer { status, result, completed: full.unwrap_or(0), words: [record.len() as u64, 0] })
}

pub(super) fn apply(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let record = memory.get(d.src_addr, d.op_u32(40).into())?;
    memory.get(d.dst_addr, d.xfer_size.into())?;
    let mut before = None;
    for (done, entry) in record.chunks_exact(10).enumerate() {
        let offset = u16::from_le_bytes([entry[0], entry[1]]);
        let wrong = if before.is_some_and(|before| offset <= before) {
            status::DELTA_OFFSET_ORDER
        } else if u64::from(offset) * 8 + 8 > u64::from(d.xfer_size) {
            status::DELTA_OFFSET_RANGE
        } else {
            memory.put(d.dst_addr + u64::from(offset) * 8, &entry[2..])?;
            before = Some(offset);
            continue;
        };
        return Ok(Answer { status: wrong, completed: 10 * done as u32, ..Answer::DONE });
    }
    Ok(Answer::DONE)
}
