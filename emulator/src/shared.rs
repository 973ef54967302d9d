//! What engines, clients and commands of a device share, and the engines' threads.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use idxd_sys::status;

use crate::command::CommandError;
use crate::config::{Config, ConfigError, WqConfig};
use crate::engine::{Engine, EngineSlot};
use crate::entry::ClientState;
use crate::events::Events;
use crate::fault::{FaultRule, Faults, RuleId, Watch};
use crate::gate::wq_state;
use crate::inside;
use crate::memory::Space;
use crate::observe::{ErrorLatch, SoftwareError};
use crate::permissions::Permissions;
use crate::queue::WorkQueue;
use crate::setup::Setup;
use crate::sleep::Sleepers;
use crate::try_lock::TryLock;

/// Values of the device's state word.
pub(crate) mod dev_state {
    pub(crate) const DISABLED: u8 = 0;
    pub(crate) const ENABLED: u8 = 1;
    /// Accepts nothing, executes what it has.
    pub(crate) const DRAINING: u8 = 2;
    /// A hardware error: accepts nothing, discards what it has, until a reset.
    pub(crate) const HALTED: u8 = 3;
    /// Accepts nothing, discards what it has, for the time of a command.
    pub(crate) const ABORTING: u8 = 4;
}

/// Everything engines, clients and commands share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) space: Space,
    /// Memory is trusted, nobody is told of events, and nothing is held back.
    may_be_plain: bool,
    pub(crate) queues: Box<[Arc<WorkQueue>]>,
    pub(crate) sleepers: Sleepers,
    pub(crate) engines: Box<[Arc<EngineSlot>]>,
    pub(crate) faults: Faults,
    pub(crate) errors: ErrorLatch,
    pub(crate) permissions: Permissions,
    pub(crate) shutdown: AtomicBool,
    /// Who is told of errors, interrupts and halts.
    pub(crate) events: Option<Arc<dyn Events>>,
    /// Aborts of single clients under way.
    aborting: AtomicUsize,
    /// Raised with every change of a group or queue; see `engine`. Not 0.
    pub(crate) epoch: AtomicU64,
    pub(crate) next_pasid: AtomicU32,
    state: AtomicU8,
    /// Held for the duration of every command that waits; halting does not take it.
    command: Mutex<()>,
    /// Held by drains, which change the class of new descriptors.
    drain: Mutex<()>,
    /// The engines of a device without threads.
    manual: TryLock<Vec<Engine>>,
}

impl Shared {
    /// The device's state.
    pub(crate) fn state(&self) -> u8 {
        self.state.load(Ordering::SeqCst)
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.state() == dev_state::ENABLED
    }

    /// Changes the device's state, whatever it is.
    pub(crate) fn set_state(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
        self.set_gates();
    }

    /// To be called after each change of what the gates depend on: see [`Circumstances`](crate::gate::Circumstances).
    pub(crate) fn set_gates(&self) {
        for queue in &self.queues {
            queue.set_gate(self);
        }
    }

    /// Whether each descriptor, and each submission, has to be looked at: there are rules, or there is an abort.
    pub(crate) fn is_unusual(&self) -> bool {
        self.faults.is_looking() || self.aborting.load(Ordering::SeqCst) != 0
    }

    /// Adds a rule; see [`Faults`].
    pub(crate) fn inject(&self, rule: FaultRule) -> RuleId {
        let id = self.faults.inject(rule);
        self.set_gates();
        id
    }

    /// Removes a rule.
    pub(crate) fn remove(&self, rule: RuleId) -> Option<u64> {
        let fired = self.faults.remove(rule);
        self.set_gates();
        fired
    }

    /// Lets somebody watch. The rules that they inject from then on may be injected directly.
    pub(crate) fn watch(&self, by: Arc<dyn Watch>, seed: u64) -> bool {
        let first = self.faults.watch(by, seed);
        self.set_gates();
        first
    }

    /// Ends the watch.
    pub(crate) fn unwatch(&self) {
        self.faults.unwatch();
        self.set_gates();
    }

    /// Discards what these clients have queued and stops what is executed of it, until
    /// [`end_abort`](Self::end_abort). Several may do so at a time.
    pub(crate) fn begin_abort(&self, clients: &[Arc<ClientState>]) {
        for client in clients {
            client.aborting.fetch_add(1, Ordering::SeqCst);
        }
        self.aborting.fetch_add(1, Ordering::SeqCst);
        self.set_gates();
    }

    /// Ends what [`begin_abort`](Self::begin_abort) has begun for these clients.
    pub(crate) fn end_abort(&self, clients: &[Arc<ClientState>]) {
        for client in clients {
            client.aborting.fetch_sub(1, Ordering::SeqCst);
        }
        self.aborting.fetch_sub(1, Ordering::SeqCst);
        self.set_gates();
    }

    pub(crate) fn halt(&self) {
        self.set_state(dev_state::HALTED);
        if let Some(events) = &self.events {
            events.halted();
        }
    }

    /// Whether nothing special can happen to a descriptor as long as no fault is injected: memory is trusted, nobody is told
    /// of events, nothing is held back.
    pub(crate) fn may_be_plain(&self) -> bool {
        self.may_be_plain
    }

    /// Whether nothing special can happen to a descriptor: memory is trusted, nobody is told of events, and no fault is
    /// injected.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.may_be_plain && !self.faults.active()
    }

    /// The index that stands for "no group".
    pub(crate) fn unassigned(&self) -> usize {
        self.config.limits.groups
    }

    /// Latches a software error.
    pub(crate) fn report(&self, error: SoftwareError) {
        if self.errors.report(error)
            && let Some(events) = &self.events
        {
            events.software_error();
        }
    }

    /// Latches that an entry found no place in the event log.
    pub(crate) fn report_lost_entry(&self) {
        self.report(SoftwareError::without_descriptor(status::SWERR_EVENT_LOG));
    }

    /// Waits for a condition that the engines bring about. Without engine threads, runs descriptors meanwhile.
    pub(crate) fn wait_until(&self, done: impl Fn() -> bool) {
        let mut rounds = 0u32;
        while !done() {
            if self.config.manual && self.run_one() {
                continue;
            }
            rounds = rounds.saturating_add(1);
            if rounds < 64 {
                std::hint::spin_loop();
            } else if rounds < 256 {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }

    /// Takes and executes (or discards) one descriptor on this thread; only without engine threads.
    pub(crate) fn run_one(&self) -> bool {
        // Another thread inside makes progress for us; its turn counts as none of ours.
        let ran = self
            .manual
            .with(|engines| engines.iter_mut().any(|engine| engine.run_one_and_settle(self)))
            .unwrap_or(false);
        if ran && self.config.immediate {
            // What was submitted from inside that execution.
            self.run_submitted();
        }
        ran
    }

    /// The same until there is none; gives how many there were.
    pub(crate) fn run_until_idle(&self) -> usize {
        self.try_run_until_idle().unwrap_or(0)
    }

    /// `None` if another thread is at it.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    fn try_run_until_idle(&self) -> Option<usize> {
        let run = |engines: &mut Vec<Engine>| {
            let mut sum = 0;
            loop {
                let before = sum;
                for engine in &mut *engines {
                    while engine.run_one(self) {
                        sum += 1;
                    }
                    engine.settle();
                }
                if sum == before {
                    return sum;
                }
            }
        };
        self.manual.with(run)
    }

    /// Sees to it that what this thread has submitted is executed. Another thread that is at it may have looked too early. If
    /// it is this thread that is at it, further up, then it goes on with what is queued when it has ended what it executes.
    pub(crate) fn run_submitted(&self) {
        while self.queues.iter().any(|queue| !queue.is_empty()) && self.try_run_until_idle().is_none() {
            if inside::is_inside(self) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Waits until everything that these clients have submitted before the call has ended. What they submit during
    /// it is not waited for, so this ends also under load.
    pub(crate) fn drain(&self, clients: &[Arc<ClientState>]) {
        let _drain = self.drain.lock().unwrap_or_else(PoisonError::into_inner);
        // What is left of the class that the last drain closed: a submitter may have read the class before it changed.
        for client in clients {
            let closed = 1 - client.class();
            self.wait_until(|| client.outstanding_of(closed) == 0);
        }
        for client in clients {
            let closed = client.change_class();
            self.wait_until(|| client.outstanding_of(closed) == 0);
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queues.iter().all(|queue| queue.is_idle())
    }

    pub(crate) fn commands(&self) -> MutexGuard<'_, ()> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the device through a transient state until it is idle. A halt that comes between wins.
    pub(crate) fn pass_through(&self, transient: u8, end: u8) -> Result<(), CommandError> {
        self.change(dev_state::ENABLED, transient).map_err(|_| CommandError::DeviceNotEnabled)?;
        self.wait_until(|| self.is_idle());
        self.change(transient, end).map_err(|_| CommandError::DeviceNotEnabled)
    }

    /// Changes the device's state if it is `from`; otherwise gives what it is.
    pub(crate) fn change(&self, from: u8, to: u8) -> Result<(), u8> {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)?;
        self.set_gates();
        Ok(())
    }

    pub(crate) fn set_queues(&self, state: u8) {
        for queue in &self.queues {
            queue.set_state(self, state);
        }
    }
}

impl Shared {
    fn new(config: Config, space: Space, events: Option<Arc<dyn Events>>, start: Start) -> (Self, Vec<Engine>) {
        let queue = |(index, q): (usize, &WqConfig)| {
            // A queue that is configured later can have all entries of the device.
            let capacity = if start == Start::Enabled { q.size } else { config.total_entries };
            Arc::new(WorkQueue::new(index, Setup::new(q), usize::from(capacity)))
        };
        let queues: Box<[_]> = config.queues.iter().enumerate().map(queue).collect();
        let engines =
            config.engines.iter().map(|group| Arc::new(EngineSlot::new(*group, queues.len()))).collect::<Box<[_]>>();
        let mut machines: Vec<_> = (0..).zip(&engines).map(|(i, slot)| Engine::new(&config, i, slot)).collect();
        // One more group than there are: engines without one sleep there.
        let sleepers = Sleepers::new(config.limits.groups + 1);
        if config.immediate {
            sleepers.always_wake();
        }
        let manual = if config.manual { std::mem::take(&mut machines) } else { Vec::new() };
        let shared = Self {
            faults: Faults::new(&config.faults, config.seed),
            may_be_plain: matches!(space, Space::Trusted) && events.is_none() && config.pace.is_none(),
            permissions: Permissions::new(&config),
            config,
            space,
            queues,
            sleepers,
            engines,
            errors: ErrorLatch::default(),
            shutdown: AtomicBool::new(false),
            events,
            aborting: AtomicUsize::new(0),
            epoch: AtomicU64::new(1),
            next_pasid: AtomicU32::new(1),
            state: AtomicU8::new(dev_state::DISABLED),
            command: Mutex::new(()),
            drain: Mutex::new(()),
            manual: TryLock::new(manual),
        };
        if start == Start::Enabled {
            shared.set_state(dev_state::ENABLED);
            shared.set_queues(wq_state::ENABLED);
        }
        (shared, machines)
    }
}

/// What a device begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Device and queues enabled, as the configuration says.
    Enabled,
    /// As after a reset.
    Unconfigured,
}

/// Owns the engine threads: its drop ends them. Devices and clients share it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) threads: Vec<JoinHandle<()>>,
}

impl Handle {
    /// Makes a device of a resolved configuration, and starts its engines.
    pub(crate) fn start(
        config: Config,
        space: Space,
        events: Option<Arc<dyn Events>>,
        start: Start,
    ) -> Result<Arc<Self>, ConfigError> {
        let (shared, engines) = Shared::new(config, space, events, start);
        let mut handle = Self { shared: Arc::new(shared), threads: Vec::new() };
        for (index, engine) in engines.into_iter().enumerate() {
            let shared = Arc::clone(&handle.shared);
            let thread = std::thread::Builder::new()
                .name(format!("dsa-engine-{index}"))
                .spawn(move || engine.run(&shared))
                .map_err(|_| ConfigError::Thread)?;
            handle.threads.push(thread);
        }
        Ok(Arc::new(handle))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        self.shared.wake_all();
        for thread in self.threads.drain(..) {
            // An address space that drops the last handle from inside an engine must not wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                // An engine that panicked has printed its message; a drop must not add another panic.
                let _ = thread.join();
            }
        }
    }
}
