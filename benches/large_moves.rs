//! Large moves by the software model, on the calling thread and on an engine thread, against the CPU engine.
//!
//! ```console
//! $ cargo bench -p dsa-benches --bench large_moves
//! ```
//!
//! The model copies with what the CPU engine copies with, so what it may cost besides is a step per [`Config::chunk`] bytes and,
//! with an engine thread, a hand-over per descriptor, which needs a second processor that is idle. Each side has buffers of its own, and moves one after another; slices of
//! the two alternate within milliseconds, and what counts is the median of the ratios of neighbours.

#![allow(clippy::cast_precision_loss)] // times and counts are far below 2^52

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use dsa_emulator::{Client, Config, Device, Enqcmd, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

/// Bytes of a move, with the moves of a slice: some milliseconds.
const SIZES: [(usize, usize); 4] = [(64 << 10, 1_000), (256 << 10, 300), (1 << 20, 100), (16 << 20, 4)];
/// Pairs of slices.
const ROUNDS: usize = 41;

fn main() {
    let config = || Config::sapphire_rapids().queue(WqConfig::shared(16).max_transfer_size(1 << 31));
    let threaded = Device::new(config().spin(Duration::from_millis(50))).expect("a preset is valid");
    let manual = Device::new(config().manual()).expect("a preset is valid");
    println!("software model against the CPU engine; medians of {ROUNDS} slices, ratios of neighbours with quartiles");
    println!("{:>9}  {:<14} {:>11} {:>11}   {:>9}", "bytes", "the model runs", "model GB/s", "CPU GB/s", "model/CPU");
    for (name, device) in [("on this thread", &manual), ("on its own", &threaded)] {
        let client = device.open(0).expect("a fresh shared queue");
        let by_model = |from: *const u8, to: *mut u8, len: usize| {
            by_model(&client, || _ = device.run_until_idle(), from, to, len);
        };
        for (size, moves) in SIZES {
            let (mut ours, mut theirs) = (Buffers::new(size), Buffers::new(size));
            let mut slices = Vec::new();
            for round in 0..=ROUNDS {
                // Whoever goes first in one round goes second in the next.
                let (model, cpu) = if round % 2 == 0 {
                    let model = ours.slice(moves, by_model);
                    (model, theirs.slice(moves, by_cpu))
                } else {
                    let cpu = theirs.slice(moves, by_cpu);
                    (ours.slice(moves, by_model), cpu)
                };
                // The first round warms up.
                if round > 0 {
                    slices.push((model, cpu));
                }
            }
            let model = quartiles(slices.iter().map(|s| s.0))[1];
            let cpu = quartiles(slices.iter().map(|s| s.1))[1];
            let [low, middle, high] = quartiles(slices.iter().map(|s| s.0 / s.1));
            println!("{size:>9}  {name:<14} {model:>11.2} {cpu:>11.2}   {middle:>6.2} ({low:.2} to {high:.2})");
        }
    }
    println!("1: the model moves as fast as the CPU engine");
}

/// A source and a destination.
struct Buffers {
    source: Vec<u8>,
    target: Vec<u8>,
}

impl Buffers {
    fn new(size: usize) -> Self {
        Self { source: (0..size).map(|at| (at * 7 % 251) as u8).collect(), target: vec![1; size] }
    }

    /// Moves the whole buffer so many times; gives GB/s.
    fn slice(&mut self, moves: usize, copy: impl Fn(*const u8, *mut u8, usize)) -> f64 {
        self.target.fill(0);
        let begun = Instant::now();
        for _ in 0..moves {
            copy(self.source.as_ptr(), self.target.as_mut_ptr(), self.source.len());
        }
        let rate = (moves * self.source.len()) as f64 / begun.elapsed().as_nanos() as f64;
        assert!(self.target == self.source, "the bytes differ");
        rate
    }
}

fn by_cpu(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: `slice` passes the whole of two buffers that nobody else accesses.
    unsafe { dsa::cpu::copy(from, to, len) };
}

/// `run` lets the device work on this thread if it has none of its own.
fn by_model(client: &Client, run: impl Fn(), from: *const u8, to: *mut u8, len: usize) {
    let mut record = CompletionRecord::default();
    let mut d = Descriptor {
        src_addr: from.expose_provenance() as u64,
        dst_addr: to.expose_provenance() as u64,
        xfer_size: u32::try_from(len).expect("sizes of this program"),
        completion_addr: (&raw mut record).expose_provenance() as u64,
        ..Descriptor::default()
    };
    d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
    // SAFETY: `slice` passes the whole of two buffers that nobody else accesses, and this function does not return before the
    // record, which stays where it is, is complete.
    while unsafe { client.enqcmd(&d) } != Enqcmd::Accepted {
        std::hint::spin_loop();
    }
    run();
    // SAFETY: the byte is valid, and while the device may write it, it is only accessed atomically.
    let byte = unsafe { AtomicU8::from_ptr(&raw mut record.status) };
    while byte.load(Ordering::Acquire) == 0 {
        std::hint::spin_loop();
    }
    assert_eq!(byte.load(Ordering::Relaxed), status::SUCCESS);
}

/// Lower quartile, median, upper quartile.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|i| values[values.len() * i / 4])
}
