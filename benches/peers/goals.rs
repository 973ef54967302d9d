//! The goals: what is compared, where, and which ratio is wanted. Ratios only, because times belong to a machine.

use dsa_benches::cell::Cell;
use dsa_benches::statistics::{Ratio, median};
use dsa_benches::verdict::{Bound, Verdict};

use super::compare::Series;
use super::ledger::Slice;
use super::machine::Ticks;
use super::variant::{BATCH, DPDK_1, DPDK_32, INLINE, ONESHOTS, OURS, RING, SPAWN_BLOCKING, THREADS};

/// What is divided by what.
#[derive(Clone, Copy)]
enum Measure {
    /// Time of an operation of the best of some variants, by that of another.
    Time(&'static [&'static str], &'static str),
    /// Median latency, likewise.
    Latency(&'static [&'static str], &'static str),
    /// The latency that a part of a variant's operations stay below, by that which another part does.
    Tail(&'static str, f64, f64),
    /// The latency that a part of a variant's operations stay below, by the round trip between the cores in the same round.
    RoundTrips(&'static str, f64),
}

struct Goal {
    id: &'static str,
    what: &'static str,
    size: usize,
    depth: usize,
    measure: Measure,
    bound: Bound,
}

const fn goal(
    id: &'static str,
    what: &'static str,
    (size, depth): (usize, usize),
    measure: Measure,
    bound: Bound,
) -> Goal {
    Goal { id, what, size, depth, measure, bound }
}

const B64: usize = 64;
const K4: usize = 4 << 10;
const K64: usize = 64 << 10;
const QD1_TRIPS: &str = "p50 in round trips between the cores (provisional)";
const QD1_TAIL: &str = "p99 in round trips between the cores (provisional)";
const BELOW_THREADS: &str = "p50 of the best design with threads over ours";
const OVER_ONESHOT: &str = "time of the best oneshot design over ours";
const OVER_BLOCKING: &str = "time of spawn_blocking over ours";
const ABOVE_RING: &str = "our time over the raw ring's";
const BATCHES: &str = "time of our batches over DPDK's bursts of 32";
const SINGLES: &str = "time of DPDK's bursts of 1 over our single operations";
const HOT: &str = "our time over inline memcpy's";
const TAIL: &str = "our p99 over our p50";

/// The table.
const GOALS: &[Goal] = &[
    goal("R4", QD1_TRIPS, (B64, 1), Measure::RoundTrips(OURS, 0.5), Bound::AtMost(1.6)),
    goal("R4", QD1_TAIL, (B64, 1), Measure::RoundTrips(OURS, 0.99), Bound::AtMost(4.0)),
    goal("R5", BELOW_THREADS, (B64, 1), Measure::Latency(THREADS, OURS), Bound::AtLeast(20.0)),
    goal("R5", BELOW_THREADS, (K4, 1), Measure::Latency(THREADS, OURS), Bound::AtLeast(20.0)),
    goal("R6", OVER_ONESHOT, (B64, 64), Measure::Time(ONESHOTS, OURS), Bound::AtLeast(4.0)),
    goal("R6", OVER_BLOCKING, (B64, 64), Measure::Time(&[SPAWN_BLOCKING], OURS), Bound::AtLeast(10.0)),
    goal("R7", ABOVE_RING, (B64, 64), Measure::Time(&[OURS], RING), Bound::AtMost(3.0)),
    goal("R7", ABOVE_RING, (K4, 64), Measure::Time(&[OURS], RING), Bound::AtMost(2.0)),
    goal("R8", BATCHES, (B64, 64), Measure::Time(&[BATCH], DPDK_32), Bound::AtMost(1.25)),
    goal("R8", SINGLES, (K4, 64), Measure::Time(&[DPDK_1], OURS), Bound::AtLeast(1.0)),
    goal("R8", SINGLES, (K64, 64), Measure::Time(&[DPDK_1], OURS), Bound::AtLeast(1.0)),
    goal("R9", HOT, (K64, 1), Measure::Time(&[OURS], INLINE), Bound::AtMost(1.3)),
    goal("R9", HOT, (K64, 8), Measure::Time(&[OURS], INLINE), Bound::AtMost(1.15)),
    goal("R9", HOT, (K64, 64), Measure::Time(&[OURS], INLINE), Bound::AtMost(1.15)),
    goal("R10", TAIL, (K4, 64), Measure::Tail(OURS, 0.99, 0.5), Bound::AtMost(6.0)),
];

/// What became of a goal in a run.
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) place: String,
    pub(crate) bound: Bound,
    pub(crate) ratio: Ratio,
    pub(crate) verdict: Verdict,
}

impl Finding {
    pub(crate) fn new(id: &'static str, what: String, place: String, bound: Bound, ratio: Ratio) -> Self {
        Self { id, what, place, bound, ratio, verdict: bound.judge(&ratio) }
    }
}

/// Whether more rounds would change nothing.
pub(crate) fn are_decided(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| matches!(finding.verdict, Verdict::Pass | Verdict::Miss))
}

/// Judges the goals of a cell. Goals about variants that are absent are left out.
pub(crate) fn findings(cell: Cell, all: &[Series<'_>], round_trips: &[f64], ticks: Ticks) -> Vec<Finding> {
    let here = GOALS.iter().filter(|goal| (goal.size, goal.depth) == (cell.size, cell.depth));
    let judge = |goal: &Goal| {
        let (over, under, against) = sides(goal.measure, all, round_trips, ticks)?;
        let what = against.map_or_else(|| goal.what.to_owned(), |name| format!("{} ({name})", goal.what));
        Some(Finding::new(goal.id, what, cell.to_string(), goal.bound, Ratio::of(&over, &under, 31)))
    };
    here.filter_map(judge).collect()
}

/// The goals that a cell has but that could not be judged, for want of a variant.
pub(crate) fn absent(cell: Cell, all: &[&str]) -> Vec<String> {
    let lacks = |goal: &&Goal| {
        let names: Vec<&str> = match goal.measure {
            Measure::Time(best_of, under) | Measure::Latency(best_of, under) => {
                best_of.iter().copied().chain([under]).collect()
            }
            Measure::Tail(name, ..) | Measure::RoundTrips(name, _) => vec![name],
        };
        (goal.size, goal.depth) == (cell.size, cell.depth) && names.iter().any(|name| !all.contains(name))
    };
    GOALS.iter().filter(lacks).map(|goal| format!("{} {}", goal.id, goal.what)).collect()
}

type Sides = (Vec<f64>, Vec<f64>, Option<&'static str>);

/// Numerator and denominator of each round, and which of several variants was the best, if there was a choice.
fn sides(measure: Measure, all: &[Series<'_>], round_trips: &[f64], ticks: Ticks) -> Option<Sides> {
    let values = |name: &str, field: &dyn Fn(&Slice) -> f64| -> Option<Vec<f64>> {
        let series = all.iter().find(|series| series.name == name)?;
        Some(series.slices.iter().map(|slice| field(slice)).collect())
    };
    let best = |names: &[&'static str], field: &dyn Fn(&Slice) -> f64| {
        // All of them must be there: the best of those that are left would be too easy.
        let of_all: Option<Vec<_>> = names.iter().map(|name| Some((*name, values(name, field)?))).collect();
        of_all?.into_iter().min_by(|a, b| median(&a.1).total_cmp(&median(&b.1)))
    };
    let compare = |names: &'static [&'static str], under, field: &dyn Fn(&Slice) -> f64| {
        let (name, over) = best(names, field)?;
        Some((over, values(under, field)?, (names.len() > 1).then_some(name)))
    };
    match measure {
        Measure::Time(names, under) => compare(names, under, &|slice| slice.ns),
        Measure::Latency(names, under) => compare(names, under, &|slice| slice.latency(0.5)),
        Measure::Tail(name, high, low) => {
            let at = |part: f64| values(name, &|slice| slice.latency(part));
            Some((at(high)?, at(low)?, None))
        }
        Measure::RoundTrips(name, part) => {
            let over = values(name, &|slice| ticks.nanos(slice.latency(part) as u64))?;
            Some((over, round_trips.to_vec(), None))
        }
    }
}
