//! Fill with an 8-byte or 16-byte pattern.

use idxd_sys::{Descriptor, flag, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, WRITE_CACHE_CONTROL};
use super::validate::Position;

/// Fill. The length need not be a multiple of the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Fill {
    common: Common,
    destination: u64,
    len: u64,
    pattern: [u64; 2],
    op_flags: u32,
}

impl Fill {
    /// Fills `len` bytes at `destination` with the 8 bytes of `pattern`, least significant first. To fill with one
    /// byte, see [`with_byte`](Self::with_byte).
    #[inline]
    pub const fn new(destination: u64, len: u64, pattern: u64) -> Self {
        Self { common: Common::new(), destination, len, pattern: [pattern, 0], op_flags: 0 }
    }

    /// Fills `len` bytes at `destination` with one byte value, as `memset` does.
    #[inline]
    pub const fn with_byte(destination: u64, len: u64, byte: u8) -> Self {
        Self::new(destination, len, u64::from_le_bytes([byte; 8]))
    }

    /// Fills `len` bytes at `destination` with 16 bytes: `pattern[0]` and then `pattern[1]`, each least significant
    /// byte first. Needs GENCAP bit 10.
    #[inline]
    pub const fn with_wide_pattern(destination: u64, len: u64, pattern: [u64; 2]) -> Self {
        Self { common: Common::new(), destination, len, pattern, op_flags: flag::FILL_16 }
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
            op_specific: [self.pattern[1], 0, 0],
            ..self.common.descriptor(opcode::FILL, self.op_flags)
        })
    }
}

#[inline]
pub(super) fn check_fill(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::FILL,
        defined: flag::BLOCK_ON_FAULT | flag::STRICT_ORDER | flag::ADDR2_TC | flag::FILL_16,
        missing: if caps.fill_16() { 0 } else { flag::FILL_16 },
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    if d.flags() & flag::FILL_16 == 0 {
        header.reserved(d.op_specific[0], u64::MAX, 40)?;
    }
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    header.reserved(d.op_specific[2], u64::MAX, 56)?;
    rules::transfer(d, caps)?;
    rules::range(Operand::Destination, d.dst_addr, u64::from(d.xfer_size))
}
