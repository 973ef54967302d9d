//! The data-integrity operations: check, insert, strip, update, and DIX generate (specification sections 8.3.14 to
//! 8.3.18 and appendix B).
//!
//! Where the fields lie, in bytes of the descriptor:
//!
//! | field | check, strip | insert, DIX generate | update |
//! |---|---|---|---|
//! | source DIF flags | 40 | | 40 |
//! | destination DIF flags | | 41 | 41 |
//! | DIF flags | 42 | 42 | 42 |
//! | source reference tag seed, application tag mask, application tag seed | 48, 52, 54 | | 48, 52, 54 |
//! | destination reference tag seed, application tag mask, application tag seed | | 56, 60, 62 | 56, 60, 62 |
//!
//! In the completion record the final source tags lie at bytes 16 (reference), 20 (mask) and 22 (application), the final
//! destination tags at 24, 28 and 30. In memory a tuple is big endian: guard, application tag, reference tag.

/// Bytes of a tuple.
pub const TUPLE: u64 = 8;

/// DIF flags (byte 42), bits 1:0: the block size, by code 512, 520, 4096 or 4104 bytes.
pub const BLOCK_SIZE: u8 = 0b11;
/// DIF flags: the CRC starts from 0xffff instead of 0.
pub const INVERT_SEED: u8 = 1 << 2;
/// DIF flags: the CRC is inverted before it is compared or stored.
pub const INVERT_RESULT: u8 = 1 << 3;

/// Source DIF flags (byte 40): the reference tag is the same for all blocks, instead of incrementing.
pub const SOURCE_REF_FIXED: u8 = 1 << 7;
/// Source DIF flags: the reference tag is not checked.
pub const SOURCE_REF_UNCHECKED: u8 = 1 << 6;
/// Source DIF flags: the guard is not checked.
pub const SOURCE_GUARD_UNCHECKED: u8 = 1 << 5;
/// Source DIF flags: the application tag increments, instead of being fixed.
pub const SOURCE_APP_INCREMENTS: u8 = 1 << 4;
/// Source DIF flags: a tuple whose application and reference tags are all ones is not checked.
pub const SOURCE_F_APP_REF: u8 = 1 << 3;
/// Source DIF flags: a tuple whose application tag is all ones is not checked.
pub const SOURCE_F_APP: u8 = 1 << 2;
/// Source DIF flags: a tuple that is all ones is not checked.
pub const SOURCE_F_ALL: u8 = 1 << 1;
/// Source DIF flags: a tuple that is all ones is an error; needs [`SOURCE_F_ALL`].
pub const SOURCE_F_ALL_ERROR: u8 = 1 << 0;

/// Destination DIF flags (byte 41): the reference tag is the same for all blocks, instead of incrementing.
pub const DEST_REF_FIXED: u8 = 1 << 7;
/// Destination DIF flags: the reference tag is copied from the source (update).
pub const DEST_REF_PASS: u8 = 1 << 6;
/// Destination DIF flags: the guard is copied from the source (update).
pub const DEST_GUARD_PASS: u8 = 1 << 5;
/// Destination DIF flags: the application tag increments, instead of being fixed.
pub const DEST_APP_INCREMENTS: u8 = 1 << 4;
/// Destination DIF flags: the application tag is copied from the source (update).
pub const DEST_APP_PASS: u8 = 1 << 3;

/// DIF status (record byte 1): the guard does not match.
pub const GUARD_MISMATCH: u8 = 1 << 0;
/// DIF status: the application tag does not match.
pub const APP_MISMATCH: u8 = 1 << 1;
/// DIF status: the reference tag does not match.
pub const REF_MISMATCH: u8 = 1 << 2;
/// DIF status: the tuple is all ones.
pub const ALL_F: u8 = 1 << 3;

/// The generator polynomial of the guard, T10's, without its highest term.
pub const GUARD_POLYNOMIAL: u16 = 0x8bb7;

/// The block size that DIF flags select, in bytes.
#[inline]
pub const fn block_size(dif_flags: u8) -> u32 {
    crate::limits::DIF_BLOCKS[(dif_flags & BLOCK_SIZE) as usize]
}
