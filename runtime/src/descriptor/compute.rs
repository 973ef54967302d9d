//! Typed elements: data types, compute types, compute flags, rounding, and the checks of the operations that use them
//! (specification sections 8.1.9 to 8.1.12).
//!
//! Bytes 56 to 58 of a descriptor hold all of it: the type that is read, the type that is written, the compute type, and
//! 12 compute flags.

use core::fmt;

use idxd_sys::compute::{compute_flag, compute_type, data_type, dsacap1, dsacap2};
use idxd_sys::{Descriptor, flag};

use super::capabilities::Capabilities;
use super::compute_names::{ComputeTypeName, DataTypeName};
use super::error::DescriptorError;
use super::rules;

closed_set! {
    /// The type of an element (table 8-5). Whether integers are signed is said by the operation, not by the type.
    DataType {
        /// 8-bit integer.
        Int8 = data_type::INT8;
        /// 16-bit integer.
        Int16 = data_type::INT16;
        /// 32-bit integer.
        Int32 = data_type::INT32;
        /// 64-bit integer.
        Int64 = data_type::INT64;
        /// 8-bit floating point, 5 bits of exponent and 2 of fraction.
        Fp8E5m2 = data_type::FP8_E5M2;
        /// 8-bit floating point, 4 bits of exponent and 3 of fraction.
        Fp8E4m3 = data_type::FP8_E4M3;
        /// IEEE 754 binary16.
        Fp16 = data_type::FP16;
        /// 16-bit floating point with the exponent of binary32.
        Bf16 = data_type::BF16;
        /// IEEE 754 binary32.
        Fp32 = data_type::FP32;
        /// IEEE 754 binary64.
        Fp64 = data_type::FP64;
    }
}

impl DataType {
    /// Bytes of an element: 1, 2, 4 or 8. Also its alignment.
    #[inline]
    pub const fn size(self) -> u32 {
        match data_type::size(self as u8) {
            Some(size) => size,
            None => unreachable!(),
        }
    }

    /// Whether this is an integer type.
    #[inline]
    pub const fn is_integer(self) -> bool {
        data_type::is_integer(self as u8)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DataTypeName(self.code()).fmt(f)
    }
}

closed_set! {
    /// What a reduce does with two elements (table 8-6).
    ComputeType {
        /// Adds them.
        Add = compute_type::ADD;
        /// Bitwise and; integers only.
        And = compute_type::AND;
        /// Bitwise or; integers only.
        Or = compute_type::OR;
        /// Bitwise exclusive or; integers only.
        Xor = compute_type::XOR;
        /// Takes the smaller one.
        Min = compute_type::MIN;
        /// Takes the greater one.
        Max = compute_type::MAX;
    }
}

impl fmt::Display for ComputeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ComputeTypeName(self.code()).fmt(f)
    }
}

closed_set! {
    /// How results between two floating-point values are rounded (bits 6:4 of the compute flags).
    Rounding {
        /// To the nearest, ties to even.
        NearestEven = (compute_flag::ROUND_NEAREST_EVEN >> ROUNDING_SHIFT) as u8;
        /// Towards minus infinity.
        Down = (compute_flag::ROUND_DOWN >> ROUNDING_SHIFT) as u8;
        /// Towards plus infinity.
        Up = (compute_flag::ROUND_UP >> ROUNDING_SHIFT) as u8;
        /// Towards zero.
        TowardZero = (compute_flag::ROUND_TOWARD_ZERO >> ROUNDING_SHIFT) as u8;
    }
}

/// Where the rounding type lies in the compute flags.
const ROUNDING_SHIFT: u32 = compute_flag::ROUNDING.trailing_zeros();

/// Setters of the compute flags that all typed operations have. The builder has them in a [`Typed`].
macro_rules! compute_setters {
    () => {
        /// Whether the (first) source operand is negated before anything else is done with it, but after it was
        /// converted (default: no). Needs DSACAP2 bit 0. In a gather-reduce, every source operand is negated.
        #[inline]
        pub const fn negate(mut self, on: bool) -> Self {
            self.typed.set(idxd_sys::compute::compute_flag::NEGATE_1, on);
            self
        }

        /// Whether denormal results become zero (default: no). Floating point only; needs DSACAP2 bit 2.
        #[inline]
        pub const fn flush_to_zero(mut self, on: bool) -> Self {
            self.typed.set(idxd_sys::compute::compute_flag::FLUSH_TO_ZERO, on);
            self
        }

        /// Whether denormal operands count as zero, and are no exception (default: no). Floating point only; needs
        /// DSACAP2 bit 3.
        #[inline]
        pub const fn denormals_are_zero(mut self, on: bool) -> Self {
            self.typed.set(idxd_sys::compute::compute_flag::DENORMALS_ARE_ZERO, on);
            self
        }

        /// How results are rounded; the default is to the nearest, ties to even. Floating point only; DSACAP2 bits
        /// 15:12 say which types there are.
        #[inline]
        pub const fn rounding(mut self, rounding: $crate::descriptor::Rounding) -> Self {
            self.typed.set_rounding(rounding);
            self
        }

        /// Whether integers are signed, in two's complement (default: no). Needs DSACAP2 bit 7.
        #[inline]
        pub const fn signed(mut self, on: bool) -> Self {
            self.typed.set(idxd_sys::compute::compute_flag::SIGNED, on);
            self
        }

        /// Whether an integer result that does not fit becomes the nearest value that does, instead of wrapping around
        /// (default: no). Needs DSACAP2 bit 8.
        #[inline]
        pub const fn saturate(mut self, on: bool) -> Self {
            self.typed.set(idxd_sys::compute::compute_flag::SATURATE, on);
            self
        }

        /// Sets all compute flags at once, in place of what was set before.
        #[inline]
        pub(crate) const fn compute_flags(mut self, flags: u16) -> Self {
            self.typed.flags = flags;
            self
        }

        /// Whether numeric exceptions show in the status, 0x02 instead of 0x01 (default: no). The record tells of them
        /// in any case; see [`Completion::exceptions`](crate::descriptor::Completion::exceptions).
        #[inline]
        pub const fn check_result(mut self, on: bool) -> Self {
            self.common.set(idxd_sys::flag::CHECK_RESULT, on);
            self
        }
    };
}

/// Flags of all typed operations, besides traffic classes and what is the operation's own.
pub(super) const TYPED_FLAGS: u32 = flag::BLOCK_ON_FAULT | flag::CHECK_RESULT | flag::STRICT_ORDER;

/// Bytes 56 to 58, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// Code of the type that is read.
    pub(super) from: u8,
    /// Code of the type that is written.
    pub(super) to: u8,
    /// Code of the compute type; 0 for a conversion.
    pub(super) compute: u8,
    /// The 12 compute flags.
    pub(super) flags: u16,
}

impl Typed {
    #[inline]
    pub(super) const fn new(from: DataType, to: DataType, compute: u8) -> Self {
        Self { from: from as u8, to: to as u8, compute, flags: 0 }
    }

    #[inline]
    pub(super) const fn of(d: &Descriptor) -> Self {
        let word = d.op_u32(56);
        Self {
            from: word as u8 & 0xf,
            to: (word >> 4) as u8 & 0xf,
            compute: (word >> 8) as u8 & 0xf,
            flags: (word >> 12) as u16 & 0xfff,
        }
    }

    /// The low 24 bits of the word at byte 56.
    #[inline]
    pub(super) const fn field(self) -> u64 {
        self.from as u64 | (self.to as u64) << 4 | (self.compute as u64) << 8 | (self.flags as u64) << 12
    }

    #[inline]
    pub(super) const fn set(&mut self, bits: u16, on: bool) {
        if on {
            self.flags |= bits;
        } else {
            self.flags &= !bits;
        }
    }

    #[inline]
    pub(super) const fn set_rounding(&mut self, rounding: Rounding) {
        self.flags = self.flags & !compute_flag::ROUNDING | (rounding as u16) << ROUNDING_SHIFT;
    }

    /// Bytes of `count` elements as they are read, and as they are written; 0 for reserved types.
    #[inline]
    pub(super) const fn sizes(self, count: u32) -> (u64, u64) {
        (element_size(self.from) * count as u64, element_size(self.to) * count as u64)
    }

    /// Data types, conversion and compute flags. `has_two_operands` says whether there is a second one to negate.
    #[inline]
    pub(super) fn check(self, opcode: u8, caps: &Capabilities, has_two_operands: bool) -> Result<(), DescriptorError> {
        data_type_offered(self.from, caps)?;
        data_type_offered(self.to, caps)?;
        let [_, types, flags] = caps.dsa_caps();
        if !dsacap1::has_conversion(types, self.from, self.to) {
            return Err(bad_conversion(self.from, self.to));
        }
        let is_float = data_type::is_float(self.from);
        let negate = compute_flag::NEGATE_1 | if has_two_operands { compute_flag::NEGATE_2 } else { 0 };
        let defined = if is_float {
            negate | compute_flag::FLUSH_TO_ZERO | compute_flag::DENORMALS_ARE_ZERO | compute_flag::ROUNDING
        } else {
            negate | compute_flag::SIGNED | compute_flag::SATURATE
        };
        if self.flags & !defined != 0 {
            return Err(flags_not_allowed(opcode, self.from, self.flags & !defined));
        }
        let missing = self.flags & !(offered_flags(flags) | compute_flag::ROUNDING);
        if missing != 0 {
            return Err(flags_not_offered(missing));
        }
        let rounding = ((self.flags & compute_flag::ROUNDING) >> ROUNDING_SHIFT) as u8;
        if is_float && (Rounding::from_code(rounding).is_none() || !dsacap2::has_rounding(flags, rounding)) {
            return Err(bad_rounding(rounding));
        }
        Ok(())
    }

    /// The compute type, after [`check`](Self::check).
    #[inline]
    pub(super) fn check_compute_type(self, caps: &Capabilities) -> Result<(), DescriptorError> {
        let code = self.compute;
        let is_offered = ComputeType::from_code(code).is_some() && dsacap1::has_compute_type(caps.dsa_caps()[1], code);
        if !is_offered || compute_type::is_bitwise(code) && data_type::is_float(self.from) {
            return Err(bad_compute_type(code, self.from));
        }
        Ok(())
    }

    /// Element count: at least 1, and neither side above the queue's largest transfer. Returns the bytes of each side.
    #[inline]
    pub(super) fn check_count(self, count: u32, caps: &Capabilities) -> Result<(u64, u64), DescriptorError> {
        let (input, output) = self.sizes(count);
        let (size, max) = (if input > output { input } else { output }, caps.max_transfer_size());
        // Zero wraps around and is above any maximum.
        if size.wrapping_sub(1) >= max {
            return Err(rules::bad_size(size, max));
        }
        Ok((input, output))
    }
}

/// Bytes of an element; 0 for a reserved type.
#[inline]
pub(super) const fn element_size(code: u8) -> u64 {
    match data_type::size(code) {
        Some(size) => size as u64,
        None => 0,
    }
}

#[inline]
pub(super) fn data_type_offered(code: u8, caps: &Capabilities) -> Result<(), DescriptorError> {
    if element_size(code) == 0 || !dsacap1::has_data_type(caps.dsa_caps()[1], code) {
        return Err(bad_data_type(code));
    }
    Ok(())
}

/// The element count field; [`Typed::check_count`] checks it against the queue.
#[inline]
pub(super) fn count_field(count: u64, size: u32, caps: &Capabilities) -> Result<u32, DescriptorError> {
    match u32::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => Err(rules::bad_size(count.saturating_mul(u64::from(size)), caps.max_transfer_size())),
    }
}

/// The compute flags that DSACAP2 has, all but rounding.
const fn offered_flags(dsacap2: u64) -> u16 {
    let mut flags = 0;
    if dsacap2 & dsacap2::NEGATE != 0 {
        flags |= compute_flag::NEGATE_1 | compute_flag::NEGATE_2;
    }
    if dsacap2 & dsacap2::FLUSH_TO_ZERO != 0 {
        flags |= compute_flag::FLUSH_TO_ZERO;
    }
    if dsacap2 & dsacap2::DENORMALS_ARE_ZERO != 0 {
        flags |= compute_flag::DENORMALS_ARE_ZERO;
    }
    if dsacap2 & dsacap2::SIGNED != 0 {
        flags |= compute_flag::SIGNED;
    }
    if dsacap2 & dsacap2::SATURATE != 0 {
        flags |= compute_flag::SATURATE;
    }
    flags
}

#[cold]
fn bad_data_type(code: u8) -> DescriptorError {
    DescriptorError::DataTypeNotOffered { code }
}

#[cold]
fn bad_conversion(from: u8, to: u8) -> DescriptorError {
    DescriptorError::ConversionNotOffered { from, to }
}

#[cold]
fn bad_compute_type(code: u8, data_type: u8) -> DescriptorError {
    DescriptorError::ComputeTypeNotOffered { code, data_type }
}

#[cold]
fn flags_not_allowed(opcode: u8, data_type: u8, flags: u16) -> DescriptorError {
    DescriptorError::ComputeFlagsNotAllowed { opcode, data_type, flags }
}

#[cold]
fn flags_not_offered(flags: u16) -> DescriptorError {
    DescriptorError::ComputeFlagsNotOffered { flags }
}

#[cold]
fn bad_rounding(code: u8) -> DescriptorError {
    DescriptorError::RoundingNotOffered { code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_tables() {
        let codes = |all: &[DataType]| all.iter().map(|one| one.code()).collect::<Vec<_>>();
        assert_eq!(codes(DataType::ALL), data_type::ALL);
        let codes: Vec<u8> = ComputeType::ALL.iter().map(|one| one.code()).collect();
        assert_eq!(codes, compute_type::ALL);
        let codes: Vec<u8> = Rounding::ALL.iter().map(|one| one.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3]);
        for code in 0..=u8::MAX {
            assert_eq!(DataType::from_code(code).map(DataType::size), data_type::size(code));
            assert_eq!(ComputeType::from_code(code).is_some(), compute_type::ALL.contains(&code));
        }
        let sizes: Vec<u32> = DataType::ALL.iter().map(|one| one.size()).collect();
        assert_eq!(sizes, [1, 2, 4, 8, 1, 1, 2, 2, 4, 8]);
    }

    #[test]
    fn bytes_56_to_58_are_taken_apart_as_they_are_put_together() {
        for word in (0..1 << 24).step_by(0x1357) {
            let mut d = Descriptor::default();
            d.set_op_u32(56, word | 0xab << 24);
            assert_eq!(Typed::of(&d).field(), u64::from(word));
        }
    }
}
