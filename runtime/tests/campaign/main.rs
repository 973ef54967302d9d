//! Mixed operations at full load with faults, refusals, delays and cancellation: every result is verified, and at the
//! end no slot and no buffer is missing.
//!
//! `DSA_CAMPAIGN_OPS` says how many operations, `DSA_TEST_SEED` where chance begins. The long run:
//!
//! ```text
//! DSA_CAMPAIGN_OPS=1_000_000 cargo test --release -p dsa-runtime --test campaign -- --nocapture
//! ```
//!
//! * [`work`]: what the workers do.
//! * [`soak`]: the same for a time, under one executor after the other.

mod soak;
#[path = "../support/mod.rs"]
mod support;
mod work;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dsa::stats::{Event, Path, Reason, Stats};
use dsa_emulator::WqConfig;
use support::{Rng, Watchdog, eventually, number, quiet, seed};
use work::Campaign;

/// Tasks that share one accelerator, and threads that make blocking calls on it.
const TASKS: u64 = 24;
const THREADS: u64 = 2;

fn run(queues: impl IntoIterator<Item = WqConfig>, operations: u64) -> Stats {
    let start = seed();
    let device = work::device(queues, start);
    let campaign = Campaign::new(&device, start);
    let begun = Instant::now();
    let share = operations.div_ceil(TASKS + THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let campaign = Arc::clone(&campaign);
            runtime.spawn(async move { campaign.task(Rng::new(start ^ task << 32), share).await })
        })
        .collect();
    std::thread::scope(|threads| {
        for thread in TASKS..TASKS + THREADS {
            let campaign = &campaign;
            threads.spawn(move || campaign.blocking(Rng::new(start ^ thread << 32), share));
        }
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    let elapsed = begun.elapsed();
    let Campaign { acc, ledger, finished, cancelled, .. } = &*campaign;
    quiet(acc);
    eventually("every buffer is dropped", || ledger.alive() == 0);
    assert_eq!(ledger.dropped(), ledger.made(), "a buffer was dropped twice");
    let (finished, cancelled) = (finished.load(Ordering::Relaxed), cancelled.load(Ordering::Relaxed));
    let stats = acc.stats();
    println!(
        "{finished} operations verified and {cancelled} cancelled in {elapsed:?}: {} per second\n{stats}\n{:#?}",
        u128::from(finished + cancelled) * 1000 / elapsed.as_millis().max(1),
        device.counters(),
    );
    assert_eq!(finished + cancelled, share * (TASKS + THREADS));
    assert_eq!((acc.leaked(), acc.recoveries()), (0, 0), "{stats}");
    let by_device = stats.total_operations(Path::Device);
    assert!(by_device > finished / 2, "only {by_device} of {finished} by the device\n{stats}");
    // What was to happen has happened.
    for event in [Event::PageFaults, Event::Resumes, Event::Cancelled, Event::OrphansReaped] {
        assert!(stats.event(event) > 0, "no {event}\n{stats}");
    }
    // Rarer than the others: a short run may be without.
    if finished + cancelled >= 10_000 {
        assert!(stats.reason(Reason::DeviceError) > 0, "no error of the device\n{stats}");
    }
    stats
}

#[test]
fn a_campaign_on_shared_queues() {
    let _watchdog = Watchdog::start_for("campaign", Duration::from_secs(1800));
    let queues = [WqConfig::shared(64).threshold(48), WqConfig::shared(16).max_transfer_size(8192)];
    let stats = run(queues, number("DSA_CAMPAIGN_OPS", 20_000) / 2);
    // Dedicated queues know no refusal.
    assert!(stats.event(Event::Retries) > 0, "no refusal\n{stats}");
}

#[test]
fn a_campaign_on_a_dedicated_queue() {
    let _watchdog = Watchdog::start_for("campaign", Duration::from_secs(1800));
    run([WqConfig::dedicated(64)], number("DSA_CAMPAIGN_OPS", 20_000) / 2);
}
