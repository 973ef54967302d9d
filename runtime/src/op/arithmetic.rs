//! What is computed with typed elements: types, function, and how results are brought into their type.

#![forbid(unsafe_code)]

use idxd_sys::compute::{compute_flag, compute_type};

use crate::descriptor::{ComputeType, DataType, Rounding};
use crate::dispatch::Arithmetic;
use crate::error::Error;

/// From which type into which elements are converted, and how.
///
/// Integers become integers, and floating-point numbers such. Which of the latter a device converts is in DSACAP1; the CPU
/// does all. Options that do not concern the types have no effect.
///
/// ```
/// use dsa::{Conversion, DataType, Rounding};
///
/// let narrow = Conversion::new(DataType::Fp32, DataType::Bf16).rounding(Rounding::TowardZero);
/// let bytes = Conversion::new(DataType::Int32, DataType::Int8).signed(true).saturate(true);
/// assert_ne!(narrow, bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conversion {
    from: DataType,
    to: DataType,
    flags: u16,
}

/// How two elements become one.
///
/// The result has the type of the operands, unless it is given [another one](Self::output). Options that do not concern the
/// types have no effect.
///
/// ```
/// use dsa::{ComputeType, DataType, Reduction};
///
/// let sum = Reduction::new(ComputeType::Add, DataType::Int16).signed(true).output(DataType::Int32);
/// let difference = Reduction::new(ComputeType::Add, DataType::Fp32).negate_second(true);
/// assert_ne!(sum, difference);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduction {
    compute: ComputeType,
    from: DataType,
    to: DataType,
    flags: u16,
}

macro_rules! options {
    ($type:ident) => {
        /// How results come about (specification section 8.1.12).
        impl $type {
            /// Whether the (first) operand is negated (default: no). In a gather-reduce, every operand is.
            #[must_use]
            pub const fn negate(self, on: bool) -> Self {
                self.with(compute_flag::NEGATE_1, on)
            }

            /// Whether denormal results become zero (default: no). Floating point.
            #[must_use]
            pub const fn flush_to_zero(self, on: bool) -> Self {
                self.with(compute_flag::FLUSH_TO_ZERO, on)
            }

            /// Whether denormal operands count as zero, and are no exception (default: no). Floating point.
            #[must_use]
            pub const fn denormals_are_zero(self, on: bool) -> Self {
                self.with(compute_flag::DENORMALS_ARE_ZERO, on)
            }

            /// How results are rounded (default: to the nearest, ties to even). Floating point.
            #[must_use]
            pub const fn rounding(self, rounding: Rounding) -> Self {
                let bits = (rounding as u16) << compute_flag::ROUNDING.trailing_zeros();
                self.with(compute_flag::ROUNDING, false).with(bits, true)
            }

            /// Whether integers are signed, in two's complement (default: no).
            #[must_use]
            pub const fn signed(self, on: bool) -> Self {
                self.with(compute_flag::SIGNED, on)
            }

            /// Whether an integer result that does not fit becomes the nearest value that does, instead of wrapping around
            /// (default: no).
            #[must_use]
            pub const fn saturate(self, on: bool) -> Self {
                self.with(compute_flag::SATURATE, on)
            }

            const fn with(mut self, bits: u16, on: bool) -> Self {
                if on {
                    self.flags |= bits;
                } else {
                    self.flags &= !bits;
                }
                self
            }
        }
    };
}

options!(Conversion);
options!(Reduction);

impl Conversion {
    /// From elements of one type to such of another one, or of the same.
    pub const fn new(from: DataType, to: DataType) -> Self {
        Self { from, to, flags: 0 }
    }

    /// Types that go together, and flags that concern them.
    pub(super) fn check(self) -> Result<Arithmetic, Error> {
        arithmetic(self.from, self.to, None, self.flags)
    }
}

impl Reduction {
    /// The function of two elements of this type.
    pub const fn new(compute: ComputeType, data_type: DataType) -> Self {
        Self { compute, from: data_type, to: data_type, flags: 0 }
    }

    /// The type of the results, if it is not that of the operands. The rules are those of a [`Conversion`].
    #[must_use]
    pub const fn output(mut self, data_type: DataType) -> Self {
        self.to = data_type;
        self
    }

    /// Whether the second operand is negated (default: no). Without effect in a gather-reduce.
    #[must_use]
    pub const fn negate_second(self, on: bool) -> Self {
        self.with(compute_flag::NEGATE_2, on)
    }

    /// Types and function that go together, and flags that concern them.
    pub(super) fn check(self) -> Result<Arithmetic, Error> {
        if compute_type::is_bitwise(self.compute.code()) && !self.from.is_integer() {
            return Err(Error::NotBitwise { compute: self.compute, data_type: self.from });
        }
        arithmetic(self.from, self.to, Some(self.compute), self.flags)
    }

    /// The same for a list of operands, which have no second one.
    pub(super) fn check_of_list(self) -> Result<Arithmetic, Error> {
        self.negate_second(false).check()
    }
}

fn arithmetic(from: DataType, to: DataType, compute: Option<ComputeType>, flags: u16) -> Result<Arithmetic, Error> {
    if from.is_integer() != to.is_integer() {
        return Err(Error::NoConversion { from, to });
    }
    let of_the_kind = if from.is_integer() {
        compute_flag::SIGNED | compute_flag::SATURATE
    } else {
        compute_flag::FLUSH_TO_ZERO | compute_flag::DENORMALS_ARE_ZERO | compute_flag::ROUNDING
    };
    let negate = compute_flag::NEGATE_1 | compute_flag::NEGATE_2;
    Ok(Arithmetic { from, to, compute, flags: flags & (negate | of_the_kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_other_kind_are_left_out() {
        let all = |reduction: Reduction| {
            let reduction = reduction.negate(true).negate_second(true).signed(true).saturate(true);
            let reduction = reduction.flush_to_zero(true).denormals_are_zero(true).rounding(Rounding::Up);
            (reduction.check().unwrap().flags, reduction.check_of_list().unwrap().flags)
        };
        assert_eq!(all(Reduction::new(ComputeType::Min, DataType::Int8)), (0x183, 0x181));
        assert_eq!(all(Reduction::new(ComputeType::Min, DataType::Fp16)), (0x02f, 0x02d));
        let rounded = Conversion::new(DataType::Fp32, DataType::Fp16).rounding(Rounding::TowardZero);
        assert_eq!(rounded.rounding(Rounding::Down).check().unwrap().flags, compute_flag::ROUND_DOWN);
    }

    #[test]
    fn kinds_do_not_mix() {
        let mixed = |from, to| Conversion::new(from, to).check();
        for (from, to) in [(DataType::Int8, DataType::Fp16), (DataType::Fp64, DataType::Int64)] {
            assert_eq!(mixed(from, to), Err(Error::NoConversion { from, to }));
            assert_eq!(
                Reduction::new(ComputeType::Add, from).output(to).check(),
                Err(Error::NoConversion { from, to })
            );
        }
        for compute in [ComputeType::And, ComputeType::Or, ComputeType::Xor] {
            let data_type = DataType::Bf16;
            assert_eq!(Reduction::new(compute, data_type).check(), Err(Error::NotBitwise { compute, data_type }));
            assert!(Reduction::new(compute, DataType::Int64).check().is_ok());
        }
    }
}
