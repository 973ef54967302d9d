//! The state of a campaign: which step is next, and what its rules have done.
//!
//! Engines and submitters come here with what they see, the campaign's thread (or whoever runs a device without threads)
//! with the commands it has carried out. Each call holds the lock for a few instructions and never waits for the device:
//! commands are left for others to carry out, and no step is looked at until that is done.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::script::{Action, Command, Filter, Script, Trigger};
use super::trace::{CampaignReport, What};
use crate::command::CommandError;
use crate::fault::{Faults, Region, RuleId, Watch};
use crate::prng::Prng;

/// A rule of the campaign that is in force.
struct Live {
    id: RuleId,
    step: usize,
    /// The tick at which it goes.
    until: Option<u64>,
    hits: u64,
}

/// A descriptor that starts.
type Seen<'a> = (u8, &'a [Region]);

struct Progress {
    report: CampaignReport,
    /// The next step.
    next: usize,
    round: u64,
    /// The round begins with the next tick, so that no script goes round without end.
    fresh: bool,
    /// When the step before it was done.
    since: u64,
    rng: Prng,
    live: Vec<Live>,
    /// A command that nobody has begun.
    due: Option<(usize, Command)>,
    /// A command that is due or under way.
    busy: bool,
    stopped: bool,
}

/// See the module.
pub(super) struct State {
    progress: Mutex<Progress>,
    wake: Condvar,
}

impl State {
    pub(super) fn new(script: Script) -> Self {
        // Not the seed itself, from which the rules draw.
        let rng = Prng::new(script.seed ^ 0x6361_6d70_6169_676e);
        let finished = script.steps.is_empty();
        let report = CampaignReport { finished, ..CampaignReport::new(script) };
        let progress = Progress {
            report,
            next: 0,
            round: 0,
            fresh: false,
            since: 0,
            rng,
            live: Vec::new(),
            due: None,
            busy: false,
            stopped: false,
        };
        Self { progress: Mutex::new(progress), wake: Condvar::new() }
    }

    /// Takes the steps that need nothing to happen.
    pub(super) fn begin(&self, faults: &Faults) {
        let mut progress = self.lock();
        self.proceed(&mut progress, faults, None, false);
    }

    /// A tick in which nothing happened.
    pub(super) fn idle(&self, faults: &Faults) {
        self.tick(faults, None);
    }

    /// The command that is due, which the caller then carries out.
    pub(super) fn take_command(&self) -> Option<(usize, Command)> {
        self.lock().due.take()
    }

    /// Waits for a command, for `patience` at most. `Err` if the campaign is over.
    pub(super) fn wait_command(&self, patience: Duration) -> Result<Option<(usize, Command)>, Over> {
        let mut progress = self.lock();
        if progress.due.is_none() && !progress.stopped {
            (progress, _) = self.wake.wait_timeout(progress, patience).unwrap_or_else(PoisonError::into_inner);
        }
        if progress.stopped { Err(Over) } else { Ok(progress.due.take()) }
    }

    /// A command is done.
    pub(super) fn done(&self, faults: &Faults, step: usize, result: Result<(), CommandError>) {
        let mut progress = self.lock();
        progress.report.note(step, What::Done(result));
        progress.busy = false;
        progress.since = progress.report.ticks;
        let over = progress.next == progress.report.script.steps.len();
        progress.report.finished = over;
        self.proceed(&mut progress, faults, None, false);
    }

    /// Removes the rules that are in force.
    pub(super) fn clear(&self, faults: &Faults) {
        let mut progress = self.lock();
        Self::remove(&mut progress, faults, |_| true);
    }

    /// Ends the campaign: nothing happens any more.
    pub(super) fn stop(&self) {
        let mut progress = self.lock();
        progress.stopped = true;
        drop(progress);
        self.wake.notify_all();
    }

    pub(super) fn report(&self) -> CampaignReport {
        self.lock().report.clone()
    }

    pub(super) fn ticks(&self) -> u64 {
        self.lock().report.ticks
    }

    pub(super) fn is_finished(&self) -> bool {
        self.lock().report.finished
    }

    fn tick(&self, faults: &Faults, seen: Option<Seen<'_>>) {
        let mut progress = self.lock();
        if progress.stopped {
            return;
        }
        progress.report.ticks += 1;
        let now = progress.report.ticks;
        // Those of the last round go when the next one begins.
        let fresh = std::mem::take(&mut progress.fresh);
        Self::remove(&mut progress, faults, |rule| fresh || rule.until.is_some_and(|until| until <= now));
        self.proceed(&mut progress, faults, seen, true);
    }

    /// Takes the next steps whose triggers are met. A descriptor meets one `when` at most, a tick draws one chance.
    fn proceed(&self, progress: &mut Progress, faults: &Faults, seen: Option<Seen<'_>>, ticked: bool) {
        let (mut seen, mut draw) = (seen, ticked);
        while !progress.busy && !progress.stopped && !progress.fresh {
            let Some(step) = progress.report.script.steps.get(progress.next) else { return };
            let now = progress.report.ticks;
            let met = match &step.trigger {
                Trigger::Now => true,
                Trigger::After(ticks) => now - progress.since >= *ticks,
                Trigger::At(tick) => now >= *tick,
                Trigger::When(filter) => seen.take().is_some_and(|seen| fits(filter, seen)),
                Trigger::Chance(p) => std::mem::take(&mut draw) && progress.rng.chance(*p),
            };
            if !met {
                return;
            }
            self.act(progress, faults);
        }
    }

    /// Takes the next step.
    fn act(&self, progress: &mut Progress, faults: &Faults) {
        let step = progress.next;
        let action = progress.report.script.steps[step].action.clone();
        let now = progress.report.ticks;
        progress.since = now;
        progress.next += 1;
        let again =
            progress.next == progress.report.script.steps.len() && progress.round + 1 < progress.report.script.rounds;
        if again {
            progress.next = 0;
            progress.round += 1;
            progress.fresh = true;
        }
        progress.report.note(step, What::Taken);
        match action {
            Action::Inject { rule, ticks } => {
                let id = faults.inject(rule);
                progress.live.push(Live { id, step, until: ticks.map(|ticks| now.saturating_add(ticks)), hits: 0 });
                progress.report.finished = progress.next == progress.report.script.steps.len();
            }
            Action::Command(command) => {
                progress.due = Some((step, command));
                progress.busy = true;
                self.wake.notify_all();
            }
        }
    }

    fn remove(progress: &mut Progress, faults: &Faults, goes: impl Fn(&Live) -> bool) {
        let Progress { live, report, .. } = progress;
        live.retain(|rule| {
            let goes = goes(rule);
            if goes {
                // An engine may be on its way to tell of a hit; it is not in force any more, and counted here.
                let untold = faults.remove(rule.id).unwrap_or(0).saturating_sub(rule.hits);
                report.hits[rule.step] += untold;
                report.note(rule.step, What::Ended);
            }
            !goes
        });
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The campaign is over.
pub(super) struct Over;

fn fits(filter: &Filter, (opcode, regions): Seen<'_>) -> bool {
    Faults::fits(&filter.rule(), opcode, regions)
}

impl Watch for State {
    fn started(&self, faults: &Faults, opcode: u8, regions: &[Region]) {
        self.tick(faults, Some((opcode, regions)));
    }

    fn refused(&self, faults: &Faults) {
        self.tick(faults, None);
    }

    fn fired(&self, rules: &[RuleId], opcode: u8) {
        let mut progress = self.lock();
        let Progress { live, report, .. } = &mut *progress;
        for rule in live.iter_mut().filter(|rule| rules.contains(&rule.id)) {
            rule.hits += 1;
            report.note(rule.step, What::Hit { opcode });
        }
    }
}
