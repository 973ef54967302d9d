//! Cheap looks at a queue that is in use: does it still work, and who has it open.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::attribute::{self, Reader};
use super::{DeviceId, DeviceKind, DeviceState, QueueState, Roots, WorkQueue, WorkQueueId, parse};

/// Whether a work queue and its device work; `None` for one that is gone, or whose state was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The device.
    pub device: Option<DeviceState>,
    /// The queue.
    pub queue: Option<QueueState>,
}

impl Health {
    /// Whether the queue executes what it accepts: it and its device are there and enabled.
    pub fn is_alive(self) -> bool {
        self.device == Some(DeviceState::Enabled) && self.queue == Some(QueueState::Enabled)
    }
}

/// Reads the state of a work queue and of its device.
///
/// To ask again and again, keep a [`HealthProbe`].
pub fn health(roots: &Roots, queue: WorkQueueId) -> io::Result<Health> {
    let devices = roots.devices();
    let of = |kind| HealthProbe::new(&devices, DeviceId { number: queue.device, kind }, queue).read();
    match of(DeviceKind::Dsa)? {
        Health { device: None, .. } => of(DeviceKind::Iaa),
        health => Ok(health),
    }
}

/// Reads the state of one work queue and of its device, without allocating.
#[derive(Clone, Debug)]
pub struct HealthProbe {
    device: PathBuf,
    queue: PathBuf,
}

impl HealthProbe {
    fn new(devices: &Path, device: DeviceId, queue: WorkQueueId) -> Self {
        let state = |id: &dyn ToString| [devices, Path::new(&id.to_string()), Path::new("state")].iter().collect();
        Self { device: state(&device), queue: state(&queue) }
    }

    /// Reads both states now. An error is one of the file system, such as a lack of permission.
    pub fn read(&self) -> io::Result<Health> {
        Ok(Health { device: state(&self.device)?, queue: state(&self.queue)? })
    }
}

/// One word in a file; `None` if there is no such file, or the word means nothing.
fn state<T: std::str::FromStr>(path: &Path) -> io::Result<Option<T>> {
    let mut buffer = [0; 32];
    match attribute::read(path, &mut buffer) {
        Ok(bytes) => Ok(std::str::from_utf8(bytes).ok().and_then(parse::word)),
        Err(error) if attribute::is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file that is open on a work queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenFile {
    /// Its name in sysfs, such as `file0`.
    pub name: String,
    /// The thread that opened it, by its number in the first PID namespace.
    pub pid: Option<u32>,
    /// Page faults on completion records that the driver has handled.
    pub faults: Option<u64>,
    /// Page faults on completion records that it could not handle.
    pub fault_failures: Option<u64>,
}

/// The files that are open on a work queue, by name.
///
/// `None` if the kernel does not tell: before Linux 6.4, or where the queue is gone. A file that is closed during the
/// call may be listed without its attributes.
pub fn open_files(roots: &Roots, queue: WorkQueueId) -> io::Result<Option<Vec<OpenFile>>> {
    open_files_in(&roots.devices().join(queue.to_string()))
}

fn open_files_in(queue: &Path) -> io::Result<Option<Vec<OpenFile>>> {
    let mut files = Vec::new();
    // The driver hangs them under the queue's character device, "dsa!wq0.1".
    for node in entries(queue, |name| name.contains("!wq"))? {
        for path in entries(&node, is_file_name)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A file that goes away while it is read is no problem of anybody's.
            let mut ignored = Vec::new();
            let mut r = Reader::new(&path, &mut ignored);
            let (pid, faults, fault_failures) = (r.number("pid"), r.number("cr_faults"), r.number("cr_fault_failures"));
            files.push(OpenFile { name, pid, faults, fault_failures });
        }
    }
    files.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    let clients: Option<u32> = Reader::new(queue, &mut Vec::new()).number("clients");
    Ok((!files.is_empty() || clients == Some(0)).then_some(files))
}

/// What a folder holds under names that are accepted; nothing if it does not exist.
fn entries(path: &Path, accept: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(path) {
        Ok(listed) => listed,
        Err(error) if attribute::is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&accept) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn is_file_name(name: &str) -> bool {
    name.strip_prefix("file").is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

impl WorkQueue {
    /// A probe for this queue's health.
    pub fn health_probe(&self) -> HealthProbe {
        let devices = self.path.parent().unwrap_or(&self.path);
        HealthProbe::new(devices, self.device, self.id)
    }

    /// The files that are open on this queue now, see [`open_files`].
    pub fn open_files(&self) -> io::Result<Option<Vec<OpenFile>>> {
        open_files_in(&self.path)
    }
}
