//! The rest of delta operations. Apply delta goes on with the next entry of its record. Create delta starts again: the
//! entries of a continuation would count their offsets from another base, and there may not be room for one.

use idxd_sys::{Descriptor, limits};

use super::super::completion::Completion;
use super::{Continuation, ProtocolError, Resume, again, as_success, even, to_be_cut, within};

pub(super) fn rest_of_create(sent: &Descriptor, completion: &Completion) -> Result<Resume, ProtocolError> {
    let (completed, written) = (completion.bytes_completed, completion.op_specific[0] as u32);
    // A full record would have ended the operation.
    if completion.result > 1 {
        return Err(ProtocolError::BadResult(completion.result));
    }
    within(completed, sent.xfer_size)?;
    within(written, sent.op_u32(48))?;
    if completed == sent.xfer_size {
        check_created(sent, completion)?;
        return Ok(Resume::Complete(as_success(sent, completion)));
    }
    Ok(again(sent, completion))
}

/// What a record says about a delta record that is finished. Whoever reads the delta record relies on it.
pub(super) fn check_created(sent: &Descriptor, completion: &Completion) -> Result<(), ProtocolError> {
    let (completed, written) = (completion.bytes_completed, completion.op_specific[0] as u32);
    let differences = sent.xfer_size / limits::DELTA_ALIGN as u32;
    let most = differences.saturating_mul(limits::DELTA_ENTRY).min(sent.op_u32(48));
    within(completed, sent.xfer_size)?;
    match completion.result {
        0 => within(written, 0),
        // There is at least one entry, or no difference.
        1 | 2 if written == 0 => Err(ProtocolError::BadResult(completion.result)),
        1 | 2 => {
            within(written, most)?;
            even(written, limits::DELTA_ENTRY)
        }
        other => Err(ProtocolError::BadResult(other)),
    }
}

pub(super) fn rest_of_apply(sent: &Descriptor, completion: &Completion) -> Result<Resume, ProtocolError> {
    let (done, size) = (completion.bytes_completed, sent.op_u32(40));
    within(done, size)?;
    even(done, limits::DELTA_ENTRY)?;
    if done == size {
        return Ok(Resume::Complete(as_success(sent, completion)));
    }
    let mut rest = to_be_cut(sent);
    rest.src_addr = rest.src_addr.wrapping_add(u64::from(done));
    rest.set_op_u32(40, size - done);
    Ok(Resume::Continue(Continuation { descriptor: rest, advanced: done }))
}
