//! Every operation beyond copy, fill, compare and CRC-32C in trouble: page faults, refusals, errors and lost descriptors of
//! the device, a device that goes away, futures that are dropped, forgotten or moved.

mod support;

use std::sync::Arc;
use std::time::Duration;

use dsa::buf::StableBuf;
use dsa::stats::{Event, Path, Reason};
use dsa::{
    Accelerator, BlockList, ComputeType, Conversion, DataType, DifBlock, DifDestination, DifSource, Policy, Reduction,
};
use dsa_emulator::{Config, Device, DeviceState, Effect, FaultRule, WqConfig};
use idxd_sys::opcode;
use support::late::{held_with_all, launch, settled};
use support::later::{KINDS, all, one};
use support::tracked::{Ledger, Tracked};
use support::{Rng, assert_same, block_on, eventually, oracle, poll_once, quiet, seed, within};

const LEN: usize = 16 << 10;

fn accelerator(
    queue: WqConfig,
    faults: impl IntoIterator<Item = FaultRule>,
    set: impl FnOnce(&mut Policy),
) -> (Device, Accelerator) {
    let config = Config::diamond_rapids().queue(queue).engines(2).seed(seed());
    let device = Device::new(faults.into_iter().fold(config, Config::fault)).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 2;
    policy.cpu_slice = 4096;
    set(&mut policy);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}

fn both_queues() -> [WqConfig; 2] {
    [WqConfig::shared(32), WqConfig::dedicated(32)]
}

/// Runs each operation once; gives how many the device has done from beginning to end.
fn each(acc: &Accelerator, what: &str) -> u64 {
    let (ledger, mut rng) = (Ledger::new(), Rng::new(seed()));
    let before = acc.stats();
    block_on(what, async {
        for later in all(acc, &ledger, &mut rng, LEN) {
            within(later.name, later.future).await;
        }
    });
    quiet(acc);
    eventually("all buffers dropped", || ledger.alive() == 0);
    let done = acc.stats().since(&before);
    let [device, cpu] = [Path::Device, Path::Cpu].map(|path| done.total_operations(path));
    assert_eq!(device + cpu, KINDS as u64, "{what}\n{done}");
    device
}

#[test]
fn a_device_without_trouble_does_them_all() {
    for queue in both_queues() {
        let (device, acc) = accelerator(queue, [], |_| {});
        assert_eq!(each(&acc, "no trouble"), KINDS as u64);
        let counters = device.counters();
        let opcodes = [0x04, 0x06, 0x07, 0x08, 0x0a, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x17];
        for opcode in opcodes.into_iter().chain(0x18..=0x1e).chain([0x20]) {
            assert!(counters.executed(opcode) > 0, "opcode {opcode:#04x}");
        }
        assert_eq!(counters.failed, 1, "the check of a field that is wrong");
    }
}

/// The same answers from the CPU where the device faults on the first descriptor of every piece, half way.
#[test]
fn page_faults_are_resumed_or_left_to_the_cpu() {
    for max_resumes in [255, 0] {
        let fault = FaultRule::new(Effect::PageFault { resolvable: false }).every(2);
        let always = FaultRule::new(Effect::PageFault { resolvable: false });
        let rule = if max_resumes == 0 { always } else { fault };
        let (_device, acc) = accelerator(WqConfig::shared(32), [rule], |policy| policy.max_resumes = max_resumes);
        let by_device = each(&acc, "page faults");
        let stats = acc.stats();
        // Two end with what they find before the page that is missing, or may.
        assert!(if max_resumes == 0 { by_device <= 2 } else { by_device == KINDS as u64 }, "{stats}");
        assert!(
            stats.event(Event::PageFaults) > 10 && (stats.event(Event::Resumes) > 0) == (max_resumes > 0),
            "{stats}"
        );
        assert_eq!(stats.reason(Reason::PageFault), KINDS as u64 - by_device, "{stats}");
    }
}

/// In pieces, of which any may fault, and lists of a few entries.
#[test]
fn page_faults_in_pieces() {
    let queue = WqConfig::shared(32).max_transfer_size(4096).max_sgl_size(16);
    for masked in [false, true] {
        let mut config = Config::diamond_rapids().queue(queue.clone()).engines(2).seed(seed());
        config.mask_fault_address = masked;
        config.choices.partial_list_entries = masked;
        let fault = FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.3);
        let device = Device::new(config.fault(fault)).unwrap();
        let mut policy = Policy::default();
        (policy.min_device_size, policy.max_resumes) = (Some(0), 255);
        let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
        // A delta of 16 KiB and its application are too large for such a queue.
        assert_eq!(each(&acc, "pieces"), KINDS as u64 - 2, "{}", acc.stats());
    }
}

#[test]
fn refusals_are_asked_again() {
    let (_device, acc) = accelerator(WqConfig::shared(32), [FaultRule::new(Effect::Retry).every(2)], |_| {});
    assert_eq!(each(&acc, "refusals"), KINDS as u64);
    assert!(acc.stats().event(Event::Retries) >= KINDS as u64 - 1);
}

#[test]
fn errors_of_the_device_are_not_the_callers() {
    for code in [0x1a, 0x20, 0x3f] {
        let (_device, acc) = accelerator(WqConfig::shared(32), [FaultRule::new(Effect::HardwareError(code))], |_| {});
        assert_eq!(each(&acc, "hardware errors"), 0);
        assert_eq!(acc.stats().reason(Reason::DeviceError), KINDS as u64);
        assert_eq!(acc.recoveries(), 0);
    }
}

#[test]
fn lost_descriptors_are_recovered() {
    for queue in both_queues() {
        let hasty = |policy: &mut Policy| {
            policy.dead_after = Duration::from_millis(2);
            policy.lost_after = Duration::from_millis(30);
        };
        let (_device, acc) = accelerator(queue, [FaultRule::new(Effect::Lose).every(4)], hasty);
        let by_device = each(&acc, "lost");
        let stats = acc.stats();
        assert!(by_device > 0 && acc.recoveries() > 0 && stats.reason(Reason::DeviceLost) > 0, "{stats}");
    }
}

/// A queue that offers none of them: the CPU does each, and says why.
#[test]
fn a_queue_without_them() {
    let config = Config::sapphire_rapids();
    let none = [0x06, 0x12, 0x13, 0x14, 0x15, 0x20].into_iter().fold(WqConfig::shared(16), WqConfig::without);
    let device = Device::new(config.queue(none)).unwrap();
    let acc = Accelerator::builder().emulator(&device).min_device_size(0).build().unwrap();
    assert_eq!(each(&acc, "unsupported"), 0);
    assert_eq!(acc.stats().reason(Reason::Unsupported), KINDS as u64);
    assert_eq!(device.counters().total_executed(), 0);
    assert_eq!(each(&Accelerator::cpu(), "no device"), 0);
}

#[test]
fn a_device_that_goes_away_with_all_of_them_in_flight() {
    let blows: [fn(&Device); 5] = [
        |device| device.disable().unwrap(),
        |device| device.disable_wq(0).unwrap(),
        |device| device.abort_all().unwrap(),
        Device::halt,
        Device::reset,
    ];
    for queue in both_queues() {
        for strike in blows {
            let late = FaultRule::new(Effect::Delay(Duration::from_millis(20)));
            let hasty = |policy: &mut Policy| {
                policy.dead_after = Duration::from_millis(2);
                policy.lost_after = Duration::from_millis(100);
            };
            let (device, acc) = accelerator(queue.clone(), [late], hasty);
            let (ledger, mut rng) = (Ledger::new(), Rng::new(seed()));
            let mut operations = all(&acc, &ledger, &mut rng, LEN);
            for operation in &mut operations {
                assert!(poll_once(&mut operation.future).is_pending(), "{}", operation.name);
            }
            // Every other one is nobody's when it happens.
            let mut keep = false;
            operations.retain(|_| {
                keep = !keep;
                keep
            });
            let striker = {
                let device = device.clone();
                std::thread::spawn(move || strike(&device))
            };
            block_on("gone", async {
                for operation in operations {
                    within(operation.name, operation.future).await;
                }
            });
            striker.join().unwrap();
            quiet(&acc);
            eventually("all buffers dropped", || ledger.alive() == 0);
            assert_eq!((ledger.dropped(), acc.leaked()), (ledger.made(), 0));
            if device.state() == DeviceState::Halted {
                device.reset();
            }
            let _ = device.enable();
            let _ = device.enable_wq(0);
            eventually("the device is used again", || each(&acc, "again") > 0);
        }
    }
}

/// Operations whose destinations end up as sevens when the device is done with them, and not before.
fn sevens(acc: &Accelerator, ledger: &Arc<Ledger>) -> Vec<(&'static str, Box<dyn Future<Output = ()> + Unpin>)> {
    let src = || ledger.of(vec![7; LEN]);
    let dst = || ledger.buffer(LEN).ends_as(7);
    let blocks = || BlockList::indices((0..LEN as u32 / 64).rev().collect(), 64);
    let zeros = vec![0; LEN];
    let record = oracle::delta(&zeros, &[7; LEN]);
    let side =
        oracle::Side { reference: 1, application: 2, mask: 0, fixed_reference: false, counting_application: false };
    let guards = oracle::Guards { invert_seed: false, invert_result: false };
    let protected = oracle::protect(guards, &side, 512, &[7; LEN]);
    let expected = DifSource::new(1, 2);
    let smaller = Reduction::new(ComputeType::Min, DataType::Int32);
    let nines = || ledger.of(vec![9; LEN]);
    let rows = || BlockList::offsets(vec![0; 4], LEN);
    macro_rules! boxed {
        ($($name:literal: $operation:expr;)+) => {
            vec![$(($name, Box::new(Quiet($operation)) as Box<dyn Future<Output = ()> + Unpin>),)+]
        };
    }
    boxed! {
        "crc64": acc.crc64(src());
        "copy-crc64": acc.copy_crc64(src(), dst());
        "compare-pattern": acc.compare_pattern(src(), 7u8);
        "create-delta": acc.create_delta(src(), nines(), ledger.buffer(LEN / 8 * 10));
        "apply-delta": acc.apply_delta(ledger.of(record), dst());
        "dif-check": acc.dif_check(ledger.of(protected.clone()), DifBlock::Bytes512, expected);
        "dif-insert": acc.dif_insert(src(), ledger.buffer(LEN / 512 * 520), DifBlock::Bytes512, DifDestination::new(1, 2));
        "dif-strip": acc.dif_strip(ledger.of(protected), dst(), DifBlock::Bytes512, expected);
        "dix-generate": acc.dix_generate(src(), ledger.buffer(LEN / 512 * 8), DifBlock::Bytes512, DifDestination::new(1, 2));
        "cache-flush": acc.cache_flush(src(), ..);
        "translation-fetch": acc.translation_fetch(src());
        "gather-copy": acc.gather_copy(src(), blocks(), dst());
        "scatter-copy": acc.scatter_copy(src(), dst(), blocks());
        "scatter-fill": acc.scatter_fill(dst(), blocks(), 7u8);
        "type-convert": acc.type_convert(src(), dst(), Conversion::new(DataType::Int64, DataType::Int64));
        "reduce": acc.reduce(src(), nines(), dst(), smaller);
        "reduce-in-place": acc.reduce_in_place(nines().ends_as(7), src(), smaller);
        "gather-reduce": acc.gather_reduce(src(), rows(), dst(), smaller);
    }
}

/// A future without its output.
struct Quiet<F>(F);

impl<F: Future + Unpin> Future for Quiet<F> {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        std::pin::Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

#[test]
fn dropped_in_flight() {
    let (device, acc) = held_with_all();
    let ledger = Ledger::new();
    let operations = sevens(&acc, &ledger);
    let count = operations.len();
    for (name, mut operation) in operations {
        let before = ledger.dropped();
        launch(&mut operation);
        drop(operation);
        assert_eq!(ledger.dropped(), before, "{name}: freed while the device has it");
    }
    assert_eq!(acc.in_flight(), count);
    assert_eq!(device.run_until_idle(), count);
    settled(&acc, &ledger);
    assert_eq!(acc.stats().event(Event::OrphansReaped), count as u64);
}

#[test]
fn dropped_before_the_first_poll() {
    let (_device, acc) = held_with_all();
    let ledger = Ledger::new();
    drop(sevens(&acc, &ledger));
    drop(all(&acc, &ledger, &mut Rng::new(1), LEN));
    assert_eq!((ledger.alive(), acc.in_flight()), (0, 0));
    assert_eq!(acc.stats().event(Event::Submissions), 0);
}

#[test]
fn forgotten_in_flight() {
    let (device, acc) = held_with_all();
    let ledger = Ledger::new();
    let operations = sevens(&acc, &ledger);
    let count = operations.len();
    for (_, mut operation) in operations {
        launch(&mut operation);
        std::mem::forget(operation);
    }
    device.drain_all();
    assert_eq!((ledger.dropped(), acc.in_flight()), (0, count));
    // The rest goes on.
    assert!(each(&acc_with_room(), "beside") > 0);
}

fn acc_with_room() -> Accelerator {
    accelerator(WqConfig::shared(32), [], |_| {}).1
}

/// Moved to another thread between submission and completion, and completed there.
#[test]
fn moved_in_flight() {
    let (device, acc) = held_with_all();
    let (ledger, mut rng) = (Ledger::new(), Rng::new(seed()));
    let threads: Vec<_> = (0..KINDS)
        .map(|kind| {
            let mut later = one(kind, &acc, &ledger, &mut rng, LEN);
            assert!(poll_once(&mut later.future).is_pending(), "{}", later.name);
            std::thread::spawn(move || block_on(later.name, within(later.name, later.future)))
        })
        .collect();
    assert_eq!(device.run_until_idle(), KINDS);
    for thread in threads {
        thread.join().unwrap();
    }
    settled(&acc, &ledger);
}

/// What the CPU does of them takes many polls, and other tasks get their turns.
#[test]
fn the_cpu_works_in_slices() {
    const LARGE: usize = 256 << 10;
    let mut policy = Policy::default();
    policy.cpu_slice = 4096;
    let acc = Accelerator::builder().policy(policy).build().unwrap();
    let (ledger, mut rng) = (Ledger::new(), Rng::new(seed()));
    for mut later in all(&acc, &ledger, &mut rng, LARGE) {
        let mut polls = 1;
        while poll_once(&mut later.future).is_pending() {
            polls += 1;
        }
        let least = match later.opcode {
            // As far as the first difference, or the first block that is wrong.
            opcode::COMPVAL | opcode::DIF_CHECK => 1,
            // One entry for every hundred bytes.
            opcode::AP_DELTA => 20,
            // Eight blocks of 4 KiB.
            opcode::GATHER_REDUCE => 8,
            _ => LARGE / 4096,
        };
        assert!(polls >= least, "{}: {polls} polls", later.name);
    }
    // Blocks that are larger than a slice.
    let base = ledger.of(rng.bytes(LARGE));
    let expected = [&base.bytes()[LARGE / 2..], &base.bytes()[..LARGE / 2]].concat();
    let list = BlockList::indices(vec![1, 0], LARGE / 2);
    let mut gather = acc.gather_copy(base, list, ledger.buffer(LARGE));
    let mut polls = 0;
    let (_, _, dst): (Tracked, _, Tracked) = loop {
        polls += 1;
        if let std::task::Poll::Ready(done) = poll_once(&mut gather) {
            break done.unwrap();
        }
    };
    assert_same(dst.bytes(), &expected, "large blocks");
    assert!(polls >= LARGE / 4096, "{polls} polls");
    drop(dst);
}

/// A device says only about where a difference from a pattern is. However far that is from the truth, the CPU looks for it
/// in slices, and the device has done the operation.
#[test]
fn a_bound_that_is_far_away() {
    let (_device, acc) = accelerator(WqConfig::shared(16), [], |_| {});
    let mut data = vec![1; 1 << 20];
    *data.last_mut().unwrap() = 2;
    block_on("far", async {
        let (difference, data) = within("compare", acc.compare_pattern(data, 1u8).device_only()).await.unwrap();
        assert_eq!(difference, Some(data.len() - 1));
        let middle = data.slice(..1 << 19);
        let (difference, _) = within("compare", acc.compare_pattern(middle, 1u8).device_only()).await.unwrap();
        assert_eq!(difference, None);
    });
    let stats = acc.stats();
    assert_eq!((stats.total_operations(Path::Device), stats.total_operations(Path::Cpu)), (2, 0), "{stats}");
}

/// Numeric exceptions are those of all elements, however often the operation was cut or resumed.
#[test]
fn exceptions_of_parts_add_up() {
    let narrow = Conversion::new(DataType::Int32, DataType::Int8);
    let sum = Reduction::new(ComputeType::Add, DataType::Int8);
    for (limit, fault) in [(1 << 20, true), (4096, false), (4096, true)] {
        let queue = WqConfig::shared(16).max_transfer_size(limit);
        let (device, acc) = accelerator(queue, [], |policy| policy.max_resumes = 255);
        // Only the first element is exceptional.
        let mut elements = vec![0; LEN];
        elements[1] = 1;
        let mut bytes = vec![1; LEN];
        bytes[0] = 255;
        if fault {
            let address = elements.as_ptr().addr() as u64;
            device.inject(
                FaultRule::new(Effect::PageFault { resolvable: false }).at(address + 9000..address + 9001).limit(1),
            );
            let address = bytes.as_ptr().addr() as u64;
            device.inject(
                FaultRule::new(Effect::PageFault { resolvable: false }).at(address + 9000..address + 9001).limit(1),
            );
        }
        block_on("exceptions", async {
            let room = Vec::with_capacity(LEN / 4);
            let (found, _) = within("convert", acc.type_convert(elements, room, narrow)).await.unwrap();
            assert_eq!(found, dsa::NumericExceptions::OVERFLOW);
            let operation = acc.reduce(bytes, vec![1; LEN], vec![0; LEN], sum);
            let (found, (_, _, dst)) = within("reduce", operation).await.unwrap();
            assert_eq!((found, dst[0], dst[1]), (dsa::NumericExceptions::OVERFLOW, 0, 2));
        });
        let stats = acc.stats();
        assert_eq!((stats.total_operations(Path::Device), stats.total_operations(Path::Cpu)), (2, 0), "{stats}");
        assert_eq!(stats.event(Event::Resumes), if fault { 2 } else { 0 }, "{stats}");
    }
}
