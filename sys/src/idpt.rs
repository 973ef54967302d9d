//! Inter-domain operations (2.0): the permissions table that lets a descriptor reach the memory of another PASID
//! (specification sections 3.14, 5.6, 8.3.27 to 8.3.31 and 9.2.29).
//!
//! An entry of the table has 32 bytes that mean something, here as four words of 64 bits, from the lowest address on.

/// Word 0, bit 0: descriptors may name the entry.
pub const USABLE: u64 = 1 << 0;
/// Word 0, bit 1: the owner may change the window with an update-window descriptor.
pub const ALLOW_UPDATE: u64 = 1 << 1;
/// Word 0, bits 3:2: the type of the entry.
pub const TYPE: u64 = 0b11 << 2;
/// Type: one submitter, whose PASID stands in the entry.
pub const TYPE_SINGLE: u64 = 0;
/// Type: many submitters, whose PASIDs are set in a bitmap.
pub const TYPE_MULTIPLE: u64 = 1 << 2;
/// Word 0, bits 31:12: the submitter's PASID.
pub const SUBMITTER_SHIFT: u32 = 12;
/// Word 0, bit 32: memory may be read through the entry.
pub const READ: u64 = 1 << 32;
/// Word 0, bit 33: memory may be written through the entry.
pub const WRITE: u64 = 1 << 33;
/// Word 0, bit 34: accesses have the privilege of the descriptor; else they are unprivileged.
pub const KEEP_PRIVILEGE: u64 = 1 << 34;
/// Word 0, bit 35: only a window of the address space can be reached.
pub const WINDOW_ENABLE: u64 = 1 << 35;
/// Word 0, bit 36: addresses are offsets from the base of the window.
pub const WINDOW_OFFSET: u64 = 1 << 36;
/// Word 0, bits 63:44: the PASID whose memory is reached.
pub const ACCESS_SHIFT: u32 = 44;
/// Word 0: the reserved bits.
pub const RESERVED: u64 = 0xff << 4 | 0x7f << 37;
/// Word 3, bits 63:12: the address of the bitmap; bits 11:0 are reserved.
pub const BITMAP: u64 = !0xfff;

/// Bytes of a table entry, and of the smallest entry size.
pub const ENTRY_SIZE: usize = 32;
/// Bytes of a bitmap that has a bit for each PASID.
pub const BITMAP_SIZE: usize = 1 << 17;

/// Window flags of an update-window descriptor (byte 61; its IDPT handle lies at 62): reading is allowed.
pub const UPDATE_READ: u8 = 1 << 0;
/// Window flags: writing is allowed.
pub const UPDATE_WRITE: u8 = 1 << 1;
/// Window flags: only the window can be reached.
pub const UPDATE_ENABLE: u8 = 1 << 2;
/// Window flags: addresses are offsets from the base of the window.
pub const UPDATE_OFFSET: u8 = 1 << 3;

/// The submitter's PASID in word 0.
#[inline]
pub const fn submitter(word: u64) -> u32 {
    (word >> SUBMITTER_SHIFT) as u32 & crate::limits::PASID_MASK
}

/// The PASID whose memory is reached, in word 0.
#[inline]
pub const fn access(word: u64) -> u32 {
    (word >> ACCESS_SHIFT) as u32 & crate::limits::PASID_MASK
}
