//! One queue as decisions see it: how far away, how much is ahead, how late it has been.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::load::Load;
use super::place::Place;
use super::{Estimates, KINDS, PICOS, Quantity};
use crate::stats::Operation;

/// The unit of [`QueueState::pace`].
const PACE_BITS: u32 = 10;
/// Bounds of the factor on the backlog: an eighth, and sixteen times.
const PACE: (u32, u32) = (1 << (PACE_BITS - 3), 16 << PACE_BITS);
/// Bits behind the point of [`QueueState::byte`].
const BYTE_BITS: u32 = 6;
/// Bits behind the point of [`QueueState::charges`].
const CHARGE_BITS: u32 = 4;
/// After so many nanoseconds, as a power of two, lateness counts half.
const HALF_LIFE_BITS: u32 = 20;
/// The longest time that a queue is taken to be late: a second.
const LATEST: u64 = 1_000_000_000 * PICOS;
/// What an operation counts for in [`QueueState::pressure`] beside its bytes, as a power of two.
const OPERATION_BITS: u32 = 9;
/// The unit of [`QueueState::pressure`], in bytes of a copy, as a power of two.
const PRESSURE_BITS: u32 = 6;
/// More than any pressure that is allowed for: of a queue that is closed.
const CLOSED: u64 = 1 << 62;
/// An operation is overdue once it has been out for twice as long as all that is in flight takes, and so many nanoseconds.
const GRACE: u64 = 50_000;

/// A queue, for [`Chooser::new`](super::Chooser::new).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSetup {
    engines: u32,
    distances: Vec<u32>,
    offers: u64,
}

impl Default for QueueSetup {
    fn default() -> Self {
        Self { engines: 4, distances: Vec::new(), offers: (1 << KINDS) - 1 }
    }
}

impl QueueSetup {
    /// A queue with four engines that is equally near to all nodes and offers every operation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many engines serve it; at least 1. So many operations are under way at once.
    #[must_use]
    pub fn engines(mut self, engines: u32) -> Self {
        self.engines = engines.max(1);
        self
    }

    /// Sets by how many nanoseconds its operations take longer for callers of NUMA node 0, 1 and so on. A node that is not in the
    /// list, or not known, counts as 0.
    #[must_use]
    pub fn distances(mut self, nanoseconds: &[u32]) -> Self {
        self.distances = nanoseconds.to_vec();
        self
    }

    /// An operation that this queue does not do.
    #[must_use]
    pub fn without(mut self, operation: Operation) -> Self {
        self.offers &= !(1 << operation as u32);
        self
    }

    /// Whether it does an operation.
    pub fn offers(&self, operation: Operation) -> bool {
        (self.offers >> (operation as u32)) & 1 != 0
    }
}

/// A queue, with what is learned of it.
#[derive(Debug)]
pub(super) struct QueueState {
    /// Written by every operation; in a line of its own.
    traffic: CachePadded<Traffic>,
    /// How late it is; written by samples.
    lateness: CachePadded<Lateness>,
    /// Picoseconds for each node.
    distances: Box<[u64]>,
    engines: u64,
    /// Picoseconds for a byte of a copy, with [`BYTE_BITS`] behind the point.
    byte: u64,
    /// Picoseconds for an operation of no bytes.
    operation: u64,
    /// What a byte of each operation counts for in copied bytes, with [`CHARGE_BITS`] behind the point.
    charges: [u32; KINDS],
}

#[derive(Debug)]
struct Traffic {
    load: Load,
    /// When the device will have done what it has been given, in picoseconds by the callers' clock.
    busy_until: AtomicU64,
    /// The lateness as of the last sample in bytes of a copy, so that a look at this one line tells all; [`CLOSED`] besides while
    /// the queue is.
    handicap: AtomicU64,
}

#[derive(Debug)]
struct Lateness {
    /// Factor on the backlog, with [`PACE_BITS`] behind the point.
    pace: AtomicU32,
    /// Late samples in a row, negative for early ones.
    row: AtomicI32,
    /// Picoseconds besides, at the time of the last sample.
    excess: AtomicU64,
    /// When that was, in nanoseconds.
    since: AtomicU64,
}

/// What a queue adds to an operation's latency, in picoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delay {
    /// For what is ahead of it.
    pub(super) wait: u64,
    /// For the way.
    pub(super) distance: u64,
    /// By experience.
    pub(super) excess: u64,
    /// Whether all engines have something to do.
    pub(super) queued: bool,
}

impl Delay {
    #[inline]
    pub(super) fn total(&self) -> u64 {
        self.wait + self.distance + self.excess
    }
}

impl QueueState {
    pub(super) fn new(setup: &QueueSetup, estimates: &Estimates) -> Self {
        let long = Place::of(1 << 20);
        let service = |operation, place| estimates.at(operation, Quantity::Service, place).max(1);
        let copy = service(Operation::Copy, long);
        let charge = |kind: usize| ((service(Operation::ALL[kind], long) << CHARGE_BITS) / copy).clamp(1, 256) as u32;
        Self {
            traffic: CachePadded::new(Traffic {
                load: Load::new(),
                busy_until: AtomicU64::new(0),
                handicap: AtomicU64::new(0),
            }),
            lateness: CachePadded::new(Lateness {
                pace: AtomicU32::new(1 << PACE_BITS),
                row: AtomicI32::new(0),
                excess: AtomicU64::new(0),
                since: AtomicU64::new(0),
            }),
            distances: setup.distances.iter().map(|ns| u64::from(*ns) * PICOS).collect(),
            engines: u64::from(setup.engines),
            byte: (copy << BYTE_BITS) >> 20,
            operation: service(Operation::Copy, Place::of(0)),
            charges: std::array::from_fn(charge),
        }
    }

    /// What an operation counts for in the load.
    #[inline]
    pub(super) fn charge(&self, kind: usize, bytes: u64) -> u64 {
        (bytes.min(1 << 40) * u64::from(self.charges[kind])) >> CHARGE_BITS
    }

    /// An operation goes into the queue, at `now` nanoseconds, that counts for so much.
    #[inline]
    pub(super) fn begin(&self, charge: u64, now: u64) {
        let ahead = self.traffic.load.begin(charge);
        let (service, now) = (self.time(charge, 1), now.saturating_mul(PICOS));
        if ahead == 0 {
            // If somebody else begins one as well at this moment, one of the two is forgotten.
            return self.traffic.busy_until.store(now.saturating_add(service), Relaxed);
        }
        self.queue_up(service, now);
    }

    /// Notes the service of an operation that goes into a queue with others in it, at `now` picoseconds.
    fn queue_up(&self, service: u64, now: u64) {
        let busy = self.traffic.busy_until.load(Relaxed);
        // What has been believed too slow must not add up: everything in flight is the most that can be ahead.
        let most = self.time(self.traffic.load.bytes().min(1 << 44), self.traffic.load.operations().min(1 << 20));
        let next = busy.max(now).saturating_add(service).min(now.saturating_add(most));
        if self.traffic.busy_until.compare_exchange(busy, next, Relaxed, Relaxed).is_err() {
            // Somebody else has just begun one, so the device is busy, and the service comes on top.
            self.traffic.busy_until.fetch_add(service, Relaxed);
        }
    }

    /// It has left the queue.
    #[inline]
    pub(super) fn end(&self, charge: u64) {
        self.traffic.load.end(charge);
    }

    /// How much speaks against this queue: what is in flight, and by how much it was late. To be compared with what
    /// [`allowance`](Self::allowance) has said of a time.
    #[inline]
    pub(super) fn pressure(&self) -> u64 {
        let Traffic { load, handicap, .. } = &*self.traffic;
        let (bytes, operations) = load.raw();
        // What is below 0 by mistake looks like much here.
        bytes.wrapping_add(operations << OPERATION_BITS).wrapping_add(handicap.load(Relaxed)) >> PRESSURE_BITS
    }

    /// A [`pressure`](Self::pressure) below which nobody waits for longer than `picoseconds`: the lowest one for which that is sure.
    pub(super) fn allowance(&self, picoseconds: u64) -> u64 {
        (self.bytes_in(picoseconds) >> PRESSURE_BITS).min(1 << 31)
    }

    /// What the device does in a time for certain, in bytes of a copy.
    fn bytes_in(&self, picoseconds: u64) -> u64 {
        let unit = self.time(1 << OPERATION_BITS, 0).max(self.time(0, 1)).max(1);
        (picoseconds.min(1 << 52) << OPERATION_BITS) / unit
    }

    /// What the way costs a caller on `node`, in picoseconds.
    #[inline]
    pub(super) fn distance(&self, node: u32) -> u64 {
        self.distances.get(node as usize).copied().unwrap_or(0)
    }

    /// Takes note that the queue is closed, or open.
    pub(super) fn set_open(&self, open: bool) {
        if open {
            self.traffic.handicap.fetch_and(!CLOSED, Relaxed);
        } else {
            self.traffic.handicap.fetch_or(CLOSED, Relaxed);
        }
    }

    /// Forgets lateness by its age.
    pub(super) fn refresh(&self, now: u64) {
        let bytes = self.bytes_in(self.excess(now));
        if bytes != self.traffic.handicap.load(Relaxed) {
            let changed = |before| Some((before & CLOSED) | bytes);
            _ = self.traffic.handicap.fetch_update(Relaxed, Relaxed, changed);
        }
    }

    pub(super) fn load(&self) -> &Load {
        &self.traffic.load
    }

    /// What the queue would add for a caller on `node`, at `now` nanoseconds.
    #[inline]
    pub(super) fn delay(&self, node: u32, kind: usize, bytes: u64, now: u64) -> Delay {
        let operations = self.traffic.load.operations();
        Delay {
            wait: self.wait(operations, kind, bytes, now),
            queued: operations >= self.engines,
            distance: self.distance(node),
            excess: self.excess(now),
        }
    }

    /// How long what is ahead keeps an operation back.
    ///
    /// Two bounds. What is in flight: but some of it is done by now, and has completed without anybody having looked. And what has
    /// been given to the device since it was last idle, less the time since: but that is by the device's
    /// assumed rate. While an engine is free an operation does not wait for the others to end, but shares the way
    /// to memory with each, for as long as either goes on.
    #[inline]
    fn wait(&self, operations: u64, kind: usize, bytes: u64, now: u64) -> u64 {
        if operations == 0 {
            return 0;
        }
        let mut ahead = self.traffic.load.bytes().min(1 << 44);
        if operations < self.engines {
            ahead = ahead.min(operations * self.charge(kind, bytes));
        }
        let ahead = self.time(ahead, operations.min(1 << 20));
        ahead.min(self.traffic.busy_until.load(Relaxed).saturating_sub(now.saturating_mul(PICOS)))
    }

    /// How long the device takes for operations that count as so many bytes.
    #[inline]
    fn time(&self, charge: u64, operations: u64) -> u64 {
        let time = ((charge * self.byte) >> BYTE_BITS) + operations * self.operation;
        // In two steps, so that it fits for any load.
        ((time >> (PACE_BITS / 2)) * u64::from(self.lateness.pace.load(Relaxed))) >> (PACE_BITS / 2)
    }

    /// By how much it is late, in picoseconds. Old experience counts less, half as much after a millisecond, so that a
    /// queue that was late is tried again.
    #[inline]
    pub(super) fn excess(&self, now: u64) -> u64 {
        let age = now.saturating_sub(self.lateness.since.load(Relaxed)) >> HALF_LIFE_BITS;
        self.lateness.excess.load(Relaxed) >> age.min(63)
    }

    fn set_excess(&self, picoseconds: u64, now: u64) {
        self.lateness.excess.store(picoseconds.min(LATEST), Relaxed);
        self.lateness.since.store(now, Relaxed);
        self.refresh(now);
    }

    /// An operation that had others ahead of it, and was expected to wait for `wait`, was late by so many picoseconds, or
    /// early; only experience with queued operations speaks of the rate.
    pub(super) fn note_queued(&self, wait: u64, late: i64, now: u64) {
        let pace = self.lateness.pace.load(Relaxed);
        let margin = (wait >> 3).cast_signed();
        // By its sign alone, so that no single sample counts for more than any other.
        let moved = match late {
            _ if late > margin => pace + (pace >> 4) + 1,
            _ if late < -margin => pace - (pace >> 4) - 1,
            _ => pace,
        };
        self.lateness.pace.store(moved.clamp(PACE.0, PACE.1), Relaxed);
        let excess = self.excess(now);
        if late < 0 && excess != 0 {
            self.set_excess(excess - (excess >> 2), now);
        }
    }

    /// An operation that had little of ours ahead of it, and was expected to take `expected` in all, was late by so
    /// many picoseconds, or early. As with the estimates, outliers count little and a row of them counts.
    pub(super) fn note_alone(&self, expected: u64, late: i64, now: u64) {
        const PATIENCE: i32 = 4;
        let expected = expected.cast_signed();
        let row = self.lateness.row.load(Relaxed);
        let row = match late {
            _ if late > expected => row.max(0) + 1,
            _ if late < -expected / 2 => row.min(0) - 1,
            _ => 0,
        }
        .clamp(-PATIENCE, PATIENCE);
        self.lateness.row.store(row, Relaxed);
        let step = if row.abs() == PATIENCE { late >> 1 } else { late.clamp(-expected / 2, expected) >> 2 };
        self.set_excess(self.excess(now).saturating_add_signed(step), now);
    }

    /// The queue was full. What fills it, beyond what is in flight from here, will keep it late.
    pub(super) fn note_refused(&self, now: u64) {
        let excess = self.excess(now);
        self.set_excess(excess + (excess >> 1).max(2_000 * PICOS), now);
    }

    /// An operation has been out for `age` nanoseconds. If that cannot be, with what is in flight, the queue is late by it.
    pub(super) fn note_overdue(&self, age: u64, now: u64) {
        let load = self.load();
        let usual = self.time(load.bytes().min(1 << 44), load.operations().min(1 << 20)) / PICOS;
        let age = age.saturating_sub(usual.saturating_mul(2));
        if age > GRACE {
            self.set_excess(self.excess(now).max(age.saturating_mul(PICOS)), now);
        }
    }
}
