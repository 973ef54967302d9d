//! What the builders of delta operations, translation fetch, data integrity and inter-domain operations write, byte for
//! byte. Expectations are literal numbers, not the constants of the code under test.

use super::super::*;
use super::encoding::{DST, LEN, RECORD, SRC, assert_layout};
use super::everything;

#[test]
fn create_delta() {
    let (first, second, delta) = (SRC & !7, DST & !7, 0x1234_5677);
    let fields = [
        (7, 1, 0x07),
        (8, 8, RECORD),
        (16, 8, first),
        (24, 8, second),
        (32, 4, 0x1_2340),
        (40, 8, delta),
        (48, 4, 0x3e8),
    ];
    let with = |flags, mask| [fields.as_slice(), &[(4, 3, flags), (56, 1, mask)]].concat();
    let base = CreateDelta::new(first, second, 0x1_2340, delta, 1000).record(RECORD);
    assert_layout(base.build(&everything()), &with(0x0c, 0));
    assert_layout(base.expect(DeltaResults::EQUAL).build(&everything()), &with(0x8c, 1));
    assert_layout(base.expect(DeltaResults::COMPLETE).build(&everything()), &with(0x8c, 2));
    assert_layout(base.expect(DeltaResults::OVERFLOWED).build(&everything()), &with(0x8c, 4));
    assert_layout(base.expect(DeltaResults::all()).build(&everything()), &with(0x8c, 7));
    assert_layout(base.source_traffic_class(TrafficClass::B).build(&everything()), &with(0x020c, 0));
    assert_layout(base.second_source_traffic_class(TrafficClass::B).build(&everything()), &with(0x040c, 0));
    assert_layout(base.delta_traffic_class(TrafficClass::B).build(&everything()), &with(0x080c, 0));
    assert_layout(
        base.cache_control(CacheControl::Cache).strict_ordering(true).block_on_fault(true).build(&everything()),
        &with(0x210e, 0),
    );
}

#[test]
fn apply_delta() {
    let fields = [(7, 1, 0x08), (16, 8, SRC), (24, 8, DST & !7), (32, 4, 0x1_2340), (40, 4, 0x3e8)];
    let with = |flags, record| [fields.as_slice(), &[(4, 3, flags), (8, 8, record)]].concat();
    let base = ApplyDelta::new(SRC, 1000, DST & !7, 0x1_2340);
    assert_layout(base.build(&everything()), &with(0, 0));
    assert_layout(
        base.record(RECORD)
            .delta_traffic_class(TrafficClass::B)
            .destination_traffic_class(TrafficClass::B)
            .build(&everything()),
        &with(0x060c, RECORD),
    );
}

#[test]
fn translation_fetch() {
    let fields = [(7, 1, 0x0a), (8, 8, RECORD), (16, 8, SRC), (32, 4, 0xffff_ffff)];
    let with = |flags, stride| [fields.as_slice(), &[(4, 3, flags), (48, 4, stride)]].concat();
    let base = TranslationFetch::new(SRC, u32::MAX.into()).record(RECORD);
    assert_layout(base.build(&everything()), &with(0x0c, 0));
    assert_layout(base.stride(0x20_0000).block_on_fault(true).build(&everything()), &with(0x01_000e, 0x20_0000));
    assert_layout(base.fence(true).build_member(&everything()), &with(0x0d, 0));
}

/// Source tags as in bytes 48 to 55, destination tags as in bytes 56 to 63.
const SOURCE_TAGS: [(usize, usize, u64); 3] = [(48, 4, 0x1122_3344), (52, 2, 0x5566), (54, 2, 0x7788)];
const MADE_TAGS: [(usize, usize, u64); 3] = [(56, 4, 0xa1a2_a3a4), (60, 2, 0xa5a6), (62, 2, 0xa7a8)];

const fn expected() -> DifSource {
    DifSource::new(0x1122_3344, 0x7788).application_mask(0x5566)
}

const fn made() -> DifDestination {
    DifDestination::new(0xa1a2_a3a4, 0xa7a8).application_mask(0xa5a6)
}

#[test]
fn dif_check() {
    let fields = [&SOURCE_TAGS[..], &[(4, 3, 0x0c), (7, 1, 0x12), (8, 8, RECORD), (16, 8, SRC)]].concat();
    let with = |size, dif_flags, source_flags| {
        [&fields[..], &[(32, 4, size), (40, 1, source_flags), (42, 1, dif_flags)]].concat()
    };
    let check = |size, block, source| DifCheck::new(SRC, size, block, source).record(RECORD);
    for (block, unit, code) in [
        (DifBlock::Bytes512, 520, 0),
        (DifBlock::Bytes520, 528, 1),
        (DifBlock::Bytes4096, 4104, 2),
        (DifBlock::Bytes4104, 4112, 3),
    ] {
        assert_layout(check(3 * unit, block, expected()).build(&everything()), &with(3 * unit, code, 0));
    }
    let base = check(520, DifBlock::Bytes512, expected());
    assert_layout(base.invert_seed(true).build(&everything()), &with(520, 4, 0));
    assert_layout(base.invert_result(true).build(&everything()), &with(520, 8, 0));
    assert_layout(base.invert_seed(true).invert_seed(false).build(&everything()), &with(520, 0, 0));
    let source = expected();
    for (source, flags) in [
        (source.fixed_reference(true), 0x80),
        (source.unchecked_reference(true), 0x40),
        (source.unchecked_guard(true), 0x20),
        (source.counting_application(true), 0x10),
        (source.pass_all_ones_tags(true), 0x08),
        (source.pass_all_ones_application(true), 0x04),
        (source.pass_all_ones(true), 0x02),
        (source.refuse_all_ones(true), 0x01),
        (source.refuse_all_ones(true).refuse_all_ones(false), 0),
    ] {
        assert_layout(check(520, DifBlock::Bytes512, source).build(&everything()), &with(520, 0, flags));
    }
}

#[test]
fn dif_insert_and_dix_generate() {
    let destination = DST & !7;
    let fields =
        [&MADE_TAGS[..], &[(8, 8, RECORD), (16, 8, SRC), (24, 8, destination), (32, 4, 8192), (42, 1, 2)]].concat();
    let with = |op, flags, made_flags| [&fields[..], &[(7, 1, op), (4, 3, flags), (41, 1, made_flags)]].concat();
    for (destination_flags, flags) in [
        (made(), 0),
        (made().fixed_reference(true), 0x80),
        (made().pass_reference(true), 0x40),
        (made().pass_guard(true), 0x20),
        (made().counting_application(true), 0x10),
        (made().pass_application(true), 0x08),
    ] {
        let block = DifBlock::Bytes4096;
        let insert = DifInsert::new(SRC, destination, 8192, block, destination_flags).record(RECORD);
        assert_layout(insert.build(&everything()), &with(0x13, 0x0c, flags));
        let generate = DixGenerate::new(SRC, destination, 8192, block, destination_flags).record(RECORD);
        assert_layout(generate.build(&everything()), &with(0x17, 0x0c, flags));
        let with_classes = insert
            .source_traffic_class(TrafficClass::B)
            .destination_traffic_class(TrafficClass::B)
            .cache_control(CacheControl::MemoryReadback);
        assert_layout(with_classes.build(&everything()), &with(0x13, 0x462c, flags));
    }
}

#[test]
fn dif_strip() {
    let fields = [
        &SOURCE_TAGS[..],
        &[(4, 3, 0x04), (7, 1, 0x14), (8, 8, RECORD), (16, 8, SRC), (24, 8, DST), (32, 4, 1056)],
        &[(40, 1, 0x24), (42, 1, 0xd)],
    ]
    .concat();
    let source = expected().unchecked_guard(true).pass_all_ones_application(true);
    assert_layout(
        DifStrip::new(SRC, DST, 1056, DifBlock::Bytes520, source)
            .invert_seed(true)
            .invert_result(true)
            .record(RECORD)
            .request_record(false)
            .build(&everything()),
        &fields,
    );
}

#[test]
fn dif_update() {
    let fields = [
        &SOURCE_TAGS[..],
        &MADE_TAGS[..],
        &[(4, 3, 0x200c), (7, 1, 0x15), (8, 8, RECORD), (16, 8, SRC), (24, 8, DST), (32, 4, 4112)],
        &[(40, 1, 0x12), (41, 1, 0xa0), (42, 1, 0x3)],
    ]
    .concat();
    let source = expected().counting_application(true).pass_all_ones(true);
    let destination = made().fixed_reference(true).pass_guard(true);
    assert_layout(
        DifUpdate::new(SRC, DST, 4112, DifBlock::Bytes4104, source, destination)
            .record(RECORD)
            .strict_ordering(true)
            .build(&everything()),
        &fields,
    );
}

const FIRST: IdptHandle = IdptHandle::new(0x1234);
const SECOND: IdptHandle = IdptHandle::new(0xfedc);

#[test]
fn inter_domain_copy() {
    let fields = [(7, 1, 0x23), (8, 8, RECORD), (16, 8, SRC), (24, 8, DST), (32, 4, LEN)];
    let with = |flags, first, second| [fields.as_slice(), &[(4, 3, flags), (60, 2, first), (62, 2, second)]].concat();
    let base = InterDomainCopy::new(SRC, DST, LEN).record(RECORD);
    assert_layout(base.source_handle(FIRST).build(&everything()), &with(0x01_000c, 0x1234, 0));
    assert_layout(base.destination_handle(SECOND).build(&everything()), &with(0x02_000c, 0, 0xfedc));
    assert_layout(
        base.source_handle(FIRST)
            .destination_handle(SECOND)
            .source_traffic_class(TrafficClass::B)
            .destination_traffic_class(TrafficClass::B)
            .build(&everything()),
        &with(0x03_060c, 0x1234, 0xfedc),
    );
}

#[test]
fn inter_domain_fill() {
    let pattern = 0x0102_0304_0506_0708;
    let fields = [(7, 1, 0x24), (16, 8, pattern), (24, 8, DST), (32, 4, LEN), (62, 2, 0xfedc)];
    let with = |flags, upper| [fields.as_slice(), &[(4, 3, flags), (40, 8, upper)]].concat();
    assert_layout(InterDomainFill::new(DST, SECOND, LEN, pattern).build(&everything()), &with(0x02_0000, 0));
    assert_layout(
        InterDomainFill::with_wide_pattern(DST, SECOND, LEN, [pattern, !pattern]).build(&everything()),
        &with(0x06_0000, !pattern),
    );
}

#[test]
fn inter_domain_compares() {
    let fields = [(7, 1, 0x25), (8, 8, RECORD), (16, 8, SRC), (24, 8, DST), (32, 4, LEN)];
    let with = |flags, expected, first, second| {
        [fields.as_slice(), &[(4, 3, flags), (40, 1, expected), (60, 2, first), (62, 2, second)]].concat()
    };
    let base = InterDomainCompare::new(SRC, DST, LEN).record(RECORD);
    assert_layout(base.source_handle(FIRST).build(&everything()), &with(0x01_000c, 0, 0x1234, 0));
    assert_layout(
        base.second_source_handle(SECOND).expect(Expectation::Different).build(&everything()),
        &with(0x02_008c, 1, 0, 0xfedc),
    );
    let fields =
        [(7, 1, 0x26), (8, 8, RECORD), (16, 8, SRC), (24, 8, 0x8877_6655_4433_2211), (32, 4, LEN), (60, 2, 0x1234)];
    let base = InterDomainComparePattern::new(SRC, FIRST, LEN, 0x8877_6655_4433_2211).record(RECORD);
    assert_layout(base.build(&everything()), &[fields.as_slice(), &[(4, 3, 0x01_000c)]].concat());
    assert_layout(
        base.expect(Expectation::Different).source_traffic_class(TrafficClass::B).build(&everything()),
        &[fields.as_slice(), &[(4, 3, 0x01_028c), (40, 1, 1)]].concat(),
    );
}

#[test]
fn update_window() {
    let with = |flags, base, size, window| {
        [(7, 1, 0x21), (4, 3, flags), (16, 8, base), (24, 8, size), (61, 1, window), (62, 2, 0xfedc)]
    };
    let base = UpdateWindow::new(SECOND);
    assert_layout(base.build(&everything()), &with(0, 0, 0, 0));
    assert_layout(base.read(true).build(&everything()), &with(0, 0, 0, 1));
    assert_layout(base.write(true).build(&everything()), &with(0, 0, 0, 2));
    assert_layout(base.window(SRC, 7).build(&everything()), &with(0, SRC, 7, 4));
    assert_layout(base.window(SRC, 7).offset_mode(true).build(&everything()), &with(0, SRC, 7, 0xc));
    assert_layout(
        base.window(0, u64::MAX).read(true).read(false).suppress_drain(true).build(&everything()),
        &with(0x01_0000, 0, u64::MAX, 4),
    );
}
