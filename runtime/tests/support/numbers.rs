//! Typed elements, by 128-bit integers and by tables of all values of the small floating-point types.

#![allow(clippy::float_cmp, clippy::cast_precision_loss, reason = "numbers are exact here, and have few digits")]

use dsa::{ComputeType, DataType, NumericExceptions, Rounding};

/// The elements of a buffer, as bits.
pub(crate) fn elements(data_type: DataType, bytes: &[u8]) -> Vec<u64> {
    let size = data_type.size() as usize;
    bytes
        .chunks_exact(size)
        .map(|element| element.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte)))
        .collect()
}

/// Bits as they are in memory.
pub(crate) fn bytes(data_type: DataType, elements: &[u64]) -> Vec<u8> {
    let size = data_type.size() as usize;
    elements.iter().flat_map(|bits| bits.to_le_bytes()[..size].to_vec()).collect()
}

/// What is to be done with integers or floating-point numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) from: DataType,
    pub(crate) to: DataType,
    /// `None` for a conversion.
    pub(crate) compute: Option<ComputeType>,
    pub(crate) negate: [bool; 2],
    pub(crate) signed: bool,
    pub(crate) saturate: bool,
    pub(crate) rounding: Rounding,
}

impl Rules {
    pub(crate) fn new(from: DataType, to: DataType, compute: Option<ComputeType>) -> Self {
        let rounding = Rounding::NearestEven;
        Self { from, to, compute, negate: [false; 2], signed: false, saturate: false, rounding }
    }

    /// The result of an element (or two), and what was exceptional.
    pub(crate) fn apply(self, first: u64, second: u64) -> (u64, NumericExceptions) {
        if self.from.is_integer() {
            let operands = [(first, self.from), (second, self.from)];
            return self.integer(operands, self.negate);
        }
        let table = Table::of(self.from);
        let denormal = [first, second][..self.operands()].iter().any(|&bits| table.is_denormal(bits));
        let [a, b] = [first, second].map(|bits| table.value(bits));
        let (bits, mut exceptions) = self.float([a, b], self.negate);
        exceptions.set(NumericExceptions::DENORMAL, denormal);
        (bits, exceptions)
    }

    /// Many results, with the exceptions of all.
    pub(crate) fn all(self, first: &[u64], second: &[u64]) -> (Vec<u64>, NumericExceptions) {
        let mut exceptions = NumericExceptions::empty();
        let pairs = first.iter().enumerate().map(|(at, &first)| (first, second.get(at).copied().unwrap_or(0)));
        let results = pairs.map(|(first, second)| {
            let (bits, more) = self.apply(first, second);
            exceptions |= more;
            bits
        });
        (results.collect(), exceptions)
    }

    /// A chain of integers: every operand is negated, the running result is not. That has the wider one of the two types;
    /// the last step gives the output type.
    pub(crate) fn chain(self, operands: &[u64]) -> (u64, NumericExceptions) {
        let negates = self.negate[0];
        let wider = if self.to.size() >= self.from.size() { self.to } else { self.from };
        let (&first, rest) = operands.split_first().unwrap();
        if rest.is_empty() {
            return Self { compute: None, ..self }.integer([(first, self.from), (0, self.from)], [negates, false]);
        }
        let mut running = ((first, self.from), negates);
        let mut exceptions = NumericExceptions::empty();
        for (place, &next) in rest.iter().enumerate() {
            let to = if place + 1 == rest.len() { self.to } else { wider };
            let step = Self { to, ..self };
            let (bits, more) = step.integer([running.0, (next, self.from)], [running.1, negates]);
            running = ((bits, to), false);
            exceptions |= more;
        }
        (running.0.0, exceptions)
    }

    fn operands(self) -> usize {
        if self.compute.is_some() { 2 } else { 1 }
    }

    fn integer(self, operands: [(u64, DataType); 2], negate: [bool; 2]) -> (u64, NumericExceptions) {
        let mut values = operands.map(|(bits, data_type)| {
            let width = data_type.size() * 8;
            let value = i128::from(bits);
            if self.signed && bits >> (width - 1) & 1 == 1 { value - (1 << width) } else { value }
        });
        for (value, negate) in values.iter_mut().zip(negate) {
            if negate {
                *value = -*value;
            }
        }
        let [a, b] = values;
        let result = match self.compute {
            None => a,
            Some(ComputeType::Add) => a + b,
            Some(ComputeType::And) => a & b,
            Some(ComputeType::Or) => a | b,
            Some(ComputeType::Xor) => a ^ b,
            Some(ComputeType::Min) => a.min(b),
            Some(ComputeType::Max) => a.max(b),
        };
        let width = self.to.size() * 8;
        let (least, most) =
            if self.signed { (-(1_i128 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) };
        let fits = (least..=most).contains(&result);
        let kept = match (fits, self.saturate, self.signed) {
            (false, true, true) => result.clamp(least, most),
            // The table has the largest value even for a negative result.
            (false, true, false) => most,
            _ => result,
        };
        let exceptions = if fits { NumericExceptions::empty() } else { NumericExceptions::OVERFLOW };
        (kept.cast_unsigned() as u64 & (u64::MAX >> (64 - width)), exceptions)
    }

    /// Of finite numbers, whose sums are exact in binary64.
    fn float(self, values: [f64; 2], negate: [bool; 2]) -> (u64, NumericExceptions) {
        let sign = |negate: bool| if negate { -1.0 } else { 1.0 };
        let [a, b] = [values[0] * sign(negate[0]), values[1] * sign(negate[1])];
        let result = match self.compute {
            // The zero between opposite numbers is negative only where rounding is down.
            Some(ComputeType::Add) if a + b == 0.0 && a.is_sign_negative() != b.is_sign_negative() => {
                if self.rounding == Rounding::Down { -0.0 } else { 0.0 }
            }
            Some(ComputeType::Add) => a + b,
            // By `total_cmp`: -0 is less than 0.
            Some(ComputeType::Min) if b.total_cmp(&a).is_lt() => b,
            Some(ComputeType::Max) if b.total_cmp(&a).is_gt() => b,
            None | Some(ComputeType::Min | ComputeType::Max) => a,
            Some(other) => panic!("{other} is for integers"),
        };
        Table::of(self.to).round(result, self.rounding)
    }
}

/// A floating-point type.
#[derive(Clone, Copy, Debug)]
struct Table {
    exponent: u32,
    fraction: u32,
    has_infinity: bool,
}

impl Table {
    fn of(data_type: DataType) -> Self {
        let (exponent, fraction) = match data_type {
            DataType::Fp8E5m2 => (5, 2),
            DataType::Fp8E4m3 => (4, 3),
            DataType::Fp16 => (5, 10),
            DataType::Bf16 => (8, 7),
            DataType::Fp32 => (8, 23),
            DataType::Fp64 => (11, 52),
            other => panic!("{other} is no floating-point type"),
        };
        Self { exponent, fraction, has_infinity: data_type != DataType::Fp8E4m3 }
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// All bits but the sign of the largest number. The next one is infinity, or what stands for it.
    fn largest(self) -> u64 {
        let all = (1 << (self.exponent + self.fraction)) - 1;
        if self.has_infinity { all - (1 << self.fraction) } else { all - 1 }
    }

    fn magnitude(self, bits: u64) -> u64 {
        bits & ((1 << (self.exponent + self.fraction)) - 1)
    }

    fn is_denormal(self, bits: u64) -> bool {
        let magnitude = self.magnitude(bits);
        magnitude != 0 && magnitude < 1 << self.fraction
    }

    /// A finite number.
    fn value(self, bits: u64) -> f64 {
        let magnitude = self.magnitude(bits);
        assert!(magnitude <= self.largest(), "{bits:#x} is no number");
        let value = self.unbounded(magnitude);
        if bits >> (self.exponent + self.fraction) & 1 == 1 { -value } else { value }
    }

    /// The value that magnitudes have, and would have if there were no end to them.
    fn unbounded(self, magnitude: u64) -> f64 {
        if self.fraction == 52 {
            return f64::from_bits(magnitude);
        }
        let (biased, fraction) = (magnitude >> self.fraction, magnitude & ((1 << self.fraction) - 1));
        let (digits, biased) = if biased == 0 { (fraction, 1) } else { (fraction | 1 << self.fraction, biased) };
        digits as f64 * 2_f64.powi(biased as i32 - self.bias() - self.fraction.cast_signed())
    }

    /// The bits of a finite number, by bisection of all magnitudes, which are in the order of their values.
    fn round(self, value: f64, rounding: Rounding) -> (u64, NumericExceptions) {
        let sign = u64::from(value.is_sign_negative()) << (self.exponent + self.fraction);
        let target = value.abs();
        // The greatest magnitude that is not above the value. One beyond the largest is enough to see an overflow.
        let (mut below, mut above) = (0, self.largest() + 2);
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            if self.unbounded(middle) <= target { below = middle } else { above = middle }
        }
        let (floor, ceiling) = (self.unbounded(below), self.unbounded(below + 1));
        let up = match rounding {
            _ if floor == target => false,
            Rounding::NearestEven => {
                let (down, up) = (target - floor, ceiling - target);
                up < down || up == down && below & 1 == 1
            }
            Rounding::Down => value < 0.0,
            Rounding::Up => value > 0.0,
            Rounding::TowardZero => false,
        };
        let rounded = below + u64::from(up);
        if rounded > self.largest() {
            let away = match rounding {
                Rounding::NearestEven => true,
                Rounding::Down => value < 0.0,
                Rounding::Up => value > 0.0,
                Rounding::TowardZero => false,
            };
            return (sign | (self.largest() + u64::from(away)), NumericExceptions::OVERFLOW);
        }
        let is_tiny = value != 0.0 && rounded < 1 << self.fraction;
        (sign | rounded, if is_tiny { NumericExceptions::UNDERFLOW } else { NumericExceptions::empty() })
    }
}

/// A random element: any integer; a floating-point number of moderate size, now and then a denormal one or zero.
pub(crate) fn random(data_type: DataType, rng: &mut super::Rng) -> u64 {
    let bits = rng.next() >> (64 - data_type.size() * 8);
    if data_type.is_integer() {
        return bits;
    }
    let table = Table::of(data_type);
    let sign = bits & 1 << (table.exponent + table.fraction);
    let fraction = bits & ((1 << table.fraction) - 1);
    // Within 2^6 of 1, so that sums are exact in binary64; fewer digits there for the same reason.
    let fraction = if data_type == DataType::Fp64 { fraction & !0xffff } else { fraction };
    let exponent = u64::from(table.bias().unsigned_abs()) - 3 + rng.below(7) as u64;
    match rng.below(40) {
        0 => sign,
        // Together with numbers near 1 these are still exact.
        1 if data_type.size() < 4 && data_type != DataType::Bf16 => sign | fraction,
        _ => sign | exponent << table.fraction | fraction,
    }
}
