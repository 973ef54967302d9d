//! Who does an operation, where nobody has said so: what the statistics show of the choice.
//!
//! What is believed of the device and of the CPU is given, so that nothing depends on how fast this machine is: a side that
//! is to lose takes seconds, by the estimates.

mod support;

use std::fmt::Write as _;
use std::task::Poll;
use std::time::Duration;

use dsa::choice::{Calibration, Mismatch};
use dsa::stats::{Event, Path, Reason, Stats};
use dsa::{Accelerator, BuildError, Calibrate, Policy};
use dsa_emulator::{Config, Device, WqConfig};
use support::{eventually, poll_once};

const LEN: usize = 64 << 10;
/// In picoseconds, as in the text of a calibration.
const NOTHING: u64 = 1000;
const SECONDS: u64 = 4_000_000_000_000;

/// One lane, and futures that look for themselves.
fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.lanes = 1;
    policy.spin = Duration::ZERO;
    policy.self_wake = Duration::from_secs(3600);
    policy
}

/// A device that executes nothing before the test has it do so.
fn held() -> Device {
    Device::new(Config::sapphire_rapids().queue(WqConfig::shared(64)).manual()).unwrap()
}

fn open(device: &Device, calibrate: impl Into<Calibrate>) -> Accelerator {
    Accelerator::builder().policy(policy()).calibration(calibrate).emulator(device).build().unwrap()
}

/// What holds for the device's queue here, with these times of copies of all sizes.
fn believed(device: &Device, latency: u64, service: u64, cpu: u64) -> Calibration {
    let mut text = open(device, Calibrate::Modelled).calibration().to_text();
    for (quantity, time) in [("latency", latency), ("service", service), ("cpu", cpu)] {
        for bytes in [64, LEN, 1 << 20] {
            writeln!(text, "time copy {quantity} {bytes} {time}").unwrap();
        }
    }
    text.parse().unwrap()
}

fn copy(acc: &Accelerator, len: usize) -> dsa::Copy<Vec<u8>, Vec<u8>> {
    acc.copy(vec![7; len], vec![0; len])
}

/// Has one operation done, and says what that has added to the statistics.
fn done<F: Future<Output = Result<T, E>> + Unpin, T, E: std::fmt::Debug>(
    device: &Device,
    acc: &Accelerator,
    mut operation: F,
) -> Stats {
    let before = acc.stats();
    eventually("done", || {
        if let Poll::Ready(result) = poll_once(&mut operation) {
            result.unwrap();
            return true;
        }
        device.run_until_idle();
        false
    });
    acc.stats().since(&before)
}

#[track_caller]
fn by_device(stats: &Stats) {
    assert_eq!((stats.total_operations(Path::Device), stats.total_operations(Path::Cpu)), (1, 0), "{stats:?}");
}

#[track_caller]
fn by_cpu(stats: &Stats, reason: Reason) {
    assert_eq!((stats.total_operations(Path::Device), stats.total_operations(Path::Cpu)), (0, 1), "{stats:?}");
    assert_eq!(stats.reason(reason), 1, "{stats:?}");
}

#[test]
fn small_ones_are_the_cpus_and_large_ones_the_devices_by_default() {
    let device = held();
    let acc = Accelerator::builder().policy(policy()).emulator(&device).build().unwrap();
    assert_eq!(acc.policy().min_device_size, None);
    by_cpu(&done(&device, &acc, copy(&acc, 64)), Reason::Cheaper);
    by_device(&done(&device, &acc, copy(&acc, 1 << 20)));
}

#[test]
fn building_an_accelerator_submits_nothing_unless_that_is_asked_for() {
    let device = held();
    let acc = Accelerator::builder().emulator(&device).build().unwrap();
    assert_eq!(acc.stats().event(Event::Submissions), 0);
    assert_eq!(device.run_until_idle(), 0);
    assert!(acc.calibration().times().is_empty(), "nothing is known but the model");
}

#[test]
fn a_device_that_is_believed_to_be_slow_gets_nothing() {
    let device = held();
    let acc = open(&device, believed(&device, SECONDS, NOTHING, NOTHING));
    for len in [64, LEN, 1 << 20] {
        by_cpu(&done(&device, &acc, copy(&acc, len)), Reason::Cheaper);
    }
    assert_eq!(acc.stats().event(Event::Submissions), 0);
}

/// And not for ever: it is tried now and then, however slow it is believed to be.
#[test]
fn a_device_that_is_believed_to_be_slow_is_tried_now_and_then() {
    let device = held();
    let acc = open(&device, believed(&device, SECONDS, NOTHING, NOTHING));
    // An exploration is due in at most 512 decisions, and one in 16 may cost whatever it costs.
    let tried = (0..512 * 17).any(|_| done(&device, &acc, copy(&acc, 64)).total_operations(Path::Device) == 1);
    assert!(tried && acc.stats().total_operations(Path::Cpu) > 256);
}

#[test]
fn what_an_operation_says_comes_first() {
    let device = held();
    let slow = open(&device, believed(&device, SECONDS, NOTHING, NOTHING));
    by_device(&done(&device, &slow, copy(&slow, 64).device_only()));
    by_cpu(&done(&device, &slow, copy(&slow, 64)), Reason::Cheaper);
    let fast = open(&device, believed(&device, NOTHING, NOTHING, SECONDS));
    by_device(&done(&device, &fast, copy(&fast, 64)));
    by_cpu(&done(&device, &fast, copy(&fast, 64).cpu_only()), Reason::Forced);
}

#[test]
fn so_do_fixed_sizes() {
    let device = held();
    let given = |least| {
        let mut policy = policy();
        policy.min_device_size = Some(least);
        let slow = believed(&device, SECONDS, NOTHING, NOTHING);
        Accelerator::builder().policy(policy).calibration(slow).emulator(&device).build().unwrap()
    };
    let acc = given(LEN);
    by_cpu(&done(&device, &acc, copy(&acc, LEN - 1)), Reason::BelowThreshold);
    by_device(&done(&device, &acc, copy(&acc, LEN)));
    let acc = given(0);
    by_device(&done(&device, &acc, copy(&acc, 1)));
    assert!(acc.calibration().times().is_empty(), "nobody estimates anything");
}

/// A batch is one operation of all its bytes; its members are counted by themselves.
#[test]
fn a_batch_is_asked_about_as_a_whole() {
    let device = held();
    let batch = |acc: &Accelerator| {
        let mut batch = acc.batch::<Vec<u8>, Vec<u8>>();
        batch.copy(vec![1; 4096], vec![0; 4096]).copy(vec![2; 4096], vec![0; 4096]);
        let mut batch = batch.submit();
        eventually("done", || {
            device.run_until_idle();
            poll_once(&mut batch).is_ready()
        });
        acc.stats()
    };
    let slow = batch(&open(&device, believed(&device, SECONDS, NOTHING, NOTHING)));
    assert_eq!((slow.total_operations(Path::Cpu), slow.reason(Reason::Cheaper)), (2, 2));
    let fast = batch(&open(&device, believed(&device, NOTHING, NOTHING, SECONDS)));
    assert_eq!((fast.total_operations(Path::Device), fast.event(Event::Batches)), (2, 1));
}

/// What is ahead in the queue takes longer, by the estimates, than the CPU does.
#[test]
fn a_busy_queue_loses_until_it_is_empty() {
    let device = held();
    let acc = open(&device, believed(&device, NOTHING, SECONDS * 4, SECONDS));
    let mut first = copy(&acc, 1 << 20);
    assert!(poll_once(&mut first).is_pending());
    by_cpu(&done_without(&acc, copy(&acc, 1 << 20)), Reason::Busy);
    by_device(&done(&device, &acc, first));
    by_device(&done(&device, &acc, copy(&acc, 1 << 20)));
}

/// As [`done`], while the device does nothing.
fn done_without<F: Future + Unpin>(acc: &Accelerator, mut operation: F) -> Stats {
    let before = acc.stats();
    eventually("done", || poll_once(&mut operation).is_ready());
    acc.stats().since(&before)
}

/// Between two queues the one with less ahead is taken, and a full one is not waited for.
#[test]
fn the_queue_with_less_ahead_is_taken() {
    let devices = [held(), held()];
    let build = |calibrate: Calibrate| {
        let builder = Accelerator::builder().policy(policy()).calibration(calibrate);
        builder.emulator(&devices[0]).emulator(&devices[1]).build().unwrap()
    };
    let mut text = build(Calibrate::Modelled).calibration().to_text();
    writeln!(text, "time copy latency {LEN} {NOTHING}\ntime copy service {LEN} {}", SECONDS / 100).unwrap();
    writeln!(text, "time copy cpu {LEN} {}", SECONDS * 4).unwrap();
    let acc = build(text.parse::<Calibration>().unwrap().into());
    let mut operations: Vec<_> = (0..8).map(|_| copy(&acc, LEN)).collect();
    for operation in &mut operations {
        assert!(poll_once(operation).is_pending());
    }
    assert_eq!([devices[0].run_until_idle(), devices[1].run_until_idle()], [4, 4]);
    assert!(operations.iter_mut().all(|operation| poll_once(operation).is_ready()));
}

/// The same accelerator twice, as far as anybody can see.
#[test]
fn a_calibration_that_was_kept_gives_the_same_first_decisions() {
    let device = held();
    let sides = |acc: &Accelerator| -> Vec<bool> {
        // Each of another kind of size, so that none is learned from by the next.
        let of = |len| done(&device, acc, copy(acc, len)).total_operations(Path::Device) == 1;
        [64, 4096, 64 << 10, 1 << 20].map(of).to_vec()
    };
    let mut text = open(&device, Calibrate::Modelled).calibration().to_text();
    // Nobody would think so by the model.
    for (bytes, latency, cpu) in
        [(64, NOTHING, SECONDS), (4096, SECONDS, NOTHING), (LEN, NOTHING, SECONDS), (1 << 20, SECONDS, NOTHING)]
    {
        writeln!(text, "time copy latency {bytes} {latency}\ntime copy cpu {bytes} {cpu}").unwrap();
    }
    let first = open(&device, text.parse::<Calibration>().unwrap());
    let kept = first.calibration().to_text();
    assert_eq!(sides(&first), [true, false, true, false]);
    drop(first);
    let second = open(&device, kept.parse::<Calibration>().unwrap());
    assert_eq!(second.calibration().to_text(), kept);
    assert_eq!(sides(&second), [true, false, true, false]);
}

#[test]
fn a_calibration_of_something_else_is_refused_with_what_differs() {
    let (device, wide) = (held(), Config::sapphire_rapids().queue(WqConfig::shared(8)).queue(WqConfig::shared(8)));
    let text = open(&device, Calibrate::Modelled).calibration().to_text();
    let cpu = text.lines().find(|line| line.starts_with("cpu")).unwrap();
    let other: Calibration = text.replace(cpu, "cpu Some Other CPU").parse().unwrap();
    let build = |device: &Device, given: Calibration| {
        Accelerator::builder().policy(policy()).calibration(given).emulator(device).build()
    };
    let error = build(&device, other).unwrap_err();
    assert!(matches!(error, BuildError::Calibration(Mismatch::Cpu { .. })), "{error}");
    assert!(error.to_string().contains("Some Other CPU"), "{error}");
    let wide = Device::new(wide.manual()).unwrap();
    let error = build(&wide, text.parse().unwrap()).unwrap_err();
    assert!(matches!(error, BuildError::Calibration(Mismatch::Queues { .. })), "{error}");
    // The queues are free again.
    assert!(build(&wide, open(&wide, Calibrate::Modelled).calibration()).is_ok());
}

/// On a device of its own threads: the times are whatever they are here.
#[test]
fn a_measurement_at_the_start_knows_both_sides() {
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(64))).unwrap();
    let acc = open(&device, Calibrate::Within(Duration::from_secs(20)));
    let calibration = acc.calibration();
    for operation in [dsa::stats::Operation::Copy, dsa::stats::Operation::Compare] {
        for &quantity in dsa::choice::Quantity::ALL {
            let known =
                calibration.times().iter().filter(|time| (time.operation, time.quantity) == (operation, quantity));
            assert_eq!(known.count(), 6, "{operation} {quantity}");
        }
    }
    assert_eq!((acc.in_flight(), acc.leaked()), (0, 0));
    assert_eq!(acc.stats().total_operations(Path::Device), 0, "nobody asked for an operation");
}

#[test]
fn without_queues_there_is_nothing_to_choose() {
    let acc = Accelerator::builder().calibration(Calibrate::AtStart).build().unwrap();
    let mut copy = copy(&acc, LEN);
    eventually("done", || poll_once(&mut copy).is_ready());
    assert_eq!(acc.stats().reason(Reason::NoDevice), 1);
    assert!(acc.calibration().times().is_empty());
}
