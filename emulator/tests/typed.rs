//! Type conversion, reduce and reduce with dualcast against plain Rust: values, exceptions, faults and resumption.

mod common;
mod descriptors;

use common::*;
use descriptors::*;
use dsa_emulator::{Config, Effect, FaultRule, Permission};
use idxd_sys::compute::compute_type::{ADD, AND, MAX, MIN, OR, XOR};
use idxd_sys::compute::{compute_flag as cf, data_type as ty, exception};
use idxd_sys::{CompletionRecord, Descriptor, flag, status};
use proptest::prelude::*;

const P: u32 = PAGE as u32;

fn words(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    words(values.iter().map(|value| value.to_bits()))
}

#[test]
fn elements_are_converted_one_by_one() {
    let rig = rig3();
    rig.put(SRC, &floats(&[1.0, -2.5, 0.1, 65504.0]));
    assert_eq!(rig.status(&convert(SRC, DST, 4, (ty::FP32, ty::FP16), 0)), status::SUCCESS);
    assert_eq!(rig.bytes(DST, 10), [0x00, 0x3c, 0x00, 0xc1, 0x66, 0x2e, 0xff, 0x7b, 0, 0]);
    let back = rig.run(&convert(DST, DST2, 4, (ty::FP16, ty::FP32), 0));
    assert_eq!(back, CompletionRecord { status: status::SUCCESS, ..CompletionRecord::default() });
    assert_eq!(rig.bytes(DST2, 16), floats(&[1.0, -2.5, 0.099_975_586, 65504.0]));
    rig.put(SRC, &[0x80, 0x7f, 0xff]);
    let signed = convert(SRC, DST, 3, (ty::INT8, ty::INT32), cf::SIGNED);
    assert_eq!(rig.status(&signed), status::SUCCESS);
    assert_eq!(rig.bytes(DST, 16), words([0xffff_ff80, 0x7f, 0xffff_ffff, 0]));
}

#[test]
fn exceptions_are_collected_and_become_the_status_if_asked_for() {
    let rig = rig3();
    rig.put(SRC, &floats(&[1.0, f32::INFINITY, f32::MAX, f32::from_bits(1)]));
    rig.put(DST, &floats(&[1.0, f32::NEG_INFINITY, f32::MAX, 0.0]));
    let all = [
        (1, 0),
        (2, exception::INVALID),
        (3, exception::INVALID | exception::OVERFLOW),
        (4, exception::INVALID | exception::OVERFLOW | exception::DENORMAL | exception::UNDERFLOW),
    ];
    for (count, exceptions) in all {
        let d = reduce(SRC, DST, DST2, count, (ty::FP32, ty::FP32), ADD, 0);
        let record = rig.run(&d);
        assert_eq!((record.status, record.result, record.bytes_completed), (status::SUCCESS, exceptions, 0));
        let expected = if exceptions == 0 { status::SUCCESS } else { status::SUCCESS_FALSE };
        let record = rig.run(&with_flags(d, CR | flag::CHECK_RESULT));
        assert_eq!((record.status, record.result), (expected, exceptions));
    }
    assert_eq!(rig.bytes(DST2, 16), words([2.0f32.to_bits(), 0xffc0_0000, f32::INFINITY.to_bits(), 1]));
}

#[test]
fn every_function_and_flag_reaches_the_arithmetic() {
    let rig = rig3();
    let (a, b) = ([200, 5, 0x0f, 0x80], [100, 7, 0xf1, 0x80]);
    rig.put(SRC, &a);
    rig.put(DST, &b);
    let (o, i8) = (exception::OVERFLOW, ty::INT8);
    for (function, flags, expected, exceptions) in [
        (ADD, 0, [44, 12, 0, 0], o),
        (ADD, cf::SATURATE, [255, 12, 255, 255], o),
        (ADD, cf::SIGNED, [44, 12, 0, 0], o),
        (ADD, cf::SIGNED | cf::SATURATE, [44, 12, 0, 0x80], o),
        (ADD, cf::NEGATE_2, [100, 254, 30, 0], o),
        (ADD, cf::NEGATE_1 | cf::SIGNED, [156, 2, 226, 0], o),
        (AND, 0, [64, 5, 1, 0x80], 0),
        (OR, 0, [236, 7, 0xff, 0x80], 0),
        (XOR, 0, [172, 2, 0xfe, 0], 0),
        (MIN, 0, [100, 5, 0x0f, 0x80], 0),
        (MIN, cf::SIGNED, [200, 5, 0xf1, 0x80], 0),
        (MAX, 0, [200, 7, 0xf1, 0x80], 0),
        (MAX, cf::SIGNED, [100, 7, 0x0f, 0x80], 0),
    ] {
        let record = rig.run(&reduce(SRC, DST, DST2, 4, (i8, i8), function, flags));
        assert_eq!(
            (record.status, rig.bytes(DST2, 5)),
            (status::SUCCESS, [&expected[..], &[0]].concat()),
            "{function} {flags:#x}"
        );
        assert_eq!(record.result, exceptions, "{function} {flags:#x}");
    }
    // 1 and a quarter of its last place, in four roundings; a denormal number, flushed or taken for zero.
    rig.put(SRC, &floats(&[1.0, -1.0, f32::from_bits(1)]));
    rig.put(DST, &floats(&[3e-8, -3e-8, 0.0]));
    let one = 1.0f32.to_bits();
    let minus = one | 1 << 31;
    for (flags, expected) in [
        (cf::ROUND_NEAREST_EVEN, [one, minus, 1]),
        (cf::ROUND_DOWN, [one, minus + 1, 1]),
        (cf::ROUND_UP, [one + 1, minus, 1]),
        (cf::ROUND_TOWARD_ZERO, [one, minus, 1]),
        (cf::FLUSH_TO_ZERO, [one, minus, 0]),
        (cf::DENORMALS_ARE_ZERO, [one, minus, 0]),
    ] {
        let d = reduce(SRC, DST, DST2, 3, (ty::FP32, ty::FP32), ADD, flags);
        assert_eq!((rig.status(&d), rig.bytes(DST2, 12)), (status::SUCCESS, words(expected)), "{flags:#x}");
    }
}

#[test]
fn e4m3_overflow_follows_the_configuration() {
    for (clamp, expected) in [(false, 0x7f), (true, 0x7e)] {
        let mut config = full();
        config.choices.clamp_e4m3 = clamp;
        let rig = rig_of(config);
        rig.put(SRC, &floats(&[1e6]));
        let record = rig.run(&convert(SRC, DST, 1, (ty::FP32, ty::FP8_E4M3), 0));
        assert_eq!((record.result, rig.bytes(DST, 1)), (exception::OVERFLOW, vec![expected]));
    }
}

#[test]
fn every_conversion_that_the_device_has_runs_and_no_other() {
    let rig = rig3();
    let dsacap1 = rig.device.config().dsacap[1];
    for from in 0..16 {
        for to in 0..16 {
            let offered = idxd_sys::compute::dsacap1::has_conversion(dsacap1, from, to);
            let expected = if offered { status::SUCCESS } else { status::BAD_FIELD_VALUE };
            assert_eq!(rig.status(&convert(SRC, DST, 3, (from, to), 0)), expected, "{from} to {to}");
        }
    }
}

/// A page that is taken away, the operand number of the fault, and whether the access is a write.
type Place = (u64, u8, bool);

/// Two pages for each operand.
fn operations() -> Vec<(Descriptor, Vec<Place>)> {
    let (source, second) = ((SRC + PAGE, 1, false), (DST + PAGE, 2, false));
    let whole = |d: Descriptor| Descriptor { dst_addr: DST2, ..d };
    let sum = reduce(SRC, DST, DST2, 2 * P / 4, (ty::INT32, ty::INT32), ADD, 0);
    vec![
        (whole(convert(SRC, DST, 2 * P / 4, (ty::INT32, ty::INT32), 0)), vec![source, (DST2 + PAGE, 3, true)]),
        (sum, vec![source, second, (DST2 + PAGE, 3, true)]),
        (dualcast_of(sum, LIST), vec![source, second, (DST2 + PAGE, 3, true), (LIST + PAGE, 4, true)]),
    ]
}

#[test]
fn each_operand_faults_and_nothing_beyond_the_bytes_completed_is_written() {
    for (d, places) in operations() {
        for (page, operand, write) in places {
            for (bof, code) in [(0, status::PAGE_FAULT), (flag::BLOCK_ON_FAULT, status::PAGE_RESPONSE)] {
                let rig = rig3();
                rig.put(SRC, &noise(2 * PAGE as usize, 1));
                rig.put(DST, &noise(2 * PAGE as usize, 2));
                let d = with_flags(d, d.flags() | bof);
                rig.absent(page);
                let record = rig.run(&d);
                let expected = code | if write { status::FAULT_WRITE } else { 0 };
                assert_eq!((record.status, record.fault_addr, record.fault_info), (expected, page, operand << 1));
                assert_eq!(record.bytes_completed, P);
                rig.memory.set_present(page, PAGE, true).unwrap();
                for target in [DST2, LIST] {
                    assert_eq!(rig.bytes(target + PAGE, PAGE as usize), vec![0; PAGE as usize]);
                }
                // The rest.
                let mut rest =
                    Descriptor { src_addr: d.src_addr + PAGE, dst_addr: d.dst_addr + PAGE, xfer_size: P / 4, ..d };
                for addr in &mut rest.op_specific[..2] {
                    *addr += if *addr == 0 { 0 } else { PAGE };
                }
                assert_eq!(rig.status(&rest), status::SUCCESS);
                let resumed = (rig.bytes(DST2, 2 * PAGE as usize), rig.bytes(LIST, 2 * PAGE as usize));
                assert_eq!(rig.status(&d), status::SUCCESS);
                assert!(resumed == (rig.bytes(DST2, 2 * PAGE as usize), rig.bytes(LIST, 2 * PAGE as usize)));
            }
        }
    }
}

#[test]
fn bytes_completed_count_the_source_and_exceptions_come_with_a_partial_completion() {
    let rig = rig3();
    rig.put(SRC, &[0x7f; 2 * PAGE as usize]);
    rig.absent(DST + PAGE);
    let widening = rig.run(&convert(SRC, DST, P, (ty::INT8, ty::INT16), 0));
    assert_eq!((widening.bytes_completed, widening.fault_addr, widening.result), (P / 2, DST + PAGE, 0));
    let narrowing = rig.run(&convert(SRC, DST, P, (ty::INT16, ty::INT8), 0));
    assert_eq!((narrowing.status, narrowing.result), (status::SUCCESS, exception::OVERFLOW));
    rig.absent(SRC + PAGE);
    let narrowing = rig.run(&with_flags(convert(SRC, DST, P, (ty::INT16, ty::INT8), 0), CR | flag::CHECK_RESULT));
    assert_eq!(
        (narrowing.status, narrowing.bytes_completed, narrowing.result),
        (status::PAGE_FAULT, P, exception::OVERFLOW)
    );
}

/// In place, and with an injected fault in the middle of an element, the source of what is not done stays as it was.
#[test]
fn a_fault_inside_an_element_leaves_the_whole_element() {
    let in_place = reduce(SRC, DST, SRC, 64, (ty::INT64, ty::INT64), ADD, 0);
    for (d, at) in [(in_place, SRC + 100), (dualcast_of(in_place, DST2), DST2 + 100), (in_place, DST + 100)] {
        let rig = rig3();
        let (a, b) = (noise(512, 3), noise(512, 4));
        rig.put(SRC, &a);
        rig.put(DST, &b);
        rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(at..at + 1).limit(1));
        let record = rig.run(&d);
        assert_eq!((record.bytes_completed, record.fault_addr & 0xfff), (96, 100));
        assert_eq!(rig.bytes(SRC + 96, 416), a[96..]);
        let done = u64::from(record.bytes_completed);
        let mut rest = Descriptor { src_addr: SRC + done, dst_addr: DST + done, xfer_size: 64 - 12, ..d };
        rest.op_specific[0] += done;
        rest.op_specific[1] += if rest.op_specific[1] == 0 { 0 } else { done };
        assert_eq!(rig.status(&rest), status::SUCCESS);
        let sums = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        let sums: Vec<u8> =
            sums.flat_map(|(x, y)| u64::from_le_bytes(*x).wrapping_add(u64::from_le_bytes(*y)).to_le_bytes()).collect();
        assert!(rig.bytes(SRC, 512) == sums);
    }
}

#[test]
fn block_on_fault_continues_when_the_page_request_is_granted() {
    let rig = rig3();
    rig.put(SRC, &noise(2 * PAGE as usize, 5));
    for base in [SRC, DST] {
        rig.absent(base + PAGE);
        rig.memory.set_resolvable(base + PAGE, PAGE, true).unwrap();
    }
    let d = convert(SRC, DST, 2 * P, (ty::INT8, ty::INT8), 0);
    assert_eq!(rig.status(&with_flags(d, BLOCKING)), status::SUCCESS);
    assert_eq!(rig.bytes(DST, 2 * PAGE as usize), rig.bytes(SRC, 2 * PAGE as usize));
    assert_eq!(rig.device.counters().page_faults, 2);
}

#[test]
fn counters_count_the_source() {
    let rig = rig3();
    rig.run(&convert(SRC, DST, 100, (ty::INT32, ty::INT8), 0));
    rig.memory.protect(DST, PAGE, Permission::ReadOnly).unwrap();
    rig.run(&convert(SRC, DST, 100, (ty::INT32, ty::INT8), 0));
    assert_eq!((rig.device.counters().bytes, rig.device.counters().failed), (400, 1));
}

fn sum(kind: u8, a: &[u8], b: &[u8]) -> Vec<u8> {
    let parts = |bytes: &[u8]| -> Vec<u64> {
        bytes.chunks(size(kind) as usize).map(|c| c.iter().rev().fold(0, |v, byte| v << 8 | u64::from(*byte))).collect()
    };
    let add = |(a, b): (u64, u64)| match kind {
        ty::FP32 => u64::from((f32::from_bits(a as u32) + f32::from_bits(b as u32)).to_bits()),
        ty::FP64 => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
        _ => a.wrapping_add(b),
    };
    let sums = parts(a).into_iter().zip(parts(b)).map(add);
    sums.flat_map(|sum| sum.to_le_bytes()[..size(kind) as usize].to_vec()).collect()
}

/// Clears the exponent's upper bits, so that nothing is infinite or a NaN.
fn tamed(kind: u8, mut bytes: Vec<u8>) -> Vec<u8> {
    if ty::is_float(kind) {
        bytes.iter_mut().skip(size(kind) as usize - 1).step_by(size(kind) as usize).for_each(|byte| *byte &= 0xbf);
    }
    bytes
}

proptest! {
    #[test]
    fn sums_equal_plain_ones(
        kind in prop::sample::select(vec![ty::INT8, ty::INT16, ty::INT32, ty::INT64, ty::FP32, ty::FP64]),
        count in 1usize..1500, offsets: [u8; 3], chunk in 1usize..3000, place in 0u8..4, seed: u32,
    ) {
        let rig = rig_of(Config::diamond_rapids().chunk(chunk));
        let len = count * size(kind) as usize;
        let [a, b] = [0, 1].map(|i| tamed(kind, noise(len, seed ^ i)));
        let [from, second, to] = [(SRC, 0), (DST, 1), (DST2, 2)].map(|(base, i)| base + u64::from(offsets[i]) * size(kind));
        rig.put(from, &a);
        rig.put(second, &b);
        let to = [to, from, second, to][usize::from(place)];
        let d = reduce(from, second, to, count as u32, (kind, kind), ADD, 0);
        // A second destination must agree with the first in 12 bits.
        let twice = place == 3;
        let other = LIST + (to & 0xfff);
        let record = rig.run(&if twice { dualcast_of(d, other) } else { d });
        prop_assert_eq!(record.status, status::SUCCESS);
        let expected = sum(kind, &a, &b);
        prop_assert!(rig.bytes(to, len) == expected);
        prop_assert!(!twice || rig.bytes(other, len) == expected);
        prop_assert_eq!(rig.bytes(to + len as u64, 8), [0; 8], "nothing behind it");
    }

    #[test]
    fn random_faults_can_always_be_resumed(count in 1u64..3000, seed: u64, in_place: bool) {
        let rig = rig_of(Config::diamond_rapids().seed(seed));
        rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.5));
        let (a, b) = (noise(4 * count as usize, 1), noise(4 * count as usize, 2));
        rig.put(SRC, &a);
        rig.put(DST, &b);
        let to = if in_place { SRC } else { DST2 };
        let (mut done, mut rounds) = (0, 0);
        while done < count {
            let left = (count - done) as u32;
            let d = reduce(SRC + 4 * done, DST + 4 * done, to + 4 * done, left, (ty::INT32, ty::INT32), ADD, 0);
            let record = rig.run(&d);
            prop_assert_eq!(record.bytes_completed % 4, 0);
            done += if record.status == status::SUCCESS { u64::from(left) } else { u64::from(record.bytes_completed) / 4 };
            rounds += 1;
            prop_assert!(rounds < 200);
        }
        prop_assert!(rig.bytes(to, 4 * count as usize) == sum(ty::INT32, &a, &b));
    }
}

#[test]
fn a_page_that_is_refused_is_named_however_many_spans_are_in_use() {
    // Pieces of 16 bytes: four for each operand, more than an engine looks at again after a page request.
    let rig = rig_of(full().chunk(16));
    rig.absent(DST2);
    let d = dualcast_of(reduce(SRC, SRC + PAGE, DST, 64, (ty::INT8, ty::INT8), ADD, 0), DST2);
    let record = rig.run(&with_flags(d, CR | flag::BLOCK_ON_FAULT));
    let expected = (status::PAGE_RESPONSE | status::FAULT_WRITE, DST2, 4 << 1, 0);
    assert_eq!((record.status, record.fault_addr, record.fault_info, record.bytes_completed), expected);
}
