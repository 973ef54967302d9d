//! What the chooser of an accelerator is told: every beginning has its end, samples arrive, closed queues are known.

#![cfg(feature = "emulator")]

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};

use super::choice::{Calibration, Choice, Inputs, Quantity};
use crate::stats::{Event, Operation, Path, Reason};
use crate::{Accelerator, Policy};

const LEN: usize = 64 << 10;

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::yield_now();
    }
}

fn policy() -> Policy {
    Policy { lanes: 1, spin: Duration::ZERO, self_wake: Duration::from_secs(3600), ..Policy::default() }
}

/// A device that executes when it is told to, and an accelerator that believes it to be much faster than the CPU.
fn held(config: Config) -> (Device, Accelerator) {
    let device = Device::new(config.manual()).unwrap();
    let names = {
        let before = Accelerator::builder().policy(policy()).emulator(&device).build().unwrap();
        before.calibration()
    };
    let mut text = names.to_text();
    for operation in ["copy", "crc32c"] {
        for bytes in [64, LEN] {
            writeln!(text, "time {operation} latency {bytes} 1000").unwrap();
            writeln!(text, "time {operation} cpu {bytes} 4000000000000").unwrap();
        }
    }
    let calibration: Calibration = text.parse().unwrap();
    let accelerator = Accelerator::builder().policy(policy()).calibration(calibration);
    let accelerator = accelerator.emulator(&device).build().unwrap();
    (device, accelerator)
}

fn load(accelerator: &Accelerator, queue: u32) -> (u64, u64) {
    let load = accelerator.shared().asking.as_ref().unwrap().chooser().load(queue);
    (load.operations(), load.bytes())
}

fn samples(accelerator: &Accelerator, quantity: Quantity) -> u32 {
    let asking = accelerator.shared().asking.as_ref().unwrap();
    asking.chooser().estimates().samples(Operation::Copy, quantity, LEN as u64)
}

/// By the short way and the long one, completed, cancelled, resumed after a fault, in pieces, in a batch, as a drain.
#[test]
fn every_descriptor_counts_while_it_is_out() {
    let pages = FaultRule::new(Effect::PageFault { resolvable: true }).every(3);
    let config = Config::sapphire_rapids().queue(WqConfig::shared(64).max_transfer_size(LEN as u64));
    let (device, acc) = held(config.fault(pages));
    let copy = |len: usize| acc.copy(vec![7u8; len], vec![0u8; len]);
    for round in 0..40 {
        // Short, of several pieces, and with an option, which is not for the short way.
        let mut kept = [copy(LEN), copy(3 * LEN), copy(LEN).cache_control(true), copy(64).device_only()];
        let mut dropped = [copy(LEN), copy(3 * LEN)];
        let mut out = 0;
        for operation in kept.iter_mut().chain(&mut dropped) {
            assert!(poll_once(operation).is_pending(), "round {round}");
            out += 1;
            assert_eq!(load(&acc, 0).0, out);
        }
        let mut batch = acc.batch::<Vec<u8>, Vec<u8>>();
        batch.copy(vec![1; LEN], vec![0; LEN]).crc32c(vec![2; LEN]);
        let mut batch = batch.submit();
        assert!(poll_once(&mut batch).is_pending());
        assert!(load(&acc, 0).0 > out && load(&acc, 0).1 >= 5 * LEN as u64);
        let mut drain = acc.drain();
        assert!(poll_once(&mut drain).is_pending());
        drop(dropped);
        let (mut done, mut batched, mut drained) = ([false; 4], false, false);
        eventually("all are done", || {
            device.run_until_idle();
            for (operation, done) in kept.iter_mut().zip(&mut done) {
                *done = *done || matches!(poll_once(operation), Poll::Ready(Ok((source, target))) if source == target);
            }
            batched = batched || poll_once(&mut batch).is_ready();
            drained = drained || poll_once(&mut drain).is_ready();
            batched && drained && done.iter().all(|done| *done)
        });
        eventually("the dropped ones are reaped", || acc.in_flight() == 0);
        eventually("nothing counts any more", || load(&acc, 0) == (0, 0));
    }
    assert!(acc.stats().event(Event::Resumes) > 0 && acc.stats().event(Event::OrphansReaped) > 0);
}

#[test]
fn what_a_device_refuses_does_not_count() {
    let (device, acc) = held(Config::sapphire_rapids().queue(WqConfig::shared(1)));
    let mut first = acc.copy(vec![7u8; LEN], vec![0u8; LEN]).device_only();
    assert!(poll_once(&mut first).is_pending());
    let before = load(&acc, 0);
    assert_eq!(before, (1, LEN as u64));
    // The queue is full, and known to be late from then on.
    let mut second = acc.copy(vec![7u8; LEN], vec![0u8; LEN]).device_only();
    assert!(matches!(poll_once(&mut second), Poll::Ready(Err(_))));
    assert_eq!(load(&acc, 0), before);
    device.run_until_idle();
    assert!(poll_once(&mut first).is_ready());
    assert_eq!(load(&acc, 0), (0, 0));
}

/// The estimates of both sides follow what is seen of operations that were decided about, and of no others.
#[test]
fn completions_are_learned_from() {
    let (device, acc) = held(Config::sapphire_rapids().queue(WqConfig::shared(64)));
    let copy = || acc.copy(vec![7u8; LEN], vec![0u8; LEN]);
    let finish = |mut operation: crate::Copy<Vec<u8>, Vec<u8>>| {
        // By the CPU in slices.
        eventually("it is done", || {
            let polled = poll_once(&mut operation);
            device.run_until_idle();
            polled.is_ready()
        });
    };
    let given = samples(&acc, Quantity::Latency);
    for _ in 0..100 {
        finish(copy().device_only());
        finish(copy().cpu_only());
    }
    assert_eq!((samples(&acc, Quantity::Latency), samples(&acc, Quantity::Cpu)), (given, given));
    for _ in 0..100 {
        finish(copy());
    }
    assert!(samples(&acc, Quantity::Latency) > given);
    // It took longer than the nanosecond that was believed.
    let estimates = acc.shared().asking.as_ref().unwrap().chooser().estimates().clone();
    assert!(estimates.get(Operation::Copy, Quantity::Latency, LEN as u64) > 1000);
    // And what was learned is kept.
    let kept = acc.calibration();
    assert!(kept.times().iter().any(|time| time.bytes == LEN as u64 && time.quantity == Quantity::Latency));
    assert_eq!(kept.to_text().parse(), Ok(kept));
    // Now the CPU seems to cost nothing.
    let asking = acc.shared().asking.as_ref().unwrap();
    asking.chooser().estimates().set(Operation::Copy, Quantity::Cpu, LEN as u64, 1);
    let given = samples(&acc, Quantity::Cpu);
    for _ in 0..200 {
        finish(copy());
    }
    assert!(samples(&acc, Quantity::Cpu) > given);
    assert!(acc.stats().reason(Reason::Cheaper) > 0);
}

#[test]
fn a_queue_that_has_died_is_closed_until_it_is_back() {
    let (device, acc) = held(Config::sapphire_rapids().queue(WqConfig::shared(16)));
    let choice = || {
        let asking = acc.shared().asking.as_ref().unwrap();
        asking.chooser().choose(&Inputs::new(Operation::Copy, LEN as u64)).choice
    };
    assert_eq!(choice(), Choice::Device(0));
    device.disable_wq(0).unwrap();
    acc.shared().queues[0].request_recovery(acc.shared().queues[0].epoch());
    acc.shared().bell.ring();
    let is_open = || acc.work_queues().all(|queue| queue.is_open);
    eventually("it is known to be closed", || !is_open() && matches!(choice(), Choice::Cpu(_)));
    let mut copy = acc.copy(vec![7u8; LEN], vec![0u8; LEN]);
    // In slices.
    eventually("the CPU has done it", || poll_once(&mut copy).is_ready());
    assert_eq!((acc.stats().total_operations(Path::Cpu), acc.stats().reason(Reason::DeviceLost)), (1, 1));
    device.enable_wq(0).unwrap();
    eventually("it is known to be open again", || choice() == Choice::Device(0));
    let mut copy = acc.copy(vec![7u8; LEN], vec![0u8; LEN]);
    assert!(poll_once(&mut copy).is_pending());
    device.run_until_idle();
    assert!(poll_once(&mut copy).is_ready());
}

/// What a device has not answered during the measurement ends when it does, and does not count.
#[test]
fn a_measurement_that_was_given_up_leaves_nothing_behind() {
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(64)).manual()).unwrap();
    let budget = super::Calibrate::Within(Duration::from_millis(8));
    let acc = Accelerator::builder().policy(policy()).calibration(budget).emulator(&device).build().unwrap();
    assert!(acc.in_flight() > 0, "something is still out");
    assert!(acc.calibration().times().iter().all(|time| time.quantity == Quantity::Cpu));
    device.run_until_idle();
    eventually("it has come back", || acc.in_flight() == 0);
    assert_eq!(load(&acc, 0), (0, 0));
    assert_eq!(acc.leaked(), 0);
}
