//! What no policy can do better than, not even one that knows the future.
//!
//! **One request.** On the device it takes at least as long as on an idle one, submission and noticing included; on the CPU at
//! least the copy. So no request completes sooner than the less of the two after it was asked for. The mean of
//! these is below any policy's mean, and as it holds for each request, their 99th percentile is below any policy's too.
//!
//! **All requests together.** Give a nanosecond of any thread the price `x / THREADS` and one of the device's path to memory the price
//! `1 - x`. In one nanosecond at most `x + (1 - x) = 1` can be spent. A request costs at least the less of: its
//! copy at the threads' price; or its submission and noticing at the threads' price and its transfer at the device's. So whatever a
//! policy does is at best as good as a single machine that spends 1 in each nanosecond, on requests of these costs,
//! in any order, and may interrupt one for another. Of all orders, doing first what has least left gives that machine the
//! least sum of completion times (shortest remaining time, with release dates). This holds for each `x`; the greatest of
//! the means counts, and in the same way the greatest of the times at which the machine is done.
//!
//! In a closed load requests depend on each other, and only the first bound is used; of a thread's chain it gives the least time until its last.
//!
//! A second tenant only takes from the device, so the bounds hold with him as well; they are farther away.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::loads::{Load, THREADS};
use crate::machine::{NOTICE, copy, cpu_copy, device};

/// Prices that are tried.
const PRICES: u32 = 32;

/// Lower bounds, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) mean: f64,
    pub(crate) p99: u64,
    pub(crate) cpu_time: u64,
    pub(crate) makespan: u64,
}

/// What one request takes at least.
struct Least {
    at: u64,
    /// Until it is known to have ended.
    alone: u64,
    /// Of a thread, if it copies, and if it submits.
    copy: f64,
    submission: f64,
    /// Of the device's path to memory, or of its engines.
    transfer: f64,
}

/// The bounds of a load.
pub(crate) fn bounds(load: &Load) -> Bounds {
    let mut idle = std::collections::HashMap::new();
    let timing = device().timing().clone();
    let path = timing.device.read_bytes_per_ns.max(timing.device.write_bytes_per_ns);
    let submission = timing.client.prepare_ns + timing.enqcmd_ns() + NOTICE;
    let least: Vec<Least> = load
        .requests
        .iter()
        .map(|request| {
            let by_device = *idle.entry(request.bytes).or_insert_with(|| on_idle_device(request.bytes));
            let by_cpu = cpu_copy(request.bytes);
            Least {
                at: request.at,
                alone: by_cpu.min(by_device),
                copy: by_cpu as f64,
                submission: submission as f64,
                transfer: request.bytes as f64 / path,
            }
        })
        .collect();
    let mut alone: Vec<u64> = least.iter().map(|request| request.alone).collect();
    let mut mean = alone.iter().sum::<u64>() as f64 / alone.len() as f64;
    let mut makespan = if load.closed {
        let chain = |thread| {
            let its = load.requests.iter().zip(&least).filter(|(request, _)| request.thread == thread);
            // The first is asked for at once.
            its.map(|(request, least)| request.at + least.alone).sum::<u64>() - load.requests[0].at
        };
        (0..THREADS).map(chain).max().unwrap_or(0)
    } else {
        least.iter().map(|request| request.at + request.alone).max().unwrap_or(0)
    };
    if !load.closed {
        for step in 0..=PRICES {
            let (sum, end) = single_machine(&least, f64::from(step) / f64::from(PRICES));
            mean = mean.max(sum / least.len() as f64);
            makespan = makespan.max(end as u64);
        }
    }
    let cpu_time = least.iter().map(|request| request.copy.min(request.submission)).sum::<f64>() as u64;
    alone.sort_unstable();
    Bounds { mean, p99: quantile(&alone, 0.99), cpu_time, makespan }
}

/// What is at that part of an ascending list.
pub(crate) fn quantile(sorted: &[u64], part: f64) -> u64 {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

/// A copy on an idle device, until its thread knows, in nanoseconds.
fn on_idle_device(bytes: u64) -> u64 {
    let mut device = device();
    let client = device.timing().client.clone();
    _ = device.submit(client.prepare_ns, 0, copy(bytes), 0);
    let completion = device.next_completion().expect("it was accepted");
    completion.at + client.poll_ns + NOTICE
}

/// The sum of the completion times, and the end, of a machine that does first what has least left.
fn single_machine(requests: &[Least], threads: f64) -> (f64, f64) {
    let (thread, device) = (threads / THREADS as f64, 1.0 - threads);
    // Whole millionths of a nanosecond, which are rounded down, so that they have an order.
    let cost = |r: &Least| ((thread * r.copy).min(thread * r.submission + device * r.transfer) * 1e6) as u64;
    let (mut now, mut sum) = (0u64, 0.0);
    let mut waiting = BinaryHeap::new();
    let mut arrivals = requests.iter().peekable();
    loop {
        let Some(Reverse((left, at))) = waiting.pop() else {
            let Some(next) = arrivals.next() else { return (sum / 1e6, now as f64 / 1e6) };
            now = now.max(next.at * 1_000_000);
            waiting.push(Reverse((cost(next), next.at)));
            continue;
        };
        match arrivals.peek() {
            // Somebody comes before it is done, and may be done sooner.
            Some(next) if next.at * 1_000_000 < now + left => {
                let until = (next.at * 1_000_000).max(now);
                waiting.push(Reverse((left - (until - now), at)));
                now = until;
                waiting.push(Reverse((cost(next), next.at)));
                arrivals.next();
            }
            _ => {
                now += left;
                sum += (now - at * 1_000_000) as f64;
            }
        }
    }
}
