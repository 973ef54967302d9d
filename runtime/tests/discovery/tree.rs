//! Writes trees as the driver's sysfs code shows them: folders below PCI functions, links to them on the bus, files
//! with a line feed at the end.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use dsa::device::{Roots, Topology};
use tempfile::TempDir;

/// Attributes and their texts.
pub(crate) type Attributes<'a> = &'a [(&'a str, &'a str)];

pub(crate) const SPR_OPS: &str = "00000000,00000000,00000000,00000000,00000000,00000000,00000001,003f03ff";
/// As above, with BATCH hidden.
pub(crate) const SPR_OPS_HIDDEN: &str = "00000000,00000000,00000000,00000000,00000000,00000000,00000001,003f03fd";
const NO_BITS: &str = "00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000";

/// A first-generation device on a kernel of 2024 and later.
const DEVICE: Attributes = &[
    ("cdev_major", "237"),
    ("clients", "0"),
    ("cmd_status", "0x0"),
    ("configurable", "1"),
    ("errors", NO_BITS),
    ("gen_cap", "0x40915f0107"),
    ("max_batch_size", "1024"),
    ("max_engines", "4"),
    ("max_groups", "4"),
    ("max_read_buffers", "96"),
    ("max_transfer_size", "2147483648"),
    ("max_work_queues", "8"),
    ("max_work_queues_size", "128"),
    ("numa_node", "0"),
    ("op_cap", SPR_OPS_HIDDEN),
    ("pasid_enabled", "1"),
    ("read_buffer_limit", "0"),
    ("state", "enabled"),
    ("version", "0x100"),
];

/// An enabled shared user queue.
const QUEUE: Attributes = &[
    ("ats_disable", "0"),
    ("block_on_fault", "1"),
    ("cdev_minor", "0"),
    ("clients", "0"),
    ("driver_name", "user"),
    ("enqcmds_retries", "32"),
    ("group_id", "0"),
    ("max_batch_size", "32"),
    ("max_transfer_size", "2097152"),
    ("mode", "shared"),
    ("name", "app"),
    ("occupancy", "3"),
    ("priority", "10"),
    ("size", "16"),
    ("state", "enabled"),
    ("threshold", "12"),
    ("type", "user"),
];

const GROUP: Attributes = &[
    ("engines", "engine0.0 engine0.1"),
    ("read_buffers_allowed", "96"),
    ("read_buffers_reserved", "8"),
    ("traffic_class_a", "1"),
    ("traffic_class_b", "-1"),
    ("use_read_buffer_limit", "0"),
    ("work_queues", "wq0.0 wq0.1"),
];

/// A tree that is removed when it is dropped.
pub(crate) struct Tree {
    root: TempDir,
}

impl Tree {
    /// A machine whose driver is loaded and has no device.
    pub(crate) fn new() -> Self {
        let this = Self::without_driver();
        fs::create_dir_all(this.bus()).unwrap();
        this
    }

    /// A machine whose driver is not loaded.
    pub(crate) fn without_driver() -> Self {
        let root = TempDir::new().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let this = Self { root };
        fs::create_dir_all(this.roots().sysfs).unwrap();
        fs::create_dir_all(this.roots().dev).unwrap();
        this
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots { sysfs: self.root.path().join("sys"), dev: self.root.path().join("dev") }
    }

    pub(crate) fn read(&self) -> Topology {
        Topology::read_from(&self.roots())
    }

    /// Where the driver's objects are listed.
    pub(crate) fn bus(&self) -> PathBuf {
        self.roots().sysfs.join("bus/dsa/devices")
    }

    /// A PCI function, with the numbers of its vendor and its device.
    pub(crate) fn function(&self, address: &str, device: &str) -> PathBuf {
        let folder = self.roots().sysfs.join(format!("devices/pci{}", &address[..7])).join(address);
        write(&folder, &[("vendor", "0x8086"), ("device", device), ("numa_node", "0")]);
        link(&folder, &self.roots().sysfs.join("bus/pci/devices").join(address));
        folder
    }

    /// A device below a PCI function: the usual attributes, changed by `changes`, without those that are `-`.
    pub(crate) fn device(&self, name: &str, address: &str, changes: Attributes) {
        let folder = self.function(address, if name.starts_with("iax") { "0x0cfe" } else { "0x0b25" }).join(name);
        write(&folder, &changed(DEVICE, changes));
        link(&folder, &self.bus().join(name));
    }

    /// A work queue of a device that is there, with its node.
    pub(crate) fn queue(&self, device: &str, name: &str, changes: Attributes) {
        self.queue_without_node(device, name, changes);
        let folder = self.roots().dev.join(&device[..3]);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), "").unwrap();
    }

    pub(crate) fn queue_without_node(&self, device: &str, name: &str, changes: Attributes) {
        self.part(device, name, &changed(QUEUE, changes));
    }

    pub(crate) fn group(&self, device: &str, name: &str, changes: Attributes) {
        self.part(device, name, &changed(GROUP, changes));
    }

    /// Any object below a device.
    pub(crate) fn part(&self, device: &str, name: &str, attributes: Attributes) {
        let folder = self.folder(device).join(name);
        write(&folder, attributes);
        link(&folder, &self.bus().join(name));
    }

    /// A file that is open on a queue, as kernels since 6.4 show it.
    pub(crate) fn open_file(&self, queue: &str, name: &str, attributes: Attributes) {
        let node = format!("dsa!{queue}");
        let cdev = self.folder(queue).join(&node);
        write(&cdev.join(name), attributes);
        link(&cdev, &self.bus().join(node));
        link(&cdev.join(name), &self.bus().join(name));
        // Links lead from a device back to what it belongs to.
        link(&self.bus(), &cdev.join("subsystem"));
    }

    /// Sets attributes of an object on the bus; those that are `-` are removed.
    pub(crate) fn set(&self, name: &str, changes: Attributes) {
        for &(attribute, text) in changes {
            let file = self.bus().join(name).join(attribute);
            if text == "-" {
                fs::remove_file(file).unwrap();
            } else {
                fs::write(file, format!("{text}\n")).unwrap();
            }
        }
    }

    /// Binds an object on the bus to a driver.
    pub(crate) fn bind(&self, name: &str, driver: &str) {
        let folder = self.roots().sysfs.join("bus/dsa/drivers").join(driver);
        fs::create_dir_all(&folder).unwrap();
        link(&folder, &self.bus().join(name).join("driver"));
    }

    /// Two NUMA nodes or more: a row of distances each.
    pub(crate) fn distances(&self, online: &str, rows: Attributes) {
        let folder = self.roots().sysfs.join("devices/system/node");
        write(&folder, &[("online", online)]);
        for &(node, row) in rows {
            write(&folder.join(node), &[("distance", row)]);
        }
    }

    /// The real folder of an object on the bus.
    fn folder(&self, name: &str) -> PathBuf {
        self.bus().join(name).canonicalize().unwrap()
    }

    /// A Sapphire Rapids machine: one device, two groups, two engines, a shared and a dedicated queue.
    pub(crate) fn sapphire_rapids() -> Self {
        let tree = Self::new();
        tree.device("dsa0", "0000:6a:01.0", &[]);
        tree.group("dsa0", "group0.0", &[]);
        tree.group("dsa0", "group0.1", &[("engines", ""), ("work_queues", "")]);
        tree.part("dsa0", "engine0.0", &[("group_id", "0")]);
        tree.part("dsa0", "engine0.1", &[("group_id", "-1")]);
        tree.queue("dsa0", "wq0.0", &[]);
        let dedicated = [("mode", "dedicated"), ("size", "32"), ("threshold", "0"), ("enqcmds_retries", "-")];
        tree.queue("dsa0", "wq0.1", &dedicated);
        tree.set("wq0.1", &[("name", "other"), ("cdev_minor", "1"), ("block_on_fault", "0")]);
        for queue in ["wq0.0", "wq0.1"] {
            tree.bind(queue, "user");
        }
        tree
    }
}

fn changed<'a>(usual: Attributes<'a>, changes: Attributes<'a>) -> Vec<(&'a str, &'a str)> {
    let replaced = |name| changes.iter().any(|&(other, _)| other == name);
    usual.iter().filter(|(name, _)| !replaced(*name)).chain(changes).copied().filter(|&(_, text)| text != "-").collect()
}

fn write(folder: &Path, attributes: Attributes) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in attributes {
        // A group without members has an empty attribute, without a line feed.
        let line = if text.is_empty() { String::new() } else { format!("{text}\n") };
        fs::write(folder.join(name), line).unwrap();
    }
}

/// Links are relative, as in sysfs; `at` may be there already.
fn link(target: &Path, at: &Path) {
    let (mut target, mut from) = (target.components().peekable(), at.parent().unwrap().components().peekable());
    while target.peek().is_some() && target.peek() == from.peek() {
        target.next();
        from.next();
    }
    let relative: PathBuf = from.map(|_| "..".into()).chain(target.map(|c| PathBuf::from(c.as_os_str()))).collect();
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    if !at.is_symlink() {
        symlink(relative, at).unwrap();
    }
}
