//! The device in virtual time, as a submitter sees it.
//!
//! Time only advances when the caller asks for it, by submitting at a time or by asking for the next completion; events
//! of one time happen in the order in which they became due. So a run is a function of its submissions and its seed.
//! Inside, time is counted in picoseconds: some costs are a few nanoseconds, and a million of them add up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use idxd_sys::{opcode, status};

use super::engine::{Engine, Event, Paths};
use super::operation::{NS, Operation, Rates, Work};
use super::parameters::{Timing, TimingError};
use crate::config::{Config, Mode};
use crate::prng::Prng;

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Answer {
    /// The queue has it.
    Accepted,
    /// ENQCMD: the shared queue is at its threshold.
    Retry,
    /// MOVDIR64B: the dedicated queue was full. Nobody tells the submitter.
    Lost,
}

/// A submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Submitted {
    /// What became of it.
    pub answer: Answer,
    /// When the submitter goes on, in nanoseconds.
    pub free_at: u64,
}

/// A `write(2)` of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Written {
    /// Descriptors accepted, from the first. 0 stands for EAGAIN.
    pub accepted: usize,
    /// When the call returns, in nanoseconds.
    pub free_at: u64,
}

/// The end of a descriptor or batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// What the submitter gave it.
    pub tag: u64,
    /// Index of the queue.
    pub queue: usize,
    /// When it was submitted, in nanoseconds.
    pub submitted: u64,
    /// When its record is in memory, in nanoseconds. A spinning thread sees it
    /// [`poll_ns`](super::ClientTiming::poll_ns) later.
    pub at: u64,
    /// Status of the record.
    pub status: u8,
    /// Bytes that it moved, of all members together.
    pub bytes: u64,
    /// Operations that it executed: 1, or the members of a batch.
    pub operations: u32,
}

/// What a simulator has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Descriptors accepted; a batch is one.
    pub accepted: u64,
    /// ENQCMD answered with Retry.
    pub retries: u64,
    /// MOVDIR64B to a full queue.
    pub lost: u64,
    /// Operations executed; a batch counts its members.
    pub operations: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// For how long the read path was in use, in nanoseconds.
    pub read_busy: u64,
    /// For how long the write path was in use, in nanoseconds.
    pub write_busy: u64,
}

/// One queue.
pub(super) struct Queue {
    pub(super) mode: Mode,
    pub(super) size: usize,
    pub(super) threshold: usize,
    pub(super) group: usize,
    pub(super) entries: VecDeque<u32>,
    next_seq: u64,
    /// Drains that wait, each for so many descriptors before it.
    pub(super) drains: Vec<(u32, u64)>,
}

/// An accepted descriptor until it completes.
pub(super) struct InFlight {
    pub(super) work: Work,
    pub(super) queue: usize,
    pub(super) seq: u64,
    tag: u64,
    submitted: u64,
    /// Members started.
    pub(super) next: u32,
    /// Members that count as executed.
    pub(super) operations: u32,
    /// When the last of the members so far completes.
    pub(super) latest: u64,
    pub(super) status: u8,
    pub(super) bytes: u64,
}

/// A device in virtual time.
///
/// Submissions must come in the order of their times. One that names an earlier time than the last counts as made at
/// that one. The clock ends after a hundred days.
pub struct Simulator {
    timing: Timing,
    pub(super) rates: Rates,
    /// Picoseconds.
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    pub(super) queues: Vec<Queue>,
    pub(super) engines: Vec<Engine>,
    pub(super) paths: Paths,
    pub(super) flights: Vec<Option<InFlight>>,
    free: Vec<u32>,
    done: VecDeque<Completion>,
    pub(super) rng: Option<Prng>,
    pub(super) tally: Tally,
}

impl Simulator {
    /// A device with the queues and engines of a configuration, whose latencies are always at their mean.
    pub fn new(config: Config, timing: Timing) -> Result<Self, TimingError> {
        timing.check()?;
        let config = config.resolve()?;
        let queues: Vec<_> = config
            .queues
            .iter()
            .map(|q| Queue {
                mode: q.mode,
                size: usize::from(q.size),
                threshold: usize::from(q.threshold),
                group: q.group,
                entries: VecDeque::with_capacity(usize::from(q.size)),
                next_seq: 0,
                drains: Vec::new(),
            })
            .collect();
        let engine = |group: &usize| {
            let of_group = config.queues.iter().enumerate().filter(|(_, q)| q.group == *group);
            Engine::new(*group, of_group.map(|(index, q)| (index, q.priority)).collect())
        };
        Ok(Self {
            rates: Rates::new(&timing),
            paths: Paths::new(config.limits.groups),
            engines: config.engines.iter().map(engine).collect(),
            timing,
            now: 0,
            events: BinaryHeap::new(),
            order: 0,
            queues,
            flights: Vec::new(),
            free: Vec::new(),
            done: VecDeque::new(),
            rng: None,
            tally: Tally::default(),
        })
    }

    /// Draws latencies from their distribution, from a seed, instead of taking the mean: for tails and percentiles.
    #[must_use]
    pub fn sampled(mut self, seed: u64) -> Self {
        self.rng = Some(Prng::new(seed));
        self
    }

    /// Limits a group to some of the device's read buffers, and so to that share of the read path. 0 lifts the limit.
    ///
    /// # Panics
    ///
    /// If the device has no such group.
    #[must_use]
    pub fn read_buffers(mut self, group: usize, buffers: u64) -> Self {
        let all = self.timing.device.read_buffers.max(1);
        let share = buffers as f64 / all as f64;
        self.paths.limit(group, (buffers != 0 && buffers < all).then(|| self.rates.read / share));
        self
    }

    /// The parameters.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The time of the last event or submission, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.now / NS
    }

    /// Number of queues.
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    /// Descriptors in a queue that no engine has taken.
    ///
    /// # Panics
    ///
    /// If there is no such queue.
    pub fn occupancy(&self, queue: usize) -> usize {
        self.queues[queue].entries.len()
    }

    /// Descriptors accepted and not completed.
    pub fn outstanding(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// What has happened so far.
    pub fn tally(&self) -> Tally {
        let (read_busy, write_busy) = (self.paths.read.busy / NS, self.paths.write.busy / NS);
        Tally { read_busy, write_busy, ..self.tally }
    }

    /// Submits at `at` nanoseconds: with ENQCMD to a shared queue, with MOVDIR64B to a dedicated one. `tag` comes back
    /// in the completion.
    ///
    /// # Panics
    ///
    /// If there is no such queue.
    pub fn submit(&mut self, at: u64, queue: usize, work: impl Into<Work>, tag: u64) -> Submitted {
        let at = self.not_before_now(at);
        let answer = self.arrive(at, queue, work.into(), tag);
        let free = match self.queues[queue].mode {
            Mode::Shared => at + 2 * self.rates.portal,
            Mode::Dedicated => at + self.timing.client.posted_ns * NS,
        };
        Submitted { answer, free_at: free.div_ceil(NS) }
    }

    /// Submits descriptors through `write(2)` at `at` nanoseconds; their tags are `tag`, `tag + 1` and so on. The
    /// kernel submits one after another, and gives up at the first that is refused too often.
    ///
    /// # Panics
    ///
    /// If there is no such queue.
    pub fn write(&mut self, at: u64, queue: usize, operations: &[Operation], tag: u64) -> Written {
        let mut time = self.not_before_now(at) + self.timing.system.call_ns * NS;
        let shared = self.queues[queue].mode == Mode::Shared;
        let cost = if shared { 2 * self.rates.portal } else { self.timing.client.posted_ns * NS };
        for (index, operation) in operations.iter().enumerate() {
            let mut attempts = 0;
            loop {
                let answer = self.arrive(time, queue, (*operation).into(), tag.wrapping_add(index as u64));
                time += cost;
                if answer != Answer::Retry {
                    break;
                }
                if attempts == self.timing.system.write_retries {
                    return Written { accepted: index, free_at: time.div_ceil(NS) };
                }
                attempts += 1;
            }
        }
        Written { accepted: operations.len(), free_at: time.div_ceil(NS) }
    }

    /// The next completion, for which time advances if it must; `None` when nothing is outstanding.
    pub fn next_completion(&mut self) -> Option<Completion> {
        while self.done.is_empty() && self.event() {}
        self.done.pop_front()
    }

    /// The next completion whose record is in memory at `at` nanoseconds. Time advances to `at` at most.
    pub fn completion_before(&mut self, at: u64) -> Option<Completion> {
        let limit = at.saturating_mul(NS);
        while self.done.is_empty() && self.events.peek().is_some_and(|Reverse((time, ..))| *time <= limit) {
            self.event();
        }
        if self.done.front()?.at <= at { self.done.pop_front() } else { None }
    }

    fn not_before_now(&self, at: u64) -> u64 {
        // Arrivals must not go back behind what has happened: a submission is the portal's way before its arrival.
        (at.min(u64::MAX / NS / 2) * NS).max(self.now.saturating_sub(self.rates.portal))
    }

    /// The descriptor has reached the queue, the portal's way after `at` picoseconds.
    fn arrive(&mut self, at: u64, queue: usize, work: Work, tag: u64) -> Answer {
        let time = (at + self.rates.portal).max(self.now);
        while self.events.peek().is_some_and(|Reverse((due, ..))| *due <= time) {
            self.event();
        }
        self.now = time;
        let q = &mut self.queues[queue];
        let (limit, refused) = match q.mode {
            Mode::Shared => (q.threshold, Answer::Retry),
            Mode::Dedicated => (q.size, Answer::Lost),
        };
        if q.entries.len() >= limit {
            self.tally.retries += u64::from(refused == Answer::Retry);
            self.tally.lost += u64::from(refused == Answer::Lost);
            return refused;
        }
        let seq = q.next_seq;
        q.next_seq += 1;
        let flight = InFlight {
            work,
            queue,
            seq,
            tag,
            submitted: at / NS,
            next: 0,
            operations: 1,
            latest: time,
            status: status::SUCCESS,
            bytes: 0,
        };
        let index = self.keep(flight);
        self.queues[queue].entries.push_back(index);
        self.tally.accepted += 1;
        self.wake_one(queue, time);
        Answer::Accepted
    }

    fn keep(&mut self, flight: InFlight) -> u32 {
        if let Some(index) = self.free.pop() {
            self.flights[index as usize] = Some(flight);
            return index;
        }
        self.flights.push(Some(flight));
        self.flights.len() as u32 - 1
    }

    pub(super) fn flight(&mut self, index: u32) -> &mut InFlight {
        self.flights[index as usize].as_mut().expect("in flight until its completion")
    }

    pub(super) fn schedule(&mut self, time: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((time, self.order, event)));
    }

    /// Lets the next event happen; `false` if there is none.
    fn event(&mut self) -> bool {
        let Some(Reverse((time, _, event))) = self.events.pop() else { return false };
        self.now = self.now.max(time);
        match event {
            Event::Step { engine, token } => self.step(engine, token, time),
            Event::Done { flight } => self.complete(flight, time),
        }
        true
    }

    fn complete(&mut self, index: u32, time: u64) {
        let flight = self.flights[index as usize].take().expect("completes once");
        self.free.push(index);
        let queue = &mut self.queues[flight.queue];
        if !queue.drains.is_empty() {
            let mut ended = Vec::new();
            let flights = &self.flights;
            queue.drains.retain_mut(|(drain, left)| {
                let later = flights[*drain as usize].as_ref().is_some_and(|d| flight.seq < d.seq);
                *left -= u64::from(later);
                if *left == 0 {
                    ended.push(*drain);
                }
                *left != 0
            });
            for drain in ended {
                self.schedule(time + self.rates.record, Event::Done { flight: drain });
            }
        }
        self.tally.operations += u64::from(flight.operations);
        self.tally.bytes += flight.bytes;
        self.done.push_back(Completion {
            tag: flight.tag,
            queue: flight.queue,
            submitted: flight.submitted,
            at: time.div_ceil(NS),
            status: flight.status,
            bytes: flight.bytes,
            operations: flight.operations,
        });
    }

    /// Descriptors of the queue of `drain` that came before it and are not completed.
    pub(super) fn before(&self, drain: u32) -> u64 {
        let Some(drain) = &self.flights[drain as usize] else { return 0 };
        let earlier = |f: &&InFlight| f.queue == drain.queue && f.seq < drain.seq;
        self.flights.iter().flatten().filter(earlier).count() as u64
    }

    pub(super) fn is_drain(operation: &Operation) -> bool {
        operation.opcode == opcode::DRAIN
    }
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("now", &self.now()).field("tally", &self.tally()).finish_non_exhaustive()
    }
}
