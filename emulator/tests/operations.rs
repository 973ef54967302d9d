//! What the data operations do when nothing goes wrong, against plain Rust.

mod common;

use common::*;
use dsa_emulator::{Config, Device};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use proptest::prelude::*;

#[test]
fn comparisons_report_the_exact_first_difference() {
    let rig = rig();
    for (at, len) in [(0, 1), (0, 100), (99, 100), (1023, 5000), (1024, 5000), (4999, 5000)] {
        let data = noise(len, 1);
        let mut other = data.clone();
        other[at] ^= 0x80;
        other[len - 1] ^= 1;
        rig.put(SRC, &data);
        rig.put(DST, &other);
        let record = rig.run(&compare(SRC, DST, len as u32));
        assert_eq!((record.status, record.result), (status::SUCCESS, 1));
        assert_eq!(record.bytes_completed, at as u32);
    }
}

#[test]
fn the_expected_result_becomes_the_status() {
    let rig = rig();
    rig.put(DST, &[1]);
    for (d, differs) in [
        (compare(SRC, SRC, 8), 0),
        (compare(SRC, DST, 8), 1),
        (compare_pattern(SRC, 0, 20), 0),
        (compare_pattern(DST, 0, 20), 1),
    ] {
        for expected in [0, 1] {
            let d = Descriptor { op_specific: [expected, 0, 0], ..with_flags(d, CR | flag::CHECK_RESULT) };
            let record = rig.run(&d);
            let status = if expected == differs { status::SUCCESS } else { status::SUCCESS_FALSE };
            assert_eq!((record.status, u64::from(record.result)), (status, differs));
        }
        let unchecked = Descriptor { op_specific: [1 - differs, 0, 0], ..d };
        assert_eq!(rig.status(&unchecked), status::SUCCESS, "without the flag the expected result is ignored");
    }
}

#[test]
fn a_pattern_comparison_gives_a_lower_bound() {
    let rig = rig();
    let pattern = 0x0807_0605_0403_0201u64;
    let bytes: Vec<u8> = pattern.to_le_bytes().into_iter().cycle().take(6000).collect();
    for wrong in [0, 7, 8, 100, 4095, 4096, 5999] {
        rig.put(SRC + 3, &bytes);
        assert_eq!(rig.run(&compare_pattern(SRC + 3, pattern, 6000)).result, 0);
        rig.put(SRC + 3 + wrong, &[0xff]);
        let record = rig.run(&compare_pattern(SRC + 3, pattern, 6000));
        assert_eq!((record.status, record.result), (status::SUCCESS, 1));
        assert_eq!(u64::from(record.bytes_completed), wrong / 8 * 8, "the start of the group of 8");
    }
}

#[test]
fn sixteen_byte_patterns() {
    let rig = rig();
    let d = with_flags(fill(DST + 5, 0x0706_0504_0302_0100, 5001), CR | flag::FILL_16);
    assert_eq!(rig.status(&Descriptor { op_specific: [0x0f0e_0d0c_0b0a_0908, 0, 0], ..d }), status::SUCCESS);
    let bytes = rig.bytes(DST + 4, 5003);
    assert_eq!((bytes[0], bytes[5002]), (0, 0));
    assert!((0..5001).all(|i| bytes[i + 1] == (i % 16) as u8));
}

#[test]
fn drain_and_no_op_and_cache_flush_succeed() {
    let rig = rig();
    for d in [nop(), desc(opcode::DRAIN, flag::DRAIN_SUPPRESS_TC_A), cache_flush(DST, 5000)] {
        assert_eq!(rig.run(&d), CompletionRecord { status: 1, ..CompletionRecord::default() });
    }
}

/// Runs a descriptor on a device in this process's own memory.
fn run_trusted(device: &Device, mut d: Descriptor) -> CompletionRecord {
    let mut record = CompletionRecord::default();
    d.completion_addr = (&raw mut record).expose_provenance() as u64;
    let client = device.open(0).unwrap();
    // SAFETY: the caller passes addresses of live buffers, and nobody touches them before `quiesce` returned.
    assert_eq!(unsafe { client.enqcmd(&d) }, dsa_emulator::Enqcmd::Accepted);
    client.quiesce();
    record
}

#[test]
fn trusted_memory_moves_large_and_overlapping_regions() {
    let device = Device::new(Config::sapphire_rapids().manual().backward_moves(0.5)).unwrap();
    let len = 300_000usize;
    for (from, to) in [(0usize, 1usize), (1, 0), (0, 70_000), (70_000, 0), (5, 5), (0, 300_000), (300_000, 0)] {
        let mut buffer = noise(600_000, 9);
        let mut expected = buffer.clone();
        expected.copy_within(from..from + len, to);
        let base = buffer.as_mut_ptr().expose_provenance() as u64;
        let d = memmove(base + from as u64, base + to as u64, len as u32);
        let record = run_trusted(&device, d);
        assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 0));
        assert!(buffer == expected, "{from} to {to}");
    }
}

#[test]
fn trusted_memory_refuses_what_can_not_be_a_pointer() {
    let device = Device::new(Config::sapphire_rapids().manual()).unwrap();
    let mut buffer = [1u8; 64];
    let base = buffer.as_mut_ptr().expose_provenance() as u64;
    let record = run_trusted(&device, memmove(0, base, 64));
    assert_eq!((record.status, record.fault_addr), (status::PAGE_FAULT, 0));
    let record = run_trusted(&device, memmove(base, u64::MAX - 63, 64));
    assert_eq!(record.status, status::PAGE_FAULT | status::FAULT_WRITE);
    assert_eq!(buffer, [1; 64]);
}

#[test]
fn trusted_memory_sums_and_compares_in_chunks() {
    let device = Device::new(Config::sapphire_rapids().manual().chunk(1000)).unwrap();
    let mut source = noise(10_000, 3);
    let mut target = vec![0u8; 10_000];
    let from = source.as_mut_ptr().expose_provenance() as u64;
    let to = target.as_mut_ptr().expose_provenance() as u64;
    let summed = run_trusted(&device, copy_crc(from, to, 10_000, 0, 0));
    assert_eq!(summed.op_specific[0], run_trusted(&device, crc(from, 10_000, 0, 0)).op_specific[0]);
    assert_eq!(run_trusted(&device, compare(from, to, 10_000)).result, 0);
    assert_eq!(source, target);
    target[9_999] ^= 1;
    let record = run_trusted(&device, compare(from, to, 10_000));
    assert_eq!((record.result, record.bytes_completed), (1, 9_999));
}

proptest! {
    #[test]
    fn moves_equal_copy_within(
        from in 0usize..20_000, to in 0usize..20_000, len in 1usize..20_000, chunk in 1usize..10_000, backward: bool,
    ) {
        let rig = rig_of(Config::sapphire_rapids().chunk(chunk).backward_moves(f64::from(u8::from(backward))));
        let mut model = noise(40_000, len as u32);
        rig.put(SRC, &model);
        let record = rig.run(&memmove(SRC + from as u64, SRC + to as u64, len as u32));
        prop_assert_eq!((record.status, record.bytes_completed, record.result), (status::SUCCESS, 0, 0));
        model.copy_within(from..from + len, to);
        prop_assert!(rig.bytes(SRC, 40_000) == model);
    }

    #[test]
    fn fills_repeat_the_pattern(at in 0usize..5000, len in 1usize..9000, pattern: u64, chunk in 1usize..5000) {
        let rig = rig_of(Config::sapphire_rapids().chunk(chunk));
        let mut model = noise(15_000, 0);
        rig.put(DST, &model);
        prop_assert_eq!(rig.status(&fill(DST + at as u64, pattern, len as u32)), status::SUCCESS);
        for i in 0..len {
            model[at + i] = pattern.to_le_bytes()[i % 8];
        }
        prop_assert!(rig.bytes(DST, 15_000) == model);
    }

    #[test]
    fn dualcasts_write_both_and_nothing_else(offset in 0u64..5000, low in 0u64..4096, len in 1usize..9000) {
        let rig = rig();
        let data = noise(len, 4);
        rig.put(SRC + offset, &data);
        let d = dualcast(SRC + offset, DST + low, DST2 + PAGE + low, len as u32);
        prop_assert_eq!(rig.status(&d), status::SUCCESS);
        for at in [DST + low, DST2 + PAGE + low] {
            prop_assert!(rig.bytes(at, len) == data);
            prop_assert_eq!(rig.bytes(at + len as u64, 8), [0; 8]);
        }
    }

    #[test]
    fn comparisons_equal_the_slices(len in 1usize..9000, a in 0u64..100, b in 0u64..100, diff in proptest::option::of(0usize..9000)) {
        let rig = rig();
        let data = noise(len, 5);
        rig.put(SRC + a, &data);
        rig.put(DST + b, &data);
        let diff = diff.filter(|at| *at < len);
        if let Some(at) = diff {
            rig.put(DST + b + at as u64, &[!data[at]]);
        }
        let record = rig.run(&compare(SRC + a, DST + b, len as u32));
        prop_assert_eq!(record.status, status::SUCCESS);
        prop_assert_eq!(record.result, u8::from(diff.is_some()));
        prop_assert_eq!(record.bytes_completed, diff.unwrap_or(0) as u32);
    }
}
