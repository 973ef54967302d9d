//! The machine that these tests run on: its queues, its administrator, and its device's control channel.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsa::buf::{StableBuf, StableBufMut};
use dsa::descriptor::Capabilities;
use dsa::device::{Criteria, QueueMode, Topology, Via};
use dsa::{Accelerator, Policy, SubmissionPath, SubmitBy};
use idxd_sys::{CompletionRecord, Descriptor};

use crate::support::eventually;

/// Both ways into both kinds of queue.
pub(crate) const ALL: [(QueueMode, SubmitBy); 4] = [
    (QueueMode::Shared, SubmitBy::Portal),
    (QueueMode::Dedicated, SubmitBy::Portal),
    (QueueMode::Shared, SubmitBy::Write),
    (QueueMode::Dedicated, SubmitBy::Write),
];

const SYSFS: &str = "/sys/bus/dsa/devices";

/// One queue, with the configuration that it had when the test began.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) node: PathBuf,
    pub(crate) device: String,
    pub(crate) capabilities: Capabilities,
    config: Vec<(&'static str, String)>,
}

/// What has to be written again, in this order, after a queue was disabled: the driver forgets it.
const CONFIGURATION: [&str; 11] = [
    "group_id",
    "mode",
    "size",
    "threshold",
    "priority",
    "block_on_fault",
    "type",
    "name",
    "driver_name",
    "max_transfer_size",
    "max_batch_size",
];

impl Queue {
    /// The best queue of a mode.
    pub(crate) fn find(mode: QueueMode) -> Self {
        let topology = Topology::read();
        let selection = topology.select(&Criteria::new().mode(mode).ignore_node());
        let Some(choice) = selection.chosen.first() else {
            let is_configured = |queue: &dsa::device::WorkQueue| queue.size != Some(0);
            let reasons = selection.rejected.iter().filter(|rejected| is_configured(rejected.queue));
            let reasons = reasons.flat_map(|rejected| &rejected.reasons).map(ToString::to_string);
            panic!("no such queue:\n{}", reasons.collect::<Vec<_>>().join("\n"))
        };
        let name = choice.queue.id.to_string();
        let config = CONFIGURATION
            .iter()
            .filter_map(|&key| Some((key, fs::read_to_string(Path::new(SYSFS).join(&name).join(key)).ok()?)))
            .map(|(key, value)| (key, value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self {
            node: choice.queue.node.clone(),
            device: choice.device.id.to_string(),
            capabilities: choice.queue.capabilities(choice.device, Via::Portal).expect("described"),
            name,
            config,
        }
    }

    /// An attribute, as the driver shows it.
    pub(crate) fn attribute(&self, key: &str) -> String {
        fs::read_to_string(Path::new(SYSFS).join(&self.name).join(key)).unwrap_or_default().trim().to_owned()
    }

    /// Unbinds the queue from its driver, whoever uses it.
    pub(crate) fn disable(&self) {
        fs::write("/sys/bus/dsa/drivers/user/unbind", &self.name).unwrap();
        assert_eq!(self.attribute("state"), "disabled");
    }

    /// Configures the queue as it was, and binds it again.
    pub(crate) fn enable(&self) {
        self.enable_with("", "");
    }

    /// As [`enable`](Self::enable), with one attribute changed.
    pub(crate) fn enable_with(&self, changed: &str, to: &str) {
        for (key, value) in &self.config {
            let value = if *key == changed { to } else { value };
            let written = fs::write(Path::new(SYSFS).join(&self.name).join(key), value);
            // A dedicated queue has no threshold, and an enabled device keeps the sizes of its queues.
            let is_refused = matches!(*key, "threshold" | "size");
            assert!(written.is_ok() || is_refused, "{}: {key} = {value}: {written:?}", self.name);
        }
        let bound = fs::write("/sys/bus/dsa/drivers/user/bind", &self.name);
        let reason = || fs::read_to_string(format!("{SYSFS}/{}/cmd_status", self.device)).unwrap_or_default();
        assert!(bound.is_ok(), "{bound:?}: {}", reason());
        assert_eq!(self.attribute("state"), "enabled");
        eventually("the node is back", || self.node.exists());
    }

    /// Resets the PCI function of the queue's device.
    pub(crate) fn reset_device(&self) {
        let device = fs::canonicalize(Path::new(SYSFS).join(&self.device)).unwrap();
        fs::write(device.parent().unwrap().join("reset"), "1").unwrap();
    }

    /// A file that is opened by hand.
    pub(crate) fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.node).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// An accelerator with this queue alone.
    pub(crate) fn accelerator(&self, by: SubmitBy) -> Accelerator {
        self.accelerator_with(by, Duration::from_millis(500))
    }

    pub(crate) fn accelerator_with(&self, by: SubmitBy, lost_after: Duration) -> Accelerator {
        let mut policy = Policy::default();
        policy.min_device_size = Some(0);
        policy.max_resumes = 255;
        policy.dead_after = Duration::from_millis(10);
        policy.lost_after = lost_after;
        policy.lanes = 2;
        policy.slots_per_lane = 32;
        let mut error = None;
        // A queue is closed by the poller of an earlier test's accelerator, soon after that was dropped.
        eventually(&format!("{} can be opened: {error:?}", self.name), || {
            match Accelerator::builder().policy(policy.clone()).work_queue(&self.name).submit_by(by).build() {
                Ok(accelerator) => Some(accelerator),
                Err(now) => {
                    error = Some(now);
                    None
                }
            }
            .is_some_and(|accelerator| OPENED.lock().unwrap().replace(accelerator).is_none())
        });
        let accelerator = OPENED.lock().unwrap().take().expect("opened just now");
        let info = accelerator.work_queues().next().expect("one queue");
        assert_eq!(info.path == SubmissionPath::Write, by == SubmitBy::Write, "{info}");
        accelerator
    }
}

static OPENED: Mutex<Option<Accelerator>> = Mutex::new(None);

/// One test at a time: they share two queues.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The control channel of the device, a serial line: `DSA_MODEL_CONTROL` names it.
pub(crate) struct Control(BufReader<File>);

impl Control {
    pub(crate) fn open() -> Self {
        let path = std::env::var("DSA_MODEL_CONTROL").unwrap_or_else(|_| "/dev/ttyS1".to_owned());
        let file = OpenOptions::new().read(true).write(true).open(&path);
        Self(BufReader::new(file.unwrap_or_else(|error| panic!("no control channel at {path}: {error}"))))
    }

    /// Sends a command and gives the answer behind `ok`.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.0.get_mut().write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let answer = line.trim().strip_prefix("ok");
        answer.unwrap_or_else(|| panic!("{command}: {line}")).trim().to_owned()
    }

    /// A counter of the device.
    pub(crate) fn counter(&mut self, name: &str) -> u64 {
        let counters = self.ask("counters");
        let value = counters.split_whitespace().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Injects a rule for the time of `body`; gives how often it fired.
    pub(crate) fn with_rule(&mut self, rule: &str, body: impl FnOnce()) -> u64 {
        let id = self.ask(&format!("inject {rule}"));
        body();
        self.ask(&format!("remove {id}")).parse().unwrap()
    }
}

/// A record in memory that is there.
#[derive(Default)]
pub(crate) struct Record(Box<CompletionRecord>);

impl Record {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn address(&mut self) -> u64 {
        (&raw mut *self.0).expose_provenance() as u64
    }

    /// Waits until it is complete.
    pub(crate) fn wait(&mut self) -> CompletionRecord {
        let record = &raw mut *self.0;
        eventually("a record", || {
            // SAFETY: the record is valid; the device writes the byte as another thread would, hence atomically.
            unsafe { std::sync::atomic::AtomicU8::from_ptr(record.cast()) }.load(std::sync::atomic::Ordering::Acquire)
                != 0
        });
        // SAFETY: complete, and nothing else is submitted with this record.
        unsafe { record.read() }
    }
}

/// Submits one descriptor by `write(2)`, by hand.
pub(crate) fn write_one(file: &File, descriptor: &Descriptor) -> std::io::Result<usize> {
    use zerocopy::IntoBytes;
    (&*file).write(descriptor.as_bytes())
}

/// Runs one test of this program, alone, in a process of its own; `set` prepares the command.
pub(crate) fn in_another_process(test: &str, set: impl FnOnce(&mut Command)) -> std::process::Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    set(&mut command);
    command.output().unwrap()
}

/// As [`in_another_process`], as an ordinary user; the output if it succeeded.
pub(crate) fn as_a_user(test: &str) -> String {
    use std::os::unix::process::CommandExt;
    let output = in_another_process(test, |command| {
        command.uid(1000).gid(1000).env("DSA_TEST_PART", "user");
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}: {}\n{said}", output.status);
    said
}

/// Whether this process is a part of a test that another one has started.
pub(crate) fn part() -> Option<String> {
    std::env::var("DSA_TEST_PART").ok()
}

/// Pages of their own, none of which is there before it is touched.
pub(crate) struct Fresh(*mut u8, usize);

impl Fresh {
    /// `len` bytes, a multiple of the page size; at `address`, where nothing may be, if that is not 0.
    pub(crate) fn new(len: usize, address: usize) -> Self {
        let fixed = if address == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
        let at = std::ptr::without_provenance_mut(address);
        // SAFETY: a new mapping, which by its kind replaces none.
        let page = unsafe { libc::mmap(at, len, libc::PROT_READ | libc::PROT_WRITE, kind, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Self(page.cast(), len)
    }

    pub(crate) fn address(&self) -> u64 {
        self.0.expose_provenance() as u64
    }

    /// The bytes; nothing may be in flight on them.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: our own mapping, zeroed by the kernel, borrowed from `self`; the test has waited for the device.
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

// SAFETY: plain memory of its own, which no other thread has a pointer to.
unsafe impl Send for Fresh {}

// SAFETY: the mapping stays where it is while the value moves, is initialised by the kernel, and is reached through nothing
// else.
unsafe impl StableBuf for Fresh {
    fn as_ptr(&self) -> *const u8 {
        self.0
    }

    fn len(&self) -> usize {
        self.1
    }
}

// SAFETY: as above; all of it may be written.
unsafe impl StableBufMut for Fresh {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0
    }

    fn capacity(&self) -> usize {
        self.1
    }

    unsafe fn set_init(&mut self, len: usize) {
        assert!(len <= self.1);
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nothing is in flight on it.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}
