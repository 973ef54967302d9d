//! What each operation means, in the plainest Rust: loops over one array of bytes, no table, no shared code.
//!
//! [`execute`] takes a descriptor, does to a [`Memory`] what the specification's text says, and tells what the completion
//! record must hold. It reads the text anew: neither the model nor the CPU engine is behind it. It is slow, and it only
//! knows descriptors that have passed the checks.
//!
//! Where the text says that data or behaviour is undefined, so does the answer ([`Nothing::Undefined`]).

mod crc;
mod delta;
mod dif;
mod float;
mod list;
mod transfer;
mod typed;
mod wide;

use idxd_sys::{Descriptor, flag, opcode, status};

pub use crc::{CrcMode, crc, guard};

/// Memory from some address on, and what the handles of inter-domain operations add to addresses.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Address of the first byte.
    pub base: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// By handle: what an address that is reached through it is an offset from; 0 for addresses.
    pub windows: Vec<u64>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// The operation leaves the memory.
    Outside,
    /// The specification does not define what happens.
    Undefined,
}

/// What a completion record must hold. Fields without a meaning are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u8,
    /// The result byte.
    pub result: u8,
    /// Bytes completed, or the place of a difference.
    pub completed: u32,
    /// Bytes 16 to 31.
    pub words: [u64; 2],
}

impl Answer {
    /// Success, and nothing to tell.
    pub const DONE: Self = Self { status: status::SUCCESS, result: 0, completed: 0, words: [0; 2] };
}

/// A run of bytes: address and length.
pub type Run = (u64, u64);

impl Memory {
    fn range(&self, (address, len): Run) -> Result<std::ops::Range<usize>, Nothing> {
        let start = address.checked_sub(self.base).ok_or(Nothing::Outside)?;
        let end = start.checked_add(len).ok_or(Nothing::Outside)?;
        if end > self.bytes.len() as u64 {
            return Err(Nothing::Outside);
        }
        Ok(start as usize..end as usize)
    }

    /// A copy of some bytes.
    pub fn get(&self, address: u64, len: u64) -> Result<Vec<u8>, Nothing> {
        Ok(self.bytes[self.range((address, len))?].to_vec())
    }

    /// Replaces some bytes.
    pub fn put(&mut self, address: u64, bytes: &[u8]) -> Result<(), Nothing> {
        let range = self.range((address, bytes.len() as u64))?;
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    /// An unsigned number of some bytes, the least significant first.
    pub fn number(&self, address: u64, size: u64) -> Result<u64, Nothing> {
        Ok(self.get(address, size)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// An address that is reached through a handle, if `used`.
    fn through(&self, address: u64, used: bool, handle: u16) -> Result<u64, Nothing> {
        if !used {
            return Ok(address);
        }
        let base = self.windows.get(usize::from(handle)).ok_or(Nothing::Outside)?;
        Ok(address.wrapping_add(*base))
    }

    /// The descriptor with the addresses of its operands as they are without handles, and without handles. The base address
    /// of a list counts as an operand, since all its blocks are reached through the same handle.
    pub fn without_handles(&self, d: &Descriptor) -> Result<Descriptor, Nothing> {
        let mut plain = *d;
        let set = |bit: u32| d.flags() & bit != 0;
        let (source, destination) = (set(flag::ALTERNATE_SOURCE), set(flag::ALTERNATE_DESTINATION));
        let (first, second) = (d.op_u16(60), d.op_u16(62));
        let [word40, word48, _] = d.op_specific;
        match d.opcode() {
            opcode::TYPE_CONV | opcode::INTER_DOMAIN_COPY | opcode::INTER_DOMAIN_COMPARE => {
                plain.src_addr = self.through(d.src_addr, source, first)?;
                plain.dst_addr = self.through(d.dst_addr, destination, second)?;
            }
            opcode::INTER_DOMAIN_FILL => plain.dst_addr = self.through(d.dst_addr, destination, second)?,
            opcode::INTER_DOMAIN_COMPVAL => plain.src_addr = self.through(d.src_addr, source, first)?,
            opcode::GATHER_COPY => {
                plain.op_specific[1] = self.through(word48, source, first)?;
                plain.dst_addr = self.through(d.dst_addr, destination, second)?;
            }
            opcode::SCATTER_COPY => {
                plain.src_addr = self.through(d.src_addr, source, first)?;
                plain.op_specific[1] = self.through(word48, destination, second)?;
            }
            opcode::SCATTER_FILL => plain.op_specific[1] = self.through(word48, destination, second)?,
            opcode::REDUCE | opcode::REDUCE_DUALCAST if set(flag::INTER_DOMAIN_SELECTOR) => {
                let selected = |address: u64, operand: u32| match d.op_u8(59) >> (2 * operand) & 3 {
                    0 => Ok(address),
                    1 => self.through(address, true, first),
                    _ => self.through(address, true, second),
                };
                plain.src_addr = selected(d.src_addr, 0)?;
                plain.dst_addr = selected(d.dst_addr, 1)?;
                plain.op_specific[0] = selected(word40, 2)?;
                plain.op_specific[1] = selected(word48, 3)?;
                plain.set_op_u8(59, 0);
            }
            _ => return Ok(plain),
        }
        plain.set_op_u32(60, 0);
        let handles = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
        let own = if d.opcode() == opcode::REDUCE_DUALCAST { flag::INTER_DOMAIN_SELECTOR } else { handles };
        plain.set_opcode_flags(d.opcode(), d.flags() & !own);
        Ok(plain)
    }
}

/// Whether two runs share a byte.
fn meet(a: Run, b: Run) -> bool {
    a.0 < b.0.saturating_add(b.1) && b.0 < a.0.saturating_add(a.1)
}

/// Undefined, if any of these is the case.
fn defined(undefined: bool) -> Result<(), Nothing> {
    if undefined { Err(Nothing::Undefined) } else { Ok(()) }
}

/// Where the scatter-gather list of a descriptor lies, if it has one.
pub fn list_of(d: &Descriptor) -> Option<Run> {
    let address = match d.opcode() {
        opcode::GATHER_REDUCE | opcode::GATHER_COPY => d.src_addr,
        opcode::SCATTER_COPY | opcode::SCATTER_FILL => d.dst_addr,
        _ => return None,
    };
    Some((address, u64::from(d.op_u16(44)) * if d.op_u8(59) >> 4 == 2 { 4 } else { 8 }))
}

/// Does what a descriptor says.
pub fn execute(memory: &mut Memory, descriptor: &Descriptor) -> Result<Answer, Nothing> {
    let d = &memory.without_handles(descriptor)?;
    // Overlaps are refused, but not if an operand is reached through a handle; then nothing is defined.
    let handles = d != descriptor;
    match d.opcode() {
        opcode::NOP | opcode::DRAIN | opcode::UPDATE_WINDOW => Ok(Answer::DONE),
        opcode::MEMMOVE | opcode::INTER_DOMAIN_COPY => transfer::copy(memory, d),
        opcode::FILL | opcode::INTER_DOMAIN_FILL => transfer::fill(memory, d),
        opcode::COMPARE | opcode::INTER_DOMAIN_COMPARE => transfer::compare(memory, d),
        opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL => transfer::compare_pattern(memory, d),
        opcode::DUALCAST => transfer::dualcast(memory, d),
        opcode::TRANSL_FETCH => memory.get(d.src_addr, d.xfer_size.into()).map(|_| Answer::DONE),
        opcode::CFLUSH => memory.get(d.dst_addr, d.xfer_size.into()).map(|_| Answer::DONE),
        opcode::CRCGEN | opcode::COPY_CRC => crc::execute(memory, d),
        opcode::CR_DELTA => delta::create(memory, d),
        opcode::AP_DELTA => delta::apply(memory, d),
        opcode::DIF_CHECK | opcode::DIF_INS | opcode::DIF_STRP | opcode::DIF_UPDT | opcode::DIX_GEN => {
            dif::execute(memory, d)
        }
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => typed::elementwise(memory, d, handles),
        opcode::GATHER_REDUCE => typed::gather_reduce(memory, d),
        opcode::GATHER_COPY => list::gather_copy(memory, d),
        opcode::SCATTER_COPY => list::scatter_copy(memory, d),
        opcode::SCATTER_FILL => list::scatter_fill(memory, d),
        _ => Err(Nothing::Undefined),
    }
}
