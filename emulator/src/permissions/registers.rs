//! The table as registers: which bits software can write when (specification section 9.2.29, table 9-10), and IDBR.
#![forbid(unsafe_code)]

use idxd_sys::idpt;
use idxd_sys::limits::PASID_MASK;

use super::{PermissionEntry, Permissions};

impl Permissions {
    /// Register IDBR.
    pub(crate) fn bitmap_register(&self) -> u32 {
        self.lock().bitmap_register
    }

    /// Writes the bits of IDBR that `mask` covers.
    pub(crate) fn write_bitmap_register(&self, value: u32, mask: u32) {
        use idpt::idbr::{PASID, PASID_ENABLE, PRIVILEGED, TRAFFIC_CLASS};
        let mask = mask & (PASID | TRAFFIC_CLASS | PRIVILEGED | PASID_ENABLE);
        let mut table = self.lock();
        table.bitmap_register = table.bitmap_register & !mask | value & mask;
    }

    /// Four bytes of an entry in register space; 0 beyond the words that mean something.
    pub(crate) fn read_register(&self, index: usize, word: usize) -> u32 {
        let table = self.lock();
        let words = table.slots.get(index).map_or([0; 4], |slot| slot.entry.words());
        words.get(word / 2).map_or(0, |value| (value >> (32 * (word % 2))) as u32)
    }

    /// Writes the bits of such a word that `mask` covers and that are writable now (table 9-10).
    pub(crate) fn write_register(&self, index: usize, word: usize, value: u32, mask: u32) {
        let mut table = self.lock();
        let Some(slot) = table.slots.get_mut(index) else { return };
        let mut words = slot.entry.words();
        let Some(target) = words.get_mut(word / 2) else { return };
        let shift = 32 * (word % 2);
        let mask = u64::from(mask) << shift & writable(&slot.entry, word / 2);
        *target = *target & !mask | u64::from(value) << shift & mask;
        slot.replace(PermissionEntry::from_words(words));
    }
}

/// Bits of a word of 64 that software may write while the entry is as it is.
fn writable(entry: &PermissionEntry, word: usize) -> u64 {
    let usable = entry.has(idpt::USABLE);
    let fixed = usable || entry.has(idpt::ALLOW_UPDATE);
    let when = |condition: bool, bits: u64| if condition { bits } else { 0 };
    match word {
        0 => {
            let submitter = u64::from(PASID_MASK) << idpt::SUBMITTER_SHIFT;
            let free = !(idpt::RESERVED | idpt::USABLE | idpt::ALLOW_UPDATE | submitter);
            idpt::USABLE | idpt::ALLOW_UPDATE | when(!usable, submitter) | when(!fixed, free)
        }
        1 | 2 => when(!fixed, u64::MAX),
        _ => when(!usable, idpt::BITMAP),
    }
}
