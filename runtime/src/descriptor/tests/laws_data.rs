//! The law of delta operations, translation fetch and data integrity.

use super::super::*;
use super::everything;
use super::laws::{BOF, CACHE, CHECK, Law, ORDER, RCR, RECORD, TC1, TC2, TC3};

pub(super) fn laws() -> Vec<Law> {
    let caps = everything();
    let block = DifBlock::Bytes512;
    let (expected, made) = (DifSource::new(1, 2).application_mask(3), DifDestination::new(4, 5).application_mask(6));
    let writes = BOF | CACHE | ORDER | TC1 | TC2;
    vec![
        Law {
            zero_bits: &[(56, 0xf8)],
            ..Law::new(
                CreateDelta::new(0x1000, 0x2000, 64, 0x3000, 80).record(RECORD).build(&caps),
                writes | CHECK | TC3,
                &[(36, 39), (52, 55), (57, 63)],
            )
        },
        Law::new(
            ApplyDelta::new(0x3000, 30, 0x1000, 64).record(RECORD).build(&caps),
            RCR | writes,
            &[(36, 39), (44, 63)],
        ),
        Law {
            value_flags: (1 << 16, 0x1c),
            ..Law::new(TranslationFetch::new(0x1000, 5).record(RECORD).build(&caps), RCR | BOF, &[(24, 31), (36, 63)])
        },
        Law {
            field_flags: 1 << 16,
            ..Law::new(
                TranslationFetch::new(0x1000, 5).stride(0x1000).record(RECORD).build(&caps),
                RCR | BOF,
                &[(24, 31), (36, 47), (52, 63)],
            )
        },
        Law {
            zero_bits: &[(42, 0xf0)],
            ..Law::new(
                DifCheck::new(0x1000, 1040, block, expected).record(RECORD).build(&caps),
                BOF | TC1,
                &[(24, 31), (36, 39), (41, 41), (43, 47), (56, 63)],
            )
        },
        Law {
            zero_bits: &[(41, 0x07), (42, 0xf0)],
            ..Law::new(
                DifInsert::new(0x1000, 0x2000, 1024, block, made).record(RECORD).build(&caps),
                RCR | writes,
                &[(36, 40), (43, 55)],
            )
        },
        Law {
            zero_bits: &[(42, 0xf0)],
            ..Law::new(
                DifStrip::new(0x1000, 0x2000, 1040, block, expected).record(RECORD).build(&caps),
                RCR | writes,
                &[(36, 39), (41, 41), (43, 47), (56, 63)],
            )
        },
        Law {
            zero_bits: &[(41, 0x07), (42, 0xf0)],
            ..Law::new(
                DifUpdate::new(0x1000, 0x2000, 1040, block, expected, made).record(RECORD).build(&caps),
                RCR | writes,
                &[(36, 39), (43, 47)],
            )
        },
        Law {
            zero_bits: &[(41, 0x07), (42, 0xf0)],
            ..Law::new(
                DixGenerate::new(0x1000, 0x2000, 1024, block, made).record(RECORD).build(&caps),
                writes,
                &[(36, 40), (43, 55)],
            )
        },
    ]
}
