//! The instruction that looks at ENQCMD's answer.
//!
//! ENQCMD answers in the zero flag. A plugin of QEMU cannot write flags: they live in the translator's own form while
//! the virtual CPU runs. What it can do is to carry out the next instruction as well, if that is one of the few that
//! compilers and the kernel put behind ENQCMD to read the flag: `SETcc`, Jcc or `CMOVcc` on "zero" or "not zero". This
//! module finds out what such an instruction does; NOPs before it are skipped.

/// A general-purpose register by its number in encodings: 0 is RAX, 4 is RSP, 15 is R15.
pub type Register = u8;

/// What the reader of the zero flag does. `pc` is where execution goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A jump: only the program counter changes.
    Jump {
        /// Target of the jump if taken, else the instruction behind it.
        pc: u64,
    },
    /// `SETcc` into the low byte of a register, or into bits 15:8 of one of the first four.
    Set {
        /// The register that holds the byte.
        register: Register,
        /// Whether the byte is bits 15:8 (AH, CH, DH, BH).
        high: bool,
        /// The value: 0 or 1.
        value: u8,
        /// Address of the next instruction.
        pc: u64,
    },
    /// `CMOVcc` between registers.
    Move {
        /// Written in any case: 32-bit moves clear the upper half even if the condition is false.
        to: Register,
        /// The register whose value is kept: the source if the condition holds, else `to` itself.
        from: Register,
        /// Whether all 64 bits are moved.
        wide: bool,
        /// Address of the next instruction.
        pc: u64,
    },
}

/// NOPs that are skipped, at most.
const MAX_NOPS: usize = 8;

/// Finds the reader at the start of `code`, the bytes at `pc`, for a zero flag of `zero`. `None` if it is something else,
/// or if the bytes end before it does.
pub fn reader(code: &[u8], pc: u64, zero: bool) -> Option<Reader> {
    let (mut rest, mut pc) = (code, pc);
    for _ in 0..MAX_NOPS {
        let len = match rest {
            [0x90, ..] => 1,
            [0x66, 0x90, ..] => 2,
            _ => break,
        };
        rest = &rest[len..];
        pc = pc.wrapping_add(len as u64);
    }
    let (rex, opcode) = match rest {
        [rex @ 0x40..=0x4f, opcode @ ..] => (Some(*rex), opcode),
        opcode => (None, opcode),
    };
    let prefix = u64::from(rex.is_some());
    // Conditions come in pairs: the even code is "zero", the odd one "not zero".
    let holds = |code: u8| (code & 1 == 0) == zero;
    let extended = |number: u8, bit: u8| number | (rex.unwrap_or(0) >> bit & 1) << 3;
    match *opcode {
        [code @ (0x74 | 0x75), displacement, ..] => {
            let next = pc.wrapping_add(prefix + 2);
            let taken = next.wrapping_add_signed(i64::from(displacement.cast_signed()));
            Some(Reader::Jump { pc: if holds(code) { taken } else { next } })
        }
        [0x0f, code @ (0x84 | 0x85), a, b, c, d, ..] => {
            let next = pc.wrapping_add(prefix + 6);
            let taken = next.wrapping_add_signed(i64::from(i32::from_le_bytes([a, b, c, d])));
            Some(Reader::Jump { pc: if holds(code) { taken } else { next } })
        }
        [0x0f, code @ (0x94 | 0x95), modrm, ..] if modrm >> 6 == 3 => {
            let number = modrm & 7;
            // Without REX, numbers 4 to 7 are the second bytes of the first four registers.
            let high = rex.is_none() && number >= 4;
            let register = if high { number - 4 } else { extended(number, 0) };
            Some(Reader::Set { register, high, value: holds(code).into(), pc: pc.wrapping_add(prefix + 3) })
        }
        [0x0f, code @ (0x44 | 0x45), modrm, ..] if modrm >> 6 == 3 => {
            let (to, source) = (extended(modrm >> 3 & 7, 2), extended(modrm & 7, 0));
            Some(Reader::Move {
                to,
                from: if holds(code) { source } else { to },
                wide: rex.is_some_and(|rex| rex & 8 != 0),
                pc: pc.wrapping_add(prefix + 3),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_near_jumps_go_where_the_flag_says() {
        // jz +0x10; jnz -2 (onto itself)
        assert_eq!(reader(&[0x74, 0x10], 0x1000, true), Some(Reader::Jump { pc: 0x1012 }));
        assert_eq!(reader(&[0x74, 0x10], 0x1000, false), Some(Reader::Jump { pc: 0x1002 }));
        assert_eq!(reader(&[0x75, 0xfe], 0x1000, false), Some(Reader::Jump { pc: 0x1000 }));
        let near = [0x0f, 0x85, 0x00, 0xff, 0xff, 0xff];
        assert_eq!(reader(&near, 0x1000, false), Some(Reader::Jump { pc: 0xf06 }));
        assert_eq!(reader(&near, 0x1000, true), Some(Reader::Jump { pc: 0x1006 }));
    }

    #[test]
    fn setcc_names_the_byte_it_writes() {
        // setz al; setnz r9b; setz ah; setz sil (REX makes 6 the low byte of RSI)
        let set = |register, high, value, pc| Some(Reader::Set { register, high, value, pc });
        assert_eq!(reader(&[0x0f, 0x94, 0xc0], 0, true), set(0, false, 1, 3));
        assert_eq!(reader(&[0x41, 0x0f, 0x95, 0xc1], 0, true), set(9, false, 0, 4));
        assert_eq!(reader(&[0x0f, 0x94, 0xc4], 0, false), set(0, true, 0, 3));
        assert_eq!(reader(&[0x40, 0x0f, 0x94, 0xc6], 0, true), set(6, false, 1, 4));
    }

    #[test]
    fn cmov_keeps_or_takes() {
        // cmovz rax, r11; cmovnz ecx, edx
        let wide = [0x49, 0x0f, 0x44, 0xc3];
        assert_eq!(reader(&wide, 0, true), Some(Reader::Move { to: 0, from: 11, wide: true, pc: 4 }));
        assert_eq!(reader(&wide, 0, false), Some(Reader::Move { to: 0, from: 0, wide: true, pc: 4 }));
        let narrow = [0x0f, 0x45, 0xca];
        assert_eq!(reader(&narrow, 0, false), Some(Reader::Move { to: 1, from: 2, wide: false, pc: 3 }));
    }

    #[test]
    fn nops_are_skipped_and_everything_else_is_refused() {
        assert_eq!(reader(&[0x90, 0x66, 0x90, 0x74, 0x01], 0, true), Some(Reader::Jump { pc: 6 }));
        // setz into memory, setb, ret, nothing, a cut-off jump
        for code in [&[0x0f, 0x94, 0x00][..], &[0x0f, 0x92, 0xc0], &[0xc3], &[], &[0x0f, 0x84, 0, 0]] {
            assert_eq!(reader(code, 0, true), None, "{code:02x?}");
        }
    }
}
