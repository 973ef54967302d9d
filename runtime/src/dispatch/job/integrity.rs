//! Jobs on blocks with data-integrity fields: check, insert, strip, update, DIX generate.
//!
//! Pieces and slices are whole blocks. The tags that a piece begins with, or the rest of one after a page fault, follow from
//! how many blocks came before; what a record says of them is not used. A mismatch ends a job, and is a result.

use idxd_sys::{CompletionRecord, Descriptor, dif, status};

use super::outcome::DifMismatch;
use super::{Absorbed, Extras, Job, NextTags, Operands, Outcome, Piece, Region, Work, expose, source, target};
use crate::cpu::{self, Hint};
use crate::descriptor::{
    CacheControl, Capabilities, Completion, DescriptorError, DifBlock, DifCheck, DifDestination, DifInsert, DifSource,
    DifStatus, DifStrip, DifTags, DifUpdate, DixGenerate,
};
use crate::stats::Operation;

/// How the guard of a block is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guarded {
    pub(crate) block: DifBlock,
    pub(crate) invert_seed: bool,
    pub(crate) invert_result: bool,
}

impl Guarded {
    /// The DIF flags of a descriptor.
    fn flags(self) -> u8 {
        let mut flags = self.block.code();
        if self.invert_seed {
            flags |= dif::INVERT_SEED;
        }
        if self.invert_result {
            flags |= dif::INVERT_RESULT;
        }
        flags
    }
}

/// What is done with the blocks of the source, besides copying them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Their fields are checked, and nothing is written.
    Only(DifSource),
    /// Fields are put behind them.
    Inserted(DifDestination),
    /// Their fields are checked and left out.
    Stripped(DifSource),
    /// Their fields are checked, and others put in their place.
    Updated(DifSource, DifDestination),
    /// Fields are written alone.
    Apart(DifDestination),
}

impl Checked {
    /// Bytes that a block takes in the source and in the destination.
    pub(crate) const fn units(self, block: DifBlock) -> (u64, u64) {
        let (plain, protected) = (block.size() as u64, block.protected_size() as u64);
        match self {
            Self::Only(_) => (protected, 0),
            Self::Inserted(_) => (plain, protected),
            Self::Stripped(_) => (protected, plain),
            Self::Updated(..) => (protected, protected),
            Self::Apart(_) => (plain, dif::TUPLE),
        }
    }

    /// The same after so many blocks.
    fn after(self, blocks: u64) -> Self {
        match self {
            Self::Only(source) => Self::Only(source.after(blocks)),
            Self::Inserted(made) => Self::Inserted(made.after(blocks)),
            Self::Stripped(source) => Self::Stripped(source.after(blocks)),
            Self::Updated(source, made) => Self::Updated(source.after(blocks), made.after(blocks)),
            Self::Apart(made) => Self::Apart(made.after(blocks)),
        }
    }

    /// The tags of the block that comes next.
    fn tags(self) -> NextTags {
        let (source, destination) = match self {
            Self::Only(source) | Self::Stripped(source) => (source.tags(), DifTags::default()),
            Self::Inserted(made) | Self::Apart(made) => (DifTags::default(), made.tags()),
            Self::Updated(source, made) => (source.tags(), made.tags()),
        };
        NextTags { source, destination }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Integrity {
    checked: Checked,
    guarded: Guarded,
    src: u64,
    dst: u64,
    /// Bytes of the source left, and in all.
    len: u64,
    total: u64,
    /// Where the bytes are, if somebody knows.
    hint: Hint,
}

impl Integrity {
    fn units(&self) -> (u64, u64) {
        self.checked.units(self.guarded.block)
    }

    /// Whole blocks of at most `limit` bytes.
    fn part(&self, limit: u64) -> u64 {
        if self.len <= limit {
            return self.len;
        }
        let (unit, _) = self.units();
        limit / unit * unit
    }
}

impl Job {
    /// Does something with the `len` bytes of blocks, a whole number of them, at `src`. The destination has room for what
    /// they become, and overlaps nothing; it does not matter where nothing is written.
    pub(crate) fn integrity(checked: Checked, guarded: Guarded, src: *const u8, dst: *mut u8, len: usize) -> Self {
        let len = len as u64;
        let hint = Hint::Unknown;
        Self::Integrity(Integrity { checked, guarded, src: expose(src), dst: expose(dst), len, total: len, hint })
    }
}

impl Work for Integrity {
    fn set_hint(&mut self, hint: Hint) {
        self.hint = hint;
    }

    fn operation(&self) -> Operation {
        match self.checked {
            Checked::Only(_) => Operation::DifCheck,
            Checked::Inserted(_) => Operation::DifInsert,
            Checked::Stripped(_) => Operation::DifStrip,
            Checked::Updated(..) => Operation::DifUpdate,
            Checked::Apart(_) => Operation::DixGenerate,
        }
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn left(&self) -> u64 {
        self.len
    }

    fn next_piece(&self, caps: &Capabilities) -> u64 {
        self.part(caps.max_transfer_size())
    }

    fn next_slice(&self, limit: u64) -> u64 {
        self.part(limit.max(self.units().0))
    }

    fn describe(&self, piece: u64, extras: Extras, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let (src, dst, len, record) = (self.src, self.dst, piece, extras.record);
        let cache = if extras.cached { CacheControl::Cache } else { CacheControl::Memory };
        let Guarded { block, invert_seed, invert_result } = self.guarded;
        macro_rules! build {
            ($builder:expr) => {{
                let builder = $builder.invert_seed(invert_seed).invert_result(invert_result).record(record);
                builder
            }};
        }
        match self.checked {
            Checked::Only(source) => build!(DifCheck::new(src, len, block, source)).build(caps),
            Checked::Inserted(made) => {
                build!(DifInsert::new(src, dst, len, block, made)).cache_control(cache).build(caps)
            }
            Checked::Stripped(source) => {
                build!(DifStrip::new(src, dst, len, block, source)).cache_control(cache).build(caps)
            }
            Checked::Updated(source, made) => {
                build!(DifUpdate::new(src, dst, len, block, source, made)).cache_control(cache).build(caps)
            }
            Checked::Apart(made) => {
                build!(DixGenerate::new(src, dst, len, block, made)).cache_control(cache).build(caps)
            }
        }
    }

    fn correct(&self, rest: &mut Descriptor, piece: &Piece) {
        let tags = self.checked.after(u64::from(piece.advanced) / self.units().0).tags();
        // On the side without tags both are zero: there the bytes are reserved.
        rest.op_specific[1] = tags.source.word();
        rest.op_specific[2] = tags.destination.word();
    }

    fn outcome_of(
        &self,
        sent: &Descriptor,
        record: &CompletionRecord,
        piece: &Piece,
        _caps: &Capabilities,
    ) -> Option<Outcome> {
        if record.status == status::SUCCESS {
            return Some(Outcome::Done);
        }
        let fields = Completion::decode(sent.opcode(), record).dif_status()?;
        let (unit, _) = self.units();
        let is_possible = !fields.is_empty()
            && DifStatus::all().contains(fields)
            && record.bytes_completed < sent.xfer_size
            && u64::from(record.bytes_completed).is_multiple_of(unit);
        let completed = (u64::from(piece.advanced) + u64::from(record.bytes_completed)) as usize;
        is_possible
            .then(|| Outcome::Integrity(Err(DifMismatch { block: completed / unit as usize, completed, fields })))
    }

    fn absorb(&mut self, piece: u64, of_piece: Outcome) -> Absorbed {
        let (unit, made) = self.units();
        if let Outcome::Integrity(Err(mismatch)) = of_piece {
            let before = (self.total - self.len) as usize;
            let mismatch = DifMismatch {
                block: before / unit as usize + mismatch.block,
                completed: before + mismatch.completed,
                fields: mismatch.fields,
            };
            self.len = 0;
            return Absorbed::Done(Outcome::Integrity(Err(mismatch)));
        }
        let blocks = piece / unit;
        self.checked = self.checked.after(blocks);
        self.len -= piece;
        if self.len == 0 {
            return Absorbed::Done(self.outcome());
        }
        self.src = self.src.wrapping_add(piece);
        self.dst = self.dst.wrapping_add(blocks * made);
        Absorbed::More
    }

    unsafe fn run(&self, piece: u64) -> Outcome {
        let (flags, src, dst, len) = (self.guarded.flags(), source(self.src), target(self.dst), piece as usize);
        // SAFETY: the piece lies inside the source, and what becomes of it inside the destination; the caller vouches for
        // both, and they do not overlap.
        let result = unsafe {
            match self.checked {
                Checked::Only(source) => cpu::dif_check(flags, checks(source), src, len).map(drop),
                Checked::Inserted(to) => {
                    let hint = self.hint.of_part(piece, self.total);
                    cpu::dif_insert_with(hint, flags, makes(to), src, dst, len);
                    Ok(())
                }
                Checked::Stripped(source) => cpu::dif_strip(flags, checks(source), src, dst, len).map(drop),
                Checked::Updated(source, to) => {
                    cpu::dif_update(flags, checks(source), makes(to), src, dst, len).map(drop)
                }
                Checked::Apart(to) => {
                    cpu::dix_generate(flags, makes(to), src, dst, len);
                    Ok(())
                }
            }
        };
        match result {
            Ok(()) => Outcome::Done,
            Err(cpu::DifError { status, completed, .. }) => Outcome::Integrity(Err(DifMismatch {
                block: completed / self.units().0 as usize,
                completed,
                fields: DifStatus::from_bits_truncate(status),
            })),
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome::Integrity(Ok(self.checked.tags()))
    }

    fn written(&self, outcome: &Outcome) -> u64 {
        let (unit, made) = self.units();
        let done = match outcome {
            Outcome::Integrity(Err(mismatch)) => mismatch.completed as u64,
            _ => self.total,
        };
        done / unit * made
    }

    fn operands(&self) -> Operands {
        let (unit, made) = self.units();
        let mut operands = Operands::default();
        operands[0] = Region::new(self.src, self.len);
        operands[1] = Region::new(self.dst, self.len / unit * made);
        operands
    }
}

fn tags(tags: DifTags) -> cpu::DifTags {
    cpu::DifTags::new(tags.reference, tags.application_mask, tags.application)
}

fn checks(source: DifSource) -> cpu::DifSource {
    cpu::DifSource::new(source.flags(), tags(source.tags()))
}

fn makes(destination: DifDestination) -> cpu::DifDestination {
    cpu::DifDestination::new(destination.flags(), tags(destination.tags()))
}
