//! The counters of one lane.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::AtomicHistogram;
use super::snapshot::{Stats, Tally};
use super::{Event, Operation, Path, Reason};

/// Counters of one lane.
///
/// All methods take `&self` and may be called from any thread. Threads that share a lane add to the same counters, hence
/// the atomic additions; different lanes have no cache line in common. Nothing is ordered by these counters, so all
/// accesses are relaxed.
#[derive(Default)]
#[repr(align(128))]
pub struct Recorder {
    operations: [[AtomicTally; Operation::COUNT]; Path::COUNT],
    reasons: [AtomicU64; Reason::COUNT],
    events: [AtomicU64; Event::COUNT],
    /// Descriptors that were submitted alone: a submission and a flush each.
    singles: AtomicU64,
    latencies: [AtomicHistogram; Path::COUNT],
}

/// Operations and their bytes, in one cache line.
#[derive(Default)]
#[repr(align(16))]
struct AtomicTally {
    operations: AtomicU64,
    bytes: AtomicU64,
}

impl Recorder {
    /// All counters at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a finished operation and the bytes it was asked to process. Two additions. Gives the number of those of its kind
    /// that were counted before.
    #[inline]
    pub fn operation(&self, path: Path, operation: Operation, bytes: u64) -> u64 {
        let tally = &self.operations[path.index()][operation.index()];
        tally.bytes.fetch_add(bytes, Relaxed);
        tally.operations.fetch_add(1, Relaxed)
    }

    /// Adds to the latencies of a path the time from submission to completion, in nanoseconds. One addition.
    #[inline]
    pub fn latency(&self, path: Path, nanoseconds: u64) {
        self.latencies[path.index()].record(nanoseconds);
    }

    /// Counts why an operation is done by the CPU.
    #[inline]
    pub fn reason(&self, reason: Reason) {
        self.reasons[reason.index()].fetch_add(1, Relaxed);
    }

    /// Counts one event.
    #[inline]
    pub fn event(&self, event: Event) {
        self.events(event, 1);
    }

    /// Counts a descriptor that was submitted alone: one of [`Event::Submissions`] and one of [`Event::Flushes`].
    #[inline]
    pub fn single(&self) {
        self.singles.fetch_add(1, Relaxed);
    }

    /// Counts several events of a kind at once.
    #[inline]
    pub fn events(&self, event: Event, count: u64) {
        self.events[event.index()].fetch_add(count, Relaxed);
    }

    /// The numbers at this moment. While other threads record, the counters are read one after the other: each is right
    /// for some moment during the call, but the moments differ.
    pub fn snapshot(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let mut events = self.events.each_ref().map(load);
        let singles = load(&self.singles);
        for event in [Event::Submissions, Event::Flushes] {
            events[event.index()] += singles;
        }
        Stats {
            operations: self.operations.each_ref().map(|kinds| {
                kinds.each_ref().map(|tally| Tally { operations: load(&tally.operations), bytes: load(&tally.bytes) })
            }),
            reasons: self.reasons.each_ref().map(load),
            events,
            latencies: self.latencies.each_ref().map(AtomicHistogram::counts),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&self.snapshot()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_recorder_is_empty() {
        assert_eq!(Recorder::new().snapshot(), Stats::default());
    }

    #[test]
    fn every_counter_is_its_own() {
        let recorder = Recorder::new();
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        for &path in Path::ALL {
            for &operation in Operation::ALL {
                recorder.operation(path, operation, next());
            }
        }
        for &reason in Reason::ALL {
            for _ in 0..next() {
                recorder.reason(reason);
            }
        }
        for &event in Event::ALL {
            recorder.events(event, next());
            recorder.event(event);
        }
        let stats = recorder.snapshot();
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        for &path in Path::ALL {
            for &operation in Operation::ALL {
                assert_eq!((stats.operations(path, operation), stats.bytes(path, operation)), (1, next()));
            }
        }
        for &reason in Reason::ALL {
            assert_eq!(stats.reason(reason), next());
        }
        for &event in Event::ALL {
            assert_eq!(stats.event(event), next() + 1);
        }
    }

    #[test]
    fn latencies_are_kept_by_path() {
        let recorder = Recorder::new();
        recorder.latency(Path::Device, 1000);
        recorder.latency(Path::Device, 3000);
        recorder.latency(Path::Cpu, 7);
        let stats = recorder.snapshot();
        assert_eq!((stats.latency(Path::Device).len(), stats.latency(Path::Cpu).len()), (2, 1));
        assert_eq!(stats.latency(Path::Cpu).max(), 7);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let recorder = Recorder::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        recorder.operation(Path::Device, Operation::Copy, 4096);
                        recorder.latency(Path::Device, 500);
                        recorder.event(Event::Submissions);
                        recorder.reason(Reason::QueueFull);
                    }
                });
            }
        });
        let stats = recorder.snapshot();
        assert_eq!(stats.operations(Path::Device, Operation::Copy), 40_000);
        assert_eq!(stats.bytes(Path::Device, Operation::Copy), 40_000 * 4096);
        assert_eq!(stats.latency(Path::Device).len(), 40_000);
        assert_eq!((stats.event(Event::Submissions), stats.reason(Reason::QueueFull)), (40_000, 40_000));
    }

    #[test]
    fn neighbours_share_no_cache_line() {
        assert_eq!((align_of::<Recorder>(), size_of::<Recorder>() % 128), (128, 0));
    }
}
