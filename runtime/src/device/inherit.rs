//! The open files of work queues, in one table for the whole process.
//!
//! It exists for two reasons. A fork child inherits open files whatever `O_CLOEXEC` says, and one that keeps a queue's
//! file open keeps its parent's close from draining the queue: so the child closes them all, in a handler that may
//! touch nothing but atomics. And a process must have a shared queue open at most once: the driver books a second file
//! of one address space wrongly (cdev.c: both go by the same PASID), so queues are reserved by name.
//!
//! A place in the table belongs to a process ([`generation`]). What a child finds of its parent's counts as free.

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use crate::process::{ForkLock, generation};

/// Most work queues that one process can have open.
pub(crate) const MOST: usize = 256;

const CLOSED: i32 = -1;

struct Entry {
    /// The process that has this place, 0 for none.
    owner: AtomicU64,
    /// What it stands for; meaningful while there is an owner.
    key: AtomicU64,
    file: AtomicI32,
    /// Inode and device number of the file, by which it is known again.
    inode: AtomicU64,
    number: AtomicU64,
    /// Whether the place will be given back soon.
    retiring: AtomicBool,
}

static TABLE: [Entry; MOST] = [const {
    Entry {
        owner: AtomicU64::new(0),
        key: AtomicU64::new(0),
        file: AtomicI32::new(CLOSED),
        inode: AtomicU64::new(0),
        number: AtomicU64::new(0),
        retiring: AtomicBool::new(false),
    }
}; MOST];

static RESERVING: ForkLock = ForkLock::new();

/// In a fork child: closes every file that the parent had open. Async-signal-safe.
pub(crate) fn close_inherited() {
    for entry in &TABLE {
        entry.discard();
        entry.owner.store(0, Ordering::SeqCst);
    }
}

impl Entry {
    fn discard(&self) {
        let file = self.file.swap(CLOSED, Ordering::SeqCst);
        if file != CLOSED {
            // SAFETY: the number was put here by a `Place`, which gave its ownership to the table, and whoever swaps it
            // out owns it. In a child that is the child's own copy, which nobody has touched since the fork.
            drop(unsafe { OwnedFd::from_raw_fd(file) });
        }
    }

    /// As [`discard`](Self::discard), in a child that was made without running handlers, some time ago: it may have closed
    /// the file by itself, and given the number to another one, which is left alone.
    fn discard_if_still_there(&self) {
        let file = self.file.load(Ordering::SeqCst);
        if file == CLOSED {
            return;
        }
        // SAFETY: only looked at, for the time of the call; a number that is not open gives an error.
        let status = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(file) });
        let known = (self.inode.load(Ordering::SeqCst), self.number.load(Ordering::SeqCst));
        if status.is_ok_and(|status| (status.st_ino, status.st_rdev) == known) {
            self.discard();
        }
        self.file.store(CLOSED, Ordering::SeqCst);
    }

    fn belongs_to(&self, process: u64) -> bool {
        self.owner.load(Ordering::SeqCst) == process
    }
}

/// Why there is no place for a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This process has the queue reserved already.
    Taken,
    /// So it has, and is about to give it back.
    Retiring,
    /// The table is full.
    Full,
}

/// A place for the file of one queue. Dropping it closes the file.
#[derive(Debug)]
pub(crate) struct Place {
    index: usize,
    process: u64,
}

impl Place {
    /// Reserves a place for the queue that `key` stands for.
    pub(crate) fn reserve(key: u64) -> Result<Self, Refused> {
        let process = generation();
        RESERVING.exclusively(|| {
            let is_it = |entry: &&Entry| entry.belongs_to(process) && entry.key.load(Ordering::SeqCst) == key;
            if let Some(entry) = TABLE.iter().find(is_it) {
                let retiring = entry.retiring.load(Ordering::SeqCst);
                return Err(if retiring { Refused::Retiring } else { Refused::Taken });
            }
            let index = TABLE.iter().position(|entry| !entry.belongs_to(process)).ok_or(Refused::Full)?;
            let entry = &TABLE[index];
            entry.discard_if_still_there();
            entry.retiring.store(false, Ordering::SeqCst);
            entry.key.store(key, Ordering::SeqCst);
            entry.owner.store(process, Ordering::SeqCst);
            Ok(Self { index, process })
        })
    }

    /// Says that the place will be given back soon.
    pub(crate) fn retire(&self) {
        if self.is_mine() {
            self.entry().retiring.store(true, Ordering::SeqCst);
        }
    }

    /// Puts the open file here.
    pub(crate) fn put(&self, file: OwnedFd) {
        if self.is_mine() {
            if let Ok(status) = rustix::fs::fstat(&file) {
                self.entry().inode.store(status.st_ino, Ordering::SeqCst);
                self.entry().number.store(status.st_rdev, Ordering::SeqCst);
            }
            let previous = self.entry().file.swap(file.into_raw_fd(), Ordering::SeqCst);
            debug_assert_eq!(previous, CLOSED);
        }
    }

    /// Takes the file out; `None` if there is none, or if it belongs to the parent of this process.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        if !self.is_mine() {
            return None;
        }
        let file = self.entry().file.swap(CLOSED, Ordering::SeqCst);
        // SAFETY: `put` gave the table the ownership, and the swap has taken it back, for nobody else.
        (file != CLOSED).then(|| unsafe { OwnedFd::from_raw_fd(file) })
    }

    /// The open file, to be used while nobody takes it.
    ///
    /// # Safety
    ///
    /// Nobody calls [`take`](Self::take), or drops the place, while the result is in use.
    #[inline]
    pub(crate) unsafe fn file(&self) -> Option<BorrowedFd<'_>> {
        let file = self.entry().file.load(Ordering::Acquire);
        // SAFETY: the table owns it, and by the caller's promise goes on doing so.
        (file != CLOSED && self.is_mine()).then(|| unsafe { BorrowedFd::borrow_raw(file) })
    }

    /// Whether the queue was reserved by this process and not by a parent.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.process == generation()
    }

    fn entry(&self) -> &'static Entry {
        &TABLE[self.index]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.take());
        if self.is_mine() {
            self.entry().owner.store(0, Ordering::SeqCst);
        }
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    fn key(name: &str) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish()
    }

    fn file() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn a_queue_is_reserved_once_until_it_is_given_back() {
        let place = Place::reserve(key("once")).unwrap();
        assert_eq!(Place::reserve(key("once")).err(), Some(Refused::Taken));
        place.put(file());
        assert_eq!(Place::reserve(key("once")).err(), Some(Refused::Taken));
        let other = Place::reserve(key("another")).unwrap();
        drop(place);
        drop(Place::reserve(key("once")).unwrap());
        drop(other);
    }

    #[test]
    fn threads_that_race_for_a_queue_never_both_get_it() {
        for round in 0..200 {
            let key = key(&format!("race {round}"));
            let start = std::sync::Barrier::new(4);
            let places: Vec<_> = std::thread::scope(|s| {
                let racers: Vec<_> = (0..4)
                    .map(|_| {
                        s.spawn(|| {
                            start.wait();
                            Place::reserve(key).ok()
                        })
                    })
                    .collect();
                racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
            });
            assert!(places.len() <= 1, "round {round}");
        }
    }

    #[test]
    fn a_child_has_nothing_of_its_parents_files() {
        let place = Place::reserve(key("inherited")).unwrap();
        let file = file();
        let number = file.as_raw_fd();
        place.put(file);
        // SAFETY: the child makes atomic accesses and system calls, and leaves.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: `fcntl` on a number that may be closed only fails; nobody can take the file meanwhile.
                let (flags, seen) = unsafe { (libc::fcntl(number, libc::F_GETFD), place.file().is_some()) };
                let again = Place::reserve(key("inherited")).is_ok();
                // SAFETY: `_exit` is async-signal-safe.
                unsafe { libc::_exit(i32::from(flags != -1) | i32::from(seen) << 1 | i32::from(!again) << 2) }
            }
            pid => {
                let mut status = 0;
                // SAFETY: our own child, waited for once.
                assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
                assert_eq!(status, 0, "1: file open, 2: place in use, 4: not free (times 256)");
            }
        }
        // SAFETY: nobody takes the file here.
        assert!(unsafe { place.file() }.is_some());
        assert!(place.take().is_some() && place.take().is_none());
    }
}
