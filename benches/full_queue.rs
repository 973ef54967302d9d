//! What a full queue costs those whom it refuses: copies that end on the CPU because nothing else has room for them, beside
//! copies that were the CPU's from the start.
//!
//! ```console
//! $ cargo bench -p dsa-benches --bench full_queue
//! ```
//!
//! The software device executes nothing, and its queue is full. Both kinds of copies run in turns in one process; what counts is the
//! median of the ratios of neighbours.

#![allow(clippy::cast_precision_loss)] // counts, far below 2^52

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, WqConfig};

/// Places of the queue.
const PLACES: u16 = 2;
const ROUNDS: usize = 41;
const SIZES: [usize; 5] = [512, 4 << 10, 16 << 10, 64 << 10, 256 << 10];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be started");
    println!("| queue | decided by | bytes | by the CPU, ns | refused, ns | ratio, median of {ROUNDS} |");
    println!("|---|---|--:|--:|--:|--:|");
    for (name, queue) in [("shared", WqConfig::shared(PLACES)), ("dedicated", WqConfig::dedicated(PLACES))] {
        for (decided, least) in [("estimates", None), ("a fixed size", Some(0))] {
            for size in SIZES {
                let (cpu, refused, ratio) = runtime.block_on(measure(queue.clone(), least, size));
                println!("| {name} | {decided} | {size} | {cpu:.0} | {refused:.0} | {ratio:.2} |");
            }
        }
    }
}

/// Nanoseconds of a copy by the CPU, of one that finds the queue full, and their ratio: medians.
async fn measure(queue: WqConfig, least: Option<usize>, size: usize) -> (f64, f64, f64) {
    let device = Device::new(Config::sapphire_rapids().queue(queue).manual()).expect("a preset is valid");
    let mut policy = Policy::default();
    policy.min_device_size = least;
    // Nobody is to find the device dead.
    (policy.dead_after, policy.lost_after) = (Duration::from_secs(600), Duration::from_secs(600));
    let accelerator = Accelerator::builder().policy(policy).emulator(&device).build().expect("a fresh device");
    let mut full: Vec<_> =
        (0..PLACES).map(|_| accelerator.copy(vec![1; 1 << 20], vec![0; 1 << 20]).device_only()).collect();
    for copy in &mut full {
        assert!(pin!(copy).poll(&mut Context::from_waker(Waker::noop())).is_pending(), "nothing is executed");
    }
    let count = (4_000_000 / (size + 4_000)).max(20);
    let mut buffers = (vec![1u8; size], vec![0u8; size]);
    let (mut cpu, mut refused, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        let mut times = [0.0; 2];
        for (is_free, time) in times.iter_mut().enumerate() {
            let begun = Instant::now();
            for _ in 0..count {
                let copy = accelerator.copy(buffers.0, buffers.1);
                let copy = if is_free == 0 { copy.cpu_only() } else { copy };
                buffers = copy.await.expect("the CPU does it");
            }
            *time = begun.elapsed().as_nanos() as f64 / count as f64;
        }
        cpu.push(times[0]);
        refused.push(times[1]);
        ratios.push(times[1] / times[0]);
    }
    device.run_until_idle();
    for copy in full {
        copy.await.expect("the device does it");
    }
    (median(cpu), median(refused), median(ratios))
}

/// The first round warms up.
fn median(mut values: Vec<f64>) -> f64 {
    values.remove(0);
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
