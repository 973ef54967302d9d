//! What each builder writes, byte for byte. Expectations are literal numbers, not the constants of the code under test.

use super::super::*;
use super::{bytes_of, everything, first_generation};

/// 64 bytes, zero but for the given little-endian fields: (offset, width in bytes, value).
fn layout(fields: &[(usize, usize, u64)]) -> [u8; 64] {
    let mut bytes = [0; 64];
    for &(offset, width, value) in fields {
        bytes[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    bytes
}

pub(super) const RECORD: u64 = 0x1122_3344_5566_7780;
pub(super) const SRC: u64 = 0x7f00_1234_5678_9abc;
pub(super) const DST: u64 = 0x7e00_fedc_ba98_7654;
pub(super) const LEN: u64 = 0x0002_0304;

#[track_caller]
pub(super) fn assert_layout(built: Result<idxd_sys::Descriptor, DescriptorError>, fields: &[(usize, usize, u64)]) {
    assert_eq!(bytes_of(&built.expect("the builder accepts this")), layout(fields));
}

#[test]
fn nop() {
    let caps = first_generation();
    assert_layout(Nop::new().build(&caps), &[]);
    assert_layout(Nop::default().record(RECORD).build(&caps), &[(4, 3, 0x0c), (8, 8, RECORD)]);
    assert_layout(
        Nop::new().record(RECORD).fence(true).build_member(&caps),
        &[(4, 3, 0x0d), (7, 1, 0x00), (8, 8, RECORD)],
    );
}

#[test]
fn batch() {
    assert_layout(
        Batch::new(0xa940, 0x0102).record(RECORD).build(&first_generation()),
        &[(4, 3, 0x0c), (7, 1, 0x01), (8, 8, RECORD), (16, 8, 0xa940), (32, 4, 0x0102)],
    );
    assert_layout(
        Batch::new(0xa940, 1)
            .record(RECORD)
            .earlier_error(true)
            .list_traffic_class(TrafficClass::B)
            .build(&everything()),
        &[(4, 3, 0x01_020c), (7, 1, 0x01), (8, 8, RECORD), (16, 8, 0xa940), (32, 4, 1)],
    );
}

#[test]
fn drain() {
    assert_layout(
        Drain::default().record(RECORD).build(&first_generation()),
        &[(4, 3, 0x0c), (7, 1, 0x02), (8, 8, RECORD)],
    );
    assert_layout(
        Drain::new()
            .record(RECORD)
            .readback(SRC)
            .second_readback(DST)
            .readback_traffic_class(TrafficClass::B)
            .second_readback_traffic_class(TrafficClass::B)
            .suppress_readback(TrafficClass::A)
            .suppress_readback(TrafficClass::B)
            .build(&everything()),
        &[(4, 3, 0x0f_060c), (7, 1, 0x02), (8, 8, RECORD), (16, 8, SRC), (24, 8, DST)],
    );
}

#[test]
fn memory_move() {
    let caps = first_generation();
    let fields = [(7, 1, 0x03), (16, 8, SRC), (24, 8, DST), (32, 4, LEN)];
    assert_layout(Move::new(SRC, DST, LEN).build(&caps), &fields);
    let with = |flags, record| [fields.as_slice(), &[(4, 3, flags), (8, 8, record)]].concat();
    let base = Move::new(SRC, DST, LEN).record(RECORD);
    assert_layout(base.build(&caps), &with(0x0c, RECORD));
    assert_layout(base.request_record(false).build(&caps), &with(0x04, RECORD));
    assert_layout(base.request_record(false).request_record(true).build(&caps), &with(0x0c, RECORD));
    assert_layout(base.block_on_fault(true).build(&caps), &with(0x0e, RECORD));
    assert_layout(base.block_on_fault(true).block_on_fault(false).build(&caps), &with(0x0c, RECORD));
    assert_layout(base.strict_ordering(true).build(&caps), &with(0x200c, RECORD));
    assert_layout(base.source_traffic_class(TrafficClass::B).build(&caps), &with(0x020c, RECORD));
    assert_layout(base.destination_traffic_class(TrafficClass::B).build(&caps), &with(0x040c, RECORD));
    assert_layout(base.record_traffic_class(TrafficClass::B).build(&caps), &with(0x100c, RECORD));
    assert_layout(base.fence(true).build_member(&caps), &with(0x0d, RECORD));
}

#[test]
fn cache_control_bits() {
    let table = [
        (CacheControl::Memory, 0x0000),
        (CacheControl::Cache, 0x0100),
        (CacheControl::DurableReadback, 0x4000),
        (CacheControl::CacheReadback, 0x4100),
        (CacheControl::Durable, 0x0020),
        (CacheControl::MemoryReadback, 0x4020),
    ];
    for (control, bits) in table {
        // The later call replaces the earlier one.
        let built = Move::new(SRC, DST, LEN)
            .cache_control(CacheControl::CacheReadback)
            .cache_control(control)
            .build(&everything());
        assert_layout(built, &[(4, 3, bits), (7, 1, 0x03), (16, 8, SRC), (24, 8, DST), (32, 4, LEN)]);
    }
}

#[test]
fn fill() {
    let caps = first_generation();
    let pattern = 0x0102_0304_0506_0708;
    assert_layout(
        Fill::new(DST, LEN, pattern).record(RECORD).destination_traffic_class(TrafficClass::B).build(&caps),
        &[(4, 3, 0x040c), (7, 1, 0x04), (8, 8, RECORD), (16, 8, pattern), (24, 8, DST), (32, 4, LEN)],
    );
    assert_layout(
        Fill::with_byte(DST, LEN, 0x5a).build(&caps),
        &[(7, 1, 0x04), (16, 8, 0x5a5a_5a5a_5a5a_5a5a), (24, 8, DST), (32, 4, LEN)],
    );
    assert_layout(
        Fill::with_wide_pattern(DST, LEN, [pattern, !pattern]).build(&everything()),
        &[(4, 3, 0x04_0000), (7, 1, 0x04), (16, 8, pattern), (24, 8, DST), (32, 4, LEN), (40, 8, !pattern)],
    );
}

#[test]
fn compare() {
    let caps = first_generation();
    let fields = [(7, 1, 0x05), (8, 8, RECORD), (16, 8, SRC), (24, 8, DST), (32, 4, LEN)];
    let with = |flags, expected| [fields.as_slice(), &[(4, 3, flags), (40, 1, expected)]].concat();
    let base = Compare::new(SRC, DST, LEN).record(RECORD);
    assert_layout(base.build(&caps), &with(0x0c, 0));
    assert_layout(base.expect(Expectation::Equal).build(&caps), &with(0x8c, 0));
    assert_layout(base.expect(Expectation::Different).build(&caps), &with(0x8c, 1));
    assert_layout(base.source_traffic_class(TrafficClass::B).build(&caps), &with(0x020c, 0));
    assert_layout(base.second_source_traffic_class(TrafficClass::B).build(&caps), &with(0x040c, 0));
}

#[test]
fn compare_pattern() {
    let base = ComparePattern::new(SRC, LEN, 0x8877_6655_4433_2211).record(RECORD);
    let fields = [(7, 1, 0x06), (8, 8, RECORD), (16, 8, SRC), (24, 8, 0x8877_6655_4433_2211), (32, 4, LEN)];
    let with = |flags, expected| [fields.as_slice(), &[(4, 3, flags), (40, 1, expected)]].concat();
    assert_layout(base.build(&first_generation()), &with(0x0c, 0));
    assert_layout(base.expect(Expectation::Different).build(&first_generation()), &with(0x8c, 1));
    assert_layout(
        base.source_traffic_class(TrafficClass::B).block_on_fault(true).build(&first_generation()),
        &with(0x020e, 0),
    );
}

#[test]
fn dualcast() {
    let (first, second) = (0x10_0abc, 0x20_0abc);
    assert_layout(
        Dualcast::new(SRC, first, second, LEN)
            .record(RECORD)
            .source_traffic_class(TrafficClass::B)
            .destination_traffic_class(TrafficClass::B)
            .second_destination_traffic_class(TrafficClass::B)
            .build(&first_generation()),
        &[(4, 3, 0x0e0c), (7, 1, 0x09), (8, 8, RECORD), (16, 8, SRC), (24, 8, first), (32, 4, LEN), (40, 8, second)],
    );
}

#[test]
fn crc() {
    let caps = everything();
    let fields = [(7, 1, 0x10), (8, 8, RECORD), (16, 8, SRC), (32, 4, LEN)];
    let with = |flags, offset, value| [fields.as_slice(), &[(4, 3, flags), (offset, 8, value)]].concat();
    let base = Crc::new(SRC, LEN).record(RECORD);
    assert_layout(base.build(&caps), &with(0x0c, 40, 0));
    assert_layout(base.seed(0xe306_9283_u32).build(&caps), &with(0x0c, 40, 0xe306_9283));
    assert_layout(base.bypass_inversion(true).build(&caps), &with(0x02_000c, 40, 0));
    assert_layout(base.bypass_reflection(true).build(&caps), &with(0x04_000c, 40, 0));
    assert_layout(base.bypass_reflection(true).bypass_reflection(false).build(&caps), &with(0x0c, 40, 0));
    assert_layout(
        base.crc64(true).seed(0xae8b_1486_0a79_9888_u64).build(&caps),
        &with(0x08_000c, 40, 0xae8b_1486_0a79_9888),
    );
    assert_layout(
        base.seed(7_u32).seed_address(0x4004).seed_traffic_class(TrafficClass::B).build(&caps),
        &with(0x01_080c, 48, 0x4004),
    );
    assert_layout(base.seed_address(0x4004).seed(7_u32).build(&caps), &with(0x0c, 40, 7));
}

#[test]
fn copy_crc() {
    assert_layout(
        CopyCrc::new(SRC, DST, LEN)
            .record(RECORD)
            .seed(0x1234_5678_u32)
            .destination_traffic_class(TrafficClass::B)
            .strict_ordering(true)
            .cache_control(CacheControl::Cache)
            .build(&first_generation()),
        &[(4, 3, 0x250c), (7, 1, 0x11), (8, 8, RECORD), (16, 8, SRC), (24, 8, DST), (32, 4, LEN), (40, 4, 0x1234_5678)],
    );
}

#[test]
fn cache_flush() {
    assert_layout(
        CacheFlush::new(DST, LEN)
            .record(RECORD)
            .durable(true)
            .strict_ordering(true)
            .destination_traffic_class(TrafficClass::B)
            .build(&first_generation()),
        &[(4, 3, 0x640c), (7, 1, 0x20), (8, 8, RECORD), (24, 8, DST), (32, 4, LEN)],
    );
}
