//! Floating point (specification sections 8.1.12 and 8.2.2, appendix E): elements are numbers in fixed point, sums are exact,
//! and rounding looks at the two neighbours.

use std::cmp::Ordering;

use super::wide::Wide;

/// Exceptions of the result byte (table 8-11).
pub(super) const INVALID: u8 = 1;
pub(super) const DENORMAL: u8 = 2;
pub(super) const OVERFLOW: u8 = 4;
pub(super) const UNDERFLOW: u8 = 8;

/// A type: bits of exponent and fraction, and whether the highest exponent stands for infinities and NaNs only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Type {
    exponent: u32,
    fraction: u32,
    infinities: bool,
}

/// The type with a code (table 8-5, figure 9-3).
pub(super) fn of(code: u8) -> Type {
    let (exponent, fraction) = [(5, 2), (4, 3), (5, 10), (8, 7), (8, 23), (11, 52)][usize::from(code) - 4];
    Type { exponent, fraction, infinities: code != 5 }
}

/// What an element is.
#[allow(clippy::large_enum_variant)] // there are two of them at a time
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// With the fraction behind its first bit, moved to the top of the word.
    Nan(u64),
    Infinity,
    Number(Wide),
}

/// An element with its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) negative: bool,
    pub(super) kind: Kind,
}

/// How results are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// 0 nearest even, 1 down, 2 up, 3 toward zero.
    pub(super) rounding: u8,
    pub(super) flush: bool,
}

impl Type {
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// The weight of the last bit of a denormal number.
    fn least(self) -> i32 {
        1 - self.bias() - self.fraction as i32
    }

    /// The largest number.
    fn largest(self) -> Wide {
        // All ones; in the type without infinities the one that is a NaN is left out.
        let digits = (1_u64 << (self.fraction + 1)) - 1;
        let (digits, top) = if self.infinities { (digits, self.bias()) } else { (digits - 1, self.bias() + 1) };
        Wide::new(digits, top - self.fraction as i32)
    }

    /// An element's sign, kind, and whether it is denormal.
    pub(super) fn read(self, bits: u64) -> (Element, bool) {
        let negative = bits >> (self.exponent + self.fraction) & 1 == 1;
        let exponent = bits >> self.fraction & ((1 << self.exponent) - 1);
        let fraction = bits & ((1 << self.fraction) - 1);
        let highest = exponent == (1 << self.exponent) - 1;
        let kind = match (exponent, fraction) {
            (_, 0) if highest && self.infinities => Kind::Infinity,
            (_, fraction) if highest && self.infinities => Kind::Nan(fraction << (64 - self.fraction) << 1),
            // The only NaN of the type, and so without a payload.
            (_, fraction) if highest && fraction == (1 << self.fraction) - 1 => Kind::Nan(0),
            (0, fraction) => Kind::Number(Wide::new(fraction, self.least())),
            (exponent, fraction) => {
                Kind::Number(Wide::new(fraction | 1 << self.fraction, self.least() + exponent as i32 - 1))
            }
        };
        (Element { negative, kind }, exponent == 0 && fraction != 0)
    }

    /// The bits of a sign and all the other ones.
    fn bits(self, negative: bool, rest: u64) -> u64 {
        u64::from(negative) << (self.exponent + self.fraction) | rest
    }

    /// Infinity without its sign, or the NaN that stands for it.
    fn infinity(self) -> u64 {
        let exponent = ((1 << self.exponent) - 1) << self.fraction;
        if self.infinities { exponent } else { exponent | ((1 << self.fraction) - 1) }
    }

    /// The bits of an element, and the exceptions that come up when it is made.
    pub(super) fn write(self, element: Element, rules: Rules) -> (u64, u8) {
        let negative = element.negative;
        match element.kind {
            Kind::Nan(payload) => {
                let quiet =
                    if self.infinities { 1 << (self.fraction - 1) | payload >> 1 >> (64 - self.fraction) } else { 0 };
                (self.bits(negative, self.infinity() | quiet), INVALID)
            }
            Kind::Infinity => (self.bits(negative, self.infinity()), if self.infinities { 0 } else { OVERFLOW }),
            Kind::Number(number) => {
                let (bits, exceptions) = self.round(number, negative, rules);
                (self.bits(negative, bits), exceptions)
            }
        }
    }

    fn round(self, number: Wide, negative: bool, rules: Rules) -> (u64, u8) {
        let Some(top) = number.top() else { return (0, 0) };
        // The weight of the last digit, if exponents went on for ever.
        let last = (top - self.fraction as i32).max(self.least());
        let below = number.floor(last);
        let above = below.add(&Wide::new(1, last));
        let is_away = match rules.rounding {
            1 => negative,
            2 => !negative,
            3 => false,
            _ => match number.subtract(&below).compare(&above.subtract(&number)) {
                Ordering::Less => false,
                Ordering::Greater => true,
                Ordering::Equal => below.digits(last) % 2 == 1,
            },
        };
        let rounded = if below == number || !is_away { below } else { above };
        if rounded.compare(&self.largest()) == Ordering::Greater {
            let to_infinity = match rules.rounding {
                0 => true,
                1 => negative,
                2 => !negative,
                _ => false,
            };
            return (if to_infinity { self.infinity() } else { self.encode(&self.largest()) }, OVERFLOW);
        }
        let normal = Wide::new(1, 1 - self.bias());
        if rounded.compare(&normal) == Ordering::Less {
            return (if rules.flush { 0 } else { self.encode(&rounded) }, UNDERFLOW);
        }
        (self.encode(&rounded), 0)
    }

    /// The bits of a number of this type.
    fn encode(self, number: &Wide) -> u64 {
        match number.top() {
            Some(top) if top >= 1 - self.bias() => {
                let fraction = number.digits(top - self.fraction as i32) & ((1 << self.fraction) - 1);
                ((top + self.bias()) as u64) << self.fraction | fraction
            }
            _ => number.digits(self.least()),
        }
    }
}

/// The sum of two elements, none of them a NaN.
pub(super) fn add(a: Element, b: Element, rules: Rules) -> Element {
    let (x, y) = match (a.kind, b.kind) {
        // The default NaN of the CPU is negative.
        (Kind::Infinity, Kind::Infinity) if a.negative != b.negative => {
            return Element { negative: true, kind: Kind::Nan(0) };
        }
        (Kind::Infinity, _) => return a,
        (_, Kind::Infinity) => return b,
        (Kind::Number(x), Kind::Number(y)) => (x, y),
        _ => unreachable!("the caller has dealt with NaNs"),
    };
    if a.negative == b.negative {
        return Element { negative: a.negative, kind: Kind::Number(x.add(&y)) };
    }
    match x.compare(&y) {
        Ordering::Greater => Element { negative: a.negative, kind: Kind::Number(x.subtract(&y)) },
        Ordering::Less => Element { negative: b.negative, kind: Kind::Number(y.subtract(&x)) },
        // Zero, which is -0 only if rounding is down.
        Ordering::Equal => Element { negative: rules.rounding == 1, kind: Kind::Number(Wide::ZERO) },
    }
}

/// Whether the first element is before the second in the order of numbers, -0 before +0. None of them is a NaN.
pub(super) fn is_less(a: Element, b: Element) -> bool {
    let size = |element: Element| match element.kind {
        Kind::Number(number) => (false, number),
        _ => (true, Wide::ZERO),
    };
    let (x, y) = (size(a), size(b));
    let sizes = x.0.cmp(&y.0).then(x.1.compare(&y.1));
    match (a.negative, b.negative) {
        (true, false) => true,
        (false, true) => false,
        (false, false) => sizes == Ordering::Less,
        (true, true) => sizes == Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAREST: Rules = Rules { rounding: 0, flush: false };

    #[test]
    fn reading_and_writing_is_the_identity_for_every_small_number() {
        for code in [4, 5, 6, 7] {
            let kind = of(code);
            for bits in 0..1_u64 << (1 + kind.exponent + kind.fraction) {
                let (element, denormal) = kind.read(bits);
                let (back, exceptions) = kind.write(element, NEAREST);
                match element.kind {
                    Kind::Nan(_) => assert_eq!(
                        (back & !(1 << (kind.fraction - 1)), exceptions),
                        (bits & !(1 << (kind.fraction - 1)), INVALID)
                    ),
                    _ => assert_eq!((back, exceptions != 0), (bits, denormal), "type {code}: {bits:#x}"),
                }
            }
        }
    }

    #[test]
    fn binary32_and_binary64_add_as_the_cpu_does() {
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (a, b) = (state.rotate_left(13), state.rotate_left(13) ^ state >> (state >> 58));
            for code in [8, 9] {
                let (x, y) = if code == 8 { (a >> 32, b >> 32) } else { (a, b) };
                let expected = if code == 8 {
                    u64::from((f32::from_bits(x as u32) + f32::from_bits(y as u32)).to_bits())
                } else {
                    (f64::from_bits(x) + f64::from_bits(y)).to_bits()
                };
                let (first, second) = (of(code).read(x).0, of(code).read(y).0);
                if matches!(first.kind, Kind::Nan(_)) || matches!(second.kind, Kind::Nan(_)) {
                    continue;
                }
                assert_eq!(of(code).write(add(first, second, NEAREST), NEAREST).0, expected, "{x:#x} {y:#x}");
            }
        }
    }
}
