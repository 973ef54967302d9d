//! Rounds: how long an engine may use the spans that it has been given.
//!
//! A round begins with the first translation and ends where the engine looks whether it must stop, before the record, and
//! with the descriptor. It is one section of the address space (see [`AddressSpace`](crate::AddressSpace)), so whoever
//! takes a page away can wait until the device is done with it.
//!
//! A page request must not be waited for inside a section: the answer may come from somebody who first waits for sections. So
//! the round is suspended meanwhile, and goes on in another section. What the operation holds may lead elsewhere by then;
//! it is translated once more. If a span has moved, or is gone, the operation gets a fault that says so
//! ([`Fault::moved`](super::Fault)). It then starts the round again with the same progress, or ends with that fault.
//!
//! Hence two rules for operations: **no span is used after `check_stop`, and none of the round after a fault that says that
//! spans have moved.** Spans that are done with before the round ends can be [released](Round::release). Only so many are
//! remembered; a round with more counts as moved.

use std::cell::Cell;

use super::Operand;
use crate::memory::{Access, PageFault, Requester, Space, Span};

/// Spans of one round that are looked at again after a page request.
const HELD: usize = 8;

/// A span of this round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    by: Requester,
    pub(super) operand: Operand,
    pub(super) addr: u64,
    pub(super) access: Access,
    span: Span,
}

/// What became of the spans of a round during a page request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resumed {
    /// They may be used again.
    Same,
    /// This one does not lead where it led.
    Moved(Held),
    /// There are more than are remembered.
    Unknown,
}

/// The spans in use, and the section that allows it.
pub(crate) struct Round<'a> {
    space: &'a Space,
    section: Cell<Option<usize>>,
    held: [Option<Held>; HELD],
    count: Cell<usize>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(space: &'a Space) -> Self {
        Self { space, section: Cell::new(None), held: [None; HELD], count: Cell::new(0) }
    }

    /// Translates inside the round, which begins if it has not yet.
    #[inline]
    pub(super) fn translate(
        &mut self,
        by: Requester,
        operand: Operand,
        addr: u64,
        len: u64,
        access: Access,
    ) -> Result<Span, PageFault> {
        // Trusted memory has no pages to take away.
        if !self.space.is_shared() {
            return self.space.translate(by, addr, len, access);
        }
        self.begin();
        let span = self.space.translate(by, addr, len, access)?;
        let count = self.count.get();
        if let Some(place) = self.held.get_mut(count) {
            *place = Some(Held { by, operand, addr, access, span });
        }
        self.count.set(count + 1);
        Ok(span)
    }

    /// Ends the round: none of its spans is used any more.
    #[inline]
    pub(crate) fn end(&self) {
        if self.section.get().is_some() {
            self.suspend();
        }
        self.count.set(0);
    }

    /// How many spans are held, for [`release`](Self::release).
    pub(super) fn held(&self) -> usize {
        self.count.get()
    }

    /// Forgets the spans that came after the first so many: they are not used any more, while those before are.
    pub(super) fn release(&self, held: usize) {
        self.count.set(held);
    }

    /// Leaves the section for the time of a page request.
    pub(super) fn suspend(&self) {
        if let Some(section) = self.section.take() {
            self.space.end(section);
        }
    }

    /// Goes on after a page request.
    pub(super) fn resume(&self) -> Resumed {
        if self.count.get() == 0 {
            return Resumed::Same;
        }
        self.begin();
        let held = self.held.iter().take(self.count.get()).flatten();
        let mut moved = held.copied().filter(|held| {
            let now = self.space.translate(held.by, held.addr, held.span.len as u64, held.access);
            !now.is_ok_and(|now| now.ptr == held.span.ptr && now.len == held.span.len)
        });
        match moved.next() {
            Some(held) => Resumed::Moved(held),
            None if self.count.get() > HELD => Resumed::Unknown,
            None => Resumed::Same,
        }
    }

    #[inline]
    fn begin(&self) {
        if self.section.get().is_none() {
            self.section.set(Some(self.space.begin()));
        }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        // Also where an address space has panicked.
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::memory::{AddressSpace, CheckedMemory, PAGE_SIZE, Permission};

    const BY: Requester = Requester::user(1);

    /// Counts the sections that are open.
    struct Sections {
        memory: CheckedMemory,
        open: AtomicUsize,
    }

    // SAFETY: all spans come from the checked memory, which lives as long as this.
    unsafe impl AddressSpace for Sections {
        fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
            assert_eq!(self.open.load(Ordering::Relaxed), 1);
            self.memory.translate(by, addr, len, access)
        }

        fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
            self.memory.resolve(by, addr, access)
        }

        fn begin(&self) -> usize {
            self.open.fetch_add(1, Ordering::Relaxed)
        }

        fn end(&self, section: usize) {
            assert_eq!(section, 0);
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn space() -> (Arc<Sections>, Space) {
        let sections = Arc::new(Sections { memory: CheckedMemory::new(), open: AtomicUsize::new(0) });
        sections.memory.map(0, 16 * PAGE_SIZE, Permission::ReadWrite).unwrap();
        (sections.clone(), Space::Custom(sections))
    }

    fn is_same(round: &Round<'_>) -> bool {
        matches!(round.resume(), Resumed::Same)
    }

    fn moved(round: &Round<'_>) -> Held {
        let Resumed::Moved(held) = round.resume() else { panic!("nothing has moved") };
        held
    }

    #[test]
    fn one_section_spans_a_round_and_ends_with_it() {
        let (sections, space) = space();
        let open = || sections.open.load(Ordering::Relaxed);
        let mut round = Round::new(&space);
        assert_eq!(open(), 0, "nothing is used yet");
        for addr in [0, 100, PAGE_SIZE] {
            round.translate(BY, Operand::Source, addr, 8, Access::Read).unwrap();
            assert_eq!(open(), 1);
        }
        round.end();
        round.end();
        assert_eq!(open(), 0);
        round.translate(BY, Operand::Source, 0, 8, Access::Read).unwrap();
        drop(round);
        assert_eq!(open(), 0);
    }

    #[test]
    fn what_is_held_is_looked_at_again() {
        let (sections, space) = space();
        let open = || sections.open.load(Ordering::Relaxed);
        let mut round = Round::new(&space);
        assert!(is_same(&round));
        assert_eq!(open(), 0, "nothing is held");
        round.translate(BY, Operand::Source, 0, 2 * PAGE_SIZE, Access::Read).unwrap();
        round.translate(BY, Operand::Destination, 4 * PAGE_SIZE, 8, Access::Write).unwrap();
        round.suspend();
        assert_eq!(open(), 0);
        // Shorter than it was, then gone.
        sections.memory.set_present(PAGE_SIZE, PAGE_SIZE, false).unwrap();
        assert_eq!((moved(&round).operand, open()), (Operand::Source, 1));
        sections.memory.set_present(PAGE_SIZE, PAGE_SIZE, true).unwrap();
        assert!(is_same(&round));
        assert_eq!(open(), 1, "what is held may be used again");
        sections.memory.protect(4 * PAGE_SIZE, PAGE_SIZE, Permission::ReadOnly).unwrap();
        let held = moved(&round);
        assert_eq!((held.operand, held.addr), (Operand::Destination, 4 * PAGE_SIZE));
        round.end();
        round.translate(BY, Operand::Source, 0, 8, Access::Read).unwrap();
        assert!(is_same(&round), "spans of the round before do not count");
    }

    #[test]
    fn more_spans_than_are_remembered_count_as_moved() {
        let (_sections, space) = space();
        let mut round = Round::new(&space);
        for _ in 0..HELD {
            round.translate(BY, Operand::Source, 0, 8, Access::Read).unwrap();
        }
        assert!(is_same(&round));
        let before = round.held();
        round.translate(BY, Operand::Source, 0, 8, Access::Read).unwrap();
        assert!(matches!(round.resume(), Resumed::Unknown));
        round.release(before);
        assert!(is_same(&round), "a span that is done with does not count");
    }
}
