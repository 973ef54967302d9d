//! `Stats`: the numbers of a moment, or of the time between two.

use std::fmt;
use std::iter::Sum;
use std::ops::{AddAssign, Sub};

use hdrhistogram::Histogram;

use super::histogram::{self, BUCKETS};
use super::{Event, Operation, Path, Reason};

/// A snapshot of a [`Recorder`](super::Recorder), a sum of several, or the difference of two.
///
/// Its `Display` is a table of everything that is not 0.
///
/// ```
/// use dsa::stats::{Operation, Path, Recorder};
///
/// let recorder = Recorder::new();
/// recorder.operation(Path::Cpu, Operation::Copy, 100);
/// let before = recorder.snapshot();
/// recorder.operation(Path::Device, Operation::Copy, 65536);
/// let during = recorder.snapshot().since(&before);
/// assert_eq!(during.operations(Path::Cpu, Operation::Copy), 0);
/// assert_eq!(during.bytes(Path::Device, Operation::Copy), 65536);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    pub(super) operations: [[Tally; Operation::COUNT]; Path::COUNT],
    pub(super) reasons: [u64; Reason::COUNT],
    pub(super) events: [u64; Event::COUNT],
    /// Counts per bucket of the histogram; `BUCKETS` of them.
    pub(super) latencies: [Vec<u64>; Path::COUNT],
}

/// Operations and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) operations: u64,
    pub(super) bytes: u64,
}

impl Stats {
    /// Finished operations of a kind.
    pub fn operations(&self, path: Path, operation: Operation) -> u64 {
        self.tally(path, operation).operations
    }

    /// Bytes that finished operations of a kind were asked to process.
    pub fn bytes(&self, path: Path, operation: Operation) -> u64 {
        self.tally(path, operation).bytes
    }

    /// Finished operations of all kinds.
    pub fn total_operations(&self, path: Path) -> u64 {
        Operation::ALL.iter().map(|&operation| self.operations(path, operation)).sum()
    }

    /// Bytes that finished operations of all kinds were asked to process.
    pub fn total_bytes(&self, path: Path) -> u64 {
        Operation::ALL.iter().map(|&operation| self.bytes(path, operation)).sum()
    }

    /// How often the CPU stepped in for a reason.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons[reason.index()]
    }

    /// How often something happened.
    pub fn event(&self, event: Event) -> u64 {
        self.events[event.index()]
    }

    /// The latencies of a path, from the first poll to the result, in nanoseconds, with a resolution of about 6 per cent; see
    /// [`AtomicHistogram::to_histogram`](super::AtomicHistogram::to_histogram). One sample for each operation of 64 KiB or
    /// more, and for each batch; of smaller operations the first of each kind gives a sample, and then one in
    /// sixteen, because timing them all would be a good part of what they cost.
    pub fn latency(&self, path: Path) -> Histogram<u64> {
        histogram::to_histogram(&self.latencies[path.index()])
    }

    /// Adds the numbers of another snapshot, say of another lane. Sums that exceed 64 bits stay at the largest number.
    pub fn merge(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    /// What happened after an earlier snapshot of the same recorders. Counters that are lower than they were, which no
    /// recorder's are, give 0.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        difference.combine(earlier, u64::saturating_sub);
        difference
    }

    fn tally(&self, path: Path, operation: Operation) -> Tally {
        self.operations[path.index()][operation.index()]
    }

    /// Applies a function to each number and the same number of another snapshot.
    fn combine(&mut self, other: &Self, function: fn(u64, u64) -> u64) {
        let apply = |number: &mut u64, other: u64| *number = function(*number, other);
        for (tally, other) in self.operations.as_flattened_mut().iter_mut().zip(other.operations.as_flattened()) {
            apply(&mut tally.operations, other.operations);
            apply(&mut tally.bytes, other.bytes);
        }
        let latencies = self.latencies.iter_mut().flatten().zip(other.latencies.iter().flatten());
        let others = self.reasons.iter_mut().zip(&other.reasons).chain(self.events.iter_mut().zip(&other.events));
        for (number, &other) in latencies.chain(others) {
            apply(number, other);
        }
    }
}

impl Default for Stats {
    /// Nothing has happened.
    fn default() -> Self {
        Self {
            operations: [[Tally::default(); Operation::COUNT]; Path::COUNT],
            reasons: [0; Reason::COUNT],
            events: [0; Event::COUNT],
            latencies: std::array::from_fn(|_| vec![0; BUCKETS]),
        }
    }
}

impl AddAssign<&Self> for Stats {
    /// As [`merge`](Stats::merge).
    fn add_assign(&mut self, other: &Self) {
        self.merge(other);
    }
}

impl Sub for &Stats {
    type Output = Stats;

    /// As [`since`](Stats::since).
    fn sub(self, earlier: Self) -> Stats {
        self.since(earlier)
    }
}

impl Sum for Stats {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum.merge(&part);
            sum
        })
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20}{:>14}{:>20}{:>14}{:>20}", "operation", "device", "bytes", "cpu", "bytes")?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, device: Tally, cpu: Tally| {
            let (d, c) = (device, cpu);
            writeln!(f, "{name:<20}{:>14}{:>20}{:>14}{:>20}", d.operations, d.bytes, c.operations, c.bytes)
        };
        for &operation in Operation::ALL {
            let (device, cpu) = (self.tally(Path::Device, operation), self.tally(Path::Cpu, operation));
            if device.operations != 0 || cpu.operations != 0 {
                row(f, operation.name(), device, cpu)?;
            }
        }
        let total = |path| Tally { operations: self.total_operations(path), bytes: self.total_bytes(path) };
        row(f, "total", total(Path::Device), total(Path::Cpu))?;
        list(f, "on the CPU because", Reason::ALL.iter().map(|&reason| (reason.name(), self.reason(reason))))?;
        list(f, "event", Event::ALL.iter().map(|&event| (event.name(), self.event(event))))?;
        let mut heading = "latency (us)";
        for &path in Path::ALL {
            let latency = self.latency(path);
            if latency.is_empty() {
                continue;
            }
            if !heading.is_empty() {
                let columns = ["p50", "p90", "p99", "p99.9", "max"];
                write!(f, "\n{heading:<20}{:>14}", "count")?;
                columns.iter().try_for_each(|column| write!(f, "{column:>12}"))?;
                writeln!(f)?;
                heading = "";
            }
            write!(f, "{path:<20}{:>14}", latency.len())?;
            for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
                let nanoseconds = latency.value_at_quantile(quantile);
                write!(f, "{:>8}.{:03}", nanoseconds / 1000, nanoseconds % 1000)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Names and counts that are not 0 below a heading; nothing at all if there are none.
fn list<'a>(f: &mut fmt::Formatter<'_>, heading: &str, counts: impl Iterator<Item = (&'a str, u64)>) -> fmt::Result {
    let mut first = true;
    for (name, count) in counts.filter(|&(_, count)| count != 0) {
        if std::mem::take(&mut first) {
            writeln!(f, "\n{heading}")?;
        }
        writeln!(f, "  {name:<18}{count:>14}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::Recorder;

    fn arbitrary() -> impl Strategy<Value = Stats> {
        let operations = prop::collection::vec((0..2_usize, 0..Operation::COUNT, 0..1_u64 << 40), 0..20);
        let reasons = prop::collection::vec(0..Reason::COUNT, 0..20);
        let events = prop::collection::vec((0..Event::COUNT, 0..1_u64 << 40), 0..20);
        let latencies = prop::collection::vec((0..2_usize, any::<u64>()), 0..20);
        (operations, reasons, events, latencies).prop_map(|(operations, reasons, events, latencies)| {
            let recorder = Recorder::new();
            for (path, operation, bytes) in operations {
                recorder.operation(Path::ALL[path], Operation::ALL[operation], bytes);
            }
            for reason in reasons {
                recorder.reason(Reason::ALL[reason]);
            }
            for (event, count) in events {
                recorder.events(Event::ALL[event], count);
            }
            for (path, latency) in latencies {
                recorder.latency(Path::ALL[path], latency);
            }
            recorder.snapshot()
        })
    }

    proptest! {
        #[test]
        fn a_difference_undoes_a_sum(a in arbitrary(), b in arbitrary()) {
            let mut sum = a.clone();
            sum += &b;
            prop_assert_eq!(&(&sum - &b), &a);
            prop_assert_eq!(&sum.since(&a), &b);
            prop_assert_eq!(&sum - &sum, Stats::default());
            prop_assert_eq!(&[b.clone(), a.clone()].into_iter().sum::<Stats>(), &sum);
            for &path in Path::ALL {
                prop_assert_eq!(sum.total_bytes(path), a.total_bytes(path) + b.total_bytes(path));
                prop_assert_eq!(sum.total_operations(path), a.total_operations(path) + b.total_operations(path));
                prop_assert_eq!(sum.latency(path).len(), a.latency(path).len() + b.latency(path).len());
            }
        }
    }

    #[test]
    fn numbers_saturate() {
        let recorder = Recorder::new();
        recorder.events(Event::Parks, u64::MAX);
        let mut stats = recorder.snapshot();
        stats.merge(&recorder.snapshot());
        assert_eq!(stats.event(Event::Parks), u64::MAX);
        assert_eq!(Stats::default().since(&stats).event(Event::Parks), 0);
    }

    #[test]
    fn the_table_shows_what_happened_and_nothing_else() {
        let recorder = Recorder::new();
        recorder.operation(Path::Device, Operation::Copy, 65536);
        recorder.operation(Path::Cpu, Operation::Copy, 100);
        recorder.operation(Path::Cpu, Operation::CopyCrc32c, 23);
        recorder.reason(Reason::BelowThreshold);
        recorder.events(Event::Submissions, 42);
        recorder.latency(Path::Device, 1_500);
        let text = recorder.snapshot().to_string();
        let words = |needle: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(needle));
            line.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(words("copy ").unwrap(), "1 65536 1 100");
        assert_eq!(words("copy-crc32c ").unwrap(), "0 0 1 23");
        assert_eq!(words("total ").unwrap(), "1 65536 2 123");
        assert_eq!(words("below-threshold ").unwrap(), "1");
        assert_eq!(words("submissions ").unwrap(), "42");
        assert!(words("device ").unwrap().starts_with("1 1.4"), "{text}");
        assert_eq!(words("fill"), None);
        assert_eq!(words("queue-full"), None);
        assert_eq!(words("cpu"), None);
    }

    #[test]
    fn the_table_of_nothing_is_one_row() {
        let text = Stats::default().to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
