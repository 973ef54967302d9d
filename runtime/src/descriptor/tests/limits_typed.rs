//! Limits of conversion, reduce, gather and scatter: one test per rule, on both sides of each limit.

use idxd_sys::{Descriptor, status};

use super::super::*;
use super::{everything, from_bytes};

pub(super) type Built = Result<Descriptor, DescriptorError>;

/// Whether it is refused, and then with this status.
#[track_caller]
pub(super) fn is_refused(built: Built, code: u8) -> bool {
    match built {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.status(), code, "{error}");
            true
        }
    }
}

/// Everything, with other DSACAP registers.
pub(super) fn with(change: impl Fn(&mut [u64; 3])) -> Capabilities {
    let mut registers = everything().dsa_caps();
    change(&mut registers);
    everything().with_dsa_caps(registers)
}

pub(super) const FIRST: u64 = 0x10_0000;
const SECOND: u64 = 0x20_0000;
pub(super) const TARGET: u64 = 0x30_0000;
const OTHER_TARGET: u64 = 0x40_0000;

fn convert(from: DataType, to: DataType) -> TypeConvert {
    TypeConvert::new(FIRST, from, TARGET, to, 4)
}

fn reduce(compute: ComputeType, data_type: DataType) -> Reduce {
    Reduce::new(FIRST, SECOND, TARGET, compute, data_type, 4)
}

fn dualcast(data_type: DataType) -> ReduceDualcast {
    ReduceDualcast::new([FIRST, SECOND], [TARGET, OTHER_TARGET], ComputeType::Min, data_type, 4)
}

pub(super) fn list(entries: u32) -> Sgl {
    Sgl::new(FIRST, entries, SglFormat::Index64)
}

fn gather_reduce(data_type: DataType) -> GatherReduce {
    GatherReduce::new(list(3), TARGET, ComputeType::Max, data_type, 4)
}

/// One of each operation on typed elements.
fn typed(data_type: DataType, caps: &Capabilities) -> [Built; 4] {
    [
        convert(data_type, data_type).build(caps),
        reduce(ComputeType::Add, data_type).build(caps),
        dualcast(data_type).build(caps),
        gather_reduce(data_type).build(caps),
    ]
}

#[test]
fn data_types_must_be_offered() {
    for &data_type in DataType::ALL {
        let code = data_type.code();
        let without = with(|registers| registers[1] &= !(1 << code));
        let lists = [
            GatherCopy::new(list(3), TARGET, data_type, 4).build(&without),
            ScatterCopy::new(TARGET, list(3), data_type, 4).build(&without),
            ScatterFill::new(list(3), 0, data_type, 4).build(&without),
        ];
        for built in typed(data_type, &without).into_iter().chain(lists) {
            assert_eq!(built, Err(DescriptorError::DataTypeNotOffered { code }));
            assert!(is_refused(built, status::BAD_FIELD_VALUE));
        }
        assert!(typed(data_type, &everything()).iter().all(Result::is_ok), "{data_type}");
    }
    // Codes that are not assigned, whatever the register says.
    let caps = with(|registers| registers[1] |= 0xffff);
    for (offset, shift) in [(56, 0), (56, 4)] {
        for code in 10..16 {
            let mut d = convert(DataType::Int8, DataType::Int8).build(&caps).unwrap();
            d.set_op_u8(offset, code << shift);
            let error = validate(&d, &caps, Position::Queue).unwrap_err();
            assert_eq!(error, DescriptorError::DataTypeNotOffered { code });
        }
    }
}

#[test]
fn conversions_must_be_defined_and_offered() {
    use DataType::{Bf16, Fp8E4m3, Fp8E5m2, Fp16, Fp32, Fp64};
    let pairs = [
        (Fp8E5m2, Fp16, 16),
        (Fp8E5m2, Bf16, 17),
        (Fp8E5m2, Fp32, 18),
        (Fp8E4m3, Fp16, 19),
        (Fp8E4m3, Bf16, 20),
        (Fp8E4m3, Fp32, 21),
        (Fp16, Fp32, 22),
        (Bf16, Fp32, 23),
        (Fp32, Fp64, 24),
        (Fp16, Fp8E5m2, 32),
        (Bf16, Fp8E5m2, 33),
        (Fp32, Fp8E5m2, 34),
        (Fp16, Fp8E4m3, 35),
        (Bf16, Fp8E4m3, 36),
        (Fp32, Fp8E4m3, 37),
        (Fp32, Fp16, 38),
        (Fp32, Bf16, 39),
        (Fp64, Fp32, 40),
    ];
    for &from in DataType::ALL {
        for &to in DataType::ALL {
            let pair = pairs.iter().find(|pair| (pair.0, pair.1) == (from, to));
            let defined = from == to || from.is_integer() && to.is_integer() || pair.is_some();
            let all = |caps: &Capabilities| {
                [
                    convert(from, to).build(caps),
                    reduce(ComputeType::Add, from).output(to).build(caps),
                    dualcast(from).output(to).build(caps),
                    gather_reduce(from).output(to).build(caps),
                ]
            };
            for built in all(&everything()) {
                assert_eq!(is_refused(built, status::BAD_FIELD_VALUE), !defined, "{from} to {to}");
            }
            if let Some(&(.., bit)) = pair {
                for built in all(&with(|registers| registers[1] &= !(1 << bit))) {
                    let expected = DescriptorError::ConversionNotOffered { from: from.code(), to: to.code() };
                    assert_eq!(built, Err(expected));
                }
            }
        }
    }
}

#[test]
fn compute_types_must_be_defined_and_offered() {
    for &data_type in DataType::ALL {
        for &compute in ComputeType::ALL {
            let bitwise = matches!(compute, ComputeType::And | ComputeType::Or | ComputeType::Xor);
            let refused = bitwise && !data_type.is_integer();
            let built = reduce(compute, data_type).build(&everything());
            assert_eq!(is_refused(built, status::BAD_FIELD_VALUE), refused, "{compute} of {data_type}");
            let without = with(|registers| registers[1] &= !(1 << (48 + compute.code())));
            let expected = DescriptorError::ComputeTypeNotOffered { code: compute.code(), data_type: data_type.code() };
            assert_eq!(reduce(compute, data_type).build(&without), Err(expected));
            let gathered = GatherReduce::new(list(3), TARGET, compute, data_type, 4);
            assert_eq!(gathered.build(&without), Err(expected));
            assert_eq!(gathered.build(&everything()).is_ok(), !refused);
        }
    }
    let caps = with(|registers| registers[1] |= 0xffff << 48);
    for code in [0, 2, 8, 15] {
        let mut d = reduce(ComputeType::Add, DataType::Int8).build(&caps).unwrap();
        d.set_op_u8(57, code);
        let error = validate(&d, &caps, Position::Queue).unwrap_err();
        assert_eq!(error, DescriptorError::ComputeTypeNotOffered { code, data_type: 0 });
    }
}

/// Sets one of the 12 compute flags of a descriptor.
fn with_compute_flag(mut d: Descriptor, bit: u32) -> Descriptor {
    d.set_op_u32(56, d.op_u32(56) | 1 << (12 + bit));
    d
}

#[test]
fn each_compute_flag_of_each_kind_of_element() {
    // Flag, whether integers have it, whether floats have it, the bit of DSACAP2.
    let table = [
        (0, true, true, Some(0)),
        (1, true, true, Some(0)),
        (2, false, true, Some(2)),
        (3, false, true, Some(3)),
        (4, false, true, Some(13)),
        (5, false, true, Some(14)),
        (6, false, false, None),
        (7, true, false, Some(7)),
        (8, true, false, Some(8)),
        (9, false, false, None),
        (10, false, false, None),
        (11, false, false, None),
    ];
    for data_type in [DataType::Int32, DataType::Fp32] {
        for (op, built) in [0x18, 0x19, 0x1a, 0x1b].into_iter().zip(typed(data_type, &everything())) {
            for (bit, integers, floats, capability) in table {
                let changed = with_compute_flag(built.unwrap(), bit);
                let has_it = if data_type.is_integer() { integers } else { floats };
                // Only two sources have a second one.
                let taken = has_it && (bit != 1 || matches!(op, 0x19 | 0x1a));
                let verdict = validate(&changed, &everything(), Position::Queue);
                assert_eq!(verdict.is_ok(), taken, "{op:#x} {data_type} flag {bit}: {verdict:?}");
                if let Err(error) = verdict {
                    assert_eq!(error.status(), status::BAD_FIELD_VALUE);
                }
                if let (Some(capability), true) = (capability, taken) {
                    let without = with(|registers| registers[2] &= !(1 << capability));
                    let expected = match bit {
                        4 | 5 => DescriptorError::RoundingNotOffered { code: 1 << (bit - 4) },
                        _ => DescriptorError::ComputeFlagsNotOffered { flags: 1 << bit },
                    };
                    assert_eq!(validate(&changed, &without, Position::Queue), Err(expected));
                }
            }
        }
    }
}

#[test]
fn rounding_types_must_be_offered_to_floats_and_zero_for_integers() {
    let all = with(|registers| registers[2] |= 0xff << 12);
    for code in 0..8 {
        let rounded = |data_type| {
            let mut d = convert(data_type, data_type).build(&all).unwrap();
            d.set_op_u32(56, d.op_u32(56) | code << 16);
            d
        };
        let verdict = validate(&rounded(DataType::Fp16), &all, Position::Queue);
        let expected = if code < 4 { Ok(()) } else { Err(DescriptorError::RoundingNotOffered { code: code as u8 }) };
        assert_eq!(verdict, expected);
        let without = with(|registers| registers[2] &= !(1 << (12 + code)));
        assert!(validate(&rounded(DataType::Fp16), &without, Position::Queue).is_err());
        assert_eq!(validate(&rounded(DataType::Int16), &without, Position::Queue).is_ok(), code == 0);
    }
}

#[test]
fn element_counts() {
    let caps = everything().with_max_transfer_size(4096);
    for (from, to, most) in [
        (DataType::Int8, DataType::Int8, 4096),
        (DataType::Int8, DataType::Int64, 512),
        (DataType::Int64, DataType::Int8, 512),
    ] {
        let build = |count| {
            [
                TypeConvert::new(FIRST, from, TARGET, to, count).build(&caps),
                Reduce::new(FIRST, SECOND, TARGET, ComputeType::Add, from, count).output(to).build(&caps),
                ReduceDualcast::new([FIRST, SECOND], [TARGET, OTHER_TARGET], ComputeType::Add, from, count)
                    .output(to)
                    .build(&caps),
            ]
        };
        for built in build(1).into_iter().chain(build(most)) {
            assert!(built.is_ok());
        }
        for built in build(0) {
            assert_eq!(built, Err(DescriptorError::SizeZero { max: 4096 }));
        }
        let size = u64::from(from.size().max(to.size()));
        // The last ones would be valid if they were cut to 32 bits.
        for count in [most + 1, 1 << 31, 1 << 32 | 1, u64::MAX] {
            for built in build(count) {
                let size = count.saturating_mul(size);
                assert_eq!(built, Err(DescriptorError::SizeTooLarge { size, max: 4096 }));
                assert!(is_refused(built, status::BAD_SIZE));
            }
        }
    }
}

#[test]
fn typed_addresses_are_naturally_aligned() {
    for &data_type in DataType::ALL {
        let alignment = u64::from(data_type.size());
        for offset in 0..9 {
            let aligned = offset % alignment == 0;
            let caps = everything();
            let add = |address| address + offset;
            let misaligned = [
                TypeConvert::new(add(FIRST), data_type, TARGET, data_type, 4).build(&caps),
                TypeConvert::new(FIRST, data_type, add(TARGET), data_type, 4).build(&caps),
                Reduce::new(add(FIRST), SECOND, TARGET, ComputeType::Add, data_type, 4).build(&caps),
                Reduce::new(FIRST, add(SECOND), TARGET, ComputeType::Add, data_type, 4).build(&caps),
                Reduce::new(FIRST, SECOND, add(TARGET), ComputeType::Add, data_type, 4).build(&caps),
                ReduceDualcast::new([FIRST, SECOND], [add(TARGET), add(OTHER_TARGET)], ComputeType::Add, data_type, 4)
                    .build(&caps),
                GatherReduce::new(list(3), add(TARGET), ComputeType::Add, data_type, 4).build(&caps),
                GatherReduce::new(list(3).base(add(SECOND)), TARGET, ComputeType::Add, data_type, 4).build(&caps),
            ];
            for built in misaligned {
                assert_eq!(!is_refused(built, status::ADDR_ALIGN), aligned, "{data_type} {offset}");
            }
            // Byte offsets may make up for the base address, and copies need no alignment at all.
            let offsets = Sgl::new(FIRST + 1, 3, SglFormat::Offset64).base(add(SECOND));
            assert!(GatherReduce::new(offsets, TARGET, ComputeType::Add, data_type, 4).build(&caps).is_ok());
            assert!(GatherCopy::new(list(3).base(add(SECOND)), add(TARGET), data_type, 4).build(&caps).is_ok());
            assert!(ScatterCopy::new(add(TARGET), offsets, data_type, 4).build(&caps).is_ok());
        }
    }
}

#[test]
fn destinations_are_apart_from_sources_or_the_same() {
    let caps = everything();
    let handle = IdptHandle::new(3);
    for distance in -40_i64..=40 {
        let distance = 4 * distance;
        let near = FIRST.wrapping_add_signed(distance);
        let refused = distance != 0 && distance.abs() < 64;
        let plain = TypeConvert::new(FIRST, DataType::Int32, near, DataType::Int32, 16);
        assert_eq!(is_refused(plain.build(&caps), status::OVERLAP), refused, "{distance}");
        assert!(plain.source_handle(handle).build(&caps).is_ok());
        assert!(plain.destination_handle(handle).build(&caps).is_ok());
        let add = |first, second| Reduce::new(first, second, near, ComputeType::Add, DataType::Int32, 16);
        assert_eq!(is_refused(add(FIRST, SECOND).build(&caps), status::OVERLAP), refused);
        assert_eq!(is_refused(add(SECOND, FIRST).build(&caps), status::OVERLAP), refused);
        // Only pairs without a handle are compared.
        assert!(add(FIRST, SECOND).source_handle(handle).build(&caps).is_ok());
        assert!(add(FIRST, SECOND).destination_handle(handle).build(&caps).is_ok());
        let built = add(FIRST, SECOND).second_source_handle(handle).build(&caps);
        assert_eq!(is_refused(built, status::OVERLAP), refused);
        // Sources may overlap each other.
        assert!(Reduce::new(FIRST, near, TARGET, ComputeType::Add, DataType::Int32, 16).build(&caps).is_ok());
    }
    // Converted in place, the elements would not lie where they were.
    let widened = TypeConvert::new(FIRST, DataType::Int8, FIRST, DataType::Int16, 16);
    assert!(is_refused(widened.build(&caps), status::OVERLAP));
    let narrowed = |target| TypeConvert::new(FIRST, DataType::Int16, target, DataType::Int8, 16).build(&caps);
    assert!(is_refused(narrowed(FIRST + 31), status::OVERLAP) && narrowed(FIRST + 32).is_ok());
    assert!(is_refused(narrowed(FIRST - 15), status::OVERLAP) && narrowed(FIRST - 16).is_ok());
}

#[test]
fn destinations_of_a_dualcast() {
    let caps = everything();
    let reduced =
        |sources, destinations| ReduceDualcast::new(sources, destinations, ComputeType::Add, DataType::Int8, 0x2000);
    for bit in 0..40 {
        let (first, second) = (0x100_0000_0000, 0x200_0000_0000 ^ 1_u64 << bit);
        let built = reduced([FIRST, SECOND], [first, second]).build(&caps);
        if bit < 12 {
            assert_eq!(built, Err(DescriptorError::DualcastAlignment { first, second }));
            assert!(is_refused(built, status::DUALCAST_ALIGN));
        } else {
            assert!(built.is_ok(), "bit {bit}");
        }
    }
    let handle = IdptHandle::new(3);
    for (destinations, refused) in [
        ([TARGET, TARGET], true),
        ([TARGET, TARGET + 0x1000], true),
        ([TARGET + 0x1000, TARGET], true),
        ([TARGET, TARGET + 0x2000], false),
        // Either may be a source.
        ([FIRST, TARGET], false),
        ([TARGET, FIRST], false),
        ([SECOND, FIRST], false),
        ([FIRST + 0x1000, TARGET], true),
        ([TARGET, SECOND - 0x1000], true),
    ] {
        let built = reduced([FIRST, SECOND], destinations);
        assert_eq!(is_refused(built.build(&caps), status::OVERLAP), refused, "{destinations:#x?}");
        let reached = built.destination_handle(handle).second_destination_handle(handle);
        assert!(reached.build(&caps).is_ok());
    }
}

#[test]
fn selectors() {
    let caps = everything();
    let base = dualcast(DataType::Int8).source_handle(IdptHandle::new(1)).build(&caps).unwrap();
    let plain = reduce(ComputeType::Add, DataType::Int8).source_handle(IdptHandle::new(1)).build(&caps).unwrap();
    for selector in 0..=u8::MAX {
        let fields = [0, 2, 4, 6].map(|shift| selector >> shift & 3);
        for (valid, is_dualcast) in [(base, true), (plain, false)] {
            let mut d = valid;
            d.set_op_u8(59, selector);
            d.set_op_u16(60, if fields.contains(&1) { 11 } else { 0 });
            d.set_op_u16(62, if fields.contains(&2) { 22 } else { 0 });
            let verdict = validate(&d, &caps, Position::Queue);
            let opcode = d.opcode();
            if !is_dualcast && fields[3] != 0 {
                let value = selector & 0xc0;
                assert_eq!(verdict, Err(DescriptorError::ReservedField { opcode, offset: 59, value }));
            } else if selector == 0 || fields.contains(&3) {
                assert_eq!(verdict, Err(DescriptorError::InterDomainSelector { opcode, value: selector }));
                assert_eq!(verdict.unwrap_err().status(), status::BAD_FIELD_VALUE);
            } else {
                assert_eq!(verdict, Ok(()));
                // A handle that nothing selects is reserved.
                for (number, offset) in [(1, 60), (2, 62)] {
                    if !fields.contains(&number) {
                        d.set_op_u16(offset, 5);
                        let expected = DescriptorError::ReservedField { opcode, offset: offset as u8, value: 5 };
                        assert_eq!(validate(&d, &caps, Position::Queue), Err(expected));
                        d.set_op_u16(offset, 0);
                    }
                }
            }
        }
    }
}

#[test]
fn handles_need_their_capability() {
    let handle = IdptHandle::new(1);
    let build = |caps: &Capabilities| {
        [
            (convert(DataType::Int8, DataType::Int8).source_handle(handle).build(caps), 8, 1 << 16),
            (convert(DataType::Int8, DataType::Int8).destination_handle(handle).build(caps), 8, 1 << 17),
            (reduce(ComputeType::Add, DataType::Int8).source_handle(handle).build(caps), 9, 1 << 16),
            (dualcast(DataType::Int8).second_destination_handle(handle).build(caps), 10, 1 << 16),
            (GatherCopy::new(list(3), TARGET, DataType::Int8, 4).source_handle(handle).build(caps), 12, 1 << 16),
            (GatherCopy::new(list(3), TARGET, DataType::Int8, 4).destination_handle(handle).build(caps), 12, 1 << 17),
            (ScatterCopy::new(TARGET, list(3), DataType::Int8, 4).source_handle(handle).build(caps), 13, 1 << 16),
            (ScatterFill::new(list(3), 0, DataType::Int8, 4).destination_handle(handle).build(caps), 14, 1 << 17),
        ]
    };
    for (at, (built, bit, flags)) in build(&everything()).into_iter().enumerate() {
        let opcode = built.unwrap().opcode();
        let refused = Err(DescriptorError::FlagsNotOffered { opcode, flags });
        assert_eq!(build(&with(|registers| registers[0] &= !(1 << bit)))[at].0, refused);
        // The register means nothing without inter-domain support in GENCAP.
        let registers = everything().dsa_caps();
        let no_domains = Capabilities::new(0x300, everything().gen_cap() & !(1 << 6), [u64::MAX; 4]);
        assert_eq!(build(&no_domains.with_dsa_caps(registers))[at].0, refused);
    }
}

#[test]
fn messages_name_value_limit_and_remedy() {
    let text = |built: Built| built.unwrap_err().to_string();
    let caps = everything();
    assert_eq!(
        text(convert(DataType::Int8, DataType::Fp32).build(&caps)),
        "elements of int8 cannot be converted to fp32 by this device (DSACAP1); convert in steps or on the CPU"
    );
    assert_eq!(
        text(convert(DataType::Int8, DataType::Int8).flush_to_zero(true).build(&caps)),
        "type-convert does not take these compute flags with elements of int8: flush-to-zero (bit 2); clear them"
    );
    assert_eq!(
        text(GatherCopy::new(list(2000), TARGET, DataType::Int8, 4).build(&caps)),
        "a scatter-gather list of 2000 entries is outside 1 to 1024 of this queue; split it"
    );
    let mut bytes = super::bytes_of(&gather_reduce(DataType::Int8).build(&caps).unwrap());
    bytes[57] = 2;
    assert_eq!(
        validate(&from_bytes(&bytes), &caps, Position::Queue).unwrap_err().to_string(),
        "compute type 2 (reserved) is not offered by this device (DSACAP1), or not defined for int8; bitwise operations \
         take integers only"
    );
}
