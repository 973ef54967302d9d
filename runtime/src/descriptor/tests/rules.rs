//! One test per rule. The law is a literal table of flags and must-zero bytes per operation, in `laws`; every single flag
//! bit and every single bit of every reserved byte is tried.

use idxd_sys::{Descriptor, status};

use super::super::*;
use super::laws::{RECORD, laws};
use super::{bytes_of, everything, first_generation, from_bytes, nothing};

fn flip(descriptor: &Descriptor, byte: usize, bit: usize) -> Descriptor {
    let mut bytes = bytes_of(descriptor);
    bytes[byte] ^= 1 << bit;
    from_bytes(&bytes)
}

#[test]
fn each_flag_bit_of_each_operation() {
    let caps = everything();
    for law in laws() {
        let op = law.valid.opcode();
        assert_eq!(validate(&law.valid, &caps, Position::Queue), Ok(()), "opcode {op:#x}");
        for bit in 0..24 {
            let flag = 1_u32 << bit;
            if flag == 1 << 2 {
                continue; // The address would be left over; see `record_rules`.
            }
            let changed = flip(&law.valid, 4 + bit / 8, bit % 8);
            let verdict = validate(&changed, &caps, Position::Queue);
            if law.optional & flag != 0 {
                assert_eq!(verdict, Ok(()), "opcode {op:#x} flag bit {bit}");
            } else {
                let expected = match law.value_flags {
                    _ if law.field_flags & flag != 0 => status::RESERVED_FIELD,
                    (flags, status) if flags & flag != 0 => status,
                    _ => status::BAD_FLAGS,
                };
                let error = verdict.unwrap_err();
                assert_eq!(error.status(), expected, "opcode {op:#x} flag bit {bit}: {error}");
            }
        }
    }
}

#[test]
fn each_reserved_bit_of_each_operation() {
    let caps = everything();
    for law in laws() {
        let op = law.valid.opcode();
        let bytes = law.must_be_zero.iter().flat_map(|&(first, last)| first..=last).map(|byte| (byte, 0xff));
        for (byte, mask) in bytes.chain(law.zero_bits.iter().copied()) {
            for bit in (0..8).filter(|bit| mask >> bit & 1 == 1) {
                let expected = DescriptorError::ReservedField { opcode: op, offset: byte as u8, value: 1 << bit };
                let changed = flip(&law.valid, byte, bit);
                assert_eq!(validate(&changed, &caps, Position::Queue), Err(expected));
                if law.in_batch {
                    assert_eq!(validate(&changed, &caps, Position::BatchMember), Err(expected));
                }
                assert_eq!(expected.status(), status::RESERVED_FIELD);
            }
        }
    }
}

#[test]
fn pasid_bytes_are_reserved_at_the_queue_and_ignored_in_a_member() {
    for law in laws() {
        for bit in 0..32 {
            let changed = flip(&law.valid, bit / 8, bit % 8);
            let error = validate(&changed, &everything(), Position::Queue).unwrap_err();
            assert_eq!(error.status(), status::RESERVED_FIELD);
            assert_eq!(validate(&changed, &everything(), Position::BatchMember).is_ok(), law.in_batch);
        }
    }
}

#[test]
fn each_bit_of_the_expected_result() {
    let caps = first_generation();
    for valid in [
        Compare::new(0x1000, 0x2000, 5).record(RECORD).build(&caps).unwrap(),
        ComparePattern::new(0x1000, 5, 9).record(RECORD).build(&caps).unwrap(),
    ] {
        assert_eq!(validate(&flip(&valid, 40, 0), &caps, Position::Queue), Ok(()));
        for bit in 1..8 {
            let error = validate(&flip(&valid, 40, bit), &caps, Position::Queue).unwrap_err();
            assert_eq!(error, DescriptorError::ReservedField { opcode: valid.opcode(), offset: 40, value: 1 << bit });
        }
    }
}

#[test]
fn interrupt_handle_counts_only_with_its_flag() {
    for law in laws() {
        let with_flag = flip(&law.valid, 4, 4);
        assert_eq!(validate(&flip(&with_flag, 37, 7), &everything(), Position::Queue), Ok(()));
        let caps = everything().with_user_interrupts(false);
        let error = validate(&with_flag, &caps, Position::Queue).unwrap_err();
        assert_eq!(error, DescriptorError::FlagsNotOffered { opcode: law.valid.opcode(), flags: 1 << 4 });
    }
}

#[test]
fn positions() {
    for law in laws() {
        let op = law.valid.opcode();
        let fenced = flip(&law.valid, 4, 0);
        let as_member = |descriptor| validate(&descriptor, &everything(), Position::BatchMember);
        if law.in_batch {
            assert_eq!(as_member(law.valid), Ok(()));
            assert_eq!(as_member(fenced), Ok(()));
            assert_eq!(validate(&fenced, &everything(), Position::Queue), Err(DescriptorError::FenceOutsideBatch));
        } else {
            assert_eq!(as_member(law.valid), Err(DescriptorError::NotInBatch { opcode: op }));
            assert_eq!(as_member(law.valid).unwrap_err().status(), status::BAD_OPCODE);
            let error = validate(&fenced, &everything(), Position::Queue).unwrap_err();
            assert_eq!(error, DescriptorError::FlagsNotAllowed { opcode: op, flags: 1 });
        }
    }
    let fenced = Move::new(0x1000, 0x2000, 5).fence(true);
    assert_eq!(fenced.build(&everything()), Err(DescriptorError::FenceOutsideBatch));
    assert!(fenced.build_member(&everything()).is_ok());
}

#[test]
fn opcodes_that_are_not_offered_or_not_known() {
    let known: Vec<u8> = [0..=0x0a, 0x10..=0x15, 0x17..=0x1e, 0x20..=0x21, 0x23..=0x26].into_iter().flatten().collect();
    assert_eq!(known, idxd_sys::opcode::ALL);
    assert!(known.iter().all(|&op| laws().iter().any(|law| law.valid.opcode() == op)), "each has a row");
    for law in laws() {
        let op = law.valid.opcode();
        assert!(known.contains(&op));
        let mut config = [u64::MAX; 4];
        config[0] &= !(1 << op);
        let error = validate(&law.valid, &everything().with_op_config(config), Position::Queue).unwrap_err();
        assert_eq!(error, DescriptorError::UnsupportedOpcode { opcode: op });
        assert_eq!(error.status(), status::BAD_OPCODE);
    }
    for op in (0..=u8::MAX).filter(|op| !known.contains(op)) {
        let descriptor = Descriptor { flags_opcode: u32::from(op) << 24, ..Descriptor::default() };
        for position in [Position::Queue, Position::BatchMember] {
            let error = validate(&descriptor, &everything(), position).unwrap_err();
            assert_eq!(error, DescriptorError::UnsupportedOpcode { opcode: op });
        }
    }
}

#[test]
fn record_rules() {
    let caps = first_generation();
    let copy = Move::new(0x1000, 0x2000, 5);
    assert_eq!(copy.record(0).build(&caps), Err(DescriptorError::RecordNull));
    assert_eq!(DescriptorError::RecordNull.status(), status::CR_FAULT);
    for bit in 0..5 {
        let address = 0x40 | 1 << bit;
        let error = copy.record(address).build(&caps).unwrap_err();
        assert_eq!(error, DescriptorError::RecordMisaligned { address });
        assert_eq!(error.status(), status::CR_ALIGN);
    }
    assert!(copy.record(0x20).build(&caps).is_ok() && copy.record(!31).build(&caps).is_ok());

    let error = copy.record_traffic_class(TrafficClass::B).build(&caps).unwrap_err();
    assert_eq!(error, DescriptorError::RecordFlagsWithoutRecord { flags: 1 << 12 });
    assert_eq!(error.status(), status::BAD_FLAGS);
    let mut raw = copy.build(&caps).unwrap();
    raw.flags_opcode |= 1 << 3;
    let error = validate(&raw, &caps, Position::Queue).unwrap_err();
    assert_eq!(error, DescriptorError::RecordFlagsWithoutRecord { flags: 1 << 3 });
    let mut raw = copy.build(&caps).unwrap();
    raw.completion_addr = 0x4000;
    let error = validate(&raw, &caps, Position::Queue).unwrap_err();
    assert_eq!(error, DescriptorError::ReservedField { opcode: 3, offset: 9, value: 0x40 });
}

#[test]
fn operations_with_a_result_need_a_record() {
    let caps = first_generation();
    let required = |built: Result<Descriptor, DescriptorError>, opcode| {
        assert_eq!(built, Err(DescriptorError::RecordRequired { opcode }));
        assert_eq!(built.unwrap_err().status(), status::BAD_FLAGS);
    };
    required(Drain::new().build(&caps), 0x02);
    required(Drain::new().record(RECORD).request_record(false).build(&caps), 0x02);
    required(Compare::new(0x1000, 0x2000, 5).build(&caps), 0x05);
    required(Compare::new(0x1000, 0x2000, 5).record(RECORD).request_record(false).build(&caps), 0x05);
    required(ComparePattern::new(0x1000, 5, 0).build(&caps), 0x06);
    required(ComparePattern::new(0x1000, 5, 0).record(RECORD).request_record(false).build_member(&caps), 0x06);
    required(Crc::new(0x1000, 5).build(&caps), 0x10);
    required(Crc::new(0x1000, 5).record(RECORD).request_record(false).build(&caps), 0x10);
    required(CopyCrc::new(0x1000, 0x2000, 5).build_member(&caps), 0x11);
    required(CopyCrc::new(0x1000, 0x2000, 5).record(RECORD).request_record(false).build(&caps), 0x11);
    let caps = everything();
    let delta = CreateDelta::new(0x1000, 0x2000, 8, 0x3000, 80);
    required(delta.build(&caps), 0x07);
    required(delta.record(RECORD).request_record(false).build(&caps), 0x07);
    let check = DifCheck::new(0x1000, 520, DifBlock::Bytes512, DifSource::new(0, 0));
    required(check.build(&caps), 0x12);
    required(check.record(RECORD).request_record(false).build_member(&caps), 0x12);
    let generate = DixGenerate::new(0x1000, 0x2000, 512, DifBlock::Bytes512, DifDestination::new(0, 0));
    required(generate.build(&caps), 0x17);
    required(generate.record(RECORD).request_record(false).build(&caps), 0x17);
    let compare = InterDomainCompare::new(0x1000, 0x2000, 5).source_handle(IdptHandle::new(1));
    required(compare.build(&caps), 0x25);
    required(compare.record(RECORD).request_record(false).build(&caps), 0x25);
    required(InterDomainComparePattern::new(0x1000, IdptHandle::new(1), 5, 0).build(&caps), 0x26);
}

#[test]
fn an_interrupt_is_enough_for_a_drain() {
    let drain = Descriptor { flags_opcode: 0x02 << 24 | 1 << 4, ..Descriptor::default() };
    assert_eq!(validate(&drain, &everything(), Position::Queue), Ok(()));
}

#[test]
fn flags_that_need_a_capability() {
    let refused = |built: Result<Descriptor, DescriptorError>, opcode, flags| {
        assert_eq!(built, Err(DescriptorError::FlagsNotOffered { opcode, flags }));
        assert_eq!(built.unwrap_err().status(), status::BAD_FLAGS);
    };
    let caps = nothing();
    refused(Move::new(0x1000, 0x2000, 5).block_on_fault(true).build(&caps), 3, 1 << 1);
    refused(Move::new(0x1000, 0x2000, 5).block_on_fault(true).build(&Capabilities::sapphire_rapids()), 3, 1 << 1);
    refused(Fill::with_wide_pattern(0x2000, 5, [1, 2]).build(&caps), 4, 1 << 18);
    refused(Crc::new(0x1000, 5).record(RECORD).crc64(true).build(&caps), 0x10, 1 << 19);
    refused(CopyCrc::new(0x1000, 0x2000, 5).record(RECORD).crc64(true).build(&caps), 0x11, 1 << 19);
    refused(Batch::new(0x40, 2).earlier_error(true).build(&caps), 1, 1 << 16);
    let drain = Drain::new().record(RECORD);
    refused(drain.readback(8).build(&caps), 2, 1 << 16);
    refused(drain.second_readback(8).build(&caps), 2, 1 << 17);
    refused(drain.suppress_readback(TrafficClass::A).build(&caps), 2, 1 << 18);
    refused(drain.suppress_readback(TrafficClass::B).build(&caps), 2, 1 << 19);
}

#[test]
fn cache_control_values() {
    let with = |op_flags: u32, gen_cap: u64, valid: Descriptor| {
        let caps = Capabilities::new(0x300, nothing().gen_cap() | gen_cap, [u64::MAX; 4]);
        let changed = Descriptor { flags_opcode: valid.flags_opcode | op_flags, ..valid };
        validate(&changed, &caps, Position::Queue)
    };
    let copy = Move::new(0x1000, 0x2000, 5).build(&nothing()).unwrap();
    let flush = CacheFlush::new(0x2000, 5).build(&nothing()).unwrap();
    let (cache, readback, durable) = (1 << 2, 1 << 8, 1 << 5);
    // (CC3 CC2 CC1), what it needs, `None` if it is reserved.
    let table = [
        (0b000, Some(0)),
        (0b001, Some(cache)),
        (0b010, Some(readback)),
        (0b011, Some(cache | readback)),
        (0b100, Some(durable)),
        (0b101, None),
        (0b110, Some(durable | readback)),
        (0b111, None),
    ];
    for (value, needs) in table {
        let flags = (value & 1) << 8 | (value >> 1 & 1) << 14 | (value >> 2) << 5;
        for offered in [0, cache, readback, durable, cache | readback, cache | durable, readback | durable, !0] {
            let offered: u64 = offered & (cache | readback | durable);
            let refused = |op| Err(DescriptorError::CacheControl { opcode: op, value: value as u8 });
            let fits = needs.is_some_and(|needs| needs & !offered == 0);
            assert_eq!(with(flags, offered, copy), if fits { Ok(()) } else { refused(0x03) });
            let fits = fits && matches!(value, 0b000 | 0b010);
            assert_eq!(with(flags, offered, flush), if fits { Ok(()) } else { refused(0x20) });
        }
    }
    let error = CacheFlush::new(0x2000, 5).durable(true).build(&nothing()).unwrap_err();
    assert_eq!((error, error.status()), (DescriptorError::CacheControl { opcode: 0x20, value: 2 }, 0x11));
}

#[test]
fn messages_name_value_limit_and_remedy() {
    let caps = first_generation();
    let text = |built: Result<Descriptor, DescriptorError>| built.unwrap_err().to_string();
    assert_eq!(
        text(Fill::new(0x1000, 3 << 30, 0).build(&caps)),
        "the transfer size 3221225472 is above the queue's maximum 2147483648; split the operation"
    );
    assert_eq!(
        text(Fill::with_wide_pattern(0x1000, 32, [0; 2]).build(&caps)),
        "fill with these flags is not offered by this device or queue: 16-byte-pattern (bit 18); clear them or \
         configure the queue"
    );
    assert_eq!(
        text(Move::new(0x1000, 0x2000, 1).record(0x41).build(&caps)),
        "the completion record address 0x41 is not a multiple of 32"
    );
}
