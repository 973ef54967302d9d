//! The experiments behind the published figures, as the sources describe them.
//!
//! Each runs on a device of its own, with the parameters under test, and has one submitting program. Nothing here is
//! fitted to a single figure, but for one number that its place explains.

use idxd_sys::opcode;

use super::closed_loop::ClosedLoop;
use super::operation::{Operation, Work};
use super::parameters::Timing;
use super::simulator::{Answer, Simulator};
use crate::config::{Config, Mode, WqConfig};

/// What an experiment found. Everything here is modelled.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Time for each operation, in nanoseconds.
    pub ns: f64,
    /// Throughput in bytes a nanosecond.
    pub bytes_per_ns: f64,
    /// A number that is neither, where the experiment counts something.
    pub count: f64,
}

impl Outcome {
    fn of(ns: f64, bytes: u32) -> Self {
        Self { ns, bytes_per_ns: f64::from(bytes) / ns, count: 0.0 }
    }
}

/// An experiment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Experiment {
    /// Clients keep descriptors, or batches of them, in flight.
    Loop {
        /// The operation.
        operation: Operation,
        /// Members of a batch; 0 for single descriptors.
        batch: u32,
        /// Descriptors or batches in flight for each client.
        depth: usize,
        /// Submitting threads.
        clients: usize,
        /// Engines.
        engines: usize,
        /// Shared or dedicated queue.
        mode: Mode,
        /// Its entries.
        entries: u16,
    },
    /// Batches of 32 whose members are of two sizes, one of `one_in` larger; 80 in flight, four engines.
    TwoSizes {
        /// The usual size in bytes.
        small: u32,
        /// The other size in bytes.
        large: u32,
        /// How many of the usual size there are for one of the other, plus 1.
        one_in: u32,
    },
    /// A thread touches every page of the destination, then copies it in batches of 32, 20 in flight.
    Touch {
        /// Bytes of a copy.
        bytes: u32,
        /// Bytes of a page.
        page: u32,
        /// What a touch takes, in nanoseconds.
        touch_ns: u64,
        /// All pages before the first copy, instead of those of a copy before that copy.
        all_first: bool,
    },
    /// Copies to absent pages, in batches of 32, 20 in flight: each fault ends a copy, the thread writes to the page
    /// and submits the batch again.
    Resume {
        /// Bytes of a copy.
        bytes: u32,
        /// What it takes to bring a page in, in nanoseconds.
        resolve_ns: u64,
    },
    /// One long operation, then short ones until the long one has completed: how many of them did before.
    Overtaking {
        /// The operation.
        opcode: u8,
        /// Bytes of the first.
        first: u32,
        /// Bytes of the others.
        others: u32,
        /// What the thread does between two submissions besides, in nanoseconds.
        scan_ns: u64,
    },
    /// One synchronous copy of which the CPU does a part at the same time: the fastest split.
    Split {
        /// Bytes of the copy.
        bytes: u32,
        /// The CPU's part at most, in percent.
        most_percent: u32,
    },
    /// Throughput of a queue of so many entries, as a part of what one of 128 gives.
    Entries {
        /// Entries.
        entries: u16,
    },
}

impl Experiment {
    /// Single synchronous operations on a device with one engine.
    pub const fn synchronous(opcode: u8, bytes: u32) -> Self {
        Self::Loop {
            operation: Operation::new(opcode, bytes),
            batch: 0,
            depth: 1,
            clients: 1,
            engines: 1,
            mode: Mode::Shared,
            entries: 128,
        }
    }

    /// One thread with batches of 32 on a shared queue, 80 in flight on four engines and 20 on fewer.
    pub const fn batched(opcode: u8, bytes: u32, engines: usize) -> Self {
        Self::Loop {
            operation: Operation::new(opcode, bytes),
            batch: 32,
            depth: if engines >= 4 { 80 } else { 20 },
            clients: 1,
            engines,
            mode: Mode::Shared,
            entries: 128,
        }
    }

    /// Runs it.
    ///
    /// # Panics
    ///
    /// If the parameters are impossible, or the experiment asks for more than a Sapphire Rapids device has.
    pub fn run(&self, timing: &Timing) -> Outcome {
        match *self {
            Self::Loop { operation, batch, depth, clients, engines, mode, entries } => {
                let work = if batch == 0 { Work::One(operation) } else { Work::Same { of: operation, count: batch } };
                let mut device = device(timing, engines, mode, entries);
                let load = ClosedLoop::new(work).clients(clients).depth(depth);
                let report = load.operations(enough(operation.bytes, batch, depth * clients)).run(&mut device);
                Outcome::of(report.ns_per_operation(), operation.bytes)
            }
            Self::TwoSizes { small, large, one_in } => two_sizes(timing, small, large, one_in),
            Self::Touch { bytes, page, touch_ns, all_first } => {
                // The part of a page that a copy covers.
                let touch = touch_ns * u64::from(bytes) / u64::from(page);
                let work = Work::Same { of: Operation::new(opcode::MEMMOVE, bytes), count: 32 };
                let load = ClosedLoop::new(work).depth(20).operations(enough(bytes, 32, 20));
                let load = if all_first { load } else { load.extra_ns(touch) };
                let copied = load.run(&mut device(timing, 4, Mode::Shared, 128)).ns_per_operation();
                Outcome::of(copied + if all_first { touch as f64 } else { 0.0 }, bytes)
            }
            Self::Resume { bytes, resolve_ns } => resume(timing, bytes, resolve_ns),
            Self::Overtaking { opcode, first, others, scan_ns } => overtaking(timing, opcode, first, others, scan_ns),
            Self::Split { bytes, most_percent } => {
                let split = |percent: u32| {
                    let by_cpu = (u64::from(bytes) * u64::from(percent) / 100) as u32;
                    let device = Self::synchronous(opcode::MEMMOVE, bytes - by_cpu).run(timing).ns;
                    device.max(timing.cpu_copy_ns(u64::from(by_cpu)) as f64)
                };
                let steps = (0..=most_percent.min(99)).step_by(3);
                Outcome::of(steps.map(split).fold(f64::INFINITY, f64::min), bytes)
            }
            Self::Entries { entries } => {
                let with = |entries| {
                    let load = ClosedLoop::new(Operation::new(opcode::MEMMOVE, 4096)).clients(4);
                    let load = load.depth(usize::from(entries) / 4).operations(20_000);
                    load.run(&mut device(timing, 4, Mode::Shared, entries)).bytes_per_ns()
                };
                let count = with(entries) / with(128);
                Outcome { ns: 0.0, bytes_per_ns: 0.0, count }
            }
        }
    }
}

/// A device with one queue.
fn device(timing: &Timing, engines: usize, mode: Mode, entries: u16) -> Simulator {
    let queue = match mode {
        Mode::Shared => WqConfig::shared(entries),
        Mode::Dedicated => WqConfig::dedicated(entries),
    };
    let config = Config::sapphire_rapids().queue(queue).engines(engines);
    Simulator::new(config, timing.clone()).expect("an experiment fits the device and its parameters")
}

/// Operations until the load is even: some rounds of everything in flight, and not more bytes than needed.
fn enough(bytes: u32, batch: u32, in_flight: usize) -> u64 {
    let round = in_flight as u64 * u64::from(batch.max(1));
    let long = (256u64 << 20) / u64::from(bytes.max(1));
    long.clamp(2 * round, (20 * round).max(4_000))
}

fn two_sizes(timing: &Timing, small: u32, large: u32, one_in: u32) -> Outcome {
    let member = |i: u32| Operation::new(opcode::MEMMOVE, if i % one_in == one_in / 2 { large } else { small });
    // As many batches as it takes for the pattern to come round, more or less.
    let batches = one_in.div_ceil(32).max(1);
    let list = |b: u32| Work::from((32 * b..32 * b + 32).map(member).collect::<Vec<_>>());
    let load = ClosedLoop::cycle((0..batches).map(list).collect()).depth(80).operations(40_000);
    let report = load.run(&mut device(timing, 4, Mode::Shared, 128));
    let ns = report.ns_per_operation();
    Outcome { ns, bytes_per_ns: report.bytes_per_ns(), count: 0.0 }
}

fn resume(timing: &Timing, bytes: u32, resolve_ns: u64) -> Outcome {
    const MEMBERS: u32 = 32;
    const PAGE: u32 = 4096;
    let mut device = device(timing, 4, Mode::Shared, 128);
    let client = timing.client.clone();
    // The first attempt finds the first page absent, each further one moves a page and finds the next; the last one
    // moves a page and is done.
    let attempt = |round: u32| {
        let left = bytes - PAGE * round.saturating_sub(1);
        let copy = Operation::new(opcode::MEMMOVE, left);
        let of = match round {
            0 => copy.absent(0, 1),
            _ if left > PAGE => copy.absent(PAGE, 1),
            _ => copy,
        };
        Work::Same { of, count: MEMBERS }
    };
    let (batches, mut started, mut ended) = (200u64, 0, 0);
    let mut rounds = [0; 20];
    let mut now = 0;
    for (slot, _) in rounds.iter().enumerate() {
        now += u64::from(MEMBERS) * client.prepare_ns;
        now = device.submit(now, 0, attempt(0), slot as u64).free_at;
        started += 1;
    }
    while ended < batches {
        let Some(completion) = device.next_completion() else { break };
        now = now.max(completion.at + client.poll_ns);
        let round = &mut rounds[completion.tag as usize];
        if completion.status == idxd_sys::status::SUCCESS {
            ended += 1;
            *round = 0;
            if started == batches {
                continue;
            }
            started += 1;
        } else {
            now += u64::from(MEMBERS) * resolve_ns;
            *round += 1;
        }
        now += u64::from(MEMBERS) * client.prepare_ns;
        now = device.submit(now, 0, attempt(*round), completion.tag).free_at;
    }
    Outcome::of(now as f64 / (ended * u64::from(MEMBERS)) as f64, bytes)
}

fn overtaking(timing: &Timing, opcode: u8, first: u32, others: u32, scan_ns: u64) -> Outcome {
    let mut device = device(timing, 4, Mode::Shared, 128);
    let client = timing.client.clone();
    let mut now = device.submit(client.prepare_ns, 0, Operation::new(opcode, first), 0).free_at;
    let mut overtook = 0u64;
    loop {
        while let Some(completion) = device.completion_before(now.saturating_sub(client.poll_ns)) {
            if completion.tag == 0 {
                let count = overtook as f64;
                return Outcome {
                    ns: completion.at as f64,
                    bytes_per_ns: f64::from(first) / completion.at as f64,
                    count,
                };
            }
            overtook += 1;
        }
        let submitted = device.submit(now + client.prepare_ns + scan_ns, 0, Operation::new(opcode, others), 1);
        now = submitted.free_at;
        debug_assert_eq!(submitted.answer, Answer::Accepted);
    }
}
