//! Comparisons: of two regions, and of a region with a pattern.

/// Bytes handed to the C library's comparison at a time, before the place of a difference is looked for.
const BLOCK: usize = 4096;

/// Offset of the first byte in which two regions differ (compare, opcode 0x05).
///
/// As with the device the offset is exact.
///
/// # Safety
///
/// `a` and `b` are valid for reading `len` initialised bytes, which nobody writes meanwhile; the regions may overlap.
/// The pointers may be anything if `len` is 0.
pub unsafe fn compare(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    let mut at = 0;
    while at < len {
        let step = (len - at).min(BLOCK);
        // SAFETY: `at + step <= len`, for which the caller vouches, and `len` is not 0.
        let (left, right) =
            unsafe { (std::slice::from_raw_parts(a.add(at), step), std::slice::from_raw_parts(b.add(at), step)) };
        // Equality alone is the vectorised `bcmp`; only the one block that differs is searched.
        if left != right {
            return Some(at + first_difference(left, right));
        }
        at += step;
    }
    None
}

/// Offset of the first byte in which a region differs from a repeated 8-byte pattern (compare pattern, opcode 0x06).
///
/// The pattern's low byte is compared with the byte at `src`. The offset is exact; of the device's operation only a
/// lower bound is specified.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if `len` is 0.
pub unsafe fn compare_pattern(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    if len == 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    let data = unsafe { std::slice::from_raw_parts(src, len) };
    let mut at = 0;
    // Eight words at a time without a branch between them, so that the compiler may use vectors.
    let mut blocks = data.chunks_exact(64);
    for block in &mut blocks {
        let mut differences = 0;
        for word in block.chunks_exact(8) {
            differences |= load(word) ^ pattern;
        }
        if differences != 0 {
            break;
        }
        at += 64;
    }
    for word in data[at..].chunks(8) {
        // `at` is a multiple of 8 here, so the pattern begins with its low byte.
        let difference = load(word) ^ (pattern & mask(word.len()));
        if difference != 0 {
            return Some(at + lowest_byte(difference));
        }
        at += word.len();
    }
    None
}

/// Where two slices of the same length, known to differ, do so first.
#[cold]
fn first_difference(left: &[u8], right: &[u8]) -> usize {
    let mut at = 0;
    for (l, r) in left.chunks(8).zip(right.chunks(8)) {
        let difference = load(l) ^ load(r);
        if difference != 0 {
            return at + lowest_byte(difference);
        }
        at += 8;
    }
    unreachable!("the caller has found a difference")
}

/// Up to eight bytes as a little-endian number, missing ones as 0.
#[inline]
fn load(bytes: &[u8]) -> u64 {
    match bytes.try_into() {
        Ok(whole) => u64::from_le_bytes(whole),
        Err(_) => bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
    }
}

/// The low `bytes` bytes of a word; `bytes` is 1 to 8.
#[inline]
fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes)
}

#[inline]
fn lowest_byte(difference: u64) -> usize {
    difference.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::rotate_pattern;

    fn run(a: &[u8], b: &[u8]) -> Option<usize> {
        assert_eq!(a.len(), b.len());
        // SAFETY: two slices of that length.
        unsafe { compare(a.as_ptr(), b.as_ptr(), a.len()) }
    }

    fn run_pattern(data: &[u8], pattern: u64) -> Option<usize> {
        // SAFETY: a slice of that length.
        unsafe { compare_pattern(data.as_ptr(), data.len(), pattern) }
    }

    fn byte_by_byte(a: &[u8], b: &[u8]) -> Option<usize> {
        a.iter().zip(b).position(|(a, b)| a != b)
    }

    fn repeated(pattern: u64, len: usize) -> Vec<u8> {
        pattern.to_le_bytes().into_iter().cycle().take(len).collect()
    }

    #[test]
    fn a_single_difference_is_found_wherever_it_is() {
        let data: Vec<u8> = (0..512_u32).map(|at| (at * 7 % 251) as u8).collect();
        for shift in 0..64 {
            for len in 0..=300 {
                let a = &data[shift..shift + len];
                assert_eq!(run(a, &Vec::from(a)), None);
                let step = if shift == 0 { 1 } else { 37 };
                for at in (0..len).step_by(step) {
                    let mut b = a.to_vec();
                    b[at] ^= 0x80;
                    assert_eq!(run(a, &b), Some(at), "length {len}, shift {shift}");
                }
            }
        }
    }

    #[test]
    fn a_single_difference_from_the_pattern_is_found_wherever_it_is() {
        let pattern = 0x0807_0605_0403_0201;
        for shift in 0..64 {
            for len in 0..=300 {
                let mut data = vec![0xa5; shift];
                data.extend(repeated(pattern, len));
                assert_eq!(run_pattern(&data[shift..], pattern), None, "length {len}, shift {shift}");
                let step = if shift == 0 { 1 } else { 37 };
                for at in (0..len).step_by(step) {
                    data[shift + at] ^= 1;
                    assert_eq!(run_pattern(&data[shift..], pattern), Some(at), "length {len}, shift {shift}");
                    data[shift + at] ^= 1;
                }
            }
        }
    }

    #[test]
    fn differences_behind_many_equal_blocks() {
        let a = vec![3_u8; 5 * BLOCK + 17];
        for at in [0, BLOCK - 1, BLOCK, 3 * BLOCK + 9, 5 * BLOCK, 5 * BLOCK + 16] {
            let mut b = a.clone();
            b[at..].fill(4);
            assert_eq!(run(&a, &b), Some(at));
            assert_eq!(run_pattern(&b, 0x0303_0303_0303_0303), Some(at));
        }
    }

    #[test]
    fn empty_regions_are_equal_whatever_the_pointers() {
        let null = std::ptr::null();
        // SAFETY: the pointers may be anything for length 0.
        unsafe {
            assert_eq!(compare(null, null, 0), None);
            assert_eq!(compare_pattern(null, 0, 1), None);
        }
    }

    proptest! {
        #[test]
        fn few_values_differ_as_byte_by_byte(
            (a, b) in (0_usize..3000).prop_flat_map(|len| {
                let mostly_equal = || prop::collection::vec(prop_oneof![99 => Just(0_u8), 1 => Just(1)], len);
                (mostly_equal(), mostly_equal())
            }),
        ) {
            prop_assert_eq!(run(&a, &b), byte_by_byte(&a, &b));
            prop_assert_eq!(run_pattern(&a, 0), byte_by_byte(&a, &vec![0; a.len()]));
        }

        #[test]
        fn overlapping_regions_are_compared(
            data in prop::collection::vec(0_u8..2, 2..3000), shift in any::<prop::sample::Index>(),
        ) {
            let shift = shift.index(data.len());
            let len = data.len() - shift;
            prop_assert_eq!(run(&data[..len], &data[shift..]), byte_by_byte(&data[..len], &data[shift..]));
        }

        #[test]
        fn a_pattern_comparison_goes_on_with_the_rotated_pattern(
            pattern in any::<u64>(), len in 1_usize..500,
            (cut, at) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let mut data = repeated(pattern, len);
            let (cut, at) = (cut.index(len), at.index(len));
            data[at] ^= 0x40;
            let first = run_pattern(&data[..cut], pattern);
            let rest = run_pattern(&data[cut..], rotate_pattern(pattern, cut as u64)).map(|offset| cut + offset);
            prop_assert_eq!(first.or(rest), Some(at));
        }
    }
}
