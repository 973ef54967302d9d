//! Gather copy, scatter copy and scatter fill (DSA 3.0): copies from and to blocks that a list names.
//!
//! What the list says is not looked at here, nor whether blocks overlap; where they do, it is undefined what is written.

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::compute::{DataType, data_type_offered, element_size};
use super::error::DescriptorError;
use super::rules::{self, Header, Region, WRITE_CACHE_CONTROL};
use super::sgl::{List, Sgl};
use super::validate::Position;

/// Gather copy: reads blocks that a list names and writes them one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct GatherCopy {
    common: Common,
    list: Sgl,
    destination: u64,
    block: Block,
    handles: [u16; 2],
}

impl GatherCopy {
    /// Copies a block of `count` elements for each entry of `list` to `destination`, which may not overlap the list in
    /// the own address space. No address needs alignment.
    #[inline]
    pub const fn new(list: Sgl, destination: u64, data_type: DataType, count: u64) -> Self {
        Self { common: Common::new(), list, destination, block: Block { data_type, count }, handles: [0; 2] }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the blocks";
        destination_traffic_class = ADDR2_TC, "the destination";
        list_traffic_class = ADDR3_TC, "the list";
    }
    handle_setters! {
        source_handle = ALTERNATE_SOURCE, 0, "each block";
        destination_handle = ALTERNATE_DESTINATION, 1, "the destination";
    }
    build_for_queue!(check_gather_copy);
    build_for_batch!(check_gather_copy);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let (size, op_specific) = fields(self.list, self.block, self.handles, caps)?;
        Ok(Descriptor {
            src_addr: self.list.address,
            dst_addr: self.destination,
            xfer_size: size,
            op_specific,
            ..self.common.descriptor(opcode::GATHER_COPY, 0)
        })
    }
}

/// Scatter copy: reads one region and writes it block by block to where a list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct ScatterCopy {
    common: Common,
    source: u64,
    list: Sgl,
    block: Block,
    handles: [u16; 2],
}

impl ScatterCopy {
    /// Copies a block of `count` elements from `source`, and what follows it, to each entry of `list`. No address needs
    /// alignment.
    #[inline]
    pub const fn new(source: u64, list: Sgl, data_type: DataType, count: u64) -> Self {
        Self { common: Common::new(), source, list, block: Block { data_type, count }, handles: [0; 2] }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the source";
        destination_traffic_class = ADDR2_TC, "the blocks";
        list_traffic_class = ADDR3_TC, "the list";
    }
    handle_setters! {
        source_handle = ALTERNATE_SOURCE, 0, "the source";
        destination_handle = ALTERNATE_DESTINATION, 1, "each block";
    }
    build_for_queue!(check_scatter_copy);
    build_for_batch!(check_scatter_copy);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let (size, op_specific) = fields(self.list, self.block, self.handles, caps)?;
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.list.address,
            xfer_size: size,
            op_specific,
            ..self.common.descriptor(opcode::SCATTER_COPY, 0)
        })
    }
}

/// Scatter fill: fills the blocks that a list names with a pattern of 8 bytes. Each block begins with the first byte of
/// the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct ScatterFill {
    common: Common,
    list: Sgl,
    pattern: u64,
    block: Block,
    handles: [u16; 2],
}

impl ScatterFill {
    /// Fills a block of `count` elements at each entry of `list` with the 8 bytes of `pattern`, least significant first.
    /// No address needs alignment.
    #[inline]
    pub const fn new(list: Sgl, pattern: u64, data_type: DataType, count: u64) -> Self {
        Self { common: Common::new(), list, pattern, block: Block { data_type, count }, handles: [0; 2] }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        destination_traffic_class = ADDR2_TC, "the blocks";
        list_traffic_class = ADDR3_TC, "the list";
    }
    handle_setters! {
        destination_handle = ALTERNATE_DESTINATION, 1, "each block";
    }
    build_for_queue!(check_scatter_fill);
    build_for_batch!(check_scatter_fill);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let (size, op_specific) = fields(self.list, self.block, self.handles, caps)?;
        Ok(Descriptor {
            src_addr: self.pattern,
            dst_addr: self.list.address,
            xfer_size: size,
            op_specific,
            ..self.common.descriptor(opcode::SCATTER_FILL, 0)
        })
    }
}

/// The size of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    data_type: DataType,
    count: u64,
}

/// Bytes 32 to 35, and 40 to 63.
#[inline]
fn fields(list: Sgl, block: Block, handles: [u16; 2], caps: &Capabilities) -> Result<(u32, [u64; 3]), DescriptorError> {
    let entries = list.size_field(caps)?;
    let total = block.count.saturating_mul(u64::from(block.data_type.size())).saturating_mul(u64::from(list.entries));
    // A count that does not fit belongs to a total that does not, unless the list is empty.
    let size = rules::size_field(total, caps)?;
    let types = u64::from(block.data_type.code()) | list.format_field();
    let count = block.count & 0xffff_ffff;
    Ok((size, [count | entries, list.base, types | rules::handle_fields(handles)]))
}

#[inline]
pub(super) fn check_gather_copy(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let handles = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    let header = header(opcode::GATHER_COPY, flag::ADDR1_TC, handles, caps);
    header.check(d, caps, position)?;
    let (list, size) = check_list(header, d, caps, d.src_addr)?;
    rules::range(Operand::Destination, d.dst_addr, size)?;
    // The list is always in the own address space; a destination in another one cannot meet it.
    if d.flags() & flag::ALTERNATE_DESTINATION != 0 {
        return Ok(());
    }
    rules::apart(header.opcode, list, (d.dst_addr, size))
}

#[inline]
pub(super) fn check_scatter_copy(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let handles = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    let header = header(opcode::SCATTER_COPY, flag::ADDR1_TC, handles, caps);
    header.check(d, caps, position)?;
    let (_, size) = check_list(header, d, caps, d.dst_addr)?;
    rules::range(Operand::Source, d.src_addr, size)
}

#[inline]
pub(super) fn check_scatter_fill(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let header = header(opcode::SCATTER_FILL, 0, flag::ALTERNATE_DESTINATION, caps);
    header.check(d, caps, position)?;
    check_list(header, d, caps, d.dst_addr)?;
    Ok(())
}

#[inline]
fn header(opcode: u8, more_flags: u32, handles: u32, caps: &Capabilities) -> Header {
    Header {
        opcode,
        defined: flag::BLOCK_ON_FAULT | flag::STRICT_ORDER | flag::ADDR2_TC | flag::ADDR3_TC | more_flags | handles,
        missing: if caps.may_name_handles(opcode) { 0 } else { handles },
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    }
}

/// Bytes 40 to 63, and the sizes. Returns the region of the list and the bytes of all blocks.
#[inline]
fn check_list(
    header: Header,
    d: &Descriptor,
    caps: &Capabilities,
    address: u64,
) -> Result<(Region, u64), DescriptorError> {
    header.reserved(d.op_specific[0], 0xffff << 48, 40)?;
    // There is one data type, nothing to compute, and the format in the upper half of byte 59.
    header.reserved(d.op_specific[2], 0x0fff_fff0, 56)?;
    let flags = d.flags();
    rules::handle(header, d, caps, flags & header.defined & flag::ALTERNATE_SOURCE != 0, 60)?;
    rules::handle(header, d, caps, flags & flag::ALTERNATE_DESTINATION != 0, 62)?;
    let list = List::of(d);
    let region = list.check(address, caps)?;
    let data_type = d.op_u8(56);
    data_type_offered(data_type, caps)?;
    rules::transfer(d, caps)?;
    let expected = block_size(d) * u64::from(list.entries);
    if u64::from(d.xfer_size) != expected {
        return Err(size_not_of_list(d.xfer_size, expected));
    }
    Ok((region, expected))
}

/// Bytes of a block; 0 if there are no elements or their type is reserved. Fewer than 2^35, so that 2^16 of them can be
/// added up.
#[inline]
pub(super) const fn block_size(d: &Descriptor) -> u64 {
    d.op_u32(40) as u64 * element_size(d.op_u8(56) & 0xf)
}

#[cold]
fn size_not_of_list(size: u32, expected: u64) -> DescriptorError {
    DescriptorError::SizeNotOfList { size, expected }
}
