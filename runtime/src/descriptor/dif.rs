//! Data integrity: check, insert, strip and update of the tuples behind blocks, and DIX generate, which writes the
//! tuples alone (specification sections 8.3.14 to 8.3.18, appendix B).
//!
//! Sizes are those of the source, tuples included where the source has them. Whole blocks only.

use idxd_sys::{Descriptor, dif, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::dif_options::{DifBlock, DifDestination, DifSource};
use super::error::DescriptorError;
use super::rules::{self, Header, NO_CACHE_CONTROL, WRITE_CACHE_CONTROL};
use super::validate::Position;

/// DIF check: reads blocks with tuples and checks them. Ends with status 0x09 at the first block that is wrong;
/// [`Completion::dif_status`](super::Completion::dif_status) says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct DifCheck {
    common: Common,
    source: u64,
    len: u64,
    dif_flags: u8,
    expected: DifSource,
}

impl DifCheck {
    /// Checks `len` bytes at `source`: blocks with their tuples, a multiple of
    /// [`DifBlock::protected_size`]. A record address is mandatory.
    #[inline]
    pub const fn new(source: u64, len: u64, block: DifBlock, expected: DifSource) -> Self {
        Self { common: Common::new(), source, len, dif_flags: block as u8, expected }
    }

    build_for_queue!(check_dif_check);
    build_for_batch!(check_dif_check);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: fields(self.dif_flags, self.expected, DifDestination::new(0, 0)),
            ..self.common.descriptor(opcode::DIF_CHECK, 0)
        })
    }
}

/// DIF insert: copies blocks and puts a tuple behind each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct DifInsert {
    common: Common,
    source: u64,
    destination: u64,
    len: u64,
    dif_flags: u8,
    made: DifDestination,
}

impl DifInsert {
    /// Copies `len` bytes at `source`, a multiple of the block size, to `destination`, where they take 8 bytes more for
    /// each block. The regions may not overlap.
    #[inline]
    pub const fn new(source: u64, destination: u64, len: u64, block: DifBlock, made: DifDestination) -> Self {
        Self { common: Common::new(), source, destination, len, dif_flags: block as u8, made }
    }

    build_for_queue!(check_dif_insert);
    build_for_batch!(check_dif_insert);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: fields(self.dif_flags, DifSource::new(0, 0), self.made),
            ..self.common.descriptor(opcode::DIF_INS, 0)
        })
    }
}

/// DIF strip: copies blocks without the tuples behind them, and checks these. Ends with status 0x09 at the first block
/// that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct DifStrip {
    common: Common,
    source: u64,
    destination: u64,
    len: u64,
    dif_flags: u8,
    expected: DifSource,
}

impl DifStrip {
    /// Copies `len` bytes at `source`, blocks with their tuples, to `destination`, where they take 8 bytes less for each
    /// block. The regions may not overlap.
    #[inline]
    pub const fn new(source: u64, destination: u64, len: u64, block: DifBlock, expected: DifSource) -> Self {
        Self { common: Common::new(), source, destination, len, dif_flags: block as u8, expected }
    }

    build_for_queue!(check_dif_strip);
    build_for_batch!(check_dif_strip);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: fields(self.dif_flags, self.expected, DifDestination::new(0, 0)),
            ..self.common.descriptor(opcode::DIF_STRP, 0)
        })
    }
}

/// DIF update: copies blocks, checks the tuples behind them, and writes new ones. Ends with status 0x09 at the first
/// block that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct DifUpdate {
    common: Common,
    source: u64,
    destination: u64,
    len: u64,
    dif_flags: u8,
    expected: DifSource,
    made: DifDestination,
}

impl DifUpdate {
    /// Copies `len` bytes at `source`, blocks with their tuples, to as many bytes at `destination`. The regions may not
    /// overlap.
    #[inline]
    pub const fn new(
        source: u64,
        destination: u64,
        len: u64,
        block: DifBlock,
        expected: DifSource,
        made: DifDestination,
    ) -> Self {
        Self { common: Common::new(), source, destination, len, dif_flags: block as u8, expected, made }
    }

    build_for_queue!(check_dif_update);
    build_for_batch!(check_dif_update);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: fields(self.dif_flags, self.expected, self.made),
            ..self.common.descriptor(opcode::DIF_UPDT, 0)
        })
    }
}

/// DIX generate: writes the tuples of blocks, and nothing else (DSA 2.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct DixGenerate {
    common: Common,
    source: u64,
    destination: u64,
    len: u64,
    dif_flags: u8,
    made: DifDestination,
}

impl DixGenerate {
    /// Reads `len` bytes at `source`, a multiple of the block size, and writes 8 bytes for each block to `destination`,
    /// a multiple of 8. The regions may not overlap. A record address is mandatory.
    #[inline]
    pub const fn new(source: u64, destination: u64, len: u64, block: DifBlock, made: DifDestination) -> Self {
        Self { common: Common::new(), source, destination, len, dif_flags: block as u8, made }
    }

    build_for_queue!(check_dix_generate);
    build_for_batch!(check_dix_generate);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: fields(self.dif_flags, DifSource::new(0, 0), self.made),
            ..self.common.descriptor(opcode::DIX_GEN, 0)
        })
    }
}

macro_rules! dif_setters {
    ($builder:ty $(, $writes:ident)?) => {
        /// Conventions of the guard, and what all operations have.
        impl $builder {
            record_setters!();
            fault_setters!();
            traffic_class_setters! {
                source_traffic_class = ADDR1_TC, "the source";
            }
            $(
                $writes!();
                traffic_class_setters! {
                    destination_traffic_class = ADDR2_TC, "the destination";
                }
            )?

            /// Whether the guard's CRC starts from 0xffff instead of 0 (default: no).
            #[inline]
            pub const fn invert_seed(mut self, on: bool) -> Self {
                self.dif_flags = with_bit(self.dif_flags, dif::INVERT_SEED, on);
                self
            }

            /// Whether the guard is the CRC with all bits inverted (default: no).
            #[inline]
            pub const fn invert_result(mut self, on: bool) -> Self {
                self.dif_flags = with_bit(self.dif_flags, dif::INVERT_RESULT, on);
                self
            }
        }
    };
}

dif_setters!(DifCheck);
dif_setters!(DifInsert, write_setters);
dif_setters!(DifStrip, write_setters);
dif_setters!(DifUpdate, write_setters);
dif_setters!(DixGenerate, write_setters);

const fn with_bit(flags: u8, bit: u8, on: bool) -> u8 {
    if on { flags | bit } else { flags & !bit }
}

/// Bytes 40 to 63.
#[inline]
const fn fields(dif_flags: u8, source: DifSource, destination: DifDestination) -> [u64; 3] {
    let flags = source.flags as u64 | (destination.flags as u64) << 8 | (dif_flags as u64) << 16;
    [flags, source.tags.word(), destination.tags.word()]
}

/// What a block takes in the source and in the destination of an operation, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    pub(super) source: u32,
    pub(super) destination: u32,
}

impl Units {
    /// Of a descriptor of the data-integrity operations.
    #[inline]
    pub(super) const fn of(d: &Descriptor) -> Self {
        let block = dif::block_size(d.op_u8(42));
        let protected = block + dif::TUPLE as u32;
        match d.opcode() {
            opcode::DIF_CHECK => Self { source: protected, destination: 0 },
            opcode::DIF_INS => Self { source: block, destination: protected },
            opcode::DIF_STRP => Self { source: protected, destination: block },
            opcode::DIX_GEN => Self { source: block, destination: dif::TUPLE as u32 },
            _ => Self { source: protected, destination: protected },
        }
    }
}

#[inline]
pub(super) fn check_dif_check(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::DIF_CHECK,
        defined: flag::BLOCK_ON_FAULT | flag::ADDR1_TC,
        missing: 0,
        cache_controls: NO_CACHE_CONTROL,
        record_required: true,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.dst_addr, u64::MAX, 24)?;
    check_fields(header, d, true, false)?;
    check_blocks(header, d, caps)?;
    Ok(())
}

#[inline]
pub(super) fn check_dif_insert(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = writer(opcode::DIF_INS, false);
    check_writer(header, d, caps, position, [false, true])
}

#[inline]
pub(super) fn check_dif_strip(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = writer(opcode::DIF_STRP, false);
    check_writer(header, d, caps, position, [true, false])
}

#[inline]
pub(super) fn check_dif_update(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = writer(opcode::DIF_UPDT, false);
    check_writer(header, d, caps, position, [true, true])
}

#[inline]
pub(super) fn check_dix_generate(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    // Table 5-5 does not ask for a record, section 8.3.18 does.
    let header = writer(opcode::DIX_GEN, true);
    header.check(d, caps, position)?;
    check_fields(header, d, false, true)?;
    rules::aligned(Operand::Destination, d.dst_addr, dif::TUPLE)?;
    check_destination(header, d, caps)
}

/// An operation with a destination; `tagged` says whether its source and its destination have fields.
#[inline]
fn check_writer(
    header: Header,
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
    tagged: [bool; 2],
) -> Result<(), DescriptorError> {
    header.check(d, caps, position)?;
    check_fields(header, d, tagged[0], tagged[1])?;
    check_destination(header, d, caps)
}

/// The header of an operation with a destination.
#[inline]
const fn writer(opcode: u8, record_required: bool) -> Header {
    Header {
        opcode,
        defined: flag::BLOCK_ON_FAULT | flag::STRICT_ORDER | flag::ADDR1_TC | flag::ADDR2_TC,
        missing: 0,
        cache_controls: WRITE_CACHE_CONTROL,
        record_required,
        in_batch: true,
    }
}

/// Bytes 40 to 63: source DIF flags, destination DIF flags, DIF flags; source tags; destination tags.
#[inline]
fn check_fields(
    header: Header,
    d: &Descriptor,
    checks_source: bool,
    makes_tuples: bool,
) -> Result<(), DescriptorError> {
    let source_flags = if checks_source { 0xff } else { 0 };
    let destination_flags = if makes_tuples {
        // In an insert, those that pass something of the source on are ignored, not reserved.
        dif::DEST_REF_FIXED | dif::DEST_REF_PASS | dif::DEST_GUARD_PASS | dif::DEST_APP_INCREMENTS | dif::DEST_APP_PASS
    } else {
        0
    };
    let dif_flags = dif::BLOCK_SIZE | dif::INVERT_SEED | dif::INVERT_RESULT;
    let defined = source_flags | u64::from(destination_flags) << 8 | u64::from(dif_flags) << 16;
    header.reserved(d.op_specific[0], !defined, 40)?;
    header.reserved(d.op_specific[1], if checks_source { 0 } else { u64::MAX }, 48)?;
    header.reserved(d.op_specific[2], if makes_tuples { 0 } else { u64::MAX }, 56)
}

/// The source: whole blocks.
#[inline]
fn check_blocks(header: Header, d: &Descriptor, caps: &Capabilities) -> Result<Units, DescriptorError> {
    rules::transfer(d, caps)?;
    let units = Units::of(d);
    if !d.xfer_size.is_multiple_of(units.source) {
        return Err(not_blocks(header.opcode, d.xfer_size, units.source));
    }
    rules::range(Operand::Source, d.src_addr, u64::from(d.xfer_size))?;
    Ok(units)
}

#[inline]
fn check_destination(header: Header, d: &Descriptor, caps: &Capabilities) -> Result<(), DescriptorError> {
    let units = check_blocks(header, d, caps)?;
    let size = u64::from(d.xfer_size / units.source) * u64::from(units.destination);
    rules::range(Operand::Destination, d.dst_addr, size)?;
    rules::apart(header.opcode, (d.src_addr, u64::from(d.xfer_size)), (d.dst_addr, size))
}

#[cold]
fn not_blocks(opcode: u8, size: u32, unit: u32) -> DescriptorError {
    DescriptorError::SizeNotBlocks { opcode, size, unit }
}
