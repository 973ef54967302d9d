//! Properties over random descriptors: builders and validator agree, hostile records are harmless.

use idxd_sys::{CompletionRecord, Descriptor};
use proptest::prelude::*;

use super::super::*;
use super::{everything, first_generation, from_bytes, nothing};

type Built = Result<Descriptor, DescriptorError>;

/// Random operands and options for any builder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed {
    pub(super) op: u8,
    pub(super) src: u64,
    pub(super) dst: u64,
    pub(super) dst2: u64,
    pub(super) len: u64,
    pub(super) extra: u64,
    pub(super) options: u16,
    pub(super) record: u64,
    pub(super) member: bool,
}

impl Seed {
    fn on(self, bit: u16) -> bool {
        self.options >> bit & 1 == 1
    }

    fn class(self, bit: u16) -> TrafficClass {
        if self.on(bit) { TrafficClass::B } else { TrafficClass::A }
    }

    fn cache(self) -> CacheControl {
        match self.options >> 5 & 7 {
            1 => CacheControl::Cache,
            2 => CacheControl::DurableReadback,
            3 => CacheControl::CacheReadback,
            4 => CacheControl::Durable,
            5 => CacheControl::MemoryReadback,
            _ => CacheControl::Memory,
        }
    }

    /// Builds one of the eleven operations.
    pub(super) fn build(self, caps: &Capabilities) -> Built {
        // Options that all builders with memory operands have.
        macro_rules! finish {
            ($builder:expr) => {{
                let builder = $builder
                    .record(self.record)
                    .request_record(self.on(8) || self.on(9))
                    .record_traffic_class(self.class(3))
                    .fence(self.member && self.on(4));
                if self.member { builder.build_member(caps) } else { builder.build(caps) }
            }};
        }
        let fault = self.on(0);
        match self.op % 11 {
            0 => finish!(Nop::new()),
            1 => Batch::new(self.src & !63, self.extra as u32 % 1100).record(self.record).build(caps),
            2 => {
                let drain = Drain::new().record(self.record);
                if self.on(1) { drain.readback(self.src).build(caps) } else { drain.build(caps) }
            }
            3 => finish!(
                Move::new(self.src, self.dst, self.len)
                    .block_on_fault(fault)
                    .cache_control(self.cache())
                    .strict_ordering(self.on(1))
                    .source_traffic_class(self.class(2))
            ),
            4 if self.on(10) => {
                finish!(Fill::with_wide_pattern(self.dst, self.len, [self.extra, self.src]).block_on_fault(fault))
            }
            4 => finish!(Fill::new(self.dst, self.len, self.extra).block_on_fault(fault)),
            5 if self.on(10) => finish!(Compare::new(self.src, self.dst, self.len).expect(Expectation::Different)),
            5 => finish!(Compare::new(self.src, self.dst, self.len).block_on_fault(fault)),
            6 if self.on(10) => finish!(ComparePattern::new(self.src, self.len, self.extra).expect(Expectation::Equal)),
            6 => finish!(ComparePattern::new(self.src, self.len, self.extra).block_on_fault(fault)),
            7 => finish!(Dualcast::new(self.src, self.dst, self.dst2, self.len).cache_control(self.cache())),
            8 if self.on(10) => finish!(Crc::new(self.src, self.len).seed_address(self.extra).crc64(self.on(11))),
            8 => finish!(
                Crc::new(self.src, self.len)
                    .seed(self.extra as u32)
                    .bypass_inversion(self.on(12))
                    .bypass_reflection(self.on(13))
                    .crc64(self.on(11))
            ),
            9 => {
                finish!(CopyCrc::new(self.src, self.dst, self.len).seed(self.extra as u32).strict_ordering(self.on(1)))
            }
            _ => finish!(CacheFlush::new(self.dst, self.len).durable(self.on(2)).block_on_fault(fault)),
        }
    }
}

pub(super) fn seeds() -> impl Strategy<Value = Seed> {
    let address = || prop_oneof![4 => 0x1000..0x10_0000_u64, 1 => any::<u64>(), 1 => u64::MAX - 9000..=u64::MAX];
    let len = prop_oneof![8 => 0..5000_u64, 1 => any::<u64>(), 1 => (1_u64 << 31) - 2..(1 << 31) + 2];
    let record = prop_oneof![8 => (1..4096_u64).prop_map(|n| n * 32), 1 => Just(0), 1 => any::<u64>()];
    (any::<u8>(), address(), address(), address(), len, any::<u64>(), any::<u16>(), record, any::<bool>()).prop_map(
        |(op, src, dst, dst2, len, extra, options, record, member)| {
            // Half of the dualcast destinations are aligned to each other.
            let dst2 = if options & 1 == 0 { dst2 & !0xfff | dst & 0xfff } else { dst2 };
            Seed { op, src, dst, dst2, len, extra, options, record, member }
        },
    )
}

fn any_capabilities() -> impl Strategy<Value = Capabilities> {
    prop_oneof![
        Just(everything()),
        Just(nothing()),
        Just(first_generation()),
        Just(Capabilities::granite_rapids()),
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(gen_cap, ops, fault)| {
            Capabilities::new(0x200, gen_cap, [ops, 0, 0, 0]).with_block_on_fault(fault)
        }),
    ]
}

fn any_record() -> impl Strategy<Value = CompletionRecord> {
    let status = prop_oneof![4 => Just(0x03), 2 => Just(0x83), 2 => Just(0x06), 1 => any::<u8>()];
    let completed = prop_oneof![3 => 0..5000_u32, 1 => any::<u32>()];
    (status, prop_oneof![3 => 0..2_u8, 1 => any::<u8>()], any::<u8>(), completed, any::<[u64; 2]>()).prop_map(
        |(status, result, fault_info, bytes_completed, op_specific)| CompletionRecord {
            status,
            result,
            fault_info,
            reserved: 0,
            bytes_completed,
            fault_addr: op_specific[1],
            op_specific,
        },
    )
}

fn position(descriptor: &Descriptor, member: bool) -> Position {
    // Batch and drain have no member form.
    if member && !matches!(descriptor.opcode(), 0x01 | 0x02) { Position::BatchMember } else { Position::Queue }
}

/// The memory regions that a descriptor names: (start, size), in a fixed order per operation.
fn regions(d: &Descriptor) -> Vec<(u64, u64)> {
    let size = u64::from(d.xfer_size);
    match d.opcode() {
        0x01 => vec![(d.src_addr, size * 64)],
        0x03 | 0x05 | 0x11 => vec![(d.src_addr, size), (d.dst_addr, size)],
        0x04 | 0x20 => vec![(d.dst_addr, size)],
        0x06 | 0x10 => vec![(d.src_addr, size)],
        0x09 => vec![(d.src_addr, size), (d.dst_addr, size), (d.op_specific[0], size)],
        _ => vec![],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_built_validates(seed in seeds(), caps in any_capabilities()) {
        match seed.build(&caps) {
            Ok(descriptor) => {
                prop_assert_eq!(validate(&descriptor, &caps, position(&descriptor, seed.member)), Ok(()));
            }
            Err(error) => {
                prop_assert_ne!(error.status(), 0);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn what_a_poor_queue_takes_a_rich_one_takes(seed in seeds()) {
        if seed.build(&nothing()).is_ok() {
            prop_assert!(seed.build(&everything()).is_ok());
        }
    }

    #[test]
    fn any_64_bytes_can_be_judged(low in any::<[u8; 32]>(), high in any::<[u8; 32]>(), op in 0..0x30_u8) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        bytes[7] = op;
        for position in [Position::Queue, Position::BatchMember] {
            if let Err(error) = validate(&from_bytes(&bytes), &everything(), position) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_plan_never_leaves_the_regions(seed in seeds(), record in any_record(), continued in any::<bool>()) {
        let caps = if continued { everything() } else { first_generation() };
        let Ok(sent) = seed.build(&caps) else { return Ok(()) };
        match Resume::plan(&sent, &record, &caps) {
            Resume::Continue(Continuation { descriptor, advanced }) => {
                prop_assert_eq!(validate(&descriptor, &caps, Position::Queue), Ok(()));
                prop_assert_eq!(descriptor.opcode(), sent.opcode());
                prop_assert!(advanced <= sent.xfer_size);
                for (old, new) in regions(&sent).into_iter().zip(regions(&descriptor)) {
                    prop_assert!(new.0 >= old.0 && new.0 + (new.1 - 1) <= old.0 + (old.1 - 1));
                }
            }
            Resume::LastMember { address, .. } => {
                prop_assert_eq!(address, sent.src_addr + u64::from(sent.xfer_size - 1) * 64);
            }
            Resume::Complete(completion) => prop_assert!(!completion.to_string().is_empty()),
            Resume::Fail(status) => prop_assert!(!status.is_success() && status.is_in_records()),
            Resume::Protocol(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn arbitrary_bytes_can_be_planned(low in any::<[u8; 32]>(), high in any::<[u8; 32]>(), op in 0..0x30_u8, record in any_record()) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        bytes[7] = op;
        let sent = from_bytes(&bytes);
        if let Resume::Continue(rest) = Resume::plan(&sent, &record, &everything()) {
            prop_assert!(rest.descriptor.xfer_size <= sent.xfer_size);
        }
        is_restartable(&sent);
    }
}
