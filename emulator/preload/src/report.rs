//! What the devices of this process have done, for `dsa emulate` to read when the program has ended.
//!
//! Written when the program ends by `exit`, by returning from `main`, or by `_exit`. A program that a signal kills, or that
//! turns into another one by `exec`, leaves nothing.
//!
//! `_exit` may be called anywhere: in a signal handler that has interrupted the allocator, by a thread that holds whatever
//! lock. So whoever ends the program writes nothing himself. He asks a [`Reporter`], a thread that waits for this from the
//! time the model is made, and waits for it: with a few system calls, without a lock, and not for ever, should the thread in
//! its turn wait for what cannot come.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dsa_emulator::text::{Report, Settings};
use dsa_emulator::trap::{decode::Kind, trapped};

use crate::complain;
use crate::model::{self, Model};

/// The instructions whose traps are counted.
const KINDS: [(&str, Kind); 7] = [
    ("movdir64b", Kind::Movdir64b),
    ("enqcmd", Kind::Enqcmd),
    ("umonitor", Kind::Umonitor),
    ("umwait", Kind::Umwait),
    ("tpause", Kind::Tpause),
    ("monitorx", Kind::Monitorx),
    ("mwaitx", Kind::Mwaitx),
];

/// How long the report waits for what the devices have got, as the driver does when a process ends.
const SETTLING: Duration = Duration::from_secs(2);

/// Seconds for which the end of the program waits for the report.
const PATIENCE: libc::time_t = 5;

/// The thread that writes the report of this process.
pub(crate) struct Reporter {
    /// One of the values below. Both sides wait at it, as a futex.
    state: AtomicU32,
}

const WAITING: u32 = 0;
const ASKED: u32 = 1;
const WRITTEN: u32 = 2;

impl Reporter {
    /// Starts the thread.
    ///
    /// Not one of the standard library's: that begins by giving back what its maker has allocated, and the allocator then
    /// has it use a part of the heap whose lock the program's end may have interrupted. So this one has a part of its own.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let reporter = Arc::new(Self { state: AtomicU32::new(WAITING) });
        let mut thread = MaybeUninit::uninit();
        let own = Arc::into_raw(Arc::clone(&reporter)).cast_mut();
        // SAFETY: the thread's number is our own; the function takes over one count of the `Arc`. Once the thread is there it
        // is detached, by its number, and nobody else does that.
        let error = unsafe {
            let error = libc::pthread_create(thread.as_mut_ptr(), null(), serve, own.cast());
            if error == 0 {
                libc::pthread_detach(thread.assume_init());
            }
            error
        };
        if error != 0 {
            // SAFETY: the pointer is from `into_raw`, and no thread has got it.
            drop(unsafe { Arc::from_raw(own) });
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(reporter)
    }

    fn serve(&self) {
        // The allocator chooses a thread's part of the heap at its first request. Later it might have to wait for that.
        drop(std::hint::black_box(vec![0u8; 256]));
        while self.state.load(Ordering::Acquire) == WAITING {
            self.wait(WAITING, None);
        }
        // Whoever asks has found the model.
        if let Some(model) = model::existing() {
            model.settle(Instant::now() + SETTLING);
            write_file(model);
        }
        self.advance(ASKED, WRITTEN);
    }

    /// Has the report written, once, and waits until it is. Takes no lock and allocates nothing.
    fn ask(&self) {
        self.advance(WAITING, ASKED);
        let mut deadline = MaybeUninit::<libc::timespec>::zeroed();
        // SAFETY: the structure is our own, and all zero is a value of it.
        let mut deadline = unsafe {
            libc::clock_gettime(libc::CLOCK_MONOTONIC, deadline.as_mut_ptr());
            deadline.assume_init()
        };
        deadline.tv_sec += PATIENCE;
        while self.state.load(Ordering::Acquire) != WRITTEN && self.wait(ASKED, Some(&deadline)) {}
    }

    /// Goes from one state to the next, unless that has been done.
    fn advance(&self, from: u32, to: u32) {
        if self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the call only uses the address.
            unsafe { libc::syscall(libc::SYS_futex, self.state.as_ptr(), operation, i32::MAX) };
        }
    }

    /// Waits as long as the state is `state`, or for less. False when the deadline has passed.
    fn wait(&self, state: u32, deadline: Option<&libc::timespec>) -> bool {
        // Of the kind that takes a point in time: a wait that signals interrupt does not begin anew.
        let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
        let until = deadline.map_or(null(), std::ptr::from_ref);
        let any = libc::FUTEX_BITSET_MATCH_ANY;
        // SAFETY: the state and the deadline are there during the call; the fifth argument is not used. The location of
        // `errno` is this thread's.
        unsafe {
            libc::syscall(libc::SYS_futex, self.state.as_ptr(), operation, state, until, null::<u32>(), any) == 0
                || *libc::__errno_location() != libc::ETIMEDOUT
        }
    }
}

/// The thread's function. The model has the reporter, and lives as long as the process; so the count is never given back.
extern "C" fn serve(reporter: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `start` gives a reporter and its count, which is kept.
    let reporter = unsafe { &*reporter.cast::<Reporter>() };
    // SAFETY: the name is a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"dsa-report".as_ptr()) };
    reporter.serve();
    null_mut()
}

/// Has the report written, if this process has used the devices, and not one whose memory it shares for a moment.
pub(crate) fn write() {
    if let Some(model) = model::existing().filter(|model| model.is_mine()) {
        model.reporter().ask();
    }
}

fn write_file(model: &Model) {
    let text = report(model).write();
    // A process that has turned into another program by `exec` has the number of the one before.
    for part in 0..1000 {
        let path = format!("{}/{}-{part}", Settings::REPORTS, model.process());
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(mut file) => {
                if let Err(error) = file.write_all(text.as_bytes()) {
                    complain(&format!("the counters cannot be written: {error}"));
                }
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                complain(&format!("the counters cannot be written to {}: {error}", Settings::REPORTS));
                return;
            }
        }
    }
}

fn report(model: &Model) -> Report {
    let mut others: BTreeMap<String, u64> =
        KINDS.iter().map(|(name, kind)| (format!("trapped.{name}"), trapped(*kind))).collect();
    others.insert("written".to_owned(), model.written());
    others.extend(model.trouble());
    Report::of(model.counters(), others)
}
