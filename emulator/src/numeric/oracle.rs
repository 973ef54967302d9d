//! A second opinion on floating point, made in another way: numbers are whole multiples of 2^-1100 of 2304 bits, and
//! rounding is a search. Patterns of positive numbers ascend with the numbers, so the two neighbours of any number are
//! found by halving; the rounding type then picks one.

use std::cmp::Ordering;

use idxd_sys::compute::{compute_flag as flag, data_type as ty, exception};

const LIMBS: usize = 36;
const POINT: i32 = 1100;

/// A number without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fixed([u64; LIMBS]);

impl Fixed {
    const ZERO: Self = Self([0; LIMBS]);

    /// `digits` times a power of two.
    fn new(digits: u64, exponent: i32) -> Self {
        let mut limbs = [0; LIMBS];
        let at = (exponent + POINT).unsigned_abs() as usize;
        let wide = u128::from(digits) << (at % 64);
        limbs[at / 64] = wide as u64;
        limbs[at / 64 + 1] = (wide >> 64) as u64;
        Self(limbs)
    }

    fn plus(mut self, other: &Self) -> Self {
        let mut carry = false;
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            let (sum, first) = a.overflowing_add(*b);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*a, carry) = (sum, first | second);
        }
        assert!(!carry);
        self
    }

    fn minus(mut self, other: &Self) -> Self {
        let mut borrow = false;
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            let (rest, first) = a.overflowing_sub(*b);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            (*a, borrow) = (rest, first | second);
        }
        assert!(!borrow);
        self
    }

    fn compare(&self, other: &Self) -> Ordering {
        let mut at = LIMBS - 1;
        while at > 0 && self.0[at] == other.0[at] {
            at -= 1;
        }
        self.0[at].cmp(&other.0[at])
    }
}

/// What the specification's tables say of a type: width, fraction bits, bias, largest number, smallest normal number,
/// infinity.
struct Row {
    width: u32,
    fraction: u32,
    bias: i32,
    largest: u64,
    normal: u64,
    infinity: Option<u64>,
}

fn row(code: u8) -> Row {
    let (width, fraction, bias, largest, normal, infinity) = match code {
        ty::FP8_E5M2 => (8, 2, 15, 0x7b, 0x04, Some(0x7c)),
        ty::FP8_E4M3 => (8, 3, 7, 0x7e, 0x08, None),
        ty::FP16 => (16, 10, 15, 0x7bff, 0x0400, Some(0x7c00)),
        ty::BF16 => (16, 7, 127, 0x7f7f, 0x0080, Some(0x7f80)),
        ty::FP32 => (32, 23, 127, 0x7f7f_ffff, 0x0080_0000, Some(0x7f80_0000)),
        ty::FP64 => (64, 52, 1023, 0x7fef_ffff_ffff_ffff, 0x0010_0000_0000_0000, Some(0x7ff0_0000_0000_0000)),
        _ => unreachable!(),
    };
    Row { width, fraction, bias, largest, normal, infinity }
}

/// The number that a pattern without a sign means, if exponents had no end.
fn meaning(row: &Row, pattern: u64) -> Fixed {
    let exponent = ((pattern >> row.fraction) as u32).cast_signed();
    let fraction = pattern & ((1 << row.fraction) - 1);
    if exponent == 0 {
        Fixed::new(fraction, 1 - row.bias - row.fraction.cast_signed())
    } else {
        Fixed::new(fraction | 1 << row.fraction, exponent - row.bias - row.fraction.cast_signed())
    }
}

/// An operand: a NaN, an infinity, or a number; its sign; whether it is denormal.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Nan,
    Infinite,
    Number(Box<Fixed>),
}

fn operand(code: u8, element: u64, negate: bool, flags: u16) -> (bool, Kind, bool) {
    let row = row(code);
    let pattern = element & ((1 << (row.width - 1)) - 1);
    let negative = (element >> (row.width - 1) & 1 == 1) != negate;
    let denormal = pattern != 0 && pattern < row.normal;
    let kind = match row.infinity {
        Some(infinity) if pattern == infinity => Kind::Infinite,
        _ if pattern > row.largest => Kind::Nan,
        _ if denormal && flags & flag::DENORMALS_ARE_ZERO != 0 => Kind::Number(Box::new(Fixed::ZERO)),
        _ => Kind::Number(Box::new(meaning(&row, pattern))),
    };
    (negative, kind, denormal && flags & flag::DENORMALS_ARE_ZERO == 0)
}

/// Rounds a number to a type.
fn round(negative: bool, number: &Fixed, code: u8, flags: u16) -> (u64, u8) {
    let row = row(code);
    let sign = u64::from(negative) << (row.width - 1);
    if *number == Fixed::ZERO {
        return (sign, 0);
    }
    let (mut low, mut high) = (0, row.largest + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if meaning(&row, middle).compare(number) == Ordering::Greater { high = middle } else { low = middle }
    }
    let below = meaning(&row, low);
    let pattern = if below == *number {
        low
    } else {
        let above = meaning(&row, high);
        match flags & flag::ROUNDING {
            flag::ROUND_DOWN => {
                if negative {
                    high
                } else {
                    low
                }
            }
            flag::ROUND_UP => {
                if negative {
                    low
                } else {
                    high
                }
            }
            flag::ROUND_TOWARD_ZERO => low,
            _ => match number.plus(number).compare(&below.plus(&above)) {
                Ordering::Less => low,
                Ordering::Equal => {
                    if low % 2 == 0 {
                        low
                    } else {
                        high
                    }
                }
                Ordering::Greater => high,
            },
        }
    };
    if pattern > row.largest {
        return (sign | row.infinity.unwrap_or(0x7f), exception::OVERFLOW);
    }
    if pattern < row.largest && number.compare(&meaning(&row, row.largest)) == Ordering::Greater {
        unreachable!("rounding does not skip numbers");
    }
    // Cut off at the largest number.
    if number.compare(&meaning(&row, row.largest + 1)) != Ordering::Less {
        return (sign | pattern, exception::OVERFLOW);
    }
    if pattern < row.normal {
        let pattern = if flags & flag::FLUSH_TO_ZERO != 0 { 0 } else { pattern };
        return (sign | pattern, exception::UNDERFLOW);
    }
    (sign | pattern, 0)
}

/// The sum of two elements, or one element in another type. `None` for the bits: any NaN.
pub(super) fn sum(from: u8, to: u8, flags: u16, first: u64, second: Option<u64>) -> (Option<u64>, u8) {
    let a = operand(from, first, flags & flag::NEGATE_1 != 0, flags);
    let Some(second) = second else { return answer(a.0, a.1, a.2, to, flags) };
    let b = operand(from, second, flags & flag::NEGATE_2 != 0, flags);
    let denormal = a.2 || b.2;
    let zero = flags & flag::ROUNDING == flag::ROUND_DOWN;
    let (negative, kind) = match (a.1, b.1) {
        (Kind::Number(x), Kind::Number(y)) if a.0 == b.0 => (a.0, Kind::Number(Box::new(x.plus(&y)))),
        (Kind::Number(x), Kind::Number(y)) => match x.compare(&y) {
            Ordering::Greater => (a.0, Kind::Number(Box::new(x.minus(&y)))),
            Ordering::Less => (b.0, Kind::Number(Box::new(y.minus(&x)))),
            Ordering::Equal => (zero, Kind::Number(Box::new(Fixed::ZERO))),
        },
        (Kind::Nan, _) | (_, Kind::Nan) => (false, Kind::Nan),
        (Kind::Infinite, Kind::Infinite) if a.0 != b.0 => (false, Kind::Nan),
        (Kind::Infinite, _) => (a.0, Kind::Infinite),
        (_, Kind::Infinite) => (b.0, Kind::Infinite),
    };
    answer(negative, kind, denormal, to, flags)
}

fn answer(negative: bool, kind: Kind, denormal: bool, to: u8, flags: u16) -> (Option<u64>, u8) {
    let reported = if denormal { exception::DENORMAL } else { 0 };
    let row = row(to);
    match (kind, row.infinity) {
        (Kind::Nan, _) => (None, exception::INVALID | reported),
        (Kind::Infinite, Some(infinity)) => (Some(u64::from(negative) << (row.width - 1) | infinity), reported),
        (Kind::Infinite, None) => (Some(u64::from(negative) << 7 | 0x7f), exception::OVERFLOW | reported),
        (Kind::Number(number), _) => {
            let (bits, exceptions) = round(negative, &number, to, flags);
            (Some(bits), exceptions | reported)
        }
    }
}

/// Whether a pattern is a quiet NaN of a type.
pub(super) fn is_quiet_nan(code: u8, element: u64) -> bool {
    let row = row(code);
    let pattern = element & ((1 << (row.width - 1)) - 1);
    match row.infinity {
        Some(infinity) => pattern >= infinity | 1 << (row.fraction - 1),
        None => pattern == 0x7f,
    }
}
