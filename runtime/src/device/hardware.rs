//! Devices, groups and engines as the driver shows them.
//!
//! A field is `None` if its attribute is absent - older kernels have fewer, and some exist only where the hardware has
//! the feature - or if it was not understood; then [`Topology::problems`](super::Topology::problems) has the reason.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

use idxd_sys::cmd_status;
use idxd_sys::swerr::SwError;

use super::attribute::{Problem, Reader};
use super::{DeviceId, DeviceState, EngineId, GroupId, OpcodeSet, WorkQueue, WorkQueueId, parse};

/// A device with its groups, engines and work queues.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Device {
    /// Its name.
    pub id: DeviceId,
    /// Its folder, as listed on the bus.
    pub path: PathBuf,
    /// Address of the PCI function, such as `0000:6a:01.0`.
    pub pci_address: Option<String>,
    /// The VERSION register: 0x100, 0x200, 0x300.
    pub version: Option<u16>,
    /// Whether it works.
    pub state: Option<DeviceState>,
    /// Whether processes can bind their address space to a PASID. No user queue works without.
    pub pasid_enabled: Option<bool>,
    /// The GENCAP register, see [`idxd_sys::gencap`].
    pub gen_cap: Option<u64>,
    /// The OPCAP register as the driver shows it: BATCH may be hidden, see [`Support`](super::Support).
    pub op_cap: Option<OpcodeSet>,
    /// Largest transfer, in bytes.
    pub max_transfer_size: Option<u64>,
    /// Largest batch, in descriptors.
    pub max_batch_size: Option<u32>,
    /// Number of groups.
    pub max_groups: Option<u32>,
    /// Number of engines.
    pub max_engines: Option<u32>,
    /// Number of work queues.
    pub max_work_queues: Option<u32>,
    /// Entries that the work queues share out among themselves.
    pub max_work_queues_size: Option<u32>,
    /// Number of read buffers.
    pub max_read_buffers: Option<u32>,
    /// Read buffers that groups with a limit may use together.
    pub read_buffer_limit: Option<u32>,
    /// NUMA node, `None` if the system has none or does not know.
    pub numa_node: Option<u32>,
    /// Files that are open on its queues, all together.
    pub clients: Option<u32>,
    /// How the last configuration command ended, whichever of the device's queues it was for.
    pub last_command: Option<CommandStatus>,
    /// The SWERROR register; see [`Device::software_error`].
    pub errors: Option<[u64; 4]>,
    /// Whether the driver may change the configuration.
    pub configurable: Option<bool>,
    /// Major number of the queues' device nodes.
    pub cdev_major: Option<u32>,
    /// Entries of the event log (DSA 2.0).
    pub event_log_size: Option<u32>,
    /// DSACAP0 to DSACAP2 (DSA 3.0).
    pub dsa_caps: Option<[u64; 3]>,
    /// The groups, in ascending order.
    pub groups: Vec<Group>,
    /// The engines, in ascending order.
    pub engines: Vec<Engine>,
    /// The work queues, in ascending order.
    pub work_queues: Vec<WorkQueue>,
}

impl Device {
    /// The error that the SWERROR register holds, if any.
    pub fn software_error(&self) -> Option<SwError> {
        SwError::decode(self.errors?)
    }

    pub(super) fn read(id: DeviceId, path: PathBuf, problems: &mut Vec<Problem>) -> Self {
        let pci = path.canonicalize().ok().and_then(|real| Some(real.parent()?.to_owned()));
        let mut r = Reader::new(&path, problems);
        let bits = "256 bits in hexadecimal";
        let numa_node = r.get("numa_node", "a number, or -1", parse::index);
        let mut this = Self {
            id,
            pci_address: pci.as_deref().and_then(pci_address),
            version: r.number("version"),
            state: r.get("state", DeviceState::EXPECTED, parse::word),
            pasid_enabled: r.boolean("pasid_enabled"),
            gen_cap: r.number("gen_cap"),
            op_cap: r.get("op_cap", bits, parse::bits_256).map(OpcodeSet::from_words),
            max_transfer_size: r.number("max_transfer_size"),
            max_batch_size: r.number("max_batch_size"),
            max_groups: r.number("max_groups"),
            max_engines: r.number("max_engines"),
            max_work_queues: r.number("max_work_queues"),
            max_work_queues_size: r.number("max_work_queues_size"),
            // The second name is that of kernels before 5.17; newer ones log a warning when it is read.
            max_read_buffers: r.number("max_read_buffers").or_else(|| r.number("max_tokens")),
            read_buffer_limit: r.number("read_buffer_limit").or_else(|| r.number("token_limit")),
            numa_node: numa_node.and_then(|node| node.try_into().ok()),
            clients: r.number("clients"),
            last_command: r.number("cmd_status").map(CommandStatus),
            errors: r.get("errors", bits, parse::bits_256),
            configurable: r.boolean("configurable"),
            cdev_major: r.number("cdev_major"),
            event_log_size: r.number("event_log_size"),
            dsa_caps: r.get("dsacaps", "three 64-bit numbers in hexadecimal", parse::dsa_capabilities),
            groups: Vec::new(),
            engines: Vec::new(),
            work_queues: Vec::new(),
            path,
        };
        if let (None, Some(pci)) = (numa_node, pci) {
            this.numa_node = Reader::new(&pci, problems).index("numa_node");
        }
        this
    }
}

/// How a configuration command ended: the attribute `cmd_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandStatus(
    /// A code of [`idxd_sys::cmd_status`].
    pub u32,
);

impl CommandStatus {
    /// Whether the command succeeded, or none was given.
    pub const fn is_success(self) -> bool {
        self.0 == cmd_status::SUCCESS
    }

    /// What to do about it, if it is known.
    pub const fn remedy(self) -> Option<&'static str> {
        cmd_status::remedy(self.0)
    }
}

impl fmt::Display for CommandStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match cmd_status::meaning(self.0) {
            Some(meaning) => write!(f, "{:#x} ({meaning})", self.0),
            None => write!(f, "{:#x} (unknown)", self.0),
        }
    }
}

/// A group: engines, and the queues that they serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Group {
    /// Its name.
    pub id: GroupId,
    /// Its folder, as listed on the bus.
    pub path: PathBuf,
    /// Its engines.
    pub engines: Option<Vec<EngineId>>,
    /// Its work queues.
    pub work_queues: Option<Vec<WorkQueueId>>,
    /// Traffic class A, for low bandwidth memory.
    pub traffic_class_a: Option<u32>,
    /// Traffic class B, for high bandwidth memory.
    pub traffic_class_b: Option<u32>,
    /// Read buffers that its engines may use at most.
    pub read_buffers_allowed: Option<u32>,
    /// Read buffers that are kept for it.
    pub read_buffers_reserved: Option<u32>,
    /// Whether the device's read buffer limit holds for it.
    pub use_read_buffer_limit: Option<bool>,
    /// Limit of descriptors in progress in an engine, as a code from 0 (none) to 3.
    pub desc_progress_limit: Option<u32>,
    /// Limit of batches in progress in an engine, as a code from 0 (none) to 3.
    pub batch_progress_limit: Option<u32>,
}

impl Group {
    pub(super) fn read(id: GroupId, path: PathBuf, problems: &mut Vec<Problem>) -> Self {
        let mut r = Reader::new(&path, problems);
        Self {
            id,
            engines: r.get("engines", "names of engines", parse::list),
            work_queues: r.get("work_queues", "names of work queues", parse::list),
            // A negative number means that the class was never set.
            traffic_class_a: r.index("traffic_class_a"),
            traffic_class_b: r.index("traffic_class_b"),
            // The second names are those of kernels before 5.17.
            read_buffers_allowed: r.number("read_buffers_allowed").or_else(|| r.number("tokens_allowed")),
            read_buffers_reserved: r.number("read_buffers_reserved").or_else(|| r.number("tokens_reserved")),
            use_read_buffer_limit: r.boolean("use_read_buffer_limit").or_else(|| r.boolean("use_token_limit")),
            desc_progress_limit: r.number("desc_progress_limit"),
            batch_progress_limit: r.number("batch_progress_limit"),
            path,
        }
    }
}

/// An engine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Engine {
    /// Its name.
    pub id: EngineId,
    /// Its folder, as listed on the bus.
    pub path: PathBuf,
    /// The number of its group, `None` if it has none.
    pub group: Option<u32>,
}

impl Engine {
    pub(super) fn read(id: EngineId, path: PathBuf, problems: &mut Vec<Problem>) -> Self {
        let group = Reader::new(&path, problems).index("group_id");
        Self { id, path, group }
    }
}

/// The name of a folder, if it is the address of a PCI function: `0000:6a:01.0`.
pub(super) fn pci_address(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (rest, function) = name.split_once('.')?;
    let hexadecimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = rest.split(':').all(hexadecimal) && rest.split(':').count() == 3;
    (parts && hexadecimal(function)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_named_like_a_pci_function() {
        let of = |path: &str| pci_address(Path::new(path));
        assert_eq!(of("/sys/devices/pci0000:6a/0000:6a:01.0").as_deref(), Some("0000:6a:01.0"));
        assert_eq!(of("10000:e1:00.7").as_deref(), Some("10000:e1:00.7"));
        for path in ["/", "devices", "6a:01.0", "0000:6a:01", "0000:6a::1.0", "0000:6a:01.", "x:6a:01.0"] {
            assert_eq!(of(path), None, "{path:?}");
        }
    }

    #[test]
    fn command_status_shows_its_meaning() {
        assert_eq!(
            CommandStatus(0x22).to_string(),
            "0x22 (the queue has no entries, or its threshold is out of range)"
        );
        assert_eq!(CommandStatus(0x99).to_string(), "0x99 (unknown)");
        assert!(CommandStatus(0).is_success() && !CommandStatus(cmd_status::WQ_NO_NAME).is_success());
        assert_eq!(CommandStatus(cmd_status::WQ_NO_NAME).remedy(), Some("set name of the queue"));
    }
}
