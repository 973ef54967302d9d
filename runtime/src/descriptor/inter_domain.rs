//! Copy, fill and compare across address spaces (DSA 2.0; specification sections 3.14 and 8.3.28 to 8.3.31).
//!
//! An address with a handle belongs to the address space that an entry of the permissions table names, and is checked
//! against the window of that entry; in offset mode it is an offset into the window. Nothing of that can be checked
//! here. Whether regions overlap is not checked either: the same number means different memory in different spaces. Where
//! they do overlap, it is undefined what is written.

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, NO_CACHE_CONTROL, WRITE_CACHE_CONTROL};
use super::validate::Position;

/// The handle of an entry in the inter-domain permissions table; who owns the memory hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdptHandle(u16);

impl IdptHandle {
    /// The handle with this number.
    #[inline]
    pub const fn new(handle: u16) -> Self {
        Self(handle)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Inter-domain copy: copies where source, destination or both are in another address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct InterDomainCopy {
    common: Common,
    source: u64,
    destination: u64,
    len: u64,
    handles: [u16; 2],
}

impl InterDomainCopy {
    /// Copies `len` bytes from `source` to `destination`. At least one of the two needs a handle.
    #[inline]
    pub const fn new(source: u64, destination: u64, len: u64) -> Self {
        Self { common: Common::new(), source, destination, len, handles: [0; 2] }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the source";
        destination_traffic_class = ADDR2_TC, "the destination";
    }
    handle_setters! {
        source_handle = ALTERNATE_SOURCE, 0, "the source";
        destination_handle = ALTERNATE_DESTINATION, 1, "the destination";
    }
    build_for_queue!(check_copy);
    build_for_batch!(check_copy);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: [0, 0, rules::handle_fields(self.handles)],
            ..self.common.descriptor(opcode::INTER_DOMAIN_COPY, 0)
        })
    }
}

/// Inter-domain fill: fills a region of another address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct InterDomainFill {
    common: Common,
    destination: u64,
    len: u64,
    pattern: [u64; 2],
    handle: IdptHandle,
    op_flags: u32,
}

impl InterDomainFill {
    /// Fills `len` bytes at `destination`, reached through `handle`, with the 8 bytes of `pattern`, least significant
    /// first.
    #[inline]
    pub const fn new(destination: u64, handle: IdptHandle, len: u64, pattern: u64) -> Self {
        let op_flags = flag::ALTERNATE_DESTINATION;
        Self { common: Common::new(), destination, len, pattern: [pattern, 0], handle, op_flags }
    }

    /// Fills with 16 bytes: `pattern[0]` and then `pattern[1]`, each least significant byte first. Needs GENCAP bit 10.
    #[inline]
    pub const fn with_wide_pattern(destination: u64, handle: IdptHandle, len: u64, pattern: [u64; 2]) -> Self {
        let op_flags = flag::ALTERNATE_DESTINATION | flag::FILL_16;
        Self { common: Common::new(), destination, len, pattern, handle, op_flags }
    }

    record_setters!();
    fault_setters!();
    write_setters!();
    traffic_class_setters! {
        destination_traffic_class = ADDR2_TC, "the destination";
    }
    build_for_queue!(check_fill);
    build_for_batch!(check_fill);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.pattern[0],
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: [self.pattern[1], 0, rules::handle_fields([0, self.handle.0])],
            ..self.common.descriptor(opcode::INTER_DOMAIN_FILL, self.op_flags)
        })
    }
}

/// Inter-domain compare: compares two regions, one or both of another address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct InterDomainCompare {
    common: Common,
    first: u64,
    second: u64,
    len: u64,
    expected: u8,
    handles: [u16; 2],
}

impl InterDomainCompare {
    /// Compares `len` bytes at `first` and `second`. At least one of the two needs a handle, and a record address is
    /// mandatory.
    #[inline]
    pub const fn new(first: u64, second: u64, len: u64) -> Self {
        Self { common: Common::new(), first, second, len, expected: 0, handles: [0; 2] }
    }

    expectation_setter!();
    record_setters!();
    fault_setters!();
    traffic_class_setters! {
        source_traffic_class = ADDR1_TC, "the first region";
        second_source_traffic_class = ADDR2_TC, "the second region";
    }
    handle_setters! {
        source_handle = ALTERNATE_SOURCE, 0, "the first region";
        second_source_handle = ALTERNATE_DESTINATION, 1, "the second region";
    }
    build_for_queue!(check_compare);
    build_for_batch!(check_compare);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.first,
            dst_addr: self.second,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: [u64::from(self.expected), 0, rules::handle_fields(self.handles)],
            ..self.common.descriptor(opcode::INTER_DOMAIN_COMPARE, 0)
        })
    }
}

/// Inter-domain compare pattern: compares a region of another address space with an 8-byte pattern. The place of the
/// first difference is only bounded from below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct InterDomainComparePattern {
    common: Common,
    source: u64,
    len: u64,
    pattern: u64,
    expected: u8,
    handle: IdptHandle,
}

impl InterDomainComparePattern {
    /// Compares `len` bytes at `source`, reached through `handle`, with the repeated 8 bytes of `pattern`, least
    /// significant first. A record address is mandatory.
    #[inline]
    pub const fn new(source: u64, handle: IdptHandle, len: u64, pattern: u64) -> Self {
        Self { common: Common::new(), source, len, pattern, expected: 0, handle }
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
            op_specific: [u64::from(self.expected), 0, rules::handle_fields([self.handle.0, 0])],
            ..self.common.descriptor(opcode::INTER_DOMAIN_COMPVAL, flag::ALTERNATE_SOURCE)
        })
    }
}

#[inline]
pub(super) fn check_copy(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let handles = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    let header = Header {
        opcode: opcode::INTER_DOMAIN_COPY,
        defined: flag::BLOCK_ON_FAULT | flag::STRICT_ORDER | flag::ADDR1_TC | flag::ADDR2_TC | handles,
        missing: 0,
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.op_specific[0], u64::MAX, 40)?;
    check_handles(header, d, caps, handles)?;
    rules::range(Operand::Source, d.src_addr, u64::from(d.xfer_size))?;
    rules::range(Operand::Destination, d.dst_addr, u64::from(d.xfer_size))
}

#[inline]
pub(super) fn check_fill(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::INTER_DOMAIN_FILL,
        defined: flag::BLOCK_ON_FAULT
            | flag::STRICT_ORDER
            | flag::ADDR2_TC
            | flag::FILL_16
            | flag::ALTERNATE_DESTINATION,
        missing: if caps.fill_16() { 0 } else { flag::FILL_16 },
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    if d.flags() & flag::FILL_16 == 0 {
        header.reserved(d.op_specific[0], u64::MAX, 40)?;
    }
    check_handles(header, d, caps, flag::ALTERNATE_DESTINATION)?;
    rules::range(Operand::Destination, d.dst_addr, u64::from(d.xfer_size))
}

#[inline]
pub(super) fn check_compare(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let handles = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    check_either_compare(opcode::INTER_DOMAIN_COMPARE, flag::ADDR2_TC, handles, d, caps, position)?;
    rules::range(Operand::SecondSource, d.dst_addr, u64::from(d.xfer_size))
}

#[inline]
pub(super) fn check_compare_pattern(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    check_either_compare(opcode::INTER_DOMAIN_COMPVAL, 0, flag::ALTERNATE_SOURCE, d, caps, position)
}

#[inline]
fn check_either_compare(
    opcode: u8,
    more_flags: u32,
    handles: u32,
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let header = Header {
        opcode,
        defined: flag::BLOCK_ON_FAULT | flag::CHECK_RESULT | flag::ADDR1_TC | more_flags | handles,
        missing: 0,
        cache_controls: NO_CACHE_CONTROL,
        // Table 5-5 does not ask for a record, section 8.1.3 does of every operation with a result.
        record_required: true,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    // Byte 40 is the expected result, of which bit 0 is defined.
    header.reserved(d.op_specific[0], !1, 40)?;
    check_handles(header, d, caps, handles)?;
    rules::range(Operand::Source, d.src_addr, u64::from(d.xfer_size))
}

/// Bytes 48 to 63, of which the last four are handles, and the transfer size. One of the flags `any_of` must be set.
#[inline]
fn check_handles(header: Header, d: &Descriptor, caps: &Capabilities, any_of: u32) -> Result<(), DescriptorError> {
    let flags = d.flags();
    if flags & any_of == 0 {
        return Err(handle_required(header.opcode, any_of));
    }
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    header.reserved(d.op_specific[2], 0xffff_ffff, 56)?;
    rules::handle(header, d, caps, flags & any_of & flag::ALTERNATE_SOURCE != 0, 60)?;
    rules::handle(header, d, caps, flags & any_of & flag::ALTERNATE_DESTINATION != 0, 62)?;
    rules::transfer(d, caps)
}

#[cold]
fn handle_required(opcode: u8, flags: u32) -> DescriptorError {
    DescriptorError::HandleRequired { opcode, flags }
}
