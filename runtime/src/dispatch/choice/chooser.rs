//! The decision.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::decision::{Choice, Decision, Force, Inputs, Options, Seen, Why};
use super::estimates::Heed;
use super::lane::LaneState;
use super::load::Load;
use super::place::{CLASSES, Place};
use super::queue::{Delay, QueueSetup, QueueState};
use super::{Estimates, KINDS, PICOS, Quantity};
use crate::stats::Operation;

/// The most queues that one chooser knows: the bits of a mask.
const MOST_QUEUES: usize = 64;
/// A side whose expected cost is more than so many times that of the other is explored only in the turns that are free
/// of this bound.
const DEAR: u64 = 8;
/// One exploration in so many is free of the bound.
const FREE_EXPLORATIONS: u32 = 16;
/// Company beyond this counts as this.
const MOST_COMPANY: u32 = 8;
/// From so many samples on a size class's latency is trusted, and what a queue is late by is the queue's doing.
const TRUSTED: u32 = 8;

/// Decides for the operations of one accelerator who does them. See the [module](super).
pub struct Chooser {
    estimates: Estimates,
    queues: Box<[QueueState]>,
    lanes: Box<[CachePadded<LaneState>]>,
    /// Queues that are open.
    open: AtomicU64,
    /// For each kind of operation, the queues that do it.
    offers: [u64; KINDS],
    weight: u64,
    /// Picoseconds.
    submit_cost: u64,
    min_size: u64,
    explore_every: u32,
    sample_every: u32,
    band: u32,
}

impl Chooser {
    /// A chooser for queues, numbered from 0 and all open, and lanes; at least one.
    ///
    /// # Panics
    ///
    /// If there are more than 64 queues.
    pub fn new(queues: &[QueueSetup], lanes: usize, options: &Options, estimates: Estimates) -> Self {
        assert!(queues.len() <= MOST_QUEUES, "{} queues; a chooser knows at most {MOST_QUEUES}", queues.len());
        let all = if queues.is_empty() { 0 } else { u64::MAX >> (MOST_QUEUES - queues.len()) };
        let offers = |kind: usize| {
            let does = |(number, queue): (usize, &QueueSetup)| u64::from(queue.offers(Operation::ALL[kind])) << number;
            queues.iter().enumerate().map(does).sum()
        };
        // A power of two, so that a mask finds the lane.
        let lanes = lanes.max(1).next_power_of_two();
        Self {
            queues: queues.iter().map(|setup| QueueState::new(setup, &estimates)).collect(),
            lanes: (0..lanes)
                .map(|lane| CachePadded::new(LaneState::new(lane, queues.len(), options.explore_every.min(1 << 26))))
                .collect(),
            open: AtomicU64::new(all),
            offers: std::array::from_fn(offers),
            weight: u64::from(options.cpu_cost_weight.min(1 << 16)),
            submit_cost: u64::from(options.submit_cost) * PICOS,
            min_size: options.min_device_size.unwrap_or(0),
            explore_every: options.explore_every.min(1 << 26),
            sample_every: options.sample_every.clamp(1, 1 << 16),
            band: options.band.min(63),
            estimates,
        }
    }

    /// Decides about one operation.
    #[inline]
    pub fn choose(&self, inputs: &Inputs) -> Decision {
        let (lane, place) = (self.lane(inputs.lane), Place::of(inputs.bytes));
        // Short operations, of which there may be many: a few instructions, and nobody else's cache lines.
        if inputs.force == Force::No && lane.is_sure(inputs.operation as usize, place.class) && lane.passes() {
            return Decision::cpu(Why::Cheaper, false);
        }
        self.choose_among(inputs, lane, place)
    }

    /// Decides with a look at the queues.
    fn choose_among(&self, inputs: &Inputs, lane: &LaneState, place: Place) -> Decision {
        let kind = inputs.operation as usize;
        let usable = self.open.load(Relaxed) & self.offers[kind] & !inputs.tried;
        let too_small = inputs.bytes < self.min_size.max(inputs.min_size);
        if inputs.force != Force::No || too_small || usable == 0 {
            return self.settled(inputs, usable, lane);
        }
        let turn = lane.turn(self.sample_every, self.explore_every);
        let cpu = self.estimates.at(inputs.operation, Quantity::Cpu, place);
        let latency = self.estimates.at(inputs.operation, Quantity::Latency, place);
        // What a nanosecond of the core costs, in 256ths.
        let worth = self.weight * u64::from(inputs.company.min(MOST_COMPANY) + 1);
        let cpu = cpu + ((cpu * worth) >> 8);
        let latency = latency + ((self.submit_cost * worth) >> 8);
        if turn.sample {
            lane.set_sure(kind, place.class, self.is_sure(inputs.operation, place.class));
        }
        // Where the CPU is cheaper than an idle device by more than the band, no look at the queues can change it, and
        // nobody else's cache lines are touched.
        if cpu + (cpu >> self.band) < latency && !turn.explore {
            _ = lane.side(kind, place.class, latency, cpu, self.band);
            return Decision::cpu(Why::Cheaper, turn.sample);
        }
        let (queue, delay) = self.nearest(usable, lane.home, inputs);
        let device = latency + delay.total();
        let side = lane.side(kind, place.class, device, cpu, self.band);
        if turn.explore && Self::explores(lane, device, cpu) {
            let decision = if side {
                Decision::cpu(Why::Explored, true)
            } else {
                Decision::device(queue, delay, true, inputs.now)
            };
            return Decision { explorer: inputs.lane.wrapping_add(1), ..decision };
        }
        if side {
            Decision::device(queue, delay, turn.sample, inputs.now)
        } else {
            Decision::cpu(if latency <= cpu { Why::Busy } else { Why::Cheaper }, turn.sample)
        }
    }

    /// The operation of a decision goes into the queue. To be called right after a decision for the device, before the submission:
    /// others who decide meanwhile should know. Does nothing for a decision for the CPU.
    #[inline]
    pub fn begin(&self, decision: &Decision, operation: Operation, bytes: u64) {
        if let Choice::Device(queue) = decision.choice {
            self.queues[queue as usize].begin(operation as usize, bytes, decision.at);
        }
    }

    /// It is not in the queue any more: completed, lost with its queue, or given up. With the same arguments, once for
    /// each [`begin`](Self::begin).
    #[inline]
    pub fn end(&self, decision: &Decision, operation: Operation, bytes: u64) {
        if let Choice::Device(queue) = decision.choice {
            self.queues[queue as usize].end(operation as usize, bytes);
        }
    }

    /// The queue has refused it for being full, as often as the caller was willing to ask. Instead of [`end`](Self::end).
    #[cold]
    pub fn refused(&self, decision: &Decision, operation: Operation, bytes: u64) {
        if let Choice::Device(queue) = decision.choice {
            let queue = &self.queues[queue as usize];
            queue.end(operation as usize, bytes);
            queue.note_refused(decision.at);
        }
    }

    /// An operation that was decided about so has completed on the device, without a page fault or other trouble.
    ///
    /// A thread that was busy elsewhere finds a completion late, which says nothing about the device. So of all the
    /// times at which it may have completed, between the two looks, the one counts that is nearest to what was expected.
    /// Otherwise, copies by the CPU would make the device look slow, and so cause more of them.
    #[inline]
    pub fn completed_on_device(&self, decision: &Decision, operation: Operation, bytes: u64, seen: Seen) {
        if let (true, Choice::Device(queue)) = (decision.sample, decision.choice) {
            self.learn_device(decision, queue, operation, bytes, seen);
        }
    }

    /// An operation that was decided about has kept the CPU busy for so many nanoseconds, all of it. Time for which other
    /// tasks ran in between does not count: leave those out.
    #[inline]
    pub fn completed_on_cpu(&self, decision: &Decision, operation: Operation, bytes: u64, nanoseconds: u64) {
        if decision.sample {
            self.estimates.note(operation, Quantity::Cpu, bytes, nanoseconds.saturating_mul(PICOS));
            self.explored(decision, operation, bytes, nanoseconds);
        }
    }

    /// A queue is closed, for recovery or for good, or open again. A closed one is never chosen.
    pub fn set_open(&self, queue: u32, open: bool) {
        let bit = 1u64 << (queue as usize % MOST_QUEUES);
        if open && (queue as usize) < self.queues.len() {
            self.open.fetch_or(bit, Relaxed);
        } else {
            self.open.fetch_and(!bit, Relaxed);
        }
    }

    /// What is in flight in a queue. Its bytes count as many as a copy would that keeps the device as busy: a
    /// comparison of 4 KiB counts 8 KiB.
    ///
    /// # Panics
    ///
    /// If there is no such queue.
    pub fn load(&self, queue: u32) -> &Load {
        self.queues[queue as usize].load()
    }

    /// By how many nanoseconds a queue has lately been later than its load explains, as it counts at `now` nanoseconds.
    ///
    /// # Panics
    ///
    /// If there is no such queue.
    pub fn lateness(&self, queue: u32, now: u64) -> u64 {
        self.queues[queue as usize].excess(now) / PICOS
    }

    /// What operations are expected to take.
    pub fn estimates(&self) -> &Estimates {
        &self.estimates
    }

    /// Whether the CPU is cheaper than an idle device by more than the band in any company, at both ends of a size class and so
    /// in between.
    fn is_sure(&self, operation: Operation, class: usize) -> bool {
        let worth = self.weight * u64::from(MOST_COMPANY + 1);
        let ends = [class, (class + 1).min(CLASSES - 1)];
        ends.into_iter().all(|class| {
            let at = |quantity| self.estimates.at(operation, quantity, Place { class, fraction: 0 });
            let (cpu, latency) = (at(Quantity::Cpu), at(Quantity::Latency));
            let cpu = cpu + ((cpu * worth) >> 8);
            cpu + (cpu >> self.band) < latency
        })
    }

    /// Whatever needs no comparison.
    fn settled(&self, inputs: &Inputs, usable: u64, lane: &LaneState) -> Decision {
        if inputs.force == Force::Cpu {
            return Decision::cpu(Why::Forced, false);
        }
        if inputs.force == Force::No && inputs.bytes < self.min_size.max(inputs.min_size) {
            return Decision::cpu(Why::BelowMinimum, false);
        }
        if usable == 0 {
            return Decision::cpu(Why::NoQueue, false);
        }
        let turn = lane.turn(self.sample_every, self.explore_every);
        let (queue, delay) = self.nearest(usable, lane.home, inputs);
        Decision::device(queue, delay, turn.sample, inputs.now)
    }

    /// The queue that would be done first; of equal ones the first from the lane's own on. `usable` is not 0.
    #[inline]
    fn nearest(&self, usable: u64, home: u32, inputs: &Inputs) -> (u32, Delay) {
        let kind = inputs.operation as usize;
        let mut left = usable.rotate_right(home);
        let mut best: Option<(u32, Delay)> = None;
        while left != 0 {
            let number = (left.trailing_zeros() + home) % MOST_QUEUES as u32;
            left &= left - 1;
            let Some(queue) = self.queues.get(number as usize) else { break };
            let delay = queue.delay(inputs.node, kind, inputs.bytes, inputs.now);
            if best.is_none_or(|(_, least)| delay.total() < least.total()) {
                best = Some((number, delay));
            }
            // Nothing can be nearer.
            if delay.total() == 0 {
                break;
            }
        }
        best.expect("a queue is usable")
    }

    /// Whether it is the other side's turn in spite of what that costs.
    #[cold]
    fn explores(lane: &LaneState, device: u64, cpu: u64) -> bool {
        let free = lane.is_free_exploration(FREE_EXPLORATIONS);
        free || device.max(cpu) / DEAR <= device.min(cpu)
    }

    #[cold]
    fn explored(&self, decision: &Decision, operation: Operation, bytes: u64, nanoseconds: u64) {
        let Some(lane) = decision.explorer.checked_sub(1) else { return };
        let other = if matches!(decision.choice, Choice::Cpu(_)) { Quantity::Latency } else { Quantity::Cpu };
        let usual = self.estimates.get(operation, other, bytes);
        self.lane(lane).explored(nanoseconds.saturating_mul(PICOS), usual);
    }

    #[inline]
    fn lane(&self, lane: u32) -> &LaneState {
        &self.lanes[lane as usize & (self.lanes.len() - 1)]
    }

    #[cold]
    fn learn_device(&self, decision: &Decision, queue: u32, operation: Operation, bytes: u64, seen: Seen) {
        self.explored(decision, operation, bytes, seen.complete);
        let queue = &self.queues[queue as usize];
        let place = Place::of(bytes);
        let picos = |nanoseconds: u64| nanoseconds.saturating_mul(PICOS).min(1 << 60);
        let (wait, distance) = (decision.wait, decision.distance);
        let idle = self.estimates.at(operation, Quantity::Latency, place);
        let now = if decision.at == 0 { 0 } else { decision.at.saturating_add(seen.complete) };
        let excess = queue.excess(now);
        let expected = idle + wait + distance + excess;
        let complete = picos(seen.complete);
        let observed = expected.clamp(picos(seen.pending).min(complete), complete);
        let late = observed.cast_signed() - expected.cast_signed();
        if decision.queued || wait > idle / 2 {
            return queue.note_queued(wait, late, now);
        }
        let alone = observed.saturating_sub(wait + distance + excess).max(observed / 8);
        if self.estimates.samples(operation, Quantity::Latency, bytes) < TRUSTED {
            return self.estimates.learn(operation, Quantity::Latency, place, alone, Heed::Usual);
        }
        queue.note_alone(expected, late, now);
        self.estimates.learn(operation, Quantity::Latency, place, alone, Heed::Least);
    }
}

impl fmt::Debug for Chooser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chooser")
            .field("open", &format_args!("{:#b}", self.open.load(Relaxed)))
            .field("queues", &self.queues)
            .field("lanes", &self.lanes.len())
            .field("estimates", &self.estimates)
            .finish_non_exhaustive()
    }
}
