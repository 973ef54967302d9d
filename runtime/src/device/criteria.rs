//! Which work queues to use, and in which order.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::fmt;

use super::rejection::{self, Rejection};
use super::{Device, DeviceId, OpcodeSet, QueueMode, QueueType, Topology, Via, WorkQueue};

/// What a work queue must be like to be chosen.
///
/// By default: an enabled user queue of an enabled DSA device, bound to the driver `user`, with a node that this
/// process may read and write.
///
/// ```
/// use dsa::device::{Criteria, QueueMode, Topology};
/// use idxd_sys::opcode;
///
/// let operations = [opcode::MEMMOVE, opcode::CRCGEN];
/// let criteria = Criteria::new().mode(QueueMode::Shared).operations(operations).prefer_numa_node(0);
/// let topology = Topology::read();
/// match topology.select(&criteria).chosen.first() {
///     Some(choice) => println!("{} it is", choice.queue.node.display()),
///     None => print!("the CPU must do it.\n{}", topology.select(&criteria)),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Criteria {
    pub(super) via: Via,
    pub(super) queue_type: QueueType,
    pub(super) driver: String,
    pub(super) mode: Option<QueueMode>,
    pub(super) numa: Numa,
    pub(super) operations: OpcodeSet,
    pub(super) min_depth: u32,
    pub(super) queues: Vec<String>,
    pub(super) devices: Vec<DeviceId>,
    pub(super) check_node: bool,
}

/// What is asked of the NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numa {
    Any,
    Prefer(u32),
    Require(u32),
}

impl Default for Criteria {
    fn default() -> Self {
        Self {
            via: Via::Write,
            queue_type: QueueType::User,
            driver: "user".into(),
            mode: None,
            numa: Numa::Any,
            operations: OpcodeSet::EMPTY,
            min_depth: 1,
            queues: Vec::new(),
            devices: Vec::new(),
            check_node: true,
        }
    }
}

impl Criteria {
    /// The default, see [`Criteria`].
    pub fn new() -> Self {
        Self::default()
    }

    /// How descriptors will be submitted, which matters where BATCH is among the [`operations`](Self::operations). By
    /// `write(2)`, unless told otherwise.
    pub fn via(mut self, via: Via) -> Self {
        self.via = via;
        self
    }

    /// Queues of another type than `user`. Their nodes are not looked at: they have none.
    pub fn queue_type(mut self, queue_type: QueueType) -> Self {
        self.queue_type = queue_type;
        self
    }

    /// Queues bound to another driver than `user`.
    pub fn driver(mut self, name: impl Into<String>) -> Self {
        self.driver = name.into();
        self
    }

    /// Only shared, or only dedicated queues.
    pub fn mode(mut self, mode: QueueMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Only queues of devices on this NUMA node.
    pub fn require_numa_node(mut self, node: u32) -> Self {
        self.numa = Numa::Require(node);
        self
    }

    /// Queues of devices on, or close to, this NUMA node first.
    pub fn prefer_numa_node(mut self, node: u32) -> Self {
        self.numa = Numa::Prefer(node);
        self
    }

    /// Only queues that execute all of these operations, beside those that were asked for before.
    pub fn operations(mut self, opcodes: impl IntoIterator<Item = u8>) -> Self {
        self.operations = self.operations | opcodes.into_iter().collect();
        self
    }

    /// Only queues of at least this [depth](WorkQueue::depth), in descriptors.
    pub fn min_depth(mut self, descriptors: u32) -> Self {
        self.min_depth = descriptors;
        self
    }

    /// Only this queue and others named this way; for the forms see [`WorkQueue::answers_to`].
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queues.push(name.into());
        self
    }

    /// Only queues of this device and of others named this way.
    pub fn device(mut self, device: DeviceId) -> Self {
        self.devices.push(device);
        self
    }

    /// Takes queues whatever the state of their nodes: to see what a process with more rights would get.
    pub fn ignore_node(mut self) -> Self {
        self.check_node = false;
        self
    }
}

/// The work queues that meet the criteria, and those that do not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Selection<'t> {
    /// Best first: by NUMA distance if a node was named, then by depth, the deepest first, then by name.
    pub chosen: Vec<Choice<'t>>,
    /// All other queues, by name, with everything that speaks against them.
    pub rejected: Vec<Rejected<'t>>,
    /// Names of queues in the criteria to which no queue answers.
    pub unknown_queues: Vec<String>,
    /// Devices in the criteria that are not there.
    pub unknown_devices: Vec<DeviceId>,
}

/// A work queue that meets the criteria.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Choice<'t> {
    /// Its device.
    pub device: &'t Device,
    /// The queue.
    pub queue: &'t WorkQueue,
}

/// A work queue that does not meet the criteria.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejected<'t> {
    /// Its device.
    pub device: &'t Device,
    /// The queue.
    pub queue: &'t WorkQueue,
    /// Why: all reasons, at least one.
    pub reasons: Vec<Rejection>,
}

impl Topology {
    /// Judges every work queue by the criteria.
    pub fn select(&self, criteria: &Criteria) -> Selection<'_> {
        let (mut chosen, mut rejected) = (Vec::new(), Vec::new());
        for (device, queue) in self.work_queues() {
            let reasons = rejection::judge(device, queue, criteria);
            if reasons.is_empty() {
                chosen.push(Choice { device, queue });
            } else {
                rejected.push(Rejected { device, queue, reasons });
            }
        }
        chosen.sort_by_key(|choice| {
            (self.remoteness(choice.device, criteria.numa), Reverse(choice.queue.depth()), choice.queue.id)
        });
        let unknown = |name: &&String| !self.work_queues().any(|(_, queue)| queue.answers_to(name));
        Selection {
            chosen,
            rejected,
            unknown_queues: criteria.queues.iter().filter(unknown).cloned().collect(),
            unknown_devices: criteria.devices.iter().copied().filter(|&id| self.device(id).is_none()).collect(),
        }
    }

    /// How far a device is from where it is wanted, in steps that can be compared.
    fn remoteness(&self, device: &Device, numa: Numa) -> u32 {
        match (numa, device.numa_node) {
            (Numa::Any, _) => 0,
            (Numa::Prefer(wanted) | Numa::Require(wanted), Some(node)) if wanted == node => 0,
            (Numa::Prefer(wanted) | Numa::Require(wanted), Some(node)) => {
                self.numa_distance(wanted, node).unwrap_or(u32::MAX)
            }
            (Numa::Prefer(_) | Numa::Require(_), None) => u32::MAX,
        }
    }
}

/// What was chosen and what was not, a line each.
impl fmt::Display for Selection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for choice in &self.chosen {
            writeln!(f, "{}: chosen", choice.queue.id)?;
        }
        for rejected in &self.rejected {
            for reason in &rejected.reasons {
                writeln!(f, "{reason}")?;
            }
        }
        for name in &self.unknown_queues {
            writeln!(f, "{name}: there is no such work queue")?;
        }
        for id in &self.unknown_devices {
            writeln!(f, "{id}: there is no such device")?;
        }
        Ok(())
    }
}
