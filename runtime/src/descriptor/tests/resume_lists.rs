//! Resume plans of gather copy, scatter copy and scatter fill, against a plain model that stops at every byte.

use idxd_sys::{CompletionRecord, Descriptor};

use super::super::*;
use super::everything;
use super::machine::{BASE, Memory, RECORD, all_stops, fault, run};

const LIST: u64 = BASE + 0x10;
const REGION: u64 = BASE + 0x101;
const BLOCKS: u64 = BASE + 0x200;

/// The model of a device that counts a block which is done in part among the bytes, or does not.
fn execute(memory: &mut Memory, d: &Descriptor, stop: Option<u64>, counts_parts: bool) -> CompletionRecord {
    let element = [1, 2, 4, 8][usize::from(d.op_u8(56))];
    let block = u64::from(d.op_u32(40)) * element;
    let entries = u64::from(d.op_u16(44));
    let format = d.op_u8(59) >> 4;
    let (list, region) = if d.opcode() == 0x1c { (d.src_addr, d.dst_addr) } else { (d.dst_addr, d.src_addr) };
    let size = entries * block;
    assert_eq!(size, u64::from(d.xfer_size));
    for at in 0..=size {
        if stop.is_some_and(|stop| stop == at || at == size) {
            let whole = at / block;
            let completed = if counts_parts { at } else { whole * block };
            return CompletionRecord { op_specific: [whole << 32, 0], ..fault(completed) };
        }
        if at == size {
            break;
        }
        let (entry, offset) = (at / block, at % block);
        let start = match format {
            1 => memory.number(list + 8 * entry, 8),
            2 => memory.number(list + 4 * entry, 4) * block,
            _ => memory.number(list + 8 * entry, 8) * block,
        };
        let place = d.op_specific[1] + start + offset;
        match d.opcode() {
            0x1c => {
                let byte = memory.get(place, 1).to_vec();
                memory.put(region + at, &byte);
            }
            0x1d => {
                let byte = memory.get(region + at, 1).to_vec();
                memory.put(place, &byte);
            }
            _ => memory.put(place, &[d.src_addr.to_le_bytes()[(offset % 8) as usize]]),
        }
    }
    CompletionRecord { status: 1, ..Default::default() }
}

/// The three operations on blocks of `count` elements, each with its memory.
fn operations(format: SglFormat, data_type: DataType, count: u64) -> Vec<(Descriptor, Memory)> {
    let caps = everything();
    let block = u64::from(data_type.size()) * count;
    // Blocks in no order, with gaps.
    let places = [3, 0, 6, 4];
    let mut memory = Memory::new(0x400);
    for (at, place) in (0..).zip(places) {
        match format {
            SglFormat::Offset64 => memory.put(LIST + 8 * at, &(place * block + at).to_le_bytes()),
            SglFormat::Index32 => memory.put(LIST + 4 * at, &(place as u32).to_le_bytes()),
            SglFormat::Index64 => memory.put(LIST + 8 * at, &place.to_le_bytes()),
        }
    }
    let list = Sgl::new(LIST, places.len() as u32, format).base(BLOCKS);
    [
        GatherCopy::new(list, REGION, data_type, count).record(RECORD).build(&caps),
        ScatterCopy::new(REGION, list, data_type, count).record(RECORD).build(&caps),
        ScatterFill::new(list, 0x0807_0605_0403_0201, data_type, count).record(RECORD).build(&caps),
    ]
    .into_iter()
    .map(|built| (built.unwrap(), memory.clone()))
    .collect()
}

#[test]
fn blocks_that_are_not_completed_are_done_as_a_whole() {
    for &format in SglFormat::ALL {
        for (data_type, count) in [(DataType::Int8, 5), (DataType::Int16, 3), (DataType::Int64, 1)] {
            for (sent, start) in operations(format, data_type, count) {
                for counts_parts in [false, true] {
                    let model = |memory: &mut Memory, d: &Descriptor, stop| execute(memory, d, stop, counts_parts);
                    let mut whole = start.clone();
                    run(&mut whole, sent, &[], model);
                    for stops in all_stops(u64::from(sent.xfer_size)) {
                        let mut memory = start.clone();
                        run(&mut memory, sent, &stops, model);
                        assert!(memory == whole, "{format:?} {stops:?} {counts_parts} {sent:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_advances() {
    let caps = everything();
    let handle = IdptHandle::new(5);
    // Four of nine entries of 24 bytes, and some of the fifth.
    let record = CompletionRecord { op_specific: [4 << 32 | 5, 0], ..fault(4 * 24 + 7) };
    let plan = |sent: &Descriptor| match Resume::plan(sent, &record, &caps) {
        Resume::Continue(rest) => {
            assert_eq!(rest.advanced, 4 * 24);
            rest.descriptor
        }
        other => panic!("{other:?}"),
    };
    let list = |address, entries| Sgl::new(address, entries, SglFormat::Index32).base(0x10_0000);
    let gather = |list, target| {
        GatherCopy::new(list, target, DataType::Fp64, 3).record(RECORD).source_handle(handle).build(&caps).unwrap()
    };
    assert_eq!(plan(&gather(list(0x1000, 9), 0x2000)), gather(list(0x1010, 5), 0x2060));
    let scatter = |source, list| {
        ScatterCopy::new(source, list, DataType::Fp64, 3)
            .record(RECORD)
            .destination_handle(handle)
            .build(&caps)
            .unwrap()
    };
    assert_eq!(plan(&scatter(0x2000, list(0x1000, 9))), scatter(0x2060, list(0x1010, 5)));
    let fill = |list| ScatterFill::new(list, 0x0102, DataType::Fp64, 3).record(RECORD).build(&caps).unwrap();
    assert_eq!(plan(&fill(list(0x1000, 9))), fill(list(0x1010, 5)));
    let wide = |address, entries| Sgl::new(address, entries, SglFormat::Offset64);
    assert_eq!(plan(&fill(wide(0x1000, 9))), fill(wide(0x1020, 5)));
}

#[test]
fn entries_and_bytes_must_fit_together() {
    let caps = everything();
    let list = Sgl::new(0x1000, 9, SglFormat::Offset64);
    for built in [
        GatherCopy::new(list, 0x2000, DataType::Int8, 24).build(&caps),
        ScatterCopy::new(0x2000, list, DataType::Int8, 24).build(&caps),
        ScatterFill::new(list, 0x2000, DataType::Int8, 24).build(&caps),
    ] {
        let sent = built.unwrap();
        for entries in 0..12_u16 {
            for completed in 0..=9 * 24 + 24 {
                let record = CompletionRecord { op_specific: [u64::from(entries) << 32, 0], ..fault(completed) };
                let plan = Resume::plan(&sent, &record, &caps);
                let completed = completed as u32;
                let expected = if completed > 9 * 24 {
                    Err(ProtocolError::TooMuch { completed, size: 9 * 24 })
                } else if entries > 9 {
                    Err(ProtocolError::TooMuch { completed: entries.into(), size: 9 })
                } else if completed / 24 == u32::from(entries) {
                    Ok(entries == 9)
                } else {
                    Err(ProtocolError::ListMismatch { entries, completed })
                };
                match expected {
                    Err(error) => assert_eq!(plan, Resume::Protocol(error)),
                    Ok(true) => assert!(matches!(plan, Resume::Complete(_))),
                    Ok(false) => {
                        let Resume::Continue(rest) = plan else { panic!("{plan:?}") };
                        assert_eq!(rest.advanced, u32::from(entries) * 24);
                    }
                }
            }
        }
    }
}
