//! What the driver's calls can answer, and what it means: every `errno` of `open`, `mmap` and `write` on a work queue.
//!
//! Sources: the driver's `cdev.c` and `submit.c`, the kernel's SVA code and `fs/char_dev.c`, of Linux 6.12 to 7.3.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::inherit::MOST;

/// Why a call on a work queue failed: device, queue, file, cause and remedy.
#[derive(Debug)]
pub struct QueueError {
    queue: String,
    node: PathBuf,
    cause: QueueErrorKind,
    source: Option<io::Error>,
}

/// The call and its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueErrorKind {
    /// `open`: there is no such node (`ENOENT`).
    NoNode,
    /// `open`: the node is no character device.
    NotADevice,
    /// `open`: this user may not (`EACCES`, `EPERM`).
    NoPermission,
    /// `open`: the node has no queue behind it any more (`ENXIO`).
    Gone,
    /// `open`: the queue is dedicated, and somebody has it open (`EBUSY`).
    Busy,
    /// `open`: the IOMMU cannot bind this process's memory to the device (`ENODEV`).
    NoSva,
    /// `open`: the kernel has shared virtual addressing switched off (`EOPNOTSUPP`).
    SvaSwitchedOff,
    /// `open`: the kernel gave no valid PASID (`EINVAL`).
    InvalidPasid,
    /// `open`: no PASID is left (`ENOSPC`).
    NoPasidLeft,
    /// `open`: this process, or the system, has too many files open (`EMFILE`, `ENFILE`).
    TooManyFiles,
    /// `open` or `mmap`: no memory (`ENOMEM`, `EAGAIN`).
    NoMemory,
    /// `open`: this process has the queue open already, in another accelerator.
    OpenHere,
    /// `open`: this process has as many queues open as it can.
    TooManyQueues,
    /// `open`: the queue is not configured any more as it was when the accelerator was built.
    Reconfigured,
    /// `open`: the node leads to another queue than the driver says.
    WrongNode,
    /// `open`: the last close of the queue has not come back from the driver.
    StillClosing,
    /// `open`: device or queue are not enabled.
    Disabled,
    /// Any other answer to `open`.
    OpenFailed,
    /// `mmap`: a portal needs `CAP_SYS_RAWIO` (`EPERM`).
    PortalNotAllowed,
    /// `mmap`: refused (`EINVAL`).
    PortalInvalid,
    /// Any other answer to `mmap`.
    PortalFailed,
    /// The CPU has no instruction for this kind of queue.
    NoInstruction,
    /// `write`: the file belongs to another address space (`EPERM`).
    ForeignMemory,
    /// `write`: the descriptor is not allowed on this way: a batch on a device of version 1, or a misaligned completion
    /// record (`EINVAL`).
    DescriptorRefused,
    /// `write`: the descriptors cannot be read (`EFAULT`).
    BadAddress,
    /// `write`: the queue has been disabled since it was opened.
    QueueDisabled,
    /// Any other answer to `write`.
    WriteFailed,
}

impl QueueError {
    pub(crate) fn new(queue: &str, node: &Path, cause: QueueErrorKind, source: Option<io::Error>) -> Self {
        Self { queue: queue.to_owned(), node: node.to_owned(), cause, source }
    }

    pub(crate) fn open(queue: &str, node: &Path, error: io::Error) -> Self {
        use QueueErrorKind as Kind;
        let cause = match error.raw_os_error().unwrap_or(0) {
            libc::ENOENT | libc::ENOTDIR => Kind::NoNode,
            libc::EACCES | libc::EPERM => Kind::NoPermission,
            libc::ENXIO => Kind::Gone,
            libc::EBUSY => Kind::Busy,
            libc::ENODEV => Kind::NoSva,
            libc::EOPNOTSUPP => Kind::SvaSwitchedOff,
            libc::EINVAL => Kind::InvalidPasid,
            libc::ENOSPC => Kind::NoPasidLeft,
            libc::EMFILE | libc::ENFILE => Kind::TooManyFiles,
            libc::ENOMEM | libc::EAGAIN => Kind::NoMemory,
            _ => Kind::OpenFailed,
        };
        Self::new(queue, node, cause, Some(error))
    }

    pub(crate) fn portal(queue: &str, node: &Path, error: io::Error) -> Self {
        use QueueErrorKind as Kind;
        let cause = match error.raw_os_error().unwrap_or(0) {
            libc::EPERM | libc::EACCES => Kind::PortalNotAllowed,
            libc::EINVAL => Kind::PortalInvalid,
            libc::ENOMEM | libc::EAGAIN => Kind::NoMemory,
            _ => Kind::PortalFailed,
        };
        Self::new(queue, node, cause, Some(error))
    }

    pub(crate) fn write(queue: &str, node: &Path, error: io::Error) -> Self {
        use QueueErrorKind as Kind;
        let cause = match error.raw_os_error().unwrap_or(0) {
            libc::EPERM => Kind::ForeignMemory,
            libc::EINVAL => Kind::DescriptorRefused,
            libc::EFAULT => Kind::BadAddress,
            libc::ENXIO | libc::ENODEV | libc::EIO => Kind::QueueDisabled,
            _ => Kind::WriteFailed,
        };
        Self::new(queue, node, cause, Some(error))
    }

    /// Name of the queue, such as `wq0.1`: queue 1 of device 0.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The node of the character device.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// The call that failed, and why.
    pub fn kind(&self) -> QueueErrorKind {
        self.cause
    }

    /// What the system said, if it was asked.
    pub fn io_error(&self) -> Option<&io::Error> {
        self.source.as_ref()
    }

    /// Number of the device in the queue's name.
    fn device(&self) -> &str {
        self.queue.trim_start_matches("wq").split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for QueueError {
    #[expect(clippy::too_many_lines, reason = "one sentence for each cause")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use QueueErrorKind as Kind;
        let (queue, node, device) = (&self.queue, self.node.display(), self.device());
        match self.cause {
            Kind::NoNode => write!(
                f,
                "{queue} cannot be opened: {node} does not exist; enable the queue (accel-config enable-wq \
                 dsa{device}/{queue}), and in a container pass the node in"
            ),
            Kind::NotADevice => write!(f, "{queue} cannot be opened: {node} is no character device; remove that file"),
            Kind::NoPermission => write!(
                f,
                "{queue} cannot be opened: this user may not read and write {node}; change its mode or group (a udev \
                 rule for SUBSYSTEM==\"dsa\" makes that last), and in a container allow the device"
            ),
            Kind::Gone => write!(
                f,
                "{queue} cannot be opened: {node} has no queue behind it, so it was disabled; enable it (accel-config \
                 enable-wq dsa{device}/{queue})"
            ),
            Kind::Busy => write!(
                f,
                "{queue} cannot be opened: it is dedicated, and another process (or a fork of this one) has {node} \
                 open; end that process, or use a shared queue"
            ),
            Kind::NoSva => write!(
                f,
                "{queue} cannot be opened: the IOMMU cannot bind the memory of a process to dsa{device}; boot with \
                 intel_iommu=on,sm_on, with VT-d and PASID enabled in the firmware"
            ),
            Kind::SvaSwitchedOff => write!(
                f,
                "{queue} cannot be opened: this kernel has shared virtual addressing switched off (stable kernels of \
                 2026 do, for security); use a newer kernel, 7.2 or later"
            ),
            Kind::InvalidPasid => write!(
                f,
                "{queue} cannot be opened: the kernel found no valid PASID for this process; look into the kernel log"
            ),
            Kind::NoPasidLeft => write!(
                f,
                "{queue} cannot be opened: no PASID is left; fewer processes can use devices with shared virtual \
                 addressing at the same time"
            ),
            Kind::TooManyFiles => {
                write!(f, "{queue} cannot be opened: too many open files; raise the limit (ulimit -n)")
            }
            Kind::NoMemory => {
                write!(f, "{queue} cannot be opened or mapped: the kernel has no memory for {node}; free some")
            }
            Kind::OpenHere => write!(
                f,
                "{queue} cannot be opened: this process has {node} open already; share that accelerator, a handle is \
                 cheap to clone"
            ),
            Kind::TooManyQueues => {
                write!(f, "{queue} cannot be opened: this process has {MOST} queues open, the most it can")
            }
            Kind::Reconfigured => write!(
                f,
                "{queue} is not used any more: it was configured anew (mode, size or capabilities) since the \
                 accelerator was built; build another one"
            ),
            Kind::WrongNode => write!(
                f,
                "{queue} cannot be opened: {node} leads to another queue (the number of a node changes when queues are \
                 disabled and enabled); make the node anew, or mount the machine's /dev/dsa"
            ),
            Kind::StillClosing => write!(
                f,
                "{queue} cannot be opened again: the driver has not come back from its last close of {node}; look into \
                 the kernel log, a device that hangs needs a reboot"
            ),
            Kind::Disabled => write!(
                f,
                "{queue} is not enabled, or its device is not; enable them (accel-config enable-device dsa{device}, \
                 accel-config enable-wq dsa{device}/{queue})"
            ),
            Kind::OpenFailed => write!(f, "{queue} cannot be opened ({node}); look into the kernel log"),
            Kind::PortalNotAllowed => write!(
                f,
                "the portal of {queue} cannot be mapped ({node}): that needs CAP_SYS_RAWIO since INTEL-SA-01084; give \
                 the process that capability, or let it submit by write(2)"
            ),
            Kind::PortalInvalid | Kind::PortalFailed => {
                write!(f, "the portal of {queue} cannot be mapped ({node}); let the process submit by write(2)")
            }
            Kind::NoInstruction => write!(
                f,
                "the portal of {queue} is of no use: this CPU has no ENQCMD (shared queues) or MOVDIR64B (dedicated \
                 ones); let the process submit by write(2)"
            ),
            Kind::ForeignMemory => write!(
                f,
                "{queue} refuses this process: {node} was opened by another one, whose memory it is bound to; open it \
                 again after a fork"
            ),
            Kind::DescriptorRefused => write!(
                f,
                "{queue} refuses a descriptor by write(2): a batch on a device of version 1, or a completion record \
                 that is not aligned to 32 bytes; the runtime sends neither, report it"
            ),
            Kind::BadAddress => write!(
                f,
                "{queue}: the kernel could not read the descriptors, which is a defect of this library; report it"
            ),
            Kind::QueueDisabled => write!(
                f,
                "{queue} has been disabled; enable it (accel-config enable-wq dsa{device}/{queue}), and it is used again"
            ),
            Kind::WriteFailed => write!(f, "{queue} does not take descriptors by write(2); look into the kernel log"),
        }?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// Without a source: what the system said stands in the text.
impl std::error::Error for QueueError {}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use super::*;

    fn kind(make: fn(&str, &Path, io::Error) -> QueueError, errno: i32) -> QueueErrorKind {
        let error = make("wq3.1", Path::new("/dev/dsa/wq3.1"), io::Error::from_raw_os_error(errno));
        let text = error.to_string();
        // Which queue, and behind a semicolon what to do about it.
        assert!(text.contains("wq3.1") && text.contains("; "), "{text}");
        assert_eq!(error.io_error().and_then(io::Error::raw_os_error), Some(errno));
        error.kind()
    }

    #[test]
    fn every_errno_of_open_has_its_cause() {
        use QueueErrorKind as Kind;
        for (errno, expected) in [
            (libc::ENOENT, Kind::NoNode),
            (libc::EACCES, Kind::NoPermission),
            (libc::EPERM, Kind::NoPermission),
            (libc::ENXIO, Kind::Gone),
            (libc::EBUSY, Kind::Busy),
            (libc::ENODEV, Kind::NoSva),
            (libc::EOPNOTSUPP, Kind::SvaSwitchedOff),
            (libc::EINVAL, Kind::InvalidPasid),
            (libc::ENOSPC, Kind::NoPasidLeft),
            (libc::EMFILE, Kind::TooManyFiles),
            (libc::ENFILE, Kind::TooManyFiles),
            (libc::ENOMEM, Kind::NoMemory),
            (libc::EIO, Kind::OpenFailed),
        ] {
            assert_eq!(kind(QueueError::open, errno), expected);
        }
    }

    #[test]
    fn every_errno_of_mmap_and_write_has_its_cause() {
        use QueueErrorKind as Kind;
        for (errno, expected) in [
            (libc::EPERM, Kind::PortalNotAllowed),
            (libc::EINVAL, Kind::PortalInvalid),
            (libc::ENOMEM, Kind::NoMemory),
            (libc::ENODEV, Kind::PortalFailed),
        ] {
            assert_eq!(kind(QueueError::portal, errno), expected);
        }
        for (errno, expected) in [
            (libc::EPERM, Kind::ForeignMemory),
            (libc::EINVAL, Kind::DescriptorRefused),
            (libc::EFAULT, Kind::BadAddress),
            (libc::ENXIO, Kind::QueueDisabled),
            (libc::EBADF, Kind::WriteFailed),
        ] {
            assert_eq!(kind(QueueError::write, errno), expected);
        }
    }

    #[test]
    fn remedies_name_the_device_of_the_queue() {
        let error = QueueError::open("wq3.1", Path::new("/dev/dsa/wq3.1"), io::Error::from_raw_os_error(libc::ENXIO));
        assert!(error.to_string().contains("accel-config enable-wq dsa3/wq3.1"), "{error}");
    }
}
