//! The handle: what a program opens once and passes around.

#![forbid(unsafe_code)]

use std::fmt;
use std::num::NonZero;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::descriptor::Capabilities;
use crate::device::Queue;
use crate::dispatch::{Limits, Policy};
use crate::error::BuildError;
use crate::lane::{Lane, poller};
use crate::shared::{Shared, count_forks};
use crate::stats::Stats;
use crate::submit::Submitter;

/// Work queues, and the CPU behind them.
///
/// A handle is cheap to clone and may be used from any thread, inside or outside an async runtime. Operations keep the
/// accelerator alive; dropping the last handle never blocks: what is still in flight is waited for by the
/// accelerator's own thread, which then ends.
///
/// Without a work queue every operation is done by the CPU, with the same results.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let accelerator = dsa::Accelerator::cpu();
/// let (src, dst) = accelerator.copy(vec![7u8; 1000], Vec::with_capacity(1000)).await?;
/// assert_eq!(src, dst);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Accelerator(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    limits: Limits,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Not joined: the last handle may be dropped anywhere, the poller thread included. The thread owns what it
        // needs, and sees to it that nothing is freed while a device may write it.
        self.shared.stop();
    }
}

impl Accelerator {
    /// Starts a configuration.
    pub fn builder() -> Builder {
        Builder { policy: Policy::default(), submitters: Vec::new(), error: None }
    }

    /// An accelerator without work queues: the CPU does everything.
    pub fn cpu() -> Self {
        let policy = Policy { lanes: 1, slots_per_lane: 1, ..Policy::default() };
        Self::assemble(policy, Vec::new())
    }

    /// The accelerator behind the free functions such as [`dsa::copy`](crate::copy). It is [`Accelerator::cpu`] unless
    /// another one was installed before its first use: this version opens no hardware by itself.
    pub fn global() -> &'static Self {
        GLOBAL.get_or_init(Self::cpu)
    }

    /// Makes this the accelerator behind the free functions, for the rest of the process.
    ///
    /// # Errors
    ///
    /// Gives `self` back if there is one already, because it was installed or used before.
    pub fn install(self) -> Result<(), Self> {
        GLOBAL.set(self)
    }

    /// What each work queue offers, in the order in which they were added.
    pub fn capabilities(&self) -> impl Iterator<Item = &Capabilities> {
        self.shared().queues.iter().map(Queue::capabilities)
    }

    /// Number of work queues, including those that are out of order at the moment.
    pub fn queues(&self) -> usize {
        self.shared().queues.len()
    }

    /// The policy it was built with.
    pub fn policy(&self) -> &Policy {
        &self.shared().policy
    }

    /// Operations whose descriptor is with a device at this moment, dropped futures' ones included.
    pub fn in_flight(&self) -> usize {
        self.shared().lanes.iter().map(Lane::in_flight).sum()
    }

    /// Operations whose buffers were leaked because a device could be neither waited for nor made to stop. 0 in sound
    /// operation.
    pub fn leaked(&self) -> u64 {
        self.shared().leaked()
    }

    /// Times a work queue had to be quiesced because it had died or lost a descriptor.
    pub fn recoveries(&self) -> u64 {
        self.shared().queues.iter().map(Queue::recoveries).sum()
    }

    /// What has been done so far, by whom, and why.
    pub fn stats(&self) -> Stats {
        let mut total = Stats::default();
        for lane in &self.shared().lanes {
            total.merge(&lane.stats.snapshot());
        }
        total
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn assemble(policy: Policy, submitters: Vec<Box<dyn Submitter>>) -> Self {
        count_forks();
        let queues = submitters.into_iter().map(|submitter| Queue::new(submitter, policy.lanes)).collect();
        let lanes = (0..policy.lanes).map(|_| Lane::new(policy.slots_per_lane)).collect();
        let limits = Limits::new(&policy);
        let shared = Arc::new(Shared::new(lanes, queues, policy));
        Self(Arc::new(Inner { shared, limits }))
    }
}

static GLOBAL: OnceLock<Accelerator> = OnceLock::new();

impl fmt::Debug for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accelerator")
            .field("queues", &self.shared().queues)
            .field("lanes", &self.shared().lanes.len())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// Configures an [`Accelerator`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    policy: Policy,
    submitters: Vec<Box<dyn Submitter>>,
    error: Option<BuildError>,
}

impl Builder {
    /// Replaces all limits.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets [`Policy::min_device_size`]: smaller operations are done by the CPU. In bytes.
    pub fn min_device_size(mut self, bytes: usize) -> Self {
        self.policy.min_device_size = bytes;
        self
    }

    /// Adds every work queue of a software device. One that cannot be opened, because it is disabled or taken, is an
    /// error that [`Builder::build`] reports.
    #[cfg(feature = "emulator")]
    pub fn emulator(mut self, device: &dsa_emulator::Device) -> Self {
        for queue in 0..device.work_queues() {
            self = self.emulator_queue(device, queue);
        }
        self
    }

    /// Adds one work queue of a software device. An error is reported by [`Builder::build`].
    #[cfg(feature = "emulator")]
    pub fn emulator_queue(mut self, device: &dsa_emulator::Device, queue: usize) -> Self {
        match device.open(queue) {
            Ok(client) => self.submitters.push(Box::new(crate::submit::emulated::Emulated::new(client))),
            Err(source) => {
                self.error.get_or_insert(BuildError::Emulator { queue, source });
            }
        }
        self
    }

    /// Adds a queue of a test's own making.
    #[cfg(test)]
    pub(crate) fn submitter(mut self, submitter: impl Submitter + 'static) -> Self {
        self.submitters.push(Box::new(submitter));
        self
    }

    /// Opens everything.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn build(self) -> Result<Accelerator, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut policy = self.policy;
        if policy.lanes == 0 {
            policy.lanes = std::thread::available_parallelism().map_or(1, NonZero::get);
        }
        check(&policy)?;
        let needs_poller = !self.submitters.is_empty();
        let accelerator = Accelerator::assemble(policy, self.submitters);
        if needs_poller {
            let shared = Arc::clone(&accelerator.0.shared);
            std::thread::Builder::new()
                .name("dsa-poller".into())
                .spawn(move || poller::run(shared))
                .map_err(BuildError::Thread)?;
        }
        Ok(accelerator)
    }
}

fn check(policy: &Policy) -> Result<(), BuildError> {
    let micros = |duration: Duration| usize::try_from(duration.as_micros()).unwrap_or(usize::MAX);
    let rules = [
        ("slots_per_lane", policy.slots_per_lane, 1, 1 << 20, "must be between 1 and 2^20"),
        ("lanes", policy.lanes, 1, 1 << 12, "must be at most 4096"),
        (
            "lanes times slots_per_lane",
            policy.lanes.saturating_mul(policy.slots_per_lane),
            1,
            1 << 22,
            "must be at most 2^22 (192 bytes each)",
        ),
        (
            "dead_after",
            micros(policy.dead_after),
            1000,
            usize::MAX,
            "must be at least 1 ms; the value is in microseconds",
        ),
        (
            "lost_after",
            micros(policy.lost_after),
            1000,
            usize::MAX,
            "must be at least 1 ms; the value is in microseconds",
        ),
        ("retries", policy.retries as usize, 0, 1 << 16, "must be at most 65,536"),
        ("max_resumes", policy.max_resumes as usize, 0, 255, "must be at most 255"),
    ];
    for (field, value, least, most, rule) in rules {
        if value < least || value > most {
            return Err(BuildError::Policy { field, value, rule });
        }
    }
    Ok(())
}
