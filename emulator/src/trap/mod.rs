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
[`Client::enqcmd`](crate::Client::enqcmd) does: atomic operations, a futex wake for a parked engine, and, only if a
[`Retry`](crate::Effect::Retry) rule was injected, a lock that other threads hold for a moment. It allocates nothing.

# What differs from a CPU

* A trap costs microseconds.
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
