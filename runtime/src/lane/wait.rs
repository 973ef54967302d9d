//! Waiting between two looks at a completion record: in user mode where the CPU can, by yielding and sleeping otherwise.
//!
//! [`Waiter`] is the choice, made once for each accelerator. It waits for the cache line that holds a record, and for a
//! short time at most: the kernel takes the thread for a running one, and whoever waits must look at other things too.
//! An instruction may end early for reasons of its own, so nothing follows from its end; callers look again.
//!
//! **No completion is slept over.** The monitor is armed *before* the record is looked at for the last time. A record
//! written before that look is seen by it; one that is written after it hits the armed monitor, and the wait ends at
//! once.
//!
//! [`Pace`] is what the poller does after a pass: when it waits, when it yields, when it goes to sleep.

use std::marker::PhantomData;
use std::time::Duration;

use idxd_sys::{CpuFeatures, instr};

use crate::clock;
use crate::dispatch::Waiting;

/// The longest wait for one record. Whoever arms another one meanwhile does not end it.
const ALONE: Duration = Duration::from_micros(10);

/// The same where several records are waited for, of which a monitor sees one at best.
const AMONG_OTHERS: Duration = Duration::from_micros(2);

/// How long the poller waits by instructions after the last completion it saw, and how long it looks without a pause where
/// there are none.
const CALM: Duration = Duration::from_micros(100);
const SPIN: Duration = Duration::from_micros(20);

/// First and longest sleep between looks after that.
const SHORTEST_NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// The way of waiting that an accelerator uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instructions {
    Waitpkg(Waitpkg),
    Monitorx(Monitorx),
    None,
}

impl Waiter {
    /// Waiting without instructions.
    pub(crate) const NONE: Self = Self(Instructions::None);

    /// What was asked for, if the CPU has it.
    pub(crate) fn choose(waiting: Waiting, features: CpuFeatures) -> Option<Self> {
        let waitpkg = features.waitpkg.then_some(Instructions::Waitpkg(Waitpkg(())));
        let monitorx = features.mwaitx.then_some(Instructions::Monitorx(Monitorx(())));
        match waiting {
            Waiting::Auto => waitpkg.or(monitorx).or(Some(Instructions::None)),
            Waiting::Umwait => waitpkg,
            Waiting::Mwaitx => monitorx,
            Waiting::Spin => Some(Instructions::None),
        }
        .map(Self)
    }

    /// The same, if its instructions really wait on this machine; nothing instead if they do not.
    ///
    /// That the CPU has them says little. A hypervisor may intercept them, which costs microseconds, and then go on at once:
    /// a loop around such an instruction is a slow spin that looks like rest. Takes some 50 microseconds.
    pub(crate) fn proven(self) -> Self {
        match self.0 {
            Instructions::Waitpkg(monitor) if really_waits(monitor) => self,
            Instructions::Monitorx(monitor) if really_waits(monitor) => self,
            _ => Self::NONE,
        }
    }

    /// What it is, by the names of the policy.
    pub(crate) fn kind(self) -> Waiting {
        match self.0 {
            Instructions::Waitpkg(_) => Waiting::Umwait,
            Instructions::Monitorx(_) => Waiting::Mwaitx,
            Instructions::None => Waiting::Spin,
        }
    }

    /// Whether it has instructions to wait by.
    pub(crate) fn is_light(self) -> bool {
        self.0 != Instructions::None
    }

    /// Waits for one record: until `line` is written, or for a few microseconds. Not at all if it is `done`, or without
    /// instructions.
    pub(crate) fn watch(self, line: Line<'_>, done: impl FnOnce() -> bool) {
        match self.0 {
            Instructions::Waitpkg(monitor) => until_written(monitor, line, ticks(ALONE), done),
            Instructions::Monitorx(monitor) => until_written(monitor, line, ticks(ALONE), done),
            Instructions::None => {}
        }
    }

    /// Waits for a moment on behalf of several records, of which `line` holds one.
    pub(crate) fn pause(self, line: Line<'_>, done: impl FnOnce() -> bool) {
        match self.0 {
            Instructions::Waitpkg(certain) => pause(certain, ticks(AMONG_OTHERS)),
            // There is no such instruction that does not monitor.
            Instructions::Monitorx(monitor) => until_written(monitor, line, ticks(AMONG_OTHERS), done),
            Instructions::None => {}
        }
    }
}

/// The cache line that holds a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    address: *const u8,
    _value: PhantomData<&'a u8>,
}

impl<'a> Line<'a> {
    /// The line where `value` starts.
    pub(crate) fn of<T>(value: &'a T) -> Self {
        Self { address: std::ptr::from_ref(value).cast(), _value: PhantomData }
    }
}

/// An address monitor.
trait Monitor: Copy {
    /// Watches `line` from here on.
    fn arm(self, line: Line<'_>);

    /// Waits until the line is written or `ticks` of the time stamp counter are over. May end at any time.
    fn wait(self, ticks: u32);
}

/// See the [module](self): first the monitor, then the look.
fn until_written(monitor: impl Monitor, line: Line<'_>, ticks: u32, done: impl FnOnce() -> bool) {
    monitor.arm(line);
    if !done() {
        monitor.wait(ticks);
    }
}

/// Times waits for a line that nobody writes: some that may last for a while, and some that may not last at all.
fn really_waits(monitor: impl Monitor) -> bool {
    let line = 0u64;
    let time = |ticks: u32| {
        let begun = clock::now();
        until_written(monitor, Line::of(&line), ticks, || false);
        clock::now().saturating_sub(begun)
    };
    let long = ticks(AMONG_OTHERS);
    are_waits(std::array::from_fn(|_| time(long)), std::array::from_fn(|_| time(0)), long.into())
}

/// What the times say. An instruction that waits takes about as long as it may, beyond what it takes at least; its median
/// decides, because each single one may be cut short by an interrupt, or prolonged by another thread.
fn are_waits(mut long: [u64; 15], mut short: [u64; 15], ticks: u64) -> bool {
    long.sort_unstable();
    short.sort_unstable();
    long[7] >= short[7].saturating_add(ticks / 2)
}

/// A duration in ticks of the time stamp counter. Where that is not our clock its rate is unknown: then a tick counts as a
/// nanosecond, which makes waits shorter than they could be.
fn ticks(duration: Duration) -> u32 {
    u32::try_from(clock::ticks(duration)).unwrap_or(u32::MAX)
}

/// The certainty that UMONITOR, UMWAIT and TPAUSE can be executed. [`Waiter::choose`] alone has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waitpkg(());

impl Monitor for Waitpkg {
    fn arm(self, line: Line<'_>) {
        // SAFETY: the features said that the CPU has the instruction, or something emulates it; the line holds a value
        // that is borrowed, in ordinary memory.
        unsafe { instr::umonitor(line.address) };
    }

    fn wait(self, ticks: u32) {
        // SAFETY: as in `arm`, and the state is a valid one: C0.1, which wakes faster than C0.2. This thread is waited for.
        let _limit = unsafe { instr::umwait(instr::WAIT_C01, instr::rdtsc().saturating_add(ticks.into())) };
    }
}

fn pause(_certain: Waitpkg, ticks: u32) {
    // SAFETY: as for `Waitpkg::wait`.
    let _limit = unsafe { instr::tpause(instr::WAIT_C01, instr::rdtsc().saturating_add(ticks.into())) };
}

/// The certainty that MONITORX and MWAITX can be executed. [`Waiter::choose`] alone has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Monitorx(());

impl Monitor for Monitorx {
    fn arm(self, line: Line<'_>) {
        // SAFETY: the features said that the CPU has the instruction, or something emulates it; the line holds a value
        // that is borrowed, in ordinary memory.
        unsafe { instr::monitorx(line.address) };
    }

    fn wait(self, ticks: u32) {
        // SAFETY: as in `arm`.
        unsafe { instr::mwaitx(ticks) };
    }
}

/// What the poller does after a pass over the watched slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is watched: sleep until the bell rings.
    Rest,
    /// Look again at once.
    Look,
    /// Let other threads run, then look again.
    Yield,
    /// Wait by instructions, then look again.
    Wait,
    /// Sleep for so long, unless the bell rings.
    Nap(Duration),
}

/// How long the poller has seen nothing happen, and what follows.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The step, and the time for which it is taken, before the naps.
    first: (Step, Duration),
    quiet_since: u64,
    nap: Duration,
}

impl Pace {
    /// The pace of a poller that starts at the clock's `now`.
    pub(crate) fn new(waiter: Waiter, now: u64) -> Self {
        let first = if waiter.is_light() { (Step::Wait, CALM) } else { (Step::Yield, SPIN) };
        Self { first, quiet_since: now, nap: SHORTEST_NAP }
    }

    /// What to do at `now`, after a pass that found `waiting` slots and perhaps made `progress`.
    pub(crate) fn next(&mut self, now: u64, waiting: usize, progress: bool) -> Step {
        if waiting == 0 || progress {
            self.quiet_since = now;
            self.nap = SHORTEST_NAP;
            return if waiting == 0 { Step::Rest } else { Step::Look };
        }
        let (step, time) = self.first;
        if now.saturating_sub(self.quiet_since) < clock::ticks(time) {
            return step;
        }
        let nap = self.nap;
        self.nap = (nap * 2).min(LONGEST_NAP);
        Step::Nap(nap)
    }

    /// The poller has rested: nothing before counts.
    pub(crate) fn rested(&mut self, now: u64) {
        self.quiet_since = now;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn features(waitpkg: bool, mwaitx: bool) -> CpuFeatures {
        let mut features = CpuFeatures::NONE;
        features.waitpkg = waitpkg;
        features.mwaitx = mwaitx;
        features
    }

    #[test]
    fn the_choice_is_the_best_that_the_cpu_has() {
        let umwait = Some(Waiter(Instructions::Waitpkg(Waitpkg(()))));
        let mwaitx = Some(Waiter(Instructions::Monitorx(Monitorx(()))));
        let none = Some(Waiter(Instructions::None));
        for (waiting, with_both, with_waitpkg, with_mwaitx, with_nothing) in [
            (Waiting::Auto, umwait, umwait, mwaitx, none),
            (Waiting::Umwait, umwait, umwait, None, None),
            (Waiting::Mwaitx, mwaitx, None, mwaitx, None),
            (Waiting::Spin, none, none, none, none),
        ] {
            assert_eq!(Waiter::choose(waiting, features(true, true)), with_both, "{waiting:?}");
            assert_eq!(Waiter::choose(waiting, features(true, false)), with_waitpkg, "{waiting:?}");
            assert_eq!(Waiter::choose(waiting, features(false, true)), with_mwaitx, "{waiting:?}");
            assert_eq!(Waiter::choose(waiting, features(false, false)), with_nothing, "{waiting:?}");
        }
    }

    /// A monitor whose line is written at a given moment.
    #[derive(Clone, Copy)]
    struct Fake<'a> {
        written: &'a Cell<bool>,
        /// Write the line when the monitor is armed.
        when_armed: bool,
        log: &'a RefCell<Vec<&'static str>>,
    }

    impl Monitor for Fake<'_> {
        fn arm(self, _: Line<'_>) {
            self.log.borrow_mut().push("arm");
            self.written.set(self.when_armed);
        }

        fn wait(self, ticks: u32) {
            assert_eq!(ticks, 17);
            self.log.borrow_mut().push("wait");
            self.written.set(true);
        }
    }

    #[test]
    fn a_record_that_completes_while_the_monitor_is_armed_is_not_slept_over() {
        for (when_armed, expected) in [(true, &["arm", "look"][..]), (false, &["arm", "look", "wait"])] {
            let (written, log) = (Cell::new(false), RefCell::new(Vec::new()));
            let fake = Fake { written: &written, when_armed, log: &log };
            until_written(fake, Line::of(&0u64), 17, || {
                log.borrow_mut().push("look");
                written.get()
            });
            assert_eq!(*log.borrow(), expected);
            assert!(written.get());
        }
    }

    #[test]
    fn without_instructions_nothing_waits() {
        let waiter = Waiter::choose(Waiting::Spin, features(true, true)).unwrap();
        waiter.watch(Line::of(&0u64), || unreachable!("nobody looks"));
        waiter.pause(Line::of(&0u64), || unreachable!("nobody looks"));
        assert!(!waiter.is_light());
    }

    #[test]
    fn what_this_cpu_has_ends_by_itself() {
        let line = 0u64;
        for waiting in [Waiting::Auto, Waiting::Umwait, Waiting::Mwaitx] {
            if let Some(waiter) = Waiter::choose(waiting, CpuFeatures::native()) {
                waiter.watch(Line::of(&line), || false);
                waiter.pause(Line::of(&line), || false);
            }
        }
    }

    #[test]
    fn what_does_not_wait_is_found_out() {
        // It waits, and is disturbed now and then.
        let mut long = [2_000; 15];
        (long[3], long[9]) = (40, 90_000);
        assert!(are_waits(long, [60; 15], 2_000));
        // It returns at once; or it is intercepted, which takes as long as the wait should have taken.
        assert!(!are_waits([60; 15], [60; 15], 2_000));
        assert!(!are_waits([2_100; 15], [2_000; 15], 2_000));
        // A few good ones among bad ones prove nothing.
        let mut long = [60; 15];
        long[..7].fill(2_000);
        assert!(!are_waits(long, [60; 15], 2_000));
    }

    #[test]
    fn proof_is_for_what_has_instructions() {
        assert_eq!(Waiter::NONE.proven(), Waiter::NONE);
        if let Some(waiter) = Waiter::choose(Waiting::Auto, CpuFeatures::native()) {
            let proven = waiter.proven();
            assert!(proven == waiter || proven == Waiter::NONE);
        }
    }

    #[test]
    fn the_poller_waits_lightly_first_and_longer_and_longer_then() {
        for (features, first, time) in [
            (features(true, false), Step::Wait, CALM),
            (features(false, true), Step::Wait, CALM),
            (features(false, false), Step::Yield, SPIN),
        ] {
            let start = 1_000_000;
            let mut pace = Pace::new(Waiter::choose(Waiting::Auto, features).unwrap(), start);
            let late = start + clock::ticks(time) + 1;
            assert_eq!(pace.next(start, 0, false), Step::Rest);
            assert_eq!(pace.next(start, 3, true), Step::Look);
            assert_eq!(pace.next(start + clock::ticks(time) / 2, 3, false), first);
            assert_eq!(pace.next(late, 3, false), Step::Nap(SHORTEST_NAP));
            assert_eq!(pace.next(late, 3, false), Step::Nap(SHORTEST_NAP * 2));
            for _ in 0..20 {
                pace.next(late, 3, false);
            }
            assert_eq!(pace.next(late, 3, false), Step::Nap(LONGEST_NAP));
            // A completion starts all over.
            assert_eq!(pace.next(late, 1, true), Step::Look);
            assert_eq!(pace.next(late, 1, false), first);
            // And so does a rest, however long it was.
            assert_eq!(pace.next(late, 0, true), Step::Rest);
            pace.rested(late * 2);
            assert_eq!(pace.next(late * 2, 1, false), first);
        }
    }
}
