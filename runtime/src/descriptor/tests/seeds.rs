//! Random descriptors of every operation, through their builders, for the property tests.

use idxd_sys::Descriptor;
use proptest::prelude::*;

use super::super::*;

pub(super) type Built = Result<Descriptor, DescriptorError>;

/// The number of operations.
pub(super) const OPERATIONS: u8 = 31;

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

/// Options that all builders with memory operands have.
macro_rules! finish_for {
    ($seed:expr, $caps:expr, $builder:expr) => {{
        let builder = $builder
            .record($seed.record)
            .request_record($seed.on(8) || $seed.on(9))
            .record_traffic_class($seed.class(3))
            .fence($seed.member && $seed.on(4));
        if $seed.member { builder.build_member($caps) } else { builder.build($caps) }
    }};
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

    fn pick<T: Copy>(self, all: &[T], shift: u32) -> T {
        all[(self.extra >> shift) as usize % all.len()]
    }

    /// Bits of `extra`, as a handle.
    fn handle(self, shift: u32) -> IdptHandle {
        IdptHandle::new((self.extra >> shift) as u16)
    }

    /// Builds one of the operations.
    pub(super) fn build(self, caps: &Capabilities) -> Built {
        match self.op % OPERATIONS {
            0..11 => self.build_memory(caps),
            11..19 => self.build_data(caps),
            19..26 => self.build_typed(caps),
            _ => self.build_inter_domain(caps),
        }
    }

    fn build_memory(self, caps: &Capabilities) -> Built {
        macro_rules! finish {
            ($builder:expr) => {
                finish_for!(self, caps, $builder)
            };
        }
        let fault = self.on(0);
        match self.op % OPERATIONS {
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

    fn build_data(self, caps: &Capabilities) -> Built {
        macro_rules! finish {
            ($builder:expr) => {
                finish_for!(self, caps, $builder)
            };
        }
        let (src, dst) = if self.on(14) { (self.src & !7, self.dst & !7) } else { (self.src, self.dst) };
        // Half of the sizes are whole words, entries and blocks.
        let whole = |unit: u64| if self.on(15) { self.len } else { self.len % 16 * unit };
        let block = self.pick(DifBlock::ALL, 0);
        let (size, protected) = (u64::from(block.size()), u64::from(block.protected_size()));
        let (reference, tag) = ((self.extra >> 16) as u32, (self.extra >> 48) as u16);
        let expected = DifSource::new(reference, tag).counting_application(self.on(1)).fixed_reference(self.on(2));
        let made = DifDestination::new(!reference, !tag).counting_application(self.on(2)).pass_guard(self.on(1));
        match self.op % OPERATIONS {
            11 => {
                let delta = CreateDelta::new(src, dst, whole(8), self.dst2, whole(10) as u32);
                let delta = if self.on(10) { delta.expect(DeltaResults::COMPLETE) } else { delta };
                finish!(delta.cache_control(self.cache()).delta_traffic_class(self.class(2)))
            }
            12 => finish!(ApplyDelta::new(self.src, whole(10) as u32, dst, whole(8)).block_on_fault(self.on(0))),
            13 if self.on(10) => finish!(TranslationFetch::new(self.src, self.len).stride(1 << (self.extra % 32))),
            13 => finish!(TranslationFetch::new(self.src, self.len).block_on_fault(self.on(0))),
            14 => finish!(DifCheck::new(self.src, whole(protected), block, expected).block_on_fault(self.on(0))),
            15 => finish!(
                DifInsert::new(self.src, self.dst, whole(size), block, made)
                    .cache_control(self.cache())
                    .invert_seed(self.on(12))
            ),
            16 => finish!(
                DifStrip::new(self.src, self.dst, whole(protected), block, expected)
                    .strict_ordering(self.on(1))
                    .invert_result(self.on(12))
            ),
            17 => finish!(DifUpdate::new(self.src, self.dst, whole(protected), block, expected, made)),
            _ => finish!(DixGenerate::new(self.src, dst, whole(size), block, made)),
        }
    }

    fn build_typed(self, caps: &Capabilities) -> Built {
        macro_rules! finish {
            ($builder:expr) => {
                finish_for!(self, caps, $builder)
            };
        }
        // Most addresses are aligned, and few types are mixed.
        let mask = if self.on(14) { !7 } else { u64::MAX };
        let [src, dst, dst2] = [self.src & mask, self.dst & mask, self.dst2 & mask];
        let from = self.pick(DataType::ALL, 0);
        let to = if self.on(10) { self.pick(DataType::ALL, 8) } else { from };
        let compute = self.pick(ComputeType::ALL, 16);
        let count = self.len % 512;
        let format = self.pick(SglFormat::ALL, 24);
        let entries = (self.extra >> 32) as u32 % 600;
        let list = Sgl::new(self.src, entries, format).base(if self.on(13) { self.extra } else { 0 });
        let handle = self.handle(48);
        match self.op % OPERATIONS {
            19 if self.on(11) => finish!(TypeConvert::new(src, from, dst, to, count).source_handle(handle)),
            19 => finish!(TypeConvert::new(src, from, dst, to, count).negate(self.on(12)).signed(self.on(2))),
            20 if self.on(11) => {
                finish!(Reduce::new(src, dst2, dst, compute, from, count).output(to).destination_handle(handle))
            }
            20 => finish!(
                Reduce::new(src, dst2, if self.on(12) { src } else { dst }, compute, from, count)
                    .output(to)
                    .check_result(self.on(1))
                    .rounding(self.pick(Rounding::ALL, 40))
            ),
            21 => {
                let destinations = [dst, if self.on(0) { dst2 } else { dst2 & !0xfff | dst & 0xfff }];
                let reduce = ReduceDualcast::new([src, self.extra & mask], destinations, compute, from, count);
                let reduce = if self.on(11) { reduce.second_source_handle(handle) } else { reduce };
                finish!(reduce.output(to).second_destination_traffic_class(self.class(2)))
            }
            22 => finish!(GatherReduce::new(list, dst, compute, from, count).output(to).cache_control(self.cache())),
            23 => {
                let gather = GatherCopy::new(list, self.dst, from, count).list_traffic_class(self.class(2));
                finish!(if self.on(11) { gather.destination_handle(handle) } else { gather })
            }
            24 => {
                let scatter = ScatterCopy::new(self.dst, list, from, count).strict_ordering(self.on(1));
                finish!(if self.on(11) { scatter.source_handle(handle) } else { scatter })
            }
            _ => {
                let fill = ScatterFill::new(list, self.extra, from, count).block_on_fault(self.on(0));
                finish!(if self.on(11) { fill.destination_handle(handle) } else { fill })
            }
        }
    }

    fn build_inter_domain(self, caps: &Capabilities) -> Built {
        macro_rules! finish {
            ($builder:expr) => {
                finish_for!(self, caps, $builder)
            };
        }
        let (first, second) = (self.handle(0), self.handle(16));
        match self.op % OPERATIONS {
            26 => {
                let copy = InterDomainCopy::new(self.src, self.dst, self.len).cache_control(self.cache());
                let copy = if self.on(10) { copy.source_handle(first) } else { copy };
                finish!(if self.on(11) { copy.destination_handle(second) } else { copy })
            }
            27 if self.on(10) => {
                finish!(InterDomainFill::with_wide_pattern(self.dst, first, self.len, [self.extra, self.src]))
            }
            27 => finish!(InterDomainFill::new(self.dst, first, self.len, self.extra).block_on_fault(self.on(0))),
            28 => {
                let compare = InterDomainCompare::new(self.src, self.dst, self.len);
                let compare = if self.on(10) { compare.expect(Expectation::Different) } else { compare };
                finish!(if self.on(11) { compare.source_handle(first) } else { compare.second_source_handle(second) })
            }
            29 => finish!(InterDomainComparePattern::new(self.src, first, self.len, self.extra)),
            _ => {
                let window = UpdateWindow::new(first).read(self.on(0)).write(self.on(1)).record(self.record);
                let window = if self.on(10) { window.window(self.src, self.len) } else { window };
                window.offset_mode(self.on(11) && self.on(12)).build(caps)
            }
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
