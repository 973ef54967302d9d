//! Gather-reduce (DSA 3.0).

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::compute::{ComputeType, DataType, TYPED_FLAGS, Typed, count_field, element_size};
use super::error::DescriptorError;
use super::rules::{self, Header, WRITE_CACHE_CONTROL};
use super::sgl::{List, Sgl};
use super::validate::Position;

/// Gather-reduce: combines blocks that a list names, element by element, to a single block.
///
/// After a page fault it starts again from the beginning. What the list says is not looked at here, nor whether the
/// destination overlaps a block; where it does, it is undefined what is written. There are no handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct GatherReduce {
    common: Common,
    list: Sgl,
    destination: u64,
    count: u64,
    typed: Typed,
}

impl GatherReduce {
    /// Combines a block of `count` elements for each entry of `list`, and writes as many to `destination`, which may not
    /// overlap the list. Blocks and destination are aligned to their elements.
    #[inline]
    pub const fn new(list: Sgl, destination: u64, compute: ComputeType, data_type: DataType, count: u64) -> Self {
        Self { common: Common::new(), list, destination, count, typed: Typed::new(data_type, data_type, compute as u8) }
    }

    /// The type of the elements that are written, if it is not that of those that are read. The rules are those of a
    /// conversion.
    #[inline]
    pub const fn output(mut self, data_type: DataType) -> Self {
        self.typed.to = data_type as u8;
        self
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    compute_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the blocks";
        destination_traffic_class = ADDR2_TC, "the destination";
        list_traffic_class = ADDR3_TC, "the list";
    }
    build_for_queue!(check_gather_reduce);
    build_for_batch!(check_gather_reduce);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let larger = element_size(self.typed.from).max(element_size(self.typed.to));
        Ok(Descriptor {
            src_addr: self.list.address,
            dst_addr: self.destination,
            xfer_size: count_field(self.count, larger as u32, caps)?,
            op_specific: [self.list.size_field(caps)?, self.list.base, self.typed.field() | self.list.format_field()],
            ..self.common.descriptor(opcode::GATHER_REDUCE, 0)
        })
    }
}

#[inline]
pub(super) fn check_gather_reduce(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::GATHER_REDUCE,
        defined: TYPED_FLAGS | flag::ADDR1_TC | flag::ADDR2_TC | flag::ADDR3_TC,
        missing: 0,
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    // Bytes 44 and 45 are the size of the list, the upper half of byte 59 is its format.
    header.reserved(d.op_specific[0], !(0xffff << 32), 40)?;
    header.reserved(d.op_specific[2], 0xffff_ffff << 32 | 0x0f00_0000, 56)?;
    let list = List::of(d);
    let region = list.check(d.src_addr, caps)?;
    let typed = Typed::of(d);
    typed.check(header.opcode, caps, false)?;
    typed.check_compute_type(caps)?;
    let (input, output) = typed.check_count(d.xfer_size, caps)?;
    let (block, max_block) = (input.max(output), caps.max_gather_reduce_block());
    if block > u64::from(max_block) {
        return Err(block_too_large(block, max_block));
    }
    let total = input * u64::from(list.entries);
    if total > caps.max_transfer_size() {
        return Err(rules::bad_size(total, caps.max_transfer_size()));
    }
    rules::aligned(Operand::Destination, d.dst_addr, element_size(typed.to))?;
    if list.has_indices() {
        // Blocks lie whole blocks from the base address, so they are aligned as it is.
        rules::aligned(Operand::Source, d.op_specific[1], element_size(typed.from))?;
    }
    rules::range(Operand::Destination, d.dst_addr, output)?;
    rules::apart(header.opcode, region, (d.dst_addr, output))
}

#[cold]
fn block_too_large(size: u64, max: u32) -> DescriptorError {
    DescriptorError::BlockTooLarge { size, max }
}
