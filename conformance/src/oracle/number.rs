//! Elements of the ten data types, as whole numbers or as binary64, which holds all of them but large integers exactly.
//!
//! Only results of which the specification leaves no doubt are computed here: to nearest, no exceptions.

use idxd_sys::compute::data_type as ty;

/// Bytes of an element.
pub(crate) fn size(code: u8) -> u64 {
    ty::size(code).map_or(1, u64::from)
}

/// Exponent bits and fraction bits of the small floating-point types.
fn layout(code: u8) -> (u32, u32) {
    match code {
        ty::FP8_E5M2 => (5, 2),
        ty::FP8_E4M3 => (4, 3),
        ty::FP16 => (5, 10),
        _ => (8, 7),
    }
}

/// The value of a floating-point element that is finite.
pub(crate) fn value(code: u8, bits: u64) -> f64 {
    match code {
        ty::FP64 => f64::from_bits(bits),
        ty::FP32 => f64::from(f32::from_bits(bits as u32)),
        _ => {
            let (exponent_bits, fraction_bits) = layout(code);
            let fraction = f64::from((bits & ((1 << fraction_bits) - 1)) as u32);
            let exponent = (bits >> fraction_bits & ((1 << exponent_bits) - 1)) as i32;
            let negative = bits >> (fraction_bits + exponent_bits) & 1 != 0;
            let offset = (1 << (exponent_bits - 1)) - 1;
            let unit = f64::from(fraction_bits).exp2();
            let magnitude = if exponent == 0 {
                fraction / unit * f64::from(1 - offset).exp2()
            } else {
                (1.0 + fraction / unit) * f64::from(exponent - offset).exp2()
            };
            if negative { -magnitude } else { magnitude }
        }
    }
}

/// The element nearest to a value that the type can hold; of two, the one whose last bit is 0.
pub(crate) fn nearest(code: u8, of: f64) -> u64 {
    match code {
        ty::FP64 => of.to_bits(),
        ty::FP32 => u64::from((of as f32).to_bits()),
        _ => {
            let (exponent_bits, fraction_bits) = layout(code);
            // All finite ones of its sign that are no NaN in any type. They ascend as their bits do.
            let most = (1_u64 << (exponent_bits + fraction_bits)) - (1 << fraction_bits);
            let magnitude = of.abs();
            let (mut below, mut above) = (0, most - 1);
            while above - below > 1 {
                let middle = u64::midpoint(below, above);
                if value(code, middle) <= magnitude { below = middle } else { above = middle }
            }
            let distance = |bits: u64| (value(code, bits) - magnitude).abs();
            let order = distance(below).total_cmp(&distance(above)).then((below & 1).cmp(&(above & 1)));
            let bits = if order.is_le() { below } else { above };
            bits | u64::from(of.is_sign_negative()) << (exponent_bits + fraction_bits)
        }
    }
}

/// An integer element, signed or not.
pub(crate) fn integer(code: u8, bits: u64, signed: bool) -> i128 {
    let unused = 64 - 8 * size(code) as u32;
    if signed { i128::from((bits << unused).cast_signed() >> unused) } else { i128::from(bits << unused >> unused) }
}

/// The element of an integer, wrapped around.
pub(crate) fn wrapped(code: u8, of: i128) -> u64 {
    (of.cast_unsigned() as u64) & u64::MAX >> (64 - 8 * size(code))
}

/// The nearest element of an integer.
pub(crate) fn saturated(code: u8, of: i128, signed: bool) -> u64 {
    let bits = 8 * size(code) as u32;
    let (least, most) = if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) };
    wrapped(code, of.clamp(least, most))
}

/// Elements in memory.
pub(crate) fn bytes(code: u8, elements: &[u64]) -> Vec<u8> {
    let size = size(code) as usize;
    elements.iter().flat_map(|element| element.to_le_bytes().into_iter().take(size)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_floats() {
        assert_eq!((value(ty::FP16, 0x3c00), value(ty::FP16, 0xc000), value(ty::FP16, 1)), (1.0, -2.0, 2f64.powi(-24)));
        assert_eq!((value(ty::BF16, 0x3fc0), value(ty::FP8_E4M3, 0x38), value(ty::FP8_E5M2, 0x3d)), (1.5, 1.0, 1.25));
        for code in [ty::FP8_E5M2, ty::FP8_E4M3, ty::FP16, ty::BF16] {
            for of in [0.0, 1.0, -1.5, 3.0, -0.25] {
                assert_eq!(value(code, nearest(code, of)).to_bits(), of.to_bits(), "{code} {of}");
            }
        }
        // 1 + 1/8 lies between 1 and 1.25 of FP8 E5M2.
        assert_eq!((nearest(ty::FP8_E5M2, 1.125), nearest(ty::FP8_E5M2, 1.375)), (0x3c, 0x3e));
        assert_eq!(nearest(ty::BF16, 1.0 + 1.0 / 256.0), 0x3f80);
    }

    #[test]
    fn integers() {
        assert_eq!((integer(ty::INT8, 0xff, true), integer(ty::INT8, 0xff, false)), (-1, 255));
        assert_eq!(
            (wrapped(ty::INT8, 300), saturated(ty::INT8, 300, false), saturated(ty::INT8, -200, true)),
            (44, 255, 128)
        );
        assert_eq!(wrapped(ty::INT64, -1), u64::MAX);
        assert_eq!(saturated(ty::INT64, 1 << 70, false), u64::MAX);
        assert_eq!(bytes(ty::INT16, &[1, 0x1_0203]), [1, 0, 3, 2]);
    }
}
