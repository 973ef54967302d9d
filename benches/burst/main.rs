//! One engine thread of the software model against DPDK's software DMA device, whose worker is a thread that copies.
//!
//! ```console
//! $ apt-get install libdpdk-dev            # once
//! $ cargo bench -p dsa-benches --bench burst
//! ```
//!
//! Both sides copy between the same 64 rotating pairs of buffers, in pages that they share, in bursts of 32, two bursts in flight
//! at most. The peer is a program of its own (`skeleton.c`, compiled here) that answers one question at a time and is stopped
//! otherwise, so slices of the two alternate within milliseconds. What counts is the ratio of neighbours, and of these the median: times by
//! themselves depend on where the machine happens to run the two threads.
//!
//! Without DPDK the program says so and measures the model alone.

#![allow(clippy::cast_precision_loss)] // times and counts are far below 2^52

mod model;
mod peer;

use model::{Model, Pages, Way};
use peer::Peer;

/// Descriptors in a burst.
const BURST: usize = 32;
/// Bytes of a copy, with the operations of a slice: some milliseconds.
const SIZES: [(usize, usize); 4] = [(64, 40_000), (256, 40_000), (4 << 10, 16_000), (64 << 10, 1_600)];
/// Pairs of slices.
const ROUNDS: usize = 41;

fn main() {
    let pages = Pages::new().expect("a file for the buffers");
    let mut model = Model::new(&pages);
    let mut peer = match Peer::start(pages.path()) {
        Ok(peer) => Some(peer),
        Err(reason) => {
            println!("no peer: {reason}");
            None
        }
    };
    println!("software model, 1 engine thread; nanoseconds of a copy in bursts of {BURST}, medians of {ROUNDS} slices");
    println!(
        "{:>8}  {:<22} {:>9} {:>9}   {:>22}",
        "bytes", "submitted as", "model", "skeleton", "skeleton/model (quartiles)"
    );
    for (size, operations) in SIZES {
        for way in [Way::Single, Way::Batch] {
            let mut slices = Vec::new();
            for round in 0..=ROUNDS {
                let (ours, theirs);
                // Whoever goes first in one round goes second in the next.
                if round % 2 == 0 {
                    ours = model.slice(way, size, operations);
                    theirs = peer.as_mut().map(|peer| peer.slice(size, operations));
                } else {
                    theirs = peer.as_mut().map(|peer| peer.slice(size, operations));
                    ours = model.slice(way, size, operations);
                }
                // The first round warms up.
                if round > 0 {
                    slices.push((ours, theirs.unwrap_or(f64::NAN)));
                }
            }
            let ours = quantiles(slices.iter().map(|s| s.0).collect())[1];
            let theirs = quantiles(slices.iter().map(|s| s.1).collect())[1];
            let [low, middle, high] = quantiles(slices.iter().map(|s| s.1 / s.0).collect());
            println!("{size:>8}  {:<22} {ours:>9.1} {theirs:>9.1}   {middle:>6.2} ({low:.2} to {high:.2})", way.name());
        }
    }
    println!("above 1: the model's engine is faster than DPDK's worker");
}

/// Lower quartile, median, upper quartile.
fn quantiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|i| values[values.len() * i / 4])
}
