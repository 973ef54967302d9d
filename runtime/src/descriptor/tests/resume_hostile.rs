//! Records that contradict their descriptor, and what may be executed again.

use idxd_sys::{CompletionRecord, Descriptor};

use super::super::*;
use super::everything;
use super::machine::{RECORD, fault};

fn refusal(sent: &Descriptor, record: CompletionRecord) -> ProtocolError {
    match Resume::plan(sent, &record, &everything()) {
        Resume::Protocol(error) => {
            assert!(!error.to_string().is_empty());
            error
        }
        other => panic!("{other:?} for {record:?}"),
    }
}

const fn too_much(completed: u32, size: u32) -> ProtocolError {
    ProtocolError::TooMuch { completed, size }
}

const fn uneven(completed: u32, unit: u32) -> ProtocolError {
    ProtocolError::Uneven { completed, unit }
}

#[test]
fn sizes_of_delta_records() {
    let sent = CreateDelta::new(0x1000, 0x2000, 64, 0x3000, 160).record(RECORD).build(&everything()).unwrap();
    let record = |status, result, bytes_completed, written| CompletionRecord {
        status,
        result,
        bytes_completed,
        op_specific: [written, 0],
        ..Default::default()
    };
    // Eight words make at most eight entries, whatever room there is.
    assert_eq!(refusal(&sent, record(1, 1, 0, 90)), too_much(90, 80));
    assert_eq!(refusal(&sent, record(1, 2, 8, 90)), too_much(90, 80));
    assert_eq!(refusal(&sent, record(1, 1, 0, 25)), uneven(25, 10));
    assert_eq!(refusal(&sent, record(2, 1, 0, u64::from(u32::MAX))), too_much(u32::MAX, 80));
    assert_eq!(refusal(&sent, record(1, 0, 0, 10)), too_much(10, 0));
    assert_eq!(refusal(&sent, record(1, 1, 0, 0)), ProtocolError::BadResult(1));
    assert_eq!(refusal(&sent, record(1, 2, 0, 0)), ProtocolError::BadResult(2));
    assert_eq!(refusal(&sent, record(1, 3, 0, 10)), ProtocolError::BadResult(3));
    assert_eq!(refusal(&sent, record(1, 1, 65, 10)), too_much(65, 64));
    assert_eq!(refusal(&sent, record(3, 0, 65, 0)), too_much(65, 64));
    assert_eq!(refusal(&sent, record(3, 1, 8, 170)), too_much(170, 160));
    assert_eq!(refusal(&sent, record(3, 2, 8, 10)), ProtocolError::BadResult(2));
    // After the last word the delta record is finished, and must be right.
    assert_eq!(refusal(&sent, record(3, 1, 64, 90)), too_much(90, 80));
    assert_eq!(refusal(&sent, record(3, 0, 64, 10)), too_much(10, 0));
    let small = CreateDelta::new(0x1000, 0x2000, 0x1000, 0x3000, 80).record(RECORD).build(&everything()).unwrap();
    assert_eq!(refusal(&small, record(1, 1, 0, 90)), too_much(90, 80));

    let apply = ApplyDelta::new(0x3000, 50, 0x1000, 64).record(RECORD).build(&everything()).unwrap();
    assert_eq!(refusal(&apply, record(1, 0, 51, 0)), too_much(51, 50));
    assert_eq!(refusal(&apply, record(3, 0, 60, 0)), too_much(60, 50));
    assert_eq!(refusal(&apply, record(3, 0, 16, 0)), uneven(16, 10));
}

#[test]
fn parts_of_blocks_and_of_elements() {
    let caps = everything();
    let (block, expected, made) = (DifBlock::Bytes512, DifSource::new(0, 0), DifDestination::new(0, 0));
    let table = [
        (DifCheck::new(0x1000, 1040, block, expected).record(RECORD).build(&caps), 1040, 520),
        (DifInsert::new(0x1000, 0x2000, 1024, block, made).build(&caps), 1024, 512),
        (DifStrip::new(0x1000, 0x2000, 1040, block, expected).build(&caps), 1040, 520),
        (DifUpdate::new(0x1000, 0x2000, 1040, block, expected, made).build(&caps), 1040, 520),
        (DixGenerate::new(0x1000, 0x2000, 1024, block, made).record(RECORD).build(&caps), 1024, 512),
        (TypeConvert::new(0x1000, DataType::Fp32, 0x2000, DataType::Fp64, 9).build(&caps), 36, 4),
        (Reduce::new(0x1000, 0x2000, 0x3000, ComputeType::Add, DataType::Fp64, 9).build(&caps), 72, 8),
        (
            ReduceDualcast::new([0x1000, 0x2000], [0x3000, 0x4000], ComputeType::Add, DataType::Int16, 9).build(&caps),
            18,
            2,
        ),
    ];
    for (built, size, unit) in table {
        let sent = built.unwrap();
        for completed in 0..=2 * size {
            let plan = Resume::plan(&sent, &fault(completed), &caps);
            let completed = completed as u32;
            if u64::from(completed) > size {
                assert_eq!(plan, Resume::Protocol(too_much(completed, size as u32)));
                let success = CompletionRecord { status: 1, bytes_completed: completed, ..Default::default() };
                assert_eq!(refusal(&sent, success), too_much(completed, size as u32));
            } else if !completed.is_multiple_of(unit) {
                assert_eq!(plan, Resume::Protocol(uneven(completed, unit)));
            } else if u64::from(completed) == size {
                assert!(matches!(plan, Resume::Complete(_)));
            } else {
                assert!(matches!(plan, Resume::Continue(rest) if rest.advanced == completed));
            }
        }
        assert_eq!(refusal(&sent, fault(u32::MAX.into())), too_much(u32::MAX, size as u32));
    }
}

#[test]
fn differences_across_address_spaces() {
    let caps = everything();
    let handle = IdptHandle::new(1);
    let compare =
        InterDomainCompare::new(0x1000, 0x9000, 100).record(RECORD).source_handle(handle).build(&caps).unwrap();
    let pattern = InterDomainComparePattern::new(0x1000, handle, 100, 0).record(RECORD).build(&caps).unwrap();
    for sent in [compare, pattern] {
        let success =
            |result, bytes_completed| CompletionRecord { status: 1, result, bytes_completed, ..Default::default() };
        assert_eq!(refusal(&sent, success(1, 100)), too_much(100, 100));
        assert_eq!(refusal(&sent, success(2, 0)), ProtocolError::BadResult(2));
        assert_eq!(refusal(&sent, CompletionRecord { result: 1, ..fault(10) }), ProtocolError::BadResult(1));
    }
    let copy = InterDomainCopy::new(0x1000, 0x9000, 100).source_handle(handle).build(&caps).unwrap();
    // Nothing says that it may run backwards.
    assert_eq!(refusal(&copy, CompletionRecord { result: 1, ..fault(10) }), ProtocolError::BadResult(1));
    assert_eq!(refusal(&copy, fault(101)), too_much(101, 100));
}

#[test]
fn reserved_codes_in_a_descriptor_end_its_plan() {
    // Such descriptors do not validate; a plan for them must not panic, nor divide by zero.
    let caps = everything();
    let convert = TypeConvert::new(0x1000, DataType::Int8, 0x2000, DataType::Int8, 9).build(&caps).unwrap();
    let mut sent = convert;
    sent.set_op_u8(56, 0xf0);
    assert_eq!(Resume::plan(&sent, &fault(0), &caps), Resume::Fail(Status::PAGE_FAULT));
    sent.set_op_u8(56, 0x0f);
    assert_eq!(Resume::plan(&sent, &fault(0), &caps), Resume::Fail(Status::PAGE_FAULT));
    let list = Sgl::new(0x1000, 9, SglFormat::Offset64);
    let gather = GatherCopy::new(list, 0x2000, DataType::Int8, 24).build(&caps).unwrap();
    for (offset, value) in [(56, 0xf), (59, 0), (40, 0)] {
        let mut sent = gather;
        sent.set_op_u8(offset, value);
        assert_eq!(Resume::plan(&sent, &fault(0), &caps), Resume::Fail(Status::PAGE_FAULT));
    }
}

#[test]
fn only_what_keeps_its_input_may_start_again() {
    let caps = everything();
    let (block, expected, made) = (DifBlock::Bytes512, DifSource::new(0, 0), DifDestination::new(0, 0));
    let list = Sgl::new(0x1000, 9, SglFormat::Offset64);
    let handle = IdptHandle::new(1);
    let yes = [
        CreateDelta::new(0x1000, 0x2000, 64, 0x3000, 80).record(RECORD).build(&caps),
        ApplyDelta::new(0x3000, 30, 0x1000, 64).build(&caps),
        TranslationFetch::new(0x1000, 64).build(&caps),
        DifCheck::new(0x1000, 520, block, expected).record(RECORD).build(&caps),
        DifInsert::new(0x1000, 0x1200, 512, block, made).build(&caps),
        DifStrip::new(0x1000, 0x1208, 520, block, expected).build(&caps),
        DifUpdate::new(0x1000, 0x1208, 520, block, expected, made).build(&caps),
        DixGenerate::new(0x1000, 0x1200, 512, block, made).record(RECORD).build(&caps),
        TypeConvert::new(0x1000, DataType::Int8, 0x2000, DataType::Int16, 9).build(&caps),
        Reduce::new(0x1000, 0x2000, 0x3000, ComputeType::Add, DataType::Int8, 9).build(&caps),
        ReduceDualcast::new([0x1000, 0x2000], [0x3000, 0x4000], ComputeType::Add, DataType::Int8, 9).build(&caps),
        GatherReduce::new(list, 0x2000, ComputeType::Add, DataType::Int8, 9).build(&caps),
        GatherCopy::new(list, 0x2000, DataType::Int8, 9).build(&caps),
        ScatterCopy::new(0x2000, list, DataType::Int8, 9).build(&caps),
        ScatterFill::new(list, 0, DataType::Int8, 9).build(&caps),
        UpdateWindow::new(handle).build(&caps),
        InterDomainCopy::new(0x1000, 0x1000, 64).source_handle(handle).build(&caps),
        InterDomainCopy::new(0x1000, 0x1000, 64)
            .source_handle(handle)
            .destination_handle(IdptHandle::new(2))
            .build(&caps),
        InterDomainFill::new(0x1000, handle, 64, 0).build(&caps),
        InterDomainCompare::new(0x1000, 0x1000, 64).record(RECORD).source_handle(handle).build(&caps),
        InterDomainComparePattern::new(0x1000, handle, 64, 0).record(RECORD).build(&caps),
        // Through a handle the same address is other memory.
        Reduce::new(0x1000, 0x2000, 0x1000, ComputeType::Add, DataType::Int8, 9).source_handle(handle).build(&caps),
        TypeConvert::new(0x1000, DataType::Int8, 0x1000, DataType::Int8, 9).destination_handle(handle).build(&caps),
    ];
    for built in yes {
        assert!(is_restartable(&built.unwrap()), "{built:?}");
    }
    let in_place = Reduce::new(0x1000, 0x2000, 0x1000, ComputeType::Add, DataType::Int8, 9);
    // Through different handles too, whichever of the two the descriptor has first.
    let other = IdptHandle::new(2);
    for (source, destination) in [(handle, other), (other, handle)] {
        let built = in_place.source_handle(source).destination_handle(destination).build(&caps);
        assert!(is_restartable(&built.unwrap()), "{built:?}");
        let built = in_place.second_source_handle(other).source_handle(source).destination_handle(source).build(&caps);
        assert!(!is_restartable(&built.unwrap()), "{built:?}");
    }
    let no = [
        TypeConvert::new(0x1000, DataType::Int8, 0x1000, DataType::Int8, 9).negate(true).build(&caps),
        in_place.build(&caps),
        Reduce::new(0x2000, 0x1000, 0x1000, ComputeType::Add, DataType::Int8, 9).build(&caps),
        ReduceDualcast::new([0x1000, 0x2000], [0x3000, 0x1000], ComputeType::Add, DataType::Int8, 9).build(&caps),
        ReduceDualcast::new([0x1000, 0x2000], [0x2000, 0x4000], ComputeType::Add, DataType::Int8, 9).build(&caps),
        // Through the same handle it is the same memory.
        in_place.source_handle(handle).destination_handle(handle).build(&caps),
        InterDomainCopy::new(0x1000, 0x1010, 64).source_handle(handle).destination_handle(handle).build(&caps),
    ];
    for built in no {
        assert!(!is_restartable(&built.unwrap()), "{built:?}");
    }
    // What the builders refuse, and who has such a descriptor all the same.
    let moved = |built: Result<Descriptor, DescriptorError>, dst_addr| Descriptor { dst_addr, ..built.unwrap() };
    for (raw, restartable) in [
        (moved(yes[1], 0x3000), false),
        (moved(yes[1], 0x301e), true),
        (moved(yes[4], 0x1000), false),
        (moved(yes[4], 0x1000 - 520), true),
        (moved(yes[4], 0x1000 - 519), false),
        (moved(yes[5], 0x1000 - 512), true),
        (moved(yes[5], 0x1000 - 511), false),
        (moved(yes[6], 0x1000), false),
        (moved(yes[7], 0x1000 - 8), true),
        (moved(yes[7], 0x1000 - 7), false),
        (moved(yes[11], 0x1040), false),
        (moved(yes[11], 0x1048), true),
        (moved(yes[12], 0x1040), false),
        (moved(yes[12], 0x1048), true),
        (moved(yes[0], 0x3000), false),
    ] {
        assert_eq!(is_restartable(&raw), restartable, "{raw:?}");
    }
}
