//! The arithmetic against the CPU, against the oracle, and against values worked out by hand.

use idxd_sys::compute::compute_type::{ADD, AND, MAX, MIN, OR, XOR};
use idxd_sys::compute::dsacap1::CONVERSIONS;
use idxd_sys::compute::{compute_flag as flag, data_type as ty, exception};
use proptest::prelude::*;

use super::{Plan, Stage, Value, oracle};

const ROUNDINGS: [u16; 4] = [flag::ROUND_NEAREST_EVEN, flag::ROUND_DOWN, flag::ROUND_UP, flag::ROUND_TOWARD_ZERO];
const FLOATS: [u8; 6] = [ty::FP8_E5M2, ty::FP8_E4M3, ty::FP16, ty::BF16, ty::FP32, ty::FP64];

fn plan(from: u8, to: u8, function: Option<u8>, flags: u16) -> Plan {
    Plan::new(from, to, function, flags, false).unwrap()
}

fn combine(kind: u8, function: u8, flags: u16, a: u64, b: u64) -> (u64, u8) {
    let Value { bits, exceptions } = plan(kind, kind, Some(function), flags).combine(a, b, Stage::Output);
    (bits, exceptions)
}

fn convert(from: u8, to: u8, flags: u16, element: u64) -> (u64, u8) {
    let Value { bits, exceptions } = plan(from, to, None, flags).convert(element);
    (bits, exceptions)
}

/// The oracle agrees about a sum, or about a conversion.
fn agrees(plan: &Plan, (from, to): (u8, u8), flags: u16, a: u64, b: Option<u64>) {
    let got = match b {
        Some(b) => plan.combine(a, b, Stage::Output),
        None => plan.convert(a),
    };
    let (bits, exceptions) = oracle::sum(from, to, flags, a, b);
    let same = match bits {
        Some(bits) => got.bits == bits,
        None => oracle::is_quiet_nan(to, got.bits),
    };
    assert!(
        same && got.exceptions == exceptions,
        "{from} to {to}, flags {flags:#x}: {a:#x} {b:x?} gave {got:x?}, not {bits:x?} {exceptions:#x}"
    );
}

#[test]
fn all_pairs_of_8_bit_floats_in_all_roundings() {
    for kind in [ty::FP8_E5M2, ty::FP8_E4M3] {
        for flags in ROUNDINGS {
            let plan = plan(kind, kind, Some(ADD), flags);
            for a in 0..256 {
                // Sums commute, but for which NaN it is.
                for b in a..256 {
                    agrees(&plan, (kind, kind), flags, a, Some(b));
                    let turned = plan.combine(b, a, Stage::Output);
                    let straight = plan.combine(a, b, Stage::Output);
                    assert!(
                        turned == straight
                            || turned.exceptions == exception::INVALID && straight.exceptions == exception::INVALID
                    );
                }
            }
        }
    }
}

#[test]
fn all_pairs_of_8_bit_floats_with_the_other_flags() {
    for kind in [ty::FP8_E5M2, ty::FP8_E4M3] {
        for flags in 1..16 {
            let plan = plan(kind, kind, Some(ADD), flags);
            for a in 0..256 {
                for b in (a % 7..256).step_by(7) {
                    agrees(&plan, (kind, kind), flags, a, Some(b));
                }
            }
        }
    }
}

#[test]
fn all_elements_of_8_and_16_bits_in_all_conversions() {
    let same = FLOATS.map(|kind| (kind, kind, 0));
    for (from, to, _) in CONVERSIONS.iter().copied().chain(same) {
        let Some(bits) = ty::size(from).map(|size| 8 * size).filter(|bits| *bits <= 16) else { continue };
        for rounding in ROUNDINGS {
            for others in [0, flag::FLUSH_TO_ZERO, flag::DENORMALS_ARE_ZERO | flag::NEGATE_1] {
                let flags = rounding | others;
                let plan = plan(from, to, None, flags);
                // Upwards nothing is rounded, and the other flags change little: a part will do.
                let step = if to >= ty::FP32 || others != 0 { 17 } else { 1 };
                for element in (0..1 << bits).step_by(step) {
                    agrees(&plan, (from, to), flags, element, None);
                }
            }
        }
    }
}

#[test]
fn widening_and_back_is_the_identity_for_every_number() {
    for (from, to, _) in CONVERSIONS.iter().copied().filter(|(from, to, _)| ty::size(*from) < ty::size(*to)) {
        let bits = 8 * ty::size(from).unwrap();
        for element in 0..1u64 << bits.min(16) {
            let element = if bits == 32 { element << 16 | element.rotate_left(5) & 0xffff } else { element };
            let wide = convert(from, to, 0, element);
            if wide.1 & exception::INVALID == 0 {
                assert_eq!(convert(to, from, 0, wide.0).0, element, "{from} to {to}: {element:#x}");
            }
        }
    }
}

/// Mostly numbers whose exponents are near each other, or at an end.
fn element(kind: u8) -> impl Strategy<Value = u64> {
    let bits = 8 * ty::size(kind).unwrap();
    let mask = u64::MAX >> (64 - bits);
    let fraction = match kind {
        ty::FP16 => 10,
        ty::BF16 => 7,
        ty::FP32 => 23,
        _ => 52,
    };
    let exponents = 1u64 << (bits - 1 - fraction);
    let near = (any::<u64>(), any::<bool>(), 0..80u64).prop_map(move |(noise, negative, distance)| {
        let exponent = (exponents / 2 + distance).min(exponents - 1);
        noise & ((1 << fraction) - 1) | exponent << fraction | u64::from(negative) << (bits - 1)
    });
    let edge = (
        prop_oneof![Just(0u64), Just(1), Just(2), Just(exponents - 2), Just(exponents - 1)],
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(move |(exponent, negative, noise)| {
            let digits = match noise % 5 {
                0 => 0,
                1 => 1,
                2 => u64::MAX,
                _ => noise >> 3,
            };
            digits & ((1 << fraction) - 1) | exponent << fraction | u64::from(negative) << (bits - 1)
        });
    prop_oneof![2 => near, 2 => edge, 1 => any::<u64>().prop_map(move |noise| noise & mask)]
}

fn typed_pair() -> impl Strategy<Value = (u8, u64, u64)> {
    prop_oneof![Just(ty::FP16), Just(ty::BF16), Just(ty::FP32), Just(ty::FP64)]
        .prop_flat_map(|kind| (Just(kind), element(kind), element(kind)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 3000 } else { 30_000 }))]

    #[test]
    fn sums_agree_with_the_oracle((kind, a, b) in typed_pair(), rounding in 0u16..4, others in 0u16..16) {
        let flags = rounding << 4 | others;
        agrees(&plan(kind, kind, Some(ADD), flags), (kind, kind), flags, a, Some(b));
        // A neighbour of the negative: nearly everything cancels.
        let near = (a ^ 1 << (8 * ty::size(kind).unwrap() - 1)) ^ 1;
        agrees(&plan(kind, kind, Some(ADD), flags), (kind, kind), flags, a, Some(near));
    }

    #[test]
    fn sums_in_another_type_are_rounded_once((kind, a, b) in typed_pair(), which in any::<prop::sample::Index>(), rounding in 0u16..4) {
        let targets: Vec<u8> = CONVERSIONS.iter().filter(|(from, ..)| *from == kind).map(|(_, to, _)| *to).collect();
        let (to, flags) = (targets[which.index(targets.len())], rounding << 4);
        agrees(&plan(kind, to, Some(ADD), flags), (kind, to), flags, a, Some(b));
        agrees(&plan(kind, to, None, flags), (kind, to), flags, a, None);
    }

    #[test]
    fn the_cpu_adds_alike(a: u32, b: u32, c: u64, d: u64, shift in 0u32..64) {
        // A denormal operand is reported beside a NaN as well.
        let invalid = |exceptions| exceptions & !exception::DENORMAL == exception::INVALID;
        for (a, b) in [(a, b), (a, a ^ b >> (shift % 32)), (a, (a ^ 1 << 31) ^ b >> (shift % 32))] {
            let sum = f32::from_bits(a) + f32::from_bits(b);
            let (bits, exceptions) = combine(ty::FP32, ADD, 0, u64::from(a), u64::from(b));
            let same = if sum.is_nan() { invalid(exceptions) } else { bits == u64::from(sum.to_bits()) };
            prop_assert!(same);
        }
        for (c, d) in [(c, d), (c, c ^ d >> shift), (c, (c ^ 1 << 63) ^ d >> shift)] {
            let sum = f64::from_bits(c) + f64::from_bits(d);
            let (bits, exceptions) = combine(ty::FP64, ADD, 0, c, d);
            let same = if sum.is_nan() { invalid(exceptions) } else { bits == sum.to_bits() };
            prop_assert!(same);
            #[allow(clippy::cast_possible_truncation)] // what is tested
            let narrow = f64::from_bits(c) as f32;
            let (bits, exceptions) = convert(ty::FP64, ty::FP32, 0, c);
            let same = if narrow.is_nan() { exceptions == exception::INVALID } else { bits == u64::from(narrow.to_bits()) };
            prop_assert!(same);
        }
    }

    #[test]
    fn the_cpu_finds_the_smaller_and_the_greater_alike(a: u64, b: u64, near: bool) {
        let b = if near { a ^ b >> 50 } else { b };
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        for (function, first) in [(MIN, x.total_cmp(&y).is_le()), (MAX, x.total_cmp(&y).is_ge())] {
            let (bits, exceptions) = combine(ty::FP64, function, 0, a, b);
            if x.is_nan() || y.is_nan() {
                prop_assert!(exceptions == exception::INVALID && f64::from_bits(bits).is_nan());
            } else {
                prop_assert_eq!(bits, if first { a } else { b });
            }
        }
    }

    #[test]
    fn integers_agree_with_wide_ones(a: u64, b: u64, from in 0u8..4, to in 0u8..4, function in prop::sample::select(vec![ADD, AND, OR, XOR, MIN, MAX]), flags in 0u16..16) {
        let flags = flags & 0b11 | (flags & 0b1100) << 5;
        let value = |element: u64, negate: u16| {
            let bytes = element.to_le_bytes();
            let value = match (from, flags & flag::SIGNED != 0) {
                (ty::INT8, true) => i128::from(bytes[0].cast_signed()),
                (ty::INT8, false) => i128::from(bytes[0]),
                (ty::INT16, true) => i128::from(i16::from_le_bytes([bytes[0], bytes[1]])),
                (ty::INT16, false) => i128::from(element as u16),
                (ty::INT32, true) => i128::from((element as u32).cast_signed()),
                (ty::INT32, false) => i128::from(element as u32),
                (_, true) => i128::from(element.cast_signed()),
                (_, false) => i128::from(element),
            };
            if flags & negate == 0 { value } else { -value }
        };
        let (x, y) = (value(a, flag::NEGATE_1), value(b, flag::NEGATE_2));
        let exact = match function {
            ADD => x + y,
            AND => x & y,
            OR => x | y,
            XOR => x ^ y,
            MIN => x.min(y),
            _ => x.max(y),
        };
        let bits = 8 * ty::size(to).unwrap();
        let (low, high) = if flags & flag::SIGNED != 0 {
            (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
        } else {
            (0, (1i128 << bits) - 1)
        };
        let fit = |exact: i128| {
            let fits = (low..=high).contains(&exact);
            let kept = match (fits, flags & flag::SATURATE != 0) {
                (false, true) if exact < low && flags & flag::SIGNED != 0 => low,
                (false, true) => high,
                _ => exact,
            };
            let bits = kept.cast_unsigned() as u64 & u64::MAX >> (64 - bits);
            Value { bits, exceptions: if fits { 0 } else { exception::OVERFLOW } }
        };
        prop_assert_eq!(plan(from, to, Some(function), flags).combine(a, b, Stage::Output), fit(exact));
        prop_assert_eq!(plan(from, to, None, flags).convert(a), fit(x));
    }
}

/// An element, what becomes of it, and the exceptions.
type Case = (u64, u64, u8);

#[test]
fn results_beyond_the_largest_number_follow_the_rounding_type() {
    let (inf, most) = (0x7f80_0000, 0x7f7f_ffff);
    let sign = 1u64 << 31;
    for (rounding, positive, negative) in [
        (flag::ROUND_NEAREST_EVEN, inf, sign | inf),
        (flag::ROUND_DOWN, most, sign | inf),
        (flag::ROUND_UP, inf, sign | most),
        (flag::ROUND_TOWARD_ZERO, most, sign | most),
    ] {
        assert_eq!(combine(ty::FP32, ADD, rounding, most, most), (positive, exception::OVERFLOW));
        assert_eq!(combine(ty::FP32, ADD, rounding, sign | most, sign | most), (negative, exception::OVERFLOW));
        // What is infinite from the beginning does not overflow.
        assert_eq!(combine(ty::FP32, ADD, rounding, inf, most), (inf, 0));
    }
}

#[test]
fn e4m3_has_no_infinity_and_one_nan_of_each_sign() {
    let cases: [Case; 8] = [
        (0x5f00, 0x7e, 0),                   // 448
        (0x5f40, 0x7e, 0),                   // 464, half way to 480: even
        (0x5f41, 0x7f, exception::OVERFLOW), // more
        (0xdf41, 0xff, exception::OVERFLOW),
        (0x7c00, 0x7f, exception::OVERFLOW), // infinity
        (0xfc00, 0xff, exception::OVERFLOW),
        (0x7e01, 0x7f, exception::INVALID),
        (0x1800, 0x01, exception::UNDERFLOW), // 2^-9, the smallest
    ];
    for (element, bits, exceptions) in cases {
        assert_eq!(convert(ty::FP16, ty::FP8_E4M3, 0, element), (bits, exceptions), "{element:#x}");
    }
    let clamped = Plan::new(ty::FP16, ty::FP8_E4M3, None, 0, true).unwrap();
    for (element, bits) in [(0x5f41, 0x7e), (0xdf41, 0xfe), (0x7c00, 0x7e), (0xfc00, 0xfe)] {
        assert_eq!(clamped.convert(element), Value { bits, exceptions: exception::OVERFLOW });
    }
    assert_eq!(clamped.convert(0xfe00), Value { bits: 0xff, exceptions: exception::INVALID });
    assert_eq!(convert(ty::FP16, ty::FP8_E4M3, flag::ROUND_TOWARD_ZERO, 0x6000), (0x7e, exception::OVERFLOW));
    assert_eq!(convert(ty::FP8_E4M3, ty::FP16, 0, 0xff), (0xfe00, exception::INVALID), "without a payload");
}

#[test]
fn nans_keep_sign_and_upper_payload_and_become_quiet() {
    let one = 0x3f80_0000;
    let (quiet, signalling) = (0xffd2_3456, 0x7f92_3456);
    assert_eq!(combine(ty::FP32, ADD, 0, one, quiet), (quiet, exception::INVALID));
    assert_eq!(combine(ty::FP32, ADD, 0, signalling, one), (signalling | 1 << 22, exception::INVALID));
    for function in [ADD, MIN, MAX] {
        assert_eq!(
            combine(ty::FP32, function, 0, signalling, quiet),
            (signalling | 1 << 22, exception::INVALID),
            "the first"
        );
    }
    assert_eq!(combine(ty::FP32, ADD, flag::NEGATE_2, one, quiet), (quiet ^ 1 << 31, exception::INVALID));
    assert_eq!(convert(ty::FP32, ty::FP16, 0, quiet), (0xfe91, exception::INVALID));
    assert_eq!(convert(ty::FP32, ty::FP64, 0, signalling), (0x7ffa_468a_c000_0000, exception::INVALID));
    assert_eq!(convert(ty::FP32, ty::FP32, 0, signalling), (signalling | 1 << 22, exception::INVALID));
    let infinity = 0x7f80_0000;
    assert_eq!(combine(ty::FP32, ADD, flag::NEGATE_2, infinity, infinity), (0xffc0_0000, exception::INVALID));
    // A denormal number beside it is reported as well, unless it counts as zero.
    for function in [ADD, MIN, MAX] {
        let both = exception::INVALID | exception::DENORMAL;
        assert_eq!(combine(ty::FP32, function, 0, 1, quiet), (quiet, both));
        assert_eq!(combine(ty::FP32, function, 0, quiet, 1), (quiet, both));
        assert_eq!(combine(ty::FP32, function, flag::DENORMALS_ARE_ZERO, 1, quiet), (quiet, exception::INVALID));
    }
}

#[test]
fn denormal_operands_and_results_follow_their_flags() {
    let (denormal, normal) = (0x0040_0000, 0x0080_0000);
    let (d, u) = (exception::DENORMAL, exception::UNDERFLOW);
    assert_eq!(combine(ty::FP32, ADD, 0, denormal, 1), (denormal + 1, d | u));
    assert_eq!(combine(ty::FP32, ADD, 0, denormal, denormal), (normal, d), "the result is normal");
    assert_eq!(combine(ty::FP32, ADD, flag::DENORMALS_ARE_ZERO, denormal, normal), (normal, 0));
    assert_eq!(combine(ty::FP32, ADD, flag::FLUSH_TO_ZERO, denormal, 1 << 31), (0, d | u));
    assert_eq!(combine(ty::FP32, ADD, flag::FLUSH_TO_ZERO | flag::NEGATE_1, normal + 1, normal), (1 << 31, u));
    // A zero that was a denormal operand keeps its sign.
    assert_eq!(convert(ty::FP32, ty::FP64, flag::DENORMALS_ARE_ZERO, 1 << 31 | 5), (1 << 63, 0));
    assert_eq!(convert(ty::FP32, ty::FP64, 0, 1), (0x36a0_0000_0000_0000, d));
    assert_eq!(convert(ty::FP64, ty::FP32, 0, 0x3690_0000_0000_0000), (0, u), "half of the smallest: even");
    assert_eq!(convert(ty::FP64, ty::FP32, flag::ROUND_UP, 1), (1, d | u));
    assert_eq!(combine(ty::FP32, MIN, 0, denormal, normal), (denormal, d | u));
    // Rounded up to the smallest normal number, it is none below it.
    assert_eq!(convert(ty::FP64, ty::FP32, 0, 0x380f_ffff_ffff_ffff), (normal, 0));
}

#[test]
fn zeros_have_signs() {
    let (plus, minus) = (0, 1 << 31);
    assert_eq!(combine(ty::FP32, ADD, 0, minus, minus), (minus, 0));
    assert_eq!(combine(ty::FP32, ADD, 0, plus, minus), (plus, 0));
    assert_eq!(combine(ty::FP32, ADD, flag::ROUND_DOWN, plus, minus), (minus, 0));
    assert_eq!(combine(ty::FP32, ADD, flag::ROUND_DOWN | flag::NEGATE_2, 0x4000_0000, 0x4000_0000), (minus, 0));
    assert_eq!(combine(ty::FP32, ADD, flag::NEGATE_2, 0x4000_0000, 0x4000_0000), (plus, 0));
    for (function, expected) in [(MIN, minus), (MAX, plus)] {
        assert_eq!(combine(ty::FP32, function, 0, plus, minus), (expected, 0), "-0 is less than +0");
        assert_eq!(combine(ty::FP32, function, 0, minus, plus), (expected, 0));
        assert_eq!(combine(ty::FP32, function, flag::NEGATE_1, minus, minus), (expected, 0), "after negation");
        assert_eq!(combine(ty::FP32, function, flag::DENORMALS_ARE_ZERO, minus | 1, plus | 1), (expected, 0));
    }
}

#[test]
fn integers_wrap_or_saturate_and_say_so() {
    let signed = flag::SIGNED;
    let o = exception::OVERFLOW;
    for (flags, a, b, expected) in [
        (0, 200, 100, (44, o)),
        (flag::SATURATE, 200, 100, (255, o)),
        (signed, 100, 100, (200, o)),
        (signed | flag::SATURATE, 100, 100, (127, o)),
        (signed | flag::SATURATE, 0x80, 0xff, (0x80, o)),
        (flag::NEGATE_2, 7, 3, (4, 0)),
        (flag::NEGATE_2, 3, 7, (252, o)),
        // Negative, and unsigned: the table has one limit for it.
        (flag::NEGATE_2 | flag::SATURATE, 3, 7, (255, o)),
        (signed | flag::NEGATE_1, 0x80, 0x80, (0, 0)),
    ] {
        assert_eq!(combine(ty::INT8, ADD, flags, a, b), expected, "{flags:#x}");
    }
    assert_eq!(convert(ty::INT8, ty::INT64, signed, 0x80), (0xffff_ffff_ffff_ff80, 0));
    assert_eq!(convert(ty::INT8, ty::INT64, 0, 0x80), (0x80, 0));
    assert_eq!(convert(ty::INT64, ty::INT8, signed, 0x180), (0x80, o));
    assert_eq!(convert(ty::INT64, ty::INT16, signed | flag::SATURATE, u64::MAX << 20), (0x8000, o));
    assert_eq!(combine(ty::INT64, ADD, 0, u64::MAX, u64::MAX), (u64::MAX - 1, o));
    assert_eq!(convert(ty::INT64, ty::INT64, signed | flag::NEGATE_1, 1 << 63), (1 << 63, o));
}

#[test]
fn a_gather_of_one_converts_and_of_two_combines_and_steps_use_the_wider_type() {
    // 1, then 2^-12 twice: in the output type alone each would be lost.
    let narrow = plan(ty::FP32, ty::FP16, Some(ADD), 0).negating_alike();
    let (one, small) = (0x3f80_0000, 0x3980_0000);
    assert_eq!(narrow.combine(one, small, Stage::Output).bits, 0x3c00);
    let two = narrow.combine(one, small, Stage::Intermediate);
    assert_eq!((two.bits, two.exceptions), (0x3f80_0800, 0), "not rounded to the output");
    assert_eq!(narrow.accumulate(two.bits, small, Stage::Intermediate).bits, 0x3f80_1000);
    assert_eq!(narrow.accumulate(0x3f80_1000, small, Stage::Output).bits, 0x3c01);
    let wide = plan(ty::FP8_E4M3, ty::FP16, Some(ADD), 0);
    assert_eq!(wide.combine(0x7e, 0x7e, Stage::Intermediate).bits, 0x6300, "896 is no overflow");
    let integers = plan(ty::INT8, ty::INT32, Some(ADD), flag::NEGATE_1 | flag::SIGNED).negating_alike();
    let sum = integers.combine(0x80, 0x80, Stage::Intermediate);
    assert_eq!(sum, Value { bits: 256, exceptions: 0 });
    assert_eq!(integers.accumulate(sum.bits, 1, Stage::Output).bits, 255);
    // What was left by a step is no operand.
    let daz = plan(ty::FP32, ty::FP32, Some(ADD), flag::DENORMALS_ARE_ZERO);
    assert_eq!(daz.accumulate(1, 0, Stage::Output), Value { bits: 1, exceptions: exception::UNDERFLOW });
}

#[test]
fn plans_that_make_no_sense_are_none() {
    let none = |from, to, function, flags| Plan::new(from, to, function, flags, false).is_none();
    for code in 10..=15 {
        assert!(none(code, code, None, 0) && none(ty::INT8, code, None, 0) && none(code, ty::FP32, None, 0));
    }
    assert!(none(ty::INT32, ty::FP32, None, 0) && none(ty::FP32, ty::INT32, None, 0));
    for function in [0, 2, 8, 9, 10, 11, 12, 13, 14, 15] {
        assert!(none(ty::INT8, ty::INT8, Some(function), 0) && none(ty::FP32, ty::FP32, Some(function), 0));
    }
    for function in [AND, OR, XOR] {
        assert!(none(ty::FP16, ty::FP16, Some(function), 0));
    }
    for bit in 0..12 {
        let flag = 1 << bit;
        let both = flag::NEGATE_1 | flag::NEGATE_2;
        let integer = both | flag::SIGNED | flag::SATURATE;
        let float = both | flag::FLUSH_TO_ZERO | flag::DENORMALS_ARE_ZERO | flag::ROUND_DOWN | flag::ROUND_UP;
        assert_eq!(none(ty::INT8, ty::INT8, Some(ADD), flag), flag & integer == 0, "{bit}");
        assert_eq!(none(ty::FP32, ty::FP32, Some(ADD), flag), flag & float == 0, "{bit}");
    }
    for rounding in 4..8 {
        assert!(none(ty::FP32, ty::FP32, None, rounding << 4));
    }
}
