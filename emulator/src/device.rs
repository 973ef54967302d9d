//! The device: construction, commands, state, and what its threads share.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;

use crate::client::{Client, OpenError};
use crate::config::{Config, ConfigError};
use crate::engine::{Engine, EngineSlot, Group};
use crate::fault::{FaultRule, Faults, RuleId};
use crate::memory::{AddressSpace, Space};
use crate::observe::{Counters, ErrorLatch, SoftwareError};
use crate::queue::{WorkQueue, wq_state};

/// Values of the device's state word.
mod dev_state {
    pub(super) const DISABLED: u8 = 0;
    pub(super) const ENABLED: u8 = 1;
    /// Accepts nothing, executes what it has.
    pub(super) const DRAINING: u8 = 2;
    /// A hardware error: accepts nothing, discards what it has, until a reset.
    pub(super) const HALTED: u8 = 3;
    /// Accepts nothing, discards what it has, for the time of a command.
    pub(super) const ABORTING: u8 = 4;
}

/// The state of a device (GENSTS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceState {
    /// Accepts nothing.
    Disabled,
    /// Works.
    Enabled,
    /// A command is waiting for descriptors to end.
    Draining,
    /// Stopped by a hardware error; only a reset helps.
    Halted,
}

/// Why a command was refused. The codes are those of the command status register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// 0x10: the device is enabled already.
    #[error("the device is enabled already")]
    DeviceEnabled,
    /// 0x20: the device is not enabled.
    #[error("the device is not enabled")]
    DeviceNotEnabled,
    /// 0x21: the queue is enabled already.
    #[error("the work queue is enabled already")]
    WqEnabled,
    /// The queue is not enabled.
    #[error("the work queue is not enabled")]
    WqNotEnabled,
    /// There is no such queue.
    #[error("no such work queue")]
    NoQueue,
}

/// Everything engines, clients and commands share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) space: Space,
    pub(crate) queues: Box<[WorkQueue]>,
    pub(crate) groups: Box<[Group]>,
    pub(crate) engines: Box<[EngineSlot]>,
    pub(crate) faults: Faults,
    pub(crate) errors: ErrorLatch,
    pub(crate) shutdown: AtomicBool,
    state: AtomicU8,
    next_pasid: AtomicU32,
    /// Held for the duration of every command that waits; halting does not take it.
    command: Mutex<()>,
    /// The engines of a device without threads.
    manual: Mutex<Vec<Engine>>,
}

impl Shared {
    pub(crate) fn is_enabled(&self) -> bool {
        self.state.load(Ordering::SeqCst) == dev_state::ENABLED
    }

    pub(crate) fn halt(&self) {
        self.state.store(dev_state::HALTED, Ordering::SeqCst);
    }

    /// Whether a descriptor of this queue must not run, or go on running.
    #[inline]
    pub(crate) fn stops(&self, queue: &WorkQueue) -> bool {
        !matches!(self.state.load(Ordering::Acquire), dev_state::ENABLED | dev_state::DRAINING)
            || !matches!(queue.state.load(Ordering::Acquire), wq_state::ENABLED | wq_state::DRAINING)
    }

    /// Wakes an engine of a group if that is needed to get a descriptor executed that was pushed before the call.
    #[inline]
    pub(crate) fn wake(&self, group: usize) {
        self.groups[group].wake(&self.engines);
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
        let Ok(mut engines) = self.manual.try_lock() else { return false };
        engines.iter_mut().any(|engine| engine.run_one(self))
    }

    fn is_idle(&self) -> bool {
        self.queues.iter().all(WorkQueue::is_idle)
    }

    fn commands(&self) -> MutexGuard<'_, ()> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the device through a transient state until it is idle. A halt that comes between wins.
    fn pass_through(&self, transient: u8, end: u8) -> Result<(), CommandError> {
        self.change(dev_state::ENABLED, transient).map_err(|_| CommandError::DeviceNotEnabled)?;
        self.wait_until(|| self.is_idle());
        self.change(transient, end).map(drop).map_err(|_| CommandError::DeviceNotEnabled)
    }

    fn change(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn set_queues(&self, state: u8) {
        for queue in &self.queues {
            queue.state.store(state, Ordering::SeqCst);
        }
    }
}

/// Owns the engine threads: its drop ends them. Devices and clients share it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        // Pairs with the fence of an engine about to park.
        fence(Ordering::SeqCst);
        for slot in &self.shared.engines {
            slot.unpark();
        }
        for thread in self.threads.drain(..) {
            // An address space that drops the last handle from inside an engine must not wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                // An engine that panicked has printed its message; a drop must not add another panic.
                let _ = thread.join();
            }
        }
    }
}

/// A software device. Cheap to clone; the engines stop when the last clone and the last client are gone.
///
/// A new device is enabled, and so are its queues.
#[derive(Clone)]
pub struct Device {
    handle: Arc<Handle>,
}

impl Device {
    /// A device in this process's own address space: addresses in descriptors are pointers, trusted to be valid.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::build(config, Space::Trusted)
    }

    /// A device that reaches memory through an address space, such as [`CheckedMemory`](crate::CheckedMemory).
    pub fn with_memory(config: Config, memory: Arc<dyn AddressSpace>) -> Result<Self, ConfigError> {
        Self::build(config, Space::Custom(memory))
    }

    fn build(config: Config, space: Space) -> Result<Self, ConfigError> {
        let config = config.resolve()?;
        let queues: Box<[_]> = config.queues.iter().cloned().enumerate().map(|(i, q)| WorkQueue::new(i, q)).collect();
        let groups = (0..config.limits.groups).map(|g| Group::new(&config, g)).collect();
        let engines = config.engines.iter().map(|_| EngineSlot::default()).collect::<Box<[_]>>();
        let mut machines: Vec<_> = (0..config.engines.len()).map(|i| Engine::new(&config, i)).collect();
        let manual = if config.manual { std::mem::take(&mut machines) } else { Vec::new() };
        let shared = Arc::new(Shared {
            faults: Faults::new(&config.faults, config.seed),
            config,
            space,
            queues,
            groups,
            engines,
            errors: ErrorLatch::default(),
            shutdown: AtomicBool::new(false),
            state: AtomicU8::new(dev_state::ENABLED),
            next_pasid: AtomicU32::new(1),
            command: Mutex::new(()),
            manual: Mutex::new(manual),
        });
        let mut handle = Handle { shared, threads: Vec::new() };
        for (index, engine) in machines.into_iter().enumerate() {
            let shared = Arc::clone(&handle.shared);
            let thread = std::thread::Builder::new()
                .name(format!("dsa-engine-{index}"))
                .spawn(move || engine.run(&shared))
                .map_err(|_| ConfigError::Thread)?;
            handle.threads.push(thread);
        }
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Opens a work queue with a PASID of its own.
    pub fn open(&self, wq: usize) -> Result<Client, OpenError> {
        // 20 bits; after a million opens numbers come again, which only makes drains wait for more.
        let pasid = self.handle.shared.next_pasid.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
        self.open_with_pasid(wq, pasid)
    }

    /// Opens a work queue with a given PASID, as a second open by the same process does.
    pub fn open_with_pasid(&self, wq: usize, pasid: u32) -> Result<Client, OpenError> {
        Client::open(&self.handle, wq, pasid)
    }

    /// Number of work queues.
    pub fn work_queues(&self) -> usize {
        self.shared().queues.len()
    }

    /// The configuration with its defaults filled in.
    pub fn config(&self) -> &Config {
        &self.shared().config
    }

    /// The device's state.
    pub fn state(&self) -> DeviceState {
        match self.shared().state.load(Ordering::SeqCst) {
            dev_state::ENABLED => DeviceState::Enabled,
            dev_state::HALTED => DeviceState::Halted,
            dev_state::DRAINING | dev_state::ABORTING => DeviceState::Draining,
            _ => DeviceState::Disabled,
        }
    }

    /// Enables a disabled device. Its queues stay disabled until [`enable_wq`](Self::enable_wq).
    pub fn enable(&self) -> Result<(), CommandError> {
        let shared = self.shared();
        let _command = shared.commands();
        match shared.change(dev_state::DISABLED, dev_state::ENABLED) {
            Ok(_) => Ok(()),
            Err(dev_state::ENABLED) => Err(CommandError::DeviceEnabled),
            Err(_) => Err(CommandError::DeviceNotEnabled),
        }
    }

    /// Stops accepting, executes what is queued, then disables the device and all queues.
    pub fn disable(&self) -> Result<(), CommandError> {
        let shared = self.shared();
        let _command = shared.commands();
        shared.pass_through(dev_state::DRAINING, dev_state::DISABLED)?;
        shared.set_queues(wq_state::DISABLED);
        Ok(())
    }

    /// Enables a disabled queue of an enabled device.
    pub fn enable_wq(&self, wq: usize) -> Result<(), CommandError> {
        let shared = self.shared();
        let queue = shared.queues.get(wq).ok_or(CommandError::NoQueue)?;
        let _command = shared.commands();
        if !shared.is_enabled() {
            return Err(CommandError::DeviceNotEnabled);
        }
        let (from, to) = (wq_state::DISABLED, wq_state::ENABLED);
        queue
            .state
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .map(drop)
            .map_err(|_| CommandError::WqEnabled)
    }

    /// Stops a queue from accepting, waits until its descriptors have ended, and disables it.
    pub fn disable_wq(&self, wq: usize) -> Result<(), CommandError> {
        self.wq_command(wq, wq_state::DRAINING, wq_state::DISABLED)
    }

    /// Waits until all descriptors of a queue have ended. The queue goes on accepting, so this ends only when
    /// submitters pause.
    pub fn drain_wq(&self, wq: usize) -> Result<(), CommandError> {
        let shared = self.shared();
        let queue = shared.queues.get(wq).ok_or(CommandError::NoQueue)?;
        shared.wait_until(|| queue.is_idle());
        Ok(())
    }

    /// Discards what a queue holds and stops what it executes at the next chunk boundary, without records. Returns when
    /// that is done; the queue is then enabled again.
    pub fn abort_wq(&self, wq: usize) -> Result<(), CommandError> {
        self.wq_command(wq, wq_state::ABORTING, wq_state::ENABLED)
    }

    /// [`drain_wq`](Self::drain_wq) for all queues.
    pub fn drain_all(&self) {
        self.shared().wait_until(|| self.shared().is_idle());
    }

    /// [`abort_wq`](Self::abort_wq) for all queues.
    pub fn abort_all(&self) -> Result<(), CommandError> {
        let shared = self.shared();
        let _command = shared.commands();
        shared.pass_through(dev_state::ABORTING, dev_state::ENABLED)
    }

    /// Aborts everything and returns the device, halted or not, to the disabled state with all queues disabled and
    /// the software error cleared. Injection rules and counters stay.
    pub fn reset(&self) {
        let shared = self.shared();
        let _command = shared.commands();
        shared.state.store(dev_state::ABORTING, Ordering::SeqCst);
        shared.wait_until(|| shared.is_idle());
        shared.set_queues(wq_state::DISABLED);
        shared.errors.clear();
        // A halt during the reset stays a halt.
        let _ = shared.change(dev_state::ABORTING, dev_state::DISABLED);
    }

    /// Stops the device as a hardware error does: nothing is accepted, queued descriptors are discarded, running ones
    /// end at the next chunk boundary, all without records. Does not wait. [`reset`](Self::reset) ends it.
    pub fn halt(&self) {
        self.shared().halt();
    }

    /// The first software error since the last clear (SWERROR).
    pub fn software_error(&self) -> Option<SoftwareError> {
        self.shared().errors.get()
    }

    /// Clears the software error.
    pub fn clear_software_error(&self) {
        self.shared().errors.clear();
    }

    /// What the device has done so far.
    pub fn counters(&self) -> Counters {
        let shared = self.shared();
        let mut sum = Counters::default();
        for queue in &shared.queues {
            sum.accepted += queue.accepted();
            sum.retries += queue.retries.load(Ordering::Relaxed);
            sum.dropped += queue.dropped.load(Ordering::Relaxed);
        }
        for slot in &shared.engines {
            slot.counters.add_to(&mut sum);
        }
        sum
    }

    /// Adds an injection rule. It applies to descriptors that start after the call.
    pub fn inject(&self, rule: FaultRule) -> RuleId {
        self.shared().faults.inject(rule)
    }

    /// Removes an injection rule and says how often it fired; `None` if there is no such rule.
    pub fn remove(&self, rule: RuleId) -> Option<u64> {
        self.shared().faults.remove(rule)
    }

    /// Takes one queued descriptor and executes it on this thread. Only with [`Config::manual`]: a device with
    /// engine threads returns `false` at once, as one does that has nothing queued or is running on another thread.
    pub fn run_one(&self) -> bool {
        self.shared().run_one()
    }

    /// [`run_one`](Self::run_one) until it returns `false`; returns the number of descriptors taken.
    pub fn run_until_idle(&self) -> usize {
        std::iter::repeat_with(|| self.run_one()).take_while(|ran| *ran).count()
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    fn wq_command(&self, wq: usize, transient: u8, end: u8) -> Result<(), CommandError> {
        let shared = self.shared();
        let queue = shared.queues.get(wq).ok_or(CommandError::NoQueue)?;
        let _command = shared.commands();
        let change = |from, to| queue.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
        change(wq_state::ENABLED, transient).map_err(|_| CommandError::WqNotEnabled)?;
        shared.wait_until(|| queue.is_idle());
        // Nothing else changes a queue's state while the command lock is held.
        let _ = change(transient, end);
        Ok(())
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("state", &self.state()).field("config", self.config()).finish()
    }
}
