//! The guard's arithmetic, at compile time: powers of x, and the constants that the kernels take from them.
//!
//! A block is a polynomial over GF(2), its first bit the coefficient of the highest power; its guard is the rest of block * x^16
//! divided by P, the polynomial of T10. Polynomials of degree below 16 are `u16`s, the coefficient of x^0 in the lowest bit.
//!
//! The kernels leave a polynomial V of degree below 80 with the same rest, which [`QUOTIENT`] reduces (Barrett): with
//! T = V / x^16 and a quotient q = T * (x^80 / P) / x^64, both without their rests, the guard is V - q * P. This is exact for
//! polynomials. So that no step needs a shift, vectors hold V * x^48: T is then their upper word.

use idxd_sys::dif::GUARD_POLYNOMIAL;
use idxd_sys::limits::DIF_BLOCKS;

/// The product of two polynomials, modulo P.
pub(super) const fn multiply(left: u16, right: u16) -> u16 {
    let mut product = 0;
    let mut bit = 16;
    while bit > 0 {
        bit -= 1;
        product = (product << 1) ^ ((product >> 15) * GUARD_POLYNOMIAL);
        product ^= ((right >> bit) & 1) * left;
    }
    product
}

/// x to that power, modulo P.
pub(super) const fn power(exponent: usize) -> u16 {
    let mut result = 1;
    let mut bit = usize::BITS - exponent.leading_zeros();
    while bit > 0 {
        bit -= 1;
        result = multiply(result, result);
        if (exponent >> bit) & 1 != 0 {
            result = multiply(result, 2);
        }
    }
    result
}

/// The lower 64 bits of x^80 / P; the coefficient of x^64 is 1.
pub(super) const QUOTIENT: u64 = {
    let mut quotient = 0;
    // The 16 highest coefficients of what is left, behind that of the highest power.
    let mut rest = GUARD_POLYNOMIAL;
    let mut bit = 64;
    while bit > 0 {
        bit -= 1;
        let digit = rest >> 15;
        quotient |= (digit as u64) << bit;
        rest = (rest << 1) ^ (digit * GUARD_POLYNOMIAL);
    }
    quotient
};

/// P without its highest term, times x^48.
pub(super) const POLYNOMIAL: u64 = (GUARD_POLYNOMIAL as u64) << 48;

/// What the flag that inverts the seed makes of a block's guard, by block size. A CRC is linear: the CRC with a seed is the CRC
/// without one, exclusive or the seed's own, shifted through as many bytes of zeros.
pub(super) const EFFECT_OF_SEED: [u16; 4] = {
    let mut effects = [0; 4];
    let mut size = 0;
    while size < 4 {
        effects[size] = multiply(u16::MAX, power(DIF_BLOCKS[size] as usize * 8));
        size += 1;
    }
    effects
};

/// A multiplication of a byte, as the matrix of an affine instruction: which bits of the byte make each bit of the product modulo
/// P, upper or lower half. The row of the highest bit is the lowest byte.
const fn matrix(factor: u16, upper: bool) -> u64 {
    let mut rows = 0;
    let mut bit = 0;
    while bit < 8 {
        let product = multiply(factor, 1 << bit);
        let half = if upper { product >> 8 } else { product & 0xff };
        let mut row = 0;
        while row < 8 {
            rows |= (((half >> row) & 1) as u64) << (8 * (7 - row) + bit);
            row += 1;
        }
        bit += 1;
    }
    rows
}

/// Matrices for a row of words, so aligned that the last 512 bytes of them are lines of the cache.
#[repr(C, align(64))]
pub(super) struct Words {
    unused: [u64; 7],
    /// For each of 65 words in a row: of the distance of its last byte to the end of the last word's, and x^16.
    pub(super) matrices: [u64; 65],
}

const fn words(upper: bool) -> Words {
    let mut words = Words { unused: [0; 7], matrices: [0; 65] };
    let mut word = 0;
    while word < 65 {
        words.matrices[word] = matrix(power(64 * (64 - word) + 16), upper);
        word += 1;
    }
    words
}

/// The matrices for the upper byte of a product, in the order of memory.
pub(super) static UPPER: Words = words(true);
/// Those for the lower byte.
pub(super) static LOWER: Words = words(false);
/// Times x^4096, for a state of two bytes: upper byte to upper byte, lower to upper, upper to lower, lower to lower.
pub(super) const STEP: [u64; 4] = [
    matrix(power(4096 + 8), true),
    matrix(power(4096), true),
    matrix(power(4096 + 8), false),
    matrix(power(4096), false),
];

/// What byte 0 contributes to the guard of a number of bytes in a row, for slicing: table `n` for the byte with `n` behind it.
pub(super) static SLICES: [[u16; 256]; 16] = {
    let mut slices = [[0; 256]; 16];
    let mut behind = 0;
    while behind < 16 {
        let factor = power(8 * behind + 16);
        let mut byte = 0;
        while byte < 256 {
            slices[behind][byte] = multiply(factor, byte as u16);
            byte += 1;
        }
        behind += 1;
    }
    slices
};
