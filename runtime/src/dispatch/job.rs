//! A job: what is still to be done of one operation, whoever does it.
//!
//! For a device a job is cut into *pieces*: as many bytes as one descriptor takes. Each piece is safe to do over from its
//! beginning, because nothing it writes is ever read by it: where source and destination of a move overlap, a piece is no
//! longer than the distance between the two. That is what makes invariant 4 workable - a piece that was lost in a
//! quiesced queue is simply done again. The CPU takes *slices*, which nothing interrupts, so they may overlap themselves.

use idxd_sys::Descriptor;

use crate::cpu;
use crate::descriptor::{CacheControl, Capabilities, Compare, CopyCrc, Crc, DescriptorError, Dualcast, Fill, Move};
use crate::stats::Operation;

/// Pieces end on multiples of this (except the last), so that fill patterns keep their phase.
const GRAIN: u64 = 64;

/// Below this distance between overlapping source and destination, pieces would be too short for a device.
pub(crate) const MIN_DEVICE_DISTANCE: u64 = 4096;

/// What an operation yields besides the bytes it wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The CRC-32C of everything so far.
    pub(crate) crc: u32,
    /// Offset of the first difference.
    pub(crate) difference: Option<usize>,
}

/// What kind of work a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Copy,
    Fill,
    Crc32c,
    CopyCrc32c,
    Compare,
    Dualcast,
}

/// What is left of an operation. Addresses, not pointers: provenance was exposed when the job was made.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    kind: Kind,
    /// Pieces are taken from the end: a move to a higher, overlapping address.
    backwards: bool,
    /// Fill pattern, or running CRC.
    value: u64,
    src: u64,
    /// Destination; second source of a comparison.
    dst: u64,
    /// Second destination of a dualcast; for moves, the longest piece (0 = no limit).
    aux: u64,
    /// Bytes left.
    len: u64,
    /// Bytes in all.
    total: u64,
}

impl Job {
    fn new(kind: Kind, src: *const u8, dst: *mut u8, len: usize) -> Self {
        Self {
            kind,
            backwards: false,
            value: 0,
            src: src.expose_provenance() as u64,
            dst: dst.expose_provenance() as u64,
            aux: 0,
            len: len as u64,
            total: len as u64,
        }
    }

    /// Nothing at all, in place of what was refused.
    pub(crate) fn nothing() -> Self {
        Self::new(Kind::Copy, std::ptr::null(), std::ptr::null_mut(), 0)
    }

    /// Continues a CRC from `seed`; before anything has been done.
    pub(crate) fn set_seed(&mut self, seed: u32) {
        self.value = seed.into();
    }

    /// `len` bytes from `src` to `dst`, which do not overlap.
    pub(crate) fn copy(src: *const u8, dst: *mut u8, len: usize) -> Self {
        Self::new(Kind::Copy, src, dst, len)
    }

    /// `len` bytes from `src` to `dst`, which may overlap.
    pub(crate) fn copy_within(src: *const u8, dst: *mut u8, len: usize) -> Self {
        let mut job = Self::new(Kind::Copy, src, dst, len);
        let distance = job.src.abs_diff(job.dst);
        if distance < job.len {
            job.aux = distance.max(1);
            job.backwards = job.dst > job.src;
        }
        job
    }

    /// Fills `len` bytes with an 8-byte pattern, lowest byte first.
    pub(crate) fn fill(dst: *mut u8, len: usize, pattern: u64) -> Self {
        Self { value: pattern, ..Self::new(Kind::Fill, std::ptr::null(), dst, len) }
    }

    /// CRC-32C of `len` bytes, continuing from `seed`.
    pub(crate) fn crc32c(src: *const u8, len: usize, seed: u32) -> Self {
        Self { value: seed.into(), ..Self::new(Kind::Crc32c, src, std::ptr::null_mut(), len) }
    }

    /// Copy and CRC-32C in one pass.
    pub(crate) fn copy_crc32c(src: *const u8, dst: *mut u8, len: usize, seed: u32) -> Self {
        Self { value: seed.into(), ..Self::new(Kind::CopyCrc32c, src, dst, len) }
    }

    /// First difference of two regions.
    pub(crate) fn compare(a: *const u8, b: *const u8, len: usize) -> Self {
        Self::new(Kind::Compare, a, b.cast_mut(), len)
    }

    /// One source, two destinations.
    pub(crate) fn dualcast(src: *const u8, first: *mut u8, second: *mut u8, len: usize) -> Self {
        Self { aux: second.expose_provenance() as u64, ..Self::new(Kind::Dualcast, src, first, len) }
    }

    /// Under which name the job is counted.
    pub(crate) fn operation(&self) -> Operation {
        match self.kind {
            Kind::Copy => Operation::Copy,
            Kind::Fill => Operation::Fill,
            Kind::Crc32c => Operation::Crc32c,
            Kind::CopyCrc32c => Operation::CopyCrc32c,
            Kind::Compare => Operation::Compare,
            Kind::Dualcast => Operation::Dualcast,
        }
    }

    /// Bytes left.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes in all, done or not.
    #[inline]
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Whether pieces are so short that a device is of no use.
    #[inline]
    pub(crate) fn is_too_entangled(&self) -> bool {
        self.kind == Kind::Copy && self.aux != 0 && self.aux < MIN_DEVICE_DISTANCE
    }

    /// The result so far; final once nothing is left.
    #[inline]
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome { crc: self.value as u32, difference: None }
    }

    /// Length of the next piece for a device that takes at most `limit` bytes at once.
    #[inline]
    pub(crate) fn next_piece(&self, limit: u64) -> u64 {
        if self.kind == Kind::Copy && self.aux != 0 {
            // At least `MIN_DEVICE_DISTANCE`, or the job would not have gone to a device.
            self.next_slice(limit.min(self.aux))
        } else {
            self.next_slice(limit)
        }
    }

    /// Length of the next piece for the CPU, whose move copes with any overlap and is never interrupted. 0, which nobody
    /// can do, if the limit is below 64 bytes and there is more to do than that.
    #[inline]
    pub(crate) fn next_slice(&self, limit: u64) -> u64 {
        if self.len <= limit { self.len } else { limit / GRAIN * GRAIN }
    }

    /// Source, destination and second destination of the next `piece` bytes.
    #[inline]
    fn at(&self, piece: u64) -> (u64, u64, u64) {
        if self.backwards {
            let skip = self.len - piece;
            (self.src + skip, self.dst + skip, 0)
        } else {
            (self.src, self.dst, self.aux)
        }
    }

    /// The descriptor for the next `piece` bytes.
    #[inline]
    pub(crate) fn describe(
        &self,
        piece: u64,
        record: u64,
        cached: bool,
        caps: &Capabilities,
    ) -> Result<Descriptor, DescriptorError> {
        let (src, dst, second) = self.at(piece);
        let len = piece;
        let cache = if cached && caps.cache_control() { CacheControl::Cache } else { CacheControl::Memory };
        match self.kind {
            Kind::Copy => Move::new(src, dst, len).record(record).cache_control(cache).build(caps),
            Kind::Fill => Fill::new(dst, len, self.value).record(record).cache_control(cache).build(caps),
            Kind::Crc32c => Crc::new(src, len).seed(self.value as u32).record(record).build(caps),
            Kind::CopyCrc32c => {
                CopyCrc::new(src, dst, len).seed(self.value as u32).record(record).cache_control(cache).build(caps)
            }
            Kind::Compare => Compare::new(src, dst, len).record(record).build(caps),
            Kind::Dualcast => Dualcast::new(src, dst, second, len).record(record).cache_control(cache).build(caps),
        }
    }

    /// Takes note that the next `piece` bytes are done, with result `of_piece` (whose difference counts from the start
    /// of the piece). Returns the operation's outcome if that was the last of it.
    #[inline]
    pub(crate) fn absorb(&mut self, piece: u64, of_piece: Outcome) -> Option<Outcome> {
        let done = self.total - self.len;
        if let Some(offset) = of_piece.difference {
            self.len = 0;
            return Some(Outcome { crc: 0, difference: Some(done as usize + offset) });
        }
        self.len -= piece;
        if matches!(self.kind, Kind::Crc32c | Kind::CopyCrc32c) {
            self.value = of_piece.crc.into();
        }
        if self.len == 0 {
            return Some(self.outcome());
        }
        if !self.backwards {
            self.src = self.src.wrapping_add(piece);
            self.dst = self.dst.wrapping_add(piece);
            if self.kind == Kind::Dualcast {
                self.aux += piece;
            }
        }
        None
    }

    /// Does the next `piece` bytes on the CPU.
    ///
    /// # Safety
    ///
    /// The job's buffers are valid for what it reads and writes, no device is working on them, and nobody else
    /// touches them meanwhile.
    pub(crate) unsafe fn run(&self, piece: u64) -> Outcome {
        let (src, dst, second) = self.at(piece);
        // SAFETY: the piece lies inside the job's regions, for which the caller vouches.
        unsafe { run(self.kind, src, dst, second, self.value, piece as usize) }
    }
}

/// # Safety
///
/// As for [`Job::run`].
unsafe fn run(kind: Kind, src: u64, dst: u64, second: u64, value: u64, len: usize) -> Outcome {
    // The addresses' provenance was exposed by `Job::new`.
    let src = std::ptr::with_exposed_provenance::<u8>(src as usize);
    let dst = std::ptr::with_exposed_provenance_mut::<u8>(dst as usize);
    let second = std::ptr::with_exposed_provenance_mut::<u8>(second as usize);
    let mut outcome = Outcome::default();
    // SAFETY: the caller vouches for the regions; `cpu` asks for no more than that.
    unsafe {
        match kind {
            Kind::Copy => cpu::copy(src, dst, len),
            Kind::Fill => cpu::fill(dst, len, value),
            Kind::Crc32c => outcome.crc = cpu::crc32c_at(value as u32, src, len),
            Kind::CopyCrc32c => outcome.crc = cpu::copy_crc32c(value as u32, src, dst, len),
            Kind::Compare => outcome.difference = cpu::compare(src, dst, len),
            Kind::Dualcast => cpu::dualcast(src, dst, second, len),
        }
    }
    outcome
}
