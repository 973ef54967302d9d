//! Data-integrity fields, as appendix B describes them: the guard bit by bit, tags that count blocks.

use idxd_sys::dif;

/// The guard of a block: the T10 CRC, most significant bit first.
pub(crate) fn guard(block: &[u8], dif_flags: u8) -> u16 {
    let mut register: u16 = if dif_flags & dif::INVERT_SEED != 0 { 0xffff } else { 0 };
    for byte in block {
        for bit in (0..8).rev() {
            let out = (register >> 15 != 0) != (byte >> bit & 1 != 0);
            register = register << 1 ^ if out { dif::GUARD_POLYNOMIAL } else { 0 };
        }
    }
    if dif_flags & dif::INVERT_RESULT != 0 { !register } else { register }
}

/// Tags of one side of an operation: of its first block, and how they go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tags {
    pub(crate) reference: u32,
    pub(crate) mask: u16,
    pub(crate) application: u16,
    pub(crate) counts_reference: bool,
    pub(crate) counts_application: bool,
}

impl Tags {
    /// The tags `blocks` blocks later.
    pub(crate) fn after(self, blocks: u64) -> Self {
        let (reference, application) = (u64::from(self.reference), u64::from(self.application));
        Self {
            reference: if self.counts_reference { reference.wrapping_add(blocks) as u32 } else { self.reference },
            application: if self.counts_application {
                application.wrapping_add(blocks) as u16
            } else {
                self.application
            },
            ..self
        }
    }

    /// As descriptors and completion records have them.
    pub(crate) fn word(self) -> u64 {
        u64::from(self.reference) | u64::from(self.mask) << 32 | u64::from(self.application) << 48
    }

    /// The tuple of a block: guard, application tag, reference tag, big endian.
    pub(crate) fn tuple(self, block: &[u8], dif_flags: u8) -> [u8; 8] {
        let (guard, application) = (guard(block, dif_flags), self.application & !self.mask);
        let mut tuple = [0; 8];
        tuple[..2].copy_from_slice(&guard.to_be_bytes());
        tuple[2..4].copy_from_slice(&application.to_be_bytes());
        tuple[4..].copy_from_slice(&self.reference.to_be_bytes());
        tuple
    }
}

/// Blocks with their tuples.
pub(crate) fn protected(data: &[u8], block: usize, tags: Tags, dif_flags: u8) -> Vec<u8> {
    let with_tuple = |(i, data): (usize, &[u8])| [data, &tags.after(i as u64).tuple(data, dif_flags)].concat();
    data.chunks_exact(block).enumerate().flat_map(with_tuple).collect()
}

/// The tuples alone.
pub(crate) fn tuples(data: &[u8], block: usize, tags: Tags, dif_flags: u8) -> Vec<u8> {
    data.chunks_exact(block).enumerate().flat_map(|(i, data)| tags.after(i as u64).tuple(data, dif_flags)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published check values of CRC-16/T10-DIF, and the inversions.
    #[test]
    fn guards() {
        assert_eq!(guard(b"123456789", 0), 0xd0db);
        assert_eq!(guard(b"123456789", dif::INVERT_RESULT), !0xd0db);
        assert_ne!(guard(b"123456789", dif::INVERT_SEED), 0xd0db);
    }

    #[test]
    fn tuples_count_and_are_masked() {
        let tags = Tags {
            reference: u32::MAX,
            mask: 0xf,
            application: 0x1234,
            counts_reference: true,
            counts_application: false,
        };
        let made = tuples(&[0; 1024], 512, tags, 0);
        assert_eq!(made, [0, 0, 0x12, 0x30, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x12, 0x30, 0, 0, 0, 0]);
        assert_eq!(tags.after(1).word(), 0x1234_000f_0000_0000);
    }
}
