//! Time on the hot path: the time-stamp counter where it is constant, the system's monotonic clock otherwise.
//!
//! A reading of the counter costs about 10 ns, [`Instant::now`] about 25 ns and more instructions. Readings are
//! *ticks*; they turn into durations by a factor measured once against the system's clock.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

/// Ticks since some moment before the process used this module.
#[inline]
pub(crate) fn now() -> u64 {
    let clock = clock();
    if clock.counter { read_counter() } else { clock.origin.elapsed().as_nanos() as u64 }
}

/// As [`now`], but not before anything that this thread has seen: a plain reading may be taken ahead of earlier loads, and
/// so be earlier than what another thread had noted before it told this one.
#[inline]
pub(crate) fn now_after_all() -> u64 {
    let clock = clock();
    if clock.counter {
        idxd_sys::instr::rdtsc_ordered()
    } else {
        // The kernel's reading is ordered.
        clock.origin.elapsed().as_nanos() as u64
    }
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
    (nanos << SHIFT) / clock().nanos_per_tick.max(1)
}

/// Nanoseconds in `ticks` ticks.
#[inline]
pub(crate) fn to_nanos(ticks: u64) -> u64 {
    ((u128::from(ticks) * u128::from(clock().nanos_per_tick)) >> SHIFT) as u64
}

/// Fixed-point position of `nanos_per_tick`.
const SHIFT: u32 = 24;

struct Clock {
    counter: bool,
    /// Nanoseconds per tick, times 2^24.
    nanos_per_tick: u64,
    origin: Instant,
}

/// The clock, calibrated on first use. Not a `OnceLock`: a fork while another thread calibrates would leave the child
/// waiting for that thread. Threads that come at the same time all calibrate, and the first result stays.
#[inline]
fn clock() -> &'static Clock {
    static CLOCK: AtomicPtr<Clock> = AtomicPtr::new(std::ptr::null_mut());
    let clock = CLOCK.load(Ordering::Acquire);
    // SAFETY: either null, or a leaked box that is never written again; the Acquire pairs with the exchange below.
    match unsafe { clock.as_ref() } {
        Some(clock) => clock,
        None => publish(&CLOCK),
    }
}

#[cold]
fn publish(place: &AtomicPtr<Clock>) -> &'static Clock {
    let mine = Box::into_raw(Box::new(Clock::calibrate()));
    match place.compare_exchange(std::ptr::null_mut(), mine, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: leaked just now, and read-only from here on.
        Ok(_) => unsafe { &*mine },
        Err(first) => {
            // SAFETY: `mine` was not published, so it is still ours alone; `first` was leaked by another thread.
            unsafe {
                drop(Box::from_raw(mine));
                &*first
            }
        }
    }
}

#[inline]
fn read_counter() -> u64 {
    idxd_sys::instr::rdtsc()
}

impl Clock {
    fn calibrate() -> Self {
        let origin = Instant::now();
        if !idxd_sys::CpuFeatures::detect().invariant_tsc {
            return Self { counter: false, nanos_per_tick: 1 << SHIFT, origin };
        }
        // Two milliseconds give an error of about 0.01 %, once per process.
        let first = read_counter();
        while origin.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        let nanos = origin.elapsed().as_nanos() as u64;
        let ticks = read_counter().wrapping_sub(first).max(1);
        Self { counter: true, nanos_per_tick: ((nanos << SHIFT) / ticks).max(1), origin }
    }
}

#[cfg(test)]
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
