//! Data-integrity fields: check, insert, strip, update, and DIX generate (specification sections 8.3.14 to 8.3.18 and
//! appendix B).
//!
//! Five operations, one loop over the blocks: take a block, with its tuple if the source has them; check the tuple; make
//! another one; give what the destination gets. A block is done or not done as a whole. It is copied out once, before
//! anything is looked at, so that guard, tags and copy are of the same bytes whatever happens to the source meanwhile.

use idxd_sys::limits::{DELTA_ALIGN, DIF_BLOCKS, DIF_TUPLE};
use idxd_sys::{Descriptor, dif, opcode, status};

use super::guard::guard;
use super::validate::{fail, regions_overlap};
use super::{CompletionRecord, Exec, Halt, Op, Operand, Outcome, record};
use crate::config::Checks;

/// Bytes of a tuple.
const TUPLE: usize = DIF_TUPLE as usize;
/// Bytes of the largest block with its tuple.
const MOST: usize = DIF_BLOCKS[3] as usize + TUPLE;
/// Bits of the flag bytes that mean nothing.
const RESERVED_DEST_FLAGS: u8 = 0b0000_0111;
const RESERVED_DIF_FLAGS: u8 = 0b1111_0000;

/// What one block means for an operation, in bytes.
pub(super) struct Stride {
    /// Data.
    block: usize,
    /// Source: data, with a tuple if there is one.
    from: usize,
    /// Destination: data, tuple, both, or nothing.
    to: usize,
}

impl Stride {
    fn of(d: &Descriptor) -> Self {
        let block = dif::block_size(d.op_u8(42)) as usize;
        let from = if checks(d.opcode()) { block + TUPLE } else { block };
        let to = match d.opcode() {
            opcode::DIF_INS | opcode::DIF_UPDT => block + TUPLE,
            opcode::DIF_STRP => block,
            opcode::DIX_GEN => TUPLE,
            _ => 0,
        };
        Self { block, from, to }
    }
}

/// The bytes that an operation writes.
pub(super) fn destination_size(d: &Descriptor) -> u64 {
    let Stride { from, to, .. } = Stride::of(d);
    u64::from(d.xfer_size) / from as u64 * to as u64
}

/// Whether the source of an operation has tuples, which are then checked.
fn checks(code: u8) -> bool {
    matches!(code, opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT)
}

/// Whether an operation makes tuples.
fn makes(code: u8) -> bool {
    matches!(code, opcode::DIF_INS | opcode::DIF_UPDT | opcode::DIX_GEN)
}

/// Transfer size, alignment and overlap. That the size is within the queue's limit has been seen to.
pub(super) fn check(x: &Exec<'_>, d: &Descriptor) -> Result<(), CompletionRecord> {
    let size = u64::from(d.xfer_size);
    let whole = size.is_multiple_of(Stride::of(d).from as u64);
    fail(x.shared.config.choices.dif_sizes == Checks::Strict && !whole, status::BAD_SIZE)?;
    // The same 8 bytes as for delta records.
    let aligned = d.opcode() != opcode::DIX_GEN || d.dst_addr.is_multiple_of(DELTA_ALIGN as u64);
    fail(!aligned, status::ADDR_ALIGN)?;
    fail(regions_overlap((d.src_addr, size), (d.dst_addr, destination_size(d))), status::OVERLAP)
}

/// Whether the bytes and bits that an operation leaves reserved are 0 (table 5-3, sections 8.3.17.1 and 8.3.17.3).
pub(super) fn reserved_bytes_clear(d: &Descriptor) -> bool {
    let (code, [w40, w48, w56]) = (d.opcode(), d.op_specific);
    let source = checks(code) || d.op_u8(40) == 0 && w48 == 0;
    let destination = if makes(code) { d.op_u8(41) & RESERVED_DEST_FLAGS == 0 } else { d.op_u8(41) == 0 && w56 == 0 };
    let address = code != opcode::DIF_CHECK || d.dst_addr == 0;
    let rest = d.reserved == 0 && d.op_u8(42) & RESERVED_DIF_FLAGS == 0 && w40 >> 24 == 0;
    source && destination && address && rest
}

/// A tuple as software writes numbers. In memory it is big endian: guard, application tag, reference tag.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tuple {
    guard: u16,
    application: u16,
    reference: u32,
}

impl Tuple {
    const ALL_ONES: Self = Self { guard: u16::MAX, application: u16::MAX, reference: u32::MAX };

    fn read(bytes: [u8; TUPLE]) -> Self {
        let [g0, g1, a0, a1, r @ ..] = bytes;
        Self {
            guard: u16::from_be_bytes([g0, g1]),
            application: u16::from_be_bytes([a0, a1]),
            reference: u32::from_be_bytes(r),
        }
    }

    fn bytes(self) -> [u8; TUPLE] {
        let ([g0, g1], [a0, a1]) = (self.guard.to_be_bytes(), self.application.to_be_bytes());
        let [r0, r1, r2, r3] = self.reference.to_be_bytes();
        [g0, g1, a0, a1, r0, r1, r2, r3]
    }
}

/// The tags of one side, for the block that comes next.
struct Tags {
    reference: u32,
    mask: u16,
    /// Before the mask, which is applied after incrementing.
    application: u16,
    reference_step: u32,
    application_step: u16,
}

impl Tags {
    fn new(d: &Descriptor, seeds: usize, fixed_reference: bool, counting_application: bool) -> Self {
        Self {
            reference: d.op_u32(seeds),
            mask: d.op_u16(seeds + 4),
            application: d.op_u16(seeds + 6),
            reference_step: u32::from(!fixed_reference),
            application_step: u16::from(counting_application),
        }
    }

    /// The tags that checked tuples must have.
    fn source(d: &Descriptor) -> Self {
        let set = |bit: u8| d.op_u8(40) & bit != 0;
        Self::new(d, 48, set(dif::SOURCE_REF_FIXED), set(dif::SOURCE_APP_INCREMENTS))
    }

    /// The tags of tuples to be made.
    fn destination(d: &Descriptor) -> Self {
        let set = |bit: u8| d.op_u8(41) & bit != 0;
        Self::new(d, 56, set(dif::DEST_REF_FIXED), set(dif::DEST_APP_INCREMENTS))
    }

    /// A tuple with these tags.
    fn tuple(&self, guard: u16) -> Tuple {
        Tuple { guard, application: self.application & !self.mask, reference: self.reference }
    }

    fn advance(&mut self) {
        self.reference = self.reference.wrapping_add(self.reference_step);
        self.application = self.application.wrapping_add(self.application_step);
    }

    /// As completion records have them, and descriptors.
    fn word(&self) -> u64 {
        u64::from(self.reference) | u64::from(self.mask) << 32 | u64::from(self.application) << 48
    }
}

impl Op<'_, '_> {
    /// All five operations.
    pub(super) fn data_integrity(&mut self) -> Outcome {
        let (code, dif_flags) = (self.d.opcode(), self.d.op_u8(42));
        let Stride { block, from, to } = Stride::of(self.d);
        let mut source = checks(code).then(|| Tags::source(self.d));
        let mut destination = makes(code).then(|| Tags::destination(self.d));
        let mut bytes = [0; MOST];
        let mut done = 0;
        for index in 0..self.size() / from as u64 {
            self.x.check_stop()?;
            if let Err(halt) = self.take(Operand::Source, self.d.src_addr, done, &mut bytes[..from]) {
                return self.unfinished(halt, done, source.as_ref(), destination.as_ref());
            }
            let (data, tuple) = bytes.split_at_mut(block);
            let tuple = tuple.first_chunk_mut().expect("the array holds a tuple behind the largest block");
            let stored = Tuple::read(*tuple);
            let guard = guard(data, dif_flags);
            if let Some(tags) = &source {
                let wrong = self.mismatch(stored, tags, guard);
                if wrong != 0 {
                    self.x.counters.bytes.add(done);
                    let ended = record(status::DIF_ERROR);
                    return Ok(CompletionRecord { result: wrong, bytes_completed: done as u32, ..ended });
                }
            }
            if let Some(tags) = &destination {
                *tuple = self.made(stored, tags.tuple(guard)).bytes();
            }
            // Of data and tuple the destination gets the first or the last bytes.
            let first = if code == opcode::DIX_GEN { block } else { 0 };
            if let Err(halt) =
                self.give(Operand::Destination, self.d.dst_addr, index * to as u64, &bytes[first..first + to])
            {
                return self.unfinished(halt, done, source.as_ref(), destination.as_ref());
            }
            for tags in [&mut source, &mut destination].into_iter().flatten() {
                tags.advance();
            }
            done += from as u64;
        }
        Ok(CompletionRecord { op_specific: final_tags(source.as_ref(), destination.as_ref()), ..self.success() })
    }

    /// What is wrong with the tuple of a block, as DIF status bits.
    fn mismatch(&self, stored: Tuple, tags: &Tags, guard: u16) -> u8 {
        let set = |bit: u8| self.d.op_u8(40) & bit != 0;
        let all_ones = set(dif::SOURCE_F_ALL) && stored == Tuple::ALL_ONES;
        if all_ones && set(dif::SOURCE_F_ALL_ERROR) {
            return dif::ALL_F;
        }
        let application_ones = stored.application == u16::MAX;
        let detected = all_ones
            || set(dif::SOURCE_F_APP) && application_ones
            || set(dif::SOURCE_F_APP_REF) && application_ones && stored.reference == u32::MAX;
        if detected {
            return 0;
        }
        let expected = tags.tuple(guard);
        let mask = if self.x.shared.config.choices.mask_stored_tags { tags.mask } else { 0 };
        let bit = |wrong: bool, bit: u8| if wrong { bit } else { 0 };
        let application = tags.mask != u16::MAX && stored.application & !mask != expected.application;
        bit(!set(dif::SOURCE_GUARD_UNCHECKED) && stored.guard != guard, dif::GUARD_MISMATCH)
            | bit(application, dif::APP_MISMATCH)
            | bit(!set(dif::SOURCE_REF_UNCHECKED) && stored.reference != expected.reference, dif::REF_MISMATCH)
    }

    /// The tuple that the destination gets: computed, but for the fields that an update passes through.
    fn made(&self, stored: Tuple, computed: Tuple) -> Tuple {
        let passes = |bit: u8| self.d.opcode() == opcode::DIF_UPDT && self.d.op_u8(41) & bit != 0;
        Tuple {
            guard: if passes(dif::DEST_GUARD_PASS) { stored.guard } else { computed.guard },
            application: if passes(dif::DEST_APP_PASS) { stored.application } else { computed.application },
            reference: if passes(dif::DEST_REF_PASS) { stored.reference } else { computed.reference },
        }
    }

    /// The record of an operation that a fault ended, with the tags of the block that was not done.
    fn unfinished(&self, halt: Halt, done: u64, source: Option<&Tags>, destination: Option<&Tags>) -> Outcome {
        Ok(CompletionRecord { op_specific: final_tags(source, destination), ..self.partial(halt, done)? })
    }
}

/// Bytes 16 to 31 of the record; a side that an operation does not have is 0.
fn final_tags(source: Option<&Tags>, destination: Option<&Tags>) -> [u64; 2] {
    [source, destination].map(|tags| tags.map_or(0, Tags::word))
}
