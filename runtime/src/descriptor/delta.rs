//! Delta records: what differs between two regions, and putting it into a third.
//!
//! A record is an array of entries of 10 bytes: a 16-bit offset in units of 8 bytes, little endian, and the 8 bytes that
//! the second region has there. Both operations are optional, and missing in production parts of the first generation.

use idxd_sys::{Descriptor, flag, limits, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, WRITE_CACHE_CONTROL};
use super::validate::Position;

bitflags::bitflags! {
    /// Results of a create delta, as a set: the results that are expected.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct DeltaResults: u8 {
        /// The regions are the same.
        const EQUAL = 1 << 0;
        /// They differ, and the record says how.
        const COMPLETE = 1 << 1;
        /// They differ in more places than the record has room for.
        const OVERFLOWED = 1 << 2;
    }
}

/// Create delta: compares two regions and writes a record of what must change in the first to make it the second.
///
/// [`Completion::delta`](super::Completion::delta) tells what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct CreateDelta {
    common: Common,
    first: u64,
    second: u64,
    len: u64,
    record: u64,
    max_record_size: u32,
    expected: u8,
}

impl CreateDelta {
    /// Compares `len` bytes at `first` and `second`, all three multiples of 8, `len` at most 512 KiB. The delta record
    /// goes to `delta`, where there are `max_delta_size` bytes of room, a multiple of 10 and at least 80; it may overlap
    /// neither region. A completion record address is mandatory.
    #[inline]
    pub const fn new(first: u64, second: u64, len: u64, delta: u64, max_delta_size: u32) -> Self {
        Self { common: Common::new(), first, second, len, record: delta, max_record_size: max_delta_size, expected: 0 }
    }

    /// Has the device check the result: status 0x01 if it is one of these, else 0x02.
    #[inline]
    pub const fn expect(mut self, results: DeltaResults) -> Self {
        self.common.set(flag::CHECK_RESULT, true);
        self.expected = results.bits();
        self
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the first region";
        second_source_traffic_class = ADDR2_TC, "the second region";
        delta_traffic_class = ADDR3_TC, "the delta record";
    }
    build_for_queue!(check_create);
    build_for_batch!(check_create);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.first,
            dst_addr: self.second,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: [self.record, u64::from(self.max_record_size), u64::from(self.expected)],
            ..self.common.descriptor(opcode::CR_DELTA, 0)
        })
    }
}

/// Apply delta: makes a region that holds what the first region of a create delta held into what the second held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct ApplyDelta {
    common: Common,
    record: u64,
    record_size: u32,
    destination: u64,
    len: u64,
}

impl ApplyDelta {
    /// Applies the delta record of `delta_size` bytes at `delta` to the `len` bytes at `destination`: the size that
    /// create delta reported with a complete record, and the size of the regions that it compared. Destination and
    /// `len` are multiples of 8, and the delta record may not overlap the destination.
    #[inline]
    pub const fn new(delta: u64, delta_size: u32, destination: u64, len: u64) -> Self {
        Self { common: Common::new(), record: delta, record_size: delta_size, destination, len }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        delta_traffic_class = ADDR1_TC, "the delta record";
        destination_traffic_class = ADDR2_TC, "the destination";
    }
    build_for_queue!(check_apply);
    build_for_batch!(check_apply);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.record,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: [u64::from(self.record_size), 0, 0],
            ..self.common.descriptor(opcode::AP_DELTA, 0)
        })
    }
}

#[inline]
pub(super) fn check_create(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::CR_DELTA,
        defined: flag::BLOCK_ON_FAULT
            | flag::CHECK_RESULT
            | flag::STRICT_ORDER
            | flag::ADDR1_TC
            | flag::ADDR2_TC
            | flag::ADDR3_TC,
        missing: 0,
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: true,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.op_specific[1], !0xffff_ffff, 48)?;
    // Byte 56 is the mask of expected results, of which there are three.
    header.reserved(d.op_specific[2], !u64::from(DeltaResults::all().bits()), 56)?;
    let size = check_region(header.opcode, d, caps)?;
    let (record, room) = (d.op_specific[0], d.op_u32(48));
    check_record_size(header.opcode, room, limits::DELTA_MIN_RECORD, caps)?;
    rules::aligned(Operand::Source, d.src_addr, limits::DELTA_ALIGN as u64)?;
    rules::aligned(Operand::SecondSource, d.dst_addr, limits::DELTA_ALIGN as u64)?;
    rules::range(Operand::Source, d.src_addr, size)?;
    rules::range(Operand::SecondSource, d.dst_addr, size)?;
    rules::range(Operand::DeltaRecord, record, u64::from(room))?;
    rules::apart(header.opcode, (d.src_addr, size), (record, u64::from(room)))?;
    rules::apart(header.opcode, (d.dst_addr, size), (record, u64::from(room)))
}

#[inline]
pub(super) fn check_apply(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::AP_DELTA,
        defined: flag::BLOCK_ON_FAULT | flag::STRICT_ORDER | flag::ADDR1_TC | flag::ADDR2_TC,
        missing: 0,
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.op_specific[0], !0xffff_ffff, 40)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    header.reserved(d.op_specific[2], u64::MAX, 56)?;
    let size = check_region(header.opcode, d, caps)?;
    let record_size = d.op_u32(40);
    check_record_size(header.opcode, record_size, limits::DELTA_ENTRY, caps)?;
    rules::aligned(Operand::Destination, d.dst_addr, limits::DELTA_ALIGN as u64)?;
    rules::range(Operand::DeltaRecord, d.src_addr, u64::from(record_size))?;
    rules::range(Operand::Destination, d.dst_addr, size)?;
    rules::apart(header.opcode, (d.src_addr, u64::from(record_size)), (d.dst_addr, size))
}

/// The size of the regions: what offsets can express, in units of 8 bytes.
#[inline]
fn check_region(opcode: u8, d: &Descriptor, caps: &Capabilities) -> Result<u64, DescriptorError> {
    rules::transfer(d, caps)?;
    let size = d.xfer_size;
    if size > limits::DELTA_MAX_REGION {
        return Err(region_too_large(opcode, size));
    }
    if !size.is_multiple_of(limits::DELTA_ALIGN as u32) {
        return Err(size_misaligned(opcode, size));
    }
    Ok(u64::from(size))
}

#[inline]
fn check_record_size(opcode: u8, size: u32, min: u32, caps: &Capabilities) -> Result<(), DescriptorError> {
    if size < min || u64::from(size) > caps.max_transfer_size() || !size.is_multiple_of(limits::DELTA_ENTRY) {
        return Err(bad_record_size(opcode, size, min, caps.max_transfer_size()));
    }
    Ok(())
}

#[cold]
fn region_too_large(opcode: u8, size: u32) -> DescriptorError {
    DescriptorError::DeltaRegionTooLarge { opcode, size, max: limits::DELTA_MAX_REGION }
}

#[cold]
fn size_misaligned(opcode: u8, size: u32) -> DescriptorError {
    DescriptorError::SizeMisaligned { opcode, size, alignment: limits::DELTA_ALIGN as u32 }
}

#[cold]
fn bad_record_size(opcode: u8, size: u32, min: u32, max: u64) -> DescriptorError {
    DescriptorError::DeltaRecordSize { opcode, size, min, max }
}
