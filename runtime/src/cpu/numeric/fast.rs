//! Floating-point operations a tile at a time, rounding to nearest, on the CPU's own binary32 and binary64.
//!
//! A tile goes through three loops: elements to numbers, the operation, numbers to elements. The numbers are exact, and
//! so is what becomes of them, because there is one rounding only that can matter:
//!
//! * a conversion, a minimum and a maximum round when the element is made;
//! * a sum in the output type rounds when it is added;
//! * a sum that goes into a narrower type than that of the CPU rounds twice, which is the same as once: where the sum of
//!   two significands of at most `p` bits is inexact with 24, the smaller term is too small to change how the sum rounds
//!   to `p` bits or more. (24 is at least 2p + 2 for all narrow types.) So the output type must hold every value of the
//!   input type, else the exact way is taken.
//!
//! A NaN, an infinity and an overflow are special; the tile is then done the exact way. Denormals are not: the narrow
//! types are full of them.
//!
//! The loops are written for the compiler to make vectors of: no branches, and words instead of truth values to collect
//! what has been seen.

#![allow(
    clippy::needless_bitwise_bool,
    reason = "a lazy operator is a branch, which keeps the loops from being vectors"
)]

use idxd_sys::compute::{data_type, exception};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::tile::{TILE, Tile};
use super::{Kernel, Operand, Operation, Rounding, Step};

/// The fastest kernel that keeps to the rules, if there is one.
pub(super) fn kernel(step: &Step) -> Option<Kernel> {
    if step.rounding != Rounding::NearestEven {
        return None;
    }
    let operands = || [Some(step.first), step.operation.map(|_| step.second)].into_iter().flatten();
    let sum = step.operation == Some(Operation::Add);
    if sum && !operands().all(|operand| holds(step.output, operand.code)) {
        return None;
    }
    let codes = || operands().map(|operand| operand.code).chain([step.output]);
    if codes().all(|code| code != data_type::FP64) {
        Some(single)
    } else if codes().all(|code| matches!(code, data_type::FP32 | data_type::FP64)) {
        Some(double)
    } else {
        None
    }
}

/// Whether a type holds every value of another one.
fn holds(output: u8, input: u8) -> bool {
    match input {
        _ if output == input => true,
        data_type::FP8_E5M2 | data_type::FP8_E4M3 => output >= data_type::FP16,
        data_type::FP16 | data_type::BF16 => output >= data_type::FP32,
        data_type::FP32 => output == data_type::FP64,
        _ => false,
    }
}

/// In binary32: everything but FP64.
fn single(step: &Step, a: &Tile, b: &Tile, n: usize, out: &mut Tile) -> Option<u8> {
    let load = |operand: Operand, tile: &Tile, numbers: &mut [f32]| match operand.code {
        data_type::FP8_E5M2 => widen::<E5M2>(operand, step.zero_denormals, tile, numbers),
        data_type::FP8_E4M3 => widen::<E4M3>(operand, step.zero_denormals, tile, numbers),
        data_type::FP16 => widen::<Fp16>(operand, step.zero_denormals, tile, numbers),
        data_type::BF16 => widen::<Bf16>(operand, step.zero_denormals, tile, numbers),
        _ => widen::<Fp32>(operand, step.zero_denormals, tile, numbers),
    };
    let (mut numbers, mut others) = ([0.0; TILE], [0.0; TILE]);
    let (numbers, others) = (&mut numbers[..n], &mut others[..n]);
    let mut denormal = load(step.first, a, numbers)?;
    if let Some(operation) = step.operation {
        denormal |= load(step.second, b, others)?;
        let pairs = numbers.iter_mut().zip(others.iter());
        match operation {
            Operation::Add => pairs.for_each(|(a, b)| *a += b),
            Operation::Min => pairs.for_each(|(a, &b)| *a = less_of_32(*a, b)),
            Operation::Max => pairs.for_each(|(a, &b)| *a = -less_of_32(-*a, -b)),
            Operation::And | Operation::Or | Operation::Xor => return None,
        }
    }
    let underflow = match step.output {
        data_type::FP8_E5M2 => narrow::<E5M2>(numbers, step.flush, out),
        data_type::FP8_E4M3 => narrow::<E4M3>(numbers, step.flush, out),
        data_type::FP16 => narrow::<Fp16>(numbers, step.flush, out),
        data_type::BF16 => narrow::<Bf16>(numbers, step.flush, out),
        _ => narrow::<Fp32>(numbers, step.flush, out),
    }?;
    Some(exceptions(denormal, underflow))
}

/// In binary64: FP32 and FP64.
fn double(step: &Step, a: &Tile, b: &Tile, n: usize, out: &mut Tile) -> Option<u8> {
    let load = |operand: Operand, tile: &Tile, numbers: &mut [f64]| {
        if operand.code == data_type::FP32 {
            from_single(operand, step.zero_denormals, tile, numbers)
        } else {
            from_double(operand, step.zero_denormals, tile, numbers)
        }
    };
    let (mut numbers, mut others) = ([0.0; TILE], [0.0; TILE]);
    let (numbers, others) = (&mut numbers[..n], &mut others[..n]);
    let mut denormal = load(step.first, a, numbers)?;
    if let Some(operation) = step.operation {
        denormal |= load(step.second, b, others)?;
        let pairs = numbers.iter_mut().zip(others.iter());
        match operation {
            Operation::Add => pairs.for_each(|(a, b)| *a += b),
            Operation::Min => pairs.for_each(|(a, &b)| *a = less_of_64(*a, b)),
            Operation::Max => pairs.for_each(|(a, &b)| *a = -less_of_64(-*a, -b)),
            Operation::And | Operation::Or | Operation::Xor => return None,
        }
    }
    let underflow = if step.output == data_type::FP32 {
        to_single(numbers, step.flush, out)
    } else {
        to_double(numbers, step.flush, out)
    }?;
    Some(exceptions(denormal, underflow))
}

fn exceptions(denormal: bool, underflow: bool) -> u8 {
    let bit = |set, bit| if set { bit } else { 0 };
    bit(denormal, exception::DENORMAL) | bit(underflow, exception::UNDERFLOW)
}

/// The lesser number. Equal ones differ in the sign of zero at most, and -0 is the lesser.
#[inline]
fn less_of_32(a: f32, b: f32) -> f32 {
    let either = f32::from_bits(a.to_bits() | b.to_bits());
    if a < b {
        a
    } else if b < a {
        b
    } else {
        either
    }
}

/// As [`less_of_32`].
#[inline]
fn less_of_64(a: f64, b: f64) -> f64 {
    let either = f64::from_bits(a.to_bits() | b.to_bits());
    if a < b {
        a
    } else if b < a {
        b
    } else {
        either
    }
}

/// A type whose every value binary32 holds.
trait Narrow {
    type Bits: Copy + Into<u32> + FromBytes + IntoBytes + Immutable;
    const EXPONENT: u32;
    const FRACTION: u32;
    /// All bits but the sign of the largest finite value.
    const LARGEST: u32;
    const BIAS: u32 = (1 << (Self::EXPONENT - 1)) - 1;
    /// All bits but the sign of the smallest normal value.
    const NORMAL: u32 = 1 << Self::FRACTION;
    /// By how much a fraction of binary32 is longer.
    const SHIFT: u32 = 23 - Self::FRACTION;
    /// By how much an exponent of binary32 is greater, at the place that it has here.
    const REBIAS: u32 = (127 - Self::BIAS) << Self::FRACTION;
    /// A denormal's last bit, times 2^23: added to a number below the smallest normal value it makes the CPU round to
    /// that bit.
    const ROUNDER: f32 = f32::from_bits((128 - Self::BIAS + Self::SHIFT) << 23);
    /// A denormal's last bit. Not for types with the exponent of binary32, whose denormals are its own.
    const UNIT: f32 = f32::from_bits((128 - Self::BIAS).wrapping_sub(Self::FRACTION) << 23);

    fn truncated(bits: u32) -> Self::Bits;
}

macro_rules! narrow_types {
    ($($(#[$doc:meta])* $name:ident: $bits:ty, $exponent:literal, $fraction:literal, $largest:literal;)*) => {$(
        $(#[$doc])*
        struct $name;

        impl Narrow for $name {
            type Bits = $bits;
            const EXPONENT: u32 = $exponent;
            const FRACTION: u32 = $fraction;
            const LARGEST: u32 = $largest;

            #[inline]
            fn truncated(bits: u32) -> $bits {
                bits as $bits
            }
        }
    )*};
}

narrow_types! {
    /// FP8 E5M2.
    E5M2: u8, 5, 2, 0x7b;
    /// FP8 E4M3.
    E4M3: u8, 4, 3, 0x7e;
    /// IEEE 754 binary16.
    Fp16: u16, 5, 10, 0x7bff;
    /// Binary32 without the lower half.
    Bf16: u16, 8, 7, 0x7f7f;
    /// IEEE 754 binary32.
    Fp32: u32, 8, 23, 0x7f7f_ffff;
}

/// A fraction as a number.
#[inline]
#[allow(clippy::cast_precision_loss, reason = "a fraction has fewer bits than binary32 holds")]
fn f32_of(fraction: u32) -> f32 {
    // Of signed integers: older CPUs have no vector instruction for unsigned ones.
    fraction.cast_signed() as f32
}

/// Elements as numbers. Returns whether one is denormal and counts, or `None` if one is infinite or no number.
fn widen<F: Narrow>(operand: Operand, zero_denormals: bool, tile: &Tile, numbers: &mut [f32]) -> Option<bool> {
    let sign = 1 << (F::EXPONENT + F::FRACTION);
    let flip = if operand.negate { sign } else { 0 };
    let zero_denormals = zero_denormals && operand.fresh;
    let (mut special, mut denormal) = (0_u32, 0_u32);
    for (&bits, number) in tile.of::<F::Bits>(numbers.len()).iter().zip(numbers) {
        let bits = bits.into() ^ flip;
        let magnitude = bits & (sign - 1);
        special |= u32::from(magnitude > F::LARGEST);
        let small = magnitude < F::NORMAL;
        denormal |= u32::from(small & (magnitude != 0));
        let value = if F::REBIAS == 0 {
            magnitude << F::SHIFT
        } else {
            let below = (f32_of(magnitude) * F::UNIT).to_bits();
            if small { below } else { (magnitude + F::REBIAS) << F::SHIFT }
        };
        let value = if small & zero_denormals { 0 } else { value };
        *number = f32::from_bits(value | (bits & sign) << (31 - F::EXPONENT - F::FRACTION));
    }
    (special == 0).then_some(denormal != 0 && operand.fresh && !zero_denormals)
}

/// Numbers as elements. Returns whether one is below the smallest normal value, or `None` if one is above the largest.
fn narrow<F: Narrow>(numbers: &[f32], flush: bool, out: &mut Tile) -> Option<bool> {
    let (mut special, mut underflow) = (0_u32, 0_u32);
    for (out, number) in out.of_mut::<F::Bits>(numbers.len()).iter_mut().zip(numbers) {
        let bits = number.to_bits();
        let sign = bits >> 31 << (F::EXPONENT + F::FRACTION);
        let magnitude = bits & 0x7fff_ffff;
        let rounded = if F::SHIFT == 0 {
            magnitude
        } else {
            // Ties go to the even one: half of the last bit is added, less the least bit if the last bit is 0.
            let odd = magnitude >> F::SHIFT & 1;
            (magnitude + (1 << F::SHIFT >> 1) - 1 + odd) >> F::SHIFT
        };
        let value = if F::REBIAS == 0 {
            rounded
        } else {
            let below = (f32::from_bits(magnitude) + F::ROUNDER).to_bits().wrapping_sub(F::ROUNDER.to_bits());
            let small = magnitude < (128 - F::BIAS) << 23;
            if small { below } else { rounded - F::REBIAS }
        };
        special |= u32::from(value > F::LARGEST);
        let tiny = (magnitude != 0) & (value < F::NORMAL);
        underflow |= u32::from(tiny);
        *out = F::truncated(sign | if tiny & flush { 0 } else { value });
    }
    (special == 0).then_some(underflow != 0)
}

/// As [`widen`], FP32 to binary64.
fn from_single(operand: Operand, zero_denormals: bool, tile: &Tile, numbers: &mut [f64]) -> Option<bool> {
    let flip = if operand.negate { 1 << 31 } else { 0 };
    let zero_denormals = zero_denormals && operand.fresh;
    let (mut special, mut denormal) = (0_u32, 0_u32);
    for (&bits, number) in tile.of::<u32>(numbers.len()).iter().zip(numbers) {
        let bits = bits ^ flip;
        let magnitude = bits & 0x7fff_ffff;
        special |= u32::from(magnitude > Fp32::LARGEST);
        let tiny = (magnitude != 0) & (magnitude < Fp32::NORMAL);
        denormal |= u32::from(tiny);
        *number = f64::from(f32::from_bits(if tiny & zero_denormals { bits & 1 << 31 } else { bits }));
    }
    (special == 0).then_some(denormal != 0 && operand.fresh && !zero_denormals)
}

/// All bits but the sign of the smallest normal value of FP64.
const NORMAL_64: u64 = 1 << 52;
/// All bits but the sign.
const MAGNITUDE_64: u64 = u64::MAX >> 1;

/// As [`widen`], FP64 to binary64.
fn from_double(operand: Operand, zero_denormals: bool, tile: &Tile, numbers: &mut [f64]) -> Option<bool> {
    let flip = if operand.negate { 1 << 63 } else { 0 };
    let zero_denormals = zero_denormals && operand.fresh;
    let (mut special, mut denormal) = (0_u32, 0_u32);
    for (&bits, number) in tile.of::<u64>(numbers.len()).iter().zip(numbers) {
        let bits = bits ^ flip;
        let magnitude = bits & MAGNITUDE_64;
        special |= u32::from(magnitude >= f64::INFINITY.to_bits());
        let tiny = (magnitude != 0) & (magnitude < NORMAL_64);
        denormal |= u32::from(tiny);
        *number = f64::from_bits(if tiny & zero_denormals { bits & !MAGNITUDE_64 } else { bits });
    }
    (special == 0).then_some(denormal != 0 && operand.fresh && !zero_denormals)
}

/// As [`narrow`], binary64 to FP32.
fn to_single(numbers: &[f64], flush: bool, out: &mut Tile) -> Option<bool> {
    let (mut special, mut underflow) = (0_u32, 0_u32);
    for (out, &number) in out.of_mut::<u32>(numbers.len()).iter_mut().zip(numbers) {
        let bits = (number as f32).to_bits();
        let magnitude = bits & 0x7fff_ffff;
        special |= u32::from(magnitude > Fp32::LARGEST);
        let tiny = (number != 0.0) & (magnitude < Fp32::NORMAL);
        underflow |= u32::from(tiny);
        *out = if tiny & flush { bits & 1 << 31 } else { bits };
    }
    (special == 0).then_some(underflow != 0)
}

/// As [`narrow`], binary64 to FP64.
fn to_double(numbers: &[f64], flush: bool, out: &mut Tile) -> Option<bool> {
    let (mut special, mut underflow) = (0_u32, 0_u32);
    for (out, &number) in out.of_mut::<u64>(numbers.len()).iter_mut().zip(numbers) {
        let bits = number.to_bits();
        let magnitude = bits & MAGNITUDE_64;
        special |= u32::from(magnitude >= f64::INFINITY.to_bits());
        let tiny = (magnitude != 0) & (magnitude < NORMAL_64);
        underflow |= u32::from(tiny);
        *out = if tiny & flush { bits & !MAGNITUDE_64 } else { bits };
    }
    (special == 0).then_some(underflow != 0)
}
