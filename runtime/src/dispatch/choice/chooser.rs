//! The decision.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::decision::{Choice, Decision, Force, Inputs, Options, Why};
use super::lane::LaneState;
use super::load::Load;
use super::place::Place;
use super::queue::{Delay, QueueSetup, QueueState};
use super::{Estimates, KINDS, PICOS, Quantity};
use crate::stats::Operation;

/// The most queues that one chooser knows: the bits of a mask.
pub(super) const MOST_QUEUES: usize = 64;
/// A side whose expected cost is more than so many times that of the other is explored only in the turns that are free
/// of this bound.
const DEAR: u64 = 8;
/// One exploration in so many is free of the bound.
const FREE_EXPLORATIONS: u32 = 16;
/// Company beyond this counts as this.
pub(super) const MOST_COMPANY: u32 = 8;
/// Decides for the operations of one accelerator who does them. See the [module](super).
pub struct Chooser {
    pub(super) estimates: Estimates,
    pub(super) queues: Box<[QueueState]>,
    lanes: Box<[CachePadded<LaneState>]>,
    /// Queues that are open.
    pub(super) open: AtomicU64,
    /// For each kind of operation, the queues that do it.
    pub(super) offers: [u64; KINDS],
    pub(super) weight: u64,
    /// Picoseconds.
    pub(super) submit_cost: u64,
    pub(super) min_size: u64,
    explore_every: u32,
    sample_every: u32,
    pub(super) band: u32,
}

/// The greatest distance between two explorations. Five doublings of it, and as much again by chance, are less than half of what a
/// number of turns can say before it begins anew.
const MOST_TURNS: u32 = 1 << 25;

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
                .map(|lane| CachePadded::new(LaneState::new(lane, queues.len(), options.explore_every.min(MOST_TURNS))))
                .collect(),
            open: AtomicU64::new(all),
            offers: std::array::from_fn(offers),
            weight: u64::from(options.cpu_cost_weight.min(1 << 16)),
            submit_cost: u64::from(options.submit_cost) * PICOS,
            min_size: options.min_device_size.unwrap_or(0),
            explore_every: options.explore_every.min(MOST_TURNS),
            sample_every: options.sample_every.clamp(1, 1 << 16),
            band: options.band.min(63),
            estimates,
        }
    }

    /// Decides about one operation.
    #[inline]
    pub fn choose(&self, inputs: &Inputs) -> Decision {
        let (lane, place) = (self.lane(inputs.lane), Place::of(inputs.bytes));
        if inputs.force == Force::No && inputs.tried == 0 && lane.is_of(inputs.node) {
            match self.known(lane, inputs.operation as usize, place.class) {
                Some(Choice::Cpu(why)) => return Decision::cpu(why, false),
                Some(Choice::Device(queue)) if inputs.bytes >= inputs.min_size => {
                    return Decision::device(queue, Delay::default(), false, inputs.now);
                }
                _ => {}
            }
        }
        self.choose_among(inputs, lane, place)
    }

    /// Decides about an operation if that takes no comparison, in some thirty instructions: what is neither a sample nor an
    /// exploration, of a size class that the last sample has found to be one side's. `None`: ask [`choose`](Self::choose), as if
    /// this had not been called. A queue is the lane's own. The caller is taken to be on the node of the last one that has asked at length.
    ///
    /// Nothing is learned from such an operation but the load: [`begin`](Self::begin) and [`end`](Self::end) are told of it
    /// as of others.
    #[inline]
    pub fn choose_quickly(&self, lane: u32, operation: Operation, bytes: u64) -> Option<Choice> {
        self.known(self.lane(lane), operation as usize, Place::class_of(bytes))
    }

    #[inline]
    fn known(&self, lane: &LaneState, kind: usize, class: usize) -> Option<Choice> {
        let choice = self.standing(lane, kind, class)?;
        lane.passes().then_some(choice)
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
        // Others may have come from elsewhere.
        lane.move_to(inputs.node);
        let settles = turn.sample && lane.is_to_be_settled(kind, place.class);
        if turn.sample && !settles && !turn.explore && inputs.tried == 0 {
            match self.standing(lane, kind, place.class) {
                Some(Choice::Cpu(why)) => return Decision::cpu(why, true),
                Some(Choice::Device(queue)) => {
                    let delay = self.queues[queue as usize].delay(inputs.node, kind, inputs.bytes, inputs.now);
                    return Decision::device(queue, delay, true, inputs.now);
                }
                None => {}
            }
        }
        let cpu = self.estimates.at(inputs.operation, Quantity::Cpu, place);
        let latency = self.estimates.at(inputs.operation, Quantity::Latency, place);
        // What a nanosecond of the core costs, in 256ths.
        let worth = self.weight * u64::from(inputs.company.min(MOST_COMPANY) + 1);
        let cpu = cpu + ((cpu * worth) >> 8);
        let latency = latency + ((self.submit_cost * worth) >> 8);
        // Where the CPU is cheaper than an idle device by more than the band, no look at the queues can change it, and
        // nobody else's cache lines are touched.
        if cpu + (cpu >> self.band) < latency && !turn.explore {
            let side = lane.side(kind, place.class, latency, cpu, self.band);
            if settles {
                self.settle(inputs, lane, place.class, side);
            }
            return Decision::cpu(Why::Cheaper, turn.sample);
        }
        let (queue, delay) = self.nearest(usable, lane.home, inputs);
        let device = latency + delay.total();
        let side = lane.side(kind, place.class, device, cpu, self.band);
        if settles {
            self.settle(inputs, lane, place.class, side);
        }
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

    #[inline]
    pub(super) fn lane(&self, lane: u32) -> &LaneState {
        &self.lanes[lane as usize & (self.lanes.len() - 1)]
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
