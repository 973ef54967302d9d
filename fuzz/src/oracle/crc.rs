//! Checksums, bit by bit (specification sections 8.3.12 and 8.3.13, appendices A and B).

use idxd_sys::{Descriptor, flag, opcode};

use super::{Answer, Memory, Nothing};

/// The variants of the CRC operations (descriptor flags 17 to 19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, arbitrary::Arbitrary)]
pub struct CrcMode {
    /// Flag 17: take and return the state raw.
    pub bypass_inversion: bool,
    /// Flag 18: do not reflect the data bytes.
    pub bypass_reflection: bool,
    /// Flag 19: the 64-bit polynomial.
    pub wide: bool,
}

/// Shifts the bits of a byte into a register of `width` bits, the most significant one first.
fn shift_in(state: u64, byte: u8, polynomial: u64, width: u32) -> u64 {
    let mask = u64::MAX >> (64 - width);
    let mut state = state ^ u64::from(byte) << (width - 8);
    for _ in 0..8 {
        let carry = state >> (width - 1) & 1 == 1;
        state = state << 1 & mask;
        if carry {
            state ^= polynomial;
        }
    }
    state
}

/// A CRC of the CRC operations.
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
        state = shift_in(state, byte, polynomial, width);
    }
    if mode.bypass_inversion { state } else { reflect(!state & mask) }
}

/// The guard of a block: the CRC-16 of T10, with the conventions of the DIF flags.
pub fn guard(data: &[u8], inverted_seed: bool, inverted_result: bool) -> u16 {
    let seed = if inverted_seed { 0xffff } else { 0 };
    let value = data.iter().fold(seed, |state, byte| shift_in(state, *byte, 0x8bb7, 16)) as u16;
    if inverted_result { !value } else { value }
}

pub(super) fn execute(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let set = |bit: u32| d.flags() & bit != 0;
    let mode = CrcMode {
        bypass_inversion: set(flag::CRC_BYPASS_INVERT),
        bypass_reflection: set(flag::CRC_BYPASS_REFLECT),
        wide: set(flag::CRC_64),
    };
    let seed = if set(flag::CRC_READ_SEED) {
        memory.number(d.op_specific[1], if mode.wide { 8 } else { 4 })?
    } else {
        d.op_specific[0]
    };
    let data = memory.get(d.src_addr, d.xfer_size.into())?;
    if d.opcode() == opcode::COPY_CRC {
        memory.put(d.dst_addr, &data)?;
    }
    Ok(Answer { words: [crc(mode, seed, &data), 0], ..Answer::DONE })
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

    #[test]
    fn guard_check_vectors() {
        assert_eq!(guard(b"123456789", false, false), 0xd0db);
        assert_eq!(guard(b"123456789", false, true), !0xd0db);
        assert_eq!(guard(&[0; 512], false, false), 0);
        assert_ne!(guard(&[0; 512], true, false), 0);
    }
}
