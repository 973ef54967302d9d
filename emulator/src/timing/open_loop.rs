//! An open loop: requests that arrive at a rate, and a policy that says who does them.

use super::operation::Operation;
use super::report::{PAUSE_NS, Report};
use super::simulator::{Answer, Completion, Simulator};
use crate::prng::Prng;

/// A request of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Number of the request, from 0.
    pub index: u64,
    /// When it was made, in nanoseconds.
    pub arrived: u64,
    /// When a thread turns to it, in nanoseconds.
    pub now: u64,
    /// What is to be done.
    pub operation: Operation,
    /// How often a queue has refused it.
    pub attempts: u32,
}

/// What a policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Submit it to this queue.
    Device {
        /// Index of the queue.
        queue: usize,
    },
    /// Do it on the thread that has it, which takes so many nanoseconds.
    Cpu {
        /// Nanoseconds.
        ns: u64,
    },
}

/// A dispatch policy under study. Closures are policies.
pub trait Policy {
    /// Decides about a request, again after each refusal.
    fn route(&mut self, request: &Request, device: &Simulator) -> Route;

    /// Hears of a completion.
    fn completed(&mut self, _completion: &Completion) {}
}

impl<F: FnMut(&Request, &Simulator) -> Route> Policy for F {
    fn route(&mut self, request: &Request, device: &Simulator) -> Route {
        self(request, device)
    }
}

/// Requests that arrive at a rate, and threads that dispatch them.
#[derive(Clone, Debug)]
pub struct OpenLoop {
    operations: Vec<Operation>,
    gap_ns: f64,
    seed: Option<u64>,
    threads: usize,
    requests: u64,
}

impl OpenLoop {
    /// 10,000 requests for such an operation, one every `gap_ns` nanoseconds, and one thread.
    pub fn new(operation: Operation, gap_ns: f64) -> Self {
        Self { operations: vec![operation], gap_ns: gap_ns.max(0.0), seed: None, threads: 1, requests: 10_000 }
    }

    /// Lets requests ask for these operations in turn.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn mix(mut self, operations: Vec<Operation>) -> Self {
        assert!(!operations.is_empty(), "a load needs operations");
        self.operations = operations;
        self
    }

    /// Lets requests arrive at random, as a Poisson process of the same rate.
    #[must_use]
    pub const fn poisson(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the number of threads that dispatch; at least 1.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = if threads == 0 { 1 } else { threads };
        self
    }

    /// Sets the number of requests.
    #[must_use]
    pub const fn requests(mut self, requests: u64) -> Self {
        self.requests = requests;
        self
    }

    /// Runs on a device.
    ///
    /// # Panics
    ///
    /// If the policy names a queue that the device does not have.
    pub fn run(&self, device: &mut Simulator, policy: &mut impl Policy) -> Report {
        let client = device.timing().client.clone();
        let start = device.now();
        let mut rng = self.seed.map(Prng::new);
        let mut threads = vec![start; self.threads];
        let mut arrivals = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut report = Report::default();
        let (mut clock, mut last) = (start as f64, start);
        let mut ended = |c: &Completion, report: &mut Report, arrivals: &[u64], free: &mut Vec<usize>| {
            let seen = c.at + client.poll_ns;
            report.operations += 1;
            report.bytes += c.bytes;
            report.latencies.record(seen - arrivals[c.tag as usize]);
            free.push(c.tag as usize);
            last = last.max(seen);
        };
        for index in 0..self.requests {
            clock += match &mut rng {
                None => self.gap_ns,
                // 1 - u is never 0.
                Some(rng) => -self.gap_ns * (1.0 - (rng.next() >> 11) as f64 / (1u64 << 53) as f64).ln(),
            };
            let arrived = clock as u64;
            let operation = self.operations[(index % self.operations.len() as u64) as usize];
            let thread = threads.iter().enumerate().min_by_key(|(_, free)| **free).map_or(0, |(i, _)| i);
            let mut request = Request { index, arrived, now: threads[thread].max(arrived), operation, attempts: 0 };
            let mut prepared = false;
            threads[thread] = loop {
                while let Some(completion) = device.completion_before(request.now) {
                    policy.completed(&completion);
                    ended(&completion, &mut report, &arrivals, &mut free);
                }
                match policy.route(&request, device) {
                    Route::Cpu { ns } => {
                        let end = request.now + ns;
                        report.operations += 1;
                        report.by_cpu += 1;
                        report.bytes += u64::from(operation.bytes);
                        report.latencies.record(end - arrived);
                        // Completions may lie beyond; the later one counts.
                        report.elapsed_ns = report.elapsed_ns.max(end - start);
                        break end;
                    }
                    Route::Device { queue } => {
                        let at = request.now + if prepared { 0 } else { client.prepare_ns };
                        prepared = true;
                        let tag = free.pop().unwrap_or_else(|| {
                            arrivals.push(0);
                            arrivals.len() - 1
                        });
                        arrivals[tag] = arrived;
                        let submitted = device.submit(at, queue, operation, tag as u64);
                        match submitted.answer {
                            Answer::Accepted => break submitted.free_at,
                            Answer::Lost => {
                                report.lost += 1;
                                free.push(tag);
                                break submitted.free_at;
                            }
                            Answer::Retry => {
                                report.retries += 1;
                                request.attempts += 1;
                                request.now = submitted.free_at + PAUSE_NS;
                                free.push(tag);
                            }
                        }
                    }
                }
            };
        }
        while let Some(completion) = device.next_completion() {
            policy.completed(&completion);
            ended(&completion, &mut report, &arrivals, &mut free);
        }
        report.elapsed_ns = report.elapsed_ns.max(last - start);
        report
    }
}
