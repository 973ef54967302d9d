//! What a work queue offers to a process, by the way in which descriptors get to it.
//!
//! Two attributes speak of operations: `op_cap` of the device and `op_config` of the queue. Both must have an operation
//! for it to be there, with one exception, BATCH. The driver cannot check the members of a batch. So it refuses batches
//! through `write(2)` on devices that it does not trust with unchecked descriptors (those of the first generation; some
//! kernels: all), and hides BATCH in `op_cap`. The device still executes batches that come through the portal.
//! `op_config`, which may show BATCH nevertheless, is then the only evidence that it does.
//!
//! Translation fetch is nothing without address translation services, so that a queue with `ats_disable` does not have it
//! (specification section 5.4). What DSACAP0 to DSACAP2 say comes from `dsacaps`. The limit of scatter-gather lists is one
//! of the queue, but no kernel shows it: the driver gives every queue that of DSACAP0. IDCAP is not shown at all.

#![forbid(unsafe_code)]

use idxd_sys::opcode;

use super::{Device, OpcodeSet, WorkQueue};
use crate::descriptor::Capabilities;

/// How descriptors get to a work queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// Through the mapped portal, by ENQCMD or MOVDIR64B. Mapping it usually needs `CAP_SYS_RAWIO`.
    Portal,
    /// Through `write(2)`: the kernel checks each descriptor and submits it.
    Write,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Support {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// The driver hides the answer; only a try can tell.
    Unknown,
}

impl WorkQueue {
    /// Whether BATCH may be sent to this queue of this device.
    pub fn batch(&self, device: &Device, via: Via) -> Support {
        let shown = |set: OpcodeSet| set.contains(opcode::BATCH);
        match (device.op_cap.map(shown), self.op_config.map(shown), via) {
            (Some(true), Some(true) | None, _) | (Some(false), Some(true), Via::Portal) => Support::Yes,
            // Where op_cap shows BATCH, nothing is hidden, and the owner has switched it off.
            (Some(true), Some(false), _) | (Some(false), _, Via::Write) => Support::No,
            (None, ..) | (Some(false), Some(false) | None, Via::Portal) => Support::Unknown,
        }
    }

    /// The operations that this queue of this device executes; BATCH only where it is certain, translation fetch only
    /// where the queue translates addresses. `None` if the device's `op_cap` is not known.
    pub fn operations(&self, device: &Device, via: Via) -> Option<OpcodeSet> {
        let op_cap = device.op_cap?;
        let mut both = self.op_config.map_or(op_cap, |op_config| op_cap & op_config);
        if self.ats_disable == Some(true) {
            both = both.without(opcode::TRANSL_FETCH);
        }
        Some(match self.batch(device, via) {
            Support::Yes => both.with(opcode::BATCH),
            Support::No | Support::Unknown => both.without(opcode::BATCH),
        })
    }

    /// What descriptors for this queue of this device may ask for. `None` if the device's `version`, `gen_cap` or
    /// `op_cap` is not known.
    ///
    /// ```
    /// use dsa::device::{Topology, Via};
    ///
    /// for (device, queue) in Topology::read().work_queues() {
    ///     if let Some(capabilities) = queue.capabilities(device, Via::Write) {
    ///         println!("{}: {} bytes at most", queue.id, capabilities.max_transfer_size());
    ///     }
    /// }
    /// ```
    pub fn capabilities(&self, device: &Device, via: Via) -> Option<Capabilities> {
        self.capabilities_for(device, self.operations(device, via)?)
    }

    /// As [`WorkQueue::capabilities`], with other operations than those that the driver admits to: for BATCH, once a
    /// try through the portal has shown that the device executes it.
    pub fn capabilities_for(&self, device: &Device, operations: OpcodeSet) -> Option<Capabilities> {
        let mut capabilities = Capabilities::new(device.version?, device.gen_cap?, operations.words())
            .with_dsa_caps(device.dsa_caps.unwrap_or([0; 3]));
        for bytes in [device.max_transfer_size, self.max_transfer_size].into_iter().flatten() {
            capabilities = capabilities.with_max_transfer_size(bytes);
        }
        for members in [device.max_batch_size, self.max_batch_size].into_iter().flatten() {
            capabilities = capabilities.with_max_batch_size(members);
        }
        // Without page requests there is nothing to block on, whatever block_on_fault says.
        let block_on_fault = self.block_on_fault == Some(true) && self.prs_disable != Some(true);
        Some(capabilities.with_block_on_fault(block_on_fault))
    }
}
