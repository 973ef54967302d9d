//! Fault and error injection: rules of a trigger and an effect, reproducible by a seed.
//!
//! A rule is looked at once per descriptor (batch members count as descriptors), and for [`Effect::Retry`] once per
//! ENQCMD. A look at which every filter of the trigger fits is an *opportunity*; `nth`, `every`, `probability` and
//! `limit` then choose among the opportunities. With no rule present the cost is one relaxed load.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::memory::{Access, PAGE_SIZE};
use crate::prng::Prng;

/// What happens when a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// A page of an operand is not present. With block on fault off the operation ends partially (0x03). With it on
    /// the page request succeeds if `resolvable`, else the operation ends with 0x04. Without an address filter the
    /// page is chosen at random among those of the operands, also for batch lists. A page of the completion record is
    /// hit only by an address filter.
    PageFault {
        /// Whether a page request is granted.
        resolvable: bool,
    },
    /// The completion record cannot be written: no record, software error 0x1a.
    RecordFault,
    /// The descriptor ends with this status, such as 0x20, 0x21 or 0x22, and does nothing else. With 0, which no
    /// device writes, it never completes visibly.
    HardwareError(u8),
    /// The descriptor is lost: it does nothing and leaves no trace but a counter.
    Lose,
    /// ENQCMD answers Retry. Only the counting parts of the trigger apply: the opcode too, addresses not.
    Retry,
    /// The descriptor starts this much later.
    Delay(Duration),
}

/// One rule: a trigger and an [`Effect`]. Filters not set fit always.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    pub(crate) effect: Effect,
    pub(crate) range: Option<Range<u64>>,
    pub(crate) access: Option<Access>,
    pub(crate) opcode: Option<u8>,
    pub(crate) nth: Option<u64>,
    pub(crate) every: Option<u64>,
    pub(crate) probability: f64,
    pub(crate) limit: u64,
}

impl FaultRule {
    /// A rule that fires at every opportunity.
    pub const fn new(effect: Effect) -> Self {
        Self {
            effect,
            range: None,
            access: None,
            opcode: None,
            nth: None,
            every: None,
            probability: 1.0,
            limit: u64::MAX,
        }
    }

    /// Only descriptors that access an address in `range`. A page fault is then at the first such address. Of a
    /// scatter-gather operation any address counts, since its buffers are not known before the list is read; of an operand
    /// in another domain the address as the descriptor has it.
    #[must_use]
    pub const fn at(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Only accesses of one kind.
    #[must_use]
    pub const fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// Only descriptors with this opcode.
    #[must_use]
    pub const fn opcode(mut self, opcode: u8) -> Self {
        self.opcode = Some(opcode);
        self
    }

    /// Only the `n`-th opportunity, counted from 1.
    #[must_use]
    pub const fn nth(mut self, n: u64) -> Self {
        self.nth = Some(n);
        self
    }

    /// Every `n`-th opportunity: the `n`-th, the `2n`-th, and so on. 0 never fires.
    #[must_use]
    pub const fn every(mut self, n: u64) -> Self {
        self.every = Some(n);
        self
    }

    /// With probability `p`. Values above 1 count as 1; those below 0, and NaN, as 0.
    #[must_use]
    pub const fn probability(mut self, p: f64) -> Self {
        // Not `clamp`, which would keep NaN. Rules are compared, and NaN is not even equal to itself.
        self.probability = if p >= 1.0 {
            1.0
        } else if p > 0.0 {
            p
        } else {
            0.0
        };
        self
    }

    /// At most `n` times.
    #[must_use]
    pub const fn limit(mut self, n: u64) -> Self {
        self.limit = n;
        self
    }
}

/// Names a rule for [`Device::remove`](crate::Device::remove).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(u64);

/// Who looks at descriptors before the rules do. Calls come from engines and submitters, without a lock held; none may
/// wait for the device.
pub(crate) trait Watch: Send + Sync {
    /// A descriptor starts, batch members included. Rules that are injected here decide about it already.
    fn started(&self, faults: &Faults, opcode: u8, regions: &[Region]);

    /// A submission was refused or dropped, for whatever reason.
    fn refused(&self, faults: &Faults);

    /// These rules have fired for a descriptor, or for the submission of one.
    fn fired(&self, rules: &[RuleId], opcode: u8);
}

/// Where an operand of a descriptor lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) addr: u64,
    pub(crate) len: u64,
    pub(crate) access: Access,
    /// Completion records, and buffers of a list, are hit by address filters only.
    pub(crate) record: bool,
}

impl Region {
    pub(crate) const NONE: Self = Self { addr: 0, len: 0, access: Access::Read, record: false };

    /// First address of the region inside `range`.
    fn first_in(&self, range: &Range<u64>) -> Option<u64> {
        let end = self.addr.saturating_add(self.len);
        let first = self.addr.max(range.start);
        (first < end.min(range.end)).then_some(first)
    }
}

/// A page fault waiting for an access of one descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArmedFault {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) access: Option<Access>,
    pub(crate) resolvable: bool,
}

/// Page faults one descriptor can have waiting. Further ones are not armed.
pub(crate) const MAX_ARMED: usize = 4;

/// Everything the rules decided about one descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed {
    faults: [Option<ArmedFault>; MAX_ARMED],
    pub(crate) any_fault: bool,
    pub(crate) lose: bool,
    pub(crate) record_fault: bool,
    pub(crate) hardware: Option<u8>,
    pub(crate) delay: Option<Duration>,
}

impl Armed {
    fn arm(&mut self, fault: ArmedFault) {
        if let Some(free) = self.faults.iter_mut().find(|f| f.is_none()) {
            *free = Some(fault);
            self.any_fault = true;
        }
    }

    /// The nearest armed fault that an access of `len` bytes at `addr` reaches: its index and first address.
    pub(crate) fn reached(&self, addr: u64, len: u64, access: Access) -> Option<(usize, u64)> {
        let end = addr.saturating_add(len);
        self.faults
            .iter()
            .enumerate()
            .filter_map(|(i, f)| {
                let f = f.as_ref()?;
                let first = addr.max(f.start);
                (f.access.is_none_or(|a| a == access) && first < end.min(f.end)).then_some((i, first))
            })
            .min_by_key(|(_, first)| *first)
    }

    pub(crate) fn fault(&self, index: usize) -> Option<ArmedFault> {
        self.faults[index]
    }

    pub(crate) fn disarm(&mut self, index: usize) {
        self.faults[index] = None;
    }
}

struct Rule {
    id: u64,
    spec: FaultRule,
    opportunities: u64,
    fired: u64,
}

impl Rule {
    /// Counts an opportunity and decides.
    fn fires(&mut self, rng: &mut Prng) -> bool {
        self.opportunities += 1;
        let n = self.opportunities;
        let fires = self.fired < self.spec.limit
            && self.spec.nth.is_none_or(|nth| nth == n)
            && self.spec.every.is_none_or(|every| every != 0 && n.is_multiple_of(every))
            && rng.chance(self.spec.probability);
        self.fired += u64::from(fires);
        fires
    }
}

struct Rules {
    list: Vec<Rule>,
    next_id: u64,
    rng: Prng,
}

/// The rules of a device.
pub(crate) struct Faults {
    /// There is a rule that concerns descriptors.
    active: AtomicBool,
    /// There is a [`Effect::Retry`] rule. A flag of its own: other rules must not cost submitters the lock.
    retries: AtomicBool,
    /// Somebody watches.
    watched: AtomicBool,
    rules: Mutex<Rules>,
    watch: Mutex<Option<Arc<dyn Watch>>>,
}

impl Faults {
    pub(crate) fn new(rules: &[FaultRule], seed: u64) -> Self {
        let faults = Self {
            active: AtomicBool::new(false),
            retries: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            watch: Mutex::new(None),
            rules: Mutex::new(Rules { list: Vec::new(), next_id: 0, rng: Prng::new(seed) }),
        };
        for rule in rules {
            faults.inject(rule.clone());
        }
        faults
    }

    pub(crate) fn inject(&self, rule: FaultRule) -> RuleId {
        let mut rules = self.lock();
        let id = rules.next_id;
        rules.next_id += 1;
        rules.list.push(Rule { id, spec: rule, opportunities: 0, fired: 0 });
        self.set_flags(&rules);
        RuleId(id)
    }

    /// Returns how often the rule fired, `None` if it is not there.
    pub(crate) fn remove(&self, id: RuleId) -> Option<u64> {
        let mut rules = self.lock();
        let at = rules.list.iter().position(|r| r.id == id.0)?;
        let rule = rules.list.remove(at);
        self.set_flags(&rules);
        Some(rule.fired)
    }

    fn set_flags(&self, rules: &Rules) {
        let retry = |r: &Rule| r.spec.effect == Effect::Retry;
        let active = self.watched.load(Ordering::Relaxed) || !rules.list.iter().all(retry);
        self.active.store(active, Ordering::Release);
        self.retries.store(rules.list.iter().any(retry), Ordering::Release);
    }

    /// Lets somebody watch, from now on; `false` if somebody does already. What is random begins at `seed` again.
    pub(crate) fn watch(&self, by: Arc<dyn Watch>, seed: u64) -> bool {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.is_some() {
            return false;
        }
        *watch = Some(by);
        let mut rules = self.lock();
        rules.rng = Prng::new(seed);
        self.watched.store(true, Ordering::Relaxed);
        self.set_flags(&rules);
        true
    }

    /// Ends the watch. Calls that have begun may still be under way.
    pub(crate) fn unwatch(&self) {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rules = self.lock();
        self.watched.store(false, Ordering::Relaxed);
        self.set_flags(&rules);
        drop(rules);
        drop(watch);
    }

    fn watcher(&self) -> Option<Arc<dyn Watch>> {
        if !self.watched.load(Ordering::Relaxed) {
            return None;
        }
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A submission was refused or dropped.
    #[inline]
    pub(crate) fn refused(&self) {
        if let Some(watch) = self.watcher() {
            watch.refused(self);
        }
    }

    /// Whether descriptors or submissions have to be looked at. Whoever changes that must
    /// [set the gates](crate::shared::Shared::set_gates).
    pub(crate) fn is_looking(&self) -> bool {
        self.watched.load(Ordering::SeqCst) || self.active() || self.may_retry()
    }

    /// Whether [`arm`](Self::arm) has anything to decide.
    #[inline]
    pub(crate) fn active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether [`retry`](Self::retry) has anything to decide.
    #[inline]
    pub(crate) fn may_retry(&self) -> bool {
        self.retries.load(Ordering::Relaxed)
    }

    /// Whether an ENQCMD must be answered with Retry.
    pub(crate) fn retry(&self, opcode: u8) -> bool {
        let mut rules = self.lock();
        let Rules { list, rng, .. } = &mut *rules;
        let (mut retry, mut fired) = (false, Vec::new());
        let watched = self.watched.load(Ordering::Relaxed);
        for r in list.iter_mut().filter(|r| r.spec.effect == Effect::Retry) {
            if r.spec.opcode.is_none_or(|o| o == opcode) && r.fires(rng) {
                retry = true;
                fired.extend(watched.then_some(RuleId(r.id)));
            }
        }
        drop(rules);
        self.tell(&fired, opcode);
        retry
    }

    fn tell(&self, fired: &[RuleId], opcode: u8) {
        if !fired.is_empty()
            && let Some(watch) = self.watcher()
        {
            watch.fired(fired, opcode);
        }
    }

    /// Decides about one descriptor with these operand regions (those of length 0 do not exist).
    pub(crate) fn arm(&self, opcode: u8, regions: &[Region]) -> Armed {
        let watch = self.watcher();
        if let Some(watch) = &watch {
            watch.started(self, opcode, regions);
        }
        let mut rules = self.lock();
        let Rules { list, rng, .. } = &mut *rules;
        let (mut armed, mut fired) = (Armed::default(), Vec::new());
        for r in list.iter_mut() {
            if r.spec.effect == Effect::Retry || r.spec.opcode.is_some_and(|o| o != opcode) {
                continue;
            }
            let Some(hit) = Self::hit(&r.spec, regions) else { continue };
            if !r.fires(rng) {
                continue;
            }
            fired.extend(watch.is_some().then_some(RuleId(r.id)));
            match r.spec.effect {
                Effect::PageFault { resolvable } => {
                    let fault = match hit {
                        Hit::Range(range) => {
                            Some(ArmedFault { start: range.start, end: range.end, access: r.spec.access, resolvable })
                        }
                        Hit::Always => random_page(&r.spec, regions, resolvable, rng),
                    };
                    if let Some(fault) = fault {
                        armed.arm(fault);
                    }
                }
                Effect::RecordFault => armed.record_fault = true,
                Effect::HardwareError(status) => armed.hardware = Some(status),
                Effect::Lose => armed.lose = true,
                Effect::Delay(time) => armed.delay = Some(armed.delay.unwrap_or_default().saturating_add(time)),
                Effect::Retry => {}
            }
        }
        drop(rules);
        self.tell(&fired, opcode);
        armed
    }

    /// Whether the filters of a rule fit a descriptor.
    pub(crate) fn fits(rule: &FaultRule, opcode: u8, regions: &[Region]) -> bool {
        rule.opcode.is_none_or(|o| o == opcode) && Self::hit(rule, regions).is_some()
    }

    /// Whether the filters of a rule fit a descriptor, and through what.
    fn hit(rule: &FaultRule, regions: &[Region]) -> Option<Hit> {
        let fits = |r: &&Region| r.len != 0 && rule.access.is_none_or(|a| a == r.access);
        match &rule.range {
            Some(range) => {
                regions.iter().filter(fits).find(|r| r.first_in(range).is_some()).map(|_| Hit::Range(range.clone()))
            }
            // A fault needs a page to happen at, and only an address filter names the record's.
            None if matches!(rule.effect, Effect::PageFault { .. }) => {
                regions.iter().filter(fits).find(|r| !r.record).map(|_| Hit::Always)
            }
            None if rule.access.is_some() => regions.iter().find(fits).map(|_| Hit::Always),
            None => Some(Hit::Always),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Hit {
    Range(Range<u64>),
    Always,
}

/// A page of a random operand, as far as the operand reaches: what else lies in the page, a completion record for one,
/// stays present.
fn random_page(rule: &FaultRule, regions: &[Region], resolvable: bool, rng: &mut Prng) -> Option<ArmedFault> {
    let fits = |r: &&Region| r.len != 0 && !r.record && rule.access.is_none_or(|a| a == r.access);
    let count = regions.iter().filter(fits).count() as u64;
    let region = regions.iter().filter(fits).nth(rng.below(count) as usize)?;
    let last = region.addr.checked_add(region.len - 1)?;
    let page = region.addr / PAGE_SIZE + rng.below(last / PAGE_SIZE - region.addr / PAGE_SIZE + 1);
    let start = region.addr.max(page * PAGE_SIZE);
    let end = (page * PAGE_SIZE).saturating_add(PAGE_SIZE).min(last.saturating_add(1));
    Some(ArmedFault { start, end, access: Some(region.access), resolvable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(addr: u64, len: u64, access: Access) -> Region {
        Region { addr, len, access, record: false }
    }

    #[test]
    fn counting_triggers_choose_among_opportunities() {
        let fired = |rule: FaultRule| {
            let f = Faults::new(&[rule], 1);
            (1..=10).filter(|_| f.arm(3, &[]).lose).count()
        };
        let lose = || FaultRule::new(Effect::Lose);
        assert_eq!(fired(lose()), 10);
        assert_eq!(fired(lose().nth(4)), 1);
        assert_eq!(fired(lose().every(3)), 3);
        assert_eq!(fired(lose().every(0)), 0);
        assert_eq!(fired(lose().limit(2)), 2);
        assert_eq!(fired(lose().opcode(4)), 0);
        assert_eq!(fired(lose().probability(0.0)), 0);
    }

    #[test]
    fn impossible_probabilities_are_the_nearest_possible_ones() {
        let rule = |p| FaultRule::new(Effect::Lose).probability(p);
        for (p, counts_as) in
            [(-0.1, 0.0), (-0.0, 0.0), (f64::NEG_INFINITY, 0.0), (f64::NAN, 0.0), (1.1, 1.0), (f64::INFINITY, 1.0)]
        {
            assert_eq!(rule(p), rule(counts_as), "{p}");
        }
        assert_ne!(rule(0.25), rule(0.5));
        let fired = |p| {
            let faults = Faults::new(&[rule(p)], 1);
            (0..100).filter(|_| faults.arm(3, &[]).lose).count()
        };
        assert_eq!((fired(f64::NAN), fired(7.0)), (0, 100));
    }

    #[test]
    fn address_and_access_filters_look_at_the_operands() {
        let f = Faults::new(&[FaultRule::new(Effect::Lose).at(100..200).access(Access::Write)], 1);
        assert!(!f.arm(3, &[region(100, 50, Access::Read)]).lose);
        assert!(!f.arm(3, &[region(50, 50, Access::Write)]).lose);
        assert!(f.arm(3, &[region(50, 51, Access::Write)]).lose);
        assert!(f.arm(3, &[region(0, 1, Access::Read), region(199, 1, Access::Write)]).lose);
    }

    #[test]
    fn a_random_page_fault_lies_inside_an_operand() {
        let f = Faults::new(&[FaultRule::new(Effect::PageFault { resolvable: false })], 5);
        for _ in 0..200 {
            let armed = f.arm(3, &[region(0x1234, 0x5000, Access::Write)]);
            let (index, first) = armed.reached(0x1234, 0x5000, Access::Write).unwrap();
            assert!(first == 0x1234 || first.is_multiple_of(PAGE_SIZE) && first < 0x6234);
            assert!(!armed.fault(index).unwrap().resolvable);
            assert!(armed.reached(0x1234, 0x5000, Access::Read).is_none());
        }
    }

    #[test]
    fn removal_reports_how_often_a_rule_fired_and_clears_the_flags() {
        let f = Faults::new(&[], 0);
        let flags = || (f.active(), f.may_retry());
        assert_eq!(flags(), (false, false));
        let id = f.inject(FaultRule::new(Effect::Retry).every(2));
        assert_eq!(flags(), (false, true));
        assert_eq!((0..6).filter(|_| f.retry(3)).count(), 3);
        let other = f.inject(FaultRule::new(Effect::Lose));
        assert_eq!(flags(), (true, true));
        assert_eq!(f.remove(id), Some(3));
        assert_eq!(f.remove(id), None);
        assert_eq!(flags(), (true, false), "submitters take no lock for it");
        assert_eq!(f.remove(other), Some(0));
        assert_eq!(flags(), (false, false));
    }

    #[test]
    fn equal_seeds_choose_equally() {
        let run = |seed| {
            let f = Faults::new(&[FaultRule::new(Effect::Lose).probability(0.3)], seed);
            (0..64).map(|_| f.arm(3, &[]).lose).collect::<Vec<_>>()
        };
        assert_eq!(run(9), run(9));
        assert_ne!(run(9), run(10));
    }
}
