//! The open file of one work queue, its portal, and how both are given up.
//!
//! Closing is the way to be certain that nothing of ours executes any more: the driver's `release` drains the PASID of
//! the closer (shared queues) or the queue (dedicated ones) before it returns (driver: `idxd_file_dev_release`). Three
//! things are needed for that. The portal must be unmapped first, because a mapping keeps the file open. No other
//! process may have the file: a fork child closes what it inherits ([`super::inherit`]), and where the driver lists open
//! files in sysfs, the entry must be gone. And a drain may take as long as the device likes, so a thread does it and the
//! caller waits for a bounded time.
//!
//! There is other evidence: the queue is not there any more. To disable a queue, or to reset its device, the driver takes
//! the node away, then drains and resets the queue, and only then says that it is disabled or makes a new node. Whoever
//! sees the node gone *and* the queue disabled, or another node in its place, knows that nothing is left of the old one.
//! What cannot be seen - from inside a container, after a `chroot` - is no evidence of anything.
//!
//! That matters most during a reset: the driver waits for ever for a command whose answer a reset has swallowed, and a
//! close sends one. A close at that moment hangs, and with it everything that the driver does with the device, the end of
//! the reset included. So a queue is listened to before its file is closed, and the file of a queue that is no more stays
//! open until its device works again.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use idxd_sys::portal::PAGE_SIZE;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mm::{MapFlags, ProtFlags};

use super::error::{QueueError, QueueErrorKind};
use super::inherit::{Place, Refused};
use crate::process::ForkLock;

/// How long a caller waits for a close to drain.
const DRAIN: Duration = Duration::from_secs(2);

/// How long a device in trouble may take to come to an end by itself.
const SETTLE: Duration = Duration::from_secs(1);

/// How long trouble may take to show. A reset of the function needs about a tenth of a second before the driver says
/// anything of it.
const LISTEN: Duration = Duration::from_millis(250);

/// How often the driver is asked meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// What the driver does between saying that a queue is disabled and letting go of its memory (flushing the work on
/// completion records out of the event log) takes far less.
const AFTERMATH: Duration = Duration::from_millis(20);

/// How long an accelerator that has been dropped may take to close a queue that is wanted again.
const TURNOVER: Duration = Duration::from_secs(5);

/// What the driver says of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Whether the device is enabled, or nobody says otherwise.
    pub(crate) is_device_enabled: bool,
    /// Whether the driver says that the queue is disabled.
    pub(crate) is_queue_disabled: bool,
}

impl Condition {
    /// Whether there is nothing to be said against either.
    pub(crate) fn is_good(self) -> bool {
        self.is_device_enabled && !self.is_queue_disabled
    }
}

/// What is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) queue: &'a str,
    pub(crate) node: &'a Path,
    /// Major and minor number of the node, if the driver tells.
    pub(crate) number: Option<(u32, u32)>,
}

/// The file of one work queue, open or closed, by one process.
pub(crate) struct QueueFile {
    queue: String,
    node: PathBuf,
    place: Arc<Place>,
    /// The mapped portal, or null.
    portal: AtomicPtr<u8>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The driver's entry for the open file, if it is known.
    listed_as: Option<PathBuf>,
    /// The node by which it was opened, whatever becomes of its name. Holding it does not hold the queue open.
    node: Option<OwnedFd>,
    /// Which node that is: device and inode.
    opened_as: (u64, u64),
    /// The queue is known to be no more, and the file has not been closed so far.
    is_over: bool,
    /// A close that has not come back yet.
    closing: Option<Receiver<()>>,
    /// The file has been closed, or is being closed, and it is not certain so far that this has drained it.
    is_unproven: bool,
}

impl State {
    /// Whether the node has lost its name: the first that the driver does to a queue that it disables.
    fn is_node_gone(&self) -> bool {
        self.node.as_ref().is_some_and(|node| rustix::fs::fstat(node).is_ok_and(|status| status.st_nlink == 0))
    }
}

impl fmt::Debug for QueueFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueFile").field("node", &self.node).finish_non_exhaustive()
    }
}

impl QueueFile {
    /// Opens the node of a queue. `listing` gives the driver's entries for open files of this queue.
    pub(crate) fn open(target: &Target<'_>, listing: impl Fn() -> Vec<PathBuf>) -> Result<Self, QueueError> {
        let begun = Instant::now();
        let place = loop {
            let cause = match Place::reserve(key(target.node)) {
                Ok(place) => break place,
                Err(Refused::Retiring) if begun.elapsed() < TURNOVER => {
                    std::thread::sleep(LOOK);
                    continue;
                }
                Err(Refused::Taken | Refused::Retiring) => QueueErrorKind::OpenHere,
                Err(Refused::Full) => QueueErrorKind::TooManyQueues,
            };
            return Err(QueueError::new(target.queue, target.node, cause, None));
        };
        let file = Self {
            queue: target.queue.to_owned(),
            node: target.node.to_owned(),
            place: Arc::new(place),
            portal: AtomicPtr::default(),
            state: Mutex::default(),
        };
        file.reopen(target, listing)?;
        Ok(file)
    }

    /// Opens the node again after [`close`](Self::close) has returned true.
    pub(crate) fn reopen(&self, target: &Target<'_>, listing: impl Fn() -> Vec<PathBuf>) -> Result<(), QueueError> {
        /// So that files of this process that appear in a listing at the same time are told apart.
        static OPENING: ForkLock = ForkLock::new();
        let mut state = self.state();
        if state.closing.is_none() && state.is_over {
            // What was not closed in time. The device works, or nobody would open the queue.
            state.closing = close_aside(&self.place);
        }
        if state.closing.as_ref().is_some_and(|closing| closing.recv_timeout(DRAIN) == Err(RecvTimeoutError::Timeout)) {
            // Two files of one process on one queue are more than the driver can tell apart.
            return Err(QueueError::new(&self.queue, &self.node, QueueErrorKind::StillClosing, None));
        }
        state.closing = None;
        OPENING.exclusively(|| {
            let before = listing();
            let (file, node, opened_as) = open_node(target)?;
            // At once: a child that is forked off now finds it in the table, and closes it.
            self.place.put(file);
            state.is_over = false;
            state.node = Some(node);
            state.opened_as = opened_as;
            let mut new = listing().into_iter().filter(|entry| !before.contains(entry));
            // Another process may have opened the queue at the same moment; then it is not known which one is ours.
            state.listed_as = new.next().filter(|_| new.next().is_none());
            Ok(())
        })
    }

    /// Maps the portal.
    pub(crate) fn map_portal(&self) -> Result<(), QueueError> {
        // SAFETY: `state` is held by everybody who takes the file.
        let _state = self.state();
        // SAFETY: as above.
        let Some(file) = (unsafe { self.place.file() }) else {
            return Err(QueueError::new(&self.queue, &self.node, QueueErrorKind::Gone, None));
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists. Nothing but submission
        // instructions ever writes there.
        let page =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), PAGE_SIZE, ProtFlags::WRITE, MapFlags::SHARED, file, 0) };
        let page = page.map_err(|error| QueueError::portal(&self.queue, &self.node, error.into()))?;
        // The driver keeps the portal from children; so does this, should a driver ever not.
        // SAFETY: advice about our own mapping, which changes nothing in this process.
        let _ = unsafe { rustix::mm::madvise(page, PAGE_SIZE, rustix::mm::Advice::LinuxDontFork) };
        self.portal.store(page.cast(), Ordering::Release);
        Ok(())
    }

    /// The mapped portal, null without one. It stays mapped until [`close`](Self::close) or the drop.
    #[inline]
    pub(crate) fn portal(&self) -> *mut u8 {
        self.portal.load(Ordering::Acquire)
    }

    /// The open file.
    ///
    /// # Safety
    ///
    /// Nobody calls [`close`](Self::close), or drops this, while the result is in use.
    #[inline]
    pub(crate) unsafe fn file(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: only `close` and the drop take the file.
        unsafe { self.place.file() }
    }

    /// Whether the file is open, and the queue behind it has not been taken away since.
    pub(crate) fn is_current(&self) -> bool {
        let state = self.state();
        // SAFETY: whoever takes the file holds the state, but for the thread that closes it, after which there is none.
        let is_open = unsafe { self.place.file() }.is_some();
        is_open && state.closing.is_none() && !state.is_over && !state.is_node_gone()
    }

    /// Whether this process may use the file at all: not if it was forked off the one that opened it.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.place.is_mine()
    }

    /// Whether nothing can be submitted through this file any more, until it is opened again.
    pub(crate) fn is_closed(&self) -> bool {
        let state = self.state();
        // SAFETY: as in `is_current`; only looked at.
        state.is_over || state.closing.is_some() || unsafe { self.place.file() }.is_none()
    }

    /// Unmaps the portal, closes the file, and waits until the driver has drained it, or until the queue is known to be
    /// no more. True if either is certain: then nothing submitted through this file is queued or executing. False if it
    /// takes longer than a few seconds, or if somebody else has the file open; to be tried again.
    ///
    /// `condition` asks the driver. Nobody submits meanwhile.
    pub(crate) fn close(&self, target: &Target<'_>, condition: impl Fn() -> Condition) -> bool {
        let mut state = self.state();
        if state.is_over {
            return true;
        }
        if state.closing.is_none() {
            self.unmap();
            self.listen(&state, &condition);
            if self.is_over(&state, condition()) && !condition().is_device_enabled {
                std::thread::sleep(AFTERMATH);
                state.is_over = true;
                state.is_unproven = false;
                return true;
            }
            // SAFETY: as in `is_current`; only looked at.
            if unsafe { self.place.file() }.is_some() {
                state.closing = close_aside(&self.place);
                if state.closing.is_none() {
                    // No thread to be had.
                    return false;
                }
                state.is_unproven = true;
            }
        }
        if state.is_unproven && self.prove(&mut state, target, condition) {
            state.is_unproven = false;
        }
        !state.is_unproven
    }

    /// Waits for a close that is under way, and for certainty that it was the last one of the file.
    fn prove(&self, state: &mut State, target: &Target<'_>, condition: impl Fn() -> Condition) -> bool {
        let begun = Instant::now();
        while let Some(closing) = &state.closing {
            if closing.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                state.closing = None;
            } else if begun.elapsed() >= LISTEN && self.is_over(state, condition()) {
                // The close may hang for ever. Until it has come back, the queue is not opened again.
                std::thread::sleep(AFTERMATH);
                return true;
            } else if begun.elapsed() >= DRAIN {
                return false;
            }
        }
        // Another process may have had the file for a moment, such as a child before it has run its handler.
        while state.listed_as.as_ref().is_some_and(|entry| entry.exists()) && begun.elapsed() < DRAIN {
            std::thread::sleep(LOOK);
        }
        let is_certain = state.listed_as.as_ref().is_some_and(|entry| !entry.exists());
        is_certain || self.is_over(state, condition()) || drain_by_another_file(target)
    }

    /// Closes a file through which nothing was submitted, without waiting.
    pub(crate) fn close_unused(&self) {
        let mut state = self.state();
        self.unmap();
        if state.closing.is_none() {
            state.closing = close_aside(&self.place);
        }
    }

    /// Says that the file will be closed soon, so that whoever wants to open the queue anew waits for that.
    pub(crate) fn retire(&self) {
        self.place.retire();
    }

    /// Gives the file up without closing it, if its device is not to be disturbed now: it is closed when `is_good` says
    /// so, by a thread of its own.
    pub(crate) fn leave_open_until(&self, is_good: impl Fn() -> bool + Send + 'static) {
        if self.state().is_over {
            let place = Arc::clone(&self.place);
            let wait = move || {
                while !is_good() {
                    std::thread::sleep(SETTLE);
                }
                drop(place);
            };
            // Without a thread it is closed by the drop that follows.
            let _ = std::thread::Builder::new().name("dsa-close".into()).spawn(wait);
        }
    }

    /// Whether the queue by which the file was opened is known to be no more.
    fn is_over(&self, state: &State, condition: Condition) -> bool {
        let another = || match rustix::fs::stat(&self.node) {
            Ok(status) => (status.st_dev, status.st_ino) != state.opened_as,
            Err(_) => false,
        };
        state.is_node_gone() && (condition.is_queue_disabled || another())
    }

    /// Waits until the queue is known to be no more, or to be disabled, or until it is likely that neither will happen.
    fn listen(&self, state: &State, condition: &impl Fn() -> Condition) {
        let begun = Instant::now();
        loop {
            let now = condition();
            let limit = if now.is_device_enabled { LISTEN } else { SETTLE };
            if self.is_over(state, now) || now.is_device_enabled && now.is_queue_disabled || begun.elapsed() >= limit {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn unmap(&self) {
        let page = self.portal.swap(std::ptr::null_mut(), Ordering::AcqRel);
        // A child does not have the mapping, and may have another one in its place.
        if !page.is_null() && self.place.is_mine() {
            // SAFETY: our own mapping of this length; the caller sees to it that nobody submits, and nobody else has the
            // pointer.
            let _ = unsafe { rustix::mm::munmap(page.cast(), PAGE_SIZE) };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueueFile {
    fn drop(&mut self) {
        // `place` closes the file next.
        self.unmap();
    }
}

/// What stands for a queue in the table of open files.
fn key(node: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    std::path::absolute(node).unwrap_or_else(|_| node.to_owned()).hash(&mut hasher);
    hasher.finish()
}

/// Opens a queue and closes it again. That drains a shared queue of what this process has submitted, whoever else has a
/// file of it; and a dedicated one can only be opened when the last file of it has been closed and drained.
fn drain_by_another_file(target: &Target<'_>) -> bool {
    // With a place of its own, for the sake of children.
    let Ok(place) = Place::reserve(!key(target.node)).map(Arc::new) else { return false };
    let file = match open_node(target) {
        Ok((file, ..)) => file,
        // Our close has returned, and nobody can have the queue open that is not there: its driver has let go of it.
        Err(error) => return matches!(error.kind(), QueueErrorKind::NoNode | QueueErrorKind::Gone),
    };
    place.put(file);
    close_aside(&place).is_some_and(|closing| closing.recv_timeout(DRAIN) != Err(RecvTimeoutError::Timeout))
}

/// Opens a node: the queue, the node itself, and which one it is: device and inode.
fn open_node(target: &Target<'_>) -> Result<(OwnedFd, OwnedFd, (u64, u64)), QueueError> {
    let Target { queue, node, number } = *target;
    let failed = |error: rustix::io::Errno| QueueError::open(queue, node, error.into());
    let wrong = |cause| Err(QueueError::new(queue, node, cause, None));
    let path = rustix::fs::open(node, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let expected = rustix::fs::fstat(&path).map_err(failed)?;
    if FileType::from_raw_mode(expected.st_mode) != FileType::CharacterDevice {
        return wrong(QueueErrorKind::NotADevice);
    }
    let found = (rustix::fs::major(expected.st_rdev), rustix::fs::minor(expected.st_rdev));
    if number.is_some_and(|number| number != found) {
        return wrong(QueueErrorKind::WrongNode);
    }
    let file = rustix::fs::open(node, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let status = rustix::fs::fstat(&file).map_err(failed)?;
    let which = (status.st_dev, status.st_ino);
    if which != (expected.st_dev, expected.st_ino) {
        // Exchanged between the two opens.
        return wrong(QueueErrorKind::WrongNode);
    }
    Ok((file, path, which))
}

/// Closes a file on a thread of its own; the message comes when the close has returned. `None` if there is no thread to
/// be had; then the file stays open.
fn close_aside(place: &Arc<Place>) -> Option<Receiver<()>> {
    let (done, closing) = channel();
    let place = Arc::clone(place);
    // The file stays in the table until just before it is closed, for the sake of children.
    let close = move || {
        drop(place.take());
        // Before the message: whoever gets it may be the last to have the place.
        drop(place);
        let _ = done.send(());
    };
    std::thread::Builder::new().name("dsa-close".into()).spawn(close).ok().map(|_| closing)
}
