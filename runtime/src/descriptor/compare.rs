//! Compare two regions, and compare a region with a pattern.

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, NO_CACHE_CONTROL};
use super::validate::Position;

/// The outcome that a compare is expected to have; anything else then ends with status 0x02 instead of 0x01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Expectation {
    /// The regions are the same.
    Equal = 0,
    /// The regions differ.
    Different = 1,
}

/// Compare two regions. The record says whether they differ, and where first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Compare {
    common: Common,
    first: u64,
    second: u64,
    len: u64,
    expected: u8,
}

impl Compare {
    /// Compares `len` bytes at `first` and `second`. A record address is mandatory.
    #[inline]
    pub const fn new(first: u64, second: u64, len: u64) -> Self {
        Self { common: Common::new(), first, second, len, expected: 0 }
    }

    expectation_setter!();
    record_setters!();
    fault_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the first region";
        second_source_traffic_class = ADDR2_TC, "the second region";
    }
    build_for_queue!(check_compare);
    build_for_batch!(check_compare);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.first,
            dst_addr: self.second,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: [u64::from(self.expected), 0, 0],
            ..self.common.descriptor(opcode::COMPARE, 0)
        })
    }
}

/// Compare a region with an 8-byte pattern. Says whether they differ; the place of the first
/// difference is only bounded from below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct ComparePattern {
    common: Common,
    source: u64,
    len: u64,
    pattern: u64,
    expected: u8,
}

impl ComparePattern {
    /// Compares `len` bytes at `source` with the repeated 8 bytes of `pattern`, least significant first. A record
    /// address is mandatory.
    #[inline]
    pub const fn new(source: u64, len: u64, pattern: u64) -> Self {
        Self { common: Common::new(), source, len, pattern, expected: 0 }
    }

    expectation_setter!();
    record_setters!();
    fault_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the region";
    }
    build_for_queue!(check_compare_pattern);
    build_for_batch!(check_compare_pattern);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.pattern,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: [u64::from(self.expected), 0, 0],
            ..self.common.descriptor(opcode::COMPVAL, 0)
        })
    }
}

#[inline]
pub(super) fn check_compare(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    check_either(opcode::COMPARE, flag::ADDR2_TC, d, caps, position)?;
    rules::range(Operand::SecondSource, d.dst_addr, u64::from(d.xfer_size))
}

#[inline]
pub(super) fn check_compare_pattern(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    check_either(opcode::COMPVAL, 0, d, caps, position)
}

#[inline]
fn check_either(
    opcode: u8,
    more_flags: u32,
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let header = Header {
        opcode,
        defined: flag::BLOCK_ON_FAULT | flag::CHECK_RESULT | flag::ADDR1_TC | more_flags,
        missing: 0,
        cache_controls: NO_CACHE_CONTROL,
        record_required: true,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    // Byte 40 is the expected result, of which bit 0 is defined.
    header.reserved(d.op_specific[0], !1, 40)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    header.reserved(d.op_specific[2], u64::MAX, 56)?;
    rules::transfer(d, caps)?;
    rules::range(Operand::Source, d.src_addr, u64::from(d.xfer_size))
}
