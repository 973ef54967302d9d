//! Type conversion and reduce: types, functions, exceptions, values that fields cannot have.

use idxd_sys::compute::{compute_flag, compute_type, data_type as ty, dsacap1, dsacap2, exception};
use idxd_sys::{Descriptor, flag, opcode, status};

use super::derived;
use super::rules::{FAR, sample, with};
use crate::bench::Space;
use crate::case::{Case, Check, Need, ensure, typed_bit};
use crate::lab::{Area, Lab, flagged, has_status};
use crate::oracle::number;
use crate::sample::typed::with_types;

const CONVERT: u8 = opcode::TYPE_CONV;
const REDUCE: u8 = opcode::REDUCE;
const DUALCAST: u8 = opcode::REDUCE_DUALCAST;

/// Elements of the small cases.
const COUNT: u64 = 40;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&[CONVERT, REDUCE, DUALCAST]);
    cases.extend([
        with(CONVERT, status::SUCCESS, "between all types of integers", "8.3.19", integers),
        with(CONVERT, status::SUCCESS, "between types of floating-point numbers", "8.3.19", floats),
        with(CONVERT, status::SUCCESS, "in place, with nothing to convert", "8.3.19", |lab| {
            let sample = sample(lab, CONVERT)?;
            let d = Descriptor { dst_addr: sample.d.src_addr, ..sample.d };
            has_status(&lab.run(&with_types(d, ty::INT16, ty::INT16, 0, 0))?, status::SUCCESS)?;
            lab.verify()
        }),
        with(CONVERT, status::SUCCESS_FALSE, "an overflow, with check result", "8.2.2", |lab| {
            let d = converting(lab, (ty::INT16, &[256 + 44; 4]), (ty::INT8, &[44; 4]), 0);
            exceptional(lab, &d)
        })
        .needing(&[Need::Typed(1, 1 << ty::INT8)]),
    ]);
    for code in [REDUCE, DUALCAST] {
        let section = crate::derived::section(code);
        cases.extend([
            with(code, status::SUCCESS, "each function of integers and of floats", section, move |lab| {
                functions(lab, code)
            }),
            with(code, status::SUCCESS_FALSE, "an overflow, with check result", "8.2.2", move |lab| {
                let elements = [0xffff_ffff; 4];
                let (d, _) =
                    reducing(lab, code, ty::INT32, [&elements, &elements], compute_type::ADD, &[0xffff_fffe; 4]);
                exceptional(lab, &d)
            }),
        ]);
    }
    cases.push(with(
        DUALCAST,
        status::DUALCAST_ALIGN,
        "destinations at different places of their pages",
        "5.4",
        |lab| {
            let sample = sample(lab, DUALCAST)?;
            let [first, second, types] = sample.d.op_specific;
            // In bits 11:2: bits 1:0 would break the alignment of the elements as well.
            let d = Descriptor { op_specific: [first, second + 4, types], ..sample.d };
            lab.refuses(&d, status::DUALCAST_ALIGN).map(drop)
        },
    ));
    for code in [CONVERT, REDUCE, DUALCAST] {
        cases.extend([
            with(
                code,
                status::BAD_FIELD_VALUE,
                "types, functions and flags that it does not have",
                "5.4",
                move |lab| wrong_fields(lab, code),
            ),
            with(code, status::BAD_SIZE, "more elements than a transfer can have", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                let [first, second, types] = sample.d.op_specific;
                let far = |used: u64, at: usize| if used == 0 { 0 } else { FAR[at] };
                let d = Descriptor {
                    src_addr: FAR[0],
                    dst_addr: FAR[1],
                    xfer_size: (lab.caps.max_transfer_size / 4 + 1) as u32,
                    op_specific: [far(first, 2), far(second, 3), types],
                    ..sample.d
                };
                lab.refuses(&d, status::BAD_SIZE).map(drop)
            }),
            with(code, status::ADDR_ALIGN, "addresses that are no multiples of the elements", "5.4", move |lab| {
                let d = sample(lab, code)?.d;
                lab.refuses(&Descriptor { src_addr: d.src_addr + 1, ..d }, status::ADDR_ALIGN)?;
                lab.refuses(&Descriptor { dst_addr: d.dst_addr + 2, ..d }, status::ADDR_ALIGN)?;
                let [first, second, types] = d.op_specific;
                // The second destination alone would break another rule.
                let second = if second == 0 { 0 } else { second + 2 };
                if code != CONVERT {
                    let op_specific = [first + 2, second, types];
                    lab.refuses(&Descriptor { op_specific, ..d }, status::ADDR_ALIGN)?;
                }
                Ok(())
            }),
            with(code, status::OVERLAP, "a destination that is not quite the source", "5.4", move |lab| {
                let d = sample(lab, code)?.d;
                if code == CONVERT {
                    // Of one type, but elsewhere; in place, but of two types.
                    let aside = with_types(d, ty::INT16, ty::INT16, 0, 0);
                    lab.refuses(&Descriptor { dst_addr: d.src_addr + 2, ..aside }, status::OVERLAP)?;
                    let place = d.src_addr + 2;
                    let d = Descriptor { src_addr: place, dst_addr: place, ..d };
                    return lab.refuses(&d, status::OVERLAP).map(drop);
                }
                let [first, second, types] = d.op_specific;
                for source in [d.src_addr, d.dst_addr] {
                    // The second destination keeps its place within the page.
                    let moved = source + 8;
                    let second = if second == 0 { 0 } else { (second & !0xfff) + (moved & 0xfff) };
                    let op_specific = [moved, second, types];
                    lab.refuses(&Descriptor { op_specific, ..d }, status::OVERLAP)?;
                }
                if code == DUALCAST {
                    lab.refuses(&Descriptor { op_specific: [first, first, types], ..d }, status::OVERLAP)?;
                }
                Ok(())
            }),
        ]);
    }
    cases
}

/// A conversion of elements, and what the lab expects of it.
fn converting(
    lab: &mut Lab<'_>,
    (from, elements): (u8, &[u64]),
    (to, results): (u8, &[u64]),
    flags: u16,
) -> Descriptor {
    let source = lab.area_of(16, &number::bytes(from, elements));
    let bytes = number::bytes(to, results);
    let target = lab.area(Space::Own, 24, bytes.len() as u64);
    lab.expect(target, &bytes);
    let d = Descriptor {
        src_addr: source.addr,
        dst_addr: target.addr,
        xfer_size: elements.len() as u32,
        ..lab.descriptor(CONVERT, 0)
    };
    with_types(d, from, to, 0, flags)
}

/// A reduce of elements of one type, and what the lab expects of it.
fn reducing(
    lab: &mut Lab<'_>,
    code: u8,
    kind: u8,
    sources: [&[u64]; 2],
    function: u8,
    results: &[u64],
) -> (Descriptor, Vec<Area>) {
    let [one, two] = sources.map(|elements| lab.area_of(16, &number::bytes(kind, elements)));
    let bytes = number::bytes(kind, results);
    let count = if code == REDUCE { 1 } else { 2 };
    let targets: Vec<Area> = (0..count).map(|_| lab.area(Space::Own, 24, bytes.len() as u64)).collect();
    for target in &targets {
        lab.expect(*target, &bytes);
    }
    let d = Descriptor {
        src_addr: one.addr,
        dst_addr: two.addr,
        xfer_size: results.len() as u32,
        op_specific: [targets[0].addr, targets.get(1).map_or(0, |area| area.addr), 0],
        ..lab.descriptor(code, 0)
    };
    (with_types(d, kind, kind, function, 0), targets)
}

/// An operation that ends with an overflow: its result is there, and only check result makes a difference.
fn exceptional(lab: &mut Lab<'_>, d: &Descriptor) -> Check {
    for (flags, becomes) in [(0, status::SUCCESS), (flag::CHECK_RESULT, status::SUCCESS_FALSE)] {
        let record = lab.run(&flagged(*d, flags, 0))?;
        has_status(&record, becomes)?;
        ensure!(record.result == exception::OVERFLOW, "exceptions {:#x}", record.result);
        lab.verify()?;
    }
    Ok(())
}

/// All pairs of integer types that the device has: wrapped around, and saturated.
fn integers(lab: &mut Lab<'_>) -> Check {
    let types = lab.caps.dsacap[1];
    let offered = |code: &u8| dsacap1::has_data_type(types, *code) && ty::is_integer(*code);
    let codes: Vec<u8> = ty::ALL.iter().copied().filter(offered).collect();
    for flags in [0, compute_flag::SIGNED, compute_flag::SATURATE, compute_flag::SIGNED | compute_flag::SATURATE] {
        let signed = flags & compute_flag::SIGNED != 0;
        let saturates = flags & compute_flag::SATURATE != 0;
        if signed && !typed_bit(&lab.caps, 2, dsacap2::SIGNED)
            || saturates && !typed_bit(&lab.caps, 2, dsacap2::SATURATE)
        {
            continue;
        }
        for (&from, &to) in codes.iter().flat_map(|from| codes.iter().map(move |to| (from, to))) {
            let mut elements: Vec<u64> = (0..COUNT).map(|_| number::wrapped(from, i128::from(lab.number()))).collect();
            elements.extend([
                0,
                1,
                number::wrapped(from, -1),
                number::wrapped(from, 0x7f),
                number::wrapped(from, 0x80),
            ]);
            let converted = |element: &u64| {
                let value = number::integer(from, *element, signed);
                if saturates { number::saturated(to, value, signed) } else { number::wrapped(to, value) }
            };
            let results: Vec<u64> = elements.iter().map(converted).collect();
            let d = converting(lab, (from, &elements), (to, &results), flags);
            has_status(&lab.run(&d)?, status::SUCCESS)?;
            lab.verify().map_err(|failure| failure.at(&format!("types {from} to {to}, flags {flags:#x}")))?;
        }
    }
    Ok(())
}

/// All conversions between floats that the device has, of numbers that every type can hold, rounded to nearest.
fn floats(lab: &mut Lab<'_>) -> Check {
    for &(from, to, _) in dsacap1::CONVERSIONS {
        if !dsacap1::has_conversion(lab.caps.dsacap[1], from, to) || !dsacap2::has_rounding(lab.caps.dsacap[2], 0) {
            continue;
        }
        let mut elements = Vec::new();
        for i in 0..COUNT {
            // Between 1/4 and 8, of either sign: no overflow, no denormal.
            let fraction = f64::from(lab.number() as u32) / 32_f64.exp2();
            let exponent = (i % 5) as i32 - 2;
            let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
            elements.push(number::nearest(from, sign * (1.0 + fraction) * f64::from(exponent).exp2()));
        }
        let results: Vec<u64> =
            elements.iter().map(|element| number::nearest(to, number::value(from, *element))).collect();
        let d = converting(lab, (from, &elements), (to, &results), compute_flag::ROUND_NEAREST_EVEN);
        let record = lab.run(&d)?;
        has_status(&record, status::SUCCESS)?;
        ensure!(record.result == 0, "exceptions {:#x}, types {from} to {to}", record.result);
        lab.verify().map_err(|failure| failure.at(&format!("types {from} to {to}")))?;
    }
    Ok(())
}

fn functions(lab: &mut Lab<'_>, code: u8) -> Check {
    for &function in compute_type::ALL {
        let [_, types, rounding] = lab.caps.dsacap;
        if !dsacap1::has_compute_type(types, function) {
            continue;
        }
        let mut pair = |mask: u64| (0..COUNT).map(|_| lab.number() & mask).collect::<Vec<u64>>();
        let (a, b) = (pair(0x3fff_ffff), pair(0x3fff_ffff));
        let integer = |(a, b): (&u64, &u64)| match function {
            compute_type::ADD => a + b,
            compute_type::AND => a & b,
            compute_type::OR => a | b,
            compute_type::XOR => a ^ b,
            compute_type::MIN => *a.min(b),
            _ => *a.max(b),
        };
        let results: Vec<u64> = a.iter().zip(&b).map(integer).collect();
        let (d, _) = reducing(lab, code, ty::INT32, [&a, &b], function, &results);
        has_status(&lab.run(&d)?, status::SUCCESS)?;
        lab.verify()?;
        let float = dsacap1::has_data_type(types, ty::FP32) && dsacap2::has_rounding(rounding, 0);
        if compute_type::is_bitwise(function) || !float {
            continue;
        }
        let float = |bits: &u64| f32::from_bits(*bits as u32);
        // Between 1 and 2.
        let [a, b] = [a, b].map(|all| all.iter().map(|bits| 0x3f80_0000 | bits & 0x7f_ffff).collect::<Vec<u64>>());
        let results: Vec<u64> = a
            .iter()
            .zip(&b)
            .map(|(a, b)| match function {
                compute_type::ADD => float(a) + float(b),
                compute_type::MIN => float(a).min(float(b)),
                _ => float(a).max(float(b)),
            })
            .map(|sum| u64::from(sum.to_bits()))
            .collect();
        let (d, _) = reducing(lab, code, ty::FP32, [&a, &b], function, &results);
        has_status(&lab.run(&d)?, status::SUCCESS)?;
        lab.verify()?;
    }
    Ok(())
}

/// Wrong values of types, function and flags.
pub(super) fn wrong_fields(lab: &mut Lab<'_>, code: u8) -> Check {
    let sample = sample(lab, code)?;
    let (from, to) = (sample.d.op_u8(56) & 0xf, sample.d.op_u8(56) >> 4);
    let add = sample.d.op_u8(57) & 0xf;
    let reserved_flag = 1 << 9;
    let integers_round = compute_flag::ROUND_UP;
    let mut wrong = vec![
        (15, to, add, 0),
        (from, 15, add, 0),
        // Neither integer nor float alike.
        (from, ty::FP32, add, 0),
        (from, to, add, reserved_flag),
        (from, to, add, integers_round),
        (from, to, add, compute_flag::FLUSH_TO_ZERO),
        (from, to, add, compute_flag::DENORMALS_ARE_ZERO),
    ];
    if code != CONVERT {
        wrong.extend([(from, to, 0, 0), (from, to, 2, 0), (from, to, 15, 0)]);
    }
    for (from, to, function, flags) in wrong {
        let d = with_types(sample.d, from, to, function, flags);
        let place = || format!("types {from} and {to}, function {function}, flags {flags:#x}");
        lab.refuses(&d, status::BAD_FIELD_VALUE).map_err(|failure| failure.at(&place()))?;
    }
    Ok(())
}
