//! Arithmetic of the typed operations: ten data types, six functions, four ways to round (specification sections 8.1.10
//! to 8.1.12, 8.2.2 and appendix E).
//!
//! A result is computed exactly and rounded once, to the type in which it is wanted. So there is one place that rounds
//! (`float::round`), and nothing depends on the order of intermediate steps. What the specification leaves open:
//!
//! * Operands are taken as they are, whatever their type: an element of a narrower output type comes from the exact sum,
//!   not from a sum that was rounded to the input type before.
//! * A gather-reduce rounds after every step but the last to the wider one of its two types, and the last step to the
//!   output type. Thus one list entry is a type conversion, and two are a reduce. What a step leaves is no operand: it is
//!   neither reported as denormal nor taken for zero.
//! * Negation changes the sign bit, also that of a NaN; an integer is negated exactly, an unsigned one becomes negative.
//! * Saturation of a signed result gives the nearest value of the type, that of an unsigned one the largest, also where it
//!   is negative: so says table 8-11.
//! * A NaN keeps its sign and the upper bits of its fraction and becomes quiet. The sum of opposite infinities is the
//!   CPU's default NaN, which is negative. FP8 E4M3 has one NaN of each sign, without a payload.
//! * FP8 E4M3 has no infinity. Where a result would be infinite it is a NaN, or the largest value if so configured, and
//!   counts as an overflow even if an operand was infinite.
//! * -0 is less than +0, as in the minimum and maximum of IEEE 754-2019. Those of the CPU that let a NaN win, as the
//!   device does, take zeros like that too.
//! * A denormal operand is reported also beside a NaN.
#![forbid(unsafe_code)]

mod float;
mod integer;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use idxd_sys::compute::{compute_flag, data_type};

use self::float::FloatPlan;
pub(crate) use self::float::Format;
use self::integer::IntegerPlan;

/// An element, in the low bits, and the exceptions that came up with it ([`idxd_sys::compute::exception`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) bits: u64,
    pub(crate) exceptions: u8,
}

/// What a step of a gather-reduce leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// An intermediate result, of the wider type.
    Intermediate,
    /// An element of the output.
    Output,
}

/// How elements become elements: two types, a function, flags. Both types are integers, or both are floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Integer(IntegerPlan),
    Float(FloatPlan),
}

impl Plan {
    /// The plan behind the fields of a descriptor; `None` if a code is not assigned, or the combination makes no sense.
    /// `function` is the compute type, `None` for a type conversion. What a device offers of it is another question.
    pub(crate) fn new(from: u8, to: u8, function: Option<u8>, flags: u16, clamp_e4m3: bool) -> Option<Self> {
        if flags & compute_flag::RESERVED != 0 {
            return None;
        }
        if let (Some(from), Some(to)) = (integer::bits(from), integer::bits(to)) {
            return IntegerPlan::new(from, to, function, flags).map(Self::Integer);
        }
        let (from, to) = (Format::new(from)?, Format::new(to)?);
        FloatPlan::new(from, to, function, flags, clamp_e4m3).map(Self::Float)
    }

    /// The same with both operands negated if the first is, for operations that have only one kind of operand.
    pub(crate) fn negating_alike(mut self) -> Self {
        match &mut self {
            Self::Integer(plan) => plan.negate[1] = plan.negate[0],
            Self::Float(plan) => plan.negate[1] = plan.negate[0],
        }
        self
    }

    /// A type conversion.
    pub(crate) fn convert(&self, element: u64) -> Value {
        match self {
            Self::Integer(plan) => plan.convert(element),
            Self::Float(plan) => plan.convert(element),
        }
    }

    /// The function of two elements of the input type.
    pub(crate) fn combine(&self, first: u64, second: u64, to: Stage) -> Value {
        match self {
            Self::Integer(plan) => plan.combine(first, second, to),
            Self::Float(plan) => plan.combine(first, second, to),
        }
    }

    /// The function of an intermediate result and an element of the input type.
    pub(crate) fn accumulate(&self, so_far: u64, element: u64, to: Stage) -> Value {
        match self {
            Self::Integer(plan) => plan.accumulate(so_far, element, to),
            Self::Float(plan) => plan.accumulate(so_far, element, to),
        }
    }
}

/// Bytes of an element; 0 for a code that is not assigned.
pub(crate) fn size(code: u8) -> u64 {
    data_type::size(code).map_or(0, u64::from)
}
