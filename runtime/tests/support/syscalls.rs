//! Counts the system calls of a thread, as a debugger would: in a child process that is traced.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the traced thread asked of the system between the marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) write: usize,
    pub(crate) fstat: usize,
    pub(crate) pread: usize,
    /// Every other one. Not counted: the return from a signal handler, which is what a trapped instruction costs, and
    /// reading the clock, which is no system call where the kernel's clock can be read from user space.
    pub(crate) other: usize,
}

/// A call that nobody else makes marks where counting begins and ends.
const MARK: libc::c_long = 0x6d61_726b;

/// Counting begins here.
pub(crate) fn begin() {
    mark(1);
}

/// Counting ends here.
pub(crate) fn end() {
    mark(2);
}

fn mark(which: libc::c_long) {
    // SAFETY: a call with arguments that make no sense fails, and has no effect.
    unsafe { libc::syscall(libc::SYS_getpriority, MARK, which) };
}

/// Runs `body` in a child and counts the system calls of its first thread between the marks. Panics if `body` does.
#[track_caller]
pub(crate) fn count(body: impl FnOnce()) -> Calls {
    // SAFETY: the child takes no lock but the allocator's, which glibc keeps usable in a child, and leaves without
    // running destructors.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            // SAFETY: both calls concern this process alone.
            unsafe {
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::alarm(60);
                libc::raise(libc::SIGSTOP);
            }
            let ended = catch_unwind(AssertUnwindSafe(body));
            // SAFETY: async-signal-safe.
            unsafe { libc::_exit(i32::from(ended.is_err())) }
        }
        child => trace(child),
    }
}

#[track_caller]
fn trace(child: libc::pid_t) -> Calls {
    let mut calls = Calls::default();
    let mut unknown = Vec::new();
    let (mut counting, mut entering, mut marks) = (false, true, 0);
    let mut status = wait(child);
    // SAFETY: the child is stopped; system calls are told from signals, and it does not outlive us.
    let set = unsafe {
        libc::ptrace(libc::PTRACE_SETOPTIONS, child, 0, libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL)
    };
    assert_eq!(set, 0, "ptrace: {}", io::Error::last_os_error());
    let mut signal = 0;
    while libc::WIFSTOPPED(status) {
        // SAFETY: the child is stopped, and goes on to its next system call or signal.
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, child, 0, signal) };
        status = wait(child);
        signal = 0;
        if !libc::WIFSTOPPED(status) {
            break;
        }
        if libc::WSTOPSIG(status) != libc::SIGTRAP | 0x80 {
            signal = libc::WSTOPSIG(status);
            continue;
        }
        if entering {
            // SAFETY: plain data, which the kernel fills in.
            let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
            // SAFETY: the child is stopped, and the structure is valid for writes.
            unsafe { libc::ptrace(libc::PTRACE_GETREGS, child, 0, &raw mut registers) };
            match registers.orig_rax.cast_signed() {
                libc::SYS_getpriority if registers.rdi.cast_signed() == MARK => {
                    counting = registers.rsi == 1;
                    marks += 1;
                }
                _ if !counting => {}
                libc::SYS_rt_sigreturn | libc::SYS_clock_gettime => {}
                libc::SYS_write => calls.write += 1,
                libc::SYS_pread64 => calls.pread += 1,
                libc::SYS_fstat | libc::SYS_newfstatat | libc::SYS_statx => calls.fstat += 1,
                other => {
                    unknown.push(other);
                    calls.other += 1;
                }
            }
        }
        entering = !entering;
    }
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the traced part failed: status {status:#x}");
    assert_eq!(marks, 2, "both marks were passed");
    if !unknown.is_empty() {
        println!("system calls by number: {unknown:?}");
    }
    calls
}

fn wait(child: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child, "{}", io::Error::last_os_error());
    status
}
