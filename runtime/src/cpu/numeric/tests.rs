//! The engine against the oracle, the fast kernels against the exact way, and a few numbers worked out by hand. Random
//! numbers are in `random`.

use std::ptr::null;

use super::oracle::{self, Input, answer};
use super::*;
use crate::cpu::guard::Guarded;
use idxd_sys::compute::{compute_flag as flag, compute_type as op, data_type as ty, exception};

pub(super) const FLOATS: [u8; 6] = [ty::FP8_E5M2, ty::FP8_E4M3, ty::FP16, ty::BF16, ty::FP32, ty::FP64];
pub(super) const ROUNDINGS: [u16; 4] =
    [flag::ROUND_NEAREST_EVEN, flag::ROUND_DOWN, flag::ROUND_UP, flag::ROUND_TOWARD_ZERO];

fn bytes(code: u8, elements: &[u64]) -> Vec<u8> {
    elements.iter().flat_map(|bits| bits.to_le_bytes()[..size(code)].to_vec()).collect()
}

fn elements(code: u8, bytes: &[u8]) -> Vec<u64> {
    let whole = |chunk: &[u8]| chunk.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
    bytes.chunks(size(code)).map(whole).collect()
}

/// Runs a step, with its kernel or without.
pub(super) fn run(step: &Step, first: &[u64], second: &[u64], fast: bool) -> (Vec<u64>, u8) {
    let (a, b) = (bytes(step.first.code, first), bytes(step.second.code, second));
    let mut out = vec![0xa5; first.len() * size(step.output)];
    let kernel = if fast { step.kernel() } else { None };
    // SAFETY: vectors of as many elements as there are in `first`, and in `second` if it is read.
    let exceptions = unsafe { step.run_with(kernel, a.as_ptr(), b.as_ptr(), &[out.as_mut_ptr()], first.len()) };
    (elements(step.output, &out), exceptions)
}

/// Holds a step against the oracle, both ways, element by element; exceptions in sum.
pub(super) fn check(step: &Step, operation: u8, flags: u16, first: &[u64], second: &[u64]) {
    let input =
        |operand: Operand, bits| Input { code: operand.code, bits, negate: operand.negate, fresh: operand.fresh };
    let mut expected = (Vec::new(), 0);
    for (index, &a) in first.iter().enumerate() {
        let second = step.operation.map(|_| input(step.second, second[index]));
        let Some((bits, exceptions)) = answer(operation, input(step.first, a), second, step.output, flags) else {
            return;
        };
        expected.0.push(bits);
        expected.1 |= exceptions;
    }
    for fast in [false, true] {
        let found = run(step, first, second, fast);
        if found != expected {
            let at = found.0.iter().zip(&expected.0).position(|(a, b)| a != b);
            let operands = at.map(|at| (first[at], second.get(at).copied()));
            panic!(
                "{step:?}, fast {fast}: operands {operands:x?}: found {:x?} {:#x}, expected {:x?} {:#x}",
                at.map(|at| found.0[at]),
                found.1,
                at.map(|at| expected.0[at]),
                expected.1
            );
        }
    }
}

pub(super) fn conversion(input: u8, output: u8, flags: u16) -> Step {
    Compute::conversion(input, output, flags).unwrap().convert()
}

pub(super) fn reduction(input: u8, output: u8, operation: u8, flags: u16) -> Step {
    Compute::reduction(input, output, operation, flags).unwrap().combine()
}

/// One operation on one pair, both ways.
fn one(step: &Step, a: u64, b: u64) -> (u64, u8) {
    let (slow, fast) = (run(step, &[a], &[b], false), run(step, &[a], &[b], true));
    assert_eq!(slow, fast);
    (slow.0[0], slow.1)
}

#[test]
fn what_the_tables_do_not_assign_is_refused() {
    for input in 0..16 {
        for output in 0..16 {
            let both = |kind: fn(u8) -> bool| kind(input) && kind(output);
            let valid = both(ty::is_integer) || both(ty::is_float);
            assert_eq!(Compute::conversion(input, output, 0).is_some(), valid, "{input} to {output}");
            for operation in 0..16 {
                let known = op::ALL.contains(&operation) && (ty::is_integer(input) || !op::is_bitwise(operation));
                assert_eq!(Compute::reduction(input, output, operation, 0).is_some(), valid && known);
            }
        }
    }
    for flags in 0..0x1000 {
        let valid = flags & flag::RESERVED == 0 && ROUNDINGS.contains(&(flags & flag::ROUNDING));
        assert_eq!(Compute::conversion(ty::FP32, ty::FP16, flags).is_some(), valid, "flags {flags:#x}");
    }
}

#[test]
fn integers_worked_out_by_hand() {
    let add = |input, output, flags| reduction(input, output, op::ADD, flags);
    let over = exception::OVERFLOW;
    assert_eq!(one(&add(ty::INT8, ty::INT8, 0), 200, 100), (44, over));
    assert_eq!(one(&add(ty::INT8, ty::INT16, 0), 200, 100), (300, 0));
    assert_eq!(one(&add(ty::INT8, ty::INT8, flag::SATURATE), 200, 100), (255, over));
    let signed = flag::SIGNED;
    assert_eq!(one(&add(ty::INT8, ty::INT8, signed), 200, 100), (44, 0)); // -56 + 100
    assert_eq!(one(&add(ty::INT8, ty::INT8, signed | flag::SATURATE), 0x80, 0xff), (0x80, over));
    assert_eq!(one(&add(ty::INT8, ty::INT64, signed), 0x80, 0xff), ((-129_i64).cast_unsigned(), 0));
    assert_eq!(one(&add(ty::INT64, ty::INT64, 0), u64::MAX, 1), (0, over));
    assert_eq!(one(&add(ty::INT64, ty::INT64, signed), u64::MAX, 1), (0, 0));
    // Subtraction is the sum with the second operand negated.
    let minus = flag::NEGATE_2;
    assert_eq!(one(&add(ty::INT16, ty::INT16, minus), 10, 3), (7, 0));
    assert_eq!(one(&add(ty::INT16, ty::INT16, minus), 3, 10), (0xfff9, over));
    assert_eq!(one(&add(ty::INT16, ty::INT16, minus | flag::SATURATE), 3, 10), (0xffff, over));
    assert_eq!(one(&add(ty::INT16, ty::INT16, minus | signed), 3, 10), (0xfff9, 0));
    // A negated minimum fits a wider type only.
    assert_eq!(one(&conversion(ty::INT8, ty::INT8, signed | flag::NEGATE_1), 0x80, 0), (0x80, over));
    assert_eq!(one(&conversion(ty::INT8, ty::INT16, signed | flag::NEGATE_1), 0x80, 0), (0x80, 0));
    assert_eq!(one(&conversion(ty::INT32, ty::INT8, 0), 0x1234, 0), (0x34, over));
    assert_eq!(one(&conversion(ty::INT32, ty::INT64, signed), 0xffff_fffe, 0), ((-2_i64).cast_unsigned(), 0));
    assert_eq!(one(&reduction(ty::INT8, ty::INT8, op::MIN, signed), 0xff, 1), (0xff, 0));
    assert_eq!(one(&reduction(ty::INT8, ty::INT8, op::MIN, 0), 0xff, 1), (1, 0));
    assert_eq!(one(&reduction(ty::INT8, ty::INT16, op::XOR, signed), 0xf0, 0x0f), (0xffff, 0));
}

#[test]
fn floats_worked_out_by_hand() {
    let (invalid, denormal, over, under) =
        (exception::INVALID, exception::DENORMAL, exception::OVERFLOW, exception::UNDERFLOW);
    let f = |value: f32| u64::from(value.to_bits());
    let add = |flags| reduction(ty::FP32, ty::FP32, op::ADD, flags);
    assert_eq!(one(&add(0), f(1.5), f(2.25)), (f(3.75), 0));
    assert_eq!(one(&add(flag::NEGATE_1), f(1.5), f(2.25)), (f(0.75), 0));
    // Rounding: 1 + 2^-24 lies in the middle of 1 and the number after it.
    let half = f(f32::EPSILON / 2.0);
    let next = f(1.0 + f32::EPSILON);
    for (rounding, up) in [(0, false), (1, false), (2, true), (3, false)] {
        assert_eq!(one(&add(ROUNDINGS[rounding]), f(1.0), half), (if up { next } else { f(1.0) }, 0));
        let both = flag::NEGATE_1 | flag::NEGATE_2;
        let up = rounding == 1;
        let expected = 1 << 31 | if up { next } else { f(1.0) };
        assert_eq!(one(&add(ROUNDINGS[rounding] | both), f(1.0), half), (expected, 0));
    }
    // Overflow ends at infinity or at the largest number, by rounding and sign.
    let (max, infinity) = (f(f32::MAX), f(f32::INFINITY));
    for (flags, expected) in
        [(0, infinity), (flag::ROUND_UP, infinity), (flag::ROUND_DOWN, max), (flag::ROUND_TOWARD_ZERO, max)]
    {
        assert_eq!(one(&add(flags), max, max), (expected, over));
    }
    let negative = 1 << 31;
    for (flags, expected) in
        [(0, infinity), (flag::ROUND_UP, max), (flag::ROUND_DOWN, infinity), (flag::ROUND_TOWARD_ZERO, max)]
    {
        assert_eq!(one(&add(flags), max | negative, max | negative), (expected | negative, over));
    }
    assert_eq!(one(&add(0), infinity, f(1.0)), (infinity, 0));
    // Zeros.
    assert_eq!(one(&add(0), f(0.0), f(-0.0)), (f(0.0), 0));
    assert_eq!(one(&add(flag::ROUND_DOWN), f(1.0), f(-1.0)), (f(-0.0), 0));
    assert_eq!(one(&add(0), f(-0.0), f(-0.0)), (f(-0.0), 0));
    for (operation, expected) in [(op::MIN, -0.0), (op::MAX, 0.0)] {
        let step = reduction(ty::FP32, ty::FP32, operation, 0);
        assert_eq!(one(&step, f(0.0), f(-0.0)), (f(expected), 0));
        assert_eq!(one(&step, f(-0.0), f(0.0)), (f(expected), 0));
    }
    // NaNs: the first one, made quiet; the default one.
    assert_eq!(one(&add(0), 0x7f80_0001, 0xffc1_2345), (0x7fc0_0001, invalid));
    assert_eq!(one(&add(0), f(1.0), 0xffc1_2345), (0xffc1_2345, invalid));
    assert_eq!(one(&add(0), infinity, infinity | negative), (0xffc0_0000, invalid));
    assert_eq!(one(&conversion(ty::FP32, ty::FP16, 0), 0xff80_2001, 0), (0xfe01, invalid));
    assert_eq!(one(&conversion(ty::FP32, ty::FP8_E4M3, 0), 0xff80_2001, 0), (0xff, invalid));
    assert_eq!(one(&conversion(ty::FP8_E4M3, ty::FP16, 0), 0x7f, 0), (0x7e00, invalid));
    assert_eq!(one(&conversion(ty::FP8_E5M2, ty::FP8_E5M2, 0), 0x7d, 0), (0x7f, invalid));
    // Denormals, in and out.
    let (daz, ftz) = (flag::DENORMALS_ARE_ZERO, flag::FLUSH_TO_ZERO);
    assert_eq!(one(&add(0), 1, 1), (2, denormal | under));
    assert_eq!(one(&add(daz), 1 | negative, f(0.0)), (0, 0));
    assert_eq!(one(&add(ftz), 1 | negative, 0), (negative, denormal | under));
    assert_eq!(one(&add(0), f(f32::MIN_POSITIVE), 1 | negative), (0x7f_ffff, denormal | under));
    assert_eq!(one(&add(0), 0x7fc0_0000, 1), (0x7fc0_0000, invalid | denormal));
    assert_eq!(one(&conversion(ty::FP32, ty::FP64, 0), 1, 0), (0x36a0_0000_0000_0000, denormal));
    // Below the smallest normal value of the output, and rounded up to it again.
    assert_eq!(one(&conversion(ty::FP32, ty::FP16, 0), f(6.0e-8), 0), (1, under));
    assert_eq!(one(&conversion(ty::FP32, ty::FP16, 0), f(1.0e-30), 0), (0, under));
    assert_eq!(one(&conversion(ty::FP32, ty::FP16, flag::ROUND_UP), f(1.0e-30), 0), (1, under));
    assert_eq!(one(&conversion(ty::FP32, ty::FP16, flag::ROUND_UP | ftz), f(1.0e-30), 0), (0, under));
    assert_eq!(one(&conversion(ty::FP32, ty::FP16, 0), f(6.103_515e-5), 0), (0x0400, 0));
}

#[test]
fn e4m3_has_a_nan_where_others_have_infinity() {
    let step = |flags| conversion(ty::FP32, ty::FP8_E4M3, flags);
    let f = |value: f32| u64::from(value.to_bits());
    let over = exception::OVERFLOW;
    assert_eq!(one(&step(0), f(448.0), 0), (0x7e, 0));
    assert_eq!(one(&step(0), f(464.0), 0), (0x7e, 0)); // a tie, to the even one
    assert_eq!(one(&step(0), f(464.1), 0), (0x7f, over));
    assert_eq!(one(&step(0), f(-1.0e9), 0), (0xff, over));
    assert_eq!(one(&step(flag::ROUND_TOWARD_ZERO), f(479.0), 0), (0x7e, 0));
    assert_eq!(one(&step(flag::ROUND_TOWARD_ZERO), f(480.0), 0), (0x7e, over));
    assert_eq!(one(&step(flag::ROUND_UP), f(449.0), 0), (0x7f, over));
    assert_eq!(one(&step(flag::ROUND_UP), f(-481.0), 0), (0xfe, over));
    assert_eq!(one(&step(flag::ROUND_TOWARD_ZERO), f(f32::INFINITY), 0), (0x7f, over));
    let add = |flags| reduction(ty::FP8_E4M3, ty::FP8_E4M3, op::ADD, flags);
    assert_eq!(one(&add(0), 0x7e, 0x7e), (0x7f, over));
    assert_eq!(one(&add(0), 0x78, 0x70), (0x7c, 0)); // 256 + 128
    assert_eq!(one(&add(0), 0x7f, 0x00), (0x7f, exception::INVALID));
}

#[test]
fn a_sum_is_rounded_once_on_its_way_to_a_narrower_type() {
    // The larger term lies in the middle of two numbers of the output type; the smaller one, lost in the type that the
    // CPU would add in, decides.
    let denormal = exception::DENORMAL;
    let cases = [
        (ty::FP16, ty::BF16, 0x7804, 0x0001, 0x4701, 0x4700, denormal),
        (ty::FP32, ty::BF16, 0x3f80_8000, 0x0d80_0000, 0x3f81, 0x3f80, 0),
        (ty::FP32, ty::FP16, 0x3f80_1000, 0x0d80_0000, 0x3c01, 0x3c00, 0),
        (ty::FP64, ty::FP32, 0x3ff0_0000_1000_0000, 0x3000_0000_0000_0000, 0x3f80_0001, 0x3f80_0000, 0),
    ];
    for (input, output, middle, little, above, below, exceptions) in cases {
        assert_eq!(one(&reduction(input, output, op::ADD, 0), middle, little), (above, exceptions));
        assert_eq!(one(&reduction(input, output, op::ADD, flag::NEGATE_2), middle, little), (below, exceptions));
    }
}

#[test]
fn every_pair_of_fp8_numbers() {
    for code in [ty::FP8_E5M2, ty::FP8_E4M3] {
        for operation in [op::ADD, op::MIN, op::MAX] {
            for first in 0..256 {
                let second: Vec<u64> = (0..256).collect();
                // The flags change from row to row; together with the random tests every mixture comes up.
                let rounding = if first % 3 == 0 { ROUNDINGS[first as usize / 3 % 4] } else { 0 };
                let flags = (first as u16 * 37) & 0xf | rounding;
                let step = reduction(code, code, operation, flags);
                check(&step, operation, flags, &[first; 256], &second);
            }
        }
    }
}

#[test]
fn every_16_bit_number_to_every_type() {
    for input in [ty::FP16, ty::BF16] {
        for output in FLOATS {
            for rounding in ROUNDINGS {
                let all: Vec<u64> = (0..0x1_0000).step_by(if rounding == 0 { 1 } else { 23 }).collect();
                for all in all.chunks(512) {
                    check(&conversion(input, output, rounding), 0, rounding, all, &[]);
                }
            }
        }
    }
}

#[test]
fn every_pair_of_8_bit_integers() {
    for flags in [0, flag::SIGNED, flag::SATURATE, flag::SIGNED | flag::SATURATE | flag::NEGATE_1, flag::NEGATE_2] {
        for &operation in op::ALL {
            let step = reduction(ty::INT8, ty::INT8, operation, flags);
            let second: Vec<u64> = (0..256).collect();
            for first in 0..256 {
                check(&step, operation, flags, &[first; 256], &second);
            }
        }
    }
}

/// The CPU's own conversion of binary32 to binary16, in every rounding.
#[cfg(target_arch = "x86_64")]
#[test]
fn binary16_is_what_the_cpu_makes_of_it() {
    use std::arch::x86_64::{_mm_cvtps_ph, _mm_cvtsi128_si32, _mm_set_ss};

    #[target_feature(enable = "f16c")]
    fn convert<const ROUNDING: i32>(bits: u32) -> u64 {
        u64::from(_mm_cvtsi128_si32(_mm_cvtps_ph::<ROUNDING>(_mm_set_ss(f32::from_bits(bits)))).cast_unsigned() as u16)
    }

    if !is_x86_feature_detected!("f16c") {
        return;
    }
    let numbers = (0..400_000_u32).map(|at| at.wrapping_mul(0x9e37_79b1)).filter(|bits| {
        // Half of them where binary16 is at home.
        bits & 1 == 0 || (0x3300_0000..0x4780_0000).contains(&(bits & 0x7fff_ffff))
    });
    for bits in numbers {
        for (index, rounding) in ROUNDINGS.into_iter().enumerate() {
            // SAFETY: the CPU has the instruction.
            let expected = unsafe {
                match index {
                    0 => convert::<0>(bits),
                    1 => convert::<1>(bits),
                    2 => convert::<2>(bits),
                    _ => convert::<3>(bits),
                }
            };
            let step = conversion(ty::FP32, ty::FP16, rounding);
            let (number, _) = format::Format::of(ty::FP32).decode(bits.into());
            let (found, _) = format::Format::of(ty::FP16).encode(number, step.rounding, false);
            assert_eq!(found, expected, "{bits:#x}, rounding {index}");
        }
    }
}

#[test]
fn common_operations_have_a_kernel_that_does_them() {
    let numbers = |code: u8| -> Vec<u64> {
        // 1, 1.5 and their negatives: nothing special in any type.
        let (exponent, fraction) = oracle::layout(code);
        let one = ((1_u64 << (exponent - 1)) - 1) << fraction;
        let sign = 1 << (exponent + fraction);
        [one, one | 1 << (fraction - 1), one | sign, one | sign | 1 << (fraction - 1)].repeat(40)
    };
    let done = |step: &Step, a: &[u64], b: &[u64]| {
        let mut tiles = [Tile::new(), Tile::new()];
        for (tile, (code, elements)) in tiles.iter_mut().zip([(step.first.code, a), (step.second.code, b)]) {
            elements.iter().take(TILE).enumerate().for_each(|(at, &bits)| tile.set(size(code), at, bits));
        }
        let kernel = step.kernel().unwrap_or_else(|| panic!("{step:?} has no kernel"));
        assert!(kernel(step, &tiles[0], &tiles[1], TILE, &mut Tile::new()).is_some(), "{step:?}");
    };
    for input in FLOATS {
        let a = numbers(input);
        for output in [input, ty::FP32] {
            done(&conversion(input, output, 0), &a, &a);
            for operation in [op::MIN, op::MAX] {
                done(&reduction(input, output, operation, flag::NEGATE_2), &a, &a);
            }
            if input != ty::FP64 || output == ty::FP64 {
                done(&reduction(input, output, op::ADD, flag::FLUSH_TO_ZERO), &a, &a);
            }
        }
    }
    for output in [ty::FP8_E5M2, ty::FP8_E4M3, ty::FP16, ty::BF16] {
        done(&conversion(ty::FP32, output, 0), &numbers(ty::FP32), &[]);
    }
    let small: Vec<u64> = (0..160).collect();
    for input in [ty::INT8, ty::INT16, ty::INT32] {
        for output in [ty::INT8, ty::INT16, ty::INT32, ty::INT64] {
            for &operation in op::ALL {
                done(&reduction(input, output, operation, flag::SIGNED | flag::NEGATE_1), &small, &small);
            }
        }
    }
    done(&reduction(ty::INT64, ty::INT64, op::ADD, 0), &small, &small);
}

#[test]
fn a_destination_may_be_a_source() {
    for (input, operation) in [(ty::INT16, op::XOR), (ty::FP8_E4M3, op::ADD), (ty::FP64, op::MAX), (ty::FP32, op::ADD)]
    {
        let a: Vec<u64> =
            (0..1000_u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) & oracle::mask(input)).collect();
        let b: Vec<u64> = a.iter().rev().copied().collect();
        let step = reduction(input, input, operation, 0);
        let expected = run(&step, &a, &b, false);
        let (first, second) = (bytes(input, &a), bytes(input, &b));
        for onto_second in [false, true] {
            let (mut x, mut y) = (first.clone(), second.clone());
            let dst = if onto_second { y.as_mut_ptr() } else { x.as_mut_ptr() };
            let other = if onto_second { x.as_mut_ptr() } else { y.as_mut_ptr() };
            let (a, b) = if onto_second { (other, dst) } else { (dst, other) };
            // SAFETY: two vectors of 1000 elements, one of which is also the destination.
            let exceptions = unsafe { step.run(a, b, &[dst], 1000) };
            let out = if onto_second { y } else { x };
            assert_eq!((elements(input, &out), exceptions), expected);
        }
        let mut both = first.clone();
        let dst = both.as_mut_ptr();
        // SAFETY: as above; both sources and the destination are the same.
        let exceptions = unsafe { step.run(dst, dst, &[dst], 1000) };
        assert_eq!((elements(input, &both), exceptions), run(&step, &a, &a, false));
    }
}

#[test]
fn nothing_is_touched_beyond_the_regions() {
    for (input, output) in
        [(ty::INT8, ty::INT64), (ty::INT64, ty::INT8), (ty::FP32, ty::FP16), (ty::FP8_E5M2, ty::FP32)]
    {
        for count in [1, 2, 3, TILE - 1, TILE, TILE + 1, 3 * TILE + 5] {
            let a: Vec<u64> = (0..count as u64).map(|at| at & 0x3f).collect();
            let step = reduction(input, output, op::MAX, 0);
            let (expected, _) = run(&step, &a, &a, false);
            let (read, written) = (count * size(input), count * size(output));
            let regions = [read, read, written, written].map(Guarded::new);
            let (x, y) = (regions[0].put(&bytes(input, &a)), regions[1].put(&bytes(input, &a)));
            let destinations = [regions[2].end(written), regions[3].end(written)];
            // SAFETY: regions of exactly as many elements, each in a mapping of its own.
            unsafe { step.run(x, y, &destinations, count) };
            assert_eq!(elements(output, &regions[2].bytes(written)), expected);
            assert_eq!(elements(output, &regions[3].bytes(written)), expected);
        }
    }
}

#[test]
fn no_alignment_is_needed() {
    let a: Vec<u64> = (0..200).collect();
    for (input, output) in [(ty::INT32, ty::INT16), (ty::INT64, ty::INT64), (ty::FP16, ty::FP32)] {
        let step = reduction(input, output, op::MIN, 0);
        let (expected, _) = run(&step, &a, &a, false);
        for shift in 0..64 {
            let mut first = vec![0; shift];
            first.extend(bytes(input, &a));
            let mut out = vec![0xa5; 200 * size(output) + 64];
            let to = 63 - shift;
            // SAFETY: 200 elements from less than 64 in vectors with that much more.
            unsafe {
                let src = first.as_ptr().add(shift);
                step.run(src, src, &[out.as_mut_ptr().add(to)], 200);
            }
            assert_eq!(elements(output, &out[to..to + 200 * size(output)]), expected);
            assert!(out[..to].iter().chain(&out[to + 200 * size(output)..]).all(|&byte| byte == 0xa5));
        }
    }
}

#[test]
fn nothing_is_touched_for_no_elements() {
    let step = reduction(ty::FP32, ty::FP32, op::ADD, 0);
    // SAFETY: the pointers may be anything for count 0.
    assert_eq!(unsafe { step.run(null(), null(), &[ptr::null_mut()], 0) }, 0);
}
