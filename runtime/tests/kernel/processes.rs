//! Several processes: each sees its own memory only, a fork child uses the CPU, a file that was handed on is refused.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use dsa::descriptor::{Crc, Move};
use dsa::device::QueueMode;
use dsa::stats::{Event, Path, Reason};
use dsa::{Accelerator, SubmitBy};
use idxd_sys::status;

use crate::rig::{self, Control, Fresh, Queue, Record};
use crate::support::{assert_same, block_on, crc_oracle, poll_once, quiet, within};

const PAGE: usize = 4096;

/// Where both processes have a page, each with its own content.
const SAME: usize = 0x6000_0000_0000;

/// Where only the parent has one.
const PARENTS: usize = 0x6100_0000_0000;

/// Two processes on one shared queue, each with its own PASID. The same address means different memory to the device,
/// and what only one of them has mapped does not exist for the other.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn two_processes_see_their_own_memory_only() {
    let child = rig::part();
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Shared);
    let mine = if child.is_some() { 0xcc } else { 0x99 };
    let mut same = Fresh::new(PAGE, SAME);
    same.bytes().fill(mine);
    let file = queue.open();
    let checksum = |address: u64| {
        let mut record = Record::new();
        let descriptor = Crc::new(address, PAGE as u64).record(record.address()).build(&queue.capabilities).unwrap();
        assert_eq!(rig::write_one(&file, &descriptor).unwrap(), 64);
        record.wait()
    };
    if child.is_some() {
        for _ in 0..20 {
            let ended = checksum(SAME as u64);
            assert_eq!((ended.status, ended.op_specific[0] as u32), (status::SUCCESS, crc_oracle(0, &[mine; PAGE])));
        }
        // What belongs to the parent can be neither read nor written.
        let ended = checksum(PARENTS as u64);
        assert_eq!((ended.status, ended.bytes_completed), (status::PAGE_FAULT, 0));
        let mut record = Record::new();
        let theft = Move::new(SAME as u64, PARENTS as u64, PAGE as u64);
        let descriptor = theft.record(record.address()).build(&queue.capabilities).unwrap();
        assert_eq!(rig::write_one(&file, &descriptor).unwrap(), 64);
        assert_eq!(record.wait().status, status::PAGE_FAULT | status::FAULT_WRITE);
        return;
    }
    let mut secret = Fresh::new(PAGE, PARENTS);
    secret.bytes().fill(7);
    let child = std::thread::spawn(|| {
        rig::in_another_process("processes::two_processes_see_their_own_memory_only", |command| {
            command.env("DSA_TEST_PART", "child");
        })
    });
    // Both work at the same time.
    while !child.is_finished() {
        let ended = checksum(SAME as u64);
        assert_eq!((ended.status, ended.op_specific[0] as u32), (status::SUCCESS, crc_oracle(0, &[mine; PAGE])));
    }
    let output = child.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same(secret.bytes(), &[7; PAGE], "written by another process");
}

/// What a fork child finds wrong; 0 if nothing is.
fn in_child(acc: &Accelerator, inherited: i32, in_flight: dsa::Copy<Vec<u8>, Vec<u8>>) -> i32 {
    let finish = |mut copy: dsa::Copy<Vec<u8>, Vec<u8>>| {
        (0..100_000).find_map(|_| match poll_once(&mut copy) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        })
    };
    let before = acc.stats();
    let Some(Ok((src, dst))) = finish(acc.copy(vec![3u8; 50_000], vec![0; 50_000])) else { return 1 };
    if src != dst {
        return 2;
    }
    let done = acc.stats().since(&before);
    if done.reason(Reason::Forked) != 1 || done.event(Event::Submissions) != 0 {
        return 3;
    }
    let Some(Ok((src, dst))) = finish(in_flight) else { return 4 };
    if src != dst {
        return 5;
    }
    // SAFETY: asks for the flags of a number; closed is what it should be.
    if unsafe { libc::fcntl(inherited, libc::F_GETFD) } != -1 {
        return 6;
    }
    // The child can open the queue for itself. So much is the device's, as long as nothing is known of either side.
    let own = Accelerator::open();
    if own.queues() == 0 || own.blocking().memcpy(&mut vec![0; 1 << 20], &vec![1; 1 << 20]) != Ok(Path::Device) {
        return 7;
    }
    0
}

/// The number of the file of a queue among those that this process has open. (One that only names the node does not count.)
fn file_number(queue: &Queue) -> i32 {
    // SAFETY: asks for the flags of a number.
    let is_open = |number: i32| unsafe { libc::fcntl(number, libc::F_GETFL) } & libc::O_PATH == 0;
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().read_link().is_ok_and(|target| target == queue.node))
        .map(|entry| entry.file_name().to_string_lossy().parse().unwrap())
        .find(|&number| is_open(number))
        .unwrap_or(-1)
}

#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_fork_child_uses_its_cpu_and_closes_what_it_inherited() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Shared);
    for by in [SubmitBy::Portal, SubmitBy::Write] {
        let acc = queue.accelerator(by);
        let number = file_number(&queue);
        assert!(number >= 0);
        // SAFETY: asks for the flags of an open file.
        assert_eq!(unsafe { libc::fcntl(number, libc::F_GETFD) } & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        // Now and then the device is done before the first poll is.
        let in_flight = (0..100).find_map(|_| {
            let mut copy = acc.copy(vec![1u8; 100_000], vec![0; 100_000]);
            poll_once(&mut copy).is_pending().then_some(copy)
        });
        let in_flight = in_flight.expect("a copy takes longer than a poll");
        // SAFETY: the child calls only code that takes no lock but the allocator's, which glibc keeps usable in a child,
        // and leaves without running destructors.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: async-signal-safe.
                unsafe {
                    libc::alarm(20);
                    let child = std::panic::AssertUnwindSafe(|| in_child(&acc, number, in_flight));
                    libc::_exit(std::panic::catch_unwind(child).unwrap_or(99));
                }
            }
            pid => {
                let mut status = 0;
                // SAFETY: our own child, waited for once.
                assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
                assert!(libc::WIFEXITED(status), "{by:?}: the child was killed: {status:#x}");
                assert_eq!(libc::WEXITSTATUS(status), 0, "{by:?}: what the child found wrong");
            }
        }
        block_on("parent", async {
            let (src, dst) = within("in flight", in_flight).await.unwrap();
            assert_same(&dst, &src, "parent");
        });
        quiet(&acc);
        assert_eq!(acc.leaked(), 0);
    }
}

/// A child of a bare `clone` runs no handlers: it inherits the file, and the driver refuses it.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_bare_clone_uses_its_cpu_too() {
    let _turn = rig::turn();
    for by in [SubmitBy::Portal, SubmitBy::Write] {
        let acc = Queue::find(QueueMode::Shared).accelerator(by);
        // SAFETY: as a fork without handlers; the child works on the CPU and leaves.
        match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
            0 => {
                let mut dst = [0; 8192];
                let path = acc.blocking().memcpy(&mut dst, &[1; 8192]);
                // SAFETY: async-signal-safe.
                unsafe { libc::_exit(i32::from(path != Ok(Path::Cpu) || dst != [1; 8192])) }
            }
            pid => {
                let mut status = 0;
                // SAFETY: our own child, waited for once.
                assert_eq!(i64::from(unsafe { libc::waitpid(pid as i32, &raw mut status, 0) }), pid);
                assert_eq!(status, 0, "{by:?}");
            }
        }
        assert_eq!(acc.blocking().memcpy(&mut [0; 8192], &[1; 8192]), Ok(Path::Device));
    }
}

/// A file that was handed to another program: `write` and `mmap` are refused there, and the owner is not disturbed.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_file_that_was_handed_on_is_refused() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Shared);
    if rig::part().is_some() {
        // Standard input is the queue that the parent has opened.
        let mut record = Record::new();
        let descriptor = Crc::new(SAME as u64, 64).record(record.address()).build(&queue.capabilities).unwrap();
        // SAFETY: standard input is open for as long as the process lives.
        let file = std::mem::ManuallyDrop::new(unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(0) });
        let refused = rig::write_one(&file, &descriptor).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        // SAFETY: a new mapping, if it comes about.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_WRITE, libc::MAP_SHARED, 0, 0) };
        assert_eq!(page, libc::MAP_FAILED);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
        return;
    }
    let file = queue.open();
    let mut control = Control::open();
    let before = control.counter("accepted");
    let output = rig::in_another_process("processes::a_file_that_was_handed_on_is_refused", |command| {
        command.env("DSA_TEST_PART", "child").stdin(file.try_clone().unwrap());
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(control.counter("accepted"), before, "something was submitted");
    assert!(file.as_raw_fd() >= 0);
}

/// An ordinary user gets no portal, and `write(2)` instead, without being told to.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn an_ordinary_user_submits_by_write() {
    if rig::part().is_some() {
        let acc = Accelerator::open();
        let paths: Vec<_> = acc.work_queues().map(|queue| queue.path).collect();
        assert_eq!(paths, [dsa::SubmissionPath::Write], "{:?}", acc.unused());
        // So much is the device's, as long as nothing is known of either side.
        assert_eq!(acc.blocking().memcpy(&mut vec![0; 1 << 20], &vec![1; 1 << 20]), Ok(Path::Device));
        return;
    }
    let _turn = rig::turn();
    rig::as_a_user("processes::an_ordinary_user_submits_by_write");
}

/// A process that dies with descriptors in flight, thousands of times over, takes nothing from the others.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_process_that_is_killed_leaves_the_queue_usable() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Shared);
    if rig::part().is_some() {
        let acc = queue.accelerator(SubmitBy::Portal);
        println!("ready");
        std::io::stdout().flush().unwrap();
        let source = vec![1u8; 1 << 20];
        let mut target = vec![0; 1 << 20];
        loop {
            acc.blocking().memcpy(&mut target, &source).unwrap();
        }
    }
    let acc = queue.accelerator(SubmitBy::Portal);
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "processes::a_process_that_is_killed_leaves_the_queue_usable",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env("DSA_TEST_PART", "child")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .any(|line| line.ends_with("ready"));
        assert!(ready);
        for _ in 0..20 {
            assert_eq!(acc.blocking().memcpy(&mut [0; 8192], &[1; 8192]), Ok(Path::Device));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(acc.blocking().memcpy(&mut [0; 8192], &[1; 8192]), Ok(Path::Device));
    }
    quiet(&acc);
    assert_eq!((acc.recoveries(), acc.leaked()), (0, 0));
}
