//! Every check that typed, scatter-gather and inter-domain descriptors pass, one wrong thing at a time.

mod common;
mod descriptors;

use common::*;
use descriptors::*;
use dsa_emulator::{Checks, Config, Device, PermissionEntry, WqConfig};
use idxd_sys::compute::compute_type::{ADD, AND, MAX};
use idxd_sys::compute::sgl_format::OFFSET_64;
use idxd_sys::compute::{compute_flag as cf, data_type as ty, dsacap0, dsacap1, dsacap2};
use idxd_sys::{Descriptor, flag, idpt, opcode, status};
use zerocopy::IntoBytes;

const SGL: Sgl = Sgl { at: LIST, entries: 4, format: OFFSET_64, base: SRC };
const I32: (u8, u8) = (ty::INT32, ty::INT32);

/// A valid descriptor of each operation, none of which names an entry of the permissions table if it need not.
fn valid() -> Vec<Descriptor> {
    let sum = reduce(SRC, DST, DST2, 25, I32, ADD, 0);
    vec![
        convert(SRC, DST, 25, I32, 0),
        sum,
        dualcast_of(sum, LIST),
        gather_reduce(SGL, DST, 25, I32, ADD, 0),
        gather(SGL, DST, 25, ty::INT32),
        scatter(DST, SGL, 25, ty::INT32),
        scatter_fill(7, SGL, 25, ty::INT32),
        update(0, Some((SRC, PAGE)), idpt::UPDATE_READ | idpt::UPDATE_WRITE),
        through(domain_copy(SRC, DST, 100), Some(0), None),
        through(domain_fill(7, DST, 100), None, Some(0)),
        through(domain_compare(SRC, DST, 100), Some(0), None),
        through(domain_compare_pattern(SRC, 0, 100), Some(0), None),
    ]
}

fn name(d: &Descriptor) -> &'static str {
    opcode::name(d.opcode()).unwrap()
}

/// Entry 0 lets the rig's client reach its own memory, and update the window.
fn rig_with(mut config: Config) -> Rig {
    config.inter_domain.request_handles = false;
    let rig = rig_of(config);
    open_entry(&rig);
    rig
}

fn open_entry(rig: &Rig) {
    let pasid = rig.client.info().pasid;
    rig.device.permissions().set(0, PermissionEntry::single(pasid, pasid).allow_update(true)).unwrap();
}

fn all_checks() -> Rig {
    rig_with(full())
}

fn invalid_flags(rig: &Rig, d: &Descriptor) -> u32 {
    let record = rig.run(d);
    if record.status == status::BAD_FLAGS { record.op_specific[0] as u32 } else { 0 }
}

#[test]
fn the_valid_descriptors_are_valid() {
    for checks in [Checks::Strict, Checks::Lenient] {
        let rig = rig_with(full().checks(checks));
        for d in valid() {
            open_entry(&rig);
            assert_eq!(rig.status(&d), status::SUCCESS, "{}", name(&d));
        }
    }
}

#[test]
fn each_flag_is_allowed_for_exactly_the_operations_of_the_table() {
    use flag::*;
    // Cache control 3 alone is a combination; the other two bits are, too.
    let write = BLOCK_ON_FAULT | CACHE_CONTROL | DEST_READBACK | CACHE_CONTROL_3 | STRICT_ORDER;
    let three = ADDR1_TC | ADDR2_TC | ADDR3_TC;
    let alternates = ALTERNATE_SOURCE | ALTERNATE_DESTINATION;
    let allowed = [
        write | CHECK_RESULT | ADDR1_TC | ADDR2_TC | alternates,
        write | CHECK_RESULT | three | INTER_DOMAIN_SELECTOR,
        write | CHECK_RESULT | three | INTER_DOMAIN_SELECTOR | REDUCE_DEST2_TC,
        write | CHECK_RESULT | three,
        write | three | alternates,
        write | three | alternates,
        write | ADDR2_TC | ADDR3_TC | ALTERNATE_DESTINATION,
        SUPPRESS_DRAIN,
        write | ADDR1_TC | ADDR2_TC | alternates,
        write | ADDR2_TC | ALTERNATE_DESTINATION | FILL_16,
        BLOCK_ON_FAULT | CHECK_RESULT | ADDR1_TC | ADDR2_TC | alternates,
        BLOCK_ON_FAULT | CHECK_RESULT | ADDR1_TC | ALTERNATE_SOURCE,
    ];
    let rig = all_checks();
    for (d, specific) in valid().into_iter().zip(allowed) {
        for bit in 0..24 {
            let expected = if (specific | CRAV | RCR | CR_TC) >> bit & 1 == 1 { 0 } else { 1 << bit };
            let found = invalid_flags(&rig, &with_flags(d, d.flags() | 1 << bit));
            assert_eq!(found, expected, "{} flag {bit}", name(&d));
        }
    }
}

#[test]
fn flags_that_must_be_set() {
    let rig = all_checks();
    let both = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    for (d, missing) in [
        (domain_copy(SRC, DST, 8), both),
        (domain_fill(0, DST, 8), flag::ALTERNATE_DESTINATION),
        (domain_compare(SRC, DST, 8), both),
        (domain_compare_pattern(SRC, 0, 8), flag::ALTERNATE_SOURCE),
    ] {
        assert_eq!(invalid_flags(&rig, &d), missing, "{}", name(&d));
    }
    for d in valid() {
        let compares = matches!(d.opcode(), opcode::INTER_DOMAIN_COMPARE | opcode::INTER_DOMAIN_COMPVAL);
        let unrequested = with_flags(d, d.flags() & !flag::RCR);
        assert_eq!(invalid_flags(&rig, &unrequested), if compares { flag::RCR } else { 0 }, "{}", name(&d));
    }
}

#[test]
fn flags_of_absent_capabilities_are_invalid() {
    let mut config = full();
    config.dsacap[0] &= !(0x7f << 8);
    config.gencap &= !dsa_emulator::config::gencap::FILL_16;
    let rig = rig_with(config);
    let alternates = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    let bits = [
        alternates,
        flag::INTER_DOMAIN_SELECTOR,
        flag::INTER_DOMAIN_SELECTOR,
        0,
        alternates,
        alternates,
        flag::ALTERNATE_DESTINATION,
    ];
    for (d, bits) in valid().into_iter().zip(bits) {
        assert_eq!(invalid_flags(&rig, &with_flags(d, d.flags() | bits)), bits, "{}", name(&d));
    }
    let fill = through(domain_fill(7, DST, 100), None, Some(0));
    assert_eq!(invalid_flags(&rig, &with_flags(fill, fill.flags() | flag::FILL_16)), flag::FILL_16);
    // Each bit of the register is for one operation.
    let of_operation = [
        dsacap0::INTER_DOMAIN_TYPE_CONV,
        dsacap0::INTER_DOMAIN_REDUCE,
        dsacap0::INTER_DOMAIN_REDUCE_DUALCAST,
        0,
        dsacap0::INTER_DOMAIN_GATHER_COPY,
        dsacap0::INTER_DOMAIN_SCATTER_COPY,
        dsacap0::INTER_DOMAIN_SCATTER_FILL,
    ];
    for (i, bit) in of_operation.into_iter().enumerate().filter(|(_, bit)| *bit != 0) {
        let mut config = full();
        config.dsacap[0] &= !(0x7f << 8);
        config.dsacap[0] |= bit;
        let rig = rig_with(config);
        for (j, (d, bits)) in valid().into_iter().zip(bits).enumerate() {
            let refused = invalid_flags(&rig, &with_flags(d, d.flags() | bits));
            assert_eq!(refused, if i == j { 0 } else { bits }, "{} {bit:#x}", name(&d));
        }
    }
}

/// Bytes that an operation uses, besides flags, opcode, record address and interrupt handle; nibbles apart.
fn is_used(d: &Descriptor, byte: usize, bit: u32) -> bool {
    let high = bit >= 4;
    let in_any = |ranges: &[(usize, usize)]| ranges.iter().any(|(from, to)| (*from..*to).contains(&byte));
    let copies = in_any(&[(16, 36), (40, 46), (48, 56)]) || byte == 56 && !high || byte == 59 && high;
    match d.opcode() {
        opcode::TYPE_CONV => in_any(&[(16, 36), (56, 57), (58, 59)]) || byte == 57 && high,
        opcode::REDUCE => in_any(&[(16, 36), (40, 48), (56, 59)]),
        opcode::REDUCE_DUALCAST => in_any(&[(16, 36), (40, 59)]),
        opcode::GATHER_REDUCE => in_any(&[(16, 36), (44, 46), (48, 59)]) || byte == 59 && high,
        opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => copies,
        opcode::UPDATE_WINDOW => in_any(&[(16, 32), (62, 64)]) || byte == 61 && !high,
        opcode::INTER_DOMAIN_COPY => in_any(&[(16, 36), (60, 62)]),
        opcode::INTER_DOMAIN_FILL => in_any(&[(16, 36), (62, 64)]),
        _ => in_any(&[(16, 36), (40, 41), (60, 62)]),
    }
}

#[test]
fn every_reserved_byte_is_checked_strictly_and_ignored_leniently() {
    for checks in [Checks::Strict, Checks::Lenient] {
        let rig = rig_with(full().checks(checks));
        for d in valid() {
            for byte in (16..64).filter(|byte| !(36..38).contains(byte)) {
                for bit in (0..8).filter(|bit| !is_used(&d, byte, *bit)) {
                    let mut wrong = d;
                    wrong.as_mut_bytes()[byte] ^= 1 << bit;
                    open_entry(&rig);
                    let expected = if checks == Checks::Strict { status::RESERVED_FIELD } else { status::SUCCESS };
                    assert_eq!(rig.status(&wrong), expected, "{} byte {byte} bit {bit}", name(&d));
                }
            }
        }
    }
}

#[test]
fn flags_open_the_fields_they_use() {
    let rig = all_checks();
    let fill = through(domain_fill(7, DST, 100), None, Some(0));
    let wide = Descriptor { op_specific: [9, 0, fill.op_specific[2]], ..fill };
    assert_eq!(rig.status(&wide), status::RESERVED_FIELD);
    assert_eq!(rig.status(&with_flags(wide, wide.flags() | flag::FILL_16)), status::SUCCESS);
    // A window that is not enabled has neither base nor size.
    for (base, size) in [(1, 0), (0, 1)] {
        let d = Descriptor { src_addr: base, dst_addr: size, ..update(0, None, idpt::UPDATE_READ) };
        assert_eq!(rig.status(&d), status::RESERVED_FIELD);
    }
    let lenient = rig_with(full().checks(Checks::Lenient));
    let d = Descriptor { src_addr: 1, dst_addr: 1, ..update(0, None, idpt::UPDATE_READ | idpt::UPDATE_WRITE) };
    assert_eq!(lenient.status(&d), status::SUCCESS);
    assert_eq!(lenient.status(&through(domain_copy(SRC, DST, 8), Some(0), None)), status::SUCCESS, "no trace of them");
    // A handle that nothing selects.
    let select = |selector: u8, first: u16, second: u16| {
        let d = reduce(SRC, DST, DST2, 4, I32, ADD, 0);
        let mut d = with_flags(d, d.flags() | flag::INTER_DOMAIN_SELECTOR);
        d.set_op_u8(59, selector);
        d.set_op_u16(60, first);
        d.set_op_u16(62, second);
        rig.status(&d)
    };
    assert_eq!(select(0b01, 0, 0), status::SUCCESS);
    assert_eq!(select(0b01, 0, 1), status::RESERVED_FIELD);
    assert_eq!(select(0b10, 1, 0), status::RESERVED_FIELD);
    // Values of a selector that there are not: none at all, 3, and what is not an operand of a reduce.
    assert_eq!(select(0, 0, 0), status::BAD_FIELD_VALUE);
    for shift in [0, 2, 4] {
        assert_eq!(select(0b11 << shift, 0, 0), status::BAD_FIELD_VALUE);
    }
    for number in 1..4u8 {
        assert_eq!(select(number << 6, 0, 0), status::BAD_FIELD_VALUE);
    }
}

#[test]
fn element_counts_and_their_products_are_1_to_the_queues_maximum() {
    let rig = rig_of(Config::diamond_rapids().queue(WqConfig::shared(8).max_transfer_size(4096)));
    for (types, count, expected) in [
        (I32, 1024, status::SUCCESS),
        (I32, 1025, status::BAD_SIZE),
        (I32, 0, status::BAD_SIZE),
        ((ty::INT8, ty::INT64), 512, status::SUCCESS),
        ((ty::INT8, ty::INT64), 513, status::BAD_SIZE),
        ((ty::INT64, ty::INT8), 513, status::BAD_SIZE),
        ((ty::INT64, ty::INT64), 0x2000_0001, status::BAD_SIZE),
        (I32, u32::MAX, status::BAD_SIZE),
    ] {
        let sum = reduce(SRC, DST, DST2, count, types, ADD, 0);
        for d in [convert(SRC, DST, count, types, 0), sum, dualcast_of(sum, LIST)] {
            assert_eq!(rig.status(&d), expected, "{types:?} {count}");
        }
    }
}

#[test]
fn operands_are_aligned_to_their_elements() {
    let rig = rig3();
    for (kind, align) in [(ty::INT16, 2), (ty::INT32, 4), (ty::FP64, 8)] {
        for off in 1..align {
            let other = if kind == ty::FP64 { ty::FP64 } else { ty::INT8 };
            assert_eq!(rig.status(&convert(SRC + off, DST, 4, (kind, other), 0)), status::ADDR_ALIGN);
            assert_eq!(rig.status(&convert(SRC, DST + off, 4, (other, kind), 0)), status::ADDR_ALIGN);
            let same = (kind, kind);
            for d in [
                reduce(SRC + off, DST, DST2, 4, same, ADD, 0),
                reduce(SRC, DST + off, DST2, 4, same, ADD, 0),
                reduce(SRC, DST, DST2 + off, 4, same, ADD, 0),
                dualcast_of(reduce(SRC, DST, DST2 + off, 4, same, ADD, 0), LIST + off),
            ] {
                assert_eq!(rig.status(&d), status::ADDR_ALIGN, "{}", name(&d));
            }
        }
        assert_eq!(rig.status(&convert(SRC + align, DST + align, 4, (kind, kind), 0)), status::SUCCESS);
    }
    let sum = |dst, dst2| rig.status(&dualcast_of(reduce(SRC, DST, dst, 4, (ty::INT8, ty::INT8), ADD, 0), dst2));
    for bit in 0..12 {
        assert_eq!(sum(DST2, LIST ^ 1 << bit), status::DUALCAST_ALIGN);
    }
    assert_eq!(sum(DST2 + 5, LIST + PAGE + 5), status::SUCCESS);
}

#[test]
fn a_destination_is_a_source_or_does_not_meet_it() {
    let rig = rig3();
    let i16s = (ty::INT16, ty::INT16);
    let (ok, bad) = (status::SUCCESS, status::OVERLAP);
    for (src, dst, types, expected) in [
        (SRC, SRC, i16s, ok),
        (SRC, SRC + 2, i16s, bad),
        (SRC + 2, SRC, i16s, bad),
        (SRC, SRC + 198, i16s, bad),
        (SRC, SRC + 200, i16s, ok),
        (SRC + 200, SRC, i16s, ok),
        (SRC, SRC, (ty::FP16, ty::FP32), bad),
        (SRC, SRC, (ty::INT16, ty::INT8), bad),
        (SRC + 396, SRC, (ty::INT16, ty::INT32), bad),
        (SRC + 400, SRC, (ty::INT16, ty::INT32), ok),
    ] {
        assert_eq!(rig.status(&convert(src, dst, 100, types, 0)), expected, "{src:#x} {dst:#x} {types:?}");
        let function = if ty::is_float(types.0) { MAX } else { AND };
        for d in [reduce(src, DST2, dst, 100, types, function, 0), reduce(DST2, src, dst, 100, types, function, 0)] {
            assert_eq!(rig.status(&d), expected);
            assert_eq!(rig.status(&dualcast_of(d, LIST + (dst & 0xfff))), expected);
        }
    }
    // Sources may meet each other; destinations may not, not even if they are the same.
    assert_eq!(rig.status(&reduce(SRC, SRC + 2, DST, 100, i16s, ADD, 0)), ok);
    let sum = reduce(SRC, DST, DST2, 3000, i16s, ADD, 0);
    assert_eq!(
        [DST2, DST2 + PAGE, DST2 + 2 * PAGE].map(|second| rig.status(&dualcast_of(sum, second))),
        [bad, bad, ok]
    );
    assert_eq!([SRC, SRC + PAGE].map(|second| rig.status(&dualcast_of(sum, second))), [ok, bad], "second in place");
}

/// Takes a capability away.
type TakeAway = fn(&mut [u64; 3]);

#[test]
fn types_functions_flags_and_roundings_must_be_offered() {
    let status_of = |change: TakeAway, d: &Descriptor| {
        let mut config = full();
        change(&mut config.dsacap);
        rig_of(config).status(d)
    };
    let floats = (ty::FP32, ty::FP16);
    let sum = |types, flags| reduce(SRC, DST, DST2, 4, types, ADD, flags);
    let cases: [(TakeAway, Descriptor, Descriptor); 12] = [
        (|c| c[1] &= !1, convert(SRC, DST, 4, (ty::INT8, ty::INT16), 0), convert(SRC, DST, 4, I32, 0)),
        (|c| c[1] &= !(1 << 1), convert(SRC, DST, 4, (ty::INT8, ty::INT16), 0), convert(SRC, DST, 4, I32, 0)),
        (|c| c[1] &= !(1 << 38), convert(SRC, DST, 4, floats, 0), convert(SRC, DST, 4, (ty::FP16, ty::FP32), 0)),
        (|c| c[1] &= !(1 << (48 + ADD)), sum(I32, 0), reduce(SRC, DST, DST2, 4, I32, MAX, 0)),
        (|c| c[2] &= !dsacap2::NEGATE, sum(I32, cf::NEGATE_1), sum(I32, cf::SIGNED)),
        (|c| c[2] &= !dsacap2::NEGATE, sum(I32, cf::NEGATE_2), sum(I32, 0)),
        (|c| c[2] &= !dsacap2::FLUSH_TO_ZERO, sum(floats, cf::FLUSH_TO_ZERO), sum(floats, cf::DENORMALS_ARE_ZERO)),
        (|c| c[2] &= !dsacap2::DENORMALS_ARE_ZERO, sum(floats, cf::DENORMALS_ARE_ZERO), sum(floats, cf::FLUSH_TO_ZERO)),
        (|c| c[2] &= !dsacap2::SIGNED, sum(I32, cf::SIGNED), sum(I32, cf::SATURATE)),
        (|c| c[2] &= !dsacap2::SATURATE, sum(I32, cf::SATURATE), sum(I32, cf::SIGNED)),
        (|c| c[2] &= !(1 << 12), sum(floats, cf::ROUND_NEAREST_EVEN), sum(floats, cf::ROUND_UP)),
        (|c| c[2] &= !(1 << 15), sum(floats, cf::ROUND_TOWARD_ZERO), sum(I32, 0)),
    ];
    for (i, (change, refused, taken)) in cases.into_iter().enumerate() {
        assert_eq!(status_of(change, &refused), status::BAD_FIELD_VALUE, "case {i}");
        assert_eq!(status_of(change, &taken), status::SUCCESS, "case {i}");
        assert_eq!(status_of(|_| {}, &refused), status::SUCCESS, "case {i}");
    }
    // What makes no sense, whatever the device has.
    let rig = rig3();
    for d in [
        convert(SRC, DST, 4, I32, cf::NEGATE_2),
        gather_reduce(SGL, DST, 4, I32, ADD, cf::NEGATE_2),
        sum((ty::FP32, ty::INT32), 0),
        sum(I32, cf::ROUND_UP),
        sum(floats, cf::SIGNED),
        sum(floats, 4 << 4),
        sum(floats, 1 << 9),
        reduce(SRC, DST, DST2, 4, floats, AND, 0),
        reduce(SRC, DST, DST2, 4, I32, 0, 0),
        reduce(SRC, DST, DST2, 4, I32, 2, 0),
        gather_reduce(SGL, DST, 4, I32, 15, 0),
    ] {
        assert_eq!(rig.status(&d), status::BAD_FIELD_VALUE, "{}", name(&d));
    }
    // Copies need a data type only for its size.
    assert!(dsacap1::has_data_type(rig.device.config().dsacap[1], ty::FP64));
    assert_eq!(status_of(|c| c[1] &= !(1 << ty::FP64), &gather(SGL, DST, 1, ty::FP64)), status::BAD_FIELD_VALUE);
    assert_eq!(status_of(|c| c[0] &= !(1 << 33), &gather(SGL, DST, 1, ty::FP64)), status::BAD_FIELD_VALUE);
}

#[test]
fn updates_are_not_for_batches_and_the_others_are() {
    let rig = all_checks();
    let members: Vec<_> = valid().into_iter().enumerate().map(|(i, d)| with_record(d, i as u64 + 1)).collect();
    // The list of the batch must not be the list of buffers.
    for (i, member) in members.iter().enumerate() {
        rig.put(DST2 + 8 * PAGE + 64 * i as u64, member.as_bytes());
    }
    let count = members.len() as u32;
    let batch = Descriptor { src_addr: DST2 + 8 * PAGE, xfer_size: count, ..desc(opcode::BATCH, 0) };
    open_entry(&rig);
    let record = rig.run(&batch);
    assert_eq!((record.status, record.bytes_completed), (status::BATCH_FAIL, count));
    for (i, member) in members.iter().enumerate() {
        let update = member.opcode() == opcode::UPDATE_WINDOW;
        let expected = if update { status::BAD_OPCODE } else { status::SUCCESS };
        assert_eq!(rig.record(RECORDS + 32 * (i as u64 + 1)).status, expected, "{}", name(member));
    }
}

#[test]
fn operations_absent_from_version_or_queue_end_with_0x10() {
    let rig = rig_of(Config::granite_rapids());
    for d in valid().iter().take(7) {
        assert_eq!(rig.status(d), status::BAD_OPCODE, "{}", name(d));
    }
    let rig = rig_of(Config::sapphire_rapids());
    assert!(valid().iter().all(|d| rig.status(d) == status::BAD_OPCODE));
    for d in valid() {
        let rig = rig_of(Config::diamond_rapids().queue(WqConfig::shared(8).without(d.opcode())));
        assert_eq!(rig.status(&d), status::BAD_OPCODE);
    }
}

#[test]
fn clients_see_what_the_device_offers() {
    let of = |config: Config| Device::new(config.manual()).unwrap().open(0).unwrap().info().clone();
    let three = of(Config::diamond_rapids().queue(WqConfig::shared(8).max_sgl_size(256)));
    assert_eq!((three.max_sgl_size, three.dsacap), (256, Config::diamond_rapids().dsacap));
    let two = of(Config::granite_rapids());
    assert_eq!((two.max_sgl_size, two.dsacap), (0, [0; 3]));
    assert_eq!(
        (two.op_config[0] >> 32 & 0x7a, two.op_config[0] >> 24 & 0x7f),
        (0x7a, 0),
        "inter-domain, nothing typed"
    );
}
