//! The handle: what a program opens once and passes around.

#![forbid(unsafe_code)]

mod builder;
mod hardware;
mod shutdown;

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

pub use self::builder::Builder;
pub use self::hardware::Unused;
pub use self::shutdown::{Ending, Shutdown};
use crate::descriptor::Capabilities;
use crate::device::{Queue, QueueError};
use crate::dispatch::choice::{Calibration, Machine};
use crate::dispatch::{self, Asking, Calibrate, Limits, Policy, Waiting};
use crate::lane::Lane;
use crate::lane::slot::MOST_QUEUES;
use crate::process::ForkLock;
use crate::shared::{Shared, home_of};
use crate::stats::Stats;
use crate::submit::{SubmissionPath, Submitter};

/// Work queues, and the CPU behind them.
///
/// A handle is cheap to clone and may be used from any thread, inside or outside an async runtime. Operations keep the
/// accelerator alive; dropping the last handle never blocks: what is still in flight is waited for by the
/// accelerator's own thread, which then ends. [`Accelerator::shutdown`] waits for that.
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
    unused: Vec<Unused>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Not joined: the last handle may be dropped anywhere, the poller thread included. The thread owns what it
        // needs, and sees to it that nothing is freed while a device may write it.
        self.shared.queues.iter().for_each(|queue| queue.submitter().retire_soon());
        self.shared.stop();
    }
}

impl Accelerator {
    /// Starts a configuration.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// An accelerator without work queues: the CPU does everything.
    pub fn cpu() -> Self {
        Self::assemble(Self::cpu_policy(), &Calibrate::Modelled, Vec::new(), Vec::new())
    }

    fn cpu_policy() -> Policy {
        Policy { lanes: 1, slots_per_lane: 1, ..Policy::default() }
    }

    /// An accelerator with the shared work queues of this machine that this process can use, which may be none: then the
    /// CPU does everything, and [`unused`](Self::unused) says why. Never fails.
    ///
    /// Dedicated queues are left alone, because opening one takes it away from everybody else; name those that are meant
    /// for this program ([`Builder::work_queue`]).
    ///
    /// Open it with the rights with which it is to be used: a queue that is submitted to by its portal needs
    /// `CAP_SYS_RAWIO` again when it is opened anew after a reset, and every queue its node and sysfs.
    pub fn open() -> Self {
        hardware::shared_queues()
    }

    /// The accelerator behind the free functions such as [`dsa::copy`](crate::copy): [`Accelerator::open`], unless another
    /// one was installed before its first use.
    ///
    /// For the users of finished programs two environment variables change what it opens. `DSA_QUEUES` names the queues,
    /// with commas between them, dedicated ones included (`wq0.0,wq1.0`), or says `none`. `DSA_SUBMIT` says how
    /// descriptors get there: `portal`, `write` or `auto`.
    pub fn global() -> &'static Self {
        loop {
            if let Some(global) = GLOBAL.get() {
                return global;
            }
            // Opening takes a while: in a fork child nobody is to wait for a thread that the child does not have.
            MAKING_GLOBAL.exclusively(|| {
                if GLOBAL.get().is_none() {
                    let _ = GLOBAL.set(hardware::from_environment());
                }
            });
        }
    }

    /// Makes this the accelerator behind the free functions, for the rest of the process.
    ///
    /// # Errors
    ///
    /// Gives `self` back if there is one already, because it was installed or used before.
    pub fn install(self) -> Result<(), Self> {
        MAKING_GLOBAL.exclusively(|| GLOBAL.set(self))
    }

    /// The work queues, in the order in which they were added, as they are at this moment.
    pub fn work_queues(&self) -> impl Iterator<Item = QueueInfo> {
        self.shared().queues.iter().map(QueueInfo::of)
    }

    /// Why work queues of this machine are not used: one entry for each reason that was found when the accelerator was
    /// built, in words that say what to do about it.
    pub fn unused(&self) -> &[Unused] {
        &self.0.unused
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

    /// How the poller and blocking calls really wait, where the policy left it open: [`Waiting::Spin`] if the CPU has no
    /// instruction for it, or one that does not wait on this machine.
    pub fn waiting(&self) -> Waiting {
        self.shared().waiter.kind()
    }

    /// Operations whose descriptor is with a device at this moment, or waits to be sent there together with others; dropped
    /// futures' ones included.
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

    /// What is known by now of how long operations take, on these queues and on this CPU, to be kept and
    /// [given](Builder::calibration) to the next accelerator with the same queues. Without times if there is nothing to
    /// choose: with a fixed [`Policy::min_device_size`], or without queues.
    pub fn calibration(&self) -> Calibration {
        let shared = self.shared();
        let machine = machine(shared.queues.iter().map(Queue::submitter));
        match &shared.asking {
            Some(asking) => Calibration::of(machine, asking.chooser().estimates()),
            None => Calibration::without_times(machine),
        }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Whether there is no other handle, not even one that an operation has.
    #[cfg(all(test, dsa_shuttle))]
    pub(crate) fn is_only_handle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// What is shared, for somebody who is not to keep it alive.
    pub(crate) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.0.shared)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn assemble(
        policy: Policy,
        calibrate: &Calibrate,
        submitters: Vec<Box<dyn Submitter>>,
        unused: Vec<Unused>,
    ) -> Self {
        crate::cpu::tuning::calibrate_once();
        let queues: Box<[_]> = submitters.into_iter().map(|submitter| Queue::new(submitter, policy.lanes)).collect();
        debug_assert!(queues.len() <= MOST_QUEUES, "the builder has looked");
        let home = |lane| home_of(lane, &queues).map(|queue| queues[queue].capabilities());
        let lanes = (0..policy.lanes).map(|number| dispatch::lane(&policy, home(number))).collect();
        let limits = Limits::new(&policy);
        let mut shared = Shared::new(lanes, queues, policy);
        if Asking::is_wanted(&shared.policy, shared.queues.len()) {
            let estimates = calibrate.estimates(&shared);
            shared.asking = Some(Asking::new(&shared, estimates));
        }
        let shared = Arc::new(shared);
        Self(Arc::new(Inner { shared, limits, unused }))
    }
}

/// What a calibration of these queues holds for. Of several with the same name, which only software devices have, the later ones
/// have a number behind it.
fn machine<'a>(submitters: impl Iterator<Item = &'a dyn Submitter>) -> Machine {
    let mut names: Vec<String> = Vec::new();
    for name in submitters.map(Submitter::name) {
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let name = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
        names.extend(name);
    }
    Machine::this(names)
}

static GLOBAL: OnceLock<Accelerator> = OnceLock::new();

/// Held while [`GLOBAL`] is made, so that the machine's queues are opened once.
static MAKING_GLOBAL: ForkLock = ForkLock::new();

impl fmt::Debug for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accelerator")
            .field("queues", &self.shared().queues)
            .field("lanes", &self.shared().lanes.len())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// What there is to know about one work queue of an accelerator.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name: `wq0.1` is queue 1 of device 0.
    pub name: String,
    /// How descriptors get there.
    pub path: SubmissionPath,
    /// Whether it is dedicated to this process.
    pub is_dedicated: bool,
    /// What it offers by this path.
    pub capabilities: Capabilities,
    /// Whether it is in use at this moment: not while it is disabled or being recovered.
    pub is_open: bool,
    /// Times it was quiesced because it had died or lost a descriptor.
    pub recoveries: u64,
    /// Why descriptors do not get there by its portal, if that was tried: usually for want of `CAP_SYS_RAWIO`.
    pub no_portal: Option<Arc<QueueError>>,
    /// What went wrong with it last, if something did.
    pub trouble: Option<Arc<QueueError>>,
}

impl QueueInfo {
    fn of(queue: &Queue) -> Self {
        let submitter = queue.submitter();
        Self {
            name: submitter.name(),
            path: submitter.path(),
            is_dedicated: submitter.credits().is_some(),
            capabilities: *queue.capabilities(),
            is_open: queue.is_open(),
            recoveries: queue.recoveries(),
            no_portal: submitter.no_portal(),
            trouble: submitter.trouble(),
        }
    }
}

/// One line: `wq0.1, shared, by portal, ENQCMD`.
impl fmt::Display for QueueInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.is_dedicated { "dedicated" } else { "shared" };
        write!(f, "{}, {mode}, by {}", self.name, self.path)?;
        if !self.is_open {
            f.write_str(", out of order")?;
        }
        match &self.trouble {
            Some(trouble) => write!(f, " (last trouble: {trouble})"),
            None => Ok(()),
        }
    }
}
