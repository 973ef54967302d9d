//! Translation fetch: brings address translations in before they are needed.

use idxd_sys::{Descriptor, flag, limits, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Header, NO_CACHE_CONTROL};
use super::validate::Position;

/// Translation fetch: asks the IOMMU for the translations of a region, and moves no data. Optional, and missing in
/// production parts of the first generation.
///
/// Translations are asked for in whole pages, so that the device may look a little beyond the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct TranslationFetch {
    common: Common,
    address: u64,
    len: u64,
    stride: u32,
}

impl TranslationFetch {
    /// Fetches the translations of the `len` bytes at `address`, less than 4 GiB. The queue's largest transfer does not
    /// matter, since nothing is transferred. How far apart the translations lie is up to the device.
    #[inline]
    pub const fn new(address: u64, len: u64) -> Self {
        Self { common: Common::new(), address, len, stride: 0 }
    }

    /// Fetches one translation every `stride` bytes: a power of two, at least 4096. Needs GENCAP bit 7.
    #[inline]
    pub const fn stride(mut self, stride: u32) -> Self {
        self.common.set(flag::FETCH_STRIDE, true);
        self.stride = stride;
        self
    }

    record_setters!();
    fault_setters!();
    build_for_queue!(check_fetch);
    build_for_batch!(check_fetch);

    #[inline]
    fn assemble(&self, _caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let Ok(size) = u32::try_from(self.len) else { return Err(rules::bad_size(self.len, MAX_REGION)) };
        Ok(Descriptor {
            src_addr: self.address,
            xfer_size: size,
            op_specific: [0, u64::from(self.stride), 0],
            ..self.common.descriptor(opcode::TRANSL_FETCH, 0)
        })
    }
}

/// The region size has 32 bits and no other limit.
const MAX_REGION: u64 = u32::MAX as u64;

#[inline]
pub(super) fn check_fetch(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = Header {
        opcode: opcode::TRANSL_FETCH,
        defined: flag::BLOCK_ON_FAULT | flag::FETCH_STRIDE,
        missing: if caps.translation_fetch_stride() { 0 } else { flag::FETCH_STRIDE },
        cache_controls: NO_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    };
    header.check(d, caps, position)?;
    header.reserved(d.dst_addr, u64::MAX, 24)?;
    header.reserved(d.op_specific[0], u64::MAX, 40)?;
    if d.flags() & flag::FETCH_STRIDE == 0 {
        header.reserved(d.op_specific[1], u64::MAX, 48)?;
    } else {
        header.reserved(d.op_specific[1], !0xffff_ffff, 48)?;
        let stride = d.op_u32(48);
        if stride < limits::TRANSLATION_FETCH_MIN_STRIDE || !stride.is_power_of_two() {
            return Err(bad_stride(stride));
        }
    }
    header.reserved(d.op_specific[2], u64::MAX, 56)?;
    if d.xfer_size == 0 {
        return Err(rules::bad_size(0, MAX_REGION));
    }
    rules::range(Operand::Source, d.src_addr, u64::from(d.xfer_size))
}

#[cold]
fn bad_stride(stride: u32) -> DescriptorError {
    DescriptorError::Stride { stride, min: limits::TRANSLATION_FETCH_MIN_STRIDE }
}
