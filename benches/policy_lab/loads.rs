//! What is asked for, and when.

/// Threads that submit, each with a processor of its own.
pub(crate) const THREADS: usize = 4;

/// A copy that somebody wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// When, in nanoseconds. In a closed load: how long after the thread's last one has completed.
    pub(crate) at: u64,
    /// Which thread has it.
    pub(crate) thread: usize,
    /// How long it is.
    pub(crate) bytes: u64,
}

/// Somebody else at the same queue, who is there for a while and then not for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenant {
    /// Bytes of each of his copies.
    pub(crate) bytes: u64,
    /// How many he keeps in flight.
    pub(crate) depth: usize,
    /// For how long he is there, in nanoseconds.
    pub(crate) present: u64,
    /// For how long he is not, in nanoseconds.
    pub(crate) absent: u64,
}

/// A load.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// What to call it.
    pub(crate) name: &'static str,
    /// What it is like.
    pub(crate) what: &'static str,
    /// In the order of their times.
    pub(crate) requests: Vec<Request>,
    /// Whether a thread asks for the next only when it has the last.
    pub(crate) closed: bool,
    /// The second tenant.
    pub(crate) tenant: Option<Tenant>,
}

/// All loads, with about so many requests each.
pub(crate) fn all(requests: usize, seed: u64) -> Vec<Load> {
    let open = |name, what, requests| Load { name, what, requests, closed: false, tenant: None };
    let mut random = Random(seed);
    let steady_short = poisson(&mut random, requests, 450, |_| 4 << 10);
    let steady_long = poisson(&mut random, requests, 2_600, |_| 64 << 10);
    let overload = poisson(&mut random, requests, 1_300, |_| 64 << 10);
    let mixed = poisson(&mut random, requests, 6_000, Random::size);
    let tenant = poisson(&mut random, requests, 1_600, |_| 16 << 10);
    let noisy = Tenant { bytes: 64 << 10, depth: 60, present: 400_000, absent: 400_000 };
    vec![
        Load {
            closed: true,
            ..open(
                "waiting callers",
                "each thread one copy of 1 KiB to 64 KiB at a time",
                closed(&mut random, requests),
            )
        },
        open("steady, 4 KiB", "at random times, 2.2 million a second", steady_short),
        open("steady, 64 KiB", "at random times, 25 GB/s: 80 % of the device", steady_long),
        open("overload, 64 KiB", "at random times, 50 GB/s: more than the device can", overload),
        open("bursts", "64 copies of 32 KiB at once, every 100 us", bursts(requests)),
        open("mixed sizes", "64 B to 1 MiB, as many of each power of two, 19 GB/s", mixed),
        Load {
            tenant: Some(noisy),
            ..open(
                "second tenant",
                "16 KiB, 10 GB/s; another keeps 60 copies of 64 KiB in the queue, half of the time",
                tenant,
            )
        },
    ]
}

/// Requests at random times, `gap` nanoseconds apart on average, for the threads in turn.
fn poisson(random: &mut Random, count: usize, gap: u64, mut bytes: impl FnMut(&mut Random) -> u64) -> Vec<Request> {
    let mut at = 0.0;
    let mut request = |index: usize| {
        at += random.exponential(gap);
        Request { at: at as u64, thread: index % THREADS, bytes: bytes(random) }
    };
    (0..count).map(&mut request).collect()
}

fn closed(random: &mut Random, count: usize) -> Vec<Request> {
    let request = |index| Request { at: 500, thread: index % THREADS, bytes: 1024 << (random.next() % 7) };
    (0..count).map(request).collect()
}

fn bursts(count: usize) -> Vec<Request> {
    let request = |index| Request { at: index as u64 / 64 * 100_000, thread: index % THREADS, bytes: 32 << 10 };
    (0..count.next_multiple_of(64)).map(request).collect()
}

/// A generator (`SplitMix64`), so that a seed is a load.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A time from an exponential distribution.
    fn exponential(&mut self, mean: u64) -> f64 {
        let uniform = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        -(mean as f64) * (1.0 - uniform).ln()
    }

    /// Any power of two from 64 B to 1 MiB, and some more.
    fn size(&mut self) -> u64 {
        let power = 64u64 << (self.next() % 15);
        if power == 1 << 20 { power } else { power + self.next() % power }
    }
}
