//! Every check a descriptor passes, one wrong thing at a time.

mod common;

use common::*;
use dsa_emulator::{Checks, Config, WqConfig, config};
use idxd_sys::{Descriptor, flag, opcode, status};
use zerocopy::IntoBytes;

/// A valid descriptor of each operation of the model.
fn valid() -> Vec<Descriptor> {
    vec![
        nop(),
        desc(opcode::DRAIN, 0),
        memmove(SRC, DST, 100),
        fill(DST, 7, 100),
        compare(SRC, DST, 100),
        compare_pattern(SRC, 0, 100),
        dualcast(SRC, DST, DST2, 100),
        crc(SRC, 100, 0, 0),
        copy_crc(SRC, DST, 100, 0, 0),
        cache_flush(DST, 100),
    ]
}

/// The same for operations with sizes of their own, and for those of the second generation.
fn more() -> Vec<Descriptor> {
    let mut list = vec![
        create_delta(SRC, DST, 64, DST2, 80),
        apply_delta(SRC, 10, DST, 64),
        translation_fetch(SRC, 100),
        dif(opcode::DIX_GEN, SRC, DST, 512, 0),
    ];
    list.extend(FIRST_DIF.map(|code| dif(code, SRC, DST, if code == opcode::DIF_INS { 512 } else { 520 }, 0)));
    list
}

const FIRST_DIF: [u8; 4] = [opcode::DIF_CHECK, opcode::DIF_INS, opcode::DIF_STRP, opcode::DIF_UPDT];

fn batch_of(rig: &Rig) -> Descriptor {
    rig.list(&[with_record(nop(), 1), with_record(nop(), 2)])
}

fn invalid_flags(rig: &Rig, d: &Descriptor) -> u32 {
    let record = rig.run(d);
    if record.status == status::BAD_FLAGS { record.op_specific[0] as u32 } else { 0 }
}

#[test]
fn the_valid_descriptors_are_valid() {
    for config in [Config::sapphire_rapids(), Config::granite_rapids()] {
        let second = config.version >= config::VERSION_2_0;
        let rig = rig_of(config);
        for d in valid().into_iter().chain(more()).chain([batch_of(&rig)]) {
            let later = [opcode::CR_DELTA, opcode::AP_DELTA, opcode::TRANSL_FETCH, opcode::DIX_GEN];
            let there = second || !later.contains(&d.opcode());
            let expected = if there { status::SUCCESS } else { status::BAD_OPCODE };
            assert_eq!(rig.status(&d), expected, "{}", opcode::name(d.opcode()).unwrap());
        }
    }
}

#[test]
fn opcodes_absent_from_device_or_queue_end_with_0x10() {
    let rig = rig_of(Config::sapphire_rapids().queue(WqConfig::shared(64).without(opcode::FILL)));
    let mut executed = 0;
    for code in 0..=255u8 {
        let d = Descriptor { xfer_size: 8, ..desc(code, 0) };
        if rig.status(&d) != status::BAD_OPCODE {
            executed += 1;
        }
    }
    assert_eq!(executed, 14, "fifteen operations less the one taken away");
    assert_eq!(rig.status(&fill(DST, 0, 8)), status::BAD_OPCODE);
}

#[test]
fn each_flag_is_allowed_for_exactly_the_operations_of_the_table() {
    use flag::*;
    let cc = CACHE_CONTROL | DEST_READBACK;
    let crc_bits = CRC_BYPASS_INVERT | CRC_BYPASS_REFLECT | CRC_64;
    let table = [
        (nop(), 0),
        (desc(opcode::DRAIN, 0), DRAIN_READBACK_1 | DRAIN_READBACK_2 | DRAIN_SUPPRESS_TC_A | DRAIN_SUPPRESS_TC_B),
        (memmove(SRC, DST, 100), BLOCK_ON_FAULT | cc | STRICT_ORDER | ADDR1_TC | ADDR2_TC),
        (fill(DST, 7, 100), BLOCK_ON_FAULT | cc | STRICT_ORDER | ADDR2_TC | FILL_16),
        (compare(SRC, DST, 100), BLOCK_ON_FAULT | CHECK_RESULT | ADDR1_TC | ADDR2_TC),
        (compare_pattern(SRC, 0, 100), BLOCK_ON_FAULT | CHECK_RESULT | ADDR1_TC),
        (dualcast(SRC, DST, DST2, 100), BLOCK_ON_FAULT | cc | STRICT_ORDER | ADDR1_TC | ADDR2_TC | ADDR3_TC),
        (crc(SRC, 100, 0, 0), BLOCK_ON_FAULT | ADDR1_TC | CRC_READ_SEED | crc_bits),
        (
            copy_crc(SRC, DST, 100, 0, 0),
            BLOCK_ON_FAULT | cc | STRICT_ORDER | ADDR1_TC | ADDR2_TC | ADDR3_TC | CRC_READ_SEED | crc_bits,
        ),
        (cache_flush(DST, 100), BLOCK_ON_FAULT | STRICT_ORDER | ADDR2_TC | DEST_READBACK),
    ];
    let copies = BLOCK_ON_FAULT | cc | STRICT_ORDER | ADDR1_TC | ADDR2_TC;
    let later = more().into_iter().map(|d| match d.opcode() {
        opcode::CR_DELTA => (d, copies | CHECK_RESULT | ADDR3_TC),
        opcode::TRANSL_FETCH => (d, BLOCK_ON_FAULT | FETCH_STRIDE),
        opcode::DIF_CHECK => (d, BLOCK_ON_FAULT | ADDR1_TC),
        _ => (d, copies),
    });
    let rig = rig();
    let batch = (batch_of(&rig), ADDR1_TC | BATCH_ERROR);
    for (d, specific) in table.into_iter().chain(later).chain([batch]) {
        let allowed = specific | CRAV | RCR | CR_TC;
        for bit in 0..24 {
            let expected = if allowed >> bit & 1 == 1 { 0 } else { 1 << bit };
            let d = with_flags(d, CR | 1 << bit);
            let found = invalid_flags(&rig, &d);
            assert_eq!(found, expected, "{} flag {bit}", opcode::name(d.opcode()).unwrap());
        }
    }
}

#[test]
fn flags_of_absent_capabilities_are_invalid() {
    let rig = rig_of(Config::sapphire_rapids());
    let check = |d: Descriptor, bit: u32| assert_eq!(invalid_flags(&rig, &with_flags(d, CR | bit)), bit);
    check(fill(DST, 7, 100), flag::FILL_16);
    check(crc(SRC, 100, 0, 0), flag::CRC_64);
    check(desc(opcode::DRAIN, 0), flag::DRAIN_READBACK_1);
    check(desc(opcode::DRAIN, 0), flag::DRAIN_READBACK_2);
    check(batch_of(&rig), flag::BATCH_ERROR);
    check(memmove(SRC, DST, 100), flag::BLOCK_ON_FAULT);
}

#[test]
fn traffic_class_selectors_follow_the_addresses_that_exist() {
    let rig = rig();
    let ok = |d: Descriptor, flags| assert_eq!(invalid_flags(&rig, &with_flags(d, CR | flags)), 0);
    let mut seeded = crc(SRC, 100, 0, 0);
    seeded.op_specific = [0, SRC, 0];
    ok(seeded, flag::CRC_READ_SEED | flag::ADDR3_TC);
    let drain = desc(opcode::DRAIN, 0);
    ok(Descriptor { src_addr: SRC, ..drain }, flag::DRAIN_READBACK_1 | flag::ADDR1_TC);
    ok(Descriptor { dst_addr: SRC, ..drain }, flag::DRAIN_READBACK_2 | flag::ADDR2_TC);
    let wrong = with_flags(drain, CR | flag::DRAIN_READBACK_2 | flag::ADDR1_TC);
    assert_eq!(invalid_flags(&rig, &wrong), flag::ADDR1_TC);
}

#[test]
fn cache_control_combinations_follow_version_and_capabilities() {
    let bits = |n: u32| {
        let pick = |bit: u32, flag: u32| if n & bit != 0 { flag } else { 0 };
        pick(1, flag::CACHE_CONTROL) | pick(2, flag::DEST_READBACK) | pick(4, flag::CACHE_CONTROL_3)
    };
    let accepted = |config: Config, d: Descriptor| {
        let rig = rig_of(config);
        (0..8).filter(|n| rig.status(&with_flags(d, CR | bits(*n))) == status::SUCCESS).collect::<Vec<_>>()
    };
    let mv = memmove(SRC, DST, 100);
    assert_eq!(accepted(Config::sapphire_rapids(), mv), [0, 1, 2, 3]);
    assert_eq!(accepted(Config::sapphire_rapids(), cache_flush(DST, 9)), [0, 2]);
    let mut third = Config::granite_rapids();
    third.version = config::VERSION_3_0;
    assert_eq!(accepted(third.clone(), mv), [0, 1, 2, 3, 6]);
    third.gencap |= config::gencap::DURABLE_WRITE;
    assert_eq!(accepted(third.clone(), mv), [0, 1, 2, 3, 4, 6]);
    assert_eq!(accepted(third.clone(), cache_flush(DST, 9)), [0, 2]);
    third.gencap &= !config::gencap::DEST_READBACK;
    assert_eq!(accepted(third, mv), [0, 1, 4]);
    let mut bare = Config::sapphire_rapids();
    bare.gencap &= !(config::gencap::CACHE_CONTROL | config::gencap::DEST_READBACK);
    assert_eq!(accepted(bare.clone(), mv), [0]);
    assert_eq!(accepted(bare, cache_flush(DST, 9)), [0]);
}

#[test]
fn a_record_must_have_an_address_to_be_requested() {
    let rig = rig();
    for bit in [flag::RCR, flag::CR_TC] {
        rig.device.clear_software_error();
        assert_eq!(rig.status(&with_flags(nop(), bit)), 0, "no address, no record");
        let error = rig.device.software_error().unwrap();
        assert_eq!((error.error, error.invalid_flags), (status::BAD_FLAGS, bit));
    }
}

#[test]
fn operations_with_a_result_need_a_requested_record() {
    let rig = rig();
    let need = [compare(SRC, DST, 9), compare_pattern(SRC, 0, 9), crc(SRC, 9, 0, 0), copy_crc(SRC, DST, 9, 0, 0)];
    let yields = |d: &Descriptor| matches!(d.opcode(), opcode::CR_DELTA | opcode::DIF_CHECK | opcode::DIX_GEN);
    let (with, without): (Vec<_>, Vec<_>) = more().into_iter().partition(yields);
    for d in need.into_iter().chain(with).chain([desc(opcode::DRAIN, 0)]) {
        assert_eq!(invalid_flags(&rig, &with_flags(d, flag::CRAV)), flag::RCR);
    }
    let plain = [nop(), memmove(SRC, DST, 9), fill(DST, 0, 9), dualcast(SRC, DST, DST2, 9), cache_flush(DST, 9)];
    for d in plain.into_iter().chain(without) {
        rig.clear(RECORDS);
        assert_eq!(rig.status(&with_flags(d, 0)), 0);
        assert_eq!(rig.status(&with_flags(d, flag::CRAV)), 0, "success without a request leaves no record");
    }
    assert_eq!(rig.device.software_error(), None);
}

#[test]
fn an_interrupt_handle_is_invalid() {
    let rig = rig();
    for d in valid().into_iter().chain(more()).chain([batch_of(&rig)]) {
        for bit in 0..16 {
            assert_eq!(rig.status(&Descriptor { int_handle: 1 << bit, ..d }), status::BAD_INT_HANDLE);
        }
    }
}

/// Bytes each operation uses besides flags, opcode, record address and interrupt handle.
fn used_bytes(d: &Descriptor) -> Vec<usize> {
    let ranges: &[(usize, usize)] = match d.opcode() {
        opcode::MEMMOVE | opcode::FILL => &[(16, 36)],
        opcode::COMPARE | opcode::COMPVAL => &[(16, 36), (40, 41)],
        opcode::DUALCAST => &[(16, 36), (40, 48)],
        opcode::CRCGEN => &[(16, 24), (32, 36), (40, 44)],
        opcode::COPY_CRC | opcode::AP_DELTA => &[(16, 36), (40, 44)],
        opcode::CFLUSH => &[(24, 36)],
        opcode::CR_DELTA => &[(16, 36), (40, 52), (56, 57)],
        opcode::DIF_CHECK => &[(16, 24), (32, 36), (40, 41), (42, 43), (48, 56)],
        opcode::DIF_INS | opcode::DIX_GEN => &[(16, 36), (41, 43), (56, 64)],
        opcode::DIF_STRP => &[(16, 36), (40, 41), (42, 43), (48, 56)],
        opcode::DIF_UPDT => &[(16, 36), (40, 43), (48, 64)],
        opcode::BATCH | opcode::TRANSL_FETCH => &[(16, 24), (32, 36)],
        _ => &[],
    };
    ranges.iter().flat_map(|(from, to)| *from..*to).collect()
}

#[test]
fn every_reserved_byte_is_checked_strictly_and_ignored_leniently() {
    for checks in [Checks::Strict, Checks::Lenient] {
        let rig = rig_of(Config::granite_rapids().checks(checks));
        let expected = if checks == Checks::Strict { status::RESERVED_FIELD } else { status::SUCCESS };
        for d in valid().into_iter().chain(more()).chain([batch_of(&rig)]) {
            let used = used_bytes(&d);
            for byte in (16..64).filter(|b| !used.contains(b) && !(36..38).contains(b)) {
                for bit in 0..8 {
                    let mut wrong = d;
                    wrong.as_mut_bytes()[byte] ^= 1 << bit;
                    let name = opcode::name(d.opcode()).unwrap();
                    assert_eq!(rig.status(&wrong), expected, "{name} byte {byte} bit {bit}");
                }
            }
        }
    }
}

#[test]
fn operation_flags_open_the_bytes_they_use() {
    let rig = rig();
    let high = Descriptor { op_specific: [5, 0, 0], ..fill(DST, 7, 100) };
    assert_eq!(rig.status(&high), status::RESERVED_FIELD);
    assert_eq!(rig.status(&with_flags(high, CR | flag::FILL_16)), status::SUCCESS);
    let wide = crc(SRC, 100, 1 << 40, 0);
    assert_eq!(rig.status(&wide), status::RESERVED_FIELD);
    assert_eq!(rig.status(&with_flags(wide, CR | flag::CRC_64)), status::SUCCESS);
    let seeded = Descriptor { op_specific: [0, SRC, 0], ..crc(SRC, 100, 0, 0) };
    assert_eq!(rig.status(&seeded), status::RESERVED_FIELD);
    assert_eq!(rig.status(&with_flags(seeded, CR | flag::CRC_READ_SEED)), status::SUCCESS);
    let stride = Descriptor { op_specific: [0, PAGE, 0], ..translation_fetch(SRC, 100) };
    assert_eq!(rig.status(&stride), status::RESERVED_FIELD);
    assert_eq!(rig.status(&with_flags(stride, CR | flag::FETCH_STRIDE)), status::SUCCESS);
    let beyond = Descriptor { op_specific: [0, PAGE | 1 << 32, 0], ..stride };
    assert_eq!(rig.status(&with_flags(beyond, CR | flag::FETCH_STRIDE)), status::RESERVED_FIELD);
}

#[test]
fn reserved_bits_of_the_flag_bytes_of_data_integrity() {
    for checks in [Checks::Strict, Checks::Lenient] {
        let rig = rig_of(Config::granite_rapids().checks(checks));
        let reserved = if checks == Checks::Strict { status::RESERVED_FIELD } else { status::SUCCESS };
        let list: Vec<_> = more().into_iter().filter(|d| d.opcode() >= opcode::DIF_CHECK).collect();
        assert_eq!(list.len(), 5);
        for d in list {
            for bit in 0..8 {
                let name = opcode::name(d.opcode()).unwrap();
                // Bits 1 and 0 choose another block size, bits 3 and 2 another guard.
                let mut dif_flags = d;
                dif_flags.set_op_u8(42, 1 << bit);
                let status = rig.status(&dif_flags);
                let expected = match bit {
                    0 | 1 => status::BAD_SIZE,
                    2 | 3 if checks_source(&d) => status::DIF_ERROR,
                    2 | 3 => status::SUCCESS,
                    _ => reserved,
                };
                assert_eq!(status, expected, "{name} DIF flag {bit}");
                if matches!(d.opcode(), opcode::DIF_INS | opcode::DIF_UPDT | opcode::DIX_GEN) {
                    let mut dest_flags = d;
                    dest_flags.set_op_u8(41, 1 << bit);
                    let expected = if bit < 3 { reserved } else { status::SUCCESS };
                    assert_eq!(rig.status(&dest_flags), expected, "{name} destination flag {bit}");
                }
            }
        }
    }
}

/// Whether an operation looks at the tuples in its source.
fn checks_source(d: &Descriptor) -> bool {
    matches!(d.opcode(), opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT)
}

#[test]
fn transfer_sizes_are_1_to_the_queues_maximum() {
    let rig = rig_of(Config::sapphire_rapids().queue(WqConfig::shared(8).max_transfer_size(4096)));
    for d in valid().into_iter().filter(|d| d.xfer_size != 0) {
        for (size, expected) in [
            (0, status::BAD_SIZE),
            (1, status::SUCCESS),
            (4096, status::SUCCESS),
            (4097, status::BAD_SIZE),
            (u32::MAX, status::BAD_SIZE),
        ] {
            // Compare and CRC of equal, zeroed memory succeed at any size.
            assert_eq!(rig.status(&Descriptor { xfer_size: size, ..d }), expected);
        }
    }
}

#[test]
fn overlap_rules() {
    let rig = rig();
    assert_eq!(rig.status(&memmove(SRC, SRC + 1, 100)), status::SUCCESS);
    let mut config = Config::sapphire_rapids();
    config.gencap &= !config::gencap::OVERLAPPING_COPY;
    let without = rig_of(config);
    for (src, dst, expected) in [
        (SRC, SRC + 99, status::OVERLAP),
        (SRC + 99, SRC, status::OVERLAP),
        (SRC, SRC, status::OVERLAP),
        (SRC, SRC + 100, status::SUCCESS),
        (SRC + 100, SRC, status::SUCCESS),
    ] {
        assert_eq!(without.status(&memmove(src, dst, 100)), expected);
        assert_eq!(rig.status(&copy_crc(src, dst, 100, 0, 0)), expected);
    }
    let wide = 2 * PAGE as u32;
    for d in [
        dualcast(SRC, SRC + PAGE, DST, wide),
        dualcast(SRC, DST, SRC + PAGE, wide),
        dualcast(SRC, DST, DST + PAGE, wide),
        dualcast(SRC, DST, DST, 8),
    ] {
        assert_eq!(rig.status(&d), status::OVERLAP);
    }
    assert_eq!(rig.status(&dualcast(SRC, DST, DST + PAGE, PAGE as u32)), status::SUCCESS);
}

#[test]
fn dualcast_destinations_agree_in_12_address_bits() {
    let rig = rig();
    for bit in 0..12 {
        assert_eq!(rig.status(&dualcast(SRC, DST, DST2 ^ 1 << bit, 8)), status::DUALCAST_ALIGN);
    }
    assert_eq!(rig.status(&dualcast(SRC, DST + 7, DST2 + PAGE + 7, 8)), status::SUCCESS);
}

#[test]
fn a_seed_in_memory_is_naturally_aligned() {
    let rig = rig();
    let seeded = |at: u64, flags: u32| {
        let d = Descriptor { op_specific: [0, at, 0], ..crc(SRC, 8, 0, flag::CRC_READ_SEED | flags) };
        rig.status(&d)
    };
    assert_eq!(seeded(SRC + 4, 0), status::SUCCESS);
    assert_eq!(seeded(SRC + 2, 0), status::ADDR_ALIGN);
    assert_eq!(seeded(SRC + 8, flag::CRC_64), status::SUCCESS);
    assert_eq!(seeded(SRC + 4, flag::CRC_64), status::ADDR_ALIGN);
    let copy = copy_crc(SRC, DST, 8, 0, flag::CRC_READ_SEED);
    assert_eq!(rig.status(&Descriptor { op_specific: [0, SRC + 1, 0], ..copy }), status::ADDR_ALIGN);
}

#[test]
fn batch_counts_and_lists() {
    let rig = rig_of(Config::sapphire_rapids().queue(WqConfig::shared(8).max_batch_size(4)));
    let batch = rig.list(&[with_flags(nop(), 0); 5]);
    for (count, expected) in [
        (0, status::BAD_COUNT),
        (1, status::BAD_COUNT),
        (2, status::SUCCESS),
        (4, status::SUCCESS),
        (5, status::BAD_COUNT),
        (u32::MAX, status::BAD_COUNT),
    ] {
        assert_eq!(rig.status(&Descriptor { xfer_size: count, ..batch }), expected);
    }
    for off in [1, 8, 32, 63] {
        let d = Descriptor { src_addr: LIST + off, xfer_size: 2, ..batch };
        assert_eq!(rig.status(&d), status::LIST_ALIGN);
    }
    let mut single = Config::sapphire_rapids();
    single.gencap |= config::gencap::BATCH_1;
    let rig = rig_of(single);
    let one = rig.list(&[with_flags(nop(), 0)]);
    assert_eq!(rig.status(&one), status::SUCCESS);
    assert_eq!(rig.status(&Descriptor { xfer_size: 0, ..one }), status::BAD_COUNT);
}

#[test]
fn a_misaligned_record_is_a_software_error_and_nothing_runs() {
    let rig = rig();
    rig.put(SRC, &[1; 8]);
    for offset in [1, 8, 16, 31] {
        rig.device.clear_software_error();
        let d = Descriptor { completion_addr: RECORDS + offset, ..memmove(SRC, DST, 8) };
        rig.submit(&d);
        rig.device.run_until_idle();
        let error = rig.device.software_error().unwrap();
        assert_eq!((error.error, error.addr, error.write), (status::CR_ALIGN, RECORDS + offset, false));
        assert_eq!(rig.bytes(RECORDS, 64), [0; 64]);
        assert_eq!(rig.bytes(DST, 8), [0; 8]);
    }
}

#[test]
fn an_unreachable_record_is_a_software_error_after_the_operation() {
    let rig = rig();
    rig.put(SRC, &[1; 8]);
    let d = Descriptor { completion_addr: 0xdead_0000, ..memmove(SRC, DST, 8) };
    rig.submit(&d);
    rig.device.run_until_idle();
    let error = rig.device.software_error().unwrap();
    assert_eq!((error.error, error.addr, error.write), (status::CR_FAULT, 0xdead_0000, true));
    assert_eq!(rig.bytes(DST, 8), [1; 8]);
}

#[test]
fn errors_without_a_record_address_are_software_errors() {
    let rig = rig();
    let d = with_flags(memmove(SRC, DST, 0), 0);
    rig.submit(&d);
    rig.device.run_until_idle();
    let error = rig.device.software_error().unwrap();
    assert_eq!((error.error, error.opcode, error.in_batch), (status::BAD_SIZE, opcode::MEMMOVE, false));
}

#[test]
fn without_a_request_only_failures_are_recorded() {
    let rig = rig();
    assert_eq!(rig.status(&with_flags(memmove(SRC, DST, 8), flag::CRAV)), 0);
    assert_eq!(rig.status(&with_flags(memmove(SRC, DST, 0), flag::CRAV)), status::BAD_SIZE);
    rig.absent(SRC);
    assert_eq!(rig.status(&with_flags(memmove(SRC, DST, 8), flag::CRAV)), status::PAGE_FAULT);
    let bad = with_flags(memmove(SRC, DST, 0), 0);
    let failing = rig.list(&[bad, bad]);
    assert_eq!(rig.status(&failing), status::BATCH_FAIL);
    assert_eq!(rig.status(&with_flags(failing, flag::CRAV)), 0, "0x05 counts as a success here");
}
