//! Scatter-gather lists: three formats, copies both ways, fills, gather-reduce; faults, lists included, and resumption.

mod common;
mod descriptors;

use common::*;
use descriptors::*;
use dsa_emulator::{Config, Effect, FaultRule, Permission, WqConfig};
use idxd_sys::compute::compute_type::{ADD, MAX, XOR};
use idxd_sys::compute::sgl_format::{INDEX_32, INDEX_64, OFFSET_64};
use idxd_sys::compute::{compute_flag as cf, data_type as ty, exception, sgl_format};
use idxd_sys::{CompletionRecord, Descriptor, flag, status};
use proptest::prelude::*;

const P: u32 = PAGE as u32;
const WRITE_FAULT: u8 = status::PAGE_FAULT | status::FAULT_WRITE;

/// Writes a list at `LIST`.
fn list(rig: &Rig, format: u8, base: u64, entries: &[u64]) -> Sgl {
    put_list(rig, LIST, format, base, entries)
}

fn put_list(rig: &Rig, at: u64, format: u8, base: u64, entries: &[u64]) -> Sgl {
    let size = sgl_format::entry_size(format).unwrap() as usize;
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()[..size].to_vec()).collect();
    rig.put(at, &bytes);
    Sgl { at, entries: entries.len() as u16, format, base }
}

#[test]
fn entries_are_offsets_or_count_blocks_from_the_base() {
    let rig = rig3();
    rig.put(SRC, &noise(1000, 1));
    for (format, entries) in
        [(OFFSET_64, [0u64, 120, 24, 999 - 24]), (INDEX_32, [0, 10, 2, 40]), (INDEX_64, [0, 10, 2, 40])]
    {
        let list = list(&rig, format, SRC, &entries);
        let unit = if format == OFFSET_64 { 1 } else { 12 };
        let expected: Vec<u8> = entries.iter().flat_map(|entry| rig.bytes(SRC + entry * unit, 12)).collect();
        let record = rig.run(&gather(list, DST, 3, ty::FP32));
        assert_eq!(record, CompletionRecord { status: status::SUCCESS, ..CompletionRecord::default() });
        assert_eq!(rig.bytes(DST, 49), [&expected[..], &[0]].concat(), "format {format}");
        // And back to other places.
        rig.put(DST2, &[0; 1000]);
        assert_eq!(rig.status(&scatter(DST, Sgl { base: DST2, ..list }, 3, ty::FP32)), status::SUCCESS);
        for (i, entry) in entries.iter().enumerate() {
            assert_eq!(rig.bytes(DST2 + entry * unit, 12), expected[12 * i..][..12]);
        }
        let written = rig.bytes(DST2, 1000).iter().filter(|byte| **byte != 0).count();
        assert_eq!(written, expected.iter().filter(|byte| **byte != 0).count(), "nothing else");
    }
}

#[test]
fn addresses_of_buffers_are_taken_modulo_2_to_the_64() {
    let rig = rig3();
    rig.put(SRC, &noise(64, 2));
    for (format, base, entry) in [
        (OFFSET_64, u64::MAX, SRC + 1),
        (OFFSET_64, SRC + 8, u64::MAX - 7),
        (INDEX_64, SRC + 8, u64::MAX),
        (INDEX_64, SRC, 1 << 61),
    ] {
        let list = list(&rig, format, base, &[entry]);
        assert_eq!(rig.status(&gather(list, DST, 8, ty::INT8)), status::SUCCESS, "{base:#x} {entry:#x}");
        assert_eq!(rig.bytes(DST, 8), rig.bytes(SRC, 8));
    }
    // A 32-bit entry is not extended by its sign.
    let list = list(&rig, INDEX_32, SRC, &[u64::from(u32::MAX)]);
    let record = rig.run(&gather(list, DST, 8, ty::INT8));
    assert_eq!((record.status, record.fault_addr), (status::PAGE_FAULT, SRC + 8 * u64::from(u32::MAX)));
}

#[test]
fn fills_begin_the_pattern_anew_in_each_buffer() {
    let rig = rig3();
    let list = list(&rig, OFFSET_64, DST, &[3, 100, 50]);
    let pattern = 0x0807_0605_0403_0201;
    assert_eq!(rig.status(&scatter_fill(pattern, list, 11, ty::INT8)), status::SUCCESS);
    let mut expected = [0; 120];
    for at in [3, 100, 50] {
        (0..11).for_each(|i| expected[at + i] = i as u8 % 8 + 1);
    }
    assert_eq!(rig.bytes(DST, 120), expected);
}

#[test]
fn buffers_may_be_the_same_and_lists_need_no_alignment() {
    let rig = rig3();
    rig.put(SRC, &noise(16, 3));
    let list = put_list(&rig, LIST + 3, INDEX_32, SRC, &[0, 0, 1, 0]);
    assert_eq!(rig.status(&gather(list, DST + 1, 8, ty::INT8)), status::SUCCESS);
    let [first, second] = [0, 8].map(|at| rig.bytes(SRC + at, 8));
    assert_eq!(rig.bytes(DST + 1, 32), [&first[..], &first, &second, &first].concat());
}

#[test]
fn a_fault_tells_entries_and_bytes_completed_with_or_without_a_part_of_an_entry() {
    for partial in [true, false] {
        let mut config = full();
        config.choices.partial_list_entries = partial;
        let rig = rig_of(config);
        let block = 1024;
        rig.put(SRC, &noise(4096, 4));
        // The third buffer runs into an absent page after 24 bytes.
        let entries = [0, 2048, PAGE - 24, 3000];
        rig.absent(SRC + PAGE);
        let list = list(&rig, OFFSET_64, SRC, &entries);
        let part = if partial { 24 } else { 0 };
        let record = rig.run(&gather(list, DST, block, ty::INT8));
        assert_eq!((record.status, record.bytes_completed), (status::PAGE_FAULT, 2 * block + part));
        assert_eq!((entries_of(&record), record.fault_addr, record.fault_info), (2, SRC + PAGE, 1 << 1));
        // The same places as destinations.
        let record = rig.run(&scatter(DST, list, block, ty::INT8));
        assert_eq!((record.status, record.bytes_completed), (WRITE_FAULT, 2 * block + part));
        assert_eq!((entries_of(&record), record.fault_addr, record.fault_info), (2, SRC + PAGE, 3 << 1));
        let record = rig.run(&scatter_fill(7, list, block, ty::INT8));
        assert_eq!((record.status, record.bytes_completed), (WRITE_FAULT, 2 * block + part));
        assert_eq!((entries_of(&record), record.fault_info), (2, 3 << 1));
        // The other side.
        rig.memory.set_present(SRC + PAGE, PAGE, true).unwrap();
        rig.absent(DST + PAGE);
        let record = rig.run(&gather(list, DST + PAGE - 3000, block, ty::INT8));
        let part = if partial { 3000 - 2 * block } else { 0 };
        assert_eq!((record.status, record.bytes_completed), (WRITE_FAULT, 2 * block + part));
        assert_eq!((entries_of(&record), record.fault_info), (2, 3 << 1));
        let record = rig.run(&scatter(DST + PAGE - 3000, list, block, ty::INT8));
        assert_eq!((record.status, entries_of(&record), record.fault_info), (status::PAGE_FAULT, 2, 1 << 1));
    }
}

#[test]
fn a_fault_on_the_list_comes_after_the_entries_before_it_and_has_an_operand_of_its_own() {
    for (bof, code) in [(0, status::PAGE_FAULT), (flag::BLOCK_ON_FAULT, status::PAGE_RESPONSE)] {
        let rig = rig3();
        rig.put(SRC, &noise(1000, 5));
        let entries: Vec<u64> = (0..100).collect();
        // The 40th entry straddles the end of a page.
        let at = LIST + PAGE - 39 * 8 - 4;
        let list = put_list(&rig, at, INDEX_64, SRC, &entries);
        rig.absent(LIST + PAGE);
        let d = gather(list, DST, 4, ty::INT8);
        let record = rig.run(&with_flags(d, d.flags() | bof));
        assert_eq!((record.status, record.fault_addr, record.fault_info), (code, LIST + PAGE, 6 << 1));
        assert_eq!((entries_of(&record), record.bytes_completed), (39, 39 * 4));
        assert_eq!(rig.bytes(DST, 160), [rig.bytes(SRC, 156), vec![0; 4]].concat());
        for d in [
            scatter(SRC, Sgl { base: DST2, ..list }, 4, ty::INT8),
            scatter_fill(1, Sgl { base: DST2, ..list }, 4, ty::INT8),
        ] {
            let record = rig.run(&with_flags(d, d.flags() | bof));
            assert_eq!((record.status, record.fault_info, entries_of(&record)), (code, 6 << 1, 39));
        }
        let sum = gather_reduce(list, DST, 4, (ty::INT8, ty::INT8), XOR, 0);
        let record = rig.run(&with_flags(sum, sum.flags() | bof));
        assert_eq!(
            (record.status, record.fault_info, entries_of(&record), record.bytes_completed),
            (code, 6 << 1, 39, 0)
        );
    }
    // Granted, with block on fault.
    let rig = rig3();
    let list = list(&rig, INDEX_64, SRC, &[0, 1, 2]);
    rig.absent(LIST);
    rig.memory.set_resolvable(LIST, PAGE, true).unwrap();
    assert_eq!(rig.status(&with_flags(gather(list, DST, 4, ty::INT8), BLOCKING)), status::SUCCESS);
}

#[test]
fn a_resumed_copy_equals_a_whole_one() {
    let rig = rig3();
    let block = 1500u64;
    let entries: Vec<u64> = (0..20).map(|i| i * 2777 % 9000).collect();
    rig.put(SRC, &noise(12_000, 6));
    let expected: Vec<u8> = entries.iter().flat_map(|at| rig.bytes(SRC + at, block as usize)).collect();
    rig.memory.set_present(SRC, 3 * PAGE, false).unwrap();
    rig.memory.set_present(DST, 8 * PAGE, false).unwrap();
    rig.memory.set_present(LIST, PAGE, false).unwrap();
    let (mut done, mut rounds) = (0, 0);
    while done < entries.len() as u64 {
        let left = entries.len() as u16 - done as u16;
        let rest = Sgl { at: LIST + 8 * done, entries: left, format: OFFSET_64, base: SRC };
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        rig.put(LIST, &bytes);
        let record = rig.run(&gather(rest, DST + done * block, block as u32, ty::INT8));
        if record.status == status::SUCCESS {
            break;
        }
        rig.memory.set_present(record.fault_addr & !(PAGE - 1), PAGE, true).unwrap();
        done += entries_of(&record);
        rounds += 1;
        assert!(rounds < 20, "more faults than pages");
    }
    assert!(rounds >= 11, "{rounds}");
    assert!(rig.bytes(DST, expected.len()) == expected);
}

#[test]
fn lists_and_sizes_are_checked() {
    let rig = rig_of(Config::diamond_rapids().queue(WqConfig::shared(8).max_transfer_size(4096).max_sgl_size(16)));
    let base = Sgl { at: LIST, entries: 4, format: OFFSET_64, base: SRC };
    let many = |entries| Sgl { entries, ..base };
    let each = |list: Sgl, count, kind| {
        [gather(list, DST, count, kind), scatter(DST, list, count, kind), scatter_fill(0, list, count, kind)]
    };
    let all = |descriptors: [Descriptor; 3], expected: u8| {
        for d in descriptors {
            assert_eq!(rig.status(&d), expected, "opcode {:#x}", d.opcode());
        }
    };
    all(each(base, 8, ty::INT64), status::SUCCESS);
    all(each(many(16), 8, ty::INT16), status::SUCCESS);
    for entries in [0, 17, 0xffff] {
        all(each(many(entries), 1, ty::INT8), status::BAD_COUNT);
        let sum = gather_reduce(many(entries), DST, 1, (ty::INT8, ty::INT8), ADD, 0);
        assert_eq!(rig.status(&sum), status::BAD_COUNT);
    }
    for size in [0, 31, 33, u32::MAX] {
        all(each(base, 8, ty::INT8).map(|d| Descriptor { xfer_size: size, ..d }), status::BAD_SIZE);
    }
    // Right, but more than the queue takes; and products that do not fit into 32 bits.
    all(each(base, 128, ty::INT64), status::SUCCESS);
    all(each(base, 129, ty::INT64), status::BAD_SIZE);
    all(each(base, 0x8000_0001, ty::INT64).map(|d| Descriptor { xfer_size: 32, ..d }), status::BAD_SIZE);
    all(each(base, 0, ty::INT64), status::BAD_SIZE);
    for format in (0..16).filter(|format| ![OFFSET_64, INDEX_32, INDEX_64].contains(format)) {
        all(each(Sgl { format, ..base }, 8, ty::INT8), status::BAD_FIELD_VALUE);
        let sum = gather_reduce(Sgl { format, ..base }, DST, 1, (ty::INT8, ty::INT8), ADD, 0);
        assert_eq!(rig.status(&sum), status::BAD_FIELD_VALUE);
    }
    for kind in 10..16 {
        let wrong = each(base, 8, ty::INT8).map(|mut d| {
            d.set_op_u8(56, kind);
            d
        });
        all(wrong, status::BAD_FIELD_VALUE);
    }
    for (count, expected) in
        [(1024, status::SUCCESS), (1025, status::BAD_SIZE), (0, status::BAD_SIZE), (u32::MAX, status::BAD_SIZE)]
    {
        let sum = gather_reduce(base, DST, count, (ty::INT8, ty::INT8), ADD, 0);
        assert_eq!(rig.status(&sum), expected, "{count}: the inputs in all");
    }
}

#[test]
fn a_destination_may_not_share_a_byte_with_the_list() {
    let rig = rig3();
    let at = LIST + PAGE;
    let list = put_list(&rig, at, INDEX_32, SRC, &[0; 8]);
    for (dst, expected) in [
        (at - 64, status::SUCCESS),
        (at - 63, status::OVERLAP),
        (at, status::OVERLAP),
        (at + 31, status::OVERLAP),
        (at + 32, status::SUCCESS),
    ] {
        assert_eq!(rig.status(&gather(list, dst, 8, ty::INT8)), expected, "{dst:#x}");
    }
    for (dst, expected) in [(at - 8, status::SUCCESS), (at - 7, status::OVERLAP), (at + 31, status::OVERLAP)] {
        assert_eq!(rig.status(&gather_reduce(list, dst, 8, (ty::INT8, ty::INT8), ADD, 0)), expected, "{dst:#x}");
    }
    // Buffers of a scatter may: each entry was read before it is overwritten, or not.
    assert_eq!(rig.status(&scatter_fill(0, Sgl { base: at, ..list }, 8, ty::INT8)), status::SUCCESS);
}

#[test]
fn vectors_are_reduced_to_one() {
    let rig = rig3();
    let vectors = [[1.0f32, 2.0, -3.0], [0.5, f32::MAX, 4.0], [1e-8, f32::MAX, 100.0]];
    let bytes = |vector: &[f32; 3]| vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    for (i, vector) in vectors.iter().enumerate() {
        rig.put(SRC + 100 * i as u64, &bytes(vector));
    }
    let list = list(&rig, OFFSET_64, SRC, &[0, 100, 200]);
    let f32s = (ty::FP32, ty::FP32);
    let record = rig.run(&gather_reduce(list, DST, 3, f32s, MAX, 0));
    assert_eq!(record, CompletionRecord { status: status::SUCCESS, ..CompletionRecord::default() });
    assert_eq!(rig.bytes(DST, 16), [bytes(&[1.0, f32::MAX, 100.0]), vec![0; 4]].concat());
    let record = rig.run(&with_flags(gather_reduce(list, DST, 3, f32s, ADD, 0), CR | flag::CHECK_RESULT));
    assert_eq!((record.status, record.result), (status::SUCCESS_FALSE, exception::OVERFLOW));
    assert_eq!(rig.bytes(DST, 12), bytes(&[1.5, f32::INFINITY, 101.0]));
    rig.run(&gather_reduce(list, DST, 3, f32s, ADD, cf::NEGATE_1 | cf::ROUND_TOWARD_ZERO));
    assert_eq!(rig.bytes(DST, 12), bytes(&[-1.5, -f32::MAX, -101.0]), "all are negated");
    // One entry is a conversion, two are a reduce.
    let one = Sgl { entries: 1, ..list };
    rig.run(&gather_reduce(one, DST, 3, (ty::FP32, ty::FP16), ADD, 0));
    assert_eq!(rig.bytes(DST, 6), [0x00, 0x3c, 0x00, 0x40, 0x00, 0xc2]);
    let two = Sgl { entries: 2, ..list };
    let record = rig.run(&gather_reduce(two, DST, 3, f32s, ADD, cf::NEGATE_1));
    let reduced = rig.run(&reduce(SRC, SRC + 100, DST2, 3, f32s, ADD, cf::NEGATE_1 | cf::NEGATE_2));
    assert_eq!((record.result, rig.bytes(DST, 12)), (reduced.result, rig.bytes(DST2, 12)));
}

#[test]
fn a_gather_reduce_starts_anew_after_a_fault() {
    let rig = rig3();
    rig.put(SRC, &noise(3 * PAGE as usize, 7));
    let list = list(&rig, OFFSET_64, SRC, &[0, 16, 2 * PAGE - 64, 32]);
    let d = gather_reduce(list, DST, 32, (ty::INT32, ty::INT64), ADD, 0);
    assert_eq!(rig.status(&d), status::SUCCESS);
    let whole = rig.bytes(DST, 256);
    rig.put(DST, &[0; 256]);
    rig.absent(SRC + 2 * PAGE);
    let record = rig.run(&d);
    assert_eq!((record.status, record.fault_addr, record.fault_info), (status::PAGE_FAULT, SRC + 2 * PAGE, 1 << 1));
    assert_eq!((record.bytes_completed, entries_of(&record)), (0, 2));
    assert_eq!(rig.bytes(DST, 256), [0; 256], "nothing is written before all is read");
    rig.memory.set_present(SRC + 2 * PAGE, PAGE, true).unwrap();
    rig.absent(DST);
    let record = rig.run(&d);
    assert_eq!((record.status, record.fault_info >> 1), (WRITE_FAULT, 3));
    assert_eq!((record.bytes_completed, entries_of(&record)), (0, 4));
    rig.memory.set_present(DST, PAGE, true).unwrap();
    assert_eq!((rig.status(&d), rig.bytes(DST, 256)), (status::SUCCESS, whole));
}

#[test]
fn vectors_and_their_sum_are_aligned_to_their_elements() {
    let rig = rig3();
    let entries = list(&rig, OFFSET_64, SRC + 1, &[3, 7, 8]);
    let record = rig.run(&gather_reduce(entries, DST, 2, (ty::INT32, ty::INT32), ADD, 0));
    assert_eq!((record.status, entries_of(&record), record.bytes_completed), (status::ADDR_ALIGN, 2, 0));
    let good = Sgl { entries: 2, ..entries };
    assert_eq!(rig.status(&gather_reduce(good, DST, 2, (ty::INT32, ty::INT32), ADD, 0)), status::SUCCESS);
    assert_eq!(rig.status(&gather_reduce(good, DST + 2, 2, (ty::INT32, ty::INT32), ADD, 0)), status::ADDR_ALIGN);
    assert_eq!(rig.status(&gather_reduce(good, DST + 2, 2, (ty::INT32, ty::INT16), ADD, 0)), status::SUCCESS);
    // Blocks that are too large, read or written.
    let largest = 16 << 10;
    for (types, count, expected) in [
        ((ty::INT8, ty::INT8), largest, status::SUCCESS),
        ((ty::INT8, ty::INT8), largest + 1, status::BAD_SIZE),
        ((ty::INT8, ty::INT32), largest / 4, status::SUCCESS),
        ((ty::INT8, ty::INT32), largest / 4 + 1, status::BAD_SIZE),
        ((ty::INT32, ty::INT8), largest / 4 + 1, status::BAD_SIZE),
    ] {
        assert_eq!(rig.status(&gather_reduce(good, DST, count, types, ADD, 0)), expected, "{types:?} {count}");
    }
}

#[test]
fn injected_faults_reach_buffers_by_address_and_lists_at_random() {
    let rig = rig3();
    let list = list(&rig, OFFSET_64, SRC, &[0, 300]);
    let d = gather(list, DST, 200, ty::INT8);
    let rule = FaultRule::new(Effect::PageFault { resolvable: false });
    let id = rig.device.inject(rule.clone().at(SRC + 350..SRC + 351));
    let record = rig.run(&d);
    assert_eq!((record.status, record.fault_addr, record.bytes_completed), (status::PAGE_FAULT, SRC + 350, 250));
    rig.device.remove(id);
    rig.device.inject(rule);
    let mut operands: Vec<_> = (0..40).map(|_| rig.run(&d).fault_info >> 1).collect();
    operands.sort_unstable();
    operands.dedup();
    assert_eq!(operands, [3, 6], "what is known of the operands before the list is read");
}

proptest! {
    #[test]
    fn gathers_and_scatters_equal_plain_copies(
        entries in prop::collection::vec(0u64..3000, 1..60), count in 1u32..300, kind in 0u8..10, format in 1u8..4,
        chunk in 1usize..5000, at in 0u64..9,
    ) {
        let rig = rig_of(Config::diamond_rapids().chunk(chunk));
        let block = u64::from(count) * size(kind);
        let unit = if format == OFFSET_64 { 1 } else { block };
        let entries: Vec<u64> = entries.into_iter().map(|entry| entry % ((LEN - block) / unit)).collect();
        prop_assume!(entries.len() as u64 * block <= LEN - 16);
        let memory = noise(LEN as usize, count);
        rig.put(SRC, &memory);
        let list = put_list(&rig, LIST + at, format, SRC, &entries);
        prop_assert_eq!(rig.status(&gather(list, DST + at, count, kind)), status::SUCCESS);
        let buffer = |entry: &u64| (entry * unit) as usize..(entry * unit + block) as usize;
        let expected: Vec<u8> = entries.iter().flat_map(|entry| memory[buffer(entry)].to_vec()).collect();
        prop_assert!(rig.bytes(DST + at, expected.len()) == expected);
        prop_assert_eq!(rig.bytes(DST + at + expected.len() as u64, 7), [0; 7]);
        // Scattered over other memory, in the order of the list.
        let mut model = vec![0; LEN as usize];
        let data = noise(expected.len(), 9);
        rig.put(DST, &data);
        prop_assert_eq!(rig.status(&scatter(DST, Sgl { base: DST2, ..list }, count, kind)), status::SUCCESS);
        for (entry, bytes) in entries.iter().zip(data.chunks(block as usize)) {
            model[buffer(entry)].copy_from_slice(bytes);
        }
        prop_assert!(rig.bytes(DST2, LEN as usize) == model);
        prop_assert_eq!(rig.device.counters().bytes, 2 * expected.len() as u64);
    }

    #[test]
    fn gather_reduces_equal_plain_sums(
        entries in prop::collection::vec(0u64..1000, 1..40), count in 1u32..900, chunk in 1usize..5000, signed: bool,
    ) {
        let rig = rig_of(Config::diamond_rapids().chunk(chunk));
        let memory = noise(LEN as usize, count);
        rig.put(SRC, &memory);
        let list = list(&rig, OFFSET_64, SRC, &entries.iter().map(|entry| entry * 2).collect::<Vec<_>>());
        let flags = if signed { cf::SIGNED } else { 0 };
        prop_assert_eq!(rig.status(&gather_reduce(list, DST, count, (ty::INT16, ty::INT32), ADD, flags)), status::SUCCESS);
        let element = |i: u64| {
            let at = 2 * i as usize;
            let bytes = [memory[at], memory[at + 1]];
            if signed { i64::from(i16::from_le_bytes(bytes)) } else { i64::from(u16::from_le_bytes(bytes)) }
        };
        let sum = |i: u64| entries.iter().map(|entry| element(entry + i)).sum::<i64>();
        let expected: Vec<u8> = (0..u64::from(count)).flat_map(|i| (sum(i).cast_unsigned() as u32).to_le_bytes()).collect();
        prop_assert!(rig.bytes(DST, expected.len()) == expected);
        prop_assert_eq!(rig.device.counters().bytes, 2 * u64::from(count) * entries.len() as u64);
    }
}

#[test]
fn a_buffer_beyond_the_last_address_faults_there() {
    let rig = rig3();
    let top = 0u64.wrapping_sub(PAGE);
    rig.memory.map(top, PAGE, Permission::ReadWrite).unwrap();
    let list = list(&rig, OFFSET_64, u64::MAX - 9, &[0]);
    for (d, write) in [
        (gather(list, DST, 100, ty::INT8), 0),
        (scatter(SRC, list, 100, ty::INT8), status::FAULT_WRITE),
        (scatter_fill(0, list, 100, ty::INT8), status::FAULT_WRITE),
    ] {
        let record = rig.run(&d);
        assert_eq!((record.status, record.bytes_completed), (status::PAGE_FAULT | write, 10));
        let blocked = rig.run(&with_flags(d, BLOCKING));
        assert_eq!(blocked.status, status::PAGE_RESPONSE | write);
    }
    // A list that ends there.
    let d = gather(Sgl { at: u64::MAX - 15, entries: 3, format: OFFSET_64, base: SRC }, DST, P, ty::INT8);
    let record = rig.run(&d);
    assert_eq!((record.status, entries_of(&record), record.fault_info), (status::PAGE_FAULT, 2, 6 << 1));
}
