//! Size classes that need no comparison, until another sample says otherwise.

use std::sync::atomic::Ordering::Relaxed;

use super::Quantity;
use super::chooser::{Chooser, MOST_COMPANY, MOST_QUEUES};
use super::decision::{Choice, Inputs, Why};
use super::lane::{LaneState, Standing};
use super::place::{CLASSES, Place, size};
use crate::stats::Operation;

impl Chooser {
    /// What the last sample has left behind, if the lane's own queue is not too busy for it.
    #[inline]
    pub(super) fn standing(&self, lane: &LaneState, kind: usize, class: usize) -> Option<Choice> {
        match lane.standing(kind, class) {
            Standing::Open => None,
            Standing::Cpu => Some(Choice::Cpu(Why::Cheaper)),
            Standing::Device(limit) => {
                let queue = self.queues.get(lane.home as usize)?;
                (queue.pressure() < u64::from(limit)).then_some(Choice::Device(lane.home))
            }
        }
    }

    /// Finds out whether the next ones of a size class need a comparison at all, and remembers that. `side`: whether they are the
    /// device's at this moment.
    pub(super) fn settle(&self, inputs: &Inputs, lane: &LaneState, class: usize, side: bool) {
        let standing = if side {
            self.devices(inputs, lane, class)
        } else if self.is_cpus(inputs.operation, class) {
            Standing::Cpu
        } else {
            Standing::Open
        };
        lane.set_standing(inputs.operation as usize, class, standing);
    }

    /// Whether the CPU is cheaper than an idle device by more than the band in any company, at both ends of a size class and so
    /// in between.
    fn is_cpus(&self, operation: Operation, class: usize) -> bool {
        let worth = self.weight * u64::from(MOST_COMPANY + 1);
        Self::ends(class).all(|place| {
            let at = |quantity| self.estimates.at(operation, quantity, place);
            let (cpu, latency) = (at(Quantity::Cpu), at(Quantity::Latency));
            let cpu = cpu + ((cpu * worth) >> 8);
            cpu + (cpu >> self.band) < latency
        })
    }

    /// Up to which pressure in the lane's own queue the device is the cheaper one, in any company, at both ends of a size
    /// class and so in between.
    ///
    /// Where there is another queue to go to, no more than what delays an operation by an eighth.
    fn devices(&self, inputs: &Inputs, lane: &LaneState, class: usize) -> Standing {
        let (operation, bit) = (inputs.operation, 1u64 << (lane.home as usize % MOST_QUEUES));
        let usable = self.open.load(Relaxed) & self.offers[operation as usize];
        let Some(queue) = self.queues.get(lane.home as usize) else { return Standing::Open };
        if usable & bit == 0 || size(class) < self.min_size {
            return Standing::Open;
        }
        queue.refresh(inputs.now);
        let slack = |place| {
            let at = |quantity| self.estimates.at(operation, quantity, place);
            let (cpu, latency) = (at(Quantity::Cpu), at(Quantity::Latency));
            // The costs are lines in the company, too.
            let costs = [1, u64::from(MOST_COMPANY) + 1].map(|company| {
                let worth = self.weight * company;
                let device = latency + ((self.submit_cost * worth) >> 8) + queue.distance(inputs.node);
                (cpu + ((cpu * worth) >> 8)).saturating_sub(device)
            });
            let least = costs[0].min(costs[1]);
            if usable == bit { least } else { least.min(latency >> 3) }
        };
        let slack = Self::ends(class).map(slack).min().unwrap_or(0);
        // Of others the nearest: none may be nearer than this one.
        let distances = || self.queues.iter().map(|queue| queue.distance(inputs.node));
        if distances().min().is_some_and(|least| least < queue.distance(inputs.node)) {
            return Standing::Open;
        }
        match queue.allowance(slack) {
            0 | 1 => Standing::Open,
            limit => Standing::Device(limit as u32),
        }
    }

    /// Both ends of a size class.
    fn ends(class: usize) -> impl Iterator<Item = Place> {
        [class, (class + 1).min(CLASSES - 1)].into_iter().map(|class| Place { class, fraction: 0 })
    }
}
