//! What lies in memory before an operation: data that makes a difference.

use idxd_sys::{Descriptor, dif, opcode};

use super::build::type_pair;
use super::case::{Call, Dif, DifKind, Likeness, Operation};
use super::world::Extent;
use crate::oracle::{Memory, Nothing, guard};
use crate::random::Random;

/// Writes what the operation of a descriptor works on.
pub(super) fn prepare(
    memory: &mut Memory,
    call: &Call,
    descriptor: &Descriptor,
    extent: Extent,
    random: &mut Random,
) -> Result<(), Nothing> {
    let d = memory.without_handles(descriptor)?;
    let size = u64::from(d.xfer_size);
    match call.operation {
        Operation::Compare { likeness, .. } | Operation::InterDomainCompare { likeness, .. } => {
            liken(memory, d.src_addr, d.dst_addr, size, likeness, random)
        }
        Operation::CreateDelta { likeness, .. } => liken(memory, d.src_addr, d.dst_addr, size, likeness, random),
        Operation::ComparePattern { likeness, pattern, .. }
        | Operation::InterDomainComparePattern { likeness, pattern, .. } => {
            let bytes: Vec<u8> = pattern.to_le_bytes().into_iter().cycle().take(size as usize).collect();
            memory.put(d.src_addr, &bytes)?;
            spoil(memory, d.src_addr, size, likeness, random)
        }
        Operation::ApplyDelta { damage, .. } => {
            let record = delta_record(d.op_u32(40) / 10, d.xfer_size / 8, damage, random);
            memory.put(d.src_addr, &record)
        }
        Operation::Dif(dif) => tuples(memory, &d, dif, random),
        Operation::Convert { compute, .. } => {
            let read = u64::from(type_pair(compute.types).0.size());
            let bytes = elements(read, size, random);
            memory.put(d.src_addr, &bytes)
        }
        Operation::Reduce { compute, related, .. } | Operation::ReduceDualcast { compute, related, .. } => {
            let read = u64::from(type_pair(compute.types).0.size());
            let first = elements(read, size, random);
            let second = if related { relatives(&first, read, random) } else { elements(read, size, random) };
            memory.put(d.src_addr, &first)?;
            memory.put(d.dst_addr, &second)
        }
        Operation::GatherReduce { compute, related, .. } => {
            let read = u64::from(type_pair(compute.types).0.size());
            let places = list(memory, &d, size * read, read, extent, random)?;
            let mut bytes = elements(read, size, random);
            for place in places {
                memory.put(place, &bytes)?;
                bytes = if related { relatives(&bytes, read, random) } else { elements(read, size, random) };
            }
            Ok(())
        }
        Operation::GatherCopy { .. } | Operation::ScatterCopy { .. } | Operation::ScatterFill { .. } => {
            let block = u64::from(d.xfer_size) / u64::from(d.op_u16(44));
            list(memory, &d, block, 1, extent, random).map(drop)
        }
        _ => Ok(()),
    }
}

/// Makes the second region like the first, but for a few bytes.
fn liken(
    memory: &mut Memory,
    first: u64,
    second: u64,
    len: u64,
    likeness: Likeness,
    random: &mut Random,
) -> Result<(), Nothing> {
    let bytes = memory.get(first, len)?;
    memory.put(second, &bytes)?;
    spoil(memory, second, len, likeness, random)
}

/// Changes a few bytes: none, one, some, or many.
fn spoil(memory: &mut Memory, at: u64, len: u64, likeness: Likeness, random: &mut Random) -> Result<(), Nothing> {
    let changes = match likeness.0 % 8 {
        0..=2 => 0,
        3 | 4 => 1,
        5 | 6 => 1 + random.below(12),
        _ => len,
    };
    for _ in 0..changes {
        let place = at + random.below(len);
        let byte = memory.number(place, 1)? as u8 ^ 1 << random.below(8);
        memory.put(place, &[byte])?;
    }
    Ok(())
}

/// A delta record with ascending offsets below `units`, or one that is damaged.
fn delta_record(entries: u32, units: u32, damage: u8, random: &mut Random) -> Vec<u8> {
    let mut offsets: Vec<u32> = (0..entries).map(|_| random.below(units.into()) as u32).collect();
    if damage >= 64 {
        // As many different ones as there are, and then whatever is needed to fill the record, beyond the region.
        offsets.sort_unstable();
        offsets.dedup();
        let missing = entries - offsets.len() as u32;
        let all_there = units >= 2 * entries;
        if all_there {
            offsets =
                (0..entries).map(|at| at * (units / entries) + random.below((units / entries).into()) as u32).collect();
        } else {
            offsets.extend(units..units + missing);
        }
    }
    if damage.is_multiple_of(8) {
        let at = random.below(entries.into()) as usize;
        offsets[at] = random.next() as u32 & 0xffff;
    }
    let mut record = Vec::new();
    for offset in offsets {
        record.extend((offset as u16).to_le_bytes());
        record.extend(random.next().to_le_bytes());
    }
    record
}

/// Stores tuples that are right, or wrong here and there.
fn tuples(memory: &mut Memory, d: &Descriptor, dif: Dif, random: &mut Random) -> Result<(), Nothing> {
    if matches!(dif.kind, DifKind::Insert | DifKind::Generate) {
        return Ok(());
    }
    let block = u64::from(dif::block_size(d.op_u8(42)));
    let [(mut reference, mask, mut application), _] = dif.tags;
    let blocks = u64::from(d.xfer_size) / (block + 8);
    let wrong = random.below(blocks);
    for index in 0..blocks {
        let at = d.src_addr + index * (block + 8);
        let guard = guard(&memory.get(at, block)?, dif.inverted[0], dif.inverted[1]);
        let mut tuple = guard.to_be_bytes().to_vec();
        tuple.extend((application & !mask).to_be_bytes());
        tuple.extend(reference.to_be_bytes());
        if d.op_u8(40) & dif::SOURCE_REF_FIXED == 0 {
            reference = reference.wrapping_add(1);
        }
        if d.op_u8(40) & dif::SOURCE_APP_INCREMENTS != 0 {
            application = application.wrapping_add(1);
        }
        if index == wrong {
            match dif.damage % 16 {
                0 => tuple[random.below(8) as usize] ^= 1 << random.below(8),
                1 => tuple = vec![0xff; 8],
                2 => tuple[2..4].fill(0xff),
                3 => tuple[2..].fill(0xff),
                4 => tuple[2..4].copy_from_slice(&(application | mask).to_be_bytes()),
                5 => memory.put(at + random.below(block), &[random.next() as u8])?,
                _ => {}
            }
        }
        memory.put(at + block, &tuple)?;
    }
    Ok(())
}

/// Elements of a size, many of them at an edge of some type.
fn elements(size: u64, count: u64, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        bytes.extend(&element(size, random).to_le_bytes()[..size as usize]);
    }
    bytes
}

fn element(size: u64, random: &mut Random) -> u64 {
    let bits = 8 * size;
    let noise = random.next();
    let edge = match random.below(8) {
        // Runs of ones and zeros: highest and lowest exponents, with full and empty fractions.
        0 => u64::MAX << random.below(64),
        1 => u64::MAX >> random.below(64),
        2 => (u64::MAX >> (65 - bits)) << random.below(bits) >> random.below(2),
        3 => 1 << random.below(bits),
        // Few bits, or all but a few.
        4 => noise & random.next() & random.next(),
        5 => noise | random.next() | random.next(),
        6 => random.below(9),
        _ => noise,
    };
    let edge = if random.below(4) == 0 { edge.wrapping_add(random.below(5)).wrapping_sub(2) } else { edge };
    if random.below(2) == 0 { edge } else { edge ^ 1 << (bits - 1) }
}

/// Elements that nearly cancel those that are given, or are much smaller, or greater by a little.
fn relatives(bytes: &[u8], size: u64, random: &mut Random) -> Vec<u8> {
    let mut relatives = Vec::new();
    for element in bytes.chunks_exact(size as usize) {
        let element = element.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let bits = 8 * size;
        let relative = match random.below(4) {
            0 => element ^ 1 << (bits - 1),
            1 => element ^ 1 << (bits - 1) ^ random.below(4),
            2 => element ^ random.next() >> random.below(64),
            _ => element.wrapping_sub(random.next() >> random.below(64)),
        };
        relatives.extend(&relative.to_le_bytes()[..size as usize]);
    }
    relatives
}

/// Writes a list of places for blocks, and returns them. Places that are written are all different.
fn list(
    memory: &mut Memory,
    d: &Descriptor,
    block: u64,
    align: u64,
    extent: Extent,
    random: &mut Random,
) -> Result<Vec<u64>, Nothing> {
    let format = d.op_u8(59) >> 4;
    let base = d.op_specific[1];
    let (entries, at) = match d.opcode() {
        opcode::SCATTER_COPY | opcode::SCATTER_FILL => (u64::from(d.op_u16(44)), d.dst_addr),
        _ => (u64::from(d.op_u16(44)), d.src_addr),
    };
    let scatters = matches!(d.opcode(), opcode::SCATTER_COPY | opcode::SCATTER_FILL);
    // The room that the base address lies in, and how many blocks fit behind it.
    let rooms = extent.thirds(0).into_iter().chain([extent.other()]);
    let room = rooms.into_iter().rev().find(|room| room.base <= base).ok_or(Nothing::Outside)?;
    let fit = ((room.base + room.len).saturating_sub(base) / block).max(1);
    let mut indices: Vec<u64> = (0..fit).collect();
    let mut places = Vec::new();
    let mut bytes = Vec::new();
    for entry in 0..entries {
        let index = if scatters {
            // Without repetition, as long as there are any left.
            let left = fit.saturating_sub(entry).max(1);
            indices
                .swap_remove(random.below(left.min(indices.len() as u64).max(1)).min(indices.len() as u64 - 1) as usize)
        } else {
            random.below(fit)
        };
        if indices.is_empty() {
            indices.push(0);
        }
        let offset = match format {
            // Anywhere, also before the base address.
            1 if !scatters => {
                let first = room.base.next_multiple_of(align);
                let most = (room.base + room.len).checked_sub(first + block).ok_or(Nothing::Outside)? / align;
                (first + random.below(most + 1) * align).wrapping_sub(base)
            }
            _ => index * block,
        };
        places.push(base.wrapping_add(offset));
        match format {
            1 => bytes.extend(offset.to_le_bytes()),
            2 => bytes.extend((index as u32).to_le_bytes()),
            _ => bytes.extend(index.to_le_bytes()),
        }
    }
    memory.put(at, &bytes)?;
    Ok(places)
}
