//! The rest of a conversion or reduce: the elements that are left. Sources advance by the bytes that were read,
//! destinations by those that were written.

use idxd_sys::{Descriptor, opcode};

use super::super::completion::Completion;
use super::super::compute::{Typed, element_size};
use super::{Continuation, ProtocolError, Resume, as_success, even, to_be_cut, within};

pub(super) fn rest(sent: &Descriptor, completion: &Completion) -> Result<Resume, ProtocolError> {
    let typed = Typed::of(sent);
    let (from, to) = (element_size(typed.from), element_size(typed.to));
    if from == 0 || to == 0 {
        return Ok(Resume::Fail(completion.status));
    }
    let done = completion.bytes_completed;
    within(done, source_size(sent))?;
    even(done, from as u32)?;
    let elements = done / from as u32;
    if elements == sent.xfer_size {
        return Ok(Resume::Complete(as_success(sent, completion)));
    }
    let (read, written) = (u64::from(done), u64::from(elements) * to);
    let mut rest = to_be_cut(sent);
    rest.xfer_size -= elements;
    rest.src_addr = rest.src_addr.wrapping_add(read);
    if completion.opcode == opcode::TYPE_CONV {
        rest.dst_addr = rest.dst_addr.wrapping_add(written);
    } else {
        rest.dst_addr = rest.dst_addr.wrapping_add(read);
        rest.op_specific[0] = rest.op_specific[0].wrapping_add(written);
    }
    if completion.opcode == opcode::REDUCE_DUALCAST {
        rest.op_specific[1] = rest.op_specific[1].wrapping_add(written);
    }
    Ok(Resume::Continue(Continuation { descriptor: rest, advanced: done }))
}

/// Bytes of one source, which is what bytes completed count.
pub(super) fn source_size(sent: &Descriptor) -> u32 {
    let (input, _) = Typed::of(sent).sizes(sent.xfer_size);
    u32::try_from(input).unwrap_or(u32::MAX)
}
