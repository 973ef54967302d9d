//! What the behaviour tests share: seeds, oracles, guards against hanging, buffers that are counted.
//!
//! The oracles are written here, as plainly as possible, and use nothing of the crate under test.

// Each test program compiles this module for itself and uses a part of it.
#![allow(dead_code)]

pub(crate) mod held;
pub(crate) mod late;
pub(crate) mod later;
pub(crate) mod numbers;
pub(crate) mod oracle;
pub(crate) mod refusal;
pub(crate) mod region;
pub(crate) mod syscalls;
pub(crate) mod tracked;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use dsa::Accelerator;

/// How long one test may wait for one thing. Far more than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The seed of everything random: `DSA_TEST_SEED`, or the same one every time. Printed, so that a failing run can be
/// repeated.
pub(crate) fn seed() -> u64 {
    thread_local! {
        static PRINTED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    let seed = number("DSA_TEST_SEED", 0x5eed_0001);
    if !PRINTED.replace(true) {
        println!("seed: DSA_TEST_SEED={seed}");
    }
    seed
}

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// A small generator of random numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// `len` random bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// CRC-32C bit by bit, as RFC 3720 defines it, continuing from `seed`.
pub(crate) fn crc_oracle(seed: u32, data: &[u8]) -> u32 {
    let mut crc = !seed;
    for &byte in data {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// `len` bytes of a repeated pattern.
pub(crate) fn fill_oracle(pattern: [u8; 8], len: usize) -> Vec<u8> {
    (0..len).map(|i| pattern[i % 8]).collect()
}

/// Compares long buffers without printing them.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: wrong length");
    if found != expected {
        let first = found.iter().zip(expected).position(|(f, e)| f != e).unwrap_or(0);
        let wrong = found.iter().zip(expected).filter(|(f, e)| f != e).count();
        panic!(
            "{what}: {wrong} of {} bytes are wrong, the first at {first} ({:#04x}, not {:#04x})",
            found.len(),
            found[first],
            expected[first]
        );
    }
}

/// Awaits `future`, but not for ever.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let begun = Instant::now();
    let output = tokio::time::timeout(PATIENCE, future).await;
    // A future whose wake-up was lost is polled when the timer wakes the task, and may well be ready then.
    assert!(output.is_ok() && begun.elapsed() < PATIENCE, "{what}: not woken within {PATIENCE:?}");
    output.unwrap_or_else(|_| unreachable!("just checked"))
}

/// Runs a test body on a runtime of its own, and ends the process if it blocks for ever.
pub(crate) fn block_on<F: Future>(what: &str, future: F) -> F::Output {
    let _watchdog = Watchdog::start(what);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(future)
}

/// Ends the process with a message if it lives for too long: a thread that hangs cannot be failed in another way.
pub(crate) struct Watchdog {
    done: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn start(what: &str) -> Self {
        Self::start_for(what, PATIENCE * 4)
    }

    pub(crate) fn start_for(what: &str, patience: Duration) -> Self {
        let (done, waiting) = mpsc::channel();
        let what = what.to_owned();
        let thread = std::thread::spawn(move || {
            if waiting.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what}: hangs, gave up after {patience:?}");
                std::process::abort();
            }
        });
        Self { done: Some(done), thread: Some(thread) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits, blocking, until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits, blocking, until nothing is in flight.
#[track_caller]
pub(crate) fn quiet(accelerator: &Accelerator) {
    let begun = Instant::now();
    while accelerator.in_flight() != 0 {
        assert!(begun.elapsed() < PATIENCE, "{} slots are still in flight: leaked", accelerator.in_flight());
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Polls once with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut cx)
}
