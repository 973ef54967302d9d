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

/// Register IDCAP: what a device offers (section 9.2.18).
pub mod idcap {
    /// Bits 1:0: types of entries; bit n for type n.
    pub const TYPES: u64 = 0b11;
    /// Bits 23:8: the number of entries.
    pub const ENTRIES: u64 = 0xffff << 8;
    /// Bit 24: windows may be addressed by offset.
    pub const OFFSET_MODE: u64 = 1 << 24;
    /// Bit 25: the suppress-drain flag of an update-window descriptor.
    pub const SUPPRESS_DRAIN: u64 = 1 << 25;
    /// Bits 27:26: binary logarithm of the size of an entry, less 5.
    pub const ENTRY_SIZE: u64 = 0b11 << 26;

    /// The number of entries.
    #[inline]
    pub const fn entries(value: u64) -> u16 {
        ((value & ENTRIES) >> 8) as u16
    }

    /// Bytes of an entry.
    #[inline]
    pub const fn entry_size(value: u64) -> u16 {
        32 << ((value & ENTRY_SIZE) >> 26)
    }
}

/// Register IDBR: with which PASID bitmaps are read (section 9.2.19).
pub mod idbr {
    /// Bit 0: the reads carry a PASID.
    pub const PASID_ENABLE: u32 = 1 << 0;
    /// Bit 1: they are privileged.
    pub const PRIVILEGED: u32 = 1 << 1;
    /// Bits 4:2: their traffic class.
    pub const TRAFFIC_CLASS: u32 = 0b111 << 2;
    /// Bits 27:8: their PASID.
    pub const PASID: u32 = crate::limits::PASID_MASK << 8;
}

/// Error code of the commands that request and release handles: there is no such entry (table 5-8).
pub const COMMAND_NO_ENTRY: u32 = 0x51;
/// Error code of the command that requests a handle: none is left.
pub const COMMAND_NO_HANDLE: u32 = 0x52;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_an_entry_do_not_meet() {
        let fields = [
            USABLE,
            ALLOW_UPDATE,
            TYPE,
            u64::from(crate::limits::PASID_MASK) << SUBMITTER_SHIFT,
            READ,
            WRITE,
            KEEP_PRIVILEGE,
            WINDOW_ENABLE,
            WINDOW_OFFSET,
            u64::from(crate::limits::PASID_MASK) << ACCESS_SHIFT,
            RESERVED,
        ];
        assert_eq!(fields.iter().fold(0, |seen, field| seen ^ field), u64::MAX, "each bit belongs to one");
        assert_eq!(fields.iter().map(|field| field.count_ones()).sum::<u32>(), 64);
    }

    #[test]
    fn capabilities_at_their_ends() {
        assert_eq!((idcap::entries(u64::MAX), idcap::entry_size(u64::MAX)), (0xffff, 256));
        assert_eq!((idcap::entries(0), idcap::entry_size(0)), (0, 32));
        assert_eq!(BITMAP_SIZE * 8, crate::limits::PASID_MASK as usize + 1);
    }
}
