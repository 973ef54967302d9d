//! The guard of a data-integrity tuple: CRC-16 with T10's polynomial (specification appendix B).

use crc_fast::{CrcAlgorithm, Digest};
use idxd_sys::dif;

/// The guard of a block, under the two DIF flags that concern it.
///
/// The first 16 bits of the data are combined with the seed by exclusive or, which is what a register that starts with
/// the seed and takes data at its upper end does.
pub(super) fn guard(block: &[u8], dif_flags: u8) -> u16 {
    let seed = if dif_flags & dif::INVERT_SEED != 0 { 0xffff } else { 0 };
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc16T10Dif, seed);
    digest.update(block);
    let sum = digest.get_state() as u16;
    if dif_flags & dif::INVERT_RESULT != 0 { !sum } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A division of polynomials, bit by bit: the data with 16 zero bits behind it, its first 16 bits changed by the seed.
    fn remainder(block: &[u8], seed: u16) -> u16 {
        let mut bytes = block.to_vec();
        bytes.extend([0; 2]);
        bytes[0] ^= (seed >> 8) as u8;
        bytes[1] ^= seed as u8;
        let mut rest = 0u32;
        for byte in bytes {
            for bit in (0..8).rev() {
                rest = rest << 1 | u32::from(byte >> bit & 1);
                if rest & 0x1_0000 != 0 {
                    rest ^= 0x1_0000 | u32::from(dif::GUARD_POLYNOMIAL);
                }
            }
        }
        rest as u16
    }

    #[test]
    fn published_vectors() {
        // Of the polynomial's catalogue, then of T10's own standard (SBC-3, 32 bytes each).
        assert_eq!(guard(b"123456789", 0), 0xd0db);
        assert_eq!(guard(&[0; 32], 0), 0);
        assert_eq!(guard(&[0xff; 32], 0), 0xa293);
        let ascending: [u8; 32] = std::array::from_fn(|i| i as u8);
        assert_eq!(guard(&ascending, 0), 0x0224);
        let ones_first: [u8; 32] = std::array::from_fn(|i| if i < 2 { 0xff } else { 0 });
        assert_eq!(guard(&ones_first, 0), 0x21b8);
        let descending: [u8; 32] = std::array::from_fn(|i| 0xff - i as u8);
        assert_eq!(guard(&descending, 0), 0xa0b7);
    }

    #[test]
    fn every_length_and_flag_is_the_remainder_of_a_division() {
        let data: Vec<u8> = (0..4104u32).map(|i| (i * 13 + i / 7) as u8).collect();
        for len in (2..300).chain([511, 512, 520, 1023, 4095, 4096, 4104]) {
            let block = &data[..len];
            assert_eq!(guard(block, 0), remainder(block, 0), "{len}");
            assert_eq!(guard(block, dif::INVERT_SEED), remainder(block, 0xffff), "{len}");
            assert_eq!(guard(block, dif::INVERT_RESULT), !remainder(block, 0), "{len}");
            let both = dif::INVERT_SEED | dif::INVERT_RESULT;
            assert_eq!(guard(block, both), !remainder(block, 0xffff), "{len}");
        }
    }
}
