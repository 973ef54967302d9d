//! One entry of the permissions table, and what makes it valid.
#![forbid(unsafe_code)]

use idxd_sys::idpt;

use crate::config::InterDomain;
use crate::memory::{Access, Requester};

/// An entry of the Inter-Domain Permissions Table: who may reach whose memory, and which part of it.
///
/// ```
/// use dsa_emulator::PermissionEntry;
///
/// // Descriptors of PASID 7 may read one page of PASID 9, by its addresses.
/// let entry = PermissionEntry::single(7, 9).permit(true, false).window(0x1000, 0x1000);
/// assert_eq!(entry.words()[0], 0x0000_9009_0000_7001);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PermissionEntry {
    words: [u64; 4],
}

impl PermissionEntry {
    /// An entry that descriptors of one PASID may name, to read and write all memory of another. Of a PASID 20 bits count.
    #[must_use]
    pub const fn single(submitter: u32, access: u32) -> Self {
        let submitter = (submitter & idxd_sys::limits::PASID_MASK) as u64;
        Self::of(idpt::TYPE_SINGLE | submitter << idpt::SUBMITTER_SHIFT, access)
    }

    /// The same for all PASIDs whose bit is 1 in a bitmap: that of PASID p is bit p mod 8 of the byte at
    /// `bitmap + p / 8`. The lower 12 bits of the address do not count.
    #[must_use]
    pub const fn multiple(bitmap: u64, access: u32) -> Self {
        let mut entry = Self::of(idpt::TYPE_MULTIPLE, access);
        entry.words[3] = bitmap & idpt::BITMAP;
        entry
    }

    const fn of(word: u64, access: u32) -> Self {
        let access = (access & idxd_sys::limits::PASID_MASK) as u64;
        let word = word | idpt::USABLE | idpt::READ | idpt::WRITE | access << idpt::ACCESS_SHIFT;
        Self { words: [word, 0, 0, 0] }
    }

    /// The entry that has these words (see [`idxd_sys::idpt`]), whether it is valid or not.
    #[must_use]
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { words }
    }

    /// Its words, from the lowest address on.
    pub const fn words(&self) -> [u64; 4] {
        self.words
    }

    /// Allows or forbids to read and to write through the entry.
    #[must_use]
    pub const fn permit(self, read: bool, write: bool) -> Self {
        self.with(idpt::READ, read).with(idpt::WRITE, write)
    }

    /// Restricts the entry to `size` bytes at `base`. Descriptors name addresses.
    #[must_use]
    pub const fn window(self, base: u64, size: u64) -> Self {
        let mut entry = self.with(idpt::WINDOW_ENABLE, true).with(idpt::WINDOW_OFFSET, false);
        (entry.words[1], entry.words[2]) = (base, size);
        entry
    }

    /// Restricts the entry to `size` bytes at `base`. Descriptors name offsets from `base`.
    #[must_use]
    pub const fn offset_window(self, base: u64, size: u64) -> Self {
        self.window(base, size).with(idpt::WINDOW_OFFSET, true)
    }

    /// Lets the owner of the memory change the window by a descriptor.
    #[must_use]
    pub const fn allow_update(self, allow: bool) -> Self {
        self.with(idpt::ALLOW_UPDATE, allow)
    }

    /// Keeps the privilege of privileged descriptors; else all accesses are unprivileged.
    #[must_use]
    pub const fn keep_privilege(self, keep: bool) -> Self {
        self.with(idpt::KEEP_PRIVILEGE, keep)
    }

    /// Makes the entry usable, or not.
    #[must_use]
    pub const fn usable(self, usable: bool) -> Self {
        self.with(idpt::USABLE, usable)
    }

    const fn with(mut self, bit: u64, on: bool) -> Self {
        self.words[0] = if on { self.words[0] | bit } else { self.words[0] & !bit };
        self
    }
}

/// What the device asks.
impl PermissionEntry {
    pub(crate) fn has(&self, bit: u64) -> bool {
        self.words[0] & bit != 0
    }

    pub(crate) fn permits(&self, access: Access) -> bool {
        self.has(if access == Access::Read { idpt::READ } else { idpt::WRITE })
    }

    pub(crate) fn submitter(&self) -> u32 {
        idpt::submitter(self.words[0])
    }

    /// The PASID whose memory is reached.
    pub(crate) fn access_pasid(&self) -> u32 {
        idpt::access(self.words[0])
    }

    /// Whose accesses a descriptor of `by` makes through the entry.
    pub(crate) fn requester(&self, by: Requester) -> Requester {
        let privileged = by.privileged && self.has(idpt::KEEP_PRIVILEGE);
        Requester { privileged, ..Requester::user(self.access_pasid()) }
    }

    /// The bitmap, if the entry is for many submitters.
    pub(crate) fn bitmap(&self) -> Option<u64> {
        (self.words[0] & idpt::TYPE == idpt::TYPE_MULTIPLE).then_some(self.words[3])
    }

    /// Base and size of the window, if there is one.
    pub(crate) fn window_bounds(&self) -> Option<(u64, u64)> {
        self.has(idpt::WINDOW_ENABLE).then_some((self.words[1], self.words[2]))
    }

    /// The rules that hold whatever the entry is used for (section 5.6): nothing reserved is set, the type is one that the
    /// device offers, and the window exists.
    pub(crate) fn is_valid(&self, offered: &InterDomain) -> bool {
        let [word, base, size, bitmap] = self.words;
        let kind = (word & idpt::TYPE) >> idpt::TYPE.trailing_zeros();
        let offered_kind = kind < 2 && offered.types >> kind & 1 != 0;
        let clear = word & idpt::RESERVED == 0 && bitmap & !idpt::BITMAP == 0;
        let of_kind = if self.bitmap().is_some() { self.submitter() == 0 } else { bitmap == 0 };
        let of_window = if self.has(idpt::WINDOW_ENABLE) {
            (offered.offset_mode || !self.has(idpt::WINDOW_OFFSET)) && ends_in_time(base, size)
        } else {
            !self.has(idpt::WINDOW_OFFSET) && base == 0 && size == 0
        };
        offered_kind && clear && of_kind && of_window
    }
}

/// Whether a window has bytes, and the last one is in the address space.
pub(crate) fn ends_in_time(base: u64, size: u64) -> bool {
    size != 0 && base.checked_add(size - 1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_entries_become_invalid_by_one_wrong_bit() {
        let all = InterDomain::default();
        let plain = PermissionEntry::single(7, 9);
        let many = PermissionEntry::multiple(0x5000, 9);
        let window = plain.window(0x1000, 0x1000);
        let offset = plain.offset_window(0x1000, 0x1000);
        for good in [plain, many, window, offset, plain.permit(false, false), PermissionEntry::default()] {
            assert!(good.is_valid(&all), "{good:x?}");
        }
        let flip = |entry: PermissionEntry, word: usize, bit: u32| {
            let mut words = entry.words();
            words[word] ^= 1 << bit;
            PermissionEntry::from_words(words).is_valid(&all)
        };
        for bit in (4..12).chain(37..44) {
            assert!(!flip(plain, 0, bit), "reserved bit {bit}");
        }
        for bit in 0..12 {
            assert!(!flip(many, 3, bit), "bitmap bit {bit}");
            assert!(!flip(many, 0, 12 + bit), "a submitter beside a bitmap");
        }
        assert!(!flip(plain, 3, 12), "a bitmap without use");
        assert!(!flip(plain, 0, 3) && !flip(many, 0, 3), "types 2 and 3");
        assert!(!flip(plain, 1, 0) && !flip(plain, 2, 0) && !flip(plain, 0, 36), "a window that is not enabled");
        assert!(!flip(window, 0, 35), "the same");
    }

    #[test]
    fn windows_end_at_the_end_of_the_address_space() {
        let all = InterDomain::default();
        let window = |base, size| PermissionEntry::single(1, 2).window(base, size).is_valid(&all);
        assert!(window(0, u64::MAX) && window(u64::MAX, 1) && window(1 << 63, 1 << 63) && window(1, u64::MAX));
        assert!(!window(0, 0) && !window(u64::MAX, 2) && !window(2, u64::MAX) && !window((1 << 63) + 1, 1 << 63));
    }

    #[test]
    fn what_is_not_offered_is_not_valid() {
        let mut few = InterDomain { offset_mode: false, types: 0b01, ..InterDomain::default() };
        assert!(!PermissionEntry::multiple(0, 9).is_valid(&few));
        assert!(!PermissionEntry::single(7, 9).offset_window(0, 1).is_valid(&few));
        assert!(PermissionEntry::single(7, 9).window(0, 1).is_valid(&few));
        few.types = 0b10;
        assert!(!PermissionEntry::single(7, 9).is_valid(&few) && PermissionEntry::multiple(0, 9).is_valid(&few));
    }

    #[test]
    fn privilege_is_kept_only_if_the_entry_says_so() {
        let supervisor = Requester { privileged: true, ..Requester::user(7) };
        let entry = PermissionEntry::single(7, 9);
        assert_eq!(entry.requester(supervisor), Requester::user(9));
        let kept = entry.keep_privilege(true);
        assert_eq!(kept.requester(supervisor), Requester { privileged: true, ..Requester::user(9) });
        assert_eq!(kept.requester(Requester::user(7)), Requester::user(9));
    }
}
