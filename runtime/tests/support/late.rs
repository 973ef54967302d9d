//! A device that starts every descriptor late, or when it is told to, which holds the moment still at which things go
//! wrong.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};

use super::tracked::{Ledger, Tracked};
use super::{eventually, poll_once, quiet};

pub(crate) const LEN: usize = 20_000;

/// How late a descriptor starts: long enough to do something meanwhile.
pub(crate) const LATE: Duration = Duration::from_millis(30);

/// A device that starts every descriptor late, and an accelerator whose futures wait for the poller at once.
pub(crate) fn late(delay: Duration) -> (Device, Accelerator) {
    late_on(Config::sapphire_rapids(), delay)
}

/// The same on a device with every operation.
pub(crate) fn late_with_all(delay: Duration) -> (Device, Accelerator) {
    late_on(Config::diamond_rapids(), delay)
}

/// The same on one that executes nothing before the test has it do so ([`Device::run_until_idle`]).
pub(crate) fn held_with_all() -> (Device, Accelerator) {
    accelerator(Config::diamond_rapids().manual())
}

fn late_on(preset: Config, delay: Duration) -> (Device, Accelerator) {
    accelerator(preset.fault(FaultRule::new(Effect::Delay(delay))))
}

fn accelerator(config: Config) -> (Device, Accelerator) {
    let device = Device::new(config.queue(WqConfig::shared(64)).engines(4)).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    policy.slots_per_lane = 64;
    policy.spin = Duration::ZERO;
    policy.self_wake = Duration::ZERO;
    // What the CPU does it does in one poll, however slow it is just now.
    policy.cpu_slice_time = Duration::ZERO;
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}

pub(crate) fn copy(acc: &Accelerator, ledger: &Arc<Ledger>) -> dsa::Copy<Tracked, Tracked> {
    acc.copy(ledger.of(vec![7; LEN]), ledger.buffer(LEN).ends_as(7))
}

/// Polls until the device has the operation.
#[track_caller]
pub(crate) fn launch<F: Future + Unpin>(operation: &mut F) {
    assert!(poll_once(operation).is_pending(), "too early");
}

/// Nothing in flight, every buffer dropped once, and none before the device was done with it.
#[track_caller]
pub(crate) fn settled(acc: &Accelerator, ledger: &Ledger) {
    quiet(acc);
    all_dropped(ledger);
    assert_eq!(acc.leaked(), 0);
}

#[track_caller]
pub(crate) fn all_dropped(ledger: &Ledger) {
    eventually("all buffers dropped", || ledger.dropped() >= ledger.made());
    assert_eq!(ledger.dropped(), ledger.made(), "dropped more than once");
    assert_eq!(ledger.early(), 0, "dropped before the device was done");
}

/// Counts wake-ups.
#[derive(Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}
