//! Limits of scatter-gather lists: one test per rule, on both sides of each limit.

use idxd_sys::{Descriptor, status};

use super::super::*;
use super::everything;
use super::limits_typed::{FIRST, TARGET, is_refused, list, with};

#[test]
fn list_formats_and_sizes() {
    let caps = everything().with_max_sgl_size(100);
    assert_eq!(everything().with_max_sgl_size(2000).max_sgl_size(), 1024);
    let build = |list: Sgl, caps: &Capabilities| {
        [
            GatherReduce::new(list, TARGET, ComputeType::Add, DataType::Int8, 4).build(caps),
            GatherCopy::new(list, TARGET, DataType::Int8, 4).build(caps),
            ScatterCopy::new(TARGET, list, DataType::Int8, 4).build(caps),
            ScatterFill::new(list, 0, DataType::Int8, 4).build(caps),
        ]
    };
    for entries in [1, 100] {
        assert!(build(list(entries), &caps).iter().all(Result::is_ok));
    }
    // The last ones would be valid if they were cut to 16 bits.
    for entries in [0, 101, 0xffff, 0x1_0001, u32::MAX] {
        for built in build(list(entries), &caps) {
            assert_eq!(built, Err(DescriptorError::SglSize { entries, max: 100 }));
            assert!(is_refused(built, status::BAD_COUNT));
        }
    }
    for &format in SglFormat::ALL {
        let code = format.code();
        let without = with(|registers| registers[0] &= !(1 << (32 + code)));
        for built in build(Sgl::new(FIRST, 3, format), &without) {
            assert_eq!(built, Err(DescriptorError::SglFormatNotOffered { code }));
            assert!(is_refused(built, status::BAD_FIELD_VALUE));
        }
    }
    let all = with(|registers| registers[0] |= 0xffff << 32);
    for code in [0, 4, 15] {
        let mut d = GatherCopy::new(list(3), TARGET, DataType::Int8, 4).build(&all).unwrap();
        d.set_op_u8(59, code << 4);
        let verdict = validate(&d, &all, Position::Queue);
        assert_eq!(verdict, Err(DescriptorError::SglFormatNotOffered { code }));
    }
}

#[test]
fn the_transfer_size_is_that_of_all_blocks() {
    let caps = everything().with_max_transfer_size(4096);
    let build = |entries, data_type, count| {
        [
            GatherCopy::new(list(entries), TARGET, data_type, count).build(&caps),
            ScatterCopy::new(TARGET, list(entries), data_type, count).build(&caps),
            ScatterFill::new(list(entries), 0, data_type, count).build(&caps),
        ]
    };
    for built in build(8, DataType::Int64, 64) {
        let valid = built.unwrap();
        assert_eq!(valid.xfer_size, 4096);
        for size in [1, 4095] {
            let changed = Descriptor { xfer_size: size, ..valid };
            let error = validate(&changed, &caps, Position::Queue).unwrap_err();
            assert_eq!(error, DescriptorError::SizeNotOfList { size, expected: 4096 });
            assert_eq!(error.status(), status::BAD_SIZE);
        }
        let mut none = valid;
        none.set_op_u32(40, 0);
        let error = validate(&none, &caps, Position::Queue).unwrap_err();
        assert_eq!(error, DescriptorError::SizeNotOfList { size: 4096, expected: 0 });
    }
    for built in build(8, DataType::Int64, 0) {
        assert_eq!(built, Err(DescriptorError::SizeZero { max: 4096 }));
    }
    for (entries, count) in [(8, 65), (9, 64), (8, 1 << 32 | 1), (8, u64::MAX)] {
        for built in build(entries, DataType::Int64, count) {
            let size = count.saturating_mul(8).saturating_mul(entries.into());
            assert_eq!(built, Err(DescriptorError::SizeTooLarge { size, max: 4096 }));
        }
    }
}

#[test]
fn blocks_of_gather_reduce() {
    let caps = everything();
    let build = |entries, from, to, count, caps: &Capabilities| {
        GatherReduce::new(list(entries), TARGET, ComputeType::Add, from, count).output(to).build(caps)
    };
    for (from, to, most) in [
        (DataType::Int8, DataType::Int8, 16384),
        (DataType::Int8, DataType::Int64, 2048),
        (DataType::Int64, DataType::Int8, 2048),
    ] {
        assert!(build(3, from, to, most, &caps).is_ok());
        let size = (most + 1) * 16384 / most;
        assert_eq!(build(3, from, to, most + 1, &caps), Err(DescriptorError::BlockTooLarge { size, max: 16384 }));
        assert!(is_refused(build(3, from, to, most + 1, &caps), status::BAD_SIZE));
        assert_eq!(build(3, from, to, 0, &caps), Err(DescriptorError::SizeZero { max: 1 << 31 }));
    }
    // All blocks together are a transfer.
    let small = caps.with_max_transfer_size(8192);
    assert!(build(4, DataType::Int16, DataType::Int16, 1024, &small).is_ok());
    let above = build(5, DataType::Int16, DataType::Int16, 1024, &small);
    assert_eq!(above, Err(DescriptorError::SizeTooLarge { size: 10240, max: 8192 }));
}

#[test]
fn lists_are_not_overwritten() {
    let caps = everything();
    for distance in -80_i64..=80 {
        let target = FIRST.wrapping_add_signed(distance * 2);
        // Ten entries of 4 or 8 bytes at FIRST, 40 bytes or one block of 20 at the target.
        for (format, list_size) in [(SglFormat::Offset64, 80), (SglFormat::Index32, 40), (SglFormat::Index64, 80)] {
            let list = Sgl::new(FIRST, 10, format);
            let refused = |size: i64| distance * 2 < list_size && distance * 2 > -size;
            let copied = GatherCopy::new(list, target, DataType::Int8, 4);
            assert_eq!(is_refused(copied.build(&caps), status::OVERLAP), refused(40), "{distance}");
            // In another address space it is other memory; where the blocks are does not matter.
            let handle = IdptHandle::new(1);
            assert!(copied.destination_handle(handle).build(&caps).is_ok());
            assert_eq!(is_refused(copied.source_handle(handle).build(&caps), status::OVERLAP), refused(40));
            let reduced = GatherReduce::new(list, target, ComputeType::Add, DataType::Int16, 10).build(&caps);
            assert_eq!(is_refused(reduced, status::OVERLAP), refused(20), "{distance}");
            // The source of a scatter is only read.
            assert!(ScatterCopy::new(target, list, DataType::Int8, 4).build(&caps).is_ok());
        }
    }
    let end = Sgl::new(u64::MAX - 79, 10, SglFormat::Offset64);
    let beyond = Sgl::new(u64::MAX - 78, 10, SglFormat::Offset64);
    assert!(ScatterFill::new(end, 0, DataType::Int8, 4).build(&caps).is_ok());
    let error = ScatterFill::new(beyond, 0, DataType::Int8, 4).build(&caps).unwrap_err();
    let operand = Operand::ScatterGatherList;
    assert_eq!(error, DescriptorError::AddressWraps { operand, address: u64::MAX - 78, size: 80 });
    let built = GatherCopy::new(list(3), u64::MAX - 10, DataType::Int8, 4).build(&caps);
    assert!(is_refused(built, status::TRANSLATION));
    let built = ScatterCopy::new(u64::MAX - 10, list(3), DataType::Int8, 4).build(&caps);
    assert!(is_refused(built, status::TRANSLATION));
}
