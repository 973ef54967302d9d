//! The executor extension: all ways of waiting on all kinds of runtime, with hooks, with hooks that were replaced, and on an
//! executor that knows nothing of any of this.

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use dsa::stats::Event;
use dsa::{Accelerator, BuilderExt, DsaHooks, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use support::late::{copy, held_with_all, launch};
use support::tracked::Ledger;
use support::{Watchdog, assert_same, crc_oracle, eventually, quiet};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime, Runtime};
use tokio::sync::{Notify, oneshot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavor {
    CurrentThread,
    Local,
    Workers,
}

enum Any {
    Sendable(Runtime),
    Local(LocalRuntime),
}

impl Flavor {
    const ALL: [Self; 3] = [Self::CurrentThread, Self::Local, Self::Workers];

    fn builder(self) -> Builder {
        if self != Self::Workers {
            return Builder::new_current_thread();
        }
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2);
        builder
    }

    fn build(self, builder: &mut Builder) -> Any {
        match self {
            Self::Local => Any::Local(builder.build_local(LocalOptions::default()).unwrap()),
            Self::CurrentThread | Self::Workers => Any::Sendable(builder.build().unwrap()),
        }
    }
}

impl Any {
    /// Runs `future` as a task, so that a worker polls it.
    fn run<F: Future<Output: Send + 'static> + Send + 'static>(&self, future: F) -> F::Output {
        match self {
            Self::Sendable(runtime) => runtime.block_on(runtime.spawn(future)).unwrap(),
            Self::Local(runtime) => runtime.block_on(runtime.spawn_local(future)).unwrap(),
        }
    }
}

/// A way of waiting, and what shows that it was used.
#[derive(Clone, Copy, Debug)]
enum Tier {
    Spin,
    SelfWake,
    Park,
}

impl Tier {
    const ALL: [Self; 3] = [Self::Spin, Self::SelfWake, Self::Park];

    fn policy(self) -> Policy {
        const LONG: Duration = Duration::from_secs(60);
        let mut policy = Policy::default();
        policy.min_device_size = Some(0);
        policy.lanes = 2;
        (policy.dead_after, policy.lost_after) = (LONG, LONG);
        (policy.spin, policy.self_wake) = match self {
            Self::Spin => (LONG, LONG),
            Self::SelfWake => (Duration::ZERO, LONG),
            Self::Park => (Duration::ZERO, Duration::ZERO),
        };
        policy
    }

    /// On a device that starts everything a little late.
    fn accelerator(self) -> Accelerator {
        self.on(Config::sapphire_rapids().fault(FaultRule::new(Effect::Delay(Duration::from_micros(100))))).1
    }

    fn on(self, config: Config) -> (Device, Accelerator) {
        let device = Device::new(config.queue(WqConfig::shared(64))).unwrap();
        let accelerator = Accelerator::builder().policy(self.policy()).emulator(&device).build().unwrap();
        (device, accelerator)
    }

    #[track_caller]
    fn check(self, accelerator: &Accelerator) {
        let stats = accelerator.stats();
        let parks = stats.event(Event::Parks);
        let wakes = stats.event(Event::PollerWakes) + stats.event(Event::WorkerWakes);
        match self {
            Self::Spin => assert!(stats.event(Event::InlineCompletions) > 0 && parks == 0, "{stats:?}"),
            Self::SelfWake => assert!(stats.event(Event::InlineCompletions) == 0 && parks == 0, "{stats:?}"),
            Self::Park => assert!(parks > 0 && wakes > 0, "{stats:?}"),
        }
        quiet(accelerator);
    }
}

/// A copy and its checksum, a few times.
async fn work(accelerator: Accelerator, number: usize) {
    for round in 0..5 {
        let source: Vec<_> = (0..5000).map(|i| (i * 31 + round * 7 + number * 11) as u8).collect();
        let (source, target) = accelerator.copy(source, Vec::with_capacity(5000)).await.expect("valid arguments");
        assert_same(&target, &source, "copy");
        let (crc, source) = accelerator.crc32c(source).await.expect("valid arguments");
        assert_eq!(crc, crc_oracle(0, &source));
    }
}

/// First by itself, so that there is a first poll without company, then together.
fn work_on(runtime: &Any, accelerator: &Accelerator) {
    runtime.run(work(accelerator.clone(), 0));
    let all = accelerator.clone();
    runtime.run(async move {
        let tasks: Vec<_> = (1..9).map(|number| tokio::spawn(work(all.clone(), number))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn every_way_of_waiting_works_on_every_runtime_with_hooks() {
    let _watchdog = Watchdog::start("hooks");
    for flavor in Flavor::ALL {
        for tier in Tier::ALL {
            println!("{flavor:?} {tier:?}");
            let accelerator = tier.accelerator();
            let runtime = flavor.build(flavor.builder().with_dsa(&accelerator));
            work_on(&runtime, &accelerator);
            tier.check(&accelerator);
        }
    }
}

/// A later hook takes the place of ours, and nothing depends on ours.
#[test]
fn hooks_that_are_replaced_are_not_missed() {
    let _watchdog = Watchdog::start("replaced hooks");
    for flavor in Flavor::ALL {
        let accelerator = Tier::Park.accelerator();
        let parks = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&parks);
        let mut builder = flavor.builder();
        builder.with_dsa(&accelerator).on_thread_unpark(|| {}).on_thread_park(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        work_on(&flavor.build(&mut builder), &accelerator);
        Tier::Park.check(&accelerator);
        assert!(parks.load(Ordering::Relaxed) > 0, "{flavor:?}");
    }
}

/// The device gets on only when a worker is about to park. The poller may be faster than the worker, but not every time.
#[test]
fn a_worker_wakes_its_own_tasks_before_it_parks() {
    let _watchdog = Watchdog::start("wakes by workers");
    for flavor in Flavor::ALL {
        let (device, accelerator) = Tier::Park.on(Config::sapphire_rapids().manual());
        let hooks = DsaHooks::new().on_thread_park(move || {
            device.run_until_idle();
        });
        let runtime = flavor.build(flavor.builder().with_dsa_hooks(&accelerator, hooks));
        let seen = (0..256).any(|number| {
            runtime.run(work(accelerator.clone(), number));
            accelerator.stats().event(Event::WorkerWakes) > 0
        });
        assert!(seen, "{flavor:?}: {:?}", accelerator.stats());
    }
}

/// With all the time in the world, the last wait ends with the operation, whoever finds it; with none it does not begin.
#[test]
fn a_runtime_of_one_thread_goes_on_looking() {
    let _watchdog = Watchdog::start("park spin");
    for spin in [Duration::ZERO, Duration::from_secs(60)] {
        for flavor in [Flavor::CurrentThread, Flavor::Local] {
            let config = Config::sapphire_rapids().fault(FaultRule::new(Effect::Delay(Duration::from_micros(300))));
            let device = Device::new(config.queue(WqConfig::shared(64))).unwrap();
            let mut policy = Tier::Park.policy();
            policy.park_spin = spin;
            let accelerator = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
            let runtime = flavor.build(flavor.builder().with_dsa(&accelerator));
            let seen = (0..256).any(|number| {
                runtime.run(work(accelerator.clone(), number));
                spin.is_zero() || accelerator.stats().event(Event::WorkerWakes) > 0
            });
            assert!(seen, "{flavor:?}: {:?}", accelerator.stats());
            Tier::Park.check(&accelerator);
        }
    }
}

/// A future that is polled looks after another one of its lane that has left the waiting to the poller.
#[test]
fn a_poll_wakes_others_of_its_lane() {
    let _watchdog = Watchdog::start("wakes by polls");
    let (device, accelerator) = Tier::Park.on(Config::sapphire_rapids().manual());
    let seen = (0..256).any(|_| {
        let mut first = accelerator.copy(vec![1u8; 5000], vec![0u8; 5000]);
        launch(&mut first);
        // It is behind the first, so that it is polled when that is done, and it is not.
        let mut second = accelerator.copy(vec![2u8; 5000], vec![0u8; 5000]);
        launch(&mut second);
        assert!(device.run_one());
        launch(&mut second);
        device.run_until_idle();
        for operation in [first, second] {
            let (source, target) = futures_executor::block_on(operation).expect("valid arguments");
            assert_same(&target, &source, "copy");
        }
        accelerator.stats().event(Event::WorkerWakes) > 0
    });
    assert!(seen, "{:?}", accelerator.stats());
}

#[derive(Default)]
struct Counts([AtomicUsize; 4]);

impl Counts {
    /// A hook that counts its calls, and does something.
    fn hook<T: Fn() + Send + Sync>(self: &Arc<Self>, place: usize, then: T) -> impl Fn() + Send + Sync + use<T> {
        let counts = Arc::clone(self);
        move || {
            counts.0[place].fetch_add(1, Ordering::SeqCst);
            then();
        }
    }

    fn get(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|place| self.0[place].load(Ordering::SeqCst))
    }
}

/// How often hooks for start, stop, park and unpark are called by a runtime that parks five times and then runs something on a
/// thread aside.
fn calls(flavor: Flavor, accelerator: Option<&Accelerator>) -> [usize; 4] {
    let (counts, notify) = (Arc::new(Counts::default()), Arc::new(Notify::new()));
    let notifier = Arc::clone(&notify);
    let [start, stop, unpark] = [0, 1, 3].map(|place| counts.hook(place, || {}));
    // What parks is woken by the very hook.
    let park = counts.hook(2, move || notifier.notify_one());
    let mut builder = flavor.builder();
    match accelerator {
        None => builder.on_thread_start(start).on_thread_stop(stop).on_thread_park(park).on_thread_unpark(unpark),
        Some(accelerator) => {
            let hooks = DsaHooks::new().on_thread_start(start).on_thread_stop(stop);
            builder.with_dsa_hooks(accelerator, hooks.on_thread_park(park).on_thread_unpark(unpark))
        }
    };
    let runtime = flavor.build(&mut builder);
    runtime.run(async move {
        for _ in 0..5 {
            notify.notified().await;
        }
    });
    let [_, _, parks, unparks] = counts.get();
    if let Any::Sendable(runtime) = &runtime {
        runtime.block_on(runtime.spawn_blocking(|| {})).unwrap();
    }
    drop(runtime);
    let [starts, stops, all_parks, all_unparks] = counts.get();
    if flavor == Flavor::Workers {
        // How often workers park is up to them.
        assert!(all_parks > 0 && all_parks == all_unparks, "{:?}", counts.get());
        return [starts, stops, 0, 0];
    }
    [starts, stops, parks, unparks]
}

#[test]
fn hooks_of_the_program_are_called_as_often_as_without() {
    let _watchdog = Watchdog::start("hooks of the program");
    let accelerator = Tier::Park.accelerator();
    for (flavor, expected) in
        [(Flavor::CurrentThread, [1, 1, 5, 5]), (Flavor::Local, [0, 0, 5, 5]), (Flavor::Workers, [3, 3, 0, 0])]
    {
        assert_eq!(calls(flavor, None), expected, "{flavor:?} without");
        assert_eq!(calls(flavor, Some(&accelerator)), expected, "{flavor:?} with");
    }
}

#[test]
fn hooks_that_the_builder_has_stay_unless_ours_need_them() {
    let starts = Arc::new(Counts::default());
    let mut builder = Flavor::Workers.builder();
    builder.on_thread_start(starts.hook(0, || {})).on_thread_stop(starts.hook(1, || {}));
    drop(builder.with_dsa(&Accelerator::cpu()).build().unwrap());
    assert_eq!(starts.get(), [2, 2, 0, 0]);
}

#[test]
fn an_accelerator_may_go_before_the_runtime() {
    let _watchdog = Watchdog::start("accelerator first");
    for flavor in Flavor::ALL {
        let ((device, accelerator), ledger) = (held_with_all(), Ledger::new());
        let runtime = flavor.build(flavor.builder().with_dsa(&accelerator));
        let operations = [(); 3].map(|()| copy(&accelerator, &ledger));
        runtime.run(async move {
            for mut operation in operations {
                launch(&mut operation);
            }
        });
        assert_eq!((accelerator.in_flight(), ledger.alive()), (3, 6), "{flavor:?}");
        drop(accelerator);
        device.run_until_idle();
        eventually("buffers are freed", || ledger.alive() == 0);
        // The hooks have nothing to look after any more.
        let other = Tier::Park.accelerator();
        work_on(&runtime, &other);
    }
}

#[test]
fn a_runtime_may_go_before_the_accelerator() {
    let _watchdog = Watchdog::start("runtime first");
    for flavor in Flavor::ALL {
        let ((device, accelerator), ledger) = (held_with_all(), Ledger::new());
        let runtime = flavor.build(flavor.builder().with_dsa(&accelerator));
        let operations = [(); 3].map(|()| copy(&accelerator, &ledger));
        runtime.run(async move {
            for mut operation in operations {
                let (started, starting) = oneshot::channel();
                tokio::spawn(async move {
                    let early = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut operation).poll(cx))).await;
                    started.send(early.is_pending()).unwrap();
                    operation.await.expect("valid arguments");
                    unreachable!("the device does nothing before the runtime has gone");
                });
                assert!(starting.await.unwrap());
            }
        });
        drop(runtime);
        assert_eq!(
            (accelerator.in_flight(), ledger.alive()),
            (3, 6),
            "{flavor:?}: buffers are not for a runtime to free"
        );
        device.run_until_idle();
        quiet(&accelerator);
        eventually("buffers are freed", || ledger.alive() == 0);
        assert_eq!(ledger.early(), 0);
        // On the next runtime everything is as ever.
        let hooks = DsaHooks::new().on_thread_park(move || {
            device.run_until_idle();
        });
        let runtime = flavor.build(flavor.builder().with_dsa_hooks(&accelerator, hooks));
        runtime.run(work(accelerator.clone(), 1));
    }
}

/// No tokio runtime anywhere: its budget is unlimited then, and nothing else of it is used.
#[test]
fn every_way_of_waiting_works_on_another_executor() {
    let _watchdog = Watchdog::start("another executor");
    assert!(tokio::runtime::Handle::try_current().is_err());
    for tier in Tier::ALL {
        let accelerator = tier.accelerator();
        futures_executor::block_on(work(accelerator.clone(), 0));
        std::thread::scope(|scope| {
            for number in 1..4 {
                let accelerator = accelerator.clone();
                scope.spawn(move || futures_executor::block_on(work(accelerator, number)));
            }
        });
        tier.check(&accelerator);
    }
}
