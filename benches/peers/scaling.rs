//! How the runtime carries many operations: from one to 65,536 in flight, over one to eight queues of one engine.
//!
//! For each number: the time of an operation, and the bytes of memory that an operation in flight has. The latter are of three
//! kinds: the runtime's own, which it has for every operation that could be in flight, the model's queues, and the task.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use dsa::{Accelerator, Error};
use dsa_benches::rounds::FEWEST;
use dsa_benches::statistics::{median, quantile};
use dsa_emulator::{Config, Device, WqConfig};

use super::alloc;
use super::arena::{self, Pair};
use super::compare::Bench;
use super::ledger::{self, Plan};
use super::machine::spin_for;
use super::ours::policy;
use super::variant::{Copier, Stage, Tasks, Variant};

const SIZE: usize = 64;
const MOST: usize = 1 << 16;
/// Entries of all queues together: what the width of the number allows.
const ENTRIES: u16 = u16::MAX;
/// Rounds, of which those are dropped in which the machine was not as it mostly is, unless too few are left.
const ROUNDS: usize = 15;
/// Bytes of the future of a copy between two vectors.
pub(crate) const FUTURE: usize = size_of::<dsa::Copy<Vec<u8>, Vec<u8>>>();

/// One point of the table.
pub(crate) struct Point {
    pub(crate) queues: usize,
    pub(crate) depth: usize,
    /// Nanoseconds of an operation: quartiles of the slices.
    pub(crate) ns: [f64; 3],
    /// Rounds that are left.
    pub(crate) rounds: usize,
    /// Bytes of the task with its future, for an operation in flight.
    pub(crate) task: f64,
}

/// What does not depend on the number in flight.
pub(crate) struct Outcome {
    /// Bytes of the runtime, for each operation that could be in flight.
    pub(crate) slot: f64,
    /// Bytes of the device model, for each entry of its queues.
    pub(crate) entry: f64,
    pub(crate) points: Vec<Point>,
}

/// As `Copies`, for queues that can be full: it asks again.
#[derive(Clone)]
struct Patient(Accelerator);

impl Copier for Patient {
    async fn copy(&self, mut pair: Pair) -> Pair {
        loop {
            match self.0.copy(pair.source, pair.target).device_only().await {
                Ok((source, target)) => return Pair { source, target },
                Err(failed) => {
                    let (error, buffers) = failed.into_parts();
                    assert!(matches!(error, Error::DeviceOnly(_)), "a copy ended with {error}");
                    let (source, target) = buffers.expect("a refused operation gives its buffers back");
                    pair = Pair { source, target };
                    give_way().await;
                }
            }
        }
    }
}

/// Lets the others go first, without the way through the I/O driver that tokio's own yielding takes.
async fn give_way() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The runtime on a device with that many queues.
fn accelerator(stage: &Stage, queues: usize) -> (Accelerator, f64, f64) {
    let mut config = Config::sapphire_rapids();
    config.total_entries = ENTRIES;
    for _ in 0..queues {
        config = config.queue(WqConfig::shared(ENTRIES / queues as u16));
    }
    let (device, model) = alloc::of(|| stage.cores.on_device(|| Device::new(config).expect("it is valid")));
    let builder = Accelerator::builder().policy(policy(MOST)).emulator(&device);
    let (accelerator, own) = alloc::of(|| stage.cores.anywhere(|| builder.build().expect("the model can be opened")));
    (accelerator, own.left as f64 / MOST as f64, model.left as f64 / f64::from(ENTRIES))
}

/// Measures it all. In each round all numbers of queues have a slice, in turn.
pub(crate) fn measure(bench: &mut Bench, is_quick: bool) -> Outcome {
    let depths: Vec<usize> =
        if is_quick { vec![1, 64, 4096] } else { (0..=16).step_by(2).map(|power| 1 << power).collect() };
    let queues: &[usize] = if is_quick { &[1, 8] } else { &[1, 2, 4, 8] };
    let rounds = if is_quick { 3 } else { ROUNDS };
    let all: Vec<_> = queues.iter().map(|queues| (*queues, accelerator(&bench.stage, *queues))).collect();
    let (_, slot, entry) = all[0].1;
    let mut tasks: Vec<(usize, Box<dyn Variant>)> = all
        .into_iter()
        .map(|(queues, (accelerator, ..))| (queues, Tasks::boxed("scaling", Patient(accelerator))))
        .collect();
    let points = depths.iter().flat_map(|depth| at_depth(bench, &mut tasks, *depth, rounds)).collect();
    Outcome { slot, entry, points }
}

/// One point for each number of queues.
fn at_depth(bench: &mut Bench, tasks: &mut [(usize, Box<dyn Variant>)], depth: usize, rounds: usize) -> Vec<Point> {
    let pairs = depth.max(64);
    let lent = bench.arena.lend(SIZE, pairs);
    ledger::with(|ledger| *ledger.pairs() = lent);
    let operations = (2 * depth).max(2_000);
    let plan = Plan { size: SIZE, pairs, depth, warm: depth, operations };
    let mut slices: Vec<Vec<(f64, f64)>> = vec![Vec::new(); tasks.len()];
    let mut sentinels = Vec::new();
    // The first round warms up.
    for round in 0..=rounds {
        let seen = bench.sentinel.measure();
        for turn in 0..tasks.len() {
            let place = (turn + round) % tasks.len();
            let slice = slice(bench, tasks[place].1.as_mut(), &plan);
            if round > 0 {
                slices[place].push(slice);
            }
        }
        if round > 0 {
            bench.history.push(seen);
            sentinels.push(seen);
        }
    }
    let back = ledger::with(|ledger| std::mem::take(ledger.pairs()));
    bench.arena.take_back(back);
    let mut kept = bench.keep_of(&sentinels).rounds;
    if kept.len() < FEWEST {
        kept = (0..rounds).collect();
    }
    let point = |(queues, slices): (usize, &Vec<(f64, f64)>)| {
        let column =
            |field: fn(&(f64, f64)) -> f64| -> Vec<f64> { kept.iter().map(|round| field(&slices[*round])).collect() };
        let times = column(|slice| slice.0);
        let ns = [0.25, 0.5, 0.75].map(|q| quantile(&times, q));
        Point { queues, depth, ns, rounds: kept.len(), task: median(&column(|slice| slice.1)) }
    };
    tasks.iter().map(|task| task.0).zip(&slices).map(point).collect()
}

/// Nanoseconds of an operation, and bytes of its task.
fn slice(bench: &Bench, tasks: &mut dyn Variant, plan: &Plan) -> (f64, f64) {
    let sample = ledger::with(|ledger| arena::spoil(ledger.pairs(), plan.warm, plan.operations));
    let (slice, bytes) = alloc::of(|| tasks.run(&bench.stage, plan));
    let are_copied = ledger::with(|ledger| arena::are_copied(ledger.pairs(), &sample));
    assert!(are_copied, "copies are missing");
    spin_for(bench.stage.ticks, Duration::from_micros(60));
    // The ledger's list of latencies is not an operation's.
    let list = (plan.operations + plan.depth) * size_of::<u32>();
    (slice.ns, (bytes.most as f64 - list as f64) / plan.depth as f64)
}
