//! A soak: executors come and go while operations are in flight, and nothing is ever lost.
//!
//! `DSA_SOAK_SECONDS` says for how long, `DSA_TEST_SEED` where chance begins. The long run:
//!
//! ```text
//! DSA_SOAK_SECONDS=600 cargo test --release -p dsa-runtime --test campaign soak -- --nocapture
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dsa_emulator::WqConfig;
use tokio::runtime::{Builder, Runtime};

use crate::support::{Rng, Watchdog, eventually, number, quiet, seed};
use crate::work::{self, Campaign};

/// An accelerator lives for so many executors.
const EXECUTORS: usize = 12;

/// An executor of a random kind.
fn executor(rng: &mut Rng) -> Runtime {
    let mut builder = match rng.below(3) {
        0 => Builder::new_current_thread(),
        workers => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    builder.enable_time().build().unwrap()
}

/// How an executor ends.
async fn last(rng: &mut Rng, tasks: Vec<tokio::task::JoinHandle<()>>) {
    if rng.one_in(3) {
        for task in tasks {
            task.await.unwrap();
        }
        return;
    }
    // In the middle of it. Some tasks end before the others.
    tokio::time::sleep(Duration::from_micros(rng.below(20_000) as u64)).await;
    for task in tasks {
        if rng.one_in(4) {
            task.abort();
        }
        // A task that has failed an assertion must not be taken for one that was cancelled.
        if task.is_finished()
            && let Err(error) = task.await
        {
            assert!(error.is_cancelled(), "{error}");
        }
    }
}

/// One accelerator, and executors one after the other. Gives the numbers of operations that were finished and cancelled, not
/// counting those that ended with their executor.
fn life(rng: &mut Rng, until: Instant) -> (u64, u64) {
    let queues = match rng.below(3) {
        0 => vec![WqConfig::shared(64).threshold(48), WqConfig::shared(16).max_transfer_size(8192)],
        1 => vec![WqConfig::shared(8)],
        _ => vec![WqConfig::dedicated(32)],
    };
    let device = work::device(queues, rng.next());
    let campaign = Campaign::new(&device, rng.next());
    for _ in 0..EXECUTORS {
        if Instant::now() > until {
            break;
        }
        let runtime = executor(rng);
        let tasks = (0..=rng.below(40))
            .map(|_| {
                let (campaign, rng) = (Arc::clone(&campaign), Rng::new(rng.next()));
                runtime.spawn(async move { campaign.task(rng, 200).await })
            })
            .collect();
        // With threads of their own beside them, now and then.
        let threads = rng.one_in(3).then(|| {
            let (campaign, rng) = (Arc::clone(&campaign), Rng::new(rng.next()));
            std::thread::spawn(move || campaign.blocking(rng, 100))
        });
        runtime.block_on(last(rng, tasks));
        if rng.one_in(2) {
            drop(runtime);
        } else {
            runtime.shutdown_background();
        }
        if let Some(threads) = threads {
            threads.join().unwrap();
        }
    }
    // Workers of an executor that was shut down in the background may still be at it.
    eventually("every worker has gone", || Arc::strong_count(&campaign) == 1);
    let Campaign { acc, ledger, finished, cancelled, .. } = &*campaign;
    quiet(acc);
    eventually("every buffer is dropped", || ledger.alive() == 0);
    assert_eq!(ledger.dropped(), ledger.made(), "a buffer was dropped twice");
    assert_eq!((acc.leaked(), acc.recoveries()), (0, 0), "{}", acc.stats());
    (finished.load(Ordering::Relaxed), cancelled.load(Ordering::Relaxed))
}

#[test]
fn a_soak() {
    let time = Duration::from_secs(number("DSA_SOAK_SECONDS", 3));
    let _watchdog = Watchdog::start_for("soak", time + Duration::from_secs(300));
    let mut rng = Rng::new(seed());
    let (begun, mut lives, mut finished, mut cancelled) = (Instant::now(), 0, 0, 0);
    while lives == 0 || begun.elapsed() < time {
        let ended = life(&mut rng, begun + time);
        finished += ended.0;
        cancelled += ended.1;
        lives += 1;
    }
    println!("{lives} accelerators, {finished} operations verified, {cancelled} cancelled, in {:?}", begun.elapsed());
    assert!(finished > 0);
}
