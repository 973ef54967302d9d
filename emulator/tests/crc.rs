//! CRC: check vectors through the device, seeds, chaining, partial values.

mod common;

use common::*;
use idxd_sys::{Descriptor, flag, status};
use proptest::prelude::*;

const CHECK: &[u8] = b"123456789";

fn value(rig: &Rig, d: &Descriptor) -> u64 {
    let record = rig.run(d);
    assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 0));
    record.op_specific[0]
}

/// The specification's description, bit by bit.
fn oracle(flags: u32, seed: u64, bytes: &[u8]) -> u64 {
    let wide = flags & flag::CRC_64 != 0;
    let (width, poly) = if wide { (64, 0xad93_d235_94c9_3659) } else { (32, 0x1edc_6f41) };
    let mask = u64::MAX >> (64 - width);
    let reflect = |v: u64| v.reverse_bits() >> (64 - width);
    let raw = flags & flag::CRC_BYPASS_INVERT != 0;
    let mut state = if raw { seed & mask } else { !reflect(seed & mask) & mask };
    for byte in bytes {
        let byte = if flags & flag::CRC_BYPASS_REFLECT != 0 { *byte } else { byte.reverse_bits() };
        state ^= u64::from(byte) << (width - 8);
        for _ in 0..8 {
            state = if state >> (width - 1) == 1 { (state << 1 & mask) ^ poly } else { state << 1 };
        }
    }
    if raw { state } else { reflect(!state & mask) }
}

fn flag_sets() -> Vec<u32> {
    let flags = [flag::CRC_BYPASS_INVERT, flag::CRC_BYPASS_REFLECT, flag::CRC_64];
    (0..8).map(|n| (0..3).filter(|b| n >> b & 1 == 1).map(|b: usize| flags[b]).sum()).collect()
}

#[test]
fn check_vectors() {
    let rig = rig();
    rig.put(SRC, CHECK);
    let sum = |flags| value(&rig, &crc(SRC, 9, 0, flags));
    assert_eq!(sum(0), 0xe306_9283);
    assert_eq!(sum(flag::CRC_64), 0xae8b_1486_0a79_9888);
    assert_eq!(sum(flag::CRC_BYPASS_INVERT), 0x045f_c71a);
    assert_eq!(sum(flag::CRC_BYPASS_INVERT | flag::CRC_BYPASS_REFLECT), 0xc052_a8c8);
    assert_eq!(sum(flag::CRC_BYPASS_REFLECT), 0xa8f0_22a0);
    assert_eq!(value(&rig, &crc(DST, 32, 0, 0)), 0x8a91_36aa);
}

#[test]
fn a_copy_with_crc_copies_and_sums() {
    let rig = rig();
    rig.put(SRC, CHECK);
    assert_eq!(value(&rig, &copy_crc(SRC, DST + 1, 9, 0, 0)), 0xe306_9283);
    assert_eq!(rig.bytes(DST, 11), b"\x00123456789\x00");
}

#[test]
fn a_result_is_the_seed_for_the_rest() {
    let rig = rig();
    rig.put(SRC, CHECK);
    for flags in flag_sets() {
        let whole = value(&rig, &crc(SRC, 9, 0, flags));
        let head = value(&rig, &crc(SRC, 4, 0, flags));
        assert_eq!(value(&rig, &crc(SRC + 4, 5, head, flags)), whole);
    }
}

#[test]
fn a_seed_can_be_read_from_memory() {
    let rig = rig();
    rig.put(SRC, CHECK);
    rig.put(DST, &0x1234_5678_9abc_def0u64.to_le_bytes());
    for (flags, seed) in [(0, 0x9abc_def0), (flag::CRC_64, 0x1234_5678_9abc_def0)] {
        let d = crc(SRC, 9, 0, flags | flag::CRC_READ_SEED);
        let read = value(&rig, &Descriptor { op_specific: [0, DST, 0], ..d });
        assert_eq!(read, value(&rig, &crc(SRC, 9, seed, flags)));
        assert_eq!(read, oracle(flags, seed, CHECK));
    }
}

#[test]
fn a_fault_on_the_seed_ends_before_anything() {
    let rig = rig();
    let d = copy_crc(SRC, DST, 9, 0, flag::CRC_READ_SEED);
    let record = rig.run(&Descriptor { op_specific: [0, 0xdead_0000, 0], ..d });
    assert_eq!((record.status, record.bytes_completed), (status::PAGE_FAULT, 0));
    assert_eq!((record.fault_addr, record.fault_info >> 1), (0xdead_0000, 2));
}

#[test]
fn after_a_fault_the_value_is_the_seed_for_the_rest() {
    for flags in flag_sets() {
        let rig = rig();
        let data = noise(2 * PAGE as usize, 1);
        rig.put(SRC, &data);
        rig.absent(SRC + PAGE);
        let size = 2 * PAGE as u32 - 10;
        let first = rig.run(&copy_crc(SRC + 10, DST, size, 77, flags));
        assert_eq!((first.status, first.bytes_completed), (status::PAGE_FAULT, PAGE as u32 - 10));
        rig.memory.set_present(SRC + PAGE, PAGE, true).unwrap();
        let done = u64::from(first.bytes_completed);
        let rest = copy_crc(SRC + 10 + done, DST + done, size - done as u32, first.op_specific[0], flags);
        assert_eq!(value(&rig, &rest), oracle(flags, 77, &data[10..]));
        assert_eq!(rig.bytes(DST, data.len() - 10), data[10..]);
    }
}

#[test]
fn without_a_byte_done_there_is_no_value() {
    let rig = rig();
    rig.absent(SRC);
    let record = rig.run(&crc(SRC, 9, 55, 0));
    assert_eq!((record.status, record.bytes_completed, record.op_specific[0]), (status::PAGE_FAULT, 0, 0));
}

proptest! {
    #[test]
    fn any_region_seed_and_flags_equal_the_description(
        offset in 0u64..5000, len in 1usize..9000, seed: u64, set in 0usize..8, copy: bool,
    ) {
        let rig = rig();
        let flags = flag_sets()[set];
        let seed = if flags & flag::CRC_64 == 0 { seed & 0xffff_ffff } else { seed };
        let data = noise(len, seed as u32);
        rig.put(SRC + offset, &data);
        let d = if copy {
            copy_crc(SRC + offset, DST + 1, len as u32, seed, flags)
        } else {
            crc(SRC + offset, len as u32, seed, flags)
        };
        prop_assert_eq!(value(&rig, &d), oracle(flags, seed, &data));
        prop_assert_eq!(rig.bytes(DST + 1, len) == data, copy);
    }
}
