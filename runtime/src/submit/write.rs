//! Submission by `write(2)`: the kernel performs the instruction. It is the only way for a process without
//! `CAP_SYS_RAWIO`, which may not map a portal (INTEL-SA-01084; driver: cdev.c).

use std::io;
use std::os::fd::BorrowedFd;

use idxd_sys::Descriptor;
use rustix::io::Errno;
use zerocopy::IntoBytes;

/// How a `write(2)` of descriptors ended.
#[derive(Debug)]
pub(crate) enum Written {
    /// The first `n` are with the device; fewer than all means that the next one met an obstacle, which the next call
    /// will name.
    Some(usize),
    /// The queue is full (`EAGAIN`): the kernel has tried several times (sysfs: `enqcmds_retries`).
    Full,
    /// The queue has been disabled since the file was opened.
    Gone,
    /// Anything else.
    Failed(io::Error),
}

/// Hands `descriptors` to the queue behind `file`, in two system calls however many there are.
///
/// The first asks whether the file still has a name. A queue that is being disabled loses its node before its portal
/// (driver: `idxd_user_drv_remove`), and the driver does not look whether there is a portal before it writes to it: a
/// `write(2)` to a disabled queue makes the kernel fault, and kills the thread. What the name does not show, the caller
/// has to ask the driver for. Between the two calls the queue can still go; whoever disables a queue should stop its users
/// first, as `accel-config` insists on.
///
/// # Safety
///
/// `file` is a work queue's. What the descriptors name is as [`super::Submitter::submit`] wants it.
pub(crate) unsafe fn submit(file: BorrowedFd<'_>, descriptors: &[Descriptor]) -> Written {
    match rustix::fs::fstat(file) {
        Ok(status) if status.st_nlink == 0 => return Written::Gone,
        Ok(_) => {}
        Err(error) => return Written::Failed(error.into()),
    }
    match rustix::io::write(file, descriptors.as_bytes()) {
        Ok(bytes) => Written::Some(bytes / size_of::<Descriptor>()),
        Err(Errno::AGAIN | Errno::INTR) => Written::Full,
        Err(error) => Written::Failed(error.into()),
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    fn descriptors(count: u32) -> Vec<Descriptor> {
        (0..count).map(|n| Descriptor { xfer_size: n, ..Descriptor::default() }).collect()
    }

    fn submit_to(file: &impl AsFd, descriptors: &[Descriptor]) -> Written {
        // SAFETY: what takes the bytes here executes nothing.
        unsafe { submit(file.as_fd(), descriptors) }
    }

    #[test]
    fn all_descriptors_go_in_one_call_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let sent = descriptors(5);
        assert!(matches!(submit_to(&writer, &sent), Written::Some(5)));
        drop(writer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, sent.as_bytes());
    }

    #[test]
    fn a_short_count_says_how_many_went() {
        // A pipe of one page takes 64 descriptors; the rest is cut off, since it does not block.
        let (_reader, writer) = io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        assert!(matches!(submit_to(&writer, &descriptors(70)), Written::Some(64)));
        assert!(matches!(submit_to(&writer, &descriptors(1)), Written::Full), "EAGAIN");
    }

    #[test]
    fn a_file_without_a_name_is_not_written_to() {
        let dir = std::env::temp_dir().join(format!("dsa-write-test-{}", std::process::id()));
        let file = File::create_new(&dir).unwrap();
        assert!(matches!(submit_to(&file, &descriptors(1)), Written::Some(1)));
        std::fs::remove_file(&dir).unwrap();
        assert!(matches!(submit_to(&file, &descriptors(1)), Written::Gone));
        assert_eq!(file.metadata().unwrap().len(), 64);
    }

    #[test]
    fn other_errors_are_kept() {
        let file = File::open("/dev/null").unwrap();
        let Written::Failed(error) = submit_to(&file, &descriptors(1)) else { panic!("opened for reading only") };
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
