//! Between the operations of an accelerator and its [`Chooser`]: questions, the load of the queues, samples.
//!
//! Nothing here is used by an accelerator whose policy has a fixed [`min_device_size`](super::Policy::min_device_size).
//!
//! **Load.** A descriptor counts from its acceptance, or from when it is collected, on ([`Shared::begun`]), and until its place in the queue comes back
//! ([`Shared::ended`]), by whoever sees to that. What it counts for lies in its slot.
//!
//! **Samples.** Of the operations of a lane one at a time is watched more closely: when it was last seen incomplete, and
//! when complete. Its decision lies here, since a future has no room for it. One that is not seen to end in time gives way to the
//! next, and whoever sends something else from its slot forgets it.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use idxd_sys::opcode;

use super::choice::{Charge, Choice, Chooser, Decision, Estimates, Inputs, Options, QueueSetup, Seen, Why};
use super::nodes::Nodes;
use super::policy::Policy;
use super::quick::Templates;
use crate::clock;
use crate::descriptor::Capabilities;
use crate::device::Queue;
use crate::lane::slot::{Slot, Stamp};
use crate::shared::Shared;
use crate::stats::{Operation, Reason};

/// A sample that has not ended after this time gives way to the next.
const PATIENCE: Duration = Duration::from_millis(10);

/// The chooser of an accelerator, and the samples that are under way.
pub(crate) struct Asking {
    chooser: Chooser,
    lanes: Box<[CachePadded<Samples>]>,
    nodes: Nodes,
    /// By queue.
    templates: Box<[Templates]>,
    /// Ticks of the clock from which the chooser's time counts.
    origin: u64,
    /// [`PATIENCE`] in ticks.
    patience: u64,
}

/// What is watched of a lane's operations.
#[derive(Debug, Default)]
struct Samples {
    /// The slot of the sample that is with a device, plus 1; 0 if there is none.
    slot: AtomicU32,
    /// Ticks at its submission.
    since: AtomicU64,
    /// Ticks at the last look that found it incomplete; 0 if there was none.
    pending: AtomicU64,
    /// Only ever tried, by those of one lane: it is free, or somebody else's sample is written just now, and this one is lost.
    with_device: Mutex<Option<Sample>>,
    /// Whether there is one for the CPU.
    is_for_cpu: AtomicBool,
    /// The decision that was made last, if it was for the CPU and is a sample.
    for_cpu: Mutex<Option<Sample>>,
}

/// A decision from which something is to be learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    decision: Decision,
    operation: Operation,
    bytes: u64,
}

impl Asking {
    /// The most queues among which a chooser chooses.
    pub(crate) const MOST_QUEUES: usize = 64;

    /// Whether there is anything to choose.
    pub(crate) fn is_wanted(policy: &Policy, queues: usize) -> bool {
        policy.min_device_size.is_none() && (1..=Self::MOST_QUEUES).contains(&queues)
    }

    /// What a queue takes the short way.
    #[inline]
    pub(crate) fn templates(&self, queue: u32) -> Option<&Templates> {
        self.templates.get(queue as usize)
    }

    /// A chooser for the queues and lanes, at most [`MOST_QUEUES`](Self::MOST_QUEUES).
    pub(crate) fn new(shared: &Shared, estimates: Estimates) -> Box<Self> {
        let (queues, lanes) = (&shared.queues, shared.lanes.len());
        let setups: Vec<_> = queues.iter().map(setup).collect();
        let is_far = queues.iter().any(|queue| !queue.submitter().distances().is_empty());
        Box::new(Self {
            nodes: if is_far { Nodes::read() } else { Nodes::default() },
            chooser: Chooser::new(&setups, lanes, &Options::default(), estimates),
            templates: queues.iter().map(|queue| Templates::of(queue.capabilities(), 1)).collect(),
            lanes: (0..lanes).map(|_| CachePadded::default()).collect(),
            origin: clock::now(),
            patience: clock::ticks(PATIENCE),
        })
    }

    pub(crate) fn chooser(&self) -> &Chooser {
        &self.chooser
    }

    /// Nanoseconds by the chooser's clock, which never says 0.
    #[inline]
    fn nanos(&self, ticks: u64) -> u64 {
        clock::to_nanos(ticks.saturating_sub(self.origin)) + 1
    }

    /// Who does an operation of `lane`, with `company` others in flight there, at `now` ticks. `None` is the device, by
    /// whatever queue there is.
    pub(crate) fn ask(
        &self,
        lane: u32,
        company: usize,
        operation: Operation,
        bytes: u64,
        now: u64,
    ) -> Result<Option<Decision>, Reason> {
        let mut inputs = Inputs::new(operation, bytes);
        (inputs.lane, inputs.node, inputs.now) = (lane, self.nodes.here(), self.nanos(now));
        inputs.company = company as u32;
        let decision = self.chooser.choose(&inputs);
        match decision.choice {
            Choice::Device(_) => Ok(Some(decision)),
            // Which of the many ways there are not to have a queue is found out by trying.
            Choice::Cpu(Why::NoQueue) => Ok(None),
            Choice::Cpu(why) => {
                let samples = &self.lanes[lane as usize];
                if decision.sample
                    && let Ok(mut sample) = samples.for_cpu.try_lock()
                {
                    *sample = Some(Sample { decision, operation, bytes });
                    samples.is_for_cpu.store(true, Relaxed);
                }
                Err(reason_of(why))
            }
        }
    }

    /// The decision about an operation that the CPU begins now, if that is to be timed.
    #[inline]
    fn take_for_cpu(&self, lane: u32, operation: Operation, bytes: u64) -> Option<Sample> {
        let samples = &self.lanes[lane as usize];
        if !samples.is_for_cpu.load(Relaxed) {
            return None;
        }
        samples.is_for_cpu.store(false, Relaxed);
        let sample = samples.for_cpu.try_lock().ok()?.take();
        // Another one of the lane may have come in between.
        sample.filter(|sample| (sample.operation, sample.bytes) == (operation, bytes))
    }

    #[inline]
    fn end(&self, queue: u32, slot: &Slot) {
        // Nothing, if it was sent before there was a chooser.
        if let Some(charge) = Charge::from_word(slot.charge()) {
            self.chooser.end_charge(queue, charge);
        }
    }

    /// Watches a descriptor that has just gone.
    fn watch(&self, lane: u32, slot: u32, sample: Sample, now: u64) {
        let samples = &self.lanes[lane as usize];
        let is_free = samples.slot.load(Relaxed) == 0;
        let is_stale = || now.saturating_sub(samples.since.load(Relaxed)) > self.patience;
        if !(is_free || is_stale()) {
            return;
        }
        if let Ok(mut place) = samples.with_device.try_lock() {
            *place = Some(sample);
            samples.since.store(now, Relaxed);
            samples.pending.store(0, Relaxed);
            samples.slot.store(slot + 1, Relaxed);
        }
    }

    #[cold]
    fn learn(&self, samples: &Samples) {
        samples.slot.store(0, Relaxed);
        let Ok(mut place) = samples.with_device.try_lock() else { return };
        let Some(Sample { decision, operation, bytes }) = place.take() else { return };
        let since = samples.since.load(Relaxed);
        let until = |ticks: u64| clock::to_nanos(ticks.saturating_sub(since));
        let seen = Seen { pending: until(samples.pending.load(Relaxed)), complete: until(clock::now()) };
        self.chooser.completed_on_device(&decision, operation, bytes, seen);
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("chooser", &self.chooser).finish_non_exhaustive()
    }
}

impl Shared {
    /// See [`Asking::ask`], of an operation that would begin now on the calling thread's lane. Without a chooser: the device, by
    /// whatever queue there is.
    pub(crate) fn ask(&self, operation: Operation, bytes: u64, now: u64) -> Result<Option<Decision>, Reason> {
        let Some(asking) = &self.asking else { return Ok(None) };
        let lane = self.lane_index();
        asking.ask(lane, self.lanes[lane as usize].in_flight(), operation, bytes, now)
    }

    /// A queue has accepted a descriptor for `bytes` bytes.
    #[inline]
    pub(crate) fn begun(&self, lane: u32, slot: u32, queue: u32, (operation, bytes): (Operation, u64), now: u64) {
        let Some(asking) = &self.asking else { return };
        let charge = asking.chooser.charge(queue, operation, bytes);
        self.lanes[lane as usize].slot(slot).set_charge(charge.word());
        asking.chooser.begin_charge(queue, charge, asking.nanos(now));
        let samples = &asking.lanes[lane as usize];
        if samples.slot.load(Relaxed) == slot + 1 {
            samples.slot.store(0, Relaxed);
        }
    }

    /// A descriptor that a queue had accepted has completed or is lost: its place comes back, once.
    #[inline]
    pub(crate) fn ended(&self, slot: &Slot) {
        let stamp = slot.stamped();
        self.returned(stamp);
        if let Some(asking) = &self.asking {
            asking.end(stamp.queue(), slot);
        }
    }

    /// The place in the queue comes back, if the descriptor had one of its own.
    #[inline]
    pub(crate) fn returned(&self, stamp: Stamp) {
        if stamp.has_credit() {
            self.queues[stamp.queue() as usize].return_credit();
        }
    }

    /// Only what there is to note of such an end, if the descriptor has done all of its operation.
    #[inline]
    pub(crate) fn noted_done(&self, lane: u32, number: u32, slot: &Slot) {
        let Some(asking) = &self.asking else { return };
        asking.end(slot.stamped().queue(), slot);
        self.seen_done(lane, number);
    }

    /// The descriptor that has just gone from a slot by a decision does all of the operation.
    pub(crate) fn sampled(&self, lane: u32, slot: u32, decision: &Decision, load: (Operation, u64), now: u64) {
        if let (Some(asking), true) = (&self.asking, decision.sample) {
            asking.watch(lane, slot, Sample { decision: *decision, operation: load.0, bytes: load.1 }, now);
        }
    }

    /// What went from a slot is not complete yet.
    #[inline]
    pub(crate) fn seen_pending(&self, lane: u32, slot: u32) {
        let Some(asking) = &self.asking else { return };
        let samples = &asking.lanes[lane as usize];
        if samples.slot.load(Relaxed) == slot + 1 {
            samples.pending.store(clock::now(), Relaxed);
        }
    }

    /// What went from a slot has done all of its operation.
    #[inline]
    pub(crate) fn seen_done(&self, lane: u32, slot: u32) {
        let Some(asking) = &self.asking else { return };
        let samples = &asking.lanes[lane as usize];
        if samples.slot.load(Relaxed) == slot + 1 {
            asking.learn(samples);
        }
    }

    /// A queue was full, as often as it was asked.
    pub(crate) fn seen_full(&self, queue: u32, now: u64) {
        if let Some(asking) = &self.asking {
            asking.chooser.note_full(queue, asking.nanos(now));
        }
    }

    /// Something has been out on a queue since `at`.
    pub(crate) fn seen_out(&self, queue: u32, at: u64) {
        if let Some(asking) = &self.asking {
            let now = clock::now();
            asking.chooser.overdue(queue, clock::to_nanos(now.saturating_sub(at)), asking.nanos(now));
        }
    }

    /// A queue is closed, or open again.
    pub(crate) fn set_open(&self, queue: usize, is_open: bool) {
        if let Some(asking) = &self.asking {
            asking.chooser.set_open(queue as u32, is_open);
        }
    }

    /// See [`Asking::take_for_cpu`].
    #[inline]
    pub(crate) fn sample_for_cpu(&self, operation: Operation, bytes: u64) -> Option<Sample> {
        self.asking.as_ref()?.take_for_cpu(self.lane_index(), operation, bytes)
    }

    /// The CPU was busy for so many ticks with `bytes` bytes of a sample, its first ones.
    #[cold]
    pub(crate) fn seen_on_cpu(&self, sample: &Sample, bytes: u64, ticks: u64) {
        if let Some(asking) = &self.asking {
            asking.chooser.completed_on_cpu(&sample.decision, sample.operation, bytes, clock::to_nanos(ticks));
        }
    }
}

/// What the chooser is to know of a queue.
fn setup(queue: &Queue) -> QueueSetup {
    let caps = queue.capabilities();
    let lacks = |operation: &&Operation| !offers(caps, **operation);
    let setup = QueueSetup::new().distances(queue.submitter().distances());
    Operation::ALL.iter().filter(lacks).fold(setup, |setup, &operation| setup.without(operation))
}

/// Whether a queue takes descriptors of a kind at all.
fn offers(caps: &Capabilities, operation: Operation) -> bool {
    caps.supports(match operation {
        Operation::Copy => opcode::MEMMOVE,
        Operation::Fill => opcode::FILL,
        Operation::Compare => opcode::COMPARE,
        Operation::Dualcast => opcode::DUALCAST,
        Operation::Crc32c | Operation::Crc64 => opcode::CRCGEN,
        Operation::CopyCrc32c | Operation::CopyCrc64 => opcode::COPY_CRC,
        Operation::ComparePattern => opcode::COMPVAL,
        Operation::CreateDelta => opcode::CR_DELTA,
        Operation::ApplyDelta => opcode::AP_DELTA,
        Operation::DifCheck => opcode::DIF_CHECK,
        Operation::DifInsert => opcode::DIF_INS,
        Operation::DifStrip => opcode::DIF_STRP,
        Operation::DifUpdate => opcode::DIF_UPDT,
        Operation::DixGenerate => opcode::DIX_GEN,
        Operation::CacheFlush => opcode::CFLUSH,
        Operation::TranslationFetch => opcode::TRANSL_FETCH,
        Operation::Drain => opcode::DRAIN,
        Operation::GatherCopy => opcode::GATHER_COPY,
        Operation::ScatterCopy => opcode::SCATTER_COPY,
        Operation::ScatterFill => opcode::SCATTER_FILL,
        Operation::TypeConvert => opcode::TYPE_CONV,
        Operation::Reduce => opcode::REDUCE,
        Operation::ReduceDualcast => opcode::REDUCE_DUALCAST,
        Operation::GatherReduce => opcode::GATHER_REDUCE,
    })
}

/// Why the CPU does it, in the words of the statistics.
pub(crate) const fn reason_of(why: Why) -> Reason {
    match why {
        Why::Forced => Reason::Forced,
        Why::BelowMinimum => Reason::BelowThreshold,
        Why::NoQueue => Reason::NoDevice,
        Why::Cheaper => Reason::Cheaper,
        Why::Busy => Reason::Busy,
        Why::Explored => Reason::Explored,
    }
}
