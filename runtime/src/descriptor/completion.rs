//! Completion records, decoded.

use core::fmt;

use idxd_sys::{CompletionRecord, opcode, status};

use super::error::Op;
use super::flags::{Flags, Names};
use super::results::Results;
use super::status::Status;

/// What a completion record says about an operation.
///
/// A record is copied out of shared memory first (status byte last, with acquire ordering), then decoded. Nothing in it
/// is trusted: whether the numbers fit the descriptor is for [`Resume::plan`](super::Resume::plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The operation that the descriptor asked for.
    pub opcode: u8,
    /// How it ended.
    pub status: Status,
    /// The page fault, if the status reports one.
    pub fault: Option<Fault>,
    /// The result byte as written: outcome of a compare or create delta, direction of a partial move, failures in a
    /// batch, what is wrong with a tuple, numeric exceptions.
    pub result: u8,
    /// Bytes completed (of the source, or of the delta record that is applied), members processed (batch), or place of
    /// the first difference (compare). 0 after full success of other operations, and undefined after errors that are no
    /// faults, but for those of the data-integrity operations and of apply delta, and undefined in a translation fetch.
    pub bytes_completed: u32,
    /// Bytes 16 to 31, as written.
    pub op_specific: [u64; 2],
}

/// A page fault that ended an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The faulting address; the low 12 bits may be 0.
    pub address: u64,
    /// Whether the access was a write.
    pub is_write: bool,
    /// Which operand faulted, if the device says so (GENCAP bit 12).
    pub operand: Option<Operand>,
    /// Whether the device hides the address (GENCAP bit 12).
    pub address_masked: bool,
}

/// One of the addresses of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operand {
    /// The source.
    Source,
    /// The second source of a compare.
    SecondSource,
    /// The CRC seed in memory.
    Seed,
    /// The destination.
    Destination,
    /// The second destination of a dualcast.
    SecondDestination,
    /// The completion record.
    Record,
    /// The descriptor list of a batch.
    List,
    /// The scatter-gather list.
    ScatterGatherList,
    /// The delta record that is written or applied.
    DeltaRecord,
}

/// Where two regions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Offset in bytes from the start of the region that the descriptor named.
    pub offset: u32,
    /// Whether the difference is exactly there. Compare pattern only gives a lower bound.
    pub is_exact: bool,
}

impl Completion {
    /// Decodes a record of a descriptor with this opcode. Never fails: unknown codes are kept as they are.
    pub fn decode(opcode: u8, record: &CompletionRecord) -> Self {
        let status = Status::from_byte(record.status);
        let fault = status.is_fault().then(|| Fault {
            address: record.fault_addr,
            is_write: record.status & status::FAULT_WRITE != 0,
            operand: Operand::from_code(record.fault_info >> 1 & 7, opcode),
            address_masked: record.fault_info & 1 != 0,
        });
        Self {
            opcode,
            status,
            fault,
            result: record.result,
            bytes_completed: record.bytes_completed,
            op_specific: record.op_specific,
        }
    }

    /// Whether the operation ran to its end (0x01 or 0x02).
    #[inline]
    pub const fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Whether a page fault ended the operation part of the way, so that [`bytes_completed`](Self::bytes_completed) is
    /// valid and the rest can be done by somebody else (0x03, 0x04; for a batch 0x06).
    #[inline]
    pub const fn is_partial(&self) -> bool {
        matches!(self.status, Status::PAGE_FAULT | Status::PAGE_RESPONSE | Status::BATCH_LIST_FAULT)
    }

    /// Whether a partial move ran from the end to the start: the bytes that are done are the last ones.
    pub const fn is_reversed(&self) -> bool {
        self.is_partial() && self.opcode == opcode::MEMMOVE && self.result == 1
    }

    /// Whether the two sides of a finished compare are the same; `None` if this is not a finished compare.
    pub const fn is_equal(&self) -> Option<bool> {
        match self.opcode {
            opcode::COMPARE | opcode::COMPVAL | opcode::INTER_DOMAIN_COMPARE | opcode::INTER_DOMAIN_COMPVAL
                if self.is_success() =>
            {
                Some(self.result == 0)
            }
            _ => None,
        }
    }

    /// Where a finished compare found a difference; `None` if there was none, or this is not a finished compare.
    pub const fn first_difference(&self) -> Option<Difference> {
        match self.is_equal() {
            Some(false) => Some(Difference {
                offset: self.bytes_completed,
                is_exact: matches!(self.opcode, opcode::COMPARE | opcode::INTER_DOMAIN_COMPARE),
            }),
            _ => None,
        }
    }

    /// The CRC: of everything after success, of the bytes completed after a partial completion. `None` if this is no CRC
    /// operation, or the record holds no valid value. CRC-32C is in the low 32 bits.
    pub const fn crc(&self) -> Option<u64> {
        match self.opcode {
            opcode::CRCGEN | opcode::COPY_CRC if self.is_success() || self.is_partial() && self.bytes_completed > 0 => {
                Some(self.op_specific[0])
            }
            _ => None,
        }
    }

    /// The low 32 bits of [`crc`](Self::crc): CRC-32C.
    pub const fn crc32c(&self) -> Option<u32> {
        match self.crc() {
            Some(value) => Some(value as u32),
            None => None,
        }
    }

    /// The flags that the device refused, after status 0x11. Empty if it did not say.
    pub const fn invalid_flags(&self) -> Option<Flags> {
        match self.status {
            Status::BAD_FLAGS => Some(Flags::from_bits_retain(self.op_specific[0] as u32 & 0x00ff_ffff)),
            _ => None,
        }
    }
}

impl fmt::Display for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Op(self.opcode), self.status)?;
        if self.is_partial() {
            let unit = if self.opcode == opcode::BATCH { "descriptors" } else { "bytes" };
            let direction = if self.is_reversed() { ", from the end backwards" } else { "" };
            write!(f, ", after {} {unit}{direction}", self.bytes_completed)?;
        }
        if let Some(fault) = self.fault {
            write!(f, ", {fault}")?;
        }
        match self.is_equal() {
            Some(true) => f.write_str(", equal")?,
            Some(false) => f.write_str(", different")?,
            None => {}
        }
        if let Some(difference) = self.first_difference() {
            let at = if difference.is_exact { "at" } else { "not before" };
            write!(f, " {at} byte {}", difference.offset)?;
        }
        if let Some(crc) = self.crc() {
            write!(f, ", crc {crc:#010x}")?;
        }
        Results(self).fmt(f)?;
        if let Some(flags) = self.invalid_flags() {
            write!(f, ", flags: {}", Names { opcode: self.opcode, bits: flags.bits() })?;
        }
        if !self.is_success() {
            write!(f, "; {}", self.status.action())?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_write { "write fault" } else { "read fault" })?;
        if self.address_masked {
            f.write_str(" at a hidden address")?;
        } else {
            write!(f, " at {:#x}", self.address)?;
        }
        match self.operand {
            Some(operand) => write!(f, " ({operand})"),
            None => Ok(()),
        }
    }
}

impl Operand {
    /// Fault information bits 3:1; 0 means that the device does not say.
    const fn from_code(code: u8, opcode: u8) -> Option<Self> {
        match (code, opcode) {
            (1, opcode::BATCH) => Some(Self::List),
            (1, opcode::AP_DELTA) | (3, opcode::CR_DELTA) => Some(Self::DeltaRecord),
            (1, _) => Some(Self::Source),
            (2, opcode::CRCGEN | opcode::COPY_CRC) => Some(Self::Seed),
            (2, _) => Some(Self::SecondSource),
            (3, _) => Some(Self::Destination),
            (4, _) => Some(Self::SecondDestination),
            (5, _) => Some(Self::Record),
            (6, _) => Some(Self::ScatterGatherList),
            _ => None,
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::SecondSource => "second source",
            Self::Seed => "CRC seed",
            Self::Destination => "destination",
            Self::SecondDestination => "second destination",
            Self::Record => "completion record",
            Self::List => "descriptor list",
            Self::ScatterGatherList => "scatter-gather list",
            Self::DeltaRecord => "delta record",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(status: u8) -> CompletionRecord {
        CompletionRecord { status, bytes_completed: 4096, fault_addr: 0x7000, ..CompletionRecord::default() }
    }

    #[test]
    fn every_status_byte_decodes_and_prints() {
        for opcode in 0..=u8::MAX {
            for status in 0..=u8::MAX {
                let completion = Completion::decode(opcode, &partial(status));
                assert_eq!(completion.status.code(), status & 0x3f);
                assert_eq!(completion.fault.is_some(), completion.status.is_fault());
                assert!(completion.to_string().contains(completion.status.meaning()));
            }
        }
    }

    #[test]
    fn fault_fields() {
        let record = CompletionRecord { fault_info: 3 << 1 | 1, ..partial(0x83) };
        let fault = Completion::decode(opcode::MEMMOVE, &record).fault.unwrap();
        let expected =
            Fault { address: 0x7000, is_write: true, operand: Some(Operand::Destination), address_masked: true };
        assert_eq!(fault, expected);
        assert_eq!(Completion::decode(opcode::MEMMOVE, &partial(0x81)).fault, None);

        let operand = |op, code: u8| {
            let record = CompletionRecord { fault_info: code << 1, ..partial(0x03) };
            Completion::decode(op, &record).fault.unwrap().operand
        };
        assert_eq!(operand(opcode::COMPARE, 0), None);
        assert_eq!(operand(opcode::COMPARE, 1), Some(Operand::Source));
        assert_eq!(operand(opcode::BATCH, 1), Some(Operand::List));
        assert_eq!(operand(opcode::COMPARE, 2), Some(Operand::SecondSource));
        assert_eq!(operand(opcode::CRCGEN, 2), Some(Operand::Seed));
        assert_eq!(operand(opcode::COPY_CRC, 2), Some(Operand::Seed));
        assert_eq!(operand(opcode::DUALCAST, 4), Some(Operand::SecondDestination));
        assert_eq!(operand(opcode::MEMMOVE, 5), Some(Operand::Record));
        assert_eq!(operand(opcode::GATHER_COPY, 6), Some(Operand::ScatterGatherList));
        assert_eq!(operand(opcode::MEMMOVE, 7), None);
        assert_eq!(operand(opcode::AP_DELTA, 1), Some(Operand::DeltaRecord));
        assert_eq!(operand(opcode::AP_DELTA, 3), Some(Operand::Destination));
        assert_eq!(operand(opcode::CR_DELTA, 1), Some(Operand::Source));
        assert_eq!(operand(opcode::CR_DELTA, 3), Some(Operand::DeltaRecord));
    }

    #[test]
    fn differences() {
        let record = |status, result| CompletionRecord { status, result, bytes_completed: 7, ..Default::default() };
        let exact = Completion::decode(opcode::COMPARE, &record(1, 1));
        assert_eq!(exact.first_difference(), Some(Difference { offset: 7, is_exact: true }));
        let bound = Completion::decode(opcode::COMPVAL, &record(2, 1));
        assert_eq!(bound.first_difference(), Some(Difference { offset: 7, is_exact: false }));
        let exact = Completion::decode(opcode::INTER_DOMAIN_COMPARE, &record(1, 1));
        assert_eq!(exact.first_difference(), Some(Difference { offset: 7, is_exact: true }));
        let bound = Completion::decode(opcode::INTER_DOMAIN_COMPVAL, &record(2, 1));
        assert_eq!(bound.first_difference(), Some(Difference { offset: 7, is_exact: false }));
        assert_eq!(Completion::decode(opcode::COMPARE, &record(1, 0)).is_equal(), Some(true));
        assert_eq!(Completion::decode(opcode::COMPARE, &record(3, 0)).is_equal(), None);
        assert_eq!(Completion::decode(opcode::MEMMOVE, &record(1, 1)).first_difference(), None);
    }

    #[test]
    fn a_crc_counts_only_when_it_covers_something() {
        let record = |status, bytes_completed| CompletionRecord {
            status,
            bytes_completed,
            op_specific: [0xe306_9283, 0],
            ..Default::default()
        };
        for op in [opcode::CRCGEN, opcode::COPY_CRC] {
            assert_eq!(Completion::decode(op, &record(1, 0)).crc(), Some(0xe306_9283));
            assert_eq!(Completion::decode(op, &record(1, 0)).crc32c(), Some(0xe306_9283));
            assert_eq!(Completion::decode(op, &record(3, 1)).crc(), Some(0xe306_9283));
            assert_eq!(Completion::decode(op, &record(3, 0)).crc(), None);
            assert_eq!(Completion::decode(op, &record(0x11, 1)).crc(), None);
        }
        assert_eq!(Completion::decode(opcode::MEMMOVE, &record(1, 0)).crc(), None);
    }

    #[test]
    fn invalid_flags_are_24_bits() {
        let record = CompletionRecord { status: 0x11, op_specific: [u64::MAX, 0], ..Default::default() };
        assert_eq!(Completion::decode(opcode::FILL, &record).invalid_flags().unwrap().bits(), 0x00ff_ffff);
        assert_eq!(Completion::decode(opcode::FILL, &partial(3)).invalid_flags(), None);
    }

    #[test]
    fn prints_for_humans() {
        let record = CompletionRecord { result: 1, fault_info: 3 << 1, ..partial(0x83) };
        assert_eq!(
            Completion::decode(opcode::MEMMOVE, &record).to_string(),
            "memmove: partial completion: page fault with block on fault off (status 0x03), after 4096 bytes, from the end \
             backwards, write fault at 0x7000 (destination); touch the page and resume, or finish on the CPU"
        );
    }
}
