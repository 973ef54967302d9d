//! Batches. On every sort of queue: one BATCH descriptor where the queue takes it, single ones where it does not, and the
//! CPU for the rest. And dropped, forgotten, moved, or on a device that goes away: lists, records and buffers live until
//! the last descriptor has ended.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dsa::buf::StableBufMut;
use dsa::stats::{Event, Operation, Path, Reason};
use dsa::{Accelerator, BatchBuffers, BatchValue, Batched, Error, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, MemberOrder, WqConfig};
use support::late::{LATE, LEN, all_dropped, launch, settled};
use support::tracked::{Ledger, Tracked};
use support::{assert_same, block_on, eventually, quiet, seed, within};

const MEMBERS: usize = 10;

/// Queues that take the members in one list, in lists of four, one by one.
fn queues() -> [WqConfig; 4] {
    let shared = WqConfig::shared(64);
    [
        shared.clone(),
        shared.clone().max_batch_size(4),
        shared.without(idxd_sys::opcode::BATCH),
        WqConfig::dedicated(64).max_batch_size(4),
    ]
}

fn late_on(queue: WqConfig) -> (Device, Accelerator) {
    let late = FaultRule::new(Effect::Delay(LATE)).opcode(idxd_sys::opcode::MEMMOVE);
    let device = Device::new(Config::sapphire_rapids().queue(queue).engines(4).fault(late)).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    policy.spin = Duration::ZERO;
    policy.self_wake = Duration::ZERO;
    policy.dead_after = Duration::from_millis(2);
    policy.lost_after = Duration::from_secs(1);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}

/// Two late copies, and others that are soon done.
fn batch(acc: &Accelerator, ledger: &Arc<Ledger>, destination: impl Fn() -> Tracked) -> Batched<Tracked, Tracked> {
    let mut batch = acc.batch();
    for i in 0..MEMBERS {
        if i % 5 == 2 {
            batch.copy(ledger.of(vec![7; LEN]), destination());
        } else {
            batch.fill(destination(), LEN, 7u8);
        }
    }
    batch.submit()
}

fn checked(acc: &Accelerator, ledger: &Arc<Ledger>) -> Batched<Tracked, Tracked> {
    batch(acc, ledger, || ledger.buffer(LEN).ends_as(7))
}

fn verify(items: Vec<dsa::BatchItem<Tracked, Tracked>>) {
    assert_eq!(items.len(), MEMBERS);
    for item in items {
        match item.buffers {
            Some(BatchBuffers::Copy(_, dst) | BatchBuffers::Fill(dst)) => {
                assert_same(dst.bytes(), &vec![7; LEN], "member");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn on(config: Config) -> Accelerator {
    let device = Device::new(config).unwrap();
    Accelerator::builder().emulator(&device).min_device_size(0).build().unwrap()
}

fn bytes(n: usize, seed: u8) -> Vec<u8> {
    (0..n).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// Every kind of member, twice, with a fence between; all results checked.
async fn mixed(acc: &Accelerator) {
    let mut batch = acc.batch::<Vec<u8>, Vec<u8>>();
    for round in 0..2u8 {
        if round == 1 {
            batch.fence();
        }
        let src = bytes(10_000, round);
        batch.copy(src.clone(), Vec::with_capacity(10_000));
        batch.fill(Vec::with_capacity(999), 999, [1, 2, 3, 4, 5, 6, 7, 8]);
        batch.crc32c(src.clone());
        batch.copy_crc32c(src.clone(), vec![0; 20_000]);
        let mut other = src.clone();
        other[9_999] ^= 0x80;
        batch.compare(src.clone(), other);
        batch.dualcast(src.clone(), vec![0; 10_000], vec![0; 10_000]);
        // Refused, and of no effect on the others.
        batch.copy(src, vec![]);
        batch.copy(vec![], vec![]);
    }
    assert_eq!(batch.len(), 16);
    let items = batch.submit().await;
    assert_eq!(items.len(), 16);
    for (index, item) in items.into_iter().enumerate() {
        let src = bytes(10_000, (index / 8) as u8);
        let crc = dsa::cpu::crc32c(0, &src);
        match (index % 8, item.result, item.buffers.unwrap()) {
            (0, Ok(BatchValue::Done), BatchBuffers::Copy(s, d)) => assert!(s == src && d == src),
            (1, Ok(BatchValue::Done), BatchBuffers::Fill(d)) => {
                assert!(d.len() == 999 && d.iter().enumerate().all(|(i, &b)| usize::from(b) == i % 8 + 1));
            }
            (2, Ok(BatchValue::Crc(found)), BatchBuffers::Crc(_)) => assert_eq!(found, crc),
            (3, Ok(BatchValue::Crc(found)), BatchBuffers::CopyCrc(_, d)) => {
                assert_eq!(found, crc);
                assert!(d.len() == 20_000 && d[..10_000] == src && d[10_000..].iter().all(|&b| b == 0));
            }
            (4, Ok(BatchValue::Difference(Some(9_999))), BatchBuffers::Compare(..))
            | (7, Ok(BatchValue::Done), BatchBuffers::Copy(..)) => {}
            (5, Ok(BatchValue::Done), BatchBuffers::Dualcast(_, d, e)) => assert!(d == src && e == src),
            (6, Err(Error::CapacityTooSmall { needed: 10_000, capacity: 0 }), BatchBuffers::Copy(s, _)) => {
                assert_eq!(s, src);
            }
            other => panic!("member {index}: {other:?}"),
        }
    }
    assert_eq!(acc.in_flight(), 0);
}

#[tokio::test]
async fn a_queue_with_batch_does_it_in_few_submissions() {
    let acc = on(Config::sapphire_rapids().queue(WqConfig::shared(16)));
    let mut batch = acc.batch::<Vec<u8>, Vec<u8>>();
    for i in 0..100 {
        batch.copy(bytes(1000 + i, i as u8), Vec::with_capacity(2000));
    }
    for (i, item) in batch.submit().await.into_iter().enumerate() {
        assert_eq!(item.result, Ok(BatchValue::Done));
        let Some(BatchBuffers::Copy(src, dst)) = item.buffers else { panic!() };
        assert!(src == dst && src == bytes(1000 + i, i as u8));
    }
    let stats = acc.stats();
    assert_eq!(stats.event(Event::Submissions), 1);
    assert_eq!(stats.operations(Path::Device, Operation::Copy), 100);
    assert_eq!(stats.event(Event::Batches), 1);
    assert_eq!(stats.total_operations(Path::Cpu), 0);
}

#[tokio::test]
async fn every_kind_on_every_sort_of_queue() {
    let base = Config::sapphire_rapids;
    for config in [
        base().queue(WqConfig::shared(16)),
        base().queue(WqConfig::dedicated(16)).engines(2),
        base().queue(WqConfig::shared(4).without(idxd_sys::opcode::BATCH)),
        base().queue(WqConfig::shared(16).max_batch_size(4)),
        base().queue(WqConfig::shared(16)).member_order(MemberOrder::Shuffled),
        Config::granite_rapids().queue(WqConfig::shared(16)),
    ] {
        mixed(&on(config)).await;
    }
    mixed(&Accelerator::cpu()).await;
}

#[tokio::test]
async fn faults_before_a_fence_leave_the_rest_to_the_cpu() {
    let fault = FaultRule::new(Effect::PageFault { resolvable: false }).every(3);
    let acc = on(Config::sapphire_rapids().queue(WqConfig::shared(16)).fault(fault));
    for _ in 0..10 {
        mixed(&acc).await;
        let mut batch = acc.batch::<Vec<u8>, Vec<u8>>();
        for i in 0..10 {
            if i % 4 == 3 {
                batch.fence();
            }
            batch.copy(bytes(5000, i), Vec::with_capacity(5000));
        }
        for (i, item) in batch.submit().await.into_iter().enumerate() {
            let Some(BatchBuffers::Copy(src, dst)) = item.buffers else { panic!() };
            assert!(src == dst && src == bytes(5000, i as u8));
        }
    }
    let stats = acc.stats();
    assert!(stats.reason(Reason::PageFault) > 0, "{stats}");
    assert!(stats.reason(Reason::Abandoned) > 0, "{stats}");
}

#[tokio::test]
async fn an_empty_batch_is_done() {
    let acc = on(Config::sapphire_rapids());
    assert!(acc.batch::<Vec<u8>, Vec<u8>>().submit().await.is_empty());
}

#[test]
fn dropped_before_the_first_poll() {
    let (_device, acc) = late_on(WqConfig::shared(64));
    let ledger = Ledger::new();
    drop(batch(&acc, &ledger, || ledger.buffer(LEN)));
    assert_eq!((ledger.alive(), acc.in_flight()), (0, 0));
    let mut unsent = acc.batch::<Tracked, Tracked>();
    unsent.copy(ledger.buffer(1), ledger.buffer(1));
    drop(unsent);
    assert_eq!((ledger.alive(), acc.stats().event(Event::Submissions)), (0, 0));
}

#[test]
fn dropped_in_flight() {
    for queue in queues() {
        let (_device, acc) = late_on(queue);
        let ledger = Ledger::new();
        let mut operation = checked(&acc, &ledger);
        launch(&mut operation);
        let begun = Instant::now();
        drop(operation);
        assert!(begun.elapsed() < LATE, "dropping blocks");
        settled(&acc, &ledger);
        assert!(acc.stats().event(Event::OrphansReaped) >= 1);
    }
}

#[test]
fn dropped_when_complete_but_not_polled() {
    for queue in queues() {
        let (device, acc) = late_on(queue);
        let ledger = Ledger::new();
        let mut operation = checked(&acc, &ledger);
        launch(&mut operation);
        device.drain_all();
        drop(operation);
        assert_eq!((ledger.alive(), ledger.early(), acc.in_flight()), (0, 0, 0));
    }
}

/// Some lists have ended and have been seen to, others are still out.
#[test]
fn dropped_half_done() {
    for queue in queues() {
        let (_device, acc) = late_on(queue);
        let ledger = Ledger::new();
        let mut operation = checked(&acc, &ledger);
        launch(&mut operation);
        std::thread::sleep(LATE / 3);
        launch(&mut operation);
        drop(operation);
        settled(&acc, &ledger);
    }
}

#[test]
fn forgotten() {
    let (device, acc) = late_on(WqConfig::shared(64));
    let ledger = Ledger::new();
    let mut dst = ledger.buffer(LEN);
    let memory = dst.as_mut_ptr();
    let mut batch = acc.batch();
    batch.copy(ledger.of(vec![7; LEN]), dst).crc32c(ledger.buffer(5));
    let mut operation = batch.submit();
    launch(&mut operation);
    std::mem::forget(operation);
    device.drain_all();
    // SAFETY: leaked with the future, and the device is done.
    assert_same(unsafe { std::slice::from_raw_parts(memory, LEN) }, &vec![7; LEN], "forgotten");
    assert_eq!((ledger.dropped(), acc.in_flight()), (0, 1));
}

#[test]
fn moved_while_in_flight() {
    for queue in queues() {
        let (_device, acc) = late_on(queue);
        let ledger = Ledger::new();
        let mut all = Vec::new();
        for _ in 0..3 {
            let mut operation = checked(&acc, &ledger);
            launch(&mut operation);
            all.push(Box::new(operation));
        }
        all.reverse();
        for operation in all {
            let moved = *operation;
            block_on("moved", async { verify(within("moved", moved).await) });
        }
        settled(&acc, &ledger);
        let stats = acc.stats();
        assert_eq!(stats.total_operations(Path::Device), 3 * MEMBERS as u64, "{stats}");
    }
}

#[test]
fn the_accelerator_goes_with_batches_in_flight() {
    for queue in queues() {
        let (_device, acc) = late_on(queue);
        let ledger = Ledger::new();
        launch(&mut checked(&acc, &ledger));
        let mut kept = checked(&acc, &ledger);
        launch(&mut kept);
        drop(acc);
        block_on("kept", async { verify(within("kept", kept).await) });
        all_dropped(&ledger);
    }
}

#[test]
fn a_runtime_shuts_down_with_batches_in_flight() {
    for queue in queues() {
        let (_device, acc) = late_on(queue);
        let ledger = Ledger::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        for _ in 0..3 {
            let mut operation = checked(&acc, &ledger);
            launch(&mut operation);
            runtime.spawn(operation);
        }
        drop(runtime);
        settled(&acc, &ledger);
    }
}

/// Halted, aborted, reset, disabled with lists in flight: the members end with the right bytes, by the CPU if need be.
#[test]
fn the_device_goes_with_batches_in_flight() {
    let fates: [fn(&Device); 5] = [
        |device| device.halt(),
        |device| device.reset(),
        |device| device.abort_all().unwrap(),
        |device| device.disable().unwrap(),
        |device| device.disable_wq(0).unwrap(),
    ];
    for queue in queues() {
        for (index, fate) in fates.iter().enumerate() {
            let what = format!("fate {index}, {:?}, lists of {}", queue.mode, queue.max_batch_size);
            let (device, acc) = late_on(queue.clone());
            let ledger = Ledger::new();
            // Not all of what is dropped will be written.
            let mut dropped = batch(&acc, &ledger, || ledger.buffer(LEN));
            let mut kept = checked(&acc, &ledger);
            launch(&mut dropped);
            launch(&mut kept);
            drop(dropped);
            let begun = Instant::now();
            fate(&device);
            block_on(&what, async { verify(within(&what, kept).await) });
            quiet(&acc);
            assert!(begun.elapsed() < Duration::from_secs(10), "{what}: took {:?}", begun.elapsed());
            eventually("all buffers dropped", || ledger.alive() == 0);
            assert_eq!((ledger.dropped(), ledger.early(), acc.leaked()), (ledger.made(), 0, 0), "{what}");
        }
    }
}

/// Every descriptor of a list, and the list itself, lost or failed in turn.
#[test]
fn one_descriptor_of_a_batch_fails() {
    let effects =
        [Effect::Lose, Effect::RecordFault, Effect::HardwareError(0x21), Effect::PageFault { resolvable: false }];
    for queue in queues() {
        for effect in effects {
            for nth in 1..=MEMBERS as u64 + 1 {
                let what = format!("{effect:?} at {nth}, {:?}, lists of {}", queue.mode, queue.max_batch_size);
                let rule = FaultRule::new(effect).nth(nth);
                let config = Config::sapphire_rapids().queue(queue.clone()).seed(seed()).fault(rule);
                let device = Device::new(config).unwrap();
                let mut policy = Policy::default();
                policy.min_device_size = Some(0);
                policy.dead_after = Duration::from_millis(2);
                policy.lost_after = Duration::from_millis(20);
                let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
                let ledger = Ledger::new();
                block_on(&what, async { verify(within(&what, checked(&acc, &ledger)).await) });
                settled(&acc, &ledger);
            }
        }
    }
}

#[test]
fn cancelled_at_random_moments() {
    for queue in queues() {
        let (_device, acc) = late_on(queue);
        let ledger = Ledger::new();
        let mut rng = support::Rng::new(seed());
        block_on("cancelled", async {
            for _ in 0..30 {
                let operation = batch(&acc, &ledger, || ledger.buffer(LEN));
                let _ = tokio::time::timeout(Duration::from_micros(rng.below(3000) as u64), operation).await;
            }
        });
        settled(&acc, &ledger);
    }
}
