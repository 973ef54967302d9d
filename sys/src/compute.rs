//! Typed operations of version 3.0: type conversion, reduce, gather and scatter (specification sections 8.1.9 to
//! 8.1.14, 8.2.2, 8.3.19 to 8.3.25 and 9.2.30 to 9.2.32).
//!
//! Where the fields lie, in bytes of the descriptor:
//!
//! | field | bytes |
//! |---|---|
//! | element count | 32 (conversion, reduce, gather-reduce), 40 (gather copy, scatter copy, scatter fill) |
//! | destination (reduce), second destination | 40, 48 |
//! | SGL size | 44 |
//! | base address of an SGL | 48 |
//! | input (or only) data type, output data type | 56 bits 3:0, 56 bits 7:4 |
//! | compute type, compute flags | 57 bits 3:0, 57 bits 7:4 and 58 |
//! | inter-domain selector (reduce) | 59 |
//! | SGL format | 59 bits 7:4 |
//! | IDPT handles | 60 (source, first), 62 (destination, second) |

/// Data types (table 8-5).
pub mod data_type {
    /// 8-bit integer.
    pub const INT8: u8 = 0;
    /// 16-bit integer.
    pub const INT16: u8 = 1;
    /// 32-bit integer.
    pub const INT32: u8 = 2;
    /// 64-bit integer.
    pub const INT64: u8 = 3;
    /// 8-bit floating point, 5 bits of exponent, 2 of fraction.
    pub const FP8_E5M2: u8 = 4;
    /// 8-bit floating point, 4 bits of exponent, 3 of fraction.
    pub const FP8_E4M3: u8 = 5;
    /// IEEE 754 binary16.
    pub const FP16: u8 = 6;
    /// 16-bit floating point with the exponent of binary32.
    pub const BF16: u8 = 7;
    /// IEEE 754 binary32.
    pub const FP32: u8 = 8;
    /// IEEE 754 binary64.
    pub const FP64: u8 = 9;

    /// Every data type, in ascending order.
    pub const ALL: &[u8] = &[INT8, INT16, INT32, INT64, FP8_E5M2, FP8_E4M3, FP16, BF16, FP32, FP64];

    /// Bytes of an element; `None` for a reserved code.
    #[inline]
    pub const fn size(code: u8) -> Option<u32> {
        match code {
            INT8 | FP8_E5M2 | FP8_E4M3 => Some(1),
            INT16 | FP16 | BF16 => Some(2),
            INT32 | FP32 => Some(4),
            INT64 | FP64 => Some(8),
            _ => None,
        }
    }

    /// Whether a code names an integer type.
    #[inline]
    pub const fn is_integer(code: u8) -> bool {
        code <= INT64
    }

    /// Whether a code names a floating-point type.
    #[inline]
    pub const fn is_float(code: u8) -> bool {
        code >= FP8_E5M2 && code <= FP64
    }

    /// The lower-case name of a type, `None` if the code is not assigned.
    pub const fn name(code: u8) -> Option<&'static str> {
        Some(match code {
            INT8 => "int8",
            INT16 => "int16",
            INT32 => "int32",
            INT64 => "int64",
            FP8_E5M2 => "fp8-e5m2",
            FP8_E4M3 => "fp8-e4m3",
            FP16 => "fp16",
            BF16 => "bf16",
            FP32 => "fp32",
            FP64 => "fp64",
            _ => return None,
        })
    }
}

/// Compute types (table 8-6).
pub mod compute_type {
    /// Sum.
    pub const ADD: u8 = 1;
    /// Bitwise and; integers only.
    pub const AND: u8 = 3;
    /// Bitwise or; integers only.
    pub const OR: u8 = 4;
    /// Bitwise exclusive or; integers only.
    pub const XOR: u8 = 5;
    /// The smaller one.
    pub const MIN: u8 = 6;
    /// The greater one.
    pub const MAX: u8 = 7;

    /// Every compute type, in ascending order.
    pub const ALL: &[u8] = &[ADD, AND, OR, XOR, MIN, MAX];

    /// Whether a code names a bitwise operation.
    #[inline]
    pub const fn is_bitwise(code: u8) -> bool {
        matches!(code, AND | OR | XOR)
    }

    /// The lower-case name of a compute type, `None` if the code is not assigned.
    pub const fn name(code: u8) -> Option<&'static str> {
        Some(match code {
            ADD => "add",
            AND => "and",
            OR => "or",
            XOR => "xor",
            MIN => "min",
            MAX => "max",
            _ => return None,
        })
    }
}

/// Compute flags, 12 bits (table 8-7).
pub mod compute_flag {
    /// The (first) source operand is negated.
    pub const NEGATE_1: u16 = 1 << 0;
    /// The second source operand is negated. Reserved for type conversion and gather-reduce.
    pub const NEGATE_2: u16 = 1 << 1;
    /// Results that are denormal become 0.
    pub const FLUSH_TO_ZERO: u16 = 1 << 2;
    /// Operands that are denormal count as 0.
    pub const DENORMALS_ARE_ZERO: u16 = 1 << 3;
    /// Bits 6:4: the rounding type.
    pub const ROUNDING: u16 = 0b111 << 4;
    /// Rounding type: to nearest, ties to even.
    pub const ROUND_NEAREST_EVEN: u16 = 0;
    /// Rounding type: down.
    pub const ROUND_DOWN: u16 = 1 << 4;
    /// Rounding type: up.
    pub const ROUND_UP: u16 = 2 << 4;
    /// Rounding type: toward zero.
    pub const ROUND_TOWARD_ZERO: u16 = 3 << 4;
    /// Integer operands are signed.
    pub const SIGNED: u16 = 1 << 7;
    /// Integer results that do not fit are the nearest that does, instead of wrapping around.
    pub const SATURATE: u16 = 1 << 8;
    /// Reserved bits.
    pub const RESERVED: u16 = 0xe00;
}

/// Numeric exceptions, bits of the result byte (table 8-11).
pub mod exception {
    /// An operation on a NaN, or a sum of infinities of opposite signs.
    pub const INVALID: u8 = 1 << 0;
    /// An operand is denormal, and denormals do not count as zero.
    pub const DENORMAL: u8 = 1 << 1;
    /// A result is beyond the largest value of its type.
    pub const OVERFLOW: u8 = 1 << 2;
    /// A result is below the smallest normal value of its type.
    pub const UNDERFLOW: u8 = 1 << 3;
}

/// Formats of a scatter-gather list (table 8-9).
pub mod sgl_format {
    /// An entry is a byte offset from the base address, 64 bits.
    pub const OFFSET_64: u8 = 1;
    /// An entry counts blocks from the base address, 32 bits.
    pub const INDEX_32: u8 = 2;
    /// An entry counts blocks from the base address, 64 bits.
    pub const INDEX_64: u8 = 3;

    /// Every format, in ascending order.
    pub const ALL: &[u8] = &[OFFSET_64, INDEX_32, INDEX_64];

    /// Bytes of an entry; `None` for a reserved code.
    #[inline]
    pub const fn entry_size(code: u8) -> Option<u32> {
        match code {
            OFFSET_64 | INDEX_64 => Some(8),
            INDEX_32 => Some(4),
            _ => None,
        }
    }
}

/// Register DSACAP0: lists, and operations that may name an IDPT handle (section 9.2.30).
pub mod dsacap0 {
    /// Bits 3:0: binary logarithm of the most entries of a list.
    pub const MAX_SGL_SHIFT: u64 = 0xf;
    /// Bits 7:4: binary logarithm of the largest block of a gather-reduce, in bytes.
    pub const MAX_GATHER_REDUCE_SHIFT: u64 = 0xf << 4;
    /// Type conversion may name IDPT handles.
    pub const INTER_DOMAIN_TYPE_CONV: u64 = 1 << 8;
    /// Reduce may name IDPT handles.
    pub const INTER_DOMAIN_REDUCE: u64 = 1 << 9;
    /// Reduce with dualcast may name IDPT handles.
    pub const INTER_DOMAIN_REDUCE_DUALCAST: u64 = 1 << 10;
    /// Gather copy may name IDPT handles.
    pub const INTER_DOMAIN_GATHER_COPY: u64 = 1 << 12;
    /// Scatter copy may name IDPT handles.
    pub const INTER_DOMAIN_SCATTER_COPY: u64 = 1 << 13;
    /// Scatter fill may name an IDPT handle.
    pub const INTER_DOMAIN_SCATTER_FILL: u64 = 1 << 14;
    /// Bits 47:32: the list formats offered; bit 32 + n for format n.
    pub const SGL_FORMATS: u64 = 0xffff << 32;

    /// The most entries of a list.
    #[inline]
    pub const fn max_sgl_size(value: u64) -> u32 {
        1 << (value & MAX_SGL_SHIFT)
    }

    /// The largest block of a gather-reduce, in bytes.
    #[inline]
    pub const fn max_gather_reduce_block(value: u64) -> u32 {
        1 << ((value & MAX_GATHER_REDUCE_SHIFT) >> 4)
    }

    /// Whether a list format is offered.
    #[inline]
    pub const fn has_sgl_format(value: u64, format: u8) -> bool {
        format != 0 && format < 16 && value >> (32 + format) & 1 != 0
    }
}

/// Register DSACAP1: data types, conversions, compute types (section 9.2.31).
pub mod dsacap1 {
    use super::data_type::{BF16, FP8_E4M3, FP8_E5M2, FP16, FP32, FP64};

    /// The conversions between floating-point types that a device may offer, with the bit that says so.
    pub const CONVERSIONS: &[(u8, u8, u32)] = &[
        (FP8_E5M2, FP16, 16),
        (FP8_E5M2, BF16, 17),
        (FP8_E5M2, FP32, 18),
        (FP8_E4M3, FP16, 19),
        (FP8_E4M3, BF16, 20),
        (FP8_E4M3, FP32, 21),
        (FP16, FP32, 22),
        (BF16, FP32, 23),
        (FP32, FP64, 24),
        (FP16, FP8_E5M2, 32),
        (BF16, FP8_E5M2, 33),
        (FP32, FP8_E5M2, 34),
        (FP16, FP8_E4M3, 35),
        (BF16, FP8_E4M3, 36),
        (FP32, FP8_E4M3, 37),
        (FP32, FP16, 38),
        (FP32, BF16, 39),
        (FP64, FP32, 40),
    ];

    /// Whether a data type is offered.
    #[inline]
    pub const fn has_data_type(value: u64, code: u8) -> bool {
        code < 16 && value >> code & 1 != 0
    }

    /// Whether a compute type is offered.
    #[inline]
    pub const fn has_compute_type(value: u64, code: u8) -> bool {
        code < 16 && value >> (48 + code) & 1 != 0
    }

    /// Whether elements may be converted from one type to the other. Integers may, in all combinations.
    pub const fn has_conversion(value: u64, from: u8, to: u8) -> bool {
        if !has_data_type(value, from) || !has_data_type(value, to) {
            return false;
        }
        if from == to || super::data_type::is_integer(from) && super::data_type::is_integer(to) {
            return true;
        }
        let mut i = 0;
        while i < CONVERSIONS.len() {
            let (a, b, bit) = CONVERSIONS[i];
            if a == from && b == to {
                return value >> bit & 1 != 0;
            }
            i += 1;
        }
        false
    }
}

/// Register DSACAP2: compute flags and rounding types (section 9.2.32).
pub mod dsacap2 {
    /// Operands can be negated.
    pub const NEGATE: u64 = 1 << 0;
    /// Denormal results can be flushed to zero.
    pub const FLUSH_TO_ZERO: u64 = 1 << 2;
    /// Denormal operands can count as zero.
    pub const DENORMALS_ARE_ZERO: u64 = 1 << 3;
    /// Integers can be signed.
    pub const SIGNED: u64 = 1 << 7;
    /// Integer results can saturate.
    pub const SATURATE: u64 = 1 << 8;
    /// Bits 19:12: the rounding types offered; bit 12 + n for type n.
    pub const ROUNDING_TYPES: u64 = 0xff << 12;

    /// Whether a rounding type (bits 6:4 of the compute flags, as a number) is offered.
    #[inline]
    pub const fn has_rounding(value: u64, rounding: u8) -> bool {
        rounding < 8 && value >> (12 + rounding) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conversion_widens_or_narrows_and_has_a_bit_of_its_own() {
        let mut seen = 0u64;
        for &(from, to, bit) in dsacap1::CONVERSIONS {
            assert!(data_type::is_float(from) && data_type::is_float(to) && from != to);
            let widens = data_type::size(from) < data_type::size(to);
            assert_eq!(widens, bit < 32, "{from} to {to}");
            assert_eq!(seen >> bit & 1, 0);
            seen |= 1 << bit;
            let offered = 1 << bit | 1 << from | 1 << to;
            assert!(dsacap1::has_conversion(offered, from, to));
            assert!(!dsacap1::has_conversion(offered & !(1 << bit), from, to));
            assert!(!dsacap1::has_conversion(offered & !(1 << from), from, to));
        }
    }

    #[test]
    fn integers_convert_in_all_combinations_and_never_to_floats() {
        for &from in data_type::ALL {
            for &to in data_type::ALL {
                let both = data_type::is_integer(from) && data_type::is_integer(to);
                assert_eq!(dsacap1::has_conversion(0x3ff, from, to), both || from == to);
            }
        }
    }

    #[test]
    fn reserved_codes_have_no_size_and_no_name() {
        for code in 0..=u8::MAX {
            assert_eq!(data_type::size(code).is_some(), data_type::ALL.contains(&code));
            assert_eq!(data_type::name(code).is_some(), data_type::ALL.contains(&code));
            assert_eq!(compute_type::name(code).is_some(), compute_type::ALL.contains(&code));
            assert_eq!(sgl_format::entry_size(code).is_some(), sgl_format::ALL.contains(&code));
        }
    }
}
