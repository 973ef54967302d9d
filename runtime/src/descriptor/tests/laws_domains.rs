//! The law of update window and of the operations across address spaces.

use super::super::*;
use super::everything;
use super::laws::{BOF, CACHE, CHECK, Law, ORDER, RCR, RECORD, TC1, TC2};

const HANDLE: IdptHandle = IdptHandle::new(5);
const OTHER: IdptHandle = IdptHandle::new(9);

pub(super) fn laws() -> Vec<Law> {
    let caps = everything();
    let window = UpdateWindow::new(HANDLE).record(RECORD);
    let copy = InterDomainCopy::new(0x1000, 0x2000, 5).record(RECORD);
    let writes = RCR | BOF | CACHE | ORDER | TC2;
    vec![
        Law { zero_bits: &[(61, 0xf0)], in_batch: false, ..Law::new(window.build(&caps), RCR | 1 << 16, &[(16, 60)]) },
        Law {
            zero_bits: &[(61, 0xf0)],
            in_batch: false,
            ..Law::new(
                window.read(true).write(true).window(0x1000, 5).offset_mode(true).build(&caps),
                RCR | 1 << 16,
                &[(32, 60)],
            )
        },
        Law {
            field_flags: 3 << 16,
            ..Law::new(copy.source_handle(HANDLE).destination_handle(OTHER).build(&caps), writes | TC1, &[(36, 59)])
        },
        // A lone handle is required, but which one it is does not matter.
        Law::new(copy.source_handle(HANDLE).build(&caps), writes | TC1 | 1 << 17, &[(36, 59), (62, 63)]),
        Law::new(copy.destination_handle(HANDLE).build(&caps), writes | TC1 | 1 << 16, &[(36, 61)]),
        Law::new(InterDomainFill::new(0x2000, HANDLE, 5, 1).record(RECORD).build(&caps), writes | 1 << 18, &[(36, 61)]),
        Law {
            field_flags: 1 << 18,
            ..Law::new(
                InterDomainFill::with_wide_pattern(0x2000, HANDLE, 5, [1, 2]).record(RECORD).build(&caps),
                writes,
                &[(36, 39), (48, 61)],
            )
        },
        Law {
            field_flags: 3 << 16,
            zero_bits: &[(40, 0xfe)],
            ..Law::new(
                InterDomainCompare::new(0x1000, 0x2000, 5)
                    .record(RECORD)
                    .source_handle(HANDLE)
                    .second_source_handle(OTHER)
                    .build(&caps),
                BOF | CHECK | TC1 | TC2,
                &[(36, 39), (41, 59)],
            )
        },
        Law {
            zero_bits: &[(40, 0xfe)],
            ..Law::new(
                InterDomainComparePattern::new(0x1000, HANDLE, 5, 9).record(RECORD).build(&caps),
                BOF | CHECK | TC1,
                &[(36, 39), (41, 59), (62, 63)],
            )
        },
    ]
}
