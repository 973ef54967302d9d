//! What shuttle explores: futures, slots, the poller's thread, sweeping workers, recovery and shutdown, all of them the
//! real ones, on a device that is the software device behind a thread of the model's ([`device`]).
//!
//! Run with `RUSTFLAGS="--cfg dsa_shuttle" cargo test -p dsa-runtime --release --lib shuttle_`. Every execution draws what is
//! submitted, what is cancelled and when, what fails, and which thread makes the next step. `DSA_SHUTTLE_ITERATIONS` says
//! how many there are of each test, `SHUTTLE_RANDOM_SEED` where chance begins; a schedule that fails is printed.
//!
//! A lost wake-up shows as a deadlock: the poller rests when nothing is watched, and everybody else waits for somebody. One
//! that is late for ever, or a slot that does not come back, shows as an execution that takes too many steps. Each buffer
//! is dropped once, and not while the device has a descriptor that names it ([`ledger`]). Time is the model's
//! ([`crate::clock`]), and passes with every reading and every nap.
//!
//! Shuttle knows one order of all accesses. What depends on a weaker one is loom's (`loom_tests`).

mod device;
mod ledger;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner, thread};

use self::device::{Machine, PIECE, Temper, Way};
use self::ledger::{Buffer, Ledger};
use super::sweep::Effort;
use super::sync::{sleep, step};
use crate::accelerator::{Accelerator, Ending};
use crate::clock;
use crate::dispatch::{Policy, Pressure, Waiting};
use crate::error::Error;
use crate::stats::{Event, Stats};

/// Steps after which an execution is stuck. The longest of a sound runtime take a tenth of that.
const STEPS: usize = 1_000_000;

/// What a lane with company does.
const COLLECTED: &[Event] = &[Event::Collected];

/// What one execution consists of.
#[derive(Clone, Copy)]
struct Scale {
    submitters: u32,
    operations: u32,
    slots: usize,
    temper: Option<Temper>,
    /// All operations take several descriptors and are dropped in the middle, and so is the accelerator.
    is_hasty: bool,
}

/// One operation after the other on one slot: short, so that many orders of few steps are seen.
const SMALL: Scale = Scale { submitters: 1, operations: 2, slots: 1, temper: Some(Temper::Sound), is_hasty: false };
/// More threads than slots, and whatever can go wrong.
const LARGE: Scale = Scale { submitters: 3, operations: 3, slots: 2, temper: None, is_hasty: false };
/// Slots for all: what is submitted finds company, is collected, and sent by whoever comes to it.
const CROWD: Scale = Scale { submitters: 3, operations: 3, slots: 6, temper: None, is_hasty: false };
/// What is dropped while a worker and the poller look at it.
const HASTY: Scale = Scale { submitters: 1, operations: 1, slots: 1, temper: Some(Temper::Sound), is_hasty: true };

/// What happened in all executions of a test.
#[derive(Default)]
struct Seen {
    executions: usize,
    steps: usize,
    most: usize,
    stats: Stats,
    /// Accelerators whose end was [`Ending::Leaked`].
    leaked: usize,
}

/// Says how long it took to find something.
struct TellOnPanic(Arc<std::sync::Mutex<Seen>>);

impl Drop for TellOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seen = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            println!("failed after {} schedules", seen.executions);
        }
    }
}

/// Explores, and makes sure that what is to be explored has occurred at all.
fn explore(scheduler: impl Scheduler + 'static, scale: Scale, events: &[Event]) {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.silence_warnings = true;
    let seen = Arc::new(std::sync::Mutex::new(Seen::default()));
    let of_executions = Arc::clone(&seen);
    let _failure = TellOnPanic(Arc::clone(&seen));
    let executions = Runner::new(scheduler, config).run(move || execute(scale, &of_executions));
    let seen = seen.lock().expect("nobody panics with it");
    println!("{executions} schedules of {} steps, at most {}", seen.steps / executions, seen.most);
    let counts = Event::ALL.iter().map(|&event| format!("{} {}", event.name(), seen.stats.event(event)));
    println!("{}, {} ends with a leak", counts.collect::<Vec<_>>().join(", "), seen.leaked);
    // A short run may miss something.
    if executions >= 1_000 {
        for &event in events {
            assert!(seen.stats.event(event) != 0, "{event:?} has never occurred");
        }
        assert_eq!(seen.leaked != 0, scale.temper.is_none());
    }
}

/// What can occur on a device that is sound.
const SOUND: &[Event] =
    &[Event::Batches, Event::Cancelled, Event::OrphansReaped, Event::Parks, Event::PollerWakes, Event::WorkerWakes];

/// What can occur beside that where threads compete, on one that is not.
const BAD: &[Event] = &[
    Event::Retries,
    Event::PageFaults,
    Event::Resumes,
    Event::Quiesces,
    Event::Leaked,
    Event::WaitsBegun,
    Event::WaitsServed,
    Event::WaitsGivenUp,
    Event::WaitsCancelled,
];

/// How many executions: as the environment says, or so many.
fn iterations(default: usize) -> usize {
    std::env::var("DSA_SHUTTLE_ITERATIONS").map_or(default, |text| {
        text.replace('_', "").parse().unwrap_or_else(|_| panic!("DSA_SHUTTLE_ITERATIONS={text} is not a number"))
    })
}

const SEED: u64 = 0x5eed_0001;

#[test]
fn shuttle_an_operation_is_never_forgotten() {
    explore(RandomScheduler::new_from_seed(SEED, iterations(100_000)), SMALL, SOUND);
}

#[test]
fn shuttle_an_operation_is_never_forgotten_with_few_changes_of_threads() {
    explore(PctScheduler::new_from_seed(SEED, 4, iterations(100_000)), SMALL, SOUND);
}

#[test]
fn shuttle_whatever_happens_operations_end_once() {
    explore(RandomScheduler::new_from_seed(SEED, iterations(25_000)), LARGE, &[SOUND, BAD].concat());
}

#[test]
fn shuttle_whatever_happens_operations_end_once_with_few_changes_of_threads() {
    explore(PctScheduler::new_from_seed(SEED, 6, iterations(25_000)), LARGE, &[SOUND, BAD].concat());
}

#[test]
fn shuttle_nothing_is_left_behind_in_haste() {
    explore(RandomScheduler::new_from_seed(SEED, iterations(200_000)), HASTY, &[Event::Cancelled]);
}

#[test]
fn shuttle_nothing_is_left_behind_in_haste_with_few_changes_of_threads() {
    let scheduler = PctScheduler::new_from_seed(SEED, 5, iterations(200_000));
    explore(scheduler, HASTY, &[Event::Cancelled]);
}

#[test]
fn shuttle_what_travels_together_ends_by_itself() {
    explore(RandomScheduler::new_from_seed(SEED, iterations(25_000)), CROWD, &[SOUND, BAD, COLLECTED].concat());
}

#[test]
fn shuttle_what_travels_together_ends_by_itself_with_few_changes_of_threads() {
    explore(PctScheduler::new_from_seed(SEED, 6, iterations(25_000)), CROWD, &[SOUND, BAD, COLLECTED].concat());
}

fn policy(scale: Scale) -> Policy {
    let mut draw = thread_rng();
    Policy {
        min_device_size: Some(0),
        batch_limit: draw.gen_range(2..5),
        batch_min_in_flight: 1,
        retries: draw.gen_range(0..2),
        pressure: [Pressure::Cpu, Pressure::Wait, Pressure::Fail][draw.gen_range(0..3)],
        max_resumes: draw.gen_range(0..2),
        spin: Duration::ZERO,
        // Some microseconds of the model's: a few rounds.
        self_wake: Duration::from_micros(draw.gen_range(0..2) * 20),
        park_spin: Duration::ZERO,
        dead_after: Duration::from_millis(1),
        lost_after: Duration::from_millis(10),
        lanes: 1,
        slots_per_lane: scale.slots,
        waiting: Waiting::Spin,
        ..Policy::default()
    }
}

/// One execution, from an accelerator's beginning to its end.
fn execute(scale: Scale, seen: &std::sync::Mutex<Seen>) {
    clock::start_over();
    let mut draw = thread_rng();
    let temper = scale
        .temper
        .unwrap_or_else(|| [Temper::Sound, Temper::Bad, Temper::Bad, Temper::Stubborn][draw.gen_range(0..4)]);
    let ledger = Ledger::new();
    let machine = Machine::new(temper, &ledger);
    let device = {
        let machine = Arc::clone(&machine);
        thread::spawn(move || machine.run())
    };
    let builder = Accelerator::builder().policy(policy(scale)).submitter(Way(Arc::clone(&machine)));
    let accelerator = builder.build().expect("a valid policy");
    let worker = {
        // Not kept alive, as by the hooks of an executor.
        let shared = accelerator.downgrade();
        let rounds = if scale.is_hasty { 4 } else { draw.gen_range(0..4) };
        thread::spawn(move || {
            for _ in 0..rounds {
                let Some(shared) = shared.upgrade() else { return };
                step();
                if shared.may_sweep() {
                    shared.sweep(0, Effort::PARK);
                    step();
                }
            }
        })
    };
    let submitters: Vec<_> = (0..scale.submitters)
        .map(|number| {
            let (accelerator, ledger) = (accelerator.clone(), Arc::clone(&ledger));
            thread::spawn(move || {
                (0..scale.operations).for_each(|_| submit(&accelerator, &ledger, number as u8, scale))
            })
        })
        .collect();
    let early = (!scale.is_hasty && draw.gen_ratio(1, 4)).then(|| accelerator.clone().shutdown());
    if let Some(shutdown) = early {
        // Others have it, or it waits for nothing: either way it goes on.
        drive(shutdown, draw.gen_ratio(1, 2).then_some(1));
    }
    submitters.into_iter().for_each(|submitter| submitter.join().expect("no panic"));
    machine.give_in();
    let stats = accelerator.stats();
    let ending = finish(accelerator, &ledger, scale);
    worker.join().expect("no panic");
    machine.end();
    device.join().expect("no panic");
    ledger.books(|books| {
        assert_eq!(books.early, 0, "dropped before the device was done with it");
        assert_eq!(books.dropped + books.leaked, books.made, "every buffer once");
        assert!(books.is_closed);
    });
    let steps = shuttle::current::context_switches();
    let mut seen = seen.lock().expect("nobody panics with it");
    seen.executions += 1;
    seen.steps += steps;
    seen.most = seen.most.max(steps);
    seen.stats.merge(&stats);
    seen.leaked += usize::from(ending == Ending::Leaked);
}

/// The end of the accelerator, in one of the ways that there are. All operations have ended or were dropped.
fn finish(accelerator: Accelerator, ledger: &Ledger, scale: Scale) -> Ending {
    // To be seen to by the poller in the usual way, or at its end.
    let kind = thread_rng().gen_range(u32::from(scale.is_hasty)..3);
    let is_leaked = ledger.books(|books| books.leaked != 0) || accelerator.leaked() != 0;
    if is_leaked || kind == 0 {
        if !is_leaked {
            // Nobody stops the poller: it sees to the orphans by itself.
            ledger.wait(|books| books.dropped == books.made);
        }
        // What was given up comes back when the device gives in, and so do the slots of drains.
        while accelerator.in_flight() != 0 {
            sleep(Duration::from_millis(10));
        }
        // One that was given up has a handle, which goes a little later than its slot.
        while !accelerator.is_only_handle() {
            sleep(Duration::from_millis(10));
        }
        // Batches that have ended keep theirs until somebody wants one.
        while !accelerator.shared().reap_lists() {
            sleep(Duration::from_millis(10));
        }
        let queue = &accelerator.shared().queues[0];
        assert_eq!(queue.credits(), queue.submitter().credits(), "places in the queue have come back too");
    }
    let expected = if is_leaked { Ending::Leaked } else { Ending::Closed };
    if is_leaked || kind != 1 {
        let ending = drive(accelerator.shutdown(), None).expect("not cancelled");
        assert_eq!(ending, expected);
        ledger.books(|books| assert!(books.is_closed, "the queue is closed when it ends"));
    } else {
        drop(accelerator);
        ledger.wait(|books| books.is_closed);
    }
    ledger.books(|books| assert_eq!(books.dropped + books.leaked, books.made, "all is freed when it is closed"));
    expected
}

/// Polls whenever it is woken, and drops the future after so many polls that found it pending.
fn drive<F: Future>(future: F, polls: Option<u32>) -> Option<F::Output> {
    let mut left = polls;
    let mut future = pin!(future);
    shuttle::future::block_on(std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => match &mut left {
            Some(1) => Poll::Ready(None),
            Some(left) => {
                *left -= 1;
                Poll::Pending
            }
            None => Poll::Pending,
        },
    }))
}

/// One operation of any kind, to its end or not.
fn submit(accelerator: &Accelerator, ledger: &Arc<Ledger>, byte: u8, scale: Scale) {
    let mut draw = thread_rng();
    let polls = (scale.is_hasty || draw.gen_ratio(1, 3)).then(|| draw.gen_range(1..3));
    let pair = |len: usize| (ledger.buffer(len, byte + 1), ledger.buffer(len, 0));
    match if scale.is_hasty { 7 } else { draw.gen_range(0..8) } {
        0 => match drive(accelerator.drain(), polls) {
            None | Some(Ok(()) | Err(Error::Unresponsive)) => {}
            Some(Err(error)) => panic!("{error}"),
        },
        1 => {
            let mut batch = accelerator.batch();
            for (source, target) in [pair(PIECE), pair(PIECE / 2)] {
                batch.copy(source, target);
            }
            for item in drive(batch.submit(), polls).into_iter().flatten() {
                let buffers = item.buffers.map(|buffers| match buffers {
                    crate::op::BatchBuffers::Copy(source, target) => (source, target),
                    other => panic!("{:?}", std::mem::discriminant(&other)),
                });
                check(ledger, item.result.err(), buffers);
            }
        }
        kind => {
            // One descriptor, or several.
            let (source, target) = pair(if kind < 6 { PIECE } else { 2 * PIECE + 10 });
            match drive(accelerator.copy(source, target), polls) {
                None => {}
                Some(Ok(buffers)) => check(ledger, None, Some(buffers)),
                Some(Err(failed)) => check(ledger, Some(failed.error().clone()), failed.into_buffers()),
            }
        }
    }
    if !scale.is_hasty && draw.gen_ratio(1, 2) {
        // As a worker does that has nothing to do.
        step();
        accelerator.shared().before_park(0, 0);
    }
}

/// What an operation says that has ended.
fn check(ledger: &Ledger, error: Option<Error>, buffers: Option<(Buffer, Buffer)>) {
    match (error, buffers) {
        (None, Some((source, target))) => assert!(source.bytes() == target.bytes(), "wrong bytes"),
        (Some(Error::Pressure { .. }), Some((_, target))) => {
            assert!(target.bytes().iter().all(|&byte| byte == 0), "nothing has been done");
        }
        (Some(Error::Unresponsive), None) => ledger.books(|books| books.leaked += 2),
        (error, buffers) => panic!("{error:?}, {}", buffers.is_some()),
    }
}
