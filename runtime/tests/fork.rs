//! After a fork the device belongs to the parent: the child's operations are done by the CPU, those that were in flight
//! included, and the parent goes on as if nothing had happened.
//!
//! The child of a process with several threads may do little: it polls futures with a waker that does nothing, compares
//! bytes, and leaves through `_exit`. One test only, so that no other thread holds a lock of the allocator at the fork.

mod support;

use std::task::Poll;
use std::time::Duration;

use dsa::stats::{Event, Path, Reason};
use dsa::{Accelerator, Ending, Policy, Pressure, Shutdown};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use idxd_sys::opcode;
use support::{Watchdog, block_on, poll_once, quiet, within};

const LEN: usize = 50_000;

/// Polls to the end, as often as it takes, but not for ever.
fn finish<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    for _ in 0..100_000 {
        if let Poll::Ready(output) = poll_once(&mut future) {
            return Some(output);
        }
    }
    None
}

/// What the child does; the number of the first thing that is wrong, 0 if nothing is.
fn child(
    acc: &Accelerator,
    in_flight: Vec<dsa::Copy<Vec<u8>, Vec<u8>>>,
    drains: Vec<dsa::Drain>,
    crowded: &Accelerator,
    waiting: Vec<dsa::Copy<Vec<u8>, Vec<u8>>>,
    ends: [Shutdown; 2],
) -> i32 {
    let before = acc.stats();
    let data: Vec<u8> = (0..LEN).map(|i| (i * 7) as u8).collect();
    let Some(Ok((src, dst))) = finish(acc.copy(data.clone(), vec![0; LEN])) else { return 1 };
    if dst != data {
        return 2;
    }
    let Some(Ok((None, _))) = finish(acc.compare(src, dst)) else { return 3 };
    let mut dst = vec![0; LEN];
    if acc.blocking().memcpy(&mut dst, &data) != Ok(Path::Cpu) || dst != data {
        return 4;
    }
    let done = acc.stats().since(&before);
    if done.reason(Reason::Forked) != 3 || done.event(Event::Submissions) != 0 {
        return 5;
    }
    // What was in flight will never complete here: polled, dropped, whatever.
    let mut in_flight = in_flight.into_iter();
    let (Some(first), Some(second)) = (in_flight.next(), in_flight.next()) else { return 6 };
    drop(second);
    let Some(Ok((src, dst))) = finish(first) else { return 7 };
    if src != dst {
        return 8;
    }
    let Some(Err(failed)) = finish(acc.crc32c(data).device_only()) else { return 9 };
    if failed.error() != &dsa::Error::DeviceOnly(Reason::Forked) {
        return 10;
    }
    if acc.in_flight() != 0 {
        return 11;
    }
    // Waits that began in the parent end here, as do those that begin.
    for drain in drains {
        if finish(drain) != Some(Ok(())) {
            return 12;
        }
    }
    if finish(acc.drain()) != Some(Ok(())) {
        return 13;
    }
    // The line of those who wait for room may be locked for ever. Nobody needs it.
    let mut waiting = waiting.into_iter();
    let (Some(first), Some(second)) = (waiting.next(), waiting.next()) else { return 14 };
    drop(second);
    let Some(Ok((src, dst))) = finish(first) else { return 15 };
    let Some(Ok((same, _))) = finish(crowded.copy(src.clone(), dst)) else { return 16 };
    if same != src || crowded.stats().reason(Reason::Forked) != 2 {
        return 17;
    }
    // The poller that would tell of the one end is the parent's, as is the device that the other waits for.
    let [closing, draining] = ends;
    if finish(closing) != Some(Ending::Closed) {
        return 18;
    }
    if finish(draining) != Some(Ending::Kept) {
        return 19;
    }
    0
}

#[test]
fn a_child_works_on_its_own_cpu() {
    let _watchdog = Watchdog::start("fork");
    let late = FaultRule::new(Effect::Delay(Duration::from_millis(100)));
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::dedicated(16)).fault(late)).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    let mut in_flight: Vec<_> = (1..=2u8).map(|byte| acc.copy(vec![byte; LEN], vec![0; LEN])).collect();
    for operation in &mut in_flight {
        assert!(poll_once(operation).is_pending());
    }
    // On another device, which the figures below do not count: a queue without DRAIN, so that slots are looked at.
    let late = FaultRule::new(Effect::Delay(Duration::from_millis(100)));
    let queue = WqConfig::dedicated(16).without(opcode::DRAIN);
    let other = Device::new(Config::sapphire_rapids().queue(queue).fault(late)).unwrap();
    let beside = Accelerator::builder().min_device_size(0).emulator(&other).build().unwrap();
    let mut copy = beside.copy(vec![1u8; LEN], vec![0; LEN]);
    assert!(poll_once(&mut copy).is_pending());
    let mut drains: Vec<_> = (0..2).map(|_| beside.drain()).collect();
    for drain in &mut drains {
        assert!(poll_once(drain).is_pending());
    }
    // And one with room for a single operation.
    let late = FaultRule::new(Effect::Delay(Duration::from_millis(100)));
    let narrow = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(1)).engines(1).fault(late)).unwrap();
    let mut policy = acc.policy().clone();
    policy.pressure = Pressure::Wait;
    let crowded = Accelerator::builder().policy(policy).emulator(&narrow).build().unwrap();
    // A device that is about to start one has room for another.
    let mut waiting: Vec<_> = (1..=4u8).map(|byte| crowded.copy(vec![byte; LEN], vec![0; LEN])).collect();
    for operation in &mut waiting {
        assert!(poll_once(operation).is_pending());
    }
    assert!(crowded.stats().event(Event::WaitsBegun) >= 2);
    let ahead: Vec<_> = waiting.drain(..2).collect();
    // Two that end: the one has no handle any more, the other has one left.
    let mut ends = [(); 2].map(|()| {
        let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(8)).manual()).unwrap();
        let ending = Accelerator::builder().min_device_size(0).emulator(&device).build().unwrap();
        let mut copy = ending.copy(vec![1u8; LEN], vec![0; LEN]);
        assert!(poll_once(&mut copy).is_pending());
        (device, ending, copy)
    });
    let [(_, _, forgotten), ..] = &mut ends;
    drop(std::mem::replace(forgotten, Accelerator::cpu().copy(Vec::new(), Vec::new())));
    let [(first_device, first, _), (second_device, second, second_copy)] = ends;
    let mut shutdowns = [first.shutdown(), second.shutdown()];
    assert!(shutdowns.iter_mut().all(|shutdown| poll_once(shutdown).is_pending()));
    // SAFETY: the child calls only code that takes no lock but the allocator's, which glibc keeps usable in a child, and
    // leaves without running destructors.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            // A child that hangs is ended by the alarm.
            // SAFETY: `alarm` and `_exit` are async-signal-safe.
            unsafe {
                libc::alarm(20);
                let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    child(&acc, in_flight, drains, &crowded, waiting, shutdowns)
                }));
                libc::_exit(code.unwrap_or(99));
            }
        }
        pid => {
            let mut status = 0;
            // SAFETY: our own child, waited for once.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert!(libc::WIFEXITED(status), "the child was killed: status {status:#x}");
            assert_eq!(libc::WEXITSTATUS(status), 0, "what the child found wrong");
        }
    }
    block_on("parent", async {
        for (byte, operation) in (1..=2).zip(in_flight) {
            assert_eq!(within("in flight", operation).await.unwrap().1, vec![byte; LEN]);
        }
        let (_, dst) = within("after", acc.copy(vec![3u8; LEN], vec![0; LEN])).await.unwrap();
        assert_eq!(dst, vec![3; LEN]);
    });
    block_on("beside", async {
        for drain in drains {
            within("drain", drain).await.unwrap();
        }
        within("copy", copy).await.unwrap();
    });
    block_on("crowded", async {
        for (byte, operation) in (1..=4).zip(ahead.into_iter().chain(waiting)) {
            let task = tokio::spawn(operation);
            assert_eq!(within("waiting", task).await.unwrap().unwrap().1, vec![byte; LEN]);
        }
    });
    assert_eq!(crowded.stats().total_operations(Path::Device), 4);
    block_on("ends", async {
        first_device.run_until_idle();
        second_device.run_until_idle();
        let [closing, draining] = shutdowns;
        assert_eq!(within("closing", closing).await, Ending::Closed);
        assert_eq!(within("draining", draining).await, Ending::Kept);
        within("copy", second_copy).await.unwrap();
    });
    quiet(&acc);
    let stats = acc.stats();
    assert_eq!((stats.total_operations(Path::Device), stats.total_operations(Path::Cpu)), (3, 0), "{stats}");
}
