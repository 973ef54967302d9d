//! The executor extension: what the workers of a tokio runtime do for an accelerator before and after they sleep.
//!
//! Nothing depends on it. Without it, and on every other executor, all operations work, and every wake-up comes: what a
//! future does not find out by itself, another poll or the accelerator's own thread does.
//!
//! ```
//! use dsa::BuilderExt;
//! use tokio::runtime::Builder;
//!
//! let accelerator = dsa::Accelerator::open();
//! // One thread, or one of several such runtimes.
//! let runtime = Builder::new_current_thread().with_dsa(&accelerator).build()?;
//! let (source, target) = runtime.block_on(accelerator.copy(vec![1u8; 10_000], Vec::with_capacity(10_000)))?;
//! assert_eq!(source, target);
//! # std::io::Result::Ok(())
//! ```
//!
//! With several workers, and hooks of the program's own beside:
//!
//! ```
//! use dsa::{BuilderExt, DsaHooks};
//! use tokio::runtime::Builder;
//!
//! let accelerator = dsa::Accelerator::open();
//! let runtime = Builder::new_multi_thread()
//!     .worker_threads(2)
//!     .with_dsa_hooks(&accelerator, DsaHooks::new().on_thread_park(|| { /* a worker has nothing to do */ }))
//!     .build()?;
//! let copy = accelerator.copy(vec![1u8; 10_000], Vec::with_capacity(10_000));
//! let (source, target) = runtime.block_on(async { runtime.spawn(copy).await })??;
//! assert_eq!(source, target);
//! # std::io::Result::Ok(())
//! ```
//!
//! # What it brings
//!
//! * **A lane for each worker.** An accelerator spreads threads over its lanes in the order in which they come, whatever
//!   they are. With hooks the workers of a runtime have lanes of their own, from the first time they park on: a runtime of
//!   several workers as many in a row, a current-thread runtime one for the thread that drives it. So they do not
//!   meet, if there are as many lanes as workers ([`Policy::lanes`](crate::Policy::lanes)).
//! * **Completions found by whoever waits for them.** A future that has left its waiting to the accelerator's thread is woken
//!   by its own worker, if that is about to sleep, or has just been woken by something else, when the operation completes.
//!   Waking from another thread costs microseconds.
//! * **On a current-thread or local runtime, a last wait before it sleeps.** With something out and nothing else to do, it looks
//!   for [`Policy::park_spin`](crate::Policy::park_spin) longer. A runtime of several workers looks once: what one of
//!   its workers wakes from the hook goes to another worker, and a worker that looks for long counts as one that searches for
//!   work, which keeps others asleep.
//!
//! # What it costs
//!
//! A look at a counter each time that a worker parks or goes on; with operations left to the accelerator's thread, a look
//! at some of them. On a current-thread runtime also the time of the last wait, in which timers, sockets and wake-ups
//! by other threads have to wait: with operations out that take long, up to `park_spin` each time that it parks. Set it to
//! zero where that matters more.
//!
//! # What tokio's builder keeps
//!
//! A builder keeps one hook of each kind. [`BuilderExt::with_dsa`] sets `on_thread_park` and `on_thread_unpark`, in place of
//! earlier ones; those of the program go into [`DsaHooks`]. Setting one of these hooks later, or calling `with_dsa`
//! again, takes this one out, without harm: the effects above are lost, in part or altogether, and nothing else.
//!
//! The hooks do not keep the accelerator open. When it has gone, they do nothing but call the program's own.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use tokio::runtime::{Builder, Handle, RuntimeFlavor};

use crate::accelerator::Accelerator;
use crate::shared::{Shared, set_thread_number};

/// Extends the builder of a tokio runtime. See the [module](self).
pub trait BuilderExt: sealed::Sealed {
    /// Has the workers of the runtime look after what `accelerator` has in flight.
    ///
    /// Replaces an `on_thread_park` and an `on_thread_unpark` that were set before; see
    /// [`with_dsa_hooks`](Self::with_dsa_hooks).
    ///
    /// The runtimes of one builder share the lanes that one call chose, if they have several workers each.
    fn with_dsa(&mut self, accelerator: &Accelerator) -> &mut Self;

    /// The same beside hooks of the program's own.
    fn with_dsa_hooks(&mut self, accelerator: &Accelerator, hooks: DsaHooks) -> &mut Self;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for tokio::runtime::Builder {}
}

type Hook = Box<dyn Fn() + Send + Sync>;

/// The program's own hooks, for [`BuilderExt::with_dsa_hooks`]. They are called exactly when they would be otherwise.
#[derive(Default)]
#[must_use = "hooks do nothing until a runtime is built with them"]
pub struct DsaHooks {
    start: Option<Hook>,
    stop: Option<Hook>,
    park: Option<Hook>,
    unpark: Option<Hook>,
}

impl DsaHooks {
    /// No hooks.
    pub fn new() -> Self {
        Self::default()
    }

    /// For [`Builder::on_thread_start`]. Without it, one that the builder has stays.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.start = Some(Box::new(hook));
        self
    }

    /// For [`Builder::on_thread_stop`]. Without it, one that the builder has stays.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.stop = Some(Box::new(hook));
        self
    }

    /// For [`Builder::on_thread_park`]. It is called first, so that what it starts is looked after too.
    pub fn on_thread_park(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.park = Some(Box::new(hook));
        self
    }

    /// For [`Builder::on_thread_unpark`]. It is called last.
    pub fn on_thread_unpark(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.unpark = Some(Box::new(hook));
        self
    }
}

impl fmt::Debug for DsaHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DsaHooks")
            .field("start", &self.start.is_some())
            .field("stop", &self.stop.is_some())
            .field("park", &self.park.is_some())
            .field("unpark", &self.unpark.is_some())
            .finish()
    }
}

impl BuilderExt for Builder {
    fn with_dsa(&mut self, accelerator: &Accelerator) -> &mut Self {
        self.with_dsa_hooks(accelerator, DsaHooks::new())
    }

    fn with_dsa_hooks(&mut self, accelerator: &Accelerator, hooks: DsaHooks) -> &mut Self {
        let DsaHooks { start, stop, park, unpark } = hooks;
        if let Some(start) = start {
            self.on_thread_start(start);
        }
        if let Some(stop) = stop {
            self.on_thread_stop(stop);
        }
        let parking = Arc::new(Workers::of(accelerator));
        let going_on = Arc::clone(&parking);
        self.on_thread_park(move || {
            if let Some(hook) = &park {
                hook();
            }
            parking.before_park();
        })
        .on_thread_unpark(move || {
            going_on.after_unpark();
            if let Some(hook) = &unpark {
                hook();
            }
        })
    }
}

/// What the hooks of one builder know.
struct Workers {
    /// Not kept alive: see `poller::finish` for how this goes together with the accelerator's end.
    shared: Weak<Shared>,
    /// [`Policy::park_spin`](crate::Policy::park_spin) in ticks of the clock.
    spin: u64,
    kind: OnceLock<Kind>,
}

/// Where workers get their numbers from. The same for all runtimes of a builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One worker, which is the thread that drives the runtime at the moment: it gets a number, and keeps it, since it will
    /// not meet itself.
    Single,
    /// This number is the first worker's.
    Several(u32),
}

impl Workers {
    fn of(accelerator: &Accelerator) -> Self {
        Self { shared: accelerator.downgrade(), spin: accelerator.limits().park_spin, kind: OnceLock::new() }
    }

    fn before_park(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if !shared.may_sweep() {
            return;
        }
        // Before the lane changes, for the first time: what is out was submitted to the old one.
        let lane = shared.lane_if_known();
        let kind = self.take_place(&shared);
        if let Some(lane) = lane {
            let patience = if kind == Some(Kind::Single) { self.spin } else { 0 };
            shared.before_park(lane, patience);
        }
    }

    fn after_unpark(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if !shared.may_sweep() {
            return;
        }
        // A worker may go on in another thread than it was in.
        self.take_place(&shared);
        if let Some(lane) = shared.lane_if_known() {
            shared.after_unpark(lane);
        }
    }

    /// Gives the calling thread the number of the worker that it is.
    fn take_place(&self, shared: &Shared) -> Option<Kind> {
        let worker = tokio::runtime::worker_index()?;
        let kind = if let Some(kind) = self.kind.get() {
            *kind
        } else {
            let runtime = Handle::try_current().ok()?;
            *self.kind.get_or_init(|| Kind::of(&runtime, shared))
        };
        match kind {
            Kind::Single => shared.number_thread_once(),
            Kind::Several(first) => set_thread_number(first.wrapping_add(worker as u32)),
        }
        Some(kind)
    }
}

impl Kind {
    fn of(runtime: &Handle, shared: &Shared) -> Self {
        match runtime.runtime_flavor() {
            RuntimeFlavor::CurrentThread => Self::Single,
            _ => Self::Several(shared.claim_numbers(runtime.metrics().num_workers() as u32)),
        }
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::dispatch::Policy;

    fn accelerator(lanes: usize) -> Accelerator {
        Accelerator::builder().policy(Policy { lanes, ..Policy::default() }).build().expect("a valid policy")
    }

    /// The lane of a worker that has parked.
    fn lane_after(workers: &Workers) -> u32 {
        workers.before_park();
        let lane = workers.shared.upgrade().expect("still open").lane_index();
        workers.after_unpark();
        assert_eq!(workers.shared.upgrade().expect("still open").lane_index(), lane, "it stays");
        lane
    }

    #[test]
    fn two_workers_have_two_lanes() {
        let accelerator = accelerator(2);
        let workers = Arc::new(Workers::of(&accelerator));
        let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        // Each task keeps its worker until both have one.
        let barrier = Arc::new(Barrier::new(2));
        let tasks = [(); 2].map(|()| {
            let (workers, barrier) = (Arc::clone(&workers), Arc::clone(&barrier));
            runtime.spawn(async move {
                barrier.wait();
                let lane = lane_after(&workers);
                barrier.wait();
                lane
            })
        });
        let mut lanes = tasks.map(|task| runtime.block_on(task).expect("no panic"));
        lanes.sort_unstable();
        assert_eq!(lanes, [0, 1]);
        assert_eq!(workers.kind.get(), Some(&Kind::Several(0)));
    }

    #[test]
    fn runtimes_of_one_thread_each_have_a_lane_each() {
        let accelerator = accelerator(4);
        // Every other runtime is built by hooks of its own, and all have worker 0 alone.
        let common = Arc::new(Workers::of(&accelerator));
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let workers = if number % 2 == 0 { Arc::clone(&common) } else { Arc::new(Workers::of(&accelerator)) };
                std::thread::spawn(move || {
                    let runtime = Builder::new_current_thread().build().expect("a runtime");
                    runtime.block_on(async { lane_after(&workers) })
                })
            })
            .collect();
        let mut lanes: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        lanes.sort_unstable();
        assert_eq!(lanes, [0, 1, 2, 3]);
    }

    #[test]
    fn who_is_no_worker_keeps_the_lane_it_has() {
        let accelerator = accelerator(4);
        let workers = Workers::of(&accelerator);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                workers.before_park();
                assert_eq!((accelerator.shared().lane_if_known(), workers.kind.get()), (None, None));
                let lane = accelerator.shared().lane_index();
                workers.after_unpark();
                assert_eq!(accelerator.shared().lane_if_known(), Some(lane));
            });
        });
        assert_eq!(accelerator.shared().claim_numbers(1), 0, "none was claimed");
    }

    #[test]
    fn hooks_do_nothing_when_the_accelerator_has_gone() {
        let accelerator = accelerator(4);
        let workers = Workers::of(&accelerator);
        drop(accelerator);
        Builder::new_current_thread().build().expect("a runtime").block_on(async {
            workers.before_park();
            workers.after_unpark();
        });
        assert_eq!(workers.kind.get(), None);
    }
}
