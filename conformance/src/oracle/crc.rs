//! The CRC of the CRC operations, as appendix A describes it: a register that takes bits, most significant first.

use idxd_sys::flag;

/// The value of a CRC operation with these flags.
pub(crate) fn crc(flags: u32, seed: u64, bytes: &[u8]) -> u64 {
    let (width, polynomial) = if flags & flag::CRC_64 != 0 { (64, 0xad93_d235_94c9_3659) } else { (32, 0x1edc_6f41) };
    let mask = u64::MAX >> (64 - width);
    let mirror = |value: u64| value.reverse_bits() >> (64 - width);
    let raw_ends = flags & flag::CRC_BYPASS_INVERT != 0;
    let mut register = if raw_ends { seed & mask } else { !mirror(seed & mask) & mask };
    for byte in bytes {
        let byte = if flags & flag::CRC_BYPASS_REFLECT != 0 { *byte } else { byte.reverse_bits() };
        for bit in (0..8).rev() {
            let out = register >> (width - 1) & 1 != u64::from(byte >> bit & 1);
            register = register << 1 & mask ^ if out { polynomial } else { 0 };
        }
    }
    if raw_ends { register } else { mirror(!register & mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published check values: CRC-32C and CRC-64/NVME of "123456789", and CRC-32C of 32 zeroes (RFC 3720).
    #[test]
    fn check_values() {
        assert_eq!(crc(0, 0, b"123456789"), 0xe306_9283);
        assert_eq!(crc(flag::CRC_64, 0, b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(crc(0, 0, &[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_value_is_the_seed_for_the_rest() {
        for flags in [0, flag::CRC_64, flag::CRC_BYPASS_INVERT, flag::CRC_BYPASS_REFLECT] {
            let whole = crc(flags, 7, b"123456789");
            assert_eq!(crc(flags, crc(flags, 7, b"1234"), b"56789"), whole);
        }
    }
}
