//! Threads and a device in virtual time.
//!
//! A thread does one thing after another: it takes a request, asks the policy, and either copies itself or submits; and
//! between requests it notices what has completed. So a thread that copies is late to notice, as it is in an executor.
//! Every request, done either way, ends when its thread knows.
//!
//! The device is the timing model's, a shared queue of 64 with four engines, with latencies at their means: then nothing is ever
//! faster than on an idle device, which the lower bounds build on. The copies by the CPU take what one core was published to take, whatever
//! the others do: that processors share memory's bandwidth too is not modelled, and favours the CPU.

use std::collections::VecDeque;

use dsa_emulator::timing::{Answer, Operation, Simulator, Timing};
use dsa_emulator::{Config, WqConfig};
use idxd_sys::opcode;

use crate::loads::{Load, Request, THREADS};

/// Entries of the queue.
pub(crate) const ENTRIES: u16 = 64;
/// Engines behind it.
pub(crate) const ENGINES: u32 = 4;
/// What it costs a thread to notice a completion, in nanoseconds: what the reference measured of an executor, a slot and
/// a waker above doing the same without.
pub(crate) const NOTICE: u64 = 85;
/// Between two attempts at a full queue, in nanoseconds.
const PAUSE: u64 = 30;
/// Attempts before a policy is asked again.
const ATTEMPTS: u32 = 16;
/// A copy by one core: bytes, and nanoseconds; published (LIGHT `DSA_speed_seq`: 5.9, 5.1, 8.9 and 9.7 GB/s).
const CPU_COPY: [(u64, f64); 4] = [(64, 10.8), (1 << 10, 200.8), (4 << 10, 460.2), (1 << 20, 108_101.0)];

/// What the CPU takes for a copy, in nanoseconds.
pub(crate) fn cpu_copy(bytes: u64) -> u64 {
    let line = CPU_COPY.windows(2).find(|pair| bytes <= pair[1].0).unwrap_or(&CPU_COPY[CPU_COPY.len() - 2..]);
    let [(from, low), (to, high)] = [line[0], line[1]];
    let slope = (high - low) / (to - from) as f64;
    ((low + (bytes as f64 - from as f64) * slope) as u64).max(1)
}

/// Who does a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Device,
    Cpu,
}

/// What a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) number: usize,
    pub(crate) thread: usize,
    pub(crate) bytes: u64,
    pub(crate) now: u64,
    /// Requests of this thread that are with the device.
    pub(crate) in_flight: u32,
    /// Whether the queue has refused it.
    pub(crate) refused: bool,
}

/// A dispatch policy.
pub(crate) trait Policy {
    fn choose(&mut self, question: &Question) -> Side;
    /// The thread knows that the device has done it: the last look that found it under way, and the one that found it done, in
    /// nanoseconds after the thread has turned to it.
    fn by_device(&mut self, _number: usize, _bytes: u64, _pending: u64, _complete: u64) {}
    /// The thread has done it itself.
    fn by_cpu(&mut self, _number: usize, _bytes: u64, _nanoseconds: u64) {}
}

/// What came out, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// From the request until the thread knew, of each.
    pub(crate) completions: Vec<u64>,
    /// For how long the threads were busy with it all.
    pub(crate) cpu_time: u64,
    /// When the last was done.
    pub(crate) makespan: u64,
    /// How many the device did.
    pub(crate) by_device: usize,
    /// Attempts that were refused.
    pub(crate) refusals: u64,
}

/// A device as the lab uses it.
pub(crate) fn device() -> Simulator {
    let config = Config::sapphire_rapids().queue(WqConfig::shared(ENTRIES)).engines(ENGINES as usize);
    Simulator::new(config, Timing::sapphire_rapids()).expect("a preset is valid")
}

/// What a device does to be asked for.
pub(crate) fn copy(bytes: u64) -> Operation {
    Operation::new(opcode::MEMMOVE, bytes as u32)
}

/// What a thread is about to do.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Nothing,
    /// To submit, for the n-th time.
    Submit {
        number: usize,
        begun: u64,
        attempts: u32,
    },
}

struct Thread {
    free_at: u64,
    todo: VecDeque<usize>,
    doing: Doing,
    /// Completed and not noticed: when it could be, and which.
    completed: VecDeque<(u64, usize)>,
    in_flight: u32,
    /// When it last looked for completions.
    looked: u64,
    /// In a closed load: when the next is asked for; none while one is out.
    next_at: Option<u64>,
}

/// One run.
struct Run<'a> {
    load: &'a Load,
    device: Simulator,
    threads: Vec<Thread>,
    tenant: Foreign,
    /// When each was asked for, and when its thread turned to it.
    asked: Vec<u64>,
    begun: Vec<u64>,
    outcome: Outcome,
}

/// The second tenant.
struct Foreign {
    next_at: u64,
    in_flight: usize,
}

/// Tags of the second tenant's descriptors.
const FOREIGN: u64 = u64::MAX;

/// Runs a load.
pub(crate) fn run(load: &Load, policy: &mut dyn Policy) -> Outcome {
    let thread = |number| Thread {
        free_at: 0,
        todo: (0..load.requests.len()).filter(|index| load.requests[*index].thread == number).collect(),
        doing: Doing::Nothing,
        completed: VecDeque::new(),
        in_flight: 0,
        looked: 0,
        next_at: load.closed.then_some(0),
    };
    let mut run = Run {
        load,
        device: device(),
        threads: (0..THREADS).map(thread).collect(),
        tenant: Foreign { next_at: if load.tenant.is_some() { 0 } else { u64::MAX }, in_flight: 0 },
        asked: load.requests.iter().map(|request| request.at).collect(),
        begun: vec![0; load.requests.len()],
        outcome: Outcome { completions: vec![0; load.requests.len()], ..Outcome::default() },
    };
    let mut left = load.requests.len();
    while left != 0 {
        // Whoever is first; a completion may make a thread ready earlier than any is now.
        let next = (0..THREADS).filter_map(|thread| Some((run.ready(thread)?, thread))).min();
        let at = next.map_or(u64::MAX, |(at, _)| at).min(run.tenant.next_at);
        let completion = if at == u64::MAX { run.device.next_completion() } else { run.device.completion_before(at) };
        if let Some(completion) = completion {
            let seen = completion.at + run.device.timing().client.poll_ns;
            if completion.tag == FOREIGN {
                run.tenant.in_flight -= 1;
                run.tenant.next_at = run.tenant.next_at.min(seen);
            } else {
                let number = completion.tag as usize;
                run.threads[load.requests[number].thread].completed.push_back((seen, number));
            }
            continue;
        }
        match next {
            Some((ready, thread)) if ready <= run.tenant.next_at => {
                left -= usize::from(run.step(thread, ready, policy));
            }
            _ => run.foreign(),
        }
    }
    run.outcome
}

impl Run<'_> {
    /// When a thread can do its next step.
    fn ready(&self, thread: usize) -> Option<u64> {
        let thread = &self.threads[thread];
        if let Doing::Submit { .. } = thread.doing {
            return Some(thread.free_at);
        }
        let completed = thread.completed.front().map(|(at, _)| *at);
        let asked =
            thread.todo.front().map(|number| if self.load.closed { thread.next_at } else { Some(self.asked[*number]) });
        let first = [completed, asked.flatten()].into_iter().flatten().min()?;
        Some(first.max(thread.free_at))
    }

    /// Lets a thread do a step; says whether a request has ended by it.
    fn step(&mut self, index: usize, at: u64, policy: &mut dyn Policy) -> bool {
        let thread = &mut self.threads[index];
        if let Doing::Submit { number, begun, attempts } = thread.doing {
            return self.submit(index, number, begun, attempts, at, policy);
        }
        if let Some(&(seen, number)) = thread.completed.front()
            && seen <= at
        {
            thread.completed.pop_front();
            thread.in_flight -= 1;
            thread.free_at = at + NOTICE;
            self.outcome.cpu_time += NOTICE;
            self.outcome.by_device += 1;
            // A thread that had nothing else to do was looking all the time.
            let pending = if seen == at { at } else { thread.looked };
            let since = |time: u64| time.saturating_sub(self.begun[number]);
            policy.by_device(number, self.load.requests[number].bytes, since(pending), since(at + NOTICE));
            thread.looked = at;
            self.ended(index, number, at + NOTICE);
            return true;
        }
        thread.looked = at;
        let number = thread.todo.pop_front().expect("it was ready for this");
        if let Some(at) = thread.next_at.take() {
            self.asked[number] = at;
        }
        self.begun[number] = at;
        match policy.choose(&self.question(index, number, at, false)) {
            Side::Cpu => self.copy(index, number, at, policy),
            Side::Device => {
                let prepare = self.device.timing().client.prepare_ns;
                self.outcome.cpu_time += prepare;
                let thread = &mut self.threads[index];
                thread.free_at = at + prepare;
                thread.doing = Doing::Submit { number, begun: at, attempts: 0 };
                false
            }
        }
    }

    fn question(&self, thread: usize, number: usize, now: u64, refused: bool) -> Question {
        let Request { bytes, .. } = self.load.requests[number];
        Question { number, thread, bytes, now, in_flight: self.threads[thread].in_flight, refused }
    }

    fn submit(
        &mut self,
        index: usize,
        number: usize,
        begun: u64,
        tried: u32,
        at: u64,
        policy: &mut dyn Policy,
    ) -> bool {
        let question = self.question(index, number, at, tried == ATTEMPTS);
        let mut attempts = tried;
        if attempts == ATTEMPTS {
            if policy.choose(&question) == Side::Cpu {
                self.threads[index].doing = Doing::Nothing;
                return self.copy(index, number, at, policy);
            }
            attempts = 0;
        }
        let submitted = self.device.submit(at, 0, copy(question.bytes), number as u64);
        let thread = &mut self.threads[index];
        thread.free_at = submitted.free_at;
        if submitted.answer == Answer::Accepted {
            thread.doing = Doing::Nothing;
            thread.in_flight += 1;
        } else {
            thread.free_at += PAUSE;
            thread.doing = Doing::Submit { number, begun, attempts: attempts + 1 };
            self.outcome.refusals += 1;
        }
        self.outcome.cpu_time += thread.free_at - at;
        false
    }

    fn copy(&mut self, index: usize, number: usize, at: u64, policy: &mut dyn Policy) -> bool {
        let bytes = self.load.requests[number].bytes;
        let time = cpu_copy(bytes);
        self.threads[index].free_at = at + time;
        self.outcome.cpu_time += time;
        policy.by_cpu(number, bytes, time);
        self.ended(index, number, at + time);
        true
    }

    fn ended(&mut self, index: usize, number: usize, at: u64) {
        self.outcome.completions[number] = at - self.asked[number];
        self.outcome.makespan = self.outcome.makespan.max(at);
        if self.load.closed {
            let thread = &mut self.threads[index];
            thread.next_at = thread.todo.front().map(|next| at + self.load.requests[*next].at);
        }
    }

    /// The second tenant submits one, or waits.
    fn foreign(&mut self) {
        let Some(tenant) = self.load.tenant else { return };
        let (at, cycle) = (self.tenant.next_at, tenant.present + tenant.absent);
        if at % cycle >= tenant.present {
            self.tenant.next_at = at.next_multiple_of(cycle);
        } else if self.tenant.in_flight >= tenant.depth {
            // Until one of his completes.
            self.tenant.next_at = u64::MAX;
        } else {
            let submitted = self.device.submit(at, 0, copy(tenant.bytes), FOREIGN);
            let accepted = submitted.answer == Answer::Accepted;
            self.tenant.in_flight += usize::from(accepted);
            self.tenant.next_at = submitted.free_at + if accepted { 0 } else { 1_000 };
        }
    }
}
