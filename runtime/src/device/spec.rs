//! What the runtime keeps of a work queue that it opens, so that it can look after it and open it again.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::{
    Condition, Device, DeviceState, HealthProbe, QueueMode, QueueState, Roots, Target, Topology, Via, WorkQueue,
    WorkQueueId,
};
use crate::descriptor::Capabilities;

/// A work queue as it was configured when it was read.
#[derive(Clone, Debug)]
pub(crate) struct QueueSpec {
    id: WorkQueueId,
    roots: Roots,
    name: String,
    /// Its folder in sysfs.
    folder: PathBuf,
    /// Major and minor number of its node; they change when it is disabled and enabled.
    number: Option<(u32, u32)>,
    probe: HealthProbe,
    config: Config,
}

/// What must be the same when the queue is opened again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Config {
    node: PathBuf,
    dedicated: bool,
    size: usize,
    portal: Capabilities,
    write: Capabilities,
}

impl QueueSpec {
    /// `None` if the driver does not tell enough: mode, size and capabilities.
    pub(crate) fn new(roots: &Roots, device: &Device, queue: &WorkQueue) -> Option<Self> {
        Some(Self {
            id: queue.id,
            roots: roots.clone(),
            name: queue.id.to_string(),
            folder: queue.path.clone(),
            number: device.cdev_major.zip(queue.cdev_minor),
            probe: queue.health_probe(),
            config: Config {
                node: queue.node.clone(),
                dedicated: queue.mode? == QueueMode::Dedicated,
                size: queue.size? as usize,
                portal: queue.capabilities(device, Via::Portal)?,
                write: queue.capabilities(device, Via::Write)?,
            },
        })
    }

    /// The same queue as it is configured now; `None` if it is gone.
    pub(crate) fn read_again(&self) -> Option<Self> {
        let topology = Topology::read_from(&self.roots);
        let (device, queue) = topology.work_queue(self.id)?;
        Self::new(&self.roots, device, queue)
    }

    /// Whether it is configured as `other` is.
    pub(crate) fn is_configured_as(&self, other: &Self) -> bool {
        self.config == other.config
    }

    /// Such as `wq0.1`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn node(&self) -> &Path {
        &self.config.node
    }

    pub(crate) fn is_dedicated(&self) -> bool {
        self.config.dedicated
    }

    /// Entries.
    pub(crate) fn size(&self) -> usize {
        self.config.size
    }

    pub(crate) fn capabilities(&self, via: Via) -> Capabilities {
        match via {
            Via::Portal => self.config.portal,
            Via::Write => self.config.write,
        }
    }

    /// What the driver says now. What cannot be read is not said.
    pub(crate) fn condition(&self) -> Condition {
        let (device, queue) = self.probe.read().map_or((None, None), |health| (health.device, health.queue));
        Condition {
            is_device_enabled: device.is_none_or(|device| device == DeviceState::Enabled),
            is_queue_disabled: queue == Some(QueueState::Disabled),
        }
    }

    /// What to open.
    pub(crate) fn target(&self) -> Target<'_> {
        Target { queue: &self.name, node: &self.config.node, number: self.number }
    }

    /// The attribute that says whether the queue is enabled.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Where the driver lists the files that are open on this queue, one entry each; none if it does not.
    pub(crate) fn open_files(&self) -> Vec<PathBuf> {
        let files = super::open_files(&self.roots, self.id).ok().flatten().unwrap_or_default();
        let node = self.folder.join(format!("dsa!{}", self.name));
        files.iter().map(|file| node.join(&file.name)).collect()
    }
}
