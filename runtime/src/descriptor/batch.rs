//! The batch descriptor: a list of descriptors in memory, submitted as one.

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, NO_CACHE_CONTROL};
use super::validate::Position;

/// A batch. Its members are made with `build_member`; they run in parallel and in no order,
/// but for fences.
///
/// What the list contains is not looked at here. Faults on the list always block, whatever the queue allows. Version-1
/// devices refuse batches that come through `write(2)`; `op_cap` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Batch {
    common: Common,
    list: u64,
    count: u32,
}

impl Batch {
    /// Executes the `count` descriptors at address `list`, which is a multiple of 64.
    #[inline]
    pub const fn new(list: u64, count: u32) -> Self {
        Self { common: Common::new(), list, count }
    }

    /// Whether members of an earlier part of this list have failed (default: no): a fence then abandons what follows it.
    /// For continuations after a fault on the list; needs GENCAP bit 15.
    #[inline]
    pub const fn earlier_error(mut self, on: bool) -> Self {
        self.common.set(flag::BATCH_ERROR, on);
        self
    }

    record_setters!();
    traffic_class_setters! {
        list_traffic_class = ADDR1_TC, "the descriptor list";
    }
    build_for_queue!(check_batch);

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "all builders have the same shape")]
    fn assemble(&self, _caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor { src_addr: self.list, xfer_size: self.count, ..self.common.descriptor(opcode::BATCH, 0) })
    }
}

#[inline]
pub(super) fn check_batch(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::BATCH,
        defined: flag::ADDR1_TC | flag::BATCH_ERROR,
        missing: if caps.batch_continuation() { 0 } else { flag::BATCH_ERROR },
        cache_controls: NO_CACHE_CONTROL,
        record_required: false,
        in_batch: false,
    };
    header.check(d, caps, position)?;
    header.reserved(d.dst_addr, u64::MAX, 24)?;
    header.reserved(d.op_specific[0], u64::MAX, 40)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    header.reserved(d.op_specific[2], u64::MAX, 56)?;
    let count = d.xfer_size;
    if count < caps.min_batch_size() || count > caps.max_batch_size() {
        return Err(bad_count(count, caps));
    }
    if d.src_addr & 63 != 0 {
        return Err(list_misaligned(d.src_addr));
    }
    rules::range(Operand::List, d.src_addr, u64::from(count) * 64)
}

#[cold]
fn bad_count(count: u32, caps: &Capabilities) -> DescriptorError {
    DescriptorError::BatchCount { count, min: caps.min_batch_size(), max: caps.max_batch_size() }
}

#[cold]
fn list_misaligned(address: u64) -> DescriptorError {
    DescriptorError::ListMisaligned { address }
}
