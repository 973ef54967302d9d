//! The policies that are compared.

use dsa::choice::{
    Calibration, Choice, Chooser, Decision, Estimates, Inputs, Machine, Options, Quantity, QueueSetup, Seen,
};
use dsa::stats::Operation;

use crate::loads::THREADS;
use crate::machine::{ENGINES, Policy, Question, Side};

/// The thresholds that are tried, in bytes; the best of them is shown.
pub(crate) const THRESHOLDS: [u64; 10] =
    [1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10];

/// Everything to one side.
pub(crate) struct Always(pub(crate) Side);

impl Policy for Always {
    fn choose(&mut self, _: &Question) -> Side {
        self.0
    }
}

/// To the device from a size on, and to the CPU what is refused.
pub(crate) struct Threshold(pub(crate) u64);

impl Policy for Threshold {
    fn choose(&mut self, question: &Question) -> Side {
        if question.bytes >= self.0 && !question.refused { Side::Device } else { Side::Cpu }
    }
}

/// The runtime's chooser.
pub(crate) struct Ours {
    chooser: Chooser,
    decisions: Vec<Option<Decision>>,
}

impl Ours {
    /// As it begins without a calibration.
    pub(crate) fn modelled(options: &Options, requests: usize) -> Self {
        Self::with(Estimates::modelled(), options, requests)
    }

    /// As it begins with a calibration that takes the CPU for three times as fast as it is, or as slow, and the device
    /// for the opposite.
    pub(crate) fn misled(slow_cpu: bool, options: &Options, requests: usize) -> Self {
        let modelled = Estimates::modelled();
        let mut measure = |operation: Operation, bytes: u64, quantity: Quantity| {
            let nanoseconds = modelled.get(operation, quantity, bytes) / 1000;
            let slower = slow_cpu == (quantity == Quantity::Cpu);
            let wrong = if slower { nanoseconds * 3 } else { nanoseconds / 3 };
            (operation == Operation::Copy).then(|| std::time::Duration::from_nanos(wrong))
        };
        let budget = std::time::Duration::from_secs(1);
        let estimates = Calibration::measure(Machine::default(), budget, &mut measure).estimates();
        Self::with(estimates, options, requests)
    }

    fn with(estimates: Estimates, options: &Options, requests: usize) -> Self {
        let queue = QueueSetup::new().engines(ENGINES);
        Self { chooser: Chooser::new(&[queue], THREADS, options, estimates), decisions: vec![None; requests] }
    }
}

impl Policy for Ours {
    fn choose(&mut self, question: &Question) -> Side {
        let mut inputs = Inputs::new(Operation::Copy, question.bytes);
        inputs.lane = question.thread as u32;
        inputs.company = question.in_flight;
        inputs.now = question.now;
        if question.refused
            && let Some(decision) = self.decisions[question.number]
        {
            self.chooser.refused(&decision, Operation::Copy, question.bytes);
            inputs.tried = 1;
        }
        let decision = self.chooser.choose(&inputs);
        self.decisions[question.number] = Some(decision);
        self.chooser.begin(&decision, Operation::Copy, question.bytes);
        if let Choice::Device(_) = decision.choice { Side::Device } else { Side::Cpu }
    }

    fn by_device(&mut self, number: usize, bytes: u64, pending: u64, complete: u64) {
        if let Some(decision) = self.decisions[number].take() {
            self.chooser.end(&decision, Operation::Copy, bytes);
            let seen = Seen { pending, complete };
            self.chooser.completed_on_device(&decision, Operation::Copy, bytes, seen);
        }
    }

    fn by_cpu(&mut self, number: usize, bytes: u64, nanoseconds: u64) {
        if let Some(decision) = self.decisions[number].take() {
            self.chooser.completed_on_cpu(&decision, Operation::Copy, bytes, nanoseconds);
        }
    }
}
