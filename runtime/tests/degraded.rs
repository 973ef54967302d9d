//! One part of the machine is slow, small, dead or somebody else's: the rest goes on as before, within bounds.

mod support;

use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use dsa::stats::{Event, Path, Reason};
use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use idxd_sys::opcode;
use support::late::{Counter, poll_with};
use support::{PATIENCE, block_on, eventually, poll_once, within};

/// Everything to the device, and straight to the poller: no spinning, no waking oneself.
fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    policy.self_wake = Duration::ZERO;
    policy.spin = Duration::ZERO;
    policy.lost_after = PATIENCE * 10;
    policy.dead_after = PATIENCE * 10;
    policy
}

fn device(queue: WqConfig, faults: impl IntoIterator<Item = FaultRule>) -> Device {
    let config = Config::sapphire_rapids().queue(queue);
    Device::new(faults.into_iter().fold(config, Config::fault)).unwrap()
}

fn both(first: &Device, second: &Device, policy: Policy) -> Accelerator {
    Accelerator::builder().policy(policy).emulator(first).emulator(second).build().unwrap()
}

/// A queue that is disabled for good is looked at every 50 ms; operations on the other must not wait for that.
#[test]
fn a_healthy_queue_is_watched_beside_a_closed_one() {
    let (dead, healthy) = (device(WqConfig::shared(16), []), device(WqConfig::shared(16), []));
    let mut policy = policy();
    policy.retries = 0;
    let acc = both(&dead, &healthy, policy);
    dead.disable().unwrap();
    block_on("notices", async {
        while acc.recoveries() == 0 {
            within("crc", acc.crc32c(vec![1; 8192])).await.unwrap();
        }
    });
    let begun = Instant::now();
    for _ in 0..40 {
        // Let the poller fall asleep.
        std::thread::sleep(Duration::from_millis(2));
        block_on("crc", within("crc", acc.crc32c(vec![1; 8192]))).unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?} for 40 operations", begun.elapsed());
}

/// The watchdog looks at each queue by itself.
#[test]
fn a_slow_queue_does_not_hide_a_dead_one() {
    let slow = FaultRule::new(Effect::Delay(Duration::from_secs(2)));
    let slow = device(WqConfig::shared(16).without(opcode::CRCGEN), [slow]);
    let dead = device(WqConfig::shared(16), [FaultRule::new(Effect::Lose)]);
    let mut policy = policy();
    policy.dead_after = Duration::from_millis(20);
    let acc = both(&slow, &dead, policy);
    let mut first = acc.copy(vec![1; 8192], vec![0; 8192]);
    assert!(poll_once(&mut first).is_pending());
    let counter = Counter::new();
    let mut second = acc.crc32c(vec![1; 8192]);
    assert!(poll_with(&mut second, &counter.waker()).is_pending());
    dead.halt();
    eventually("the dead queue is recovered", || counter.count() > 0);
    assert!(poll_once(&mut first).is_pending(), "the slow one has ended before");
    assert!(poll_once(&mut second).is_ready());
}

/// A disabled queue answers "retry" for ever; a poll ends all the same, and so does its recovery.
#[test]
fn retries_have_a_bound() {
    let device = device(WqConfig::shared(16), []);
    let mut policy = policy();
    policy.retries = u32::MAX;
    assert!(Accelerator::builder().policy(policy.clone()).emulator(&device).build().is_err());
    policy.retries = 1 << 16;
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    device.disable().unwrap();
    block_on("crcs", async {
        for _ in 0..100 {
            within("crc", acc.crc32c(vec![1; 8192])).await.unwrap();
        }
    });
    assert_eq!(acc.stats().total_operations(Path::Cpu), 100);
    eventually("recovered", || acc.recoveries() > 0);
}

/// What a device leaves undone the CPU does in slices, with turns for others in between.
#[test]
fn a_repair_takes_many_polls() {
    const LEN: usize = 8 << 20;
    let device = device(WqConfig::shared(16), [FaultRule::new(Effect::PageFault { resolvable: false })]);
    let mut policy = policy();
    policy.max_resumes = 0;
    policy.cpu_slice = 64 << 10;
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    let mut operation = acc.copy(vec![7u8; LEN], Vec::with_capacity(LEN));
    eventually("the device has given up", || {
        let _ = poll_with(&mut operation, Waker::noop());
        acc.stats().event(Event::PageFaults) == 1
    });
    let mut polls = 0;
    let (src, dst) = loop {
        polls += 1;
        if let Poll::Ready(done) = poll_once(&mut operation) {
            break done.unwrap();
        }
    };
    assert!(src == dst && polls >= LEN / (64 << 10) - 1, "{polls} polls");
    assert_eq!(acc.stats().reason(Reason::PageFault), 1);
}

/// A queue whose limit is below what pieces are rounded to is of no use, and no harm.
#[test]
fn a_queue_for_tiny_transfers() {
    for size in [1, 32, 64] {
        let device = device(WqConfig::shared(16).max_transfer_size(size), []);
        let acc = Accelerator::builder().policy(policy()).emulator(&device).build().unwrap();
        let src: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
        let (crc, (src, dst)) =
            block_on("copy", within("copy", acc.copy_crc32c(src, Vec::with_capacity(1000)))).unwrap();
        assert!(src == dst && crc == dsa::cpu::crc32c(0, &src));
        let mut blocking = vec![0; 1000];
        acc.blocking().memcpy(&mut blocking, &src).unwrap();
        assert_eq!(blocking, src);
    }
}

#[test]
fn limits_of_memory_are_refused_before_it_is_asked_for() {
    let mut policy = policy();
    policy.lanes = 4096;
    policy.slots_per_lane = 1 << 20;
    let error = Accelerator::builder().policy(policy).build().unwrap_err().to_string();
    assert!(error.contains("slots_per_lane"), "{error}");
}

/// While a future spins nobody else watches its operation, so a long spin is cut where the watchdog would look.
#[test]
fn a_spin_does_not_outlast_the_watchdog() {
    let device = device(WqConfig::shared(16), [FaultRule::new(Effect::Lose)]);
    let mut policy = policy();
    policy.spin = PATIENCE * 10;
    policy.dead_after = Duration::from_millis(20);
    policy.lost_after = Duration::from_millis(100);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    let begun = Instant::now();
    let (crc, src) = block_on("crc", within("crc", acc.crc32c(vec![1; 8192]))).unwrap();
    assert_eq!(crc, dsa::cpu::crc32c(0, &src));
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(acc.recoveries(), 1);
}

#[test]
fn a_watchdog_without_patience_is_refused() {
    let (mut dead, mut lost) = (policy(), policy());
    dead.dead_after = Duration::ZERO;
    lost.lost_after = Duration::ZERO;
    for policy in [dead, lost] {
        let error = Accelerator::builder().policy(policy).build().unwrap_err().to_string();
        assert!(error.contains("1 ms"), "{error}");
    }
}

/// What ends otherwise than by plain success is taken up by the next poll, and by the first one if it has ended by then;
/// nobody waits for it as for something that is still out.
#[test]
fn an_end_without_success_is_noticed_at_once() {
    for immediate in [false, true] {
        let faults = [FaultRule::new(Effect::HardwareError(0x20)).opcode(opcode::MEMMOVE)];
        let config = faults.into_iter().fold(Config::sapphire_rapids().queue(WqConfig::shared(8)), Config::fault);
        let device = Device::new(if immediate { config.immediate() } else { config.manual() }).unwrap();
        let mut policy = policy();
        // As long as a future may look for itself.
        policy.self_wake = PATIENCE;
        let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
        let poll = |mut operation: &mut (dyn Future<Output = Option<usize>> + Unpin)| {
            let first = poll_once(&mut operation);
            assert_eq!(first.is_pending(), !immediate);
            if immediate {
                return first;
            }
            assert!(device.run_one());
            poll_once(&mut operation)
        };
        let mut compare = Box::pin(async { acc.compare(vec![1; 5000], vec![2; 5000]).await.unwrap().0 });
        assert_eq!(poll(&mut compare), Poll::Ready(Some(0)));
        let mut copy = Box::pin(async {
            let (src, dst) = acc.copy(vec![3; 5000], vec![0; 5000]).await.unwrap();
            assert_eq!(src, dst);
            None
        });
        assert_eq!(poll(&mut copy), Poll::Ready(None));
        assert_eq!(acc.stats().reason(Reason::DeviceError), 1);
    }
}
