//! Millions of operations on the device model, the CPU engine and the oracle, without a fuzzer.
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml --example differential -- --operations 10_000_000 --seed 1
//! cargo run --release --manifest-path fuzz/Cargo.toml --example differential -- --seed 1 --index 4711
//! ```
//!
//! The second form runs one case again, as the first one says where it finds a difference.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use dsa_fuzz::differential::{Case, Runner, Totals};
use idxd_sys::{opcode, status};

/// Cases that a thread takes at a time.
const SHARE: u64 = 1000;
/// One case in so many has a large arena.
const LARGE: u64 = 256;

struct Arguments {
    operations: u64,
    seed: u64,
    index: Option<u64>,
    threads: u64,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { operations: 1_000_000, seed: 1, index: None, threads: 2 };
    let mut all = std::env::args().skip(1);
    while let Some(name) = all.next() {
        let value = all.next().ok_or_else(|| format!("{name} needs a number"))?;
        let number = value.replace('_', "").parse().map_err(|error| format!("{name} {value}: {error}"))?;
        match name.as_str() {
            "--operations" => parsed.operations = number,
            "--seed" => parsed.seed = number,
            "--index" => parsed.index = Some(number),
            "--threads" => parsed.threads = number.max(1),
            _ => return Err(format!("{name} is none of --operations, --seed, --index, --threads")),
        }
    }
    Ok(parsed)
}

/// Runners with a small and with a large arena.
struct Runners {
    small: Runner,
    large: Runner,
}

impl Runners {
    fn new() -> Self {
        Self { small: Runner::new(4, 2), large: Runner::new(48, 16) }
    }

    /// Runs the case of a number.
    fn run(&mut self, seed: u64, index: u64) -> Result<(), String> {
        let case = Case::of(seed, index);
        let runner = if index.is_multiple_of(LARGE) { &mut self.large } else { &mut self.small };
        let answer = catch_unwind(AssertUnwindSafe(|| runner.run(&case)));
        answer.unwrap_or_else(|_| Err(format!("a panic in {case:#x?}")))
    }

    fn totals(&self) -> Totals {
        let mut totals = self.small.totals.clone();
        totals.add(&self.large.totals);
        totals
    }
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if let Some(index) = arguments.index {
        return match Runners::new().run(arguments.seed, index) {
            Ok(()) => {
                println!("no difference");
                ExitCode::SUCCESS
            }
            Err(difference) => report(&arguments, index, &difference),
        };
    }
    let begun = Instant::now();
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut runners = Runners::new();
        let mut before = 0;
        while !stop.load(Ordering::Relaxed) && done.load(Ordering::Relaxed) < arguments.operations {
            let first = next.fetch_add(SHARE, Ordering::Relaxed);
            for index in first..first + SHARE {
                if let Err(difference) = runners.run(arguments.seed, index) {
                    stop.store(true, Ordering::Relaxed);
                    return Err((index, difference));
                }
            }
            let count = runners.totals().count();
            let all = done.fetch_add(count - before, Ordering::Relaxed) + count - before;
            before = count;
            if first % (500 * SHARE) == 0 {
                let rate = all as f64 / begun.elapsed().as_secs_f64();
                println!("{all} operations, {rate:.0} a second");
            }
        }
        Ok(runners.totals())
    };
    let mut totals = Totals::default();
    let mut first_difference: Option<(u64, String)> = None;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join().expect("panics are caught") {
                Ok(of_thread) => totals.add(&of_thread),
                Err(found) => {
                    if first_difference.as_ref().is_none_or(|(index, _)| found.0 < *index) {
                        first_difference = Some(found);
                    }
                }
            }
        }
    });
    if let Some((index, difference)) = first_difference {
        return report(&arguments, index, &difference);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} operations without a difference, seed {}", totals.count(), arguments.seed);
    println!(
        "{seconds:.1} s, {:.0} operations a second, {} threads",
        totals.count() as f64 / seconds,
        arguments.threads
    );
    println!("{} batches, {} operations resumed after faults on a device", totals.batches, totals.resumed);
    println!("{} calls refused by the builders, {} without a defined outcome", totals.refused, totals.undefined);
    table("operation", &totals.operations, opcode::name);
    table("status", &totals.statuses, status::meaning);
    ExitCode::SUCCESS
}

fn table(title: &str, counts: &BTreeMap<u8, u64>, name: fn(u8) -> Option<&'static str>) {
    println!("{title}:");
    for (code, count) in counts {
        println!("  {code:#04x} {count:>10}  {}", name(*code).unwrap_or("?"));
    }
}

fn report(arguments: &Arguments, index: u64, difference: &str) -> ExitCode {
    eprintln!("{difference}");
    eprintln!("a difference: --seed {} --index {index}", arguments.seed);
    ExitCode::FAILURE
}
