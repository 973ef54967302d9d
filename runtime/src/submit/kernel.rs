//! A work queue of the Linux driver, by its portal or by `write(2)`.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use idxd_sys::{CpuFeatures, Descriptor};

use super::portal::{self, Instruction};
use super::write::{self, Written};
use super::{SubmissionPath, Submitter, Verdict};
use crate::clock;
use crate::descriptor::Capabilities;
use crate::device::{QueueError, QueueErrorKind, QueueFile, QueueSpec, Via};

/// Which way into a queue is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubmitBy {
    /// The portal where it may be mapped and the CPU has the instruction, else `write(2)`.
    #[default]
    Auto,
    /// The portal only; a queue whose portal cannot be had is an error.
    Portal,
    /// `write(2)` only.
    Write,
}

/// How long a queue that has refused descriptors outright stays closed.
const COOLING: Duration = Duration::from_secs(1);

/// How often a writer asks the driver whether the queue is still enabled.
const INQUIRY: Duration = Duration::from_millis(5);

/// One open queue.
pub(crate) struct KernelQueue {
    spec: QueueSpec,
    file: QueueFile,
    path: SubmissionPath,
    capabilities: Capabilities,
    distances: Vec<u32>,
    /// Why it is not submitted to by its portal, if that was tried.
    no_portal: Option<Arc<QueueError>>,
    /// The driver's word on whether the queue is enabled, for [`write`](Self::write).
    state: Option<File>,
    /// When that was last read, in clock ticks.
    asked: AtomicU64,
    trouble: Mutex<Trouble>,
}

/// What went wrong; off the hot path.
#[derive(Default)]
struct Trouble {
    last: Option<Arc<QueueError>>,
    /// When descriptors were refused, and not just for the moment.
    refused: Option<Instant>,
}

impl KernelQueue {
    /// Opens the queue that `spec` describes.
    pub(crate) fn open(spec: QueueSpec, by: SubmitBy) -> Result<Self, QueueError> {
        let file = QueueFile::open(&spec.target(), || spec.open_files())?;
        let (path, no_portal) = match by {
            SubmitBy::Write => (SubmissionPath::Write, None),
            SubmitBy::Portal => (by_portal(&spec, &file)?, None),
            SubmitBy::Auto => match by_portal(&spec, &file) {
                Ok(path) => (path, None),
                Err(error) => (SubmissionPath::Write, Some(Arc::new(error))),
            },
        };
        let via = if path == SubmissionPath::Write { Via::Write } else { Via::Portal };
        let capabilities = spec.capabilities(via);
        // It stays the same file for as long as the device is there, whatever becomes of the queue.
        let state = File::open(spec.state_file()).ok();
        let (asked, trouble) = (AtomicU64::new(clock::now()), Mutex::default());
        let distances = Vec::new();
        Ok(Self { spec, file, path, capabilities, distances, no_portal, state, asked, trouble })
    }

    /// Says by how many nanoseconds it is farther from some NUMA nodes than from others.
    pub(crate) fn at_distances(mut self, nanoseconds: Vec<u32>) -> Self {
        self.distances = nanoseconds;
        self
    }

    fn refuse(&self, error: QueueError) {
        let mut trouble = self.notes();
        trouble.last = Some(Arc::new(error));
        trouble.refused = Some(Instant::now());
    }

    /// Opens the queue again, if it is there and still the same.
    fn reopen(&self) -> Result<(), QueueError> {
        let error = |cause| QueueError::new(self.spec.name(), self.spec.node(), cause, None);
        let now = self.spec.read_again().ok_or_else(|| error(QueueErrorKind::NoNode))?;
        if !now.condition().is_good() {
            return Err(error(QueueErrorKind::Disabled));
        }
        if !now.is_configured_as(&self.spec) {
            return Err(error(QueueErrorKind::Reconfigured));
        }
        self.file.reopen(&now.target(), || now.open_files())?;
        if self.path != SubmissionPath::Write
            && let Err(error) = self.file.map_portal()
        {
            self.file.close_unused();
            return Err(error);
        }
        Ok(())
    }

    fn notes(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Maps the portal and says which instruction it takes.
fn by_portal(spec: &QueueSpec, file: &QueueFile) -> Result<SubmissionPath, QueueError> {
    let cpu = CpuFeatures::detect();
    let (path, has_instruction) = if spec.is_dedicated() {
        (SubmissionPath::Movdir64b, cpu.movdir64b)
    } else {
        (SubmissionPath::Enqcmd, cpu.enqcmd)
    };
    if !has_instruction {
        return Err(QueueError::new(spec.name(), spec.node(), QueueErrorKind::NoInstruction, None));
    }
    file.map_portal().map(|()| path)
}

impl fmt::Debug for KernelQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "work queue {} by {}", self.spec.name(), self.path)
    }
}

impl Submitter for KernelQueue {
    fn distances(&self) -> &[u32] {
        &self.distances
    }

    #[inline]
    unsafe fn submit(&self, descriptors: &[Descriptor]) -> Verdict {
        let instruction = match self.path {
            SubmissionPath::Enqcmd => Instruction::Enqcmd,
            SubmissionPath::Movdir64b => Instruction::Movdir64b,
            // SAFETY: forwarded.
            _ => return unsafe { self.write(descriptors) },
        };
        let page = self.file.portal();
        // No portal: closed. Not mine: a child that has not noticed so far, in which nothing is mapped.
        if page.is_null() || !self.file.is_mine() {
            return Verdict::Refused(0);
        }
        // SAFETY: the CPU was asked for the instruction, or somebody vouches for its emulation, before the portal was
        // mapped; nobody unmaps it during this call (rule of the trait); the rest is the caller's promise.
        unsafe { portal::submit(page, instruction, descriptors) }
    }

    fn name(&self) -> String {
        self.spec.name().to_owned()
    }

    fn path(&self) -> SubmissionPath {
        self.path
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn credits(&self) -> Option<usize> {
        self.spec.is_dedicated().then(|| self.spec.size())
    }

    fn is_alive(&self) -> bool {
        self.notes().refused.is_none() && self.file.is_current() && self.spec.condition().is_good()
    }

    fn quiesce(&self) -> bool {
        self.file.close(&self.spec.target(), || self.spec.condition())
    }

    fn retire_soon(&self) {
        self.file.retire();
    }

    fn revive(&self) -> bool {
        if !self.file.is_closed() {
            return self.is_alive();
        }
        if self.notes().refused.is_some_and(|at| at.elapsed() < COOLING) {
            return false;
        }
        let reopened = self.reopen();
        let mut trouble = self.notes();
        match reopened {
            Ok(()) => {
                trouble.refused = None;
                true
            }
            Err(error) => {
                trouble.last = Some(Arc::new(error));
                false
            }
        }
    }

    fn trouble(&self) -> Option<Arc<QueueError>> {
        // A fork child may find it locked, by a thread that it does not have.
        self.trouble.try_lock().ok()?.last.clone()
    }

    fn no_portal(&self) -> Option<Arc<QueueError>> {
        self.no_portal.clone()
    }
}

impl Drop for KernelQueue {
    fn drop(&mut self) {
        let spec = self.spec.clone();
        self.file.leave_open_until(move || spec.condition().is_device_enabled);
    }
}

impl KernelQueue {
    /// # Safety
    ///
    /// As for [`Submitter::submit`].
    unsafe fn write(&self, descriptors: &[Descriptor]) -> Verdict {
        // SAFETY: nobody closes the file during a submission (rule of the trait).
        let Some(file) = (unsafe { self.file.file() }) else { return Verdict::Refused(0) };
        let error = |cause| QueueError::new(self.spec.name(), self.spec.node(), cause, None);
        if self.is_known_to_be_disabled() {
            self.refuse(error(QueueErrorKind::QueueDisabled));
            return Verdict::Refused(0);
        }
        // SAFETY: the file is the queue's; the rest is the caller's promise.
        match unsafe { write::submit(file, descriptors) } {
            Written::Some(count) if count == descriptors.len() => Verdict::Accepted,
            // The next call says what kept the next one.
            Written::Some(count) => Verdict::Retry(count),
            Written::Full => Verdict::Full,
            Written::Gone => {
                self.refuse(error(QueueErrorKind::QueueDisabled));
                Verdict::Refused(0)
            }
            Written::Failed(source) => {
                self.refuse(QueueError::write(self.spec.name(), self.spec.node(), source));
                Verdict::Refused(0)
            }
        }
    }

    /// Asks the driver from time to time. A node that somebody made by hand, as containers do, keeps its name when the
    /// queue is disabled, and so does every node when a device has halted for good; to write then is fatal (see
    /// [`write::submit`]).
    fn is_known_to_be_disabled(&self) -> bool {
        let (now, asked) = (clock::now(), self.asked.load(Ordering::Relaxed));
        if clock::to_nanos(now.saturating_sub(asked)) < INQUIRY.as_nanos() as u64 {
            return false;
        }
        self.asked.store(now, Ordering::Relaxed);
        let mut text = [0; 16];
        let Some(state) = &self.state else { return false };
        // Without a device behind it any more, the file cannot be read.
        state.read_at(&mut text, 0).map_or(true, |len| text[..len].starts_with(b"disabled"))
    }
}
