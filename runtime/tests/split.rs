//! One large blocking copy by a device and the calling thread: both have a part, the CPU takes over what the device has not begun,
//! and nothing that befalls the device changes a byte.

mod support;

use std::time::Duration;

use dsa::stats::{Event, Operation, Path, Reason};
use dsa::{Accelerator, Error, Split};
use dsa_emulator::{Device, WqConfig};
use support::held::held;
use support::{Rng, Watchdog, assert_same, eventually, quiet, seed};

const LEN: usize = (4 << 20) + 12_345;

/// Bytes copied so far, by the device and by the CPU.
fn bytes(acc: &Accelerator) -> (u64, u64) {
    let stats = acc.stats();
    (stats.bytes(Path::Device, Operation::Copy), stats.bytes(Path::Cpu, Operation::Copy))
}

/// Copies on a thread of its own, while `beside` has the device in hand.
fn copy_beside(acc: &Accelerator, split: Split, len: usize, beside: impl FnOnce()) -> Path {
    let _watchdog = Watchdog::start("a copy");
    let src = Rng::new(seed()).bytes(len);
    let mut dst = vec![0; len];
    let path = std::thread::scope(|scope| {
        let copying = scope.spawn(|| acc.blocking().split(split).memcpy(&mut dst, &src).unwrap());
        beside();
        copying.join().unwrap()
    });
    assert_same(&dst, &src, "copy");
    quiet(acc);
    path
}

/// The device does nothing at all before the CPU has done everything but what lies in the queue.
#[test]
fn the_cpu_takes_over_what_the_device_has_not_begun() {
    let (device, acc) = held(WqConfig::shared(64), |_| {});
    let path = copy_beside(&acc, Split::Auto, LEN, || {
        let begun = || acc.stats().event(Event::Submissions);
        // Four pieces, of an eighth of what is left each.
        eventually("the CPU is done", || begun() == 4 && bytes(&acc).1 >= LEN as u64 / 2);
        assert_eq!(bytes(&acc).0, 0);
        eventually("only what is queued is left", || {
            let (_, by_cpu) = bytes(&acc);
            by_cpu == LEN as u64 - queued(LEN)
        });
        assert_eq!((begun(), acc.in_flight()), (4, 4));
        assert_eq!(device.run_until_idle(), 4);
    });
    assert_eq!(path, Path::Cpu, "it had a part");
    let (by_device, by_cpu) = bytes(&acc);
    assert_eq!((by_device, by_cpu), (queued(LEN), LEN as u64 - queued(LEN)));
    assert_eq!(acc.stats().reason(Reason::Forced), acc.stats().operations(Path::Cpu, Operation::Copy));
}

/// What the device is given at first, of so many bytes.
fn queued(len: usize) -> u64 {
    let mut left = len;
    for _ in 0..4 {
        left -= left / 8 / 4096 * 4096;
    }
    (len - left) as u64
}

/// A device that is at work has a part, in as many pieces as it can do.
#[test]
fn both_have_a_part() {
    let (device, acc) = held(WqConfig::dedicated(64), |_| {});
    copy_beside(&acc, Split::Auto, LEN, || {
        let done = || {
            let (by_device, by_cpu) = bytes(&acc);
            by_device + by_cpu == LEN as u64
        };
        eventually("all is copied", || {
            device.run_one();
            done()
        });
    });
    let (by_device, by_cpu) = bytes(&acc);
    assert!(by_device >= queued(LEN) && by_cpu > 0, "{by_device} by the device, {by_cpu} by the CPU");
    assert_eq!(by_device + by_cpu, LEN as u64);
}

#[test]
fn the_device_has_no_more_than_its_share() {
    for percent in [0, 1, 10, 50] {
        let (device, acc) = held(WqConfig::shared(64), |_| {});
        copy_beside(&acc, Split::Percent(percent), LEN, || {
            eventually("all is copied", || {
                device.run_one();
                let (by_device, by_cpu) = bytes(&acc);
                by_device + by_cpu == LEN as u64
            });
        });
        let (by_device, _) = bytes(&acc);
        assert!(by_device * 100 <= LEN as u64 * u64::from(percent), "{by_device} of {percent} %");
        assert_eq!(by_device == 0, percent == 0, "{percent} %");
    }
}

/// Who does not ask for it, copies little, or has no device, has one operation as ever.
#[test]
fn what_is_not_divided_is_one_operation() {
    let (device, acc) = held(WqConfig::shared(64), |_| {});
    for (split, len) in [(Split::Never, LEN), (Split::Auto, Split::LEAST - 1), (Split::Percent(50), 0)] {
        let before = acc.stats();
        let path = copy_beside(&acc, split, len, || {
            if len != 0 {
                eventually("it is queued", || device.run_one());
            }
        });
        let done = acc.stats().since(&before);
        let operations = (done.total_operations(Path::Device), done.total_operations(Path::Cpu));
        assert_eq!(operations, (u64::from(len != 0), 0), "{split:?} of {len}");
        assert!(len == 0 || path == Path::Device);
    }
    let cpu = Accelerator::cpu();
    assert_eq!(copy_beside(&cpu, Split::Auto, LEN, || {}), Path::Cpu);
    assert_eq!(cpu.stats().total_operations(Path::Cpu), 1);
    let (_device, far) = held(WqConfig::shared(64), |policy| policy.min_device_size = Some(LEN));
    assert_eq!(copy_beside(&far, Split::Auto, LEN - 1, || {}), Path::Cpu);
    assert_eq!(far.stats().total_operations(Path::Cpu), 1);
    let mut short = [0; 3];
    let mismatch = Error::LengthMismatch { left: 3, right: LEN };
    assert_eq!(acc.blocking().split(Split::Auto).memcpy(&mut short, &vec![0; LEN]), Err(mismatch));
}

#[test]
fn the_policy_says_so_unless_the_call_does() {
    let (device, acc) = held(WqConfig::shared(64), |policy| policy.split_blocking = Split::Percent(0));
    let src = Rng::new(seed()).bytes(LEN);
    let mut dst = vec![0; LEN];
    assert_eq!(acc.blocking().memcpy(&mut dst, &src), Ok(Path::Cpu));
    assert_same(&dst, &src, "copy");
    assert_eq!(acc.stats().event(Event::Submissions), 0);
    let path = copy_beside(&acc, Split::Never, LEN, || eventually("it is queued", || device.run_one()));
    assert_eq!(path, Path::Device);
}

/// Without room in the queue the CPU does all of it, and does not wait for any.
#[test]
fn a_full_queue_leaves_it_to_the_cpu() {
    for pressure in [dsa::Pressure::Cpu, dsa::Pressure::Wait, dsa::Pressure::Fail] {
        let (device, acc) = held(WqConfig::shared(1), |policy| {
            policy.retries = 0;
            policy.pressure = pressure;
        });
        let mut blocker = acc.copy(vec![1u8; 9000], vec![0u8; 9000]);
        assert!(support::poll_once(&mut blocker).is_pending());
        let src = Rng::new(seed()).bytes(LEN);
        let mut dst = vec![0; LEN];
        assert_eq!(acc.blocking().split(Split::Auto).memcpy(&mut dst, &src), Ok(Path::Cpu));
        assert_same(&dst, &src, "copy");
        assert_eq!(bytes(&acc), (0, LEN as u64));
        device.run_until_idle();
        assert!(support::poll_once(&mut blocker).is_ready());
        quiet(&acc);
    }
}

/// Parts that are with a device that goes away are done by the CPU.
#[test]
fn a_device_that_is_gone_is_replaced_by_the_cpu() {
    type Strike = fn(&Device);
    let strikes: [Strike; 4] =
        [|device| device.disable().unwrap(), |device| device.abort_all().unwrap(), Device::halt, Device::reset];
    for (number, strike) in strikes.into_iter().enumerate() {
        for ran in [0, 1, 3] {
            let (device, acc) = held(WqConfig::shared(64), |policy| {
                policy.dead_after = Duration::from_millis(2);
                policy.lost_after = Duration::from_millis(50);
            });
            copy_beside(&acc, Split::Auto, LEN, || {
                // Counted, not in flight: on a machine that halts for a while they may be lost already.
                eventually("pieces are queued", || acc.stats().event(Event::Submissions) >= 4);
                for _ in 0..ran {
                    device.run_one();
                }
                strike(&device);
            });
            let (by_device, by_cpu) = bytes(&acc);
            assert!(by_cpu > 0 && by_device + by_cpu == LEN as u64, "{number}: {by_device}, {by_cpu}");
            assert_eq!(acc.leaked(), 0);
        }
    }
}
