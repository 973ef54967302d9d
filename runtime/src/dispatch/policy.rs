//! Every limit of the runtime, as configured and as the hot path wants it.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::pressure::Pressure;
use super::split::Split;
use crate::clock;

/// The limits by which an [`Accelerator`](crate::Accelerator) decides. Every one has a default that suits a tokio
/// service on a machine with a shared work queue.
///
/// ```
/// let mut policy = dsa::Policy::default();
/// policy.min_device_size = Some(64 * 1024);
/// let accelerator = dsa::Accelerator::builder().policy(policy).build()?;
/// # Ok::<(), dsa::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// `None`, the default: whoever is expected to cost less does an operation, the CPU or a device. What is expected comes from
    /// running estimates for each kind and size ([`choice`](crate::choice)), which begin with [modelled
    /// figures](crate::Builder::calibration), and from what is in flight in each queue. The reasons that
    /// [`stats`](crate::stats) gives are [`Cheaper`](crate::stats::Reason::Cheaper), [`Busy`](crate::stats::Reason::Busy)
    /// and, now and then, [`Explored`](crate::stats::Reason::Explored).
    ///
    /// `Some`: nothing is estimated. Operations of fewer bytes than this are done by the CPU at once, and the others by a device,
    /// as long as there is room. 0 gives the device everything, for instance to try it, or a software one. (Among more than 64
    /// queues nobody chooses: then `None` is 4 KiB.)
    ///
    /// For a batch, the bytes of all members together count, as those of one operation. What an operation itself says comes
    /// first: `device_only`, or that the CPU is to do it.
    pub min_device_size: Option<usize>,
    /// How many operations a lane collects, at most 64, before it sends them to its queue, together: by one BATCH descriptor,
    /// or one `write(2)`. An operation that finds fewer than [`batch_min_in_flight`](Self::batch_min_in_flight) in flight on its lane
    /// is sent at once. The others are sent
    /// when there are so many, when what was in flight has completed, when one of them is polled again, before
    /// the worker parks (with [hooks](crate::executor)), and, except by `write(2)`, by the poller thread if it waits for something. 1 sends each by itself at
    /// once. Default 32.
    pub batch_limit: usize,
    /// The largest operation, in bytes, that is collected. Default 16 KiB.
    pub batch_max_size: usize,
    /// How many operations must be in flight on the lane for the next to be collected, 1 to 63; with fewer a device is faster than the
    /// wait for company. What is far from the next one in the memory of a lane is not counted: more than
    /// [`slots_per_lane`](Self::slots_per_lane) or 63 there never are. Default 6.
    pub batch_min_in_flight: usize,
    /// How often a full queue is asked again, per submission, before that counts as [pressure](Self::pressure); at most
    /// 65,536. Default 16.
    pub retries: u32,
    /// What an operation does for which there is no room: no queue that takes it has a place, or all slots are in use. Default
    /// [`Pressure::Cpu`].
    pub pressure: Pressure,
    /// How often one piece is resubmitted after a page fault before the CPU does the rest of it. Default 4.
    pub max_resumes: u32,
    /// How long the first poll of a small operation looks for its completion without giving up its turn, if nothing else
    /// is in flight on the lane; never longer than [`dead_after`](Self::dead_after). Default 2 us.
    pub spin: Duration,
    /// The largest operation, in bytes, for which the first poll spins. Default 16 KiB.
    pub spin_max_size: usize,
    /// How long after submission a future keeps waking itself before it leaves the waiting to the poller thread; never
    /// longer than [`dead_after`](Self::dead_after). Default 100 us.
    pub self_wake: Duration,
    /// The largest operation, in bytes, for which a future wakes itself; larger ones go to the poller thread at once.
    /// Default 512 KiB.
    pub self_wake_max_size: usize,
    /// How long a worker of a current-thread or local runtime with [hooks](crate::executor) goes on looking for a completion
    /// before it parks, if there is nothing else to do and an operation has been left to the poller thread. 0 for one look.
    /// Default 20 us.
    pub park_spin: Duration,
    /// How many bytes the CPU works on in one poll before other tasks get a turn. Rounded up to 4 KiB. Default 256 KiB.
    pub cpu_slice: usize,
    /// How long the CPU works in one poll before other tasks get a turn: what it does at once is at most
    /// [`cpu_slice`](Self::cpu_slice), and no more than it is estimated to do in this time, but at least 4 KiB. The
    /// estimate is one for each kind of operation, made of the slices before. An operation without a part that could be
    /// done by itself takes as long as it takes. Zero is no limit. Default 50 us.
    pub cpu_slice_time: Duration,
    /// After this time without completion the queue is asked whether it is alive, and recovered if not. Also the grace of
    /// those who wait for room ([`Pressure::Wait`]) and are called. At least 1 ms.
    /// Default 20 ms.
    pub dead_after: Duration,
    /// After this time without completion an operation on a live queue counts as lost, and the queue is recovered. At
    /// least 1 ms; less than the slowest operation takes costs recoveries for nothing, and less than a reset of the device
    /// takes can wedge the driver, which does not survive a close at such a moment (Linux 7.3). Also the
    /// longest that an operation waits for room ([`Pressure::Wait`]). Default 5 s.
    pub lost_after: Duration,
    /// Lanes: independent sets of slots that threads are spread over. 0, the default, makes one per available CPU.
    pub lanes: usize,
    /// Operations in flight per lane; for what exceeds them see [`pressure`](Self::pressure). Default 256.
    pub slots_per_lane: usize,
    /// How the poller thread and blocking calls wait for a completion that is not there yet. Default
    /// [`Waiting::Auto`].
    pub waiting: Waiting,
    /// Whether the calling thread does a part of a large blocking copy, instead of waiting for all of it. Default
    /// [`Split::Never`].
    pub split_blocking: Split,
    /// How many threads of rayon's pool may do a large blocking operation, where there is no device. Default 1: the calling thread
    /// alone. Otherwise it waits for them, or, if it is one of the pool's itself, does a part of it, and whatever else the pool has to
    /// do meanwhile.
    ///
    /// Copies, fills, comparisons, CRC-32C and copies with CRC-32C are divided, from 1 MiB on, into parts of at least 512 KiB, if the
    /// pool has four threads or more; on servers that was measured to pay, with fewer threads it was not. Needs the feature `rayon`,
    /// and has no effect without, or in a child of `fork`, which has no such threads.
    pub blocking_threads: usize,
}

impl Policy {
    /// In place of a choice, where there can be none.
    pub(crate) const UNASKED_DEVICE_SIZE: usize = 4096;
}

/// How a thread waits between two looks at a completion record. Every wait is short, and followed by sleeps if
/// nothing happens for long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Waiting {
    /// The first of the following that the CPU has, if it really waits; that is measured when the accelerator is built,
    /// because a hypervisor may intercept the instruction and go on at once.
    #[default]
    Auto,
    /// UMONITOR, UMWAIT and TPAUSE: the CPU rests until the device writes the record.
    Umwait,
    /// MONITORX and MWAITX, the same in the other vendor's CPUs.
    Mwaitx,
    /// Looking again and again.
    Spin,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_device_size: None,
            batch_limit: 32,
            batch_max_size: 16 << 10,
            batch_min_in_flight: 6,
            retries: 16,
            pressure: Pressure::Cpu,
            max_resumes: 4,
            spin: Duration::from_micros(2),
            spin_max_size: 16 << 10,
            self_wake: Duration::from_micros(100),
            self_wake_max_size: 512 << 10,
            park_spin: Duration::from_micros(20),
            cpu_slice: 256 << 10,
            cpu_slice_time: Duration::from_micros(50),
            dead_after: Duration::from_millis(20),
            lost_after: Duration::from_secs(5),
            lanes: 0,
            slots_per_lane: 256,
            waiting: Waiting::Auto,
            split_blocking: Split::Never,
            blocking_threads: 1,
        }
    }
}

/// The durations of a [`Policy`] in clock ticks, computed once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) spin: u64,
    pub(crate) self_wake: u64,
    pub(crate) park_spin: u64,
}

impl Limits {
    pub(crate) fn new(policy: &Policy) -> Self {
        // A future that looks for itself is watched by nobody else, so it must not do so for longer than the watchdog waits.
        let capped = |limit: Duration| clock::ticks(limit.min(policy.dead_after));
        Self { spin: capped(policy.spin), self_wake: capped(policy.self_wake), park_spin: capped(policy.park_spin) }
    }
}

/// Where one operation may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Route {
    /// The device if it pays and can be had, else the CPU.
    #[default]
    Auto,
    /// The device, whatever the size; an error if it cannot be had.
    Device,
    /// The CPU.
    Cpu,
}
