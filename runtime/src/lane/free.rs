//! The free list of a lane: which slots nobody has.
//!
//! One bit for each slot. Whoever clears a bit has the slot, and whoever sets it gives the slot back; there is no other
//! state, so nothing can be mixed up by a thread that was held up in between. The list remembers where a slot was last given back
//! and looks there first: that slot's cache lines are still near, and the search ends at once however long the list is.

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// A slot that was taken from near by.
pub(crate) struct Near<'a> {
    pub(crate) index: u32,
    word: &'a AtomicU64,
}

impl Near<'_> {
    /// Gives it back. It is where the list will look first as long as it is near.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn push(self) {
        // Release: as for `FreeList::push`.
        let mask = 1 << (self.index % 64);
        let before = self.word.fetch_or(mask, Ordering::Release);
        debug_assert_eq!(before & mask, 0, "slot {} is given back twice", self.index);
    }
}

/// Indices of free slots.
pub(crate) struct FreeList {
    /// A bit is set while its slot is free.
    words: Box<[AtomicU64]>,
    /// The word with which the next search begins.
    hint: AtomicU32,
    slots: usize,
}

impl FreeList {
    /// A list with `slots` slots, all free.
    pub(crate) fn new(slots: usize) -> Self {
        let word = |place: usize| match slots - place * 64 {
            left if left < 64 => (1 << left) - 1,
            _ => u64::MAX,
        };
        // One at least, for the hint.
        let words = (0..slots.div_ceil(64).max(1)).map(|place| AtomicU64::new(word(place))).collect();
        Self { words, hint: AtomicU32::new(0), slots }
    }

    /// Takes a slot.
    #[inline]
    pub(crate) fn pop(&self) -> Option<u32> {
        let place = self.hint.load(Ordering::Relaxed);
        self.pop_from(place).or_else(|| self.search())
    }

    /// Takes a slot from where one was last given back, if all that are beside it are free.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn pop_alone(&self) -> Option<Near<'_>> {
        let place = self.hint.load(Ordering::Relaxed);
        // SAFETY: the hint is 0, of which there is a word, or that of a slot.
        let word = unsafe { self.words.get_unchecked(place as usize) };
        if word.load(Ordering::Relaxed) != u64::MAX {
            return None;
        }
        // Acquire: what the last holder did with the slot is over.
        (word.fetch_and(!1, Ordering::Acquire) & 1 != 0).then_some(Near { index: place * 64, word })
    }

    /// A slot that [`pop`](Self::pop) gave, which is near now.
    pub(crate) fn near(&self, index: u32) -> Near<'_> {
        Near { index, word: &self.words[(index / 64) as usize] }
    }

    /// Takes a slot from one word, unless there is none or another thread comes in between.
    fn pop_from(&self, place: u32) -> Option<u32> {
        let word = &self.words[place as usize];
        let bits = word.load(Ordering::Relaxed);
        if bits == 0 {
            return None;
        }
        let bit = bits.trailing_zeros();
        // Acquire: what the last holder did with the slot is over.
        (word.fetch_and(!(1 << bit), Ordering::Acquire) & 1 << bit != 0).then_some(place * 64 + bit)
    }

    #[cold]
    fn search(&self) -> Option<u32> {
        let index = (0..).zip(&self.words).find_map(|(place, word)| {
            loop {
                match self.pop_from(place) {
                    Some(index) => break Some(index),
                    None if word.load(Ordering::Relaxed) == 0 => break None,
                    None => {}
                }
            }
        })?;
        self.hint.store(index / 64, Ordering::Relaxed);
        Some(index)
    }

    /// Gives back what [`pop`](Self::pop) gave.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn push(&self, index: u32) {
        let place = index / 64;
        // Release: whoever takes the slot next comes after what was done with it.
        let before = self.words[place as usize].fetch_or(1 << (index % 64), Ordering::Release);
        debug_assert_eq!(before & 1 << (index % 64), 0, "slot {index} is given back twice");
        self.hint.store(place, Ordering::Relaxed);
    }

    /// The slots beside this one that are taken, it included, at about this moment, as bits.
    #[inline]
    pub(crate) fn taken_beside(&self, index: u32) -> u64 {
        let place = (index / 64) as usize;
        let slots = self.slots - place * 64;
        let all = if slots < 64 { (1 << slots) - 1 } else { u64::MAX };
        all & !self.words[place].load(Ordering::Relaxed)
    }

    /// How many slots are taken at about this moment.
    pub(crate) fn taken(&self) -> usize {
        let free: u32 = self.words.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum();
        self.slots - free as usize
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_slot_is_given_out_once() {
        for slots in [1, 2, 63, 64, 65, 127, 128, 200] {
            let list = FreeList::new(slots);
            let taken: HashSet<u32> = std::iter::from_fn(|| list.pop()).collect();
            assert_eq!((taken.len(), list.taken(), list.pop()), (slots, slots, None));
            assert!(taken.iter().all(|&index| (index as usize) < slots));
            // In another order.
            for &index in &taken {
                list.push(index);
                assert_eq!(list.pop(), Some(index), "what was given back last is taken first");
            }
            for &index in &taken {
                list.push(index);
            }
            assert_eq!((list.taken(), std::iter::from_fn(|| list.pop()).count()), (0, slots));
        }
    }

    #[test]
    fn threads_never_share_a_slot() {
        let list = FreeList::new(70);
        let owners: Vec<AtomicU32> = (0..70).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..20_000 {
                        let mine: Vec<_> = (0..round % 30).filter_map(|_| list.pop()).collect();
                        for &index in &mine {
                            assert_eq!(owners[index as usize].fetch_add(1, Ordering::Relaxed), 0);
                        }
                        for &index in &mine {
                            owners[index as usize].fetch_sub(1, Ordering::Relaxed);
                            list.push(index);
                        }
                    }
                });
            }
        });
        assert_eq!(list.taken(), 0);
    }
}
