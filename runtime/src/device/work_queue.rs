//! Work queues as the driver shows them, and their device nodes.
//!
//! A field is `None` if its attribute is absent or was not understood, as for [`Device`](super::Device).

#![forbid(unsafe_code)]

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use super::attribute::{Problem, Reader};
use super::{DeviceId, OpcodeSet, QueueMode, QueueState, QueueType, WorkQueueId, parse};

/// A work queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkQueue {
    /// Its name on the bus, and that of its device node.
    pub id: WorkQueueId,
    /// Its device.
    pub device: DeviceId,
    /// Its folder, as listed on the bus.
    pub path: PathBuf,
    /// Its device node, whether or not it is there.
    pub node: PathBuf,
    /// What this process can do with the node.
    pub access: NodeAccess,
    /// Whether it is enabled.
    pub state: Option<QueueState>,
    /// Shared or dedicated.
    pub mode: Option<QueueMode>,
    /// What it is for.
    pub queue_type: Option<QueueType>,
    /// The name that its owner gave it.
    pub name: Option<String>,
    /// The driver that it is to be bound to: `user`, `dmaengine` (Linux 6.7).
    pub driver_name: Option<String>,
    /// The driver that it is bound to.
    pub bound_driver: Option<String>,
    /// The number of its group, `None` if it has none.
    pub group: Option<u32>,
    /// Entries.
    pub size: Option<u32>,
    /// Entries that a shared queue fills by ENQCMD from user space; see [`WorkQueue::depth`].
    pub threshold: Option<u32>,
    /// From 1 (low) to 15, against other queues of its group.
    pub priority: Option<u32>,
    /// Whether descriptors may ask the device to wait for a page.
    pub block_on_fault: Option<bool>,
    /// Whether address translation services are off.
    pub ats_disable: Option<bool>,
    /// Whether page requests are off, and with them block on fault (DSA 2.0).
    pub prs_disable: Option<bool>,
    /// Largest transfer, in bytes.
    pub max_transfer_size: Option<u64>,
    /// Largest batch, in descriptors.
    pub max_batch_size: Option<u32>,
    /// How often the kernel repeats ENQCMDS in `write(2)`; shared queues only.
    pub enqcmds_retries: Option<u32>,
    /// The operations that its owner allows (Linux 6.0, where the hardware can choose by queue).
    pub op_config: Option<OpcodeSet>,
    /// Descriptors in it at the time of reading, where the hardware tells.
    pub occupancy: Option<u32>,
    /// Files that are open on it.
    pub clients: Option<u32>,
    /// Minor number of its device node; enabled user queues only.
    pub cdev_minor: Option<u32>,
}

impl WorkQueue {
    /// How many descriptors it accepts before it refuses more: the threshold of a shared queue, the size of a
    /// dedicated one.
    pub fn depth(&self) -> Option<u32> {
        match self.mode {
            Some(QueueMode::Shared) => self.threshold.or(self.size),
            _ => self.size,
        }
    }

    /// Whether `name` means this queue: the name that its owner gave it, or one of the forms `wq0.1`, `dsa0/wq0.1` and
    /// `/dev/dsa/wq0.1`.
    pub fn answers_to(&self, name: &str) -> bool {
        let id = self.id.to_string();
        name == id
            || name.strip_suffix(&id).is_some_and(|rest| rest.strip_suffix('/') == Some(&self.device.to_string()))
            || Path::new(name) == self.node
            || !name.is_empty() && self.name.as_deref() == Some(name)
    }

    pub(super) fn read(
        id: WorkQueueId,
        device: (DeviceId, Option<u32>),
        path: PathBuf,
        dev: &Path,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let (device, major) = device;
        let node = dev.join(device.kind.prefix()).join(id.to_string());
        let mut r = Reader::new(&path, problems);
        // Some kernels print -1 where newer ones fail.
        let cdev_minor = r.index("cdev_minor");
        Self {
            id,
            device,
            access: NodeAccess::of(&node, major.zip(cdev_minor)),
            node,
            state: r.get("state", QueueState::EXPECTED, parse::word),
            mode: r.get("mode", QueueMode::EXPECTED, parse::word),
            queue_type: r.get("type", QueueType::EXPECTED, parse::word),
            name: r.text("name"),
            driver_name: r.text("driver_name"),
            bound_driver: bound_driver(&path),
            group: r.index("group_id"),
            size: r.number("size"),
            threshold: r.number("threshold"),
            priority: r.number("priority"),
            block_on_fault: r.boolean("block_on_fault"),
            ats_disable: r.boolean("ats_disable"),
            prs_disable: r.boolean("prs_disable"),
            max_transfer_size: r.number("max_transfer_size"),
            max_batch_size: r.number("max_batch_size"),
            enqcmds_retries: r.number("enqcmds_retries"),
            op_config: r.get("op_config", "256 bits in hexadecimal", parse::bits_256).map(OpcodeSet::from_words),
            occupancy: r.number("occupancy"),
            clients: r.number("clients"),
            cdev_minor,
            path,
        }
    }
}

/// What this process can do with a device node, by its effective user and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeAccess {
    /// It can be read and written.
    Granted,
    /// There is no such file.
    Missing,
    /// Reading or writing is not permitted.
    Denied {
        /// Owner, group and permission bits of the file; `None` where a folder above it cannot be entered.
        owner: Option<Ownership>,
    },
    /// It is a device node, but of another device than the driver says.
    Stale {
        /// Major and minor number of the node.
        found: (u32, u32),
        /// Major and minor number that the driver uses.
        expected: (u32, u32),
    },
    /// Its permissions would do, but the kernel keeps the device from this container (device cgroup).
    Barred,
    /// It could not be looked at.
    Failed(io::ErrorKind),
}

/// To whom a file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// The permission bits, such as 0o660.
    pub mode: u32,
}

impl NodeAccess {
    /// Looks at a node; `expected` is its device number, if it is known.
    fn of(node: &Path, expected: Option<(u32, u32)>) -> Self {
        let metadata = match node.metadata() {
            Ok(metadata) => metadata,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
                    io::ErrorKind::PermissionDenied => Self::Denied { owner: None },
                    kind => Self::Failed(kind),
                };
            }
        };
        if let Some(expected) = expected
            && metadata.file_type().is_char_device()
        {
            let found = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
            if found != expected {
                return Self::Stale { found, expected };
            }
        }
        match rustix::fs::accessat(CWD, node, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS) {
            Ok(()) => Self::Granted,
            Err(rustix::io::Errno::ACCESS) => Self::Denied {
                owner: Some(Ownership { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o7777 }),
            },
            Err(rustix::io::Errno::PERM) => Self::Barred,
            Err(error) => Self::Failed(io::Error::from(error).kind()),
        }
    }
}

/// The driver that a device is bound to.
fn bound_driver(path: &Path) -> Option<String> {
    let link = path.join("driver").read_link().ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}
