//! What every variant reports to: it hands out the pairs of buffers, counts operations, and keeps the time.
//!
//! A slice is a closed loop: as many operations in flight as the depth says, each replaced when it ends. The first ones warm
//! up; the time runs from the end of the last of them to the end of the last measured one, so that neither the filling of the
//! pipe nor its emptying counts. There is one ledger for each thread, because the tasks of one runtime thread all use it.

use std::cell::RefCell;
use std::collections::VecDeque;

use idxd_sys::instr::rdtsc;

use super::arena::Pair;
use super::machine::{CpuTime, Ticks};

/// How long a slice is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Bytes of an operation.
    pub(crate) size: usize,
    /// Pairs of buffers that they rotate through.
    pub(crate) pairs: usize,
    /// Operations in flight.
    pub(crate) depth: usize,
    /// Operations before the time runs.
    pub(crate) warm: usize,
    /// Operations that count.
    pub(crate) operations: usize,
}

/// What a slice took.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// Operations that count.
    pub(crate) operations: usize,
    /// Nanoseconds of an operation: the time of the slice, divided.
    pub(crate) ns: f64,
    /// CPU nanoseconds of the submitter's thread for an operation.
    pub(crate) submitter: f64,
    /// CPU nanoseconds of all other threads for an operation; `None` where only a look from outside tells, see
    /// [`Slice::add_others`].
    pub(crate) others: Option<f64>,
    /// Operations, with those that do not count.
    pub(crate) all: usize,
    /// How long each operation took, in ticks, in ascending order.
    pub(crate) latencies: Vec<u32>,
}

impl Slice {
    /// `operations`: those that count, and all.
    pub(crate) fn new(operations: [usize; 2], ns: f64, submitter: f64, mut latencies: Vec<u32>) -> Self {
        latencies.sort_unstable();
        let [operations, all] = operations;
        Self { operations, ns, submitter, others: None, all, latencies }
    }

    /// What the other threads used from before the slice, when they slept, until they slept again. While they run, the
    /// system's count of their time is behind by up to some milliseconds, so nothing inside a slice would do.
    pub(crate) fn add_others(&mut self, used: CpuTime) {
        let nanos = used.process.saturating_sub(used.thread) as f64;
        self.others.get_or_insert(nanos / self.all as f64);
    }

    /// CPU nanoseconds of all threads for an operation.
    pub(crate) fn process(&self) -> f64 {
        self.submitter + self.others.unwrap_or(f64::NAN)
    }

    /// The latency below which a part of the operations was, in ticks.
    pub(crate) fn latency(&self, part: f64) -> f64 {
        let place = (part * self.latencies.len() as f64) as usize;
        self.latencies
            .get(place.min(self.latencies.len().saturating_sub(1)))
            .map_or(f64::NAN, |ticks| f64::from(*ticks))
    }
}

/// See the module.
pub(crate) struct Ledger {
    pairs: VecDeque<Pair>,
    /// Operations that may still begin.
    left: usize,
    warm: usize,
    last: usize,
    ended: usize,
    /// Ticks, and CPU nanoseconds of this thread.
    begun: (u64, u64),
    done: (u64, u64),
    latencies: Vec<u32>,
}

thread_local! {
    static LEDGER: RefCell<Ledger> = const { RefCell::new(Ledger::new()) };
}

/// Does something with this thread's ledger.
///
/// # Panics
///
/// If it is called inside of itself.
#[inline]
pub(crate) fn with<T>(work: impl FnOnce(&mut Ledger) -> T) -> T {
    LEDGER.with_borrow_mut(work)
}

impl Ledger {
    const fn new() -> Self {
        Self {
            pairs: VecDeque::new(),
            left: 0,
            warm: 0,
            last: 0,
            ended: 0,
            begun: (0, 0),
            done: (0, 0),
            latencies: Vec::new(),
        }
    }

    /// The buffers of the cell.
    pub(crate) fn pairs(&mut self) -> &mut VecDeque<Pair> {
        &mut self.pairs
    }

    /// Begins a slice.
    pub(crate) fn open(&mut self, plan: &Plan) {
        self.warm = plan.warm.max(1);
        self.last = self.warm + plan.operations;
        // As many more as are in flight at the end, so that the pipe is full until then.
        self.left = self.last + plan.depth;
        self.ended = 0;
        self.latencies = Vec::with_capacity(plan.operations + plan.depth);
    }

    /// The buffers of the next operation, or `None` if there is none.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Pair> {
        self.left = self.left.checked_sub(1)?;
        self.pairs.pop_front()
    }

    /// An operation that took so many ticks is done.
    #[inline]
    pub(crate) fn give_back(&mut self, pair: Pair, ticks: u64) {
        self.pairs.push_back(pair);
        self.ended += 1;
        if self.ended > self.warm && self.ended <= self.last {
            self.latencies.push(u32::try_from(ticks).unwrap_or(u32::MAX));
            if self.ended == self.last {
                self.done = (rdtsc(), CpuTime::thread());
                // What is still in flight is not replaced any more.
                self.left = 0;
            }
        } else if self.ended == self.warm {
            let cpu = CpuTime::thread();
            self.begun = (rdtsc(), cpu);
        }
    }

    /// Ends a slice.
    pub(crate) fn close(&mut self, ticks: Ticks) -> Slice {
        assert!(self.ended >= self.last, "a slice ended before its operations");
        let operations = self.last - self.warm;
        let each = |nanos: f64| nanos / operations as f64;
        let ns = each(ticks.nanos(self.done.0 - self.begun.0));
        let submitter = each((self.done.1 - self.begun.1) as f64);
        Slice::new([operations, self.ended], ns, submitter, std::mem::take(&mut self.latencies))
    }
}
