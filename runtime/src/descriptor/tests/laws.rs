//! The law: per operation a valid descriptor, the flags that it takes, and the bytes that must be zero. Literal numbers
//! from tables 5-3 and 5-4 and the operation sections, not the constants of the code under test.

use idxd_sys::Descriptor;

use super::super::*;
use super::{everything, laws_data, laws_domains, laws_typed};

pub(super) const RECORD: u64 = 0x40;

/// One row of the law: a valid descriptor, the flags that may be added or taken away alone, and the reserved bytes.
#[derive(Clone, Copy)]
pub(super) struct Law {
    pub(super) valid: Descriptor,
    /// Flags that a queue with every feature accepts on their own.
    pub(super) optional: u32,
    /// Flags that give a field its meaning: changed alone, they leave a field that is not zero but reserved.
    pub(super) field_flags: u32,
    /// Flags that give a field its meaning, and the status if it has no valid value.
    pub(super) value_flags: (u32, u8),
    /// Bytes that must be zero, as ranges of first and last.
    pub(super) must_be_zero: &'static [(usize, usize)],
    /// Bits of a byte that must be zero.
    pub(super) zero_bits: &'static [(usize, u8)],
    pub(super) in_batch: bool,
}

impl Law {
    /// A row of an operation that may be a member of a batch and has no field that a flag switches.
    pub(super) fn new(
        valid: Result<Descriptor, DescriptorError>,
        optional: u32,
        must_be_zero: &'static [(usize, usize)],
    ) -> Self {
        Self {
            valid: valid.unwrap(),
            optional: optional | ANY,
            field_flags: 0,
            value_flags: (0, 0),
            must_be_zero,
            zero_bits: &[],
            in_batch: true,
        }
    }
}

/// All rows.
pub(super) fn laws() -> Vec<Law> {
    [memory_laws(), laws_data::laws(), laws_typed::laws(), laws_domains::laws()].concat()
}

// Flags that may be set or not on any operation: interrupt and traffic class of the record.
pub(super) const ANY: u32 = 1 << 4 | 1 << 12;
pub(super) const BOF: u32 = 1 << 1;
pub(super) const CHECK: u32 = 1 << 7;
pub(super) const CACHE: u32 = 1 << 5 | 1 << 8 | 1 << 14;
pub(super) const TC1: u32 = 1 << 9;
pub(super) const TC2: u32 = 1 << 10;
pub(super) const TC3: u32 = 1 << 11;
pub(super) const ORDER: u32 = 1 << 13;
pub(super) const RCR: u32 = 1 << 3;

#[expect(clippy::too_many_lines, reason = "a table")]
fn memory_laws() -> Vec<Law> {
    let caps = everything();
    let row = |valid, optional, field_flags, must_be_zero, in_batch| Law {
        field_flags,
        in_batch,
        ..Law::new(valid, optional, must_be_zero)
    };
    vec![
        row(Nop::new().record(RECORD).build(&caps), RCR, 0, &[(16, 35), (36, 37), (38, 63)], true),
        row(
            Batch::new(0x40, 3).record(RECORD).build(&caps),
            RCR | TC1 | 1 << 16,
            0,
            &[(24, 31), (36, 37), (38, 63)],
            false,
        ),
        row(Drain::new().record(RECORD).build(&caps), 0xf << 16, 0, &[(16, 31), (32, 35), (36, 37), (38, 63)], false),
        row(
            Drain::new().record(RECORD).readback(0x10).second_readback(0x20).build(&caps),
            TC1 | TC2 | 3 << 18,
            3 << 16,
            &[(32, 35), (36, 37), (38, 63)],
            false,
        ),
        row(
            Move::new(0x1000, 0x2000, 5).record(RECORD).build(&caps),
            RCR | BOF | CACHE | ORDER | TC1 | TC2,
            0,
            &[(36, 37), (38, 63)],
            true,
        ),
        row(
            Fill::new(0x2000, 5, 1).record(RECORD).build(&caps),
            RCR | BOF | CACHE | ORDER | TC2 | 1 << 18,
            0,
            &[(36, 37), (38, 63)],
            true,
        ),
        row(
            Fill::with_wide_pattern(0x2000, 5, [1, 2]).record(RECORD).build(&caps),
            RCR | BOF | CACHE | ORDER | TC2,
            1 << 18,
            &[(36, 37), (38, 39), (48, 63)],
            true,
        ),
        row(
            Compare::new(0x1000, 0x2000, 5).record(RECORD).build(&caps),
            BOF | CHECK | TC1 | TC2,
            0,
            &[(36, 37), (38, 39), (41, 63)],
            true,
        ),
        row(
            ComparePattern::new(0x1000, 5, 9).record(RECORD).build(&caps),
            BOF | CHECK | TC1,
            0,
            &[(36, 37), (38, 39), (41, 63)],
            true,
        ),
        row(
            Dualcast::new(0x1000, 0x2000, 0x3000, 5).record(RECORD).build(&caps),
            RCR | BOF | CACHE | ORDER | TC1 | TC2 | TC3,
            0,
            &[(36, 37), (38, 39), (48, 63)],
            true,
        ),
        row(
            Crc::new(0x1000, 5).record(RECORD).build(&caps),
            BOF | TC1 | 0xf << 16,
            0,
            &[(24, 31), (36, 37), (38, 39), (44, 63)],
            true,
        ),
        row(
            Crc::new(0x1000, 5).record(RECORD).seed_address(0x3008).build(&caps),
            BOF | TC1 | TC3 | 0xe << 16,
            1 << 16,
            &[(24, 31), (36, 37), (38, 47), (56, 63)],
            true,
        ),
        row(
            Crc::new(0x1000, 5).record(RECORD).crc64(true).seed(1_u64 << 63).build(&caps),
            BOF | TC1 | 0x6 << 16,
            1 << 16 | 1 << 19,
            &[(24, 31), (36, 37), (38, 39), (48, 63)],
            true,
        ),
        row(
            CopyCrc::new(0x1000, 0x2000, 5).record(RECORD).build(&caps),
            BOF | CACHE | ORDER | TC1 | TC2 | 0xf << 16,
            0,
            &[(36, 37), (38, 39), (44, 63)],
            true,
        ),
        row(
            CacheFlush::new(0x2000, 5).record(RECORD).build(&caps),
            RCR | BOF | ORDER | TC2 | 1 << 14,
            0,
            &[(16, 23), (36, 37), (38, 63)],
            true,
        ),
    ]
}
