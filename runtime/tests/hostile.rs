//! Wakers and destructors of the user's that panic, linger, or hold the last handle. They run on the accelerator's
//! thread as well as on the user's own; nobody else may suffer from them.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use dsa::Accelerator;
use dsa::buf::StableBuf;
use dsa::stats::Event;
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use support::late::{Counter, LATE, LEN, all_dropped, copy, late, launch, poll_with, settled};
use support::tracked::{Ledger, Tracked};
use support::{Watchdog, assert_same, block_on, eventually, poll_once, quiet, within};

/// Panics of the tests' own making are not worth a message.
fn deliberate() -> ! {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<Deliberate>().is_none() {
                usual(info);
            }
        }));
    });
    std::panic::panic_any(Deliberate)
}

struct Deliberate;

/// A buffer whose destructor does what it is told.
struct Special {
    buffer: Tracked,
    on_drop: Option<Box<dyn FnOnce() + Send>>,
}

impl Drop for Special {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

// SAFETY: all of it is the inner buffer's promise.
unsafe impl StableBuf for Special {
    fn as_ptr(&self) -> *const u8 {
        self.buffer.as_ptr()
    }

    fn len(&self) -> usize {
        StableBuf::len(&self.buffer)
    }
}

/// Panics when woken.
struct PanicsWhenWoken;

impl Wake for PanicsWhenWoken {
    fn wake(self: Arc<Self>) {
        deliberate();
    }
}

/// Panics when its last handle is dropped, and counts that.
struct PanicsWhenDropped(Arc<AtomicUsize>);

impl Wake for PanicsWhenDropped {
    fn wake(self: Arc<Self>) {
        // The handle that the poller used: not a drop that should panic.
        std::mem::forget(self);
    }
}

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        if !std::thread::panicking() {
            deliberate();
        }
    }
}

/// A waker that panics when dropped. After the poll that registers it the slot has the only handle.
fn explosive(explosions: &Arc<AtomicUsize>) -> Waker {
    Waker::from(Arc::new(PanicsWhenDropped(Arc::clone(explosions))))
}

/// An operation that only the poller can wake still completes: the poller is alive and every slot is usable.
#[track_caller]
fn poller_works(acc: &Accelerator) {
    quiet(acc);
    let ledger = Ledger::new();
    for _ in 0..acc.policy().slots_per_lane {
        let parks = acc.stats().event(Event::Parks);
        let (_, dst) = block_on("copy", within("the poller wakes no more", copy(acc, &ledger))).unwrap();
        assert_same(dst.bytes(), &vec![7; LEN], "copy");
        assert!(acc.stats().event(Event::Parks) > parks, "did not need the poller");
    }
    settled(acc, &ledger);
}

/// As [`late`], a little less late, with two slots, so that the same ones are used again soon.
fn late_with_two_slots() -> (Device, Accelerator) {
    late_on(WqConfig::shared(64), 2)
}

fn late_on(queue: WqConfig, slots: usize) -> (Device, Accelerator) {
    let config = Config::sapphire_rapids().queue(queue);
    let device = Device::new(config.fault(FaultRule::new(Effect::Delay(Duration::from_millis(5))))).unwrap();
    let (_, template) = late(LATE);
    let mut policy = template.policy().clone();
    policy.slots_per_lane = slots;
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}

#[test]
fn a_waker_that_panics_when_woken() {
    let (_device, acc) = late_with_two_slots();
    let ledger = Ledger::new();
    let mut operation = copy(&acc, &ledger);
    let waker = Waker::from(Arc::new(PanicsWhenWoken));
    assert!(poll_with(&mut operation, &waker).is_pending());
    eventually("the poller wakes it", || acc.stats().event(Event::PollerWakes) == 1);
    let Poll::Ready(Ok(done)) = poll_once(&mut operation) else { panic!("not done") };
    drop((done, operation));
    settled(&acc, &ledger);
    poller_works(&acc);
}

/// A panic's payload is the user's, too.
struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            deliberate();
        }
    }
}

struct PanicsTwice;

impl Wake for PanicsTwice {
    fn wake(self: Arc<Self>) {
        let _ = catch_unwind(|| deliberate());
        std::panic::resume_unwind(Box::new(PanicsAgain));
    }
}

#[test]
fn a_waker_whose_panic_panics_again() {
    let (_device, acc) = late_with_two_slots();
    let ledger = Ledger::new();
    let mut operation = copy(&acc, &ledger);
    let waker = Arc::new(PanicsTwice);
    assert!(poll_with(&mut operation, &Waker::from(Arc::clone(&waker))).is_pending());
    eventually("the poller has woken it", || Arc::strong_count(&waker) == 1);
    let Poll::Ready(Ok(done)) = poll_once(&mut operation) else { panic!("not done") };
    drop(done);
    drop(operation);
    settled(&acc, &ledger);
    poller_works(&acc);
}

#[test]
fn a_waker_that_panics_when_the_reaper_drops_it() {
    let (_device, acc) = late_with_two_slots();
    let (ledger, explosions) = (Ledger::new(), Arc::default());
    for round in 1..=4 {
        let mut operation = copy(&acc, &ledger);
        assert!(poll_with(&mut operation, &explosive(&explosions)).is_pending());
        drop(operation);
        eventually("the waker is dropped", || explosions.load(Ordering::SeqCst) == round);
    }
    settled(&acc, &ledger);
    poller_works(&acc);
}

#[test]
fn a_waker_that_panics_when_another_takes_its_place() {
    let (_device, acc) = late_with_two_slots();
    let (ledger, explosions) = (Ledger::new(), Arc::default());
    let mut operation = copy(&acc, &ledger);
    assert!(poll_with(&mut operation, &explosive(&explosions)).is_pending());
    let other = Counter::new();
    // Whether the panic comes out of the poll is not what matters.
    let _ = catch_unwind(AssertUnwindSafe(|| poll_with(&mut operation, &other.waker())));
    assert_eq!(explosions.load(Ordering::SeqCst), 1);
    drop(operation);
    settled(&acc, &ledger);
    // Nobody else may suffer from it: the slot's next user is woken as ever.
    poller_works(&acc);
}

/// Launches operations with wakers that panic when dropped, lets the device finish, and then ends the operation by
/// `end`, which drops the waker unless the poller has taken it before. Until three have panicked.
fn drop_wakers_late(device: &Device, acc: &Accelerator, ledger: &Arc<Ledger>, end: fn(&mut Option<Operation>)) {
    let explosions = Arc::default();
    // Whether the poller or the end is first is a matter of chance.
    for _ in 0..2000 {
        let mut operation = copy(acc, ledger);
        assert!(poll_with(&mut operation, &explosive(&explosions)).is_pending());
        device.drain_all();
        let mut operation = Some(operation);
        let _ = catch_unwind(AssertUnwindSafe(|| end(&mut operation)));
        drop(operation);
        if explosions.load(Ordering::SeqCst) == 3 {
            return;
        }
        quiet(acc);
    }
    panic!("the poller was faster {} times", 2000 - explosions.load(Ordering::SeqCst));
}

type Operation = dsa::Copy<Tracked, Tracked>;

#[test]
fn a_waker_that_panics_when_the_last_poll_drops_it() {
    let (device, acc) = late_with_two_slots();
    let ledger = Ledger::new();
    drop_wakers_late(&device, &acc, &ledger, |operation| drop(poll_once(operation.as_mut().unwrap())));
    settled(&acc, &ledger);
    poller_works(&acc);
}

#[test]
fn a_waker_that_panics_when_the_future_drops_it() {
    let (device, acc) = late_on(WqConfig::shared(64), 8);
    let ledger = Ledger::new();
    drop_wakers_late(&device, &acc, &ledger, |operation| drop(operation.take()));
    settled(&acc, &ledger);
    poller_works(&acc);
}

/// A dedicated queue loses what exceeds its entries, so none of them may be given back twice.
#[test]
fn a_panic_gives_no_queue_entry_back_twice() {
    let (device, acc) = late_on(WqConfig::dedicated(1), 8);
    let ledger = Ledger::new();
    drop_wakers_late(&device, &acc, &ledger, |operation| drop(poll_once(operation.as_mut().unwrap())));
    settled(&acc, &ledger);
    let mut all: Vec<_> = (0..6).map(|_| copy(&acc, &ledger)).collect();
    let pending = all.iter_mut().filter_map(|operation| poll_once(operation).is_pending().then_some(())).count();
    assert_eq!((device.counters().dropped, device.software_error()), (0, None), "{pending} pending");
    assert_eq!(pending, 1);
    drop(all);
    settled(&acc, &ledger);
}

#[test]
fn a_buffer_that_panics_when_the_reaper_drops_it() {
    let (_device, acc) = late_with_two_slots();
    let ledger = Ledger::new();
    for _ in 0..4 {
        let src = Special { buffer: ledger.of(vec![7; LEN]), on_drop: Some(Box::new(|| deliberate())) };
        let mut operation = acc.copy(src, ledger.buffer(LEN).ends_as(7));
        launch(&mut operation);
        drop(operation);
        quiet(&acc);
    }
    settled(&acc, &ledger);
    poller_works(&acc);
}

#[test]
fn a_buffer_that_holds_the_last_handle() {
    let (device, acc) = late(LATE);
    let ledger = Ledger::new();
    let handle = acc.clone();
    let src = Special { buffer: ledger.of(vec![7; LEN]), on_drop: Some(Box::new(move || drop(handle))) };
    let mut operation = acc.copy(src, ledger.buffer(LEN).ends_as(7));
    launch(&mut operation);
    drop((operation, acc));
    all_dropped(&ledger);
    only_handle_left(device);
}

/// The accelerator's thread has ended: it held the queue, and a dedicated queue would stay taken.
fn only_handle_left(device: Device) {
    // The device's threads end when its last handle and client are gone, which `drop` waits for.
    let _watchdog = Watchdog::start("the device's threads end");
    drop(device);
}

/// The poller finds nothing to wait for, is then told to stop, and has an orphan all the same: one that came in between.
#[test]
fn an_orphan_that_comes_with_the_shutdown() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    let (entered, leave) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    // This one's destructor keeps the poller in the middle of a pass.
    let signals = (Arc::clone(&entered), Arc::clone(&leave));
    let linger = move || {
        signals.0.store(true, Ordering::SeqCst);
        eventually("told to leave", || signals.1.load(Ordering::SeqCst));
    };
    let src = Special { buffer: ledger.of(vec![7; LEN]), on_drop: Some(Box::new(linger)) };
    launch(&mut acc.copy(src, ledger.buffer(LEN).ends_as(7)));
    eventually("the poller reaps the first orphan", || entered.load(Ordering::SeqCst));
    launch(&mut copy(&acc, &ledger));
    drop(acc);
    leave.store(true, Ordering::SeqCst);
    all_dropped(&ledger);
}

/// One list of a batch has ended, the other is late; the poller is held up, so the waker is still in the first one's
/// slot when the batch is dropped. Its panic must not keep the second one from being looked after.
#[test]
fn a_waker_that_panics_when_a_batch_drops_it() {
    let late = FaultRule::new(Effect::Delay(LATE)).opcode(idxd_sys::opcode::MEMMOVE);
    let config = Config::sapphire_rapids().queue(WqConfig::shared(64).without(idxd_sys::opcode::BATCH)).engines(4);
    let soon = FaultRule::new(Effect::Delay(LATE / 6)).opcode(idxd_sys::opcode::CRCGEN);
    let device = Device::new(config.fault(late).fault(soon)).unwrap();
    let (_, template) = support::late::late(LATE);
    let acc = Accelerator::builder().policy(template.policy().clone()).emulator(&device).build().unwrap();
    let ledger = Ledger::new();
    let (entered, leave) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let signals = (Arc::clone(&entered), Arc::clone(&leave));
    let linger = move || {
        signals.0.store(true, Ordering::SeqCst);
        eventually("told to leave", || signals.1.load(Ordering::SeqCst));
    };
    let src = Special { buffer: ledger.of(vec![7; LEN]), on_drop: Some(Box::new(linger)) };
    launch(&mut acc.copy(src, ledger.buffer(LEN).ends_as(7)));
    eventually("the poller is held up", || entered.load(Ordering::SeqCst));
    let mut batch = acc.batch::<Tracked, Tracked>();
    // The CRC is done soon, the copy is late.
    batch.crc32c(ledger.of(vec![7; LEN])).copy(ledger.of(vec![7; LEN]), ledger.buffer(LEN).ends_as(7));
    let mut operation = batch.submit();
    let explosions = Arc::default();
    assert!(poll_with(&mut operation, &explosive(&explosions)).is_pending());
    eventually("the CRC is done", || device.counters().records == 2);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(operation)));
    assert_eq!(explosions.load(Ordering::SeqCst), 1);
    assert_eq!(ledger.early(), 0, "freed while the device has it");
    leave.store(true, Ordering::SeqCst);
    settled(&acc, &ledger);
    poller_works(&acc);
}
