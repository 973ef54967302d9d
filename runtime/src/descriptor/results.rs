//! What completion records hold besides status, fault and bytes completed: the results of single operations.

use core::fmt;

use idxd_sys::compute::exception;
use idxd_sys::{dif, opcode};

use super::completion::Completion;
use super::dif_options::DifTags;
use super::inter_domain::IdptHandle;
use super::status::Status;

/// What a finished create delta found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delta {
    /// The regions are the same; there is no delta record.
    Equal,
    /// The regions differ, and the delta record says how.
    Complete {
        /// Size of the delta record in bytes, a multiple of 10: what apply delta takes.
        size: u32,
    },
    /// The regions differ in more places than there is room for. The delta record is of no use to apply delta.
    Overflowed {
        /// Size of the part that was written, in bytes.
        size: u32,
        /// Bytes of the regions that it describes.
        compared: u32,
    },
}

bitflags::bitflags! {
    /// What is wrong with a tuple (specification section 8.3.17.4).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct DifStatus: u8 {
        /// The guard does not match the data.
        const GUARD = dif::GUARD_MISMATCH;
        /// The application tag is not the expected one.
        const APPLICATION = dif::APP_MISMATCH;
        /// The reference tag is not the expected one.
        const REFERENCE = dif::REF_MISMATCH;
        /// The tuple is all ones, which was to be an error.
        const ALL_ONES = dif::ALL_F;
    }
}

bitflags::bitflags! {
    /// Numeric exceptions of a typed operation (specification table 8-11). Results are defined all the same.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct NumericExceptions: u8 {
        /// A NaN was an operand, or infinities of opposite signs were added.
        const INVALID = exception::INVALID;
        /// An operand was denormal.
        const DENORMAL = exception::DENORMAL;
        /// A result was above the largest value of its type, or below the smallest integer.
        const OVERFLOW = exception::OVERFLOW;
        /// A result was below the smallest normal value of its type.
        const UNDERFLOW = exception::UNDERFLOW;
    }
}

/// Results of single operations.
impl Completion {
    /// What a finished create delta found; `None` if this is no finished create delta, or its result is not defined.
    pub const fn delta(&self) -> Option<Delta> {
        let (opcode::CR_DELTA, true) = (self.opcode, self.is_success()) else { return None };
        let size = self.op_specific[0] as u32;
        match self.result {
            0 => Some(Delta::Equal),
            1 => Some(Delta::Complete { size }),
            2 => Some(Delta::Overflowed { size, compared: self.bytes_completed }),
            _ => None,
        }
    }

    /// How a data-integrity operation failed; `None` if it did not end with status 0x09.
    /// [`bytes_completed`](Self::bytes_completed) are then the source bytes before the block that is wrong.
    pub const fn dif_status(&self) -> Option<DifStatus> {
        match self.opcode {
            opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT if matches!(self.status, Status::DIF_ERROR) => {
                Some(DifStatus::from_bits_retain(self.result))
            }
            _ => None,
        }
    }

    /// The tags that would be expected in the next block of the source: after the last one after success, after those
    /// that are completed after a partial completion. `None` if the operation expects none, or the record holds no valid
    /// value.
    pub const fn source_tags(&self) -> Option<DifTags> {
        match self.opcode {
            opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT if self.has_results() => {
                Some(DifTags::from_word(self.op_specific[0]))
            }
            _ => None,
        }
    }

    /// The tags that would be written behind the next block of the destination; see
    /// [`source_tags`](Self::source_tags).
    pub const fn destination_tags(&self) -> Option<DifTags> {
        match self.opcode {
            opcode::DIF_INS | opcode::DIF_UPDT | opcode::DIX_GEN if self.has_results() => {
                Some(DifTags::from_word(self.op_specific[1]))
            }
            _ => None,
        }
    }

    /// The numeric exceptions of a typed operation: of all elements after success, of those that are completed after a
    /// partial completion. `None` for other operations and outcomes.
    ///
    /// If an operation was continued, the exceptions of all its records count together, and so decide on the status
    /// where the result is checked. A gather-reduce starts again; only its last record counts.
    pub const fn exceptions(&self) -> Option<NumericExceptions> {
        match self.opcode {
            opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST | opcode::GATHER_REDUCE
                if self.is_success() || self.is_partial() =>
            {
                Some(NumericExceptions::from_bits_retain(self.result))
            }
            _ => None,
        }
    }

    /// Entries of the scatter-gather list that were processed before a page fault; `None` if this is no partial
    /// completion of a list operation. Bytes completed may count a part of one more block (specification section
    /// 8.3.23).
    pub const fn entries_completed(&self) -> Option<u16> {
        match self.opcode {
            opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL | opcode::GATHER_REDUCE
                if self.is_partial() =>
            {
                Some((self.op_specific[0] >> 32) as u16)
            }
            _ => None,
        }
    }

    /// The handle whose entry led to the page fault, or is the reason of status 0x29, 0x2a or 0x2b. `None` for
    /// operations without handles and for other outcomes. After a page fault it means something only if the operand that
    /// faulted has a handle.
    pub const fn idpt_handle(&self) -> Option<IdptHandle> {
        let takes_handles = matches!(
            self.opcode,
            opcode::TYPE_CONV
                | opcode::REDUCE
                | opcode::REDUCE_DUALCAST
                | opcode::GATHER_COPY
                | opcode::SCATTER_COPY
                | opcode::SCATTER_FILL
                | opcode::INTER_DOMAIN_COPY
                | opcode::INTER_DOMAIN_FILL
                | opcode::INTER_DOMAIN_COMPARE
                | opcode::INTER_DOMAIN_COMPVAL
        );
        let is_named = matches!(
            self.status,
            Status::PAGE_FAULT
                | Status::PAGE_RESPONSE
                | Status::IDPT_HANDLE
                | Status::IDPT_PERMISSION
                | Status::IDPT_WINDOW
        );
        if takes_handles && is_named { Some(IdptHandle::new(self.op_specific[0] as u16)) } else { None }
    }

    /// Whether results that cover what is completed are valid.
    const fn has_results(&self) -> bool {
        self.is_success() || self.is_partial() && self.bytes_completed > 0
    }
}

/// The results of an operation, each with a comma before it; nothing if there are none.
pub(super) struct Results<'a>(pub(super) &'a Completion);

impl fmt::Display for Results<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let completion = self.0;
        match completion.delta() {
            Some(Delta::Equal) => f.write_str(", equal")?,
            Some(Delta::Complete { size }) => write!(f, ", different, a delta record of {size} bytes")?,
            Some(Delta::Overflowed { size, compared }) => {
                write!(f, ", different, the delta record was full with {size} bytes after {compared} bytes")?;
            }
            None => {}
        }
        if let Some(status) = completion.dif_status() {
            write!(f, ", after {} bytes: ", completion.bytes_completed)?;
            write_names(f, status.iter_names())?;
        }
        if let Some(exceptions) = completion.exceptions()
            && !exceptions.is_empty()
        {
            f.write_str(", exceptions: ")?;
            write_names(f, exceptions.iter_names())?;
        }
        match completion.entries_completed() {
            Some(entries) => write!(f, ", {entries} entries of the list"),
            None => Ok(()),
        }
    }
}

fn write_names<T>(f: &mut fmt::Formatter<'_>, names: impl Iterator<Item = (&'static str, T)>) -> fmt::Result {
    for (at, (name, _)) in names.enumerate() {
        f.write_str(if at == 0 { "" } else { " and " })?;
        f.write_str(&name.to_ascii_lowercase().replace('_', " "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use idxd_sys::CompletionRecord;

    use super::*;

    fn decode(opcode: u8, status: u8, result: u8, bytes_completed: u32, op_specific: [u64; 2]) -> Completion {
        let record = CompletionRecord { status, result, bytes_completed, op_specific, ..Default::default() };
        Completion::decode(opcode, &record)
    }

    #[test]
    fn deltas() {
        let of = |status, result| decode(opcode::CR_DELTA, status, result, 16, [0xffff_ffff_0000_0028, 0]).delta();
        assert_eq!(of(1, 0), Some(Delta::Equal));
        assert_eq!(of(2, 1), Some(Delta::Complete { size: 40 }));
        assert_eq!(of(1, 2), Some(Delta::Overflowed { size: 40, compared: 16 }));
        assert_eq!((of(1, 3), of(3, 1), of(0x12, 1)), (None, None, None));
        assert_eq!(decode(opcode::AP_DELTA, 1, 1, 0, [40, 0]).delta(), None);
    }

    #[test]
    fn tags_lie_where_the_operation_has_them() {
        let source = DifTags { reference: 0x1122_3344, application_mask: 0x5566, application: 0x7788 };
        let made = DifTags { reference: 0xa1a2_a3a4, application_mask: 0xa5a6, application: 0xa7a8 };
        let words = [source.word(), made.word()];
        let table = [
            (opcode::DIF_CHECK, true, false),
            (opcode::DIF_INS, false, true),
            (opcode::DIF_STRP, true, false),
            (opcode::DIF_UPDT, true, true),
            (opcode::DIX_GEN, false, true),
            (opcode::MEMMOVE, false, false),
        ];
        for (op, expects, makes) in table {
            for (status, completed, valid) in [(1, 0, true), (3, 520, true), (3, 0, false), (9, 520, false)] {
                let completion = decode(op, status, 0, completed, words);
                assert_eq!(completion.source_tags(), (expects && valid).then_some(source), "{op:#x} {status}");
                assert_eq!(completion.destination_tags(), (makes && valid).then_some(made), "{op:#x} {status}");
            }
        }
    }

    #[test]
    fn integrity_errors() {
        let of = |op, status, result| decode(op, status, result, 520, [0; 2]).dif_status();
        for op in [opcode::DIF_CHECK, opcode::DIF_STRP, opcode::DIF_UPDT] {
            assert_eq!(of(op, 9, 5), Some(DifStatus::GUARD | DifStatus::REFERENCE));
            assert_eq!(of(op, 9, 0x18).map(|status| status.bits()), Some(0x18));
            assert_eq!(of(op, 1, 5), None);
        }
        assert_eq!((of(opcode::DIF_INS, 9, 1), of(opcode::MEMMOVE, 9, 1)), (None, None));
    }

    #[test]
    fn exceptions_of_typed_operations() {
        let all = NumericExceptions::all();
        for op in [opcode::TYPE_CONV, opcode::REDUCE, opcode::REDUCE_DUALCAST, opcode::GATHER_REDUCE] {
            assert_eq!(decode(op, 2, 0xf, 0, [0; 2]).exceptions(), Some(all));
            assert_eq!(decode(op, 3, 2, 8, [0; 2]).exceptions(), Some(NumericExceptions::DENORMAL));
            assert_eq!(decode(op, 0x15, 2, 8, [0; 2]).exceptions(), None);
        }
        assert_eq!(decode(opcode::GATHER_COPY, 1, 2, 0, [0; 2]).exceptions(), None);
    }

    #[test]
    fn entries_and_handles() {
        let word = 0xffff_0102_ffff_0a0b;
        let with = [opcode::GATHER_COPY, opcode::SCATTER_COPY, opcode::SCATTER_FILL, opcode::GATHER_REDUCE];
        for op in 0..=u8::MAX {
            let completion = decode(op, 3, 0, 8, [word, 0]);
            assert_eq!(completion.entries_completed(), with.contains(&op).then_some(0x0102), "{op:#x}");
            assert_eq!(decode(op, 1, 0, 0, [word, 0]).entries_completed(), None);
            let takes = matches!(op, 0x18..=0x1a | 0x1c..=0x1e | 0x23..=0x26);
            for status in 0..0x40 {
                let expected = takes && matches!(status, 3 | 4 | 0x29 | 0x2a | 0x2b);
                let handle = decode(op, status, 0, 8, [word, 0]).idpt_handle();
                assert_eq!(handle, expected.then_some(IdptHandle::new(0x0a0b)), "{op:#x} {status:#x}");
            }
        }
    }

    #[test]
    fn prints_for_humans() {
        let text = |completion: Completion| completion.to_string();
        assert_eq!(
            text(decode(opcode::CR_DELTA, 1, 1, 0, [20, 0])),
            "create-delta: success (status 0x01), different, a delta record of 20 bytes"
        );
        assert_eq!(
            text(decode(opcode::DIF_CHECK, 9, 0x9, 1040, [0; 2])),
            "dif-check: data integrity field error (status 0x09), after 1040 bytes: guard and all ones; the data does not \
             match its integrity field; the result byte says which part"
        );
        assert_eq!(
            text(decode(opcode::REDUCE, 1, 4, 0, [0; 2])),
            "reduce: success (status 0x01), exceptions: overflow"
        );
        let partial = text(decode(opcode::SCATTER_COPY, 3, 0, 100, [3 << 32, 0]));
        assert!(partial.contains("after 100 bytes, read fault at 0x0, 3 entries of the list; "), "{partial}");
    }
}
