//! Several operations on borrowed memory at once, like `std::thread::scope`.
//!
//! What makes borrowing sound is not a destructor, which `mem::forget` would skip, but that [`Blocking::scope`] itself
//! does not return before every operation started in it has ended - not even when the closure panics.
//!
//! [`Blocking::scope`]: super::blocking::Blocking::scope

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::check;
use super::fill::Pattern;
use crate::accelerator::Accelerator;
use crate::dispatch::{Flight, Job, Outcome, Plain};
use crate::error::Error;

/// Where borrowed operations are started, see [`Blocking::scope`](super::blocking::Blocking::scope).
///
/// ```
/// let (a, b) = (vec![1u8; 9000], vec![2u8; 9000]);
/// let (mut c, mut d) = (vec![0u8; 9000], vec![0u8; 9000]);
/// let crc = dsa::blocking::scope(|s| {
///     s.copy(&mut c, &a)?;
///     s.copy(&mut d, &b)?;
///     Ok::<_, dsa::Error>(s.crc32c(&a).wait())
/// })?;
/// assert_eq!((&c, &d), (&a, &b));
/// assert_eq!(crc, dsa::blocking::crc32c(&c));
/// # Ok::<(), dsa::Error>(())
/// ```
///
/// Memory that is lent to an operation cannot be touched before the scope has ended:
///
/// ```compile_fail
/// let src = vec![1u8; 9000];
/// let mut dst = vec![0u8; 9000];
/// dsa::blocking::scope(|s| {
///     s.copy(&mut dst, &src).unwrap().wait();
///     dst[0] = 1; // still lent
/// });
/// ```
///
/// Nor can it be memory that goes away earlier:
///
/// ```compile_fail
/// let src = vec![1u8; 9000];
/// dsa::blocking::scope(|s| {
///     let mut dst = vec![0u8; 9000];
///     s.copy(&mut dst, &src).unwrap();
/// });
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    accelerator: Accelerator,
    entries: RefCell<Vec<Entry>>,
    // Invariant in both, as in `std::thread::Scope`: nothing borrowed for less than the scope gets in.
    invariant: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// One operation, and its outcome once somebody has waited for it.
struct Entry {
    flight: Flight<Job>,
    outcome: Option<Outcome>,
}

/// An operation started in a [`Scope`]. It runs whether or not anybody waits for it.
pub struct Ticket<'scope, T> {
    settle: &'scope dyn Settle,
    index: usize,
    result: fn(Outcome) -> T,
}

/// The part of a scope that tickets need, without its lifetimes.
trait Settle {
    fn settle(&self, index: usize) -> Outcome;
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a copy of `src` to `dst`.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`], and nothing is started.
    pub fn copy(&'scope self, dst: &'scope mut [u8], src: &'scope [u8]) -> Result<Ticket<'scope, ()>, Error> {
        check::same_length(dst.len(), src.len())?;
        let job = Plain::copy(src.as_ptr(), dst.as_mut_ptr(), src.len());
        // SAFETY: both slices stay borrowed for 'scope, which ends after `finish`.
        Ok(unsafe { self.start(job, |_| ()) })
    }

    /// Starts a copy of `src` to `dst` that also computes the CRC-32C of the bytes.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`], and nothing is started.
    pub fn copy_crc32c(&'scope self, dst: &'scope mut [u8], src: &'scope [u8]) -> Result<Ticket<'scope, u32>, Error> {
        check::same_length(dst.len(), src.len())?;
        let job = Plain::copy_crc32c(src.as_ptr(), dst.as_mut_ptr(), src.len(), 0);
        // SAFETY: both slices stay borrowed for 'scope, which ends after `finish`.
        Ok(unsafe { self.start(job, Outcome::crc32c) })
    }

    /// Starts filling `dst` with `pattern`.
    pub fn fill(&'scope self, dst: &'scope mut [u8], pattern: impl Into<Pattern>) -> Ticket<'scope, ()> {
        let job = Plain::fill(dst.as_mut_ptr(), dst.len(), pattern.into().word());
        // SAFETY: the slice stays borrowed for 'scope, which ends after `finish`.
        unsafe { self.start(job, |_| ()) }
    }

    /// Starts a CRC-32C of `src`.
    pub fn crc32c(&'scope self, src: &'scope [u8]) -> Ticket<'scope, u32> {
        let job = Plain::crc32c(src.as_ptr(), src.len(), 0);
        // SAFETY: the slice stays borrowed for 'scope, which ends after `finish`.
        unsafe { self.start(job, Outcome::crc32c) }
    }

    /// Starts looking for the first byte in which `a` and `b` differ.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`], and nothing is started.
    pub fn compare(&'scope self, a: &'scope [u8], b: &'scope [u8]) -> Result<Ticket<'scope, Option<usize>>, Error> {
        check::same_length(a.len(), b.len())?;
        let job = Plain::compare(a.as_ptr(), b.as_ptr(), a.len());
        // SAFETY: both slices stay borrowed for 'scope, which ends after `finish`.
        Ok(unsafe { self.start(job, Outcome::difference) })
    }

    /// # Safety
    ///
    /// The job's memory is valid, and touched by nobody else, until [`Scope::finish`] has returned.
    pub(super) unsafe fn start<T>(&'scope self, job: impl Into<Job>, result: fn(Outcome) -> T) -> Ticket<'scope, T> {
        let mut entries = self.entries.borrow_mut();
        let index = entries.len();
        // Reserved first: growing must not be able to fail between submission and being on the list.
        entries.reserve(1);
        entries.push(Entry { flight: Flight::new(job.into()), outcome: None });
        let entry = &mut entries[index];
        // SAFETY: the caller's promise.
        entry.outcome = unsafe { entry.flight.start(&self.accelerator) };
        Ticket { settle: self, index, result }
    }

    /// Waits for everything that has been started.
    fn finish(&self) {
        let count = self.entries.borrow().len();
        for index in 0..count {
            self.settle(index);
        }
    }
}

impl Settle for Scope<'_, '_> {
    fn settle(&self, index: usize) -> Outcome {
        let entry = &mut self.entries.borrow_mut()[index];
        let flight = &mut entry.flight;
        // SAFETY: the promise of `start`: the memory outlives `finish`, and so this call.
        *entry.outcome.get_or_insert_with(|| unsafe { flight.wait(&self.accelerator) })
    }
}

impl<T> Ticket<'_, T> {
    /// Waits for this operation and gives its result.
    pub fn wait(self) -> T {
        (self.result)(self.settle.settle(self.index))
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("started", &self.entries.borrow().len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Ticket<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Runs `f` in a scope of `accelerator`.
pub(super) fn run_scope<'env, R>(
    accelerator: &Accelerator,
    f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
) -> R {
    let accelerator = accelerator.clone();
    let scope = Scope { accelerator, entries: RefCell::new(Vec::new()), invariant: PhantomData, env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.finish();
    match result {
        Ok(result) => result,
        Err(panic) => resume_unwind(panic),
    }
}
