//! The open-loop point: operations that arrive at random, at half of what each variant can do, and how long they take.

use std::time::{Duration, Instant};

use dsa_benches::cell::Cell;
use dsa_benches::rounds::{Kept, Sentinels};
use dsa_benches::statistics::{median, quantile};
use hdrhistogram::Histogram;

use super::compare::{Bench, histogram};
use super::ledger::{self, Plan};
use super::machine::spin_for;
use super::open_loop::{SERVERS, arrivals};

/// The cell: its closed loop says what the whole load is.
const CELL: Cell = Cell { size: 4 << 10, depth: 64 };
const LOAD: f64 = 0.5;
/// Nanoseconds of arrivals in a slice.
const SLICE: f64 = 2_000_000.0;
const SETTLE: Duration = Duration::from_micros(60);

/// One variant's point.
pub(crate) struct Point {
    pub(crate) name: &'static str,
    /// Nanoseconds from one arrival to the next, on average.
    pub(crate) gap: f64,
    pub(crate) latencies: Histogram<u64>,
    /// The median of the slices' 99th percentiles, in nanoseconds: a slice in which somebody took a core away counts once.
    pub(crate) p99: f64,
}

/// All of them.
pub(crate) struct Outcome {
    pub(crate) kept: Kept,
    pub(crate) rounds: usize,
    pub(crate) points: Vec<Point>,
}

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    let lent = bench.arena.lend(CELL.size, SERVERS);
    ledger::with(|ledger| *ledger.pairs() = lent);
    let ticks = bench.stage.ticks;
    // Those that have an open loop: one without arrivals ends at once.
    let places: Vec<usize> =
        (0..bench.variants.len()).filter(|i| bench.variants[*i].open(&bench.stage, &[]).is_some()).collect();
    let gaps: Vec<f64> = places.iter().map(|i| whole_load(bench, *i) / LOAD).collect();
    let begun = Instant::now();
    let mut sentinels: Vec<Sentinels> = Vec::new();
    let mut slices: Vec<Vec<Vec<u32>>> = Vec::new();
    let are_enough =
        |bench: &Bench, sentinels: &[Sentinels]| bench.keep_of(sentinels).rounds.len() >= bench.effort.rounds;
    while !bench.effort.is_done(sentinels.len(), begun, || are_enough(bench, &sentinels)) {
        let seen = bench.sentinel.measure();
        bench.history.push(seen);
        let round = sentinels.len();
        let mut all = vec![Vec::new(); places.len()];
        for turn in 0..all.len() {
            let place = (turn + round) % all.len();
            let due = arrivals(ticks.of_nanos(gaps[place]), ticks.of_nanos(SLICE), (round * all.len() + place) as u64);
            let variant = &mut bench.variants[places[place]];
            variant.awake();
            let mut taken = variant.open(&bench.stage, &due).unwrap_or_default();
            variant.rest();
            // The first ones meet a peer that is not quite awake.
            taken.drain(..taken.len() / 10);
            all[place] = taken;
            spin_for(ticks, SETTLE);
        }
        sentinels.push(seen);
        slices.push(all);
    }
    let back = ledger::with(|ledger| std::mem::take(ledger.pairs()));
    bench.arena.take_back(back);
    let kept = bench.keep_of(&sentinels);
    let point = |(place, variant): (usize, &usize)| {
        let latencies = histogram(ticks, kept.rounds.iter().flat_map(|round| &slices[*round][place]));
        let of_slice = |round: &usize| {
            let taken: Vec<f64> = slices[*round][place].iter().map(|one| f64::from(*one)).collect();
            ticks.nanos(quantile(&taken, 0.99) as u64)
        };
        let p99 = median(&kept.rounds.iter().map(of_slice).collect::<Vec<_>>());
        Point { name: bench.variants[*variant].name(), gap: gaps[place], latencies, p99 }
    };
    let points = places.iter().enumerate().map(point).collect();
    Outcome { rounds: sentinels.len(), points, kept }
}

/// Nanoseconds of an operation, with as many in flight as the cell says.
fn whole_load(bench: &mut Bench, variant: usize) -> f64 {
    let variant = &mut bench.variants[variant];
    let plan = Plan { size: CELL.size, pairs: SERVERS, depth: CELL.depth, warm: 128, operations: 1_024 };
    let mut slice = || {
        variant.awake();
        let slice = variant.run(&bench.stage, &plan);
        variant.rest();
        spin_for(bench.stage.ticks, SETTLE);
        slice.ns
    };
    median(&[slice(), slice(), slice(), slice(), slice()])
}
