//! Scatter-gather lists (specification sections 8.1.14 and 8.3.23 to 8.3.25).

use idxd_sys::{Descriptor, opcode};

use super::transfer::repeated;
use super::{Answer, Memory, Nothing, Run, defined, meet};

/// Bytes of an element of a type (table 8-5).
pub(super) fn element_size(code: u8) -> u64 {
    [1, 2, 4, 8, 1, 1, 2, 2, 4, 8][usize::from(code)]
}

/// A list, and the blocks that it names.
pub(super) struct List {
    run: Run,
    pub(super) blocks: Vec<Run>,
}

/// Reads a list of blocks of `block` bytes.
pub(super) fn read(memory: &Memory, d: &Descriptor, address: u64, block: u64) -> Result<List, Nothing> {
    let format = d.op_u8(59) >> 4;
    let size = if format == 2 { 4 } else { 8 };
    let entries = u64::from(d.op_u16(44));
    let mut blocks = Vec::new();
    for index in 0..entries {
        let entry = memory.number(address + index * size, size)?;
        let offset = if format == 1 { entry } else { entry.wrapping_mul(block) };
        let place = d.op_specific[1].wrapping_add(offset);
        memory.get(place, block)?;
        blocks.push((place, block));
    }
    Ok(List { run: (address, entries * size), blocks })
}

impl List {
    /// Whether a block meets a run.
    pub(super) fn meets(&self, run: Run) -> bool {
        self.blocks.iter().any(|block| meet(*block, run))
    }

    /// Whether blocks that are written meet each other, or the list.
    fn is_tangled(&self) -> bool {
        let others = |at: usize| self.blocks[at + 1..].iter();
        self.meets(self.run) || (0..self.blocks.len()).any(|at| others(at).any(|other| meet(self.blocks[at], *other)))
    }
}

fn block_size(d: &Descriptor) -> u64 {
    u64::from(d.op_u32(40)) * element_size(d.op_u8(56) & 0xf)
}

pub(super) fn gather_copy(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    debug_assert_eq!(d.opcode(), opcode::GATHER_COPY);
    let list = read(memory, d, d.src_addr, block_size(d))?;
    let destination = (d.dst_addr, d.xfer_size.into());
    // A destination behind a handle is not checked against the list.
    defined(list.meets(destination) || meet(list.run, destination))?;
    let mut at = d.dst_addr;
    for (place, size) in list.blocks {
        let bytes = memory.get(place, size)?;
        memory.put(at, &bytes)?;
        at += size;
    }
    Ok(Answer::DONE)
}

pub(super) fn scatter_copy(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let list = read(memory, d, d.dst_addr, block_size(d))?;
    defined(list.is_tangled() || list.meets((d.src_addr, d.xfer_size.into())))?;
    let mut at = d.src_addr;
    for (place, size) in list.blocks {
        let bytes = memory.get(at, size)?;
        memory.put(place, &bytes)?;
        at += size;
    }
    Ok(Answer::DONE)
}

pub(super) fn scatter_fill(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let list = read(memory, d, d.dst_addr, block_size(d))?;
    defined(list.is_tangled())?;
    for (place, size) in list.blocks {
        // Each block begins with the first byte of the pattern.
        memory.put(place, &repeated(&d.src_addr.to_le_bytes(), size))?;
    }
    Ok(Answer::DONE)
}
