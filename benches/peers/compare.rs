//! One cell: slices of all variants in turn, round after round, and what is made of the rounds that the sentinels let pass.

use std::time::{Duration, Instant};

use dsa_benches::cell::Cell;
use dsa_benches::rounds::{FEWEST, Kept, Sentinels, keep};
use dsa_benches::statistics::{Ratio, median};
use hdrhistogram::Histogram;

use super::arena::{self, Arena, ROOM};
use super::goals::{self, Finding};
use super::ledger::{self, Plan, Slice};
use super::machine::{CpuTime, Ticks, spin_for};
use super::sentinel::Sentinel;
use super::variant::{OURS, Stage, Variant};

/// How long a slice should be, in nanoseconds, and what it may be before the number of operations is changed.
const SLICE: f64 = 200_000.0;
const SLICE_RANGE: std::ops::RangeInclusive<f64> = 100_000.0..=300_000.0;
/// From the end of a slice to the next: an idle engine goes to sleep after 20 us.
const SETTLE: Duration = Duration::from_micros(60);
/// Most operations in a slice.
const MOST: usize = 50_000;

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
        time: Duration::from_secs(1),
        most_rounds: 400,
        most_time: Duration::from_secs(8),
        is_strict: true,
    };
    /// Shows that it runs.
    pub(crate) const QUICK: Self =
        Self { rounds: 3, time: Duration::ZERO, most_rounds: 3, most_time: Duration::ZERO, is_strict: false };

    pub(crate) fn is_done(&self, rounds: usize, begun: Instant, is_decided: impl FnOnce() -> bool) -> bool {
        let time = begun.elapsed();
        if rounds < self.rounds || time < self.time {
            return false;
        }
        rounds >= self.most_rounds || time >= self.most_time || is_decided()
    }
}

/// What one variant did in one cell, over the rounds that are left.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// The median over the slices: nanoseconds of an operation.
    pub(crate) ns: f64,
    /// Its time divided by that of [`OURS`]; `None` for the latter.
    pub(crate) ratio: Option<Ratio>,
    /// Latencies of all operations, in nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    /// CPU nanoseconds of an operation.
    pub(crate) submitter: f64,
    pub(crate) process: f64,
    pub(crate) operations: usize,
}

/// One cell's results.
pub(crate) struct Outcome {
    pub(crate) cell: Cell,
    pub(crate) pairs: usize,
    pub(crate) rounds: usize,
    pub(crate) kept: Kept,
    pub(crate) lines: Vec<Line>,
    pub(crate) findings: Vec<Finding>,
}

impl Outcome {
    pub(crate) fn is_valid(&self) -> bool {
        self.kept.rounds.len() >= FEWEST
    }
}

/// The slices of one variant in the rounds that are left, as goals look at them.
pub(crate) struct Series<'a> {
    pub(crate) name: &'static str,
    pub(crate) slices: Vec<&'a Slice>,
}

/// Pairs of buffers of a cell: the rotation of every variant. Not fewer than are in flight.
fn pairs_of(cell: Cell) -> usize {
    let few = if cell.size > 16 << 10 { 16 } else { 64 };
    few.max(cell.depth)
}

/// Everything that measuring needs.
pub(crate) struct Bench {
    pub(crate) stage: Stage,
    pub(crate) arena: Arena,
    pub(crate) sentinel: Sentinel,
    pub(crate) variants: Vec<Box<dyn Variant>>,
    /// The sentinels of all rounds of the run so far.
    pub(crate) history: Vec<Sentinels>,
    pub(crate) effort: Effort,
}

impl Bench {
    /// Whether a cell can be measured: queues and memory are large enough.
    pub(crate) fn has_room(cell: Cell) -> bool {
        cell.depth <= 512 && cell.size.saturating_mul(pairs_of(cell)) <= ROOM
    }

    /// Measures one cell.
    pub(crate) fn measure(&mut self, cell: Cell) -> Outcome {
        let pairs = pairs_of(cell);
        let lent = self.arena.lend(cell.size, pairs);
        ledger::with(|ledger| *ledger.pairs() = lent);
        let taking_part: Vec<usize> = (0..self.variants.len()).filter(|i| self.variants[*i].fits(cell.depth)).collect();
        let mut plans: Vec<Plan> = taking_part.iter().map(|i| self.calibrate(*i, cell, pairs)).collect();
        let begun = Instant::now();
        let mut rounds: Vec<(Sentinels, Vec<Slice>)> = Vec::new();
        loop {
            let sentinels = self.sentinel.measure();
            self.history.push(sentinels);
            let mut slices: Vec<Option<Slice>> = vec![None; taking_part.len()];
            for turn in 0..taking_part.len() {
                // Another one begins in each round.
                let place = (turn + rounds.len()) % taking_part.len();
                let slice = self.slice(taking_part[place], &plans[place]);
                plans[place] = fit(&plans[place], slice.ns, self.variants[taking_part[place]].unit());
                slices[place] = Some(slice);
            }
            rounds.push((sentinels, slices.into_iter().flatten().collect()));
            // A look at all rounds costs more and more: not after each.
            let looks = rounds.len() <= self.effort.rounds || rounds.len().is_multiple_of(10);
            let is_decided = || looks && self.is_decided(cell, &taking_part, &rounds);
            if self.effort.is_done(rounds.len(), begun, is_decided) {
                break;
            }
        }
        for variant in &taking_part {
            self.variants[*variant].check();
        }
        let back = ledger::with(|ledger| std::mem::take(ledger.pairs()));
        self.arena.take_back(back);
        self.evaluate(cell, &taking_part, &rounds)
    }

    /// How many operations of a variant make a slice.
    fn calibrate(&mut self, variant: usize, cell: Cell, pairs: usize) -> Plan {
        let unit = self.variants[variant].unit();
        let operations = cell.depth.next_multiple_of(unit);
        let mut plan = Plan { size: cell.size, pairs, depth: cell.depth, warm: operations, operations };
        for _ in 0..4 {
            let ns = self.slice(variant, &plan).ns;
            plan = fit(&plan, ns, unit);
        }
        plan
    }

    /// One slice, with a look at the bytes that it copied.
    fn slice(&mut self, variant: usize, plan: &Plan) -> Slice {
        let variant = &mut self.variants[variant];
        let sample = ledger::with(|ledger| arena::spoil(ledger.pairs(), plan.warm, plan.operations));
        let before = CpuTime::now();
        variant.awake();
        let mut slice = variant.run(&self.stage, plan);
        variant.rest();
        let are_copied = ledger::with(|ledger| arena::are_copied(ledger.pairs(), &sample));
        assert!(are_copied, "{} has not copied what it should have", variant.name());
        spin_for(self.stage.ticks, SETTLE);
        slice.add_others(CpuTime::now().since(before));
        slice
    }

    fn is_decided(&self, cell: Cell, taking_part: &[usize], rounds: &[(Sentinels, Vec<Slice>)]) -> bool {
        let kept = self.keep(rounds);
        if kept.rounds.len() < self.effort.rounds {
            return false;
        }
        let findings = goals::findings(
            cell,
            &self.series(taking_part, rounds, &kept),
            &kept_trips(rounds, &kept),
            self.stage.ticks,
        );
        goals::are_decided(&findings)
    }

    fn keep(&self, rounds: &[(Sentinels, Vec<Slice>)]) -> Kept {
        let sentinels: Vec<Sentinels> = rounds.iter().map(|(sentinels, _)| *sentinels).collect();
        self.keep_of(&sentinels)
    }

    /// The rounds that count, of those that had such sentinels.
    pub(crate) fn keep_of(&self, sentinels: &[Sentinels]) -> Kept {
        if self.effort.is_strict {
            return keep(sentinels, &self.history);
        }
        let trips: Vec<f64> = sentinels.iter().map(|sentinels| sentinels.round_trip).collect();
        Kept { rounds: (0..sentinels.len()).collect(), round_trip: median(&trips), ..Kept::default() }
    }

    fn series<'a>(&self, taking_part: &[usize], rounds: &'a [(Sentinels, Vec<Slice>)], kept: &Kept) -> Vec<Series<'a>> {
        let of = |(place, variant): (usize, &usize)| Series {
            name: self.variants[*variant].name(),
            slices: kept.rounds.iter().map(|round| &rounds[*round].1[place]).collect(),
        };
        taking_part.iter().enumerate().map(of).collect()
    }

    fn evaluate(&self, cell: Cell, taking_part: &[usize], rounds: &[(Sentinels, Vec<Slice>)]) -> Outcome {
        let kept = self.keep(rounds);
        let series = self.series(taking_part, rounds, &kept);
        let times = |series: &Series<'_>| -> Vec<f64> { series.slices.iter().map(|slice| slice.ns).collect() };
        let ours = series.iter().find(|series| series.name == OURS).map(times);
        let line = |series: &Series<'_>| {
            let all = times(series);
            let ours = ours.as_ref().filter(|_| series.name != OURS && !all.is_empty());
            let middle = |field: fn(&Slice) -> f64| median(&series.slices.iter().map(|s| field(s)).collect::<Vec<_>>());
            Line {
                name: series.name,
                ns: median(&all),
                ratio: ours.map(|ours| Ratio::of(&all, ours, 21)),
                latencies: histogram(self.stage.ticks, series.slices.iter().flat_map(|slice| &slice.latencies)),
                submitter: middle(|slice| slice.submitter),
                process: middle(Slice::process),
                operations: series.slices.iter().map(|slice| slice.operations).sum(),
            }
        };
        let findings = goals::findings(cell, &series, &kept_trips(rounds, &kept), self.stage.ticks);
        let lines = series.iter().map(line).collect();
        Outcome { cell, pairs: pairs_of(cell), rounds: rounds.len(), kept, lines, findings }
    }
}

fn kept_trips(rounds: &[(Sentinels, Vec<Slice>)], kept: &Kept) -> Vec<f64> {
    kept.rounds.iter().map(|round| rounds[*round].0.round_trip).collect()
}

/// Changes the number of operations so that a slice is as long as it should be. At least as many as are in flight.
fn fit(plan: &Plan, ns: f64, unit: usize) -> Plan {
    let took = ns * plan.operations as f64;
    if SLICE_RANGE.contains(&took) {
        return *plan;
    }
    let least = plan.depth.next_multiple_of(unit);
    let operations = ((SLICE / ns) as usize).clamp(least, MOST).next_multiple_of(unit);
    Plan { operations, warm: (operations / 4).max(least).next_multiple_of(unit), ..*plan }
}

/// A histogram, in nanoseconds, of ticks.
pub(crate) fn histogram<'a>(ticks: Ticks, all: impl Iterator<Item = &'a u32>) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("these are bounds");
    all.for_each(|one| histogram.saturating_record((ticks.nanos(u64::from(*one)) as u64).max(1)));
    histogram
}
