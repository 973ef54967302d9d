//! Builder calls with arbitrary arguments. What a builder accepts must pass the validator, and a strict device must not
//! refuse it: page faults are fine, a status that blames the descriptor is not.

#![no_main]

use arbitrary::Arbitrary;
use dsa::descriptor::{
    Batch, CacheControl, CacheFlush, Capabilities, Compare, ComparePattern, CopyCrc, Crc, DescriptorError, Drain,
    Dualcast, Expectation, Fill, Move, Nop, Position, TrafficClass, validate,
};
use dsa_emulator::Checks;
use dsa_fuzz::{Address, LIST, Rig, Setup, is_refusal};
use idxd_sys::{Descriptor, flag, status};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    setup: Setup,
    single: Call,
    batch: Options,
    earlier_error: bool,
    members: Vec<Call>,
    /// No-ops that the batch has behind its members.
    more_members: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Call {
    operation: Operation,
    options: Options,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    Nop,
    Drain { readbacks: [Option<Address>; 2], suppress: Option<bool> },
    Move { src: Address, dst: Address, len: Length },
    Fill { dst: Address, len: Length, pattern: u64, wide: Option<u64> },
    Compare { first: Address, second: Address, len: Length, expect: Option<bool> },
    ComparePattern { src: Address, len: Length, pattern: u64, expect: Option<bool> },
    Dualcast { src: Address, dst: Address, dst2: Address, same_offset: bool, len: Length },
    Crc { src: Address, len: Length, crc: CrcArguments },
    CopyCrc { src: Address, dst: Address, len: Length, crc: CrcArguments },
    CacheFlush { dst: Address, len: Length, durable: bool },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct CrcArguments {
    seed: u32,
    wide: bool,
    seed_address: Option<Address>,
    bypass_inversion: bool,
    bypass_reflection: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Length {
    Short(u16),
    AroundLimit(i8),
    Any(u64),
}

impl Length {
    fn get(self, caps: &Capabilities) -> u64 {
        match self {
            Self::Short(len) => u64::from(len),
            Self::AroundLimit(distance) => caps.max_transfer_size().saturating_add_signed(i64::from(distance)),
            Self::Any(len) => len,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Record {
    None,
    Own,
    At(Address),
}

/// Options of all operations; an operation takes those that it has.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Options {
    record: Record,
    request: bool,
    block_on_fault: bool,
    strict_ordering: bool,
    fence: bool,
    cache_control: u8,
    classes: u8,
}

impl Options {
    fn cache_control(self) -> CacheControl {
        use CacheControl::{Cache, CacheReadback, Durable, DurableReadback, Memory, MemoryReadback};
        let all = [Memory, Cache, DurableReadback, CacheReadback, Durable, MemoryReadback];
        // Mostly the one that works everywhere.
        all.get(usize::from(self.cache_control)).copied().unwrap_or_default()
    }

    fn class(self, bit: u8) -> TrafficClass {
        if self.classes >> bit & 1 == 1 { TrafficClass::B } else { TrafficClass::A }
    }
}

/// Applies the options that every operation has, and those setters that are named.
macro_rules! with_options {
    ($builder:expr, $options:expr, $slot:expr $(, $setter:ident($($argument:expr),*))*) => {{
        let mut builder = $builder$(.$setter($($argument),*))*;
        match $options.record {
            Record::None => {}
            Record::Own => builder = builder.record(Rig::record_address($slot)),
            Record::At(address) => builder = builder.record(address.get()),
        }
        builder.request_record($options.request).record_traffic_class($options.class(7))
    }};
}

/// Builds for the queue or for a batch list.
macro_rules! build {
    ($builder:expr, $options:expr, $caps:expr, $position:expr) => {
        match $position {
            Position::Queue => $builder.build($caps),
            Position::BatchMember => $builder.fence($options.fence).build_member($caps),
        }
    };
}

fn crc_setters(arguments: CrcArguments) -> (u64, Option<u64>, bool, bool, bool) {
    let CrcArguments { seed, wide, seed_address, bypass_inversion, bypass_reflection } = arguments;
    (u64::from(seed), seed_address.map(Address::get), wide, bypass_inversion, bypass_reflection)
}

impl Call {
    fn build(
        self,
        caps: &Capabilities,
        position: Position,
        slot: usize,
    ) -> Option<Result<Descriptor, DescriptorError>> {
        let o = self.options;
        let (fault, cc, so) = (o.block_on_fault, o.cache_control(), o.strict_ordering);
        Some(match self.operation {
            Operation::Nop => build!(with_options!(Nop::new(), o, slot), o, caps, position),
            Operation::Drain { readbacks, suppress } => {
                if matches!(position, Position::BatchMember) {
                    return None;
                }
                let mut drain = with_options!(Drain::new(), o, slot);
                if let Some(address) = readbacks[0] {
                    drain = drain.readback(address.get()).readback_traffic_class(o.class(0));
                }
                if let Some(address) = readbacks[1] {
                    drain = drain.second_readback(address.get()).second_readback_traffic_class(o.class(1));
                }
                if let Some(b) = suppress {
                    drain = drain.suppress_readback(if b { TrafficClass::B } else { TrafficClass::A });
                }
                drain.build(caps)
            }
            Operation::Move { src, dst, len } => {
                let b = Move::new(src.get(), dst.get(), len.get(caps))
                    .source_traffic_class(o.class(0))
                    .destination_traffic_class(o.class(1));
                build!(
                    with_options!(b, o, slot, block_on_fault(fault), cache_control(cc), strict_ordering(so)),
                    o,
                    caps,
                    position
                )
            }
            Operation::Fill { dst, len, pattern, wide } => {
                let b = match wide {
                    Some(high) => Fill::with_wide_pattern(dst.get(), len.get(caps), [pattern, high]),
                    None => Fill::new(dst.get(), len.get(caps), pattern),
                };
                build!(
                    with_options!(b, o, slot, block_on_fault(fault), cache_control(cc), strict_ordering(so)),
                    o,
                    caps,
                    position
                )
            }
            Operation::Compare { first, second, len, expect } => {
                let mut b = Compare::new(first.get(), second.get(), len.get(caps));
                if let Some(different) = expect {
                    b = b.expect(if different { Expectation::Different } else { Expectation::Equal });
                }
                build!(with_options!(b, o, slot, block_on_fault(fault)), o, caps, position)
            }
            Operation::ComparePattern { src, len, pattern, expect } => {
                let mut b = ComparePattern::new(src.get(), len.get(caps), pattern);
                if let Some(different) = expect {
                    b = b.expect(if different { Expectation::Different } else { Expectation::Equal });
                }
                build!(with_options!(b, o, slot, block_on_fault(fault)), o, caps, position)
            }
            Operation::Dualcast { src, dst, dst2, same_offset, len } => {
                let (dst, mut dst2) = (dst.get(), dst2.get());
                if same_offset {
                    dst2 = dst2 & !0xfff | dst & 0xfff;
                }
                let b = Dualcast::new(src.get(), dst, dst2, len.get(caps));
                build!(
                    with_options!(b, o, slot, block_on_fault(fault), cache_control(cc), strict_ordering(so)),
                    o,
                    caps,
                    position
                )
            }
            Operation::Crc { src, len, crc } => {
                let (seed, seed_address, wide, inversion, reflection) = crc_setters(crc);
                let mut b = Crc::new(src.get(), len.get(caps)).seed(seed);
                if let Some(address) = seed_address {
                    b = b.seed_address(address);
                }
                let b = b.crc64(wide).bypass_inversion(inversion).bypass_reflection(reflection);
                build!(with_options!(b, o, slot, block_on_fault(fault)), o, caps, position)
            }
            Operation::CopyCrc { src, dst, len, crc } => {
                let (seed, seed_address, wide, inversion, reflection) = crc_setters(crc);
                let mut b = CopyCrc::new(src.get(), dst.get(), len.get(caps)).seed(seed);
                if let Some(address) = seed_address {
                    b = b.seed_address(address);
                }
                let b = b.crc64(wide).bypass_inversion(inversion).bypass_reflection(reflection);
                build!(
                    with_options!(b, o, slot, block_on_fault(fault), cache_control(cc), strict_ordering(so)),
                    o,
                    caps,
                    position
                )
            }
            Operation::CacheFlush { dst, len, durable } => {
                let b = CacheFlush::new(dst.get(), len.get(caps)).durable(durable);
                build!(with_options!(b, o, slot, block_on_fault(fault), strict_ordering(so)), o, caps, position)
            }
        })
    }
}

/// The record of an accepted descriptor: not a refusal, and there if it was requested and could be written.
fn check_record(rig: &Rig, d: &Descriptor, slot: usize, must_exist: bool) {
    let own = d.flags() & flag::CRAV != 0 && d.completion_addr == Rig::record_address(slot);
    match rig.record(slot) {
        Some(record) => {
            assert!(own, "a record that nobody asked for: {record:?} for {d:?}");
            assert!(!is_refusal(record.status), "the builder accepted what the device refused: {record:?} for {d:?}");
        }
        None => assert!(!own || !must_exist || d.flags() & flag::RCR == 0, "no record for {d:?}"),
    }
}

fn check_software_error(rig: &Rig) {
    if let Some(error) = rig.device.software_error() {
        assert!(!is_refusal(error.error), "the builder accepted what the device refused: {error:?}");
    }
}

fuzz_target!(|input: Input| {
    let rig = Rig::new(input.setup, Checks::Strict);
    let caps = rig.capabilities;

    if let Some(Ok(d)) = input.single.build(&caps, Position::Queue, 0) {
        assert_eq!(validate(&d, &caps, Position::Queue), Ok(()), "{d:?}");
        rig.submit(&d);
        check_record(&rig, &d, 0, true);
        check_software_error(&rig);
    }

    rig.reset();
    let members: Vec<Descriptor> = (input.members.iter().take(dsa_fuzz::MAX_MEMBERS).enumerate())
        .filter_map(|(slot, call)| call.build(&caps, Position::BatchMember, slot)?.ok())
        .collect();
    for d in &members {
        assert_eq!(validate(d, &caps, Position::BatchMember), Ok(()), "{d:?}");
    }
    rig.write_list(&members);
    let slot = dsa_fuzz::MAX_MEMBERS;
    let o = input.batch;
    let count = members.len() as u32 + u32::from(input.more_members % 4 * 21);
    let batch = with_options!(Batch::new(LIST, count).earlier_error(input.earlier_error), o, slot);
    if let Ok(d) = batch.build(&caps) {
        assert_eq!(validate(&d, &caps, Position::Queue), Ok(()), "{d:?}");
        rig.submit(&d);
        check_record(&rig, &d, slot, true);
        if let Some(record) = rig.record(slot) {
            assert!(matches!(record.status, status::SUCCESS | status::BATCH_FAIL), "{record:?}");
            assert!(record.bytes_completed <= d.xfer_size, "{record:?}");
        }
        // Slots are those of the calls, some of which built nothing; a fence may have abandoned members.
        for member in &members {
            let slot = (member.completion_addr.wrapping_sub(dsa_fuzz::RECORDS) / 32) as usize;
            if slot < dsa_fuzz::MAX_MEMBERS {
                check_record(&rig, member, slot, false);
            }
        }
        check_software_error(&rig);
    }
});
