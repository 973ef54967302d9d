//! Commands: enabling, disabling, draining, aborting and resetting a device and its queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thiserror::Error;

use crate::config::WqConfig;
use crate::device::Device;
use crate::entry::ClientState;
use crate::gate::wq_state;
use crate::memory::Requester;
use crate::shared::dev_state;

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

impl Device {
    /// Enables a disabled device. Its queues stay disabled until [`enable_wq`](Self::enable_wq).
    pub fn enable(&self) -> Result<(), CommandError> {
        let shared = self.shared();
        let _command = shared.commands();
        match shared.change(dev_state::DISABLED, dev_state::ENABLED) {
            Ok(()) => Ok(()),
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
        queue.change_state(shared, wq_state::DISABLED, wq_state::ENABLED).map_err(|_| CommandError::WqEnabled)
    }

    /// Stops a queue from accepting, waits until its descriptors have ended, and disables it.
    pub fn disable_wq(&self, wq: usize) -> Result<(), CommandError> {
        self.wq_command(wq, wq_state::DRAINING, wq_state::DISABLED)
    }

    /// Waits until all descriptors that a queue has accepted before the call have ended. The queue goes on accepting.
    pub fn drain_wq(&self, wq: usize) -> Result<(), CommandError> {
        let shared = self.shared();
        let queue = shared.queues.get(wq).ok_or(CommandError::NoQueue)?;
        shared.drain(&queue.clients(|_| true));
        Ok(())
    }

    /// Discards what a queue holds and stops what it executes at the next chunk boundary, without records. Returns when
    /// that is done; the queue is then enabled again.
    pub fn abort_wq(&self, wq: usize) -> Result<(), CommandError> {
        self.wq_command(wq, wq_state::ABORTING, wq_state::ENABLED)
    }

    /// [`drain_wq`](Self::drain_wq) for all queues.
    pub fn drain_all(&self) {
        let all: Vec<_> = self.shared().queues.iter().flat_map(|q| q.clients(|_| true)).collect();
        self.shared().drain(&all);
    }

    /// Waits until all descriptors with a PASID that the device has accepted before the call have ended, and all that are
    /// using its memory through the permissions table.
    pub fn drain_pasid(&self, pasid: u32) {
        let shared = self.shared();
        shared.drain(&self.clients_of(pasid));
        let stays = shared.permissions.stays_in(pasid);
        shared.wait_until(|| shared.permissions.have_ended(&stays));
    }

    /// Discards what the queues hold of a PASID and stops what they execute of it at the next chunk boundary, without
    /// records. Descriptors of others that are using its memory through the permissions table end with status 0x2e. Other
    /// descriptors go on.
    pub fn abort_pasid(&self, pasid: u32) {
        let shared = self.shared();
        let clients = self.clients_of(pasid);
        shared.begin_abort(&clients);
        let stays = shared.permissions.evict(pasid);
        shared.drain(&clients);
        shared.wait_until(|| shared.permissions.have_ended(&stays));
        shared.end_abort(&clients);
    }

    /// [`abort_wq`](Self::abort_wq) for all queues.
    pub fn abort_all(&self) -> Result<(), CommandError> {
        let shared = self.shared();
        let _command = shared.commands();
        shared.pass_through(dev_state::ABORTING, dev_state::ENABLED)
    }

    /// Aborts everything and returns the device, halted or not, to the disabled state with all queues disabled and
    /// the software error and the permissions table cleared. Injection rules and counters stay.
    ///
    /// It does not wait for a command that waits for descriptors: those end, and with them the command.
    pub fn reset(&self) {
        let shared = self.shared();
        // Before the lock, whose holder may be waiting for descriptors.
        shared.set_state(dev_state::ABORTING);
        let _command = shared.commands();
        shared.set_state(dev_state::ABORTING);
        shared.wait_until(|| shared.is_idle());
        shared.set_queues(wq_state::DISABLED);
        shared.errors.clear();
        shared.permissions.clear();
        // A halt during the reset stays a halt.
        let _ = shared.change(dev_state::ABORTING, dev_state::DISABLED);
    }

    /// Stops the device as a hardware error does: nothing is accepted, queued descriptors are discarded, running ones
    /// end at the next chunk boundary, all without records. Does not wait. [`reset`](Self::reset) ends it.
    pub fn halt(&self) {
        self.shared().halt();
    }

    /// Configures a disabled queue. Its capacity is that of a device made unconfigured.
    pub(crate) fn configure_wq(&self, wq: usize, config: &WqConfig, by: Requester) -> Result<(), CommandError> {
        let shared = self.shared();
        let queue = shared.queues.get(wq).ok_or(CommandError::NoQueue)?;
        let _command = shared.commands();
        if queue.state() != wq_state::DISABLED {
            return Err(CommandError::WqEnabled);
        }
        // A submitter that came too late may still be on its way out.
        shared.wait_until(|| queue.is_idle());
        queue.setup.set(config, by);
        shared.reassign();
        Ok(())
    }

    /// Gives the engines of a disabled device to groups.
    pub(crate) fn configure_engines(&self, groups: &[usize]) {
        let shared = self.shared();
        let _command = shared.commands();
        for (slot, group) in shared.engines.iter().zip(groups) {
            slot.group.store(*group, Ordering::SeqCst);
        }
        shared.reassign();
    }

    pub(crate) fn is_wq_enabled(&self, wq: usize) -> bool {
        self.shared().queues[wq].state() == wq_state::ENABLED
    }

    /// Aborts a queue and disables it.
    pub(crate) fn reset_wq(&self, wq: usize) -> Result<(), CommandError> {
        self.wq_command(wq, wq_state::ABORTING, wq_state::DISABLED)
    }

    fn clients_of(&self, pasid: u32) -> Vec<Arc<ClientState>> {
        let wanted = |c: &ClientState| c.requester.pasid == Some(pasid);
        self.shared().queues.iter().flat_map(|q| q.clients(wanted)).collect()
    }

    fn wq_command(&self, wq: usize, transient: u8, end: u8) -> Result<(), CommandError> {
        let shared = self.shared();
        let queue = shared.queues.get(wq).ok_or(CommandError::NoQueue)?;
        let _command = shared.commands();
        queue.change_state(shared, wq_state::ENABLED, transient).map_err(|_| CommandError::WqNotEnabled)?;
        shared.wait_until(|| queue.is_idle());
        // Nothing else changes a queue's state while the command lock is held.
        let _ = queue.change_state(shared, transient, end);
        Ok(())
    }
}
