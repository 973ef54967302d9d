//! Which process this is. What one process has opened, another must not use: a device knows only the address space that
//! opened its queue.
//!
//! A child finds out by a page that the kernel hands to it zeroed (`MADV_WIPEONFORK`), however it was made: `fork`, or a
//! bare `clone` that runs no handlers. Where the kernel does not know that advice, the handler of `pthread_atfork`
//! zeroes the number. A `vfork` child shares the memory and with it the number, rightly: it is the same address space.

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// The number of this process: another one than any process has that it was forked off. Never 0. One load, in general.
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
pub(crate) fn generation() -> u64 {
    let cell = cell();
    match cell.load(Ordering::Relaxed) {
        0 => adopt(cell),
        generation => generation,
    }
}

/// Gives a process its number on first use.
#[cold]
fn adopt(cell: &AtomicU64) -> u64 {
    /// A child has a copy of its parent's value at the time, so what it takes is unused among its ancestors.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mine = NEXT.fetch_add(1, Ordering::Relaxed);
    match cell.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => mine,
        Err(other_thread) => other_thread,
    }
}

/// The cell with the number, or 0 if the process has none yet: a child finds it so. Not a `OnceLock`: a fork while another thread makes it would leave the child waiting.
#[inline]
pub(crate) fn cell() -> &'static AtomicU64 {
    let cell = CELL.load(Ordering::Acquire);
    // SAFETY: null, or a cell that lives as long as the process.
    unsafe { cell.as_ref() }.unwrap_or_else(make_cell)
}

static CELL: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

#[cold]
fn make_cell() -> &'static AtomicU64 {
    static FALLBACK: AtomicU64 = AtomicU64::new(0);
    extern "C" fn in_child() {
        FALLBACK.store(0, Ordering::Relaxed);
        crate::device::close_inherited();
    }
    // Threads that come at the same time register several times, which does no harm.
    // SAFETY: the handler stores to an atomic and closes files, which is async-signal-safe; null means no handler.
    let failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    assert_eq!(failed, 0, "pthread_atfork: out of memory");
    let mine = std::ptr::from_ref(wiped_on_fork().unwrap_or(&FALLBACK)).cast_mut();
    let cell = match CELL.compare_exchange(std::ptr::null_mut(), mine, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => mine,
        Err(first) => first,
    };
    // SAFETY: a cell that lives as long as the process, ours or another thread's.
    unsafe { &*cell }
}

/// A cell in a page of its own that reads 0 in a child.
fn wiped_on_fork() -> Option<&'static AtomicU64> {
    const PAGE: usize = 4096;
    let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe { mmap_anonymous(std::ptr::null_mut(), PAGE, access, kind) }.ok()?;
    // SAFETY: the page is ours and nobody has a reference into it; the advice changes what a child sees, nothing here.
    unsafe { madvise(page, PAGE, Advice::LinuxWipeOnFork) }.ok()?;
    // SAFETY: the page is aligned, zeroed, valid for reads and writes, never unmapped, and accessed through this cell
    // alone.
    Some(unsafe { AtomicU64::from_ptr(page.cast()) })
}

/// A lock that a fork child can take over. The thread that held it at the time of the fork does not exist in the child,
/// which would wait for it for ever. Held by the process, so to speak: [`generation`], or 0.
pub(crate) struct ForkLock(AtomicU64);

impl ForkLock {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Calls `f` while no other thread of this process is in here. What `f` guards must make sense at any moment, because
    /// a child may find it half done.
    pub(crate) fn exclusively<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Unlock<'a>(&'a ForkLock);
        impl Drop for Unlock<'_> {
            fn drop(&mut self) {
                self.0.0.store(0, Ordering::Release);
            }
        }
        let process = generation();
        let free = |holder| (holder != process).then_some(process);
        while self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).is_err() {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        let _unlock = Unlock(self);
        f()
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use super::*;

    /// Runs `body` in a child made by `make`, and gives its exit status.
    fn in_child(make: impl FnOnce() -> libc::pid_t, body: impl FnOnce() -> i32) -> i32 {
        match make() {
            -1 => panic!("no child: {}", std::io::Error::last_os_error()),
            // SAFETY: `_exit` is async-signal-safe.
            0 => unsafe { libc::_exit(body()) },
            pid => {
                let mut status = 0;
                // SAFETY: our own child, waited for once.
                assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
                assert!(libc::WIFEXITED(status), "killed: {status:#x}");
                libc::WEXITSTATUS(status)
            }
        }
    }

    #[test]
    fn a_process_keeps_its_number_and_a_child_has_another() {
        let mine = generation();
        assert_ne!(mine, 0);
        assert_eq!(generation(), mine);
        let differs = || i32::from(generation() == mine || generation() == 0);
        // SAFETY: the child makes atomic accesses and leaves.
        assert_eq!(in_child(|| unsafe { libc::fork() }, differs), 0);
        assert_eq!(generation(), mine);
    }

    /// No handler of `pthread_atfork` runs for such a child.
    #[test]
    fn a_bare_clone_is_noticed_too() {
        let mine = generation();
        let differs = || i32::from(generation() == mine);
        // SAFETY: as a fork without handlers; the child makes atomic accesses and leaves.
        let clone = || unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t };
        assert_eq!(in_child(clone, differs), 0);
    }
}
