//! A device that executes nothing before the test has it do so, and futures that look for themselves: every step of a test
//! is then a call in it.

use std::time::Duration;

use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, WqConfig};

use super::PATIENCE;

/// As `set` says, else: everything to the device, one lane, nobody spins, and futures wake themselves for as long as it takes.
pub(crate) fn held(queue: WqConfig, set: impl FnOnce(&mut Policy)) -> (Device, Accelerator) {
    let device = Device::new(Config::sapphire_rapids().queue(queue).manual()).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    // What is polled is with the device at once.
    policy.batch_limit = 1;
    policy.spin = Duration::ZERO;
    policy.self_wake = PATIENCE * 10;
    policy.dead_after = PATIENCE * 10;
    policy.lost_after = PATIENCE * 10;
    // A poll is cut by nothing but the budget.
    policy.cpu_slice_time = Duration::ZERO;
    set(&mut policy);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}

/// The futures leave the waiting to the poller at once.
pub(crate) fn parked(policy: &mut Policy) {
    policy.self_wake = Duration::ZERO;
}
