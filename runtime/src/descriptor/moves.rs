//! Memory move and dualcast.

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, WRITE_CACHE_CONTROL};
use super::validate::Position;

/// Memory move. Source and destination may overlap where GENCAP bit 1 says so; the result is
/// then that of `memmove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Move {
    common: Common,
    source: u64,
    destination: u64,
    len: u64,
}

impl Move {
    /// Moves `len` bytes from address `source` to address `destination`. No alignment is needed.
    #[inline]
    pub const fn new(source: u64, destination: u64, len: u64) -> Self {
        Self { common: Common::new(), source, destination, len }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the source";
        destination_traffic_class = ADDR2_TC, "the destination";
    }
    build_for_queue!(check_move);
    build_for_batch!(check_move);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            ..self.common.descriptor(opcode::MEMMOVE, 0)
        })
    }
}

/// Copy to two destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Dualcast {
    common: Common,
    source: u64,
    destination: u64,
    destination2: u64,
    len: u64,
}

impl Dualcast {
    /// Copies `len` bytes from `source` to both destinations. These must agree in address bits 11:0, and no two of the
    /// three regions may overlap.
    #[inline]
    pub const fn new(source: u64, destination: u64, destination2: u64, len: u64) -> Self {
        Self { common: Common::new(), source, destination, destination2, len }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the source";
        destination_traffic_class = ADDR2_TC, "the first destination";
        second_destination_traffic_class = ADDR3_TC, "the second destination";
    }
    build_for_queue!(check_dualcast);
    build_for_batch!(check_dualcast);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: [self.destination2, 0, 0],
            ..self.common.descriptor(opcode::DUALCAST, 0)
        })
    }
}

#[inline]
pub(super) fn check_move(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::MEMMOVE,
        defined: flag::BLOCK_ON_FAULT | flag::STRICT_ORDER | flag::ADDR1_TC | flag::ADDR2_TC,
        missing: 0,
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.op_specific[0], u64::MAX, 40)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    header.reserved(d.op_specific[2], u64::MAX, 56)?;
    rules::transfer(d, caps)?;
    let size = u64::from(d.xfer_size);
    rules::range(Operand::Source, d.src_addr, size)?;
    rules::range(Operand::Destination, d.dst_addr, size)?;
    if !caps.overlapping_copy() {
        rules::disjoint(opcode::MEMMOVE, d.src_addr, d.dst_addr, d.xfer_size)?;
    }
    Ok(())
}

#[inline]
pub(super) fn check_dualcast(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::DUALCAST,
        defined: flag::BLOCK_ON_FAULT | flag::STRICT_ORDER | flag::ADDR1_TC | flag::ADDR2_TC | flag::ADDR3_TC,
        missing: 0,
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    header.reserved(d.op_specific[2], u64::MAX, 56)?;
    rules::transfer(d, caps)?;
    let (source, first, second) = (d.src_addr, d.dst_addr, d.op_specific[0]);
    let size = u64::from(d.xfer_size);
    rules::range(Operand::Source, source, size)?;
    rules::range(Operand::Destination, first, size)?;
    rules::range(Operand::SecondDestination, second, size)?;
    if (first ^ second) & 0xfff != 0 {
        return Err(rules::dualcast_alignment(first, second));
    }
    rules::disjoint(opcode::DUALCAST, source, first, d.xfer_size)?;
    rules::disjoint(opcode::DUALCAST, source, second, d.xfer_size)?;
    rules::disjoint(opcode::DUALCAST, first, second, d.xfer_size)
}
