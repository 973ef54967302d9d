//! Everything that the driver shows, read once.
//!
//! Reading never fails as a whole and never changes anything. What could not be read or understood is listed; a tree
//! without a device says why it is empty.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::attribute::{Problem, ProblemKind, Reader};
use super::hardware::pci_address;
use super::{Device, DeviceId, Engine, EngineId, Group, GroupId, WorkQueue, WorkQueueId, parse};

/// Where the trees of the kernel are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// The device model, usually `/sys`.
    pub sysfs: PathBuf,
    /// Device nodes, usually `/dev`.
    pub dev: PathBuf,
}

impl Default for Roots {
    /// `/sys` and `/dev`.
    fn default() -> Self {
        Self { sysfs: "/sys".into(), dev: "/dev".into() }
    }
}

impl Roots {
    /// The folder that lists the driver's objects.
    pub(super) fn devices(&self) -> PathBuf {
        self.sysfs.join("bus/dsa/devices")
    }
}

/// The machine's DSA and IAA devices as they were at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Topology {
    /// The devices, in ascending order.
    pub devices: Vec<Device>,
    /// Why there are no devices; `None` if there are some.
    pub absence: Option<Absence>,
    /// What could not be read or understood.
    pub problems: Vec<Problem>,
    distances: Distances,
}

impl Topology {
    /// Reads `/sys` and `/dev`.
    pub fn read() -> Self {
        Self::read_from(&Roots::default())
    }

    /// Reads trees that are mounted elsewhere.
    pub fn read_from(roots: &Roots) -> Self {
        let mut problems = Vec::new();
        let folder = roots.devices();
        let names = match list(&folder) {
            Ok(names) => names,
            Err(error) => {
                let absence = Absence::of(error.kind(), folder, roots);
                return Self { devices: Vec::new(), absence: Some(absence), problems, distances: Distances::default() };
            }
        };
        // The folder also lists device nodes ("dsa!wq0.1") and open files ("file0"), which are not of interest here.
        let mut devices: Vec<Device> = parsed(&names)
            .map(|(id, name): (DeviceId, _)| Device::read(id, folder.join(name), &mut problems))
            .collect();
        for (id, name) in parsed::<GroupId>(&names) {
            if let Some(device) = owner(&mut devices, id.device, &folder, name, &mut problems) {
                device.groups.push(Group::read(id, folder.join(name), &mut problems));
            }
        }
        for (id, name) in parsed::<EngineId>(&names) {
            if let Some(device) = owner(&mut devices, id.device, &folder, name, &mut problems) {
                device.engines.push(Engine::read(id, folder.join(name), &mut problems));
            }
        }
        for (id, name) in parsed::<WorkQueueId>(&names) {
            if let Some(device) = owner(&mut devices, id.device, &folder, name, &mut problems) {
                let of = (device.id, device.cdev_major);
                let queue = WorkQueue::read(id, of, folder.join(name), &roots.dev, &mut problems);
                device.work_queues.push(queue);
            }
        }
        devices.sort_by_key(|device| device.id);
        for device in &mut devices {
            device.groups.sort_by_key(|group| group.id);
            device.engines.sort_by_key(|engine| engine.id);
            device.work_queues.sort_by_key(|queue| queue.id);
        }
        let absence = devices.is_empty().then(|| Absence::NoDevice { functions: functions(roots) });
        let distances = Distances::read(&roots.sysfs, &mut problems);
        Self { devices, absence, problems, distances }
    }

    /// All work queues, with their devices.
    pub fn work_queues(&self) -> impl Iterator<Item = (&Device, &WorkQueue)> {
        self.devices.iter().flat_map(|device| device.work_queues.iter().map(move |queue| (device, queue)))
    }

    /// A device.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// A work queue, with its device.
    pub fn work_queue(&self, id: WorkQueueId) -> Option<(&Device, &WorkQueue)> {
        self.work_queues().find(|(_, queue)| queue.id == id)
    }

    /// **Modelled**: by how many nanoseconds operations of a device take longer for callers of node 0, 1 and so on. Empty
    /// where all nodes are as near, or nothing is known.
    pub(crate) fn delays(&self, device: &Device) -> Vec<u32> {
        /// For a unit of the firmware's distances, of which 10 are none: some 200 ns from one socket to the next.
        const UNIT: u32 = 20;
        let Some(its) = device.numa_node else { return Vec::new() };
        let nodes = 0..self.distances.nodes.last().map_or(0, |last| last + 1);
        let delay =
            |from| self.numa_distance(from, its).map_or(0, |units| units.saturating_sub(10).saturating_mul(UNIT));
        let delays: Vec<_> = nodes.map(delay).collect();
        if delays.iter().all(|delay| *delay == 0) { Vec::new() } else { delays }
    }

    /// The distance between two NUMA nodes as the firmware tells it: 10 within a node, more between nodes.
    pub fn numa_distance(&self, from: u32, to: u32) -> Option<u32> {
        self.distances.get(from, to)
    }
}

/// Why there is no device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Absence {
    /// The driver is not loaded.
    NoDriver {
        /// PCI addresses of DSA devices that wait for it.
        functions: Vec<String>,
    },
    /// The driver is loaded, and has no device.
    NoDevice {
        /// PCI addresses of DSA devices that it does not drive.
        functions: Vec<String>,
    },
    /// The folder of the devices cannot be listed by this user.
    NoPermission {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of the devices cannot be listed.
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What kind of error it gave.
        kind: io::ErrorKind,
    },
}

impl Absence {
    fn of(kind: io::ErrorKind, path: PathBuf, roots: &Roots) -> Self {
        match kind {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NoDriver { functions: functions(roots) },
            io::ErrorKind::PermissionDenied => Self::NoPermission { path },
            kind => Self::Unreadable { path, kind },
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver { functions } if functions.is_empty() => f.write_str(
                "the idxd driver is not loaded, and there is no DSA device on the PCI bus: use a machine that has \
                 one (Xeon of the 4th generation and later), and enable it in the firmware",
            ),
            Self::NoDriver { functions } => write!(
                f,
                "the idxd driver is not loaded, and the DSA devices {} wait for it: modprobe idxd (some distributions \
                 leave it out of their cloud kernels)",
                functions.join(", ")
            ),
            Self::NoDevice { functions } if functions.is_empty() => f.write_str(
                "the idxd driver is loaded, but there is no DSA device on the PCI bus: enable it in the firmware",
            ),
            Self::NoDevice { functions } => write!(
                f,
                "the idxd driver is loaded, but does not drive the DSA devices {}: read the kernel log, and bind them \
                 to idxd",
                functions.join(", ")
            ),
            Self::NoPermission { path } => {
                write!(f, "{} cannot be listed: allow this user to read it", path.display())
            }
            Self::Unreadable { path, kind } => {
                write!(f, "{} cannot be listed ({kind}): check what is mounted there", path.display())
            }
        }
    }
}

/// PCI device numbers of DSA, all of vendor 8086: Sapphire to Granite Rapids, Granite Rapids D, Diamond Rapids.
const PCI_DEVICES: [u64; 3] = [0x0b25, 0x11fb, 0x1212];
const PCI_VENDOR: u64 = 0x8086;

/// The addresses of all DSA devices on the PCI bus.
fn functions(roots: &Roots) -> Vec<String> {
    let folder = roots.sysfs.join("bus/pci/devices");
    // Nobody asked for these files, so whatever is wrong with them is not worth telling.
    let mut ignored = Vec::new();
    let mut found: Vec<String> = list(&folder)
        .unwrap_or_default()
        .into_iter()
        .map(|name| folder.join(name))
        .filter(|path| {
            let mut r = Reader::new(path, &mut ignored);
            r.number("vendor") == Some(PCI_VENDOR)
                && r.number("device").is_some_and(|device: u64| PCI_DEVICES.contains(&device))
        })
        .filter_map(|path| pci_address(&path))
        .collect();
    found.sort();
    found
}

/// The names in a folder that are UTF-8, sorted.
fn list(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The names of one kind of object.
fn parsed<T: std::str::FromStr>(names: &[String]) -> impl Iterator<Item = (T, &str)> {
    names.iter().filter_map(|name| Some((name.parse().ok()?, name.as_str())))
}

/// The device with this number; a part without its device is a problem.
fn owner<'d>(
    devices: &'d mut [Device],
    number: u32,
    folder: &Path,
    part: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'d mut Device> {
    let device = devices.iter_mut().find(|device| device.id.number == number);
    if device.is_none() {
        problems.push(Problem { path: folder.join(part), kind: ProblemKind::NoDevice(number) });
    }
    device
}

/// NUMA distances: the nodes, and a row for each.
#[derive(Clone, Debug, Default)]
struct Distances {
    nodes: Vec<u32>,
    rows: Vec<Option<Vec<u32>>>,
}

/// More nodes than any kernel is built for.
const MAX_NODES: u32 = 4096;

impl Distances {
    fn read(sysfs: &Path, problems: &mut Vec<Problem>) -> Self {
        let folder = sysfs.join("devices/system/node");
        let expected = "ranges of numbers";
        let online = |text: &str| parse::ranges(text, MAX_NODES);
        let nodes = Reader::new(&folder, problems).get("online", expected, online).unwrap_or_default();
        let rows = nodes
            .iter()
            .map(|node| {
                let folder = folder.join(format!("node{node}"));
                Reader::new(&folder, problems).get("distance", "numbers", parse::numbers)
            })
            .collect();
        Self { nodes, rows }
    }

    fn get(&self, from: u32, to: u32) -> Option<u32> {
        let position = |node| self.nodes.binary_search(&node).ok();
        self.rows[position(from)?].as_ref()?.get(position(to)?).copied()
    }
}
