//! Fences in a batch: between members that share memory, across lists, beside members that have nothing to do, around
//! members that the device has failed.

mod support;

use std::task::Poll;
use std::time::{Duration, Instant};

use dsa::stats::Path;
use dsa::{Accelerator, BatchValue, Error, Policy};
use dsa_emulator::{Access, Config, Device, Effect, FaultRule, MemberOrder, WqConfig};
use idxd_sys::opcode;
use support::region::{Memory, Region};
use support::{PATIENCE, Rng, assert_same, block_on, crc_oracle, poll_once, seed, within};

/// Long enough that the CPU does it in several turns.
const LEN: usize = 1 << 20;

fn accelerator(queue: WqConfig, fault: FaultRule) -> Accelerator {
    let device = Device::new(Config::sapphire_rapids().queue(queue).engines(2).fault(fault)).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.cpu_slice = 64 << 10;
    Accelerator::builder().policy(policy).emulator(&device).build().unwrap()
}

/// Random bytes, followed by as many zeros.
fn memory() -> (std::sync::Arc<Memory>, u32) {
    let mut bytes = Rng::new(seed()).bytes(LEN);
    let crc = crc_oracle(0, &bytes[LEN / 2..]);
    bytes.resize(2 * LEN, 0);
    (Memory::of(bytes), crc)
}

/// The first copy, started late: what comes after the fence must not be there first.
fn late_copy() -> FaultRule {
    FaultRule::new(Effect::Delay(Duration::from_millis(30))).opcode(opcode::MEMMOVE).limit(1)
}

/// The CRC of the second half of what the first member of the batch writes.
fn crc_after(acc: &Accelerator, between: impl FnOnce(&mut dsa::Batch<Region, Region>)) {
    let (memory, expected) = memory();
    let mut batch = acc.batch();
    batch.copy(memory.region(0, LEN), memory.region(LEN, LEN));
    between(&mut batch);
    batch.crc32c(memory.region(LEN + LEN / 2, LEN / 2));
    let items = slowly(batch.submit());
    assert_eq!(items.last().unwrap().result, Ok(BatchValue::Crc(expected)), "not what the first member has written");
}

/// Polls with pauses, so that a device that has been given something too early has the time to do it.
fn slowly<F: Future + Unpin>(mut future: F) -> F::Output {
    let begun = Instant::now();
    loop {
        if let Poll::Ready(output) = poll_once(&mut future) {
            return output;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What is filled before a fence is copied after it, twice, and then filled with something else.
#[test]
fn a_chain_of_members_that_share_memory() {
    const SIZE: usize = 8192;
    let base = || Config::sapphire_rapids().engines(4).seed(seed());
    let fault = FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.1);
    for config in [
        base().queue(WqConfig::shared(16)),
        base().queue(WqConfig::shared(16)).member_order(MemberOrder::Shuffled),
        base().queue(WqConfig::shared(16)).fault(fault),
        base().queue(WqConfig::shared(32).without(opcode::BATCH)),
    ] {
        let device = Device::new(config).unwrap();
        let acc = Accelerator::builder().min_device_size(0).emulator(&device).build().unwrap();
        for round in 0..200u8 {
            let memory = Memory::of(vec![0; 3 * SIZE]);
            let part = |index: usize| memory.region(index * SIZE, SIZE);
            let mut batch = acc.batch();
            batch.fill(part(0), SIZE, round).fence().copy(part(0), part(1)).fence();
            batch.copy(part(1), part(2)).fence().fill(part(0), SIZE, 0xffu8);
            let items = block_on("chain", within("chain", batch.submit()));
            assert!(items.iter().all(|item| item.result == Ok(BatchValue::Done)), "round {round}: {items:?}");
            let expected = [0xff, round, round].map(|byte| [byte; SIZE]).concat();
            assert_same(&memory.bytes(), &expected, &format!("round {round}"));
        }
    }
}

#[test]
fn a_fence_before_the_next_member() {
    for queue in [WqConfig::shared(16), WqConfig::shared(16).without(opcode::BATCH), WqConfig::dedicated(16)] {
        crc_after(&accelerator(queue, late_copy()), |batch| {
            batch.fence();
        });
    }
}

#[test]
fn a_fence_before_a_member_with_nothing_to_do() {
    let nothing = Memory::of(Vec::new());
    for queue in [WqConfig::shared(16), WqConfig::shared(16).without(opcode::BATCH)] {
        crc_after(&accelerator(queue, late_copy()), |batch| {
            batch.fence().crc32c(nothing.region(0, 0));
        });
    }
}

#[test]
fn a_fence_before_a_refused_member() {
    let small = Memory::of(vec![1; 30]);
    for queue in [WqConfig::shared(16), WqConfig::shared(16).without(opcode::BATCH)] {
        crc_after(&accelerator(queue, late_copy()), |batch| {
            batch.fence().copy(small.region(0, 20), small.region(20, 10));
        });
    }
}

/// The fence is inside the first list, the reader in the second; the writer fails on the device and is left to the CPU.
#[test]
fn a_fence_before_a_failed_member_was_repaired() {
    let small = Memory::of(vec![1; 64]);
    let fault = || FaultRule::new(Effect::PageFault { resolvable: false }).access(Access::Write).limit(1);
    for size in [2, 4] {
        let acc = accelerator(WqConfig::shared(16).max_batch_size(size), fault());
        crc_after(&acc, |batch| {
            batch.fence();
            for i in 1..size as usize {
                batch.crc32c(small.region(i, 1));
            }
        });
    }
}

/// A reader that goes to the CPU waits for a writer on the device.
#[test]
fn a_fence_before_a_member_for_the_cpu() {
    let queue = WqConfig::shared(16).without(opcode::CRCGEN);
    crc_after(&accelerator(queue, late_copy()), |batch| {
        batch.fence();
    });
}

/// A writer that goes to the CPU is waited for by a reader on the device.
#[test]
fn a_fence_after_a_member_for_the_cpu() {
    let queue = WqConfig::shared(16).without(opcode::MEMMOVE);
    crc_after(&accelerator(queue, late_copy()), |batch| {
        batch.fence();
    });
}

/// The whole list is lost, or the queue is aborted in the middle of it: the CPU keeps the order as well.
#[test]
fn fences_hold_when_the_device_is_lost() {
    for effect in [Effect::Lose, Effect::RecordFault, Effect::HardwareError(0x20)] {
        let device = Device::new(Config::sapphire_rapids().fault(FaultRule::new(effect).limit(1))).unwrap();
        let mut policy = Policy::default();
        policy.lost_after = Duration::from_millis(20);
        let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
        crc_after(&acc, |batch| {
            batch.fence();
        });
        assert_eq!((acc.in_flight(), acc.leaked()), (0, 0));
    }
    let refused = Error::LengthMismatch { left: 1, right: 2 };
    let mut batch = Accelerator::cpu().batch::<Vec<u8>, Vec<u8>>();
    batch.compare(vec![1], vec![1, 2]).fence().crc32c(b"123456789".to_vec());
    let items = block_on("batch", within("batch", batch.submit()));
    assert_eq!((&items[0].result, &items[1].result), (&Err(refused), &Ok(BatchValue::Crc(0xe306_9283))));
}

/// A device finds a difference from a pattern to within a word, and the CPU looks for the byte: before anything behind the
/// fence is started.
#[test]
fn a_fence_behind_a_comparison_that_the_cpu_refines() {
    const SIZE: usize = 8192;
    for queue in [WqConfig::shared(16), WqConfig::dedicated(16), WqConfig::shared(16).without(opcode::BATCH)] {
        let device = Device::new(Config::diamond_rapids().queue(queue)).unwrap();
        let acc = Accelerator::builder().min_device_size(0).emulator(&device).build().unwrap();
        let mut bytes = vec![3; SIZE];
        bytes[5001] = 4;
        let memory = Memory::of(bytes);
        let mut batch = acc.batch();
        batch.compare_pattern(memory.region(0, SIZE), 3u8).fence().fill(memory.region(0, SIZE), SIZE, 3u8);
        let items = block_on("refined", within("refined", batch.submit()));
        assert_eq!(items[0].result, Ok(BatchValue::Difference(Some(5001))));
        assert_eq!(items[1].result, Ok(BatchValue::Done));
        assert_same(&memory.bytes(), &[3; SIZE], "filled behind the fence");
        assert_eq!(acc.stats().total_operations(Path::Device), 2, "{}", acc.stats());
    }
}
