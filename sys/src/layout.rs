//! The two structures that cross the portal: 64 bytes in, 32 bytes back.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One descriptor: the 64 bytes that ENQCMD, MOVDIR64B or `write(2)` hand to a work queue.
///
/// Fields are little endian, as is the only architecture that has the device. The names follow the common part
/// (specification section 8.1); what bytes 16 to 31 and 40 to 63 mean depends on the opcode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Descriptor {
    /// Bytes 0 to 3: PASID in bits 19:0, privilege in bit 31. ENQCMD and the kernel fill it in; leave it 0.
    pub pasid: u32,
    /// Bytes 4 to 7: flags in bits 23:0 ([`crate::flag`]), opcode in bits 31:24 ([`crate::opcode`]).
    pub flags_opcode: u32,
    /// Bytes 8 to 15: completion record address, 32-byte aligned.
    pub completion_addr: u64,
    /// Bytes 16 to 23: source; fill pattern; descriptor list; delta record (apply).
    pub src_addr: u64,
    /// Bytes 24 to 31: destination; second source (compare); pattern (compare pattern).
    pub dst_addr: u64,
    /// Bytes 32 to 35: transfer size in bytes, or number of descriptors (batch).
    pub xfer_size: u32,
    /// Bytes 36 and 37: interrupt handle.
    pub int_handle: u16,
    /// Bytes 38 and 39: reserved.
    pub reserved: u16,
    /// Bytes 40 to 63: operation specific.
    pub op_specific: [u64; 3],
}

impl Descriptor {
    /// The opcode, byte 7.
    #[inline]
    pub const fn opcode(&self) -> u8 {
        (self.flags_opcode >> 24) as u8
    }

    /// The 24 flag bits, bytes 4 to 6.
    #[inline]
    pub const fn flags(&self) -> u32 {
        self.flags_opcode & 0x00ff_ffff
    }

    /// One of the operation-specific bytes, 40 to 63.
    ///
    /// # Panics
    ///
    /// If `offset` is not one of them.
    #[inline]
    pub const fn op_u8(&self, offset: usize) -> u8 {
        (self.op_specific[(offset - 40) / 8] >> (offset % 8 * 8)) as u8
    }

    /// Two operation-specific bytes from an even offset on.
    ///
    /// # Panics
    ///
    /// If `offset` is odd, below 40 or above 62.
    #[inline]
    pub const fn op_u16(&self, offset: usize) -> u16 {
        assert!(offset.is_multiple_of(2));
        (self.op_specific[(offset - 40) / 8] >> (offset % 8 * 8)) as u16
    }

    /// Four operation-specific bytes from a multiple of four on.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 4, below 40 or above 60.
    #[inline]
    pub const fn op_u32(&self, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4));
        (self.op_specific[(offset - 40) / 8] >> (offset % 8 * 8)) as u32
    }

    /// Sets an operation-specific byte.
    ///
    /// # Panics
    ///
    /// As for [`op_u8`](Self::op_u8).
    #[inline]
    pub const fn set_op_u8(&mut self, offset: usize, value: u8) {
        self.set_op(offset, 0xff, value as u64);
    }

    /// Sets two operation-specific bytes.
    ///
    /// # Panics
    ///
    /// As for [`op_u16`](Self::op_u16).
    #[inline]
    pub const fn set_op_u16(&mut self, offset: usize, value: u16) {
        assert!(offset.is_multiple_of(2));
        self.set_op(offset, 0xffff, value as u64);
    }

    /// Sets four operation-specific bytes.
    ///
    /// # Panics
    ///
    /// As for [`op_u32`](Self::op_u32).
    #[inline]
    pub const fn set_op_u32(&mut self, offset: usize, value: u32) {
        assert!(offset.is_multiple_of(4));
        self.set_op(offset, 0xffff_ffff, value as u64);
    }

    #[inline]
    const fn set_op(&mut self, offset: usize, mask: u64, value: u64) {
        let shift = offset % 8 * 8;
        let word = &mut self.op_specific[(offset - 40) / 8];
        *word = *word & !(mask << shift) | value << shift;
    }

    /// Sets opcode and flags; flag bits above 23 are dropped.
    #[inline]
    pub const fn set_opcode_flags(&mut self, opcode: u8, flags: u32) {
        self.flags_opcode = (opcode as u32) << 24 | flags & 0x00ff_ffff;
    }
}

/// One completion record: what the device writes when a descriptor has ended.
///
/// The device writes byte 0 last, as far as anybody who polls it can tell; see [`crate::status`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(32))]
pub struct CompletionRecord {
    /// Byte 0: status code in bits 5:0, bit 7 set if the faulting access was a write. Never 0 once written.
    pub status: u8,
    /// Byte 1: result (compare, delta, direction of a partial move, DIF status).
    pub result: u8,
    /// Byte 2: fault information (version 2.0 and later).
    pub fault_info: u8,
    /// Byte 3: reserved.
    pub reserved: u8,
    /// Bytes 4 to 7: bytes completed, or descriptors completed (batch). 0 after full success.
    pub bytes_completed: u32,
    /// Bytes 8 to 15: fault address.
    pub fault_addr: u64,
    /// Bytes 16 to 31: operation specific: CRC (8 bytes), delta size, DIF tags, or the invalid flags (24 bits).
    pub op_specific: [u64; 2],
}

const _: () = {
    assert!(size_of::<Descriptor>() == 64 && align_of::<Descriptor>() == 64);
    assert!(offset_of!(Descriptor, flags_opcode) == 4);
    assert!(offset_of!(Descriptor, completion_addr) == 8);
    assert!(offset_of!(Descriptor, src_addr) == 16);
    assert!(offset_of!(Descriptor, dst_addr) == 24);
    assert!(offset_of!(Descriptor, xfer_size) == 32);
    assert!(offset_of!(Descriptor, int_handle) == 36);
    assert!(offset_of!(Descriptor, op_specific) == 40);
    assert!(size_of::<CompletionRecord>() == 32 && align_of::<CompletionRecord>() == 32);
    assert!(offset_of!(CompletionRecord, bytes_completed) == 4);
    assert!(offset_of!(CompletionRecord, fault_addr) == 8);
    assert!(offset_of!(CompletionRecord, op_specific) == 16);
};

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn operation_specific_fields_lie_where_their_offset_says() {
        let mut d = Descriptor::default();
        d.set_op_u8(42, 0x11);
        d.set_op_u16(54, 0x2233);
        d.set_op_u32(60, 0x4455_6677);
        let mut expected = [0u8; 64];
        expected[42] = 0x11;
        expected[54..56].copy_from_slice(&[0x33, 0x22]);
        expected[60..64].copy_from_slice(&[0x77, 0x66, 0x55, 0x44]);
        assert_eq!(d.as_bytes(), expected);
        assert_eq!((d.op_u8(42), d.op_u16(54), d.op_u32(60)), (0x11, 0x2233, 0x4455_6677));
        d.set_op_u16(54, 0);
        d.set_op_u32(60, 0);
        d.set_op_u8(42, 0);
        assert_eq!(d, Descriptor::default());
    }
}
