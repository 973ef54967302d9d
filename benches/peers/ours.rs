//! What this project offers: the runtime's copies and its batches, on a software device.
//!
//! One device serves them all, with one engine on the device's core. The runtime has one of its queues, the ring another, so
//! that only one engine ever spins. A second runtime, on the third queue, shows what it is that operations travel together.

use dsa::stats::Path;
use dsa::{Accelerator, BatchBuffers, Policy};
use dsa_emulator::{Config, Device, WqConfig};
use idxd_sys::instr::rdtsc;

use super::arena::{Pair, Source, Target};
use super::ledger::{self, Plan, Slice};
use super::machine::Cores;
use super::ring::Ring;
use super::variant::{ALONE, BATCH, Copier, Guard, OURS, Stage, Tasks, Variant, closed};

/// Members of a batch.
const MEMBERS: usize = 32;
/// Entries of each queue: the greatest depth fits, which it would not on a device of 128 entries.
pub(crate) const ENTRIES: u16 = 1_024;

/// The device, and the runtime on it.
pub(crate) struct Ours {
    device: Device,
    pub(crate) accelerator: Accelerator,
    /// It collects nothing.
    alone: Accelerator,
}

impl Ours {
    pub(crate) fn new(cores: &Cores) -> Self {
        let queue = || WqConfig::shared(ENTRIES);
        let mut config = Config::sapphire_rapids().queue(queue()).queue(queue()).queue(queue());
        config.total_entries = 3 * ENTRIES;
        let device = cores.on_device(|| Device::new(config)).expect("the configuration is valid");
        let open = |policy, queue| {
            let builder = Accelerator::builder().policy(policy).emulator_queue(&device, queue);
            cores.anywhere(|| builder.build()).expect("the model can be opened")
        };
        let accelerator = open(policy(ENTRIES.into()), 0);
        let mut policy = policy(ENTRIES.into());
        policy.batch_limit = 1;
        let alone = open(policy, 2);
        Self { device, accelerator, alone }
    }

    /// The variants of this module.
    pub(crate) fn all(&self) -> Vec<Box<dyn Variant>> {
        let runtime = Copies(self.accelerator.clone());
        let ring = Ring::new(self.device.open(1).expect("the second queue is free"));
        let alone = Tasks::boxed(ALONE, Copies(self.alone.clone()));
        vec![Box::new(ring), Tasks::boxed(OURS, runtime.clone()), alone, Box::new(Batches(runtime))]
    }
}

/// The default limits, except that every size goes to the device, and that one lane has room for every depth.
pub(crate) fn policy(slots: usize) -> Policy {
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    policy.slots_per_lane = slots;
    policy
}

/// One operation for each copy.
#[derive(Clone)]
pub(crate) struct Copies(pub(crate) Accelerator);

impl Copier for Copies {
    async fn copy(&self, pair: Pair) -> Pair {
        // Device only: an error instead of a number that is the CPU's.
        let copied = self.0.copy(pair.source, pair.target).device_only().await;
        let (source, target) = copied.expect("the model takes it");
        Pair { source, target }
    }

    fn check(&self) {
        assert_eq!(self.0.stats().total_operations(Path::Cpu), 0, "the CPU has done some of the work");
    }
}

/// Batches of [`MEMBERS`] copies.
struct Batches(Copies);

impl Variant for Batches {
    fn name(&self) -> &'static str {
        BATCH
    }

    fn unit(&self) -> usize {
        MEMBERS
    }

    fn run(&mut self, stage: &Stage, plan: &Plan) -> Slice {
        closed(stage, plan, plan.depth / MEMBERS, |guard| batches(self.0.0.clone(), guard))
    }

    fn check(&self) {
        self.0.check();
    }
}

/// One task: one batch after the other.
async fn batches(accelerator: Accelerator, guard: Guard) {
    loop {
        let begun = rdtsc();
        let mut batch = accelerator.batch::<Source, Target>();
        ledger::with(|ledger| {
            for _ in 0..MEMBERS {
                let Some(pair) = ledger.take() else { break };
                batch.copy(pair.source, pair.target);
            }
        });
        if batch.is_empty() {
            return drop(guard);
        }
        let items = batch.submit().await;
        let ticks = rdtsc() - begun;
        ledger::with(|ledger| {
            for item in items {
                let Some(BatchBuffers::Copy(source, target)) = item.buffers else { panic!("a copy of a copy") };
                assert!(item.result.is_ok(), "a copy ended with {:?}", item.result);
                ledger.give_back(Pair { source, target }, ticks);
            }
        });
    }
}
