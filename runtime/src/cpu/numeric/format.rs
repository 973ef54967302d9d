//! Floating-point types: bits to numbers, and numbers to bits (specification appendix E).

use idxd_sys::compute::{data_type, exception};

use super::Rounding;

/// How a type lays out its bits. The sign is the top bit, the exponent comes next, the fraction last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    exponent_bits: u32,
    fraction_bits: u32,
    /// Whether the highest exponent is for infinity and NaN alone. FP8 E4M3 has numbers there, no infinity, and a NaN
    /// whose bits, but for the sign, are all ones.
    infinity: bool,
}

/// A number, as exactly as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Not a number. The fraction is aligned to the top of the word.
    Nan { negative: bool, fraction: u64 },
    /// Infinity.
    Infinite { negative: bool },
    /// `significand * 2^exponent`, with sign, so that there are two zeros.
    Finite { negative: bool, significand: u128, exponent: i32 },
}

impl Number {
    /// The sum of opposite infinities, the CPU's default NaN.
    pub(super) const INDEFINITE: Self = Self::Nan { negative: true, fraction: 1 << 63 };

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Nan { negative, fraction } => Self::Nan { negative: !negative, fraction },
            Self::Infinite { negative } => Self::Infinite { negative: !negative },
            Self::Finite { negative, significand, exponent } => {
                Self::Finite { negative: !negative, significand, exponent }
            }
        }
    }
}

impl Format {
    /// The format of a floating-point type.
    pub(super) const fn of(code: u8) -> Self {
        let (exponent_bits, fraction_bits) = match code {
            data_type::FP8_E5M2 => (5, 2),
            data_type::FP8_E4M3 => (4, 3),
            data_type::FP16 => (5, 10),
            data_type::BF16 => (8, 7),
            data_type::FP32 => (8, 23),
            _ => (11, 52),
        };
        Self { exponent_bits, fraction_bits, infinity: code != data_type::FP8_E4M3 }
    }

    const fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    const fn fraction_mask(self) -> u64 {
        (1 << self.fraction_bits) - 1
    }

    const fn exponent_mask(self) -> u64 {
        (1 << self.exponent_bits) - 1
    }

    /// The exponent of a denormal's last bit.
    const fn least_exponent(self) -> i32 {
        1 - self.bias() - self.fraction_bits.cast_signed()
    }

    /// All bits but the sign of the smallest normal value.
    const fn smallest_normal(self) -> u64 {
        1 << self.fraction_bits
    }

    /// All bits but the sign of infinity, or of the NaN that stands for it.
    const fn infinity(self) -> u64 {
        if self.infinity {
            self.exponent_mask() << self.fraction_bits
        } else {
            self.exponent_mask() << self.fraction_bits | self.fraction_mask()
        }
    }

    /// All bits but the sign of the largest finite value.
    const fn largest(self) -> u64 {
        self.infinity() - 1
    }

    const fn signed(self, negative: bool, magnitude: u64) -> u64 {
        magnitude | (negative as u64) << (self.exponent_bits + self.fraction_bits)
    }

    /// The number that bits stand for, and whether it is denormal.
    pub(super) fn decode(self, bits: u64) -> (Number, bool) {
        let negative = bits >> (self.exponent_bits + self.fraction_bits) & 1 != 0;
        let magnitude = bits & (self.signed(true, 0) - 1);
        let fraction = magnitude & self.fraction_mask();
        if magnitude > self.largest() {
            if self.infinity && fraction == 0 {
                return (Number::Infinite { negative }, false);
            }
            // The only NaN of a type without infinity has a fixed fraction, which is no payload (table 9-13).
            let fraction = if self.infinity { fraction << (64 - self.fraction_bits) } else { 0 };
            return (Number::Nan { negative, fraction }, false);
        }
        let biased = (magnitude >> self.fraction_bits) as i32;
        let (significand, steps) =
            if biased == 0 { (fraction, 0) } else { (fraction | self.smallest_normal(), biased - 1) };
        let exponent = self.least_exponent() + steps;
        let number = Number::Finite { negative, significand: significand.into(), exponent };
        (number, biased == 0 && fraction != 0)
    }

    /// The bits of a number, rounded, and what was exceptional about that.
    pub(super) fn encode(self, number: Number, rounding: Rounding, flush: bool) -> (u64, u8) {
        match number {
            Number::Nan { negative, fraction } => (self.signed(negative, self.nan(fraction)), 0),
            Number::Infinite { negative } => {
                let exceptions = if self.infinity { 0 } else { exception::OVERFLOW };
                (self.signed(negative, self.infinity()), exceptions)
            }
            Number::Finite { negative, significand, exponent } => {
                let (magnitude, exceptions) = self.round(negative, significand, exponent, rounding, flush);
                (self.signed(negative, magnitude), exceptions)
            }
        }
    }

    /// A quiet NaN with the upper bits of a fraction.
    fn nan(self, fraction: u64) -> u64 {
        if self.infinity {
            let quiet = fraction | 1 << 63;
            self.infinity() | quiet >> (64 - self.fraction_bits)
        } else {
            self.infinity()
        }
    }

    /// All bits but the sign of `significand * 2^exponent`.
    ///
    /// The significand is below 2^126. Where it does not hold all of a number, its lowest bit is 1 and lies below
    /// everything that decides about rounding.
    fn round(self, negative: bool, significand: u128, exponent: i32, rounding: Rounding, flush: bool) -> (u64, u8) {
        if significand == 0 {
            return (0, 0);
        }
        let top = exponent + significand.ilog2().cast_signed();
        // The exponent of the last bit that the result has.
        let last = (top - self.fraction_bits.cast_signed()).max(self.least_exponent());
        let shift = last - exponent;
        let rounded = if shift <= 0 {
            // At most as many bits as the result's significand.
            (significand << -shift) as u64
        } else {
            divided(significand, shift.cast_unsigned(), negative, rounding)
        };
        // With its leading bit, a significand is one exponent more than its fraction: which is what the bits of a normal
        // number are above those of a denormal one. A carry out of the significand goes to the exponent.
        let magnitude = (u64::from(last.abs_diff(self.least_exponent())) << self.fraction_bits) + rounded;
        if magnitude > self.largest() {
            let up = match rounding {
                Rounding::NearestEven => true,
                Rounding::Down => negative,
                Rounding::Up => !negative,
                Rounding::TowardZero => false,
            };
            return (if up { self.infinity() } else { self.largest() }, exception::OVERFLOW);
        }
        if magnitude < self.smallest_normal() {
            return (if flush { 0 } else { magnitude }, exception::UNDERFLOW);
        }
        (magnitude, 0)
    }
}

/// `significand / 2^shift`, rounded to an integer; the sign is that of the number.
fn divided(significand: u128, shift: u32, negative: bool, rounding: Rounding) -> u64 {
    // Beyond 127 bits nothing is left of a significand below 2^126, not even a half.
    let (quotient, rest, half) = if shift > 127 {
        (0, significand, u128::MAX)
    } else {
        (significand >> shift, significand & ((1 << shift) - 1), 1 << (shift - 1))
    };
    let up = match rounding {
        Rounding::NearestEven => rest > half || rest == half && quotient & 1 != 0,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
        Rounding::TowardZero => false,
    };
    quotient as u64 + u64::from(up)
}
