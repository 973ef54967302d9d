//! Why a work queue is not used.
//!
//! Each reason says on its own what is the case, where, and what to do about it.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::PathBuf;

use idxd_sys::opcode;

use super::criteria::{Criteria, Numa};
use super::{
    CommandStatus, Device, DeviceId, DeviceKind, DeviceState, NodeAccess, OpcodeSet, Ownership, QueueMode, QueueState,
    QueueType, Support, WorkQueue, WorkQueueId,
};

/// A reason not to use a work queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// It was not asked for.
    #[error("{queue}: not among the queues that were named: name it, or none")]
    NotNamed {
        /// The queue.
        queue: WorkQueueId,
    },
    /// Its device was not asked for.
    #[error("{queue}: {device} is not among the devices that were named: name it, or none")]
    DeviceNotNamed {
        /// The queue.
        queue: WorkQueueId,
        /// Its device.
        device: DeviceId,
    },
    /// Its device is an In-Memory Analytics Accelerator, which knows no operation of DSA.
    #[error(
        "{queue}: {device} is an analytics accelerator (IAA), which has other operations: use a queue of a DSA device"
    )]
    Iaa {
        /// The queue.
        queue: WorkQueueId,
        /// Its device.
        device: DeviceId,
    },
    /// Its device does not work.
    #[error(
        "{queue}: the state of {device} is {}{}", Or(*state, "not known"), DeviceAdvice(*device, *state, *last_command)
    )]
    DeviceNotEnabled {
        /// The queue.
        queue: WorkQueueId,
        /// Its device.
        device: DeviceId,
        /// The state of the device.
        state: Option<DeviceState>,
        /// How the device's last configuration command ended.
        last_command: Option<CommandStatus>,
    },
    /// It is not enabled.
    #[error("{queue}: its state is {}{}", Or(*state, "not known"), QueueAdvice(*queue, *device, *last_command))]
    NotEnabled {
        /// The queue.
        queue: WorkQueueId,
        /// Its device.
        device: DeviceId,
        /// The state of the queue.
        state: Option<QueueState>,
        /// How the last configuration command of the device, if that is enabled, ended; it may have been for another
        /// queue.
        last_command: Option<CommandStatus>,
    },
    /// The device cannot reach the memory of processes.
    #[error(
        "{queue}: shared virtual addressing is {} for {device}: boot with intel_iommu=on,sm_on, with VT-d and PASID \
         enabled in the firmware, and load idxd with sva=1",
        if *known { "off" } else { "not known to be on" }
    )]
    NoPasid {
        /// The queue.
        queue: WorkQueueId,
        /// Its device.
        device: DeviceId,
        /// Whether the driver says so; else it does not say anything.
        known: bool,
    },
    /// It is for something else.
    #[error(
        "{queue}: its type is {}, not {wanted}: {}set type to {wanted}, then its name, and enable it",
        Or(*found, "not known"), if *found == Some(QueueType::None) { "" } else { "disable it, " }
    )]
    WrongType {
        /// The queue.
        queue: WorkQueueId,
        /// Its type.
        found: Option<QueueType>,
        /// What was asked for.
        wanted: QueueType,
    },
    /// It is bound to, or configured for, another driver.
    #[error(
        "{queue}: its driver is {found:?}, not {wanted:?}: disable it, set driver_name to {wanted}, and enable it again"
    )]
    WrongDriver {
        /// The queue.
        queue: WorkQueueId,
        /// Its driver, empty if it has none.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// It is shared and should be dedicated, or the other way round.
    #[error(
        "{queue}: its mode is {}, not {wanted}: take another queue, or disable it and set mode",
        Or(*found, "not known")
    )]
    WrongMode {
        /// The queue.
        queue: WorkQueueId,
        /// Its mode.
        found: Option<QueueMode>,
        /// What was asked for.
        wanted: QueueMode,
    },
    /// Its mode is not known, and with it neither is the instruction that submits to it.
    #[error("{queue}: its mode is not known: see the problems that reading found")]
    UnknownMode {
        /// The queue.
        queue: WorkQueueId,
    },
    /// It is dedicated, and somebody has it.
    #[error("{queue}: it is dedicated and already open (clients: {clients}): take another queue, or a shared one")]
    InUse {
        /// The queue.
        queue: WorkQueueId,
        /// Files that are open on it.
        clients: u32,
    },
    /// Its device is on another NUMA node.
    #[error(
        "{queue}: the NUMA node of {device} is {}, not {wanted}: take a queue of a device there, or prefer the node \
         instead of requiring it",
        Or(*found, "not known")
    )]
    WrongNumaNode {
        /// The queue.
        queue: WorkQueueId,
        /// Its device.
        device: DeviceId,
        /// The node of the device.
        found: Option<u32>,
        /// What was asked for.
        wanted: u32,
    },
    /// It accepts fewer descriptors than asked for.
    #[error(
        "{queue}: its depth is {}, and at least {wanted} was asked for: disable it, set its size and threshold, and \
         enable it again",
        Or(*found, "not known")
    )]
    TooSmall {
        /// The queue.
        queue: WorkQueueId,
        /// Its [depth](WorkQueue::depth).
        found: Option<u32>,
        /// What was asked for.
        wanted: u32,
    },
    /// It does not execute all operations that were asked for.
    #[error("{queue}: it does not offer {missing}: take another queue{}", OperationAdvice(*missing, *batch))]
    MissingOperations {
        /// The queue.
        queue: WorkQueueId,
        /// The operations.
        missing: OpcodeSet,
        /// Whether BATCH can be sent to it in the way that was asked for.
        batch: Support,
    },
    /// The device does not say what it can do.
    #[error("{queue}: {attribute} of {device} is not known: see the problems that reading found")]
    UnknownCapabilities {
        /// The queue.
        queue: WorkQueueId,
        /// Its device.
        device: DeviceId,
        /// The attribute that is absent or not understood.
        attribute: &'static str,
    },
    /// There is no device node.
    #[error(
        "{queue}: {} does not exist: enable the queue, let udev make the node, and pass it into the container",
        path.display()
    )]
    NoNode {
        /// The queue.
        queue: WorkQueueId,
        /// Where the node should be.
        path: PathBuf,
    },
    /// This process must not open the device node.
    #[error(
        "{queue}: user {user} may not read and write {}{}: add the user to the node's group, or change the node by a \
         udev rule",
        path.display(), Owner(*owner)
    )]
    NoPermission {
        /// The queue.
        queue: WorkQueueId,
        /// The node.
        path: PathBuf,
        /// To whom the node belongs, if that can be seen.
        owner: Option<Ownership>,
        /// The effective user of this process.
        user: u32,
    },
    /// The device node is one of another device.
    #[error(
        "{queue}: {} is device {}:{}, but the queue is {}:{}: make the node anew (the container has an old one)",
        path.display(), found.0, found.1, expected.0, expected.1
    )]
    StaleNode {
        /// The queue.
        queue: WorkQueueId,
        /// The node.
        path: PathBuf,
        /// Major and minor number of the node.
        found: (u32, u32),
        /// Major and minor number that the driver uses.
        expected: (u32, u32),
    },
    /// The kernel keeps the device node from this container.
    #[error(
        "{queue}: the device cgroup of this container forbids {}: allow the container its major number, for reading \
         and writing (podman and docker: --device)",
        path.display()
    )]
    NodeBarred {
        /// The queue.
        queue: WorkQueueId,
        /// The node.
        path: PathBuf,
    },
    /// The device node could not be looked at.
    #[error("{queue}: {} could not be looked at ({kind}): check what is mounted there", path.display())]
    NodeFailed {
        /// The queue.
        queue: WorkQueueId,
        /// The node.
        path: PathBuf,
        /// What kind of error it gave.
        kind: io::ErrorKind,
    },
}

/// Everything that speaks against a queue.
pub(super) fn judge(device: &Device, queue: &WorkQueue, criteria: &Criteria) -> Vec<Rejection> {
    let mut reasons = Vec::new();
    if !criteria.queues.is_empty() && !criteria.queues.iter().any(|name| queue.answers_to(name)) {
        reasons.push(Rejection::NotNamed { queue: queue.id });
    }
    if !criteria.devices.is_empty() && !criteria.devices.contains(&device.id) {
        reasons.push(Rejection::DeviceNotNamed { queue: queue.id, device: device.id });
    }
    judge_device(device, queue, criteria, &mut reasons);
    judge_configuration(device, queue, criteria, &mut reasons);
    if criteria.check_node && criteria.queue_type == QueueType::User {
        reasons.extend(judge_node(queue));
    }
    reasons
}

fn judge_device(device: &Device, of: &WorkQueue, criteria: &Criteria, reasons: &mut Vec<Rejection>) {
    let (queue, id) = (of.id, device.id);
    if id.kind == DeviceKind::Iaa {
        reasons.push(Rejection::Iaa { queue, device: id });
    }
    if device.state != Some(DeviceState::Enabled) {
        let (state, last_command) = (device.state, device.last_command);
        reasons.push(Rejection::DeviceNotEnabled { queue, device: id, state, last_command });
    }
    if criteria.queue_type == QueueType::User && device.pasid_enabled != Some(true) {
        reasons.push(Rejection::NoPasid { queue, device: id, known: device.pasid_enabled.is_some() });
    }
    if let Numa::Require(wanted) = criteria.numa
        && device.numa_node != Some(wanted)
    {
        reasons.push(Rejection::WrongNumaNode { queue, device: id, found: device.numa_node, wanted });
    }
    let known = [
        ("version", device.version.is_some()),
        ("gen_cap", device.gen_cap.is_some()),
        ("op_cap", device.op_cap.is_some()),
    ];
    for (attribute, _) in known.into_iter().filter(|(_, known)| !known) {
        reasons.push(Rejection::UnknownCapabilities { queue, device: id, attribute });
    }
    let missing = criteria.operations - of.operations(device, criteria.via).unwrap_or(criteria.operations);
    if !missing.is_empty() {
        reasons.push(Rejection::MissingOperations { queue, missing, batch: of.batch(device, criteria.via) });
    }
}

fn judge_configuration(device: &Device, queue: &WorkQueue, criteria: &Criteria, reasons: &mut Vec<Rejection>) {
    let id = queue.id;
    if queue.state != Some(QueueState::Enabled) {
        // With the device down, the command says something of the device, and stands with that reason already.
        let last_command = device.last_command.filter(|_| device.state == Some(DeviceState::Enabled));
        let state = queue.state;
        reasons.push(Rejection::NotEnabled { queue: id, device: device.id, state, last_command });
    }
    if queue.queue_type != Some(criteria.queue_type) {
        reasons.push(Rejection::WrongType { queue: id, found: queue.queue_type, wanted: criteria.queue_type });
    }
    // Kernels without the attribute bind by type.
    if let Some(found) = queue.bound_driver.as_ref().or(queue.driver_name.as_ref())
        && *found != criteria.driver
    {
        reasons.push(Rejection::WrongDriver { queue: id, found: found.clone(), wanted: criteria.driver.clone() });
    }
    match (queue.mode, criteria.mode) {
        (found, Some(wanted)) if found != Some(wanted) => {
            reasons.push(Rejection::WrongMode { queue: id, found, wanted });
        }
        (None, None) => reasons.push(Rejection::UnknownMode { queue: id }),
        _ => {}
    }
    if queue.mode == Some(QueueMode::Dedicated)
        && let Some(clients @ 1..) = queue.clients
    {
        reasons.push(Rejection::InUse { queue: id, clients });
    }
    if queue.depth().is_none_or(|depth| depth < criteria.min_depth) {
        reasons.push(Rejection::TooSmall { queue: id, found: queue.depth(), wanted: criteria.min_depth });
    }
}

fn judge_node(queue: &WorkQueue) -> Option<Rejection> {
    let (id, path) = (queue.id, queue.node.clone());
    Some(match queue.access {
        NodeAccess::Granted => return None,
        NodeAccess::Missing => Rejection::NoNode { queue: id, path },
        NodeAccess::Denied { owner } => {
            Rejection::NoPermission { queue: id, path, owner, user: rustix::process::geteuid().as_raw() }
        }
        NodeAccess::Stale { found, expected } => Rejection::StaleNode { queue: id, path, found, expected },
        NodeAccess::Barred => Rejection::NodeBarred { queue: id, path },
        NodeAccess::Failed(kind) => Rejection::NodeFailed { queue: id, path, kind },
    })
}

/// A value, or words for its absence.
struct Or<T>(Option<T>, &'static str);

impl<T: fmt::Display> fmt::Display for Or<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str(self.1),
        }
    }
}

/// The last command and what to do about it, or about a device that no command has failed on.
struct DeviceAdvice(DeviceId, Option<DeviceState>, Option<CommandStatus>);

impl fmt::Display for DeviceAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(device, state, last) = *self;
        let failed = last.filter(|status| !status.is_success());
        if let Some(status) = failed {
            write!(f, "; its last command ended with {status}")?;
        }
        match (state, failed.and_then(CommandStatus::remedy)) {
            (Some(DeviceState::Halted), _) => {
                write!(f, ": read the kernel log, then reset it (accel-config disable-device {device}, enable-device)")
            }
            (_, Some(remedy)) => write!(f, ": {remedy}"),
            (Some(DeviceState::Disabled), None) => {
                write!(f, ": configure its queues, then enable it (accel-config enable-device {device})")
            }
            _ => f.write_str(": read the kernel log"),
        }
    }
}

/// The last command and what to do about it, or about a queue that no command has failed on.
struct QueueAdvice(WorkQueueId, DeviceId, Option<CommandStatus>);

impl fmt::Display for QueueAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(queue, device, last) = *self;
        if let Some(status) = last.filter(|status| !status.is_success()) {
            write!(f, "; the last command of {device} ended with {status}")?;
            if let Some(remedy) = status.remedy() {
                return write!(f, ": {remedy}");
            }
        }
        write!(f, ": configure and enable it (accel-config enable-wq {device}/{queue})")
    }
}

/// What else can be done about missing operations.
struct OperationAdvice(OpcodeSet, Support);

impl fmt::Display for OperationAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains(opcode::BATCH) {
            return Ok(());
        }
        match self.1 {
            Support::Unknown => f.write_str(", or try whether the device executes batch, which the driver hides"),
            _ => f.write_str(", or do without batch, which the driver may refuse through write(2) only"),
        }
    }
}

/// To whom a node belongs.
struct Owner(Option<Ownership>);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Ownership { user, group, mode }) => write!(f, " (owner {user}, group {group}, mode {mode:03o})"),
            None => f.write_str(" (a folder above it cannot be entered)"),
        }
    }
}
