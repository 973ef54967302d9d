//! Signals that a thread does not get for a while.
//!
//! A handler may interrupt the library in the middle of something, and use the library itself, or leave by `siglongjmp` or
//! `_exit`. It must not do so where a lock is held, or a submission half made.

use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// What an instruction, or the C library's `abort`, raises: to block it helps nobody.
const OWN: [libc::c_int; 7] =
    [libc::SIGSEGV, libc::SIGILL, libc::SIGBUS, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS, libc::SIGABRT];

/// Runs `f`, and lets signals that come meanwhile wait for its end. May itself be called by a signal handler.
pub(crate) fn deferred<R>(f: impl FnOnce() -> R) -> R {
    masked(libc::SIG_BLOCK, f)
}

/// Runs `f` with no signals but those that its own instructions raise, whatever the program has blocked. So it is with the
/// threads that `f` makes.
pub(crate) fn without<R>(f: impl FnOnce() -> R) -> R {
    masked(libc::SIG_SETMASK, f)
}

fn masked<R>(how: libc::c_int, f: impl FnOnce() -> R) -> R {
    let (mut mask, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are our own, and filled before they are used.
    unsafe {
        libc::sigfillset(mask.as_mut_ptr());
        for signal in OWN {
            libc::sigdelset(mask.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, mask.as_ptr(), before.as_mut_ptr());
    }
    let result = f();
    // SAFETY: the first call has filled the set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut()) };
    result
}
