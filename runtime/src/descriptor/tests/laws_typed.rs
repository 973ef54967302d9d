//! The law of conversion, reduce, gather and scatter.

use super::super::*;
use super::everything;
use super::laws::{BOF, CACHE, CHECK, Law, ORDER, RCR, RECORD, TC1, TC2, TC3};

const HANDLE: IdptHandle = IdptHandle::new(5);
const OTHER: IdptHandle = IdptHandle::new(9);

pub(super) fn laws() -> Vec<Law> {
    [computing(), moving()].concat()
}

fn computing() -> Vec<Law> {
    let caps = everything();
    let flags = RCR | BOF | CHECK | CACHE | ORDER | TC1 | TC2;
    let convert = TypeConvert::new(0x1000, DataType::Int8, 0x2000, DataType::Int16, 6).record(RECORD);
    let reduce = Reduce::new(0x1000, 0x2000, 0x3000, ComputeType::Add, DataType::Fp32, 6).record(RECORD);
    let sources = [0x1000, 0x2000];
    let dualcast = ReduceDualcast::new(sources, [0x3000, 0x4000], ComputeType::Xor, DataType::Int16, 6).record(RECORD);
    let list = Sgl::new(0x1000, 3, SglFormat::Index32).base(0x2000);
    vec![
        Law { zero_bits: &[(57, 0x0f)], ..Law::new(convert.build(&caps), flags | 3 << 16, &[(36, 55), (59, 63)]) },
        Law {
            field_flags: 3 << 16,
            zero_bits: &[(57, 0x0f)],
            ..Law::new(
                convert.source_handle(HANDLE).destination_handle(OTHER).build(&caps),
                flags,
                &[(36, 55), (59, 59)],
            )
        },
        Law {
            value_flags: (1 << 16, 0x15),
            ..Law::new(reduce.build(&caps), flags | TC3, &[(36, 39), (48, 55), (59, 63)])
        },
        Law {
            field_flags: 1 << 16,
            zero_bits: &[(59, 0xc0)],
            ..Law::new(reduce.source_handle(HANDLE).build(&caps), flags | TC3, &[(36, 39), (48, 55), (62, 63)])
        },
        Law {
            value_flags: (1 << 16, 0x15),
            ..Law::new(dualcast.build(&caps), flags | TC3 | 1 << 17, &[(36, 39), (59, 63)])
        },
        Law {
            field_flags: 1 << 16,
            ..Law::new(
                dualcast.second_source_handle(HANDLE).second_destination_handle(OTHER).build(&caps),
                flags | TC3 | 1 << 17,
                &[(36, 39)],
            )
        },
        Law {
            zero_bits: &[(59, 0x0f)],
            ..Law::new(
                GatherReduce::new(list, 0x3000, ComputeType::Min, DataType::Bf16, 6).record(RECORD).build(&caps),
                flags | TC3,
                &[(36, 43), (46, 47), (60, 63)],
            )
        },
    ]
}

fn moving() -> Vec<Law> {
    let caps = everything();
    let flags = RCR | BOF | CACHE | ORDER | TC2 | TC3;
    let list = Sgl::new(0x1000, 3, SglFormat::Offset64).base(0x2000);
    let gather = GatherCopy::new(list, 0x3000, DataType::Int64, 6).record(RECORD);
    let scatter = ScatterCopy::new(0x3000, list, DataType::Int8, 6).record(RECORD);
    let fill = ScatterFill::new(list, u64::MAX, DataType::Int32, 6).record(RECORD);
    let row = |valid, optional, field_flags, must_be_zero| Law {
        field_flags,
        zero_bits: &[(56, 0xf0), (59, 0x0f)],
        ..Law::new(valid, optional, must_be_zero)
    };
    let with_handles: &[_] = &[(36, 39), (46, 47), (57, 58)];
    let without: &[_] = &[(36, 39), (46, 47), (57, 58), (60, 63)];
    vec![
        row(gather.build(&caps), flags | TC1 | 3 << 16, 0, without),
        row(gather.source_handle(HANDLE).destination_handle(OTHER).build(&caps), flags | TC1, 3 << 16, with_handles),
        row(scatter.build(&caps), flags | TC1 | 3 << 16, 0, without),
        row(scatter.source_handle(HANDLE).destination_handle(OTHER).build(&caps), flags | TC1, 3 << 16, with_handles),
        row(fill.build(&caps), flags | 1 << 17, 0, without),
        row(fill.destination_handle(HANDLE).build(&caps), flags, 1 << 17, &[(36, 39), (46, 47), (57, 58), (60, 61)]),
    ]
}
