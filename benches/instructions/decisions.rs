//! The decision between device and CPU alone, without the operation.

use std::hint::black_box;

use dsa::choice::{Choice, Chooser, Decision, Estimates, Inputs, Options, QueueSetup, Seen};
use dsa::stats::Operation;

/// A size that is the CPU's, and one that is the device's, by the modelled estimates.
pub(crate) const SHORT: u64 = 64;
pub(crate) const LONG: u64 = 256 << 10;
/// Nanoseconds between two operations.
const APART: u64 = 20_000;

/// As many lanes and queues as a small machine has; nothing in flight.
fn chooser(options: &Options) -> Chooser {
    Chooser::new(&[QueueSetup::new(), QueueSetup::new()], 2, options, Estimates::modelled())
}

/// As the runtime asks: shortly, and if there is no answer at length.
#[inline]
fn ask(chooser: &Chooser, bytes: u64, now: u64) -> Choice {
    if let Some(choice) = chooser.choose_quickly(0, Operation::Copy, bytes) {
        return choice;
    }
    let mut inputs = Inputs::new(Operation::Copy, bytes);
    inputs.now = now;
    chooser.choose(&inputs).choice
}

#[inline]
fn rounds_of(rounds: u32, options: &Options, mut one: impl FnMut(&Chooser, u64)) {
    let (chooser, mut now) = (chooser(options), 1);
    for _ in 0..rounds {
        now += APART;
        one(black_box(&chooser), now);
    }
}

/// What every round of the others does besides.
#[inline(never)]
pub(crate) fn around(rounds: u32) {
    rounds_of(rounds, &Options::default(), |_, now| _ = black_box((now, 0u64)));
}

/// With the samples that the defaults make, but without what is learned from them.
#[inline(never)]
pub(crate) fn with_samples(rounds: u32, bytes: u64) {
    rounds_of(rounds, &Options::default(), |chooser, now| _ = black_box(ask(chooser, black_box(bytes), now)));
}

/// With so few samples that they do not count.
#[inline(never)]
pub(crate) fn between_samples(rounds: u32, bytes: u64) {
    let mut options = Options::default();
    (options.sample_every, options.explore_every) = (1 << 16, 0);
    rounds_of(rounds, &options, |chooser, now| _ = black_box(ask(chooser, black_box(bytes), now)));
}

/// For the device, with what is counted when the operation begins and ends, and what is learned.
#[inline(never)]
pub(crate) fn with_notes(rounds: u32) {
    rounds_of(rounds, &Options::default(), |chooser, now| {
        let mut inputs = Inputs::new(Operation::Copy, black_box(LONG));
        inputs.now = now;
        let decision: Decision = chooser.choose(&inputs);
        chooser.begin(&decision, Operation::Copy, LONG);
        chooser.end(&decision, Operation::Copy, LONG);
        chooser.completed_on_device(&decision, Operation::Copy, LONG, Seen::at(9_900));
    });
}
