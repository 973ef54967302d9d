//! What an operation yields besides the bytes it wrote.

#![forbid(unsafe_code)]

use std::fmt;

use crate::cpu::DeltaError;
use crate::descriptor::{DifStatus, DifTags, NumericExceptions};

/// How two regions differ, as [`Accelerator::create_delta`](crate::Accelerator::create_delta) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeltaResult {
    /// They are the same. There is no delta record.
    Equal,
    /// They differ, and the delta record says how.
    Record {
        /// Bytes of the record, a multiple of 10.
        size: usize,
    },
    /// They differ in more places than the record has room for, of 10 bytes each. What was written there is of no use.
    DoesNotFit,
}

/// A block whose data-integrity field is not what it should be. All blocks before it are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DifMismatch {
    /// Number of the block, from 0.
    pub block: usize,
    /// Bytes of the source, with the fields of its blocks, before the block.
    pub completed: usize,
    /// What does not match.
    pub fields: DifStatus,
}

impl fmt::Display for DifMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the data-integrity field of block {}, at byte {}, does not match:", self.block, self.completed)?;
        for (place, (name, _)) in self.fields.iter_names().enumerate() {
            let separator = if place == 0 { " " } else { ", " };
            write!(f, "{separator}{}", name.to_ascii_lowercase().replace('_', " "))?;
        }
        Ok(())
    }
}

impl std::error::Error for DifMismatch {}

/// The tags for the block that would come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextTags {
    pub(crate) source: DifTags,
    pub(crate) destination: DifTags,
}

/// What an operation yields besides the bytes it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing.
    Done,
    /// The CRC of everything so far.
    Crc(u64),
    /// Offset of the first difference.
    Difference(Option<usize>),
    /// There is a difference, and none before this offset. From a device only, and not the end of a job.
    NotBefore(u64),
    Delta(DeltaResult),
    /// The delta record is not one. Found before an operation starts, so that this means that somebody has written to it
    /// since.
    BadDelta(DeltaError),
    Integrity(Result<NextTags, DifMismatch>),
    Exceptions(NumericExceptions),
}

/// The results by their types. What an operation does not yield is never asked for.
impl Outcome {
    #[inline]
    pub(crate) fn crc(self) -> u64 {
        match self {
            Self::Crc(crc) => crc,
            other => other.mistaken(),
        }
    }

    #[inline]
    pub(crate) fn crc32c(self) -> u32 {
        self.crc() as u32
    }

    #[inline]
    pub(crate) fn difference(self) -> Option<usize> {
        match self {
            Self::Difference(difference) => difference,
            other => other.mistaken(),
        }
    }

    pub(crate) fn delta(self) -> DeltaResult {
        match self {
            Self::Delta(delta) => delta,
            other => other.mistaken(),
        }
    }

    /// The tags of the source.
    pub(crate) fn checked(self) -> Result<DifTags, DifMismatch> {
        self.updated().map(|(source, _)| source)
    }

    /// The tags of the destination of an operation that checks nothing.
    pub(crate) fn made(self) -> DifTags {
        match self {
            Self::Integrity(Ok(tags)) => tags.destination,
            other => other.mistaken(),
        }
    }

    /// The tags of source and destination.
    pub(crate) fn updated(self) -> Result<(DifTags, DifTags), DifMismatch> {
        match self {
            Self::Integrity(result) => result.map(|tags| (tags.source, tags.destination)),
            other => other.mistaken(),
        }
    }

    pub(crate) fn exceptions(self) -> NumericExceptions {
        match self {
            Self::Exceptions(exceptions) => exceptions,
            other => other.mistaken(),
        }
    }

    #[cold]
    fn mistaken(self) -> ! {
        unreachable!("the operation ended with {self:?}, which is another one's result")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_says_where_and_what() {
        let fields = DifStatus::GUARD | DifStatus::REFERENCE;
        let text = DifMismatch { block: 3, completed: 1560, fields }.to_string();
        assert_eq!(text, "the data-integrity field of block 3, at byte 1560, does not match: guard, reference");
        let all_ones = DifMismatch { block: 0, completed: 0, fields: DifStatus::ALL_ONES }.to_string();
        assert!(all_ones.ends_with("match: all ones"), "{all_ones}");
    }
}
