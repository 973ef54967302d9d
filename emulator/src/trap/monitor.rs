//! The address monitor of a thread, and waiting for it.
//!
//! The monitor remembers the line as UMONITOR found it. UMWAIT ends when the line looks different, so a store between the
//! two instructions ends it at once, as on a CPU.
//!
//! The thread-local below is safe to use in a handler: it is initialised at compile time and has no destructor, so an
//! access neither initialises nor registers anything. (In a library loaded at run time the first access of a thread may
//! allocate, which at a synchronous trap is no worse than at any other place; see the parent module.) Its parts are
//! atomics because an asynchronous signal may interrupt the handler, and its handler may use the instructions too.

use std::sync::atomic::{AtomicU64, Ordering};

use idxd_sys::instr;

use super::copy::{self, Failed};

/// The longest wait in ticks of the time stamp counter: Linux's default of `umwait_control/max_time`.
const MAX_TIME: u64 = 100_000;

const LINE: usize = 64;

/// The monitored line.
struct Monitor {
    /// Its address; 0 while nothing is monitored. (An address of 0 cannot be armed: it is not readable.)
    address: AtomicU64,
    /// What was there.
    content: [AtomicU64; LINE / 8],
}

thread_local! {
    static MONITOR: Monitor = const { Monitor { address: AtomicU64::new(0), content: [const { AtomicU64::new(0) }; LINE / 8] } };
}

/// UMONITOR and MONITORX: monitors the line that holds `address`.
pub(super) fn arm(address: u64) -> Result<(), Failed> {
    // The instruction is a load of one byte, and faults like one.
    copy::probe(address)?;
    let line = address & !(LINE as u64 - 1);
    let content = copy::read::<LINE>(line)?;
    MONITOR.with(|monitor| {
        for (part, bytes) in monitor.content.iter().zip(content.as_chunks::<8>().0) {
            part.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        monitor.address.store(line, Ordering::Relaxed);
    });
    Ok(())
}

/// UMWAIT and MWAITX: waits until the monitored line changes, and ends the monitoring. Without any it does not wait. True if the
/// limit of the system ended the wait.
pub(super) fn wait(deadline: u64) -> bool {
    let limit = MONITOR.with(|monitor| {
        let line = monitor.address.load(Ordering::Relaxed);
        line != 0 && pause_until(deadline, || monitor.has_changed(line))
    });
    MONITOR.with(|monitor| monitor.address.store(0, Ordering::Relaxed));
    limit
}

/// TPAUSE: waits for the time stamp counter. True if the limit of the system ended the wait.
pub(super) fn pause(deadline: u64) -> bool {
    pause_until(deadline, || false)
}

fn pause_until(deadline: u64, over: impl Fn() -> bool) -> bool {
    let begin = instr::rdtsc();
    loop {
        let now = instr::rdtsc();
        if over() || now >= deadline {
            return false;
        }
        if now.wrapping_sub(begin) >= MAX_TIME {
            return true;
        }
        // Whoever is to write the line may need this core. A system call, and nothing else.
        std::thread::yield_now();
    }
}

impl Monitor {
    fn has_changed(&self, line: u64) -> bool {
        // Unmapped meanwhile: nothing to wait for.
        let Ok(now) = copy::read::<LINE>(line) else { return true };
        self.content
            .iter()
            .zip(now.as_chunks::<8>().0)
            .any(|(part, bytes)| part.load(Ordering::Relaxed) != u64::from_ne_bytes(*bytes))
    }
}
