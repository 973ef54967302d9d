//! The rest of gather copy, scatter copy and scatter fill: the entries that are not completed. Of a block that is done in
//! part, all is done again, whether or not bytes completed count the part.

use idxd_sys::{Descriptor, opcode};

use super::super::completion::Completion;
use super::super::gather::block_size;
use super::super::sgl::List;
use super::{Continuation, ProtocolError, Resume, as_success, to_be_cut, within};

pub(super) fn rest(sent: &Descriptor, completion: &Completion) -> Result<Resume, ProtocolError> {
    let (list, block) = (List::of(sent), block_size(sent));
    if list.entry_size == 0 || block == 0 {
        return Ok(Resume::Fail(completion.status));
    }
    let completed = completion.bytes_completed;
    let entries = completion.entries_completed().unwrap_or(0);
    within(completed, sent.xfer_size)?;
    within(u32::from(entries), u32::from(list.entries))?;
    // Whole blocks, and at most a part of one more.
    let whole = u64::from(entries) * block;
    if u64::from(completed).checked_sub(whole).is_none_or(|part| part >= block) {
        return Err(ProtocolError::ListMismatch { entries, completed });
    }
    if entries == list.entries {
        return Ok(Resume::Complete(as_success(sent, completion)));
    }
    let read = u64::from(entries) * u64::from(list.entry_size);
    let mut rest = to_be_cut(sent);
    rest.xfer_size -= whole as u32;
    rest.set_op_u16(44, list.entries - entries);
    match completion.opcode {
        opcode::GATHER_COPY => {
            rest.src_addr = rest.src_addr.wrapping_add(read);
            rest.dst_addr = rest.dst_addr.wrapping_add(whole);
        }
        opcode::SCATTER_COPY => {
            rest.src_addr = rest.src_addr.wrapping_add(whole);
            rest.dst_addr = rest.dst_addr.wrapping_add(read);
        }
        // Each block begins with the first byte of the pattern.
        _ => rest.dst_addr = rest.dst_addr.wrapping_add(read),
    }
    Ok(Resume::Continue(Continuation { descriptor: rest, advanced: whole as u32 }))
}
