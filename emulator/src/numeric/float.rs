//! Floating point, from 8 to 64 bits (specification appendix E): numbers are taken apart, combined exactly, and rounded.
//!
//! A finite number is an integer of 128 bits times a power of two. Sums line up two of them with their leading bit at bit
//! 125. Digits of the smaller one that fall off at the lower end are remembered by setting the lowest bit. That changes no
//! rounding: an operand has at most 53 digits, so the greater one ends with at least 73 zeros; digits fall off only if the
//! exponents differ by more than 73, and then the leading bit of the result is 124 or higher, and the lowest digit that a
//! result can have is above bit 70. The sum with the bit set and the exact sum lie between the same two multiples of 2.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use idxd_sys::compute::{compute_flag, compute_type, data_type, exception};

use super::{Stage, Value};

/// Bit of the leading digit of operands that are being added: two bits are left for the sign and a carry.
const LEADING: u32 = 125;

/// The shape of a floating-point type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Bits of exponent and fraction.
    pub(super) exponent: u32,
    pub(super) fraction: u32,
    /// The largest exponent is for infinities and NaNs. Without, only the largest fraction of it is a NaN.
    pub(super) infinities: bool,
}

impl Format {
    /// The shape of a type by its code; `None` if it is not a floating-point type.
    pub(crate) const fn new(code: u8) -> Option<Self> {
        let (exponent, fraction) = match code {
            data_type::FP8_E5M2 => (5, 2),
            data_type::FP8_E4M3 => (4, 3),
            data_type::FP16 => (5, 10),
            data_type::BF16 => (8, 7),
            data_type::FP32 => (8, 23),
            data_type::FP64 => (11, 52),
            _ => return None,
        };
        Some(Self { exponent, fraction, infinities: code != data_type::FP8_E4M3 })
    }

    const fn bits(self) -> u32 {
        1 + self.exponent + self.fraction
    }

    const fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// All ones in the exponent.
    const fn top(self) -> u64 {
        (1 << self.exponent) - 1
    }

    /// All ones in the fraction.
    const fn fraction_mask(self) -> u64 {
        (1 << self.fraction) - 1
    }

    /// Exponent of the last digit of the smallest numbers.
    const fn lowest(self) -> i32 {
        1 - self.bias() - self.fraction.cast_signed()
    }

    /// The largest number: its digits, and the exponent of the last one.
    const fn largest(self) -> (u64, i32) {
        let digits = (2 << self.fraction) - 1;
        if self.infinities {
            (digits, self.bias() - self.fraction.cast_signed())
        } else {
            (digits - 1, self.bias() + 1 - self.fraction.cast_signed())
        }
    }

    /// An element of a sign and the rest.
    const fn element(self, negative: bool, rest: u64) -> u64 {
        (negative as u64) << (self.bits() - 1) | rest
    }

    /// An element of a sign, digits, and the exponent of the last digit. The digits are those of a number of this type.
    fn finite(self, negative: bool, digits: u64, exponent: i32) -> u64 {
        // Denormal numbers have no leading digit, and the exponent field 0. The leading digit of others adds 1 to it.
        let field = u64::from((exponent - self.lowest()).unsigned_abs());
        self.element(negative, (field << self.fraction) + digits)
    }
}

/// A number taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    negative: bool,
    class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The fraction, without the bit that makes it quiet, from the highest bit down.
    Nan(u64),
    Infinite,
    /// Digits, and the exponent of the last one. No digits: zero.
    Finite(u128, i32),
}

impl Number {
    const ZERO: Class = Class::Finite(0, 0);
    /// What an operation gives that has no answer.
    const INDEFINITE: Self = Self { negative: true, class: Class::Nan(0) };

    /// Takes an element apart. The second answer is whether it is denormal.
    fn read(format: Format, element: u64) -> (Self, bool) {
        let fraction = element & format.fraction_mask();
        let exponent = element >> format.fraction & format.top();
        let negative = element >> (format.bits() - 1) & 1 != 0;
        let class = if exponent == format.top() && format.infinities {
            if fraction == 0 { Class::Infinite } else { Class::Nan(fraction << (64 - format.fraction) << 1) }
        } else if exponent == format.top() && fraction == format.fraction_mask() {
            Class::Nan(0)
        } else {
            let leading = if exponent == 0 { 0 } else { 1 << format.fraction };
            Class::Finite(u128::from(fraction | leading), format.lowest() + exponent.max(1) as i32 - 1)
        };
        (Self { negative, class }, exponent == 0 && fraction != 0)
    }

    /// The sum, exact but for digits far below the last one that counts (see the module). `zero_negative` is the sign of
    /// a zero that comes from two numbers that are not.
    fn add(self, other: Self, zero_negative: bool) -> Self {
        let (a, b) = match (self.class, other.class) {
            (Class::Infinite, Class::Infinite) if self.negative != other.negative => return Self::INDEFINITE,
            (Class::Finite(0, _), Class::Finite(0, _)) => {
                let negative = if self.negative == other.negative { self.negative } else { zero_negative };
                return Self { negative, class: Self::ZERO };
            }
            (Class::Infinite, _) | (_, Class::Finite(0, _)) => return self,
            (_, Class::Infinite) | (Class::Finite(0, _), _) => return other,
            (Class::Finite(a, e), Class::Finite(b, f)) => (lift(a, e), lift(b, f)),
            // NaNs were dealt with.
            _ => return Self::INDEFINITE,
        };
        let (greater, lesser, negative) =
            if (a.1, a.0) >= (b.1, b.0) { (a, b, self.negative) } else { (b, a, other.negative) };
        let aligned = shift_right_marking(lesser.0, (greater.1 - lesser.1).unsigned_abs());
        let digits = if self.negative == other.negative { greater.0 + aligned } else { greater.0 - aligned };
        if digits == 0 {
            return Self { negative: zero_negative, class: Self::ZERO };
        }
        Self { negative, class: Class::Finite(digits, greater.1) }
    }

    /// Which one is greater. Of two zeros +0 is. NaNs were dealt with.
    fn compare(self, other: Self) -> Ordering {
        let key = |number: Self| match number.class {
            Class::Finite(0, _) | Class::Nan(_) => (0, i32::MIN, 0),
            Class::Finite(digits, exponent) => {
                let (digits, exponent) = lift(digits, exponent);
                (if number.negative { -1 } else { 1 }, exponent, digits)
            }
            Class::Infinite => (if number.negative { -1 } else { 1 }, i32::MAX, 0),
        };
        let (a, b) = (key(self), key(other));
        a.0.cmp(&b.0).then_with(|| {
            let by_size = (a.1, a.2).cmp(&(b.1, b.2));
            let by_size = if a.0 < 0 { by_size.reverse() } else { by_size };
            by_size.then(other.negative.cmp(&self.negative))
        })
    }
}

/// Digits with the leading one at its place, and the exponent that belongs to them. There must be one.
fn lift(digits: u128, exponent: i32) -> (u128, i32) {
    let by = digits.leading_zeros() - (127 - LEADING);
    (digits << by, exponent - by.cast_signed())
}

/// Shifts to the right; the lowest bit is set if anything falls off.
fn shift_right_marking(digits: u128, by: u32) -> u128 {
    if by > LEADING {
        return u128::from(digits != 0);
    }
    let kept = digits >> by;
    kept | u128::from(kept << by != digits)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    NearestEven,
    Down,
    Up,
    TowardZero,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Add,
    Min,
    Max,
}

/// See [`super::Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // they are flags of a descriptor
pub(crate) struct FloatPlan {
    from: Format,
    to: Format,
    /// What a type conversion has does not matter.
    function: Function,
    rounding: Rounding,
    flush: bool,
    denormals_are_zero: bool,
    clamp_e4m3: bool,
    pub(super) negate: [bool; 2],
}

impl FloatPlan {
    pub(super) fn new(from: Format, to: Format, function: Option<u8>, flags: u16, clamp_e4m3: bool) -> Option<Self> {
        let set = |flag: u16| flags & flag != 0;
        if set(compute_flag::SIGNED | compute_flag::SATURATE) {
            return None;
        }
        let function = match function {
            None | Some(compute_type::ADD) => Function::Add,
            Some(compute_type::MIN) => Function::Min,
            Some(compute_type::MAX) => Function::Max,
            Some(_) => return None,
        };
        let rounding = match flags & compute_flag::ROUNDING {
            compute_flag::ROUND_NEAREST_EVEN => Rounding::NearestEven,
            compute_flag::ROUND_DOWN => Rounding::Down,
            compute_flag::ROUND_UP => Rounding::Up,
            compute_flag::ROUND_TOWARD_ZERO => Rounding::TowardZero,
            _ => return None,
        };
        Some(Self {
            from,
            to,
            function,
            rounding,
            flush: set(compute_flag::FLUSH_TO_ZERO),
            denormals_are_zero: set(compute_flag::DENORMALS_ARE_ZERO),
            clamp_e4m3,
            negate: [set(compute_flag::NEGATE_1), set(compute_flag::NEGATE_2)],
        })
    }

    pub(super) fn convert(&self, element: u64) -> Value {
        let (number, denormal) = self.operand(element, 0);
        self.write(number, denormal, self.to)
    }

    pub(super) fn combine(&self, first: u64, second: u64, to: Stage) -> Value {
        let (a, b) = (self.operand(first, 0), self.operand(second, 1));
        self.apply(a, b, to)
    }

    pub(super) fn accumulate(&self, so_far: u64, element: u64, to: Stage) -> Value {
        let (number, _) = Number::read(self.wider(), so_far);
        self.apply((number, false), self.operand(element, 1), to)
    }

    /// The type of intermediate results. Of two types that can be converted one holds all values of the other.
    fn wider(&self) -> Format {
        if self.to.bits() >= self.from.bits() { self.to } else { self.from }
    }

    /// An element of the input type as the flags want it, and whether it is to be reported as denormal.
    fn operand(&self, element: u64, index: usize) -> (Number, bool) {
        let (mut number, denormal) = Number::read(self.from, element);
        if denormal && self.denormals_are_zero {
            number.class = Number::ZERO;
        }
        number.negative ^= self.negate[index];
        (number, denormal && !self.denormals_are_zero)
    }

    fn apply(&self, a: (Number, bool), b: (Number, bool), to: Stage) -> Value {
        let denormal = a.1 || b.1;
        let (a, b) = (a.0, b.0);
        let result = match (a.class, b.class) {
            (Class::Nan(_), _) => a,
            (_, Class::Nan(_)) => b,
            _ => match self.function {
                Function::Add => a.add(b, self.rounding == Rounding::Down),
                Function::Min if a.compare(b) == Ordering::Less => a,
                Function::Max if a.compare(b) == Ordering::Greater => a,
                Function::Min | Function::Max => b,
            },
        };
        self.write(result, denormal, if to == Stage::Output { self.to } else { self.wider() })
    }

    /// The element of a type for a number.
    fn write(&self, number: Number, denormal: bool, to: Format) -> Value {
        let negative = number.negative;
        let (bits, exceptions) = match number.class {
            Class::Nan(payload) if to.infinities => {
                let quiet = 1 << (to.fraction - 1);
                let fraction = quiet | payload >> (64 - to.fraction) >> 1;
                (to.element(negative, to.top() << to.fraction | fraction), exception::INVALID)
            }
            Class::Nan(_) => (to.element(negative, to.top() << to.fraction | to.fraction_mask()), exception::INVALID),
            Class::Infinite if to.infinities => (to.element(negative, to.top() << to.fraction), 0),
            Class::Infinite => (self.beyond(negative, to), exception::OVERFLOW),
            Class::Finite(0, _) => (to.element(negative, 0), 0),
            Class::Finite(digits, exponent) => self.round(negative, digits, exponent, to),
        };
        Value { bits, exceptions: exceptions | if denormal { exception::DENORMAL } else { 0 } }
    }

    /// Rounds a number that is not zero.
    fn round(&self, negative: bool, digits: u128, exponent: i32, to: Format) -> (u64, u8) {
        // The exponent of the last digit that the result can have: as many digits as fit, but none below the lowest.
        let leading = exponent + digits.ilog2().cast_signed();
        let mut last = (leading - to.fraction.cast_signed()).max(to.lowest());
        let mut kept = if last <= exponent {
            // Exact. The leading digit stays within the digits of the type.
            digits << (exponent - last)
        } else {
            let by = (last - exponent).unsigned_abs();
            let kept = digits.checked_shr(by).unwrap_or(0);
            let rest = digits - kept.checked_shl(by).unwrap_or(0);
            // All digits fall off, and more places than there are: less than half.
            let half = 1_u128.checked_shl(by - 1);
            let against_half = half.map_or(Ordering::Less, |half| rest.cmp(&half));
            let up = match self.rounding {
                Rounding::NearestEven => {
                    against_half == Ordering::Greater || against_half == Ordering::Equal && kept & 1 != 0
                }
                Rounding::Down => negative && rest != 0,
                Rounding::Up => !negative && rest != 0,
                Rounding::TowardZero => false,
            };
            kept + u128::from(up)
        } as u64;
        if kept >> to.fraction == 2 {
            kept >>= 1;
            last += 1;
        }
        let (most, highest) = to.largest();
        if last > highest || last == highest && kept > most {
            let away = match self.rounding {
                Rounding::NearestEven => true,
                Rounding::Down => negative,
                Rounding::Up => !negative,
                Rounding::TowardZero => false,
            };
            let bits = if away { self.infinity(negative, to) } else { to.finite(negative, most, highest) };
            return (bits, exception::OVERFLOW);
        }
        if kept >> to.fraction == 0 {
            let bits = if self.flush { 0 } else { kept };
            return (to.element(negative, bits), exception::UNDERFLOW);
        }
        (to.finite(negative, kept, last), 0)
    }

    /// Infinity, or what stands for it.
    fn infinity(&self, negative: bool, to: Format) -> u64 {
        if to.infinities { to.element(negative, to.top() << to.fraction) } else { self.beyond(negative, to) }
    }

    /// What a type without infinities has instead.
    fn beyond(&self, negative: bool, to: Format) -> u64 {
        let nan = to.top() << to.fraction | to.fraction_mask();
        to.element(negative, if self.clamp_e4m3 { nan - 1 } else { nan })
    }
}
