//! Delta records, data integrity, translation fetch.

use arbitrary::Arbitrary;
use dsa::descriptor::{
    ApplyDelta, Capabilities, CreateDelta, DeltaResults, DescriptorError, DifBlock, DifCheck, DifDestination,
    DifInsert, DifSource, DifStrip, DifUpdate, DixGenerate, Position, TranslationFetch,
};
use idxd_sys::Descriptor;

use super::{Length, Options};
use crate::Address;

/// Calls of their builders.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Integrity {
    CreateDelta { first: Address, second: Address, len: Length, record: Address, room: Room, expect: Option<u8> },
    ApplyDelta { record: Address, size: Room, dst: Address, len: Length },
    Check { src: Address, len: Blocks, read: Tags, inverted: [bool; 2] },
    Insert { src: Address, dst: Address, len: Blocks, made: Tags, inverted: [bool; 2] },
    Strip { src: Address, dst: Address, len: Blocks, read: Tags, inverted: [bool; 2] },
    Update { src: Address, dst: Address, len: Blocks, read: Tags, made: Tags, inverted: [bool; 2] },
    Generate { src: Address, dst: Address, len: Blocks, made: Tags, inverted: [bool; 2] },
    Fetch { at: Address, len: Length, stride: Option<Stride> },
}

/// The size of a delta record.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Room {
    Entries(u8),
    Any(u32),
}

impl Room {
    fn get(self) -> u32 {
        match self {
            Self::Entries(entries) => 10 * u32::from(entries),
            Self::Any(size) => size,
        }
    }
}

/// A stride of a translation fetch.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Stride {
    Power(u8),
    Any(u32),
}

/// A number of blocks, with their tuples or without, or any length.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Blocks {
    block: u8,
    len: Length,
    whole: Option<u8>,
}

impl Blocks {
    fn block(self) -> DifBlock {
        DifBlock::ALL[usize::from(self.block % 4)]
    }

    fn get(self, caps: &Capabilities, protected: bool) -> u64 {
        let unit = if protected { self.block().protected_size() } else { self.block().size() };
        self.whole.map_or(self.len.get(caps), |count| u64::from(count) * u64::from(unit))
    }
}

/// Tags and flags of one side.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Tags {
    reference: u32,
    mask: u16,
    application: u16,
    flags: u8,
}

impl Tags {
    fn source(self) -> DifSource {
        let set = |bit: u8| self.flags >> bit & 1 == 1;
        DifSource::new(self.reference, self.application)
            .application_mask(self.mask)
            .fixed_reference(set(0))
            .unchecked_reference(set(1))
            .unchecked_guard(set(2))
            .counting_application(set(3))
            .pass_all_ones_tags(set(4))
            .pass_all_ones_application(set(5))
            .pass_all_ones(set(6))
            .refuse_all_ones(set(7))
    }

    fn destination(self) -> DifDestination {
        let set = |bit: u8| self.flags >> bit & 1 == 1;
        DifDestination::new(self.reference, self.application)
            .application_mask(self.mask)
            .fixed_reference(set(0))
            .pass_reference(set(1))
            .pass_guard(set(2))
            .counting_application(set(3))
            .pass_application(set(4))
    }
}

macro_rules! data_integrity {
    ($builder:expr, $inverted:expr) => {
        $builder.invert_seed($inverted[0]).invert_result($inverted[1])
    };
}

impl Integrity {
    pub(super) fn build(
        self,
        o: Options,
        caps: &Capabilities,
        position: Position,
        slot: usize,
    ) -> Result<Descriptor, DescriptorError> {
        macro_rules! read {
            ($builder:expr) => {
                build!(with_options!($builder, o, slot, block_on_fault(o.block_on_fault)), o, caps, position)
            };
        }
        macro_rules! write {
            ($builder:expr) => {
                read!($builder.cache_control(o.cache_control()).strict_ordering(o.strict_ordering))
            };
        }
        match self {
            Self::CreateDelta { first, second, len, record, room, expect } => {
                let mut b = CreateDelta::new(first.get(), second.get(), len.get(caps), record.get(), room.get())
                    .source_traffic_class(o.class(0))
                    .delta_traffic_class(o.class(1));
                if let Some(results) = expect {
                    b = b.expect(DeltaResults::from_bits_truncate(results));
                }
                write!(b)
            }
            Self::ApplyDelta { record, size, dst, len } => {
                write!(ApplyDelta::new(record.get(), size.get(), dst.get(), len.get(caps)))
            }
            Self::Check { src, len, read, inverted } => {
                let b = DifCheck::new(src.get(), len.get(caps, true), len.block(), read.source());
                read!(data_integrity!(b, inverted))
            }
            Self::Insert { src, dst, len, made, inverted } => {
                let b = DifInsert::new(src.get(), dst.get(), len.get(caps, false), len.block(), made.destination());
                write!(data_integrity!(b, inverted))
            }
            Self::Strip { src, dst, len, read, inverted } => {
                let b = DifStrip::new(src.get(), dst.get(), len.get(caps, true), len.block(), read.source());
                write!(data_integrity!(b, inverted))
            }
            Self::Update { src, dst, len, read, made, inverted } => {
                let size = len.get(caps, true);
                let b = DifUpdate::new(src.get(), dst.get(), size, len.block(), read.source(), made.destination());
                write!(data_integrity!(b, inverted))
            }
            Self::Generate { src, dst, len, made, inverted } => {
                let b = DixGenerate::new(src.get(), dst.get(), len.get(caps, false), len.block(), made.destination());
                write!(data_integrity!(b, inverted))
            }
            Self::Fetch { at, len, stride } => {
                let mut b = TranslationFetch::new(at.get(), len.get(caps));
                match stride {
                    None => {}
                    Some(Stride::Power(exponent)) => b = b.stride(1 << (exponent % 32)),
                    Some(Stride::Any(stride)) => b = b.stride(stride),
                }
                read!(b)
            }
        }
    }
}
