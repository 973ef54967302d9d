//! No-op, drain and cache flush.

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::{CacheControl, Common};
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, NO_CACHE_CONTROL};
use super::validate::Position;

/// No operation: a latency probe, and a carrier for a fence inside a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Nop {
    common: Common,
}

impl Nop {
    /// Does nothing, and reports it if there is a record address.
    #[inline]
    pub const fn new() -> Self {
        Self { common: Common::new() }
    }

    record_setters!();
    build_for_queue!(check_nop);
    build_for_batch!(check_nop);

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "all builders have the same shape")]
    fn assemble(&self, _caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(self.common.descriptor(opcode::NOP, 0))
    }
}

impl Default for Nop {
    fn default() -> Self {
        Self::new()
    }
}

/// Drain: waits for earlier descriptors, those of the same PASID in a shared queue and all in
/// a dedicated one. It needs a record, since waiting is all it does, and cannot be part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Drain {
    common: Common,
    readback: [u64; 2],
}

impl Drain {
    /// Waits for everything earlier. A record address is mandatory.
    #[inline]
    pub const fn new() -> Self {
        Self { common: Common::new(), readback: [0; 2] }
    }

    /// Reads back from `address` before completion, so that earlier writes on its path have arrived. Needs GENCAP
    /// bit 9.
    #[inline]
    pub const fn readback(mut self, address: u64) -> Self {
        self.common.set(flag::DRAIN_READBACK_1, true);
        self.readback[0] = address;
        self
    }

    /// Reads back from a second address; see [`readback`](Self::readback).
    #[inline]
    pub const fn second_readback(mut self, address: u64) -> Self {
        self.common.set(flag::DRAIN_READBACK_2, true);
        self.readback[1] = address;
        self
    }

    /// Leaves out the implicit readback of one traffic class. Needs GENCAP bit 9.
    #[inline]
    pub const fn suppress_readback(mut self, class: super::TrafficClass) -> Self {
        let bit = match class {
            super::TrafficClass::A => flag::DRAIN_SUPPRESS_TC_A,
            super::TrafficClass::B => flag::DRAIN_SUPPRESS_TC_B,
        };
        self.common.set(bit, true);
        self
    }

    record_setters!();
    traffic_class_setters! {
        readback_traffic_class = ADDR1_TC, "the first readback address; needs that address";
        second_readback_traffic_class = ADDR2_TC, "the second readback address; needs that address";
    }
    build_for_queue!(check_drain);

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "all builders have the same shape")]
    fn assemble(&self, _caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.readback[0],
            dst_addr: self.readback[1],
            ..self.common.descriptor(opcode::DRAIN, 0)
        })
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// Cache flush: writes back the cache lines of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct CacheFlush {
    common: Common,
    address: u64,
    len: u64,
}

impl CacheFlush {
    /// Flushes the `len` bytes at `address`.
    #[inline]
    pub const fn new(address: u64, len: u64) -> Self {
        Self { common: Common::new(), address, len }
    }

    /// Whether the data is made durable before completion (default: no). Needs GENCAP bit 8.
    #[inline]
    pub const fn durable(mut self, on: bool) -> Self {
        self.common.set(CacheControl::DurableReadback.flags(), on);
        self
    }

    /// Whether writes become visible in address order (default: no).
    #[inline]
    pub const fn strict_ordering(mut self, on: bool) -> Self {
        self.common.set(flag::STRICT_ORDER, on);
        self
    }

    record_setters!();
    fault_setters!();
    traffic_class_setters! {
        destination_traffic_class = ADDR2_TC, "the region";
    }
    build_for_queue!(check_cache_flush);
    build_for_batch!(check_cache_flush);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            dst_addr: self.address,
            xfer_size: rules::size_field(self.len, caps)?,
            ..self.common.descriptor(opcode::CFLUSH, 0)
        })
    }
}

#[inline]
pub(super) fn check_nop(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::NOP,
        defined: 0,
        missing: 0,
        cache_controls: NO_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.src_addr, u64::MAX, 16)?;
    header.reserved(d.dst_addr, u64::MAX, 24)?;
    header.reserved(u64::from(d.xfer_size), u64::MAX, 32)?;
    operation_bytes_are_zero(header, d)
}

#[inline]
pub(super) fn check_drain(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let flags = d.flags();
    let (first, second) = (flags & flag::DRAIN_READBACK_1 != 0, flags & flag::DRAIN_READBACK_2 != 0);
    let readback =
        flag::DRAIN_READBACK_1 | flag::DRAIN_READBACK_2 | flag::DRAIN_SUPPRESS_TC_A | flag::DRAIN_SUPPRESS_TC_B;
    let first_class = if first { flag::ADDR1_TC } else { 0 };
    let second_class = if second { flag::ADDR2_TC } else { 0 };
    let header = Header {
        opcode: opcode::DRAIN,
        defined: readback | first_class | second_class,
        missing: if caps.drain_readback() { 0 } else { readback },
        cache_controls: NO_CACHE_CONTROL,
        record_required: false,
        in_batch: false,
    };
    header.check(d, caps, position)?;
    if flags & (flag::RCR | flag::RCI) == 0 {
        return Err(rules::record_required(opcode::DRAIN));
    }
    if !first {
        header.reserved(d.src_addr, u64::MAX, 16)?;
    }
    if !second {
        header.reserved(d.dst_addr, u64::MAX, 24)?;
    }
    header.reserved(u64::from(d.xfer_size), u64::MAX, 32)?;
    operation_bytes_are_zero(header, d)
}

#[inline]
pub(super) fn check_cache_flush(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::CFLUSH,
        defined: flag::BLOCK_ON_FAULT | flag::STRICT_ORDER | flag::ADDR2_TC,
        missing: 0,
        cache_controls: 1 << CacheControl::Memory as u8 | 1 << CacheControl::DurableReadback as u8,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.src_addr, u64::MAX, 16)?;
    operation_bytes_are_zero(header, d)?;
    rules::transfer(d, caps)?;
    rules::range(Operand::Destination, d.dst_addr, u64::from(d.xfer_size))
}

#[inline]
fn operation_bytes_are_zero(header: Header, d: &Descriptor) -> Result<(), DescriptorError> {
    header.reserved(d.op_specific[0], u64::MAX, 40)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    header.reserved(d.op_specific[2], u64::MAX, 56)
}
