//! CRC generation, and copy with CRC generation.
//!
//! By default the device computes what everybody else calls CRC-32C: seed 0 gives the standard value, and the result of
//! one piece is the seed of the next. Do not invert seed or result yourself.

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, NO_CACHE_CONTROL, WRITE_CACHE_CONTROL};
use super::validate::Position;

/// CRC of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Crc {
    common: Common,
    source: u64,
    len: u64,
    options: CrcOptions,
}

impl Crc {
    /// CRC of `len` bytes at `source`, with seed 0. A record address is mandatory.
    #[inline]
    pub const fn new(source: u64, len: u64) -> Self {
        Self { common: Common::new(), source, len, options: CrcOptions::new() }
    }
}

/// Copy of a region, with the CRC of what was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct CopyCrc {
    common: Common,
    source: u64,
    destination: u64,
    len: u64,
    options: CrcOptions,
}

impl CopyCrc {
    /// Copies `len` bytes from `source` to `destination`, which may not overlap, and computes the CRC with seed 0. A
    /// record address is mandatory.
    #[inline]
    pub const fn new(source: u64, destination: u64, len: u64) -> Self {
        Self { common: Common::new(), source, destination, len, options: CrcOptions::new() }
    }

    write_setters!();
    traffic_class_setters! {
        destination_traffic_class = ADDR2_TC, "the destination";
    }
    build_for_queue!(check_copy_crc);
    build_for_batch!(check_copy_crc);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            dst_addr: self.destination,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: self.options.fields(),
            ..self.common.descriptor(opcode::COPY_CRC, self.options.flags)
        })
    }
}

impl Crc {
    build_for_queue!(check_crc);
    build_for_batch!(check_crc);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        Ok(Descriptor {
            src_addr: self.source,
            xfer_size: rules::size_field(self.len, caps)?,
            op_specific: self.options.fields(),
            ..self.common.descriptor(opcode::CRCGEN, self.options.flags)
        })
    }
}

macro_rules! crc_setters {
    ($builder:ty) => {
        /// Seed, polynomial and conventions.
        impl $builder {
            record_setters!();
            fault_setters!();
            traffic_class_setters! {
                source_traffic_class = ADDR1_TC, "the source";
                seed_traffic_class = ADDR3_TC, "the seed in memory; needs a seed address";
            }

            /// Sets the seed: 0, or the CRC of what comes before. Takes back an earlier
            /// [`seed_address`](Self::seed_address). More than 32 bits need [`crc64`](Self::crc64).
            #[inline]
            pub fn seed(mut self, seed: impl Into<u64>) -> Self {
                self.options.seed = seed.into();
                self.options.flags &= !flag::CRC_READ_SEED;
                self
            }

            /// Has the device read the seed from memory: 4 bytes, or 8 for the 64-bit polynomial, naturally aligned.
            /// Takes back an earlier [`seed`](Self::seed).
            #[inline]
            pub const fn seed_address(mut self, address: u64) -> Self {
                self.options.seed = address;
                self.options.flags |= flag::CRC_READ_SEED;
                self
            }

            /// Whether the 64-bit polynomial 0x1AD93D23594C93659 is used instead of CRC-32C (default: no). Needs GENCAP bit 11.
            #[inline]
            pub const fn crc64(mut self, on: bool) -> Self {
                self.options.set(flag::CRC_64, on);
                self
            }

            /// Whether seed and result are used raw, without inversion and reflection (default: no).
            #[inline]
            pub const fn bypass_inversion(mut self, on: bool) -> Self {
                self.options.set(flag::CRC_BYPASS_INVERT, on);
                self
            }

            /// Whether the data bytes are used without bit reflection (default: no).
            #[inline]
            pub const fn bypass_reflection(mut self, on: bool) -> Self {
                self.options.set(flag::CRC_BYPASS_REFLECT, on);
                self
            }
        }
    };
}

crc_setters!(Crc);
crc_setters!(CopyCrc);

/// Options that both operations share. `seed` is the seed or its address, depending on the read-seed flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CrcOptions {
    seed: u64,
    flags: u32,
}

impl CrcOptions {
    const fn new() -> Self {
        Self { seed: 0, flags: 0 }
    }

    const fn set(&mut self, bit: u32, on: bool) {
        if on {
            self.flags |= bit;
        } else {
            self.flags &= !bit;
        }
    }

    /// Bytes 40 to 63.
    #[inline]
    const fn fields(&self) -> [u64; 3] {
        if self.flags & flag::CRC_READ_SEED == 0 { [self.seed, 0, 0] } else { [0, self.seed, 0] }
    }
}

#[inline]
pub(super) fn check_crc(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = check_either(opcode::CRCGEN, 0, NO_CACHE_CONTROL, d, caps, position)?;
    header.reserved(d.dst_addr, u64::MAX, 24)
}

#[inline]
pub(super) fn check_copy_crc(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    check_either(opcode::COPY_CRC, flag::STRICT_ORDER | flag::ADDR2_TC, WRITE_CACHE_CONTROL, d, caps, position)?;
    rules::range(Operand::Destination, d.dst_addr, u64::from(d.xfer_size))?;
    rules::disjoint(opcode::COPY_CRC, d.src_addr, d.dst_addr, d.xfer_size)
}

#[inline]
fn check_either(
    opcode: u8,
    more_flags: u32,
    cache_controls: u8,
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<Header, DescriptorError> {
    let read_seed = d.flags() & flag::CRC_READ_SEED != 0;
    let wide = d.flags() & flag::CRC_64 != 0;
    // Address 3 is the seed address; without one its traffic class selects nothing.
    let seed_class = if read_seed { flag::ADDR3_TC } else { 0 };
    let header = Header {
        opcode,
        defined: flag::BLOCK_ON_FAULT
            | flag::ADDR1_TC
            | seed_class
            | flag::CRC_READ_SEED
            | flag::CRC_BYPASS_INVERT
            | flag::CRC_BYPASS_REFLECT
            | flag::CRC_64
            | more_flags,
        missing: if caps.crc64() { 0 } else { flag::CRC_64 },
        cache_controls,
        record_required: true,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    if read_seed {
        // The seed field has no meaning beside a seed address.
        header.reserved(d.op_specific[0], u64::MAX, 40)?;
        rules::aligned(Operand::Seed, d.op_specific[1], if wide { 8 } else { 4 })?;
    } else {
        header.reserved(d.op_specific[0], if wide { 0 } else { !0xffff_ffff }, 40)?;
        header.reserved(d.op_specific[1], u64::MAX, 48)?;
    }
    header.reserved(d.op_specific[2], u64::MAX, 56)?;
    rules::transfer(d, caps)?;
    rules::range(Operand::Source, d.src_addr, u64::from(d.xfer_size))?;
    Ok(header)
}
