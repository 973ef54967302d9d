//! The rest of a batch after a fault on its list: what has not been processed.

use idxd_sys::{Descriptor, flag};

use super::super::capabilities::Capabilities;
use super::super::completion::Completion;
use super::{Continuation, ProtocolError, Resume, within};

/// The rest of a batch after a fault on its list.
pub(super) fn rest(sent: &Descriptor, completion: &Completion, caps: &Capabilities) -> Result<Resume, ProtocolError> {
    let done = completion.bytes_completed;
    within(done, sent.xfer_size)?;
    let left = sent.xfer_size - done;
    let address = sent.src_addr.wrapping_add(u64::from(done) * 64);
    // Without batch continuation the result byte says nothing, and the flag is reserved.
    let earlier_error =
        caps.batch_continuation() && (completion.result & 1 != 0 || sent.flags() & flag::BATCH_ERROR != 0);
    if left == 0 {
        return Ok(Resume::Complete(*completion));
    }
    if left < caps.min_batch_size() {
        return Ok(Resume::LastMember { address, earlier_error });
    }
    let mut rest = *sent;
    rest.src_addr = address;
    rest.xfer_size = left;
    rest.flags_opcode &= !flag::BATCH_ERROR;
    if earlier_error {
        rest.flags_opcode |= flag::BATCH_ERROR;
    }
    Ok(Resume::Continue(Continuation { descriptor: rest, advanced: done }))
}
