//! The submission and waiting instructions on a CPU that lacks them.
//!
//! [`decode`] finds out what an instruction that trapped was meant to do. It is plain arithmetic on bytes and register
//! values, and serves whoever catches the trap: a signal handler, or a virtual machine.
#![cfg_attr(
    all(feature = "trap", target_arch = "x86_64", target_os = "linux"),
    doc = "
The rest (feature `trap`, x86-64 Linux) catches them in this process. A [`Portal`] is an inaccessible page that
stands for the limited portal of an open queue. Code that executes a real MOVDIR64B or ENQCMD on it submits to the
software device: the instruction raises SIGILL where the CPU lacks it, and SIGSEGV where the CPU has it, and a handler
of these signals does what the instruction would have done, the flags included. UMONITOR, UMWAIT, TPAUSE, MONITORX and
MWAITX, which need no portal, work likewise after [`install`]. Signals with other causes go where they went before.

# Why the handler may call the model

These signals are synchronous: they are raised by the very instruction that is emulated. The handler therefore acts as
a function call from that place would. The thread holds no lock of the model or of the C library there, unless the
instruction sits inside one of them, where none is. So the handler may do what a plain call of
[`Client::enqcmd`](crate::Client::enqcmd) does: atomic operations, and a futex wake for a parked engine. It takes a lock that
other threads hold for a moment, and may allocate, in three cases only:

* a [`Retry`](crate::Effect::Retry) rule was injected: the rules have a lock;
* a [`Campaign`](crate::campaign::Campaign) watches: it is told of submissions that are refused or dropped and of the rules
  that fire for one, has a lock, and appends to its trace;
* a MOVDIR64B finds a dedicated queue full, which latches a software error.

# Signal handlers of the program

Signals that no instruction raises wait until the trapped instruction has been carried out. So their handlers never
interrupt the model in a trap, and may leave by `siglongjmp` or `_exit`. What they may have interrupted is other code of
the thread: the allocator, or a plain call of the model.

* A handler may submit by these instructions, as on hardware, unless one of the three cases above can occur: there it
  waits for ever if it has interrupted the allocator, or a call of the same device that holds the lock.
* A handler that has interrupted a plain call such as [`Client::enqcmd`](crate::Client::enqcmd), which defers nothing,
  must return to it. Otherwise its descriptor counts as outstanding for ever, and may block the queue.

# What differs from a CPU

* A trap costs microseconds. Other signals wait for its end; a wait instruction is not ended by them.
* MOVDIR64B to ordinary memory stores its bytes one after the other: another thread may see some of them first.
* An ENQCMD to readable memory that is no portal is refused (ZF = 1).
* UMWAIT and MWAITX wake up when the monitored line has *changed*. A store of the value that was there does not wake it, nor does
  one that is undone; the limit on the wait, 100,000 ticks as Linux has it by default, still ends it.
* A thread that blocks SIGILL or SIGSEGV is killed by its first trap.
* Previous handlers run with the mask they asked for, but those of SIGSEGV and SIGBUS always on the alternate stack and
  SIGILL's never.
"
)]

#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
mod chain;
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
mod context;
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod copy;
pub mod decode;
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
mod handler;
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
mod monitor;
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
mod portal;

#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
pub use self::handler::{foreign_action, install, is_readable, is_writable, read, trapped, use_sigaction};
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
pub use self::portal::Portal;

/// A function like `sigaction(2)`.
#[cfg(all(feature = "trap", target_arch = "x86_64", target_os = "linux"))]
pub type SigactionFunction =
    unsafe extern "C" fn(libc::c_int, *const libc::sigaction, *mut libc::sigaction) -> libc::c_int;
