//! One cell: slices of all variants, round after round, and the times of those rounds in which the machine was as it mostly is.
//!
//! A slice is some 120 us, or one operation. Before it, hot and L3 slots are brought into the caches, because the slice before
//! may have gone past them; in cold memory the variant itself runs untimed for a while, so that lines which have to be written
//! back are its own and not those of the one before. The order of the variants is another in each round.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use dsa_benches::grid::{Place, Residency};
use dsa_benches::random::Random;
use dsa_benches::regret::{Kind, Regret, Series, regret};
use dsa_benches::rounds::{FEWEST, Kept, Sentinels, keep};
use dsa_benches::statistics::Ratio;
use dsa_benches::walk::Walk;

use super::goals::{self, Finding};
use super::machine::{CpuTime, Ticks};
use super::memory::{Layout, Memory};
use super::sentinel::Sentinel;
use super::variants::{self, OURS, Stock, Variant};

/// How long a slice should be, in nanoseconds, and what it may be before the number of operations is changed.
const SLICE: f64 = 120_000.0;
const SLICE_RANGE: RangeInclusive<f64> = 80_000.0..=180_000.0;
/// Most operations in a slice: of one slot, and of many, whose order must not fill the caches.
const MOST_HOT: usize = 100_000;
const MOST: usize = 16_384;
/// How long a variant runs in cold memory before its slice, in nanoseconds.
const COLD_WARM_UP: f64 = 400_000.0;
/// The part of a slice's time that its thread must have run, and how often a slice is tried.
const RAN: f64 = 0.95;
const TRIES: usize = 4;
/// Rounds that say how the machine mostly is: those of the last seconds, for a core may change its frequency within minutes.
const RECENT: usize = 2_000;
/// Largest operation whose result is looked at, bytes.
const CHECKED: usize = 4 << 20;

/// How long a cell is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    /// Where it ends, even if a goal is undecided.
    pub(crate) most_rounds: usize,
    pub(crate) most_time: Duration,
    /// Whether rounds are dropped in which the machine was not as it mostly is.
    pub(crate) is_strict: bool,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 15,
        time: Duration::from_millis(300),
        most_rounds: 600,
        most_time: Duration::from_millis(900),
        is_strict: true,
    };
    /// Shows that it runs.
    pub(crate) const QUICK: Self =
        Self { rounds: 3, time: Duration::ZERO, most_rounds: 3, most_time: Duration::ZERO, is_strict: false };
}

/// One cell's results.
pub(crate) struct Outcome {
    pub(crate) place: Place,
    pub(crate) rounds: usize,
    pub(crate) kept: Kept,
    /// The yardstick first.
    pub(crate) series: Vec<Series>,
    /// Of each variant: the time of the yardstick over its own. Above 1 is faster.
    pub(crate) speeds: Vec<Ratio>,
    /// Of the engine's function, and of the same without a hint.
    pub(crate) regret: Option<Regret>,
    pub(crate) unhinted: Option<Regret>,
    pub(crate) findings: Vec<Finding>,
}

impl Outcome {
    pub(crate) fn is_valid(&self) -> bool {
        self.kept.rounds.len() >= FEWEST
    }

    /// The place of a variant.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.series.iter().position(|one| one.name == name)
    }
}

/// Everything that measuring needs.
pub(crate) struct Bench {
    pub(crate) ticks: Ticks,
    pub(crate) memory: Memory,
    pub(crate) stock: Stock,
    pub(crate) sentinel: Sentinel,
    /// The sentinels of all rounds of the run so far.
    pub(crate) history: Vec<Sentinels>,
    /// Slices that were done again.
    pub(crate) repeated: usize,
    pub(crate) effort: Effort,
}

/// One cell while it is measured.
struct Cell {
    layout: Layout,
    walks: (Walk, Walk),
    order: Vec<(u32, u32)>,
    variants: Vec<Variant>,
    /// Operations of a slice of each, and before it.
    plans: Vec<Plan>,
    rounds: Vec<(Sentinels, Vec<f64>)>,
}

#[derive(Clone, Copy)]
struct Plan {
    operations: usize,
    warm: usize,
}

impl Bench {
    /// Measures one cell; `None` if the arenas are too small for it.
    pub(crate) fn measure(&mut self, place: Place) -> Option<Outcome> {
        let layout = self.memory.lay_out(place)?;
        self.memory.prepare(&layout);
        let variants = variants::of(place, &self.memory, &self.stock);
        let plans = vec![Plan { operations: 1, warm: 0 }; variants.len()];
        let walks = layout.walks();
        let mut cell = Cell { layout, walks, order: Vec::new(), variants, plans, rounds: Vec::new() };
        self.check(&mut cell);
        for variant in 0..cell.variants.len() {
            for _ in 0..4 {
                let ns = self.slice(&mut cell, variant);
                cell.plans[variant] = fit(cell.plans[variant], ns, place);
            }
        }
        let begun = Instant::now();
        let mut random = Random::new(place.size as u64);
        let mut turns: Vec<usize> = (0..cell.variants.len()).collect();
        while !self.is_done(&cell, begun) {
            let sentinels = self.sentinel.measure();
            self.history.push(sentinels);
            random.shuffle(&mut turns);
            let mut times = vec![0.0; turns.len()];
            for variant in &turns {
                let ns = self.slice(&mut cell, *variant);
                cell.plans[*variant] = fit(cell.plans[*variant], ns, place);
                times[*variant] = ns;
            }
            cell.rounds.push((sentinels, times));
        }
        Some(self.evaluate(&cell))
    }

    /// One slice: nanoseconds of an operation. One during which the thread did not always run is done again.
    fn slice(&mut self, cell: &mut Cell, variant: usize) -> f64 {
        let plan = cell.plans[variant];
        let mut tries = 0;
        loop {
            cell.layout.warm();
            let work = &mut cell.variants[variant].work;
            if plan.warm > 0 {
                cell.layout.order(&mut cell.walks, plan.warm, &mut cell.order);
                work.time(&cell.layout.slots(&cell.order, plan.warm));
            }
            cell.layout.order(&mut cell.walks, plan.operations, &mut cell.order);
            let begun = (Instant::now(), CpuTime::thread());
            let took = work.time(&cell.layout.slots(&cell.order, plan.operations));
            let (ran, passed) = (CpuTime::thread() - begun.1, begun.0.elapsed().as_nanos() as f64);
            tries += 1;
            if ran as f64 >= RAN * passed || tries == TRIES {
                return self.ticks.nanos(took) / plan.operations as f64;
            }
            self.repeated += 1;
        }
    }

    /// Sees to it that all variants that do the work give the same result.
    fn check(&self, cell: &mut Cell) {
        if cell.layout.place().size > CHECKED {
            return;
        }
        cell.layout.order(&mut cell.walks, 1, &mut cell.order);
        let slots = cell.layout.slots(&cell.order, 1);
        let outputs = |value: u64| cell.layout.output(&self.memory, slots.at(0), value);
        let mut expected: Option<(u64, Vec<Vec<u8>>, String)> = None;
        for variant in cell.variants.iter_mut().filter(|variant| variant.kind.does_the_work()) {
            for (at, len) in expected.as_ref().map(|(value, ..)| outputs(*value)).unwrap_or_default() {
                // SAFETY: an output lies inside the benchmark's memory, and nobody uses it.
                unsafe { at.write_bytes(0x5a, len) };
            }
            let value = variant.work.once(&slots);
            // SAFETY: likewise.
            let bytes = |(at, len): (*mut u8, usize)| unsafe { std::slice::from_raw_parts(at, len) }.to_vec();
            let found: Vec<Vec<u8>> = outputs(value).into_iter().map(bytes).collect();
            match &expected {
                None => expected = Some((value, found, variant.name.clone())),
                Some((right, content, first)) => {
                    let names = (&variant.name, first, cell.layout.place());
                    assert!(value == *right && found == *content, "{} and {} differ: {}", names.0, names.1, names.2);
                }
            }
        }
    }

    fn is_done(&self, cell: &Cell, begun: Instant) -> bool {
        let (rounds, time, effort) = (cell.rounds.len(), begun.elapsed(), &self.effort);
        if rounds < effort.rounds || time < effort.time {
            return false;
        }
        if rounds >= effort.most_rounds || time >= effort.most_time {
            return true;
        }
        // A look at all rounds costs more and more: not after each.
        let looks = rounds == effort.rounds || rounds.is_multiple_of(15);
        looks && {
            let kept = self.keep(cell);
            kept.rounds.len() >= effort.rounds.min(2 * FEWEST)
                && goals::are_decided(&goals::findings(cell.layout.place(), &cell.series(&kept)))
        }
    }

    /// The rounds that count.
    fn keep(&self, cell: &Cell) -> Kept {
        let sentinels: Vec<Sentinels> = cell.rounds.iter().map(|(sentinels, _)| *sentinels).collect();
        if self.effort.is_strict {
            let recent = self.history.len().saturating_sub(RECENT.max(sentinels.len()));
            return keep(&sentinels, &self.history[recent..]);
        }
        Kept { rounds: (0..sentinels.len()).collect(), round_trip: f64::NAN, ..Kept::default() }
    }

    fn evaluate(&self, cell: &Cell) -> Outcome {
        let place = cell.layout.place();
        let kept = self.keep(cell);
        let series = cell.series(&kept);
        let speeds = series.iter().map(|one| Ratio::of(&series[0].ns, &one.ns, 21)).collect();
        let regret_of = |kind| {
            let at = series.iter().position(|one| one.kind == kind)?;
            regret(&series, at, 22)
        };
        let (of_ours, unhinted) = (regret_of(Kind::Ours), regret_of(Kind::Unhinted));
        debug_assert!(series.iter().any(|one| one.name == OURS));
        let findings = goals::findings(place, &series);
        Outcome { place, rounds: cell.rounds.len(), kept, series, speeds, regret: of_ours, unhinted, findings }
    }
}

impl Cell {
    fn series(&self, kept: &Kept) -> Vec<Series> {
        let of = |(at, variant): (usize, &Variant)| Series {
            name: variant.name.clone(),
            kind: variant.kind,
            ns: kept.rounds.iter().map(|round| self.rounds[*round].1[at]).collect(),
        };
        self.variants.iter().enumerate().map(of).collect()
    }
}

/// Changes the number of operations so that a slice is as long as it should be.
fn fit(plan: Plan, ns: f64, place: Place) -> Plan {
    if SLICE_RANGE.contains(&(ns * plan.operations as f64)) {
        return plan;
    }
    let most = if place.residency == Residency::Hot { MOST_HOT } else { MOST };
    let of = |time: f64| ((time / ns) as usize).clamp(1, most);
    let operations = of(SLICE);
    let warm = match place.residency {
        Residency::Cold if (COLD_WARM_UP / ns) < 1.0 => 0,
        Residency::Cold => of(COLD_WARM_UP),
        _ if operations == 1 => 0,
        _ => operations.div_ceil(8),
    };
    Plan { operations, warm }
}
