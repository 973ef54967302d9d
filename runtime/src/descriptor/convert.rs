//! Type conversion (DSA 3.0).

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::compute::{DataType, TYPED_FLAGS, Typed, count_field, element_size};
use super::error::DescriptorError;
use super::rules::{self, Header, WRITE_CACHE_CONTROL};
use super::validate::Position;

/// Type conversion: reads elements of one type and writes them as another, or as the same one with flags such as negate.
///
/// Integers are converted to integers and floating point to floating point; DSACAP1 says which of the latter. Through
/// handles, overlaps are not checked, and must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct TypeConvert {
    common: Common,
    source: u64,
    destination: u64,
    count: u64,
    typed: Typed,
    handles: [u16; 2],
}

impl TypeConvert {
    /// Converts `count` elements at `source` from one type to the other, and writes them to `destination`. Both
    /// addresses are aligned to their elements. The regions do not overlap, or are the same and of the same type.
    #[inline]
    pub const fn new(source: u64, from: DataType, destination: u64, to: DataType, count: u64) -> Self {
        Self { common: Common::new(), source, destination, count, typed: Typed::new(from, to, 0), handles: [0; 2] }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    compute_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the source";
        destination_traffic_class = ADDR2_TC, "the destination";
    }
    handle_setters! {
        source_handle = ALTERNATE_SOURCE, 0, "the source";
        destination_handle = ALTERNATE_DESTINATION, 1, "the destination";
    }
    build_for_queue!(check_convert);
    build_for_batch!(check_convert);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let larger = element_size(self.typed.from).max(element_size(self.typed.to));
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: count_field(self.count, larger as u32, caps)?,
            op_specific: [0, 0, self.typed.field() | rules::handle_fields(self.handles)],
            ..self.common.descriptor(opcode::TYPE_CONV, 0)
        })
    }
}

#[inline]
pub(super) fn check_convert(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let handles = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    let header = Header {
        opcode: opcode::TYPE_CONV,
        defined: TYPED_FLAGS | flag::ADDR1_TC | flag::ADDR2_TC | handles,
        missing: if caps.may_name_handles(opcode::TYPE_CONV) { 0 } else { handles },
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.op_specific[0], u64::MAX, 40)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    // There is no compute type in byte 57, and nothing in byte 59.
    header.reserved(d.op_specific[2], 0xff00_0f00, 56)?;
    let flags = d.flags();
    rules::handle(header, d, caps, flags & flag::ALTERNATE_SOURCE != 0, 60)?;
    rules::handle(header, d, caps, flags & flag::ALTERNATE_DESTINATION != 0, 62)?;
    let typed = Typed::of(d);
    typed.check(header.opcode, caps, false)?;
    let (input, output) = typed.check_count(d.xfer_size, caps)?;
    rules::aligned(Operand::Source, d.src_addr, element_size(typed.from))?;
    rules::aligned(Operand::Destination, d.dst_addr, element_size(typed.to))?;
    rules::range(Operand::Source, d.src_addr, input)?;
    rules::range(Operand::Destination, d.dst_addr, output)?;
    if flags & handles != 0 {
        return Ok(());
    }
    rules::apart_or_same(header.opcode, typed.from == typed.to, (d.src_addr, input), (d.dst_addr, output))
}
