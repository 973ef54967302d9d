//! Scatter-gather lists: what a list is, and the checks of the operations that use one (specification section 8.1.14).

use idxd_sys::Descriptor;
use idxd_sys::compute::{dsacap0, sgl_format};

use super::capabilities::Capabilities;
use super::completion::Operand;
use super::error::DescriptorError;
use super::rules::{self, Region};

closed_set! {
    /// What an entry of a list says about the place of its block (table 8-9).
    SglFormat {
        /// A byte offset from the base address, 64 bits.
        Offset64 = sgl_format::OFFSET_64;
        /// A number of blocks from the base address, 32 bits.
        Index32 = sgl_format::INDEX_32;
        /// A number of blocks from the base address, 64 bits.
        Index64 = sgl_format::INDEX_64;
    }
}

impl SglFormat {
    /// Bytes of an entry: 8, or 4.
    #[inline]
    pub const fn entry_size(self) -> u32 {
        match sgl_format::entry_size(self as u8) {
            Some(size) => size,
            None => unreachable!(),
        }
    }
}

/// A list of blocks in memory. All blocks are of the same size, which the operation gives as a number of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sgl {
    pub(super) address: u64,
    pub(super) entries: u32,
    pub(super) format: SglFormat,
    pub(super) base: u64,
}

impl Sgl {
    /// The list of `entries` entries at `address`. Its base address is 0, so that 64-bit offsets are addresses.
    ///
    /// The list is always read in the own address space, even by an operation that reaches the blocks through a handle.
    #[inline]
    pub const fn new(address: u64, entries: u32, format: SglFormat) -> Self {
        Self { address, entries, format, base: 0 }
    }

    /// Sets the address from which the entries count.
    #[inline]
    pub const fn base(mut self, address: u64) -> Self {
        self.base = address;
        self
    }

    /// The list size as it stands in bytes 44 and 45, shifted to its place in the word at byte 40.
    #[inline]
    pub(super) fn size_field(self, caps: &Capabilities) -> Result<u64, DescriptorError> {
        match u16::try_from(self.entries) {
            Ok(entries) => Ok(u64::from(entries) << 32),
            Err(_) => Err(bad_size(self.entries, caps.max_sgl_size())),
        }
    }

    /// The format in its place in the word at byte 56.
    #[inline]
    pub(super) const fn format_field(self) -> u64 {
        (self.format as u64) << 28
    }
}

/// The list of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) entries: u16,
    /// Bytes of an entry; 0 if the format is reserved.
    pub(super) entry_size: u32,
    /// The code of the format.
    pub(super) format: u8,
}

impl List {
    #[inline]
    pub(super) const fn of(d: &Descriptor) -> Self {
        let format = d.op_u8(59) >> 4;
        let entry_size = match sgl_format::entry_size(format) {
            Some(size) => size,
            None => 0,
        };
        Self { entries: d.op_u16(44), entry_size, format }
    }

    /// Whether entries count blocks.
    #[inline]
    pub(super) const fn has_indices(self) -> bool {
        self.format != sgl_format::OFFSET_64
    }

    /// Bytes of the list.
    #[inline]
    pub(super) const fn size(self) -> u64 {
        self.entries as u64 * self.entry_size as u64
    }

    /// Format, number of entries, and place in the address space. Returns the region of the list.
    #[inline]
    pub(super) fn check(self, address: u64, caps: &Capabilities) -> Result<Region, DescriptorError> {
        if self.entry_size == 0 || !dsacap0::has_sgl_format(caps.dsa_caps()[0], self.format) {
            return Err(bad_format(self.format));
        }
        let (entries, max) = (u32::from(self.entries), caps.max_sgl_size());
        // Zero wraps around and is above any maximum.
        if entries.wrapping_sub(1) >= max {
            return Err(bad_size(entries, max));
        }
        rules::range(Operand::ScatterGatherList, address, self.size())?;
        Ok((address, self.size()))
    }
}

#[cold]
fn bad_format(code: u8) -> DescriptorError {
    DescriptorError::SglFormatNotOffered { code }
}

#[cold]
fn bad_size(entries: u32, max: u32) -> DescriptorError {
    DescriptorError::SglSize { entries, max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_the_table() {
        let codes: Vec<_> = SglFormat::ALL.iter().map(|format| (format.code(), format.entry_size())).collect();
        assert_eq!(codes, [(1, 8), (2, 4), (3, 8)]);
        for code in 0..=u8::MAX {
            let mut d = Descriptor::default();
            d.set_op_u8(59, code << 4 | 0xf);
            let list = List::of(&d);
            assert_eq!(SglFormat::from_code(code & 0xf).map_or(0, SglFormat::entry_size), list.entry_size);
            assert_eq!(list.format, code & 0xf);
        }
    }
}
