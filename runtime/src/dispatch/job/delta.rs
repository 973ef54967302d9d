//! Jobs on delta records: create and apply.
//!
//! A device creates a record in one piece, since the offsets of its entries count from the start of the regions; the CPU
//! can go on with one. A record is applied entry by entry, so that it can be cut anywhere between two of them.

use idxd_sys::limits::{DELTA_ALIGN, DELTA_ENTRY, DELTA_MIN_RECORD};
use idxd_sys::{CompletionRecord, Descriptor};

use super::outcome::DeltaResult;
use super::{Absorbed, Extras, Job, Operands, Outcome, Piece, Region, Work, expose, source, target};
use crate::cpu::{self, DeltaSoFar};
use crate::descriptor::{self, ApplyDelta, CacheControl, Capabilities, CreateDelta, DescriptorError, Resume};
use crate::stats::Operation;

const WORD: u64 = DELTA_ALIGN as u64;
const ENTRY: u64 = DELTA_ENTRY as u64;

#[derive(Clone, Debug)]
pub(crate) enum Delta {
    Create {
        first: u64,
        second: u64,
        len: u64,
        record: u64,
        /// Bytes of the record that may be written, a multiple of an entry's.
        room: u64,
        /// Bytes that the CPU has compared, and written to the record.
        compared: u64,
        size: u64,
    },
    Apply {
        /// What is left of the record.
        record: u64,
        size: u64,
        dst: u64,
        len: u64,
        /// Bytes of the record in all.
        total: u64,
    },
}

/// Delta records.
impl Job {
    /// Records how `len` bytes at `second`, a multiple of 8 and at most 512 KiB, differ from those at `first`. The record
    /// has room for `room` bytes and overlaps neither.
    pub(crate) fn create_delta(first: *const u8, second: *const u8, len: usize, record: *mut u8, room: usize) -> Self {
        // More than there can be entries is of no use, but a device asks for room for a few.
        let (len, most) = (len as u64, len as u64 / WORD * ENTRY);
        Self::Delta(Delta::Create {
            first: expose(first),
            second: expose(second),
            len,
            record: expose(record),
            room: (room as u64 / ENTRY * ENTRY).min(most.max(DELTA_MIN_RECORD.into())),
            compared: 0,
            size: 0,
        })
    }

    /// Applies a record of `size` bytes, which has been found to be one, to `len` bytes, which it does not overlap.
    pub(crate) fn apply_delta(record: *const u8, size: usize, dst: *mut u8, len: usize) -> Self {
        let (size, len) = (size as u64, len as u64);
        Self::Delta(Delta::Apply { record: expose(record), size, dst: expose(dst), len, total: size })
    }
}

impl Work for Delta {
    fn operation(&self) -> Operation {
        match self {
            Self::Create { .. } => Operation::CreateDelta,
            Self::Apply { .. } => Operation::ApplyDelta,
        }
    }

    fn total(&self) -> u64 {
        match *self {
            Self::Create { len, .. } => len,
            Self::Apply { total, .. } => total,
        }
    }

    fn left(&self) -> u64 {
        match *self {
            Self::Create { len, compared, .. } => len - compared,
            Self::Apply { size, .. } => size,
        }
    }

    fn next_piece(&self, caps: &Capabilities) -> u64 {
        let limit = caps.max_transfer_size();
        match *self {
            Self::Create { len, .. } => len,
            Self::Apply { size, .. } => size.min(limit / ENTRY * ENTRY),
        }
    }

    fn next_slice(&self, limit: u64) -> u64 {
        match self {
            Self::Create { .. } => self.left().min(limit / WORD * WORD),
            // Each entry may touch another line of the destination.
            Self::Apply { .. } => self.left().min((limit / 64).max(1) * ENTRY),
        }
    }

    fn describe(&self, piece: u64, extras: Extras, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let cache = if extras.cached { CacheControl::Cache } else { CacheControl::Memory };
        match *self {
            Self::Create { first, second, len, record, room, .. } => {
                let builder = CreateDelta::new(first, second, len, record, room as u32);
                builder.record(extras.record).cache_control(cache).build(caps)
            }
            Self::Apply { record, dst, len, .. } => {
                let builder = ApplyDelta::new(record, piece as u32, dst, len);
                builder.record(extras.record).cache_control(cache).build(caps)
            }
        }
    }

    fn outcome_of(
        &self,
        sent: &Descriptor,
        record: &CompletionRecord,
        _piece: &Piece,
        caps: &Capabilities,
    ) -> Option<Outcome> {
        // The size of a record is only believed if it can be true.
        let Resume::Complete(completion) = Resume::plan(sent, record, caps) else { return None };
        match self {
            Self::Create { .. } => Some(Outcome::Delta(match completion.delta()? {
                descriptor::Delta::Equal => DeltaResult::Equal,
                descriptor::Delta::Complete { size } => DeltaResult::Record { size: size as usize },
                descriptor::Delta::Overflowed { .. } => DeltaResult::DoesNotFit,
            })),
            Self::Apply { .. } => Some(Outcome::Done),
        }
    }

    fn absorb(&mut self, piece: u64, of_piece: Outcome) -> Absorbed {
        match self {
            Self::Create { len, compared, size, .. } => {
                match of_piece {
                    // What the CPU has found so far.
                    Outcome::Delta(DeltaResult::Record { size: so_far }) => *size = so_far as u64,
                    Outcome::Delta(DeltaResult::DoesNotFit) => return Absorbed::Done(of_piece),
                    _ => {}
                }
                *compared += piece;
                if compared == len { Absorbed::Done(self.outcome()) } else { Absorbed::More }
            }
            Self::Apply { record, size, .. } => {
                if let Outcome::BadDelta(_) = of_piece {
                    return Absorbed::Done(of_piece);
                }
                *record = record.wrapping_add(piece);
                *size -= piece;
                if *size == 0 { Absorbed::Done(Outcome::Done) } else { Absorbed::More }
            }
        }
    }

    unsafe fn run(&self, piece: u64) -> Outcome {
        match *self {
            Self::Create { first, second, record, room, compared, size, .. } => {
                let range = compared as usize..(compared + piece) as usize;
                let so_far = DeltaSoFar { size: size as usize, max: room as usize };
                // SAFETY: the range lies inside both regions, and what has been written and will be inside the record; the
                // caller vouches for all three.
                let delta =
                    unsafe { cpu::create_delta_in(source(first), source(second), range, target(record), so_far) };
                Outcome::Delta(match delta {
                    cpu::Delta::Equal => DeltaResult::Equal,
                    cpu::Delta::Complete { size } => DeltaResult::Record { size },
                    cpu::Delta::Overflow { .. } => DeltaResult::DoesNotFit,
                })
            }
            Self::Apply { record, dst, len, .. } => {
                // SAFETY: the piece lies inside the record; the caller vouches for it and the destination.
                match unsafe { cpu::apply_delta(source(record), piece as usize, target(dst), len as usize) } {
                    Ok(()) => Outcome::Done,
                    Err(error) => Outcome::BadDelta(error),
                }
            }
        }
    }

    fn outcome(&self) -> Outcome {
        match *self {
            Self::Create { size: 0, .. } => Outcome::Delta(DeltaResult::Equal),
            Self::Create { size, .. } => Outcome::Delta(DeltaResult::Record { size: size as usize }),
            Self::Apply { .. } => Outcome::Done,
        }
    }

    fn written(&self, outcome: &Outcome) -> u64 {
        match (self, outcome) {
            (Self::Create { .. }, Outcome::Delta(DeltaResult::Record { size })) => *size as u64,
            // An applied record changes bytes that are there.
            _ => 0,
        }
    }

    fn operands(&self) -> Operands {
        let mut operands = Operands::default();
        match *self {
            Self::Create { first, second, len, record, room, .. } => {
                operands[0] = Region::new(first, len);
                operands[1] = Region::new(second, len);
                operands[2] = Region::new(record, room);
            }
            Self::Apply { record, size, dst, len, .. } => {
                operands[0] = Region::new(record, size);
                operands[1] = Region::new(dst, len);
            }
        }
        operands
    }
}
