//! Jobs on regions of equal size, byte by byte: copies, fills, comparisons, checksums.
//!
//! Where source and destination of a move overlap, a piece is no longer than the distance between the two, so that it
//! can be done over. A comparison with a pattern gets a lower bound from a device; the CPU goes on from there.

use idxd_sys::{CompletionRecord, Descriptor, opcode, status};

use super::{Absorbed, Extras, GRAIN, Operands, Outcome, Piece, Region, Work, expose, source, target};
use crate::cpu::{self, CrcParams, CrcWidth, Hint};
use crate::descriptor::{
    CacheControl, Capabilities, Compare, ComparePattern, CopyCrc, Crc, DescriptorError, Dualcast, Fill, Move,
};
use crate::stats::Operation;

/// Below this distance between overlapping source and destination, pieces would be too short for a device.
const MIN_DEVICE_DISTANCE: u64 = 4096;

/// CRC-64/NVME, with the device's conventions.
const CRC_64: CrcParams = CrcParams { width: CrcWidth::Crc64, bypass_inversion: false, bypass_reflection: false };

/// What is done. Some of it has a short way, see [`super::super::quick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Copy,
    Fill,
    Compare,
    Dualcast,
    Crc32c,
    CopyCrc32c,
    ComparePattern,
    Crc64,
    CopyCrc64,
    /// A move to an overlapping address.
    CopyWithin,
    FillWide,
}

impl Kind {
    pub(crate) const COUNT: usize = Self::FillWide as usize + 1;

    /// Under which name such a job is counted.
    #[inline]
    pub(crate) const fn operation(self) -> Operation {
        match self {
            Self::Copy | Self::CopyWithin => Operation::Copy,
            Self::Fill | Self::FillWide => Operation::Fill,
            Self::Crc32c => Operation::Crc32c,
            Self::CopyCrc32c => Operation::CopyCrc32c,
            Self::Compare => Operation::Compare,
            Self::Crc64 => Operation::Crc64,
            Self::CopyCrc64 => Operation::CopyCrc64,
            Self::ComparePattern => Operation::ComparePattern,
            Self::Dualcast => Operation::Dualcast,
        }
    }
}

/// A job as a descriptor has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quick {
    pub(crate) kind: Kind,
    /// First address, or a pattern.
    pub(crate) first: u64,
    /// Second address.
    pub(crate) second: u64,
    pub(crate) len: u64,
    /// Seed of a CRC.
    pub(crate) seed: u64,
}

/// Regions of equal size, byte by byte.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    kind: Kind,
    /// Pieces are taken from the end: a move to a higher, overlapping address.
    backwards: bool,
    /// Where the bytes are, if somebody knows.
    hint: Hint,
    /// Wide pattern's lower half, pattern of a comparison, or running CRC; 0 for others.
    value: u64,
    /// Source; pattern of a fill.
    src: u64,
    /// Destination; second source of a comparison.
    dst: u64,
    /// Second destination of a dualcast; upper half of a wide pattern; the longest piece of a move to an overlapping
    /// address.
    aux: u64,
    /// Bytes left.
    len: u64,
    /// Bytes in all.
    total: u64,
}

impl Plain {
    fn new(kind: Kind, src: *const u8, dst: *mut u8, len: usize) -> Self {
        let len = len as u64;
        Self {
            kind,
            backwards: false,
            hint: Hint::Unknown,
            value: 0,
            src: expose(src),
            dst: expose(dst),
            aux: 0,
            len,
            total: len,
        }
    }

    fn reading(kind: Kind, src: *const u8, len: usize) -> Self {
        Self::new(kind, src, std::ptr::null_mut(), len)
    }

    /// At most `limit` bytes.
    #[inline]
    fn part(&self, limit: u64) -> u64 {
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

    const fn is_wide_crc(&self) -> bool {
        matches!(self.kind, Kind::Crc64 | Kind::CopyCrc64)
    }
}

/// Plain jobs.
impl Plain {
    /// Nothing at all, in place of what was refused.
    #[inline]
    pub(crate) fn nothing() -> Self {
        Self::reading(Kind::Copy, std::ptr::null(), 0)
    }

    /// `len` bytes from `src` to `dst`, which do not overlap.
    #[inline]
    pub(crate) fn copy(src: *const u8, dst: *mut u8, len: usize) -> Self {
        Self::new(Kind::Copy, src, dst, len)
    }

    /// `len` bytes from `src` to `dst`, which may overlap.
    #[inline]
    pub(crate) fn copy_within(src: *const u8, dst: *mut u8, len: usize) -> Self {
        let mut plain = Self::new(Kind::Copy, src, dst, len);
        let distance = plain.src.abs_diff(plain.dst);
        if distance < plain.len {
            plain.kind = Kind::CopyWithin;
            plain.aux = distance.max(1);
            plain.backwards = plain.dst > plain.src;
        }
        plain
    }

    /// Fills `len` bytes with an 8-byte pattern, lowest byte first.
    #[inline]
    pub(crate) fn fill(dst: *mut u8, len: usize, pattern: u64) -> Self {
        Self { src: pattern, ..Self::new(Kind::Fill, std::ptr::null(), dst, len) }
    }

    /// Fills `len` bytes with a 16-byte pattern, lowest byte of the first word first. One that repeats itself after 8
    /// bytes needs nothing that not every device has.
    #[inline]
    pub(crate) fn fill_wide(dst: *mut u8, len: usize, pattern: [u64; 2]) -> Self {
        let [value, aux] = pattern;
        if value == aux {
            return Self::fill(dst, len, value);
        }
        Self { value, aux, ..Self::new(Kind::FillWide, std::ptr::null(), dst, len) }
    }

    /// CRC-32C of `len` bytes, continuing from `seed`.
    #[inline]
    pub(crate) fn crc32c(src: *const u8, len: usize, seed: u32) -> Self {
        Self { value: seed.into(), ..Self::reading(Kind::Crc32c, src, len) }
    }

    /// CRC-64/NVME of `len` bytes, continuing from `seed`.
    #[inline]
    pub(crate) fn crc64(src: *const u8, len: usize, seed: u64) -> Self {
        Self { value: seed, ..Self::reading(Kind::Crc64, src, len) }
    }

    /// Copy and CRC-32C in one pass.
    #[inline]
    pub(crate) fn copy_crc32c(src: *const u8, dst: *mut u8, len: usize, seed: u32) -> Self {
        Self { value: seed.into(), ..Self::new(Kind::CopyCrc32c, src, dst, len) }
    }

    /// Copy and CRC-64/NVME in one pass.
    #[inline]
    pub(crate) fn copy_crc64(src: *const u8, dst: *mut u8, len: usize, seed: u64) -> Self {
        Self { value: seed, ..Self::new(Kind::CopyCrc64, src, dst, len) }
    }

    /// First difference of two regions.
    #[inline]
    pub(crate) fn compare(a: *const u8, b: *const u8, len: usize) -> Self {
        Self::new(Kind::Compare, a, b.cast_mut(), len)
    }

    /// First difference of a region and a repeated 8-byte pattern, lowest byte first.
    #[inline]
    pub(crate) fn compare_pattern(src: *const u8, len: usize, pattern: u64) -> Self {
        Self { value: pattern, ..Self::reading(Kind::ComparePattern, src, len) }
    }

    /// One source, two destinations.
    #[inline]
    pub(crate) fn dualcast(src: *const u8, first: *mut u8, second: *mut u8, len: usize) -> Self {
        Self { aux: expose(second), ..Self::new(Kind::Dualcast, src, first, len) }
    }

    /// The job as one descriptor has it.
    #[inline]
    pub(crate) fn quick(&self) -> Quick {
        Quick { kind: self.kind, first: self.src, second: self.dst, len: self.len, seed: self.value }
    }

    /// Continues a CRC from `seed`; before anything has been done.
    #[inline]
    pub(crate) fn set_seed(&mut self, seed: u64) {
        self.value = seed;
    }
}

impl Work for Plain {
    #[inline]
    fn operation(&self) -> Operation {
        self.kind.operation()
    }

    #[inline]
    fn total(&self) -> u64 {
        self.total
    }

    #[inline]
    fn left(&self) -> u64 {
        self.len
    }

    #[inline]
    fn set_hint(&mut self, hint: Hint) {
        self.hint = hint;
    }

    #[inline]
    fn is_for_cpu(&self) -> bool {
        self.kind == Kind::CopyWithin && self.aux < MIN_DEVICE_DISTANCE
    }

    #[inline]
    fn may_refine(&self) -> bool {
        self.kind == Kind::ComparePattern
    }

    #[inline]
    fn next_piece(&self, caps: &Capabilities) -> u64 {
        let limit = caps.max_transfer_size();
        if self.kind == Kind::CopyWithin {
            // At least `MIN_DEVICE_DISTANCE`, or the job would not have gone to a device.
            self.part(limit.min(self.aux))
        } else {
            self.part(limit)
        }
    }

    #[inline]
    fn next_slice(&self, limit: u64) -> u64 {
        self.part(limit)
    }

    #[inline]
    fn describe(&self, piece: u64, extras: Extras, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let (src, dst, second) = self.at(piece);
        let (len, record) = (piece, extras.record);
        let cache = if extras.cached { CacheControl::Cache } else { CacheControl::Memory };
        let is_wide = self.is_wide_crc();
        match self.kind {
            Kind::Copy | Kind::CopyWithin => Move::new(src, dst, len).record(record).cache_control(cache).build(caps),
            Kind::Fill => Fill::new(dst, len, self.src).record(record).cache_control(cache).build(caps),
            Kind::FillWide => {
                let pattern = [self.value, self.aux];
                Fill::with_wide_pattern(dst, len, pattern).record(record).cache_control(cache).build(caps)
            }
            Kind::Crc32c | Kind::Crc64 => Crc::new(src, len).crc64(is_wide).seed(self.value).record(record).build(caps),
            Kind::CopyCrc32c | Kind::CopyCrc64 => {
                let builder = CopyCrc::new(src, dst, len).crc64(is_wide).seed(self.value);
                builder.record(record).cache_control(cache).build(caps)
            }
            Kind::Compare => Compare::new(src, dst, len).record(record).build(caps),
            Kind::ComparePattern => ComparePattern::new(src, len, self.value).record(record).build(caps),
            Kind::Dualcast => Dualcast::new(src, dst, second, len).record(record).cache_control(cache).build(caps),
        }
    }

    #[inline]
    fn outcome_of(
        &self,
        sent: &Descriptor,
        record: &CompletionRecord,
        piece: &Piece,
        _caps: &Capabilities,
    ) -> Option<Outcome> {
        if record.status != status::SUCCESS {
            return None;
        }
        let offset = u64::from(piece.advanced) + u64::from(record.bytes_completed);
        match sent.opcode() {
            opcode::CRCGEN | opcode::COPY_CRC => Some(Outcome::Crc(record.op_specific[0])),
            opcode::COMPARE | opcode::COMPVAL if record.result == 0 => Some(Outcome::Difference(None)),
            // A difference is inside the region.
            opcode::COMPARE | opcode::COMPVAL if record.bytes_completed >= sent.xfer_size => None,
            opcode::COMPARE => Some(Outcome::Difference(Some(offset as usize))),
            opcode::COMPVAL => Some(Outcome::NotBefore(offset)),
            _ => Some(Outcome::Done),
        }
    }

    #[inline]
    fn absorb(&mut self, mut piece: u64, of_piece: Outcome) -> Absorbed {
        let mut refine = false;
        match of_piece {
            Outcome::Difference(Some(offset)) => {
                let done = (self.total - self.len) as usize;
                self.len = 0;
                return Absorbed::Done(Outcome::Difference(Some(done + offset)));
            }
            Outcome::NotBefore(offset) => {
                // What is left starts with the pattern's first byte.
                piece = offset.min(piece) / GRAIN * GRAIN;
                refine = true;
            }
            // The upper half of a record says nothing about 32 bits.
            Outcome::Crc(crc) => self.value = if self.is_wide_crc() { crc } else { crc & 0xffff_ffff },
            _ => {}
        }
        self.len -= piece;
        if self.len == 0 {
            return Absorbed::Done(self.outcome());
        }
        if !self.backwards {
            if self.kind != Kind::Fill {
                self.src = self.src.wrapping_add(piece);
            }
            self.dst = self.dst.wrapping_add(piece);
            if self.kind == Kind::Dualcast {
                self.aux += piece;
            }
        }
        if refine { Absorbed::Refine } else { Absorbed::More }
    }

    unsafe fn run(&self, piece: u64) -> Outcome {
        let (src, dst, second) = self.at(piece);
        let (src, dst, second, len) = (source(src), target(dst), target(second), piece as usize);
        // A piece is no smaller a matter than the whole.
        let hint = self.hint.of_part(piece, self.total);
        // SAFETY: the piece lies inside the job's regions, for which the caller vouches; `cpu` asks for no more.
        unsafe {
            match self.kind {
                Kind::Copy | Kind::CopyWithin => cpu::copy_with(hint, src, dst, len),
                Kind::Fill => cpu::fill_with(hint, dst, len, self.src),
                Kind::FillWide => cpu::fill_wide_with(hint, dst, len, [self.value, self.aux]),
                Kind::Dualcast => cpu::dualcast_with(hint, src, dst, second, len),
                Kind::Crc32c => {
                    return Outcome::Crc(cpu::crc32c_with(hint, self.value as u32, src, len).into());
                }
                Kind::Crc64 => return Outcome::Crc(cpu::crc_with(hint, CRC_64, self.value, src, len)),
                Kind::CopyCrc32c => {
                    return Outcome::Crc(cpu::copy_crc32c_with(hint, self.value as u32, src, dst, len).into());
                }
                Kind::CopyCrc64 => return Outcome::Crc(cpu::copy_crc_with(hint, CRC_64, self.value, src, dst, len)),
                Kind::Compare => return Outcome::Difference(cpu::compare(src, dst, len)),
                Kind::ComparePattern => return Outcome::Difference(cpu::compare_pattern(src, len, self.value)),
            }
        }
        Outcome::Done
    }

    #[inline]
    fn outcome(&self) -> Outcome {
        match self.kind {
            Kind::Crc32c | Kind::CopyCrc32c | Kind::Crc64 | Kind::CopyCrc64 => Outcome::Crc(self.value),
            Kind::Compare | Kind::ComparePattern => Outcome::Difference(None),
            _ => Outcome::Done,
        }
    }

    #[inline]
    fn written(&self, _outcome: &Outcome) -> u64 {
        self.total
    }

    fn operands(&self) -> Operands {
        let reads = |is_read: bool| if is_read { self.len } else { 0 };
        let has_source = !matches!(self.kind, Kind::Fill | Kind::FillWide);
        let has_second = !matches!(self.kind, Kind::Crc32c | Kind::Crc64 | Kind::ComparePattern);
        [
            Region::new(self.src, reads(has_source)),
            Region::new(self.dst, reads(has_second)),
            Region::new(self.aux, reads(self.kind == Kind::Dualcast)),
            Region::default(),
            Region::default(),
        ]
    }
}
