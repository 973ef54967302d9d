//! The machine: which cores, what time it is, who else computes.

use std::fs;
use std::time::{Duration, Instant};

use idxd_sys::instr::{rdtsc, rdtsc_ordered};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The two cores that everything runs on.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    /// Where the thread that submits runs.
    pub(crate) submitter: usize,
    /// Where engines and workers run; the same one, if there is no other.
    pub(crate) device: usize,
    all: CpuSet,
}

impl Cores {
    /// The first two cores that this process may use.
    pub(crate) fn find() -> Self {
        let all = sched_getaffinity(None).expect("a process may look at its own cores");
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        let submitter = allowed.next().expect("this runs somewhere");
        Self { submitter, device: allowed.next().unwrap_or(submitter), all }
    }

    /// Whether there are two.
    pub(crate) fn are_two(&self) -> bool {
        self.submitter != self.device
    }

    /// Keeps the calling thread, and the threads that it starts from now on, on one core.
    pub(crate) fn pin(cpu: usize) {
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(None, &one).expect("the core is one of ours");
    }

    /// Does something whose threads are to run on the device's core; the caller itself stays where it belongs.
    pub(crate) fn on_device<T>(&self, make: impl FnOnce() -> T) -> T {
        Self::pin(self.device);
        let result = make();
        Self::pin(self.submitter);
        result
    }

    /// Does something whose threads may run anywhere.
    pub(crate) fn anywhere<T>(&self, make: impl FnOnce() -> T) -> T {
        sched_setaffinity(None, &self.all).expect("these were the cores before");
        let result = make();
        Self::pin(self.submitter);
        result
    }
}

/// Ticks of the time-stamp counter as nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Ticks {
    per_ns: f64,
}

impl Ticks {
    /// Measures the counter against the system's clock, for 30 ms.
    pub(crate) fn calibrate() -> Self {
        let (clock, counter) = (Instant::now(), rdtsc_ordered());
        std::thread::sleep(Duration::from_millis(30));
        let (nanos, ticks) = (clock.elapsed().as_nanos() as f64, rdtsc_ordered() - counter);
        Self { per_ns: ticks as f64 / nanos }
    }

    pub(crate) fn nanos(self, ticks: u64) -> f64 {
        ticks as f64 / self.per_ns
    }

    pub(crate) fn of_nanos(self, nanos: f64) -> f64 {
        nanos * self.per_ns
    }

    /// Millions a second.
    pub(crate) fn megahertz(self) -> f64 {
        self.per_ns * 1e3
    }
}

/// Looks at the counter until a time has gone by: a sleep takes some 60 us more than it is asked for.
pub(crate) fn spin_for(ticks: Ticks, duration: Duration) {
    let until = rdtsc() + ticks.of_nanos(duration.as_nanos() as f64) as u64;
    while rdtsc() < until {
        std::hint::spin_loop();
    }
}

/// CPU time of the calling thread and of the process, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) thread: u64,
    pub(crate) process: u64,
}

impl CpuTime {
    pub(crate) fn now() -> Self {
        Self { thread: Self::thread(), process: nanos(ClockId::ProcessCPUTime) }
    }

    /// That of the thread alone.
    pub(crate) fn thread() -> u64 {
        nanos(ClockId::ThreadCPUTime)
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { thread: self.thread - earlier.thread, process: self.process - earlier.process }
    }
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// What all cores did since the machine was started, in ticks of `/proc/stat` (a hundredth of a second).
#[derive(Clone, Copy, Debug, Default)]
struct Stat {
    busy: u64,
    stolen: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        // user nice system idle iowait irq softirq steal
        let words: Vec<u64> = text.lines().next()?.split_whitespace().skip(1).flat_map(str::parse).collect();
        let at = |i: usize| words.get(i).copied().unwrap_or(0);
        Some(Self { busy: at(0) + at(1) + at(2) + at(5) + at(6), stolen: at(7) })
    }
}

/// Who else used the machine between two moments.
pub(crate) struct Watch {
    begun: Instant,
    stat: Option<Stat>,
    own: u64,
}

/// What a [`Watch`] saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Seconds that it watched.
    pub(crate) seconds: f64,
    /// Seconds of CPU time that the host gave to others, over all cores; `None` if the system does not say.
    pub(crate) stolen: Option<f64>,
    /// Seconds of CPU time of other processes, over all cores.
    pub(crate) others: Option<f64>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), stat: Stat::read(), own: CpuTime::now().process }
    }

    /// `helpers`: nanoseconds of CPU time of processes that belong to the benchmark.
    pub(crate) fn look(&self, helpers: u64) -> Load {
        let own = (CpuTime::now().process - self.own + helpers) as f64 / 1e9;
        let both = self.stat.zip(Stat::read());
        Load {
            seconds: self.begun.elapsed().as_secs_f64(),
            stolen: both.map(|(before, after)| (after.stolen - before.stolen) as f64 / 100.0),
            others: both.map(|(before, after)| ((after.busy - before.busy) as f64 / 100.0 - own).max(0.0)),
        }
    }
}

/// What kind of CPU this is, by its own words.
pub(crate) fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map_or("?", |(_, value)| value.trim()).to_owned()
    };
    format!("{} (family {}, model {})", field("model name"), field("cpu family"), field("model"))
}
