//! Waiting by UMONITOR, UMWAIT and TPAUSE, or by MONITORX and MWAITX: the real instructions, run by the CPU or by the trap
//! handler of the model.
//!
//! A program of its own, because what the CPU is said to have, and the handler, hold for the whole process.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod support;

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use dsa::stats::{Event, Operation, Path};
use dsa::{Accelerator, BuildError, Policy, Waiting};
use dsa_emulator::trap::decode::Kind;
use dsa_emulator::trap::{install, trapped};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use idxd_sys::{CpuFeatures, set_override};
use support::{block_on, poll_once, within};

/// The features of the process, which one test at a time may change. Its accelerators have ended with it, pollers included:
/// what those still executed would be counted for the next test.
struct Claim {
    _guard: MutexGuard<'static, ()>,
    accelerators: RefCell<Vec<Accelerator>>,
}

impl Claim {
    fn new(change: impl FnOnce(&mut CpuFeatures)) -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        install().unwrap();
        let mut features = CpuFeatures::native();
        change(&mut features);
        set_override(Some(features));
        Self { _guard: guard, accelerators: RefCell::default() }
    }

    /// Every operation takes a while, and goes straight to the poller.
    fn accelerator(&self, waiting: Waiting, delay: Duration) -> Accelerator {
        let config = Config::granite_rapids().queue(WqConfig::shared(64)).fault(FaultRule::new(Effect::Delay(delay)));
        let mut policy = Policy::default();
        policy.min_device_size = Some(0);
        policy.lanes = 1;
        policy.spin = Duration::ZERO;
        policy.self_wake = Duration::ZERO;
        policy.waiting = waiting;
        let device = Device::new(config).unwrap();
        let accelerator = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
        self.accelerators.borrow_mut().push(accelerator.clone());
        accelerator
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for accelerator in self.accelerators.take() {
            let _ending = block_on("shutdown", accelerator.shutdown());
        }
        set_override(None);
    }
}

/// How often each of the instructions has been trapped.
fn counts() -> [u64; 3] {
    [Kind::Umonitor, Kind::Umwait, Kind::Tpause].map(trapped)
}

/// Whether the traps can be counted: a CPU that has the instructions runs them itself.
fn counted() -> bool {
    !CpuFeatures::native().waitpkg
}

/// Copies one buffer after the other and checks each.
fn one_by_one(accelerator: &Accelerator, rounds: usize) {
    block_on("copies", async {
        for round in 0..rounds {
            let source: Vec<_> = (0..5000).map(|i| (i * 31 + round * 7) as u8).collect();
            let (source, target) =
                within("copy", accelerator.copy(source, Vec::with_capacity(5000))).await.expect("valid arguments");
            assert_eq!(source, target);
        }
    });
}

const DELAY: Duration = Duration::from_micros(100);

/// Does `round` until `seen`. On a loaded machine a thread may get its turn when there is nothing left to wait for, but
/// not every time.
fn repeat_until(seen: impl Fn() -> bool, mut round: impl FnMut(u8)) {
    for number in 0..=u8::MAX {
        round(number);
        if seen() {
            return;
        }
    }
    panic!("not seen in 256 rounds: {:?}", counts());
}

#[test]
fn the_poller_monitors_the_record_of_a_lone_operation() {
    let claim = Claim::new(|features| features.waitpkg = true);
    let before = counts();
    let accelerator = claim.accelerator(Waiting::Umwait, DELAY);
    repeat_until(|| !counted() || counts()[0] > before[0] && counts()[1] > before[1], |_| one_by_one(&accelerator, 10));
    let stats = accelerator.stats();
    assert!(stats.operations(Path::Device, Operation::Copy) >= 10, "{stats:?}");
    assert!(stats.event(Event::Parks) > 0, "{stats:?}");
}

/// Copies eight buffers at a time.
fn together(accelerator: &Accelerator, round: u8) {
    let mut copies: Vec<_> =
        (0..8).map(|i| accelerator.copy(vec![i ^ round; 5000], Vec::with_capacity(5000))).collect();
    // All are armed before the first is waited for.
    let early: Vec<_> = copies.iter_mut().map(poll_once).collect();
    block_on("copies", async {
        for (i, (copy, early)) in (0..).zip(copies.into_iter().zip(early)) {
            let result = match early {
                Poll::Ready(result) => result,
                Poll::Pending => within("copy", copy).await,
            };
            let (source, target) = result.expect("valid arguments");
            assert_eq!((&source, source[0]), (&target, i ^ round));
        }
    });
}

#[test]
fn the_poller_pauses_for_several_operations() {
    let claim = Claim::new(|features| features.waitpkg = true);
    let before = counts();
    let accelerator = claim.accelerator(Waiting::Umwait, DELAY);
    repeat_until(|| !counted() || counts()[2] > before[2], |round| together(&accelerator, round));
}

/// Nothing is counted here: CPUs execute these instructions even where a hypervisor hides them.
#[test]
fn the_other_vendors_instructions_do_as_well() {
    let claim = Claim::new(|features| {
        features.waitpkg = false;
        features.mwaitx = true;
    });
    for waiting in [Waiting::Mwaitx, Waiting::Auto] {
        let accelerator = claim.accelerator(waiting, DELAY);
        one_by_one(&accelerator, 10);
        for round in 0..10 {
            together(&accelerator, round);
            let mut target = vec![0; 5000];
            accelerator.blocking().memset(&mut target, round + 1);
            assert!(target.iter().all(|&byte| byte == round + 1));
        }
    }
}

#[test]
fn a_blocking_call_monitors_its_record() {
    let claim = Claim::new(|features| features.waitpkg = true);
    let before = counts();
    let accelerator = claim.accelerator(Waiting::Umwait, DELAY);
    repeat_until(
        || !counted() || counts()[1] > before[1],
        |round| {
            let source = vec![round; 5000];
            let mut target = vec![0; 5000];
            assert_eq!(accelerator.blocking().memcpy(&mut target, &source).unwrap(), Path::Device);
            assert_eq!(source, target);
        },
    );
    assert_eq!(accelerator.stats().event(Event::Parks), 0, "the poller has no part in it");
    assert_eq!(counts()[2], before[2], "one record, one monitor");
}

#[test]
fn long_operations_are_found_by_the_sleeping_poller() {
    let claim = Claim::new(|features| features.waitpkg = true);
    let accelerator = claim.accelerator(Waiting::Umwait, Duration::from_millis(3));
    one_by_one(&accelerator, 5);
    assert_eq!(accelerator.stats().operations(Path::Device, Operation::Copy), 5);
}

#[test]
fn whoever_wants_to_spin_spins() {
    let claim = Claim::new(|features| features.waitpkg = true);
    let before = counts();
    let accelerator = claim.accelerator(Waiting::Spin, DELAY);
    one_by_one(&accelerator, 20);
    accelerator.blocking().memset(&mut [0; 5000], 7u8);
    assert_eq!(counts(), before);
}

#[test]
fn what_the_cpu_lacks_is_refused() {
    let claim = Claim::new(|features| {
        features.waitpkg = false;
        features.mwaitx = false;
    });
    for waiting in [Waiting::Umwait, Waiting::Mwaitx] {
        let mut policy = Policy::default();
        policy.waiting = waiting;
        let error = Accelerator::builder().policy(policy).build().unwrap_err();
        assert!(matches!(error, BuildError::Waiting(asked) if asked == waiting), "{error}");
        assert!(error.to_string().contains(&format!("{waiting:?}")), "{error}");
    }
    let before = counts();
    one_by_one(&claim.accelerator(Waiting::Auto, DELAY), 5);
    assert_eq!(counts(), before);
}

/// What the CPU has is taken only if it waits; either way everything is found.
#[test]
fn who_leaves_it_open_gets_what_waits() {
    for has_it in [true, false] {
        let claim = Claim::new(|features| (features.waitpkg, features.mwaitx) = (has_it, false));
        let accelerator = claim.accelerator(Waiting::Auto, DELAY);
        assert!(accelerator.waiting() == Waiting::Spin || has_it && accelerator.waiting() == Waiting::Umwait);
        one_by_one(&accelerator, 10);
    }
}
