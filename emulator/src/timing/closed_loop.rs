//! A closed loop: clients that keep descriptors in flight.

use std::collections::VecDeque;

use super::operation::Work;
use super::report::{PAUSE_NS, Report};
use super::simulator::{Answer, Completion, Simulator};

/// Clients that keep descriptors in flight.
#[derive(Clone, Debug)]
pub struct ClosedLoop {
    works: Vec<Work>,
    queue: usize,
    clients: usize,
    depth: usize,
    operations: u64,
    warm_up: u64,
    extra_ns: u64,
}

impl ClosedLoop {
    /// One client with one such descriptor or batch in flight, on queue 0, for 10,000 operations, the first tenth of
    /// which is not counted.
    pub fn new(work: impl Into<Work>) -> Self {
        Self::cycle(vec![work.into()])
    }

    /// The same with several descriptors or batches in turn.
    ///
    /// # Panics
    ///
    /// If there is none, or a batch without members.
    pub fn cycle(works: Vec<Work>) -> Self {
        assert!(!works.is_empty() && works.iter().all(|w| !w.is_empty()), "a load needs operations");
        Self { works, queue: 0, clients: 1, depth: 1, operations: 10_000, warm_up: 1_000, extra_ns: 0 }
    }

    /// Sets the queue.
    #[must_use]
    pub const fn queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }

    /// Sets the number of clients, each a thread on a processor of its own; at least 1.
    #[must_use]
    pub const fn clients(mut self, clients: usize) -> Self {
        self.clients = if clients == 0 { 1 } else { clients };
        self
    }

    /// Sets how many descriptors or batches each client keeps in flight; at least 1.
    #[must_use]
    pub const fn depth(mut self, depth: usize) -> Self {
        self.depth = if depth == 0 { 1 } else { depth };
        self
    }

    /// Sets the number of operations, members counted one by one. The first tenth is not counted.
    #[must_use]
    pub const fn operations(mut self, operations: u64) -> Self {
        self.operations = operations;
        self.warm_up = operations / 10;
        self
    }

    /// Sets what a client does for each operation besides, in nanoseconds.
    #[must_use]
    pub const fn extra_ns(mut self, ns: u64) -> Self {
        self.extra_ns = ns;
        self
    }

    /// Runs on a device, which may have a past.
    ///
    /// # Panics
    ///
    /// If the device has no such queue.
    pub fn run(&self, device: &mut Simulator) -> Report {
        let client_timing = device.timing().client.clone();
        let start = device.now();
        let mut clients: Vec<_> = (0..self.clients).map(|c| Client::new(c, self.depth, start)).collect();
        let mut begun = vec![0; self.clients * self.depth];
        let (mut idle, mut report, mut counter) = (Idle::new(device), Report::default(), Counter::new(self, start));
        let (mut submitted, mut next) = (0, 0);
        let lost_before = device.tally().lost;
        while counter.completed < self.operations {
            let able = clients.iter().enumerate().filter_map(|(c, client)| Some((client.ready()?, c))).min();
            let (at, client) = match able {
                Some(able) if submitted < self.operations => able,
                // Everybody waits.
                _ => {
                    let Some(completion) = device.next_completion() else { break };
                    counter.completed(&completion, &mut clients, &begun, client_timing.poll_ns, &mut report);
                    continue;
                }
            };
            if let Some(completion) = device.completion_before(at) {
                counter.completed(&completion, &mut clients, &begun, client_timing.poll_ns, &mut report);
                continue;
            }
            let work = &self.works[next];
            let members = u64::from(work.len());
            let mut each = client_timing.prepare_ns + self.extra_ns;
            if work.is_batch() {
                each += (client_timing.idle_penalty_ns as f64 * idle.share(device, at)) as u64;
            }
            let state = &mut clients[client];
            let mut time = at + if state.prepared { 0 } else { members * each };
            if !state.prepared {
                state.begin = at;
            }
            let slot = state.slots.front().map_or(0, |s| s.1);
            let answer = device.submit(time, self.queue, work.clone(), slot as u64);
            time = answer.free_at;
            state.prepared = false;
            match answer.answer {
                Answer::Accepted => {
                    begun[slot] = state.begin;
                    state.slots.pop_front();
                    submitted += members;
                    next = (next + 1) % self.works.len();
                }
                Answer::Retry => {
                    report.retries += 1;
                    state.prepared = true;
                    time += PAUSE_NS;
                }
                // A careful client has credits and never gets here; this one gives up the descriptor.
                Answer::Lost => {
                    counter.lost += members;
                    submitted += members;
                }
            }
            state.free_at = time;
            if counter.completed + counter.lost >= self.operations {
                break;
            }
        }
        report.lost = device.tally().lost - lost_before;
        counter.finish(&mut report);
        report
    }
}

/// A client of a closed loop.
struct Client {
    free_at: u64,
    /// Slots that are free, and since when.
    slots: VecDeque<(u64, usize)>,
    begin: u64,
    /// A descriptor is ready that was refused.
    prepared: bool,
}

impl Client {
    fn new(index: usize, depth: usize, start: u64) -> Self {
        let slots = (0..depth).map(|i| (start, index * depth + i)).collect();
        Self { free_at: start, slots, begin: start, prepared: false }
    }

    /// When it can submit.
    fn ready(&self) -> Option<u64> {
        Some(self.free_at.max(self.slots.front()?.0))
    }
}

/// What a closed loop counts.
struct Counter {
    depth: usize,
    warm_up: u64,
    completed: u64,
    lost: u64,
    /// Operations, bytes and time at the end of the warm-up.
    from: (u64, u64, u64),
    bytes: u64,
    last: u64,
}

impl Counter {
    fn new(load: &ClosedLoop, start: u64) -> Self {
        let warm_up = load.warm_up;
        Self { depth: load.depth, warm_up, completed: 0, lost: 0, from: (0, 0, start), bytes: 0, last: start }
    }

    fn completed(&mut self, c: &Completion, clients: &mut [Client], begun: &[u64], poll: u64, report: &mut Report) {
        let slot = c.tag as usize;
        let seen = c.at + poll;
        clients[slot / self.depth].slots.push_back((seen, slot));
        let warm = self.completed >= self.warm_up;
        self.completed += u64::from(c.operations);
        self.bytes += c.bytes;
        self.last = self.last.max(seen);
        if warm {
            report.latencies.record(seen - begun[slot]);
        } else {
            self.from = (self.completed, self.bytes, self.last);
        }
    }

    fn finish(self, report: &mut Report) {
        report.operations = self.completed - self.from.0;
        report.bytes = self.bytes - self.from.1;
        report.elapsed_ns = self.last - self.from.2;
    }
}

/// How idle the device has been lately.
struct Idle {
    since: u64,
    busy: u64,
    share: f64,
}

impl Idle {
    fn new(device: &Simulator) -> Self {
        Self { since: device.now(), busy: Self::busy(device), share: 1.0 }
    }

    fn busy(device: &Simulator) -> u64 {
        let tally = device.tally();
        tally.read_busy.max(tally.write_busy)
    }

    /// The share of idle time, smoothed over some sixteen calls.
    fn share(&mut self, device: &Simulator, now: u64) -> f64 {
        let busy = Self::busy(device);
        if now > self.since {
            let used = (busy - self.busy) as f64 / (now - self.since) as f64;
            self.share += ((1.0 - used).clamp(0.0, 1.0) - self.share) / 16.0;
            (self.since, self.busy) = (now, busy);
        }
        self.share
    }
}
