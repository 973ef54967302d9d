//! No heap allocation per operation: on the way to the device and back, on any thread of the process, in any of the
//! ways of waiting. One for an operation that is cancelled in flight, for the buffers to live in. (A drain, and the check of
//! a scatter list that is not in ascending order, take one each, and are not here.)
//!
//! The counts are those of the whole process, so there is one test only, and nothing runs beside it.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use dsa::buf::{Pool, PoolBuf, StableBuf};
use dsa::bulk::InFlightExt;
use dsa::stats::{Event, Path};
use dsa::{
    Accelerator, BlockList, ComputeType, Conversion, DataType, DeltaResult, DifBlock, DifDestination, DifSource,
    Policy, Reduction,
};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use futures_util::StreamExt;
use support::held::{held, parked};
use support::{Watchdog, poll_once, quiet};

/// Counts what every thread takes from the heap.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all calls are passed on as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: forwarded.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: forwarded.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: forwarded.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: forwarded.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// Allocations of the whole process while `f` runs.
fn allocations(f: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    f();
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor there is: `waker` unparks this thread.
fn run<F: Future>(waker: &Waker, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

const LEN: usize = 10_000;

/// Everything an operation needs, so that it can be used again and again.
struct Buffers {
    a: Vec<u8>,
    b: Vec<u8>,
    pool: Pool,
}

/// Six operations.
fn round(acc: &Accelerator, waker: &Waker, buffers: &mut Buffers) {
    let (a, b) = (std::mem::take(&mut buffers.a), std::mem::take(&mut buffers.b));
    let (a, b) = run(waker, acc.copy(a, b)).unwrap();
    let (difference, (a, b)) = run(waker, acc.compare(a, b)).unwrap();
    let (crc, a) = run(waker, acc.crc32c(a)).unwrap();
    let b = run(waker, acc.fill(b, LEN, 3u8)).unwrap();
    let (also, (a, b)) = run(waker, acc.copy_crc32c(a, b)).unwrap();
    let (first, second) = (buffers.pool.try_get().unwrap(), buffers.pool.try_get().unwrap());
    let (a, first, second): (_, PoolBuf, PoolBuf) = run(waker, acc.dualcast(a, first, second)).unwrap();
    assert!(difference.is_none() && crc == also && first[..] == a[..] && second[..] == b[..]);
    (buffers.a, buffers.b) = (a, b);
}

/// What the operations of the later generations need.
struct LaterBuffers {
    a: Vec<u8>,
    b: Vec<u8>,
    protected: Vec<u8>,
    record: Vec<u8>,
    small: Vec<u8>,
    list: Option<BlockList>,
}

impl LaterBuffers {
    fn new() -> Self {
        Self {
            a: (0..LATER_LEN).map(|i| (i / 3) as u8).collect(),
            b: vec![0; LATER_LEN],
            protected: vec![0; LATER_LEN / 512 * 520],
            record: Vec::with_capacity(LATER_LEN / 8 * 10),
            small: vec![0; LATER_LEN / 4],
            // In ascending order: to check another one takes memory.
            list: Some(BlockList::indices((0..4).map(|number| number * 4 + number % 2).collect(), LATER_LEN / 16)),
        }
    }
}

const LATER_LEN: usize = 8192;
const LATER: u64 = 18;

/// As many operations. Not a gather-reduce: the model's engine takes memory for it.
fn later_round(acc: &Accelerator, waker: &Waker, buffers: &mut LaterBuffers) {
    let take = std::mem::take;
    let (a, b) = (take(&mut buffers.a), take(&mut buffers.b));
    let (protected, record, small) =
        (take(&mut buffers.protected), take(&mut buffers.record), take(&mut buffers.small));
    let list = buffers.list.take().unwrap();
    let (block, made, expected) = (DifBlock::Bytes512, DifDestination::new(1, 2), DifSource::new(1, 2));
    let b = run(waker, acc.fill_wide(b, LATER_LEN, *b"0123456789abcdef")).unwrap();
    let (difference, b) = run(waker, acc.compare_pattern(b, *b"01234567")).unwrap();
    assert_eq!(difference, Some(8));
    let (result, (a, b, record)) = run(waker, acc.create_delta(a, b, record)).unwrap();
    let DeltaResult::Record { size } = result else { panic!("{result:?}") };
    let (_, (a, b)) = run(waker, acc.copy_crc64(a, b)).unwrap();
    let (record, b) = run(waker, acc.apply_delta(record.slice(..size), b)).unwrap();
    let mut record = record.into_inner();
    record.clear();
    let (crc, b) = run(waker, acc.crc64(b)).unwrap();
    assert_ne!(crc, 0);
    let (_, (a, protected)) = run(waker, acc.dif_insert(a, protected, block, made)).unwrap();
    let (checked, protected) = run(waker, acc.dif_check(protected, block, expected)).unwrap();
    let (stripped, (protected, b)) = run(waker, acc.dif_strip(protected, b, block, expected)).unwrap();
    assert!(checked.is_ok() && stripped == checked && a == b);
    let (_, (a, small)) = run(waker, acc.dix_generate(a, small, block, made)).unwrap();
    let a = run(waker, acc.cache_flush(a, ..)).unwrap();
    let a = run(waker, acc.translation_fetch(a)).unwrap();
    let (a, list, small) = run(waker, acc.gather_copy(a, list, small)).unwrap();
    let (small, b, list) = run(waker, acc.scatter_copy(small.slice(..LATER_LEN / 4), b, list)).unwrap();
    let small = small.into_inner();
    assert_eq!(a, b);
    let (b, list) = run(waker, acc.scatter_fill(b, list, 3u8)).unwrap();
    let (_, (a, b)) = run(waker, acc.type_convert(a, b, Conversion::new(DataType::Int8, DataType::Int8))).unwrap();
    let least = Reduction::new(ComputeType::Min, DataType::Int8);
    let (_, (b, a)) = run(waker, acc.reduce_in_place(b, a, least)).unwrap();
    let (_, (a, protected, b)) = run(waker, acc.reduce(a, protected.slice(..LATER_LEN), b, least)).unwrap();
    let protected = protected.into_inner();
    (buffers.a, buffers.b, buffers.protected) = (a, b, protected);
    (buffers.record, buffers.small, buffers.list) = (record, small, Some(list));
}

fn accelerator(queue: WqConfig, set: impl FnOnce(&mut Policy)) -> Accelerator {
    accelerator_on(Config::sapphire_rapids(), queue, set)
}

fn accelerator_on(preset: Config, queue: WqConfig, set: impl FnOnce(&mut Policy)) -> Accelerator {
    let device = Device::new(preset.queue(queue)).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    policy.lost_after = support::PATIENCE;
    set(&mut policy);
    Accelerator::builder().policy(policy).emulator(&device).build().unwrap()
}

const WARM_UP: u64 = 10;
const ATTEMPTS: u64 = 3;

/// Where the thread gives its core away while it waits, and where it does not: on a busy machine the device may then have
/// to wait for its turn.
const MANY: u64 = 150;
const FEW: u64 = 15;

/// Runs rounds and counts; gives how often the poller had to wake the future.
fn steady_state(name: &str, rounds: u64, acc: &Accelerator) -> u64 {
    let pool = Pool::builder().buffers(2).size(LEN).build().unwrap();
    let mut buffers = Buffers { a: (0..LEN).map(|i| i as u8).collect(), b: vec![0; LEN], pool };
    steady(name, rounds, acc, 6, |waker| round(acc, waker, &mut buffers))
}

/// The same for rounds of anything, of so many operations.
fn steady(name: &str, rounds: u64, acc: &Accelerator, operations: u64, mut round: impl FnMut(&Waker)) -> u64 {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    for _ in 0..WARM_UP {
        round(&waker);
    }
    // A thread of the device or of the accelerator that gets its first turn only now allocates once. What an operation
    // allocates shows in every attempt.
    let attempt = |_| {
        allocations(|| {
            for _ in 0..rounds {
                round(&waker);
            }
        })
    };
    let counts: Vec<_> = (0..ATTEMPTS).map(attempt).collect();
    let stats = acc.stats();
    assert_eq!(stats.total_operations(Path::Cpu), 0, "{name}: not by the device\n{stats}");
    assert_eq!(stats.total_operations(Path::Device), operations * (WARM_UP + ATTEMPTS * rounds));
    println!("{name}: {counts:?} allocations in {} operations each", operations * rounds);
    assert!(counts.contains(&0), "{name}: {counts:?} allocations in {} operations each", operations * rounds);
    stats.event(Event::PollerWakes)
}

fn blocking_calls(acc: &Accelerator) {
    let (src, mut dst) = (vec![1u8; LEN], vec![0u8; LEN]);
    let mut calls = || {
        let blocking = acc.blocking();
        assert_eq!(blocking.memcpy(&mut dst, &src), Ok(Path::Device));
        assert_eq!(blocking.memcmp(&dst, &src), std::cmp::Ordering::Equal);
        assert_eq!(blocking.memset(&mut dst, 0u8), Path::Device);
        assert_eq!(Ok(blocking.crc32c(&src)), blocking.copy_crc32c(&mut dst, &src));
        blocking.memmove(&mut dst, 0..4096, 5000).unwrap();
    };
    calls();
    assert_eq!(allocations(|| (0..200).for_each(|_| calls())), 0, "blocking calls");
}

/// At most one allocation for each cancelled operation. The device is held, so that every one is in flight when it is
/// dropped.
fn cancellation() {
    let (device, acc) = held(WqConfig::shared(16), parked);
    let cancel = |count: usize| {
        let buffers: Vec<_> = (0..count).map(|_| (vec![1u8; LEN], vec![0u8; LEN])).collect();
        let before = acc.stats().event(Event::Cancelled);
        let allocated = allocations(|| {
            for (number, (src, dst)) in buffers.into_iter().enumerate() {
                let mut operation = acc.copy(src, dst);
                assert!(poll_once(&mut operation).is_pending());
                drop(operation);
                // Several at a time, of the 16 that the queue has room for.
                if number % 10 == 9 {
                    device.run_until_idle();
                }
            }
            quiet(&acc);
        });
        (allocated, acc.stats().event(Event::Cancelled) - before)
    };
    cancel(50);
    let (allocated, cancelled) = cancel(200);
    assert_eq!(cancelled, 200);
    assert!(allocated <= cancelled, "{allocated} allocations for {cancelled} cancelled operations");
}

/// Many copies take memory for all of them together, a few times, and not once more for each; a stream of them none at all
/// once it has been used.
fn many(acc: &Accelerator) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut pairs: Vec<_> = (0..400usize).map(|number| (vec![number as u8; LEN], vec![0u8; LEN])).collect();
    let mut copy = |count: usize| {
        let mut results = Vec::new();
        let allocated = allocations(|| {
            results = run(&waker, acc.copy_many(pairs.drain(..count)).concurrency(14));
        });
        pairs.extend(results.into_iter().map(Result::unwrap));
        allocated
    };
    copy(40);
    let (few, more) = ((0..ATTEMPTS).map(|_| copy(40)).min(), (0..ATTEMPTS).map(|_| copy(400)).min());
    println!("copies of 40 and of 400 pairs: {few:?} and {more:?} allocations");
    assert!(few <= Some(5), "{few:?} allocations for 40 copies");
    assert_eq!(few, more, "allocations for 40 and for 400 copies");

    let buffers = std::cell::RefCell::new(pairs);
    let copies = futures_util::stream::poll_fn(|_| Poll::Ready(buffers.borrow_mut().pop()));
    let mut copies = pin!(copies.map(|(src, dst)| acc.copy(src, dst)).in_flight(14));
    let mut take = |count: usize| {
        for _ in 0..count {
            let pair = run(&waker, copies.next()).expect("there are more").unwrap();
            buffers.borrow_mut().insert(0, pair);
        }
    };
    take(40);
    let counts: Vec<_> = (0..ATTEMPTS).map(|_| allocations(|| take(400))).collect();
    println!("a stream of copies: {counts:?} allocations in 400 operations each");
    assert!(counts.contains(&0), "{counts:?} allocations in 400 operations each");
}

fn pool() {
    let pool = Pool::builder().buffers(4).size(5000).build().unwrap();
    let count = allocations(|| {
        for round in 0..1000u16 {
            let (mut a, b) = (pool.try_get().unwrap(), pool.try_get().unwrap());
            a.extend_from_slice(&[round as u8; 100]);
            drop((b, a));
        }
    });
    assert_eq!(count, 0, "taking and returning pool buffers");
}

#[test]
fn the_steady_state_does_not_allocate() {
    let _watchdog = Watchdog::start_for("allocations", support::PATIENCE * 15);
    let usual = accelerator(WqConfig::shared(16), |_| {});
    steady_state("shared queue", MANY, &usual);
    blocking_calls(&usual);
    steady_state("dedicated queue", MANY, &accelerator(WqConfig::dedicated(16), |_| {}));
    // A device that takes its time: else it may be done, each time, before the future has looked.
    let slow = FaultRule::new(Effect::Delay(Duration::from_micros(100)));
    let spinning = accelerator_on(Config::sapphire_rapids().fault(slow.clone()), WqConfig::shared(16), |policy| {
        policy.spin = Duration::from_secs(1);
        // The spin is cut at this.
        policy.dead_after = Duration::from_secs(1);
    });
    steady_state("spinning", FEW, &spinning);
    assert!(spinning.stats().event(Event::InlineCompletions) > 0);
    let self_waking = accelerator(WqConfig::shared(16), |policy| {
        policy.spin = Duration::ZERO;
        policy.self_wake = Duration::from_secs(10);
        // Waking themselves is cut at this.
        policy.dead_after = Duration::from_secs(10);
    });
    assert_eq!(steady_state("waking themselves", FEW, &self_waking), 0);
    let parking = accelerator_on(Config::sapphire_rapids().fault(slow), WqConfig::shared(16), |policy| {
        policy.spin = Duration::ZERO;
        parked(policy);
    });
    let wakes = steady_state("woken by the poller", MANY, &parking);
    assert!(wakes > MANY / 2, "the poller woke only {wakes} times");
    let pieces = accelerator(WqConfig::shared(16).max_transfer_size(4096), |_| {});
    steady_state("in pieces", MANY, &pieces);
    for queue in [WqConfig::shared(16), WqConfig::dedicated(16).max_sgl_size(2)] {
        let later = accelerator_on(Config::diamond_rapids(), queue, |_| {});
        let mut buffers = LaterBuffers::new();
        steady("later operations", MANY / 3, &later, LATER, |waker| later_round(&later, waker, &mut buffers));
    }
    many(&usual);
    many(&parking);
    cancellation();
    pool();
}
