//! Integers of 8 to 64 bits, signed or not. Everything is computed in 128 bits, where no sum of two elements overflows.
#![forbid(unsafe_code)]

use idxd_sys::compute::{compute_flag, compute_type, data_type, exception};

use super::{Stage, Value};

/// Bits of an integer type.
pub(super) fn bits(code: u8) -> Option<u32> {
    data_type::size(code).filter(|_| data_type::is_integer(code)).map(|size| 8 * size)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Add,
    And,
    Or,
    Xor,
    Min,
    Max,
}

/// See [`super::Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IntegerPlan {
    /// Bits of the two types.
    from: u32,
    to: u32,
    /// What a type conversion has does not matter.
    function: Function,
    signed: bool,
    saturate: bool,
    pub(super) negate: [bool; 2],
}

impl IntegerPlan {
    pub(super) fn new(from: u32, to: u32, function: Option<u8>, flags: u16) -> Option<Self> {
        let set = |flag: u16| flags & flag != 0;
        let for_floats = compute_flag::FLUSH_TO_ZERO | compute_flag::DENORMALS_ARE_ZERO | compute_flag::ROUNDING;
        if set(for_floats) {
            return None;
        }
        let function = match function {
            None | Some(compute_type::ADD) => Function::Add,
            Some(compute_type::AND) => Function::And,
            Some(compute_type::OR) => Function::Or,
            Some(compute_type::XOR) => Function::Xor,
            Some(compute_type::MIN) => Function::Min,
            Some(compute_type::MAX) => Function::Max,
            Some(_) => return None,
        };
        Some(Self {
            from,
            to,
            function,
            signed: set(compute_flag::SIGNED),
            saturate: set(compute_flag::SATURATE),
            negate: [set(compute_flag::NEGATE_1), set(compute_flag::NEGATE_2)],
        })
    }

    pub(super) fn convert(&self, element: u64) -> Value {
        self.fit(self.operand(element, 0), self.to)
    }

    pub(super) fn combine(&self, first: u64, second: u64, to: Stage) -> Value {
        self.apply(self.operand(first, 0), self.operand(second, 1), to)
    }

    pub(super) fn accumulate(&self, so_far: u64, element: u64, to: Stage) -> Value {
        self.apply(self.read(so_far, self.from.max(self.to)), self.operand(element, 1), to)
    }

    fn apply(&self, a: i128, b: i128, to: Stage) -> Value {
        let exact = match self.function {
            Function::Add => a + b,
            // Two's complement of any width: the sign goes on for ever.
            Function::And => a & b,
            Function::Or => a | b,
            Function::Xor => a ^ b,
            Function::Min => a.min(b),
            Function::Max => a.max(b),
        };
        self.fit(exact, if to == Stage::Output { self.to } else { self.from.max(self.to) })
    }

    /// An element of the input type, negated if its flag says so.
    fn operand(&self, element: u64, index: usize) -> i128 {
        let value = self.read(element, self.from);
        if self.negate[index] { -value } else { value }
    }

    fn read(&self, element: u64, bits: u32) -> i128 {
        let unused = 64 - bits;
        let high = element << unused;
        if self.signed { i128::from(high.cast_signed() >> unused) } else { i128::from(high >> unused) }
    }

    /// The element of so many bits for a value: the value itself, the limit that stands for it, or what remains of it.
    fn fit(&self, value: i128, bits: u32) -> Value {
        let (least, most) =
            if self.signed { (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) };
        let fits = (least..=most).contains(&value);
        let exceptions = if fits { 0 } else { exception::OVERFLOW };
        let kept = match (fits, self.saturate) {
            (false, true) if self.signed && value < 0 => least,
            // For unsigned operands the table names the largest value only.
            (false, true) => most,
            _ => value,
        };
        Value { bits: kept.cast_unsigned() as u64 & u64::MAX >> (64 - bits), exceptions }
    }
}
