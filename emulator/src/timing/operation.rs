//! An operation as the timing model sees it: how much it reads and writes, and what stops it.

use std::sync::Arc;

use idxd_sys::{Descriptor, flag, opcode};

use super::parameters::Timing;
use crate::prng::Prng;

/// Bytes of a cache line.
pub(super) const LINE: u64 = 64;

/// Euler's constant, for the mean of the largest of many draws.
const EULER: f64 = 0.577_215_664_901_532_9;

/// A range of pages that is not present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Bytes of the operation before the first absent page.
    pub offset: u32,
    /// Absent pages, each of which costs a page request where the operation blocks.
    pub pages: u32,
}

/// One operation. It is taken to be valid, and its buffers to be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Opcode, as in [`idxd_sys::opcode`].
    pub opcode: u8,
    /// Transfer size in bytes.
    pub bytes: u32,
    /// Address of the destination; its place in the cache line is what matters.
    pub destination: u64,
    /// Members of a batch: wait for all before it.
    pub fence: bool,
    /// Wait for absent pages.
    pub block_on_fault: bool,
    /// Pages that are not present.
    pub absent: Option<Absent>,
}

impl Operation {
    /// An operation with an aligned destination whose pages are all present.
    pub const fn new(opcode: u8, bytes: u32) -> Self {
        Self { opcode, bytes, destination: 0, fence: false, block_on_fault: false, absent: None }
    }

    /// What the model needs of a descriptor.
    pub fn of(d: &Descriptor) -> Self {
        Self {
            opcode: d.opcode(),
            bytes: d.xfer_size,
            destination: d.dst_addr,
            fence: d.flags() & flag::FENCE != 0,
            block_on_fault: d.flags() & flag::BLOCK_ON_FAULT != 0,
            absent: None,
        }
    }

    /// Sets the address of the destination.
    #[must_use]
    pub const fn destination(mut self, address: u64) -> Self {
        self.destination = address;
        self
    }

    /// Makes it wait for the members before it.
    #[must_use]
    pub const fn fence(mut self) -> Self {
        self.fence = true;
        self
    }

    /// Takes away `pages` pages, the first of which begins `offset` bytes into the operation. Without
    /// [`block_on_fault`](Self::block_on_fault) it ends there.
    #[must_use]
    pub const fn absent(mut self, offset: u32, pages: u32) -> Self {
        self.absent = Some(Absent { offset, pages });
        self
    }

    /// Makes it wait for absent pages.
    #[must_use]
    pub const fn block_on_fault(mut self) -> Self {
        self.block_on_fault = true;
        self
    }

    /// Whether times of this opcode were fitted to measurements; those of others are derived from the bytes they move.
    pub const fn is_fitted(&self) -> bool {
        matches!(self.opcode, opcode::MEMMOVE | opcode::FILL | opcode::COMPARE | opcode::COMPVAL)
    }

    /// Bytes of each of its buffers; 0 if it has none.
    pub(super) const fn moved(&self) -> u64 {
        match self.operands() {
            (0, 0) => 0,
            _ => self.bytes as u64,
        }
    }

    /// Buffers of the full size that it reads, and that it writes.
    pub const fn operands(&self) -> (u64, u64) {
        match self.opcode {
            opcode::NOP | opcode::BATCH | opcode::DRAIN | opcode::TRANSL_FETCH | opcode::UPDATE_WINDOW => (0, 0),
            opcode::FILL | opcode::INTER_DOMAIN_FILL | opcode::SCATTER_FILL | opcode::CFLUSH => (0, 1),
            opcode::COMPARE | opcode::CR_DELTA | opcode::INTER_DOMAIN_COMPARE => (2, 0),
            opcode::COMPVAL | opcode::CRCGEN | opcode::DIF_CHECK | opcode::DIX_GEN | opcode::INTER_DOMAIN_COMPVAL => {
                (1, 0)
            }
            opcode::DUALCAST => (1, 2),
            opcode::REDUCE | opcode::GATHER_REDUCE => (2, 1),
            opcode::REDUCE_DUALCAST => (2, 2),
            _ => (1, 1),
        }
    }

    /// Read-modify-writes of the destination's first line that stop the engine: before the data, and after it.
    const fn stalls(&self) -> (u64, u64) {
        let (_, writes) = self.operands();
        match self.destination % LINE {
            _ if writes == 0 || self.bytes == 0 => (0, 0),
            0 => (0, 0),
            offset if offset % (LINE / 2) == 0 => (0, 1),
            _ => (1, 1),
        }
    }
}

/// What is submitted as one descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// A descriptor.
    One(Operation),
    /// A batch of equal members.
    Same {
        /// The member.
        of: Operation,
        /// How many.
        count: u32,
    },
    /// A batch.
    List(Arc<[Operation]>),
}

impl Work {
    /// Number of operations.
    pub fn len(&self) -> u32 {
        match self {
            Self::One(_) => 1,
            Self::Same { count, .. } => *count,
            Self::List(list) => list.len() as u32,
        }
    }

    /// Whether it is a batch without members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a batch.
    pub const fn is_batch(&self) -> bool {
        !matches!(self, Self::One(_))
    }

    pub(super) fn member(&self, index: u32) -> Operation {
        match self {
            Self::One(operation) => *operation,
            Self::Same { of, .. } => *of,
            Self::List(list) => list[index as usize],
        }
    }
}

impl From<Operation> for Work {
    fn from(operation: Operation) -> Self {
        Self::One(operation)
    }
}

impl From<Vec<Operation>> for Work {
    fn from(list: Vec<Operation>) -> Self {
        Self::List(list.into())
    }
}

impl From<&[Operation]> for Work {
    fn from(list: &[Operation]) -> Self {
        Self::List(list.into())
    }
}

/// The parameters as the simulation counts: whole picoseconds, and picoseconds for a byte.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    pub(super) read: f64,
    pub(super) write: f64,
    pub(super) engine: f64,
    pub(super) dispatch: u64,
    pub(super) decode: u64,
    pub(super) record: u64,
    pub(super) record_path: u64,
    pub(super) portal: u64,
    /// How far the shared path may be behind an engine.
    pub(super) buffered: u64,
    pub(super) page_request: u64,
    pub(super) fault_report: u64,
    read_latency: u64,
    write_latency: u64,
    read_spread: f64,
    write_spread: f64,
    partial_line: u64,
}

/// Picoseconds of a nanosecond.
pub(super) const NS: u64 = 1000;

impl Rates {
    pub(super) fn new(timing: &Timing) -> Self {
        let (d, c) = (&timing.device, &timing.client);
        let write = NS as f64 / d.write_bytes_per_ns;
        Self {
            read: NS as f64 / d.read_bytes_per_ns,
            write,
            engine: NS as f64 / d.engine_bytes_per_ns,
            dispatch: d.dispatch_ns * NS,
            decode: d.decode_ns * NS,
            record: d.record_ns * NS,
            record_path: d.record_path_ns * NS,
            portal: c.portal_ns * NS,
            buffered: (d.buffered_bytes as f64 * write) as u64,
            page_request: timing.system.page_request_ns * NS,
            fault_report: timing.system.fault_report_ns * NS,
            read_latency: d.read_ns * NS,
            write_latency: d.write_ns * NS,
            read_spread: (d.read_spread_ns * NS) as f64,
            write_spread: (d.write_spread_ns * NS) as f64,
            partial_line: d.partial_line_ns * NS,
        }
    }

    /// What an operation of `bytes` bytes (fewer than it says if a fault ends it) costs an engine.
    pub(super) fn cost(&self, operation: &Operation, bytes: u64, rng: Option<&mut Prng>) -> Cost {
        let (reads, writes) = operation.operands();
        let (before, after) = operation.stalls();
        let lines = bytes.div_ceil(LINE);
        let mut tail = self.decode + self.record;
        if bytes != 0 {
            tail += if reads != 0 { self.read_latency } else { 0 } + if writes != 0 { self.write_latency } else { 0 };
        }
        let before = before * self.partial_line;
        let spread = self.spread(reads * lines, writes * lines, rng);
        // What is late beyond the stall at the head is hidden by it.
        tail = tail.saturating_add_signed(if before == 0 {
            spread
        } else {
            spread.saturating_sub_unsigned(before).max(0)
        });
        Cost { reads, writes, before, after: after * self.partial_line, tail }
    }

    /// The latency of reading `bytes` bytes, such as a batch list, at its mean.
    pub(super) fn fetch(&self, bytes: u64) -> u64 {
        let spread = self.spread(bytes.div_ceil(LINE), 0, None);
        (self.decode + self.read_latency).saturating_add_signed(spread)
    }

    /// By how much the slowest of the lines comes later than a single one does on average.
    fn spread(&self, read: u64, written: u64, rng: Option<&mut Prng>) -> i64 {
        let spread = match rng {
            None => self.read_spread * excess(read) + self.write_spread * excess(written),
            Some(rng) => self.read_spread * drawn(read, rng) + self.write_spread * drawn(written, rng),
        };
        spread as i64
    }
}

/// The mean of the largest of `n` draws from an exponential distribution of mean 1, less 1: the n-th harmonic number
/// less 1.
fn excess(n: u64) -> f64 {
    match n {
        0 | 1 => 0.0,
        _ => {
            let n = n as f64;
            n.ln() + EULER + 0.5 / n - 1.0
        }
    }
}

/// One draw of the same.
fn drawn(n: u64, rng: &mut Prng) -> f64 {
    if n == 0 {
        return 0.0;
    }
    // In (0, 1): the distribution function of the largest of n is the n-th power of that of one.
    let unit = ((rng.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -(-(unit.ln() / n as f64).exp_m1()).ln() - 1.0
}

/// What one operation costs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Buffers read, and written.
    pub(super) reads: u64,
    pub(super) writes: u64,
    /// The engine stops for this long before the data, and after it.
    pub(super) before: u64,
    pub(super) after: u64,
    /// From the end of the data to the record in memory, decode included.
    pub(super) tail: u64,
}

impl Timing {
    /// How long the device takes for an operation that it executes alone, from the queue to the record in memory, in
    /// nanoseconds. Neither submission nor the poll is included.
    pub fn alone_ns(&self, operation: &Operation) -> u64 {
        let rates = Rates::new(self);
        let bytes = operation.moved();
        let cost = rates.cost(operation, bytes, None);
        let data = (bytes * cost.reads) as f64 * rates.read;
        let data = data.max((bytes * cost.writes) as f64 * rates.write).max(bytes as f64 * rates.engine);
        (cost.before + data as u64 + cost.tail) / NS
    }

    /// How long one engine takes for each of many such operations, in nanoseconds.
    pub fn interval_ns(&self, operation: &Operation) -> u64 {
        let rates = Rates::new(self);
        let bytes = operation.moved();
        let cost = rates.cost(operation, bytes, None);
        let stalled = cost.before + cost.after;
        let engine = stalled + (bytes as f64 * rates.engine) as u64;
        let read = ((bytes * cost.reads + LINE) as f64 * rates.read) as u64;
        let write = ((bytes * cost.writes) as f64 * rates.write) as u64 + rates.record_path;
        let shared = read.max(write) + stalled.saturating_sub(rates.buffered);
        rates.dispatch.max(engine).max(shared) / NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excess_is_the_harmonic_number_less_one() {
        let mut harmonic = 1.0;
        for n in 2..2000u64 {
            harmonic += 1.0 / n as f64;
            assert!((excess(n) - (harmonic - 1.0)).abs() < 0.025, "{n}");
        }
        assert!(excess(0).abs() + excess(1).abs() < f64::EPSILON);
    }

    #[test]
    fn drawn_spreads_have_the_mean_of_the_excess() {
        let mut rng = Prng::new(11);
        for n in [1, 2, 16, 1000] {
            let mean = (0..40_000).map(|_| drawn(n, &mut rng)).sum::<f64>() / 40_000.0;
            assert!((mean - excess(n)).abs() < 0.04, "{n}: {mean}");
        }
        assert!(drawn(0, &mut rng).abs() < f64::EPSILON);
    }

    #[test]
    fn only_destinations_inside_a_line_stop_the_engine() {
        let copy = Operation::new(opcode::MEMMOVE, 100);
        let stalls = |at| copy.destination(at).stalls();
        assert_eq!((stalls(0), stalls(64), stalls(4096)), ((0, 0), (0, 0), (0, 0)));
        assert_eq!((stalls(32), stalls(96)), ((0, 1), (0, 1)));
        assert_eq!((stalls(1), stalls(8), stalls(16), stalls(48)), ((1, 1), (1, 1), (1, 1), (1, 1)));
        let read_only = Operation::new(opcode::COMPARE, 100).destination(8);
        assert_eq!((read_only.stalls(), Operation::new(opcode::MEMMOVE, 0).destination(8).stalls()), ((0, 0), (0, 0)));
    }

    #[test]
    fn every_opcode_moves_what_it_names() {
        for code in opcode::ALL {
            let (reads, writes) = Operation::new(*code, 64).operands();
            assert!(reads <= 2 && writes <= 2, "{code:#x}");
        }
        assert_eq!(Operation::new(opcode::DUALCAST, 1).operands(), (1, 2));
        assert_eq!(Operation::new(opcode::COMPARE, 1).operands(), (2, 0));
        assert_eq!(Operation::new(opcode::NOP, 1).operands(), (0, 0));
    }
}
