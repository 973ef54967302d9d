//! A set of opcodes: the OPCAP register and what is made of it, 256 bits.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

use idxd_sys::opcode;

/// A set of opcodes; bit n of the 256 stands for opcode n.
///
/// ```
/// use dsa::device::OpcodeSet;
/// use idxd_sys::opcode;
///
/// let set = OpcodeSet::from([opcode::MEMMOVE, opcode::FILL]);
/// assert!(set.contains(opcode::FILL));
/// assert_eq!(set.words(), [0x18, 0, 0, 0]);
/// assert_eq!(set.to_string(), "memmove, fill");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct OpcodeSet([u64; 4]);

impl OpcodeSet {
    /// No opcode.
    pub const EMPTY: Self = Self([0; 4]);

    /// The set whose bits these are, opcodes 0 to 63 in the first word.
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self(words)
    }

    /// The bits, opcodes 0 to 63 in the first word.
    pub const fn words(self) -> [u64; 4] {
        self.0
    }

    /// Whether an opcode is in the set.
    pub const fn contains(self, opcode: u8) -> bool {
        self.0[(opcode >> 6) as usize] >> (opcode & 63) & 1 == 1
    }

    /// The set and this opcode.
    #[must_use]
    pub const fn with(mut self, opcode: u8) -> Self {
        self.0[(opcode >> 6) as usize] |= 1 << (opcode & 63);
        self
    }

    /// The set less this opcode.
    #[must_use]
    pub const fn without(mut self, opcode: u8) -> Self {
        self.0[(opcode >> 6) as usize] &= !(1 << (opcode & 63));
        self
    }

    /// Whether there is no opcode in the set.
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// The number of opcodes in the set.
    pub fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The opcodes, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |&opcode| self.contains(opcode))
    }

    fn combine(self, other: Self, function: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|word| function(self.0[word], other.0[word])))
    }
}

/// What is in both sets.
impl BitAnd for OpcodeSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.combine(other, |left, right| left & right)
    }
}

/// What is in either set.
impl BitOr for OpcodeSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.combine(other, |left, right| left | right)
    }
}

/// What is in the first set and not in the second.
impl Sub for OpcodeSet {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.combine(other, |left, right| left & !right)
    }
}

impl FromIterator<u8> for OpcodeSet {
    fn from_iter<I: IntoIterator<Item = u8>>(opcodes: I) -> Self {
        opcodes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl<const N: usize> From<[u8; N]> for OpcodeSet {
    fn from(opcodes: [u8; N]) -> Self {
        opcodes.into_iter().collect()
    }
}

/// The names, separated by commas; codes without a name in hexadecimal.
impl fmt::Display for OpcodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, code) in self.iter().enumerate() {
            f.write_str(if position == 0 { "" } else { ", " })?;
            match opcode::name(code) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{code:#04x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for OpcodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_across_the_words() {
        let set = OpcodeSet::from([0, 63, 64, 255]);
        assert_eq!(set.words(), [1 | 1 << 63, 1, 0, 1 << 63]);
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (4, vec![0, 63, 64, 255]));
        assert_eq!(set.without(63).without(63).with(0), OpcodeSet::from([0, 64, 255]));
        assert!(OpcodeSet::EMPTY.is_empty() && !set.is_empty());
    }

    #[test]
    fn sets_are_combined_by_member() {
        let (left, right) = (OpcodeSet::from([1, 2, 200]), OpcodeSet::from([2, 3, 200]));
        assert_eq!(left & right, OpcodeSet::from([2, 200]));
        assert_eq!(left | right, OpcodeSet::from([1, 2, 3, 200]));
        assert_eq!(left - right, OpcodeSet::from([1]));
    }

    #[test]
    fn codes_without_a_name_are_shown_as_numbers() {
        assert_eq!(OpcodeSet::from([opcode::CRCGEN, 0x0b]).to_string(), "0x0b, crc");
        assert_eq!(format!("{:?}", OpcodeSet::EMPTY), "{}");
    }
}
