//! What the rules ask for, found in another way than the engine: values of a type are looked up by bisection, sums are
//! pairs of binary64 numbers, and integers use the operations of their own Rust types.

#![allow(
    clippy::cast_lossless,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp
)]

use idxd_sys::compute::{compute_flag as flag, compute_type as op, data_type as ty, exception};

/// One element: bits of the result, and the exceptions.
pub(crate) type Answer = (u64, u8);

/// One operand: its type, its bits, whether it is negated, and whether it comes from a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input {
    pub(crate) code: u8,
    pub(crate) bits: u64,
    pub(crate) negate: bool,
    pub(crate) fresh: bool,
}

/// The result of one operation; of a conversion, if there is no second operand. `None` where the oracle cannot tell: a
/// sum of FP64 numbers that overflows on the way to a smaller type.
pub(crate) fn answer(operation: u8, first: Input, second: Option<Input>, output: u8, flags: u16) -> Option<Answer> {
    if ty::is_integer(output) {
        Some(integer(operation, first, second, output, flags))
    } else {
        float(operation, first, second, output, flags)
    }
}

/// A chain of operations on the elements of a gather-reduce.
pub(crate) fn chain(operation: u8, code: u8, elements: &[u64], output: u8, flags: u16) -> Option<Answer> {
    let input = |bits| Input { code, bits, negate: flags & flag::NEGATE_1 != 0, fresh: true };
    let (&first, rest) = elements.split_first()?;
    let Some((&second, rest)) = rest.split_first() else { return answer(operation, input(first), None, output, flags) };
    let wider = if ty::size(code) > ty::size(output) { code } else { output };
    // Each step but the last gives an element of the wider type.
    let to = |left: &[u64]| if left.is_empty() { output } else { wider };
    let (mut bits, mut exceptions) = answer(operation, input(first), Some(input(second)), to(rest), flags)?;
    for (done, &element) in rest.iter().enumerate() {
        let running = Input { code: wider, bits, negate: false, fresh: false };
        let (next, more) = answer(operation, running, Some(input(element)), to(&rest[done + 1..]), flags)?;
        (bits, exceptions) = (next, exceptions | more);
    }
    Some((bits, exceptions))
}

fn integer(operation: u8, first: Input, second: Option<Input>, output: u8, flags: u16) -> Answer {
    let signed = flags & flag::SIGNED != 0;
    let number = |input: Input| {
        let value = match (input.code, signed) {
            (ty::INT8, false) => i128::from(input.bits as u8),
            (ty::INT16, false) => i128::from(input.bits as u16),
            (ty::INT32, false) => i128::from(input.bits as u32),
            (_, false) => i128::from(input.bits),
            (ty::INT8, true) => i128::from(input.bits as u8 as i8),
            (ty::INT16, true) => i128::from(input.bits as u16 as i16),
            (ty::INT32, true) => i128::from(input.bits as u32 as i32),
            (_, true) => i128::from(input.bits as i64),
        };
        if input.negate { -value } else { value }
    };
    let a = number(first);
    let value = second.map_or(a, |second| {
        let b = number(second);
        match operation {
            op::ADD => a + b,
            op::AND => !(!a | !b),
            op::OR => !(!a & !b),
            op::XOR => (a | b) - (a & b),
            op::MIN => [a, b].into_iter().min().unwrap(),
            _ => [a, b].into_iter().max().unwrap(),
        }
    });
    macro_rules! fit {
        ($type:ty) => {
            match <$type>::try_from(value) {
                Ok(fits) => (fits as u64, 0),
                Err(_) if flags & flag::SATURATE == 0 => (value as $type as u64, exception::OVERFLOW),
                // For unsigned types MIN is 0, which is not what the table says of negative results.
                Err(_) if signed && value < 0 => (<$type>::MIN as u64, exception::OVERFLOW),
                Err(_) => (<$type>::MAX as u64, exception::OVERFLOW),
            }
        };
    }
    let (bits, exceptions) = match (output, signed) {
        (ty::INT8, false) => fit!(u8),
        (ty::INT8, true) => fit!(i8),
        (ty::INT16, false) => fit!(u16),
        (ty::INT16, true) => fit!(i16),
        (ty::INT32, false) => fit!(u32),
        (ty::INT32, true) => fit!(i32),
        (_, false) => fit!(u64),
        (_, true) => fit!(i64),
    };
    (bits & mask(output), exceptions)
}

/// All bits of an element.
pub(crate) fn mask(code: u8) -> u64 {
    u64::MAX >> (64 - 8 * ty::size(code).unwrap())
}

/// Bits of exponent and fraction (figure 9-3).
pub(crate) fn layout(code: u8) -> (u32, u32) {
    match code {
        ty::FP8_E5M2 => (5, 2),
        ty::FP8_E4M3 => (4, 3),
        ty::FP16 => (5, 10),
        ty::BF16 => (8, 7),
        ty::FP32 => (8, 23),
        _ => (11, 52),
    }
}

/// The largest finite value's bits (table 9-12).
pub(crate) fn largest(code: u8) -> u64 {
    match code {
        ty::FP8_E5M2 => 0x7b,
        ty::FP8_E4M3 => 0x7e,
        ty::FP16 => 0x7bff,
        ty::BF16 => 0x7f7f,
        ty::FP32 => 0x7f7f_ffff,
        _ => 0x7fef_ffff_ffff_ffff,
    }
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::try_from(1023 + exponent).unwrap() << 52)
}

/// The value of the bits without a sign; beyond the largest one, what it would be if exponents had no limit.
fn value(code: u8, magnitude: u64) -> f64 {
    let (exponent, fraction) = layout(code);
    if code == ty::FP64 {
        return f64::from_bits(magnitude);
    }
    let bias = (1 << (exponent - 1)) - 1;
    let parts = (magnitude & ((1 << fraction) - 1)) as f64 * power_of_two(-i32::try_from(fraction).unwrap());
    match magnitude >> fraction {
        0 => parts * power_of_two(1 - bias),
        biased => (1.0 + parts) * power_of_two(i32::try_from(biased).unwrap() - bias),
    }
}

/// A number as a sum of two: the nearest binary64, and what is missing.
#[derive(Clone, Copy)]
struct Pair(f64, f64);

impl Pair {
    /// Moller's and Knuth's sum without a condition.
    fn sum(a: f64, b: f64) -> Self {
        let sum = a + b;
        let part = sum - a;
        Self(sum, (a - (sum - part)) + (b - part))
    }

    fn magnitude(self) -> Self {
        if self.0 < 0.0 { Self(-self.0, -self.1) } else { self }
    }

    /// Compares with a binary64 number: the nearest one decides, unless it is that number.
    fn exceeds(self, other: f64) -> bool {
        self.0 > other || self.0 == other && self.1 > 0.0
    }

    fn is(self, other: f64) -> bool {
        self.0 == other && self.1 == 0.0
    }
}

fn float(operation: u8, first: Input, second: Option<Input>, output: u8, flags: u16) -> Option<Answer> {
    let mut exceptions = 0;
    let mut nan = None;
    let mut load = |input: Input| {
        let (exponent, fraction) = layout(input.code);
        let sign = 1 << (exponent + fraction);
        let negative = (input.bits & sign != 0) != input.negate;
        let mut magnitude = input.bits & (sign - 1);
        let infinity = if input.code == ty::FP8_E4M3 { u64::MAX } else { largest(input.code) + 1 };
        if magnitude > largest(input.code) && magnitude != infinity {
            exceptions |= exception::INVALID;
            // That of FP8 E4M3 has no payload.
            let payload =
                if input.code == ty::FP8_E4M3 { 0 } else { (magnitude & ((1 << fraction) - 1)) << (64 - fraction) };
            nan = nan.or(Some((negative, payload)));
            return f64::NAN;
        }
        if magnitude != 0 && magnitude >> fraction == 0 && input.fresh {
            if flags & flag::DENORMALS_ARE_ZERO != 0 {
                magnitude = 0;
            } else {
                exceptions |= exception::DENORMAL;
            }
        }
        let number = if magnitude == infinity { f64::INFINITY } else { value(input.code, magnitude) };
        if negative { -number } else { number }
    };
    let a = load(first);
    let b = second.map(load);
    let (exponent, fraction) = layout(output);
    let sign = 1_u64 << (exponent + fraction);
    let infinity = if output == ty::FP8_E4M3 { 0x7f } else { largest(output) + 1 };
    if let Some((negative, payload)) = nan {
        let quiet = (payload | 1 << 63) >> (64 - fraction);
        let magnitude = if output == ty::FP8_E4M3 { 0x7f } else { infinity | quiet };
        return Some((magnitude | if negative { sign } else { 0 }, exceptions));
    }
    let down = flags & flag::ROUNDING == flag::ROUND_DOWN;
    let exact = match b {
        None => Pair(a, 0.0),
        Some(b) if operation == op::ADD => {
            if a.is_infinite() && b == -a {
                let magnitude = if output == ty::FP8_E4M3 { 0x7f } else { infinity | 1 << (fraction - 1) };
                return Some((magnitude | sign, exceptions | exception::INVALID));
            }
            if a.is_infinite() || b.is_infinite() {
                Pair(a + b, 0.0)
            } else if a == -b && a.is_sign_negative() != b.is_sign_negative() {
                Pair(if down { -0.0 } else { 0.0 }, 0.0)
            } else {
                if (a + b).is_infinite() {
                    return (output == ty::FP64).then(|| huge(a, b, exceptions, flags));
                }
                Pair::sum(a, b)
            }
        }
        Some(b) => {
            // -0 before +0, as the total order has it.
            let first_is_less = a.total_cmp(&b).is_le();
            Pair(if first_is_less == (operation == op::MIN) { a } else { b }, 0.0)
        }
    };
    let negative = exact.0.is_sign_negative();
    let signed = |magnitude: u64| magnitude | if negative { sign } else { 0 };
    if exact.0.is_infinite() {
        let more = if output == ty::FP8_E4M3 { exception::OVERFLOW } else { 0 };
        return Some((signed(infinity), exceptions | more));
    }
    let (magnitude, overflow) = round(exact.magnitude(), negative, output, flags);
    if overflow {
        let magnitude = if to_infinity(negative, flags) { infinity } else { largest(output) };
        return Some((signed(magnitude), exceptions | exception::OVERFLOW));
    }
    if magnitude < 1 << fraction && !exact.is(0.0) {
        let magnitude = if flags & flag::FLUSH_TO_ZERO != 0 { 0 } else { magnitude };
        return Some((signed(magnitude), exceptions | exception::UNDERFLOW));
    }
    Some((signed(magnitude), exceptions))
}

fn to_infinity(negative: bool, flags: u16) -> bool {
    match flags & flag::ROUNDING {
        flag::ROUND_NEAREST_EVEN => true,
        flag::ROUND_DOWN => negative,
        flag::ROUND_UP => !negative,
        _ => false,
    }
}

/// The bits of a positive number, and whether it is beyond the largest one.
fn round(exact: Pair, negative: bool, output: u8, flags: u16) -> (u64, bool) {
    // The greatest magnitude that is not above the number.
    let (mut low, mut high) = (0, largest(output) + if output == ty::FP64 { 0 } else { 2 });
    if exact.exceeds(value(output, high)) {
        // FP64: at most half a unit above the largest number, else the sum would have been infinite.
        let up = output != ty::FP64 || to_infinity(negative, flags) && flags & flag::ROUNDING != 0;
        return (high, up);
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if exact.exceeds(value(output, middle)) || exact.is(value(output, middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    let below = value(output, low);
    let up = if exact.is(below) {
        false
    } else {
        match flags & flag::ROUNDING {
            flag::ROUND_DOWN => negative,
            flag::ROUND_UP => !negative,
            flag::ROUND_TOWARD_ZERO => false,
            _ if output == ty::FP64 => exact.0 != below,
            _ => {
                let half = f64::midpoint(below, value(output, low + 1));
                exact.exceeds(half) || exact.is(half) && low % 2 == 1
            }
        }
    };
    let magnitude = low + u64::from(up);
    (magnitude, magnitude > largest(output))
}

/// A sum of FP64 numbers that is nearer to 2^1024 than to the largest number.
fn huge(a: f64, b: f64, exceptions: u8, flags: u16) -> Answer {
    let half = Pair::sum(a / 2.0, b / 2.0);
    let negative = half.0 < 0.0;
    let half = half.magnitude();
    let limit = power_of_two(1023);
    // Below 2^1024 only the rounding can make it overflow.
    let overflow = half.exceeds(limit) || half.is(limit) || to_infinity(negative, flags);
    let magnitude = if to_infinity(negative, flags) { largest(ty::FP64) + 1 } else { largest(ty::FP64) };
    let bits = magnitude | u64::from(negative) << 63;
    (bits, exceptions | if overflow { exception::OVERFLOW } else { 0 })
}
