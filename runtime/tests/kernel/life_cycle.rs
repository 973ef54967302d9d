//! What an administrator, or a fault, does to a queue in use: disabled and enabled again, its device reset or halted,
//! descriptors lost, refused for ever, records that cannot be written. Every operation ends, with the right bytes, in a
//! bounded time, and the queue is used again once it is back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsa::device::{QueueErrorKind, QueueMode};
use dsa::stats::{Event, Path};
use dsa::{Accelerator, SubmitBy};

use crate::rig::{self, ALL, Control, Queue};
use crate::support::{Watchdog, assert_same, eventually, poll_once, quiet};

const LEN: usize = 16_000;

/// Longer than a reset takes. A file that is closed in the middle of one wedges the driver, so a descriptor must not count
/// as lost before the driver has said what is going on.
const PATIENT: Duration = Duration::from_secs(20);

/// Copies without end on two threads, blocking and async, while `body` does something to the queue. Every copy is
/// verified.
///
/// By `write(2)` no thread is in that call while `body` runs: the driver unmaps its portal under the feet of a writer, and
/// the kernel faults (see `runtime/src/submit/write.rs`). Descriptors are in flight all the same.
fn under_load(acc: &Accelerator, by: SubmitBy, body: impl FnOnce()) {
    let (load, copies) = (Load::default(), AtomicU64::new(0));
    std::thread::scope(|s| {
        for thread in 0..2u8 {
            let (load, copies) = (&load, &copies);
            s.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut round = thread;
                while load.goes_on() {
                    round = round.wrapping_add(2);
                    let source = vec![round; LEN];
                    if thread == 0 {
                        let mut target = vec![0; LEN];
                        acc.blocking().memcpy(&mut target, &source).unwrap();
                        assert_same(&target, &source, "blocking");
                    } else {
                        // Dropped in flight, beside one that is awaited.
                        let _ = poll_once(&mut acc.copy(source.clone(), vec![0; LEN]));
                        let (source, target) = runtime.block_on(acc.copy(source, vec![0; LEN])).unwrap();
                        assert_same(&target, &source, "async");
                    }
                    copies.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = Stop(&load);
        let moves_on = || {
            let before = copies.load(Ordering::Relaxed);
            eventually("copies go on", || copies.load(Ordering::Relaxed) > before + 4);
        };
        moves_on();
        if by == SubmitBy::Write {
            load.pause();
            let mut in_flight: Vec<_> = (0..6u8).map(|byte| acc.copy(vec![byte; LEN], vec![0; LEN])).collect();
            in_flight.retain_mut(|copy| poll_once(copy).is_pending());
            body();
            load.resume();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for copy in in_flight {
                let (source, target) = runtime.block_on(copy).unwrap();
                assert_same(&target, &source, "in flight");
            }
        } else {
            body();
        }
        moves_on();
    });
}

/// What the threads that make the load are told.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    paused: AtomicBool,
    /// Threads that pause.
    pausing: AtomicU64,
}

impl Load {
    /// Waits while there is a pause; false at the end.
    fn goes_on(&self) -> bool {
        if self.paused.load(Ordering::SeqCst) {
            self.pausing.fetch_add(1, Ordering::SeqCst);
            while self.paused.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.pausing.fetch_sub(1, Ordering::SeqCst);
        }
        !self.stop.load(Ordering::SeqCst)
    }

    /// Returns when both threads pause.
    fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
        eventually("the threads pause", || self.pausing.load(Ordering::SeqCst) == 2);
    }

    fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
    }
}

/// Ends the load, also if something panics.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

fn is_used(acc: &Accelerator) {
    eventually("the device is used again", || {
        let mut target = [0; LEN];
        let path = acc.blocking().memcpy(&mut target, &[9; LEN]).unwrap();
        assert_same(&target, &[9; LEN], "copy");
        path == Path::Device
    });
    quiet(acc);
    assert_eq!(acc.leaked(), 0);
}

/// Unbound from its driver, and configured and bound again; twice on the first path.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_queue_is_disabled_and_enabled_under_load() {
    let _turn = rig::turn();
    for (mode, by) in ALL {
        let _watchdog = Watchdog::start(&format!("disabled: {mode:?}, {by:?}"));
        let queue = Queue::find(mode);
        let acc = queue.accelerator_with(by, PATIENT);
        is_used(&acc);
        let rounds = if (mode, by) == ALL[0] { 2 } else { 1 };
        for _ in 0..rounds {
            under_load(&acc, by, || queue.disable());
            // For a while there is no queue.
            eventually("the loss is noticed", || {
                let _ = acc.blocking().memcpy(&mut [0; LEN], &[9; LEN]);
                acc.work_queues().all(|queue| !queue.is_open)
            });
            queue.enable();
            is_used(&acc);
        }
        assert!(acc.recoveries() >= rounds, "{mode:?}, {by:?}");
    }
}

/// While it is gone, the reason is kept.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn the_trouble_of_a_disabled_queue_is_told() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Shared);
    let acc = queue.accelerator(SubmitBy::Write);
    is_used(&acc);
    queue.disable();
    eventually("it has a name", || {
        let _ = acc.blocking().memcpy(&mut [0; LEN], &[9; LEN]);
        let info = acc.work_queues().next().unwrap();
        info.trouble.is_some_and(|trouble| {
            matches!(trouble.kind(), QueueErrorKind::QueueDisabled | QueueErrorKind::Disabled | QueueErrorKind::NoNode)
        })
    });
    queue.enable();
    is_used(&acc);
}

/// A queue that comes back with another limit is another queue: left alone, with the reason.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_queue_that_was_configured_anew_is_left_alone() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Dedicated);
    let acc = queue.accelerator(SubmitBy::Write);
    is_used(&acc);
    queue.disable();
    queue.enable_with("max_transfer_size", "65536");
    assert_eq!(queue.attribute("max_transfer_size"), "65536");
    let mut last = String::new();
    let told = || {
        let _ = acc.blocking().memcpy(&mut [0; LEN], &[9; LEN]);
        let info = acc.work_queues().next().unwrap();
        last = info.to_string();
        !info.is_open && info.trouble.is_some_and(|trouble| trouble.kind() == QueueErrorKind::Reconfigured)
    };
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| eventually("the reason is told", told)));
    assert!(told.is_ok(), "{last}");
    drop(acc);
    queue.disable();
    queue.enable();
    is_used(&queue.accelerator(SubmitBy::Write));
}

/// A function level reset, by way of PCI: the driver saves the configuration and restores it.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn the_device_is_reset_under_load() {
    let _turn = rig::turn();
    for (mode, by) in ALL {
        let _watchdog = Watchdog::start(&format!("reset: {mode:?}, {by:?}"));
        let queue = Queue::find(mode);
        let acc = queue.accelerator_with(by, PATIENT);
        is_used(&acc);
        under_load(&acc, by, || queue.reset_device());
        eventually("the driver has enabled the queue again", || queue.attribute("state") == "enabled");
        is_used(&acc);
    }
}

/// Descriptors that a live queue loses are given up after `lost_after`, not before: the queue is drained first.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn lost_descriptors_are_recovered() {
    let _turn = rig::turn();
    let mut control = Control::open();
    for (mode, by) in ALL {
        let what = format!("{mode:?}, {by:?}");
        let _watchdog = Watchdog::start(&what);
        let acc = Queue::find(mode).accelerator_with(by, Duration::from_millis(200));
        is_used(&acc);
        let (before, recoveries) = (acc.stats(), acc.recoveries());
        let fired = control.with_rule("lose opcode=3 limit=1", || {
            let mut target = vec![0; LEN];
            acc.blocking().memcpy(&mut target, &[5; LEN]).unwrap();
            assert_same(&target, &[5; LEN], &what);
        });
        assert_eq!(fired, 1, "{what}");
        let done = acc.stats().since(&before);
        assert_eq!(done.total_operations(Path::Cpu), 1, "{what}: {done}");
        assert!(acc.recoveries() > recoveries, "{what}");
        is_used(&acc);
    }
}

/// A record that the device cannot write is a descriptor that never completes; the driver's log has it.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_record_that_cannot_be_written_ends_in_a_recovery() {
    let _turn = rig::turn();
    let mut control = Control::open();
    for (mode, by) in ALL {
        let what = format!("{mode:?}, {by:?}");
        let _watchdog = Watchdog::start(&what);
        let acc = Queue::find(mode).accelerator_with(by, Duration::from_millis(200));
        is_used(&acc);
        let fired = control.with_rule("record-fault opcode=3 limit=1", || {
            let mut target = vec![0; LEN];
            acc.blocking().memcpy(&mut target, &[5; LEN]).unwrap();
            assert_same(&target, &[5; LEN], &what);
        });
        assert_eq!(fired, 1, "{what}");
        is_used(&acc);
    }
}

/// ENQCMD may answer "retry" for ever; nobody tries for ever.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_queue_that_always_refuses_costs_nothing_but_time() {
    let _turn = rig::turn();
    let mut control = Control::open();
    for by in [SubmitBy::Portal, SubmitBy::Write] {
        let _watchdog = Watchdog::start(&format!("refusals: {by:?}"));
        let acc = Queue::find(QueueMode::Shared).accelerator(by);
        is_used(&acc);
        let before = acc.stats();
        control.with_rule("retry", || {
            let mut target = vec![0; LEN];
            for _ in 0..5 {
                assert_eq!(acc.blocking().memcpy(&mut target, &[5; LEN]), Ok(Path::Cpu));
            }
        });
        let done = acc.stats().since(&before);
        assert_eq!(done.event(Event::Submissions), 0, "{by:?}: {done}");
        // By write(2) the kernel has tried again already.
        assert_eq!(done.event(Event::Retries) > 0, by == SubmitBy::Portal, "{by:?}: {done}");
        is_used(&acc);
    }
}

/// A hardware error halts the device: the driver resets it and enables its queues again.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn the_device_halts_under_load() {
    let _turn = rig::turn();
    for (mode, by) in [(QueueMode::Shared, SubmitBy::Portal), (QueueMode::Dedicated, SubmitBy::Portal)] {
        let _watchdog = Watchdog::start(&format!("halt: {mode:?}, {by:?}"));
        let queue = Queue::find(mode);
        let acc = queue.accelerator_with(by, PATIENT);
        is_used(&acc);
        under_load(&acc, by, || {
            Control::open().ask("halt");
            eventually("the halt is noticed", || acc.recoveries() > 0);
        });
        eventually("the driver has enabled the queue again", || queue.attribute("state") == "enabled");
        is_used(&acc);
    }
}
