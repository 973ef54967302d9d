//! Blocking calls on borrowed memory.
//!
//! These may borrow slices because they do not return before the device is done with them, whatever happens: a queue
//! that dies is quiesced first. In the one case where even that fails - a device that neither completes nor drains -
//! they keep waiting, because returning would hand memory back that the device may still write.
//!
//! They spin, then yield, then sleep; do not call them from async code with anything large.
//!
//! What is written is named before what is read, as in C. There is no range where a slice will do, and no option of a
//! future: [`cache_flush`] takes no range, and is never [`durable`](crate::CacheFlush::durable). Seeds have calls of their
//! own, such as [`crc64_from`]; in a scope every CRC begins anew.
//!
//! ```
//! let src = vec![1u8; 100_000];
//! let mut dst = vec![0u8; 100_000];
//! dsa::blocking::memcpy(&mut dst, &src)?;
//! assert_eq!(dsa::blocking::memcmp(&dst, &src), std::cmp::Ordering::Equal);
//! assert_eq!(dsa::blocking::first_difference(b"same", b"some")?, Some(1));
//! assert_eq!(dsa::blocking::crc32c(b"123456789"), 0xE306_9283);
//! assert_eq!(dsa::blocking::crc32c_from(dsa::blocking::crc32c(b"1234"), b"56789"), 0xE306_9283);
//! # Ok::<(), dsa::Error>(())
//! ```

use std::cmp::Ordering;

pub use super::borrowed::*;
use super::check;
use super::fill::Pattern;
use super::scope::run_scope;
pub use super::scope::{Scope, Ticket};
use super::split;
use crate::accelerator::Accelerator;
use crate::cpu::{self, Hint, parallel};
use crate::dispatch::{Flight, Load, Outcome, Plain, Shares, Split, direct};
use crate::error::Error;
use crate::lane::Lane;
use crate::stats::{Operation, Path, Reason};

/// The blocking calls of one accelerator, see [`Accelerator::blocking`].
#[derive(Clone, Copy, Debug)]
pub struct Blocking<'a> {
    accelerator: &'a Accelerator,
    split: Split,
    hint: Hint,
    threads: usize,
}

impl Accelerator {
    /// Blocking calls on borrowed slices.
    #[inline]
    pub fn blocking(&self) -> Blocking<'_> {
        let policy = &self.shared().policy;
        Blocking {
            accelerator: self,
            split: policy.split_blocking,
            hint: Hint::Unknown,
            threads: policy.blocking_threads,
        }
    }
}

impl Blocking<'_> {
    /// How a large [`memcpy`](Self::memcpy) is divided between device and calling thread, whatever
    /// [`Policy::split_blocking`](crate::Policy::split_blocking) says.
    ///
    /// ```
    /// let accelerator = dsa::Accelerator::cpu();
    /// let (src, mut dst) = (vec![7u8; 1 << 20], vec![0u8; 1 << 20]);
    /// accelerator.blocking().split(dsa::Split::Auto).memcpy(&mut dst, &src)?;
    /// assert_eq!(src, dst);
    /// # Ok::<(), dsa::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn split(mut self, split: Split) -> Self {
        self.split = split;
        self
    }

    /// Says where the bytes are, and whether they are needed soon, see [`Copy::hint`](crate::Copy::hint). A copy that is
    /// [split](Self::split) takes no hint.
    ///
    /// ```
    /// let (src, mut dst) = (vec![7u8; 1 << 20], vec![0u8; 1 << 20]);
    /// dsa::Accelerator::cpu().blocking().hint(dsa::Hint::Cold).memcpy(&mut dst, &src)?;
    /// assert_eq!(src, dst);
    /// # Ok::<(), dsa::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = hint;
        self
    }

    /// How many threads may do a large operation where there is no device, whatever
    /// [`Policy::blocking_threads`](crate::Policy::blocking_threads) says.
    #[must_use]
    #[inline]
    pub fn threads(mut self, most: usize) -> Self {
        self.threads = most;
        self
    }

    /// Copies `src` to `dst`, which must have the same length. Says who did it, or did the last part of it; the CPU if both
    /// did it [together](Self::split).
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`], before anything is copied.
    #[inline]
    pub fn memcpy(self, dst: &mut [u8], src: &[u8]) -> Result<Path, Error> {
        check::same_length(dst.len(), src.len())?;
        // A pool of threads is asked for more than the rest takes.
        if self.threads < 2
            && let Some(alone) = direct::lane_of(self.accelerator, src.len() as u64)
        {
            // SAFETY: both slices are borrowed here, `dst` exclusively, and have that length.
            unsafe { copy_alone(alone.0, alone.1, self.hint, src.as_ptr(), dst.as_mut_ptr(), src.len()) };
            return Ok(Path::Cpu);
        }
        let Self { accelerator, split, hint, threads } = self;
        Ok(memcpy_at_length(accelerator, split, hint, threads, dst, src))
    }

    /// Moves the bytes of `src` (a range of offsets) to offset `dst` inside `buf`; the two may overlap.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], before anything is moved.
    pub fn memmove(self, buf: &mut [u8], src: std::ops::Range<usize>, dst: usize) -> Result<Path, Error> {
        check::range(src.start, src.end, buf.len())?;
        let len = src.end - src.start;
        check::range(dst, dst.saturating_add(len), buf.len())?;
        let base = buf.as_mut_ptr();
        // SAFETY: both regions lie inside `buf` as just checked, which is borrowed exclusively until `run` returns.
        Ok(unsafe { self.run(Plain::copy_within(base.wrapping_add(src.start), base.wrapping_add(dst), len)) }.1)
    }

    /// Fills `dst` with `pattern`, a byte or eight bytes.
    pub fn memset(self, dst: &mut [u8], pattern: impl Into<Pattern>) -> Path {
        let (to, len, pattern) = (dst.as_mut_ptr(), dst.len(), pattern.into().word());
        let (threads, hint) = (self.threads, self.hint);
        // SAFETY: `dst` is borrowed exclusively, and has that length.
        let fill = move || unsafe { parallel::fill(threads, hint, to, len, pattern) };
        if self.alone(Operation::Fill, len, fill).is_some() {
            return Path::Cpu;
        }
        // SAFETY: `dst` is borrowed exclusively until `run` returns.
        unsafe { self.run(Plain::fill(to, len, pattern)) }.1
    }

    /// Orders two slices as their own comparison does: by the first byte that differs, then by length.
    pub fn memcmp(self, a: &[u8], b: &[u8]) -> Ordering {
        let common = a.len().min(b.len());
        match self.first_difference(&a[..common], &b[..common]) {
            Ok(Some(offset)) => a[offset].cmp(&b[offset]),
            _ => a.len().cmp(&b.len()),
        }
    }

    /// Offset of the first byte in which two slices of equal length differ.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`].
    pub fn first_difference(self, a: &[u8], b: &[u8]) -> Result<Option<usize>, Error> {
        check::same_length(a.len(), b.len())?;
        let threads = self.threads;
        // SAFETY: both slices are borrowed here, and have that length.
        let compare = move || unsafe { parallel::difference(threads, a.as_ptr(), b.as_ptr(), a.len()) };
        if let Some(difference) = self.alone(Operation::Compare, a.len(), compare) {
            return Ok(difference);
        }
        // SAFETY: both slices are borrowed until `run` returns, and are only read.
        Ok(unsafe { self.run(Plain::compare(a.as_ptr(), b.as_ptr(), a.len())) }.0.difference())
    }

    /// CRC-32C of `src`, see [`Accelerator::crc32c`].
    pub fn crc32c(self, src: &[u8]) -> u32 {
        self.crc32c_from(0, src)
    }

    /// CRC-32C of `src` after what gave `seed`.
    pub fn crc32c_from(self, seed: u32, src: &[u8]) -> u32 {
        let (threads, hint) = (self.threads, self.hint);
        // SAFETY: the slice is borrowed here, and has that length.
        let crc32c = move || unsafe { parallel::crc32c(threads, hint, seed, src.as_ptr(), src.len()) };
        if let Some(crc) = self.alone(Operation::Crc32c, src.len(), crc32c) {
            return crc;
        }
        // SAFETY: `src` is borrowed until `run` returns, and is only read.
        unsafe { self.run(Plain::crc32c(src.as_ptr(), src.len(), seed)) }.0.crc32c()
    }

    /// Copies `src` to `dst`, which must have the same length, and gives the CRC-32C of the bytes.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`], before anything is copied.
    pub fn copy_crc32c(self, dst: &mut [u8], src: &[u8]) -> Result<u32, Error> {
        self.copy_crc32c_from(0, dst, src)
    }

    /// As [`copy_crc32c`](Self::copy_crc32c), with the CRC of `src` after what gave `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`], before anything is copied.
    pub fn copy_crc32c_from(self, seed: u32, dst: &mut [u8], src: &[u8]) -> Result<u32, Error> {
        check::same_length(dst.len(), src.len())?;
        let (from, to, len) = (src.as_ptr(), dst.as_mut_ptr(), src.len());
        let (threads, hint) = (self.threads, self.hint);
        // SAFETY: both slices are borrowed here, `dst` exclusively, and have that length.
        let copy_crc32c = move || unsafe { parallel::copy_crc32c(threads, hint, seed, from, to, len) };
        if let Some(crc) = self.alone(Operation::CopyCrc32c, len, copy_crc32c) {
            return Ok(crc);
        }
        // SAFETY: both slices are borrowed until `run` returns, `dst` exclusively.
        Ok(unsafe { self.run(Plain::copy_crc32c(src.as_ptr(), dst.as_mut_ptr(), src.len(), seed)) }.0.crc32c())
    }

    /// Runs several operations on borrowed memory at once, and waits for all of them, see [`Scope`]. Hint, threads and split are not for
    /// these.
    pub fn scope<'env, R>(self, f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R) -> R {
        run_scope(self.accelerator, f)
    }

    pub(super) fn accelerator(&self) -> &Accelerator {
        self.accelerator
    }

    /// The shares of a copy of `len` bytes, if a device and this thread do it together.
    fn shares(self, len: usize) -> Option<Shares> {
        let shared = self.accelerator.shared();
        if shared.queues.is_empty() {
            return None;
        }
        Shares::new(len, self.split, shared.least as usize)
    }

    /// Does an operation that is the CPU's, and needs no job.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    fn alone<R>(&self, operation: Operation, len: usize, work: impl FnOnce() -> R) -> Option<R> {
        direct::alone(self.accelerator, operation, len as u64, work)
    }

    /// # Safety
    ///
    /// The job's memory is valid until this returns, and nobody else touches it (sources may be read).
    pub(super) unsafe fn run(self, mut job: impl Load) -> (Outcome, Path) {
        job.set_hint(self.hint);
        // SAFETY: the caller's promise.
        if let Some(outcome) = unsafe { direct::run(&mut job, self.accelerator) } {
            return (outcome, Path::Cpu);
        }
        let mut flight = Flight::new(job);
        flight.set_cache_control(self.hint == Hint::Hot);
        // SAFETY: the caller's promise; `wait` returns only when no device works on the memory any more.
        let outcome = unsafe { flight.wait(self.accelerator) };
        (outcome, flight.path())
    }
}

/// [`Blocking::memcpy`] of slices of the same length, which other threads or a device may have a part in. Apart from the rest, and without
/// a [`Blocking`], which that would have to put into memory.
#[inline(never)]
fn memcpy_at_length(
    accelerator: &Accelerator,
    split: Split,
    hint: Hint,
    threads: usize,
    dst: &mut [u8],
    src: &[u8],
) -> Path {
    let calls = Blocking { accelerator, split, hint, threads };
    let (from, to, len) = (src.as_ptr(), dst.as_mut_ptr(), src.len());
    // SAFETY: both slices are borrowed here, `dst` exclusively, and have that length.
    let copy = move || unsafe { parallel::copy(threads, hint, from, to, len) };
    if calls.alone(Operation::Copy, len, copy).is_some() {
        return Path::Cpu;
    }
    if let Some(shares) = calls.shares(len) {
        // SAFETY: both slices are borrowed until `copy` has returned, `dst` exclusively; they have the length of the
        // shares.
        return unsafe { split::copy(accelerator, from, to, shares) };
    }
    // SAFETY: both slices are borrowed until `run` returns, `dst` exclusively.
    unsafe { calls.run(Plain::copy(from, to, len)) }.1
}

/// Copies, and counts it. With numbers and addresses only, so that all of them come in registers and stay there.
///
/// # Safety
///
/// As for [`cpu::copy_with`].
#[inline(never)]
unsafe fn copy_alone(lane: &Lane, reason: Reason, hint: Hint, src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if direct::count(lane, reason, Operation::Copy, len as u64) {
            copy_timed(lane, hint, src, dst, len);
        } else {
            cpu::copy_with(hint, src, dst, len);
        }
    }
}

/// # Safety
///
/// As for [`cpu::copy_with`].
#[cold]
#[inline(never)]
unsafe fn copy_timed(lane: &Lane, hint: Hint, src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    direct::timed(lane, move || unsafe { cpu::copy_with(hint, src, dst, len) });
}

/// [`Blocking::memcpy`] on the process-wide accelerator.
///
/// # Errors
///
/// [`Error::LengthMismatch`], before anything is copied.
pub fn memcpy(dst: &mut [u8], src: &[u8]) -> Result<Path, Error> {
    Accelerator::global().blocking().memcpy(dst, src)
}

/// [`Blocking::memmove`] on the process-wide accelerator.
///
/// # Errors
///
/// [`Error::OutOfBounds`], before anything is moved.
pub fn memmove(buf: &mut [u8], src: std::ops::Range<usize>, dst: usize) -> Result<Path, Error> {
    Accelerator::global().blocking().memmove(buf, src, dst)
}

/// [`Blocking::memset`] on the process-wide accelerator.
pub fn memset(dst: &mut [u8], pattern: impl Into<Pattern>) -> Path {
    Accelerator::global().blocking().memset(dst, pattern)
}

/// [`Blocking::memcmp`] on the process-wide accelerator.
pub fn memcmp(a: &[u8], b: &[u8]) -> Ordering {
    Accelerator::global().blocking().memcmp(a, b)
}

/// [`Blocking::first_difference`] on the process-wide accelerator.
///
/// # Errors
///
/// [`Error::LengthMismatch`].
pub fn first_difference(a: &[u8], b: &[u8]) -> Result<Option<usize>, Error> {
    Accelerator::global().blocking().first_difference(a, b)
}

/// [`Blocking::crc32c`] on the process-wide accelerator.
pub fn crc32c(src: &[u8]) -> u32 {
    Accelerator::global().blocking().crc32c(src)
}

/// [`Blocking::crc32c_from`] on the process-wide accelerator.
pub fn crc32c_from(seed: u32, src: &[u8]) -> u32 {
    Accelerator::global().blocking().crc32c_from(seed, src)
}

/// [`Blocking::crc64`] on the process-wide accelerator.
pub fn crc64(src: &[u8]) -> u64 {
    Accelerator::global().blocking().crc64(src)
}

/// [`Blocking::crc64_from`] on the process-wide accelerator.
pub fn crc64_from(seed: u64, src: &[u8]) -> u64 {
    Accelerator::global().blocking().crc64_from(seed, src)
}

/// [`Blocking::compare_pattern`] on the process-wide accelerator.
pub fn compare_pattern(src: &[u8], pattern: impl Into<Pattern>) -> Option<usize> {
    Accelerator::global().blocking().compare_pattern(src, pattern)
}

/// [`Blocking::drain`] on the process-wide accelerator.
pub fn drain() {
    Accelerator::global().blocking().drain();
}

/// [`Blocking::copy_crc32c`] on the process-wide accelerator.
///
/// # Errors
///
/// [`Error::LengthMismatch`], before anything is copied.
pub fn copy_crc32c(dst: &mut [u8], src: &[u8]) -> Result<u32, Error> {
    Accelerator::global().blocking().copy_crc32c(dst, src)
}

/// [`Blocking::copy_crc32c_from`] on the process-wide accelerator.
///
/// # Errors
///
/// [`Error::LengthMismatch`], before anything is copied.
pub fn copy_crc32c_from(seed: u32, dst: &mut [u8], src: &[u8]) -> Result<u32, Error> {
    Accelerator::global().blocking().copy_crc32c_from(seed, dst, src)
}

/// [`Blocking::copy_crc64_from`] on the process-wide accelerator.
///
/// # Errors
///
/// [`Error::CapacityTooSmall`], before anything is copied.
pub fn copy_crc64_from(seed: u64, dst: &mut [u8], src: &[u8]) -> Result<u64, Error> {
    Accelerator::global().blocking().copy_crc64_from(seed, dst, src)
}

/// [`Blocking::scope`] on the process-wide accelerator.
pub fn scope<'env, R>(f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R) -> R {
    Accelerator::global().blocking().scope(f)
}
