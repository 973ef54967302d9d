//! Limits of delta operations, translation fetch, data integrity and inter-domain operations: one test per rule, on both
//! sides of each limit.

use idxd_sys::{Descriptor, status};

use super::super::*;
use super::{everything, nothing};

const RECORD: u64 = 0x40;

type Built = Result<Descriptor, DescriptorError>;

/// Whether it is refused, and then with this status.
#[track_caller]
fn is_refused(built: Built, code: u8) -> bool {
    match built {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.status(), code, "{error}");
            true
        }
    }
}

fn create(first: u64, second: u64, len: u64, delta: u64, room: u32) -> CreateDelta {
    CreateDelta::new(first, second, len, delta, room).record(RECORD)
}

#[test]
fn delta_regions_are_whole_words_of_at_most_512_kib() {
    let both = |len, caps: &Capabilities| {
        [
            create(0x10_0000, 0x20_0000, len, 0x30_0000, 80).build(caps),
            ApplyDelta::new(0x30_0000, 10, 0x10_0000, len).build(caps),
        ]
    };
    for len in [8, 16, 0x7fff8, 0x8_0000] {
        assert!(both(len, &everything()).iter().all(Result::is_ok));
    }
    for (built, opcode) in both(0x8_0008, &everything()).into_iter().zip([7, 8]) {
        assert_eq!(built, Err(DescriptorError::DeltaRegionTooLarge { opcode, size: 0x8_0008, max: 0x8_0000 }));
        assert!(is_refused(built, status::BAD_SIZE));
    }
    for len in 1..8 {
        for (built, opcode) in both(len, &everything()).into_iter().zip([7, 8]) {
            assert_eq!(built, Err(DescriptorError::SizeMisaligned { opcode, size: len as u32, alignment: 8 }));
            assert!(is_refused(built, status::ADDR_ALIGN));
        }
    }
    for len in [0, 4104, 1 << 40] {
        for built in both(len, &everything().with_max_transfer_size(4096)) {
            assert!(is_refused(built, status::BAD_SIZE));
        }
    }
}

#[test]
fn delta_records_are_whole_entries_that_fit_a_transfer() {
    let caps = everything().with_max_transfer_size(1000);
    let made = |size| create(0x1000, 0x2000, 64, 0x3000, size).build(&caps);
    let applied = |size| ApplyDelta::new(0x3000, size, 0x1000, 64).build(&caps);
    for size in [80, 90, 1000] {
        assert!(made(size).is_ok() && applied(size).is_ok());
    }
    for size in [0, 1, 79, 81, 95, 1001, 1010, u32::MAX] {
        let error = DescriptorError::DeltaRecordSize { opcode: 7, size, min: 80, max: 1000 };
        assert_eq!(made(size), Err(error));
        assert_eq!(error.status(), status::BAD_FIELD_VALUE);
        assert_eq!(applied(size), Err(DescriptorError::DeltaRecordSize { opcode: 8, size, min: 10, max: 1000 }));
    }
    assert!(is_refused(made(70), status::BAD_FIELD_VALUE) && applied(70).is_ok());
    assert!(applied(10).is_ok() && is_refused(applied(9), status::BAD_FIELD_VALUE));
}

#[test]
fn delta_addresses() {
    let caps = everything();
    for bit in 0..4 {
        let off = 1 << bit;
        let aligned = bit == 3;
        let built = create(0x1000 | off, 0x2000, 64, 0x3000, 80).build(&caps);
        assert_eq!(!is_refused(built, status::ADDR_ALIGN), aligned);
        let built = create(0x1000, 0x2000 | off, 64, 0x3000, 80).build(&caps);
        assert_eq!(!is_refused(built, status::ADDR_ALIGN), aligned);
        let built = ApplyDelta::new(0x3000, 30, 0x1000 | off, 64).build(&caps);
        assert_eq!(!is_refused(built, status::ADDR_ALIGN), aligned);
        // A delta record may lie anywhere.
        assert!(create(0x1000, 0x2000, 64, 0x3000 | off, 80).build(&caps).is_ok());
        assert!(ApplyDelta::new(0x3000 | off, 30, 0x1000, 64).build(&caps).is_ok());
    }
    for delta in 0xfa0..0x1050 {
        let overlaps = delta + 80 > 0x1000 && delta < 0x1040;
        let built = create(0x1000, 0x2000, 64, delta, 80).build(&caps);
        assert_eq!(is_refused(built, status::OVERLAP), overlaps, "{delta:#x}");
        let built = create(0x2000, 0x1000, 64, delta, 80).build(&caps);
        assert_eq!(is_refused(built, status::OVERLAP), overlaps, "{delta:#x}");
        let overlaps = delta + 30 > 0x1000 && delta < 0x1040;
        let built = ApplyDelta::new(delta, 30, 0x1000, 64).build(&caps);
        assert_eq!(is_refused(built, status::OVERLAP), overlaps, "{delta:#x}");
    }
    // Sources are only read, and may overlap each other.
    assert!(create(0x1000, 0x1008, 64, 0x3000, 80).build(&caps).is_ok());
}

#[test]
fn strides_and_regions_of_translation_fetch() {
    let caps = everything().with_max_transfer_size(4096);
    let fetch = |len| TranslationFetch::new(0x1000, len);
    // The largest transfer does not matter.
    assert!(fetch(1).build(&caps).is_ok() && fetch(u32::MAX.into()).build(&caps).is_ok());
    assert_eq!(fetch(0).build(&caps), Err(DescriptorError::SizeZero { max: u32::MAX.into() }));
    assert!(is_refused(fetch(1 << 32).build(&caps), status::BAD_SIZE));
    for shift in 0..32 {
        let stride = 1_u32 << shift;
        assert_eq!(is_refused(fetch(64).stride(stride).build(&caps), status::ADDR_ALIGN), shift < 12);
        if shift > 0 {
            let error = fetch(64).stride(stride + 1).build(&caps).unwrap_err();
            assert_eq!(error, DescriptorError::Stride { stride: stride + 1, min: 4096 });
        }
    }
    assert!(is_refused(fetch(64).stride(0).build(&caps), status::ADDR_ALIGN));
    let error = fetch(64).stride(4096).build(&nothing()).unwrap_err();
    assert_eq!(error, DescriptorError::FlagsNotOffered { opcode: 0x0a, flags: 1 << 16 });
    let last = TranslationFetch::new(u64::MAX - 15, 16);
    assert!(last.build(&caps).is_ok());
    assert!(is_refused(TranslationFetch::new(u64::MAX - 15, 17).build(&caps), status::TRANSLATION));
}

/// Builds the five operations, with source, destination, size and block.
fn dif(source: u64, destination: u64, len: u64, block: DifBlock) -> [(Built, u64, u64); 5] {
    let (caps, expected, made) = (everything(), DifSource::new(0, 0), DifDestination::new(0, 0));
    let (size, protected) = (u64::from(block.size()), u64::from(block.protected_size()));
    [
        (DifCheck::new(source, len, block, expected).record(RECORD).build(&caps), protected, 0),
        (DifInsert::new(source, destination, len, block, made).build(&caps), size, protected),
        (DifStrip::new(source, destination, len, block, expected).build(&caps), protected, size),
        (DifUpdate::new(source, destination, len, block, expected, made).build(&caps), protected, protected),
        (DixGenerate::new(source, destination, len, block, made).record(RECORD).build(&caps), size, 8),
    ]
}

#[test]
fn integrity_operations_take_whole_blocks() {
    for &block in DifBlock::ALL {
        for len in 0..3 * u64::from(block.protected_size()) {
            for (built, unit, _) in dif(0x10_0000, 0x20_0000, len, block) {
                assert_eq!(is_refused(built, status::BAD_SIZE), len == 0 || len % unit != 0, "{block:?} {len}");
            }
        }
    }
    let error = dif(0x10_0000, 0x20_0000, 521, DifBlock::Bytes512)[0].0.unwrap_err();
    assert_eq!(error, DescriptorError::SizeNotBlocks { opcode: 0x12, size: 521, unit: 520 });
}

#[test]
fn integrity_operations_overlap_by_what_they_write() {
    for &block in DifBlock::ALL {
        let (size, protected) = (u64::from(block.size()), u64::from(block.protected_size()));
        let len = 2 * size * protected;
        let source = 0x4000_0000;
        for (at, (_, unit, written)) in dif(source, 0, len, block).into_iter().enumerate().skip(1) {
            let written = len / unit * written;
            for (destination, expected) in [
                (source - written, false),
                (source - written + 8, true),
                (source, true),
                (source + len - 8, true),
                (source + len, false),
            ] {
                let built = dif(source, destination, len, block)[at].0;
                assert_eq!(is_refused(built, status::OVERLAP), expected, "{block:?} {at} {destination:#x}");
            }
            assert!(is_refused(dif(source, u64::MAX - written + 9, len, block)[at].0, status::TRANSLATION));
            assert!(dif(source, (u64::MAX - written + 1) & !7, len, block)[at].0.is_ok());
        }
        for (built, ..) in dif(u64::MAX - len + 2, 0x1000, len, block) {
            assert!(is_refused(built, status::TRANSLATION));
        }
    }
}

#[test]
fn only_dix_generate_wants_an_aligned_destination() {
    for bit in 0..4 {
        let built = dif(0x10_0001, 0x20_0000 | 1 << bit, 520 * 512, DifBlock::Bytes512);
        assert!(built[..4].iter().all(|(built, ..)| built.is_ok()));
        assert_eq!(is_refused(built[4].0, status::ADDR_ALIGN), bit < 3);
    }
}

#[test]
fn flags_that_do_not_count_are_let_through() {
    // Passing on something of the source means nothing where the source has no tuples; the fields are ignored, not
    // reserved. The same holds for an error on all ones without the detection.
    let made = DifDestination::new(0, 0).pass_reference(true).pass_guard(true).pass_application(true);
    assert!(DifInsert::new(0x1000, 0x2000, 512, DifBlock::Bytes512, made).build(&everything()).is_ok());
    let expected = DifSource::new(0, 0).refuse_all_ones(true);
    assert!(DifStrip::new(0x1000, 0x2000, 520, DifBlock::Bytes512, expected).build(&everything()).is_ok());
}

const HANDLE: IdptHandle = IdptHandle::new(7);

#[test]
fn inter_domain_operations_need_a_handle() {
    let caps = everything();
    let error = InterDomainCopy::new(0x1000, 0x2000, 5).build(&caps).unwrap_err();
    assert_eq!(error, DescriptorError::HandleRequired { opcode: 0x23, flags: 3 << 16 });
    assert_eq!(error.status(), status::BAD_FLAGS);
    let error = InterDomainCompare::new(0x1000, 0x2000, 5).record(RECORD).build(&caps).unwrap_err();
    assert_eq!(error, DescriptorError::HandleRequired { opcode: 0x25, flags: 3 << 16 });
    for (built, opcode, flag) in [
        (InterDomainFill::new(0x1000, HANDLE, 5, 0).build(&caps), 0x24, 1 << 17),
        (InterDomainComparePattern::new(0x1000, HANDLE, 5, 0).record(RECORD).build(&caps), 0x26, 1 << 16),
    ] {
        let mut raw = built.unwrap();
        raw.flags_opcode &= !flag;
        let error = validate(&raw, &caps, Position::Queue).unwrap_err();
        assert_eq!(error, DescriptorError::HandleRequired { opcode, flags: flag });
    }
}

#[test]
fn handles_are_below_the_size_of_the_table_if_it_is_known() {
    let known =
        everything().with_inter_domain_capabilities(InterDomainCapabilities { handles: Some(7), ..Default::default() });
    let build = |handle: u16, caps: &Capabilities| {
        let handle = IdptHandle::new(handle);
        let list = Sgl::new(0x1000, 3, SglFormat::Offset64);
        [
            InterDomainCopy::new(0x1000, 0x2000, 5).source_handle(handle).build(caps),
            InterDomainCopy::new(0x1000, 0x2000, 5).destination_handle(handle).build(caps),
            InterDomainFill::new(0x1000, handle, 5, 0).build(caps),
            InterDomainCompare::new(0x1000, 0x2000, 5).record(RECORD).second_source_handle(handle).build(caps),
            InterDomainComparePattern::new(0x1000, handle, 5, 0).record(RECORD).build(caps),
            TypeConvert::new(0x1000, DataType::Int8, 0x2000, DataType::Int8, 5).source_handle(handle).build(caps),
            Reduce::new(0x1000, 0x2000, 0x3000, ComputeType::Add, DataType::Int8, 5)
                .destination_handle(handle)
                .build(caps),
            GatherCopy::new(list, 0x2000, DataType::Int8, 5).source_handle(handle).build(caps),
            ScatterCopy::new(0x2000, list, DataType::Int8, 5).destination_handle(handle).build(caps),
            ScatterFill::new(list, 0, DataType::Int8, 5).destination_handle(handle).build(caps),
            UpdateWindow::new(handle).build(caps),
        ]
    };
    for built in build(6, &known).into_iter().chain(build(u16::MAX, &everything())) {
        assert!(built.is_ok());
    }
    for built in build(7, &known) {
        let error = built.unwrap_err();
        let DescriptorError::HandleOutOfRange { opcode, handle: 7, handles: 7 } = error else { panic!("{error}") };
        assert_eq!(error.status(), if opcode == 0x21 { status::IDPT_UPDATE } else { status::IDPT_HANDLE });
    }
}

#[test]
fn regions_in_other_spaces_may_have_the_same_addresses() {
    let caps = everything();
    assert!(InterDomainCopy::new(0x1000, 0x1000, 64).source_handle(HANDLE).build(&caps).is_ok());
    assert!(InterDomainCopy::new(0, 8, 64).source_handle(HANDLE).destination_handle(HANDLE).build(&caps).is_ok());
    let copy =
        |source, destination, len| InterDomainCopy::new(source, destination, len).source_handle(HANDLE).build(&caps);
    assert!(copy(u64::MAX - 15, 0x1000, 16).is_ok() && copy(0x1000, u64::MAX - 15, 16).is_ok());
    assert!(is_refused(copy(u64::MAX - 15, 0x1000, 17), status::TRANSLATION));
    assert!(is_refused(copy(0x1000, u64::MAX - 15, 17), status::TRANSLATION));
    let max = everything().with_max_transfer_size(64);
    for len in [0, 65, 1 << 33] {
        let handle = HANDLE;
        for built in [
            InterDomainCopy::new(0x1000, 0x2000, len).source_handle(handle).build(&max),
            InterDomainFill::new(0x1000, handle, len, 0).build(&max),
            InterDomainCompare::new(0x1000, 0x2000, len).record(RECORD).source_handle(handle).build(&max),
            InterDomainComparePattern::new(0x1000, handle, len, 0).record(RECORD).build(&max),
        ] {
            assert!(is_refused(built, status::BAD_SIZE));
        }
    }
    let wide = InterDomainFill::with_wide_pattern(0x1000, HANDLE, 5, [1, 2]);
    let error = wide.build(&nothing()).unwrap_err();
    assert_eq!(error, DescriptorError::FlagsNotOffered { opcode: 0x24, flags: 1 << 18 });
}

#[test]
fn windows() {
    let caps = everything();
    let window = UpdateWindow::new(HANDLE).read(true);
    assert_eq!(window.window(0x1000, 0).build(&caps), Err(DescriptorError::WindowEmpty));
    assert!(window.window(u64::MAX, 1).build(&caps).is_ok() && window.window(1, u64::MAX).build(&caps).is_ok());
    for (base, size) in [(u64::MAX, 2), (2, u64::MAX)] {
        let error = window.window(base, size).build(&caps).unwrap_err();
        assert_eq!(error, DescriptorError::WindowWraps { base, size });
        assert_eq!(error.status(), status::WINDOW_FIELDS);
    }
    // Offset mode needs a window, and both it and the missing drain need what Linux does not show.
    assert_eq!(window.offset_mode(true).build(&caps), Err(DescriptorError::WindowOffsetMode));
    let offsets = window.window(0x1000, 5).offset_mode(true);
    assert!(offsets.build(&caps).is_ok());
    assert_eq!(offsets.build(&Capabilities::diamond_rapids()), Err(DescriptorError::WindowOffsetMode));
    assert_eq!(DescriptorError::WindowOffsetMode.status(), status::WINDOW_FIELDS);
    assert_eq!(DescriptorError::WindowEmpty.status(), status::WINDOW_FIELDS);
    let error = window.suppress_drain(true).build(&Capabilities::diamond_rapids()).unwrap_err();
    assert_eq!(error, DescriptorError::FlagsNotOffered { opcode: 0x21, flags: 1 << 16 });
    assert!(window.build(&Capabilities::diamond_rapids()).is_ok());
}

#[test]
fn messages_name_value_limit_and_remedy() {
    let text = |built: Built| built.unwrap_err().to_string();
    assert_eq!(
        text(create(0x1000, 0x2000, 64, 0x3000, 85).build(&everything().with_max_transfer_size(4096))),
        "create-delta cannot use a delta record of 85 bytes; give a multiple of 10 from 80 to 4096"
    );
    assert_eq!(
        text(ApplyDelta::new(0x1010, 30, 0x1000, 64).build(&everything())),
        "the regions of 30 bytes at 0x1010 and of 64 bytes at 0x1000 overlap, which apply-delta does not allow here; \
         separate them"
    );
    assert_eq!(
        text(InterDomainCopy::new(0x1000, 0x2000, 5).build(&everything())),
        "inter-domain-copy needs an IDPT handle, that is, one of these flags: alternate-source (bit 16), \
         alternate-destination (bit 17); without, use the operation in the own address space"
    );
    assert_eq!(
        text(TranslationFetch::new(0x1000, 5).stride(5000).build(&everything())),
        "the stride 5000 of a translation fetch must be a power of two, and at least 4096"
    );
}
