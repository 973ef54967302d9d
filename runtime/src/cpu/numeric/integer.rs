//! Integer operations: exact on any two types, and in typed loops.

use idxd_sys::compute::{data_type, exception};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::tile::{TILE, Tile};
use super::{Kernel, Operand, Operation, Step, size};

/// The elements of a tile by all the rules, as numbers of 128 bits. Returns the exceptions.
pub(super) fn exact(step: &Step, a: &Tile, b: &Tile, n: usize, out: &mut Tile) -> u8 {
    let operand = |operand: Operand, tile: &Tile, index| {
        let size = size(operand.code);
        let unused = 64 - 8 * size as u32;
        let bits = tile.get(size, index) << unused;
        let value = if step.signed { i128::from(bits.cast_signed() >> unused) } else { i128::from(bits >> unused) };
        if operand.negate { -value } else { value }
    };
    let bits = 8 * size(step.output) as u32;
    let (least, most) =
        if step.signed { (-1_i128 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) };
    let mut exceptions = 0;
    for index in 0..n {
        let first = operand(step.first, a, index);
        let mut value = match step.operation {
            None => first,
            Some(operation) => {
                let second = operand(step.second, b, index);
                match operation {
                    Operation::Add => first + second,
                    Operation::And => first & second,
                    Operation::Or => first | second,
                    Operation::Xor => first ^ second,
                    Operation::Min => first.min(second),
                    Operation::Max => first.max(second),
                }
            }
        };
        if value < least || value > most {
            exceptions |= exception::OVERFLOW;
            if step.saturate {
                value = if step.signed && value < 0 { least } else { most };
            }
        }
        out.set(size(step.output), index, value.cast_unsigned() as u64);
    }
    exceptions
}

/// The fastest kernel that keeps to the rules, if there is one.
pub(super) fn kernel(step: &Step) -> Option<Kernel> {
    let operands = || [Some(step.first), step.operation.map(|_| step.second)].into_iter().flatten();
    if operands().all(|operand| operand.code == step.output && !operand.negate) {
        return Some(match (step.output, step.signed) {
            (data_type::INT8, false) => direct::<u8>,
            (data_type::INT8, true) => direct::<i8>,
            (data_type::INT16, false) => direct::<u16>,
            (data_type::INT16, true) => direct::<i16>,
            (data_type::INT32, false) => direct::<u32>,
            (data_type::INT32, true) => direct::<i32>,
            (_, false) => direct::<u64>,
            (_, true) => direct::<i64>,
        });
    }
    operands().all(|operand| operand.code != data_type::INT64).then_some(wide as Kernel)
}

/// An integer type of Rust.
trait Integer: Copy + Ord + FromBytes + IntoBytes + Immutable {
    /// The sum, wrapped around, and whether it did.
    fn sum(self, other: Self) -> (Self, bool);
    /// What stands for a sum that wrapped around, of which `self` was a term.
    fn limit(self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// Only for types of at most 32 bits.
    fn widened(self) -> i64;
    /// The number if it fits, else wrapped around, or the limit if `saturate`; and whether it did not fit.
    fn narrowed(value: i64, saturate: bool) -> (Self, bool);
}

/// An unsigned sum is below its terms if it wrapped around.
macro_rules! below {
    ($a:expr, $b:expr, $sum:expr) => {
        $sum < $a
    };
}

/// A signed sum has another sign than both of its terms if it wrapped around.
macro_rules! turned {
    ($a:expr, $b:expr, $sum:expr) => {
        ($a ^ $sum) & ($b ^ $sum) < 0
    };
}

/// There is one limit for unsigned numbers.
macro_rules! largest {
    ($a:expr, $type:ty) => {
        <$type>::MAX
    };
}

/// The limit of a signed number is on its side of 0.
macro_rules! by_sign {
    ($a:expr, $type:ty) => {
        if $a < 0 { <$type>::MIN } else { <$type>::MAX }
    };
}

macro_rules! integers {
    ($($type:ty: $overflow:ident, $limit:ident, $value:ident => $outside:expr;)*) => {$(
        impl Integer for $type {
            #[inline]
            fn sum(self, other: Self) -> (Self, bool) {
                let sum = self.wrapping_add(other);
                (sum, $overflow!(self, other, sum))
            }
            #[inline]
            fn limit(self) -> Self {
                $limit!(self, $type)
            }
            #[inline]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            #[inline]
            #[allow(clippy::cast_lossless, clippy::cast_possible_wrap, reason = "the widest types are not widened")]
            fn widened(self) -> i64 {
                self as i64
            }
            #[inline]
            #[allow(clippy::cast_sign_loss, reason = "wrapping around is what is asked for")]
            fn narrowed($value: i64, saturate: bool) -> (Self, bool) {
                let outside = $outside;
                (if saturate && outside { $limit!($value, $type) } else { $value as Self }, outside)
            }
        }
    )*};
}

integers! {
    u8: below, largest, value => value != i64::from(value as u8);
    u16: below, largest, value => value != i64::from(value as u16);
    u32: below, largest, value => value != i64::from(value as u32);
    u64: below, largest, value => value < 0;
    i8: turned, by_sign, value => value != i64::from(value as i8);
    i16: turned, by_sign, value => value != i64::from(value as i16);
    i32: turned, by_sign, value => value != i64::from(value as i32);
    i64: turned, by_sign, value => false;
}

/// All of one type, nothing negated.
#[allow(clippy::unnecessary_wraps, reason = "the type of a kernel")]
fn direct<T: Integer>(step: &Step, a: &Tile, b: &Tile, n: usize, out: &mut Tile) -> Option<u8> {
    let (a, b, out) = (a.of::<T>(n), b.of::<T>(n), out.of_mut::<T>(n));
    let pairs = out.iter_mut().zip(a.iter().zip(b)).map(|(out, (&a, &b))| (out, a, b));
    let mut overflow = false;
    match step.operation {
        None => out.copy_from_slice(a),
        Some(Operation::Add) if step.saturate => {
            for (out, a, b) in pairs {
                let (sum, wrapped) = a.sum(b);
                *out = if wrapped { a.limit() } else { sum };
                overflow |= wrapped;
            }
        }
        Some(Operation::Add) => {
            for (out, a, b) in pairs {
                let (sum, wrapped) = a.sum(b);
                *out = sum;
                overflow |= wrapped;
            }
        }
        Some(Operation::And) => pairs.for_each(|(out, a, b)| *out = a.and(b)),
        Some(Operation::Or) => pairs.for_each(|(out, a, b)| *out = a.or(b)),
        Some(Operation::Xor) => pairs.for_each(|(out, a, b)| *out = a.xor(b)),
        Some(Operation::Min) => pairs.for_each(|(out, a, b)| *out = a.min(b)),
        Some(Operation::Max) => pairs.for_each(|(out, a, b)| *out = a.max(b)),
    }
    Some(if overflow { exception::OVERFLOW } else { 0 })
}

/// Operands of at most 32 bits: 64 bits hold every result exactly.
#[allow(clippy::unnecessary_wraps, reason = "the type of a kernel")]
fn wide(step: &Step, a: &Tile, b: &Tile, n: usize, out: &mut Tile) -> Option<u8> {
    let (mut values, mut others) = ([0; TILE], [0; TILE]);
    let values = &mut values[..n];
    load(step.first, step.signed, a, values);
    if let Some(operation) = step.operation {
        let others = &mut others[..n];
        load(step.second, step.signed, b, others);
        let pairs = values.iter_mut().zip(others.iter());
        match operation {
            Operation::Add => pairs.for_each(|(a, b)| *a += b),
            Operation::And => pairs.for_each(|(a, b)| *a &= b),
            Operation::Or => pairs.for_each(|(a, b)| *a |= b),
            Operation::Xor => pairs.for_each(|(a, b)| *a ^= b),
            Operation::Min => pairs.for_each(|(a, b)| *a = (*a).min(*b)),
            Operation::Max => pairs.for_each(|(a, b)| *a = (*a).max(*b)),
        }
    }
    let store = match (step.output, step.signed) {
        (data_type::INT8, false) => narrow::<u8>,
        (data_type::INT8, true) => narrow::<i8>,
        (data_type::INT16, false) => narrow::<u16>,
        (data_type::INT16, true) => narrow::<i16>,
        (data_type::INT32, false) => narrow::<u32>,
        (data_type::INT32, true) => narrow::<i32>,
        (_, false) => narrow::<u64>,
        (_, true) => narrow::<i64>,
    };
    let overflow = store(values, step.saturate, out);
    Some(if overflow { exception::OVERFLOW } else { 0 })
}

fn load(operand: Operand, signed: bool, tile: &Tile, values: &mut [i64]) {
    match (operand.code, signed) {
        (data_type::INT8, false) => widen::<u8>(tile, values),
        (data_type::INT8, true) => widen::<i8>(tile, values),
        (data_type::INT16, false) => widen::<u16>(tile, values),
        (data_type::INT16, true) => widen::<i16>(tile, values),
        (_, false) => widen::<u32>(tile, values),
        (_, true) => widen::<i32>(tile, values),
    }
    if operand.negate {
        for value in values {
            *value = -*value;
        }
    }
}

fn widen<T: Integer>(tile: &Tile, values: &mut [i64]) {
    for (&narrow, value) in tile.of::<T>(values.len()).iter().zip(values) {
        *value = narrow.widened();
    }
}

/// Returns whether any value did not fit.
fn narrow<T: Integer>(values: &[i64], saturate: bool, out: &mut Tile) -> bool {
    let mut overflow = 0_u32;
    for (out, &value) in out.of_mut::<T>(values.len()).iter_mut().zip(values) {
        let (narrow, outside) = T::narrowed(value, saturate);
        *out = narrow;
        overflow |= u32::from(outside);
    }
    overflow != 0
}
