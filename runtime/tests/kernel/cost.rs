//! What an operation costs the system: system calls, descriptors in one `write(2)`, fences.

use dsa::stats::{Event, Path};
use dsa::{Accelerator, BatchBuffers, SubmitBy};

use crate::rig::{self, ALL, Queue};
use crate::support::syscalls::{self, Calls};
use crate::support::{block_on, poll_once, quiet, within};

const LEN: usize = 8192;

/// One copy after the other, waited for by polling alone.
fn copies(acc: &Accelerator, count: usize) {
    let (mut source, mut target) = (vec![1u8; LEN], vec![0; LEN]);
    for _ in 0..count {
        let mut copy = acc.copy(source, target);
        (source, target) = loop {
            match poll_once(&mut copy) {
                std::task::Poll::Ready(done) => break done.unwrap(),
                std::task::Poll::Pending => {}
            }
        };
    }
}

/// On a portal an operation makes no system call; by `write(2)` the one, and the look at the file before it.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn system_calls_of_an_operation() {
    const COUNT: usize = 20;
    let _turn = rig::turn();
    for (mode, by) in ALL {
        let queue = Queue::find(mode);
        let calls = syscalls::count(|| {
            let acc = patient(&queue, by);
            // The first operation of a thread finds its lane, loads its PASID, touches its memory.
            copies(&acc, 3);
            syscalls::begin();
            copies(&acc, COUNT);
            syscalls::end();
            let stats = acc.stats();
            assert_eq!(stats.total_operations(Path::Device), COUNT as u64 + 3, "{stats}");
        });
        let expected = match by {
            // How often the driver is asked for the queue's state is a matter of time.
            SubmitBy::Write => Calls { write: COUNT, fstat: COUNT, pread: calls.pread.min(COUNT), other: 0 },
            _ => Calls::default(),
        };
        assert_eq!(calls, expected, "{mode:?}, {by:?}");
    }
}

/// An accelerator whose futures never leave the waiting to the poller: that would be a system call of the waiting.
fn patient(queue: &Queue, by: SubmitBy) -> Accelerator {
    let mut policy = dsa::Policy::default();
    policy.min_device_size = Some(0);
    policy.self_wake = std::time::Duration::from_secs(10);
    policy.dead_after = std::time::Duration::from_secs(10);
    policy.lost_after = std::time::Duration::from_secs(20);
    let mut built = None;
    crate::support::eventually("the queue can be opened", || {
        built = Accelerator::builder().policy(policy.clone()).work_queue(&queue.name).submit_by(by).build().ok();
        built.is_some()
    });
    built.unwrap()
}

/// Members of a batch that go as single descriptors share their submission; where BATCH is to be had, it is one
/// descriptor.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn descriptors_of_a_submission() {
    // A shared queue takes as many at once: its threshold.
    const MEMBERS: u64 = 8;
    let _turn = rig::turn();
    for (mode, by) in ALL {
        let what = format!("{mode:?}, {by:?}");
        let acc = Queue::find(mode).accelerator(by);
        let has_batch = acc.capabilities().all(|caps| caps.supports(idxd_sys::opcode::BATCH));
        let before = acc.stats();
        let mut batch = acc.batch();
        for byte in 0..MEMBERS {
            batch.copy(vec![byte as u8; LEN], vec![0; LEN]);
        }
        let items = block_on(&what, async { within(&what, batch.submit()).await });
        for (byte, item) in (0..).zip(items) {
            let Some(BatchBuffers::Copy(source, target)) = item.buffers else { panic!("{what}: other buffers") };
            assert!(source == target && target == vec![byte; LEN], "{what}: member {byte}");
        }
        quiet(&acc);
        let done = acc.stats().since(&before);
        let (flushes, descriptors) = (done.event(Event::Flushes), done.event(Event::Submissions));
        if has_batch {
            assert_eq!((flushes, descriptors, done.event(Event::Batches)), (1, 1, 1), "{what}: {done}");
        } else {
            assert_eq!((flushes, descriptors), (1, MEMBERS), "{what}: {done}");
        }
        assert_eq!(has_batch, by == SubmitBy::Portal, "{what}: BATCH by write(2) on a device of version 1?");
    }
}
