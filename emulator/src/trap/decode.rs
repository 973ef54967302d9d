//! Decoder of the instructions that a client of the device executes and a CPU may lack, in 64-bit mode: MOVDIR64B,
//! ENQCMD and ENQCMDS; UMONITOR, UMWAIT and TPAUSE; MONITORX and MWAITX.
//!
//! Decoding is a pure and total function of the bytes. What it finds names registers; [`Instruction::operands`] turns
//! them into addresses and values by asking a [`Registers`] for theirs. Neither touches memory, so both may run in a
//! signal handler, or on behalf of another machine.
//!
//! | instruction | encoding |
//! |---|---|
//! | MOVDIR64B r64, m512 | 66 0F 38 F8 /r, memory |
//! | ENQCMD r64, m512 | F2 0F 38 F8 /r, memory |
//! | ENQCMDS r64, m512 | F3 0F 38 F8 /r, memory |
//! | TPAUSE r32 | 66 0F AE /6, register |
//! | UMWAIT r32 | F2 0F AE /6, register |
//! | UMONITOR r64 | F3 0F AE /6, register |
//! | MONITORX | 0F 01 FA |
//! | MWAITX | 0F 01 FB |
//!
//! The forms with an EVEX prefix or a REX2 prefix (Intel APX) are not known here.

#![forbid(unsafe_code)]

/// Length of the longest instruction in bytes.
pub const MAX_LENGTH: usize = 15;

/// Which instruction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Stores 64 bytes, in one piece; submits to a dedicated queue.
    Movdir64b,
    /// Offers 64 bytes to a shared queue, with the thread's PASID.
    Enqcmd,
    /// As ENQCMD, with the PASID and privilege of the source's first four bytes. Privilege level 0 only.
    Enqcmds,
    /// Arms the address monitor.
    Umonitor,
    /// Waits for the monitored line, or for the time stamp counter.
    Umwait,
    /// Waits for the time stamp counter.
    Tpause,
    /// Arms the address monitor, in the other vendor's CPUs.
    Monitorx,
    /// Waits for the monitored line, or for a time.
    Mwaitx,
}

#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
impl Kind {
    /// How many kinds there are.
    pub(super) const COUNT: usize = Self::Mwaitx as usize + 1;
}

/// Why bytes are not one of the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// The bytes end before the instruction does.
    Truncated,
    /// It is another instruction, or none, or too long.
    Other,
}

/// A segment register whose base counts in 64-bit mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// FS, which user programs use for thread-local data.
    Fs,
    /// GS.
    Gs,
}

/// Where the values come from that an instruction names.
pub trait Registers {
    /// The general register `number`, 0 to 15, in the order of their encoding: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI,
    /// R8 to R15.
    fn general(&self, number: u8) -> u64;

    /// RIP, the address of the instruction's first byte.
    fn instruction_pointer(&self) -> u64;

    /// The base of a segment.
    fn segment_base(&self, segment: Segment) -> u64;
}

/// What an instruction works on, as linear addresses and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operands {
    /// MOVDIR64B, ENQCMD and ENQCMDS: 64 bytes from `source` to `target`.
    Store {
        /// Address of the 64 bytes; any alignment.
        source: u64,
        /// Where they go. An address that is not 64-byte aligned raises #GP.
        target: u64,
    },
    /// UMONITOR.
    Monitor {
        /// An address in the line to be monitored.
        address: u64,
    },
    /// UMWAIT and TPAUSE.
    Wait {
        /// The operand register. Bit 0 selects the state, any other bit raises #GP.
        control: u32,
        /// EDX:EAX, the time stamp counter at which the wait ends.
        deadline: u64,
    },
    /// MONITORX.
    MonitorExtended {
        /// An address in the line to be monitored.
        address: u64,
        /// ECX. Any bit raises #GP.
        extensions: u32,
    },
    /// MWAITX.
    WaitExtended {
        /// The longest wait, in ticks of the time stamp counter, if bit 1 of ECX says that EBX holds it.
        ticks: Option<u32>,
        /// ECX. Bit 0 lets masked interrupts end the wait; any but these two bits raises #GP.
        extensions: u32,
    },
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    kind: Kind,
    length: u8,
    /// The register operand.
    register: u8,
    /// The memory operand; all absent where there is none.
    memory: Memory,
    segment: Option<Segment>,
    /// Whether addresses have 32 bits (prefix 67).
    narrow: bool,
}

/// The parts of an effective address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Memory {
    base: Option<u8>,
    /// Register and the power of two that it is multiplied by.
    index: Option<(u8, u8)>,
    displacement: i32,
    /// Whether the displacement counts from the end of the instruction.
    relative: bool,
}

/// Decodes the instruction at the start of `bytes`. More than [`MAX_LENGTH`] bytes are never looked at.
///
/// ```
/// use dsa_emulator::trap::decode::{Kind, decode};
///
/// // enqcmd rdi, [rsi]
/// let instruction = decode(&[0xf2, 0x0f, 0x38, 0xf8, 0x3e]).unwrap();
/// assert_eq!((instruction.kind(), instruction.length()), (Kind::Enqcmd, 5));
/// ```
///
/// # Errors
///
/// See [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Instruction, DecodeError> {
    let mut bytes = Bytes { all: &bytes[..bytes.len().min(MAX_LENGTH)], at: 0 };
    let (prefixes, opcode) = Prefixes::read(&mut bytes)?;
    if opcode != 0x0f {
        return Err(DecodeError::Other);
    }
    match bytes.next()? {
        0x38 if bytes.next()? == 0xf8 => store(&mut bytes, prefixes),
        0xae => wait(&mut bytes, prefixes),
        0x01 => extended(&mut bytes, prefixes),
        _ => Err(DecodeError::Other),
    }
}

impl Instruction {
    /// Which instruction it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its length in bytes, 3 to 15.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// What it works on, given the registers.
    pub fn operands(&self, registers: &impl Registers) -> Operands {
        let width = if self.narrow { u64::from(u32::MAX) } else { u64::MAX };
        let base = || self.segment.map_or(0, |segment| registers.segment_base(segment));
        let register = registers.general(self.register);
        let low = |number| registers.general(number) as u32;
        match self.kind {
            Kind::Movdir64b | Kind::Enqcmd | Kind::Enqcmds => Operands::Store {
                source: base().wrapping_add(self.offset(registers) & width),
                // The target lies in ES, whose base is 0, whatever the prefix says.
                target: register & width,
            },
            Kind::Umonitor => Operands::Monitor { address: base().wrapping_add(register & width) },
            Kind::Umwait | Kind::Tpause => {
                let deadline = u64::from(low(RDX)) << 32 | u64::from(low(RAX));
                Operands::Wait { control: register as u32, deadline }
            }
            Kind::Monitorx => {
                Operands::MonitorExtended { address: base().wrapping_add(register & width), extensions: low(RCX) }
            }
            Kind::Mwaitx => {
                let extensions = low(RCX);
                Operands::WaitExtended { ticks: (extensions & 2 != 0).then(|| low(RBX)), extensions }
            }
        }
    }

    /// The effective address inside its segment, before it is cut to the address size.
    fn offset(&self, registers: &impl Registers) -> u64 {
        let memory = &self.memory;
        let mut offset = i64::from(memory.displacement).cast_unsigned();
        if let Some(base) = memory.base {
            offset = offset.wrapping_add(registers.general(base));
        }
        if let Some((index, scale)) = memory.index {
            offset = offset.wrapping_add(registers.general(index) << scale);
        }
        if memory.relative {
            offset = offset.wrapping_add(registers.instruction_pointer()).wrapping_add(u64::from(self.length));
        }
        offset
    }
}

/// Encodings of registers.
const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RBX: u8 = 3;

/// What a byte means in front of an opcode.
mod prefix {
    pub(super) const OPERAND_SIZE: u8 = 0x66;
    pub(super) const ADDRESS_SIZE: u8 = 0x67;
    pub(super) const REPNE: u8 = 0xf2;
    pub(super) const REP: u8 = 0xf3;
    pub(super) const ES: u8 = 0x26;
    pub(super) const CS: u8 = 0x2e;
    pub(super) const SS: u8 = 0x36;
    pub(super) const DS: u8 = 0x3e;
    pub(super) const FS: u8 = 0x64;
    pub(super) const GS: u8 = 0x65;
    pub(super) const REX: u8 = 0x40;
    pub(super) const REX_LAST: u8 = 0x4f;
}

/// The bytes, read one after the other.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> Result<u8, DecodeError> {
        let end = if self.at == MAX_LENGTH { DecodeError::Other } else { DecodeError::Truncated };
        let byte = *self.all.get(self.at).ok_or(end)?;
        self.at += 1;
        Ok(byte)
    }

    /// A displacement of 8 bits, widened.
    fn short(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from(self.next()?.cast_signed()))
    }

    /// A displacement of 32 bits.
    fn long(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_le_bytes([self.next()?, self.next()?, self.next()?, self.next()?]))
    }

    fn length(&self) -> u8 {
        self.at as u8
    }
}

/// The prefixes that were found.
#[derive(Clone, Copy, Default)]
struct Prefixes {
    operand_size: bool,
    /// The last one of F2 and F3.
    repeat: Option<u8>,
    narrow: bool,
    segment: Option<Segment>,
    rex: u8,
}

impl Prefixes {
    /// Reads prefixes, and the first byte that is none.
    fn read(bytes: &mut Bytes<'_>) -> Result<(Self, u8), DecodeError> {
        let mut found = Self::default();
        loop {
            let byte = bytes.next()?;
            // A REX prefix counts only if it is the last.
            let mut rex = 0;
            match byte {
                prefix::OPERAND_SIZE => found.operand_size = true,
                prefix::ADDRESS_SIZE => found.narrow = true,
                prefix::REPNE | prefix::REP => found.repeat = Some(byte),
                prefix::FS => found.segment = Some(Segment::Fs),
                prefix::GS => found.segment = Some(Segment::Gs),
                // These are ignored in 64-bit mode.
                prefix::ES | prefix::CS | prefix::SS | prefix::DS => {}
                prefix::REX..=prefix::REX_LAST => rex = byte,
                // LOCK is among the others; it makes each of these instructions invalid.
                _ => return Ok((found, byte)),
            }
            found.rex = rex;
        }
    }

    /// The prefix that is a part of the opcode. F2 and F3 go before 66.
    fn mandatory(self) -> Option<u8> {
        self.repeat.or(self.operand_size.then_some(prefix::OPERAND_SIZE))
    }

    /// The bits with which REX extends the register, the index, and the base or second register.
    fn extensions(self) -> (u8, u8, u8) {
        let extension = |bit: u8| (self.rex >> bit & 1) << 3;
        (extension(2), extension(1), extension(0))
    }
}

/// MOVDIR64B, ENQCMD and ENQCMDS, after the opcode.
fn store(bytes: &mut Bytes<'_>, prefixes: Prefixes) -> Result<Instruction, DecodeError> {
    let kind = match prefixes.mandatory() {
        Some(prefix::OPERAND_SIZE) => Kind::Movdir64b,
        Some(prefix::REPNE) => Kind::Enqcmd,
        Some(prefix::REP) => Kind::Enqcmds,
        // MOVBE and CRC32 are at other opcodes; without a prefix this one is undefined.
        _ => return Err(DecodeError::Other),
    };
    let (mode, middle, low) = fields(bytes.next()?);
    let (reg, index_extension, base_extension) = prefixes.extensions();
    let mut memory = Memory::default();
    let no_base;
    match (mode, low) {
        (3, _) => return Err(DecodeError::Other),
        (_, 4) => {
            let (scale, index, base) = fields(bytes.next()?);
            // RSP is no index; R12, which has the same low bits, is.
            let index = index | index_extension;
            memory.index = (index != 4).then_some((index, scale));
            memory.base = Some(base | base_extension);
            no_base = mode == 0 && base == 5;
        }
        _ => {
            memory.base = Some(low | base_extension);
            no_base = mode == 0 && low == 5;
            memory.relative = no_base;
        }
    }
    if no_base {
        memory.base = None;
    }
    memory.displacement = match mode {
        0 if no_base => bytes.long()?,
        0 => 0,
        1 => bytes.short()?,
        _ => bytes.long()?,
    };
    Ok(Instruction {
        kind,
        length: bytes.length(),
        register: middle | reg,
        memory,
        segment: prefixes.segment,
        narrow: prefixes.narrow,
    })
}

/// UMONITOR, UMWAIT and TPAUSE, after the opcode.
fn wait(bytes: &mut Bytes<'_>, prefixes: Prefixes) -> Result<Instruction, DecodeError> {
    let kind = match prefixes.mandatory() {
        Some(prefix::OPERAND_SIZE) => Kind::Tpause,
        Some(prefix::REPNE) => Kind::Umwait,
        Some(prefix::REP) => Kind::Umonitor,
        // Without a prefix it is MFENCE, among others.
        _ => return Err(DecodeError::Other),
    };
    // The same opcode with a memory operand, or another extension, is another instruction.
    let (3, 6, low) = fields(bytes.next()?) else { return Err(DecodeError::Other) };
    let (_, _, extension) = prefixes.extensions();
    Ok(Instruction {
        kind,
        length: bytes.length(),
        register: low | extension,
        memory: Memory::default(),
        segment: prefixes.segment,
        narrow: prefixes.narrow,
    })
}

/// MONITORX and MWAITX, after the first two bytes of the opcode. All of their operands are implied.
fn extended(bytes: &mut Bytes<'_>, prefixes: Prefixes) -> Result<Instruction, DecodeError> {
    let kind = match bytes.next()? {
        0xfa => Kind::Monitorx,
        0xfb => Kind::Mwaitx,
        _ => return Err(DecodeError::Other),
    };
    // With a prefix it is MCOMMIT, for one.
    if prefixes.mandatory().is_some() {
        return Err(DecodeError::Other);
    }
    Ok(Instruction {
        kind,
        length: bytes.length(),
        register: RAX,
        memory: Memory::default(),
        segment: prefixes.segment,
        narrow: prefixes.narrow,
    })
}

/// The fields of 2, 3 and 3 bits of a ModR/M or SIB byte.
fn fields(byte: u8) -> (u8, u8, u8) {
    (byte >> 6, byte >> 3 & 7, byte & 7)
}
