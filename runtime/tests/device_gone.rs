//! A device that is disabled, halted, aborted or reset, or that loses descriptors, with operations in flight: every one
//! of them ends with the right bytes within a bounded time, and the device is used again once it is back.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dsa::stats::{Event, Path, Reason};
use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, DeviceState, Effect, FaultRule, WqConfig};
use support::tracked::Ledger;
use support::{Rng, Watchdog, assert_same, block_on, crc_oracle, eventually, poll_once, quiet, seed, within};

const LEN: usize = 30_000;

/// Far more than `dead_after`, `lost_after` and a quiesce take together, far less than a hang.
const BOUND: Duration = Duration::from_secs(10);

/// What happens to the device.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Disabled,
    QueueDisabled,
    Aborted,
    QueueAborted,
    Halted,
    Reset,
}

const FATES: [Fate; 6] =
    [Fate::Disabled, Fate::QueueDisabled, Fate::Aborted, Fate::QueueAborted, Fate::Halted, Fate::Reset];

impl Fate {
    fn strike(self, device: &Device) {
        match self {
            Self::Disabled => device.disable().unwrap(),
            Self::QueueDisabled => device.disable_wq(0).unwrap(),
            Self::Aborted => device.abort_all().unwrap(),
            Self::QueueAborted => device.abort_wq(0).unwrap(),
            Self::Halted => device.halt(),
            Self::Reset => device.reset(),
        }
    }

    /// Whether descriptors that are queued or executing end without a record.
    fn loses(self) -> bool {
        !matches!(self, Self::Disabled | Self::QueueDisabled)
    }
}

/// What an administrator does to get the queue back.
fn repair(device: &Device) {
    if device.state() == DeviceState::Halted {
        device.reset();
    }
    let _ = device.enable();
    let _ = device.enable_wq(0);
}

fn setup(queue: WqConfig, faults: impl IntoIterator<Item = FaultRule>) -> (Device, Accelerator) {
    let config = Config::sapphire_rapids().queue(queue).engines(2).seed(seed());
    let device = Device::new(faults.into_iter().fold(config, Config::fault)).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 2;
    policy.dead_after = Duration::from_millis(2);
    policy.lost_after = Duration::from_millis(100);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}

fn both_queues() -> [WqConfig; 2] {
    [WqConfig::shared(32), WqConfig::dedicated(32)]
}

fn late(millis: u64) -> FaultRule {
    FaultRule::new(Effect::Delay(Duration::from_millis(millis)))
}

/// The device takes part again.
fn is_used_again(acc: &Accelerator) {
    let before = acc.stats();
    let blocking = acc.blocking();
    let (src, mut dst) = (vec![5u8; LEN], vec![0; LEN]);
    eventually("the device is used again", || {
        blocking.memcpy(&mut dst, &src).unwrap();
        assert_same(&dst, &src, "copy");
        acc.stats().since(&before).total_operations(Path::Device) >= 3
    });
    quiet(acc);
    assert_eq!(acc.leaked(), 0);
}

#[test]
fn operations_in_flight_end_with_the_right_bytes() {
    for queue in both_queues() {
        for fate in FATES {
            let what = format!("{fate:?}, {:?}", queue.mode);
            let (device, acc) = setup(queue.clone(), [late(40)]);
            let ledger = Ledger::new();
            let mut copies = Vec::new();
            let mut sums = Vec::new();
            for byte in 0..8u8 {
                let mut copy = acc.copy(ledger.of(vec![byte; LEN]), ledger.buffer(LEN));
                let mut sum = acc.copy_crc32c(ledger.of(vec![byte; LEN]), ledger.buffer(LEN));
                let mut dropped = acc.copy(ledger.of(vec![byte; LEN]), ledger.buffer(LEN));
                assert!(poll_once(&mut copy).is_pending() && poll_once(&mut sum).is_pending(), "{what}");
                assert!(poll_once(&mut dropped).is_pending());
                copies.push(copy);
                sums.push(sum);
            }
            let begun = Instant::now();
            let striker = {
                let device = device.clone();
                std::thread::spawn(move || fate.strike(&device))
            };
            block_on(&what, async {
                for (byte, (copy, sum)) in (0..).zip(copies.into_iter().zip(sums)) {
                    let (_, dst) = within(&what, copy).await.unwrap();
                    assert_same(dst.bytes(), &vec![byte; LEN], &what);
                    let (crc, (src, dst)) = within(&what, sum).await.unwrap();
                    assert_same(dst.bytes(), &vec![byte; LEN], &what);
                    assert_eq!(crc, crc_oracle(0, src.bytes()));
                }
            });
            striker.join().unwrap();
            quiet(&acc);
            assert!(begun.elapsed() < BOUND, "{what}: took {:?}", begun.elapsed());
            eventually("all buffers dropped", || ledger.alive() == 0);
            assert_eq!(ledger.dropped(), ledger.made(), "{what}");
            if fate.loses() {
                assert!(acc.recoveries() >= 1, "{what}: lost without a recovery");
                assert!(acc.stats().reason(Reason::DeviceLost) >= 1, "{what}\n{}", acc.stats());
            }
            repair(&device);
            is_used_again(&acc);
        }
    }
}

#[test]
fn blocking_calls_end_with_the_right_bytes() {
    for queue in both_queues() {
        for fate in FATES {
            let what = format!("{fate:?}, {:?}", queue.mode);
            let _watchdog = Watchdog::start(&what);
            let (device, acc) = setup(queue.clone(), [late(30)]);
            let data = Rng::new(seed()).bytes(LEN);
            let expected = crc_oracle(0, &data);
            let begun = Instant::now();
            std::thread::scope(|threads| {
                for _ in 0..3 {
                    threads.spawn(|| {
                        let (mut one, mut two) = (vec![0; LEN], vec![0; LEN]);
                        acc.blocking().memcpy(&mut one, &data).unwrap();
                        assert_same(&one, &data, &what);
                        let crc = acc.blocking().scope(|s| {
                            s.copy(&mut two, &data).unwrap();
                            s.fill(&mut one, 9u8);
                            s.crc32c(&data).wait()
                        });
                        assert_eq!(crc, expected);
                        assert_same(&one, &vec![9; LEN], &what);
                        assert_same(&two, &data, &what);
                    });
                }
                eventually("in flight", || acc.in_flight() >= 3);
                fate.strike(&device);
            });
            assert!(begun.elapsed() < BOUND, "{what}: took {:?}", begun.elapsed());
            assert!(!fate.loses() || acc.recoveries() >= 1, "{what}: lost without a recovery");
            repair(&device);
            is_used_again(&acc);
        }
    }
}

/// Strikes and repairs, again and again, while tasks go on working.
#[test]
fn under_load_again_and_again() {
    for queue in both_queues() {
        let (device, acc) = setup(queue.clone(), [late(3).probability(0.1)]);
        let mut rng = Rng::new(seed());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..8u64)
            .map(|task| {
                let (acc, stop, mut rng) = (acc.clone(), Arc::clone(&stop), Rng::new(seed() + task));
                runtime.spawn(async move {
                    let mut done = 0u64;
                    while !stop.load(Ordering::Relaxed) {
                        let len = 1 + rng.below(LEN);
                        let data = rng.bytes(len);
                        let (src, dst) = within("copy", acc.copy_to_vec(data)).await.unwrap();
                        assert_same(&dst, &src, "copy");
                        let (difference, _) = within("compare", acc.compare(src, dst)).await.unwrap();
                        assert_eq!(difference, None);
                        done += 2;
                    }
                    done
                })
            })
            .collect();
        for fate in FATES {
            // In the thick of it, not while the queue is still closed after the last time.
            let before = acc.stats();
            eventually("the device is used again", || acc.stats().since(&before).total_operations(Path::Device) >= 20);
            fate.strike(&device);
            std::thread::sleep(Duration::from_millis(rng.below(30) as u64));
            repair(&device);
        }
        stop.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        let done: u64 = runtime.block_on(async {
            let mut done = 0;
            for task in tasks {
                done += within("task", task).await.unwrap();
            }
            done
        });
        assert!(begun.elapsed() < BOUND, "took {:?}", begun.elapsed());
        let stats = acc.stats();
        println!("{:?}: {done} operations, {} recoveries\n{stats}", queue.mode, acc.recoveries());
        assert_eq!(stats.total_operations(Path::Device) + stats.total_operations(Path::Cpu), done);
        assert!(acc.recoveries() >= 1 && stats.total_operations(Path::Device) > 0);
        repair(&device);
        is_used_again(&acc);
    }
}

/// The queue was disabled before anything came: operations go to the CPU, and nobody waits for nothing.
#[test]
fn a_queue_that_is_gone_before_the_submission() {
    for queue in both_queues() {
        let (device, acc) = setup(queue, []);
        device.disable_wq(0).unwrap();
        block_on("copies", async {
            for byte in 0..100u8 {
                let (_, dst) = within("copy", acc.copy(vec![byte; LEN], vec![0; LEN])).await.unwrap();
                assert_same(&dst, &vec![byte; LEN], "copy");
            }
        });
        let stats = acc.stats();
        assert_eq!((stats.total_operations(Path::Device), stats.total_operations(Path::Cpu)), (0, 100), "{stats}");
        eventually("the dead queue is noticed", || acc.recoveries() >= 1);
        repair(&device);
        is_used_again(&acc);
    }
}

/// A live device that executes a descriptor but says nothing, or loses it.
#[test]
fn descriptors_that_never_complete() {
    for queue in both_queues() {
        for effect in [Effect::Lose, Effect::RecordFault] {
            let what = format!("{effect:?}, {:?}", queue.mode);
            let (_device, acc) = setup(queue.clone(), [FaultRule::new(effect).every(5).limit(3)]);
            let ledger = Ledger::new();
            let data = Rng::new(seed()).bytes(LEN);
            let begun = Instant::now();
            block_on(&what, async {
                for round in 0..16 {
                    let operation = acc.copy(ledger.of(data.clone()), ledger.buffer(LEN));
                    if round == 9 {
                        // The second of the lost ones is nobody's any more when it is found out.
                        let mut operation = operation;
                        assert!(poll_once(&mut operation).is_pending(), "{what}");
                        drop(operation);
                        quiet(&acc);
                        continue;
                    }
                    let (_, dst) = within(&what, operation).await.unwrap();
                    assert_same(dst.bytes(), &data, &what);
                }
            });
            let mut dst = vec![0; LEN];
            acc.blocking().memcpy(&mut dst, &data).unwrap();
            assert_same(&dst, &data, &what);
            quiet(&acc);
            assert!(begun.elapsed() < BOUND, "{what}: took {:?}", begun.elapsed());
            eventually("all buffers dropped", || ledger.alive() == 0);
            let stats = acc.stats();
            assert_eq!(acc.recoveries(), 3, "{what}\n{stats}");
            assert_eq!(
                (stats.reason(Reason::DeviceLost), stats.total_operations(Path::Cpu)),
                (2, 2),
                "{what}\n{stats}"
            );
            is_used_again(&acc);
        }
    }
}

/// A blocking call is its own watchdog.
#[test]
fn a_lost_descriptor_of_a_blocking_call() {
    for queue in both_queues() {
        let (_device, acc) = setup(queue, [FaultRule::new(Effect::Lose).nth(1)]);
        let _watchdog = Watchdog::start("blocking");
        let (src, mut dst) = (vec![5u8; LEN], vec![0; LEN]);
        assert_eq!(acc.blocking().memcpy(&mut dst, &src), Ok(Path::Cpu));
        assert_same(&dst, &src, "copy");
        assert!(acc.recoveries() >= 1);
        is_used_again(&acc);
    }
}

/// Hardware errors end a descriptor with a status of their own; the CPU does the work, and nothing needs recovery.
#[test]
fn hardware_errors_are_not_the_callers() {
    for code in [0x1au8, 0x20, 0x21, 0x22, 0x3f] {
        let (_device, acc) = setup(WqConfig::shared(32), [FaultRule::new(Effect::HardwareError(code)).limit(2)]);
        let data = Rng::new(seed()).bytes(LEN);
        block_on("hardware error", async {
            let failed = within("device only", acc.crc32c(data.clone()).device_only()).await.unwrap_err();
            assert_eq!(failed.error(), &dsa::Error::DeviceOnly(Reason::DeviceError), "{code:#04x}");
            assert_same(&failed.into_buffers().unwrap(), &data, "given back");
            let (src, dst) = within("copy", acc.copy(data, vec![0; LEN])).await.unwrap();
            assert_same(&dst, &src, "copy");
        });
        let stats = acc.stats();
        assert_eq!((stats.reason(Reason::DeviceError), stats.event(Event::Submissions)), (1, 2), "{stats}");
        is_used_again(&acc);
        assert_eq!(acc.recoveries(), 0);
    }
}

/// One queue of two dies: the other one does the work.
#[test]
fn another_queue_takes_over() {
    let config = Config::sapphire_rapids().queue(WqConfig::shared(16)).queue(WqConfig::shared(16));
    let device = Device::new(config).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.dead_after = Duration::from_millis(2);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    device.disable_wq(0).unwrap();
    block_on("copies", async {
        for byte in 0..50u8 {
            let (_, dst) = within("copy", acc.copy(vec![byte; LEN], vec![0; LEN])).await.unwrap();
            assert_same(&dst, &vec![byte; LEN], "copy");
        }
    });
    let stats = acc.stats();
    assert_eq!((stats.total_operations(Path::Device), stats.total_operations(Path::Cpu)), (50, 0), "{stats}");
}
