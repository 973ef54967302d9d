//! The rest of a data-integrity operation: the blocks that are left, with the tags that the record says come next.

use idxd_sys::{Descriptor, opcode};

use super::super::completion::Completion;
use super::super::dif::Units;
use super::super::dif_options::DifTags;
use super::{Continuation, ProtocolError, Resume, as_success, even, to_be_cut, within};

pub(super) fn rest(sent: &Descriptor, completion: &Completion) -> Result<Resume, ProtocolError> {
    let done = completion.bytes_completed;
    let units = Units::of(sent);
    within(done, sent.xfer_size)?;
    even(done, units.source)?;
    if done == sent.xfer_size {
        return Ok(Resume::Complete(as_success(sent, completion)));
    }
    let mut rest = to_be_cut(sent);
    rest.xfer_size -= done;
    rest.src_addr = rest.src_addr.wrapping_add(u64::from(done));
    if completion.opcode != opcode::DIF_CHECK {
        let written = u64::from(done / units.source) * u64::from(units.destination);
        rest.dst_addr = rest.dst_addr.wrapping_add(written);
    }
    if let Some(tags) = completion.source_tags() {
        rest.op_specific[1] = next(rest.op_specific[1], tags);
    }
    if let Some(tags) = completion.destination_tags() {
        rest.op_specific[2] = next(rest.op_specific[2], tags);
    }
    Ok(Resume::Continue(Continuation { descriptor: rest, advanced: done }))
}

/// The tags of the record become seeds. The mask stays what it was: it is no result.
const fn next(seeds: u64, tags: DifTags) -> u64 {
    DifTags { application_mask: DifTags::from_word(seeds).application_mask, ..tags }.word()
}
