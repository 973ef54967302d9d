//! Create and apply delta record against a plain description: results, sizes, overflow, errors, checks.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use dsa_emulator::config::Choices;
use dsa_emulator::{Checks, Config, Device, Enqcmd, Permission, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use proptest::prelude::*;

/// An address space of its own for regions of the largest size.
const LARGE: u64 = 0x1000_0000;

/// What the operation must report and write: result, bytes completed, delta record.
fn oracle(old: &[u8], new: &[u8], most: usize) -> (u8, u32, Vec<u8>) {
    let mut delta = Vec::new();
    for offset in (0..old.len()).step_by(8) {
        if old[offset..offset + 8] != new[offset..offset + 8] {
            if delta.len() + 10 > most {
                return (2, offset as u32, delta);
            }
            let unit = offset / 8;
            delta.push(unit as u8);
            delta.push((unit >> 8) as u8);
            delta.extend(&new[offset..offset + 8]);
        }
    }
    (u8::from(!delta.is_empty()), 0, delta)
}

fn delta_size(record: &CompletionRecord) -> usize {
    record.op_specific[0] as usize
}

/// Puts both sources in place, and returns the record and what lies at the delta record's place, all of it.
fn create(rig: &Rig, old: &[u8], new: &[u8], most: u32, flags: u32) -> (CompletionRecord, Vec<u8>) {
    rig.put(SRC, old);
    rig.put(DST, new);
    rig.put(DST2, &vec![0xee; LEN as usize]);
    let d = create_delta(SRC, DST, old.len() as u32, DST2 + 1, most);
    let record = rig.run(&with_flags(d, d.flags() | flags));
    (record, rig.bytes(DST2, LEN as usize))
}

/// Noise, and the same with some units changed.
fn versions(len: usize, changed: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let old = noise(len, 1);
    let mut new = old.clone();
    for unit in changed {
        new[8 * unit + unit % 8] ^= 0x55;
    }
    (old, new)
}

#[test]
fn equal_regions_give_no_delta() {
    let rig = rig();
    let (old, new) = versions(3 * PAGE as usize, &[]);
    let (record, bytes) = create(&rig, &old, &new, 80, 0);
    assert_eq!(record, CompletionRecord { status: status::SUCCESS, ..CompletionRecord::default() });
    assert!(bytes.iter().all(|b| *b == 0xee));
}

#[test]
fn a_delta_is_an_offset_and_eight_bytes_of_the_second_source() {
    let rig = rig();
    let (old, new) = versions(0x2000, &[0, 0x123, 0x3ff]);
    let (record, bytes) = create(&rig, &old, &new, 80, 0);
    let expected = CompletionRecord { status: 1, result: 1, op_specific: [30, 0], ..CompletionRecord::default() };
    assert_eq!(record, expected);
    assert_eq!((&bytes[1..3], &bytes[3..11]), (&[0, 0][..], &new[..8]));
    assert_eq!((&bytes[11..13], &bytes[13..21]), (&[0x23, 0x01][..], &new[0x918..0x920]));
    assert_eq!((&bytes[21..23], &bytes[23..31]), (&[0xff, 0x03][..], &new[0x1ff8..]));
    assert_eq!((bytes[0], bytes[31]), (0xee, 0xee), "nothing around it is written");
}

#[test]
fn a_record_that_is_just_large_enough_is_complete_and_one_delta_more_overflows() {
    let rig = rig();
    let eight: Vec<usize> = (0..8).map(|i| 3 + 40 * i).collect();
    let (old, new) = versions(0x1000, &eight);
    assert_eq!(create(&rig, &old, &new, 80, 0).0.result, 1);
    let nine: Vec<usize> = (0..9).map(|i| 3 + 40 * i).collect();
    let (old, new) = versions(0x1000, &nine);
    let (record, bytes) = create(&rig, &old, &new, 80, 0);
    assert_eq!((record.status, record.result, record.bytes_completed), (status::SUCCESS, 2, 8 * (3 + 40 * 8)));
    assert_eq!((delta_size(&record), bytes[81]), (80, 0xee));
    // The rest, from where the first one stopped, has the delta that did not fit.
    let done = record.bytes_completed;
    let rest = create_delta(SRC + u64::from(done), DST + u64::from(done), 0x1000 - done, LIST, 80);
    let record = rig.run(&rest);
    assert_eq!((record.result, delta_size(&record)), (1, 10));
    assert_eq!(rig.bytes(LIST, 2), [0, 0]);
}

#[test]
fn the_mask_of_expected_results_becomes_the_status() {
    let rig = rig();
    let many: Vec<usize> = (0..9).collect();
    for (changed, result) in [(&many[..0], 0), (&many[..3], 1), (&many[..], 2)] {
        let (old, new) = versions(0x400, changed);
        rig.put(SRC, &old);
        rig.put(DST, &new);
        for mask in 0..=255u8 {
            let mut d = create_delta(SRC, DST, 0x400, DST2, 80);
            d.set_op_u8(56, mask);
            let record = rig.run(&d);
            assert_eq!((record.status, record.result), (status::SUCCESS, result), "without the flag it is ignored");
            let record = rig.run(&with_flags(d, CR | flag::CHECK_RESULT));
            let expected = if mask >> result & 1 == 1 { status::SUCCESS } else { status::SUCCESS_FALSE };
            assert_eq!((record.status, record.result), (expected, result), "mask {mask:#x}");
        }
    }
}

#[test]
fn a_fence_stops_a_batch_after_a_result_that_was_not_expected() {
    let rig = rig();
    let (old, new) = versions(0x400, &[5]);
    rig.put(SRC, &old);
    rig.put(DST, &new);
    for (mask, processed) in [(0b010u8, 2), (0b001, 1)] {
        let mut first = with_record(create_delta(SRC, DST, 0x400, DST2, 80), 1);
        first.set_op_u8(56, mask);
        let first = with_flags(first, CR | flag::CHECK_RESULT);
        let second = with_record(with_flags(nop(), CR | flag::FENCE), 2);
        let record = rig.run(&rig.list(&[first, second]));
        assert_eq!(record.status, if processed == 2 { status::SUCCESS } else { status::BATCH_FAIL });
        assert_eq!(record.bytes_completed, processed);
    }
}

#[test]
fn applying_gives_the_second_source() {
    let rig = rig();
    let (old, new) = versions(0x3000, &[0, 1, 2, 511, 512, 1000, 1535]);
    let (record, bytes) = create(&rig, &old, &new, 200, 0);
    assert_eq!((record.result, delta_size(&record)), (1, 70));
    rig.put(LIST, &old);
    let record = rig.run(&apply_delta(DST2 + 1, 70, LIST, 0x3000));
    assert_eq!(record, CompletionRecord { status: status::SUCCESS, ..CompletionRecord::default() });
    assert!(rig.bytes(LIST, 0x3000) == new);
    assert!(rig.bytes(DST2, LEN as usize) == bytes, "the delta record is only read");
    assert_eq!(rig.bytes(LIST + 0x3000, 8), [0; 8]);
}

/// Entries with these offsets, each with data of its own.
fn entries(offsets: &[u16]) -> Vec<u8> {
    offsets.iter().enumerate().flat_map(|(i, o)| [&o.to_le_bytes()[..], &[i as u8 + 1; 8]].concat()).collect()
}

#[test]
fn offsets_must_increase() {
    for (offsets, good) in [(&[3, 2][..], 1), (&[3, 3], 1), (&[0, 0], 1), (&[1, 5, 9, 4, 10], 3), (&[7, 0xffff, 3], 1)]
    {
        let rig = rig();
        rig.put(SRC, &entries(offsets));
        let record = rig.run(&apply_delta(SRC, 10 * offsets.len() as u32, DST, 0x1000));
        // The largest offset lies outside and comes first.
        let expected = if offsets.contains(&0xffff) { status::DELTA_OFFSET_RANGE } else { status::DELTA_OFFSET_ORDER };
        assert_eq!((record.status, record.bytes_completed), (expected, 10 * good as u32), "{offsets:?}");
        let mut model = vec![0; 0x1000];
        for (i, offset) in offsets[..good].iter().enumerate() {
            model[8 * usize::from(*offset)..][..8].fill(i as u8 + 1);
        }
        assert!(rig.bytes(DST, 0x1000) == model, "{offsets:?}: what came before is applied, and no more");
    }
}

#[test]
fn offsets_must_lie_below_the_transfer_size() {
    let rig = rig();
    rig.put(SRC, &entries(&[0, 0x1ff]));
    assert_eq!(rig.status(&apply_delta(SRC, 20, DST, 0x1000)), status::SUCCESS);
    let record = rig.run(&apply_delta(SRC, 20, DST, 0xff8));
    assert_eq!((record.status, record.bytes_completed), (status::DELTA_OFFSET_RANGE, 10));
    rig.put(SRC, &entries(&[0xffff]));
    assert_eq!(rig.status(&apply_delta(SRC, 10, DST, 0x1000)), status::DELTA_OFFSET_RANGE);
}

#[test]
fn the_largest_region_has_the_largest_offset() {
    let rig = rig();
    for base in [LARGE, 2 * LARGE, 3 * LARGE] {
        rig.memory.map(base, 0x10_0000, Permission::ReadWrite).unwrap();
    }
    rig.put(2 * LARGE + 0x7_fff8, &[9; 8]);
    let record = rig.run(&create_delta(LARGE, 2 * LARGE, 0x8_0000, 3 * LARGE, 80));
    assert_eq!((record.result, delta_size(&record)), (1, 10));
    assert_eq!(rig.bytes(3 * LARGE, 10), [0xff, 0xff, 9, 9, 9, 9, 9, 9, 9, 9]);
    assert_eq!(rig.status(&apply_delta(3 * LARGE, 10, LARGE, 0x8_0000)), status::SUCCESS);
    assert_eq!(rig.bytes(LARGE + 0x7_fff8, 9), [9, 9, 9, 9, 9, 9, 9, 9, 0]);
    let too_large = create_delta(LARGE, 2 * LARGE, 0x8_0008, 3 * LARGE, 80);
    assert_eq!(rig.status(&too_large), status::BAD_SIZE);
    assert_eq!(rig.status(&apply_delta(3 * LARGE, 10, LARGE, 0x8_0008)), status::BAD_SIZE);
}

#[test]
fn transfer_sizes_are_1_to_the_queues_maximum_too() {
    let rig = rig_of(Config::granite_rapids().queue(WqConfig::shared(8).max_transfer_size(4096)));
    for (size, expected) in
        [(0, status::BAD_SIZE), (8, status::SUCCESS), (4096, status::SUCCESS), (4104, status::BAD_SIZE)]
    {
        assert_eq!(rig.status(&create_delta(SRC, DST, size, DST2, 80)), expected);
        assert_eq!(rig.status(&apply_delta(DST2, 10, DST, size)), expected);
    }
}

#[test]
fn delta_record_sizes_have_a_least_and_the_queues_maximum() {
    let rig = rig_of(Config::granite_rapids().queue(WqConfig::shared(8).max_transfer_size(4096)));
    for (most, expected) in [
        (0, status::BAD_FIELD_VALUE),
        (70, status::BAD_FIELD_VALUE),
        (79, status::BAD_FIELD_VALUE),
        (80, status::SUCCESS),
        (4096, status::SUCCESS),
        (4097, status::BAD_FIELD_VALUE),
        (u32::MAX, status::BAD_FIELD_VALUE),
    ] {
        assert_eq!(rig.status(&create_delta(SRC, DST, 8, DST2, most)), expected, "{most}");
    }
    for (length, expected) in [
        (0, status::BAD_FIELD_VALUE),
        (9, status::BAD_FIELD_VALUE),
        (10, status::SUCCESS),
        (4097, status::BAD_FIELD_VALUE),
        (u32::MAX, status::BAD_FIELD_VALUE),
    ] {
        assert_eq!(rig.status(&apply_delta(DST2, length, DST, 8)), expected, "{length}");
    }
}

#[test]
fn what_is_left_over_of_a_size_is_unused_or_refused() {
    let (old, new) = versions(0x400, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    for (checks, refused) in [(Checks::Lenient, false), (Checks::Strict, true)] {
        let mut config = Config::granite_rapids();
        assert_eq!(config.choices.delta_sizes, Choices::default().delta_sizes);
        config.choices.delta_sizes = checks;
        let rig = rig_of(config);
        for rest in 1..10 {
            let (record, bytes) = create(&rig, &old, &new, 80 + rest, 0);
            if refused {
                assert_eq!(record.status, status::BAD_FIELD_VALUE);
                assert_eq!(rig.status(&apply_delta(DST2, 10 + rest, LIST, 0x400)), status::BAD_FIELD_VALUE);
                continue;
            }
            assert_eq!((record.result, delta_size(&record), bytes[81]), (2, 80, 0xee));
            rig.put(LIST, &old);
            assert_eq!(rig.status(&apply_delta(DST2 + 1, 70 + rest, LIST, 0x400)), status::SUCCESS);
            assert_eq!((rig.bytes(LIST, 56), rig.bytes(LIST + 56, 8)), (new[..56].to_vec(), old[56..64].to_vec()));
        }
    }
}

#[test]
fn sources_destination_and_size_are_aligned_to_8_and_the_delta_record_is_not() {
    let rig = rig();
    for off in 1..8 {
        for d in [
            create_delta(SRC + off, DST, 64, DST2, 80),
            create_delta(SRC, DST + off, 64, DST2, 80),
            create_delta(SRC, DST, 64 + off as u32, DST2, 80),
            apply_delta(DST2, 10, DST + off, 64),
            apply_delta(DST2, 10, DST, 64 + off as u32),
        ] {
            assert_eq!(rig.status(&d), status::ADDR_ALIGN);
        }
        assert_eq!(rig.status(&create_delta(SRC, DST, 64, DST2 + off, 80)), status::SUCCESS);
        assert_eq!(rig.status(&apply_delta(DST2 + off, 10, DST, 64)), status::SUCCESS);
    }
}

#[test]
fn the_largest_delta_record_must_not_overlap_a_source() {
    let rig = rig();
    for (at, overlaps) in [(-81i64, false), (-80, false), (-79, true), (0, true), (63, true), (64, false)] {
        let expected = if overlaps { status::OVERLAP } else { status::SUCCESS };
        for base in [SRC + PAGE, DST + PAGE] {
            let record = base.wrapping_add_signed(at);
            assert_eq!(rig.status(&create_delta(SRC + PAGE, DST + PAGE, 64, record, 80)), expected, "{at}");
        }
    }
    assert_eq!(rig.status(&create_delta(SRC, SRC + 8, 64, DST2, 80)), status::SUCCESS, "sources may overlap");
    assert_eq!(rig.status(&create_delta(SRC, SRC, 64, DST2, 80)), status::SUCCESS);
}

#[test]
fn an_applied_delta_record_must_not_overlap_the_destination() {
    let rig = rig();
    for (at, overlaps) in [(-11i64, false), (-10, false), (-9, true), (0, true), (63, true), (64, false)] {
        let record = (DST + PAGE).wrapping_add_signed(at);
        let expected = if overlaps { status::OVERLAP } else { status::SUCCESS };
        assert_eq!(rig.status(&apply_delta(record, 10, DST + PAGE, 64)), expected, "{at}");
    }
}

/// Runs a descriptor on a device in this process's own memory.
fn run_trusted(device: &Device, mut d: Descriptor) -> CompletionRecord {
    let mut record = CompletionRecord::default();
    d.completion_addr = (&raw mut record).expose_provenance() as u64;
    let client = device.open(0).unwrap();
    // SAFETY: the caller passes addresses of live buffers, and nobody touches them before `quiesce` returned.
    assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
    client.quiesce();
    record
}

/// Aligned as the operations want it.
#[repr(C, align(8))]
struct Aligned([u8; 0x3000]);

#[test]
fn trusted_memory_creates_and_applies() {
    for chunk in [1, 12, 100, 64 << 10] {
        let device = Device::new(Config::granite_rapids().manual().chunk(chunk)).unwrap();
        let changed: Vec<usize> = (0..0x600).step_by(7).collect();
        let (old, new) = versions(0x3000, &changed);
        let mut one = Aligned(old.as_slice().try_into().unwrap());
        let mut two = Aligned(new.as_slice().try_into().unwrap());
        let mut delta = vec![0u8; 4000];
        let [a, b] = [&mut one, &mut two].map(|x| x.0.as_mut_ptr().expose_provenance() as u64);
        let at = delta.as_mut_ptr().expose_provenance() as u64;
        let record = run_trusted(&device, create_delta(a, b, 0x3000, at, 4000));
        let size = 10 * changed.len() as u32;
        assert_eq!((record.status, record.result, record.op_specific[0]), (status::SUCCESS, 1, u64::from(size)));
        assert!(delta[..size as usize] == oracle(&old, &new, 4000).2);
        assert_eq!(run_trusted(&device, apply_delta(at, size, a, 0x3000)).status, status::SUCCESS);
        assert!(one.0 == two.0);
    }
}

/// A source or delta record that others write while the device is at it gives one answer or another, and never a delta
/// record that is not one, or a write outside of the destination.
#[test]
fn what_changes_underfoot_stays_harmless() {
    let rig = rig();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let (memory, stop_seen) = (&rig.memory, &stop);
        let _end = Ends(&stop);
        s.spawn(move || {
            let mut round = 0u64;
            while !stop_seen.load(Ordering::Relaxed) {
                let at = round.wrapping_mul(0x9e37_79b9) % 0x2000;
                memory.write(SRC + at, &[round as u8; 3]).unwrap();
                memory.write(LIST + at, &(round as u32).to_le_bytes()).unwrap();
                round += 1;
            }
        });
        for _ in 0..200 {
            let record = rig.run(&create_delta(SRC, DST, 0x2000, DST2, 20_000));
            assert_eq!(record.status, status::SUCCESS);
            let delta = rig.bytes(DST2, delta_size(&record));
            let offsets: Vec<_> = delta.chunks(10).map(|entry| u16::from_le_bytes([entry[0], entry[1]])).collect();
            assert!(offsets.is_sorted_by(|a, b| a < b) && offsets.iter().all(|o| *o < 0x400));
            let record = rig.run(&apply_delta(LIST, 5000, DST + 2 * PAGE, PAGE as u32));
            let known = [status::SUCCESS, status::DELTA_OFFSET_ORDER, status::DELTA_OFFSET_RANGE];
            assert!(known.contains(&record.status));
            assert!(record.bytes_completed.is_multiple_of(10));
        }
    });
    assert_eq!(rig.bytes(DST, 2 * PAGE as usize), vec![0; 2 * PAGE as usize]);
    assert_eq!(rig.bytes(DST + 3 * PAGE, PAGE as usize), vec![0; PAGE as usize]);
}

#[test]
fn a_part_without_delta_records_refuses_them() {
    let rig = rig_of(Config::sapphire_rapids());
    for code in [opcode::CR_DELTA, opcode::AP_DELTA] {
        assert_eq!(rig.status(&desc(code, 0)), status::BAD_OPCODE);
    }
}

proptest! {
    #[test]
    fn any_two_regions_equal_the_description(
        units in 1usize..1200, changes in proptest::collection::vec((0usize..1200, 0usize..8, 1u8..), 0..300),
        most in 80usize..3000, chunk in 1usize..5000, offset in 0u64..500, seed: u32,
    ) {
        let rig = rig_of(Config::granite_rapids().chunk(chunk));
        let old = noise(8 * units, seed);
        let mut new = old.clone();
        for (unit, byte, flip) in changes {
            new[8 * (unit % units) + byte] ^= flip;
        }
        rig.put(SRC + 8 * offset, &old);
        rig.put(DST + 8, &new);
        let record = rig.run(&create_delta(SRC + 8 * offset, DST + 8, 8 * units as u32, DST2 + offset, most as u32));
        let (result, completed, delta) = oracle(&old, &new, most);
        prop_assert_eq!((record.status, record.result, record.bytes_completed), (status::SUCCESS, result, completed));
        prop_assert_eq!(delta_size(&record), delta.len());
        prop_assert!(rig.bytes(DST2 + offset, delta.len()) == delta);
        prop_assert_eq!(rig.bytes(DST2 + offset + delta.len() as u64, 8), [0; 8]);
        // Applied to the first source it makes that equal to the second, as far as it goes.
        if !delta.is_empty() {
            let apply = apply_delta(DST2 + offset, delta.len() as u32, SRC + 8 * offset, 8 * units as u32);
            prop_assert_eq!(rig.status(&apply), status::SUCCESS);
        }
        let known = if result == 2 { completed as usize } else { 8 * units };
        let mut expected = new[..known].to_vec();
        expected.extend(&old[known..]);
        prop_assert!(rig.bytes(SRC + 8 * offset, 8 * units) == expected);
    }
}
