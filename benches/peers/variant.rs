//! What is compared: the names of the variants, what each can do, and the closed loop that the asynchronous ones share.

use std::future::Future;
use std::sync::Arc;

use idxd_sys::instr::rdtsc;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::arena::Pair;
use super::ledger::{self, Plan, Slice};
use super::machine::{Cores, Ticks};
use super::open_loop;

/// The harness itself: a copy by the submitting thread.
pub(crate) const INLINE: &str = "inline memcpy";
pub(crate) const SPAWN_BLOCKING: &str = "tokio spawn_blocking";
pub(crate) const RAYON: &str = "rayon spawn + oneshot";
pub(crate) const PARKED: &str = "parked thread, channel + oneshot";
pub(crate) const SPINNING: &str = "spinning thread, queue + oneshot";
pub(crate) const RING: &str = "raw ring, no tokio";
pub(crate) const OURS: &str = "dsa copy().await";
/// The same where each is sent by itself.
pub(crate) const ALONE: &str = "dsa copy().await, one by one";
pub(crate) const BATCH: &str = "dsa batch of 32";
pub(crate) const DPDK_1: &str = "DPDK skeleton, bursts of 1";
pub(crate) const DPDK_32: &str = "DPDK skeleton, bursts of 32";
/// Every design in which another thread answers through a oneshot channel.
pub(crate) const ONESHOTS: &[&str] = &[RAYON, PARKED, SPINNING];
/// The same, and `spawn_blocking`.
pub(crate) const THREADS: &[&str] = &[RAYON, PARKED, SPINNING, SPAWN_BLOCKING];

/// What the variants run on.
pub(crate) struct Stage {
    pub(crate) cores: Cores,
    pub(crate) ticks: Ticks,
    pub(crate) runtime: Runtime,
}

impl Stage {
    /// A runtime thread on the submitter's core, with all drivers that a service has; its blocking threads on the device's.
    pub(crate) fn new() -> Self {
        let cores = Cores::find();
        Cores::pin(cores.submitter);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().on_thread_start(move || Cores::pin(cores.device));
        Self { cores, ticks: Ticks::calibrate(), runtime: builder.build().expect("a runtime can be started") }
    }
}

/// One way to have bytes copied.
pub(crate) trait Variant {
    fn name(&self) -> &'static str;

    /// Operations come in multiples of this.
    fn unit(&self) -> usize {
        1
    }

    /// Whether it can have that many operations in flight.
    fn fits(&self, depth: usize) -> bool {
        depth >= self.unit()
    }

    /// A slice is about to begin.
    fn awake(&mut self) {}

    /// A closed loop.
    fn run(&mut self, stage: &Stage, plan: &Plan) -> Slice;

    /// An open loop: operations that are due at given ticks after the start, whether or not earlier ones have ended. Gives the
    /// ticks from when each was due until it was done; `None` if it has no such way.
    fn open(&mut self, _: &Stage, _due: &[u64]) -> Option<Vec<u32>> {
        None
    }

    /// The slice is over: nothing of it may use a core from now on.
    fn rest(&mut self) {}

    /// CPU nanoseconds that its process, if it has one, has used so far.
    fn helper(&self) -> u64 {
        0
    }

    /// The cell is over: whether all that was to be done by the device was.
    fn check(&self) {}
}

/// A way to have one pair copied that is awaited.
pub(crate) trait Copier: Clone + Send + Sync + 'static {
    fn copy(&self, pair: Pair) -> impl Future<Output = Pair> + Send;

    fn awake(&self) {}

    fn rest(&self) {}

    fn check(&self) {}
}

/// A [`Copier`] as a variant: one task for each operation in flight.
pub(crate) struct Tasks<C> {
    name: &'static str,
    copier: C,
}

impl<C: Copier> Tasks<C> {
    pub(crate) fn boxed(name: &'static str, copier: C) -> Box<dyn Variant> {
        Box::new(Self { name, copier })
    }
}

impl<C: Copier> Variant for Tasks<C> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn awake(&mut self) {
        self.copier.awake();
    }

    fn run(&mut self, stage: &Stage, plan: &Plan) -> Slice {
        let copier = &self.copier;
        closed(stage, plan, plan.depth, |guard| slot(copier.clone(), guard))
    }

    fn open(&mut self, stage: &Stage, due: &[u64]) -> Option<Vec<u32>> {
        Some(open_loop::run(stage, &self.copier, due))
    }

    fn rest(&mut self) {
        self.copier.rest();
    }

    fn check(&self) {
        self.copier.check();
    }
}

/// What each task of a loop holds: the loop has ended when the last one is dropped.
pub(crate) type Guard = Arc<oneshot::Sender<()>>;

/// Runs tasks until the ledger has no more work for them.
pub(crate) fn closed<F>(stage: &Stage, plan: &Plan, tasks: usize, task: impl Fn(Guard) -> F) -> Slice
where
    F: Future<Output = ()> + Send + 'static,
{
    ledger::with(|ledger| ledger.open(plan));
    run_all(stage, tasks, task);
    ledger::with(|ledger| ledger.close(stage.ticks))
}

/// Spawns tasks and waits for all of them.
pub(crate) fn run_all<F>(stage: &Stage, tasks: usize, task: impl Fn(Guard) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    stage.runtime.block_on(async {
        let (guard, end) = oneshot::channel();
        let guard = Arc::new(guard);
        for _ in 0..tasks {
            tokio::spawn(task(Arc::clone(&guard)));
        }
        drop(guard);
        // Nobody sends anything.
        let _ = end.await;
    });
}

/// One task: one operation after the other.
async fn slot<C: Copier>(copier: C, guard: Guard) {
    while let Some(pair) = ledger::with(ledger::Ledger::take) {
        let begun = rdtsc();
        let pair = copier.copy(pair).await;
        let ticks = rdtsc() - begun;
        ledger::with(|ledger| ledger.give_back(pair, ticks));
    }
    drop(guard);
}
