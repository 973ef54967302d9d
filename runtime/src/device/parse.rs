//! The texts of the driver's sysfs attributes, as pure functions: no file, no panic, `None` for what is not understood.
//!
//! White space at the end of an attribute is ignored (the kernel writes a line feed), and so is white space before it.
//! Several formats have changed over the kernel's life; all of them are understood.
//!
//! ```
//! use dsa::device::parse;
//!
//! assert_eq!(parse::number("0x100\n"), Some(256));
//! // Newer kernels, and older.
//! let new = "00000000,00000000,00000000,00000000,00000000,00000000,00000001,003f03ff\n";
//! let old = "0x1003f03ff 0x0 0x0 0x0\n";
//! assert_eq!(parse::bits_256(new), Some([0x1_003f_03ff, 0, 0, 0]));
//! assert_eq!(parse::bits_256(old), parse::bits_256(new));
//! ```

#![forbid(unsafe_code)]

use std::str::FromStr;

/// A number without a sign: decimal, or hexadecimal after `0x`.
pub fn number(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    match text.strip_prefix("0x") {
        Some(digits) => hexadecimal(digits, 16),
        None => decimal(text),
    }
}

/// A decimal number of which -1 means that there is none.
pub fn index(text: &str) -> Option<i64> {
    match text.trim_ascii() {
        "-1" => Some(-1),
        text => u32::try_from(decimal(text)?).ok().map(i64::from),
    }
}

/// `0` or `1`.
pub fn boolean(text: &str) -> Option<bool> {
    match text.trim_ascii() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// 256 bits, least significant word first: the attributes `op_cap`, `op_config` and `errors`.
///
/// Newer kernels print a bitmap: up to eight groups of up to eight hexadecimal digits, separated by commas, the most
/// significant first. Older ones print one or four words `0x...`, separated by spaces, the least significant first.
pub fn bits_256(text: &str) -> Option<[u64; 4]> {
    let text = text.trim_ascii();
    let mut words = [0; 4];
    if text.starts_with("0x") {
        let mut slots = words.iter_mut();
        for word in text.split_ascii_whitespace() {
            *slots.next()? = hexadecimal(word.strip_prefix("0x")?, 16)?;
        }
    } else {
        for (position, group) in text.rsplit(',').enumerate() {
            *words.get_mut(position / 2)? |= hexadecimal(group, 8)? << (position % 2 * 32);
        }
    }
    Some(words)
}

/// The attribute `dsacaps`: DSACAP2, DSACAP1 and DSACAP0, hexadecimal, separated by commas. Returned from DSACAP0 on.
pub fn dsa_capabilities(text: &str) -> Option<[u64; 3]> {
    let mut parts = text.trim_ascii().split(',');
    let mut next = || hexadecimal(parts.next()?, 16);
    let (two, one, zero) = (next()?, next()?, next()?);
    parts.next().is_none().then_some([zero, one, two])
}

/// One word, as its type reads it: states, modes, names.
pub fn word<T: FromStr>(text: &str) -> Option<T> {
    text.trim_ascii().parse().ok()
}

/// Words separated by white space, possibly none: the members of a group.
pub fn list<T: FromStr>(text: &str) -> Option<Vec<T>> {
    text.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

/// Numbers separated by white space: a row of the kernel's NUMA distances.
pub fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split_ascii_whitespace().map(|word| decimal(word)?.try_into().ok()).collect()
}

/// The numbers in a list of ranges such as `0-1,4`, of which none is `limit` or more.
pub fn ranges(text: &str, limit: u32) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.trim_ascii().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (u32::try_from(decimal(first)?).ok()?, u32::try_from(decimal(last)?).ok()?);
        if first > last || last >= limit || all.last().is_some_and(|&previous| previous >= first) {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// Digits only: `parse` alone would accept a plus sign.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// At least one and at most `most` hexadecimal digits.
fn hexadecimal(text: &str, most: usize) -> Option<u64> {
    let plausible = text.len() <= most && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plausible.then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_the_kernels_forms() {
        assert_eq!(number("0\n"), Some(0));
        assert_eq!(number("2147483648\n"), Some(1 << 31));
        assert_eq!(number("0x40915f0107\n"), Some(0x40_915f_0107));
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        assert_eq!(number("0xffffffffffffffff"), Some(u64::MAX));
        for text in
            ["", "\n", "0x", "-1", "+1", "0x+1", "1 2", "1a", "0xg", "18446744073709551616", "0x10000000000000000"]
        {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_index_may_be_absent() {
        assert_eq!(index("-1\n"), Some(-1));
        assert_eq!(index("3\n"), Some(3));
        for text in ["", "-2", "--1", "4294967296", "0x1"] {
            assert_eq!(index(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_0_and_1_are_boolean() {
        assert_eq!((boolean("0\n"), boolean("1\n")), (Some(false), Some(true)));
        for text in ["", "2", "y", "01", "-1"] {
            assert_eq!(boolean(text), None, "{text:?}");
        }
    }

    #[test]
    fn bits_of_new_and_old_kernels() {
        let high = "80000000,00000000,00000000,00000000,00000000,00000002,00000001,003f03ff\n";
        assert_eq!(bits_256(high), Some([0x1_003f_03ff, 2, 0, 1 << 63]));
        assert_eq!(bits_256("0x1003f03ff 0x2 0x0 0x8000000000000000\n"), bits_256(high));
        // The first kernels showed one word.
        assert_eq!(bits_256("0x1003f03ff\n"), Some([0x1_003f_03ff, 0, 0, 0]));
        assert_eq!(bits_256("1,3f03ff"), Some([0x1_003f_03ff, 0, 0, 0]));
        assert_eq!(bits_256("3"), Some([3, 0, 0, 0]));
        for text in [
            "",
            ",",
            "0,",
            "000000000",
            "0,0,0,0,0,0,0,0,0",
            "0x0 0x0 0x0 0x0 0x0",
            "0x0,0x0",
            "0x0 0",
            "g",
            "1 2",
            "-1",
            "+1",
        ] {
            assert_eq!(bits_256(text), None, "{text:?}");
        }
    }

    #[test]
    fn capabilities_of_the_third_generation() {
        assert_eq!(dsa_capabilities("0000000000000003,0000000000000002,0000000000000001\n"), Some([1, 2, 3]));
        for text in ["", "0,0", "0,0,0,0", "0,,0", "00000000000000000,0,0"] {
            assert_eq!(dsa_capabilities(text), None, "{text:?}");
        }
    }

    #[test]
    fn lists_may_be_empty() {
        assert_eq!(list::<u8>(""), Some(vec![]));
        assert_eq!(list::<u8>("1 2\n"), Some(vec![1, 2]));
        assert_eq!(list::<u8>("1 x"), None);
        assert_eq!(numbers("10 21\n"), Some(vec![10, 21]));
        assert_eq!(numbers("10 -1"), None);
    }

    #[test]
    fn ranges_ascend_and_are_bounded() {
        assert_eq!(ranges("0\n", 1024), Some(vec![0]));
        assert_eq!(ranges("0-2,5,7-8\n", 1024), Some(vec![0, 1, 2, 5, 7, 8]));
        for text in ["", "1-0", "0,0", "0-1024", "0-4294967295", "a", "0-", "1,0"] {
            assert_eq!(ranges(text, 1024), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn bits_survive_both_ways_of_printing(words: [u64; 4]) {
            let groups: Vec<String> =
                words.iter().rev().flat_map(|w| [w >> 32, w & 0xffff_ffff]).map(|g| format!("{g:08x}")).collect();
            prop_assert_eq!(bits_256(&groups.join(",")), Some(words));
            let old: Vec<String> = words.iter().map(|w| format!("{w:#x}")).collect();
            prop_assert_eq!(bits_256(&old.join(" ")), Some(words));
        }

        #[test]
        fn arbitrary_text_is_read_or_refused(text in "[0-9a-fx, \\-+\n]{0,80}|\\PC{0,80}") {
            if let Some(value) = number(&text) {
                prop_assert_eq!(number(&value.to_string()), Some(value));
                prop_assert_eq!(number(&format!("{value:#x}")), Some(value));
            }
            if let Some(all) = ranges(&text, 1024) {
                prop_assert!(all.is_sorted_by(|a, b| a < b) && all.iter().all(|&n| n < 1024));
            }
            let _ = (index(&text), boolean(&text), bits_256(&text), dsa_capabilities(&text), list::<u32>(&text));
        }
    }
}
