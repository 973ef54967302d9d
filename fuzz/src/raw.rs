//! Operand addresses, and raw descriptors: wild ones, and such that are tame enough to be executed.

use arbitrary::Arbitrary;
use dsa_emulator::memory::PAGE_SIZE;
use idxd_sys::{Descriptor, flag, opcode};
use zerocopy::FromBytes;

use crate::{DATA, DATA_LEN, READ_ONLY, RECORDS, Rig};

/// Codes that no generation has, beside those of [`opcode::ALL`].
const NO_OPCODES: [u8; 4] = [0x0b, 0x16, 0x1f, 0xff];

/// An operand address: likely near something, possibly anything.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Address {
    /// In the data or the absent pages behind it.
    Data(u16),
    /// The same, 64-byte aligned.
    Aligned(u8),
    /// In the page that may only be read.
    ReadOnly(u16),
    /// Anywhere, except near records and lists.
    Any(u64),
}

impl Address {
    /// The address.
    pub const fn get(self) -> u64 {
        match self {
            Self::Data(offset) => DATA + offset as u64,
            Self::Aligned(n) => DATA + 64 * n as u64,
            Self::ReadOnly(offset) => READ_ONLY + offset as u64 % PAGE_SIZE,
            Self::Any(address) if near_control(address) => address & 0xffff_ffff,
            Self::Any(address) => address,
        }
    }
}

/// Whether a transfer that involves this address could reach records or lists.
pub const fn near_control(address: u64) -> bool {
    address >> 40 == RECORDS >> 40 || address >> 40 == (RECORDS >> 40) - 1
}

/// 64 bytes, with as many of them tamed as `tame` says.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Raw {
    bytes: [u8; 64],
    tame: u8,
    op: u8,
}

impl Raw {
    /// The descriptor; a tamed record address is that of `slot`.
    pub fn descriptor(&self, slot: usize) -> Descriptor {
        let mut d = Descriptor::read_from_bytes(&self.bytes).expect("64 bytes");
        // Mostly all that can be tamed, but for one thing, since any that is wild is usually refused.
        let tame = |bit: u8| match self.tame {
            0..64 => self.tame.wrapping_mul(37) >> bit & 1 == 1,
            more => more % 16 != bit,
        };
        let (mut code, mut flags) = (d.opcode(), d.flags());
        if tame(0) {
            let at = usize::from(self.op) % (opcode::ALL.len() + NO_OPCODES.len());
            code = opcode::ALL.iter().chain(&NO_OPCODES).copied().nth(at).unwrap_or_default();
        }
        if tame(1) {
            flags = tame_flags(code, flags);
        }
        if tame(2) {
            flags |= flag::CRAV | flag::RCR;
            d.completion_addr = Rig::record_address(slot);
        }
        if tame(3) {
            d.src_addr = DATA + d.src_addr % (DATA_LEN + 2 * PAGE_SIZE);
            if !matches!(code, opcode::NOP | opcode::CRCGEN | opcode::DIF_CHECK | opcode::TRANSL_FETCH) {
                d.dst_addr = DATA + d.dst_addr % (DATA_LEN + 2 * PAGE_SIZE);
            }
        }
        if tame(4) {
            d.xfer_size %= 0x3000;
        }
        if tame(5) {
            (d.pasid, d.int_handle, d.reserved) = (0, 0, 0);
            flags &= !flag::RCI;
        }
        if tame(6) {
            self.tame_operation(&mut d, code, flags);
        }
        if tame(7) {
            match code {
                opcode::NOP => (d.src_addr, d.dst_addr, d.xfer_size) = (0, 0, 0),
                opcode::DRAIN => (d.src_addr, d.dst_addr, d.xfer_size, flags) = (0, 0, 0, flags & !0xf_0000),
                opcode::CRCGEN | opcode::DIF_CHECK | opcode::TRANSL_FETCH => d.dst_addr = 0,
                opcode::CFLUSH => d.src_addr = 0,
                opcode::UPDATE_WINDOW => d.xfer_size = 0,
                // Whole blocks of 512 bytes, and units and elements that are aligned.
                opcode::DIF_INS | opcode::DIX_GEN => d.xfer_size = d.xfer_size / 512 * 512,
                opcode::DIF_CHECK..=opcode::DIF_UPDT => d.xfer_size = d.xfer_size / 520 * 520,
                opcode::CR_DELTA | opcode::AP_DELTA | opcode::TYPE_CONV..=opcode::REDUCE_DUALCAST => {
                    d.xfer_size &= !7;
                    d.dst_addr &= !7;
                    if code != opcode::AP_DELTA {
                        d.src_addr &= !7;
                    }
                    if matches!(code, opcode::REDUCE | opcode::REDUCE_DUALCAST) {
                        d.op_specific[0] &= !7;
                        d.op_specific[1] &= !7;
                    }
                }
                _ => {}
            }
        }
        d.set_opcode_flags(code, flags);
        d
    }

    /// Leaves of bytes 40 to 63, and of what must fit them, what the operation defines, within bounds.
    fn tame_operation(&self, d: &mut Descriptor, code: u8, flags: u32) {
        let [first, second, third] = d.op_specific;
        let near = |word: u64| DATA + word % DATA_LEN;
        let [types, function, compute_flags, selector, ..] = third.to_le_bytes();
        // Two equal types mostly, since few pairs can be converted.
        let kind = types & 0xf;
        let kind = if kind < 10 { kind } else { kind - 8 };
        let types = if types & 0x80 == 0 { kind | kind << 4 } else { types };
        let handle = |bit: u32, at: u32| if flags & bit != 0 { third >> (at % 64) & 3 } else { 0 };
        let source = handle(flag::ALTERNATE_SOURCE, 32) << 32;
        let destination = handle(flag::ALTERNATE_DESTINATION, 48) << 48;
        let size = u64::from(idxd_sys::compute::data_type::size(kind).unwrap_or(1));
        let compute = u64::from(function) << 8 | u64::from(compute_flags & 0x1f) << 16;
        d.op_specific = match code {
            opcode::DUALCAST => [d.dst_addr ^ u64::from(self.op) << 12, 0, 0],
            opcode::COMPARE | opcode::COMPVAL => [first & 1, 0, 0],
            opcode::CRCGEN | opcode::COPY_CRC => [first & 0xffff_ffff, 0, 0],
            opcode::CR_DELTA => [near(first), 80 + second % 100 * 10, third & 7],
            opcode::AP_DELTA => [10 + first % 100 * 10, 0, 0],
            opcode::DIF_CHECK | opcode::DIF_STRP => [first & 0x0f_00ff, second, 0],
            opcode::DIF_INS | opcode::DIX_GEN => [first & 0x0f_f800, 0, third],
            opcode::DIF_UPDT => [first & 0x0f_f8ff, second, third],
            opcode::TYPE_CONV => {
                [0, 0, u64::from(types) | u64::from(compute_flags & 0x1f) << 16 | source | destination]
            }
            opcode::REDUCE | opcode::REDUCE_DUALCAST => {
                let reaches = if flags & flag::INTER_DOMAIN_SELECTOR == 0 { 0 } else { third & 0x0003_0003_ff00_0000 };
                let to = if code == opcode::REDUCE { 0 } else { near(first) ^ u64::from(self.op) << 12 };
                [near(first), to, u64::from(types) | compute | reaches]
            }
            opcode::GATHER_REDUCE => {
                [(1 + first % 20) << 32, near(second), u64::from(types) | compute | u64::from(selector & 0xf0) << 24]
            }
            opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => {
                let (entries, count) = (1 + first % 20, 1 + (first >> 32) % 300);
                d.xfer_size = (entries * count * size) as u32;
                let word = u64::from(kind) | u64::from(selector & 0xf0) << 24;
                [count | entries << 32, near(second), word | source | destination]
            }
            opcode::UPDATE_WINDOW => [0, 0, third & 0x0003_0f00_0000_0000],
            opcode::INTER_DOMAIN_COPY => [0, 0, source | destination],
            opcode::INTER_DOMAIN_COMPARE => [first & 1, 0, source | destination],
            opcode::INTER_DOMAIN_COMPVAL => [first & 1, 0, source],
            opcode::INTER_DOMAIN_FILL => [if flags & flag::FILL_16 == 0 { 0 } else { first }, 0, destination],
            _ => [0; 3],
        };
        if matches!(code, opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST | opcode::GATHER_REDUCE) {
            // Fewer elements than a page has bytes.
            d.xfer_size %= 4096;
        }
    }
}

/// Of some flags those that an operation has, and what it needs.
fn tame_flags(code: u8, flags: u32) -> u32 {
    let both = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    let write = flag::CACHE_CONTROL;
    let (allowed, needed) = match code {
        opcode::NOP | opcode::BATCH | opcode::DRAIN => (0, 0),
        opcode::FILL => (write | flag::FILL_16, 0),
        opcode::COMPARE | opcode::COMPVAL => (flag::CHECK_RESULT, 0),
        opcode::CR_DELTA | opcode::GATHER_REDUCE => (write | flag::CHECK_RESULT, 0),
        opcode::TRANSL_FETCH | opcode::DIF_CHECK | opcode::CFLUSH => (0, 0),
        opcode::CRCGEN | opcode::COPY_CRC => (flag::CRC_BYPASS_INVERT | flag::CRC_BYPASS_REFLECT | flag::CRC_64, 0),
        opcode::TYPE_CONV => (write | flag::CHECK_RESULT | both, 0),
        opcode::REDUCE | opcode::REDUCE_DUALCAST => (write | flag::CHECK_RESULT | flag::INTER_DOMAIN_SELECTOR, 0),
        opcode::GATHER_COPY | opcode::SCATTER_COPY => (write | both, 0),
        opcode::SCATTER_FILL => (write | flag::ALTERNATE_DESTINATION, 0),
        opcode::UPDATE_WINDOW => (flag::SUPPRESS_DRAIN, 0),
        opcode::INTER_DOMAIN_COPY => (write | both, flag::ALTERNATE_DESTINATION),
        opcode::INTER_DOMAIN_FILL => (write | flag::FILL_16, flag::ALTERNATE_DESTINATION),
        opcode::INTER_DOMAIN_COMPARE => (flag::CHECK_RESULT | both, flag::ALTERNATE_SOURCE),
        opcode::INTER_DOMAIN_COMPVAL => (flag::CHECK_RESULT, flag::ALTERNATE_SOURCE),
        _ => (write, 0),
    };
    let block = if matches!(code, opcode::NOP | opcode::BATCH | opcode::DRAIN | opcode::UPDATE_WINDOW) {
        0
    } else {
        flag::BLOCK_ON_FAULT
    };
    // One in eight is a fence, which is refused outside of a batch, and one in four blocks, which not each queue allows.
    let fence = if flags >> 21 == 0 { flag::FENCE } else { 0 };
    let block = if flags >> 22 == 0 { block } else { 0 };
    flags & allowed | needed | fence | block
}
