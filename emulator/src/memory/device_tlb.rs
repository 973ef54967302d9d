//! The device's own cache of translations: its device TLB, or address translation cache.
//!
//! A device that has address translation services keeps what the IOMMU has told it, until the operating system tells it to
//! forget. Entries are tagged: with a PASID, or with none for requests by requester id. An invalidation for the one kind
//! does not reach the other, which is why an operating system must send both where it uses both.
//!
//! An invalidation is complete when no access uses what it took away: it waits for those that have begun, as a device
//! answers only then.
//!
//! The cache can be switched off, and it can be made to ignore invalidations: what an operating system that forgets to send
//! them would see. In that state a stale entry is counted and not used, so that nothing is destroyed by it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Access, PAGE_SIZE, Requester};
use crate::iommu::{DeviceInvalidation, Scope, Sections, Translation};

/// Entries; a full cache forgets everything, which a device may do at any time.
const CAPACITY: usize = 4096;

/// Which invalidations are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Those without a PASID.
    pub requester: bool,
    /// Those with a PASID.
    pub pasid: bool,
}

/// What a [`DeviceTlb`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlbCounters {
    /// Translations that it knew.
    pub hits: u64,
    /// Translations that it had to ask for.
    pub misses: u64,
    /// Hits that the tables contradict: an invalidation is missing, or on its way.
    pub stale: u64,
    /// Invalidations without a PASID.
    pub by_requester: u64,
    /// Invalidations with a PASID.
    pub by_pasid: u64,
    /// Entries that invalidations took away.
    pub forgotten: u64,
}

/// A cache of translations in the device.
#[derive(Debug, Default)]
pub struct DeviceTlb {
    enabled: AtomicBool,
    /// Accesses in progress.
    sections: Sections,
    state: Mutex<State>,
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Raised by every invalidation: what was asked for before it must not be kept after it.
    epoch: u64,
    ignored: Ignored,
    by_requester: u64,
    by_pasid: u64,
    forgotten: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    by: Requester,
    page: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    frame: u64,
    writable: bool,
}

impl DeviceTlb {
    /// A cache that is switched off.
    pub fn new() -> Self {
        Self::default()
    }

    /// Switches the cache on or off. It is empty afterwards.
    pub fn enable(&self, on: bool) {
        self.enabled.store(on, Ordering::Release);
        self.forget_all();
    }

    /// Whether the cache is on.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Makes the cache ignore invalidations, as if they had not been sent. It is empty afterwards.
    pub fn ignore(&self, ignored: Ignored) {
        self.state().ignored = ignored;
        self.forget_all();
    }

    /// Forgets everything, as a reset of the device does.
    pub fn forget_all(&self) {
        let mut state = self.state();
        state.entries.clear();
        state.epoch += 1;
    }

    /// Carries out an invalidation. When it returns, no access of the device uses what it took away.
    pub fn invalidate(&self, what: &DeviceInvalidation) {
        if self.forget(what) {
            // See `GuestMemory::begin`.
            fence(Ordering::SeqCst);
            self.sections.wait();
        }
    }

    /// Whether the invalidation counts.
    fn forget(&self, what: &DeviceInvalidation) -> bool {
        let mut state = self.state();
        let with_pasid = what.scope != Scope::Requester;
        *(if with_pasid { &mut state.by_pasid } else { &mut state.by_requester }) += 1;
        if if with_pasid { state.ignored.pasid } else { state.ignored.requester } {
            return false;
        }
        let before = state.entries.len();
        state.entries.retain(|key, _| {
            let in_scope = match what.scope {
                Scope::Requester => key.by.pasid.is_none(),
                Scope::Pasid(pasid) => key.by.pasid == Some(pasid),
                Scope::AllPasids => key.by.pasid.is_some(),
            };
            !(in_scope && (what.first..=what.last).contains(&key.page))
        });
        state.forgotten += (before - state.entries.len()) as u64;
        state.epoch += 1;
        true
    }

    /// Accesses in progress: an access begins one before it translates.
    pub(super) fn sections(&self) -> &Sections {
        &self.sections
    }

    /// What it has seen so far.
    pub fn counters(&self) -> TlbCounters {
        let state = self.state();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TlbCounters {
            hits: count(&self.hits),
            misses: count(&self.misses),
            stale: count(&self.stale),
            by_requester: state.by_requester,
            by_pasid: state.by_pasid,
            forgotten: state.forgotten,
        }
    }

    /// Translates through the cache. `walk` asks the IOMMU, which is done for hits as well: to tell the stale ones.
    pub(super) fn translate<E>(
        &self,
        by: Requester,
        addr: u64,
        access: Access,
        walk: impl Fn() -> Result<Translation, E>,
    ) -> Result<Translation, E> {
        if !self.is_enabled() {
            return walk();
        }
        let offset = addr % PAGE_SIZE;
        let key = Key { by, page: addr - offset };
        let (known, epoch, ignored) = {
            let state = self.state();
            (state.entries.get(&key).copied(), state.epoch, state.ignored)
        };
        if let Some(entry) = known.filter(|entry| entry.writable || access == Access::Read) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            let cached = Translation { addr: entry.frame + offset, len: PAGE_SIZE - offset };
            let now = walk();
            if !now.as_ref().is_ok_and(|now| now.addr == cached.addr) {
                self.stale.fetch_add(1, Ordering::Relaxed);
            }
            return if ignored == Ignored::default() { Ok(cached) } else { now };
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let found = walk()?;
        let mut state = self.state();
        if state.epoch == epoch {
            if state.entries.len() >= CAPACITY {
                state.entries.clear();
            }
            let entry = Entry { frame: found.addr - offset, writable: access == Access::Write };
            let kept = state.entries.entry(key).or_insert(entry);
            // A read does not take the right to write away, unless the page is another one.
            if kept.frame != entry.frame || entry.writable {
                *kept = entry;
            }
        }
        Ok(found)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const RID: Requester = Requester::DEVICE;
    const ONE: Requester = Requester::user(1);
    const TWO: Requester = Requester::user(2);

    /// A cache before a table of a single page, which can be changed, with counts of walks.
    struct Bench {
        tlb: DeviceTlb,
        frame: Cell<Option<u64>>,
    }

    impl Bench {
        fn new() -> Self {
            let tlb = DeviceTlb::new();
            tlb.enable(true);
            Self { tlb, frame: Cell::new(Some(0x9000)) }
        }

        fn at(&self, by: Requester, addr: u64, access: Access) -> Result<u64, ()> {
            let offset = addr % PAGE_SIZE;
            let walk = || self.frame.get().map(|frame| Translation { addr: frame + offset, len: PAGE_SIZE - offset });
            self.tlb.translate(by, addr, access, || walk().ok_or(())).map(|to| to.addr)
        }

        fn forget(&self, scope: Scope, first: u64, last: u64) {
            self.tlb.invalidate(&DeviceInvalidation { source: 0, scope, first, last });
        }
    }

    #[test]
    fn what_is_known_is_used_until_it_is_invalidated() {
        let bench = Bench::new();
        assert_eq!(bench.at(ONE, 0x5010, Access::Read), Ok(0x9010));
        bench.frame.set(Some(0xa000));
        assert_eq!(bench.at(ONE, 0x5018, Access::Read), Ok(0x9018), "the old page");
        assert_eq!(bench.tlb.counters().stale, 1);
        bench.forget(Scope::Pasid(1), 0x5000, 0x5fff);
        assert_eq!(bench.at(ONE, 0x5018, Access::Read), Ok(0xa018));
        bench.frame.set(None);
        bench.forget(Scope::Pasid(1), 0, u64::MAX);
        assert_eq!(bench.at(ONE, 0x5018, Access::Read), Err(()));
        let counters = bench.tlb.counters();
        assert_eq!((counters.hits, counters.misses, counters.stale, counters.forgotten), (1, 3, 1, 2));
    }

    #[test]
    fn an_invalidation_reaches_its_own_tag_and_range_only() {
        let bench = Bench::new();
        let all = [RID, ONE, TWO];
        for (scope, reached) in [
            (Scope::Requester, vec![RID]),
            (Scope::Pasid(1), vec![ONE]),
            (Scope::Pasid(3), vec![]),
            (Scope::AllPasids, vec![ONE, TWO]),
        ] {
            for range in [(0x5000, 0x5fff), (0x4000, 0x4fff), (0, u64::MAX)] {
                bench.tlb.forget_all();
                bench.frame.set(Some(0x9000));
                for by in all {
                    bench.at(by, 0x5000, Access::Write).unwrap();
                }
                bench.frame.set(Some(0xa000));
                bench.forget(scope, range.0, range.1);
                for by in all {
                    let fresh = reached.contains(&by) && range.0 != 0x4000;
                    let expected = if fresh { 0xa000 } else { 0x9000 };
                    assert_eq!(bench.at(by, 0x5000, Access::Read), Ok(expected), "{scope:?} {range:x?} {by:?}");
                }
            }
        }
    }

    #[test]
    fn a_right_to_read_is_no_right_to_write() {
        let bench = Bench::new();
        bench.at(ONE, 0x5000, Access::Read).unwrap();
        bench.frame.set(None);
        assert_eq!(bench.at(ONE, 0x5000, Access::Write), Err(()));
        bench.frame.set(Some(0x9000));
        bench.at(ONE, 0x5000, Access::Write).unwrap();
        assert_eq!(bench.at(ONE, 0x5000, Access::Read), Ok(0x9000));
        bench.frame.set(None);
        assert_eq!(bench.at(ONE, 0x5000, Access::Write), Ok(0x9000), "known for writing since");
    }

    #[test]
    fn an_ignored_invalidation_is_noticed_and_harmless() {
        let bench = Bench::new();
        bench.tlb.ignore(Ignored { pasid: true, requester: false });
        for by in [RID, ONE] {
            bench.frame.set(Some(0x9000));
            bench.at(by, 0x5000, Access::Write).unwrap();
            bench.frame.set(Some(0xa000));
            let scope = by.pasid.map_or(Scope::Requester, Scope::Pasid);
            bench.forget(scope, 0x5000, 0x5fff);
            assert_eq!(bench.at(by, 0x5000, Access::Write), Ok(0xa000));
            assert_eq!(bench.tlb.counters().stale, u64::from(by == ONE));
        }
    }

    #[test]
    fn a_translation_asked_for_before_an_invalidation_is_not_kept_after_it() {
        let bench = Bench::new();
        let old = Translation { addr: 0x9000, len: PAGE_SIZE };
        let walk = || {
            // The operating system changes its mind while the answer is on its way.
            bench.forget(Scope::Pasid(1), 0x5000, 0x5fff);
            Ok::<_, ()>(old)
        };
        assert_eq!(bench.tlb.translate(ONE, 0x5000, Access::Read, walk), Ok(old));
        bench.frame.set(Some(0xa000));
        assert_eq!(bench.at(ONE, 0x5000, Access::Read), Ok(0xa000));
    }

    #[test]
    fn an_invalidation_waits_for_the_accesses_that_have_begun() {
        let tlb = DeviceTlb::new();
        tlb.enable(true);
        let returned = AtomicBool::new(false);
        let section = tlb.sections().begin();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tlb.invalidate(&DeviceInvalidation { source: 0, scope: Scope::Pasid(1), first: 0, last: u64::MAX });
                returned.store(true, Ordering::SeqCst);
            });
            while tlb.counters().by_pasid == 0 {
                std::thread::yield_now();
            }
            // It has taken its entries away by now, and would return soon.
            (0..1000).for_each(|_| std::thread::yield_now());
            assert!(!returned.load(Ordering::SeqCst));
            // One that begins now finds nothing that was taken away, and does not have to be waited for.
            let later = tlb.sections().begin();
            tlb.sections().end(section);
            while !returned.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            tlb.sections().end(later);
        });
    }

    #[test]
    fn a_full_cache_forgets_and_goes_on_and_a_disabled_one_knows_nothing() {
        let bench = Bench::new();
        for page in 0..3 * CAPACITY as u64 {
            bench.at(ONE, page * PAGE_SIZE, Access::Read).unwrap();
        }
        bench.tlb.enable(false);
        bench.frame.set(None);
        assert_eq!(bench.at(ONE, 0, Access::Read), Err(()));
        bench.tlb.enable(true);
        assert_eq!(bench.at(ONE, 0, Access::Read), Err(()));
        assert_eq!(bench.tlb.counters().misses, 3 * CAPACITY as u64 + 1);
    }
}
