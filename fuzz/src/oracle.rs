//! What each operation means, in the plainest Rust: byte loops over one array, no table, no shared code.

/// Moves `len` bytes inside `memory`; the regions may overlap.
pub fn copy(memory: &mut [u8], src: usize, dst: usize, len: usize) {
    let bytes = memory[src..src + len].to_vec();
    memory[dst..dst + len].copy_from_slice(&bytes);
}

/// Fills with a pattern of 8 or 16 bytes.
pub fn fill(memory: &mut [u8], dst: usize, len: usize, pattern: &[u8]) {
    for i in 0..len {
        memory[dst + i] = pattern[i % pattern.len()];
    }
}

/// Where two regions differ first.
pub fn first_difference(memory: &[u8], a: usize, b: usize, len: usize) -> Option<usize> {
    (0..len).find(|i| memory[a + i] != memory[b + i])
}

/// Where a region differs first from a pattern.
pub fn first_mismatch(memory: &[u8], src: usize, len: usize, pattern: [u8; 8]) -> Option<usize> {
    (0..len).find(|i| memory[src + i] != pattern[i % 8])
}

/// The variants of the CRC operations (descriptor flags 17 to 19).
#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub struct CrcMode {
    /// Flag 17: take and return the state raw.
    pub bypass_inversion: bool,
    /// Flag 18: do not reflect the data bytes.
    pub bypass_reflection: bool,
    /// Flag 19: the 64-bit polynomial.
    pub wide: bool,
}

/// A CRC, bit by bit, most significant bit first.
pub fn crc(mode: CrcMode, seed: u64, data: &[u8]) -> u64 {
    let (polynomial, width) = if mode.wide { (0xad93_d235_94c9_3659, 64) } else { (0x1edc_6f41, 32) };
    let mask = u64::MAX >> (64 - width);
    let reflect = |value: u64| value.reverse_bits() >> (64 - width);
    let mut state = seed & mask;
    if !mode.bypass_inversion {
        state = !reflect(state) & mask;
    }
    for byte in data {
        let byte = if mode.bypass_reflection { *byte } else { byte.reverse_bits() };
        state ^= u64::from(byte) << (width - 8);
        for _ in 0..8 {
            let carry = state >> (width - 1) & 1 == 1;
            state = state << 1 & mask;
            if carry {
                state ^= polynomial;
            }
        }
    }
    if mode.bypass_inversion { state } else { reflect(!state & mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_check_vectors() {
        let mode = |bypass_inversion, bypass_reflection, wide| CrcMode { bypass_inversion, bypass_reflection, wide };
        let check = |m, expected: u64| assert_eq!(crc(m, 0, b"123456789"), expected, "{m:?}");
        check(mode(false, false, false), 0xe306_9283);
        check(mode(true, false, false), 0x045f_c71a);
        check(mode(true, true, false), 0xc052_a8c8);
        check(mode(false, true, false), 0xa8f0_22a0);
        check(mode(false, false, true), 0xae8b_1486_0a79_9888);
        let first = crc(mode(false, false, false), 0, b"1234");
        assert_eq!(crc(mode(false, false, false), first, b"56789"), 0xe306_9283);
    }
}
