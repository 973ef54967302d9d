//! Whether timers of the same thread come in time while operations are in flight: a ticker of 1 ms, with 64 copies and without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dsa::Accelerator;
use dsa_benches::rounds::{Kept, Sentinels};
use dsa_benches::statistics::{Ratio, quantile};
use dsa_benches::verdict::{Bound, Verdict};
use tokio::time::MissedTickBehavior;

use super::arena::{Pair, Source, Target};
use super::compare::Bench;
use super::goals::{Finding, are_decided};

/// Operations in flight, and their bytes.
const FLYING: usize = 64;
const SIZE: usize = 4 << 10;
const PERIOD: Duration = Duration::from_millis(1);
/// Ticks of a slice.
const TICKS: usize = 16;

/// How late ticks were, in microseconds: idle, and beside operations.
type Round = [Vec<f64>; 2];

pub(crate) struct Outcome {
    pub(crate) kept: Kept,
    pub(crate) rounds: usize,
    /// Microseconds: median and 99th percentile, idle and beside operations.
    pub(crate) idle: [f64; 2],
    pub(crate) busy: [f64; 2],
    /// Operations a second beside the ticker.
    pub(crate) rate: f64,
    pub(crate) finding: Finding,
}

pub(crate) fn measure(bench: &mut Bench, accelerator: &Accelerator) -> Outcome {
    let mut pairs: Vec<Pair> = bench.arena.lend(SIZE, FLYING).into();
    let (begun, mut sentinels, mut seen) = (Instant::now(), Vec::<Sentinels>::new(), Vec::<Round>::new());
    let (mut operations, mut busy_time) = (0_u64, 0.0);
    let is_decided =
        |bench: &Bench, sentinels: &[Sentinels], seen: &[Round]| are_decided(&[judge(seen, &bench.keep_of(sentinels))]);
    while !bench.effort.is_done(sentinels.len(), begun, || is_decided(bench, &sentinels, &seen)) {
        let now = bench.sentinel.measure();
        bench.history.push(now);
        let mut round = [Vec::new(), Vec::new()];
        for turn in 0..2 {
            let place = (turn + sentinels.len()) % 2;
            round[place] = if place == 0 {
                bench.stage.runtime.block_on(async { tokio::spawn(tick()).await.expect("a ticker does not panic") })
            } else {
                let started = Instant::now();
                let (lateness, done);
                (lateness, done, pairs) = bench.stage.runtime.block_on(beside(accelerator, pairs));
                operations += done;
                busy_time += started.elapsed().as_secs_f64();
                lateness
            };
        }
        sentinels.push(now);
        seen.push(round);
    }
    bench.arena.take_back(pairs.into());
    let kept = bench.keep_of(&sentinels);
    let of = |place: usize| -> [f64; 2] {
        let all: Vec<f64> = kept.rounds.iter().flat_map(|round| seen[*round][place].iter().copied()).collect();
        [quantile(&all, 0.5), quantile(&all, 0.99)]
    };
    Outcome {
        rounds: sentinels.len(),
        idle: of(0),
        busy: of(1),
        rate: operations as f64 / busy_time,
        finding: judge(&seen, &kept),
        kept,
    }
}

fn judge(seen: &[Round], kept: &Kept) -> Finding {
    let medians =
        |place: usize| -> Vec<f64> { kept.rounds.iter().map(|round| quantile(&seen[*round][place], 0.5)).collect() };
    let ratio = Ratio::of(&medians(1), &medians(0), 61);
    let what = "lateness of a 1 ms ticker beside 64 operations in flight, against idle".to_owned();
    Finding::new("B3", what, "4KiB/QD64".to_owned(), Bound::AtMost(1.5), ratio)
}

/// Gives how late each tick was, in microseconds.
async fn tick() -> Vec<f64> {
    let mut interval = tokio::time::interval(PERIOD);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    interval.tick().await;
    let mut late = Vec::with_capacity(TICKS);
    for _ in 0..TICKS {
        let due = interval.tick().await;
        late.push(due.elapsed().as_nanos() as f64 / 1e3);
    }
    late
}

/// The same beside operations in flight. Gives their number, and the pairs back.
async fn beside(accelerator: &Accelerator, pairs: Vec<Pair>) -> (Vec<f64>, u64, Vec<Pair>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = pairs
        .into_iter()
        .map(|pair| tokio::spawn(copy_until(accelerator.clone(), pair, Arc::clone(&is_over))))
        .collect();
    let late = tokio::spawn(tick()).await.expect("a ticker does not panic");
    is_over.store(true, Ordering::Relaxed);
    let (mut operations, mut pairs) = (0, Vec::with_capacity(tasks.len()));
    for task in tasks {
        let (done, pair) = task.await.expect("a copy does not panic");
        operations += done;
        pairs.push(pair);
    }
    (late, operations, pairs)
}

async fn copy_until(accelerator: Accelerator, pair: Pair, is_over: Arc<AtomicBool>) -> (u64, Pair) {
    let (mut source, mut target): (Source, Target) = (pair.source, pair.target);
    let mut done = 0;
    while !is_over.load(Ordering::Relaxed) {
        (source, target) = accelerator.copy(source, target).device_only().await.expect("the model takes it");
        done += 1;
    }
    (done, Pair { source, target })
}

impl Outcome {
    pub(crate) fn is_valid(&self) -> bool {
        self.finding.verdict != Verdict::Invalid
    }
}
