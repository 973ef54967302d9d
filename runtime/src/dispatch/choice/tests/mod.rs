//! Laws of decisions, and of what is learned.

mod decisions;
mod learning;
mod oracle;
mod steadiness;

use super::queue::Delay;
use super::{Chooser, Decision, Estimates, Options, QueueSetup};

/// The defaults, without what makes single decisions hard to predict.
fn plain() -> Options {
    Options { explore_every: 0, band: 63, ..Options::default() }
}

/// A chooser with so many queues, all alike, and lanes.
fn chooser(queues: usize, lanes: usize, options: &Options) -> Chooser {
    Chooser::new(&vec![QueueSetup::new(); queues], lanes, options, Estimates::modelled())
}

/// A decision for a queue, made when there was nothing in it.
fn to_queue(queue: u32) -> Decision {
    Decision::device(queue, Delay { wait: 0, distance: 0, excess: 0, queued: false }, false, 0)
}
