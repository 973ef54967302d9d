//! Every `errno` of the driver that can be provoked has its typed error, which names queue, cause and remedy.

use std::fs::File;
use std::os::fd::AsRawFd;

use dsa::descriptor::{Batch, Nop};
use dsa::device::{Criteria, QueueErrorKind as Kind, QueueMode, Rejection, Topology};
use dsa::{Accelerator, BuildError, SubmitBy, Unused};
use idxd_sys::Descriptor;

use crate::rig::{self, Queue, Record};
use crate::support::eventually;

/// The errors of a build that did not succeed.
fn refusals(queue: &Queue, by: SubmitBy) -> Vec<Unused> {
    match Accelerator::builder().work_queue(&queue.name).submit_by(by).build() {
        Ok(acc) => panic!("built: {acc:?}"),
        Err(BuildError::WorkQueue(unused)) => unused,
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
fn assert_kind(unused: &[Unused], queue: &Queue, kind: Kind) {
    let [Unused::Failed(error)] = unused else { panic!("{unused:?}") };
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!((error.queue(), error.node()), (queue.name.as_str(), queue.node.as_path()));
    assert!(error.to_string().contains(&queue.name), "{error}");
}

/// `EBUSY`: a dedicated queue that somebody has open. And a shared one that this process has open already.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_dedicated_queue_is_busy_while_it_is_open() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Dedicated);
    let mut file = None;
    eventually("the queue is free", || {
        file = File::options().read(true).write(true).open(&queue.node).ok();
        file.is_some()
    });
    assert_eq!(File::open(&queue.node).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    // The driver tells before it is tried.
    let unused = refusals(&queue, SubmitBy::Auto);
    assert!(matches!(&unused[..], [Unused::Rejected(Rejection::InUse { clients: 1, .. })]), "{unused:?}");
    drop(file);
    let shared = Queue::find(QueueMode::Shared);
    let acc = shared.accelerator(SubmitBy::Auto);
    assert_kind(&refusals(&shared, SubmitBy::Auto), &shared, Kind::OpenHere);
    drop(acc);
}

/// `EPERM` of `mmap` without `CAP_SYS_RAWIO`; `EACCES` of `open`.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn an_ordinary_user_learns_what_it_lacks() {
    let queue = Queue::find(QueueMode::Shared);
    if let Some(part) = rig::part() {
        if part == "user" {
            assert_kind(&refusals(&queue, SubmitBy::Portal), &queue, Kind::PortalNotAllowed);
        }
        return;
    }
    let _turn = rig::turn();
    rig::as_a_user("errors::an_ordinary_user_learns_what_it_lacks");
}

#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_node_that_may_not_be_opened_is_a_reason() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let queue = Queue::find(QueueMode::Shared);
    if rig::part().is_some() {
        let unused = refusals(&queue, SubmitBy::Auto);
        assert!(matches!(&unused[..], [Unused::Rejected(Rejection::NoPermission { .. })]), "{unused:?}");
        let text = unused[0].to_string();
        assert!(text.contains(&queue.name) && text.contains(&*queue.node.to_string_lossy()), "{text}");
        return;
    }
    let _turn = rig::turn();
    let before = std::fs::metadata(&queue.node).unwrap().permissions();
    set_permissions(&queue.node, Permissions::from_mode(0o600)).unwrap();
    let outcome = std::panic::catch_unwind(|| rig::as_a_user("errors::a_node_that_may_not_be_opened_is_a_reason"));
    set_permissions(&queue.node, before).unwrap();
    outcome.unwrap();
}

/// `ENOENT` before the open: the queue is disabled, and the reason says so; `ENXIO`: a node that outlived its queue.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_disabled_queue_is_a_reason() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Dedicated);
    let status = rustix::fs::stat(&queue.node).unwrap();
    eventually("nobody has it open", || queue.attribute("clients") == "0");
    queue.disable();
    let unused = refusals(&queue, SubmitBy::Auto);
    // Somebody made a node by hand, and a program opens it whatever sysfs says.
    let stale = std::path::Path::new("/tmp/stale-queue");
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, stale, rustix::fs::FileType::CharacterDevice, mode, status.st_rdev).unwrap();
    let gone = File::options().read(true).write(true).open(stale).unwrap_err();
    std::fs::remove_file(stale).unwrap();
    queue.enable();
    assert!(unused.iter().any(|reason| matches!(reason, Unused::Rejected(Rejection::NotEnabled { .. }))), "{unused:?}");
    assert_eq!(gone.raw_os_error(), Some(libc::ENXIO));
    drop(queue.accelerator(SubmitBy::Auto));
}

#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_queue_that_does_not_exist_is_named() {
    let unused = match Accelerator::builder().work_queue("wq99.7").build() {
        Err(BuildError::WorkQueue(unused)) => unused,
        other => panic!("{other:?}"),
    };
    assert!(matches!(&unused[..], [Unused::NoSuchQueue(name)] if name == "wq99.7"), "{unused:?}");
}

/// What `write(2)` answers to what it does not take: the facts that the runtime relies on.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn the_answers_of_write() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Shared);
    let file = queue.open();
    let errno = |result: std::io::Result<usize>| result.unwrap_err().raw_os_error();
    let mut record = Record::new();
    let nop = Nop::new().record(record.address()).build(&queue.capabilities).unwrap();
    // Less than a descriptor is nothing.
    assert_eq!(rustix::io::write(&file, &[0; 63]), Ok(0));
    // A record that is not aligned to 32 bytes.
    let misaligned = Descriptor { completion_addr: record.address() + 8, ..nop };
    assert_eq!(errno(rig::write_one(&file, &misaligned)), Some(libc::EINVAL));
    // A bad pointer.
    // SAFETY: the kernel only reads, and refuses an address that is not the process's.
    let written = unsafe { libc::write(file.as_raw_fd(), std::ptr::without_provenance(0x10), 64) };
    assert_eq!((written, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EFAULT)));
    // One that is fine before one that is not: a short count.
    let both: Vec<u8> = [nop, misaligned].iter().flat_map(|d| zerocopy::IntoBytes::as_bytes(d).to_vec()).collect();
    assert_eq!(rustix::io::write(&file, &both), Ok(64));
    assert_eq!(record.wait().status, idxd_sys::status::SUCCESS);
    // A batch: refused on devices of version 1.
    let list = [nop, nop];
    let mut whole = Record::new();
    let address = list.as_ptr().expose_provenance() as u64;
    let batch = Batch::new(address, 2).record(whole.address()).build(&queue.capabilities).unwrap();
    if queue.capabilities.version() >> 8 == 1 {
        assert_eq!(errno(rig::write_one(&file, &batch)), Some(libc::EINVAL));
    } else {
        assert_eq!(rig::write_one(&file, &batch).unwrap(), 64);
        assert_eq!(whole.wait().status, idxd_sys::status::SUCCESS);
    }
    // A file that can always be written says so never, and a completion changes nothing: what it reports is a software
    // error of the device, whoever caused it.
    let ready = || {
        let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, for the time of the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) };
        poll.revents
    };
    let before = ready();
    let mut another = Record::new();
    let nop = Nop::new().record(another.address()).build(&queue.capabilities).unwrap();
    assert_eq!(rig::write_one(&file, &nop).unwrap(), 64);
    assert_eq!(another.wait().status, idxd_sys::status::SUCCESS);
    assert_eq!((ready(), before & libc::POLLOUT), (before, 0));
}

/// `EINVAL`: a portal is one page.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_portal_is_one_page() {
    let _turn = rig::turn();
    let file = Queue::find(QueueMode::Shared).open();
    // SAFETY: a new mapping, if it comes about.
    let two =
        unsafe { libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_eq!((two, std::io::Error::last_os_error().raw_os_error()), (libc::MAP_FAILED, Some(libc::EINVAL)));
}

/// Where the kernel has shared virtual addressing switched off there is nothing to be had, and the reason says why. Not
/// part of the ordinary run: it needs such a kernel.
#[test]
#[ignore = "needs a kernel with shared virtual addressing switched off: vm/run boots one"]
fn sva_switched_off_is_named() {
    let acc = Accelerator::builder().hardware(Criteria::new()).build().unwrap();
    assert_eq!(acc.queues(), 0);
    let texts: Vec<_> = acc.unused().iter().map(ToString::to_string).collect();
    let named = acc.unused().iter().any(|reason| match reason {
        Unused::Failed(error) => error.kind() == Kind::SvaSwitchedOff,
        _ => false,
    });
    assert!(named, "{texts:#?}\n{}", Topology::read().select(&Criteria::new()));
    assert!(texts.iter().any(|text| text.contains("switched off")), "{texts:#?}");
    // And the same program works.
    let acc = Accelerator::open();
    assert_eq!(acc.blocking().memcpy(&mut [0; 8192], &[1; 8192]), Ok(dsa::stats::Path::Cpu));
}
