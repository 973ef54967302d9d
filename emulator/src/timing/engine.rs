//! The engines of a simulated device, and the paths to memory that they share.
//!
//! An engine starts descriptors one after another; what they wait for in memory overlaps. It passes data on in pieces,
//! so that engines with long transfers take turns with others. It may be ahead of the shared path by what its buffer
//! holds: while it is stopped by a destination's first line, the buffer keeps the path busy.
//!
//! An engine holds two batches at most: the list of one is read while the members of the other are started. Members
//! and single descriptors take turns. A blocked engine does nothing else until its pages are there.

use idxd_sys::status;

use super::operation::{Cost, LINE, Operation};
use super::simulator::Simulator;

/// Bytes of a turn on a shared path.
const PIECE: u64 = 4096;

/// Something that becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// An engine can go on. Only the latest token of an engine counts.
    Step { engine: usize, token: u64 },
    /// A descriptor or batch has completed.
    Done { flight: u32 },
}

/// A path that one piece after another uses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    free: u64,
    pub(super) busy: u64,
}

impl Path {
    /// Uses the path for `time` from `earliest` on, and returns when that begins and ends.
    fn take(&mut self, earliest: u64, time: u64) -> (u64, u64) {
        let start = self.free.max(earliest);
        self.free = start + time;
        self.busy += time;
        (start, self.free)
    }
}

/// The paths to memory.
pub(super) struct Paths {
    pub(super) read: Path,
    pub(super) write: Path,
    /// The system, which serves page requests.
    requests: Path,
    /// Groups with fewer read buffers: picoseconds for a byte, and their own path.
    groups: Vec<Option<(f64, Path)>>,
}

impl Paths {
    pub(super) fn new(groups: usize) -> Self {
        Self { read: Path::default(), write: Path::default(), requests: Path::default(), groups: vec![None; groups] }
    }

    pub(super) fn limit(&mut self, group: usize, rate: Option<f64>) {
        self.groups[group] = rate.map(|rate| (rate, Path::default()));
    }
}

/// A batch whose members an engine starts.
#[derive(Clone, Copy)]
struct Batch {
    flight: u32,
    /// When its list has been read.
    ready: u64,
}

/// The operation under way.
struct Running {
    flight: u32,
    member: bool,
    cost: Cost,
    /// Bytes to go.
    left: u64,
    started: u64,
    /// When the shared paths have taken what it has passed on so far.
    drained: u64,
    bytes: u64,
    status: u8,
}

/// A queue's turn, and what is left of it.
#[derive(Clone, Copy)]
struct Turn {
    queue: usize,
    credit: u8,
}

/// One engine.
pub(super) struct Engine {
    pub(super) group: usize,
    queues: Vec<(usize, u8)>,
    /// Whose turn it is: among single descriptors, and among batches.
    turns: [Turn; 2],
    batches: Vec<Batch>,
    running: Option<Running>,
    /// When the shared paths have taken everything of this engine.
    drained: u64,
    /// It has nothing to start, though it may know when it will have.
    idle: bool,
    token: u64,
    /// The last one started came from a batch.
    member_last: bool,
}

impl Engine {
    pub(super) fn new(group: usize, queues: Vec<(usize, u8)>) -> Self {
        let credit = queues.first().map_or(0, |q| q.1);
        Self {
            group,
            queues,
            turns: [Turn { queue: 0, credit }; 2],
            batches: Vec::with_capacity(2),
            running: None,
            drained: 0,
            idle: true,
            token: 0,
            member_last: false,
        }
    }

    fn has_room(&self) -> bool {
        self.batches.len() < 2
    }
}

impl Simulator {
    /// Sets an idle engine to work that can take the queue's first descriptor.
    pub(super) fn wake_one(&mut self, queue: usize, time: u64) {
        let q = &self.queues[queue];
        let Some(first) = q.entries.front() else { return };
        let batch = self.flights[*first as usize].as_ref().is_some_and(|f| f.work.is_batch());
        let able = |e: &Engine| e.idle && e.group == q.group && (!batch || e.has_room());
        if let Some(engine) = self.engines.iter().position(able) {
            self.step_at(engine, time);
        }
    }

    fn step_at(&mut self, engine: usize, time: u64) {
        let e = &mut self.engines[engine];
        e.idle = false;
        e.token += 1;
        let token = e.token;
        self.schedule(time, Event::Step { engine, token });
    }

    pub(super) fn step(&mut self, engine: usize, token: u64, time: u64) {
        if self.engines[engine].token != token {
            return;
        }
        if self.engines[engine].running.is_some() {
            return self.piece(engine, time);
        }
        while self.engines[engine].has_room()
            && let Some(flight) = self.take(engine, true)
        {
            self.fetch(engine, flight, time);
        }
        let single_first = self.engines[engine].member_last;
        for single in [single_first, !single_first] {
            if single {
                if let Some(flight) = self.take(engine, false) {
                    let operation = self.flight(flight).work.member(0);
                    return self.start(engine, flight, false, operation, time);
                }
            } else if self.start_member(engine, time) {
                return;
            }
        }
        // Nothing now. If a batch is on its way, or a fence will open, that is when to look again.
        let next = self.engines[engine].batches.iter().map(|b| self.startable(*b)).min();
        if let Some(next) = next {
            self.step_at(engine, next.max(time));
        }
        self.engines[engine].idle = true;
    }

    /// Takes a batch, or a single descriptor, whichever is asked for, by the priorities of the queues.
    fn take(&mut self, engine: usize, batch: bool) -> Option<u32> {
        let Engine { queues, turns, .. } = &mut self.engines[engine];
        let turn = &mut turns[usize::from(batch)];
        for _ in 0..=queues.len() {
            let (queue, _) = *queues.get(turn.queue)?;
            let first = self.queues[queue].entries.front().copied();
            let fits = |i: u32| self.flights[i as usize].as_ref().is_some_and(|f| f.work.is_batch() == batch);
            if turn.credit != 0 && first.is_some_and(fits) {
                turn.credit -= 1;
                return self.queues[queue].entries.pop_front();
            }
            turn.queue = (turn.queue + 1) % queues.len();
            turn.credit = queues[turn.queue].1;
        }
        None
    }

    /// Reads the list of a batch.
    fn fetch(&mut self, engine: usize, flight: u32, time: u64) {
        let bytes = u64::from(self.flight(flight).work.len()) * LINE;
        let (_, end) = self.paths.read.take(time, (bytes as f64 * self.rates.read) as u64);
        let ready = end + self.rates.fetch(bytes);
        self.flight(flight).operations = 0;
        if bytes == 0 {
            return self.end_batch(flight, ready);
        }
        self.engines[engine].batches.push(Batch { flight, ready });
    }

    /// When the next member of a batch can start.
    fn startable(&self, batch: Batch) -> u64 {
        let Some(flight) = &self.flights[batch.flight as usize] else { return batch.ready };
        let fence = flight.work.member(flight.next).fence && flight.next != 0;
        if fence { batch.ready.max(flight.latest) } else { batch.ready }
    }

    /// Starts the next member of the first batch that has one for now.
    fn start_member(&mut self, engine: usize, time: u64) -> bool {
        let batches = &self.engines[engine].batches;
        let Some(place) = batches.iter().position(|b| self.startable(*b) <= time) else { return false };
        let index = batches[place].flight;
        let flight = self.flight(index);
        let operation = flight.work.member(flight.next);
        let abandoned = operation.fence && flight.status != status::SUCCESS;
        flight.next += 1;
        let last = flight.next == flight.work.len();
        if abandoned {
            self.engines[engine].batches.remove(place);
            self.end_batch(index, time);
            self.step_at(engine, time);
            return true;
        }
        if last {
            self.engines[engine].batches.remove(place);
        }
        self.start(engine, index, true, operation, time);
        true
    }

    fn start(&mut self, engine: usize, flight: u32, member: bool, operation: Operation, time: u64) {
        let (mut begin, mut bytes, mut status) = (time, operation.moved(), status::SUCCESS);
        let mut report = 0;
        if let Some(absent) = operation.absent {
            if operation.block_on_fault {
                // One page request after another, of all engines.
                begin = self.paths.requests.take(time, u64::from(absent.pages) * self.rates.page_request).1;
            } else {
                bytes = bytes.min(u64::from(absent.offset));
                status = status::PAGE_FAULT;
                report = self.rates.fault_report;
            }
        }
        let mut cost = self.rates.cost(&operation, bytes, self.rng.as_mut());
        cost.tail += report;
        if Self::is_drain(&operation) && !member {
            let before = self.before(flight);
            if before != 0 {
                let queue = self.flight(flight).queue;
                self.queues[queue].drains.push((flight, before));
                return self.step_at(engine, time + self.rates.dispatch);
            }
        }
        begin += cost.before;
        self.engines[engine].member_last = member;
        let running = Running { flight, member, cost, left: bytes, started: time, drained: begin, bytes, status };
        self.engines[engine].running = Some(running);
        if begin == time { self.piece(engine, time) } else { self.step_at(engine, begin) }
    }

    /// Passes on a piece of the running operation, or ends it.
    fn piece(&mut self, engine: usize, time: u64) {
        let rates = &self.rates;
        let e = &mut self.engines[engine];
        let Some(running) = &mut e.running else { return };
        let piece = running.left.min(PIECE);
        running.left -= piece;
        let engine_end = time + (piece as f64 * rates.engine) as u64;
        let (mut write_from, mut end) = (time, time);
        if running.cost.reads != 0 {
            let bytes = (piece * running.cost.reads) as f64;
            let (start, read) = self.paths.read.take(time, (bytes * rates.read) as u64);
            (write_from, end) = (start, read);
            if let Some((rate, own)) = &mut self.paths.groups[e.group] {
                end = end.max(own.take(time, (bytes * *rate) as u64).1);
            }
        }
        if running.cost.writes != 0 {
            let bytes = (piece * running.cost.writes) as f64;
            end = end.max(self.paths.write.take(write_from, (bytes * rates.write) as u64).1);
        }
        running.drained = running.drained.max(end).max(engine_end);
        e.drained = e.drained.max(running.drained);
        let next = engine_end.max(e.drained.saturating_sub(rates.buffered));
        if running.left == 0 { self.end(engine, time, next) } else { self.step_at(engine, next) }
    }

    /// The engine has passed on everything of the running operation; it is done with it at `next`.
    fn end(&mut self, engine: usize, time: u64, next: u64) {
        let e = &mut self.engines[engine];
        let Some(running) = e.running.take() else { return };
        let free = (next + running.cost.after).max(running.started + self.rates.dispatch);
        let record = self.rates.record_path;
        self.paths.write.take(time, record);
        let completes = running.drained + running.cost.tail;
        let index = running.flight;
        let flight = self.flight(index);
        flight.bytes += running.bytes;
        if running.member {
            flight.operations += 1;
            flight.latest = flight.latest.max(completes);
            if running.status != status::SUCCESS {
                flight.status = status::BATCH_FAIL;
            }
            if flight.next == flight.work.len() {
                self.end_batch(index, time);
            }
        } else {
            flight.status = running.status;
            self.schedule(completes, Event::Done { flight: index });
        }
        self.step_at(engine, free);
    }

    /// All members of a batch that are going to start have done so, the last one at `time`.
    fn end_batch(&mut self, flight: u32, time: u64) {
        let done = self.flight(flight).latest.max(time) + self.rates.record;
        self.schedule(done, Event::Done { flight });
    }
}
