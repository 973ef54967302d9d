//! What a large copy leaves of the submitter's cache: a working set is read again after somebody has copied 16 MiB.
//!
//! The set is 512 KiB, read line by line in random order, each line naming the next. Copies go from one slot to another of
//! memory that is larger than any cache, so that each copy is cold.

use std::time::{Duration, Instant};

use dsa::Accelerator;
use dsa_benches::random::Random;
use dsa_benches::rounds::{Kept, Sentinels};
use dsa_benches::statistics::{Ratio, median};
use dsa_benches::verdict::{Bound, Verdict};
use idxd_sys::instr::rdtsc;

use super::compare::Bench;
use super::goals::{Finding, are_decided};
use super::machine::Cores;

/// Lines of the working set: 512 KiB.
const LINES: usize = 8 << 10;
const COPY: usize = 16 << 20;
const SLOTS: usize = 8;
const PAGE: usize = 4 << 10;
/// Reads of the set before the copy: it is in the cache.
const WARM: usize = 4;

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(u32);

/// Who copies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Nobody,
    /// Nobody, but the thread sleeps for as long as a copy takes: what others do to the cache meanwhile.
    Asleep,
    Inline,
    /// A plain thread on the device's core, while this one spins: what the machine allows. Where the two cores share a cache,
    /// which a virtual machine does not tell, it is no better than a copy by the core itself.
    Thread,
    Runtime,
}

const ALL: [(By, &str); 5] = [
    (By::Nobody, "nobody"),
    (By::Asleep, "nobody, in a sleep of 1 ms"),
    (By::Inline, "inline memcpy"),
    (By::Thread, "memcpy by a plain thread, this one spins"),
    (By::Runtime, "dsa copy().await"),
];

/// One way's result.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Nanoseconds of a line when the set is read again.
    pub(crate) line: f64,
    /// Microseconds of the copy.
    pub(crate) copy: f64,
    /// Against nobody's.
    pub(crate) ratio: Option<Ratio>,
}

/// For each way: nanoseconds of a line, microseconds of the copy.
type Round = Vec<(f64, f64)>;

pub(crate) struct Outcome {
    pub(crate) kept: Kept,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) findings: Vec<Finding>,
}

/// Measures it all; without an accelerator only what needs one core.
pub(crate) fn measure(bench: &mut Bench, accelerator: Option<&Accelerator>) -> Outcome {
    let mut random = Random::new(41);
    let set = chain(&mut random);
    let mut slots: Vec<Vec<u8>> = (0..2 * SLOTS)
        .map(|_| {
            let mut slot = vec![0; COPY];
            random.fill(&mut slot);
            slot
        })
        .collect();
    let ways: Vec<_> =
        ALL.into_iter().filter(|(by, _)| !matches!(by, By::Thread | By::Runtime) || accelerator.is_some()).collect();
    let ticks = bench.stage.ticks;
    let (begun, mut sentinels, mut seen) = (Instant::now(), Vec::<Sentinels>::new(), Vec::<Round>::new());
    let is_decided = |bench: &Bench, sentinels: &[Sentinels], seen: &[Round]| {
        sentinels.len().is_multiple_of(10) && are_decided(&judge(&ways, seen, &bench.keep_of(sentinels)))
    };
    while !bench.effort.is_done(sentinels.len(), begun, || is_decided(bench, &sentinels, &seen)) {
        let now = bench.sentinel.measure();
        bench.history.push(now);
        let mut round = vec![(0.0, 0.0); ways.len()];
        for turn in 0..ways.len() {
            let place = (turn + sentinels.len()) % ways.len();
            // The next pair of slots, which have been out of the cache since the last turn of the wheel.
            let (mut target, source) = (slots.remove(0), slots.remove(0));
            // Every page of both is touched, and one byte of each is wrong.
            for at in (0..COPY).step_by(PAGE) {
                target[at] = !source[at];
            }
            let mut last = 0;
            (0..WARM).for_each(|_| last = follow(&set, last));
            let before = rdtsc();
            let (source, target) = match ways[place].0 {
                By::Nobody => (source, target),
                By::Asleep => {
                    std::thread::sleep(Duration::from_millis(1));
                    (source, target)
                }
                By::Inline => {
                    target.copy_from_slice(&source);
                    (source, target)
                }
                By::Thread => by_thread(&bench.stage.cores, source, target),
                By::Runtime => bench.stage.runtime.block_on(offload(accelerator, source, target)),
            };
            let copied = rdtsc();
            std::hint::black_box(follow(&set, last));
            let read = rdtsc();
            assert!(matches!(ways[place].0, By::Nobody | By::Asleep) || source == target, "the bytes differ");
            round[place] = (ticks.nanos(read - copied) / LINES as f64, ticks.nanos(copied - before) / 1e3);
            slots.extend([source, target]);
        }
        sentinels.push(now);
        seen.push(round);
    }
    let kept = bench.keep_of(&sentinels);
    let rows: Vec<Row> = (0..ways.len())
        .map(|place| {
            let lines = column(&seen, &kept, place, |cell| cell.0);
            let ratio = (place > 0).then(|| Ratio::of(&lines, &column(&seen, &kept, 0, |cell| cell.0), 51));
            let copy = median(&column(&seen, &kept, place, |cell| cell.1));
            Row { name: ways[place].1, line: median(&lines), copy, ratio }
        })
        .collect();
    Outcome { rounds: sentinels.len(), rows, findings: judge(&ways, &seen, &kept), kept }
}

/// One number of each round that is left.
fn column(seen: &[Round], kept: &Kept, place: usize, field: fn(&(f64, f64)) -> f64) -> Vec<f64> {
    kept.rounds.iter().map(|round| field(&seen[*round][place])).collect()
}

fn judge(ways: &[(By, &str)], seen: &[Round], kept: &Kept) -> Vec<Finding> {
    let lines = |by: By| {
        let place = ways.iter().position(|way| way.0 == by)?;
        Some(column(seen, kept, place, |cell| cell.0))
    };
    let (Some(undisturbed), Some(plain), Some(ours)) = (lines(By::Nobody), lines(By::Thread), lines(By::Runtime))
    else {
        return Vec::new();
    };
    let against = |what: &str, other: &[f64]| {
        let ratio = Ratio::of(&ours, other, 51);
        Finding::new("B1", what.to_owned(), "16MiB".to_owned(), Bound::AtMost(1.15), ratio)
    };
    vec![
        against("512 KiB set re-read after an offloaded copy of 16 MiB, against undisturbed", &undisturbed),
        against("the same, against a copy by a plain thread: what the machine allows", &plain),
    ]
}

fn by_thread(cores: &Cores, source: Vec<u8>, mut target: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let thread = cores.on_device(|| {
        std::thread::spawn(move || {
            target.copy_from_slice(&source);
            (source, target)
        })
    });
    while !thread.is_finished() {
        std::hint::spin_loop();
    }
    thread.join().expect("a copy does not panic")
}

async fn offload(accelerator: Option<&Accelerator>, source: Vec<u8>, target: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let accelerator = accelerator.expect("this way is only there with one").clone();
    // A task of its own, as in a service.
    let task = tokio::spawn(async move { accelerator.copy(source, target).device_only().await });
    task.await.expect("a copy does not panic").expect("the model takes it")
}

/// The set: every line names the next one, and all are in one circle.
fn chain(random: &mut Random) -> Box<[Line]> {
    let mut order: Vec<u32> = (0..LINES as u32).collect();
    random.shuffle(&mut order);
    let mut set = vec![Line(0); LINES].into_boxed_slice();
    (0..LINES).for_each(|i| set[order[i] as usize] = Line(order[(i + 1) % LINES]));
    set
}

/// Once around the circle.
fn follow(set: &[Line], from: u32) -> u32 {
    (0..LINES).fold(from, |at, _| set[at as usize].0)
}

impl Outcome {
    pub(crate) fn is_valid(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Invalid)
    }
}
