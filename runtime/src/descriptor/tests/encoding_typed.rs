//! What the builders of conversion, reduce, gather and scatter write, byte for byte. Expectations are literal numbers,
//! not the constants of the code under test.

use super::super::*;
use super::encoding::{DST, RECORD, SRC, assert_layout};
use super::everything;

const FIRST: IdptHandle = IdptHandle::new(0x1234);
const SECOND: IdptHandle = IdptHandle::new(0xfedc);

#[test]
fn type_convert() {
    let (source, destination) = (SRC & !7, DST & !7);
    let fields = [(7, 1, 0x18), (8, 8, RECORD), (16, 8, source), (24, 8, destination), (32, 4, 0x0102)];
    // Flags, and bytes 56 to 58.
    let with =
        |flags, types, low, high| [&fields[..], &[(4, 3, flags), (56, 1, types), (57, 1, low), (58, 1, high)]].concat();
    let convert = |from, to| TypeConvert::new(source, from, destination, to, 0x0102).record(RECORD);
    let integers = convert(DataType::Int16, DataType::Int64);
    assert_layout(integers.build(&everything()), &with(0x0c, 0x31, 0, 0));
    assert_layout(integers.negate(true).build(&everything()), &with(0x0c, 0x31, 0x10, 0));
    assert_layout(integers.signed(true).build(&everything()), &with(0x0c, 0x31, 0, 0x08));
    assert_layout(integers.saturate(true).build(&everything()), &with(0x0c, 0x31, 0, 0x10));
    assert_layout(integers.check_result(true).build(&everything()), &with(0x8c, 0x31, 0, 0));
    let floats = convert(DataType::Fp32, DataType::Fp8E4m3);
    assert_layout(floats.build(&everything()), &with(0x0c, 0x58, 0, 0));
    assert_layout(floats.flush_to_zero(true).build(&everything()), &with(0x0c, 0x58, 0x40, 0));
    assert_layout(floats.denormals_are_zero(true).build(&everything()), &with(0x0c, 0x58, 0x80, 0));
    for (rounding, high) in
        [(Rounding::NearestEven, 0), (Rounding::Down, 1), (Rounding::Up, 2), (Rounding::TowardZero, 3)]
    {
        // The later call replaces the earlier one.
        let built = floats.rounding(Rounding::TowardZero).rounding(rounding).build(&everything());
        assert_layout(built, &with(0x0c, 0x58, 0, high));
    }
    let handles = [(60, 2, 0x1234), (62, 2, 0xfedc)];
    assert_layout(
        integers
            .source_handle(FIRST)
            .destination_handle(SECOND)
            .source_traffic_class(TrafficClass::B)
            .destination_traffic_class(TrafficClass::B)
            .build(&everything()),
        &[&with(0x03_060c, 0x31, 0, 0)[..], &handles].concat(),
    );
}

#[test]
fn data_types_have_the_codes_of_the_table() {
    let names = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Fp8E5m2,
        DataType::Fp8E4m3,
        DataType::Fp16,
        DataType::Bf16,
        DataType::Fp32,
        DataType::Fp64,
    ];
    for (code, data_type) in (0..).zip(names) {
        assert_layout(
            TypeConvert::new(0x1000, data_type, 0x2000, data_type, 5).build(&everything()),
            &[(7, 1, 0x18), (16, 8, 0x1000), (24, 8, 0x2000), (32, 4, 5), (56, 1, code << 4 | code)],
        );
    }
}

#[test]
fn reduce() {
    let fields = [(7, 1, 0x19), (8, 8, RECORD), (16, 8, 0x1000), (24, 8, 0x2000), (32, 4, 0x0102), (40, 8, 0x3000)];
    let with = |flags, types, low, more: &[(usize, usize, u64)]| {
        [&fields[..], &[(4, 3, flags), (56, 1, types), (57, 1, low)], more].concat()
    };
    let reduce = |compute, data_type| Reduce::new(0x1000, 0x2000, 0x3000, compute, data_type, 0x0102).record(RECORD);
    for (compute, code) in [
        (ComputeType::Add, 1),
        (ComputeType::And, 3),
        (ComputeType::Or, 4),
        (ComputeType::Xor, 5),
        (ComputeType::Min, 6),
        (ComputeType::Max, 7),
    ] {
        assert_layout(reduce(compute, DataType::Int32).build(&everything()), &with(0x0c, 0x22, code, &[]));
    }
    let add = reduce(ComputeType::Add, DataType::Fp16);
    assert_layout(add.output(DataType::Fp32).build(&everything()), &with(0x0c, 0x86, 1, &[]));
    assert_layout(add.negate(true).negate_second(true).build(&everything()), &with(0x0c, 0x66, 0x31, &[]));
    assert_layout(
        add.source_traffic_class(TrafficClass::B)
            .second_source_traffic_class(TrafficClass::B)
            .destination_traffic_class(TrafficClass::B)
            .check_result(true)
            .cache_control(CacheControl::Cache)
            .build(&everything()),
        &with(0x0f8c, 0x66, 1, &[]),
    );
}

#[test]
fn selectors_of_reduce() {
    let add = Reduce::new(0x1000, 0x2000, 0x3000, ComputeType::Add, DataType::Int8, 3);
    let with = |selector, first, second| {
        let fields = [(7, 1, 0x19), (4, 3, 0x01_0000), (16, 8, 0x1000), (24, 8, 0x2000), (32, 4, 3), (40, 8, 0x3000)];
        [&fields[..], &[(57, 1, 1), (59, 1, selector), (60, 2, first), (62, 2, second)]].concat()
    };
    assert_layout(add.source_handle(FIRST).build(&everything()), &with(0b01, 0x1234, 0));
    assert_layout(add.second_source_handle(FIRST).build(&everything()), &with(0b01_00, 0x1234, 0));
    assert_layout(add.destination_handle(SECOND).build(&everything()), &with(0b01_00_00, 0xfedc, 0));
    assert_layout(
        add.source_handle(FIRST).second_source_handle(SECOND).destination_handle(FIRST).build(&everything()),
        &with(0b01_10_01, 0x1234, 0xfedc),
    );
    // A handle may be 0.
    assert_layout(
        add.source_handle(IdptHandle::new(0)).destination_handle(SECOND).build(&everything()),
        &with(0b10_00_01, 0, 0xfedc),
    );
    let dualcast = ReduceDualcast::new([0x1000, 0x2000], [0x3000, 0x4000], ComputeType::Max, DataType::Int8, 3)
        .destination_handle(SECOND)
        .second_destination_handle(FIRST)
        .second_destination_traffic_class(TrafficClass::B);
    assert_layout(
        dualcast.build(&everything()),
        &[
            (7, 1, 0x1a),
            (4, 3, 0x03_0000),
            (16, 8, 0x1000),
            (24, 8, 0x2000),
            (32, 4, 3),
            (40, 8, 0x3000),
            (48, 8, 0x4000),
            (57, 1, 7),
            (59, 1, 0b10_01_00_00),
            (60, 2, 0xfedc),
            (62, 2, 0x1234),
        ],
    );
    let third = IdptHandle::new(7);
    let error = add.source_handle(FIRST).second_source_handle(SECOND).destination_handle(third).build(&everything());
    assert_eq!(error, Err(DescriptorError::TooManyHandles { opcode: 0x19 }));
}

#[test]
fn gather_reduce() {
    for (format, code) in [(SglFormat::Offset64, 1), (SglFormat::Index32, 2), (SglFormat::Index64, 3)] {
        let list = Sgl::new(SRC, 0x01ff, format).base(0x7f00_0000_0010);
        assert_layout(
            GatherReduce::new(list, DST & !7, ComputeType::Min, DataType::Fp64, 0x0101)
                .output(DataType::Fp32)
                .record(RECORD)
                .negate(true)
                .source_traffic_class(TrafficClass::B)
                .destination_traffic_class(TrafficClass::B)
                .list_traffic_class(TrafficClass::B)
                .build(&everything()),
            &[
                (4, 3, 0x0e0c),
                (7, 1, 0x1b),
                (8, 8, RECORD),
                (16, 8, SRC),
                (24, 8, DST & !7),
                (32, 4, 0x0101),
                (44, 2, 0x01ff),
                (48, 8, 0x7f00_0000_0010),
                (56, 1, 0x89),
                (57, 1, 0x16),
                (59, 1, code << 4),
            ],
        );
    }
}

#[test]
fn gather_and_scatter() {
    let list = Sgl::new(SRC, 0x0102, SglFormat::Index64).base(0x1122_3344);
    let size = 0x0102 * 0x0305 * 4;
    let fields = [(8, 8, RECORD), (32, 4, size), (40, 4, 0x0305), (44, 2, 0x0102), (48, 8, 0x1122_3344), (59, 1, 0x30)];
    let with = |op, flags, data_type, source, destination| {
        let own = [(7, 1, op), (4, 3, flags), (16, 8, source), (24, 8, destination), (56, 1, data_type)];
        [&fields[..], &own].concat()
    };
    let handles = [(60, 2, 0x1234), (62, 2, 0xfedc)];
    let gather = GatherCopy::new(list, DST, DataType::Fp32, 0x0305).record(RECORD);
    assert_layout(gather.build(&everything()), &with(0x1c, 0x0c, 8, SRC, DST));
    assert_layout(
        gather
            .source_handle(FIRST)
            .destination_handle(SECOND)
            .source_traffic_class(TrafficClass::B)
            .destination_traffic_class(TrafficClass::B)
            .list_traffic_class(TrafficClass::B)
            .build(&everything()),
        &[&with(0x1c, 0x03_0e0c, 8, SRC, DST)[..], &handles].concat(),
    );
    let scatter = ScatterCopy::new(DST, list, DataType::Int32, 0x0305).record(RECORD);
    assert_layout(scatter.build(&everything()), &with(0x1d, 0x0c, 2, DST, SRC));
    assert_layout(
        scatter.source_handle(FIRST).destination_handle(SECOND).build(&everything()),
        &[&with(0x1d, 0x03_000c, 2, DST, SRC)[..], &handles].concat(),
    );
    let pattern = 0x0102_0304_0506_0708;
    let fill = ScatterFill::new(list, pattern, DataType::Int32, 0x0305).record(RECORD);
    assert_layout(fill.build(&everything()), &with(0x1e, 0x0c, 2, pattern, SRC));
    assert_layout(
        fill.destination_handle(SECOND)
            .destination_traffic_class(TrafficClass::B)
            .list_traffic_class(TrafficClass::B)
            .block_on_fault(true)
            .build(&everything()),
        &[&with(0x1e, 0x02_0c0e, 2, pattern, SRC)[..], &[(62, 2, 0xfedc)]].concat(),
    );
}
