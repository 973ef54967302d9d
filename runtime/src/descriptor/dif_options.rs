//! What a data-integrity operation checks and makes: block size, tags, flags (specification section 8.3.17).
//!
//! A tuple of 8 bytes follows each block: a guard, that is, the CRC of the block, an application tag, and a reference
//! tag, most significant byte first.

use idxd_sys::dif;

closed_set! {
    /// The block size of a data-integrity operation; bits 1:0 of the DIF flags.
    DifBlock {
        /// 512 bytes, with their tuple 520.
        Bytes512 = 0b00;
        /// 520 bytes, with their tuple 528.
        Bytes520 = 0b01;
        /// 4096 bytes, with their tuple 4104.
        Bytes4096 = 0b10;
        /// 4104 bytes, with their tuple 4112.
        Bytes4104 = 0b11;
    }
}

impl DifBlock {
    /// Bytes of data in a block.
    #[inline]
    pub const fn size(self) -> u32 {
        dif::block_size(self as u8)
    }

    /// Bytes of a block together with its tuple.
    #[inline]
    pub const fn protected_size(self) -> u32 {
        self.size() + dif::TUPLE as u32
    }
}

/// Reference tag, application tag, and the mask of the latter: as seeds in a descriptor, and as they would go on in a
/// completion record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DifTags {
    /// The reference tag.
    pub reference: u32,
    /// Bits of the application tag that count as 0 are set here.
    pub application_mask: u16,
    /// The application tag.
    pub application: u16,
}

impl DifTags {
    /// As in 8 bytes of a descriptor or a completion record.
    #[inline]
    pub const fn from_word(word: u64) -> Self {
        Self { reference: word as u32, application_mask: (word >> 32) as u16, application: (word >> 48) as u16 }
    }

    /// The 8 bytes.
    #[inline]
    pub const fn word(self) -> u64 {
        self.reference as u64 | (self.application_mask as u64) << 32 | (self.application as u64) << 48
    }
}

/// What is expected of the tuples in the source: which parts are checked, against which tags.
///
/// Everything is checked by default: the guard, the application tag, which is the same for all blocks, and the
/// reference tag, which is counted up from block to block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DifSource {
    pub(super) tags: DifTags,
    pub(super) flags: u8,
}

macro_rules! dif_flag_setters {
    ($($(#[$doc:meta])* $name:ident = $bit:ident;)*) => {
        $(
            $(#[$doc])*
            #[inline]
            pub const fn $name(mut self, on: bool) -> Self {
                if on {
                    self.flags |= dif::$bit;
                } else {
                    self.flags &= !dif::$bit;
                }
                self
            }
        )*
    };
}

impl DifSource {
    /// Expects the reference tag `reference` in the first block, and counts it up from there; expects the application
    /// tag `application` in all blocks.
    #[inline]
    pub const fn new(reference: u32, application: u16) -> Self {
        Self { tags: DifTags { reference, application_mask: 0, application }, flags: 0 }
    }

    /// Leaves bits of the application tag out of the check: those that are set here. All of them, and the tag is not
    /// checked.
    #[inline]
    pub const fn application_mask(mut self, mask: u16) -> Self {
        self.tags.application_mask = mask;
        self
    }

    dif_flag_setters! {
        /// Whether the reference tag is the same for all blocks, instead of counting up (default: no).
        fixed_reference = SOURCE_REF_FIXED;
        /// Whether the reference tag is not checked (default: no).
        unchecked_reference = SOURCE_REF_UNCHECKED;
        /// Whether the guard is not checked (default: no).
        unchecked_guard = SOURCE_GUARD_UNCHECKED;
        /// Whether the application tag counts up from block to block, instead of being the same (default: no).
        counting_application = SOURCE_APP_INCREMENTS;
        /// Whether a tuple whose application and reference tags are all ones is not checked (default: no).
        pass_all_ones_tags = SOURCE_F_APP_REF;
        /// Whether a tuple whose application tag is all ones is not checked (default: no).
        pass_all_ones_application = SOURCE_F_APP;
        /// Whether a tuple that is all ones is not checked (default: no).
        pass_all_ones = SOURCE_F_ALL;
        /// Whether a tuple that is all ones is an error; counts only together with
        /// [`pass_all_ones`](Self::pass_all_ones) (default: no).
        refuse_all_ones = SOURCE_F_ALL_ERROR;
    }
}

/// How the tuples in the destination are made.
///
/// By default the guard is computed, the application tag is the same for all blocks, and the reference tag counts up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DifDestination {
    pub(super) tags: DifTags,
    pub(super) flags: u8,
}

impl DifDestination {
    /// Writes the reference tag `reference` to the first block, and counts it up from there; writes the application tag
    /// `application` to all blocks.
    #[inline]
    pub const fn new(reference: u32, application: u16) -> Self {
        Self { tags: DifTags { reference, application_mask: 0, application }, flags: 0 }
    }

    /// Writes 0 to bits of the application tag: those that are set here.
    #[inline]
    pub const fn application_mask(mut self, mask: u16) -> Self {
        self.tags.application_mask = mask;
        self
    }

    dif_flag_setters! {
        /// Whether the reference tag is the same for all blocks, instead of counting up (default: no).
        fixed_reference = DEST_REF_FIXED;
        /// Whether the application tag counts up from block to block, instead of being the same (default: no).
        counting_application = DEST_APP_INCREMENTS;
        /// Whether the reference tag is that of the source. Update only, ignored by other operations (default: no).
        pass_reference = DEST_REF_PASS;
        /// Whether the guard is that of the source. Update only, ignored by other operations (default: no).
        pass_guard = DEST_GUARD_PASS;
        /// Whether the application tag is that of the source. Update only, ignored by other operations (default: no).
        pass_application = DEST_APP_PASS;
    }
}

/// Tags, `blocks` blocks later: those that count do so by one for each block.
const fn counted(tags: DifTags, blocks: u64, reference: bool, application: bool) -> DifTags {
    DifTags {
        reference: if reference { tags.reference.wrapping_add(blocks as u32) } else { tags.reference },
        application: if application { tags.application.wrapping_add(blocks as u16) } else { tags.application },
        ..tags
    }
}

/// What is expected at some place of the source.
impl DifSource {
    /// Source DIF flags.
    pub(crate) const fn flags(self) -> u8 {
        self.flags
    }

    /// The tags of the first block.
    pub(crate) const fn tags(self) -> DifTags {
        self.tags
    }

    /// What is expected after so many blocks.
    pub(crate) const fn after(mut self, blocks: u64) -> Self {
        let (reference, application) =
            (self.flags & dif::SOURCE_REF_FIXED == 0, self.flags & dif::SOURCE_APP_INCREMENTS != 0);
        self.tags = counted(self.tags, blocks, reference, application);
        self
    }
}

/// What is made at some place of the destination.
impl DifDestination {
    /// Destination DIF flags.
    pub(crate) const fn flags(self) -> u8 {
        self.flags
    }

    /// The tags of the first block.
    pub(crate) const fn tags(self) -> DifTags {
        self.tags
    }

    /// What is made after so many blocks.
    pub(crate) const fn after(mut self, blocks: u64) -> Self {
        let (reference, application) =
            (self.flags & dif::DEST_REF_FIXED == 0, self.flags & dif::DEST_APP_INCREMENTS != 0);
        self.tags = counted(self.tags, blocks, reference, application);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_keep_their_places() {
        let tags = DifTags { reference: 0x4433_2211, application_mask: 0x6655, application: 0x8877 };
        assert_eq!(tags.word().to_le_bytes(), [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        assert_eq!(DifTags::from_word(tags.word()), tags);
    }

    #[test]
    fn block_sizes() {
        let sizes: Vec<_> = DifBlock::ALL.iter().map(|block| (block.size(), block.protected_size())).collect();
        assert_eq!(sizes, [(512, 520), (520, 528), (4096, 4104), (4104, 4112)]);
        assert_eq!(DifBlock::from_code(4), None);
    }
}
