//! The device as its user sees it: construction, state, counters, injection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::client::{Client, OpenError};
use crate::config::{Config, ConfigError};
use crate::events::Events;
use crate::fault::{FaultRule, RuleId};
use crate::memory::{AddressSpace, Requester, Space};
use crate::observe::{Counters, SoftwareError};
use crate::permissions::Permissions;
use crate::shared::{Handle, Shared, Start, dev_state};

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
        Self::build(config, Space::of(memory)?)
    }

    fn build(config: Config, space: Space) -> Result<Self, ConfigError> {
        Ok(Self { handle: Handle::start(config.resolve()?, space, None, Start::Enabled)? })
    }

    /// A disabled device whose queues and engines are configured later.
    pub(crate) fn unconfigured(config: Config, space: Space, events: Arc<dyn Events>) -> Result<Self, ConfigError> {
        Ok(Self { handle: Handle::start(config, space, Some(events), Start::Unconfigured)? })
    }

    /// Opens a work queue with a PASID of its own.
    pub fn open(&self, wq: usize) -> Result<Client, OpenError> {
        // 20 bits; after a million opens numbers come again, which only makes drains wait for more.
        let pasid = self.handle.shared.next_pasid.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
        self.open_with_pasid(wq, pasid)
    }

    /// Opens a work queue with a given PASID, as a second open by the same process does.
    pub fn open_with_pasid(&self, wq: usize, pasid: u32) -> Result<Client, OpenError> {
        self.open_as(wq, Requester { pasid: Some(pasid), privileged: false })
    }

    /// Opens a work queue for any requester: with a PASID, without, or privileged, as a queue of the kernel is.
    pub fn open_as(&self, wq: usize, by: Requester) -> Result<Client, OpenError> {
        Client::open(&self.handle, wq, by)
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
        match self.shared().state() {
            dev_state::ENABLED => DeviceState::Enabled,
            dev_state::HALTED => DeviceState::Halted,
            dev_state::DRAINING | dev_state::ABORTING => DeviceState::Draining,
            _ => DeviceState::Disabled,
        }
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
            let of_queue = queue.counters();
            sum.accepted += of_queue.accepted;
            sum.retries += of_queue.retries;
            sum.dropped += of_queue.dropped;
            sum.queues.push(of_queue);
        }
        for slot in &shared.engines {
            slot.counters.add_to(&mut sum);
        }
        sum
    }

    /// The Inter-Domain Permissions Table.
    pub fn permissions(&self) -> &Permissions {
        &self.shared().permissions
    }

    /// Adds an injection rule. It applies to descriptors that start after the call.
    pub fn inject(&self, rule: FaultRule) -> RuleId {
        self.shared().inject(rule)
    }

    /// Removes an injection rule and says how often it fired; `None` if there is no such rule.
    pub fn remove(&self, rule: RuleId) -> Option<u64> {
        self.shared().remove(rule)
    }

    /// Takes one queued descriptor and executes it on this thread. Only with [`Config::manual`]: a device with
    /// engine threads returns `false` at once, as one does that has nothing queued or is running on another thread.
    pub fn run_one(&self) -> bool {
        self.shared().run_one()
    }

    /// [`run_one`](Self::run_one) until it returns `false`; returns the number of descriptors taken.
    pub fn run_until_idle(&self) -> usize {
        self.shared().run_until_idle()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    pub(crate) fn of(handle: Arc<Handle>) -> Self {
        Self { handle }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("state", &self.state()).field("config", self.config()).finish()
    }
}
