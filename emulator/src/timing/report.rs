//! Loads for a simulated device: a closed loop, and an open loop with a policy.
//!
//! In a **closed loop** each client keeps a number of descriptors in flight and submits a new one when it has seen one
//! complete. It says what a device can do; its latencies hide what happens to requests that a slow device keeps from
//! being made. In an **open loop** requests arrive whether anybody is ready or not, and a policy decides about each:
//! a queue, or the CPU. Its latencies count from the arrival.
//!
//! Both are made of the public functions of [`Simulator`]; a study that needs another load can be written the same way.

use super::latencies::Latencies;

/// The pause between two attempts at a full queue, in nanoseconds.
pub(super) const PAUSE_NS: u64 = 30;

/// What a load has seen. Everything here is modelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Operations completed, on the device or the CPU. Members of a batch count one by one.
    pub operations: u64,
    /// Bytes they moved.
    pub bytes: u64,
    /// The time they took, in nanoseconds.
    pub elapsed_ns: u64,
    /// Latency of each descriptor, batch or request, in nanoseconds: until the submitting thread knows.
    pub latencies: Latencies,
    /// Submissions answered with Retry.
    pub retries: u64,
    /// Descriptors lost at a full dedicated queue.
    pub lost: u64,
    /// Requests that the CPU did.
    pub by_cpu: u64,
}

impl Report {
    /// Throughput in bytes a nanosecond, which is 10^9 bytes a second.
    pub fn bytes_per_ns(&self) -> f64 {
        self.bytes as f64 / self.elapsed_ns.max(1) as f64
    }

    /// Time for each operation in nanoseconds, with all that overlaps.
    pub fn ns_per_operation(&self) -> f64 {
        self.elapsed_ns as f64 / self.operations.max(1) as f64
    }

    /// Millions of operations a second.
    pub fn mops(&self) -> f64 {
        1000.0 / self.ns_per_operation()
    }
}
