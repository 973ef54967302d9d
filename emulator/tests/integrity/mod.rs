//! Data-integrity operations as the specification describes them, slowly and in plain Rust.
// Each test binary uses another part of this.
#![allow(dead_code, unreachable_pub)]

use idxd_sys::{CompletionRecord, Descriptor, dif, opcode};

use crate::common::dif as operation;

/// Block sizes by their code.
pub const BLOCKS: [usize; 4] = [512, 520, 4096, 4104];
/// All five operations.
pub const ALL: [u8; 5] = [opcode::DIF_CHECK, opcode::DIF_INS, opcode::DIF_STRP, opcode::DIF_UPDT, opcode::DIX_GEN];

/// CRC-16 with the polynomial 0x18bb7, one bit after the other.
pub fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    let mut state = seed;
    for byte in bytes {
        for bit in (0..8).rev() {
            let top = state >> 15 ^ u16::from(byte >> bit & 1);
            state = state << 1 ^ if top == 1 { 0x8bb7 } else { 0 };
        }
    }
    state
}

/// Seeds, mask and flags of one side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side {
    pub reference: u32,
    pub mask: u16,
    pub application: u16,
    pub flags: u8,
}

impl Side {
    pub const fn new(reference: u32, mask: u16, application: u16, flags: u8) -> Self {
        Self { reference, mask, application, flags }
    }

    /// The reference tag of block `n`. Both sides have this flag at the same place, and the next one too.
    pub fn reference_of(&self, n: usize) -> u32 {
        let fixed = self.flags & dif::SOURCE_REF_FIXED != 0;
        if fixed { self.reference } else { self.reference.wrapping_add(n as u32) }
    }

    /// The application tag of block `n` before the mask.
    pub fn application_of(&self, n: usize) -> u16 {
        let increments = self.flags & dif::SOURCE_APP_INCREMENTS != 0;
        if increments { self.application.wrapping_add(n as u16) } else { self.application }
    }

    /// Half a completion record after `n` blocks.
    pub fn tags_after(&self, n: usize) -> u64 {
        let (reference, application) = (u64::from(self.reference_of(n)), u64::from(self.application_of(n)));
        reference | u64::from(self.mask) << 32 | application << 48
    }
}

/// The guard of a block under the DIF flags.
pub fn guard(block: &[u8], dif_flags: u8) -> u16 {
    let sum = crc16(if dif_flags & dif::INVERT_SEED != 0 { 0xffff } else { 0 }, block);
    if dif_flags & dif::INVERT_RESULT != 0 { !sum } else { sum }
}

/// The tuple of block `n`.
pub fn tuple(block: &[u8], dif_flags: u8, side: &Side, n: usize) -> [u8; 8] {
    let mut tuple = [0; 8];
    tuple[..2].copy_from_slice(&guard(block, dif_flags).to_be_bytes());
    tuple[2..4].copy_from_slice(&(side.application_of(n) & !side.mask).to_be_bytes());
    tuple[4..].copy_from_slice(&side.reference_of(n).to_be_bytes());
    tuple
}

/// Data with a tuple behind each block.
pub fn protect(data: &[u8], dif_flags: u8, side: &Side) -> Vec<u8> {
    let blocks = data.chunks(BLOCKS[usize::from(dif_flags & 3)]).enumerate();
    blocks.flat_map(|(n, block)| [block, &tuple(block, dif_flags, side, n)].concat()).collect()
}

/// Only the tuples.
pub fn tuples(data: &[u8], dif_flags: u8, side: &Side) -> Vec<u8> {
    let blocks = data.chunks(BLOCKS[usize::from(dif_flags & 3)]).enumerate();
    blocks.flat_map(|(n, block)| tuple(block, dif_flags, side, n)).collect()
}

pub fn checks(code: u8) -> bool {
    matches!(code, opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT)
}

pub fn makes(code: u8) -> bool {
    matches!(code, opcode::DIF_INS | opcode::DIF_UPDT | opcode::DIX_GEN)
}

/// Bytes that an operation reads and writes for each block.
pub fn strides(code: u8, block: usize) -> (usize, usize) {
    match code {
        opcode::DIF_CHECK => (block + 8, 0),
        opcode::DIF_INS => (block, block + 8),
        opcode::DIF_STRP => (block + 8, block),
        opcode::DIF_UPDT => (block + 8, block + 8),
        _ => (block, 8),
    }
}

/// A descriptor for `blocks` blocks with the fields of the sides that the operation has.
pub fn descriptor(code: u8, src: u64, dst: u64, blocks: usize, dif_flags: u8, sides: [&Side; 2]) -> Descriptor {
    let len = blocks * strides(code, BLOCKS[usize::from(dif_flags & 3)]).0;
    let mut d = operation(code, src, dst, len as u32, dif_flags);
    for (side, flags, seeds, there) in [(sides[0], 40, 48, checks(code)), (sides[1], 41, 56, makes(code))] {
        if there {
            d.set_op_u8(flags, side.flags);
            d.set_op_u32(seeds, side.reference);
            d.set_op_u16(seeds + 4, side.mask);
            d.set_op_u16(seeds + 6, side.application);
        }
    }
    d
}

/// Bytes 16 to 31 of a record after `n` blocks.
pub fn tags_after(code: u8, sides: [&Side; 2], n: usize) -> [u64; 2] {
    let [source, destination] = sides.map(|side| side.tags_after(n));
    [if checks(code) { source } else { 0 }, if makes(code) { destination } else { 0 }]
}

/// What is left of an operation after a partial completion, made from its record as the specification says.
pub fn resumed(d: &Descriptor, record: &CompletionRecord) -> Descriptor {
    let (from, to) = strides(d.opcode(), BLOCKS[usize::from(d.op_u8(42) & 3)]);
    let done = record.bytes_completed;
    assert!((done as usize).is_multiple_of(from), "whole blocks: {record:?}");
    let mut rest = *d;
    rest.src_addr += u64::from(done);
    rest.xfer_size -= done;
    if to != 0 {
        rest.dst_addr += (done as usize / from * to) as u64;
    }
    if checks(d.opcode()) {
        rest.op_specific[1] = record.op_specific[0];
    }
    if makes(d.opcode()) {
        rest.op_specific[2] = record.op_specific[1];
    }
    rest
}

/// What the destination of a complete operation on `source` holds.
pub fn outcome(code: u8, data: &[u8], dif_flags: u8, destination: &Side) -> Vec<u8> {
    match code {
        opcode::DIF_CHECK => Vec::new(),
        opcode::DIF_STRP => data.to_vec(),
        opcode::DIX_GEN => tuples(data, dif_flags, destination),
        _ => protect(data, dif_flags, destination),
    }
}
