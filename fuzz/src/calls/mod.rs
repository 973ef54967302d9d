//! Calls of every builder of the library, with arbitrary arguments.

use arbitrary::Arbitrary;
use dsa::descriptor::{
    CacheControl, CacheFlush, Capabilities, Compare, ComparePattern, CopyCrc, Crc, DescriptorError, Drain, Dualcast,
    Expectation, Fill, Move, Nop, Position, TrafficClass,
};
use idxd_sys::Descriptor;

use crate::Address;

/// A call of a builder.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Call {
    operation: Operation,
    options: Options,
}

/// The builders.
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
    Integrity(integrity::Integrity),
    Elements(elements::Elements),
    Domains(domains::Domains),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct CrcArguments {
    seed: u32,
    wide: bool,
    seed_address: Option<Address>,
    bypass_inversion: bool,
    bypass_reflection: bool,
}

/// A length.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Length {
    /// Small.
    Short(u16),
    /// The largest transfer, and so much more or less.
    AroundLimit(i8),
    /// Any.
    Any(u64),
}

impl Length {
    /// The length.
    pub fn get(self, caps: &Capabilities) -> u64 {
        match self {
            Self::Short(len) => u64::from(len),
            Self::AroundLimit(distance) => caps.max_transfer_size().saturating_add_signed(i64::from(distance)),
            Self::Any(len) => len,
        }
    }
}

/// Where the record goes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Record {
    /// Nowhere.
    None,
    /// To the slot of the descriptor.
    Own,
    /// To an address.
    At(Address),
}

/// Options of all operations; an operation takes those that it has.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Options {
    /// Where the record goes.
    pub record: Record,
    /// Whether one is requested on success.
    pub request: bool,
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

    /// One of eight traffic classes.
    pub fn class(self, bit: u8) -> TrafficClass {
        if self.classes >> bit & 1 == 1 { TrafficClass::B } else { TrafficClass::A }
    }
}

/// Applies the options that every operation has, and those setters that are named.
macro_rules! with_options {
    ($builder:expr, $options:expr, $slot:expr $(, $setter:ident($($argument:expr),*))*) => {{
        let mut builder = $builder$(.$setter($($argument),*))*;
        match $options.record {
            $crate::calls::Record::None => {}
            $crate::calls::Record::Own => builder = builder.record($crate::Rig::record_address($slot)),
            $crate::calls::Record::At(address) => builder = builder.record(address.get()),
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

mod domains;
mod elements;
mod integrity;

fn crc_setters(arguments: CrcArguments) -> (u64, Option<u64>, bool, bool, bool) {
    let CrcArguments { seed, wide, seed_address, bypass_inversion, bypass_reflection } = arguments;
    (u64::from(seed), seed_address.map(Address::get), wide, bypass_inversion, bypass_reflection)
}

impl Call {
    /// The descriptor for a place; `None` if the operation cannot be there.
    #[allow(clippy::too_many_lines)] // one arm for each builder
    pub fn build(
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
            Operation::Integrity(call) => call.build(o, caps, position, slot),
            Operation::Elements(call) => call.build(o, caps, position, slot),
            Operation::Domains(call) => return call.build(o, caps, position, slot),
        })
    }
}
