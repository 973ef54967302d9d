//! Folding constants, worked out by the compiler from the polynomials.
//!
//! All of this is about reflected data, where the first bit of memory is the coefficient of the highest power. A 64-bit value
//! stands for a polynomial with its bit 63 for x^0 and bit 0 for x^63; so of two words in memory the first has the higher
//! powers. A carry-less multiplication of two words gives their product times x, as the 128 bits have one bit to spare.
//!
//! Folding moves 128 bits, the words `first` and `second`, towards the end of the message by `distance` bits without changing the
//! remainder: `first * x^64 * x^distance + second * x^distance`. Both powers are known modulo the polynomial, so two
//! multiplications and two additions do it, and what comes out fits into 128 bits again.

/// CRC-32C polynomial, without its leading term.
pub(super) const POLYNOMIAL_32: u64 = 0x1edc_6f41;
/// CRC-64/NVME polynomial, without its leading term.
pub(super) const POLYNOMIAL_64: u64 = 0xad93_d235_94c9_3659;

/// Polynomials modulo one of degree 32 or 64.
#[derive(Clone, Copy)]
pub(super) struct Field {
    /// The polynomial without its leading term, reflected.
    polynomial: u64,
    /// The bit of the highest power that a remainder has.
    highest: u64,
}

impl Field {
    /// The field of `polynomial`, given with bit 0 for x^0 and without its leading term x^`bits`.
    pub(super) const fn new(bits: u32, polynomial: u64) -> Self {
        Self { polynomial: polynomial.reverse_bits(), highest: 1 << (64 - bits) }
    }

    /// `value` times x.
    const fn times_x(self, value: u64) -> u64 {
        let out = value & self.highest;
        let shifted = (value ^ out) >> 1;
        if out == 0 { shifted } else { shifted ^ self.polynomial }
    }

    /// The product of two remainders.
    const fn product(self, a: u64, b: u64) -> u64 {
        let mut product = 0;
        let mut bit = self.highest;
        // The highest power of `b` first.
        while bit != 0 {
            product = self.times_x(product);
            if b & bit != 0 {
                product ^= a;
            }
            bit <<= 1;
        }
        product
    }

    /// x to the power of `exponent`.
    pub(super) const fn power(self, exponent: usize) -> u64 {
        let mut power = 1 << 63;
        let mut bit = usize::BITS - exponent.leading_zeros();
        while bit > 0 {
            bit -= 1;
            power = self.product(power, power);
            if exponent >> bit & 1 == 1 {
                power = self.times_x(power);
            }
        }
        power
    }

    /// What moves 128 bits by `bytes`, at least 1, towards the end.
    pub(super) const fn fold(self, bytes: usize) -> [u64; 2] {
        [self.power(8 * bytes + 63), self.power(8 * bytes - 1)]
    }

    /// [`fold`](Self::fold) for each number of bytes from 1 to 63. Entry 0 is never used.
    pub(super) const fn folds(self) -> [[u64; 2]; 64] {
        let mut folds = [[0; 2]; 64];
        let mut bytes = 1;
        while bytes < 64 {
            folds[bytes] = self.fold(bytes);
            bytes += 1;
        }
        folds
    }

    /// x^128 divided by the polynomial, which has degree 64, without its leading term x^64.
    pub(super) const fn quotient(self) -> u64 {
        // Long division. The leading term leaves the rest of the polynomial, times x^64.
        let mut quotient = 0;
        let mut rest = self.polynomial;
        let mut power = 64;
        while power > 0 {
            power -= 1;
            if rest & 1 == 1 {
                quotient |= 1 << (63 - power);
            }
            rest = self.times_x(rest);
        }
        quotient
    }

    /// The polynomial without its leading term, reflected.
    pub(super) const fn polynomial(self) -> u64 {
        self.polynomial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x^`exponent` modulo the polynomial of `bits`, with bit 0 for x^0, by one shift per power.
    fn by_shifting(bits: u32, polynomial: u64, exponent: usize) -> u64 {
        let mut value = 1_u128;
        for _ in 0..exponent {
            value <<= 1;
            if value >> bits & 1 == 1 {
                value ^= 1 << bits | u128::from(polynomial);
            }
        }
        value as u64
    }

    #[test]
    fn powers_are_those_of_shifting() {
        for (bits, polynomial) in [(32, POLYNOMIAL_32), (64, POLYNOMIAL_64)] {
            let field = Field::new(bits, polynomial);
            for exponent in (0..300).chain([511, 512, 4095, 4096, 33_000]) {
                let expected = by_shifting(bits, polynomial, exponent).reverse_bits();
                assert_eq!(field.power(exponent), expected, "{bits} bits, x^{exponent}");
            }
            assert_eq!(field.fold(16), [field.power(191), field.power(127)]);
            assert_eq!(field.folds()[63], field.fold(63));
        }
    }

    #[test]
    fn the_quotient_times_the_polynomial_is_all_of_x_to_the_128th_but_a_remainder() {
        let field = Field::new(64, POLYNOMIAL_64);
        let (quotient, polynomial) = (field.quotient().reverse_bits(), POLYNOMIAL_64);
        // (x^64 + quotient) * (x^64 + polynomial), without x^128: the powers from 64 on cancel each other.
        let product =
            (0..64).filter(|bit| quotient >> bit & 1 == 1).fold(0, |sum, bit| sum ^ u128::from(polynomial) << bit);
        let sum = product ^ u128::from(quotient) << 64 ^ u128::from(polynomial) << 64;
        assert_eq!(sum >> 64, 0);
    }
}
