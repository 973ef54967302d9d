//! Time on the hot path: the time-stamp counter where it is constant, the system's monotonic clock otherwise.
//!
//! A reading of the counter costs about 10 ns, [`Instant::now`] about 25 ns and more instructions. Readings are
//! *ticks*; they turn into durations by a factor measured once against the system's clock.

#[cfg(not(dsa_shuttle))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
#[cfg(not(dsa_shuttle))]
use std::time::Instant;

/// Ticks since some moment before the process used this module.
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
#[cfg(not(dsa_shuttle))]
pub(crate) fn now() -> u64 {
    // In one comparison: neither 0 nor `SYSTEM`.
    if RATE.load(Ordering::Relaxed).wrapping_sub(1) < SYSTEM - 1 { idxd_sys::instr::rdtsc() } else { otherwise() }
}

/// The same, of a model.
#[cfg(dsa_shuttle)]
pub(crate) fn now() -> u64 {
    system()
}

/// The same, where it has not been measured yet, or is not to be used.
#[cfg(not(dsa_shuttle))]
#[cold]
fn otherwise() -> u64 {
    if rate() == SYSTEM { system() } else { idxd_sys::instr::rdtsc() }
}

/// The clock, for whoever keeps that it has been measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    is_counter: bool,
}

impl Clock {
    /// Measures it, if nobody has.
    pub(crate) fn measured() -> Self {
        Self { is_counter: rate() != SYSTEM }
    }

    /// As [`now`].
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn now(self) -> u64 {
        if self.is_counter { idxd_sys::instr::rdtsc() } else { system() }
    }
}

/// As [`now`], but not before anything that this thread has seen: a plain reading may be taken ahead of earlier loads, and
/// so be earlier than what another thread had noted before it told this one.
#[inline]
pub(crate) fn now_after_all() -> u64 {
    // The kernel's reading is ordered.
    if rate() == SYSTEM { system() } else { idxd_sys::instr::rdtsc_ordered() }
}

/// Time since the reading `since`; zero if `since` lies in the future (another core's counter may be slightly ahead).
#[inline]
pub(crate) fn elapsed(since: u64) -> Duration {
    Duration::from_nanos(to_nanos(now().saturating_sub(since)))
}

/// Ticks in `duration`, for deadlines.
#[inline]
pub(crate) fn ticks(duration: Duration) -> u64 {
    let nanos = duration.as_nanos().min(u128::from(u64::MAX >> SHIFT)) as u64;
    (nanos << SHIFT) / nanos_per_tick()
}

/// Nanoseconds in `ticks` ticks.
#[inline]
pub(crate) fn to_nanos(ticks: u64) -> u64 {
    ((u128::from(ticks) * u128::from(nanos_per_tick())) >> SHIFT) as u64
}

/// Fixed-point position of a rate.
const SHIFT: u32 = 24;

/// In place of a rate: ticks are the system clock's nanoseconds.
const SYSTEM: u64 = u64::MAX;

/// Nanoseconds per tick of the counter, times 2^24; or [`SYSTEM`]. Measured on first use. Not a `OnceLock`: a fork while
/// another thread measures would leave the child waiting for that thread. Threads that come at the same time all measure, and
/// the first result stays.
#[cfg(not(dsa_shuttle))]
#[inline]
fn rate() -> u64 {
    match RATE.load(Ordering::Relaxed) {
        0 => publish(),
        rate => rate,
    }
}

#[cfg(dsa_shuttle)]
fn rate() -> u64 {
    SYSTEM
}

#[cfg(not(dsa_shuttle))]
static RATE: AtomicU64 = AtomicU64::new(0);

#[inline]
fn nanos_per_tick() -> u64 {
    let rate = rate();
    if rate == SYSTEM { 1 << SHIFT } else { rate }
}

#[cfg(not(dsa_shuttle))]
#[cold]
#[inline(never)]
fn publish() -> u64 {
    let mine = measure();
    match RATE.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => mine,
        Err(first) => first,
    }
}

#[cfg(not(dsa_shuttle))]
fn measure() -> u64 {
    if !idxd_sys::CpuFeatures::detect().invariant_tsc {
        return SYSTEM;
    }
    // Two milliseconds give an error of about 0.01 %, once per process.
    let (origin, first) = (Instant::now(), idxd_sys::instr::rdtsc());
    while origin.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    let nanos = origin.elapsed().as_nanos() as u64;
    let ticks = idxd_sys::instr::rdtsc().wrapping_sub(first).max(1);
    ((nanos << SHIFT) / ticks).clamp(1, SYSTEM - 1)
}

/// The time of a model: every reading takes a microsecond of it, and whoever sleeps lets it pass.
#[cfg(dsa_shuttle)]
fn system() -> u64 {
    pass(Duration::from_micros(1));
    MODEL.get()
}

#[cfg(dsa_shuttle)]
thread_local! {
    /// Of the system's thread on which all threads of a model run.
    static MODEL: std::cell::Cell<u64> = const { std::cell::Cell::new(1) };
}

/// A model begins.
#[cfg(all(test, dsa_shuttle))]
pub(crate) fn start_over() {
    MODEL.set(1);
}

/// Lets so much of a model's time pass.
#[cfg(dsa_shuttle)]
pub(crate) fn pass(time: Duration) {
    MODEL.set(MODEL.get() + time.as_nanos() as u64);
}

#[cfg(not(dsa_shuttle))]
#[cold]
fn system() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0)).as_nanos() as u64
}

#[cfg(all(test, not(dsa_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_system_clock() {
        let (ticks_before, before) = (now(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (measured, expected) = (elapsed(ticks_before), before.elapsed());
        assert!(measured > expected / 2 && measured < expected * 2, "{measured:?} against {expected:?}");
    }

    /// A thread that has been told of a reading does not go back behind it.
    #[test]
    fn an_ordered_reading_is_not_before_one_that_was_told() {
        use std::sync::atomic::AtomicU64;

        static TOLD: AtomicU64 = AtomicU64::new(0);
        let teller = std::thread::spawn(|| (0..100_000).for_each(|_| TOLD.store(now(), Ordering::Release)));
        while !teller.is_finished() {
            let told = TOLD.load(Ordering::Acquire);
            let after = now_after_all();
            assert!(told <= after, "{told} was told before {after}");
        }
        teller.join().unwrap();
    }

    #[test]
    fn durations_survive_the_round_trip() {
        for nanos in [1_000, 1_000_000, 5_000_000_000u64] {
            let back = to_nanos(ticks(Duration::from_nanos(nanos)));
            assert!(back.abs_diff(nanos) <= nanos / 500, "{nanos} became {back}");
        }
    }

    #[test]
    fn a_reading_from_the_future_is_no_time_ago() {
        assert_eq!(elapsed(u64::MAX), Duration::ZERO);
    }
}
