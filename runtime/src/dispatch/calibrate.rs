//! Where an accelerator's estimates begin, and the measurement of its own queues and of the CPU.
//!
//! The measurement runs while the accelerator is built, before anybody else has it. It is bounded: whatever the device does not
//! answer in time is given up, with the memory that it may still write, and estimated by the model.

use std::sync::Arc;
use std::time::Duration;

use idxd_sys::status;

use super::choice::{Calibration, Estimates, Machine, Measure, Quantity};
use super::job::{Extras, Plain, Work};
use super::submission::{Look, Submission};
use crate::clock;
use crate::device::Admission;
use crate::shared::Shared;
use crate::stats::Operation;

/// What an accelerator believes at first of how long operations take, on its queues and on the CPU. From then on it
/// follows what completions show. See [`Builder::calibration`](crate::Builder::calibration).
///
/// It matters to operations that the runtime decides about: with a fixed
/// [`Policy::min_device_size`](crate::Policy::min_device_size) there are none, and nothing is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Calibrate {
    /// **Modelled** times of Sapphire Rapids. Nothing is submitted, and nothing takes time. The default.
    #[default]
    Modelled,
    /// Measured when the accelerator is built, for at most 5 ms.
    AtStart,
    /// Measured when the accelerator is built, for at most this time. Copies come first, then fills, CRCs and comparisons;
    /// what there is no time for, and what the device does not answer, follows from the copies, or is modelled.
    Within(Duration),
    /// Measured before, on this machine and with these queues: what
    /// [`Accelerator::calibration`](crate::Accelerator::calibration) has given. For others it is an error of
    /// [`Builder::build`](crate::Builder::build).
    Given(Calibration),
}

impl From<Calibration> for Calibrate {
    fn from(calibration: Calibration) -> Self {
        Self::Given(calibration)
    }
}

impl Calibrate {
    /// How long a measurement may take, if there is to be one.
    pub(crate) fn budget(&self) -> Option<Duration> {
        match self {
            Self::AtStart => Some(Duration::from_millis(5)),
            Self::Within(budget) => Some(*budget),
            Self::Modelled | Self::Given(_) => None,
        }
    }

    /// The estimates to begin with. Measures if that is asked for.
    pub(crate) fn estimates(&self, shared: &Shared) -> Estimates {
        match (self, self.budget()) {
            (Self::Given(calibration), _) => calibration.estimates(),
            (_, Some(budget)) => {
                Calibration::measure(Machine::default(), budget, &mut Meter::new(shared, budget)).estimates()
            }
            _ => Estimates::modelled(),
        }
    }
}

/// The largest size that is measured, in bytes.
const LARGEST: usize = 256 << 10;
/// Bytes that are under way together at most.
const TOGETHER: usize = 1 << 20;
/// Operations that are under way together at most.
const MOST: usize = 16;
/// Short operations of the CPU are done so often for one time.
const OFTEN: u32 = 16;

/// Takes times of the first queue that does an operation, and of the CPU.
struct Meter<'a> {
    shared: &'a Shared,
    /// Ticks of the clock at which it is over.
    until: u64,
    /// Ticks that a device may take for an answer.
    patience: u64,
    /// Whether the device has not answered once.
    is_deaf: bool,
    memory: Arc<Memory>,
}

/// What operations work on. Nobody looks at it: the addresses are used, by a device or by the CPU engine.
struct Memory {
    source: usize,
    target: usize,
    /// `Vec`, since nothing is asserted of its content when it is moved.
    _source: Vec<u8>,
    _target: Vec<u8>,
}

impl Memory {
    fn new() -> Arc<Self> {
        let (mut source, mut target) = (vec![0x5a; LARGEST], vec![0x5a; TOGETHER]);
        Arc::new(Self {
            source: source.as_mut_ptr().expose_provenance(),
            target: target.as_mut_ptr().expose_provenance(),
            _source: source,
            _target: target,
        })
    }

    /// The `number`th of several operations that are under way together.
    fn job(&self, operation: Operation, bytes: usize, number: usize) -> Option<Plain> {
        let source = std::ptr::with_exposed_provenance(self.source);
        let target: *mut u8 = std::ptr::with_exposed_provenance_mut(self.target + number * bytes);
        Some(match operation {
            Operation::Copy => Plain::copy(source, target, bytes),
            Operation::Fill => Plain::fill(target, bytes, 0x5a5a_5a5a_5a5a_5a5a),
            Operation::Crc32c => Plain::crc32c(source, bytes, 0),
            Operation::CopyCrc32c => Plain::copy_crc32c(source, target, bytes, 0),
            // Whatever order they are measured in, all bytes are equal.
            Operation::Compare => Plain::compare(source, target.cast_const(), bytes),
            _ => return None,
        })
    }
}

impl<'a> Meter<'a> {
    fn new(shared: &'a Shared, budget: Duration) -> Self {
        let memory = Memory::new();
        // Not with the time that it takes to get memory, or to find out how fast the clock ticks.
        let (limit, now) = (clock::ticks(budget), clock::now());
        Self { shared, until: now.saturating_add(limit), patience: limit / 4, is_deaf: false, memory }
    }

    /// The CPU's time for one operation, in ticks.
    fn on_cpu(&self, operation: Operation, bytes: usize) -> Option<u64> {
        let often = if bytes <= 4096 { OFTEN } else { 1 };
        let job = self.memory.job(operation, bytes, 0)?;
        let begun = clock::now();
        for _ in 0..often {
            // SAFETY: the job is inside the memory of this value, and no device works on it: one that has not answered has
            // been left other memory.
            _ = std::hint::black_box(unsafe { job.run(job.left()) });
        }
        Some(clock::now().saturating_sub(begun) / u64::from(often))
    }

    /// The time for each of `count` operations that are submitted together, in ticks.
    fn on_device(&mut self, operation: Operation, bytes: usize, count: usize) -> Option<u64> {
        let mut out = Vec::with_capacity(count);
        let begun = clock::now();
        for number in 0..count {
            let Some(submission) = self.send(operation, bytes, number) else { break };
            out.push(submission);
        }
        let (sent, until) = (out.len() as u64, self.until.min(begun.saturating_add(self.patience)));
        let mut is_good = sent != 0;
        while let Some(submission) = out.pop() {
            is_good &= self.wait(submission, until);
        }
        let taken = clock::now().saturating_sub(begun);
        if self.is_deaf {
            // What is still out has the old.
            self.memory = Memory::new();
        }
        is_good.then(|| taken / sent)
    }

    fn send(&self, operation: Operation, bytes: usize, number: usize) -> Option<Submission> {
        let shared = self.shared;
        let job = self.memory.job(operation, bytes, number)?;
        let submission = Submission::acquire_from(shared, 0)?;
        for (index, queue) in (0..).zip(&shared.queues) {
            let (caps, record) = (queue.capabilities(), submission.record_addr(shared));
            let Ok(descriptor) = job.describe(bytes as u64, Extras::new(record, false, caps), caps) else { continue };
            // SAFETY: nothing is out on a fresh slot. The descriptor names the slot's record, and memory that is kept until it
            // has ended: here, or with the slot.
            let admission =
                unsafe { submission.send(shared, index, &descriptor, (operation, bytes as u64), clock::now()) };
            if admission == Admission::Accepted {
                return Some(submission);
            }
            break;
        }
        submission.free(shared);
        None
    }

    /// Waits for one, and says whether it has succeeded. One that does not come is left to the poller, with its memory.
    fn wait(&mut self, submission: Submission, until: u64) -> bool {
        loop {
            match submission.look(self.shared, false) {
                Look::Waiting if clock::now() < until => std::hint::spin_loop(),
                Look::Complete => {
                    // SAFETY: it is complete.
                    let is_good = unsafe { submission.record(self.shared) }.status == status::SUCCESS;
                    submission.free(self.shared);
                    return is_good;
                }
                Look::Lost(_) | Look::NotTaken => {
                    submission.free(self.shared);
                    return false;
                }
                Look::Waiting | Look::Runaway => {
                    self.is_deaf = true;
                    let memory = Arc::clone(&self.memory);
                    submission.detach(self.shared, || Box::new(memory));
                    return false;
                }
            }
        }
    }
}

impl Measure for Meter<'_> {
    fn time(&mut self, operation: Operation, bytes: u64, quantity: Quantity) -> Option<Duration> {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= LARGEST)?;
        if clock::now() >= self.until {
            return None;
        }
        let ticks = match quantity {
            Quantity::Cpu => self.on_cpu(operation, bytes)?,
            _ if self.is_deaf => return None,
            Quantity::Latency => self.on_device(operation, bytes, 1)?,
            Quantity::Service => self.on_device(operation, bytes, (TOGETHER / bytes).clamp(1, MOST))?,
        };
        Some(Duration::from_nanos(clock::to_nanos(ticks)))
    }
}
