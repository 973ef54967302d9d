//! The runtime's cases: what a future costs above the copy itself.
//!
//! Nothing here waits or spins: the device executes when it is told to, or at once, on this very thread. What is counted is
//! polling by hand, so that no executor is in the numbers. From each number the same descriptor's submission and execution
//! by the model alone is taken off, so that only the runtime is left, with the copy that takes its place inline.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dsa::{Accelerator, BatchBuffers, Policy};
use dsa_emulator::{Client, Config, Device, Enqcmd, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

const SIZE: usize = 64;

/// Members of a batch.
const BATCH: u32 = 32;

/// When the model executes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// During the submission.
    AtOnce,
    /// When it is told to.
    Later,
}

fn device(when: When) -> Device {
    let config = Config::sapphire_rapids().queue(WqConfig::shared(64));
    Device::new(if when == When::AtOnce { config.immediate() } else { config.manual() }).expect("a preset is valid")
}

fn accelerator(device: &Device) -> Accelerator {
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    // No spin in the first poll: nobody would end it.
    policy.spin = Duration::ZERO;
    // Valgrind is slow, and is not to make a task out of patience.
    (policy.self_wake, policy.dead_after) = (Duration::from_secs(60), Duration::from_secs(60));
    Accelerator::builder().policy(policy).emulator(device).build().expect("a fresh device")
}

/// No-ops that are submitted, and nothing else.
pub(crate) fn submitted(rounds: u32) {
    dsa::internals::submit(&accelerator(&device(When::AtOnce)), rounds);
}

/// The same, 32 collected at a time.
pub(crate) fn submitted_together(rounds: u32) {
    dsa::internals::submit_together(&accelerator(&device(When::AtOnce)), rounds, BATCH);
}

/// What the model does of [`submitted`].
pub(crate) fn model_of_submitted(rounds: u32) {
    let device = device(When::AtOnce);
    let client: Client = device.open(0).expect("a fresh shared queue");
    let mut record = Box::new(CompletionRecord::default());
    let mut d = Descriptor { completion_addr: (&raw mut *record).expose_provenance() as u64, ..Descriptor::default() };
    d.set_opcode_flags(opcode::NOP, flag::CRAV | flag::RCR);
    for _ in 0..rounds {
        record.status = 0;
        // SAFETY: the descriptor names memory of this function, which nobody touches until the device has run.
        assert_eq!(unsafe { client.enqcmd(black_box(&d)) }, Enqcmd::Accepted);
        assert_eq!(black_box(&record).status, status::SUCCESS);
    }
}

/// What the model does of [`submitted_together`].
pub(crate) fn model_of_submitted_together(rounds: u32) {
    lists(rounds, &no_op());
}

fn no_op() -> Descriptor {
    let mut d = Descriptor::default();
    d.set_opcode_flags(opcode::NOP, flag::CRAV | flag::RCR);
    d
}

/// Batches of [`BATCH`] descriptors like this one, each with a record of its own, without the runtime.
fn lists(rounds: u32, member: &Descriptor) {
    let device = device(When::AtOnce);
    let client: Client = device.open(0).expect("a fresh shared queue");
    let mut records = vec![CompletionRecord::default(); BATCH as usize + 1];
    let place = |record: &mut CompletionRecord| (&raw mut *record).expose_provenance() as u64;
    let list: Vec<_> =
        records[1..].iter_mut().map(|record| Descriptor { completion_addr: place(record), ..*member }).collect();
    let mut d = Descriptor {
        completion_addr: place(&mut records[0]),
        src_addr: list.as_ptr().expose_provenance() as u64,
        xfer_size: BATCH,
        ..Descriptor::default()
    };
    d.set_opcode_flags(opcode::BATCH, flag::CRAV | flag::RCR);
    for _ in 0..rounds / BATCH {
        records[0].status = 0;
        // SAFETY: records and list are of this function, and what the member names is its caller's, until the device has run,
        // which is at once.
        assert_eq!(unsafe { client.enqcmd(black_box(&d)) }, Enqcmd::Accepted);
        assert_eq!(black_box(&records)[0].status, status::SUCCESS);
    }
}

/// Copies of 64 bytes, one after the other, as a task makes them.
async fn copies(accelerator: Accelerator, rounds: u32) {
    let (mut from, mut to) = (vec![7u8; SIZE], vec![0u8; SIZE]);
    for _ in 0..rounds {
        (from, to) = accelerator.copy(from, to).await.expect("a plain copy");
        black_box(&to);
    }
}

/// Copies of 64 bytes that are complete when the first poll looks.
pub(crate) fn complete_at_first_poll(rounds: u32) {
    let device = device(When::AtOnce);
    let task = pin!(copies(accelerator(&device), rounds));
    assert!(task.poll(&mut Context::from_waker(Waker::noop())).is_ready(), "executed at once");
}

/// Copies of 64 bytes for which the first poll is too early.
pub(crate) fn one_pending_poll(rounds: u32) {
    let device = device(When::Later);
    let mut task = pin!(copies(accelerator(&device), rounds));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..rounds {
        assert!(task.as_mut().poll(&mut cx).is_pending());
        assert!(device.run_one());
    }
    assert!(task.poll(&mut cx).is_ready());
}

/// Copies of 64 bytes, 32 of them polled in turn: a few go by themselves, and the others are collected. One round is one copy.
pub(crate) fn polled_together(rounds: u32) {
    let device = device(When::Later);
    let accelerator = accelerator(&device);
    let mut cx = Context::from_waker(Waker::noop());
    let mut buffers: Vec<_> = (0..BATCH).map(|_| (vec![7u8; SIZE], vec![0u8; SIZE])).collect();
    let mut copies = Vec::with_capacity(BATCH as usize);
    for _ in 0..rounds / BATCH {
        copies.extend(buffers.drain(..).map(|(from, to)| accelerator.copy(from, to)));
        for copy in &mut copies {
            assert!(pin!(copy).poll(&mut cx).is_pending());
        }
        // The second round of polls sends what is collected.
        assert!(pin!(copies.last_mut().expect("there are 32")).poll(&mut cx).is_pending());
        device.run_until_idle();
        for mut copy in copies.drain(..) {
            let Poll::Ready(buffer) = pin!(&mut copy).poll(&mut cx) else { unreachable!("all are done") };
            buffers.push(buffer.expect("a plain copy"));
        }
        black_box(&buffers);
    }
}

/// Copies of 64 bytes, 32 in a batch, that are complete when the first poll looks. One round is one member.
pub(crate) fn batches(rounds: u32) {
    let device = device(When::AtOnce);
    let accelerator = accelerator(&device);
    let task = pin!(async move {
        let mut buffers: Vec<_> = (0..BATCH).map(|_| (vec![7u8; SIZE], vec![0u8; SIZE])).collect();
        for _ in 0..rounds / BATCH {
            let mut batch = accelerator.batch();
            for (from, to) in buffers.drain(..) {
                batch.copy(from, to);
            }
            buffers.extend(batch.submit().await.into_iter().map(|item| match item.buffers {
                Some(BatchBuffers::Copy(from, to)) => (from, to),
                _ => unreachable!("a copy"),
            }));
            black_box(&buffers);
        }
    });
    assert!(task.poll(&mut Context::from_waker(Waker::noop())).is_ready(), "executed at once");
}

/// What the model does of [`batches`], without the runtime.
pub(crate) fn model_of_batches(rounds: u32) {
    let (from, mut to) = (vec![7u8; SIZE], vec![0u8; SIZE]);
    let mut member = Descriptor {
        src_addr: from.as_ptr().expose_provenance() as u64,
        dst_addr: to.as_mut_ptr().expose_provenance() as u64,
        xfer_size: SIZE as u32,
        ..Descriptor::default()
    };
    member.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
    lists(rounds, &member);
    black_box(&to);
}

/// What the model does of [`complete_at_first_poll`], without the runtime.
pub(crate) fn model_at_once(rounds: u32) {
    raw(rounds, &device(When::AtOnce));
}

/// What the model does of [`one_pending_poll`], without the runtime.
pub(crate) fn model_later(rounds: u32) {
    raw(rounds, &device(When::Later));
}

fn raw(rounds: u32, device: &Device) {
    let client: Client = device.open(0).expect("a fresh shared queue");
    let (from, mut to) = (vec![7u8; SIZE], vec![0u8; SIZE]);
    let mut record = Box::new(CompletionRecord::default());
    let mut d = Descriptor {
        completion_addr: (&raw mut *record).expose_provenance() as u64,
        src_addr: from.as_ptr().expose_provenance() as u64,
        dst_addr: to.as_mut_ptr().expose_provenance() as u64,
        xfer_size: SIZE as u32,
        ..Descriptor::default()
    };
    d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
    for _ in 0..rounds {
        record.status = 0;
        // SAFETY: the descriptor names memory of this function, which nobody touches until the device has run.
        assert_eq!(unsafe { client.enqcmd(black_box(&d)) }, Enqcmd::Accepted);
        if !device.config().immediate {
            assert!(device.run_one());
        }
        assert_eq!(black_box(&record).status, status::SUCCESS);
    }
    // The copies of both, where the caller copies by itself.
    black_box(&to);
}
