//! Floating-point operations by all the rules, one element at a time.

use std::cmp::Ordering;

use idxd_sys::compute::exception;

use super::format::{Format, Number};
use super::tile::Tile;
use super::{Operand, Operation, Rounding, Step, size};

/// The elements of a tile. Returns the exceptions.
pub(super) fn exact(step: &Step, a: &Tile, b: &Tile, n: usize, out: &mut Tile) -> u8 {
    let format = Format::of(step.output);
    let mut exceptions = 0;
    for index in 0..n {
        let mut operand = |operand: Operand, tile: &Tile| {
            let (mut number, denormal) = Format::of(operand.code).decode(tile.get(size(operand.code), index));
            if denormal && operand.fresh {
                if step.zero_denormals {
                    if let Number::Finite { significand, .. } = &mut number {
                        *significand = 0;
                    }
                } else {
                    exceptions |= exception::DENORMAL;
                }
            }
            if matches!(number, Number::Nan { .. }) {
                exceptions |= exception::INVALID;
            }
            if operand.negate { number.negated() } else { number }
        };
        let first = operand(step.first, a);
        let result = match step.operation {
            None => first,
            Some(operation) => {
                let second = operand(step.second, b);
                let result = combine(operation, first, second, step.rounding);
                if result == Number::INDEFINITE {
                    exceptions |= exception::INVALID;
                }
                result
            }
        };
        let (bits, more) = format.encode(result, step.rounding, step.flush);
        exceptions |= more;
        out.set(size(step.output), index, bits);
    }
    exceptions
}

fn combine(operation: Operation, first: Number, second: Number, rounding: Rounding) -> Number {
    match (first, second) {
        (Number::Nan { .. }, _) => first,
        (_, Number::Nan { .. }) => second,
        _ => match operation {
            Operation::Add => sum(first, second, rounding),
            Operation::Min => select(first, second, Ordering::Greater),
            Operation::Max => select(first, second, Ordering::Less),
            Operation::And | Operation::Or | Operation::Xor => unreachable!("`Compute` refuses these for numbers"),
        },
    }
}

/// The first number, or the second one if the first compares with it like that.
fn select(first: Number, second: Number, swap: Ordering) -> Number {
    if compare(first, second) == swap { second } else { first }
}

/// The order of numbers, -0 before +0. None of them is a NaN.
fn compare(first: Number, second: Number) -> Ordering {
    match (is_negative(first), is_negative(second)) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => compare_magnitudes(first, second),
        (true, true) => compare_magnitudes(second, first),
    }
}

fn is_negative(number: Number) -> bool {
    match number {
        Number::Nan { negative, .. } | Number::Infinite { negative } | Number::Finite { negative, .. } => negative,
    }
}

fn compare_magnitudes(first: Number, second: Number) -> Ordering {
    // The exponent of the leading bit, and the significand with that bit at the top; zero is below all others.
    let key = |number| match number {
        Number::Finite { significand: 0, .. } => (i32::MIN, 0),
        Number::Finite { significand, exponent, .. } => {
            (exponent + significand.ilog2().cast_signed(), significand << significand.leading_zeros())
        }
        Number::Infinite { .. } | Number::Nan { .. } => (i32::MAX, 0),
    };
    key(first).cmp(&key(second))
}

/// A finite number other than 0, with its leading bit in place [`TOP`].
struct Term {
    negative: bool,
    significand: u128,
    exponent: i32,
}

/// Where the leading bit of the larger term of a sum is put: as high as leaves room for a carry. Operands have at most 53
/// bits, so far more than twice as many lie below them.
const TOP: u32 = 120;

impl Term {
    fn new(negative: bool, significand: u128, exponent: i32) -> Self {
        let shift = TOP - significand.ilog2();
        Self { negative, significand: significand << shift, exponent: exponent - shift.cast_signed() }
    }
}

/// The sum of two numbers, neither a NaN. Exact, or, where the terms are too far apart for that, with a lowest bit that
/// stands for the rest.
fn sum(first: Number, second: Number, rounding: Rounding) -> Number {
    let (a, b) = match (first, second) {
        (Number::Infinite { negative: a }, Number::Infinite { negative: b }) => {
            return if a == b { first } else { Number::INDEFINITE };
        }
        (
            Number::Finite { negative: a_negative, significand: a, exponent: a_exponent },
            Number::Finite { negative: b_negative, significand: b, exponent: b_exponent },
        ) => {
            if a == 0 && b == 0 {
                let negative = if a_negative == b_negative { a_negative } else { rounding == Rounding::Down };
                return Number::Finite { negative, significand: 0, exponent: 0 };
            }
            if a == 0 {
                return second;
            }
            if b == 0 {
                return first;
            }
            (Term::new(a_negative, a, a_exponent), Term::new(b_negative, b, b_exponent))
        }
        (Number::Finite { .. }, _) => return second,
        _ => return first,
    };
    let (large, small) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
    // Bits of the smaller term that fall out are remembered in the lowest one. It takes part in the subtraction, which is
    // right: the true result and this one lie between the same two multiples of 2.
    let shift = large.exponent.abs_diff(small.exponent);
    let shifted = if shift < 128 {
        small.significand >> shift | u128::from(small.significand & ((1 << shift) - 1) != 0)
    } else {
        1
    };
    let exponent = large.exponent;
    if large.negative == small.negative {
        return Number::Finite { negative: large.negative, significand: large.significand + shifted, exponent };
    }
    match large.significand.cmp(&shifted) {
        Ordering::Equal => Number::Finite { negative: rounding == Rounding::Down, significand: 0, exponent },
        Ordering::Greater => {
            Number::Finite { negative: large.negative, significand: large.significand - shifted, exponent }
        }
        Ordering::Less => {
            Number::Finite { negative: small.negative, significand: shifted - large.significand, exponent }
        }
    }
}
